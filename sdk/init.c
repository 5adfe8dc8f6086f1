/*
 * drt_init and drt_shutdown: finding or starting a cluster, greeting its raylet, and, in a worker
 * process, serving.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/inherited.h"
#include "common/place.h"
#include "common/text.h"
#include "sdk/ask.h"
#include "sdk/classes.h"
#include "sdk/given.h"
#include "sdk/local_cluster.h"
#include "sdk/log_print.h"
#include "sdk/output.h"
#include "sdk/requests.h"
#include "sdk/serve.h"

#define TIMEOUT_DEFAULT (10 * NS_PER_S)
#define GOODBYE_LIMIT   (1 * NS_PER_S)
#define GOODBYE_PAUSE   (100 * NS_PER_US)
#define EXIT_GRACE      (1 * NS_PER_S)   /* from exit until other threads get an answer */
#define CONNECT_PAUSE   (50 * NS_PER_MS) /* doubled each time */
#define CONNECT_LONGEST (500 * NS_PER_MS)
#define LOGS_QUIET                                                                                 \
    (150 * NS_PER_MS) /* nothing came for so long: that was all; raylets pause 50 ms */

extern char **environ;

static struct lock init_lock;
static int cancel_before;  /* whether who called drt_init can be cancelled */
static atomic_bool serves; /* a worker: it holds the lock, in drt_init, as long as it lives */

/* ---- what comes from the raylet ---- */

static bool take(void *arg, struct arrival *a)
{
    int cancel;
    (void)arg;
    switch (a->msg.type) {
    case LOCAL_VALUES:
        ask_take(&a->msg);
        return false;
    case LOCAL_LOG:
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
        log_print(&a->msg);
        pthread_setcancelstate(cancel, NULL);
        runtime.log_count++;
        return false;
    case LOCAL_LOGS:
        runtime.logs_taken++;
        runtime.logs_elsewhere = a->msg.logs.elsewhere;
        return false;
    case LOCAL_CANCELLED:
    case LOCAL_REPLY:
        request_take(&a->msg);
        return false;
    default:
        return serve_take(a);
    }
}

/* ---- the greeting ---- */

/* The environment that workers get: all but drt's own variables. False: no message can carry it
 * beside what else is given to them. */
static bool pack_environment(struct buffer *ret)
{
    for (char **at = environ; at != NULL && *at != NULL; at++) {
        if (!inherited_is_drts(*at)) {
            buffer_append(ret, *at, strlen(*at) + 1);
        }
    }
    return ret->size + given_block().size <= LOCAL_ENV_MAX;
}

/* As the user would type it: what it was called. */
static void program_name(char ret[LOCAL_NAME_MAX + 1])
{
    const char *name = program_invocation_name;
    if (name == NULL || !text_copy(ret, LOCAL_NAME_MAX + 1, name)) {
        text_copy(ret, LOCAL_NAME_MAX + 1, program_invocation_short_name);
    }
    text_clean(ret);
}

static int greet(enum local_role role, uint64_t worker, const char *job_name, uint64_t deadline_ns)
{
    char program[LOCAL_NAME_MAX + 1], job[LOCAL_NAME_MAX + 1], cwd[PLACE_PATH_MAX];
    struct buffer env CLEANUP(buffer_fini) = {0};
    program_name(program);
    if (!text_copy(job, sizeof job, job_name != NULL ? job_name : program_invocation_short_name)) {
        return error_set(-EINVAL, "drt_config.job_name has %zu bytes: at most %u", strlen(job_name),
                         LOCAL_NAME_MAX);
    }
    text_clean(job);
    if (getcwd(cwd, sizeof cwd) == NULL || cwd[0] != '/') {
        cwd[0] = '\0'; /* deleted, or too deep: the raylet of this machine has its descriptor */
    }
    mode_t mask = umask(0);
    umask(mask);
    if (role == ROLE_DRIVER && !pack_environment(&env)) {
        return error_set(-E2BIG,
                         "The environment, the command line and job_config have %zu bytes "
                         "together, and workers can be given at most %u. Unset what they do not "
                         "need.",
                         env.size + given_block().size, LOCAL_ENV_MAX);
    }
    struct local_open open = {
        .protocol = LOCAL_PROTOCOL_VERSION,
        .role = role,
        .worker = worker,
        .job_name = job,
        .program_name = program,
        .cwd = cwd,
        .env = bytes_of(env.data, env.size),
        .given = role == ROLE_DRIVER ? given_block() : bytes_of(NULL, 0),
        .umask = mask,
        .wants_logs = role == ROLE_DRIVER && runtime.wants_logs,
    };
    return link_open(&runtime.link, &open, deadline_ns);
}

