/* drt: looks at a cluster, tries it, and stops it. */
#include <stdio.h>
#include <unistd.h>

#include "cli/cancel.h"
#include "cli/distribute.h"
#include "cli/logs.h"
#include "cli/options.h"
#include "cli/stop.h"
#include "common/inherited.h"
#include "common/text.h"

#define WATCH_DEFAULT_NS (2 * NS_PER_S)
#define WATCH_LEAST_NS   (100 * NS_PER_MS)
#define ROWS_USUAL       100 /* also where several daemons answer */
#define TEST_TASKS       100
#define TEST_TASK_NS     (10 * NS_PER_MS)

/* Whether the verb knows the option and it was given. */
static const struct args_value *find_option(const struct args *a, const char *name)
{
    for (const struct args_option *o = a->verb->options; o->name != NULL; o++) {
        if (strcmp(o->name, name) == 0) {
            const struct args_value *value = args_get(a, name);
            return value->given ? value : NULL;
        }
    }
    return NULL;
}

/* 0: this verb shows all. */
static uint32_t most_rows(const struct args *a)
{
    for (const struct args_option *o = a->verb->options; o->name != NULL; o++) {
        if (strcmp(o->name, "limit") == 0) {
            const struct args_value *value = args_get(a, "limit");
            return value->given ? (uint32_t)value->number : ROWS_USUAL;
        }
    }
    return 0;
}

static const char *text_option(const struct args *a, const char *name)
{
    const struct args_value *value = find_option(a, name);
    return value != NULL ? value->text : NULL;
}

