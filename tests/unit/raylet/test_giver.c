/* A giver that many ask at once: raylet/giver.c, and raylet/fetch.c where those who ask matter. */
#include "raylet/giver.h"

#include <fcntl.h>
#include <sys/resource.h>

#include "common/clock.h"
#include "common/files.h"
#include "raylet/fetch.h"
#include "tests/unit/unit.h"

#define LIMIT_NS (10 * NS_PER_S)
#define SIZE     (2u * GIVER_PART_BYTES + 77) /* of the program: three parts */

struct sent {
    uint32_t peer;
    int code;
};

struct rig {
    char *dir;
    struct loop *loop;
    struct offload *offload;
    struct programs *theirs;
    struct giver *giver;
    struct sent parts[300];
    size_t part_count;
    uint32_t loaded; /* the handle that `theirs` has */
    uint8_t hash[PROGRAMS_HASH_SIZE];
};

static bool on_loaded(void *arg, uint32_t client, uint32_t program, const struct failure *f)
{
    struct rig *r = arg;
    assert_null(f);
    r->loaded = program;
    return true;
}

static void send_part(void *arg, uint32_t peer, const struct peer_msg *m)
{
    struct rig *r = arg;
    assert_int_equal(m->type, PEER_PROGRAM_PART);
    assert_true(r->part_count < ARRAY_SIZE(r->parts));
    r->parts[r->part_count++] = (struct sent){peer, m->program_part.failure.code};
}

static void turn(struct rig *r)
{
    assert_true(loop_turn(r->loop, NS_PER_MS) >= 0);
}

static void rig_init(struct rig *r)
{
    static uint8_t program[SIZE];
    char path[600];
    uint64_t deadline_ns = clock_now_ns() + LIMIT_NS, size = 0;
    *r = (struct rig){.dir = unit_make_dir()};
    assert_int_equal(loop_new(&r->loop), 0);
    assert_int_equal(offload_new(&r->offload, r->loop, "test"), 0);
    snprintf(path, sizeof path, "%s/there", r->dir);
    assert_int_equal(files_make_dirs(path, 0700), 0);
    r->theirs =
        programs_new(r->offload, path, &(struct programs_owner){.on_loaded = on_loaded, .arg = r});
    r->giver = giver_new(&(struct giver_config){.offload = r->offload,
                                                .programs = r->theirs,
                                                .node_name = "there",
                                                .send = send_part,
                                                .arg = r});
    for (size_t i = 0; i < SIZE; i++) {
        program[i] = (uint8_t)(i * 31 + (i >> 9));
    }
    snprintf(path, sizeof path, "%s/original", r->dir);
    assert_int_equal(files_write_atomic(path, program, SIZE, 0700), 0);
    programs_load(r->theirs, 1, open(path, O_RDONLY | O_CLOEXEC));
    while (r->loaded == 0) {
        assert_true(clock_now_ns() < deadline_ns);
        turn(r);
    }
    assert_true(programs_identity(r->theirs, r->loaded, r->hash, &size));
}

static void rig_fini(struct rig *r)
{
    giver_close(r->giver);
    offload_free(r->offload);
    giver_free(r->giver);
    programs_free(r->theirs);
    loop_free(r->loop);
    unit_remove_dir(&r->dir);
}

/* The giver has nothing left to give. */
static void until_idle(struct rig *r)
{
    uint64_t deadline_ns = clock_now_ns() + LIMIT_NS;
    struct giver_counts counts;
    do {
        assert_true(clock_now_ns() < deadline_ns);
        turn(r);
        giver_count(r->giver, &counts);
    } while (counts.reads + counts.waiting != 0);
}

static uint32_t waiting(const struct rig *r)
{
    struct giver_counts counts;
    giver_count(r->giver, &counts);
    assert_true(counts.reads <= GIVER_READS_MAX);
    return counts.waiting;
}

