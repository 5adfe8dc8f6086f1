/*
 * Which cluster a node joins, and with which key: from the command line, the cluster directories of
 * this machine, or a join file. Blocking (files, name look-up).
 */
#ifndef RAYLET_INVITE_H
#define RAYLET_INVITE_H

#include "proto/keys.h"

struct invite_wish {
    const char *address;   /* "host:port" of the head; NULL: as the key says */
    const char *join_file; /* NULL: this machine's own */
    const char *dir, *cluster;
    bool is_private; /* all of the node is in `dir`, which is no cluster's; the environment does
                        not count */
};

struct invite {
    struct place place; /* where the node's directory will be */
    struct keys_member keys;
    char key_name[PLACE_PATH_MAX]; /* of its file, as the user would say it */
    char addresses[KEYS_ADDRESSES_MAX][HOSTPORT_SIZE];
    size_t address_count;
    char place_text[PLACE_PATH_MAX]; /* for invite_look_again */
    bool typed;                      /* the address was given */
    bool at_home; /* the key lies in the directory of the head, which knows best where it is */
};

/* 0, or a code with a sentence that says what to do. */
int invite_find(const struct invite_wish *wish, struct invite *ret, struct failure *f) MUST_CHECK;

/* Where the head is by now: what the key file says, which the head writes anew when it starts at
 * another address or port, and this machine's own address if that is the head's directory. `place`
 * is the path of the key file. For struct resolver_wish; on any thread. */
size_t invite_look_again(const char *place, char (*ret)[HOSTPORT_SIZE], size_t room);

#endif
