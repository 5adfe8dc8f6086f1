/*
 * Which part of a worker's output which task wrote: the last LOG_PARTS_MAX parts that are not
 * empty. A task whose body printed to both streams, or that was tried twice, has several. Pure.
 */
#ifndef RAYLET_LOG_PARTS_H
#define RAYLET_LOG_PARTS_H

#include "common/base.h"
#include "common/ids.h"

#define LOG_PARTS_MAX 16384u

struct log_part {
    struct object_id task;
    uint32_t attempt, worker, stream;
    uint64_t begin, end; /* of the stream */
};

struct log_parts;

struct log_parts *log_parts_new(void);
void log_parts_free(struct log_parts *p); /* NULL is fine */
void log_parts_add(struct log_parts *p, const struct log_part *part);
/* The next part of a task after `last`, in the order in which they were added; `last` NULL: the
 * first. NULL: there is no other. */
const struct log_part *log_parts_next(const struct log_parts *p, struct object_id task,
                                      const struct log_part *last);
bool log_parts_lost_any(const struct log_parts *p); /* older ones have made room */

#endif
