#include "raylet/fetch.h"

#include <inttypes.h>

#include "common/clock.h"
#include "common/list.h"
#include "common/log.h"
#include "raylet/fetch_file.h"

enum pull_state {
    PULL_LOOKING = 1, /* is it stored here? */
    PULL_PULLING,     /* a file is being filled, from `source` (0: nobody, it rests) */
    PULL_FINISHING,   /* all is written: verify, rename */
};

struct waiter {
    uint64_t job;
    uint32_t peer; /* that announced it; 0: its session has ended */
    struct list link;
};

struct pull {
    struct fetch *fetch;
    enum pull_state state;
    struct list waiters;
    uint32_t source, source_last;
    bool mixed;                     /* parts of more than one node are in it */
    uint64_t asked, taken, written; /* bytes: asked for, received in order, on disk */
    uint64_t deadline_ns;           /* for the next part; NS_FOREVER: none is awaited */
    unsigned works;                 /* given to the thread and not back */
    uint64_t free_bytes;            /* of the disk, when it was last looked at */
    bool is_open;                   /* its temporary file is there */
    bool over;                      /* nobody waits: freed with the last work */
    struct fetch_file file;         /* the thread's while a work is under way; its name, hash and
                                       size never change */
    struct list link;
};

struct fetch {
    struct fetch_config config;
    struct list pulls;
    uint32_t file_last;
    bool closing;
};

enum step { STEP_LOOK, STEP_VERIFY, STEP_OPEN, STEP_WRITE, STEP_FINISH, STEP_REMOVE };

/* One order to the thread. */
struct step_work {
    struct offload_work work;
    struct pull *pull;
    enum step step;
    struct program_pins pins; /* STEP_OPEN */
    uint8_t *data;            /* STEP_WRITE, owned */
    size_t size;
    int result, fd;
    struct program_mark mark; /* STEP_LOOK */
    uint64_t free_bytes;      /* STEP_OPEN, of the disk */
};

/* ---- on the thread ---- */

static void step_run(struct offload_work *work)
{
    struct step_work *w = container_of(work, struct step_work, work);
    struct fetch_file *file = &w->pull->file;
    const struct fetch_config *config = &w->pull->fetch->config;
    switch (w->step) {
    case STEP_LOOK:
        w->result = fetch_file_look(file, &w->fd, &w->mark);
        break;
    case STEP_VERIFY:
        w->result = fetch_file_verify(file, w->fd);
        break;
    case STEP_OPEN:
        w->result = fetch_file_open(file, config->store_bytes_max, config->spare_bytes, &w->pins,
                                    &w->free_bytes);
        break;
    case STEP_WRITE:
        w->result = fetch_file_write(file, w->data, w->size);
        break;
    case STEP_FINISH:
        w->result = fetch_file_finish(file, &w->fd);
        break;
    case STEP_REMOVE:
        fetch_file_fini(file);
        break;
    }
}

/* ---- on the loop's thread ---- */

static void step_done(struct offload_work *work);

static struct step_work *give(struct pull *p, enum step step)
{
    struct step_work *w = xcalloc(1, sizeof *w);
    w->work = (struct offload_work){.run = step_run, .done = step_done};
    w->pull = p;
    w->step = step;
    w->fd = -1;
    if (step == STEP_OPEN) {
        programs_pins(p->fetch->config.programs, &w->pins);
    }
    p->works++;
    return w;
}

static void submit(struct step_work *w)
{
    offload_submit(w->pull->fetch->config.offload, &w->work);
}

static void pull_free(struct pull *p)
{
    ASSERT(p->works == 0);
    LIST_FOREACH_SAFE(node, &p->waiters)
    {
        struct waiter *w = list_entry(node, struct waiter, link);
        list_unlink(&w->link);
        free(w);
    }
    list_unlink(&p->link);
    fetch_file_fini(&p->file);
    free(p);
}

