/*
 * The tables that local, cluster, peer and state messages share, and how one is found by its type.
 * Private to proto/ and its tests.
 */
#ifndef PROTO_TABLES_H
#define PROTO_TABLES_H

#include "proto/codec.h"

#define TEXT_NAME_MAX    255u
#define TEXT_LABELS_MAX  4096u
#define TEXT_PATH_MAX    4096u
#define TEXT_MESSAGE_MAX 1023u
#define AMOUNTS_MAX      256u
#define KINDS_MAX        65536u

extern const struct codec failure_codec;
extern const struct codec state_query_codec;
extern const struct codec state_reply_codec;
extern const struct codec asked_amount_codec; /* struct local_amount */

const struct codec *local_codec(unsigned type);   /* NULL: no such type */
const struct codec *cluster_codec(unsigned type); /* likewise */
const struct codec *peer_codec(unsigned type);    /* likewise */

#endif