/* ---- a worker ---- */

static int worker_fd(void)
{
    const char *text = getenv("DRT_WORKER_FD");
    uint64_t fd;
    struct stat st;
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (text == NULL) {
        return -1;
    }
    /* Whatever inherits the variable by accident has no such socket, or one of somebody else. */
    if (text_parse_u64(text, INT32_MAX, &fd) != 0 || fstat((int)fd, &st) != 0 ||
        !S_ISSOCK(st.st_mode) || getsockopt((int)fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
        (peer.uid != geteuid() && peer.uid != 0)) {
        fd = UINT64_MAX;
    }
    return fd == UINT64_MAX ? -1 : (int)fd;
}

static NORETURN void be_worker(int fd)
{
    const char *text = getenv("DRT_WORKER");
    uint64_t number = 0;
    if (text != NULL) {
        (void)!text_parse_u64(text, UINT64_MAX, &number);
    }
    unsetenv("DRT_WORKER");
    unsetenv("DRT_WORKER_FD");
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    runtime.link.socket = fd;
    output_prepare();
    int r = ring_join(fd, NULL, TIMEOUT_DEFAULT, &runtime.link.ring);
    if (r == 0) {
        r = greet(ROLE_WORKER, number, NULL, ns_add(clock_now_ns(), TIMEOUT_DEFAULT));
    } else {
        error_set(r, "%s", strerror(-r));
    }
    if (r != 0) {
        fprintf(stderr, "%s: a worker of drt cannot reach its raylet: %s\n",
                program_invocation_short_name, drt_last_error());
        _exit(LOCAL_EXIT_SHORT); /* it is the machine that lacks something, not the program */
    }
    text_copy(runtime.node_name, sizeof runtime.node_name, runtime.link.node_name);
    if (runtime.link.given.size != 0 &&
        given_take(bytes_of(runtime.link.given.data, runtime.link.given.size)) != 0) {
        fprintf(stderr, "%s: what the program gives to its workers arrived broken\n",
                program_invocation_short_name);
        _exit(1);
    }
    output_begin(&runtime.link.ring);
    atomic_store(&runtime.mode, DRT_MODE_CLUSTER);
    atomic_store(&serves, true);
    fork_mark_set();
    pthread_setcancelstate(cancel_before, NULL);
    serve();
}

/* ---- a driver ---- */

static bool wants_logs(const struct drt_config *config, bool is_local)
{
    const char *text = getenv("DRT_LOGS");
    if (config->logs != DRT_LOGS_AUTO) {
        return config->logs == DRT_LOGS_ON;
    }
    return text == NULL || text[0] == '\0' ? is_local : strcmp(text, "0") != 0;
}

/* Where a raylet is to be found; NULL: not said. */
struct target {
    const char *dir, *cluster, *node;
    bool is_local; /* the private cluster of this program */
};

/* Workers are started from this program's own file. */
static int open_program(int *ret_fd)
{
    struct failure f;
    if (inherited_check_system(&f) != 0) {
        return error_set_failure(&f);
    }
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return error_set(DRT_E_PROGRAM,
                         "this program's own file cannot be read (%s), and workers are started "
                         "from it: make it readable with chmod a+r",
                         strerror(errno));
    }
    *ret_fd = fd;
    return 0;
}

/* Something is short, here or at the raylet, which ends the connection then. */
static bool is_shortage(int r)
{
    return r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -ENOBUFS || r == -ECONNRESET ||
           r == -EPIPE;
}

