/*
 * What one worker writes, as lines for who follows it: batches that come at once where little is
 * written, else every LOG_LINES_PAUSE_NS or LOG_LINES_BYTES_MAX, and never more than LOG_LINES_RATE
 * in the long run: beyond that lines are counted, and told in one line. What has no end yet (a
 * prompt, progress that ends in '\r') comes after LOG_LINES_PART_NS, and its rest later. Pure: told
 * the time. The files (raylet/logs.h) have everything.
 */
#ifndef RAYLET_LOG_LINES_H
#define RAYLET_LOG_LINES_H

#include "common/bytes.h"

#define LOG_LINES_BYTES_MAX 65536u     /* of one batch; a longer line is cut */
#define LOG_LINES_RATE      (1u << 20) /* bytes in a second, and at once after a pause */
#define LOG_LINES_PAUSE_NS  UINT64_C(50000000)
#define LOG_LINES_PART_NS   UINT64_C(100000000)

struct log_lines;

struct log_lines_owner {
    /* `stream` as in enum log_stream_kind; `lines` are borrowed. Without a newline at the end the
     * last of them goes on with what comes next of this stream. */
    void (*on_lines)(void *arg, uint32_t worker, uint32_t stream, struct bytes lines);
    void *arg;
    bool is_passing; /* the files end with the program: no advice to read them later */
};

struct log_lines *log_lines_new(uint32_t worker, uint64_t now_ns,
                                const struct log_lines_owner *owner);
void log_lines_free(struct log_lines *l); /* NULL is fine */

void log_lines_add(struct log_lines *l, uint64_t now_ns, uint32_t stream, struct bytes data);
/* All that has come goes on now, also what has no end yet. */
void log_lines_flush(struct log_lines *l, uint64_t now_ns);
/* The worker has ended: what is left, and the last line also if it has no end. */
void log_lines_end(struct log_lines *l, uint64_t now_ns);

uint64_t log_lines_next_ns(const struct log_lines *l);
void log_lines_tick(struct log_lines *l, uint64_t now_ns);

#endif
