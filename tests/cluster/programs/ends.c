/* ends: tasks whose process ends in the middle, each way once; prints what became of each. */
#include <drt/drt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

DRT_TASK(end, call, DRT_STR, DRT_I64)
{
    const char *how = drt_arg_str(call, 0);
    if ((int64_t)drt_attempt(call) > drt_arg_i64(call, 1)) {
        return drt_return(call, drt_str("survived"));
    }
    if (strcmp(how, "crash") == 0) {
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
    } else if (strcmp(how, "kill") == 0) {
        kill(getpid(), SIGKILL);
    } else if (strcmp(how, "exit") == 0) {
        exit(7);
    }
    return drt_fail(call, 42, "failed as asked: %s", how);
}

static void report(const char *what, struct drt_ref ref)
{
    struct drt_error e;
    const char *text = "";
    int rc = drt_error_of(ref, &e);
    if (rc == 0 && drt_get_str(ref, &text) == 0) {
        printf("%s: %s\n", what, text);
    } else {
        printf("%s: %s task %s signal %d exit %d app %d attempts %u\n", what, drt_code_name(rc),
               e.task, (int)e.signal, (int)e.exit_code, (int)e.app_code, (unsigned)e.attempts);
    }
}

int main(void)
{
    drt_init_or_exit();
    const struct drt_span soon = drt_ms(10);
    report("crash", drt_submit(end, drt_str("crash"), drt_i64(9),
                               DRT_WITH(.max_attempts = 2, .backoff = soon)));
    report("kill", drt_submit(end, drt_str("kill"), drt_i64(9),
                              DRT_WITH(.max_attempts = 1, .backoff = soon)));
    report("exit", drt_submit(end, drt_str("exit"), drt_i64(9),
                              DRT_WITH(.max_attempts = 1, .backoff = soon)));
    report("fail", drt_submit(end, drt_str("fail"), drt_i64(9)));
    report("retried", drt_submit(end, drt_str("crash"), drt_i64(2), DRT_WITH(.backoff = soon)));
    report("once", drt_submit(end, drt_str("kill"), drt_i64(9), DRT_WITH(.at_most_once = true)));
    drt_shutdown();
    return 0;
}
