#include "raylet/core_host.h"

#include "raylet/core_classes.h"
#include "raylet/core_foreign.h"
#include "raylet/core_guests.h"
#include "raylet/core_home.h"
#include "raylet/core_jobs.h"
#include "raylet/core_lift.h"
#include "raylet/core_objects.h"
#include "raylet/core_peers.h"
#include "raylet/core_schedule.h"
#include "raylet/core_tasks.h"
#include "raylet/core_workers.h"

#include <stdio.h>

#define WAIT_NS     (20 * NS_PER_MS) /* a guest that found no worker for so long goes back */
#define STARTED_NS  (5 * NS_PER_MS)  /* one that runs for so long is reported to its home */
#define CLASSES_MAX 65536u           /* of one home */
#define WANTS_MAX   65536u
/* What one other may announce: a sixteenth of this node's memory, or more where that is little. */
#define ANNOUNCED_LEAST (64u << 20)
#define JOB_COST        1024u
#define CLASS_COST      1536u

/* ---- jobs ---- */

static struct sponsor *find_sponsor(struct peer *p, uint64_t number)
{
    LIST_FOREACH(at, &p->sponsored)
    {
        struct sponsor *s = list_entry(at, struct sponsor, peer_link);
        if (s->job->number == number) {
            return s;
        }
    }
    return NULL;
}

static void say_broken(struct raylet_core *c, struct peer *p, const struct job *job)
{
    struct peer_msg *m = core_send_peer(c, p, SIDE_IN, PEER_JOB_BROKEN);

    m->job_broken.job = job->number;
    m->job_broken.failure = job->program_error->failure;
}

/* Whether so much more may be announced. Nobody here is charged for it, and a node that does not
 * keep to the rules could fill the memory. */
static bool may_announce(struct raylet_core *c, struct peer *p, uint64_t cost)
{
    uint64_t most = MAX_OF(c->credit_all / 4, (uint64_t)ANNOUNCED_LEAST);

    if (p->announced_bytes + cost <= most) {
        return true;
    }
    char why[160];
    snprintf(why, sizeof why,
             "it announced jobs and classes of %llu MiB, and this node keeps at most %llu MiB of "
             "one other",
             (unsigned long long)(p->announced_bytes + cost) >> 20, (unsigned long long)most >> 20);
    peer_protocol_error(c, p, SIDE_IN, why);
    return false;
}

static void add_sponsor(struct raylet_core *c, struct peer *p, struct job *job, uint64_t cost)
{
    struct sponsor *s = xcalloc(1, sizeof *s);

    s->cost = cost;
    p->announced_bytes += cost;

    s->job = job;
    s->home = p;
    list_append(&job->sponsors, &s->job_link);
    list_append(&p->sponsored, &s->peer_link);
    if (job->program_error != NULL) {
        say_broken(c, p, job);
    }
}

static void fetch(struct raylet_core *c, struct peer *p, struct job *job)
{
    struct raylet_effect *e;

    if (job->program != 0 || job->program_error != NULL || job->fetching || !job->guest) {
        return;
    }
    e = core_effect(c, EFFECT_FETCH_PROGRAM);
    e->peer = p->number;
    e->side = SIDE_IN;
    e->job = job->number;
    e->hash = arena_copy(&c->arena, job->hash, PEER_HASH_SIZE);
    e->bytes = job->program_size;
    job->fetching = true;
    job->fetched_from = p->number;
}

static void announced(struct raylet_core *c, struct peer *p, const struct peer_job *m)
{
    struct job *job = job_find(c, m->job);

    if (find_sponsor(p, m->job) != NULL || m->job == 0) {
        peer_protocol_error(c, p, SIDE_IN, "a job announced twice");
        return;
    }
    if (job != NULL && job->state != JOB_LIVE && job->state != JOB_ASKED) {
        if (job->guest &&
            !job->over) { /* its former life here is not over; a new session will find a new one */
            peer_protocol_error(c, p, SIDE_IN, "a job that is ending here; try again");
        }
        return; /* it has ended: the home will hear of it, too */
    }
    if (job == NULL && (m->home == c->node || peer_is_gone(c, m->home))) {
        return; /* likewise */
    }
    uint64_t cost = JOB_COST + m->env.size + m->given.size + strlen(m->name) +
                    strlen(m->program_name) + strlen(m->user) + strlen(m->cwd);
    if (!may_announce(c, p, cost)) {
        return;
    }
    if (job == NULL) {
        job = job_new_guest(c, m);
    }
    add_sponsor(c, p, job, cost);
    job_sponsors_changed(c, job);
    fetch(c, p, job);
    struct peer *home = job->guest && job->wants_logs ? peer_find(c, job->home) : NULL;
    if (home != NULL && home != p) {
        (void)peer_use(c, home); /* for its lines */
    }
}

