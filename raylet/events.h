/*
 * What has come since the core's last step: events, and the memory of what they point at. Not a
 * queue between threads: everything is on the loop's thread. The shell swaps two of these, so that
 * carrying out effects may add events for the next step while the last ones are still borrowed.
 */
#ifndef RAYLET_EVENTS_H
#define RAYLET_EVENTS_H

#include "raylet/core.h"

struct events {
    struct raylet_event *items;
    size_t count, room;
    struct arena arena; /* messages and failures that the items point at */
};

void events_fini(struct events *e);
void events_clear(struct events *e); /* keeps the memory */
void events_grow(struct events *e);  /* private: doubles the room */

/* A new event, all zero but its kind; valid until the next one is added. */
static inline struct raylet_event *events_add(struct events *e, enum raylet_event_kind kind)
{
    if (UNLIKELY(e->count == e->room)) {
        events_grow(e);
    }
    struct raylet_event *event = &e->items[e->count++];
    *event = (struct raylet_event){.kind = kind};
    return event;
}

/* A copy that lives as long as the events; NULL or code 0 gives NULL. */
const struct failure *events_failure(struct events *e, const struct failure *f);

#endif
