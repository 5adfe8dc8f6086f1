#include "tests/sim/sim_world.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

void sim_world_init(struct sim_world *w, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    w->seed = seed;
}

void sim_world_fini(struct sim_world *w)
{
    free(w->watched);
    struct sim_fact *f, *next;
    struct sim_life *l, *after;
    struct sim_job *j, *later;

    HASH_ITER(hh, w->facts, f, next)
    {
        HASH_DEL(w->facts, f);
        free(f);
    }
    HASH_ITER(hh, w->jobs_over, j, later)
    {
        HASH_DEL(w->jobs_over, j);
        free(j);
    }
    HASH_ITER(hh, w->lives, l, after)
    {
        HASH_DEL(w->lives, l);
        free(l);
    }
}

void sim_breach(struct sim_world *w, const char *format, ...)
{
    va_list args;

    printf("seed %llu at %.6f s: ", (unsigned long long)w->seed, (double)w->now_ns / 1e9);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    fflush(stdout);
    _exit(1);
}

void sim_tell(const struct sim_world *w, struct object_id id, const char *format, ...)
{
    va_list args;

    if (w->about.number == 0 || !object_id_equal(w->about, id)) {
        return;
    }
    printf("  %.6f s: ", (double)w->now_ns / 1e9);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

uint64_t sim_hash(struct bytes b)
{
    const uint8_t *at = b.data;
    uint64_t hash = 0xcbf29ce484222325ull;

    for (size_t i = 0; i < b.size; i++) {
        hash = (hash ^ at[i]) * 0x100000001b3ull;
    }
    return hash;
}

/* ---- objects ---- */

struct sim_fact *sim_fact(struct sim_world *w, struct object_id id)
{
    struct sim_fact *f;

    HASH_FIND(hh, w->facts, &id, sizeof id, f);
    return f;
}

struct sim_fact *sim_fact_new(struct sim_world *w, struct object_id id, uint64_t expected,
                              bool known)
{
    struct sim_fact *f = xcalloc(1, sizeof *f);

    f->id = f->task = id;
    f->expected = expected;
    f->known = known;
    f->made_ns = w->now_ns;
    HASH_ADD(hh, w->facts, id, sizeof f->id, f);
    sim_tell(w, id, "is made");
    return f;
}

void sim_watch(struct sim_world *w, struct sim_fact *f, struct sim_wish wish)
{
    f->wish = wish;
    if (!w->cycles || f->watched) {
        return;
    }
    if (w->watched_count == w->watched_room) {
        w->watched_room = 2 * w->watched_room + 64;
        w->watched = xrealloc(w->watched, w->watched_room * sizeof(struct sim_fact *));
    }
    w->watched[w->watched_count++] = f;
    w->new_waits = true;
    f->watched = true;
}

uint64_t sim_settled_ns(const struct sim_fact *f)
{
    bool was_put = f->tries == 0 && f->returned_count > 0;

    return was_put ? f->made_ns : f->seen ? f->seen_ns : UINT64_MAX;
}

void sim_charged(struct sim_world *w, struct object_id task, uint32_t attempt)
{
    struct sim_fact *f = sim_fact(w, task);

    if (f != NULL) {
        f->charged = MAX_OF(f->charged, attempt);
    }
}

void sim_sends(struct sim_world *w, struct object_id task, uint32_t attempt)
{
    const struct sim_fact *f = sim_fact(w, task);
    char text[ID_TEXT_SIZE];

    if (f != NULL && attempt <= f->charged) {
        sim_breach(w, "attempt %u of %s had begun and was lost, and is made again", attempt,
                   object_id_format(task, text));
    }
}

void sim_begins(struct sim_world *w, struct object_id task, uint32_t attempt, uint32_t node)
{
    struct sim_fact *f = sim_fact(w, task);
    char text[ID_TEXT_SIZE];

    if (f == NULL) {
        sim_breach(w, "a body of %s begins, which nobody submitted", object_id_format(task, text));
    }
    f->begun++;
    sim_tell(w, task, "a body begins, attempt %u", attempt);
    w->counts.bodies++;
    if (f->once && f->begun > 1) {
        sim_breach(w, "%s shall run at most once and begins again, attempt %u",
                   object_id_format(task, text), attempt);
    }
    if (attempt == 0 || attempt > f->tries) {
        sim_breach(w, "%s begins with attempt %u of %u", object_id_format(task, text), attempt,
                   f->tries);
    }
    if (node == task.node) {
        sim_sends(w, task, attempt);
    }
    if (f->orphan_ns != 0 && f->orphan_ns < w->now_ns && node == task.node) {
        sim_breach(w, "%s begins, whose parent's attempt died, and nobody else knows of it",
                   object_id_format(task, text));
    }
    if (f->begun > f->tries + SIM_FREE_TRIES) {
        sim_breach(w, "%s begins for the %u. time, with %u attempts", object_id_format(task, text),
                   f->begun, f->tries);
    }
}

void sim_returned(struct sim_world *w, struct object_id id, uint64_t hash)
{
    struct sim_fact *f = sim_fact(w, id);

    ASSERT(f != NULL);
    sim_tell(w, id, "a body returns, or it is put");
    for (uint32_t i = 0; i < f->returned_count; i++) {
        if (f->returned[i] == hash) {
            return;
        }
    }
    if (f->returned_count < SIM_RETURNED_MAX) {
        f->returned[f->returned_count++] = hash;
    }
}

/* What a borrower may hear instead of what the owner says. */
static bool is_of_the_way(uint32_t code)
{
    return code == CODE_UNREACHABLE || code == CODE_OWNER_LOST || code == CODE_NOT_FOUND;
}

static void check_value(struct sim_world *w, const struct sim_fact *f, struct bytes value,
                        uint64_t hash)
{
    char text[ID_TEXT_SIZE];
    uint64_t word = 0;
    bool returned = f->followed;

    memcpy(&word, value.data, MIN_OF(value.size, 8));
    if (f->known && word != f->expected) {
        sim_breach(w, "%s is %llu and must be %llu", object_id_format(f->id, text),
                   (unsigned long long)word, (unsigned long long)f->expected);
    }
    for (uint32_t i = 0; i < f->returned_count; i++) {
        returned = returned || f->returned[i] == hash;
    }
    if (!returned) {
        sim_breach(w, "%s has a value that no body returned", object_id_format(f->id, text));
    }
}

/* A word and references; what is behind that only makes it longer. */
static struct bytes meant(struct bytes value)
{
    size_t behind = value.size < 8 ? 0 : (value.size - 8) % sizeof(struct object_id);

    return bytes_of(value.data, value.size - behind);
}

void sim_seen(struct sim_world *w, struct object_id id, uint32_t code, struct bytes value)
{
    struct sim_fact *f = sim_fact(w, id);
    uint64_t hash = code == 0 ? sim_hash(meant(value)) : 0;
    char text[ID_TEXT_SIZE];

    w->counts.values += code == 0;
    w->counts.errors += code != 0;
    w->counts.codes[MIN_OF(code, ARRAY_SIZE(w->counts.codes) - 1)]++;
    if (f == NULL || (code != 0 && is_of_the_way(code))) {
        return;
    }
    if (!f->seen) {
        if (code == 0) {
            check_value(w, f, value, hash);
        }
        f->seen = true;
        f->seen_ns = w->now_ns;
        f->code = code;
        f->seen_hash = hash;
        return;
    }
    if (f->code != code) {
        sim_breach(w, "%s was seen as %s and now as %s", object_id_format(id, text),
                   code_name((int)f->code), code_name((int)code));
    }
    if (f->seen_hash != hash) {
        sim_breach(w, "%s was seen with two values", object_id_format(id, text));
    }
}

/* ---- lives ---- */

static struct sim_life *life_of(struct sim_world *w, uint32_t number)
{
    struct sim_life *l;

    HASH_FIND(hh, w->lives, &number, sizeof number, l);
    return l;
}

void sim_life_begins(struct sim_world *w, uint32_t number, int node)
{
    struct sim_life *l = life_of(w, number);

    if (l != NULL && (l->to_ns != UINT64_MAX || l->node != node)) {
        sim_breach(w, "node number %u is given twice", number);
    }
    if (l == NULL) {
        l = xcalloc(1, sizeof *l);
        *l = (struct sim_life){
            .number = number, .node = node, .from_ns = w->now_ns, .to_ns = UINT64_MAX};
        HASH_ADD(hh, w->lives, number, sizeof l->number, l);
    }
}

void sim_life_ends(struct sim_world *w, uint32_t number)
{
    struct sim_life *l = life_of(w, number);

    if (l != NULL) {
        l->to_ns = w->now_ns;
    }
}

void sim_life_leaves(struct sim_world *w, uint32_t number)
{
    struct sim_life *l = life_of(w, number);

    if (l != NULL) {
        l->left = true;
    }
}

bool sim_is_over(struct sim_world *w, uint32_t number)
{
    const struct sim_life *l = life_of(w, number);

    return l == NULL || l->left || l->to_ns != UINT64_MAX;
}

bool sim_job_is_over(struct sim_world *w, uint64_t job)
{
    struct sim_job *j;

    HASH_FIND(hh, w->jobs_over, &job, sizeof job, j);
    return j != NULL;
}

void sim_job_ends(struct sim_world *w, uint64_t job)
{
    if (job != 0 && !sim_job_is_over(w, job)) {
        struct sim_job *j = xcalloc(1, sizeof *j);
        j->number = job;
        HASH_ADD(hh, w->jobs_over, number, sizeof j->number, j);
    }
}
