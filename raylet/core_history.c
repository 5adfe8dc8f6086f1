#include "raylet/core_history.h"

static void ring_init(struct history *h, uint32_t room)
{
    h->rows = xcalloc(room, sizeof *h->rows);
    h->room = room;
}

static void row_clear(struct history_row *row)
{
    error_unref(row->error);
    free(row->name);
}

static void ring_fini(struct history *h)
{
    for (uint32_t i = 0; i < h->used; i++) {
        row_clear(&h->rows[i]);
    }
    free(h->rows);
}

void history_init(struct raylet_core *c)
{
    ring_init(&c->done_history, HISTORY_DONE);
    ring_init(&c->failed_history, HISTORY_FAILED);
    ring_init(&c->cancelled_history, HISTORY_FAILED);
}

void history_fini(struct raylet_core *c)
{
    struct function_stats *s, *next;

    ring_fini(&c->done_history);
    ring_fini(&c->failed_history);
    ring_fini(&c->cancelled_history);
    HASH_ITER(hh, c->functions, s, next)
    {
        HASH_DEL(c->functions, s);
        free(s);
    }
}

static struct history_row *next_row(struct history *h)
{
    struct history_row *row = &h->rows[h->next];

    if (h->used == h->room) {
        row_clear(row);
    }
    memset(row, 0, sizeof *row);
    h->next = h->next + 1 == h->room ? 0 : h->next + 1;
    h->used = MIN_OF(h->used + 1, h->room);
    return row;
}

static struct function_stats *find_stats(struct raylet_core *c, const char *function)
{
    struct function_stats *s;

    HASH_FIND_PTR(c->functions, &function, s);
    if (s == NULL) {
        s = xcalloc(1, sizeof *s);
        s->function = function;
        HASH_ADD_PTR(c->functions, function, s);
    }
    return s;
}

struct history_row *history_end(struct raylet_core *c, struct job *job, const char *function,
                                struct function_stats **stats, struct object_error *error,
                                uint64_t ran_ns)
{
    struct function_stats *s = stats != NULL ? *stats : NULL;
    struct history_row *row;

    if (UNLIKELY(s == NULL)) {
        s = find_stats(c, function);
        if (stats != NULL) {
            *stats = s;
        }
    }
    if (LIKELY(error == NULL)) {
        row = next_row(&c->done_history);
        c->done++;
        job->done++;
        s->done++;
    } else if (error->failure.code == CODE_CANCELLED) {
        row = next_row(&c->cancelled_history);
        c->cancelled++;
        job->cancelled++;
        s->cancelled++;
    } else {
        row = next_row(&c->failed_history);
        c->failed++;
        job->failed++;
        s->failed++;
    }
    if (ran_ns != 0) {
        s->runs++;
        s->ran_ns += ran_ns;
        s->buckets[durations_bucket(ran_ns)]++;
    }
    row->function = function;
    row->job = job->number;
    row->ran_ns = ran_ns;
    row->ended_unix_ms = core_unix_ms(c);
    row->error = error == NULL ? NULL : error_ref(error);
    return row;
}

const char *history_state(const struct history_row *row)
{
    return row->error == NULL                           ? "done"
           : row->error->failure.code == CODE_CANCELLED ? "cancelled"
                                                        : "failed";
}

uint64_t history_began_ns(const struct raylet_core *c, const struct task *t)
{
    if (t->state != TASK_PLACED && t->state != TASK_ABANDONED) {
        return 0;
    }
    if (t->place == AT_LANE) { /* as its node said; the way here is not counted */
        bool told = (t->flags & TASK_STARTED) != 0 && (t->flags & TASK_ANSWERED) == 0;
        uint32_t now_ms = (uint32_t)((c->now_ns - c->start_ns) / NS_PER_MS);
        /* Told modulo 2^32 ms, as in core_unix_of. */
        return told ? c->now_ns - (uint32_t)(now_ms - t->slot) * NS_PER_MS : 0;
    }
    const struct worker *w = t->place == AT_WORKER ? t->worker : NULL;
    bool first = w != NULL && w->placed > 0 && w->slots[w->order[w->order_first]] == t;
    return first && w->state != WORKER_STARTING ? w->first_ns : 0;
}

uint64_t history_ran_ns(const struct raylet_core *c, const struct task *t)
{
    uint64_t began_ns = history_began_ns(c, t);

    return began_ns == 0 ? 0 : MAX_OF(c->now_ns - MIN_OF(began_ns, c->now_ns), 1u);
}
