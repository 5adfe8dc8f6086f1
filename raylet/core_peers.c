#include "raylet/core_peers.h"

#include <stdio.h>

#include "sched/policy.h"

#define UNUSED_NS (30 * NS_PER_S) /* a session that nothing uses is closed after */
#define LOOK_NS   (10 * NS_PER_S)
#define UP_NS     (3 * NS_PER_S) /* so long a session may take to come up */
#define AVOID_NS  (2 * NS_PER_S) /* a node that cannot be reached gets no new work for so long */

/* A node may speak to us, or be named by a reference, a moment before the head tells of it. So many
 * may wait for the head's word: with sessions, and all together. Who is not among the head's nodes
 * after STRANGER_NS is none. */
#define STRANGERS_MAX (64u)
#define UNTOLD_MAX    (2 * STRANGERS_MAX)
#define STRANGER_NS   (30 * NS_PER_S)

static bool peer_may_enter(uint8_t from, uint8_t to)
{
    static const uint8_t allowed[] = {
        [0] = 1u << PEER_UNKNOWN | 1u << PEER_ALIVE,
        [PEER_UNKNOWN] = 1u << PEER_ALIVE | 1u << PEER_DEAD,
        [PEER_ALIVE] = 1u << PEER_DEAD,
        [PEER_DEAD] = 0,
    };
    return (allowed[from] >> to & 1) != 0;
}

static void enter(struct raylet_core *c, struct peer *p, uint8_t state)
{
    ASSERT(peer_may_enter(p->state, state));
    c->untold_nodes += (state == PEER_UNKNOWN) - (p->state == PEER_UNKNOWN);
    p->state = state;
    p->since_unix_ms = core_unix_ms(c);
    c->view_version++;
    c->peers_died = c->peers_died || state == PEER_DEAD;
}

struct peer *peer_find(struct raylet_core *c, uint32_t number)
{
    struct peer *p;

    HASH_FIND(hh, c->peers, &number, sizeof number, p);
    return p;
}

static const char *name_of(struct raylet_core *c, uint32_t number)
{
    const struct peer *p = peer_find(c, number);

    if (p != NULL) {
        return p->name;
    }
    for (size_t i = 0; i < GONE_NODES; i++) {
        if (c->gone_nodes[i].name != NULL && c->gone_nodes[i].number == number) {
            return c->gone_nodes[i].name;
        }
    }
    return "";
}

const char *peer_describe(struct raylet_core *c, uint32_t number, char out[PEER_DESCRIBED_SIZE])
{
    const char *name = name_of(c, number);

    if (*name == '\0') {
        snprintf(out, PEER_DESCRIBED_SIZE, "node %u", number);
    } else {
        snprintf(out, PEER_DESCRIBED_SIZE, "node %.80s (number %u)", name, number);
    }
    return out;
}

bool peer_is_gone(struct raylet_core *c, uint32_t number)
{
    const struct peer *p = peer_find(c, number);

    return p == NULL ? number != c->node && number <= c->newest_node : p->state == PEER_DEAD;
}

static struct peer *peer_new(struct raylet_core *c, uint32_t number, uint8_t state)
{
    struct peer *p = xcalloc(1, sizeof *p);

    p->number = number;
    p->link = PEER_OFF;
    p->name = xstrdup("");
    p->address = xstrdup("");
    p->warning = xstrdup("");
    p->key = xstrdup("");
    p->labels = xstrdup("");
    p->next_run = 1;
    list_init(&p->lanes);
    list_init(&p->sponsored);
    list_init(&p->granted);
    numbers_init(&p->runs);
    numbers_init(&p->covers);
    numbers_init(&p->kept);
    numbers_init(&p->lanes_by_number);
    numbers_init(&p->guest_classes);
    numbers_init(&p->guests);
    HASH_ADD(hh, c->peers, number, sizeof p->number, p);
    enter(c, p, state);
    return p;
}

