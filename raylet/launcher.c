#include "raylet/launcher.h"

#include <elf.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/inherited.h"
#include "common/place.h"
#include "common/shortage.h"
#include "common/text.h"

#define SPEC_MAGIC     0x64727473u
#define SPEC_TEXT_MAX  (8u << 20) /* the largest environment of a message, and paths */
#define ENV_OURS       3u
#define EXIT_UNSTARTED 127

/* What the launcher is told, in a memfd: this, then env, name, cwd and node_dir, each text
 * terminated. */
struct spec {
    uint32_t magic, worker, umask, env_size;
    uint64_t files_max, soft_limits[INHERITED_LIMITS];
    int32_t parent, program_fd, socket_fd, status_fd, directory_fd;
};

/* ---- the raylet's side ---- */

static int write_spec(const struct launch *launch, int status_fd, int *ret_fd)
{
    struct spec spec = {
        .magic = SPEC_MAGIC,
        .worker = launch->worker,
        .umask = launch->umask,
        .env_size = (uint32_t)launch->env.size,
        .files_max = launch->files_max,
        .parent = getpid(),
        .program_fd = launch->program_fd,
        .socket_fd = launch->socket_fd,
        .status_fd = status_fd,
        .directory_fd = launch->directory_fd,
    };
    inherited_soft_limits(spec.soft_limits);
    struct buffer text = {0};
    buffer_append(&text, &spec, sizeof spec);
    buffer_append(&text, launch->env.data, launch->env.size);
    const char *texts[] = {launch->name, launch->cwd, launch->node_dir};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        buffer_append(&text, texts[i], strlen(texts[i]) + 1);
    }
    int r = 0;
    CLEANUP_FD int fd = memfd_create("drt-launch", MFD_CLOEXEC);
    if (text.size > SPEC_TEXT_MAX) {
        r = -E2BIG;
    } else if (fd < 0 || pwrite(fd, text.data, text.size, 0) != (ssize_t)text.size) {
        r = fd < 0 || errno != 0 ? -errno : -EIO;
    }
    buffer_fini(&text);
    if (r == 0) {
        *ret_fd = fd;
        fd = -1;
    }
    return r;
}

/* Which descriptors the launcher gets: a dup onto itself only clears CLOEXEC, in the child. */
static int add_files(posix_spawn_file_actions_t *actions, const struct launch *launch, int spec_fd,
                     int status_fd)
{
    const int kept[] = {launch->program_fd, launch->socket_fd, spec_fd, status_fd,
                        launch->directory_fd};
    int r = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
    for (size_t i = 0; i < ARRAY_SIZE(kept) && r == 0; i++) {
        r = kept[i] < 0 ? 0 : posix_spawn_file_actions_adddup2(actions, kept[i], kept[i]);
    }
    if (r == 0) {
        r = posix_spawn_file_actions_adddup2(actions, launch->out_fd, 1);
    }
    if (r == 0) {
        r = posix_spawn_file_actions_adddup2(actions, launch->err_fd, 2);
    }
    return r;
}

static int spawn_self(const struct launch *launch, int spec_fd, int status_fd, pid_t *ret_pid)
{
    char number[16];
    char *argv[] = {"drt-node", LAUNCHER_FLAG, number, NULL};
    char *envp[] = {NULL}; /* the driver's variables are for its program, not for us */
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    snprintf(number, sizeof number, "%d", spec_fd);
    int r = posix_spawn_file_actions_init(&actions);
    if (r != 0) {
        return -r;
    }
    r = posix_spawnattr_init(&attributes);
    if (r != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return -r;
    }
    r = add_files(&actions, launch, spec_fd, status_fd);
    if (r == 0) {
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setsigdefault(&attributes, &all);
        /* A group of its own, but our session: the kernel schedules sessions as wholes (autogroup),
         * and sched_yield hands the CPU over within one only. */
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                  POSIX_SPAWN_SETSIGDEF);
        r = posix_spawn(ret_pid, "/proc/self/exe", &actions, &attributes, argv, envp);
    }
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return -r;
}

int launcher_spawn(const struct launch *launch, pid_t *ret_pid, int *ret_status)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        return -errno;
    }
    CLEANUP_FD int mine = ends[0];
    CLEANUP_FD int theirs = ends[1];
    CLEANUP_FD int spec_fd = -1;
    ASSERT(mine > 2 && launch->program_fd > 2 && launch->socket_fd > 2 && launch->out_fd > 2 &&
           launch->err_fd > 2);
    int r = write_spec(launch, theirs, &spec_fd);
    if (r == 0) {
        r = spawn_self(launch, spec_fd, theirs, ret_pid);
    }
    if (r == 0) {
        *ret_status = mine;
        mine = -1;
    }
    return r;
}

