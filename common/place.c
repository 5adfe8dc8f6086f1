#include "common/place.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/files.h"
#include "common/text.h"

#define NAME_LIMIT 64 /* with the terminator */
#define NAMES_TOLD 6u /* in a sentence */

bool place_name_ok(const char *name)
{
    size_t length = strnlen(name, NAME_LIMIT);
    if (length == 0 || length == NAME_LIMIT || name[0] == '.' || name[0] == '-') {
        return false;
    }
    return strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
           length;
}

static PRINTF(2, 3) int join(char ret[PLACE_PATH_MAX], const char *format, ...)
{
    char path[PLACE_PATH_MAX];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(path, sizeof path, format, args);
    va_end(args);
    if (length < 0 || length >= PLACE_PATH_MAX) {
        return -ENAMETOOLONG;
    }
    memcpy(ret, path, (size_t)length + 1);
    return 0;
}

int place_path(const struct place *p, const char *relative, char ret[PLACE_PATH_MAX])
{
    return join(ret, "%s/%s", p->dir, relative);
}

int place_node_path(const struct place *p, const char *node, const char *relative,
                    char ret[PLACE_PATH_MAX])
{
    return join(ret, "%s/nodes/%s/%s", p->dir, node, relative);
}

/* A variable that is set and not empty, else NULL. */
static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && *value != '\0' ? value : NULL;
}

static int too_long(struct failure *f, const char *what)
{
    return failure_set(f, CODE_TOO_LARGE,
                       "the path of %s is longer than %d bytes. Use a shorter one.", what,
                       PLACE_PATH_MAX - 1);
}

int place_home(char ret[PLACE_PATH_MAX], struct failure *f)
{
    const char *home = variable("HOME");
    if (home != NULL && *home != '/') {
        return failure_set(f, CODE_NOT_FOUND,
                           "HOME is not an absolute path. Set it to one, or name the cluster's "
                           "directory with --dir or DRT_DIR.");
    }
    struct passwd entry, *found = NULL;
    char room[4096];
    if (home == NULL && getpwuid_r(geteuid(), &entry, room, sizeof room, &found) == 0 &&
        found != NULL) {
        home = found->pw_dir;
    }
    if (home == NULL || *home != '/') {
        return failure_set(f, CODE_NOT_FOUND,
                           "this user has no home directory (HOME is not set). Name the cluster's "
                           "directory with --dir or DRT_DIR.");
    }
    return join(ret, "%s/.drt", home) == 0 ? 0 : too_long(f, "HOME");
}

/* The file "name", else `wanted`, else the last component; else "default" where that is no name. */
static void name_cluster(struct place *p, const char *wanted)
{
    char path[PLACE_PATH_MAX];
    struct buffer text = {0};
    const char *slash = strrchr(p->dir, '/');
    const char *name = slash != NULL && place_name_ok(slash + 1) ? slash + 1 : "default";
    if (wanted != NULL) {
        name = wanted;
    }
    if (place_path(p, "name", path) == 0 && files_read(path, 256, &text) == 0) {
        text.size = strcspn(buffer_text(&text), "\r\n");
        if (place_name_ok(buffer_text(&text))) {
            name = buffer_text(&text);
        }
    }
    (void)text_copy(p->cluster, sizeof p->cluster, name);
    buffer_fini(&text);
}

int place_keep_name(const struct place *p, const char *cluster)
{
    struct place named = *p;
    char path[PLACE_PATH_MAX], text[80];
    name_cluster(&named, NULL);
    if (strcmp(named.cluster, cluster) == 0) {
        return 0;
    }
    int size = snprintf(text, sizeof text, "%s\n", cluster);
    int r = place_path(p, "name", path);
    return r != 0 ? r : files_write_atomic(path, text, (size_t)size, 0600);
}

/* `dir` as an absolute path without slashes at its end. */
static int place_in(const char *dir, const char *cluster, struct place *ret, struct failure *f)
{
    struct place p = {0};
    char here[PLACE_PATH_MAX] = "";
    if (*dir != '/') {
        if (getcwd(here, sizeof here - 1) == NULL) {
            return failure_set(
                f, CODE_NOT_FOUND,
                "the working directory cannot be read. Give --dir an absolute path.");
        }
        (void)text_copy(here + strlen(here), 2, "/");
    }
    if (join(p.dir, "%s%s", here, dir) != 0) {
        return too_long(f, "the cluster's directory");
    }
    for (size_t length = strlen(p.dir); length > 1 && p.dir[length - 1] == '/'; length--) {
        p.dir[length - 1] = '\0';
    }
    name_cluster(&p, cluster);
    *ret = p;
    return 0;
}

