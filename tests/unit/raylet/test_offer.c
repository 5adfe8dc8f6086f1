#include "raylet/offer.h"

#include "common/resources.h"
#include "tests/unit/unit.h"

static struct offer_wish plain(void)
{
    return (struct offer_wish){
        .has_cpus = true, .cpus = 2.5, .has_memory = true, .memory_bytes = UINT64_C(4) << 30};
}

static int64_t amount(const struct offer *o, const char *name)
{
    for (size_t i = 0; i < o->count; i++) {
        if (strcmp(o->amounts[i].name, name) == 0) {
            assert_int_equal(o->amounts[i].total_units, o->amounts[i].available_units);
            return o->amounts[i].total_units;
        }
    }
    return -1;
}

static void test_what_is_told(void **state)
{
    struct offer_wish wish = plain();
    struct offer o;
    struct failure f;
    char text[128];
    wish.resources = "{\"disk\": 2, \"licence:x\": 0.5}";
    wish.labels = "zone=b,disk=ssd";
    assert_int_equal(offer_make(&wish, &o, &f), 0);
    assert_int_equal(amount(&o, "CPU"), 25000);
    assert_int_equal(amount(&o, "memory"), (INT64_C(4) << 30) * RESOURCE_UNIT);
    assert_int_equal(amount(&o, "disk"), 20000);
    assert_int_equal(amount(&o, "licence:x"), 5000);
    assert_int_equal(o.count, 4);
    assert_string_equal(o.labels, "zone=b,disk=ssd");
    offer_describe(&o, text);
    assert_string_equal(text, "2.5 CPUs, 4.0 GiB memory");
    offer_fini(&o);
}

static void test_what_is_found(void **state)
{
    struct offer_wish wish = {0};
    struct offer o;
    struct failure f;
    char text[128];
    assert_int_equal(setenv("HWLOC_SYNTHETIC", "numa:1(memory=1073741824) pu:1", 1), 0);
    assert_int_equal(offer_make(&wish, &o, &f), 0);
    assert_int_equal(unsetenv("HWLOC_SYNTHETIC"), 0);
    offer_describe(&o, text);
    assert_string_equal(text, "1 CPU, 1.0 GiB memory");
    assert_string_equal(o.labels, "");
    offer_fini(&o);
}

static void test_what_makes_no_sense(void **state)
{
    static const struct {
        const char *resources, *labels, *says;
    } cases[] = {
        {"disk=2", NULL, "as JSON"},
        {"[1]", NULL, "as JSON"},
        {"{\"disk\": \"two\"}", NULL, "\"disk\" must be a number"},
        {"{\"disk\": -1}", NULL, "\"disk\" must be a number"},
        {"{\"disk\": 0.00001}", NULL, "at least 0.0001"},
        {"{\"disk\": 1e15}", NULL, "too large"},
        {"{\"disk\": 0}", NULL, "\"disk\" must be a number"},
        {"{\"disk\": 1, \"disk\": 2}", NULL, "as JSON"},
        {"{\"CPU\": 4}", NULL, "--num-cpus"},
        {"{\"Memory\": 4}", NULL, "--memory"},
        {"{\"no good\": 1}", NULL, "not a valid resource name"},
        {NULL, "zone", "name=value"},
        {NULL, "=b", "name=value"},
        {NULL, "a=b,,c=d", "name=value"},
        {NULL, "a=b c", "name=value"},
        {NULL, "a=b=c", "name=value"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct offer_wish wish = plain();
        struct offer o;
        struct failure f = {0};
        wish.resources = cases[i].resources;
        wish.labels = cases[i].labels;
        assert_int_equal(offer_make(&wish, &o, &f), CODE_SIGNATURE);
        assert_non_null(strstr(f.message, cases[i].says));
    }
    struct offer_wish wish = plain();
    struct offer o;
    struct failure f = {0};
    wish.cpus = -1;
    assert_int_equal(offer_make(&wish, &o, &f), CODE_SIGNATURE);
    wish.cpus = 1e18;
    assert_int_equal(offer_make(&wish, &o, &f), CODE_SIGNATURE);
    assert_non_null(strstr(f.message, "too large, at most 900000000000000"));
    wish = plain();
    wish.memory_bytes = UINT64_MAX;
    assert_int_equal(offer_make(&wish, &o, &f), CODE_SIGNATURE);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_told),
        cmocka_unit_test(test_what_is_found),
        cmocka_unit_test(test_what_makes_no_sense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
