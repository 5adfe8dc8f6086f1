/*
 * The owner's side of references between nodes: for each node, what it holds of our objects, and
 * the values it waits for.
 */
#ifndef RAYLET_CORE_HOLDERS_H
#define RAYLET_CORE_HOLDERS_H

#include "raylet/core_state.h"

void holders_add(struct raylet_core *c, struct foreign_peer *fp, const struct peer_add *m);
void holders_drop(struct raylet_core *c, struct foreign_peer *fp, const struct peer_ids *m);
void holders_want(struct raylet_core *c, struct foreign_peer *fp, const struct peer_ids *m);
/* A WATCH_PEER watcher's object has settled. */
void holders_tell(struct raylet_core *c, const struct watcher *w, struct object *o);
/* A wait of theirs ends without a value: `error`. */
void holders_end_wait(struct raylet_core *c, const struct watcher *w, struct object *o,
                      struct object_error *error);
void holders_session_ends(struct raylet_core *c, struct foreign_peer *fp);
/* Lets go of what this node holds, at most `most`, of one job or (NULL) all. True: there is more.
 */
bool holders_release(struct raylet_core *c, struct foreign_peer *fp, const struct job *job,
                     uint32_t most);
/* Sends what is to be told, sweeps; true if there is more to do at once. */
bool holders_flush(struct raylet_core *c, struct foreign_peer *fp);
void holders_check(const struct foreign_peer *fp);

#endif
