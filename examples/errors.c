/*
 * What can go wrong, and what a careful program sees of it. An error is a result like any other: it
 * waits in the reference, travels through the tasks that need it, and is told by get.
 *
 *     errors          what is the same in all modes
 *     errors crash    tasks that crash or are cancelled (with DRT_MODE=sync the program itself
 * does)
 */
#include <drt/drt.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { NO_SUCH_HOST = 7 }; /* this program's own numbers */

/* Works at its n-th attempt. */
DRT_TASK(flaky, call, DRT_I64)
{
    unsigned attempt = drt_attempt(call);

    if (attempt < (uint64_t)drt_arg_i64(call, 0)) {
        return drt_fail(call, NO_SUCH_HOST, "attempt %u found no host", attempt);
    }
    return drt_return(call, drt_i64(attempt));
}

DRT_TASK(add_one, call, DRT_I64)
{
    return drt_return(call, drt_i64(drt_arg_i64(call, 0) + 1));
}

/* Takes so many milliseconds, and looks now and then whether anybody still wants the result. */
DRT_TASK(slow, call, DRT_I64)
{
    const struct timespec millisecond = {0, 1000000};
    int64_t i;

    for (i = 0; i < drt_arg_i64(call, 0) && !drt_cancelled(call); i++) {
        nanosleep(&millisecond, NULL);
    }
    return drt_return(call, drt_i64(i));
}

DRT_TASK(crash, call, DRT_I64)
{
    raise((int)drt_arg_i64(call, 0));
    return 0;
}

/* Waits for it and says what became of it. */
static void report(const char *what, struct drt_ref ref)
{
    struct drt_error e;
    int rc = drt_error_of(ref, &e);

    switch (rc) {
    case DRT_OK:
        printf("%-9s has a value\n", what);
        break;
    case DRT_E_FAILED:
        printf("%-9s failed in %s, %u tasks above (code %d, %u attempts): %s\n", what, e.task,
               (unsigned)e.depth, e.app_code, (unsigned)e.attempts, e.message);
        break;
    case DRT_E_CRASHED:
        printf("%-9s crashed with signal %d (%u attempts)\n", what, e.signal, (unsigned)e.attempts);
        break;
    default:
        printf("%-9s ends with %s\n", what, drt_code_name(rc));
        break;
    }
    drt_release(&ref);
}

static void failures(void)
{
    struct drt_ref works =
        drt_submit(flaky, drt_i64(3),
                   DRT_WITH(.retry_on_error = true, .max_attempts = 5, .backoff = drt_ms(10)));
    struct drt_ref fails =
        drt_submit(flaky, drt_i64(9),
                   DRT_WITH(.retry_on_error = true, .max_attempts = 2, .backoff = drt_ms(10)));
    struct drt_ref above = drt_submit(add_one, drt_of(fails));

    report("works", works);
    report("above", above); /* tells who failed first */
    report("fails", fails);
    report("deadline", drt_submit(slow, drt_i64(200), DRT_WITH(.timeout = drt_ms(20))));
}

/* Misuse is an error, too, with a sentence. */
static void mistakes(void)
{
    struct drt_value text = drt_str("20"); /* drt_submit(slow, drt_str("20")) would not compile */
    struct drt_ref number = drt_put(drt_i64(42)), same = number;
    const char *ret_text;
    int64_t value = 0;

    report("kinds", drt_submit_array(slow, &text, 1));
    report("arity", drt_submit_array(slow, &text, 0));
    if (drt_get_str(number, &ret_text) != 0 && drt_get_i64(number, &value) == 0) {
        printf("number    is no text, but %d\n", (int)value);
    }
    drt_release(&number);
    if (drt_get_i64(same, &value) != 0) {
        printf("gone      was released, so it is refused\n");
    }
}

/* What sync mode cannot show: there a crash is the program's own, and all CPUs are one. */
static void deaths(void)
{
    report("crash",
           drt_submit(crash, drt_i64(SIGSEGV), DRT_WITH(.max_attempts = 2, .backoff = drt_ms(10))));

    report("greedy", drt_submit(add_one, drt_i64(1), DRT_WITH(.num_cpus = 100000)));

    struct drt_ref late = drt_submit(slow, drt_i64(60000));
    if (drt_await(late, drt_ms(50)) == DRT_E_TIMEOUT) { /* our own patience; the task goes on */
        printf("late      is not there after 50 ms\n");
        drt_check(drt_cancel(late, DRT_CANCEL_RECURSIVE));
    }
    report("late", late);
}

int main(int argc, char **argv)
{
    if (drt_init(DRT_CONFIG(.job_name = "errors", .timeout = drt_seconds(5))) != 0) {
        fprintf(stderr, "errors: %s\n", drt_last_error());
        return 1;
    }
    if (argc > 1 && strcmp(argv[1], "crash") == 0) {
        deaths();
    } else {
        failures();
        mistakes();
    }
    drt_shutdown();
    return 0;
}
