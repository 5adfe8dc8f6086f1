/*
 * work WORD=VALUE...: submits tasks, a window of them at a time, and checks every result. Prints
 * "begun" after the first, and at the end one line of JSON about all.
 *
 *   seconds=10     how long to submit
 *   tasks=N        at most so many tasks; 0: no bound
 *   window=16      tasks under way
 *   ms=2           how long each takes
 *   bound=30       the seconds after which a task that is not settled hangs: exit status 3
 *   strategy=default|spread|load_balanced|node:NAME|soft:NAME
 *   shape=plain    a task that returns what can be checked
 *        |chain    three of them, each with the result of the one before as an argument
 *        |nest     one that submits two, which are spread, and waits for them
 *        |borrow   one that gets, by its reference, an object that was put and released
 *        |lend     one that returns a reference to an object that it put
 *        |owe      one that returns a reference to the result of a task on its own node
 *   once=FILE      at_most_once; an execution adds a line "NUMBER ATTEMPT NODE" to FILE
 *   log=FILE       the same lines, but tasks are retried as usual
 *   attempts=N     max_attempts
 *   until=FILE     go on until FILE is there (or the seconds are over)
 *   name=NAME      of the job
 */
#include <drt/drt.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WINDOW_MAX 4096
#define KINDS_MAX  64

struct answer {
    int64_t number, check, nonce; /* the nonce is the execution's */
    char node[64];
};

struct count {
    char name[64];
    int64_t n;
};

struct options {
    double seconds, ms, bound;
    int64_t tasks, window, attempts;
    const char *strategy, *shape, *once, *log, *until, *name;
};

struct work {
    struct options options;
    struct drt_options each;
    const char *file;
    struct drt_ref refs[WINDOW_MAX];
    int64_t numbers[WINDOW_MAX], started_ns[WINDOW_MAX];
    int64_t submitted, settled, right, wrong, changed, longest_ns;
    struct count errors[KINDS_MAX], nodes[KINDS_MAX];
    char example[600]; /* the last error's sentence */
    bool lost;         /* the raylet is gone: nothing more can be done */
};

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t check_of(int64_t number)
{
    return number * 7919 % 1000003;
}

static bool log_execution(const char *file, int64_t number, uint32_t attempt)
{
    char line[128];
    int length = snprintf(line, sizeof line, "%" PRId64 " %u %s\n", number, (unsigned)attempt,
                          drt_node_name());
    int fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    bool fine = fd >= 0 && write(fd, line, (size_t)length) == length;

    if (fd >= 0) {
        close(fd);
    }
    return fine;
}

/* What a body is busy with: it ends with its time, or as soon as nobody wants its answer. */
static void take_time(const struct drt_call *call, int64_t ns)
{
    const int64_t until_ns = now_ns() + ns, look_ns = 10000000;

    for (int64_t left = ns; left > 0 && !drt_cancelled(call); left = until_ns - now_ns()) {
        int64_t part = left < look_ns ? left : look_ns;
        const struct timespec limit = {.tv_nsec = part};
        (void)ppoll(NULL, 0, &limit, NULL);
    }
}

/* What every body does: tells that it runs, takes its time, and makes its answer. False: fail. */
static bool answer(struct drt_call *call, struct answer *ret)
{
    int64_t ns = (int64_t)(drt_arg_f64(call, 1) * 1e6);
    const char *file = drt_arg_str(call, 2);

    *ret = (struct answer){.number = drt_arg_i64(call, 0)};
    if (file[0] != '\0' && !log_execution(file, ret->number, drt_attempt(call))) {
        return false;
    }
    take_time(call, ns);
    ret->check = check_of(ret->number);
    ret->nonce = now_ns() ^ (int64_t)getpid() << 40;
    snprintf(ret->node, sizeof ret->node, "%s", drt_node_name());
    return true;
}

static bool is_right(const struct answer *a, int64_t number)
{
    return a->number == number && a->check == check_of(number);
}

DRT_TASK(probe, call, DRT_I64, DRT_F64, DRT_STR)
{
    struct answer a;

    if (!answer(call, &a)) {
        return drt_fail(call, -1, "cannot write %s", drt_arg_str(call, 2));
    }
    return drt_return(call, DRT_RECORD(struct answer, &a));
}

