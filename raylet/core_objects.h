/*
 * Objects of this raylet: pending until their task or an alias settles them, then a value or an
 * error; kept while anybody holds them; answers to those who asked.
 */
#ifndef RAYLET_CORE_OBJECTS_H
#define RAYLET_CORE_OBJECTS_H

#include "raylet/core_state.h"

/* A pending object, held by its owner. The number must be free. */
struct object *object_new(struct raylet_core *c, struct client *owner, uint64_t number);
/* For core_foreign, which keeps proxies itself. */
void object_init(struct raylet_core *c, struct object *o, struct client *owner, uint64_t number);
/* Ours or a proxy. NULL: never made, or freed. */
struct object *object_find(struct raylet_core *c, struct object_id id);

static inline bool object_is_settled(const struct object *o)
{
    return o->state != OBJECT_PENDING;
}

/* The one that has the value or error: itself, or what it is an alias of. Settled objects only. */
const struct object *object_root(const struct object *o);
struct bytes object_bytes(const struct object *root); /* VALUE */

/* Each settles a pending object, tells who watches, and frees it if nobody holds it. */
void object_settle_value(struct raylet_core *c, struct object *o, struct bytes value);
void object_settle_error(struct raylet_core *c, struct object *o,
                         struct object_error *error); /* takes a reference of its own */
/* It will be what `target` is; at once if that is settled. */
void object_follow(struct raylet_core *c, struct object *o, struct object *target);

/* Answers now if it is settled, else when it is. */
void object_ask(struct raylet_core *c, struct object *o, struct client *client, uint32_t flags);
/* An answer for an id that names nothing that this client may see. */
void object_answer_missing(struct raylet_core *c, struct client *client, struct object_id id,
                           const char *why);
/* To a client by number, if it is still there. */
void object_answer_error(struct raylet_core *c, uint32_t number, struct object_id id,
                         const struct failure *f);
/* A pending object that is this need of a task, whose watcher is the answer; NULL again when it
 * settles. And no longer, with what object_need returned. */
struct watcher *object_need(struct raylet_core *c, struct object *o, struct task *task,
                            uint32_t index);
void object_unneed(struct raylet_core *c, struct watcher *w);
/* Another node waits for this pending object, in this session of its. */
void object_watch_for(struct raylet_core *c, struct object *o, uint32_t node, uint32_t session);
/* To the front of another list of watchers. */
void object_move_watcher(struct watcher *w, struct watcher **to);
/* Nothing holds it: whether a process that lives asked for it and waits. */
bool object_has_gets(struct raylet_core *c, const struct object *o);
void object_end_gets(struct raylet_core *c, struct object *o); /* of those that are gone */

void object_hold(struct object *o);
void object_unhold(struct raylet_core *c, struct object *o);  /* may free it */
void object_release(struct raylet_core *c, struct object *o); /* the owner's hold */

/* All that this client holds: its own (at most `most` of them; true if there are more) and others'.
 */
bool object_release_all(struct raylet_core *c, struct client *client, uint32_t most);
/* What settles as another object does ends so instead: at most `most`; true if there may be more.
 */
bool object_end_following(struct raylet_core *c, struct client *client, struct object_error *error,
                          uint32_t most);
int object_hold_foreign(struct raylet_core *c, struct client *client,
                        struct object *o); /* once each */
void object_release_foreign(struct raylet_core *c, struct client *client, struct object *o);

/* What is gathered for this client becomes messages. */
void object_send_answers(struct raylet_core *c, struct client *client);

#endif
