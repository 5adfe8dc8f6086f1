/* Several threads submit, get, wait and release at once, against the fake raylet. For the thread
 * sanitizer; the numbers are checked, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <pthread.h>

#include "drt/drt.h"
#include "sdk/runtime.h"
#include "tests/unit/sdk/fake_raylet.h"

enum { THREADS = 4, ROUNDS = 200, BURST = 20 };

DRT_TASK(add_one, call, DRT_I64)
{
    return 0;
}

static void *work(void *arg)
{
    int64_t me = (int64_t)(intptr_t)arg, sum = 0;
    for (int64_t i = 0; i < ROUNDS; i++) {
        DRT_SCOPE
        {
            struct drt_ref refs[BURST];
            for (int k = 0; k < BURST; k++) {
                refs[k] = drt_submit(add_one, drt_i64(me * 1000 + k));
            }
            size_t ready, at;
            if (i % 3 == 0 && drt_wait(refs, BURST, BURST, drt_forever(), NULL, &ready) != 0) {
                return NULL;
            }
            if (i % 3 == 1 && drt_wait_any(refs, BURST, drt_seconds(10), &at) != 0) {
                return NULL;
            }
            struct drt_ref last = drt_share(refs[0]);
            for (int k = 0; k < BURST; k++) {
                int64_t x;
                if (drt_get_i64(refs[k], &x) != 0) {
                    return NULL;
                }
                sum += x - me * 1000;
                drt_release(&refs[k]);
            }
            int64_t x;
            if (drt_get_i64(last, &x) != 0) {
                return NULL;
            }
        }
    }
    return (void *)(intptr_t)sum;
}

static void test_threads(void **state)
{
    pthread_t threads[THREADS];
    struct fake_raylet *raylet = fake_raylet_start(NULL);
    assert_int_equal(drt_init(NULL), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, work, (void *)(intptr_t)(i + 1));
    }
    for (int i = 0; i < THREADS; i++) {
        void *sum;
        pthread_join(threads[i], &sum);
        assert_int_equal((intptr_t)sum, ROUNDS * (BURST * (BURST + 1) / 2));
    }
    assert_int_equal(runtime.objects.used, 0);
    assert_int_equal(fake_raylet_count(raylet).submits, THREADS * ROUNDS * BURST);
    drt_shutdown();
    fake_raylet_stop(raylet);
}

static void *waiter(void *arg)
{
    int64_t x;
    return (void *)(intptr_t)drt_get_i64(*(struct drt_ref *)arg, &x);
}

/* A shutdown lets those go who wait in other threads. */
static void test_shutdown_beside_waiters(void **state)
{
    pthread_t threads[THREADS];
    struct fake_raylet *raylet = fake_raylet_start(NULL);
    assert_int_equal(drt_init(NULL), 0);
    struct drt_value wait_for_never[1] = {drt_i64(1)};
    struct drt_ref r = drt_submit_array(add_one, wait_for_never, 1);
    for (int i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, waiter, &r);
    }
    drt_shutdown();
    for (int i = 0; i < THREADS; i++) {
        void *rc;
        pthread_join(threads[i], &rc); /* whatever it answers: it ends */
    }
    fake_raylet_stop(raylet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_shutdown_beside_waiters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
