/*
 * The whole cluster in one process: a head, three raylets, drivers and workers, a hostile network,
 * a slow disk, and everything that may die dying. "sim [--seed N] [--seeds COUNT] [--quiet]"; the
 * same seed gives the same run.
 */
#include "tests/sim/sim_head.h"
#include "tests/sim/sim_node.h"

#include "common/text.h"

#include <stdio.h>

#define NODES        3
#define FAULTS_UNTIL (60 * NS_PER_S)
#define HEALED_UNTIL (240 * NS_PER_S)

struct fault_counts {
    uint64_t lossy, cuts, one_way_cuts, head_kills, node_kills, node_leaves, slow_disks;
};

struct sim {
    struct rng rng;
    struct mem_network *network;
    struct sim_head *head;
    struct sim_node *nodes[NODES];
    uint64_t start_at_ns[NODES]; /* of a node that is down */
    uint64_t heal_at_ns[NODES];
    uint64_t head_start_ns, next_fault_ns, disk_until_ns, weather_until_ns;
    struct sim_counts counts;
    struct fault_counts faults;
    uint64_t fault_count;
    uint64_t now_ns, steps, trace; /* trace: a hash of what happened when */
};

static enum head_probe probe(void *arg, uint32_t number)
{
    struct sim *s = arg;

    for (int i = 0; i < NODES; i++) {
        if (sim_node_number(s->nodes[i]) == number) {
            return sim_node_is_cut(s->nodes[i]) ? HEAD_PROBE_SILENT : HEAD_PROBE_ALIVE;
        }
    }
    return HEAD_PROBE_REFUSED;
}

static void weather(struct sim *s, bool bad)
{
    struct mem_network_options o = {
        .seed = rng_next(&s->rng), .delay_min_ns = 20000, .delay_max_ns = 200000};

    if (bad) {
        o.loss = 0.3 * rng_unit(&s->rng);
        o.duplication = 0.5 * rng_unit(&s->rng);
        o.delay_max_ns = rng_between(&s->rng, 1, 300) * NS_PER_MS;
        o.reorders = rng_chance(&s->rng, 0.7);
        s->faults.lossy++;
    }
    mem_network_set(s->network, &o);
}

static void kill_head(struct sim *s)
{
    if (sim_head_is_up(s->head)) {
        s->faults.head_kills++;
        sim_head_kill(s->head);
        s->head_start_ns = s->now_ns + rng_between(&s->rng, 1, 4000) * NS_PER_MS;
    }
}

static void kill_node(struct sim *s, int i)
{
    if (sim_node_is_up(s->nodes[i])) {
        s->faults.node_kills++;
        sim_node_kill(s->nodes[i]);
        s->start_at_ns[i] = s->now_ns + rng_between(&s->rng, 1, 5000) * NS_PER_MS;
    }
}

static void cut(struct sim *s, int i)
{
    bool one_way = rng_chance(&s->rng, 0.5), to = !one_way || rng_chance(&s->rng, 0.5);

    s->faults.cuts++;
    s->faults.one_way_cuts += one_way;
    sim_node_cut(s->nodes[i], to, !one_way || !to);
    s->heal_at_ns[i] =
        s->now_ns + rng_between(&s->rng, 10, rng_chance(&s->rng, 0.2) ? 20000 : 5000) * NS_PER_MS;
}

enum fault_kind {
    FAULT_HEAD,
    FAULT_NODE,
    FAULT_CUT,
    FAULT_DISK,
    FAULT_WEATHER,
    FAULT_DRIVER,
    FAULT_WORKER,
    FAULT_LEAVE,
    FAULT_KINDS
};

static void do_fault(struct sim *s, enum fault_kind kind)
{
    int i = (int)rng_below(&s->rng, NODES);

    switch (kind) {
    case FAULT_HEAD:
        kill_head(s);
        break;
    case FAULT_NODE:
        kill_node(s, i);
        break;
    case FAULT_CUT:
        cut(s, i);
        break;
    case FAULT_DISK:
        s->faults.slow_disks++;
        sim_head_set_disk(s->head, rng_between(&s->rng, 50, 3000) * NS_PER_MS);
        s->disk_until_ns = s->now_ns + rng_between(&s->rng, 100, 4000) * NS_PER_MS;
        break;
    case FAULT_WEATHER:
        weather(s, true);
        s->weather_until_ns = s->now_ns + rng_between(&s->rng, 500, 8000) * NS_PER_MS;
        break;
    case FAULT_DRIVER:
        sim_node_crash_driver(s->nodes[i]);
        break;
    case FAULT_LEAVE:
        s->faults.node_leaves++;
        sim_node_leave(s->nodes[i]);
        break;
    default:
        sim_node_crash_worker(s->nodes[i]);
    }
}

