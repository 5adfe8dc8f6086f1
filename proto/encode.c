#include "proto/encode.h"

size_t encode_size(const struct codec *codec, const void *body, const struct encode_parts *parts)
{
    size_t payload = message_parts_size(parts->first, parts->more, parts->more_count);

    return message_payload_at(codec_size(codec, body), payload) + payload;
}

void encode_write(const struct codec *codec, uint8_t type, const void *body,
                  const struct encode_parts *parts, void *dst)
{
    uint8_t *meta = (uint8_t *)dst + MESSAGE_PREFIX_SIZE;
    size_t meta_size = (size_t)(codec_write(codec, body, meta) - meta);
    size_t payload = message_parts_size(parts->first, parts->more, parts->more_count);

    message_parts_write(parts->first, parts->more, parts->more_count,
                        message_seal(dst, type, meta_size, payload));
}
