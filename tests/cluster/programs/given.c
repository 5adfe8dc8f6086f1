/*
 * What bodies know of their program's command line and of what it gave to all workers, and what
 * they do not know: a variable that was set behind drt_init.
 *
 *     given [ARGUMENT...]
 */
#include <drt/drt.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct settings {
    double rate;
    int64_t count;
    char name[16];
};

static const char *set_late = "nothing";

static uint64_t sum_of(const char *const *argv)
{
    uint64_t sum = 0;
    for (int i = 0; argv[i] != NULL; i++) {
        for (const char *p = argv[i]; *p != '\0'; p++) {
            sum = sum * 31 + (unsigned char)*p;
        }
    }
    return sum;
}

static void describe(char *text, size_t size)
{
    int argc;
    const char *const *argv = drt_argv(&argc);
    struct drt_bytes config = drt_job_config();
    const struct settings *s = config.data;
    snprintf(text, size, "%d arguments, the last \"%.20s\", all %llx; %s %lld %.2f", argc,
             argc > 1 ? argv[argc - 1] : "", (unsigned long long)sum_of(argv),
             config.size == sizeof *s ? s->name : "none",
             config.size == sizeof *s ? (long long)s->count : 0,
             config.size == sizeof *s ? s->rate : 0);
}

DRT_TASK(tell, call, DRT_I64)
{
    char text[300];
    if (drt_arg_i64(call, 0) > 0) { /* a task of a task knows the same */
        return drt_return(call, drt_of(drt_submit(tell, drt_i64(drt_arg_i64(call, 0) - 1))));
    }
    describe(text, sizeof text);
    return drt_return(call, drt_str(text));
}

DRT_TASK(where, call)
{
    return drt_return(call, drt_str(drt_node_name()));
}

DRT_TASK(late, call)
{
    return drt_return(call, drt_str(set_late));
}

static void print(const char *what, struct drt_ref ref)
{
    const char *text;
    drt_check(drt_get_str(ref, &text));
    printf("%s: %s\n", what, text);
}

int main(int argc, char **argv)
{
    struct settings settings = {0.25, 42, "hello"};
    char text[300], huge[8];
    (void)argv;
    drt_check(drt_init(DRT_CONFIG(.job_config = {&settings, sizeof settings})));
    set_late = "something";
    settings.count = 7; /* the bytes were copied */
    describe(text, sizeof text);
    printf("driver: %s\n", text);
    for (int i = 0; i < 6; i++) {
        print("body", drt_submit(tell, drt_i64(i % 3), DRT_WITH(.strategy = DRT_SPREAD)));
    }
    print("late", drt_submit(late));
    for (int i = 0; i < 2 && getenv("TELL_NODES") != NULL; i++) {
        print("node", drt_submit(where, DRT_WITH(.strategy = DRT_SPREAD)));
    }
    drt_shutdown();
    printf("after: %s\n", drt_argv(NULL) == NULL && drt_job_config().size == 0 ? "none" : "some");
    int rc = drt_init(DRT_CONFIG(.mode = DRT_MODE_SYNC, .job_config = {huge, (1u << 20) + 1}));
    printf("%s: %s\n", drt_code_name(rc), drt_last_error());
    return argc > 100000;
}
