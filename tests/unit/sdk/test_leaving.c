/*
 * Threads that leave a call of drt otherwise than by its return: cancelled, by pthread_exit or a
 * longjmp in a signal handler; and signals that only interrupt. Nothing hangs, and other threads go
 * on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "drt/drt.h"
#include "sdk/runtime.h"
#include "tests/unit/sdk/fake_raylet.h"

#define LIMIT_S 20

DRT_TASK(add_one, call, DRT_I64)
{
    return 0;
}
DRT_TASK(never, call)
{
    return 0;
}

static struct fake_raylet *raylet;

static void start(void)
{
    alarm(LIMIT_S); /* nothing hangs */
    raylet = fake_raylet_start(NULL);
    assert_int_equal(drt_init(NULL), 0);
}

static void stop(void)
{
    drt_shutdown();
    fake_raylet_stop(raylet);
    alarm(0);
}

/* A whole round trip. */
static int64_t add(int64_t x)
{
    int64_t sum = -1;
    struct drt_ref r = drt_submit(add_one, drt_i64(x));
    if (drt_get_i64(r, &sum) != 0) {
        sum = -1;
    }
    drt_release(&r);
    return sum;
}

struct thread {
    pthread_t id;
    struct drt_ref ref;
    int rc;
    _Atomic pid_t tid;
    atomic_int state; /* 1: about to wait, 2: it left in another way */
};

static void await_state(struct thread *t, int state)
{
    while (atomic_load(&t->state) != state) {
        sched_yield();
    }
}

/* Until so many threads wait in the link, the leader asleep. */
static void await_waiters(uint32_t count)
{
    for (;;) {
        runtime_lock();
        uint32_t n = runtime.link.followers + (runtime.link.leading && runtime.link.asleep);
        runtime_unlock();
        if (n == count) {
            return;
        }
        sched_yield();
    }
}

static void *wait_for_ever(void *arg)
{
    struct thread *t = arg;
    int64_t x;
    atomic_store(&t->tid, (pid_t)syscall(SYS_gettid));
    atomic_store(&t->state, 1);
    t->rc = -1;
    t->rc = drt_get_i64(t->ref, &x);
    return NULL;
}

static void begin(struct thread *t, void *(*fn)(void *))
{
    t->ref = drt_submit(never);
    assert_int_equal(pthread_create(&t->id, NULL, fn, t), 0);
}

static void expect_cancelled(struct thread *t)
{
    void *end;
    assert_int_equal(pthread_join(t->id, &end), 0);
    assert_ptr_equal(end, PTHREAD_CANCELED);
}

/* Of four that wait each is cancelled in turn, the leader among them; the rest gets its result. */
static void test_waits_are_cancellation_points(void **state)
{
    for (size_t first = 0; first < 4; first++) {
        struct thread threads[4] = {{0}};
        start();
        for (size_t i = 0; i < 4; i++) {
            begin(&threads[i], wait_for_ever);
        }
        await_waiters(4);
        for (size_t i = 0; i < 3; i++) {
            struct thread *t = &threads[(first + i) % 4];
            assert_int_equal(pthread_cancel(t->id), 0);
            expect_cancelled(t);
            assert_int_equal(add(7), 8);
        }
        fake_raylet_settle(raylet);
        struct thread *last = &threads[(first + 3) % 4];
        assert_int_equal(pthread_join(last->id, NULL), 0);
        assert_int_equal(last->rc, 0);
        assert_int_equal(runtime.link.followers, 0);
        stop();
    }
}

/* How often a thread went to sleep. */
static long count_sleeps(const struct thread *t)
{
    char path[64], line[128];
    long n = -1;
    snprintf(path, sizeof path, "/proc/self/task/%d/status", (int)atomic_load(&t->tid));
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        (void)sscanf(line, "voluntary_ctxt_switches: %ld", &n);
    }
    fclose(f);
    assert_true(n >= 0);
    return n;
}

