#include "head/core_private.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/text.h"

static struct head_asker asker_of(struct head_core *core, const struct head_query *q)
{
    struct head_asker asker = {NULL, NULL};
    if (q->tool != 0) {
        HASH_FIND(hh, core->tools, &q->tool, sizeof q->tool, asker.tool);
    } else {
        HASH_FIND(hh, core->links, &q->link, sizeof q->link, asker.link);
    }
    return asker;
}

static void query_free(struct head_core *core, struct head_query *q)
{
    list_unlink(&q->listed);
    core->query_count--;
    arena_fini(&q->arena);
    free(q->targets);
    free(q);
}

static const char *keep_text(struct head_query *q, const char *text)
{
    return arena_text(&q->arena, head_text(text), strlen(head_text(text)));
}

static struct head_query *query_new(struct head_core *core, struct head_asker asker,
                                    uint64_t request, const struct state_query *query)
{
    struct head_query *q = xcalloc(1, sizeof *q);
    q->request = request;
    q->link = asker.link != NULL ? asker.link->link : 0;
    q->tool = asker.tool != NULL ? asker.tool->tool : 0;
    q->query = *query;
    q->query.id = keep_text(q, query->id);
    q->query.node = keep_text(q, query->node);
    q->query.state = keep_text(q, query->state);
    q->query.name = keep_text(q, query->name);
    list_init(&q->listed);
    core->query_count++;
    return q;
}

/* ---- who is asked ---- */

static bool add_target(struct head_query *q, const struct head_node *node)
{
    if (node->link == NULL) {
        return false;
    }
    q->targets = xrealloc(q->targets, (q->target_count + 1) * sizeof *q->targets);
    q->targets[q->target_count++] = (struct head_target){.node = node->row.number};
    return true;
}

static int target_home(struct head_core *core, struct head_query *q, struct object_id id,
                       struct failure *f)
{
    const struct head_node *node = numbers_get(&core->nodes, id.node);
    if (id.node > core->node_last || id.node == 0) {
        return failure_set(f, CODE_NOT_FOUND,
                           "no such task: this cluster never had a node number %" PRIu32, id.node);
    }
    if (node == NULL || node->row.state != HEAD_NODE_ALIVE) {
        return failure_set(f, CODE_NODE_LOST,
                           "the node of this task (number %" PRIu32
                           "%s%s) is gone%s%s. Its records of tasks are lost",
                           id.node, node != NULL ? ", " : "", node != NULL ? node->row.name : "",
                           node != NULL ? ": " : "", node != NULL ? node->note : "");
    }
    if (!add_target(q, node)) {
        return failure_set(f, CODE_UNREACHABLE,
                           "node %s, which owns this task, does not answer now; try again later",
                           node->row.name);
    }
    return 0;
}

static int target_named(struct head_core *core, struct head_query *q, const char *name,
                        struct failure *f)
{
    const struct head_node *node = head_node_named(core, name);
    if (node == NULL) {
        return failure_set(f, CODE_NOT_FOUND,
                           "no living node \"%.100s\" in this cluster; 'drt nodes' lists them",
                           name);
    }
    if (!add_target(q, node)) {
        return failure_set(f, CODE_UNREACHABLE, "node %s does not answer now; try again",
                           node->row.name);
    }
    return 0;
}

static void unreachable(struct failure *f, const char *name)
{
    if (f->code == 0) {
        failure_set(f, CODE_TIMEOUT, "no answer within %u s from %s",
                    (unsigned)(HEAD_QUERY_NS / NS_PER_S), name);
    } else if (f->code == CODE_TIMEOUT) {
        size_t used = strlen(f->message);
        snprintf(f->message + used, sizeof f->message - used, ", %s", name);
    }
}

/* 0, or a code: nobody can be asked. */
static int choose_targets(struct head_core *core, struct head_query *q, struct failure *f)
{
    struct object_id id;
    uint32_t kind = q->query.kind;
    /* What a task wrote is where it ran, which need not be its home. */
    bool is_task = kind == STATE_TASKS || kind == STATE_EXPLAIN || kind == STATE_CANCEL;
    const struct head_job *job = numbers_get(&core->jobs, q->query.job);
    if (is_task && object_id_parse(q->query.id, &id) == 0) {
        return target_home(core, q, id, f);
    }
    if (kind == STATE_CANCEL && job != NULL) {
        return target_home(core, q, (struct object_id){.node = job->row.node}, f);
    }
    if (kind == STATE_CANCEL) {
        return failure_set(f, CODE_SIGNATURE, "no task or job to cancel was given");
    }
    if (*q->query.node != '\0') {
        return target_named(core, q, q->query.node, f);
    }
    LIST_FOREACH(at, &core->alive)
    {
        const struct head_node *node = list_entry(at, struct head_node, listed);
        if (!add_target(q, node)) {
            unreachable(&q->failure, node->row.name);
        }
    }
    return 0;
}

