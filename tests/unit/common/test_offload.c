#include "common/offload.h"

#include <pthread.h>
#include <semaphore.h>

#include "common/clock.h"
#include "tests/unit/unit.h"

#define DEADLINE_NS (20 * NS_PER_S)

struct job {
    struct offload_work work;
    int number;
    pthread_t ran_on;
    sem_t *gate; /* waited for on the thread */
    struct offload *next_on;
    struct job *next; /* submitted by done */
};

static int done_numbers[2000];
static int done_count;
static int batches;

static void run_job(struct offload_work *work)
{
    struct job *job = container_of(work, struct job, work);
    if (job->gate != NULL) {
        while (sem_wait(job->gate) != 0) {
        }
    }
    job->ran_on = pthread_self();
}

static void job_done(struct offload_work *work)
{
    struct job *job = container_of(work, struct job, work);
    done_numbers[done_count++] = job->number;
    if (job->next != NULL) {
        offload_submit(job->next_on, &job->next->work);
    }
}

static void run_jobs(struct offload_work *first, void *arg)
{
    int *largest = arg;
    int size = 0;
    for (struct offload_work *work = first; work != NULL; work = work->next) {
        run_job(work);
        size++;
    }
    batches++;
    *largest = MAX_OF(*largest, size);
}

static void wait_for(struct loop *loop, int count)
{
    uint64_t deadline = clock_now_ns() + DEADLINE_NS;
    while (done_count < count) {
        assert_true(clock_now_ns() < deadline);
        assert_true(loop_turn(loop, NS_PER_S) >= 0);
    }
}

struct fixture {
    struct loop *loop;
    struct offload *offload;
};

static int setup(void **state)
{
    static struct fixture f;
    done_count = batches = 0;
    if (loop_new(&f.loop) != 0 || offload_new(&f.offload, f.loop, "tester") != 0) {
        return -1;
    }
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    offload_free(f->offload);
    loop_free(f->loop);
    return 0;
}

static struct job job_of(int number)
{
    return (struct job){.work = {.run = run_job, .done = job_done}, .number = number};
}

static void test_in_order_on_another_thread(void **state)
{
    struct fixture *f = *state;
    static struct job jobs[1000];
    for (int i = 0; i < 1000; i++) {
        jobs[i] = job_of(i);
        offload_submit(f->offload, &jobs[i].work);
    }
    wait_for(f->loop, 1000);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(done_numbers[i], i);
        assert_false(pthread_equal(jobs[i].ran_on, pthread_self()));
    }
}

static void test_what_comes_meanwhile_is_one_batch(void **state)
{
    struct fixture *f = *state;
    static struct job jobs[101];
    sem_t gate;
    int largest = 0;
    sem_init(&gate, 0, 0);
    offload_set_batch(f->offload, run_jobs, &largest);
    jobs[0] = job_of(0);
    jobs[0].gate = &gate;
    offload_submit(f->offload, &jobs[0].work);
    for (int i = 1; i <= 100; i++) {
        jobs[i] = job_of(i);
        offload_submit(f->offload, &jobs[i].work);
    }
    sem_post(&gate);
    wait_for(f->loop, 101);
    for (int i = 0; i <= 100; i++) {
        assert_int_equal(done_numbers[i], i);
    }
    /* The first may have left alone or with some; the rest waited for the gate together. */
    assert_in_range(batches, 1, 2);
    assert_true(largest >= 51);
    sem_destroy(&gate);
}

static void test_free_finishes_what_was_given(void **state)
{
    struct loop *loop = NULL;
    struct offload *o = NULL;
    struct job first = job_of(1), second = job_of(2), third = job_of(3);
    assert_int_equal(loop_new(&loop), 0);
    assert_int_equal(offload_new(&o, loop, "tester"), 0);
    done_count = 0;
    first.next_on = second.next_on = o;
    first.next = &second; /* given when the thread has left already */
    second.next = &third;
    offload_submit(o, &first.work);
    offload_free(o);
    assert_int_equal(done_count, 3);
    assert_int_equal(done_numbers[2], 3);
    loop_free(loop);
    offload_free(NULL);
}

static void test_done_may_submit(void **state)
{
    struct fixture *f = *state;
    struct job first = job_of(1), second = job_of(2);
    first.next_on = f->offload;
    first.next = &second;
    offload_submit(f->offload, &first.work);
    wait_for(f->loop, 2);
    assert_int_equal(done_numbers[1], 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_in_order_on_another_thread, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_comes_meanwhile_is_one_batch, setup, teardown),
        cmocka_unit_test(test_free_finishes_what_was_given),
        cmocka_unit_test_setup_teardown(test_done_may_submit, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