/* Each kind once, then by weight. */
static void fault(struct sim *s)
{
    static const enum fault_kind weighted[] = {
        FAULT_HEAD,    FAULT_NODE,    FAULT_CUT,    FAULT_CUT,    FAULT_DISK,
        FAULT_WEATHER, FAULT_WEATHER, FAULT_DRIVER, FAULT_WORKER, FAULT_WORKER,
        FAULT_WORKER,  FAULT_WORKER,  FAULT_WORKER, FAULT_LEAVE};
    uint64_t n = s->fault_count++;

    do_fault(s, n < FAULT_KINDS ? (enum fault_kind)n
                                : weighted[rng_below(&s->rng, ARRAY_SIZE(weighted))]);
    s->next_fault_ns = s->now_ns + rng_between(&s->rng, 10, 900) * NS_PER_MS;
}

static void heal(struct sim *s)
{
    for (int i = 0; i < NODES; i++) {
        sim_node_cut(s->nodes[i], false, false);
        s->heal_at_ns[i] = 0;
        sim_node_finish(s->nodes[i]);
    }
    sim_head_set_disk(s->head, NS_PER_MS);
    weather(s, false);
    s->next_fault_ns = NS_FOREVER;
    s->weather_until_ns = s->disk_until_ns = 0;
}

/* What is due now, besides what head and nodes do themselves. */
static void events(struct sim *s)
{
    if (s->next_fault_ns <= s->now_ns) {
        fault(s);
    }
    if (s->weather_until_ns != 0 && s->weather_until_ns <= s->now_ns) {
        s->weather_until_ns = 0;
        weather(s, false);
    }
    if (s->disk_until_ns != 0 && s->disk_until_ns <= s->now_ns) {
        s->disk_until_ns = 0;
        sim_head_set_disk(s->head, NS_PER_MS);
    }
    if (!sim_head_is_up(s->head) && s->head_start_ns <= s->now_ns) {
        sim_head_start(s->head, s->now_ns);
    }
    for (int i = 0; i < NODES; i++) {
        if (s->heal_at_ns[i] != 0 && s->heal_at_ns[i] <= s->now_ns) {
            s->heal_at_ns[i] = 0;
            sim_node_cut(s->nodes[i], false, false);
        }
        if (!sim_node_is_up(s->nodes[i]) && s->start_at_ns[i] <= s->now_ns) {
            sim_node_start(s->nodes[i], s->now_ns);
        }
    }
}

static uint64_t next_ns(struct sim *s)
{
    uint64_t next = MIN_OF(s->next_fault_ns, mem_network_next_ns(s->network));

    next = MIN_OF(next, s->weather_until_ns != 0 ? s->weather_until_ns : NS_FOREVER);
    next = MIN_OF(next, s->disk_until_ns != 0 ? s->disk_until_ns : NS_FOREVER);
    next = MIN_OF(next, sim_head_is_up(s->head) ? sim_head_next_ns(s->head) : s->head_start_ns);
    for (int i = 0; i < NODES; i++) {
        next = MIN_OF(next, s->heal_at_ns[i] != 0 ? s->heal_at_ns[i] : NS_FOREVER);
        next = MIN_OF(next, sim_node_is_up(s->nodes[i]) ? sim_node_next_ns(s->nodes[i])
                                                        : s->start_at_ns[i]);
    }
    return next;
}

static void step(struct sim *s)
{
    uint64_t next = next_ns(s);

    s->now_ns = MAX_OF(s->now_ns, next);
    s->steps++;
    s->trace = (s->trace ^ s->now_ns) * 0x100000001b3ull;
    for (int i = 0; i < NODES; i++) {
        if (!sim_node_is_up(s->nodes[i]) && s->start_at_ns[i] == 0) {
            s->start_at_ns[i] =
                s->now_ns + NS_PER_S; /* it ended by itself: its supervisor starts it */
        }
    }
    (void)mem_network_advance(s->network, s->now_ns);
    sim_head_advance(s->head, s->now_ns);
    for (int i = 0; i < NODES; i++) {
        bool was_up = sim_node_is_up(s->nodes[i]);
        sim_node_advance(s->nodes[i], s->now_ns);
        if (was_up && !sim_node_is_up(s->nodes[i])) {
            s->start_at_ns[i] = s->now_ns + NS_PER_S;
        }
    }
    sim_head_advance(s->head, s->now_ns);
    events(s);
}

struct job_check {
    struct sim *sim;
    uint64_t jobs, unknown, running;
};

static void check_job(uint64_t job, void *arg)
{
    struct job_check *check = arg;

    check->jobs++;
    check->unknown += !sim_head_knows_job(check->sim->head, job);
}

static bool finished(struct sim *s)
{
    bool all = sim_head_is_up(s->head);

    for (int i = 0; i < NODES && all; i++) {
        all = sim_node_is_finished(s->nodes[i]);
    }
    return all;
}