/* A shortage passes: it is tried again until the deadline. */
static int connect_patiently(const char *path, const struct ring_gifts *gifts, uint64_t deadline_ns)
{
    for (uint64_t pause_ns = CONNECT_PAUSE;; pause_ns = MIN_OF(2 * pause_ns, CONNECT_LONGEST)) {
        uint64_t now_ns = clock_now_ns();
        int r = ring_connect(path, gifts, deadline_ns > now_ns ? deadline_ns - now_ns : 1,
                             &runtime.link.ring, &runtime.link.socket);
        if (!is_shortage(r) || clock_now_ns() + pause_ns >= deadline_ns) {
            return r;
        }
        const struct timespec pause = {.tv_nsec = (long)pause_ns};
        (void)nanosleep(&pause, NULL);
    }
}

static int connect_node(const struct target *target, const struct drt_config *config,
                        uint64_t deadline_ns)
{
    struct place place;
    struct failure f = {0};
    char node[64], path[PLACE_PATH_MAX];
    int r = place_find(target->dir, target->cluster, &place, &f);
    if (r == 0) {
        r = place_find_node(&place, target->node, node, &f);
    }
    if (r > 0) {
        return error_set_failure(&f);
    }
    if (r == 0) {
        r = place_node_path(&place, node, "sock", path);
    }
    if (r < 0) {
        return error_set(r, "cannot look for a cluster: %s", strerror(-r));
    }
    int program CLEANUP_FD = -1;
    r = open_program(&program);
    if (r != 0) {
        return r;
    }
    int directory CLEANUP_FD = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    const struct ring_gifts gifts = {.program = program, .directory = directory};
    r = connect_patiently(path, &gifts, deadline_ns);
    if (r == -ENOENT || r == -ECONNREFUSED) {
        return error_set(DRT_E_NOT_FOUND, "no raylet answers at %s: run drt-node join", path);
    }
    if (r == -ETIMEDOUT) {
        return error_set(DRT_E_TIMEOUT, "the raylet at %s did not answer in time", path);
    }
    if (is_shortage(r)) {
        return error_set(r,
                         "cannot connect to the raylet at %s: %s. This process, the node or the "
                         "machine is short of open files or memory (ulimit -n)",
                         path, strerror(-r));
    }
    if (r != 0) {
        return error_set(r, "cannot connect to the raylet at %s: %s", path, strerror(-r));
    }
    runtime.wants_logs = wants_logs(config, target->is_local);
    log_print_begin(target->is_local);
    r = greet(ROLE_DRIVER, 0, config->job_name, deadline_ns);
    text_copy(runtime.node_name, sizeof runtime.node_name, runtime.link.node_name);
    if (r == DRT_E_TIMEOUT) {
        error_set(r,
                  "node %s has not accepted this program in time: its head does not answer, or "
                  "the machine is very busy. 'drt status' tells; drt_config.timeout waits longer",
                  node);
    }
    if (r != 0) {
        runtime_lock();
        link_close(&runtime.link);
        runtime_unlock();
    }
    return r;
}

static int read_mode(const struct drt_config *config, int *ret)
{
    const char *text = getenv("DRT_MODE");
    *ret = config->mode;
    if (config->mode < DRT_MODE_AUTO || config->mode > DRT_MODE_SYNC) {
        return error_set(-EINVAL, "drt_config.mode is %d: use one of enum drt_mode",
                         (int)config->mode);
    }
    if (config->logs < DRT_LOGS_AUTO || config->logs > DRT_LOGS_OFF) {
        return error_set(-EINVAL, "drt_config.logs is %d: use one of enum drt_logs",
                         (int)config->logs);
    }
    if (config->mode != DRT_MODE_AUTO || text == NULL || text[0] == '\0') {
        return 0;
    }
    static const char *const modes[] = {"auto", "cluster", "local", "sync"};
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        if (strcmp(text, modes[i]) == 0) {
            *ret = (int)i;
            return 0;
        }
    }
    return error_set(-EINVAL, "DRT_MODE is \"%.40s\": it can be cluster, local, sync or auto",
                     text);
}