static void drop_classes(struct raylet_core *c, struct peer *p, const struct job *job);

static void sponsor_free(struct raylet_core *c, struct sponsor *s)
{
    struct job *job = s->job;
    struct peer *p = s->home;

    drop_classes(c, p, job);
    list_unlink(&s->job_link);
    list_unlink(&s->peer_link);
    p->announced_bytes -= s->cost;
    free(s);
    if (job->fetching && job->fetched_from == p->number) {
        core_effect(c, EFFECT_FETCH_STOP)->job = job->number;
        job->fetching = false;
        struct list *other = list_first(&job->sponsors);
        if (other != NULL) {
            fetch(c, list_entry(other, struct sponsor, job_link)->home, job);
        }
    }
}

void host_program(struct raylet_core *c, const struct raylet_event *e)
{
    struct job *job = job_find(c, e->job);

    if (job == NULL || !job->guest || !job->fetching || job->state != JOB_LIVE) {
        if (e->program != 0) {
            core_effect(c, EFFECT_PROGRAM_DROP)->program = e->program;
        }
        return;
    }
    job->fetching = false;
    job->program = e->program;
    if (e->failure != NULL) {
        job->program_error = error_new(e->failure);
        job->broken_unsaid = true;
    }
}

/* ---- classes and slots ---- */

static struct guest_class *find_class(struct peer *p, uint32_t number)
{
    return numbers_get(&p->guest_classes, number);
}

static void declared(struct raylet_core *c, struct peer *p, const struct peer_class *m)
{
    struct sponsor *s = find_sponsor(p, m->job);
    struct guest_class *g;
    struct class_ *k;

    if (s == NULL || m->number == 0 || find_class(p, m->number) != NULL) {
        if (s != NULL) {
            peer_protocol_error(c, p, SIDE_IN, "a class declared twice");
        }
        return; /* of a job that has ended here */
    }
    if (p->guest_classes.used >= CLASSES_MAX) {
        peer_protocol_error(c, p, SIDE_IN, "too many classes");
        return;
    }
    uint64_t cost = CLASS_COST + 2 * m->kinds.size + 2 * strlen(m->function);
    if (!may_announce(c, p, cost)) {
        return;
    }
    k = class_use_guest(c, s->job, p->number, m);
    if (k == NULL) {
        peer_protocol_error(c, p, SIDE_IN, "a class that asks for what this node never had");
        return;
    }
    g = xcalloc(1, sizeof *g);
    g->number = m->number;
    g->home = p;
    g->class_ = k;
    g->cost = cost;
    p->announced_bytes += cost;
    k->guest = g;
    list_init(&g->granted_link);
    numbers_set(&p->guest_classes, m->number, g);
}

static void class_free(struct raylet_core *c, struct guest_class *g)
{
    struct class_ *k = g->class_;

    class_set_wants(c, k, 0);
    schedule_unpromise(c, k->pool, g->outstanding);
    list_unlink(&g->granted_link);
    numbers_remove(&g->home->guest_classes, g->number);
    g->home->announced_bytes -= g->cost;
    k->guest = NULL;
    free(g);
    class_unuse(c, k);
}

struct dropping {
    struct raylet_core *c;
    const struct job *job; /* NULL: of all */
};

static bool drop_class(uint64_t number, void *value, void *arg)
{
    struct dropping *d = arg;
    struct guest_class *g = value;

    if (d->job == NULL || g->class_->job == d->job) {
        class_free(d->c, g);
    }
    return true;
}

static void drop_classes(struct raylet_core *c, struct peer *p, const struct job *job)
{
    struct dropping d = {c, job};

    numbers_each(&p->guest_classes, drop_class, &d);
}

static void want(struct raylet_core *c, struct guest_class *g)
{
    uint64_t wants = g->limit > g->granted ? g->limit - g->granted : 0;

    if (!c->leaving && !c->closed && g->class_->job->program_error == NULL) {
        class_set_wants(c, g->class_, (uint32_t)MIN_OF(wants, (uint64_t)WANTS_MAX));
    }
}

