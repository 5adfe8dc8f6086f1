/*
 * The programs whose tasks run here: each driver hands over a descriptor of its executable, which
 * is hashed (SHA-256) on the offload thread and kept open, for workers are started from the very
 * descriptor that was hashed. Equal hash, equal handle; what came from another node
 * (raylet/fetch.h) has one as well. A copy under its hash is stored beside, for other nodes to
 * fetch. What was hashed once is known by its inode, size and times. On the loop's thread but for
 * the hashing and copying.
 */
#ifndef RAYLET_PROGRAMS_H
#define RAYLET_PROGRAMS_H

#include "common/codes.h"
#include "common/offload.h"
#include "raylet/program_store.h"

struct programs;

struct programs_owner {
    /* `program` > 0, or a failure (valid until it returns). Returns whether anybody took the
     * handle; else it is dropped. */
    bool (*on_loaded)(void *arg, uint32_t client, uint32_t program, const struct failure *failure);
    /* Whether the client is still there: asked between two pieces of a program that is hashed for
     * it, which is given up otherwise, without an answer. NULL: always. */
    bool (*is_wanted)(void *arg, uint32_t client);
    void *arg;
};

/* `store_dir` exists; what a former life left half written there goes. `o` outlives it:
 * offload_free comes first in a shutdown, so that nothing is under way. */
struct programs *programs_new(struct offload *o, const char *store_dir,
                              const struct programs_owner *owner);
/* What is being hashed is given up, without an answer, so that offload_free need not wait for it.
 */
void programs_close(struct programs *p);
void programs_free(struct programs *p); /* NULL is fine */
const char *programs_dir(const struct programs *p);

/* Takes `fd` (-1: none came). The answer comes by on_loaded, at once when the program is known. */
void programs_load(struct programs *p, uint32_t client, int fd);
/* Gives back what one answer gave; the last one closes it. Fine if unknown. */
void programs_drop(struct programs *p, uint32_t program);

/* The handle of the program with this hash, to be dropped like one of an answer; 0: none is open
 * whose file is still the one that was hashed. */
uint32_t programs_take(struct programs *p, const uint8_t hash[PROGRAMS_HASH_SIZE]);
/* A descriptor of the store that was hashed: takes it, and returns a handle as above; 0: it cannot
 * be read any more. */
uint32_t programs_adopt(struct programs *p, int fd, const uint8_t hash[PROGRAMS_HASH_SIZE]);

/* Whether a file with this mark was hashed before, and to this. */
bool programs_known(const struct programs *p, const struct program_mark *mark,
                    const uint8_t hash[PROGRAMS_HASH_SIZE]);

/* The descriptor to start it from; the programs' own. -1 with the sentence: unknown, or its file
 * was written to since. */
int programs_open(struct programs *p, uint32_t program, struct failure *ret);
/* A descriptor of one's own to read it from. -ENOENT: as programs_take; -errno */
int programs_reopen(struct programs *p, const uint8_t hash[PROGRAMS_HASH_SIZE]);
/* Its hash, and its size in bytes; false if unknown. */
bool programs_identity(struct programs *p, uint32_t program, uint8_t ret_hash[PROGRAMS_HASH_SIZE],
                       uint64_t *ret_size);
/* The hashes of what is open now; owned by the caller. */
void programs_pins(const struct programs *p, struct program_pins *ret);

#endif
