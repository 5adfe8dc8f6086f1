/* References: serials that are never used again, shares, scopes, ids, memory that goes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/rng.h"
#include "sdk/objects.h"

static struct objects o;

static struct drt_ref make(uint64_t number, uint32_t *ret)
{
    struct slot *s = slot_new(&o, SLOT_OBJECT, ret);
    objects_index(&o, s, *ret, (struct object_id){1, 2, number});
    return slot_ref(s, *ret);
}

static bool end(struct drt_ref ref, struct object_id *ret)
{
    uint32_t number;
    struct slot *s = objects_find(&o, ref, &number);
    assert_non_null(s);
    return objects_release(&o, s, number, ret);
}

static int setup(void **state)
{
    objects_init(&o);
    return 0;
}

static int teardown(void **state)
{
    objects_fini(&o);
    return 0;
}

static void test_serials(void **state)
{
    struct object_id id = {0, 0, 0};
    uint32_t number, again;
    struct drt_ref first = make(1, &number);
    assert_non_null(objects_find(&o, first, &again));
    assert_true(end(first, &id));
    assert_int_equal(id.number, 1);
    assert_null(objects_find(&o, first, &again));
    struct drt_ref second = make(2, &again);
    assert_int_equal(number, again); /* the slot is used again, the serial is not */
    assert_null(objects_find(&o, first, &again));
    assert_non_null(objects_find(&o, second, &again));
    objects_fini(&o);
    objects_init(&o);
    struct drt_ref third = make(1, &again);
    assert_null(objects_find(&o, second, &again));
    assert_non_null(objects_find(&o, third, &again));
    struct drt_ref wild = {{UINT64_MAX, 1}};
    assert_null(objects_find(&o, wild, &again));
    assert_null(objects_find(&o, (struct drt_ref){{0, 0}}, &again));
}

/* As in another process: the same slot, and the same count of references before it. */
static void test_processes(void **state)
{
    uint32_t number, again;
    struct drt_ref here = make(1, &number);
    objects_fini(&o);
    o = (struct objects){0};
    objects_init(&o);
    struct drt_ref there = make(1, &again);
    assert_int_equal(number, again);
    assert_null(objects_find(&o, here, &again));
    assert_non_null(objects_find(&o, there, &again));
}

static void test_shares(void **state)
{
    struct object_id id = {0, 0, 0};
    uint32_t number, share_number;
    struct drt_ref ref = make(1, &number);
    struct slot *s = slot_at(&o, number);
    object_set_value(&o, s, bytes_of("0123456789abcdef0123456789", 26));
    struct drt_ref share = objects_share(&o, s, number, &share_number);
    struct drt_ref second = objects_share(&o, slot_at(&o, share_number), share_number, &number);
    assert_false(end(ref, &id));
    assert_null(objects_find(&o, ref, &number));
    struct slot *mine = objects_find(&o, share, &number);
    mine = objects_of(&o, mine, &number);
    assert_memory_equal(object_value(mine).data, "0123456789abcdef0123456789", 26);
    assert_false(end(share, &id));
    assert_true(end(second, &id));
    assert_int_equal(id.number, 1);
    assert_int_equal(o.used, 0);
}

static void test_scopes(void **state)
{
    struct object_id id;
    uint32_t numbers[3], outer = scope_new(&o, 0), inner = scope_new(&o, outer);
    for (uint32_t i = 0; i < 3; i++) {
        make(i + 1, &numbers[i]);
        scope_put(&o, inner, numbers[i]);
    }
    assert_int_equal(slot_at(&o, inner)->holds, outer);
    scope_take(&o, slot_at(&o, numbers[1]));
    scope_put(&o, outer, numbers[1]);
    assert_int_equal(slot_at(&o, inner)->scope_next, numbers[0]);
    assert_int_equal(slot_at(&o, numbers[0])->scope_next, numbers[2]);
    assert_true(objects_release(&o, slot_at(&o, numbers[0]), numbers[0], &id));
    assert_int_equal(slot_at(&o, inner)->scope_next, numbers[2]);
    scope_take(&o, slot_at(&o, numbers[2]));
    assert_int_equal(slot_at(&o, inner)->scope_next, inner);
    scope_take(&o, slot_at(&o, numbers[2])); /* twice is harmless */
}

static void test_ids(void **state)
{
    enum { N = 5000 };
    static struct drt_ref refs[N];
    struct object_id id;
    uint32_t number;
    for (uint32_t i = 0; i < N; i++) {
        refs[i] = make(i + 1, &number);
    }
    assert_int_equal(o.unsettled, N);
    for (uint32_t i = 0; i < N; i++) {
        struct slot *s = objects_find_id(&o, (struct object_id){1, 2, i + 1}, &number);
        assert_non_null(s);
        assert_int_equal(s->serial, refs[i].opaque_[1]);
    }
    assert_null(objects_find_id(&o, (struct object_id){1, 3, 5}, &number));
    assert_null(objects_find_id(&o, (struct object_id){2, 2, 5}, &number));
    for (uint32_t i = 0; i < N; i += 2) {
        assert_true(end(refs[i], &id));
    }
    assert_null(objects_find_id(&o, (struct object_id){1, 2, 1}, &number));
    assert_non_null(objects_find_id(&o, (struct object_id){1, 2, 2}, &number));
    assert_int_equal(o.unsettled, N / 2);
}

