/*
 * A table from consecutive numbers to pointers: pages of 256 entries, found through a chained hash
 * by page number, the last page remembered; pages that become empty are given back. For ids that
 * count up and die roughly in order (tasks, objects, references), where open addressing was
 * measured 20 times slower. Iteration goes by number within a page and by page number across pages
 * only through numbers_each (sorted), so that nothing depends on addresses.
 */
#ifndef COMMON_NUMBERS_H
#define COMMON_NUMBERS_H

#include "common/slab.h"

#define NUMBERS_PAGE_BITS    8
#define NUMBERS_PAGE_ENTRIES (1u << NUMBERS_PAGE_BITS)

struct numbers_page {
    uint64_t index; /* number >> NUMBERS_PAGE_BITS */
    uint32_t used;
    struct numbers_page *next;
    void *entries[NUMBERS_PAGE_ENTRIES];
};

struct numbers {
    struct numbers_page **buckets;
    size_t bucket_count;
    size_t pages;
    size_t used;
    struct numbers_page *last; /* NULL: none */
    struct slab_pool pool;     /* of pages */
};

void numbers_init(struct numbers *t);
void numbers_fini(struct numbers *t); /* frees the table, not what it points at */

/* Private: the page, remembered as the last; NULL. */
struct numbers_page *numbers_find_page(struct numbers *t, uint64_t index);

/* NULL if absent. */
static inline void *numbers_get(struct numbers *t, uint64_t number)
{
    struct numbers_page *page = t->last;
    if (UNLIKELY(page == NULL || page->index != number >> NUMBERS_PAGE_BITS)) {
        page = numbers_find_page(t, number >> NUMBERS_PAGE_BITS);
        if (page == NULL) {
            return NULL;
        }
    }
    return page->entries[number & (NUMBERS_PAGE_ENTRIES - 1)];
}

void numbers_set(struct numbers *t, uint64_t number, void *value); /* value not NULL; replaces */
void *numbers_remove(struct numbers *t, uint64_t number);          /* what was there, or NULL */
/* Calls fn for each entry in ascending order; fn may remove the entry it is given, nothing else.
 * Stops when fn returns false. O(pages log pages). */
void numbers_each(struct numbers *t, bool (*fn)(uint64_t number, void *value, void *arg),
                  void *arg);

#endif
