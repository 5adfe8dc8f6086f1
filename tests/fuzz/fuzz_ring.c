#include "proto/ring.h"
#include "tests/fuzz/fuzz.h"

#include <unistd.h>

/*
 * A hostile side of a ring: the input is a list of what it does to the shared memory, between which
 * our side receives, sends and flushes. Commands are two bytes (which, argument) and what they need
 * behind.
 */

#define LANE_BYTES   384u /* of the segment's beginning: see struct ring_lane */
#define DATA_AT      4096u
#define BEGINS_AT    256u        /* bytes before a ring's end, at most */
#define REACHED      (32u << 10) /* of our incoming data's beginning, by commands, at most */
#define COMMANDS_MAX 64
#define SENT_MAX     (2u * RING_BYTES) /* by one input: what an input costs is mostly that */

enum command {
    PUT_RECORD =
        0,         /* size 3, kind and total 4: at the hostile side's own position, and published */
    PUT_WORD = 1,  /* at 2, word 8: anywhere in the head of the segment */
    PUT_DATA = 2,  /* at 2, word 8: in the data */
    MOVE_TAIL = 3, /* to 8 */
    MOVE_HEAD = 4, /* to 8 */
    RECEIVE = 5,
    SEND = 6, /* size 3 */
    FLUSH = 7,
    ARM = 8,
    READ_ALL = 9, /* the hostile side says that it read all that we published */
    COMMANDS = 10,
};

struct hostile {
    struct ring_channel ours;
    uint8_t *segment;
    uint64_t base, tail; /* where it began, where it would write next */
    size_t written;      /* of the incoming data's beginning: to be cleared for the next input */
    size_t sent;
    struct arena arena;
};

static void segment_clear(struct hostile *h, uint64_t base)
{
    memset(h->segment, 0, DATA_AT + h->written);
    memset(h->segment + DATA_AT + RING_BYTES - BEGINS_AT, 0, BEGINS_AT);
    h->written = 0;
    for (unsigned lane = 0; lane < 2; lane++) {
        for (unsigned position = 0; position < 2; position++) {
            memcpy(h->segment + lane * LANE_BYTES + position * 128, &base, sizeof base);
        }
    }
    struct ring_channel *c = &h->ours;
    c->tail = c->tail_published = c->head_seen = c->head = c->head_published = c->tail_seen = base;
    c->reserved = c->queue_sent = c->piece_sent = c->assembly_size = 0;
    c->failed = false;
    buffer_clear(&c->queue);
    buffer_clear(&c->assembly);
    h->base = h->tail = base;
    h->sent = 0;
}

/* `at`: 8-aligned, in the incoming data. */
static void data_put(struct hostile *h, size_t at, const void *word)
{
    memcpy(h->segment + DATA_AT + at, word, 8);
    if (at < RING_BYTES - BEGINS_AT) {
        h->written = MAX_OF(h->written, at + 8);
    }
}

static void tail_publish(struct hostile *h)
{
    memcpy(h->segment, &h->tail, sizeof h->tail);
}

static void record_put(struct hostile *h, struct fuzz_input *in)
{
    uint32_t head[2] = {(uint32_t)fuzz_take(in, 3), (uint32_t)fuzz_take(in, 4)};
    if (h->tail - h->base < REACHED) {
        data_put(h, h->tail % RING_BYTES, head);
    }
    h->tail += sizeof head + align_up(head[0], 8);
    tail_publish(h);
}

static void receive(struct hostile *h)
{
    struct bytes message;
    int got = ring_receive(&h->ours, &h->arena, &message);
    ASSERT(got == 1 || got == 0 || got == -EPROTO);
    if (got == 1) {
        ASSERT(message.size <= MESSAGE_MAX && (uintptr_t)message.data % 64 == 0);
        /* All of it is there to be read. */
        volatile uint8_t last =
            message.size != 0 ? ((const uint8_t *)message.data)[message.size - 1] : 0;
        (void)last;
    }
    ASSERT((got == -EPROTO) == h->ours.failed);
    arena_reset(&h->arena);
}

