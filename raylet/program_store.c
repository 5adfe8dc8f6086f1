#include "raylet/program_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/sendfile.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/bytes.h"

#define READ_BYTES (64u << 10)

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool program_mark_same(const struct program_mark *a, const struct program_mark *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           same_time(a->mtime, b->mtime) && same_time(a->ctime, b->ctime);
}

static struct timespec time_of(struct statx_timestamp t)
{
    return (struct timespec){.tv_sec = (time_t)t.tv_sec, .tv_nsec = (long)t.tv_nsec};
}

/* `sync`: 0, or AT_STATX_DONT_SYNC for what the kernel remembers of the file. */
static int mark_read(int fd, int sync, struct program_mark *ret)
{
    struct statx st;
    if (statx(fd, "", AT_EMPTY_PATH | sync, STATX_BASIC_STATS, &st) < 0) {
        return -errno;
    }
    if (!S_ISREG(st.stx_mode)) {
        return -EACCES;
    }
    *ret = (struct program_mark){makedev(st.stx_dev_major, st.stx_dev_minor), st.stx_ino,
                                 (off_t)st.stx_size, time_of(st.stx_mtime), time_of(st.stx_ctime)};
    return st.stx_size > PROGRAMS_SIZE_MAX ? -EFBIG : 0;
}

static bool is_unwritten(const struct program_mark *before, int fd, int sync)
{
    struct program_mark now = {0};
    int r = mark_read(fd, sync, &now);
    return (r == 0 || r == -EFBIG) && now.size == before->size &&
           same_time(now.mtime, before->mtime);
}

bool program_mark_holds(const struct program_mark *mark, int fd)
{
    return is_unwritten(mark, fd, AT_STATX_DONT_SYNC);
}

bool program_mark_confirm(const struct program_mark *mark, int fd)
{
    return is_unwritten(mark, fd, 0);
}

int program_mark_read(int fd, struct program_mark *ret)
{
    return mark_read(fd, AT_STATX_DONT_SYNC, ret);
}

void program_hasher_init(struct program_hasher *h)
{
    crypto_hash_sha256_init(&h->state);
    h->at = 0;
}

int program_hasher_step(struct program_hasher *h, int fd, uint8_t ret[PROGRAMS_HASH_SIZE])
{
    CLEANUP_FREE uint8_t *data = xmalloc(READ_BYTES);
    off_t end = h->at + (off_t)PROGRAMS_SLICE_BYTES;
    while (h->at < end) {
        ssize_t n = pread(fd, data, READ_BYTES, h->at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -errno;
        }
        if (n == 0) {
            crypto_hash_sha256_final(&h->state, ret);
            return 0;
        }
        crypto_hash_sha256_update(&h->state, data, (unsigned long long)n);
        h->at += n;
    }
    return 1;
}

void program_hash_text(const uint8_t hash[PROGRAMS_HASH_SIZE], char ret[PROGRAMS_HEX_SIZE])
{
    sodium_bin2hex(ret, PROGRAMS_HEX_SIZE, hash, PROGRAMS_HASH_SIZE);
}

void program_pins_fini(struct program_pins *pins)
{
    free(pins->names);
    *pins = (struct program_pins){0};
}

