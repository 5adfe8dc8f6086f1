#include "head/core_private.h"

#include <inttypes.h>

#include "common/text.h"

struct head_core *head_core_new(const struct head_config *config)
{
    struct head_core *core = xcalloc(1, sizeof *core);
    core->cluster = xstrdup(config->cluster);
    core->address = xstrdup(config->address);
    core->pid = config->pid;
    core->time = config->time;
    core->started_boot_ns = config->time.boot_ns;
    core->restored_until_boot_ns = config->time.boot_ns + HEAD_LEASE_NS;
    core->tick_at_ns = config->time.now_ns;
    core->view_soon_at_ns = NS_FOREVER;
    numbers_init(&core->nodes);
    numbers_init(&core->jobs);
    list_init(&core->alive);
    list_init(&core->ended);
    list_init(&core->dying);
    list_init(&core->jobs_all);
    list_init(&core->jobs_ended);
    list_init(&core->queries);
    list_init(&core->view_dirty);
    list_init(&core->held);
    list_init(&core->sent);
    return core;
}

static void free_nodes(struct list *nodes)
{
    LIST_FOREACH_SAFE(at, nodes)
    {
        head_node_free(list_entry(at, struct head_node, listed));
    }
}

static void free_peers(struct head_core *core)
{
    struct head_link *link, *next_link;
    struct head_tool *tool, *next_tool;
    HASH_ITER(hh, core->links, link, next_link)
    {
        HASH_DEL(core->links, link);
        free(link);
    }
    HASH_ITER(hh, core->tools, tool, next_tool)
    {
        HASH_DEL(core->tools, tool);
        free(tool);
    }
}

void head_core_free(struct head_core *core)
{
    if (core == NULL) {
        return;
    }
    HASH_CLEAR(hh, core->names);
    HASH_CLEAR(hh, core->job_keys);
    LIST_FOREACH_SAFE(at, &core->jobs_all)
    {
        struct head_job *job = list_entry(at, struct head_job, all);
        list_unlink(&job->listed);
        list_unlink(&job->all);
        free(job->parts);
        free(job);
    }
    head_queries_fini(core);
    free_peers(core);
    free_nodes(&core->alive);
    free_nodes(&core->ended);
    numbers_fini(&core->nodes);
    numbers_fini(&core->jobs);
    head_out_fini(core);
    free(core->cluster);
    free(core->address);
    free(core);
}

static const char *restore_one(struct head_core *core, const struct head_record *record)
{
    switch (record->kind) {
    case HEAD_RECORD_NODE:
        return head_node_restore(core, &record->node);
    case HEAD_RECORD_JOB:
        return head_job_restore(core, &record->job);
    case HEAD_RECORD_NUMBERS:
        core->node_last = MAX_OF(core->node_last, record->node_last);
        core->job_last = MAX_OF(core->job_last, record->job_last);
        return NULL;
    case HEAD_RECORD_FORGET_NODE:
    case HEAD_RECORD_FORGET_JOB:
        break;
    }
    return "its kind is not known";
}

void head_core_restore(struct head_core *core, const struct head_record *records, size_t count,
                       void (*on_bad)(void *arg, const struct head_record *record, const char *why),
                       void *arg)
{
    for (size_t i = 0; i < count; i++) {
        const char *why = NULL;
        if (head_record_check(&records[i], &why) == 0) {
            why = restore_one(core, &records[i]);
        }
        if (why != NULL && on_bad != NULL) {
            on_bad(arg, &records[i], why);
        }
    }
}

/* ---- links ---- */

static struct head_link *find_link(struct head_core *core, uint64_t handle)
{
    struct head_link *link = NULL;
    HASH_FIND(hh, core->links, &handle, sizeof handle, link);
    return link;
}

static void link_up(struct head_core *core, uint64_t handle, enum peer_role role)
{
    ASSERT(find_link(core, handle) == NULL);
    struct head_link *link = xcalloc(1, sizeof *link);
    link->link = handle;
    link->role = role;
    HASH_ADD(hh, core->links, link, sizeof link->link, link);
    if (HASH_COUNT(core->links) > HEAD_LINKS_MAX) {
        head_drop(core, link);
    }
}

static void link_gone(struct head_core *core, struct head_link *link)
{
    struct head_node *node = link->node;
    if (node != NULL) {
        node->link = NULL;
        head_node_cut(core, node);
        head_query_unlinked(core, node->row.number);
        head_log(core, "node %" PRIu32 " \"%s\": its session ended", node->row.number,
                 node->row.name);
    }
    head_query_forget(core, link->link, 0);
    HASH_DEL(core->links, link);
    free(link);
}

