/*
 * Asking a head over the network: a link with CURVE (proto/link.h) that a key file opens, for the
 * time of some questions. client.key and reader.key are meant for it; what the key allows is the
 * head's to say. Blocks, at most ASK_LIMIT_NS for each call, and for as long as the system takes to
 * look up a host's name. One thread.
 */
#ifndef CLI_REMOTE_H
#define CLI_REMOTE_H

#include "cli/answer.h"
#include "common/place.h"
#include "proto/keys.h"

struct remote;

struct remote_wish {
    char address[HOSTPORT_SIZE]; /* "host:port"; "": those that the key file names */
    char cluster[64];            /* that the key must be for; "": any */
    char key_file[PLACE_PATH_MAX];
};

/* Connects. EXIT_DONE, or what drt exits with and the sentence in `f`: EXIT_REFUSED for a file that
 * is no key, or that others can read, or that the head does not take. */
int remote_open(const struct remote_wish *wish, struct remote **ret, struct failure *f) MUST_CHECK;
void remote_close(struct remote *r); /* says goodbye; NULL is fine */
const char *remote_cluster(const struct remote *r);

/* As ask_rows. */
int remote_rows(struct remote *r, const struct state_query *queries, size_t count,
                struct answer *answers, struct failure *f) MUST_CHECK;

#endif
