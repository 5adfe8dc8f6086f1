/*
 * Prints the output of a driver's tasks, from all nodes, on the driver's own output: standard
 * output on standard output, and standard error on standard error. Each line begins with the task,
 * and with the node if there can be several. Each message is printed by one write, so that its
 * lines do not mix with those of other processes. The thread that takes messages calls it. It
 * blocks while the output blocks.
 */
#ifndef SDK_LOG_PRINT_H
#define SDK_LOG_PRINT_H

#include "proto/local.h"

void log_print_begin(bool is_local);       /* one node: it need not be named */
void log_print(const struct local_msg *m); /* LOCAL_LOG */
void log_print_end(void);                  /* ends a line that has no end */

#endif
