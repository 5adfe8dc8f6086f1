#include "common/shortage.h"

#include <stdarg.h>
#include <stdio.h>

static const struct {
    int error;
    const char *advice; /* what to raise */
} shortages[] = {
    {EAGAIN, "This user, or the container, has as many processes as it may: see ulimit -u and "
             "pids.max."},
    {ENOMEM, "The machine, or the container, has no memory left: see memory.max."},
    {EMFILE, "The node has as many open files as it may: see ulimit -n."},
    {ENFILE, "The machine has as many open files as it may: see /proc/sys/fs/file-max."},
    {ENOSPC, "A disk is full, or the limit of watches is reached: see df, and "
             "/proc/sys/fs/epoll/max_user_watches."},
    {EDQUOT, "The disk quota of this user is used up."},
    {ENOBUFS, "The machine has no memory left for sockets."},
    {ETXTBSY, "The program's file is being written to."},
};

bool shortage_is(int error)
{
    for (size_t i = 0; i < ARRAY_SIZE(shortages); i++) {
        if (shortages[i].error == error) {
            return true;
        }
    }
    return false;
}

bool shortage_ends(const char *line)
{
    size_t size = strlen(line);
    for (size_t i = 0; i < ARRAY_SIZE(shortages); i++) {
        const char *words = strerror(shortages[i].error);
        size_t n = strlen(words);
        if (size >= n && strcmp(line + size - n, words) == 0) {
            return true;
        }
    }
    return false;
}

const char *shortage_advice(int error)
{
    for (size_t i = 0; i < ARRAY_SIZE(shortages); i++) {
        if (shortages[i].error == error) {
            return shortages[i].advice;
        }
    }
    return "";
}

int shortage_explain(struct failure *ret, int error, const char *what, ...)
{
    char begin[256];
    va_list args;
    va_start(args, what);
    vsnprintf(begin, sizeof begin, what, args);
    va_end(args);
    return failure_set(ret, CODE_FULL, "%s: %s. %s", begin, strerror(error),
                       shortage_advice(error));
}
