/* The public functions in sync mode: values, errors, retries, options, helpers, misuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <sched.h>

#include "common/clock.h"
#include "drt/drt.h"
#include "sdk/runtime.h"

struct pair {
    int64_t a, b;
};

DRT_TASK(add, call, DRT_I64, DRT_I64)
{
    return drt_return(call, drt_i64(drt_arg_i64(call, 0) + drt_arg_i64(call, 1)));
}

DRT_TASK(join_all, call, DRT_REST(DRT_STR))
{
    char text[200] = "";
    for (size_t i = 0; i < drt_arg_count(call); i++) {
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s,", drt_arg_str(call, i));
    }
    return drt_return(call, drt_str(text));
}

DRT_TASK(swap, call, DRT_RECORDS)
{
    const struct pair *p = DRT_ARG_RECORD(call, 0, struct pair);
    struct pair *out = DRT_RETURN_ARRAY(call, 0, struct pair, 1);
    *out = (struct pair){p->b, p->a};
    return 0;
}

DRT_TASK(flaky, call, DRT_I64)
{
    if (drt_attempt(call) < drt_arg_i64(call, 0)) {
        return drt_fail(call, 9, "attempt %u", (unsigned)drt_attempt(call));
    }
    return drt_return(call, drt_i64(drt_attempt(call)));
}

DRT_TASK(some, call)
{
    return drt_return_at(call, 1, drt_f64(2.5));
}

DRT_TASK(too_many, call)
{
    return drt_return_at(call, 1, drt_i64(1));
}

DRT_TASK(silent, call)
{
    return 0;
}

DRT_TASK(box_of, call, DRT_REF)
{
    return drt_return(call, drt_ref_itself(drt_arg_ref(call, 0)));
}

/* Two new values and its argument, inside a string; what its scope releases the result holds. */
DRT_TASK(three_inside, call, DRT_REF)
{
    struct drt_ref inner[3] = {drt_put(drt_i64(1)), drt_submit(add, drt_i64(1), drt_i64(1)),
                               drt_arg_ref(call, 0)};
    int rc = drt_return_holding(call, 0, drt_str("three"), inner, 3);
    drt_release_all(inner, 3);
    return rc;
}

DRT_TASK(sum_inside, call, DRT_ANY)
{
    int64_t sum = 0, x;
    for (size_t i = 0; i < drt_arg_inner_count(call, 0); i++) {
        int rc = drt_get_i64(drt_arg_inner(call, 0, i), &x);
        if (rc != 0) {
            return drt_fail(call, rc, "%s", drt_last_error());
        }
        sum += x;
    }
    return drt_return(call, drt_i64(sum));
}

DRT_TASK(beyond, call, DRT_ANY)
{
    (void)drt_arg_inner(call, 0, 5);
    return 0;
}

DRT_TASK(unbox, call, DRT_REF)
{
    return drt_return(call, drt_of(drt_arg_ref(call, 0)));
}

DRT_TASK(bad_box, call, DRT_I64)
{
    struct drt_ref none = {{0, 0}}, failed = drt_put(drt_str(NULL));
    return drt_arg_i64(call, 0) == 0   ? drt_return(call, drt_ref_itself(none))
           : drt_arg_i64(call, 0) == 1 ? drt_return_holding(call, 0, drt_nothing(), &failed, 1)
                                       : drt_return_holding(call, 0, drt_of(failed), NULL, 0);
}

DRT_TASK(any_kind, call, DRT_ANY)
{
    return drt_return(call, drt_i64(drt_arg_kind(call, 0)));
}

DRT_TASK(deep, call, DRT_I64)
{
    int64_t n = drt_arg_i64(call, 0), below = 0;
    if (n > 0) {
        int rc = drt_get_i64(drt_submit(deep, drt_i64(n - 1)), &below);
        if (rc != 0) {
            return drt_fail(call, rc, "%s", drt_last_error());
        }
    }
    return drt_return(call, drt_i64(below + 1));
}

DRT_TASK(same_as, call, DRT_REF)
{
    return drt_return(call, drt_of(drt_arg_ref(call, 0)));
}

