/*
 * boxes NODE...: references inside values that travel between nodes. A body on each node makes a
 * box: a text and two references, one of its own and one to the box that was made before; so a
 * chain of values hangs on the last one, spread over the nodes. All but the last are released here.
 * Then bodies on each node in turn walk the chain, and so does this program. Prints what they saw.
 */
#include <drt/drt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Takes the box before (a reference, not its value) or nothing. */
DRT_TASK(make_box, call, DRT_I64, DRT_REST(DRT_REF))
{
    struct drt_ref inner[2] = {drt_put(drt_str(drt_node_name()))};
    size_t count = 1;
    char text[64];
    if (drt_arg_count(call) > 1) {
        inner[count++] = drt_arg_ref(call, 1);
    }
    snprintf(text, sizeof text, "box %d", (int)drt_arg_i64(call, 0));
    return drt_return_holding(call, 0, drt_str(text), inner, count);
}

/* "node(box 2:n3)(box 1:n2)...": walks through references by drt_inner. */
static int walk(struct drt_ref box, char *out, size_t size)
{
    for (;;) {
        const char *text, *maker;
        size_t count;
        int rc = drt_get_str(box, &text);
        rc = rc == 0 ? drt_inner_count(box, &count) : rc;
        rc = rc == 0 ? drt_get_str(drt_inner(box, 0), &maker) : rc;
        if (rc != 0) {
            return rc;
        }
        size_t used = strlen(out);
        snprintf(out + used, size - used, "(%s:%s)", text, maker);
        if (count < 2) {
            return 0;
        }
        box = drt_inner(box, 1);
    }
}

/* Takes the last box's value, and begins with what is inside it. */
DRT_TASK(read_boxes, call, DRT_STR)
{
    char out[2000];
    const char *maker;
    int rc = drt_get_str(drt_arg_inner(call, 0, 0), &maker);
    snprintf(out, sizeof out, "%s(%s:%s)", drt_node_name(), drt_arg_str(call, 0),
             rc == 0 ? maker : "?");
    if (rc == 0 && drt_arg_inner_count(call, 0) > 1) {
        rc = walk(drt_arg_inner(call, 0, 1), out, sizeof out);
    }
    return rc == 0 ? drt_return(call, drt_str(out)) : drt_fail(call, rc, "%s", drt_last_error());
}

/* A reference as the result: to a value that lives where this ran. */
DRT_TASK(lend, call, DRT_I64)
{
    return drt_return(call, drt_ref_itself(drt_put(drt_i64(drt_arg_i64(call, 0) * 2))));
}

/* Takes what lend returned as the reference that it is. */
DRT_TASK(use, call, DRT_REF)
{
    int64_t x;
    int rc = drt_get_i64(drt_arg_ref(call, 0), &x);
    return rc == 0 ? drt_return(call, drt_i64(x + 1)) : drt_fail(call, rc, "%s", drt_last_error());
}

int main(int argc, char **argv)
{
    struct drt_ref box = {{0, 0}};
    drt_init_or_exit();
    for (int i = 1; i < argc; i++) {
        struct drt_options there = {.strategy = DRT_NODE_SPECIFIC, .node = argv[i]};
        struct drt_ref last = box;
        if (drt_is_none(last)) {
            box = drt_submit(make_box, drt_i64(i), drt_with(&there));
        } else {
            box = drt_submit(make_box, drt_i64(i), drt_ref_itself(last), drt_with(&there));
        }
        drt_release(&last); /* the next box holds it */
    }
    for (int i = 1; i < argc; i++) {
        struct drt_options there = {.strategy = DRT_NODE_SPECIFIC, .node = argv[i]};
        const char *text;
        struct drt_ref seen = drt_submit(read_boxes, drt_of(box), drt_with(&there));
        drt_check(drt_get_str(seen, &text));
        printf("%s\n", text);
        drt_release(&seen);
    }
    char out[2000] = "here";
    DRT_SCOPE
    {
        drt_check(walk(box, out, sizeof out));
    }
    printf("%s\n", out);
    drt_release(&box);
    for (int i = 1; i < argc; i++) {
        struct drt_options there = {.strategy = DRT_NODE_SPECIFIC, .node = argv[i]};
        struct drt_options next = {.strategy = DRT_NODE_SPECIFIC, .node = argv[1 + i % (argc - 1)]};
        int64_t here, elsewhere;
        struct drt_ref lent = drt_submit(lend, drt_i64(i), drt_with(&there));
        struct drt_ref used = drt_submit(use, drt_of(lent), drt_with(&next));
        drt_check(drt_get_i64(drt_inner(lent, 0), &here));
        drt_check(drt_get_i64(used, &elsewhere));
        printf("%d %d\n", (int)here, (int)elsewhere);
    }
    drt_shutdown();
    return 0;
}
