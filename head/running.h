/*
 * The head that runs in a directory: who it is, and how it is stopped. Its lock tells whether it
 * lives; head.pid who it is.
 */
#ifndef HEAD_RUNNING_H
#define HEAD_RUNNING_H

#include "common/place.h"

struct running {
    int32_t pid; /* 0: not known */
};

void running_read(const struct place *place, struct running *ret);
void running_write(const struct place *place); /* the head itself, when it is ready */
void running_remove(const struct place *place);
/* Asks it to end and waits until its lock is free, at most 15 s. 0; CODE_NOT_FOUND: none runs;
 * CODE_REFUSED: another user's; CODE_TIMEOUT */
int running_stop(const struct place *place, struct failure *f) MUST_CHECK;

#endif
