/*
 * The table that describes a program's command line. Parsing (args.h), help, completions and the
 * manual (args_text.h) all come from it. Constant data only.
 */
#ifndef COMMON_ARGS_TABLE_H
#define COMMON_ARGS_TABLE_H

#include "common/base.h"

#define ARGS_OPTIONS_MAX 32
#define ARGS_THINGS_MAX  16

enum args_kind { ARGS_FLAG, ARGS_TEXT, ARGS_U64, ARGS_DOUBLE, ARGS_SIZE, ARGS_DURATION };

struct args_option {
    const char *name; /* "num-cpus": --num-cpus N, --num-cpus=N */
    char letter;      /* 'n' or 0: -n N, -nN */
    enum args_kind kind;
    /* "N", as shown by --help. An optional value is written "[SECONDS]": the next word is taken as
     * the value only where it reads as one, and never for ARGS_TEXT (there only --name=VALUE gives
     * one). */
    const char *value;
    const char *help; /* one line; NULL: an option that only our own programs use, never shown */
    uint64_t max;     /* U64: 0 = no limit */
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

/* A command that people look for here, and the one that does it: "top" -> "drt status --watch". */
struct args_hint {
    const char *word, *use;
};

struct args_program {
    const char *name, *help;
    const struct args_verb *verbs; /* ends with a NULL name */
    const struct args_hint *hints; /* ends with a NULL word; NULL: none */
};

#endif
