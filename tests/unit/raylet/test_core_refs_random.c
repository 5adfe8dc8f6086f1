/*
 * Three raylets that borrow from one another at random, while sessions come and go and messages lie
 * about: whoever holds a reference by the rules finds its object, whatever crosses what; and when
 * all is released, nothing is left anywhere.
 */
#include "tests/unit/raylet/scene.h"

#include "common/rng.h"
#include "tests/sim/rig_peer.h"

#define NODES     3u
#define OBJECTS   24u
#define TRANSFERS 32u
#define INNER     2u
#define SEEDS     300u
#define MOVES     400u
#define KIND      99u /* of securing: none that the core knows */

struct letter { /* in a session: a message of the core, or (m NULL) of a transfer */
    struct list link;
    struct arena arena;
    struct peer_msg *m;
    uint32_t transfer;
};

struct session { /* OUT at one node, IN at the other */
    bool wanted, up;
    bool told[2];           /* each side heard of its end; up again only then */
    struct list letters[2]; /* by the side that sends */
};

struct thing {
    struct object_id id;
    uint32_t owner;
    bool lawful;           /* nobody who vouched for it was cut off */
    bool held[NODES];      /* by the driver there */
    uint32_t inner[INNER]; /* index + 1; 0: none */
};

enum stage { FREE, SENT, COVERED, SECURING, RETURNING };

struct transfer { /* an argument that goes from a home to an executor */
    enum stage stage;
    uint32_t from, to, thing;
    struct object *at_home, *at_guest;
    struct securing securing;
};

struct node {
    struct world *world;
    uint32_t index;
    struct rig *rig;
    struct rig_process *driver;
    bool dead;
};

struct world {
    struct node nodes[NODES];
    struct session sessions[NODES][NODES]; /* by OUT, IN */
    struct thing things[OBJECTS];
    uint32_t thing_count;
    struct transfer transfers[TRANSFERS];
    struct rng rng;
};

static uint32_t number_of(uint32_t index)
{
    return index + 1;
}

static uint32_t pick(struct world *w, uint32_t n)
{
    return (uint32_t)rng_below(&w->rng, n);
}

static struct raylet_core *core_of(struct node *n)
{
    return n->rig->core;
}

static struct job *job_of(struct node *n)
{
    return list_entry(list_first(&core_of(n)->jobs), struct job, link);
}

/* ---- what vouches for what ---- */

static void unlawful(struct world *w, uint32_t thing)
{
    struct thing *t = &w->things[thing];

    if (t->lawful) {
        t->lawful = false;
        for (uint32_t i = 0; i < INNER; i++) {
            if (t->inner[i] != 0) {
                unlawful(w, t->inner[i] - 1);
            }
        }
    }
}

/* The driver there holds it from now on; what it was told of a former hold says nothing. */
static void now_held(struct world *w, uint32_t node, uint32_t thing)
{
    struct thing *t = &w->things[thing];
    struct rig_value *v;

    t->held[node] = true;
    HASH_FIND(hh, w->nodes[node].rig->values, &t->id, sizeof t->id, v);
    if (v != NULL) { /* as a value that is to be asked for again */
        v->state = VALUE_ERROR;
        v->code = CODE_UNREACHABLE;
    }
}

/* ---- letters ---- */

static void letter_free(struct letter *l)
{
    list_unlink(&l->link);
    arena_fini(&l->arena);
    free(l);
}

static struct letter *post(struct world *w, uint32_t from, uint32_t to, enum peer_side side)
{
    struct letter *l = xcalloc(1, sizeof *l);
    struct session *s = side == SIDE_OUT ? &w->sessions[from][to] : &w->sessions[to][from];

    list_append(&s->letters[side], &l->link);
    return l;
}

static void on_send(void *arg, uint32_t peer, enum peer_side side, const struct peer_msg *m)
{
    struct node *n = arg;
    struct session(*all)[NODES] = n->world->sessions;
    struct session *s = side == SIDE_OUT ? &all[n->index][peer - 1] : &all[peer - 1][n->index];

    if (s->up) { /* else it has not heard of its end yet */
        struct letter *l = post(n->world, n->index, peer - 1, side);
        l->m = rig_peer_copy(&l->arena, m);
    }
}

static void on_open(void *arg, uint32_t peer, const char *address, const char *key)
{
    struct node *n = arg;

    n->world->sessions[n->index][peer - 1].wanted = true;
}

