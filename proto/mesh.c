#include "proto/mesh.h"

#include <sodium.h>

#include "common/clock.h"
#include "common/list.h"
#include "common/log.h"
#include "common/numbers.h"
#include "common/rng.h"
#include "common/text.h"
#include "common/timers.h"
#include "proto/batch.h"
#include "proto/news.h"
#include "proto/transport_zmq.h"

#define BATCH_FULL (128u << 10)      /* leaves without waiting for the flush */
#define BATCH_KEPT (64u << 10)       /* room of an empty batch that is not given back */
#define AGAIN_NS   (500 * NS_PER_MS) /* after another node, or a broken one, was at an address */
#define KEY_SIZE   (KEYS_TEXT_SIZE - 1)

/* One session, or (OUT) the wish for one. */
struct lane {
    struct mesh *mesh;
    uint32_t peer;
    enum mesh_side side;
    bool up, slow;
    struct buffer batch;
    struct list dirty; /* in mesh->dirty or held: something waits for the flush */
    uint64_t due;      /* IN: runs without their answer */
    uint64_t held_ns;  /* until when the batch waits for one; 0: it does not */
    bool urgent;       /* the batch has more than books */
    struct list backlog;
    size_t backlog_bytes;
    struct batch_assembly assembly;

    uint64_t link_peer; /* IN: at the port's link */

    struct link *link; /* OUT; NULL: between two tries */
    char address[HOSTPORT_SIZE], key[KEYS_TEXT_SIZE];
    struct timer timer;
    uint64_t again_ns;   /* OUT: when to make another link; NS_FOREVER: not */
    bool anew;           /* OUT: the present link is of no use, the next tick frees it */
    enum link_down told; /* OUT, not up: the last reason */
};

struct waiting {
    struct list link;
    size_t size;
    _Alignas(16) uint8_t data[];
};

enum item_kind {
    ITEM_NONE = 0, /* the owner closed that session meanwhile */
    ITEM_UP,
    ITEM_MESSAGE,
    ITEM_DOWN,
    ITEM_SLOW,
    ITEM_FAST,
};

struct item { /* what the owner is to be told */
    enum item_kind kind;
    uint32_t peer;
    enum mesh_side side;
    enum link_down why;
    const struct peer_msg *m;
};

struct mesh {
    struct mesh_config config;
    struct transport_zmq_context *context;
    struct link *port;
    uint32_t number;
    struct numbers out, in; /* lanes by their peer's number */
    struct numbers in_by_link;
    struct timers timers; /* of OUT lanes */
    struct list dirty, held;
    struct buffer scratch;
    struct rng rng;
    size_t up; /* lanes */
    struct news news;
    bool ticking; /* the owner is being told, or is about to be */
    bool over;    /* it freed the mesh meanwhile */
    struct mesh_counts counts;
    struct log_limit broken_log, stranger_log, overrun_log;
};

/* ---- telling the owner ---- */

static struct item *add_item(const struct lane *l, enum item_kind kind)
{
    struct item *item = news_add(&l->mesh->news);
    item->kind = kind;
    item->peer = l->peer;
    item->side = l->side;
    return item;
}

static void tell_up(struct lane *l)
{
    ASSERT(!l->up);
    l->up = true;
    l->mesh->up++;
    l->told = 0;
    add_item(l, ITEM_UP);
}

static void tell_down(struct lane *l, enum link_down why)
{
    l->mesh->up -= l->up;
    l->up = false;
    l->told = why;
    add_item(l, ITEM_DOWN)->why = why;
}

static void tell_slow(struct lane *l, bool slow)
{
    l->slow = slow;
    add_item(l, slow ? ITEM_SLOW : ITEM_FAST);
}

