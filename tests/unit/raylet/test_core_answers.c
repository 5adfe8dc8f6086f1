/*
 * What a driver gets at once, in one GET: values of all sizes that were put, and failures with
 * messages of all lengths, in every order. Above VALUES_INLINE_MAX a value is only announced; with
 * GET_WHOLE it comes. The rig reads each message as a driver does.
 */
#include "tests/unit/raylet/scene.h"

static const size_t sizes[] = {0, 1, 7, 8, 9, 63, 64, 65, 4095, 4096, 4097, 8192, (64u << 10) + 1};

struct thing {
    struct object_id id;
    bool failed;
    size_t size; /* of the value, or of the failure's message */
};

#define THINGS_MAX (2 * ARRAY_SIZE(sizes))

struct heard { /* what has to come, in the order in which it was asked for */
    struct thing things[THINGS_MAX * THINGS_MAX * 2];
    size_t count, come;
    bool whole;
};

static uint8_t pattern[(64u << 10) + 64];
static char letters[600];

static void on_value(void *arg, struct rig_process *p, const struct local_value *v,
                     struct bytes bytes, const struct failure *f)
{
    struct heard *h = arg;
    assert_true(h->come < h->count);
    const struct thing *t = &h->things[h->come++];
    assert_true(object_id_equal(v->id, t->id));
    if (t->failed) {
        assert_int_equal(v->state, VALUE_ERROR);
        assert_int_equal(f->code, CODE_FAILED);
        assert_int_equal(strlen(f->message), t->size);
        return;
    }
    assert_int_equal(v->size, t->size);
    if (t->size > VALUES_INLINE_MAX && !h->whole) {
        assert_int_equal(v->state, VALUE_READY);
        return;
    }
    assert_int_equal(v->state, VALUE_HERE);
    assert_int_equal(bytes.size, t->size);
    if (t->size != 0) {
        assert_memory_equal(bytes.data, pattern + t->size % 61, t->size);
    }
}

static struct thing put(struct scene *s, size_t size)
{
    struct thing t = {.size = size};
    struct local_msg *m = rig_say(&s->rig, s->driver, LOCAL_PUT);
    t.id = (struct object_id){s->rig.node, s->driver->client, s->driver->next_number++};
    m->put.number = t.id.number;
    m->payload = bytes_of(pattern + size % 61, size);
    rig_settle(&s->rig);
    return t;
}

static struct thing failure_of(struct scene *s, size_t length)
{
    struct thing t = {.failed = true, .size = length, .id = submit(s, 1)};
    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_non_null(w);
    assert_true(rig_claim(&s->rig, w));
    struct local_msg *m = rig_say(&s->rig, w, LOCAL_RESULT);
    m->result.slot = w->current.slot;
    m->result.code = CODE_FAILED;
    m->result.app_code = 3;
    m->result.message = letters + sizeof letters - 1 - length;
    w->states[claim_index(w->current.slot)] = RIG_FREE;
    w->current.returns = 0;
    rig_settle(&s->rig);
    return t;
}

static void get(struct scene *s, struct heard *h, const struct thing *things, size_t count)
{
    struct object_id ids[THINGS_MAX];
    struct local_msg *m = rig_say(&s->rig, s->driver, LOCAL_GET);
    for (size_t i = 0; i < count; i++) {
        ids[i] = things[i].id;
        h->things[h->count++] = things[i];
    }
    m->get.flags = h->whole ? GET_WHOLE : 0;
    m->get.ids = ids;
    m->get.id_count = count;
    rig_settle(&s->rig);
    assert_int_equal(h->come, h->count);
}

static void in_every_order(bool whole)
{
    struct scene *s = begin();
    struct heard *h = xcalloc(1, sizeof *h);
    struct thing things[THINGS_MAX];
    size_t n = 0;

    for (size_t i = 0; i < sizeof pattern; i++) {
        pattern[i] = (uint8_t)(i * 7 + (i >> 8));
    }
    memset(letters, 'x', sizeof letters - 1);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        things[n++] = put(s, sizes[i]);
        things[n++] = failure_of(s, i * 11);
    }
    h->whole = whole;
    s->rig.hooks.on_value = on_value;
    s->rig.hooks.arg = h;
    for (size_t i = 0; i < n; i++) { /* each pair, and all of them from each one on */
        for (size_t j = 0; j < n; j++) {
            struct thing two[2] = {things[i], things[j]};
            get(s, h, two, 2);
        }
        h->count = h->come = 0;
        get(s, h, things + i, n - i);
        h->count = h->come = 0;
    }
    free(h);
    end(s);
}

static void announced_above_4_kib(void **state)
{
    in_every_order(false);
}

static void whole(void **state)
{
    in_every_order(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(announced_above_4_kib),
        cmocka_unit_test(whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
