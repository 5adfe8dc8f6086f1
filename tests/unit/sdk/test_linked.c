/*
 * libdrt as a driver against a fake raylet over a real ring: what is asked when, credit,
 * cancelling, references, and what remains when the raylet dies.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "drt/drt.h"
#include "sdk/runtime.h"
#include "tests/unit/sdk/fake_raylet.h"

DRT_TASK(add_one, call, DRT_I64)
{
    return 0;
}
DRT_TASK(twice, call, DRT_I64)
{
    return 0;
}
DRT_TASK(failing, call)
{
    return 0;
}
DRT_TASK(never, call, DRT_REST(DRT_ANY))
{
    return 0;
}
DRT_TASK(large, call, DRT_I64)
{
    return 0;
}
DRT_TASK(prints, call)
{
    return 0;
}
DRT_TASK(boxed, call)
{
    return 0;
}
DRT_TASK(echo, call, DRT_BYTES)
{
    return 0;
}

static struct fake_raylet *raylet;

static void start(const struct fake_options *options)
{
    raylet = fake_raylet_start(options);
    assert_int_equal(drt_init(NULL), 0);
}

static void stop(void)
{
    drt_shutdown();
    fake_raylet_stop(raylet);
}

static void test_results(void **state)
{
    struct drt_ref two[2], one;
    struct drt_error e;
    int64_t x = 0, y = 0;
    start(NULL);
    assert_int_equal(drt_current_mode(), DRT_MODE_CLUSTER);
    assert_true(drt_is_distributed());
    one = drt_submit(add_one, drt_i64(41));
    assert_int_equal(drt_get_i64(one, &x), 0);
    assert_int_equal(x, 42);
    drt_submit_into(two, 2, twice, drt_of(one));
    assert_int_equal(drt_get_i64(two[1], &y), 0);
    assert_int_equal(y, 84);
    assert_int_equal(drt_kind_of(two[1]), DRT_I64);
    struct drt_ref bad = drt_submit(failing);
    assert_int_equal(drt_error_of(bad, &e), DRT_E_FAILED);
    assert_int_equal(e.app_code, 7);
    assert_string_equal(e.message, "it failed as it should");
    const char *text;
    assert_int_equal(drt_get_str(one, &text), DRT_E_SIGNATURE);
    assert_non_null(strstr(drt_last_error(), "an i64"));
    stop();
}

/* A loop of gets is one message for each 1,024, and each object is asked for once. */
static void test_gets_are_batched(void **state)
{
    enum { N = 3000 };
    static struct drt_ref refs[N];
    int64_t x;
    start(NULL);
    for (int i = 0; i < N; i++) {
        refs[i] = drt_submit(add_one, drt_i64(i));
    }
    for (int i = 0; i < N; i++) {
        assert_int_equal(drt_get_i64(refs[i], &x), 0);
        assert_int_equal(x, i + 1);
    }
    struct raylet_counts c = fake_raylet_count(raylet);
    assert_int_equal(c.submits, N);
    assert_int_equal(c.classes, 1);
    assert_int_equal(c.asked, N);
    assert_int_equal(c.gets, 3);
    drt_release_all(refs, N);
    assert_true(drt_is_none(refs[17]));
    drt_release(&refs[17]);
    stop();
}

static void test_releases_are_batched(void **state)
{
    enum { N = 1280 };
    start(NULL);
    for (int i = 0; i < N; i++) {
        struct drt_ref r = drt_submit(add_one, drt_i64(i));
        drt_release(&r);
    }
    assert_true(fake_raylet_await_released(raylet, N));
    assert_int_equal(fake_raylet_count(raylet).releases, N / 128);
    assert_int_equal(runtime.objects.used, 0);
    /* Fewer go with the next thing that waits. */
    struct drt_ref a = drt_submit(add_one, drt_i64(1)), b = drt_submit(add_one, drt_i64(2));
    int64_t x;
    drt_release(&a);
    assert_int_equal(drt_get_i64(b, &x), 0);
    assert_true(fake_raylet_await_released(raylet, N + 1));
    stop();
}