static void tell(const struct mesh_events *e, const struct item *item)
{
    switch (item->kind) {
    case ITEM_NONE:
        break;
    case ITEM_UP:
        e->on_up(e->arg, item->peer, item->side);
        break;
    case ITEM_MESSAGE:
        e->on_message(e->arg, item->peer, item->side, item->m);
        break;
    case ITEM_DOWN:
        e->on_down(e->arg, item->peer, item->side, item->why);
        break;
    case ITEM_SLOW:
    case ITEM_FAST:
        e->on_slow(e->arg, item->peer, item->side, item->kind == ITEM_SLOW);
        break;
    }
}

/* What the owner was not yet told of a session that it closes, it need not know. */
static void untell(struct mesh *mesh, uint32_t peer, enum mesh_side side)
{
    struct item *item;
    for (size_t i = 0; (item = news_waiting(&mesh->news, i)) != NULL; i++) {
        if (item->peer == peer && item->side == side) {
            item->kind = ITEM_NONE;
        }
    }
}

/* ---- lanes ---- */

static struct numbers *table_of(struct mesh *mesh, enum mesh_side side)
{
    return side == MESH_OUT ? &mesh->out : &mesh->in;
}

static struct lane *lane_new(struct mesh *mesh, uint32_t peer, enum mesh_side side)
{
    struct lane *l = xcalloc(1, sizeof *l);
    l->mesh = mesh;
    l->peer = peer;
    l->side = side;
    l->again_ns = NS_FOREVER;
    list_init(&l->dirty);
    list_init(&l->backlog);
    timer_init(&l->timer);
    numbers_set(table_of(mesh, side), peer, l);
    return l;
}

/* Of the session that was: nothing of it goes into the next. */
static void clear_traffic(struct lane *l)
{
    for (struct list *node = list_pop(&l->backlog); node != NULL; node = list_pop(&l->backlog)) {
        free(list_entry(node, struct waiting, link));
    }
    l->mesh->counts.backlog_bytes -= l->backlog_bytes;
    l->backlog_bytes = 0;
    l->slow = l->urgent = false;
    l->due = l->held_ns = 0;
    list_unlink(&l->dirty);
    buffer_fini(&l->batch);
    batch_assembly_fini(&l->assembly);
}

static void lane_free(struct lane *l)
{
    struct mesh *mesh = l->mesh;
    mesh->up -= l->up;
    clear_traffic(l);
    timer_disarm(&mesh->timers, &l->timer);
    numbers_remove(table_of(mesh, l->side), l->peer);
    if (l->side == MESH_IN) {
        numbers_remove(&mesh->in_by_link, l->link_peer);
    }
    link_free(l->link);
    sodium_memzero(l->key, sizeof l->key);
    free(l);
}

static struct link *link_of(const struct lane *l)
{
    return l->side == MESH_OUT ? l->link : l->mesh->port;
}

static uint64_t link_peer_of(const struct lane *l)
{
    return l->side == MESH_OUT ? LINK_ONLY_PEER : l->link_peer;
}

/* Whoever called into the link of an OUT lane, or was called from it. */
static void rearm(struct lane *l)
{
    uint64_t at_ns = l->anew ? 0 : l->link != NULL ? link_next_ns(l->link) : l->again_ns;
    struct timers *timers = &l->mesh->timers;
    if (at_ns == NS_FOREVER) {
        timer_disarm(timers, &l->timer);
    } else if (!timer_is_armed(&l->timer) || l->timer.at_ns != at_ns) {
        timer_arm(timers, &l->timer, at_ns);
    }
}

/* Ends a session for what the other side did. Theirs is forgotten; ours begins anew after a pause.
 * `l` may be gone then. */
static void end_lane(struct lane *l, enum link_down why)
{
    bool tell = l->up || l->told != why;
    clear_traffic(l);
    if (tell) {
        tell_down(l, why);
    }
    if (l->side == MESH_IN) {
        link_drop(l->mesh->port, l->link_peer);
        lane_free(l);
    } else {
        l->anew = true; /* not here: the link may be calling us */
        rearm(l);
    }
}

/* ---- what comes ---- */

