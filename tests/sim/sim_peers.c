/*
 * A simulated node's sessions with others over the network in memory, as proto/mesh has them: one
 * for each direction, opened by who wants something.
 */
#include "tests/sim/sim_inside.h"

#include <stdio.h>
#include <stdlib.h>

#define BATCH_HEADER 8u /* its number */

static struct rng *dice(const struct sim_node *n)
{
    return n->config.rng;
}

static struct sim_counts *counts(const struct sim_node *n)
{
    return &n->config.world->counts;
}

static bool is_off(const struct sim_node *n, enum sim_rule rule)
{
    return (n->config.rules_off & rule) != 0;
}

static enum peer_side side_of(const struct sim_peer_link *l)
{
    return l->out ? SIDE_OUT : SIDE_IN;
}

/* ---- what the core hears ---- */

static void forget_unsent(struct sim_peer_link *l)
{
    buffer_clear(&l->batch);
    for (uint32_t i = 0; i < l->waiting_count; i++) {
        buffer_fini(&l->waiting[i]);
    }
    free(l->waiting);
    l->waiting = NULL;
    l->waiting_count = 0;
    l->slow = false;
}

/* ---- runs, as their home knows them ---- */

static struct sim_sent_run *run_of(struct sim_peer_link *l, uint64_t run)
{
    struct sim_sent_run *r;

    HASH_FIND(hh, l->runs, &run, sizeof run, r);
    return r;
}

static void run_sent(struct sim_peer_link *l, const struct peer_run *m)
{
    struct sim_sent_run *r = xcalloc(1, sizeof *r);

    sim_sends(l->node->config.world, m->task, m->attempt);
    r->run = m->run;
    r->task = m->task;
    r->attempt = m->attempt;
    HASH_ADD(hh, l->runs, run, sizeof r->run, r);
}

static void run_over(struct sim_peer_link *l, uint64_t run)
{
    struct sim_sent_run *r = run_of(l, run);

    if (r != NULL) {
        HASH_DEL(l->runs, r);
        free(r);
    }
}

static void runs_lost(struct sim_peer_link *l, bool charged)
{
    struct sim_sent_run *r, *next;

    HASH_ITER(hh, l->runs, r, next)
    {
        if (r->started && charged) {
            sim_charged(l->node->config.world, r->task, r->attempt);
        }
        HASH_DEL(l->runs, r);
        free(r);
    }
}

static void note_answer(struct sim_peer_link *l, const struct peer_msg *m)
{
    if (m->type == PEER_RESULT) {
        run_over(l, m->result.run);
    } else if (m->type == PEER_BACK) {
        run_over(l, m->back.run);
    }
    for (size_t i = 0; m->type == PEER_STARTED && i < m->runs.run_count; i++) {
        struct sim_sent_run *r = run_of(l, m->runs.runs[i]);
        if (r != NULL) {
            r->started = true;
        }
    }
}

static struct raylet_event *tell_down(struct sim_peer_link *l, bool refused, bool key_refused)
{
    struct sim_node *n = l->node;

    n->poked = true;
    forget_unsent(l);
    runs_lost(l, true);
    if (l->up) {
        counts(n)->session_ends++;
        if (l->out && !refused && n->config.world->strict) {
            sim_breach(n->config.world, "%s: the session with node %u ends though all is well",
                       n->config.name, l->peer);
        }
        n->peers.down_ns[l->peer % SIM_NUMBERS_MAX] = n->now_ns;
    }
    counts(n)->peer_refused += refused;
    l->up = false;
    rig_peer_down(n->rig, l->peer, side_of(l), refused);
    struct raylet_event *e = &n->rig->events[n->rig->event_count - 1];
    e->key_refused = key_refused;
    return e;
}

static void tell_slow(struct sim_peer_link *l, bool slow)
{
    struct raylet_event *e = rig_event(l->node->rig, EVENT_PEER_SLOW);

    e->peer = l->peer;
    e->side = side_of(l);
    e->ok = slow;
    l->slow = slow;
}

static struct sim_peer_link *find(struct sim_node *n, uint32_t peer, enum peer_side side)
{
    for (int i = 0; i < LINKS_MAX; i++) {
        struct sim_peer_link *l = &n->peers.links[i];
        if (l->used && !l->retired && l->peer == peer && side_of(l) == side && (l->out || l->up)) {
            return l;
        }
    }
    return NULL;
}

/* ---- sending ---- */

