#include "proto/state.h"

#include "proto/durations.h"
#include "proto/tables.h"

#define LOG_MAX    (512u << 10)
#define LINES_MAX  4096u
#define REASON_MAX TEXT_MESSAGE_MAX

static const struct codec_field failure_fields[] = {
    CODEC_FIELD(CODEC_S32, struct failure, code),
    CODEC_FIELD(CODEC_S32, struct failure, app_code),
    CODEC_FIELD(CODEC_S32, struct failure, signal),
    CODEC_FIELD(CODEC_S32, struct failure, exit_code),
    CODEC_FIELD(CODEC_U32, struct failure, attempts),
    CODEC_FIELD(CODEC_U32, struct failure, depth),
    CODEC_BOUND(CODEC_CHARS, struct failure, task, sizeof((struct failure *)0)->task - 1),
    CODEC_BOUND(CODEC_CHARS, struct failure, node, sizeof((struct failure *)0)->node - 1),
    CODEC_BOUND(CODEC_CHARS, struct failure, message, sizeof((struct failure *)0)->message - 1),
};
const struct codec failure_codec = CODEC_OF("Failure", failure_fields, struct failure);

static const struct codec_field amount_fields[] = {
    CODEC_BOUND(CODEC_TEXT, struct state_amount, name, TEXT_NAME_MAX),
    CODEC_FIELD(CODEC_S64, struct state_amount, total_units),
    CODEC_FIELD(CODEC_S64, struct state_amount, available_units),
};
static const struct codec amount_codec = CODEC_OF("Amount", amount_fields, struct state_amount);

static const struct codec_field query_fields[] = {
    CODEC_FIELD(CODEC_U32, struct state_query, kind),
    CODEC_FIELD(CODEC_U32, struct state_query, limit),
    CODEC_BOUND(CODEC_TEXT, struct state_query, id, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct state_query, node, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct state_query, state, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct state_query, name, TEXT_NAME_MAX),
    CODEC_FIELD(CODEC_U64, struct state_query, job),
    CODEC_FIELD(CODEC_U64, struct state_query, worker),
    CODEC_FIELD(CODEC_U32, struct state_query, stream),
    CODEC_FIELD(CODEC_U64, struct state_query, offset),
    CODEC_FIELD(CODEC_U64, struct state_query, max_bytes),
    CODEC_FIELD(CODEC_U64, struct state_query, within_ns),
    CODEC_FIELD(CODEC_BOOL, struct state_query, force),
};
const struct codec state_query_codec = CODEC_OF("StateQuery", query_fields, struct state_query);

static const struct codec_field node_fields[] = {
    CODEC_FIELD(CODEC_U32, struct state_node, number),
    CODEC_BOUND(CODEC_TEXT, struct state_node, name, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct state_node, host, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct state_node, address, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct state_node, state, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct state_node, note, REASON_MAX),
    CODEC_BOUND(CODEC_TEXT, struct state_node, labels, TEXT_LABELS_MAX),
    CODEC_FIELD(CODEC_U64, struct state_node, since_unix_ms),
    CODEC_FIELD(CODEC_U32, struct state_node, pid),
    CODEC_ARRAY(CODEC_SUBS, struct state_node, amounts, amount_count, 0, AMOUNTS_MAX,
                &amount_codec),
    CODEC_FIELD(CODEC_U64, struct state_node, waiting),
    CODEC_FIELD(CODEC_U64, struct state_node, running),
    CODEC_FIELD(CODEC_U64, struct state_node, done),
    CODEC_FIELD(CODEC_U64, struct state_node, failed),
    CODEC_FIELD(CODEC_U32, struct state_node, workers),
    CODEC_FIELD(CODEC_U32, struct state_node, idle_workers),
    CODEC_FIELD(CODEC_U64, struct state_node, cancelled),
    CODEC_FIELD(CODEC_U64, struct state_node, heard_unix_ms),
    CODEC_FIELD(CODEC_U64, struct state_node, memory_used_bytes),
};
static const struct codec node_codec = CODEC_OF("StateNode", node_fields, struct state_node);

static const struct codec_field job_fields[] = {
    CODEC_FIELD(CODEC_U64, struct state_job, number),
    CODEC_BOUND(CODEC_TEXT, struct state_job, name, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct state_job, state, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct state_job, node, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct state_job, program, TEXT_PATH_MAX),
    CODEC_BOUND(CODEC_TEXT, struct state_job, user, TEXT_NAME_MAX),
    CODEC_FIELD(CODEC_U32, struct state_job, pid),
    CODEC_FIELD(CODEC_U64, struct state_job, started_unix_ms),
    CODEC_FIELD(CODEC_U64, struct state_job, ended_unix_ms),
    CODEC_FIELD(CODEC_U64, struct state_job, waiting),
    CODEC_FIELD(CODEC_U64, struct state_job, running),
    CODEC_FIELD(CODEC_U64, struct state_job, done),
    CODEC_FIELD(CODEC_U64, struct state_job, failed),
    CODEC_FIELD(CODEC_U64, struct state_job, cancelled),
};
static const struct codec job_codec = CODEC_OF("StateJob", job_fields, struct state_job);

