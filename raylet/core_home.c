#include "raylet/core_home.h"

#include "common/text.h"
#include "raylet/core_classes.h"
#include "raylet/core_guests.h"
#include "raylet/core_history.h"
#include "raylet/core_lanes.h"
#include "raylet/core_objects.h"
#include "raylet/core_peers.h"
#include "raylet/core_plan.h"
#include "raylet/core_tasks.h"
#include "raylet/core_workers.h"

#include <stdio.h>

#define QUICK_NS     (2 * NS_PER_MS)
#define CANCELS_MOST 1024u /* for one node, until its session is up */

static void recorded(struct raylet_core *c, struct peer *p, uint64_t run)
{
    struct peer_msg *m = core_send_peer(c, p, SIDE_OUT, PEER_RECORDED);

    m->runs.runs = arena_copy(&c->arena, &run, sizeof run);
    m->runs.run_count = 1;
}

static void drop_cover(struct raylet_core *c, struct cover *cover)
{
    for (uint32_t i = 0; i < cover->count; i++) {
        object_unhold(c, cover->objects[i]);
    }
    free(cover->objects);
    free(cover);
}

struct dropping {
    struct raylet_core *c;
    struct peer *p;
};

static bool drop_one(uint64_t run, void *value, void *arg)
{
    struct dropping *d = arg;

    numbers_remove(&d->p->covers, run);
    drop_cover(d->c, value);
    return true;
}

static void drop_covers(struct raylet_core *c, struct peer *p)
{
    struct dropping d = {c, p};

    numbers_each(&p->covers, drop_one, &d);
}

/* ---- results ---- */

static size_t copied_size(const struct peer_msg *m)
{
    return align_up(sizeof *m, 64) + align_up(m->payload.size, 64) +
           m->result.return_count * sizeof *m->result.returns +
           m->result.ref_count * sizeof *m->result.refs;
}

/* In one block. */
static struct peer_msg *copy_result(const struct peer_msg *m)
{
    uint8_t *at = xmalloc(copied_size(m));
    struct peer_msg *copy = (struct peer_msg *)(void *)at;

    *copy = *m;
    at += align_up(sizeof *m, 64);
    memcpy(at, m->payload.size == 0 ? (const void *)"" : m->payload.data, m->payload.size);
    copy->payload = bytes_of(at, m->payload.size);
    at += align_up(m->payload.size, 64);
    size_t size = m->result.return_count * sizeof *m->result.returns;
    memcpy(at, size == 0 ? (const void *)"" : m->result.returns, size);
    copy->result.returns = (const struct local_return *)(const void *)at;
    at += size;
    size = m->result.ref_count * sizeof *m->result.refs;
    memcpy(at, size == 0 ? (const void *)"" : m->result.refs, size);
    copy->result.refs = (const struct object_id *)(const void *)at;
    return copy;
}

static void settle(struct raylet_core *c, struct task *t, const struct peer_msg *m)
{
    struct local_result r = {.returns = m->result.returns,
                             .return_count = m->result.return_count,
                             .refs = m->result.refs,
                             .ref_count = m->result.ref_count,
                             .ran_ns = m->result.ran_ns,
                             .message = ""};

    task_result(c, t, &r, m->payload);
}

/* All that the result refers to, held; NULL: nothing. */
static struct object **take_references(struct raylet_core *c, struct task *t,
                                       const struct peer_result *m, uint32_t *ret_count)
{
    size_t room = m->return_count + m->ref_count;
    struct object **objects = xcalloc(room + 1, sizeof(struct object *));
    struct job *job = t->class_->job;
    uint32_t n = 0;

    for (size_t i = 0; i < m->return_count; i++) {
        if (m->returns[i].state == RETURN_ALIAS) {
            struct object *o = foreign_object(c, job, m->returns[i].alias);
            objects[n] = o;
            n += o != NULL;
        }
    }
    for (size_t i = 0; i < m->ref_count; i++) {
        struct object *o = foreign_object(c, job, m->refs[i]);
        objects[n] = o;
        n += o != NULL;
    }
    *ret_count = n;
    return objects;
}

