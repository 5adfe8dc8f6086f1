/*
 * Becoming a daemon: the process that was started waits until the daemon says that it is ready, and
 * prints what it has to say. Before there are threads.
 */
#ifndef HEAD_DAEMON_H
#define HEAD_DAEMON_H

#include "common/codes.h"

#define DAEMON_WORDS_SIZE 512

/* What the daemon tells: `failure.code` 0 and words for its screen, or why it could not begin. */
struct daemon_report {
    int32_t pid;
    struct failure failure;
    char words[DAEMON_WORDS_SIZE];
};

/*
 * Forks. In the daemon: 0, with the descriptor to report to: no terminal, a session of its own,
 * standard error in `log` (at most 16 MiB, the former one beside it), all other descriptors closed
 * but `keep`. In the process that was started: 1, with the report. -errno
 */
int daemon_begin(const char *log, const int *keep, size_t keep_count, int *ret_report_fd,
                 struct daemon_report *ret) MUST_CHECK;
/* Puts a log that has grown too large aside and begins a new one; in the daemon, now and then. */
void daemon_turn_log(const char *log);
void daemon_report(int *fd, const struct daemon_report *report); /* and closes it */

#endif
