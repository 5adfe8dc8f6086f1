#include "raylet/core_sessions.h"

#include "raylet/core_cycles.h"
#include "raylet/core_foreign.h"
#include "raylet/core_guests.h"
#include "raylet/core_home.h"
#include "raylet/core_host.h"
#include "raylet/core_jobs.h"
#include "raylet/core_output.h"
#include "raylet/core_peers.h"

static void down(struct raylet_core *c, struct peer *p, enum peer_side side,
                 const struct raylet_event *e)
{
    bool was_up = peer_is_up(p, side);

    peer_down(c, p, side, e);
    if (side == SIDE_IN) {
        if (was_up) {
            host_peer_down(c, p);
        }
    } else if (was_up || e->refused || e->key_refused) {
        home_peer_down(c, p, e);
    }
    foreign_peer_down(c, p, side, e);
}

static void up(struct raylet_core *c, struct peer *p, enum peer_side side)
{
    static const struct raylet_event replaced = {.kind = EVENT_PEER_DOWN};

    if (peer_is_up(p, side)) { /* a new session in its place: the former one is over */
        down(c, p, side, &replaced);
    }
    peer_up(c, p, side);
    foreign_peer_up(c, p, side);
    if (side == SIDE_OUT) {
        home_peer_up(c, p);
    }
}

static void message(struct raylet_core *c, struct peer *p, enum peer_side side,
                    const struct peer_msg *m)
{
    uint64_t errors = c->protocol_errors;
    bool known = foreign_peer_message(c, p, side, m) || cycles_message(c, p, side, m) ||
                 output_message(c, p, side, m) ||
                 (side == SIDE_OUT ? home_message(c, p, m) || host_home_says(c, p, m)
                                   : host_message(c, p, m));

    if (!known) {
        peer_protocol_error(c, p, side, "a message that is not for this side");
    }
    if (c->protocol_errors != errors) { /* it is closed: what it had here ends */
        static const struct raylet_event closed = {.kind = EVENT_PEER_DOWN};
        down(c, p, side, &closed);
        if (side == SIDE_OUT) {
            p->link = PEER_OFF;
        }
    }
}

void session_event(struct raylet_core *c, const struct raylet_event *e)
{
    struct peer *p = peer_of_session(c, e);

    if (p == NULL) {
        return;
    }
    switch (e->kind) {
    case EVENT_PEER_UP:
        up(c, p, e->side);
        break;
    case EVENT_PEER_MESSAGE:
        if (peer_is_up(p, e->side)) {
            message(c, p, e->side, e->peer_msg);
        } else {
            c->dropped_messages++;
        }
        break;
    case EVENT_PEER_DOWN:
        down(c, p, e->side, e);
        break;
    default:
        p->slow[e->side] = e->ok;
    }
}

/* One whose waiter we know; NULL: none. */
static struct securing *next_secured(struct raylet_core *c)
{
    LIST_FOREACH(at, &c->secured)
    {
        struct securing *s = list_entry(at, struct securing, link);
        if (s->kind == SECURING_ARGS || s->kind == SECURING_RESULT) {
            return s;
        }
    }
    return NULL;
}

static void work_off_secured(struct raylet_core *c)
{
    struct securing *s;

    while ((s = next_secured(c)) != NULL) {
        list_unlink(&s->link);
        if (s->kind == SECURING_ARGS) {
            guest_secured(c, s);
        } else {
            home_secured(c, s);
        }
    }
}

/* They go on waiting, but nobody for them. */
static void tell_unsecured(struct raylet_core *c)
{
    struct list *at;

    while ((at = list_pop(&c->unsecured)) != NULL) {
        struct securing *s = list_entry(at, struct securing, link);
        if (s->kind == SECURING_RESULT) {
            home_unsecured(c, s);
        }
    }
}

/* False: nothing is left of it. */
static bool bury(struct raylet_core *c, struct peer *p)
{
    if (p->link != PEER_OFF || p->in_up || !list_is_empty(&p->lanes)) {
        p->link = PEER_OFF;
        p->in_up = false;
        home_peer_dead(c, p);
        host_peer_down(c, p);
    }
    host_home_dead(c, p->number);
    return foreign_peer_dead(c, p);
}

bool session_work(struct raylet_core *c)
{
    struct peer *p, *next;

    work_off_secured(c);
    tell_unsecured(c);
    host_work(c);
    if (LIKELY(!c->peers_died)) {
        return false;
    }
    c->peers_died = false;
    HASH_ITER(hh, c->peers, p, next)
    {
        if (p->state != PEER_DEAD) {
            continue;
        }
        if (bury(c, p)) {
            c->peers_died = true;
        } else {
            peer_free(c, p);
        }
    }
    return c->peers_died || next_secured(c) != NULL;
}

void session_wind_up(struct raylet_core *c)
{
    for (struct peer *p = c->peers; p != NULL; p = p->hh.next) {
        p->state = PEER_DEAD;
        p->link = PEER_OFF;
        p->in_up = false;
        home_peer_dead(c, p);
        host_peer_down(c, p);
    }
    LIST_FOREACH_SAFE(at, &c->jobs)
    {
        struct job *job = list_entry(at, struct job, link);
        if (job->guest) {
            job_end(c, job, JOB_DONE);
        }
    }
}
