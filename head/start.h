/*
 * The verbs of drt-head: start, stop, rekey, check, repair. Blocking; each prints what a person
 * should see and returns the exit code: 0 done, 1 failed, 3 no cluster reached, 4 refused.
 */
#ifndef HEAD_START_H
#define HEAD_START_H

#include "common/args.h"

struct start_options {
    const char *dir, *cluster, *bind, *advertise; /* NULL: not given */
    bool port_given, foreground;
    bool accept_loss; /* where the journal holds less than was acknowledged */
    uint16_t port;
    int parent_pipe; /* -1: none */
};

int start_head(const struct start_options *options);
int stop_head(const char *dir, const char *cluster);
int rekey_head(const char *dir, const char *cluster);
int check_head(const char *dir, const char *cluster); /* head/repair.h */
int repair_head(const char *dir, const char *cluster);

#endif