/* While nothing comes all stay asleep: a follower looks again only while a leader polls. */
static void test_who_waits_sleeps(void **state)
{
    struct thread threads[4] = {{0}};
    long before[4];
    start();
    for (uint32_t i = 0; i < 4; i++) { /* the first one leads */
        begin(&threads[i], wait_for_ever);
        await_waiters(i + 1);
    }
    for (size_t i = 0; i < 4; i++) {
        before[i] = count_sleeps(&threads[i]);
    }
    assert_int_equal(drt_await(threads[0].ref, drt_ms(2500)), DRT_E_TIMEOUT);
    for (size_t i = 0; i < 4; i++) {
        assert_in_range(count_sleeps(&threads[i]) - before[i], 0, 1); /* it had not yet slept */
    }
    fake_raylet_settle(raylet);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i].id, NULL), 0);
        assert_int_equal(threads[i].rc, 0);
    }
    stop();
}

/* drt_shutdown sends away all that wait, and goes on as soon as they have gone. */
static void test_shutdown_while_many_wait(void **state)
{
    enum { WAITERS = 16, ROUNDS = 6 };
    struct thread threads[WAITERS] = {{0}};
    uint64_t took_ns = 0;
    for (int round = 0; round < ROUNDS; round++) {
        start();
        for (uint32_t i = 0; i < WAITERS; i++) {
            begin(&threads[i], wait_for_ever);
        }
        await_waiters(WAITERS);
        uint64_t before_ns = clock_now_ns();
        drt_shutdown();
        took_ns += clock_now_ns() - before_ns;
        for (uint32_t i = 0; i < WAITERS; i++) {
            assert_int_equal(pthread_join(threads[i].id, NULL), 0);
            assert_int_equal(threads[i].rc, -EINTR);
        }
        stop();
    }
    assert_true(took_ns < 2 * NS_PER_S); /* a round in which it sleeps for its limit takes 1 s */
}

/* One that may not be cancelled is not. */
static void *wait_uncancelled(void *arg)
{
    struct thread *t = arg;
    int64_t x;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    t->rc = drt_get_i64(t->ref, &x);
    atomic_store(&t->state, 2);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    pthread_testcancel();
    return NULL;
}

static void test_who_forbids_it_is_not_cancelled(void **state)
{
    struct thread t = {0};
    start();
    begin(&t, wait_uncancelled);
    await_waiters(1);
    pthread_cancel(t.id);
    assert_int_equal(add(1), 2);
    assert_int_equal(atomic_load(&t.state), 0);
    fake_raylet_settle(raylet);
    expect_cancelled(&t);
    assert_int_equal(atomic_load(&t.state), 2);
    assert_int_equal(t.rc, 0);
    stop();
}

/* Calls of all kinds without end, by a thread that is cancelled in the midst of them. */
static void *call_without_end(void *arg)
{
    struct thread *t = arg;
    atomic_store(&t->state, 1);
    for (int64_t i = 0;; i++) {
        struct drt_ref r = drt_submit(add_one, drt_i64(i));
        if (i % 4 == 0) {
            t->rc = drt_await(r, drt_seconds(5));
        } else if (i % 4 == 1) {
            (void)drt_total("CPU");
        } else if (i % 4 == 2) {
            (void)drt_cancel(r, 0);
        }
        drt_release(&r);
        pthread_testcancel();
    }
    return NULL;
}

static void test_cancelled_anywhere(void **state)
{
    start();
    for (int round = 0; round < 200; round++) {
        struct thread t = {0};
        begin(&t, call_without_end);
        await_state(&t, 1);
        for (int i = 0; i < round % 40; i++) {
            assert_int_equal(add(i), i + 1);
        }
        pthread_cancel(t.id);
        expect_cancelled(&t);
        assert_int_equal(add(round), round + 1);
    }
    stop();
}

/* ---- longjmp ---- */

static _Thread_local sigjmp_buf back;

static void jump_back(int signal)
{
    siglongjmp(back, 1);
}

static void *jump_out(void *arg)
{
    struct thread *t = arg;
    if (sigsetjmp(back, 1) == 0) {
        int64_t x;
        atomic_store(&t->state, 1);
        t->rc = drt_get_i64(t->ref, &x);
    } else {
        t->rc = 1000 + (int)add(41); /* it can go on */
    }
    return NULL;
}

static void on_signal(int signal, void (*fn)(int))
{
    struct sigaction action = {.sa_handler = fn};
    sigemptyset(&action.sa_mask);
    assert_int_equal(sigaction(signal, &action, NULL), 0);
}

