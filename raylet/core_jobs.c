#include "raylet/core_jobs.h"

#include "common/text.h"
#include "raylet/core_classes.h"
#include "raylet/core_foreign.h"
#include "raylet/core_home.h"
#include "raylet/core_objects.h"
#include "raylet/core_parts.h"
#include "raylet/core_peers.h"
#include "raylet/core_schedule.h"
#include "raylet/core_tasks.h"
#include "raylet/core_workers.h"

#include <signal.h>
#include <stdio.h>

#define CLIENTS_MAX  4096u
#define STOP_NS      (2 * NS_PER_S)
#define HELD_LOOK_NS (200 * NS_PER_MS)
#define GRACE_NS     (5 * NS_PER_S) /* a guest that nobody announces any more ends after */
#define ASK_HOME_NS  (5 * NS_PER_S) /* between two questions to the home of a guest */

/* ---- jobs ---- */

static void job_enter(struct job *job, uint8_t state)
{
    static const uint8_t allowed[] = {
        [JOB_ASKED] = 1u << JOB_LIVE | 1u << JOB_ENDING,
        [JOB_LIVE] = 1u << JOB_ENDING,
        [JOB_ENDING] = 1u << JOB_ENDED_UNSAID,
        [JOB_ENDED_UNSAID] = 0,
    };

    ASSERT(allowed[job->state] >> state & 1);
    job->state = state;
}

static void say_new(struct raylet_core *c, struct job *job)
{
    struct cluster_msg *m = core_send_head(c, CLUSTER_JOB_NEW);

    m->job_new.key = job->key;
    m->job_new.name = core_text(c, job->name);
    m->job_new.program = core_text(c, job->program_name);
    m->job_new.user = core_text(c, job->user);
    m->job_new.pid = (uint32_t)job->pid;
    m->job_new.started_unix_ms = job->started_unix_ms;
}

static void say_end(struct raylet_core *c, struct job *job)
{
    struct cluster_msg *m = core_send_head(c, CLUSTER_JOB_END);

    m->job_end.job = job->number;
    m->job_end.state = job->end_state;
    m->job_end.ended_unix_ms = job->ended_unix_ms;
    m->job_end.done = job->done;
    m->job_end.failed = job->failed;
    m->job_end.cancelled = job->cancelled;
}

static void job_init(struct raylet_core *c, struct job *job)
{
    list_init(&job->workers);
    list_init(&job->idle);
    list_init(&job->waiting);
    list_init(&job->sponsors);
    core_timer_init(&job->timer, TIMER_JOB);
    list_append(&c->jobs, &job->link);
}

/* The environment of its workers, and behind it what they are given. */
static void keep_payload(struct job *job, struct bytes env, struct bytes given)
{
    job->env = xmalloc(env.size + given.size + 1);
    memcpy(job->env, env.size > 0 ? env.data : "", env.size);
    memcpy(job->env + env.size, given.size > 0 ? given.data : "", given.size);
    job->env_size = env.size;
    job->given_size = given.size;
}

struct job *job_new_guest(struct raylet_core *c, const struct peer_job *m)
{
    struct job *job = xcalloc(1, sizeof *job);

    job->guest = true;
    job->home = m->home;
    job->number = m->job;
    job->state = JOB_LIVE;
    job->name = xstrdup(m->name);
    job->program_name = xstrdup(m->program_name);
    job->user = xstrdup(m->user);
    job->cwd = xstrdup(m->cwd);
    keep_payload(job, m->env, m->given);
    job->umask = m->umask;
    job->started_unix_ms = m->started_unix_ms;
    job->wants_logs = m->wants_logs;
    memcpy(job->hash, m->hash.data, PEER_HASH_SIZE);
    job->program_size = m->program_size;
    job_init(c, job);
    return job;
}

