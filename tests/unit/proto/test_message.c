#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/rng.h"
#include "tests/unit/proto/samples.h"

/* Every message there and back, cut and mutated. */

static struct arena arena;

/* In memory of exactly its size, so that a sanitizer sees a read beyond it. */
struct packed {
    uint8_t *data;
    size_t size;
};

enum family { LOCAL, CLUSTER, PEER, FAMILIES };

union any {
    struct local_msg local;
    struct cluster_msg cluster;
    struct peer_msg peer;
};

static struct packed pack(enum family family, const void *m)
{
    size_t size = family == LOCAL     ? local_size(m)
                  : family == CLUSTER ? cluster_size(m)
                                      : peer_size(m);
    uint8_t *data = xmalloc(size);
    memset(data, 0xee, size);
    if (family == LOCAL) {
        local_encode(m, data);
    } else if (family == CLUSTER) {
        cluster_encode(m, data);
    } else {
        peer_encode(m, data);
    }
    return (struct packed){data, size};
}

static int unpack(enum family family, struct bytes data, union any *ret, const char **ret_why)
{
    return family == LOCAL     ? local_decode(data, &arena, &ret->local, ret_why)
           : family == CLUSTER ? cluster_decode(data, &arena, &ret->cluster, ret_why)
                               : peer_decode(data, &arena, &ret->peer, ret_why);
}

static struct packed pack_local(const struct local_msg *m)
{
    return pack(LOCAL, m);
}

static int read_into(enum family family, const uint8_t *data, size_t size, union any *ret)
{
    const char *why = NULL;
    uint8_t *exact = xmalloc(size);
    memcpy(exact, data, size);
    int err = unpack(family, bytes_of(exact, size), ret, &why);
    assert_true(err == 0 || (err == -EPROTO && why != NULL));
    if (err == 0) { /* what it points at is readable, and it encodes again */
        struct packed again = pack(family, ret);
        free(again.data);
    }
    free(exact);
    return err;
}

static int read_local(const uint8_t *data, size_t size, struct local_msg *ret)
{
    union any any;
    int err = read_into(LOCAL, data, size, &any);
    *ret = any.local;
    return err;
}

static int read_any(enum family family, const uint8_t *data, size_t size)
{
    union any any;
    int err = read_into(family, data, size, &any);
    arena_reset(&arena);
    return err;
}

static size_t sample_count(void)
{
    return sample_local_count() + sample_cluster_count() + sample_peer_count();
}

static const void *sample(size_t i, enum family *ret_family)
{
    *ret_family = LOCAL;
    if (i < sample_local_count()) {
        return sample_local(i);
    }
    i -= sample_local_count();
    *ret_family = i < sample_cluster_count() ? CLUSTER : PEER;
    return *ret_family == CLUSTER ? (const void *)sample_cluster(i)
                                  : sample_peer(i - sample_cluster_count());
}

static struct packed pack_sample(size_t i, enum family *ret_family)
{
    const void *m = sample(i, ret_family);
    return pack(*ret_family, m);
}

static void test_round_trip(void **state)
{
    for (size_t i = 0; i < sample_count(); i++) {
        enum family family;
        struct packed first = pack_sample(i, &family);
        union any back;
        const char *why = "";
        if (unpack(family, bytes_of(first.data, first.size), &back, &why) != 0) {
            fail_msg("sample %zu: %s", i, why);
        }
        struct packed again = pack(family, &back);
        assert_int_equal(again.size, first.size);
        assert_memory_equal(again.data, first.data, first.size);
        free(first.data);
        free(again.data);
    }
}