int launcher_outcome(int status, struct failure *ret)
{
    struct failure f;
    ssize_t n = read(status, &f, sizeof f);
    if (n < 0) {
        return errno == EAGAIN || errno == EINTR ? -EAGAIN : 0;
    }
    if (n != sizeof f) {
        return 0;
    }
    f.message[sizeof f.message - 1] = '\0';
    *ret = f;
    return f.code == CODE_FULL ? CODE_FULL : CODE_PROGRAM;
}

/* ---- the launcher's side ---- */

static NORETURN void give_up(int status_fd, const struct failure *f)
{
    ssize_t written = write(status_fd, f, sizeof *f);
    (void)written; /* nobody else could be told */
    _exit(EXIT_UNSTARTED);
}

static const char *machine_name(unsigned machine)
{
    switch (machine) {
    case EM_X86_64:
        return "x86-64";
    case EM_AARCH64:
        return "aarch64";
    case EM_386:
        return "32-bit x86";
    case EM_ARM:
        return "32-bit ARM";
    case EM_RISCV:
        return "RISC-V";
    case EM_PPC64:
        return "ppc64";
    default:
        return "another processor";
    }
}

/* The program's interpreter (its dynamic loader), "" if it names none that can be read. */
static void read_interpreter(int fd, const Elf64_Ehdr *header, char ret[256])
{
    ret[0] = '\0';
    for (unsigned i = 0; i < header->e_phnum && i < 128; i++) {
        Elf64_Phdr part;
        off_t at = (off_t)(header->e_phoff + (uint64_t)i * sizeof part);
        if (pread(fd, &part, sizeof part, at) != sizeof part) {
            return;
        }
        if (part.p_type == PT_INTERP && part.p_filesz < 256) {
            ssize_t n = pread(fd, ret, part.p_filesz, (off_t)part.p_offset);
            ret[n > 0 ? n : 0] = '\0';
            return;
        }
    }
}

/* Why exec said `error` of this program. */
static void explain(int fd, const char *name, int error, struct failure *f)
{
    Elf64_Ehdr ours = {0}, header = {0};
    char loader[256];
    if (shortage_is(error)) {
        (void)shortage_explain(f, error, "A worker of %s cannot be started", name);
        return;
    }
    CLEANUP_FD int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    bool is_elf = pread(fd, &header, sizeof header, 0) == sizeof header &&
                  memcmp(header.e_ident, ELFMAG, SELFMAG) == 0;
    if (!is_elf && (error == ENOEXEC || error == ENOENT)) {
        failure_set(
            f, CODE_PROGRAM,
            "The program %s does not start: it is not an executable for Linux (not an ELF file).",
            name);
        return;
    }
    if (error == ENOEXEC && self >= 0 && pread(self, &ours, sizeof ours, 0) == sizeof ours &&
        header.e_machine != ours.e_machine) {
        failure_set(f, CODE_PROGRAM,
                    "The program %s does not start: it is built for %s, and this machine is %s.",
                    name, machine_name(header.e_machine), machine_name(ours.e_machine));
        return;
    }
    if (error == E2BIG) {
        failure_set(f, CODE_PROGRAM,
                    "The program %s does not start: its environment is larger than a quarter of "
                    "this node's stack limit. Raise the limit ('ulimit -s') where the node is "
                    "started, or unset variables.",
                    name);
        return;
    }
    read_interpreter(fd, &header, loader);
    if (error == ENOENT && loader[0] != '\0' && access(loader, F_OK) != 0) {
        failure_set(f, CODE_PROGRAM,
                    "The program %s does not start: its loader %s is missing on this machine.",
                    name, loader);
        return;
    }
    if (error == EACCES) {
        failure_set(f, CODE_PROGRAM,
                    "The program %s does not start: it may not be executed (because of its mode, "
                    "or a file system mounted noexec). If the node's directory is on such a file "
                    "system, join with another --dir.",
                    name);
        return;
    }
    failure_set(f, CODE_PROGRAM, "The program %s does not start: %s.", name, strerror(error));
}

/* Reads the spec; the texts point into the returned memory, which lasts as long as the process. */
static const struct spec *read_spec(int fd, const char *ret_texts[3], const char **ret_env)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_size < (off_t)sizeof(struct spec) ||
        st.st_size > (off_t)SPEC_TEXT_MAX) {
        return NULL;
    }
    size_t size = (size_t)st.st_size;
    char *data = xmalloc(size + 1);
    if (pread(fd, data, size, 0) != (ssize_t)size) {
        return NULL;
    }
    data[size] = '\0';
    const struct spec *spec = (const void *)data;
    if (spec->magic != SPEC_MAGIC || spec->env_size > size - sizeof *spec) {
        return NULL;
    }
    *ret_env = data + sizeof *spec;
    const char *at = *ret_env + spec->env_size;
    for (int i = 0; i < 3; i++) {
        ret_texts[i] = at;
        at += strlen(at) + 1;
        if (at > data + size) {
            return NULL;
        }
    }
    return spec;
}

