/*
 * Where the kernel has put the memory of a process that crashed (core(5)), in words for its user.
 * Reads /proc/sys/kernel and looks whether the file is there.
 */
#ifndef RAYLET_DUMP_FILE_H
#define RAYLET_DUMP_FILE_H

#include "common/base.h"

#include <sys/types.h>

#define DUMP_FILE_TEXT 256u

/* Of a process with this wait status that ran in `cwd` ("": not known); "" where none was written.
 */
void dump_file_describe(pid_t pid, int wait_status, const char *cwd, char ret[DUMP_FILE_TEXT]);
/* The same for a given kernel.core_pattern: its file, without looking. */
void dump_file_name(const char *pattern, bool uses_pid, pid_t pid, int signal, const char *cwd,
                    char ret[DUMP_FILE_TEXT]);

#endif
