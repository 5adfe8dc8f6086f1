#include "proto/batch.h"
#include "proto/peer.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/proto/samples.h"

/* Any bytes as a message of a session between raylets: what stands in it lies within it, and what
 * is a message encodes again. */

static void take(struct bytes whole, struct arena *arena)
{
    struct peer_msg m;
    const char *why = NULL;
    int err = peer_decode(whole, arena, &m, &why);
    ASSERT(err == 0 || (err == -EPROTO && why != NULL));
    if (err == 0) {
        uint8_t *again = arena_alloc(arena, peer_size(&m));
        peer_encode(&m, again);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct arena arena;
    struct batch_assembly assembly = {0};
    struct batch_record record;
    struct bytes left = bytes_of(data, size), whole;
    while (batch_next(&left, &record) == 1) {
        const uint8_t *at = record.data.data;
        ASSERT(at >= data && at + record.data.size <= data + size && record.data.size != 0);
        int done = batch_assemble(&assembly, &record, &whole);
        if (done < 0) {
            break;
        }
        if (done == 1) {
            ASSERT(whole.size <= MESSAGE_MAX);
            take(whole, &arena);
        }
    }
    batch_assembly_fini(&assembly);
    arena_reset(&arena);
    return 0;
}

/* Each message, as a batch of its own and in two parts, and all of them. */
bool fuzz_seed(size_t i, struct buffer *ret)
{
    size_t count = sample_peer_count();
    if (i > 2 * count) {
        return false;
    }
    size_t first = i == 2 * count ? 0 : i % count, last = i == 2 * count ? count : first + 1;
    for (size_t k = first; k < last; k++) {
        size_t size = peer_size(sample_peer(k));
        if (i < count || i == 2 * count) {
            peer_encode(sample_peer(k), batch_add(ret, size, 0));
            continue;
        }
        struct buffer whole = {0};
        peer_encode(sample_peer(k), buffer_extend(&whole, size));
        memcpy(batch_add(ret, 5, size - 5), whole.data, 5);
        memcpy(batch_add(ret, size - 5, 0), whole.data + 5, size - 5);
        buffer_fini(&whole);
    }
    return true;
}