static int give(struct sim_peer_link *l, struct bytes b)
{
    uint64_t now_ns = l->node->now_ns;

    return is_off(l->node, SIM_RULE_ONCE_IN_ORDER) ? session_datagram(l->session, now_ns, b)
                                                   : session_send(l->session, now_ns, b);
}

static void put_off(struct sim_peer_link *l, struct buffer *b)
{
    l->waiting = xrealloc(l->waiting, (l->waiting_count + 1) * sizeof *l->waiting);
    l->waiting[l->waiting_count++] = *b;
    memset(b, 0, sizeof *b);
    if (!l->slow) {
        tell_slow(l, true);
    }
}

static void flush(struct sim_peer_link *l)
{
    if (l->batch.size == 0 || !l->up || l->session == NULL) {
        buffer_clear(&l->batch);
        return;
    }
    uint64_t number = ++l->said;
    memcpy(l->batch.data, &number, BATCH_HEADER);
    if (l->waiting_count > 0 || give(l, bytes_of(l->batch.data, l->batch.size)) == -EAGAIN) {
        put_off(l, &l->batch);
    }
    buffer_clear(&l->batch);
}

static void flush_waiting(struct sim_peer_link *l)
{
    uint32_t i = 0;

    while (i < l->waiting_count &&
           give(l, bytes_of(l->waiting[i].data, l->waiting[i].size)) != -EAGAIN) {
        buffer_fini(&l->waiting[i]);
        i++;
    }
    l->waiting_count -= i;
    memmove(l->waiting, l->waiting + i, l->waiting_count * sizeof *l->waiting);
    if (l->slow && l->waiting_count == 0) {
        tell_slow(l, false);
    }
}

static void tell_runs(const struct peer_runs *runs)
{
    for (size_t i = 0; i < runs->run_count; i++) {
        printf(" %llu", (unsigned long long)runs->runs[i]);
    }
}

static void tell_ids(const struct object_id *ids, size_t count)
{
    char text[ID_TEXT_SIZE];

    for (size_t i = 0; i < count; i++) {
        printf(" %s", object_id_format(ids[i], text));
    }
}

static void tell_more(const struct peer_msg *m)
{
    switch (m->type) {
    case PEER_RUN:
        printf(" %llu attempt %u task", (unsigned long long)m->run.run, m->run.attempt);
        tell_ids(&m->run.task, 1);
        printf(" refs");
        tell_ids(m->run.refs, m->run.ref_count);
        break;
    case PEER_RESULT:
        printf(" %llu kind %u args_free %d wants_recorded %d refs",
               (unsigned long long)m->result.run, m->result.kind, m->result.args_free,
               m->result.wants_recorded);
        tell_ids(m->result.refs, m->result.ref_count);
        break;
    case PEER_BACK:
    case PEER_STOP:
        printf(" %llu", (unsigned long long)m->back.run);
        break;
    case PEER_STARTED:
    case PEER_RECORDED:
    case PEER_ARGS_FREE:
        tell_runs(&m->runs);
        break;
    case PEER_ADD:
        printf(" first %d last %d", m->add.first, m->add.last);
        tell_ids(m->add.ids, m->add.id_count);
        break;
    case PEER_ADDED:
        tell_ids(m->added.ids, m->added.id_count);
        printf(" gone");
        tell_ids(m->added.gone, m->added.gone_count);
        break;
    case PEER_DROP:
    case PEER_WANT:
        tell_ids(m->ids.ids, m->ids.id_count);
        break;
    case PEER_VALUE:
        tell_ids(&m->value.id, 1);
        break;
    default:
        break;
    }
}

static void tell_message(const struct sim_node *n, uint32_t peer, enum peer_side side,
                         const struct peer_msg *m)
{
    static const char *const names[] = {
        "JOB",        "JOB_END",  "CLASS",  "CLASS_END", "ASK",  "RETURN", "RUN",
        "STOP",       "RECORDED", "GRANT",  "STARTED",   "BACK", "RESULT", "ARGS_FREE",
        "JOB_BROKEN", "LOG",      "GET",    "PART",      "ADD",  "DROP",   "WANT",
        "ADDED",      "VALUE",    "CANCEL", "JOB_ASK",   "LOOK", "SEEN"};
    uint32_t at = (uint32_t)m->type - PEER_JOB;

    printf("  %.6f s: %u %s %u: %s", (double)n->now_ns / 1e9, n->rig->node,
           side == SIDE_OUT ? "->" : "=>", peer, at < ARRAY_SIZE(names) ? names[at] : "?");
    tell_more(m);
    printf("\n");
}

