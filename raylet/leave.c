#include "raylet/leave.h"

#include <poll.h>

#include "common/clock.h"
#include "proto/local.h"
#include "proto/ring.h"

struct conversation {
    struct ring_channel channel;
    int socket;
    struct arena arena;
    uint64_t deadline_ns;
};

static int say(struct conversation *c, const struct local_msg *m)
{
    struct buffer packed = {0};
    size_t size = local_size(m);
    local_encode(m, buffer_extend(&packed, size));
    int r = ring_send(&c->channel, bytes_of(packed.data, size));
    buffer_fini(&packed);
    if (r == 0) {
        r = ring_flush(&c->channel);
    }
    return r < 0 ? r : 0;
}

/* Sleeps until something may be there. 0, -ETIMEDOUT, -EPIPE */
static int sleep_until_input(struct conversation *c)
{
    if (!ring_arm(&c->channel)) {
        return 0;
    }
    uint64_t now_ns = clock_now_ns();
    int left_ms = now_ns >= c->deadline_ns ? 0 : (int)((c->deadline_ns - now_ns) / NS_PER_MS + 1);
    struct pollfd fds[2] = {{.fd = c->channel.doorbell_mine, .events = POLLIN},
                            {.fd = c->socket, .events = POLLIN}};
    int n = poll(fds, 2, left_ms);
    ring_disarm(&c->channel);
    if (n == 0) {
        return -ETIMEDOUT;
    }
    return n > 0 && fds[1].revents != 0 && !ring_has_input(&c->channel) ? -EPIPE : 0;
}

static int listen_for(struct conversation *c, struct local_msg *ret)
{
    struct bytes data;
    const char *why = NULL;
    for (;;) {
        int r = ring_receive(&c->channel, &c->arena, &data);
        if (r > 0) {
            return local_decode(data, &c->arena, ret, &why);
        }
        r = r == 0 ? sleep_until_input(c) : r;
        if (r != 0) {
            return r;
        }
    }
}

/* Until the raylet has ended: its socket does then. What it still says is read and forgotten. */
static int wait_for_end(struct conversation *c)
{
    struct local_msg m;
    int r;
    do {
        r = listen_for(c, &m);
    } while (r == 0);
    return r == -EPIPE ? 0 : r;
}

static int converse(struct conversation *c, struct failure *f)
{
    struct local_msg open = {.type = LOCAL_OPEN,
                             .open = {.protocol = LOCAL_PROTOCOL_VERSION,
                                      .role = ROLE_TOOL,
                                      .job_name = "",
                                      .program_name = "drt-node",
                                      .cwd = ""}};
    struct local_msg query = {.type = LOCAL_QUERY, .query.request = 1};
    struct local_msg answer;
    query.query.query =
        (struct state_query){.kind = STATE_LEAVE, .id = "", .node = "", .state = "", .name = ""};
    int r = say(c, &open);
    if (r == 0) {
        r = listen_for(c, &answer);
    }
    if (r == 0 && answer.type == LOCAL_REFUSED) {
        *f = answer.refused.failure;
        return f->code;
    }
    if (r == 0) {
        r = say(c, &query);
    }
    if (r == 0) {
        r = listen_for(c, &answer);
    }
    if (r == 0 && answer.type == LOCAL_REPLY && answer.reply.reply.failure.code != 0) {
        *f = answer.reply.reply.failure;
        return f->code;
    }
    return r == 0 ? wait_for_end(c) : r == -EPIPE ? 0 : r;
}

int leave_cluster(const struct place *place, const char *name, char ret_name[64], struct failure *f)
{
    char path[PLACE_PATH_MAX], found[64];
    struct conversation c = {.socket = -1, .deadline_ns = clock_now_ns() + LEAVE_LIMIT_NS};
    int r = place_find_node(place, name, found, f);
    if (r != 0) {
        return r;
    }
    r = place_node_path(place, found, "sock", path);
    if (r == 0) {
        r = ring_connect(path, -1, LEAVE_LIMIT_NS, &c.channel, &c.socket);
    }
    if (r == 0) {
        r = converse(&c, f);
    }
    ring_fini(&c.channel);
    arena_fini(&c.arena);
    close_fd(&c.socket);
    if (r == -ETIMEDOUT) {
        return failure_set(f, CODE_TIMEOUT,
                           "Node \"%s\" did not end within %u s: its tasks still run. They can be "
                           "looked at with 'drt tasks --node %s'.",
                           found, (unsigned)(LEAVE_LIMIT_NS / NS_PER_S), found);
    }
    if (r < 0) {
        return failure_set(f, CODE_DISCONNECTED, "Node \"%s\" cannot be asked (%s): %s.", found,
                           path, strerror(-r));
    }
    if (r == 0) {
        memcpy(ret_name, found, sizeof found);
    }
    return r;
}
