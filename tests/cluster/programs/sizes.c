/*
 * Values of all sizes on every way that a value can take: results, several of a task, arguments,
 * references, values that hold others; small ones, failures and large ones together and in every
 * order. `sizes [NODE]`: its tasks run there. Prints how many values were right.
 */
#include <drt/drt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX   ((size_t)1 << 20)
#define COUNT (sizeof sizes / sizeof sizes[0])
#define SMALL 12 /* so many of them are no large ones */

static const size_t sizes[] = {0,     1,      7,      8,      9,       63,    64,
                               65,    200,    4095,   4096,   4097,    65535, 65536,
                               65537, 262143, 262144, 262145, MAX - 1, MAX};

static const char *node;
static long right;

static unsigned char byte_of(size_t size, size_t i)
{
    return (unsigned char)(size * 31 + i * 7 + (i >> 8));
}

static void fill(void *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        ((unsigned char *)data)[i] = byte_of(size, i);
    }
}

static int is_right(struct drt_bytes b, size_t size)
{
    if (b.size != size || (size >= 64 && (size_t)b.data % 64 != 0)) {
        return 0;
    }
    for (size_t i = 0; i < size; i++) {
        if (((const unsigned char *)b.data)[i] != byte_of(size, i)) {
            return 0;
        }
    }
    return 1;
}

static const void *bytes_of(size_t size)
{
    static unsigned char room[sizeof sizes / sizeof sizes[0]][MAX + 1];
    static size_t filled[sizeof sizes / sizeof sizes[0]];
    for (size_t i = 0; i < COUNT; i++) {
        if (sizes[i] == size) {
            if (filled[i] == 0) {
                fill(room[i], size);
                filled[i] = 1;
            }
            return room[i];
        }
    }
    abort();
}

static struct drt_value value(size_t size)
{
    return drt_bytes(bytes_of(size), size);
}

/* ---- tasks ---- */

DRT_TASK(make, call, DRT_I64)
{
    size_t size = (size_t)drt_arg_i64(call, 0);
    void *room = drt_return_create(call, 0, size);
    if (room != NULL) {
        fill(room, size);
    }
    return 0;
}

DRT_TASK(fails, call, DRT_I64)
{
    char text[1000];
    size_t length = (size_t)drt_arg_i64(call, 0);
    memset(text, 'x', length);
    text[length] = '\0';
    return drt_fail(call, 7, "%s", text);
}

/* Sizes, then as many values: whether all are right. */
DRT_TASK(look, call, DRT_REST(DRT_ANY))
{
    size_t n = drt_arg_count(call) / 2;
    for (size_t i = 0; i < n; i++) {
        size_t size = (size_t)drt_arg_i64(call, i);
        if (!is_right(drt_arg_bytes(call, n + i), size)) {
            return drt_fail(call, 1, "argument %zu of %zu bytes is wrong", i, size);
        }
    }
    return drt_return(call, drt_i64((int64_t)n));
}

DRT_TASK(echo, call, DRT_BYTES)
{
    struct drt_bytes b = drt_arg_bytes(call, 0);
    return drt_return(call, drt_bytes(b.data, b.size));
}

DRT_TASK(echo_text, call, DRT_STR)
{
    return drt_return(call, drt_str(drt_arg_str(call, 0)));
}

/* A result for each size; -1: nothing; -2: that of another task. */
DRT_TASK(make_all, call, DRT_RECORDS)
{
    size_t count;
    const int64_t *asked = DRT_ARG_ARRAY(call, 0, int64_t, &count);
    for (size_t i = 0; i < count; i++) {
        int64_t size = asked[i];
        int r;
        if (size == -1) {
            r = drt_return_at(call, i, drt_nothing());
        } else if (size == -2) {
            r = drt_return_at(call, i, drt_of(drt_submit(make, drt_i64(9))));
        } else {
            void *room = drt_return_create(call, i, (size_t)size);
            r = room == NULL;
            if (room != NULL) {
                fill(room, (size_t)size);
            }
        }
        if (r != 0) {
            return r;
        }
    }
    return 0;
}

DRT_TASK(alias, call, DRT_REF)
{
    return drt_return(call, drt_of(drt_arg_ref(call, 0)));
}

/* Its value of this size holds two others: that of the argument, and one of its own. */
DRT_TASK(holding, call, DRT_I64, DRT_REF)
{
    size_t size = (size_t)drt_arg_i64(call, 0);
    struct drt_ref inner[2] = {drt_arg_ref(call, 1), drt_submit(make, drt_i64((int64_t)size))};
    return drt_return_holding(call, 0, value(size), inner, 2);
}

/* ---- the driver ---- */

static void wrong(const char *way, size_t size, int code)
{
    printf("%s of %zu bytes: %s: %s\n", way, size, drt_code_name(code), drt_last_error());
    exit(1);
}

static void expect(const char *way, struct drt_ref ref, size_t size)
{
    struct drt_bytes b;
    int r = drt_get_bytes(ref, &b);
    if (r != 0 || !is_right(b, size)) {
        wrong(way, size, r);
    }
    right++;
}

static void expect_code(const char *way, struct drt_ref ref, size_t size, int code)
{
    int r = drt_get_nothing(ref);
    if (r != code) {
        wrong(way, size, r);
    }
    right++;
}

#define THERE DRT_WITH(.strategy = node != NULL ? DRT_NODE_SPECIFIC : DRT_DEFAULT, .node = node)

