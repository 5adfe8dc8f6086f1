/* Where tasks run: those of 'drt distribute test', and of all jobs now. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/distribution.h"
#include "cli/rows_json.h"
#include "cli/views.h"
#include "common/clock.h"
#include "common/text.h"

enum { CLUSTER = 0, CLASSES = 1, BAR_WIDE = 30, BAR_BYTES = 3 * BAR_WIDE + 1 };

/* A line as long as its share of the most; "" but on a terminal. */
static const char *wide_bar(const struct screen *s, uint64_t n, uint64_t most, char out[BAR_BYTES])
{
    uint64_t cells = most == 0 ? 0 : (n * BAR_WIDE + most / 2) / most;
    size_t at = 0;
    out[0] = '\0';
    if (n != 0 && cells == 0) {
        cells = 1;
    }
    for (uint64_t i = 0; i < cells && s->terminal; i++) {
        at += (size_t)snprintf(out + at, BAR_BYTES - at, "%s", s->utf8 ? "\u2588" : "#");
    }
    return out;
}

/* ---- a test ---- */

static double tasks_per_s(const struct distribution *d)
{
    return d->elapsed_ns == 0
               ? 0
               : (double)(d->tasks - d->failed) * (double)NS_PER_S / (double)d->elapsed_ns;
}

static void put_test_rows(const struct distribution *d, const struct screen *s, struct buffer *out)
{
    static const struct table_column columns[] = {{.title = "NODE", .flexible = true},
                                                  {.title = "TASKS", .right = true},
                                                  {.title = "SHARE", .right = true},
                                                  {.title = "", .drop = 1}};
    struct table *t = table_new(columns, ARRAY_SIZE(columns));
    uint64_t most = 0, done = d->tasks - d->failed;
    for (size_t i = 0; i < d->node_count; i++) {
        most = MAX_OF(most, d->nodes[i].tasks);
    }
    for (size_t i = 0; i < d->node_count; i++) {
        const struct distribution_node *n = &d->nodes[i];
        char count[32], bar[BAR_BYTES];
        table_row(t);
        table_cell(t, TONE_STRONG, "%s", n->name);
        table_cell(t, TONE_PLAIN, "%s", text_format_count(n->tasks, count));
        table_cell(t, TONE_PLAIN, "%.1f %%",
                   done == 0 ? 0.0 : 100.0 * (double)n->tasks / (double)done);
        (void)wide_bar(s, n->tasks, most, bar);
        if (n->alive) {
            table_cell(t, TONE_GOOD, "%s", bar);
        } else {
            table_rest(t, TONE_BAD, "%s%slost", bar, *bar != '\0' ? "  " : "");
        }
    }
    table_print(t, s, 0, true, out);
    table_free(t);
}

void distribution_text(const struct distribution *d, const struct screen *s, struct buffer *out)
{
    char tasks[32], each[32], rate[32];
    screen_printf(s, out, TONE_STRONG, "%s task%s of %s, %s", text_format_count(d->tasks, tasks),
                  d->tasks == 1 ? "" : "s", text_format_duration(d->task_ns, each), d->strategy);
    screen_printf(s, out, TONE_PLAIN, "   from %s   %.3f s, %s tasks/s", d->from,
                  (double)d->elapsed_ns / (double)NS_PER_S,
                  text_format_count((uint64_t)(tasks_per_s(d) + 0.5), rate));
    buffer_append_text(out, "\n\n");
    put_test_rows(d, s, out);
    if (d->failed != 0) {
        buffer_append_text(out, "\n");
        screen_printf(s, out, TONE_BAD, "%s failed: ", text_format_count(d->failed, tasks));
        screen_put(s, out, TONE_PLAIN, d->failure);
        buffer_append_text(out, "\n");
    }
}

json_t *distribution_json(const struct distribution *d)
{
    json_t *nodes = json_array();
    for (size_t i = 0; i < d->node_count; i++) {
        const struct distribution_node *n = &d->nodes[i];
        int r = json_array_append_new(nodes,
                                      json_pack("{s:o, s:o, s:b, s:I}", "number",
                                                json_of_text(n->id), "name", json_of_text(n->name),
                                                "alive", n->alive, "tasks", (json_int_t)n->tasks));
        ASSERT(r == 0);
    }
    return json_pack(
        "{s:o, s:o, s:I, s:I, s:f, s:f, s:f, s:o, s:o}", "strategy", json_of_text(d->strategy),
        "from", json_of_text(d->from), "tasks", (json_int_t)d->tasks, "failed",
        (json_int_t)d->failed, "task_s", (double)d->task_ns / (double)NS_PER_S, "elapsed_s",
        (double)d->elapsed_ns / (double)NS_PER_S, "tasks_per_s", tasks_per_s(d), "failure",
        json_of_text(*d->failure != '\0' ? d->failure : NULL), "nodes", nodes);
}

