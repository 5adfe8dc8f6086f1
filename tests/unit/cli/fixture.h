/*
 * A small cluster as rows, for the tests of the screens and of JSON. The time is fixed:
 * 2026-01-31 10:43:30 UTC.
 */
#ifndef TESTS_UNIT_CLI_FIXTURE_H
#define TESTS_UNIT_CLI_FIXTURE_H

#include "cli/answer.h"
#include "common/clock.h"
#include "common/resources.h"

#define NOW_MS      UINT64_C(1769856210000)
#define MINUTE_MS   UINT64_C(60000)
#define GIB_UNITS   ((INT64_C(1) << 30) * RESOURCE_UNIT)
#define UNITS_OF(x) ((int64_t)((x)*RESOURCE_UNIT))

static const struct state_amount fixture_box1[] = {
    {"CPU", UNITS_OF(8), UNITS_OF(2)},
    {"memory", (int64_t)(31.2 * GIB_UNITS), (int64_t)(27.1 * GIB_UNITS)},
    {"disk", UNITS_OF(2), UNITS_OF(0.5)},
};
static const struct state_amount fixture_box2[] = {
    {"CPU", UNITS_OF(8), 0},
    {"memory", 16 * GIB_UNITS, 16 * GIB_UNITS},
};

static const struct state_node fixture_nodes[] = {
    {.number = 1,
     .name = "box-1",
     .host = "box-1",
     .address = "10.0.0.5:7421",
     .state = "alive",
     .note = "",
     .labels = "zone=a",
     .since_unix_ms = NOW_MS - 192 * MINUTE_MS,
     .pid = 4712,
     .amounts = fixture_box1,
     .amount_count = 3,
     .waiting = 120,
     .running = 6,
     .done = 10000,
     .failed = 1,
     .workers = 8,
     .idle_workers = 2,
     .cancelled = 3,
     .memory_used_bytes = UINT64_C(9) << 30},
    {.number = 2,
     .name = "box-2",
     .host = "box-2",
     .address = "10.0.0.6:7421",
     .state = "alive",
     .note = "",
     .labels = "",
     .since_unix_ms = NOW_MS - 190 * MINUTE_MS,
     .pid = 99,
     .amounts = fixture_box2,
     .amount_count = 2,
     .waiting = 0,
     .running = 8,
     .done = 233,
     .failed = 1,
     .workers = 8,
     .memory_used_bytes = UINT64_C(1) << 30},
    {.number = 3,
     .name = "box-3",
     .running = 5, /* when it was heard last */
     .waiting = 7,
     .host = "box-3",
     .address = "10.0.0.7:7421",
     .state = "lost",
     .note = "lease ran out at 10:41:02; its 3 tasks were started elsewhere",
     .labels = "",
     .since_unix_ms = NOW_MS - 2 * MINUTE_MS},
};

static const struct state_class fixture_classes[] = {
    {"train", "waiting", "disk 1 asked, 0.5 free on box-1", "box-1", 100, 3},
    {"resize", "waiting", "behind priority 5", "box-1", 20, 4},
    {"resize", "running", "", "box-2", 14, 4},
    {"", "running", "", "box-2", 8, 0},
    {"", "done", "", "box-2", 234, 0},
    {"", "failed", "", "box-2", 1, 0},
};

static const struct state_task fixture_failed[] = {
    {.id = {1, 4, 2231},
     .function = "resize",
     .name = "",
     .node = "box-2",
     .state = "failed",
     .reason = "crashed with signal 11, attempt 4 of 4",
     .job = 4,
     .worker = 17,
     .attempt = 4,
     .max_attempts = 4,
     .submitted_unix_ms = NOW_MS - 3 * MINUTE_MS,
     .started_unix_ms = NOW_MS - 3 * MINUTE_MS + 250,
     .ended_unix_ms = NOW_MS - 143000,
     .code = CODE_CRASHED,
     .ran_ns = 36750 * NS_PER_MS,
     .root = "resize"},
    {.id = {1, 4, 7},
     .function = "resize",
     .name = "",
     .node = "box-2",
     .state = "failed",
     .reason = "long ago",
     .job = 4,
     .submitted_unix_ms = NOW_MS - 90 * MINUTE_MS,
     .ended_unix_ms = NOW_MS - 61 * MINUTE_MS,
     .code = CODE_FAILED},
};

static const struct state_task fixture_tasks[] = {
    {.id = {1, 5, 9},
     .function = "train",
     .name = "train small",
     .node = "",
     .state = "waiting",
     .reason = "disk 1 asked, 0.5 free on box-1",
     .job = 3,
     .attempt = 1,
     .max_attempts = 4,
     .priority = -2,
     .submitted_unix_ms = NOW_MS - 41000},
    {.id = {1, 5, 10},
     .function = "train",
     .name = "",
     .node = "box-1",
     .state = "running",
     .reason = "",
     .job = 3,
     .worker = 12,
     .attempt = 2,
     .max_attempts = 4,
     .depth = 1,
     .submitted_unix_ms = NOW_MS - 41000,
     .started_unix_ms = NOW_MS - 40000,
     .ran_ns = 40 * NS_PER_S},
};

static const struct state_job fixture_jobs[] = {
    {.number = 3,
     .name = "training",
     .state = "running",
     .node = "box-1",
     .program = "./train",
     .user = "ada",
     .pid = 5120,
     .started_unix_ms = NOW_MS - 125 * MINUTE_MS,
     .waiting = 1100,
     .running = 6},
    {.number = 4,
     .name = "resize",
     .state = "done",
     .node = "box-1",
     .program = "./resize",
     .user = "ada",
     .pid = 5200,
     .started_unix_ms = NOW_MS - 26 * 60 * MINUTE_MS,
     .ended_unix_ms = NOW_MS - 26 * 60 * MINUTE_MS + 12400,
     .done = 10233,
     .failed = 2,
     .cancelled = 5},
};

/* The answers to the three questions of drt status. */
static inline void fixture_status(struct answer answers[3])
{
    const struct state_reply replies[3] = {
        {.last = true,
         .cluster = "default",
         .head_address = "10.0.0.5:7420",
         .head_pid = 4711,
         .head_started_unix_ms = NOW_MS - 192 * MINUTE_MS,
         .nodes = fixture_nodes,
         .node_count = ARRAY_SIZE(fixture_nodes)},
        {.last = true, .classes = fixture_classes, .class_count = ARRAY_SIZE(fixture_classes)},
        {.last = true, .tasks = fixture_failed, .task_count = ARRAY_SIZE(fixture_failed)},
    };
    for (size_t i = 0; i < 3; i++) {
        answer_init(&answers[i]);
        int r = answer_add(&answers[i], &replies[i]);
        ASSERT(r == 0);
    }
}

static inline void fixture_fini(struct answer *answers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        answer_fini(&answers[i]);
    }
}

#endif
