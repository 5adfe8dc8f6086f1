#include "head/shell.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/shortage.h"
#include "head/address.h"
#include "head/commit.h"
#include "head/core.h"
#include "head/tools.h"
#include "proto/link.h"
#include "proto/ring.h"

#define CHORES_TURNS 256u  /* between two calls of on_chores */
#define EVENTS_MAX   1024u /* taken before the core is asked */

/* What has come, with the messages it points at. */
struct inbox {
    struct head_event *events;
    size_t count, room;
    struct arena arena;
};

struct shell {
    const struct head_shell_config *config;
    struct loop *loop;
    struct link *link;
    struct tools *tools;
    struct committer *committer;
    struct head_core *core;
    struct inbox inboxes[2]; /* one is filled while the core reads the other */
    struct inbox *inbox;
    bool stepping, quit;
    char address[HOSTPORT_SIZE];
    int signals;
    struct loop_source signal_source, parent_source, parent_exit_source;
    int parent_pidfd;
    struct log_limit limit;
};

static void step(struct shell *s);

static struct head_time time_now(void)
{
    return (struct head_time){clock_now_ns(), clock_boot_ns(), clock_unix_ms()};
}

/* ---- events ---- */

/* Before a message is copied to where its event will be. */
static void make_room(struct shell *s)
{
    if (s->inbox->count >= EVENTS_MAX && !s->stepping) {
        step(s);
    }
}

static void push(struct shell *s, const struct head_event *event)
{
    struct inbox *in = s->inbox;
    if (in->count == in->room) {
        in->room = MAX_OF(in->room * 2, (size_t)64);
        in->events = xrealloc(in->events, in->room * sizeof *in->events);
    }
    in->events[in->count++] = *event;
}

static void link_up(void *arg, uint64_t peer, const struct link_identity *identity)
{
    push(arg,
         &(struct head_event){.kind = HEAD_EVENT_LINK_UP, .link = peer, .role = identity->role});
}

static void link_message(void *arg, uint64_t peer, struct bytes message, bool datagram)
{
    struct shell *s = arg;
    const char *why = "";
    make_room(s);
    struct arena *arena = &s->inbox->arena;
    struct cluster_msg *msg = arena_alloc(arena, sizeof *msg);
    struct bytes copy = bytes_of(arena_copy(arena, message.data, message.size), message.size);
    if (cluster_decode(copy, arena, msg, &why) == 0) {
        const char *seen = link_peer_address(s->link, peer);
        push(s, &(struct head_event){.kind = datagram ? HEAD_EVENT_DATAGRAM : HEAD_EVENT_MESSAGE,
                                     .link = peer,
                                     .seen = arena_text(arena, seen, strlen(seen)),
                                     .cluster = msg});
        return;
    }
    log_limited(&s->limit, LOG_LEVEL_WARN,
                "a peer was disconnected: it sent an invalid message (%s)", why);
    link_drop(s->link, peer);
    push(s, &(struct head_event){.kind = HEAD_EVENT_LINK_DOWN, .link = peer});
}

static void link_cut(void *arg, uint64_t peer)
{
    push(arg, &(struct head_event){.kind = HEAD_EVENT_LINK_CUT, .link = peer});
}

static void link_down(void *arg, uint64_t peer, enum link_down why)
{
    push(arg, &(struct head_event){.kind = HEAD_EVENT_LINK_DOWN, .link = peer});
}

static void link_probed(void *arg, uint64_t node, enum link_probe_answer answer)
{
    push(arg, &(struct head_event){.kind = HEAD_EVENT_PROBED,
                                   .node = (uint32_t)node,
                                   .probe = answer == LINK_PROBE_LISTENS   ? HEAD_PROBE_ALIVE
                                            : answer == LINK_PROBE_REFUSED ? HEAD_PROBE_REFUSED
                                                                           : HEAD_PROBE_SILENT});
}

static void link_reached(void *arg, uint64_t node, enum reach_answer answer)
{
    static const enum head_reach reaches[] = {[REACH_FOUND] = HEAD_REACH_NODE,
                                              [REACH_REFUSED] = HEAD_REACH_REFUSED,
                                              [REACH_SILENT] = HEAD_REACH_SILENT,
                                              [REACH_OTHER] = HEAD_REACH_OTHER,
                                              [REACH_NO_NAME] = HEAD_REACH_NO_NAME};
    push(arg, &(struct head_event){
                  .kind = HEAD_EVENT_REACHED, .node = (uint32_t)node, .reach = reaches[answer]});
}

static void tool_up(void *arg, uint32_t tool)
{
    push(arg, &(struct head_event){.kind = HEAD_EVENT_TOOL_UP, .tool = tool});
}

