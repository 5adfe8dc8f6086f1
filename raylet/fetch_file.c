#include "raylet/fetch_file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "common/text.h"

#define PATH_MAX_HERE (PLACE_PATH_MAX + PROGRAMS_HEX_SIZE + 1)

void fetch_file_init(struct fetch_file *f, const char *dir, const uint8_t hash[PROGRAMS_HASH_SIZE],
                     uint64_t size, uint32_t number)
{
    *f = (struct fetch_file){.size = size, .fd = -1};
    bool fits = text_copy(f->dir, sizeof f->dir, dir);
    ASSERT(fits);
    memcpy(f->hash, hash, sizeof f->hash);
    program_hash_text(hash, f->name);
    snprintf(f->temporary, sizeof f->temporary, ".get-%" PRIu32, number);
    program_hasher_init(&f->hasher);
}

static void path_of(const struct fetch_file *f, const char *name, char ret[PATH_MAX_HERE])
{
    snprintf(ret, PATH_MAX_HERE, "%s/%s", f->dir, name);
}

void fetch_file_fini(struct fetch_file *f)
{
    char path[PATH_MAX_HERE];
    close_fd(&f->fd);
    f->fd = -1;
    if (f->temporary[0] != '\0') {
        path_of(f, f->temporary, path);
        (void)unlink(path); /* it may never have been made */
        f->temporary[0] = '\0';
    }
}

/* ---- what is there ---- */

int fetch_file_look(struct fetch_file *f, int *ret_fd, struct program_mark *ret)
{
    CLEANUP_FD int fd = program_store_open(f->dir, f->name);
    if (fd < 0) {
        return fd;
    }
    int r = program_mark_read(fd, ret);
    if (r != 0) {
        return r;
    }
    if ((uint64_t)ret->size != f->size) {
        return -EBADMSG;
    }
    *ret_fd = fd;
    fd = -1;
    return 0;
}

int fetch_file_verify(struct fetch_file *f, int fd)
{
    uint8_t hash[PROGRAMS_HASH_SIZE];
    int r = program_hasher_step(&f->hasher, fd, hash);
    if (r != 0) {
        return r;
    }
    (void)futimens(fd, NULL); /* the youngest; read-only descriptors of one's own files may */
    return memcmp(hash, f->hash, sizeof hash) == 0 ? 0 : -EBADMSG;
}

/* ---- what comes ---- */

/* Copies that nobody uses give way: first to the store's bound, then to the disk's. */
static int make_room(struct fetch_file *f, uint64_t store_bytes_max, uint64_t spare_bytes,
                     const struct program_pins *pins, uint64_t *ret_free)
{
    uint64_t wanted = f->size + spare_bytes;
    int r = program_store_make_room(f->dir, f->size, store_bytes_max, pins);
    if (r != 0 && r != -ENOBUFS) {
        return r;
    }
    r = program_store_free(f->dir, ret_free);
    if (r != 0 || *ret_free >= wanted) {
        return r;
    }
    r = program_store_make_room(f->dir, 0, 0, pins);
    if (r != 0 && r != -ENOBUFS) {
        return r;
    }
    r = program_store_free(f->dir, ret_free);
    return r == 0 && *ret_free < wanted ? -ENOSPC : r;
}

int fetch_file_open(struct fetch_file *f, uint64_t store_bytes_max, uint64_t spare_bytes,
                    const struct program_pins *pins, uint64_t *ret_free)
{
    char path[PATH_MAX_HERE];
    int r = make_room(f, store_bytes_max, spare_bytes, pins, ret_free);
    if (r != 0) {
        return r;
    }
    path_of(f, f->temporary, path);
    f->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0700);
    if (f->fd < 0) {
        return -errno;
    }
    program_hasher_init(&f->hasher);
    /* Others write to the disk as well; file systems that cannot promise are asked by writing. */
    if (fallocate(f->fd, 0, 0, (off_t)f->size) < 0 && errno != EOPNOTSUPP && errno != EINTR) {
        return -errno;
    }
    return 0;
}

int fetch_file_write(struct fetch_file *f, const uint8_t *data, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = write(f->fd, data + done, size - done);
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    crypto_hash_sha256_update(&f->hasher.state, data, size);
    return 0;
}

/* The descriptor to start workers from must be the only one left: nobody writes to it. */
int fetch_file_finish(struct fetch_file *f, int *ret_fd)
{
    uint8_t hash[PROGRAMS_HASH_SIZE];
    char temporary[PATH_MAX_HERE], path[PATH_MAX_HERE];
    crypto_hash_sha256_final(&f->hasher.state, hash);
    if (memcmp(hash, f->hash, sizeof hash) != 0) {
        return -EBADMSG;
    }
    path_of(f, f->temporary, temporary);
    path_of(f, f->name, path);
    CLEANUP_FD int fd = open(temporary, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fchmod(f->fd, 0500) < 0 || rename(temporary, path) < 0) {
        return -errno;
    }
    close_fd(&f->fd);
    f->fd = -1;
    f->temporary[0] = '\0';
    *ret_fd = fd;
    fd = -1;
    return 0;
}