static const struct codec_field task_fields[] = {
    CODEC_FIELD(CODEC_ID, struct state_task, id),
    CODEC_BOUND(CODEC_TEXT, struct state_task, function, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct state_task, name, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct state_task, node, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct state_task, state, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct state_task, reason, REASON_MAX),
    CODEC_FIELD(CODEC_U64, struct state_task, job),
    CODEC_FIELD(CODEC_U64, struct state_task, worker),
    CODEC_FIELD(CODEC_U32, struct state_task, attempt),
    CODEC_FIELD(CODEC_U32, struct state_task, max_attempts),
    CODEC_FIELD(CODEC_U32, struct state_task, depth),
    CODEC_FIELD(CODEC_S32, struct state_task, priority),
    CODEC_FIELD(CODEC_U64, struct state_task, submitted_unix_ms),
    CODEC_FIELD(CODEC_U64, struct state_task, started_unix_ms),
    CODEC_FIELD(CODEC_U64, struct state_task, ended_unix_ms),
    CODEC_FIELD(CODEC_U32, struct state_task, code),
    CODEC_FIELD(CODEC_U64, struct state_task, ran_ns),
    CODEC_BOUND(CODEC_TEXT, struct state_task, root, TEXT_NAME_MAX),
};
static const struct codec task_codec = CODEC_OF("StateTask", task_fields, struct state_task);

static const struct codec_field class_fields[] = {
    CODEC_BOUND(CODEC_TEXT, struct state_class, function, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct state_class, state, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct state_class, reason, REASON_MAX),
    CODEC_BOUND(CODEC_TEXT, struct state_class, node, TEXT_NAME_MAX),
    CODEC_FIELD(CODEC_U64, struct state_class, count),
    CODEC_FIELD(CODEC_U64, struct state_class, job),
};
static const struct codec class_codec = CODEC_OF("StateClass", class_fields, struct state_class);

static const struct codec_field worker_fields[] = {
    CODEC_FIELD(CODEC_U64, struct state_worker, number),
    CODEC_FIELD(CODEC_U64, struct state_worker, job),
    CODEC_BOUND(CODEC_TEXT, struct state_worker, node, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct state_worker, program, TEXT_PATH_MAX),
    CODEC_BOUND(CODEC_TEXT, struct state_worker, state, TEXT_NAME_MAX),
    CODEC_FIELD(CODEC_U32, struct state_worker, pid),
    CODEC_BOUND(CODEC_PATH, struct state_worker, out_path, TEXT_PATH_MAX),
    CODEC_BOUND(CODEC_PATH, struct state_worker, err_path, TEXT_PATH_MAX),
    CODEC_FIELD(CODEC_U64, struct state_worker, started_unix_ms),
    CODEC_FIELD(CODEC_U64, struct state_worker, tasks_done),
    CODEC_FIELD(CODEC_ID, struct state_worker, task),
    CODEC_BOUND(CODEC_TEXT, struct state_worker, function, TEXT_NAME_MAX),
};
static const struct codec worker_codec =
    CODEC_OF("StateWorker", worker_fields, struct state_worker);

static const struct codec_field function_fields[] = {
    CODEC_BOUND(CODEC_TEXT, struct state_function, function, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct state_function, node, TEXT_NAME_MAX),
    CODEC_FIELD(CODEC_U64, struct state_function, done),
    CODEC_FIELD(CODEC_U64, struct state_function, failed),
    CODEC_FIELD(CODEC_U64, struct state_function, cancelled),
    CODEC_FIELD(CODEC_U64, struct state_function, runs),
    CODEC_FIELD(CODEC_U64, struct state_function, ran_ns),
    CODEC_ARRAY(CODEC_WORDS, struct state_function, buckets, bucket_count,
                sizeof(struct state_bucket), DURATIONS_BUCKETS, NULL),
};
static const struct codec function_codec =
    CODEC_OF("StateFunction", function_fields, struct state_function);

static const struct codec_field output_fields[] = {
    CODEC_BOUND(CODEC_TEXT, struct state_output, node, TEXT_NAME_MAX),
    CODEC_FIELD(CODEC_U64, struct state_output, worker),
    CODEC_FIELD(CODEC_U32, struct state_output, attempt),
    CODEC_FIELD(CODEC_U32, struct state_output, stream),
    CODEC_FIELD(CODEC_U64, struct state_output, begin),
    CODEC_FIELD(CODEC_U64, struct state_output, end),
    CODEC_FIELD(CODEC_BOOL, struct state_output, running),
};
static const struct codec output_codec =
    CODEC_OF("StateOutput", output_fields, struct state_output);

