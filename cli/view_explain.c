/* Why a task is where it is, in its raylet's words. */
#include "cli/rows_json.h"
#include "cli/views.h"

static size_t explain_ask(const struct wish *w, struct state_query *ret)
{
    ret[0] = query_of(w, STATE_EXPLAIN);
    return 1;
}

static void explain_text(const struct wish *w, const struct answer *answers, const struct screen *s,
                         struct buffer *out)
{
    for (size_t i = 0; i < answers[0].line_count; i++) {
        screen_put(s, out, i == 0 ? TONE_STRONG : TONE_PLAIN, answers[0].lines[i]);
        buffer_append_text(out, "\n");
    }
}

static json_t *explain_json(const struct wish *w, const struct answer *answers,
                            uint64_t now_unix_ms)
{
    json_t *lines = json_array();
    for (size_t i = 0; i < answers[0].line_count; i++) {
        int r = json_array_append_new(lines, json_of_text(answers[0].lines[i]));
        ASSERT(r == 0);
    }
    return json_pack("{s:o, s:o}", "task", json_of_text(w->thing), "lines", lines);
}

const struct view explain_view = {.ask = explain_ask, .text = explain_text, .json = explain_json};
