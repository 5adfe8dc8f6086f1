#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/ask.h"
#include "common/files.h"
#include "common/loop.h"
#include "proto/cluster.h"
#include "proto/link.h"
#include "tests/unit/cli/fixture.h"

/* What the head that we play does when it is asked. */
enum manner { ANSWERS, REFUSES, ENDS, TALKS_NONSENSE };

struct head {
    char dir[64];
    struct place place;
    struct keys_head keys;
    pid_t pid; /* 0: none */
    char address[HOSTPORT_SIZE];
    /* in its process */
    enum manner manner;
    struct link *link;
    struct arena arena;
};

/* ---- the head's process ---- */

static void say(struct head *h, uint64_t peer, const struct cluster_msg *m)
{
    struct buffer packed = {0};
    cluster_encode(m, buffer_extend(&packed, cluster_size(m)));
    ASSERT(link_send(h->link, peer, bytes_of(packed.data, packed.size)) == 0);
    buffer_fini(&packed);
}

static void answer(struct head *h, uint64_t peer, const struct cluster_query *query)
{
    /* In two pieces, as a large answer comes; and one that nobody asked for. */
    struct cluster_msg m = {.type = CLUSTER_REPLY, .reply = {.request = query->request + 100}};
    m.reply.reply = (struct state_reply){.last = true};
    say(h, peer, &m);
    m.reply.request = query->request;
    m.reply.reply =
        (struct state_reply){.cluster = "fake", .tasks = fixture_tasks, .task_count = 1};
    say(h, peer, &m);
    m.reply.reply = (struct state_reply){.last = true, .tasks = fixture_tasks, .task_count = 2};
    if (query->query.kind == STATE_EXPLAIN) {
        failure_set(&m.reply.reply.failure, CODE_NOT_FOUND, "no such task");
    }
    say(h, peer, &m);
}

static void on_message(void *arg, uint64_t peer, struct bytes message, bool datagram)
{
    struct head *h = arg;
    struct cluster_msg m;
    const char *why;
    ASSERT(cluster_decode(message, &h->arena, &m, &why) == 0 && m.type == CLUSTER_QUERY);
    if (h->manner == ANSWERS) {
        answer(h, peer, &m.query);
    } else if (h->manner == REFUSES) {
        struct cluster_msg refused = {.type = CLUSTER_REFUSED};
        failure_set(&refused.refused.failure, CODE_REFUSED, "not you");
        say(h, peer, &refused);
        link_drop(h->link, peer);
    } else if (h->manner == ENDS) {
        link_drop(h->link, peer);
    } else {
        ASSERT(link_send(h->link, peer, bytes_of_text("nonsense nonsense")) == 0);
    }
}

static void on_up(void *arg, uint64_t peer, const struct link_identity *identity)
{
}

static void on_room(void *arg, uint64_t peer)
{
}

static void on_down(void *arg, uint64_t peer, enum link_down why)
{
}

NORETURN static void serve(struct head *h, int port_fd)
{
    struct loop *loop;
    uint16_t port;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    ASSERT(loop_new(&loop) == 0);
    struct link_server_config config = {
        .loop = loop,
        .bind = "127.0.0.1",
        .key = h->keys.server,
        .access = h->keys.access,
        .number = SESSION_NUMBER_HEAD,
        .events = {.on_up = on_up,
                   .on_message = on_message,
                   .on_room = on_room,
                   .on_down = on_down,
                   .arg = h},
    };
    ASSERT(link_server_new(&config, &h->link, &port) == 0);
    ASSERT(write(port_fd, &port, sizeof port) == sizeof port);
    for (;;) {
        uint64_t next_ns = link_next_ns(h->link), now_ns = clock_now_ns();
        ASSERT(loop_turn(loop, next_ns == NS_FOREVER ? NS_FOREVER
                               : next_ns > now_ns    ? next_ns - now_ns
                                                     : 0) >= 0);
        link_tick(h->link, clock_now_ns());
    }
}

/* ---- the test's ---- */

static void start(struct head *h, enum manner manner)
{
    int ends[2];
    uint16_t port;
    struct failure f;
    assert_int_equal(pipe(ends), 0);
    h->manner = manner;
    h->pid = fork();
    assert_true(h->pid >= 0);
    if (h->pid == 0) {
        serve(h, ends[1]);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &port, sizeof port), sizeof port);
    close(ends[0]);
    snprintf(h->address, sizeof h->address, "127.0.0.1:%u", port);
    const char *addresses[] = {h->address};
    assert_int_equal(keys_set_addresses(&h->place, addresses, 1, &f), 0);
}

static void stop(struct head *h)
{
    if (h->pid > 0) {
        kill(h->pid, SIGKILL);
        waitpid(h->pid, NULL, 0);
        h->pid = 0;
    }
}

static int setup(void **state)
{
    struct head *h = xcalloc(1, sizeof *h);
    struct failure f;
    snprintf(h->dir, sizeof h->dir, "/tmp/drt-test-remote-XXXXXX");
    if (mkdtemp(h->dir) == NULL || place_for_start(h->dir, NULL, &h->place, &f) != 0 ||
        keys_create(&h->place, "fake", &h->keys, &f) != 0) {
        return -1;
    }
    *state = h;
    return 0;
}

