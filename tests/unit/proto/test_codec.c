#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/ids.h"
#include "common/rng.h"
#include "proto/cluster.h"
#include "proto/local.h"
#include "proto/peer.h"
#include "proto/tables.h"
#include "tests/unit/proto/descriptors.h"
#include "tests/unit/proto/samples.h"

/* The tables against what protoc-c makes of the .proto files, and our bytes against protobuf-c's.
 */

static const ProtobufCMessageDescriptor *descriptor_found(const char *name)
{
    const ProtobufCMessageDescriptor *descriptor = descriptor_of(name);
    if (descriptor == NULL) {
        fail_msg("no message %s in the .proto files", name);
    }
    return descriptor;
}

static const struct {
    ProtobufCType type;
    ProtobufCLabel label;
} expected[] = {
    [CODEC_BOOL] = {PROTOBUF_C_TYPE_BOOL, PROTOBUF_C_LABEL_NONE},
    [CODEC_U32] = {PROTOBUF_C_TYPE_UINT32, PROTOBUF_C_LABEL_NONE},
    [CODEC_U64] = {PROTOBUF_C_TYPE_UINT64, PROTOBUF_C_LABEL_NONE},
    [CODEC_S32] = {PROTOBUF_C_TYPE_SINT32, PROTOBUF_C_LABEL_NONE},
    [CODEC_S64] = {PROTOBUF_C_TYPE_SINT64, PROTOBUF_C_LABEL_NONE},
    [CODEC_TEXT] = {PROTOBUF_C_TYPE_STRING, PROTOBUF_C_LABEL_NONE},
    [CODEC_PATH] = {PROTOBUF_C_TYPE_BYTES, PROTOBUF_C_LABEL_NONE},
    [CODEC_CHARS] = {PROTOBUF_C_TYPE_STRING, PROTOBUF_C_LABEL_NONE},
    [CODEC_BYTES] = {PROTOBUF_C_TYPE_BYTES, PROTOBUF_C_LABEL_NONE},
    [CODEC_ID] = {PROTOBUF_C_TYPE_FIXED64, PROTOBUF_C_LABEL_REPEATED},
    [CODEC_WORDS] = {PROTOBUF_C_TYPE_FIXED64, PROTOBUF_C_LABEL_REPEATED},
    [CODEC_HALVES] = {PROTOBUF_C_TYPE_FIXED32, PROTOBUF_C_LABEL_REPEATED},
    [CODEC_SUB] = {PROTOBUF_C_TYPE_MESSAGE, PROTOBUF_C_LABEL_NONE},
    [CODEC_SUBS] = {PROTOBUF_C_TYPE_MESSAGE, PROTOBUF_C_LABEL_REPEATED},
    [CODEC_TEXTS] = {PROTOBUF_C_TYPE_STRING, PROTOBUF_C_LABEL_REPEATED},
};

static void hold_against(const struct codec *c, const ProtobufCMessageDescriptor *d)
{
    assert_string_equal(c->name, d->short_name);
    assert_int_equal(c->field_count, d->n_fields);
    for (unsigned i = 0; i < c->field_count; i++) {
        const struct codec_field *f = &c->fields[i];
        const ProtobufCFieldDescriptor *field = &d->fields[i];
        assert_string_equal(f->name, field->name);
        assert_int_equal(field->id, i + 1);
        assert_int_equal(expected[f->kind].type, field->type);
        assert_int_equal(expected[f->kind].label, field->label);
        assert_true(f->offset < c->struct_size);
        if (f->kind == CODEC_SUB || f->kind == CODEC_SUBS) {
            hold_against(f->sub, field->descriptor);
        } else if (f->kind >= CODEC_TEXT && f->kind != CODEC_ID) {
            assert_true(f->max > 0);
        }
        if (f->kind == CODEC_WORDS || f->kind == CODEC_HALVES) {
            assert_true(f->unit != 0 && f->unit % (f->kind == CODEC_WORDS ? 8 : 4) == 0);
        }
    }
}

static void test_tables_follow_the_proto_files(void **state)
{
    unsigned found = 0;
    for (unsigned type = 0; type < 256; type++) {
        const struct codec *c = type < 64   ? local_codec(type)
                                : type < 96 ? cluster_codec(type)
                                            : peer_codec(type);
        if (c != NULL) {
            hold_against(c, descriptor_found(c->name));
            found++;
        }
    }
    assert_int_equal(found, 71);
}