/* Decodes each message of a batch where it lies, in the arena. 0, or -EPROTO. */
static int take_batch(struct lane *l, struct bytes batch, const char **ret_why)
{
    struct mesh *mesh = l->mesh;
    struct arena *arena = mesh->config.arena;
    struct bytes left = bytes_of(arena_copy(arena, batch.data, batch.size), batch.size), whole;
    struct batch_record record;
    int got = batch_next(&left, &record);
    if (got == 0) {
        return -EPROTO; /* nobody says nothing */
    }
    for (; got == 1; got = batch_next(&left, &record)) {
        bool part = record.rest != 0 || l->assembly.rest != 0;
        int done = batch_assemble(&l->assembly, &record, &whole);
        if (done < 0) {
            return done;
        }
        if (done == 0) {
            continue;
        }
        if (part) {
            whole.data = arena_copy(arena, whole.data, whole.size);
        }
        struct peer_msg *m = arena_alloc(arena, sizeof *m);
        int r = peer_decode(whole, arena, m, ret_why);
        if (r != 0) {
            return r;
        }
        mesh->counts.received++;
        l->due += l->side == MESH_IN && m->type == PEER_RUN;
        add_item(l, ITEM_MESSAGE)->m = m;
    }
    return got;
}

static void take_message(struct lane *l, struct bytes message, bool datagram)
{
    struct mesh *mesh = l->mesh;
    const char *why = "it is not a batch of messages";
    if (!datagram && take_batch(l, message, &why) == 0) {
        return;
    }
    mesh->counts.broken++;
    log_limited(&mesh->broken_log, LOG_LEVEL_WARN,
                "the session %s node %u was closed because of what the node sent: %s",
                l->side == MESH_OUT ? "with" : "of", l->peer, datagram ? "a datagram" : why);
    end_lane(l, LINK_ENDED);
}

/* ---- what goes ---- */

static void overrun(struct lane *l)
{
    l->mesh->counts.overrun++;
    log_limited(&l->mesh->overrun_log, LOG_LEVEL_ERROR,
                "node %u does not accept messages: the session was closed", l->peer);
    end_lane(l, LINK_ENDED);
}

struct longest {
    struct lane *lane;
    size_t bytes;
};

static bool look_at_backlog(uint64_t number, void *value, void *arg)
{
    struct lane *l = value;
    struct longest *longest = arg;
    if (l->backlog_bytes > longest->bytes) {
        *longest = (struct longest){l, l->backlog_bytes};
    }
    return true;
}

/* What waits for all peers together is bounded: a peer that reads nothing costs its own session,
 * and not those of the others. False: it was this one. */
static bool make_room(struct lane *l, size_t size)
{
    struct mesh *mesh = l->mesh;
    while (mesh->counts.backlog_bytes + size > mesh->config.backlog_max) {
        struct longest longest = {l, l->backlog_bytes + size};
        numbers_each(&mesh->out, look_at_backlog, &longest);
        numbers_each(&mesh->in, look_at_backlog, &longest);
        overrun(longest.lane);
        if (longest.lane == l) {
            return false;
        }
    }
    return true;
}

/* A batch to the link, or behind what waits for it. False: `l` may be gone. */
static bool give(struct lane *l, struct bytes batch)
{
    int r = list_is_empty(&l->backlog) ? link_send(link_of(l), link_peer_of(l), batch) : -EAGAIN;
    if (r != -EAGAIN) {
        return true; /* 0; or not up any more, which is about to be told */
    }
    if (!make_room(l, batch.size)) {
        return false;
    }
    struct waiting *w = xmalloc(sizeof *w + batch.size);
    list_init(&w->link);
    w->size = batch.size;
    memcpy(w->data, batch.data, batch.size);
    list_append(&l->backlog, &w->link);
    l->backlog_bytes += batch.size;
    l->mesh->counts.backlog_bytes += batch.size;
    if (!l->slow) {
        tell_slow(l, true);
    }
    return true;
}

