#include "cli/views.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/text.h"

struct state_query query_of(const struct wish *w, enum state_kind kind)
{
    return (struct state_query){
        .kind = kind,
        .limit = w->limit,
        .id = text_or(w->thing, ""),
        .node = text_or(w->node, ""),
        .state = text_or(w->state, ""),
        .name = text_or(w->name, ""),
        .job = w->job,
    };
}

static int newest_task(const void *left, const void *right)
{
    const struct state_task *a = left, *b = right;
    if (a->submitted_unix_ms != b->submitted_unix_ms) {
        return a->submitted_unix_ms < b->submitted_unix_ms ? 1 : -1;
    }
    /* Made in the same millisecond: a process counts upwards. */
    if (a->id.node == b->id.node && a->id.client == b->id.client) {
        return a->id.number < b->id.number ? 1 : a->id.number > b->id.number ? -1 : 0;
    }
    if (a->id.node != b->id.node) {
        return a->id.node < b->id.node ? 1 : -1;
    }
    return a->id.client < b->id.client ? 1 : -1;
}

void sort_tasks(struct answer *a)
{
    if (a->task_count > 1) {
        qsort(a->tasks, a->task_count, sizeof *a->tasks, newest_task);
    }
}

static int newest_job(const void *left, const void *right)
{
    const struct state_job *a = left, *b = right;
    return a->number < b->number ? 1 : a->number > b->number ? -1 : 0;
}

void sort_jobs(struct answer *a)
{
    if (a->job_count > 1) {
        qsort(a->jobs, a->job_count, sizeof *a->jobs, newest_job);
    }
}

void put_warnings(const struct answer *a, const struct screen *s, struct buffer *out)
{
    bool is_first = true;
    for (size_t i = 0; i < a->node_count; i++) {
        const struct state_node *n = &a->nodes[i];
        if (node_is_gone(n) || *text_or(n->note, "") == '\0') {
            continue;
        }
        buffer_append_text(out, is_first ? "\n" : "");
        is_first = false;
        screen_put(s, out, TONE_WARN, "WARNING");
        screen_printf(s, out, TONE_PLAIN, "  %s %s", n->name, n->note);
        buffer_append_text(out, "\n");
    }
}

bool node_is_gone(const struct state_node *n)
{
    return strcmp(n->state, "lost") == 0 || strcmp(n->state, "left") == 0;
}

#define DAY_MS UINT64_C(86400000)

bool node_is_worth_a_line(const struct answer *a, const struct state_node *n, uint64_t now_unix_ms)
{
    if (strcmp(n->state, "left") == 0 || strcmp(n->state, "private") == 0) {
        return false;
    }
    if (strcmp(n->state, "lost") != 0) {
        return true;
    }
    if (n->since_unix_ms + DAY_MS < now_unix_ms) {
        return false;
    }
    for (size_t i = 0; i < a->node_count; i++) {
        if (!node_is_gone(&a->nodes[i]) && strcmp(a->nodes[i].name, n->name) == 0) {
            return false;
        }
    }
    return true;
}

static const double GIB = 1024.0 * 1024 * 1024, MIB = 1024.0 * 1024;

void put_amount(struct table *t, const struct screen *s, const struct state_node *n,
                const char *name)
{
    bool bytes = strcmp(name, "memory") == 0 || strcmp(name, "object_store") == 0;
    char text[96], bar[32];
    double total, available;
    answer_amount(n, name, &total, &available);
    if (!(total > 0)) {
        table_cell(t, TONE_PLAIN, "-");
        table_cell(t, TONE_PLAIN, "%s", "");
        return;
    }
    double unit = !bytes ? 1 : total >= GIB ? GIB : MIB;
    /* Tenths are enough for the total, too. */
    double most = (double)(int64_t)(total / unit * 10 + 0.5) / 10;
    screen_amount(text, (total - available) / unit, most,
                  !bytes         ? ""
                  : total >= GIB ? "GiB"
                                 : "MiB");
    table_cell(t, TONE_PLAIN, "%s", text);
    table_cell(t, TONE_PLAIN, "%s", screen_bar(s, total - available, total, bar));
}

