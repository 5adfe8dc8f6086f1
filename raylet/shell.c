#include "raylet/shell.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/daemon.h"
#include "common/files.h"
#include "common/log.h"
#include "common/patience.h"
#include "common/shortage.h"
#include "common/text.h"
#include "proto/ring.h"
#include "raylet/carry_out.h"
#include "raylet/exchange.h"
#include "raylet/guard.h"
#include "raylet/invite.h"
#include "raylet/machine.h"
#include "raylet/memory.h"

#define TURNS_PER_LOOK   32u /* turns between two looks at the loop while rings are busy */
#define LOOK_NS          (100 * NS_PER_US)
#define STEPS_PER_TURN   4u
#define PEEK_MOST        16u             /* polls of the rings for each look at the network */
#define JOIN_NS          (15 * NS_PER_S) /* from the start to the head's answer */
#define UNREACHABLE_NS   (5 * NS_PER_S)
#define OTHER_ADDRESS_NS (1 * NS_PER_S)    /* for the head's further addresses after one refused */
#define REACH_NS         (4 * NS_PER_S)    /* for the head to find out whether others reach us */
#define REACH_PRIVATE_NS (300 * NS_PER_MS) /* a program waits for that */
#define LEAVE_NS         (2 * NS_PER_S)
#define FAREWELL_NS      NS_PER_S /* for what the program said last */
#define END_WORKERS_NS   (2 * NS_PER_S)
#define LOG_LOOK_NS      (60 * NS_PER_S)
#define FILES_PER_CLIENT                                                                           \
    8u /* descriptors: socket, memfd, two bells; a driver's pidfd, program, directory; a worker's  \
        pidfd, pipes, logs */
#define FILES_OURS  128u
#define FILES_LEAST 64u
#define FILES_PEERS                                                                                \
    3072u /* for sessions: two for each of ours, one for each of theirs; at most a quarter */
#define CLIENTS_MAX  4096u
#define MEMORY_SHARE 4u /* clients' values may take this part of the node's memory */
#define MEMORY_LEAST                                                                               \
    (UINT64_C(64) << 20) /* also where it offers none to tasks: their values need some */

struct shell {
    const struct shell_config *config;
    struct loop *loop;
    struct offload *offload;
    struct parts parts;
    struct events stepped; /* given to the core last */
    struct raylet_core *core;
    struct loop_source clock_source, signal_source, parent_source, parent_exit_source;
    int parent_pidfd;
    int signal_fd, clock_fd;
    struct patience patience;
    unsigned turns;         /* since the last look at the loop */
    unsigned polls;         /* while nothing is to be done */
    unsigned peek_every;    /* so many of them: 1 where peers were just heard or spoken to */
    uint64_t peer_traffic;  /* as of the last wait */
    uint64_t look_at_ns;    /* the next one */
    uint64_t give_up_at_ns; /* until the head has answered our JOIN */
    uint64_t leave_at_ns;   /* told to go: at the latest then */
    uint64_t log_at_ns;
    struct memory memory;
    struct failure cause; /* why there is no head, until we are joined */
    bool joined, leaving;
    bool told_joined;    /* on_joined was called */
    uint64_t tell_at_ns; /* at the latest */
    uint32_t number;     /* for it, and the next two */
    char cluster[64], warning[512];
    uint32_t clients_max;
    uint64_t files_soft; /* the limit that workers get */
};

/* ---- the end ---- */

static void leave(struct shell *s, uint64_t within_ns, const char *why)
{
    if (s->leaving || !s->joined) {
        parts_end_with(&s->parts, NULL); /* the second time, or nothing is here yet */
        return;
    }
    log_info("leaving: %s", why);
    s->leaving = true;
    s->leave_at_ns = clock_now_ns() + LEAVE_NS;
    events_add(&s->parts.events, EVENT_LEAVE)->limit_ns = within_ns;
}

static void signal_ready(struct loop_source *source, uint32_t epoll_events)
{
    struct shell *s = source->arg;
    struct signalfd_siginfo info;
    while (read(s->signal_fd, &info, sizeof info) == sizeof info) {
        switch (info.ssi_signo) {
        case SIGCHLD:
            workers_sweep(s->parts.workers);
            break;
        case SIGTERM:
        case SIGINT:
            leave(s, 0, "stopped by a signal");
            break;
        default: /* SIGHUP: the terminal went away, we stay */
            break;
        }
    }
}