DRT_TASK(slow, call)
{
    uint64_t limit = clock_now_ns() + 5 * NS_PER_S;
    while (!drt_cancelled(call) && clock_now_ns() < limit) {
        sched_yield();
    }
    return 0;
}

DRT_TASK(vast, call)
{
    return drt_return_create(call, 0, (1u << 20) + 1) == NULL ? 0 : 1;
}

static int not_a_task(struct drt_call *call)
{
    return 0;
}

static int setup(void **state)
{
    setenv("DRT_MODE", "sync", 1);
    return drt_init(NULL);
}

static int teardown(void **state)
{
    drt_shutdown();
    return 0;
}

static void test_values(void **state)
{
    int64_t x;
    const char *text;
    struct pair pair = {1, 2}, swapped;
    assert_int_equal(drt_current_mode(), DRT_MODE_SYNC);
    assert_false(drt_is_distributed());
    assert_int_equal(drt_get_i64(drt_submit(add, drt_i64(40), drt_i64(2)), &x), 0);
    assert_int_equal(x, 42);
    struct drt_ref r = drt_submit(add, drt_i64(1), drt_of(drt_put(drt_i64(2))));
    assert_int_equal(drt_get_i64(r, &x), 0);
    assert_int_equal(x, 3);
    assert_int_equal(drt_get_str(drt_submit(join_all, drt_str("a"), drt_str("b")), &text), 0);
    assert_string_equal(text, "a,b,");
    assert_int_equal(drt_get_str(drt_submit(join_all), &text), 0);
    assert_string_equal(text, "");
    r = drt_submit(swap, DRT_RECORD(struct pair, &pair));
    assert_int_equal(DRT_GET_RECORD(r, struct pair, &swapped), 0);
    assert_true(swapped.a == 2 && swapped.b == 1);
    const struct pair *view;
    size_t n;
    assert_int_equal(DRT_GET_ARRAY(r, struct pair, &view, &n), 0);
    assert_int_equal(n, 1);
    const int64_t *wrong;
    assert_int_equal(DRT_GET_ARRAY(r, int64_t, &wrong, &n), DRT_E_SIGNATURE);
    assert_non_null(strstr(drt_last_error(), "\"struct pair\" (16 bytes each)"));
    assert_int_equal(drt_get_i64(drt_submit(deep, drt_i64(100)), &x), 0);
    assert_int_equal(x, 101);
    assert_int_equal(drt_get_i64(drt_submit(same_as, drt_ref_itself(r)), &x), DRT_E_SIGNATURE);
    r = drt_put(drt_i64(8));
    assert_int_equal(drt_get_i64(drt_submit(same_as, drt_ref_itself(r)), &x), 0);
    assert_int_equal(x, 8);
    assert_int_equal(drt_get_i64(drt_submit(any_kind, drt_str("")), &x), 0);
    assert_int_equal(x, DRT_STR);
    assert_int_equal(drt_get_i64(drt_submit(any_kind, drt_of(r)), &x), 0);
    assert_int_equal(x, DRT_I64);
}

static void test_several_results(void **state)
{
    struct drt_ref refs[3];
    double f;
    drt_submit_into(refs, 3, some);
    assert_int_equal(drt_get_f64(refs[1], &f), 0);
    assert_true(f == 2.5);
    assert_int_equal(drt_get_nothing(refs[0]), DRT_E_SIGNATURE); /* never set */
    assert_non_null(strstr(drt_last_error(), "result 0"));
    assert_int_equal(drt_get_nothing(drt_submit(too_many)), DRT_E_SIGNATURE);
    assert_int_equal(drt_get_nothing(drt_submit(silent)), 0);
    assert_int_equal(drt_kind_of(drt_submit(silent)), DRT_NOTHING);
    assert_int_equal(drt_get_nothing(drt_submit(vast)), DRT_E_TOO_LARGE);
}

DRT_TASK(endless, call, DRT_I64)
{
    int64_t below;
    struct drt_ref next = drt_submit(endless, drt_i64(drt_arg_i64(call, 0) + 1));
    if (drt_get_i64(next, &below) != 0) {
        return drt_return(call, drt_i64(drt_arg_i64(call, 0)));
    }
    return drt_return(call, drt_i64(below));
}

