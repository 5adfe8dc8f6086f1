#include "head/repair.h"

#include <inttypes.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/files.h"
#include "head/core.h"
#include "head/journal.h"

#define OLD_SUFFIX ".damaged"

struct examination {
    FILE *out;
    size_t bad; /* lines */
    struct arena arena;
    struct head_record *records; /* those that make sense */
    size_t count, nodes, jobs;
    struct mark reach;
};

static void on_bad(void *arg, const char *sentence)
{
    struct examination *e = arg;
    e->bad++;
    fprintf(e->out, "  %s\n", sentence);
}

static bool is_same(const struct head_record *a, const struct head_record *b)
{
    return a->kind == b->kind && a->node.number == b->node.number && a->job.number == b->job.number;
}

static bool has_node(const struct examination *e, uint32_t number)
{
    for (size_t i = 0; i < e->count; i++) {
        if (e->records[i].kind == HEAD_RECORD_NODE && e->records[i].node.number == number) {
            return true;
        }
    }
    return false;
}

/* The head counts a job as lost that runs where no node is: so it is written. What else contradicts
 * the others is left out. */
static void on_contradiction(void *arg, const struct head_record *record, const char *why)
{
    struct examination *e = arg;
    bool is_node = record->kind == HEAD_RECORD_NODE;
    e->bad++;
    fprintf(e->out, "  %s %" PRIu64 ": %s\n", is_node ? "node" : "job",
            is_node ? record->node.number : record->job.number, why);
    for (size_t i = 0; i < e->count; i++) {
        if (!is_same(&e->records[i], record)) {
            continue;
        }
        struct head_job_row *job = is_node ? NULL : &e->records[i].job;
        if (job != NULL && job->state == HEAD_JOB_RUNNING && !has_node(e, job->node)) {
            job->state = HEAD_JOB_LOST;
            job->ended_unix_ms = clock_unix_ms();
        } else {
            memmove(&e->records[i], &e->records[i + 1], (--e->count - i) * sizeof *e->records);
        }
        return;
    }
}

/* Rows that contradict each other: as the head's core sees them. */
static void find_contradictions(struct examination *e)
{
    const struct head_config config = {.cluster = "", .address = ""};
    struct head_core *core = head_core_new(&config);
    size_t count = e->count;
    struct head_record *all = xcalloc(count + 1, sizeof *all);
    memcpy(all, e->records, count * sizeof *all);
    head_core_restore(core, all, count, on_contradiction, e);
    head_core_free(core);
    free(all);
    for (size_t i = 0; i < e->count; i++) {
        e->nodes += e->records[i].kind == HEAD_RECORD_NODE;
        e->jobs += e->records[i].kind == HEAD_RECORD_JOB;
    }
}

static void compare_mark(const struct place *place, struct examination *e)
{
    char path[PLACE_PATH_MAX];
    struct mark mark = {0};
    int r = place_path(place, "head.mark", path);
    r = r != 0 ? r : mark_read(path, &mark);
    if (r != 0) {
        e->bad++;
        fprintf(e->out, "  head.mark is %s: it is unknown whether head.db is complete\n",
                r == CODE_NOT_FOUND ? "missing" : "damaged");
        return;
    }
    if (mark.sequence > e->reach.sequence) {
        e->bad++;
        fprintf(e->out,
                "  head.db ends too early: the last %" PRIu64 " of %" PRIu64
                " groups of changes are missing\n",
                mark.sequence - e->reach.sequence, mark.sequence);
    }
    e->reach.sequence = MAX_OF(e->reach.sequence, mark.sequence);
    e->reach.node_last = MAX_OF(e->reach.node_last, mark.node_last);
    e->reach.job_last = MAX_OF(e->reach.job_last, mark.job_last);
}

static int examine(const struct place *place, const char *path, struct examination *e,
                   struct failure *f)
{
    const struct journal_reader reader = {.on_bad = on_bad, .arg = e, .salvage = true};
    struct journal *j = NULL;
    int r = journal_open_damaged(path, &j, f);
    if (r != 0) {
        return r;
    }
    fprintf(e->out, "%s\n", path);
    e->reach = journal_reach(j);
    r = journal_load(j, &reader, &e->arena, &e->records, &e->count, f);
    journal_close(j);
    if (r == 0) {
        compare_mark(place, e);
        find_contradictions(e);
        fprintf(e->out, "  %zu nodes and %zu jobs can be read\n", e->nodes, e->jobs);
    }
    return r;
}

