#include "tests/unit/head/rig.h"

#include "common/rng.h"

/*
 * A head among nodes that come, go, are cut off and start again, over datagrams that are lost, with
 * a journal that commits late and a head that is killed in between. Whatever the order: what was
 * acknowledged is there, numbers are given once, nobody whose own lease still runs is declared
 * dead, and what the nodes were told of each other is what the head knows.
 */

#define NODES 6
#define JOBS  64 /* keys of one life of a node */
#define STEPS 1500
#define SEEDS 20
#define VIEW  1024 /* numbers */

struct model_row { /* of another node, as it was told */
    bool known, closed;
    int64_t free_units;
};

struct model_node {
    char name[16];
    uint32_t life; /* of its process; its pid */
    bool runs;
    uint32_t number, former; /* 0: none yet */
    uint64_t link;           /* 0: not connected */
    bool joined;             /* in this session */
    uint64_t cut_until_ns;   /* nothing passes, either way */
    uint64_t renew_at_ns;
    uint64_t answered_ns; /* sent_ns of the last RENEWED seen */
    uint64_t lease_until_ns;
    uint32_t keys;       /* used so far */
    uint64_t jobs[JOBS]; /* acknowledged numbers by key */
    bool ended[JOBS];    /* acknowledged */
    bool is_private, leaving;
    bool misses; /* something of the view was lost with a cut: until the next whole one */
    struct model_row view[VIEW];
};

struct world {
    struct rig rig;
    struct rng rng;
    struct model_node nodes[NODES];
    uint64_t links;
    uint32_t numbers; /* the highest that was given */
    size_t restarts, losses, joins, acknowledged, rows, compared;
};

static bool is_cut(const struct world *w, const struct model_node *n)
{
    return w->rig.time.now_ns < n->cut_until_ns;
}

static struct model_node *by_link(struct world *w, uint64_t link)
{
    for (size_t i = 0; i < NODES; i++) {
        if (w->nodes[i].link == link) {
            return &w->nodes[i];
        }
    }
    return NULL;
}

static void process_ends(struct model_node *n)
{
    n->runs = false;
    n->link = 0;
    n->joined = false;
    n->former = n->number;
}

static void process_starts(struct world *w, struct model_node *n)
{
    n->runs = true;
    n->life++;
    n->number = 0;
    n->answered_ns = n->lease_until_ns = 0;
    n->is_private = rng_chance(&w->rng, 0.2);
    n->leaving = false;
    n->misses = true;
    n->keys = 0;
    memset(n->jobs, 0, sizeof n->jobs);
    memset(n->ended, 0, sizeof n->ended);
    n->renew_at_ns = w->rig.time.now_ns;
}

/* ---- what nodes do ---- */

static void connect_node(struct world *w, struct model_node *n)
{
    struct cluster_amount cpu = {"CPU", 10000, 10000};
    uint64_t running[JOBS];
    size_t count = 0;
    for (uint32_t key = 0; key < n->keys; key++) {
        if (n->jobs[key] != 0 && !n->ended[key]) {
            running[count++] = n->jobs[key];
        }
    }
    struct cluster_msg msg = {.type = CLUSTER_JOIN,
                              .join = {.protocol = CLUSTER_PROTOCOL_VERSION,
                                       .number = n->number,
                                       .supersedes = n->number != 0 ? 0 : n->former,
                                       .name = n->name,
                                       .host = "box",
                                       .address = "10.0.0.6:7421",
                                       .public_key = n->name,
                                       .pid = n->life,
                                       .amounts = &cpu,
                                       .amount_count = 1,
                                       .jobs = running,
                                       .job_count = count,
                                       .closed = n->is_private,
                                       .leaving = n->leaving}};
    n->link = ++w->links;
    n->joined = false;
    rig_link_up(&w->rig, n->link);
    rig_cluster(&w->rig, n->link, &msg);
}

