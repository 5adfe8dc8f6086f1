#include "sdk/serve.h"

#include <pthread.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <unistd.h>

#include "common/clock.h"
#include "proto/layout.h"
#include "sdk/leftovers.h"
#include "sdk/output.h"

#define RETURNS_SMALL 8u

struct run_class {
    const struct drt_entry_ *entry; /* NULL: this program has no such task */
    char *function;
    struct leftovers_history history;
};

static struct {
    struct run_class *classes; /* by number - 1 */
    uint32_t class_count;
    struct arrival *first, **last; /* RUN records in their order */
    bool leaving;
    bool worn;        /* a body left what cannot be put back */
    const char *name; /* of the task that runs; NULL: none */
    uint32_t slot;    /* its claim */
} server = {.last = &server.first};

static void take_class(const struct local_run_class *c)
{
    if (c->number == 0 || c->number > (1u << 24)) {
        return;
    }
    if (c->number > server.class_count) {
        server.classes = xrealloc(server.classes, c->number * sizeof *server.classes);
        for (uint32_t i = server.class_count; i < c->number; i++) {
            server.classes[i] = (struct run_class){0};
        }
        server.class_count = c->number;
    }
    struct run_class *mine = &server.classes[c->number - 1];
    free(mine->function);
    mine->function = xstrdup(c->function);
    mine->entry = registry_find_name(c->function);
}

bool serve_take(struct arrival *a)
{
    switch (a->msg.type) {
    case LOCAL_RUN_CLASS:
        take_class(&a->msg.run_class);
        return false;
    case LOCAL_RUN:
        a->next = NULL;
        *server.last = a;
        server.last = &a->next;
        return true;
    case LOCAL_LEAVE:
        server.leaving = true;
        return false;
    default:
        return false;
    }
}

static struct arrival *next_run(void)
{
    struct arrival *a = server.first;
    if (a != NULL) {
        server.first = a->next;
        if (server.first == NULL) {
            server.last = &server.first;
        }
    }
    return a;
}

static bool claim(uint32_t slot)
{
    _Atomic uint32_t *word = ring_word(&runtime.link.ring, claim_index(slot));
    uint32_t offered = claim_word(slot, CLAIM_OFFERED);
    return atomic_compare_exchange_strong(word, &offered, claim_word(slot, CLAIM_CLAIMED));
}

/* ---- the answer ---- */

static void read_alias(const struct result *r, struct local_return *ret, struct failure *f)
{
    uint32_t number;
    struct slot *s = objects_find(&runtime.objects, r->alias, &number);
    ASSERT(s != NULL);
    s = objects_of(&runtime.objects, s, &number);
    if (object_id_is_none(s->id)) {
        *f = *s->failure; /* it failed before it reached a raylet: so does this task */
        return;
    }
    ret->state = RETURN_ALIAS;
    ret->alias = s->id;
}

/* The references inside a value that is returned, behind those of the others. */
static void add_refs(struct buffer *refs, struct bytes value, struct local_return *ret)
{
    struct value_view v;
    if (value_decode(value, &v) == 0 && v.ref_count != 0) {
        buffer_append(refs, v.refs, v.ref_count * sizeof(struct object_id));
        ret->ref_count = v.ref_count;
    }
}

/* The returns, their values one after another, and what these hold. `room` is for several. */
static struct bytes gather(struct drt_call *call, struct local_return *returns, struct buffer *room,
                           struct buffer *refs, struct failure *f)
{
    struct bytes payload = {0};
    for (uint32_t i = 0; i < call->return_count; i++) {
        struct result *r = &call->results[i];
        returns[i] = (struct local_return){.state = RETURN_UNSET};
        switch (r->state) {
        case RESULT_VALUE: {
            struct bytes value = result_value(r);
            if (r->inner_count != 0) {
                add_refs(refs, value, &returns[i]);
            }
            returns[i].state = RETURN_VALUE;
            returns[i].size = (uint32_t)value.size;
            if (call->return_count == 1) {
                payload = value;
                break;
            }
            layout_append_entry(room, value);
            break;
        }
        case RESULT_ALIAS:
            read_alias(r, &returns[i], f);
            break;
        case RESULT_TOO_LARGE:
            returns[i].state = RETURN_TOO_LARGE;
            returns[i].size = r->size;
            break;
        default:
            break;
        }
    }
    return call->return_count == 1 ? payload : bytes_of(room->data, room->size);
}

