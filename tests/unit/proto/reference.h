/*
 * protobuf-c as the reference of our codec, for who sees none of its types. Used by tests only.
 */
#ifndef TESTS_UNIT_PROTO_REFERENCE_H
#define TESTS_UNIT_PROTO_REFERENCE_H

#include "common/bytes.h"

/* Whether protobuf-c reads `meta` as this message, and knows every field of it. */
bool reference_accepts(const char *message, struct bytes meta);

#endif
