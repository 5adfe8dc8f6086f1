/*
 * How a worker's process begins. The raylet starts its own executable again ("drt-node --launch
 * ..."), because what a worker needs before its program runs cannot be done from outside: dying
 * with the raylet, limits, directory, descriptors. The launcher then becomes the program, from the
 * very descriptor that was hashed; when it cannot, the exact reason comes back through a pipe.
 * launcher_spawn and launcher_outcome are the raylet's (no waiting but for the exec of the launcher
 * itself), launcher_main is all that the started process runs of us.
 */
#ifndef RAYLET_LAUNCHER_H
#define RAYLET_LAUNCHER_H

#include <sys/types.h>

#include "common/bytes.h"
#include "common/codes.h"

#define LAUNCHER_FLAG        "--launch"
#define LAUNCHER_WORKER_FD   "DRT_WORKER_FD"
#define LAUNCHER_WORKER      "DRT_WORKER"
#define LAUNCHER_WORKER_NODE "DRT_WORKER_NODE" /* the node's directory: by it strays are found */

struct launch {
    uint32_t worker;
    const char *name; /* argv[0], as the user would type it */
    int directory_fd; /* the driver's directory; -1: by its name */
    const char *cwd; /* its name; "": none. Where it cannot be entered, the user's home directory */
    struct bytes env; /* terminated texts one after another; drt's own variables are left out */
    uint32_t umask;
    const char *node_dir;
    uint64_t files_max;                        /* soft RLIMIT_NOFILE of the worker; 0: as it is */
    int program_fd, socket_fd, out_fd, err_fd; /* stay the caller's */
};

/* Starts it in a session of its own. *ret_status is the pipe for launcher_outcome. -errno */
int launcher_spawn(const struct launch *launch, pid_t *ret_pid, int *ret_status) MUST_CHECK;
/* What became of it: -EAGAIN, not known yet; 0, the program runs (or its process ended before that:
 * then its exit tells); CODE_PROGRAM with the reason. */
int launcher_outcome(int status, struct failure *ret) MUST_CHECK;

/* The launcher mode. `argv` as launcher_spawn made it. */
NORETURN void launcher_main(int argc, char **argv);

#endif