static void job_new(struct raylet_core *c, struct client *driver, const struct local_open *m)
{
    struct job *job = xcalloc(1, sizeof *job);
    char number[24];

    snprintf(number, sizeof number, "%u", driver->uid);
    job->key = driver->number;
    job->state = JOB_ASKED;
    job->name = xstrdup(m->job_name);
    job->program_name = xstrdup(m->program_name);
    job->user = xstrdup(c->user != NULL && driver->uid == c->own_uid ? c->user : number);
    job->cwd = xstrdup(m->cwd);
    keep_payload(job, m->env, m->given);
    job->umask = m->umask;
    job->pid = driver->pid;
    job->started_unix_ms = core_unix_ms(c);
    job->driver = driver;
    job->live_clients = 1;
    job->wants_logs = m->wants_logs;
    job_init(c, job);
    driver->job = job;
    if (c->head_state == HEAD_JOINED) {
        say_new(c, job);
    }
}

static void job_free(struct raylet_core *c, struct job *job)
{
    ASSERT(list_is_empty(&job->sponsors) && job->classes == NULL);
    core_timer_disarm(c, &job->timer);
    list_unlink(&job->link);
    if (job->program != 0) {
        core_effect(c, EFFECT_PROGRAM_DROP)->program = job->program;
    }
    error_unref(job->program_error);
    free(job->name);
    free(job->program_name);
    free(job->user);
    free(job->cwd);
    free(job->env);
    free(job);
}

void job_say_all(struct raylet_core *c)
{
    LIST_FOREACH(at, &c->jobs)
    {
        struct job *job = list_entry(at, struct job, link);
        if (job->guest) {
            continue; /* its own raylet says it */
        }
        if (job->number == 0 && !job->refused) {
            say_new(c, job);
        } else if (job->state == JOB_ENDED_UNSAID) {
            say_end(c, job);
        }
    }
}

static void welcome(struct raylet_core *c, struct client *client)
{
    struct local_msg *m = core_send(c, client->number, LOCAL_WELCOME);

    client->state = CLIENT_LIVE;
    m->welcome.node = c->node;
    m->welcome.client = client->number;
    m->welcome.job = client->job == NULL ? 0 : client->job->number;
    m->welcome.node_name = c->node_name;
    m->welcome.cluster = c->cluster;
    m->welcome.credit_bytes = c->credit_each;
    m->welcome.given_size = 0;
    if (client->worker != NULL && client->job->given_size != 0) {
        const struct job *job = client->job;
        m->welcome.given_size = (uint32_t)job->given_size;
        m->payload = bytes_of(arena_copy(&c->arena, job->env + job->env_size, job->given_size),
                              job->given_size);
    }
}

static void refuse(struct raylet_core *c, struct client *client, const struct failure *f)
{
    core_send(c, client->number, LOCAL_REFUSED)->refused.failure = *f;
    core_effect(c, EFFECT_CLOSE)->client = client->number;
    client->state = CLIENT_REFUSED;
}

static void refused(struct raylet_core *c, struct job *job, const struct failure *f)
{
    job->refused = true;
    if (job->state == JOB_ENDED_UNSAID) {
        job_free(c, job); /* its driver went before; nobody else asks */
    } else if (job->driver != NULL) {
        refuse(c, job->driver, f);
    }
}

static void without_head(struct raylet_core *c, struct failure *ret)
{
    failure_set(
        ret, CODE_REFUSED,
        "the program at the address of the head of \"%s\" refuses the key of node \"%s\", so no "
        "job can start: another program uses the head's port, or the head has new keys. Running "
        "jobs continue. For new keys: when the jobs have ended, copy the head's join.key again, "
        "then "
        "run 'drt-node leave' and 'drt-node join'",
        c->cluster, c->node_name);
}

void job_refuse_new(struct raylet_core *c)
{
    struct failure f;

    without_head(c, &f);
    LIST_FOREACH_SAFE(at, &c->jobs)
    {
        struct job *job = list_entry(at, struct job, link);
        if (job->number == 0 && !job->refused) {
            refused(c, job, &f);
        }
    }
}

void job_added(struct raylet_core *c, const struct cluster_job_added *m)
{
    LIST_FOREACH(at, &c->jobs)
    {
        struct job *job = list_entry(at, struct job, link);
        if (job->key != m->key || job->number != 0 || job->refused) {
            continue;
        }
        if (m->failure.code != 0) {
            refused(c, job, &m->failure);
            return;
        }
        job->number = m->job;
        if (job->state == JOB_ASKED) {
            job_enter(job, JOB_LIVE);
            if (job->driver->state == CLIENT_ASKED) { /* else it broke a rule meanwhile */
                welcome(c, job->driver);
            }
        } else if (job->state == JOB_ENDED_UNSAID) {
            say_end(c, job); /* its driver went before the head knew it */
        }
        return;
    }
}