static void transfer_ends(struct world *w, struct transfer *t, bool lawful)
{
    struct node *home = &w->nodes[t->from], *guest = &w->nodes[t->to];

    if (!lawful) {
        unlawful(w, t->thing);
    }
    if (t->at_home != NULL && !home->dead) {
        object_unhold(core_of(home), t->at_home);
    }
    if (t->at_guest != NULL && !guest->dead) {
        foreign_secure_forget(core_of(guest), &t->securing);
        foreign_uncover(core_of(guest), t->at_guest);
    }
    *t = (struct transfer){.stage = FREE};
}

static void cut(struct world *w, uint32_t out, uint32_t in)
{
    struct session *s = &w->sessions[out][in];
    struct list *at;

    for (int side = 0; side < 2; side++) {
        while ((at = list_first(&s->letters[side])) != NULL) {
            letter_free(list_entry(at, struct letter, link));
        }
    }
    for (uint32_t i = 0; i < TRANSFERS; i++) {
        struct transfer *t = &w->transfers[i];
        if (t->stage != FREE && t->from == out && t->to == in) {
            transfer_ends(w, t, false);
        }
    }
    s->up = false;
    s->told[SIDE_OUT] = s->told[SIDE_IN] = false;
}

static void hear_of_end(struct world *w, uint32_t out, uint32_t in, enum peer_side side)
{
    struct session *s = &w->sessions[out][in];
    struct node *n = &w->nodes[side == SIDE_OUT ? out : in];

    if (!s->told[side]) {
        s->told[side] = true;
        if (!n->dead) {
            rig_peer_down(n->rig, number_of(side == SIDE_OUT ? in : out), side, false);
        }
    }
}

static void connect(struct world *w, uint32_t out, uint32_t in)
{
    struct session *s = &w->sessions[out][in];

    if (s->up || w->nodes[out].dead || w->nodes[in].dead) {
        return;
    }
    hear_of_end(w, out, in, SIDE_OUT);
    hear_of_end(w, out, in, SIDE_IN);
    rig_settle(w->nodes[out].rig);
    rig_settle(w->nodes[in].rig);
    s->up = true;
    rig_peer_up(w->nodes[in].rig, number_of(out), SIDE_IN);
    rig_peer_up(w->nodes[out].rig, number_of(in), SIDE_OUT);
}

static void on_close(void *arg, uint32_t peer, enum peer_side side)
{
    struct node *n = arg;
    uint32_t other = peer - 1;

    if (side == SIDE_OUT && n->world->sessions[n->index][other].up) {
        cut(n->world, n->index, other);
        n->world->sessions[n->index][other].told[SIDE_OUT] = true;
        n->world->sessions[n->index][other].wanted = false;
    }
}

/* ---- what happens ---- */

static void settle_all(struct world *w)
{
    for (uint32_t i = 0; i < NODES; i++) {
        struct node *n = &w->nodes[i];
        struct list *at;
        if (n->dead) {
            continue;
        }
        rig_settle(n->rig);
        while ((at = list_pop(&core_of(n)->secured)) != NULL) {
            struct transfer *t = container_of(at, struct transfer, securing.link);
            assert_int_equal(t->stage, SECURING);
            foreign_uncover(core_of(n), t->at_guest);
            t->at_guest = NULL;
            t->stage = RETURNING;
            post(w, t->to, t->from, SIDE_IN)->transfer = (uint32_t)(t - w->transfers);
        }
        rig_settle(n->rig);
    }
}

static void arrives(struct world *w, struct transfer *t)
{
    struct node *guest = &w->nodes[t->to];
    struct thing *thing = &w->things[t->thing];

    if (t->stage == RETURNING) {
        transfer_ends(w, t, true);
        return;
    }
    t->stage = COVERED;
    t->at_guest = foreign_object(core_of(guest), job_of(guest), thing->id);
    if (t->at_guest == NULL) { /* its own, and gone */
        assert_false(thing->lawful);
        transfer_ends(w, t, false);
        return;
    }
    foreign_cover(core_of(guest), t->at_guest);
    if (pick(w, 2) == 0 && !thing->held[t->to]) {
        now_held(w, t->to, t->thing);
        takes(guest->rig, guest->driver, thing->id);
    }
}

static void deliver(struct world *w, uint32_t out, uint32_t in, enum peer_side side)
{
    struct session *s = &w->sessions[out][in];
    struct node *to = &w->nodes[side == SIDE_OUT ? in : out];
    struct list *at = list_first(&s->letters[side]);

    if (at == NULL || !s->up || to->dead) {
        return;
    }
    struct letter *l = list_entry(at, struct letter, link);
    list_unlink(&l->link);
    if (l->m != NULL) {
        rig_peer_says(to->rig, number_of(side == SIDE_OUT ? out : in),
                      side == SIDE_OUT ? SIDE_IN : SIDE_OUT, l->m);
    } else {
        arrives(w, &w->transfers[l->transfer]);
    }
    rig_settle(to->rig);
    letter_free(l);
}

