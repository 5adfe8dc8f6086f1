/*
 * The processes of the bench: start them, read what they say, look at their memory and CPU time,
 * end them. Linux only. Everything that was started here is ended by processes_end_all.
 */
#ifndef BENCH_PROCESSES_H
#define BENCH_PROCESSES_H

#include <sys/types.h>

#include "bench/figures.h"
#include "common/bytes.h"

struct process {
    pid_t pid;
    int out; /* its standard output; -1: not ours */
};

/* Starts argv[0] (a path) with our environment; standard output goes to a pipe when `capture`, else
 * to /dev/null; standard error stays. 0 or -errno. */
int process_start(char *const argv[], bool capture, struct process *ret) MUST_CHECK;
/* Reads its output to the end into `out` (may be NULL), then waits. 0: it ended with status 0; 1:
 * with another; -ETIMEDOUT: killed after limit_s. */
int process_finish(struct process *p, double limit_s, struct buffer *out) MUST_CHECK;
/* Both in turn. */
int process_run(char *const argv[], double limit_s, struct buffer *out) MUST_CHECK;
void process_kill(struct process *p);
void processes_end_all(void);

/* Lines of a name and a number. */
void figures_read(struct figures *f, struct buffer *lines);

/* A process that only computes, at normal priority. */
int process_busy_loop(struct process *ret) MUST_CHECK;

struct memory {             /* bytes */
    uint64_t private_bytes; /* Private_* of all mappings but rings */
    uint64_t ring_bytes;    /* resident in mappings of a memfd */
};
int process_memory(pid_t pid, struct memory *ret) MUST_CHECK;
uint64_t process_anon_bytes(pid_t pid); /* RssAnon: cheap enough to be sampled; 0 if it is gone */
double process_cpu_s(pid_t pid);        /* user and system time so far */

/* Processes of this user whose program is called `name` (15 letters at most) and that have `text`
 * in their command line. */
size_t processes_find(const char *name, const char *text, pid_t *ret, size_t room);
size_t processes_children(pid_t parent, pid_t *ret, size_t room);

#endif
