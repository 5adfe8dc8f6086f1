#include "tests/sim/rig.h"

#include <signal.h>
#include <stdio.h>

#define TURNS_MAX 1000

void rig_open(struct rig *r, const struct rig_config *from)
{
    struct cluster_amount amounts[3] = {
        {"CPU", (int64_t)from->cpus * RESOURCE_UNIT, 0},
        {"memory", (int64_t)(1ll << 30) * RESOURCE_UNIT, 0},
        {from->custom, (int64_t)from->custom_total * RESOURCE_UNIT, 0}};
    struct cluster_join join = {.host = "host",
                                .address = "127.0.0.1:7421",
                                .version = "0",
                                .public_key = "",
                                .pid = 1,
                                .supersedes = from->supersedes};
    struct raylet_config config = {.node_name = from->name,
                                   .cluster = "test",
                                   .amounts = amounts,
                                   .amount_count = from->custom == NULL ? 2 : 3,
                                   .labels = "",
                                   .join = &join,
                                   .seed = from->seed,
                                   .now_ns = from->now_ns,
                                   .boot_ns = from->now_ns,
                                   .unix_ms = 1000000 + from->now_ns / NS_PER_MS};

    memset(r, 0, sizeof *r);
    r->now_ns = from->now_ns;
    r->check = true;
    r->core = raylet_core_new(&config);
}

void rig_init(struct rig *r, int cpus, const char *custom, int custom_total)
{
    rig_open(r, &(struct rig_config){.name = "box-1",
                                     .cpus = cpus,
                                     .custom = custom,
                                     .custom_total = custom_total,
                                     .seed = 1,
                                     .now_ns = NS_PER_S});
    r->node = 7;
    r->head_answers = true;
    rig_head(r, true);
    rig_settle(r);
}

void rig_fini(struct rig *r)
{
    raylet_core_free(r->core);
    arena_fini(&r->arena);
    struct rig_value *v, *next;
    HASH_ITER(hh, r->values, v, next)
    {
        HASH_DEL(r->values, v);
        free(v);
    }
}

struct raylet_event *rig_event(struct rig *r, enum raylet_event_kind kind)
{
    ASSERT(r->event_count < ARRAY_SIZE(r->events));
    struct raylet_event *e = &r->events[r->event_count++];
    memset(e, 0, sizeof *e);
    e->kind = kind;
    return e;
}

struct local_msg *rig_say(struct rig *r, struct rig_process *p, enum local_type type)
{
    struct local_msg *m = arena_alloc(&r->arena, sizeof *m);
    struct raylet_event *e = rig_event(r, EVENT_CLIENT_MESSAGE);

    memset(m, 0, sizeof *m);
    m->type = type;
    e->client = p->client;
    e->local = m;
    return m;
}

static struct cluster_msg *head_says(struct rig *r, enum cluster_type type)
{
    struct cluster_msg *m = arena_alloc(&r->arena, sizeof *m);

    memset(m, 0, sizeof *m);
    m->type = type;
    rig_event(r, EVENT_HEAD_MESSAGE)->head = m;
    return m;
}

/* ---- the fake head ---- */

void rig_head(struct rig *r, bool up)
{
    r->head_up = up;
    rig_event(r, up ? EVENT_HEAD_UP : EVENT_HEAD_DOWN)->refused = !up;
}

void rig_head_says(struct rig *r, const struct cluster_msg *m)
{
    rig_event(r, EVENT_HEAD_MESSAGE)->head = m;
    if (m->type == CLUSTER_JOINED) {
        r->node = m->joined.number;
    }
}