/* Whoever asks for much does not keep others from their turn. */
static void test_turns(void **state)
{
    struct rig r;
    struct peer_program_get get = {0};
    uint64_t deadline_ns = clock_now_ns() + LIMIT_NS;
    unsigned of_five = 0, of_six = 0;
    rig_init(&r);
    get.hash = bytes_of(r.hash, sizeof r.hash);
    for (unsigned i = 0; i < 200; i++) {
        giver_get(r.giver, 5, &get);
    }
    giver_get(r.giver, 6, &get);
    giver_get(r.giver, 6, &get);
    assert_int_equal(r.part_count, 0);
    assert_int_equal(waiting(&r), 200); /* one of each is under way */
    while (of_five + of_six < 202) {
        assert_true(clock_now_ns() < deadline_ns);
        turn(&r);
        for (size_t i = 0; i < r.part_count; i++) {
            assert_int_equal(r.parts[i].code, 0);
            of_five += r.parts[i].peer == 5;
            of_six += r.parts[i].peer == 6;
            assert_true(of_six == 2 || of_five < 8);
        }
        r.part_count = 0;
    }
    assert_int_equal(waiting(&r), 0);
    rig_fini(&r);
}

/* No fetch asks for so much: it is told so, and all that waits is still given. */
static void test_too_many_questions(void **state)
{
    struct rig r;
    struct peer_program_get get = {0};
    uint64_t deadline_ns = clock_now_ns() + LIMIT_NS;
    const unsigned most = 1 + GIVER_WAITING_MAX;
    rig_init(&r);
    get.hash = bytes_of(r.hash, sizeof r.hash);
    for (unsigned i = 0; i < most; i++) {
        giver_get(r.giver, 5, &get);
    }
    assert_int_equal(r.part_count, 0);
    giver_get(r.giver, 5, &get);
    assert_int_equal(r.part_count, 1);
    assert_int_equal(r.parts[0].code, CODE_PROGRAM);
    giver_get(r.giver, 6, &get); /* another one waits */
    assert_int_equal(r.part_count, 1);
    r.part_count = 0;
    for (unsigned given = 0; given < most + 1;) {
        assert_true(clock_now_ns() < deadline_ns);
        turn(&r);
        given += (unsigned)r.part_count;
        r.part_count = 0;
    }
    rig_fini(&r);
}

static void test_who_is_gone_waits_no_more(void **state)
{
    struct rig r;
    struct peer_program_get get = {0};
    rig_init(&r);
    get.hash = bytes_of(r.hash, sizeof r.hash);
    for (unsigned i = 0; i < 100; i++) {
        giver_get(r.giver, 5, &get);
    }
    giver_get(r.giver, 6, &get);
    giver_down(r.giver, 5);
    giver_down(r.giver, 5);
    assert_int_equal(waiting(&r), 0); /* that of the other is under way */
    uint64_t deadline_ns = clock_now_ns() + LIMIT_NS;
    while (r.part_count == 0) {
        assert_true(clock_now_ns() < deadline_ns);
        turn(&r);
    }
    until_idle(&r);
    assert_int_equal(r.part_count, 1);
    assert_int_equal(r.parts[0].peer, 6);
    for (unsigned i = 0; i < 100; i++) {
        giver_get(r.giver, 5, &get);
    }
    rig_fini(&r); /* the end does not wait for what waits */
}

/* Nobody has a descriptor left: the parts come as soon as one is free. */
static void test_no_descriptor(void **state)
{
    struct rig r;
    struct peer_program_get get = {0};
    struct rlimit former, none;
    uint64_t deadline_ns = clock_now_ns() + LIMIT_NS;
    rig_init(&r);
    get.hash = bytes_of(r.hash, sizeof r.hash);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &former), 0);
    none = (struct rlimit){.rlim_cur = 4, .rlim_max = former.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    for (unsigned i = 0; i < 3; i++) {
        giver_get(r.giver, 5, &get);
    }
    assert_true(giver_next_ns(r.giver) <= clock_now_ns() + GIVER_AGAIN_NS);
    giver_tick(r.giver, giver_next_ns(r.giver)); /* still none */
    turn(&r);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &former), 0);
    assert_int_equal(r.part_count, 0);
    assert_int_equal(waiting(&r), 3);
    giver_tick(r.giver, giver_next_ns(r.giver));
    while (r.part_count < 3) {
        assert_true(clock_now_ns() < deadline_ns);
        turn(&r);
    }
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(r.parts[i].code, 0);
    }
    assert_int_equal(giver_next_ns(r.giver), NS_FOREVER);
    r.part_count = 0;
    rig_fini(&r);
}

/* ---- many nodes at once ---- */