static void test_fields_arrive(void **state)
{
    static const struct object_id needs[] = {{1, 2, 3}, {4, 5, 6}};
    struct local_msg m = {
        .type = LOCAL_SUBMIT,
        .submit = {.number = 7,
                   .class_number = 8,
                   .returns = 9,
                   .parent_slot = 10,
                   .max_attempts = 11,
                   .flags = SUBMIT_AT_MOST_ONCE,
                   .timeout_ns = 12,
                   .backoff_ns = 13,
                   .name = "square",
                   .needs = needs,
                   .need_count = 2,
                   .refs = needs + 1,
                   .ref_count = 1},
        .payload = {"hello", 5},
    };
    struct packed p = pack_local(&m);
    struct local_msg back;
    assert_int_equal(read_local(p.data, p.size, &back), 0);
    assert_int_equal(back.submit.number, 7);
    assert_int_equal(back.submit.class_number, 8);
    assert_int_equal(back.submit.returns, 9);
    assert_int_equal(back.submit.parent_slot, 10);
    assert_int_equal(back.submit.max_attempts, 11);
    assert_int_equal(back.submit.flags, SUBMIT_AT_MOST_ONCE);
    assert_int_equal(back.submit.timeout_ns, 12);
    assert_int_equal(back.submit.backoff_ns, 13);
    assert_string_equal(back.submit.name, "square");
    assert_int_equal(back.submit.need_count, 2);
    assert_true(object_id_equal(back.submit.needs[1], needs[1]));
    assert_int_equal(back.submit.ref_count, 1);
    assert_true(object_id_equal(back.submit.refs[0], needs[1]));
    free(p.data);
}

static void test_values_of_a_run(void **state)
{
    static const uint32_t sizes[] = {3, 0, 70};
    static const uint8_t zeros[70];
    const struct bytes parts[] = {{"abc", 3}, {NULL, 0}, {zeros, 70}};
    struct local_msg m = {
        .type = LOCAL_RUN,
        .run = {.slot = 1,
                .class_number = 1,
                .returns = 1,
                .task = {1, 1, 1},
                .need_sizes = sizes,
                .need_count = 3},
        .payload = {"args", 4},
        .more = parts,
        .more_count = 3,
    };
    struct packed p = pack_local(&m);
    struct local_msg back;
    const char *why;
    assert_int_equal(local_decode(bytes_of(p.data, p.size), &arena, &back, &why), 0);
    assert_int_equal(back.payload.size, 198);
    assert_int_equal((const uint8_t *)back.payload.data - p.data, 64);
    struct bytes args = local_run_args(&back), values[3];
    local_run_values(&back, values);
    assert_int_equal(args.size, 4);
    assert_memory_equal(args.data, "args", 4);
    assert_int_equal(values[0].size, 3);
    assert_memory_equal(values[0].data, "abc", 3);
    assert_int_equal((const uint8_t *)values[0].data - p.data, 128);
    assert_int_equal(values[1].size, 0);
    assert_int_equal(values[2].size, 70);
    assert_memory_equal(values[2].data, zeros, 70);
    free(p.data);

    m.more_count = 0; /* no values at all: the payload is the arguments */
    m.run.need_count = 0;
    p = pack_local(&m);
    assert_int_equal(local_decode(bytes_of(p.data, p.size), &arena, &back, &why), 0);
    assert_int_equal(local_run_args(&back).size, 4);
    free(p.data);
}

