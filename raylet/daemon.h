/*
 * Going into the background with a last word: the parent waits until the child has said how its
 * start went, prints that, and exits. Before any thread exists.
 */
#ifndef RAYLET_DAEMON_H
#define RAYLET_DAEMON_H

#include "common/base.h"

/* In the child: 0, and *ret_report is the pipe for daemon_report; the child leads a process group
 * and has no descriptor of the caller but 0 to 2 and `keep` (-1: none). In the parent: does not
 * return; it exits as the child reported. -errno: there is no child. */
int daemon_begin(int keep, int *ret_report) MUST_CHECK;
/* The one word: printed on standard output when `exit_status` is 0, else on standard error. Closes
 * the pipe. */
void daemon_report(int *report, int exit_status, const char *text);
/* From now on standard input is empty, and output and error go to this file. -errno */
int daemon_redirect(const char *log_path) MUST_CHECK;

#endif
