#include "tests/unit/cli/fake_daemon.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/files.h"

void fake_send(struct ring_channel *c, const struct local_msg *m)
{
    struct buffer packed = {0};
    local_encode(m, buffer_extend(&packed, local_size(m)));
    if (ring_send(c, bytes_of(packed.data, packed.size)) != 0) {
        _exit(1);
    }
    buffer_fini(&packed);
}

static void handle(const struct fake *f, struct ring_channel *c, const struct local_msg *m,
                   enum fake_manner manner)
{
    struct local_msg out = {.type = LOCAL_WELCOME, .welcome = {.node_name = "", .cluster = "fake"}};
    if (m->type == LOCAL_OPEN && manner == FAKE_REFUSES) {
        out.type = LOCAL_REFUSED;
        memset(&out.refused, 0, sizeof out.refused);
        failure_set(&out.refused.failure, CODE_REFUSED, "not you");
        fake_send(c, &out);
    } else if (m->type == LOCAL_OPEN) {
        if (m->open.role != ROLE_TOOL) {
            _exit(1);
        }
        fake_send(c, &out);
    } else if (m->type == LOCAL_QUERY && manner == FAKE_DIES) {
        _exit(0);
    } else if (m->type == LOCAL_QUERY && manner == FAKE_TALKS_NONSENSE) {
        if (ring_send(c, bytes_of_text("nonsense nonsense")) != 0) {
            _exit(1);
        }
    } else if (m->type == LOCAL_QUERY) {
        f->answer(c, &m->query);
    }
}

NORETURN static void serve(const struct fake *f, int listener, enum fake_manner manner)
{
    struct ring_peer peer;
    struct ring_channel c = {0};
    struct arena arena = {0};
    int socket;
    struct ring_gifts gifts;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct pollfd fd = {.fd = listener, .events = POLLIN};
    while ((socket = ring_accept(listener, &peer)) == -EAGAIN) {
        poll(&fd, 1, 5000);
    }
    fd.fd = socket;
    int r;
    while ((r = ring_greet(socket, &c, &gifts)) == -EAGAIN) {
        poll(&fd, 1, 5000);
    }
    for (;;) {
        struct bytes data;
        struct local_msg m;
        const char *why;
        while (ring_receive(&c, &arena, &data) == 1) {
            if (local_decode(data, &arena, &m, &why) != 0) {
                _exit(1);
            }
            handle(f, &c, &m, manner);
        }
        if (ring_flush(&c) < 0) {
            _exit(1);
        }
        struct pollfd fds[2] = {{.fd = c.doorbell_mine, .events = POLLIN},
                                {.fd = socket, .events = POLLIN}};
        if (ring_arm(&c) && poll(fds, 2, 5000) > 0 && fds[1].revents != 0) {
            _exit(0);
        }
        ring_disarm(&c);
    }
}

void fake_start(struct fake *f, const char *relative, enum fake_manner manner)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", f->dir, relative);
    int listener = ring_listen(path);
    ASSERT(listener >= 0);
    f->pid = fork();
    ASSERT(f->pid >= 0);
    if (f->pid == 0) {
        serve(f, listener, manner);
    }
    close(listener);
}

void fake_stop(struct fake *f)
{
    if (f->pid > 0) {
        kill(f->pid, SIGKILL);
        waitpid(f->pid, NULL, 0);
        f->pid = 0;
    }
}

int fake_setup(void **state)
{
    struct fake *f = xcalloc(1, sizeof *f);
    snprintf(f->dir, sizeof f->dir, "/tmp/drt-test-ask-XXXXXX");
    if (mkdtemp(f->dir) == NULL) {
        return -1;
    }
    *state = f;
    return 0;
}

int fake_teardown(void **state)
{
    struct fake *f = *state;
    fake_stop(f);
    int r = files_remove_tree(f->dir);
    free(f);
    return r;
}

int fake_capture(int (*fn)(void *arg), void *arg, char out[4096])
{
    int ends[2], saved = dup(STDOUT_FILENO);
    int r = pipe(ends);
    ASSERT(r == 0 && saved >= 0);
    fflush(stdout);
    dup2(ends[1], STDOUT_FILENO);
    int status = fn(arg);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    close(ends[1]);
    ssize_t n, size = 0;
    while ((n = read(ends[0], out + size, (size_t)(4095 - size))) > 0) {
        size += n;
    }
    out[size] = '\0';
    close(ends[0]);
    return status;
}
