#include "tests/unit/head/rig.h"

#include "common/rng.h"

/*
 * Peers and tools that keep no rule: any message at any time on any link, numbers of others, links
 * and tools that are gone. After each step the core's tables agree, and whatever it says can be
 * read.
 */

#define STEPS 4000
#define SEEDS 15
#define LINKS 12
#define TOOLS 6

struct world {
    struct rig rig;
    struct rng rng;
    uint64_t links[LINKS], last_link; /* 0: none */
    uint32_t tools[TOOLS], last_tool;
};

static const char *const NAMES[] = {"",      "box-1", "box-2",      "box-3", "1",
                                    "last",  "../x",  "10.0.0.6:1", "a\nb",  "2-7.2231",
                                    "1-1.1", "alive", "lost"};

static const char *any_name(struct world *w)
{
    return NAMES[rng_below(&w->rng, ARRAY_SIZE(NAMES))];
}

static uint64_t any_number(struct world *w)
{
    return rng_chance(&w->rng, 0.1) ? rng_next(&w->rng) : rng_below(&w->rng, 8);
}

static struct state_query any_query(struct world *w)
{
    return (struct state_query){.kind = (uint32_t)rng_below(&w->rng, 12),
                                .limit = (uint32_t)any_number(w),
                                .id = any_name(w),
                                .node = rng_chance(&w->rng, 0.7) ? "" : any_name(w),
                                .state = rng_chance(&w->rng, 0.7) ? "" : any_name(w),
                                .job = rng_chance(&w->rng, 0.7) ? 0 : any_number(w)};
}

static struct cluster_join any_join(struct world *w, const struct cluster_amount *amounts,
                                    const uint64_t *jobs)
{
    return (struct cluster_join){
        .protocol = rng_chance(&w->rng, 0.05) ? 7 : CLUSTER_PROTOCOL_VERSION,
        .number = rng_chance(&w->rng, 0.5) ? 0 : (uint32_t)any_number(w),
        .supersedes = rng_chance(&w->rng, 0.5) ? 0 : (uint32_t)any_number(w),
        .name = NAMES[1 + rng_below(&w->rng, 3)],
        .host = "box",
        .address = any_name(w),
        .public_key = "key",
        .pid = (uint32_t)rng_below(&w->rng, 3),
        .amounts = amounts,
        .amount_count = rng_below(&w->rng, 8) == 0 ? 3 : rng_below(&w->rng, 3),
        .labels = any_name(w),
        .jobs = jobs,
        .job_count = rng_below(&w->rng, 4),
        .closed = rng_chance(&w->rng, 0.2),
        .leaving = rng_chance(&w->rng, 0.1)};
}

static struct state_reply any_reply(struct world *w, const struct state_task *tasks)
{
    struct state_reply reply = {
        .last = rng_chance(&w->rng, 0.5), .tasks = tasks, .task_count = rng_below(&w->rng, 3)};
    if (rng_chance(&w->rng, 0.3)) {
        failure_set(&reply.failure, rng_chance(&w->rng, 0.5) ? CODE_NOT_FOUND : CODE_FAILED, "no");
    }
    return reply;
}

static void any_cluster(struct world *w, uint64_t link)
{
    static const struct state_task tasks[2];
    struct cluster_amount amounts[] = {{"CPU", 10000, 5000}, {"GPU", 0, -5}, {"", 1, 1}};
    uint64_t jobs[] = {any_number(w), any_number(w), any_number(w)};
    struct cluster_msg m = {.type = (enum cluster_type)(CLUSTER_JOIN + rng_below(&w->rng, 17))};
    switch (m.type) {
    case CLUSTER_JOIN:
        m.join = any_join(w, amounts, jobs);
        break;
    case CLUSTER_RENEW:
        m.renew = (struct cluster_renew){.sent_ns = any_number(w) * NS_PER_S,
                                         .answered_ns = any_number(w) * NS_PER_S,
                                         .amounts = amounts,
                                         .amount_count = 3};
        break;
    case CLUSTER_JOB_NEW:
        m.job_new = (struct cluster_job_new){.key = any_number(w), .name = any_name(w)};
        break;
    case CLUSTER_JOB_END:
        m.job_end =
            (struct cluster_job_end){.job = any_number(w), .state = (uint32_t)any_number(w)};
        break;
    case CLUSTER_FEASIBLE:
        m.feasible = (struct cluster_feasible){
            .amounts = amounts, .amount_count = 3, .node = any_name(w), .labels = any_name(w)};
        break;
    case CLUSTER_QUERY:
        m.query = (struct cluster_query){.request = any_number(w), .query = any_query(w)};
        break;
    case CLUSTER_REPLY:
        m.reply = (struct cluster_reply){.request = any_number(w), .reply = any_reply(w, tasks)};
        break;
    default:
        break; /* what only the head says, DRAIN and LEAVE */
    }
    rig_event(&w->rig, &(struct head_event){.kind = rng_chance(&w->rng, 0.9) ? HEAD_EVENT_MESSAGE
                                                                             : HEAD_EVENT_DATAGRAM,
                                            .link = link,
                                            .cluster = &m});
}