DRT_TASK(chain, call, DRT_I64, DRT_F64, DRT_STR, DRT_RECORDS)
{
    const struct answer *former = DRT_ARG_RECORD(call, 3, struct answer);
    struct answer a;

    if (former == NULL || !is_right(former, drt_arg_i64(call, 0)) || !answer(call, &a)) {
        return drt_fail(call, -1, "the argument is another's");
    }
    return drt_return(call, DRT_RECORD(struct answer, &a));
}

DRT_TASK(nest, call, DRT_I64, DRT_F64, DRT_STR)
{
    struct drt_ref children[2];
    struct answer a;

    for (int i = 0; i < 2; i++) {
        children[i] =
            drt_submit(probe, drt_i64(drt_arg_i64(call, 0) + i), drt_f64(drt_arg_f64(call, 1)),
                       drt_str(""), DRT_WITH(.strategy = DRT_SPREAD));
    }
    for (int i = 0; i < 2; i++) {
        int rc = DRT_GET_RECORD(children[i], struct answer, &a);
        if (rc != 0 || !is_right(&a, drt_arg_i64(call, 0) + i)) {
            return drt_fail(call, rc == 0 ? -1 : rc, "child %d: %s", i, drt_last_error());
        }
    }
    if (!answer(call, &a)) {
        return drt_fail(call, -1, "cannot write %s", drt_arg_str(call, 2));
    }
    return drt_return(call, DRT_RECORD(struct answer, &a));
}

DRT_TASK(borrow, call, DRT_I64, DRT_F64, DRT_STR, DRT_REF)
{
    struct answer a;
    int64_t value = 0;

    if (!answer(call, &a)) {
        return drt_fail(call, -1, "cannot write %s", drt_arg_str(call, 2));
    }
    int rc = drt_get_i64(drt_arg_ref(call, 3), &value);
    if (rc != 0 || value != a.check) {
        return drt_fail(call, rc == 0 ? -1 : rc, "the object: %s", drt_last_error());
    }
    return drt_return(call, DRT_RECORD(struct answer, &a));
}

DRT_TASK(lend, call, DRT_I64, DRT_F64, DRT_STR)
{
    struct answer a;

    if (!answer(call, &a)) {
        return drt_fail(call, -1, "cannot write %s", drt_arg_str(call, 2));
    }
    return drt_return(call, drt_ref_itself(drt_put(DRT_RECORD(struct answer, &a))));
}

DRT_TASK(owe, call, DRT_I64, DRT_F64, DRT_STR)
{
    struct drt_ref later =
        drt_submit(probe, drt_i64(drt_arg_i64(call, 0)), drt_f64(drt_arg_f64(call, 1)),
                   drt_str(drt_arg_str(call, 2)),
                   DRT_WITH(.strategy = DRT_NODE_SPECIFIC, .node = drt_node_name()));

    return drt_return(call, drt_ref_itself(later));
}

/* ---- counting ---- */

static void count(struct count *list, const char *name)
{
    for (size_t i = 0; i < KINDS_MAX; i++) {
        if (list[i].n == 0 || strcmp(list[i].name, name) == 0) {
            snprintf(list[i].name, sizeof list[i].name, "%s", name);
            list[i].n++;
            return;
        }
    }
}

static void print_counts(const char *what, const struct count *list)
{
    printf(", \"%s\": {", what);
    for (size_t i = 0; i < KINDS_MAX && list[i].n > 0; i++) {
        printf("%s\"%s\": %" PRId64, i == 0 ? "" : ", ", list[i].name, list[i].n);
    }
    printf("}");
}

static void print(const struct work *w)
{
    printf("{\"submitted\": %" PRId64 ", \"settled\": %" PRId64 ", \"right\": %" PRId64
           ", \"wrong\": %" PRId64 ", \"changed\": %" PRId64 ", \"longest_ms\": %" PRId64,
           w->submitted, w->settled, w->right, w->wrong, w->changed, w->longest_ns / 1000000);
    print_counts("errors", w->errors);
    print_counts("nodes", w->nodes);
    printf(", \"example\": \"");
    for (const char *c = w->example; *c != '\0'; c++) {
        putchar(*c == '"' || *c == '\\' || (unsigned char)*c < ' ' ? '\'' : *c);
    }
    printf("\"}\n");
}

/* ---- tasks ---- */