static void tool_message(void *arg, uint32_t tool, struct bytes message)
{
    struct shell *s = arg;
    const char *why = "";
    make_room(s);
    struct arena *arena = &s->inbox->arena;
    struct local_msg *msg = arena_alloc(arena, sizeof *msg);
    struct bytes copy = bytes_of(arena_copy(arena, message.data, message.size), message.size);
    if (local_decode(copy, arena, msg, &why) == 0) {
        push(s, &(struct head_event){.kind = HEAD_EVENT_TOOL_MESSAGE, .tool = tool, .local = msg});
        return;
    }
    log_limited(&s->limit, LOG_LEVEL_WARN,
                "a tool was disconnected: it sent an invalid message (%s)", why);
    tools_drop(s->tools, tool);
    push(s, &(struct head_event){.kind = HEAD_EVENT_TOOL_DOWN, .tool = tool});
}

static void tool_down(void *arg, uint32_t tool)
{
    push(arg, &(struct head_event){.kind = HEAD_EVENT_TOOL_DOWN, .tool = tool});
}

static void on_durable(void *arg, uint64_t record)
{
    push(arg, &(struct head_event){.kind = HEAD_EVENT_COMMITTED, .record = record});
}

static void signal_ready(struct loop_source *source, uint32_t epoll_events)
{
    struct shell *s = source->arg;
    struct signalfd_siginfo info;
    while (read(s->signals, &info, sizeof info) == sizeof info) {
        s->quit = s->quit || info.ssi_signo != SIGHUP;
    }
}

static void parent_ready(struct loop_source *source, uint32_t epoll_events)
{
    struct shell *s = source->arg;
    char byte;
    ssize_t n = read(source->fd, &byte, 1);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        log_info("the program that started this head is gone");
        s->quit = true;
    }
}

static void parent_ended(struct loop_source *source, uint32_t epoll_events)
{
    struct shell *s = source->arg;
    loop_remove(source);
    log_info("the program that started this head has ended");
    s->quit = true;
}

/* Its end closes, or it ends though a child of it still holds its end. */
static int watch_parent(struct shell *s)
{
    int fd = s->config->parent_pipe;
    if (fd < 0) {
        return 0;
    }
    int r = loop_add(s->loop, &s->parent_source, fd, EPOLLIN, parent_ready, s);
    s->parent_pidfd = ring_peer_pidfd(fd); /* none for a pipe: then its end-of-file must do */
    if (r == 0 && s->parent_pidfd == -ESRCH) {
        return -EPIPE;
    }
    if (r == 0 && s->parent_pidfd >= 0) {
        r = loop_add(s->loop, &s->parent_exit_source, s->parent_pidfd, EPOLLIN, parent_ended, s);
    }
    return r;
}

/* ---- effects ---- */

static void send_link(struct shell *s, const struct head_effect *effect)
{
    int r = link_send(s->link, effect->link, effect->message);
    if (r == 0 || r == -ENOTCONN) {
        return; /* that it is down is told, or was */
    }
    log_limited(&s->limit, LOG_LEVEL_WARN,
                "a peer was disconnected: it does not read what is sent to it (%s)", strerror(-r));
    link_drop(s->link, effect->link);
    push(s, &(struct head_event){.kind = HEAD_EVENT_LINK_DOWN, .link = effect->link});
}

static void probe(struct shell *s, const struct head_effect *effect)
{
    if (link_probe(s->link, effect->address, effect->node) != 0) {
        link_probed(s, effect->node, LINK_PROBE_SILENT);
    }
}

static void reach(struct shell *s, const struct head_effect *effect)
{
    int r = link_reach(s->link, effect->address, effect->key, effect->node);
    if (r != 0) {
        push(s,
             &(struct head_event){.kind = HEAD_EVENT_REACHED,
                                  .node = effect->node,
                                  .reach = r == -EINVAL ? HEAD_REACH_NO_NAME : HEAD_REACH_UNASKED});
    }
}

static void carry_out(struct shell *s, const struct head_effect *effect)
{
    switch (effect->kind) {
    case HEAD_EFFECT_RECORD:
        committer_add(s->committer, effect->record);
        return;
    case HEAD_EFFECT_COMMIT:
        committer_commit(s->committer, effect->record_number);
        return;
    case HEAD_EFFECT_SEND:
        send_link(s, effect);
        return;
    case HEAD_EFFECT_DATAGRAM: {
        int r = link_datagram(s->link, effect->link, effect->message);
        (void)r; /* may be lost */
        return;
    }
    case HEAD_EFFECT_DROP:
        link_drop(s->link, effect->link);
        return;
    case HEAD_EFFECT_PROBE:
        probe(s, effect);
        return;
    case HEAD_EFFECT_REACH:
        reach(s, effect);
        return;
    case HEAD_EFFECT_TOOL:
        tools_send(s->tools, effect->tool, effect->message);
        return;
    case HEAD_EFFECT_TOOL_CLOSE:
        tools_close(s->tools, effect->tool);
        return;
    case HEAD_EFFECT_LOG:
        log_info("%s", effect->text);
        return;
    case HEAD_EFFECT_QUIT:
        s->quit = true;
        return;
    }
}

