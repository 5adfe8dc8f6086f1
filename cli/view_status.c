/* The cluster on one screen: the head, each node, what waits and why, what failed lately. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/rows_json.h"
#include "cli/views.h"
#include "common/text.h"

enum { CLUSTER = 0, CLASSES = 1, FAILED = 2, SELF = 3, CLASSES_MAX = 10, FAILED_MAX = 5 };
#define FAILED_ROWS 200 /* of each node are looked at, also where each of 300 has more */
#define HOUR_MS     UINT64_C(3600000)

static size_t status_ask(const struct wish *w, struct state_query *ret)
{
    const struct wish all = {.limit = 0};
    ret[CLUSTER] = query_of(w, STATE_CLUSTER);
    ret[CLASSES] = query_of(&all, STATE_CLASSES);
    ret[FAILED] = query_of(&all, STATE_TASKS);
    ret[FAILED].state = "failed";
    ret[FAILED].limit = FAILED_ROWS;
    ret[SELF] = query_of(&all, STATE_SELF);
    return 4;
}

struct totals {
    uint64_t waiting, running, done, failed, cancelled;
    size_t present, lost, leaving, private_ones, old; /* nodes */
};

/* What the raylets count now; the head hears of it once a second. What waits for this node alone,
 * the raylets of its homes tell. False: its own did not say. */
static bool add_counts_of_now(const struct answer *classes, const char *node, struct totals *t)
{
    bool found = false;
    for (size_t i = 0; i < classes->class_count; i++) {
        const struct state_class *c = &classes->classes[i];
        if (*c->function != '\0' || c->job != 0 || strcmp(c->node, node) != 0) {
            continue;
        }
        found = found || strcmp(c->state, "waiting") != 0;
        t->waiting += strcmp(c->state, "waiting") == 0 ? c->count : 0;
        t->running += strcmp(c->state, "running") == 0 ? c->count : 0;
        t->done += strcmp(c->state, "done") == 0 ? c->count : 0;
        t->failed += strcmp(c->state, "failed") == 0 ? c->count : 0;
        t->cancelled += strcmp(c->state, "cancelled") == 0 ? c->count : 0;
    }
    return found;
}

static struct totals add_up(const struct answer *a, const struct answer *classes,
                            uint64_t now_unix_ms)
{
    struct totals t = {0};
    for (size_t i = 0; i < a->node_count; i++) {
        const struct state_node *n = &a->nodes[i];
        bool gone = node_is_gone(n); /* nothing runs there, whatever it said last */
        if (node_is_old(n)) {        /* what it does now nobody knows */
            t.old++;
        } else if (gone || !add_counts_of_now(classes, n->name, &t)) {
            t.waiting += gone ? 0 : n->waiting;
            t.running += gone ? 0 : n->running;
            t.done += n->done;
            t.failed += n->failed;
            t.cancelled += n->cancelled;
        }
        bool is_shown = node_is_worth_a_line(a, n, now_unix_ms);
        t.present += is_shown;
        t.lost += is_shown && strcmp(n->state, "lost") == 0;
        t.leaving += strcmp(n->state, "leaving") == 0;
        t.private_ones += strcmp(n->state, "private") == 0;
    }
    return t;
}

/* What to do about a head that does not answer. */
static void put_advice(const struct answer *a, const struct screen *s, struct buffer *out)
{
    char who[48] = "A process";
    if (a->head_stand_pid != 0) {
        snprintf(who, sizeof who, "Process %" PRIu32, a->head_stand_pid);
    }
    if (a->head_stands) {
        screen_printf(s, out, TONE_PLAIN,
                      "Running work goes on. %s is the head and stands still. End all here: drt "
                      "stop (kills after 10 s)",
                      who);
    } else {
        screen_put(s, out, TONE_PLAIN,
                   "Running work goes on. Start the head again: drt-head start");
    }
    buffer_append_text(out, "\n");
}

