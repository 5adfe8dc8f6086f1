/*
 * How one message lies in memory, on every transport: a prefix of 8 bytes, the packed protobuf
 * message (meta), padding, and the payload, which nobody on the way decodes.
 *
 *   u32 meta_size   u8 type   u8 pad   u16 zero   meta   pad bytes   payload
 *
 * Little-endian. The payload begins 64-aligned relative to the message when it has 64 bytes or
 * more, else 8-aligned, with as few pad bytes (zero) as that takes; none without a payload. No I/O
 * here. Types: proto/local.h (1..63), proto/cluster.h (64..95), proto/peer.h
 * (96..127).
 */
#ifndef PROTO_MESSAGE_H
#define PROTO_MESSAGE_H

#include "common/bytes.h"

#define MESSAGE_PREFIX_SIZE 8u
#define MESSAGE_META_MAX    (1u << 20) /* packed protobuf of one message */
#define VALUE_MAX           (1u << 20) /* one value, until the arena exists */
#define VALUE_HEADER_ROOM   4096u      /* of the SDK's encoding, above VALUE_MAX */
#define MESSAGE_PAYLOAD_MAX                                                                        \
    (4u * VALUE_MAX) /* the values of a task's arguments, or of its results */
#define MESSAGE_MAX (MESSAGE_META_MAX + MESSAGE_PAYLOAD_MAX + 128u) /* with prefix and padding */

/* What a message looks like before it is copied: `meta` and `payload` point into `data`. */
struct message_view {
    uint8_t type;
    struct bytes meta;
    struct bytes payload;
};

/* 0, or -EPROTO: too short, sizes beyond the end, bytes that must be zero. Never trusts. */
int message_parse(struct bytes data, struct message_view *ret) MUST_CHECK;

/* Where the payload begins. */
static inline size_t message_payload_at(size_t meta_size, size_t payload_size)
{
    size_t at = MESSAGE_PREFIX_SIZE + meta_size;
    return payload_size == 0 ? at : align_up(at, payload_size >= 64 ? 64 : 8);
}

/* Writes prefix and pad bytes round a meta of `meta_size` bytes that stands at dst +
 * MESSAGE_PREFIX_SIZE; returns where the payload goes. */
void *message_seal(void *dst, uint8_t type, size_t meta_size, size_t payload_size);

/* A payload of several parts: the first, then `more`, each 64-aligned in it. */
size_t message_parts_size(struct bytes first, const struct bytes *more, size_t more_count);
void message_parts_write(struct bytes first, const struct bytes *more, size_t more_count,
                         uint8_t *at);

#endif
