#include "cli/log_sources.h"

#include <inttypes.h>
#include <stdio.h>

enum { ROWS_ASKED = 1000 };

void log_sources_init(struct log_sources *s)
{
    *s = (struct log_sources){.items = xcalloc(LOG_SOURCES_MAX, sizeof *s->items)};
}

void log_sources_fini(struct log_sources *s)
{
    for (size_t i = 0; i < s->count; i++) {
        buffer_fini(&s->items[i].text);
    }
    free(s->items);
    *s = (struct log_sources){0};
}

static bool has_worker(const struct log_sources *s, uint64_t worker, const char *node)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->items[i].worker == worker && strcmp(s->items[i].node, node) == 0) {
            return true;
        }
    }
    return false;
}

static int add_worker(struct log_sources *s, const struct log_choice *choice, uint64_t worker,
                      const char *node, struct failure *f)
{
    if (has_worker(s, worker, node)) {
        return EXIT_DONE;
    }
    if (s->count + 2 > LOG_SOURCES_MAX) {
        failure_set(f, CODE_TOO_LARGE,
                    "more than %u workers wrote logs. Choose one with --worker or --task.",
                    LOG_SOURCES_MAX / 2);
        return EXIT_FAILED;
    }
    s->workers++;
    for (uint32_t stream = 1; stream <= 2; stream++) {
        if (choice->stream == 0 || choice->stream == stream) {
            struct log_source *one = &s->items[s->count++];
            *one = (struct log_source){.worker = worker, .stream = stream};
            snprintf(one->node, sizeof one->node, "%s", node);
        }
    }
    return EXIT_DONE;
}

static bool has_ended(const char *state)
{
    static const char *const open[] = {"waiting", "running"};
    for (size_t i = 0; i < ARRAY_SIZE(open); i++) {
        if (strcmp(state, open[i]) == 0) {
            return false;
        }
    }
    return true;
}

/* ---- a task ---- */

static struct log_source *find_part(struct log_sources *s, const struct state_output *part)
{
    for (size_t i = 0; i < s->count; i++) {
        struct log_source *one = &s->items[i];
        if (one->worker == part->worker && one->attempt == part->attempt &&
            one->stream == part->stream && one->begin == part->begin &&
            strcmp(one->node, text_or(part->node, "")) == 0) {
            return one;
        }
    }
    return NULL;
}

static bool has_attempt(const struct log_sources *s, const struct state_output *part)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->items[i].worker == part->worker && s->items[i].attempt == part->attempt &&
            strcmp(s->items[i].node, text_or(part->node, "")) == 0) {
            return true;
        }
    }
    return false;
}

static int add_part(struct log_sources *s, const struct state_output *part, struct failure *f)
{
    struct log_source *one = find_part(s, part);
    if (one != NULL) {
        one->running = part->running;
        return EXIT_DONE;
    }
    if (s->count == LOG_SOURCES_MAX) {
        failure_set(f, CODE_TOO_LARGE, "Task %s wrote more than %u parts of logs.", s->task,
                    LOG_SOURCES_MAX);
        return EXIT_FAILED;
    }
    s->workers += !has_attempt(s, part);
    one = &s->items[s->count++];
    *one = (struct log_source){.worker = part->worker,
                               .stream = part->stream,
                               .attempt = part->attempt,
                               .begin = part->begin,
                               .offset = part->begin,
                               .running = part->running};
    snprintf(one->node, sizeof one->node, "%s", text_or(part->node, ""));
    return EXIT_DONE;
}

/* What was said to run and is named no more has ended, and wrote nothing in the end. */
static void end_silent(struct log_sources *s, const struct answer *answer)
{
    for (size_t i = 0; i < s->count; i++) {
        struct log_source *one = &s->items[i];
        bool named = false;
        for (size_t k = 0; k < answer->output_count && one->running; k++) {
            named = named || find_part(s, &answer->outputs[k]) == one;
        }
        if (one->running && !named) {
            one->running = false;
            one->closed = true;
        }
    }
}

static int by_attempt(const void *left, const void *right)
{
    const struct log_source *a = left, *b = right;
    if (a->attempt != b->attempt) {
        return a->attempt < b->attempt ? -1 : 1;
    }
    if (a->stream != b->stream) {
        return a->stream < b->stream ? -1 : 1;
    }
    return a->begin < b->begin ? -1 : a->begin > b->begin;
}

/* Where its attempts wrote. A first one is where its home says; later ones may have been anywhere.
 */
