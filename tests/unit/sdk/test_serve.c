/*
 * The worker's loop: this program started again as a worker, with the test as its raylet.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "drt/drt.h"
#include "proto/local.h"
#include "proto/ring.h"
#include "sdk/values.h"

#define LIMIT (10 * NS_PER_S)

/* ---- what the worker can do ---- */

DRT_TASK(add, call, DRT_I64, DRT_I64)
{
    return drt_return(call, drt_i64(drt_arg_i64(call, 0) + drt_arg_i64(call, 1)));
}

DRT_TASK(failing, call)
{
    return drt_fail(call, 5, "attempt %u", (unsigned)drt_attempt(call));
}

DRT_TASK(odd_end, call)
{
    return 77;
}

DRT_TASK(three, call)
{
    double *out = DRT_RETURN_ARRAY(call, 1, double, 100);
    out[99] = 4;
    return drt_return_at(call, 2, drt_str("hello"));
}

DRT_TASK(huge, call)
{
    return drt_return(call, drt_bytes("", (2u << 20)));
}

DRT_TASK(until_cancelled, call)
{
    while (!drt_cancelled(call)) {
        sched_yield();
    }
    return drt_return(call, drt_str("stopped"));
}

DRT_TASK(nested, call, DRT_I64)
{
    int64_t x;
    struct drt_ref r = drt_submit(add, drt_i64(drt_arg_i64(call, 0)), drt_i64(1));
    int rc = drt_get_i64(r, &x);
    return rc == 0 ? drt_return(call, drt_i64(x * 10)) : rc;
}

/* Waits for two of three, then for all, then with a limit. */
DRT_TASK(waiting, call)
{
    struct drt_ref r[5];
    size_t ready, at = 0;
    for (; at < 5; at++) {
        r[at] = drt_submit(add, drt_i64((int64_t)at), drt_i64(1));
    }
    int rc = drt_wait(r, 3, 2, drt_forever(), NULL, &ready);
    rc = rc == 0 ? drt_wait(r, 4, 4, drt_forever(), NULL, &ready) : rc;
    rc = rc == 0 ? drt_wait(r + 4, 1, 1, drt_seconds(60), NULL, &ready) : rc;
    drt_release_all(r, 5);
    return rc == 0 ? drt_return(call, drt_i64(1)) : rc;
}

static void *begin_and_end(void *ret)
{
    int *code = ret;
    *code = drt_init(NULL);
    drt_shutdown();
    return NULL;
}

/* In the body, and in a thread that it makes: the sum of what drt_init answered. */
DRT_TASK(beginning_again, call)
{
    pthread_t thread;
    int here = 0, there = 0;
    begin_and_end(&here);
    if (pthread_create(&thread, NULL, begin_and_end, &there) == 0) {
        pthread_join(thread, NULL);
    }
    return drt_return(call, drt_i64(here + there));
}

DRT_TASK(passing_on, call, DRT_REF)
{
    return drt_return(call, drt_of(drt_arg_ref(call, 0)));
}

/* Three results: a reference, the number of those inside its argument with the first of them, and a
 * plain one. */
DRT_TASK(holding, call, DRT_ANY, DRT_REF)
{
    struct drt_ref inner[2] = {drt_arg_inner(call, 0, 0), drt_arg_ref(call, 1)};
    int64_t count = (int64_t)drt_arg_inner_count(call, 0);
    int rc = drt_return_at(call, 0, drt_ref_itself(inner[1]));
    rc = rc == 0 ? drt_return_holding(call, 1, drt_i64(count), inner, 2) : rc;
    drt_release_all(inner, 2);
    return rc == 0 ? drt_return_at(call, 2, drt_str(drt_node_name())) : rc;
}

DRT_TASK(misreading, call, DRT_ANY)
{
    (void)drt_arg_str(call, 0);
    return drt_return(call, drt_i64(1));
}

DRT_TASK(printing, call)
{
    printf("printed");
    return 0;
}

/* ---- the raylet's side ---- */

