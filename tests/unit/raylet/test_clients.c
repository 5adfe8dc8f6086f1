#include "raylet/clients.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/unit/raylet/player.h"
#include "tests/unit/unit.h"

#define LIMIT_NS (10 * NS_PER_S)
#define MANY     2000u

struct rig {
    char *dir, path[512];
    struct loop *loop;
    struct events events;
    struct clients *clients;
    size_t seen;
};

static void rig_init(struct rig *r, uint32_t clients_max)
{
    *r = (struct rig){0};
    r->dir = unit_make_dir();
    snprintf(r->path, sizeof r->path, "%s/sock", r->dir);
    assert_int_equal(loop_new(&r->loop), 0);
    r->clients = clients_new(r->loop, &r->events, &(struct clients_owner){0}, clients_max);
    assert_int_equal(clients_listen(r->clients, r->path), 0);
}

static void rig_fini(struct rig *r)
{
    clients_free(r->clients);
    loop_free(r->loop);
    events_fini(&r->events);
    unit_remove_dir(&r->dir);
}

static void turn(struct rig *r)
{
    uint64_t now_ns = clock_now_ns();
    (void)clients_receive(r->clients, now_ns);
    clients_flush(r->clients, now_ns);
    assert_true(loop_turn(r->loop, NS_PER_MS) >= 0);
}

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

/* A child that connects, and then does this. */
static pid_t child(struct rig *r, void (*fn)(struct player *p))
{
    pid_t pid = fork();
    if (pid == 0) {
        struct player p = {0};
        const struct ring_gifts gifts = {open("/proc/self/exe", O_RDONLY | O_CLOEXEC), -1};
        if (ring_connect(r->path, &gifts, LIMIT_NS, &p.channel, &p.socket) != 0) {
            _exit(1);
        }
        fn(&p);
        _exit(0);
    }
    return pid;
}

static void ended(pid_t pid, int expected)
{
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), expected);
}

static void say_many(struct player *p)
{
    player_open(p, ROLE_TOOL, 0);
    for (uint32_t i = 1; i <= MANY; i++) {
        struct local_msg m = {.type = LOCAL_QUERY};
        m.query.request = i;
        m.query.query = (struct state_query){
            .kind = STATE_NODES, .id = "", .node = "", .state = "", .name = ""};
        player_say(p, &m);
    }
}

#define LARGE_COUNT 200u
#define LARGE_BYTES 65536u
#define FEW         20u

static void hear_one(struct player *p)
{
    struct local_msg m;
    if (!player_hear(p, &m) || m.type != LOCAL_VALUES) {
        _exit(2);
    }
}

static void read_late(struct player *p)
{
    player_open(p, ROLE_TOOL, 0);
    hear_one(p);
    for (uint32_t i = 1; i <= FEW; i++) {
        struct local_msg m = {.type = LOCAL_GOODBYE};
        player_say(p, &m);
    }
    raise(SIGSTOP);
    for (uint32_t i = 1; i < LARGE_COUNT; i++) {
        hear_one(p);
    }
}

static void test_who_does_not_read_is_not_listened_to(void **state)
{
    struct rig r;
    static uint8_t bytes[LARGE_BYTES];
    struct local_value value = {.id = {1, 1, 1}, .state = VALUE_HERE, .size = sizeof bytes};
    struct local_msg m = {.type = LOCAL_VALUES, .payload = bytes_of(bytes, sizeof bytes)};
    int status = 0;
    m.values.values = &value;
    m.values.value_count = 1;
    rig_init(&r, 10);
    pid_t pid = child(&r, read_late);
    uint32_t client = expect(&r, EVENT_CLIENT_UP)->client;
    (void)expect(&r, EVENT_CLIENT_MESSAGE);
    for (uint32_t i = 0; i < LARGE_COUNT; i++) {
        clients_send(r.clients, client, &m);
    }
    clients_flush(r.clients, clock_now_ns());
    assert_true(expect(&r, EVENT_CLIENT_SLOW)->ok);
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    for (int i = 0; i < 20; i++) {
        turn(&r);
    }
    assert_int_equal(r.events.count, r.seen);
    assert_false(clients_any_hot(r.clients)); /* and costs nothing */
    assert_int_equal(kill(pid, SIGCONT), 0);
    assert_false(expect(&r, EVENT_CLIENT_SLOW)->ok);
    for (uint32_t i = 0; i < FEW; i++) {
        assert_int_equal(expect(&r, EVENT_CLIENT_MESSAGE)->local->type, LOCAL_GOODBYE);
    }
    (void)expect(&r, EVENT_CLIENT_DOWN);
    ended(pid, 0);
    rig_fini(&r);
}

