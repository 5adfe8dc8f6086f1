#include "tests/sim/rig.h"
#include "proto/layout.h"
#include "tests/sim/rig_peer.h"

#include <signal.h>
#include <stdio.h>

#define TURNS_MAX 1000
#define NEEDS_MAX 64

void rig_open(struct rig *r, const struct rig_config *from)
{
    struct cluster_amount amounts[3] = {
        {"CPU", (int64_t)from->cpus * RESOURCE_UNIT, 0},
        {"memory", (int64_t)(1ll << 30) * RESOURCE_UNIT, 0},
        {from->custom, (int64_t)from->custom_total * RESOURCE_UNIT, 0}};
    struct cluster_join join = {.host = "host",
                                .address = from->address == NULL ? "127.0.0.1:7421" : from->address,
                                .version = "0",
                                .public_key = from->key == NULL ? "" : from->key,
                                .pid = 1,
                                .supersedes = from->supersedes,
                                .secret = from->name};
    struct raylet_config config = {.node_name = from->name,
                                   .cluster = "test",
                                   .amounts = amounts,
                                   .amount_count = from->custom == NULL ? 2 : 3,
                                   .labels = from->labels == NULL ? "" : from->labels,
                                   .join = &join,
                                   .rules_off = from->rules_off,
                                   .seed = from->seed,
                                   .foreign_value_bytes = from->foreign_value_bytes,
                                   .now_ns = from->now_ns,
                                   .boot_ns = from->now_ns,
                                   .unix_ms = 1000000 + from->now_ns / NS_PER_MS};

    memset(r, 0, sizeof *r);
    r->now_ns = from->now_ns;
    r->check = true;
    r->long_values = from->long_values;
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

static void refs_free(struct rig_process *p)
{
    for (uint32_t i = 0; i < LOCAL_CLAIMS; i++) {
        free(p->refs[i]);
        p->refs[i] = NULL;
    }
}

void rig_fini(struct rig *r)
{
    raylet_core_free(r->core);
    arena_fini(&r->arena);
    arena_fini(&r->sent_arena);
    free(r->events);
    for (uint32_t i = 0; i < r->process_count; i++) {
        refs_free(&r->processes[i]);
    }
    struct rig_value *v, *next;
    HASH_ITER(hh, r->values, v, next)
    {
        HASH_DEL(r->values, v);
        free(v);
    }
}

struct raylet_event *rig_event(struct rig *r, enum raylet_event_kind kind)
{
    if (r->event_count == r->event_room) {
        r->event_room = r->event_room == 0 ? 64 : 2 * r->event_room;
        r->events = xrealloc(r->events, r->event_room * sizeof *r->events);
    }
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
    r->job_ends += m->type == CLUSTER_JOB_END && m->job_end.state != JOB_PART;
    if (m->type == CLUSTER_JOB_END && m->job_end.state == JOB_PART) {
        r->part = m->job_end;
        r->parts++;
    }
    if (m->type == CLUSTER_HISTORY) {
        r->histories++;
        r->history_tasks = (uint32_t)m->history.rows.task_count;
        r->history_functions = (uint32_t)m->history.rows.function_count;
    }
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
            refs_free(p);
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

static struct rig_process *open_process(struct rig *r, uint32_t role, uint64_t worker,
                                        uint32_t program)
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
    p->program = program;
    return p;
}

struct rig_process *rig_driver_of(struct rig *r, uint32_t program)
{
    struct rig_process *p = open_process(r, ROLE_DRIVER, 0, program);

    rig_settle(r);
    return p;
}

struct rig_process *rig_driver(struct rig *r)
{
    return rig_driver_of(r, 1);
}

struct rig_process *rig_tool(struct rig *r)
{
    struct rig_process *p = open_process(r, ROLE_TOOL, 0, 0);

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

void rig_crash(struct rig *r, struct rig_process *w, int signal)
{
    exits(r, w, signal);
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
        snprintf(r->last_error, sizeof r->last_error, "%.511s", f.message);
    } else if (v->size >= 8 && v->state == VALUE_HERE) {
        memcpy(&found->value, bytes, 8);
    }
}

static void tell_value(struct rig *r, struct rig_process *p, const struct local_value *v,
                       struct bytes bytes)
{
    struct failure f;

    if (v->state != VALUE_ERROR) {
        r->hooks.on_value(r->hooks.arg, p, v, bytes, NULL);
        return;
    }
    int rc = failure_decode(bytes, &f);
    ASSERT(rc == 0);
    r->hooks.on_value(r->hooks.arg, p, v, bytes, &f);
}

static void values_come(struct rig *r, struct rig_process *p, const struct local_msg *m)
{
    size_t end = 0;

    for (size_t i = 0; i < m->values.value_count; i++) {
        const struct local_value *v = &m->values.values[i];
        struct bytes bytes =
            value_has_bytes(v) ? layout_entry(m->payload, &end, v->size) : bytes_of(NULL, 0);
        if (r->hooks.on_value != NULL) {
            tell_value(r, p, v, bytes);
        } else {
            remember(r, v, bytes.data);
        }
    }
}

static uint64_t first_word(struct bytes b)
{
    uint64_t x = 0;
    memcpy(&x, b.data == NULL ? "" : b.data, MIN_OF(b.size, 8));
    return x;
}

static uint32_t refs_in(struct bytes b)
{
    return b.size <= 8 ? 0 : (uint32_t)((b.size - 8) / sizeof(struct object_id));
}

static void refs_add(struct rig_refs *refs, struct bytes b)
{
    uint32_t n = refs_in(b);

    if (n > 0) {
        memcpy(&refs->ids[refs->count], (const uint8_t *)b.data + 8, n * sizeof refs->ids[0]);
    }
    refs->count += n;
}

static struct rig_refs *refs_of(struct bytes args, const struct bytes *values, size_t count)
{
    uint32_t n = refs_in(args);
    struct rig_refs *refs;

    for (size_t i = 0; i < count; i++) {
        n += refs_in(values[i]);
    }
    if (n == 0) {
        return NULL;
    }
    refs = xcalloc(1, sizeof *refs + n * sizeof refs->ids[0]);
    refs_add(refs, args);
    refs->of_args = refs->count;
    for (size_t i = 0; i < count; i++) {
        refs_add(refs, values[i]);
    }
    return refs;
}

static void run_comes(struct rig_process *p, const struct local_msg *m)
{
    uint32_t index = claim_index(m->run.slot);
    struct bytes args = local_run_args(m);
    struct rig_run run = {.slot = m->run.slot,
                          .task = m->run.task,
                          .attempt = m->run.attempt,
                          .returns = m->run.returns,
                          .class_number = m->run.class_number,
                          .payload = first_word(args),
                          .need_count = (uint32_t)m->run.need_count,
                          .time_left_ns = m->run.time_left_ns};
    struct bytes values[NEEDS_MAX];
    size_t n = m->run.need_count;

    ASSERT(n <= NEEDS_MAX);
    local_run_values(m, values);
    for (size_t i = 0; i < n; i++) {
        run.needs += first_word(values[i]);
    }
    ASSERT(p->ring_count < ARRAY_SIZE(p->ring));
    p->ring[(p->ring_first + p->ring_count++) % ARRAY_SIZE(p->ring)] = run;
    p->words[index] = m->run.slot;
    p->states[index] = RIG_OFFERED;
    p->cancel[index] = false;
    free(p->refs[index]);
    p->refs[index] = refs_of(args, values, n);
}

const struct rig_refs *rig_refs(const struct rig_process *w)
{
    return w->refs[claim_index(w->current.slot)];
}

/* As it comes out of a ring: written, read and checked as there. */
static const struct local_msg *as_received(struct rig *r, const struct local_msg *m)
{
    size_t size = local_size(m);
    uint8_t *bytes = arena_alloc(&r->arena, size);
    struct local_msg *copy = arena_alloc(&r->arena, sizeof *copy);
    const char *why = "";

    local_encode(m, bytes);
    if (local_decode(bytes_of(bytes, size), &r->arena, copy, &why) != 0) {
        fprintf(stderr, "a message of type %d cannot be read: %s\n", (int)m->type, why);
        ASSERT(false); /* what it sends can be read */
    }
    return copy;
}

static void comes(struct rig *r, uint32_t client, const struct local_msg *m)
{
    struct rig_process *p = process_of(r, client);

    if (p == NULL) {
        return;
    }
    m = as_received(r, m);
    switch (m->type) {
    case LOCAL_WELCOME:
        p->welcomed = true;
        p->job = m->welcome.job;
        break;
    case LOCAL_REFUSED:
        p->refused = true;
        break;
    case LOCAL_VALUES:
        values_come(r, p, m);
        break;
    case LOCAL_RUN:
        run_comes(p, m);
        break;
    case LOCAL_LEAVE:
        p->leave = true;
        break;
    case LOCAL_LOG:
        snprintf(r->last_lines, sizeof r->last_lines, "%.*s", (int)m->payload.size,
                 (const char *)m->payload.data);
        break;
    case LOCAL_CANCELLED:
        p->cancelled_code = m->cancelled.code;
        break;
    case LOCAL_REPLY:
        r->reply = m->reply.reply;
        r->reply_waiting = r->reply.node_count > 0 ? r->reply.nodes[0].waiting : 0;
        for (size_t i = 0; i < r->reply.class_count; i++) {
            const struct state_class *row = &r->reply.classes[i];
            r->reply_waiting += strcmp(row->state, "waiting") == 0 ? row->count : 0;
        }
        r->reply_line[0] = '\0';
        for (size_t i = 0, at = 0; i < r->reply.line_count && at < sizeof r->reply_line; i++) {
            at += (size_t)snprintf(r->reply_line + at, sizeof r->reply_line - at, "%s%s",
                                   i > 0 ? "\n" : "", r->reply.lines[i]);
        }
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
    bool is_full = r->spawn_limit != 0 && rig_live_workers(r) >= r->spawn_limit;
    if (r->spawn_fails || is_full) {
        struct failure *f = arena_alloc(&r->arena, sizeof *f);
        int code = is_full ? CODE_FULL : r->spawn_code;
        failure_set(f, code == 0 ? CODE_PROGRAM : code, "as the test wanted");
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
        if (r->spawn_code != 0) {
            struct failure *f = arena_alloc(&r->arena, sizeof *f);
            failure_set(f, r->spawn_code, "as the test wanted");
            answer->failure = f;
        }
        return;
    }
    open_process(r, ROLE_WORKER, e->worker, e->program)->job = e->job;
}

/* ---- programs ---- */

static const uint8_t *hash_of(struct rig *r, uint32_t program)
{
    struct rig_program *p = &r->programs[program - 1];

    ASSERT(program >= 1 && program <= RIG_PROGRAMS);
    memset(p->hash, (int)program, sizeof p->hash);
    return p->hash;
}

uint32_t rig_program_of(const uint8_t *hash)
{
    return hash[0] <= RIG_PROGRAMS ? hash[0] : 0;
}

uint32_t rig_pins(const struct rig *r)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < RIG_PROGRAMS; i++) {
        n += r->programs[i].pins;
    }
    return n;
}

