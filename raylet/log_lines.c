#include "raylet/log_lines.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/clock.h"

#define STREAMS     2u
#define RESUME_PART 4u /* after too much: it goes on when this part of the rate is free again */
#define NOTE_BYTES  128u

struct stream {
    struct buffer lines; /* whole ones, not yet given on */
    struct buffer rest;  /* of a line whose end has not come */
    uint64_t left_out;   /* lines since the last note */
};

struct log_lines {
    uint32_t worker;
    struct log_lines_owner owner;
    struct stream streams[STREAMS];
    uint64_t budget_bytes; /* that may be given on now */
    uint64_t counted_ns;   /* until when the budget is */
    uint64_t flush_at_ns;  /* not before, unless much waits */
    bool muted;            /* too much was written */
};

static void refill(struct log_lines *l, uint64_t now_ns)
{
    uint64_t passed_ns = MIN_OF(now_ns - MIN_OF(now_ns, l->counted_ns), NS_PER_S);
    uint64_t more = passed_ns * LOG_LINES_RATE / NS_PER_S;
    if (more > 0) {
        l->counted_ns = now_ns;
        l->budget_bytes = MIN_OF(l->budget_bytes + more, (uint64_t)LOG_LINES_RATE);
    }
    l->muted = l->muted && l->budget_bytes < LOG_LINES_RATE / RESUME_PART;
}

static bool is_pending(const struct log_lines *l)
{
    return l->streams[0].lines.size + l->streams[1].lines.size != 0;
}

static void give(struct log_lines *l, uint32_t index)
{
    struct stream *s = &l->streams[index];
    if (s->lines.size != 0) {
        l->owner.on_lines(l->owner.arg, l->worker, index + 1,
                          bytes_of(s->lines.data, s->lines.size));
        buffer_clear(&s->lines);
    }
}

static void give_all(struct log_lines *l, uint64_t now_ns)
{
    for (uint32_t i = 0; i < STREAMS; i++) {
        give(l, i);
    }
    l->flush_at_ns = now_ns + LOG_LINES_PAUSE_NS;
}

static void put(struct log_lines *l, uint32_t index, const void *line, size_t size)
{
    struct stream *s = &l->streams[index];
    if (s->lines.size + size > LOG_LINES_BYTES_MAX) {
        give(l, index);
    }
    buffer_append(&s->lines, line, size);
}

static void put_note(struct log_lines *l, uint32_t index)
{
    struct stream *s = &l->streams[index];
    char note[NOTE_BYTES];
    if (s->left_out != 0) {
        int n = snprintf(note, sizeof note,
                         "... %" PRIu64 " line%s left out, drt logs --worker %" PRIu32 "\n",
                         s->left_out, s->left_out == 1 ? "" : "s", l->worker);
        s->left_out = 0;
        put(l, index, note, (size_t)n);
    }
}

/* A whole line of at most LOG_LINES_BYTES_MAX, with its end. */
static void take_line(struct log_lines *l, uint32_t index, const uint8_t *line, size_t size)
{
    struct stream *s = &l->streams[index];
    if (!l->muted && size > l->budget_bytes) {
        l->muted = true;
    }
    if (l->muted) {
        s->left_out++;
        return;
    }
    put_note(l, index);
    l->budget_bytes -= size;
    put(l, index, line, size);
}

/* The rest is a line now: its end came, or it is as long as one may be. */
static void end_rest(struct log_lines *l, uint32_t index)
{
    struct stream *s = &l->streams[index];
    buffer_append(&s->rest, "\n", 1);
    take_line(l, index, s->rest.data, s->rest.size);
    buffer_clear(&s->rest);
}

void log_lines_add(struct log_lines *l, uint64_t now_ns, uint32_t stream, struct bytes data)
{
    uint32_t index = stream - 1;
    const uint8_t *at = data.data;
    ASSERT(index < STREAMS);
    struct stream *s = &l->streams[index];
    refill(l, now_ns);
    for (size_t left = data.size; left != 0;) {
        const uint8_t *end = memchr(at, '\n', left);
        size_t size = end != NULL ? (size_t)(end - at) : left;
        size_t piece = MIN_OF(size, LOG_LINES_BYTES_MAX - 1 - s->rest.size);
        bool whole = end != NULL && piece == size;
        if (whole && s->rest.size == 0) {
            take_line(l, index, at, size + 1);
        } else {
            buffer_append(&s->rest, at, piece);
            if (whole || s->rest.size == LOG_LINES_BYTES_MAX - 1) {
                end_rest(l, index);
            }
        }
        piece += whole;
        at += piece;
        left -= piece;
    }
    if (now_ns >= l->flush_at_ns && is_pending(l)) {
        give_all(l, now_ns);
    }
}

void log_lines_end(struct log_lines *l, uint64_t now_ns)
{
    refill(l, now_ns);
    for (uint32_t i = 0; i < STREAMS; i++) {
        if (l->streams[i].rest.size != 0) {
            end_rest(l, i);
        }
        put_note(l, i);
    }
    give_all(l, now_ns);
}

/* When what was left out can be told. */
static uint64_t resume_ns(const struct log_lines *l)
{
    uint64_t wanted = LOG_LINES_RATE / RESUME_PART;
    uint64_t missing = wanted > l->budget_bytes ? wanted - l->budget_bytes : 0;
    return l->counted_ns + (missing * NS_PER_S + LOG_LINES_RATE - 1) / LOG_LINES_RATE;
}

uint64_t log_lines_next_ns(const struct log_lines *l)
{
    if (is_pending(l)) {
        return l->flush_at_ns;
    }
    return l->streams[0].left_out + l->streams[1].left_out != 0 ? resume_ns(l) : NS_FOREVER;
}

void log_lines_tick(struct log_lines *l, uint64_t now_ns)
{
    refill(l, now_ns);
    for (uint32_t i = 0; i < STREAMS && !l->muted; i++) {
        put_note(l, i);
    }
    if (now_ns >= l->flush_at_ns && is_pending(l)) {
        give_all(l, now_ns);
    }
}

struct log_lines *log_lines_new(uint32_t worker, uint64_t now_ns,
                                const struct log_lines_owner *owner)
{
    struct log_lines *l = xcalloc(1, sizeof *l);
    l->worker = worker;
    l->owner = *owner;
    l->budget_bytes = LOG_LINES_RATE;
    l->counted_ns = now_ns;
    return l;
}

void log_lines_free(struct log_lines *l)
{
    if (l == NULL) {
        return;
    }
    for (uint32_t i = 0; i < STREAMS; i++) {
        buffer_fini(&l->streams[i].lines);
        buffer_fini(&l->streams[i].rest);
    }
    free(l);
}