static void step_once(struct shell *s)
{
    struct inbox *in = s->inbox;
    struct head_time now = time_now();
    struct head_effects effects;
    s->inbox = in == &s->inboxes[0] ? &s->inboxes[1] : &s->inboxes[0];
    head_core_step(s->core, &now, in->events, in->count, &effects);
    in->count = 0;
    arena_reset(&in->arena);
    for (size_t i = 0; i < effects.count; i++) {
        carry_out(s, &effects.items[i]);
    }
}

static void step(struct shell *s)
{
    ASSERT(!s->stepping);
    s->stepping = true;
    do {
        step_once(s);
    } while (s->inbox->count != 0);
    s->stepping = false;
}

static void run(struct shell *s)
{
    for (uint64_t turn = 1; !s->quit; turn++) {
        if (turn % CHORES_TURNS == 0) {
            s->config->on_chores(s->config->arg);
        }
        uint64_t now = clock_now_ns();
        uint64_t next = MIN_OF(head_core_next_ns(s->core), link_next_ns(s->link));
        next = MIN_OF(next, tools_next_ns(s->tools));
        next = head_core_has_work(s->core) || s->inbox->count != 0 ? now : next;
        int r = loop_turn(s->loop, next == NS_FOREVER ? NS_FOREVER : next > now ? next - now : 0);
        if (r < 0) {
            log_error("the event loop failed: %s", strerror(-r));
            return;
        }
        now = clock_now_ns();
        link_tick(s->link, now);
        tools_tick(s->tools, now);
        if (s->inbox->count != 0 || head_core_has_work(s->core) ||
            now >= head_core_next_ns(s->core)) {
            step(s);
        }
    }
}

/* ---- beginning ---- */

static int watch_signals(struct shell *s)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
        return -errno;
    }
    s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signals < 0
               ? -errno
               : loop_add(s->loop, &s->signal_source, s->signals, EPOLLIN, signal_ready, s);
}

static int listen_failed(const struct head_shell_config *c, uint16_t port, int r, struct failure *f)
{
    const char *bind = c->bind != NULL ? c->bind : "*";
    if (r == -EADDRINUSE) {
        return failure_set(f, CODE_FAILED,
                           "port %u is in use by another process. Choose another port with --port, "
                           "or stop that process",
                           port);
    }
    if (r == -EADDRNOTAVAIL || r == -EINVAL) {
        return failure_set(f, CODE_SIGNATURE,
                           "cannot listen on %.255s: it is not an address%s. Give --bind an "
                           "address that 'ip address' shows, or omit it",
                           bind, r == -EINVAL ? "" : " of this machine");
    }
    if (r == -EACCES) {
        return failure_set(f, CODE_FAILED,
                           "the self-check failed: an unknown key was not refused, or port %u "
                           "cannot be used. Nothing was started",
                           port);
    }
    if (shortage_is(-r)) {
        return failure_set(f, CODE_FAILED, "cannot listen on %s, port %u: %s. %s", bind, port,
                           strerror(-r), shortage_advice(-r));
    }
    return failure_set(f, CODE_FAILED, "cannot listen on %s, port %u: %s", bind, port,
                       strerror(-r));
}

/* The port that is asked for; else the remembered one, where the nodes look; else the first free
 * one from 7420. */
static int listen_nodes(struct shell *s, bool has_nodes, struct failure *f)
{
    const struct head_shell_config *c = s->config;
    uint16_t remembered = c->port_given ? 0 : address_remembered_port(c->place);
    uint16_t port = 0;
    struct link_server_config config = {
        .loop = s->loop,
        .bind = c->bind,
        .port = c->port_given     ? c->port
                : remembered != 0 ? remembered
                                  : HEAD_PORT,
        .exact = c->port_given || (remembered != 0 && has_nodes),
        .key = c->keys->server,
        .access = c->keys->access,
        .number = SESSION_NUMBER_HEAD,
        .peers_max = HEAD_LINKS_MAX,
        .events = {.on_up = link_up,
                   .on_message = link_message,
                   .on_down = link_down,
                   .on_cut = link_cut,
                   .on_probe = link_probed,
                   .on_reach = link_reached,
                   .arg = s},
    };
    int r = link_server_new(&config, &s->link, &port);
    if (r != 0) {
        return listen_failed(c, config.port, r, f);
    }
    address_choose(c->bind, c->advertise, port, s->address);
    const char *addresses[] = {s->address};
    r = address_remember_port(c->place, port, f);
    return r != 0 ? r : keys_set_addresses(c->place, addresses, 1, f);
}

