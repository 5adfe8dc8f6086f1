#include "raylet/workers.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/numbers.h"
#include "common/shortage.h"
#include "raylet/descent.h"
#include "raylet/dump_file.h"
#include "raylet/early_exit.h"
#include "raylet/launcher.h"

#define CHILDREN_SEEN_MAX 32768u
#define SWEEP_MAX         64u               /* processes that are looked at in one go */
#define SWEEP_PAUSE_NS    (10 * NS_PER_MS)  /* between two, at least */
#define SWEEP_SHARE       20u               /* and so many times as long as the one before took */
#define SHORTAGE_LOG_NS   (3600 * NS_PER_S) /* between two lines about one that lasts */

struct worker {
    struct workers *workers;
    uint32_t number, client;
    pid_t pid;
    int pidfd, status_fd; /* status_fd: -1 once it is known whether the program runs */
    bool refused;         /* EVENT_WORKER_REFUSED was the last word of it */
    char *cwd;            /* where its program began, as its driver names it */
    uint64_t kill_at_ns;  /* its channel is over: it has until then to end; NS_FOREVER: no */
    struct loop_source exit_source, status_source;
    struct list link;
};

struct workers {
    struct workers_config config;
    struct clients *clients;
    struct numbers table;
    struct list all;
    struct numbers processes; /* our children by pid: the number of the worker that each is, or
                                 belongs to */
    pid_t *children;          /* room for a list of them */
    uint64_t sweep_from_ns, sweep_at_ns; /* not before; when it is due */
    bool ending;                         /* no more events */
    uint64_t short_said_ns; /* when the log was last told that none can be started; 0: never */
    struct log_limit limit;
};

static struct worker *find(struct workers *w, uint32_t worker)
{
    return numbers_get(&w->table, worker);
}

/* The number of the worker that a child is, or is known to belong to; 0: not known. */
static uint32_t known_owner(struct workers *w, pid_t pid)
{
    return (uint32_t)(uintptr_t)numbers_get(&w->processes, (uint64_t)pid);
}

static void set_owner(struct workers *w, pid_t pid, uint32_t worker)
{
    numbers_set(&w->processes, (uint64_t)pid, (void *)(uintptr_t)worker);
}

static struct worker *find_process(struct workers *w, pid_t pid)
{
    struct worker *k = find(w, known_owner(w, pid));
    return k != NULL && k->pid == pid ? k : NULL;
}

static void signal_group(const struct worker *k, int signal)
{
    ASSERT(k->pid > 1); /* 0 and 1 would mean others than this worker */
    /* The leader's own number serves until it is reaped, which only we do. */
    if (kill(-k->pid, signal) < 0 && errno == ESRCH) {
        (void)kill(k->pid, signal);
    }
}

/* What passes is tried again and again: it is told once. */
static void say_why_not(struct workers *w, uint32_t worker, const struct failure *f)
{
    uint64_t now_ns = clock_now_ns();
    if (f->code != CODE_FULL) {
        log_warn("worker %u: %s", worker, f->message);
    } else if (w->short_said_ns == 0 || now_ns >= w->short_said_ns + SHORTAGE_LOG_NS) {
        w->short_said_ns = now_ns;
        log_warn("%s Work goes on with the workers that there are; more are tried again and again "
                 "(this line comes once an hour at most).",
                 f->message);
    }
}

static void refuse(struct workers *w, uint32_t worker, const struct failure *f)
{
    say_why_not(w, worker, f);
    if (!w->ending) {
        struct raylet_event *event = events_add(w->config.events, EVENT_WORKER_REFUSED);
        event->worker = worker;
        event->failure = events_failure(w->config.events, f);
    }
}

/* Learns whether the program runs, if that is known by now. */
static void read_outcome(struct worker *k)
{
    struct workers *w = k->workers;
    struct failure f = {0};
    int r = k->status_fd >= 0 ? launcher_outcome(k->status_fd, &f) : -EAGAIN;
    if (r == -EAGAIN) {
        return;
    }
    loop_remove(&k->status_source);
    close_fd(&k->status_fd);
    if (r == CODE_PROGRAM || r == CODE_FULL) {
        k->refused = true;
        refuse(w, k->number, &f);
    } else if (!w->ending) {
        struct raylet_event *event = events_add(w->config.events, EVENT_WORKER_STARTED);
        event->worker = k->number;
        event->pid = k->pid;
    }
}