/* With the lock held. The body's references are still held: its record comes before their end. */
static void answer(struct drt_call *call, uint64_t ran_ns, const uint64_t ends[RING_METERS])
{
    struct local_return few[RETURNS_SMALL];
    struct local_return *returns = few;
    struct buffer room = {0}, refs = {0};
    struct failure f = {0};
    struct local_msg m = {
        .type = LOCAL_RESULT,
        .result = {.slot = call->slot,
                   .code = call->code,
                   .app_code = call->app_code,
                   .message = call->code == 0 ? "" : call->message,
                   .ran_ns = ran_ns,
                   .out_end = ends[0],
                   .err_end = ends[1]},
    };
    if (call->return_count > RETURNS_SMALL) {
        returns = xcalloc(call->return_count, sizeof *returns);
    }
    if (call->code == 0) {
        m.payload = gather(call, returns, &room, &refs, &f);
        m.result.returns = returns;
        m.result.return_count = call->return_count;
        m.result.refs = (const struct object_id *)(const void *)refs.data;
        m.result.ref_count = refs.size / sizeof(struct object_id);
        if (f.code != 0) {
            m.result.code = CODE_FAILED;
            m.result.message = f.message;
            m.result.return_count = 0;
            m.result.ref_count = 0;
            m.payload = (struct bytes){0};
        }
    }
    (void)!link_send(&runtime.link, &m); /* a raylet that is gone ends the loop */
    buffer_fini(&room);
    buffer_fini(&refs);
    if (returns != few) {
        free(returns);
    }
}

static void refuse(uint32_t slot, int code, const char *why)
{
    struct local_msg m = {
        .type = LOCAL_RESULT,
        .result = {.slot = slot, .code = code, .message = why},
    };
    (void)!link_send(&runtime.link, &m);
}

/* ---- a run ---- */

/* Looked at where the body had the time for it: it may have closed descriptors that are not its
 * own, or be a child of vfork, which has its parent's memory. */
static void check_process(const char *name)
{
    if (fork_is_other_process()) {
        fork_end_child(name);
    }
    if (!link_is_whole(&runtime.link)) {
        /* The answer is read from the ring when this process has ended. Nothing is rung: the number
         * may be another file's by now. */
        runtime.link.ring.doorbell_theirs = -1;
        server.worn = true;
        fprintf(stderr,
                "drt: task %s closed descriptors that belong to drt (closefrom, or a loop of "
                "close): a new worker takes the place of this one.\n",
                name);
    }
}

/* After its answer. */
static void tidy_up(const char *name, uint32_t class_number, enum leftovers_depth depth)
{
    leftovers_restore_modes();
    if (LIKELY(depth == LEFTOVERS_NONE) || server.worn) {
        return;
    }
    const char *lost = leftovers_restore(&server.classes[class_number - 1].history, depth);
    if (lost != NULL) {
        server.worn = true;
        fprintf(stderr,
                "drt: task %s changed %s, which cannot be put back: a new worker takes the place "
                "of this one.\n",
                name, lost);
    }
}

