/*
 * Checks which file a descriptor of drt refers to. A program may close descriptors that it did not
 * open (by a loop of close, or by closefrom), and then open files that get the same numbers. drt
 * must not close or read these files. There is no state. Each function costs one system call and is
 * async-signal-safe.
 */
#ifndef SDK_FD_MARK_H
#define SDK_FD_MARK_H

#include <sys/stat.h>

#include "common/base.h"

struct fd_mark {
    dev_t device;
    ino_t inode;
    mode_t type; /* 0: no file was marked */
};

static inline struct fd_mark fd_mark_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? (struct fd_mark){st.st_dev, st.st_ino, st.st_mode & S_IFMT}
                               : (struct fd_mark){0};
}

/* Whether `fd` still leads to the file that was marked. */
static inline bool fd_mark_is(const struct fd_mark *mark, int fd)
{
    struct fd_mark now = fd_mark_of(fd);
    return now.type != 0 && now.type == mark->type && now.inode == mark->inode &&
           now.device == mark->device;
}

/* Closes it, unless it is another file's number by now. *fd is then -1. */
static inline void fd_mark_close(const struct fd_mark *mark, int *fd)
{
    if (*fd >= 0 && fd_mark_is(mark, *fd)) {
        close_fd(fd);
    }
    *fd = -1;
}

#endif