struct peer {
    pid_t pid;
    int socket;
    struct ring_channel ring;
    struct arena arena;
    struct local_msg msg;
    uint32_t generation;
};

static const char *self;
static struct peer peer;

static void send_msg(const struct local_msg *m)
{
    struct buffer b = {0};
    local_encode(m, buffer_extend(&b, local_size(m)));
    assert_int_equal(ring_send(&peer.ring, bytes_of(b.data, b.size)), 0);
    assert_int_equal(ring_flush(&peer.ring), 0);
    buffer_fini(&b);
}

/* The next message. */
static const struct local_msg *next_message(void)
{
    uint64_t deadline_ns = clock_now_ns() + LIMIT;
    struct bytes data;
    const char *why = "";
    int r;
    arena_reset(&peer.arena);
    while ((r = ring_receive(&peer.ring, &peer.arena, &data)) == 0) {
        assert_true(clock_now_ns() < deadline_ns);
        (void)!ring_flush(&peer.ring);
        sched_yield();
    }
    assert_int_equal(r, 1);
    assert_int_equal(local_decode(data, &peer.arena, &peer.msg, &why), 0);
    return &peer.msg;
}

static const struct local_msg *expect(enum local_type type)
{
    assert_int_equal(next_message()->type, type);
    return &peer.msg;
}

static void start_worker(int out)
{
    int pair[2], rc;
    struct ring_gifts gifts;
    char fd[16];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    peer = (struct peer){.socket = pair[0], .pid = fork()};
    if (peer.pid == 0) {
        fcntl(pair[1], F_SETFD, 0);
        snprintf(fd, sizeof fd, "%d", pair[1]);
        setenv("DRT_WORKER_FD", fd, 1);
        setenv("DRT_WORKER", "12", 1);
        if (out >= 0) {
            dup2(out, 1);
        }
        execl(self, self, "--worker", (char *)NULL);
        _exit(127);
    }
    close(pair[1]);
    uint64_t deadline_ns = clock_now_ns() + LIMIT;
    while ((rc = ring_greet(peer.socket, &peer.ring, &gifts)) == -EAGAIN) {
        assert_true(clock_now_ns() < deadline_ns);
        sched_yield();
    }
    assert_int_equal(rc, 0);
    const struct local_msg *m = expect(LOCAL_OPEN);
    assert_int_equal(m->open.role, ROLE_WORKER);
    assert_int_equal(m->open.worker, 12);
    struct local_msg w = {.type = LOCAL_WELCOME,
                          .welcome = {.node = 3,
                                      .client = 9,
                                      .job = 1,
                                      .node_name = "n",
                                      .cluster = "c",
                                      .credit_bytes = 1u << 20}};
    send_msg(&w);
}

/* Tells it to leave, and its exit status. */
static int end_worker(void)
{
    struct local_msg m = {.type = LOCAL_LEAVE};
    int status;
    send_msg(&m);
    assert_int_equal(waitpid(peer.pid, &status, 0), peer.pid);
    ring_fini(&peer.ring);
    arena_fini(&peer.arena);
    close(peer.socket);
    return status;
}

static void declare(uint32_t number, const char *function)
{
    struct local_msg m = {.type = LOCAL_RUN_CLASS,
                          .run_class = {.number = number, .function = function}};
    send_msg(&m);
}

struct want {
    uint32_t class_number, returns, attempt;
    struct bytes args;
    struct bytes need; /* one, or none */
};

/* Offers a run at this index; the word stays OFFERED until it is claimed. Returns the slot. */
static uint32_t offer(uint32_t index, const struct want *w)
{
    uint32_t slot = index | ++peer.generation << 8;
    uint32_t size = (uint32_t)w->need.size;
    struct local_msg m = {
        .type = LOCAL_RUN,
        .run = {.slot = slot,
                .class_number = w->class_number,
                .attempt = w->attempt == 0 ? 1 : w->attempt,
                .returns = w->returns == 0 ? 1 : w->returns,
                .task = {3, 2, 50},
                .need_sizes = &size,
                .need_count = w->need.size != 0},
        .payload = w->args,
        .more = &w->need,
        .more_count = w->need.size != 0,
    };
    atomic_store(ring_word(&peer.ring, index), claim_word(slot, CLAIM_OFFERED));
    send_msg(&m);
    return slot;
}

