#include "cli/distribute.h"

#include <stdio.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "cli/distribution.h"
#include "cli/rows_json.h"
#include "common/clock.h"
#include "common/text.h"
#include "drt/drt.h"

#define SLICE_NS  (50 * NS_PER_MS)
#define NODES_MAX 10000u

/* Sleeps so many ns, and says where. */
static DRT_TASK(distribute_test_task, call, DRT_I64)
{
    uint64_t left = (uint64_t)drt_arg_i64(call, 0);
    while (left > 0 && !drt_cancelled(call)) {
        uint64_t ns = MIN_OF(left, SLICE_NS);
        struct timespec span = {(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S)};
        clock_nanosleep(CLOCK_MONOTONIC, 0, &span, NULL);
        left -= ns;
    }
    return drt_return(call, drt_str(drt_node_name()));
}

void distribute_serve(void)
{
    if (getenv("DRT_WORKER_FD") == NULL) {
        return;
    }
    /* Sync: a process that has the variable by accident is no driver for that. */
    if (drt_init(DRT_CONFIG(.mode = DRT_MODE_SYNC)) == 0) {
        drt_shutdown();
    }
}

/* ---- options ---- */

static const char *const strategies[] = {
    [DRT_DEFAULT] = "default",
    [DRT_SPREAD] = "spread",
    [DRT_LOAD_BALANCED] = "load_balanced",
    [DRT_NODE_SPECIFIC] = "node_specific",
};

static int read_strategy(const char *name, int32_t *ret, struct failure *f)
{
    for (size_t i = 0; i < ARRAY_SIZE(strategies); i++) {
        if (name == NULL || strcasecmp(name, strategies[i]) == 0) {
            *ret = (int32_t)i;
            return EXIT_DONE;
        }
    }
    failure_set(f, CODE_SIGNATURE,
                "\"%.60s\" is not a strategy. Give one of: default, spread, load_balanced, "
                "node_specific.",
                name);
    return EXIT_USAGE;
}

static int read_options(const struct distribute *d, struct drt_options *ret, struct failure *f)
{
    *ret = (struct drt_options){.node = d->node, .labels = d->labels, .soft = d->soft};
    int status = read_strategy(d->strategy, &ret->strategy, f);
    bool named = d->node != NULL || d->labels != NULL;
    if (status == EXIT_DONE && (named || d->soft) && ret->strategy != DRT_NODE_SPECIFIC) {
        failure_set(f, CODE_SIGNATURE,
                    "--node, --labels and --soft need --strategy node_specific.");
        status = EXIT_USAGE;
    } else if (status == EXIT_DONE && !named && ret->strategy == DRT_NODE_SPECIFIC) {
        failure_set(f, CODE_SIGNATURE,
                    "--strategy node_specific needs a node: --node with its name, number or "
                    "address, or --labels.");
        status = EXIT_USAGE;
    } else if (status == EXIT_DONE && (d->tasks == 0 || d->tasks > DISTRIBUTE_TASKS_MAX)) {
        failure_set(f, CODE_SIGNATURE,
                    "invalid value for --tasks. It takes a whole number from 1 to %u.",
                    DISTRIBUTE_TASKS_MAX);
        status = EXIT_USAGE;
    }
    return status;
}

/* ---- running ---- */

static int exit_of(int code)
{
    switch (code) {
    case DRT_E_NOT_FOUND:
    case DRT_E_TIMEOUT:
    case DRT_E_DISCONNECTED:
    case DRT_E_UNREACHABLE:
        return EXIT_NO_CLUSTER;
    case DRT_E_REFUSED:
        return EXIT_REFUSED;
    case DRT_E_EXISTS:
    case -EINVAL:
        return EXIT_USAGE;
    default:
        return EXIT_FAILED;
    }
}

static int failed(int code, struct failure *f)
{
    failure_set(f, CODE_FAILED, "%s", drt_last_error());
    return exit_of(code);
}

/* The cluster as libdrt takes it: a directory has a slash. */
static int begin(const struct distribute *d, struct failure *f)
{
    char dir[PLACE_PATH_MAX];
    struct drt_config config = {.mode = DRT_MODE_CLUSTER,
                                .cluster = d->where.cluster,
                                .job_name = "distribute test",
                                .key_file = d->where.key_file};
    if (d->where.dir != NULL) {
        snprintf(dir, sizeof dir, strchr(d->where.dir, '/') != NULL ? "%s" : "./%s", d->where.dir);
        config.cluster = dir;
    }
    int code = drt_init(&config);
    return code == 0 ? EXIT_DONE : failed(code, f);
}

