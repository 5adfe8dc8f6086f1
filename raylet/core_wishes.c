#include "raylet/core_wishes.h"

#include "raylet/core_peers.h"

#include <stdio.h>

struct shape *shape_use(struct raylet_core *c, const struct resource_set *asked)
{
    size_t size = offsetof(struct resource_set, amounts) + asked->count * sizeof asked->amounts[0];
    struct shape *s;

    HASH_FIND(hh, c->shapes, asked, size, s);
    if (s == NULL) {
        s = xcalloc(1, sizeof *s);
        s->asked = *asked;
        resource_set_use(&c->resources, &s->asked);
        HASH_ADD_KEYPTR(hh, c->shapes, &s->asked, size, s);
    }
    s->refs++;
    return s;
}

void shape_unuse(struct raylet_core *c, struct shape *s)
{
    if (--s->refs == 0) {
        HASH_DEL(c->shapes, s);
        resource_set_unuse(&c->resources, &s->asked);
        free(s);
    }
}

struct sched_request wish_request(const struct wish *w)
{
    return (struct sched_request){.asked = &w->shape->asked,
                                  .strategy = (enum sched_strategy)w->strategy,
                                  .soft = w->soft,
                                  .node = w->node,
                                  .labels = w->labels};
}

/* By resources that this node has in all, and by its name and labels; a soft wish that another node
 * fulfils is not for this one. */
static bool wish_fits_here(struct raylet_core *c, const struct wish *w)
{
    struct sched_node self = {.number = c->node,
                              .name = c->node_name,
                              .address = c->address,
                              .labels = c->labels,
                              .total = &c->total,
                              .available = &c->available,
                              .self = true};
    struct sched_request request = wish_request(w);
    struct peer **peers;
    size_t count;

    if (!w->soft) {
        return sched_judge(&self, &request) == SCHED_FITS;
    }
    struct sched_node *nodes = peers_as_nodes(c, &count, &peers);
    uint32_t *candidates = arena_alloc(&c->arena, count * sizeof *candidates);
    return sched_candidates(nodes, count, &request, candidates) > 0 && candidates[0] == 0;
}

void wish_take_here(struct raylet_core *c, struct wish *w)
{
    ASSERT(w->soft && !w->here);
    w->here = true;
    c->wishes_elsewhere--;
    c->more_work = true;
}

struct wish *wish_use(struct raylet_core *c, struct shape *shape, uint32_t strategy, bool soft,
                      const char *node, const char *labels)
{
    char key[8192];
    int n = snprintf(key, sizeof key, "%p|%u|%d|%zu|%s|%s", (const void *)shape, strategy, soft,
                     strlen(node), node, labels);
    struct wish *w;

    ASSERT(n > 0 && (size_t)n < sizeof key);
    HASH_FIND(hh, c->wishes_by_key, key, (size_t)n, w);
    if (w != NULL) {
        w->refs++;
        return w;
    }
    w = xcalloc(1, sizeof *w);
    w->key = xstrdup(key);
    w->shape = shape;
    shape->refs++;
    w->strategy = strategy;
    w->soft = soft;
    w->node = xstrdup(node);
    w->labels = xstrdup(labels);
    w->refs = 1;
    w->state = WISH_OPEN;
    w->here = wish_fits_here(c, w);
    c->wishes_elsewhere += !w->here;
    HASH_ADD_KEYPTR(hh, c->wishes_by_key, w->key, (size_t)n, w);
    list_append(&c->wishes, &w->link);
    return w;
}

void wish_ref(struct wish *w)
{
    w->refs++;
}

void wish_unuse(struct raylet_core *c, struct wish *w)
{
    if (--w->refs > 0) {
        return;
    }
    c->wishes_elsewhere -= !w->here;
    HASH_DEL(c->wishes_by_key, w);
    free(w->key);
    list_unlink(&w->link);
    shape_unuse(c, w->shape);
    error_unref(w->error);
    free(w->node);
    free(w->labels);
    free(w);
}

void wish_doubt(struct raylet_core *c, struct wish *w)
{
    if (w->state == WISH_OPEN) {
        w->state = WISH_ASKING;
        w->request = 0;
    }
    if (w->state == WISH_ASKING && w->request == 0) {
        c->ask_feasible = true;
    }
}

void wish_recheck(struct raylet_core *c)
{
    LIST_FOREACH(at, &c->wishes)
    {
        struct wish *w = list_entry(at, struct wish, link);
        c->wishes_elsewhere -= !w->here;
        w->here = wish_fits_here(c, w);
        c->wishes_elsewhere += !w->here;
        if (w->state == WISH_IMPOSSIBLE) {
            w->state = WISH_OPEN;
            error_unref(w->error);
            w->error = NULL;
        } else if (w->state == WISH_ASKING) {
            w->state = WISH_OPEN; /* an answer under way is of a former view: it is asked again */
            w->request = 0;
        }
    }
}
