#include "head/core_private.h"

#include <stdio.h>

#include "common/place.h"
#include "common/text.h"

/* ---- one life: NEW, ALIVE, then LOST or LEFT for ever ---- */

static const bool NODE_MAY[4][4] = {
    [HEAD_NODE_NEW] = {[HEAD_NODE_ALIVE] = true},
    [HEAD_NODE_ALIVE] = {[HEAD_NODE_LOST] = true, [HEAD_NODE_LEFT] = true},
};

static void set_state(struct head_core *core, struct head_node *node, enum head_node_state state,
                      const char *note)
{
    ASSERT(NODE_MAY[node->row.state][state]);
    node->row.state = state;
    node->row.since_unix_ms = core->time.unix_ms;
    (void)text_copy(node->note, sizeof node->note, note);
    head_record_node(core, node);
    head_view_touch(core, node, HASTE_NOW);
}

const char *head_node_state_text(const struct head_node *node)
{
    switch (node->row.state) {
    case HEAD_NODE_ALIVE:
        return node->suspect      ? "suspect"
               : node->leaving    ? "leaving"
               : node->is_private ? "private"
                                  : "alive";
    case HEAD_NODE_LOST:
        return "lost";
    case HEAD_NODE_LEFT:
        return "left";
    default:
        return "new";
    }
}

/* ---- making ---- */

static const char *put_text(char **at, const char *text)
{
    char *begin = *at;
    size_t size = strlen(text) + 1;
    memcpy(begin, text, size);
    text_clean(begin);
    *at += size;
    return begin;
}

static size_t text_room(const char *text)
{
    return strlen(head_text(text)) + 1;
}

static struct head_node *node_new(const struct head_node_row *row)
{
    struct head_node *node = xcalloc(1, sizeof *node);
    size_t room = text_room(row->name) + text_room(row->host) + text_room(row->version) +
                  text_room(row->public_key) + text_room(row->labels);
    for (size_t i = 0; i < row->amount_count; i++) {
        room += text_room(row->amounts[i].name);
    }
    char *at = node->texts = xmalloc(room);
    node->row = *row;
    node->row.name = put_text(&at, head_text(row->name));
    node->row.host = put_text(&at, head_text(row->host));
    node->row.version = put_text(&at, head_text(row->version));
    node->row.public_key = put_text(&at, head_text(row->public_key));
    node->row.labels = put_text(&at, head_text(row->labels));
    node->row.note = node->note;
    head_reach_init(node, head_text(row->address));
    (void)text_copy(node->note, sizeof node->note, head_text(row->note));
    node->row.secret_digest = node->secret_digest;
    (void)text_copy(node->secret_digest, sizeof node->secret_digest, head_text(row->secret_digest));
    node->amounts = xcalloc(row->amount_count + 1, sizeof *node->amounts);
    for (size_t i = 0; i < row->amount_count; i++) {
        node->amounts[i] = row->amounts[i];
        node->amounts[i].name = put_text(&at, head_text(row->amounts[i].name));
    }
    node->row.amounts = node->amounts;
    node->reconcile_at_ns = NS_FOREVER;
    list_init(&node->listed);
    list_init(&node->dirty_link);
    list_init(&node->dying_link);
    list_init(&node->jobs);
    return node;
}

void head_node_free(struct head_node *node)
{
    list_unlink(&node->listed);
    list_unlink(&node->dirty_link);
    list_unlink(&node->dying_link);
    free(node->amounts);
    free(node->texts);
    buffer_fini(&node->history);
    free(node);
}

static void enter_alive(struct head_core *core, struct head_node *node)
{
    numbers_set(&core->nodes, node->row.number, node);
    HASH_ADD_KEYPTR(hh, core->names, node->row.name, strlen(node->row.name), node);
    list_append(&core->alive, &node->listed);
    core->alive_count++;
}

static void enter_ended(struct head_core *core, struct head_node *node)
{
    list_append(&core->ended, &node->listed);
    core->ended_count++;
    if (!list_is_empty(&node->jobs)) {
        list_append(&core->dying, &node->dying_link);
    }
}

static struct head_node *find_name(struct head_core *core, const char *name)
{
    struct head_node *node = NULL;
    HASH_FIND_STR(core->names, name, node);
    return node;
}