/* A job's number, or "last". */
static int read_job(const char *text, struct show *show, struct failure *f)
{
    if (strcmp(text, "last") == 0) {
        show->last_job = true;
        return EXIT_DONE;
    }
    if (text_parse_u64(text, UINT64_MAX, &show->wish.job) != 0 || show->wish.job == 0) {
        failure_set(f, CODE_SIGNATURE,
                    "\"%.60s\" is not a job. Give its number, or \"last\"; 'drt "
                    "jobs' lists them.",
                    text);
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

/* The states that a verb's rows can have; NULL: they have none. */
static const char *const *states_of(int verb)
{
    static const char *const nodes[] = {"alive", "suspect", "leaving", "private",
                                        "lost",  "left",    NULL};
    static const char *const tasks[] = {"waiting", "running", "done", "failed", "cancelled", NULL};
    static const char *const jobs[] = {"running", "done", "failed", "lost", "cancelled", NULL};
    static const char *const workers[] = {"starting", "idle",    "running",
                                          "blocked",  "leaving", NULL};
    return verb == VERB_NODES     ? nodes
           : verb == VERB_TASKS   ? tasks
           : verb == VERB_JOBS    ? jobs
           : verb == VERB_WORKERS ? workers
                                  : NULL;
}

static int check_state(const struct args *a, struct failure *f)
{
    const char *state = text_option(a, "state"), *const *states = states_of(a->verb->tag);
    char list[128] = "";
    if (state == NULL || states == NULL) {
        return EXIT_DONE;
    }
    for (size_t i = 0; states[i] != NULL; i++) {
        if (strcmp(states[i], state) == 0) {
            return EXIT_DONE;
        }
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i == 0 ? "" : ", ", states[i]);
    }
    failure_set(f, CODE_SIGNATURE, "\"%.60s\" is not a state of %s. Give one of: %s.", state,
                a->verb->name, list);
    return EXIT_USAGE;
}

static int read_show(const struct args *a, struct show *ret, struct failure *f)
{
    const struct args_value *watch = find_option(a, "watch");
    const char *job = text_option(a, "job");
    *ret = (struct show){
        .where = {.dir = text_option(a, "dir"),
                  .cluster = text_option(a, "cluster"),
                  .key_file = text_option(a, "key-file")},
        .wish = {.thing = a->thing_count > 0 ? a->things[0] : "",
                 .state = text_option(a, "state"),
                 .node = text_option(a, "node"),
                 .name = text_option(a, "name"),
                 .limit = most_rows(a)},
        .json = find_option(a, "json") != NULL,
        .watch = watch != NULL,
    };
    const struct args_value *limit = find_option(a, "limit");
    if (limit != NULL && limit->number == 0) {
        failure_set(f, CODE_SIGNATURE, "--limit must be at least 1.");
        return EXIT_USAGE;
    }
    if (watch != NULL) {
        uint64_t every_ns = watch->text != NULL ? watch->number : WATCH_DEFAULT_NS;
        ret->watch_ns = MAX_OF(every_ns, WATCH_LEAST_NS);
    }
    return job != NULL ? read_job(job, ret, f) : EXIT_DONE;
}

static int check_task(const char *text, struct failure *f)
{
    struct object_id id;
    if (strcmp(text, "last") == 0 || object_id_parse(text, &id) == 0) {
        return EXIT_DONE;
    }
    failure_set(f, CODE_SIGNATURE,
                "\"%.60s\" is not a task. Tasks are named like 1-2.2240, or \"last\"; 'drt tasks' "
                "lists them.",
                text);
    return EXIT_USAGE;
}

static int run_logs(const struct args *a, const struct show *show)
{
    const char *stream = text_option(a, "stream"), *task = text_option(a, "task");
    const struct args_value *worker = find_option(a, "worker");
    struct failure f = {0};
    struct logs logs = {
        .show = *show,
        .task = task != NULL ? task : "",
        .worker = worker != NULL ? worker->number : 0,
        .follow = find_option(a, "follow") != NULL,
    };
    int status = EXIT_DONE;
    if (a->thing_count > 0 && strcmp(a->things[0], "last") != 0) {
        failure_set(&f, CODE_SIGNATURE,
                    "unexpected argument: %.60s. Choose the logs with --task, --job or --worker; "
                    "\"last\" shows those of the newest job.",
                    a->things[0]);
        status = EXIT_USAGE;
    } else if ((task != NULL) + (worker != NULL) + (show->wish.job != 0 || show->last_job) > 1) {
        failure_set(&f, CODE_SIGNATURE, "give only one of --task, --job and --worker.");
        status = EXIT_USAGE;
    } else if (worker != NULL && worker->number == 0) {
        failure_set(&f, CODE_SIGNATURE,
                    "invalid value for --worker. It takes a worker's number, from 1 on; 'drt "
                    "workers' lists them.");
        status = EXIT_USAGE;
    } else if (stream != NULL && strcmp(stream, "out") != 0 && strcmp(stream, "err") != 0) {
        failure_set(&f, CODE_SIGNATURE,
                    "invalid value \"%.60s\" for --stream. It takes out or err.", stream);
        status = EXIT_USAGE;
    } else if (task != NULL) {
        status = check_task(task, &f);
    }
    logs.stream = stream == NULL ? 0 : strcmp(stream, "out") == 0 ? 1 : 2;
    return status == EXIT_DONE ? show_logs(&logs) : complain(status, &f);
}

static int run_stop(const struct show *show)
{
    struct place place;
    struct failure f = {0};
    struct buffer out = {0};
    if (where_is_remote(&show->where)) {
        failure_set(
            &f, CODE_SIGNATURE,
            "'drt stop' stops only what runs on this machine. Run it on the machine of the head or "
            "of the node, without an address and a key.");
        return complain(EXIT_USAGE, &f);
    }
    int status = ask_find(show->where.dir, show->where.cluster, &place, &f);
    if (status == EXIT_DONE) {
        status = stop_cluster(&place, STOP_LIMIT_NS, &out, &f);
    }
    if (status == EXIT_DONE) {
        buffer_printf(&out,
                      "Cluster \"%s\" is down on this machine. Start it again: drt-head start\n",
                      place.cluster);
    }
    int written = put_out(&out);
    buffer_fini(&out);
    return status != EXIT_DONE ? complain(status, &f) : written;
}

static int run_completion(const struct args *a)
{
    struct buffer out = {0};
    struct failure f = {0};
    const char *shell = a->things[0];
    if (strcmp(shell, "bash") != 0 && strcmp(shell, "zsh") != 0) {
        failure_set(&f, CODE_SIGNATURE,
                    "there is no completion for \"%.60s\", only for bash and zsh.", shell);
        return complain(EXIT_USAGE, &f);
    }
    args_completion(&cli_program, shell, &out);
    int status = put_out(&out);
    buffer_fini(&out);
    return status;
}

static int run_distribute(const struct args *a, const struct show *show)
{
    const struct args_value *tasks = find_option(a, "tasks");
    const struct args_value *duration = find_option(a, "duration");
    struct failure f = {0};
    if (strcmp(a->things[0], "status") == 0) {
        return show_view(show, &distribute_view);
    }
    if (strcmp(a->things[0], "test") != 0) {
        failure_set(&f, CODE_SIGNATURE,
                    "unexpected argument: %.60s. Use 'drt distribute test' to run tasks, or 'drt "
                    "distribute status' to see where they are.",
                    a->things[0]);
        return complain(EXIT_USAGE, &f);
    }
    struct distribute d = {
        .where = show->where,
        .strategy = text_option(a, "strategy"),
        .node = text_option(a, "node"),
        .labels = text_option(a, "labels"),
        .soft = find_option(a, "soft") != NULL,
        .json = show->json,
        .tasks = tasks != NULL ? tasks->number : TEST_TASKS,
        .task_ns = duration != NULL ? duration->number : TEST_TASK_NS,
    };
    return distribute_test(&d);
}

/* The thing of a verb must look like one before a daemon is asked. */
static int check_thing(const struct args *a, struct show *show, struct failure *f)
{
    const char *thing = show->wish.thing;
    if (*thing == '\0') {
        return EXIT_DONE;
    }
    if (a->verb->tag == VERB_TASKS || a->verb->tag == VERB_EXPLAIN) {
        return check_task(thing, f);
    }
    return EXIT_DONE;
}

static int run(const struct args *a)
{
    struct show show;
    struct failure f = {0};
    if (a->verb->tag == VERB_COMPLETION) {
        return run_completion(a);
    }
    int status = read_show(a, &show, &f);
    status = status == EXIT_DONE ? check_state(a, &f) : status;
    status = status == EXIT_DONE ? check_thing(a, &show, &f) : status;
    if (status != EXIT_DONE) {
        return complain(status, &f);
    }
    switch (a->verb->tag) {
    case VERB_STATUS:
        return show_view(&show, &status_view);
    case VERB_NODES:
        return show_view(&show, &nodes_view);
    case VERB_TASKS:
        return show_view(&show, &tasks_view);
    case VERB_JOBS:
        return show_view(&show, &jobs_view);
    case VERB_EXPLAIN:
        return show_view(&show, &explain_view);
    case VERB_WORKERS:
        return show_view(&show, &workers_view);
    case VERB_SUMMARY:
        return show_view(&show, &summary_view);
    case VERB_CANCEL:
        return cancel_thing(&show.where, a->things[0], find_option(a, "force") != NULL);
    case VERB_LOGS:
        return run_logs(a, &show);
    case VERB_DISTRIBUTE:
        return run_distribute(a, &show);
    default:
        ASSERT(a->verb->tag == VERB_STOP);
        return run_stop(&show);
    }
}

int main(int argc, char **argv)
{
    struct args args;
    struct buffer out = {0};
    inherited_for_tool();
    distribute_serve();
    int outcome = args_parse(&cli_program, argc, argv, &args, &out);
    if (outcome != ARGS_RUN) {
        fputs(buffer_text(&out), outcome == ARGS_SHOW ? stdout : stderr);
        buffer_fini(&out);
        return outcome == ARGS_SHOW ? EXIT_DONE : EXIT_USAGE;
    }
    buffer_fini(&out);
    return run(&args);
}