void peer_free(struct raylet_core *c, struct peer *p)
{
    ASSERT(list_is_empty(&p->lanes) && list_is_empty(&p->sponsored) && p->told == NULL);
    ASSERT(p->covers.used == 0 && p->kept.used == 0);
    ASSERT(p->runs.used == 0 && p->guests.used == 0 && p->guest_classes.used == 0);
    ASSERT(p->foreign == NULL && p->borrowed == 0);
    HASH_DEL(c->peers, p);
    numbers_fini(&p->runs);
    numbers_fini(&p->covers);
    numbers_fini(&p->kept);
    numbers_fini(&p->lanes_by_number);
    numbers_fini(&p->guest_classes);
    numbers_fini(&p->guests);
    free(p->cancels);
    resource_set_unuse(&c->resources, &p->total);
    if (*p->name == '\0') {
        free(p->name); /* the head never told of it: it takes the place of none that it told of */
    } else {
        struct gone_node *gone = &c->gone_nodes[c->gone_next];
        c->gone_next = (c->gone_next + 1) % GONE_NODES;
        free(gone->name);
        *gone = (struct gone_node){p->number, p->name};
    }
    free(p->address);
    free(p->warning);
    free(p->key);
    free(p->labels);
    free(p);
}

void peers_free(struct raylet_core *c)
{
    struct peer *p, *next;

    HASH_ITER(hh, c->peers, p, next)
    {
        peer_free(c, p);
    }
    for (size_t i = 0; i < GONE_NODES; i++) {
        free(c->gone_nodes[i].name);
        c->gone_nodes[i].name = NULL;
    }
}

/* ---- sessions ---- */

void peer_forget_job(struct peer *p, struct told_job *told)
{
    HASH_DEL(p->told, told);
    error_unref(told->broken);
    free(told);
}

void peer_forget_told(struct peer *p)
{
    struct told_job *told, *next;

    HASH_ITER(hh, p->told, told, next)
    {
        peer_forget_job(p, told);
    }
}

bool peer_is_up(const struct peer *p, enum peer_side side)
{
    return side == SIDE_OUT ? p->link == PEER_UP : p->in_up;
}

static void close_side(struct raylet_core *c, struct peer *p, enum peer_side side)
{
    struct raylet_effect *e = core_effect(c, EFFECT_PEER_CLOSE);

    e->peer = p->number;
    e->side = side;
}

/* It was faster than the head's word of it, or it is nobody. NULL: `most` wait for that word. */
static struct peer *untold(struct raylet_core *c, uint32_t number, uint32_t most)
{
    if (number <= c->newest_node || c->untold_nodes >= most) {
        return NULL;
    }
    if (!timer_is_armed(&c->peers_timer.timer)) {
        core_timer_arm(c, &c->peers_timer, c->now_ns + LOOK_NS);
    }
    struct peer *p = peer_new(c, number, PEER_UNKNOWN);
    p->untold_ns = c->boot_ns;
    return p;
}

struct peer *peer_of_owner(struct raylet_core *c, uint32_t number)
{
    struct peer *p = peer_find(c, number);

    p = p == NULL ? untold(c, number, UNTOLD_MAX) : p;
    return p == NULL || p->state == PEER_DEAD ? NULL : p;
}

struct peer *peer_of_session(struct raylet_core *c, const struct raylet_event *event)
{
    struct peer *p = peer_find(c, event->peer);

    if (p == NULL && event->side == SIDE_IN && event->kind == EVENT_PEER_UP) {
        p = untold(c, event->peer, STRANGERS_MAX);
    }
    if (p == NULL || p->state == PEER_DEAD) {
        struct raylet_effect *e = core_effect(c, EFFECT_PEER_CLOSE);
        e->peer = event->peer;
        e->side = event->side;
        if (event->kind == EVENT_PEER_UP && event->peer > c->newest_node) {
            struct failure *f = arena_alloc(&c->arena, sizeof *f);
            failure_set(f, CODE_FULL,
                        "the head has not told of node %u, and %u others wait for its word",
                        event->peer, c->untold_nodes);
            e->failure = f;
        }
        c->dropped_messages++;
        return NULL;
    }
    return p;
}

static void open_session(struct raylet_core *c, const struct peer *p)
{
    struct raylet_effect *e = core_effect(c, EFFECT_PEER_OPEN);

    e->peer = p->number;
    e->address = core_text(c, p->address);
    e->key = core_text(c, p->key);
}

bool peer_use(struct raylet_core *c, struct peer *p)
{
    p->used_ns = c->now_ns;
    if (p->link == PEER_OFF && p->state == PEER_ALIVE) {
        open_session(c, p);
        p->link = PEER_OPENING;
        p->silent_ns = c->now_ns;
        if (!timer_is_armed(&c->peers_timer.timer)) {
            core_timer_arm(c, &c->peers_timer, c->now_ns + LOOK_NS);
        }
    } else if (p->link == PEER_OPENING && c->now_ns - p->silent_ns > UP_NS &&
               p->avoid_until_ns <= c->now_ns) {
        p->avoid_until_ns = c->now_ns + AVOID_NS;
    }
    return p->link == PEER_UP;
}

