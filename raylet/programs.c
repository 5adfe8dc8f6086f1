#include "raylet/programs.h"

#include <fcntl.h>
#include <unistd.h>

#include "common/list.h"
#include "common/log.h"
#include "common/place.h"
#include "common/text.h"

#define KNOWN_MAX 64u

struct program {
    uint32_t handle;
    uint32_t uses; /* answers that named it and were not dropped yet */
    uint8_t hash[PROGRAMS_HASH_SIZE];
    int fd;
    struct program_mark mark;
    struct list link;
};

/* What was hashed once, by its mark; the oldest is forgotten first. */
struct known {
    struct program_mark mark;
    uint8_t hash[PROGRAMS_HASH_SIZE];
};

struct programs {
    struct offload *offload;
    char dir[PLACE_PATH_MAX];
    struct programs_owner owner;
    uint32_t handle_last;
    bool closing;
    struct list all;
    struct known known[KNOWN_MAX];
    uint32_t known_count, known_next;
};

struct hashing {
    struct offload_work work;
    struct programs *programs;
    uint32_t client;
    int fd, result;
    struct program_mark mark;
    struct program_hasher hasher;
    uint8_t hash[PROGRAMS_HASH_SIZE];
};

enum store_task { STORE_SWEEP, STORE_TRIM, STORE_ADD };

struct storing {
    struct offload_work work;
    enum store_task task;
    char dir[PLACE_PATH_MAX];
    char hash[PROGRAMS_HEX_SIZE];
    struct program_pins pins;
    int fd, result;
};

/* ---- the store ---- */

static void store_run(struct offload_work *work)
{
    struct storing *s = container_of(work, struct storing, work);
    if (s->task == STORE_ADD) {
        s->result = program_store_add(s->dir, s->fd, s->hash, PROGRAMS_STORE_BYTES, &s->pins);
        return;
    }
    if (s->task == STORE_SWEEP) {
        program_store_sweep(s->dir);
    }
    int r = program_store_make_room(s->dir, 0, PROGRAMS_STORE_BYTES, &s->pins);
    s->result = r == -ENOBUFS ? 0 : r;
}

static void store_done(struct offload_work *work)
{
    struct storing *s = container_of(work, struct storing, work);
    if (s->result == -EFBIG) {
        log_info("the program %.12s is too large for a copy: as long as its driver lives, other "
                 "nodes get it from the driver's own file",
                 s->hash);
    } else if (s->result != 0 && s->task == STORE_ADD) {
        log_warn("the program %.12s could not be stored for other nodes: %s", s->hash,
                 strerror(-s->result));
    } else if (s->result != 0) {
        log_warn("old programs in %s were not removed: %s", s->dir, strerror(-s->result));
    }
    close_fd(&s->fd);
    program_pins_fini(&s->pins);
    free(s);
}