static void take_values(struct raylet_core *c, struct peer *p, struct task *t,
                        const struct peer_msg *m)
{
    struct recording *r;

    if (!m->result.wants_recorded) {
        settle(c, t, m);
        return;
    }
    r = xcalloc(1, sizeof *r);
    securing_init(&r->securing, SECURING_RESULT);
    r->task = t;
    r->objects = take_references(c, t, &m->result, &r->count);
    task_record(c, t, r);
    for (uint32_t i = 0; i < r->count && (c->rules_off & RULE_ADD_FIRST) == 0; i++) {
        foreign_secure(c, &r->securing, r->objects[i]);
    }
    if (r->securing.missing == 0) {
        uint64_t run = t->run;
        settle(c, t, m);
        recorded(c, p, run);
    } else {
        r->result = copy_result(m);
    }
}

/* Its owner let it go. Not so when the owner itself is gone: another attempt would return the same,
 * and who reads it is told, or has its value here. */
static bool is_released(struct object *o)
{
    const struct object *root = object_root(o);

    return foreign_is_gone(o) && root->state == OBJECT_ERROR &&
           root->error->failure.code == CODE_NOT_FOUND;
}

void home_secured(struct raylet_core *c, struct securing *s)
{
    struct recording *r = container_of(s, struct recording, securing);
    struct task *t = r->task;
    struct peer *p = t->lane->peer;
    uint64_t run = t->run;
    bool gone = false;

    for (uint32_t i = 0; i < r->count; i++) {
        gone = gone || is_released(r->objects[i]);
    }
    if (gone) { /* made for a result that cannot be kept: the attempt counts as lost */
        struct failure f;
        failure_set(&f, CODE_OBJECT_LOST,
                    "an object that its result refers to was lost in transit");
        if (t->flags & SUBMIT_AT_MOST_ONCE) {
            task_end_unknown(c, t, &f);
        } else {
            task_lost(c, t, &f);
        }
    } else {
        settle(c, t, r->result);
    }
    recorded(c, p, run);
}

void home_unsecured(struct raylet_core *c, struct securing *s)
{
    struct task *t = container_of(s, struct recording, securing)->task;
    struct object_error *e;

    if (t->first == NULL) {
        return;
    }
    e = error_make(c, CODE_UNREACHABLE, task_function(t),
                   "it ended, but an object that its result refers to is on a node that does not "
                   "answer. The node may come back: try again");
    for (uint32_t i = 0; i < t->returns; i++) {
        foreign_end_waits(c, numbers_get(&t->first->owner->objects, t->first->number + i), e);
    }
    error_unref(e);
}

static void result(struct raylet_core *c, struct peer *p, const struct peer_msg *m)
{
    struct task *t = numbers_get(&p->runs, m->result.run);
    struct local_result failed = {.code = m->result.failure.code,
                                  .app_code = m->result.failure.app_code,
                                  .message = m->result.failure.message,
                                  .ran_ns = m->result.ran_ns};

    if (t == NULL || (t->extra != NULL && t->extra->recording != NULL)) {
        c->dropped_messages++;
        if (t == NULL && m->result.wants_recorded) { /* its program has ended: nobody wants it */
            recorded(c, p, m->result.run);
        }
        return;
    }
    if (!m->result.args_free && (c->rules_off & RULE_COVER_ARGS) == 0) {
        task_cover(c, t);
    }
    if (t->lane->placed == 1) {
        t->lane->quick = c->now_ns - t->lane->sent_ns < QUICK_NS;
    }
    if (t->state == TASK_ABANDONED) {
        uint64_t run = t->run;
        task_forget(c, t);
        if (m->result.wants_recorded) {
            recorded(c, p, run);
        }
        return;
    }
    t->slot = (uint32_t)m->result.worker;
    t->flags |= TASK_ANSWERED;
    switch (m->result.kind) {
    case PEER_RESULT_VALUES:
        take_values(c, p, t, m);
        break;
    case PEER_RESULT_FAILED:
        failed.code = failed.code == 0 ? CODE_FAILED : failed.code;
        task_result(c, t, &failed, bytes_of(NULL, 0));
        break;
    default:
        task_attempt_died(c, t, &m->result.failure, m->result.ran_ns);
    }
}

/* ---- slots and other answers ---- */

static void granted(struct raylet_core *c, struct peer *p, const struct peer_slots *m)
{
    struct lane *l = numbers_get(&p->lanes_by_number, m->number);

    if (l == NULL || !l->declared) { /* its class ended: CLASS_END is on its way */
        c->dropped_messages++;
        return;
    }
    if (m->count > l->limit_most - l->got) {
        peer_protocol_error(c, p, SIDE_OUT, "more slots than were asked for");
        return;
    }
    l->got += m->count;
    l->since_ns = c->now_ns;
    l->credits += m->count;
    lane_linger(c, l);
    plan_granted(c, l->class_);
}