struct peer_msg *core_send_peer(struct raylet_core *c, struct peer *p, enum peer_side side,
                                enum peer_type type)
{
    struct peer_msg *m = arena_alloc(&c->arena, sizeof *m);

    memset(m, 0, sizeof *m);
    m->type = type;
    if (peer_is_up(p, side)) {
        struct raylet_effect *e = core_effect(c, EFFECT_PEER_SEND);
        e->peer = p->number;
        e->side = side;
        e->peer_msg = m;
        p->used_ns = side == SIDE_OUT ? c->now_ns : p->used_ns;
    }
    return m;
}

void peer_protocol_error(struct raylet_core *c, struct peer *p, enum peer_side side,
                         const char *why)
{
    struct failure *f = arena_alloc(&c->arena, sizeof *f);

    failure_set(f, CODE_REFUSED, "node %u broke the protocol: %s", p->number, why);
    c->protocol_errors++;
    close_side(c, p, side);
    c->effects[c->effect_count - 1].failure = f;
}

void peer_up(struct raylet_core *c, struct peer *p, enum peer_side side)
{
    p->slow[side] = false;
    if (side == SIDE_IN) {
        p->in_up = true;
        return;
    }
    p->link = PEER_UP;
    p->used_ns = c->now_ns;
    p->silent_ns = 0;
    p->avoid_until_ns = 0;
    c->view_version++;
}

void peer_down(struct raylet_core *c, struct peer *p, enum peer_side side,
               const struct raylet_event *e)
{
    p->slow[side] = false;
    if (side == SIDE_IN) {
        p->in_up = false;
        return;
    }
    bool was_up = p->link == PEER_UP;
    if (was_up) {
        p->link = PEER_OPENING; /* the shell tries again by itself */
        p->silent_ns = c->now_ns;
    }
    c->view_version += was_up || p->avoid_until_ns <= c->now_ns; /* else it is no news */
    p->avoid_until_ns = c->now_ns + AVOID_NS;
}

static void die(struct raylet_core *c, struct peer *p)
{
    if (p->state == PEER_DEAD) {
        return;
    }
    enter(c, p, PEER_DEAD);
    if (p->link != PEER_OFF) {
        close_side(c, p, SIDE_OUT);
    }
    if (p->in_up) {
        close_side(c, p, SIDE_IN);
    }
}

/* The head answered what we said long after we first heard of that node, so it would have told of
 * it. While the head is away nobody can be told from a node that joined just before. */
static bool is_nobody(const struct raylet_core *c, const struct peer *p)
{
    return p->state == PEER_UNKNOWN && c->head_state == HEAD_JOINED &&
           c->boot_ns >= ns_add(c->joins_ns, STRANGER_NS) &&
           c->renew_answered_ns >= ns_add(p->untold_ns, STRANGER_NS);
}

void peers_timer(struct raylet_core *c)
{
    bool any = false;

    for (struct peer *p = c->peers; p != NULL; p = p->hh.next) {
        if (is_nobody(c, p)) {
            die(c, p);
            continue;
        }
        any = any || p->state == PEER_UNKNOWN;
        if (p->link == PEER_OFF) {
            continue;
        }
        bool in_use =
            p->borrowed > 0 || p->runs.used > 0 || p->covers.used > 0 || !list_is_empty(&p->lanes);
        if (!in_use && c->now_ns - p->used_ns >= UNUSED_NS) {
            close_side(c, p, SIDE_OUT);
            peer_forget_told(p); /* the next session hears of them again */
            p->link = PEER_OFF;
            p->silent_ns = 0;
            continue;
        }
        any = true;
    }
    if (any) {
        core_timer_arm(c, &c->peers_timer, c->now_ns + LOOK_NS);
    }
}

/* ---- the view ---- */

static void put_text(char **at, const char *text)
{
    text = text == NULL ? "" : text;
    if (strcmp(*at, text) != 0) {
        free(*at);
        *at = xstrdup(text);
    }
}

