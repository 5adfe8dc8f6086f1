#include "raylet/core_held.h"

#include "raylet/core_contents.h"
#include "raylet/core_objects.h"

/* ---- arguments ---- */

/* All that the arguments of a task name: 8 bytes for each, at most LOCAL_ARGS_MAX of each kind and
 * PEER_REFS_MAX inside, for as long as it is placed. Made when its body first takes one. */
static void gather(struct raylet_core *c, struct task_extra *x)
{
    size_t room = x->need_count + x->ref_count, inner;

    for (uint32_t i = 0; i < x->need_count; i++) {
        (void)object_inner(c, object_root(x->needs[i].object), &inner);
        room += inner;
    }
    x->given = xmalloc(room * sizeof(struct object *));
    for (uint32_t i = 0; i < x->need_count; i++) {
        struct object *const *inside = object_inner(c, object_root(x->needs[i].object), &inner);
        x->given[x->given_count++] = x->needs[i].object;
        for (size_t j = 0; j < inner; j++) {
            x->given[x->given_count++] = inside[j];
        }
    }
    for (uint32_t i = 0; i < x->ref_count; i++) {
        x->given[x->given_count++] = x->refs[i];
    }
    objects_sort(x->given, x->given_count);
}

void held_forget(struct task_extra *x)
{
    free(x->given);
    x->given = NULL;
    x->given_count = 0;
}

static bool is_given(struct raylet_core *c, const struct task *t, const struct object *o)
{
    struct task_extra *x = t->extra;

    if (x == NULL || x->need_count + x->ref_count == 0) {
        return false;
    }
    if (x->given == NULL) {
        gather(c, x);
    }
    return objects_among(x->given, x->given_count, o);
}

/* The first in order is the one that runs, and mostly the one that asks. */
bool held_in_arguments(struct raylet_core *c, const struct client *client, const struct object *o)
{
    const struct worker *w = client->worker;

    if (UNLIKELY(c->rules_off & RULE_ONLY_HOLDERS)) {
        return o->owner->job != NULL && o->owner->job == client->job;
    }
    if (w != NULL && w->answered != NULL && is_given(c, w->answered, o)) {
        return true;
    }
    for (uint32_t i = 0; w != NULL && i < w->placed; i++) {
        const struct task *t = w->slots[w->order[(w->order_first + i) % LOCAL_CLAIMS]];
        if (t != NULL && is_given(c, t, o)) {
            return true;
        }
    }
    return false;
}

/* ---- the rest ---- */

bool held_in_table(const struct client *client, const struct object *o)
{
    struct foreign_hold *h;

    HASH_FIND_PTR(client->holds, &o, h);
    return h != NULL;
}

bool held_inside(struct raylet_core *c, const struct client *client, const struct object *container,
                 const struct object *o)
{
    return held_by(c, client, container) && object_is_inside(c, object_root(container), o);
}

struct object *held_find(struct raylet_core *c, const struct client *client, struct object_id id)
{
    struct object *o = object_find(c, id);

    return o != NULL && held_by(c, client, o) ? o : NULL;
}

bool held_contain(struct raylet_core *c, struct object *o, const struct client *client,
                  const struct object_id *ids, size_t count)
{
    struct object **found = arena_alloc(&c->arena, count * sizeof(struct object *));
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        struct object *inner = object_find(c, ids[i]);
        if (inner == NULL || inner->owner->job != o->owner->job ||
            (client != NULL && !held_by(c, client, inner))) {
            if (client != NULL) {
                return false;
            }
        } else if (inner != o) {
            found[n++] = inner;
        }
    }
    for (size_t i = 0; i < n; i++) {
        object_hold(found[i]);
    }
    object_contain(c, o, found, n);
    return true;
}