/* It would be the working directory, which a script with an unset variable never means. */
static int check_dir(const char *dir, struct failure *f)
{
    if (dir == NULL || *dir != '\0') {
        return 0;
    }
    return failure_set(f, CODE_SIGNATURE,
                       "the cluster's directory is empty. Give --dir a path (\".\" is the working "
                       "directory), or leave it out.");
}

static int check_cluster(const char *cluster, struct failure *f)
{
    if (cluster == NULL || place_name_ok(cluster)) {
        return 0;
    }
    char shown[NAME_LIMIT];
    (void)text_copy(shown, sizeof shown, cluster);
    text_clean(shown);
    return failure_set(f, CODE_SIGNATURE,
                       "\"%s\" is not a valid cluster name. Use 1 to 63 letters, digits, '.', '_' "
                       "or '-', not beginning with '.' or '-'.",
                       shown);
}

static int place_at_home(const char *cluster, struct place *ret, struct failure *f)
{
    char base[PLACE_PATH_MAX], dir[PLACE_PATH_MAX];
    int r = place_home(base, f);
    if (r != 0) {
        return r;
    }
    if (join(dir, "%s/%s", base, cluster) != 0) {
        return too_long(f, "the cluster's directory");
    }
    return place_in(dir, cluster, ret, f);
}

int place_for_start(const char *dir, const char *cluster, struct place *ret, struct failure *f)
{
    const char *chosen = dir != NULL ? dir : variable("DRT_DIR");
    const char *name = cluster;
    if (name == NULL && chosen == NULL) {
        name = variable("DRT_CLUSTER");
    }
    int r = check_dir(dir, f);
    r = r != 0 ? r : check_cluster(name, f);
    if (r != 0) {
        return r;
    }
    if (chosen != NULL) {
        return place_in(chosen, cluster, ret, f);
    }
    return place_at_home(name != NULL ? name : "default", ret, f);
}

static bool is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Calls fn for each name in a directory, sorted, so that nothing depends on the file system. -errno
 */
static int each_name(const char *dir, void (*fn)(const char *name, void *arg), void *arg)
{
    struct dirent **entries;
    int count = scandir(dir, &entries, NULL, alphasort);
    if (count < 0) {
        return -errno;
    }
    for (int i = 0; i < count; i++) {
        if (place_name_ok(entries[i]->d_name)) {
            fn(entries[i]->d_name, arg);
        }
        free(entries[i]);
    }
    free(entries);
    return 0;
}

/* One more name for a sentence: the first ones are named, the others counted. */
static void add_name(struct buffer *names, size_t count, const char *name)
{
    if (count < NAMES_TOLD) {
        buffer_printf(names, "%s%s", count != 0 ? ", " : "", name);
    }
}

static void add_rest(struct buffer *names, size_t count)
{
    if (count > NAMES_TOLD) {
        buffer_printf(names, " and %zu more", count - NAMES_TOLD);
    }
}

struct node_search {
    const struct place *place;
    const char *wanted; /* NULL: any */
    uint64_t number;    /* of the best one; UINT64_MAX: it tells none */
    char best[NAME_LIMIT];
    uint32_t count;
    struct buffer seen; /* the live ones */
};

static uint64_t read_number(const struct place *p, const char *node)
{
    char path[PLACE_PATH_MAX];
    struct buffer text = {0};
    uint64_t number = UINT64_MAX;
    if (place_node_path(p, node, "number", path) == 0 && files_read(path, 64, &text) == 0) {
        while (text.size != 0 && text.data[text.size - 1] == '\n') {
            text.size--;
        }
        if (text_parse_u64(buffer_text(&text), UINT32_MAX, &number) != 0) {
            number = UINT64_MAX;
        }
    }
    buffer_fini(&text);
    return number;
}

static void consider_node(const char *name, void *arg)
{
    struct node_search *search = arg;
    char path[PLACE_PATH_MAX];
    if (place_node_path(search->place, name, "lock", path) != 0 || !files_is_locked(path)) {
        return;
    }
    add_name(&search->seen, search->count++, name);
    uint64_t number = read_number(search->place, name);
    bool asked = search->wanted != NULL && strcmp(search->wanted, name) == 0;
    bool better = search->best[0] == '\0' || number < search->number;
    if (asked || (search->wanted == NULL && better)) {
        search->number = number;
        (void)text_copy(search->best, sizeof search->best, name);
    }
}