static void on_peer_send(void *arg, uint32_t peer, enum peer_side side, const struct peer_msg *m)
{
    struct sim_node *n = arg;
    struct sim_peer_link *l = find(n, peer, side);
    uint64_t size = peer_size(m);

    if (l == NULL || !l->up) {
        return; /* it went down: the core hears of it */
    }
    counts(n)->peer_messages++;
    if (m->type == PEER_RUN) {
        run_sent(l, &m->run);
    }
    if (n->config.world->tells) {
        tell_message(n, peer, side, m);
    }
    if (l->batch.size == 0) {
        memset(buffer_extend(&l->batch, BATCH_HEADER), 0, BATCH_HEADER);
    }
    if (l->batch.size + size + 16 > SESSION_MESSAGE_MAX) {
        flush(l);
        memset(buffer_extend(&l->batch, BATCH_HEADER), 0, BATCH_HEADER);
    }
    buffer_append(&l->batch, &size, sizeof size);
    peer_encode(m, buffer_extend(&l->batch, align_up(size, 8)));
}

void sim_peers_flush(struct sim_node *n)
{
    for (int i = 0; i < LINKS_MAX; i++) {
        if (n->peers.links[i].used && n->peers.links[i].batch.size > 0) {
            flush(&n->peers.links[i]);
        }
    }
}

/* ---- receiving ---- */

static void batch_comes(struct sim_peer_link *l, struct bytes data)
{
    struct sim_node *n = l->node;
    const uint8_t *bytes = arena_copy(&n->rig->arena, data.data, data.size);
    uint64_t number, size;
    const char *why = "";

    memcpy(&number, bytes, BATCH_HEADER);
    if (number != ++l->heard && !is_off(n, SIM_RULE_ONCE_IN_ORDER)) {
        sim_breach(n->config.world, "%s: message %llu of node %u comes as the %llu.",
                   n->config.name, (unsigned long long)number, l->peer,
                   (unsigned long long)l->heard);
    }
    for (size_t at = BATCH_HEADER; at < data.size; at += align_up(size, 8)) {
        struct peer_msg *m = arena_alloc(&n->rig->arena, sizeof *m);
        memcpy(&size, bytes + at, sizeof size);
        at += sizeof size;
        if (peer_decode(bytes_of(bytes + at, size), &n->rig->arena, m, &why) != 0) {
            sim_breach(n->config.world, "%s: node %u sends what cannot be read: %s", n->config.name,
                       l->peer, why);
        }
        if (l->out) {
            note_answer(l, m);
        }
        rig_peer_says(n->rig, l->peer, side_of(l), m);
    }
}

static void in_up(struct sim_peer_link *l)
{
    struct sim_node *n = l->node;

    for (int i = 0; i < LINKS_MAX; i++) {
        struct sim_peer_link *old = &n->peers.links[i];
        if (old == l || !old->used || old->out || !old->up || old->peer != l->peer) {
            continue;
        }
        struct sim_peer_link *loser = old->transport_peer < l->transport_peer ? old : l;
        if (loser == old) {
            tell_down(old, false, false);
        }
        session_end(loser->session, n->now_ns);
        loser->retired = true;
    }
}

static void session_up(struct sim_peer_link *l, uint32_t peer)
{
    struct sim_node *n = l->node;

    if (l->out && peer != l->peer && !is_off(n, SIM_RULE_NUMBERS)) {
        tell_down(l, false, true);
        session_end(l->session, n->now_ns);
        l->renewed = true; /* it is not who was meant: nothing more, until this is closed */
        return;
    }
    l->peer = l->out ? l->peer : peer;
    if (!l->out) {
        in_up(l);
    }
    if (l->retired) {
        return;
    }
    l->up = true;
    l->said = l->heard = 0;
    counts(n)->sessions++;
    rig_peer_up(n->rig, l->peer, side_of(l));
}

static void session_says(void *arg, const struct session_event *e)
{
    struct sim_peer_link *l = arg;

    l->node->poked = true;
    if (l->retired) {
        return;
    }
    switch (e->kind) {
    case SESSION_UP:
        session_up(l, e->peer);
        break;
    case SESSION_DOWN:
        if (l->up) {
            tell_down(l, l->refused, false)->silent = e->silent;
        }
        break;
    case SESSION_ROOM:
        flush_waiting(l);
        break;
    default:
        if (l->up) {
            batch_comes(l, e->data);
        }
    }
}

