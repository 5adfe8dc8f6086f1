#include "cli/ask.h"

#include <inttypes.h>
#include <poll.h>
#include <unistd.h>

#include "cli/stop.h"
#include "common/text.h"
#include "proto/local.h"

int ask_find(const char *dir, const char *cluster, struct place *ret, struct failure *f)
{
    switch (place_find(dir, cluster, ret, f)) {
    case 0:
        return EXIT_DONE;
    case CODE_NOT_FOUND:
        return EXIT_NO_CLUSTER;
    case CODE_EXISTS:
    case CODE_SIGNATURE:
        return EXIT_USAGE;
    default:
        return EXIT_FAILED;
    }
}

/* Waits until something came, or there is room, or the other side is gone. 0, -ETIMEDOUT, -EPIPE */
static int wait_for_input(struct ask *a, uint64_t deadline_ns)
{
    if (!ring_arm(&a->channel)) {
        return 0;
    }
    uint64_t now_ns = clock_now_ns();
    uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
    struct timespec left = {.tv_sec = (time_t)(left_ns / NS_PER_S),
                            .tv_nsec = (long)(left_ns % NS_PER_S)};
    struct pollfd fds[2] = {{.fd = a->channel.doorbell_mine, .events = POLLIN},
                            {.fd = a->socket, .events = POLLIN}};
    int n = ppoll(fds, 2, &left, NULL);
    ring_disarm(&a->channel);
    if (n == 0) {
        return -ETIMEDOUT;
    }
    /* What it said last is still to be read. */
    return n > 0 && fds[1].revents != 0 && !ring_has_input(&a->channel) ? -EPIPE : 0;
}

/* The next message. 0, -ETIMEDOUT, -EPIPE, -EPROTO */
static int next_message(struct ask *a, struct arena *arena, uint64_t deadline_ns,
                        struct local_msg *ret)
{
    struct bytes data;
    const char *why = "";
    for (;;) {
        int r = ring_flush(&a->channel);
        if (r < 0) {
            return r;
        }
        r = ring_receive(&a->channel, arena, &data);
        if (r == 1) {
            return local_decode(data, arena, ret, &why);
        }
        r = r == 0 ? wait_for_input(a, deadline_ns) : r;
        if (r != 0) {
            return r;
        }
    }
}

static int send_message(struct ask *a, const struct local_msg *m)
{
    struct buffer packed = {0};
    size_t size = local_size(m);
    local_encode(m, buffer_extend(&packed, size));
    int r = ring_send(&a->channel, bytes_of(packed.data, packed.size));
    buffer_fini(&packed);
    return r;
}

static const char *asked(const struct ask *a)
{
    return a->from_node ? "node" : "head";
}

static int broken(const struct ask *a, int r, struct failure *f)
{
    uint32_t pid = 0;
    if (r == -ETIMEDOUT && !a->from_node && stop_finds_head(&a->place, &pid) && pid != 0) {
        failure_set(f, CODE_TIMEOUT,
                    "the head of \"%s\" (process %" PRIu32
                    ") did not answer within %u s. Try again, "
                    "or end it with 'drt stop', which kills it after 10 s; its log is in %.200s.",
                    a->place.cluster, pid, (unsigned)(ASK_LIMIT_NS / NS_PER_S), a->place.dir);
        return EXIT_FAILED;
    }
    if (r == -ETIMEDOUT) {
        failure_set(f, CODE_TIMEOUT,
                    "the %s of \"%s\" did not answer within %u s. Try again; its log is in %.200s.",
                    asked(a), a->place.cluster, (unsigned)(ASK_LIMIT_NS / NS_PER_S), a->place.dir);
        return EXIT_FAILED;
    }
    if (r == -EPIPE || r == -ECONNRESET) {
        failure_set(f, CODE_DISCONNECTED,
                    "the %s of \"%s\" ended while it was asked. Try again; its log is in %.200s.",
                    asked(a), a->place.cluster, a->place.dir);
        return EXIT_NO_CLUSTER;
    }
    failure_set(f, CODE_FAILED,
                "the answer of the %s of \"%s\" cannot be read (%s). Are drt and its daemons of "
                "the same version? This is drt %s.",
                asked(a), a->place.cluster, code_name(r), DRT_VERSION);
    return EXIT_FAILED;
}

/* Says who we are and waits to be let in. */
static int greet(struct ask *a, struct failure *f)
{
    struct local_msg m = {
        .type = LOCAL_OPEN,
        .open = {.protocol = LOCAL_PROTOCOL_VERSION,
                 .role = ROLE_TOOL,
                 .job_name = "",
                 .program_name = "drt",
                 .cwd = ""},
    };
    struct arena arena = {0};
    struct local_msg answer = {0};
    int r = send_message(a, &m);
    if (r == 0) {
        r = next_message(a, &arena, clock_now_ns() + ASK_LIMIT_NS, &answer);
    }
    if (r == 0 && answer.type == LOCAL_REFUSED) {
        *f = answer.refused.failure;
        r = EXIT_REFUSED;
    } else if (r == 0 && answer.type != LOCAL_WELCOME) {
        r = -EPROTO;
    }
    arena_fini(&arena);
    return r < 0 ? broken(a, r, f) : r;
}

