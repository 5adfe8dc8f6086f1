/*
 * Protobuf straight between our structs and bytes, by tables: for each message of the .proto files
 * one table says where each field lies in our struct and what bounds it has, in the order of the
 * field numbers (1, 2, 3 ...). The reader is strict, since whoever sends to it is not trusted: it
 * refuses unknown fields, fields twice or out of order, wrong wire types, lengths beyond the end,
 * counts and sizes above the table's bounds. No recursion but that of the tables. Private to
 * proto/. tests/unit/proto/test_codec.c holds the tables against what protoc-c makes of the .proto
 * files.
 */
#ifndef PROTO_CODEC_H
#define PROTO_CODEC_H

#include "common/bytes.h"

enum codec_kind {
    CODEC_BOOL = 1, /* bool            <-> bool */
    CODEC_U32,      /* uint32_t        <-> uint32 */
    CODEC_U64,      /* uint64_t        <-> uint64 */
    CODEC_S32,      /* int32_t         <-> sint32 */
    CODEC_S64,      /* int64_t         <-> sint64 */
    CODEC_TEXT, /* const char *    <-> string; never NULL when read; what is no UTF-8 becomes '?' */
    CODEC_PATH, /* const char *    <-> bytes; any bytes but NUL */
    CODEC_CHARS,  /* char[max + 1]   <-> string */
    CODEC_BYTES,  /* struct bytes    <-> bytes; points into what is read */
    CODEC_ID,     /* struct object_id <-> repeated fixed64, exactly two words */
    CODEC_WORDS,  /* pointer, count  <-> repeated fixed64, `unit` bytes for each element, copied */
    CODEC_HALVES, /* pointer, count  <-> repeated fixed32, likewise */
    CODEC_SUB,    /* a struct        <-> a message */
    CODEC_SUBS,   /* pointer, count  <-> repeated message */
    CODEC_TEXTS,  /* const char *const *, count <-> repeated string, each at most `unit` bytes */
};

struct codec_field {
    const char *name; /* as in the .proto file */
    uint8_t kind;
    uint16_t offset, count_offset;
    uint16_t unit;
    uint32_t max; /* bytes of a text, elements of an array */
    const struct codec *sub;
};

struct codec {
    const char *name; /* of the message, without its package */
    const struct codec_field *fields;
    uint16_t field_count;
    uint16_t struct_size;
};

#define CODEC_OFFSETS(type, member) .offset = offsetof(type, member)
/* One line of a table. */
#define CODEC_FIELD(k, type, member)                                                               \
    {                                                                                              \
        .name = #member, .kind = (k), CODEC_OFFSETS(type, member)                                  \
    }
#define CODEC_BOUND(k, type, member, bound)                                                        \
    {                                                                                              \
        .name = #member, .kind = (k), CODEC_OFFSETS(type, member), .max = (bound)                  \
    }
#define CODEC_INSIDE(type, member, codec)                                                          \
    {                                                                                              \
        .name = #member, .kind = CODEC_SUB, CODEC_OFFSETS(type, member), .sub = (codec)            \
    }
#define CODEC_ARRAY(k, type, member, count, u, bound, codec)                                       \
    {                                                                                              \
        .name = #member, .kind = (k), CODEC_OFFSETS(type, member),                                 \
        .count_offset = offsetof(type, count), .unit = (u), .max = (bound), .sub = (codec)         \
    }
#define CODEC_OF(message, table, type)                                                             \
    {                                                                                              \
        .name = (message), .fields = (table), .field_count = ARRAY_SIZE(table),                    \
        .struct_size = sizeof(type)                                                                \
    }

/* Exact. Texts longer than their bound are cut; counts above theirs are a bug of the caller's. */
size_t codec_size(const struct codec *c, const void *data);
uint8_t *codec_write(const struct codec *c, const void *data, uint8_t *at); /* returns the end */
/* Fills every field of `ret`. 0, or -EPROTO with a reason (static text); `ret` is then half filled.
 */
int codec_read(const struct codec *c, struct bytes in, struct arena *arena, void *ret,
               const char **ret_why) MUST_CHECK;

#endif