static void head_hears(struct rig *r, const struct cluster_msg *m)
{
    struct cluster_msg *answer;

    r->joins += m->type == CLUSTER_JOIN;
    r->job_news += m->type == CLUSTER_JOB_NEW;
    r->job_ends += m->type == CLUSTER_JOB_END;
    ASSERT(r->head_up);
    if (!r->head_answers) {
        return;
    }
    switch (m->type) {
    case CLUSTER_JOIN:
        ASSERT(m->join.number == 0 || m->join.number == r->node);
        answer = head_says(r, CLUSTER_JOINED);
        answer->joined.number = r->node;
        answer->joined.lease_ns = 9 * NS_PER_S;
        answer->joined.cluster = "test";
        break;
    case CLUSTER_JOB_NEW:
        answer = head_says(r, CLUSTER_JOB_ADDED);
        answer->job_added.key = m->job_new.key;
        answer->job_added.job = ++r->next_job;
        break;
    case CLUSTER_JOB_END:
        head_says(r, CLUSTER_JOB_ENDED)->job_ended.job = m->job_end.job;
        break;
    case CLUSTER_FEASIBLE:
        answer = head_says(r, CLUSTER_FEASIBLE_ANSWER);
        answer->feasible_answer.request = m->feasible.request;
        failure_set(&answer->feasible_answer.failure, CODE_IMPOSSIBLE, "no node has that");
        r->impossible++;
        break;
    case CLUSTER_LEAVE:
        (void)head_says(r, CLUSTER_LEFT);
        break;
    default:
        break;
    }
}

/* ---- processes ---- */

static struct rig_process *process_of(struct rig *r, uint32_t client)
{
    for (uint32_t i = 0; i < r->process_count; i++) {
        if (r->processes[i].used && r->processes[i].client == client) {
            return &r->processes[i];
        }
    }
    return NULL;
}

static struct rig_process *worker_of(struct rig *r, uint32_t worker)
{
    for (uint32_t i = 0; i < r->process_count; i++) {
        if (r->processes[i].used && r->processes[i].worker == worker) {
            return &r->processes[i];
        }
    }
    return NULL;
}

static struct rig_process *process_new(struct rig *r)
{
    for (uint32_t i = 0; i < RIG_PROCESSES; i++) {
        struct rig_process *p = &r->processes[i];
        if (!p->used) {
            memset(p, 0, sizeof *p);
            p->used = p->alive = true;
            r->process_count = MAX_OF(r->process_count, i + 1);
            p->client = ++r->next_client;
            p->next_number = 1;
            rig_event(r, EVENT_CLIENT_UP)->client = p->client;
            return p;
        }
    }
    ASSERT(false);
    return NULL;
}

static struct rig_process *open_process(struct rig *r, uint32_t role, uint64_t worker)
{
    struct rig_process *p = process_new(r);
    struct local_msg *m = rig_say(r, p, LOCAL_OPEN);

    m->open = (struct local_open){.protocol = LOCAL_PROTOCOL_VERSION,
                                  .role = role,
                                  .worker = worker,
                                  .job_name = "job",
                                  .program_name = "program",
                                  .cwd = "/"};
    p->worker = (uint32_t)worker;
    return p;
}

struct rig_process *rig_driver(struct rig *r)
{
    struct rig_process *p = open_process(r, ROLE_DRIVER, 0);

    rig_settle(r);
    return p;
}

struct rig_process *rig_tool(struct rig *r)
{
    struct rig_process *p = open_process(r, ROLE_TOOL, 0);

    rig_settle(r);
    return p;
}

void rig_driver_end(struct rig *r, struct rig_process *p, bool goodbye)
{
    if (goodbye) {
        (void)rig_say(r, p, LOCAL_GOODBYE);
    }
    rig_event(r, EVENT_CLIENT_DOWN)->client = p->client;
    p->alive = p->used = false;
}

static void exits(struct rig *r, struct rig_process *p, int wait_status)
{
    struct raylet_event *e;

    if (!p->alive) {
        return;
    }
    p->alive = p->used = false;
    rig_event(r, EVENT_CLIENT_DOWN)->client = p->client;
    e = rig_event(r, EVENT_WORKER_EXITED);
    e->worker = p->worker;
    e->wait_status = wait_status;
    for (uint32_t i = 0; i < LOCAL_CLAIMS; i++) {
        if (p->states[i] == RIG_CLAIMED) {
            e->claimed[i / 64] |= 1ull << (i % 64);
        }
    }
}

/* ---- effects ---- */