static void test_all_that_was_sent_comes_before_its_end(void **state)
{
    struct rig r;
    rig_init(&r, 10);
    pid_t pid = child(&r, say_many);
    const struct raylet_event *up = expect(&r, EVENT_CLIENT_UP);
    uint32_t client = up->client;
    assert_int_equal(up->pid, pid);
    assert_int_equal(up->worker, 0);
    assert_int_equal(expect(&r, EVENT_CLIENT_MESSAGE)->local->type, LOCAL_OPEN);
    for (uint32_t i = 1; i <= MANY; i++) {
        const struct raylet_event *event = expect(&r, EVENT_CLIENT_MESSAGE);
        assert_int_equal(event->client, client);
        assert_int_equal(event->local->query.request, i);
    }
    const struct raylet_event *down = expect(&r, EVENT_CLIENT_DOWN);
    assert_int_equal(down->client, client);
    assert_null(down->failure);
    ended(pid, 0);
    rig_fini(&r);
}

static void open_and_listen(struct player *p)
{
    struct local_msg m;
    player_open(p, ROLE_DRIVER, 0);
    for (uint32_t i = 1; player_hear(p, &m); i++) {
        if (m.type != LOCAL_REPLY || m.reply.request != i) {
            _exit(2);
        }
        if (i == MANY) {
            _exit(0);
        }
    }
    _exit(3);
}

static void send_replies(struct rig *r, uint32_t client)
{
    for (uint32_t i = 1; i <= MANY; i++) {
        char text[2048];
        struct local_msg m = {.type = LOCAL_REPLY};
        memset(text, 'x', sizeof text);
        m.reply.request = i;
        m.reply.reply = (struct state_reply){
            .cluster = "", .head_address = "", .log = bytes_of(text, sizeof text)};
        clients_send(r->clients, client, &m); /* 4 MB: far more than a ring */
    }
}

static void test_more_than_a_ring_holds(void **state)
{
    struct rig r;
    rig_init(&r, 10);
    pid_t pid = child(&r, open_and_listen);
    uint32_t client = expect(&r, EVENT_CLIENT_UP)->client;
    expect(&r, EVENT_CLIENT_MESSAGE);
    CLEANUP_FD int program = clients_take_program(r.clients, client);
    assert_true(program >= 0);
    assert_int_equal(clients_take_program(r.clients, client), -1);
    send_replies(&r, client);
    assert_int_equal(expect(&r, EVENT_CLIENT_DOWN)->client, client);
    ended(pid, 0);
    rig_fini(&r);
}

static void test_a_close_lets_it_read_what_was_sent(void **state)
{
    struct rig r;
    rig_init(&r, 10);
    pid_t pid = child(&r, open_and_listen);
    uint32_t client = expect(&r, EVENT_CLIENT_UP)->client;
    expect(&r, EVENT_CLIENT_MESSAGE);
    send_replies(&r, client);
    clients_close(r.clients, client);
    clients_send(r.clients, client, &(struct local_msg){.type = LOCAL_LEAVE}); /* too late */
    assert_int_equal(expect(&r, EVENT_CLIENT_DOWN)->client, client);
    ended(pid, 0);
    struct clients_counts counts;
    clients_count(r.clients, &counts);
    assert_int_equal(counts.now, 0);
    rig_fini(&r);
}

/* As one that is in no hurry, or was stopped. */
static void greet_only(struct player *p)
{
    struct local_msg m;
    (void)player_hear(p, &m);
}

static void test_who_greets_and_says_nothing_is_dropped(void **state)
{
    struct rig r;
    rig_init(&r, 10);
    pid_t pid = child(&r, greet_only);
    uint32_t client = expect(&r, EVENT_CLIENT_UP)->client;
    uint64_t now_ns = clock_now_ns();
    assert_in_range(clients_next_ns(r.clients), now_ns, now_ns + CLIENTS_GREETING_NS);
    clients_flush(r.clients, now_ns + CLIENTS_GREETING_NS);
    const struct raylet_event *down = expect(&r, EVENT_CLIENT_DOWN);
    assert_int_equal(down->client, client);
    assert_int_equal(down->failure->code, CODE_REFUSED);
    ended(pid, 0);
    rig_fini(&r);
}

static void test_who_opens_has_no_deadline(void **state)
{
    struct rig r;
    rig_init(&r, 10);
    pid_t pid = child(&r, open_and_listen);
    uint32_t client = expect(&r, EVENT_CLIENT_UP)->client;
    expect(&r, EVENT_CLIENT_MESSAGE);
    assert_true(clients_next_ns(r.clients) == NS_FOREVER);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(expect(&r, EVENT_CLIENT_DOWN)->client, client);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    rig_fini(&r);
}