static void test_large_values(void **state)
{
    struct drt_bytes view;
    start(NULL);
    struct drt_ref r = drt_submit(large, drt_i64(500000));
    assert_int_equal(drt_await(r, drt_forever()), 0);
    assert_int_equal(drt_get_nothing(r), 0);
    assert_int_equal(fake_raylet_count(raylet).wholes, 0); /* only announced so far */
    assert_int_equal(drt_get_bytes(r, &view), 0);
    assert_int_equal(view.size, 500000);
    assert_int_equal((uintptr_t)view.data % 64, 0);
    assert_int_equal(fake_raylet_count(raylet).wholes, 1);
    drt_release(&r); /* at once: it is large */
    assert_true(fake_raylet_await_released(raylet, 1));

    static uint8_t bytes[1u << 20]; /* the largest, as an argument: several records of the ring */
    bytes[12345] = 7;
    r = drt_submit(echo, drt_bytes(bytes, sizeof bytes));
    assert_int_equal(drt_get_bytes(r, &view), 0);
    assert_int_equal(view.size, sizeof bytes);
    assert_memory_equal(view.data, bytes, sizeof bytes);
    r = drt_submit(echo, drt_bytes(bytes, sizeof bytes + 1));
    assert_int_equal(drt_get_nothing(r), DRT_E_TOO_LARGE);
    r = drt_put(drt_bytes(bytes, sizeof bytes));
    assert_int_equal(drt_get_bytes(r, &view), 0);
    assert_memory_equal(view.data, bytes, sizeof bytes);
    r = drt_put(drt_i64(5));
    int64_t x;
    uint64_t gets = fake_raylet_count(raylet).gets;
    assert_int_equal(drt_get_i64(r, &x), 0);
    assert_int_equal(x, 5);
    assert_int_equal(fake_raylet_count(raylet).gets, gets); /* what was put small is known */
    stop();
}

static void test_waits(void **state)
{
    struct drt_ref refs[4] = {{{0, 0}}};
    bool ready[4];
    size_t n, at;
    start(NULL);
    refs[0] = drt_submit(never);
    refs[2] = drt_submit(add_one, drt_i64(1));
    assert_int_equal(drt_await(refs[0], drt_ms(5)), DRT_E_TIMEOUT);
    assert_int_equal(drt_wait(refs, 4, 1, drt_forever(), ready, &n), 0);
    assert_int_equal(n, 1);
    assert_true(ready[2] && !ready[0] && !ready[1]);
    assert_int_equal(drt_wait(refs, 4, 2, drt_ms(5), ready, &n), DRT_E_TIMEOUT);
    assert_int_equal(n, 1);
    assert_int_equal(drt_wait(refs, 4, 3, drt_ms(5), ready, &n), -EINVAL);
    assert_int_equal(drt_wait_any(refs, 4, drt_forever(), &at), 0);
    assert_int_equal(at, 2);
    drt_release(&refs[2]);
    assert_int_equal(drt_wait_any(refs, 4, drt_ms(5), &at), DRT_E_TIMEOUT);
    fake_raylet_settle(raylet);
    assert_int_equal(drt_wait_any(refs, 4, drt_forever(), &at), 0);
    assert_int_equal(at, 0);
    drt_release(&refs[0]);
    assert_int_equal(drt_wait_any(refs, 4, drt_forever(), &at), DRT_E_DONE);
    stop();
}

static void test_cancel(void **state)
{
    start(NULL);
    struct drt_ref r = drt_submit(never);
    assert_int_equal(drt_cancel(r, DRT_CANCEL_FORCE | DRT_CANCEL_RECURSIVE), 0);
    assert_int_equal(drt_get_nothing(r), DRT_E_CANCELLED);
    assert_int_equal(drt_cancel(r, DRT_CANCEL_ASK), DRT_E_DONE);
    assert_int_equal(drt_cancel(r, 64), -EINVAL);
    stop();
}

