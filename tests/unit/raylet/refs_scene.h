/*
 * A raylet that borrows from others and lends to them: what they say, and what it says. For the
 * tests of references.
 */
#ifndef TESTS_UNIT_RAYLET_REFS_SCENE_H
#define TESTS_UNIT_RAYLET_REFS_SCENE_H

#include "tests/unit/raylet/scene.h"

#define THEM  9u
#define OTHER 11u

static inline struct object_id theirs(uint64_t number)
{
    return (struct object_id){THEM, 3, number};
}

static inline struct object_id others(uint64_t number)
{
    return (struct object_id){OTHER, 4, number};
}

static inline struct scene *begin_among_nodes(void)
{
    struct scene *s = begin();

    rig_view(&s->rig, THEM, "box-2", 0);
    rig_view(&s->rig, OTHER, "box-3", 0);
    rig_settle(&s->rig);
    return s;
}

static inline struct job *the_job(struct scene *s)
{
    return list_entry(list_first(&s->rig.core->jobs), struct job, link);
}

/* As if it had come in an argument or a result: held by the test. */
static inline struct object *take(struct scene *s, struct object_id id)
{
    struct object *o = foreign_object(s->rig.core, the_job(s), id);

    assert_non_null(o);
    return o;
}

static inline void give(struct scene *s, struct object *o)
{
    object_unhold(s->rig.core, o);
    rig_settle(&s->rig);
}

static inline struct object *find(struct scene *s, struct object_id id)
{
    return object_find(s->rig.core, id);
}

/* This process has taken it from a value, which is there no more. */
static inline void taken(struct scene *s, const struct rig_process *p, struct object_id id)
{
    struct object *o = take(s, id);

    takes(&s->rig, p, id);
    give(s, o);
}

/* The driver holds it. */
static inline void borrow(struct scene *s, struct object_id id)
{
    taken(s, s->driver, id);
}

static inline void release(struct scene *s, struct object_id id)
{
    rig_release(&s->rig, s->driver, id);
    rig_settle(&s->rig);
}

static inline void up(struct scene *s, uint32_t peer, enum peer_side side)
{
    rig_peer_up(&s->rig, peer, side);
    rig_settle(&s->rig);
}

static inline void down(struct scene *s, uint32_t peer, enum peer_side side)
{
    rig_peer_down(&s->rig, peer, side, false);
    rig_settle(&s->rig);
}

static inline void dies(struct scene *s, uint32_t peer)
{
    rig_view_dead(&s->rig, peer);
    rig_settle(&s->rig);
}

static inline void says_added(struct scene *s, struct object_id id, bool there)
{
    struct peer_msg *m = rig_peer_message(&s->rig, id.node, SIDE_OUT, PEER_ADDED);
    const struct object_id *ids = arena_copy(&s->rig.arena, &id, sizeof id);

    if (there) {
        m->added.ids = ids;
        m->added.id_count = 1;
    } else {
        m->added.gone = ids;
        m->added.gone_count = 1;
    }
    rig_settle(&s->rig);
}

static inline void says_value(struct scene *s, struct object_id id, uint64_t word,
                              const struct object_id *refs, size_t count)
{
    struct peer_msg *m = rig_peer_message(&s->rig, id.node, SIDE_OUT, PEER_VALUE);

    m->value.id = id;
    m->value.state = VALUE_HERE;
    m->value.refs = arena_copy(&s->rig.arena, refs, count * sizeof *refs);
    m->value.ref_count = count;
    m->payload = bytes_of(arena_copy(&s->rig.arena, &word, 8), 8);
    rig_settle(&s->rig);
}

static inline void says_failure(struct scene *s, struct object_id id, int code)
{
    struct peer_msg *m = rig_peer_message(&s->rig, id.node, SIDE_OUT, PEER_VALUE);
    struct buffer b = {0};
    struct failure f;

    failure_set(&f, code, "as the test wanted");
    failure_encode(&f, &b);
    m->value.id = id;
    m->value.state = VALUE_ERROR;
    m->payload = bytes_of(arena_copy(&s->rig.arena, b.data, b.size), b.size);
    buffer_fini(&b);
    rig_settle(&s->rig);
}

/* From the other side: what it wants of us. */
static inline void asks(struct scene *s, uint32_t peer, enum peer_type type, struct object_id id)
{
    struct peer_msg *m = rig_peer_message(&s->rig, peer, SIDE_IN, type);
    const struct object_id *ids = arena_copy(&s->rig.arena, &id, sizeof id);

    if (type == PEER_ADD) {
        m->add.job = the_job(s)->number;
        m->add.ids = ids;
        m->add.id_count = 1;
    } else {
        m->ids.ids = ids;
        m->ids.id_count = 1;
    }
    rig_settle(&s->rig);
}

static inline const struct peer_msg *said(struct scene *s, uint32_t peer, enum peer_side side,
                                          enum peer_type type)
{
    return rig_sent(&s->rig, peer, side, type);
}

static inline void assert_ids(const struct peer_msg *m, struct object_id id)
{
    assert_non_null(m);
    const struct object_id *ids = m->type == PEER_ADD ? m->add.ids : m->ids.ids;
    size_t count = m->type == PEER_ADD ? m->add.id_count : m->ids.id_count;
    assert_int_equal(count, 1);
    assert_true(object_id_equal(ids[0], id));
}

static inline uint64_t objects(struct scene *s)
{
    struct raylet_counts counts;

    raylet_core_count(s->rig.core, &counts);
    return counts.objects;
}

/* Held by the driver, its owner says so; the session is up. */
static inline void borrow_added(struct scene *s, struct object_id id)
{
    borrow(s, id);
    if (said(s, id.node, SIDE_OUT, PEER_ADD) == NULL) {
        up(s, id.node, SIDE_OUT);
        assert_non_null(said(s, id.node, SIDE_OUT, PEER_ADD));
    }
    says_added(s, id, true);
}

#endif
