#include "raylet/programs.h"

#include <dirent.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/list.h"
#include "common/log.h"
#include "common/numbers.h"
#include "common/place.h"
#include "common/text.h"

#define READ_BYTES (64u << 10)
#define KNOWN_MAX  64u
#define STORED_MAX 4096u
#define HEX_SIZE   (2 * PROGRAMS_HASH_SIZE + 1)

/* A file as it was when it was hashed. */
struct file_mark {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime, ctime;
};

struct program {
    uint32_t handle;
    uint32_t uses; /* answers that named it and were not dropped yet */
    uint8_t hash[PROGRAMS_HASH_SIZE];
    int fd;
    struct file_mark mark;
    struct list link;
};

/* What was hashed once, by its mark; the oldest is forgotten first. */
struct known {
    struct file_mark mark;
    uint8_t hash[PROGRAMS_HASH_SIZE];
};

struct programs {
    struct offload *offload;
    char dir[PLACE_PATH_MAX];
    struct programs_owner owner;
    uint32_t handle_last;
    struct list all;
    struct known known[KNOWN_MAX];
    uint32_t known_count, known_next;
};

struct hashing {
    struct offload_work work;
    struct programs *programs;
    uint32_t client;
    int fd, result;
    struct file_mark mark;
    uint8_t hash[PROGRAMS_HASH_SIZE];
};

struct storing {
    struct offload_work work;
    char dir[PLACE_PATH_MAX];
    char hash[HEX_SIZE];
    int fd, result;
};

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same_mark(const struct file_mark *a, const struct file_mark *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           same_time(a->mtime, b->mtime) && same_time(a->ctime, b->ctime);
}

static int read_mark(int fd, struct file_mark *ret)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    if (!S_ISREG(st.st_mode)) {
        return -EACCES;
    }
    *ret = (struct file_mark){st.st_dev, st.st_ino, st.st_size, st.st_mtim, st.st_ctim};
    return (uint64_t)st.st_size > PROGRAMS_SIZE_MAX ? -EFBIG : 0;
}

int programs_hash_file(int fd, uint8_t ret[PROGRAMS_HASH_SIZE])
{
    crypto_hash_sha256_state state;
    CLEANUP_FREE uint8_t *data = xmalloc(READ_BYTES);
    off_t at = 0;
    crypto_hash_sha256_init(&state);
    for (;;) {
        ssize_t n = pread(fd, data, READ_BYTES, at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -errno;
        }
        if (n == 0) {
            break;
        }
        crypto_hash_sha256_update(&state, data, (unsigned long long)n);
        at += n;
    }
    crypto_hash_sha256_final(&state, ret);
    return 0;
}

/* ---- the store ---- */

struct stored {
    char name[HEX_SIZE];
    uint64_t size;
    struct timespec mtime;
};

static int older_first(const void *a, const void *b)
{
    const struct stored *x = a, *y = b;
    if (x->mtime.tv_sec != y->mtime.tv_sec) {
        return x->mtime.tv_sec < y->mtime.tv_sec ? -1 : 1;
    }
    return (x->mtime.tv_nsec > y->mtime.tv_nsec) - (x->mtime.tv_nsec < y->mtime.tv_nsec);
}

/* What is stored, oldest first; half-written copies of a former life are removed. */
static size_t list_store(DIR *dir, struct stored *ret)
{
    size_t count = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        struct stat st;
        if (entry->d_name[0] == '.' && strncmp(entry->d_name, ".new-", 5) != 0) {
            continue;
        }
        if (strlen(entry->d_name) != HEX_SIZE - 1) {
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
            continue;
        }
        if (count < STORED_MAX &&
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
            memcpy(ret[count].name, entry->d_name, HEX_SIZE);
            ret[count].size = (uint64_t)st.st_size;
            ret[count++].mtime = st.st_mtim;
        }
    }
    qsort(ret, count, sizeof *ret, older_first);
    return count;
}

static void make_room(DIR *dir, uint64_t wanted, uint64_t bytes_max)
{
    CLEANUP_FREE struct stored *stored = xcalloc(STORED_MAX, sizeof *stored);
    size_t count = list_store(dir, stored);
    uint64_t total = wanted;
    for (size_t i = 0; i < count; i++) {
        total += stored[i].size;
    }
    for (size_t i = 0; i < count && total > bytes_max; i++) {
        (void)unlinkat(dirfd(dir), stored[i].name, 0);
        total -= stored[i].size;
    }
}

