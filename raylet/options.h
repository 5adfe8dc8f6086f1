/*
 * The command line of drt-node as a table: parsing, --help and the manual page come from it.
 */
#ifndef RAYLET_OPTIONS_H
#define RAYLET_OPTIONS_H

#include "common/args.h"

enum node_verb { VERB_JOIN = 1, VERB_LEAVE = 2 };

extern const struct args_program node_program;

#endif
