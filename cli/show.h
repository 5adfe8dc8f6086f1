/*
 * Runs a reading verb: asks, shows the screen or JSON, once or again and again. Blocks.
 */
#ifndef CLI_SHOW_H
#define CLI_SHOW_H

#include "cli/ask.h"
#include "cli/views.h"

struct show {
    struct where where;
    struct wish wish;
    bool last_job; /* wish.job is the newest one's, to be asked for */
    bool json;
    bool watch;
    uint64_t watch_ns;
};

/* EXIT_DONE or another; what went wrong is said on standard error. */
int show_view(const struct show *show, const struct view *view) MUST_CHECK;

/* "drt: sentence" on standard error. Returns `status`. */
int complain(int status, const struct failure *f);
/* Writes all to standard output. EXIT_DONE or EXIT_FAILED. */
int put_out(struct buffer *out) MUST_CHECK;
/* The number of the newest job. */
int find_last_job(struct ask *a, uint64_t *ret, struct failure *f) MUST_CHECK;

#endif