static int session_sends(void *arg, struct bytes packet)
{
    struct sim_peer_link *l = arg;

    if (l->out) {
        return l->client->ops->send(l->client, TRANSPORT_MEM_ONLY_PEER, packet);
    }
    return l->node->peers.server->ops->send(l->node->peers.server, l->transport_peer, packet);
}

/* ---- links ---- */

static void begin_session(struct sim_peer_link *l)
{
    struct sim_node *n = l->node;
    struct session_owner owner = {session_says, session_sends, l};
    struct session_config config = {.self = n->rig->node,
                                    .self_life = rng_next(dice(n)),
                                    .initiator = l->out,
                                    .seed = rng_next(dice(n)),
                                    .now_ns = n->now_ns};

    l->session = session_new(&config, &owner);
}

static struct sim_peer_link *link_new(struct sim_node *n)
{
    for (int i = 0; i < LINKS_MAX; i++) {
        struct sim_peer_link *l = &n->peers.links[i];
        if (!l->used) {
            *l = (struct sim_peer_link){.node = n, .used = true};
            return l;
        }
    }
    ASSERT(false);
    return NULL;
}

static void link_free(struct sim_peer_link *l)
{
    runs_lost(l, false);
    forget_unsent(l);
    buffer_fini(&l->batch);
    session_free(l->session);
    if (l->client != NULL) {
        l->client->ops->free(l->client);
    }
    l->used = false;
}

static void receive(struct sim_peer_link *l, struct bytes message)
{
    l->node->poked = true;
    if (l->retired || l->renewed) {
        return;
    }
    if (l->session == NULL) { /* IN: once there is a number to say */
        if (l->node->rig->node == 0) {
            return;
        }
        begin_session(l);
    }
    if (session_receive(l->session, l->node->now_ns, message) != 0) {
        ASSERT(false); /* the network in memory cuts nothing */
    }
}

static void out_up(void *arg, uint64_t peer, enum peer_role role)
{
    struct sim_peer_link *l = arg;

    l->node->poked = true;
    l->refused = false;
    if (l->session != NULL && !l->retired && !l->renewed) {
        session_hurry(l->session, l->node->now_ns);
    }
}

static void out_message(void *arg, uint64_t peer, struct bytes message)
{
    receive(arg, message);
}

static void out_down(void *arg, uint64_t peer, bool refused)
{
    struct sim_peer_link *l = arg;

    l->node->poked = true;
    if (!refused || l->retired || l->renewed) {
        return; /* the session mends what a lost connection lost */
    }
    l->refused = true;
    if (l->up) {
        session_lost(l->session, l->node->now_ns);
    } else {
        tell_down(l, true, false);
    }
}

static struct sim_peer_link *in_link(struct sim_node *n, uint64_t peer)
{
    for (int i = 0; i < LINKS_MAX; i++) {
        struct sim_peer_link *l = &n->peers.links[i];
        if (l->used && !l->out && l->transport_peer == peer) {
            return l;
        }
    }
    return NULL;
}

static void server_up(void *arg, uint64_t peer, enum peer_role role)
{
    struct sim_node *n = arg;
    struct sim_peer_link *l = link_new(n);

    l->transport_peer = peer;
    n->poked = true;
}

static void server_message(void *arg, uint64_t peer, struct bytes message)
{
    struct sim_peer_link *l = in_link(arg, peer);

    if (l != NULL) {
        receive(l, message);
    }
}

static void server_down(void *arg, uint64_t peer, bool refused)
{
    struct sim_peer_link *l = in_link(arg, peer);

    if (l == NULL) {
        return;
    }
    if (l->up && !l->retired) {
        tell_down(l, false, false);
    }
    l->node->poked = true;
    l->retired = true;
}

static void no_room(void *arg, uint64_t peer)
{
    (void)arg, (void)peer;
}

/* ---- what the core wants ---- */

static void on_peer_open(void *arg, uint32_t peer, const char *address, const char *key)
{
    struct sim_node *n = arg;
    struct transport_events events = {out_up, out_message, no_room, out_down, NULL};
    const char *colon = strrchr(address, ':');
    struct sim_peer_link *l;

    ASSERT(colon != NULL);
    if (find(n, peer, SIDE_OUT) != NULL) {
        sim_breach(n->config.world, "%s opens a session with node %u twice", n->config.name, peer);
    }
    l = link_new(n);
    l->out = true;
    l->peer = peer;
    uint32_t port = (uint32_t)strtoul(colon + 1, NULL, 10);
    l->other = (int)port - SIM_NODE_PORT;
    ASSERT(l->other >= 0 && l->other < SIM_NODES_MAX);
    events.arg = l;
    l->client = transport_mem_client_new(n->config.network, port, PEER_NODE, &events);
    transport_mem_cut(l->client, n->cut_to_peer[l->other], n->cut_from_peer[l->other]);
    begin_session(l);
}

