#include "raylet/workers.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"
#include "tests/unit/raylet/player.h"
#include "tests/unit/unit.h"

#define LIMIT_NS (10 * NS_PER_S)

struct rig {
    char *dir;
    struct loop *loop;
    struct events events;
    struct logs *logs;
    struct workers *workers;
    struct clients *clients;
    int program;
    size_t seen; /* events that a test has looked at */
};

static void rig_init(struct rig *r)
{
    *r = (struct rig){.program = player_program()};
    r->dir = unit_make_dir();
    assert_int_equal(loop_new(&r->loop), 0);
    r->logs = logs_new(r->loop, r->dir, NULL);
    r->workers = workers_new(&(struct workers_config){.loop = r->loop,
                                                      .events = &r->events,
                                                      .logs = r->logs,
                                                      .node_dir = r->dir,
                                                      .node_name = "box"});
    r->clients = clients_new(r->loop, &r->events,
                             &(struct clients_owner){.on_worker_silent = workers_on_silent,
                                                     .on_worker_greeted = workers_on_greeted,
                                                     .arg = r->workers},
                             100);
    workers_set_clients(r->workers, r->clients);
}

static void rig_fini(struct rig *r)
{
    workers_end(r->workers, LIMIT_NS);
    assert_int_equal(workers_used(r->workers), 0);
    clients_free(r->clients);
    workers_free(r->workers);
    logs_free(r->logs);
    loop_free(r->loop);
    events_fini(&r->events);
    close_fd(&r->program);
    unit_remove_dir(&r->dir);
}

/* One turn as the shell does it, but for the core. */
static void turn(struct rig *r)
{
    uint64_t now_ns = clock_now_ns();
    (void)clients_receive(r->clients, now_ns);
    clients_flush(r->clients, now_ns);
    workers_tick(r->workers, now_ns);
    assert_true(loop_turn(r->loop, NS_PER_MS) >= 0);
}

/* The next event, which must be of this kind. */
static const struct raylet_event *expect(struct rig *r, enum raylet_event_kind kind)
{
    uint64_t deadline_ns = clock_now_ns() + LIMIT_NS;
    while (r->events.count == r->seen) {
        assert_true(clock_now_ns() < deadline_ns);
        turn(r);
    }
    const struct raylet_event *event = &r->events.items[r->seen++];
    assert_int_equal(event->kind, kind);
    return event;
}

static void start(struct rig *r, uint32_t worker, const char *role, const char *more)
{
    struct buffer env = player_env(role, more);
    workers_spawn(r->workers, &(struct workers_start){.worker = worker,
                                                      .program_fd = r->program,
                                                      .name = "player",
                                                      .cwd = r->dir,
                                                      .env = bytes_of(env.data, env.size),
                                                      .umask = 077});
    buffer_fini(&env);
}

/* Until its OPEN is here. Its client. */
static uint32_t expect_open(struct rig *r, uint32_t worker)
{
    assert_int_equal(expect(r, EVENT_WORKER_STARTED)->worker, worker);
    const struct raylet_event *up = expect(r, EVENT_CLIENT_UP);
    assert_int_equal(up->worker, worker);
    assert_int_equal(up->uid, getuid());
    uint32_t client = up->client;
    const struct raylet_event *open = expect(r, EVENT_CLIENT_MESSAGE);
    assert_int_equal(open->client, client);
    assert_int_equal(open->local->type, LOCAL_OPEN);
    assert_int_equal(open->local->open.worker, worker);
    return client;
}

static void test_a_life(void **state)
{
    struct rig r;
    rig_init(&r);
    start(&r, 3, "opens", NULL);
    uint32_t client = expect_open(&r, 3);
    assert_int_equal(workers_used(r.workers), 1);
    clients_send(r.clients, client, &(struct local_msg){.type = LOCAL_LEAVE});
    const struct raylet_event *exited = expect(&r, EVENT_WORKER_EXITED);
    assert_int_equal(exited->worker, 3);
    assert_int_equal(exited->wait_status, 0);
    assert_null(exited->failure);
    assert_int_equal(exited->claimed[0] | exited->claimed[1], 0);
    assert_int_equal(expect(&r, EVENT_CLIENT_DOWN)->client, client);
    assert_int_equal(workers_used(r.workers), 0);
    rig_fini(&r);
}

