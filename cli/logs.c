#include "cli/logs.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/log_sources.h"
#include "cli/rows_json.h"
#include "common/clock.h"
#include "common/text.h"

enum { PIECE_BYTES = 64 << 10, ASKED_AT_ONCE = 32, LINE_MAX_BYTES = 1 << 20 };
#define FOLLOW_PAUSE_NS (200 * NS_PER_MS)
#define FIND_PAUSE_NS   (500 * NS_PER_MS)
#define AGAIN_PAUSE_NS  (10 * NS_PER_MS)
#define AGAIN_MOST      200u
#define LAST_WORDS_NS   (2 * NS_PER_S)  /* for workers to end whose job has */
#define AWAY_NS         (30 * NS_PER_S) /* who follows waits so long for a head that ended */

struct reader {
    const struct logs *logs;
    struct log_choice choice;
    struct ask ask;
    struct log_sources sources;
    const struct log_source *written; /* who wrote last; NULL: nobody yet */
    struct failure first;             /* of those that could not be read; code 0: none */
    bool read_any, in_line;           /* in_line: what was written last has no end yet */
    uint64_t away_since_ns;           /* following: nobody could say since then; 0: they can */
};

/* ---- writing ---- */

/* All that was read as it is, with a head line where the writer changes. */
static int write_raw(struct reader *r, struct log_source *s, struct bytes text)
{
    struct buffer out = {0};
    bool many = r->sources.workers > 1;
    if (r->written != s && !r->choice.follow && (many || r->written != NULL || s->stream == 2)) {
        char attempt[32] = "";
        if (s->attempt != 0) {
            snprintf(attempt, sizeof attempt, "attempt %" PRIu32 ", ", s->attempt);
        }
        buffer_printf(&out, "%s==> %sworker %" PRIu64 "%s%s, standard %s <==\n",
                      r->written != NULL ? "\n" : "", attempt, s->worker,
                      *s->node != '\0' ? " on " : "", s->node, s->stream == 1 ? "output" : "error");
    }
    r->written = s;
    r->in_line = ((const uint8_t *)text.data)[text.size - 1] != '\n';
    buffer_append(&out, text.data, text.size);
    int status = put_out(&out);
    buffer_fini(&out);
    return status;
}

/* Whole lines, each with who wrote it; the rest is kept. */
static int write_lines(struct reader *r, struct log_source *s, bool all)
{
    struct buffer out = {0};
    size_t at = 0;
    if (r->in_line) {
        buffer_append(&out, "\n", 1);
        r->in_line = false;
    }
    while (at < s->text.size) {
        const uint8_t *line = s->text.data + at;
        const uint8_t *end = memchr(line, '\n', s->text.size - at);
        if (end == NULL && !all && s->text.size - at < LINE_MAX_BYTES) {
            break;
        }
        size_t size = end != NULL ? (size_t)(end - line) : s->text.size - at;
        buffer_printf(&out, "(%s worker %" PRIu64, s->node, s->worker);
        if (s->attempt != 0) {
            buffer_printf(&out, ", attempt %" PRIu32, s->attempt);
        }
        buffer_append_text(&out, ") ");
        buffer_append(&out, line, size);
        buffer_append(&out, "\n", 1);
        at += MIN_OF(size + 1, s->text.size - at);
    }
    if (at != 0) {
        memmove(s->text.data, s->text.data + at, s->text.size - at);
        s->text.size -= at;
    }
    int status = put_out(&out);
    buffer_fini(&out);
    return status;
}

static int write_piece(struct reader *r, struct log_source *s, const struct answer *piece)
{
    struct bytes text = bytes_of(piece->log.data, piece->log.size);
    if (text.size == 0) {
        return EXIT_DONE;
    }
    if (r->logs->show.json) {
        buffer_append(&s->text, text.data, text.size);
        return EXIT_DONE;
    }
    if (!r->choice.follow || r->sources.workers <= 1) {
        return write_raw(r, s, text);
    }
    buffer_append(&s->text, text.data, text.size);
    return write_lines(r, s, false);
}