static void asked(struct raylet_core *c, struct peer *p, const struct peer_ask *m)
{
    struct guest_class *g = find_class(p, m->number);

    if (g == NULL) {
        return;
    }
    g->limit = m->limit;
    if (!p->unheard) {
        want(c, g);
    }
}

static bool want_again(uint64_t number, void *value, void *arg)
{
    want(arg, value);
    return true;
}

/* It used a slot, or gave one back. */
static void heard(struct raylet_core *c, struct peer *home)
{
    if (home->unheard) {
        home->unheard = false;
        numbers_each(&home->guest_classes, want_again, c);
    }
}

static void returned(struct raylet_core *c, struct peer *p, const struct peer_slots *m)
{
    struct guest_class *g = find_class(p, m->number);

    if (g == NULL) {
        return;
    }
    if (m->count > g->outstanding) {
        peer_protocol_error(c, p, SIDE_IN, "more slots returned than were lent");
        return;
    }
    g->outstanding -= m->count;
    schedule_unpromise(c, g->class_->pool, m->count);
    heard(c, p);
}

/* ---- tasks ---- */

static void add_references(struct raylet_core *c, struct task *t, const struct peer_run *m)
{
    struct task_extra *x = t->extra;

    if (m->ref_count == 0) {
        return;
    }
    x->refs = xcalloc(m->ref_count, sizeof(struct object *));
    for (size_t i = 0; i < m->ref_count; i++) {
        struct object *o = foreign_object(c, t->class_->job, m->refs[i]);
        if (o != NULL) {
            foreign_cover(c, o);
            x->refs[x->ref_count++] = o;
        }
    }
}

static void run(struct raylet_core *c, struct peer *p, const struct peer_msg *m)
{
    struct guest_class *g = find_class(p, m->run.number);
    struct task *t;

    if (p->last_run != 0 && m->run.run != p->last_run + 1) { /* a session begins anywhere */
        peer_protocol_error(c, p, SIDE_IN, "runs out of order");
        return;
    }
    p->last_run = m->run.run;
    if (g == NULL) { /* of a job that has ended here */
        struct peer_msg *b = core_send_peer(c, p, SIDE_IN, PEER_BACK);
        b->back.run = m->run.run;
        b->back.reason = PEER_BACK_BUSY;
        return;
    }
    if (g->outstanding == 0) {
        peer_protocol_error(c, p, SIDE_IN, "a run without a slot");
        return;
    }
    g->outstanding--;
    t = task_new_guest(c, g->class_, p, &m->run, m->payload);
    add_references(c, t, &m->run);
    task_guest_ready(c, t);
    schedule_use_promise(c, g->class_);
    heard(c, p);
    guest_waits(c);
}

static void stop(struct raylet_core *c, struct peer *p, const struct peer_stop_run *m)
{
    struct task *t = numbers_get(&p->guests, m->run);

    if (t != NULL) { /* else its answer is on its way */
        task_stop_guest(c, t, m->how, m->recursive);
    }
}

/* A task of ours, by somebody who holds what it makes. */
static void cancel(struct raylet_core *c, struct peer *p, const struct peer_cancel *m)
{
    struct object *o = object_find(c, m->id);

    for (uint32_t i = 0; o != NULL && o->following && i < WORK_STEP; i++) {
        o = o->alias; /* what it follows is what runs */
    }
    if (o == NULL) { /* it was let go meanwhile; its body may run on */
        if (m->id.node == c->node && (m->flags & CANCEL_FORCE)) {
            home_force(c, NULL, m->id, m->flags);
        }
        return;
    }
    if (o->state == OBJECT_PENDING && o->owner->node == 0 && !o->following && o->task != NULL) {
        (void)task_cancel(c, o->task, m->flags, "it was cancelled");
    } else if (o->state == OBJECT_PENDING && o->owner->node != 0 && o->owner->node != p->number) {
        (void)home_cancel(c, core_object_id(c, o), m->flags);
    } else if (m->flags & CANCEL_FORCE) {
        home_force(c, o, m->id, m->flags);
    }
}

static void job_ended(struct raylet_core *c, struct peer *p, const struct peer_job_end *m);