static int copy_into(int dir_fd, const char *name, int fd, uint64_t size)
{
    CLEANUP_FD int to = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0500);
    if (to < 0) {
        return -errno;
    }
    off_t at = 0;
    while ((uint64_t)at < size) {
        ssize_t n = sendfile(to, fd, &at, size - (uint64_t)at);
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n == 0) {
            return -ESTALE; /* it became shorter */
        }
    }
    return fchmod(to, 0500) < 0 ? -errno : 0;
}

int programs_store(const char *store_dir, int fd, const char *hash, uint64_t bytes_max)
{
    struct stat st;
    char name[HEX_SIZE + 8];
    DIR *dir = opendir(store_dir);
    if (dir == NULL) {
        return -errno;
    }
    snprintf(name, sizeof name, ".new-%.40s", hash);
    int r = fstat(fd, &st) < 0 ? -errno : 0;
    if (r == 0 && faccessat(dirfd(dir), hash, F_OK, 0) == 0) {
        r = utimensat(dirfd(dir), hash, NULL, 0) < 0 ? -errno : 0; /* used again: the youngest */
    } else if (r == 0 && (uint64_t)st.st_size > bytes_max) {
        r = -EFBIG;
    } else if (r == 0) {
        make_room(dir, (uint64_t)st.st_size, bytes_max);
        r = copy_into(dirfd(dir), name, fd, (uint64_t)st.st_size);
        if (r == 0 && renameat(dirfd(dir), name, dirfd(dir), hash) < 0) {
            r = -errno;
        }
        if (r != 0) {
            (void)unlinkat(dirfd(dir), name, 0);
        }
    }
    closedir(dir);
    return r;
}

static void store_run(struct offload_work *work)
{
    struct storing *s = container_of(work, struct storing, work);
    s->result = programs_store(s->dir, s->fd, s->hash, PROGRAMS_STORE_BYTES);
}

static void store_done(struct offload_work *work)
{
    struct storing *s = container_of(work, struct storing, work);
    if (s->result != 0) {
        log_warn("the program %.12s could not be stored for other nodes: %s", s->hash,
                 strerror(-s->result));
    }
    close_fd(&s->fd);
    free(s);
}

static void begin_storing(struct programs *p, const struct program *program)
{
    struct storing *s = xcalloc(1, sizeof *s);
    s->work = (struct offload_work){.run = store_run, .done = store_done};
    memcpy(s->dir, p->dir, sizeof s->dir);
    sodium_bin2hex(s->hash, sizeof s->hash, program->hash, sizeof program->hash);
    s->fd = fcntl(program->fd, F_DUPFD_CLOEXEC, 3);
    if (s->fd < 0) {
        free(s);
        return;
    }
    offload_submit(p->offload, &s->work);
}

/* ---- the table ---- */

static struct program *find(struct programs *p, uint32_t handle)
{
    LIST_FOREACH(node, &p->all)
    {
        struct program *program = list_entry(node, struct program, link);
        if (program->handle == handle) {
            return program;
        }
    }
    return NULL;
}

static void program_free(struct program *program)
{
    list_unlink(&program->link);
    close_fd(&program->fd);
    free(program);
}

/* A file with this hash is here; takes `fd`. */
static void loaded(struct programs *p, uint32_t client, int fd, const struct file_mark *mark,
                   const uint8_t hash[PROGRAMS_HASH_SIZE])
{
    struct program *program = NULL;
    LIST_FOREACH(node, &p->all)
    {
        struct program *other = list_entry(node, struct program, link);
        if (memcmp(other->hash, hash, PROGRAMS_HASH_SIZE) == 0) {
            program = other;
        }
    }
    if (program == NULL) {
        program = xcalloc(1, sizeof *program);
        program->handle = ++p->handle_last;
        memcpy(program->hash, hash, PROGRAMS_HASH_SIZE);
        list_init(&program->link);
        list_append(&p->all, &program->link);
        program->fd = fd;
        program->mark = *mark;
        begin_storing(p, program);
    } else if (!same_mark(&program->mark, mark)) {
        /* The same bytes in a younger file: the older one may be written to any time. */
        close_fd(&program->fd);
        program->fd = fd;
        program->mark = *mark;
    } else {
        close_fd(&fd);
    }
    program->uses++;
    if (!p->owner.on_loaded(p->owner.arg, client, program->handle, NULL)) {
        programs_drop(p, program->handle);
    }
}