static void parent_ready(struct loop_source *source, uint32_t epoll_events)
{
    struct shell *s = source->arg;
    char bytes[64];
    ssize_t n = read(source->fd, bytes, sizeof bytes);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        loop_remove(source);
        leave(s, FAREWELL_NS, "the program that started this node has ended");
    }
}

static void parent_ended(struct loop_source *source, uint32_t epoll_events)
{
    struct shell *s = source->arg;
    loop_remove(&s->parent_source);
    loop_remove(source);
    leave(s, FAREWELL_NS, "the program that started this node has ended");
}

/* ---- joining ---- */

static void head_is_down(void *arg, enum link_down why)
{
    struct shell *s = arg;
    const char *address = s->config->addresses[0];
    uint64_t now_ns = clock_now_ns(), more_ns = 0;
    if (s->joined) {
        log_warn("the head %s %s", address,
                 why == LINK_REFUSED       ? "does not run: continuing without it"
                 : why == LINK_ENDED       ? "ended the session"
                 : why == LINK_SILENT      ? "does not answer"
                 : why == LINK_KEY_REFUSED ? "refuses the key of this node"
                 : why == LINK_STRANGER
                     ? "is not there: another program answers, or it has new keys"
                     : "cannot be reached");
        return;
    }
    switch (why) {
    case LINK_KEY_REFUSED:
        failure_set(&s->cause, CODE_REFUSED,
                    "%s refused this key (%s is for cluster \"%s\"). Copy join.key from the head's "
                    "directory.",
                    address, s->config->key_name, s->config->keys->cluster);
        break;
    case LINK_STRANGER:
        failure_set(&s->cause, CODE_REFUSED,
                    "What answers at %s is not the head of cluster \"%s\" that %s is for: it is "
                    "another program, the head of another cluster, or the head has new keys. Give "
                    "the address that 'drt-head start' printed, or its current join.key.",
                    address, s->config->keys->cluster, s->config->key_name);
        break;
    case LINK_UNREACHABLE:
    case LINK_SILENT:
        failure_set(&s->cause, CODE_DISCONNECTED,
                    "Cannot reach the head at %s: nothing answers there. Check the address, and "
                    "whether a firewall blocks it.",
                    address);
        more_ns = UNREACHABLE_NS;
        break;
    default:
        failure_set(&s->cause, CODE_DISCONNECTED,
                    "Cannot reach the head at %s: nothing listens there. Start it with 'drt-head "
                    "start', or give the address that it printed.",
                    address);
        break;
    }
    if (s->config->address_count > 1) {
        more_ns = MAX_OF(more_ns, OTHER_ADDRESS_NS);
    }
    s->give_up_at_ns = MIN_OF(s->give_up_at_ns, ns_add(now_ns, more_ns));
}

static void was_joined(struct shell *s, const struct cluster_joined *m)
{
    int r = node_dir_set_number(s->config->dir, m->number);
    if (r != 0) {
        log_warn("the node's number cannot be written: %s", strerror(-r));
    }
    head_link_set_number(s->parts.head, m->number);
    peer_link_set_number(s->parts.peers, m->number);
    if (!s->joined) {
        s->joined = true;
        s->number = m->number;
        (void)text_copy(s->cluster, sizeof s->cluster, m->cluster);
        s->tell_at_ns = clock_now_ns() + (s->config->closed ? REACH_PRIVATE_NS : REACH_NS);
        log_info("joined \"%s\" as number %u, at %s", m->cluster, m->number, m->address);
    }
}

static void tell_joined(struct shell *s)
{
    if (!s->told_joined) {
        s->told_joined = true;
        s->config->on_joined(s->config->arg, s->number, s->cluster, s->warning);
    }
}

/* Whether others reach us; told after JOINED, and whenever it changes. */
static void hear_reach(struct shell *s, const struct cluster_reach *m)
{
    if (strcmp(s->warning, m->warning) != 0) {
        if (*m->warning != '\0') {
            log_warn("this node %s", m->warning);
        } else {
            log_info("other nodes can now reach this node, at %s", m->address);
        }
        (void)text_copy(s->warning, sizeof s->warning, m->warning);
    }
    if (s->joined) {
        tell_joined(s);
    }
}

/* What passes through us and concerns the process, not the core. */
static void look_at_head_messages(struct shell *s, const struct events *events)
{
    for (size_t i = 0; i < events->count; i++) {
        const struct raylet_event *event = &events->items[i];
        if (event->kind == EVENT_HEAD_MESSAGE && event->head->type == CLUSTER_JOINED) {
            was_joined(s, &event->head->joined);
        } else if (event->kind == EVENT_HEAD_MESSAGE && event->head->type == CLUSTER_REACH) {
            hear_reach(s, &event->head->reach);
        }
    }
}

