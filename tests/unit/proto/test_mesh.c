/* Meshes over the loopback: each has a loop of its own, so that a test says who is asleep. */
#include "tests/unit/unit.h"

#include <dirent.h>

#include "common/clock.h"
#include "common/loop.h"
#include "proto/mesh.h"

#define DEADLINE_NS (15 * NS_PER_S)
#define FLOOD_BYTES (1u << 20)
#define ENDS        4
#define TALLIES     64

struct tally { /* what one end heard of one peer and side */
    unsigned ups, downs, slows, fasts;
    enum link_down why;
    uint64_t messages, next;
    bool up, wrong_order;
};

struct end {
    struct world *world;
    struct loop *loop;
    struct mesh *mesh;
    struct arena arena;
    uint16_t port;
    struct keys_pair port_key;
    struct tally tallies[2][TALLIES];
    bool echo;
    uint64_t echoes; /* to be sent by the next turn */
    uint32_t echo_peer;
    enum mesh_side echo_side;
    struct buffer last; /* payload of the last message */
    size_t value_at, args_size;
};

struct world {
    struct keys_pair node_key;
    struct end ends[ENDS];
};

static void on_up(void *arg, uint32_t peer, enum mesh_side side)
{
    struct tally *t = &((struct end *)arg)->tallies[side][peer];
    assert_false(t->up);
    t->up = true;
    t->ups++;
    t->next = 1;
}

static void on_message(void *arg, uint32_t peer, enum mesh_side side, const struct peer_msg *m)
{
    struct end *e = arg;
    struct tally *t = &e->tallies[side][peer];
    assert_true(t->up);
    t->messages++;
    uint64_t number = m->type == PEER_ASK ? m->ask.limit : m->type == PEER_RUN ? m->run.run : 0;
    if (number != 0) {
        t->wrong_order |= number != t->next;
        t->next = number + 1;
    }
    if (m->type == PEER_RUN) {
        buffer_clear(&e->last);
        buffer_append(&e->last, m->payload.data, m->payload.size);
        e->args_size = m->run.args_size;
    }
    if (e->echo) {
        e->echoes++;
        e->echo_peer = peer;
        e->echo_side = side;
    }
}

static void on_down(void *arg, uint32_t peer, enum mesh_side side, enum link_down why)
{
    struct tally *t = &((struct end *)arg)->tallies[side][peer];
    t->up = false;
    t->downs++;
    t->why = why;
}

static void on_slow(void *arg, uint32_t peer, enum mesh_side side, bool slow)
{
    struct tally *t = &((struct end *)arg)->tallies[side][peer];
    *(slow ? &t->slows : &t->fasts) += 1;
}

/* ---- the world ---- */

static void start(struct world *w, unsigned i, uint32_t number)
{
    struct end *e = &w->ends[i];
    struct mesh_config config = {.loop = e->loop,
                                 .bind = "127.0.0.1",
                                 .port = e->port,
                                 .exact = e->port != 0,
                                 .port_key = e->port_key,
                                 .own = w->node_key,
                                 .number = number,
                                 .arena = &e->arena,
                                 .backlog_max = 32u << 20,
                                 .events = {.on_up = on_up,
                                            .on_message = on_message,
                                            .on_down = on_down,
                                            .on_slow = on_slow,
                                            .arg = e}};
    assert_int_equal(mesh_new(&config, &e->mesh, &e->port), 0);
}

static void stop(struct end *e)
{
    mesh_free(e->mesh);
    e->mesh = NULL;
    memset(e->tallies, 0, sizeof e->tallies);
}

static int set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    assert_int_equal(keys_pair_new(&w->node_key), 0);
    for (unsigned i = 0; i < ENDS; i++) {
        w->ends[i].world = w;
        assert_int_equal(loop_new(&w->ends[i].loop), 0);
        assert_int_equal(keys_pair_new(&w->ends[i].port_key), 0);
    }
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    for (unsigned i = 0; i < ENDS; i++) {
        mesh_free(w->ends[i].mesh);
        loop_free(w->ends[i].loop);
        arena_fini(&w->ends[i].arena);
        buffer_fini(&w->ends[i].last);
    }
    free(w);
    return 0;
}

