#include "tests/sim/sim_head.h"

#include "common/clock.h"
#include "proto/session.h"

#define LINKS_MAX  64
#define EVENTS_MAX 4096
#define PROBES_MAX 64

struct sim_link {
    struct sim_head *head;
    uint64_t peer; /* of the transport */
    uint64_t link; /* of the core; 0: not up */
    struct session *session;
    bool dropped;
};

struct sim_head {
    struct mem_network *network;
    struct rng *rng;
    struct head_core *core; /* NULL: killed */
    struct transport *transport;
    uint64_t now_ns, next_link;
    struct sim_link links[LINKS_MAX];
    struct head_event events[EVENTS_MAX];
    size_t event_count;
    struct arena arena; /* of the events */
    /* the journal: what is on disk, what is written and not yet committed */
    struct head_record *records;
    size_t record_count, record_room, disk_count;
    struct arena disk;
    uint64_t life_base; /* record numbers of this life begin after it */
    uint64_t asked, committed, commit_at_ns, commit_to;
    uint64_t commit_max_ns;
    bool hasty; /* says that it is on disk before it is */
    struct {
        uint32_t node;
        uint64_t at_ns;
    } probes[PROBES_MAX];
    enum head_probe (*probe)(void *arg, uint32_t node);
    void *probe_arg;
    struct sim_head_counts counts;
};

static struct head_event *new_event(struct sim_head *h, enum head_event_kind kind)
{
    ASSERT(h->event_count < EVENTS_MAX);
    struct head_event *e = &h->events[h->event_count++];
    *e = (struct head_event){.kind = kind};
    return e;
}

/* ---- links ---- */

static struct sim_link *link_of_peer(struct sim_head *h, uint64_t peer)
{
    for (int i = 0; i < LINKS_MAX; i++) {
        if (h->links[i].session != NULL && h->links[i].peer == peer) {
            return &h->links[i];
        }
    }
    return NULL;
}

static struct sim_link *link_of_core(struct sim_head *h, uint64_t link)
{
    for (int i = 0; i < LINKS_MAX; i++) {
        if (h->links[i].session != NULL && h->links[i].link == link && link != 0) {
            return &h->links[i];
        }
    }
    return NULL;
}

static void message_comes(struct sim_head *h, struct sim_link *l, struct bytes data, bool datagram)
{
    struct cluster_msg *m = arena_alloc(&h->arena, sizeof *m);
    void *copy = arena_copy(&h->arena, data.data, data.size);
    const char *why = "";

    if (cluster_decode(bytes_of(copy, data.size), &h->arena, m, &why) != 0) {
        ASSERT(false); /* sessions deliver what was sent, or nothing */
    }
    struct head_event *e = new_event(h, datagram ? HEAD_EVENT_DATAGRAM : HEAD_EVENT_MESSAGE);
    e->link = l->link;
    e->cluster = m;
}

static void session_says(void *arg, const struct session_event *event)
{
    struct sim_link *l = arg;
    struct sim_head *h = l->head;
    struct head_event *e;

    switch (event->kind) {
    case SESSION_UP:
        l->link = ++h->next_link;
        e = new_event(h, HEAD_EVENT_LINK_UP);
        e->link = l->link;
        e->role = PEER_NODE;
        break;
    case SESSION_DOWN:
        new_event(h, HEAD_EVENT_LINK_DOWN)->link = l->link;
        l->link = 0;
        break;
    case SESSION_MESSAGE:
    case SESSION_DATAGRAM:
        message_comes(h, l, event->data, event->kind == SESSION_DATAGRAM);
        break;
    default:
        break;
    }
}

static int session_sends(void *arg, struct bytes packet)
{
    struct sim_link *l = arg;
    return l->head->transport->ops->send(l->head->transport, l->peer, packet);
}

static void begin_session(struct sim_head *h, struct sim_link *l, uint64_t peer)
{
    struct session_owner owner = {session_says, session_sends, l};
    struct session_config config = {.self = SESSION_NUMBER_HEAD,
                                    .self_life = h->counts.starts,
                                    .seed = rng_next(h->rng),
                                    .now_ns = h->now_ns};

    *l = (struct sim_link){.head = h, .peer = peer};
    l->session = session_new(&config, &owner);
}

