/*
 * limits large: values above what a value may be; prints the codes.
 * limits full: holds objects until there is no more credit, gives them back, and goes on.
 * limits flood: submits more bytes than it has credit for; submit waits, and all goes well.
 * limits impossible: asks for what no node has.
 */
#include <drt/drt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MIB = 1 << 20, PIECE = 512 << 10, MOST = 4096, FLOOD = 1000 };

DRT_TASK(length_of, call, DRT_BYTES)
{
    return drt_return(call, drt_i64((int64_t)drt_arg_bytes(call, 0).size));
}

DRT_TASK(make, call, DRT_I64)
{
    size_t size = (size_t)drt_arg_i64(call, 0);
    void *data = drt_return_create(call, 0, size);
    if (data != NULL) {
        memset(data, 1, size);
    }
    return 0;
}

static void report(const char *what, struct drt_ref ref)
{
    struct drt_error e;
    int rc = drt_error_of(ref, &e);
    printf("%s: %s %s\n", what, drt_code_name(rc), e.message);
    drt_release(&ref);
}

static int try_large(void)
{
    void *data = calloc(1, 2 * MIB);
    if (data == NULL) {
        return 1;
    }
    report("fits", drt_submit(length_of, drt_bytes(data, MIB / 2)));
    report("argument", drt_submit(length_of, drt_bytes(data, 2 * MIB)));
    report("object", drt_put(drt_bytes(data, 2 * MIB)));
    report("result", drt_submit(make, drt_i64(2 * MIB)));
    report("after", drt_submit(length_of, drt_bytes(data, 10)));
    free(data);
    return 0;
}

static int try_full(void)
{
    static struct drt_ref refs[MOST];
    void *data = calloc(1, PIECE);
    struct drt_error e;
    int count = 0, rc = 0;
    if (data == NULL) {
        return 1;
    }
    while (count < MOST && rc == 0) {
        refs[count] = drt_put(drt_bytes(data, PIECE));
        rc = drt_error_of(refs[count++], &e);
    }
    printf("full after %d MiB: %s %s\n", count / 2, drt_code_name(rc), e.message);
    drt_release_all(refs, (size_t)count);
    for (int i = 0; i < 20; i++) {
        struct drt_ref again = drt_put(drt_bytes(data, PIECE));
        rc = drt_error_of(again, &e);
        drt_release(&again);
        if (rc != 0) {
            break;
        }
    }
    printf("again: %s\n", drt_code_name(rc));
    free(data);
    return 0;
}

static int try_flood(void)
{
    static struct drt_ref refs[FLOOD];
    void *data = calloc(1, PIECE);
    int64_t total = 0;
    if (data == NULL) {
        return 1;
    }
    for (int i = 0; i < FLOOD; i++) {
        refs[i] = drt_submit(length_of, drt_bytes(data, PIECE));
    }
    for (int i = 0; i < FLOOD; i++) {
        int64_t length;
        drt_check(drt_get_i64(refs[i], &length));
        total += length;
    }
    printf("%lld MiB\n", (long long)(total >> 20));
    drt_release_all(refs, FLOOD);
    free(data);
    return 0;
}

static int try_impossible(void)
{
    report("resource", drt_submit(length_of, drt_bytes("", 0),
                                  DRT_WITH(.resources = DRT_RESOURCES({"unicorn", 1}))));
    report("cpus", drt_submit(length_of, drt_bytes("", 0), DRT_WITH(.num_cpus = 100000)));
    return 0;
}

int main(int argc, char **argv)
{
    drt_init_or_exit();
    const char *what = argc > 1 ? argv[1] : "";
    int status = 2;
    if (strcmp(what, "large") == 0) {
        status = try_large();
    } else if (strcmp(what, "full") == 0) {
        status = try_full();
    } else if (strcmp(what, "flood") == 0) {
        status = try_flood();
    } else if (strcmp(what, "impossible") == 0) {
        status = try_impossible();
    }
    drt_shutdown();
    return status;
}
