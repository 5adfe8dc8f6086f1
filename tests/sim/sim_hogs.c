/*
 * Tasks that take "x" and keep it while their bodies wait for others that take it, too: on the same
 * node, on another, or for references that they were given. Some of them come to wait for one
 * another in circles.
 */
#include "sched/policy.h"
#include "tests/sim/sim_inside.h"

#include <stdio.h>

enum { NODES = 3, ANY = 2 * NODES, ANY_TWO, SPREAD, HOG_CLASSES };

static struct rng *dice(const struct sim_node *n)
{
    return n->config.rng;
}

uint32_t sim_hog_x(uint64_t payload)
{
    return payload & TAKES_XX ? 2 : payload & TAKES_X ? 1 : 0;
}

static uint32_t x_of(uint32_t kind)
{
    return kind < ANY ? 1 + kind % 2 : kind == ANY_TWO ? 2 : 1;
}

uint32_t sim_hog_declare(struct sim_node *n, struct rig_process *p)
{
    uint32_t first = 0;

    for (uint32_t kind = 0; kind < HOG_CLASSES; kind++) {
        char node[16];
        struct rig_class k = {.custom = "x", .custom_x10000 = (int)x_of(kind) * 10000};
        snprintf(node, sizeof node, "box-%u", kind / 2 + 1);
        k.node = kind < ANY ? node : NULL;
        k.strategy = kind < ANY       ? SCHED_NODE_SPECIFIC
                     : kind == SPREAD ? SCHED_SPREAD
                                      : SCHED_DEFAULT;
        uint32_t number = rig_class(n->rig, p, "hog", k);
        first = kind == 0 ? number : first;
    }
    return first;
}

uint32_t sim_hog_choose(struct sim_node *n, double waits, struct sim_wish *ret, uint64_t *ret_does)
{
    uint32_t kind =
        (uint32_t)rng_below(dice(n), rng_chance(dice(n), 0.8) ? (uint32_t)ANY : HOG_CLASSES);
    bool hogs = rng_chance(dice(n), waits), lasts = rng_chance(dice(n), 0.2);

    *ret = (struct sim_wish){.x = x_of(kind),
                             .nodes = kind < ANY ? 1u << kind / 2 : (1u << NODES) - 1,
                             .fixed = kind == SPREAD};
    *ret_does = (ret->x == 2 ? TAKES_XX : TAKES_X) | (hogs ? DOES_HOG : lasts ? TAKES_LONG : 0);
    n->config.world->counts.hogs++;
    return kind;
}

static void submit(struct sim_node *n, struct rig_process *w, struct sim_body *b)
{
    struct sim_wish wish;
    uint64_t does, word = rng_below(dice(n), 100);
    uint32_t kind = sim_hog_choose(n, 0.3, &wish, &does);
    struct rig_task t = {.class_number = b->hog_classes + kind,
                         .payload = word | does,
                         .parent_slot = 1 + claim_index(w->current.slot)};
    struct object_id id = rig_submit(n->rig, w, t);
    struct sim_fact *f = sim_fact_new(n->config.world, id, word, true);
    char text[ID_TEXT_SIZE];

    f->tries = 4;
    sim_watch(n->config.world, f, wish);
    sim_tell(n->config.world, id, "%s: worker %u submits it for %s", n->config.name, w->client,
             object_id_format(w->current.task, text));
    b->children[b->child_count++] = id;
    n->config.world->counts.tasks++;
}

void sim_hog_goes_on(struct sim_node *n, struct rig_process *w, struct sim_body *b)
{
    if (b->hog_classes == 0) {
        b->hog_classes = sim_hog_declare(n, w);
    }
    for (uint64_t i = rng_between(dice(n), 1, 2); i > 0; i--) {
        submit(n, w, b);
    }
    for (uint32_t i = 0; i < b->child_count; i++) {
        sim_ask(n, w, b->children[i], (struct sim_cover){.job = w->job});
    }
    n->config.world->counts.nested++;
    sim_body_blocks(n, w, b);
}
