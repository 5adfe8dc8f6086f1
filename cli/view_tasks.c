/* Tasks, the newest first: what each does or why it waits. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/rows_json.h"
#include "cli/views.h"
#include "common/text.h"

static size_t tasks_ask(const struct wish *w, struct state_query *ret)
{
    ret[0] = query_of(w, STATE_TASKS);
    return 1;
}

static void put_row(const struct state_task *k, const struct screen *s, struct table *t)
{
    char id[ID_TEXT_SIZE], text[32], story[TASK_STORY_SIZE];
    uint64_t until = k->started_unix_ms != 0 ? k->started_unix_ms
                     : k->ended_unix_ms != 0 ? k->ended_unix_ms
                                             : s->now_unix_ms;

    table_row(t);
    table_cell(t, TONE_STRONG, "%s", object_id_format(k->id, id));
    table_cell(t, TONE_PLAIN, "%s", text_or(k->name, k->function));
    table_cell(t, tone_of_state(k->state), "%s", k->state);
    table_cell(t, TONE_PLAIN, "%s", text_or(k->node, "-"));
    table_cell(t, TONE_PLAIN, "%" PRIu64, k->job);
    if (k->worker != 0) {
        table_cell(t, TONE_PLAIN, "%" PRIu64, k->worker);
    } else {
        table_cell(t, TONE_PLAIN, "-");
    }
    table_cell(t, TONE_PLAIN, "%" PRIu32 "/%" PRIu32, k->attempt, k->max_attempts);
    table_cell(t, TONE_PLAIN, "%s", screen_time(s, k->submitted_unix_ms, text));
    table_cell(t, TONE_PLAIN, "%s", screen_span(k->submitted_unix_ms, until, text));
    table_cell(t, TONE_PLAIN, "%s", k->ran_ns != 0 ? text_format_duration(k->ran_ns, text) : "-");
    table_cell(t, k->code != 0 ? TONE_BAD : TONE_PLAIN, "%s", task_story(k, story));
}

static void tasks_text(const struct wish *w, const struct answer *answers, const struct screen *s,
                       struct buffer *out)
{
    static const struct table_column columns[] = {
        {.title = "TASK"},
        {"NAME", .flexible = true},
        {.title = "STATE"},
        {"NODE", .drop = 3},
        {"JOB", .right = true, .drop = 4},
        {"WORKER", .right = true, .drop = 7},
        {"ATTEMPT", .drop = 6},
        {"SUBMITTED", .drop = 5},
        {"WAITED", .drop = 2},
        {"RAN", .drop = 1},
        {"REASON", .flexible = true},
    };
    struct table *t = table_new(columns, ARRAY_SIZE(columns));
    for (size_t i = 0; i < answers[0].task_count; i++) {
        put_row(&answers[0].tasks[i], s, t);
    }
    if (table_row_count(t) > 0) {
        table_print(t, s, 0, true, out);
    } else {
        buffer_append_text(out, "No such tasks.\n");
    }
    table_free(t);
}

static json_t *tasks_json(const struct wish *w, const struct answer *answers, uint64_t now_unix_ms)
{
    return json_of_tasks(&answers[0], now_unix_ms);
}

const struct view tasks_view = {.ask = tasks_ask, .text = tasks_text, .json = tasks_json};