static void put_head(const struct answer *a, const struct totals *t, const struct screen *s,
                     struct buffer *out)
{
    char up[32];
    screen_put(s, out, TONE_STRONG, text_or(a->cluster, "cluster"));
    if (a->head_pid == 0) {
        screen_put(s, out, TONE_BAD, "   head does not answer");
    } else {
        screen_printf(s, out, TONE_PLAIN, "   head %s   up %s", text_or(a->head_address, "-"),
                      screen_span(a->head_started_unix_ms, s->now_unix_ms, up));
    }
    screen_printf(s, out, TONE_PLAIN, "   %zu node%s", t->present, t->present == 1 ? "" : "s");
    if (t->lost != 0) {
        screen_put(s, out, TONE_PLAIN, ", ");
        screen_printf(s, out, TONE_BAD, "%zu lost", t->lost);
    }
    if (t->leaving != 0) {
        screen_put(s, out, TONE_PLAIN, ", ");
        screen_printf(s, out, TONE_WARN, "%zu leaving", t->leaving);
    }
    if (t->private_ones != 0) {
        screen_printf(s, out, TONE_PLAIN, "   %zu private", t->private_ones);
    }
    buffer_append_text(out, "\n");
    if (a->head_pid == 0) {
        put_advice(a, s, out);
    }
}

static bool any_node_has(const struct answer *a, const char *name)
{
    for (size_t i = 0; i < a->node_count; i++) {
        double total, available;
        answer_amount(&a->nodes[i], name, &total, &available);
        if (total > 0) {
            return true;
        }
    }
    return false;
}

static void put_node(const struct state_node *n, const struct screen *s, bool store, bool gpu,
                     struct table *t)
{
    char since[32];
    table_row(t);
    table_cell(t, TONE_STRONG, "%s", n->name);
    table_cell(t, TONE_PLAIN, "%s", text_or(n->address, "-"));
    table_cell(t, tone_of_state(node_state(n)), "%s", node_state(n));
    table_cell(t, TONE_PLAIN, "%s", screen_span(n->since_unix_ms, s->now_unix_ms, since));
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
    if (store) {
        put_amount(t, s, n, "object_store");
    }
    if (gpu) {
        put_amount(t, s, n, "GPU");
    }
}

static void put_nodes(const struct answer *a, const struct screen *s, struct buffer *out)
{
    struct table_column columns[13] = {
        {.title = "NODE", .flexible = true},
        {.title = "ADDRESS", .drop = 3},
        {.title = "STATE"},
        {.title = "FOR", .drop = 4},
        {.title = "CPU"},
        {.title = "", .drop = 5},
        {.title = "MEMORY USED", .drop = 1},
        {.title = "", .drop = 7},
        {.title = "RESERVED", .drop = 6},
    };
    size_t count = 9;
    bool store = any_node_has(a, "object_store"), gpu = any_node_has(a, "GPU");
    if (store) {
        columns[count++] = (struct table_column){.title = "STORE", .drop = 2};
        columns[count++] = (struct table_column){.title = "", .drop = 6};
    }
    if (gpu) {
        columns[count++] = (struct table_column){.title = "GPU"};
        columns[count++] = (struct table_column){.title = "", .drop = 5};
    }
    struct table *t = table_new(columns, count);
    for (size_t i = 0; i < a->node_count; i++) {
        if (node_is_worth_a_line(a, &a->nodes[i], s->now_unix_ms)) {
            put_node(&a->nodes[i], s, store, gpu, t);
        }
    }
    if (table_row_count(t) > 0) {
        table_print(t, s, 0, true, out);
        put_warnings(a, s, out);
    } else if (a->head_pid == 0) {
        buffer_append_text(out, "No node is known.\n");
    } else {
        screen_printf(s, out, TONE_PLAIN, "No node has joined. Add this machine: drt-node join %s",
                      text_or(a->head_address, ""));
        buffer_append_text(out, "\n");
    }
    table_free(t);
}

/* The tasks of one kind that wait for several nodes are one line. `at` is the last of its rows. */
static uint64_t count_alike(const struct answer *a, size_t *at)
{
    const struct state_class *c = &a->classes[*at];
    uint64_t count = c->count;
    for (; *at + 1 < a->class_count; ++*at) {
        const struct state_class *next = &a->classes[*at + 1];
        if (strcmp(c->function, next->function) != 0 || strcmp(c->state, next->state) != 0 ||
            strcmp(text_or(c->reason, ""), text_or(next->reason, "")) != 0) {
            break;
        }
        count += next->count;
    }
    return count;
}

