/*
 * What every transport must do, as one suite that knows no transport: a server, some clients, and
 * what they were told. A fixture makes them for one kind of transport. Used by tests only.
 */
#ifndef TESTS_CONTRACT_CONTRACT_H
#define TESTS_CONTRACT_CONTRACT_H

#include "tests/unit/unit.h"

#include "common/bytes.h"
#include "proto/transport.h"

#define CONTRACT_CLIENTS     8
#define CONTRACT_ONLY_PEER   1u /* a client's peer, in every transport */
#define CONTRACT_DEADLINE_NS 10000000000ull

enum contract_kind { CONTRACT_UP = 1, CONTRACT_MESSAGE, CONTRACT_ROOM, CONTRACT_DOWN };

struct contract_event {
    enum contract_kind kind;
    uint64_t peer;
    bool refused;
    uint8_t *data; /* CONTRACT_MESSAGE; owned by the log */
    size_t size;
};

/* One transport, and what it told. */
struct contract_side {
    struct transport *transport; /* NULL: not there */
    struct contract_event *log;
    size_t count, room;
};

struct contract {
    const struct contract_fixture *fixture;
    void *own; /* the fixture's */
    struct contract_side server;
    struct contract_side clients[CONTRACT_CLIENTS];
};

struct contract_fixture {
    const char *name;
    size_t message_max;
    bool reconnects; /* a client finds a restarted server by itself; else it is made anew */
    /* Prepares `own`; server and clients come by the calls below. Asserts. */
    void (*make)(struct contract *c);
    void (*destroy)(struct contract *c);
    /* Fill c->server.transport or c->clients[i].transport, with contract_events of that side. */
    void (*start_server)(struct contract *c);
    void (*start_client)(struct contract *c, unsigned i);
    /* Moves what can be moved, everywhere; waits at most some milliseconds. */
    void (*pump)(struct contract *c);
    /* NULL: nobody can. Somebody who is no peer of ours sends broken bytes in the way of `round`:
     * the server refuses. False: no more ways. */
    bool (*garbage)(struct contract *c, unsigned round);
};

/* What a fixture passes to its transport: everything is written into the side's log. */
struct transport_events contract_events(struct contract_side *side);

/* One of the cases: sessions over the transport, also over the server's death. */
void contract_sessions(struct contract *c);

/* Runs all cases over all fixtures; for main. */
int contract_run(const struct contract_fixture *const *fixtures, size_t count);

#endif