static void refuse(struct programs *p, uint32_t client, int error)
{
    struct failure f;
    failure_set(&f, CODE_PROGRAM, "The program cannot be used for tasks: %s.",
                error == -EACCES  ? "it is no ordinary file that can be read"
                : error == -EFBIG ? "it is larger than 4 GiB"
                : error == -ESTALE
                    ? "its file was written to while it was read; build it aside and move it there"
                    : strerror(-error));
    (void)p->owner.on_loaded(p->owner.arg, client, 0, &f);
}

static void hash_run(struct offload_work *work)
{
    struct hashing *h = container_of(work, struct hashing, work);
    struct file_mark after;
    h->result = programs_hash_file(h->fd, h->hash);
    if (h->result == 0) {
        h->result = read_mark(h->fd, &after);
    }
    if (h->result == 0 && (after.size != h->mark.size || !same_time(after.mtime, h->mark.mtime))) {
        h->result = -ESTALE;
    }
}

static void hash_done(struct offload_work *work)
{
    struct hashing *h = container_of(work, struct hashing, work);
    struct programs *p = h->programs;
    if (h->result == 0) {
        struct known *known = &p->known[p->known_next];
        p->known_next = (p->known_next + 1) % KNOWN_MAX;
        p->known_count = MIN_OF(p->known_count + 1, KNOWN_MAX);
        known->mark = h->mark;
        memcpy(known->hash, h->hash, sizeof known->hash);
        loaded(p, h->client, h->fd, &h->mark, h->hash);
    } else {
        close_fd(&h->fd);
        refuse(p, h->client, h->result);
    }
    free(h);
}

void programs_load(struct programs *p, uint32_t client, int fd)
{
    struct file_mark mark;
    int r = fd < 0 ? -EACCES : read_mark(fd, &mark);
    if (r != 0) {
        close_fd(&fd);
        refuse(p, client, r);
        return;
    }
    for (uint32_t i = 0; i < p->known_count; i++) {
        if (same_mark(&p->known[i].mark, &mark)) {
            loaded(p, client, fd, &mark, p->known[i].hash);
            return;
        }
    }
    struct hashing *h = xcalloc(1, sizeof *h);
    h->work = (struct offload_work){.run = hash_run, .done = hash_done};
    h->programs = p;
    h->client = client;
    h->fd = fd;
    h->mark = mark;
    offload_submit(p->offload, &h->work);
}

void programs_drop(struct programs *p, uint32_t program)
{
    struct program *found = find(p, program);
    if (found != NULL && --found->uses == 0) {
        program_free(found);
    }
}

int programs_open(struct programs *p, uint32_t program, struct failure *ret)
{
    struct program *found = find(p, program);
    struct stat st;
    if (found == NULL) {
        failure_set(ret, CODE_PROGRAM, "The program is not here any more.");
        return -1;
    }
    /* Not the ctime: a linker that replaces the file unlinks this one, which changes nothing in it.
     */
    if (fstat(found->fd, &st) < 0 || st.st_size != found->mark.size ||
        !same_time(st.st_mtim, found->mark.mtime)) {
        failure_set(ret, CODE_PROGRAM,
                    "The program's file was written to after its driver began, so workers of it "
                    "cannot be trusted to be the same. Start the driver again.");
        return -1;
    }
    return found->fd;
}

bool programs_identity(struct programs *p, uint32_t program, uint8_t ret_hash[PROGRAMS_HASH_SIZE],
                       uint64_t *ret_size)
{
    struct program *found = find(p, program);
    if (found != NULL) {
        memcpy(ret_hash, found->hash, PROGRAMS_HASH_SIZE);
        *ret_size = (uint64_t)found->mark.size;
    }
    return found != NULL;
}

struct programs *programs_new(struct offload *o, const char *store_dir,
                              const struct programs_owner *owner)
{
    struct programs *p = xcalloc(1, sizeof *p);
    p->offload = o;
    p->owner = *owner;
    bool fits = text_copy(p->dir, sizeof p->dir, store_dir);
    ASSERT(fits);
    list_init(&p->all);
    return p;
}

void programs_free(struct programs *p)
{
    if (p == NULL) {
        return;
    }
    LIST_FOREACH_SAFE(node, &p->all)
    {
        program_free(list_entry(node, struct program, link));
    }
    free(p);
}
