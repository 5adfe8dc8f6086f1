/*
 * The programs that drt-bench measures: one driver process for each row, which is its own worker,
 * too. It links nothing but libdrt, so that a worker's memory is what a user's worker has. Prints
 * lines of a name and a number.
 *
 *     drt-bench-driver OPERATION [name=value]...
 */
#include <drt/drt.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/board.h"

enum { BATCH = 1000, SAMPLES_MAX = 1 << 20 };

struct settings {
    double seconds;  /* measure at least so long */
    size_t count;    /* tasks, links, ... of one round */
    double sleep_ms; /* of one task */
    double most_ms;  /* naps: each from sleep_ms to this, at random; 0: all alike */
    int32_t strategy;
    size_t parts; /* naps: says when each of so many parts is done */
    uint64_t seed;
    size_t warm; /* tasks before anything is measured */
    struct board *board;
    const char *job_name;
    struct drt_options node;
};

/* Where the tasks of all operations but `naps` run; NULL: anywhere. */
static const struct drt_options *where;

struct samples {
    double *us;
    size_t count;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

DRT_TASK(nothing, call)
{
    return drt_return(call, drt_nothing());
}

DRT_TASK(add_one, call, DRT_I64)
{
    return drt_return(call, drt_i64(drt_arg_i64(call, 0) + 1));
}

DRT_TASK(sleep_for, call, DRT_F64)
{
    double ms = drt_arg_f64(call, 0);
    struct timespec span = {(time_t)(ms / 1e3), (long)(ms * 1e6) % 1000000000};

    nanosleep(&span, NULL);
    return drt_return(call, drt_nothing());
}

/* Where it ran, which attempt it was, and when that began. */
DRT_TASK(nap, call, DRT_F64)
{
    double ms = drt_arg_f64(call, 0);
    struct timespec span = {(time_t)(ms / 1e3), (long)(ms * 1e6) % 1000000000};
    char story[160];

    snprintf(story, sizeof story, "%.9f %u %s", now_s(), drt_attempt(call), drt_node_name());
    nanosleep(&span, NULL);
    return drt_return(call, drt_str(story));
}

DRT_TASK(put_many, call, DRT_I64)
{
    for (int64_t i = 0; i < drt_arg_i64(call, 0); i++) {
        struct drt_ref ref = drt_put(drt_i64(0));
        drt_release(&ref);
    }
    return drt_return(call, drt_nothing());
}

static void *room_for(size_t count, size_t size)
{
    void *memory = calloc(count + 1, size);
    if (memory == NULL) {
        fprintf(stderr, "drt-bench-driver: out of memory\n");
        exit(1);
    }
    return memory;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void tell(const char *name, double value)
{
    printf("%s %.9g\n", name, value);
}

static void tell_rate(double operations, double seconds)
{
    tell("per_second", operations / seconds);
    tell("seconds", seconds);
}

static void tell_samples(struct samples *s)
{
    if (s->count == 0) {
        return;
    }
    qsort(s->us, s->count, sizeof *s->us, ascending);
    tell("p50_us", s->us[s->count / 2]);
    tell("p99_us", s->us[(size_t)((double)s->count * 0.99)]);
    tell("max_us", s->us[s->count - 1]);
    tell("samples", (double)s->count);
}

static struct drt_ref submit_one(void)
{
    return where == NULL ? drt_submit(nothing) : drt_submit(nothing, drt_with(where));
}

static struct drt_ref submit_link(struct drt_value before)
{
    return where == NULL ? drt_submit(add_one, before)
                         : drt_submit(add_one, before, drt_with(where));
}

static void submit_nothing(struct drt_ref *refs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        refs[i] = submit_one();
    }
}

static void get_all(const struct drt_ref *refs, size_t count)
{
    size_t ready;

    drt_check(drt_wait(refs, count, count, drt_forever(), NULL, &ready));
    for (size_t i = 0; i < count; i++) {
        drt_check(drt_get_nothing(refs[i]));
    }
}

/* Submits `count` empty tasks, gets and releases them. */
static void round_of(struct drt_ref *refs, size_t count)
{
    submit_nothing(refs, count);
    get_all(refs, count);
    drt_release_all(refs, count);
}

static void warm_up(size_t count)
{
    struct drt_ref *refs = room_for(count, sizeof *refs);

    round_of(refs, count);
    free(refs);
}

/* ---- the operations ---- */

static void run_one_by_one(const struct settings *s, struct samples *samples)
{
    double begin = now_s(), end = begin, count = 0;
    struct board *board = s->board;

    for (;;) {
        struct drt_ref ref = submit_one();
        drt_check(drt_get_nothing(ref));
        drt_release(&ref);
        double then = end;
        end = now_s();
        count++;
        if (board == NULL) {
            if (samples->count < SAMPLES_MAX) {
                samples->us[samples->count++] = (end - then) * 1e6;
            }
            if (end - begin >= s->seconds) {
                break;
            }
            continue;
        }
        /* beside another client: only what falls between "queued" and "done" counts */
        uint32_t phase = atomic_load(&board->phase);
        if (phase == BOARD_QUEUED && samples->count < SAMPLES_MAX) {
            samples->us[samples->count++] = (end - then) * 1e6;
        }
        if (phase >= BOARD_DONE || end - begin > 120) {
            break;
        }
    }
    tell_rate(count, end - begin);
}

static void op_sync(const struct settings *s)
{
    struct samples samples = {room_for(SAMPLES_MAX, sizeof(double)), 0};

    if (s->board != NULL) {
        atomic_fetch_add(&s->board->ready, 1);
        board_await(&s->board->go, 1, 60);
    }
    run_one_by_one(s, &samples);
    tell_samples(&samples);
    free(samples.us);
}

/* Rounds of `count` tasks for `seconds`. */
static void op_async(const struct settings *s)
{
    struct drt_ref *refs = room_for(s->count, sizeof *refs);
    struct samples samples = {room_for(SAMPLES_MAX, sizeof(double)), 0};

    if (s->board != NULL) {
        atomic_fetch_add(&s->board->ready, 1);
        board_await(&s->board->go, 1, 60);
    }
    double begin = now_s(), end = begin, tasks = 0;
    while (end - begin < s->seconds) {
        round_of(refs, s->count);
        double then = end;
        end = now_s();
        tasks += (double)s->count;
        if (samples.count < SAMPLES_MAX) {
            samples.us[samples.count++] = (end - then) * 1e6;
        }
    }
    tell_rate(tasks, end - begin);
    tell("tasks", tasks);
    tell("begin", begin);
    tell("end", end);
    tell_samples(&samples);
    free(samples.us);
    free(refs);
}

static void op_wait(const struct settings *s)
{
    struct drt_ref *refs = room_for(s->count, sizeof *refs);
    double begin = now_s(), end = begin, batches = 0;

    while (end - begin < s->seconds) {
        size_t index, taken = 0;
        submit_nothing(refs, s->count);
        while (drt_wait_any(refs, s->count, drt_forever(), &index) == 0) {
            drt_release(&refs[index]);
            taken++;
        }
        if (taken != s->count) {
            fprintf(stderr, "drt-bench-driver: wait: %s\n", drt_last_error());
            exit(1);
        }
        end = now_s();
        batches++;
    }
    tell_rate(batches, end - begin);
    free(refs);
}

static void op_get(const struct settings *s)
{
    struct drt_ref ref = drt_put(drt_i64(0));
    double begin = now_s(), end = begin, gets = 0;
    int64_t value;

    drt_check(drt_get_i64(ref, &value));
    while (end - begin < s->seconds) {
        for (int i = 0; i < BATCH; i++) {
            drt_check(drt_get_i64(ref, &value));
        }
        end = now_s();
        gets += BATCH;
    }
    tell_rate(gets, end - begin);
    drt_release(&ref);
}

static void op_put(const struct settings *s)
{
    double begin = now_s(), end = begin, puts = 0;

    while (end - begin < s->seconds) {
        for (int i = 0; i < BATCH; i++) {
            struct drt_ref ref = drt_put(drt_i64(0));
            drt_release(&ref);
        }
        end = now_s();
        puts += BATCH;
    }
    tell_rate(puts, end - begin);
}

/* Ten tasks of a hundred puts each. */
static void op_multi_put(const struct settings *s)
{
    enum { TASKS = 10, PUTS = 100 };
    struct drt_ref refs[TASKS];
    double begin = now_s(), end = begin, puts = 0;

    while (end - begin < s->seconds) {
        for (int i = 0; i < TASKS; i++) {
            refs[i] = drt_submit(put_many, drt_i64(PUTS));
        }
        get_all(refs, TASKS);
        drt_release_all(refs, TASKS);
        end = now_s();
        puts += TASKS * PUTS;
    }
    tell_rate(puts, end - begin);
}

static void op_chain(const struct settings *s)
{
    double begin = now_s();
    struct drt_ref last = submit_link(drt_i64(0));
    int64_t value = 0;

    for (size_t i = 1; i < s->count; i++) {
        last = submit_link(drt_give(&last));
    }
    drt_check(drt_get_i64(last, &value));
    double seconds = now_s() - begin;
    if (value != (int64_t)s->count) {
        fprintf(stderr, "drt-bench-driver: the chain ends with %lld\n", (long long)value);
        exit(1);
    }
    tell_rate((double)s->count, seconds);
    tell("p50_us", seconds / (double)s->count * 1e6);
}

static void op_sleepers(const struct settings *s)
{
    struct drt_ref *refs = room_for(s->count, sizeof *refs);
    double seconds = 0;

    for (int round = 0; round < 2; round++) { /* the first one starts the workers */
        double begin = now_s();
        for (size_t i = 0; i < s->count; i++) {
            refs[i] = drt_submit(sleep_for, drt_f64(s->sleep_ms));
        }
        get_all(refs, s->count);
        seconds = now_s() - begin;
        drt_release_all(refs, s->count);
    }
    tell_rate((double)s->count, seconds);
    tell("total_ms", seconds * 1e3);
    free(refs);
}

/* Many tasks at once; the bench looks at the memory meanwhile. */
static void op_flood(const struct settings *s)
{
    struct drt_ref *refs = room_for(s->count, sizeof *refs);
    struct board *board = s->board;

    memset(refs, 1, s->count * sizeof *refs); /* its pages are the program's own, not a task's */
    atomic_fetch_add(&board->ready, 1);
    board_await(&board->go, 1, 60);
    double begin = now_s();
    submit_nothing(refs, s->count);
    double submitted = now_s();
    atomic_store(&board->phase, BOARD_QUEUED);
    get_all(refs, s->count);
    double end = now_s();
    atomic_store(&board->phase, BOARD_DONE);
    board_await(&board->proceed, 1, 60);
    drt_release_all(refs, s->count);
    tell_rate((double)s->count, end - begin);
    tell("submit_s", submitted - begin);
    tell("total_s", end - begin);
    fflush(stdout);
    atomic_store(&board->phase, BOARD_FREE);
    board_await(&board->proceed, 2, 60);
    free(refs);
}

/* ---- naps: tasks on several nodes ---- */

enum { NODES_MAX = 64 };

struct tally { /* of results */
    struct {
        char name[64];
        size_t count;
    } nodes[NODES_MAX];
    size_t failed;
    double again_s; /* the last start of another attempt; 0: none */
};

static void count_nap(struct tally *t, struct drt_ref ref)
{
    const char *story;
    char *name;
    size_t i = 0;

    if (drt_get_str(ref, &story) != 0) {
        t->failed++;
        return;
    }
    double start = strtod(story, &name);
    unsigned long attempt = strtoul(name, &name, 10);
    t->again_s = attempt > 1 && start > t->again_s ? start : t->again_s;
    while (i < NODES_MAX - 1 && t->nodes[i].count > 0 && strcmp(t->nodes[i].name, name + 1) != 0) {
        i++;
    }
    snprintf(t->nodes[i].name, sizeof t->nodes[i].name, "%s", name + 1);
    t->nodes[i].count++;
}

static void tell_tally(const struct tally *t)
{
    char name[80];

    for (size_t i = 0; i < NODES_MAX && t->nodes[i].count > 0; i++) {
        snprintf(name, sizeof name, "on_%s", t->nodes[i].name);
        tell(name, (double)t->nodes[i].count);
    }
    tell("failed", (double)t->failed);
    if (t->again_s > 0) {
        tell("again_at_s", t->again_s);
    }
}

static void op_naps(const struct settings *s)
{
    struct drt_ref *refs = room_for(s->count, sizeof *refs);
    struct tally *tally = room_for(1, sizeof *tally);
    uint64_t random = s->seed * 2654435761u + 1;
    double sum_ms = 0, begin = now_s();

    for (size_t i = 0; i < s->count; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        double unit = (double)(random >> 40) / (1 << 24);
        double ms = s->sleep_ms + unit * (s->most_ms > s->sleep_ms ? s->most_ms - s->sleep_ms : 0);
        sum_ms += ms;
        refs[i] = drt_submit(nap, drt_f64(ms), DRT_WITH(.strategy = s->strategy));
    }
    for (size_t part = 1; part <= s->parts; part++) {
        size_t done;
        drt_check(drt_wait(refs, s->count, s->count * part / s->parts, drt_forever(), NULL, &done));
        tell("part", (double)part);
        fflush(stdout);
    }
    tell("total_ms", (now_s() - begin) * 1e3);
    tell("sum_ms", sum_ms);
    for (size_t i = 0; i < s->count; i++) {
        count_nap(tally, refs[i]);
    }
    tell_tally(tally);
    drt_release_all(refs, s->count);
    free(tally);
    free(refs);
}

/* Some tasks, then nothing, with the workers kept, until the bench says so. */
static void op_idle(const struct settings *s)
{
    warm_up(s->count);
    atomic_fetch_add(&s->board->ready, 1);
    board_await(&s->board->proceed, 1, 600);
}

static void op_none(const struct settings *s)
{
    (void)s;
}

static const struct operation {
    const char *name;
    void (*run)(const struct settings *s);
} operations[] = {
    {"sync", op_sync},   {"async", op_async},       {"wait", op_wait},
    {"get", op_get},     {"put", op_put},           {"multi_put", op_multi_put},
    {"chain", op_chain}, {"sleepers", op_sleepers}, {"flood", op_flood},
    {"idle", op_idle},   {"none", op_none},         {"naps", op_naps},
};

static struct board *open_board(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *page =
        fd < 0 ? MAP_FAILED : mmap(NULL, BOARD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (page == MAP_FAILED) {
        fprintf(stderr, "drt-bench-driver: cannot map %s\n", path);
        exit(1);
    }
    close(fd);
    return page;
}

static void set(struct settings *s, const char *argument)
{
    const char *equals = strchr(argument, '=');
    double number = equals == NULL ? 0 : strtod(equals + 1, NULL);

    if (strncmp(argument, "seconds=", 8) == 0) {
        s->seconds = number;
    } else if (strncmp(argument, "count=", 6) == 0) {
        s->count = (size_t)number;
    } else if (strncmp(argument, "sleep_ms=", 9) == 0) {
        s->sleep_ms = number;
    } else if (strncmp(argument, "most_ms=", 8) == 0) {
        s->most_ms = number;
    } else if (strncmp(argument, "strategy=", 9) == 0) {
        s->strategy = (int32_t)number;
    } else if (strncmp(argument, "parts=", 6) == 0) {
        s->parts = (size_t)number;
    } else if (strncmp(argument, "seed=", 5) == 0) {
        s->seed = (uint64_t)number;
    } else if (strncmp(argument, "warm=", 5) == 0) {
        s->warm = (size_t)number;
    } else if (strncmp(argument, "board=", 6) == 0) {
        s->board = open_board(equals + 1);
    } else if (strncmp(argument, "node=", 5) == 0) {
        s->node = (struct drt_options){.strategy = DRT_NODE_SPECIFIC, .node = equals + 1};
        where = &s->node;
    } else if (strncmp(argument, "name=", 5) == 0) {
        s->job_name = equals + 1;
    } else {
        fprintf(stderr, "drt-bench-driver: what is '%s'?\n", argument);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    struct settings settings = {
        .seconds = 1, .count = BATCH, .sleep_ms = 10, .warm = 2000, .parts = 1};

    for (int i = 2; i < argc; i++) { /* a worker has none */
        set(&settings, argv[i]);
    }
    double begin = now_s();
    drt_check(drt_init(DRT_CONFIG(.job_name = settings.job_name)));
    tell("init_ms", (now_s() - begin) * 1e3);
    fflush(stdout);
    for (size_t i = 0; argc > 1 && i < sizeof operations / sizeof operations[0]; i++) {
        if (strcmp(argv[1], operations[i].name) == 0) {
            if (settings.warm > 0) {
                warm_up(settings.warm);
            }
            operations[i].run(&settings);
            drt_shutdown();
            return 0;
        }
    }
    fprintf(stderr, "usage: drt-bench-driver OPERATION [name=value]...\n");
    return 2;
}
