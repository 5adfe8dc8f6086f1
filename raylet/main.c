/*
 * drt-node: joins this machine to a cluster and leaves again. What it does is in shell.c; this is
 * the command line.
 */
#include <ctype.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/daemon.h"
#include "common/inherited.h"
#include "common/log.h"
#include "common/text.h"
#include "raylet/guard.h"
#include "raylet/host_name.h"
#include "raylet/invite.h"
#include "raylet/launcher.h"
#include "raylet/leave.h"
#include "raylet/machine.h"
#include "raylet/memory.h"
#include "raylet/offer.h"
#include "raylet/options.h"
#include "raylet/peer_link.h"
#include "raylet/shell.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_NO_CLUSTER = 3, EXIT_REFUSED = 4 };

#define LEAVE_NS (30 * NS_PER_S)
#define PARENT_PIPE                                                                                \
    "--parent-pipe" /* for programs that start a node of their own; not in --help                  \
                     */

static int exit_status_of(int code)
{
    switch (code) {
    case CODE_OK:
        return EXIT_DONE;
    case CODE_SIGNATURE:
        return EXIT_USAGE;
    case CODE_NOT_FOUND:
    case CODE_DISCONNECTED:
    case CODE_UNREACHABLE:
        return EXIT_NO_CLUSTER;
    case CODE_REFUSED:
        return EXIT_REFUSED;
    default:
        return EXIT_FAILED;
    }
}

/* "drt-node: cannot reach ...": a sentence after a colon begins small. */
static void format_error(const struct failure *f, char ret[700])
{
    snprintf(ret, 700, "drt-node: %s\n", f->message);
    char *first = ret + strlen("drt-node: ");
    if (isupper((unsigned char)first[0]) && (islower((unsigned char)first[1]) || first[1] == ' ')) {
        first[0] = (char)tolower((unsigned char)first[0]);
    }
}

static int complain(const struct failure *f)
{
    char text[700];
    format_error(f, text);
    fputs(text, stderr);
    return exit_status_of(f->code);
}

/* ---- join ---- */

/* What the daemon tells who started it: to be printed, on standard error unless it is 0. */
struct report {
    int32_t exit_status;
    char text[700];
    char warning[900]; /* on standard error; "" */
};

struct join {
    struct invite invite;
    struct offer offer;
    struct node_dir dir;
    char name[64];
    const char *bind, *advertise;
    uint16_t port;
    bool exact_port, foreground, is_private;
    uint32_t job_workers_max, depth_max; /* 0: not said */
    int parent_pipe;                     /* -1: none */
    struct daemon daemon;                /* its pipe is -1 in the foreground */
};

/* What the user hears once the head took us in. */
static void tell_joined(void *arg, uint32_t number, const char *cluster, const char *warning)
{
    struct join *j = arg;
    struct report report = {.exit_status = EXIT_DONE};
    char what[128];
    int r = j->is_private ? 0 : place_keep_name(&j->invite.place, cluster);
    if (r != 0) {
        log_warn("the cluster's name cannot be kept in %s: %s", j->invite.place.dir, strerror(-r));
    }
    if (j->is_private) {
        snprintf(what, sizeof what, "for one program, no CPUs");
    } else {
        offer_describe(&j->offer, what);
    }
    snprintf(report.text, sizeof report.text, "Node \"%s\" joined \"%s\" as number %u: %s.\n",
             j->name, cluster, number, what);
    if (*warning != '\0') {
        snprintf(
            report.warning, sizeof report.warning,
            "drt-node: warning: node \"%s\" %.500s. Until they reach it, other nodes give it no "
            "work and cannot read its results. Open the port, or tell them another address with "
            "--advertise.\n",
            j->name, warning);
    }
    if (j->foreground) {
        fputs(report.warning, stderr);
        fputs(report.text, stdout);
        fflush(stdout);
    } else {
        daemon_say(&j->daemon, &report, sizeof report);
    }
}