const struct rig_value *rig_value(struct rig *r, struct object_id id)
{
    struct rig_value *found;

    HASH_FIND(hh, r->values, &id, sizeof id, found);
    return found;
}

static void remember(struct rig *r, const struct local_value *v, const uint8_t *bytes)
{
    struct rig_value *found;

    HASH_FIND(hh, r->values, &v->id, sizeof v->id, found);
    if (found == NULL) {
        found = xcalloc(1, sizeof *found);
        found->id = v->id;
        HASH_ADD(hh, r->values, id, sizeof found->id, found);
    }
    found->answers++;
    found->state = v->state;
    if (v->state == VALUE_ERROR) {
        struct failure f;
        int rc = failure_decode(bytes_of(bytes, v->size), &f);
        ASSERT(rc == 0);
        found->code = (uint32_t)f.code;
        snprintf(r->last_error, sizeof r->last_error, "%.127s", f.message);
    } else if (v->size >= 8 && v->state == VALUE_HERE) {
        memcpy(&found->value, bytes, 8);
    }
}

static void values_come(struct rig *r, const struct local_msg *m)
{
    size_t at = 0;

    for (size_t i = 0; i < m->values.value_count; i++) {
        const struct local_value *v = &m->values.values[i];
        remember(r, v, (const uint8_t *)m->payload.data + at);
        if (v->state != VALUE_READY) {
            at = align_up(at + v->size, 8);
        }
    }
}

static uint64_t first_word(struct bytes b)
{
    uint64_t x = 0;
    memcpy(&x, b.data == NULL ? "" : b.data, MIN_OF(b.size, 8));
    return x;
}

static void run_comes(struct rig_process *p, const struct local_msg *m)
{
    uint32_t index = claim_index(m->run.slot);
    struct rig_run run = {.slot = m->run.slot,
                          .task = m->run.task,
                          .attempt = m->run.attempt,
                          .returns = m->run.returns,
                          .class_number = m->run.class_number,
                          .payload = first_word(m->payload)};

    for (size_t i = 0; i < m->more_count; i++) {
        run.needs += first_word(m->more[i]);
    }
    ASSERT(p->ring_count < ARRAY_SIZE(p->ring));
    p->ring[(p->ring_first + p->ring_count++) % ARRAY_SIZE(p->ring)] = run;
    p->words[index] = m->run.slot;
    p->states[index] = RIG_OFFERED;
    p->cancel[index] = false;
}

static void comes(struct rig *r, uint32_t client, const struct local_msg *m)
{
    struct rig_process *p = process_of(r, client);

    if (p == NULL) {
        return;
    }
    switch (m->type) {
    case LOCAL_WELCOME:
        p->welcomed = true;
        break;
    case LOCAL_REFUSED:
        p->refused = true;
        break;
    case LOCAL_VALUES:
        values_come(r, m);
        break;
    case LOCAL_RUN:
        run_comes(p, m);
        break;
    case LOCAL_LEAVE:
        p->leave = true;
        break;
    case LOCAL_CANCELLED:
        p->cancelled_code = m->cancelled.code;
        break;
    case LOCAL_REPLY:
        r->reply = m->reply.reply;
        snprintf(r->reply_line, sizeof r->reply_line, "%s",
                 r->reply.line_count > 0 ? r->reply.lines[0] : "");
        for (size_t i = 0; i < r->reply.task_count && i < ARRAY_SIZE(r->reply_tasks); i++) {
            r->reply_tasks[i] = r->reply.tasks[i];
        }
        snprintf(r->reply_reason, sizeof r->reply_reason, "%s",
                 r->reply.task_count > 0 ? r->reply.tasks[0].reason : "");
        snprintf(r->reply_name, sizeof r->reply_name, "%s",
                 r->reply.task_count > 0 ? r->reply.tasks[0].name : "");
        snprintf(r->reply_amount, sizeof r->reply_amount, "%s",
                 r->reply.node_count > 0 ? r->reply.nodes[0].amounts[0].name : "");
        break;
    default:
        break;
    }
}

