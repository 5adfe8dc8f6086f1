/*
 * The head's address: which one this machine shows to others, and the port that its nodes remember.
 * Blocking, small files; no name is looked up.
 */
#ifndef HEAD_ADDRESS_H
#define HEAD_ADDRESS_H

#include "common/place.h"
#include "proto/keys.h"

/* "10.0.0.5:7420": what `advertise` says, else `bind` where it names one address, else that of the
 * default route (of IPv4 before IPv6), else that of an interface which is up, else loopback. Both
 * may be NULL. */
void address_choose(const char *bind, const char *advertise, uint16_t port,
                    char ret[HOSTPORT_SIZE]);
bool address_is_local(const char *address); /* no other machine reaches it */
/* head.port of the directory: 0 where there is none. */
uint16_t address_remembered_port(const struct place *place);
int address_remember_port(const struct place *place, uint16_t port, struct failure *f) MUST_CHECK;

#endif