static int ask_parts(struct log_sources *s, struct ask *ask, const struct log_choice *choice,
                     const struct state_task *task, struct answer *answer, struct failure *f)
{
    size_t before = s->count;
    const struct wish wish = {.thing = s->task,
                              .node = task->attempt > 1 ? "" : text_or(task->node, "")};
    struct state_query query = query_of(&wish, STATE_OUTPUT);
    int status = ask_rows(ask, &query, 1, answer, f);
    for (size_t i = 0; i < answer->output_count && status == EXIT_DONE; i++) {
        if (choice->stream == 0 || choice->stream == answer->outputs[i].stream) {
            status = add_part(s, &answer->outputs[i], f);
        }
    }
    qsort(s->items + before, s->count - before, sizeof *s->items, by_attempt);
    if (status == EXIT_DONE && answer->failure.code == 0) {
        end_silent(s, answer);
    }
    return status;
}

/* Nothing of it is there. EXIT_DONE: it wrote nothing, which is no failure. */
static int explain_nothing(const struct log_sources *s, const struct state_task *task,
                           const struct answer *answer, struct failure *f)
{
    if (answer->failure.code != 0) {
        failure_set(f, answer->failure.code, "What task %s wrote is on node %s. %.300s", s->task,
                    text_or(task->node, "(unknown)"), answer->failure.message);
        return exit_of_failure(f);
    }
    if (task->worker == 0 && strcmp(text_or(task->state, ""), "running") != 0) {
        failure_set(
            f, CODE_NOT_FOUND,
            "Task %s is %s. It has not run in any worker, so it has no output. 'drt explain "
            "%s' says why.",
            s->task, task->state, s->task);
        return EXIT_FAILED;
    }
    if (answer->outputs_lost) {
        failure_set(f, CODE_NOT_FOUND,
                    "It is no longer known what task %s wrote, if it wrote anything. 'drt logs "
                    "--worker %" PRIu64 " --node %s' shows all of its worker's output.",
                    s->task, task->worker, text_or(task->node, ""));
        return EXIT_FAILED;
    }
    fprintf(stderr, "drt: task %s %s.\n", s->task,
            s->over ? "printed nothing" : "has printed nothing yet");
    return EXIT_DONE;
}

static int take_task(struct log_sources *s, struct ask *ask, const struct log_choice *choice,
                     const struct answer *answer, struct failure *f)
{
    struct answer parts;
    if (answer->task_count == 0) {
        failure_set(f, CODE_NOT_FOUND, "No task \"%.60s\" is known. 'drt tasks' lists them.",
                    choice->task);
        return EXIT_FAILED;
    }
    const struct state_task *task = &answer->tasks[0];
    object_id_format(task->id, s->task);
    answer_init(&parts);
    bool is_over = has_ended(text_or(task->state, ""));
    int status = ask_parts(s, ask, choice, task, &parts, f);
    s->over = is_over;
    if (status == EXIT_DONE && s->count == 0 && (!choice->follow || s->over)) {
        status = explain_nothing(s, task, &parts, f);
    }
    answer_fini(&parts);
    return status;
}

static int find_task(struct log_sources *s, struct ask *ask, const struct log_choice *choice,
                     struct failure *f)
{
    /* "last" is the same one as long as it is followed. */
    const struct wish wish = {.thing = *s->task != '\0' ? s->task : choice->task, .limit = 1};
    struct state_query query = query_of(&wish, STATE_TASKS);
    struct answer answer;
    answer_init(&answer);
    int status = ask_rows(ask, &query, 1, &answer, f);
    sort_tasks(&answer);
    if (status == EXIT_DONE && answer.failure.code != 0) {
        *f = answer.failure;
        status = exit_of_failure(f);
    } else if (status == EXIT_DONE) {
        status = take_task(s, ask, choice, &answer, f);
    }
    answer_fini(&answer);
    return status;
}

/* ---- one worker ---- */

/* It ended; its raylet, whichever that is, still has what it wrote. */
static int guess_nodes(struct log_sources *s, struct ask *ask, const struct log_choice *choice,
                       struct failure *f)
{
    const struct wish wish = {.thing = ""};
    struct state_query query = query_of(&wish, STATE_NODES);
    struct answer answer;
    answer_init(&answer);
    int status = ask_rows(ask, &query, 1, &answer, f);
    for (size_t i = 0; i < answer.node_count && status == EXIT_DONE; i++) {
        const struct state_node *node = &answer.nodes[i];
        if (!node_is_gone(node)) {
            size_t before = s->count;
            status = add_worker(s, choice, choice->worker, text_or(node->name, ""), f);
            for (size_t at = before; at < s->count; at++) {
                s->items[at].guessed = true;
            }
        }
    }
    if (status == EXIT_DONE && s->count == 0) {
        status = add_worker(s, choice, choice->worker, "", f);
    }
    answer_fini(&answer);
    return status;
}

