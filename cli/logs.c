#include "cli/logs.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/rows_json.h"
#include "common/text.h"

enum { PIECE_BYTES = 64 << 10, STREAMS_MAX = 2048, ROWS_ASKED = 1000 };
#define FOLLOW_PAUSE_NS (200 * NS_PER_MS)

/* One file that a worker writes. */
struct stream {
    uint64_t worker;
    char node[64];
    uint32_t stream;    /* 1 out, 2 err */
    uint64_t offset;    /* of what comes next */
    bool closed;        /* nothing will follow */
    struct buffer text; /* JSON: all of it */
};

struct reader {
    const struct logs *logs;
    struct ask ask;
    struct stream *streams;
    size_t count;
    const struct stream *written; /* who wrote last; NULL: nobody yet */
    bool many;                    /* several workers */
};

static int add_worker(struct reader *r, uint64_t worker, const char *node, struct failure *f)
{
    if (r->count + 2 > STREAMS_MAX) {
        failure_set(f, CODE_TOO_LARGE,
                    "more than %d workers wrote logs. Choose one with --worker or --task.",
                    STREAMS_MAX / 2);
        return EXIT_FAILED;
    }
    r->many = r->many || r->count > 0;
    for (uint32_t stream = 1; stream <= 2; stream++) {
        if (r->logs->stream == 0 || r->logs->stream == stream) {
            struct stream *s = &r->streams[r->count++];
            *s = (struct stream){.worker = worker, .stream = stream};
            snprintf(s->node, sizeof s->node, "%s", node);
        }
    }
    return EXIT_DONE;
}

/* The worker that runs, or ran, a task. */
static int find_task(struct reader *r, struct failure *f)
{
    const struct wish wish = {.thing = r->logs->task, .limit = 1};
    struct state_query query = query_of(&wish, STATE_TASKS);
    struct answer answer;
    answer_init(&answer);
    int status = ask_rows(&r->ask, &query, 1, &answer, f);
    sort_tasks(&answer);
    if (status == EXIT_DONE && answer.failure.code != 0) {
        *f = answer.failure;
        status = exit_of_failure(f);
    } else if (status == EXIT_DONE && answer.task_count == 0) {
        failure_set(f, CODE_NOT_FOUND, "no task \"%.60s\" is known. 'drt tasks' lists them.",
                    r->logs->task);
        status = EXIT_FAILED;
    } else if (status == EXIT_DONE && answer.tasks[0].worker == 0) {
        char id[ID_TEXT_SIZE];
        object_id_format(answer.tasks[0].id, id);
        failure_set(f, CODE_NOT_FOUND,
                    "task %s is %s and ran in no worker yet, so it wrote nothing. 'drt explain %s' "
                    "says why.",
                    id, answer.tasks[0].state, id);
        status = EXIT_FAILED;
    } else if (status == EXIT_DONE) {
        status = add_worker(r, answer.tasks[0].worker, text_or(answer.tasks[0].node, ""), f);
    }
    answer_fini(&answer);
    return status;
}

static bool has_worker(const struct reader *r, uint64_t worker, const char *node)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->streams[i].worker == worker && strcmp(r->streams[i].node, node) == 0) {
            return true;
        }
    }
    return false;
}

/* Workers that ran a task of the job and have ended since; raylets remember the last tasks. */
static int find_ended(struct reader *r, const struct answer *answer, uint64_t job,
                      struct failure *f)
{
    int status = EXIT_DONE;
    for (size_t i = 0; i < answer->task_count && status == EXIT_DONE; i++) {
        const struct state_task *t = &answer->tasks[i];
        const char *node = text_or(t->node, "");
        if (t->job == job && t->worker != 0 && !has_worker(r, t->worker, node)) {
            status = add_worker(r, t->worker, node, f);
        }
    }
    return status;
}

static int by_worker(const void *left, const void *right)
{
    const struct stream *a = left, *b = right;
    int order = strcmp(a->node, b->node);
    if (order != 0) {
        return order;
    }
    if (a->worker != b->worker) {
        return a->worker < b->worker ? -1 : 1;
    }
    return a->stream < b->stream ? -1 : a->stream > b->stream;
}

/* All workers of a job, or the one that was named. */
static int find_workers(struct reader *r, uint64_t job, struct failure *f)
{
    struct wish wish = r->logs->show.wish;
    wish.thing = "";
    wish.job = job;
    wish.limit = ROWS_ASKED;
    const struct state_query queries[2] = {query_of(&wish, STATE_WORKERS),
                                           query_of(&wish, STATE_TASKS)};
    struct answer answers[2];
    answer_init(&answers[0]);
    answer_init(&answers[1]);
    int status = ask_rows(&r->ask, queries, 2, answers, f);
    if (status == EXIT_DONE && answers[0].failure.code != 0) {
        *f = answers[0].failure;
        status = exit_of_failure(f);
    }
    for (size_t i = 0; i < answers[0].worker_count && status == EXIT_DONE; i++) {
        const struct state_worker *w = &answers[0].workers[i];
        bool wanted = r->logs->worker == 0 ? w->job == job : w->number == r->logs->worker;
        if (wanted) {
            status = add_worker(r, w->number, text_or(w->node, ""), f);
        }
    }
    if (status == EXIT_DONE && r->logs->worker == 0) {
        status = find_ended(r, &answers[1], job, f);
    } else if (status == EXIT_DONE && r->count == 0) {
        /* It ended; its raylet still has what it wrote. */
        status = add_worker(r, r->logs->worker, text_or(wish.node, ""), f);
    }
    if (status == EXIT_DONE && r->count == 0) {
        failure_set(f, CODE_NOT_FOUND,
                    "job %" PRIu64 " has no worker whose log is kept. 'drt jobs' lists the jobs.",
                    job);
        status = EXIT_FAILED;
    }
    if (r->count > 1) {
        qsort(r->streams, r->count, sizeof *r->streams, by_worker);
    }
    answer_fini(&answers[1]);
    answer_fini(&answers[0]);
    return status;
}