void job_end_heard(struct raylet_core *c, uint64_t number)
{
    struct job *job = job_find(c, number);

    if (job == NULL) {
        part_heard(c, number);
    } else if (job->state == JOB_ENDED_UNSAID) {
        job_free(c, job);
    } /* else it ends here as well, and says so */
}

void job_program(struct raylet_core *c, const struct raylet_event *e)
{
    struct client *client = core_client(c, e->client);
    struct job *job = client == NULL || client->role != ROLE_DRIVER ? NULL : client->job;

    if (job == NULL || job->state == JOB_ENDING || job->state == JOB_ENDED_UNSAID) {
        if (e->program != 0) {
            core_effect(c, EFFECT_PROGRAM_DROP)->program = e->program;
        }
        return;
    }
    job->program = e->program;
    if (e->hash != NULL) {
        memcpy(job->hash, e->hash, PEER_HASH_SIZE);
        job->program_size = e->size;
    }
    if (e->failure != NULL && job->program_error == NULL) {
        struct class_ *k, *next;
        job->program_error = error_new(e->failure);
        HASH_ITER(hh, job->classes, k, next)
        {
            task_fail_class(c, k, job->program_error);
        }
    }
}

/* ---- the end of a job ---- */

static void stop_workers(struct raylet_core *c, struct job *job, struct object_error *why)
{
    LIST_FOREACH_SAFE(at, &job->workers)
    {
        struct worker *w = list_entry(at, struct worker, job_link);
        if (w->state == WORKER_IDLE) {
            worker_leave(c, w);
        } else if (w->state == WORKER_STARTING) {
            worker_kill(c, w, SIGKILL);
        }
        for (uint32_t i = 0; i < LOCAL_CLAIMS; i++) {
            if (w->slots[i] != NULL) {
                w->slots[i]->stop = STOP_ASK;
                task_fail(c, w->slots[i], why);
            }
        }
    }
}

void job_end(struct raylet_core *c, struct job *job, uint32_t end_state)
{
    struct object_error *why;

    if (job->state != JOB_ASKED && job->state != JOB_LIVE) {
        return;
    }
    why = error_make(c, CODE_CANCELLED, "", "its program has ended");
    job_enter(job, JOB_ENDING);
    job->end_state = job->is_cancelled ? JOB_CANCELLED : end_state;
    job->ended_unix_ms = core_unix_ms(c);
    stop_workers(c, job, why);
    error_unref(why);
    home_end_job(c, job);
    core_timer_arm(c, &job->timer, c->now_ns + STOP_NS);
}

struct job *job_find(const struct raylet_core *c, uint64_t number)
{
    LIST_FOREACH(at, (struct list *)&c->jobs)
    {
        struct job *job = list_entry(at, struct job, link);
        if (job->number == number) {
            return job;
        }
    }
    return NULL;
}

bool job_is_over(const struct raylet_core *c, uint64_t number)
{
    const struct job *job = job_find(c, number);

    return job == NULL || (!job->guest && job->state != JOB_LIVE);
}

void job_over(struct raylet_core *c, struct job *job, uint32_t end_state)
{
    if (job->guest && job->state == JOB_LIVE) {
        job->over = true;
        job_end(c, job, end_state);
        c->more_work = true;
    }
}

static bool home_announces(const struct job *job)
{
    LIST_FOREACH(at, (struct list *)&job->sponsors)
    {
        if (list_entry(at, struct sponsor, job_link)->home->number == job->home) {
            return true;
        }
    }
    return false;
}

void job_sponsors_changed(struct raylet_core *c, struct job *job)
{
    if (!job->guest || job->state != JOB_LIVE) {
        return;
    }
    if (list_is_empty(&job->sponsors)) {
        job->unsponsored_ns = c->now_ns;
    }
    if (home_announces(job)) {
        job->ask_home_ns = 0;
    } else if (job->ask_home_ns == 0) {
        job->ask_home_ns = c->now_ns + GRACE_NS;
        job_timer(c, job);
    }
}

