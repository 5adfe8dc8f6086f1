#include "common/numbers.h"

#define BUCKETS_MIN 16

void numbers_init(struct numbers *t)
{
    *t = (struct numbers){0};
    slab_pool_init(&t->pool, sizeof(struct numbers_page));
}

void numbers_fini(struct numbers *t)
{
    slab_pool_drop(&t->pool);
    free(t->buckets);
    numbers_init(t);
}

struct numbers_page *numbers_find_page(struct numbers *t, uint64_t index)
{
    if (t->bucket_count == 0) {
        return NULL;
    }
    struct numbers_page *page = t->buckets[index & (t->bucket_count - 1)];
    while (page != NULL && page->index != index) {
        page = page->next;
    }
    if (page != NULL) {
        t->last = page;
    }
    return page;
}

/* Pages, not entries, are moved: a million entries have 4,000. */
static void resize(struct numbers *t, size_t bucket_count)
{
    struct numbers_page **buckets = xcalloc(bucket_count, sizeof *buckets);
    for (size_t i = 0; i < t->bucket_count; i++) {
        struct numbers_page *page = t->buckets[i];
        while (page != NULL) {
            struct numbers_page *next = page->next;
            struct numbers_page **bucket = &buckets[page->index & (bucket_count - 1)];
            page->next = *bucket;
            *bucket = page;
            page = next;
        }
    }
    free(t->buckets);
    t->buckets = buckets;
    t->bucket_count = bucket_count;
}

static struct numbers_page *add_page(struct numbers *t, uint64_t index)
{
    if (t->pages >= t->bucket_count) {
        resize(t, MAX_OF(t->bucket_count * 2, (size_t)BUCKETS_MIN));
    }
    struct numbers_page *page = slab_alloc(&t->pool);
    memset(page, 0, sizeof *page);
    page->index = index;
    struct numbers_page **bucket = &t->buckets[index & (t->bucket_count - 1)];
    page->next = *bucket;
    *bucket = page;
    t->pages++;
    t->last = page;
    return page;
}

static void drop_page(struct numbers *t, struct numbers_page *page)
{
    struct numbers_page **at = &t->buckets[page->index & (t->bucket_count - 1)];
    while (*at != page) {
        at = &(*at)->next;
    }
    *at = page->next;
    if (t->last == page) {
        t->last = NULL;
    }
    slab_free(&t->pool, page);
    t->pages--;
    /* Far below the growing mark, so that a table that swings about one size does not move its
     * pages each time. */
    if (t->bucket_count > BUCKETS_MIN && t->pages < t->bucket_count / 8) {
        resize(t, t->bucket_count / 4 > BUCKETS_MIN ? t->bucket_count / 4 : BUCKETS_MIN);
    }
}

static struct numbers_page *page_of(struct numbers *t, uint64_t number)
{
    uint64_t index = number >> NUMBERS_PAGE_BITS;
    if (LIKELY(t->last != NULL && t->last->index == index)) {
        return t->last;
    }
    return numbers_find_page(t, index);
}

void numbers_set(struct numbers *t, uint64_t number, void *value)
{
    ASSERT(value != NULL);
    struct numbers_page *page = page_of(t, number);
    if (UNLIKELY(page == NULL)) {
        page = add_page(t, number >> NUMBERS_PAGE_BITS);
    }
    void **entry = &page->entries[number & (NUMBERS_PAGE_ENTRIES - 1)];
    if (*entry == NULL) {
        page->used++;
        t->used++;
    }
    *entry = value;
}

void *numbers_remove(struct numbers *t, uint64_t number)
{
    struct numbers_page *page = page_of(t, number);
    if (page == NULL) {
        return NULL;
    }
    void **entry = &page->entries[number & (NUMBERS_PAGE_ENTRIES - 1)];
    void *value = *entry;
    if (value != NULL) {
        *entry = NULL;
        t->used--;
        if (--page->used == 0) {
            drop_page(t, page);
        }
    }
    return value;
}

static int by_index(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static uint64_t *sorted_indices(const struct numbers *t)
{
    uint64_t *indices = xmalloc(t->pages * sizeof *indices);
    size_t n = 0;
    for (size_t i = 0; i < t->bucket_count; i++) {
        for (struct numbers_page *page = t->buckets[i]; page != NULL; page = page->next) {
            indices[n++] = page->index;
        }
    }
    qsort(indices, n, sizeof *indices, by_index);
    return indices;
}

void numbers_each(struct numbers *t, bool (*fn)(uint64_t number, void *value, void *arg), void *arg)
{
    if (t->pages == 0) {
        return;
    }
    size_t pages = t->pages;
    CLEANUP_FREE uint64_t *indices = sorted_indices(t);
    for (size_t i = 0; i < pages; i++) {
        uint64_t first = indices[i] << NUMBERS_PAGE_BITS;
        for (uint32_t k = 0; k < NUMBERS_PAGE_ENTRIES; k++) {
            /* Looked up each time: fn may have removed the last entry and with it the page. */
            void *value = numbers_get(t, first + k);
            if (value != NULL && !fn(first + k, value, arg)) {
                return;
            }
        }
    }
}
