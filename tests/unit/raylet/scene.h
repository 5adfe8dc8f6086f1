/*
 * Where the timelines of the raylet's core begin: a raylet of two CPUs and two of "x" in its rig, a
 * driver, and a class "f" of one CPU. For the tests of this folder.
 */
#ifndef TESTS_UNIT_RAYLET_SCENE_H
#define TESTS_UNIT_RAYLET_SCENE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raylet/core_foreign.h"
#include "raylet/core_objects.h"
#include "tests/sim/rig.h"

static const struct rig_class ONE_CPU = {.cpus_x10000 = 10000};

static inline uint32_t code_of(struct rig *r, struct object_id id)
{
    const struct rig_value *v = rig_value(r, id);

    assert_non_null(v);
    assert_int_equal(v->answers, 1);
    return v->state == VALUE_ERROR ? v->code : 0;
}

static inline uint64_t value_of(struct rig *r, struct object_id id)
{
    assert_int_equal(code_of(r, id), 0);
    return rig_value(r, id)->value;
}

/* A raylet with 2 CPUs, a driver, and a class of one CPU. */
struct scene {
    struct rig rig;
    struct rig_process *driver;
    uint32_t f;
};

static inline struct scene *begin(void)
{
    struct scene *s = xcalloc(1, sizeof *s);

    rig_init(&s->rig, 2, "x", 2);
    s->driver = rig_driver(&s->rig);
    assert_true(s->driver->welcomed);
    s->f = rig_class(&s->rig, s->driver, "f", ONE_CPU);
    rig_settle(&s->rig);
    return s;
}

static inline void end(struct scene *s)
{
    rig_fini(&s->rig);
    free(s);
}

/* This process holds it from now on, as if it had taken it from a value that is there no more. */
static inline void takes(struct rig *r, const struct rig_process *p, struct object_id id)
{
    struct client *client = core_client(r->core, p->client);
    struct object *o = object_find(r->core, id);

    if (o->owner == client) {
        o->held = true;
    } else {
        assert_int_equal(object_hold_foreign(r->core, client, o), 0);
        foreign_taken(r->core, o);
    }
    rig_settle(r);
}

static inline struct object_id submit(struct scene *s, uint64_t payload)
{
    return rig_submit(&s->rig, s->driver,
                      (struct rig_task){.class_number = s->f, .payload = payload});
}

#endif
