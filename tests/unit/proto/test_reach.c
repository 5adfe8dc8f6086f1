/* Who is at an address: names, keys, families of addresses. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/loop.h"
#include "proto/hello.h"
#include "proto/link.h"
#include "tests/unit/unit.h"

#define DEADLINE_NS (10 * NS_PER_S)

struct scene {
    struct loop *loop;
    struct link *server, *client;
    struct keys_pair key, node_key;
    struct keys_access access;
    uint16_t port;
    bool server_up, client_up;
    uint64_t peer;
    unsigned answers;
    enum reach_answer answer;
    uint64_t token;
};

static void on_up(void *arg, uint64_t peer, const struct link_identity *identity)
{
    struct scene *s = arg;
    s->server_up = true;
    s->peer = peer;
}

static void on_client_up(void *arg, uint64_t peer, const struct link_identity *identity)
{
    ((struct scene *)arg)->client_up = true;
}

static void on_message(void *arg, uint64_t peer, struct bytes message, bool datagram)
{
}

static void on_room(void *arg, uint64_t peer)
{
}

static void on_down(void *arg, uint64_t peer, enum link_down why)
{
}

static void on_reach(void *arg, uint64_t token, enum reach_answer answer)
{
    struct scene *s = arg;
    s->answers++;
    s->token = token;
    s->answer = answer;
}

static struct link_events events_of(struct scene *s)
{
    return (struct link_events){.on_up = on_up,
                                .on_message = on_message,
                                .on_room = on_room,
                                .on_down = on_down,
                                .on_reach = on_reach,
                                .arg = s};
}

static void turn(struct scene *s)
{
    uint64_t next_ns = link_next_ns(s->server), now_ns = clock_now_ns();
    if (s->client != NULL) {
        next_ns = MIN_OF(next_ns, link_next_ns(s->client));
    }
    uint64_t wait_ns = next_ns > now_ns ? MIN_OF(next_ns - now_ns, NS_PER_S) : 0;
    assert_true(loop_turn(s->loop, wait_ns) >= 0);
    link_tick(s->server, clock_now_ns());
    if (s->client != NULL) {
        link_tick(s->client, clock_now_ns());
    }
}

#define WAIT_FOR(s, condition)                                                                     \
    do {                                                                                           \
        uint64_t end_ns = clock_now_ns() + DEADLINE_NS;                                            \
        while (!(condition)) {                                                                     \
            assert_true(clock_now_ns() < end_ns);                                                  \
            turn(s);                                                                               \
        }                                                                                          \
    } while (0)

static void begin(struct scene *s, const char *bind)
{
    *s = (struct scene){0};
    assert_int_equal(loop_new(&s->loop), 0);
    assert_int_equal(keys_pair_new(&s->key), 0);
    assert_int_equal(keys_pair_new(&s->node_key), 0);
    memcpy(s->access.node_public, s->node_key.public_key, KEYS_TEXT_SIZE);
    struct link_server_config config = {.loop = s->loop,
                                        .bind = bind,
                                        .key = s->key,
                                        .access = s->access,
                                        .number = 1,
                                        .events = events_of(s)};
    assert_int_equal(link_server_new(&config, &s->server, &s->port), 0);
}

static void end(struct scene *s)
{
    link_free(s->client);
    link_free(s->server);
    loop_free(s->loop);
}

static enum reach_answer ask(struct scene *s, const char *host, uint16_t port, const char *key)
{
    char address[HOSTPORT_SIZE];
    unsigned before = s->answers;
    hostport_format(host, port, address);
    assert_int_equal(link_reach(s->server, address, key, 40 + before), 0);
    WAIT_FOR(s, s->answers == before + 1);
    assert_int_equal(s->token, 40 + before);
    return s->answer;
}

static void test_who_is_there(void **state)
{
    struct scene s;
    struct keys_pair other;
    begin(&s, NULL);
    assert_int_equal(keys_pair_new(&other), 0);
    assert_int_equal(ask(&s, "127.0.0.1", s.port, s.key.public_key), REACH_FOUND);
    assert_int_equal(ask(&s, "127.0.0.1", s.port, other.public_key), REACH_OTHER);
    assert_int_equal(ask(&s, "127.0.0.1", 1, s.key.public_key), REACH_REFUSED);
    assert_int_equal(ask(&s, "no.such.host.invalid", s.port, s.key.public_key), REACH_NO_NAME);
    assert_int_equal(ask(&s, "localhost", s.port, s.key.public_key), REACH_FOUND);
    assert_int_equal(link_reach(s.server, "127.0.0.1:1", "no key", 1), -EINVAL);
    assert_int_equal(link_reach(s.server, "no address", s.key.public_key, 1), -EINVAL);
    end(&s);
}

/* A program that takes connections, says other things or nothing, is not the one. */
static void test_another_program(void **state)
{
    struct scene s;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    CLEANUP_FD int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    begin(&s, "127.0.0.1");
    assert_int_equal(bind(listener, (struct sockaddr *)&at, size), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &size), 0);
    assert_int_equal(ask(&s, "127.0.0.1", ntohs(at.sin_port), s.key.public_key), REACH_SILENT);
    close(accept(listener, NULL, NULL)); /* of that question */
    for (int way = 0; way < 2; way++) {
        char address[HOSTPORT_SIZE];
        hostport_format("127.0.0.1", ntohs(at.sin_port), address);
        unsigned before = s.answers;
        assert_int_equal(link_reach(s.server, address, s.key.public_key, 1), 0);
        CLEANUP_FD int fd = accept(listener, NULL, NULL);
        if (way == 0) {
            assert_int_equal(send(fd, "SSH-2.0-some\r\n", 14, MSG_NOSIGNAL), 14);
        } else {
            close(fd);
            fd = -1;
        }
        WAIT_FOR(&s, s.answers == before + 1);
        assert_int_equal(s.answer, REACH_OTHER);
    }
    end(&s);
}

