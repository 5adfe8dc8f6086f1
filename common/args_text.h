/*
 * What people and shells read about a command line, made from its table: the overview, the help of
 * a verb, completions, the options part of a man page. Pure: writes only into the buffer that it is
 * given.
 */
#ifndef COMMON_ARGS_TEXT_H
#define COMMON_ARGS_TEXT_H

#include "common/args_table.h"
#include "common/bytes.h"

void args_overview(const struct args_program *p, struct buffer *out);
void args_help(const struct args_program *p, const struct args_verb *verb, struct buffer *out);
void args_completion(const struct args_program *p, const char *shell,
                     struct buffer *out); /* "bash", "zsh" */
void args_manual(const struct args_program *p,
                 struct buffer *out); /* the options part of a man page, roff */

#endif
