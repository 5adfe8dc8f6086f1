#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>

#include "common/rng.h"
#include "proto/batch.h"
#include "proto/layout.h"
#include "proto/local.h"
#include "proto/peer.h"
#include "proto/ring.h"

/*
 * All messages whose payload is made of entries, with entries of each kind and of sizes round every
 * limit, in every order: written as the real parties write them, compared with a model that knows
 * nothing of proto/layout.h, taken through a ring (where long ones are split over records) or
 * through batches (where they are split, too), read, checked, and each entry compared.
 */

static const size_t small_sizes[] = {0, 1, 7, 8, 9, 63, 64, 65, 4095, 4096, 4097};
static const size_t large_sizes[] = {(64u << 10) - 1,  64u << 10,  (64u << 10) + 1,
                                     (256u << 10) - 1, 256u << 10, (256u << 10) + 1,
                                     VALUE_MAX - 1,    VALUE_MAX,  VALUE_MAX + 4096};

#define ENTRIES_MAX 64u

struct entry {
    uint32_t state; /* as in the message */
    size_t size;
    bool has_bytes;
};

struct model { /* what a message has, and the payload that it must have */
    struct entry entries[ENTRIES_MAX];
    size_t count, args;
    uint8_t *payload;
    size_t size, begins[ENTRIES_MAX];
};

static uint8_t *model_room; /* a payload of any size */
static uint8_t *value_room; /* bytes of entries; which ones depends on where one begins there */

static struct bytes value_of(size_t index, size_t size)
{
    return bytes_of(value_room + (index * 31) % 251, size);
}

static size_t next_multiple(size_t at, size_t of)
{
    while (at % of != 0) {
        at++;
    }
    return at;
}

static void model_finish(struct model *m, size_t align)
{
    size_t at = m->args;
    m->payload = model_room;
    memcpy(m->payload, value_of(77, m->args).data, m->args);
    for (size_t i = 0; i < m->count; i++) {
        const struct entry *e = &m->entries[i];
        if (!e->has_bytes) {
            continue;
        }
        size_t begin = next_multiple(at, align);
        memset(m->payload + at, 0, begin - at);
        memcpy(m->payload + begin, value_of(i, e->size).data, e->size);
        m->begins[i] = begin;
        at = begin + e->size;
    }
    m->size = at;
}

/* ---- the ways ---- */

struct ways {
    struct ring_channel server, client;
    struct arena arena;
    struct buffer bytes, batch;
    struct batch_assembly assembly;
};

static int ways_make(void **state)
{
    struct ways *w = xcalloc(1, sizeof *w);
    if (ring_create(&w->server) != 0) {
        return -1;
    }
    int memfd = fcntl(w->server.memfd, F_DUPFD_CLOEXEC, 0);
    int mine = fcntl(w->server.doorbell_mine, F_DUPFD_CLOEXEC, 0);
    int theirs = fcntl(w->server.doorbell_client, F_DUPFD_CLOEXEC, 0);
    size_t room = (size_t)MESSAGE_MAX + VALUE_MAX;
    model_room = xmalloc(room);
    value_room = xmalloc(room);
    for (size_t i = 0; i < room; i++) {
        value_room[i] = (uint8_t)(1 + (i * 7 + (i >> 8)) % 255); /* never like padding */
    }
    *state = w;
    return ring_attach(&w->client, memfd, mine, theirs);
}

static int ways_end(void **state)
{
    struct ways *w = *state;
    ring_fini(&w->client);
    ring_fini(&w->server);
    arena_fini(&w->arena);
    buffer_fini(&w->bytes);
    buffer_fini(&w->batch);
    batch_assembly_fini(&w->assembly);
    free(w);
    free(model_room);
    free(value_room);
    return 0;
}

static struct bytes through_ring(struct ways *w, struct bytes message)
{
    struct bytes got;
    int n;
    assert_int_equal(ring_send(&w->server, message), 0);
    while ((n = ring_receive(&w->client, &w->arena, &got)) == 0) {
        assert_int_equal(ring_flush(&w->client), 0);
        assert_true(ring_flush(&w->server) >= 0);
    }
    assert_int_equal(n, 1);
    return got;
}

