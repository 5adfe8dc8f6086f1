/*
 * A struct by its table, and a payload behind it, as one message in memory: what local and
 * peer messages have in common when they are written. Private to proto/.
 */
#ifndef PROTO_ENCODE_H
#define PROTO_ENCODE_H

#include "proto/codec.h"
#include "proto/message.h"

struct encode_parts { /* of the payload: the first, then `more`, each 64-aligned in it */
    struct bytes first;
    const struct bytes *more;
    size_t more_count;
};

size_t encode_size(const struct codec *codec, const void *body, const struct encode_parts *parts);
/* Exactly that many bytes to `dst` (8-aligned). */
void encode_write(const struct codec *codec, uint8_t type, const void *body,
                  const struct encode_parts *parts, void *dst);

#endif
