/*
 * What a raylet's shell is made of, for those of its files that bring the parts together: what the
 * core wants of them (raylet/carry_out.h), programs between nodes (raylet/exchange.h), and the
 * shell itself, which makes and frees them. No part knows this struct. On the loop's thread.
 */
#ifndef RAYLET_PARTS_H
#define RAYLET_PARTS_H

#include "raylet/clients.h"
#include "raylet/fetch.h"
#include "raylet/head_link.h"
#include "raylet/log_query.h"
#include "raylet/peer_link.h"
#include "raylet/programs.h"
#include "raylet/workers.h"

struct parts {
    const char *node_name; /* outlives it */
    struct events events;  /* for the core's next step */
    struct clients *clients;
    struct workers *workers;
    struct logs *logs;
    struct programs *programs;
    struct fetch *fetch;
    struct giver *giver;
    struct head_link *head;
    struct peer_link *peers; /* NULL in the end, while programs are still read */
    struct buffer scratch;
    bool done;          /* the raylet ends */
    struct failure end; /* why; code 0: as asked */
};

/* The first reason counts; NULL: as asked. */
static inline void parts_end_with(struct parts *p, const struct failure *f)
{
    if (!p->done) {
        p->done = true;
        p->end = f != NULL ? *f : (struct failure){0};
    }
}

#endif