/* What is reserved is mostly much less than the whole, so it has its own unit. */
static void put_reserved(struct table *t, double bytes)
{
    if (bytes >= GIB) {
        table_cell(t, TONE_PLAIN, "%.1f GiB", bytes / GIB);
    } else if (bytes >= MIB) {
        table_cell(t, TONE_PLAIN, "%.0f MiB", bytes / MIB);
    } else {
        table_cell(t, TONE_PLAIN, bytes > 0 ? "< 1 MiB" : "0");
    }
}

void put_memory(struct table *t, const struct screen *s, const struct state_node *n)
{
    char text[96], bar[32];
    double total, available, used = (double)n->memory_used_bytes;
    answer_amount(n, "memory", &total, &available);
    if (n->memory_used_bytes == 0 || !(total > 0)) {
        table_cell(t, TONE_PLAIN, "-");
        table_cell(t, TONE_PLAIN, "%s", "");
    } else {
        bool large = total >= GIB;
        double unit = large ? GIB : MIB, most = (double)(int64_t)(total / unit * 10 + 0.5) / 10;
        screen_amount(text, used / unit, most, large ? "GiB" : "MiB");
        table_cell(t, TONE_PLAIN, "%s", text);
        table_cell(t, TONE_PLAIN, "%s", screen_bar(s, MIN_OF(used, total), total, bar));
    }
    if (total > 0) {
        put_reserved(t, total - available);
    } else {
        table_cell(t, TONE_PLAIN, "-");
    }
}

bool node_is_old(const struct state_node *n)
{
    return n->heard_unix_ms != 0;
}

const char *node_state(const struct state_node *n)
{
    return node_is_old(n) ? "unknown" : n->state;
}

void put_old(struct table *t, const struct screen *s, const struct state_node *n)
{
    char age[32], count[32];
    table_rest(t, TONE_WARN, "(as of %s ago: %s, %s task%s running)",
               screen_span(n->heard_unix_ms, s->now_unix_ms, age), n->state,
               text_format_count(n->running, count), n->running == 1 ? "" : "s");
}

static const struct {
    int code;
    const char *words;
} ENDS[] = {
    {CODE_FAILED, "the function failed"},
    {CODE_CRASHED, "its worker crashed"},
    {CODE_EXITED, "its worker called exit"},
    {CODE_MEMORY, "its worker used too much memory"},
    {CODE_DEADLINE, "it ran past its limit of time"},
    {CODE_CANCELLED, "cancelled"},
    {CODE_NODE_LOST, "its node was lost"},
    {CODE_OBJECT_LOST, "an argument was lost"},
    {CODE_PROGRAM, "its program does not start"},
    {CODE_UNKNOWN, "whether it ran cannot be known"},
    {CODE_UNREACHABLE, "the owner of an argument does not answer"},
    {CODE_CYCLE, "tasks waited for each other"},
    {CODE_OWNER_LOST, "the owner of an argument was lost"},
    {CODE_SIGNATURE, "a result or an argument of another kind"},
    {CODE_IMPOSSIBLE, "no node could ever run it"},
    {CODE_FULL, "no room"},
    {CODE_TOO_LARGE, "a value above 1 MiB"},
};

const char *task_story(const struct state_task *t, char out[TASK_STORY_SIZE])
{
    const char *reason = text_or(t->reason, "");
    if (t->code == 0 || (*reason != '\0' && strcmp(reason, code_name((int)t->code)) != 0)) {
        snprintf(out, TASK_STORY_SIZE, "%s", reason);
        return out;
    }
    const char *words = code_name((int)t->code);
    for (size_t i = 0; i < ARRAY_SIZE(ENDS); i++) {
        if (ENDS[i].code == (int)t->code) {
            words = ENDS[i].words;
        }
    }
    if (t->attempt > 1) {
        snprintf(out, TASK_STORY_SIZE, "%s, attempt %" PRIu32 " of %" PRIu32, words, t->attempt,
                 t->max_attempts);
    } else {
        snprintf(out, TASK_STORY_SIZE, "%s", words);
    }
    return out;
}
