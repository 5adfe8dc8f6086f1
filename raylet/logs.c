#include "raylet/logs.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/numbers.h"
#include "common/text.h"

#define READ_BYTES  (64u << 10)
#define DRAIN_BYTES (1u << 20) /* of a worker that ended: more than a pipe holds */
#define LAST_BYTES  4096

struct stream {
    struct logs *logs;
    struct worker_log *worker;
    const char *suffix;
    struct loop_source source;
    int pipe_fd, file_fd;     /* -1: none; the file is made with the first byte */
    uint64_t end;             /* bytes written to files so far */
    uint64_t start;           /* where the current file begins */
    uint64_t old_start;       /* where the one before begins; equals start: there is none */
    uint64_t mark;            /* up to where it is known which task wrote it */
    struct ring_meter *meter; /* NULL: none */
};

struct worker_log {
    uint32_t number;
    bool serves, ended;
    struct stream out, err;
    struct log_lines *lines; /* NULL: nobody follows it */
    struct list follow_link; /* of those that somebody follows */
    struct list link;        /* of those that ended, oldest first */
};

struct logs {
    struct loop *loop;
    char dir[PLACE_PATH_MAX];
    uint64_t file_bytes;
    struct log_lines_owner owner;
    struct numbers table;
    struct list followed;
    struct list ended;
    uint32_t ended_count;
    uint64_t ended_bytes;
    struct log_limit limit;
    struct log_parts *parts;
    uint8_t *scratch; /* READ_BYTES */
};

static uint64_t bytes_kept(const struct worker_log *w)
{
    return w->out.end - w->out.old_start + (w->err.end - w->err.old_start);
}

static bool path_of(const struct stream *s, bool old, char ret[PLACE_PATH_MAX])
{
    int n = snprintf(ret, PLACE_PATH_MAX, "%s/worker-%u.%s%s", s->logs->dir, s->worker->number,
                     s->suffix, old ? ".1" : "");
    return n > 0 && n < PLACE_PATH_MAX;
}

/* A fresh current file; what was there becomes the old one. */
static int next_file(struct stream *s)
{
    char path[PLACE_PATH_MAX], old[PLACE_PATH_MAX];
    if (!path_of(s, false, path) || !path_of(s, true, old)) {
        return -ENAMETOOLONG;
    }
    if (s->file_fd >= 0) {
        if (rename(path, old) < 0) {
            return -errno;
        }
        close_fd(&s->file_fd);
        s->old_start = s->start;
        s->start = s->end;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return -errno;
    }
    s->file_fd = fd;
    return 0;
}

static void keep(struct stream *s, const uint8_t *data, size_t size)
{
    while (size != 0) {
        int r = 0;
        if (s->file_fd < 0 || s->end - s->start >= s->logs->file_bytes) {
            r = next_file(s);
        }
        size_t room = s->logs->file_bytes - (s->end - s->start);
        ssize_t n = r == 0 ? write(s->file_fd, data, MIN_OF(size, room)) : -1;
        if (n < 0) {
            /* The disk is full, say: the worker goes on, this piece of its output is lost. */
            log_limited(&s->logs->limit, LOG_LEVEL_WARN, "output of worker %u cannot be kept: %s",
                        s->worker->number, strerror(r != 0 ? -r : errno));
            return;
        }
        s->end += (uint64_t)n;
        data += n;
        size -= (size_t)n;
    }
}

static void stream_close(struct stream *s)
{
    loop_remove(&s->source);
    close_fd(&s->pipe_fd);
}

static ssize_t read_metered(struct stream *s)
{
    if (s->meter == NULL) {
        ssize_t n = read(s->pipe_fd, s->logs->scratch, READ_BYTES);
        keep(s, s->logs->scratch, n > 0 ? (size_t)n : 0);
        return n;
    }
    ring_meter_begin(s->meter);
    ssize_t n = read(s->pipe_fd, s->logs->scratch, READ_BYTES);
    int error = errno;
    keep(s, s->logs->scratch, n > 0 ? (size_t)n : 0);
    ring_meter_end(s->meter, s->end);
    errno = error;
    return n;
}