/* Nothing more comes of it: the file goes, and it with the last work. A new one may begin. */
static void drop(struct pull *p)
{
    p->over = true;
    p->source = 0;
    p->deadline_ns = NS_FOREVER;
    list_unlink(&p->link);
    if (p->is_open) {
        submit(give(p, STEP_REMOVE));
    } else if (p->works == 0) {
        pull_free(p);
    }
}

static void tell(struct pull *p, struct waiter *w, uint32_t program, const struct failure *f)
{
    uint64_t job = w->job;
    list_unlink(&w->link);
    free(w);
    p->fetch->config.on_fetched(p->fetch->config.arg, job, program, f);
}

static void ask_more(struct pull *p, uint64_t now_ns)
{
    const struct fetch_config *config = &p->fetch->config;
    bool asked = false;
    while (p->source != 0 && p->asked < p->file.size &&
           p->asked - p->written < FETCH_AHEAD * (uint64_t)GIVER_PART_BYTES) {
        struct peer_msg m = {.type = PEER_PROGRAM_GET};
        m.program_get.hash = bytes_of(p->file.hash, sizeof p->file.hash);
        m.program_get.offset = p->asked;
        p->asked = MIN_OF(p->asked + GIVER_PART_BYTES, p->file.size);
        config->send(config->arg, p->source, &m);
        asked = true;
    }
    if (asked) {
        p->deadline_ns = ns_add(now_ns, FETCH_SILENCE_NS);
    }
}

/* Who may give it now: asked from what came last. Nobody: it rests. */
static void choose_source(struct pull *p, uint64_t now_ns)
{
    p->source = 0;
    p->deadline_ns = NS_FOREVER;
    LIST_FOREACH(node, &p->waiters)
    {
        const struct waiter *w = list_entry(node, struct waiter, link);
        if (w->peer != 0) {
            p->source = w->peer;
            break;
        }
    }
    if (p->source != 0) {
        p->mixed = p->mixed || (p->taken > 0 && p->source != p->source_last);
        p->source_last = p->source;
    }
    p->asked = p->taken;
    ask_more(p, now_ns);
}

static struct pull *begin(struct fetch *f, const uint8_t hash[PROGRAMS_HASH_SIZE], uint64_t size)
{
    struct pull *p = xcalloc(1, sizeof *p);
    p->fetch = f;
    p->state = PULL_LOOKING;
    p->deadline_ns = NS_FOREVER;
    fetch_file_init(&p->file, programs_dir(f->config.programs), hash, size, ++f->file_last);
    list_init(&p->waiters);
    list_init(&p->link);
    list_append(&f->pulls, &p->link);
    submit(give(p, STEP_LOOK));
    return p;
}

/* Those who are left begin anew with an empty file. */
static void begin_again(struct pull *p)
{
    struct pull *next = begin(p->fetch, p->file.hash, p->file.size);
    LIST_FOREACH_SAFE(node, &p->waiters)
    {
        list_unlink(node);
        list_append(&next->waiters, node);
    }
    drop(p);
}

/* Ends for those who wait for this peer (0: for all). What is left of it goes on with another. */
static void fail(struct pull *p, uint64_t now_ns, uint32_t peer, const struct failure *f)
{
    log_warn("the program %.12s was not fetched: %s", p->file.name, f->message);
    LIST_FOREACH_SAFE(node, &p->waiters)
    {
        struct waiter *w = list_entry(node, struct waiter, link);
        if (peer == 0 || w->peer == peer) {
            tell(p, w, 0, f);
        }
    }
    if (list_is_empty(&p->waiters)) {
        drop(p);
    } else if (p->source == peer) {
        choose_source(p, now_ns);
    }
}