static void started(const struct raylet_core *c, struct peer *p, const struct peer_runs *m)
{
    for (size_t i = 0; i < m->run_count; i++) {
        struct task *t = numbers_get(&p->runs, m->runs[i]);
        if (t != NULL && (t->flags & (TASK_STARTED | TASK_ANSWERED)) == 0) {
            t->flags |= TASK_STARTED;
            t->slot = (uint32_t)((c->now_ns - c->start_ns) / NS_PER_MS);
        }
    }
}

static void back(struct raylet_core *c, struct peer *p, const struct peer_back_run *m)
{
    struct task *t = numbers_get(&p->runs, m->run);

    if (t == NULL) {
        c->dropped_messages++;
    } else {
        task_taken_back(c, t);
    }
}

static void job_broken(struct raylet_core *c, struct peer *p, const struct peer_job_broken *m)
{
    struct told_job *told = lane_told(p, m->job);

    if (told == NULL || told->broken != NULL) {
        return;
    }
    told->broken = error_new(&m->failure);
    told->broken->failure.code = CODE_PROGRAM;
    LIST_FOREACH(at, &p->lanes)
    {
        struct lane *l = list_entry(at, struct lane, peer_link);
        if (l->class_->job->number == m->job) {
            lane_return(c, l);
            class_choose_again(c, l);
        }
    }
    c->view_version++;
}

static void args_free(struct raylet_core *c, struct peer *p, const struct peer_runs *m)
{
    for (size_t i = 0; i < m->run_count; i++) {
        struct cover *cover = numbers_remove(&p->covers, m->runs[i]);
        if (cover != NULL) {
            drop_cover(c, cover);
        }
    }
}

bool home_message(struct raylet_core *c, struct peer *p, const struct peer_msg *m)
{
    switch (m->type) {
    case PEER_GRANT:
        granted(c, p, &m->slots);
        return true;
    case PEER_STARTED:
        started(c, p, &m->runs);
        return true;
    case PEER_BACK:
        back(c, p, &m->back);
        return true;
    case PEER_RESULT:
        result(c, p, m);
        return true;
    case PEER_ARGS_FREE:
        args_free(c, p, &m->runs);
        return true;
    case PEER_JOB_BROKEN:
        job_broken(c, p, &m->job_broken);
        return true;
    default:
        return false;
    }
}

/* ---- the end of a session, a node, a job ---- */

struct losing {
    struct raylet_core *c;
    const struct failure *why;
    const struct job *job; /* NULL: all */
};

static bool lose(uint64_t run, void *value, void *arg)
{
    struct losing *l = arg;
    struct task *t = value;
    uint32_t rules = ~l->c->rules_off;

    if ((t->flags & SUBMIT_AT_MOST_ONCE) && (rules & RULE_AT_MOST_ONCE)) {
        task_end_unknown(l->c, t, l->why);
    } else if ((t->flags & TASK_STARTED) && (rules & RULE_CHARGE_STARTED)) {
        task_attempt_died(l->c, t, l->why, history_ran_ns(l->c, t));
    } else {
        task_lost(l->c, t, l->why);
    }
    return true;
}

static void session_lost(struct raylet_core *c, struct peer *p, const struct failure *why)
{
    struct losing losing = {.c = c, .why = why};

    if ((c->rules_off & RULE_LOSE_ATTEMPTS) == 0 || p->state == PEER_DEAD) {
        numbers_each(&p->runs, lose, &losing);
    }
    drop_covers(c, p);
    LIST_FOREACH(at, &p->lanes)
    {
        struct lane *l = list_entry(at, struct lane, peer_link);
        lane_reset(l);
        class_choose_again(c, l);
    }
    peer_forget_told(p);
}

void home_peer_down(struct raylet_core *c, struct peer *p, const struct raylet_event *e)
{
    struct failure f;

    if (e->refused) {
        failure_set(&f, CODE_NODE_LOST, "the raylet of node %s has ended", p->name);
    } else {
        failure_set(&f, CODE_NODE_LOST, "the session with node %s was lost", p->name);
    }
    text_shorten(f.node, sizeof f.node, p->name);
    session_lost(c, p, &f);
}

