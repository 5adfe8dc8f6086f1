#include "head/core_private.h"

#include "common/text.h"

static const bool JOB_MAY[6][6] = {
    [HEAD_JOB_NEW] = {[HEAD_JOB_RUNNING] = true},
    [HEAD_JOB_RUNNING] = {[HEAD_JOB_DONE] = true,
                          [HEAD_JOB_FAILED] = true,
                          [HEAD_JOB_LOST] = true,
                          [HEAD_JOB_CANCELLED] = true},
};

static void set_state(struct head_core *core, struct head_job *job, enum head_job_state state)
{
    ASSERT(JOB_MAY[job->row.state][state]);
    job->row.state = state;
    head_record_job(core, job);
}

const char *head_job_state_text(const struct head_job *job)
{
    static const char *const texts[] = {"new", "running", "done", "failed", "lost", "cancelled"};
    return texts[job->row.state];
}

static const char *put_text(char **at, const char *text)
{
    char *begin = *at;
    (void)text_copy(begin, HEAD_TEXT_MAX + 1, text);
    text_clean(begin);
    *at += strlen(begin) + 1;
    return begin;
}

static size_t text_room(const char *text)
{
    return MIN_OF(strlen(head_text(text)), (size_t)HEAD_TEXT_MAX) + 1;
}

static struct head_job *job_new(const struct head_job_row *row)
{
    size_t room = text_room(row->name) + text_room(row->program) + text_room(row->user);
    struct head_job *job = xcalloc(1, sizeof *job + room);
    char *at = job->texts;
    job->row = *row;
    job->row.name = put_text(&at, head_text(row->name));
    job->row.program = put_text(&at, head_text(row->program));
    job->row.user = put_text(&at, head_text(row->user));
    job->key = (struct head_job_key){.key = row->key, .node = row->node};
    list_init(&job->all);
    list_init(&job->listed);
    return job;
}

static struct head_job *find_key(struct head_core *core, uint32_t node, uint64_t key)
{
    struct head_job_key wanted = {.key = key, .node = node};
    struct head_job *job = NULL;
    HASH_FIND(hh, core->job_keys, &wanted, sizeof wanted, job);
    return job;
}

static void enter(struct head_core *core, struct head_job *job)
{
    numbers_set(&core->jobs, job->row.number, job);
    HASH_ADD(hh, core->job_keys, key, sizeof job->key, job);
    list_append(&core->jobs_all, &job->all);
}

static void enter_ended(struct head_core *core, struct head_job *job)
{
    list_unlink(&job->listed);
    list_append(&core->jobs_ended, &job->listed);
    core->jobs_ended_count++;
}

static void forget_oldest(struct head_core *core)
{
    struct head_job *job = list_entry(list_first(&core->jobs_ended), struct head_job, listed);
    head_record_forget(core, HEAD_RECORD_FORGET_JOB, job->row.number);
    numbers_remove(&core->jobs, job->row.number);
    HASH_DEL(core->job_keys, job);
    list_unlink(&job->all);
    list_unlink(&job->listed);
    core->jobs_ended_count--;
    free(job->parts);
    free(job);
}

/* ---- parts of other nodes ---- */

static void add_up(struct head_job *job)
{
    job->row.done = job->done;
    job->row.failed = job->failed;
    job->row.cancelled = job->cancelled;
    for (uint32_t i = 0; i < job->part_count; i++) {
        job->row.done += job->parts[i].done;
        job->row.failed += job->parts[i].failed;
        job->row.cancelled += job->parts[i].cancelled;
    }
}

static struct head_part *part_of(struct head_job *job, uint32_t node)
{
    for (uint32_t i = 0; i < job->part_count; i++) {
        if (job->parts[i].node == node) {
            return &job->parts[i];
        }
    }
    if (job->part_count == HEAD_PARTS_MAX) {
        return NULL;
    }
    job->parts = xrealloc(job->parts, (job->part_count + 1) * sizeof *job->parts);
    job->parts[job->part_count] = (struct head_part){.node = node};
    return &job->parts[job->part_count++];
}

static void say_ended(struct head_core *core, const struct head_node *node, uint64_t number)
{
    struct cluster_msg answer = {.type = CLUSTER_JOB_ENDED, .job_ended.job = number};
    if (node != NULL) {
        head_send(core, node->link, &answer);
    }
}

/* While the job runs its row on disk has none of them: the nodes say them again to a head that
 * starts. They are told when it is over. */
static void take_part(struct head_core *core, struct head_node *node, struct head_job *job,
                      const struct cluster_job_end *msg)
{
    struct head_part *part = job->was_over ? NULL : part_of(job, node->row.number);
    bool is_over = job->row.state != HEAD_JOB_RUNNING;
    if (part != NULL && (part->done != msg->done || part->failed != msg->failed ||
                         part->cancelled != msg->cancelled)) {
        part->done = msg->done;
        part->failed = msg->failed;
        part->cancelled = msg->cancelled;
        add_up(job);
        if (is_over) {
            head_record_job(core, job);
        }
    }
    if (is_over) {
        say_ended(core, node, msg->job);
    }
}