struct head_node *head_node_named(struct head_core *core, const char *text)
{
    uint64_t number;
    struct head_node *node = find_name(core, text);
    if (node == NULL && text_parse_u64(text, UINT32_MAX, &number) == 0) {
        node = numbers_get(&core->nodes, number);
    }
    if (node == NULL && strchr(text, ':') != NULL) {
        LIST_FOREACH(at, &core->alive)
        {
            struct head_node *other = list_entry(at, struct head_node, listed);
            if (hostport_same(other->row.address, text)) {
                return other;
            }
        }
    }
    return node != NULL && node->row.state == HEAD_NODE_ALIVE ? node : NULL;
}

/* ---- the end ---- */

static void end_node(struct head_core *core, struct head_node *node, enum head_node_state state,
                     const char *note)
{
    set_state(core, node, state, note);
    head_log(core, "node %u \"%s\" is %s: %s", node->row.number, node->row.name,
             head_node_state_text(node), note);
    HASH_DEL(core->names, node);
    list_unlink(&node->listed);
    core->alive_count--;
    enter_ended(core, node);
    head_query_unlinked(core, node->row.number);
    node->suspect = false;
}

static void lose_node(struct head_core *core, struct head_node *node, const char *note)
{
    struct head_link *link = node->link;
    end_node(core, node, HEAD_NODE_LOST, note);
    if (link != NULL) {
        struct failure f;
        failure_set(&f, CODE_NODE_LOST, "the head declared this node lost: %s. Join again", note);
        head_refuse(core, link, &f);
    }
}

void head_node_drain(struct head_core *core, struct head_node *node)
{
    if (!node->leaving) {
        node->leaving = true;
        head_log(core, "node %u \"%s\" will leave: it takes no new work", node->row.number,
                 node->row.name);
        head_view_touch(core, node, HASTE_NOW);
    }
}

void head_node_leave(struct head_core *core, struct head_node *node)
{
    struct head_link *link = node->link;
    struct cluster_msg left = {.type = CLUSTER_LEFT};
    end_node(core, node, HEAD_NODE_LEFT, "left");
    head_send(core, link, &left);
    if (link != NULL) {
        /* The raylet ends the session itself when it has read LEFT. */
        link->node = NULL;
        node->link = NULL;
    }
}

void head_nodes_prune(struct head_core *core)
{
    while (core->ended_count > HEAD_NODES_ENDED_MAX) {
        struct head_node *node = list_entry(list_first(&core->ended), struct head_node, listed);
        if (!list_is_empty(&node->jobs) || !list_is_empty(&node->dirty_link)) {
            return;
        }
        head_record_forget(core, HEAD_RECORD_FORGET_NODE, node->row.number);
        numbers_remove(&core->nodes, node->row.number);
        core->ended_count--;
        head_history_drop(core, node);
        head_node_free(node);
    }
}

/* ---- joining ---- */

static struct head_node_row row_of(const struct cluster_join *join, uint32_t number,
                                   enum head_node_state state)
{
    return (struct head_node_row){.number = number,
                                  .pid = join->pid,
                                  .state = state,
                                  .name = join->name,
                                  .host = join->host,
                                  .address = join->address,
                                  .version = join->version,
                                  .public_key = join->public_key,
                                  .labels = join->labels,
                                  .amounts = join->amounts,
                                  .amount_count = join->amount_count};
}

static int check_join(struct head_core *core, const struct head_link *link,
                      const struct cluster_join *join, struct failure *f)
{
    if (link->role != PEER_NODE) {
        return failure_set(
            f, CODE_REFUSED,
            "this key does not allow joining. Use join.key from the head's directory");
    }
    if (join->protocol != CLUSTER_PROTOCOL_VERSION) {
        return failure_set(f, CODE_REFUSED,
                           "the node uses protocol %u (drt %.20s), and the head uses protocol %u "
                           "(drt %s): install the same version on both",
                           join->protocol, head_text(join->version), CLUSTER_PROTOCOL_VERSION,
                           DRT_VERSION);
    }
    if (!place_name_ok(head_text(join->name))) {
        return failure_set(f, CODE_REFUSED,
                           "the node's name is not valid. Choose one with --name: 1 to 63 "
                           "characters of A-Z a-z 0-9 . _ -");
    }
    /* What the journal could not read again is refused here. */
    const char *why;
    const struct head_record record = {.kind = HEAD_RECORD_NODE,
                                       .node = row_of(join, 1, HEAD_NODE_ALIVE)};
    if (head_record_check(&record, &why) != 0) {
        return failure_set(f, CODE_REFUSED, "this node cannot join: %s", why);
    }
    return 0;
}