/* Reads once. False: nothing is there now, or never will be. */
static bool take_some(struct stream *s)
{
    ssize_t n = read_metered(s);
    if (n > 0) {
        if (s->worker->lines != NULL && s->worker->serves) {
            log_lines_add(s->worker->lines, clock_now_ns(),
                          s == &s->worker->out ? LOGS_OUT : LOGS_ERR,
                          bytes_of(s->logs->scratch, (size_t)n));
        }
        return true;
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        stream_close(s);
    }
    return false;
}

static void pipe_ready(struct loop_source *source, uint32_t epoll_events)
{
    (void)take_some(source->arg);
}

static int stream_open(struct stream *s, struct logs *logs, struct worker_log *w,
                       const char *suffix, int *ret_end)
{
    int ends[2];
    *s = (struct stream){.logs = logs, .worker = w, .suffix = suffix, .pipe_fd = -1, .file_fd = -1};
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return -errno;
    }
    s->pipe_fd = ends[0];
    int r = fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
    if (r == 0) {
        r = loop_add(logs->loop, &s->source, s->pipe_fd, EPOLLIN, pipe_ready, s);
    }
    if (r != 0) {
        close_fd(&s->pipe_fd);
        close_fd(&ends[1]);
        return r;
    }
    *ret_end = ends[1];
    return 0;
}

static void stop_following(struct worker_log *w)
{
    list_unlink(&w->follow_link);
    log_lines_free(w->lines);
    w->lines = NULL;
}

static void worker_log_free(struct logs *logs, struct worker_log *w)
{
    stop_following(w);
    stream_close(&w->out);
    stream_close(&w->err);
    close_fd(&w->out.file_fd);
    close_fd(&w->err.file_fd);
    (void)numbers_remove(&logs->table, w->number);
    free(w);
}

int logs_open(struct logs *logs, uint32_t worker, int ret_ends[2])
{
    struct worker_log *w = xcalloc(1, sizeof *w);
    int ends[2];
    w->number = worker;
    list_init(&w->link);
    list_init(&w->follow_link);
    w->err.pipe_fd = w->err.file_fd = -1;
    ASSERT(numbers_get(&logs->table, worker) == NULL);
    int r = stream_open(&w->out, logs, w, "out", &ends[0]);
    if (r == 0) {
        r = stream_open(&w->err, logs, w, "err", &ends[1]);
        if (r != 0) {
            close_fd(&ends[0]);
        }
    }
    if (r != 0) {
        worker_log_free(logs, w);
        return r;
    }
    numbers_set(&logs->table, worker, w);
    ret_ends[0] = ends[0];
    ret_ends[1] = ends[1];
    return 0;
}

static void remove_files(const struct stream *s)
{
    char path[PLACE_PATH_MAX];
    for (int old = 0; old < 2; old++) {
        if (path_of(s, old != 0, path)) {
            (void)unlink(path); /* it may never have been made */
        }
    }
}

static void drop_oldest(struct logs *logs)
{
    while (logs->ended_count > LOGS_ENDED_MAX ||
           (logs->ended_count > 1 && logs->ended_bytes > LOGS_ENDED_BYTES)) {
        struct worker_log *w = list_entry(list_pop(&logs->ended), struct worker_log, link);
        logs->ended_count--;
        logs->ended_bytes -= bytes_kept(w);
        remove_files(&w->out);
        remove_files(&w->err);
        worker_log_free(logs, w);
    }
}

/* What is there now; a worker that writes on is not waited for. */
static void take_all(struct stream *s)
{
    for (size_t n = 0; s->pipe_fd >= 0 && n < DRAIN_BYTES / READ_BYTES && take_some(s); n++) {
    }
}

static void drain(struct stream *s)
{
    take_all(s);
    s->meter = NULL;
    stream_close(s);
    close_fd(&s->file_fd);
}

void logs_take(struct logs *logs, uint32_t worker)
{
    struct worker_log *w = numbers_get(&logs->table, worker);
    if (w != NULL && !w->ended) {
        take_all(&w->out);
        take_all(&w->err);
    }
}

