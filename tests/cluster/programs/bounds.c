/*
 * Asks for what is at a bound and just beyond it, of every kind, and prints what becomes of each:
 * the same in every mode, code and sentence.
 */
#include <drt/drt.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MANY = 70000 };

static const size_t mega = 1000000, most = 1u << 20;
static char *zeros; /* 8 MiB */
static char *text;  /* the same, of letters */

DRT_TASK(take, call, DRT_REST(DRT_ANY))
{
    size_t bytes = 0;
    for (size_t i = 0; i < drt_arg_count(call); i++) {
        if (drt_arg_kind(call, i) == DRT_BYTES) {
            bytes += drt_arg_bytes(call, i).size;
        }
    }
    return drt_return(call, drt_i64((int64_t)bytes));
}

/* What the sentence about too many arguments says: the references, and their values here. */
DRT_TASK(fetch, call, DRT_REST(DRT_REF))
{
    size_t bytes = 0;
    for (size_t i = 0; i < drt_arg_count(call); i++) {
        struct drt_bytes b;
        int rc = drt_get_bytes(drt_arg_ref(call, i), &b);
        if (rc != 0) {
            return drt_fail(call, rc, "%s", drt_last_error());
        }
        bytes += b.size;
    }
    return drt_return(call, drt_i64((int64_t)bytes));
}

/* Results of so many bytes each. */
DRT_TASK(give, call, DRT_I64, DRT_I64)
{
    char *bytes = calloc(1, (size_t)drt_arg_i64(call, 1) + 1);
    int rc = 0;
    for (int64_t i = 0; i < drt_arg_i64(call, 0); i++) {
        rc = drt_return_at(call, (size_t)i, drt_bytes(bytes, (size_t)drt_arg_i64(call, 1)));
    }
    free(bytes);
    return rc;
}

/* The same as objects of their own, as the sentence says. */
DRT_TASK(give_put, call, DRT_I64, DRT_I64)
{
    char *bytes = calloc(1, (size_t)drt_arg_i64(call, 1) + 1);
    int rc = 0;
    for (int64_t i = 0; i < drt_arg_i64(call, 0) && rc == 0; i++) {
        rc = drt_return_at(call, (size_t)i,
                           drt_of(drt_put(drt_bytes(bytes, (size_t)drt_arg_i64(call, 1)))));
    }
    free(bytes);
    return rc;
}

DRT_TASK(give_text, call, DRT_I64)
{
    char *s = malloc((size_t)drt_arg_i64(call, 0) + 1);
    memset(s, 'x', (size_t)drt_arg_i64(call, 0));
    s[drt_arg_i64(call, 0)] = '\0';
    int rc = drt_return(call, drt_str(s));
    free(s);
    return rc;
}

DRT_TASK(create, call, DRT_I64)
{
    return drt_return_create(call, 0, (size_t)drt_arg_i64(call, 0)) == NULL ? DRT_E_TOO_LARGE : 0;
}

/* A string that holds so many references. */
DRT_TASK(hold, call, DRT_I64, DRT_I64)
{
    struct drt_ref *inner = calloc(MANY, sizeof *inner), one = drt_put(drt_i64(1));
    char *bytes = calloc(1, 2u << 20);
    for (size_t i = 0; i < MANY; i++) {
        inner[i] = one;
    }
    int rc = drt_return_holding(call, 0, drt_bytes(bytes, (size_t)drt_arg_i64(call, 1)), inner,
                                (size_t)drt_arg_i64(call, 0));
    free(bytes);
    free(inner);
    return rc;
}

static void tell(const char *what, struct drt_ref ref)
{
    struct drt_error error;
    int rc = drt_error_of(ref, &error);
    printf("%s: %s%s%s%s%s\n", what, rc == 0 ? "fine" : drt_code_name(rc),
           error.task[0] != '\0' ? " " : "", error.task, rc == 0 ? "" : ": ", error.message);
    drt_release(&ref);
}

static struct drt_ref with_arguments(size_t count, size_t size)
{
    struct drt_value *v = calloc(count + 1, sizeof *v);
    for (size_t i = 0; i < count; i++) {
        v[i] = drt_bytes(zeros, size);
    }
    struct drt_ref ref = drt_submit_array(take, v, count);
    free(v);
    return ref;
}

static struct drt_ref with_references(drt_task_fn *task, size_t count, size_t size, bool itself)
{
    struct drt_value *v = calloc(count + 1, sizeof *v);
    struct drt_ref *refs = calloc(count + 1, sizeof *refs);
    for (size_t i = 0; i < count; i++) {
        refs[i] = drt_put(drt_bytes(zeros, size));
        v[i] = itself ? drt_ref_itself(refs[i]) : drt_of(refs[i]);
    }
    struct drt_ref ref = drt_submit_array(task, v, count);
    drt_release_all(refs, count);
    free(refs);
    free(v);
    return ref;
}

static struct drt_ref of_holders(size_t count, size_t inside)
{
    struct drt_ref *inner = calloc(MANY, sizeof *inner), one = drt_put(drt_i64(1)), holder[8];
    struct drt_value v[8];
    for (size_t i = 0; i < MANY; i++) {
        inner[i] = one;
    }
    for (size_t i = 0; i < count; i++) {
        holder[i] = drt_put_holding(drt_i64(1), inner, inside);
        v[i] = drt_of(holder[i]);
    }
    struct drt_ref ref = drt_submit_array(take, v, count);
    drt_release_all(holder, count);
    drt_release(&one);
    free(inner);
    return ref;
}

static struct drt_ref last_result(drt_task_fn *task, size_t count, size_t size)
{
    struct drt_ref *refs = calloc(count, sizeof *refs);
    drt_submit_into_(
        refs, count, task, "task",
        (const struct drt_value[]){drt_i64((int64_t)count), drt_i64((int64_t)size), drt_end_()});
    struct drt_ref last = refs[count - 1];
    drt_release_all(refs, count - 1);
    free(refs);
    return last;
}

