#include "proto/news.h"

#define ROOM_FIRST 16u

void news_init(struct news *n, size_t item_size)
{
    *n = (struct news){.item_size = item_size};
}

void news_fini(struct news *n)
{
    free(n->items);
    arena_fini(&n->arena);
    news_init(n, n->item_size);
}

void *news_add(struct news *n)
{
    if (n->count == n->room) {
        n->room = n->room == 0 ? ROOM_FIRST : 2 * n->room;
        n->items = xrealloc(n->items, n->room * n->item_size);
    }
    return memset(n->items + n->count++ * n->item_size, 0, n->item_size);
}

struct bytes news_copy(struct news *n, struct bytes data)
{
    uintptr_t at = (uintptr_t)arena_alloc(&n->arena, data.size + 48);
    void *copy = (void *)align_up(at, 64);
    if (data.size != 0) {
        memcpy(copy, data.data, data.size);
    }
    return bytes_of(copy, data.size);
}

bool news_take(struct news *n, void *ret_item)
{
    if (news_is_empty(n)) {
        n->count = n->next = 0;
        arena_reset(&n->arena);
        return false;
    }
    memcpy(ret_item, n->items + n->next++ * n->item_size, n->item_size);
    return true;
}

void *news_waiting(struct news *n, size_t index)
{
    return index < n->count - n->next ? n->items + (n->next + index) * n->item_size : NULL;
}