static int search_nodes(struct node_search *search)
{
    char nodes[PLACE_PATH_MAX];
    int r = place_path(search->place, "nodes", nodes);
    r = r == 0 ? each_name(nodes, consider_node, search) : r;
    add_rest(&search->seen, search->count);
    return r;
}

static int find_node(const struct place *p, const char *name, bool only, char ret_name[64],
                     struct failure *f)
{
    struct node_search search = {.place = p, .number = UINT64_MAX};
    search.wanted = name != NULL ? name : variable("DRT_NODE");
    int r = search_nodes(&search);
    (void)r; /* no directory: no node */
    if (only && search.wanted == NULL && search.count > 1) {
        r = failure_set(f, CODE_EXISTS,
                        "several nodes of cluster \"%s\" run on this machine (%s). Name one of "
                        "these with --name.",
                        p->cluster, buffer_text(&search.seen));
    } else if (search.best[0] != '\0') {
        memcpy(ret_name, search.best, sizeof search.best);
        r = 0;
    } else if (search.wanted != NULL) {
        char shown[NAME_LIMIT];
        (void)text_copy(shown, sizeof shown, search.wanted);
        text_clean(shown);
        r = failure_set(f, CODE_NOT_FOUND,
                        "no node \"%s\" of cluster \"%s\" runs on this machine (running: %s). %s",
                        shown, p->cluster,
                        search.seen.size != 0 ? buffer_text(&search.seen) : "none",
                        name != NULL ? "Name one of these." : "Change DRT_NODE, or unset it.");
    } else {
        r = failure_set(f, CODE_NOT_FOUND,
                        "no node of cluster \"%s\" runs on this machine. Start one with 'drt-node "
                        "join'.",
                        p->cluster);
    }
    buffer_fini(&search.seen);
    return r;
}

int place_find_node(const struct place *p, const char *name, char ret_name[64], struct failure *f)
{
    return find_node(p, name, false, ret_name, f);
}

int place_find_only_node(const struct place *p, const char *name, char ret_name[64],
                         struct failure *f)
{
    return find_node(p, name, true, ret_name, f);
}

static bool is_live(const struct place *p)
{
    char lock[PLACE_PATH_MAX];
    if (place_path(p, "head.lock", lock) == 0 && files_is_locked(lock)) {
        return true;
    }
    struct node_search search = {.place = p, .number = UINT64_MAX};
    int r = search_nodes(&search);
    (void)r;
    buffer_fini(&search.seen);
    return search.best[0] != '\0';
}

struct cluster_search {
    const char *base;
    size_t count;
    struct place found;
    struct buffer names;
};

/* A private cluster's, or a raylet's that a program started (sdk/private_dir.h). */
static bool belongs_to_a_program(const char *name)
{
    return strncmp(name, "local-", 6) == 0 || strncmp(name, "private-", 8) == 0;
}

static void consider_cluster(const char *name, void *arg)
{
    struct cluster_search *search = arg;
    char dir[PLACE_PATH_MAX];
    struct place p;
    struct failure ignored;
    if (belongs_to_a_program(name) || join(dir, "%s/%s", search->base, name) != 0 ||
        place_in(dir, NULL, &p, &ignored) != 0 || !is_live(&p)) {
        return;
    }
    add_name(&search->names, search->count++, name);
    search->found = p;
}

static int find_live(struct place *ret, struct failure *f)
{
    char base[PLACE_PATH_MAX];
    int r = place_home(base, f);
    if (r != 0) {
        return r;
    }
    struct cluster_search search = {.base = base};
    r = each_name(base, consider_cluster, &search);
    add_rest(&search.names, search.count);
    (void)r; /* no directory: no cluster */
    if (search.count == 1) {
        *ret = search.found;
        r = 0;
    } else if (search.count == 0) {
        r = failure_set(f, CODE_NOT_FOUND,
                        "no cluster found on this machine (looked in ~/.drt). Start one with "
                        "'drt-head start', or name one with --cluster or DRT_CLUSTER.");
    } else {
        r = failure_set(f, CODE_EXISTS,
                        "several clusters run on this machine: %s. Name one with --cluster or "
                        "DRT_CLUSTER.",
                        buffer_text(&search.names));
    }
    buffer_fini(&search.names);
    return r;
}