static int find_worker(struct log_sources *s, struct ask *ask, const struct log_choice *choice,
                       struct failure *f)
{
    s->over = true; /* another worker is not meant */
    if (*choice->node != '\0') {
        return add_worker(s, choice, choice->worker, choice->node, f);
    }
    const struct wish wish = {.thing = "", .limit = ROWS_ASKED};
    struct state_query query = query_of(&wish, STATE_WORKERS);
    struct answer answer;
    query.worker = choice->worker;
    answer_init(&answer);
    int status = ask_rows(ask, &query, 1, &answer, f);
    for (size_t i = 0; i < answer.worker_count && status == EXIT_DONE; i++) {
        const struct state_worker *w = &answer.workers[i];
        if (w->number == choice->worker) {
            status = add_worker(s, choice, w->number, text_or(w->node, ""), f);
        }
    }
    if (status == EXIT_DONE && s->count == 0) {
        status = guess_nodes(s, ask, choice, f);
    }
    answer_fini(&answer);
    return status;
}

/* ---- a job ---- */

static int take_job(struct log_sources *s, const struct log_choice *choice,
                    const struct answer answers[3], struct failure *f)
{
    int status = EXIT_DONE;
    for (size_t i = 0; i < answers[0].worker_count && status == EXIT_DONE; i++) {
        const struct state_worker *w = &answers[0].workers[i];
        if (w->job == choice->job) {
            status = add_worker(s, choice, w->number, text_or(w->node, ""), f);
        }
    }
    /* Also those that its tasks name; raylets remember the last tasks. */
    for (size_t i = 0; i < answers[1].task_count && status == EXIT_DONE; i++) {
        const struct state_task *t = &answers[1].tasks[i];
        const char *node = text_or(t->node, "");
        bool here = *choice->node == '\0' || strcmp(node, choice->node) == 0;
        if (t->job == choice->job && t->worker != 0 && here) {
            status = add_worker(s, choice, t->worker, node, f);
        }
    }
    s->over = false;
    for (size_t i = 0; i < answers[2].job_count; i++) {
        const struct state_job *job = &answers[2].jobs[i];
        s->over = s->over ||
                  (job->number == choice->job && strcmp(text_or(job->state, ""), "running") != 0);
    }
    return status;
}

static int by_worker(const void *left, const void *right)
{
    const struct log_source *a = left, *b = right;
    int order = strcmp(a->node, b->node);
    if (order != 0) {
        return order;
    }
    if (a->worker != b->worker) {
        return a->worker < b->worker ? -1 : 1;
    }
    return a->stream < b->stream ? -1 : a->stream > b->stream;
}

static int find_job(struct log_sources *s, struct ask *ask, const struct log_choice *choice,
                    struct failure *f)
{
    char number[32];
    snprintf(number, sizeof number, "%" PRIu64, choice->job);
    const struct wish wish = {.job = choice->job, .node = choice->node, .limit = ROWS_ASKED};
    const struct wish one = {.thing = number, .limit = 1};
    const struct state_query queries[3] = {
        query_of(&wish, STATE_WORKERS), query_of(&wish, STATE_TASKS), query_of(&one, STATE_JOBS)};
    struct answer answers[3];
    size_t before = s->count;
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        answer_init(&answers[i]);
    }
    int status = ask_rows(ask, queries, ARRAY_SIZE(queries), answers, f);
    /* A node that does not answer now hides only its own. */
    if (status == EXIT_DONE && answers[0].failure.code != 0 && answers[0].worker_count == 0 &&
        before == 0) {
        *f = answers[0].failure;
        status = exit_of_failure(f);
    }
    status = status == EXIT_DONE ? take_job(s, choice, answers, f) : status;
    if (status == EXIT_DONE && answers[2].failure.code == 0 && answers[2].job_count == 0) {
        failure_set(f, CODE_NOT_FOUND, "there is no job %s. 'drt jobs' lists the jobs.", number);
        status = EXIT_FAILED;
    } else if (status == EXIT_DONE && s->count == 0 && (!choice->follow || s->over)) {
        failure_set(f, CODE_NOT_FOUND,
                    "job %s has no worker whose log is kept. 'drt jobs' lists the jobs; logs from "
                    "before a node was started again are in its folder logs.old.",
                    number);
        status = EXIT_FAILED;
    }
    qsort(s->items + before, s->count - before, sizeof *s->items, by_worker);
    for (size_t i = ARRAY_SIZE(answers); i > 0; i--) {
        answer_fini(&answers[i - 1]);
    }
    return status;
}

int log_sources_find(struct log_sources *s, struct ask *ask, const struct log_choice *choice,
                     struct failure *f)
{
    return *choice->task != '\0' ? find_task(s, ask, choice, f)
           : choice->worker != 0 ? find_worker(s, ask, choice, f)
                                 : find_job(s, ask, choice, f);
}