static struct bytes through_batches(struct ways *w, struct bytes message)
{
    struct bytes whole = {0};
    for (size_t at = 0; at < message.size;) {
        size_t piece = MIN_OF(message.size - at, (size_t)BATCH_MAX - BATCH_RECORD_HEAD);
        struct batch_record record;
        buffer_clear(&w->batch);
        memcpy(batch_add(&w->batch, piece, message.size - at - piece),
               (const uint8_t *)message.data + at, piece);
        at += piece;
        struct bytes left = bytes_of(w->batch.data, w->batch.size);
        assert_int_equal(batch_next(&left, &record), 1);
        assert_int_equal(batch_assemble(&w->assembly, &record, &whole), at == message.size);
    }
    return bytes_of(arena_copy(&w->arena, whole.data, whole.size), whole.size);
}

static struct bytes encode_local(struct ways *w, const struct local_msg *m)
{
    size_t size = local_size(m);
    buffer_clear(&w->bytes);
    local_encode(m, buffer_extend(&w->bytes, size));
    return bytes_of(w->bytes.data, size);
}

static struct bytes encode_peer(struct ways *w, const struct peer_msg *m)
{
    size_t size = peer_size(m);
    buffer_clear(&w->bytes);
    peer_encode(m, buffer_extend(&w->bytes, size));
    return bytes_of(w->bytes.data, size);
}

static void take_local(struct ways *w, const struct local_msg *m, struct local_msg *ret)
{
    const char *why = "";
    struct bytes got = through_ring(w, encode_local(w, m));
    if (local_decode(got, &w->arena, ret, &why) != 0) {
        fail_msg("type %d: %s", (int)m->type, why);
    }
}

static void take_peer(struct ways *w, const struct peer_msg *m, struct peer_msg *ret)
{
    const char *why = "";
    struct bytes got = through_batches(w, encode_peer(w, m));
    if (peer_decode(got, &w->arena, ret, &why) != 0) {
        fail_msg("type %d: %s", (int)m->type, why);
    }
}

static void same(struct bytes got, const void *data, size_t size)
{
    assert_int_equal(got.size, size);
    if (size != 0) {
        assert_memory_equal(got.data, data, size);
    }
}

/* ---- VALUES ---- */

static void values(struct ways *w, struct model *model)
{
    struct local_value list[ENTRIES_MAX];
    struct local_msg m = {.type = LOCAL_VALUES}, got;
    struct buffer payload = {0};
    for (size_t i = 0; i < model->count; i++) {
        struct entry *e = &model->entries[i];
        list[i] = (struct local_value){{1, 2, i + 1}, e->state, (uint32_t)e->size};
        e->has_bytes = e->state != VALUE_READY;
        if (value_has_bytes(&list[i])) {
            layout_append_entry(&payload, value_of(i, e->size));
        }
    }
    model_finish(model, 8);
    same(bytes_of(payload.data, payload.size), model->payload, model->size);
    m.values = (struct local_values){list, model->count};
    m.payload = bytes_of(payload.data, payload.size);
    take_local(w, &m, &got);
    same(got.payload, model->payload, model->size);
    size_t end = 0;
    for (size_t i = 0; i < model->count; i++) {
        const struct local_value *v = &got.values.values[i];
        assert_int_equal(v->state, model->entries[i].state);
        if (value_has_bytes(v)) {
            same(layout_entry(got.payload, &end, v->size), model->payload + model->begins[i],
                 model->entries[i].size);
        }
    }
    assert_int_equal(end, got.payload.size);
    buffer_fini(&payload);
    arena_reset(&w->arena);
}

/* ---- RESULT, here and from another node ---- */