static struct drt_ref submit_one(struct work *w, int64_t number)
{
    struct drt_value n = drt_i64(number), ms = drt_f64(w->options.ms), file = drt_str(w->file),
                     with = drt_with(&w->each);
    const char *shape = w->options.shape;

    if (strcmp(shape, "nest") == 0) {
        return drt_submit(nest, n, ms, file, with);
    }
    if (strcmp(shape, "lend") == 0) {
        return drt_submit(lend, n, ms, file, with);
    }
    if (strcmp(shape, "owe") == 0) {
        return drt_submit(owe, n, ms, file, with);
    }
    if (strcmp(shape, "borrow") == 0) {
        struct drt_ref object = drt_put(drt_i64(check_of(number)));
        struct drt_ref ref = drt_submit(borrow, n, ms, file, drt_ref_itself(object), with);
        drt_release(&object); /* the task's hold must do */
        return ref;
    }
    struct drt_ref ref = drt_submit(probe, n, ms, file, with);
    for (int i = 0; i < 2 && strcmp(shape, "chain") == 0; i++) {
        ref = drt_submit(chain, n, ms, file, drt_give(&ref), with);
    }
    return ref;
}

static void submit(struct work *w, size_t slot)
{
    w->numbers[slot] = w->submitted++;
    w->started_ns[slot] = now_ns();
    w->refs[slot] = submit_one(w, w->numbers[slot]);
}

/* The reference to the answer, instead of the one to the reference to it. */
static void follow(struct work *w, size_t slot)
{
    struct drt_ref inner = drt_inner(w->refs[slot], 0);

    drt_release(&w->refs[slot]);
    w->refs[slot] = inner;
    if (drt_await(inner, drt_seconds(w->options.bound)) == DRT_E_TIMEOUT) {
        fprintf(stderr, "work: what task %" PRId64 " lent is not settled after %g s\n",
                w->numbers[slot], w->options.bound);
        exit(3);
    }
}

static void count_error(struct work *w, size_t slot, int rc, const struct drt_error *e)
{
    char name[64];

    snprintf(name, sizeof name, "%s%s%s", drt_code_name(rc), rc == DRT_E_FAILED ? "/" : "",
             rc == DRT_E_FAILED ? drt_code_name(e->app_code) : "");
    count(w->errors, name);
    snprintf(w->example, sizeof w->example, "task %" PRId64 ": %s", w->numbers[slot], e->message);
    w->lost = w->lost || rc == DRT_E_DISCONNECTED;
}

static void settle(struct work *w, size_t slot)
{
    struct answer first, again;
    struct drt_error e;
    int64_t took_ns = now_ns() - w->started_ns[slot];

    if (w->settled++ == 0) {
        printf("begun\n");
        fflush(stdout);
    }
    w->longest_ns = took_ns > w->longest_ns ? took_ns : w->longest_ns;
    int rc = drt_error_of(w->refs[slot], &e);
    if (rc == 0 &&
        (strcmp(w->options.shape, "lend") == 0 || strcmp(w->options.shape, "owe") == 0)) {
        follow(w, slot);
        rc = drt_error_of(w->refs[slot], &e);
    }
    if (rc != 0) {
        count_error(w, slot, rc, &e);
    } else if (DRT_GET_RECORD(w->refs[slot], struct answer, &first) != 0 ||
               !is_right(&first, w->numbers[slot])) {
        w->wrong++;
    } else if (DRT_GET_RECORD(w->refs[slot], struct answer, &again) != 0 ||
               memcmp(&first, &again, sizeof first) != 0) {
        w->changed++;
    } else {
        w->right++;
        first.node[sizeof first.node - 1] = '\0';
        count(w->nodes, first.node);
    }
    drt_release(&w->refs[slot]);
}

/* Each reference says itself that the raylet is gone. */
static void settle_all(struct work *w)
{
    for (int64_t i = 0; i < w->options.window; i++) {
        if (!drt_is_none(w->refs[i])) {
            settle(w, (size_t)i);
        }
    }
}

static bool hangs(const struct work *w)
{
    for (int64_t i = 0; i < w->options.window; i++) {
        if (!drt_is_none(w->refs[i]) &&
            now_ns() - w->started_ns[i] > (int64_t)(w->options.bound * 1e9)) {
            fprintf(stderr, "work: task %" PRId64 " is not settled after %g s\n", w->numbers[i],
                    w->options.bound);
            return true;
        }
    }
    return false;
}