/* Whether others must hear of it, and how fast. */
static enum head_haste take_amount(struct cluster_amount *known, int64_t available_units)
{
    int64_t before = known->available_units;
    known->available_units = available_units;
    if (available_units == before) {
        return HASTE_NONE;
    }
    bool is_turn = (available_units > 0) != (before > 0); /* it became full, or free */
    double moved = (double)available_units - (double)before;
    bool is_much = (moved < 0 ? -moved : moved) * 4 >= (double)known->total_units;
    return is_turn || is_much ? HASTE_SOON : HASTE_NONE;
}

/* Whether anything changed, and how fast others must hear of it. */
static bool take_amounts(struct head_node *node, const struct cluster_amount *amounts, size_t count,
                         enum head_haste *ret_haste)
{
    bool changed = false;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < node->row.amount_count; k++) {
            struct cluster_amount *known = &node->amounts[k];
            if (strcmp(known->name, head_text(amounts[i].name)) == 0) {
                changed = changed || known->available_units != amounts[i].available_units;
                enum head_haste haste = take_amount(known, amounts[i].available_units);
                *ret_haste = MAX_OF(*ret_haste, haste);
            }
        }
    }
    return changed;
}

/* A session has just been agreed, both ways; so the node is alive and hears us. */
static void heard_all(struct head_core *core, struct head_node *node)
{
    node->lease_boot_ns = core->time.boot_ns;
    node->heard_ns = core->time.now_ns;
    node->restored = false;
    node->suspect = false;
    node->refused = 0;
    node->first_sent_ns = 0;
    node->last_sent_ns = 0;
}

static void attach(struct head_core *core, struct head_link *link, struct head_node *node)
{
    if (node->link != NULL && node->link != link) {
        struct head_link *former = node->link;
        head_query_unlinked(core, node->row.number);
        head_drop(core, former);
    }
    node->link = link;
    link->node = node;
    heard_all(core, node);
    struct cluster_msg joined = {.type = CLUSTER_JOINED,
                                 .joined = {.number = node->row.number,
                                            .lease_ns = HEAD_LEASE_NS,
                                            .cluster = core->cluster,
                                            .address = node->address}};
    head_send(core, link, &joined);
    head_view_whole(core, link);
    head_reach_begin(core, node);
}

/* What it says anew in each JOIN. One that has said that it leaves does not come to stay. */
static void take_intent(struct head_node *node, const struct cluster_join *join)
{
    node->is_private = join->closed;
    node->leaving = node->leaving || join->leaving;
}

/* Whether it has the directory of that node: all nodes share one key, which proves nothing. */
static bool has_its_secret(const struct head_node *node, const struct cluster_join *join)
{
    char digest[HEAD_DIGEST_SIZE];
    head_secret_digest(join->secret, digest);
    return node->secret_digest[0] == '\0' || strcmp(digest, node->secret_digest) == 0;
}

static void join_again(struct head_core *core, struct head_link *link,
                       const struct cluster_join *join)
{
    struct head_node *node = numbers_get(&core->nodes, join->number);
    struct failure f;
    if (node == NULL || node->row.state != HEAD_NODE_ALIVE) {
        if (node == NULL && join->number > core->node_last) {
            failure_set(&f, CODE_NOT_FOUND,
                        "cluster \"%s\" never had a node number %u (its directory is new?): join "
                        "again",
                        core->cluster, join->number);
        } else {
            failure_set(&f, CODE_NODE_LOST,
                        "node number %u was declared lost%s%s: join again to get a new number",
                        join->number, node != NULL ? ", " : "", node != NULL ? node->note : "");
        }
        head_refuse(core, link, &f);
        return;
    }
    if (!has_its_secret(node, join)) {
        failure_set(&f, CODE_REFUSED,
                    "node number %u uses another directory: join again to get a new number",
                    join->number);
        head_refuse(core, link, &f);
        return;
    }
    enum head_haste haste = HASTE_NONE;
    (void)take_amounts(node, join->amounts, join->amount_count, &haste);
    bool was_closed = node->is_private || node->leaving;
    take_intent(node, join);
    bool has_moved = head_reach_join(core, node, link->seen, join);
    if (has_moved) {
        head_record_node(core, node);
    }
    attach(core, link, node);
    head_jobs_listed(core, node, join->jobs, join->job_count);
    bool is_closed = node->is_private || node->leaving;
    head_view_touch(core, node, has_moved || is_closed != was_closed ? HASTE_NOW : haste);
}

