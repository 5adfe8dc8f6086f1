/*
 * What core_foreign, core_holders and core_contents share, and nobody else: their part of a peer,
 * a proxy's other half, who holds what of ours, and what is inside a value.
 */
#ifndef RAYLET_CORE_FOREIGN_STATE_H
#define RAYLET_CORE_FOREIGN_STATE_H

#include "raylet/core_foreign.h"

enum proxy_state { PROXY_COVERED = 1, PROXY_QUEUED, PROXY_ADDING, PROXY_ADDED, PROXY_GONE };

struct proxy {
    struct object object;       /* first: they are one */
    struct foreign_peer *owner; /* NULL: GONE */
    struct list link;           /* fresh, covered, queued or borrowed; none when GONE */
    struct list want_link;      /* want_queue or wanted of its owner */
    struct list waits;          /* struct secure_wait, by at_proxy */
    uint32_t covers;            /* of its holds */
    uint32_t add;               /* ADDING: which ADD of the session */
    uint32_t session;           /* in which it was last sent */
    uint8_t state;
    bool wants;
};

struct secure_wait {
    struct list at_proxy, at_securing;
    struct securing *securing;
};

#define SECURE_CONTAINER UINT32_MAX /* securing.kind of our own */

struct keeping { /* a container that must stay until what is inside is added */
    struct securing securing;
    struct object *container; /* held */
};

struct contents { /* what is inside a value; what other nodes' values hold counts as covered */
    struct object *object; /* NULL: it is freed, and these are being let go */
    struct job *job;
    struct contents *next, **at; /* job->contents */
    struct list link;            /* foreign->letting_go */
    bool covers;
    uint32_t count;
    UT_hash_handle hh;
    struct object *inner[];
};

struct holding { /* an object of ours that a node holds */
    struct object *object;
    uint32_t list; /* the session's list that named it last */
    UT_hash_handle hh;
};

struct holder {       /* a node and a job */
    struct list link; /* foreign_peer->holders */
    struct job *job;
    struct holding *holdings; /* those that were named longest ago first */
};

struct telling { /* a VALUE that is to be sent */
    struct object_id id;
    struct object *object;      /* held; NULL: it is not there, or `error` */
    struct object_error *error; /* NULL: none */
};

struct foreign_peer {
    struct peer *peer;
    struct list busy_link; /* foreign->busy: something is to be sent or done */

    /* we borrow from it */
    struct list covered, borrowed;  /* struct proxy; borrowed: sent in this session, or in the last
                                       while there is none */
    struct list queued;             /* to be sent */
    struct list want_queue, wanted; /* by want_link */
    uint32_t session;               /* counts the OUT sessions */
    uint32_t adds_sent, adds_answered; /* with ids, in this session */
    uint8_t listing;                   /* enum listing: of what we hold already */
    bool list_due; /* its set of ours may be too large: a session is needed only to say so */
    struct object_id *drops;
    uint32_t drop_count, drop_room;
    struct core_timer silence; /* while something is wanted and there is no session */

    /* it borrows from us */
    struct list holders;
    uint32_t list;     /* counts the lists it began */
    bool list_is_open; /* its first came, its last did not */
    bool sweeping;     /* what the last list did not name is being let go */
    uint32_t in_session;
    struct telling *tellings;
    uint32_t telling_first, telling_count, telling_room;
};

enum listing { LIST_DONE = 0, LIST_FIRST, LIST_OPEN };

struct foreign {
    struct slab_pool proxies;
    struct client *clients;    /* pseudo ones, by number and node */
    struct contents *contents; /* by object */
    struct list fresh;         /* proxies to be looked at when the step ends */
    struct list busy;          /* struct foreign_peer */
    struct list letting_go;    /* struct contents */
    struct list kept;          /* struct securing of ours: nothing is missing any more */
    struct object **sent;      /* held while what was sent points into them */
    uint32_t sent_count, sent_room;
    bool more; /* the last flush left work that waits for nothing */
};

static inline struct proxy *proxy_of(struct object *o)
{
    return (o->far & FAR_PROXY) ? container_of(o, struct proxy, object) : NULL;
}

struct foreign_peer *foreign_part(struct raylet_core *c, struct peer *p); /* made if need be */
void foreign_busy(struct raylet_core *c, struct foreign_peer *fp);
/* The ADD of a COVERED one will be sent at the end of the step. */
void proxy_queue(struct raylet_core *c, struct proxy *x);
/* Those that are held and have no cover are queued; what dies is in a list of its owner. */
void foreign_look_at_fresh(struct raylet_core *c);

/* core_holders.c */
void holders_add(struct raylet_core *c, struct foreign_peer *fp, const struct peer_add *m);
void holders_drop(struct raylet_core *c, struct foreign_peer *fp, const struct peer_ids *m);
void holders_want(struct raylet_core *c, struct foreign_peer *fp, const struct peer_ids *m);
void holders_session_ends(struct raylet_core *c, struct foreign_peer *fp);
/* A wait of theirs ends without a value: `error`. */
void holders_end_wait(struct raylet_core *c, const struct watcher *w, struct object *o,
                      struct object_error *error);
/* Lets go of what this node holds, at most `most`, of one job or (NULL) all. True: there is more.
 */
bool holders_release(struct raylet_core *c, struct foreign_peer *fp, const struct job *job,
                     uint32_t most);
/* Sends what is to be told, sweeps; true if there is more to do at once. */
bool holders_flush(struct raylet_core *c, struct foreign_peer *fp);
void holders_check(const struct foreign_peer *fp);

/* core_contents.c */
struct contents *contents_find(const struct raylet_core *c, const struct object *o);
/* Its covers are worth nothing any more: the owner of the container is gone. */
void contents_uncover(struct raylet_core *c, struct object *o);
void contents_detach(struct raylet_core *c, struct contents *k);
/* A bounded step of letting go; true if there is more. */
bool contents_work(struct raylet_core *c);

#endif
