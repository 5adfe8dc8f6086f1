/*
 * Which cluster drt asks, and by which way: what the command line and the environment say, and
 * which key files are there. Opens no connection. One thread.
 *
 *   --cluster HOST:PORT, else such a DRT_CLUSTER, or --key-file     a head over the network
 *   anything else                                                   this machine's daemons; where
 *                                                                   none answers, over the network
 *                                                                   if there is a key for it
 */
#ifndef CLI_WHERE_H
#define CLI_WHERE_H

#include "cli/remote.h"
#include "common/place.h"

/* The options; NULL: not given. */
struct where {
    const char *dir, *cluster, *key_file;
};

/* Whether a head is meant that is asked over the network, whatever runs here. */
bool where_is_remote(const struct where *w);
/* Such a head, and its key: --key-file, DRT_KEY_FILE, client.key in the cluster's directory (--dir,
 * DRT_DIR, ~/.drt/$DRT_CLUSTER), else the client.key beneath ~/.drt that names this address. 0;
 * CODE_SIGNATURE: the address is none; CODE_REFUSED: there is no key */
int where_remote(const struct where *w, struct remote_wish *ret, struct failure *f) MUST_CHECK;
/* The way that is left when nobody on this machine answers: client.key in `place` (NULL: there is
 * no directory), unless its head lives here, else DRT_KEY_FILE. False: none. */
bool where_else(const struct where *w, const struct place *place, struct remote_wish *ret);

#endif
