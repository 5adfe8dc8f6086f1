#include "raylet/memory.h"

#include <malloc.h>

#include "common/clock.h"

#define LOOK_NS      NS_PER_S
#define WORTH_BYTES  (8u << 20)
#define MAPPED_BYTES (128 << 10) /* values from here on are mappings of their own */

void memory_setup(void)
{
    /* Fixed: else the first large value that is freed makes the C library keep all later ones. */
    (void)mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, MAPPED_BYTES);
}

bool memory_look(struct memory *m, uint64_t held_bytes, uint64_t now_ns)
{
    m->look_at_ns = now_ns + LOOK_NS;
    m->most_bytes = MAX_OF(m->most_bytes, held_bytes);
    if (m->most_bytes - held_bytes < WORTH_BYTES) {
        return false;
    }
    m->most_bytes = held_bytes;
    (void)malloc_trim(0);
    return true;
}
