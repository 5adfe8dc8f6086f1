#include "tests/unit/head/rig.h"

static void bad_row(void *arg, const struct head_record *record, const char *why)
{
    fail_msg("a row was left out: %s", why);
}

static void start(struct rig *r)
{
    struct head_config config = {
        .cluster = "default", .address = "10.0.0.5:7420", .pid = 4711, .time = r->time};
    r->core = head_core_new(&config);
    head_core_restore(r->core, r->records, 0, bad_row, NULL);
    r->asked = r->committed = 0;
}

void rig_init(struct rig *r)
{
    memset(r, 0, sizeof *r);
    r->time = (struct head_time){1000 * NS_PER_S, 2000 * NS_PER_S, 1700000000000};
    r->commits = true;
    r->sent = xcalloc(RIG_SENT_MAX, sizeof *r->sent);
    start(r);
}

void rig_fini(struct rig *r)
{
    head_core_free(r->core);
    arena_fini(&r->arena);
    free(r->records);
    free(r->sent);
}

/* What a database would hold after these records: the last row of each, by number. */
static int by_number(const void *a, const void *b)
{
    const struct head_record *x = a, *y = b;
    uint64_t p = x->kind == HEAD_RECORD_NODE ? x->node.number : x->job.number;
    uint64_t q = y->kind == HEAD_RECORD_NODE ? y->node.number : y->job.number;
    return x->kind != y->kind ? (int)x->kind - (int)y->kind : (p > q) - (p < q);
}

static bool is_same_row(const struct head_record *old, const struct head_record *new)
{
    switch (new->kind) {
    case HEAD_RECORD_NODE:
        return old->kind == HEAD_RECORD_NODE && old->node.number == new->node.number;
    case HEAD_RECORD_JOB:
        return old->kind == HEAD_RECORD_JOB && old->job.number == new->job.number;
    case HEAD_RECORD_FORGET_NODE:
        return old->kind == HEAD_RECORD_NODE && old->node.number == new->number;
    case HEAD_RECORD_FORGET_JOB:
        return old->kind == HEAD_RECORD_JOB && old->job.number == new->number;
    case HEAD_RECORD_NUMBERS:
        break;
    }
    return false;
}

/* The journal keeps the highest numbers also of rows that it has forgotten. */
static struct head_record highest(const struct head_record *records, size_t count)
{
    struct head_record n = {.kind = HEAD_RECORD_NUMBERS};
    for (size_t i = 0; i < count; i++) {
        n.node_last = MAX_OF(n.node_last, MAX_OF(records[i].node_last, records[i].node.number));
        n.job_last = MAX_OF(n.job_last, MAX_OF(records[i].job_last, records[i].job.number));
    }
    return n;
}

static void compact(struct rig *r)
{
    struct head_record *rows = xcalloc(r->disk_count + 2, sizeof *rows);
    size_t count = 0;
    for (size_t i = 0; i < r->disk_count; i++) {
        size_t at = 0;
        while (at < count && !is_same_row(&rows[at], &r->records[i])) {
            at++;
        }
        bool is_row =
            r->records[i].kind == HEAD_RECORD_NODE || r->records[i].kind == HEAD_RECORD_JOB;
        if (is_row) {
            rows[at] = r->records[i];
            count += at == count;
        } else if (at < count) {
            rows[at] = rows[--count];
        }
    }
    qsort(rows, count, sizeof *rows, by_number);
    rows[count++] = highest(r->records, r->disk_count);
    free(r->records);
    r->records = rows;
    r->record_room = r->disk_count + 2;
    r->record_count = r->disk_count = count;
}

void rig_restart(struct rig *r, uint64_t down_ns)
{
    head_core_free(r->core);
    compact(r);
    rig_forget(r);
    r->time.now_ns += down_ns;
    r->time.boot_ns += down_ns;
    r->time.unix_ms += down_ns / NS_PER_MS;
    start(r);
    head_core_restore(r->core, r->records, r->record_count, bad_row, NULL);
    head_core_check(r->core);
}