static void take_back(struct rig *r, const struct raylet_effect *e)
{
    struct rig_process *p = process_of(r, e->client);
    struct raylet_event *answer = rig_event(r, EVENT_TAKEN_BACK);
    uint32_t index = claim_index(e->slot);

    answer->worker = e->worker;
    answer->slot = e->slot;
    if (p != NULL && p->words[index] == e->slot && p->states[index] == RIG_OFFERED) {
        p->states[index] = RIG_TAKEN;
        answer->ok = true;
    }
}

static void spawn(struct rig *r, const struct raylet_effect *e)
{
    struct raylet_event *answer;

    r->spawns++;
    if (r->spawn_fails) {
        struct failure *f = arena_alloc(&r->arena, sizeof *f);
        failure_set(f, r->spawn_code == 0 ? CODE_PROGRAM : r->spawn_code, "as the test wanted");
        answer = rig_event(r, EVENT_WORKER_REFUSED);
        answer->worker = e->worker;
        answer->failure = f;
        return;
    }
    answer = rig_event(r, EVENT_WORKER_STARTED);
    answer->worker = e->worker;
    answer->pid = 1000 + (int32_t)e->worker;
    if (r->start_dies) {
        answer = rig_event(r, EVENT_WORKER_EXITED);
        answer->worker = e->worker;
        answer->wait_status = 127 << 8;
        answer->refused = r->start_lacks;
        return;
    }
    (void)open_process(r, ROLE_WORKER, e->worker);
}

static void effect(struct rig *r, const struct raylet_effect *e)
{
    struct rig_process *p;

    switch (e->kind) {
    case EFFECT_SEND:
        comes(r, e->client, e->local);
        break;
    case EFFECT_CLOSE:
        p = process_of(r, e->client);
        if (p != NULL) {
            p->closed = true;
        }
        rig_event(r, EVENT_CLIENT_DOWN)->client = e->client;
        break;
    case EFFECT_CREDIT:
        p = process_of(r, e->client);
        if (p != NULL) {
            p->credit_back += e->bytes;
        }
        break;
    case EFFECT_CANCEL_FLAG:
        p = process_of(r, e->client);
        if (p != NULL) {
            p->cancel[claim_index(e->slot)] = true;
        }
        break;
    case EFFECT_TAKE_BACK:
        take_back(r, e);
        break;
    case EFFECT_LOAD_PROGRAM:
        r->program_loads++;
        struct raylet_event *loaded = rig_event(r, EVENT_PROGRAM);
        loaded->client = e->client;
        loaded->program = 1;
        break;
    case EFFECT_SPAWN:
        spawn(r, e);
        break;
    case EFFECT_KILL:
        r->kills++;
        p = worker_of(r, e->worker);
        if (p != NULL && !r->deaf) {
            exits(r, p, e->signal);
        }
        break;
    case EFFECT_HEAD:
    case EFFECT_HEAD_DATAGRAM:
        if (r->on_head != NULL) {
            r->on_head(r->on_head_arg, e->head, e->kind == EFFECT_HEAD_DATAGRAM);
        } else if (e->kind == EFFECT_HEAD) {
            head_hears(r, e->head);
        }
        break;
    case EFFECT_QUIT:
        r->quits++;
        break;
    default:
        break;
    }
}

static void turn(struct rig *r)
{
    struct raylet_event events[ARRAY_SIZE(r->events)];
    struct raylet_effects effects;
    struct arena old = r->arena;
    uint32_t n = r->event_count;

    memcpy(events, r->events, n * sizeof *events);
    r->event_count = 0;
    memset(&r->arena, 0, sizeof r->arena);
    raylet_core_step(r->core, r->now_ns, r->now_ns, events, n, &effects);
    if (r->check) {
        raylet_core_check(r->core);
    }
    for (size_t i = 0; i < effects.count; i++) {
        effect(r, &effects.items[i]);
    }
    arena_fini(&old);
    /* workers that were asked to leave, and have nothing to do, do so */
    for (uint32_t i = 0; i < r->process_count; i++) {
        struct rig_process *p = &r->processes[i];
        if (p->used && p->leave && p->current.returns == 0 && r->event_count < 1000) {
            exits(r, p, 0);
        }
    }
}

