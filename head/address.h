/*
 * The head's address: which one this machine shows to others, and the port that its nodes remember.
 * Blocking, small files.
 */
#ifndef HEAD_ADDRESS_H
#define HEAD_ADDRESS_H

#include "common/place.h"
#include "proto/keys.h"

/* "10.0.0.5:7420": of `bind` where it names one, else of the default route, else loopback. */
void address_format(const char *bind, uint16_t port, char ret[HOSTPORT_SIZE]);
/* head.port of the directory: 0 where there is none. */
uint16_t address_remembered_port(const struct place *place);
int address_remember_port(const struct place *place, uint16_t port, struct failure *f) MUST_CHECK;

#endif