/* Leaders and followers that leave a wait by longjmp: they can call drt again, and others go on. */
static void test_longjmp_out_of_a_wait(void **state)
{
    on_signal(SIGUSR1, jump_back);
    start();
    for (size_t first = 0; first < 4; first++) {
        struct thread threads[4] = {{0}};
        for (size_t i = 0; i < 4; i++) {
            begin(&threads[i], jump_out);
        }
        await_waiters(4);
        for (size_t i = 0; i < 4; i++) {
            struct thread *t = &threads[(first + i) % 4];
            await_waiters(4 - (uint32_t)i);
            pthread_kill(t->id, SIGUSR1);
            assert_int_equal(pthread_join(t->id, NULL), 0);
            assert_int_equal(t->rc, 1042);
            assert_int_equal(add(5), 6);
        }
    }
    fake_raylet_settle(raylet);
    stop();
    on_signal(SIGUSR1, SIG_DFL);
}

static void leave_thread(int signal)
{
    pthread_exit((void *)(intptr_t)77);
}

static void test_pthread_exit_out_of_a_wait(void **state)
{
    struct thread threads[3] = {{0}};
    on_signal(SIGUSR1, leave_thread);
    start();
    for (size_t i = 0; i < 3; i++) {
        begin(&threads[i], wait_for_ever);
    }
    await_waiters(3);
    for (size_t i = 0; i < 2; i++) {
        void *end;
        await_waiters(3 - (uint32_t)i);
        pthread_kill(threads[i].id, SIGUSR1);
        assert_int_equal(pthread_join(threads[i].id, &end), 0);
        assert_int_equal((intptr_t)end, 77);
        assert_int_equal(add(5), 6);
    }
    fake_raylet_settle(raylet);
    assert_int_equal(pthread_join(threads[2].id, NULL), 0);
    assert_int_equal(threads[2].rc, 0);
    stop();
    on_signal(SIGUSR1, SIG_DFL);
}

static volatile sig_atomic_t handled, handler_sum;

static void call_drt(int signal)
{
    handler_sum = (sig_atomic_t)add(20);
    handled++;
}

/* A handler that interrupts a wait may even call drt. */
static void test_handler_in_a_wait(void **state)
{
    struct thread threads[2] = {{0}};
    on_signal(SIGUSR1, call_drt);
    start();
    for (size_t i = 0; i < 2; i++) {
        begin(&threads[i], wait_for_ever);
    }
    await_waiters(2);
    for (int i = 0; i < 2; i++) {
        handled = 0;
        await_waiters(2);
        pthread_kill(threads[i].id, SIGUSR1);
        while (handled == 0) {
            sched_yield();
        }
        assert_int_equal(handler_sum, 21);
    }
    fake_raylet_settle(raylet);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i].id, NULL), 0);
        assert_int_equal(threads[i].rc, 0);
    }
    stop();
    on_signal(SIGUSR1, SIG_DFL);
}

/* Inside the mutex it is refused with a sentence. */
static void test_inside_the_mutex(void **state)
{
    int64_t x;
    start();
    struct drt_ref r = drt_submit(add_one, drt_i64(1));
    runtime_lock(); /* as a handler that interrupts a call finds it, or a longjmp leaves it */
    assert_int_equal(drt_get_i64(r, &x), -EDEADLK);
    assert_non_null(strstr(drt_last_error(), "drt_interrupt"));
    assert_true(drt_is_none(drt_submit(add_one, drt_i64(1))));
    assert_int_equal(drt_await(r, drt_ms(1)), -EDEADLK);
    drt_release(&r);
    drt_shutdown();
    drt_interrupt();
    runtime_unlock();
    assert_int_equal(drt_get_i64(r, &x), 0);
    assert_int_equal(x, 2);
    stop();
}

/* A leader that was made to leave while it polled. */
static void *leave_polling(void *arg)
{
    runtime_lock();
    runtime.link.leading = true; /* as in lead() */
    runtime_unlock();
    return NULL;
}