static void node_message(struct head_core *core, struct head_node *node,
                         const struct cluster_msg *msg)
{
    switch (msg->type) {
    case CLUSTER_JOB_NEW:
        head_job_new(core, node, &msg->job_new);
        return;
    case CLUSTER_JOB_END:
        head_job_end(core, node, &msg->job_end);
        return;
    case CLUSTER_FEASIBLE:
        head_feasible(core, node, &msg->feasible);
        return;
    case CLUSTER_DRAIN:
        head_node_drain(core, node);
        return;
    case CLUSTER_LEAVE:
        head_node_leave(core, node);
        return;
    case CLUSTER_REPLY:
        head_query_reply(core, node, &msg->reply);
        return;
    case CLUSTER_HISTORY:
        head_history_take(core, node, &msg->history);
        return;
    default:
        core->protocol_errors++;
    }
}

/* Keys of clients and readers are for questions, whatever their holder sends. */
static void refuse_change(struct head_core *core, struct head_link *link)
{
    struct failure f;
    failure_set(&f, CODE_REFUSED,
                "this key cannot be used by a node. Use join.key from the head's directory");
    core->protocol_errors++;
    head_refuse(core, link, &f);
}

static void link_message(struct head_core *core, struct head_link *link,
                         const struct cluster_msg *msg)
{
    if (msg->type == CLUSTER_JOIN) {
        head_node_join(core, link, &msg->join);
    } else if (msg->type == CLUSTER_QUERY) {
        head_query(core, (struct head_asker){.link = link}, msg->query.request, &msg->query.query);
    } else if (link->role != PEER_NODE) {
        refuse_change(core, link);
    } else if (link->node != NULL) {
        node_message(core, link->node, msg);
    } else {
        core->dropped_messages++;
    }
}

static void link_event(struct head_core *core, const struct head_event *event)
{
    struct head_link *link = find_link(core, event->link);
    if (link == NULL) {
        core->dropped_messages++;
        return;
    }
    if (event->seen != NULL && *event->seen != '\0') {
        (void)text_copy(link->seen, sizeof link->seen, event->seen);
    }
    if (event->kind == HEAD_EVENT_LINK_DOWN) {
        link_gone(core, link);
    } else if (link->closing) {
        core->dropped_messages++;
    } else if (event->kind == HEAD_EVENT_MESSAGE) {
        link_message(core, link, event->cluster);
    } else if (event->kind == HEAD_EVENT_LINK_CUT && link->node != NULL) {
        head_node_cut(core, link->node);
    } else if (event->kind == HEAD_EVENT_DATAGRAM && event->cluster->type == CLUSTER_RENEW) {
        head_node_renew(core, link, &event->cluster->renew);
    }
}

/* ---- tools ---- */

static struct head_tool *find_tool(struct head_core *core, uint32_t handle)
{
    struct head_tool *tool = NULL;
    HASH_FIND(hh, core->tools, &handle, sizeof handle, tool);
    return tool;
}

static void tool_refuse(struct head_core *core, struct head_tool *tool, int code, const char *text)
{
    struct local_msg msg = {.type = LOCAL_REFUSED};
    failure_set(&msg.refused.failure, code, "%s", text);
    head_tell(core, tool, &msg);
    head_tool_close(core, tool);
}

static void tool_up(struct head_core *core, uint32_t handle)
{
    ASSERT(handle != 0 && find_tool(core, handle) == NULL);
    struct head_tool *tool = xcalloc(1, sizeof *tool);
    tool->tool = handle;
    HASH_ADD(hh, core->tools, tool, sizeof tool->tool, tool);
    if (HASH_COUNT(core->tools) > HEAD_TOOLS_MAX) {
        tool_refuse(core, tool, CODE_FULL, "the head serves too many tools now; try again later");
    }
}