int place_find(const char *dir, const char *cluster, struct place *ret, struct failure *f)
{
    struct place p;
    int r = check_dir(dir, f);
    r = r != 0 ? r : check_cluster(cluster, f);
    if (r != 0) {
        return r;
    }
    const char *from_variable = variable("DRT_DIR");
    const char *name = cluster != NULL ? cluster : variable("DRT_CLUSTER");
    if (dir != NULL) {
        r = place_in(dir, NULL, &p, f);
    } else if (cluster == NULL && from_variable != NULL) {
        r = place_in(from_variable, NULL, &p, f);
    } else if (name != NULL) {
        r = check_cluster(name, f);
        r = r == 0 ? place_at_home(name, &p, f) : r;
        /* What the command line says is not overruled by a variable, unless that is where it lives.
         */
        struct place q;
        struct failure ignored;
        if (r == 0 && from_variable != NULL && place_in(from_variable, NULL, &q, &ignored) == 0 &&
            strcmp(q.cluster, name) == 0) {
            p = q;
        }
    } else {
        return find_live(ret, f);
    }
    if (r == 0 && !is_dir(p.dir)) {
        r = failure_set(f, CODE_NOT_FOUND,
                        "there is no cluster in %.300s. Start one with 'drt-head start', or name "
                        "another directory with --dir or DRT_DIR.",
                        p.dir);
    }
    if (r == 0) {
        *ret = p;
    }
    return r;
}

int place_socket_address(const char *path, struct sockaddr_un *ret, int *ret_dir_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (text_copy(address.sun_path, sizeof address.sun_path, path)) {
        *ret = address;
        *ret_dir_fd = -1;
        return 0;
    }
    const char *slash = strrchr(path, '/');
    char dir[PLACE_PATH_MAX];
    if (slash == NULL || join(dir, "%.*s/", (int)(slash - path), path) != 0) {
        return -ENAMETOOLONG;
    }
    int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int length =
        snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", fd, slash + 1);
    if (length < 0 || (size_t)length >= sizeof address.sun_path) {
        close(fd);
        return -ENAMETOOLONG;
    }
    *ret = address;
    *ret_dir_fd = fd;
    return 0;
}

static bool is_program(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* In each of the directories of a list with colons. */
static bool find_in_list(const char *list, const char *program, char ret[PLACE_PATH_MAX])
{
    while (list != NULL && *list != '\0') {
        size_t length = strcspn(list, ":");
        char path[PLACE_PATH_MAX];
        if (length != 0 && join(path, "%.*s/%s", (int)length, list, program) == 0 &&
            is_program(path)) {
            memcpy(ret, path, strlen(path) + 1);
            return true;
        }
        list += length + (list[length] == ':');
    }
    return false;
}

/* Beside the file that this code was loaded from, or in the bin directory next to its own. */
static bool find_beside(const char *file, const char *program, char ret[PLACE_PATH_MAX])
{
    const char *slash = strrchr(file, '/');
    char dirs[PLACE_PATH_MAX];
    if (slash == NULL || *file != '/') {
        return false;
    }
    int length = (int)(slash - file);
    /* A library may lie one deeper: lib/x86_64-linux-gnu. */
    return join(dirs, "%.*s:%.*s/../bin:%.*s/../../bin", length, file, length, file, length,
                file) == 0 &&
           find_in_list(dirs, program, ret);
}

int place_find_program(const char *program, char ret[PLACE_PATH_MAX], struct failure *f)
{
    const char *listed = variable("DRT_BINDIR");
    char self[PLACE_PATH_MAX] = "";
    Dl_info info = {0};
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[MAX_OF(length, 0)] = '\0';
    bool is_loaded = dladdr((void *)(uintptr_t)&place_find_program, &info) != 0;
    if (find_in_list(listed, program, ret) ||
        (is_loaded && info.dli_fname != NULL && find_beside(info.dli_fname, program, ret)) ||
        find_beside(self, program, ret) || find_in_list(DRT_CONFIGURED_BINDIR, program, ret) ||
        find_in_list(variable("PATH"), program, ret)) {
        return 0;
    }
    char *slash = strrchr(self, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    return failure_set(f, CODE_NOT_FOUND,
                       "%s was not found in DRT_BINDIR (%.100s), beside libdrt or this program "
                       "(%.120s, ../bin), in %.80s, or in PATH. Install drt, or set DRT_BINDIR to "
                       "the directory of its programs.",
                       program, listed != NULL ? listed : "not set", self, DRT_CONFIGURED_BINDIR);
}