static void say(struct end *e, uint32_t peer, enum mesh_side side, uint64_t number)
{
    struct peer_msg m = {.type = PEER_ASK, .ask = {.number = 1, .limit = number}};
    mesh_send(e->mesh, peer, side, &m);
}

static void turn(struct end *e, uint64_t wait_ns)
{
    uint64_t now = clock_now_ns(), next = MIN_OF(mesh_next_ns(e->mesh), now + wait_ns);
    assert_true(loop_turn(e->loop, next > now ? next - now : 0) >= 0);
    mesh_tick(e->mesh, clock_now_ns());
    for (; e->echoes > 0; e->echoes--) {
        say(e, e->echo_peer, e->echo_side, 0);
    }
    mesh_flush(e->mesh);
    arena_reset(&e->arena);
}

static void turn_all(struct world *w)
{
    for (unsigned i = 0; i < ENDS; i++) {
        if (w->ends[i].mesh != NULL) {
            turn(&w->ends[i], 200 * NS_PER_US);
        }
    }
}

#define WAIT_FOR(w, condition)                                                                     \
    do {                                                                                           \
        uint64_t end_ns_ = clock_now_ns() + DEADLINE_NS;                                           \
        while (!(condition)) {                                                                     \
            assert_true(clock_now_ns() < end_ns_);                                                 \
            turn_all(w);                                                                           \
        }                                                                                          \
    } while (0)

static const char *address_of(const struct end *e)
{
    static char text[32];
    snprintf(text, sizeof text, "127.0.0.1:%u", e->port);
    return text;
}

static void open_to(struct end *e, uint32_t peer, const struct end *other)
{
    assert_int_equal(mesh_open(e->mesh, peer, address_of(other), other->port_key.public_key), 0);
}

static void close_side(struct end *e, uint32_t peer, enum mesh_side side)
{
    mesh_close(e->mesh, peer, side);
    e->tallies[side][peer].up = false;
}

static struct mesh_counts counts_of(const struct end *e)
{
    struct mesh_counts counts;
    mesh_count(e->mesh, &counts);
    return counts;
}

/* Two nodes, 1 and 2, and a session of 1 with 2. */
static void start_two(struct world *w, struct tally **ret_out, struct tally **ret_in)
{
    start(w, 0, 1);
    start(w, 1, 2);
    *ret_out = &w->ends[0].tallies[MESH_OUT][2];
    *ret_in = &w->ends[1].tallies[MESH_IN][1];
    open_to(&w->ends[0], 2, &w->ends[1]);
    WAIT_FOR(w, (*ret_out)->up && (*ret_in)->up);
}

/* ---- tests ---- */

static void test_directed_sessions(void **state)
{
    struct world *w = *state;
    struct end *a = &w->ends[0], *b = &w->ends[1];
    struct tally *out, *in;
    start_two(w, &out, &in);
    say(a, 2, MESH_OUT, 1);
    say(a, 2, MESH_OUT, 2);
    WAIT_FOR(w, in->messages == 2);
    say(b, 1, MESH_IN, 1); /* the answer goes back in the same session */
    WAIT_FOR(w, out->messages == 1);
    assert_false(in->wrong_order || out->wrong_order);
    say(b, 1, MESH_OUT, 1); /* b has opened none of its own: dropped */
    assert_int_equal(counts_of(b).sent, 1);

    struct tally *out_b = &b->tallies[MESH_OUT][1], *in_a = &a->tallies[MESH_IN][2];
    open_to(b, 1, a);
    WAIT_FOR(w, out_b->up && in_a->up);
    close_side(b, 1, MESH_OUT);
    WAIT_FOR(w, !in_a->up);
    assert_int_equal(in_a->why, LINK_ENDED);
    assert_int_equal(out_b->downs, 0); /* who closes it is not told */
    assert_true(out->up && in->up);    /* the other direction goes on */

    close_side(b, 1, MESH_IN); /* who opened it tries again */
    WAIT_FOR(w, out->downs == 1 && out->ups == 2 && in->up);
}