static void on_up(void *arg, uint64_t peer, enum peer_role role)
{
    struct sim_head *h = arg;

    (void)role;
    for (int i = 0; i < LINKS_MAX; i++) {
        if (h->links[i].session == NULL) {
            begin_session(h, &h->links[i], peer);
            return;
        }
    }
    ASSERT(false);
}

static void on_message(void *arg, uint64_t peer, struct bytes message)
{
    struct sim_head *h = arg;
    struct sim_link *l = link_of_peer(h, peer);

    if (l != NULL && session_receive(l->session, h->now_ns, message) != 0) {
        ASSERT(false); /* the network in memory cuts nothing */
    }
}

static void on_room(void *arg, uint64_t peer)
{
    (void)arg, (void)peer;
}

static void on_down(void *arg, uint64_t peer, bool refused)
{
    struct sim_head *h = arg;
    struct sim_link *l = link_of_peer(h, peer);

    (void)refused;
    if (l == NULL) {
        return;
    }
    if (l->link != 0) {
        new_event(h, HEAD_EVENT_LINK_DOWN)->link = l->link;
    }
    session_free(l->session);
    l->session = NULL;
}

/* ---- life ---- */

struct sim_head *sim_head_new(struct mem_network *network, struct rng *rng, uint64_t now_ns)
{
    struct sim_head *h = xcalloc(1, sizeof *h);

    h->network = network;
    h->rng = rng;
    h->commit_max_ns = NS_PER_MS;
    sim_head_start(h, now_ns);
    return h;
}

static bool is_same_row(const struct head_record *a, const struct head_record *b)
{
    if (a->kind == HEAD_RECORD_NODE) {
        return (b->kind == HEAD_RECORD_NODE && b->node.number == a->node.number) ||
               (b->kind == HEAD_RECORD_FORGET_NODE && b->number == a->node.number);
    }
    return (b->kind == HEAD_RECORD_JOB && b->job.number == a->job.number) ||
           (b->kind == HEAD_RECORD_FORGET_JOB && b->number == a->job.number);
}

static int by_number(const void *a, const void *b)
{
    const struct head_record *x = a, *y = b;
    uint64_t p = x->kind == HEAD_RECORD_NODE ? x->node.number : x->job.number;
    uint64_t q = y->kind == HEAD_RECORD_NODE ? y->node.number : y->job.number;

    return x->kind != y->kind ? (int)x->kind - (int)y->kind : (p > q) - (p < q);
}

/* What a database would hold: the last row of each, by number, and the highest numbers ever. */
static void read_disk(struct sim_head *h)
{
    struct head_record *rows = xcalloc(h->disk_count + 2, sizeof *rows);
    struct head_record last = {.kind = HEAD_RECORD_NUMBERS};
    size_t n = 0;

    for (size_t i = 0; i < h->disk_count; i++) {
        const struct head_record *r = &h->records[i];
        last.node_last = MAX_OF(last.node_last, MAX_OF(r->node_last, r->node.number));
        last.job_last = MAX_OF(last.job_last, MAX_OF(r->job_last, r->job.number));
        bool newest =
            h->records[i].kind == HEAD_RECORD_NODE || h->records[i].kind == HEAD_RECORD_JOB;
        for (size_t k = i + 1; newest && k < h->disk_count; k++) {
            newest = !is_same_row(&h->records[i], &h->records[k]);
        }
        if (newest) {
            rows[n++] = h->records[i];
        }
    }
    qsort(rows, n, sizeof *rows, by_number);
    rows[n++] = last;
    free(h->records);
    h->records = rows;
    h->record_count = h->disk_count = n;
    h->record_room = n;
}

static void bad_row(void *arg, const struct head_record *record, const char *why)
{
    ASSERT(false);
}