static void test_ranges_are_refused(void **state)
{
    static const struct object_id none[] = {{1, 1, 0}}, id[] = {{1, 1, 1}};
    static const struct local_return holding[] = {{RETURN_VALUE, 0, {0}, 1, 0}};
    static const struct local_value value[] = {{{1, 1, 1}, VALUE_HERE, 5}};
    static const struct local_value strange[] = {{{1, 1, 1}, 3, 0}};
    static const struct local_return alias[] = {{RETURN_ALIAS, 0, {0}, 0, 0}};
    const struct local_msg bad[] = {
        {.type = LOCAL_OPEN, .open = {.role = 0}},
        {.type = LOCAL_OPEN, .open = {.role = 4}},
        {.type = LOCAL_OPEN, .open = {.role = 1, .env_size = 3}, .payload = {"A=b", 3}},
        {.type = LOCAL_OPEN, .open = {.role = 1, .env_size = 5}, .payload = {"A=b", 4}},
        {.type = LOCAL_CLASS, .class_ = {.number = 0, .function = "f"}},
        {.type = LOCAL_CLASS, .class_ = {.number = 1}},
        {.type = LOCAL_SUBMIT, .submit = {.class_number = 1, .returns = 1, .max_attempts = 1}},
        {.type = LOCAL_SUBMIT, .submit = {.number = 1, .returns = 1, .max_attempts = 1}},
        {.type = LOCAL_SUBMIT, .submit = {.number = 1, .class_number = 1, .max_attempts = 1}},
        {.type = LOCAL_SUBMIT, .submit = {.number = 1, .class_number = 1, .returns = 1}},
        {.type = LOCAL_SUBMIT,
         .submit = {.number = 1, .class_number = 1, .returns = 4097, .max_attempts = 1}},
        {.type = LOCAL_SUBMIT,
         .submit =
             {.number = 1, .class_number = 1, .returns = 1, .max_attempts = 1, .parent_slot = 129}},
        {.type = LOCAL_SUBMIT,
         .submit = {.number = 1, .class_number = 1, .returns = 1, .max_attempts = 1, .flags = 4}},
        {.type = LOCAL_SUBMIT,
         .submit = {.number = 1,
                    .class_number = 1,
                    .returns = 1,
                    .max_attempts = 1,
                    .needs = none,
                    .need_count = 1}},
        {.type = LOCAL_GET},
        {.type = LOCAL_GET, .get = {.ids = none, .id_count = 1}},
        {.type = LOCAL_RELEASE},
        {.type = LOCAL_CANCEL, .cancel = {.request = 1}},
        {.type = LOCAL_VALUES, .values = {value, 1}, .payload = {"four", 4}},
        {.type = LOCAL_VALUES, .values = {value, 1}, .payload = {"fivesix", 7}},
        {.type = LOCAL_VALUES, .values = {strange, 1}},
        {.type = LOCAL_RUN,
         .run = {.slot = 128, .class_number = 1, .returns = 1, .task = {1, 1, 1}}},
        {.type = LOCAL_RUN, .run = {.slot = 1, .class_number = 1, .returns = 1}},
        {.type = LOCAL_RUN,
         .run = {.class_number = 1, .returns = 1, .task = {1, 1, 1}, .args_size = 5}},
        {.type = LOCAL_RESULT, .result = {.slot = 128}},
        {.type = LOCAL_RESULT, .result = {.returns = alias, .return_count = 1}},
        {.type = LOCAL_RESULT, .result = {.code = 10}, .payload = {"x", 1}},
        {.type = LOCAL_RESULT, .result = {.returns = holding, .return_count = 1}},
        {.type = LOCAL_RESULT, .result = {.refs = id, .ref_count = 1}},
        {.type = LOCAL_RESULT,
         .result = {.returns = holding, .return_count = 1, .refs = none, .ref_count = 1}},
        {.type = LOCAL_RESULT,
         .result = {.code = 10, .returns = holding, .return_count = 1, .refs = id, .ref_count = 1}},
        {.type = LOCAL_RELEASE, .ids = {id, 1, {1, 1, 1}}},
        {.type = LOCAL_LOG, .log = {.stream = 1}},
        {.type = LOCAL_LOG, .log = {.stream = 3}, .payload = {"x", 1}},
        {.type = LOCAL_GOODBYE, .payload = {"x", 1}},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct packed p = pack_local(&bad[i]);
        if (read_any(LOCAL, p.data, p.size) != -EPROTO) {
            fail_msg("message %zu was taken", i);
        }
        free(p.data);
    }
}

#define HASH "0123456789abcdef0123456789abcdef"

static const struct object_id none[] = {{1, 1, 0}}, id[] = {{1, 1, 1}};
static const struct local_amount below[] = {{"CPU", -1}};
static const uint64_t no_run[] = {1, 0};
static const struct peer_step good_step[] = {{LOOK_ROOM, 1, {0}, 0}};
static const struct peer_step no_step[] = {{LOOK_OBJECT, 1, {0}, 0}};
static const struct local_return unset[] = {{RETURN_UNSET, 0, {0}, 1, 0}};
static const struct local_return two[] = {{RETURN_VALUE, 0, {0}, 2, 0}};
static const struct local_return huge[] = {{RETURN_VALUE, 0, {0}, UINT32_MAX, 0},
                                           {RETURN_VALUE, 0, {0}, 2, 0}};