static void load_program(struct rig *r, const struct raylet_effect *e)
{
    struct rig_process *p = process_of(r, e->client);
    struct raylet_event *loaded = rig_event(r, EVENT_PROGRAM);

    r->program_loads++;
    loaded->client = e->client;
    loaded->program = p == NULL || p->program == 0 ? 1 : p->program;
    loaded->hash = hash_of(r, loaded->program);
    loaded->size = 1000 + loaded->program;
    r->programs[loaded->program - 1].pins++;
}

void rig_fetched(struct rig *r, uint64_t job, const uint8_t *hash, int code)
{
    struct raylet_event *e = rig_event(r, EVENT_PROGRAM_FETCHED);

    e->job = job;
    if (code != 0) {
        struct failure *f = arena_alloc(&r->arena, sizeof *f);
        failure_set(f, code, "as the test wanted");
        e->failure = f;
        return;
    }
    e->program = rig_program_of(hash);
    ASSERT(e->program != 0);
    r->programs[e->program - 1].pins++;
}

static void fetch(struct rig *r, const struct raylet_effect *e)
{
    r->fetches++;
    if (r->hooks.on_fetch != NULL) {
        r->hooks.on_fetch(r->hooks.arg, e->peer, e->job, e->hash, e->bytes);
    } else {
        rig_fetched(r, e->job, e->hash, r->fetch_code);
    }
}

