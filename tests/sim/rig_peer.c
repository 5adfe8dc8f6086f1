#include "tests/sim/rig_peer.h"

#include <stdio.h>

struct peer_msg *rig_peer_copy(struct arena *arena, const struct peer_msg *m)
{
    size_t size = peer_size(m);
    uint8_t *bytes = arena_alloc(arena, size);
    struct peer_msg *copy = arena_alloc(arena, sizeof *copy);
    const char *why = "";

    peer_encode(m, bytes);
    if (peer_decode(bytes_of(bytes, size), arena, copy, &why) != 0) {
        ASSERT(false); /* what it sends can be read */
    }
    return copy;
}

static void keep(struct rig *r, const struct raylet_effect *e)
{
    ASSERT(r->sent_count < RIG_SENT_MAX);
    r->sent[r->sent_count++] = (struct rig_sent){
        .peer = e->peer, .side = e->side, .m = rig_peer_copy(&r->sent_arena, e->peer_msg)};
}

void rig_peer_effect(struct rig *r, const struct raylet_effect *e)
{
    const struct rig_hooks *h = &r->hooks;

    switch (e->kind) {
    case EFFECT_PEER_OPEN:
        r->peer_opens++;
        if (h->on_peer_open != NULL) {
            h->on_peer_open(h->arg, e->peer, e->address, e->key);
        }
        break;
    case EFFECT_PEER_CLOSE:
        r->peer_closes++;
        snprintf(r->close_reason, sizeof r->close_reason, "%.127s",
                 e->failure == NULL ? "" : e->failure->message);
        if (h->on_peer_close != NULL) {
            h->on_peer_close(h->arg, e->peer, e->side);
        }
        break;
    default:
        if (h->on_peer_send != NULL) {
            h->on_peer_send(h->arg, e->peer, e->side, e->peer_msg);
        } else {
            keep(r, e);
        }
    }
}

void rig_peer_up(struct rig *r, uint32_t peer, enum peer_side side)
{
    struct raylet_event *e = rig_event(r, EVENT_PEER_UP);

    e->peer = peer;
    e->side = side;
}

void rig_peer_down(struct rig *r, uint32_t peer, enum peer_side side, bool refused)
{
    struct raylet_event *e = rig_event(r, EVENT_PEER_DOWN);

    e->peer = peer;
    e->side = side;
    e->refused = refused;
}

void rig_peer_says(struct rig *r, uint32_t peer, enum peer_side side, const struct peer_msg *m)
{
    struct raylet_event *e = rig_event(r, EVENT_PEER_MESSAGE);

    e->peer = peer;
    e->side = side;
    e->peer_msg = m;
}

struct peer_msg *rig_peer_message(struct rig *r, uint32_t peer, enum peer_side side,
                                  enum peer_type type)
{
    struct peer_msg *m = arena_alloc(&r->arena, sizeof *m);

    memset(m, 0, sizeof *m);
    m->type = type;
    rig_peer_says(r, peer, side, m);
    return m;
}

const struct peer_msg *rig_sent(struct rig *r, uint32_t peer, enum peer_side side,
                                enum peer_type type)
{
    for (uint32_t i = 0; i < r->sent_count; i++) {
        struct rig_sent *s = &r->sent[i];
        if (!s->seen && s->peer == peer && s->side == side && s->m->type == type) {
            s->seen = true;
            return s->m;
        }
    }
    return NULL;
}

static struct cluster_view_node *view_of(struct rig *r, uint32_t number, enum node_state state)
{
    struct cluster_msg *m = arena_alloc(&r->arena, sizeof *m);
    struct cluster_view_node *n = arena_alloc(&r->arena, sizeof *n);

    memset(m, 0, sizeof *m);
    memset(n, 0, sizeof *n);
    m->type = CLUSTER_VIEW;
    m->view.nodes = n;
    m->view.node_count = 1;
    n->number = number;
    n->state = state;
    n->name = n->labels = "";
    n->address = "127.0.0.1:7422";
    n->public_key = "";
    rig_event(r, EVENT_HEAD_MESSAGE)->head = m;
    return n;
}

void rig_view(struct rig *r, uint32_t number, const char *name, int cpus)
{
    struct cluster_view_node *n = view_of(r, number, NODE_ALIVE);
    struct cluster_amount *amount = arena_alloc(&r->arena, sizeof *amount);
    int64_t units = (int64_t)cpus * RESOURCE_UNIT;

    *amount = (struct cluster_amount){"CPU", units, units};
    n->name = name;
    n->amounts = amount;
    n->amount_count = 1;
}

void rig_view_dead(struct rig *r, uint32_t number)
{
    (void)view_of(r, number, NODE_LOST);
}
