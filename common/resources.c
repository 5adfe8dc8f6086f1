#include "common/resources.h"

#include <stdio.h>

#include "common/text.h"

#define ROUNDING 1e-6 /* how far a sum or product of floating-point numbers may be off */

void resource_names_init(struct resource_names *n)
{
    static const char *const fixed[RESOURCE_CUSTOM] = {"CPU", "memory", "GPU", "gpu_memory",
                                                       "object_store"};
    *n = (struct resource_names){0};
    for (size_t i = 0; i < ARRAY_SIZE(fixed); i++) {
        uint32_t kind = 0;
        int r = resource_names_intern(n, fixed[i], &kind);
        ASSERT(r == 0 && kind == i);
    }
}

void resource_names_fini(struct resource_names *n)
{
    free(n->names);
    *n = (struct resource_names){0};
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

bool resource_name_ok(const char *name)
{
    size_t length = strnlen(name, RESOURCE_NAME_MAX + 1);
    if (length == 0 || length > RESOURCE_NAME_MAX || !is_letter(name[0])) {
        return false;
    }
    for (size_t i = 1; i < length; i++) {
        char c = name[i];
        if (!is_letter(c) && !(c >= '0' && c <= '9') && strchr(".:/-", c) == NULL) {
            return false;
        }
    }
    return true;
}

int resource_names_intern(struct resource_names *n, const char *name, uint32_t *ret)
{
    if (!resource_name_ok(name)) {
        return -EINVAL;
    }
    uint32_t at = n->count;
    for (uint32_t i = 0; i < n->count; i++) {
        if (strcmp(n->names[i].text, name) == 0) {
            n->names[i].uses++;
            *ret = i;
            return 0;
        }
        at = at == n->count && n->names[i].uses == 0 ? i : at;
    }
    if (n->used == RESOURCE_NAMES_MAX) {
        return -ENOSPC;
    }
    if (at == n->room) {
        n->room = MAX_OF(n->room * 2, 8u);
        n->names = xrealloc(n->names, n->room * sizeof *n->names);
    }
    n->names[at] = (struct resource_name){.uses = 1};
    memcpy(n->names[at].text, name, strlen(name));
    n->count = MAX_OF(n->count, at + 1);
    n->used++;
    *ret = at;
    return 0;
}

void resource_names_unuse(struct resource_names *n, uint32_t kind)
{
    ASSERT(kind < n->count && n->names[kind].uses > 0);
    if (kind >= RESOURCE_CUSTOM && --n->names[kind].uses == 0) {
        n->names[kind].text[0] = '\0';
        n->used--;
    }
}

const char *resource_name(const struct resource_names *n, uint32_t kind)
{
    ASSERT(kind < n->count && n->names[kind].uses > 0);
    return n->names[kind].text;
}

void resource_set_use(struct resource_names *n, const struct resource_set *s)
{
    for (uint32_t i = 0; i < s->count; i++) {
        ASSERT(s->amounts[i].kind < n->count && n->names[s->amounts[i].kind].uses > 0);
        n->names[s->amounts[i].kind].uses++;
    }
}

void resource_set_unuse(struct resource_names *n, const struct resource_set *s)
{
    for (uint32_t i = 0; i < s->count; i++) {
        resource_names_unuse(n, s->amounts[i].kind);
    }
}

/* Where `kind` is, or belongs. */
static uint32_t find(const struct resource_set *s, uint32_t kind)
{
    uint32_t i = 0;
    while (i < s->count && s->amounts[i].kind < kind) {
        i++;
    }
    return i;
}

int resource_set_put(struct resource_set *s, uint32_t kind, int64_t units)
{
    uint32_t at = find(s, kind);
    if (at == s->count || s->amounts[at].kind != kind) {
        if (s->count == RESOURCES_MAX) {
            return -ENOSPC;
        }
        memmove(&s->amounts[at + 1], &s->amounts[at], (s->count - at) * sizeof s->amounts[0]);
        s->count++;
    }
    s->amounts[at] = (struct resource_amount){kind, units};
    return 0;
}

bool resource_set_has(const struct resource_set *s, uint32_t kind)
{
    uint32_t at = find(s, kind);
    return at < s->count && s->amounts[at].kind == kind;
}

int64_t resource_set_get(const struct resource_set *s, uint32_t kind)
{
    uint32_t at = find(s, kind);
    return at < s->count && s->amounts[at].kind == kind ? s->amounts[at].units : 0;
}

bool resource_set_covers(const struct resource_set *have, const struct resource_set *want)
{
    uint32_t h = 0;
    for (uint32_t w = 0; w < want->count; w++) {
        const struct resource_amount *asked = &want->amounts[w];
        while (h < have->count && have->amounts[h].kind < asked->kind) {
            h++;
        }
        bool known = h < have->count && have->amounts[h].kind == asked->kind;
        int64_t units = known ? have->amounts[h].units : 0;
        if (asked->units > 0 && units < asked->units) {
            return false;
        }
    }
    return true;
}

static void add(struct resource_set *have, const struct resource_set *want, int64_t sign)
{
    uint32_t h = 0;
    for (uint32_t w = 0; w < want->count; w++) {
        const struct resource_amount *moved = &want->amounts[w];
        while (h < have->count && have->amounts[h].kind < moved->kind) {
            h++;
        }
        if (h < have->count && have->amounts[h].kind == moved->kind) {
            have->amounts[h].units += sign * moved->units;
        } else {
            int r = resource_set_put(have, moved->kind, sign * moved->units);
            ASSERT(r == 0);
        }
    }
}

void resource_set_take(struct resource_set *have, const struct resource_set *want)
{
    add(have, want, -1);
}

void resource_set_give(struct resource_set *have, const struct resource_set *want)
{
    add(have, want, 1);
}

bool resource_set_equal(const struct resource_set *a, const struct resource_set *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (uint32_t i = 0; i < a->count; i++) {
        if (a->amounts[i].kind != b->amounts[i].kind ||
            a->amounts[i].units != b->amounts[i].units) {
            return false;
        }
    }
    return true;
}

int resource_units(double amount, int64_t *ret)
{
    /* Written so that NaN fails it. */
    if (!(amount >= 0)) {
        return -EINVAL;
    }
    if (amount > RESOURCE_MOST) {
        return -ERANGE;
    }
    if (amount == 0) {
        *ret = 0;
        return 0;
    }
    /* No libm, for libdrt. */
    double units = amount * RESOURCE_UNIT;
    int64_t down = (int64_t)units;
    if (units - (double)down > 1 - ROUNDING) {
        down++; /* 0.57 * 10000 is a little less than 5700 */
    }
    if (down == 0) {
        return -EDOM;
    }
    /* Rounded down, six of 1/6 fill one. Of small shares too many would fit then. */
    if (amount < 1 && RESOURCE_UNIT / down > (int64_t)(1 / amount + ROUNDING)) {
        down++;
    }
    *ret = down;
    return 0;
}

const char *resource_format(uint32_t kind, int64_t units, char out[32])
{
    int64_t shown = MAX_OF(units, (int64_t)0);
    if (kind == RESOURCE_MEMORY || kind == RESOURCE_GPU_MEMORY || kind == RESOURCE_STORE) {
        return text_format_size((uint64_t)shown / RESOURCE_UNIT, out);
    }
    snprintf(out, 32, "%.10g", resource_amount_of(shown));
    return out;
}
