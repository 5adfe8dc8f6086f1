/*
 * What the fake processes of a rig do: declare, submit, put, get, hold, release; and as workers
 * claim, return, fail and crash.
 */
#include "proto/layout.h"
#include "tests/sim/rig.h"

/* ---- what processes do ---- */

static const char *text_of(struct rig *r, const char *text)
{
    return text == NULL ? "" : arena_copy(&r->arena, text, strlen(text) + 1);
}

uint32_t rig_class(struct rig *r, struct rig_process *p, const char *function, struct rig_class k)
{
    struct local_msg *m = rig_say(r, p, LOCAL_CLASS);
    struct local_amount *amounts = arena_alloc(&r->arena, 2 * sizeof *amounts);
    size_t n = 0;

    amounts[n++] = (struct local_amount){"CPU", k.cpus_x10000};
    if (k.custom != NULL) {
        amounts[n++] = (struct local_amount){k.custom, k.custom_x10000};
    }
    m->class_.number = ++p->classes;
    m->class_.function = function;
    m->class_.amounts = amounts;
    m->class_.amount_count = n;
    m->class_.priority = k.priority;
    m->class_.strategy = k.strategy;
    m->class_.soft = k.soft;
    m->class_.node = text_of(r, k.node);
    m->class_.labels = text_of(r, k.labels);
    return p->classes;
}

static struct bytes word_and_refs(struct rig *r, uint64_t word, const struct object_id *refs,
                                  size_t count)
{
    size_t size = 8 + count * sizeof *refs;
    uint8_t *at = arena_alloc(&r->arena, size);

    memcpy(at, &word, 8);
    if (count > 0) {
        memcpy(at + 8, refs, count * sizeof *refs);
    }
    return bytes_of(at, size);
}

struct object_id rig_submit(struct rig *r, struct rig_process *p, struct rig_task t)
{
    struct local_msg *m = rig_say(r, p, LOCAL_SUBMIT);
    struct object_id id = {r->node, p->client, p->next_number};

    m->submit.number = p->next_number;
    m->submit.class_number = t.class_number;
    m->submit.returns = t.returns == 0 ? 1 : t.returns;
    m->submit.max_attempts = t.max_attempts == 0 ? 4 : t.max_attempts;
    m->submit.flags = t.flags;
    m->submit.parent_slot = t.parent_slot;
    m->submit.timeout_ns = t.timeout_ns;
    m->submit.backoff_ns = t.no_backoff ? 0 : t.backoff_ns == 0 ? 100 * NS_PER_MS : t.backoff_ns;
    m->submit.name = t.name == NULL ? "" : t.name;
    m->submit.needs = arena_copy(&r->arena, t.needs, t.need_count * sizeof *t.needs);
    m->submit.need_count = t.need_count;
    m->submit.refs = arena_copy(&r->arena, t.refs, t.ref_count * sizeof *t.refs);
    m->submit.ref_count = t.ref_count;
    m->payload = word_and_refs(r, t.payload, t.refs, t.ref_count);
    p->next_number += m->submit.returns;
    return id;
}

/* As above, or longer: more than an object has room for in itself. */
static struct bytes value_of(struct rig *r, uint64_t word, const struct object_id *refs,
                             size_t count)
{
    static const struct object_id nobody;

    if (r->long_values && count == 0) {
        struct bytes b = word_and_refs(r, word, &nobody, 1);
        return bytes_of(b.data, b.size - 1); /* too short for a reference */
    }
    return word_and_refs(r, word, refs, count);
}

struct object_id rig_put_holding(struct rig *r, struct rig_process *p, uint64_t value,
                                 const struct object_id *refs, size_t ref_count)
{
    struct local_msg *m = rig_say(r, p, LOCAL_PUT);
    struct object_id id = {r->node, p->client, p->next_number};

    m->put.number = p->next_number++;
    m->put.refs = arena_copy(&r->arena, refs, ref_count * sizeof *refs);
    m->put.ref_count = ref_count;
    m->payload = value_of(r, value, refs, ref_count);
    return id;
}

struct object_id rig_put(struct rig *r, struct rig_process *p, uint64_t value)
{
    return rig_put_holding(r, p, value, NULL, 0);
}

static void say_ids(struct rig *r, struct rig_process *p, enum local_type type, struct object_id id)
{
    struct local_msg *m = rig_say(r, p, type);
    const struct object_id *ids = arena_copy(&r->arena, &id, sizeof id);

    if (type == LOCAL_GET) {
        m->get.ids = ids;
        m->get.id_count = 1;
    } else {
        m->ids.ids = ids;
        m->ids.id_count = 1;
    }
}

void rig_get(struct rig *r, struct rig_process *p, struct object_id id)
{
    say_ids(r, p, LOCAL_GET, id);
}

void rig_release(struct rig *r, struct rig_process *p, struct object_id id)
{
    say_ids(r, p, LOCAL_RELEASE, id);
}

void rig_hold(struct rig *r, struct rig_process *p, struct object_id id)
{
    say_ids(r, p, LOCAL_HOLD, id);
}

void rig_hold_through(struct rig *r, struct rig_process *p, struct object_id id,
                      struct object_id through)
{
    struct local_msg *m = rig_say(r, p, LOCAL_HOLD);

    m->ids.ids = arena_copy(&r->arena, &id, sizeof id);
    m->ids.id_count = 1;
    m->ids.through = through;
}

void rig_blocked(struct rig *r, struct rig_process *p, const struct object_id *ids, size_t count)
{
    struct local_msg *m = rig_say(r, p, LOCAL_BLOCKED);

    m->ids.ids = arena_copy(&r->arena, ids, count * sizeof *ids);
    m->ids.id_count = count;
}

