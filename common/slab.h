/*
 * Equal-sized records in slabs of 64 KiB, so that a million cost what they weigh, and empty slabs
 * go back to the system. Each slab is mapped, aligned to its size and knows its free records; a
 * record's slab is found by masking its address. A pool begins with single slabs, of which only
 * what was handed out is touched; a growing one maps sixteen at a time and faults each in at once,
 * which is cheaper. Not thread-safe.
 */
#ifndef COMMON_SLAB_H
#define COMMON_SLAB_H

#include "common/list.h"

#define SLAB_BYTES (64u << 10)

struct slab_pool {
    size_t record_size;  /* a multiple of 16, at most SLAB_BYTES / 8 */
    size_t used;         /* records handed out */
    size_t slabs;        /* mapped now */
    struct list partial; /* slabs with a free record */
    struct list full;
    struct list empty;            /* kept, so that a record that comes and goes costs no map */
    uint32_t spare;               /* how many of those: at most 4 */
    uint8_t *region, *region_end; /* mapped, not yet cut into slabs */
};

void slab_pool_init(struct slab_pool *p, size_t record_size);
void slab_pool_fini(struct slab_pool *p); /* asserts that no record is out */
/* The same, whatever is out: for the end of a process's core. */
void slab_pool_drop(struct slab_pool *p);
void *slab_alloc(struct slab_pool *p);             /* unset contents, never NULL */
void slab_free(struct slab_pool *p, void *record); /* NULL is fine */

#endif