/* All at once, asked for when all have ended; between them failures, and values without bytes. */
static void at_once(size_t step)
{
    struct drt_ref refs[2 * COUNT];
    size_t ready;
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = sizes[i * step % COUNT];
        refs[2 * i] = drt_submit(make, drt_i64((int64_t)size), THERE);
        refs[2 * i + 1] = drt_submit(fails, drt_i64((int64_t)(i * 37 % 1000)), THERE);
    }
    drt_check(drt_wait(refs, 2 * COUNT, 2 * COUNT, drt_seconds(60), NULL, &ready));
    for (size_t i = 0; i < COUNT; i++) {
        expect_code("a failure", refs[2 * i + 1], i, DRT_E_FAILED);
        expect("a result", refs[2 * i], sizes[i * step % COUNT]);
    }
    for (size_t i = 0; i < COUNT; i++) {
        drt_release(&refs[2 * i + 1]);
    }
    for (size_t left = COUNT; left > 0; left--) { /* one after another, as they come */
        size_t at;
        drt_check(drt_wait_any(refs, 2 * COUNT, drt_seconds(60), &at));
        expect("a result that was waited for", refs[at], sizes[at / 2 * step % COUNT]);
        drt_release(&refs[at]);
    }
}

static void one_by_one(size_t size)
{
    char text[4200];
    const char *back;
    struct drt_ref put = drt_put(value(size));
    struct drt_ref made = drt_submit(make, drt_i64((int64_t)size), THERE);
    expect("an object", put, size);
    expect("an argument", drt_submit(echo, value(size), THERE), size);
    expect("an argument that is a reference", drt_submit(echo, drt_of(put), THERE), size);
    expect("an argument that is made", drt_submit(echo, drt_of(made), THERE), size);
    expect("the result of another", drt_submit(alias, drt_ref_itself(made), THERE), size);
    expect("an object of another", drt_submit(alias, drt_ref_itself(put), THERE), size);
    if (size < MAX - 4096) { /* references inside count, too */
        struct drt_ref outer = drt_put_holding(value(size), &made, 1);
        struct drt_ref far =
            drt_submit(holding, drt_i64((int64_t)size), drt_ref_itself(put), THERE);
        expect("an object that holds", outer, size);
        expect("what an object holds", drt_inner(outer, 0), size);
        expect("a result that holds", far, size);
        expect("what a result holds", drt_inner(far, 0), size);
        expect("what a result holds", drt_inner(far, 1), size);
    }
    if (size < sizeof text) {
        memset(text, 'y', size);
        text[size] = '\0';
        int r = drt_get_str(drt_submit(echo_text, drt_str(text), THERE), &back);
        if (r != 0 || strcmp(back, text) != 0) {
            wrong("a text", size, r);
        }
        right++;
    }
}

/* Two arguments of each pair of small sizes, as values and as references. */
static void pairs(void)
{
    struct drt_ref puts[SMALL];
    for (size_t i = 0; i < SMALL; i++) {
        puts[i] = drt_put(value(sizes[i]));
    }
    for (size_t i = 0; i < SMALL; i++) {
        DRT_SCOPE
        {
            struct drt_ref refs[SMALL][3];
            for (size_t j = 0; j < SMALL; j++) {
                struct drt_value a = drt_i64((int64_t)sizes[i]), b = drt_i64((int64_t)sizes[j]);
                refs[j][0] = drt_submit(look, a, b, drt_of(puts[i]), drt_of(puts[j]), THERE);
                refs[j][1] = drt_submit(look, a, b, value(sizes[i]), drt_of(puts[j]), THERE);
                refs[j][2] = drt_submit(look, a, b, value(sizes[i]), value(sizes[j]), THERE);
            }
            for (size_t j = 0; j < 3 * SMALL; j++) {
                expect_code("two arguments", refs[j / 3][j % 3], sizes[j / 3], 0);
            }
        }
    }
}

/* All sizes in one task, as far as 4 MiB allow: as its results, and as its arguments. */
static void together(size_t step)
{
    struct drt_value given[2 * COUNT + 1];
    int64_t asked[COUNT];
    struct drt_ref refs[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = sizes[i * step % COUNT];
        asked[i] = i % 5 == 3 ? -1 : i % 5 == 4 ? -2 : (int64_t)size;
        given[i] = drt_i64((int64_t)size);
        given[COUNT + i] = i % 2 == 0 ? value(size) : drt_of(drt_put(value(size)));
    }
    given[2 * COUNT] = THERE;
    expect_code("all as arguments", drt_submit_array(look, given, 2 * COUNT + 1), step, 0);
    drt_submit_into(refs, COUNT, make_all, DRT_ARRAY(int64_t, asked, COUNT), THERE);
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = i % 5 == 4 ? 9 : sizes[i * step % COUNT];
        if (i % 5 == 3) {
            expect_code("nothing among all", refs[i], size, 0);
        } else {
            expect("one of all", refs[i], size);
        }
    }
}

/* One byte more than a value may have. */
static void too_large(void)
{
    static char more[MAX + 1];
    expect_code("a result", drt_submit(make, drt_i64(MAX + 1), THERE), MAX + 1, DRT_E_TOO_LARGE);
    expect_code("an object", drt_put(drt_bytes(more, MAX + 1)), MAX + 1, DRT_E_TOO_LARGE);
    expect_code("an argument", drt_submit(echo, drt_bytes(more, MAX + 1), THERE), MAX + 1,
                DRT_E_TOO_LARGE);
}

int main(int argc, char **argv)
{
    static const size_t steps[] = {1, COUNT - 1, 3, 7}; /* in order, backwards, mixed */
    node = argc > 1 ? argv[1] : NULL;
    drt_init_or_exit();
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        DRT_SCOPE
        {
            at_once(steps[i]);
            together(steps[i]);
        }
    }
    for (size_t i = 0; i < COUNT; i++) {
        DRT_SCOPE
        {
            one_by_one(sizes[i]);
        }
    }
    DRT_SCOPE
    {
        pairs();
        too_large();
    }
    printf("%ld right\n", right);
    drt_shutdown();
    return 0;
}