/* ---- reading ---- */

/* What may be over soon: a head or node that is away, and comes back. */
static bool may_pass(const struct failure *f)
{
    return f->code == CODE_DISCONNECTED || f->code == CODE_TIMEOUT || f->code == CODE_UNREACHABLE;
}

/* One that cannot be read says why, once; the others go on. */
static void give_up(struct reader *r, struct log_source *s, const struct failure *f)
{
    bool expected = s->guessed && f->code == CODE_NOT_FOUND;
    s->closed = true;
    if (r->first.code == 0) {
        r->first = *f;
    }
    if (!expected && r->sources.workers > 1 && s->stream != 2) {
        fprintf(stderr, "drt: worker %" PRIu64 " on %s: %s\n", s->worker, s->node, f->message);
    }
}

/* The oldest that was written has made room for what came later. */
static void tell_gap(const struct log_source *s, uint64_t bytes)
{
    fprintf(stderr,
            "drt: the first %" PRIu64 " bytes that %s%" PRIu64 "%s%s wrote are not kept any more\n",
            bytes, s->attempt != 0 ? "the task in worker " : "worker ", s->worker,
            *s->node != '\0' ? " on " : "", s->node);
}

static int take_piece(struct reader *r, struct log_source *s, const struct answer *piece,
                      bool *ret_more)
{
    if (piece->failure.code != 0) {
        if (!r->choice.follow || !may_pass(&piece->failure)) {
            give_up(r, s, &piece->failure);
        }
        return EXIT_DONE;
    }
    if (piece->log_offset > s->offset) {
        tell_gap(s, piece->log_offset - s->offset);
    }
    int status = write_piece(r, s, piece);
    r->read_any = true;
    s->guessed = false;
    s->offset = MAX_OF(s->offset, piece->log_offset + piece->log.size);
    bool at_end = piece->log.size == 0 || s->offset >= piece->log_end;
    s->closed = at_end && piece->log_closed;
    s->again = piece->log.size == 0 && piece->log_end > s->offset && !piece->log_closed;
    *ret_more = *ret_more || !at_end;
    return status;
}

/* A piece of each of some that are not closed. */
static int read_some(struct reader *r, struct log_source *const *some, size_t count, bool *ret_more,
                     struct failure *f)
{
    struct state_query queries[ASKED_AT_ONCE] = {0};
    struct answer pieces[ASKED_AT_ONCE];
    for (size_t i = 0; i < count; i++) {
        answer_init(&pieces[i]);
        queries[i] = (struct state_query){.kind = STATE_LOG,
                                          .id = some[i]->attempt != 0 ? r->sources.task : "",
                                          .node = some[i]->node,
                                          .state = "",
                                          .name = "",
                                          .worker = some[i]->worker,
                                          .stream = some[i]->stream,
                                          .offset = some[i]->offset,
                                          .max_bytes = PIECE_BYTES};
    }
    int status = ask_rows(&r->ask, queries, count, pieces, f);
    for (size_t i = 0; i < count && status == EXIT_DONE; i++) {
        status = take_piece(r, some[i], &pieces[i], ret_more);
    }
    for (size_t i = count; i > 0; i--) {
        answer_fini(&pieces[i - 1]);
    }
    return status;
}

static void pause_for(uint64_t ns)
{
    const struct timespec pause = {.tv_nsec = (long)ns};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
}

/* A worker's file whole before the next one's. */
static int read_in_turn(struct reader *r, struct failure *f)
{
    int status = EXIT_DONE;
    for (size_t i = 0; i < r->sources.count && status == EXIT_DONE; i++) {
        struct log_source *s = &r->sources.items[i];
        bool more;
        unsigned tries = 0;
        do {
            more = false;
            status = read_some(r, &s, 1, &more, f);
            if (s->again && !more && ++tries < AGAIN_MOST) {
                pause_for(AGAIN_PAUSE_NS);
                more = true;
            }
        } while (status == EXIT_DONE && more);
    }
    return status;
}