void job_let_go(struct raylet_core *c, struct job *job)
{
    if (foreign_job_is_held(c, job)) { /* silence takes nothing from those who hold its objects */
        job->unsponsored_ns = c->now_ns > GRACE_NS ? c->now_ns - GRACE_NS : 0;
        core_timer_arm(c, &job->timer, ns_add(c->now_ns, HELD_LOOK_NS));
    } else {
        job_end(c, job, JOB_DONE);
    }
}

static void ask_home(struct raylet_core *c, struct job *job)
{
    struct peer *home = peer_find(c, job->home);

    job->ask_home_ns = c->now_ns + ASK_HOME_NS;
    if (home != NULL && peer_use(c, home)) {
        core_send_peer(c, home, SIDE_OUT, PEER_JOB_ASK)->job_ask.job = job->number;
    }
}

/* A guest whose home does not announce it. */
static void look_after(struct raylet_core *c, struct job *job)
{
    uint64_t next_ns;

    if (job->ask_home_ns <= c->now_ns) {
        ask_home(c, job);
    }
    next_ns = job->ask_home_ns;
    if (list_is_empty(&job->sponsors)) {
        uint64_t until_ns = job->unsponsored_ns + GRACE_NS;
        if (c->now_ns >= until_ns) {
            job_let_go(c, job);
            return;
        }
        next_ns = MIN_OF(next_ns, until_ns);
    }
    if (!timer_is_armed(&job->timer.timer) || job->timer.timer.at_ns > next_ns) {
        core_timer_arm(c, &job->timer, next_ns);
    }
}

void job_timer(struct raylet_core *c, struct job *job)
{
    if (job->state == JOB_LIVE) {
        if (job->guest && job->ask_home_ns != 0) {
            look_after(c, job);
        }
        return; /* it may have been for workers that are to be started again: this step does */
    }
    LIST_FOREACH(at, &job->workers)
    {
        worker_kill(c, list_entry(at, struct worker, job_link), SIGKILL);
    }
    if (!list_is_empty(&job->workers)) {
        core_timer_arm(c, &job->timer, c->now_ns + STOP_NS);
    }
}

static uint32_t cancel_some(struct raylet_core *c, struct job *job, uint32_t most)
{
    struct object_error *why = job->is_cancelled && job->program_error != NULL
                                   ? error_ref(job->program_error)
                                   : error_make(c, CODE_CANCELLED, "", "its program has ended");
    struct class_ *k, *next;
    uint32_t done = 0;

    while (done < most && !list_is_empty(&job->waiting)) {
        task_fail(c, list_entry(list_first(&job->waiting), struct task, link), why);
        done++;
    }
    HASH_ITER(hh, job->classes, k, next)
    {
        k->users++;
        struct task *t;
        while (done < most && (t = class_first(k)) != NULL) {
            task_fail(c, t, why);
            done++;
        }
        class_unuse(c, k);
    }
    error_unref(why);
    return done;
}

struct cancelling {
    struct raylet_core *c;
    const struct job *job;
    uint32_t flags;
    const char *why;
};

static bool cancel_sent(uint64_t run, void *value, void *arg)
{
    struct cancelling *x = arg;
    struct task *t = value;

    if (t->class_->job == x->job) {
        (void)task_cancel(x->c, t, x->flags, x->why);
    }
    return true;
}

void job_cancel(struct raylet_core *c, struct job *job, bool force, const char *why)
{
    struct cancelling x = {
        .c = c, .job = job, .flags = CANCEL_RECURSIVE | (force ? CANCEL_FORCE : 0), .why = why};

    ASSERT(job->state == JOB_LIVE);
    job->is_cancelled = job->cancelling = true;
    if (job->program_error == NULL) {
        job->program_error = error_make(c, CODE_CANCELLED, "", "%s", why);
    }
    LIST_FOREACH(at, &job->workers)
    {
        struct worker *w = list_entry(at, struct worker, job_link);
        for (uint32_t i = 0; i < LOCAL_CLAIMS; i++) {
            if (w->slots[i] != NULL) {
                (void)task_cancel(c, w->slots[i], x.flags, why);
            }
        }
    }
    for (struct peer *p = c->peers; p != NULL; p = p->hh.next) {
        numbers_each(&p->runs, cancel_sent, &x);
    }
    c->more_work = true;
}