static bool give_batch(struct lane *l)
{
    list_unlink(&l->dirty);
    l->urgent = false;
    l->held_ns = 0;
    if (l->batch.size == 0) {
        return true;
    }
    l->mesh->counts.batches++;
    if (!give(l, bytes_of(l->batch.data, l->batch.size))) {
        return false;
    }
    if (l->batch.room > BATCH_KEPT) {
        buffer_fini(&l->batch);
    } else {
        buffer_clear(&l->batch);
    }
    return true;
}

static void give_waiting(struct lane *l)
{
    for (struct list *node = list_first(&l->backlog); node != NULL;
         node = list_first(&l->backlog)) {
        struct waiting *w = list_entry(node, struct waiting, link);
        if (link_send(link_of(l), link_peer_of(l), bytes_of(w->data, w->size)) == -EAGAIN) {
            return; /* told again */
        }
        l->backlog_bytes -= w->size;
        l->mesh->counts.backlog_bytes -= w->size;
        list_unlink(&w->link);
        free(w);
    }
    if (l->slow) {
        tell_slow(l, false);
    }
}

/* A message that is too long for one batch goes in parts. False: `l` may be gone. */
static bool add_parts(struct lane *l, const struct peer_msg *m, size_t size)
{
    struct buffer *scratch = &l->mesh->scratch;
    buffer_clear(scratch);
    peer_encode(m, buffer_extend(scratch, size));
    for (size_t at = 0; at < size;) {
        size_t piece = MIN_OF(size - at, (size_t)BATCH_MAX - BATCH_RECORD_HEAD);
        if (!give_batch(l)) {
            return false;
        }
        memcpy(batch_add(&l->batch, piece, size - at - piece), scratch->data + at, piece);
        at += piece;
    }
    buffer_fini(scratch);
    return true;
}

/* Counts answers, and puts the lane where the flush finds it. */
static void mark(struct lane *l, enum peer_type type)
{
    bool answer = type == PEER_RESULT || type == PEER_BACK;
    l->due -= answer && l->due > 0;
    l->urgent |= type != PEER_GRANT && type != PEER_STARTED && type != PEER_ARGS_FREE;
    if (list_is_empty(&l->dirty) || (l->held_ns != 0 && l->urgent)) {
        list_unlink(&l->dirty);
        list_append(&l->mesh->dirty, &l->dirty);
        l->held_ns = 0;
    }
}

void mesh_send(struct mesh *mesh, uint32_t peer, enum mesh_side side, const struct peer_msg *m)
{
    struct lane *l = numbers_get(table_of(mesh, side), peer);
    if (l == NULL || !l->up) {
        return;
    }
    size_t size = peer_size(m);
    ASSERT(size <=
           MESSAGE_MAX); /* the tables bound the message, peer_decode and the core its payload */
    mesh->counts.sent++;
    if (l->batch.size + batch_cost(size) > BATCH_MAX && !give_batch(l)) {
        return;
    }
    if (batch_cost(size) > BATCH_MAX) {
        if (!add_parts(l, m, size)) {
            return;
        }
    } else {
        peer_encode(m, batch_add(&l->batch, size, 0));
    }
    if (l->batch.size >= BATCH_FULL && !give_batch(l)) {
        return;
    }
    mark(l, m->type);
}

static void flush_lane(struct lane *l)
{
    if (give_batch(l) && l->side == MESH_OUT) {
        rearm(l);
    }
}

/* The first of them waits longest. */
static void flush_held(struct mesh *mesh)
{
    uint64_t now_ns = list_is_empty(&mesh->held) ? 0 : clock_now_ns();
    for (struct list *node = list_first(&mesh->held); node != NULL;
         node = list_first(&mesh->held)) {
        struct lane *l = list_entry(node, struct lane, dirty);
        if (l->held_ns > now_ns) {
            return;
        }
        flush_lane(l);
    }
}

