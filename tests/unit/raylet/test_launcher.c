#include "raylet/launcher.h"

#include <elf.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/raylet/player.h"
#include "tests/unit/unit.h"

#define LIMIT_MS 10000

struct start {
    char *dir, out[512];
    struct buffer env;
    struct launch launch;
    int out_fd, pair[2];
};

static void start_init(struct start *s, const char *role)
{
    *s = (struct start){0};
    s->dir = unit_make_dir();
    snprintf(s->out, sizeof s->out, "%s/out", s->dir);
    s->out_fd = open(s->out, O_RDWR | O_CREAT | O_CLOEXEC | O_APPEND, 0600);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s->pair), 0);
    s->env = player_env(role, "MINE=yes");
    s->launch = (struct launch){.worker = 12,
                                .name = "./player",
                                .directory_fd = -1,
                                .cwd = s->dir,
                                .env = bytes_of(s->env.data, s->env.size),
                                .umask = 027,
                                .node_dir = s->dir,
                                .program_fd = player_program(),
                                .socket_fd = s->pair[1],
                                .out_fd = s->out_fd,
                                .err_fd = s->out_fd};
}

static void start_fini(struct start *s)
{
    close_fd(&s->out_fd);
    close_fd(&s->pair[0]);
    close_fd(&s->pair[1]);
    close_fd(&s->launch.program_fd);
    buffer_fini(&s->env);
    unit_remove_dir(&s->dir);
}

static int outcome(int status, struct failure *f)
{
    struct pollfd readable = {.fd = status, .events = POLLIN};
    assert_int_equal(poll(&readable, 1, LIMIT_MS), 1);
    return launcher_outcome(status, f);
}

static int wait_for(pid_t pid)
{
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void test_what_a_program_is_started_with(void **state)
{
    struct start s;
    struct failure f;
    struct buffer text = {0};
    pid_t pid = 0;
    int status = -1;
    char cwd[600];
    start_init(&s, "reports");
    assert_int_equal(launcher_spawn(&s.launch, &pid, &status), 0);
    assert_int_equal(outcome(status, &f), 0);
    assert_int_equal(wait_for(pid), 0);
    assert_int_equal(files_read(s.out, 4096, &text), 0);
    const char *out = buffer_text(&text);
    snprintf(cwd, sizeof cwd, "cwd %s\n", s.dir);
    assert_non_null(strstr(out, cwd));
    struct rlimit core;
    char expected[96];
    assert_int_equal(getrlimit(RLIMIT_CORE, &core), 0);
    snprintf(expected, sizeof expected, "umask 027\ncore %ld\nleader 1\n", (long)core.rlim_cur);
    assert_non_null(strstr(out, expected));
    assert_non_null(strstr(out, "secret seen\nmine yes\nworker 12\n"));
    assert_non_null(strstr(out, "descriptors 1\n")); /* its channel, nothing else of ours */
    close_fd(&status);
    buffer_fini(&text);
    start_fini(&s);
}

/* Directories of the driver's machine need not be here. */
static void test_a_directory_of_another_machine(void **state)
{
    struct start s;
    struct failure f;
    struct buffer text = {0};
    pid_t pid = 0;
    int status = -1;
    start_init(&s, "reports");
    s.launch.cwd = "/nonexistent/project";
    assert_int_equal(launcher_spawn(&s.launch, &pid, &status), 0);
    assert_int_equal(outcome(status, &f), 0);
    assert_int_equal(wait_for(pid), 0);
    assert_int_equal(files_read(s.out, 4096, &text), 0);
    assert_non_null(strstr(buffer_text(&text), "no directory /nonexistent/project (No such"));
    assert_non_null(strstr(buffer_text(&text), "\ncwd /"));
    close_fd(&status);
    buffer_fini(&text);
    start_fini(&s);
}

/* Why `program` does not start. */
static void refused(struct start *s, const char *says)
{
    struct failure f = {0};
    pid_t pid = 0;
    int status = -1;
    assert_int_equal(launcher_spawn(&s->launch, &pid, &status), 0);
    assert_int_equal(outcome(status, &f), CODE_PROGRAM);
    assert_int_equal(WEXITSTATUS(wait_for(pid)), 127);
    if (strstr(f.message, says) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", f.message, says);
    }
    close_fd(&status);
}

static void use_program(struct start *s, const void *data, size_t size, unsigned mode)
{
    char path[512];
    snprintf(path, sizeof path, "%s/program", s->dir);
    (void)unlink(path);
    assert_int_equal(files_write_atomic(path, data, size, mode), 0);
    close_fd(&s->launch.program_fd);
    s->launch.program_fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(s->launch.program_fd >= 0);
}

static void test_why_a_program_does_not_start(void **state)
{
    struct start s;
    static struct {
        Elf64_Ehdr header;
        Elf64_Phdr part;
        char loader[32];
    } image = {.loader = "/lib/ld-of-nobody.so.9"};
    start_init(&s, "reports");
    use_program(&s, "no program", 10, 0700);
    refused(&s, "not an ELF file");
    use_program(&s, "#!/bin/sh\n", 10, 0700);
    refused(&s, "not an ELF file");

    close_fd(&s.launch.program_fd);
    s.launch.program_fd = player_program();
    assert_int_equal(pread(s.launch.program_fd, &image.header, sizeof image.header, 0),
                     sizeof image.header);
    image.header.e_machine = EM_S390;
    use_program(&s, &image, sizeof image, 0700);
    refused(&s, "it is built for another processor");

    close_fd(&s.launch.program_fd);
    s.launch.program_fd = player_program();
    assert_int_equal(pread(s.launch.program_fd, &image.header, sizeof image.header, 0),
                     sizeof image.header);
    image.header.e_phnum = 1;
    image.header.e_phoff = offsetof(typeof(image), part);
    image.part = (Elf64_Phdr){.p_type = PT_INTERP,
                              .p_offset = offsetof(typeof(image), loader),
                              .p_filesz = sizeof "/lib/ld-of-nobody.so.9"};
    use_program(&s, &image, sizeof image, 0700);
    refused(&s, "its loader /lib/ld-of-nobody.so.9 is missing");
    use_program(&s, &image, sizeof image, 0600);
    refused(&s, "may not be executed");
    start_fini(&s);
}

/* Its parent starts a worker and dies: the worker must not outlive it. */
static void test_it_dies_with_the_raylet(void **state)
{
    struct start s;
    pid_t pid = 0;
    int ends[2], worker_status = 0;
    start_init(&s, "waits");
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t parent = fork();
    if (parent == 0) {
        struct failure f;
        int status = -1;
        if (launcher_spawn(&s.launch, &pid, &status) != 0 || outcome(status, &f) != 0 ||
            write(ends[1], &pid, sizeof pid) != sizeof pid) {
            _exit(1);
        }
        raise(SIGKILL);
    }
    assert_int_equal(read(ends[0], &pid, sizeof pid), sizeof pid);
    assert_true(WIFSIGNALED(wait_for(parent)));
    worker_status = wait_for(pid); /* ours now: its parent is gone */
    assert_true(WIFSIGNALED(worker_status) && WTERMSIG(worker_status) == SIGKILL);
    close_fd(&ends[0]);
    close_fd(&ends[1]);
    start_fini(&s);
}

int main(int argc, char **argv)
{
    player_main(argc, argv);
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_program_is_started_with),
        cmocka_unit_test(test_a_directory_of_another_machine),
        cmocka_unit_test(test_why_a_program_does_not_start),
        cmocka_unit_test(test_it_dies_with_the_raylet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