static void test_a_lost_leader_is_replaced(void **state)
{
    pthread_t id;
    start();
    assert_int_equal(pthread_create(&id, NULL, leave_polling, NULL), 0);
    assert_int_equal(pthread_join(id, NULL), 0);
    assert_int_equal(add(1), 2);
    assert_int_equal(add(2), 3);
    stop();
}

/* A timer whose handler jumps out of whatever runs. Where that holds the mutex drt is lost for this
 * process, and each call says so; else it goes on. In a process of its own. */
static int jump_without_end(void)
{
    static volatile int jumps;
    static volatile int64_t count;
    struct itimerval often = {{0, 300}, {0, 300}}, never_again = {{0, 0}, {0, 0}};
    uint64_t end_ns = clock_now_ns() + 300 * NS_PER_MS;
    if (sigsetjmp(back, 1) != 0) {
        jumps++;
    } else {
        setitimer(ITIMER_REAL, &often, NULL);
    }
    while (clock_now_ns() < end_ns) {
        struct drt_ref r = drt_submit(add_one, drt_i64(count));
        int64_t x = 0;
        int rc = drt_get_i64(r, &x);
        if (rc != 0) {
            setitimer(ITIMER_REAL, &never_again, NULL);
            return rc == -EDEADLK && strstr(drt_last_error(), "longjmp") != NULL ? 0 : 1;
        }
        if (x != count + 1) {
            return 2;
        }
        count++;
        drt_release(&r);
    }
    setitimer(ITIMER_REAL, &never_again, NULL);
    return jumps > 0 && count > 0 ? 0 : 3;
}

static void test_longjmp_out_of_anything(void **state)
{
    for (int i = 0; i < 10; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            sigset_t timer;
            alarm(LIMIT_S);
            sigemptyset(&timer);
            sigaddset(&timer, SIGALRM);
            pthread_sigmask(SIG_BLOCK, &timer, NULL); /* the raylet's thread inherits it */
            raylet = fake_raylet_start(NULL);
            if (drt_init(NULL) != 0) {
                _exit(9);
            }
            on_signal(SIGALRM, jump_back);
            pthread_sigmask(SIG_UNBLOCK, &timer, NULL);
            int r = jump_without_end();
            on_signal(SIGALRM, SIG_DFL);
            alarm(LIMIT_S);
            drt_shutdown(); /* returns, whatever it finds */
            _exit(r);
        }
        int status = -1;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
}

/* ---- signals that return ---- */

static void count_signal(int signal)
{
    handled++;
}

static void test_interrupted_calls(void **state)
{
    struct itimerval often = {{0, 200}, {0, 200}}, never_again = {{0, 0}, {0, 0}};
    sigset_t timer;
    sigemptyset(&timer);
    sigaddset(&timer, SIGPROF);
    sigaddset(&timer, SIGALRM);
    on_signal(SIGPROF, count_signal);
    start();
    handled = 0;
    setitimer(ITIMER_PROF, &often, NULL);
    for (int64_t i = 0; handled < 20; i++) {
        assert_int_equal(add(i), i + 1);
    }
    setitimer(ITIMER_PROF, &never_again, NULL);
    struct drt_ref r = drt_submit(never);
    assert_int_equal(drt_await(r, drt_ms(20)), DRT_E_TIMEOUT);
    stop();
    on_signal(SIGPROF, SIG_DFL);
}

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

int main(void)
{
#ifdef SANITIZED
    /* What it marks of a stack stays marked when a thread is unwound through functions of its
     * runtime, which then find it in their own way. */
    puts("skipped: the address sanitizer cannot follow threads that are cancelled");
    return 77;
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits_are_cancellation_points),
        cmocka_unit_test(test_who_waits_sleeps),
        cmocka_unit_test(test_shutdown_while_many_wait),
        cmocka_unit_test(test_who_forbids_it_is_not_cancelled),
        cmocka_unit_test(test_cancelled_anywhere),
        cmocka_unit_test(test_longjmp_out_of_a_wait),
        cmocka_unit_test(test_pthread_exit_out_of_a_wait),
        cmocka_unit_test(test_handler_in_a_wait),
        cmocka_unit_test(test_inside_the_mutex),
        cmocka_unit_test(test_a_lost_leader_is_replaced),
        cmocka_unit_test(test_longjmp_out_of_anything),
        cmocka_unit_test(test_interrupted_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
