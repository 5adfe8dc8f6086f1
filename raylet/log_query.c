#include "raylet/log_query.h"

#define PIECE_DEFAULT (64u << 10)

void log_query_answer(struct logs *logs, const struct state_query *query, struct buffer *data,
                      struct state_reply *ret)
{
    struct logs_piece piece = {0};
    uint64_t max = query->max_bytes != 0 ? query->max_bytes : PIECE_DEFAULT;
    int r = CODE_NOT_FOUND;
    *ret = (struct state_reply){.last = true};
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
    } else if (r != 0) {
        failure_set(&ret->failure, CODE_FAILED, "The output of worker %llu cannot be read: %s.",
                    (unsigned long long)query->worker, strerror(-r));
    } else {
        ret->log = bytes_of(data->data, data->size);
        ret->log_offset = piece.offset;
        ret->log_end = piece.end;
        ret->log_closed = piece.closed;
    }
}
