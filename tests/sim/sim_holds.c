/*
 * Who waits for what at a simulated node: each GET is answered once, in time, and by what the
 * object is; nobody who holds a reference hears that it was released.
 */
#include "tests/sim/sim_inside.h"

/* Of what is settled. A session that is silent ends within 15 s of a cut, and its waits 2 s later;
 * twice, where the node that is asked asks another one that is cut off first; and then some. */
#define ANSWER_WITHIN_NS (36 * NS_PER_S)
#define LOOK_NS          NS_PER_S

static struct sim_get *get_of(const struct sim_node *n, uint32_t client, struct object_id id)
{
    struct get_key key = {.id = id, .client = client};
    struct sim_get *g;

    HASH_FIND(hh, n->gets, &key, sizeof key, g);
    return g;
}

void sim_ask(struct sim_node *n, struct rig_process *p, struct object_id id, struct sim_cover cover)
{
    struct sim_get *g = get_of(n, p->client, id);

    if (g == NULL) {
        g = xcalloc(1, sizeof *g);
        g->key = (struct get_key){.id = id, .client = p->client};
        g->since_ns = n->now_ns;
        g->cover = cover;
        HASH_ADD(hh, n->gets, key, sizeof g->key, g);
    }
    g->count++;
    sim_tell(n->config.world, id, "%s: process %u asks (home %u, through %u)", n->config.name,
             p->client, cover.home, cover.through);
    rig_get(n->rig, p, id);
}

void sim_pry(struct sim_node *n, struct rig_process *p, struct object_id id)
{
    if (get_of(n, p->client, id) == NULL) {
        rig_hold(n->rig, p, id);
        sim_ask(n, p, id, (struct sim_cover){.job = p->job});
        get_of(n, p->client, id)->pried = true;
        rig_release(n->rig, p, id);
    }
}

void sim_release(struct sim_node *n, struct rig_process *p, struct object_id id)
{
    struct sim_get *g = get_of(n, p->client, id);

    if (g != NULL) {
        g->released = true;
    }
    sim_tell(n->config.world, id, "%s: process %u releases it", n->config.name, p->client);
    rig_release(n->rig, p, id);
}

bool sim_is_asked(const struct sim_node *n, const struct rig_process *p, struct object_id id)
{
    return get_of(n, p->client, id) != NULL;
}

void sim_forget_gets(struct sim_node *n, const struct rig_process *p)
{
    struct sim_get *g, *next;

    HASH_ITER(hh, n->gets, g, next)
    {
        if (p == NULL || g->key.client == p->client) {
            HASH_DEL(n->gets, g);
            free(g);
        }
    }
}

bool sim_is_doubtful(const struct sim_node *n, const struct sim_cover *c)
{
    struct sim_world *w = n->config.world;

    if (c->job != 0 && sim_job_is_over(w, c->job)) {
        return true;
    }
    if (c->home != 0 && c->home != n->rig->node &&
        (sim_is_over(w, c->home) || sim_peers_down_ns(n, c->home) >= c->since_ns)) {
        return true;
    }
    return c->through != 0 && c->through != n->rig->node && sim_is_over(w, c->through);
}

static bool is_alive(const struct sim_node *n, uint32_t client)
{
    for (uint32_t i = 0; i < n->rig->process_count; i++) {
        const struct rig_process *p = &n->rig->processes[i];
        if (p->used && p->alive && p->client == client) {
            return true;
        }
    }
    return false;
}

void sim_check_gets(struct sim_node *n)
{
    struct sim_get *g, *next;
    char text[ID_TEXT_SIZE];

    if (n->now_ns < n->gets_checked_ns + LOOK_NS) {
        return;
    }
    n->gets_checked_ns = n->now_ns;
    HASH_ITER(hh, n->gets, g, next)
    {
        const struct sim_fact *f = sim_fact(n->config.world, g->key.id);
        if (!is_alive(n, g->key.client)) {
            HASH_DEL(n->gets, g);
            free(g);
            continue;
        }
        uint64_t settled = f == NULL ? UINT64_MAX : sim_settled_ns(f);
        uint64_t since = MAX_OF(settled, g->since_ns);
        if (since < n->now_ns && n->now_ns - since > ANSWER_WITHIN_NS) {
            sim_breach(
                n->config.world,
                "%s: process %u asked for %s %.1f s ago, which is settled, and hears nothing",
                n->config.name, g->key.client, object_id_format(g->key.id, text),
                (double)(n->now_ns - since) / 1e9);
        }
    }
}

/* ---- answers ---- */