static void results(struct ways *w, struct model *model)
{
    struct local_return list[ENTRIES_MAX];
    struct local_msg m = {.type = LOCAL_RESULT}, got;
    struct peer_msg far = {.type = PEER_RESULT}, far_got;
    struct buffer payload = {0};
    for (size_t i = 0; i < model->count; i++) {
        struct entry *e = &model->entries[i];
        e->has_bytes = e->state == RETURN_VALUE;
        list[i] = (struct local_return){.state = e->state, .size = (uint32_t)e->size};
        if (e->state == RETURN_ALIAS) {
            list[i].alias = (struct object_id){1, 2, 3};
        }
        if (e->has_bytes) {
            layout_append_entry(&payload, value_of(i, e->size));
        }
    }
    model_finish(model, 8);
    m.payload = far.payload = bytes_of(payload.data, payload.size);
    m.result = (struct local_result){
        .slot = 5, .message = "", .returns = list, .return_count = model->count};
    far.result =
        (struct peer_result){.run = 9, .worker = 3, .returns = list, .return_count = model->count};
    take_local(w, &m, &got);
    take_peer(w, &far, &far_got);
    same(got.payload, model->payload, model->size);
    same(far_got.payload, model->payload, model->size);
    size_t end = 0;
    for (size_t i = 0; i < model->count; i++) {
        const struct local_return *r = &got.result.returns[i];
        assert_memory_equal(r, &list[i], sizeof *r);
        assert_memory_equal(&far_got.result.returns[i], &list[i], sizeof *r);
        if (r->state == RETURN_VALUE) {
            same(layout_entry(got.payload, &end, r->size), model->payload + model->begins[i],
                 model->entries[i].size);
        }
    }
    buffer_fini(&payload);
    arena_reset(&w->arena);
}

/* ---- RUN, here and to another node ---- */

static void runs(struct ways *w, struct model *model)
{
    struct bytes parts[ENTRIES_MAX], back[ENTRIES_MAX];
    uint32_t sizes[ENTRIES_MAX];
    struct local_msg m = {.type = LOCAL_RUN}, got, again;
    struct peer_msg far = {.type = PEER_RUN}, far_got;
    for (size_t i = 0; i < model->count; i++) {
        model->entries[i].has_bytes = true;
        sizes[i] = (uint32_t)model->entries[i].size;
        parts[i] = value_of(i, sizes[i]);
    }
    model_finish(model, 64);
    m.payload = far.payload = value_of(77, model->args);
    m.more = far.more = parts;
    m.more_count = far.more_count = model->count;
    m.run = (struct local_run){.slot = 5,
                               .class_number = 1,
                               .returns = 1,
                               .task = {1, 2, 3},
                               .need_sizes = sizes,
                               .need_count = model->count};
    far.run = (struct peer_run){.run = 9,
                                .number = 1,
                                .returns = 1,
                                .task = {1, 2, 3},
                                .name = "",
                                .args_size = (uint32_t)model->args,
                                .need_sizes = sizes,
                                .need_count = model->count};
    take_local(w, &m, &got);
    same(got.payload, model->payload, model->size);
    take_peer(w, &far, &far_got);
    same(far_got.payload, model->payload, model->size);
    /* As the other node hands it to its worker: the payload in one piece. */
    m.more = NULL;
    m.more_count = 0;
    m.payload = far_got.payload;
    m.run.args_size = far_got.run.args_size;
    m.run.need_sizes = far_got.run.need_sizes;
    take_local(w, &m, &again);
    same(again.payload, model->payload, model->size);
    same(local_run_args(&got), model->payload, model->args);
    same(local_run_args(&again), model->payload, model->args);
    for (size_t turn = 0; turn < 2; turn++) {
        local_run_values(turn == 0 ? &got : &again, back);
        for (size_t i = 0; i < model->count; i++) {
            same(back[i], model->payload + model->begins[i], model->entries[i].size);
        }
    }
    arena_reset(&w->arena);
}

/* ---- every order ---- */

struct kind {
    void (*pass)(struct ways *w, struct model *m);
    uint32_t states;
    bool has_args;
};

static const struct kind kinds[] = {
    {values, VALUE_ERROR + 1, false},
    {results, RETURN_TOO_LARGE + 1, false},
    {runs, 1, true},
};

