/*
 * The programs whose tasks run here: each driver hands over a descriptor of its executable, which
 * is hashed (SHA-256) on the offload thread and kept open, for workers are started from the very
 * descriptor that was hashed. Equal hash, equal handle. A copy under its hash is stored beside, for
 * other nodes to fetch; the store is bounded, the oldest go. What was hashed once is known by its
 * inode, size and times. On the loop's thread but for the hashing and copying.
 */
#ifndef RAYLET_PROGRAMS_H
#define RAYLET_PROGRAMS_H

#include "common/codes.h"
#include "common/offload.h"

#define PROGRAMS_HASH_SIZE   32u
#define PROGRAMS_SIZE_MAX    (UINT64_C(4) << 30) /* of one program */
#define PROGRAMS_STORE_BYTES (UINT64_C(1) << 30) /* of all copies */

struct programs;

struct programs_owner {
    /* `program` > 0, or a failure (valid until it returns). Returns whether anybody took the
     * handle; else it is dropped. */
    bool (*on_loaded)(void *arg, uint32_t client, uint32_t program, const struct failure *failure);
    void *arg;
};

/* `store_dir` exists. `o` outlives it: offload_free comes first in a shutdown, so that nothing is
 * under way. */
struct programs *programs_new(struct offload *o, const char *store_dir,
                              const struct programs_owner *owner);
void programs_free(struct programs *p); /* NULL is fine */

/* Takes `fd` (-1: none came). The answer comes by on_loaded, at once when the program is known. */
void programs_load(struct programs *p, uint32_t client, int fd);
/* Gives back what one answer gave; the last one closes it. Fine if unknown. */
void programs_drop(struct programs *p, uint32_t program);

/* The descriptor to start it from; the programs' own. -1 with the sentence: unknown, or its file
 * was written to since. */
int programs_open(struct programs *p, uint32_t program, struct failure *ret);
/* Its hash, and its size in bytes; false if unknown. */
bool programs_identity(struct programs *p, uint32_t program, uint8_t ret_hash[PROGRAMS_HASH_SIZE],
                       uint64_t *ret_size);

/* The two halves of the work, for tests. Blocking. 0; -errno. */
int programs_hash_file(int fd, uint8_t ret[PROGRAMS_HASH_SIZE]) MUST_CHECK;
int programs_store(const char *store_dir, int fd, const char *hash, uint64_t bytes_max) MUST_CHECK;

#endif