/* protobuf-c reads what we write, and writes the same bytes again. */
static void same_as_protobuf_c(const struct codec *c, const void *body)
{
    size_t size = codec_size(c, body);
    uint8_t *ours = xmalloc(size + 1), *theirs = xmalloc(size + 1);
    ours[size] = 0xee;
    assert_ptr_equal(codec_write(c, body, ours), ours + size);
    assert_int_equal(ours[size], 0xee);
    ProtobufCMessage *m = protobuf_c_message_unpack(descriptor_found(c->name), NULL, size, ours);
    assert_non_null(m);
    assert_int_equal(m->n_unknown_fields, 0);
    assert_int_equal(protobuf_c_message_get_packed_size(m), size);
    assert_int_equal(protobuf_c_message_pack(m, theirs), size);
    assert_memory_equal(ours, theirs, size);
    protobuf_c_message_free_unpacked(m, NULL);
    free(ours);
    free(theirs);
}

static void test_bytes_are_protobuf(void **state)
{
    for (size_t i = 0; i < sample_local_count(); i++) {
        const struct local_msg *m = sample_local(i);
        same_as_protobuf_c(local_codec(m->type), &m->open);
    }
    for (size_t i = 0; i < sample_cluster_count(); i++) {
        const struct cluster_msg *m = sample_cluster(i);
        same_as_protobuf_c(cluster_codec(m->type), &m->join);
    }
    for (size_t i = 0; i < sample_peer_count(); i++) {
        const struct peer_msg *m = sample_peer(i);
        same_as_protobuf_c(peer_codec(m->type), &m->job);
    }
}

struct strange {
    uint64_t number;
    const char *text;
};

static const struct codec_field strange_fields[] = {
    CODEC_FIELD(CODEC_U64, struct strange, number),
    CODEC_BOUND(CODEC_TEXT, struct strange, text, 8),
};
static const struct codec strange_codec = CODEC_OF("Strange", strange_fields, struct strange);

static int strange_read(const char *data, size_t size, struct strange *ret)
{
    static struct arena arena;
    const char *why = NULL;
    arena_reset(&arena);
    int err = codec_read(&strange_codec, bytes_of(data, size), &arena, ret, &why);
    assert_true((err == 0) == (why == NULL));
    return err;
}
#define READ(text, ret) strange_read(text, sizeof(text) - 1, ret)

static void test_strictness(void **state)
{
    struct strange s;
    assert_int_equal(READ("", &s), 0);
    assert_int_equal(s.number, 0);
    assert_string_equal(s.text, "");
    assert_int_equal(READ("\x08\x05\x12\x02hi", &s), 0);
    assert_int_equal(s.number, 5);
    assert_string_equal(s.text, "hi");
    assert_int_equal(READ("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", &s), 0);
    assert_int_equal(s.number, UINT64_MAX);
    assert_int_equal(READ("\x12\x03"
                          "a\xff"
                          "b",
                          &s),
                     0);
    assert_string_equal(s.text, "a?b");
    assert_int_equal(READ("\x12\x03\xe2\x82\xac", &s), 0);
    assert_string_equal(s.text, "\xe2\x82\xac");
    assert_int_equal(READ("\x12\x03\xed\xa0\x80", &s), 0); /* half of a surrogate pair */
    assert_string_equal(s.text, "???");

    assert_int_equal(READ("\x12\x02hi\x08\x05", &s), -EPROTO); /* out of order */
    assert_int_equal(READ("\x08\x05\x08\x05", &s), -EPROTO);   /* twice */
    assert_int_equal(READ("\x18\x05", &s), -EPROTO);           /* unknown */
    assert_int_equal(READ("\x08\x05\x00", &s), -EPROTO);       /* number 0 */
    assert_int_equal(READ("\x0d\x05zzz", &s), -EPROTO);        /* wrong wire type */
    assert_int_equal(READ("\x12\x03hi", &s), -EPROTO);         /* beyond the end */
    assert_int_equal(READ("\x08\x85", &s), -EPROTO);           /* cut off */
    assert_int_equal(READ("\x12\x09ninechars", &s), -EPROTO);  /* above its bound */
    assert_int_equal(READ("\x12\x03h\0i", &s), -EPROTO);       /* NUL inside */
    assert_int_equal(READ("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", &s), -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables_follow_the_proto_files),
        cmocka_unit_test(test_bytes_are_protobuf),
        cmocka_unit_test(test_strictness),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
