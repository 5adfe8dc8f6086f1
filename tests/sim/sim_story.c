#include "tests/sim/sim_story.h"

#include "sched/policy.h"
#include "tests/sim/sim_inside.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define CUT_NS    (60 * NS_PER_S)
#define LATER_NS  (4 * NS_PER_S)   /* what was kept is read then */
#define LATEST_NS (100 * NS_PER_S) /* the same where something is cut meanwhile */
#define LIMIT_NS  (400 * NS_PER_S)

struct story {
    struct sim_cluster cluster;
    enum story_fault fault;
    uint64_t at;
    bool begun, done, struck;
    int chapter;
    uint32_t there, over; /* classes: at the executor, at the owner */
    struct object_id current;
    uint64_t later_ns;
};

static const char *const names[STORY_FAULTS] = {"calm",
                                                "home dies",
                                                "executor dies",
                                                "owner dies",
                                                "head dies",
                                                "driver dies",
                                                "executor's worker dies",
                                                "owner's worker dies",
                                                "home and executor are cut",
                                                "home and owner are cut",
                                                "executor and owner are cut"};

const char *sim_story_name(enum story_fault fault)
{
    return names[fault];
}

static bool is_cut(enum story_fault fault)
{
    return fault >= STORY_CUT_HOME_EXECUTOR;
}

/* ---- what the driver does ---- */

static struct sim_driver *driver(struct sim_node *n)
{
    return &n->drivers[0];
}

static void begin(struct story *s, struct sim_node *n)
{
    s->begun = true;
    memset(driver(n), 0, sizeof *driver(n));
    driver(n)->process = rig_driver_of(n->rig, 1);
}

static void declare(struct story *s, struct sim_node *n)
{
    struct rig_class k = {.cpus_x10000 = 10000, .strategy = SCHED_NODE_SPECIFIC, .soft = true};

    driver(n)->welcomed = true;
    k.node = "box-2";
    s->there = rig_class(n->rig, driver(n)->process, "there", k);
    k.node = "box-3";
    s->over = rig_class(n->rig, driver(n)->process, "over", k);
}

static void submit(struct story *s, struct sim_node *n, uint32_t class_number, uint64_t does)
{
    struct sim_driver *d = driver(n);
    struct object_id refs[4];
    struct rig_task t = {.class_number = class_number,
                         .payload = 100 + (uint64_t)s->chapter + does,
                         .max_attempts = 4,
                         .backoff_ns = 10 * NS_PER_MS,
                         .refs = refs};
    bool alias = (does & RETURNS_REF) != 0;

    for (uint32_t i = 0; i < d->count && t.ref_count < ARRAY_SIZE(refs); i++) {
        refs[t.ref_count++] = d->asked[i].id;
    }
    if (does & RUNS_ONCE) {
        t.flags = SUBMIT_AT_MOST_ONCE;
        t.max_attempts = 1;
    }
    s->current = rig_submit(n->rig, d->process, t);
    struct sim_fact *f = sim_fact_new(n->config.world, s->current, t.payload & WORD_MASK, !alias);
    f->tries = t.max_attempts;
    f->once = (does & RUNS_ONCE) != 0;
    sim_ask(n, d->process, s->current, (struct sim_cover){0});
}

static bool is_held(const struct sim_driver *d, struct object_id id)
{
    for (uint32_t i = 0; i < d->count; i++) {
        if (object_id_equal(d->asked[i].id, id)) {
            return true;
        }
    }
    return false;
}

/* Holds what is inside of what was returned, and lets that go. */
static void open_current(struct story *s, struct sim_node *n)
{
    struct sim_driver *d = driver(n);

    for (uint32_t i = 0; i < d->heard_count && d->count < ASKED_MAX; i++) {
        if (!is_held(d, d->heard[i])) {
            rig_hold_through(n->rig, d->process, d->heard[i], s->current);
            d->asked[d->count++] =
                (struct asked){.id = d->heard[i], .through = s->current.node, .late = true};
        }
    }
    d->heard_count = 0;
    sim_release(n, d->process, s->current);
}

static void release_at(struct sim_node *n, uint32_t i)
{
    struct sim_driver *d = driver(n);

    sim_release(n, d->process, d->asked[i].id);
    d->asked[i] = d->asked[--d->count];
}

static void ask_some(struct sim_node *n, uint32_t count)
{
    struct sim_driver *d = driver(n);

    for (uint32_t i = 0; i < d->count && i < count; i++) {
        sim_ask(n, d->process, d->asked[i].id, (struct sim_cover){.through = d->asked[i].through});
    }
}