/* ---- turns ---- */

/* Gives the core all that has come; what carrying out adds at once (claims taken back) goes into
 * further steps. */
static void step(struct shell *s, uint64_t now_ns)
{
    uint64_t boot_ns = clock_boot_ns();
    unsigned steps = 0;
    do {
        struct events turn = s->parts.events;
        struct raylet_effects effects = {0};
        s->parts.events = s->stepped;
        look_at_head_messages(s, &turn);
        raylet_core_step(s->core, now_ns, boot_ns, turn.items, turn.count, &effects);
        carry_out(&s->parts, &effects);
        peer_link_flush(s->parts.peers); /* what one step says to a peer leaves together */
        events_clear(&turn);
        s->stepped = turn;
    } while (s->parts.events.count != 0 && ++steps < STEPS_PER_TURN);
}

static void turn_log(struct shell *s, uint64_t now_ns)
{
    char path[PLACE_PATH_MAX];
    s->log_at_ns = now_ns + LOG_LOOK_NS;
    if (s->config->log_to_file && node_dir_path(s->config->dir, "node.log", path) == 0) {
        daemon_turn_log(path);
    }
}

static void run_deadlines(struct shell *s, uint64_t now_ns)
{
    workers_tick(s->parts.workers, now_ns);
    head_link_tick(s->parts.head, now_ns);
    logs_tick(s->parts.logs, now_ns);
    fetch_tick(s->parts.fetch, now_ns);
    giver_tick(s->parts.giver, now_ns);
    peer_link_tick(s->parts.peers, now_ns);
    peer_link_flush(s->parts.peers);
    if (now_ns >= s->log_at_ns) {
        turn_log(s, now_ns);
    }
    if (memory_is_due(&s->memory, now_ns)) {
        struct raylet_counts counts;
        raylet_core_note_memory(s->core, machine_memory_used());
        raylet_core_count(s->core, &counts);
        (void)memory_look(&s->memory, counts.held_bytes + counts.foreign_value_bytes, now_ns);
    }
    if (s->joined && !s->told_joined && now_ns >= s->tell_at_ns) {
        tell_joined(s);
    }
    if (s->leaving && now_ns >= s->leave_at_ns) {
        parts_end_with(&s->parts, NULL);
    }
    /* The head says why it refuses us, then ends the session: what it said comes first. */
    if (!s->joined && now_ns >= s->give_up_at_ns && s->parts.events.count == 0) {
        if (s->cause.code == 0) {
            failure_set(&s->cause, CODE_DISCONNECTED, "The head at %s did not answer within 15 s.",
                        s->config->addresses[0]);
        }
        parts_end_with(&s->parts, &s->cause);
    }
}

static uint64_t next_ns(const struct shell *s)
{
    uint64_t ns = raylet_core_next_ns(s->core);
    ns = MIN_OF(ns, head_link_next_ns(s->parts.head));
    ns = MIN_OF(ns, peer_link_next_ns(s->parts.peers));
    ns = MIN_OF(ns, fetch_next_ns(s->parts.fetch));
    ns = MIN_OF(ns, giver_next_ns(s->parts.giver));
    ns = MIN_OF(ns, logs_next_ns(s->parts.logs));
    ns = MIN_OF(ns, workers_next_ns(s->parts.workers));
    ns = MIN_OF(ns, clients_next_ns(s->parts.clients));
    if (s->leaving) {
        ns = MIN_OF(ns, s->leave_at_ns);
    }
    if (s->joined && !s->told_joined) {
        ns = MIN_OF(ns, s->tell_at_ns);
    }
    return s->joined ? ns : MIN_OF(ns, s->give_up_at_ns);
}

/* A look at sockets, processes and the head, waiting at most `timeout_ns`. */
static void look(struct shell *s, uint64_t timeout_ns)
{
    int r = loop_turn(s->loop, timeout_ns);
    if (r < 0) {
        struct failure f;
        failure_set(&f, CODE_FAILED, "The event loop failed: %s.", strerror(-r));
        parts_end_with(&s->parts, &f);
    }
    uint64_t now_ns = clock_now_ns();
    s->turns = 0;
    s->look_at_ns = now_ns + LOOK_NS;
    run_deadlines(s, now_ns);
}