/* What has come to any of them. *ret_more: there is more now. */
static int read_round(struct reader *r, bool *ret_more, struct failure *f)
{
    struct log_source *some[ASKED_AT_ONCE];
    size_t count = 0;
    int status = EXIT_DONE;
    for (size_t i = 0; i < r->sources.count && status == EXIT_DONE; i++) {
        if (!r->sources.items[i].closed) {
            some[count++] = &r->sources.items[i];
        }
        if (count != 0 && (count == ASKED_AT_ONCE || i + 1 == r->sources.count)) {
            status = read_some(r, some, count, ret_more, f);
            count = 0;
        }
    }
    return status;
}

static bool all_closed(const struct reader *r)
{
    for (size_t i = 0; i < r->sources.count; i++) {
        if (!r->sources.items[i].closed) {
            return false;
        }
    }
    return true;
}

/* Connects again where the head was killed and is started again. A node's own socket is no way out:
 * it knows its own workers and jobs only. EXIT_DONE: worth another look; else the failure stands.
 */
static int come_back(struct reader *r, int status, struct failure *f)
{
    bool from_node = r->ask.from_node, is_lost = f->code == CODE_DISCONNECTED;
    uint64_t now_ns = clock_now_ns();
    if (!may_pass(f)) {
        return status;
    }
    if (r->away_since_ns == 0) {
        r->away_since_ns = now_ns;
        complain(status, f);
        fprintf(stderr, "drt: waiting for it, %u s at most\n", (unsigned)(AWAY_NS / NS_PER_S));
    }
    if (now_ns - r->away_since_ns >= AWAY_NS) {
        return status;
    }
    pause_for(FOLLOW_PAUSE_NS);
    while (is_lost) {
        struct failure why = {0};
        ask_close(&r->ask);
        int again = ask_begin(&r->logs->show.where, &r->ask, &why);
        if (again == EXIT_DONE && (from_node || !r->ask.from_node)) {
            break;
        }
        if (clock_now_ns() - r->away_since_ns >= AWAY_NS || again == EXIT_REFUSED) {
            return status;
        }
        pause_for(FOLLOW_PAUSE_NS);
    }
    *f = (struct failure){0};
    return EXIT_DONE;
}

/* One look at what was written, and now and then at who writes. */
static int follow_once(struct reader *r, bool *ret_more, uint64_t *find_ns, struct failure *f)
{
    int status = read_round(r, ret_more, f);
    if (status == EXIT_DONE && !r->sources.over && clock_now_ns() >= *find_ns) {
        status = log_sources_find(&r->sources, &r->ask, &r->choice, f);
        *find_ns = clock_now_ns() + FIND_PAUSE_NS;
    }
    if (status == EXIT_DONE) {
        r->away_since_ns = 0;
        return EXIT_DONE;
    }
    *ret_more = true; /* there may be */
    return come_back(r, status, f);
}

/* Until the job, task or worker has ended and all that was written is read. */
static int follow(struct reader *r, struct failure *f)
{
    uint64_t over_ns = NS_FOREVER, find_ns = clock_now_ns() + FIND_PAUSE_NS;
    int status = EXIT_DONE;
    while (status == EXIT_DONE) {
        bool more = false;
        bool was_over = r->sources.over; /* before the reading: what came until then is read */
        status = follow_once(r, &more, &find_ns, f);
        uint64_t now_ns = clock_now_ns();
        if (was_over && over_ns == NS_FOREVER) {
            /* A worker serves further tasks: it need not end with one. */
            over_ns = *r->choice.task != '\0' ? now_ns : ns_add(now_ns, LAST_WORDS_NS);
            over_ns = r->choice.worker != 0 ? NS_FOREVER : over_ns;
        }
        if (was_over && !more && (all_closed(r) || now_ns >= over_ns)) {
            break;
        }
        if (status == EXIT_DONE && !more) {
            pause_for(FOLLOW_PAUSE_NS);
        }
    }
    for (size_t i = 0; i < r->sources.count && status == EXIT_DONE && !r->logs->show.json; i++) {
        if (r->sources.items[i].text.size != 0) {
            status = write_lines(r, &r->sources.items[i], true);
        }
    }
    return status;
}

