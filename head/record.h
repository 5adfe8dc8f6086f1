/*
 * What the head writes down: one row for each node and each job, as it is now, and the highest
 * numbers that were ever given. The journal keeps them on disk, the core makes them and takes them
 * back at its start. Plain data; no I/O.
 */
#ifndef HEAD_RECORD_H
#define HEAD_RECORD_H

#include "common/bytes.h"
#include "proto/cluster.h"

#define HEAD_TEXT_MAX    255u  /* bytes of a name, an address, a version ... */
#define HEAD_DIGEST_SIZE 33u   /* hexadecimal digits, terminated */
#define HEAD_LABELS_MAX  1024u /* bytes of a node's labels */

/* The numbers stand in head.db: never change one. */
enum head_node_state {
    HEAD_NODE_NEW = 0, /* its number is given, its row not yet made */
    HEAD_NODE_ALIVE = 1,
    HEAD_NODE_LOST = 2,
    HEAD_NODE_LEFT = 3,
};

enum head_job_state {
    HEAD_JOB_NEW = 0,
    HEAD_JOB_RUNNING = 1,
    HEAD_JOB_DONE = 2,
    HEAD_JOB_FAILED = 3,
    HEAD_JOB_LOST = 4,
    HEAD_JOB_CANCELLED = 5,
};

struct head_node_row {
    uint32_t number;
    uint32_t pid;
    enum head_node_state state;
    uint64_t since_unix_ms; /* of this state */
    const char *name, *host, *address, *version, *public_key, *labels;
    const char *secret_digest; /* of its directory's secret (head_secret_digest); "": not known */
    const char *note;          /* why it is lost; "" */
    const struct cluster_amount *amounts; /* totals; available_units is not kept */
    size_t amount_count;
};

struct head_job_row {
    uint64_t number;
    uint32_t node; /* its home; with `key` it makes JOB_NEW idempotent */
    uint32_t pid;
    uint64_t key;
    enum head_job_state state;
    uint64_t started_unix_ms, ended_unix_ms; /* ended 0: not ended */
    uint64_t done, failed, cancelled;        /* its tasks, when it ended */
    const char *name, *program, *user;
};

enum head_record_kind {
    HEAD_RECORD_NODE = 1,    /* put this row in the place of the former one */
    HEAD_RECORD_JOB,         /* likewise */
    HEAD_RECORD_FORGET_NODE, /* `number`: one of the oldest that ended */
    HEAD_RECORD_FORGET_JOB,
    HEAD_RECORD_NUMBERS, /* `node_last`, `job_last`; made by the journal, comes after all rows */
};

struct head_record {
    enum head_record_kind kind;
    uint64_t number;    /* FORGET */
    uint32_t node_last; /* NUMBERS: the highest that was ever given; none is used again */
    uint64_t job_last;
    struct head_node_row node;
    struct head_job_row job;
};

/* Whether a row makes sense by itself. Whoever makes one from what came from outside asks this
 * before it is written, and the journal asks it of what it has read: so nothing can be written that
 * cannot be read. 0, or -EPROTO with a reason in *ret_why (static text, as in "its ..."). */
int head_record_check(const struct head_record *record, const char **ret_why) MUST_CHECK;

/* What is kept of a secret: enough to know it again, and not to tell it. "" for "" or NULL. */
void head_secret_digest(const char *secret, char ret[HEAD_DIGEST_SIZE]);

/* A copy whose texts and amounts live in `arena`. */
struct head_record head_record_copy(struct arena *arena, const struct head_record *record);

#endif