/* Rings are looked at with each poll; the network, which takes a system call, with some: the longer
 * it was silent, the fewer. */
static bool has_input(void *arg)
{
    struct shell *s = arg;
    if (clients_has_input(s->parts.clients)) {
        return true;
    }
    if (++s->polls % s->peek_every != 0 || !peer_link_is_up(s->parts.peers) ||
        !loop_is_ready(s->loop)) {
        return false;
    }
    s->look_at_ns = 0; /* the next turn looks */
    return true;
}

/* Nothing is to be done: polls the hot rings for a while, then sleeps. */
static void wait_for_more(struct shell *s)
{
    uint64_t traffic = peer_link_traffic(s->parts.peers);
    bool quiet = traffic == s->peer_traffic;
    s->peek_every = quiet ? MIN_OF(s->peek_every * 2, PEEK_MOST) : 1;
    s->peer_traffic = traffic;
    if (clients_any_hot(s->parts.clients)) {
        if (patience_poll(&s->patience, has_input, s)) {
            return;
        }
        if (!clients_arm(s->parts.clients)) {
            return;
        }
    }
    uint64_t due_ns = next_ns(s), now_ns = clock_now_ns();
    look(s, due_ns == NS_FOREVER ? NS_FOREVER : due_ns > now_ns ? due_ns - now_ns : 0);
}

static void turn(struct shell *s)
{
    uint64_t now_ns = clock_now_ns();
    if (++s->turns >= TURNS_PER_LOOK || now_ns >= s->look_at_ns) {
        look(s, 0);
    }
    (void)clients_receive(s->parts.clients, now_ns);
    if (s->parts.events.count == 0 && !raylet_core_has_work(s->core) &&
        now_ns < raylet_core_next_ns(s->core)) {
        clients_flush(s->parts.clients, now_ns);
        if (s->parts.events.count == 0) {   /* flushing may end clients */
            events_clear(&s->parts.events); /* parts of programs came past the core */
            wait_for_more(s);
        }
        return;
    }
    step(s, now_ns);
    clients_flush(s->parts.clients, now_ns);
}

/* ---- beginning and end ---- */

/* As many descriptors as the system lets us have; workers get the limit that we were given. */
static int raise_files(struct shell *s, struct failure *f)
{
    uint64_t most = UINT64_C(2) * CLIENTS_MAX * FILES_PER_CLIENT;
    uint64_t files = files_raise_limit(most, &s->files_soft);
    if (files < FILES_LEAST) {
        return failure_set(f, CODE_FULL,
                           "A node needs %u open files, and the limit here is %" PRIu64
                           ". Raise the limit: ulimit -n 1024.",
                           FILES_LEAST, files);
    }
    uint64_t ours = FILES_OURS + MIN_OF((uint64_t)FILES_PEERS, files / 4);
    uint64_t clients = files > ours ? (files - ours) / FILES_PER_CLIENT : 1;
    s->clients_max = (uint32_t)MIN_OF(MAX_OF(clients, UINT64_C(8)), (uint64_t)CLIENTS_MAX);
    return 0;
}

/* A timer that is never due, and cancelled when the clock is set. */
static int arm_clock(int fd)
{
    const struct itimerspec never = {.it_value.tv_sec = INT64_MAX / (int64_t)NS_PER_S - 1};
    return timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) < 0
               ? -errno
               : 0;
}

static void clock_ready(struct loop_source *source, uint32_t epoll_events)
{
    struct shell *s = source->arg;
    uint64_t due;
    if (read(s->clock_fd, &due, sizeof due) < 0 && errno == ECANCELED) {
        log_info("the machine's clock was set");
        events_add(&s->parts.events, EVENT_CLOCK)->unix_ms = clock_unix_ms();
    }
    if (arm_clock(s->clock_fd) != 0) {
        loop_remove(source);
    }
}

/* Without it only what people are shown may be wrong. */
static void watch_clock(struct shell *s)
{
    s->clock_fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    int r = s->clock_fd < 0 ? -errno : arm_clock(s->clock_fd);
    r = r != 0 ? r : loop_add(s->loop, &s->clock_source, s->clock_fd, EPOLLIN, clock_ready, s);
    if (r != 0) {
        log_warn("cannot notice that the clock is set: %s", strerror(-r));
    }
}

static int watch_signals(struct shell *s)
{
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGINT);
    sigaddset(&wanted, SIGHUP);
    sigaddset(&wanted, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &wanted, NULL) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
        return -errno;
    }
    s->signal_fd = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
    if (s->signal_fd < 0) {
        return -errno;
    }
    return loop_add(s->loop, &s->signal_source, s->signal_fd, EPOLLIN, signal_ready, s);
}

