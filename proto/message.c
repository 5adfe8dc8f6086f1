#include "proto/message.h"

#include "proto/layout.h"

#define PAD_AT 5

void *message_seal(void *dst, uint8_t type, size_t meta_size, size_t payload_size)
{
    uint8_t *at = dst;
    size_t meta_end = MESSAGE_PREFIX_SIZE + meta_size;
    size_t pad = message_payload_at(meta_size, payload_size) - meta_end;
    ASSERT(meta_size <= UINT32_MAX);
    uint64_t prefix = (uint64_t)meta_size | (uint64_t)type << 32 | (uint64_t)pad << (PAD_AT * 8);
    memcpy(at, &prefix, sizeof prefix);
    memset(at + meta_end, 0, pad);
    return at + meta_end + pad;
}

size_t message_parts_size(struct bytes first, const struct bytes *more, size_t more_count)
{
    size_t size = first.size;
    for (size_t i = 0; i < more_count; i++) {
        (void)layout_place_need(&size, more[i].size);
    }
    return size;
}

void message_parts_write(struct bytes first, const struct bytes *more, size_t more_count,
                         uint8_t *at)
{
    if (first.size != 0) {
        memcpy(at, first.data, first.size);
    }
    size_t size = first.size;
    for (size_t i = 0; i < more_count; i++) {
        size_t before = size, begin = layout_place_need(&size, more[i].size);
        memset(at + before, 0, begin - before);
        if (more[i].size != 0) {
            memcpy(at + begin, more[i].data, more[i].size);
        }
    }
}

static bool all_zero(const uint8_t *at, size_t size)
{
    uint8_t any = 0;
    for (size_t i = 0; i < size; i++) {
        any |= at[i];
    }
    return any == 0;
}

int message_parse(struct bytes data, struct message_view *ret)
{
    if (data.size < MESSAGE_PREFIX_SIZE || data.size > MESSAGE_MAX) {
        return -EPROTO;
    }
    const uint8_t *at = data.data;
    uint64_t prefix;
    memcpy(&prefix, at, sizeof prefix);
    size_t meta_size = (uint32_t)prefix, pad = at[PAD_AT], rest = data.size - MESSAGE_PREFIX_SIZE;
    if (prefix >> 48 != 0 || meta_size > MESSAGE_META_MAX || meta_size > rest ||
        pad > rest - meta_size) {
        return -EPROTO;
    }
    size_t payload_at = MESSAGE_PREFIX_SIZE + meta_size + pad,
           payload_size = data.size - payload_at;
    if (payload_size > MESSAGE_PAYLOAD_MAX ||
        payload_at != message_payload_at(meta_size, payload_size) ||
        !all_zero(at + payload_at - pad, pad)) {
        return -EPROTO;
    }
    *ret = (struct message_view){
        .type = (uint8_t)(prefix >> 32),
        .meta = bytes_of(at + MESSAGE_PREFIX_SIZE, meta_size),
        .payload = bytes_of(at + payload_at, payload_size),
    };
    return 0;
}
