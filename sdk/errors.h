/*
 * The last error sentence of each thread, and the struct drt_error that users get. The data is
 * thread-local, so there is no lock. A call that succeeds does not change the sentence, like errno.
 */
#ifndef SDK_ERRORS_H
#define SDK_ERRORS_H

#include "common/codes.h"
#include "drt/drt.h"

/* Sets this thread's sentence; returns `code` (positive, or -errno). */
int error_set(int code, const char *format, ...) PRINTF(2, 3);
/* The sentence of a failed task: who failed, where, why. Returns its code. */
int error_set_failure(const struct failure *f);
/* The sentence that error_set left, as a failure with `code`. */
void error_to_failure(int code, struct failure *ret);
void error_from_failure(const struct failure *f, struct drt_error *ret);

#endif