static void put_classes(const struct answer *a, const struct screen *s, struct buffer *out)
{
    static const struct table_column columns[] = {
        {.title = "", .right = true}, {.title = "", .flexible = true}, {.title = ""}};
    struct table *t = table_new(columns, ARRAY_SIZE(columns));
    size_t left_out = 0;
    for (size_t i = 0; i < a->class_count; i++) {
        const struct state_class *c = &a->classes[i];
        char count[32];
        bool waits = strcmp(c->state, "waiting") == 0;
        if (!waits || c->count == 0 || *c->function == '\0') {
            continue;
        }
        uint64_t alike = count_alike(a, &i);
        if (table_row_count(t) == CLASSES_MAX) {
            left_out++;
            continue;
        }
        table_row(t);
        table_cell(t, TONE_PLAIN, "%s", text_format_count(alike, count));
        table_cell(t, TONE_PLAIN, "x %s", c->function);
        const char *reason = text_or(c->reason, "");
        table_rest(t, TONE_WARN, *reason != '\0' ? "%s: %s" : "%s%s", "waiting", reason);
    }
    table_print(t, s, 2, false, out);
    table_free(t);
    if (left_out != 0) {
        screen_printf(s, out, TONE_DIM, "  and %zu more kinds: drt tasks --state waiting",
                      left_out);
        buffer_append_text(out, "\n");
    }
}

/* Failures of one kind: the same thing went wrong in the same function, in several tasks. */
struct kind {
    const struct state_task *shown; /* the newest, rather one that ran */
    uint64_t own, others; /* tasks of that function; tasks that needed a result of theirs */
    bool several_nodes;
};

static const char *root_of(const struct state_task *k)
{
    return text_or(k->root, k->function);
}

static bool is_same_kind(const struct state_task *a, const struct state_task *b)
{
    return a->code == b->code && strcmp(root_of(a), root_of(b)) == 0 &&
           strcmp(text_or(a->reason, ""), text_or(b->reason, "")) == 0;
}

static void add_to_kind(struct kind *kind, const struct state_task *k)
{
    bool is_own = strcmp(root_of(k), k->function) == 0;
    kind->own += is_own;
    kind->others += !is_own;
    kind->several_nodes =
        kind->several_nodes ||
        (kind->shown != NULL && strcmp(text_or(kind->shown->node, ""), text_or(k->node, "")) != 0);
    if (kind->shown == NULL || (kind->shown->worker == 0 && k->worker != 0)) {
        kind->shown = k;
    }
}

/* The kinds of the last hour, the newest first. Returns how many there are; *ret_more tasks are of
 * kinds beyond FAILED_MAX. */
static size_t find_kinds(const struct answer *a, const struct screen *s,
                         struct kind kinds[FAILED_MAX], uint64_t *ret_more)
{
    size_t count = 0;
    for (size_t i = 0; i < a->task_count; i++) {
        const struct state_task *k = &a->tasks[i];
        size_t at = 0;
        if (strcmp(k->state, "failed") != 0 || k->ended_unix_ms + HOUR_MS < s->now_unix_ms) {
            continue;
        }
        while (at < count && !is_same_kind(kinds[at].shown, k)) {
            at++;
        }
        if (at == count && count == FAILED_MAX) {
            *ret_more += 1;
            continue;
        }
        if (at == count) {
            kinds[count++] = (struct kind){0};
        }
        add_to_kind(&kinds[at], k);
    }
    return count;
}

/* `cut`: there may be more of it than was looked at. */
static void put_kind(const struct kind *kind, bool cut, const struct screen *s, struct table *t)
{
    const struct state_task *k = kind->shown;
    char when[32], id[ID_TEXT_SIZE], story[TASK_STORY_SIZE], count[32], others[96] = "";
    const char *name = kind->own + kind->others > 1 ? root_of(k) : text_or(k->name, k->function);
    if (kind->others != 0) {
        snprintf(others, sizeof others, "; %s task%s needed its result",
                 text_format_count(kind->others, count), kind->others == 1 ? "" : "s");
    }
    table_row(t);
    table_cell(t, TONE_PLAIN, "%s", screen_time(s, k->ended_unix_ms, when));
    if (kind->own > 1) {
        table_cell(t, TONE_PLAIN, "%s%s x %s", text_format_count(kind->own, count), cut ? "+" : "",
                   name);
    } else {
        table_cell(t, TONE_PLAIN, "%s", name);
    }
    table_cell(t, TONE_PLAIN, "%s", kind->several_nodes ? "several nodes" : text_or(k->node, "-"));
    table_cell(t, TONE_BAD, "%s%s", task_story(k, story), others);
    /* What never ran wrote nothing. */
    table_cell(t, TONE_DIM, k->worker != 0 ? "drt logs --task %s" : "drt explain %s",
               object_id_format(k->id, id));
}

