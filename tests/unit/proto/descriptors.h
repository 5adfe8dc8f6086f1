/*
 * What protoc-c made of the messages, by name: the reference that tests and fuzzers hold our codec
 * against.
 */
#ifndef TESTS_UNIT_PROTO_DESCRIPTORS_H
#define TESTS_UNIT_PROTO_DESCRIPTORS_H

#include <protobuf-c/protobuf-c.h>

const ProtobufCMessageDescriptor *descriptor_of(const char *name); /* NULL: no such message */

#endif
