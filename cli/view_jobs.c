/*
 * Jobs, the newest first: each is one run of a program. Of a job that runs the head knows no
 * counts; those come from its raylet, as classes.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cli/rows_json.h"
#include "cli/views.h"
#include "common/text.h"

enum { JOBS = 0, CLASSES = 1 };

static size_t jobs_ask(const struct wish *w, struct state_query *ret)
{
    const struct wish all = {.limit = STATE_ROWS_MAX, .job = w->job};
    uint64_t number;
    ret[JOBS] = query_of(w, STATE_JOBS);
    /* The thing is a number, "last", or a name. */
    if (strcmp(ret[JOBS].id, "last") != 0 &&
        text_parse_u64(ret[JOBS].id, UINT64_MAX, &number) != 0 && *ret[JOBS].id != '\0') {
        ret[JOBS].name = ret[JOBS].id;
        ret[JOBS].id = "";
    }
    ret[CLASSES] = query_of(&all, STATE_CLASSES);
    return 2;
}

static struct state_job with_counts(const struct state_job *job, const struct answer *classes)
{
    struct state_job sum = {0}, full = *job;
    if (job->number == 0) { /* the head has not numbered it yet, and 0 is how all are asked for */
        return full;
    }
    for (size_t i = 0; i < classes->class_count; i++) {
        const struct state_class *c = &classes->classes[i];
        if (c->job != job->number) {
            continue;
        }
        bool waits = strcmp(c->state, "waiting") == 0;
        sum.waiting += waits ? c->count : 0;
        sum.running += strcmp(c->state, "running") == 0 ? c->count : 0;
        sum.done += strcmp(c->state, "done") == 0 ? c->count : 0;
        sum.failed += strcmp(c->state, "failed") == 0 ? c->count : 0;
        sum.cancelled += strcmp(c->state, "cancelled") == 0 ? c->count : 0;
    }
    full.waiting = MAX_OF(full.waiting, sum.waiting);
    full.running = MAX_OF(full.running, sum.running);
    full.done = MAX_OF(full.done, sum.done);
    full.failed = MAX_OF(full.failed, sum.failed);
    full.cancelled = MAX_OF(full.cancelled, sum.cancelled);
    return full;
}

static void put_row(const struct state_job *j, const struct screen *s, struct table *t)
{
    char text[32];
    uint64_t until = j->ended_unix_ms != 0 ? j->ended_unix_ms : s->now_unix_ms;
    table_row(t);
    table_cell(t, TONE_STRONG, "%" PRIu64, j->number);
    table_cell(t, TONE_PLAIN, "%s", j->name);
    table_cell(t, tone_of_state(j->state), "%s", j->state);
    table_cell(t, TONE_PLAIN, "%s", text_or(j->node, "-"));
    table_cell(t, TONE_PLAIN, "%s", text_or(j->user, "-"));
    table_cell(t, TONE_PLAIN, "%" PRIu32, j->pid);
    table_cell(t, TONE_PLAIN, "%s", screen_time(s, j->started_unix_ms, text));
    table_cell(t, TONE_PLAIN, "%s", screen_span(j->started_unix_ms, until, text));
    table_cell(t, TONE_PLAIN, "%s", text_format_count(j->running, text));
    table_cell(t, TONE_PLAIN, "%s", text_format_count(j->waiting, text));
    table_cell(t, TONE_PLAIN, "%s", text_format_count(j->done, text));
    table_cell(t, j->failed != 0 ? TONE_BAD : TONE_PLAIN, "%s", text_format_count(j->failed, text));
    table_cell(t, TONE_PLAIN, "%s", text_format_count(j->cancelled, text));
}

static void jobs_text(const struct wish *w, const struct answer *answers, const struct screen *s,
                      struct buffer *out)
{
    static const struct table_column columns[] = {
        {"JOB", .right = true},
        {"NAME", .flexible = true},
        {.title = "STATE"},
        {"NODE", .drop = 3},
        {"USER", .drop = 6},
        {"PID", .right = true, .drop = 5},
        {"STARTED", .drop = 4},
        {.title = "TOOK"},
        {"RUNNING", .right = true, .drop = 1},
        {"WAITING", .right = true, .drop = 1},
        {"DONE", .right = true},
        {"FAILED", .right = true},
        {"CANCELLED", .right = true, .drop = 2},
    };
    struct table *t = table_new(columns, ARRAY_SIZE(columns));
    for (size_t i = 0; i < answers[JOBS].job_count; i++) {
        struct state_job full = with_counts(&answers[JOBS].jobs[i], &answers[CLASSES]);
        put_row(&full, s, t);
    }
    if (table_row_count(t) > 0) {
        table_print(t, s, 0, true, out);
    } else {
        buffer_append_text(out,
                           "No such jobs. Each run of a program that calls drt_init is one.\n");
    }
    table_free(t);
}

static json_t *jobs_json(const struct wish *w, const struct answer *answers, uint64_t now_unix_ms)
{
    json_t *array = json_array();
    for (size_t i = 0; i < answers[JOBS].job_count; i++) {
        struct state_job full = with_counts(&answers[JOBS].jobs[i], &answers[CLASSES]);
        int r = json_array_append_new(array, json_of_job(&full, now_unix_ms));
        ASSERT(r == 0);
    }
    return array;
}

const struct view jobs_view = {.ask = jobs_ask, .text = jobs_text, .json = jobs_json};
