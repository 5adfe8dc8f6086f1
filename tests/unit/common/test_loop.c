#include "common/loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/unit/unit.h"

struct bell {
    struct loop_source source;
    int fd, rings;
    uint32_t events;
    struct bell *removes, *adds;
    struct loop *loop;
    int again;
};

static void on_bell(struct loop_source *source, uint32_t epoll_events)
{
    struct bell *bell = source->arg;
    bell->rings++;
    bell->events = epoll_events;
    if (bell->removes != NULL) {
        loop_remove(&bell->removes->source);
    }
    if (bell->again > 0) {
        bell->again--;
        loop_source_again(source);
    }
    if (bell->adds != NULL) {
        assert_int_equal(
            loop_add(bell->loop, &bell->adds->source, bell->adds->fd, EPOLLIN, on_bell, bell->adds),
            0);
        bell->adds = NULL;
    }
}

static void bell_init(struct bell *bell, struct loop *loop)
{
    *bell = (struct bell){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .loop = loop};
    assert_true(bell->fd >= 0);
    assert_int_equal(loop_add(loop, &bell->source, bell->fd, EPOLLIN, on_bell, bell), 0);
}

static void bell_fini(struct bell *bell)
{
    loop_remove(&bell->source);
    loop_remove(&bell->source);
    close(bell->fd);
}

static void ring(struct bell *bell)
{
    uint64_t one = 1;
    assert_int_equal(write(bell->fd, &one, sizeof one), sizeof one);
}

static struct loop *new_loop(void)
{
    struct loop *loop = NULL;
    assert_int_equal(loop_new(&loop), 0);
    return loop;
}

static void test_level_triggered(void **state)
{
    struct loop *loop = new_loop();
    struct bell bell;
    bell_init(&bell, loop);
    assert_int_equal(loop_turn(loop, 0), 0);
    ring(&bell);
    assert_int_equal(loop_turn(loop, NS_FOREVER), 1);
    assert_int_equal(loop_turn(loop, NS_FOREVER), 1);
    assert_int_equal(bell.rings, 2);
    assert_int_equal(bell.events, EPOLLIN);
    bell_fini(&bell);
    assert_int_equal(loop_turn(loop, 0), 0);
    loop_free(loop);
}

static void test_change(void **state)
{
    struct loop *loop = new_loop();
    struct bell bell;
    bell_init(&bell, loop);
    assert_int_equal(loop_change(&bell.source, EPOLLOUT), 0);
    assert_int_equal(loop_turn(loop, NS_FOREVER), 1);
    assert_int_equal(bell.events, EPOLLOUT);
    assert_int_equal(loop_change(&bell.source, 0), 0);
    ring(&bell);
    assert_int_equal(loop_turn(loop, 0), 0);
    bell_fini(&bell);
    loop_free(loop);
}

/* Whichever comes first removes the other; that one must not fire. */
static void test_removed_in_the_same_turn_does_not_fire(void **state)
{
    struct loop *loop = new_loop();
    struct bell a, b;
    bell_init(&a, loop);
    bell_init(&b, loop);
    a.removes = &b;
    b.removes = &a;
    ring(&a);
    ring(&b);
    assert_int_equal(loop_turn(loop, NS_FOREVER), 1);
    assert_int_equal(a.rings + b.rings, 1);
    bell_fini(&a);
    bell_fini(&b);
    loop_free(loop);
}

static void test_a_callback_may_remove_itself(void **state)
{
    struct loop *loop = new_loop();
    struct bell a;
    bell_init(&a, loop);
    a.removes = &a;
    ring(&a);
    assert_int_equal(loop_turn(loop, NS_FOREVER), 1);
    assert_int_equal(loop_turn(loop, 0), 0);
    bell_fini(&a);
    loop_free(loop);
}

static void test_a_callback_may_add(void **state)
{
    struct loop *loop = new_loop();
    struct bell a, b;
    bell_init(&a, loop);
    bell_init(&b, loop);
    loop_remove(&b.source);
    a.adds = &b;
    ring(&a);
    ring(&b);
    assert_int_equal(loop_turn(loop, NS_FOREVER), 1);
    assert_int_equal(loop_turn(loop, NS_FOREVER), 2);
    assert_int_equal(b.rings, 1);
    bell_fini(&a);
    bell_fini(&b);
    loop_free(loop);
}

static void test_again_runs_in_the_next_turn_without_waiting(void **state)
{
    struct loop *loop = new_loop();
    struct bell a, b;
    bell_init(&a, loop);
    bell_init(&b, loop);
    a.again = 2;
    loop_source_again(&a.source);
    loop_source_again(&a.source);
    assert_int_equal(loop_turn(loop, NS_FOREVER), 1);
    assert_int_equal(a.events, 0);
    assert_int_equal(loop_turn(loop, NS_FOREVER), 1);
    assert_int_equal(loop_turn(loop, NS_FOREVER), 1);
    assert_int_equal(a.rings, 3);
    assert_int_equal(loop_turn(loop, 0), 0);
    /* One that was called again and then removed by another. */
    a.removes = &b;
    loop_source_again(&a.source);
    loop_source_again(&b.source);
    assert_int_equal(loop_turn(loop, NS_FOREVER), 1);
    assert_int_equal(b.rings, 0);
    bell_fini(&a);
    bell_fini(&b);
    loop_free(loop);
}

static void test_timeout(void **state)
{
    struct loop *loop = new_loop();
    uint64_t before = clock_now_ns();
    assert_int_equal(loop_turn(loop, 3 * NS_PER_MS + 1), 0);
    assert_true(clock_now_ns() - before > 3 * NS_PER_MS);
    loop_free(loop);
}

static void test_more_sources_than_one_turn_takes(void **state)
{
    static struct bell bells[200];
    struct loop *loop = new_loop();
    for (size_t i = 0; i < ARRAY_SIZE(bells); i++) {
        bell_init(&bells[i], loop);
        bells[i].removes = &bells[i];
        ring(&bells[i]);
    }
    int ran = 0;
    for (int turn = 0; turn < 10; turn++) {
        int r = loop_turn(loop, 0);
        assert_true(r >= 0);
        ran += r;
    }
    assert_int_equal(ran, ARRAY_SIZE(bells));
    for (size_t i = 0; i < ARRAY_SIZE(bells); i++) {
        bell_fini(&bells[i]);
    }
    loop_free(loop);
}

static void test_what_cannot_be_watched(void **state)
{
    struct loop *loop = new_loop();
    struct loop_source source = {0};
    assert_int_equal(loop_add(loop, &source, -1, EPOLLIN, on_bell, NULL), -EBADF);
    loop_remove(&source);
    loop_free(loop);
    loop_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_level_triggered),
        cmocka_unit_test(test_change),
        cmocka_unit_test(test_removed_in_the_same_turn_does_not_fire),
        cmocka_unit_test(test_a_callback_may_remove_itself),
        cmocka_unit_test(test_a_callback_may_add),
        cmocka_unit_test(test_again_runs_in_the_next_turn_without_waiting),
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_more_sources_than_one_turn_takes),
        cmocka_unit_test(test_what_cannot_be_watched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
