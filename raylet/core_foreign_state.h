/*
 * What core_contents, core_holders and core_foreign share, and nobody else: their part of a peer, a
 * proxy's other half, who holds what of ours, and what is inside a value.
 */
#ifndef RAYLET_CORE_FOREIGN_STATE_H
#define RAYLET_CORE_FOREIGN_STATE_H

#include "raylet/core_state.h"

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
    bool lost; /* GONE: with its owner */

    /* core_cache */
    bool had_value;         /* its value was here, and may be fetched again */
    struct list cache_link; /* used or orphans */
    uint32_t tasks;         /* that have room, and need it */
    uint32_t aliases;       /* objects of ours with its value */
    uint32_t needed, used;  /* bytes, as counted there */
    uint32_t orphaned;      /* of `used` */
};

struct securing;

struct secure_wait {
    struct list at_proxy, at_securing;
    struct list at_owner; /* foreign_peer->waits */
    struct securing *securing;
};

struct contents { /* what is inside a value; what other nodes' values hold counts as covered */
    struct object *object; /* NULL: it is freed, and these are being let go */
    struct job *job;
    struct contents *next, **at; /* job->contents */
    struct list link;            /* foreign->letting_go */
    bool covers;
    bool sorted; /* `inner`: once somebody asked what is inside */
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
    struct object *object;      /* held; NULL: `error`, or it is not there */
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
    struct list waits;              /* struct secure_wait, by at_owner */
    uint32_t session;               /* counts the OUT sessions */
    uint32_t adds_sent, adds_answered; /* with ids, in this session */
    uint8_t listing;                   /* enum listing: of what we hold already */
    bool told;                         /* something was added there, in any session */
    bool list_due; /* its set of ours may be too large: a session is needed only to say so */
    struct object_id *drops;
    uint32_t drop_count, drop_room;
    struct core_timer silence; /* while something is wanted and there is no session */

    /* it borrows from us */
    struct list holders;
    uint32_t list; /* counts the lists it began */
    bool sweeping; /* what the last list did not name is being let go */
    uint32_t in_session;
    struct telling *tellings;
    uint32_t telling_first, telling_count, telling_room;
};

struct cache { /* values of other nodes' objects */
    uint64_t most_bytes, needed_bytes, used_bytes;
    uint64_t orphaned_bytes; /* of used_bytes */
    struct list used;        /* struct proxy: those that may go, the last used at the end */
    struct list orphans;     /* the same, without an owner that would send them again */
    struct list crowd;       /* struct task_extra: those that wait for room */
    bool look;               /* whether the first of them has it now */
    struct core_timer timer;
    uint64_t stuck_ns; /* how long none of those inside may end before one more is let in */
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
    struct cache cache;
    /* Ends a task whose argument cannot be had, and with it its watchers. */
    void (*fail_task)(struct raylet_core *c, struct task *t, struct object_error *error);
    bool more; /* the last flush left work that waits for nothing */
};

static inline struct proxy *proxy_of(struct object *o)
{
    return (o->far & FAR_PROXY) ? container_of(o, struct proxy, object) : NULL;
}

static inline void foreign_busy(struct raylet_core *c, struct foreign_peer *fp)
{
    if (list_is_empty(&fp->busy_link)) {
        list_append(&c->foreign->busy, &fp->busy_link);
    }
}

#endif
