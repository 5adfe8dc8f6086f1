#include "raylet/peer_link.h"

#include <netdb.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"

_Static_assert((int)SIDE_OUT == (int)MESH_OUT && (int)SIDE_IN == (int)MESH_IN, "the same sides");

struct peer_link {
    struct peer_link_config config;
    struct mesh *mesh;
    uint64_t traffic; /* messages, both ways */
    uint16_t port;
    char address[HOSTPORT_SIZE];
    bool advertised; /* the user chose it */
    char public_key[KEYS_TEXT_SIZE];
    struct log_limit limit;
};

/* ---- what the mesh tells ---- */

static struct raylet_event *add(struct peer_link *p, enum raylet_event_kind kind, uint32_t peer,
                                enum mesh_side side)
{
    struct raylet_event *e = events_add(p->config.events, kind);
    e->peer = peer;
    e->side = (enum peer_side)side;
    return e;
}

static void on_up(void *arg, uint32_t peer, enum mesh_side side)
{
    log_debug("a session %s node %u begins", side == MESH_OUT ? "with" : "of", peer);
    add(arg, EVENT_PEER_UP, peer, side);
}

static void on_message(void *arg, uint32_t peer, enum mesh_side side, const struct peer_msg *m)
{
    struct peer_link *p = arg;
    p->traffic++;
    if (m->type != PEER_PROGRAM_GET && m->type != PEER_PROGRAM_PART) {
        add(p, EVENT_PEER_MESSAGE, peer, side)->peer_msg = m;
    } else if (p->config.on_program_message != NULL) {
        p->config.on_program_message(p->config.arg, peer, (enum peer_side)side, m);
    }
}

static void on_down(void *arg, uint32_t peer, enum mesh_side side, enum link_down why)
{
    struct peer_link *p = arg;
    struct raylet_event *e = add(p, EVENT_PEER_DOWN, peer, side);
    e->refused = why == LINK_REFUSED;
    e->key_refused = why == LINK_KEY_REFUSED;
    e->silent = why == LINK_SILENT;
    log_debug("no session %s node %u: %s", side == MESH_OUT ? "with" : "of", peer,
              why == LINK_REFUSED       ? "nothing listens there"
              : why == LINK_ENDED       ? "it ended"
              : why == LINK_SILENT      ? "it does not answer"
              : why == LINK_KEY_REFUSED ? "another program is there, or it refuses the key"
                                        : "it cannot be reached");
    if (p->config.on_session_end != NULL) {
        p->config.on_session_end(p->config.arg, peer, (enum peer_side)side);
    }
}

static void on_slow(void *arg, uint32_t peer, enum mesh_side side, bool slow)
{
    add(arg, EVENT_PEER_SLOW, peer, side)->ok = slow;
}

/* ---- what the core wants ---- */

void peer_link_open(struct peer_link *p, uint32_t peer, const char *address, const char *key)
{
    int r = mesh_open(p->mesh, peer, address, key);
    if (r != 0) {
        log_limited(&p->limit, LOG_LEVEL_ERROR, "node %u has an invalid address: %s", peer,
                    address);
        add(p, EVENT_PEER_DOWN, peer, MESH_OUT);
    }
}

void peer_link_close(struct peer_link *p, uint32_t peer, enum peer_side side,
                     const struct failure *why)
{
    if (why != NULL && why->code != 0) {
        log_limited(&p->limit, LOG_LEVEL_WARN, "a session is ended: %s", why->message);
    }
    mesh_close(p->mesh, peer, (enum mesh_side)side);
}

void peer_link_send(struct peer_link *p, uint32_t peer, enum peer_side side,
                    const struct peer_msg *m)
{
    p->traffic++;
    mesh_send(p->mesh, peer, (enum mesh_side)side, m);
}

void peer_link_flush(struct peer_link *p)
{
    mesh_flush(p->mesh);
}

void peer_link_set_number(struct peer_link *p, uint32_t number)
{
    mesh_set_number(p->mesh, number);
}

uint16_t peer_link_port(const struct peer_link *p)
{
    return p->port;
}

bool peer_link_is_advertised(const struct peer_link *p)
{
    return p->advertised;
}

const char *peer_link_address(const struct peer_link *p)
{
    return p->address;
}

const char *peer_link_key(const struct peer_link *p)
{
    return p->public_key;
}

struct transport_zmq_context *peer_link_context(struct peer_link *p)
{
    return mesh_context(p->mesh);
}

struct resolver *peer_link_resolver(struct peer_link *p)
{
    return mesh_resolver(p->mesh);
}

bool peer_link_is_up(const struct peer_link *p)
{
    return mesh_is_up(p->mesh);
}

