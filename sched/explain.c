#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "sched/policy.h"

#define NODES_NAMED 4u
#define TEXT_SHOWN  64 /* of what a user wrote */

/* ---- words ---- */

struct text {
    char *at;
    size_t size, used;
};

/* What does not fit is cut off. */
static void put(struct text *t, const char *format, ...) PRINTF(2, 3);
static void put(struct text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(t->at + t->used, t->size - t->used, format, args);
    va_end(args);
    ASSERT(n >= 0);
    t->used = MIN_OF(t->used + (size_t)n, t->size - 1);
}

static void put_units(struct text *t, uint32_t kind, int64_t units)
{
    char text[32];
    put(t, "%s", resource_format(kind, units, text));
}

static bool lacks(const struct sched_node *n, const struct resource_amount *asked)
{
    return asked->units > 0 && resource_set_get(n->total, asked->kind) < asked->units;
}

/* ---- one node ---- */

/* The resource of which the node has room for the fewest tasks of the request; NULL: none. */
static const struct resource_amount *scarcest(const struct sched_node *n,
                                              const struct resource_set *asked)
{
    const struct resource_amount *found = NULL;
    double least = 0;
    for (uint32_t i = 0; i < asked->count; i++) {
        const struct resource_amount *amount = &asked->amounts[i];
        if (amount->units <= 0) {
            continue;
        }
        double room = (double)resource_set_get(n->available, amount->kind) / (double)amount->units;
        if (found == NULL || room < least) {
            found = amount;
            least = room;
        }
    }
    return found;
}

static void put_too_small(struct text *t, const struct sched_node *n, const struct resource_set *r,
                          const struct resource_names *names)
{
    const char *before = "";
    for (uint32_t i = 0; i < r->count; i++) {
        const struct resource_amount *asked = &r->amounts[i];
        if (!lacks(n, asked)) {
            continue;
        }
        int64_t total = resource_set_get(n->total, asked->kind);
        put(t, "%s%s ", before, resource_name(names, asked->kind));
        put_units(t, asked->kind, asked->units);
        put(t, total <= 0 ? " requested, it has none" : " requested, it has ");
        if (total > 0) {
            put_units(t, asked->kind, total);
            put(t, " in total");
        }
        before = "; ";
    }
}

static void put_free(struct text *t, const struct sched_node *n, const struct resource_set *asked,
                     const struct resource_names *names)
{
    const struct resource_amount *amount = scarcest(n, asked);
    bool has_room = sched_room(n, asked) != 0;
    if (has_room) {
        put(t, "has room");
    }
    if (amount != NULL) {
        put(t, "%s%s ", has_room ? ": " : "", resource_name(names, amount->kind));
        put_units(t, amount->kind, amount->units);
        put(t, " requested, ");
        put_units(t, amount->kind, resource_set_get(n->available, amount->kind));
        put(t, " free of ");
        put_units(t, amount->kind, resource_set_get(n->total, amount->kind));
    }
    if (n->sent != 0) {
        put(t, "; %" PRIu64 " sent there", n->sent);
    }
    if (n->waiting != 0) {
        put(t, "; %" PRIu64 " task%s there", n->waiting, n->waiting == 1 ? " waits" : "s wait");
    }
}

void sched_explain(const struct sched_node *n, const struct sched_request *r,
                   const struct resource_names *names, char *ret, size_t size)
{
    struct text t = {ret, size, 0};
    ASSERT(size > 0);
    put(&t, "%s   ", n->name);
    switch (sched_judge(n, r)) {
    case SCHED_NOT_NAMED:
        put(&t, "not the requested node (%.*s)", TEXT_SHOWN, r->node);
        return;
    case SCHED_NOT_LABELLED:
        put(&t, "labels %.*s requested, it has %.*s", TEXT_SHOWN, r->labels, TEXT_SHOWN,
            *n->labels == '\0' ? "none" : n->labels);
        return;
    case SCHED_TOO_SMALL:
        put_too_small(&t, n, r->asked, names);
        return;
    case SCHED_CLOSED:
        put(&t, "accepts no tasks from other nodes now");
        return;
    case SCHED_FITS:
        put_free(&t, n, r->asked, names);
    }
}

/* ---- no node ---- */

/* Which of the asked resources at least one of the nodes that are too small lacks. */
static uint32_t missing_kinds(const struct sched_node *nodes, size_t count,
                              const struct sched_request *r, bool ret[RESOURCES_MAX])
{
    uint32_t missing = 0;
    memset(ret, 0, RESOURCES_MAX * sizeof *ret);
    for (size_t i = 0; i < count; i++) {
        bool is_small = sched_judge(&nodes[i], r) == SCHED_TOO_SMALL;
        for (uint32_t k = 0; is_small && k < r->asked->count; k++) {
            if (!ret[k] && lacks(&nodes[i], &r->asked->amounts[k])) {
                ret[k] = true;
                missing++;
            }
        }
    }
    return missing;
}

