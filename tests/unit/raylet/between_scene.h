/*
 * A raylet among others whose parts the test plays: as home it asks THEM for slots and sends tasks
 * there; as executor it lends slots to THEM and runs theirs. For the timelines of the exchange.
 */
#ifndef TESTS_UNIT_RAYLET_BETWEEN_SCENE_H
#define TESTS_UNIT_RAYLET_BETWEEN_SCENE_H

#include "sched/policy.h"
#include "tests/unit/raylet/refs_scene.h"

#define THEIR_JOB 500u

static const struct rig_class AT_THEM = {
    .cpus_x10000 = 10000, .strategy = SCHED_NODE_SPECIFIC, .node = "box-2"};

/* ---- we are the home ---- */

/* box-1 of two CPUs; THEM is box-2 and OTHER box-3, with so many. */
static inline struct scene *begin_as_home(int them, int other)
{
    struct scene *s = begin();

    rig_view(&s->rig, THEM, "box-2", them);
    rig_view(&s->rig, OTHER, "box-3", other);
    rig_settle(&s->rig);
    return s;
}

static inline uint32_t declare(struct scene *s, const char *function, struct rig_class class_)
{
    uint32_t number = rig_class(&s->rig, s->driver, function, class_);

    rig_settle(&s->rig);
    return number;
}

static inline struct object_id submit_to(struct scene *s, struct rig_task task)
{
    struct object_id id = rig_submit(&s->rig, s->driver, task);

    rig_get(&s->rig, s->driver, id);
    rig_settle(&s->rig);
    return id;
}

static inline void grants(struct scene *s, uint32_t peer, uint32_t number, uint32_t count)
{
    struct peer_msg *m = rig_peer_message(&s->rig, peer, SIDE_OUT, PEER_GRANT);

    m->slots.number = number;
    m->slots.count = count;
    rig_settle(&s->rig);
}

static inline void says_word(struct scene *s, uint32_t peer, uint64_t run, uint64_t word)
{
    struct peer_msg *m = rig_peer_message(&s->rig, peer, SIDE_OUT, PEER_RESULT);
    struct local_return *one = arena_alloc(&s->rig.arena, sizeof *one);

    *one = (struct local_return){.state = RETURN_VALUE, .size = 8};
    m->result.run = run;
    m->result.returns = one;
    m->result.return_count = 1;
    m->result.args_free = true;
    m->payload = bytes_of(arena_copy(&s->rig.arena, &word, 8), 8);
    rig_settle(&s->rig);
}

static inline void says_back(struct scene *s, uint32_t peer, uint64_t run, enum peer_back reason)
{
    struct peer_msg *m = rig_peer_message(&s->rig, peer, SIDE_OUT, PEER_BACK);

    m->back.run = run;
    m->back.reason = reason;
    rig_settle(&s->rig);
}

static inline void says_started(struct scene *s, uint32_t peer, uint64_t run)
{
    struct peer_msg *m = rig_peer_message(&s->rig, peer, SIDE_OUT, PEER_STARTED);

    m->runs.runs = arena_copy(&s->rig.arena, &run, sizeof run);
    m->runs.run_count = 1;
    rig_settle(&s->rig);
}

static inline void says_job_broken(struct scene *s, uint32_t peer)
{
    struct peer_msg *m = rig_peer_message(&s->rig, peer, SIDE_OUT, PEER_JOB_BROKEN);

    m->job_broken.job = the_job(s)->number;
    failure_set(&m->job_broken.failure, CODE_PROGRAM, "a library is missing");
    rig_settle(&s->rig);
}

/* Time passes, and nothing but its own timers wakes it. How often they did. */
static inline uint32_t sleep_for(struct scene *s, uint64_t ns)
{
    uint64_t until = s->rig.now_ns + ns;
    uint32_t wakes = 0;

    for (; raylet_core_next_ns(s->rig.core) <= until; wakes++) {
        s->rig.now_ns = MAX_OF(s->rig.now_ns, raylet_core_next_ns(s->rig.core));
        rig_settle(&s->rig);
    }
    return wakes;
}

/* How many of this kind it sent there; all are seen then. */
static inline uint32_t count_said(struct scene *s, uint32_t peer, enum peer_side side,
                                  enum peer_type type)
{
    uint32_t n = 0;

    while (said(s, peer, side, type) != NULL) {
        n++;
    }
    return n;
}

/* ---- we are the executor ---- */

static inline void announces(struct scene *s, uint32_t peer)
{
    static const uint8_t hash[PEER_HASH_SIZE] = {2};
    struct peer_msg *m = rig_peer_message(&s->rig, peer, SIDE_IN, PEER_JOB);

    m->job.job = THEIR_JOB;
    m->job.name = m->job.program_name = m->job.user = m->job.cwd = "";
    m->job.hash = bytes_of(hash, sizeof hash);
    m->job.program_size = 1;
    m->job.home = THEM;
    m->job.wants_logs = true;
    rig_settle(&s->rig);
}

static inline void declares(struct scene *s, uint32_t peer, uint32_t number)
{
    static const struct local_amount cpu = {"CPU", RESOURCE_UNIT};
    struct peer_msg *m = rig_peer_message(&s->rig, peer, SIDE_IN, PEER_CLASS);

    m->class_.number = number;
    m->class_.job = THEIR_JOB;
    m->class_.function = "g";
    m->class_.amounts = &cpu;
    m->class_.amount_count = 1;
    rig_settle(&s->rig);
}

static inline void asks_for(struct scene *s, uint32_t peer, uint32_t number, uint64_t limit)
{
    struct peer_msg *m = rig_peer_message(&s->rig, peer, SIDE_IN, PEER_ASK);

    m->ask.number = number;
    m->ask.limit = limit;
    rig_settle(&s->rig);
}

static inline void returns_slots(struct scene *s, uint32_t peer, uint32_t number, uint32_t count)
{
    struct peer_msg *m = rig_peer_message(&s->rig, peer, SIDE_IN, PEER_RETURN);

    m->slots.number = number;
    m->slots.count = count;
    rig_settle(&s->rig);
}

static inline void runs(struct scene *s, uint32_t peer, uint32_t number, uint64_t run)
{
    struct peer_msg *m = rig_peer_message(&s->rig, peer, SIDE_IN, PEER_RUN);

    m->run.run = run;
    m->run.number = number;
    m->run.attempt = 1;
    m->run.returns = 1;
    m->run.task = (struct object_id){peer, 3, 900 + run};
    m->run.name = "";
    rig_settle(&s->rig);
}

/* A raylet of two CPUs to which THEM announced a job and a class. */
static inline struct scene *begin_as_executor(void)
{
    struct scene *s = begin_among_nodes();

    up(s, THEM, SIDE_IN);
    announces(s, THEM);
    declares(s, THEM, 1);
    return s;
}

#endif