#define CROWD 300u

struct one_of_many {
    struct crowd *crowd;
    uint32_t number; /* as the giver sees it; its job, too */
    struct programs *programs;
    struct fetch *fetch;
    uint32_t program;
};

struct crowd {
    struct rig rig;
    struct one_of_many nodes[CROWD];
    struct { /* under way, as long as a turn */
        uint32_t node;
        uint64_t offset;
    } questions[CROWD * FETCH_AHEAD];
    unsigned question_count, most_questions, fetched;
};

static void crowd_asks(void *arg, uint32_t peer, const struct peer_msg *m)
{
    struct one_of_many *one = arg;
    struct crowd *c = one->crowd;
    assert_true(c->question_count < ARRAY_SIZE(c->questions));
    c->questions[c->question_count].node = one->number;
    c->questions[c->question_count++].offset = m->program_get.offset;
    c->most_questions = MAX_OF(c->most_questions, c->question_count);
}

static void crowd_is_given(void *arg, uint32_t peer, const struct peer_msg *m)
{
    struct crowd *c = arg;
    struct peer_msg part = *m;
    assert_int_equal(m->program_part.failure.code, 0);
    fetch_part(c->nodes[peer - 1].fetch, clock_now_ns(), 1, &part);
}

static void crowd_has_fetched(void *arg, uint64_t job, uint32_t program, const struct failure *f)
{
    struct one_of_many *one = arg;
    assert_null(f);
    assert_int_equal(job, one->number);
    one->program = program;
    one->crowd->fetched++;
}

static bool crowd_loaded(void *arg, uint32_t client, uint32_t program, const struct failure *f)
{
    return false;
}

static void test_300_nodes_at_once(void **state)
{
    struct crowd *c = xcalloc(1, sizeof *c);
    struct rig *r = &c->rig;
    uint64_t deadline_ns = clock_now_ns() + LIMIT_NS;
    rig_init(r);
    giver_free(r->giver);
    r->giver = giver_new(&(struct giver_config){.offload = r->offload,
                                                .programs = r->theirs,
                                                .node_name = "there",
                                                .send = crowd_is_given,
                                                .arg = c});
    for (uint32_t i = 0; i < CROWD; i++) {
        struct one_of_many *one = &c->nodes[i];
        char path[600];
        *one = (struct one_of_many){.crowd = c, .number = i + 1};
        snprintf(path, sizeof path, "%s/node-%u", r->dir, i);
        assert_int_equal(files_make_dirs(path, 0700), 0);
        one->programs =
            programs_new(r->offload, path, &(struct programs_owner){.on_loaded = crowd_loaded});
        one->fetch = fetch_new(&(struct fetch_config){.offload = r->offload,
                                                      .programs = one->programs,
                                                      .node_name = "one of many",
                                                      .send = crowd_asks,
                                                      .on_fetched = crowd_has_fetched,
                                                      .arg = one});
        fetch_order(one->fetch, clock_now_ns(), 1, one->number, r->hash, SIZE);
    }
    while (c->question_count < CROWD * FETCH_AHEAD) { /* all have looked into their stores */
        assert_true(clock_now_ns() < deadline_ns);
        turn(r);
    }
    while (c->fetched < CROWD) {
        assert_true(clock_now_ns() < deadline_ns);
        for (unsigned i = 0; i < c->question_count; i++) {
            struct peer_program_get get = {.hash = bytes_of(r->hash, sizeof r->hash),
                                           .offset = c->questions[i].offset};
            giver_get(r->giver, c->questions[i].node, &get);
        }
        c->question_count = 0;
        turn(r);
    }
    assert_int_equal(c->most_questions, CROWD * FETCH_AHEAD);
    giver_close(r->giver);
    offload_free(r->offload);
    r->offload = NULL;
    for (uint32_t i = 0; i < CROWD; i++) {
        assert_int_not_equal(c->nodes[i].program, 0);
        fetch_free(c->nodes[i].fetch);
        programs_free(c->nodes[i].programs);
    }
    rig_fini(r);
    free(c);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_too_many_questions),
        cmocka_unit_test(test_who_is_gone_waits_no_more),
        cmocka_unit_test(test_no_descriptor),
        cmocka_unit_test(test_300_nodes_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
