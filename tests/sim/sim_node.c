#include "tests/sim/sim_node.h"
#include "tests/sim/sim_head.h"
#include "tests/sim/sim_inside.h"

#include <stdio.h>

#define SCRIPT_LOOKS_NS (200 * NS_PER_MS)

static struct sim_counts *counts(const struct sim_node *n)
{
    return &n->config.world->counts;
}

/* ---- towards the head ---- */

static uint64_t lost_so_far(const struct sim_node *n)
{
    struct mem_network_counts c;

    mem_network_count(n->config.network, &c);
    return c.lost;
}

static void end_of_try(struct sim_node *n)
{
    /* of a greeting only this is known: it was not answered while packets were lost */
    bool greeted = !session_is_up(n->session) && lost_so_far(n) > n->tried_lost;

    if (n->tried_ns != 0 && (n->tried_in_vain || greeted)) {
        uint32_t at = n->missed.next++ % SIM_OUTAGES;
        n->missed.at[at].from_ns = n->tried_ns;
        n->missed.at[at].to_ns = n->now_ns;
    }
    n->tried_ns = 0;
}

/* A renewal, or what stands before it. `lost_before`: packets, before it was sent. */
static void note_try(struct sim_node *n, uint64_t lost_before)
{
    end_of_try(n);
    n->tried_ns = n->now_ns;
    n->tried_lost = lost_before;
    n->tried_in_vain = lost_so_far(n) > lost_before;
}

const struct sim_outages *sim_node_missed(struct sim_node *n)
{
    uint64_t tried_ns = n->tried_ns;

    end_of_try(n); /* until now; it goes on */
    n->tried_ns = tried_ns;
    return &n->missed;
}

static void to_head(void *arg, const struct cluster_msg *m, bool datagram)
{
    struct sim_node *n = arg;
    struct buffer b = {0};
    uint64_t lost = lost_so_far(n);
    int rc;

    if (m->type == CLUSTER_LEAVE) {
        sim_life_leaves(n->config.world, n->rig->node);
    }
    cluster_encode(m, buffer_extend(&b, cluster_size(m)));
    rc = datagram ? session_datagram(n->session, n->now_ns, bytes_of(b.data, b.size))
                  : session_send(n->session, n->now_ns, bytes_of(b.data, b.size));
    ASSERT(rc == 0 || rc == -ENOTCONN || datagram);
    if (m->type == CLUSTER_RENEW && rc == 0) {
        note_try(n, lost);
    }
    buffer_fini(&b);
}

static void from_head(struct sim_node *n, struct bytes data)
{
    struct cluster_msg *m = arena_alloc(&n->rig->arena, sizeof *m);
    void *copy = arena_copy(&n->rig->arena, data.data, data.size);
    const char *why = "";

    if (cluster_decode(bytes_of(copy, data.size), &n->rig->arena, m, &why) != 0) {
        ASSERT(false);
    }
    if (m->type == CLUSTER_JOINED) {
        n->joined = true;
        session_set_number(n->session, m->joined.number);
        if (n->rig->node == 0) {
            sim_life_begins(n->config.world, m->joined.number, n->config.index);
        }
        n->last_number = m->joined.number;
    } else if (m->type == CLUSTER_JOB_ADDED && m->job_added.failure.code == 0) {
        ASSERT(n->job_count < JOBS_MAX);
        n->jobs[n->job_count++] = m->job_added.job;
    }
    rig_head_says(n->rig, m);
}

static void session_says(void *arg, const struct session_event *e)
{
    struct sim_node *n = arg;

    n->poked = true;
    switch (e->kind) {
    case SESSION_UP:
        n->joined = false;
        rig_head(n->rig, true);
        break;
    case SESSION_DOWN:
        rig_head(n->rig, false);
        break;
    case SESSION_MESSAGE:
    case SESSION_DATAGRAM:
        from_head(n, e->data);
        break;
    default:
        break;
    }
}

static int session_sends(void *arg, struct bytes packet)
{
    struct sim_node *n = arg;
    uint64_t lost = lost_so_far(n);
    int rc = n->transport->ops->send(n->transport, TRANSPORT_MEM_ONLY_PEER, packet);

    if (!session_is_up(n->session) || !n->joined) {
        note_try(n, lost);
    }
    return rc;
}

