#include "head/commit.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/unit/unit.h"

#define DEADLINE_NS (20 * NS_PER_S)

static uint64_t durable;

static void on_durable(void *arg, uint64_t record)
{
    assert_true(record > durable);
    durable = record;
}

static struct journal *open_at(const char *dir)
{
    struct journal *j = NULL;
    struct failure f;
    char path[512];
    snprintf(path, sizeof path, "%s/head.db", dir);
    assert_int_equal(journal_open(path, 0, &j, &f), 0);
    return j;
}

static void add_job(struct committer *c, uint64_t number)
{
    struct head_record job = {
        .kind = HEAD_RECORD_JOB,
        .job = {
            .number = number, .node = 1, .key = number, .state = HEAD_JOB_RUNNING, .name = "j"}};
    committer_add(c, &job);
}

static size_t count_rows(const char *dir)
{
    struct arena arena = {0};
    struct head_record *rows = NULL;
    struct failure f;
    size_t count = 0;
    struct journal *j = open_at(dir);
    assert_int_equal(journal_load(j, &(struct journal_reader){0}, &arena, &rows, &count, &f), 0);
    journal_close(j);
    arena_fini(&arena);
    free(rows);
    return count - 1; /* the last one says the highest numbers */
}

static void test_batches_are_durable_in_order(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    struct loop *loop = NULL;
    struct committer *c = NULL;
    durable = 0;
    assert_int_equal(loop_new(&loop), 0);
    assert_int_equal(committer_new(loop, open_at(dir), on_durable, NULL, &c), 0);
    for (uint64_t i = 1; i <= 300; i++) {
        add_job(c, i);
        if (i % 3 == 0) {
            committer_commit(c, i);
        }
    }
    uint64_t deadline = clock_now_ns() + DEADLINE_NS;
    while (durable < 300) {
        assert_true(clock_now_ns() < deadline);
        assert_true(loop_turn(loop, NS_PER_S) >= 0);
    }
    assert_int_equal(count_rows(dir), 300);
    /* What was asked for is finished at the end, what was only added is not there. */
    add_job(c, 301);
    committer_commit(c, 301);
    add_job(c, 302);
    committer_free(c);
    loop_free(loop);
    assert_int_equal(count_rows(dir), 301);
}

/* The disk takes no more: the process ends at once, and nothing is said to be durable. */
static int write_until_the_disk_is_full(const char *dir)
{
    struct rlimit limit = {64 << 10, 64 << 10};
    struct loop *loop = NULL;
    struct committer *c = NULL;
    alarm(30);
    signal(SIGXFSZ, SIG_IGN);
    struct journal *j = open_at(dir);
    if (loop_new(&loop) != 0 || committer_new(loop, j, on_durable, NULL, &c) != 0 ||
        setrlimit(RLIMIT_FSIZE, &limit) < 0) {
        return 2;
    }
    for (uint64_t i = 1;; i++) {
        add_job(c, i);
        committer_commit(c, i);
        while (durable < i) {
            if (loop_turn(loop, NS_PER_S) < 0) {
                return 3;
            }
        }
        if (write(STDOUT_FILENO, &i, sizeof i) != sizeof i) {
            return 4;
        }
    }
}

static void test_full_disk_ends_the_head_at_once(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    int fds[2], status;
    durable = 0;
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        close(fds[1]);
        _exit(write_until_the_disk_is_full(dir));
    }
    close(fds[1]);
    uint64_t last = 0, number;
    while (read(fds[0], &number, sizeof number) == sizeof number) {
        last = number;
    }
    close(fds[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FAILURE);
    assert_true(last > 0);
    assert_true(count_rows(dir) >= last); /* each one that was told is there */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batches_are_durable_in_order),
        cmocka_unit_test(test_full_disk_ends_the_head_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
