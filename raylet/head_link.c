#include "raylet/head_link.h"

#include <unistd.h>

#include "common/list.h"
#include "common/log.h"
#include "common/text.h"

/* A message that found no room in the session. */
struct waiting {
    struct list link;
    size_t size;
    _Alignas(16) uint8_t data[];
};

struct head_link {
    struct events *events;
    void (*on_down)(void *arg, enum link_down why);
    void *arg;
    struct link *head;
    uint32_t supersedes;
    const char *secret;
    bool up;
    char host[256];
    const char *address, *public_key;
    bool advertised;
    struct list backlog;
    size_t backlog_bytes;
    struct buffer scratch;
    struct log_limit limit;
};

/* ---- what the link tells ---- */

static void drop_backlog(struct head_link *h)
{
    for (struct list *node = list_pop(&h->backlog); node != NULL; node = list_pop(&h->backlog)) {
        free(list_entry(node, struct waiting, link));
    }
    h->backlog_bytes = 0;
}

static void head_up(void *arg, uint64_t peer, const struct link_identity *identity)
{
    struct head_link *h = arg;
    if (h->up) { /* a new session replaces one whose end nobody told */
        events_add(h->events, EVENT_HEAD_DOWN);
    }
    h->up = true;
    drop_backlog(h);
    events_add(h->events, EVENT_HEAD_UP);
}

static void head_message(void *arg, uint64_t peer, struct bytes message, bool datagram)
{
    struct head_link *h = arg;
    struct arena *arena = &h->events->arena;
    const char *why = "it cannot be read";
    struct cluster_msg *m = arena_alloc(arena, sizeof *m);
    struct bytes copy = bytes_of(arena_copy(arena, message.data, message.size), message.size);
    if (cluster_decode(copy, arena, m, &why) != 0) {
        log_limited(&h->limit, LOG_LEVEL_WARN, "a message from the head was dropped: %s", why);
        return;
    }
    events_add(h->events, EVENT_HEAD_MESSAGE)->head = m;
}

static void head_down(void *arg, uint64_t peer, enum link_down why)
{
    struct head_link *h = arg;
    bool not_ours = why == LINK_KEY_REFUSED || why == LINK_STRANGER;
    /* Each change of the reason: who was refused, and hears nothing now, is not refused any more.
     */
    struct raylet_event *e = events_add(h->events, EVENT_HEAD_DOWN);
    e->refused = why == LINK_REFUSED;
    e->key_refused = not_ours;
    h->up = false;
    drop_backlog(h);
    h->on_down(h->arg, why);
}

static void head_room(void *arg, uint64_t peer)
{
    struct head_link *h = arg;
    for (struct list *node = list_first(&h->backlog); node != NULL;
         node = list_first(&h->backlog)) {
        struct waiting *w = list_entry(node, struct waiting, link);
        if (link_send(h->head, LINK_ONLY_PEER, bytes_of(w->data, w->size)) != 0) {
            return; /* told again */
        }
        h->backlog_bytes -= w->size;
        list_unlink(&w->link);
        free(w);
    }
}

/* ---- sending ---- */

static void send_bytes(struct head_link *h, struct bytes message)
{
    int r = list_is_empty(&h->backlog) ? link_send(h->head, LINK_ONLY_PEER, message) : -EAGAIN;
    if (r == 0 || r == -ENOTCONN) {
        return; /* not up: the core learns of it, and says what matters again in its JOIN */
    }
    if (r != -EAGAIN) {
        log_limited(&h->limit, LOG_LEVEL_ERROR, "a message to the head was lost: %s", strerror(-r));
        return;
    }
    if (h->backlog_bytes + message.size > HEAD_LINK_BACKLOG_MAX) {
        log_limited(&h->limit, LOG_LEVEL_ERROR,
                    "the head does not accept messages: connecting again");
        drop_backlog(h);
        link_drop(h->head, LINK_ONLY_PEER);
        return;
    }
    struct waiting *w = xmalloc(sizeof *w + message.size);
    list_init(&w->link);
    w->size = message.size;
    memcpy(w->data, message.data, message.size);
    list_append(&h->backlog, &w->link);
    h->backlog_bytes += message.size;
}

