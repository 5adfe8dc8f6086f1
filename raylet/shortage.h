/*
 * Errors that say that the machine has too little of something just now: processes, descriptors,
 * memory, room on a disk. They pass, so what failed is tried again, and nobody is blamed. Pure.
 */
#ifndef RAYLET_SHORTAGE_H
#define RAYLET_SHORTAGE_H

#include "common/codes.h"

bool shortage_is(int error); /* a positive errno */
/* Whether the line ends with the words for one of them, as the dynamic loader and libdrt do. */
bool shortage_ends(const char *line);
/* "A worker of ./p cannot be started: Too many open files. ..." with what to raise; CODE_FULL.
 * Returns CODE_FULL. */
int shortage_explain(const char *program, int error, struct failure *ret);

#endif
