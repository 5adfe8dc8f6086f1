#include "tests/sim/sim_faults.h"

#include "tests/sim/sim_cycles.h"

#include <stdio.h>

#define CALM_UNTIL   (20 * NS_PER_S)
#define FAULTS_UNTIL (60 * NS_PER_S)
#define CYCLES_FIRST (40 * NS_PER_S) /* in a world with cycles nothing goes wrong before */
#define TASKS_LEAST  5000
#define DRAIN_WITHIN (120 * NS_PER_S) /* after healing: all is answered, released and freed */
#define REST_WITHIN  (30 * NS_PER_S)  /* after the drivers went: nothing is left */

enum fault_kind {
    FAULT_HEAD,
    FAULT_CUT,
    FAULT_PEER_CUT,
    FAULT_DISK,
    FAULT_WEATHER,
    FAULT_DRIVER,
    FAULT_WORKER,
    FAULT_BLACK_OUT,
    FAULT_NODE, /* from here on other nodes may notice */
    FAULT_LEAVE,
    FAULT_LONG_CUT,
    FAULT_LONG_PEER_CUT,
    FAULT_KINDS
};

static bool is_calm(const struct sim_cluster *s)
{
    return s->now_ns < CALM_UNTIL;
}

/* At least one way of the two. */
static void ways(struct sim_cluster *s, bool *ret_to, bool *ret_from)
{
    bool one_way = rng_chance(&s->rng, 0.5);

    *ret_to = !one_way || rng_chance(&s->rng, 0.5);
    *ret_from = !one_way || !*ret_to;
}

static void do_cut(struct sim_cluster *s, uint64_t most_ms, bool peers)
{
    uint64_t for_ns = rng_between(&s->rng, 10, most_ms) * NS_PER_MS;
    int i = (int)rng_below(&s->rng, SIM_NODES);
    int k = (i + 1 + (int)rng_below(&s->rng, SIM_NODES - 1)) % SIM_NODES;
    bool to, from;

    ways(s, &to, &from);
    if (is_calm(s) && sim_was_cut(s, 8 * NS_PER_S)) {
        return; /* together they would be noticed */
    }
    if (peers) {
        sim_cut_peers(s, i, k, to, from, for_ns);
    } else {
        sim_cut_head(s, i, to, from, for_ns);
    }
}

static void do_fault(struct sim_cluster *s, enum fault_kind kind)
{
    int i = (int)rng_below(&s->rng, SIM_NODES);

    switch (kind) {
    case FAULT_HEAD:
        sim_kill_head(s, rng_between(&s->rng, 1, 4000) * NS_PER_MS);
        break;
    case FAULT_NODE:
        sim_kill_node(s, i, rng_between(&s->rng, 1, 5000) * NS_PER_MS);
        break;
    case FAULT_CUT:
    case FAULT_LONG_CUT:
        do_cut(s, kind == FAULT_CUT ? 4000 : 20000, false);
        break;
    case FAULT_PEER_CUT:
    case FAULT_LONG_PEER_CUT:
        do_cut(s, kind == FAULT_PEER_CUT ? 5000 : 45000, true);
        break;
    case FAULT_DISK:
        sim_slow_disk(s, rng_between(&s->rng, 50, 3000) * NS_PER_MS,
                      rng_between(&s->rng, 100, 4000) * NS_PER_MS);
        break;
    case FAULT_WEATHER:
        sim_weather(s, rng_between(&s->rng, 500, 8000) * NS_PER_MS);
        break;
    case FAULT_BLACK_OUT:
        if (!is_calm(s) || !sim_was_cut(s, 8 * NS_PER_S)) {
            sim_black_out(s, is_calm(s) ? 1 : rng_between(&s->rng, 1, 3));
        }
        break;
    case FAULT_DRIVER:
        sim_node_crash_driver(s->nodes[i]);
        break;
    case FAULT_LEAVE:
        sim_leave(s, i);
        break;
    default:
        sim_node_crash_worker(s->nodes[i]);
    }
}

/* Each kind once, then by weight. */
static void fault(struct sim_cluster *s, uint64_t *count)
{
    static const enum fault_kind calm[] = {
        FAULT_HEAD,    FAULT_CUT,    FAULT_PEER_CUT, FAULT_DISK,   FAULT_WEATHER,
        FAULT_WEATHER, FAULT_DRIVER, FAULT_WORKER,   FAULT_WORKER, FAULT_WORKER};
    static const enum fault_kind all[] = {
        FAULT_HEAD,     FAULT_CUT,           FAULT_PEER_CUT, FAULT_PEER_CUT, FAULT_DISK,
        FAULT_WEATHER,  FAULT_WEATHER,       FAULT_DRIVER,   FAULT_WORKER,   FAULT_WORKER,
        FAULT_WORKER,   FAULT_WORKER,        FAULT_NODE,     FAULT_NODE,     FAULT_LEAVE,
        FAULT_LONG_CUT, FAULT_LONG_PEER_CUT, FAULT_BLACK_OUT};
    bool is_first = *count < FAULT_KINDS && (*count < FAULT_NODE || !is_calm(s));

    if (is_first) {
        do_fault(s, (enum fault_kind)(*count)++);
    } else if (is_calm(s)) {
        do_fault(s, calm[rng_below(&s->rng, ARRAY_SIZE(calm))]);
    } else {
        do_fault(s, all[rng_below(&s->rng, ARRAY_SIZE(all))]);
    }
}

