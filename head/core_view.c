#include "head/core_private.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/text.h"

/* ---- the view: what every node knows of the others ---- */

void head_view_touch(struct head_core *core, struct head_node *node, bool urgent)
{
    if (list_is_empty(&node->dirty_link)) {
        list_append(&core->view_dirty, &node->dirty_link);
    }
    core->view_urgent = core->view_urgent || urgent;
}

static struct cluster_view_node row_of(const struct head_node *node)
{
    return (struct cluster_view_node){
        .number = node->row.number,
        .name = node->row.name,
        .address = node->row.address,
        .public_key = node->row.public_key,
        .labels = node->row.labels,
        .state = node->row.state == HEAD_NODE_ALIVE  ? NODE_ALIVE
                 : node->row.state == HEAD_NODE_LOST ? NODE_LOST
                                                     : NODE_LEFT,
        .amounts = node->amounts,
        .amount_count = node->row.amount_count,
        .waiting = node->waiting,
        .running = node->running,
    };
}

static void send_rows(struct head_core *core, const struct cluster_view *view)
{
    struct cluster_msg msg = {.type = CLUSTER_VIEW, .view = *view};
    bool is_one_alive = view->node_count == 1 && view->nodes[0].state == NODE_ALIVE;
    LIST_FOREACH_SAFE(at, &core->alive)
    {
        struct head_node *node = list_entry(at, struct head_node, listed);
        /* Nobody needs to hear how much is free on itself. */
        bool is_own = is_one_alive && view->nodes[0].number == node->row.number;
        if (node->link != NULL && node->link->whole && !is_own) {
            head_send(core, node->link, &msg);
        }
    }
}

static void send_changes(struct head_core *core)
{
    struct cluster_view_node rows[HEAD_ROWS_NODES];
    size_t count = 0;
    for (struct list *at = list_pop(&core->view_dirty); at != NULL;
         at = list_pop(&core->view_dirty)) {
        rows[count++] = row_of(list_entry(at, struct head_node, dirty_link));
        if (count == ARRAY_SIZE(rows) || list_is_empty(&core->view_dirty)) {
            send_rows(core, &(struct cluster_view){.nodes = rows, .node_count = count});
            count = 0;
        }
    }
    core->view_urgent = false;
}

void head_view_flush(struct head_core *core)
{
    if (core->view_urgent) {
        send_changes(core);
    }
}

void head_view_tick(struct head_core *core)
{
    send_changes(core);
}

void head_view_whole(struct head_core *core, struct head_link *link)
{
    struct cluster_view_node rows[HEAD_ROWS_NODES];
    size_t count = 0;
    bool is_first = true;
    LIST_FOREACH(at, &core->alive)
    {
        rows[count++] = row_of(list_entry(at, struct head_node, listed));
        if (count == ARRAY_SIZE(rows) || at->next == &core->alive) {
            struct cluster_msg msg = {
                .type = CLUSTER_VIEW,
                .view = {.whole = is_first,
                         .more = at->next != &core->alive,
                         .nodes = rows,
                         .node_count = count},
            };
            head_send(core, link, &msg);
            is_first = false;
            count = 0;
        }
    }
    link->whole = true;
}

/* ---- could any node ever? ---- */

static const char *format_units(const char *name, int64_t units, char out[32])
{
    if (strcmp(name, "memory") == 0 || strcmp(name, "object_store") == 0 ||
        strcmp(name, "gpu_memory") == 0) {
        return text_format_size((uint64_t)MAX_OF(units, (int64_t)0) / RESOURCE_UNIT, out);
    }
    snprintf(out, 32, "%.10g", resource_amount_of(units));
    return out;
}

static int64_t total_of(const struct head_node *node, const char *name)
{
    for (size_t i = 0; i < node->row.amount_count; i++) {
        if (strcmp(node->amounts[i].name, name) == 0) {
            return node->amounts[i].total_units;
        }
    }
    return 0;
}

/* Whether each "name=value" of `wanted` stands in `labels`. */
static bool has_labels(const char *labels, const char *wanted)
{
    while (*wanted != '\0') {
        size_t size = strcspn(wanted, ",");
        bool found = size == 0;
        for (const char *at = labels; !found && *at != '\0';) {
            size_t other = strcspn(at, ",");
            found = other == size && memcmp(at, wanted, size) == 0;
            at += other + (at[other] == ',');
        }
        if (!found) {
            return false;
        }
        wanted += size + (wanted[size] == ',');
    }
    return true;
}

static bool is_named(const struct head_node *node, const char *text)
{
    char number[24];
    snprintf(number, sizeof number, "%" PRIu32, node->row.number);
    return strcmp(text, node->row.name) == 0 || strcmp(text, number) == 0 ||
           strcmp(text, node->row.address) == 0;
}

/* A task runs on the node of its program; so that node alone decides. */
static void answer_feasible(const struct head_node *node, const struct cluster_feasible *msg,
                            struct failure *f)
{
    char asked[32], has[32];
    for (size_t i = 0; i < msg->amount_count; i++) {
        const char *name = head_text(msg->amounts[i].name);
        int64_t total = total_of(node, name);
        if (msg->amounts[i].total_units <= total) {
            continue;
        }
        failure_set(f, CODE_IMPOSSIBLE,
                    "no: it asks %s %s and node %s, where this program runs, has %s (a task runs "
                    "on the node of its program). Ask for less, or start the program on a node "
                    "that has it",
                    name, format_units(name, msg->amounts[i].total_units, asked), node->row.name,
                    total == 0 ? "none" : format_units(name, total, has));
        return;
    }
    if (msg->soft) {
        return;
    }
    if (*head_text(msg->node) != '\0' && !is_named(node, msg->node)) {
        failure_set(f, CODE_IMPOSSIBLE,
                    "no: it asks for node %.64s, and its program runs on %s (a task runs on the "
                    "node of its program). Start the program there, or make the wish soft",
                    msg->node, node->row.name);
    } else if (!has_labels(node->row.labels, head_text(msg->labels))) {
        failure_set(
            f, CODE_IMPOSSIBLE,
            "no: it asks for labels %.100s, and node %s, where this program runs, has %s%.100s. "
            "Start the program on a node that has them, or make the wish soft",
            msg->labels, node->row.name, *node->row.labels == '\0' ? "none" : "", node->row.labels);
    }
}

void head_feasible(struct head_core *core, struct head_node *node,
                   const struct cluster_feasible *msg)
{
    struct cluster_msg answer = {.type = CLUSTER_FEASIBLE_ANSWER,
                                 .feasible_answer.request = msg->request};
    answer_feasible(node, msg, &answer.feasible_answer.failure);
    head_send(core, node->link, &answer);
}