static int listen_tools(struct shell *s, struct failure *f)
{
    char path[PLACE_PATH_MAX];
    struct tools_events events = {
        .on_up = tool_up, .on_message = tool_message, .on_down = tool_down, .arg = s};
    int r = place_path(s->config->place, "head.sock", path);
    r = r != 0 ? r : tools_new(s->loop, path, &events, &s->tools);
    return r == 0 ? 0 : failure_set(f, CODE_FAILED, "cannot listen on %s: %s", path, strerror(-r));
}

static bool any_alive(const struct head_record *records, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (records[i].kind == HEAD_RECORD_NODE && records[i].node.state == HEAD_NODE_ALIVE) {
            return true;
        }
    }
    return false;
}

static void row_left_out(void *arg, const char *sentence)
{
    log_warn("head.db: %s ('drt-head repair' removes such rows)", sentence);
}

static void row_contradicts(void *arg, const struct head_record *record, const char *why)
{
    bool is_node = record->kind == HEAD_RECORD_NODE;
    log_warn("head.db: %s %" PRIu64 ": %s ('drt-head repair' removes such rows)",
             is_node ? "node" : "job", is_node ? record->node.number : record->job.number, why);
}

static void make_core(struct shell *s, const struct head_record *records, size_t count)
{
    struct head_config config = {.cluster = s->config->keys->cluster,
                                 .address = s->address,
                                 .pid = (uint32_t)getpid(),
                                 .time = time_now()};
    s->core = head_core_new(&config);
    head_core_restore(s->core, records, count, row_contradicts, NULL);
}

/* Takes the journal. */
static int begin_with(struct shell *s, struct journal *journal, struct failure *f)
{
    const struct journal_reader reader = {.on_bad = row_left_out};
    struct arena arena = {0};
    struct head_record *records = NULL;
    size_t count = 0;
    if (journal_loss(journal)[0] != '\0') {
        log_warn("%s; going on without them, as --accept-loss says", journal_loss(journal));
    }
    int r = journal_load(journal, &reader, &arena, &records, &count, f);
    if (r == 0) {
        r = committer_new(s->loop, journal, on_durable, s, &s->committer);
        r = r == 0 ? 0 : failure_set(f, CODE_FAILED, "cannot start a thread: %s", strerror(-r));
    }
    if (r != 0) {
        journal_close(journal);
    }
    r = r != 0 ? r : listen_nodes(s, any_alive(records, count), f);
    if (r == 0) {
        make_core(s, records, count);
    }
    free(records);
    arena_fini(&arena);
    return r;
}

static int begin(struct shell *s, struct failure *f)
{
    struct journal *journal = NULL;
    char path[PLACE_PATH_MAX];
    int r = loop_new(&s->loop);
    r = r != 0 ? r : watch_signals(s);
    r = r != 0 ? r : watch_parent(s);
    if (r != 0) {
        return failure_set(f, CODE_FAILED, "cannot begin: %s", strerror(-r));
    }
    if (place_path(s->config->place, "head.db", path) != 0) {
        return failure_set(f, CODE_FAILED, "the path of the directory is too long");
    }
    r = journal_open(path, s->config->accept_loss ? JOURNAL_ACCEPT_LOSS : 0, &journal, f);
    r = r != 0 ? r : begin_with(s, journal, f);
    return r != 0 ? r : listen_tools(s, f);
}

static void end(struct shell *s)
{
    s->stepping = true; /* what still comes is for nobody */
    tools_free(s->tools);
    committer_free(s->committer);
    link_free(s->link);
    head_core_free(s->core);
    if (s->loop != NULL) {
        loop_remove(&s->signal_source);
        loop_remove(&s->parent_source);
        loop_remove(&s->parent_exit_source);
        loop_free(s->loop);
    }
    close_fd(&s->signals);
    close_fd(&s->parent_pidfd);
    for (size_t i = 0; i < ARRAY_SIZE(s->inboxes); i++) {
        arena_fini(&s->inboxes[i].arena);
        free(s->inboxes[i].events);
    }
    free(s);
}

int head_shell_run(const struct head_shell_config *config, struct failure *f)
{
    struct shell *s = xcalloc(1, sizeof *s);
    s->config = config;
    s->signals = -1;
    s->parent_pidfd = -1;
    s->inbox = &s->inboxes[0];
    int r = begin(s, f);
    if (r == 0) {
        log_info("cluster \"%s\" at %s, drt %s", config->keys->cluster, s->address, DRT_VERSION);
        config->on_ready(config->arg, s->address);
        run(s);
        log_info("the head is stopping");
    }
    end(s);
    return r;
}