static void put_failed(const struct answer *a, const struct screen *s, struct buffer *out)
{
    static const struct table_column columns[] = {{.title = ""},
                                                  {"", .flexible = true},
                                                  {"", .drop = 2},
                                                  {"", .flexible = true},
                                                  {.title = ""}};
    struct kind kinds[FAILED_MAX];
    uint64_t more = 0;
    char count[32];
    size_t kind_count = find_kinds(a, s, kinds, &more);
    if (kind_count == 0) {
        return;
    }
    struct table *t = table_new(columns, ARRAY_SIZE(columns));
    for (size_t i = 0; i < kind_count; i++) {
        put_kind(&kinds[i], a->task_count >= FAILED_ROWS, s, t);
    }
    buffer_append_text(out, "FAILED in the last hour\n");
    table_print(t, s, 2, false, out);
    table_free(t);
    if (more != 0) {
        screen_printf(s, out, TONE_DIM, "  and %s more: drt tasks --state failed",
                      text_format_count(more, count));
        buffer_append_text(out, "\n");
    }
}

static void status_text(const struct wish *w, const struct answer *answers, const struct screen *s,
                        struct buffer *out)
{
    const struct answer *a = &answers[CLUSTER];
    struct totals t = add_up(a, &answers[CLASSES], s->now_unix_ms);
    char count[4][32];

    put_head(a, &t, s, out);
    buffer_append_text(out, "\n");
    put_nodes(a, s, out);
    buffer_append_text(out, "\n");
    if (t.waiting + t.running + t.done + t.failed + t.cancelled == 0) {
        buffer_append_text(out, "TASKS   none yet\n");
        return;
    }
    screen_printf(s, out, TONE_PLAIN, "TASKS   %s running   %s waiting   %s done   ",
                  text_format_count(t.running, count[0]), text_format_count(t.waiting, count[1]),
                  text_format_count(t.done, count[2]));
    screen_printf(s, out, t.failed != 0 ? TONE_BAD : TONE_PLAIN, "%s failed",
                  text_format_count(t.failed, count[3]));
    if (t.cancelled != 0) {
        screen_printf(s, out, TONE_PLAIN, "   %s cancelled",
                      text_format_count(t.cancelled, count[0]));
    }
    if (t.old != 0) {
        screen_printf(s, out, TONE_WARN, "   (without %zu node%s that could not be asked)", t.old,
                      t.old == 1 ? "" : "s");
    }
    buffer_append_text(out, "\n");
    put_classes(&answers[CLASSES], s, out);
    put_failed(&answers[FAILED], s, out);
}

static json_t *status_json(const struct wish *w, const struct answer *answers, uint64_t now_unix_ms)
{
    const struct answer *a = &answers[CLUSTER];
    struct totals t = add_up(a, &answers[CLASSES], now_unix_ms);
    json_t *head = json_null();
    if (a->head_pid != 0) {
        head = json_pack("{s:o, s:I, s:o, s:o}", "address", json_of_text(a->head_address), "pid",
                         (json_int_t)a->head_pid, "started", json_of_time(a->head_started_unix_ms),
                         "uptime_s", json_of_span(a->head_started_unix_ms, now_unix_ms));
    }
    json_t *tasks = json_pack("{s:I, s:I, s:I, s:I, s:I}", "waiting", (json_int_t)t.waiting,
                              "running", (json_int_t)t.running, "done", (json_int_t)t.done,
                              "failed", (json_int_t)t.failed, "cancelled", (json_int_t)t.cancelled);
    json_t *classes = json_array();
    for (size_t i = 0; i < answers[CLASSES].class_count; i++) {
        const struct state_class *c = &answers[CLASSES].classes[i];
        int r = *c->function == '\0' ? 0 : json_array_append_new(classes, json_of_class(c));
        ASSERT(r == 0);
    }
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "cluster", json_of_text(a->cluster), "head",
                     head, "nodes", json_of_nodes(a, now_unix_ms), "tasks", tasks, "classes",
                     classes, "failed", json_of_tasks(&answers[FAILED], now_unix_ms));
}

const struct view status_view = {.ask = status_ask, .text = status_text, .json = status_json};
