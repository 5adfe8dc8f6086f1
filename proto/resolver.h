/*
 * Which numeric addresses stand behind "host:port" texts, asked on a thread of its own: a name
 * server may take half a minute, and the loop must not wait. What is numeric needs no thread.
 * Everything else here is on the loop's thread.
 */
#ifndef PROTO_RESOLVER_H
#define PROTO_RESOLVER_H

#include "common/hostport.h"
#include "common/loop.h"
#include "proto/probe.h"

#define RESOLVER_TEXTS_MAX     16u
#define RESOLVER_ADDRESSES_MAX 64u /* of all names of one question; further ones are left out */

/* What is asked. `find`, if not NULL, is called on the thread and adds texts that only a file knows
 * by then; `place` is for it alone. How many it wrote, at most `room`. */
struct resolver_wish {
    const char *const *texts; /* "host:port"; those that are none are left out */
    size_t count;
    size_t (*find)(const char *place, char (*ret)[HOSTPORT_SIZE], size_t room);
    const char *place;
    bool find_first; /* its texts come before the others */
};

struct resolver_answer {
    union probe_address
        addresses[RESOLVER_ADDRESSES_MAX]; /* each once, in the order of the texts */
    size_t count;
};

struct resolver;
struct resolver_job;

/* Embedded by who asks; zeroed at first. */
struct resolver_question {
    void (*fn)(struct resolver_question *q, const struct resolver_answer *answer);
    struct resolver_job *job; /* private; NULL: nothing is asked */
};

/* The thread begins with the first question. -errno */
int resolver_new(struct loop *loop, struct resolver **ret) MUST_CHECK;
/* Does not wait: what is still being asked ends by itself, and nobody hears of it. All questions
 * were answered or dropped before. NULL is fine. */
void resolver_free(struct resolver *r);

/* `fn` follows from the loop. -errno: it could not be asked */
int resolver_ask(struct resolver *r, struct resolver_question *q,
                 const struct resolver_wish *wish) MUST_CHECK;
void resolver_drop(
    struct resolver_question *q); /* `fn` does not follow; fine if nothing is asked */
bool resolver_is_asking(const struct resolver_question *q);

/* The same, at once: may block. */
void resolver_ask_now(const struct resolver_wish *wish, struct resolver_answer *ret);
/* What needs no look-up: true if all texts are numeric and there is no `find`. Never blocks. */
bool resolver_is_plain(const struct resolver_wish *wish);

#endif
