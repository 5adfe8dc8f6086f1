/*
 * Whose logs are meant: the workers of a job on all nodes, the worker of a task, or one worker; and
 * whether more can come. Asked again while they are followed. Blocks as cli/ask.h says.
 */
#ifndef CLI_LOG_SOURCES_H
#define CLI_LOG_SOURCES_H

#include "cli/ask.h"
#include "cli/views.h"

#define LOG_SOURCES_MAX 2048u

struct log_choice {       /* one of task, worker, job */
    const char *task;     /* "" if not given */
    uint64_t worker, job; /* 0: not given */
    const char *node;     /* "": any */
    uint32_t stream;      /* 0: both; 1 out, 2 err */
    bool follow;          /* nothing yet is no error */
};

/* One file that a worker writes, or the part of it that one attempt of a task wrote. */
struct log_source {
    uint64_t worker;
    char node[64];
    uint32_t stream;    /* 1 out, 2 err */
    uint32_t attempt;   /* of the task; 0: all of the file */
    uint64_t begin;     /* of the part */
    bool running;       /* its end is not known yet */
    uint64_t offset;    /* of what comes next */
    bool again;         /* there is more, which could not be read just now */
    bool closed;        /* nothing will follow */
    bool guessed;       /* it may never have been on this node */
    struct buffer text; /* what the reader keeps of it */
};

struct log_sources {
    struct log_source *items;
    size_t count, workers;   /* workers: of a task, attempts */
    char task[ID_TEXT_SIZE]; /* its id; "" where none is meant */
    bool over;               /* the job or task has ended: no worker will be added */
};

void log_sources_init(struct log_sources *s);
void log_sources_fini(struct log_sources *s);
/* Adds those that are not there yet, sorted among themselves. EXIT_DONE or as drt exits. */
int log_sources_find(struct log_sources *s, struct ask *ask, const struct log_choice *choice,
                     struct failure *f) MUST_CHECK;

#endif