bool host_home_says(struct raylet_core *c, struct peer *p, const struct peer_msg *m)
{
    struct job *job = m->type == PEER_JOB_END ? job_find(c, m->job_end.job) : NULL;

    if (job != NULL && job->home == p->number && m->job_end.over) {
        job_over(c, job, JOB_DONE);
    }
    return m->type == PEER_JOB_END;
}

bool host_message(struct raylet_core *c, struct peer *p, const struct peer_msg *m)
{
    switch (m->type) {
    case PEER_JOB:
        announced(c, p, &m->job);
        return true;
    case PEER_JOB_END:
        job_ended(c, p, &m->job_end);
        return true;
    case PEER_JOB_ASK:
        if (job_is_over(c, m->job_ask.job)) {
            struct peer_msg *answer = core_send_peer(c, p, SIDE_IN, PEER_JOB_END);
            answer->job_end = (struct peer_job_end){.job = m->job_ask.job, .over = true};
        }
        return true;
    case PEER_CLASS:
        declared(c, p, &m->class_);
        return true;
    case PEER_CLASS_END: {
        struct guest_class *g = find_class(p, m->class_end.number);
        if (g != NULL) {
            class_free(c, g);
            heard(c, p);
        }
        return true;
    }
    case PEER_ASK:
        asked(c, p, &m->ask);
        return true;
    case PEER_RETURN:
        returned(c, p, &m->slots);
        return true;
    case PEER_RUN:
        run(c, p, m);
        return true;
    case PEER_STOP:
        stop(c, p, &m->stop);
        return true;
    case PEER_CANCEL:
        cancel(c, p, &m->cancel);
        return true;
    case PEER_LIFT:
        lift_heard(c, p, &m->lift);
        return true;
    case PEER_RECORDED:
        for (size_t i = 0; i < m->runs.run_count; i++) {
            guest_recorded(c, p, m->runs.runs[i]);
        }
        return true;
    default:
        return false;
    }
}

/* ---- ends ---- */

struct orphaning {
    struct raylet_core *c;
    const struct job *job; /* NULL: of all */
};

static bool orphan(uint64_t number, void *value, void *arg)
{
    struct orphaning *o = arg;
    struct task *t = value;

    if (o->job == NULL || t->class_->job == o->job) {
        task_orphan_guest(o->c, t);
    }
    return true;
}

static void job_ended(struct raylet_core *c, struct peer *p, const struct peer_job_end *m)
{
    struct sponsor *s = find_sponsor(p, m->job);
    struct orphaning o = {.c = c};

    if (s == NULL) {
        return;
    }
    o.job = s->job;
    numbers_each(&p->guests, orphan, &o);
    struct job *job = s->job;
    sponsor_free(c, s);
    heard(c, p);
    if (m->over) {
        job_over(c, job, JOB_DONE);
    } else if (job->guest && list_is_empty(&job->sponsors)) {
        job_let_go(c, job);
    } else {
        job_sponsors_changed(c, job);
    }
}

void host_home_dead(struct raylet_core *c, uint32_t node)
{
    LIST_FOREACH(at, &c->jobs)
    {
        struct job *job = list_entry(at, struct job, link);
        if (job->home == node) {
            job_over(c, job, JOB_LOST);
        }
    }
}

void host_peer_down(struct raylet_core *c, struct peer *p)
{
    struct orphaning o = {.c = c};

    if ((c->rules_off & RULE_END_GUESTS) == 0 || p->state == PEER_DEAD) {
        numbers_each(&p->guests, orphan, &o);
    }
    guest_forget_kept(c, p);
    LIST_FOREACH_SAFE(at, &p->sponsored)
    {
        struct sponsor *s = list_entry(at, struct sponsor, peer_link);
        struct job *job = s->job;
        sponsor_free(c, s);
        job_sponsors_changed(c, job);
    }
    p->last_run = 0;
    p->unheard = false;
}

/* ---- at the end of a step ---- */

static void grant(struct raylet_core *c, struct peer *p)
{
    struct list *at;

    while ((at = list_pop(&p->granted)) != NULL) {
        struct guest_class *g = list_entry(at, struct guest_class, granted_link);
        struct peer_msg *m = core_send_peer(c, p, SIDE_IN, PEER_GRANT);
        m->slots.number = g->number;
        m->slots.count = g->grant_now;
        g->grant_now = 0;
    }
}