static void test_a_flush_is_a_batch(void **state)
{
    struct world *w = *state;
    struct end *a = &w->ends[0];
    struct tally *out, *in;
    start_two(w, &out, &in);
    for (uint64_t i = 1; i <= 1000; i++) {
        say(a, 2, MESH_OUT, i);
    }
    mesh_flush(a->mesh);
    mesh_flush(a->mesh);
    assert_int_equal(counts_of(a).sent, 1000);
    assert_int_equal(counts_of(a).batches, 1);
    WAIT_FOR(w, in->messages == 1000);
    assert_false(in->wrong_order);
    say(a, 2, MESH_OUT, 1001); /* what was said before a close leaves */
    close_side(a, 2, MESH_OUT);
    WAIT_FOR(w, !in->up);
    assert_int_equal(in->messages, 1001);
}

static void send_run(struct end *e, uint32_t peer)
{
    struct peer_msg m = {.type = PEER_RUN,
                         .run = {.run = 1, .number = 1, .returns = 1, .task = {1, 1, 1}}};
    mesh_send(e->mesh, peer, MESH_OUT, &m);
    mesh_flush(e->mesh);
}

static void send_grant(struct end *e, uint32_t peer)
{
    struct peer_msg m = {.type = PEER_GRANT, .slots = {.number = 1, .count = 1}};
    mesh_send(e->mesh, peer, MESH_IN, &m);
    mesh_flush(e->mesh);
}

static void test_books_wait_for_an_answer(void **state)
{
    struct world *w = *state;
    struct end *a = &w->ends[0], *b = &w->ends[1];
    struct tally *out, *in;
    start_two(w, &out, &in);
    send_grant(b, 1); /* no answer is due */
    assert_int_equal(counts_of(b).batches, 1);

    /* How fast this machine is decides whether a hold ends before its answer: so often enough. */
    unsigned together = 0;
    for (unsigned round = 0; round < 50 && together == 0; round++) {
        uint64_t runs = in->messages + 1, before = counts_of(b).batches;
        send_run(a, 2);
        WAIT_FOR(w, in->messages == runs);
        send_grant(b, 1);
        struct peer_msg m = {.type = PEER_RESULT, .result = {.run = 1}};
        mesh_send(b->mesh, 1, MESH_IN, &m);
        mesh_flush(b->mesh);
        together += counts_of(b).batches == before + 1;
    }
    assert_int_equal(together, 1);

    uint64_t heard = counts_of(b).sent, runs = in->messages + 1;
    WAIT_FOR(w, out->messages == heard);
    send_run(a, 2);
    WAIT_FOR(w, in->messages == runs);
    send_grant(b, 1);
    assert_true(mesh_next_ns(b->mesh) <= clock_now_ns() + MESH_HOLD_NS);
    WAIT_FOR(w, out->messages == heard + 1); /* the answer does not come: not for long */
}

