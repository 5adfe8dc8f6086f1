#include "sdk/private_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/files.h"
#include "common/inherited.h"
#include "common/text.h"
#include "sdk/errors.h"

#define OWNER_FILE    "owner" /* locked by the program; says on which machine it runs */
#define UNNAMED       ".new-" /* until its lock is taken */
#define UNNAMED_AGE_S 3600    /* then whoever made it is gone */
#define OWNER_SIZE    400
#define NAMES_TRIED   1000

static const char *const kinds[] = {"local", "private"};

bool private_dir_find_node(const char *cluster_dir, char ret[256])
{
    char path[PLACE_PATH_MAX + 32];
    bool found = false;
    if (snprintf(path, sizeof path, "%s/nodes", cluster_dir) >= (int)sizeof path) {
        return false;
    }
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return false;
    }
    for (struct dirent *e = readdir(dir); e != NULL && !found; e = readdir(dir)) {
        found = e->d_name[0] != '.' && text_copy(ret, 256, e->d_name);
    }
    closedir(dir);
    return found;
}

/* ---- whose it is ---- */

/* "BOOT HOST\n": locks are seen by all that runs under the same boot of a kernel. */
static void describe_machine(char ret[OWNER_SIZE])
{
    CLEANUP(buffer_fini) struct buffer boot = {0};
    char host[256] = "";
    (void)gethostname(host, sizeof host - 1);
    if (files_read("/proc/sys/kernel/random/boot_id", 100, &boot) != 0) {
        buffer_append_text(&boot, "unknown");
    }
    boot.size = strcspn(buffer_text(&boot), "\n");
    snprintf(ret, OWNER_SIZE, "%s %s\n", buffer_text(&boot), host);
}

/* The pid in "local-12" or "private-12-2"; 0: no program's. */
static pid_t owner_of(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        size_t n = strlen(kinds[i]);
        char digits[16] = "";
        uint64_t pid;
        if (strncmp(name, kinds[i], n) != 0 || name[n] != '-') {
            continue;
        }
        size_t length = strspn(name + n + 1, "0123456789");
        const char *rest = name + n + 1 + length;
        if (length < sizeof digits && (*rest == '\0' || *rest == '-')) {
            memcpy(digits, name + n + 1, length);
            return text_parse_u64(digits, INT32_MAX, &pid) == 0 ? (pid_t)pid : 0;
        }
    }
    return 0;
}

static bool join(char ret[PLACE_PATH_MAX], const char *dir, const char *name)
{
    return snprintf(ret, PLACE_PATH_MAX, "%s/%s", dir, name) < PLACE_PATH_MAX;
}

/* Whether a daemon lives there, the head or a raylet. They end a moment after their program. */
static bool has_daemon(const char *dir)
{
    char path[PLACE_PATH_MAX], relative[300], node[256];
    if (!join(path, dir, "head.lock") || files_is_locked(path)) {
        return true;
    }
    if (!private_dir_find_node(dir, node)) {
        return false;
    }
    snprintf(relative, sizeof relative, "nodes/%s/lock", node);
    return !join(path, dir, relative) || files_is_locked(path);
}

/*
 * Whether its program is gone, as far as can be known from here. Its lock tells, if it was taken
 * under the kernel that runs here, or on this machine before it was started again: another machine
 * that shares the directory need not share locks.
 */
static bool is_left_behind(const char *dir, pid_t pid)
{
    CLEANUP(buffer_fini) struct buffer text = {0};
    char path[PLACE_PATH_MAX], here[OWNER_SIZE];
    if (!join(path, dir, OWNER_FILE)) {
        return false;
    }
    if (files_read(path, OWNER_SIZE, &text) != 0 || text.size == 0) {
        /* Of a version of drt that had no such file. */
        return pid == getpid() || (kill(pid, 0) != 0 && errno == ESRCH);
    }
    describe_machine(here);
    const char *owner = buffer_text(&text);
    bool same_boot = strncmp(owner, here, strcspn(here, " ") + 1) == 0;
    const char *host = strchr(owner, ' '), *our_host = strchr(here, ' ');
    bool same_host = host != NULL && our_host != NULL && strcmp(host, our_host) == 0;
    return (same_boot || same_host) && !files_is_locked(path);
}

/* One that never got its name: whoever made it was killed in that moment. */
static bool is_unnamed_rest(const char *dir, const char *name)
{
    struct stat st;
    char path[PLACE_PATH_MAX];
    return strncmp(name, UNNAMED, strlen(UNNAMED)) == 0 && stat(dir, &st) == 0 &&
           time(NULL) - st.st_mtime > UNNAMED_AGE_S && join(path, dir, OWNER_FILE) &&
           !files_is_locked(path);
}