static void test_killed_with_a_claim(void **state)
{
    struct rig r;
    rig_init(&r);
    start(&r, 1, "claims", NULL);
    uint32_t client = expect_open(&r, 1);
    for (uint32_t i = 0; i < 3; i++) {
        struct local_msg m = {.type = LOCAL_RUN};
        m.run.slot = 70 + i + (9u << 8);
        m.run.class_number = 1;
        m.run.attempt = 1;
        m.run.returns = 1;
        m.run.task = (struct object_id){1, 1, 1 + i};
        clients_send(r.clients, client, &m);
    }
    clients_flush(r.clients, clock_now_ns());
    assert_int_equal(expect(&r, EVENT_CLIENT_MESSAGE)->local->type, LOCAL_BLOCKED);
    const struct raylet_event *exited = expect(&r, EVENT_WORKER_EXITED);
    assert_true(WIFSIGNALED(exited->wait_status));
    assert_int_equal(WTERMSIG(exited->wait_status), SIGKILL);
    assert_int_equal(exited->claimed[0], 0);
    assert_int_equal(exited->claimed[1], UINT64_C(1) << (70 - 64));
    assert_int_equal(expect(&r, EVENT_CLIENT_DOWN)->client, client);
    rig_fini(&r);
}

static void test_taking_back(void **state)
{
    struct rig r;
    struct local_msg m = {.type = LOCAL_RUN};
    rig_init(&r);
    start(&r, 1, "opens", NULL); /* leaves every task untouched */
    uint32_t client = expect_open(&r, 1);
    m.run.slot = 5 + (1u << 8);
    m.run.class_number = m.run.attempt = m.run.returns = 1;
    m.run.task = (struct object_id){1, 1, 1};
    clients_send(r.clients, client, &m);
    assert_false(clients_take_back(r.clients, client, 5 + (2u << 8)));
    assert_true(clients_take_back(r.clients, client, m.run.slot));
    assert_false(clients_take_back(r.clients, client, m.run.slot));
    assert_false(clients_take_back(r.clients, client + 1, m.run.slot));
    rig_fini(&r);
}

static void test_one_that_never_opens(void **state)
{
    struct rig r;
    rig_init(&r);
    start(&r, 1, "complains", NULL);
    assert_int_equal(expect(&r, EVENT_WORKER_STARTED)->worker, 1);
    const struct raylet_event *exited = expect(&r, EVENT_WORKER_EXITED);
    assert_int_equal(WEXITSTATUS(exited->wait_status), 127);
    assert_int_equal(exited->failure->code, CODE_PROGRAM);
    assert_false(exited->refused);
    assert_string_equal(exited->failure->message,
                        "The program does not start: error while loading shared libraries: "
                        "libnone.so: cannot open");
    start(&r, 2, "nothing", NULL);
    assert_int_equal(expect(&r, EVENT_WORKER_STARTED)->worker, 2);
    exited = expect(&r, EVENT_WORKER_EXITED);
    assert_non_null(strstr(exited->failure->message, "exit code 99 before it called drt_init"));
    assert_int_equal(exited->failure->exit_code, 99);
    rig_fini(&r);
}

/* Where its library is not: the copy has none beside it. */
static void test_one_without_its_library(void **state)
{
    struct rig r;
    char path[512];
    struct buffer program = {0};
    rig_init(&r);
    snprintf(path, sizeof path, "%s/copy", r.dir);
    assert_int_equal(files_read(NEEDS_GONE, 16u << 20, &program), 0);
    assert_int_equal(files_write_atomic(path, program.data, program.size, 0700), 0);
    buffer_fini(&program);
    close_fd(&r.program);
    r.program = open(path, O_RDONLY | O_CLOEXEC);
    start(&r, 1, "opens", NULL);
    assert_int_equal(expect(&r, EVENT_WORKER_STARTED)->worker, 1);
    const struct raylet_event *exited = expect(&r, EVENT_WORKER_EXITED);
    assert_true(exited->refused);
    assert_string_equal(exited->failure->message,
                        "on node \"box\" the program needs libgone.so, which is not there: install "
                        "it on that node");
    assert_int_equal(exited->failure->exit_code, 127);
    rig_fini(&r);
}

