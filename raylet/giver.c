#include "raylet/giver.h"

#include <unistd.h>

#include "common/clock.h"
#include "common/list.h"
#include "common/numbers.h"
#include "common/place.h"

struct question {
    uint8_t hash[PROGRAMS_HASH_SIZE];
    uint64_t offset;
};

struct waiting {
    struct question question;
    struct list link;
};

struct asker { /* a node that waits for parts, which it gets in the order in which it asked */
    uint32_t peer;
    struct list waiting; /* the first comes next */
    uint32_t count;
    bool busy; /* one is under way; only then it has no turn */
    bool gone; /* freed as soon as that one is back */
    struct list turn;
};

struct giver {
    struct giver_config config;
    unsigned reads;        /* under way */
    struct numbers askers; /* by their number */
    struct list turns;     /* of them: the first is served next */
    uint32_t waiting;      /* of all */
    uint64_t again_ns; /* after a shortage: nothing is begun before; NS_FOREVER: there was none */
    bool closed;
};

struct giving {
    struct offload_work work;
    struct giver *giver;
    struct asker *asker;
    int fd; /* negative: of the copy in the store */
    struct question question;
    uint64_t total;
    int result; /* bytes that were read; -errno */
    char dir[PLACE_PATH_MAX];
    uint8_t data[GIVER_PART_BYTES];
};

static int read_part(struct giving *g)
{
    struct program_mark mark;
    char name[PROGRAMS_HEX_SIZE];
    if (g->fd < 0) {
        program_hash_text(g->question.hash, name);
        g->fd = program_store_open(g->dir, name);
    }
    if (g->fd < 0) {
        return g->fd;
    }
    int r = program_mark_read(g->fd, &mark);
    if (r != 0) {
        return r;
    }
    g->total = (uint64_t)mark.size;
    if (g->question.offset >= g->total) {
        return -ESPIPE;
    }
    size_t wanted = MIN_OF(g->total - g->question.offset, (uint64_t)sizeof g->data), have = 0;
    while (have < wanted) {
        ssize_t n = pread(g->fd, g->data + have, wanted - have, (off_t)(g->question.offset + have));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? -errno : -ESTALE; /* it became shorter */
        }
        have += (size_t)n;
    }
    return (int)wanted;
}

static void give_run(struct offload_work *work)
{
    struct giving *g = container_of(work, struct giving, work);
    g->result = read_part(g);
}

static void refuse(struct giver *g, uint32_t peer, const struct question *q, int error)
{
    struct peer_msg m = {.type = PEER_PROGRAM_PART};
    char name[PROGRAMS_HEX_SIZE];
    program_hash_text(q->hash, name);
    m.program_part.hash = bytes_of(q->hash, sizeof q->hash);
    m.program_part.offset = q->offset;
    if (error == -ENOENT) {
        failure_set(&m.program_part.failure, CODE_PROGRAM,
                    "node \"%s\" no longer has the program %.12s, or its file was changed after "
                    "its driver started: start the driver again",
                    g->config.node_name, name);
    } else {
        failure_set(&m.program_part.failure, CODE_PROGRAM,
                    "node \"%s\" cannot send the program %.12s at byte %llu: %s",
                    g->config.node_name, name, (unsigned long long)q->offset,
                    error == -ESPIPE   ? "it is shorter"
                    : error == -ESTALE ? "its file was changed meanwhile"
                    : error == -EBUSY  ? "too many of its parts are requested at once"
                                       : strerror(-error));
    }
    g->config.send(g->config.arg, peer, &m);
}

/* ---- turns ---- */

static struct asker *asker_of(struct giver *g, uint32_t peer)
{
    struct asker *a = numbers_get(&g->askers, peer);
    if (a == NULL) {
        a = xcalloc(1, sizeof *a);
        a->peer = peer;
        list_init(&a->waiting);
        list_init(&a->turn);
        list_append(&g->turns, &a->turn);
        numbers_set(&g->askers, peer, a);
    }
    return a;
}

/* It waits for nothing any more. */
static void asker_end(struct giver *g, struct asker *a)
{
    for (struct list *node = list_pop(&a->waiting); node != NULL; node = list_pop(&a->waiting)) {
        free(list_entry(node, struct waiting, link));
    }
    g->waiting -= a->count;
    a->count = 0;
    list_unlink(&a->turn);
    numbers_remove(&g->askers, a->peer);
    a->gone = true;
    if (!a->busy) {
        free(a);
    }
}

static struct waiting *waiting_new(struct giver *g, struct asker *a, const struct question *q)
{
    struct waiting *w = xcalloc(1, sizeof *w);
    w->question = *q;
    list_init(&w->link);
    a->count++;
    g->waiting++;
    return w;
}

