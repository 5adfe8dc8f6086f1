/*
 * What workers write to their standard output and error: pipes that the loop reads, and for each
 * stream two files of LOGS_FILE_BYTES in turn ("worker-7.out", and "worker-7.out.1" before it).
 * Positions are of the stream, not of a file. A worker that writes faster than the files take it
 * waits. Files of workers that ended are kept, the last LOGS_ENDED_MAX of them and at most
 * LOGS_ENDED_BYTES. On the loop's thread.
 */
#ifndef RAYLET_LOGS_H
#define RAYLET_LOGS_H

#include "common/bytes.h"
#include "common/loop.h"
#include "common/place.h"
#include "proto/ring.h"
#include "raylet/log_lines.h"
#include "raylet/log_parts.h"

#define LOGS_FILE_BYTES  (16u << 20)
#define LOGS_ENDED_MAX   256u
#define LOGS_ENDED_BYTES (UINT64_C(1) << 30)
#define LOGS_READ_MAX    (256u << 10) /* of one logs_read */

struct logs;

enum log_stream_kind { LOGS_OUT = 1, LOGS_ERR = 2 };

/* `dir` exists; `owner` may be NULL: nobody follows. */
struct logs *logs_new(struct loop *loop, const char *dir, const struct log_lines_owner *owner);
void logs_free(struct logs *logs);                           /* files stay; NULL is fine */
void logs_set_file_bytes(struct logs *logs, uint64_t bytes); /* for tests */

/* Pipes for a new worker: ret_ends[0] for its standard output, [1] for its error; the caller closes
 * them. -errno */
int logs_open(struct logs *logs, uint32_t worker, int ret_ends[2]) MUST_CHECK;
/* It is about to serve: what it wrote until now belongs to no task, and is told to nobody who
 * follows. `meters`: one for each stream, kept up to date until logs_ended; NULL: none. */
void logs_serves(struct logs *logs, uint32_t worker, struct ring_meter *out,
                 struct ring_meter *err);
/* Its processes are gone: takes what is still in the pipes, closes. */
void logs_ended(struct logs *logs, uint32_t worker);

/* The body of a task has ended: what came since the one before is its own, up to these positions.
 * 0: nothing; UINT64_MAX: up to what was read. */
void logs_wrote(struct logs *logs, uint32_t worker, struct object_id task, uint32_t attempt,
                uint64_t out_end, uint64_t err_end);
const struct log_parts *logs_parts(const struct logs *logs);
/* Where the output of the body that runs now begins. False: no such worker. */
bool logs_mark(struct logs *logs, uint32_t worker, uint32_t stream, uint64_t *ret);
/* Reads what is in its pipes now. */
void logs_take(struct logs *logs, uint32_t worker);

/* What it writes as soon as it serves goes to the owner as well (raylet/log_lines.h), the last of
 * it within logs_ended. Fine if it is not there, or followed already. */
void logs_follow(struct logs *logs, uint32_t worker);
/* What it wrote until now goes to the owner at once, also a line that has no end yet. */
void logs_flush(struct logs *logs, uint32_t worker);
uint64_t logs_next_ns(const struct logs *logs);
void logs_tick(struct logs *logs, uint64_t now_ns);

/* The last line that is not empty of its standard error, cleaned for a terminal; "" if there is
 * none. Of a worker that served, only what came since the last body that is known to have ended. */
void logs_last_line(struct logs *logs, uint32_t worker, char ret[256]);

struct logs_piece {
    uint64_t
        offset; /* of the first byte of what was read: later than asked where older ones are gone */
    uint64_t end; /* of the stream now */
    bool closed;  /* nothing will follow */
};
/* Appends a piece of at most `max` bytes from `offset` (UINT64_MAX: the last `max` bytes). 0;
 * CODE_NOT_FOUND: no such worker, or its files are gone; -errno. Reads a file (of this machine). */
int logs_read(struct logs *logs, uint32_t worker, uint32_t stream, uint64_t offset, uint64_t max,
              struct buffer *ret_data, struct logs_piece *ret) MUST_CHECK;

#endif