void rig_settle(struct rig *r)
{
    for (int i = 0; i < TURNS_MAX; i++) {
        turn(r);
        if (r->event_count == 0 && !raylet_core_has_work(r->core)) {
            return;
        }
    }
    ASSERT(false); /* it never comes to rest */
}

void rig_pass(struct rig *r, uint64_t ns)
{
    uint64_t until = r->now_ns + ns;

    rig_settle(r);
    while (raylet_core_next_ns(r->core) <= until) {
        r->now_ns = MAX_OF(r->now_ns, raylet_core_next_ns(r->core));
        rig_settle(r);
    }
    r->now_ns = until;
    rig_settle(r);
}

/* ---- what processes do ---- */

uint32_t rig_class(struct rig *r, struct rig_process *p, const char *function, struct rig_class k)
{
    struct local_msg *m = rig_say(r, p, LOCAL_CLASS);
    struct local_amount *amounts = arena_alloc(&r->arena, 2 * sizeof *amounts);
    size_t n = 0;

    amounts[n++] = (struct local_amount){"CPU", k.cpus_x10000};
    if (k.custom != NULL) {
        amounts[n++] = (struct local_amount){k.custom, k.custom_x10000};
    }
    m->class_.number = ++p->classes;
    m->class_.function = function;
    m->class_.amounts = amounts;
    m->class_.amount_count = n;
    m->class_.priority = k.priority;
    m->class_.node = m->class_.labels = "";
    return p->classes;
}

struct object_id rig_submit(struct rig *r, struct rig_process *p, struct rig_task t)
{
    struct local_msg *m = rig_say(r, p, LOCAL_SUBMIT);
    struct object_id id = {r->node, p->client, p->next_number};

    m->submit.number = p->next_number;
    m->submit.class_number = t.class_number;
    m->submit.returns = t.returns == 0 ? 1 : t.returns;
    m->submit.max_attempts = t.max_attempts == 0 ? 4 : t.max_attempts;
    m->submit.flags = t.flags;
    m->submit.parent_slot = t.parent_slot;
    m->submit.timeout_ns = t.timeout_ns;
    m->submit.backoff_ns = t.backoff_ns;
    m->submit.name = t.name == NULL ? "" : t.name;
    m->submit.needs = arena_copy(&r->arena, t.needs, t.need_count * sizeof *t.needs);
    m->submit.need_count = t.need_count;
    m->submit.refs = arena_copy(&r->arena, t.refs, t.ref_count * sizeof *t.refs);
    m->submit.ref_count = t.ref_count;
    m->payload = bytes_of(arena_copy(&r->arena, &t.payload, 8), 8);
    p->next_number += m->submit.returns;
    return id;
}

struct object_id rig_put(struct rig *r, struct rig_process *p, uint64_t value)
{
    struct local_msg *m = rig_say(r, p, LOCAL_PUT);
    struct object_id id = {r->node, p->client, p->next_number};

    m->put.number = p->next_number++;
    m->payload = bytes_of(arena_copy(&r->arena, &value, 8), 8);
    return id;
}

static void say_ids(struct rig *r, struct rig_process *p, enum local_type type, struct object_id id)
{
    struct local_msg *m = rig_say(r, p, type);
    const struct object_id *ids = arena_copy(&r->arena, &id, sizeof id);

    if (type == LOCAL_GET) {
        m->get.ids = ids;
        m->get.id_count = 1;
    } else {
        m->ids.ids = ids;
        m->ids.id_count = 1;
    }
}

void rig_get(struct rig *r, struct rig_process *p, struct object_id id)
{
    say_ids(r, p, LOCAL_GET, id);
}

void rig_release(struct rig *r, struct rig_process *p, struct object_id id)
{
    say_ids(r, p, LOCAL_RELEASE, id);
}

void rig_hold(struct rig *r, struct rig_process *p, struct object_id id)
{
    say_ids(r, p, LOCAL_HOLD, id);
}

void rig_cancel(struct rig *r, struct rig_process *p, struct object_id id, uint32_t flags)
{
    struct local_msg *m = rig_say(r, p, LOCAL_CANCEL);

    m->cancel.id = id;
    m->cancel.flags = flags;
    m->cancel.request = 1;
}