void rig_cancel(struct rig *r, struct rig_process *p, struct object_id id, uint32_t flags)
{
    struct local_msg *m = rig_say(r, p, LOCAL_CANCEL);

    m->cancel.id = id;
    m->cancel.flags = flags;
    m->cancel.request = 1;
}

void rig_query(struct rig *r, struct rig_process *p, struct state_query q)
{
    struct local_msg *m = rig_say(r, p, LOCAL_QUERY);

    q.id = q.id == NULL ? "" : q.id;
    q.node = q.node == NULL ? "" : q.node;
    q.state = q.state == NULL ? "" : q.state;
    q.name = q.name == NULL ? "" : q.name;
    m->query.request = 1;
    m->query.query = q;
    rig_settle(r);
}

struct rig_process *rig_ready_worker(struct rig *r)
{
    for (uint32_t i = 0; i < r->process_count; i++) {
        struct rig_process *p = &r->processes[(r->turn + i) % r->process_count];
        if (p->used && p->alive && p->worker != 0 && p->current.returns == 0 && p->ring_count > 0) {
            r->turn = (r->turn + i + 1) % r->process_count;
            return p;
        }
    }
    return NULL;
}

bool rig_claim(struct rig *r, struct rig_process *w)
{
    ASSERT(w->current.returns == 0);
    while (w->ring_count > 0) {
        struct rig_run run = w->ring[w->ring_first];
        uint32_t index = claim_index(run.slot);
        w->ring_first = (w->ring_first + 1) % ARRAY_SIZE(w->ring);
        w->ring_count--;
        if (w->words[index] == run.slot && w->states[index] == RIG_OFFERED) {
            w->states[index] = RIG_CLAIMED;
            w->current = run;
            return true;
        }
    }
    return false;
}

static struct local_msg *result(struct rig *r, struct rig_process *w)
{
    struct local_msg *m = rig_say(r, w, LOCAL_RESULT);

    ASSERT(w->current.returns > 0);
    m->result.slot = w->current.slot;
    m->result.message = "";
    /* as the shell sees it: the word stands in CLAIMED until the slot is used again */
    return m;
}

static void done(struct rig_process *w)
{
    w->states[claim_index(w->current.slot)] = RIG_FREE;
    w->current.returns = 0;
}

void rig_return_these(struct rig *r, struct rig_process *w, const struct rig_return *from,
                      size_t count)
{
    struct local_msg *m = result(r, w);
    struct local_return *returns = arena_alloc(&r->arena, count * sizeof *returns);
    struct object_id *refs;
    size_t total = 0, size = 0;
    uint8_t *at;

    for (size_t i = 0; i < count; i++) {
        size_t bytes = 0;
        if (from[i].state == RETURN_VALUE) {
            bytes = value_of(r, from[i].value, from[i].refs, from[i].ref_count).size;
        }
        returns[i] = (struct local_return){.state = from[i].state,
                                           .size = (uint32_t)bytes,
                                           .alias = from[i].alias,
                                           .ref_count = (uint32_t)from[i].ref_count};
        total += from[i].ref_count;
        if (from[i].state == RETURN_VALUE) {
            (void)layout_place_entry(&size, bytes);
        }
    }
    refs = arena_alloc(&r->arena, total * sizeof *refs);
    at = arena_alloc(&r->arena, size);
    m->payload = bytes_of(at, size);
    m->result.refs = refs;
    m->result.ref_count = total;
    size_t end = 0;
    for (size_t i = 0; i < count; i++) {
        struct bytes b = value_of(r, from[i].value, from[i].refs, from[i].ref_count);
        if (from[i].state == RETURN_VALUE) {
            memcpy(at + layout_place_entry(&end, b.size), b.data, b.size);
            memcpy(refs, (const uint8_t *)b.data + 8, from[i].ref_count * sizeof *refs);
            refs += from[i].ref_count;
        }
    }
    m->result.returns = returns;
    m->result.return_count = count;
    done(w);
}

void rig_return(struct rig *r, struct rig_process *w, uint64_t value)
{
    struct rig_return returns[LOCAL_CLAIMS];
    uint32_t n = MIN_OF(w->current.returns, ARRAY_SIZE(returns));

    for (uint32_t i = 0; i < n; i++) {
        returns[i] = (struct rig_return){.state = RETURN_VALUE, .value = value + i};
    }
    rig_return_these(r, w, returns, n);
}

void rig_return_alias(struct rig *r, struct rig_process *w, struct object_id target)
{
    struct local_msg *m = result(r, w);
    struct local_return *one = arena_alloc(&r->arena, sizeof *one);

    *one = (struct local_return){.state = RETURN_ALIAS, .alias = target};
    m->result.returns = one;
    m->result.return_count = 1;
    done(w);
}

void rig_fail(struct rig *r, struct rig_process *w, int app_code)
{
    struct local_msg *m = result(r, w);

    m->result.code = CODE_FAILED;
    m->result.app_code = app_code;
    m->result.message = "as the test wanted";
    done(w);
}

uint32_t rig_live_workers(struct rig *r)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < r->process_count; i++) {
        n += r->processes[i].used && r->processes[i].alive && r->processes[i].worker != 0;
    }
    return n;
}

uint32_t rig_run_all(struct rig *r)
{
    struct rig_process *w;
    uint32_t ran = 0;

    rig_settle(r);
    while ((w = rig_ready_worker(r)) != NULL) {
        while (rig_claim(r, w)) {
            rig_return(r, w, w->current.payload + w->current.needs);
            ran++;
            r->now_ns += 1000;
        }
        rig_settle(r);
    }
    return ran;
}