static void test_a_recursion_without_an_end_is_stopped(void **state)
{
    int64_t deepest = 0;
    assert_int_equal(drt_get_i64(drt_submit(endless, drt_i64(0)), &deepest), 0);
    assert_int_equal(deepest, 256);
}

static void test_errors(void **state)
{
    struct drt_error e;
    int64_t x;
    struct drt_options retry = {.retry_on_error = true, .max_attempts = 3, .backoff = drt_ms(1)};
    assert_int_equal(drt_get_i64(drt_submit(flaky, drt_i64(3), drt_with(&retry)), &x), 0);
    assert_int_equal(x, 3);
    struct drt_ref bad = drt_submit(flaky, drt_i64(9), drt_with(&retry));
    assert_int_equal(drt_error_of(bad, &e), DRT_E_FAILED);
    assert_int_equal(e.attempts, 3);
    assert_int_equal(e.app_code, 9);
    assert_string_equal(e.task, "flaky");
    assert_string_equal(e.message, "attempt 3");
    struct drt_ref above =
        drt_submit(add, drt_i64(1), drt_of(drt_submit(add, drt_of(bad), drt_i64(1))));
    assert_int_equal(drt_error_of(above, &e), DRT_E_FAILED);
    assert_int_equal(e.depth, 2);
    assert_string_equal(e.task, "flaky");
    assert_int_equal(drt_get_nothing(drt_submit(flaky, drt_i64(2))), DRT_E_FAILED); /* no retry */
    struct drt_ref late = drt_submit(slow, DRT_WITH(.timeout = drt_ms(3)));
    assert_int_equal(drt_error_of(late, &e), DRT_E_DEADLINE);
    assert_string_equal(e.task, "slow");
    assert_non_null(strstr(e.message, "timeout of 3 ms"));
    struct drt_ref fine = drt_put(drt_i64(1));
    assert_int_equal(drt_error_of(fine, &e), 0);
    assert_int_equal(e.code, 0);
    assert_int_equal(drt_cancel(fine, 0), DRT_E_DONE);
}