void sim_head_start(struct sim_head *h, uint64_t now_ns)
{
    struct transport_events events = {on_up, on_message, on_room, on_down, h};
    struct head_config config = {.cluster = "sim", .address = "10.0.0.1:7420", .pid = 1};

    ASSERT(h->core == NULL);
    h->now_ns = now_ns;
    config.time = (struct head_time){now_ns, now_ns, 1000000 + now_ns / NS_PER_MS};
    h->counts.starts++;
    h->core = head_core_new(&config);
    read_disk(h);
    head_core_restore(h->core, h->records, h->record_count, bad_row, NULL);
    h->life_base = h->record_count;
    h->asked = h->committed = h->commit_to = h->commit_at_ns = 0;
    h->event_count = 0;
    memset(h->probes, 0, sizeof h->probes);
    h->transport = transport_mem_server_new(h->network, SIM_HEAD_PORT, &events);
}

void sim_head_kill(struct sim_head *h)
{
    if (h->core == NULL) {
        return;
    }
    for (int i = 0; i < LINKS_MAX; i++) {
        session_free(h->links[i].session);
        h->links[i].session = NULL;
    }
    h->transport->ops->free(h->transport);
    h->transport = NULL;
    head_core_free(h->core);
    h->core = NULL;
    h->record_count = h->disk_count;
}

void sim_head_free(struct sim_head *h)
{
    sim_head_kill(h);
    free(h->records);
    arena_fini(&h->arena);
    arena_fini(&h->disk);
    free(h);
}

bool sim_head_is_up(const struct sim_head *h)
{
    return h->core != NULL;
}

/* ---- effects ---- */

static void append(struct sim_head *h, const struct head_effect *e)
{
    if (h->record_count == h->record_room) {
        h->record_room = 2 * h->record_room + 16;
        h->records = xrealloc(h->records, h->record_room * sizeof *h->records);
    }
    h->records[h->record_count++] = head_record_copy(&h->disk, e->record);
    ASSERT(e->record_number == h->record_count - h->life_base);
    h->counts.records++;
}

static void commit(struct sim_head *h, uint64_t number)
{
    h->asked = MAX_OF(h->asked, number);
    if (h->commit_at_ns == 0) {
        uint64_t took = rng_below(h->rng, h->commit_max_ns + 1);
        h->commit_to = h->asked;
        h->commit_at_ns = h->now_ns + took + 1;
        h->counts.slow_commits += took > 100 * NS_PER_MS;
    }
    if (h->hasty && h->committed < h->asked) {
        h->committed = h->asked;
        new_event(h, HEAD_EVENT_COMMITTED)->record = h->committed;
    }
}

static void committed(struct sim_head *h)
{
    h->commit_at_ns = 0;
    h->disk_count = (size_t)(h->life_base + h->commit_to);
    h->counts.commits++;
    if (!h->hasty) {
        h->committed = h->commit_to;
        new_event(h, HEAD_EVENT_COMMITTED)->record = h->committed;
    }
    if (h->asked > h->commit_to) {
        commit(h, h->asked);
    }
}

static void effect(struct sim_head *h, const struct head_effect *e)
{
    struct sim_link *l = link_of_core(h, e->link);

    switch (e->kind) {
    case HEAD_EFFECT_RECORD:
        append(h, e);
        break;
    case HEAD_EFFECT_COMMIT:
        commit(h, e->record_number);
        break;
    case HEAD_EFFECT_SEND:
        ASSERT(e->after <= h->committed); /* nothing leaves before its record is on disk */
        if (l != NULL && session_send(l->session, h->now_ns, e->message) != 0) {
            break; /* it went down: the core hears of it */
        }
        break;
    case HEAD_EFFECT_DATAGRAM:
        if (l != NULL && session_datagram(l->session, h->now_ns, e->message) != 0) {
            break;
        }
        break;
    case HEAD_EFFECT_DROP:
        ASSERT(e->after <= h->committed);
        if (l != NULL) {
            l->dropped = true;
        }
        break;
    case HEAD_EFFECT_PROBE:
        h->counts.probes++;
        for (int i = 0; i < PROBES_MAX; i++) {
            if (h->probes[i].node == 0) {
                h->probes[i].node = e->node;
                h->probes[i].at_ns = h->now_ns + rng_between(h->rng, 1, 200) * NS_PER_MS;
                break;
            }
        }
        break;
    case HEAD_EFFECT_REACH: {
        struct head_event *reached = new_event(h, HEAD_EVENT_REACHED);
        reached->node = e->node;
        reached->reach = HEAD_REACH_NODE;
        break;
    }
    default:
        break;
    }
}

