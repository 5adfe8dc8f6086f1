#include "cli/remote.h"

#include <stdio.h>

#include "cli/exit.h"
#include "common/loop.h"
#include "common/text.h"
#include "proto/cluster.h"
#include "proto/link.h"

#define LIMIT_S ((unsigned)(ASK_LIMIT_NS / NS_PER_S))

struct remote {
    struct loop *loop;
    struct link *link;
    char cluster[64];
    char addresses[KEYS_ADDRESSES_MAX][HOSTPORT_SIZE];
    size_t address_count;
    char key_file[PLACE_PATH_MAX];
    bool up;
    enum link_down why; /* 0: no word of it yet */
    uint64_t requests;
    /* The questions under way; answers is NULL when there are none. */
    struct answer *answers;
    size_t count, open;
    uint64_t first;
    int broken; /* -errno: what came cannot be read */
    struct failure refused;
};

/* ---- what the link tells ---- */

static void on_up(void *arg, uint64_t peer, const struct link_identity *identity)
{
    ((struct remote *)arg)->up = true;
}

static void on_down(void *arg, uint64_t peer, enum link_down why)
{
    ((struct remote *)arg)->why = why;
}

static void on_room(void *arg, uint64_t peer)
{
}

static void take_reply(struct remote *r, const struct cluster_reply *reply)
{
    if (reply->request < r->first || reply->request - r->first >= r->count) {
        return; /* of a question that was given up */
    }
    struct answer *answer = &r->answers[reply->request - r->first];
    r->broken = answer_add(answer, &reply->reply);
    r->open -= r->broken == 0 && answer->whole;
}

static void on_message(void *arg, uint64_t peer, struct bytes message, bool datagram)
{
    struct remote *r = arg;
    struct cluster_msg m;
    const char *why = "";
    if (r->answers == NULL || r->broken != 0 || datagram) {
        return;
    }
    /* Which answer it belongs to is known only when it is decoded, so all share one arena. */
    struct arena *arena = &r->answers[0].arena;
    struct bytes copy = bytes_of(arena_copy(arena, message.data, message.size), message.size);
    r->broken = cluster_decode(copy, arena, &m, &why);
    if (r->broken != 0) {
        return;
    }
    if (m.type == CLUSTER_REPLY) {
        take_reply(r, &m.reply);
    } else if (m.type == CLUSTER_REFUSED) {
        r->refused = m.refused.failure;
    }
}

/* One turn of the loop. False: the time is over. */
static bool turn(struct remote *r, uint64_t deadline_ns)
{
    uint64_t now_ns = clock_now_ns();
    uint64_t next_ns = MIN_OF(link_next_ns(r->link), deadline_ns);
    if (now_ns >= deadline_ns) {
        return false;
    }
    int ran = loop_turn(r->loop, next_ns > now_ns ? next_ns - now_ns : 0);
    r->broken = ran < 0 && r->broken == 0 ? ran : r->broken;
    link_tick(r->link, clock_now_ns());
    return true;
}

/* ---- connecting ---- */

/* The head as sentences name it. */
static const char *head_of(const struct remote *r)
{
    return r->addresses[0];
}

static int not_reached(const struct remote *r, struct failure *f)
{
    switch (r->why) {
    case LINK_KEY_REFUSED:
        failure_set(f, CODE_REFUSED,
                    "%s refused this key (%.200s is for cluster \"%s\"). Copy client.key from the "
                    "head's directory again.",
                    head_of(r), r->key_file, r->cluster);
        return EXIT_REFUSED;
    case LINK_STRANGER:
        failure_set(
            f, CODE_REFUSED,
            "what answers at %s is not the head of \"%s\" that %.200s is for: it is another "
            "program, the head of another cluster, or the head has new keys. Give the "
            "address that 'drt-head start' printed, or its present client.key.",
            head_of(r), r->cluster, r->key_file);
        return EXIT_REFUSED;
    case LINK_REFUSED:
        failure_set(f, CODE_DISCONNECTED,
                    "cannot reach the head of \"%s\" at %s: nothing listens there. Start it with "
                    "'drt-head start' on its machine, or give the address that it printed.",
                    r->cluster, head_of(r));
        return EXIT_NO_CLUSTER;
    default:
        failure_set(f, CODE_UNREACHABLE,
                    "cannot reach the head of \"%s\" at %s: nothing answers there. Check the "
                    "address, and that no firewall blocks it.",
                    r->cluster, head_of(r));
        return EXIT_NO_CLUSTER;
    }
}

