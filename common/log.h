/*
 * The log of a daemon: one line each on standard error, "time level program: message", on a
 * terminal "program: message". A daemon sets its name once. Thread-safe (one write call for each
 * line).
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include "common/base.h"

enum log_level { LOG_LEVEL_ERROR = 0, LOG_LEVEL_WARN = 1, LOG_LEVEL_INFO = 2, LOG_LEVEL_DEBUG = 3 };

/* Before there are threads. DRT_LOG=debug|info|warn|error overrides `most`. */
void log_init(const char *program, enum log_level most);
/* Cut at 2 KiB; what is not printable becomes '?', so that one line stays one. Keeps errno. */
void log_line(enum log_level level, const char *format, ...) PRINTF(2, 3);

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* At most one line each second for each `limit`; says how many were left out. */
struct log_limit {
    uint64_t next_ns;
    uint64_t left_out;
};
void log_limited(struct log_limit *limit, enum log_level level, const char *format, ...)
    PRINTF(3, 4);

#endif