static const struct local_return strange[] = {{RETURN_VALUE, 0, {0}, 0, 1}};
static const uint32_t huge_sizes[] = {UINT32_MAX, UINT32_MAX};
static const uint8_t much[PEER_PART_MAX + 1] = {1};
#define JOB .job = 1, .hash = {HASH, 32}, .program_size = 1, .home = 1
#define RUN .run = 1, .number = 1, .returns = 1, .task = {1, 1, 1}
static const struct peer_msg bad_of_peers[] = {
    {.type = PEER_JOB, .job = {.hash = {HASH, 32}, .program_size = 1, .home = 1}},
    {.type = PEER_JOB, .job = {.job = 1, .hash = {HASH, 32}, .program_size = 1}},
    {.type = PEER_JOB, .job = {.job = 1, .hash = {HASH, 31}, .program_size = 1, .home = 1}},
    {.type = PEER_JOB, .job = {.job = 1, .hash = {HASH, 32}, .home = 1}},
    {.type = PEER_JOB, .job = {JOB, .env_size = 3}, .payload = {"A=b", 3}},
    {.type = PEER_JOB, .job = {JOB, .env_size = 5}, .payload = {"A=b", 4}},
    {.type = PEER_JOB_END},
    {.type = PEER_CLASS, .class_ = {.job = 1, .function = "f"}},
    {.type = PEER_CLASS, .class_ = {.number = 1, .function = "f"}},
    {.type = PEER_CLASS, .class_ = {.number = 1, .job = 1}},
    {.type = PEER_CLASS,
     .class_ = {.number = 1, .job = 1, .function = "f", .amounts = below, .amount_count = 1}},
    {.type = PEER_CLASS_END},
    {.type = PEER_ASK, .ask = {.limit = 1}},
    {.type = PEER_GRANT, .slots = {.number = 1}},
    {.type = PEER_RETURN, .slots = {.count = 1}},
    {.type = PEER_RUN, .run = {.number = 1, .returns = 1, .task = {1, 1, 1}}},
    {.type = PEER_RUN, .run = {.run = 1, .returns = 1, .task = {1, 1, 1}}},
    {.type = PEER_RUN, .run = {.run = 1, .number = 1, .task = {1, 1, 1}}},
    {.type = PEER_RUN, .run = {.run = 1, .number = 1, .returns = 1}},
    {.type = PEER_RUN, .run = {.run = 1, .number = 1, .returns = 4097, .task = {1, 1, 1}}},
    {.type = PEER_RUN, .run = {RUN, .refs = none, .ref_count = 1}},
    {.type = PEER_RUN, .run = {RUN, .args_size = 2}, .payload = {"x", 1}},
    {.type = PEER_RUN, .run = {RUN, .need_sizes = huge_sizes, .need_count = 2}},
    {.type = PEER_STOP, .stop = {.how = 1}},
    {.type = PEER_STOP, .stop = {.run = 1, .how = 3}},
    {.type = PEER_CANCEL, .cancel = {.id = {1, 1, 1}, .flags = 4}},
    {.type = PEER_CANCEL, .cancel = {.flags = 1}},
    {.type = PEER_JOB_ASK},
    {.type = PEER_LIFT, .lift = {.priority = 1}},
    {.type = PEER_LIFT, .lift = {.id = {1, 1, 1}, .run = 1}},
    {.type = PEER_LOGS},
    {.type = PEER_LOOK, .look = {.kind = LOOK_OBJECT, .id = {1, 1, 1}}},
    {.type = PEER_LOOK, .look = {.kind = LOOK_BODY, .node = 1}},
    {.type = PEER_LOOK, .look = {.kind = 5, .node = 1, .id = {1, 1, 1}}},
    {.type = PEER_LOOK,
     .look = {.kind = LOOK_ROOM, .node = 1, .amounts = below, .amount_count = 1}},
    {.type = PEER_SEEN, .seen = {.steps = good_step, .step_count = 1}},
    {.type = PEER_SEEN, .seen = {.stuck = true, .steps = no_step, .step_count = 1}},
    {.type = PEER_SEEN, .seen = {.stuck = true, .amounts = below, .amount_count = 1}},
    {.type = PEER_RECORDED},
    {.type = PEER_STARTED, .runs = {no_run, 2}},
    {.type = PEER_ARGS_FREE, .runs = {no_run, 1}, .payload = {"x", 1}},
    {.type = PEER_BACK, .back = {.reason = 1}},
    {.type = PEER_BACK, .back = {.run = 1, .reason = 4}},
    {.type = PEER_RESULT},
    {.type = PEER_RESULT, .result = {.run = 1, .kind = 3, .failure = {.code = 11}}},
    {.type = PEER_RESULT, .result = {.run = 1, .failure = {.code = 11}}},
    {.type = PEER_RESULT, .result = {.run = 1, .kind = PEER_RESULT_FAILED}},
    {.type = PEER_RESULT, .result = {.run = 1}, .payload = {"x", 1}},
    {.type = PEER_RESULT, .result = {.run = 1, .refs = id, .ref_count = 1}},
    {.type = PEER_RESULT,
     .result = {.run = 1, .returns = unset, .return_count = 1, .refs = id, .ref_count = 1}},
    {.type = PEER_RESULT,
     .result = {.run = 1, .returns = two, .return_count = 1, .refs = id, .ref_count = 1}},
    {.type = PEER_RESULT,
     .result = {.run = 1, .returns = huge, .return_count = 2, .refs = id, .ref_count = 1}},
    {.type = PEER_RESULT, .result = {.run = 1, .returns = strange, .return_count = 1}},
    {.type = PEER_JOB_BROKEN, .job_broken = {.job = 1}},
    {.type = PEER_JOB_BROKEN, .job_broken = {.failure = {.code = 20}}},
    {.type = PEER_LOG, .log = {.job = 1, .stream = 1}},
    {.type = PEER_LOG, .log = {.job = 1, .stream = 3}, .payload = {"x", 1}},
    {.type = PEER_LOG, .log = {.stream = 1}, .payload = {"x", 1}},
    {.type = PEER_LOG, .log = {.job = 1, .stream = 1}, .payload = {much, 65537}},
    {.type = PEER_PROGRAM_GET, .program_get = {.hash = {HASH, 31}}},
    {.type = PEER_PROGRAM_PART, .program_part = {.hash = {HASH, 32}, .total = 1}},
    {.type = PEER_PROGRAM_PART,
     .program_part = {.hash = {HASH, 32}, .offset = UINT64_MAX, .total = 1},
     .payload = {"x", 1}},
    {.type = PEER_PROGRAM_PART,
     .program_part = {.hash = {HASH, 32}, .offset = 1, .total = 1},
     .payload = {"x", 1}},
    {.type = PEER_PROGRAM_PART,
     .program_part = {.hash = {HASH, 32}, .total = UINT64_MAX},
     .payload = {much, sizeof much}},
    {.type = PEER_PROGRAM_PART,
     .program_part = {.hash = {HASH, 32}, .total = 1, .failure = {.code = 34}},
     .payload = {"x", 1}},
    {.type = PEER_ADD},
    {.type = PEER_ADD, .add = {.ids = none, .id_count = 1}},
    {.type = PEER_DROP},
    {.type = PEER_WANT, .ids = {none, 1}},
    {.type = PEER_ADDED},
    {.type = PEER_ADDED, .added = {.gone = none, .gone_count = 1}},
    {.type = PEER_VALUE, .value = {.state = VALUE_HERE}},
    {.type = PEER_VALUE, .value = {.id = {1, 1, 1}, .state = VALUE_READY}},
    {.type = PEER_VALUE,
     .value = {.id = {1, 1, 1}, .state = VALUE_ERROR, .refs = id, .ref_count = 1}},
    {.type = PEER_VALUE, .value = {.id = {1, 1, 1}, .refs = none, .ref_count = 1}},
};