static void test_a_long_message_goes_in_parts(void **state)
{
    enum { VALUE = 1u << 20 };
    struct world *w = *state;
    struct end *a = &w->ends[0], *b = &w->ends[1];
    struct tally *out, *in;
    static uint8_t value[VALUE];
    static const uint32_t sizes[] = {VALUE, VALUE, VALUE};
    const struct bytes parts[] = {{value, VALUE}, {value, VALUE}, {value, VALUE}};
    for (size_t i = 0; i < VALUE; i++) {
        value[i] = (uint8_t)(i * 31 >> 5);
    }
    struct peer_msg m = {
        .type = PEER_RUN,
        .run = {.number = 1, .returns = 1, .task = {1, 1, 1}, .need_sizes = sizes, .need_count = 3},
        .payload = {"args", 4},
        .more = parts,
        .more_count = 3};
    start_two(w, &out, &in);
    for (uint64_t i = 1; i <= 6; i++) { /* beyond what a session takes at once, too */
        say(a, 2, MESH_OUT, 2 * i - 1);
        m.run.run = 2 * i;
        mesh_send(a->mesh, 2, MESH_OUT, &m);
    }
    WAIT_FOR(w, in->messages == 12);
    assert_false(in->wrong_order);
    assert_int_equal(b->args_size, 4);
    assert_int_equal(b->last.size, 64 + 3 * VALUE);
    for (unsigned i = 0; i < 3; i++) {
        assert_memory_equal(b->last.data + 64 + (size_t)i * VALUE, value, VALUE);
    }
}

static void test_a_node_that_starts_again(void **state)
{
    struct world *w = *state;
    struct end *b = &w->ends[1];
    struct tally *out, *in;
    start_two(w, &out, &in);
    stop(b);
    WAIT_FOR(w, out->why == LINK_REFUSED && !out->up);
    assert_true(out->downs <= 2); /* ended, then refused: once each */

    start(w, 1, 2); /* the same number and key: as after a cut of both ends */
    WAIT_FOR(w, out->ups == 2 && in->up);

    stop(b);
    assert_int_equal(keys_pair_new(&b->port_key), 0);
    start(w, 1, 3); /* another life has another key */
    WAIT_FOR(w, out->why == LINK_KEY_REFUSED && !out->up);
    assert_int_equal(out->ups, 2);

    open_to(&w->ends[0], 3, b); /* as the head's view says by then */
    WAIT_FOR(w, w->ends[0].tallies[MESH_OUT][3].up);
    assert_int_equal(out->ups, 2);
}

static void test_another_number_at_the_address(void **state)
{
    struct world *w = *state;
    struct end *a = &w->ends[0];
    start(w, 0, 1);
    start(w, 1, 3);
    struct tally *t = &a->tallies[MESH_OUT][2];
    open_to(a, 2, &w->ends[1]);
    WAIT_FOR(w, t->downs == 1);
    assert_int_equal(t->why, LINK_KEY_REFUSED);
    mesh_set_number(w->ends[1].mesh, 2);
    WAIT_FOR(w, t->up); /* it was tried again by itself */
    assert_int_equal(t->downs, 1);
}

static void test_who_has_no_number_yet(void **state)
{
    struct world *w = *state;
    struct end *a = &w->ends[0], *b = &w->ends[1];
    start(w, 0, 0);
    start(w, 1, 0);
    open_to(a, 2, b);
    WAIT_FOR(w, counts_of(b).strangers != 0);
    assert_int_equal(counts_of(b).in, 0);
    mesh_set_number(b->mesh, 2); /* the head told b first */
    mesh_set_number(a->mesh, 1);
    WAIT_FOR(w, a->tallies[MESH_OUT][2].up && b->tallies[MESH_IN][1].up);

    start(w, 2, 2); /* one that says it is b */
    uint64_t before = counts_of(b).strangers;
    open_to(&w->ends[2], 2, b);
    WAIT_FOR(w, counts_of(b).strangers > before);
    say(a, 2, MESH_OUT, 1);
    WAIT_FOR(w, b->tallies[MESH_IN][1].messages == 1);
}

