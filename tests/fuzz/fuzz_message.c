#include "proto/cluster.h"
#include "proto/local.h"
#include "proto/peer.h"
#include "proto/tables.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/proto/reference.h"
#include "tests/unit/proto/samples.h"

/*
 * Any bytes as a local, a cluster and a peer message. What is taken is protobuf for protobuf-c too,
 * without unknown fields, and encodes to bytes that mean the same; and no two of the three take it,
 * since a type belongs to one.
 */

union message {
    struct local_msg local;
    struct cluster_msg cluster;
    struct peer_msg peer;
};

struct family {
    int (*decode)(struct bytes data, struct arena *arena, union message *ret, const char **ret_why);
    void (*encode)(const union message *m, struct buffer *ret);
    const struct codec *(*codec)(unsigned type);
    size_t (*sample_count)(void);
    void (*sample)(size_t i, struct buffer *ret); /* encoded */
};

static int decode_local(struct bytes data, struct arena *arena, union message *ret,
                        const char **ret_why)
{
    int err = local_decode(data, arena, &ret->local, ret_why);
    if (err != 0 || ret->local.type != LOCAL_RUN) {
        return err;
    }
    const struct local_msg *m = &ret->local;
    struct bytes *values = arena_alloc(arena, m->run.need_count * sizeof *values);
    local_run_values(m, values);
    for (size_t i = 0; i < m->run.need_count; i++) {
        ASSERT((const uint8_t *)values[i].data + values[i].size <=
               (const uint8_t *)data.data + data.size);
    }
    return 0;
}

static void write_local(const struct local_msg *m, struct buffer *ret)
{
    local_encode(m, buffer_extend(ret, local_size(m)));
}

static void encode_local(const union message *m, struct buffer *ret)
{
    write_local(&m->local, ret);
}

static void seed_local(size_t i, struct buffer *ret)
{
    write_local(sample_local(i), ret);
}

static int decode_cluster(struct bytes data, struct arena *arena, union message *ret,
                          const char **ret_why)
{
    return cluster_decode(data, arena, &ret->cluster, ret_why);
}

static void write_cluster(const struct cluster_msg *m, struct buffer *ret)
{
    cluster_encode(m, buffer_extend(ret, cluster_size(m)));
}

static void encode_cluster(const union message *m, struct buffer *ret)
{
    write_cluster(&m->cluster, ret);
}

static void seed_cluster(size_t i, struct buffer *ret)
{
    write_cluster(sample_cluster(i), ret);
}

static int decode_peer(struct bytes data, struct arena *arena, union message *ret,
                       const char **ret_why)
{
    return peer_decode(data, arena, &ret->peer, ret_why);
}

static void write_peer(const struct peer_msg *m, struct buffer *ret)
{
    peer_encode(m, buffer_extend(ret, peer_size(m)));
}

static void encode_peer(const union message *m, struct buffer *ret)
{
    write_peer(&m->peer, ret);
}

static void seed_peer(size_t i, struct buffer *ret)
{
    write_peer(sample_peer(i), ret);
}

static const struct family families[] = {
    {decode_local, encode_local, local_codec, sample_local_count, seed_local},
    {decode_cluster, encode_cluster, cluster_codec, sample_cluster_count, seed_cluster},
    {decode_peer, encode_peer, peer_codec, sample_peer_count, seed_peer},
};

/* `m` was decoded from `data`. */
static void check_taken(const struct family *f, struct bytes data, const union message *m,
                        struct arena *arena)
{
    static struct buffer first, second;
    static union message again;
    struct message_view view;
    const char *why;
    ASSERT(message_parse(data, &view) == 0);
    ASSERT(reference_accepts(f->codec(view.type)->name, view.meta));
    buffer_clear(&first);
    f->encode(m, &first);
    ASSERT(f->decode(bytes_of(first.data, first.size), arena, &again, &why) == 0);
    buffer_clear(&second);
    f->encode(&again, &second);
    ASSERT(first.size == second.size && memcmp(first.data, second.data, first.size) == 0);
}

static void try_message(struct bytes data)
{
    static struct arena arena;
    static union message m;
    unsigned taken = 0;
    for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
        const char *why = NULL;
        int err = families[i].decode(data, &arena, &m, &why);
        ASSERT(err == 0 || (err == -EPROTO && why != NULL));
        if (err == 0) {
            check_taken(&families[i], data, &m, &arena);
            taken++;
        }
    }
    ASSERT(taken <= 1);
    arena_reset(&arena);
}

/* A sound frame round what follows its first byte: else most mutations end at the frame. */
static void try_meta(const uint8_t *data, size_t size)
{
    size_t meta_size = size - 1;
    uint8_t *framed = xmalloc(MESSAGE_PREFIX_SIZE + meta_size);
    memcpy(framed + MESSAGE_PREFIX_SIZE, data + 1, meta_size);
    message_seal(framed, data[0], meta_size, 0);
    try_message(bytes_of(framed, MESSAGE_PREFIX_SIZE + meta_size));
    free(framed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct failure failure;
    int err = failure_decode(bytes_of(data, size), &failure);
    ASSERT(err == 0 || err == -EPROTO);
    try_message(bytes_of(data, size));
    if (size != 0) {
        try_meta(data, size);
    }
    return 0;
}

/* Each message twice: whole, and its meta behind its type. */
bool fuzz_seed(size_t i, struct buffer *ret)
{
    const struct family *f = families;
    for (; f != families + ARRAY_SIZE(families) && i / 2 >= f->sample_count(); f++) {
        i -= 2 * f->sample_count();
    }
    if (f == families + ARRAY_SIZE(families)) {
        return false;
    }
    struct buffer whole = {0};
    struct message_view view;
    f->sample(i / 2, &whole);
    if (i % 2 == 0) {
        buffer_append(ret, whole.data, whole.size);
    } else {
        ASSERT(message_parse(bytes_of(whole.data, whole.size), &view) == 0);
        buffer_append(ret, &view.type, 1);
        buffer_append(ret, view.meta.data, view.meta.size);
    }
    buffer_fini(&whole);
    return true;
}
