#include "raylet/core_tasks_private.h"

#include "common/text.h"
#include "raylet/core_cache.h"
#include "raylet/core_classes.h"
#include "raylet/core_foreign.h"
#include "raylet/core_guests.h"
#include "raylet/core_held.h"
#include "raylet/core_history.h"
#include "raylet/core_lanes.h"
#include "raylet/core_objects.h"
#include "raylet/core_peers.h"

/* The returns of a task that is refused: they exist, in error. */
static void refuse(struct raylet_core *c, struct client *client, const struct local_submit *m,
                   struct object_error *e, uint32_t charge)
{
    core_credit_back(c, client, charge);
    for (uint32_t i = 0; i < m->returns; i++) {
        object_settle_error(c, object_new(c, client, m->number + i), e);
    }
    const char *function = core_intern(c, e->failure.task[0] != '\0' ? e->failure.task : "?");
    struct history_row *row = history_end(c, client->job, function, NULL, e, 0);
    row->id = (struct object_id){c->node, client->number, m->number};
    row->submitted_unix_ms = row->ended_unix_ms;
    row->attempt = 1;
    row->max_attempts = (uint16_t)MIN_OF(m->max_attempts, UINT16_MAX);
    row->name = m->name[0] != '\0' ? xstrdup(m->name) : NULL;
    error_unref(e);
}

static struct task *parent_of(struct client *client, const struct local_submit *m)
{
    struct worker *w = client->worker;

    if (w == NULL || m->parent_slot == 0 || m->parent_slot > LOCAL_CLAIMS) {
        return NULL;
    }
    return w->slots[m->parent_slot - 1];
}

/* Held. An error if it is not there, or whoever submits it does not hold it. */
static struct object_error *take_object(struct raylet_core *c, const struct task *t,
                                        struct object_id id, struct object **ret)
{
    struct object *o = held_find(c, t->first->owner, id);

    if (o == NULL) {
        char text[ID_TEXT_SIZE];
        return error_make(c, CODE_NOT_FOUND, task_function(t), "its argument %s: " NOT_HELD,
                          object_id_format(id, text));
    }
    object_hold(o);
    *ret = o;
    return NULL;
}

static struct object_error *take_needs(struct raylet_core *c, struct task *t,
                                       const struct local_submit *m)
{
    struct task_extra *x = task_extra_of(t);
    struct object_error *e = NULL;

    x->needs = xcalloc(m->need_count, sizeof *x->needs);
    for (size_t i = 0; i < m->need_count && e == NULL; i++) {
        struct need *n = &x->needs[i];
        e = take_object(c, t, m->needs[i], &n->object);
        if (e != NULL) {
            break;
        }
        x->need_count++;
        if (!object_is_settled(n->object) && !cache_had(n->object)) {
            n->watcher = object_need(c, n->object, t, (uint32_t)i);
            core_note_wait(c, n->object, t->class_->priority);
            t->needs_missing++;
        }
    }
    return e;
}

static struct object_error *take_refs(struct raylet_core *c, struct task *t,
                                      const struct local_submit *m)
{
    struct task_extra *x = task_extra_of(t);
    struct object_error *e = NULL;

    x->refs = xcalloc(m->ref_count, sizeof(struct object *));
    for (size_t i = 0; i < m->ref_count && e == NULL; i++) {
        e = take_object(c, t, m->refs[i], &x->refs[i]);
        x->ref_count += e == NULL;
    }
    return e;
}

static void set_deadline(struct raylet_core *c, struct task *t, uint64_t timeout_ns,
                         const struct task *parent)
{
    uint64_t at = timeout_ns == 0 ? 0 : ns_add(c->now_ns, timeout_ns);

    if (parent != NULL && parent->extra != NULL && parent->extra->deadline_ns != 0 &&
        (at == 0 || parent->extra->deadline_ns < at)) {
        at = parent->extra->deadline_ns;
        timeout_ns = 0;
    }
    if (at != 0) {
        task_extra_of(t)->timeout_ns = timeout_ns;
        task_extra_of(t)->deadline_ns = at;
        core_timer_arm(c, &t->extra->deadline_timer, at);
    }
}

static struct task *task_new(struct raylet_core *c, struct client *client,
                             const struct local_submit *m, struct class_ *k, uint32_t charge)
{
    struct task *t = slab_alloc(&c->task_slab);

    memset(t, 0, sizeof *t);
    list_init(&t->link);
    t->class_ = k;
    t->submitted_ms = (uint32_t)((c->now_ns - c->start_ns) / NS_PER_MS);
    t->charge = charge;
    t->returns = (uint16_t)m->returns;
    t->attempt = 1;
    t->max_attempts = (uint16_t)MIN_OF(MAX_OF(m->max_attempts, 1u), UINT16_MAX);
    if (m->flags & SUBMIT_AT_MOST_ONCE) {
        t->max_attempts = 1;
    }
    t->flags = (uint8_t)m->flags;
    for (uint32_t i = 0; i < m->returns; i++) {
        struct object *o = object_new(c, client, m->number + i);
        o->task = t;
        t->first = i == 0 ? o : t->first;
    }
    return t;
}

