/* The flat form of values and arguments: there and back, and never trusting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/rng.h"
#include "sdk/errors.h"
#include "sdk/values.h"

struct point {
    int32_t x, y;
};

static struct value_view round_trip(struct drt_value v, uint8_t *room)
{
    struct value_view view = {0};
    assert_int_equal(value_check(&v, "it"), 0);
    size_t size = value_size(&v);
    value_encode(&v, room);
    assert_int_equal(value_decode(bytes_of(room, size), &view), 0);
    for (size_t cut = 0; cut < size; cut++) { /* a piece of it is refused, or has no data beyond */
        struct value_view part;
        uint8_t *copy = xmalloc(cut + 1);
        memcpy(copy, room, cut);
        (void)!value_decode(bytes_of(copy, cut), &part);
        free(copy);
    }
    return view;
}

static void test_round_trips(void **state)
{
    _Alignas(64) static uint8_t room[4096];
    struct point points[40] = {[39] = {3, 4}};
    struct value_view v = round_trip(drt_i64(INT64_MIN), room);
    assert_int_equal(v.kind, DRT_I64);
    assert_true(v.i == INT64_MIN);
    v = round_trip(drt_f64(2.5), room);
    assert_true(v.kind == DRT_F64 && v.f == 2.5);
    v = round_trip(drt_str(""), room);
    assert_string_equal(v.data.data, "");
    v = round_trip(drt_str("hello"), room);
    assert_int_equal(v.kind, DRT_STR);
    assert_string_equal(v.data.data, "hello");
    v = round_trip(drt_nothing(), room);
    assert_int_equal(v.kind, DRT_NOTHING);
    v = round_trip(drt_bytes(NULL, 0), room);
    assert_int_equal(v.data.size, 0);
    v = round_trip(drt_bytes("abc", 3), room);
    assert_memory_equal(v.data.data, "abc", 3);
    assert_int_equal((uintptr_t)v.data.data % 8, 0);
    v = round_trip(DRT_ARRAY(struct point, points, 40), room);
    assert_int_equal(v.kind, DRT_RECORDS);
    assert_string_equal(v.type, "struct point");
    assert_int_equal(v.type_size, 8);
    assert_int_equal(v.data.size, 320);
    assert_int_equal((uintptr_t)v.data.data % 64, 0);
    assert_memory_equal(v.data.data, points, sizeof points);
    v = round_trip(DRT_ARRAY(struct point, points, 0), room);
    assert_int_equal(v.data.size, 0);
}

static void test_small_scalars(void **state)
{
    struct drt_value v = drt_i64(1);
    assert_int_equal(value_size(&v), VALUE_SMALL);
}

static void refused(struct drt_value v, int code, const char *word)
{
    assert_int_equal(value_check(&v, "argument 0 of f"), code);
    assert_non_null(strstr(drt_last_error(), word));
    assert_non_null(strstr(drt_last_error(), "argument 0 of f"));
}

static void test_refusals(void **state)
{
    struct drt_value v = drt_i64(1);
    struct point p = {0, 0};
    struct drt_ref none = {{0, 0}};
    refused(drt_str(NULL), -EINVAL, "NULL string");
    refused(drt_bytes(NULL, 5), -EINVAL, "NULL");
    refused(drt_bytes("", VALUE_DATA_MAX + 1), DRT_E_TOO_LARGE, "at most 1048576");
    refused(DRT_ARRAY(struct point, &p, SIZE_MAX), -EINVAL, "not a value");
    refused(drt_of(none), -EINVAL, "a reference");
    v.kind_ = 77;
    refused(v, -EINVAL, "not a value");
}

static void test_arguments(void **state)
{
    _Alignas(64) uint8_t room[2048];
    uint8_t wide[100] = {[99] = 9};
    struct drt_ref ref = {{1, 2}};
    struct object_id ids[2] = {{1, 2, 3}, {4, 5, 6}};
    struct drt_value values[] = {drt_i64(-7),  drt_str("text"),     drt_of(ref),
                                 drt_f64(1.5), drt_ref_itself(ref), drt_bytes(wide, 100),
                                 drt_nothing()};
    size_t n = ARRAY_SIZE(values), size = args_size(values, n);
    struct args_view a;
    struct arg arg;
    assert_true(size <= sizeof room);
    args_encode(values, n, ids, room, size);
    assert_int_equal(args_decode(bytes_of(room, size + 100), &a), 0); /* needs follow */
    assert_int_equal(a.count, n);
    assert_int_equal(a.size, size);
    assert_int_equal(args_get(&a, 0, &arg), 0);
    assert_int_equal(arg.value.i, -7);
    assert_int_equal(args_get(&a, 1, &arg), 0);
    assert_string_equal(arg.value.data.data, "text");
    assert_int_equal(args_get(&a, 2, &arg), 0);
    assert_true(arg.kind == DRT_OF && arg.need == 0);
    assert_int_equal(args_get(&a, 3, &arg), 0);
    assert_true(arg.value.f == 1.5);
    assert_int_equal(args_get(&a, 4, &arg), 0);
    assert_true(arg.kind == DRT_REF && object_id_equal(arg.id, ids[1]));
    assert_int_equal(args_get(&a, 5, &arg), 0);
    assert_int_equal((uintptr_t)arg.value.data.data % 64, 0);
    assert_memory_equal(arg.value.data.data, wide, 100);
    assert_int_equal(args_get(&a, 6, &arg), 0);
    assert_int_equal(arg.kind, DRT_NOTHING);
    assert_int_equal(args_get(&a, 7, &arg), -EPROTO);
    assert_int_equal(args_size(values, 0), 0);
    assert_int_equal(args_decode(bytes_of(NULL, 0), &a), 0);
    assert_int_equal(a.count, 0);
}

