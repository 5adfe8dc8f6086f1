/*
 * The directory of the daemons that belong to this program alone: its creation, its owner, and the
 * removal of directories of programs that were killed. The program's pid in the name is for people
 * only. Pids can repeat, because containers may share a home directory, so the lock on a file in
 * the directory decides who owns it. The sentence of an error is this thread's last error.
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
