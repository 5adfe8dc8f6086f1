#include "common/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"

#define LINE_MAX_BYTES 2048

/* Set once, before there are threads. */
static char program_name[64] = "drt";
static enum log_level most_level = LOG_LEVEL_INFO;
static bool on_terminal;

static const char *const LEVELS[] = {"error", "warn", "info", "debug"};

void log_init(const char *program, enum log_level most)
{
    (void)text_copy(program_name, sizeof program_name, program);
    most_level = most;
    on_terminal = isatty(STDERR_FILENO) == 1;
    const char *wanted = getenv("DRT_LOG");
    for (size_t i = 0; wanted != NULL && i < ARRAY_SIZE(LEVELS); i++) {
        if (strcmp(wanted, LEVELS[i]) == 0) {
            most_level = (enum log_level)i;
        }
    }
}

static PRINTF(2, 0) void log_args(enum log_level level, const char *format, va_list args)
{
    char line[LINE_MAX_BYTES], now[40];
    int saved = errno;
    int head = on_terminal ? snprintf(line, sizeof line, "%s: ", program_name)
                           : snprintf(line, sizeof line,
                                      "%s %s %s: ", text_format_rfc3339(clock_unix_ms(), now),
                                      LEVELS[level], program_name);
    ASSERT(head > 0 && (size_t)head < sizeof line / 2);
    char *message = line + head;
    size_t room = sizeof line - (size_t)head;
    errno = saved; /* for %m */
    text_vformat(message, room, format, args);
    text_clean(message); /* one line stays one line */
    size_t length = strnlen(line, sizeof line - 1);
    line[length] = '\n';
    /* One write for each line, so that lines of threads do not mix; a log that cannot be written is
     * no error. */
    ssize_t written = write(STDERR_FILENO, line, length + 1);
    (void)written;
    errno = saved;
}

void log_line(enum log_level level, const char *format, ...)
{
    if (level > most_level) {
        return;
    }
    va_list args;
    va_start(args, format);
    log_args(level, format, args);
    va_end(args);
}

void log_limited(struct log_limit *limit, enum log_level level, const char *format, ...)
{
    if (level > most_level) {
        return;
    }
    uint64_t now_ns = clock_now_ns();
    if (now_ns < limit->next_ns) {
        limit->left_out++;
        return;
    }
    if (limit->left_out != 0) {
        log_line(level, "(%" PRIu64 " lines like the next one were left out)", limit->left_out);
    }
    limit->next_ns = now_ns + NS_PER_S;
    limit->left_out = 0;
    va_list args;
    va_start(args, format);
    log_args(level, format, args);
    va_end(args);
}
