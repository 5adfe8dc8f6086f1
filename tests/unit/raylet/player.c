#include "tests/unit/raylet/player.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"
#include "raylet/guard.h"
#include "raylet/launcher.h"

#define LIMIT_NS (10 * NS_PER_S)

void player_say(struct player *p, const struct local_msg *m)
{
    struct buffer packed = {0};
    size_t size = local_size(m);
    local_encode(m, buffer_extend(&packed, size));
    if (ring_send(&p->channel, bytes_of(packed.data, size)) != 0 || ring_flush(&p->channel) < 0) {
        _exit(90);
    }
    buffer_fini(&packed);
}

void player_open(struct player *p, uint32_t role, uint64_t worker)
{
    struct local_msg m = {.type = LOCAL_OPEN,
                          .open = {.protocol = LOCAL_PROTOCOL_VERSION,
                                   .role = role,
                                   .worker = worker,
                                   .job_name = "",
                                   .program_name = "player",
                                   .cwd = ""}};
    player_say(p, &m);
}

bool player_hear(struct player *p, struct local_msg *ret)
{
    for (;;) {
        struct bytes data;
        const char *why = NULL;
        int r = ring_receive(&p->channel, &p->arena, &data);
        if (r > 0) {
            if (local_decode(data, &p->arena, ret, &why) != 0) {
                _exit(91);
            }
            return true;
        }
        if (r < 0 || ring_flush(&p->channel) < 0) {
            _exit(92);
        }
        if (!ring_arm(&p->channel)) {
            continue;
        }
        struct pollfd fds[2] = {{.fd = p->channel.doorbell_mine, .events = POLLIN},
                                {.fd = p->socket, .events = POLLIN}};
        if (poll(fds, 2, (int)(LIMIT_NS / NS_PER_MS)) == 0) {
            _exit(93);
        }
        ring_disarm(&p->channel);
        if (fds[1].revents != 0 && !ring_has_input(&p->channel)) {
            return false;
        }
    }
}

static uint64_t variable(const char *name)
{
    uint64_t number = 0;
    const char *text = getenv(name);
    if (text == NULL || text_parse_u64(text, UINT32_MAX, &number) != 0) {
        _exit(94);
    }
    return number;
}

static void join(struct player *p, uint64_t worker)
{
    p->socket = (int)variable(LAUNCHER_WORKER_FD);
    if (ring_join(p->socket, NULL, LIMIT_NS, &p->channel) != 0) {
        _exit(95);
    }
    player_open(p, ROLE_WORKER, worker);
}

/* Opens and waits until told to leave, or the raylet is gone. */
static int play_opens(void)
{
    struct player p = {0};
    struct local_msg m;
    join(&p, variable(LAUNCHER_WORKER));
    while (player_hear(&p, &m) && m.type != LOCAL_LEAVE) {
    }
    return 0;
}

/* Begins the first task that it is given, and dies. */
static int play_claims(void)
{
    struct player p = {0};
    struct local_msg m;
    join(&p, variable(LAUNCHER_WORKER));
    while (player_hear(&p, &m)) {
        if (m.type == LOCAL_RUN) {
            uint32_t offered = claim_word(m.run.slot, CLAIM_OFFERED);
            (void)atomic_compare_exchange_strong(ring_word(&p.channel, claim_index(m.run.slot)),
                                                 &offered, claim_word(m.run.slot, CLAIM_CLAIMED));
            struct local_msg result = {.type = LOCAL_BLOCKED};
            player_say(&p, &result);
            raise(SIGKILL);
        }
    }
    return 1;
}

/* Says what it was started with. */
static int play_reports(void)
{
    char cwd[4096] = "";
    struct rlimit core;
    mode_t mask = umask(0);
    struct stat in;
    if (getcwd(cwd, sizeof cwd) == NULL || getrlimit(RLIMIT_CORE, &core) < 0 || fstat(0, &in) < 0) {
        return 1;
    }
    printf("cwd %s\numask %03o\ncore %ld\nleader %d\n", cwd, (unsigned)mask, (long)core.rlim_cur,
           getpgrp() == getpid() && getsid(0) == getsid(getppid()));
    printf("secret %s\nmine %s\nworker %s\n", getenv("DRT_SECRET") != NULL ? "seen" : "not seen",
           getenv("MINE"), getenv(LAUNCHER_WORKER));
    int others = 0;
    for (int fd = 3; fd < 256; fd++) {
        others += fcntl(fd, F_GETFD) >= 0;
    }
    printf("descriptors %d\n", others);
    return 0;
}

/* Leaves a process behind that is in no group of ours; its number goes to the file that MINE names.
 */
static int play_strays(void)
{
    int ends[2];
    char byte;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return 1;
    }
    pid_t child = fork();
    if (child == 0) {
        (void)setsid();
        FILE *file = fopen(getenv("MINE"), "we");
        fprintf(file, "%d", (int)getpid());
        fclose(file);
        close_fd(&ends[1]);
        for (;;) {
            pause();
        }
    }
    close_fd(&ends[1]);
    return read(ends[0], &byte, 1) == 0 ? 7 : 1;
}

static int play(const char *role)
{
    if (strcmp(role, "opens") == 0) {
        return play_opens();
    }
    if (strcmp(role, "claims") == 0) {
        return play_claims();
    }
    if (strcmp(role, "reports") == 0) {
        return play_reports();
    }
    if (strcmp(role, "strays") == 0) {
        return play_strays();
    }
    if (strcmp(role, "lies") == 0) { /* about which worker it is */
        struct player p = {0};
        struct local_msg m;
        join(&p, variable(LAUNCHER_WORKER) + 1);
        while (player_hear(&p, &m)) {
        }
        return 0;
    }
    if (strcmp(role, "complains") == 0) {
        fputs("first line\nerror while loading shared libraries: libnone.so: cannot open\n",
              stderr);
        return 127;
    }
    if (strcmp(role, "waits") == 0) {
        for (;;) {
            pause();
        }
    }
    return 99;
}

void player_main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], LAUNCHER_FLAG) == 0) {
        launcher_main(argc, argv);
    }
    const char *role = getenv(PLAYER);
    if (role != NULL) {
        int status = play(role);
        fflush(NULL);
        _exit(status); /* what it still holds is no leak */
    }
}

struct buffer player_env(const char *role, const char *more)
{
    struct buffer env = {0};
    buffer_printf(&env, "%s=%s", PLAYER, role);
    buffer_append(&env, "", 1);
    buffer_append_text(&env, "DRT_SECRET=1");
    buffer_append(&env, "", 1);
    if (more != NULL) {
        buffer_append(&env, more, strlen(more) + 1);
    }
    return env;
}

int player_program(void)
{
    return open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
}