static bool waits(struct sim_node *n)
{
    const struct sim_driver *d = driver(n);

    return n->gets != NULL && d->process != NULL;
}

static void next_chapter(struct story *s, struct sim_node *n)
{
    switch (s->chapter++) {
    case 0:
        submit(s, n, s->over, RETURNS_REFS);
        break;
    case 1:
        open_current(s, n);
        submit(s, n, s->there, READS_REFS | KEEPS_REFS | PASSES_REFS | RETURNS_REFS);
        break;
    case 2:
        open_current(s, n);
        submit(s, n, s->over, READS_REFS | RETURNS_REF);
        break;
    case 3:
        sim_release(n, driver(n)->process, s->current);
        submit(s, n, s->there, RUNS_ONCE | KEEPS_REFS);
        while (driver(n)->count > 2) {
            release_at(n, 0);
        }
        break;
    case 4:
        sim_release(n, driver(n)->process, s->current);
        s->later_ns = n->now_ns + (is_cut(s->fault) ? LATEST_NS : LATER_NS);
        ask_some(n, is_cut(s->fault) ? 2 : 0);
        break;
    case 5:
        ask_some(n, driver(n)->count);
        break;
    default:
        while (driver(n)->count > 0) {
            release_at(n, 0);
        }
        driver(n)->drained = true;
        s->done = true;
        sim_cluster_heal(&s->cluster);
    }
}

static void tell(void *arg, struct sim_node *n)
{
    struct story *s = arg;
    struct sim_driver *d = driver(n);

    if (n->config.index != 0 || (s->begun && d->process == NULL)) {
        if (n->config.index == 0 && !s->done) { /* its node or itself died: so ends the story */
            s->done = true;
            sim_cluster_heal(&s->cluster);
        }
        return;
    }
    if (!s->begun) {
        if (n->now_ns < NS_PER_S) {
            return;
        }
        begin(s, n);
    }
    if (!d->process->welcomed) {
        return;
    }
    if (!d->welcomed) {
        declare(s, n);
    }
    if (n->dismissed) {
        sim_job_ends(n->config.world, d->process->job);
        rig_driver_end(n->rig, d->process, true);
        d->process = NULL;
        return;
    }
    if (!s->done && !waits(n) && n->now_ns >= s->later_ns) {
        next_chapter(s, n);
    }
}

/* ---- what befalls it ---- */

static void crash_worker(struct sim_node *n)
{
    sim_node_crash_worker(n);
}

static void crash_driver(struct sim_node *n)
{
    struct sim_driver *d = driver(n);

    if (n->rig != NULL && d->process != NULL) {
        sim_forget_gets(n, d->process);
        sim_job_ends(n->config.world, d->process->job);
        rig_driver_end(n->rig, d->process, false);
        d->process = NULL;
        n->poked = true;
    }
}

static void strike(struct story *s)
{
    struct sim_cluster *c = &s->cluster;
    bool to = s->at % 3 != 2, from = s->at % 3 != 1;

    s->struck = true;
    switch (s->fault) {
    case STORY_HEAD:
        sim_kill_head(c, NS_PER_S);
        break;
    case STORY_DRIVER:
        crash_driver(c->nodes[0]);
        break;
    case STORY_EXECUTOR_WORKER:
        crash_worker(c->nodes[1]);
        break;
    case STORY_OWNER_WORKER:
        crash_worker(c->nodes[2]);
        break;
    case STORY_CUT_HOME_EXECUTOR:
        sim_cut_peers(c, 0, 1, to, from, CUT_NS);
        break;
    case STORY_CUT_HOME_OWNER:
        sim_cut_peers(c, 0, 2, to, from, CUT_NS);
        break;
    case STORY_CUT_EXECUTOR_OWNER:
        sim_cut_peers(c, 1, 2, to, from, CUT_NS);
        break;
    default:
        break;
    }
}

static bool is_time(const struct story *s, uint64_t steps)
{
    return !s->struck && steps >= (is_cut(s->fault) ? s->at / 3 : s->at);
}

static struct sim_node *victim(struct story *s)
{
    return s->fault >= STORY_HOME && s->fault <= STORY_OWNER
               ? s->cluster.nodes[s->fault - STORY_HOME]
               : NULL;
}

static struct story *story_new(enum story_fault fault, uint64_t at, uint32_t core_off,
                               uint32_t rules_off)
{
    struct story *s = xcalloc(1, sizeof *s);
    struct sim_options o = {
        .seed = 77, .core_off = core_off, .rules_off = rules_off, .script = tell, .script_arg = s};

    s->fault = fault;
    s->at = at;
    sim_cluster_init(&s->cluster, &o);
    while (s->cluster.now_ns < NS_PER_S) { /* all have joined */
        sim_cluster_step(&s->cluster, NS_PER_S);
    }
    return s;
}

