/*
 * Programs on their ways: between drivers of this node, its store, other nodes' raylets and the
 * core. Who is asked and what is stored is the matter of raylet/programs.h, fetch.h and giver.h,
 * which this connects.
 */
#ifndef RAYLET_EXCHANGE_H
#define RAYLET_EXCHANGE_H

#include "raylet/parts.h"

/* Makes programs, fetch and giver. `store_dir` exists. The thread and the names outlive them. */
void exchange_open(struct parts *p, struct offload *offload, const char *store_dir,
                   const char *node_name);
/* What takes long is given up: offload_free follows, then exchange_free. */
void exchange_close(struct parts *p);
void exchange_free(struct parts *p);

/* For the peers' callbacks; `arg` is the struct parts. */
void exchange_on_message(void *arg, uint32_t peer, enum peer_side side, const struct peer_msg *m);
void exchange_on_session_end(void *arg, uint32_t peer, enum peer_side side);

#endif