void rig_query(struct rig *r, struct rig_process *p, struct state_query q)
{
    struct local_msg *m = rig_say(r, p, LOCAL_QUERY);

    q.id = q.id == NULL ? "" : q.id;
    q.node = q.node == NULL ? "" : q.node;
    q.state = q.state == NULL ? "" : q.state;
    q.name = q.name == NULL ? "" : q.name;
    m->query.request = 1;
    m->query.query = q;
    rig_settle(r);
}

struct rig_process *rig_ready_worker(struct rig *r)
{
    for (uint32_t i = 0; i < r->process_count; i++) {
        struct rig_process *p = &r->processes[(r->turn + i) % r->process_count];
        if (p->used && p->alive && p->worker != 0 && p->current.returns == 0 && p->ring_count > 0) {
            r->turn = (r->turn + i + 1) % r->process_count;
            return p;
        }
    }
    return NULL;
}

bool rig_claim(struct rig *r, struct rig_process *w)
{
    ASSERT(w->current.returns == 0);
    while (w->ring_count > 0) {
        struct rig_run run = w->ring[w->ring_first];
        uint32_t index = claim_index(run.slot);
        w->ring_first = (w->ring_first + 1) % ARRAY_SIZE(w->ring);
        w->ring_count--;
        if (w->words[index] == run.slot && w->states[index] == RIG_OFFERED) {
            w->states[index] = RIG_CLAIMED;
            w->current = run;
            return true;
        }
    }
    return false;
}

static struct local_msg *result(struct rig *r, struct rig_process *w)
{
    struct local_msg *m = rig_say(r, w, LOCAL_RESULT);

    ASSERT(w->current.returns > 0);
    m->result.slot = w->current.slot;
    m->result.message = "";
    /* as the shell sees it: the word stands in CLAIMED until the slot is used again */
    return m;
}

static void done(struct rig_process *w)
{
    w->states[claim_index(w->current.slot)] = RIG_FREE;
    w->current.returns = 0;
}

void rig_return(struct rig *r, struct rig_process *w, uint64_t value)
{
    struct local_msg *m = result(r, w);
    uint32_t n = w->current.returns;
    struct local_return *returns = arena_alloc(&r->arena, n * sizeof *returns);
    uint64_t *values = arena_alloc(&r->arena, n * 8);

    for (uint32_t i = 0; i < n; i++) {
        returns[i] = (struct local_return){.state = RETURN_VALUE, .size = 8};
        values[i] = value + i;
    }
    m->result.returns = returns;
    m->result.return_count = n;
    m->payload = bytes_of(values, n * 8);
    done(w);
}

void rig_return_alias(struct rig *r, struct rig_process *w, struct object_id target)
{
    struct local_msg *m = result(r, w);
    struct local_return *one = arena_alloc(&r->arena, sizeof *one);

    *one = (struct local_return){.state = RETURN_ALIAS, .alias = target};
    m->result.returns = one;
    m->result.return_count = 1;
    done(w);
}

void rig_fail(struct rig *r, struct rig_process *w, int app_code)
{
    struct local_msg *m = result(r, w);

    m->result.code = CODE_FAILED;
    m->result.app_code = app_code;
    m->result.message = "as the test wanted";
    done(w);
}

void rig_crash(struct rig *r, struct rig_process *w, int signal)
{
    exits(r, w, signal);
}

uint32_t rig_live_workers(struct rig *r)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < r->process_count; i++) {
        n += r->processes[i].used && r->processes[i].alive && r->processes[i].worker != 0;
    }
    return n;
}

uint32_t rig_run_all(struct rig *r)
{
    struct rig_process *w;
    uint32_t ran = 0;

    rig_settle(r);
    while ((w = rig_ready_worker(r)) != NULL) {
        while (rig_claim(r, w)) {
            rig_return(r, w, w->current.payload + w->current.needs);
            ran++;
            r->now_ns += 1000;
        }
        rig_settle(r);
    }
    return ran;
}
