#include "sched/policy.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/hostport.h"

#define BEST_FEW  3u
#define FULL_LOAD 10000.0

/* ---- who may ---- */

bool sched_is_named(const struct sched_node *n, const char *text)
{
    char number[16];
    snprintf(number, sizeof number, "%" PRIu32, n->number);
    return strcmp(text, n->name) == 0 || strcmp(text, number) == 0 ||
           (strchr(text, ':') != NULL && hostport_same(text, n->address));
}

bool sched_has_labels(const char *labels, const char *wanted)
{
    while (*wanted != '\0') {
        size_t size = strcspn(wanted, ",");
        bool found = size == 0;
        for (const char *at = labels; !found && *at != '\0';) {
            size_t other = strcspn(at, ",");
            found = other == size && memcmp(at, wanted, size) == 0;
            at += other + (at[other] == ',');
        }
        if (!found) {
            return false;
        }
        wanted += size + (wanted[size] == ',');
    }
    return true;
}

static enum sched_verdict judge_wish(const struct sched_node *n, const struct sched_request *r)
{
    if (*r->node != '\0' && !sched_is_named(n, r->node)) {
        return SCHED_NOT_NAMED;
    }
    return sched_has_labels(n->labels, r->labels) ? SCHED_FITS : SCHED_NOT_LABELLED;
}

enum sched_verdict sched_judge(const struct sched_node *n, const struct sched_request *r)
{
    enum sched_verdict wish = r->soft ? SCHED_FITS : judge_wish(n, r);
    if (wish != SCHED_FITS) {
        return wish;
    }
    if (!resource_set_covers(n->total, r->asked)) {
        return SCHED_TOO_SMALL;
    }
    return n->closed && !n->self ? SCHED_CLOSED : SCHED_FITS;
}

size_t sched_candidates(const struct sched_node *nodes, size_t count, const struct sched_request *r,
                        uint32_t *ret)
{
    size_t found = 0;
    bool is_granted = false; /* a soft wish, by one of those in `ret` */
    for (size_t i = 0; i < count; i++) {
        if (sched_judge(&nodes[i], r) != SCHED_FITS) {
            continue;
        }
        bool fulfils = !r->soft || judge_wish(&nodes[i], r) == SCHED_FITS;
        if (fulfils && !is_granted) {
            is_granted = true;
            found = 0;
        }
        if (fulfils || !is_granted) {
            ret[found++] = (uint32_t)i;
        }
    }
    return found;
}

/* ---- how full ---- */

uint32_t sched_room(const struct sched_node *n, const struct resource_set *asked)
{
    uint64_t room = UINT64_MAX;
    for (uint32_t i = 0; i < asked->count; i++) {
        int64_t units = asked->amounts[i].units;
        if (units > 0) {
            int64_t free_units = resource_set_get(n->available, asked->amounts[i].kind);
            room = MIN_OF(room, (uint64_t)(MAX_OF(free_units, (int64_t)0) / units));
        }
    }
    if (room == UINT64_MAX) {
        return UINT32_MAX;
    }
    room -= MIN_OF(room, n->sent);
    return (uint32_t)MIN_OF(room, (uint64_t)UINT32_MAX - 1);
}

/* What one resource is used, of FULL_LOAD, and what one more task of the request adds to it. */
static void load_of(const struct sched_node *n, uint32_t kind, int64_t asked, double *used,
                    double *step)
{
    double total = (double)resource_set_get(n->total, kind);
    if (total <= 0) {
        return;
    }
    double taken = total - (double)resource_set_get(n->available, kind);
    double each = (double)asked / total * FULL_LOAD;
    double load = taken / total * FULL_LOAD + (double)n->sent * each;
    *used = MAX_OF(*used, load);
    *step = MAX_OF(*step, each);
}