static struct distribution_node *find_node(struct distribution *d, const char *name)
{
    for (size_t i = 0; i < d->node_count; i++) {
        if (strcmp(d->nodes[i].name, name) == 0) {
            return &d->nodes[i];
        }
    }
    return NULL;
}

static struct distribution_node *add_node(struct distribution *d, const char *name)
{
    struct distribution_node *n = &d->nodes[d->node_count++];
    snprintf(n->name, sizeof n->name, "%s", name);
    return n;
}

/* One row of the cluster's nodes: those that can run something are shown also where none ran. */
static void take_row(struct distribution *d, const struct drt_node *row)
{
    struct distribution_node *n = find_node(d, row->name);
    if (n == NULL && row->alive && row->cpus_total > 0 && d->node_count < NODES_MAX) {
        n = add_node(d, row->name);
    }
    if (n != NULL && (row->alive || n->id[0] == '\0' || strcmp(n->id, row->id) == 0)) {
        snprintf(n->id, sizeof n->id, "%s", row->id);
        n->alive = row->alive;
    }
}

/* The nodes as they are now; before the test and after it. */
static int look_at_nodes(struct distribution *d, struct failure *f)
{
    size_t count = 0;
    int code = drt_nodes(NULL, 0, &count);
    size_t room = MIN_OF(count, NODES_MAX);
    struct drt_node *rows = xcalloc(room + 1, sizeof *rows);
    if (code == 0) {
        code = drt_nodes(rows, room, &count);
    }
    for (size_t i = 0; i < MIN_OF(count, room) && code == 0; i++) {
        take_row(d, &rows[i]);
    }
    free(rows);
    return code == 0 ? EXIT_DONE : failed(code, f);
}

static void count_one(struct distribution *d, const char *node, struct distribution_node **last)
{
    if (*last == NULL || strcmp((*last)->name, node) != 0) {
        *last = find_node(d, node);
    }
    if (*last == NULL && d->node_count < NODES_MAX) {
        *last = add_node(d, node); /* it joined meanwhile */
    }
    if (*last != NULL) {
        (*last)->tasks++;
    }
}

static void run_tasks(const struct drt_options *options, struct distribution *d, char why[512])
{
    struct drt_ref *refs = xcalloc(d->tasks, sizeof *refs);
    struct drt_value values[2] = {drt_i64((int64_t)d->task_ns), drt_with(options)};
    uint64_t begun_ns = clock_now_ns();
    struct distribution_node *last = NULL;
    for (uint64_t i = 0; i < d->tasks; i++) {
        refs[i] = drt_submit_array(distribute_test_task, values, 2);
    }
    for (uint64_t i = 0; i < d->tasks; i++) {
        const char *node;
        if (drt_get_str(refs[i], &node) == 0) {
            count_one(d, node, &last);
        } else if (d->failed++ == 0) {
            snprintf(why, 512, "%s", drt_last_error());
        }
        drt_release(&refs[i]);
    }
    d->elapsed_ns = clock_now_ns() - begun_ns;
    free(refs);
}

static int show(const struct distribute *d, const struct distribution *found)
{
    struct buffer out = {0};
    struct screen screen;
    screen_of(STDOUT_FILENO, &screen);
    if (d->json) {
        json_put(distribution_json(found), &out);
    } else {
        distribution_text(found, &screen, &out);
    }
    int status = put_out(&out);
    buffer_fini(&out);
    return status == EXIT_DONE && found->failed != 0 ? EXIT_FAILED : status;
}

int distribute_test(const struct distribute *d)
{
    struct drt_options options;
    struct failure f = {0};
    char why[512] = "", from[256];
    int status = read_options(d, &options, &f);
    status = status == EXIT_DONE ? begin(d, &f) : status;
    if (status != EXIT_DONE) {
        return complain(status, &f);
    }
    struct distribution found = {.strategy = strategies[options.strategy],
                                 .from = from,
                                 .tasks = d->tasks,
                                 .task_ns = d->task_ns,
                                 .failure = why,
                                 .nodes = xcalloc(NODES_MAX, sizeof *found.nodes)};
    snprintf(from, sizeof from, "%s", drt_node_name());
    status = look_at_nodes(&found, &f);
    if (status == EXIT_DONE) {
        run_tasks(&options, &found, why);
        status = look_at_nodes(&found, &f);
    }
    status = status == EXIT_DONE ? show(d, &found) : complain(status, &f);
    drt_shutdown();
    free(found.nodes);
    return status;
}