static int start_local(const struct drt_config *config, uint64_t deadline_ns)
{
    struct target target = {.is_local = true};
    int program CLEANUP_FD = -1;
    int r = open_program(&program); /* before daemons are started in vain */
    r = r != 0 ? r : local_cluster_start(config->num_cpus, deadline_ns, &target.dir, &target.node);
    if (r == 0) {
        r = connect_node(&target, config, deadline_ns);
        if (r != 0) {
            local_cluster_stop();
        }
    }
    return r;
}

/* The head's address, where the cluster is named by it; else NULL. No name has a colon. */
static const char *address_of(const struct drt_config *config)
{
    const char *cluster = config->cluster != NULL ? config->cluster : getenv("DRT_CLUSTER");
    return cluster != NULL && strchr(cluster, ':') != NULL && strchr(cluster, '/') == NULL ? cluster
                                                                                           : NULL;
}

static int start_private(const struct drt_config *config, const char *address, uint64_t deadline_ns)
{
    struct target target = {0};
    int r = private_node_start(address, config->key_file, deadline_ns, &target.dir, &target.node);
    if (r == 0) {
        r = connect_node(&target, config, deadline_ns);
        if (r != 0) {
            local_cluster_stop();
        }
    }
    return r;
}

/* By the environment: then no other cluster will do. */
static bool is_named(void)
{
    static const char *const names[] = {"DRT_CLUSTER", "DRT_DIR", "DRT_NODE"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const char *text = getenv(names[i]);
        if (text != NULL && text[0] != '\0') {
            return true;
        }
    }
    return false;
}

static int start(const struct drt_config *config, int *mode)
{
    uint64_t span =
        config->timeout.ns_plus_1_ == 0 ? TIMEOUT_DEFAULT : config->timeout.ns_plus_1_ - 1;
    uint64_t deadline_ns = ns_add(clock_now_ns(), span);
    const char *cluster = config->cluster, *address = address_of(config);
    const char *dir = cluster != NULL && strchr(cluster, '/') != NULL ? cluster : NULL;
    struct target target = {.dir = dir, .cluster = dir == NULL ? cluster : NULL};
    if (*mode == DRT_MODE_SYNC) {
        runtime.objects.owns = true;
        runtime.num_cpus = (double)sysconf(_SC_NPROCESSORS_ONLN);
        if (gethostname(runtime.node_name, sizeof runtime.node_name - 1) != 0) {
            text_copy(runtime.node_name, sizeof runtime.node_name, "localhost");
        }
        return 0;
    }
    if (*mode == DRT_MODE_LOCAL) {
        return start_local(config, deadline_ns);
    }
    if (address != NULL) {
        *mode = DRT_MODE_CLUSTER;
        return start_private(config, address, deadline_ns);
    }
    int r = connect_node(&target, config, deadline_ns);
    if (r == DRT_E_NOT_FOUND && *mode == DRT_MODE_AUTO && cluster == NULL && !is_named()) {
        *mode = DRT_MODE_LOCAL;
        return start_local(config, deadline_ns);
    }
    *mode = DRT_MODE_CLUSTER;
    return r;
}

/* In a child, where no other thread is. What it inherited is closed, so that nobody takes it for
 * its parent; a child of a process that did not run drt (or had just begun to start it) may start
 * it by itself. Only async-signal-safe calls. */
static void in_child(void)
{
    fork_mark_clear();
    link_forget(&runtime.link);
    local_cluster_forget();
    lock_forget(&init_lock);
    lock_forget(&runtime.lock);
}

/* When libdrt is loaded: before any drt_init, in whatever thread. */
static __attribute__((constructor)) void watch_forks(void)
{
    pthread_atfork(NULL, NULL, in_child);
}

static void prepare(void)
{
    fork_prepare();
    runtime.epoch++;
    runtime.last_number = 0;
    runtime.asked_number = 0;
    objects_init(&runtime.objects);
    runtime.objects.owns = false;
    link_init(&runtime.link, &runtime.lock, take, NULL);
}

/* Once, and only to a person: a program that looked for a cluster and found none. */
static void tell_alone(void)
{
    if (isatty(STDERR_FILENO) == 1) {
        double cpus = drt_total("CPU");
        fprintf(stderr, "drt: no cluster here; running on this machine alone (%g CPU%s)\n", cpus,
                cpus == 1 ? "" : "s");
    }
}