static void test_nobody_there(void **state)
{
    struct world *w = *state;
    struct end *a = &w->ends[0], *b = &w->ends[1];
    start(w, 0, 1);
    start(w, 1, 2);
    stop(b);
    struct tally *t = &a->tallies[MESH_OUT][2];
    open_to(a, 2, b);
    open_to(a, 2, b); /* again: the same wish */
    assert_int_equal(counts_of(a).out, 1);
    WAIT_FOR(w, t->downs == 1);
    assert_int_equal(t->why, LINK_REFUSED);
    start(w, 1, 2);
    WAIT_FOR(w, t->up);
    assert_int_equal(t->downs, 1);
    assert_int_equal(mesh_open(a->mesh, 5, "nonsense", b->port_key.public_key), -EINVAL);
    assert_int_equal(mesh_open(a->mesh, 5, "127.0.0.1:1", "short"), -EINVAL);
    assert_int_equal(counts_of(a).out, 1);
}

static void test_the_newer_of_two(void **state)
{
    struct world *w = *state;
    struct end *b = &w->ends[1], *c = &w->ends[2];
    struct tally *out, *in;
    start_two(w, &out, &in);
    start(w, 2, 1); /* says it is node 1, too */
    open_to(c, 2, b);
    WAIT_FOR(w, in->ups == 2);
    assert_int_equal(in->downs, 1);
    assert_int_equal(counts_of(b).replaced, 1);
    assert_int_equal(counts_of(b).in, 1);
}

/* Messages of 1 MiB from this one on to node 2, which does not read meanwhile; fewer when its
 * session ends. */
static void flood_peer(struct end *from, uint32_t peer, uint64_t first, uint64_t count)
{
    const struct tally *out = &from->tallies[MESH_OUT][peer];
    static const uint8_t value[FLOOD_BYTES];
    struct peer_msg m = {.type = PEER_RUN,
                         .run = {.number = 1, .returns = 1, .task = {1, 1, 1}},
                         .payload = {value, FLOOD_BYTES}};
    for (m.run.run = first; m.run.run < first + count && out->up; m.run.run++) {
        mesh_send(from->mesh, peer, MESH_OUT, &m);
        mesh_flush(from->mesh);
    }
    mesh_tick(from->mesh, clock_now_ns()); /* what came of it is told */
}

static void flood(struct end *from, const struct tally *out, uint64_t first, uint64_t count)
{
    flood_peer(from, 2, first, count);
}

static void test_a_slow_reader(void **state)
{
    struct world *w = *state;
    struct end *a = &w->ends[0], *b = &w->ends[1];
    struct tally *out, *in;
    start_two(w, &out, &in);
    flood(a, out, 1, 24);
    assert_int_equal(out->slows, 1);
    assert_int_equal(out->fasts, 0);
    assert_true(counts_of(a).backlog_bytes > 8u << 20);
    WAIT_FOR(w, in->messages == 24);
    assert_false(in->wrong_order);
    WAIT_FOR(w, out->fasts == 1);
    assert_int_equal(counts_of(a).backlog_bytes, 0);
    assert_true(out->up && out->slows == 1);
    assert_int_equal(b->last.size, FLOOD_BYTES);
}

static void test_nothing_of_a_former_session(void **state)
{
    struct world *w = *state;
    struct end *a = &w->ends[0];
    struct tally *out, *in;
    start_two(w, &out, &in);
    flood(a, out, 100, 24);
    assert_int_equal(out->slows, 1);
    stop(&w->ends[1]);
    WAIT_FOR(w, !out->up);
    assert_int_equal(counts_of(a).backlog_bytes, 0);
    start(w, 1, 2);
    WAIT_FOR(w, out->up && in->up);
    say(a, 2, MESH_OUT, 1);
    WAIT_FOR(w, in->messages != 0);
    assert_false(in->wrong_order);
    assert_int_equal(out->fasts, 0); /* a session begins without being slow */
}

