#include "head/start.h"

#include <dirent.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/daemon.h"
#include "common/files.h"
#include "common/inherited.h"
#include "common/log.h"
#include "common/place.h"
#include "common/shortage.h"
#include "common/text.h"
#include "head/address.h"
#include "head/repair.h"
#include "head/running.h"
#include "head/shell.h"

#define LOCK_PATIENCE_NS (500 * NS_PER_MS)
#define FILES_MOST       65536
#define FILES_LEAST      64u
#define WORDS_SIZE       512

/* What the daemon tells: `failure.code` 0 and its address, or why it could not begin. */
struct report {
    int32_t pid;
    struct failure failure;
    char address[WORDS_SIZE];
};

struct start {
    const struct start_options *options;
    struct place place;
    struct keys_head keys;
    int lock;
    struct daemon daemon; /* its pipe is -1 in the foreground */
    bool ready;
};

static int fail(const struct failure *f)
{
    fprintf(stderr, "drt-head: %s\n", f->message);
    switch (f->code) {
    case CODE_SIGNATURE: /* a name that is none */
        return 2;
    case CODE_NOT_FOUND:
        return 3;
    case CODE_REFUSED:
        return 4;
    default:
        return 1;
    }
}

/* ---- what people see ---- */

/* "~/.drt/default" for what lies at home. */
static void append_short(struct buffer *out, const char *path)
{
    const char *home = getenv("HOME");
    size_t size = home != NULL ? strlen(home) : 0;
    bool is_at_home =
        size > 1 && strncmp(path, home, size) == 0 && (path[size] == '/' || path[size] == '\0');
    buffer_append_text(out, is_at_home ? "~" : "");
    buffer_append_text(out, path + (is_at_home ? size : 0));
}

static void print_screen(const struct start *s, int32_t pid, const char *address)
{
    struct place found;
    struct failure ignored;
    CLEANUP(buffer_fini) struct buffer dir = {0}, option = {0};
    append_short(&dir, s->place.dir);
    /* Where the plain commands would find another cluster, or none, they are shown with the
     * directory. */
    bool is_plain =
        place_find(NULL, NULL, &found, &ignored) == 0 && strcmp(found.dir, s->place.dir) == 0;
    if (!is_plain) {
        buffer_printf(&option, " --dir %s", buffer_text(&dir));
    }
    printf("Cluster \"%s\" is up.\n\n", s->keys.cluster);
    printf("  Head         %s   (pid %d, this machine)\n", address, pid);
    printf("  Directory    %s\n\n", buffer_text(&dir));
    /* An address that was told for others may lead nowhere from inside; the directory knows. */
    bool is_told = s->options->advertise != NULL;
    printf("  Add this machine            drt-node join%s%s%s\n", is_told ? "" : " ",
           is_told ? "" : address, buffer_text(&option));
    if (address_is_local(address)) {
        printf(
            "  Add another machine         not at this address, which others cannot reach. Start\n"
            "                              the head with --advertise, or with another --bind\n");
    } else {
        printf("  Add another machine         copy %s/join.key there, then\n", buffer_text(&dir));
        printf("                              drt-node join %s --join-file join.key\n", address);
    }
    printf("  Look                        drt status%s\n", buffer_text(&option));
    printf("  Stop all on this machine    drt stop%s\n", buffer_text(&option));
    fflush(stdout);
}

/* ---- the directory ---- */

