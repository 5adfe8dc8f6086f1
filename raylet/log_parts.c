#include "raylet/log_parts.h"

struct log_parts {
    struct log_part *items; /* a ring once it has LOG_PARTS_MAX */
    uint32_t used, room, first;
    bool lost_any;
};

struct log_parts *log_parts_new(void)
{
    return xcalloc(1, sizeof(struct log_parts));
}

void log_parts_free(struct log_parts *p)
{
    if (p != NULL) {
        free(p->items);
        free(p);
    }
}

void log_parts_add(struct log_parts *p, const struct log_part *part)
{
    if (p->used == LOG_PARTS_MAX) {
        p->items[p->first] = *part;
        p->first = (p->first + 1) % LOG_PARTS_MAX;
        p->lost_any = true;
        return;
    }
    if (p->used == p->room) {
        p->room = MIN_OF(MAX_OF(p->room * 2, 64u), LOG_PARTS_MAX);
        p->items = xrealloc(p->items, p->room * sizeof *p->items);
    }
    p->items[p->used++] = *part;
}

const struct log_part *log_parts_next(const struct log_parts *p, struct object_id task,
                                      const struct log_part *last)
{
    uint32_t n = 0;
    if (last != NULL) {
        uint32_t at = (uint32_t)(last - p->items);
        n = (at + LOG_PARTS_MAX - p->first) % LOG_PARTS_MAX + 1;
    }
    for (; n < p->used; n++) {
        const struct log_part *part = &p->items[(p->first + n) % LOG_PARTS_MAX];
        if (object_id_equal(part->task, task)) {
            return part;
        }
    }
    return NULL;
}

bool log_parts_lost_any(const struct log_parts *p)
{
    return p->lost_any;
}