/* Objects of all its processes that are gone. True if there are more. */
static bool release_some(struct raylet_core *c, struct job *job, uint32_t most)
{
    LIST_FOREACH(at, &c->clients)
    {
        struct client *client = list_entry(at, struct client, link);
        if (client->job == job && client->state == CLIENT_GONE &&
            object_release_all(c, client, most)) {
            return true;
        }
    }
    return false;
}

/* What follows an object of another node would wait for it, and keep it, and so its job there. */
static bool end_following(struct raylet_core *c, struct job *job, uint32_t most)
{
    struct object_error *why = NULL;
    bool more = false;

    LIST_FOREACH(at, &c->clients)
    {
        struct client *client = list_entry(at, struct client, link);
        if (client->job == job && client->state == CLIENT_GONE && client->objects.used > 0) {
            why = why != NULL ? why : error_make(c, CODE_CANCELLED, "", "its program has ended");
            more = object_end_following(c, client, why, most) || more;
        }
    }
    error_unref(why);
    return more;
}

bool job_work(struct raylet_core *c)
{
    bool more = false;

    LIST_FOREACH_SAFE(at, &c->jobs)
    {
        struct job *job = list_entry(at, struct job, link);
        if (job->state == JOB_LIVE && job->cancelling) {
            job->cancelling = cancel_some(c, job, WORK_STEP) == WORK_STEP;
            more = more || job->cancelling;
        }
        if (job->state != JOB_ENDING) {
            continue;
        }
        if (cancel_some(c, job, WORK_STEP) == WORK_STEP || release_some(c, job, WORK_STEP) ||
            end_following(c, job, WORK_STEP) || foreign_job_ends(c, job, WORK_STEP) ||
            !list_is_empty(&job->sponsors)) {
            more = true;
            continue;
        }
        if (!list_is_empty(&job->workers) || job->waiting_count > 0 || job->live_clients > 0) {
            continue;
        }
        job_enter(job, JOB_ENDED_UNSAID);
        core_timer_disarm(c, &job->timer);
        if (job->refused || job->guest) {
            part_take(c, job);
            job_free(c, job); /* the head never knew it, or not from us */
        } else if (job->number != 0 && c->head_state == HEAD_JOINED && !c->fenced) {
            say_end(c, job);
        }
    }
    return more;
}

bool job_is_ending(const struct raylet_core *c)
{
    for (const struct list *at = c->jobs.next; at != &c->jobs; at = at->next) {
        const struct job *job = list_entry(at, struct job, link);
        bool unsaid = job->state == JOB_ENDED_UNSAID && c->head_state == HEAD_JOINED;
        if (!job->guest && (job->state == JOB_ENDING || unsaid || c->closed)) {
            return true;
        }
    }
    return false;
}

void job_say_ending(struct raylet_core *c)
{
    LIST_FOREACH(at, &c->jobs)
    {
        struct job *job = list_entry(at, struct job, link);
        if (job->state == JOB_ENDING && !job->guest && !job->refused && job->number != 0) {
            say_end(c, job);
        }
    }
}

/* ---- clients ---- */

void client_up(struct raylet_core *c, const struct raylet_event *e)
{
    struct client *client = xcalloc(1, sizeof *client);

    client->number = e->client;
    client->state = CLIENT_GREETED;
    client->uid = e->uid;
    client->pid = e->pid;
    client->next_number = 1;
    numbers_init(&client->objects);
    list_init(&client->touched_link);
    list_append(&c->clients, &client->link);
    numbers_set(&c->clients_by_number, client->number, client);
}

void client_slow(struct raylet_core *c, const struct raylet_event *e)
{
    struct client *client = core_client(c, e->client);

    if (client != NULL) {
        client->slow = e->ok;
    }
}