static void test_every_pair_and_order(void **state)
{
    for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
        size_t choices = kinds[k].states * ARRAY_SIZE(small_sizes);
        for (size_t code = 0; code < choices * choices; code++) {
            struct model m = {.count = 2};
            size_t rest = code;
            for (size_t i = 0; i < 2; i++, rest /= choices) {
                m.entries[i].state = (uint32_t)(rest % choices / ARRAY_SIZE(small_sizes));
                m.entries[i].size = small_sizes[rest % ARRAY_SIZE(small_sizes)];
            }
            m.args = kinds[k].has_args ? small_sizes[code % ARRAY_SIZE(small_sizes)] : 0;
            kinds[k].pass(*state, &m);
        }
    }
}

/* Three, whose sizes leave each remainder; and none at all. */
static void test_every_three_of_small_sizes(void **state)
{
    static const size_t sizes[] = {0, 1, 8, 9, 65};
    for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
        size_t choices = kinds[k].states * ARRAY_SIZE(sizes);
        for (size_t code = 0; code < choices * choices * choices; code++) {
            struct model m = {.count = 3};
            size_t rest = code;
            for (size_t i = 0; i < 3; i++, rest /= choices) {
                m.entries[i].state = (uint32_t)(rest % choices / ARRAY_SIZE(sizes));
                m.entries[i].size = sizes[rest % ARRAY_SIZE(sizes)];
            }
            m.args = kinds[k].has_args ? sizes[code % ARRAY_SIZE(sizes)] : 0;
            kinds[k].pass(*state, &m);
        }
        struct model none = {0};
        kinds[k].pass(*state, &none);
    }
}

static void test_many_by_chance(void **state)
{
    struct rng rng;
    rng_seed(&rng, 20);
    for (int round = 0; round < 600; round++) {
        const struct kind *k = &kinds[round % 3];
        struct model m = {.count = 1 + rng_below(&rng, ENTRIES_MAX)};
        for (size_t i = 0; i < m.count; i++) {
            m.entries[i].state = (uint32_t)rng_below(&rng, k->states);
            m.entries[i].size = rng_below(&rng, 3) == 0
                                    ? small_sizes[rng_below(&rng, ARRAY_SIZE(small_sizes))]
                                    : rng_below(&rng, 300);
        }
        m.args = k->has_args ? rng_below(&rng, 200) : 0;
        k->pass(*state, &m);
    }
}

/* Far above a record of the ring and a batch, beside small ones on both sides. */
static void test_large_ones(void **state)
{
    for (size_t round = 0; round < 3 * ARRAY_SIZE(large_sizes); round++) {
        const struct kind *k = &kinds[round % 3];
        size_t large = large_sizes[round / 3];
        struct model m = {.count = 5, .args = k->has_args ? 33 : 0};
        m.entries[0].size = small_sizes[round % ARRAY_SIZE(small_sizes)];
        m.entries[1].size = large;
        m.entries[2] = (struct entry){.state = k->states - 1, .size = 3};
        m.entries[3].size = large_sizes[(round + 4) % ARRAY_SIZE(large_sizes)];
        m.entries[4].size = 1;
        k->pass(*state, &m);
    }
}

/* ---- limits ---- */

static int decode_again(struct ways *w, struct bytes message, bool far)
{
    const char *why = "";
    struct local_msg m;
    struct peer_msg p;
    int r = far ? peer_decode(message, &w->arena, &p, &why)
                : local_decode(message, &w->arena, &m, &why);
    arena_reset(&w->arena);
    return r;
}

