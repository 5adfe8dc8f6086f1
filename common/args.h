/*
 * Command lines from one table: parsing, --help, suggestions for what was misspelled, and the
 * shells' completions all come from it. Pure: prints only into buffers that it is given.
 */
#ifndef COMMON_ARGS_H
#define COMMON_ARGS_H

#include "common/bytes.h"
#include "common/codes.h"

enum args_kind { ARGS_FLAG, ARGS_TEXT, ARGS_U64, ARGS_DOUBLE, ARGS_SIZE, ARGS_DURATION };

struct args_option {
    const char *name; /* "num-cpus": --num-cpus N, --num-cpus=N */
    char letter;      /* 'n' or 0 */
    enum args_kind kind;
    const char *value; /* "N", as shown by --help; an optional value is written "[SECONDS]" */
    const char *help;  /* one line */
    uint64_t max;      /* U64: 0 = no limit */
};

struct args_verb {
    const char *name;       /* "start" */
    const char *things;     /* "<host:port>", "[JOB]", "" */
    const char *help;       /* one line */
    const char *example[2]; /* two full command lines */
    const struct args_option
        *options; /* ends with a NULL name; --help, -h and --version are everywhere */
    uint32_t min_things, max_things;
    int tag; /* the program's own */
};

struct args_program {
    const char *name, *help;
    const struct args_verb *verbs; /* ends with a NULL name */
};

struct args_value {
    bool given;
    const char *text; /* as written; NULL for a flag */
    uint64_t number;  /* U64, SIZE in bytes, DURATION in ns */
    double real;
};

struct args {
    const struct args_verb *verb;
    struct args_value values[32]; /* in the order of verb->options */
    const char *things[16];
    uint32_t thing_count;
};

enum args_outcome {
    ARGS_RUN = 0,
    ARGS_SHOW = 1,
    ARGS_USAGE = 2
}; /* SHOW: print `out` to stdout, exit 0; USAGE: stderr, exit 2 */

int args_parse(const struct args_program *p, int argc, char **argv, struct args *ret,
               struct buffer *out) MUST_CHECK;
const struct args_value *args_get(const struct args *a,
                                  const char *option); /* asserts that the verb has it */
void args_completion(const struct args_program *p, const char *shell,
                     struct buffer *out); /* "bash", "zsh" */
void args_manual(const struct args_program *p,
                 struct buffer *out); /* the options part of a man page, roff */

#endif