static struct bytes args_of(const struct drt_value *values, size_t count, struct object_id id)
{
    static _Alignas(64) uint8_t room[4096];
    struct object_id ids[4] = {id, id, id, id};
    size_t size = args_size(values, count);
    assert_true(size <= sizeof room);
    args_encode(values, count, ids, room, size);
    return bytes_of(room, size);
}

static int64_t number_in(struct bytes data)
{
    struct value_view v;
    assert_int_equal(value_decode(data, &v), 0);
    assert_int_equal(v.kind, DRT_I64);
    return v.i;
}

static void test_runs(void **state)
{
    struct drt_value values[2] = {drt_i64(40), drt_i64(2)};
    struct object_id none = {0, 0, 0};
    start_worker(-1);
    declare(1, "add");
    declare(2, "failing");
    declare(3, "odd_end");
    declare(4, "no_such_task");
    uint32_t slot = offer(5, &(struct want){.class_number = 1, .args = args_of(values, 2, none)});
    const struct local_msg *m = expect(LOCAL_RESULT);
    assert_int_equal(m->result.slot, slot);
    assert_int_equal(m->result.code, 0);
    assert_int_equal(m->result.return_count, 1);
    assert_int_equal(number_in(m->payload), 42);
    assert_int_equal(atomic_load(ring_word(&peer.ring, 5)) & 3, CLAIM_CLAIMED);

    offer(6, &(struct want){.class_number = 2, .attempt = 3});
    m = expect(LOCAL_RESULT);
    assert_int_equal(m->result.code, CODE_FAILED);
    assert_int_equal(m->result.app_code, 5);
    assert_string_equal(m->result.message, "attempt 3");
    offer(7, &(struct want){.class_number = 3});
    m = expect(LOCAL_RESULT);
    assert_int_equal(m->result.code, CODE_FAILED);
    assert_int_equal(m->result.app_code, 77);
    offer(8, &(struct want){.class_number = 4});
    m = expect(LOCAL_RESULT);
    assert_int_equal(m->result.code, CODE_SIGNATURE);
    assert_non_null(strstr(m->result.message, "no_such_task"));
    assert_int_equal(end_worker(), 0);
}

/* The values of references come behind the arguments; a wrong kind is found before the body. */
static void test_needs(void **state)
{
    struct drt_ref any = {{1, 1}};
    struct drt_value values[2] = {drt_of(any), drt_i64(2)}, need = drt_i64(40);
    struct object_id id = {3, 2, 49};
    _Alignas(64) uint8_t encoded[64];
    start_worker(-1);
    declare(1, "add");
    value_encode(&need, encoded);
    struct want w = {.class_number = 1,
                     .args = args_of(values, 2, id),
                     .need = bytes_of(encoded, value_size(&need))};
    offer(0, &w);
    assert_int_equal(number_in(expect(LOCAL_RESULT)->payload), 42);
    need = drt_str("forty");
    value_encode(&need, encoded);
    w.need.size = value_size(&need);
    offer(1, &w);
    const struct local_msg *m = expect(LOCAL_RESULT);
    assert_int_equal(m->result.code, CODE_SIGNATURE);
    assert_non_null(strstr(m->result.message, "argument 0 of add is a string"));
    w.need.size = 3; /* garbage */
    offer(2, &w);
    assert_int_equal(expect(LOCAL_RESULT)->result.code, CODE_SIGNATURE);
    assert_int_equal(end_worker(), 0);
}

