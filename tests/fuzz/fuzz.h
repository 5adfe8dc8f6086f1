/*
 * A fuzz target: one function that takes any bytes and must neither crash, hang nor leak, as
 * libFuzzer wants it; and seeds, good inputs made by our own code, which mutations begin with.
 * fuzz_main.c drives it in the ordinary suite. Used by tests only.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "common/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Appends seed `i`; false if there are no more. */
bool fuzz_seed(size_t i, struct buffer *ret);

/* For targets whose input is a list of commands: takes what is there, and zeros beyond the end. */
struct fuzz_input {
    const uint8_t *at, *end;
};

static inline bool fuzz_more(const struct fuzz_input *in)
{
    return in->at != in->end;
}

static inline uint64_t fuzz_take(struct fuzz_input *in, size_t size)
{
    uint64_t word = 0;
    size_t there = MIN_OF(size, (size_t)(in->end - in->at));
    memcpy(&word, in->at, there);
    in->at += there;
    return word;
}

static inline struct bytes fuzz_bytes(struct fuzz_input *in, size_t size)
{
    size_t there = MIN_OF(size, (size_t)(in->end - in->at));
    struct bytes bytes = bytes_of(in->at, there);
    in->at += there;
    return bytes;
}

#endif
