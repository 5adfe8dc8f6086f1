#include "common/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static int make_dir(const char *path, unsigned mode)
{
    struct stat st;
    if (mkdir(path, mode) == 0) {
        /* The umask must not decide: with one of 0777 nobody could enter what was just made. */
        return chmod(path, mode) == 0 ? 0 : -errno;
    }
    int r = -errno;
    /* EROFS and EACCES come before EEXIST on some file systems. */
    if (stat(path, &st) == 0) {
        return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
    }
    return r;
}

int files_make_dirs(const char *path, unsigned mode)
{
    CLEANUP_FREE char *copy = xstrdup(path);
    if (*copy == '\0') {
        return -ENOENT;
    }
    for (char *at = copy + 1; *at != '\0'; at++) {
        if (*at == '/') {
            *at = '\0';
            int r = make_dir(copy, mode);
            *at = '/';
            if (r != 0) {
                return r;
            }
        }
    }
    return make_dir(copy, mode);
}

int files_read(const char *path, size_t max, struct buffer *ret)
{
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) {
        return -errno;
    }
    if (st.st_size > 0 && (uint64_t)st.st_size > max) {
        return -EFBIG;
    }
    size_t before = ret->size;
    buffer_reserve(ret, before + (size_t)MAX_OF(st.st_size, 0) + 1);
    for (;;) {
        /* One byte more than may be there, to see a file that grows or that tells no size (/proc).
         */
        size_t room = MIN_OF(max - (ret->size - before) + 1, (size_t)64 << 10);
        uint8_t *at = buffer_extend(ret, room);
        ssize_t got = read(fd, at, room);
        int r = got < 0 ? -errno : 0;
        ret->size -= room - (size_t)MAX_OF(got, 0);
        if (r == -EINTR) {
            continue;
        }
        if (r == 0 && ret->size - before > max) {
            r = -EFBIG;
        }
        if (r != 0) {
            ret->size = before;
            return r;
        }
        if (got == 0) {
            return 0;
        }
    }
}

static int write_all(int fd, const uint8_t *data, size_t size)
{
    while (size != 0) {
        ssize_t done = write(fd, data, size);
        if (done < 0 && errno != EINTR) {
            return -errno;
        }
        if (done > 0) {
            data += done;
            size -= (size_t)done;
        }
    }
    return 0;
}

/* The directory of `path`, open. */
static int open_parent(const char *path)
{
    CLEANUP_FREE char *copy = xstrdup(path);
    char *slash = strrchr(copy, '/');
    const char *dir = ".";
    if (slash != NULL) {
        dir = slash == copy ? "/" : copy;
        *(slash == copy ? slash + 1 : slash) = '\0';
    }
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int write_and_close(int fd, const void *data, size_t size, unsigned mode)
{
    /* The umask must not decide. */
    int r = fchmod(fd, mode) < 0 ? -errno : write_all(fd, data, size);
    if (r == 0 && fsync(fd) < 0) {
        r = -errno;
    }
    if (close(fd) < 0 && r == 0) {
        r = -errno;
    }
    return r;
}

int files_write_atomic(const char *path, const void *data, size_t size, unsigned mode)
{
    CLEANUP_FD int dir_fd = open_parent(path);
    if (dir_fd < 0) {
        return dir_fd;
    }
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    char beside[NAME_MAX + 1];
    int length = snprintf(beside, sizeof beside, "%s.%d.new", name, (int)getpid());
    if (*name == '\0' || length < 0 || (size_t)length >= sizeof beside) {
        return *name == '\0' ? -EISDIR : -ENAMETOOLONG;
    }
    /* What a process of the same number left behind when it died is in the way. */
    (void)unlinkat(dir_fd, beside, 0);
    int fd = openat(dir_fd, beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return -errno;
    }
    int r = write_and_close(fd, data, size, mode);
    if (r == 0 && renameat(dir_fd, beside, dir_fd, name) < 0) {
        r = -errno;
    }
    if (r != 0) {
        (void)unlinkat(dir_fd, beside, 0);
        return r;
    }
    return fsync(dir_fd) < 0 ? -errno : 0;
}

int files_check_private(const char *path, unsigned *ret_mode)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        return -errno;
    }
    if (st.st_uid != geteuid() || (st.st_mode & 077) != 0) {
        *ret_mode = st.st_mode & 07777;
        return -EPERM;
    }
    return 0;
}

static int remove_at(int dir_fd, const char *name, int depth);

static int remove_entries(int fd, int depth)
{
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        int r = -errno;
        close(fd);
        return r;
    }
    int r = 0;
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            r = r != 0 ? r : -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            int removed = remove_at(dirfd(dir), entry->d_name, depth + 1);
            r = r != 0 ? r : removed;
        }
    }
    closedir(dir);
    return r;
}

static int remove_at(int dir_fd, const char *name, int depth)
{
    /* Each level keeps a descriptor open; deeper trees are none of ours. */
    if (depth > 64) {
        return -ELOOP;
    }
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT) {
        return 0;
    }
    if (errno != EISDIR && errno != EPERM) {
        return -errno;
    }
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int r = remove_entries(fd, depth);
    if (r == 0 && unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT) {
        r = -errno;
    }
    return r;
}

int files_remove_tree(const char *path)
{
    return remove_at(AT_FDCWD, path, 0);
}

/*
 * A lock of the open file, as flock's, but one that can be asked after without being taken: who
 * asks must not be in the way of a daemon that starts at this moment.
 */
int files_lock(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return -errno;
    }
    (void)fchmod(fd, 0600); /* whatever the umask is: others must be able to ask after the lock */
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &whole) < 0) {
        int r = errno == EAGAIN || errno == EACCES ? -EWOULDBLOCK : -errno;
        close(fd);
        return r;
    }
    return fd;
}

bool files_is_locked(const char *path)
{
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fd >= 0 && fcntl(fd, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
}

uint64_t files_raise_limit(uint64_t most, uint64_t *ret_former)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        *ret_former = 0;
        return 1024; /* what Linux begins with */
    }
    rlim_t former = limit.rlim_cur;
    limit.rlim_cur = MAX_OF(former, MIN_OF(limit.rlim_max, (rlim_t)most));
    *ret_former = former;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : former;
}