static void test_references(void **state)
{
    struct drt_ref kept;
    int64_t x;
    start(NULL);
    DRT_SCOPE
    {
        struct drt_ref a = drt_submit(add_one, drt_i64(1)), b = drt_share(a), gone = a;
        kept = drt_keep(drt_submit(add_one, drt_i64(2)));
        drt_release(&a);
        assert_int_equal(drt_get_i64(gone, &x), -EBADF); /* this hold is gone */
        assert_int_equal(drt_get_i64(b, &x), 0);         /* the other is not */
        struct drt_ref c = drt_submit(add_one, drt_give(&b));
        assert_true(drt_is_none(b));
        assert_int_equal(drt_get_i64(c, &x), 0);
        assert_int_equal(x, 3);
        /* A given reference is gone, also with a call that was refused. */
        struct drt_value wrong[2] = {drt_give(&c), drt_i64(1)};
        assert_int_equal(drt_get_nothing(drt_submit_array(add_one, wrong, 2)), DRT_E_SIGNATURE);
    }
    assert_int_equal(runtime.objects.used, 1);
    assert_int_equal(drt_get_i64(kept, &x), 0);
    assert_int_equal(x, 3);
    struct drt_ref old = kept;
    drt_release(&kept);
    kept = drt_submit(add_one, drt_i64(5)); /* in the same slot */
    assert_int_equal(old.opaque_[0], kept.opaque_[0]);
    assert_int_equal(drt_get_i64(old, &x), -EBADF);
    assert_int_equal(drt_get_nothing(drt_submit(add_one, drt_of(old))), -EBADF);
    stop();
}

static bool released_in_time(uint64_t n)
{
    return fake_raylet_await_released(raylet, n);
}

static void *releaser(void *arg)
{
    uint64_t until = clock_now_ns() + 30 * NS_PER_MS;
    while (clock_now_ns() < until) {
        sched_yield();
    }
    fake_raylet_settle(raylet);
    return arg;
}

/* Out of credit a submit waits while something unfinished can still free some; else it is full. */
static void test_credit(void **state)
{
    enum { N = 10 };
    struct drt_ref refs[N + 1];
    pthread_t thread;
    struct fake_options options = {.credit_bytes = N * 256};
    start(&options);
    for (int i = 0; i < N; i++) {
        refs[i] = drt_submit(never);
    }
    pthread_create(&thread, NULL, releaser, NULL);
    uint64_t before = clock_now_ns();
    refs[N] = drt_submit(never);
    assert_true(clock_now_ns() - before > 5 * NS_PER_MS);
    pthread_join(thread, NULL);
    fake_raylet_settle(raylet);
    assert_int_equal(drt_get_nothing(refs[N]), 0);
    assert_int_equal(fake_raylet_count(raylet).submits, N + 1);
    stop();

    options.keep_credit = true;
    start(&options);
    for (int i = 0; i < N; i++) {
        refs[i] = drt_submit(never);
    }
    fake_raylet_settle(raylet);
    refs[N] = drt_submit(never);
    assert_int_equal(drt_get_nothing(refs[N]), DRT_E_FULL);
    assert_non_null(strstr(drt_last_error(), "release references"));
    drt_release_all(refs, N + 1);
    refs[0] = drt_submit(add_one, drt_i64(1));
    assert_int_equal(drt_get_nothing(refs[0]), 0);
    assert_true(released_in_time(N));
    stop();
}

static void *dying(void *arg)
{
    uint64_t until = clock_now_ns() + 20 * NS_PER_MS;
    while (clock_now_ns() < until) {
        sched_yield();
    }
    fake_raylet_die(raylet);
    return arg;
}

/* Blocked calls, too, and all after them. */
static void test_raylet_dies(void **state)
{
    pthread_t thread;
    int64_t x;
    start(NULL);
    struct drt_ref here = drt_submit(add_one, drt_i64(1)), r = drt_submit(never);
    assert_int_equal(drt_get_i64(here, &x), 0);
    pthread_create(&thread, NULL, dying, NULL);
    assert_int_equal(drt_get_nothing(r), DRT_E_DISCONNECTED);
    pthread_join(thread, NULL);
    assert_int_equal(drt_get_nothing(drt_submit(add_one, drt_i64(1))), DRT_E_DISCONNECTED);
    assert_int_equal(drt_get_nothing(drt_put(drt_i64(1))), DRT_E_DISCONNECTED);
    assert_int_equal(drt_await(r, drt_ms(1)), DRT_E_DISCONNECTED);
    size_t at;
    assert_int_equal(drt_wait_any(&r, 1, drt_forever(), &at), DRT_E_DISCONNECTED);
    assert_int_equal(drt_cancel(r, 0), DRT_E_DISCONNECTED);
    assert_true(drt_total("CPU") == 0);
    drt_release(&r);
    stop();
}

