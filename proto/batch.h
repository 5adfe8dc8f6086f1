/*
 * Several messages as one: what raylets put into a message of their session (proto/mesh.h). Each
 * record is a message, or a part of one that is too long for a batch. Bytes of others are checked
 * here. No I/O.
 *
 *   u32 size   u32 rest   bytes   zeros up to a multiple of 8
 *
 * `rest`: bytes of the same message that the following records bring; 0: it ends here.
 */
#ifndef PROTO_BATCH_H
#define PROTO_BATCH_H

#include "proto/message.h"
#include "proto/session.h"

#define BATCH_MAX         SESSION_MESSAGE_MAX
#define BATCH_RECORD_HEAD 8u

/* What a record of `size` bytes takes in a batch. */
static inline size_t batch_cost(size_t size)
{
    return BATCH_RECORD_HEAD + align_up(size, 8);
}

/* Room for a record in `batch`, which begins 8-aligned; the caller fills it and sees that the whole
 * stays below BATCH_MAX. */
void *batch_add(struct buffer *batch, size_t size, size_t rest);

struct batch_record {
    struct bytes data; /* 8-aligned in the batch */
    uint32_t rest;
};

/* Takes the next record from the front of `left`: 1; 0 at the end; -EPROTO. */
int batch_next(struct bytes *left, struct batch_record *ret) MUST_CHECK;

/* A message whose parts come one after another. Zeroed: none. */
struct batch_assembly {
    struct buffer parts;
    uint32_t rest;
};

void batch_assembly_fini(struct batch_assembly *a); /* usable again */
/* 1: *ret is a whole message, valid until the next call; 0: more of it follows; -EPROTO. */
int batch_assemble(struct batch_assembly *a, const struct batch_record *record,
                   struct bytes *ret) MUST_CHECK;

#endif