/* The part on which `a` waited is given, refused, or waits anew. */
static void end_turn(struct giver *g, struct asker *a)
{
    a->busy = false;
    if (a->gone) {
        free(a);
    } else if (a->count == 0) {
        asker_end(g, a);
    } else {
        list_append(&g->turns, &a->turn); /* behind all others */
    }
}

/* What others give back before long. */
static bool is_shortage(int error)
{
    return error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -EAGAIN;
}

static void wait_for_better_times(struct giver *g, struct asker *a, const struct question *q)
{
    g->again_ns = ns_add(clock_now_ns(), GIVER_AGAIN_NS);
    if (!a->gone) {
        list_prepend(&a->waiting, &waiting_new(g, a, q)->link);
    }
}

static void give_done(struct offload_work *work);

static void begin(struct giver *g, struct asker *a, const struct question *q)
{
    int fd = programs_reopen(g->config.programs, q->hash);
    if (is_shortage(fd)) {
        wait_for_better_times(g, a, q);
        end_turn(g, a);
        return;
    }
    struct giving *one = xmalloc(sizeof *one);
    one->work = (struct offload_work){.run = give_run, .done = give_done};
    one->giver = g;
    one->asker = a;
    one->question = *q;
    one->fd = fd;
    memcpy(one->dir, programs_dir(g->config.programs),
           strlen(programs_dir(g->config.programs)) + 1);
    g->reads++;
    offload_submit(g->config.offload, &one->work);
}

static void begin_some(struct giver *g)
{
    while (!list_is_empty(&g->turns) && g->reads < GIVER_READS_MAX && g->again_ns == NS_FOREVER) {
        struct asker *a = list_entry(list_pop(&g->turns), struct asker, turn);
        struct waiting *w = list_entry(list_pop(&a->waiting), struct waiting, link);
        struct question q = w->question;
        free(w);
        a->count--;
        g->waiting--;
        a->busy = true;
        begin(g, a, &q);
    }
}

static void give_done(struct offload_work *work)
{
    struct giving *one = container_of(work, struct giving, work);
    struct giver *g = one->giver;
    g->reads--;
    if (one->asker->gone) {
        /* nobody is there any more who could take it */
    } else if (is_shortage(one->result)) {
        wait_for_better_times(g, one->asker, &one->question);
    } else if (one->result < 0) {
        refuse(g, one->asker->peer, &one->question, one->result);
    } else {
        struct peer_msg m = {.type = PEER_PROGRAM_PART};
        m.program_part.hash = bytes_of(one->question.hash, sizeof one->question.hash);
        m.program_part.offset = one->question.offset;
        m.program_part.total = one->total;
        m.payload = bytes_of(one->data, (size_t)one->result);
        g->config.send(g->config.arg, one->asker->peer, &m);
    }
    end_turn(g, one->asker);
    close_fd(&one->fd);
    free(one);
    begin_some(g);
}

void giver_get(struct giver *g, uint32_t peer, const struct peer_program_get *m)
{
    struct question q = {.offset = m->offset};
    if (m->hash.size != sizeof q.hash || g->closed) {
        return; /* peer_decode lets no other hash through */
    }
    memcpy(q.hash, m->hash.data, sizeof q.hash);
    struct asker *a = asker_of(g, peer);
    if (a->count >= GIVER_WAITING_MAX) {
        refuse(g, peer, &q, -EBUSY);
        return;
    }
    list_append(&a->waiting, &waiting_new(g, a, &q)->link);
    begin_some(g);
}

void giver_down(struct giver *g, uint32_t peer)
{
    struct asker *a = numbers_get(&g->askers, peer);
    if (a != NULL) {
        asker_end(g, a);
    }
}

uint64_t giver_next_ns(const struct giver *g)
{
    return g->again_ns;
}

void giver_tick(struct giver *g, uint64_t now_ns)
{
    if (now_ns >= g->again_ns) {
        g->again_ns = NS_FOREVER;
        begin_some(g);
    }
}

void giver_count(const struct giver *g, struct giver_counts *ret)
{
    *ret = (struct giver_counts){.reads = g->reads, .waiting = g->waiting};
}

/* ---- beginning and end ---- */

struct giver *giver_new(const struct giver_config *config)
{
    struct giver *g = xcalloc(1, sizeof *g);
    g->config = *config;
    g->again_ns = NS_FOREVER;
    numbers_init(&g->askers);
    list_init(&g->turns);
    return g;
}

static bool end_one(uint64_t peer, void *value, void *arg)
{
    asker_end(arg, value);
    return true;
}

void giver_close(struct giver *g)
{
    g->closed = true;
    numbers_each(&g->askers, end_one, g);
}

void giver_free(struct giver *g)
{
    if (g == NULL) {
        return;
    }
    giver_close(g);
    ASSERT(g->reads == 0);
    numbers_fini(&g->askers);
    free(g);
}
