/*
 * A raylet for tests of libdrt: a thread that listens in a node directory of its own, speaks the
 * real ring, and does by itself what tasks of certain names would do:
 *
 *   add_one i64     its argument (also of a reference) and one       twice      two results: x, 2x
 *   failing         DRT_E_FAILED, code 7                             large i64  that many bytes
 *   never           stays unfinished until raylet_settle             echo       its argument's
 * bytes
 *   prints          unfinished; a LOG of two lines comes, which say that it was asked for or not
 *   boxed           a string that holds FAKE_INNER, an object of another node, whose value is 77
 *
 * It counts what it is told.
 */
#ifndef TESTS_UNIT_SDK_FAKE_RAYLET_H
#define TESTS_UNIT_SDK_FAKE_RAYLET_H

#include "proto/local.h"
#include "proto/ring.h"

struct raylet_counts {
    uint64_t opens, classes, submits, puts, gets, asked, wholes, releases, released, holds, cancels,
        goodbyes, blocked, unblocked;
    uint32_t last_get_ids;
    uint32_t put_refs; /* of the last PUT */
    struct object_id put_ref, held, through;
    uint64_t inner_released;
    /* the last CLASS */
    uint32_t strategy;
    bool soft;
    char node[64], labels[64];
};

struct fake_raylet;

#define FAKE_INNER ((struct object_id){9, 1, 5})

struct fake_options {
    uint64_t credit_bytes; /* 0: 1 GiB */
    bool refuse;           /* answers OPEN with REFUSED */
    bool deaf;             /* accepts and never answers */
    bool keep_credit;      /* gives no credit back at a task's end, only at its release */
};

/* Starts it and points DRT_DIR at its directory. */
struct fake_raylet *fake_raylet_start(const struct fake_options *options);
/* Its process is gone: sockets closed, nothing answered any more. */
void fake_raylet_die(struct fake_raylet *r);
void fake_raylet_stop(struct fake_raylet *r); /* and removes the directory */
void fake_raylet_settle(
    struct fake_raylet *r); /* all that never would end, ends with the value 0 */
struct raylet_counts fake_raylet_count(struct fake_raylet *r);
/* Waits until `released` objects were released in all; false after 5 s. */
bool fake_raylet_await_released(struct fake_raylet *r, uint64_t released);

#endif