static void on_message(void *arg, uint64_t peer, struct bytes message)
{
    struct sim_node *n = arg;

    (void)peer;
    n->poked = true;
    if (session_receive(n->session, n->now_ns, message) != 0) {
        ASSERT(false);
    }
}

/* The session mends what a lost connection lost: nothing to do for any of these. */
static void on_up(void *arg, uint64_t peer, enum peer_role role)
{
    (void)arg, (void)peer, (void)role;
}

static void on_room(void *arg, uint64_t peer)
{
    (void)arg, (void)peer;
}

static void on_down(void *arg, uint64_t peer, bool refused)
{
    (void)arg, (void)peer, (void)refused;
}

/* ---- programs ---- */

static void on_fetch(void *arg, uint32_t peer, uint64_t job, const uint8_t *hash, uint64_t size)
{
    struct sim_node *n = arg;

    (void)peer, (void)size;
    counts(n)->fetches++;
    for (int i = 0; i < FETCHES_MAX; i++) {
        struct sim_fetch *f = &n->fetches[i];
        if (f->at_ns == 0) {
            f->job = job;
            f->at_ns = n->now_ns + rng_between(n->config.rng, 1, 200) * NS_PER_MS;
            memcpy(f->hash, hash, sizeof f->hash);
            return;
        }
    }
    ASSERT(false); /* each job is fetched at most once at a time */
}

static void on_fetch_stop(void *arg, uint64_t job)
{
    struct sim_node *n = arg;

    for (int i = 0; i < FETCHES_MAX; i++) {
        if (n->fetches[i].job == job) {
            n->fetches[i].at_ns = 0;
        }
    }
}

static void fetches_due(struct sim_node *n)
{
    for (int i = 0; i < FETCHES_MAX; i++) {
        struct sim_fetch *f = &n->fetches[i];
        if (f->at_ns != 0 && f->at_ns <= n->now_ns) {
            bool fails = rng_chance(n->config.rng, n->config.fetch_fails);
            f->at_ns = 0;
            counts(n)->fetch_failures += fails;
            rig_fetched(n->rig, f->job, f->hash, fails ? CODE_PROGRAM : 0);
        }
    }
}

static uint64_t fetches_next_ns(const struct sim_node *n)
{
    uint64_t next = NS_FOREVER;

    for (int i = 0; i < FETCHES_MAX; i++) {
        next = n->fetches[i].at_ns != 0 ? MIN_OF(next, n->fetches[i].at_ns) : next;
    }
    return next;
}

/* ---- life ---- */

struct sim_node *sim_node_new(const struct sim_config *config, uint64_t now_ns)
{
    struct sim_node *n = xcalloc(1, sizeof *n);

    n->config = *config;
    sim_node_start(n, now_ns);
    return n;
}

static void open_rig(struct sim_node *n)
{
    char address[32], labels[16], key[41];
    struct rig_config config = {.name = n->config.name,
                                .cpus = n->config.cpus,
                                .custom = "x",
                                .custom_total = SIM_X,
                                .address = address,
                                .key = key,
                                .labels = labels,
                                .supersedes = n->last_number,
                                .rules_off = n->config.core_off,
                                .seed = rng_next(n->config.rng),
                                .now_ns = n->now_ns,
                                .long_values = n->config.index % 2 == 0,
                                .foreign_value_bytes = (uint64_t)n->config.index % 3 * 60 + 1};

    snprintf(address, sizeof address, "10.0.0.%d:%d", n->config.index + 1,
             SIM_NODE_PORT + n->config.index);
    snprintf(labels, sizeof labels, "box=%d", n->config.index + 1);
    snprintf(key, sizeof key, "%040d", n->config.index + 1);
    n->rig = xmalloc(sizeof *n->rig);
    rig_open(n->rig, &config);
    n->rig->hooks = (struct rig_hooks){.arg = n,
                                       .on_head = to_head,
                                       .on_fetch = on_fetch,
                                       .on_fetch_stop = on_fetch_stop,
                                       .on_value = sim_heard};
    sim_peers_hook(&n->rig->hooks);
}