static void send_transfer(struct world *w)
{
    uint32_t from = pick(w, NODES), to = pick(w, NODES), i = 0;
    struct object *o;

    while (i < TRANSFERS && w->transfers[i].stage != FREE) {
        i++;
    }
    if (i == TRANSFERS || w->thing_count == 0 || from == to || !w->sessions[from][to].up) {
        return;
    }
    uint32_t thing = pick(w, w->thing_count);
    if (!w->things[thing].held[from]) {
        return;
    }
    o = object_find(core_of(&w->nodes[from]), w->things[thing].id);
    if (o == NULL) {
        return;
    }
    object_hold(o);
    w->transfers[i] =
        (struct transfer){.stage = SENT, .from = from, .to = to, .thing = thing, .at_home = o};
    securing_init(&w->transfers[i].securing, KIND);
    post(w, from, to, SIDE_OUT)->transfer = i;
}

/* A guest's end: what is still needed there is secured, then its home is told. */
static void finish_transfer(struct world *w, uint32_t i)
{
    struct transfer *t = &w->transfers[i];

    if (t->stage != COVERED) {
        return;
    }
    struct raylet_core *c = core_of(&w->nodes[t->to]);
    if (foreign_needs_more(c, t->at_guest)) {
        foreign_secure(c, &t->securing, t->at_guest);
    }
    t->stage = SECURING;
    if (t->securing.missing == 0) {
        list_append(&c->secured, &t->securing.link);
    }
}

static void put(struct world *w)
{
    struct node *n = &w->nodes[pick(w, NODES)];
    struct object_id refs[INNER];
    uint32_t count = 0;

    if (w->thing_count == OBJECTS || n->dead) {
        return;
    }
    struct thing *t = &w->things[w->thing_count];
    t->owner = n->index;
    t->lawful = t->held[n->index] = true;
    for (uint32_t i = 0; i < INNER && w->thing_count > 0; i++) {
        uint32_t inside = pick(w, w->thing_count);
        if (w->things[inside].held[n->index]) {
            t->inner[count] = inside + 1;
            refs[count++] = w->things[inside].id;
        }
    }
    t->id = rig_put_holding(n->rig, n->driver, 1000 + w->thing_count, refs, count);
    w->thing_count++;
}

static void release(struct world *w, uint32_t node, uint32_t thing)
{
    struct node *n = &w->nodes[node];

    if (w->things[thing].held[node] && !n->dead) {
        w->things[thing].held[node] = false;
        rig_release(n->rig, n->driver, w->things[thing].id);
    }
}

static void ask_or_open(struct world *w)
{
    struct node *n = &w->nodes[pick(w, NODES)];

    if (w->thing_count == 0 || n->dead) {
        return;
    }
    struct thing *t = &w->things[pick(w, w->thing_count)];
    if (!t->held[n->index]) {
        return;
    }
    const struct rig_value *v = rig_value(n->rig, t->id);
    if (v == NULL || v->state == VALUE_ERROR) {
        rig_get(n->rig, n->driver, t->id);
        return;
    }
    uint32_t inside = t->inner[pick(w, INNER)];
    if (inside != 0 && !w->things[inside - 1].held[n->index]) {
        now_held(w, n->index, inside - 1);
        if (!t->lawful) {
            unlawful(w, inside - 1);
        }
        rig_hold_through(n->rig, n->driver, w->things[inside - 1].id, t->id);
    }
}

static void die(struct world *w, uint32_t node)
{
    for (uint32_t i = 0; i < NODES; i++) {
        if (i != node) {
            cut(w, node, i);
            cut(w, i, node);
        }
    }
    w->nodes[node].dead = true;
    for (uint32_t i = 0; i < w->thing_count; i++) {
        if (w->things[i].owner == node) {
            unlawful(w, i); /* and what only its value vouched for */
        }
    }
    for (uint32_t i = 0; i < NODES; i++) {
        if (!w->nodes[i].dead) {
            hear_of_end(w, node, i, SIDE_IN);
            hear_of_end(w, i, node, SIDE_OUT);
            rig_view_dead(w->nodes[i].rig, number_of(node));
        }
    }
}

