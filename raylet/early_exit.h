/*
 * Why a program that never opened its channel ended, from its wait status and the last line that it
 * left on standard error: in most cases the words of the dynamic loader. Pure.
 */
#ifndef RAYLET_EARLY_EXIT_H
#define RAYLET_EARLY_EXIT_H

#include "common/codes.h"

/* Fills `ret` (CODE_PROGRAM, with the signal or exit code; CODE_FULL: the machine was short of
 * something, which passes). True: what it needs is not on this machine, so that starting it again
 * cannot help. `line` may be "". */
bool early_exit_explain(const char *node, const char *line, int wait_status, struct failure *ret);

#endif