/* `unique`: with the number of this process, for a name that nobody chooses. */
static void name_after_host(bool unique, char ret[64])
{
    char host[256] = "", name[64];
    (void)gethostname(host, sizeof host - 1);
    bool same = host_name_make(host, name);
    if (unique) {
        snprintf(ret, 64, "%.50s-%d", name, (int)getpid());
        return;
    }
    memcpy(ret, name, sizeof name);
    if (!same) {
        text_clean(host);
        fprintf(stderr,
                "drt-node: the name of this machine (\"%s\") cannot be a node's name: the node is "
                "called \"%s\". Choose another name with --name.\n",
                host, ret);
    }
}

/* A bound that is given. Nothing could run with none at all. */
static int read_bound(const struct args *a, const char *name, uint32_t *ret, struct failure *f)
{
    const struct args_value *value = args_get(a, name);
    if (value->given && value->number == 0) {
        return failure_set(f, CODE_SIGNATURE, "--%s must be at least 1.", name);
    }
    *ret = (uint32_t)value->number;
    return 0;
}

static int read_options(const struct args *a, struct join *j, struct failure *f)
{
    const struct args_value *cpus = args_get(a, "num-cpus"), *memory = args_get(a, "memory");
    const struct args_value *port = args_get(a, "port");
    struct offer_wish wish = {.has_cpus = cpus->given,
                              .cpus = cpus->real,
                              .has_memory = memory->given,
                              .memory_bytes = memory->number,
                              .resources = args_get(a, "resources")->text,
                              .labels = args_get(a, "labels")->text};
    struct invite_wish invite = {.address = a->thing_count != 0 ? a->things[0] : NULL,
                                 .join_file = args_get(a, "join-file")->text,
                                 .dir = args_get(a, "dir")->text,
                                 .cluster = args_get(a, "cluster")->text};
    const char *name = args_get(a, "name")->text;
    j->is_private = args_get(a, "private")->given;
    if (j->is_private) { /* what it offers to tasks; its own memory is not that */
        wish.has_cpus = wish.has_memory = invite.is_private = true;
    }
    j->bind = args_get(a, "bind")->text;
    j->advertise = args_get(a, "advertise")->text;
    j->port = port->given ? (uint16_t)port->number : j->is_private ? 0 : PEER_LINK_PORT;
    j->exact_port = port->given && port->number != 0;
    j->foreground = j->is_private || args_get(a, "foreground")->given;
    if (name != NULL && !place_name_ok(name)) {
        return failure_set(f, CODE_SIGNATURE,
                           "\"%.80s\" is not a valid node name. Use 1 to 63 letters, digits, '.', "
                           "'_' or '-', beginning with a letter, a digit or '_'.",
                           name);
    }
    if (j->advertise != NULL && hostport_check_advertise(j->advertise, f) != 0) {
        return f->code;
    }
    if (name != NULL) {
        (void)text_copy(j->name, sizeof j->name, name);
    } else {
        name_after_host(j->is_private, j->name);
    }
    int r = read_bound(a, "max-job-workers", &j->job_workers_max, f);
    if (r == 0) {
        r = read_bound(a, "max-depth", &j->depth_max, f);
    }
    if (r == 0) {
        r = invite_find(&invite, &j->invite, f);
    }
    return r == 0 ? offer_make(&wish, &j->offer, f) : r;
}