/* Messages whose payload is one value, or bytes that nobody on the way reads. */
static void test_plain_payloads(void **state)
{
    struct ways *w = *state;
    struct local_msg got,
        locals[] = {
            {.type = LOCAL_SUBMIT,
             .submit =
                 {.number = 1, .class_number = 1, .returns = 1, .max_attempts = 1, .name = ""}},
            {.type = LOCAL_PUT, .put = {.number = 1}},
            {.type = LOCAL_LOG, .log = {.node = "", .function = "", .worker = 1, .stream = 1}},
        };
    struct peer_msg far_got,
        far[] = {
            {.type = PEER_VALUE, .value = {.id = {1, 2, 3}}},
            {.type = PEER_VALUE, .value = {.id = {1, 2, 3}, .state = VALUE_ERROR}},
        };
    for (size_t i = 0; i < ARRAY_SIZE(small_sizes) + ARRAY_SIZE(large_sizes) + 1; i++) {
        size_t size = i < ARRAY_SIZE(small_sizes) ? small_sizes[i]
                      : i == ARRAY_SIZE(small_sizes) + ARRAY_SIZE(large_sizes)
                          ? MESSAGE_PAYLOAD_MAX
                          : large_sizes[i - ARRAY_SIZE(small_sizes)];
        struct bytes value = value_of(i, size);
        for (size_t k = 0; k < ARRAY_SIZE(locals); k++) {
            if (size == 0 && locals[k].type == LOCAL_LOG) {
                continue; /* it has lines */
            }
            locals[k].payload = value;
            take_local(w, &locals[k], &got);
            same(got.payload, value.data, size);
            arena_reset(&w->arena);
        }
        for (size_t k = 0; k < ARRAY_SIZE(far) && size <= VALUE_MAX + VALUE_HEADER_ROOM; k++) {
            far[k].payload = value;
            take_peer(w, &far[k], &far_got);
            same(far_got.payload, value.data, size);
            arena_reset(&w->arena);
        }
    }
}

/* What is as large as it may be passes on every way; one byte more is refused by who reads it. */
static void test_the_largest_payload(void **state)
{
    struct ways *w = *state;
    struct local_msg m = {.type = LOCAL_PUT, .put = {.number = 1}};
    struct peer_msg p = {
        .type = PEER_RUN,
        .run = {.run = 1, .number = 1, .returns = 1, .task = {1, 2, 3}, .name = ""}};
    m.payload = p.payload = value_of(1, MESSAGE_PAYLOAD_MAX);
    assert_int_equal(decode_again(w, encode_local(w, &m), false), 0);
    assert_int_equal(decode_again(w, encode_peer(w, &p), true), 0);
    m.payload.size = p.payload.size = MESSAGE_PAYLOAD_MAX + 1;
    assert_int_equal(decode_again(w, encode_local(w, &m), false), -EPROTO);
    assert_int_equal(decode_again(w, encode_peer(w, &p), true), -EPROTO);
    /* A raylet takes no value of another that it would not take of a process. */
    p = (struct peer_msg){.type = PEER_VALUE, .value = {.id = {1, 2, 3}}};
    p.payload = value_of(1, VALUE_MAX + VALUE_HEADER_ROOM);
    assert_int_equal(decode_again(w, encode_peer(w, &p), true), 0);
    p.payload.size++;
    assert_int_equal(decode_again(w, encode_peer(w, &p), true), -EPROTO);
}

/* Where sizes and payload differ by a byte the message is refused: by too few and too many. */
static void test_a_byte_less_or_more(void **state)
{
    struct ways *w = *state;
    struct local_value list[3];
    struct local_msg m = {.type = LOCAL_VALUES, .values = {list, 3}};
    for (size_t size = 0; size < 20; size++) {
        size_t end = 0;
        for (size_t i = 0; i < 3; i++) {
            list[i] = (struct local_value){{1, 2, 3}, i == 1 ? VALUE_READY : VALUE_HERE, 0};
            list[i].size = (uint32_t)size;
            if (value_has_bytes(&list[i])) {
                (void)layout_place_entry(&end, size);
            }
        }
        m.payload = value_of(0, end);
        assert_int_equal(decode_again(w, encode_local(w, &m), false), 0);
        m.payload.size = end + 1;
        assert_int_equal(decode_again(w, encode_local(w, &m), false), -EPROTO);
        if (end > 0) {
            m.payload.size = end - 1;
            assert_int_equal(decode_again(w, encode_local(w, &m), false), -EPROTO);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_pair_and_order, ways_make, ways_end),
        cmocka_unit_test_setup_teardown(test_every_three_of_small_sizes, ways_make, ways_end),
        cmocka_unit_test_setup_teardown(test_many_by_chance, ways_make, ways_end),
        cmocka_unit_test_setup_teardown(test_large_ones, ways_make, ways_end),
        cmocka_unit_test_setup_teardown(test_plain_payloads, ways_make, ways_end),
        cmocka_unit_test_setup_teardown(test_the_largest_payload, ways_make, ways_end),
        cmocka_unit_test_setup_teardown(test_a_byte_less_or_more, ways_make, ways_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
