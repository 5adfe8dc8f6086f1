#include "tests/sim/sim_cluster.h"

#include <stdio.h>

#define RESTART_NS    NS_PER_S
#define BLACK_NS      (5 * NS_PER_S)
#define BLACK_EACH_NS (15 * NS_PER_S)
/* The head declares a node dead when no renewal came for a lease of 9 s. A node is well if of these
 * no more than 5.5 s were taken by cuts and by tries that were lost: in the others it had a way and
 * luck, and it tries each 1.25 s at the latest (a greeting; a renewal each second), then says JOIN,
 * all with at most 0.3 s on the way: one of them came. */
#define HURT_NS   (5500 * NS_PER_MS)
#define WINDOW_NS (9 * NS_PER_S)

static enum head_probe probe(void *arg, uint32_t number)
{
    struct sim_cluster *s = arg;
    const struct head_node_row *row = sim_head_node(s->head, number);

    for (int i = 0; i < SIM_NODES; i++) {
        if (row != NULL && strcmp(row->name, sim_node_name(s->nodes[i])) == 0 &&
            sim_node_is_up(s->nodes[i])) { /* something listens at its port */
            bool silent = sim_node_is_cut(s->nodes[i]) || s->black_until_ns != 0;
            return !silent                                   ? HEAD_PROBE_ALIVE
                   : s->rules_off & SIM_RULE_SILENT_IS_ALIVE ? HEAD_PROBE_REFUSED
                                                             : HEAD_PROBE_SILENT;
        }
    }
    return HEAD_PROBE_REFUSED;
}

/* ---- what may befall it ---- */

static void set_network(struct sim_cluster *s, bool bad, bool black)
{
    struct mem_network_options o = {
        .seed = rng_next(&s->rng), .delay_min_ns = 20000, .delay_max_ns = 200000};

    if (bad) {
        o.loss = 0.3 * rng_unit(&s->rng);
        o.duplication = 0.5 * rng_unit(&s->rng);
        o.delay_max_ns = rng_between(&s->rng, 1, 300) * NS_PER_MS;
        o.reorders = rng_chance(&s->rng, 0.7);
    }
    o.loss = black ? 1.0 : o.loss;
    mem_network_set(s->network, &o);
}

static void note_outage(struct sim_cluster *s, int i, uint64_t for_ns)
{
    struct sim_outages *o = &s->outages[i];
    uint32_t at = o->next++ % SIM_OUTAGES;

    o->at[at].from_ns = s->now_ns;
    o->at[at].to_ns = s->now_ns + for_ns;
}

/* To where what covers this moment ends, or `at_ns`; else the next one begins at *next_ns. */
static uint64_t cover_ns(const struct sim_outages *o, uint64_t at_ns, uint64_t *next_ns)
{
    uint64_t to_ns = at_ns;

    for (int k = 0; k < SIM_OUTAGES; k++) {
        if (o->at[k].from_ns > at_ns) {
            *next_ns = MIN_OF(*next_ns, o->at[k].from_ns);
        } else {
            to_ns = MAX_OF(to_ns, o->at[k].to_ns);
        }
    }
    return to_ns;
}

/* Of the last seconds those in which a node and the head could not reach each other: the ways were
 * cut, or what the node tried last was lost by chance. */
static uint64_t outage_ns(const struct sim_cluster *s, int i)
{
    uint64_t at_ns = s->now_ns > WINDOW_NS ? s->now_ns - WINDOW_NS : 0, sum = 0;

    while (at_ns < s->now_ns) {
        uint64_t next_ns = s->now_ns;
        uint64_t cut_ns = cover_ns(&s->outages[i], at_ns, &next_ns);
        uint64_t missed_ns = cover_ns(sim_node_missed(s->nodes[i]), at_ns, &next_ns);
        uint64_t to_ns = MIN_OF(MAX_OF(cut_ns, missed_ns), s->now_ns);
        sum += to_ns - at_ns;
        at_ns = to_ns > at_ns ? to_ns : next_ns;
    }
    return sum;
}