/* EXIT_DONE when connected; -1 when nobody listens there. */
static int try_socket(struct ask *a, const char *path, struct failure *f)
{
    int r = ring_connect(path, NULL, ASK_LIMIT_NS, &a->channel, &a->socket);
    if (r == -ENOENT || r == -ECONNREFUSED || r == -ENOTDIR) {
        return -1;
    }
    if (r == -EACCES || r == -EPERM) {
        failure_set(f, CODE_REFUSED,
                    "%.300s belongs to another user. Run drt as the user who started the cluster.",
                    path);
        return EXIT_REFUSED;
    }
    if (r < 0) {
        return broken(a, r, f);
    }
    r = greet(a, f);
    if (r != EXIT_DONE) {
        ask_close(a);
    }
    return r;
}

/* A head that was just killed leaves its socket, and may end while it greets us: then a node may
 * still answer. */
static bool is_final(int r, const struct failure *f)
{
    return r != -1 && f->code != CODE_DISCONNECTED && f->code != CODE_TIMEOUT;
}

int ask_open(const struct place *place, const char *node, struct ask *ret, struct failure *f)
{
    char path[PLACE_PATH_MAX], name[64];
    struct ask a = {.place = *place, .socket = -1};
    struct failure ignored;
    memset(f, 0, sizeof *f);

    int r = place_path(place, "head.sock", path) == 0 ? try_socket(&a, path, f) : -1;
    if (r != EXIT_DONE && !is_final(r, f) && place_find_node(place, node, name, &ignored) == 0 &&
        place_node_path(place, name, "sock", path) == 0) {
        a.from_node = true;
        int from_node = try_socket(&a, path, f);
        r = from_node == -1 ? r : from_node;
    }
    if (r == EXIT_DONE) {
        *ret = a;
        return EXIT_DONE;
    }
    if (r == -1) {
        failure_set(f, CODE_NOT_FOUND,
                    "cluster \"%s\" does not run on this machine: no head and no node answers in "
                    "%.250s. Start it with 'drt-head start'; a head elsewhere is asked with "
                    "--cluster HOST:PORT and its client.key.",
                    place->cluster, place->dir);
        return EXIT_NO_CLUSTER;
    }
    return r;
}

static int open_remote(const struct remote_wish *wish, struct ask *ret, struct failure *f)
{
    struct ask a = {.socket = -1};
    int r = remote_open(wish, &a.remote, f);
    if (r == EXIT_DONE) {
        (void)text_copy(a.place.cluster, sizeof a.place.cluster, remote_cluster(a.remote));
        *ret = a;
    }
    return r;
}

int ask_begin(const struct where *where, struct ask *ret, struct failure *f)
{
    struct place place;
    struct remote_wish wish;
    if (where_is_remote(where)) {
        int code = where_remote(where, &wish, f);
        return code == 0                ? open_remote(&wish, ret, f)
               : code == CODE_SIGNATURE ? EXIT_USAGE
                                        : EXIT_REFUSED;
    }
    int found = ask_find(where->dir, where->cluster, &place, f);
    int r = found == EXIT_DONE ? ask_open(&place, NULL, ret, f) : found;
    bool nobody = r == EXIT_NO_CLUSTER && f->code == CODE_NOT_FOUND;
    if (nobody && where_else(where, found == EXIT_DONE ? &place : NULL, &wish)) {
        r = open_remote(&wish, ret, f);
    }
    return r;
}

void ask_close(struct ask *a)
{
    remote_close(a->remote);
    a->remote = NULL;
    if (a->socket >= 0) {
        ring_fini(&a->channel);
        close_fd(&a->socket);
        a->socket = -1;
    }
}

int ask_rows(struct ask *a, const struct state_query *queries, size_t count, struct answer *answers,
             struct failure *f)
{
    uint64_t first = a->requests + 1, deadline_ns = clock_now_ns() + ASK_LIMIT_NS;
    size_t open = count;
    int r = 0;
    if (a->remote != NULL) {
        return remote_rows(a->remote, queries, count, answers, f);
    }
    for (size_t i = 0; i < count && r == 0; i++) {
        struct local_msg m = {.type = LOCAL_QUERY,
                              .query = {.request = ++a->requests, .query = queries[i]}};
        r = send_message(a, &m);
    }
    while (r == 0 && open > 0) {
        /* Which answer it belongs to is known only when it is decoded, so all share one arena. */
        struct local_msg m;
        r = next_message(a, &answers[0].arena, deadline_ns, &m);
        bool ours = r == 0 && m.type == LOCAL_REPLY && m.reply.request >= first &&
                    m.reply.request - first < count;
        if (ours) {
            struct answer *answer = &answers[m.reply.request - first];
            r = answer_add(answer, &m.reply.reply);
            open -= answer->whole;
        }
    }
    return r == 0 ? EXIT_DONE : broken(a, r, f);
}
