#include "common/daemon.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/unit.h"

static off_t size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? st.st_size : -1;
}

/* Standard error is a log of this size; then it is turned, and a line written. */
static void log_a_line(const char *path, off_t size)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        bool ok = fd >= 0 && ftruncate(fd, size) == 0 && dup2(fd, STDERR_FILENO) >= 0;
        daemon_turn_log(path);
        ok = ok && write(STDERR_FILENO, "line\n", 5) == 5;
        _exit(ok ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_large_log_is_put_aside(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    char path[512], former[520];
    snprintf(path, sizeof path, "%s/some.log", dir);
    snprintf(former, sizeof former, "%s.1", path);
    log_a_line(path, 1000);
    assert_int_equal(size_of(path), 1005);
    assert_int_equal(size_of(former), -1);
    log_a_line(path, 17 << 20);
    assert_int_equal(size_of(path), 5);
    assert_int_equal(size_of(former), 17 << 20);
}

struct word {
    int32_t pid, session;
    bool is_alone, is_heard;
    char directory[16];
};

static int read_byte(const char *path)
{
    char byte = 0;
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && read(fd, &byte, 1) == 1 ? byte : -1;
}

/* In the daemon. */
static NORETURN void say(struct daemon *d, const char *log, int theirs, int kept)
{
    struct word word = {.pid = getpid(),
                        .session = getsid(0),
                        .is_alone = fcntl(theirs, F_GETFD) < 0 && fcntl(kept, F_GETFD) >= 0};
    char byte;
    word.is_heard = daemon_redirect(log) == 0 && write(STDOUT_FILENO, "x", 1) == 1 &&
                    read(STDIN_FILENO, &byte, 1) == 0;
    if (getcwd(word.directory, sizeof word.directory) == NULL) {
        word.directory[0] = '\0';
    }
    daemon_say(d, &word, sizeof word);
    daemon_say(d, &word, sizeof word); /* once said is enough */
    _exit(0);
}

/* What a daemon says is what its starter hears; its descriptors are its own. */
static void check_word(bool own_session)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    char log[512];
    int fds[2], status = 0;
    struct daemon d;
    struct word word = {0};
    snprintf(log, sizeof log, "%s/log", dir);
    assert_int_equal(pipe(fds), 0);
    int keep[] = {dup(fds[1]), -1};
    int r = daemon_begin(&d, keep, 2, own_session);
    if (r == 0) {
        say(&d, log, fds[0], keep[0]);
    }
    assert_int_equal(r, 1);
    assert_int_equal(daemon_await(&d, &word, sizeof word, &status), 0);
    assert_int_equal(d.pipe, -1);
    assert_true(word.is_alone && word.is_heard);
    assert_string_equal(word.directory, "/");
    assert_int_equal(read_byte(log), 'x');
    assert_int_equal(d.child, own_session ? 0 : word.pid);
    assert_int_not_equal(word.session, word.pid);
    assert_int_equal(word.session == getsid(0), !own_session);
    if (!own_session) {
        assert_int_equal(waitpid(d.child, &status, 0), d.child);
    }
    close(fds[0]);
    close(fds[1]);
    close(keep[0]);
}

static void test_a_word(void **state)
{
    check_word(false);
}

static void test_a_word_from_a_session_of_its_own(void **state)
{
    check_word(true);
}

static void test_one_that_dies_silently(void **state)
{
    for (int own_session = 0; own_session < 2; own_session++) {
        struct daemon d;
        struct word word;
        int status = -1;
        int r = daemon_begin(&d, NULL, 0, own_session != 0);
        if (r == 0) {
            _exit(7);
        }
        assert_int_equal(r, 1);
        assert_int_equal(daemon_await(&d, &word, sizeof word, &status), -EPIPE);
        assert_int_equal(own_session ? status : WEXITSTATUS(status), own_session ? 0 : 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_log_is_put_aside),
        cmocka_unit_test(test_a_word),
        cmocka_unit_test(test_a_word_from_a_session_of_its_own),
        cmocka_unit_test(test_one_that_dies_silently),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
