/*
 * Quantities of resources, fixed-point: integers of 1/10,000. A set is a short sorted array of
 * (resource, amount). Resource names are interned to small numbers by a registry (one for each
 * core). CPU, memory, GPU, gpu_memory and object_store have fixed numbers. Memory amounts are bytes
 * times RESOURCE_UNIT like all others, so that one arithmetic serves all; that overflows at 800
 * TiB, and larger ones are refused.
 */
#ifndef COMMON_RESOURCES_H
#define COMMON_RESOURCES_H

#include "common/base.h"

#define RESOURCE_UNIT      10000
#define RESOURCE_NAME_MAX  63
#define RESOURCE_MOST      9e14  /* of a user's amount */
#define RESOURCES_MAX      32    /* kinds in one set */
#define RESOURCE_NAMES_MAX 4096u /* in use in one registry */

enum resource_kind {
    RESOURCE_CPU = 0,
    RESOURCE_MEMORY = 1,
    RESOURCE_GPU = 2,
    RESOURCE_GPU_MEMORY = 3,
    RESOURCE_STORE = 4,
    RESOURCE_CUSTOM = 5
};

struct resource_name {
    char text[RESOURCE_NAME_MAX + 1]; /* "": nobody uses this number */
    uint32_t uses;
};

struct resource_names {
    struct resource_name *names;
    uint32_t count, room;
    uint32_t used; /* of those; a number that nobody uses any more is given to the next name */
};

void resource_names_init(struct resource_names *n); /* with the fixed ones */
void resource_names_fini(struct resource_names *n);
/* Whether this can be a resource's name: [A-Za-z_][A-Za-z0-9_.:/-]*, at most RESOURCE_NAME_MAX. */
bool resource_name_ok(const char *name);
/* The number of a name, made if new, and one more use of it. -EINVAL: not a resource's name;
 * -ENOSPC: RESOURCE_NAMES_MAX names are in use. */
int resource_names_intern(struct resource_names *n, const char *name, uint32_t *ret) MUST_CHECK;
/* One use less; the fixed ones stay. */
void resource_names_unuse(struct resource_names *n, uint32_t kind);
const char *resource_name(const struct resource_names *n, uint32_t kind);

struct resource_amount {
    uint32_t kind;
    int64_t units; /* of 1/10,000; the balance may go below zero (protocol, 8) */
};

struct resource_set {
    uint32_t count;
    struct resource_amount amounts[RESOURCES_MAX]; /* sorted by kind, none zero in a request */
};

/* Replaces. -ENOSPC: RESOURCES_MAX kinds are in it. */
int resource_set_put(struct resource_set *s, uint32_t kind, int64_t units) MUST_CHECK;
/* One use more, or less, of each kind that is in it: for a set that outlives who made it. */
void resource_set_use(struct resource_names *n, const struct resource_set *s);
void resource_set_unuse(struct resource_names *n, const struct resource_set *s);
bool resource_set_has(const struct resource_set *s, uint32_t kind);
int64_t resource_set_get(const struct resource_set *s, uint32_t kind); /* 0 if absent */
/* Whether `have` has at least as much of each kind that `want` names. */
bool resource_set_covers(const struct resource_set *have, const struct resource_set *want);
/* May go below zero. A kind that `have` does not know is added: together at most RESOURCES_MAX. */
void resource_set_take(struct resource_set *have, const struct resource_set *want);
void resource_set_give(struct resource_set *have, const struct resource_set *want);
bool resource_set_equal(const struct resource_set *a, const struct resource_set *b);

/* Units of a user's amount. It is rounded so that as many equal shares fit into a whole one as
 * arithmetic says, for all shares down to 1/100: three of 1/3, six of 1/6. Of smaller ones whose
 * size is no multiple of 1/10,000, slightly fewer may fit, but never more. -EINVAL: the amount is
 * negative or NaN; -ERANGE: above RESOURCE_MOST; -EDOM: above zero and below 1/10,000. */
int resource_units(double amount, int64_t *ret) MUST_CHECK;
static inline double resource_amount_of(int64_t units)
{
    return (double)units / RESOURCE_UNIT;
}
/* For people: "2.5", of memory "4.0 GiB"; below zero as zero. Returns `out`. */
const char *resource_format(uint32_t kind, int64_t units, char out[32]);

#endif
