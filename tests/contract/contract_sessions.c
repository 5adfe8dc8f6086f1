#include "tests/contract/contract.h"

#include "common/clock.h"
#include "proto/session.h"

/*
 * Sessions over the transport at hand: several clients speak with the server, which sends back what
 * comes; then the server dies and another one takes its place.
 */

#define CLIENTS  3u
#define MESSAGES 400u

struct talk;

struct party {
    struct talk *talk;
    struct contract_side *side;
    uint64_t peer; /* in its transport; 0: not known yet */
    struct session *session;
    bool up, echoes, wrong_order;
    unsigned ups, downs;
    uint64_t sent, received; /* of this session, from 1 */
};

struct talk {
    struct contract *contract;
    uint64_t lives;
    size_t seen[CLIENTS + 1]; /* how much of each log was taken; the last is the server's */
    struct party clients[CLIENTS], servers[CLIENTS];
};

static void say(struct party *p)
{
    uint8_t data[600] = {0};
    uint64_t number = p->sent + 1;
    memcpy(data, &number, sizeof number);
    struct bytes message = bytes_of(data, 8 + number * 7 % 500);
    if (session_send(p->session, clock_now_ns(), message) == 0) {
        p->sent = number;
    }
}

static void on_event(void *arg, const struct session_event *event)
{
    struct party *p = arg;
    uint64_t number = 0;
    switch (event->kind) {
    case SESSION_UP:
        p->up = true;
        p->ups++;
        p->sent = p->received = 0;
        break;
    case SESSION_DOWN:
        p->up = false;
        p->downs++;
        break;
    case SESSION_MESSAGE:
        memcpy(&number, event->data.data, sizeof number);
        p->wrong_order |= number != p->received + 1;
        p->received = number;
        if (p->echoes) {
            say(p);
        }
        break;
    default:
        break;
    }
}

static int on_packet(void *arg, struct bytes packet)
{
    struct party *p = arg;
    struct transport *t = p->side->transport;
    return t == NULL || p->peer == 0 ? -ENOTCONN : t->ops->send(t, p->peer, packet);
}

static void party_start(struct talk *talk, struct party *p, struct contract_side *side,
                        uint64_t peer, bool initiator)
{
    struct session_config config = {.self = initiator ? 5 : SESSION_NUMBER_HEAD,
                                    .self_life = ++talk->lives,
                                    .initiator = initiator,
                                    .seed = talk->lives,
                                    .now_ns = clock_now_ns()};
    struct session_owner owner = {on_event, on_packet, p};
    session_free(p->session);
    *p = (struct party){.talk = talk, .side = side, .peer = peer, .echoes = !initiator};
    p->session = session_new(&config, &owner);
}

static struct party *server_party(struct talk *talk, uint64_t peer)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct party *p = &talk->servers[i];
        if (p->session == NULL) {
            party_start(talk, p, &talk->contract->server, peer, false);
        }
        if (p->peer == peer) {
            return p;
        }
    }
    return NULL;
}

static void take_event(struct talk *talk, unsigned side, const struct contract_event *event)
{
    struct party *p = side < CLIENTS ? &talk->clients[side] : server_party(talk, event->peer);
    assert_non_null(p);
    if (event->kind == CONTRACT_UP) {
        session_hurry(p->session, clock_now_ns());
    } else if (event->kind == CONTRACT_MESSAGE) {
        assert_int_equal(
            session_receive(p->session, clock_now_ns(), bytes_of(event->data, event->size)), 0);
    }
}

static void turn(struct talk *talk)
{
    struct contract *c = talk->contract;
    c->fixture->pump(c);
    for (unsigned i = 0; i <= CLIENTS; i++) {
        struct contract_side *side = i < CLIENTS ? &c->clients[i] : &c->server;
        while (talk->seen[i] < side->count) {
            take_event(talk, i, &side->log[talk->seen[i]++]);
        }
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct party *both[] = {&talk->clients[i], &talk->servers[i]};
        for (unsigned k = 0; k < 2; k++) {
            if (both[k]->session != NULL) {
                session_tick(both[k]->session, clock_now_ns());
            }
        }
    }
}

static void await_received(struct talk *talk, unsigned ups, uint64_t received)
{
    uint64_t deadline_ns = clock_now_ns() + CONTRACT_DEADLINE_NS;
    for (bool done = false; !done;) {
        assert_true(clock_now_ns() < deadline_ns);
        turn(talk);
        done = true;
        for (unsigned i = 0; i < CLIENTS; i++) {
            const struct party *p = &talk->clients[i];
            done = done && p->up && p->ups == ups && p->received >= received;
        }
    }
}

static void talk_all(struct talk *talk, unsigned ups)
{
    await_received(talk, ups, 0);
    for (unsigned n = 0; n < MESSAGES; n++) {
        for (unsigned i = 0; i < CLIENTS; i++) {
            say(&talk->clients[i]);
        }
    }
    await_received(talk, ups, MESSAGES);
    for (unsigned i = 0; i < CLIENTS; i++) {
        assert_int_equal(talk->clients[i].received, MESSAGES);
        assert_false(talk->clients[i].wrong_order || talk->servers[i].wrong_order);
        assert_int_equal(talk->servers[i].received, MESSAGES);
    }
}

void contract_sessions(struct contract *c)
{
    struct talk talk = {.contract = c};
    for (unsigned i = 0; i < CLIENTS; i++) {
        c->fixture->start_client(c, i);
        party_start(&talk, &talk.clients[i], &c->clients[i], CONTRACT_ONLY_PEER, true);
    }
    talk_all(&talk, 1);
    if (c->fixture->reconnects) {
        c->server.transport->ops->free(c->server.transport);
        c->server.transport = NULL;
        for (unsigned i = 0; i < CLIENTS; i++) {
            session_free(talk.servers[i].session);
            talk.servers[i] = (struct party){0};
        }
        talk.seen[CLIENTS] = c->server.count;
        c->fixture->start_server(c);
        talk_all(&talk, 2);
        assert_int_equal(talk.clients[0].downs, 1);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        session_free(talk.clients[i].session);
        session_free(talk.servers[i].session);
    }
}
