#include "proto/sentences.h"

#include <stdio.h>

#include "proto/message.h"
#include "proto/peer.h"

void sentence_arguments_large(const char *task, size_t bytes, char ret[SENTENCE_SIZE])
{
    snprintf(ret, SENTENCE_SIZE,
             "The arguments of %s have %zu bytes together, and a task takes at most %u. Put large "
             "values with drt_put, pass them with drt_ref_itself, and get them in the task; or let "
             "several tasks take some of them each.",
             task, bytes, MESSAGE_PAYLOAD_MAX);
}

void sentence_arguments_hold(const char *task, size_t references, char ret[SENTENCE_SIZE])
{
    snprintf(ret, SENTENCE_SIZE,
             "The arguments of %s hold %zu references together, and a task takes at most %u. Let "
             "several tasks take some of them each.",
             task, references, PEER_REFS_MAX);
}

void sentence_result_large(const char *task, uint32_t index, uint32_t size, char ret[SENTENCE_SIZE])
{
    if (size == RESULT_HOLDS_TOO_MANY) {
        snprintf(ret, SENTENCE_SIZE,
                 "Result %u of %s holds too many references: the results of a task hold at most %u "
                 "together. Put some of them into an object with drt_put_holding, and return a "
                 "reference to that.",
                 (unsigned)index, task, PEER_REFS_MAX);
    } else if (size <= VALUE_MAX) {
        snprintf(ret, SENTENCE_SIZE,
                 "Result %u of %s does not fit beside the others: the results of a task have at "
                 "most %u bytes together. Return large ones as objects of their own, with "
                 "drt_return_at(call, %u, drt_of(drt_put(value))).",
                 (unsigned)index, task, MESSAGE_PAYLOAD_MAX, (unsigned)index);
    } else {
        snprintf(ret, SENTENCE_SIZE,
                 "Result %u of %s has %s%u bytes, and a value has at most %u. Return it in several "
                 "results, or write it to a file and return the file's name.",
                 (unsigned)index, task, size == UINT32_MAX ? "more than " : "", (unsigned)size,
                 VALUE_MAX);
    }
}

void sentence_result_unset(const char *task, uint32_t index, char ret[SENTENCE_SIZE])
{
    snprintf(ret, SENTENCE_SIZE,
             "%s ended without setting its result %u. Set each result with drt_return_at.", task,
             (unsigned)index);
}
