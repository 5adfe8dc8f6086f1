#include "common/holder.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/files.h"
#include "common/text.h"

/* The number that a pid file begins with; 0: none. */
static pid_t read_pid(const char *path)
{
    CLEANUP(buffer_fini) struct buffer text = {0};
    uint64_t pid = 0;
    if (files_read(path, 64 << 10, &text) == 0) {
        text.size = strspn(buffer_text(&text), "0123456789");
        pid = text_parse_u64(buffer_text(&text), INT32_MAX, &pid) == 0 ? pid : 0;
    }
    return (pid_t)pid;
}

/* Whether `pid` is that program, of this user. */
static bool is_daemon(pid_t pid, const char *program)
{
    CLEANUP(buffer_fini) struct buffer name = {0};
    char path[64];
    struct stat st;
    snprintf(path, sizeof path, "/proc/%d", (int)pid);
    if (stat(path, &st) != 0 || (st.st_uid != geteuid() && geteuid() != 0)) {
        return false;
    }
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    if (files_read(path, 4096, &name) != 0) {
        return false;
    }
    name.size = strcspn(buffer_text(&name), "\n");
    return strcmp(buffer_text(&name), program) == 0;
}

static bool has_open(pid_t pid, const struct stat *file)
{
    char path[64];
    bool found = false;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *fds = opendir(path);
    for (struct dirent *e; fds != NULL && !found && (e = readdir(fds)) != NULL;) {
        struct stat st;
        found = fstatat(dirfd(fds), e->d_name, &st, 0) == 0 && st.st_dev == file->st_dev &&
                st.st_ino == file->st_ino;
    }
    if (fds != NULL) {
        closedir(fds);
    }
    return found;
}

/* A descriptor of the process, if it is the holder: what is true of the number after it was opened
 * is true of the process. */
static int open_if_holder(pid_t pid, const char *program, const struct stat *file)
{
    int fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    if (fd >= 0 && !(is_daemon(pid, program) && has_open(pid, file))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

int holder_find(const char *lock, const char *pid_file, const char *program, pid_t *ret_pid)
{
    struct stat file;
    if (stat(lock, &file) != 0) {
        return -errno;
    }
    pid_t pid = read_pid(pid_file);
    CLEANUP_FD int fd = open_if_holder(pid, program, &file);
    DIR *processes = fd < 0 ? opendir("/proc") : NULL;
    for (struct dirent *e; processes != NULL && fd < 0 && (e = readdir(processes)) != NULL;) {
        uint64_t number;
        if (text_parse_u64(e->d_name, INT32_MAX, &number) == 0 &&
            is_daemon((pid_t)number, program)) {
            pid = (pid_t)number;
            fd = open_if_holder(pid, program, &file);
        }
    }
    if (processes != NULL) {
        closedir(processes);
    }
    if (fd < 0 || !files_is_locked(lock)) {
        return -ESRCH;
    }
    int ret = fd;
    fd = -1;
    *ret_pid = pid;
    return ret;
}
