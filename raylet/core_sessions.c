#include "raylet/core_sessions.h"

#include "raylet/core_foreign.h"
#include "raylet/core_peers.h"

static void message(struct raylet_core *c, struct peer *p, enum peer_side side,
                    const struct peer_msg *m)
{
    if (!foreign_peer_message(c, p, side, m)) {
        c->dropped_messages++;
    }
}

void session_event(struct raylet_core *c, const struct raylet_event *e)
{
    struct peer *p = peer_of_session(c, e->peer, e->side);

    if (p == NULL) {
        return;
    }
    switch (e->kind) {
    case EVENT_PEER_UP:
        peer_up(c, p, e->side);
        foreign_peer_up(c, p, e->side);
        break;
    case EVENT_PEER_MESSAGE:
        if (peer_is_up(p, e->side)) {
            message(c, p, e->side, e->peer_msg);
        } else {
            c->dropped_messages++;
        }
        break;
    case EVENT_PEER_DOWN:
        peer_down(c, p, e->side, e);
        foreign_peer_down(c, p, e->side, e);
        break;
    default:
        p->slow[e->side] = e->ok;
    }
}

bool session_work(struct raylet_core *c)
{
    struct peer *p, *next;

    if (!c->peers_died) {
        return false;
    }
    c->peers_died = false;
    HASH_ITER(hh, c->peers, p, next)
    {
        if (p->state != PEER_DEAD) {
            continue;
        }
        if (foreign_peer_dead(c, p)) {
            c->peers_died = true;
        } else {
            peer_free(c, p);
        }
    }
    return c->peers_died;
}
