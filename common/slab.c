#include "common/slab.h"

#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define SLAB_FROM_HEAP 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLAB_FROM_HEAP 1
#endif
#endif

#ifdef SLAB_FROM_HEAP
#include <sanitizer/asan_interface.h>
#define POISON(at, size)   ASAN_POISON_MEMORY_REGION(at, size)
#define UNPOISON(at, size) ASAN_UNPOISON_MEMORY_REGION(at, size)
#else
#define POISON(at, size)   ((void)0)
#define UNPOISON(at, size) ((void)0)
#endif

#define SLAB_HEADER  64u
#define REGION_SLABS 16u /* mapped at once by a pool that grows */
#define SMALL_SLABS                                                                                \
    4u /* up to here a pool is small: one slab at a time, untouched pages stay free */
#define SPARES 4u

struct slab {
    struct list link; /* of partial, full or empty */
    void *free;       /* records that were given back, chained through their first word */
    uint32_t used, touched, room;
};

_Static_assert(sizeof(struct slab) <= SLAB_HEADER, "a slab's header has its room");

void slab_pool_init(struct slab_pool *p, size_t record_size)
{
    ASSERT(record_size > 0);
    *p = (struct slab_pool){.record_size = align_up(record_size, 16)};
    ASSERT(p->record_size <= SLAB_BYTES / 8);
    list_init(&p->partial);
    list_init(&p->full);
    list_init(&p->empty);
}

#ifdef SLAB_FROM_HEAP

/* The leak checker looks for pointers in the heap and not in mappings. */
static struct slab *map_slab(struct slab_pool *p)
{
    struct slab *slab = aligned_alloc(SLAB_BYTES, SLAB_BYTES);
    ASSERT(slab != NULL);
    return slab;
}

static void unmap_slab(struct slab *slab)
{
    UNPOISON(slab, SLAB_BYTES);
    free(slab);
}

static void drop_region(struct slab_pool *p)
{
}

#else

static void unmap(void *at, size_t size)
{
    if (size != 0) {
        int r = munmap(at, size);
        ASSERT(r == 0);
    }
}

static void drop_region(struct slab_pool *p)
{
    unmap(p->region, (size_t)(p->region_end - p->region));
    p->region = p->region_end = NULL;
}

static void map_region(struct slab_pool *p, size_t size)
{
    size_t asked = size + SLAB_BYTES;
    uint8_t *at = mmap(NULL, asked, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
        free(xmalloc(asked)); /* ends the process with its message */
        at = mmap(NULL, asked, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        ASSERT(at != MAP_FAILED);
    }
    uint8_t *aligned = (uint8_t *)align_up((uintptr_t)at, SLAB_BYTES);
    unmap(at, (size_t)(aligned - at));
    unmap(aligned + size, asked - size - (size_t)(aligned - at));
    p->region = aligned;
    p->region_end = aligned + size;
}

static struct slab *map_slab(struct slab_pool *p)
{
    bool small = p->slabs < SMALL_SLABS;
    if (p->region == p->region_end) {
        map_region(p, small ? SLAB_BYTES : REGION_SLABS * SLAB_BYTES);
    }
    void *at = p->region;
    p->region += SLAB_BYTES;
#ifdef MADV_POPULATE_WRITE
    if (!small) {
        /* Advice: where the kernel does not know it, the pages come one by one. */
        (void)madvise(at, SLAB_BYTES, MADV_POPULATE_WRITE);
    }
#endif
    return at;
}

static void unmap_slab(struct slab *slab)
{
    unmap(slab, SLAB_BYTES);
}

#endif

static NOINLINE struct slab *add_slab(struct slab_pool *p)
{
    struct list *spare = list_pop(&p->empty);
    struct slab *slab;
    if (spare != NULL) {
        slab = list_entry(spare, struct slab, link);
        p->spare--;
    } else {
        slab = map_slab(p);
        list_init(&slab->link);
        slab->free = NULL;
        slab->used = 0;
        slab->touched = 0;
        slab->room = (uint32_t)((SLAB_BYTES - SLAB_HEADER) / p->record_size);
        POISON((uint8_t *)slab + SLAB_HEADER, SLAB_BYTES - SLAB_HEADER);
        p->slabs++;
    }
    list_prepend(&p->partial, &slab->link);
    return slab;
}

void *slab_alloc(struct slab_pool *p)
{
    struct list *first = p->partial.next;
    struct slab *slab;
    if (UNLIKELY(first == &p->partial)) {
        slab = add_slab(p);
    } else {
        slab = list_entry(first, struct slab, link);
    }
    void *record = slab->free;
    if (record != NULL) {
        UNPOISON(record, p->record_size);
        memcpy(&slab->free, record, sizeof slab->free);
    } else {
        record = (uint8_t *)slab + SLAB_HEADER + slab->touched * p->record_size;
        UNPOISON(record, p->record_size);
        slab->touched++;
    }
    slab->used++;
    p->used++;
    if (UNLIKELY(slab->used == slab->room)) {
        list_unlink(&slab->link);
        list_append(&p->full, &slab->link);
    }
    return record;
}

static NOINLINE void slab_became_empty(struct slab_pool *p, struct slab *slab)
{
    list_unlink(&slab->link);
    if (p->spare < SPARES) {
        list_prepend(&p->empty, &slab->link);
        p->spare++;
    } else {
        unmap_slab(slab);
        p->slabs--;
    }
}

void slab_free(struct slab_pool *p, void *record)
{
    if (record == NULL) {
        return;
    }
    struct slab *slab = (struct slab *)((uintptr_t)record & ~(uintptr_t)(SLAB_BYTES - 1));
    ASSERT(slab->used > 0);
    memcpy(record, &slab->free, sizeof slab->free);
    POISON(record, p->record_size);
    slab->free = record;
    p->used--;
    if (UNLIKELY(slab->used-- == slab->room)) {
        /* Behind the others: slabs that are nearly empty are to become so. */
        list_unlink(&slab->link);
        list_append(&p->partial, &slab->link);
    }
    if (UNLIKELY(slab->used == 0)) {
        slab_became_empty(p, slab);
    }
}

static void drop_list(struct slab_pool *p, struct list *head)
{
    for (struct list *node = list_pop(head); node != NULL; node = list_pop(head)) {
        unmap_slab(list_entry(node, struct slab, link));
        p->slabs--;
    }
}

void slab_pool_drop(struct slab_pool *p)
{
    drop_list(p, &p->partial);
    drop_list(p, &p->full);
    drop_list(p, &p->empty);
    ASSERT(p->slabs == 0);
    drop_region(p);
    slab_pool_init(p, p->record_size);
}

void slab_pool_fini(struct slab_pool *p)
{
    ASSERT(p->used == 0);
    slab_pool_drop(p);
}