/* How many tasks that have not ended it stands below: those that submitted one another. Of one that
 * came from another node only that one's own depth is known. */
static uint32_t depth_of(const struct client *client, const struct task *parent)
{
    uint32_t depth = 1;

    if (client->worker == NULL) {
        return 0;
    }
    if (parent == NULL) {
        return 1;
    }
    for (; parent->extra != NULL && parent->extra->parent != NULL; depth++) {
        parent = parent->extra->parent;
    }
    return task_is_guest(parent) ? depth + parent->class_->depth : depth;
}

static struct object_error *refusal(struct raylet_core *c, struct client *client,
                                    const char *function, const struct task *parent,
                                    const struct local_submit *m, uint32_t depth)
{
    if (UNLIKELY(depth > c->depth_max)) {
        return error_make(
            c, CODE_TOO_DEEP, function,
            "tasks that submit tasks are nested %u levels deep, and node %s allows no more. If the "
            "recursion is intended, raise the limit: drt-node join --max-depth",
            depth, c->node_name);
    }
    if (client->job->state == JOB_ENDING) {
        return error_make(c, CODE_CANCELLED, function, "its program has ended");
    }
    if (m->parent_slot != 0 && (parent == NULL || parent->state == TASK_ABANDONED)) {
        return error_make(c, CODE_CANCELLED, function, "the task that submitted it was cancelled");
    }
    if (c->leaving && client->role == ROLE_DRIVER) {
        return error_make(c, CODE_CANCELLED, function,
                          "this node is leaving the cluster and takes no new tasks");
    }
    return core_credit_error(c, client, function);
}

static void prepare(struct raylet_core *c, struct task *t, const struct local_submit *m,
                    struct task *parent)
{
    struct object_error *e = NULL;

    if (m->need_count > 0) {
        e = take_needs(c, t, m);
    }
    if (e == NULL && m->ref_count > 0) {
        e = take_refs(c, t, m);
    }
    if (e == NULL) {
        e = task_failed_need(t);
    }
    if (e != NULL) {
        task_fail(c, t, e);
        error_unref(e);
        return;
    }
    if (parent != NULL) {
        struct task_extra *x = task_extra_of(t);
        x->parent = parent;
        list_append(&task_extra_of(parent)->children, &x->siblings);
    }
    if (m->name[0] != '\0') {
        task_extra_of(t)->name = xstrdup(m->name);
    }
    if (m->backoff_ns != BACKOFF_DEFAULT_NS) { /* 0 is none at all */
        task_extra_of(t)->backoff_ns = m->backoff_ns;
    }
    set_deadline(c, t, m->timeout_ns, parent);
    if (t->needs_missing == 0) {
        task_has_arguments(c, t);
    }
}

void task_submit(struct raylet_core *c, struct client *client, const struct local_submit *m,
                 struct bytes payload)
{
    uint32_t charge = local_submit_cost(m, payload.size);
    struct task *parent = parent_of(client, m);

    if (m->number != client->next_number || m->returns == 0 || m->returns > LOCAL_RETURNS_MAX) {
        core_protocol_error(c, client, "task %llu submitted out of turn: %llu comes next",
                            (unsigned long long)m->number, (unsigned long long)client->next_number);
        return;
    }
    if (m->class_number == 0 || m->class_number > client->decl_count) {
        core_protocol_error(c, client, "task of class %u, which was not declared", m->class_number);
        return;
    }
    if (core_credit_is_beyond(c, client)) {
        return;
    }
    client->next_number += m->returns;
    client->outstanding_bytes += charge;
    c->outstanding_all += charge;
    struct class_decl *decl = client->decls[m->class_number];
    uint32_t depth = depth_of(client, parent);
    struct object_error *e = refusal(c, client, decl->function, parent, m, depth);
    if (e == NULL && UNLIKELY(decl->refused != NULL)) {
        e = error_ref(decl->refused);
    }
    if (e != NULL) {
        refuse(c, client, m, e, charge);
        return;
    }
    struct task *t = task_new(c, client, m, class_use(c, client, decl, depth), charge);
    task_fill_payload(t, payload);
    task_enter(c, t, TASK_WAITING);
    list_append(&client->job->waiting, &t->link);
    prepare(c, t, m, parent);
}
