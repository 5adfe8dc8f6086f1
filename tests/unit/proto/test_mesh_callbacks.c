/*
 * Each callback of a mesh does each thing that a mesh can be told to do: answers more than a
 * session takes, closes, opens, ticks, frees. Two meshes over the loopback; afterwards they still
 * speak.
 */
#include "tests/unit/unit.h"

#include "common/clock.h"
#include "common/loop.h"
#include "proto/mesh.h"

#define DEADLINE_NS (20 * NS_PER_S)
#define LARGE_BYTES (1u << 20)

enum callback { ON_UP, ON_MESSAGE, ON_DOWN, ON_SLOW, CALLBACKS };
enum deed {
    ANSWER, /* more than a session takes at once, and a flush */
    FLOOD,  /* more than may wait: the session ends */
    CLOSE,  /* this session, in both directions */
    ANEW,   /* closed, and opened again */
    TICK,
    FREE, /* the mesh */
    DEEDS
};

struct end {
    struct world *world;
    struct loop *loop;
    struct mesh *mesh;
    struct arena arena;
    uint16_t port;
    struct keys_pair port_key;
    uint32_t number, other;
    bool does;     /* `deed` in `callback` */
    unsigned done; /* so many times */
    bool freed;
    bool up[2];
    unsigned heard[2];
};

struct world {
    struct keys_pair node_key;
    struct end ends[2];
    enum callback callback;
    enum deed deed;
};

static struct end *other_of(struct end *e)
{
    return &e->world->ends[e == &e->world->ends[0]];
}

static void say(struct end *e, enum mesh_side side, size_t bytes)
{
    static const uint8_t value[LARGE_BYTES];
    struct peer_msg m = {.type = PEER_ASK, .ask = {.number = 1, .limit = 1}};
    if (bytes != 0) {
        m = (struct peer_msg){.type = PEER_RUN,
                              .run = {.run = 1, .number = 1, .returns = 1, .task = {1, 1, 1}},
                              .payload = {value, bytes}};
    }
    mesh_send(e->mesh, e->other, side, &m);
}

static void open_other(struct end *e)
{
    struct end *other = other_of(e);
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", other->port);
    assert_int_equal(mesh_open(e->mesh, e->other, address, other->port_key.public_key), 0);
}

static void close_both(struct end *e)
{
    for (enum mesh_side side = MESH_OUT; side <= MESH_IN; side++) {
        mesh_close(e->mesh, e->other, side);
        e->up[side] = false;
    }
}

static void act(struct end *e, enum callback now, enum mesh_side side)
{
    if (!e->does || e->world->callback != now || e->freed || e->done >= 3) {
        return;
    }
    e->done++;
    switch (e->world->deed) {
    case ANSWER:
    case FLOOD:
        for (unsigned i = 0; i < (e->world->deed == FLOOD ? 48 : 12); i++) {
            say(e, side, LARGE_BYTES);
            say(e, !side, 0);
        }
        mesh_flush(e->mesh);
        break;
    case CLOSE:
        close_both(e);
        break;
    case ANEW:
        close_both(e);
        open_other(e);
        break;
    case TICK:
        say(e, side, 0);
        mesh_flush(e->mesh);
        mesh_tick(e->mesh, clock_now_ns());
        break;
    case FREE:
        mesh_free(e->mesh);
        e->freed = true;
        break;
    case DEEDS:
        break;
    }
}

static void on_up(void *arg, uint32_t peer, enum mesh_side side)
{
    struct end *e = arg;
    assert_false(e->freed || e->up[side]);
    assert_int_equal(peer, e->other);
    e->up[side] = true;
    act(e, ON_UP, side);
}

static void on_message(void *arg, uint32_t peer, enum mesh_side side, const struct peer_msg *m)
{
    struct end *e = arg;
    assert_false(e->freed);
    assert_true(e->up[side]);
    e->heard[side]++;
    act(e, ON_MESSAGE, side);
}

static void on_down(void *arg, uint32_t peer, enum mesh_side side, enum link_down why)
{
    struct end *e = arg;
    assert_false(e->freed);
    e->up[side] = false;
    act(e, ON_DOWN, side);
}

static void on_slow(void *arg, uint32_t peer, enum mesh_side side, bool slow)
{
    struct end *e = arg;
    assert_false(e->freed);
    assert_true(e->up[side]);
    act(e, ON_SLOW, side);
}