static void status_ready(struct loop_source *source, uint32_t epoll_events)
{
    read_outcome(source->arg);
}

static void worker_free(struct worker *k)
{
    loop_remove(&k->exit_source);
    loop_remove(&k->status_source);
    close_fd(&k->pidfd);
    close_fd(&k->status_fd);
    list_unlink(&k->link);
    if (find_process(k->workers, k->pid) == k) {
        (void)numbers_remove(&k->workers->processes, (uint64_t)k->pid);
    }
    (void)numbers_remove(&k->workers->table, k->number);
    free(k->cwd);
    free(k);
}

static const struct raylet_end *describe_end(struct events *events, const char *line,
                                             const char *core_file)
{
    struct raylet_end *end = arena_alloc(&events->arena, sizeof *end);
    end->last_line = arena_text(&events->arena, line, strlen(line));
    end->core_file = arena_text(&events->arena, core_file, strlen(core_file));
    return end;
}

/* Its process is a zombie: ends its group, takes its last words, tells the core. */
static void finish(struct worker *k)
{
    struct workers *w = k->workers;
    struct failure f = {0};
    int status = 0;
    uint64_t claimed[2];
    signal_group(k, SIGKILL);
    (void)waitpid(k->pid, &status, 0);
    logs_ended(w->config.logs, k->number);
    read_outcome(k);
    bool opened = clients_is_open(w->clients, k->client);
    clients_worker_drain(w->clients, k->client, claimed);
    opened = opened || clients_is_open(w->clients, k->client);
    if (!k->refused && !w->ending) {
        bool for_good = false;
        char line[256];
        logs_last_line(w->config.logs, k->number, line);
        if (!opened) {
            int short_of = clients_worker_short_of(w->clients, k->client);
            if (short_of != 0) {
                (void)shortage_explain(&f, short_of, "A worker cannot begin");
            } else {
                for_good = early_exit_explain(w->config.node_name, line, status, &f);
            }
            if (f.code == CODE_FULL) {
                say_why_not(w, k->number, &f);
            }
        }
        struct raylet_event *event = events_add(w->config.events, EVENT_WORKER_EXITED);
        event->worker = k->number;
        event->client = k->client;
        event->pid = k->pid;
        event->wait_status = status;
        event->refused = for_good;
        event->claimed[0] = claimed[0];
        event->claimed[1] = claimed[1];
        event->failure = events_failure(w->config.events, &f);
        char core_file[DUMP_FILE_TEXT];
        dump_file_describe(k->pid, status, k->cwd, core_file);
        event->end = describe_end(w->config.events, line, core_file);
    }
    clients_worker_finish(w->clients, k->client);
    log_debug("worker %u (pid %d) ended: status 0x%x", k->number, (int)k->pid, (unsigned)status);
    worker_free(k);
    workers_sweep(w);
}

static void exit_ready(struct loop_source *source, uint32_t epoll_events)
{
    finish(source->arg);
}

static int watch(struct worker *k)
{
    struct loop *loop = k->workers->config.loop;
    k->pidfd = (int)syscall(SYS_pidfd_open, k->pid, 0);
    if (k->pidfd < 0) {
        return -errno;
    }
    (void)fcntl(k->pidfd, F_SETFD, FD_CLOEXEC);
    int r = loop_add(loop, &k->exit_source, k->pidfd, EPOLLIN, exit_ready, k);
    if (r == 0) {
        r = loop_add(loop, &k->status_source, k->status_fd, EPOLLIN, status_ready, k);
    }
    return r;
}

