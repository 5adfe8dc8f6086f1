#include "sdk/log_print.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "common/text.h"

#define STUCK_MS 1000 /* for a standard error that is set not to block, and takes nothing */

static void write_all(const uint8_t *at, size_t left)
{
    while (left > 0) {
        ssize_t n = write(STDERR_FILENO, at, left);
        if (n >= 0) {
            at += n;
            left -= (size_t)n;
        } else if (errno == EAGAIN) {
            struct pollfd p = {STDERR_FILENO, POLLOUT, 0};
            if (poll(&p, 1, STUCK_MS) == 0) {
                return;
            }
        } else if (errno != EINTR) {
            return;
        }
    }
}

void log_print(const struct local_msg *m)
{
    char node[64], function[64], before[140];
    struct buffer out = {0};
    const char *at = m->payload.data, *end = at + m->payload.size;
    int errno_before = errno;
    text_shorten(node, sizeof node, m->log.node);
    text_shorten(function, sizeof function, m->log.function);
    text_clean(node);
    text_clean(function);
    snprintf(before, sizeof before, function[0] != '\0' ? "(%s %s) " : "(%s) ", node, function);
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((newline != NULL ? newline : end) - at);
        buffer_append_text(&out, before);
        buffer_append(&out, at, n);
        buffer_append_text(&out, "\n");
        at += n + 1;
    }
    write_all(out.data, out.size);
    buffer_fini(&out);
    errno = errno_before;
}