/* Its end closes, or it ends though a child of it still holds its end. */
static int watch_parent(struct shell *s)
{
    int fd = s->config->parent_pipe;
    if (fd < 0) {
        return 0;
    }
    int r = fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0;
    r = r != 0 ? r : loop_add(s->loop, &s->parent_source, fd, EPOLLIN, parent_ready, s);
    s->parent_pidfd = ring_peer_pidfd(fd); /* none for a pipe: then its end-of-file must do */
    if (r == 0 && s->parent_pidfd == -ESRCH) {
        return -EPIPE;
    }
    if (r == 0 && s->parent_pidfd >= 0) {
        r = loop_add(s->loop, &s->parent_exit_source, s->parent_pidfd, EPOLLIN, parent_ended, s);
    }
    return r;
}

/* A private cluster: its logs go with it. Of a private node only the node is, not the cluster. */
static bool is_passing(const struct shell_config *config)
{
    return config->parent_pipe >= 0 && !config->closed;
}

static void new_core(struct shell *s)
{
    const struct shell_config *c = s->config;
    const struct passwd *user = getpwuid(getuid());
    uint64_t seed = 0;
    FILE *file = fopen("/dev/urandom", "re");
    if (file == NULL || fread(&seed, sizeof seed, 1, file) != 1) {
        seed = clock_now_ns();
    }
    if (file != NULL) {
        fclose(file);
    }
    s->core = raylet_core_new(&(struct raylet_config){
        .node_name = c->dir->name,
        .cluster = c->keys->cluster,
        .amounts = c->amounts,
        .amount_count = c->amount_count,
        .labels = c->labels,
        .uid = getuid(),
        .user = user != NULL ? user->pw_name : NULL,
        .seed = seed,
        .closed = c->closed,
        .job_workers_max = c->job_workers_max,
        .depth_max = c->depth_max,
        .is_passing = is_passing(c),
        .memory_credit_bytes = MAX_OF(c->memory_bytes / MEMORY_SHARE, MEMORY_LEAST),
        .now_ns = clock_now_ns(),
        .boot_ns = clock_boot_ns(),
        .unix_ms = clock_unix_ms(),
    });
}

static void worker_wrote(void *arg, uint32_t worker, uint32_t stream, struct bytes lines)
{
    struct shell *s = arg;
    struct raylet_event *event = events_add(&s->parts.events, EVENT_LOG);
    event->worker = worker;
    event->stream = stream;
    event->data = bytes_of(arena_copy(&s->parts.events.arena, lines.data, lines.size), lines.size);
}

/* The parts that need only this machine. */
static int open_local(struct shell *s)
{
    char logs[PLACE_PATH_MAX], programs[PLACE_PATH_MAX], sock[PLACE_PATH_MAX];
    struct node_dir *dir = s->config->dir;
    int r = node_dir_path(dir, "logs", logs);
    if (r == 0) {
        r = node_dir_path(dir, "programs", programs);
    }
    if (r == 0) {
        r = node_dir_path(dir, "sock", sock);
    }
    if (r == 0) {
        r = node_dir_set_pid(dir);
    }
    if (r == 0) {
        r = offload_new(&s->offload, s->loop, "drt-offload");
    }
    if (r != 0) {
        return r;
    }
    s->parts.node_name = dir->name;
    s->parts.logs =
        logs_new(s->loop, logs,
                 &(struct log_lines_owner){
                     .on_lines = worker_wrote, .arg = s, .is_passing = is_passing(s->config)});
    exchange_open(&s->parts, s->offload, programs, dir->name);
    s->parts.workers = workers_new(&(struct workers_config){
        .loop = s->loop,
        .events = &s->parts.events,
        .logs = s->parts.logs,
        .node_dir = dir->path,
        .node_name = dir->name,
        .files_max = s->files_soft,
    });
    s->parts.clients = clients_new(s->loop, &s->parts.events,
                                   &(struct clients_owner){.on_worker_silent = workers_on_silent,
                                                           .on_worker_greeted = workers_on_greeted,
                                                           .arg = s->parts.workers},
                                   s->clients_max);
    workers_set_clients(s->parts.workers, s->parts.clients);
    return clients_listen(s->parts.clients, sock);
}

