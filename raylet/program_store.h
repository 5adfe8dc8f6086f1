/*
 * Programs on disk: files as they were when they were hashed (SHA-256), and the directory of copies
 * under their hashes, 0500, which is bounded: the oldest go, but not those that are pinned. What is
 * half written has a name that begins with a dot. Blocking, so for the offload thread; no state. A
 * program may be so large that hashing it takes minutes: that is done in slices, between which the
 * thread does other work.
 */
#ifndef RAYLET_PROGRAM_STORE_H
#define RAYLET_PROGRAM_STORE_H

#include <sodium.h>
#include <sys/stat.h>
#include <time.h>

#include "common/base.h"

#define PROGRAMS_HASH_SIZE   32u
#define PROGRAMS_HEX_SIZE    (2 * PROGRAMS_HASH_SIZE + 1)
#define PROGRAMS_SIZE_MAX    (UINT64_C(64) << 30) /* of one program */
#define PROGRAMS_STORE_BYTES (UINT64_C(1) << 30)  /* of all copies, but for those in use */
#define PROGRAMS_SPARE_BYTES                                                                       \
    (UINT64_C(64) << 20) /* of the disk: what is fetched leaves them free */
#define PROGRAMS_SLICE_BYTES (UINT64_C(16) << 20) /* hashed in one go */

/* A file as it was when it was hashed. */
struct program_mark {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime, ctime;
};

/* What the kernel remembers of the file, so that it is fit for the loop: no server is asked. 0;
 * -EACCES: no ordinary file; -EFBIG; -errno */
int program_mark_read(int fd, struct program_mark *ret) MUST_CHECK;
bool program_mark_same(const struct program_mark *a, const struct program_mark *b);
/* Whether nobody wrote to the file since. Not the ctime: a linker that replaces the file unlinks
 * this one, which changes nothing in it. */
bool program_mark_holds(const struct program_mark *mark, int fd);
/* As program_mark_holds, but its server is asked: blocking. */
bool program_mark_confirm(const struct program_mark *mark, int fd);

struct program_hasher {
    crypto_hash_sha256_state state;
    off_t at;
};
void program_hasher_init(struct program_hasher *h);
/* Reads on. 1: there is more; 0: that was the end, *ret is the hash; -errno */
int program_hasher_step(struct program_hasher *h, int fd,
                        uint8_t ret[PROGRAMS_HASH_SIZE]) MUST_CHECK;
void program_hash_text(const uint8_t hash[PROGRAMS_HASH_SIZE], char ret[PROGRAMS_HEX_SIZE]);

/* The hashes that must stay. */
struct program_pins {
    char (*names)[PROGRAMS_HEX_SIZE]; /* owned */
    size_t count;
};
void program_pins_fini(struct program_pins *pins);

/* Removes the oldest copies until `wanted` more bytes fit into `bytes_max`. 0; -ENOBUFS: what is
 * pinned leaves no room; -errno */
int program_store_make_room(const char *dir, uint64_t wanted, uint64_t bytes_max,
                            const struct program_pins *pins) MUST_CHECK;
void program_store_sweep(const char *dir); /* what a former life left half written */
/* Bytes that can still be written to its disk. 0; -errno */
int program_store_free(const char *dir, uint64_t *ret) MUST_CHECK;
/* Copies the file in under this name, or makes the copy that is there the youngest. 0; -errno */
int program_store_add(const char *dir, int fd, const char *hash, uint64_t bytes_max,
                      const struct program_pins *pins) MUST_CHECK;
/* A descriptor to read the copy from, whatever is in it; -ENOENT, -errno. */
int program_store_open(const char *dir, const char *hash) MUST_CHECK;

#endif