static void test_results(void **state)
{
    struct value_view v;
    start_worker(-1);
    declare(1, "three");
    declare(2, "huge");
    declare(3, "misreading");
    offer(0, &(struct want){.class_number = 1, .returns = 3});
    const struct local_msg *m = expect(LOCAL_RESULT);
    assert_int_equal(m->result.code, 0);
    assert_int_equal(m->result.return_count, 3);
    assert_int_equal(m->result.returns[0].state, RETURN_UNSET);
    assert_int_equal(m->result.returns[1].state, RETURN_VALUE);
    struct bytes second = bytes_of(m->payload.data, m->result.returns[1].size);
    assert_int_equal(value_decode(second, &v), 0);
    assert_string_equal(v.type, "double");
    assert_int_equal(v.data.size, 800);
    double last;
    memcpy(&last, (const char *)v.data.data + 792, 8);
    assert_true(last == 4);
    size_t at = align_up(second.size, 8);
    assert_int_equal(
        value_decode(bytes_of((const uint8_t *)m->payload.data + at, m->result.returns[2].size),
                     &v),
        0);
    assert_string_equal(v.data.data, "hello");

    offer(1, &(struct want){.class_number = 1, .returns = 2}); /* it sets a third */
    m = expect(LOCAL_RESULT);
    assert_int_equal(m->result.code, CODE_SIGNATURE);
    offer(2, &(struct want){.class_number = 2});
    m = expect(LOCAL_RESULT);
    assert_int_equal(m->result.code, 0);
    assert_int_equal(m->result.returns[0].state, RETURN_TOO_LARGE);
    struct drt_value number = drt_i64(1);
    offer(3, &(struct want){.class_number = 3,
                            .args = args_of(&number, 1, (struct object_id){0, 0, 0})});
    m = expect(LOCAL_RESULT);
    assert_int_equal(m->result.code, CODE_SIGNATURE);
    assert_non_null(strstr(m->result.message, "drt_arg_kind"));
    assert_int_equal(end_worker(), 0);
}

/* What was taken back is skipped, and a new offer at the same index is not mistaken for it. */
static void test_taken_back(void **state)
{
    struct drt_value values[2] = {drt_i64(1), drt_i64(2)};
    struct object_id none = {0, 0, 0};
    start_worker(-1);
    declare(1, "until_cancelled");
    declare(2, "add");
    uint32_t busy = offer(0, &(struct want){.class_number = 1});
    uint64_t deadline_ns = clock_now_ns() + LIMIT;
    while (atomic_load(ring_word(&peer.ring, 0)) != claim_word(busy, CLAIM_CLAIMED)) {
        assert_true(clock_now_ns() < deadline_ns);
        sched_yield();
    }
    uint32_t old = offer(1, &(struct want){.class_number = 2, .args = args_of(values, 2, none)});
    uint32_t word = claim_word(old, CLAIM_OFFERED);
    assert_true(atomic_compare_exchange_strong(ring_word(&peer.ring, 1), &word,
                                               claim_word(old, CLAIM_TAKEN_BACK)));
    values[0] = drt_i64(10);
    uint32_t fresh = offer(1, &(struct want){.class_number = 2, .args = args_of(values, 2, none)});
    word = claim_word(busy, CLAIM_CLAIMED);
    assert_true(
        atomic_compare_exchange_strong(ring_word(&peer.ring, 0), &word, word | CLAIM_CANCEL));
    assert_int_equal(expect(LOCAL_RESULT)->result.slot, busy);
    const struct local_msg *m = expect(LOCAL_RESULT);
    assert_int_equal(m->result.slot, fresh);
    assert_int_equal(number_in(m->payload), 12);
    assert_int_equal(end_worker(), 0);
}

/* A body that waits says so, and what it submits names its slot. */
static void test_nested(void **state)
{
    struct drt_value values[1] = {drt_i64(4)};
    start_worker(-1);
    declare(1, "nested");
    offer(3, &(struct want){.class_number = 1,
                            .args = args_of(values, 1, (struct object_id){0, 0, 0})});
    assert_string_equal(expect(LOCAL_CLASS)->class_.function, "add");
    const struct local_msg *m = expect(LOCAL_SUBMIT);
    assert_int_equal(m->submit.parent_slot, 4);
    assert_int_equal(m->submit.number, 1);
    m = expect(LOCAL_GET);
    struct object_id id = m->get.ids[0];
    assert_int_equal(id.client, 9);
    expect(LOCAL_BLOCKED);
    uint8_t encoded[16];
    struct drt_value five = drt_i64(5);
    value_encode(&five, encoded);
    struct local_value v = {id, VALUE_HERE, 16};
    struct local_msg answer = {
        .type = LOCAL_VALUES, .values = {&v, 1}, .payload = bytes_of(encoded, 16)};
    send_msg(&answer);
    expect(LOCAL_UNBLOCKED);
    assert_int_equal(number_in(expect(LOCAL_RESULT)->payload), 50);
    assert_int_equal(end_worker(), 0);
}