static int teardown(void **state)
{
    struct head *h = *state;
    stop(h);
    int r = files_remove_tree(h->dir);
    free(h);
    return r;
}

static struct remote_wish wish_of(const struct head *h, const char *file)
{
    struct remote_wish wish = {0};
    assert_int_equal(place_path(&h->place, file, wish.key_file), 0);
    return wish;
}

static const struct state_query QUERIES[2] = {
    {.kind = STATE_TASKS, .id = "", .node = "", .state = "", .name = ""},
    {.kind = STATE_EXPLAIN, .id = "last", .node = "", .state = "", .name = ""}};

static void answers_are_whole(void **state)
{
    static const char *const files[] = {"client.key", "reader.key", "join.key"};
    struct head *h = *state;
    struct failure f;
    start(h, ANSWERS);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        struct remote_wish wish = wish_of(h, files[i]);
        struct remote *r;
        assert_int_equal(remote_open(&wish, &r, &f), EXIT_DONE);
        assert_string_equal(remote_cluster(r), "fake");
        for (int round = 0; round < 3; round++) {
            struct answer answers[2];
            answer_init(&answers[0]);
            answer_init(&answers[1]);
            assert_int_equal(remote_rows(r, QUERIES, 2, answers, &f), EXIT_DONE);
            assert_true(answers[0].whole && answers[1].whole);
            assert_int_equal(answers[0].task_count, 3);
            assert_string_equal(answers[0].tasks[0].name, "train small");
            assert_string_equal(answers[0].cluster, "fake");
            assert_int_equal(answers[0].failure.code, 0);
            assert_int_equal(answers[1].failure.code, CODE_NOT_FOUND);
            fixture_fini(answers, 2);
        }
        remote_close(r);
    }
}

static void what_goes_wrong_while_asking_is_told(void **state)
{
    static const struct {
        enum manner manner;
        int status;
        const char *says;
    } cases[] = {{REFUSES, EXIT_REFUSED, "not you"},
                 {ENDS, EXIT_NO_CLUSTER, "ended while"},
                 {TALKS_NONSENSE, EXIT_FAILED, "cannot be read"}};
    struct head *h = *state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct remote *r;
        struct failure f;
        struct answer one;
        start(h, cases[i].manner);
        struct remote_wish wish = wish_of(h, "client.key");
        assert_int_equal(remote_open(&wish, &r, &f), EXIT_DONE);
        answer_init(&one);
        assert_int_equal(remote_rows(r, QUERIES, 1, &one, &f), cases[i].status);
        assert_non_null(strstr(f.message, cases[i].says));
        answer_fini(&one);
        remote_close(r);
        stop(h);
    }
}

static void a_wrong_key_is_refused(void **state)
{
    struct head *h = *state;
    struct failure f;
    struct remote *r;
    struct keys_head other;
    start(h, ANSWERS);
    struct remote_wish wish = wish_of(h, "client.key");
    /* The head goes on with the keys that it has. */
    assert_int_equal(keys_rekey(&h->place, &other, &f), 0);
    assert_int_equal(remote_open(&wish, &r, &f), EXIT_REFUSED);
    assert_non_null(strstr(f.message, h->address));
    assert_non_null(strstr(f.message, "is not the head of"));
}

static void keys_that_cannot_be_used(void **state)
{
    struct head *h = *state;
    struct failure f;
    struct remote *r;
    struct remote_wish wish = wish_of(h, "client.key");
    assert_int_equal(remote_open(&wish, &r, &f), EXIT_USAGE); /* it names no address yet */
    assert_non_null(strstr(f.message, "HOST:PORT"));
    start(h, ANSWERS);
    snprintf(wish.cluster, sizeof wish.cluster, "prod");
    assert_int_equal(remote_open(&wish, &r, &f), EXIT_REFUSED);
    assert_non_null(strstr(f.message, "for cluster \"fake\", not for \"prod\""));
    wish.cluster[0] = '\0';
    assert_int_equal(chmod(wish.key_file, 0644), 0);
    assert_int_equal(remote_open(&wish, &r, &f), EXIT_REFUSED);
    assert_non_null(strstr(f.message, "can be read by others"));
    wish = wish_of(h, "head.key");
    assert_int_equal(remote_open(&wish, &r, &f), EXIT_REFUSED);
    wish = wish_of(h, "nothing.key");
    assert_int_equal(remote_open(&wish, &r, &f), EXIT_REFUSED);
    assert_non_null(strstr(f.message, "does not exist"));
}

static void nobody_is_there(void **state)
{
    struct head *h = *state;
    struct failure f;
    struct remote *r;
    start(h, ANSWERS);
    stop(h);
    struct remote_wish wish = wish_of(h, "client.key");
    assert_int_equal(remote_open(&wish, &r, &f), EXIT_NO_CLUSTER);
    assert_non_null(strstr(f.message, "nothing listens there"));
    snprintf(wish.address, sizeof wish.address, "no-such-host.invalid:7420");
    assert_int_equal(remote_open(&wish, &r, &f), EXIT_NO_CLUSTER);
    assert_non_null(strstr(f.message, "cannot be resolved"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_are_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(what_goes_wrong_while_asking_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_wrong_key_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_that_cannot_be_used, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_is_there, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