static void renew(struct world *w, struct model_node *n)
{
    struct cluster_amount cpu = {"CPU", 10000, (int64_t)rng_below(&w->rng, 3) * 5000};
    struct cluster_msg msg = {.type = CLUSTER_RENEW,
                              .renew = {.sent_ns = w->rig.time.boot_ns,
                                        .answered_ns = n->answered_ns,
                                        .amounts = &cpu,
                                        .amount_count = 1}};
    n->renew_at_ns = w->rig.time.now_ns + NS_PER_S;
    size_t times = rng_chance(&w->rng, 0.2) ? 0 : 1 + rng_below(&w->rng, 2);
    for (size_t i = 0; i < times; i++) {
        rig_event(&w->rig, &(struct head_event){
                               .kind = HEAD_EVENT_DATAGRAM, .link = n->link, .cluster = &msg});
    }
}

static void job_step(struct world *w, struct model_node *n)
{
    bool is_old = n->keys != 0 && (n->keys == JOBS || rng_chance(&w->rng, 0.4));
    uint32_t key = is_old ? (uint32_t)rng_below(&w->rng, n->keys) : n->keys++;
    if (n->jobs[key] != 0 && rng_chance(&w->rng, 0.5)) {
        struct cluster_msg msg = {.type = CLUSTER_JOB_END,
                                  .job_end = {.job = n->jobs[key], .state = JOB_DONE}};
        rig_cluster(&w->rig, n->link, &msg);
    } else {
        rig_job_new(&w->rig, n->link, key);
    }
}

/* ---- what nodes hear ---- */

static void hear_view(struct world *w, struct model_node *n, const struct cluster_view *view)
{
    if (view->whole) {
        memset(n->view, 0, sizeof n->view);
        n->misses = false;
    }
    for (size_t i = 0; i < view->node_count && !n->misses; i++) {
        const struct cluster_view_node *row = &view->nodes[i];
        assert_true(row->number < VIEW);
        struct model_row *mine = &n->view[row->number];
        /* Texts come with the first row of a node. */
        assert_true(mine->known || row->state != NODE_ALIVE || *row->name != '\0');
        assert_true(*row->name == '\0' || *row->public_key != '\0');
        *mine = (struct model_row){.known = row->state == NODE_ALIVE,
                                   .closed = row->closed,
                                   .free_units = row->amounts[0].available_units};
        w->rows++;
    }
}

static void hear(struct world *w, struct model_node *n, const struct cluster_msg *msg)
{
    switch (msg->type) {
    case CLUSTER_JOINED:
        assert_true(n->number == 0 || n->number == msg->joined.number);
        if (n->number == 0 && msg->joined.number > w->numbers) {
            w->numbers = msg->joined.number;
        } else if (n->number == 0) {
            /* Given before, and the answer was lost: to this very process. */
            assert_int_equal(head_core_node(w->rig.core, msg->joined.number)->pid, n->life);
        }
        n->number = msg->joined.number;
        n->joined = true;
        w->joins++;
        return;
    case CLUSTER_REFUSED:
        process_ends(n);
        return;
    case CLUSTER_VIEW:
        hear_view(w, n, &msg->view);
        return;
    case CLUSTER_RENEWED:
        if (rng_chance(&w->rng, 0.8) && msg->renewed.sent_ns > n->answered_ns) {
            n->answered_ns = msg->renewed.sent_ns;
            n->lease_until_ns = msg->renewed.sent_ns + HEAD_LEASE_NS;
        }
        return;
    case CLUSTER_JOB_ADDED: {
        uint64_t *job = &n->jobs[msg->job_added.key];
        assert_true(*job == 0 || *job == msg->job_added.job);
        w->acknowledged += *job == 0;
        *job = msg->job_added.job;
        return;
    }
    case CLUSTER_JOB_ENDED:
        for (uint32_t key = 0; key < n->keys; key++) {
            n->ended[key] = n->ended[key] || n->jobs[key] == msg->job_ended.job;
        }
        return;
    default:
        return;
    }
}

