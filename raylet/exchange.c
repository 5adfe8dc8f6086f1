#include "raylet/exchange.h"

#include "common/clock.h"

static bool program_loaded(void *arg, uint32_t client, uint32_t program, const struct failure *f)
{
    struct parts *p = arg;
    if (!clients_is_open(p->clients, client)) {
        return false;
    }
    struct raylet_event *event = events_add(&p->events, EVENT_PROGRAM);
    event->client = client;
    event->program = program;
    event->ok = f == NULL;
    event->failure = events_failure(&p->events, f);
    uint8_t hash[PROGRAMS_HASH_SIZE];
    if (f == NULL && programs_identity(p->programs, program, hash, &event->size)) {
        event->hash = arena_copy(&p->events.arena, hash, sizeof hash);
    }
    return true;
}

static bool is_wanted(void *arg, uint32_t client)
{
    const struct parts *p = arg;
    return clients_is_open(p->clients, client);
}

static void program_fetched(void *arg, uint64_t job, uint32_t program, const struct failure *f)
{
    struct parts *p = arg;
    struct raylet_event *event = events_add(&p->events, EVENT_PROGRAM_FETCHED);
    event->job = job;
    event->program = program;
    event->failure = events_failure(&p->events, f);
}

/* We asked in a session that is theirs, and answer in one that is ours. Parts that are read while
 * the raylet ends go nowhere. */
static void send_program_get(void *arg, uint32_t peer, const struct peer_msg *m)
{
    struct parts *p = arg;
    if (p->peers != NULL) {
        peer_link_send(p->peers, peer, SIDE_IN, m);
    }
}

static void send_program_part(void *arg, uint32_t peer, const struct peer_msg *m)
{
    struct parts *p = arg;
    if (p->peers != NULL) {
        peer_link_send(p->peers, peer, SIDE_OUT, m);
    }
}

void exchange_on_message(void *arg, uint32_t peer, enum peer_side side, const struct peer_msg *m)
{
    struct parts *p = arg;
    if (m->type == PEER_PROGRAM_GET && side == SIDE_OUT) {
        giver_get(p->giver, peer, &m->program_get);
    } else if (m->type == PEER_PROGRAM_PART && side == SIDE_IN) {
        fetch_part(p->fetch, clock_now_ns(), peer, m);
    }
}

void exchange_on_session_end(void *arg, uint32_t peer, enum peer_side side)
{
    struct parts *p = arg;
    if (side == SIDE_IN) {
        fetch_down(p->fetch, clock_now_ns(), peer);
    } else {
        giver_down(p->giver, peer);
    }
}

void exchange_open(struct parts *p, struct offload *offload, const char *store_dir,
                   const char *node_name)
{
    p->programs = programs_new(
        offload, store_dir,
        &(struct programs_owner){.on_loaded = program_loaded, .is_wanted = is_wanted, .arg = p});
    p->fetch = fetch_new(&(struct fetch_config){
        .offload = offload,
        .programs = p->programs,
        .node_name = node_name,
        .send = send_program_get,
        .on_fetched = program_fetched,
        .arg = p,
    });
    p->giver = giver_new(&(struct giver_config){
        .offload = offload,
        .programs = p->programs,
        .node_name = node_name,
        .send = send_program_part,
        .arg = p,
    });
}

void exchange_close(struct parts *p)
{
    if (p->programs != NULL) {
        fetch_close(p->fetch);
        giver_close(p->giver);
        programs_close(p->programs);
    }
}

void exchange_free(struct parts *p)
{
    fetch_free(p->fetch);
    giver_free(p->giver);
    programs_free(p->programs);
}
