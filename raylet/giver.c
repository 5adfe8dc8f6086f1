#include "raylet/giver.h"

#include <unistd.h>

#include "common/place.h"

struct giver {
    struct giver_config config;
    unsigned reads; /* under way */
};

struct giving {
    struct offload_work work;
    struct giver *giver;
    uint32_t peer;
    int fd; /* -1: of the copy in the store */
    uint8_t hash[PROGRAMS_HASH_SIZE];
    uint64_t offset, total;
    int result; /* bytes that were read; -errno */
    char dir[PLACE_PATH_MAX];
    uint8_t data[GIVER_PART_BYTES];
};

static int read_part(struct giving *g)
{
    struct program_mark mark;
    char name[PROGRAMS_HEX_SIZE];
    if (g->fd < 0) {
        program_hash_text(g->hash, name);
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
    if (g->offset >= g->total) {
        return -ESPIPE;
    }
    size_t wanted = MIN_OF(g->total - g->offset, (uint64_t)sizeof g->data), have = 0;
    while (have < wanted) {
        ssize_t n = pread(g->fd, g->data + have, wanted - have, (off_t)(g->offset + have));
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

static void refuse(struct giver *g, uint32_t peer, const uint8_t hash[PROGRAMS_HASH_SIZE],
                   uint64_t offset, int error)
{
    struct peer_msg m = {.type = PEER_PROGRAM_PART};
    char name[PROGRAMS_HEX_SIZE];
    program_hash_text(hash, name);
    m.program_part.hash = bytes_of(hash, PROGRAMS_HASH_SIZE);
    m.program_part.offset = offset;
    if (error == -ENOENT) {
        failure_set(&m.program_part.failure, CODE_PROGRAM,
                    "node \"%s\" has the program %.12s no more, or its file was written to after "
                    "its driver began: start the driver again",
                    g->config.node_name, name);
    } else {
        failure_set(&m.program_part.failure, CODE_PROGRAM,
                    "node \"%s\" cannot give the program %.12s at byte %llu: %s",
                    g->config.node_name, name, (unsigned long long)offset,
                    error == -ESPIPE   ? "it is shorter"
                    : error == -ESTALE ? "its file was written to meanwhile"
                    : error == -EBUSY  ? "too many parts are asked for at once"
                                       : strerror(-error));
    }
    g->config.send(g->config.arg, peer, &m);
}

static void give_done(struct offload_work *work)
{
    struct giving *g = container_of(work, struct giving, work);
    struct giver *giver = g->giver;
    giver->reads--;
    if (g->result < 0) {
        refuse(giver, g->peer, g->hash, g->offset, g->result);
    } else {
        struct peer_msg m = {.type = PEER_PROGRAM_PART};
        m.program_part.hash = bytes_of(g->hash, PROGRAMS_HASH_SIZE);
        m.program_part.offset = g->offset;
        m.program_part.total = g->total;
        m.payload = bytes_of(g->data, (size_t)g->result);
        giver->config.send(giver->config.arg, g->peer, &m);
    }
    close_fd(&g->fd);
    free(g);
}

void giver_get(struct giver *g, uint32_t peer, const struct peer_program_get *m)
{
    if (m->hash.size != PROGRAMS_HASH_SIZE) {
        return; /* peer_decode lets none through */
    }
    if (g->reads >= GIVER_READS_MAX) {
        refuse(g, peer, m->hash.data, m->offset, -EBUSY);
        return;
    }
    struct giving *one = xmalloc(sizeof *one);
    one->work = (struct offload_work){.run = give_run, .done = give_done};
    one->giver = g;
    one->peer = peer;
    memcpy(one->hash, m->hash.data, sizeof one->hash);
    one->offset = m->offset;
    one->fd = programs_reopen(g->config.programs, one->hash);
    memcpy(one->dir, programs_dir(g->config.programs),
           strlen(programs_dir(g->config.programs)) + 1);
    g->reads++;
    offload_submit(g->config.offload, &one->work);
}

struct giver *giver_new(const struct giver_config *config)
{
    struct giver *g = xcalloc(1, sizeof *g);
    g->config = *config;
    return g;
}

void giver_free(struct giver *g)
{
    ASSERT(g == NULL || g->reads == 0);
    free(g);
}