static void end_job(struct head_core *core, struct head_job *job, enum head_job_state state,
                    uint64_t ended_unix_ms)
{
    job->row.ended_unix_ms = ended_unix_ms != 0 ? ended_unix_ms : core->time.unix_ms;
    add_up(job);
    set_state(core, job, state);
    enter_ended(core, job);
    core->jobs_live--;
    for (uint32_t i = 0; i < job->part_count; i++) {
        say_ended(core, numbers_get(&core->nodes, job->parts[i].node), job->row.number);
    }
    if (core->jobs_ended_count > HEAD_JOBS_ENDED_MAX) {
        forget_oldest(core);
    }
}

void head_job_new(struct head_core *core, struct head_node *node, const struct cluster_job_new *msg)
{
    struct head_job *job = find_key(core, node->row.number, msg->key);
    struct cluster_msg answer = {.type = CLUSTER_JOB_ADDED, .job_added.key = msg->key};
    if (job == NULL && core->jobs_live >= HEAD_JOBS_LIVE_MAX) {
        failure_set(&answer.job_added.failure, CODE_FULL,
                    "the cluster runs %u jobs, its limit: wait until some of them end",
                    HEAD_JOBS_LIVE_MAX);
        head_send(core, node->link, &answer);
        return;
    }
    if (job == NULL) {
        struct head_job_row row = {
            .number = ++core->job_last,
            .node = node->row.number,
            .pid = msg->pid,
            .key = msg->key,
            .state = HEAD_JOB_NEW,
            .started_unix_ms =
                msg->started_unix_ms != 0 ? msg->started_unix_ms : core->time.unix_ms,
            .name = msg->name,
            .program = msg->program,
            .user = msg->user,
        };
        job = job_new(&row);
        enter(core, job);
        list_append(&node->jobs, &job->listed);
        core->jobs_live++;
        set_state(core, job, HEAD_JOB_RUNNING);
    }
    answer.job_added.job = job->row.number;
    head_send(core, node->link, &answer);
}

void head_job_end(struct head_core *core, struct head_node *node, const struct cluster_job_end *msg)
{
    struct head_job *job = numbers_get(&core->jobs, msg->job);
    bool is_part = msg->state == JOB_PART;
    if (msg->job > core->job_last ||
        (job != NULL && (job->row.node != node->row.number) != is_part)) {
        core->protocol_errors++;
        return;
    }
    if (job != NULL && is_part) {
        take_part(core, node, job, msg);
        return;
    }
    if (job != NULL && job->row.state == HEAD_JOB_RUNNING) {
        enum head_job_state state = msg->state == JOB_DONE        ? HEAD_JOB_DONE
                                    : msg->state == JOB_FAILED    ? HEAD_JOB_FAILED
                                    : msg->state == JOB_CANCELLED ? HEAD_JOB_CANCELLED
                                                                  : HEAD_JOB_LOST;
        job->done = msg->done;
        job->failed = msg->failed;
        job->cancelled = msg->cancelled;
        end_job(core, job, state, msg->ended_unix_ms);
    }
    say_ended(core, node, msg->job);
}

void head_jobs_listed(struct head_core *core, struct head_node *node, const uint64_t *jobs,
                      size_t count)
{
    bool any = false;
    LIST_FOREACH(at, &node->jobs)
    {
        list_entry(at, struct head_job, listed)->unaccounted = true;
    }
    for (size_t i = 0; i < count; i++) {
        struct head_job *job = numbers_get(&core->jobs, jobs[i]);
        if (job != NULL && job->row.node == node->row.number) {
            job->unaccounted = false;
        }
    }
    LIST_FOREACH(at, &node->jobs)
    {
        any = any || list_entry(at, struct head_job, listed)->unaccounted;
    }
    /* The end of such a job may be on its way, behind this very JOIN. */
    node->reconcile_at_ns = any ? core->time.now_ns + HEAD_RECONCILE_NS : NS_FOREVER;
}

void head_jobs_reconcile(struct head_core *core, struct head_node *node)
{
    LIST_FOREACH_SAFE(at, &node->jobs)
    {
        struct head_job *job = list_entry(at, struct head_job, listed);
        if (job->unaccounted) {
            end_job(core, job, HEAD_JOB_LOST, 0);
        }
    }
}

size_t head_jobs_lose(struct head_core *core, struct head_node *node, size_t most)
{
    size_t ended = 0;
    while (ended < most && !list_is_empty(&node->jobs)) {
        end_job(core, list_entry(list_first(&node->jobs), struct head_job, listed), HEAD_JOB_LOST,
                0);
        ended++;
    }
    return ended;
}

const char *head_job_restore(struct head_core *core, const struct head_job_row *row)
{
    struct head_node *node = numbers_get(&core->nodes, row->node);
    bool is_live = row->state == HEAD_JOB_RUNNING;
    const char *why = NULL;
    if (row->number <= core->job_last) {
        return "its number appears twice";
    }
    if (find_key(core, row->node, row->key) != NULL) {
        return "another one has the same key";
    }
    struct head_job *job = job_new(row);
    if (is_live && node == NULL) {
        why = "its node does not exist, so the job is lost";
        job->row.state = HEAD_JOB_LOST;
        job->row.ended_unix_ms = core->time.unix_ms;
        is_live = false;
    }
    core->job_last = row->number;
    enter(core, job);
    if (!is_live) {
        job->was_over = true;
        enter_ended(core, job);
        return why;
    }
    core->jobs_live++;
    list_append(&node->jobs, &job->listed);
    if (node->row.state != HEAD_NODE_ALIVE && list_is_empty(&node->dying_link)) {
        list_append(&core->dying, &node->dying_link);
    }
    return NULL;
}
