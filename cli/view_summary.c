/*
 * Finished tasks by function, over all nodes: how many, and how long they ran. Each node sends a
 * histogram of its run times (proto/durations.h); here they are added up.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cli/rows_json.h"
#include "cli/views.h"
#include "common/clock.h"
#include "common/text.h"
#include "proto/durations.h"

static size_t summary_ask(const struct wish *w, struct state_query *ret)
{
    ret[0] = query_of(w, STATE_SUMMARY);
    ret[0].id = "";
    if (*text_or(w->thing, "") != '\0') {
        ret[0].name = w->thing;
    }
    return 1;
}

struct sum {
    const char *function;
    uint64_t done, failed, cancelled, runs, ran_ns;
    uint64_t buckets[DURATIONS_BUCKETS];
};

static int most_time_first(const void *left, const void *right)
{
    const struct sum *a = left, *b = right;
    return a->ran_ns != b->ran_ns ? (a->ran_ns < b->ran_ns ? 1 : -1)
                                  : strcmp(a->function, b->function);
}

static void add(struct sum *sum, const struct state_function *f)
{
    sum->function = f->function;
    sum->done += f->done;
    sum->failed += f->failed;
    sum->cancelled += f->cancelled;
    sum->runs += f->runs;
    sum->ran_ns += f->ran_ns;
    for (size_t i = 0; i < f->bucket_count; i++) {
        if (f->buckets[i].index < DURATIONS_BUCKETS) { /* else of a newer drt */
            sum->buckets[f->buckets[i].index] += f->buckets[i].count;
        }
    }
}

static int by_name(const void *left, const void *right)
{
    const struct state_function *const *a = left, *const *b = right;
    return strcmp((*a)->function, (*b)->function);
}

/* One for each function, the most time first; the caller frees them. */
static struct sum *add_up(const struct answer *a, size_t *ret_count)
{
    const struct state_function **rows = xcalloc(a->function_count + 1, sizeof *rows);
    struct sum *sums = xcalloc(a->function_count + 1, sizeof *sums);
    size_t count = 0;
    for (size_t i = 0; i < a->function_count; i++) {
        rows[i] = &a->functions[i];
    }
    qsort(rows, a->function_count, sizeof(rows[0]), by_name);
    for (size_t i = 0; i < a->function_count; i++) {
        count += i == 0 || strcmp(rows[i]->function, rows[i - 1]->function) != 0;
        add(&sums[count - 1], rows[i]);
    }
    free(rows);
    qsort(sums, count, sizeof *sums, most_time_first);
    *ret_count = count;
    return sums;
}

static void put_time(struct table *t, uint64_t runs, uint64_t ns)
{
    char text[32];
    table_cell(t, TONE_PLAIN, "%s", runs == 0 ? "-" : text_format_duration(ns, text));
}

static void put_row(const struct sum *f, struct table *t)
{
    char text[32];
    table_row(t);
    table_cell(t, TONE_STRONG, "%s", f->function);
    table_cell(t, TONE_PLAIN, "%s", text_format_count(f->done, text));
    table_cell(t, f->failed != 0 ? TONE_BAD : TONE_PLAIN, "%s", text_format_count(f->failed, text));
    table_cell(t, TONE_PLAIN, "%s", text_format_count(f->cancelled, text));
    put_time(t, f->runs, f->runs == 0 ? 0 : f->ran_ns / f->runs);
    put_time(t, f->runs, durations_quantile_ns(f->buckets, 0.5));
    put_time(t, f->runs, durations_quantile_ns(f->buckets, 0.99));
    put_time(t, f->runs, f->ran_ns);
}

static size_t shown(const struct wish *w, size_t count)
{
    return w->limit == 0 ? count : MIN_OF(count, (size_t)w->limit);
}

static void summary_text(const struct wish *w, const struct answer *answers, const struct screen *s,
                         struct buffer *out)
{
    static const struct table_column columns[] = {
        {"FUNCTION", .flexible = true}, {"DONE", .right = true},
        {"FAILED", .right = true},      {"CANCELLED", .right = true, .drop = 1},
        {"MEAN", .right = true},        {"P50", .right = true},
        {"P99", .right = true},         {"TOTAL", .right = true},
    };
    struct table *t = table_new(columns, ARRAY_SIZE(columns));
    size_t count;
    struct sum *sums = add_up(&answers[0], &count);
    for (size_t i = 0; i < shown(w, count); i++) {
        put_row(&sums[i], t);
    }
    if (count > 0) {
        table_print(t, s, 0, true, out);
    } else {
        buffer_append_text(out, "No task has ended yet.\n");
    }
    if (shown(w, count) < count) {
        screen_printf(s, out, TONE_DIM, "and %zu more functions: --limit shows them",
                      count - shown(w, count));
        buffer_append_text(out, "\n");
    }
    free(sums);
    table_free(t);
}

static json_t *seconds(uint64_t runs, uint64_t ns)
{
    return runs == 0 ? json_null() : json_real((double)ns / (double)NS_PER_S);
}

static json_t *summary_json(const struct wish *w, const struct answer *answers,
                            uint64_t now_unix_ms)
{
    json_t *array = json_array();
    size_t count;
    struct sum *sums = add_up(&answers[0], &count);
    for (size_t i = 0; i < shown(w, count); i++) {
        const struct sum *f = &sums[i];
        json_t *row = json_pack("{s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "function",
                                json_of_text(f->function), "tasks_done", (json_int_t)f->done,
                                "tasks_failed", (json_int_t)f->failed, "tasks_cancelled",
                                (json_int_t)f->cancelled, "runs", (json_int_t)f->runs, "mean_s",
                                seconds(f->runs, f->runs == 0 ? 0 : f->ran_ns / f->runs), "p50_s",
                                seconds(f->runs, durations_quantile_ns(f->buckets, 0.5)), "p99_s",
                                seconds(f->runs, durations_quantile_ns(f->buckets, 0.99)),
                                "total_s", seconds(f->runs, f->ran_ns));
        int r = json_array_append_new(array, row);
        ASSERT(r == 0);
    }
    free(sums);
    return array;
}

const struct view summary_view = {.ask = summary_ask, .text = summary_text, .json = summary_json};
