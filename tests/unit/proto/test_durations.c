/* Histograms of durations: every one falls into its bucket, and quantiles come near. */
#include "proto/durations.h"
#include "tests/unit/unit.h"

static void test_buckets_rise_and_hold_their_middles(void **state)
{
    uint32_t before = 0;
    for (uint64_t ns = 0; ns < 1ull << 47; ns = ns + ns / 16 + 1) {
        uint32_t bucket = durations_bucket(ns);
        assert_true(bucket >= before && bucket < DURATIONS_BUCKETS);
        before = bucket;
    }
    assert_int_equal(before, DURATIONS_BUCKETS - 1);
    assert_int_equal(durations_bucket(UINT64_MAX), DURATIONS_BUCKETS - 1);
    for (uint32_t i = 0; i < DURATIONS_BUCKETS; i++) {
        assert_int_equal(durations_bucket(durations_middle_ns(i)), i);
    }
}

static void test_quantiles_are_near(void **state)
{
    uint64_t buckets[DURATIONS_BUCKETS] = {0};
    assert_int_equal(durations_quantile_ns(buckets, 0.5), 0);
    for (uint64_t i = 1; i <= 1000; i++) {
        buckets[durations_bucket(i * 1000000)]++; /* 1 ms to 1 s */
    }
    double p50 = (double)durations_quantile_ns(buckets, 0.5) / 500e6;
    double p99 = (double)durations_quantile_ns(buckets, 0.99) / 990e6;
    assert_true(p50 > 0.89 && p50 < 1.11);
    assert_true(p99 > 0.89 && p99 < 1.11);
    assert_true(durations_quantile_ns(buckets, 0) < 1200000);
    assert_true(durations_quantile_ns(buckets, 1) > 890000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buckets_rise_and_hold_their_middles),
        cmocka_unit_test(test_quantiles_are_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