static void any_local(struct world *w, uint32_t tool)
{
    struct local_msg m = {.type = (enum local_type)(LOCAL_OPEN + rng_below(&w->rng, 21))};
    if (rng_chance(&w->rng, 0.7)) {
        m.type = LOCAL_QUERY;
    }
    if (m.type == LOCAL_OPEN) {
        m.open = (struct local_open){.protocol = LOCAL_PROTOCOL_VERSION, .role = ROLE_TOOL};
    } else if (m.type == LOCAL_QUERY) {
        m.query = (struct local_query){.request = any_number(w), .query = any_query(w)};
    }
    rig_event(&w->rig,
              &(struct head_event){.kind = HEAD_EVENT_TOOL_MESSAGE, .tool = tool, .local = &m});
}

static void link_step(struct world *w)
{
    static const enum peer_role roles[] = {PEER_NODE, PEER_NODE, PEER_NODE, PEER_CLIENT,
                                           PEER_READER};
    uint64_t *link = &w->links[rng_below(&w->rng, LINKS)];
    struct head_event event = {.link = *link};
    if (*link == 0) {
        event.kind = HEAD_EVENT_LINK_UP;
        event.link = *link = ++w->last_link;
        event.role = roles[rng_below(&w->rng, ARRAY_SIZE(roles))];
        rig_event(&w->rig, &event);
    } else if (rng_chance(&w->rng, 0.9)) {
        any_cluster(w, *link);
    } else if (rng_chance(&w->rng, 0.5)) {
        event.kind = HEAD_EVENT_LINK_CUT;
        rig_event(&w->rig, &event);
    } else {
        event.kind = HEAD_EVENT_LINK_DOWN;
        rig_event(&w->rig, &event);
        *link = 0;
    }
}

static void tool_step(struct world *w)
{
    uint32_t *tool = &w->tools[rng_below(&w->rng, TOOLS)];
    if (*tool == 0) {
        *tool = ++w->last_tool;
        rig_event(&w->rig, &(struct head_event){.kind = HEAD_EVENT_TOOL_UP, .tool = *tool});
    } else if (rng_chance(&w->rng, 0.9)) {
        any_local(w, *tool);
    } else {
        rig_event(&w->rig, &(struct head_event){.kind = HEAD_EVENT_TOOL_DOWN, .tool = *tool});
        *tool = 0;
    }
}

static void run(struct world *w, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    rig_init(&w->rig);
    rng_seed(&w->rng, seed);
    w->rig.commits = rng_chance(&w->rng, 0.5);
    for (size_t i = 0; i < STEPS; i++) {
        rig_stall(&w->rig, rng_below(&w->rng, 300) * NS_PER_MS);
        if (rng_chance(&w->rng, 0.7)) {
            link_step(w);
        } else {
            tool_step(w);
        }
        if (rng_chance(&w->rng, 0.1)) {
            rig_commit(&w->rig);
        }
        if (rng_chance(&w->rng, 0.1)) {
            rig_probed(&w->rig, (uint32_t)any_number(w),
                       (enum head_probe)(1 + rng_below(&w->rng, 3)));
        }
        rig_forget(&w->rig);
        if (rng_chance(&w->rng, 0.003)) {
            rig_restart(&w->rig, rng_below(&w->rng, 12) * NS_PER_S);
            memset(w->links, 0, sizeof w->links);
            memset(w->tools, 0, sizeof w->tools);
        }
    }
    rig_fini(&w->rig);
}

static void test_whatever_they_say(void **state)
{
    static struct world w;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        print_message("seed %d\n", (int)seed);
        run(&w, seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_whatever_they_say)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
