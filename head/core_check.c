#include "head/core_private.h"

static void check_node(struct head_core *core, struct head_node *node, bool is_alive)
{
    ASSERT((node->row.state == HEAD_NODE_ALIVE) == is_alive);
    ASSERT(numbers_get(&core->nodes, node->row.number) == node);
    ASSERT(node->row.number <= core->node_last);
    if (is_alive) {
        struct head_node *named = NULL;
        HASH_FIND_STR(core->names, node->row.name, named);
        ASSERT(named == node);
        ASSERT(list_is_empty(&node->dying_link));
    } else {
        ASSERT(node->link == NULL);
        ASSERT(list_is_empty(&node->jobs) == list_is_empty(&node->dying_link));
    }
    if (node->link != NULL) {
        struct head_link *link = NULL;
        HASH_FIND(hh, core->links, &node->link->link, sizeof node->link->link, link);
        ASSERT(link == node->link && link->node == node && !link->closing);
    }
    LIST_FOREACH(at, &node->jobs)
    {
        struct head_job *job = list_entry(at, struct head_job, listed);
        ASSERT(job->row.state == HEAD_JOB_RUNNING && job->row.node == node->row.number);
    }
}

static void check_nodes(struct head_core *core)
{
    size_t alive = 0, ended = 0;
    LIST_FOREACH(at, &core->alive)
    {
        check_node(core, list_entry(at, struct head_node, listed), true);
        alive++;
    }
    LIST_FOREACH(at, &core->ended)
    {
        check_node(core, list_entry(at, struct head_node, listed), false);
        ended++;
    }
    ASSERT(alive == core->alive_count && alive == HASH_COUNT(core->names));
    ASSERT(ended == core->ended_count && alive + ended == core->nodes.used);
    ASSERT(alive <= HEAD_NODES_MAX);
}

static void check_jobs(struct head_core *core)
{
    size_t live = 0, ended = 0;
    uint64_t number = 0;
    LIST_FOREACH(at, &core->jobs_all)
    {
        struct head_job *job = list_entry(at, struct head_job, all);
        ASSERT(job->row.number > number && job->row.number <= core->job_last);
        ASSERT(numbers_get(&core->jobs, job->row.number) == job);
        number = job->row.number;
        live += job->row.state == HEAD_JOB_RUNNING;
        ended += job->row.state != HEAD_JOB_RUNNING;
    }
    ASSERT(live == core->jobs_live && live <= HEAD_JOBS_LIVE_MAX);
    ASSERT(ended == core->jobs_ended_count && ended <= HEAD_JOBS_ENDED_MAX);
    ASSERT(live + ended == core->jobs.used && live + ended == HASH_COUNT(core->job_keys));
}

static void check_held(struct head_core *core)
{
    size_t count = 0, bytes = 0;
    uint64_t after = 0;
    LIST_FOREACH(at, &core->held)
    {
        struct head_out *out = list_entry(at, struct head_out, listed);
        ASSERT(out->after >= after && out->after <= core->record_last);
        ASSERT(out->after > core->record_committed);
        after = out->after;
        bytes += sizeof *out + out->size;
        count++;
    }
    ASSERT(count == core->held_count && bytes == core->held_bytes);
    ASSERT(core->record_asked == core->record_last);
    for (size_t i = 0; i < core->effect_count; i++) {
        const struct head_effect *effect = &core->effects[i];
        bool is_free = effect->kind == HEAD_EFFECT_RECORD || effect->kind == HEAD_EFFECT_COMMIT ||
                       effect->kind == HEAD_EFFECT_DATAGRAM || effect->kind == HEAD_EFFECT_PROBE ||
                       effect->kind == HEAD_EFFECT_REACH || effect->kind == HEAD_EFFECT_LOG;
        ASSERT(is_free || effect->after <= core->record_committed);
    }
}

void head_core_check(struct head_core *core)
{
    check_nodes(core);
    check_jobs(core);
    check_held(core);
    size_t queries = 0;
    LIST_FOREACH(at, &core->queries)
    {
        const struct head_query *q = list_entry(at, struct head_query, listed);
        ASSERT(q->open > 0 && q->open <= q->target_count);
        queries++;
    }
    ASSERT(queries == core->query_count && queries <= HEAD_QUERIES_MAX);
}

void head_core_count(const struct head_core *core, struct head_counts *ret)
{
    *ret = (struct head_counts){
        .nodes_alive = core->alive_count,
        .nodes_ended = core->ended_count,
        .jobs_live = core->jobs_live,
        .jobs_ended = core->jobs_ended_count,
        .links = HASH_COUNT(core->links),
        .tools = HASH_COUNT(core->tools),
        .queries = core->query_count,
        .held = core->held_count,
        .held_bytes = core->held_bytes,
        .records = core->record_last,
        .committed = core->record_committed,
        .dropped_messages = core->dropped_messages,
        .protocol_errors = core->protocol_errors,
    };
}

const struct head_node_row *head_core_node(struct head_core *core, uint32_t number)
{
    const struct head_node *node = numbers_get(&core->nodes, number);
    return node != NULL ? &node->row : NULL;
}

const struct head_job_row *head_core_job(struct head_core *core, uint64_t number)
{
    const struct head_job *job = numbers_get(&core->jobs, number);
    return job != NULL ? &job->row : NULL;
}
