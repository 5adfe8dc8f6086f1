#include "tests/contract/contract.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/contract/transport_ring.h"

/* The ring, driven by turns and by a loop. */

struct own {
    struct loop *loop; /* NULL: turns */
    char *folder;
    char path[300];
    uint64_t broken; /* peers that were found out */
};

static void make_turns(struct contract *c)
{
    struct own *own = xcalloc(1, sizeof *own);
    own->folder = unit_make_dir();
    snprintf(own->path, sizeof own->path, "%s/sock", own->folder);
    c->own = own;
}

static void make_loop(struct contract *c)
{
    make_turns(c);
    assert_int_equal(loop_new(&((struct own *)c->own)->loop), 0);
}

static void destroy(struct contract *c)
{
    struct own *own = c->own;
    unit_remove_dir(&own->folder);
    loop_free(own->loop);
    free(own);
}

static void start_server(struct contract *c)
{
    struct own *own = c->own;
    struct transport_events events = contract_events(&c->server);
    assert_int_equal(transport_ring_server_new(own->loop, own->path, &events, &c->server.transport),
                     0);
}

static void pump(struct contract *c)
{
    struct own *own = c->own;
    if (own->loop != NULL) {
        assert_true(loop_turn(own->loop, NS_PER_MS) >= 0);
        return;
    }
    int moved = 0;
    struct contract_side *sides[1 + CONTRACT_CLIENTS] = {&c->server};
    for (unsigned i = 0; i < CONTRACT_CLIENTS; i++) {
        sides[1 + i] = &c->clients[i];
    }
    for (unsigned i = 0; i < ARRAY_SIZE(sides); i++) {
        struct transport *t = sides[i]->transport;
        int n = t != NULL ? t->ops->turn(t) : 0;
        assert_true(n >= 0);
        moved += n;
    }
    if (moved == 0) {
        sched_yield();
    }
}

/* Connecting waits for the server's answer, and the server is on this thread: so another one
 * connects. */
struct dialing {
    const char *path;
    struct ring_channel channel;
    int socket, err;
    _Atomic bool done;
};

static void *dial_run(void *arg)
{
    struct dialing *d = arg;
    d->err = ring_connect(d->path, NULL, CONTRACT_DEADLINE_NS, &d->channel, &d->socket);
    atomic_store(&d->done, true);
    return NULL;
}

static void dial(struct contract *c, struct dialing *d)
{
    pthread_t thread;
    *d = (struct dialing){.path = ((struct own *)c->own)->path};
    assert_int_equal(pthread_create(&thread, NULL, dial_run, d), 0);
    while (!atomic_load(&d->done)) {
        pump(c);
    }
    pthread_join(thread, NULL);
    assert_int_equal(d->err, 0);
}

static void start_client(struct contract *c, unsigned i)
{
    struct own *own = c->own;
    struct dialing d;
    dial(c, &d);
    struct transport_events events = contract_events(&c->clients[i]);
    assert_int_equal(transport_ring_client_adopt(own->loop, &d.channel, d.socket, &events,
                                                 &c->clients[i].transport),
                     0);
}

/* Connects without a greeting, and says something else. */
static void wrong_greeting(struct contract *c, const void *data, size_t size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, ((struct own *)c->own)->path, strlen(((struct own *)c->own)->path));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_true(size == 0 || send(fd, data, size, MSG_NOSIGNAL) == (ssize_t)size);
    pump(c);
    close(fd);
}

static void scribble(struct contract *c, size_t at, uint64_t word)
{
    struct dialing d;
    dial(c, &d);
    memcpy((uint8_t *)d.channel.segment + at, &word, sizeof word);
    assert_true(ring_send(&d.channel, bytes_of("broken", 6)) == 0);
    int err = ring_flush(&d.channel);
    assert_true(err == 0 || err == -EPROTO);
    memcpy((uint8_t *)d.channel.segment + at, &word, sizeof word);
    uint64_t one = 1;
    assert_int_equal(write(d.channel.doorbell_theirs, &one, sizeof one), sizeof one);
    uint64_t deadline_ns = clock_now_ns() + CONTRACT_DEADLINE_NS;
    struct transport_ring_counts counts;
    do {
        pump(c);
        transport_ring_count(c->server.transport, &counts);
        assert_true(clock_now_ns() < deadline_ns);
    } while (counts.broken == ((struct own *)c->own)->broken);
    ((struct own *)c->own)->broken = counts.broken;
    ring_fini(&d.channel);
    close(d.socket);
}

static bool garbage(struct contract *c, unsigned round)
{
    static const uint8_t noise[64] = {1, 2, 3};
    struct dialing d;
    switch (round) {
    case 0:
        wrong_greeting(c, noise, sizeof noise);
        return true;
    case 1:
        wrong_greeting(c, noise, 0);
        return true;
    case 2: /* a tail far beyond the ring */
        scribble(c, 0, 1ull << 40);
        return true;
    case 3: /* a tail within a record */
        scribble(c, 0, 3);
        return true;
    case 4: /* a record longer than what was written */
        scribble(c, 4096, 1ull << 60 | 60000);
        return true;
    case 5: /* one of an unknown kind */
        scribble(c, 4096, 15ull << 60);
        return true;
    case 6: /* more on the socket, where nothing belongs any more */
        dial(c, &d);
        assert_int_equal(send(d.socket, noise, sizeof noise, MSG_NOSIGNAL), sizeof noise);
        pump(c);
        ring_fini(&d.channel);
        close(d.socket);
        return true;
    default:
        return false;
    }
}

#define RING_FIXTURE(title, maker)                                                                 \
    {                                                                                              \
        .name = (title), .message_max = MESSAGE_MAX, .make = (maker), .destroy = destroy,          \
        .start_server = start_server, .start_client = start_client, .pump = pump,                  \
        .garbage = garbage                                                                         \
    }

static const struct contract_fixture turns = RING_FIXTURE("ring", make_turns);
static const struct contract_fixture looped = RING_FIXTURE("ring on a loop", make_loop);

int main(void)
{
    const struct contract_fixture *const fixtures[] = {&turns, &looped};
    return contract_run(fixtures, ARRAY_SIZE(fixtures));
}