static bool has_six(void)
{
    struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    CLEANUP_FD int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0;
}

/* What listens at all addresses does so for both families, and knows from where each peer comes. */
static void come_from(const char *host)
{
    struct scene s;
    char address[HOSTPORT_SIZE];
    const char *addresses[] = {address};
    begin(&s, NULL);
    hostport_format(host, s.port, address);
    struct link_client_config config = {.loop = s.loop,
                                        .addresses = addresses,
                                        .address_count = 1,
                                        .key = s.node_key,
                                        .events = events_of(&s)};
    config.events.on_up = on_client_up;
    memcpy(config.server_public, s.key.public_key, KEYS_TEXT_SIZE);
    assert_int_equal(link_client_new(&config, &s.client), 0);
    WAIT_FOR(&s, s.server_up && s.client_up);
    assert_string_equal(link_peer_address(s.server, s.peer), host);
    assert_string_equal(link_peer_address(s.server, s.peer + 1), "");
    assert_string_equal(link_peer_address(s.client, LINK_ONLY_PEER), "");
    end(&s);
}

static void test_both_families(void **state)
{
    come_from("127.0.0.1");
    if (has_six()) {
        come_from("::1");
    }
}

static void test_hello_takes_pieces(void **state)
{
    struct hello hello;
    struct keys_pair pair;
    uint8_t noise[HELLO_ANSWER];
    assert_int_equal(keys_pair_new(&pair), 0);
    assert_int_equal(hello_init(&hello, "short"), -EINVAL);
    assert_int_equal(hello_init(&hello, pair.public_key), 0);
    /* A server that greets well and then says nonsense. */
    memcpy(noise, hello.said, HELLO_ANSWER);
    for (size_t i = 0; i + 1 < sizeof noise; i++) {
        assert_int_equal(hello_take(&hello, bytes_of(noise + i, 1)), -EAGAIN);
    }
    assert_int_equal(hello_take(&hello, bytes_of(noise + sizeof noise - 1, 1)), -EPROTO);
    assert_int_equal(hello_init(&hello, pair.public_key), 0);
    assert_int_equal(hello_take(&hello, bytes_of_text("HTTP/1.1 400")), -EPROTO);
}

struct asked {
    struct resolver_question question;
    unsigned answers;
    size_t count;
};

static void on_names(struct resolver_question *q, const struct resolver_answer *answer)
{
    struct asked *a = container_of(q, struct asked, question);
    a->answers++;
    a->count = answer->count;
}

static size_t find(const char *place, char (*ret)[HOSTPORT_SIZE], size_t room)
{
    assert_string_equal(place, "here");
    assert_true(room >= 2);
    hostport_format("127.0.0.1", 7420, ret[0]);
    hostport_format("10.0.0.5", 7421, ret[1]);
    return 2;
}

static void test_resolver(void **state)
{
    const char *texts[] = {"127.0.0.1:7420", "[::1]:7420", "none", "127.0.0.1:7420"};
    struct resolver_wish wish = {.texts = texts, .count = ARRAY_SIZE(texts)};
    struct resolver_answer answer;
    struct resolver *r;
    struct loop *loop;
    struct asked a = {.question.fn = on_names}, dropped = {.question.fn = on_names};
    assert_true(resolver_is_plain(&wish));
    resolver_ask_now(&wish, &answer);
    assert_int_equal(answer.count, 2); /* each once */
    wish.find = find;
    wish.place = "here";
    assert_false(resolver_is_plain(&wish));
    assert_int_equal(loop_new(&loop), 0);
    assert_int_equal(resolver_new(loop, &r), 0);
    assert_int_equal(resolver_ask(r, &dropped.question, &wish), 0);
    assert_true(resolver_is_asking(&dropped.question));
    resolver_drop(&dropped.question);
    assert_int_equal(resolver_ask(r, &a.question, &wish), 0);
    uint64_t end_ns = clock_now_ns() + DEADLINE_NS;
    while (a.answers == 0) {
        assert_true(clock_now_ns() < end_ns);
        assert_true(loop_turn(loop, NS_PER_S) >= 0);
    }
    assert_int_equal(a.count, 3);
    assert_int_equal(dropped.answers, 0);
    assert_int_equal(resolver_ask(r, &dropped.question, &wish), 0);
    resolver_drop(&dropped.question);
    resolver_free(r); /* with a question under way */
    loop_free(loop);
}

static void test_resolver_order(void **state)
{
    const char *texts[] = {"10.0.0.9:1"};
    struct resolver_wish wish = {
        .texts = texts, .count = 1, .find = find, .place = "here", .find_first = true};
    struct resolver_answer answer;
    resolver_ask_now(&wish, &answer);
    assert_int_equal(answer.count, 3);
    assert_int_equal(ntohs(answer.addresses[2].four.sin_port), 1);
    wish.find_first = false;
    resolver_ask_now(&wish, &answer);
    assert_int_equal(ntohs(answer.addresses[0].four.sin_port), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_is_there),  cmocka_unit_test(test_another_program),
        cmocka_unit_test(test_both_families), cmocka_unit_test(test_hello_takes_pieces),
        cmocka_unit_test(test_resolver),      cmocka_unit_test(test_resolver_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
