#include "tests/unit/unit.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/rng.h"
#include "tests/contract/torture.h"

static void pair_make(struct ring_channel *server, struct ring_channel *client)
{
    assert_int_equal(ring_create(server), 0);
    assert_int_equal(ring_attach(client, fcntl(server->memfd, F_DUPFD_CLOEXEC, 0),
                                 fcntl(server->doorbell_mine, F_DUPFD_CLOEXEC, 0),
                                 fcntl(server->doorbell_client, F_DUPFD_CLOEXEC, 0)),
                     0);
}

static pid_t child_start(void)
{
    pid_t parent = getpid(), pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            _exit(1);
        }
    }
    return pid;
}

static void test_two_processes(void **state)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct ring_channel server, client;
        pair_make(&server, &client);
        pid_t pid = child_start();
        if (pid == 0) {
            struct torture theirs = {.channel = &client, .seed = seed, .messages = 40000};
            torture_run(&theirs);
            if (theirs.why != NULL) {
                fprintf(stderr, "client, seed %d: %s\n", (int)seed, theirs.why);
            }
            _exit(theirs.why == NULL && theirs.sleeps > 0 ? 0 : 1);
        }
        struct torture ours = {
            .channel = &server, .seed = seed + 1000, .messages = 40000, .naps = true};
        torture_run(&ours);
        int status = 0;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (ours.why != NULL || status != 0) {
            fail_msg("seed %d: %s, the other side's status %d", (int)seed,
                     ours.why != NULL ? ours.why : "fine", status);
        }
        assert_true(ours.sleeps > 0);
        ring_fini(&client);
        ring_fini(&server);
    }
}

/* One side answers at once, the other sleeps at once: so it arms its flag in the very moment in
 * which the answer is published and the flag looked at. A fence that is missing on either side
 * loses a wake-up here within thousands of rounds. */
enum { ROUNDS = 200000, PAUSE_MAX = 1500 };

NORETURN static void answer_run(struct ring_channel *c)
{
    struct arena arena = {0};
    for (;;) {
        struct bytes got;
        if (ring_receive(c, &arena, &got) == 1) {
            if (ring_send(c, got) != 0 || ring_flush(c) != 0) {
                _exit(1);
            }
            arena_reset(&arena);
        }
    }
}

static void test_no_wake_up_is_lost(void **state)
{
    struct ring_channel server, client;
    struct arena arena = {0};
    unsigned sleeps = 0;
    pair_make(&server, &client);
    pid_t pid = child_start();
    if (pid == 0) {
        answer_run(&client);
    }
    for (uint64_t i = 0; i < ROUNDS; i++) {
        struct bytes got;
        assert_int_equal(ring_send(&server, bytes_of(&i, sizeof i)), 0);
        assert_int_equal(ring_flush(&server), 0);
        for (uint64_t pause = i % PAUSE_MAX; pause > 0; pause--) {
            __asm__ volatile("" ::: "memory");
        }
        while (ring_receive(&server, &arena, &got) == 0) {
            if (ring_arm(&server)) {
                struct pollfd wait = {.fd = server.doorbell_mine, .events = POLLIN};
                assert_int_equal(poll(&wait, 1, 10000), 1);
                ring_disarm(&server);
                sleeps++;
            }
        }
        assert_memory_equal(got.data, &i, sizeof i);
        arena_reset(&arena);
    }
    assert_true(sleeps > 0);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    arena_fini(&arena);
    ring_fini(&client);
    ring_fini(&server);
}

/* For ThreadSanitizer both threads use the same mapping, so that it sees them touch the same
 * memory. */
static void *thread_run(void *arg)
{
    torture_run(arg);
    return NULL;
}

static void test_two_threads(void **state)
{
    struct ring_channel server, client;
    pair_make(&server, &client);
    struct ring_segment *own = client.segment;
    client.segment = server.segment;
    struct torture theirs = {.channel = &client, .seed = 7, .messages = 20000};
    struct torture ours = {.channel = &server, .seed = 8, .messages = 20000, .naps = true};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, thread_run, &theirs), 0);
    torture_run(&ours);
    pthread_join(thread, NULL);
    if (ours.why != NULL || theirs.why != NULL) {
        fail_msg("server: %s; client: %s", ours.why != NULL ? ours.why : "fine",
                 theirs.why != NULL ? theirs.why : "fine");
    }
    client.segment = own;
    ring_fini(&client);
    ring_fini(&server);
}

/* Writes anything anywhere, while it also speaks properly. */
NORETURN static void hostile_run(struct ring_channel *c, uint64_t seed)
{
    struct rng rng;
    struct arena arena = {0};
    rng_seed(&rng, seed);
    uint8_t *segment = (uint8_t *)c->segment, data[3000] = {0};
    for (;;) {
        c->failed = false;
        int err = ring_send(c, bytes_of(data, rng_below(&rng, sizeof data)));
        err = ring_flush(c);
        struct bytes got;
        err = ring_receive(c, &arena, &got);
        (void)err;
        if (rng_chance(&rng, 0.3)) {
            size_t at =
                (size_t)(rng_chance(&rng, 0.5) ? rng_below(&rng, 1024) : rng_below(&rng, 400000)) &
                ~7ul;
            uint64_t word =
                rng_chance(&rng, 0.5) ? rng_below(&rng, 100000) & ~7ull : rng_next(&rng);
            memcpy(segment + at, &word, 8);
        }
        if (c->queue.size > (1 << 20)) {
            buffer_fini(&c->queue);
            c->queue_sent = c->piece_sent = 0;
        }
        arena_reset(&arena);
    }
}

static unsigned honest_run(struct ring_channel *c, uint64_t end_ns)
{
    struct arena arena = {0};
    unsigned received = 0;
    for (int err = 0; err >= 0 && clock_now_ns() < end_ns;) {
        struct bytes got;
        err = ring_receive(c, &arena, &got);
        if (err == 1) {
            received++;
            assert_true(got.size <= MESSAGE_MAX);
            volatile uint8_t last = got.size != 0 ? ((const uint8_t *)got.data)[got.size - 1] : 0;
            (void)last;
            err = c->queue.size < (4u << 20) ? ring_send(c, got) : 0;
        }
        err = err >= 0 ? ring_flush(c) : err;
        if (err >= 0 && ring_arm(c)) {
            ring_disarm(c); /* never sleeps: the other side may never ring */
        }
        arena_reset(&arena);
    }
    arena_fini(&arena);
    return received;
}

static void test_hostile_process(void **state)
{
    unsigned received = 0, broken = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct ring_channel server, client;
        pair_make(&server, &client);
        pid_t pid = child_start();
        if (pid == 0) {
            hostile_run(&client, seed);
        }
        received += honest_run(&server, clock_now_ns() + 30 * NS_PER_MS);
        broken += server.failed;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        ring_fini(&client);
        ring_fini(&server);
    }
    assert_true(received > 0 && broken > 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest processes[] = {
        cmocka_unit_test(test_two_processes),
        cmocka_unit_test(test_no_wake_up_is_lost),
        cmocka_unit_test(test_hostile_process),
    };
    const struct CMUnitTest threads[] = {cmocka_unit_test(test_two_threads)};
    if (argc > 1 && strcmp(argv[1], "threads") == 0) {
        return cmocka_run_group_tests(threads, NULL, NULL);
    }
    return cmocka_run_group_tests(processes, NULL, NULL);
}