/* Makes the process and all that is ours of it. On failure nothing is left of it but `k`. */
static int start_process(struct worker *k, const struct workers_start *start)
{
    struct workers *w = k->workers;
    int pair[2], ends[2];
    int r = logs_open(w->config.logs, k->number, ends);
    if (r != 0) {
        return r;
    }
    CLEANUP_FD int out = ends[0];
    CLEANUP_FD int err = ends[1];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
        return -errno;
    }
    CLEANUP_FD int mine = pair[0];
    CLEANUP_FD int theirs = pair[1];
    struct launch launch = {
        .worker = k->number,
        .name = start->name,
        .cwd = start->cwd,
        .directory_fd = start->directory_fd,
        .env = start->env,
        .umask = start->umask,
        .node_dir = w->config.node_dir,
        .files_max = w->config.files_max,
        .program_fd = start->program_fd,
        .socket_fd = theirs,
        .out_fd = out,
        .err_fd = err,
    };
    (void)fcntl(theirs, F_SETFL, 0); /* the SDK waits on it */
    r = launcher_spawn(&launch, &k->pid, &k->status_fd);
    if (r != 0) {
        return r;
    }
    r = watch(k);
    if (r == 0) {
        r = clients_add_worker(w->clients, mine, k->number, k->pid, &k->client);
        mine = -1; /* taken either way */
    }
    if (r != 0) {
        signal_group(k, SIGKILL);
        (void)waitpid(k->pid, NULL, 0);
    }
    return r;
}

void workers_spawn(struct workers *w, const struct workers_start *start)
{
    struct worker *k = xcalloc(1, sizeof *k);
    k->workers = w;
    k->number = start->worker;
    k->cwd = xstrdup(start->cwd);
    k->pidfd = k->status_fd = -1;
    k->kill_at_ns = NS_FOREVER;
    list_init(&k->link);
    ASSERT(find(w, start->worker) == NULL && start->worker != 0);
    int r = start_process(k, start);
    if (r != 0) {
        struct failure f;
        if (shortage_is(-r)) {
            (void)shortage_explain(&f, -r, "A worker of %s cannot be started", start->name);
        } else {
            failure_set(&f, CODE_PROGRAM, "A worker of %s cannot be started: %s.", start->name,
                        strerror(-r));
        }
        logs_ended(w->config.logs, k->number);
        worker_free(k);
        refuse(w, start->worker, &f);
        return;
    }
    numbers_set(&w->table, k->number, k);
    set_owner(w, k->pid, k->number);
    list_append(&w->all, &k->link);
}

void workers_kill(struct workers *w, uint32_t worker, int signal)
{
    struct worker *k = find(w, worker);
    if (k != NULL) {
        signal_group(k, signal);
    }
}

void workers_on_silent(void *arg, uint32_t worker, bool broken)
{
    struct worker *k = find(arg, worker);
    if (k == NULL) {
        return;
    }
    if (broken) {
        signal_group(k, SIGKILL);
    } else {
        /* Most often it is about to end: its last lines of output take a moment. */
        k->kill_at_ns = clock_now_ns() + WORKERS_SILENT_NS;
    }
}

void workers_on_greeted(void *arg, uint32_t worker)
{
    struct worker *k = find(arg, worker);
    if (k != NULL) {
        read_outcome(k);
        logs_serves(k->workers->config.logs, worker,
                    clients_meter(k->workers->clients, k->client, 0),
                    clients_meter(k->workers->clients, k->client, 1));
    }
}

/* ---- what workers leave behind ---- */

/* Whether it had ended, and is reaped now. A worker's own end does that. Not by waitid for any:
 * that looks at all the living before it finds one. */
static bool reap(struct workers *w, pid_t pid)
{
    if (find_process(w, pid) != NULL || waitpid(pid, NULL, WNOHANG) != pid) {
        return false;
    }
    (void)numbers_remove(&w->processes, (uint64_t)pid);
    return true;
}

/* The worker that a child belongs to which we did not start; 0: none that lives. Reads /proc. */
static uint32_t find_owner(struct workers *w, pid_t pid)
{
    const struct worker *k = find_process(w, getpgid(pid));
    if (k != NULL) {
        return k->number;
    }
    uint64_t number = descent_variable_u64(pid, LAUNCHER_WORKER);
    return number <= UINT32_MAX && find(w, (uint32_t)number) != NULL ? (uint32_t)number : 0;
}

/* False: it was not known, and looked at. */
static bool sweep_one(struct workers *w, pid_t pid)
{
    uint32_t owner = known_owner(w, pid);
    bool is_known = owner != 0;
    if (!is_known && (owner = find_owner(w, pid)) != 0) {
        set_owner(w, pid, owner);
    }
    if (owner == 0 || find(w, owner) == NULL) {
        /* Its own children become ours when it is gone, and SIGCHLD brings us here again. */
        log_limited(&w->limit, LOG_LEVEL_INFO, "process %d was left behind by a worker: killed",
                    (int)pid);
        (void)kill(pid, SIGKILL);
    }
    return is_known;
}

