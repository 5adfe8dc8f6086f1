/* Could any node ever? Asked once for each shape that the asking node itself cannot satisfy, so
 * nothing is kept: the nodes are looked at as they are now. */
#include "head/core_private.h"
#include "sched/policy.h"

static int64_t total_of(const struct head_node *node, const char *name)
{
    for (size_t i = 0; i < node->row.amount_count; i++) {
        if (strcmp(node->amounts[i].name, name) == 0) {
            return node->amounts[i].total_units;
        }
    }
    return 0;
}

/* What is asked, in the numbers of `names`. A name that no resource can have, or more kinds than a
 * set holds: refused with a sentence. */
static int read_asked(const struct cluster_feasible *msg, struct resource_names *names,
                      struct resource_set *ret, struct failure *f)
{
    for (size_t i = 0; i < msg->amount_count; i++) {
        const char *name = head_text(msg->amounts[i].name);
        uint32_t kind = 0;
        int r = resource_names_intern(names, name, &kind);
        if (r == 0) {
            r = resource_set_put(ret, kind, msg->amounts[i].total_units);
        }
        if (r != 0) {
            return failure_set(f, CODE_IMPOSSIBLE,
                               "No node satisfies \"%.64s\", which cannot be a resource, or more "
                               "than %u resources "
                               "are asked for. Ask for others.",
                               name, RESOURCES_MAX);
        }
    }
    return 0;
}

/* Only what is asked for matters. */
static struct resource_set *read_totals(struct head_core *core, const struct head_node *node,
                                        const struct resource_set *asked,
                                        const struct resource_names *names)
{
    struct resource_set *totals = arena_alloc(&core->turn, sizeof *totals);
    totals->count = asked->count;
    for (uint32_t i = 0; i < asked->count; i++) {
        uint32_t kind = asked->amounts[i].kind;
        totals->amounts[i] =
            (struct resource_amount){kind, total_of(node, resource_name(names, kind))};
    }
    return totals;
}

static void answer(struct head_core *core, const struct head_node *asker,
                   const struct cluster_feasible *msg, struct resource_names *names,
                   struct failure *f)
{
    struct resource_set asked = {0};
    struct sched_request request = {.asked = &asked,
                                    .strategy = (enum sched_strategy)msg->strategy,
                                    .soft = msg->soft,
                                    .node = head_text(msg->node),
                                    .labels = head_text(msg->labels)};
    struct sched_node *nodes = arena_alloc(&core->turn, (core->alive_count + 1) * sizeof *nodes);
    size_t count = 0;
    if (read_asked(msg, names, &asked, f) != 0) {
        return;
    }
    LIST_FOREACH(at, &core->alive)
    {
        const struct head_node *node = list_entry(at, struct head_node, listed);
        const struct resource_set *totals = read_totals(core, node, &asked, names);
        nodes[count++] = (struct sched_node){.number = node->row.number,
                                             .name = node->row.name,
                                             .address = node->row.address,
                                             .labels = node->row.labels,
                                             .total = totals,
                                             .available = totals,
                                             .self = node == asker,
                                             .closed = node->is_private || node->leaving};
    }
    (void)sched_impossible(nodes, count, &request, names, f);
}

void head_feasible(struct head_core *core, struct head_node *node,
                   const struct cluster_feasible *msg)
{
    struct cluster_msg reply = {.type = CLUSTER_FEASIBLE_ANSWER,
                                .feasible_answer.request = msg->request};
    struct resource_names names;
    resource_names_init(&names);
    answer(core, node, msg, &names, &reply.feasible_answer.failure);
    resource_names_fini(&names);
    head_send(core, node->link, &reply);
}