static void keep_record(struct rig *r, const struct head_record *record)
{
    if (r->record_count == r->record_room) {
        r->record_room = r->record_room * 2 + 64;
        r->records = xrealloc(r->records, r->record_room * sizeof *r->records);
    }
    r->records[r->record_count++] = head_record_copy(&r->arena, record);
}

static void keep_sent(struct rig *r, const struct head_effect *effect)
{
    const char *why = "";
    assert_true(r->sent_count < RIG_SENT_MAX);
    struct rig_sent *sent = &r->sent[r->sent_count++];
    *sent = (struct rig_sent){
        .kind = effect->kind, .link = effect->link, .tool = effect->tool, .node = effect->node};
    struct bytes copy = bytes_of(arena_copy(&r->arena, effect->message.data, effect->message.size),
                                 effect->message.size);
    int e = 0;
    if (effect->kind == HEAD_EFFECT_SEND || effect->kind == HEAD_EFFECT_DATAGRAM) {
        e = cluster_decode(copy, &r->arena, &sent->cluster, &why);
    } else if (effect->kind == HEAD_EFFECT_TOOL) {
        e = local_decode(copy, &r->arena, &sent->local, &why);
    }
    if (e != 0) {
        fail_msg("the head sent what cannot be read: %s", why);
    }
}

static bool may_go_early(enum head_effect_kind kind)
{
    return kind == HEAD_EFFECT_DATAGRAM || kind == HEAD_EFFECT_PROBE || kind == HEAD_EFFECT_REACH ||
           kind == HEAD_EFFECT_LOG;
}

static void take_effects(struct rig *r, const struct head_effects *effects)
{
    uint64_t record = 0;
    for (size_t i = 0; i < effects->count; i++) {
        const struct head_effect *effect = &effects->items[i];
        if (effect->kind == HEAD_EFFECT_RECORD) {
            assert_true(effect->record_number > r->asked && effect->record_number > record);
            record = effect->record_number;
            keep_record(r, effect->record);
        } else if (effect->kind == HEAD_EFFECT_COMMIT) {
            assert_int_equal(effect->record_number, record);
            r->asked = effect->record_number;
        } else if (may_go_early(effect->kind) || effect->after <= r->committed) {
            r->quit = r->quit || effect->kind == HEAD_EFFECT_QUIT;
            if (effect->kind != HEAD_EFFECT_LOG) {
                keep_sent(r, effect);
            }
        } else {
            fail_msg("something left the head before its record was on disk");
        }
    }
    assert_true(record <= r->asked); /* a COMMIT covers all */
}

static void step(struct rig *r, const struct head_event *event)
{
    struct head_effects effects;
    head_core_step(r->core, &r->time, event, event != NULL, &effects);
    take_effects(r, &effects);
    head_core_check(r->core);
}

void rig_commit(struct rig *r)
{
    while (r->committed < r->asked) {
        struct head_event event = {.kind = HEAD_EVENT_COMMITTED, .record = r->asked};
        r->committed = r->asked;
        r->disk_count = r->record_count;
        step(r, &event);
    }
}

static void settle(struct rig *r)
{
    do {
        if (r->commits) {
            rig_commit(r);
        }
        if (head_core_has_work(r->core)) {
            step(r, NULL);
        }
    } while (head_core_has_work(r->core) || (r->commits && r->committed < r->asked));
}

void rig_event(struct rig *r, const struct head_event *event)
{
    step(r, event);
    settle(r);
}

static void advance(struct rig *r, uint64_t ns)
{
    r->time.now_ns += ns;
    r->time.boot_ns += ns;
    r->time.unix_ms += ns / NS_PER_MS;
}

void rig_stall(struct rig *r, uint64_t ns)
{
    advance(r, ns);
}