static void say_garbage(struct player *p)
{
    struct local_msg m;
    player_open(p, ROLE_DRIVER, 0);
    if (ring_send(&p->channel, bytes_of_text("this is no message at all")) != 0 ||
        ring_flush(&p->channel) < 0) {
        _exit(1);
    }
    (void)player_hear(p, &m); /* until we are thrown out */
}

static void skip_open(struct player *p)
{
    struct local_msg m = {.type = LOCAL_GOODBYE};
    player_say(p, &m);
    (void)player_hear(p, &m);
}

static void claim_to_be_a_worker(struct player *p)
{
    struct local_msg m;
    player_open(p, ROLE_WORKER, 1);
    (void)player_hear(p, &m);
}

static void talk_on_the_socket(struct player *p)
{
    struct local_msg m;
    if (send(p->socket, "hello", 5, 0) != 5) {
        _exit(1);
    }
    (void)player_hear(p, &m);
}

static void test_who_breaks_the_rules_is_dropped(void **state)
{
    static void (*const acts[])(struct player *) = {say_garbage, skip_open, claim_to_be_a_worker,
                                                    talk_on_the_socket};
    for (size_t i = 0; i < ARRAY_SIZE(acts); i++) {
        struct rig r;
        struct clients_counts counts;
        rig_init(&r, 10);
        pid_t pid = child(&r, acts[i]);
        uint32_t client = expect(&r, EVENT_CLIENT_UP)->client;
        if (i == 0) {
            assert_int_equal(expect(&r, EVENT_CLIENT_MESSAGE)->local->type, LOCAL_OPEN);
        }
        const struct raylet_event *down = expect(&r, EVENT_CLIENT_DOWN);
        assert_int_equal(down->client, client);
        assert_int_equal(down->failure->code, CODE_REFUSED);
        ended(pid, 0);
        clients_count(r.clients, &counts);
        assert_int_equal(counts.broken, 1);
        assert_int_equal(counts.now, 0);
        rig_fini(&r);
    }
}

static int connect_plainly(struct rig *r)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path, r->path, strlen(r->path) + 1);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void test_the_limit(void **state)
{
    struct rig r;
    struct clients_counts counts;
    int fds[4];
    char byte;
    rig_init(&r, 3);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        fds[i] = connect_plainly(&r);
    }
    uint64_t deadline_ns = clock_now_ns() + LIMIT_NS;
    do {
        assert_true(clock_now_ns() < deadline_ns);
        turn(&r);
        clients_count(r.clients, &counts);
    } while (counts.accepted + counts.refused < ARRAY_SIZE(fds));
    assert_int_equal(counts.accepted, 3);
    assert_int_equal(counts.refused, 1);
    assert_int_equal(recv(fds[3], &byte, 1, 0), 0);
    assert_int_equal(r.events.count, 0); /* who has not greeted is nobody to the core */
    assert_true(clients_next_ns(r.clients) <= clock_now_ns() + CLIENTS_GREETING_NS);
    clients_flush(r.clients, clock_now_ns() + CLIENTS_GREETING_NS + 1);
    clients_count(r.clients, &counts);
    assert_int_equal(counts.now, 0);
    assert_int_equal(clients_next_ns(r.clients), NS_FOREVER);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        close_fd(&fds[i]);
    }
    rig_fini(&r);
}

static void test_hot_and_cold(void **state)
{
    struct rig r;
    struct clients_counts counts;
    rig_init(&r, 10);
    pid_t pid = child(&r, open_and_listen);
    uint32_t client = expect(&r, EVENT_CLIENT_UP)->client;
    expect(&r, EVENT_CLIENT_MESSAGE);
    assert_true(clients_any_hot(r.clients));
    (void)clients_receive(r.clients, clock_now_ns() + CLIENTS_HOT_NS + NS_PER_S);
    assert_false(clients_any_hot(r.clients)); /* silent for long: its flag is armed */
    clients_count(r.clients, &counts);
    assert_int_equal(counts.hot, 0);
    send_replies(&r, client);
    assert_true(clients_any_hot(r.clients)); /* an answer may come */
    expect(&r, EVENT_CLIENT_DOWN);
    assert_true(clients_arm(r.clients));
    ended(pid, 0);
    rig_fini(&r);
}

int main(int argc, char **argv)
{
    player_main(argc, argv);
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_that_was_sent_comes_before_its_end),
        cmocka_unit_test(test_who_does_not_read_is_not_listened_to),
        cmocka_unit_test(test_more_than_a_ring_holds),
        cmocka_unit_test(test_a_close_lets_it_read_what_was_sent),
        cmocka_unit_test(test_who_greets_and_says_nothing_is_dropped),
        cmocka_unit_test(test_who_opens_has_no_deadline),
        cmocka_unit_test(test_who_breaks_the_rules_is_dropped),
        cmocka_unit_test(test_the_limit),
        cmocka_unit_test(test_hot_and_cold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
