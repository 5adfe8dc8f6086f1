#include "raylet/log_query.h"

#define PIECE_DEFAULT (64u << 10)

/* What may be read for a query: of a worker all, of a task one part. */
struct range {
    uint64_t begin, end; /* of the stream; `end` UINT64_MAX: as far as it goes */
    bool ended;          /* nothing will be added to it */
};

static void say_unknown(struct failure *f, const struct state_query *query)
{
    failure_set(f, CODE_NOT_FOUND,
                "It is no longer known what task %s wrote in worker %llu: each node remembers that "
                "of the last %u tasks that wrote something.",
                query->id, (unsigned long long)query->worker, LOG_PARTS_MAX);
}

/* The part of a task in which the query's offset lies. False: there is none. */
static bool find_range(struct logs *logs, const struct state_query *query,
                       const struct log_body *body, struct range *ret)
{
    const struct log_parts *parts = logs_parts(logs);
    const struct log_part *part = NULL;
    uint64_t mark;
    while ((part = log_parts_next(parts, body->task, part)) != NULL) {
        if (part->worker == query->worker && part->stream == query->stream &&
            part->begin <= query->offset && query->offset <= part->end) {
            *ret = (struct range){.begin = part->begin, .end = part->end, .ended = true};
            return true;
        }
    }
    if (body->worker != query->worker || !logs_mark(logs, body->worker, query->stream, &mark) ||
        query->offset < mark) {
        return false;
    }
    *ret = (struct range){.begin = mark, .end = UINT64_MAX};
    if (body->may_have_ended) {
        ret->end = query->offset; /* more is there, and next time it is known whose it is */
    }
    return true;
}

static void read_piece(struct logs *logs, const struct state_query *query,
                       const struct range *range, struct buffer *data, struct state_reply *ret)
{
    struct logs_piece piece = {0};
    uint64_t max = query->max_bytes != 0 ? query->max_bytes : PIECE_DEFAULT;
    int r = CODE_NOT_FOUND;
    max = query->offset <= range->end ? MIN_OF(max, range->end - query->offset) : max;
    if (query->worker <= UINT32_MAX) {
        r = logs_read(logs, (uint32_t)query->worker, query->stream, query->offset, max, data,
                      &piece);
    }
    if (r == CODE_NOT_FOUND) {
        failure_set(
            &ret->failure, CODE_NOT_FOUND,
            "There is no output of worker %llu here: it never ran on this node, or its files "
            "were removed to make room.",
            (unsigned long long)query->worker);
        return;
    }
    if (r != 0) {
        failure_set(&ret->failure, CODE_FAILED, "The output of worker %llu cannot be read: %s.",
                    (unsigned long long)query->worker, strerror(-r));
        return;
    }
    /* Older bytes of a part may have made room: then what stands first is later than asked. */
    uint64_t end = MIN_OF(piece.end, range->end);
    uint64_t offset = MIN_OF(piece.offset, end);
    data->size = MIN_OF(data->size, (size_t)(end - offset));
    ret->log = bytes_of(data->data, data->size);
    ret->log_offset = offset;
    ret->log_end = end;
    ret->log_closed = piece.closed || range->ended;
}

static void add_output(struct buffer *data, const struct state_output *row)
{
    if (data->size / sizeof *row < STATE_ROWS_MAX) {
        buffer_append(data, row, sizeof *row);
    }
}

static void list_parts(struct logs *logs, const char *node, const struct log_body *body,
                       struct buffer *data, struct state_reply *ret)
{
    const struct log_parts *parts = logs_parts(logs);
    const struct log_part *part = NULL;
    while ((part = log_parts_next(parts, body->task, part)) != NULL) {
        add_output(data, &(struct state_output){.node = node,
                                                .worker = part->worker,
                                                .attempt = part->attempt,
                                                .stream = part->stream,
                                                .begin = part->begin,
                                                .end = part->end});
    }
    for (uint32_t stream = LOGS_OUT; stream <= LOGS_ERR && body->worker != 0; stream++) {
        uint64_t mark;
        if (logs_mark(logs, body->worker, stream, &mark)) {
            add_output(data, &(struct state_output){.node = node,
                                                    .worker = body->worker,
                                                    .attempt = body->attempt,
                                                    .stream = stream,
                                                    .begin = mark,
                                                    .end = mark,
                                                    .running = true});
        }
    }
    ret->outputs = (const struct state_output *)(const void *)data->data;
    ret->output_count = data->size / sizeof(struct state_output);
    ret->outputs_lost = log_parts_lost_any(parts);
}

void log_query_answer(struct logs *logs, const char *node, const struct state_query *query,
                      const struct log_body *body, struct buffer *data, struct state_reply *ret)
{
    struct range range = {.end = UINT64_MAX};
    *ret = (struct state_reply){.last = true};
    if (query->kind == STATE_OUTPUT) {
        list_parts(logs, node, body, data, ret);
    } else if (body != NULL && !find_range(logs, query, body, &range)) {
        say_unknown(&ret->failure, query);
    } else {
        read_piece(logs, query, &range, data, ret);
        if (body != NULL && body->may_have_ended && !range.ended && ret->failure.code == 0) {
            ret->log_end = query->offset + 1; /* there is more: ask again */
        }
    }
}