static void step(struct sim_cluster *s, uint64_t limit_ns)
{
    sim_cluster_step(s, limit_ns);
    if (s->world.cycles) {
        sim_cycles_look(s);
    }
}

static void until(struct sim_cluster *s, bool (*is_so)(struct sim_cluster *s), uint64_t within_ns,
                  const char *what)
{
    uint64_t until_ns = s->now_ns + within_ns;

    while (!is_so(s)) {
        if (s->now_ns >= until_ns) {
            sim_cluster_report(s);
            sim_breach(&s->world, "%s within %.0f s", what, (double)within_ns / 1e9);
        }
        step(s, until_ns);
    }
}

static void rest(struct sim_cluster *s)
{
    sim_cluster_heal(s);
    until(s, sim_cluster_is_drained, DRAIN_WITHIN,
          "healed, and not all is answered and freed while the drivers are there");
    sim_cluster_dismiss(s);
    until(s, sim_cluster_is_at_rest, REST_WITHIN, "the drivers went, and something is left");
    sim_cluster_check_jobs(s);
}

void sim_run(const struct sim_options *options, struct sim_summary *ret)
{
    struct sim_cluster *s = xmalloc(sizeof *s);
    uint64_t fault_ns = options->cycles ? CYCLES_FIRST : NS_PER_S, count = 0;

    sim_cluster_init(s, options);
    while (s->now_ns < FAULTS_UNTIL + (options->cycles ? CYCLES_FIRST / 2 : 0) ||
           s->world.counts.tasks < TASKS_LEAST) {
        if (fault_ns <= s->now_ns) {
            fault(s, &count);
            fault_ns = s->now_ns + rng_between(&s->rng, 10, 900) * NS_PER_MS;
        }
        step(s, fault_ns);
    }
    rest(s);
    *ret = (struct sim_summary){.runs = 1,
                                .steps = s->steps,
                                .seconds = s->now_ns / NS_PER_S,
                                .trace = s->trace,
                                .counts = s->world.counts,
                                .faults = s->faults};
    mem_network_count(s->network, &ret->network);
    sim_cluster_fini(s);
    free(s);
}

/* ---- sums ---- */

static void add(uint64_t *sum, const uint64_t *one, size_t size)
{
    for (size_t i = 0; i < size / sizeof *sum; i++) {
        sum[i] += one[i];
    }
}

void sim_summary_add(struct sim_summary *sum, const struct sim_summary *one)
{
    uint64_t trace = sum->trace ^ one->trace;

    add((uint64_t *)sum, (const uint64_t *)one, sizeof *sum);
    sum->trace = trace;
}

#define U(x) ((unsigned long long)(x))

void sim_summary_print(const struct sim_summary *s)
{
    const struct sim_counts *c = &s->counts;
    const struct sim_fault_counts *f = &s->faults;
    const struct mem_network_counts *n = &s->network;

    printf("  %llu s, %llu steps: %llu tasks, %llu bodies (%llu away from home), %llu values, %llu "
           "errors, %llu drivers (%llu crashed, %llu left early), %llu workers crashed\n",
           U(s->seconds), U(s->steps), U(c->tasks), U(c->bodies), U(c->foreign_bodies),
           U(c->values), U(c->errors), U(c->drivers), U(c->driver_crashes), U(c->early_goodbyes),
           U(c->crashes));
    printf("  references: %llu passed, %llu read, %llu kept, %llu containers, %llu opened, %llu "
           "answers from other nodes, %llu aliases; %llu cancels, %llu releases\n",
           U(c->refs_passed), U(c->reads), U(c->kept), U(c->containers), U(c->opened),
           U(c->foreign_reads), U(c->aliases), U(c->cancels), U(c->releases));
    printf("  between nodes: %llu sessions, %llu ended, %llu refused, %llu messages; programs "
           "fetched %llu, failed %llu\n",
           U(c->sessions), U(c->session_ends), U(c->peer_refused), U(c->peer_messages),
           U(c->fetches), U(c->fetch_failures));
    printf("  faults: head killed %llu, nodes %llu (told to leave %llu); cuts from the head %llu "
           "(one-way %llu), between nodes %llu (one-way %llu), black-outs %llu, slow disk %llu, "
           "bad weather %llu\n",
           U(f->head_kills), U(f->node_kills), U(f->node_leaves), U(f->cuts), U(f->one_way_cuts),
           U(f->peer_cuts), U(f->one_way_peer_cuts), U(f->black_outs), U(f->slow_disks),
           U(f->weather));
    if (c->hogs > 0) {
        printf(
            "  cycles: %llu tasks that keep what others may wait for, %llu waits in cycles (%.1f s "
            "each)\n",
            U(c->hogs), U(c->cycle_waits),
            (double)c->cycle_ns / 1e9 / (double)MAX_OF(c->cycle_waits, 1u));
    }
    printf("  packets: %llu sent, %llu lost, %llu doubled, %llu reordered\n", U(n->sent),
           U(n->lost), U(n->doubled), U(n->reordered));
    printf("  errors seen:");
    for (size_t i = 1; i < ARRAY_SIZE(c->codes); i++) {
        if (c->codes[i] > 0) {
            printf(" %s %llu", code_name((int)i), U(c->codes[i]));
        }
    }
    printf("\n");
}
