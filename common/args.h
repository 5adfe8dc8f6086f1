/*
 * Command lines from one table: parsing, and suggestions for what was misspelled. Pure: prints only
 * into the buffer that it is given.
 *
 *   program VERB [THING...] [OPTION...]     options stand anywhere, also before the verb; "--" ends
 * them program help [VERB], program [VERB] --help|-h, program --version
 */
#ifndef COMMON_ARGS_H
#define COMMON_ARGS_H

#include "common/args_table.h"
#include "common/args_text.h"
#include "common/bytes.h"
#include "common/codes.h"

struct args_value {
    bool given;
    const char *text; /* as written; NULL for a flag and for an optional value that was left out */
    uint64_t number;  /* U64, SIZE in bytes, DURATION in ns */
    double real;      /* DOUBLE */
};

struct args {
    const struct args_verb *verb;
    struct args_value
        values[ARGS_OPTIONS_MAX]; /* in the order of verb->options; the last one given counts */
    const char *things[ARGS_THINGS_MAX];
    uint32_t thing_count;
};

/* SHOW: print `out` to stdout, exit 0. USAGE: print it to stderr, exit 2. */
enum args_outcome { ARGS_RUN = 0, ARGS_SHOW = 1, ARGS_USAGE = 2 };

/* One of enum args_outcome; *ret, which borrows argv's texts, is set only for ARGS_RUN. */
int args_parse(const struct args_program *p, int argc, char **argv, struct args *ret,
               struct buffer *out) MUST_CHECK;
const struct args_value *args_get(const struct args *a,
                                  const char *option); /* asserts that the verb has it */

#endif