bool sim_was_cut(const struct sim_cluster *s, uint64_t within_ns)
{
    for (int i = 0; i < SIM_NODES; i++) {
        for (int k = 0; k < SIM_OUTAGES; k++) {
            if (s->outages[i].at[k].to_ns + within_ns > s->now_ns &&
                s->outages[i].at[k].to_ns != 0) {
                return true;
            }
        }
    }
    return false;
}

void sim_weather(struct sim_cluster *s, uint64_t for_ns)
{
    s->faults.weather += for_ns > 0;
    s->weather_until_ns = for_ns == 0 ? 0 : s->now_ns + for_ns;
    set_network(s, for_ns > 0, s->black_until_ns != 0);
}

static void black_out(struct sim_cluster *s)
{
    s->faults.black_outs++;
    s->black_left--;
    s->black_until_ns = s->now_ns + BLACK_NS;
    s->black_at_ns = s->black_left > 0 ? s->now_ns + BLACK_EACH_NS : 0;
    for (int i = 0; i < SIM_NODES; i++) {
        note_outage(s, i, BLACK_NS);
    }
    set_network(s, false, true);
}

void sim_black_out(struct sim_cluster *s, uint64_t times)
{
    if (s->black_left == 0 && s->black_until_ns == 0) {
        s->black_left = times;
        black_out(s);
    }
}

void sim_kill_head(struct sim_cluster *s, uint64_t down_ns)
{
    if (sim_head_is_up(s->head)) {
        s->faults.head_kills++;
        sim_head_kill(s->head);
        s->head_start_ns = s->now_ns + down_ns;
    }
}

void sim_kill_node(struct sim_cluster *s, int i, uint64_t down_ns)
{
    if (sim_node_is_up(s->nodes[i])) {
        s->faults.node_kills++;
        sim_node_kill(s->nodes[i]);
        s->start_at_ns[i] = s->now_ns + down_ns;
    }
}

void sim_leave(struct sim_cluster *s, int i)
{
    s->faults.node_leaves++;
    s->leaving[i] = sim_node_number(s->nodes[i]);
    sim_node_leave(s->nodes[i]);
}

void sim_cut_head(struct sim_cluster *s, int i, bool to, bool from, uint64_t for_ns)
{
    if (s->heal_at_ns[i] > s->now_ns) {
        return; /* a longer one is not cut short */
    }
    s->faults.cuts++;
    s->faults.one_way_cuts += to != from;
    sim_node_cut(s->nodes[i], to, from);
    s->heal_at_ns[i] = s->now_ns + for_ns;
    note_outage(s, i, for_ns);
}

static void cut_pair(struct sim_cluster *s, int i, int k, bool to, bool from)
{
    sim_node_cut_peer(s->nodes[i], k, to, from);
    sim_node_cut_peer(s->nodes[k], i, from, to);
}

void sim_cut_peers(struct sim_cluster *s, int i, int k, bool to, bool from, uint64_t for_ns)
{
    uint64_t *heal_at_ns = &s->peer_heal_at_ns[MIN_OF(i, k)][MAX_OF(i, k)];

    if (*heal_at_ns > s->now_ns) {
        return;
    }
    s->faults.peer_cuts++;
    s->faults.one_way_peer_cuts += to != from;
    cut_pair(s, i, k, to, from);
    *heal_at_ns = s->now_ns + for_ns;
    s->world.strict = s->world.strict && for_ns <= 5 * NS_PER_S;
}

void sim_slow_disk(struct sim_cluster *s, uint64_t commit_max_ns, uint64_t for_ns)
{
    s->faults.slow_disks++;
    sim_head_set_disk(s->head, commit_max_ns);
    s->disk_until_ns = s->now_ns + for_ns;
}

void sim_cluster_heal(struct sim_cluster *s)
{
    for (int i = 0; i < SIM_NODES; i++) {
        sim_node_cut(s->nodes[i], false, false);
        s->heal_at_ns[i] = 0;
        for (int k = i + 1; k < SIM_NODES; k++) {
            cut_pair(s, i, k, false, false);
            s->peer_heal_at_ns[i][k] = 0;
        }
        sim_node_finish(s->nodes[i]);
    }
    sim_head_set_disk(s->head, NS_PER_MS);
    s->disk_until_ns = s->black_until_ns = s->black_at_ns = s->black_left = 0;
    sim_weather(s, 0);
}