/* This node cannot keep it: nobody else's copy would help. */
static void fail_here(struct pull *p, int error)
{
    struct failure f;
    if (error == -ENOSPC) {
        failure_set(&f, CODE_PROGRAM,
                    "node \"%s\" has no room for the program %.12s: it takes %" PRIu64
                    " MiB, and the disk of %s has only %" PRIu64 " MiB",
                    p->fetch->config.node_name, p->file.name, (p->file.size >> 20) + 1, p->file.dir,
                    p->free_bytes >> 20);
    } else {
        failure_set(&f, CODE_PROGRAM, "node \"%s\" cannot store the program %.12s: %s",
                    p->fetch->config.node_name, p->file.name, strerror(-error));
    }
    fail(p, 0, 0, &f);
}

static void arrived(struct pull *p, int fd)
{
    struct programs *programs = p->fetch->config.programs;
    uint32_t program = programs_adopt(programs, fd, p->file.hash);
    if (program == 0) {
        fail_here(p, -EIO);
        return;
    }
    while (!list_is_empty(&p->waiters)) {
        uint32_t one = programs_take(programs, p->file.hash); /* a use for each */
        tell(p, list_entry(list_first(&p->waiters), struct waiter, link), one, NULL);
    }
    programs_drop(programs, program);
    p->is_open = false;
    drop(p);
}

/* The bytes are not those of the hash. Whoever gave all of them has no good copy; others may. */
static void differs(struct pull *p)
{
    struct failure f;
    failure_set(&f, CODE_PROGRAM,
                "the program %.12s arrived damaged on node \"%s\" from node number %" PRIu32
                " (its SHA-256 differs): start the driver again, and check the disk of that node",
                p->file.name, p->fetch->config.node_name, p->source_last);
    log_warn("%s", f.message);
    LIST_FOREACH_SAFE(node, &p->waiters)
    {
        struct waiter *w = list_entry(node, struct waiter, link);
        if (!p->mixed && w->peer == p->source_last) {
            tell(p, w, 0, &f);
        }
    }
    if (list_is_empty(&p->waiters)) {
        drop(p);
    } else {
        begin_again(p);
    }
}

static void finished(struct pull *p, struct step_work *w)
{
    if (w->result == 0) {
        log_info("the program %.12s was fetched: %" PRIu64 " bytes", p->file.name, p->file.size);
        arrived(p, w->fd);
        w->fd = -1;
    } else if (w->result == -EBADMSG) {
        differs(p);
    } else {
        fail_here(p, w->result);
    }
}

static void looked(struct pull *p, struct step_work *w)
{
    bool is_known =
        w->step == STEP_VERIFY || programs_known(p->fetch->config.programs, &w->mark, p->file.hash);
    if (w->result == 0 && is_known) {
        arrived(p, w->fd);
        w->fd = -1;
        return;
    }
    if (w->result == 0) {
        struct step_work *next = give(p, STEP_VERIFY);
        next->fd = w->fd;
        w->fd = -1;
        submit(next);
        return;
    }
    if (w->result != -ENOENT) {
        log_warn("the stored copy of the program %.12s is damaged (%s): fetched again",
                 p->file.name, strerror(-w->result));
    }
    p->is_open = true; /* from when it may be there */
    submit(give(p, STEP_OPEN));
}

static void written(struct pull *p, size_t size, uint64_t now_ns)
{
    p->written += size;
    if (p->written == p->file.size) {
        p->state = PULL_FINISHING;
        p->deadline_ns = NS_FOREVER;
        submit(give(p, STEP_FINISH));
    } else {
        ask_more(p, now_ns);
    }
}

