/*
 * Files as daemons need them: whole, bounded, synced, private. Blocking.
 */
#ifndef COMMON_FILES_H
#define COMMON_FILES_H

#include "common/bytes.h"

int files_make_dirs(const char *path, unsigned mode)
    MUST_CHECK; /* like mkdir -p; `mode` for those it makes. -errno */
/* The whole file, at most `max` bytes (-EFBIG), appended to `ret`. -errno */
int files_read(const char *path, size_t max, struct buffer *ret) MUST_CHECK;
/* Written beside, synced, renamed, the directory synced. -errno */
int files_write_atomic(const char *path, const void *data, size_t size, unsigned mode) MUST_CHECK;
/* 0; -EPERM if owned by another user or readable by group or others (then *ret_mode tells); -errno
 */
int files_check_private(const char *path, unsigned *ret_mode) MUST_CHECK;
int files_remove_tree(
    const char *path); /* beneath path and path itself; does not follow links. -errno */
/* Takes the flock of `path` (made if missing, 0600), not waiting. Returns a descriptor that holds
 * it; -EWOULDBLOCK when another holds it; -errno */
int files_lock(const char *path) MUST_CHECK;
bool files_is_locked(const char *path); /* whether some process holds it now */

#endif
