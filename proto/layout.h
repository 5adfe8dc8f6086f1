/*
 * Where the entries of a payload lie: the values of VALUES and of a RESULT, one after another, and
 * those that follow the arguments of a RUN. Whoever writes, measures, checks or reads such a
 * payload walks over its entries with these functions and with nothing else, so that no two of them
 * can differ about a byte of padding. A walk begins with `end` 0 (of a RUN: with the size of its
 * arguments); when it is over, `end` is the size of the payload. No state, no I/O.
 */
#ifndef PROTO_LAYOUT_H
#define PROTO_LAYOUT_H

#include "common/bytes.h"

#define LAYOUT_ENTRY_ALIGN 8u  /* of a value in VALUES and RESULT */
#define LAYOUT_NEED_ALIGN  64u /* of one behind a RUN's arguments */

/* Where the next entry begins, which has `size` bytes; `*end` is then where it ends. An entry
 * without bytes has its place like any other. */
static inline size_t layout_place(size_t *end, size_t size, size_t align)
{
    size_t begin = align_up(*end, align);
    *end = begin + size;
    return begin;
}

static inline size_t layout_place_entry(size_t *end, size_t size)
{
    return layout_place(end, size, LAYOUT_ENTRY_ALIGN);
}

static inline size_t layout_place_need(size_t *end, size_t size)
{
    return layout_place(end, size, LAYOUT_NEED_ALIGN);
}

/* The same in a payload that was checked by such a walk. */
static inline struct bytes layout_entry(struct bytes payload, size_t *end, size_t size)
{
    size_t begin = layout_place_entry(end, size);
    return bytes_of(size == 0 ? NULL : (const uint8_t *)payload.data + begin, size);
}

static inline struct bytes layout_need(struct bytes payload, size_t *end, size_t size)
{
    size_t begin = layout_place_need(end, size);
    return bytes_of(size == 0 ? NULL : (const uint8_t *)payload.data + begin, size);
}

/* Room for the next entry at the end of a payload that is being written; the bytes between are
 * zero. */
static inline void *layout_extend_entry(struct buffer *payload, size_t size)
{
    size_t before = payload->size, end = before, begin = layout_place_entry(&end, size);
    uint8_t *at = buffer_extend(payload, end - before);
    if (begin != before) {
        memset(at, 0, begin - before);
    }
    return begin == end ? NULL : at + (begin - before);
}

static inline void layout_append_entry(struct buffer *payload, struct bytes entry)
{
    void *at = layout_extend_entry(payload, entry.size);
    if (entry.size != 0) {
        memcpy(at, entry.data, entry.size);
    }
}

#endif