/* ---- all jobs, now ---- */

static size_t distribute_ask(const struct wish *w, struct state_query *ret)
{
    const struct wish all = {.limit = STATE_ROWS_MAX, .job = w->job};
    ret[CLUSTER] = query_of(&all, STATE_CLUSTER);
    ret[CLASSES] = query_of(&all, STATE_CLASSES);
    return 2;
}

struct counts {
    uint64_t running, waiting;
};

static void add_class(struct counts *ret, const struct state_class *c)
{
    bool waits = strcmp(c->state, "waiting") == 0;
    ret->waiting += waits ? c->count : 0;
    ret->running += strcmp(c->state, "running") == 0 ? c->count : 0;
}

/* What its raylet counts now; of one that did not say what the head heard last. With a job, only of
 * this. */
static struct counts counts_of(const struct wish *w, const struct answer *answers,
                               const struct state_node *n)
{
    const struct answer *classes = &answers[CLASSES];
    struct counts counts = {0};
    bool said = w->job != 0;
    for (size_t i = 0; i < classes->class_count; i++) {
        const struct state_class *c = &classes->classes[i];
        if (strcmp(c->node, n->name) == 0 && (w->job == 0) == (*c->function == '\0')) {
            said = said || strcmp(c->state, "waiting") != 0; /* else its tasks' homes did */
            add_class(&counts, c);
        }
    }
    return said ? counts
                : (struct counts){n->running + counts.running, n->waiting + counts.waiting};
}

/* As in 'drt status', and programs' own nodes. */
static bool is_shown(const struct wish *w, const struct answer *a, const struct state_node *n,
                     uint64_t now_unix_ms)
{
    const char *node = text_or(w->node, "");
    return (strcmp(n->state, "private") == 0 || node_is_worth_a_line(a, n, now_unix_ms)) &&
           (*node == '\0' || strcmp(node, n->name) == 0);
}

static void put_nodes(const struct wish *w, const struct answer *answers, const struct screen *s,
                      struct buffer *out)
{
    static const struct table_column columns[] = {
        {.title = "NODE", .flexible = true}, {.title = "STATE"},
        {.title = "RUNNING", .right = true}, {.title = "", .drop = 1},
        {.title = "WAITING", .right = true}, {.title = "", .drop = 2}};
    const struct answer *a = &answers[CLUSTER];
    struct table *t = table_new(columns, ARRAY_SIZE(columns));
    struct counts most = {0};
    for (size_t i = 0; i < a->node_count; i++) {
        struct counts c = counts_of(w, answers, &a->nodes[i]);
        most.running = MAX_OF(most.running, c.running);
        most.waiting = MAX_OF(most.waiting, c.waiting);
    }
    for (size_t i = 0; i < a->node_count; i++) {
        const struct state_node *n = &a->nodes[i];
        char text[32], bar[32];
        if (!is_shown(w, a, n, s->now_unix_ms)) {
            continue;
        }
        table_row(t);
        table_cell(t, TONE_STRONG, "%s", n->name);
        table_cell(t, tone_of_state(n->state), "%s", n->state);
        if (node_is_gone(n)) {
            table_cell(t, TONE_PLAIN, "-");
            continue;
        }
        struct counts c = counts_of(w, answers, n);
        table_cell(t, TONE_PLAIN, "%s", text_format_count(c.running, text));
        table_cell(t, TONE_GOOD, "%s", screen_bar(s, (double)c.running, (double)most.running, bar));
        table_cell(t, TONE_PLAIN, "%s", text_format_count(c.waiting, text));
        table_cell(t, TONE_WARN, "%s", screen_bar(s, (double)c.waiting, (double)most.waiting, bar));
    }
    if (table_row_count(t) != 0) {
        table_print(t, s, 0, true, out);
    } else {
        buffer_append_text(out, "No node has joined.\n");
    }
    table_free(t);
}

static const char *distribute_lacks(const struct wish *w, const struct answer *answers,
                                    uint64_t now_unix_ms)
{
    const struct answer *a = &answers[CLUSTER];
    for (size_t i = 0; i < a->node_count; i++) {
        if (is_shown(w, a, &a->nodes[i], now_unix_ms)) {
            return NULL;
        }
    }
    return *text_or(w->node, "") != '\0' ? w->node : NULL;
}