static int run_node(struct join *j, bool port_given, struct failure *f)
{
    char log_path[PLACE_PATH_MAX];
    const char *addresses[KEYS_ADDRESSES_MAX];
    int r = node_dir_open(&j->invite.place, j->name, &j->dir, f);
    if (r != 0) {
        return r;
    }
    if (!j->foreground) {
        r = node_dir_path(&j->dir, "node.log", log_path);
        r = r == 0 ? daemon_redirect(log_path) : r;
        if (r != 0) {
            node_dir_close(&j->dir);
            return failure_set(f, CODE_FAILED, "Cannot write the log in %s: %s.", j->dir.path,
                               strerror(-r));
        }
        log_init("drt-node", LOG_LEVEL_INFO); /* standard error is another file now */
    }
    for (size_t i = 0; i < j->invite.address_count; i++) {
        addresses[i] = j->invite.addresses[i];
    }
    bool again = !port_given && j->dir.former_port != 0;
    struct shell_config config = {
        .dir = &j->dir,
        .keys = &j->invite.keys,
        .key_name = j->invite.key_name,
        .addresses = addresses,
        .address_count = j->invite.address_count,
        .place = j->invite.place_text,
        .place_first = j->invite.at_home || !j->invite.typed,
        .place_later = j->invite.typed,
        .bind = j->bind,
        .advertise = j->advertise,
        .port = again ? j->dir.former_port : j->port,
        .exact_port = j->exact_port,
        .amounts = j->offer.amounts,
        .amount_count = j->offer.count,
        .labels = j->offer.labels,
        .memory_bytes = j->is_private ? machine_memory() : j->offer.memory_bytes,
        .closed = j->is_private,
        .job_workers_max = j->job_workers_max,
        .depth_max = j->depth_max,
        .parent_pipe = j->parent_pipe,
        .log_to_file = !j->foreground,
        .on_joined = tell_joined,
        .arg = j,
    };
    r = shell_run(&config, f);
    node_dir_close(&j->dir);
    return r;
}

