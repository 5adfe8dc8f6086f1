/*
 * The workers' processes: starting them, noticing their ends exactly, and seeing that nothing they
 * started outlives them. Each is a process group of its own; the raylet is the reaper of what loses
 * its parent (PR_SET_CHILD_SUBREAPER), so that also those who left their group are found. Adds
 * EVENT_WORKER_STARTED, _REFUSED and _EXITED; on an exit everything the worker had sent comes
 * before, and its EVENT_CLIENT_DOWN after. On the loop's thread.
 */
#ifndef RAYLET_WORKERS_H
#define RAYLET_WORKERS_H

#include "raylet/clients.h"
#include "raylet/logs.h"

#define WORKERS_SILENT_NS                                                                          \
    UINT64_C(2000000000) /* from the end of its channel to its end, else it is killed */

struct workers;

struct workers_config {
    struct loop *loop;
    struct events *events;
    struct logs *logs;
    const char *node_dir;
    const char *node_name; /* outlives this */
    uint64_t files_max;    /* soft limit of open files that workers get; 0: the raylet's own */
};

/* The process becomes the reaper of its descendants; SIGCHLD is the caller's to watch
 * (workers_sweep). */
struct workers *workers_new(const struct workers_config *config);
void workers_free(struct workers *w); /* all have ended: workers_end was called; NULL is fine */
/* Those who carry their messages: set once, before the first start. */
void workers_set_clients(struct workers *w, struct clients *clients);
/* What the clients' owner does for workers; `arg` of clients_owner is the workers. */
void workers_on_silent(void *arg, uint32_t worker, bool broken);
void workers_on_greeted(void *arg, uint32_t worker);

struct workers_start {
    uint32_t worker;
    int program_fd;   /* the caller's */
    const char *name; /* of the program */
    const char *cwd;
    int directory_fd; /* the driver's directory itself, the caller's; -1: by its name */
    struct bytes env;
    uint32_t umask;
};
/* Starts one; events say what became of it. */
void workers_spawn(struct workers *w, const struct workers_start *start);
void workers_kill(struct workers *w, uint32_t worker, int signal); /* its whole process group */
/* After SIGCHLD: reaps and ends what ended workers left behind. At once, or in a later
 * workers_tick: one task may leave thousands of processes a second, and others are to be served. */
void workers_sweep(struct workers *w);
uint64_t workers_next_ns(const struct workers *w);
void workers_tick(struct workers *w, uint64_t now_ns);
size_t workers_used(const struct workers *w);
/* Kills all and everything they started, and waits for it, at most `limit_ns`. Adds no events. */
void workers_end(struct workers *w, uint64_t limit_ns);

#endif