static void on_peer_close(void *arg, uint32_t peer, enum peer_side side)
{
    struct sim_node *n = arg;
    struct sim_peer_link *l = find(n, peer, side);

    if (n->rig->close_reason[0] != '\0' && n->config.world->strict) {
        sim_breach(n->config.world, "%s closes the session with node %u: %s", n->config.name, peer,
                   n->rig->close_reason);
    }
    if (l == NULL) {
        return;
    }
    flush(l);
    if (l->up) {
        n->peers.down_ns[l->peer % SIM_NUMBERS_MAX] = n->now_ns;
        counts(n)->session_ends++;
    }
    if (l->session != NULL) {
        session_end(l->session, n->now_ns);
    }
    l->up = false;
    l->retired = l->out;
    l->renewed = !l->out;
    forget_unsent(l);
    runs_lost(l, false);
    /* what came of it in this step and was not yet told */
    for (uint32_t i = 0; i < n->rig->event_count; i++) {
        struct raylet_event *e = &n->rig->events[i];
        bool of_peers = e->kind == EVENT_PEER_UP || e->kind == EVENT_PEER_DOWN ||
                        e->kind == EVENT_PEER_MESSAGE || e->kind == EVENT_PEER_SLOW;
        if (of_peers && e->peer == peer && e->side == side) {
            memmove(e, e + 1, (n->rig->event_count - i - 1) * sizeof *e);
            n->rig->event_count--;
            i--;
        }
    }
}

void sim_peers_hook(struct rig_hooks *hooks)
{
    hooks->on_peer_open = on_peer_open;
    hooks->on_peer_close = on_peer_close;
    hooks->on_peer_send = on_peer_send;
}

/* ---- life and time ---- */

void sim_peers_start(struct sim_node *n)
{
    struct transport_events events = {server_up, server_message, no_room, server_down, n};

    memset(&n->peers, 0, sizeof n->peers);
    n->peers.server = transport_mem_server_new(n->config.network,
                                               SIM_NODE_PORT + (uint32_t)n->config.index, &events);
}

void sim_peers_stop(struct sim_node *n)
{
    for (int i = 0; i < LINKS_MAX; i++) {
        if (n->peers.links[i].used) {
            link_free(&n->peers.links[i]);
        }
    }
    n->peers.server->ops->free(n->peers.server);
    n->peers.server = NULL;
}

static void reap(struct sim_peer_link *l)
{
    if (l->retired) {
        link_free(l);
    } else if (l->renewed && !l->out) {
        l->renewed = false;
        session_free(l->session);
        l->session = NULL;
    }
}

void sim_peers_tick(struct sim_node *n)
{
    for (int i = 0; i < LINKS_MAX; i++) {
        struct sim_peer_link *l = &n->peers.links[i];
        if (l->used) {
            reap(l);
        }
        if (l->used && !l->renewed && l->session != NULL &&
            session_next_ns(l->session) <= n->now_ns) {
            session_tick(l->session, n->now_ns);
        }
    }
}

bool sim_peers_is_home(struct sim_node *n, uint32_t number)
{
    return find(n, number, SIDE_IN) != NULL;
}

uint64_t sim_peers_next_ns(const struct sim_node *n)
{
    uint64_t next = NS_FOREVER;

    for (int i = 0; i < LINKS_MAX; i++) {
        const struct sim_peer_link *l = &n->peers.links[i];
        if (l->used && (l->retired || (l->renewed && !l->out))) {
            next = n->now_ns;
        } else if (l->used && !l->renewed && l->session != NULL) {
            next = MIN_OF(next, session_next_ns(l->session));
        }
    }
    return next;
}

void sim_peers_cut(struct sim_node *n)
{
    for (int i = 0; i < LINKS_MAX; i++) {
        struct sim_peer_link *l = &n->peers.links[i];
        if (l->used && l->out && l->client != NULL) {
            transport_mem_cut(l->client, n->cut_to_peer[l->other], n->cut_from_peer[l->other]);
        }
    }
}

uint64_t sim_peers_down_ns(const struct sim_node *n, uint32_t number)
{
    return n->peers.down_ns[number % SIM_NUMBERS_MAX];
}