static void deliver(struct world *w)
{
    /* Answers to probes make more messages behind these. */
    for (size_t i = 0; i < w->rig.sent_count; i++) {
        const struct rig_sent *sent = &w->rig.sent[i];
        if (sent->kind == HEAD_EFFECT_PROBE) {
            const struct head_node_row *row = head_core_node(w->rig.core, sent->node);
            enum head_probe probe = HEAD_PROBE_SILENT;
            for (size_t k = 0; k < NODES; k++) {
                struct model_node *n = &w->nodes[k];
                bool is_it = strcmp(n->name, row->name) == 0;
                if (is_it && !is_cut(w, n)) {
                    probe = n->runs ? HEAD_PROBE_ALIVE : HEAD_PROBE_REFUSED;
                }
            }
            rig_probed(&w->rig, sent->node, probe);
            continue;
        }
        struct model_node *n = by_link(w, sent->link);
        bool is_message = sent->kind == HEAD_EFFECT_SEND || sent->kind == HEAD_EFFECT_DATAGRAM;
        if (n == NULL || n->link == 0) {
            continue;
        }
        if (is_message && !is_cut(w, n)) {
            hear(w, n, &sent->cluster);
        } else if (is_message) {
            n->misses = true;
        } else if (sent->kind == HEAD_EFFECT_DROP) {
            n->link = 0;
        }
    }
    rig_forget(&w->rig);
}

/* ---- properties ---- */

static void check_jobs(struct world *w, const struct model_node *n)
{
    for (uint32_t key = 0; key < n->keys; key++) {
        if (n->jobs[key] == 0) {
            continue;
        }
        const struct head_job_row *job = head_core_job(w->rig.core, n->jobs[key]);
        assert_non_null(job); /* accepted is on disk */
        assert_int_equal(job->key, key);
        assert_int_equal(job->node, n->number);
        if (n->ended[key]) {
            assert_int_not_equal(job->state, HEAD_JOB_RUNNING);
        }
    }
}

static void check(struct world *w)
{
    for (size_t i = 0; i < NODES; i++) {
        const struct model_node *n = &w->nodes[i];
        check_jobs(w, n);
        if (!n->runs || n->number == 0) {
            continue;
        }
        const struct head_node_row *row = head_core_node(w->rig.core, n->number);
        assert_non_null(row);
        if (row->state != HEAD_NODE_ALIVE) {
            assert_true(n->lease_until_ns < w->rig.time.boot_ns);
            w->losses++;
        }
    }
}

/* When nothing has happened for a while, all have heard what the head knows. */
static void check_views(struct world *w)
{
    w->rig.commits = true;
    rig_commit(&w->rig);
    for (int i = 0; i < 30; i++) {
        rig_pass(&w->rig, 100 * NS_PER_MS, 0, 0);
        deliver(w);
    }
    rig_tool(&w->rig, 1);
    rig_ask(&w->rig, 1, 1, &(struct state_query){.kind = STATE_NODES, .limit = NODES});
    const struct state_reply *reply = &rig_take_local(&w->rig, 1, LOCAL_REPLY)->reply.reply;
    for (size_t i = 0; i < NODES; i++) {
        const struct model_node *n = &w->nodes[i];
        size_t known = 0, alive = 0;
        if (n->link == 0 || !n->joined || n->misses) {
            continue;
        }
        w->compared++;
        for (size_t k = 0; k < reply->node_count; k++) {
            const struct state_node *row = &reply->nodes[k];
            const struct model_row *told = &n->view[row->number];
            bool is_alive = strcmp(row->state, "lost") != 0 && strcmp(row->state, "left") != 0;
            alive += is_alive;
            if (!is_alive || row->number == n->number) {
                continue;
            }
            assert_true(told->known);
            for (size_t j = 0; j < NODES; j++) {
                const struct model_node *other = &w->nodes[j];
                bool is_it = other->number == row->number && other->link != 0 && other->joined;
                assert_true(!is_it || told->closed == (other->is_private || other->leaving));
            }
            assert_int_equal(told->free_units, row->amounts[0].available_units);
        }
        for (size_t k = 0; k < VIEW; k++) {
            known += n->view[k].known;
        }
        assert_int_equal(known, alive);
    }
}

