/*
 * What a node offers to tasks: its CPUs and memory as found or as told, and custom resources and
 * labels from the command line. Pure but for machine_find.
 */
#ifndef RAYLET_OFFER_H
#define RAYLET_OFFER_H

#include "common/codes.h"
#include "proto/cluster.h"

struct offer {
    struct cluster_amount *amounts; /* owned, with the names */
    size_t count;
    uint64_t memory_bytes;
    char *labels; /* "k=v,k=v" */
};

struct offer_wish {
    bool has_cpus, has_memory;
    double cpus;
    uint64_t memory_bytes;
    const char *resources; /* JSON: {"x": 2}; NULL: none */
    const char *labels;    /* k=v,...; NULL: none */
};

/* 0; CODE_SIGNATURE: the wish makes no sense; CODE_FAILED: the machine cannot be seen. */
int offer_make(const struct offer_wish *wish, struct offer *ret, struct failure *f) MUST_CHECK;
void offer_fini(struct offer *o);
/* "8 CPUs, 31.2 GiB memory" */
void offer_describe(const struct offer *o, char ret[128]);

#endif
