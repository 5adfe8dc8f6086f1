/*
 * What local, cluster and peer messages have in common when they are read: the frame and the table,
 * and checks that tables cannot say. All answer 0, or -EPROTO with a reason (static text). Private
 * to proto/.
 */
#ifndef PROTO_DECODE_H
#define PROTO_DECODE_H

#include "proto/codec.h"
#include "proto/local.h"

static inline int refuse(const char **ret_why, const char *why)
{
    *ret_why = why;
    return -EPROTO;
}

/* The frame of `data`, and its meta into `body` by the table of its type. */
int decode_body(struct bytes data, const struct codec *(*codec_of)(unsigned type),
                struct arena *arena, struct message_view *ret_view, void *body,
                const char **ret_why) MUST_CHECK;

bool ids_are_good(const struct object_id *ids, size_t count);
bool texts_are_good(struct bytes texts);
/* The payload of an OPEN or JOB: the environment, and what is given to workers. False: it is not.
 */
bool split_payload(struct bytes payload, uint32_t env_size, uint32_t given_size,
                   struct bytes *ret_env,
                   struct bytes *ret_given); /* the last one is terminated; none is good too */
bool amounts_are_good(const struct local_amount *amounts, size_t count);
int check_ids(const struct object_id *ids, size_t count, const char **ret_why); /* one at least */
/* Arguments and needed values are all of a payload of `size` bytes. Without needs `*args_size` may
 * be left out. */
int check_parts(uint32_t *args_size, const uint32_t *need_sizes, size_t need_count, size_t size,
                const char **ret_why);
/* Those of a body that succeeded are all of a payload of `size` bytes; the references inside them
 * stand in `refs` one after another. */
int check_returns(const struct local_return *returns, size_t count, bool succeeded,
                  const struct object_id *refs, size_t ref_count, size_t size,
                  const char **ret_why);

#endif