static bool is_pinned(const struct program_pins *pins, const char *name)
{
    for (size_t i = 0; i < pins->count; i++) {
        if (strcmp(pins->names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- the directory ---- */

struct stored {
    char name[PROGRAMS_HEX_SIZE];
    uint64_t size;
    struct timespec mtime;
};

static int older_first(const void *a, const void *b)
{
    const struct stored *x = a, *y = b;
    if (x->mtime.tv_sec != y->mtime.tv_sec) {
        return x->mtime.tv_sec < y->mtime.tv_sec ? -1 : 1;
    }
    return (x->mtime.tv_nsec > y->mtime.tv_nsec) - (x->mtime.tv_nsec < y->mtime.tv_nsec);
}

/* What is stored, oldest first; what does not belong there is removed. */
static size_t list_store(DIR *dir, struct stored **ret)
{
    struct stored *list = NULL;
    size_t count = 0, room = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        struct stat st;
        if (entry->d_name[0] == '.') {
            continue;
        }
        if (strlen(entry->d_name) != PROGRAMS_HEX_SIZE - 1) {
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
            continue;
        }
        if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
            if (count == room) {
                room = MAX_OF(2 * room, (size_t)64);
                list = xrealloc(list, room * sizeof *list);
            }
            memcpy(list[count].name, entry->d_name, PROGRAMS_HEX_SIZE);
            list[count].size = (uint64_t)st.st_size;
            list[count++].mtime = st.st_mtim;
        }
    }
    if (count != 0) {
        qsort(list, count, sizeof *list, older_first);
    }
    *ret = list;
    return count;
}

static int make_room(DIR *dir, uint64_t wanted, uint64_t bytes_max, const struct program_pins *pins)
{
    CLEANUP_FREE struct stored *stored = NULL;
    size_t count = list_store(dir, &stored);
    uint64_t total = wanted;
    for (size_t i = 0; i < count; i++) {
        total += stored[i].size;
    }
    /* First those that are larger than all may be together: they are here for a job that is over.
     */
    for (size_t i = 0; i < 2 * count && total > bytes_max; i++) {
        struct stored *s = &stored[i % count];
        bool due = i >= count ? s->size <= bytes_max : s->size > bytes_max;
        if (due && !is_pinned(pins, s->name)) {
            (void)unlinkat(dirfd(dir), s->name, 0);
            total -= s->size;
        }
    }
    return total > bytes_max ? -ENOBUFS : 0;
}

int program_store_make_room(const char *store_dir, uint64_t wanted, uint64_t bytes_max,
                            const struct program_pins *pins)
{
    DIR *dir = opendir(store_dir);
    if (dir == NULL) {
        return -errno;
    }
    int r = make_room(dir, wanted, bytes_max, pins);
    closedir(dir);
    return r;
}

int program_store_free(const char *store_dir, uint64_t *ret)
{
    struct statvfs fs;
    if (statvfs(store_dir, &fs) < 0) {
        return -errno;
    }
    *ret = (uint64_t)fs.f_bavail * fs.f_frsize;
    return 0;
}

void program_store_sweep(const char *store_dir)
{
    DIR *dir = opendir(store_dir);
    if (dir == NULL) {
        return;
    }
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (entry->d_name[0] == '.') {
            (void)unlinkat(dirfd(dir), entry->d_name, 0); /* not "." and "..": they are no files */
        }
    }
    closedir(dir);
}

static int copy_into(int dir_fd, const char *name, int fd, uint64_t size)
{
    CLEANUP_FD int to = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0500);
    if (to < 0) {
        return -errno;
    }
    off_t at = 0;
    while ((uint64_t)at < size) {
        ssize_t n = sendfile(to, fd, &at, size - (uint64_t)at);
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n == 0) {
            return -ESTALE; /* it became shorter */
        }
    }
    return fchmod(to, 0500) < 0 ? -errno : 0;
}

int program_store_add(const char *store_dir, int fd, const char *hash, uint64_t bytes_max,
                      const struct program_pins *pins)
{
    struct stat st;
    char name[PROGRAMS_HEX_SIZE + 8];
    DIR *dir = opendir(store_dir);
    if (dir == NULL) {
        return -errno;
    }
    snprintf(name, sizeof name, ".new-%.40s", hash);
    int r = fstat(fd, &st) < 0 ? -errno : 0;
    if (r == 0 && faccessat(dirfd(dir), hash, F_OK, 0) == 0) {
        r = utimensat(dirfd(dir), hash, NULL, 0) < 0 ? -errno : 0; /* used again: the youngest */
    } else if (r == 0 && (uint64_t)st.st_size > bytes_max) {
        r = -EFBIG;
    } else if (r == 0) {
        r = make_room(dir, (uint64_t)st.st_size, bytes_max, pins);
        r = r == 0 ? copy_into(dirfd(dir), name, fd, (uint64_t)st.st_size) : r;
        if (r == 0 && renameat(dirfd(dir), name, dirfd(dir), hash) < 0) {
            r = -errno;
        }
        if (r != 0) {
            (void)unlinkat(dirfd(dir), name, 0);
        }
    }
    closedir(dir);
    return r;
}

int program_store_open(const char *store_dir, const char *hash)
{
    CLEANUP_FD int dir = open(store_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        return -errno;
    }
    int fd = openat(dir, hash, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : fd;
}
