/*
 * circle DIR NODE...: on each node a body that keeps the disk and, once all of them have begun,
 * waits for a task that needs the disk of the next node. Prints how each ended. FIFOs in DIR tell
 * who has begun.
 */
#include <drt/drt.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Opens a FIFO, which waits until somebody opens its other end. */
static int meet(const char *dir, const char *name, int64_t i, int flags)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.%" PRId64, dir, name, i);
    if (flags < 0) {
        return mkfifo(path, 0600);
    }
    int fd = open(path, flags);
    return fd < 0 ? -1 : close(fd);
}

#define ON_DISK(name)                                                                              \
    DRT_WITH(.strategy = DRT_NODE_SPECIFIC, .node = (name), .resources = DRT_RESOURCES({"disk", 1}))

DRT_TASK(needs_disk, call)
{
    return drt_return(call, drt_i64(1));
}

DRT_TASK(keeps_disk, call, DRT_STR, DRT_I64, DRT_STR)
{
    const char *dir = drt_arg_str(call, 0), *next = drt_arg_str(call, 2);
    int64_t i = drt_arg_i64(call, 1), one;
    if (meet(dir, "began", i, O_WRONLY) != 0 || meet(dir, "go", i, O_RDONLY) != 0) {
        return drt_fail(call, 1, "the FIFOs cannot be opened");
    }
    int rc = drt_get_i64(drt_submit(needs_disk, ON_DISK(next)), &one);
    if (rc != 0) {
        return drt_fail(call, rc, "%s", drt_last_error());
    }
    return drt_return(call, drt_i64(one));
}

int main(int argc, char **argv)
{
    drt_init_or_exit();
    int count = argc - 2;
    struct drt_ref refs[16];
    if (count < 1 || count > 16) {
        return 2;
    }
    for (int i = 0; i < count; i++) {
        if (meet(argv[1], "began", i, -1) != 0 || meet(argv[1], "go", i, -1) != 0) {
            return 2;
        }
        refs[i] = drt_submit(keeps_disk, drt_str(argv[1]), drt_i64(i),
                             drt_str(argv[2 + (i + 1) % count]), ON_DISK(argv[2 + i]));
    }
    for (int i = 0; i < count; i++) {
        if (meet(argv[1], "began", i, O_RDONLY) != 0) {
            return 2;
        }
    }
    for (int i = 0; i < count; i++) {
        if (meet(argv[1], "go", i, O_WRONLY) != 0) {
            return 2;
        }
    }
    for (int i = 0; i < count; i++) {
        struct drt_error error = {0};
        int64_t one;
        if (drt_get_i64(refs[i], &one) == 0) {
            printf("right\n");
        } else if (drt_error_of(refs[i], &error) != 0) {
            printf("%s: %s\n", drt_code_name(error.app_code), error.message);
        }
    }
    drt_shutdown();
    return 0;
}
