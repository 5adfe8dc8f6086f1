#include "bench/private_cluster.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"

#define START_LIMIT_S 30

static bool try_path(char ret[512], const char *dir, const char *below, const char *name)
{
    char path[512];

    if (snprintf(path, sizeof path, "%s%s/%s", dir, below, name) < (int)sizeof path &&
        access(path, X_OK) == 0) {
        text_copy(ret, 512, path);
        return true;
    }
    return false;
}

static int find_program(struct private_cluster *c, const char *folder, const char *name,
                        char ret[512])
{
    const char *bindir = getenv("DRT_BINDIR");
    char self[400] = "", below[64], dir[400];

    while (bindir != NULL && bindir[0] != '\0') { /* "here:there" */
        size_t length = strcspn(bindir, ":");
        snprintf(dir, sizeof dir, "%.*s", (int)length, bindir);
        if (try_path(ret, dir, "", name)) {
            return 0;
        }
        bindir += length + (bindir[length] == ':');
    }
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) {
        return -errno;
    }
    *strrchr(self, '/') = '\0';
    snprintf(below, sizeof below, "/../%s", folder);
    if (try_path(ret, self, below, name) || try_path(ret, self, "", name)) {
        return 0;
    }
    snprintf(c->why, sizeof c->why, "no %s in $DRT_BINDIR, %.180s%s or %.180s", name, self, below,
             self);
    return -ENOENT;
}

int private_cluster_find(struct private_cluster *c)
{
    int rc = find_program(c, "head", "drt-head", c->head);

    if (rc == 0) {
        rc = find_program(c, "raylet", "drt-node", c->node);
    }
    if (rc == 0) {
        rc = find_program(c, "cli", "drt", c->cli);
    }
    if (rc == 0) {
        rc = find_program(c, "bench", "drt-bench-driver", c->driver);
    }
    return rc;
}

static int make_board(struct private_cluster *c)
{
    snprintf(c->board_path, sizeof c->board_path, "%s/board", c->dir);
    int fd = open(c->board_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, BOARD_BYTES) < 0) {
        close_fd(&fd);
        return -errno;
    }
    void *page = mmap(NULL, BOARD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (page == MAP_FAILED) {
        return -errno;
    }
    c->board = page;
    return 0;
}

int private_cluster_make(struct private_cluster *c)
{
    const char *tmp = getenv("TMPDIR");
    char dir[256];

    snprintf(dir, sizeof dir, "%s/drt-bench-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(dir) == NULL) {
        snprintf(c->why, sizeof c->why, "cannot make %s: %s", dir, strerror(errno));
        return -errno;
    }
    text_copy(c->dir, sizeof c->dir, dir);
    char cluster[300];
    snprintf(cluster, sizeof cluster, "%s/cluster", dir);
    setenv("HOME", dir, 1);
    setenv("DRT_DIR", cluster, 1);
    setenv("DRT_MODE", "cluster", 1);
    unsetenv("DRT_CLUSTER");
    unsetenv("DRT_NODE");
    return make_board(c);
}

static int say(struct private_cluster *c, const char *what, int rc, struct buffer *out)
{
    if (rc == 0) {
        return 0;
    }
    snprintf(c->why, sizeof c->why, "%s %s: %.300s", what,
             rc == -ETIMEDOUT ? "did not end in time" : "failed", buffer_text(out));
    return -EIO;
}

/* "  Head         127.0.0.1:7420   (pid ...": the first word with a port. */
static bool find_address(const char *text, char ret[80])
{
    for (const char *colon = text; (colon = strchr(colon, ':')) != NULL; colon++) {
        const char *begin = colon, *end = colon + 1;
        while (begin > text && strchr(" \t\n", begin[-1]) == NULL) {
            begin--;
        }
        end += strspn(end, "0123456789");
        if (end - colon > 2 && begin < colon && (size_t)(end - begin) < 80) {
            memcpy(ret, begin, (size_t)(end - begin));
            ret[end - begin] = '\0';
            return true;
        }
    }
    return false;
}

