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

static struct packed pack_local(const struct local_msg *m)
{
    size_t size = local_size(m);
    uint8_t *data = xmalloc(size);
    memset(data, 0xee, size);
    local_encode(m, data);
    return (struct packed){data, size};
}

static struct packed pack_cluster(const struct cluster_msg *m)
{
    size_t size = cluster_size(m);
    uint8_t *data = xmalloc(size);
    cluster_encode(m, data);
    return (struct packed){data, size};
}

static int read_local(const uint8_t *data, size_t size, struct local_msg *ret)
{
    const char *why = NULL;
    uint8_t *exact = xmalloc(size);
    memcpy(exact, data, size);
    int err = local_decode(bytes_of(exact, size), &arena, ret, &why);
    assert_true(err == 0 || (err == -EPROTO && why != NULL));
    if (err == 0) { /* what it points at is readable, and it encodes again */
        struct packed again = pack_local(ret);
        free(again.data);
    }
    free(exact);
    return err;
}

static int read_cluster(const uint8_t *data, size_t size, struct cluster_msg *ret)
{
    const char *why = NULL;
    uint8_t *exact = xmalloc(size);
    memcpy(exact, data, size);
    int err = cluster_decode(bytes_of(exact, size), &arena, ret, &why);
    assert_true(err == 0 || (err == -EPROTO && why != NULL));
    if (err == 0) {
        struct packed again = pack_cluster(ret);
        free(again.data);
    }
    free(exact);
    return err;
}

static int read_any(bool local, const uint8_t *data, size_t size)
{
    struct local_msg l;
    struct cluster_msg c;
    int err = local ? read_local(data, size, &l) : read_cluster(data, size, &c);
    arena_reset(&arena);
    return err;
}

static size_t sample_count(void)
{
    return sample_local_count() + sample_cluster_count();
}

static struct packed pack_sample(size_t i, bool *ret_local)
{
    *ret_local = i < sample_local_count();
    return *ret_local ? pack_local(sample_local(i))
                      : pack_cluster(sample_cluster(i - sample_local_count()));
}

static void test_round_trip(void **state)
{
    for (size_t i = 0; i < sample_local_count(); i++) {
        struct packed first = pack_local(sample_local(i));
        struct local_msg back;
        const char *why = "";
        if (local_decode(bytes_of(first.data, first.size), &arena, &back, &why) != 0) {
            fail_msg("local sample %zu: %s", i, why);
        }
        assert_int_equal(back.type, sample_local(i)->type);
        assert_int_equal(back.payload.size, sample_local(i)->payload.size);
        struct packed again = pack_local(&back);
        assert_int_equal(again.size, first.size);
        assert_memory_equal(again.data, first.data, first.size);
        free(first.data);
        free(again.data);
    }
    for (size_t i = 0; i < sample_cluster_count(); i++) {
        struct packed first = pack_cluster(sample_cluster(i));
        struct cluster_msg back;
        const char *why = "";
        if (cluster_decode(bytes_of(first.data, first.size), &arena, &back, &why) != 0) {
            fail_msg("cluster sample %zu: %s", i, why);
        }
        struct packed again = pack_cluster(&back);
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
    static const struct object_id none[] = {{1, 1, 0}};
    static const struct local_value value[] = {{{1, 1, 1}, VALUE_HERE, 5}};
    static const struct local_value strange[] = {{{1, 1, 1}, 3, 0}};
    static const struct local_return alias[] = {{RETURN_ALIAS, 0, {0}, 0, 0}};
    const struct local_msg bad[] = {
        {.type = LOCAL_OPEN, .open = {.role = 0}},
        {.type = LOCAL_OPEN, .open = {.role = 4}},
        {.type = LOCAL_OPEN, .open = {.role = 1, .env = {"A=b", 3}}},
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
        {.type = LOCAL_GOODBYE, .payload = {"x", 1}},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct packed p = pack_local(&bad[i]);
        if (read_any(true, p.data, p.size) != -EPROTO) {
            fail_msg("message %zu was taken", i);
        }
        free(p.data);
    }
}

static void test_each_truncation_is_refused(void **state)
{
    for (size_t i = 0; i < sample_count(); i++) {
        bool local;
        struct packed p = pack_sample(i, &local);
        for (size_t size = 0; size < p.size; size++) {
            /* A payload may be shorter where nothing says its length. */
            bool free_form =
                local &&
                (sample_local(i)->type == LOCAL_SUBMIT || sample_local(i)->type == LOCAL_PUT) &&
                size >= p.size - sample_local(i)->payload.size;
            if (read_any(local, p.data, size) != -EPROTO && !free_form) {
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
        bool local;
        struct packed p = pack_sample(rng_below(&rng, sample_count()), &local);
        for (uint64_t n = rng_between(&rng, 1, 4); n > 0; n--) {
            p.data[rng_below(&rng, p.size)] = (uint8_t)rng_next(&rng);
        }
        read_any(local, p.data, p.size);
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
        cmocka_unit_test(test_each_truncation_is_refused),
        cmocka_unit_test(test_mutations_never_crash),
        cmocka_unit_test(test_failure),
    };
    int err = cmocka_run_group_tests(tests, NULL, NULL);
    arena_fini(&arena);
    return err;
}
