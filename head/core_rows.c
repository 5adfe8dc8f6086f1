#include "head/core_private.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/text.h"

static void answer_part(struct head_core *core, struct head_asker asker, uint64_t request,
                        const struct state_reply *reply)
{
    if (asker.tool != NULL) {
        struct local_msg msg = {.type = LOCAL_REPLY,
                                .reply = {.request = request, .reply = *reply}};
        head_tell(core, asker.tool, &msg);
    } else if (asker.link != NULL) {
        struct cluster_msg msg = {.type = CLUSTER_REPLY,
                                  .reply = {.request = request, .reply = *reply}};
        head_send(core, asker.link, &msg);
    }
}

void head_answer(struct head_core *core, struct head_asker asker, uint64_t request,
                 const struct state_reply *reply)
{
    struct state_reply left = *reply;
    bool more;
    do {
        struct state_reply part;
        more = state_reply_part(&left, &part);
        answer_part(core, asker, request, &part);
    } while (more);
}

void head_answer_failure(struct head_core *core, struct head_asker asker, uint64_t request,
                         int code, const char *format, ...)
{
    struct state_reply reply = {.last = true};
    char text[sizeof reply.failure.message];
    va_list args;
    va_start(args, format);
    text_vformat(text, sizeof text, format, args);
    va_end(args);
    failure_set(&reply.failure, code, "%s", text);
    head_answer(core, asker, request, &reply);
}

static size_t row_limit(const struct state_query *query)
{
    size_t usual = query->kind == STATE_CLUSTER ? STATE_ROWS_MAX : 100;
    return query->limit == 0 ? usual : MIN_OF((size_t)query->limit, (size_t)STATE_ROWS_MAX);
}

static bool fits(const char *filter, const char *text)
{
    return *head_text(filter) == '\0' || strcmp(filter, text) == 0;
}

static bool is_number(const char *filter, uint64_t number)
{
    uint64_t parsed;
    return text_parse_u64(head_text(filter), UINT64_MAX, &parsed) == 0 && parsed == number;
}

/* ---- nodes ---- */

static bool node_fits(const struct head_node *node, const struct state_query *query)
{
    return (fits(query->node, node->row.name) || is_number(query->node, node->row.number) ||
            (strchr(head_text(query->node), ':') != NULL &&
             hostport_same(query->node, node->row.address))) &&
           fits(query->name, node->row.name) && fits(query->state, head_node_state_text(node)) &&
           (fits(query->id, node->row.name) || is_number(query->id, node->row.number));
}

static struct state_node node_row(const struct head_node *node)
{
    /* The two kinds of amounts have one layout on purpose. */
    _Static_assert(sizeof(struct state_amount) == sizeof(struct cluster_amount), "amounts");
    _Static_assert(offsetof(struct state_amount, available_units) ==
                       offsetof(struct cluster_amount, available_units),
                   "amounts");
    return (struct state_node){
        .number = node->row.number,
        .name = node->row.name,
        .host = node->row.host,
        .address = node->row.address,
        .state = head_node_state_text(node),
        .note = node->row.state == HEAD_NODE_ALIVE ? node->warning : node->note,
        .labels = node->row.labels,
        .since_unix_ms = node->row.since_unix_ms,
        .pid = node->row.pid,
        .amounts = (const struct state_amount *)(const void *)node->amounts,
        .amount_count = node->row.amount_count,
        .waiting = node->waiting,
        .running = node->running,
        .done = node->done,
        .failed = node->failed,
        .cancelled = node->cancelled,
        .memory_used_bytes = node->memory_used_bytes,
        .workers = node->workers,
        .idle_workers = node->idle_workers,
    };
}

struct node_rows {
    struct head_core *core;
    struct head_asker asker;
    uint64_t request;
    struct state_node rows[HEAD_ROWS_NODES];
    size_t count, left;
    struct state_reply reply;
};

static void flush_nodes(struct node_rows *out, bool last)
{
    out->reply.nodes = out->rows;
    out->reply.node_count = out->count;
    out->reply.last = last;
    head_answer(out->core, out->asker, out->request, &out->reply);
    out->count = 0;
}

