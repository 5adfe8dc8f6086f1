/*
 * The keys of a cluster (CURVE, Z85) and their files in the cluster directory. Blocking, no state.
 * Text, one "name value" a line, the first line "drt-key 1":
 *
 *   head.key     kind head;   cluster, id, server-public, server-secret, node-public,
 * client-public, reader-public join.key     kind node;   cluster, id, address (one line for each),
 * server-public, public, secret client.key   kind client; the same reader.key   kind reader; the
 * same: may look, not change
 *
 * All are 0600, and refused when others can read them.
 */
#ifndef PROTO_KEYS_H
#define PROTO_KEYS_H

#include "common/bytes.h"
#include "common/codes.h"
#include "common/hostport.h"
#include "common/place.h"
#include "proto/transport.h"

#define KEYS_TEXT_SIZE     41 /* Z85 of 32 bytes, terminated */
#define KEYS_ID_SIZE       33 /* 32 hexadecimal digits, terminated */
#define KEYS_ADDRESSES_MAX 8u
#define KEYS_FILE_MAX      8192u

struct keys_pair {
    char public_key[KEYS_TEXT_SIZE];
    char secret_key[KEYS_TEXT_SIZE];
};

/* Whose key opens what; "" : nobody's. */
struct keys_access {
    char node_public[KEYS_TEXT_SIZE];
    char client_public[KEYS_TEXT_SIZE];
    char reader_public[KEYS_TEXT_SIZE];
};

struct keys_head { /* head.key */
    char cluster[64];
    char id[KEYS_ID_SIZE]; /* random for each cluster: two of one name differ */
    struct keys_pair server;
    struct keys_access access;
};

struct keys_member { /* join.key, client.key, reader.key */
    enum peer_role role;
    char cluster[64];
    char id[KEYS_ID_SIZE];
    char addresses[KEYS_ADDRESSES_MAX][HOSTPORT_SIZE]; /* of the head; the first is the likeliest */
    size_t address_count;
    char server_public[KEYS_TEXT_SIZE];
    struct keys_pair own;
};

/* A fresh pair. */
int keys_pair_new(struct keys_pair *ret) MUST_CHECK;

/* Makes all four files in the directory (which exists). Addresses may follow by keys_set_addresses,
 * once the port is known. 0; CODE_EXISTS when there is a head.key; CODE_FAILED with a sentence */
int keys_create(const struct place *place, const char *cluster, struct keys_head *ret,
                struct failure *f) MUST_CHECK;
/* New keys in the same cluster: whoever holds an old file is out. The addresses stay. The caller
 * knows that the head is stopped. */
int keys_rekey(const struct place *place, struct keys_head *ret, struct failure *f) MUST_CHECK;
/* Writes the head's addresses into join.key, client.key and reader.key, where they differ. */
int keys_set_addresses(const struct place *place, const char *const *addresses, size_t count,
                       struct failure *f) MUST_CHECK;

/* Reads <dir>/head.key. 0; CODE_NOT_FOUND; CODE_REFUSED (others can read it, or it is broken: the
 * sentence names file and line) */
int keys_load_head(const struct place *place, struct keys_head *ret, struct failure *f) MUST_CHECK;
/* Reads a file for members: any path; `role` is what the caller wants to be (0: any). */
int keys_load_member(const char *path, enum peer_role role, struct keys_member *ret,
                     struct failure *f) MUST_CHECK;
/* The file of a role in the directory: join.key, client.key, reader.key. */
int keys_load_role(const struct place *place, enum peer_role role, struct keys_member *ret,
                   struct failure *f) MUST_CHECK;

/* Parses the bytes of a file: 0, or -EPROTO with *ret_line (from 1; 0: the file as a whole) and a
 * static reason. For any bytes; exactly one of head and member is asked for (the other NULL). */
int keys_parse(struct bytes text, struct keys_head *ret_head, struct keys_member *ret_member,
               unsigned *ret_line, const char **ret_why) MUST_CHECK;
void keys_format_head(const struct keys_head *keys, struct buffer *ret);
void keys_format_member(const struct keys_member *keys, struct buffer *ret);

#endif
