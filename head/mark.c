#include "head/mark.h"

#include <fcntl.h>
#include <sodium.h>
#include <unistd.h>

#include "common/codes.h"
#include "common/files.h"

#define FILE_BYTES  4096u
#define PLACE_BYTES 512u /* apart, so that one write never touches both */

struct written {
    char magic[8];
    struct mark mark;
    uint64_t digest;
};

static const char MAGIC[8] = "drtmark";

/* The key is no secret: the digest guards against bad luck, not against malice. */
static uint64_t digest_of(const struct written *w)
{
    static const unsigned char key[crypto_shorthash_KEYBYTES] = "drt head.mark";
    uint64_t digest;
    crypto_shorthash((unsigned char *)&digest, (const unsigned char *)w,
                     offsetof(struct written, digest), key);
    return digest;
}

static off_t place_of(uint64_t sequence)
{
    return (off_t)(sequence % 2 * PLACE_BYTES);
}

int mark_read(const char *path, struct mark *ret)
{
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return errno == ENOENT ? CODE_NOT_FOUND : -errno;
    }
    bool found = false;
    for (uint64_t i = 0; i < 2; i++) {
        struct written w;
        ssize_t n = pread(fd, &w, sizeof w, place_of(i));
        if (n < 0) {
            return -errno;
        }
        if (n == sizeof w && memcmp(w.magic, MAGIC, sizeof MAGIC) == 0 &&
            w.digest == digest_of(&w) && (!found || w.mark.sequence > ret->sequence)) {
            *ret = w.mark;
            found = true;
        }
    }
    return found ? 0 : -EPROTO;
}

int mark_open(const char *path, int *ret_fd)
{
    static const uint8_t zeros[FILE_BYTES];
    if (access(path, F_OK) < 0) {
        /* Whole from the beginning: later writes change no size, and sync nothing but themselves.
         */
        int r = files_write_atomic(path, zeros, sizeof zeros, 0600);
        if (r != 0) {
            return r;
        }
    }
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return -errno;
    }
    *ret_fd = fd;
    return 0;
}

int mark_write(int fd, const struct mark *mark)
{
    struct written w;
    memset(&w, 0, sizeof w); /* padding is part of the digest */
    memcpy(w.magic, MAGIC, sizeof MAGIC);
    w.mark.sequence = mark->sequence;
    w.mark.job_last = mark->job_last;
    w.mark.node_last = mark->node_last;
    w.digest = digest_of(&w);
    ssize_t n = pwrite(fd, &w, sizeof w, place_of(mark->sequence));
    if (n != (ssize_t)sizeof w) {
        return n < 0 ? -errno : -ENOSPC;
    }
    return fdatasync(fd) == 0 ? 0 : -errno;
}