uint64_t sched_load(const struct sched_node *n, const struct resource_set *asked)
{
    double used = 0, step = 0;
    load_of(n, RESOURCE_CPU, resource_set_get(asked, RESOURCE_CPU), &used, &step);
    load_of(n, RESOURCE_MEMORY, resource_set_get(asked, RESOURCE_MEMORY), &used, &step);
    for (uint32_t i = 0; i < asked->count; i++) {
        load_of(n, asked->amounts[i].kind, asked->amounts[i].units, &used, &step);
    }
    double queue = (double)n->waiting;
    if (step == 0) {
        /* It asks for nothing that is counted: how many tasks are there is all that tells. */
        double cpus = resource_amount_of(resource_set_get(n->total, RESOURCE_CPU));
        step = FULL_LOAD / MAX_OF(cpus, 1.0);
        queue += (double)n->running + (double)n->sent;
    }
    double load = used + queue * step;
    return load < (double)INT64_MAX ? (uint64_t)load : (uint64_t)INT64_MAX;
}

/* ---- one task ---- */

int sched_spread(const struct sched_node *nodes, const uint32_t *candidates, size_t count,
                 struct rng *rng)
{
    int best = -1;
    uint64_t equal = 0;
    for (size_t i = 0; i < count; i++) {
        const struct sched_node *n = &nodes[candidates[i]];
        if (best < 0 || n->assigned < nodes[best].assigned) {
            best = (int)candidates[i];
            equal = 1;
        } else if (n->assigned == nodes[best].assigned && rng_below(rng, ++equal) == 0) {
            best = (int)candidates[i];
        }
    }
    return best;
}

int sched_least_loaded(const struct sched_node *nodes, const uint32_t *candidates, size_t count,
                       const struct resource_set *asked, struct rng *rng)
{
    int best = -1;
    uint64_t least = UINT64_MAX, equal = 0;
    for (size_t i = 0; i < count; i++) {
        const struct sched_node *n = &nodes[candidates[i]];
        if (sched_room(n, asked) == 0) {
            continue;
        }
        uint64_t load = sched_load(n, asked);
        if (load > least) {
            continue;
        }
        if (load < least) {
            least = load;
            equal = 0;
        }
        equal++;
        bool is_better = equal == 1 || n->self;
        if (is_better || (!nodes[best].self && rng_below(rng, equal) == 0)) {
            best = (int)candidates[i];
        }
    }
    return best;
}

/* ---- whom to ask ---- */

struct choice {
    uint32_t at; /* in candidates */
    uint64_t load;
    bool has_room;
};

static bool is_before(const struct choice *a, const struct choice *b)
{
    return a->has_room != b->has_room ? a->has_room : a->load < b->load;
}

/* The best few that were not chosen yet, best first; none without room beside one with room. */
static size_t best_few(const struct sched_node *nodes, const uint32_t *candidates, size_t count,
                       const struct resource_set *asked, const uint32_t *wanted,
                       struct choice few[BEST_FEW])
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        const struct sched_node *n = &nodes[candidates[i]];
        if (n->self || n->closed || wanted[i] != 0) {
            continue;
        }
        struct choice mine = {(uint32_t)i, sched_load(n, asked), sched_room(n, asked) != 0};
        size_t at = found;
        while (at > 0 && is_before(&mine, &few[at - 1])) {
            at--;
        }
        if (at == BEST_FEW) {
            continue;
        }
        found = MIN_OF(found + 1, (size_t)BEST_FEW);
        memmove(&few[at + 1], &few[at], (found - at - 1) * sizeof few[0]);
        few[at] = mine;
    }
    while (found > 1 && few[0].has_room && !few[found - 1].has_room) {
        found--;
    }
    return found;
}

void sched_ask(const struct sched_node *nodes, const uint32_t *candidates, size_t count,
               const struct resource_set *asked, uint64_t waiting, uint32_t most, struct rng *rng,
               uint32_t *wanted)
{
    struct choice few[BEST_FEW];
    uint64_t covered = 0;
    uint32_t each = (uint32_t)MIN_OF(waiting, (uint64_t)UINT32_MAX);
    memset(wanted, 0, count * sizeof *wanted);
    for (uint32_t chosen = 0; each != 0 && chosen < most; chosen++) {
        if (covered / 2 >= each) { /* never by one node alone */
            return;
        }
        size_t found = best_few(nodes, candidates, count, asked, wanted, few);
        if (found == 0) {
            return;
        }
        const struct choice *mine = &few[rng_below(rng, found)];
        uint32_t room = sched_room(&nodes[candidates[mine->at]], asked);
        covered += MIN_OF(room, each);
        wanted[mine->at] = each;
    }
}