static void fetch_stop(struct rig *r, const struct raylet_effect *e)
{
    r->fetch_stops++;
    if (r->hooks.on_fetch_stop != NULL) {
        r->hooks.on_fetch_stop(r->hooks.arg, e->job);
    }
}

static void drop_program(struct rig *r, const struct raylet_effect *e)
{
    ASSERT(e->program >= 1 && e->program <= RIG_PROGRAMS);
    ASSERT(r->programs[e->program - 1].pins > 0);
    r->programs[e->program - 1].pins--;
}

static void close_process(struct rig *r, uint32_t client)
{
    struct rig_process *p = process_of(r, client);

    if (p != NULL) {
        p->closed = true;
    }
    rig_event(r, EVENT_CLIENT_DOWN)->client = client;
}

static void effect(struct rig *r, const struct raylet_effect *e)
{
    struct rig_process *p;

    switch (e->kind) {
    case EFFECT_SEND:
        comes(r, e->client, e->local);
        break;
    case EFFECT_CLOSE:
        close_process(r, e->client);
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
        load_program(r, e);
        break;
    case EFFECT_PROGRAM_DROP:
        drop_program(r, e);
        break;
    case EFFECT_FETCH_PROGRAM:
        fetch(r, e);
        break;
    case EFFECT_FETCH_STOP:
        fetch_stop(r, e);
        break;
    case EFFECT_PEER_OPEN:
    case EFFECT_PEER_CLOSE:
    case EFFECT_PEER_SEND:
        rig_peer_effect(r, e);
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
        if (r->hooks.on_head != NULL) {
            r->hooks.on_head(r->hooks.arg, e->head, e->kind == EFFECT_HEAD_DATAGRAM);
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

/* One event or effect more: does it live on? */
static bool survives(struct rig *r)
{
    r->strokes++;
    if (r->fuse > 0 && --r->fuse == 0) {
        r->dead = true;
    }
    return !r->dead;
}

static void carry_out(struct rig *r, const struct raylet_effects *effects)
{
    for (size_t i = 0; i < effects->count && survives(r); i++) {
        effect(r, &effects->items[i]);
    }
}

static void turn(struct rig *r)
{
    struct raylet_event *events = r->events;
    struct raylet_effects effects;
    struct arena old = r->arena;
    uint32_t n = r->event_count;

    r->events = NULL;
    r->event_count = r->event_room = 0;
    memset(&r->arena, 0, sizeof r->arena);
    raylet_core_step(r->core, r->now_ns, r->now_ns, events, n, &effects);
    if (r->check && (n > 0 || effects.count > 0 || ++r->unchecked % 16 == 0)) {
        raylet_core_check(r->core);
    }
    if (n == 0 || survives(r)) {
        carry_out(r, &effects);
    }
    arena_fini(&old);
    free(events);
    /* workers that were asked to leave, and have nothing to do, do so */
    for (uint32_t i = 0; i < r->process_count; i++) {
        struct rig_process *p = &r->processes[i];
        if (p->used && p->leave && p->current.returns == 0) {
            exits(r, p, 0);
        }
    }
}

void rig_settle(struct rig *r)
{
    for (int i = 0; i < TURNS_MAX; i++) {
        turn(r);
        if (r->dead) {
            return;
        }
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
    while (!r->dead && raylet_core_next_ns(r->core) <= until) {
        r->now_ns = MAX_OF(r->now_ns, raylet_core_next_ns(r->core));
        rig_settle(r);
    }
    r->now_ns = until;
    rig_settle(r);
}
