/*
 * The thin shell around the head's core: one loop, one thread, an offload thread for the journal.
 * It turns links, tools, probes, commits, signals and time into events, steps the core once for all
 * that has come, and carries out the effects in order. It decides nothing about the cluster.
 */
#ifndef HEAD_SHELL_H
#define HEAD_SHELL_H

#include "common/place.h"
#include "proto/keys.h"

#define HEAD_PORT 7420

struct head_shell_config {
    const struct place *place; /* its lock is held */
    const struct keys_head *keys;
    const char *bind;      /* NULL: all interfaces */
    const char *advertise; /* "host[:port]" that others shall be told; NULL: address_choose */
    bool port_given;
    uint16_t port;                /* with port_given; 0: any */
    void (*on_chores)(void *arg); /* now and then: the log */
    int parent_pipe;              /* its end-of-file ends the head; -1: none */
    bool accept_loss;             /* begin also where the journal lost something */
    /* Nodes and tools can come now. */
    void (*on_ready)(void *arg, const char *address);
    void *arg;
};

/*
 * Runs the head until it is told to stop. Blocks SIGTERM, SIGINT and SIGHUP in the calling thread
 * (which must be the only one). 0: stopped as asked; a code with the sentence: it could not begin.
 */
int head_shell_run(const struct head_shell_config *config, struct failure *f) MUST_CHECK;

#endif
