/* Worker processes: where each is, and what it runs, to attach a debugger to it. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/rows_json.h"
#include "cli/views.h"
#include "common/text.h"

static size_t workers_ask(const struct wish *w, struct state_query *ret)
{
    ret[0] = query_of(w, STATE_WORKERS);
    ret[0].id = "";
    return 1;
}

static void put_row(const struct state_worker *k, const struct screen *s, struct table *t)
{
    char id[ID_TEXT_SIZE], text[32];
    table_row(t);
    table_cell(t, TONE_STRONG, "%" PRIu64, k->number);
    table_cell(t, TONE_PLAIN, "%s", text_or(k->node, "-"));
    if (k->pid != 0) {
        table_cell(t, TONE_PLAIN, "%" PRIu32, k->pid);
    } else {
        table_cell(t, TONE_PLAIN, "-");
    }
    table_cell(t, tone_of_state(k->state), "%s", k->state);
    table_cell(t, TONE_PLAIN, "%" PRIu64, k->job);
    table_cell(t, TONE_PLAIN, "%s", k->task.number != 0 ? object_id_format(k->task, id) : "-");
    table_cell(t, TONE_PLAIN, "%s", text_or(k->function, "-"));
    table_cell(t, TONE_PLAIN, "%s", text_or(k->program, "-"));
    table_cell(t, TONE_PLAIN, "%s", screen_time(s, k->started_unix_ms, text));
    table_cell(t, TONE_PLAIN, "%s", text_format_count(k->tasks_done, text));
}

static void workers_text(const struct wish *w, const struct answer *answers, const struct screen *s,
                         struct buffer *out)
{
    static const struct table_column columns[] = {
        {"WORKER", .right = true}, {"NODE", .flexible = true},
        {"PID", .right = true},    {.title = "STATE"},
        {"JOB", .right = true},    {.title = "TASK"},
        {"FUNCTION", .drop = 1},   {"PROGRAM", .flexible = true, .drop = 3},
        {"STARTED", .drop = 2},    {"TASKS DONE", .right = true, .drop = 4},
    };
    struct table *t = table_new(columns, ARRAY_SIZE(columns));
    const struct state_worker *busy = NULL;
    for (size_t i = 0; i < answers[0].worker_count; i++) {
        const struct state_worker *k = &answers[0].workers[i];
        put_row(k, s, t);
        busy = busy == NULL && k->task.number != 0 && k->pid != 0 ? k : busy;
    }
    if (table_row_count(t) > 0) {
        table_print(t, s, 0, true, out);
    } else {
        buffer_append_text(out, "No such workers. A job has workers while its tasks run.\n");
    }
    if (busy != NULL && s->terminal) {
        buffer_append_text(out, "\n");
        screen_printf(s, out, TONE_DIM, "Attach a debugger: gdb -p %" PRIu32 " (on %s)", busy->pid,
                      busy->node);
        buffer_append_text(out, "\n");
    }
    table_free(t);
}

static json_t *workers_json(const struct wish *w, const struct answer *answers,
                            uint64_t now_unix_ms)
{
    json_t *array = json_array();
    for (size_t i = 0; i < answers[0].worker_count; i++) {
        int r = json_array_append_new(array, json_of_worker(&answers[0].workers[i]));
        ASSERT(r == 0);
    }
    return array;
}

const struct view workers_view = {.ask = workers_ask, .text = workers_text, .json = workers_json};
