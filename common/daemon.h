/*
 * Becoming a daemon with a last word: the process that was started waits until the daemon has said
 * how its start went. What it says, and what is printed of it, is the caller's. Before there are
 * threads.
 */
#ifndef COMMON_DAEMON_H
#define COMMON_DAEMON_H

#include <sys/types.h>

#include "common/base.h"

#define DAEMON_LOG_BYTES (16 << 20)

struct daemon {
    int pipe;    /* for its word; -1: none, or said. Valid in both processes */
    pid_t child; /* in the caller, of a daemon without a session of its own; else 0 */
};

/*
 * Forks. In the daemon: 0; "/" is its directory, and of the caller's descriptors it has 0 to 2 and
 * `keep` (those below 0 count for nothing). It leads a process group, and with `own_session` is in
 * a session that can never get a terminal. In the caller: 1, daemon_await follows. -errno: there is
 * no daemon.
 */
int daemon_begin(struct daemon *d, const int *keep, size_t keep_count, bool own_session) MUST_CHECK;
/* The one word, of at most PIPE_BUF bytes; nothing if it was said. */
void daemon_say(struct daemon *d, const void *word, size_t size);
/* The caller's: waits for a word of this size. 0; -EPIPE: the daemon ended without, *ret_status is
 * what waitpid says of it (0 where it has its own session) */
int daemon_await(struct daemon *d, void *ret, size_t size, int *ret_status) MUST_CHECK;

/* For a daemon that a program started for itself and that ends with it: the process that was
 * started ends, and the daemon goes on as a child of nobody in a group of its own, for the program
 * may wait for all of its children, or reap them in a handler. It says its number over `socket`,
 * the program's; where it cannot fork, or that is a pipe, it stays a child. */
void daemon_detach(int socket);
/* How it ended at its start, over the same. */
void daemon_say_end(int socket, int exit_status);

/* From now on standard input is empty, and output and error go to this file, which is put aside
 * first (".1") if it is larger than DAEMON_LOG_BYTES. -errno */
int daemon_redirect(const char *log) MUST_CHECK;
/* Puts the log aside when it has grown so large, and begins a new one; for now and then. Nothing
 * where standard error is no file. */
void daemon_turn_log(const char *log);

#endif