static size_t chunks(void)
{
    size_t n = 0;
    for (uint32_t i = 0; i < o.chunk_count; i++) {
        n += o.chunks[i] != NULL;
    }
    return n;
}

/* In any order of release; what is left goes back but for a few spares. */
static void test_memory_goes_back(void **state)
{
    enum { N = 50000 };
    struct drt_ref *refs = xcalloc(N, sizeof *refs);
    struct object_id id;
    struct rng rng;
    uint32_t number;
    rng_seed(&rng, 3);
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < N; i++) {
            refs[i] = make((uint64_t)round * N + i + 1, &number);
        }
        assert_true(chunks() * CHUNK_SLOTS < N + 6 * CHUNK_SLOTS);
        for (uint32_t i = N; i > 1; i--) {
            uint32_t k = (uint32_t)rng_below(&rng, i);
            struct drt_ref last = refs[i - 1];
            refs[i - 1] = refs[k];
            refs[k] = last;
        }
        for (uint32_t i = 0; i < N; i++) {
            assert_true(end(refs[i], &id));
        }
        assert_int_equal(o.used, 0);
        assert_true(chunks() <= 5);
    }
    free(refs);
}

static void test_states(void **state)
{
    struct failure f;
    uint32_t number;
    make(1, &number);
    struct slot *s = slot_at(&o, number);
    object_set_ready(&o, s, 100000);
    assert_true(object_is_settled(s));
    assert_int_equal(o.unsettled, 0);
    object_set_value(&o, s, bytes_of("abc", 3));
    assert_int_equal(o.settled_count, 1);
    make(2, &number);
    failure_set(&f, CODE_FAILED, "so");
    object_set_error(&o, slot_at(&o, number), &f);
    assert_string_equal(slot_at(&o, number)->failure->message, "so");
    const struct failure *first = slot_at(&o, number)->failure;
    uint32_t again;
    make(3, &again);
    failure_set(&f, CODE_FAILED, "so");
    object_set_error(&o, slot_at(&o, again), &f);
    assert_ptr_equal(slot_at(&o, again)->failure, first); /* equal ones are kept once */
    struct object_id id;
    assert_true(objects_release(&o, slot_at(&o, number), number, &id));
    assert_string_equal(slot_at(&o, again)->failure->message, "so");
    failure_set(&f, CODE_FAILED, "otherwise");
    make(4, &number);
    object_set_error(&o, slot_at(&o, number), &f);
    assert_string_equal(slot_at(&o, again)->failure->message, "so");
    assert_string_equal(slot_at(&o, number)->failure->message, "otherwise");
}

static struct drt_ref make_holding(uint64_t number, const struct object_id *ids, size_t count)
{
    _Alignas(8) uint8_t room[256];
    struct drt_value v = drt_nothing();
    uint32_t at;
    struct drt_ref ref = make(number, &at);
    assert_true(value_holding_size(&v, count) <= sizeof room);
    value_holding_encode(&v, ids, count, room);
    object_set_value(&o, slot_at(&o, at), bytes_of(room, value_holding_size(&v, count)));
    return ref;
}

/* In sync mode a value holds what is inside it, however deep, and each as often as it names it. */
static void test_values_hold(void **state)
{
    enum { DEPTH = 100000 };
    struct object_id id, ids[3] = {{1, 2, 1}, {1, 2, 2}, {1, 2, 1}};
    uint32_t number;
    o.owns = true;
    struct drt_ref a = make(1, &number), b = make(2, &number), box = make_holding(3, ids, 3);
    assert_false(end(a, &id));
    assert_non_null(objects_find_id(&o, ids[0], &number));
    assert_true(end(box, &id));
    assert_null(objects_find_id(&o, ids[0], &number)); /* only the box held it */
    assert_non_null(objects_find_id(&o, ids[1], &number));
    assert_true(end(b, &id));
    assert_int_equal(o.used, 0);
    assert_int_equal(o.unsettled, 0);
    box = make(10, &number);
    for (uint64_t i = 1; i < DEPTH; i++) {
        ids[0] = (struct object_id){1, 2, 9 + i};
        struct drt_ref outer = make_holding(10 + i, ids, 1);
        assert_false(end(box, &id));
        box = outer;
    }
    assert_int_equal(o.used, DEPTH);
    assert_true(end(box, &id));
    assert_int_equal(o.used, 0);
}

/* What somebody else made is not counted among what may still free something of this process's. */
static void test_foreign(void **state)
{
    struct object_id id;
    uint32_t number;
    for (int settled = 0; settled < 2; settled++) {
        struct slot *s = slot_new(&o, SLOT_OBJECT, &number);
        objects_index_foreign(&o, s, number, (struct object_id){9, 9, 9});
        assert_int_equal(o.unsettled, 0);
        if (settled) {
            object_set_ready(&o, s, 5000);
        }
        assert_true(end(slot_ref(s, number), &id));
        assert_int_equal(o.unsettled, 0);
    }
    assert_int_equal(o.settled_count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_serials, setup, teardown),
        cmocka_unit_test_setup_teardown(test_processes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shares, setup, teardown),
        cmocka_unit_test_setup_teardown(test_scopes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ids, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory_goes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_states, setup, teardown),
        cmocka_unit_test_setup_teardown(test_values_hold, setup, teardown),
        cmocka_unit_test_setup_teardown(test_foreign, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
