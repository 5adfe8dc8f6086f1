/*
 * What nodes said of their finished tasks, kept encoded, so that it is there when a node is gone.
 * Each node sends it now and then and when it leaves; the head keeps the last one of each, in
 * memory alone and bounded.
 */
#include "head/core_private.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/text.h"

/* Room for one more: what the nodes said goes that ended first. */
static bool make_room(struct head_core *core, size_t size)
{
    LIST_FOREACH(at, &core->ended)
    {
        if (core->history_bytes + size <= HEAD_HISTORY_BYTES) {
            break;
        }
        head_history_drop(core, list_entry(at, struct head_node, listed));
    }
    return core->history_bytes + size <= HEAD_HISTORY_BYTES;
}

void head_history_drop(struct head_core *core, struct head_node *node)
{
    core->history_bytes -= node->history.size;
    buffer_fini(&node->history);
}

void head_history_take(struct head_core *core, struct head_node *node,
                       const struct cluster_history *history)
{
    struct cluster_msg msg = {.type = CLUSTER_HISTORY, .history = *history};
    size_t size = cluster_size(&msg);
    head_history_drop(core, node);
    if (size > HEAD_HISTORY_NODE_BYTES || !make_room(core, size)) {
        core->dropped_messages++;
        return;
    }
    cluster_encode(&msg, buffer_extend(&node->history, size));
    core->history_bytes += node->history.size;
}

/* In the arena of the turn. False: it said nothing, or was heard before the head started. */
static bool read_history(struct head_core *core, const struct head_node *node,
                         struct state_reply *ret)
{
    struct cluster_msg msg;
    const char *why;
    bool ok =
        node->history.size != 0 && cluster_decode(bytes_of(node->history.data, node->history.size),
                                                  &core->turn, &msg, &why) == 0;
    if (ok) {
        *ret = msg.history.rows;
    }
    return ok;
}

static bool passes(const char *filter, const char *text)
{
    return *head_text(filter) == '\0' || strcmp(filter, text) == 0;
}

static bool task_passes(const struct state_query *q, const struct state_task *t)
{
    return (q->job == 0 || q->job == t->job) && passes(q->state, t->state) &&
           (passes(q->name, t->name) || passes(q->name, t->function));
}

static bool is_gone(const struct head_node *node)
{
    return node->row.state == HEAD_NODE_LOST || node->row.state == HEAD_NODE_LEFT;
}

size_t head_history_rows(struct head_core *core, const struct head_node *node,
                         const struct state_query *query, struct state_reply *ret)
{
    struct state_reply all, rows = {.cluster = "", .head_address = ""};
    bool is_asked = query->kind == STATE_SUMMARY || query->kind == STATE_TASKS;
    if (!is_asked || !is_gone(node) || !read_history(core, node, &all)) {
        return 0;
    }
    if (query->kind == STATE_SUMMARY) {
        struct state_function *functions =
            arena_alloc(&core->turn, (all.function_count + 1) * sizeof *functions);
        for (size_t i = 0; i < all.function_count; i++) {
            if (passes(query->name, all.functions[i].function)) {
                functions[rows.function_count++] = all.functions[i];
            }
        }
        rows.functions = functions;
    } else {
        struct state_task *tasks = arena_alloc(&core->turn, (all.task_count + 1) * sizeof *tasks);
        for (size_t i = 0; i < all.task_count; i++) {
            if (task_passes(query, &all.tasks[i])) {
                tasks[rows.task_count++] = all.tasks[i];
            }
        }
        rows.tasks = tasks;
    }
    *ret = rows;
    return rows.task_count + rows.function_count;
}

static bool find_task(struct head_core *core, const struct head_node *node, struct object_id id,
                      struct state_task *ret)
{
    struct state_reply all;
    if (!is_gone(node) || !read_history(core, node, &all)) {
        return false;
    }
    for (size_t i = 0; i < all.task_count; i++) {
        if (object_id_equal(all.tasks[i].id, id)) {
            *ret = all.tasks[i];
            return true;
        }
    }
    return false;
}

static const char *line(struct head_core *core, const char *format, ...) PRINTF(2, 3);

static const char *line(struct head_core *core, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return arena_text(&core->turn, text, strlen(text));
}

/* As its raylet would say it, and from where this is known. */
static void explain(struct head_core *core, const struct head_node *node,
                    const struct state_task *t, struct state_reply *ret)
{
    char id[ID_TEXT_SIZE], took[32];
    const char **lines = arena_alloc(&core->turn, 3 * sizeof *lines);
    uint64_t ms = t->ended_unix_ms - MIN_OF(t->submitted_unix_ms, t->ended_unix_ms);
    lines[ret->line_count++] =
        line(core, "Task %s \"%s\" is %s, %s after it was submitted.", object_id_format(t->id, id),
             t->name, t->state, text_format_duration(ms * NS_PER_MS, took));
    if (*t->reason != '\0') {
        lines[ret->line_count++] = line(core, "  %s", t->reason);
    }
    lines[ret->line_count++] = line(core, "  Its node %s is gone: %s.", node->row.name, node->note);
    ret->lines = lines;
}

bool head_history_task(struct head_core *core, struct object_id id, uint32_t kind,
                       struct state_reply *ret)
{
    const struct head_node *node = numbers_get(&core->nodes, id.node);
    struct state_task *task = arena_alloc(&core->turn, sizeof *task);
    struct state_reply found = {.cluster = "", .head_address = ""};
    bool answers = kind == STATE_TASKS || kind == STATE_EXPLAIN;
    if (!answers || node == NULL || !find_task(core, node, id, task)) {
        return false;
    }
    if (kind == STATE_TASKS) {
        found.tasks = task;
        found.task_count = 1;
    } else {
        explain(core, node, task, &found);
    }
    *ret = found;
    return true;
}