/* ---- asking ---- */

static void finish(struct head_core *core, struct head_query *q, struct state_reply *reply)
{
    reply->last = true;
    /* What one of many nodes does not know is no failure when another one did. */
    if (reply->failure.code == 0 && (!q->found || q->failure.code != CODE_NOT_FOUND)) {
        reply->failure = q->failure;
    }
    head_answer(core, asker_of(core, q), q->request, reply);
    query_free(core, q);
}

static void ask_targets(struct head_core *core, struct head_query *q)
{
    struct state_query query = q->query;
    if (q->chases) {
        query.kind = STATE_TASKS;
        query.limit = 1;
    }
    q->number = ++core->query_last;
    q->open = q->target_count;
    q->deadline_ns = core->time.now_ns + HEAD_QUERY_NS;
    list_unlink(&q->listed);
    list_append(&core->queries, &q->listed);
    struct cluster_msg msg = {.type = CLUSTER_QUERY,
                              .query = {.request = q->number, .query = query}};
    for (size_t i = 0; i < q->target_count; i++) {
        const struct head_node *node = numbers_get(&core->nodes, q->targets[i].node);
        head_send(core, node->link, &msg);
    }
}

static size_t cut(size_t *left, size_t count)
{
    size_t taken = MIN_OF(*left, count);
    *left -= taken;
    return taken;
}

static void bound_rows(struct head_query *q, struct state_reply *reply)
{
    size_t left = STATE_ROWS_MAX - q->rows;
    reply->node_count = cut(&left, reply->node_count);
    reply->job_count = cut(&left, reply->job_count);
    reply->task_count = cut(&left, reply->task_count);
    reply->class_count = cut(&left, reply->class_count);
    reply->worker_count = cut(&left, reply->worker_count);
    reply->function_count = cut(&left, reply->function_count);
    reply->line_count = cut(&left, reply->line_count);
    reply->output_count = cut(&left, reply->output_count);
    q->rows = STATE_ROWS_MAX - left;
}

static void take_newest(struct head_query *q, const struct head_node *node,
                        const struct state_reply *reply)
{
    for (size_t i = 0; i < reply->task_count; i++) {
        const struct state_task *task = &reply->tasks[i];
        bool is_its_own = task->id.node == node->row.number;
        if (is_its_own &&
            (object_id_is_none(q->newest) || task->submitted_unix_ms > q->newest_unix_ms)) {
            q->newest = task->id;
            q->newest_unix_ms = task->submitted_unix_ms;
        }
    }
}

static bool asks_for_last(const struct head_query *q)
{
    uint32_t kind = q->query.kind;
    return strcmp(q->query.id, "last") == 0 && (kind == STATE_TASKS || kind == STATE_EXPLAIN);
}

/* ---- nodes that are gone ---- */

/* The newest that ended by this name or number; NULL: none. */
static const struct head_node *gone_named(struct head_core *core, const char *name)
{
    uint64_t number;
    bool is_number = text_parse_u64(name, UINT32_MAX, &number) == 0;
    for (struct list *at = core->ended.prev; at != &core->ended; at = at->prev) {
        const struct head_node *node = list_entry(at, struct head_node, listed);
        if (strcmp(node->row.name, name) == 0 || (is_number && node->row.number == number)) {
            return node;
        }
    }
    return NULL;
}

/* What they told of their tasks, the newest first, before the others are asked. */
static void tell_of_gone(struct head_core *core, struct head_query *q)
{
    size_t most = q->query.limit != 0 ? q->query.limit : 100;
    struct state_query query = q->query;
    bool is_last = asks_for_last(q);
    if (*query.id != '\0' && !is_last) {
        return; /* one task, of one node */
    }
    query.kind = is_last ? (uint32_t)STATE_TASKS : query.kind;
    for (struct list *at = core->ended.prev; at != &core->ended && q->rows < most; at = at->prev) {
        const struct head_node *node = list_entry(at, struct head_node, listed);
        struct state_reply rows;
        if (head_history_rows(core, node, &query, &rows) == 0) {
            continue;
        }
        if (is_last) {
            take_newest(q, node, &rows);
            continue;
        }
        bound_rows(q, &rows);
        q->found = true;
        head_answer(core, asker_of(core, q), q->request, &rows);
    }
}

