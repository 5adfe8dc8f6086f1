/*
 * The directory of a node, <cluster>/nodes/<name>/: its lock (whoever holds it is the node), its
 * number, port and pid, its socket, programs and logs. Opened once at the start of a raylet.
 * Blocking.
 *
 *   lock     held as long as the raylet lives
 *   number   the last number that the head gave to a raylet of this directory
 *   port     of its message port, used again
 *   secret   a random text with which it proves to the head that it is the same node
 *   pid      of the raylet; left behind by one that was killed
 *   sock     where processes connect
 *   programs/  logs/  logs.old/ (of the raylet before)  node.log
 */
#ifndef RAYLET_NODE_DIR_H
#define RAYLET_NODE_DIR_H

#include "common/place.h"
#include "proto/cluster.h"

struct node_dir {
    char name[64];
    char path[PLACE_PATH_MAX]; /* absolute, links resolved */
    int lock;
    uint32_t former_number; /* 0: none */
    uint16_t former_port;   /* 0: none */
    char secret[CLUSTER_SECRET_SIZE];
    bool unclean; /* the raylet before did not end in order */
};

/* Makes what is missing and takes the lock. 0; CODE_EXISTS: another raylet runs there; CODE_FAILED
 * with the sentence. */
int node_dir_open(const struct place *place, const char *name, struct node_dir *ret,
                  struct failure *f) MUST_CHECK;
void node_dir_close(
    struct node_dir *d); /* removes pid and sock, gives the lock back; fine if zeroed */

int node_dir_path(const struct node_dir *d, const char *relative,
                  char ret[PLACE_PATH_MAX]) MUST_CHECK;
int node_dir_set_number(struct node_dir *d, uint32_t number) MUST_CHECK; /* -errno */
int node_dir_set_port(struct node_dir *d, uint16_t port) MUST_CHECK;
int node_dir_set_pid(struct node_dir *d) MUST_CHECK; /* of this process */

#endif