/* Something else lives there: closing the directory to others would take it away from them. */
static bool is_of_another_kind(const struct place *place)
{
    char path[PLACE_PATH_MAX];
    if (place_path(place, "head.lock", path) == 0 && access(path, F_OK) == 0) {
        return false;
    }
    DIR *dir = opendir(place->dir);
    bool found = false;
    for (struct dirent *e; dir != NULL && !found && (e = readdir(dir)) != NULL;) {
        found = strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return found;
}

static int make_dir(const struct place *place, struct failure *f)
{
    struct stat st;
    int r = files_make_dirs(place->dir, 0700);
    if (r == 0 && stat(place->dir, &st) < 0) {
        r = -errno;
    }
    if (r == 0 && st.st_uid != geteuid()) {
        return failure_set(f, CODE_REFUSED,
                           "%s belongs to another user. Choose another directory with --dir",
                           place->dir);
    }
    if (r == 0 && (st.st_mode & 077) != 0 && is_of_another_kind(place)) {
        return failure_set(f, CODE_REFUSED,
                           "%s can be read by other users and holds other files. Choose a new "
                           "directory with --dir",
                           place->dir);
    }
    if (r == 0 && (st.st_mode & 077) != 0 && chmod(place->dir, 0700) < 0) {
        r = -errno;
    }
    return r == 0
               ? 0
               : failure_set(
                     f, CODE_FAILED,
                     "cannot make the directory %s: %s. Choose another one with --dir or DRT_DIR",
                     place->dir, strerror(-r));
}

/* One that was just killed holds its lock until the kernel has cleared it away. */
static int lock_with_patience(const char *path)
{
    uint64_t end = clock_now_ns() + LOCK_PATIENCE_NS;
    int fd = files_lock(path);
    while (fd == -EWOULDBLOCK && clock_now_ns() < end) {
        (void)poll(NULL, 0, 5);
        fd = files_lock(path);
    }
    return fd;
}

static int take_lock(struct start *s, struct failure *f)
{
    struct running running;
    char path[PLACE_PATH_MAX];
    int r = place_path(&s->place, "head.lock", path);
    s->lock = r != 0 ? r : lock_with_patience(path);
    if (s->lock >= 0) {
        return 0;
    }
    if (s->lock != -EWOULDBLOCK) {
        return failure_set(f, CODE_FAILED, "cannot lock %s: %s", path, strerror(-s->lock));
    }
    running_read(&s->place, &running);
    return failure_set(
        f, CODE_EXISTS,
        "a head of cluster \"%s\" is already running (pid %d, port %u). See 'drt status', stop it "
        "with 'drt-head stop', or choose another cluster with --cluster",
        s->place.cluster, running.pid, address_remembered_port(&s->place));
}

/* The cluster's name where the directory's own name is another one. */
static int write_name(const struct start *s, struct failure *f)
{
    int r = place_keep_name(&s->place, s->keys.cluster);
    return r == 0 ? 0
                  : failure_set(f, CODE_FAILED, "cannot write the file \"name\" in %s: %s",
                                s->place.dir, strerror(-r));
}

static int take_keys(struct start *s, struct failure *f)
{
    int r = keys_load_head(&s->place, &s->keys, f);
    if (r == CODE_NOT_FOUND) {
        r = keys_create(&s->place, s->place.cluster, &s->keys, f);
        return r != 0 ? r : write_name(s, f);
    }
    const char *wanted = s->options->cluster;
    if (r == 0 && wanted != NULL && strcmp(wanted, s->keys.cluster) != 0) {
        return failure_set(
            f, CODE_EXISTS,
            "%s holds cluster \"%s\", not \"%s\". Choose another directory, or omit --cluster",
            s->place.dir, s->keys.cluster, wanted);
    }
    return r;
}

/* Each node is a connection; libzmq ends the process where it gets no descriptor. */
static int raise_files(struct failure *f)
{
    uint64_t former, files = files_raise_limit(FILES_MOST, &former);
    return files >= FILES_LEAST
               ? 0
               : failure_set(f, CODE_FULL,
                             "a head needs %u open files, and the limit here is %" PRIu64
                             ". Raise the limit: ulimit -n 1024",
                             FILES_LEAST, files);
}

static int prepare(struct start *s, struct failure *f)
{
    char warning[256];
    int r = inherited_check("the head", f);
    if (r == 0 && inherited_warning("the head", warning)) {
        fprintf(stderr, "drt-head: warning: %s.\n", warning);
    }
    const char *advertise = s->options->advertise;
    r = r == 0 && advertise != NULL ? hostport_check_advertise(advertise, f) : r;
    r = r != 0 ? r : raise_files(f);
    r = r != 0 ? r : place_for_start(s->options->dir, s->options->cluster, &s->place, f);
    r = r != 0 ? r : make_dir(&s->place, f);
    r = r != 0 ? r : take_lock(s, f);
    return r != 0 ? r : take_keys(s, f);
}

/* ---- running ---- */

static void on_ready(void *arg, const char *address)
{
    struct start *s = arg;
    s->ready = true;
    running_write(&s->place);
    if (s->options->foreground) {
        print_screen(s, getpid(), address);
        return;
    }
    struct report report = {.pid = getpid()};
    (void)text_copy(report.address, sizeof report.address, address);
    daemon_say(&s->daemon, &report, sizeof report);
}

static void on_chores(void *arg)
{
    const struct start *s = arg;
    char log[PLACE_PATH_MAX];
    if (!s->options->foreground && place_path(&s->place, "head.log", log) == 0) {
        daemon_turn_log(log);
    }
}

static int run(struct start *s, struct failure *f)
{
    struct head_shell_config config = {
        .place = &s->place,
        .keys = &s->keys,
        .bind = s->options->bind,
        .advertise = s->options->advertise,
        .port_given = s->options->port_given,
        .port = s->options->port,
        .parent_pipe = s->options->parent_pipe,
        .accept_loss = s->options->accept_loss,
        .on_ready = on_ready,
        .on_chores = on_chores,
        .arg = s,
    };
    int r = head_shell_run(&config, f);
    if (s->ready) {
        running_remove(&s->place);
    }
    return r;
}

static int be_daemon(struct start *s, const char *log)
{
    struct report report = {0};
    int r = daemon_redirect(log);
    if (r != 0) {
        r = failure_set(&report.failure, CODE_FAILED, "the head cannot write %s: %s", log,
                        strerror(-r));
    } else {
        log_init("drt-head", LOG_LEVEL_INFO);
        r = run(s, &report.failure);
    }
    if (r != 0) {
        log_error("%s", report.failure.message);
        daemon_say(&s->daemon, &report, sizeof report);
    }
    return r != 0;
}

static int run_daemon(struct start *s)
{
    char log[PLACE_PATH_MAX];
    struct report report = {0};
    struct failure f;
    int keep[] = {s->lock, s->options->parent_pipe}, status;
    int r = place_path(&s->place, "head.log", log);
    r = r != 0 ? r : daemon_begin(&s->daemon, keep, ARRAY_SIZE(keep), true);
    if (r == 0) {
        return be_daemon(s, log);
    }
    r = r < 0 ? r : daemon_await(&s->daemon, &report, sizeof report, &status);
    if (r < 0) {
        failure_set(&f, CODE_FAILED, "the head could not be started: %s. %s%sSee %s", strerror(-r),
                    shortage_advice(-r), shortage_is(-r) ? " " : "", log);
        return fail(&f);
    }
    if (report.failure.code != 0) {
        return fail(&report.failure);
    }
    print_screen(s, report.pid, report.address);
    return 0;
}

int start_head(const struct start_options *options)
{
    struct start s = {.options = options, .lock = -1, .daemon = {.pipe = -1}};
    struct failure f;
    if (prepare(&s, &f) != 0) {
        close_fd(&s.lock);
        return fail(&f);
    }
    int r;
    if (getpid() == 1) {
        (void)signal(SIGCHLD, SIG_IGN); /* the orphans of a container end without our looking on */
    }
    if (options->foreground) {
        log_init("drt-head", LOG_LEVEL_INFO);
        r = run(&s, &f) != 0 ? fail(&f) : 0;
    } else {
        r = run_daemon(&s);
    }
    close_fd(&s.lock);
    return r;
}

/* ---- stop, rekey ---- */

int stop_head(const char *dir, const char *cluster)
{
    struct place place;
    struct failure f;
    int r = place_find(dir, cluster, &place, &f);
    if (r == CODE_EXISTS) {
        (void)fail(&f);
        return 2; /* several: one must be named */
    }
    r = r != 0 ? r : running_stop(&place, &f);
    if (r != 0) {
        return fail(&f);
    }
    printf("The head of \"%s\" is stopped. Nodes keep their work and look for it at the same "
           "address.\n",
           place.cluster);
    return 0;
}

/* The cluster's directory, which is there, and its lock: no head runs. */
static int take_stopped(struct start *s, struct failure *f)
{
    int r = place_for_start(s->options->dir, s->options->cluster, &s->place, f);
    if (r == 0 && access(s->place.dir, F_OK) < 0) {
        return failure_set(f, CODE_NOT_FOUND,
                           "there is no cluster in %s. Create one with 'drt-head start'",
                           s->place.dir);
    }
    return r != 0 ? r : take_lock(s, f);
}

static int with_stopped(const char *dir, const char *cluster,
                        int (*verb)(const struct place *place, FILE *out, struct failure *f))
{
    struct start_options options = {.dir = dir, .cluster = cluster};
    struct start s = {.options = &options, .lock = -1};
    struct failure f;
    umask(077);
    int r = take_stopped(&s, &f);
    r = r != 0 ? r : verb(&s.place, stdout, &f);
    close_fd(&s.lock);
    fflush(stdout);
    return r != 0 ? fail(&f) : 0;
}

int check_head(const char *dir, const char *cluster)
{
    return with_stopped(dir, cluster, repair_check);
}

int repair_head(const char *dir, const char *cluster)
{
    return with_stopped(dir, cluster, repair_run);
}

int rekey_head(const char *dir, const char *cluster)
{
    struct start_options options = {.dir = dir, .cluster = cluster};
    struct start s = {.options = &options, .lock = -1};
    struct failure f;
    int r = take_stopped(&s, &f);
    r = r != 0 ? r : keys_rekey(&s.place, &s.keys, &f);
    close_fd(&s.lock);
    if (r != 0) {
        return fail(&f);
    }
    printf("Cluster \"%s\" has new keys; the old keys are no longer valid.\n\n"
           "  Start the head again     drt-head start\n"
           "  Nodes elsewhere          copy join.key there again, then join again\n"
           "  Clients elsewhere        copy client.key there again\n",
           s.keys.cluster);
    return 0;
}