/* The answer to its first JOIN was lost with the session: the same process asks again. */
static bool is_same_life(const struct head_node *node, const struct cluster_join *join)
{
    return node->row.pid == join->pid && strcmp(node->row.name, head_text(join->name)) == 0 &&
           strcmp(node->row.host, head_text(join->host)) == 0 &&
           strcmp(node->row.public_key, head_text(join->public_key)) == 0 &&
           node->row.number != join->supersedes && has_its_secret(node, join);
}

static int check_new(struct head_core *core, const struct cluster_join *join, struct failure *f)
{
    const struct head_node *taken = find_name(core, join->name);
    if (taken != NULL && (taken->row.number != join->supersedes || !has_its_secret(taken, join))) {
        return failure_set(f, CODE_EXISTS,
                           "a node named \"%s\" is already in this cluster (number %u at %s). "
                           "Choose another name, such as --name %.50s-2",
                           join->name, taken->row.number, taken->row.address, join->name);
    }
    if (core->alive_count >= HEAD_NODES_MAX) {
        return failure_set(f, CODE_FULL, "the cluster has %u nodes, which is the limit",
                           HEAD_NODES_MAX);
    }
    if (core->node_last == UINT32_MAX) {
        return failure_set(f, CODE_FULL, "the cluster has no node numbers left");
    }
    return 0;
}

static void join_new(struct head_core *core, struct head_link *link,
                     const struct cluster_join *join)
{
    struct head_node *former = find_name(core, join->name);
    struct failure f;
    if (former != NULL && is_same_life(former, join)) {
        attach(core, link, former);
        return;
    }
    if (check_new(core, join, &f) != 0) {
        head_refuse(core, link, &f);
        return;
    }
    uint32_t number = ++core->node_last;
    if (former != NULL) {
        char note[64];
        snprintf(note, sizeof note, "it was started again as number %u", number);
        lose_node(core, former, note);
    }
    char digest[HEAD_DIGEST_SIZE];
    head_secret_digest(join->secret, digest);
    struct head_node_row row = row_of(join, number, HEAD_NODE_NEW);
    row.secret_digest = digest;
    struct head_node *node = node_new(&row);
    take_intent(node, join);
    (void)head_reach_join(core, node, link->seen, join);
    enter_alive(core, node);
    set_state(core, node, HEAD_NODE_ALIVE, "");
    head_log(core, "node %u \"%s\" joined from %s", number, node->row.name, node->row.address);
    attach(core, link, node);
}

/* A session is one node's: it may only say again who it is. */
static bool is_another(const struct head_node *node, const struct cluster_join *join)
{
    return join->number != 0 ? join->number != node->row.number : !is_same_life(node, join);
}

void head_node_join(struct head_core *core, struct head_link *link, const struct cluster_join *join)
{
    struct failure f;
    if (check_join(core, link, join, &f) != 0) {
        head_refuse(core, link, &f);
    } else if (link->node != NULL && is_another(link->node, join)) {
        core->protocol_errors++;
        head_drop(core, link);
    } else if (join->number != 0) {
        join_again(core, link, join);
    } else {
        join_new(core, link, join);
    }
}

/* ---- leases ---- */

void head_node_renew(struct head_core *core, struct head_link *link,
                     const struct cluster_renew *renew)
{
    struct head_node *node = link->node;
    if (node == NULL || renew->sent_ns == 0 || renew->sent_ns < node->last_sent_ns) {
        core->dropped_messages++; /* before its JOIN, or overtaken by a newer one */
        return;
    }
    if (node->first_sent_ns == 0) {
        node->first_sent_ns = renew->sent_ns;
    }
    bool is_newer = renew->sent_ns > node->last_sent_ns;
    node->last_sent_ns = renew->sent_ns;
    uint64_t answered = MAX_OF(renew->answered_ns, node->first_sent_ns);
    if (renew->sent_ns > answered && renew->sent_ns - answered > HEAD_DEAF_NS) {
        /* A one-way cut: it does not hear us, so its lease is over, and ours must end too. Without
         * an answer from now on, this life of it is surely fenced when the head's own count ends.
         */
        node->suspect = true;
        return;
    }
    node->lease_boot_ns = core->time.boot_ns;
    node->heard_ns = core->time.now_ns;
    node->suspect = false;
    node->refused = 0;
    head_reach_seen(core, node, link->seen);
    struct cluster_msg answer = {.type = CLUSTER_RENEWED, .renewed.sent_ns = renew->sent_ns};
    head_datagram(core, link, &answer);
    if (!is_newer) {
        return;
    }
    enum head_haste haste = HASTE_NONE;
    bool changed = take_amounts(node, renew->amounts, renew->amount_count, &haste);
    changed = changed || renew->waiting != node->waiting || renew->running != node->running;
    node->waiting = renew->waiting;
    node->running = renew->running;
    node->done = renew->done;
    node->failed = renew->failed;
    node->cancelled = renew->cancelled;
    node->memory_used_bytes = renew->memory_used_bytes;
    node->workers = renew->workers;
    node->idle_workers = renew->idle_workers;
    if (changed) {
        head_view_touch(core, node, haste);
    }
}