static void step_done(struct offload_work *work)
{
    struct step_work *w = container_of(work, struct step_work, work);
    struct pull *p = w->pull;
    uint64_t now_ns = clock_now_ns();
    p->works--;
    if (w->step == STEP_VERIFY && w->result > 0 && !p->over && !p->fetch->closing) {
        p->works++;
        submit(w); /* behind what others want of the thread */
        return;
    }
    if (w->result > 0) {
        p->over = p->over || p->fetch->closing; /* and nobody asks for it any more */
    }
    if (p->over) {
        if (p->works == 0) {
            pull_free(p);
        }
    } else if (w->step == STEP_LOOK || w->step == STEP_VERIFY) {
        looked(p, w);
    } else if (w->step == STEP_FINISH) {
        finished(p, w);
    } else if (w->result != 0) {
        p->free_bytes = w->step == STEP_OPEN ? w->free_bytes : 0;
        fail_here(p, w->result);
    } else if (w->step == STEP_OPEN) {
        p->state = PULL_PULLING;
        choose_source(p, now_ns);
    } else if (w->step == STEP_WRITE) {
        written(p, w->size, now_ns);
    }
    close_fd(&w->fd);
    program_pins_fini(&w->pins);
    free(w->data);
    free(w);
}

/* ---- orders and messages ---- */

static struct pull *find(struct fetch *f, const uint8_t hash[PROGRAMS_HASH_SIZE])
{
    LIST_FOREACH(node, &f->pulls)
    {
        struct pull *p = list_entry(node, struct pull, link);
        if (memcmp(p->file.hash, hash, PROGRAMS_HASH_SIZE) == 0) {
            return p;
        }
    }
    return NULL;
}

static struct waiter *find_waiter(struct fetch *f, uint64_t job, struct pull **ret_pull)
{
    LIST_FOREACH(at, &f->pulls)
    {
        struct pull *p = list_entry(at, struct pull, link);
        LIST_FOREACH(node, &p->waiters)
        {
            struct waiter *w = list_entry(node, struct waiter, link);
            if (w->job == job) {
                *ret_pull = p;
                return w;
            }
        }
    }
    return NULL;
}

void fetch_stop(struct fetch *f, uint64_t job)
{
    struct pull *p = NULL;
    struct waiter *w = find_waiter(f, job, &p);
    if (w == NULL) {
        return;
    }
    list_unlink(&w->link);
    free(w);
    if (list_is_empty(&p->waiters)) {
        drop(p);
    }
}

void fetch_order(struct fetch *f, uint64_t now_ns, uint32_t peer, uint64_t job,
                 const uint8_t hash[PROGRAMS_HASH_SIZE], uint64_t bytes)
{
    fetch_stop(f, job); /* it may have waited for the same from another peer */
    uint32_t program = programs_take(f->config.programs, hash);
    if (program != 0) {
        f->config.on_fetched(f->config.arg, job, program, NULL);
        return;
    }
    struct pull *p = find(f, hash);
    if (bytes == 0 || bytes > PROGRAMS_SIZE_MAX || (p != NULL && p->file.size != bytes)) {
        struct failure failure;
        failure_set(&failure, CODE_PROGRAM,
                    "node number %" PRIu32 " announced a program of %" PRIu64
                    " bytes, which cannot be right",
                    peer, bytes);
        f->config.on_fetched(f->config.arg, job, 0, &failure);
        return;
    }
    if (p == NULL) {
        p = begin(f, hash, bytes);
    }
    struct waiter *w = xcalloc(1, sizeof *w);
    w->job = job;
    w->peer = peer;
    list_append(&p->waiters, &w->link);
    if (p->state == PULL_PULLING && p->source == 0) {
        choose_source(p, now_ns);
    }
}

static bool fits(const struct pull *p, const struct peer_msg *m)
{
    return m->program_part.total == p->file.size &&
           m->payload.size == MIN_OF(p->file.size - p->taken, (uint64_t)GIVER_PART_BYTES);
}

