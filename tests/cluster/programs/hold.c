/*
 * hold DIR COUNT [RESOURCE AMOUNT]: COUNT tasks, each of which writes its process id to DIR/pid.I
 * and returns when DIR/go.I or DIR/go exists. Prints a line for each result. For tests that do
 * something in the middle of a task. RESOURCE "" is none; "max_attempts=1", "spread" or "node=NAME"
 * as a last word.
 */
#include <drt/drt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static bool is_there(const char *dir, const char *name, int64_t i)
{
    char path[4096];
    snprintf(path, sizeof path, i < 0 ? "%s/%s" : "%s/%s.%" PRId64, dir, name, i);
    return access(path, F_OK) == 0;
}

DRT_TASK(wait_for_go, call, DRT_STR, DRT_I64)
{
    const char *dir = drt_arg_str(call, 0);
    const struct timespec pause = {.tv_nsec = 5000000};
    int64_t i = drt_arg_i64(call, 1);
    char path[4096], temporary[4128];

    snprintf(path, sizeof path, "%s/pid.%" PRId64, dir, i);
    snprintf(temporary, sizeof temporary, "%s.%d", path, (int)getpid());
    FILE *f = fopen(temporary, "w");
    if (f == NULL) {
        return drt_fail(call, 1, "cannot write %s", temporary);
    }
    fprintf(f, "%d\n", (int)getpid());
    fclose(f);
    printf("task %" PRId64 " waits\n", i);
    fflush(stdout);
    if (rename(temporary, path) != 0) {
        return drt_fail(call, 1, "cannot write %s", path);
    }
    while (!is_there(dir, "go", i) && !is_there(dir, "go", -1)) {
        if (drt_cancelled(call)) {
            return drt_fail(call, 2, "asked to stop");
        }
        nanosleep(&pause, NULL);
    }
    return drt_return(call, drt_i64((int64_t)drt_attempt(call)));
}

int main(int argc, char **argv)
{
    drt_init_or_exit();
    if (argc < 3) {
        return 2;
    }
    int64_t count = strtoll(argv[2], NULL, 10);
    struct drt_ref *refs = calloc((size_t)count, sizeof *refs);
    struct drt_options options = *DRT_OPTIONS(.name = "held");
    struct drt_resource resources[2] = {{NULL, 0}, {NULL, 0}};
    bool failed = false;

    if (refs == NULL) {
        return 1;
    }
    if (argc > 4 && strcmp(argv[3], "memory") == 0) {
        options.memory_bytes = strtoull(argv[4], NULL, 10);
    } else if (argc > 4 && argv[3][0] != '\0') {
        resources[0] = (struct drt_resource){argv[3], strtod(argv[4], NULL)};
        options.resources = resources;
    }
    if (strcmp(argv[argc - 1], "max_attempts=1") == 0) {
        options.max_attempts = 1;
    } else if (strcmp(argv[argc - 1], "spread") == 0) {
        options.strategy = DRT_SPREAD;
    } else if (strncmp(argv[argc - 1], "node=", 5) == 0) {
        options.strategy = DRT_NODE_SPECIFIC;
        options.node = argv[argc - 1] + 5;
    }
    for (int64_t i = 0; i < count; i++) {
        refs[i] = drt_submit(wait_for_go, drt_str(argv[1]), drt_i64(i), drt_with(&options));
    }
    for (int64_t i = 0; i < count; i++) {
        struct drt_error e;
        int64_t attempt;
        int rc = drt_error_of(refs[i], &e);
        if (rc == 0 && drt_get_i64(refs[i], &attempt) == 0) {
            printf("%" PRId64 " done in attempt %" PRId64 "\n", i, attempt);
        } else {
            printf("%" PRId64 " %s signal %d exit %d attempts %u: %s\n", i, drt_code_name(rc),
                   (int)e.signal, (int)e.exit_code, (unsigned)e.attempts, e.message);
            failed = true;
        }
        fflush(stdout);
    }
    free(refs);
    drt_shutdown();
    return failed;
}