static void test_ranges_of_peers_are_refused(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(bad_of_peers); i++) {
        struct packed p = pack(PEER, &bad_of_peers[i]);
        if (read_any(PEER, p.data, p.size) != -EPROTO) {
            fail_msg("message %zu was taken", i);
        }
        free(p.data);
    }
}

static void test_parts_of_a_peers_run(void **state)
{
    static const uint32_t sizes[] = {3, 70};
    static const uint8_t zeros[70];
    const struct bytes parts[] = {{"abc", 3}, {zeros, 70}};
    struct peer_msg m = {
        .type = PEER_RUN,
        .run = {RUN, .need_sizes = sizes, .need_count = 2},
        .payload = {"args", 4},
        .more = parts,
        .more_count = 2,
    };
    struct packed p = pack(PEER, &m);
    union any back;
    const char *why;
    assert_int_equal(unpack(PEER, bytes_of(p.data, p.size), &back, &why), 0);
    assert_int_equal(back.peer.run.args_size, 4);
    assert_int_equal(back.peer.payload.size, 128 + 70);
    assert_memory_equal(back.peer.payload.data, "args", 4);
    assert_memory_equal((const uint8_t *)back.peer.payload.data + 64, "abc", 3);
    free(p.data);
}

/* Bytes of its payload, and whether nothing in the message says how many they are. */
static size_t payload_of_sample(size_t i, bool *ret_free)
{
    enum family family;
    const void *m = sample(i, &family);
    *ret_free = false;
    if (family == LOCAL) {
        const struct local_msg *l = m;
        *ret_free = l->type == LOCAL_SUBMIT || l->type == LOCAL_PUT || l->type == LOCAL_LOG;
        return l->payload.size;
    }
    if (family == PEER) {
        const struct peer_msg *p = m;
        *ret_free = p->type == PEER_LOG || p->type == PEER_PROGRAM_PART || p->type == PEER_VALUE;
        return p->payload.size;
    }
    return 0;
}