/* `program` is for STORE_ADD. */
static void begin_storing(struct programs *p, enum store_task task, const struct program *program)
{
    struct storing *s = xcalloc(1, sizeof *s);
    s->work = (struct offload_work){.run = store_run, .done = store_done};
    s->task = task;
    memcpy(s->dir, p->dir, sizeof s->dir);
    s->fd = -1;
    programs_pins(p, &s->pins);
    if (program != NULL) {
        program_hash_text(program->hash, s->hash);
        s->fd = fcntl(program->fd, F_DUPFD_CLOEXEC, 3);
        if (s->fd < 0) {
            program_pins_fini(&s->pins);
            free(s);
            return;
        }
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

static struct program *find_hash(struct programs *p, const uint8_t hash[PROGRAMS_HASH_SIZE])
{
    LIST_FOREACH(node, &p->all)
    {
        struct program *program = list_entry(node, struct program, link);
        if (memcmp(program->hash, hash, PROGRAMS_HASH_SIZE) == 0) {
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

/* A file with this hash is here; takes `fd`, and a use. */
static struct program *enter(struct programs *p, int fd, const struct program_mark *mark,
                             const uint8_t hash[PROGRAMS_HASH_SIZE], bool is_stored)
{
    struct program *program = find_hash(p, hash);
    if (program == NULL) {
        program = xcalloc(1, sizeof *program);
        program->handle = ++p->handle_last;
        memcpy(program->hash, hash, PROGRAMS_HASH_SIZE);
        list_init(&program->link);
        list_append(&p->all, &program->link);
        program->fd = fd;
        program->mark = *mark;
        if (!is_stored) {
            begin_storing(p, STORE_ADD, program);
        }
    } else if (is_stored ? !program_mark_holds(&program->mark, program->fd)
                         : !program_mark_same(&program->mark, mark)) {
        /* The same bytes in a younger file: the older one may be written to any time; a copy in
         * the store is not. */
        close_fd(&program->fd);
        program->fd = fd;
        program->mark = *mark;
    } else {
        close_fd(&fd);
    }
    program->uses++;
    return program;
}

static void loaded(struct programs *p, uint32_t client, int fd, const struct program_mark *mark,
                   const uint8_t hash[PROGRAMS_HASH_SIZE])
{
    struct program *program = enter(p, fd, mark, hash, false);
    if (!p->owner.on_loaded(p->owner.arg, client, program->handle, NULL)) {
        programs_drop(p, program->handle);
    }
}

static void refuse(struct programs *p, uint32_t client, int error)
{
    struct failure f;
    failure_set(
        &f, CODE_PROGRAM, "The program cannot be used for tasks: %s.",
        error == -EACCES  ? "it is not a regular file that can be read"
        : error == -EFBIG ? "it is larger than 64 GiB"
        : error == -ESTALE
            ? "its file was changed while it was read. Build it elsewhere and move it into place"
            : strerror(-error));
    (void)p->owner.on_loaded(p->owner.arg, client, 0, &f);
}

static void hash_run(struct offload_work *work)
{
    struct hashing *h = container_of(work, struct hashing, work);
    h->result = program_hasher_step(&h->hasher, h->fd, h->hash);
    if (h->result == 0 && !program_mark_confirm(&h->mark, h->fd)) {
        h->result = -ESTALE;
    }
}

static void remember(struct programs *p, const struct program_mark *mark,
                     const uint8_t hash[PROGRAMS_HASH_SIZE])
{
    struct known *known = &p->known[p->known_next];
    p->known_next = (p->known_next + 1) % KNOWN_MAX;
    p->known_count = MIN_OF(p->known_count + 1, KNOWN_MAX);
    known->mark = *mark;
    memcpy(known->hash, hash, sizeof known->hash);
}

/* What a file with this mark was hashed to; NULL: not known. */
static const uint8_t *hash_of(const struct programs *p, const struct program_mark *mark)
{
    for (uint32_t i = 0; i < p->known_count; i++) {
        if (program_mark_same(&p->known[i].mark, mark)) {
            return p->known[i].hash;
        }
    }
    return NULL;
}

static void hash_done(struct offload_work *work)
{
    struct hashing *h = container_of(work, struct hashing, work);
    struct programs *p = h->programs;
    bool is_wanted =
        !p->closing && (p->owner.is_wanted == NULL || p->owner.is_wanted(p->owner.arg, h->client));
    if (h->result > 0 && is_wanted) {
        offload_submit(p->offload, &h->work); /* behind what others want of the thread */
        return;
    }
    if (h->result > 0) {
        close_fd(&h->fd);
    } else if (h->result == 0) {
        remember(p, &h->mark, h->hash);
        loaded(p, h->client, h->fd, &h->mark, h->hash);
    } else {
        close_fd(&h->fd);
        refuse(p, h->client, h->result);
    }
    free(h);
}

void programs_load(struct programs *p, uint32_t client, int fd)
{
    struct program_mark mark;
    int r = fd < 0 ? -EACCES : program_mark_read(fd, &mark);
    if (r != 0) {
        close_fd(&fd);
        refuse(p, client, r);
        return;
    }
    const uint8_t *hash = hash_of(p, &mark);
    if (hash != NULL) {
        loaded(p, client, fd, &mark, hash);
        return;
    }
    struct hashing *h = xcalloc(1, sizeof *h);
    h->work = (struct offload_work){.run = hash_run, .done = hash_done};
    h->programs = p;
    h->client = client;
    h->fd = fd;
    h->mark = mark;
    program_hasher_init(&h->hasher);
    offload_submit(p->offload, &h->work);
}

void programs_drop(struct programs *p, uint32_t program)
{
    struct program *found = find(p, program);
    if (found != NULL && --found->uses == 0) {
        bool is_large = (uint64_t)found->mark.size > PROGRAMS_STORE_BYTES;
        program_free(found);
        if (is_large && !p->closing) {
            begin_storing(p, STORE_TRIM, NULL);
        }
    }
}

/* ---- for other nodes, and from them ---- */

static struct program *find_usable(struct programs *p, const uint8_t hash[PROGRAMS_HASH_SIZE])
{
    struct program *found = find_hash(p, hash);
    return found != NULL && program_mark_holds(&found->mark, found->fd) ? found : NULL;
}

uint32_t programs_take(struct programs *p, const uint8_t hash[PROGRAMS_HASH_SIZE])
{
    struct program *found = find_usable(p, hash);
    if (found == NULL) {
        return 0;
    }
    found->uses++;
    return found->handle;
}

uint32_t programs_adopt(struct programs *p, int fd, const uint8_t hash[PROGRAMS_HASH_SIZE])
{
    struct program_mark mark; /* now: a copy that was stored again is touched */
    if (program_mark_read(fd, &mark) != 0) {
        close_fd(&fd);
        return 0;
    }
    if (hash_of(p, &mark) == NULL) {
        remember(p, &mark, hash);
    }
    return enter(p, fd, &mark, hash, true)->handle;
}

bool programs_known(const struct programs *p, const struct program_mark *mark,
                    const uint8_t hash[PROGRAMS_HASH_SIZE])
{
    const uint8_t *known = hash_of(p, mark);
    return known != NULL && memcmp(known, hash, PROGRAMS_HASH_SIZE) == 0;
}

int programs_reopen(struct programs *p, const uint8_t hash[PROGRAMS_HASH_SIZE])
{
    struct program *found = find_usable(p, hash);
    int fd = found != NULL ? fcntl(found->fd, F_DUPFD_CLOEXEC, 3) : -1;
    return found == NULL ? -ENOENT : fd < 0 ? -errno : fd;
}

void programs_pins(const struct programs *p, struct program_pins *ret)
{
    size_t count = 0;
    LIST_FOREACH(node, &p->all)
    {
        count++;
    }
    *ret = (struct program_pins){.names = xcalloc(count + 1, sizeof *ret->names)};
    LIST_FOREACH(node, &p->all)
    {
        program_hash_text(list_entry(node, struct program, link)->hash, ret->names[ret->count++]);
    }
}

/* ---- asking ---- */

int programs_open(struct programs *p, uint32_t program, struct failure *ret)
{
    struct program *found = find(p, program);
    if (found == NULL) {
        failure_set(ret, CODE_PROGRAM, "The program is no longer here.");
        return -1;
    }
    if (!program_mark_holds(&found->mark, found->fd)) {
        failure_set(ret, CODE_PROGRAM,
                    "The program's file was changed after its driver started, so new workers would "
                    "not run the same program. Start the driver again.");
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

const char *programs_dir(const struct programs *p)
{
    return p->dir;
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
    begin_storing(p, STORE_SWEEP, NULL);
    return p;
}

void programs_close(struct programs *p)
{
    p->closing = true;
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
