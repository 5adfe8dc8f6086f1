/*
 * One run of a task's body: its arguments, which are read directly from the payload, its results,
 * and how it ended. The worker's loop and the sync mode both run bodies through call_run. A call
 * belongs to the thread that runs it.
 */
#ifndef SDK_CALL_H
#define SDK_CALL_H

#include "sdk/registry.h"
#include "sdk/runtime.h"

#define RESULT_SMALL 64u

enum result_state { RESULT_UNSET = 0, RESULT_VALUE = 1, RESULT_ALIAS = 2, RESULT_TOO_LARGE = 3 };

struct result {
    uint32_t state;
    uint32_t size;                            /* TOO_LARGE: as proto/sentences.h says */
    _Alignas(16) uint8_t small[RESULT_SMALL]; /* size <= RESULT_SMALL */
    void *data;                               /* else; owned, 64-aligned */
    struct drt_ref alias;                     /* a hold of the call's own */
    struct drt_ref *inner;                    /* the same, of what the value holds; owned */
    size_t inner_count;
};

struct drt_call {
    const struct drt_entry_ *entry;
    struct args_view args;
    const struct bytes *needs; /* the values of its DRT_OF arguments */
    size_t need_count;
    uint32_t attempt;
    uint32_t return_count;
    const _Atomic uint32_t *claim; /* the worker's claim word; NULL in sync mode */
    uint64_t deadline_ns;          /* NS_FOREVER: none */
    uint32_t slot;

    /* how it ended */
    int code; /* 0, DRT_E_FAILED, DRT_E_SIGNATURE */
    int app_code;
    struct result *results;
    struct result one;
    char message[512];
};

/* Runs the body; afterwards code, app_code, message and results tell the outcome. The body's scope
 * is still open: call_end closes it and frees the results. */
void call_run(struct drt_call *call, struct body *body);
void call_end(struct drt_call *call, struct body *body);
struct bytes result_value(const struct result *r); /* RESULT_VALUE */

#endif