uint64_t peer_link_traffic(const struct peer_link *p)
{
    return p->traffic;
}

uint64_t peer_link_next_ns(const struct peer_link *p)
{
    return mesh_next_ns(p->mesh);
}

void peer_link_tick(struct peer_link *p, uint64_t now_ns)
{
    if (now_ns >= mesh_next_ns(p->mesh)) {
        mesh_tick(p->mesh, now_ns);
    }
}

/* ---- beginning ---- */

/* The address from which the head at `address` is reached: the default route's, most often. */
static void find_own_host(const char *address, char ret[256])
{
    char host[256];
    uint16_t port = 0;
    (void)text_copy(ret, 256, "127.0.0.1");
    if (hostport_parse(address, 1, host, &port) != 0) {
        return;
    }
    char service[8];
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *found = NULL;
    snprintf(service, sizeof service, "%u", port);
    if (getaddrinfo(host, service, &hints, &found) != 0) {
        return;
    }
    struct sockaddr_storage own;
    socklen_t size = sizeof own;
    CLEANUP_FD int fd = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    /* Connecting a datagram socket sends nothing: it only picks the route. */
    if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) == 0 &&
        getsockname(fd, (struct sockaddr *)&own, &size) == 0) {
        char text[256];
        if (getnameinfo((struct sockaddr *)&own, size, text, sizeof text, NULL, 0,
                        NI_NUMERICHOST) == 0) {
            (void)text_copy(ret, 256, text);
        }
    }
    freeaddrinfo(found);
}

static void name_ourselves(struct peer_link *p, const struct peer_link_config *config)
{
    char host[HOSTPORT_HOST_SIZE];
    uint16_t port = p->port;
    p->advertised = true;
    if (config->advertise != NULL) {
        int r = hostport_parse(config->advertise, p->port, host, &port);
        ASSERT(r == 0); /* the command line is checked */
    } else if (hostport_is_any(config->bind) || hostport_parse_bind(config->bind, host) != 0) {
        find_own_host(config->head_address, host);
        p->advertised = false;
    }
    hostport_format(host, port, p->address);
}

/* Why the port cannot be opened, for people. */
static int refuse(int r, const struct peer_link_config *config, struct failure *f)
{
    const char *where = config->bind != NULL ? config->bind : "all interfaces";
    switch (r) {
    case -EADDRINUSE:
        return failure_set(f, CODE_FAILED,
                           "Port %u is in use on %s. Choose another one with --port.", config->port,
                           where);
    case -EADDRNOTAVAIL:
    case -EINVAL:
        return failure_set(f, CODE_SIGNATURE,
                           "%.255s is not an address%s. Give --bind an address that 'ip address' "
                           "shows, or omit it.",
                           where, r == -EINVAL ? "" : " of this machine");
    case -EACCES:
        return failure_set(
            f, CODE_FAILED,
            "The message port did not refuse a wrong key in the self-check, so it is "
            "not opened. Is libzmq built without CURVE?");
    default:
        return failure_set(f, CODE_FAILED, "The message port %u on %s cannot be opened: %s.",
                           config->port, where, strerror(-r));
    }
}

static int open_port(struct peer_link *p, const struct peer_link_config *config, struct failure *f)
{
    struct mesh_config mesh = {
        .loop = config->loop,
        .bind = config->bind,
        .port = config->port,
        .exact = config->exact,
        .own = config->keys->own,
        .arena = &config->events->arena,
        .events = {.on_up = on_up,
                   .on_message = on_message,
                   .on_down = on_down,
                   .on_slow = on_slow,
                   .arg = p},
    };
    int r = keys_pair_new(&mesh.port_key);
    if (r != 0) {
        return failure_set(f, CODE_FAILED, "Cannot make a key: %s.", strerror(-r));
    }
    (void)text_copy(p->public_key, sizeof p->public_key, mesh.port_key.public_key);
    r = mesh_new(&mesh, &p->mesh, &p->port);
    sodium_memzero(&mesh, sizeof mesh);
    return r != 0 ? refuse(r, config, f) : 0;
}

int peer_link_new(const struct peer_link_config *config, struct peer_link **ret, struct failure *f)
{
    struct peer_link *p = xcalloc(1, sizeof *p);
    p->config = *config;
    int r = open_port(p, config, f);
    if (r != 0) {
        peer_link_free(p);
        return r;
    }
    name_ourselves(p, config);
    *ret = p;
    return 0;
}

void peer_link_free(struct peer_link *p)
{
    if (p == NULL) {
        return;
    }
    mesh_free(p->mesh);
    free(p);
}