static void send_zeros(struct hostile *h, size_t size)
{
    static const uint8_t zeros[1 << 24];
    if (size <= MESSAGE_MAX) { /* else it is refused */
        size = MIN_OF(size, SENT_MAX - h->sent);
        h->sent += size;
    }
    int err = ring_send(&h->ours, bytes_of(zeros, size));
    ASSERT(err == 0 || err == -EMSGSIZE || err == -ENOBUFS || (err == -EPROTO && h->ours.failed));
}

static void command_run(struct hostile *h, enum command command, struct fuzz_input *in)
{
    int err;
    uint64_t at, word;
    uint8_t *segment = h->segment;
    switch (command) {
    case PUT_RECORD:
        record_put(h, in);
        return;
    case PUT_WORD:
        at = fuzz_take(in, 2) % DATA_AT & ~7ull;
        word = fuzz_take(in, 8);
        memcpy(segment + at, &word, sizeof word);
        return;
    case PUT_DATA:
        at = fuzz_take(in, 2) % REACHED & ~7ull;
        word = fuzz_take(in, 8);
        data_put(h, at, &word);
        return;
    case MOVE_TAIL:
    case MOVE_HEAD:
        at = fuzz_take(in, 8);
        memcpy(segment + (command == MOVE_TAIL ? 0 : LANE_BYTES + 128), &at, sizeof at);
        return;
    case RECEIVE:
        receive(h);
        return;
    case SEND:
        send_zeros(h, fuzz_take(in, 3));
        return;
    case FLUSH:
        err = ring_flush(&h->ours);
        ASSERT(err == 0 || err == 1 || err == -EPROTO);
        return;
    case ARM:
        if (ring_arm(&h->ours)) {
            ring_disarm(&h->ours);
        }
        return;
    default:
        memcpy(segment + LANE_BYTES + 128, segment + LANE_BYTES, sizeof at);
        return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct hostile h;
    if (h.segment == NULL) {
        ASSERT(ring_create(&h.ours) == 0);
        h.segment = (uint8_t *)h.ours.segment;
    }
    struct fuzz_input in = {data, data + size};
    /* Near the ring's end too, where records wrap. */
    segment_clear(&h, RING_BYTES * 4ull - fuzz_take(&in, 1) % (BEGINS_AT / 8) * 8);
    for (unsigned n = 0; n < COMMANDS_MAX && fuzz_more(&in); n++) {
        command_run(&h, (enum command)(fuzz_take(&in, 1) % COMMANDS), &in);
    }
    receive(&h);
    ring_disarm(&h.ours);
    return 0;
}

bool fuzz_seed(size_t i, struct buffer *ret)
{
    static const uint8_t seeds[][64] = {
        {0, PUT_RECORD, 16, 0, 0, 0, 0, 0, 0x10, RECEIVE, SEND, 200, 0, 0, FLUSH, READ_ALL, FLUSH},
        {3, PUT_RECORD, 16, 0, 0, 0, 0, 0, 0x40, PUT_RECORD, 32, 0, 0, 0, 0, 0, 0x10, RECEIVE,
         RECEIVE},
        {0,    PUT_RECORD, 16,         0,  0, 48, 0, 0, 0x20, PUT_RECORD, 16,      0,  0, 0, 0, 0,
         0x30, RECEIVE,    PUT_RECORD, 16, 0, 0,  0, 0, 0,    0x30,       RECEIVE, ARM},
        {9, SEND, 0, 0, 5, SEND, 0, 0, 3, FLUSH, READ_ALL, FLUSH, READ_ALL, FLUSH, READ_ALL, FLUSH,
         ARM},
        {1,         MOVE_TAIL, 64, 0,  16, 0, 0, 0, 0, 0,    RECEIVE,
         MOVE_HEAD, 8,         0,  16, 0,  0, 0, 0, 0, FLUSH},
        {0,        PUT_WORD, 1, 0,  1, 2, 3, 4, 5, 6, 7,  8,
         PUT_DATA, 0,        0, 16, 0, 0, 0, 0, 0, 0, 16, RECEIVE},
    };
    if (i >= ARRAY_SIZE(seeds)) {
        return false;
    }
    buffer_append(ret, seeds[i], sizeof seeds[i]);
    return true;
}