static void test_too_much_for_a_reader(void **state)
{
    struct world *w = *state;
    struct end *a = &w->ends[0];
    struct tally *out, *in;
    start_two(w, &out, &in);
    flood(a, out, 1, 64);
    assert_int_equal(out->downs, 1);
    assert_int_equal(out->why, LINK_ENDED);
    assert_int_equal(counts_of(a).overrun, 1);
    assert_int_equal(counts_of(a).backlog_bytes, 0);
    WAIT_FOR(w, out->ups == 2 && in->ups == 2); /* and another one begins */
    say(a, 2, MESH_OUT, 1);
    in->messages = 0;
    WAIT_FOR(w, in->messages == 1);
}

/* The bound is for all: who reads least is ended, and nobody else. */
static void test_too_much_for_all_readers(void **state)
{
    struct world *w = *state;
    struct end *a = &w->ends[0];
    struct tally *out, *in, *other = &a->tallies[MESH_OUT][3];
    start_two(w, &out, &in);
    start(w, 2, 3);
    open_to(a, 3, &w->ends[2]);
    WAIT_FOR(w, other->up);
    flood_peer(a, 2, 1, 28);
    assert_int_equal(counts_of(a).overrun, 0);
    flood_peer(a, 3, 1, 28);
    assert_int_equal(counts_of(a).overrun, 1);
    assert_int_equal(out->downs, 1);
    assert_int_equal(out->why, LINK_ENDED);
    assert_int_equal(other->downs, 0);
    assert_true(counts_of(a).backlog_bytes <= 32u << 20);
    WAIT_FOR(w, w->ends[2].tallies[MESH_IN][1].messages == 28);
    WAIT_FOR(w, out->ups == 2);
}

static void test_a_flood_both_ways(void **state)
{
    enum { COUNT = 100000 };
    struct world *w = *state;
    struct end *a = &w->ends[0];
    struct tally *out, *in;
    start_two(w, &out, &in);
    w->ends[1].echo = true;
    for (uint64_t i = 1; i <= COUNT; i++) {
        say(a, 2, MESH_OUT, i);
        if (i % 64 == 0) {
            mesh_flush(a->mesh);
        }
        if (i % 4096 == 0) {
            turn_all(w);
        }
    }
    WAIT_FOR(w, in->messages == COUNT && out->messages == COUNT);
    assert_false(in->wrong_order);
    assert_true(counts_of(a).batches < COUNT / 32);
}

static size_t open_files(void)
{
    size_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count;
}

static void test_many_peers_take_few_files(void **state)
{
    enum { PEERS = 40 };
    struct world *w = *state;
    struct end *a = &w->ends[0];
    start(w, 0, 1);
    start(w, 1, 2);
    open_to(a, 2, &w->ends[1]);
    WAIT_FOR(w, a->tallies[MESH_OUT][2].up);
    size_t before = open_files();
    /* All to one address: who is there is another matter than what a session takes. */
    for (uint32_t i = 0; i < PEERS; i++) {
        open_to(a, 10 + i, &w->ends[1]);
    }
    for (uint32_t i = 0; i < PEERS; i++) {
        WAIT_FOR(w, a->tallies[MESH_OUT][10 + i].why == LINK_KEY_REFUSED);
        mesh_close(a->mesh, 10 + i, MESH_OUT);
    }
    /* They took the place of ours at the other end, where all had our number. */
    WAIT_FOR(w, a->tallies[MESH_OUT][2].up);
    WAIT_FOR(w, open_files() <= before); /* ZeroMQ's threads close them */
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_directed_sessions),
        TEST(test_a_flush_is_a_batch),
        TEST(test_books_wait_for_an_answer),
        TEST(test_a_long_message_goes_in_parts),
        TEST(test_a_node_that_starts_again),
        TEST(test_another_number_at_the_address),
        TEST(test_who_has_no_number_yet),
        TEST(test_nobody_there),
        TEST(test_the_newer_of_two),
        TEST(test_a_slow_reader),
        TEST(test_nothing_of_a_former_session),
        TEST(test_too_much_for_a_reader),
        TEST(test_too_much_for_all_readers),
        TEST(test_a_flood_both_ways),
        TEST(test_many_peers_take_few_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