static void values(void)
{
    text[most] = '\0';
    tell("a string of the most", drt_put(drt_str(text)));
    text[most] = 'x';
    text[4 * most] = '\0';
    tell("a string of 4 MiB", drt_put(drt_str(text)));
    tell("an argument of 4 MiB", drt_submit(take, drt_str(text)));
    tell("bytes of the most", drt_put(drt_bytes(zeros, most)));
    tell("bytes of one more", drt_put(drt_bytes(zeros, most + 1)));
    tell("bytes of 8 GiB", drt_put(drt_bytes(zeros, (size_t)8 << 30)));
    tell("an array of 2 MB", drt_put(DRT_ARRAY(int, (int *)(void *)zeros, mega / 2)));
    tell("a result of the most", last_result(give, 1, most));
    tell("a result of one more", last_result(give, 1, most + 1));
    tell("a text of 4 MiB as a result", drt_submit(give_text, drt_i64((int64_t)(4 * most))));
    tell("room for the most", drt_submit(create, drt_i64((int64_t)most)));
    tell("room for one more", drt_submit(create, drt_i64((int64_t)most + 1)));
    tell("room for 8 GiB", drt_submit(create, drt_i64((int64_t)8 << 30)));
}

static void arguments(void)
{
    tell("4 arguments of 1 MB", with_arguments(4, mega));
    tell("6 arguments of 1 MB", with_arguments(6, mega));
    tell("4 values of references of 1 MB", with_references(take, 4, mega, false));
    tell("6 values of references of 1 MB", with_references(take, 6, mega, false));
    tell("6 references to 1 MB", with_references(fetch, 6, mega, true));
    tell("4 values of the most", with_references(take, 4, most, false));
    tell("16384 arguments", with_arguments(16384, 1));
    tell("16385 arguments", with_arguments(16385, 1));
    tell("a holder of the most references", of_holders(1, 16384));
    tell("two holders of the most", of_holders(2, 16384));
    tell("a holder of more", of_holders(1, 16385));
}

static void results(void)
{
    tell("4 results of 1 MB", last_result(give, 4, mega));
    tell("6 results of 1 MB", last_result(give, 6, mega));
    tell("6 results that were put", last_result(give_put, 6, mega));
    tell("4096 results", last_result(give, 4096, 1));
    tell("4097 results", last_result(give, 4097, 1));
    tell("a result that holds the most", drt_submit(hold, drt_i64(16384), drt_i64(1)));
    tell("a result that holds more", drt_submit(hold, drt_i64(16385), drt_i64(1)));
    tell("a result too large with what it holds", drt_submit(hold, drt_i64(10), drt_i64(1048500)));
}

static const char *long_name(size_t length)
{
    static char name[70000];
    memset(name, 'n', length);
    name[length] = '\0';
    return name;
}

static void options(void)
{
    struct drt_resource many[40] = {{NULL, 0}};
    static char names[40][8];
    tell("a name of 255", drt_submit(take, DRT_WITH(.name = long_name(255))));
    tell("a name of 256", drt_submit(take, DRT_WITH(.name = long_name(256))));
    tell("a name of 70000", drt_submit(take, DRT_WITH(.name = long_name(69999))));
    tell("a name with a line", drt_submit(take, DRT_WITH(.name = "a\nb\x01")));
    tell("a node of 256",
         drt_submit(take, DRT_WITH(.strategy = DRT_NODE_SPECIFIC, .node = long_name(256))));
    tell("labels that are none",
         drt_submit(take, DRT_WITH(.strategy = DRT_NODE_SPECIFIC, .labels = "disk")));
    tell("a strategy that is none", drt_submit(take, DRT_WITH(.strategy = 7)));
    tell("a node without its strategy", drt_submit(take, DRT_WITH(.node = "x")));
    tell("a resource of 64",
         drt_submit(take, DRT_WITH(.resources = DRT_RESOURCES({long_name(64), 1}))));
    tell("a GPU", drt_submit(take, DRT_WITH(.resources = DRT_RESOURCES({"GPU", 1}))));
    tell("half a gpu", drt_submit(take, DRT_WITH(.resources = DRT_RESOURCES({"gpu", 0.5}))));
    tell("CPUs as a resource", drt_submit(take, DRT_WITH(.resources = DRT_RESOURCES({"CPU", 1}))));
    for (int i = 0; i < 35; i++) {
        snprintf(names[i], sizeof names[i], "r%d", i);
        many[i] = (struct drt_resource){names[i], 0};
    }
    tell("35 resources of nothing", drt_submit(take, DRT_WITH(.resources = many)));
    many[3].amount = -1;
    tell("less than none", drt_submit(take, DRT_WITH(.resources = many)));
    tell("the priority", drt_submit(take, DRT_WITH(.priority = INT32_MIN)));
    tell("the attempts", drt_submit(take, DRT_WITH(.max_attempts = UINT32_MAX)));
    tell("no time", drt_submit(take, DRT_WITH(.timeout = drt_ms(0))));
    tell("no time and no such node", drt_submit(take, DRT_WITH(.timeout = drt_ms(0), .node = "x")));
    tell("all time", drt_submit(take, DRT_WITH(.timeout = drt_ns(UINT64_MAX - 2))));
}

int main(void)
{
    drt_init_or_exit();
    zeros = calloc(1, 9u << 20);
    text = malloc(9u << 20);
    memset(text, 'x', 9u << 20);
    values();
    arguments();
    results();
    options();
    free(zeros);
    free(text);
    drt_shutdown();
    return 0;
}