void fetch_part(struct fetch *f, uint64_t now_ns, uint32_t peer, const struct peer_msg *m)
{
    struct pull *p =
        m->program_part.hash.size == PROGRAMS_HASH_SIZE ? find(f, m->program_part.hash.data) : NULL;
    if (p == NULL || p->state != PULL_PULLING || p->source != peer) {
        return; /* of an order that is over */
    }
    if (m->program_part.failure.code != 0) {
        struct failure failure = m->program_part.failure;
        failure.code = CODE_PROGRAM;
        fail(p, now_ns, peer, &failure);
        return;
    }
    if (m->program_part.offset != p->taken || p->taken == p->asked) {
        return; /* asked for by a fetch before this one */
    }
    if (!fits(p, m)) {
        struct failure failure;
        failure_set(&failure, CODE_PROGRAM,
                    "node number %" PRIu32
                    " sent a part of the program %.12s that does not fit: the file was changed "
                    "meanwhile, or the node's version of drt differs from that of node \"%s\"",
                    peer, p->file.name, f->config.node_name);
        fail(p, now_ns, peer, &failure);
        return;
    }
    p->taken += m->payload.size;
    p->deadline_ns = p->taken < p->asked ? ns_add(now_ns, FETCH_SILENCE_NS) : NS_FOREVER;
    struct step_work *w = give(p, STEP_WRITE);
    w->size = m->payload.size;
    w->data = xmalloc(w->size);
    memcpy(w->data, m->payload.data, w->size);
    submit(w);
}

void fetch_down(struct fetch *f, uint64_t now_ns, uint32_t peer)
{
    LIST_FOREACH(at, &f->pulls)
    {
        struct pull *p = list_entry(at, struct pull, link);
        LIST_FOREACH(node, &p->waiters)
        {
            struct waiter *w = list_entry(node, struct waiter, link);
            w->peer = w->peer == peer ? 0 : w->peer;
        }
        if (p->state == PULL_PULLING && p->source == peer) {
            choose_source(p, now_ns);
        }
    }
}

/* ---- time ---- */

uint64_t fetch_next_ns(const struct fetch *f)
{
    uint64_t next_ns = NS_FOREVER;
    for (const struct list *at = f->pulls.next; at != &f->pulls; at = at->next) {
        next_ns = MIN_OF(next_ns, list_entry(at, const struct pull, link)->deadline_ns);
    }
    return next_ns;
}

void fetch_tick(struct fetch *f, uint64_t now_ns)
{
    LIST_FOREACH_SAFE(at, &f->pulls)
    {
        struct pull *p = list_entry(at, struct pull, link);
        if (now_ns < p->deadline_ns) {
            continue;
        }
        struct failure failure;
        failure_set(
            &failure, CODE_PROGRAM,
            "node number %" PRIu32
            " did not send the program %.12s to node \"%s\": no part of it arrived for %u s",
            p->source, p->file.name, f->config.node_name, (unsigned)(FETCH_SILENCE_NS / NS_PER_S));
        fail(p, now_ns, p->source, &failure);
    }
}

void fetch_count(const struct fetch *f, struct fetch_counts *ret)
{
    *ret = (struct fetch_counts){0};
    for (const struct list *at = f->pulls.next; at != &f->pulls; at = at->next) {
        const struct pull *p = list_entry(at, const struct pull, link);
        ret->fetches++;
        for (const struct list *node = p->waiters.next; node != &p->waiters; node = node->next) {
            ret->waiting++;
        }
    }
}

struct fetch *fetch_new(const struct fetch_config *config)
{
    struct fetch *f = xcalloc(1, sizeof *f);
    f->config = *config;
    if (f->config.store_bytes_max == 0) {
        f->config.store_bytes_max = PROGRAMS_STORE_BYTES;
    }
    if (f->config.spare_bytes == 0) {
        f->config.spare_bytes = PROGRAMS_SPARE_BYTES;
    }
    list_init(&f->pulls);
    return f;
}

void fetch_close(struct fetch *f)
{
    f->closing = true;
}

void fetch_free(struct fetch *f)
{
    if (f == NULL) {
        return;
    }
    LIST_FOREACH_SAFE(at, &f->pulls)
    {
        pull_free(list_entry(at, struct pull, link));
    }
    free(f);
}