static void say_all_broken(struct raylet_core *c, struct job *job)
{
    job->broken_unsaid = false;
    LIST_FOREACH(at, &job->sponsors)
    {
        say_broken(c, list_entry(at, struct sponsor, job_link)->home, job);
    }
    for (struct class_ *k = job->classes, *next; k != NULL; k = next) {
        next = k->hh.next;
        k->users++;
        if (k->guest != NULL) {
            class_set_wants(c, k, 0);
        }
        while (k->of_others && k->queued > 0) {
            task_fail(c, class_first(k), job->program_error);
        }
        class_unuse(c, k);
    }
}

void host_flush(struct raylet_core *c)
{
    if (c->peers == NULL) {
        return;
    }
    for (struct peer *p = c->peers; p != NULL; p = p->hh.next) {
        if (!list_is_empty(&p->granted)) {
            grant(c, p);
        }
    }
}

/* A job that ends here, because its driver was here, may still be announced by nodes that ran
 * tasks of it: what they sent of it ends with it. */
static void end_sponsors(struct raylet_core *c, struct job *job)
{
    struct orphaning o = {.c = c, .job = job};

    LIST_FOREACH_SAFE(at, &job->sponsors)
    {
        struct sponsor *s = list_entry(at, struct sponsor, job_link);
        numbers_each(&s->home->guests, orphan, &o);
        sponsor_free(c, s);
    }
}

void host_work(struct raylet_core *c)
{
    LIST_FOREACH(at, &c->jobs)
    {
        struct job *job = list_entry(at, struct job, link);
        if (UNLIKELY(job->state == JOB_ENDING)) {
            end_sponsors(c, job);
        }
        if (job->broken_unsaid) {
            say_all_broken(c, job);
        }
    }
}

/* ---- time ---- */

static void give_back(struct raylet_core *c, struct class_ *k, uint64_t wait_ns,
                      enum peer_back reason)
{
    while (k->queued > 0) {
        struct task *t = list_entry(list_first(&k->queue), struct task, link);
        if (c->now_ns - t->extra->guest->arrived_ns < wait_ns) {
            return;
        }
        class_dequeue(c, t);
        guest_back(c, t, reason);
        task_end_guest(c, t);
    }
}

/* True: there is more to tell of it, but not yet. */
static bool report_started(struct raylet_core *c, struct worker *w)
{
    struct task *t = worker_first(w);
    struct guest *g;

    if (t == NULL || !task_is_guest(t)) {
        return w->placed > 1 && c->guest_count > 0; /* perhaps the next one is */
    }
    g = t->extra->guest;
    if (c->now_ns - w->mark_ns < STARTED_NS) {
        return g->home != NULL && !g->started_said;
    }
    if (g->home != NULL && !g->started_said) {
        struct peer_msg *m = core_send_peer(c, g->home, SIDE_IN, PEER_STARTED);
        m->runs.runs = arena_copy(&c->arena, &g->run, sizeof g->run);
        m->runs.run_count = 1;
        g->started_said = true;
    }
    return w->placed > 1; /* the next one */
}

/* True: some wait. */
static bool give_back_all(struct raylet_core *c, uint64_t wait_ns, enum peer_back reason)
{
    bool wait = false;

    LIST_FOREACH(at, &c->jobs)
    {
        struct job *job = list_entry(at, struct job, link);
        for (struct class_ *k = job->classes, *next; k != NULL; k = next) {
            next = k->hh.next;
            if (k->of_others && k->queued > 0) {
                k->users++;
                give_back(c, k, wait_ns, reason);
                wait = wait || k->queued > 0;
                class_unuse(c, k);
            }
        }
    }
    return wait;
}

void host_timer(struct raylet_core *c)
{
    bool more = give_back_all(c, WAIT_NS, PEER_BACK_BUSY);

    LIST_FOREACH(at, &c->workers)
    {
        more = report_started(c, list_entry(at, struct worker, link)) || more;
    }
    if (more) {
        guest_waits(c);
    }
}

void host_drain(struct raylet_core *c)
{
    LIST_FOREACH(at, &c->jobs)
    {
        for (struct class_ *k = list_entry(at, struct job, link)->classes; k != NULL;
             k = k->hh.next) {
            if (k->guest != NULL) {
                class_set_wants(c, k, 0);
            }
        }
    }
    (void)give_back_all(c, 0, PEER_BACK_LEAVING);
}