void logs_flush(struct logs *logs, uint32_t worker)
{
    struct worker_log *w = numbers_get(&logs->table, worker);
    logs_take(logs, worker);
    if (w != NULL && w->lines != NULL) {
        log_lines_flush(w->lines, clock_now_ns());
    }
}

static void serve(struct stream *s, struct ring_meter *meter)
{
    take_all(s);
    s->mark = s->end;
    s->meter = meter;
    if (meter != NULL) {
        ring_meter_begin(meter);
        ring_meter_end(meter, s->end);
    }
}

void logs_serves(struct logs *logs, uint32_t worker, struct ring_meter *out, struct ring_meter *err)
{
    struct worker_log *w = numbers_get(&logs->table, worker);
    if (w != NULL && !w->ended && !w->serves) {
        serve(&w->out, out);
        serve(&w->err, err);
        w->serves = true;
    }
}

static void add_part(struct stream *s, struct object_id task, uint32_t attempt, uint64_t end)
{
    end = end == UINT64_MAX ? s->end : end;
    if (end > s->mark) {
        log_parts_add(s->logs->parts,
                      &(struct log_part){.task = task,
                                         .attempt = attempt,
                                         .worker = s->worker->number,
                                         .stream = s == &s->worker->out ? LOGS_OUT : LOGS_ERR,
                                         .begin = s->mark,
                                         .end = end});
        s->mark = end;
    }
}

void logs_wrote(struct logs *logs, uint32_t worker, struct object_id task, uint32_t attempt,
                uint64_t out_end, uint64_t err_end)
{
    struct worker_log *w = numbers_get(&logs->table, worker);
    if (w != NULL) {
        add_part(&w->out, task, attempt, out_end);
        add_part(&w->err, task, attempt, err_end);
    }
}

const struct log_parts *logs_parts(const struct logs *logs)
{
    return logs->parts;
}

bool logs_mark(struct logs *logs, uint32_t worker, uint32_t stream, uint64_t *ret)
{
    const struct worker_log *w = numbers_get(&logs->table, worker);
    if (w == NULL) {
        return false;
    }
    *ret = stream == LOGS_OUT ? w->out.mark : w->err.mark;
    return true;
}

void logs_ended(struct logs *logs, uint32_t worker)
{
    struct worker_log *w = numbers_get(&logs->table, worker);
    if (w == NULL || w->ended) {
        return;
    }
    w->ended = true;
    drain(&w->out);
    drain(&w->err);
    if (w->lines != NULL) {
        log_lines_end(w->lines, clock_now_ns());
        stop_following(w);
    }
    list_append(&logs->ended, &w->link);
    logs->ended_count++;
    logs->ended_bytes += bytes_kept(w);
    drop_oldest(logs);
}

/* What a file holds of [from, from + max) of the stream, where `start` is where the file begins. */
static int read_file(const struct stream *s, bool old, uint64_t start, uint64_t from, uint64_t max,
                     struct buffer *ret)
{
    char path[PLACE_PATH_MAX];
    CLEANUP_FD int fd = path_of(s, old, path) ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    if (fd < 0) {
        return errno == ENOENT ? CODE_NOT_FOUND : -errno;
    }
    void *at = buffer_extend(ret, max);
    ssize_t n = pread(fd, at, max, (off_t)(from - start));
    int r = n < 0 ? -errno : 0;
    ret->size -= max - (n < 0 ? 0 : (size_t)n);
    return r;
}

