/*
 * What a module has to tell its owner, kept until nothing of the module is under way. A module that
 * is called from below (a link by its sessions, a mesh by its links) and told its owner from there
 * would be in the middle of its work when the owner answers, ends or frees something. So it adds
 * here what happened, and tells it from its tick, one item after another: an owner's callback may
 * then call whatever it likes, and no callback can be written wrongly in this respect. The module
 * wants a tick at once while there are news. Private to proto/; on the thread of the loop.
 */
#ifndef PROTO_NEWS_H
#define PROTO_NEWS_H

#include "common/bytes.h"

struct news {
    uint8_t *items;
    size_t item_size, count, room;
    size_t next;        /* those before it were taken */
    struct arena arena; /* bytes of messages, until all items were taken */
};

void news_init(struct news *n, size_t item_size);
void news_fini(struct news *n);

void *news_add(struct news *n); /* zeroed; valid until the next one is added */
/* A copy for an item, 64-aligned: it lives until news_take finds nothing more. */
struct bytes news_copy(struct news *n, struct bytes data);

static inline bool news_is_empty(const struct news *n)
{
    return n->next == n->count;
}

/* Takes the next item: false if there is none, and then the bytes of those before are gone. */
bool news_take(struct news *n, void *ret_item) MUST_CHECK;
/* The items that were not yet taken, by index from 0, for who no longer wants to tell some; NULL
 * behind the last. */
void *news_waiting(struct news *n, size_t index);

#endif
