/*
 * The one table of drt's verbs and options: parsing, --help, completions and the manual page come
 * from it.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "common/args.h"

enum verb_tag {
    VERB_STATUS = 1,
    VERB_NODES,
    VERB_TASKS,
    VERB_JOBS,
    VERB_WORKERS,
    VERB_SUMMARY,
    VERB_LOGS,
    VERB_EXPLAIN,
    VERB_CANCEL,
    VERB_DISTRIBUTE,
    VERB_STOP,
    VERB_COMPLETION,
};

extern const struct args_program cli_program;

#endif