/* What a job does on one node. */
struct share {
    const char *node, *name;
    uint64_t job;
    struct counts counts;
};

/* Raylets count what waits by function, and what runs by job. Returns how many; `ret` has room for
 * as many as there are rows. */
static size_t shares_of(const struct wish *w, const struct answer *a, struct share *ret)
{
    const char *node = text_or(w->node, "");
    size_t count = 0;
    for (size_t i = 0; i < a->class_count; i++) {
        const struct state_class *c = &a->classes[i];
        struct counts counts = {0};
        size_t at = 0;
        add_class(&counts, c);
        if (*c->function == '\0' || counts.running + counts.waiting == 0 ||
            (*node != '\0' && strcmp(node, c->node) != 0)) {
            continue;
        }
        while (at < count && (ret[at].job != c->job || strcmp(ret[at].node, c->node) != 0)) {
            at++;
        }
        if (at == count) {
            ret[count++] = (struct share){.node = c->node, .name = c->function, .job = c->job};
        } else if (counts.running != 0) {
            ret[at].name = c->function;
        }
        ret[at].counts.running += counts.running;
        ret[at].counts.waiting += counts.waiting;
    }
    return count;
}

static void put_shares(const struct share *shares, size_t count, const struct screen *s,
                       struct buffer *out)
{
    static const struct table_column columns[] = {{.title = "NODE"},
                                                  {.title = "JOB", .right = true},
                                                  {.title = "NAME", .flexible = true},
                                                  {.title = "RUNNING", .right = true},
                                                  {.title = "WAITING", .right = true}};
    struct table *t = table_new(columns, ARRAY_SIZE(columns));
    for (size_t i = 0; i < count; i++) {
        char text[32];
        table_row(t);
        table_cell(t, TONE_STRONG, "%s", shares[i].node);
        table_cell(t, TONE_PLAIN, "%" PRIu64, shares[i].job);
        table_cell(t, TONE_PLAIN, "%s", shares[i].name);
        table_cell(t, TONE_PLAIN, "%s", text_format_count(shares[i].counts.running, text));
        table_cell(t, TONE_PLAIN, "%s", text_format_count(shares[i].counts.waiting, text));
    }
    table_print(t, s, 0, true, out);
    table_free(t);
}

static void distribute_text(const struct wish *w, const struct answer *answers,
                            const struct screen *s, struct buffer *out)
{
    struct share *shares = xcalloc(answers[CLASSES].class_count + 1, sizeof *shares);
    size_t count = shares_of(w, &answers[CLASSES], shares);
    put_nodes(w, answers, s, out);
    if (count != 0) {
        buffer_append_text(out, "\n");
        put_shares(shares, count, s, out);
    }
    free(shares);
}

static json_t *json_of_shares(const struct wish *w, const struct answer *classes)
{
    struct share *shares = xcalloc(classes->class_count + 1, sizeof *shares);
    size_t count = shares_of(w, classes, shares);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        const struct share *one = &shares[i];
        int r = json_array_append_new(
            list,
            json_pack("{s:o, s:I, s:o, s:I, s:I}", "node", json_of_text(one->node), "job",
                      (json_int_t)one->job, "name", json_of_text(one->name), "running",
                      (json_int_t)one->counts.running, "waiting", (json_int_t)one->counts.waiting));
        ASSERT(r == 0);
    }
    free(shares);
    return list;
}

static json_t *distribute_json(const struct wish *w, const struct answer *answers,
                               uint64_t now_unix_ms)
{
    const struct answer *a = &answers[CLUSTER];
    json_t *nodes = json_array();
    for (size_t i = 0; i < a->node_count; i++) {
        const struct state_node *n = &a->nodes[i];
        struct counts c = counts_of(w, answers, n);
        if (is_shown(w, a, n, now_unix_ms)) {
            int r = json_array_append_new(
                nodes, json_pack("{s:o, s:o, s:I, s:I}", "name", json_of_text(n->name), "state",
                                 json_of_text(n->state), "running", (json_int_t)c.running,
                                 "waiting", (json_int_t)c.waiting));
            ASSERT(r == 0);
        }
    }
    return json_pack("{s:o, s:o}", "nodes", nodes, "jobs", json_of_shares(w, &answers[CLASSES]));
}

const struct view distribute_view = {.ask = distribute_ask,
                                     .text = distribute_text,
                                     .json = distribute_json,
                                     .lacks = distribute_lacks};