void mesh_flush(struct mesh *mesh)
{
    for (struct list *node = list_pop(&mesh->dirty); node != NULL; node = list_pop(&mesh->dirty)) {
        struct lane *l = list_entry(node, struct lane, dirty);
        if (l->urgent || l->due == 0 || l->batch.size == 0) {
            flush_lane(l);
        } else {
            l->held_ns = clock_now_ns() + MESH_HOLD_NS;
            list_append(&mesh->held, &l->dirty);
        }
    }
    flush_held(mesh);
}

/* ---- our port: theirs ---- */

static void port_up(void *arg, uint64_t link_peer, const struct link_identity *identity)
{
    struct mesh *mesh = arg;
    if (identity->role != PEER_NODE || identity->number == 0 || identity->number == mesh->number ||
        identity->number == SESSION_NUMBER_HEAD) {
        mesh->counts.strangers++;
        log_limited(&mesh->stranger_log, LOG_LEVEL_WARN,
                    "a session was refused: number %u is not another node's", identity->number);
        link_drop(mesh->port, link_peer);
        return;
    }
    struct lane *l = numbers_get(&mesh->in, identity->number);
    if (l != NULL) { /* its goodbye was lost */
        mesh->counts.replaced++;
        end_lane(l, LINK_ENDED);
    }
    l = lane_new(mesh, identity->number, MESH_IN);
    l->link_peer = link_peer;
    numbers_set(&mesh->in_by_link, link_peer, l);
    tell_up(l);
}

static void port_message(void *arg, uint64_t link_peer, struct bytes message, bool datagram)
{
    struct mesh *mesh = arg;
    struct lane *l = numbers_get(&mesh->in_by_link, link_peer);
    if (l != NULL) {
        take_message(l, message, datagram);
    }
}

static void port_room(void *arg, uint64_t link_peer)
{
    struct mesh *mesh = arg;
    struct lane *l = numbers_get(&mesh->in_by_link, link_peer);
    if (l != NULL) {
        give_waiting(l);
    }
}

static void port_down(void *arg, uint64_t link_peer, enum link_down why)
{
    struct mesh *mesh = arg;
    struct lane *l = numbers_get(&mesh->in_by_link, link_peer);
    if (l != NULL) {
        tell_down(l, why);
        lane_free(l);
    }
}

/* ---- clients: ours ---- */

static void client_up(void *arg, uint64_t link_peer, const struct link_identity *identity)
{
    struct lane *l = arg;
    if (l->anew) {
        return;
    }
    if (identity->number == l->peer) {
        tell_up(l);
    } else if (identity->number == 0) {
        l->anew = true; /* it does not know yet who it is */
    } else {
        end_lane(l, LINK_KEY_REFUSED);
    }
}

static void client_message(void *arg, uint64_t link_peer, struct bytes message, bool datagram)
{
    struct lane *l = arg;
    if (!l->anew && l->up) {
        take_message(l, message, datagram);
    }
}

static void client_room(void *arg, uint64_t link_peer)
{
    struct lane *l = arg;
    if (!l->anew && l->up) {
        give_waiting(l);
    }
}

static void client_down(void *arg, uint64_t link_peer, enum link_down why)
{
    struct lane *l = arg;
    why = why == LINK_STRANGER ? LINK_KEY_REFUSED : why; /* the node is not there: the same to us */
    if (l->anew || (!l->up && l->told == why)) {
        return;
    }
    clear_traffic(l);
    tell_down(l, why);
}

static void client_due(void *arg)
{
    rearm(arg);
}

static int connect_lane(struct lane *l)
{
    struct mesh *mesh = l->mesh;
    const char *address = l->address;
    struct link_client_config config = {
        .loop = mesh->config.loop,
        .context = mesh->context,
        .addresses = &address,
        .address_count = 1,
        .resolver = link_resolver(mesh->port),
        .key = mesh->config.own,
        .number = mesh->number,
        .events = {.on_up = client_up,
                   .on_message = client_message,
                   .on_room = client_room,
                   .on_down = client_down,
                   .on_due = client_due,
                   .arg = l},
    };
    memcpy(config.server_public, l->key, KEYS_TEXT_SIZE);
    int r = link_client_new(&config, &l->link);
    l->again_ns = r == 0 ? NS_FOREVER : clock_now_ns() + AGAIN_NS;
    return r;
}

