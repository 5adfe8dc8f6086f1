#include "raylet/events.h"

void events_fini(struct events *e)
{
    free(e->items);
    arena_fini(&e->arena);
    *e = (struct events){0};
}

void events_clear(struct events *e)
{
    e->count = 0;
    arena_reset(&e->arena);
}

void events_grow(struct events *e)
{
    e->room = MAX_OF(e->room * 2, (size_t)256);
    e->items = xrealloc(e->items, e->room * sizeof *e->items);
}

const struct failure *events_failure(struct events *e, const struct failure *f)
{
    if (f == NULL || f->code == 0) {
        return NULL;
    }
    return arena_copy(&e->arena, f, sizeof *f);
}
