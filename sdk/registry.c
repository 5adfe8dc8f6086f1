#include "sdk/registry.h"

#include <pthread.h>
#include <stdatomic.h>

#include "sdk/errors.h"

struct table {
    size_t count, mask;
    const struct drt_entry_ **sorted; /* by name */
    const struct drt_entry_ **by_function;
    struct table *before; /* published earlier: a reader may still look at it */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct drt_entry_ *entries;
static _Atomic(struct table *) current;
static atomic_bool stale = true;

void drt_register_(struct drt_entry_ *entry)
{
    pthread_mutex_lock(&lock);
    entry->next = entries;
    entries = entry;
    atomic_store(&stale, true);
    pthread_mutex_unlock(&lock);
}

void drt_unregister_(struct drt_entry_ *entry)
{
    pthread_mutex_lock(&lock);
    for (struct drt_entry_ **at = &entries; *at != NULL; at = &(*at)->next) {
        if (*at == entry) {
            *at = entry->next;
            break;
        }
    }
    atomic_store(&stale, true);
    pthread_mutex_unlock(&lock);
}

static int by_name(const void *a, const void *b)
{
    const struct drt_entry_ *const *x = a, *const *y = b;
    int order = strcmp((*x)->name, (*y)->name);
    return order != 0 ? order : strcmp((*x)->file, (*y)->file);
}

static size_t hash(const void *fn)
{
    return (size_t)(((uintptr_t)fn >> 4) * UINT64_C(0x9E3779B97F4A7C15) >> 32);
}

static const void *address(drt_task_fn *fn)
{
    return (const void *)(uintptr_t)fn;
}

static struct table *build(void)
{
    struct table *t = xcalloc(1, sizeof *t);
    for (struct drt_entry_ *e = entries; e != NULL; e = e->next) {
        t->count++;
    }
    t->sorted = xcalloc(t->count + 1, sizeof *t->sorted);
    t->mask = 7;
    while (t->mask < t->count * 2) {
        t->mask = t->mask * 2 + 1;
    }
    t->by_function = xcalloc(t->mask + 1, sizeof *t->by_function);
    size_t n = 0;
    for (struct drt_entry_ *e = entries; e != NULL; e = e->next) {
        t->sorted[n++] = e;
        size_t at = hash(address(e->fn)) & t->mask;
        while (t->by_function[at] != NULL) {
            at = (at + 1) & t->mask;
        }
        t->by_function[at] = e;
    }
    qsort(t->sorted, n, sizeof *t->sorted, by_name);
    return t;
}

static const struct table *table(void)
{
    if (UNLIKELY(atomic_load_explicit(&stale, memory_order_acquire))) {
        pthread_mutex_lock(&lock);
        if (atomic_load(&stale)) {
            struct table *t = build();
            t->before = atomic_load(&current);
            atomic_store(&current, t);
            atomic_store(&stale, false);
        }
        pthread_mutex_unlock(&lock);
    }
    return atomic_load_explicit(&current, memory_order_acquire);
}

int registry_check(void)
{
    const struct table *t = table();
    for (size_t i = 0; i < t->count; i++) {
        const struct drt_entry_ *e = t->sorted[i];
        if (strlen(e->name) > REGISTRY_NAME_MAX ||
            strlen((const char *)e->kinds) > REGISTRY_KINDS_MAX) {
            return error_set(-EINVAL,
                             "%s:%u: task %.40s...: a name has at most %u characters, and a task "
                             "at most %u kinds",
                             e->file, (unsigned)e->line, e->name, REGISTRY_NAME_MAX,
                             REGISTRY_KINDS_MAX);
        }
        if (i > 0 && strcmp(t->sorted[i - 1]->name, e->name) == 0) {
            const struct drt_entry_ *other = t->sorted[i - 1];
            return error_set(DRT_E_EXISTS,
                             "two tasks are named %s, in %s:%u and in %s:%u; names are unique in a "
                             "program: rename one",
                             e->name, other->file, (unsigned)other->line, e->file,
                             (unsigned)e->line);
        }
    }
    return 0;
}

const struct drt_entry_ *registry_find_name(const char *name)
{
    const struct table *t = table();
    size_t low = 0, high = t->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, t->sorted[middle]->name);
        if (order == 0) {
            return t->sorted[middle];
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

const struct drt_entry_ *registry_find(drt_task_fn *fn, const char *name)
{
    const struct table *t = table();
    for (size_t at = hash(address(fn)) & t->mask; t->by_function[at] != NULL;
         at = (at + 1) & t->mask) {
        if (t->by_function[at]->fn == fn) {
            return t->by_function[at];
        }
    }
    return fn != NULL && name != NULL ? registry_find_name(name) : NULL;
}
