/*
 * A process that plays the head or a raylet on a socket, for the tests of what asks them.
 */
#ifndef TESTS_UNIT_CLI_FAKE_DAEMON_H
#define TESTS_UNIT_CLI_FAKE_DAEMON_H

#include <sys/types.h>

#include "proto/local.h"
#include "proto/ring.h"

/* What it does when it is asked. */
enum fake_manner { FAKE_ANSWERS, FAKE_REFUSES, FAKE_DIES, FAKE_TALKS_NONSENSE };

struct fake {
    char dir[64]; /* a cluster's directory, made by fake_setup */
    pid_t pid;    /* 0: none */
    /* Answers one question through fake_send; in the other process. */
    void (*answer)(struct ring_channel *c, const struct local_query *query);
};

/* cmocka's setup and teardown: *state is the struct fake. */
int fake_setup(void **state);
int fake_teardown(void **state);
/* Listens at `relative` in the directory and serves one connection from a process of its own. */
void fake_start(struct fake *f, const char *relative, enum fake_manner manner);
void fake_stop(struct fake *f);
/* Calls fn with standard output caught: its text, at most 4,095 bytes, in `out`. Returns what fn
 * did.
 */
int fake_capture(int (*fn)(void *arg), void *arg, char out[4096]);
void fake_send(struct ring_channel *c, const struct local_msg *m);

#endif