static const struct codec_field reply_fields[] = {
    CODEC_FIELD(CODEC_BOOL, struct state_reply, last),
    CODEC_INSIDE(struct state_reply, failure, &failure_codec),
    CODEC_BOUND(CODEC_TEXT, struct state_reply, cluster, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct state_reply, head_address, TEXT_NAME_MAX),
    CODEC_FIELD(CODEC_U32, struct state_reply, head_pid),
    CODEC_FIELD(CODEC_U64, struct state_reply, head_started_unix_ms),
    CODEC_ARRAY(CODEC_SUBS, struct state_reply, nodes, node_count, 0, STATE_ROWS_MAX, &node_codec),
    CODEC_ARRAY(CODEC_SUBS, struct state_reply, jobs, job_count, 0, STATE_ROWS_MAX, &job_codec),
    CODEC_ARRAY(CODEC_SUBS, struct state_reply, tasks, task_count, 0, STATE_ROWS_MAX, &task_codec),
    CODEC_ARRAY(CODEC_SUBS, struct state_reply, classes, class_count, 0, STATE_ROWS_MAX,
                &class_codec),
    CODEC_ARRAY(CODEC_SUBS, struct state_reply, workers, worker_count, 0, STATE_ROWS_MAX,
                &worker_codec),
    CODEC_ARRAY(CODEC_TEXTS, struct state_reply, lines, line_count, TEXT_MESSAGE_MAX, LINES_MAX,
                NULL),
    CODEC_BOUND(CODEC_BYTES, struct state_reply, log, LOG_MAX),
    CODEC_FIELD(CODEC_U64, struct state_reply, log_offset),
    CODEC_FIELD(CODEC_U64, struct state_reply, log_end),
    CODEC_FIELD(CODEC_BOOL, struct state_reply, log_closed),
    CODEC_ARRAY(CODEC_SUBS, struct state_reply, functions, function_count, 0, STATE_ROWS_MAX,
                &function_codec),
    CODEC_ARRAY(CODEC_SUBS, struct state_reply, outputs, output_count, 0, STATE_ROWS_MAX,
                &output_codec),
    CODEC_FIELD(CODEC_BOOL, struct state_reply, outputs_lost),
};
const struct codec state_reply_codec = CODEC_OF("StateReply", reply_fields, struct state_reply);

/* ---- an answer in parts ---- */

#define ROW_HEAD 8u /* at most, before a row: the field's number and the row's size */

static size_t row_size(const struct codec_field *f, const uint8_t *row)
{
    const char *text;
    if (f->kind == CODEC_SUBS) {
        return ROW_HEAD + codec_size(f->sub, row);
    }
    memcpy(&text, row, sizeof text);
    return ROW_HEAD + (text == NULL ? 0 : strnlen(text, f->unit));
}

/* Moves rows of one kind from `left` to `part`, as many as fit into *room; if there are more,
 * nothing else fits. */
static bool take_rows(const struct codec_field *f, struct state_reply *left,
                      struct state_reply *part, size_t *room)
{
    size_t stride = f->kind == CODEC_SUBS ? f->sub->struct_size : sizeof(const char *);
    uint8_t *from = (uint8_t *)left, *to = (uint8_t *)part;
    const uint8_t *rows;
    size_t count, taken = 0;
    memcpy(&rows, from + f->offset, sizeof rows);
    memcpy(&count, from + f->count_offset, sizeof count);
    while (taken < count && taken < f->max) {
        size_t size = row_size(f, rows + taken * stride);
        if (size > *room) {
            break;
        }
        *room -= size;
        taken++;
    }
    memcpy(to + f->count_offset, &taken, sizeof taken);
    rows = taken == 0 ? rows : rows + taken * stride;
    count -= taken;
    memcpy(from + f->offset, &rows, sizeof rows);
    memcpy(from + f->count_offset, &count, sizeof count);
    *room = count == 0 ? *room : 0;
    return count != 0;
}

bool state_reply_part(struct state_reply *left, struct state_reply *ret_part)
{
    size_t room = STATE_PART_BYTES;
    bool more = false;
    *ret_part = *left;
    for (size_t i = 0; i < ARRAY_SIZE(reply_fields); i++) {
        const struct codec_field *f = &reply_fields[i];
        if (f->kind == CODEC_SUBS || f->kind == CODEC_TEXTS) {
            more = take_rows(f, left, ret_part, &room) || more;
        }
    }
    left->log = bytes_of(NULL, 0); /* it goes with the first */
    if (more) {
        ret_part->last = false;
        memset(&ret_part->failure, 0, sizeof ret_part->failure); /* and this with the last */
    }
    return more;
}