/* ---- a run ---- */

static void node_step(struct world *w, struct model_node *n)
{
    if (!n->runs) {
        if (rng_chance(&w->rng, 0.1)) {
            process_starts(w, n);
        }
        return;
    }
    if (rng_chance(&w->rng, 0.004)) {
        uint64_t link = n->link;
        process_ends(n);
        if (link != 0) {
            rig_link_down(&w->rig, link);
        }
        return;
    }
    if (rng_chance(&w->rng, 0.01)) {
        n->cut_until_ns = w->rig.time.now_ns + rng_below(&w->rng, 30) * NS_PER_S;
    }
    if (is_cut(w, n)) {
        return;
    }
    if (n->link == 0) {
        if (rng_chance(&w->rng, 0.5)) {
            connect_node(w, n);
        }
        return;
    }
    if (rng_chance(&w->rng, 0.02)) {
        uint64_t link = n->link;
        n->link = 0;
        rig_link_down(&w->rig, link);
        return;
    }
    if (n->joined && w->rig.time.now_ns >= n->renew_at_ns) {
        renew(w, n);
    }
    if (n->joined && rng_chance(&w->rng, 0.3)) {
        job_step(w, n);
    }
    if (n->joined && rng_chance(&w->rng, 0.005)) {
        struct cluster_msg msg = {.type = CLUSTER_DRAIN};
        n->leaving = true;
        rig_cluster(&w->rig, n->link, &msg);
    }
}

static void restart_head(struct world *w)
{
    rig_restart(&w->rig, rng_below(&w->rng, 20) * NS_PER_S);
    for (size_t i = 0; i < NODES; i++) {
        w->nodes[i].link = 0;
        w->nodes[i].joined = false;
    }
    w->restarts++;
}

static void run(uint64_t seed, struct world *w)
{
    memset(w, 0, sizeof *w);
    rig_init(&w->rig);
    rng_seed(&w->rng, seed);
    w->rig.commits = false;
    for (size_t i = 0; i < NODES; i++) {
        snprintf(w->nodes[i].name, sizeof w->nodes[i].name, "box-%zu", i + 1);
    }
    for (size_t i = 0; i < STEPS; i++) {
        rig_stall(&w->rig, rng_between(&w->rng, 50, 400) * NS_PER_MS);
        rig_event(&w->rig, NULL);
        for (size_t k = 0; k < NODES; k++) {
            node_step(w, &w->nodes[k]);
        }
        if (rng_chance(&w->rng, 0.6)) {
            rig_commit(&w->rig);
        }
        deliver(w);
        check(w);
        if (rng_chance(&w->rng, 0.005)) {
            restart_head(w);
            check(w);
        }
    }
    check_views(w);
    rig_fini(&w->rig);
}

static void test_random_lives(void **state)
{
    static struct world w;
    size_t restarts = 0, losses = 0, joins = 0, acknowledged = 0, rows = 0, compared = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        print_message("seed %d\n", (int)seed); /* the one that failed is the last */
        run(seed, &w);
        restarts += w.restarts;
        losses += w.losses;
        joins += w.joins;
        acknowledged += w.acknowledged;
        rows += w.rows;
        compared += w.compared;
    }
    print_message("%zu restarts, %zu joins, %zu jobs, lost seen %zu times, %zu rows\n", restarts,
                  joins, acknowledged, losses, rows);
    assert_true(rows > 1000 * SEEDS && compared > SEEDS);
    assert_true(restarts > SEEDS && losses > 0 && joins > 10 * SEEDS && acknowledged > 1000);
}

static void test_same_seed_same_run(void **state)
{
    static struct world a, b;
    run(42, &a);
    run(42, &b);
    assert_int_equal(a.acknowledged, b.acknowledged);
    assert_int_equal(a.joins, b.joins);
    assert_int_equal(a.links, b.links);
    assert_int_equal(a.numbers, b.numbers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_lives),
        cmocka_unit_test(test_same_seed_same_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