static void end_at_exit(int status, void *arg);

/* After a private cluster was started, so that it ends later. Where there is no room for a handler
 * the program has to call drt_shutdown, as after any end that the C library does not see. */
static void watch_exit(void)
{
    static bool registered;
    if (!registered) {
        registered = on_exit(end_at_exit, NULL) == 0;
    }
}

static int init(const struct drt_config *config)
{
    int mode, worker = worker_fd();
    int r = registry_check();
    if (worker >= 0) {
        if (r != 0) {
            fprintf(stderr, "%s: %s\n", program_invocation_short_name, drt_last_error());
            _exit(1);
        }
        prepare();
        be_worker(worker);
    }
    if (r == 0) {
        r = read_mode(config, &mode);
    }
    if (r != 0) {
        return r;
    }
    r = given_make(config);
    if (r != 0) {
        return r;
    }
    prepare();
    int asked = mode;
    r = start(config, &mode);
    if (r != 0) {
        objects_fini(&runtime.objects);
        return r;
    }
    watch_exit();
    atomic_store(&runtime.mode, mode);
    fork_mark_set();
    if (asked == DRT_MODE_AUTO && mode == DRT_MODE_LOCAL) {
        tell_alone();
    }
    return 0;
}

static int left_by_longjmp(void)
{
    return error_set(-EDEADLK,
                     "a signal handler left drt_init, drt_shutdown or another call of drt "
                     "by longjmp: this process cannot use drt any more");
}

int drt_init_(const struct drt_config *config, size_t config_size, int header_version)
{
    struct drt_config mine;
    if (runtime_is_child()) {
        return runtime_enter();
    }
    if (header_version / 1000 != DRT_VERSION_MAJOR) {
        return error_set(-EINVAL,
                         "this program was compiled for version %d of drt.h, and libdrt has "
                         "version %d: compile it again",
                         header_version / 1000, DRT_VERSION_MAJOR);
    }
    int r = options_copy(&mine, sizeof mine, config, config_size, "drt_config");
    if (r != 0) {
        return r;
    }
    if (!atomic_load(&serves)) {
        int before;
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
        if (lock_is_mine(&init_lock)) {
            pthread_setcancelstate(before, NULL);
            return left_by_longjmp();
        }
        lock_enter(&init_lock);
        bool is_first = atomic_load(&runtime.mode) == DRT_MODE_AUTO;
        if (is_first) {
            cancel_before = before;
            r = init(&mine);
        }
        lock_leave(&init_lock);
        pthread_setcancelstate(before, NULL);
        if (is_first) {
            return r;
        }
    }
    return error_set(-EALREADY, "drt_init was called already: call it once, first in main()");
}

/* ---- the end ---- */

static bool all_is_read(void *arg)
{
    struct link *l = arg;
    return ring_flush(&l->ring) <= 0;
}

static bool some_log_came(void *arg)
{
    const uint64_t *before = arg;
    return runtime.log_count != *before;
}

static bool all_taken(void *arg)
{
    const uint64_t *before = arg;
    return runtime.logs_taken != *before;
}

/* What its tasks printed here comes before the answer. What they printed elsewhere is on its way
 * when their results are here: it is taken while it comes. */
static void take_logs(uint64_t deadline_ns)
{
    struct local_msg m = {.type = LOCAL_LOGS};
    uint64_t taken = runtime.logs_taken;
    if (!runtime.wants_logs || runtime.link.broken || link_send(&runtime.link, &m) != 0 ||
        link_wait(&runtime.link, all_taken, &taken, deadline_ns, NULL) != 0) {
        return;
    }
    while (runtime.logs_elsewhere) {
        uint64_t before = runtime.log_count, limit_ns = ns_add(clock_now_ns(), LOGS_QUIET);
        if (link_wait(&runtime.link, some_log_came, &before, MIN_OF(limit_ns, deadline_ns), NULL) !=
            0) {
            return;
        }
    }
}