void home_peer_dead(struct raylet_core *c, struct peer *p)
{
    struct failure f;

    failure_set(&f, CODE_NODE_LOST, "node %s is lost", p->name);
    text_shorten(f.node, sizeof f.node, p->name);
    session_lost(c, p, &f);
    LIST_FOREACH_SAFE(at, &p->lanes)
    {
        lane_free(c, list_entry(at, struct lane, peer_link));
    }
}

static bool end_run(uint64_t run, void *value, void *arg)
{
    struct losing *l = arg;
    struct task *t = value;

    if (t->class_->job == l->job) {
        bool answered = t->extra != NULL && t->extra->recording != NULL;
        if (t->state != TASK_ABANDONED) {
            struct object_error *e = error_new(l->why);
            t->flags |= TASK_STOP_CHILDREN;
            task_fail(l->c, t, e);
            error_unref(e);
        }
        if (!answered) { /* else nothing more of it is to come, and it is gone */
            task_forget(l->c, t);
        }
    }
    return true;
}

void home_end_job(struct raylet_core *c, struct job *job)
{
    struct failure f;
    struct losing losing = {.c = c, .why = &f, .job = job};

    failure_set(&f, CODE_CANCELLED, "its program has ended");
    for (struct peer *p = c->peers; p != NULL; p = p->hh.next) {
        struct told_job *told = lane_told(p, job->number);
        if (told != NULL) {
            numbers_each(&p->runs, end_run, &losing);
            struct peer_msg *m = core_send_peer(c, p, SIDE_OUT, PEER_JOB_END);
            m->job_end.job = job->number;
            m->job_end.over = !job->guest || job->over;
            peer_forget_job(p, told);
        }
    }
    for (struct class_ *k = job->classes; k != NULL; k = k->hh.next) {
        LIST_FOREACH(at, &k->lanes)
        {
            lane_reset(list_entry(at, struct lane, class_link));
        }
    }
}

/* ---- cancelling ---- */

struct forcing {
    struct raylet_core *c;
    struct object_id id;
    bool found;
};

static bool force(uint64_t run, void *value, void *arg)
{
    struct forcing *f = arg;
    struct task *t = value;

    if (t->state == TASK_ABANDONED && object_id_equal(t->extra->was, f->id)) {
        f->found = true;
        task_kill_sent(f->c, t);
    }
    return !f->found;
}

static bool force_sent(struct raylet_core *c, struct object_id id)
{
    struct forcing f = {.c = c, .id = id};

    for (struct peer *p = c->peers; p != NULL && !f.found; p = p->hh.next) {
        numbers_each(&p->runs, force, &f);
    }
    return f.found;
}

static void send_cancel(struct raylet_core *c, struct peer *p, const struct peer_cancel *cancel)
{
    core_send_peer(c, p, SIDE_OUT, PEER_CANCEL)->cancel = *cancel;
}

bool home_cancel(struct raylet_core *c, struct object_id id, uint32_t flags)
{
    const struct peer_cancel cancel = {.id = id, .flags = flags};
    struct peer *p = peer_find(c, cancel.id.node);

    if (p == NULL || p->state != PEER_ALIVE) {
        return false;
    }
    if (peer_use(c, p)) {
        send_cancel(c, p, &cancel);
        return true;
    }
    if (p->avoid_until_ns > c->now_ns || p->cancel_count == CANCELS_MOST) {
        return false;
    }
    if (p->cancels == NULL) {
        p->cancels = xcalloc(CANCELS_MOST, sizeof *p->cancels);
    }
    p->cancels[p->cancel_count++] = cancel;
    return true;
}

bool home_force(struct raylet_core *c, const struct object *o, struct object_id id, uint32_t flags)
{
    bool known = o != NULL && o->state == OBJECT_ERROR && o->error->stopped.number != 0;

    if (known) {
        id = o->error->stopped;
    }
    if (worker_force(c, id) || force_sent(c, id)) {
        return true;
    }
    return known && id.node != c->node && home_cancel(c, id, flags);
}

void home_peer_up(struct raylet_core *c, struct peer *p)
{
    for (uint32_t i = 0; i < p->cancel_count; i++) {
        send_cancel(c, p, &p->cancels[i]);
    }
    free(p->cancels);
    p->cancels = NULL;
    p->cancel_count = 0;
}