static int find_streams(struct reader *r, struct failure *f)
{
    uint64_t job = r->logs->show.wish.job;
    if (*r->logs->task != '\0') {
        return find_task(r, f);
    }
    if (r->logs->worker == 0 && job == 0) {
        int status = find_last_job(&r->ask, &job, f);
        if (status != EXIT_DONE) {
            return status;
        }
    }
    return find_workers(r, job, f);
}

static int write_piece(struct reader *r, struct stream *s, const struct answer *piece)
{
    struct buffer out = {0};
    if (piece->log.size == 0) {
        return EXIT_DONE;
    }
    if (r->logs->show.json) {
        buffer_append(&s->text, piece->log.data, piece->log.size);
        return EXIT_DONE;
    }
    if (r->written != s && (r->many || r->written != NULL || s->stream == 2)) {
        buffer_printf(&out, "%s==> worker %" PRIu64 "%s%s, standard %s <==\n",
                      r->written != NULL ? "\n" : "", s->worker, *s->node != '\0' ? " on " : "",
                      s->node, s->stream == 1 ? "output" : "error");
    }
    r->written = s;
    buffer_append(&out, piece->log.data, piece->log.size);
    int status = put_out(&out);
    buffer_fini(&out);
    return status;
}

/* Everything that is there now. *ret_more: something came. */
static int read_stream(struct reader *r, struct stream *s, bool *ret_more, struct failure *f)
{
    for (;;) {
        struct state_query query = {.kind = STATE_LOG,
                                    .id = "",
                                    .node = s->node,
                                    .state = "",
                                    .name = "",
                                    .worker = s->worker,
                                    .stream = s->stream,
                                    .offset = s->offset,
                                    .max_bytes = PIECE_BYTES};
        struct answer piece;
        answer_init(&piece);
        int status = ask_rows(&r->ask, &query, 1, &piece, f);
        if (status == EXIT_DONE && piece.failure.code != 0) {
            *f = piece.failure;
            status = exit_of_failure(f);
        }
        status = status == EXIT_DONE ? write_piece(r, s, &piece) : status;
        bool came = piece.log.size != 0;
        s->offset = MAX_OF(s->offset, piece.log_offset + piece.log.size);
        bool at_end = !came || s->offset >= piece.log_end;
        s->closed = at_end && piece.log_closed;
        answer_fini(&piece);
        *ret_more = *ret_more || came;
        if (status != EXIT_DONE || at_end) {
            return status;
        }
    }
}

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
    for (size_t i = 0; i < r->count; i++) {
        struct stream *s = &r->streams[i];
        json_t *one = json_pack(
            "{s:I, s:o, s:s, s:I}", "worker", (json_int_t)s->worker, "node", json_of_text(s->node),
            "stream", s->stream == 1 ? "stdout" : "stderr", "end_bytes", (json_int_t)s->offset);
        int failed = json_object_set_new(one, "text", json_of_log(&s->text));
        failed |= json_array_append_new(array, one);
        ASSERT(failed == 0);
    }
    json_put(array, &out);
    int status = put_out(&out);
    buffer_fini(&out);
    return status;
}

static int read_all(struct reader *r, struct failure *f)
{
    for (;;) {
        bool more = false, open = false;
        for (size_t i = 0; i < r->count; i++) {
            int status =
                r->streams[i].closed ? EXIT_DONE : read_stream(r, &r->streams[i], &more, f);
            if (status != EXIT_DONE) {
                return status;
            }
            open = open || !r->streams[i].closed;
        }
        if (!r->logs->follow || !open) {
            return r->logs->show.json ? put_json(r) : EXIT_DONE;
        }
        if (!more) {
            const struct timespec pause = {.tv_nsec = FOLLOW_PAUSE_NS};
            clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
        }
    }
}

int show_logs(const struct logs *logs)
{
    struct reader r = {.logs = logs, .ask = {.socket = -1}};
    struct failure f = {0};

    int status = ask_begin(&logs->show.where, &r.ask, &f);
    if (status == EXIT_DONE) {
        r.streams = xcalloc(STREAMS_MAX, sizeof *r.streams);
        status = find_streams(&r, &f);
        status = status == EXIT_DONE ? read_all(&r, &f) : status;
        for (size_t i = 0; i < r.count; i++) {
            buffer_fini(&r.streams[i].text);
        }
        free(r.streams);
    }
    ask_close(&r.ask);
    return status == EXIT_DONE || f.code == 0 ? status : complain(status, &f);
}