static void answer(struct object_id id)
{
    uint8_t encoded[16];
    struct drt_value five = drt_i64(5);
    value_encode(&five, encoded);
    struct local_value v = {id, VALUE_HERE, 16};
    struct local_msg m = {
        .type = LOCAL_VALUES, .values = {&v, 1}, .payload = bytes_of(encoded, 16)};
    send_msg(&m);
}

/* GETs may come before it. */
static const struct local_ids *expect_blocked(void)
{
    const struct local_msg *m;
    do {
        m = next_message();
    } while (m->type == LOCAL_GET);
    assert_int_equal(m->type, LOCAL_BLOCKED);
    return &m->ids;
}

/* What would end the wait, and anew when some of it has come: its raylet may take a body for stuck
 * that waits for nothing else. With a limit it is never stuck. */
static void test_blocked(void **state)
{
    static const struct drt_value no_value;
    struct object_id ids[5];
    const struct local_ids *m;
    start_worker(-1);
    declare(1, "waiting");
    offer(0, &(struct want){.class_number = 1,
                            .args = args_of(&no_value, 0, (struct object_id){0, 0, 0})});
    expect(LOCAL_CLASS);
    for (int i = 0; i < 5; i++) {
        const struct local_submit *submit = &expect(LOCAL_SUBMIT)->submit;
        ids[i] = (struct object_id){3, 9, submit->number};
    }
    m = expect_blocked();
    assert_int_equal(m->id_count, 3);
    answer(ids[1]);
    m = expect_blocked();
    assert_int_equal(m->id_count, 2);
    assert_true(object_id_equal(m->ids[0], ids[0]) && object_id_equal(m->ids[1], ids[2]));
    answer(ids[0]);
    expect(LOCAL_UNBLOCKED);

    m = expect_blocked();
    assert_int_equal(m->id_count, 1);
    assert_true(object_id_equal(m->ids[0], ids[2]));
    answer(ids[2]);
    m = expect_blocked();
    assert_int_equal(m->id_count, 1);
    assert_true(object_id_equal(m->ids[0], ids[3]));
    answer(ids[3]);
    expect(LOCAL_UNBLOCKED);

    assert_int_equal(expect_blocked()->id_count, 0);
    answer(ids[4]);
    expect(LOCAL_UNBLOCKED);
    const struct local_msg *last;
    do {
        last = next_message();
    } while (last->type == LOCAL_RELEASE);
    assert_int_equal(last->type, LOCAL_RESULT);
    assert_int_equal(number_in(last->payload), 1);
    assert_int_equal(end_worker(), 0);
}

/* A reference among the arguments is held, may be the result, and is released after it. */
static void test_alias(void **state)
{
    struct drt_ref any = {{1, 1}};
    struct drt_value values[1] = {drt_ref_itself(any)};
    struct object_id id = {3, 2, 49};
    start_worker(-1);
    declare(1, "passing_on");
    offer(0, &(struct want){.class_number = 1, .args = args_of(values, 1, id)});
    const struct local_msg *m = expect(LOCAL_HOLD);
    assert_true(object_id_equal(m->ids.ids[0], id));
    m = expect(LOCAL_RESULT);
    assert_int_equal(m->result.returns[0].state, RETURN_ALIAS);
    assert_true(object_id_equal(m->result.returns[0].alias, id));
    m = expect(LOCAL_RELEASE);
    assert_true(object_id_equal(m->ids.ids[0], id));
    assert_int_equal(end_worker(), 0);
}

/* References inside: of arguments they are the job's own to hold, of results they are declared, and
 * released after the record. */
