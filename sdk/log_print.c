#include "sdk/log_print.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "common/text.h"

#define STUCK_MS 1000 /* for an output that is set not to block, and takes nothing */
#define STREAMS  2u

/* Where an output stands. */
struct place {
    bool in_line; /* the next piece goes on with a line, which has its beginning */
    bool behind;  /* something stands in the line: a further one needs a new one */
    uint64_t worker;
    char node[64]; /* of whom the line is */
};

static struct {
    bool is_local;
    struct place places[STREAMS];
} print;

static void write_all(int fd, const uint8_t *at, size_t left)
{
    while (left > 0) {
        ssize_t n = write(fd, at, left);
        if (n >= 0) {
            at += n;
            left -= (size_t)n;
        } else if (errno == EAGAIN) {
            struct pollfd p = {fd, POLLOUT, 0};
            if (poll(&p, 1, STUCK_MS) == 0) {
                return;
            }
        } else if (errno != EINTR) {
            return;
        }
    }
}

/* Behind what the program itself printed before. Another thread may hold the stream and wait for
 * us: then its buffer is left alone. */
static void put_out(uint32_t index, const struct buffer *out)
{
    FILE *f = index == 0 ? stdout : stderr;
    bool locked = ftrylockfile(f) == 0;
    if (locked) {
        (void)fflush_unlocked(f);
    }
    write_all(index == 0 ? STDOUT_FILENO : STDERR_FILENO, out->data, out->size);
    if (locked) {
        funlockfile(f);
    }
}

/* Each line, and each that overwrites one ('\r'), begins with `before`. */
static void add_lines(struct place *p, const char *before, struct bytes text, struct buffer *out)
{
    const char *at = text.data, *end = at + text.size;
    while (at < end) {
        const char *stop = at;
        while (stop < end && *stop != '\n' &&
               (*stop != '\r' || (stop + 1 < end && stop[1] == '\n'))) {
            stop++;
        }
        if (!p->in_line) {
            buffer_append_text(out, before);
        }
        stop += stop < end;
        buffer_append(out, at, (size_t)(stop - at));
        p->in_line = stop[-1] != '\n' && stop[-1] != '\r';
        p->behind = stop[-1] != '\n';
        at = stop;
    }
}

void log_print_begin(bool is_local)
{
    memset(&print, 0, sizeof print);
    print.is_local = is_local;
}

void log_print(const struct local_msg *m)
{
    char node[64], function[64], before[140];
    struct buffer out = {0};
    uint32_t index = m->log.stream - 1;
    struct place *p = &print.places[index];
    int errno_before = errno;
    text_shorten(node, sizeof node, m->log.node);
    text_shorten(function, sizeof function, m->log.function);
    text_clean(node);
    text_clean(function);
    if (function[0] == '\0') {
        snprintf(before, sizeof before, "(%s) ", node);
    } else if (print.is_local) {
        snprintf(before, sizeof before, "(%s) ", function);
    } else {
        snprintf(before, sizeof before, "(%s %s) ", node, function);
    }
    if (p->behind && (p->worker != m->log.worker || strcmp(p->node, node) != 0)) {
        buffer_append_text(&out, "\n");
        p->in_line = p->behind = false;
    }
    p->worker = m->log.worker;
    text_shorten(p->node, sizeof p->node, node);
    add_lines(p, before, m->payload, &out);
    put_out(index, &out);
    buffer_fini(&out);
    errno = errno_before;
}

void log_print_end(void)
{
    for (uint32_t i = 0; i < STREAMS; i++) {
        struct place *p = &print.places[i];
        struct buffer out = {0};
        if (p->behind) {
            buffer_append_text(&out, "\n");
            put_out(i, &out);
        }
        buffer_fini(&out);
        *p = (struct place){0};
    }
}
