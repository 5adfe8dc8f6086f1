/*
 * What a process is started with by whoever starts it: descriptors, signals, the file mode mask and
 * limits. A shell gives the usual ones; a supervisor, cron, a container or another program may not.
 * Our own programs put these right first of all in main, before there are threads. libdrt never
 * calls this: the dispositions, the mask and the descriptors of a driver belong to its user.
 */
#ifndef COMMON_INHERITED_H
#define COMMON_INHERITED_H

#include "common/codes.h"

/* The soft limits that a daemon raises for itself, and that its workers get back. */
enum inherited_limit {
    INHERITED_FILE_SIZE = 0,
    INHERITED_CPU,
    INHERITED_STACK,
    INHERITED_DATA,
    INHERITED_ADDRESSES,
    INHERITED_LIMITS
};

/* For a tool that ends soon. Descriptors 0 to 2 are there: one that was closed is a placeholder at
 * which input is empty and output fails as before, so that no file of ours gets its number. No
 * signal is blocked, and SIGCHLD has its default: with SIGCHLD ignored the kernel forgets how a
 * child ended. What else is ignored stays so (nohup). */
void inherited_for_tool(void);
/* For a daemon: the same; every signal has its default but those of timers; SIGXFSZ is ignored: a
 * write beyond a limit is an error and not the end; files are made for this user alone; the soft
 * limits of file size and CPU time are raised to the hard ones. */
void inherited_for_daemon(void);

/* Closes what else the starter left open, all but 0 to 2 and `kept` (-1: none). Else a port or a
 * pipe of a program would stay open for as long as its daemons live. */
void inherited_close_others(int kept);

/* The soft limits as inherited_for_daemon found them. */
void inherited_soft_limits(uint64_t ret[INHERITED_LIMITS]);
/* Sets the soft limits of a process that a daemon starts to what the daemon had itself. */
void inherited_give_back(const uint64_t soft[INHERITED_LIMITS]);

/* Whether a daemon can live with what cannot be put right: 0, or a code with a sentence. */
int inherited_check(const char *daemon, struct failure *f) MUST_CHECK;
/* What its user should know though it can: true with a sentence in `ret`. */
bool inherited_warning(const char *daemon, char ret[256]) MUST_CHECK;
/* 0; CODE_FAILED with a sentence where /proc is not mounted or /dev/null is missing, without which
 * no process can be started. */
int inherited_check_system(struct failure *f) MUST_CHECK;

/* Whether "NAME=value" is a variable that drt itself reads or sets. Workers get the environment of
 * their driver without these: they say where this process finds its cluster, and would send what a
 * body starts there. Others that begin with DRT_ are the user's. */
bool inherited_is_drts(const char *entry);

/* `fd` itself, or a copy of it above the standard descriptors in its place, close-on-exec: a
 * process whose standard output is closed gets low numbers, and would then print into a socket.
 * Takes `fd`; a negative one is returned as it is. -errno: `fd` is closed. */
int inherited_lift(int fd) MUST_CHECK;

#endif
