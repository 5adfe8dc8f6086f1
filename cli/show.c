#include "cli/show.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/rows_json.h"
#include "cli/stop.h"
#include "common/text.h"

int complain(int status, const struct failure *f)
{
    char message[sizeof f->message];
    memcpy(message, f->message, sizeof message);
    message[sizeof message - 1] = '\0';
    text_clean(message);
    /* After "drt:" a sentence begins small; a name in capitals stays. */
    if (message[0] >= 'A' && message[0] <= 'Z' && (message[1] < 'A' || message[1] > 'Z')) {
        message[0] = (char)(message[0] - 'A' + 'a');
    }
    fprintf(stderr, "drt: %s\n", message[0] != '\0' ? message : code_name(f->code));
    return status;
}

int put_out(struct buffer *out)
{
    size_t done = 0;
    while (done < out->size) {
        ssize_t n = write(STDOUT_FILENO, out->data + done, out->size - done);
        if (n < 0 && errno != EINTR) {
            return EXIT_FAILED;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return EXIT_DONE;
}

int find_last_job(struct ask *a, uint64_t *ret, struct failure *f)
{
    const struct wish wish = {.thing = "last", .limit = 1};
    struct state_query query = query_of(&wish, STATE_JOBS);
    struct answer answer;
    answer_init(&answer);
    int r = ask_rows(a, &query, 1, &answer, f);
    sort_jobs(&answer);
    if (r == EXIT_DONE && answer.job_count == 0) {
        failure_set(f, CODE_NOT_FOUND, "no job has run yet in \"%s\".", a->place.cluster);
        r = EXIT_FAILED;
    } else if (r == EXIT_DONE) {
        *ret = answer.jobs[0].number;
    }
    answer_fini(&answer);
    return r;
}

/* The id of the newest task, which several nodes may know of. */
static int find_last_task(struct ask *a, char ret[ID_TEXT_SIZE], struct failure *f)
{
    const struct wish wish = {.thing = "last", .limit = 1};
    struct state_query query = query_of(&wish, STATE_TASKS);
    struct answer answer;
    answer_init(&answer);
    int r = ask_rows(a, &query, 1, &answer, f);
    sort_tasks(&answer);
    if (r == EXIT_DONE && answer.task_count == 0) {
        failure_set(f, CODE_NOT_FOUND, "no task has run yet in \"%s\".", a->place.cluster);
        r = EXIT_FAILED;
    } else if (r == EXIT_DONE) {
        object_id_format(answer.tasks[0].id, ret);
    }
    answer_fini(&answer);
    return r;
}

/* Cuts what is more than is to be shown; true if there was more. Daemons are asked for one row more
 * than that, and answer for several nodes at once. */
static bool trim(struct answer *a, uint32_t limit)
{
    sort_tasks(a);
    sort_jobs(a);
    if (limit == 0) {
        return false;
    }
    size_t most =
        MAX_OF(MAX_OF(a->task_count, a->job_count), MAX_OF(a->node_count, a->worker_count));
    bool cut = most > limit || (most == limit && limit == STATE_ROWS_MAX); /* no answer has more */
    a->task_count = MIN_OF(a->task_count, limit);
    a->job_count = MIN_OF(a->job_count, limit);
    a->node_count = MIN_OF(a->node_count, limit);
    a->worker_count = MIN_OF(a->worker_count, limit);
    return cut;
}

/* Raylets tell users by number; people know them by name. */
static void name_users(struct answer *a)
{
    for (size_t i = 0; i < a->job_count; i++) {
        uint64_t uid;
        const char *text = text_or(a->jobs[i].user, "");
        if (text_parse_u64(text, UINT32_MAX, &uid) == 0) {
            const struct passwd *entry = getpwuid((uid_t)uid);
            a->jobs[i].user = entry != NULL
                                  ? arena_text(&a->arena, entry->pw_name, strlen(entry->pw_name))
                                  : text;
        }
    }
}

static size_t count_rows(const struct answer *a)
{
    return a->node_count + a->job_count + a->task_count + a->worker_count + a->function_count +
           a->line_count;
}

/* What the answers lack: a failure, or the one thing that was asked for. */
static int check_answers(const struct view *view, const struct wish *wish,
                         const struct answer *answers, struct failure *f)
{
    const char *missing = NULL;
    if (answers[0].failure.code != 0) {
        *f = answers[0].failure;
        return exit_of_failure(f);
    }
    if (view->lacks != NULL) {
        missing = view->lacks(wish, answers, clock_unix_ms());
    } else if (*text_or(wish->thing, "") != '\0' && count_rows(&answers[0]) == 0) {
        missing = wish->thing;
    }
    if (missing != NULL) {
        failure_set(f, CODE_NOT_FOUND, "not found: %.60s. It does not exist, or it ended long ago.",
                    missing);
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

/* When this was so, and when the next look comes. */
static void put_time(const struct show *show, const struct screen *screen, struct buffer *out)
{
    char now[32], every[32];
    screen_printf(screen, out, TONE_DIM, "%s   every %s, until Ctrl-C",
                  screen_time(screen, screen->now_unix_ms, now),
                  text_format_duration(show->watch_ns, every));
    buffer_append_text(out, "\n\n");
}

static int render(const struct show *show, const struct wish *wish, const struct view *view,
                  const struct answer *answers, bool cut)
{
    struct buffer out = {0};
    struct screen screen;
    screen_of(STDOUT_FILENO, &screen);
    if (show->json) {
        json_put(view->json(wish, answers, screen.now_unix_ms), &out);
    } else {
        if (show->watch && screen.terminal) {
            buffer_append_text(&out, "\033[H\033[2J");
        }
        if (show->watch) {
            put_time(show, &screen, &out);
        }
        view->text(wish, answers, &screen, &out);
        if (cut) {
            screen_printf(&screen, &out, TONE_DIM, "Only %u %s shown. --limit N shows more.",
                          wish->limit, wish->limit == 1 ? "is" : "are");
            buffer_append_text(&out, "\n");
        }
        if (show->watch && !screen.terminal) {
            buffer_append_text(&out, "\n");
        }
    }
    int r = put_out(&out);
    buffer_fini(&out);
    if (cut && show->json) {
        fprintf(stderr, "drt: only %u %s shown. --limit N shows more.\n", wish->limit,
                wish->limit == 1 ? "is" : "are");
    }
    return r;
}

/* Why no row came: there may be no such job. */
static int check_job(struct ask *a, uint64_t job, struct failure *f)
{
    char number[32];
    snprintf(number, sizeof number, "%" PRIu64, job);
    const struct wish wish = {.thing = number, .limit = 1};
    struct state_query query = query_of(&wish, STATE_JOBS);
    struct answer answer;
    answer_init(&answer);
    int r = ask_rows(a, &query, 1, &answer, f);
    if (r == EXIT_DONE && answer.failure.code == 0 && answer.job_count == 0) {
        failure_set(f, CODE_NOT_FOUND, "there is no job %s. 'drt jobs' lists the jobs.", number);
        r = EXIT_FAILED;
    }
    answer_fini(&answer);
    return r;
}

static int show_once(const struct show *show, const struct view *view, struct failure *f)
{
    struct ask ask = {.socket = -1};
    struct wish wish = show->wish;
    char task[ID_TEXT_SIZE];
    struct state_query queries[VIEW_QUERIES_MAX] = {0};
    struct answer answers[VIEW_QUERIES_MAX];

    int r = ask_begin(&show->where, &ask, f);
    if (r == EXIT_DONE && show->last_job) {
        r = find_last_job(&ask, &wish.job, f);
    }
    bool last = strcmp(text_or(wish.thing, ""), "last") == 0;
    if (r == EXIT_DONE && last && view == &explain_view) {
        r = find_last_task(&ask, task, f);
        wish.thing = task;
    } else if (last) {
        wish.limit = 1;
    }
    if (r != EXIT_DONE) {
        ask_close(&ask);
        return r;
    }
    bool cut = false, is_list = !last && wish.limit != 0;
    size_t count = view->ask(&wish, queries);
    queries[0].limit += is_list ? 1 : 0;
    for (size_t i = 0; i < count; i++) {
        answer_init(&answers[i]);
    }
    r = ask_rows(&ask, queries, count, answers, f);
    if (r == EXIT_DONE) {
        for (size_t i = 0; i < count; i++) {
            cut |= trim(&answers[i], i == 0 ? wish.limit : 0) && is_list;
        }
        name_users(&answers[0]);
        answers[0].head_stands = ask.remote == NULL && answers[0].head_pid == 0 &&
                                 stop_finds_head(&ask.place, &answers[0].head_stand_pid);
        answers[0].cluster = text_or(answers[0].cluster, ask.place.cluster);
        for (size_t i = 1; i < count; i++) {
            if (queries[i].kind == STATE_SELF) {
                answer_refresh(&answers[0], &answers[i]);
            }
        }
        r = check_answers(view, &wish, answers, f);
        bool is_partial = answers[0].failure.code != 0 && count_rows(&answers[0]) != 0;
        if (r == EXIT_DONE && wish.job != 0 && count_rows(&answers[0]) == 0) {
            r = check_job(&ask, wish.job, f);
        }
        /* Where one node of several does not answer, the others' rows are worth showing. */
        if (r == EXIT_DONE || is_partial) {
            int shown = render(show, &wish, view, answers, cut);
            r = r == EXIT_DONE ? shown : r;
        }
    }
    for (size_t i = count; i > 0; i--) {
        answer_fini(&answers[i - 1]);
    }
    ask_close(&ask);
    return r;
}

int show_view(const struct show *show, const struct view *view)
{
    for (bool is_first = true;; is_first = false) {
        struct failure f = {0};
        int r = show_once(show, view, &f);
        bool is_told = f.message[0] != '\0' || f.code != 0;
        if (r != EXIT_DONE && is_told) {
            complain(r, &f);
        }
        /* Who watches wants to see also that the head or a node was away and came back. What
         * cannot be written ends it. */
        if (!show->watch || (r != EXIT_DONE && (is_first || !is_told))) {
            return r;
        }
        const struct timespec pause = {.tv_sec = (time_t)(show->watch_ns / NS_PER_S),
                                       .tv_nsec = (long)(show->watch_ns % NS_PER_S)};
        clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
    }
}
