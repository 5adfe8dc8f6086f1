/*
 * Where a cluster lives on this machine: directories, sockets, and how one is chosen
 * (docs/operations.md):
 * --dir or DRT_DIR, else ~/.drt/$DRT_CLUSTER, else the only one under ~/.drt with a live lock.
 *
 *   <dir>/            0700; head.lock head.db head.key join.key client.key head.sock head.port
 *   <dir>/nodes/<name>/   0700; lock sock programs/ logs/ number port pid
 */
#ifndef COMMON_PLACE_H
#define COMMON_PLACE_H

#include "common/codes.h"

#define PLACE_PATH_MAX 4096

struct place {
    char dir[PLACE_PATH_MAX]; /* absolute */
    char cluster[64]; /* its last component unless the directory says otherwise (file "name") */
};

/* A cluster name, node name: 1 to 63 of [A-Za-z0-9._-], not beginning with '.' or '-'. */
bool place_name_ok(const char *name);

/* ~/.drt, where clusters are that have no directory of their own: HOME, or where that is not set
 * the user's entry in the password file. Nothing is made. 0, or a code with the sentence in `f`. */
int place_home(char ret[PLACE_PATH_MAX], struct failure *f) MUST_CHECK;

/* The directory for a new cluster: `dir`, else DRT_DIR, else ~/.drt/<cluster, else DRT_CLUSTER,
 * else "default">. Nothing is made. 0, or a code with the sentence in `f`. Arguments may be NULL;
 * an empty one is CODE_SIGNATURE, and an empty variable counts as not set. */
int place_for_start(const char *dir, const char *cluster, struct place *ret,
                    struct failure *f) MUST_CHECK;
/* The directory of a cluster that is there: as above (but `cluster` overrules a DRT_DIR of another
 * name), and when neither is given the only one under
 * ~/.drt that has a live head or node (its lock is held). CODE_NOT_FOUND says where it looked;
 * several: CODE_EXISTS lists them. */
int place_find(const char *dir, const char *cluster, struct place *ret,
               struct failure *f) MUST_CHECK;

/* Writes down the cluster's name where the directory's own says another (file "name"). -errno */
int place_keep_name(const struct place *p, const char *cluster) MUST_CHECK;

/* Paths inside; each returns 0 or -ENAMETOOLONG. */
int place_path(const struct place *p, const char *relative, char ret[PLACE_PATH_MAX]) MUST_CHECK;
int place_node_path(const struct place *p, const char *node, const char *relative,
                    char ret[PLACE_PATH_MAX]) MUST_CHECK;

/* The node of this place whose raylet is alive: `name`, else DRT_NODE, else the lowest number.
 * CODE_NOT_FOUND. */
int place_find_node(const struct place *p, const char *name, char ret_name[64],
                    struct failure *f) MUST_CHECK;
/* The same for what cannot be undone: where neither names it, the only one. Several: CODE_EXISTS.
 */
int place_find_only_node(const struct place *p, const char *name, char ret_name[64],
                         struct failure *f) MUST_CHECK;

/* A UNIX socket's address, also for paths that are too long for one: then through /proc/self/fd,
 * and *ret_dir_fd must stay open until the bind or connect is done (else -1). -errno */
struct sockaddr_un;
int place_socket_address(const char *path, struct sockaddr_un *ret, int *ret_dir_fd) MUST_CHECK;

/* Finds one of our programs ("drt-head"): DRT_BINDIR (may list several with ':'), then beside
 * libdrt's or this executable's directory (../bin), then the configured bindir, then PATH.
 * CODE_NOT_FOUND names all four. */
int place_find_program(const char *program, char ret[PLACE_PATH_MAX], struct failure *f) MUST_CHECK;

#endif