/* ---- as JSON ---- */

/* Logs are bytes, JSON is UTF-8: what is none becomes '?', line by line. */
static json_t *json_of_log(struct buffer *text)
{
    json_t *plain = json_stringn((const char *)text->data, text->size);
    if (plain != NULL) {
        return plain;
    }
    for (size_t at = 0; at < text->size; at++) {
        text->data[at] = text->data[at] == '\0' ? '?' : text->data[at];
    }
    char *end;
    buffer_append(text, "", 1);
    text->size--;
    for (char *line = (char *)text->data; line != NULL; line = end) {
        end = strchr(line, '\n');
        if (end != NULL) {
            *end = '\0';
        }
        text_clean(line);
        if (end != NULL) {
            *end++ = '\n';
        }
    }
    return json_stringn((const char *)text->data, text->size);
}

static int put_json(struct reader *r)
{
    struct buffer out = {0};
    json_t *array = json_array();
    for (size_t i = 0; i < r->sources.count; i++) {
        struct log_source *s = &r->sources.items[i];
        if (s->guessed) {
            continue;
        }
        json_t *one = json_pack(
            "{s:I, s:o, s:s, s:I}", "worker", (json_int_t)s->worker, "node", json_of_text(s->node),
            "stream", s->stream == 1 ? "stdout" : "stderr", "end_bytes", (json_int_t)s->offset);
        int failed = json_object_set_new(one, "text", json_of_log(&s->text));
        if (s->attempt != 0) {
            failed |= json_object_set_new(one, "attempt", json_integer(s->attempt));
        }
        failed |= json_array_append_new(array, one);
        ASSERT(failed == 0);
    }
    json_put(array, &out);
    int status = put_out(&out);
    buffer_fini(&out);
    return status;
}

/* ---- the verb ---- */

static int read_all(struct reader *r, struct failure *f)
{
    int status = r->choice.follow ? follow(r, f) : read_in_turn(r, f);
    if (status == EXIT_DONE && !r->read_any && r->first.code != 0) {
        *f = r->first;
        return exit_of_failure(f);
    }
    return status == EXIT_DONE && r->logs->show.json ? put_json(r) : status;
}

static int choose(struct reader *r, struct failure *f)
{
    const struct wish *wish = &r->logs->show.wish;
    r->choice = (struct log_choice){.task = r->logs->task,
                                    .worker = r->logs->worker,
                                    .job = wish->job,
                                    .node = text_or(wish->node, ""),
                                    .stream = r->logs->stream,
                                    .follow = r->logs->follow};
    if (*r->choice.task == '\0' && r->choice.worker == 0 && r->choice.job == 0) {
        int status = find_last_job(&r->ask, &r->choice.job, f);
        if (status != EXIT_DONE) {
            return status;
        }
    }
    return log_sources_find(&r->sources, &r->ask, &r->choice, f);
}

int show_logs(const struct logs *logs)
{
    struct reader r = {.logs = logs, .ask = {.socket = -1}};
    struct failure f = {0};

    int status = ask_begin(&logs->show.where, &r.ask, &f);
    if (status == EXIT_DONE) {
        log_sources_init(&r.sources);
        status = choose(&r, &f);
        status = status == EXIT_DONE ? read_all(&r, &f) : status;
        log_sources_fini(&r.sources);
    }
    ask_close(&r.ask);
    return status == EXIT_DONE || f.code == 0 ? status : complain(status, &f);
}