/* What was submitted in vain is not what it fails for. */
static void test_a_raylet_that_is_gone_is_not_full(void **state)
{
    struct fake_options options = {.credit_bytes = 100 * 256};

    start(&options);
    struct drt_ref r = drt_submit(never);
    fake_raylet_die(raylet);
    assert_int_equal(drt_get_nothing(r), DRT_E_DISCONNECTED);
    for (int i = 0; i < 300; i++) {
        struct drt_ref next = drt_submit(add_one, drt_i64(1)), put = drt_put(drt_i64(1));
        assert_int_equal(drt_get_nothing(next), DRT_E_DISCONNECTED);
        assert_int_equal(drt_get_nothing(put), DRT_E_DISCONNECTED);
    }
    stop();
}

static void *interrupter(void *arg)
{
    uint64_t until = clock_now_ns() + 20 * NS_PER_MS;
    while (clock_now_ns() < until) {
        sched_yield();
    }
    drt_interrupt();
    return arg;
}

static void test_interrupt(void **state)
{
    pthread_t thread;
    start(NULL);
    struct drt_ref r = drt_submit(never);
    pthread_create(&thread, NULL, interrupter, NULL);
    assert_int_equal(drt_get_nothing(r), -EINTR);
    pthread_join(thread, NULL);
    assert_int_equal(drt_await(r, drt_ms(1)), DRT_E_TIMEOUT);
    stop();
}

static void test_nodes(void **state)
{
    struct drt_node nodes[2];
    size_t n;
    start(NULL);
    assert_int_equal(drt_nodes(nodes, 2, &n), 0);
    assert_int_equal(n, 2);
    assert_string_equal(nodes[0].name, "one");
    assert_true(nodes[0].alive && !nodes[1].alive);
    assert_true(nodes[0].cpus_total == 4 && nodes[0].cpus_available == 3);
    assert_int_equal(nodes[0].memory_total_bytes, 1024);
    assert_true(drt_total("CPU") == 4); /* of what is alive */
    assert_true(drt_available("disk") == 2);
    assert_true(drt_total("tape") == 0);
    stop();
}

static void told(struct raylet_counts *c, struct drt_ref ref)
{
    int64_t x;
    assert_int_equal(drt_get_i64(ref, &x), 0);
    *c = fake_raylet_count(raylet);
}

/* What is asked of a node is part of the class; equal wishes are one. */
static void test_placement(void **state)
{
    struct raylet_counts c;
    char name[] = "box-2";
    start(NULL);
    assert_string_equal(drt_node_name(), "one");
    told(&c, drt_submit(add_one, drt_i64(1)));
    assert_true(c.classes == 1 && c.strategy == 0 && c.node[0] == '\0' && c.labels[0] == '\0');
    told(&c, drt_submit(add_one, drt_i64(1), DRT_WITH(.strategy = DRT_SPREAD)));
    assert_true(c.classes == 2 && c.strategy == 1);
    told(&c, drt_submit(add_one, drt_i64(1), DRT_WITH(.strategy = DRT_LOAD_BALANCED)));
    assert_true(c.classes == 3 && c.strategy == 2);
    told(&c,
         drt_submit(add_one, drt_i64(1), DRT_WITH(.strategy = DRT_NODE_SPECIFIC, .node = name)));
    assert_true(c.classes == 4 && c.strategy == 3 && !c.soft);
    assert_string_equal(c.node, "box-2");
    name[4] = '3'; /* the class kept its own */
    told(&c,
         drt_submit(add_one, drt_i64(1), DRT_WITH(.strategy = DRT_NODE_SPECIFIC, .node = name)));
    assert_int_equal(c.classes, 5);
    assert_string_equal(c.node, "box-3");
    told(&c,
         drt_submit(add_one, drt_i64(1),
                    DRT_WITH(.strategy = DRT_NODE_SPECIFIC, .node = "box-2", .labels = "a=b,c=")));
    assert_int_equal(c.classes, 6);
    assert_string_equal(c.labels, "a=b,c=");
    told(&c, drt_submit(add_one, drt_i64(1),
                        DRT_WITH(.strategy = DRT_NODE_SPECIFIC, .soft = true, .labels = "a=b,c=")));
    assert_true(c.classes == 7 && c.soft && c.node[0] == '\0');
    told(&c, drt_submit(add_one, drt_i64(1), DRT_WITH(.strategy = DRT_SPREAD, .node = "")));
    told(&c,
         drt_submit(add_one, drt_i64(1), DRT_WITH(.strategy = DRT_NODE_SPECIFIC, .node = "box-2")));
    assert_int_equal(c.classes, 7);
    stop();
    assert_string_equal(drt_node_name(), "");
}