static struct bytes encode(struct head_link *h, const struct cluster_msg *m)
{
    size_t size = cluster_size(m);
    buffer_clear(&h->scratch);
    cluster_encode(m, buffer_extend(&h->scratch, size));
    return bytes_of(h->scratch.data, size);
}

static const char *given_or(const char *given, const char *ours)
{
    return given != NULL && given[0] != '\0' ? given : ours;
}

void head_link_send(struct head_link *h, const struct cluster_msg *m)
{
    struct cluster_msg full;
    if (m->type == CLUSTER_JOIN) {
        full = *m;
        struct cluster_join *join = &full.join;
        join->host = given_or(join->host, h->host);
        join->address = given_or(join->address, h->address);
        join->advertised = join->advertised || h->advertised;
        join->version = given_or(join->version, DRT_VERSION);
        join->secret = given_or(join->secret, h->secret);
        join->public_key = given_or(join->public_key, h->public_key);
        join->pid = join->pid != 0 ? join->pid : (uint32_t)getpid();
        if (join->number == 0 && join->supersedes == 0) {
            join->supersedes = h->supersedes;
        }
        m = &full;
    }
    send_bytes(h, encode(h, m));
}

void head_link_datagram(struct head_link *h, const struct cluster_msg *m)
{
    int r = link_datagram(h->head, LINK_ONLY_PEER, encode(h, m));
    if (r != 0 && r != -ENOTCONN) {
        log_debug("a datagram to the head was lost: %s", strerror(-r));
    }
}

void head_link_set_number(struct head_link *h, uint32_t number)
{
    link_set_number(h->head, number);
}

uint64_t head_link_next_ns(const struct head_link *h)
{
    return link_next_ns(h->head);
}

void head_link_tick(struct head_link *h, uint64_t now_ns)
{
    if (now_ns >= link_next_ns(h->head)) {
        link_tick(h->head, now_ns);
    }
}

/* ---- beginning ---- */

static int open_head(struct head_link *h, const struct head_link_config *config, struct failure *f)
{
    struct link_client_config client = {
        .loop = config->loop,
        .context = config->context,
        .addresses = config->addresses,
        .address_count = config->address_count,
        .resolver = config->resolver,
        .look_up_now = true,
        .find = config->find,
        .place = config->place,
        .find_first = config->find_first,
        .find_later = config->find_later,
        .key = config->keys->own,
        .events = {.on_up = head_up,
                   .on_message = head_message,
                   .on_room = head_room,
                   .on_down = head_down,
                   .arg = h},
    };
    memcpy(client.server_public, config->keys->server_public, KEYS_TEXT_SIZE);
    int r = link_client_new(&client, &h->head);
    if (r == -ENOENT || r == -EINVAL) {
        return failure_set(f, CODE_DISCONNECTED,
                           "The head's address %s %s. Give it as host:port, as 'drt-head start' "
                           "printed it.",
                           config->addresses[0],
                           r == -ENOENT ? "cannot be resolved" : "is not valid");
    }
    if (r != 0) {
        return failure_set(f, CODE_FAILED, "Cannot begin to connect to %s: %s.",
                           config->addresses[0], strerror(-r));
    }
    return 0;
}

int head_link_new(const struct head_link_config *config, struct head_link **ret, struct failure *f)
{
    struct head_link *h = xcalloc(1, sizeof *h);
    ASSERT(config->address_count != 0);
    h->events = config->events;
    h->on_down = config->on_down;
    h->arg = config->arg;
    h->supersedes = config->supersedes;
    h->secret = config->secret;
    h->address = config->address;
    h->advertised = config->advertised;
    h->public_key = config->public_key;
    list_init(&h->backlog);
    if (gethostname(h->host, sizeof h->host - 1) < 0) {
        (void)text_copy(h->host, sizeof h->host, "unknown");
    }
    int r = open_head(h, config, f);
    if (r != 0) {
        head_link_free(h);
        return r;
    }
    *ret = h;
    return 0;
}

void head_link_free(struct head_link *h)
{
    if (h == NULL) {
        return;
    }
    link_free(h->head);
    drop_backlog(h);
    buffer_fini(&h->scratch);
    free(h);
}
