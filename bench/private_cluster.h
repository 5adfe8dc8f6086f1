/*
 * A cluster of the bench's own: in a new directory below $TMPDIR, on loopback, with the programs of
 * this build; found by nobody else, and gone afterwards.
 */
#ifndef BENCH_PRIVATE_CLUSTER_H
#define BENCH_PRIVATE_CLUSTER_H

#include "bench/board.h"
#include "bench/processes.h"

struct private_cluster {
    char dir[256]; /* "" if there is none */
    char address[80];
    char head[512], node[512], cli[512], driver[512]; /* paths of the programs */
    struct board *board;
    char board_path[300];
    const char *word; /* for each driver; NULL: none */
    char why[512];    /* the last thing that went wrong */
};

/* Finds the programs: in $DRT_BINDIR, in this build, beside us. 0, -ENOENT (see why). */
int private_cluster_find(struct private_cluster *c) MUST_CHECK;
/* A new empty directory, named in $DRT_DIR and $HOME of what is started from now on. */
int private_cluster_make(struct private_cluster *c) MUST_CHECK;
/* Each returns when its daemon is ready. -EIO: see why. */
int private_cluster_start_head(struct private_cluster *c) MUST_CHECK;
int private_cluster_join(struct private_cluster *c, const char *name, unsigned cpus) MUST_CHECK;
int private_cluster_stop_all(struct private_cluster *c) MUST_CHECK; /* both kinds of daemons */
void private_cluster_fini(struct private_cluster *c); /* stops what runs, removes the directory */

size_t private_cluster_heads(const struct private_cluster *c, pid_t *ret, size_t room);
size_t private_cluster_raylets(const struct private_cluster *c, pid_t *ret, size_t room);

/* Starts a driver: "sync", "seconds=1", ..., NULL. `board` is cleared and handed to it when
 * `with_board`. */
int private_cluster_driver(struct private_cluster *c, const char *const *words, bool with_board,
                           struct process *ret) MUST_CHECK;
int private_cluster_driver_end(struct private_cluster *c, struct process *p, double limit_s,
                               struct figures *ret) MUST_CHECK;
void private_cluster_board_clear(struct private_cluster *c);

#endif