static bool is_over(const struct work *w, int64_t end_ns)
{
    return w->lost || now_ns() >= end_ns ||
           (w->options.tasks > 0 && w->submitted >= w->options.tasks) ||
           (w->options.until != NULL && access(w->options.until, F_OK) == 0);
}

static int run(struct work *w)
{
    int64_t end_ns = now_ns() + (int64_t)(w->options.seconds * 1e9);
    const struct drt_span limit = drt_ms(100);

    for (int64_t i = 0; i < w->options.window && !is_over(w, end_ns); i++) {
        submit(w, (size_t)i);
    }
    for (;;) {
        size_t slot;
        int rc = drt_wait_any(w->refs, (size_t)w->options.window, limit, &slot);
        if (rc == DRT_E_DONE) {
            return w->wrong + w->changed > 0;
        }
        if (rc == DRT_E_DISCONNECTED) {
            settle_all(w);
        } else if (rc == 0) {
            settle(w, slot);
            if (!is_over(w, end_ns)) {
                submit(w, slot);
            }
        } else if (rc != DRT_E_TIMEOUT) {
            fprintf(stderr, "work: drt_wait_any: %s\n", drt_code_name(rc));
            return 4;
        }
        if (hangs(w)) {
            return 3;
        }
    }
}

/* ---- options ---- */

static void choose(struct drt_options *each, const char *strategy)
{
    const char *colon = strchr(strategy, ':');

    if (strcmp(strategy, "spread") == 0) {
        each->strategy = DRT_SPREAD;
    } else if (strcmp(strategy, "load_balanced") == 0) {
        each->strategy = DRT_LOAD_BALANCED;
    } else if (colon != NULL) {
        each->strategy = DRT_NODE_SPECIFIC;
        each->node = colon + 1;
        each->soft = strategy[0] == 's';
    }
}

static void parse(struct options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = strchr(argv[i], '=');
        size_t length = value == NULL ? 0 : (size_t)(value++ - argv[i]);
        const struct {
            const char *word;
            double *number;
            int64_t *integer;
            const char **text;
        } words[] = {
            {"seconds", &o->seconds, NULL, NULL}, {"ms", &o->ms, NULL, NULL},
            {"bound", &o->bound, NULL, NULL},     {"tasks", NULL, &o->tasks, NULL},
            {"window", NULL, &o->window, NULL},   {"attempts", NULL, &o->attempts, NULL},
            {"shape", NULL, NULL, &o->shape},     {"strategy", NULL, NULL, &o->strategy},
            {"once", NULL, NULL, &o->once},       {"log", NULL, NULL, &o->log},
            {"until", NULL, NULL, &o->until},     {"name", NULL, NULL, &o->name},
        };
        bool known = false;
        for (size_t k = 0; value != NULL && k < sizeof words / sizeof words[0]; k++) {
            if (strlen(words[k].word) != length || memcmp(words[k].word, argv[i], length) != 0) {
                continue;
            }
            known = true;
            if (words[k].number != NULL) {
                *words[k].number = strtod(value, NULL);
            } else if (words[k].integer != NULL) {
                *words[k].integer = strtoll(value, NULL, 10);
            } else {
                *words[k].text = value;
            }
        }
        if (!known) {
            fprintf(stderr, "work: \"%s\"?\n", argv[i]);
            exit(2);
        }
    }
    o->window = o->window < 1 ? 1 : o->window > WINDOW_MAX ? WINDOW_MAX : o->window;
}

int main(int argc, char **argv)
{
    static struct work w = {.options = {.seconds = 10,
                                        .ms = 2,
                                        .bound = 30,
                                        .window = 16,
                                        .strategy = "default",
                                        .shape = "plain",
                                        .name = "work"}};

    parse(&w.options, argc, argv);
    drt_check(drt_init(DRT_CONFIG(.job_name = w.options.name)));
    choose(&w.each, w.options.strategy);
    w.each.at_most_once = w.options.once != NULL;
    w.each.max_attempts = (uint32_t)w.options.attempts;
    w.file = w.options.once != NULL ? w.options.once : w.options.log != NULL ? w.options.log : "";
    int status = run(&w);
    print(&w);
    fflush(stdout);
    drt_shutdown();
    return status;
}
