#include "raylet/node_dir.h"

#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/files.h"
#include "common/text.h"

int node_dir_path(const struct node_dir *d, const char *relative, char ret[PLACE_PATH_MAX])
{
    char path[PLACE_PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", d->path, relative);
    if (n < 0 || n >= PLACE_PATH_MAX) {
        return -ENAMETOOLONG;
    }
    memcpy(ret, path, (size_t)n + 1);
    return 0;
}

static uint64_t read_u64(const struct node_dir *d, const char *file, uint64_t max)
{
    char path[PLACE_PATH_MAX];
    struct buffer text = {0};
    uint64_t number = 0;
    if (node_dir_path(d, file, path) == 0 && files_read(path, 64, &text) == 0) {
        char *line = (char *)buffer_text(&text);
        line[strcspn(line, "\n")] = '\0';
        if (text_parse_u64(line, max, &number) != 0) {
            number = 0; /* broken: as if it were not there */
        }
    }
    buffer_fini(&text);
    return number;
}

static int write_u64(const struct node_dir *d, const char *file, uint64_t number)
{
    char path[PLACE_PATH_MAX], line[32];
    int n = snprintf(line, sizeof line, "%llu\n", (unsigned long long)number);
    int r = node_dir_path(d, file, path);
    return r != 0 ? r : files_write_atomic(path, line, (size_t)n, 0600);
}

static int failed(struct failure *f, const char *path, int error)
{
    return failure_set(f, CODE_FAILED,
                       "Cannot use the directory %s: %s. Choose another one with --dir or DRT_DIR.",
                       path, strerror(-error));
}

/* The logs of the raylet before are kept once. */
static int turn_logs(const struct node_dir *d)
{
    char logs[PLACE_PATH_MAX], old[PLACE_PATH_MAX];
    int r = node_dir_path(d, "logs", logs);
    if (r == 0) {
        r = node_dir_path(d, "logs.old", old);
    }
    if (r != 0) {
        return r;
    }
    if (access(logs, F_OK) == 0) {
        r = access(old, F_OK) == 0 ? files_remove_tree(old) : 0;
        if (r == 0 && rename(logs, old) < 0) {
            r = -errno;
        }
    }
    return r != 0 ? r : files_make_dirs(logs, 0700);
}

/* Reads it, or makes one: also where it is broken, which costs this node its former number. */
static int take_secret(struct node_dir *d)
{
    char path[PLACE_PATH_MAX];
    uint8_t random[(CLUSTER_SECRET_SIZE - 1) / 2];
    CLEANUP(buffer_fini) struct buffer text = {0};
    int r = node_dir_path(d, "secret", path);
    if (r != 0) {
        return r;
    }
    if (files_read(path, 256, &text) == 0 && text.size == CLUSTER_SECRET_SIZE &&
        text.data[CLUSTER_SECRET_SIZE - 1] == '\n' &&
        strspn(buffer_text(&text), "0123456789abcdef") == CLUSTER_SECRET_SIZE - 1) {
        memcpy(d->secret, text.data, CLUSTER_SECRET_SIZE - 1);
        return 0;
    }
    randombytes_buf(random, sizeof random);
    (void)sodium_bin2hex(d->secret, sizeof d->secret, random, sizeof random);
    char line[CLUSTER_SECRET_SIZE];
    memcpy(line, d->secret, sizeof line - 1);
    line[sizeof line - 1] = '\n';
    return files_write_atomic(path, line, sizeof line, 0600);
}

static int prepare(struct node_dir *d)
{
    char path[PLACE_PATH_MAX];
    int r = node_dir_path(d, "programs", path);
    if (r == 0) {
        r = files_make_dirs(path, 0700);
    }
    if (r == 0) {
        r = turn_logs(d);
    }
    if (r == 0) {
        r = node_dir_path(d, "pid", path);
        d->unclean = r == 0 && access(path, F_OK) == 0;
    }
    d->former_number = (uint32_t)read_u64(d, "number", UINT32_MAX);
    d->former_port = (uint16_t)read_u64(d, "port", UINT16_MAX);
    return r != 0 ? r : take_secret(d);
}

int node_dir_open(const struct place *place, const char *name, struct node_dir *ret,
                  struct failure *f)
{
    struct node_dir d = {.lock = -1};
    char path[PLACE_PATH_MAX], real[PLACE_PATH_MAX];
    if (!place_name_ok(name) || !text_copy(d.name, sizeof d.name, name)) {
        return failure_set(f, CODE_FAILED,
                           "\"%.80s\" is not a valid node name. Choose one of 1 to 63 letters, "
                           "digits, '.', '_' or '-' with --name.",
                           name);
    }
    int r = place_node_path(place, name, "", path);
    if (r == 0) {
        r = files_make_dirs(path, 0700);
    }
    if (r == 0 && realpath(path, real) == NULL) {
        r = -errno;
    }
    if (r == 0 && !text_copy(d.path, sizeof d.path, real)) {
        r = -ENAMETOOLONG;
    }
    if (r == 0) {
        r = node_dir_path(&d, "lock", path);
    }
    if (r != 0) {
        return failed(f, path, r);
    }
    d.lock = files_lock(path);
    if (d.lock == -EWOULDBLOCK) {
        return failure_set(f, CODE_EXISTS,
                           "A node named \"%s\" is already running here (%s). Give this one "
                           "another name with --name.",
                           name, d.path);
    }
    r = d.lock < 0 ? d.lock : prepare(&d);
    if (r != 0) {
        close_fd(&d.lock);
        return failed(f, d.path, r);
    }
    *ret = d;
    return 0;
}

void node_dir_close(struct node_dir *d)
{
    static const char *const files[] = {"pid", "sock"};
    char path[PLACE_PATH_MAX];
    if (d->path[0] == '\0') {
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        if (node_dir_path(d, files[i], path) == 0) {
            (void)unlink(path); /* it may not have been made yet */
        }
    }
    close_fd(&d->lock);
    *d = (struct node_dir){.lock = -1};
}

int node_dir_set_number(struct node_dir *d, uint32_t number)
{
    return write_u64(d, "number", number);
}

int node_dir_set_port(struct node_dir *d, uint16_t port)
{
    return write_u64(d, "port", port);
}

int node_dir_set_pid(struct node_dir *d)
{
    return write_u64(d, "pid", (uint64_t)getpid());
}