int mesh_open(struct mesh *mesh, uint32_t peer, const char *address, const char *key)
{
    struct lane *l = numbers_get(&mesh->out, peer);
    ASSERT(peer != 0);
    if (l != NULL && strcmp(l->address, address) == 0 && strcmp(l->key, key) == 0) {
        return 0;
    }
    if (l != NULL && l->link != NULL && !l->anew && strcmp(l->key, key) == 0 &&
        strlen(address) < sizeof l->address && link_move(l->link, address) == 0) {
        (void)text_copy(l->address, sizeof l->address, address);
        rearm(l);
        return 0;
    }
    if (l != NULL) {
        untell(mesh, peer, MESH_OUT);
        lane_free(l);
    }
    l = lane_new(mesh, peer, MESH_OUT);
    int r = text_copy(l->address, sizeof l->address, address) && strlen(key) == KEY_SIZE &&
                    text_copy(l->key, sizeof l->key, key)
                ? connect_lane(l)
                : -EINVAL;
    if (r == -EINVAL || r == -ENOENT) {
        lane_free(l);
        return -EINVAL;
    }
    rearm(l); /* other errors are the machine's: later again */
    return 0;
}

void mesh_close(struct mesh *mesh, uint32_t peer, enum mesh_side side)
{
    struct lane *l = numbers_get(table_of(mesh, side), peer);
    untell(mesh, peer, side);
    if (l == NULL) {
        return;
    }
    if (l->up) {
        (void)give_batch(l); /* what was said before leaves */
        l = numbers_get(table_of(mesh, side), peer);
        untell(mesh, peer, side); /* that it was the last straw, too */
    }
    if (l != NULL && side == MESH_IN) {
        link_drop(mesh->port, l->link_peer);
    }
    if (l != NULL) {
        lane_free(l);
    }
}

/* ---- time ---- */

uint64_t mesh_next_ns(const struct mesh *mesh)
{
    if (!news_is_empty(&mesh->news)) {
        return 0;
    }
    uint64_t next_ns = MIN_OF(link_next_ns(mesh->port), timers_next_ns(&mesh->timers));
    return list_is_empty(&mesh->held)
               ? next_ns
               : MIN_OF(next_ns, list_entry(mesh->held.next, struct lane, dirty)->held_ns);
}

static void tick_lane(struct lane *l, uint64_t now_ns)
{
    if (l->link != NULL && !l->anew) {
        link_tick(l->link, now_ns);
    }
    if (l->anew) {
        link_free(l->link);
        l->link = NULL;
        l->anew = false;
        l->again_ns = now_ns + AGAIN_NS / 2 + rng_below(&l->mesh->rng, AGAIN_NS);
    } else if (l->link == NULL && l->again_ns <= now_ns) {
        (void)connect_lane(l);
    }
    rearm(l);
}

/* What came from the network, and what is due. */
static void work_off(struct mesh *mesh, uint64_t now_ns)
{
    if (link_next_ns(mesh->port) <= now_ns) {
        link_tick(mesh->port, now_ns);
    }
    flush_held(mesh);
    /* What is due now, once: a lane that wants another tick at once gets it in the next call. */
    for (size_t most = mesh->timers.used; most > 0; most--) {
        struct timer *timer = timers_pop(&mesh->timers, now_ns);
        if (timer == NULL) {
            return;
        }
        tick_lane(container_of(timer, struct lane, timer), now_ns);
    }
}

void mesh_tick(struct mesh *mesh, uint64_t now_ns)
{
    struct item item;
    if (mesh->ticking) {
        return; /* the owner ticks while it is told: the rest follows */
    }
    mesh->ticking = true;
    work_off(mesh, now_ns);
    while (!mesh->over && news_take(&mesh->news, &item)) {
        tell(&mesh->config.events, &item);
    }
    mesh->ticking = false;
    if (mesh->over) {
        mesh_free(mesh);
    }
}