/* Looks at most at `max` children that it does not know: that reads /proc for each. */
static void sweep(struct workers *w, size_t max)
{
    uint64_t begun_ns = clock_now_ns();
    size_t count = descent_children(w->children, CHILDREN_SEEN_MAX), looked = 0;
    for (size_t i = 0; i < count; i++) {
        if (!reap(w, w->children[i]) && looked < max) {
            looked += !sweep_one(w, w->children[i]);
        }
    }
    uint64_t now_ns = clock_now_ns();
    w->sweep_from_ns = now_ns + MAX_OF(SWEEP_PAUSE_NS, SWEEP_SHARE * (now_ns - begun_ns));
    w->sweep_at_ns = looked < max ? NS_FOREVER : w->sweep_from_ns;
}

void workers_sweep(struct workers *w)
{
    if (clock_now_ns() >= w->sweep_from_ns) {
        sweep(w, SWEEP_MAX);
    } else {
        w->sweep_at_ns = w->sweep_from_ns;
    }
}

uint64_t workers_next_ns(const struct workers *w)
{
    uint64_t next_ns = w->sweep_at_ns;
    LIST_FOREACH(node, &w->all)
    {
        next_ns = MIN_OF(next_ns, list_entry(node, struct worker, link)->kill_at_ns);
    }
    return next_ns;
}

void workers_tick(struct workers *w, uint64_t now_ns)
{
    LIST_FOREACH(node, &w->all)
    {
        struct worker *k = list_entry(node, struct worker, link);
        if (now_ns >= k->kill_at_ns) {
            log_warn("worker %u closed its channel but did not exit: killed", k->number);
            k->kill_at_ns = NS_FOREVER;
            signal_group(k, SIGKILL);
        }
    }
    if (now_ns >= w->sweep_at_ns) {
        sweep(w, SWEEP_MAX);
    }
}

size_t workers_used(const struct workers *w)
{
    return w->table.used;
}

/* Waits until one of the workers has ended, or some stray has. */
static void wait_for_ends(struct workers *w, uint64_t limit_ns)
{
    uint64_t deadline_ns = clock_now_ns() + limit_ns;
    pid_t child;
    for (;;) {
        LIST_FOREACH_SAFE(node, &w->all)
        {
            struct worker *k = list_entry(node, struct worker, link);
            struct pollfd ended = {.fd = k->pidfd, .events = POLLIN};
            if (poll(&ended, 1, 0) == 1) {
                finish(k);
            }
        }
        sweep(w, CHILDREN_SEEN_MAX);
        bool none = list_is_empty(&w->all) && descent_children(&child, 1) == 0;
        if (none || clock_now_ns() >= deadline_ns) {
            return;
        }
        (void)poll(NULL, 0, 1);
    }
}

void workers_end(struct workers *w, uint64_t limit_ns)
{
    w->ending = true;
    LIST_FOREACH(node, &w->all)
    {
        signal_group(list_entry(node, struct worker, link), SIGKILL);
    }
    wait_for_ends(w, limit_ns);
    if (!list_is_empty(&w->all)) {
        log_error("%zu workers did not end in time", w->table.used);
    }
}

struct workers *workers_new(const struct workers_config *config)
{
    struct workers *w = xcalloc(1, sizeof *w);
    w->config = *config;
    numbers_init(&w->table);
    numbers_init(&w->processes);
    list_init(&w->all);
    w->children = xmalloc(CHILDREN_SEEN_MAX * sizeof *w->children);
    w->sweep_at_ns = NS_FOREVER;
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
        log_warn("cannot become the subreaper of what workers start: %s", strerror(errno));
    }
    return w;
}

void workers_set_clients(struct workers *w, struct clients *clients)
{
    w->clients = clients;
}

void workers_free(struct workers *w)
{
    if (w == NULL) {
        return;
    }
    LIST_FOREACH_SAFE(node, &w->all)
    {
        worker_free(list_entry(node, struct worker, link));
    }
    numbers_fini(&w->table);
    numbers_fini(&w->processes);
    free(w->children);
    free(w);
}
