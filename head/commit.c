#include "head/commit.h"

#include <unistd.h>

#include "common/log.h"
#include "common/offload.h"

struct batch {
    struct offload_work work;
    struct committer *committer;
    struct arena arena;
    struct head_record *records;
    size_t count, room;
    uint64_t record;
};

struct committer {
    struct journal *journal;
    struct offload *offload;
    struct batch *open; /* what is added goes there; NULL: nothing yet */
    void (*on_durable)(void *arg, uint64_t record);
    void *arg;
};

static void batch_free(struct batch *b)
{
    if (b != NULL) {
        arena_fini(&b->arena);
        free(b->records);
        free(b);
    }
}

static NORETURN void end_head(const struct failure *f)
{
    log_error("%s. The head stops now. When it is started again, it continues from what is on disk",
              f->message);
    _exit(EXIT_FAILURE);
}

static void write_all(struct offload_work *first, void *arg)
{
    struct committer *c = arg;
    struct failure f;
    int r = journal_begin(c->journal, &f);
    for (struct offload_work *work = first; work != NULL && r == 0; work = work->next) {
        const struct batch *b = container_of(work, struct batch, work);
        for (size_t i = 0; i < b->count && r == 0; i++) {
            r = journal_put(c->journal, &b->records[i], &f);
        }
    }
    if (r != 0 || journal_commit(c->journal, &f) != 0) {
        end_head(&f);
    }
}

static void write_one(struct offload_work *work)
{
    struct batch *b = container_of(work, struct batch, work);
    work->next = NULL;
    write_all(work, b->committer);
}

static void written(struct offload_work *work)
{
    struct batch *b = container_of(work, struct batch, work);
    b->committer->on_durable(b->committer->arg, b->record);
    batch_free(b);
}

int committer_new(struct loop *loop, struct journal *journal,
                  void (*on_durable)(void *arg, uint64_t record), void *arg, struct committer **ret)
{
    struct committer *c = xcalloc(1, sizeof *c);
    c->on_durable = on_durable;
    c->arg = arg;
    int r = offload_new(&c->offload, loop, "journal");
    if (r != 0) {
        free(c);
        return r;
    }
    c->journal = journal;
    offload_set_batch(c->offload, write_all, c);
    *ret = c;
    return 0;
}

void committer_free(struct committer *c)
{
    if (c != NULL) {
        offload_free(c->offload);
        journal_close(c->journal);
        batch_free(c->open);
        free(c);
    }
}

void committer_add(struct committer *c, const struct head_record *record)
{
    struct batch *b = c->open;
    if (b == NULL) {
        b = c->open = xcalloc(1, sizeof *b);
        b->committer = c;
        b->work.run = write_one;
        b->work.done = written;
    }
    if (b->count == b->room) {
        b->room = MAX_OF(b->room * 2, (size_t)4);
        b->records = xrealloc(b->records, b->room * sizeof *b->records);
    }
    b->records[b->count++] = head_record_copy(&b->arena, record);
}

void committer_commit(struct committer *c, uint64_t record)
{
    ASSERT(c->open != NULL);
    struct batch *b = c->open;
    c->open = NULL;
    b->record = record;
    offload_submit(c->offload, &b->work);
}
