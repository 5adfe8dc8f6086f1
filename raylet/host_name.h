/* What a node is called that was given no name: as its machine, as far as that can be a name. Pure.
 */
#ifndef RAYLET_HOST_NAME_H
#define RAYLET_HOST_NAME_H

#include "common/base.h"

/* The first part of `host` as a node's name: bytes that no name has become '-', one for each run of
 * them; "node" where nothing is left. False: it is not what the host is called. */
bool host_name_make(const char *host, char ret[64]);

#endif
