/*
 * Asks whether anybody listens at a TCP port: connects and closes. "Refused" is an answer of the
 * machine itself: it is there, and the process is not. With a key it also asks whether that one is
 * who it should be (proto/hello.h). Never blocks. On the thread of the loop.
 */
#ifndef PROTO_PROBE_H
#define PROTO_PROBE_H

#include <netinet/in.h>

#include "common/loop.h"

struct hello;

enum probe_answer {
    PROBE_LISTENS = 1,
    PROBE_REFUSED,
    PROBE_SILENT, /* no answer, no way there */
    PROBE_OTHER,  /* with a key: somebody who does not have it */
};

union probe_address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};

struct probe {
    int fd; /* private from here */
    uint64_t deadline_ns;
    struct loop_source source;
    struct hello *hello; /* NULL: there is no key, or it was not yet connected */
    bool connected;
    void (*fn)(struct probe *probe, enum probe_answer answer);
};

/* Begins. `key`: the public one, Z85, of who should be there; NULL: anybody. A probe_answer when it
 * is known at once; 0: `fn` follows, from the loop (if there is one) or probe_tick; -EINVAL for
 * what is no key; -errno. Whoever embeds it frees it after fn was called or probe_stop. */
int probe_start(struct probe *probe, struct loop *loop, const union probe_address *address,
                const char *key, uint64_t deadline_ns,
                void (*fn)(struct probe *, enum probe_answer)) MUST_CHECK;
void probe_tick(struct probe *probe,
                uint64_t now_ns);     /* without a loop: looks; notices the deadline */
void probe_stop(struct probe *probe); /* fine if it is not under way, or zeroed by probe_init */
void probe_init(struct probe *probe);

#endif
