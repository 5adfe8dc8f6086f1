#include "raylet/early_exit.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "common/shortage.h"
#include "proto/local.h"

#define NAME_MAX_SIZE 200
#define LOADER_EXIT   127
#define OUT_OF_MEMORY "out of memory: the system has no" /* common/base.c */

/* What the loaders of glibc and musl say. */
#define GLIBC_LIBRARY ": error while loading shared libraries: "
#define GLIBC_MISSING ": cannot open shared object file: No such file or directory"
#define MUSL_LIBRARY  "Error loading shared library "
#define MUSL_MISSING  ": No such file or directory"
#define VERSION       ": version `"
#define VERSION_END   "' not found (required by "

/* Copies the text before `end`. False: it is empty or too long. */
static bool take(const char *from, const char *end, char ret[NAME_MAX_SIZE])
{
    size_t size = (size_t)(end - from);
    if (size == 0 || size >= NAME_MAX_SIZE) {
        return false;
    }
    memcpy(ret, from, size);
    ret[size] = '\0';
    return true;
}

/* The library that the loader did not find. */
static bool missing_library(const char *line, char ret[NAME_MAX_SIZE])
{
    static const char *const said[][2] = {{GLIBC_LIBRARY, GLIBC_MISSING},
                                          {MUSL_LIBRARY, MUSL_MISSING}};
    for (size_t i = 0; i < ARRAY_SIZE(said); i++) {
        const char *name = strstr(line, said[i][0]);
        const char *end = name != NULL ? strstr(name + strlen(said[i][0]), said[i][1]) : NULL;
        if (end != NULL && take(name + strlen(said[i][0]), end, ret)) {
            return true;
        }
    }
    return false;
}

/* "GLIBC_2.38 of libc.so.6": the library is there, and too old. */
static bool missing_version(const char *line, char ret[NAME_MAX_SIZE])
{
    char version[NAME_MAX_SIZE], library[NAME_MAX_SIZE];
    const char *at = strstr(line, VERSION);
    const char *end = at != NULL ? strstr(at, VERSION_END) : NULL;
    if (end == NULL || !take(at + strlen(VERSION), end, version)) {
        return false;
    }
    const char *name = at;
    while (name > line && name[-1] != '/' && name[-1] != ' ') {
        name--;
    }
    if (!take(name, at, library)) {
        return false;
    }
    int n = snprintf(ret, NAME_MAX_SIZE, "%s of %s", version, library);
    return n > 0 && n < NAME_MAX_SIZE;
}

static void explain_other(const char *line, int wait_status, struct failure *f)
{
    char how[64];
    if (WIFSIGNALED(wait_status)) {
        snprintf(how, sizeof how, "signal %d ended it", WTERMSIG(wait_status));
    } else {
        snprintf(how, sizeof how, "it ended with exit code %d", WEXITSTATUS(wait_status));
    }
    if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 127 && line[0] != '\0') {
        failure_set(f, CODE_PROGRAM, "The program does not start: %s", line);
    } else {
        failure_set(f, CODE_PROGRAM,
                    "The program does not start as a worker: %s before it called drt_init. Call "
                    "drt_init (or drt_init_or_exit) first of all in main, which gets no "
                    "command-line arguments in a worker.%s%s",
                    how, line[0] != '\0' ? " Its last line on standard error: " : "", line);
    }
}

/* It could not begin because something was short: libdrt says so by its exit status, the loader and
 * an allocation that failed by their words, and the kernel, when memory is short, by a KILL. */
static bool is_shortage(const char *line, int wait_status)
{
    if (WIFSIGNALED(wait_status)) {
        return WTERMSIG(wait_status) == SIGKILL || strstr(line, OUT_OF_MEMORY) != NULL;
    }
    return WEXITSTATUS(wait_status) == LOCAL_EXIT_SHORT ||
           (WEXITSTATUS(wait_status) == LOADER_EXIT && shortage_ends(line));
}

static void explain_shortage(const char *line, int wait_status, struct failure *f)
{
    if (line[0] != '\0') {
        failure_set(f, CODE_FULL, "A worker ended before it began: %s.", line);
    } else if (WIFSIGNALED(wait_status)) {
        failure_set(f, CODE_FULL,
                    "A worker was killed before it began. When memory is short, the system does "
                    "that.");
    } else {
        failure_set(f, CODE_FULL,
                    "A worker could not begin, because the machine is short of "
                    "something.");
    }
}

bool early_exit_explain(const char *node, const char *line, int wait_status, struct failure *ret)
{
    char what[NAME_MAX_SIZE];
    bool loader = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) != 0 &&
                  (missing_library(line, what) || missing_version(line, what));
    if (loader) {
        failure_set(ret, CODE_PROGRAM,
                    "on node \"%s\" the program needs %s, which is not there: install it on that "
                    "node",
                    node, what);
    } else if (is_shortage(line, wait_status)) {
        explain_shortage(line, wait_status, ret);
    } else {
        explain_other(line, wait_status, ret);
    }
    if (WIFSIGNALED(wait_status)) {
        ret->signal = WTERMSIG(wait_status);
    } else {
        ret->exit_code = WEXITSTATUS(wait_status);
    }
    return loader;
}
