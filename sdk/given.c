#include "sdk/given.h"

#include "common/files.h"
#include "sdk/runtime.h"

#define HEAD           8u
#define COMMAND_MAX    (4u << 20) /* more than the kernel gives to a process by default */
#define JOB_CONFIG_MAX (1u << 20)

static struct {
    uint8_t *block;
    size_t size;
    int argc;
    const char **argv;
    struct drt_bytes config;
} given;

/* Points into the block that is there. */
static int parse(void)
{
    uint64_t size;
    int n = 0;
    if (given.size < HEAD) {
        return -EPROTO;
    }
    memcpy(&size, given.block, HEAD);
    const char *at = (const char *)given.block + HEAD, *end = at + size;
    if (size > given.size - HEAD || align_up(size, 8) > given.size - HEAD ||
        (size != 0 && end[-1] != '\0')) {
        return -EPROTO;
    }
    for (const char *p = at; p < end; p += strlen(p) + 1) {
        n++;
    }
    given.argv = xcalloc((size_t)n + 1, sizeof *given.argv);
    given.argc = n;
    for (n = 0; at < end; at += strlen(at) + 1) {
        given.argv[n++] = at;
    }
    size_t begin = HEAD + align_up(size, 8);
    given.config =
        (struct drt_bytes){given.size == begin ? NULL : given.block + begin, given.size - begin};
    return 0;
}

static int set(const uint8_t *block, size_t size)
{
    free(given.argv);
    free(given.block);
    memset(&given, 0, sizeof given);
    given.block = xmalloc(size + 1);
    given.size = size;
    memcpy(given.block, block, size);
    return parse();
}

int given_make(const struct drt_config *config)
{
    struct buffer block CLEANUP(buffer_fini) = {0};
    struct drt_bytes c = config->job_config;
    if (c.size > JOB_CONFIG_MAX) {
        return error_set(DRT_E_TOO_LARGE,
                         "drt_config.job_config has %zu bytes, and may have at most %u. Give what "
                         "is larger as an argument, as drt_of(drt_put(value)).",
                         c.size, JOB_CONFIG_MAX);
    }
    if (c.data == NULL && c.size != 0) {
        return error_set(-EINVAL, "drt_config.job_config has a size of %zu and no data.", c.size);
    }
    memset(buffer_extend(&block, HEAD), 0, HEAD);
    int r = files_read("/proc/self/cmdline", COMMAND_MAX, &block);
    if (r == -ENOENT) {
        /* No /proc: only sync mode can go on, whose bodies have the command line around them. */
        buffer_append(&block, program_invocation_name, strlen(program_invocation_name) + 1);
        r = 0;
    }
    if (r != 0) {
        return error_set(r,
                         "The command line of this program cannot be read from "
                         "/proc/self/cmdline: %s.",
                         strerror(-r));
    }
    if (block.size > HEAD && block.data[block.size - 1] != 0) {
        buffer_append(&block, "", 1); /* a program that wrote over its command line */
    }
    uint64_t size = block.size - HEAD;
    memcpy(block.data, &size, HEAD);
    memset(buffer_extend(&block, align_up(size, 8) - size), 0, align_up(size, 8) - size);
    if (c.size != 0) {
        buffer_append(&block, c.data, c.size);
    }
    return set(block.data, block.size);
}

int given_take(struct bytes block)
{
    return set(block.data, block.size);
}

struct bytes given_block(void)
{
    return bytes_of(given.block, given.size);
}

const char *const *drt_argv(int *ret_argc)
{
    int argc = 0;
    const char *const *argv = NULL;
    if (runtime_enter() == 0) {
        argc = given.argc;
        argv = given.argv;
    }
    if (ret_argc != NULL) {
        *ret_argc = argc;
    }
    return argv;
}

struct drt_bytes drt_job_config(void)
{
    return runtime_enter() == 0 ? given.config : (struct drt_bytes){NULL, 0};
}
