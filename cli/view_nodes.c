/* All nodes, one line each, with what each has, runs and offers. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/rows_json.h"
#include "cli/views.h"
#include "common/resources.h"
#include "common/text.h"

static size_t nodes_ask(const struct wish *w, struct state_query *ret)
{
    ret[0] = query_of(w, STATE_NODES);
    /* The thing is a node. */
    ret[0].id = "";
    if (*text_or(w->thing, "") != '\0') {
        ret[0].node = w->thing;
    }
    const struct wish self = {.node = ret[0].node};
    ret[1] = query_of(&self, STATE_SELF);
    return 2;
}

/* "disk 2/2, x 1/3": what is neither of the columns' nor fixed. */
static void put_custom(const struct state_node *n, struct buffer *out)
{
    static const char *const known[] = {"CPU", "memory", "GPU", "gpu_memory", "object_store"};
    for (size_t i = 0; i < n->amount_count; i++) {
        const struct state_amount *a = &n->amounts[i];
        size_t k = 0;
        while (k < ARRAY_SIZE(known) && strcmp(a->name, known[k]) != 0) {
            k++;
        }
        if (k == ARRAY_SIZE(known)) {
            double total = resource_amount_of(a->total_units);
            buffer_printf(out, "%s%s %g/%g", out->size != 0 ? ", " : "", a->name,
                          total - resource_amount_of(a->available_units), total);
        }
    }
    if (*text_or(n->labels, "") != '\0') {
        buffer_printf(out, "%s%s", out->size != 0 ? ", " : "", n->labels);
    }
}

static void put_row(const struct state_node *n, const struct screen *s, struct table *t)
{
    char text[32], count[32];
    struct buffer custom = {0};
    table_row(t);
    table_cell(t, TONE_PLAIN, "%" PRIu32, n->number);
    table_cell(t, TONE_STRONG, "%s", n->name);
    table_cell(t, TONE_PLAIN, "%s", text_or(n->address, "-"));
    table_cell(t, tone_of_state(node_state(n)), "%s", node_state(n));
    table_cell(t, TONE_PLAIN, "%s", screen_span(n->since_unix_ms, s->now_unix_ms, text));
    if (node_is_gone(n)) {
        if (*text_or(n->note, "") != '\0') {
            table_rest(t, TONE_DIM, "(%s)", n->note);
        }
        return;
    }
    if (node_is_old(n)) {
        put_old(t, s, n);
        return;
    }
    put_amount(t, s, n, "CPU");
    put_memory(t, s, n);
    table_cell(t, TONE_PLAIN, "%s", text_format_count(n->running, count));
    table_cell(t, TONE_PLAIN, "%s", text_format_count(n->waiting, count));
    table_cell(t, TONE_PLAIN, "%s", text_format_count(n->done, count));
    table_cell(t, n->failed != 0 ? TONE_BAD : TONE_PLAIN, "%s",
               text_format_count(n->failed, count));
    table_cell(t, TONE_PLAIN, "%s", text_format_count(n->cancelled, count));
    table_cell(t, TONE_PLAIN, "%" PRIu32, n->workers);
    put_custom(n, &custom);
    table_cell(t, TONE_PLAIN, "%s", custom.size != 0 ? buffer_text(&custom) : "-");
    buffer_fini(&custom);
}

/* "5 nodes: 3 alive, 1 leaving, 1 lost" */
static void put_counts(const struct answer *a, const struct screen *s, struct buffer *out)
{
    static const char *const states[] = {"alive",   "suspect", "leaving", "private",
                                         "unknown", "lost",    "left"};
    const char *before = ": ";
    if (a->node_count < 2) {
        return;
    }
    buffer_append_text(out, "\n");
    screen_printf(s, out, TONE_PLAIN, "%zu nodes", a->node_count);
    for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
        size_t count = 0;
        for (size_t k = 0; k < a->node_count; k++) {
            count += strcmp(node_state(&a->nodes[k]), states[i]) == 0;
        }
        if (count != 0) {
            screen_put(s, out, TONE_PLAIN, before);
            screen_printf(s, out, tone_of_state(states[i]), "%zu %s", count, states[i]);
            before = ", ";
        }
    }
    buffer_append_text(out, "\n");
}

static void nodes_text(const struct wish *w, const struct answer *answers, const struct screen *s,
                       struct buffer *out)
{
    static const struct table_column columns[] = {
        {"NUMBER", .right = true, .drop = 4},
        {"NODE", .flexible = true},
        {"ADDRESS", .drop = 3},
        {.title = "STATE"},
        {"FOR", .drop = 5},
        {.title = "CPU"},
        {.title = "", .drop = 8},
        {"MEMORY USED", .drop = 1},
        {.title = "", .drop = 9},
        {"RESERVED", .drop = 6},
        {"RUNNING", .right = true},
        {"WAITING", .right = true},
        {"DONE", .right = true, .drop = 2},
        {"FAILED", .right = true, .drop = 2},
        {"CANCELLED", .right = true, .drop = 3},
        {"WORKERS", .right = true, .drop = 6},
        {"ALSO", .drop = 7},
    };
    struct table *t = table_new(columns, ARRAY_SIZE(columns));
    for (size_t i = 0; i < answers[0].node_count; i++) {
        put_row(&answers[0].nodes[i], s, t);
    }
    if (table_row_count(t) > 0) {
        table_print(t, s, 0, true, out);
        put_warnings(&answers[0], s, out);
        put_counts(&answers[0], s, out);
    } else {
        buffer_append_text(out, "No such nodes.\n");
    }
    table_free(t);
}

static json_t *nodes_json(const struct wish *w, const struct answer *answers, uint64_t now_unix_ms)
{
    return json_of_nodes(&answers[0], now_unix_ms);
}

const struct view nodes_view = {.ask = nodes_ask, .text = nodes_text, .json = nodes_json};
