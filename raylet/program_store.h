/*
 * Programs on disk: files as they were when they were hashed (SHA-256), and the directory of copies
 * under their hashes, 0500, which is bounded: the oldest go, but not those that are pinned. What is
 * half written has a name that begins with a dot. Blocking, so for the offload thread; no state.
 */
#ifndef RAYLET_PROGRAM_STORE_H
#define RAYLET_PROGRAM_STORE_H

#include <sys/stat.h>
#include <time.h>

#include "common/base.h"

#define PROGRAMS_HASH_SIZE   32u
#define PROGRAMS_HEX_SIZE    (2 * PROGRAMS_HASH_SIZE + 1)
#define PROGRAMS_SIZE_MAX    (UINT64_C(4) << 30) /* of one program */
#define PROGRAMS_STORE_BYTES (UINT64_C(1) << 30) /* of all copies */

/* A file as it was when it was hashed. */
struct program_mark {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime, ctime;
};

/* 0; -EACCES: no ordinary file; -EFBIG; -errno */
int program_mark_read(int fd, struct program_mark *ret) MUST_CHECK;
bool program_mark_same(const struct program_mark *a, const struct program_mark *b);
/* Whether nobody wrote to the file since. Not the ctime: a linker that replaces the file unlinks
 * this one, which changes nothing in it. */
bool program_mark_holds(const struct program_mark *mark, int fd);

/* 0; -errno */
int program_hash_file(int fd, uint8_t ret[PROGRAMS_HASH_SIZE]) MUST_CHECK;
void program_hash_text(const uint8_t hash[PROGRAMS_HASH_SIZE], char ret[PROGRAMS_HEX_SIZE]);

/* The hashes that must stay. */
struct program_pins {
    char (*names)[PROGRAMS_HEX_SIZE]; /* owned */
    size_t count;
};
void program_pins_fini(struct program_pins *pins);

/* Removes the oldest copies until `wanted` more bytes fit into `bytes_max`, and what a former life
 * left half written if `sweep`. 0; -ENOBUFS: what is pinned leaves no room; -errno */
int program_store_make_room(const char *dir, uint64_t wanted, uint64_t bytes_max,
                            const struct program_pins *pins) MUST_CHECK;
void program_store_sweep(const char *dir);
/* Copies the file in under this name, or makes the copy that is there the youngest. 0; -errno */
int program_store_add(const char *dir, int fd, const char *hash, uint64_t bytes_max,
                      const struct program_pins *pins) MUST_CHECK;
/* A descriptor to read the copy from, whatever is in it; -ENOENT, -errno. */
int program_store_open(const char *dir, const char *hash) MUST_CHECK;

#endif