static void put_amounts(struct raylet_core *c, struct peer *p, const struct cluster_view_node *n)
{
    struct resource_set total = {0}, available = {0};

    for (size_t i = 0; i < n->amount_count; i++) {
        uint32_t kind;
        if (resource_names_intern(&c->resources, n->amounts[i].name, &kind) != 0) {
            continue;
        }
        bool again = resource_set_has(&total, kind);
        int rc = resource_set_put(&total, kind, n->amounts[i].total_units);
        if (rc == 0) {
            rc = resource_set_put(&available, kind, n->amounts[i].available_units);
            ASSERT(rc == 0);
        }
        if (again || rc != 0) {
            resource_names_unuse(&c->resources, kind);
        }
    }
    resource_set_unuse(&c->resources, &p->total); /* after the new ones: numbers that stay, stay */
    if (!resource_set_equal(&total, &p->total)) {
        c->view_version++;
    }
    p->total = total;
    p->available = available;
}

/* A session with it goes on, over a connection to the new address. */
static void put_address(struct raylet_core *c, struct peer *p, const char *address)
{
    bool is_new = *p->address != '\0' && strcmp(p->address, address) != 0;

    put_text(&p->address, address);
    if (is_new && p->link != PEER_OFF) {
        open_session(c, p);
    }
}

static void put(struct raylet_core *c, const struct cluster_view_node *n)
{
    struct peer *p = peer_find(c, n->number);

    c->newest_node = MAX_OF(c->newest_node, n->number);
    if (n->number == c->node || (p != NULL && p->state == PEER_DEAD)) {
        return;
    }
    if (n->state != NODE_ALIVE) {
        if (p != NULL) {
            die(c, p);
        }
        return;
    }
    if (p == NULL) {
        p = peer_new(c, n->number, PEER_ALIVE);
    } else if (p->state == PEER_UNKNOWN) {
        enter(c, p, PEER_ALIVE);
    }
    p->unseen = false;
    if (n->name != NULL && *n->name != '\0') { /* else they are as they were */
        put_text(&p->name, n->name);
        put_address(c, p, n->address);
        put_text(&p->warning, n->warning);
        put_text(&p->key, n->public_key);
        put_text(&p->labels, n->labels);
    }
    c->view_version += p->closed != n->closed;
    p->closed = n->closed;
    p->waiting = n->waiting;
    p->running = n->running;
    put_amounts(c, p, n);
}

void peers_view(struct raylet_core *c, const struct cluster_view *m)
{
    struct peer *p, *next;

    if (m->whole) {
        for (p = c->peers; p != NULL; p = p->hh.next) {
            p->unseen = p->state == PEER_ALIVE;
        }
    }
    for (size_t i = 0; i < m->node_count; i++) {
        put(c, &m->nodes[i]);
    }
    if (m->more) {
        return;
    }
    HASH_ITER(hh, c->peers, p, next)
    {
        /* One that spoke to us before the head told of it, and is older than some that it told of,
         * came and went while we did not hear the head. */
        if (p->state == PEER_UNKNOWN ? p->number < c->newest_node : p->unseen) {
            die(c, p);
        }
        p->unseen = false;
    }
}

struct sched_node *peers_as_nodes(struct raylet_core *c, size_t *ret_count,
                                  struct peer ***ret_peers)
{
    size_t room = 1 + HASH_COUNT(c->peers), n = 1;
    struct sched_node *nodes = arena_alloc(&c->arena, room * sizeof *nodes);
    struct peer **peers = arena_alloc(&c->arena, room * sizeof(struct peer *));

    memset(nodes, 0, room * sizeof *nodes);
    nodes[0] = (struct sched_node){.number = c->node,
                                   .name = c->node_name,
                                   .address = c->address,
                                   .labels = c->labels,
                                   .total = &c->total,
                                   .available = &c->available,
                                   .waiting = c->waiting,
                                   .running = c->running,
                                   .self = true};
    peers[0] = NULL;
    for (struct peer *p = c->peers; p != NULL; p = p->hh.next) {
        if (p->state != PEER_ALIVE) {
            continue;
        }
        peers[n] = p;
        nodes[n++] = (struct sched_node){.number = p->number,
                                         .name = p->name,
                                         .address = p->address,
                                         .labels = p->labels,
                                         .total = &p->total,
                                         .available = &p->available,
                                         .waiting = p->waiting,
                                         .running = p->running,
                                         .closed = p->closed};
    }
    *ret_count = n;
    *ret_peers = peers;
    return nodes;
}