/* References inside values: declared where they are put, held through the value they are read of.
 */
static void test_inside(void **state)
{
    struct raylet_counts c;
    size_t n;
    int64_t x;
    start(NULL);
    struct drt_ref one = drt_submit(add_one, drt_i64(1)), two[2] = {one, drt_put(drt_i64(2))};
    struct drt_ref box = drt_put_holding(drt_str("x"), two, 2);
    assert_int_equal(drt_inner_count(box, &n), 0);
    assert_int_equal(n, 2);
    struct drt_ref inner = drt_inner(box, 0); /* held already: no message */
    assert_int_equal(drt_get_i64(inner, &x), 0);
    assert_int_equal(x, 2);
    c = fake_raylet_count(raylet);
    assert_true(c.put_refs == 2 && c.put_ref.number == 1 && c.holds == 0);

    box = drt_submit(boxed);
    for (uint64_t i = 1; i <= 3; i++) {
        inner = drt_inner(box, 0);
        struct drt_ref again = drt_inner(box, 0);
        assert_int_equal(drt_get_i64(inner, &x), 0);
        assert_int_equal(x, 77);
        c = fake_raylet_count(raylet);
        assert_true(c.holds == i && object_id_equal(c.held, FAKE_INNER));
        assert_true(c.through.number == 4 && c.through.client == 7);
        drt_release(&inner); /* the RELEASE comes before the next HOLD: the raylet checks */
        assert_int_equal(drt_get_i64(again, &x), 0);
        drt_release(&again);
    }
    inner = drt_inner(box, 0);
    assert_int_equal(drt_cancel(inner, 0), DRT_E_NOT_FOUND); /* the raylet was asked */
    drt_release(&box);
    assert_int_equal(drt_get_i64(inner, &x), 0); /* its own */
    stop();
}

/* What came on standard error while `run` ran. */
static void capture(void (*run)(void), char *ret, size_t size)
{
    int before = dup(1), ends[2];
    fflush(stdout);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], 1);
    close(ends[1]);
    run();
    fflush(stdout);
    dup2(before, 1);
    close(before);
    ssize_t n = read(ends[0], ret, size - 1);
    close(ends[0]);
    ret[n > 0 ? n : 0] = '\0';
}

static void print_and_get(void)
{
    int64_t x;
    assert_int_equal(drt_init(DRT_CONFIG(.logs = true)), 0);
    assert_int_equal(drt_get_i64(drt_submit(prints), &x), 0);
    drt_shutdown();
}

/* Nobody gets it: the lines are there before drt_shutdown returns. */
static void print_and_leave(void)
{
    setenv("DRT_LOGS", "1", 1);
    assert_int_equal(drt_init(NULL), 0);
    (void)drt_submit(prints);
    (void)drt_submit(prints);
    drt_shutdown();
    unsetenv("DRT_LOGS");
}

static void print_unasked(void)
{
    int64_t x;
    setenv("DRT_LOGS", "0", 1);
    assert_int_equal(drt_init(NULL), 0);
    assert_int_equal(drt_get_i64(drt_submit(prints), &x), 0); /* the line comes before it */
    drt_shutdown();
    unsetenv("DRT_LOGS");
}

static void test_logs(void **state)
{
    char text[1000];
    raylet = fake_raylet_start(NULL);
    capture(print_and_get, text, sizeof text);
    assert_string_equal(text, "(box-2 re?size) one\n(box-2 re?size) two\n");
    fake_raylet_stop(raylet);
    raylet = fake_raylet_start(NULL);
    capture(print_and_leave, text, sizeof text);
    assert_string_equal(text, "(box-2 re?size) one\n(box-2 re?size) two\n(box-2 re?size) one\n"
                              "(box-2 re?size) two\n");
    fake_raylet_stop(raylet);
    raylet = fake_raylet_start(NULL);
    capture(print_unasked, text, sizeof text);
    assert_string_equal(text,
                        "(box-2 re?size) nobody asked\n"); /* it heard that none were wanted */
    fake_raylet_stop(raylet);
}