static void until(struct story *s, bool (*is_so)(struct sim_cluster *s), const char *what)
{
    while (!is_so(&s->cluster)) {
        if (s->cluster.now_ns >= LIMIT_NS) {
            sim_cluster_report(&s->cluster);
            sim_breach(&s->cluster.world, "%s, step %llu, chapter %d: %s", names[s->fault],
                       (unsigned long long)s->at, s->chapter, what);
        }
        sim_cluster_step(&s->cluster, LIMIT_NS);
    }
}

/* From its first step to its last; what it took. */
static void play(struct story *s, uint64_t *ret_steps, uint64_t strokes[SIM_NODES])
{
    uint64_t steps = 0, before[SIM_NODES];

    for (int i = 0; i < SIM_NODES; i++) {
        before[i] = sim_node_strokes(s->cluster.nodes[i]);
    }
    if (victim(s) != NULL) {
        sim_node_light_fuse(victim(s), s->at + 1);
    }
    while (!s->done) {
        if (s->cluster.now_ns >= LIMIT_NS) {
            sim_cluster_report(&s->cluster);
            sim_breach(&s->cluster.world, "%s, step %llu: chapter %d has no end", names[s->fault],
                       (unsigned long long)s->at, s->chapter);
        }
        if (is_time(s, steps)) {
            strike(s);
        }
        sim_cluster_step(&s->cluster, LIMIT_NS);
        steps += s->chapter < 5;
    }
    *ret_steps = steps;
    for (int i = 0; i < SIM_NODES; i++) {
        strokes[i] = sim_node_strokes(s->cluster.nodes[i]) - before[i];
    }
}

void sim_story_run(enum story_fault fault, uint64_t at, uint32_t core_off, uint32_t rules_off)
{
    struct story *s = story_new(fault, at, core_off, rules_off);
    uint64_t steps, strokes[SIM_NODES];

    play(s, &steps, strokes);
    if (victim(s) != NULL && sim_node_is_up(victim(s))) {
        sim_node_light_fuse(victim(s), 0);
    }
    until(s, sim_cluster_is_drained, "not all is answered and freed");
    sim_cluster_dismiss(&s->cluster);
    until(s, sim_cluster_is_at_rest, "the driver went, and something is left");
    sim_cluster_check_jobs(&s->cluster);
    sim_cluster_fini(&s->cluster);
    free(s);
}

uint64_t sim_story_count(enum story_fault fault, uint32_t core_off, uint32_t rules_off)
{
    struct story *s = story_new(STORY_CALM, 0, core_off, rules_off);
    uint64_t steps, strokes[SIM_NODES], count;

    play(s, &steps, strokes);
    count = fault == STORY_CALM                           ? 1
            : fault >= STORY_HOME && fault <= STORY_OWNER ? strokes[fault - STORY_HOME]
            : is_cut(fault)                               ? 3 * steps
                                                          : steps;
    sim_cluster_fini(&s->cluster);
    free(s);
    return count;
}

/* ---- all of them ---- */

static bool run_apart(enum story_fault fault, uint64_t at)
{
    int status = 1;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        sim_story_run(fault, at, 0, 0);
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
        printf("story: %s, step %llu failed\n", names[fault], (unsigned long long)at);
        return false;
    }
    return true;
}

uint64_t sim_stories(uint64_t stride, uint64_t jobs, uint64_t *ret_runs)
{
    uint64_t failed = 0, runs = 0;

    for (int f = STORY_CALM; f < STORY_FAULTS; f++) {
        uint64_t count = sim_story_count((enum story_fault)f, 0, 0);
        uint64_t each = is_cut((enum story_fault)f) ? 3 * stride + 1 : stride;
        runs += (count + each - 1) / each;
        for (uint64_t job = 0; job < jobs; job++) {
            fflush(stdout);
            if (fork() == 0) {
                uint64_t mine = 0;
                for (uint64_t at = job * each; at < count; at += jobs * each) {
                    mine += !run_apart((enum story_fault)f, at);
                }
                _exit((int)MIN_OF(mine, 100u));
            }
        }
        for (uint64_t job = 0; job < jobs; job++) {
            int status = 0;
            if (wait(&status) > 0) {
                failed += WIFEXITED(status) ? (uint64_t)WEXITSTATUS(status) : 1;
            }
        }
        printf("%s: %llu steps\n", names[f], (unsigned long long)count);
    }
    *ret_runs = runs;
    return failed;
}