/* ---- what is due ---- */

static bool is_due(uint64_t *at, uint64_t now_ns)
{
    if (*at == 0 || *at > now_ns) {
        return false;
    }
    *at = 0;
    return true;
}

static void events(struct sim_cluster *s)
{
    if (is_due(&s->black_until_ns, s->now_ns)) {
        set_network(s, s->weather_until_ns != 0, false);
    }
    if (is_due(&s->black_at_ns, s->now_ns)) {
        black_out(s);
    }
    if (is_due(&s->weather_until_ns, s->now_ns)) {
        set_network(s, false, s->black_until_ns != 0);
    }
    if (is_due(&s->disk_until_ns, s->now_ns)) {
        sim_head_set_disk(s->head, NS_PER_MS);
    }
    if (!sim_head_is_up(s->head) && s->head_start_ns <= s->now_ns) {
        sim_head_start(s->head, s->now_ns);
    }
    for (int i = 0; i < SIM_NODES; i++) {
        if (is_due(&s->heal_at_ns[i], s->now_ns)) {
            sim_node_cut(s->nodes[i], false, false);
        }
        for (int k = i + 1; k < SIM_NODES; k++) {
            if (is_due(&s->peer_heal_at_ns[i][k], s->now_ns)) {
                cut_pair(s, i, k, false, false);
            }
        }
        if (!sim_node_is_up(s->nodes[i]) && s->start_at_ns[i] <= s->now_ns) {
            sim_node_start(s->nodes[i], s->now_ns);
        }
    }
}

static uint64_t sooner(uint64_t next, uint64_t at) /* at 0: never */
{
    return at == 0 ? next : MIN_OF(next, at);
}

static uint64_t next_ns(struct sim_cluster *s)
{
    uint64_t next = mem_network_next_ns(s->network);

    next = sooner(next, s->weather_until_ns);
    next = sooner(next, s->black_until_ns);
    next = sooner(next, s->black_at_ns);
    next = sooner(next, s->disk_until_ns);
    next = MIN_OF(next, sim_head_is_up(s->head) ? sim_head_next_ns(s->head) : s->head_start_ns);
    for (int i = 0; i < SIM_NODES; i++) {
        next = sooner(next, s->heal_at_ns[i]);
        for (int k = i + 1; k < SIM_NODES; k++) {
            next = sooner(next, s->peer_heal_at_ns[i][k]);
        }
        if (!sim_node_is_up(s->nodes[i])) {
            next = MIN_OF(next, s->start_at_ns[i]);
        } else {
            next = sim_node_is_due(s->nodes[i], s->now_ns)
                       ? s->now_ns
                       : MIN_OF(next, sim_node_due_ns(s->nodes[i]));
        }
    }
    return next;
}

/* A node that the head calls lost while it lives: is that so by its leases? */
static void look(struct sim_cluster *s)
{
    uint64_t records = sim_head_count(s->head).records;

    if (!sim_head_is_up(s->head) || s->looked_records == records) {
        return; /* it has said nothing new */
    }
    s->looked_records = records;
    for (int i = 0; i < SIM_NODES; i++) {
        uint32_t number = sim_node_number(s->nodes[i]);
        const struct head_node_row *row = number == 0 ? NULL : sim_head_node(s->head, number);
        if (row == NULL || row->state != HEAD_NODE_LOST || sim_is_over(&s->world, number)) {
            continue;
        }
        if (outage_ns(s, i) <= HURT_NS && s->leaving[i] != number) {
            sim_breach(&s->world, "node %u is well (cut off for %.1f s lately) and declared dead",
                       number, (double)outage_ns(s, i) / 1e9);
        }
        s->world.strict = false;
        sim_life_ends(&s->world, number); /* for the others it is no more */
    }
}

