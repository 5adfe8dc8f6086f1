#include "sdk/runtime.h"

#include "common/clock.h"

#define LARGE_VALUE (64u << 10) /* its room is given back at once */

struct runtime runtime = {.link = {.socket = -1}};

static _Thread_local uint32_t thread_scope; /* 0: none */
static _Thread_local uint32_t thread_epoch; /* of the runtime that the scope is in */
static _Thread_local struct body *thread_body;
static _Atomic uint32_t running_slot; /* 1 + that of the worker's body */

bool runtime_asks_child(void)
{
    return atomic_load(&runtime.mode) != DRT_MODE_AUTO && fork_is_other_process();
}

/* This thread's last call of drt has not returned: a signal handler interrupted it, and calls drt,
 * or has left it by longjmp. */
static NOINLINE int refuse_inside(void)
{
    return error_set(
        -EDEADLK, "a signal handler interrupted a call of drt in this thread, and calls drt or "
                  "has left that call by longjmp: of drt, a handler may call drt_interrupt only, "
                  "which ends blocked calls");
}

int runtime_enter(void)
{
    if (fork_is_owner()) {
        return UNLIKELY(lock_is_mine(&runtime.lock)) ? refuse_inside() : 0;
    }
    if (runtime_is_child()) {
        return error_set(-ECHILD, "This process is a child of the one that called drt_init, and "
                                  "cannot use drt. Run a program of its own with exec.");
    }
    return error_set(-ENOTCONN,
                     "drt is not running in this process: call drt_init first in main(), "
                     "and nothing after drt_shutdown");
}

/* ---- bodies and scopes ---- */

/* After a shutdown inside a scope its slot is gone. */
static void forget_old_scope(void)
{
    if (UNLIKELY(thread_epoch != runtime.epoch)) {
        thread_epoch = runtime.epoch;
        thread_scope = 0;
    }
}

void runtime_body_begin(struct body *b)
{
    b->around = thread_body;
    b->scope_before = thread_scope;
    b->scope_open = false;
    thread_body = b;
    thread_scope = 0;
    atomic_store_explicit(&running_slot, b->slot + 1, memory_order_relaxed);
}

static void close_scope(uint32_t scope)
{
    struct slot *head = slot_at(&runtime.objects, scope);
    while (head->scope_next != scope) {
        uint32_t number = head->scope_next;
        runtime_release(slot_at(&runtime.objects, number), number);
    }
    slot_free(&runtime.objects, scope);
}

void runtime_body_end(struct body *b)
{
    if (b->scope_open || thread_scope != 0) {
        runtime_lock();
        forget_old_scope();
        while (thread_scope != 0) {
            uint32_t scope = thread_scope;
            thread_scope = slot_at(&runtime.objects, scope)->holds;
            close_scope(scope);
        }
        runtime_unlock();
    }
    thread_body = b->around;
    thread_scope = b->scope_before;
    atomic_store_explicit(&running_slot, 0, memory_order_relaxed);
}

struct body *runtime_body(void)
{
    return thread_body;
}

uint32_t runtime_parent_slot(void)
{
    return atomic_load_explicit(&running_slot, memory_order_relaxed);
}

/* A body's own scope is made when it gets its first reference: most get none. */
static uint32_t scope_now(void)
{
    forget_old_scope();
    if (UNLIKELY(thread_scope == 0 && thread_body != NULL && !thread_body->scope_open)) {
        thread_body->scope_open = true;
        thread_scope = scope_new(&runtime.objects, 0);
    }
    return thread_scope;
}

struct drt_scope_ drt_scope_enter_(void)
{
    if (runtime_enter() != 0) {
        return (struct drt_scope_){0};
    }
    runtime_lock();
    uint32_t scope = scope_new(&runtime.objects, scope_now());
    uint64_t serial = slot_at(&runtime.objects, scope)->serial;
    runtime_unlock();
    thread_scope = scope;
    return (struct drt_scope_){serial};
}

