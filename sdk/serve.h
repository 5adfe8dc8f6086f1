/*
 * The worker's loop. It takes RUN records, claims each one just before it runs it, and answers with
 * RESULT. Tasks that the raylet took back in the meantime are skipped without an answer. It runs on
 * the main thread of the process, inside drt_init, and never returns.
 */
#ifndef SDK_SERVE_H
#define SDK_SERVE_H

#include "sdk/call.h"

/* What the link brought: RUN_CLASS, RUN, LEAVE. True: the arrival is kept. With the lock held. */
bool serve_take(struct arrival *a);
NORETURN void serve(void);

#endif
