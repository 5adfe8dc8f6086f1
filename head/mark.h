/*
 * How far the journal must reach: a small file beside head.db that is written and synced after each
 * group of records, before anybody is told that they are on disk. A write-ahead log that lost its
 * end (a flipped bit, a truncation, a copy that is too old) looks whole by itself; beside the mark
 * it does not. Two places are written in turn, so that a write which was cut off leaves the one
 * before it. Blocking; no state.
 */
#ifndef HEAD_MARK_H
#define HEAD_MARK_H

#include "common/base.h"

struct mark {
    uint64_t sequence; /* groups of records that were committed */
    uint64_t job_last; /* the highest numbers that were ever given */
    uint32_t node_last;
};

/* 0; CODE_NOT_FOUND: no such file; -EPROTO: it is damaged; -errno */
int mark_read(const char *path, struct mark *ret) MUST_CHECK;
/* Opens it for mark_write; made (0600) if it is not there. -errno */
int mark_open(const char *path, int *ret_fd) MUST_CHECK;
/* On disk when it returns 0. -errno */
int mark_write(int fd, const struct mark *mark) MUST_CHECK;

#endif
