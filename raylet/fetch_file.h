/*
 * One program's way into this node's store: is it there already and what it should be, else a
 * temporary file that is filled part by part, hashed on the way, verified and renamed. Not who
 * gives the parts, nor who waits (raylet/fetch.h). All of it blocks: for the offload thread, one
 * call at a time.
 */
#ifndef RAYLET_FETCH_FILE_H
#define RAYLET_FETCH_FILE_H

#include "common/place.h"
#include "raylet/program_store.h"

struct fetch_file {
    char dir[PLACE_PATH_MAX];
    char name[PROGRAMS_HEX_SIZE];
    uint8_t hash[PROGRAMS_HASH_SIZE];
    uint64_t size;
    char temporary[32];           /* name in `dir`; "": it is gone */
    int fd;                       /* of the temporary, to write; -1: not open */
    struct program_hasher hasher; /* of what is stored, then of what was written */
};

/* `number` makes the temporary's name; none of two that are under way have the same. */
void fetch_file_init(struct fetch_file *f, const char *dir, const uint8_t hash[PROGRAMS_HASH_SIZE],
                     uint64_t size, uint32_t number);
void fetch_file_fini(struct fetch_file *f); /* removes the temporary */

/* A descriptor of the copy that is stored, and its mark; whether its bytes are right is not known.
 * 0; -ENOENT; -EBADMSG: of another size; -errno */
int fetch_file_look(struct fetch_file *f, int *ret_fd, struct program_mark *ret) MUST_CHECK;
/* Reads a slice of it. 1: again; 0: it is right, and the youngest now; -EBADMSG: it is not; -errno
 */
int fetch_file_verify(struct fetch_file *f, int fd) MUST_CHECK;

/* Makes room in the store (at most `store_bytes_max` in copies, but for `pins` and this one) and on
 * the disk, of which `spare_bytes` stay free, and the temporary. 0; -ENOSPC, *ret_free tells what
 * the disk has; -errno */
int fetch_file_open(struct fetch_file *f, uint64_t store_bytes_max, uint64_t spare_bytes,
                    const struct program_pins *pins, uint64_t *ret_free) MUST_CHECK;
/* The next bytes. 0; -ENOSPC; -errno */
int fetch_file_write(struct fetch_file *f, const uint8_t *data, size_t size) MUST_CHECK;
/* All is written. 0: it is stored, *ret_fd reads it; -EBADMSG: it has another hash; -errno */
int fetch_file_finish(struct fetch_file *f, int *ret_fd) MUST_CHECK;

#endif
