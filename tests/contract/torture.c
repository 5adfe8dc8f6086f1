#include "tests/contract/torture.h"

#include <poll.h>

#include "common/rng.h"

#define DEADLINE_MS   10000
#define BACKLOG_BYTES (8u << 20)
#define BURST_MAX     64

struct head {
    uint64_t sequence;
    uint64_t checksum;
};

/* Fast and good enough to see bytes of another message, or of nowhere. */
static uint64_t checksum_of(const uint8_t *data, size_t size, uint64_t sequence)
{
    uint64_t sum = sequence * 0x9e3779b97f4a7c15ull + size;
    for (size_t i = 0; i < size; i++) {
        sum = (sum ^ data[i]) * 0x100000001b3ull;
    }
    return sum;
}

static size_t size_draw(struct rng *rng)
{
    uint64_t kind = rng_below(rng, 1000);
    return sizeof(struct head) + (kind < 900   ? rng_below(rng, 120)
                                  : kind < 995 ? rng_below(rng, 3000)
                                               : rng_below(rng, 300000));
}

static void message_fill(uint8_t *at, size_t size, uint64_t sequence)
{
    struct head head = {.sequence = sequence};
    memset(at + sizeof head, (int)sequence, size - sizeof head);
    head.checksum = checksum_of(at + sizeof head, size - sizeof head, sequence);
    memcpy(at, &head, sizeof head);
}

static const char *message_check(struct bytes message, uint64_t sequence)
{
    struct head head;
    if (message.size < sizeof head) {
        return "a message is too short";
    }
    memcpy(&head, message.data, sizeof head);
    const uint8_t *rest = (const uint8_t *)message.data + sizeof head;
    if (head.sequence != sequence) {
        return "a message is lost or overtaken";
    }
    return head.checksum == checksum_of(rest, message.size - sizeof head, sequence)
               ? NULL
               : "a message has other bytes";
}

static const char *send_one(struct ring_channel *c, struct rng *rng, uint8_t *scratch,
                            uint64_t sequence)
{
    size_t size = size_draw(rng);
    uint8_t *at = rng_chance(rng, 0.7) ? ring_reserve(c, size) : NULL;
    if (at != NULL) {
        message_fill(at, size, sequence);
        ring_commit(c);
        return NULL;
    }
    message_fill(scratch, size, sequence);
    return ring_send(c, bytes_of(scratch, size)) == 0 ? NULL : "send failed";
}

static const char *sleep_until_rung(struct torture *t)
{
    struct ring_channel *c = t->channel;
    if (!ring_arm(c)) {
        return c->failed ? "the layout is broken" : NULL;
    }
    struct pollfd wait = {.fd = c->doorbell_mine, .events = POLLIN};
    int n = poll(&wait, 1, DEADLINE_MS);
    ring_disarm(c);
    t->sleeps++;
    return n == 1 ? NULL : "nobody woke us";
}

static const char *receive_some(struct torture *t, struct rng *rng, struct arena *arena,
                                unsigned *received)
{
    for (uint64_t n = rng_below(rng, 2 * BURST_MAX); n > 0; n--) {
        struct bytes message;
        int got = ring_receive(t->channel, arena, &message);
        if (got <= 0) {
            return got == 0 ? NULL : "receive failed";
        }
        const char *why = message_check(message, (*received)++);
        if (why != NULL) {
            return why;
        }
    }
    arena_reset(arena);
    return NULL;
}

static const char *run(struct torture *t, struct rng *rng, struct arena *arena, uint8_t *scratch)
{
    struct ring_channel *c = t->channel;
    unsigned sent = 0, received = 0;
    const char *why = NULL;
    while (why == NULL && (sent < t->messages || received < t->messages || ring_has_queue(c))) {
        for (uint64_t n = rng_below(rng, BURST_MAX);
             n > 0 && sent < t->messages && c->queue.size < BACKLOG_BYTES && why == NULL; n--) {
            why = send_one(c, rng, scratch, sent++);
        }
        if (rng_chance(rng, 0.5) && ring_flush(c) < 0) {
            return "flush failed";
        }
        why = why != NULL ? why : receive_some(t, rng, arena, &received);
        bool idle = sent == t->messages || c->queue.size >= BACKLOG_BYTES ||
                    (t->naps && rng_chance(rng, 0.1));
        if (why == NULL && idle && ring_flush(c) >= 0 &&
            (received < t->messages || ring_has_queue(c))) {
            why = sleep_until_rung(t);
        }
    }
    return why == NULL && ring_flush(c) < 0 ? "flush failed" : why;
}

void torture_run(struct torture *t)
{
    struct rng rng;
    struct arena arena = {0};
    uint8_t *scratch = xmalloc(400000);
    rng_seed(&rng, t->seed);
    t->why = run(t, &rng, &arena, scratch);
    arena_fini(&arena);
    free(scratch);
}