/* Lets those go who wait in other threads, says goodbye, and closes. */
static void close_link(void)
{
    struct link *l = &runtime.link;
    struct local_msg m = {.type = LOCAL_GOODBYE};
    const struct timespec pause = {.tv_nsec = GOODBYE_PAUSE};
    uint64_t deadline_ns = ns_add(clock_now_ns(), GOODBYE_LIMIT);
    /* No message comes when they have gone, so this is looked at, not waited for in the link. One
     * that began to wait a moment ago has not seen an earlier interrupt. */
    while ((l->leading || l->followers > 0) && clock_now_ns() < deadline_ns) {
        link_interrupt(l);
        runtime_unlock();
        (void)nanosleep(&pause, NULL);
        runtime_lock();
    }
    take_logs(deadline_ns);
    log_print_end();
    if (!l->broken && link_send(l, &m) == 0) {
        (void)!link_wait(l, all_is_read, l, deadline_ns, NULL);
    }
    link_take(l);
    link_close(l);
}

/* Other threads hold it for moments only; but one of them may be stopped, and this one may have
 * been interrupted by the signal handler that exits. */
static bool lock_runtime_by(uint64_t deadline_ns)
{
    const struct timespec pause = {.tv_nsec = NS_PER_MS};
    if (lock_is_mine(&runtime.lock)) {
        return false;
    }
    while (!lock_try(&runtime.lock)) {
        if (clock_now_ns() >= deadline_ns) {
            return false;
        }
        (void)nanosleep(&pause, NULL);
    }
    return true;
}

/* GOODBYE, where another thread may lead. The raylet reads what is in the ring also when this
 * process is no more; it is waited for only as long as the ring has no room. */
static void say_goodbye_by(uint64_t deadline_ns)
{
    const struct local_msg m = {.type = LOCAL_GOODBYE};
    uint8_t data[64];
    size_t size = local_size(&m);
    ASSERT(size <= sizeof data);
    local_encode(&m, data);
    int r = ring_send(&runtime.link.ring, bytes_of(data, size));
    while (r == 0 && ring_flush(&runtime.link.ring) > 0 && clock_now_ns() < deadline_ns) {
        (void)sched_yield();
    }
}

/* The program ends by exit, or by its return from main, without drt_shutdown. What its tasks
 * printed is seen all the same, unless another thread is in a call just now. Status 0 is a goodbye;
 * with another one the job has failed, also where a child that the program forked keeps the
 * socket. Memory is left alone: other threads may be using it. */
static void end_at_exit(int status, void *arg)
{
    int before;
    struct link *l = &runtime.link;
    if (runtime_is_child() || atomic_load(&serves) || !runtime_is_linked()) {
        return;
    }
    uint64_t deadline_ns = ns_add(clock_now_ns(), GOODBYE_LIMIT);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    if (lock_runtime_by(deadline_ns)) {
        if (l->open && !l->leading) {
            take_logs(deadline_ns);
            log_print_end();
        }
        if (l->open && !l->broken && link_is_whole(l)) {
            if (status == 0) {
                say_goodbye_by(deadline_ns);
            }
            link_exit(l, ns_add(clock_now_ns(), EXIT_GRACE));
        }
        runtime_unlock();
    }
    pthread_setcancelstate(before, NULL);
}

void drt_shutdown(void)
{
    if (runtime_is_child() || atomic_load(&serves) || runtime_body() != NULL) {
        return;
    }
    if (lock_is_mine(&runtime.lock) || lock_is_mine(&init_lock)) {
        (void)!left_by_longjmp();
        return;
    }
    int before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    lock_enter(&init_lock);
    fork_mark_clear();
    int mode = atomic_exchange(&runtime.mode, DRT_MODE_AUTO);
    if (mode != DRT_MODE_AUTO) {
        runtime_lock();
        link_recover(&runtime.link);
        if (mode != DRT_MODE_SYNC) {
            close_link();
            classes_forget();
        }
        objects_fini(&runtime.objects);
        runtime_unlock();
        local_cluster_stop(); /* if there is anything of our own */
    }
    lock_leave(&init_lock);
    pthread_setcancelstate(before, NULL);
}
