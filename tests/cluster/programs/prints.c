/*
 * Bodies that print, in the ways that users know:
 *
 *   prints numbers N [spread] N tasks; each writes its number, the even ones also to standard
 *                             error, every third nothing to standard output
 *   prints dies HOW           a line without flush, then abort, _exit, kill, null or exit
 *   prints twice              the first attempt prints and dies, the second prints and returns
 *   prints family             a parent prints, has a child print, and prints again
 *   prints waits FILE WHAT    prints WHAT with no end of line, then waits for the file
 *   prints hello [off]        one line of one task, as each first program has it
 *   prints leaves             the same, and the program ends without drt_shutdown
 *   prints complains          a line on standard error, then the end
 *   prints much N             one task that writes N lines of 64 bytes
 */
#include <drt/drt.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

DRT_TASK(number, call, DRT_I64)
{
    int n = (int)drt_arg_i64(call, 0);
    if (n % 3 != 2) {
        printf("number %d\n", n);
    }
    if (n % 2 == 0) {
        fprintf(stderr, "error %d\n", n);
    }
    return drt_return(call, drt_nothing());
}

DRT_TASK(dies, call, DRT_STR)
{
    const char *how = drt_arg_str(call, 0);
    volatile int *nowhere = NULL;
    printf("last words before %s\n", how);
    printf("and half a line");
    if (strcmp(how, "abort") == 0) {
        abort();
    } else if (strcmp(how, "_exit") == 0) {
        _exit(3);
    } else if (strcmp(how, "kill") == 0) {
        raise(SIGKILL);
    } else if (strcmp(how, "exit") == 0) {
        exit(4);
    }
    *nowhere = 1;
    return drt_return(call, drt_nothing());
}

DRT_TASK(twice, call)
{
    printf("attempt %u\n", drt_attempt(call));
    if (drt_attempt(call) == 1) {
        _exit(1);
    }
    return drt_return(call, drt_nothing());
}

DRT_TASK(child, call)
{
    printf("the child\n");
    return drt_return(call, drt_nothing());
}

DRT_TASK(parent, call)
{
    printf("the parent begins\n");
    int rc = drt_get_nothing(drt_submit(child));
    printf("the parent ends\n");
    return rc != 0 ? drt_fail(call, 1, "%s", drt_last_error()) : drt_return(call, drt_nothing());
}

DRT_TASK(waits, call, DRT_STR, DRT_STR)
{
    fputs(drt_arg_str(call, 1), stdout);
    while (access(drt_arg_str(call, 0), F_OK) != 0) {
        usleep(10000);
    }
    return drt_return(call, drt_nothing());
}

DRT_TASK(hello, call)
{
    printf("hello from a task\n");
    return drt_return(call, drt_nothing());
}

DRT_TASK(complains, call)
{
    fprintf(stderr, "there is no such thing\n");
    _exit(1);
    return drt_return(call, drt_nothing());
}

DRT_TASK(much, call, DRT_I64)
{
    int64_t n = drt_arg_i64(call, 0);
    for (int64_t i = 0; i < n; i++) {
        printf("%063d\n", (int)i);
    }
    return drt_return(call, drt_nothing());
}

static int numbers(int n, const char *spread)
{
    struct drt_ref *refs = calloc((size_t)n, sizeof *refs);
    int rc = 0;
    for (int i = 0; i < n && refs != NULL; i++) {
        refs[i] = spread != NULL ? drt_submit(number, drt_i64(i), DRT_WITH(.strategy = DRT_SPREAD))
                                 : drt_submit(number, drt_i64(i));
    }
    for (int i = 0; i < n && refs != NULL && rc == 0; i++) {
        rc = drt_get_nothing(refs[i]);
    }
    free(refs);
    return rc;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "hello";
    const char *first = argc > 2 ? argv[2] : "", *second = argc > 3 ? argv[3] : NULL;
    struct drt_ref ref = {{0, 0}};
    printf("main\n");
    drt_check(
        drt_init(DRT_CONFIG(.logs = strcmp(first, "off") == 0 ? DRT_LOGS_OFF : DRT_LOGS_AUTO)));
    if (strcmp(what, "numbers") == 0) {
        drt_check(numbers((int)strtol(first, NULL, 10), second));
    } else if (strcmp(what, "dies") == 0) {
        ref = drt_submit(dies, drt_str(first), DRT_WITH(.max_attempts = 1));
    } else if (strcmp(what, "twice") == 0) {
        ref = drt_submit(twice, DRT_WITH(.max_attempts = 2));
    } else if (strcmp(what, "family") == 0) {
        ref = drt_submit(parent);
    } else if (strcmp(what, "waits") == 0) {
        ref = drt_submit(waits, drt_str(first), drt_str(second));
    } else if (strcmp(what, "complains") == 0) {
        ref = drt_submit(complains, DRT_WITH(.max_attempts = 1));
    } else if (strcmp(what, "much") == 0) {
        ref = drt_submit(much, drt_i64(strtol(first, NULL, 10)));
    } else {
        ref = drt_submit(hello);
    }
    int rc = strcmp(what, "numbers") == 0 ? 0 : drt_get_nothing(ref);
    if (rc != 0) {
        printf("%s\n", drt_last_error());
    }
    if (strcmp(what, "leaves") != 0) {
        drt_shutdown();
    }
    return 0;
}