static int connect_to(struct remote *r, const struct keys_member *keys, struct failure *f)
{
    const char *addresses[KEYS_ADDRESSES_MAX];
    struct link_client_config config = {
        .addresses = addresses,
        .address_count = r->address_count,
        .key = keys->own,
        .events = {.on_up = on_up,
                   .on_message = on_message,
                   .on_room = on_room,
                   .on_down = on_down,
                   .arg = r},
    };
    for (size_t i = 0; i < r->address_count; i++) {
        addresses[i] = r->addresses[i];
    }
    memcpy(config.server_public, keys->server_public, KEYS_TEXT_SIZE);
    int e = loop_new(&r->loop);
    config.loop = r->loop;
    e = e == 0 ? link_client_new(&config, &r->link) : e;
    explicit_bzero(&config.key, sizeof config.key);
    if (e == -ENOENT || e == -EINVAL) {
        failure_set(
            f, CODE_DISCONNECTED,
            "the name in the head's address %s cannot be resolved. Give it as host:port, as "
            "'drt-head start' printed it.",
            head_of(r));
        return EXIT_NO_CLUSTER;
    }
    if (e != 0) {
        failure_set(f, CODE_FAILED, "cannot connect to %s: %s.", head_of(r), strerror(-e));
        return EXIT_FAILED;
    }
    uint64_t deadline_ns = clock_now_ns() + ASK_LIMIT_NS;
    while (!r->up && r->why == 0 && r->broken == 0 && turn(r, deadline_ns)) {
        /* until one of them is so */
    }
    return r->up ? EXIT_DONE : not_reached(r, f);
}

/* Its names and addresses, and whether the key is what was meant. */
static int take_key(struct remote *r, const struct remote_wish *wish,
                    const struct keys_member *keys, struct failure *f)
{
    memcpy(r->cluster, keys->cluster, sizeof r->cluster);
    memcpy(r->key_file, wish->key_file, sizeof r->key_file);
    if (wish->address[0] != '\0') {
        memcpy(r->addresses[0], wish->address, sizeof r->addresses[0]);
        r->address_count = 1;
    } else {
        memcpy(r->addresses, keys->addresses, sizeof r->addresses);
        r->address_count = keys->address_count;
    }
    if (wish->cluster[0] != '\0' && strcmp(wish->cluster, keys->cluster) != 0) {
        failure_set(
            f, CODE_REFUSED,
            "%.250s is for cluster \"%s\", not for \"%s\". Name its file with --key-file or "
            "DRT_KEY_FILE.",
            wish->key_file, keys->cluster, wish->cluster);
        return EXIT_REFUSED;
    }
    if (r->address_count == 0) {
        failure_set(
            f, CODE_SIGNATURE,
            "%.250s does not contain the address of the head of \"%s\". Give it with --cluster "
            "HOST:PORT.",
            wish->key_file, keys->cluster);
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

int remote_open(const struct remote_wish *wish, struct remote **ret, struct failure *f)
{
    struct keys_member keys;
    memset(f, 0, sizeof *f);
    if (keys_load_member(wish->key_file, 0, &keys, f) != 0) {
        return EXIT_REFUSED;
    }
    struct remote *r = xcalloc(1, sizeof *r);
    int status = take_key(r, wish, &keys, f);
    status = status == EXIT_DONE ? connect_to(r, &keys, f) : status;
    explicit_bzero(&keys, sizeof keys);
    if (status != EXIT_DONE) {
        remote_close(r);
        return status;
    }
    *ret = r;
    return EXIT_DONE;
}

void remote_close(struct remote *r)
{
    if (r != NULL) {
        link_free(r->link);
        loop_free(r->loop);
        free(r);
    }
}

const char *remote_cluster(const struct remote *r)
{
    return r->cluster;
}

/* ---- asking ---- */

static int send_query(struct remote *r, const struct state_query *query)
{
    struct cluster_msg m = {.type = CLUSTER_QUERY,
                            .query = {.request = ++r->requests, .query = *query}};
    struct buffer packed = {0};
    size_t size = cluster_size(&m);
    cluster_encode(&m, buffer_extend(&packed, size));
    int e = link_send(r->link, LINK_ONLY_PEER, bytes_of(packed.data, packed.size));
    buffer_fini(&packed);
    return e;
}

/* What became of the questions. */
static int outcome(const struct remote *r, struct failure *f)
{
    if (r->refused.code != 0) {
        *f = r->refused;
        return exit_of_failure(f);
    }
    if (r->why != 0 || r->broken == -ENOTCONN) {
        failure_set(
            f, CODE_DISCONNECTED,
            "the head of \"%s\" at %s ended while it was asked, or the connection was lost. "
            "Try again.",
            r->cluster, head_of(r));
        return EXIT_NO_CLUSTER;
    }
    if (r->broken != 0) {
        failure_set(f, CODE_FAILED,
                    "the answer of the head of \"%s\" at %s cannot be read (%s). Are drt and the "
                    "head of the same version? This is drt %s.",
                    r->cluster, head_of(r), code_name(r->broken), DRT_VERSION);
        return EXIT_FAILED;
    }
    if (r->open != 0) {
        failure_set(f, CODE_TIMEOUT,
                    "the head of \"%s\" at %s did not answer within %u s. Try again; its log is in "
                    "its directory.",
                    r->cluster, head_of(r), LIMIT_S);
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

int remote_rows(struct remote *r, const struct state_query *queries, size_t count,
                struct answer *answers, struct failure *f)
{
    uint64_t deadline_ns = clock_now_ns() + ASK_LIMIT_NS;
    r->answers = answers;
    r->count = r->open = count;
    r->first = r->requests + 1;
    for (size_t i = 0; i < count && r->broken == 0; i++) {
        r->broken = send_query(r, &queries[i]);
    }
    while (r->open > 0 && r->broken == 0 && r->why == 0 && r->refused.code == 0 &&
           turn(r, deadline_ns)) {
        /* until one of them is so */
    }
    r->answers = NULL;
    return outcome(r, f);
}
