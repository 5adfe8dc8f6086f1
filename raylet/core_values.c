#include "raylet/core_values.h"

#include "raylet/core_cache.h"
#include "raylet/core_foreign.h"
#include "raylet/core_held.h"
#include "raylet/core_home.h"
#include "raylet/core_objects.h"
#include "raylet/core_schedule.h"
#include "raylet/core_tasks.h"

void value_put(struct raylet_core *c, struct client *client, const struct local_put *m,
               struct bytes payload)
{
    uint32_t charge = local_put_cost(m->ref_count, payload.size);
    struct object *o;

    if (m->number != client->next_number) {
        core_protocol_error(c, client, "object %llu put out of turn",
                            (unsigned long long)m->number);
        return;
    }
    if (core_credit_is_beyond(c, client)) {
        return;
    }
    client->next_number++;
    client->outstanding_bytes += charge;
    c->outstanding_all += charge;
    o = object_new(c, client, m->number);
    o->charge = charge;
    if (payload.size > VALUE_MAX + VALUE_HEADER_ROOM) {
        struct object_error *e =
            error_make(c, CODE_TOO_LARGE, "", "a value is at most %u bytes; this one has %zu",
                       VALUE_MAX, payload.size);
        object_settle_error(c, o, e);
        error_unref(e);
        return;
    }
    struct object_error *full = core_credit_error(c, client, "");
    if (full != NULL) {
        o->charge -= (uint32_t)payload.size; /* which is not kept */
        core_credit_back(c, client, payload.size);
        object_settle_error(c, o, full);
        error_unref(full);
        return;
    }
    if (!held_contain(c, o, client, m->refs, m->ref_count)) {
        struct object_error *e =
            error_make(c, CODE_NOT_FOUND, "", "a reference inside the value: " NOT_HELD);
        object_settle_error(c, o, e);
        error_unref(e);
        return;
    }
    object_settle_value(c, o, payload);
}

void value_get(struct raylet_core *c, struct client *client, const struct local_get *m)
{
    for (size_t i = 0; i < m->id_count; i++) {
        struct object *o = held_find(c, client, m->ids[i]);
        if (o == NULL) {
            object_answer_missing(c, client, m->ids[i], NOT_HELD);
        } else {
            object_ask(c, o, client, m->flags);
            struct task *body = client->worker == NULL ? NULL : worker_first(client->worker);
            if (body != NULL) { /* it waits for that, or is about to */
                core_note_wait(c, o, task_priority(body));
            }
        }
    }
}

void value_release(struct raylet_core *c, struct client *client, const struct local_ids *m)
{
    for (size_t i = 0; i < m->id_count; i++) {
        struct object *o = object_find(c, m->ids[i]);
        if (o == NULL) {
            continue;
        }
        if (o->owner == client) {
            object_release(c, o);
        } else {
            object_release_foreign(c, client, o);
        }
    }
}

/* What it may not take is not taken, and a get of it says so. */
void value_hold(struct raylet_core *c, struct client *client, const struct local_ids *m)
{
    const struct object *container = object_find(c, m->through);

    for (size_t i = 0; i < m->id_count; i++) {
        struct object *o = object_find(c, m->ids[i]);
        if (o == NULL || !((container != NULL && held_inside(c, client, container, o)) ||
                           held_by(c, client, o))) {
            continue;
        }
        if (o->owner == client) {
            o->held = true; /* it had released it, and another task gave it back */
        } else if (object_hold_foreign(c, client, o) != 0) {
            core_protocol_error(c, client, "it holds too many objects of others");
            return;
        } else {
            foreign_taken(c, o);
        }
    }
}

void value_cancel(struct raylet_core *c, struct client *client, const struct local_cancel *m)
{
    struct object *o = held_find(c, client, m->id);
    uint32_t code = CODE_DONE;

    if (o == NULL) {
        code = CODE_NOT_FOUND;
    } else if (o->state == OBJECT_PENDING) {
        for (uint32_t i = 0; o->following && i < WORK_STEP;
             i++) { /* what it follows is what runs */
            o = o->alias;
        }
        if (o->state == OBJECT_PENDING && o->owner->node != 0 && !cache_had(o)) {
            code = home_cancel(c, core_object_id(c, o), m->flags) ? 0 : CODE_UNREACHABLE;
        } else if (o->state == OBJECT_PENDING && !o->following && o->task != NULL) {
            code = (uint32_t)task_cancel(c, o->task, m->flags, "it was cancelled");
        }
    } else if (m->flags & CANCEL_FORCE) {
        (void)home_force(c, o, m->id, m->flags);
    }
    struct local_msg *answer = core_send(c, client->number, LOCAL_CANCELLED);
    answer->cancelled.request = m->request;
    answer->cancelled.code = code;
}
