/*
 * Borrowed bytes, and a buffer that grows. Not thread-safe; a buffer belongs to one owner.
 */
#ifndef COMMON_BYTES_H
#define COMMON_BYTES_H

#include "common/base.h"

struct bytes {
    const void *data; /* borrowed; may be NULL when size is 0 */
    size_t size;
};

static inline struct bytes bytes_of(const void *data, size_t size)
{
    return (struct bytes){data, size};
}

static inline struct bytes bytes_of_text(const char *text)
{
    return (struct bytes){text, strlen(text)};
}

struct buffer {
    uint8_t *data; /* owned; 64-aligned */
    size_t size;
    size_t room;
};

void buffer_fini(struct buffer *b);  /* frees; b is empty and usable again */
void buffer_clear(struct buffer *b); /* keeps the memory */
void buffer_reserve(struct buffer *b,
                    size_t total); /* room for `total` bytes, contents kept; at least doubles */

/* Grows by `more` unset bytes and returns them (NULL for no bytes in a buffer that has none). */
static inline void *buffer_extend(struct buffer *b, size_t more)
{
    if (UNLIKELY(more > b->room - b->size)) {
        ASSERT(more <= SIZE_MAX / 4);
        buffer_reserve(b, b->size + more);
    }
    void *at = b->data + b->size;
    b->size += more;
    return at;
}

static inline void buffer_append(struct buffer *b, const void *data, size_t size)
{
    if (size != 0) {
        memcpy(buffer_extend(b, size), data, size);
    }
}

void buffer_append_text(struct buffer *b, const char *text); /* without the terminator */
void buffer_printf(struct buffer *b, const char *format, ...) PRINTF(2, 3);
/* Terminated (the terminator is not counted); valid until the next change. */
const char *buffer_text(struct buffer *b);

/* Bytes that live until arena_reset: what one turn decodes. */
struct arena_block {
    struct arena_block *next;
    size_t room;
    _Alignas(16) uint8_t data[];
};

struct arena {
    struct arena_block *blocks; /* the current one first */
    size_t used;                /* in the current one */
};

void arena_fini(struct arena *a);
void arena_reset(struct arena *a);                    /* keeps one block */
void *arena_alloc_slow(struct arena *a, size_t size); /* private: in a new block */

/* 16-aligned, unset, never NULL. */
static inline void *arena_alloc(struct arena *a, size_t size)
{
    if (UNLIKELY(a->blocks == NULL || size > a->blocks->room - a->used)) {
        return arena_alloc_slow(a, size);
    }
    void *at = a->blocks->data + a->used;
    a->used = MIN_OF(align_up(a->used + size, 16), a->blocks->room);
    return at;
}

void *arena_copy(struct arena *a, const void *data, size_t size);
char *arena_text(struct arena *a, const char *data, size_t size); /* copy with a terminator */

#endif