void head_node_cut(struct head_core *core, struct head_node *node)
{
    node->suspect = true;
    node->probe_at_ns = core->time.now_ns;
    core->tick_at_ns = core->time.now_ns;
}

static bool is_guarded(const struct head_core *core, const struct head_node *node)
{
    return node->restored && core->time.boot_ns < core->restored_until_boot_ns;
}

void head_node_probed(struct head_core *core, uint32_t number, enum head_probe probe)
{
    struct head_node *node = numbers_get(&core->nodes, number);
    if (node == NULL || node->row.state != HEAD_NODE_ALIVE || !node->probing) {
        return;
    }
    node->probing = false;
    node->probe_at_ns = core->time.now_ns + HEAD_PROBE_NS;
    /* Where the node was never reached, that nobody listens says nothing about it. */
    if (probe != HEAD_PROBE_REFUSED || !node->suspect || is_guarded(core, node) ||
        *node->warning != '\0') {
        node->refused = 0;
        return;
    }
    node->refused++;
    if (node->refused >= HEAD_PROBES_REFUSED) {
        lose_node(core, node, "its process ended");
    }
}

void head_nodes_stalled(struct head_core *core)
{
    LIST_FOREACH(at, &core->alive)
    {
        struct head_node *node = list_entry(at, struct head_node, listed);
        node->lease_boot_ns = core->time.boot_ns;
        node->heard_ns = core->time.now_ns;
        node->refused = 0;
    }
    head_log(core, "the head was suspended; all leases start again");
}

static void tick_node(struct head_core *core, struct head_node *node, bool *any_suspect)
{
    if (is_guarded(core, node)) {
        return;
    }
    if (core->time.boot_ns - node->lease_boot_ns > HEAD_LEASE_NS) {
        lose_node(core, node, "its lease ran out");
        return;
    }
    if (core->time.now_ns - node->heard_ns > HEAD_SUSPECT_NS) {
        node->suspect = true;
    }
    if (node->suspect && !node->probing && core->time.now_ns >= node->probe_at_ns) {
        node->probing = true;
        head_probe(core, node);
    }
    head_reach_tick(core, node);
    if (core->time.now_ns >= node->reconcile_at_ns) {
        node->reconcile_at_ns = NS_FOREVER;
        head_jobs_reconcile(core, node);
    }
    *any_suspect = *any_suspect || node->suspect;
}

void head_nodes_tick(struct head_core *core)
{
    bool any_suspect = false;
    LIST_FOREACH_SAFE(at, &core->alive)
    {
        tick_node(core, list_entry(at, struct head_node, listed), &any_suspect);
    }
    core->tick_at_ns = core->time.now_ns + (any_suspect ? HEAD_TICK_FAST_NS : HEAD_TICK_NS);
}

/* ---- after a restart ---- */

const char *head_node_restore(struct head_core *core, const struct head_node_row *row)
{
    bool is_alive = row->state == HEAD_NODE_ALIVE;
    if (numbers_get(&core->nodes, row->number) != NULL) {
        return "its number appears twice";
    }
    if (is_alive && find_name(core, head_text(row->name)) != NULL) {
        return "two living nodes have its name";
    }
    struct head_node *node = node_new(row);
    node->lease_boot_ns = core->time.boot_ns;
    node->heard_ns = core->time.now_ns;
    core->node_last = MAX_OF(core->node_last, row->number);
    if (is_alive) {
        node->restored = true;
        enter_alive(core, node);
    } else {
        numbers_set(&core->nodes, row->number, node);
        enter_ended(core, node);
    }
    return NULL;
}