void sim_node_start(struct sim_node *n, uint64_t now_ns)
{
    struct transport_events events = {on_up, on_message, on_room, on_down, n};
    struct session_owner owner = {session_says, session_sends, n};
    struct session_config session = {.self_life = rng_next(n->config.rng),
                                     .initiator = true,
                                     .seed = rng_next(n->config.rng),
                                     .now_ns = now_ns};

    ASSERT(n->rig == NULL);
    counts(n)->node_starts++;
    n->now_ns = now_ns;
    n->poked = true;
    n->tried_ns = 0;
    open_rig(n);
    memset(n->drivers, 0, sizeof n->drivers);
    memset(n->bodies, 0, sizeof n->bodies);
    memset(n->fetches, 0, sizeof n->fetches);
    n->transport = transport_mem_client_new(n->config.network, SIM_HEAD_PORT, PEER_NODE, &events);
    n->session = session_new(&session, &owner);
    transport_mem_cut(n->transport, n->cut_to, n->cut_from);
    sim_peers_start(n);
}

void sim_node_kill(struct sim_node *n)
{
    if (n->rig == NULL) {
        return;
    }
    n->config.world->strict = false;
    counts(n)->node_kills++;
    for (uint32_t i = 0; i < n->rig->process_count; i++) {
        const struct rig_process *p = &n->rig->processes[i];
        if (p->used && p->worker == 0) {
            sim_job_ends(n->config.world, p->job);
        }
    }
    sim_life_ends(n->config.world, n->rig->node);
    sim_forget_gets(n, NULL);
    sim_peers_stop(n);
    session_free(n->session);
    n->transport->ops->free(n->transport);
    rig_fini(n->rig);
    free(n->rig);
    n->rig = NULL;
}

void sim_node_free(struct sim_node *n)
{
    sim_node_kill(n);
    free(n);
}

const char *sim_node_name(const struct sim_node *n)
{
    return n->config.name;
}

bool sim_node_is_up(const struct sim_node *n)
{
    return n->rig != NULL;
}

uint32_t sim_node_number(const struct sim_node *n)
{
    return n->rig == NULL ? 0 : n->rig->node;
}

void sim_node_cut(struct sim_node *n, bool to, bool from)
{
    n->cut_to = to;
    n->cut_from = from;
    if (n->rig != NULL) {
        transport_mem_cut(n->transport, to, from);
    }
}

bool sim_node_is_cut(const struct sim_node *n)
{
    return n->cut_to || n->cut_from;
}

void sim_node_cut_peer(struct sim_node *n, int other, bool to, bool from)
{
    n->cut_to_peer[other] = to;
    n->cut_from_peer[other] = from;
    if (n->rig != NULL) {
        sim_peers_cut(n);
    }
}

void sim_node_light_fuse(struct sim_node *n, uint64_t strokes)
{
    n->rig->fuse = strokes;
}

uint64_t sim_node_strokes(const struct sim_node *n)
{
    return n->rig == NULL ? 0 : n->rig->strokes;
}

void sim_node_each_job(struct sim_node *n, void (*fn)(uint64_t, void *), void *arg)
{
    for (uint32_t i = 0; i < n->job_count; i++) {
        fn(n->jobs[i], arg);
    }
}

void sim_node_leave(struct sim_node *n)
{
    if (n->rig != NULL) {
        n->poked = true;
        n->config.world->strict = false;
        rig_event(n->rig, EVENT_LEAVE)->limit_ns = rng_below(n->config.rng, 5000) * NS_PER_MS;
    }
}

/* ---- the end ---- */

void sim_node_finish(struct sim_node *n)
{
    n->finishing = true;
}

static uint64_t left(const struct sim_node *n)
{
    struct raylet_counts c;

    raylet_core_count(n->rig->core, &c);
    return c.tasks + c.objects + c.jobs + c.clients + c.classes + c.workers + c.programs +
           rig_pins(n->rig);
}

bool sim_node_is_drained(struct sim_node *n)
{
    struct raylet_counts c;

    if (n->rig == NULL || !n->finishing || n->gets != NULL) {
        return false;
    }
    for (int i = 0; i < SIM_DRIVERS; i++) {
        if (n->drivers[i].process != NULL && !n->drivers[i].drained) {
            return false;
        }
    }
    for (uint32_t i = 0; i < n->rig->process_count; i++) {
        if (n->rig->processes[i].used && n->bodies[i].client == n->rig->processes[i].client &&
            (n->bodies[i].busy || n->bodies[i].kept_count > 0)) {
            return false;
        }
    }
    raylet_core_count(n->rig->core, &c);
    return c.tasks + c.objects == 0;
}

void sim_node_dismiss(struct sim_node *n)
{
    n->dismissed = true;
    n->poked = true;
}