static void test_goodbye_and_again(void **state)
{
    start(NULL);
    struct drt_ref r = drt_submit(add_one, drt_i64(1));
    assert_int_equal(drt_init(NULL), -EALREADY);
    drt_shutdown();
    int64_t x;
    assert_int_equal(drt_get_i64(r, &x), -ENOTCONN);
    assert_true(drt_is_none(drt_submit(add_one, drt_i64(1))));
    drt_shutdown();
    uint64_t deadline_ns = clock_now_ns() + 5 * NS_PER_S;
    while (fake_raylet_count(raylet).goodbyes == 0 && clock_now_ns() < deadline_ns) {
        sched_yield();
    }
    assert_int_equal(fake_raylet_count(raylet).goodbyes, 1);
    fake_raylet_stop(raylet);
    start(NULL);
    assert_int_equal(drt_get_i64(r, &x), -EBADF); /* of the former life */
    r = drt_submit(add_one, drt_i64(1));
    assert_int_equal(drt_get_i64(r, &x), 0);
    stop();
}

static void test_refusals(void **state)
{
    struct fake_options options = {.refuse = true};
    raylet = fake_raylet_start(&options);
    assert_int_equal(drt_init(NULL), DRT_E_REFUSED);
    assert_string_equal(drt_last_error(), "not today");
    fake_raylet_stop(raylet);

    options = (struct fake_options){.deaf = true};
    raylet = fake_raylet_start(&options);
    assert_int_equal(drt_init(DRT_CONFIG(.timeout = drt_ms(30))), DRT_E_TIMEOUT);
    assert_non_null(strstr(drt_last_error(), "drt status")); /* not: cancel it */
    fake_raylet_stop(raylet);
    assert_int_equal(drt_init(DRT_CONFIG(.timeout = drt_ms(30))), DRT_E_NOT_FOUND);
}

static void test_fork(void **state)
{
    int status;
    start(NULL);
    struct drt_ref r = drt_submit(add_one, drt_i64(1));
    pid_t pid = fork();
    if (pid == 0) {
        int64_t x;
        int bad = drt_get_i64(r, &x) != -ECHILD || !drt_is_none(drt_submit(never)) ||
                  drt_init(NULL) != -ECHILD;
        drt_release(&r);
        DRT_SCOPE
        {
        }
        drt_shutdown();
        _exit(bad);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(drt_get_nothing(r), 0);
    stop();
}

static void test_memory(void **state)
{
    enum { N = 200000 };
    start(NULL);
    struct drt_ref *refs = malloc(N * sizeof *refs);
    for (size_t i = 0; i < N; i++) {
        refs[i] = drt_submit(add_one, drt_i64(1));
    }
    assert_int_equal(runtime.objects.used, N);
    size_t chunks = 0;
    for (size_t i = 0; i < runtime.objects.chunk_count; i++) {
        chunks += runtime.objects.chunks[i] != NULL;
    }
    size_t bytes = chunks * CHUNK_SLOTS * sizeof(struct slot) + (runtime.objects.mask + 1) * 4u;
    assert_true(bytes / N <= 100);
    drt_release_all(refs, N);
    chunks = 0;
    for (size_t i = 0; i < runtime.objects.chunk_count; i++) {
        chunks += runtime.objects.chunks[i] != NULL;
    }
    assert_true(chunks <= 5);
    free(refs);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_gets_are_batched),
        cmocka_unit_test(test_releases_are_batched),
        cmocka_unit_test(test_large_values),
        cmocka_unit_test(test_waits),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_credit),
        cmocka_unit_test(test_raylet_dies),
        cmocka_unit_test(test_a_raylet_that_is_gone_is_not_full),
        cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_placement),
        cmocka_unit_test(test_inside),
        cmocka_unit_test(test_logs),
        cmocka_unit_test(test_goodbye_and_again),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