static void test_inside(void **state)
{
    struct drt_ref any = {{1, 1}};
    struct drt_value values[2] = {drt_of(any), drt_ref_itself(any)}, need = drt_str("box");
    struct object_id id = {3, 2, 49}, inside[2] = {{8, 1, 7}, {3, 2, 11}};
    struct value_view v;
    _Alignas(64) uint8_t encoded[128];
    start_worker(-1);
    declare(1, "holding");
    value_holding_encode(&need, inside, 2, encoded);
    offer(0, &(struct want){.class_number = 1,
                            .returns = 3,
                            .args = args_of(values, 2, id),
                            .need = bytes_of(encoded, value_holding_size(&need, 2))});
    const struct local_msg *m = expect(LOCAL_HOLD);
    assert_true(object_id_equal(m->ids.ids[0], inside[0]) && m->ids.through.number == 0);
    m = expect(LOCAL_HOLD);
    assert_true(object_id_equal(m->ids.ids[0], id) && m->ids.through.number == 0);
    m = expect(LOCAL_RESULT);
    assert_int_equal(m->result.code, 0);
    assert_int_equal(m->result.ref_count, 3);
    assert_int_equal(m->result.returns[0].ref_count, 1);
    assert_int_equal(m->result.returns[1].ref_count, 2);
    assert_int_equal(m->result.returns[2].ref_count, 0);
    assert_true(object_id_equal(m->result.refs[0], id));
    assert_true(object_id_equal(m->result.refs[1], inside[0]));
    assert_true(object_id_equal(m->result.refs[2], id));
    const uint8_t *at = m->payload.data;
    assert_int_equal(value_decode(bytes_of(at, m->result.returns[0].size), &v), 0);
    assert_true(v.kind == DRT_REF && object_id_equal(value_inner(&v, 0), id));
    at += align_up(m->result.returns[0].size, 8);
    assert_int_equal(value_decode(bytes_of(at, m->result.returns[1].size), &v), 0);
    assert_true(v.i == 2 && object_id_equal(value_inner(&v, 1), id));
    at += align_up(m->result.returns[1].size, 8);
    assert_int_equal(value_decode(bytes_of(at, m->result.returns[2].size), &v), 0);
    assert_string_equal(v.data.data, "n");
    m = expect(LOCAL_RELEASE);
    assert_int_equal(m->ids.id_count, 2);
    assert_int_equal(end_worker(), 0);
}

/* A worker stays what it is, whatever its tasks try. */
static void test_begun_already(void **state)
{
    start_worker(-1);
    declare(1, "beginning_again");
    offer(0, &(struct want){.class_number = 1});
    assert_int_equal(number_in(expect(LOCAL_RESULT)->payload), 2 * -EALREADY);
    assert_int_equal(end_worker(), 0);
}

static void test_output_and_death(void **state)
{
    int out[2], status;
    char text[16] = "";
    assert_int_equal(pipe(out), 0);
    start_worker(out[1]);
    close(out[1]);
    declare(1, "printing");
    offer(0, &(struct want){.class_number = 1});
    expect(LOCAL_RESULT);
    assert_int_equal(read(out[0], text, sizeof text - 1), 7); /* before the result */
    assert_string_equal(text, "printed");
    close(out[0]);
    /* The raylet's end of the socket closes: the worker ends by itself. */
    close(peer.socket);
    assert_int_equal(waitpid(peer.pid, &status, 0), peer.pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    ring_fini(&peer.ring);
    arena_fini(&peer.arena);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--worker") == 0) {
        drt_init_or_exit();
        return 3; /* not a worker: it does not come here */
    }
    self = argv[0];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs),          cmocka_unit_test(test_needs),
        cmocka_unit_test(test_results),       cmocka_unit_test(test_taken_back),
        cmocka_unit_test(test_nested),        cmocka_unit_test(test_blocked),
        cmocka_unit_test(test_alias),         cmocka_unit_test(test_inside),
        cmocka_unit_test(test_begun_already), cmocka_unit_test(test_output_and_death),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
