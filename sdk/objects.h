/*
 * The references of this process. A reference contains the number of a slot and a serial number
 * that is never used again. So a reference that was released, or that belongs to another process,
 * is refused, and never confused with another one. A slot has 64 bytes. It holds the state of an
 * object, and its value if this has at most 16 bytes. A second hold of the same object (drt_share)
 * is a slot that contains the number of the object's slot. An open scope is a slot, too: it is the
 * head of the ring of references that were received inside. Slots are in chunks, which are freed
 * when they are empty. The functions are not thread-safe: the lock of the runtime protects them.
 * Memory that users see as views of values does not move while the value is held.
 */
#ifndef SDK_OBJECTS_H
#define SDK_OBJECTS_H

#include "common/codes.h"
#include "common/ids.h"
#include "sdk/values.h"

enum slot_kind { SLOT_FREE = 0, SLOT_OBJECT = 1, SLOT_SHARE = 2, SLOT_SCOPE = 3 };

/* What this process knows of an object. Settled: READY and above. */
enum object_state {
    OBJECT_UNASKED = 0,
    OBJECT_ASKED = 1, /* its GET is under way */
    OBJECT_READY = 2, /* it has a value, which is not here */
    OBJECT_FETCH = 3, /* READY, and GET_WHOLE is under way */
    OBJECT_VALUE = 4,
    OBJECT_ERROR = 5,
};

struct slot {
    uint64_t serial;     /* of its reference; 0: it has none (any more) */
    struct object_id id; /* none: only this process knows it */
    union {
        uint8_t small[VALUE_SMALL];    /* size <= VALUE_SMALL */
        void *data;                    /* owned; 64-aligned */
        const struct failure *failure; /* OBJECT_ERROR; shared by equal ones */
    };
    uint32_t size;
    uint32_t chain;                  /* next in the bucket of its id, or free slot */
    uint32_t scope_next, scope_prev; /* 0: in no scope; SLOT_SCOPE: the ring's ends */
    uint32_t holds;                  /* references to this object; SLOT_SHARE: the object's slot;
                                      * SLOT_SCOPE: the scope around it */
    uint8_t kind, state;
    uint8_t foreign; /* not this process's own: its end frees nothing of this process's */
    uint8_t unused;
};

_Static_assert(sizeof(struct slot) == 64, "a reference costs 64 bytes");

#define CHUNK_BITS  10u
#define CHUNK_SLOTS (1u << CHUNK_BITS)

struct chunk;          /* objects.c */
struct shared_failure; /* objects.c */

struct objects {
    struct chunk **chunks;
    uint32_t chunk_count, chunk_room;
    uint32_t open;     /* a chunk with a free slot, UINT32_MAX: none */
    uint32_t spare;    /* empty chunks that are kept */
    uint32_t *buckets; /* of ids; slot numbers, 0: end */
    uint32_t mask;
    size_t indexed;                      /* objects with an id */
    size_t used;                         /* slots */
    struct shared_failure *last_failure; /* many objects fail of one cause */
    uint64_t settled_count;              /* how many were settled since the start */
    size_t unsettled;                    /* own indexed objects whose end is not known here */
    bool owns;       /* SYNC: a value holds the references inside it, here and not at a raylet */
    uint64_t serial; /* the last given out; survives objects_fini */
};

void objects_init(struct objects *o);
void objects_fini(struct objects *o); /* frees all, whatever is held */

/* A new slot with a serial of its own; SLOT_OBJECT has one hold. */
struct slot *slot_new(struct objects *o, enum slot_kind kind, uint32_t *ret_number);
struct slot *slot_at(const struct objects *o, uint32_t number);
void slot_free(struct objects *o, uint32_t number);
struct drt_ref slot_ref(const struct slot *s, uint32_t number);

/* The slot of a reference that is held, NULL if it is none or was released. */
struct slot *objects_find(const struct objects *o, struct drt_ref ref, uint32_t *ret_number);
/* The object behind it. */
struct slot *objects_of(const struct objects *o, struct slot *s, uint32_t *number);

/* Gives an object its id; it is UNASKED. */
void objects_index(struct objects *o, struct slot *s, uint32_t number, struct object_id id);
/* The same for one that somebody else made. */
void objects_index_foreign(struct objects *o, struct slot *s, uint32_t number, struct object_id id);
struct slot *objects_find_id(const struct objects *o, struct object_id id, uint32_t *ret_number);

/* Settles an object that was not; copies. */
void object_set_value(struct objects *o, struct slot *s, struct bytes value);
void object_set_ready(struct objects *o, struct slot *s, uint32_t size);
void object_set_error(struct objects *o, struct slot *s, const struct failure *f);
/* As value, which must be malloc'd 64-aligned and becomes the object's if it is large. */
struct bytes object_value(const struct slot *s);

static inline bool object_is_settled(const struct slot *s)
{
    return s->state >= OBJECT_READY;
}

/* Ends one reference: takes it out of its scope and, with the last hold, drops the object. True:
 * the object is gone, and *ret_id (none if it had no id) is to be released at the raylet. */
bool objects_release(struct objects *o, struct slot *s, uint32_t number, struct object_id *ret_id);
struct drt_ref objects_share(struct objects *o, struct slot *s, uint32_t number,
                             uint32_t *ret_number);

/* ---- scopes: rings through slots ---- */

uint32_t scope_new(struct objects *o, uint32_t around);             /* 0 around: none */
void scope_put(struct objects *o, uint32_t scope, uint32_t number); /* scope 0: in none */
void scope_take(struct objects *o, struct slot *s);                 /* out of the one it is in */

#endif
