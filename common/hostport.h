/*
 * Addresses as people write them and programs compare them: "10.0.0.5:7420", "box-2:7420",
 * "[2001:db8::5]:7420". Text only: nothing is looked up, nothing blocks.
 */
#ifndef COMMON_HOSTPORT_H
#define COMMON_HOSTPORT_H

#include "common/codes.h"

#define HOSTPORT_HOST_SIZE 256
#define HOSTPORT_SIZE      272 /* "host:port" */

/* "host:port" as it may stand in a file or on a command line; an IPv6 address is in brackets. A
 * missing port becomes `default_port` (0: it must be there). -EINVAL: it is no address, or its port
 * is 0 or above 65535. */
int hostport_parse(const char *text, uint16_t default_port, char ret_host[HOSTPORT_HOST_SIZE],
                   uint16_t *ret_port) MUST_CHECK;
/* Adds brackets where the host is an IPv6 address. */
void hostport_format(const char *host, uint16_t port, char ret[HOSTPORT_SIZE]);

/* The address of an interface, as --bind takes it: an IPv4 or IPv6 address, also in brackets, or
 * what stands for all of them. -EINVAL: neither. */
int hostport_parse_bind(const char *text, char ret_host[HOSTPORT_HOST_SIZE]) MUST_CHECK;
/* Whether what is to be bound is every address of this machine: NULL, "", "*", "0.0.0.0", "::". */
bool hostport_is_any(const char *bind);

/* Whether others can be told this "host" or "host:port" as our address. 0; CODE_SIGNATURE with the
 * sentence: it is none, or no single address. */
int hostport_check_advertise(const char *text, struct failure *f) MUST_CHECK;

/* The one spelling of a host: an IPv4 address that is written as an IPv6 one becomes IPv4, IPv6
 * becomes short and lower-case, a name lower-case. */
void hostport_normalize(const char *host, char ret[HOSTPORT_HOST_SIZE]);
bool hostport_is_numeric(const char *host);  /* not a name */
bool hostport_is_loopback(const char *host); /* 127.0.0.0/8, ::1 */
/* An IPv6 address that has a meaning on one link only, so that nobody else can be told it. */
bool hostport_is_link_local(const char *host);
/* Whether two texts "host:port" name the same, however each of them is spelled. */
bool hostport_same(const char *a, const char *b);

#endif