void rig_pass(struct rig *r, uint64_t ns, uint64_t first, uint64_t last)
{
    uint64_t end = r->time.now_ns + ns;
    uint64_t renew_at = r->time.now_ns;
    while (r->time.now_ns < end) {
        advance(r, MIN_OF(100 * NS_PER_MS, end - r->time.now_ns));
        if (r->time.now_ns >= renew_at && first != 0) {
            renew_at += NS_PER_S;
            for (uint64_t link = first; link <= last; link++) {
                rig_renew(r, link, r->time.boot_ns - NS_PER_S);
            }
        }
        if (head_core_next_ns(r->core) <= r->time.now_ns) {
            rig_event(r, NULL);
        }
    }
}

/* ---- nodes ---- */

void rig_link_up(struct rig *r, uint64_t link)
{
    rig_event(r, &(struct head_event){.kind = HEAD_EVENT_LINK_UP, .link = link, .role = PEER_NODE});
}

void rig_link_down(struct rig *r, uint64_t link)
{
    rig_event(r, &(struct head_event){.kind = HEAD_EVENT_LINK_DOWN, .link = link});
}

void rig_cluster(struct rig *r, uint64_t link, const struct cluster_msg *msg)
{
    rig_event(r, &(struct head_event){.kind = HEAD_EVENT_MESSAGE, .link = link, .cluster = msg});
}

static void say_join(struct rig *r, uint64_t link, const struct cluster_join *join)
{
    struct cluster_amount amounts[] = {
        {"CPU", 8 * RESOURCE_UNIT, 8 * RESOURCE_UNIT},
        {"memory", 1073741824 * (int64_t)RESOURCE_UNIT, 1073741824 * (int64_t)RESOURCE_UNIT}};
    char address[64];
    snprintf(address, sizeof address, "10.0.0.6:%u", (unsigned)(7421 + link));
    struct cluster_msg msg = {.type = CLUSTER_JOIN, .join = *join};
    struct cluster_join *said = &msg.join;
    said->protocol = CLUSTER_PROTOCOL_VERSION;
    said->host = "box";
    said->address = said->address != NULL ? said->address : address;
    said->version = "0.1.0";
    said->public_key = "0123456789012345678901234567890123456789";
    said->pid = (uint32_t)(100 + link);
    if (said->amounts == NULL) {
        said->amounts = amounts;
        said->amount_count = ARRAY_SIZE(amounts);
    }
    said->secret = said->secret != NULL ? said->secret : said->name;
    said->labels = said->labels != NULL ? said->labels : "disk=ssd,zone=b";
    rig_cluster(r, link, &msg);
}

void rig_join(struct rig *r, uint64_t link, const char *name, uint32_t number, uint32_t supersedes)
{
    say_join(r, link,
             &(struct cluster_join){.name = name, .number = number, .supersedes = supersedes});
}

void rig_join_as(struct rig *r, uint64_t link, const struct cluster_join *join)
{
    rig_link_up(r, link);
    say_join(r, link, join);
}

uint32_t rig_joined(struct rig *r, uint64_t link)
{
    return rig_take(r, link, CLUSTER_JOINED)->joined.number;
}

uint32_t rig_node(struct rig *r, uint64_t link, const char *name)
{
    rig_link_up(r, link);
    rig_join(r, link, name, 0, 0);
    return rig_joined(r, link);
}

void rig_renew(struct rig *r, uint64_t link, uint64_t answered_ns)
{
    struct cluster_msg msg = {.type = CLUSTER_RENEW,
                              .renew = {.sent_ns = r->time.boot_ns, .answered_ns = answered_ns}};
    rig_event(r, &(struct head_event){.kind = HEAD_EVENT_DATAGRAM, .link = link, .cluster = &msg});
}

void rig_probed(struct rig *r, uint32_t node, enum head_probe probe)
{
    rig_event(r, &(struct head_event){.kind = HEAD_EVENT_PROBED, .node = node, .probe = probe});
}