int logs_read(struct logs *logs, uint32_t worker, uint32_t stream, uint64_t offset, uint64_t max,
              struct buffer *ret_data, struct logs_piece *ret)
{
    struct worker_log *w = numbers_get(&logs->table, worker);
    if (w == NULL || (stream != LOGS_OUT && stream != LOGS_ERR)) {
        return CODE_NOT_FOUND;
    }
    const struct stream *s = stream == LOGS_OUT ? &w->out : &w->err;
    max = MIN_OF(max, (uint64_t)LOGS_READ_MAX);
    if (offset == UINT64_MAX) {
        offset = s->end > max ? s->end - max : 0;
    }
    offset = MIN_OF(MAX_OF(offset, s->old_start), s->end);
    uint64_t at = offset, end = MIN_OF(s->end, offset + max);
    int r = 0;
    if (at < end && at < s->start) {
        uint64_t size = MIN_OF(end, s->start) - at;
        r = read_file(s, true, s->old_start, at, size, ret_data);
        at += size;
    }
    if (r == 0 && at < end) {
        r = read_file(s, false, s->start, at, end - at, ret_data);
    }
    if (r == 0) {
        *ret = (struct logs_piece){.offset = offset, .end = s->end, .closed = w->ended};
    }
    return r;
}

void logs_follow(struct logs *logs, uint32_t worker)
{
    struct worker_log *w = numbers_get(&logs->table, worker);
    if (w != NULL && !w->ended && w->lines == NULL && logs->owner.on_lines != NULL) {
        w->lines = log_lines_new(worker, clock_now_ns(), &logs->owner);
        list_append(&logs->followed, &w->follow_link);
    }
}

uint64_t logs_next_ns(const struct logs *logs)
{
    uint64_t next_ns = NS_FOREVER;
    LIST_FOREACH(node, &logs->followed)
    {
        const struct worker_log *w = list_entry(node, struct worker_log, follow_link);
        next_ns = MIN_OF(next_ns, log_lines_next_ns(w->lines));
    }
    return next_ns;
}

void logs_tick(struct logs *logs, uint64_t now_ns)
{
    LIST_FOREACH(node, &logs->followed)
    {
        struct worker_log *w = list_entry(node, struct worker_log, follow_link);
        if (now_ns >= log_lines_next_ns(w->lines)) {
            log_lines_tick(w->lines, now_ns);
        }
    }
}

void logs_last_line(struct logs *logs, uint32_t worker, char ret[256])
{
    struct buffer data = {0};
    struct logs_piece piece;
    const char *line = "";
    uint64_t mark = 0, end = 0;
    const struct worker_log *w = numbers_get(&logs->table, worker);
    ret[0] = '\0';
    if (w != NULL) {
        end = w->err.end;
        mark = MAX_OF(w->err.mark, end > LAST_BYTES ? end - LAST_BYTES : 0);
    }
    if (mark < end && logs_read(logs, worker, LOGS_ERR, mark, end - mark, &data, &piece) == 0) {
        char *text = (char *)buffer_text(&data), *rest = text;
        for (char *at = strsep(&rest, "\n"); at != NULL; at = strsep(&rest, "\n")) {
            if (at[strspn(at, " \t\r")] != '\0') {
                line = at;
            }
        }
        text_shorten(ret, 256, line);
        text_clean(ret);
    }
    buffer_fini(&data);
}

struct logs *logs_new(struct loop *loop, const char *dir, const struct log_lines_owner *owner)
{
    struct logs *logs = xcalloc(1, sizeof *logs);
    logs->loop = loop;
    logs->file_bytes = LOGS_FILE_BYTES;
    logs->scratch = xmalloc(READ_BYTES);
    logs->parts = log_parts_new();
    bool fits = text_copy(logs->dir, sizeof logs->dir, dir);
    ASSERT(fits);
    if (owner != NULL) {
        logs->owner = *owner;
    }
    numbers_init(&logs->table);
    list_init(&logs->followed);
    list_init(&logs->ended);
    return logs;
}

void logs_set_file_bytes(struct logs *logs, uint64_t bytes)
{
    logs->file_bytes = bytes;
}

static bool free_one(uint64_t number, void *value, void *arg)
{
    worker_log_free(arg, value);
    return true;
}

void logs_free(struct logs *logs)
{
    if (logs == NULL) {
        return;
    }
    numbers_each(&logs->table, free_one, logs);
    numbers_fini(&logs->table);
    log_parts_free(logs->parts);
    free(logs->scratch);
    free(logs);
}