static void add_node(struct node_rows *out, const struct head_node *node,
                     const struct state_query *query)
{
    if (out->left == 0 || !node_fits(node, query)) {
        return;
    }
    if (out->count == ARRAY_SIZE(out->rows)) {
        flush_nodes(out, false);
    }
    out->rows[out->count++] = node_row(node);
    out->left--;
}

/* By the clock of now: how long it has run is then true, also when the clock was set since. */
static uint64_t started_unix_ms(const struct head_core *core)
{
    return core->time.unix_ms - (core->time.boot_ns - core->started_boot_ns) / NS_PER_MS;
}

/* Those that live by number, then those that ended, the newest first. */
void head_answer_nodes(struct head_core *core, struct head_asker asker, uint64_t request,
                       const struct state_query *query)
{
    struct node_rows out = {.core = core,
                            .asker = asker,
                            .request = request,
                            .left = row_limit(query),
                            .reply = {.cluster = core->cluster,
                                      .head_address = core->address,
                                      .head_pid = core->pid,
                                      .head_started_unix_ms = started_unix_ms(core)}};
    LIST_FOREACH(at, &core->alive)
    {
        add_node(&out, list_entry(at, struct head_node, listed), query);
    }
    for (struct list *at = core->ended.prev; at != &core->ended; at = at->prev) {
        add_node(&out, list_entry(at, struct head_node, listed), query);
    }
    flush_nodes(&out, true);
}

/* ---- jobs ---- */

static const char *node_name(struct head_core *core, uint32_t number, char out[24])
{
    const struct head_node *node = numbers_get(&core->nodes, number);
    if (node != NULL) {
        return node->row.name;
    }
    snprintf(out, 24, "%" PRIu32, number);
    return out;
}

static bool job_fits(struct head_core *core, const struct head_job *job,
                     const struct state_query *query)
{
    char number[24];
    const char *id = head_text(query->id);
    return (query->job == 0 || query->job == job->row.number) && fits(query->name, job->row.name) &&
           fits(query->state, head_job_state_text(job)) &&
           (fits(query->node, node_name(core, job->row.node, number)) ||
            is_number(query->node, job->row.node)) &&
           (*id == '\0' || strcmp(id, "last") == 0 || is_number(id, job->row.number));
}

static struct state_job job_row(struct head_core *core, const struct head_job *job, char number[24])
{
    return (struct state_job){
        .number = job->row.number,
        .name = job->row.name,
        .state = head_job_state_text(job),
        .node = node_name(core, job->row.node, number),
        .program = job->row.program,
        .user = job->row.user,
        .pid = job->row.pid,
        .started_unix_ms = job->row.started_unix_ms,
        .ended_unix_ms = job->row.ended_unix_ms,
        .done = job->row.done,
        .failed = job->row.failed,
        .cancelled = job->row.cancelled,
    };
}

void head_answer_jobs(struct head_core *core, struct head_asker asker, uint64_t request,
                      const struct state_query *query)
{
    struct state_job rows[HEAD_ROWS_JOBS];
    char numbers[HEAD_ROWS_JOBS][24];
    size_t count = 0;
    size_t left = strcmp(head_text(query->id), "last") == 0 ? 1 : row_limit(query);
    for (struct list *at = core->jobs_all.prev; at != &core->jobs_all && left > 0; at = at->prev) {
        const struct head_job *job = list_entry(at, struct head_job, all);
        if (!job_fits(core, job, query)) {
            continue;
        }
        if (count == ARRAY_SIZE(rows)) {
            struct state_reply reply = {.jobs = rows, .job_count = count};
            head_answer(core, asker, request, &reply);
            count = 0;
        }
        rows[count] = job_row(core, job, numbers[count]);
        count++;
        left--;
    }
    struct state_reply reply = {.last = true, .jobs = rows, .job_count = count};
    head_answer(core, asker, request, &reply);
}
