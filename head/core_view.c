#include "head/core_private.h"

/* What light rows and whole ones weigh in a message of HEAD_ROWS_WEIGHT: it stays below
 * MESSAGE_META_MAX whatever the texts and names of resources are. */
#define LIGHT_WEIGHT 1u
#define WHOLE_WEIGHT (HEAD_ROWS_WEIGHT / HEAD_ROWS_NODES)
#define SOON_NS      (200 * NS_PER_MS)
#define SOON_NODE_NS (2 * NS_PER_MS) /* in large clusters: for each node */

void head_view_touch(struct head_core *core, struct head_node *node, enum head_haste haste)
{
    if (list_is_empty(&node->dirty_link)) {
        list_append(&core->view_dirty, &node->dirty_link);
    }
    core->view_urgent = core->view_urgent || haste == HASTE_NOW;
    if (haste == HASTE_SOON && core->view_soon_at_ns == NS_FOREVER) {
        uint64_t pause_ns = MAX_OF(SOON_NS, core->alive_count * SOON_NODE_NS);
        core->view_soon_at_ns = MAX_OF(core->view_sent_ns + pause_ns, core->time.now_ns);
    }
}

static struct cluster_view_node row_of(const struct head_node *node, bool is_whole)
{
    return (struct cluster_view_node){
        .number = node->row.number,
        .name = is_whole ? node->row.name : "",
        .address = is_whole ? node->row.address : "",
        .public_key = is_whole ? node->row.public_key : "",
        .labels = is_whole ? node->row.labels : "",
        .state = node->row.state == HEAD_NODE_ALIVE  ? NODE_ALIVE
                 : node->row.state == HEAD_NODE_LOST ? NODE_LOST
                                                     : NODE_LEFT,
        .amounts = node->amounts,
        .amount_count = node->row.amount_count,
        .waiting = node->waiting,
        .running = node->running,
        .closed = node->is_private || node->leaving,
        .warning = is_whole ? node->warning : "",
    };
}

static void send_rows(struct head_core *core, const struct cluster_view *view)
{
    struct cluster_msg msg = {.type = CLUSTER_VIEW, .view = *view};
    bool is_one_alive = view->node_count == 1 && view->nodes[0].state == NODE_ALIVE;
    struct bytes encoded = head_encode(core, &msg);
    LIST_FOREACH_SAFE(at, &core->alive)
    {
        struct head_node *node = list_entry(at, struct head_node, listed);
        /* Nobody needs to hear how much is free on itself. */
        bool is_own = is_one_alive && view->nodes[0].number == node->row.number;
        if (node->link != NULL && node->link->whole && !is_own) {
            head_send_encoded(core, node->link, encoded);
        }
    }
}

static void send_changes(struct head_core *core)
{
    struct cluster_view_node rows[HEAD_ROWS_WEIGHT];
    size_t count = 0, weight = 0;
    if (!list_is_empty(&core->view_dirty)) {
        core->view_sent_ns = core->time.now_ns;
    }
    for (struct list *at = list_pop(&core->view_dirty); at != NULL;
         at = list_pop(&core->view_dirty)) {
        struct head_node *node = list_entry(at, struct head_node, dirty_link);
        weight += node->told ? LIGHT_WEIGHT : WHOLE_WEIGHT;
        rows[count++] = row_of(node, !node->told);
        node->told = true;
        if (weight + WHOLE_WEIGHT > HEAD_ROWS_WEIGHT || list_is_empty(&core->view_dirty)) {
            send_rows(core, &(struct cluster_view){.nodes = rows, .node_count = count});
            count = weight = 0;
        }
    }
    core->view_urgent = false;
    core->view_soon_at_ns = NS_FOREVER;
}

void head_view_flush(struct head_core *core)
{
    if (core->view_urgent || core->time.now_ns >= core->view_soon_at_ns) {
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
        bool is_last = at->next == &core->alive;
        rows[count++] = row_of(list_entry(at, struct head_node, listed), true);
        if (count == ARRAY_SIZE(rows) || is_last) {
            struct cluster_msg msg = {
                .type = CLUSTER_VIEW,
                .view = {.whole = is_first, .more = !is_last, .nodes = rows, .node_count = count}};
            head_send(core, link, &msg);
            is_first = false;
            count = 0;
        }
    }
    link->whole = true;
}
