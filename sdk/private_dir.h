/*
 * The directory of the daemons that belong to this program alone: where it is made, whose it is,
 * and what programs left that were killed. A name with the program's pid is for people; pids repeat
 * (containers may share a home directory), so the lock of a file in it decides. Errors are this
 * thread's sentence.
 */
#ifndef SDK_PRIVATE_DIR_H
#define SDK_PRIVATE_DIR_H

#include "common/place.h"
#include "sdk/fd_mark.h"

struct private_dir {
    char path[PLACE_PATH_MAX]; /* "": none */
    int lock;                  /* held as long as the program lives; -1: none */
    struct fd_mark lock_mark;
};

/* Makes one of its own below ~/.drt, or where that cannot be written below TMPDIR or /tmp. `kind`
 * is "local" or "private". What others left there is swept. */
int private_dir_make(const char *kind, struct private_dir *ret) MUST_CHECK;
/* With all that is in it. */
void private_dir_remove(struct private_dir *d);

/* The only node of a cluster's directory; a path that is too long has none. */
bool private_dir_find_node(const char *cluster_dir, char ret[256]);

#endif