static void client_forget(struct raylet_core *c, struct client *client)
{
    struct job *job = client->job;

    ASSERT(client->holds == NULL);
    list_unlink(&client->link);
    list_unlink(&client->touched_link);
    if (client->node != 0) {
        foreign_forget_client(c, client);
    } else {
        numbers_remove(&c->clients_by_number, client->number);
    }
    numbers_fini(&client->objects);
    error_unref(client->full);
    buffer_fini(&client->answer_bytes);
    free(client->answers);
    free(client);
    if (job != NULL) {
        ASSERT(job->live_clients > 0);
        job->live_clients--;
        /* its end may have waited for this: the next step sees to it */
        c->more_work = c->more_work || (job->state == JOB_ENDING && job->live_clients == 0);
    }
}

static void refuse_with(struct raylet_core *c, struct client *client, int code,
                        const char *sentence)
{
    struct failure f;

    failure_set(&f, code, "%s", sentence);
    refuse(c, client, &f);
}

void client_open(struct raylet_core *c, struct client *client, const struct local_open *m)
{
    if (client->state != CLIENT_GREETED) {
        core_protocol_error(c, client, "a second OPEN");
        return;
    }
    client->role = m->role;
    client->state = CLIENT_ASKED;
    if (m->protocol != LOCAL_PROTOCOL_VERSION) {
        refuse_with(c, client, CODE_REFUSED,
                    "this program was built with another version of libdrt. Build it again");
    } else if (m->role == ROLE_TOOL) {
        welcome(c, client);
    } else if (m->role == ROLE_WORKER) {
        if (worker_opened(c, client, m->worker)) {
            welcome(c, client);
        } else {
            refuse_with(c, client, CODE_REFUSED, "this raylet did not start this worker");
        }
    } else if (c->leaving) {
        refuse_with(c, client, CODE_REFUSED,
                    "this node is leaving the cluster: run the program on another node");
    } else if (c->key_refused) {
        struct failure f;
        without_head(c, &f);
        refuse(c, client, &f);
    } else if (c->clients_by_number.used > CLIENTS_MAX) {
        refuse_with(c, client, CODE_FULL,
                    "too many programs on this node: try again when some have ended");
    } else {
        job_new(c, client, m);
        core_effect(c, EFFECT_LOAD_PROGRAM)->client = client->number;
    }
}

void client_goodbye(struct raylet_core *c, struct client *client)
{
    if (client->role == ROLE_DRIVER && client->job != NULL) {
        client->job->said_goodbye = true;
        job_end(c, client->job, JOB_DONE);
    }
}

static void worker_went(struct raylet_core *c, struct worker *w)
{
    w->client->worker = NULL;
    w->client = NULL;
    if (w->state == WORKER_IDLE) {
        worker_enter(c, w, WORKER_LEAVING);
    }
    if (!w->stopping) {
        worker_kill(c, w, SIGKILL); /* without its channel it serves nothing; its exit comes */
    }
}

void client_down(struct raylet_core *c, const struct raylet_event *e)
{
    struct client *client = core_client(c, e->client);

    if (client == NULL || client->state == CLIENT_GONE) {
        return;
    }
    client->state = CLIENT_GONE;
    client->answer_count = 0;
    buffer_clear(&client->answer_bytes);
    class_forget_decls(c, client);
    if (client->role == ROLE_DRIVER && client->job != NULL) {
        job_end(c, client->job, client->job->said_goodbye ? JOB_DONE : JOB_FAILED);
        client->job->driver = NULL;
    } else {
        while (object_release_all(c, client, WORK_STEP)) {
        }
        if (client->worker != NULL) {
            worker_went(c, client->worker);
        }
    }
    core_touch(c, client);
}

void client_flush(struct raylet_core *c)
{
    struct list *at;

    while ((at = list_pop(&c->touched)) != NULL) {
        struct client *client = list_entry(at, struct client, touched_link);
        client->touched = false;
        if (client->state == CLIENT_GONE) {
            if (client->objects.used == 0 && client->holds == NULL) {
                client_forget(c, client);
            }
            continue;
        }
        object_send_answers(c, client);
        if (client->credit_pending != 0) {
            struct raylet_effect *e = core_effect(c, EFFECT_CREDIT);
            e->client = client->number;
            e->bytes = client->credit_pending;
            client->credit_pending = 0;
        }
    }
}

void job_free_all(struct raylet_core *c)
{
    struct list *at;

    while ((at = list_first(&c->jobs)) != NULL) {
        job_free(c, list_entry(at, struct job, link));
    }
}
