/*
 * One task over many items, and many tasks at once: drt_parallel_map, drt_starmap,
 * drt_scatter_gather. Built on the public functions only.
 */
#include "common/clock.h"
#include "common/text.h"
#include "sdk/submit.h"

struct map {
    drt_task_fn *task; /* NULL: `work` */
    const char *name;
    const struct drt_value *rows;
    size_t columns;
    const struct drt_work *work;
    size_t count;
    struct drt_ref *refs;
    struct drt_map_options options;
    struct drt_options each;
    uint64_t deadline_ns;

    size_t next;            /* to be submitted */
    size_t running;         /* of these */
    struct drt_ref *window; /* ... the references, without a hold */
    bool *ready;
    int stop; /* why the rest is not waited for: DRT_E_TIMEOUT, an error; 0 */
};

static size_t count_work(const struct drt_work *w)
{
    size_t n = 0;
    while (n < ARRAY_SIZE(w->values) && w->values[n].kind_ != 0) {
        n++;
    }
    return n;
}

static void submit_next(struct map *m)
{
    size_t i = m->next++;
    struct drt_ref *ref = &m->refs[i];
    if (m->work != NULL) {
        const struct drt_work *w = &m->work[i];
        submit(ref, 1, w->task, w->name, w->values, count_work(w), &m->each);
    } else {
        submit(ref, 1, m->task, m->name, m->rows + i * m->columns, m->columns, &m->each);
    }
    m->window[m->running++] = *ref;
}

static struct drt_span time_left(const struct map *m)
{
    if (m->deadline_ns == NS_FOREVER) {
        return drt_forever();
    }
    uint64_t now = clock_now_ns();
    return drt_ns(m->deadline_ns > now ? m->deadline_ns - now : 0);
}

/* Waits for some of the window and takes what is settled out of it. */
static int collect(struct map *m)
{
    size_t ready, kept = 0;
    /* Each wait looks at the whole window: one that is large is looked at for several at once. */
    size_t k =
        m->options.stop_on_error || m->next < m->count ? MAX_OF(m->running / 1024, 1) : m->running;
    int r = drt_wait(m->window, m->running, k, time_left(m), m->ready, &ready);
    if (r != 0 && r != DRT_E_TIMEOUT) {
        return r;
    }
    for (size_t i = 0; i < m->running; i++) {
        if (!m->ready[i]) {
            m->window[kept++] = m->window[i];
        } else if (m->options.stop_on_error && m->stop == 0) {
            m->stop = drt_get_nothing(m->window[i]);
        }
    }
    m->running = kept;
    return r;
}

static void cancel_rest(struct map *m)
{
    for (size_t i = 0; i < m->running; i++) {
        (void)drt_cancel(m->window[i], DRT_CANCEL_RECURSIVE);
    }
    while (m->next < m->count) {
        error_set(DRT_E_CANCELLED, m->stop == DRT_E_TIMEOUT
                                       ? "it was not begun when the limit of the whole passed"
                                       : "it was not begun when another failed");
        runtime_lock();
        m->refs[m->next++] = runtime_refused(DRT_E_CANCELLED);
        runtime_unlock();
    }
}

static int first_error(const struct map *m)
{
    for (size_t i = 0; i < m->count; i++) {
        int r = drt_get_nothing(m->refs[i]);
        if (r != 0) {
            return r;
        }
    }
    return 0;
}

static int run(struct map *m)
{
    size_t most = m->options.max_running == 0 ? m->count : m->options.max_running;
    int r = 0;
    m->window = xcalloc(MIN_OF(most, m->count) + 1, sizeof *m->window);
    m->ready = xcalloc(MIN_OF(most, m->count) + 1, sizeof *m->ready);
    while (r == 0 && m->stop == 0 && (m->next < m->count || m->running > 0)) {
        while (m->next < m->count && m->running < most) {
            submit_next(m);
        }
        r = collect(m);
    }
    if (r != 0 || m->stop != 0) {
        m->stop = r != 0 ? r : m->stop;
        cancel_rest(m);
    }
    free(m->window);
    free(m->ready);
    if (r == 0 && m->stop == 0) {
        return first_error(m);
    }
    if (r == DRT_E_TIMEOUT) {
        char span[32];
        return error_set(r, "not all was done within the limit of %s; the rest is cancelled",
                         text_format_span(m->options.timeout.ns_plus_1_ - 1, span));
    }
    if (r == 0) {
        (void)first_error(m); /* its sentence */
        return m->stop;
    }
    return r;
}

static int begin(struct map *m, const struct drt_map_options *options, size_t options_size,
                 size_t each_size)
{
    int r = runtime_enter();
    if (r == 0) {
        r = options_copy(&m->options, sizeof m->options, options, options_size, "a map");
    }
    if (r == 0) {
        r = options_copy(&m->each, sizeof m->each, m->options.each, each_size, "a map");
    }
    if (r == 0 && m->count != 0 && m->refs == NULL) {
        r = error_set(-EINVAL, "refs is NULL: pass an array of %zu references", m->count);
    }
    bool nothing = m->work == NULL && m->rows == NULL && (m->columns != 0 || m->task == NULL);
    if (r == 0 && m->count != 0 && nothing) {
        r = error_set(-EINVAL, "the items are NULL: pass an array of %zu", m->count);
    }
    m->deadline_ns = m->options.timeout.ns_plus_1_ == 0
                         ? NS_FOREVER
                         : ns_add(clock_now_ns(), m->options.timeout.ns_plus_1_ - 1);
    return r;
}

int drt_map_(drt_task_fn *task, const char *name, const struct drt_value *rows, size_t columns,
             size_t count, struct drt_ref *refs, const struct drt_map_options *options,
             size_t options_size, size_t each_size)
{
    struct map m = {
        .task = task, .name = name, .rows = rows, .columns = columns, .count = count, .refs = refs};
    int r = begin(&m, options, options_size, each_size);
    return r != 0 ? r : run(&m);
}

int drt_scatter_gather_(const struct drt_work *work, size_t count, struct drt_ref *refs,
                        const struct drt_map_options *options, size_t options_size,
                        size_t each_size)
{
    struct map m = {.work = work, .count = count, .refs = refs};
    int r = begin(&m, options, options_size, each_size);
    return r != 0 ? r : run(&m);
}