static void move(struct world *w)
{
    uint32_t a = pick(w, NODES), b = (a + 1 + pick(w, NODES - 1)) % NODES;

    switch (pick(w, 32)) {
    case 0:
        if (w->sessions[a][b].up) {
            cut(w, a, b);
        }
        break;
    case 1:
        hear_of_end(w, a, b, SIDE_OUT);
        break;
    case 2:
        hear_of_end(w, a, b, SIDE_IN);
        break;
    case 3:
    case 4:
        connect(w, a, b);
        break;
    case 5:
    case 6:
        put(w);
        break;
    case 7:
    case 8:
    case 9:
        send_transfer(w);
        break;
    case 10:
    case 11:
        finish_transfer(w, pick(w, TRANSFERS));
        break;
    case 12:
    case 13:
        if (w->thing_count > 0) {
            release(w, a, pick(w, w->thing_count));
        }
        break;
    case 14:
    case 15:
    case 16:
        ask_or_open(w);
        break;
    default:
        deliver(w, a, b, pick(w, 2) == 0 ? SIDE_OUT : SIDE_IN);
    }
}

/* Who holds something by the rules finds it at its owner, and was never told otherwise. */
static void look(struct world *w)
{
    for (uint32_t i = 0; i < w->thing_count; i++) {
        const struct thing *t = &w->things[i];
        for (uint32_t n = 0; n < NODES && t->lawful; n++) {
            if (!t->held[n] || w->nodes[n].dead) {
                continue;
            }
            assert_non_null(object_find(core_of(&w->nodes[t->owner]), t->id));
            const struct rig_value *v = rig_value(w->nodes[n].rig, t->id);
            assert_true(v == NULL || v->state != VALUE_ERROR || v->code == CODE_UNREACHABLE);
        }
    }
}

/* ---- a run ---- */

static void node_open(struct world *w, uint32_t index)
{
    struct node *n = &w->nodes[index];

    n->world = w;
    n->index = index;
    n->rig = xcalloc(1, sizeof *n->rig);
    rig_open(n->rig,
             &(struct rig_config){.name = "box", .cpus = 1, .seed = index, .now_ns = NS_PER_S});
    n->rig->node = number_of(index);
    n->rig->head_answers = true;
    n->rig->hooks = (struct rig_hooks){
        .arg = n, .on_peer_open = on_open, .on_peer_close = on_close, .on_peer_send = on_send};
    rig_head(n->rig, true);
    rig_settle(n->rig);
    n->driver = rig_driver(n->rig);
    assert_true(n->driver->welcomed);
    for (uint32_t i = 0; i < NODES; i++) {
        if (i != index) {
            rig_view(n->rig, number_of(i), "other", 0);
            rig_settle(n->rig);
        }
        for (int side = 0; side < 2; side++) {
            list_init(&w->sessions[index][i].letters[side]);
            w->sessions[index][i].told[side] = true;
        }
    }
}

static void quiet(struct world *w)
{
    for (int round = 0; round < 200; round++) {
        for (uint32_t a = 0; a < NODES; a++) {
            for (uint32_t b = 0; b < NODES; b++) {
                if (a != b) {
                    connect(w, a, b);
                    deliver(w, a, b, SIDE_OUT);
                    deliver(w, a, b, SIDE_IN);
                }
            }
        }
        for (uint32_t i = 0; i < TRANSFERS; i++) {
            finish_transfer(w, i);
        }
        settle_all(w);
        look(w);
    }
}

static uint64_t objects(struct node *n)
{
    struct raylet_counts counts;

    raylet_core_count(core_of(n), &counts);
    return counts.objects;
}

static void run(uint64_t seed)
{
    struct world *w = xcalloc(1, sizeof *w);

    rng_seed(&w->rng, seed);
    for (uint32_t i = 0; i < NODES; i++) {
        node_open(w, i);
    }
    uint32_t death = seed % 3 == 0 ? MOVES / 2 + pick(w, MOVES / 2) : MOVES;
    for (uint32_t i = 0; i < MOVES; i++) {
        move(w);
        if (i == death) {
            die(w, pick(w, NODES));
        }
        settle_all(w);
        look(w);
    }
    quiet(w);
    for (uint32_t n = 0; n < NODES; n++) {
        for (uint32_t i = 0; i < w->thing_count; i++) {
            release(w, n, i);
        }
    }
    quiet(w);
    for (uint32_t n = 0; n < NODES; n++) {
        if (!w->nodes[n].dead) {
            assert_int_equal(objects(&w->nodes[n]), 0);
        }
    }
    for (uint32_t i = 0; i < NODES; i++) {
        for (uint32_t j = 0; j < NODES; j++) {
            cut(w, i, j);
        }
    }
    for (uint32_t n = 0; n < NODES; n++) {
        rig_fini(w->nodes[n].rig);
        free(w->nodes[n].rig);
    }
    free(w);
}

static void references_keep_what_they_name_and_nothing_else(void **state)
{
    const char *only = getenv("SEED");

    if (only != NULL) {
        run(strtoull(only, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        run(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references_keep_what_they_name_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