static void tool_open(struct head_core *core, struct head_tool *tool, const struct local_open *open)
{
    if (tool->open) {
        core->protocol_errors++;
        head_tool_close(core, tool);
    } else if (open->protocol != LOCAL_PROTOCOL_VERSION) {
        tool_refuse(core, tool, CODE_REFUSED,
                    "the head is drt " DRT_VERSION
                    " and its protocol differs from this tool's: install the same version of both, "
                    "or restart the head");
    } else if (open->role != ROLE_TOOL) {
        tool_refuse(core, tool, CODE_REFUSED,
                    "this is the head's socket; a program must connect to its node's socket");
    } else {
        tool->open = true;
        struct local_msg welcome = {
            .type = LOCAL_WELCOME,
            .welcome = {.client = tool->tool, .node_name = "", .cluster = core->cluster}};
        head_tell(core, tool, &welcome);
    }
}

static void tool_event(struct head_core *core, const struct head_event *event)
{
    struct head_tool *tool = find_tool(core, event->tool);
    if (tool == NULL) {
        core->dropped_messages++;
        return;
    }
    if (event->kind == HEAD_EVENT_TOOL_DOWN) {
        head_query_forget(core, 0, tool->tool);
        HASH_DEL(core->tools, tool);
        free(tool);
        return;
    }
    const struct local_msg *msg = event->local;
    if (tool->closing) {
        core->dropped_messages++;
    } else if (msg->type == LOCAL_OPEN) {
        tool_open(core, tool, &msg->open);
    } else if (msg->type == LOCAL_QUERY && tool->open) {
        head_query(core, (struct head_asker){.tool = tool}, msg->query.request, &msg->query.query);
    } else if (msg->type == LOCAL_GOODBYE) {
        head_query_forget(core, 0, tool->tool);
        head_tool_close(core, tool);
    } else {
        core->protocol_errors++;
        head_tool_close(core, tool);
    }
}

/* ---- a turn ---- */

static void take_event(struct head_core *core, const struct head_event *event)
{
    switch (event->kind) {
    case HEAD_EVENT_LINK_UP:
        link_up(core, event->link, event->role);
        return;
    case HEAD_EVENT_MESSAGE:
    case HEAD_EVENT_DATAGRAM:
    case HEAD_EVENT_LINK_CUT:
    case HEAD_EVENT_LINK_DOWN:
        link_event(core, event);
        return;
    case HEAD_EVENT_PROBED:
        head_node_probed(core, event->node, event->probe);
        return;
    case HEAD_EVENT_REACHED:
        head_reached(core, event->node, event->reach);
        return;
    case HEAD_EVENT_COMMITTED:
        ASSERT(event->record <= core->record_asked);
        core->record_committed = MAX_OF(core->record_committed, event->record);
        return;
    case HEAD_EVENT_TOOL_UP:
        tool_up(core, event->tool);
        return;
    case HEAD_EVENT_TOOL_MESSAGE:
    case HEAD_EVENT_TOOL_DOWN:
        tool_event(core, event);
        return;
    }
}

static void work(struct head_core *core)
{
    size_t left = HEAD_WORK_STEP;
    while (left > 0 && !list_is_empty(&core->dying)) {
        struct head_node *node = list_entry(list_first(&core->dying), struct head_node, dying_link);
        left -= head_jobs_lose(core, node, left);
        if (list_is_empty(&node->jobs)) {
            list_unlink(&node->dying_link);
        }
    }
}

void head_core_step(struct head_core *core, const struct head_time *time,
                    const struct head_event *events, size_t event_count, struct head_effects *ret)
{
    ASSERT(time->now_ns >= core->time.now_ns && time->boot_ns >= core->time.boot_ns);
    bool is_stall = time->boot_ns - core->time.boot_ns > HEAD_STALL_NS;
    core->time = *time;
    head_out_begin(core);
    if (is_stall && core->alive_count != 0) {
        head_nodes_stalled(core);
    }
    for (size_t i = 0; i < event_count; i++) {
        take_event(core, &events[i]);
    }
    work(core);
    head_queries_tick(core);
    if (time->now_ns >= core->tick_at_ns) {
        head_nodes_tick(core);
        head_view_tick(core);
    }
    head_view_flush(core);
    head_nodes_prune(core);
    head_out_finish(core);
    *ret = (struct head_effects){.items = core->effects, .count = core->effect_count};
}

bool head_core_has_work(const struct head_core *core)
{
    return !list_is_empty(&core->dying);
}

uint64_t head_core_next_ns(const struct head_core *core)
{
    uint64_t queries = head_queries_next_ns(core);
    uint64_t tick = core->alive_count != 0 ? core->tick_at_ns : NS_FOREVER;
    return MIN_OF(MIN_OF(queries, tick), core->view_soon_at_ns);
}
