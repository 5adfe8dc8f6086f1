/*
 * Files as daemons need them: whole, bounded, synced, private. Blocking.
 */
#ifndef COMMON_FILES_H
#define COMMON_FILES_H

#include "common/bytes.h"

/* Like mkdir -p; `mode` for those it makes. -errno */
int files_make_dirs(const char *path, unsigned mode) MUST_CHECK;
/* The whole file, at most `max` bytes (-EFBIG), appended to `ret`. -errno */
int files_read(const char *path, size_t max, struct buffer *ret) MUST_CHECK;
/* Written beside, synced, renamed, the directory synced. -errno */
int files_write_atomic(const char *path, const void *data, size_t size, unsigned mode) MUST_CHECK;
/* 0; -EPERM if owned by another user, or open to group or others (*ret_mode tells); -errno */
int files_check_private(const char *path, unsigned *ret_mode) MUST_CHECK;
/* What is beneath path, and path itself; does not follow links; fine if it is not there. The first
 * -errno; goes on with the rest. */
int files_remove_tree(const char *path);
/* Takes the lock of `path` (made if missing, 0600), not waiting; as flock's it belongs to the open
 * file. Returns a descriptor that holds it; -EWOULDBLOCK when another holds it; -errno */
int files_lock(const char *path) MUST_CHECK;
/* Whether somebody holds it now. Asks only: never in the way of who takes it at this moment. */
bool files_is_locked(const char *path);
/* Lets this process open as many files as its hard limit allows, at most `most` where it has not
 * more already. Returns how many that is now; *ret_former is what it was. */
uint64_t files_raise_limit(uint64_t most, uint64_t *ret_former);

#endif