/* What only a node that is gone could answer: from what it told. */
static bool answer_for_gone(struct head_core *core, struct head_query *q, struct state_reply *ret)
{
    struct object_id id;
    const char *name = q->query.node;
    if (object_id_parse(q->query.id, &id) == 0) {
        return head_history_task(core, id, q->query.kind, ret);
    }
    const struct head_node *node =
        *name == '\0' || head_node_named(core, name) != NULL ? NULL : gone_named(core, name);
    return node != NULL && head_history_rows(core, node, &q->query, ret) != 0;
}

/* Each has said which is its newest, or is silent. */
static void end_chase(struct head_core *core, struct head_query *q)
{
    char id[ID_TEXT_SIZE];
    struct state_reply none = {0};
    q->chases = false;
    q->target_count = 0;
    if (object_id_is_none(q->newest)) {
        finish(core, q, &none);
        return;
    }
    q->query.id = keep_text(q, object_id_format(q->newest, id));
    memset(&q->failure, 0, sizeof q->failure);
    if (head_history_task(core, q->newest, q->query.kind, &none)) {
        finish(core, q, &none);
        return;
    }
    if (target_home(core, q, q->newest, &none.failure) != 0) {
        finish(core, q, &none);
        return;
    }
    ask_targets(core, q);
}

static void fan_out(struct head_core *core, struct head_asker asker, uint64_t request,
                    const struct state_query *query)
{
    struct state_reply none = {0};
    if (core->query_count >= HEAD_QUERIES_MAX) {
        head_answer_failure(core, asker, request, CODE_FULL,
                            "%u queries are already waiting for answers; try again later",
                            HEAD_QUERIES_MAX);
        return;
    }
    struct head_query *q = query_new(core, asker, request, query);
    if (answer_for_gone(core, q, &none)) {
        finish(core, q, &none);
        return;
    }
    if (choose_targets(core, q, &none.failure) != 0) {
        finish(core, q, &none);
        return;
    }
    if (*q->query.node == '\0') {
        tell_of_gone(core, q);
    }
    q->chases = asks_for_last(q) && (q->target_count > 1 || !object_id_is_none(q->newest));
    if (q->target_count != 0) {
        ask_targets(core, q);
    } else if (q->chases) {
        end_chase(core, q);
    } else {
        finish(core, q, &none);
    }
}

/* All that could answer have: `reply` is what is left to pass on. */
static void settle(struct head_core *core, struct head_query *q, struct state_reply *reply)
{
    if (q->chases) {
        end_chase(core, q);
    } else {
        finish(core, q, reply);
    }
}

static void stop(struct head_core *core, struct head_asker asker, uint64_t request)
{
    if (asker.tool == NULL) {
        head_answer_failure(core, asker, request, CODE_REFUSED,
                            "only a user of the head's own machine may stop it: run 'drt-head "
                            "stop' there");
        return;
    }
    struct state_reply reply = {.last = true};
    head_answer(core, asker, request, &reply);
    head_quit(core);
}

/* The raylet that the task or the job was submitted on does it. */
static void cancel(struct head_core *core, struct head_asker asker, uint64_t request,
                   const struct state_query *query)
{
    const struct head_job *job = numbers_get(&core->jobs, query->job);
    if (asker.tool == NULL && asker.link->role != PEER_CLIENT) {
        head_answer_failure(
            core, asker, request, CODE_REFUSED,
            "this key does not allow cancelling. Use client.key from the head's directory");
    } else if (query->job != 0 && job == NULL) {
        head_answer_failure(core, asker, request, CODE_NOT_FOUND,
                            "there is no job %" PRIu64 ". 'drt jobs' lists the jobs.", query->job);
    } else if (query->job != 0 && job->row.state != HEAD_JOB_RUNNING) {
        head_answer_failure(core, asker, request, CODE_DONE,
                            "job %" PRIu64 " has already ended (%s)", query->job,
                            head_job_state_text(job));
    } else {
        fan_out(core, asker, request, query);
    }
}

