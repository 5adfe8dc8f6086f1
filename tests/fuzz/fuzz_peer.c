#include "proto/peer.h"
#include "proto/tables.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/proto/reference.h"
#include "tests/unit/proto/samples.h"

/* Any bytes as a message between raylets; see fuzz_local.c. */

static void encode(const struct peer_msg *m, struct buffer *ret)
{
    buffer_clear(ret);
    peer_encode(m, buffer_extend(ret, peer_size(m)));
}

static void try_message(const uint8_t *data, size_t size)
{
    static struct arena arena;
    static struct buffer first, second;
    const char *why = NULL;
    struct peer_msg m, again;
    int err = peer_decode(bytes_of(data, size), &arena, &m, &why);
    ASSERT(err == 0 || (err == -EPROTO && why != NULL));
    if (err == 0) {
        struct message_view view;
        ASSERT(message_parse(bytes_of(data, size), &view) == 0);
        ASSERT(reference_accepts(peer_codec(view.type)->name, view.meta));
        encode(&m, &first);
        ASSERT(peer_decode(bytes_of(first.data, first.size), &arena, &again, &why) == 0);
        encode(&again, &second);
        ASSERT(first.size == second.size && memcmp(first.data, second.data, first.size) == 0);
    }
    arena_reset(&arena);
}

/* A sound frame round what follows its first byte: else most mutations end at the frame. */
static void try_meta(const uint8_t *data, size_t size)
{
    size_t meta_size = size - 1;
    uint8_t *framed = xmalloc(MESSAGE_PREFIX_SIZE + meta_size);
    memcpy(framed + MESSAGE_PREFIX_SIZE, data + 1, meta_size);
    message_seal(framed, data[0], meta_size, 0);
    try_message(framed, MESSAGE_PREFIX_SIZE + meta_size);
    free(framed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_message(data, size);
    if (size != 0) {
        try_meta(data, size);
    }
    return 0;
}

/* Each message twice: whole, and its meta behind its type. */
bool fuzz_seed(size_t i, struct buffer *ret)
{
    if (i / 2 >= sample_peer_count()) {
        return false;
    }
    struct buffer whole = {0};
    struct message_view view;
    encode(sample_peer(i / 2), &whole);
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