/* In the process that was started: prints what the daemon says. */
static int wait_for_start(struct join *j)
{
    struct report report;
    int status = 0;
    close_fd(&j->parent_pipe); /* else its end-of-file would wait for us */
    if (daemon_await(&j->daemon, &report, sizeof report, &status) != 0) {
        fprintf(stderr, "drt-node: the node ended while it started (%s %d).\n",
                WIFSIGNALED(status) ? "signal" : "exit code",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        return EXIT_FAILED;
    }
    report.text[sizeof report.text - 1] = '\0';
    report.warning[sizeof report.warning - 1] = '\0';
    fputs(report.text, report.exit_status == EXIT_DONE ? stdout : stderr);
    fputs(report.warning, stderr);
    return report.exit_status;
}

/* Not a session of its own: the kernel schedules sessions as wholes (autogroup), and sched_yield
 * hands the CPU over within one only. Drivers of this terminal are in it too: beside a busy loop
 * their tasks take 10 us then, and 17 in another session. What hangs up a terminal goes to its
 * foreground group, and standard input is empty. */
static int go_into_background(struct join *j)
{
    struct failure f;
    int r = daemon_begin(&j->daemon, &j->parent_pipe, 1, false);
    if (r < 0) {
        failure_set(&f, CODE_FAILED, "Cannot go into the background: %s.", strerror(-r));
        (void)complain(&f);
    }
    return r;
}

static int join_cluster(const struct args *a, int parent_pipe)
{
    struct join j = {.parent_pipe = parent_pipe, .daemon = {.pipe = -1}, .dir = {.lock = -1}};
    struct failure f = {0};
    struct report report = {0};
    char warning[256];
    int r = inherited_check("the node", &f);
    r = r != 0 ? r : read_options(a, &j, &f);
    if (r == 0 && inherited_warning("the node", warning)) {
        fprintf(stderr, "drt-node: warning: %s.\n", warning);
    }
    if (r != 0) {
        offer_fini(&j.offer);
        return complain(&f);
    }
    malloc_trim(0); /* finding the machine took memory that a raylet never needs again */
    if (!j.foreground) {
        r = go_into_background(&j);
        if (r != 0) {
            offer_fini(&j.offer);
            return r < 0 ? EXIT_FAILED : wait_for_start(&j);
        }
    }
    /* A private node has no workers. */
    r = j.is_private ? 0 : guard_begin();
    r = r != 0 ? failure_set(&f, CODE_FAILED, "The node cannot begin: %s.", strerror(-r))
               : run_node(&j, args_get(a, "port")->given, &f);
    if (r != 0) {
        report.exit_status = exit_status_of(r);
        format_error(&f, report.text);
        daemon_say(&j.daemon, &report, sizeof report);
        if (j.foreground) {
            fputs(report.text, stderr);
        }
    }
    close_fd(&j.daemon.pipe);
    offer_fini(&j.offer);
    return exit_status_of(r);
}

/* ---- leave ---- */

/* What still runs, on a terminal only. */
static void show_leaving(void *arg, const struct leave_progress *p)
{
    bool *shown = arg;
    if (!isatty(STDERR_FILENO) || p->running + p->waiting == 0) {
        return;
    }
    fprintf(stderr,
            "\r\033[KNode \"%s\" leaves: %" PRIu64 " running, %" PRIu64 " waiting, %" PRIu64
            " s left",
            p->node, p->running, p->waiting, (p->left_ns + NS_PER_S - 1) / NS_PER_S);
    *shown = true;
}

static int leave(const struct args *a)
{
    struct place place;
    struct failure f = {0};
    struct leave_progress end;
    bool shown = false;
    const struct args_value *within = args_get(a, "within");
    const struct leave_wish wish = {.name = args_get(a, "name")->text,
                                    .within_ns = within->given ? within->number : LEAVE_NS,
                                    .on_progress = show_leaving,
                                    .arg = &shown};
    int r = place_find(args_get(a, "dir")->text, args_get(a, "cluster")->text, &place, &f);
    if (r == 0) {
        r = leave_cluster(&place, &wish, &end, &f);
    }
    if (shown) {
        fputs("\r\033[K", stderr);
    }
    if (r != 0) {
        int status = complain(&f);
        return f.code == CODE_EXISTS ? EXIT_USAGE : status; /* which one is not said */
    }
    printf("Node \"%s\" left \"%s\".\n", end.node, place.cluster);
    if (end.left_ns == 0 && end.running + end.waiting != 0) {
        fprintf(stderr,
                "drt-node: %" PRIu64 " task%s still ran and %" PRIu64
                " waited there. Programs on other nodes start theirs again elsewhere; programs of "
                "this node have lost theirs.\n",
                end.running, end.running == 1 ? "" : "s", end.waiting);
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

/* Takes "--parent-pipe FD" out of the command line. False: it is broken. */
static bool take_parent_pipe(int *argc, char **argv, int *ret_fd)
{
    for (int i = 1; i < *argc; i++) {
        uint64_t fd;
        if (strcmp(argv[i], PARENT_PIPE) != 0) {
            continue;
        }
        if (i + 1 >= *argc || text_parse_u64(argv[i + 1], 1 << 20, &fd) != 0 || fd < 3) {
            return false;
        }
        *ret_fd = (int)fd;
        memmove(&argv[i], &argv[i + 2], (size_t)(*argc - i - 1) * sizeof *argv);
        *argc -= 2;
        return true;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct buffer out = {0};
    struct args a;
    int parent_pipe = -1;
    if (argc >= 2 && strcmp(argv[1], LAUNCHER_FLAG) == 0) {
        launcher_main(argc, argv);
    }
    inherited_for_daemon();
    if (!take_parent_pipe(&argc, argv, &parent_pipe)) {
        fputs("drt-node: " PARENT_PIPE " needs the number of a descriptor.\n", stderr);
        return EXIT_USAGE;
    }
    inherited_close_others(parent_pipe);
    log_init("drt-node", LOG_LEVEL_INFO);
    memory_setup();
    int r = args_parse(&node_program, argc, argv, &a, &out);
    if (r != ARGS_RUN) {
        fputs(buffer_text(&out), r == ARGS_SHOW ? stdout : stderr);
        buffer_fini(&out);
        return r == ARGS_SHOW ? EXIT_DONE : EXIT_USAGE;
    }
    if (parent_pipe >= 0) {
        daemon_detach(parent_pipe);
    }
    r = a.verb->tag == VERB_JOIN ? join_cluster(&a, parent_pipe) : leave(&a);
    daemon_say_end(parent_pipe, r);
    buffer_fini(&out);
    return r;
}