int private_cluster_start_head(struct private_cluster *c)
{
    char *argv[] = {c->head, "start", "--dir", getenv("DRT_DIR"), "--bind", "127.0.0.1", NULL};
    struct buffer out = {0};

    int rc = say(c, "drt-head start", process_run(argv, START_LIMIT_S, &out), &out);
    if (rc == 0 && !find_address(buffer_text(&out), c->address)) {
        snprintf(c->why, sizeof c->why, "drt-head start names no address: %.300s",
                 buffer_text(&out));
        rc = -EIO;
    }
    buffer_fini(&out);
    return rc;
}

int private_cluster_join(struct private_cluster *c, const char *name, unsigned cpus)
{
    char number[16];
    char *argv[] = {c->node,      "join",       c->address, "--dir",  getenv("DRT_DIR"), "--name",
                    (char *)name, "--num-cpus", number,     "--bind", "127.0.0.1",       NULL};
    struct buffer out = {0};

    snprintf(number, sizeof number, "%u", cpus);
    int rc = say(c, "drt-node join", process_run(argv, START_LIMIT_S, &out), &out);
    buffer_fini(&out);
    return rc;
}

size_t private_cluster_heads(const struct private_cluster *c, pid_t *ret, size_t room)
{
    return processes_find("drt-head", c->dir, ret, room);
}

size_t private_cluster_raylets(const struct private_cluster *c, pid_t *ret, size_t room)
{
    return processes_find("drt-node", c->dir, ret, room);
}

int private_cluster_stop_all(struct private_cluster *c)
{
    char *argv[] = {c->cli, "stop", "--dir", getenv("DRT_DIR"), NULL};
    struct buffer out = {0};
    pid_t pids[32];

    int rc = say(c, "drt stop", process_run(argv, START_LIMIT_S, &out), &out);
    buffer_fini(&out);
    uint64_t end_ns = clock_now_ns() + 10 * NS_PER_S;
    while (private_cluster_heads(c, pids, 32) + private_cluster_raylets(c, pids, 32) > 0) {
        if (clock_now_ns() > end_ns) {
            snprintf(c->why, sizeof c->why, "drt stop left daemons running");
            return -EIO;
        }
        nanosleep(&(struct timespec){0, 2000000}, NULL);
    }
    return rc;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void private_cluster_fini(struct private_cluster *c)
{
    pid_t pids[64];

    if (c->dir[0] == '\0') {
        return;
    }
    if (private_cluster_heads(c, pids, 64) + private_cluster_raylets(c, pids, 64) > 0) {
        (void)!private_cluster_stop_all(c);
    }
    size_t count = private_cluster_heads(c, pids, 32);
    count += private_cluster_raylets(c, pids + count, 32);
    for (size_t i = 0; i < count; i++) {
        kill(pids[i], SIGKILL);
    }
    if (c->board != NULL) {
        munmap(c->board, BOARD_BYTES);
        c->board = NULL;
    }
    nftw(c->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    c->dir[0] = '\0';
}

void private_cluster_board_clear(struct private_cluster *c)
{
    memset((void *)c->board, 0, sizeof *c->board);
}

int private_cluster_driver(struct private_cluster *c, const char *const *words, bool with_board,
                           struct process *ret)
{
    char *argv[16] = {c->driver}, board[320];
    size_t n = 1;

    for (; *words != NULL && n < ARRAY_SIZE(argv) - 3; words++) {
        argv[n++] = (char *)*words;
    }
    if (with_board) {
        snprintf(board, sizeof board, "board=%s", c->board_path);
        argv[n++] = board;
    }
    if (c->word != NULL) {
        argv[n++] = (char *)c->word;
    }
    int rc = process_start(argv, true, ret);
    if (rc < 0) {
        snprintf(c->why, sizeof c->why, "cannot start %.300s: %s", c->driver, strerror(-rc));
    }
    return rc;
}

int private_cluster_driver_end(struct private_cluster *c, struct process *p, double limit_s,
                               struct figures *ret)
{
    struct buffer out = {0};
    int rc = process_finish(p, limit_s, &out);

    if (rc == 0) {
        figures_read(ret, &out);
    } else {
        snprintf(c->why, sizeof c->why, "a driver %s: %.300s",
                 rc == -ETIMEDOUT ? "did not end in time" : "failed", buffer_text(&out));
        rc = -EIO;
    }
    buffer_fini(&out);
    return rc;
}
