/*
 * What a driver's tasks print, wherever they run, on the driver's standard error: each line with
 * the node and the task before it. Whole messages at a time, one write each, so that lines of this
 * and other processes do not mix. Called by the thread that takes messages; blocks while standard
 * error does.
 */
#ifndef SDK_LOG_PRINT_H
#define SDK_LOG_PRINT_H

#include "proto/local.h"

void log_print(const struct local_msg *m); /* LOCAL_LOG */

#endif