/* What is asked, as far as it is why. */
static void put_asked(struct text *t, const struct sched_request *r, const bool *missing,
                      const size_t *counts, const struct resource_names *names)
{
    const char *before = "No node satisfies ";
    for (uint32_t k = 0; k < r->asked->count; k++) {
        if (missing[k]) {
            put(t, "%s%s ", before, resource_name(names, r->asked->amounts[k].kind));
            put_units(t, r->asked->amounts[k].kind, r->asked->amounts[k].units);
            before = ", ";
        }
    }
    if (!r->soft && *r->node != '\0') {
        put(t, "%snode %.*s", before, TEXT_SHOWN, r->node);
        before = ", ";
    }
    if (counts[SCHED_NOT_LABELLED] != 0) {
        put(t, "%slabels %.*s", before, TEXT_SHOWN, r->labels);
        before = ", ";
    }
    if (*before != ',') {
        put(t, "No node accepts tasks");
    }
}

/* What this node lacks; the resource is named only if several are in question. */
static void put_lack(struct text *t, const struct sched_node *n, const struct sched_request *r,
                     bool is_one_kind, const struct resource_names *names)
{
    const char *before = "";
    for (uint32_t k = 0; k < r->asked->count; k++) {
        const struct resource_amount *asked = &r->asked->amounts[k];
        if (!lacks(n, asked)) {
            continue;
        }
        int64_t total = resource_set_get(n->total, asked->kind);
        const char *name = is_one_kind ? "" : resource_name(names, asked->kind);
        const char *space = is_one_kind ? "" : " ";
        if (total <= 0) {
            put(t, "%s%s%s%s", before, is_one_kind ? "none" : "no", space, name);
        } else {
            put(t, "%s%s%s", before, name, space);
            put_units(t, asked->kind, total);
        }
        before = " and ";
    }
}

static void put_why_not(struct text *t, const struct sched_node *n, const struct sched_request *r,
                        bool is_one_kind, const struct resource_names *names)
{
    switch (sched_judge(n, r)) {
    case SCHED_TOO_SMALL:
        put(t, "%s has ", n->name);
        put_lack(t, n, r, is_one_kind, names);
        return;
    case SCHED_NOT_LABELLED:
        put(t, "%s has %.*s", n->name, TEXT_SHOWN / 2,
            *n->labels == '\0' ? "no such label" : n->labels);
        return;
    case SCHED_CLOSED:
        put(t, "%s accepts no tasks from other nodes", n->name);
        return;
    default:
        put(t, "%s is another", n->name);
    }
}

/* The nodes in question: those that were asked for if there are any, else all. */
static void put_nodes(struct text *t, const struct sched_node *nodes, size_t count,
                      const struct sched_request *r, const size_t *counts, bool is_one_kind,
                      const struct resource_names *names)
{
    size_t in_question = count - counts[SCHED_NOT_NAMED], named = 0;
    bool is_unnamed = in_question == 0;
    if (count == 0) {
        put(t, "the cluster has no node");
        return;
    }
    for (size_t i = 0; i < count && named < NODES_NAMED; i++) {
        if (is_unnamed || sched_judge(&nodes[i], r) != SCHED_NOT_NAMED) {
            put(t, named == 0 ? (is_unnamed ? "the nodes are " : "") : ", ");
            if (is_unnamed) {
                put(t, "%s", nodes[i].name);
            } else {
                put_why_not(t, &nodes[i], r, is_one_kind, names);
            }
            named++;
        }
    }
    size_t left = (is_unnamed ? count : in_question) - named;
    if (left != 0) {
        put(t, ", and %zu more", left);
    }
}

static const char *advice(const struct sched_request *r, const size_t *counts)
{
    bool is_wish = !r->soft && (*r->node != '\0' || *r->labels != '\0');
    if (counts[SCHED_TOO_SMALL] != 0) {
        return is_wish ? "Ask for less, or for another node." : "Ask for less, or add such a node.";
    }
    return is_wish ? "Use another node, or set .soft = true." : "Add a node.";
}

int sched_impossible(const struct sched_node *nodes, size_t count, const struct sched_request *r,
                     const struct resource_names *names, struct failure *ret)
{
    size_t counts[SCHED_CLOSED + 1] = {0};
    bool missing[RESOURCES_MAX];
    for (size_t i = 0; i < count; i++) {
        enum sched_verdict verdict = sched_judge(&nodes[i], r);
        if (verdict == SCHED_FITS) {
            return 0;
        }
        counts[verdict]++;
    }
    uint32_t kinds = missing_kinds(nodes, count, r, missing);
    char text[sizeof ret->message];
    struct text t = {text, sizeof text - 64, 0}; /* the advice always fits */
    put_asked(&t, r, missing, counts, names);
    put(&t, " (");
    put_nodes(&t, nodes, count, r, counts, kinds == 1 && counts[SCHED_NOT_LABELLED] == 0, names);
    t.size = sizeof text;
    put(&t, "). %s", advice(r, counts));
    return failure_set(ret, CODE_IMPOSSIBLE, "%s", text);
}
