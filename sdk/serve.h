/*
 * The worker's loop: it takes RUN records as they come, claims each just before it runs it, and
 * answers with RESULT. What the raylet took back meanwhile is skipped without a word. Runs on the
 * process's main thread, inside drt_init; never returns.
 */
#ifndef SDK_SERVE_H
#define SDK_SERVE_H

#include "sdk/call.h"

/* What the link brought: RUN_CLASS, RUN, LEAVE. True: the arrival is kept. With the lock held. */
bool serve_take(struct arrival *a);
NORETURN void serve(void);

#endif