void drt_scope_leave_(struct drt_scope_ *scope)
{
    if (scope->mark == 0 || runtime_enter() != 0) {
        return;
    }
    runtime_lock();
    forget_old_scope();
    if (thread_scope != 0 && slot_at(&runtime.objects, thread_scope)->serial == scope->mark) {
        uint32_t inner = thread_scope;
        thread_scope = slot_at(&runtime.objects, inner)->holds;
        close_scope(inner);
    }
    runtime_unlock();
}

/* ---- references ---- */

struct slot *runtime_object(uint32_t *ret_number)
{
    uint32_t scope = scope_now();
    struct slot *s = slot_new(&runtime.objects, SLOT_OBJECT, ret_number);
    scope_put(&runtime.objects, scope, *ret_number);
    return s;
}

struct drt_ref runtime_share(struct slot *s, uint32_t number)
{
    uint32_t mine, scope = scope_now();
    struct drt_ref share = objects_share(&runtime.objects, s, number, &mine);
    scope_put(&runtime.objects, scope, mine);
    return share;
}

struct drt_ref runtime_failed(const struct failure *f)
{
    uint32_t number;
    struct slot *s = runtime_object(&number);
    object_set_error(&runtime.objects, s, f);
    return slot_ref(s, number);
}

struct drt_ref runtime_refused(int code)
{
    struct failure f;
    error_to_failure(code, &f);
    return runtime_failed(&f);
}

struct slot *runtime_find(struct drt_ref ref, uint32_t *ret_number)
{
    struct slot *s = objects_find(&runtime.objects, ref, ret_number);
    if (UNLIKELY(s == NULL)) {
        error_set(-EBADF,
                  drt_is_none(ref)
                      ? "the reference is none: it was never set, or was released or given away"
                      : "the reference was released, by drt_release, drt_give or the end of its "
                        "scope: drt_keep or drt_share it while it is held; or it is another "
                        "process's: give it as an argument, or inside a value");
    }
    return s;
}

void runtime_release(struct slot *s, uint32_t number)
{
    struct object_id id;
    uint32_t object = number;
    bool large = objects_of(&runtime.objects, s, &object)->size >= LARGE_VALUE;
    if (objects_release(&runtime.objects, s, number, &id) && !object_id_is_none(id)) {
        link_release(&runtime.link, id, large);
    }
}

struct drt_ref drt_keep(struct drt_ref ref)
{
    uint32_t number;
    if (runtime_enter() != 0) {
        return ref;
    }
    runtime_lock();
    struct slot *s = runtime_find(ref, &number);
    forget_old_scope();
    if (s != NULL && thread_scope != 0) {
        uint32_t around = slot_at(&runtime.objects, thread_scope)->holds;
        scope_take(&runtime.objects, s);
        scope_put(&runtime.objects, around, number);
    }
    runtime_unlock();
    return ref;
}

struct drt_ref drt_share(struct drt_ref ref)
{
    struct drt_ref share = {{0, 0}};
    uint32_t number;
    if (runtime_enter() != 0) {
        return share;
    }
    runtime_lock();
    struct slot *s = runtime_find(ref, &number);
    share = s != NULL ? runtime_share(s, number) : runtime_refused(-EBADF);
    runtime_unlock();
    return share;
}

static void release_locked(struct drt_ref *ref)
{
    uint32_t number;
    struct slot *s = objects_find(&runtime.objects, *ref, &number);
    if (s != NULL) {
        runtime_release(s, number);
    }
    *ref = (struct drt_ref){{0, 0}};
}

void drt_release(struct drt_ref *ref)
{
    if (ref == NULL || drt_is_none(*ref) || runtime_enter() != 0) {
        return;
    }
    runtime_lock();
    release_locked(ref);
    runtime_unlock();
}

void drt_release_all(struct drt_ref *refs, size_t count)
{
    if (refs == NULL || runtime_enter() != 0) {
        return;
    }
    runtime_lock();
    for (size_t i = 0; i < count; i++) {
        release_locked(&refs[i]);
    }
    runtime_unlock();
}

int drt_current_mode(void)
{
    return atomic_load(&runtime.mode);
}

void drt_interrupt(void)
{
    if (fork_is_owner()) { /* a child would ring its parent's bell */
        link_interrupt(&runtime.link);
    }
}

bool drt_is_distributed(void)
{
    return runtime_is_linked();
}