static char *text_of(const char *format, const char *name, const char *value)
{
    char *text = NULL;
    if (asprintf(&text, format, name, value) < 0) {
        _exit(EXIT_UNSTARTED);
    }
    return text;
}

static char **make_env(const struct spec *spec, const char *env, const char *node_dir)
{
    const char *end = env + spec->env_size; /* behind it stands a terminated text at least */
    size_t count = 0, n = 0;
    for (const char *at = env; at < end; at += strlen(at) + 1) {
        count++;
    }
    char **list = xcalloc(count + ENV_OURS + 1, sizeof *list);
    char number[16];
    /* Ours first: who looks for strays reads each environment from its beginning. */
    snprintf(number, sizeof number, "%d", spec->socket_fd);
    list[n++] = text_of("%s=%s", LAUNCHER_WORKER_FD, number);
    snprintf(number, sizeof number, "%u", spec->worker);
    list[n++] = text_of("%s=%s", LAUNCHER_WORKER, number);
    list[n++] = text_of("%s=%s", LAUNCHER_WORKER_NODE, node_dir);
    for (const char *at = env; at < end; at += strlen(at) + 1) {
        if (!inherited_is_drts(at)) {
            list[n++] = (char *)at;
        }
    }
    return list;
}

static void set_limits(const struct spec *spec)
{
    struct rlimit limit;
    if (spec->files_max != 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = MIN_OF((rlim_t)spec->files_max, limit.rlim_max);
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    inherited_give_back(spec->soft_limits);
}

/* The driver's directory: itself, for it may have been deleted, or have a path longer than any that
 * can be said; else by its name. Where neither serves, as on a node that has no such directory, the
 * user's own, which the worker's output says. -errno */
static int enter(const struct spec *spec, const char *cwd)
{
    bool named = cwd[0] != '\0';
    if ((spec->directory_fd >= 0 && fchdir(spec->directory_fd) == 0) ||
        (named && chdir(cwd) == 0)) {
        return 0;
    }
    int why = errno;
    const struct passwd *user = getpwuid(geteuid());
    const char *home = user != NULL ? user->pw_dir : "/";
    if (chdir(home) < 0) {
        home = "/";
        if (chdir(home) < 0) {
            return -errno;
        }
    }
    if (named) {
        dprintf(STDERR_FILENO, "drt: this node has no directory %s (%s): the worker starts in %s\n",
                cwd, strerror(why), home);
    } else {
        dprintf(STDERR_FILENO,
                "drt: the program's directory was deleted, or its path is longer than %d bytes: on "
                "this node the worker starts in %s\n",
                PLACE_PATH_MAX - 1, home);
    }
    return 0;
}

void launcher_main(int argc, char **argv)
{
    uint64_t fd = 0;
    const char *texts[3] = {0}, *env = NULL; /* texts: name, cwd, node_dir */
    struct failure f;
    if (argc < 3 || text_parse_u64(argv[2], 1 << 20, &fd) != 0) {
        _exit(EXIT_UNSTARTED);
    }
    const struct spec *spec = read_spec((int)fd, texts, &env);
    if (spec == NULL) {
        _exit(EXIT_UNSTARTED);
    }
    /* The order matters: a raylet that died before the first line is found by the second. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != spec->parent) {
        _exit(EXIT_UNSTARTED);
    }
    set_limits(spec);
    umask(spec->umask & 0777);
    int r = enter(spec, texts[1]);
    if (r != 0 && shortage_is(-r)) {
        (void)shortage_explain(&f, -r, "A worker of %s cannot be started", texts[0]);
        give_up(spec->status_fd, &f);
    }
    if (r != 0) {
        failure_set(&f, CODE_PROGRAM,
                    "A worker of %s cannot enter its program's working directory %s: %s.", texts[0],
                    texts[1], strerror(-r));
        give_up(spec->status_fd, &f);
    }
    if (close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) < 0 || fcntl(spec->socket_fd, F_SETFD, 0) < 0) {
        failure_set(&f, CODE_PROGRAM, "A worker's descriptors cannot be prepared: %s.",
                    strerror(errno));
        give_up(spec->status_fd, &f);
    }
    char *args[] = {(char *)texts[0], NULL};
    fexecve(spec->program_fd, args, make_env(spec, env, texts[2]));
    explain(spec->program_fd, texts[0], errno, &f);
    give_up(spec->status_fd, &f);
}
