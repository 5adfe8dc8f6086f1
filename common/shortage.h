/*
 * Errors that say that the machine has too little of something just now: processes, descriptors,
 * memory, room on a disk. They pass, so what failed is tried again, and nobody is blamed. Pure.
 */
#ifndef COMMON_SHORTAGE_H
#define COMMON_SHORTAGE_H

#include "common/codes.h"

bool shortage_is(int error); /* a positive errno */
/* Whether the line ends with the words for one of them, as the dynamic loader and libdrt do. */
bool shortage_ends(const char *line);
/* What to look at, as a sentence; "" for other errors. */
const char *shortage_advice(int error);
/* "A worker of ./p cannot be started: Too many open files. ..." with the advice; CODE_FULL, which
 * it returns. `what`: "A worker of ./p cannot be started". */
int shortage_explain(struct failure *ret, int error, const char *what, ...) PRINTF(3, 4);

#endif