static int open_network(struct shell *s, struct failure *f)
{
    const struct shell_config *c = s->config;
    int r = peer_link_new(&(struct peer_link_config){.loop = s->loop,
                                                     .events = &s->parts.events,
                                                     .keys = c->keys,
                                                     .head_address = c->addresses[0],
                                                     .bind = c->bind,
                                                     .advertise = c->advertise,
                                                     .port = c->port,
                                                     .exact = c->exact_port,
                                                     .on_program_message = exchange_on_message,
                                                     .on_session_end = exchange_on_session_end,
                                                     .arg = &s->parts},
                          &s->parts.peers, f);
    if (r != 0) {
        return r;
    }
    r = head_link_new(
        &(struct head_link_config){.loop = s->loop,
                                   .events = &s->parts.events,
                                   .keys = c->keys,
                                   .addresses = c->addresses,
                                   .address_count = c->address_count,
                                   .context = peer_link_context(s->parts.peers),
                                   .resolver = peer_link_resolver(s->parts.peers),
                                   .find = invite_look_again,
                                   .place = c->place,
                                   .find_first = c->place_first,
                                   .find_later = c->place_later,
                                   .address = peer_link_address(s->parts.peers),
                                   .advertised = peer_link_is_advertised(s->parts.peers),
                                   .public_key = peer_link_key(s->parts.peers),
                                   .supersedes = c->dir->former_number,
                                   .secret = c->dir->secret,
                                   .on_down = head_is_down,
                                   .arg = s},
        &s->parts.head, f);
    if (r != 0) {
        return r;
    }
    r = node_dir_set_port(c->dir, peer_link_port(s->parts.peers));
    if (r != 0) {
        log_warn("the node's port cannot be written: %s", strerror(-r));
    }
    return 0;
}

static int begin(struct shell *s, struct failure *f)
{
    int r = loop_new(&s->loop);
    if (r == 0) {
        watch_clock(s);
        r = watch_signals(s);
    }
    if (r == 0) {
        r = watch_parent(s);
    }
    if (r == 0) {
        r = open_local(s);
    }
    if (r != 0) {
        return failure_set(f, CODE_FAILED, "The node cannot start in %s: %s.%s%s",
                           s->config->dir->path, strerror(-r), shortage_is(-r) ? " " : "",
                           shortage_advice(-r));
    }
    if (s->config->dir->unclean) {
        size_t ended = guard_end_marked(s->config->dir->path);
        log_warn("the previous raylet did not exit cleanly; %zu of its processes were killed",
                 ended);
    }
    r = open_network(s, f);
    if (r != 0) {
        return r;
    }
    new_core(s);
    s->give_up_at_ns = clock_now_ns() + JOIN_NS;
    return 0;
}

static void end(struct shell *s)
{
    if (s->parts.clients != NULL) {
        clients_unlisten(s->parts.clients);
        clients_flush(s->parts.clients, clock_now_ns());
    }
    if (s->parts.workers != NULL) {
        workers_end(s->parts.workers, END_WORKERS_NS);
    }
    head_link_free(s->parts.head);
    peer_link_free(s->parts.peers);
    s->parts.peers = NULL;
    exchange_close(&s->parts);
    offload_free(s->offload); /* what it was given is done, and told, before its takers go */
    clients_free(s->parts.clients);
    workers_free(s->parts.workers);
    exchange_free(&s->parts);
    logs_free(s->parts.logs);
    raylet_core_free(s->core);
    loop_remove(&s->parent_source);
    loop_remove(&s->parent_exit_source);
    loop_remove(&s->clock_source);
    loop_remove(&s->signal_source);
    close_fd(&s->signal_fd);
    close_fd(&s->clock_fd);
    close_fd(&s->parent_pidfd);
    loop_free(s->loop);
    events_fini(&s->parts.events);
    events_fini(&s->stepped);
    buffer_fini(&s->parts.scratch);
}

int shell_run(const struct shell_config *config, struct failure *f)
{
    struct shell *s = xcalloc(1, sizeof *s);
    s->config = config;
    s->signal_fd = s->clock_fd = -1;
    s->parent_pidfd = -1;
    s->peek_every = PEEK_MOST;
    int r = raise_files(s, f);
    if (r != 0) {
        free(s);
        return r;
    }
    r = begin(s, f);
    if (r == 0) {
        while (!s->parts.done) {
            turn(s);
        }
        log_info("ending%s%s", s->parts.end.code != 0 ? ": " : "", s->parts.end.message);
        r = s->parts.end.code;
        *f = s->parts.end;
    }
    end(s);
    free(s);
    return r;
}
