/*
 * Which process holds a daemon's lock. The lock says that somebody does, and the holder is who has
 * the lock's file open; a pid file is only where to look first. The number in it may be another
 * process's by now, or always have been: containers that share a home directory count their
 * processes apart. Linux, through /proc; blocking only as /proc does.
 */
#ifndef COMMON_HOLDER_H
#define COMMON_HOLDER_H

#include <sys/types.h>

#include "common/base.h"

/* Finds the process of this user (of any, for root) whose name is `program` and that has the file
 * `lock` open, while that is locked. Returns a descriptor that means this process and no other;
 * -ESRCH: nobody holds it, or who does is not to be found from here (another container, another
 * machine); -errno. */
int holder_find(const char *lock, const char *pid_file, const char *program,
                pid_t *ret_pid) MUST_CHECK;

#endif