static void test_one_that_cannot_start(void **state)
{
    struct rig r;
    char path[512];
    rig_init(&r);
    snprintf(path, sizeof path, "%s/text", r.dir);
    assert_int_equal(files_write_atomic(path, "text", 4, 0700), 0);
    close_fd(&r.program);
    r.program = open(path, O_RDONLY | O_CLOEXEC);
    start(&r, 1, "opens", NULL);
    const struct raylet_event *refused = expect(&r, EVENT_WORKER_REFUSED);
    assert_int_equal(refused->worker, 1);
    assert_int_equal(refused->failure->code, CODE_PROGRAM);
    uint64_t deadline_ns = clock_now_ns() + LIMIT_NS;
    while (workers_used(r.workers) != 0) {
        assert_true(clock_now_ns() < deadline_ns);
        turn(&r);
    }
    assert_int_equal(r.events.count, r.seen); /* nothing follows a refusal */
    rig_fini(&r);
}

static void test_one_that_lies(void **state)
{
    struct rig r;
    rig_init(&r);
    start(&r, 1, "lies", NULL);
    assert_int_equal(expect(&r, EVENT_WORKER_STARTED)->worker, 1);
    assert_int_equal(expect(&r, EVENT_CLIENT_UP)->worker, 1);
    const struct raylet_event *exited = expect(&r, EVENT_WORKER_EXITED);
    assert_true(WIFSIGNALED(exited->wait_status));
    expect(&r, EVENT_CLIENT_DOWN);
    rig_fini(&r);
}

static pid_t read_pid(const char *path)
{
    struct buffer text = {0};
    uint64_t pid = 0;
    assert_int_equal(files_read(path, 64, &text), 0);
    assert_int_equal(text_parse_u64(buffer_text(&text), INT32_MAX, &pid), 0);
    buffer_fini(&text);
    return (pid_t)pid;
}

static void test_nothing_outlives_it(void **state)
{
    struct rig r;
    char path[512], more[600];
    rig_init(&r);
    snprintf(path, sizeof path, "%s/stray", r.dir);
    snprintf(more, sizeof more, "MINE=%s", path);
    start(&r, 1, "strays", more);
    expect(&r, EVENT_WORKER_STARTED);
    const struct raylet_event *exited = expect(&r, EVENT_WORKER_EXITED);
    assert_int_equal(WEXITSTATUS(exited->wait_status), 7);
    pid_t stray = read_pid(path);
    uint64_t deadline_ns = clock_now_ns() + LIMIT_NS;
    while (kill(stray, 0) == 0) {
        assert_true(clock_now_ns() < deadline_ns);
        workers_sweep(r.workers);
    }
    rig_fini(&r);
}

static void test_the_end_kills_all(void **state)
{
    struct rig r;
    rig_init(&r);
    start(&r, 1, "opens", NULL);
    (void)expect_open(&r, 1);
    start(&r, 2, "waits", NULL);
    expect(&r, EVENT_WORKER_STARTED);
    assert_int_equal(workers_used(r.workers), 2);
    size_t before = r.events.count;
    workers_end(r.workers, LIMIT_NS);
    assert_int_equal(workers_used(r.workers), 0);
    for (size_t i = before; i < r.events.count; i++) {
        assert_int_not_equal(r.events.items[i].kind, EVENT_WORKER_EXITED);
    }
    rig_fini(&r);
}

int main(int argc, char **argv)
{
    player_main(argc, argv);
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_life),
        cmocka_unit_test(test_killed_with_a_claim),
        cmocka_unit_test(test_taking_back),
        cmocka_unit_test(test_one_that_never_opens),
        cmocka_unit_test(test_one_without_its_library),
        cmocka_unit_test(test_one_that_cannot_start),
        cmocka_unit_test(test_one_that_lies),
        cmocka_unit_test(test_nothing_outlives_it),
        cmocka_unit_test(test_the_end_kills_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