bool sim_node_is_finished(const struct sim_node *n)
{
    if (n->rig == NULL || !n->dismissed) {
        return false;
    }
    for (int i = 0; i < SIM_DRIVERS; i++) {
        if (n->drivers[i].process != NULL) {
            return false;
        }
    }
    return left(n) == 0;
}

static void report_driver(const struct sim_node *n, const struct sim_driver *d)
{
    uint32_t unsettled = 0;
    char text[ID_TEXT_SIZE];

    for (uint32_t i = 0; i < d->count; i++) {
        unsettled += !d->asked[i].settled;
    }
    printf("  a driver: client %u, welcomed %d, %u unsettled\n", d->process->client, d->welcomed,
           unsettled);
    for (uint32_t i = 0, k = 0; i < d->count && k < 4; i++) {
        const struct sim_fact *f = sim_fact(n->config.world, d->asked[i].id);
        if (!d->asked[i].settled) {
            k++;
            printf("    %s, made at %.3f s, begun %u times, asked %d\n",
                   object_id_format(d->asked[i].id, text),
                   f == NULL ? 0.0 : (double)f->made_ns / 1e9, f == NULL ? 0 : f->begun,
                   sim_is_asked(n, d->process, d->asked[i].id));
        }
    }
}

void sim_node_report(struct sim_node *n)
{
    struct raylet_counts c = {0};

    if (n->rig == NULL) {
        printf("%s: down\n", n->config.name);
        return;
    }
    raylet_core_count(n->rig->core, &c);
    printf("%s: number %u, head %d, tasks %llu waiting %llu running %llu objects %llu jobs %llu "
           "clients %llu workers %llu classes %llu programs %llu pins %u\n",
           n->config.name, n->rig->node, n->rig->head_up, (unsigned long long)c.tasks,
           (unsigned long long)c.waiting, (unsigned long long)c.running,
           (unsigned long long)c.objects, (unsigned long long)c.jobs, (unsigned long long)c.clients,
           (unsigned long long)c.workers, (unsigned long long)c.classes,
           (unsigned long long)c.programs, rig_pins(n->rig));
    for (int i = 0; i < SIM_DRIVERS; i++) {
        if (n->drivers[i].process != NULL) {
            report_driver(n, &n->drivers[i]);
        }
    }
    for (uint32_t i = 0; i < n->rig->process_count; i++) {
        const struct rig_process *w = &n->rig->processes[i];
        char text[ID_TEXT_SIZE];
        if (w->used && w->worker != 0 && w->current.returns != 0) {
            printf("  worker %u runs %s, waits %d\n", w->worker,
                   object_id_format(w->current.task, text), n->bodies[i].waits);
        }
    }
}

/* ---- time ---- */

uint64_t sim_node_due_ns(const struct sim_node *n)
{
    return n->next_ns;
}

bool sim_node_is_due(const struct sim_node *n, uint64_t now_ns)
{
    return n->rig != NULL && (n->poked || n->rig->event_count > 0 || n->next_ns <= now_ns);
}

void sim_node_advance(struct sim_node *n, uint64_t now_ns)
{
    n->now_ns = now_ns;
    if (n->rig == NULL) {
        return;
    }
    n->poked = false;
    n->rig->now_ns = now_ns;
    session_tick(n->session, now_ns);
    sim_peers_tick(n);
    fetches_due(n);
    sim_drivers_advance(n);
    sim_bodies_advance(n);
    rig_settle(n->rig);
    sim_peers_flush(n);
    sim_check_gets(n);
    if (n->rig->quits > 0) {
        counts(n)->node_quits++;
        sim_node_kill(n);
    } else if (n->rig->dead) {
        sim_node_kill(n);
    }
    n->next_ns = sim_node_next_ns(n);
}

uint64_t sim_node_next_ns(const struct sim_node *n)
{
    uint64_t next;

    if (n->rig == NULL) {
        return NS_FOREVER;
    }
    if (n->poked || n->rig->event_count > 0) {
        return n->now_ns;
    }
    next = MIN_OF(raylet_core_next_ns(n->rig->core), session_next_ns(n->session));
    next = MIN_OF(next, sim_peers_next_ns(n));
    next = MIN_OF(next, fetches_next_ns(n));
    next = MIN_OF(next,
                  n->config.script != NULL ? n->now_ns + SCRIPT_LOOKS_NS : sim_drivers_next_ns(n));
    return MIN_OF(next, sim_bodies_next_ns(n));
}
