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
    uint64_t rest_ns;    /* since when it waits */
    bool open;           /* what was put last had no end */
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
        char how[64] = ": more than 1 MiB in a second";
        if (!l->owner.is_passing) {
            snprintf(how, sizeof how, ", drt logs --worker %" PRIu32, l->worker);
        }
        int n = snprintf(note, sizeof note, "%s... %" PRIu64 " line%s left out%s\n",
                         s->open ? "\n" : "", s->left_out, s->left_out == 1 ? "" : "s", how);
        s->left_out = 0;
        s->open = false;
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
    s->open = false;
}

/* A line without its end, as far as it has come. */
static void put_rest(struct log_lines *l, uint32_t index)
{
    struct stream *s = &l->streams[index];
    if (l->muted || s->rest.size == 0 || s->rest.size > l->budget_bytes) {
        return; /* it waits for its end, or is left out with it */
    }
    put_note(l, index);
    l->budget_bytes -= s->rest.size;
    put(l, index, s->rest.data, s->rest.size);
    s->open = true;
    buffer_clear(&s->rest);
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
            s->rest_ns = s->rest.size == 0 ? now_ns : s->rest_ns;
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

void log_lines_flush(struct log_lines *l, uint64_t now_ns)
{
    refill(l, now_ns);
    for (uint32_t i = 0; i < STREAMS; i++) {
        put_rest(l, i);
        put_note(l, i);
    }
    give_all(l, now_ns);
}

void log_lines_end(struct log_lines *l, uint64_t now_ns)
{
    refill(l, now_ns);
    for (uint32_t i = 0; i < STREAMS; i++) {
        if (l->streams[i].rest.size != 0 || l->streams[i].open) {
            end_rest(l, i);
        }
        put_note(l, i);
    }
    give_all(l, now_ns);
}

/* When so many bytes can be given on. */
static uint64_t free_ns(const struct log_lines *l, uint64_t wanted)
{
    uint64_t missing = wanted > l->budget_bytes ? wanted - l->budget_bytes : 0;
    return l->counted_ns + (missing * NS_PER_S + LOG_LINES_RATE - 1) / LOG_LINES_RATE;
}

/* When what was left out can be told. */
static uint64_t resume_ns(const struct log_lines *l)
{
    return free_ns(l, LOG_LINES_RATE / RESUME_PART);
}

/* When a line without an end goes on. */
static uint64_t part_ns(const struct log_lines *l)
{
    uint64_t next_ns = NS_FOREVER;
    for (uint32_t i = 0; i < STREAMS; i++) {
        const struct stream *s = &l->streams[i];
        uint64_t at_ns = s->rest_ns + LOG_LINES_PART_NS;
        if (s->rest.size > l->budget_bytes) {
            at_ns = MAX_OF(at_ns, free_ns(l, s->rest.size));
        }
        if (s->rest.size != 0) {
            next_ns = MIN_OF(next_ns, at_ns);
        }
    }
    return l->muted || next_ns == NS_FOREVER ? NS_FOREVER : MAX_OF(next_ns, l->flush_at_ns);
}

uint64_t log_lines_next_ns(const struct log_lines *l)
{
    if (is_pending(l)) {
        return l->flush_at_ns;
    }
    uint64_t next_ns = part_ns(l);
    return l->streams[0].left_out + l->streams[1].left_out != 0 ? MIN_OF(next_ns, resume_ns(l))
                                                                : next_ns;
}

void log_lines_tick(struct log_lines *l, uint64_t now_ns)
{
    refill(l, now_ns);
    for (uint32_t i = 0; i < STREAMS && !l->muted; i++) {
        put_note(l, i);
        if (now_ns >= l->streams[i].rest_ns + LOG_LINES_PART_NS && now_ns >= l->flush_at_ns) {
            put_rest(l, i);
        }
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