static void test_each_truncation_is_refused(void **state)
{
    for (size_t i = 0; i < sample_count(); i++) {
        enum family family;
        struct packed p = pack_sample(i, &family);
        bool free_payload;
        size_t payload = payload_of_sample(i, &free_payload);
        for (size_t size = 0; size < p.size; size++) {
            /* A payload may be shorter where nothing says its length. */
            bool free_form = free_payload && size >= p.size - payload;
            if (read_any(family, p.data, size) != -EPROTO && !free_form) {
                fail_msg("sample %zu cut to %zu of %zu bytes was taken", i, size, p.size);
            }
        }
        free(p.data);
    }
}

static void test_mutations_never_crash(void **state)
{
    struct rng rng;
    rng_seed(&rng, 1);
    for (unsigned round = 0; round < 20000; round++) {
        enum family family;
        struct packed p = pack_sample(rng_below(&rng, sample_count()), &family);
        for (uint64_t n = rng_between(&rng, 1, 4); n > 0; n--) {
            p.data[rng_below(&rng, p.size)] = (uint8_t)rng_next(&rng);
        }
        read_any(family, p.data, p.size);
        free(p.data);
    }
}

static void test_failure(void **state)
{
    struct failure f = {0}, back;
    failure_set(&f, CODE_CRASHED, "%s crashed", "square");
    f.signal = 11;
    memset(f.task, 'x', sizeof f.task - 1); /* as long as it may be */
    struct buffer b = {0};
    failure_encode(&f, &b);
    assert_int_equal(failure_decode(bytes_of(b.data, b.size), &back), 0);
    assert_int_equal(back.code, CODE_CRASHED);
    assert_int_equal(back.signal, 11);
    assert_string_equal(back.task, f.task);
    assert_string_equal(back.message, "square crashed");
    back.code = 77;
    assert_int_equal(failure_decode(bytes_of(b.data, b.size - 1), &back), -EPROTO);
    assert_int_equal(back.code, 77);
    buffer_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_fields_arrive),
        cmocka_unit_test(test_values_of_a_run),
        cmocka_unit_test(test_ranges_are_refused),
        cmocka_unit_test(test_ranges_of_peers_are_refused),
        cmocka_unit_test(test_parts_of_a_peers_run),
        cmocka_unit_test(test_each_truncation_is_refused),
        cmocka_unit_test(test_mutations_never_crash),
        cmocka_unit_test(test_failure),
    };
    int err = cmocka_run_group_tests(tests, NULL, NULL);
    arena_fini(&arena);
    return err;
}
