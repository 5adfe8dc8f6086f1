#include "raylet/leave.h"

#include <poll.h>

#include "common/clock.h"
#include "common/files.h"
#include "proto/local.h"
#include "proto/ring.h"

#define LOOK_NS (100 * NS_PER_MS)
#define END_NS  (20 * NS_PER_S) /* for the daemon itself */

struct conversation {
    struct ring_channel channel;
    int socket;
    struct arena arena;
    uint64_t deadline_ns, requests;
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

/* One question; its answer, or -EPIPE once the raylet has ended. */
static int ask(struct conversation *c, const struct state_query *query, struct local_msg *ret)
{
    struct local_msg m = {.type = LOCAL_QUERY, .query.request = ++c->requests};
    m.query.query = *query;
    arena_reset(&c->arena);
    int r = say(c, &m);
    do {
        r = r == 0 ? listen_for(c, ret) : r;
    } while (r == 0 && !(ret->type == LOCAL_REPLY && ret->reply.request == c->requests));
    return r;
}

/* Until something comes, or a moment has passed. -EPIPE: the raylet has ended. */
static int pause_for(struct conversation *c, uint64_t ns)
{
    struct local_msg m;
    uint64_t deadline_ns = c->deadline_ns;
    c->deadline_ns = MIN_OF(deadline_ns, clock_now_ns() + ns);
    int r = listen_for(c, &m);
    c->deadline_ns = deadline_ns;
    return r == -ETIMEDOUT ? 0 : r;
}

static void count_tasks(const struct state_reply *reply, struct leave_progress *ret)
{
    ret->running = ret->waiting = 0;
    for (size_t i = 0; i < reply->class_count; i++) {
        const struct state_class *row = &reply->classes[i];
        if (row->function[0] == '\0' && row->job == 0) { /* all of the node */
            ret->running += strcmp(row->state, "running") == 0 ? row->count : 0;
            ret->waiting += strcmp(row->state, "waiting") == 0 ? row->count : 0;
        }
    }
}

/* Until the raylet has ended: its socket does then. What it answers once the time is over does not
 * count: it may have ended the rest already, and that is what is to be told. */
static int wait_for_end(struct conversation *c, const struct leave_wish *wish, uint64_t begun_ns,
                        struct leave_progress *p)
{
    static const struct state_query tasks = {
        .kind = STATE_CLASSES, .limit = 1, .id = "", .node = "", .state = "", .name = ""};
    for (;;) {
        struct local_msg answer;
        bool is_over = clock_now_ns() - begun_ns >= wish->within_ns;
        int r = ask(c, &tasks, &answer);
        if (r == 0) {
            uint64_t passed_ns = clock_now_ns() - begun_ns;
            if (!is_over) {
                count_tasks(&answer.reply.reply, p);
            }
            p->left_ns = wish->within_ns > passed_ns ? wish->within_ns - passed_ns : 0;
            wish->on_progress(wish->arg, p);
            r = pause_for(c, is_over ? LOOK_NS : MIN_OF(LOOK_NS, p->left_ns / 2 + NS_PER_MS));
        }
        if (r != 0) {
            p->left_ns = wish->within_ns - MIN_OF(wish->within_ns, clock_now_ns() - begun_ns);
            return r == -EPIPE || r == -ECONNRESET ? 0 : r;
        }
    }
}

static int converse(struct conversation *c, const struct leave_wish *wish,
                    struct leave_progress *progress, struct failure *f)
{
    struct local_msg open = {.type = LOCAL_OPEN,
                             .open = {.protocol = LOCAL_PROTOCOL_VERSION,
                                      .role = ROLE_TOOL,
                                      .job_name = "",
                                      .program_name = "drt-node",
                                      .cwd = ""}};
    struct state_query leave = {.kind = STATE_LEAVE,
                                .within_ns = wish->within_ns,
                                .id = "",
                                .node = "",
                                .state = "",
                                .name = ""};
    struct local_msg answer;
    uint64_t begun_ns = clock_now_ns(); /* before the node counts, so that it is over first */
    int r = say(c, &open);
    if (r == 0) {
        r = listen_for(c, &answer);
    }
    if (r == 0 && answer.type == LOCAL_REFUSED) {
        *f = answer.refused.failure;
        return f->code;
    }
    if (r == 0) {
        r = ask(c, &leave, &answer);
    }
    if (r == 0 && answer.reply.reply.failure.code != 0) {
        *f = answer.reply.reply.failure;
        return f->code;
    }
    if (r == 0) {
        count_tasks(&answer.reply.reply, progress);
    }
    return r == 0 ? wait_for_end(c, wish, begun_ns, progress) : r == -EPIPE ? 0 : r;
}

/* Its socket ends before its process does; then its name is free, and it is not found. */
static int wait_until_free(const struct place *place, const char *node, uint64_t deadline_ns)
{
    const struct timespec pause = {.tv_nsec = 2 * NS_PER_MS};
    char lock[PLACE_PATH_MAX];
    int r = place_node_path(place, node, "lock", lock);
    while (r == 0 && files_is_locked(lock)) {
        if (clock_now_ns() >= deadline_ns) {
            return -ETIMEDOUT;
        }
        clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
    }
    return r;
}

int leave_cluster(const struct place *place, const struct leave_wish *wish,
                  struct leave_progress *ret, struct failure *f)
{
    char path[PLACE_PATH_MAX];
    struct leave_progress p = {0};
    struct conversation c = {
        .socket = -1, .deadline_ns = ns_add(clock_now_ns(), ns_add(wish->within_ns, END_NS))};
    int r = place_find_only_node(place, wish->name, p.node, f);
    if (r != 0) {
        return r;
    }
    r = place_node_path(place, p.node, "sock", path);
    if (r == 0) {
        r = ring_connect(path, NULL, END_NS, &c.channel, &c.socket);
    }
    if (r == 0) {
        r = converse(&c, wish, &p, f);
    }
    if (r == 0) {
        r = wait_until_free(place, p.node, c.deadline_ns);
    }
    ring_fini(&c.channel);
    arena_fini(&c.arena);
    close_fd(&c.socket);
    if (r == -ETIMEDOUT) {
        return failure_set(f, CODE_TIMEOUT,
                           "Node \"%s\" did not end in time. See its log in its directory. 'drt "
                           "stop' kills what does not end.",
                           p.node);
    }
    if (r < 0) {
        return failure_set(f, CODE_DISCONNECTED, "Node \"%s\" cannot be asked (%s): %s.", p.node,
                           path, strerror(-r));
    }
    if (r == 0) {
        *ret = p;
    }
    return r;
}
