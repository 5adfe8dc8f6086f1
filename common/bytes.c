#include "common/bytes.h"

#include <stdarg.h>
#include <stdio.h>

#define BUFFER_ALIGN    64
#define ARENA_BLOCK_MIN 4096
#define ARENA_BLOCK_MAX (256u << 10)

void buffer_fini(struct buffer *b)
{
    free(b->data);
    *b = (struct buffer){0};
}

void buffer_clear(struct buffer *b)
{
    b->size = 0;
}

void buffer_reserve(struct buffer *b, size_t total)
{
    if (total <= b->room) {
        return;
    }
    ASSERT(total <= SIZE_MAX / 2);
    size_t room = align_up(MAX_OF(total, b->room * 2), BUFFER_ALIGN);
    uint8_t *data = aligned_alloc(BUFFER_ALIGN, room);
    if (data == NULL) {
        /* xmalloc ends the process with its message where the system has no memory. */
        free(xmalloc(room));
        data = aligned_alloc(BUFFER_ALIGN, room);
        ASSERT(data != NULL);
    }
    if (b->size != 0) {
        memcpy(data, b->data, b->size);
    }
    free(b->data);
    b->data = data;
    b->room = room;
}

void buffer_append_text(struct buffer *b, const char *text)
{
    buffer_append(b, text, strlen(text));
}

void buffer_printf(struct buffer *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    size_t room = b->room - b->size;
    int wanted = vsnprintf(room != 0 ? (char *)b->data + b->size : NULL, room, format, args);
    va_end(args);
    ASSERT(wanted >= 0);
    if ((size_t)wanted >= room) {
        buffer_reserve(b, b->size + (size_t)wanted + 1);
        vsnprintf((char *)b->data + b->size, (size_t)wanted + 1, format, again);
    }
    va_end(again);
    b->size += (size_t)wanted;
}

const char *buffer_text(struct buffer *b)
{
    buffer_reserve(b, b->size + 1);
    b->data[b->size] = '\0';
    return (const char *)b->data;
}

void arena_fini(struct arena *a)
{
    while (a->blocks != NULL) {
        struct arena_block *next = a->blocks->next;
        free(a->blocks);
        a->blocks = next;
    }
    a->used = 0;
}

void arena_reset(struct arena *a)
{
    if (a->blocks == NULL) {
        return;
    }
    /* The newest is the largest, unless it was made for one large piece. */
    struct arena_block *keep = a->blocks, *next = keep->next;
    while (keep->room > ARENA_BLOCK_MAX && next != NULL) {
        free(keep);
        keep = next;
        next = keep->next;
    }
    while (next != NULL) {
        struct arena_block *after = next->next;
        free(next);
        next = after;
    }
    keep->next = NULL;
    a->blocks = keep->room > ARENA_BLOCK_MAX ? NULL : keep;
    if (a->blocks == NULL) {
        free(keep);
    }
    a->used = 0;
}

void *arena_alloc_slow(struct arena *a, size_t size)
{
    ASSERT(size <= SIZE_MAX / 2);
    size_t room =
        a->blocks != NULL ? MIN_OF(a->blocks->room * 2, ARENA_BLOCK_MAX) : ARENA_BLOCK_MIN;
    room = align_up(MAX_OF(room, size), 16);
    struct arena_block *block = xmalloc(sizeof *block + room);
    block->next = a->blocks;
    block->room = room;
    a->blocks = block;
    a->used = align_up(size, 16);
    return block->data;
}

void *arena_copy(struct arena *a, const void *data, size_t size)
{
    void *copy = arena_alloc(a, size);
    if (size != 0) {
        memcpy(copy, data, size);
    }
    return copy;
}

char *arena_text(struct arena *a, const char *data, size_t size)
{
    char *text = arena_alloc(a, size + 1);
    if (size != 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    return text;
}