/* Whatever bytes come: no access beyond them (the sanitizers watch), no crash. */
static void test_garbage(void **state)
{
    struct rng rng;
    struct drt_value values[] = {drt_i64(1), drt_str("abc"), drt_bytes("12345678", 8)};
    size_t size = args_size(values, 3);
    uint8_t *whole = aligned_alloc(64, align_up(size, 64));
    args_encode(values, 3, NULL, whole, size);
    rng_seed(&rng, 11);
    for (int i = 0; i < 20000; i++) {
        uint8_t *room = xmalloc(size);
        struct args_view a;
        struct arg arg;
        struct value_view v;
        memcpy(room, whole, size);
        for (int k = 0; k < 3; k++) {
            room[rng_below(&rng, size)] = (uint8_t)rng_below(&rng, 256);
        }
        size_t cut = rng_below(&rng, size + 1);
        if (args_decode(bytes_of(room, cut), &a) == 0) {
            for (uint32_t k = 0; k < a.count && k < 8; k++) {
                if (args_get(&a, k, &arg) == 0 && arg.kind == DRT_STR) {
                    (void)strlen(arg.value.data.data);
                }
            }
        }
        if (value_decode(bytes_of(room, cut), &v) == 0 && v.kind == DRT_STR) {
            (void)strlen(v.data.data);
        }
        free(room);
    }
    free(whole);
}

/* Values with references inside: their ids stand behind the data; never trusted. */
static void test_holding(void **state)
{
    _Alignas(64) static uint8_t room[4096];
    struct object_id ids[3] = {{1, 2, 3}, {4, 5, 6}, {7, 8, 9}};
    struct drt_ref any = {{1, 1}};
    struct drt_value values[] = {drt_i64(7),    drt_str("ab"),       drt_bytes(room + 2048, 100),
                                 drt_nothing(), drt_bytes("abc", 3), drt_ref_itself(any),
                                 drt_f64(1.5)};
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        size_t count = values[i].kind_ == DRT_REF ? 1 : 3;
        size_t size = value_holding_size(&values[i], count);
        struct value_view v;
        value_holding_encode(&values[i], ids, count, room);
        assert_int_equal(value_decode(bytes_of(room, size), &v), 0);
        assert_int_equal(v.kind, values[i].kind_);
        assert_int_equal(v.ref_count, count);
        for (size_t k = 0; k < count; k++) {
            assert_true(object_id_equal(value_inner(&v, k), ids[k]));
        }
        for (size_t cut = 0; cut < size; cut++) { /* none of them is half there */
            uint8_t *copy = xmalloc(cut + 1);
            memcpy(copy, room, cut);
            assert_int_equal(value_decode(bytes_of(copy, cut), &v), -EPROTO);
            free(copy);
        }
        assert_int_equal(value_holding_size(&values[1], 0), value_size(&values[1]));
        room[1] = 2; /* a flag that nobody knows */
        assert_int_equal(value_decode(bytes_of(room, size), &v), -EPROTO);
    }
    /* A reference is one, not two and not none. */
    struct value_view v;
    value_holding_encode(&values[5], ids, 2, room);
    assert_int_equal(value_decode(bytes_of(room, value_holding_size(&values[5], 2)), &v), -EPROTO);
    value_encode(&values[5], room);
    assert_int_equal(value_decode(bytes_of(room, value_size(&values[5])), &v), -EPROTO);
}

static void test_kinds(void **state)
{
    static const unsigned char kinds[] = {DRT_I64, DRT_REST(DRT_STR), 0};
    const unsigned char *at = kinds;
    size_t least, most;
    assert_true(kind_takes(at, DRT_I64) && kind_takes(at, DRT_OF) && !kind_takes(at, DRT_STR));
    at = kind_next(at);
    assert_true(kind_takes(at, DRT_STR) && !kind_takes(at, DRT_I64));
    assert_ptr_equal(kind_next(at), at);
    kinds_count(kinds, &least, &most);
    assert_true(least == 1 && most == SIZE_MAX);
    kinds_count(kinds + 2, &least, &most);
    assert_true(least == 0 && most == 0);
    assert_false(kind_takes(kinds + 2, DRT_OF));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips), cmocka_unit_test(test_small_scalars),
        cmocka_unit_test(test_refusals),    cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_garbage),     cmocka_unit_test(test_holding),
        cmocka_unit_test(test_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