/* ---- beginning and end ---- */

int mesh_new(const struct mesh_config *config, struct mesh **ret, uint16_t *ret_port)
{
    uint64_t seed;
    if (sodium_init() < 0) {
        return -EIO;
    }
    struct mesh *mesh = xcalloc(1, sizeof *mesh);
    mesh->config = *config;
    mesh->number = config->number;
    mesh->config.backlog_max = config->backlog_max != 0 ? config->backlog_max : MESH_BACKLOG_MAX;
    randombytes_buf(&seed, sizeof seed);
    rng_seed(&mesh->rng, seed);
    numbers_init(&mesh->out);
    numbers_init(&mesh->in);
    numbers_init(&mesh->in_by_link);
    timers_init(&mesh->timers);
    list_init(&mesh->dirty);
    list_init(&mesh->held);
    news_init(&mesh->news, sizeof(struct item));
    mesh->context = transport_zmq_context_new();
    struct link_server_config server = {
        .loop = config->loop,
        .context = mesh->context,
        .bind = config->bind,
        .port = config->port,
        .exact = config->exact,
        .key = config->port_key,
        .number = config->number,
        .events = {.on_up = port_up,
                   .on_message = port_message,
                   .on_room = port_room,
                   .on_down = port_down,
                   .arg = mesh},
    };
    memcpy(server.access.node_public, config->own.public_key, KEYS_TEXT_SIZE);
    int r = mesh->context == NULL ? -ENOMEM : link_server_new(&server, &mesh->port, ret_port);
    sodium_memzero(&server.key, sizeof server.key);
    if (r != 0) {
        mesh_free(mesh);
        return r;
    }
    *ret = mesh;
    return 0;
}

static bool free_one(uint64_t number, void *value, void *arg)
{
    lane_free(value);
    return arg != NULL;
}

void mesh_free(struct mesh *mesh)
{
    if (mesh == NULL) {
        return;
    }
    if (mesh->ticking) {
        mesh->over = true; /* as soon as its callback returns */
        return;
    }
    numbers_each(&mesh->out, free_one, mesh);
    numbers_each(&mesh->in, free_one, mesh);
    link_free(mesh->port);
    transport_zmq_context_unref(mesh->context);
    numbers_fini(&mesh->out);
    numbers_fini(&mesh->in);
    numbers_fini(&mesh->in_by_link);
    timers_fini(&mesh->timers);
    news_fini(&mesh->news);
    buffer_fini(&mesh->scratch);
    sodium_memzero(&mesh->config, sizeof mesh->config);
    free(mesh);
}

static bool number_one(uint64_t number, void *value, void *arg)
{
    struct lane *l = value;
    if (l->link != NULL) {
        link_set_number(l->link, l->mesh->number);
    }
    return arg != NULL;
}

void mesh_set_number(struct mesh *mesh, uint32_t number)
{
    mesh->number = number;
    link_set_number(mesh->port, number);
    numbers_each(&mesh->out, number_one, mesh);
}

struct transport_zmq_context *mesh_context(struct mesh *mesh)
{
    return mesh->context;
}

struct resolver *mesh_resolver(struct mesh *mesh)
{
    return link_resolver(mesh->port);
}

bool mesh_is_up(const struct mesh *mesh)
{
    return mesh->up != 0;
}

void mesh_count(const struct mesh *mesh, struct mesh_counts *ret)
{
    struct link_counts port;
    link_count(mesh->port, &port);
    *ret = mesh->counts;
    ret->out = mesh->out.used;
    ret->in = mesh->in.used;
    ret->refused_keys = port.refused_keys;
    ret->strange = port.strange;
    ret->ignored = port.ignored_peers;
    ret->no_packets = port.broken_packets;
}
