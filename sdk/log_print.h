/*
 * What a driver's tasks print, wherever they run, on the driver's own output: standard output as
 * standard output, standard error as standard error, each line with the task, and the node where
 * there may be several, before it. Whole messages at a time, one write each, so that lines of this
 * and other processes do not mix. Called by the thread that takes messages; blocks while the output
 * does.
 */
#ifndef SDK_LOG_PRINT_H
#define SDK_LOG_PRINT_H

#include "proto/local.h"

void log_print_begin(bool is_local);       /* one node: it need not be named */
void log_print(const struct local_msg *m); /* LOCAL_LOG */
void log_print_end(void);                  /* ends a line that has no end */

#endif