static void start(struct end *e)
{
    struct mesh_config config = {.loop = e->loop,
                                 .bind = "127.0.0.1",
                                 .port = e->port,
                                 .exact = e->port != 0,
                                 .port_key = e->port_key,
                                 .own = e->world->node_key,
                                 .number = e->number,
                                 .arena = &e->arena,
                                 .backlog_max = 24u << 20,
                                 .events = {on_up, on_message, on_down, on_slow, e}};
    assert_int_equal(mesh_new(&config, &e->mesh, &e->port), 0);
    e->freed = false;
    e->up[0] = e->up[1] = false;
}

static void turn(struct end *e)
{
    if (e->freed) {
        start(e);
    }
    uint64_t now = clock_now_ns(), next = MIN_OF(mesh_next_ns(e->mesh), now + 200 * NS_PER_US);
    assert_true(loop_turn(e->loop, next > now ? next - now : 0) >= 0);
    mesh_tick(e->mesh, clock_now_ns());
    if (!e->freed) {
        mesh_flush(e->mesh);
    }
    arena_reset(&e->arena);
}

#define WAIT_FOR(w, condition)                                                                     \
    do {                                                                                           \
        uint64_t end_ns_ = clock_now_ns() + DEADLINE_NS;                                           \
        while (!(condition)) {                                                                     \
            assert_true(clock_now_ns() < end_ns_);                                                 \
            turn(&(w)->ends[0]);                                                                   \
            turn(&(w)->ends[1]);                                                                   \
        }                                                                                          \
    } while (0)

/* Sessions of each with the other come up, carry much and little, and end. */
static void live(struct world *w)
{
    uint64_t end_ns = clock_now_ns() + DEADLINE_NS;
    for (unsigned round = 0; w->ends[0].done == 0 || w->ends[1].done == 0; round++) {
        assert_true(clock_now_ns() < end_ns);
        for (unsigned i = 0; i < 2; i++) {
            struct end *e = &w->ends[i];
            turn(e);
            if (e->freed) {
                continue;
            }
            open_other(e);
            say(e, MESH_OUT, 0);
            say(e, MESH_IN, 0);
            for (unsigned k = 0; k < 16 && round % 40 == 20; k++) {
                say(e, MESH_OUT, LARGE_BYTES);
            }
            if (round % 100 == 99) { /* its peer hears of it */
                mesh_close(e->mesh, e->other, MESH_IN);
                e->up[MESH_IN] = false;
            }
            mesh_flush(e->mesh);
        }
    }
}

static void do_it(struct world *w)
{
    for (unsigned i = 0; i < 2; i++) {
        struct end *e = &w->ends[i];
        e->done = 0;
        e->does = true;
    }
    live(w);
    for (unsigned i = 0; i < 2; i++) {
        w->ends[i].does = false;
    }
    for (unsigned i = 0; i < 2; i++) { /* from the beginning, whatever was done */
        turn(&w->ends[i]);
        close_both(&w->ends[i]);
        open_other(&w->ends[i]);
    }
    WAIT_FOR(w, w->ends[0].up[MESH_OUT] && w->ends[0].up[MESH_IN] && w->ends[1].up[MESH_OUT] &&
                    w->ends[1].up[MESH_IN]);
    for (unsigned i = 0; i < 2; i++) {
        memset(w->ends[i].heard, 0, sizeof w->ends[i].heard);
    }
    for (unsigned i = 0; i < 2; i++) {
        say(&w->ends[i], MESH_OUT, 0);
    }
    WAIT_FOR(w, w->ends[0].heard[MESH_IN] != 0 && w->ends[1].heard[MESH_IN] != 0);
}

static void each_deed_in(enum callback callback)
{
    struct world w = {.callback = callback};
    assert_int_equal(keys_pair_new(&w.node_key), 0);
    for (unsigned i = 0; i < 2; i++) {
        struct end *e = &w.ends[i];
        e->world = &w;
        e->number = i + 1;
        e->other = 2 - i;
        assert_int_equal(loop_new(&e->loop), 0);
        assert_int_equal(keys_pair_new(&e->port_key), 0);
        start(e);
    }
    for (w.deed = 0; w.deed < DEEDS; w.deed++) {
        do_it(&w);
    }
    for (unsigned i = 0; i < 2; i++) {
        mesh_free(w.ends[i].mesh);
        loop_free(w.ends[i].loop);
        arena_fini(&w.ends[i].arena);
    }
}

static void test_on_up(void **state)
{
    each_deed_in(ON_UP);
}

static void test_on_message(void **state)
{
    each_deed_in(ON_MESSAGE);
}

static void test_on_down(void **state)
{
    each_deed_in(ON_DOWN);
}

static void test_on_slow(void **state)
{
    each_deed_in(ON_SLOW);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_on_up),
        cmocka_unit_test(test_on_message),
        cmocka_unit_test(test_on_down),
        cmocka_unit_test(test_on_slow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
