/*
 * What is said of a task that asks for more than a message takes, or that leaves a result out. The
 * library says it in sync mode and a raylet otherwise, in the same words. Pure.
 */
#ifndef PROTO_SENTENCES_H
#define PROTO_SENTENCES_H

#include <stddef.h>
#include <stdint.h>

#define SENTENCE_SIZE 512u /* with its terminator: what a failure's message takes */

/* What a result that is too large tells of itself in local_return.size: its size (UINT32_MAX: or
 * more) if that is above VALUE_MAX; if it is below, it does not fit beside the others; 0: the
 * results hold too many references together. */
#define RESULT_HOLDS_TOO_MANY 0u

void sentence_arguments_large(const char *task, size_t bytes, char ret[SENTENCE_SIZE]);
void sentence_arguments_hold(const char *task, size_t references, char ret[SENTENCE_SIZE]);
void sentence_result_large(const char *task, uint32_t index, uint32_t size,
                           char ret[SENTENCE_SIZE]);
void sentence_result_unset(const char *task, uint32_t index, char ret[SENTENCE_SIZE]);

#endif