static void is_refused(struct drt_ref ref, int code, const char *words)
{
    struct drt_error e;
    assert_int_equal(drt_error_of(ref, &e), code);
    if (strstr(e.message, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", e.message, words);
    }
}

static void says(const char *words)
{
    if (strstr(drt_last_error(), words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", drt_last_error(), words);
    }
}

static void test_null_is_refused(void **state)
{
    struct drt_ref number = drt_put(drt_i64(1)), array = {{0, 0}};
    bool ready[4];
    size_t n;
    assert_int_equal(drt_get_i64(number, NULL), -EINVAL);
    says("drt_get_i64 was given NULL");
    assert_int_equal(drt_get_f64(number, NULL), -EINVAL);
    assert_int_equal(drt_get_str(number, NULL), -EINVAL);
    assert_int_equal(drt_get_bytes(number, NULL), -EINVAL);
    assert_int_equal(drt_get_records_(number, "struct pair", 16, NULL, &n), -EINVAL);
    assert_int_equal(drt_get_record_(number, "struct pair", 16, NULL), -EINVAL);
    drt_submit_into(NULL, 2, some);
    says("some was submitted with NULL for the references of 2 results");
    assert_int_equal(drt_wait(NULL, 4, 1, drt_forever(), ready, &n), -EINVAL);
    says("drt_wait was given NULL for 4 references");
    assert_int_equal(drt_wait_any(NULL, 4, drt_forever(), &n), -EINVAL);
    assert_int_equal(drt_wait_any(&number, 1, drt_forever(), NULL), -EINVAL);
    assert_int_equal(drt_wait_any(NULL, 0, drt_forever(), &n), DRT_E_DONE);
    array = drt_submit_array(add, NULL, 5);
    is_refused(array, -EINVAL, "add was submitted with NULL for 5 arguments");
    assert_int_equal(drt_nodes(NULL, 3, &n), -EINVAL);
    struct drt_ref three[3];
    assert_int_equal(drt_map_(add, "add", NULL, 2, 3, three, NULL, 0, 0), -EINVAL);
    says("the items are NULL");
    assert_int_equal(drt_scatter_gather_(NULL, 3, three, NULL, 0, 0), -EINVAL);
    says("the items are NULL");
}

/* The macros take a pointer to a task, and more values than the compiler looks at one by one. */
static void test_macros(void **state)
{
#define TEN(s)                                                                                     \
    drt_str(s), drt_str(s), drt_str(s), drt_str(s), drt_str(s), drt_str(s), drt_str(s),            \
        drt_str(s), drt_str(s), drt_str(s)
    const char *text;
    int64_t x;
    struct drt_ref sum = drt_submit(&add, drt_i64(1),
                                    drt_of(drt_submit(add, drt_i64(2), drt_i64(3)))),
                   many = drt_submit(join_all, TEN("a"), TEN("b"), TEN("c"), TEN("d"), TEN("e"),
                                     TEN("f"), drt_str("g"), DRT_WITH(.name = "many"));
    assert_int_equal(drt_get_i64(sum, &x), 0);
    assert_int_equal(x, 6);
    assert_int_equal(drt_get_str(many, &text), 0);
    assert_int_equal(strlen(text), 2 * 61);
    assert_string_equal(text + 2 * 58, "f,f,g,");
    is_refused(drt_submit_array(&not_a_task, NULL, 0), -EINVAL, "not_a_task is not a task");
#undef TEN
}

static void test_misuse(void **state)
{
    struct drt_value text = drt_str("20"), number = drt_i64(1), two[2] = {number, number};
    struct drt_ref none = {{0, 0}}, gone = drt_put(number), copy = gone;
    int64_t x;
    is_refused(drt_submit_array(flaky, &text, 1), DRT_E_SIGNATURE,
               "argument 0 of flaky is a string, but it takes an i64");
    is_refused(drt_submit_array(flaky, two, 2), DRT_E_SIGNATURE,
               "flaky takes 1 argument, but was called with 2");
    is_refused(drt_submit_array(add, &number, 1), DRT_E_SIGNATURE, "takes 2 arguments");
    is_refused(drt_submit_array(not_a_task, NULL, 0), -EINVAL, "not_a_task is not a task");
    is_refused(drt_submit(flaky, drt_of(none)), -EBADF, "is none");
    drt_release(&gone);
    is_refused(drt_submit(flaky, drt_of(copy)), -EBADF, "was released");
    assert_int_equal(drt_get_i64(copy, &x), -EBADF);
    assert_int_equal(drt_get_i64(none, &x), -EBADF);
    is_refused(drt_share(copy), -EBADF, "was released");
    is_refused(drt_put(drt_str(NULL)), -EINVAL, "NULL string");
    is_refused(drt_put(drt_of(drt_put(number))), -EINVAL, "a reference");
    is_refused(drt_submit(silent, DRT_WITH(.num_cpus = -3)), -EINVAL, "-3 of CPUs");
    is_refused(drt_submit(silent, DRT_WITH(.num_cpus = 1e300)), -EINVAL,
               "too large: at most 900000000000000");
    is_refused(drt_submit(silent, DRT_WITH(.memory_bytes = UINT64_MAX)), -EINVAL, "too large");
    is_refused(drt_submit(silent, DRT_WITH(.resources = DRT_RESOURCES({"CPU", 1}))), -EINVAL,
               "num_cpus");
    is_refused(drt_submit(silent, DRT_WITH(.resources = DRT_RESOURCES({"a b", 1}))), -EINVAL,
               "a b");
    is_refused(drt_submit(silent, DRT_WITH(.resources = DRT_RESOURCES({"x", 1}, {"x", 2}))),
               -EINVAL, "twice");
    assert_int_equal(
        drt_get_nothing(drt_submit(
            silent, DRT_WITH(.resources = DRT_RESOURCES({"x", 0.5}), .num_cpus = DRT_NO_CPU))),
        0);
    struct drt_ref refs[1];
    drt_submit_into(refs, 0, silent);
    /* An option of a newer header is refused, one of an older is absent. */
    struct {
        struct drt_options known;
        int unknown;
    } newer = {.unknown = 1};
    struct drt_value with = drt_options_(&newer.known, sizeof newer);
    is_refused(drt_submit_array(silent, &with, 1), -E2BIG, "newer");
    newer.unknown = 0;
    assert_int_equal(drt_get_nothing(drt_submit_array(silent, &with, 1)), 0);
    with = drt_options_(&newer.known, offsetof(struct drt_options, num_cpus));
    assert_int_equal(drt_get_nothing(drt_submit_array(silent, &with, 1)), 0);
    assert_int_equal(drt_init(NULL), -EALREADY);
}

/* Checked where it is made, also where there is one place only. */
static void test_placement(void **state)
{
    static char many[1100];
    assert_string_not_equal(drt_node_name(), "");
    memset(many, 'a', sizeof many - 1);
    is_refused(drt_submit(silent, DRT_WITH(.strategy = 4)), -EINVAL,
               "The strategy of silent is 4. Use one of enum drt_strategy.");
    is_refused(drt_submit(silent, DRT_WITH(.strategy = -1)), -EINVAL, "is -1");
    is_refused(drt_submit(silent, DRT_WITH(.node = "box-2")), -EINVAL,
               "sets the option node, which works with one strategy only");
    is_refused(drt_submit(silent, DRT_WITH(.strategy = DRT_SPREAD, .labels = "a=b")), -EINVAL,
               "option labels");
    is_refused(drt_submit(silent, DRT_WITH(.soft = true)), -EINVAL, "option soft");
    is_refused(drt_submit(silent, DRT_WITH(.strategy = DRT_NODE_SPECIFIC, .node = "")), -EINVAL,
               "names no node");
    is_refused(drt_submit(silent, DRT_WITH(.strategy = DRT_NODE_SPECIFIC, .node = many)), -EINVAL,
               "more than 255 characters");
    is_refused(drt_submit(silent, DRT_WITH(.strategy = DRT_NODE_SPECIFIC, .labels = many)), -EINVAL,
               "more than 1024 characters");
    static const char *const wrong[] = {"disk",  "=ssd",  "disk=ssd,", ",a=b",
                                        "a=b,c", "a=b=c", "a b=c",     "a=b c"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        is_refused(drt_submit(silent, DRT_WITH(.strategy = DRT_NODE_SPECIFIC, .labels = wrong[i])),
                   -EINVAL, "name=value");
    }
    assert_int_equal(drt_get_nothing(drt_submit(
                         silent, DRT_WITH(.strategy = DRT_NODE_SPECIFIC, .labels = "a=b,c="))),
                     0);
    assert_int_equal(drt_get_nothing(drt_submit(silent, DRT_WITH(.strategy = DRT_SPREAD))), 0);
}

/* A value keeps what is inside it; whoever gets the value reaches it. */
static void test_inside(void **state)
{
    size_t before = runtime.objects.used, n;
    int64_t x;
    DRT_SCOPE
    {
        struct drt_ref two[2] = {drt_put(drt_i64(5)), drt_submit(add, drt_i64(3), drt_i64(4))};
        struct drt_ref box = drt_put_holding(drt_str("both"), two, 2);
        const char *text;
        drt_release_all(two, 2);
        assert_int_equal(drt_get_str(box, &text), 0);
        assert_string_equal(text, "both");
        assert_int_equal(drt_inner_count(box, &n), 0);
        assert_int_equal(n, 2);
        struct drt_ref seven = drt_inner(box, 1);
        assert_int_equal(drt_get_i64(drt_submit(sum_inside, drt_of(box)), &x), 0);
        assert_int_equal(x, 12);
        drt_release(&box); /* its own hold stays good */
        assert_int_equal(drt_get_i64(seven, &x), 0);
        assert_int_equal(x, 7);

        struct drt_ref three = drt_submit(three_inside, drt_ref_itself(seven));
        assert_int_equal(drt_get_i64(drt_submit(sum_inside, drt_of(three)), &x), 0);
        assert_int_equal(x, 10);
        box = drt_submit(box_of, drt_ref_itself(three)); /* a reference is a value */
        assert_int_equal(drt_kind_of(box), DRT_REF);
        drt_release(&three);
        three = drt_submit(unbox, drt_of(box)); /* and fits where a reference is taken */
        assert_int_equal(drt_inner_count(three, &n), 0);
        assert_int_equal(n, 3);
        assert_int_equal(drt_get_i64(drt_inner(drt_inner(box, 0), 2), &x), 0);
        assert_int_equal(x, 7);
        box = drt_put(drt_ref_itself(seven));
        assert_int_equal(drt_get_i64(drt_inner(box, 0), &x), 0);
        assert_int_equal(x, 7);
    }
    assert_int_equal(runtime.objects.used, before);
}

static void test_inside_refused(void **state)
{
    static struct drt_ref many[16385];
    struct drt_ref one = drt_put(drt_i64(1)), none = {{0, 0}}, bad = drt_put(drt_str(NULL));
    size_t n;
    int64_t x;
    is_refused(drt_put_holding(drt_i64(1), &none, 1), -EBADF, "reference 0 inside: the reference");
    is_refused(drt_put_holding(drt_i64(1), NULL, 3), -EINVAL, "NULL for the 3 references");
    is_refused(drt_put_holding(drt_ref_itself(one), &one, 1), -EINVAL, "cannot hold others");
    is_refused(drt_put_holding(drt_of(one), &one, 1), -EINVAL, "a reference");
    is_refused(drt_put_holding(drt_i64(1), &bad, 1), -EINVAL, "NULL string"); /* its story */
    for (size_t i = 0; i < 16385; i++) {
        many[i] = one;
    }
    is_refused(drt_put_holding(drt_i64(1), many, 16385), DRT_E_TOO_LARGE, "at most 16384");
    assert_int_equal(drt_get_i64(drt_put_holding(drt_i64(1), many, 16384), &x), 0);
    is_refused(drt_put_holding(drt_bytes("", 1u << 20), many, 1), DRT_E_TOO_LARGE, "1048576");
    is_refused(drt_inner(one, 0), DRT_E_SIGNATURE, "the value holds 0");
    is_refused(drt_inner(none, 0), -EBADF, "is none");
    is_refused(drt_inner(drt_submit(flaky, drt_i64(9)), 0), DRT_E_FAILED, "attempt 1");
    assert_int_equal(drt_inner_count(none, &n), -EBADF);
    assert_int_equal(drt_inner_count(one, NULL), -EINVAL);
    is_refused(drt_submit(beyond, drt_of(one)), DRT_E_SIGNATURE, "which holds 0");
    is_refused(drt_submit(bad_box, drt_i64(0)), DRT_E_SIGNATURE, "is none");
    is_refused(drt_submit(bad_box, drt_i64(1)), DRT_E_FAILED, "NULL string");
    is_refused(drt_submit(bad_box, drt_i64(2)), DRT_E_SIGNATURE, "a reference");
    assert_int_equal(drt_get_i64(drt_put(drt_ref_itself(one)), &x), DRT_E_SIGNATURE);
    assert_non_null(strstr(drt_last_error(), "The result is a reference"));
}

static void test_before_init(void **state)
{
    int64_t x;
    struct drt_ref r = drt_put(drt_i64(1));
    drt_shutdown();
    assert_int_equal(drt_get_i64(r, &x), -ENOTCONN);
    assert_non_null(strstr(drt_last_error(), "drt_init"));
    assert_true(drt_is_none(drt_submit(silent)));
    assert_true(drt_is_none(drt_put(drt_i64(1))));
    drt_release(&r);
    setenv("DRT_MODE", "fancy", 1);
    assert_int_equal(drt_init(NULL), -EINVAL);
    assert_non_null(strstr(drt_last_error(), "fancy"));
    assert_int_equal(drt_init(DRT_CONFIG(.mode = 9)), -EINVAL);
    assert_int_equal(drt_init(DRT_CONFIG(.mode = DRT_MODE_SYNC)), 0); /* stronger than DRT_MODE */
}

static void test_scopes(void **state)
{
    size_t before = runtime.objects.used;
    struct drt_ref kept = {{0, 0}};
    for (int i = 0; i < 3; i++) {
        DRT_SCOPE
        {
            (void)drt_submit(silent);
            DRT_SCOPE
            {
                drt_release(&kept);
                kept = drt_keep(drt_keep(drt_put(drt_i64(i))));
                if (i == 1) {
                    break; /* leaves the inner one */
                }
            }
            (void)drt_put(drt_i64(1));
        }
    }
    assert_int_equal(runtime.objects.used, before); /* also the kept one: only two scopes out */
    DRT_SCOPE
    {
        drt_shutdown();
        assert_int_equal(drt_init(DRT_CONFIG(.mode = DRT_MODE_SYNC)), 0);
        kept = drt_put(drt_i64(1));
    }
    assert_int_equal(runtime.objects.used, 1);
}

static void test_helpers(void **state)
{
    struct drt_value items[6], rows[6];
    struct drt_ref refs[6];
    int64_t x;
    for (int i = 0; i < 6; i++) {
        items[i] = drt_i64(i % 3 + 1);
        rows[i] = drt_i64(i);
    }
    assert_int_equal(drt_starmap(add, rows, 2, 3, refs, NULL), 0);
    assert_int_equal(drt_get_i64(refs[2], &x), 0);
    assert_int_equal(x, 9);
    struct drt_options each = {.max_attempts = 2, .retry_on_error = true, .backoff = drt_ms(0)};
    assert_int_equal(
        drt_parallel_map(flaky, items, 6, refs, DRT_MAP_WITH(.max_running = 2, .each = &each)),
        DRT_E_FAILED);
    assert_int_equal(drt_get_i64(refs[1], &x), 0);
    assert_int_equal(x, 2);
    assert_int_equal(drt_get_nothing(refs[2]), DRT_E_FAILED);
    assert_int_equal(drt_get_nothing(refs[3]), 0); /* all were run */
    assert_int_equal(drt_parallel_map(flaky, items, 6, refs,
                                      DRT_MAP_WITH(.max_running = 1, .stop_on_error = true)),
                     DRT_E_FAILED);
    assert_int_equal(drt_get_nothing(refs[5]), DRT_E_CANCELLED);
    const struct drt_work work[] = {DRT_WORK(add, drt_i64(1), drt_i64(2)), DRT_WORK(silent),
                                    DRT_WORK(silent, DRT_WITH(.name = "x"))};
    assert_int_equal(drt_scatter_gather(work, 3, refs, NULL), 0);
    assert_int_equal(drt_get_i64(refs[0], &x), 0);
    assert_int_equal(x, 3);
    assert_int_equal(drt_parallel_map(flaky, NULL, 0, NULL, NULL), 0);
    size_t n;
    struct drt_node node;
    assert_int_equal(drt_nodes(&node, 1, &n), 0);
    assert_true(n == 1 && node.alive && node.cpus_total >= 1);
    assert_true(drt_total("CPU") >= 1 && drt_total("nothing") == 0);
}

static void test_names(void **state)
{
    static struct drt_entry_ other = {.name = "add",
                                      .file = "elsewhere.c",
                                      .fn = not_a_task,
                                      .kinds = (const unsigned char *)"",
                                      .line = 3,
                                      .what = 1};
    drt_shutdown();
    drt_register_(&other);
    assert_int_equal(drt_init(NULL), DRT_E_EXISTS);
    assert_non_null(strstr(drt_last_error(), "elsewhere.c:3"));
    assert_non_null(strstr(drt_last_error(), "test_sync.c"));
    drt_unregister_(&other);
    assert_int_equal(drt_init(DRT_CONFIG(.mode = DRT_MODE_SYNC)), 0);
}

static void test_words(void **state)
{
    assert_string_equal(drt_code_name(DRT_E_TIMEOUT), "DRT_E_TIMEOUT");
    assert_string_equal(drt_code_name(-ENOMEM), "ENOMEM");
    assert_true(drt_seconds(1.5).ns_plus_1_ == 1500000001);
    assert_true(drt_seconds(-1).ns_plus_1_ == 1);
    assert_true(drt_seconds(1e300).ns_plus_1_ == 0 && drt_forever().ns_plus_1_ == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_macros, setup, teardown),
        cmocka_unit_test_setup_teardown(test_several_results, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_recursion_without_an_end_is_stopped, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_null_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_misuse, setup, teardown),
        cmocka_unit_test_setup_teardown(test_placement, setup, teardown),
        cmocka_unit_test_setup_teardown(test_inside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_inside_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_before_init, setup, teardown),
        cmocka_unit_test_setup_teardown(test_scopes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_helpers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