void head_query(struct head_core *core, struct head_asker asker, uint64_t request,
                const struct state_query *query)
{
    switch (query->kind) {
    case STATE_CLUSTER:
    case STATE_NODES:
        head_answer_nodes(core, asker, request, query);
        return;
    case STATE_JOBS:
        head_answer_jobs(core, asker, request, query);
        return;
    case STATE_TASKS:
    case STATE_CLASSES:
    case STATE_EXPLAIN:
    case STATE_WORKERS:
    case STATE_LOG:
    case STATE_SELF:
    case STATE_SUMMARY:
    case STATE_OUTPUT:
        fan_out(core, asker, request, query);
        return;
    case STATE_CANCEL:
        cancel(core, asker, request, query);
        return;
    case STATE_STOP:
        stop(core, asker, request);
        return;
    default:
        head_answer_failure(core, asker, request, CODE_REFUSED,
                            "the head does not support queries of kind %" PRIu32
                            ": ask the node, or install the same version of drt on both",
                            query->kind);
    }
}

/* ---- answers of the nodes ---- */

static struct head_query *find_query(struct head_core *core, uint64_t number)
{
    LIST_FOREACH(at, &core->queries)
    {
        struct head_query *q = list_entry(at, struct head_query, listed);
        if (q->number == number) {
            return q;
        }
    }
    return NULL;
}

static struct head_target *find_target(struct head_query *q, uint32_t node)
{
    for (size_t i = 0; i < q->target_count; i++) {
        if (q->targets[i].node == node && !q->targets[i].done) {
            return &q->targets[i];
        }
    }
    return NULL;
}

void head_query_reply(struct head_core *core, struct head_node *node,
                      const struct cluster_reply *reply)
{
    struct head_query *q = find_query(core, reply->request);
    struct head_target *target = q != NULL ? find_target(q, node->row.number) : NULL;
    if (target == NULL) {
        core->dropped_messages++; /* too late, or its asker has gone */
        return;
    }
    struct state_reply pass = reply->reply;
    bool is_failure = pass.failure.code != 0;
    if (pass.last) {
        target->done = true;
        q->open--;
    }
    if (is_failure) {
        if (q->failure.code == 0 || q->failure.code == CODE_NOT_FOUND) {
            q->failure = pass.failure;
        }
        memset(&pass.failure, 0, sizeof pass.failure);
    } else if (q->chases) {
        take_newest(q, node, &pass);
    } else {
        q->found = true;
    }
    bound_rows(q, &pass);
    if (q->open == 0) {
        settle(core, q, &pass);
    } else if (!is_failure && !q->chases) {
        pass.last = false;
        head_answer(core, asker_of(core, q), q->request, &pass);
    }
}

static void name_silent(struct head_core *core, struct head_query *q, struct head_target *target)
{
    const struct head_node *node = numbers_get(&core->nodes, target->node);
    char number[24];
    snprintf(number, sizeof number, "node %" PRIu32, target->node);
    if (q->failure.code == CODE_NOT_FOUND) {
        memset(&q->failure, 0, sizeof q->failure);
    }
    unreachable(&q->failure, node != NULL ? node->row.name : number);
    target->done = true;
    q->open--;
}

void head_queries_tick(struct head_core *core)
{
    LIST_FOREACH_SAFE(at, &core->queries)
    {
        struct head_query *q = list_entry(at, struct head_query, listed);
        if (core->time.now_ns < q->deadline_ns) {
            continue;
        }
        for (size_t i = 0; i < q->target_count; i++) {
            if (!q->targets[i].done) {
                name_silent(core, q, &q->targets[i]);
            }
        }
        struct state_reply reply = {0};
        settle(core, q, &reply);
    }
}

void head_query_unlinked(struct head_core *core, uint32_t number)
{
    LIST_FOREACH_SAFE(at, &core->queries)
    {
        struct head_query *q = list_entry(at, struct head_query, listed);
        struct head_target *target = find_target(q, number);
        if (target != NULL) {
            name_silent(core, q, target);
            if (q->open == 0) {
                struct state_reply reply = {0};
                settle(core, q, &reply);
            }
        }
    }
}

void head_query_forget(struct head_core *core, uint64_t link, uint32_t tool)
{
    LIST_FOREACH_SAFE(at, &core->queries)
    {
        struct head_query *q = list_entry(at, struct head_query, listed);
        if (q->link == link && q->tool == tool) {
            query_free(core, q);
        }
    }
}

uint64_t head_queries_next_ns(const struct head_core *core)
{
    /* They all wait equally long: the first is the oldest. */
    return list_is_empty(&core->queries)
               ? NS_FOREVER
               : list_entry(core->queries.next, struct head_query, listed)->deadline_ns;
}

void head_queries_fini(struct head_core *core)
{
    LIST_FOREACH_SAFE(at, &core->queries)
    {
        query_free(core, list_entry(at, struct head_query, listed));
    }
}
