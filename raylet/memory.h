/*
 * Gives memory that values left behind back to the system: large ones at once, small ones when much
 * of what was held has gone. For the daemon's own heap; on the loop's thread.
 */
#ifndef RAYLET_MEMORY_H
#define RAYLET_MEMORY_H

#include "common/base.h"

struct memory {
    uint64_t most_bytes; /* held since the heap was last trimmed */
    uint64_t look_at_ns;
};

void memory_setup(void); /* once, before anything large is allocated */
/* `held_bytes`: what tasks and values hold now. Looks at most once a second. True if it trimmed,
 * which takes some milliseconds for each gigabyte. */
bool memory_look(struct memory *m, uint64_t held_bytes, uint64_t now_ns);
static inline bool memory_is_due(const struct memory *m, uint64_t now_ns)
{
    return now_ns >= m->look_at_ns;
}

#endif