static void run_body(const struct drt_entry_ *entry, const struct local_msg *m,
                     const struct args_view *args, const struct bytes *needs)
{
    struct drt_call call;
    struct body body = {.slot = claim_index(m->run.slot), .deadline_ns = NS_FOREVER};
    call.entry = entry;
    call.args = *args;
    call.needs = needs;
    call.need_count = m->run.need_count;
    call.attempt = m->run.attempt;
    call.return_count = m->run.returns;
    call.claim = ring_word(&runtime.link.ring, body.slot);
    call.deadline_ns = NS_FOREVER;
    call.slot = m->run.slot;
    uint64_t ends[RING_METERS] = {0}, began_ns = clock_now_ns();
    server.slot = call.slot;
    server.name = entry->name;
    call_run(&call, &body);
    server.name = NULL;
    uint64_t ran_ns = clock_now_ns() - began_ns;
    enum leftovers_depth depth =
        leftovers_depth(&server.classes[m->run.class_number - 1].history, ran_ns);
    if (UNLIKELY(depth != LEFTOVERS_NONE)) {
        check_process(entry->name);
    }
    if (ran_ns >= OUTPUT_LEAST_NS || __fpending(stdout) != 0) {
        output_end(&runtime.link.ring, ends);
    }
    runtime_lock();
    answer(&call, MAX_OF(ran_ns, UINT64_C(1)), ends);
    runtime_unlock();
    call_end(&call, &body);
    tidy_up(entry->name, m->run.class_number, depth);
}

static void run(const struct local_msg *m)
{
    struct args_view args;
    struct bytes few[RETURNS_SMALL], *needs = few;
    const struct run_class *c = m->run.class_number - 1u < server.class_count
                                    ? &server.classes[m->run.class_number - 1]
                                    : NULL;
    if (m->run.need_count > RETURNS_SMALL) {
        needs = xcalloc(m->run.need_count, sizeof *needs);
    }
    if (c == NULL || c->entry == NULL) {
        char why[REGISTRY_NAME_BUFFER + 64];
        snprintf(why, sizeof why, "the program of this worker has no task \"%s\"",
                 c == NULL ? "?" : c->function);
        runtime_lock();
        refuse(m->run.slot, CODE_SIGNATURE, why);
        runtime_unlock();
    } else if (args_decode(local_run_args(m), &args) != 0) {
        runtime_lock();
        refuse(m->run.slot, CODE_SIGNATURE, "its arguments arrived broken");
        runtime_unlock();
    } else {
        local_run_values(m, needs);
        run_body(c->entry, m, &args, needs);
    }
    if (needs != few) {
        free(needs);
    }
}

static bool has_work(void *arg)
{
    (void)arg;
    return server.first != NULL || server.leaving;
}

/* The next record that is ours; with the lock held. NULL: leave. */
static struct arrival *await_run(void)
{
    for (;;) {
        if (server.first == NULL) {
            link_take(&runtime.link);
        }
        struct arrival *a = next_run();
        if (a != NULL) {
            if (claim(a->msg.run.slot)) {
                return a;
            }
            link_arrival_free(&runtime.link, a);
            continue;
        }
        if (server.leaving) {
            return NULL;
        }
        int r = link_wait(&runtime.link, has_work, NULL, NS_FOREVER, NULL);
        if (r == DRT_E_DISCONNECTED) {
            _exit(1);
        }
    }
}

/* The body ended the thread that runs it, or another thread cancelled it. It has failed, and this
 * process, which has no thread for the next one, ends. */
static void thread_ended(void *unused)
{
    (void)unused;
    if (server.name != NULL && runtime_is_child()) {
        fork_end_child(server.name);
    }
    if (server.name != NULL) {
        char why[REGISTRY_NAME_BUFFER + 128];
        snprintf(why, sizeof why,
                 "%s ended the thread that ran it, by pthread_exit or pthread_cancel: a body ends "
                 "with return",
                 server.name);
        (void)fflush(stdout);
        runtime_lock();
        refuse(server.slot, CODE_FAILED, why);
        runtime_unlock();
    }
    exit(0);
}

static void serve_runs(void)
{
    runtime_lock();
    for (;;) {
        struct arrival *a = await_run();
        if (a == NULL) {
            break;
        }
        runtime_unlock();
        run(&a->msg);
        runtime_lock();
        link_arrival_free(&runtime.link, a);
        if (UNLIKELY(server.worn)) {
            break; /* what was sent ahead goes elsewhere */
        }
    }
    runtime_unlock();
}

void serve(void)
{
    leftovers_begin();
    pthread_cleanup_push(thread_ended, NULL);
    serve_runs();
    pthread_cleanup_pop(0);
    exit(0);
}
