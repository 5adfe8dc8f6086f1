/*
 * shelf THERE HERE COUNT: a task at node THERE puts COUNT values of nearly 1 MiB; this program
 * reads all of them, then one task at HERE reads all again, then COUNT tasks at HERE take one each.
 * Prints how many were right, three times. For tests of what a node keeps of another one's values.
 */
#include <drt/drt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE  1000000u
#define MOST  1000
#define EVERY 4096u

static int64_t is_right(struct drt_bytes b, int64_t i)
{
    const uint8_t *at = b.data;
    bool right = b.size == SIZE;
    for (size_t k = 0; right && k < SIZE; k += EVERY) {
        right = at[k] == (uint8_t)(i + (int64_t)(k / EVERY));
    }
    return right;
}

DRT_TASK(fill, call, DRT_I64)
{
    int64_t count = drt_arg_i64(call, 0);
    struct drt_ref refs[MOST];
    static uint8_t value[SIZE];
    for (int64_t i = 0; i < count; i++) {
        for (size_t k = 0; k < SIZE; k += EVERY) {
            value[k] = (uint8_t)(i + (int64_t)(k / EVERY));
        }
        refs[i] = drt_put(drt_bytes(value, SIZE));
    }
    return drt_return_holding(call, 0, drt_nothing(), refs, (size_t)count);
}

DRT_TASK(read_all, call, DRT_ANY)
{
    int64_t right = 0, count = (int64_t)drt_arg_inner_count(call, 0);
    for (int64_t i = 0; i < count; i++) {
        struct drt_ref ref = drt_arg_inner(call, 0, (size_t)i);
        struct drt_bytes b;
        right += drt_get_bytes(ref, &b) == 0 && is_right(b, i);
        drt_release(&ref);
    }
    return drt_return(call, drt_i64(right));
}

DRT_TASK(read_one, call, DRT_BYTES, DRT_I64)
{
    return drt_return(call, drt_i64(is_right(drt_arg_bytes(call, 0), drt_arg_i64(call, 1))));
}

int main(int argc, char **argv)
{
    struct drt_ref refs[MOST], tasks[MOST];
    int64_t right = 0, one;
    drt_init_or_exit();
    int64_t count = argc == 4 ? strtoll(argv[3], NULL, 10) : 0;
    if (count < 1 || count > MOST) {
        return 2;
    }
    struct drt_options there = {.strategy = DRT_NODE_SPECIFIC, .node = argv[1]};
    struct drt_options here = {.strategy = DRT_NODE_SPECIFIC, .node = argv[2]};
    struct drt_ref shelf = drt_submit(fill, drt_i64(count), drt_with(&there));
    for (int64_t i = 0; i < count; i++) {
        struct drt_bytes b;
        refs[i] = drt_inner(shelf, (size_t)i);
        right += drt_get_bytes(refs[i], &b) == 0 && is_right(b, i);
    }
    printf("%" PRId64 "\n", right);
    drt_check(drt_get_i64(drt_submit(read_all, drt_of(shelf), drt_with(&here)), &one));
    printf("%" PRId64 "\n", one);
    for (int64_t i = 0; i < count; i++) {
        tasks[i] = drt_submit(read_one, drt_of(refs[i]), drt_i64(i), drt_with(&here));
    }
    right = 0;
    for (int64_t i = 0; i < count; i++) {
        drt_check(drt_get_i64(tasks[i], &one));
        right += one;
    }
    printf("%" PRId64 "\n", right);
    drt_shutdown();
    return 0;
}