static void init(struct sim *s, uint64_t seed)
{
    static const char *const names[NODES] = {"box-1", "box-2", "box-3"};
    struct mem_network_options o = {.seed = seed, .delay_min_ns = 20000, .delay_max_ns = 200000};

    memset(s, 0, sizeof *s);
    rng_seed(&s->rng, seed);
    s->trace = 0xcbf29ce484222325ull;
    s->network = mem_network_new(&o);
    s->head = sim_head_new(s->network, &s->rng, 0);
    sim_head_set_probe(s->head, probe, s);
    for (int i = 0; i < NODES; i++) {
        struct sim_config config = {.name = names[i],
                                    .cpus = (int)rng_between(&s->rng, 2, 4),
                                    .network = s->network,
                                    .rng = &s->rng,
                                    .counts = &s->counts};
        s->nodes[i] = sim_node_new(&config, 0);
    }
    s->next_fault_ns = NS_PER_S;
}

static void fini(struct sim *s)
{
    for (int i = 0; i < NODES; i++) {
        sim_node_free(s->nodes[i]);
    }
    sim_head_free(s->head);
    mem_network_free(s->network);
}

static int run(uint64_t seed, bool quiet, uint64_t *ret_trace)
{
    struct sim *s = xmalloc(sizeof *s);
    struct job_check check = {.sim = s};
    int rc = 0;

    init(s, seed);
    while (s->now_ns < FAULTS_UNTIL || s->counts.tasks < 5000) {
        step(s);
    }
    heal(s);
    while (!finished(s) && s->now_ns < HEALED_UNTIL) {
        step(s);
    }
    for (int i = 0; i < NODES; i++) {
        sim_node_each_job(s->nodes[i], check_job, &check);
    }
    if (!finished(s) || check.unknown > 0) {
        rc = 1;
        printf("seed %llu: %s; %llu of %llu acknowledged jobs are unknown to the head\n",
               (unsigned long long)seed, finished(s) ? "at rest" : "not at rest after healing",
               (unsigned long long)check.unknown, (unsigned long long)check.jobs);
        for (int i = 0; i < NODES; i++) {
            sim_node_report(s->nodes[i]);
        }
    }
    if (!quiet || rc != 0) {
        struct sim_head_counts h = sim_head_count(s->head);
        struct mem_network_counts net;
        mem_network_count(s->network, &net);
        printf("seed %llu trace %016llx: %.0f s, %llu steps, %llu tasks, %llu bodies, %llu values, "
               "%llu errors, %llu jobs\n",
               (unsigned long long)seed, (unsigned long long)s->trace, (double)s->now_ns / 1e9,
               (unsigned long long)s->steps, (unsigned long long)s->counts.tasks,
               (unsigned long long)s->counts.bodies, (unsigned long long)s->counts.values,
               (unsigned long long)s->counts.errors, (unsigned long long)check.jobs);
        printf("  faults: head killed %llu, nodes %llu (told to leave %llu), workers %llu, drivers "
               "%llu; cuts %llu "
               "(one-way %llu), slow disk %llu, "
               "bad weather %llu\n",
               (unsigned long long)s->faults.head_kills, (unsigned long long)s->faults.node_kills,
               (unsigned long long)s->faults.node_leaves, (unsigned long long)s->counts.crashes,
               (unsigned long long)s->counts.driver_crashes, (unsigned long long)s->faults.cuts,
               (unsigned long long)s->faults.one_way_cuts, (unsigned long long)s->faults.slow_disks,
               (unsigned long long)s->faults.lossy);
        printf("  packets: %llu sent, %llu lost, %llu doubled, %llu reordered; head: %llu records, "
               "%llu commits\n",
               (unsigned long long)net.sent, (unsigned long long)net.lost,
               (unsigned long long)net.doubled, (unsigned long long)net.reordered,
               (unsigned long long)h.records, (unsigned long long)h.commits);
    }
    *ret_trace = s->trace;
    fini(s);
    free(s);
    return rc;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, seeds = 1, trace = 0, failed = 0, again = 0;
    bool quiet = false;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quiet") == 0) {
            quiet = true;
        } else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0 &&
                   text_parse_u64(argv[++i], UINT64_MAX, &seed) == 0) {
        } else if (i + 1 < argc && strcmp(argv[i], "--seeds") == 0 &&
                   text_parse_u64(argv[++i], UINT64_MAX, &seeds) == 0) {
        } else {
            fprintf(stderr, "usage: sim [--seed N] [--seeds COUNT] [--quiet]\n");
            return 2;
        }
    }
    for (uint64_t i = 0; i < seeds; i++) {
        failed += run(seed + i, quiet, &trace) != 0;
    }
    if (seeds == 1) { /* the same seed, the same run */
        failed += run(seed, true, &again) != 0 || again != trace;
    }
    printf("%llu seeds, %llu failed%s\n", (unsigned long long)seeds, (unsigned long long)failed,
           again != 0 && again != trace ? ": two runs of one seed differ" : "");
    return failed != 0;
}
