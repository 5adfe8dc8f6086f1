/*
 * A table from consecutive numbers to pointers: pages of 256 entries, found through a chained hash by page number, the
 * last page remembered; pages that become empty are given back. For ids that count up and die roughly in order (tasks,
 * objects, references), where open addressing was measured 20 times slower. Iteration goes by number within a page and
 * by page number across pages only through numbers_each (sorted), so that nothing depends on addresses.
 */
#ifndef COMMON_NUMBERS_H
#define COMMON_NUMBERS_H

#include "common/base.h"

struct numbers_page;

struct numbers {
    struct numbers_page **buckets;
    size_t bucket_count;
    size_t pages;
    size_t used;
    struct numbers_page *last;
};

void numbers_init(struct numbers *t);
void numbers_fini(struct numbers *t); /* frees the table, not what it points at */
void *numbers_get(struct numbers *t, uint64_t number); /* NULL if absent */
void numbers_set(struct numbers *t, uint64_t number, void *value); /* value not NULL; replaces */
void *numbers_remove(struct numbers *t, uint64_t number); /* what was there, or NULL */
/* Calls fn for each entry in ascending order; fn may remove the entry it is given, nothing else. Stops when fn
 * returns false. O(pages log pages). */
void numbers_each(struct numbers *t, bool (*fn)(uint64_t number, void *value, void *arg), void *arg);

#endif