void sim_cluster_step(struct sim_cluster *s, uint64_t limit_ns)
{
    s->now_ns = MIN_OF(MAX_OF(s->now_ns, next_ns(s)), MAX_OF(limit_ns, s->now_ns));
    s->world.now_ns = s->now_ns;
    s->steps++;
    (void)mem_network_advance(s->network, s->now_ns);
    sim_head_advance(s->head, s->now_ns);
    for (int i = 0; i < SIM_NODES; i++) {
        if (!sim_node_is_due(s->nodes[i], s->now_ns)) {
            continue;
        }
        sim_node_advance(s->nodes[i], s->now_ns);
        s->trace = (s->trace ^ s->now_ns ^ sim_node_strokes(s->nodes[i])) * 0x100000001b3ull;
        if (!sim_node_is_up(s->nodes[i])) { /* it ended by itself: its supervisor starts it */
            s->start_at_ns[i] = s->now_ns + RESTART_NS;
        }
    }
    sim_head_advance(s->head, s->now_ns);
    events(s);
    look(s);
}

/* ---- the whole ---- */

void sim_cluster_init(struct sim_cluster *s, const struct sim_options *o)
{
    static const char *const names[SIM_NODES] = {"box-1", "box-2", "box-3"};
    struct mem_network_options network = {
        .seed = o->seed, .delay_min_ns = 20000, .delay_max_ns = 200000};

    memset(s, 0, sizeof *s);
    rng_seed(&s->rng, o->seed);
    sim_world_init(&s->world, o->seed);
    s->world.strict = true;
    s->world.cycles = o->cycles;
    s->world.about = o->about;
    s->world.tells = o->tells;
    s->trace = 0xcbf29ce484222325ull;
    s->rules_off = o->rules_off;
    s->network = mem_network_new(&network);
    s->head = sim_head_new(s->network, &s->rng, 0);
    sim_head_set_probe(s->head, probe, s);
    sim_head_set_journal(s->head, (o->rules_off & SIM_RULE_JOURNAL_FIRST) == 0);
    for (int i = 0; i < SIM_NODES; i++) {
        struct sim_config config = {.name = names[i],
                                    .index = i,
                                    .cpus = (int)rng_between(&s->rng, 2, 4),
                                    .drivers = o->drivers,
                                    .fetch_fails = o->drivers == 0 ? 0 : 0.02,
                                    .core_off = o->core_off,
                                    .rules_off = o->rules_off,
                                    .network = s->network,
                                    .rng = &s->rng,
                                    .world = &s->world,
                                    .script = o->script,
                                    .script_arg = o->script_arg};
        s->nodes[i] = sim_node_new(&config, 0);
    }
}

void sim_cluster_fini(struct sim_cluster *s)
{
    for (int i = 0; i < SIM_NODES; i++) {
        sim_node_free(s->nodes[i]);
    }
    sim_head_free(s->head);
    mem_network_free(s->network);
    sim_world_fini(&s->world);
}

bool sim_cluster_is_drained(struct sim_cluster *s)
{
    bool all = sim_head_is_up(s->head);

    for (int i = 0; i < SIM_NODES && all; i++) {
        all = sim_node_is_drained(s->nodes[i]);
    }
    return all;
}

void sim_cluster_dismiss(struct sim_cluster *s)
{
    for (int i = 0; i < SIM_NODES; i++) {
        sim_node_dismiss(s->nodes[i]);
    }
}

bool sim_cluster_is_at_rest(struct sim_cluster *s)
{
    bool all = sim_head_is_up(s->head);

    for (int i = 0; i < SIM_NODES && all; i++) {
        all = sim_node_is_finished(s->nodes[i]);
    }
    return all;
}

static void check_job(uint64_t job, void *arg)
{
    struct sim_cluster *s = arg;

    if (!sim_head_knows_job(s->head, job)) {
        sim_breach(&s->world, "job %llu was acknowledged and the head does not know it",
                   (unsigned long long)job);
    }
}

void sim_cluster_check_jobs(struct sim_cluster *s)
{
    for (int i = 0; i < SIM_NODES; i++) {
        sim_node_each_job(s->nodes[i], check_job, s);
    }
}

void sim_cluster_report(struct sim_cluster *s)
{
    for (int i = 0; i < SIM_NODES; i++) {
        sim_node_report(s->nodes[i]);
    }
}