static void step(struct sim_head *h)
{
    struct head_time time = {h->now_ns, h->now_ns, 1000000 + h->now_ns / NS_PER_MS};
    struct head_event events[EVENTS_MAX];
    struct head_effects effects;
    struct arena old = h->arena;
    size_t n = h->event_count;

    memcpy(events, h->events, n * sizeof *events);
    h->event_count = 0;
    memset(&h->arena, 0, sizeof h->arena);
    head_core_step(h->core, &time, events, n, &effects);
    for (size_t i = 0; i < effects.count; i++) {
        effect(h, &effects.items[i]);
    }
    head_core_check(h->core);
    arena_fini(&old);
    for (int i = 0; i < LINKS_MAX; i++) {
        struct sim_link *l = &h->links[i];
        if (l->session != NULL && l->dropped) {
            session_end(l->session, h->now_ns);
            session_free(l->session);
            begin_session(h, l, l->peer); /* as a link does: whoever comes again is new */
        }
    }
}

void sim_head_advance(struct sim_head *h, uint64_t now_ns)
{
    h->now_ns = MAX_OF(h->now_ns, now_ns);
    if (h->core == NULL) {
        return;
    }
    for (int i = 0; i < LINKS_MAX; i++) {
        if (h->links[i].session != NULL && session_next_ns(h->links[i].session) <= h->now_ns) {
            session_tick(h->links[i].session, h->now_ns);
        }
    }
    if (h->commit_at_ns != 0 && h->commit_at_ns <= h->now_ns) {
        committed(h);
    }
    for (int i = 0; i < PROBES_MAX; i++) {
        if (h->probes[i].node != 0 && h->probes[i].at_ns <= h->now_ns) {
            struct head_event *e = new_event(h, HEAD_EVENT_PROBED);
            e->node = h->probes[i].node;
            e->probe = h->probe(h->probe_arg, e->node);
            h->probes[i].node = 0;
        }
    }
    while (h->event_count > 0 || head_core_has_work(h->core) ||
           head_core_next_ns(h->core) <= h->now_ns) {
        step(h);
    }
}

uint64_t sim_head_next_ns(const struct sim_head *h)
{
    uint64_t next = NS_FOREVER;

    if (h->core == NULL) {
        return next;
    }
    next = h->event_count > 0 ? h->now_ns : head_core_next_ns(h->core);
    next = h->commit_at_ns != 0 ? MIN_OF(next, h->commit_at_ns) : next;
    for (int i = 0; i < LINKS_MAX; i++) {
        if (h->links[i].session != NULL) {
            next = MIN_OF(next, session_next_ns(h->links[i].session));
        }
    }
    for (int i = 0; i < PROBES_MAX; i++) {
        if (h->probes[i].node != 0) {
            next = MIN_OF(next, h->probes[i].at_ns);
        }
    }
    return next;
}

void sim_head_set_disk(struct sim_head *h, uint64_t commit_max_ns)
{
    h->commit_max_ns = commit_max_ns;
}

void sim_head_set_journal(struct sim_head *h, bool waits)
{
    h->hasty = !waits;
}

void sim_head_set_probe(struct sim_head *h, enum head_probe (*probe)(void *arg, uint32_t node),
                        void *arg)
{
    h->probe = probe;
    h->probe_arg = arg;
}

bool sim_head_knows_job(struct sim_head *h, uint64_t job)
{
    return h->core != NULL && head_core_job(h->core, job) != NULL;
}

const struct head_node_row *sim_head_node(struct sim_head *h, uint32_t number)
{
    return h->core == NULL ? NULL : head_core_node(h->core, number);
}

struct sim_head_counts sim_head_count(const struct sim_head *h)
{
    return h->counts;
}