static bool may_be(const struct sim_world *w, uint32_t code)
{
    switch (code) {
    case 0:
    case CODE_FAILED:
    case CODE_CRASHED:
    case CODE_EXITED:
    case CODE_DEADLINE:
    case CODE_CANCELLED:
    case CODE_IMPOSSIBLE:
    case CODE_NOT_FOUND: /* see check_code */
        return true;
    case CODE_PROGRAM:
        return w->counts.fetch_failures > 0;
    case CODE_CYCLE:
        return w->cycles; /* see check_cycle */
    case CODE_NODE_LOST:
    case CODE_OWNER_LOST:
    case CODE_UNREACHABLE:
    case CODE_UNKNOWN:
        return !w->strict;
    default:
        return false;
    }
}

/* Whether it, or what it is made of, was part of a cycle a moment ago. */
static bool was_stuck(const struct sim_world *w, struct object_id id, int depth)
{
    const struct sim_fact *f = sim_fact((struct sim_world *)(uintptr_t)w, id);
    bool was = f != NULL && f->stuck_ns != 0;

    if (f == NULL || depth > 16) {
        return false;
    }
    was = was || (f->follows.number != 0 && was_stuck(w, f->follows, depth + 1)) ||
          (!object_id_equal(f->task, id) && was_stuck(w, f->task, depth + 1));
    for (uint32_t i = 0; i < f->need_count && !was; i++) {
        was = was_stuck(w, f->needs[i], depth + 1);
    }
    return was;
}

static void check_code(struct sim_node *n, const struct rig_process *p, const struct sim_get *g,
                       const struct failure *failure)
{
    struct sim_world *w = n->config.world;
    uint32_t code = failure == NULL ? 0 : (uint32_t)failure->code;
    const struct sim_fact *f = sim_fact(w, g->key.id);
    char text[ID_TEXT_SIZE];

    object_id_format(g->key.id, text);
    if (g->pried) {
        if (code != CODE_NOT_FOUND) {
            sim_breach(w, "%s: process %u is told of %s, which it does not hold", n->config.name,
                       p->client, text);
        }
        return;
    }
    if (!may_be(w, code)) {
        sim_breach(w, "%s: process %u hears %s of %s: %s", n->config.name, p->client,
                   code_name((int)code), text, failure->message);
    }
    if (code == CODE_CYCLE && !was_stuck(w, g->key.id, 0)) {
        sim_breach(w, "%s: process %u hears of %s, which waits in no cycle: %s", n->config.name,
                   p->client, text, failure->message);
    }
    bool doubtful = g->cover.job != 0 && sim_job_is_over(w, g->cover.job);
    if (!w->strict) {
        doubtful = sim_is_doubtful(n, &g->cover);
    }
    if (code == CODE_NOT_FOUND && !doubtful && !g->released) {
        sim_breach(w, "%s: process %u (%s) holds %s and hears: %s", n->config.name, p->client,
                   p->worker != 0 ? "a worker" : "a driver", text, failure->message);
    }
    if (code == CODE_OWNER_LOST && f != NULL && f->tries == 0 && !sim_is_over(w, g->key.id.node)) {
        sim_breach(w, "%s: process %u hears that the owner of %s is lost, which lives",
                   n->config.name, p->client, text);
    }
}

void sim_heard(void *node, struct rig_process *p, const struct local_value *v, struct bytes bytes,
               const struct failure *failure)
{
    struct sim_node *n = node;
    struct sim_get *g = get_of(n, p->client, v->id);
    struct sim_driver *d = sim_driver_of(n, p);
    char text[ID_TEXT_SIZE];

    if (g == NULL || (v->state != VALUE_HERE && v->state != VALUE_ERROR)) {
        sim_breach(n->config.world, "%s: process %u hears of %s (state %u) what it did not ask",
                   n->config.name, p->client, object_id_format(v->id, text), v->state);
    }
    sim_tell(n->config.world, v->id, "%s: process %u hears %s", n->config.name, p->client,
             failure == NULL ? "a value" : code_name(failure->code));
    n->answers++;
    check_code(n, p, g, failure);
    if (!g->pried) {
        sim_seen(n->config.world, v->id, failure == NULL ? 0 : (uint32_t)failure->code, bytes);
    }
    n->config.world->counts.foreign_reads += v->id.node != n->rig->node;
    if (--g->count == 0) {
        HASH_DEL(n->gets, g);
        free(g);
    }
    if (d != NULL) {
        uint32_t refs = failure != NULL || bytes.size <= 8 ? 0 : (uint32_t)(bytes.size - 8) / 16;
        struct object_id ids[REFS_MAX];
        refs = MIN_OF(refs, REFS_MAX);
        memcpy(ids, (const uint8_t *)bytes.data + (refs > 0 ? 8 : 0), refs * sizeof *ids);
        sim_driver_hears(n, d, v->id, failure == NULL ? 0 : (uint32_t)failure->code, ids, refs);
    }
}
