/*
 * What one worker writes, as whole lines for who follows it: batches that come at once where little
 * is written, else every LOG_LINES_PAUSE_NS or LOG_LINES_BYTES_MAX, and never more than
 * LOG_LINES_RATE in the long run: beyond that lines are counted, and told in one line. Pure: told
 * the time. The files (raylet/logs.h) have everything.
 */
#ifndef RAYLET_LOG_LINES_H
#define RAYLET_LOG_LINES_H

#include "common/bytes.h"

#define LOG_LINES_BYTES_MAX 65536u     /* of one batch; a longer line is cut */
#define LOG_LINES_RATE      (1u << 20) /* bytes in a second, and at once after a pause */
#define LOG_LINES_PAUSE_NS  UINT64_C(50000000)

struct log_lines;

struct log_lines_owner {
    /* `stream` as in enum log_stream_kind; `lines` end with a newline and are borrowed. */
    void (*on_lines)(void *arg, uint32_t worker, uint32_t stream, struct bytes lines);
    void *arg;
};

struct log_lines *log_lines_new(uint32_t worker, uint64_t now_ns,
                                const struct log_lines_owner *owner);
void log_lines_free(struct log_lines *l); /* NULL is fine */

void log_lines_add(struct log_lines *l, uint64_t now_ns, uint32_t stream, struct bytes data);
/* The worker has ended: what is left, and the last line also if it has no end. */
void log_lines_end(struct log_lines *l, uint64_t now_ns);

uint64_t log_lines_next_ns(const struct log_lines *l);
void log_lines_tick(struct log_lines *l, uint64_t now_ns);

#endif
