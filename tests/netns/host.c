/*
 * host NAME: one machine of the test bed. New network, mount, UTS, IPC and process namespaces, in
 * which this program is the first process: it has its own /proc and /dev/shm, brings the loopback
 * up, takes in orphans, and ends when its standard input does. With it the kernel ends every
 * process and takes away every interface of the machine, so that nothing is left even when the
 * tests are killed. Prints the machine's process id, as the others see it, once it is ready.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SPACES (CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID)

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "host: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void bring_loopback_up(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) != 0) {
        fail("the loopback");
    }
    close(fd);
}

/* Addresses of IPv6 are of no use here, and their probes would be frames that no test sent. */
static void forbid_ipv6(void)
{
    int fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC);

    if (fd >= 0) {
        if (write(fd, "1", 1) != 1) {
            fail("disable_ipv6");
        }
        close(fd);
    }
}

static void furnish(const char *name)
{
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        fail("mounts of its own");
    }
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0) {
        fail("/proc");
    }
    if (mount("shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, NULL) != 0) {
        fail("/dev/shm");
    }
    if (sethostname(name, strlen(name)) != 0) {
        fail("the name");
    }
    bring_loopback_up();
    forbid_ipv6();
}

static void reap(void)
{
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
}

static _Noreturn void live(const char *name, int ready_fd)
{
    sigset_t children;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    furnish(name);
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    sigprocmask(SIG_BLOCK, &children, NULL);
    int signals = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0 || write(ready_fd, "", 1) != 1) {
        fail("getting ready");
    }
    close(ready_fd);
    close(STDOUT_FILENO);
    struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
                            {.fd = signals, .events = POLLIN}};
    for (;;) {
        struct signalfd_siginfo info[16];
        char bytes[64];
        if (poll(fds, 2, -1) < 0 && errno != EINTR) {
            fail("poll");
        }
        if (fds[0].revents != 0 && read(STDIN_FILENO, bytes, sizeof bytes) <= 0) {
            exit(0);
        }
        if (fds[1].revents != 0 && read(signals, info, sizeof info) > 0) {
            reap();
        }
    }
}

int main(int argc, char **argv)
{
    int ready[2], status;
    char byte;

    if (argc != 2) {
        fprintf(stderr, "usage: host NAME\n");
        return 2;
    }
    if (unshare(SPACES) != 0) {
        fail("namespaces");
    }
    if (pipe2(ready, O_CLOEXEC) != 0) {
        fail("pipe");
    }
    pid_t pid = fork();
    if (pid < 0) {
        fail("fork");
    }
    if (pid == 0) {
        close(ready[0]);
        live(argv[1], ready[1]);
    }
    close(ready[1]);
    close(STDIN_FILENO);
    if (read(ready[0], &byte, 1) != 1) {
        return 1; /* it has said why */
    }
    printf("%d\n", (int)pid);
    fflush(stdout);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return 0;
}