void rig_job_new(struct rig *r, uint64_t link, uint64_t key)
{
    struct cluster_msg msg = {
        .type = CLUSTER_JOB_NEW,
        .job_new = {.key = key, .name = "pi", .program = "./pi", .user = "ada", .pid = 99}};
    rig_cluster(r, link, &msg);
}

uint64_t rig_job(struct rig *r, uint64_t link, uint64_t key)
{
    rig_job_new(r, link, key);
    return rig_take(r, link, CLUSTER_JOB_ADDED)->job_added.job;
}

/* ---- tools ---- */

static void tool_message(struct rig *r, uint32_t tool, const struct local_msg *msg)
{
    rig_event(r, &(struct head_event){.kind = HEAD_EVENT_TOOL_MESSAGE, .tool = tool, .local = msg});
}

void rig_tool(struct rig *r, uint32_t tool)
{
    struct local_msg open = {.type = LOCAL_OPEN,
                             .open = {.protocol = LOCAL_PROTOCOL_VERSION, .role = ROLE_TOOL}};
    rig_event(r, &(struct head_event){.kind = HEAD_EVENT_TOOL_UP, .tool = tool});
    tool_message(r, tool, &open);
    assert_string_equal(rig_take_local(r, tool, LOCAL_WELCOME)->welcome.cluster, "default");
}

void rig_ask(struct rig *r, uint32_t tool, uint64_t request, const struct state_query *query)
{
    struct local_msg msg = {.type = LOCAL_QUERY, .query = {.request = request, .query = *query}};
    tool_message(r, tool, &msg);
}

/* ---- what was sent ---- */

static struct rig_sent *find(const struct rig *r, uint64_t link, enum cluster_type type)
{
    for (size_t i = 0; i < r->sent_count; i++) {
        struct rig_sent *sent = &r->sent[i];
        bool is_cluster = sent->kind == HEAD_EFFECT_SEND || sent->kind == HEAD_EFFECT_DATAGRAM;
        if (!sent->taken && is_cluster && sent->link == link && sent->cluster.type == type) {
            return sent;
        }
    }
    return NULL;
}

const struct cluster_msg *rig_take(struct rig *r, uint64_t link, enum cluster_type type)
{
    struct rig_sent *sent = find(r, link, type);
    if (sent == NULL) {
        fail_msg("no message of type %d to link %d", (int)type, (int)link);
    }
    sent->taken = true;
    return &sent->cluster;
}

bool rig_has(const struct rig *r, uint64_t link, enum cluster_type type)
{
    return find(r, link, type) != NULL;
}

static struct rig_sent *find_local(const struct rig *r, uint32_t tool)
{
    for (size_t i = 0; i < r->sent_count; i++) {
        struct rig_sent *sent = &r->sent[i];
        if (!sent->taken && sent->kind == HEAD_EFFECT_TOOL && sent->tool == tool) {
            return sent;
        }
    }
    return NULL;
}

const struct local_msg *rig_take_local(struct rig *r, uint32_t tool, enum local_type type)
{
    struct rig_sent *sent = find_local(r, tool);
    if (sent == NULL) {
        fail_msg("no message to tool %d", (int)tool);
    }
    assert_int_equal(sent->local.type, type);
    sent->taken = true;
    return &sent->local;
}

bool rig_has_local(const struct rig *r, uint32_t tool)
{
    return find_local(r, tool) != NULL;
}

bool rig_has_effect(const struct rig *r, enum head_effect_kind kind, uint64_t which)
{
    for (size_t i = 0; i < r->sent_count; i++) {
        struct rig_sent *sent = &r->sent[i];
        if (!sent->taken && sent->kind == kind &&
            (sent->link == which || sent->tool == which || sent->node == which)) {
            sent->taken = true;
            return true;
        }
    }
    return false;
}

void rig_forget(struct rig *r)
{
    r->sent_count = 0;
}