static void examination_fini(struct examination *e)
{
    free(e->records);
    arena_fini(&e->arena);
}

int repair_check(const struct place *place, FILE *out, struct failure *f)
{
    char path[PLACE_PATH_MAX];
    CLEANUP(examination_fini) struct examination e = {.out = out};
    if (place_path(place, "head.db", path) != 0) {
        return failure_set(f, CODE_FAILED, "the path of the directory is too long");
    }
    int r = examine(place, path, &e, f);
    if (r == 0 && e.bad != 0) {
        return failure_set(f, CODE_FAILED,
                           "%s is damaged. 'drt-head repair' recovers all that can be read", path);
    }
    if (r == 0) {
        fprintf(out, "No damage was found.\n");
    }
    return r;
}

static int write_all(const char *path, const struct examination *e, struct failure *f)
{
    struct journal *j = NULL;
    int r = journal_open(path, JOURNAL_ALONE, &j, f);
    if (r != 0) {
        return r;
    }
    journal_set_reach(j, &e->reach);
    r = journal_begin(j, f);
    for (size_t i = 0; i < e->count && r == 0; i++) {
        r = e->records[i].kind == HEAD_RECORD_NUMBERS ? 0 : journal_put(j, &e->records[i], f);
    }
    r = r != 0 ? r : journal_commit(j, f);
    journal_close(j);
    return r;
}

static int move(const struct place *place, const char *from, const char *to, struct failure *f)
{
    char a[PLACE_PATH_MAX], b[PLACE_PATH_MAX];
    if (place_path(place, from, a) != 0 || place_path(place, to, b) != 0) {
        return failure_set(f, CODE_FAILED, "the path of the directory is too long");
    }
    return rename(a, b) == 0 || errno == ENOENT
               ? 0
               : failure_set(f, CODE_FAILED, "cannot rename %s to %s: %s", a, b, strerror(errno));
}

static int write_mark(const struct place *place, const struct examination *e, struct failure *f)
{
    char path[PLACE_PATH_MAX];
    CLEANUP_FD int fd = -1;
    struct mark mark = e->reach;
    mark.sequence++; /* as journal_commit has counted */
    int r = place_path(place, "head.mark", path);
    r = r != 0 ? r : mark_open(path, &fd);
    r = r != 0 ? r : mark_write(fd, &mark);
    return r == 0 ? 0 : failure_set(f, CODE_FAILED, "cannot write %s: %s", path, strerror(-r));
}

/* The new one takes the place of the old one last: until then the head starts with neither. */
static int swap(const struct place *place, const struct examination *e, struct failure *f)
{
    int r = move(place, "head.db", "head.db" OLD_SUFFIX, f);
    r = r != 0 ? r : move(place, "head.db-wal", "head.db" OLD_SUFFIX "-wal", f);
    r = r != 0 ? r : move(place, "head.db-shm", "head.db" OLD_SUFFIX "-shm", f);
    r = r != 0 ? r : write_mark(place, e, f);
    return r != 0 ? r : move(place, "head.db.new", "head.db", f);
}

int repair_run(const struct place *place, FILE *out, struct failure *f)
{
    char path[PLACE_PATH_MAX], fresh[PLACE_PATH_MAX], old[PLACE_PATH_MAX];
    CLEANUP(examination_fini) struct examination e = {.out = out};
    if (place_path(place, "head.db", path) != 0 || place_path(place, "head.db.new", fresh) != 0 ||
        place_path(place, "head.db" OLD_SUFFIX, old) != 0) {
        return failure_set(f, CODE_FAILED, "the path of the directory is too long");
    }
    int r = examine(place, path, &e, f);
    if (r != 0 || e.bad == 0) {
        fprintf(out, "%s", r == 0 ? "No damage was found; nothing was changed.\n" : "");
        return r;
    }
    if (access(old, F_OK) == 0) {
        return failure_set(f, CODE_FAILED,
                           "%s already exists, from an earlier repair. Move it away first", old);
    }
    if (unlink(fresh) != 0 && errno != ENOENT) {
        return failure_set(f, CODE_FAILED, "cannot remove %s: %s", fresh, strerror(errno));
    }
    r = write_all(fresh, &e, f);
    r = r != 0 ? r : swap(place, &e, f);
    if (r == 0) {
        fprintf(out, "Repaired. The old file is now %s. To continue, run 'drt-head start'.\n", old);
    }
    return r;
}