static void sweep(const char *base)
{
    char path[PLACE_PATH_MAX];
    DIR *dir = opendir(base);
    if (dir == NULL) {
        return;
    }
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        pid_t pid = owner_of(e->d_name);
        /* What cannot be looked at whole is left alone: a shorter path would be another's. */
        if (!join(path, base, e->d_name)) {
            continue;
        }
        if ((pid != 0 && is_left_behind(path, pid) && !has_daemon(path)) ||
            is_unnamed_rest(path, e->d_name)) {
            (void)files_remove_tree(path);
        }
    }
    closedir(dir);
}

/* ---- making it ---- */

/* Gives `dir` its name, which nobody else has: a directory that is not empty is in the way of a
 * rename. */
static int name_it(const char *base, const char *kind, const char *dir, char ret[PLACE_PATH_MAX])
{
    for (int i = 1; i <= NAMES_TRIED; i++) {
        char name[64];
        if (i == 1) {
            snprintf(name, sizeof name, "%s-%d", kind, (int)getpid());
        } else {
            snprintf(name, sizeof name, "%s-%d-%d", kind, (int)getpid(), i);
        }
        if (!join(ret, base, name)) {
            return -ENAMETOOLONG;
        }
        if (rename(dir, ret) == 0) {
            return 0;
        }
        if (errno != EEXIST && errno != ENOTEMPTY) {
            return -errno;
        }
    }
    return -EEXIST;
}

static int take_lock(const char *dir, int *ret_lock)
{
    char path[PLACE_PATH_MAX], text[OWNER_SIZE];
    if (!join(path, dir, OWNER_FILE)) {
        return -ENAMETOOLONG;
    }
    CLEANUP_FD int lock = files_lock(path);
    lock = lock >= 0 ? inherited_lift(lock) : lock;
    if (lock < 0) {
        return lock;
    }
    /* A lock of the open file, which the copy above the standard descriptors has too. */
    describe_machine(text);
    if (write(lock, text, strlen(text)) != (ssize_t)strlen(text)) {
        return -EIO;
    }
    *ret_lock = lock;
    lock = -1;
    return 0;
}

static int make_below(const char *base, const char *kind, struct private_dir *ret)
{
    struct private_dir made = {.lock = -1};
    char unnamed[PLACE_PATH_MAX];
    int r = files_make_dirs(base, 0700);
    if (r != 0) {
        return r;
    }
    sweep(base);
    if (!join(unnamed, base, UNNAMED "XXXXXX")) {
        return -ENAMETOOLONG;
    }
    if (mkdtemp(unnamed) == NULL) {
        return -errno;
    }
    r = chmod(unnamed, 0700) != 0 ? -errno : take_lock(unnamed, &made.lock);
    r = r != 0 ? r : name_it(base, kind, unnamed, made.path);
    if (r != 0) {
        close_fd(&made.lock);
        (void)files_remove_tree(unnamed);
        return r;
    }
    made.lock_mark = fd_mark_of(made.lock);
    *ret = made;
    return 0;
}

/* ---- where ---- */

/* A directory in one that all may write to: ours, and closed to others, whoever made it. */
static int make_among_others(const char *kind, char base[PLACE_PATH_MAX], struct private_dir *ret)
{
    const char *tmp = getenv("TMPDIR");
    char name[32];
    struct stat st;
    snprintf(name, sizeof name, "drt-%u", (unsigned)geteuid());
    if (!join(base, tmp != NULL && tmp[0] == '/' ? tmp : "/tmp", name)) {
        return -ENAMETOOLONG;
    }
    if (mkdir(base, 0700) == 0) {
        (void)chmod(base, 0700);
    }
    if (lstat(base, &st) != 0) {
        return -errno;
    }
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077) != 0) {
        return -EPERM;
    }
    return make_below(base, kind, ret);
}

int private_dir_make(const char *kind, struct private_dir *ret)
{
    char home[PLACE_PATH_MAX] = "", tmp[PLACE_PATH_MAX] = "";
    struct failure ignored;
    int at_home = place_home(home, &ignored) == 0 ? make_below(home, kind, ret) : -ENOENT;
    if (at_home == 0) {
        return 0;
    }
    int r = make_among_others(kind, tmp, ret);
    return r == 0
               ? 0
               : error_set(r,
                           "there is no place for the files of a private cluster (%.200s: %s; "
                           "%.200s: %s): set HOME or TMPDIR to a directory that this program "
                           "can write to, or use DRT_MODE=sync",
                           home[0] != '\0' ? home : "HOME", strerror(-at_home), tmp, strerror(-r));
}

void private_dir_remove(struct private_dir *d)
{
    if (d->path[0] != '\0') {
        (void)files_remove_tree(d->path);
    }
    fd_mark_close(&d->lock_mark, &d->lock);
    *d = (struct private_dir){.lock = -1};
}
