#include "raylet/core_state.h"

#include "common/text.h"

#include <stdarg.h>
#include <stdio.h>

#define CREDIT_SLACK (1u << 20) /* the client's count and ours differ by what is under way */
#define BEYOND_MAX   65536u     /* more than can be under way */
#define NAMES_MAX    65536u

struct raylet_effect *core_effect(struct raylet_core *c, enum raylet_effect_kind kind)
{
    if (UNLIKELY(c->effect_count == c->effect_room)) {
        c->effect_room = c->effect_room == 0 ? 256 : 2 * c->effect_room;
        c->effects = xrealloc(c->effects, c->effect_room * sizeof *c->effects);
    }
    struct raylet_effect *e = &c->effects[c->effect_count++];
    *e = (struct raylet_effect){.kind = kind};
    return e;
}

const char *core_text(struct raylet_core *c, const char *text)
{
    return text == NULL ? "" : arena_text(&c->arena, text, strlen(text));
}

struct local_msg *core_send(struct raylet_core *c, uint32_t client, enum local_type type)
{
    struct local_msg *m = arena_alloc(&c->arena, sizeof *m);
    struct raylet_effect *e = core_effect(c, EFFECT_SEND);

    m->type = type;
    m->payload = bytes_of(NULL, 0);
    m->more = NULL;
    m->more_count = 0;
    e->client = client;
    e->local = m;
    return m;
}

struct cluster_msg *core_send_head(struct raylet_core *c, enum cluster_type type)
{
    struct cluster_msg *m = arena_alloc(&c->arena, sizeof *m);
    struct raylet_effect *e = core_effect(c, EFFECT_HEAD);

    memset(m, 0, sizeof *m);
    m->type = type;
    e->head = m;
    return m;
}

struct client *core_client(struct raylet_core *c, uint32_t number)
{
    return numbers_get(&c->clients_by_number, number);
}

struct worker *core_worker(struct raylet_core *c, uint32_t number)
{
    return numbers_get(&c->workers_by_number, number);
}

const char *core_intern(struct raylet_core *c, const char *text)
{
    struct name *n;

    HASH_FIND_STR(c->names, text, n);
    if (n == NULL) {
        if (HASH_COUNT(c->names) >= NAMES_MAX) {
            return "(other)";
        }
        n = xcalloc(1, sizeof *n);
        n->text = xstrdup(text);
        HASH_ADD_KEYPTR(hh, c->names, n->text, strlen(n->text), n);
    }
    return n->text;
}

uint64_t core_unix_ms(const struct raylet_core *c)
{
    return c->start_unix_ms + (c->now_ns - c->start_ns) / NS_PER_MS;
}

uint64_t core_unix_of(const struct raylet_core *c, uint32_t since_start_ms)
{
    uint32_t now_ms = (uint32_t)((c->now_ns - c->start_ns) / NS_PER_MS);

    return core_unix_ms(c) - (uint32_t)(now_ms - since_start_ms);
}

void core_touch(struct raylet_core *c, struct client *client)
{
    if (!client->touched) {
        client->touched = true;
        list_append(&c->touched, &client->touched_link);
    }
}

void core_credit_back(struct raylet_core *c, struct client *client, uint64_t bytes)
{
    if (bytes == 0) {
        return;
    }
    ASSERT(client->outstanding_bytes >= bytes && c->outstanding_all >= bytes);
    client->outstanding_bytes -= bytes;
    c->outstanding_all -= bytes;
    client->credit_pending += bytes;
    core_touch(c, client);
}

void core_credit_take(struct raylet_core *c, struct client *client, uint64_t bytes)
{
    client->outstanding_bytes += bytes;
    c->outstanding_all += bytes;
    client->credit_pending -= bytes;
    core_touch(c, client);
}

/* A new reference. As long as the same function is refused they share one: a process that goes on
 * would else be given an error for each. */
static struct object_error *full(struct raylet_core *c, struct client *client, const char *function,
                                 const char *whose, uint64_t bytes)
{
    char task[sizeof client->full->failure.task];

    text_shorten(task, sizeof task, function);
    if (client->full == NULL || strcmp(client->full->failure.task, task) != 0) {
        error_unref(client->full);
        client->full = error_make(c, CODE_FULL, function,
                                  "%s %llu MiB of unfinished tasks and held values, which is the "
                                  "limit. Release results, or wait",
                                  whose, (unsigned long long)(bytes >> 20));
    }
    return error_ref(client->full);
}

struct object_error *core_credit_error(struct raylet_core *c, struct client *client,
                                       const char *function)
{
    if (client->outstanding_bytes > c->credit_each + CREDIT_SLACK) {
        client->beyond++;
        return full(c, client, function, "this process has", client->outstanding_bytes);
    }
    if (c->credit_all != 0 && c->outstanding_all > c->credit_all) {
        return full(c, client, function, "the node's programs have", c->outstanding_all);
    }
    if (UNLIKELY(client->full != NULL)) {
        error_unref(client->full);
        client->full = NULL;
        client->beyond = 0;
    }
    return NULL;
}

bool core_credit_is_beyond(struct raylet_core *c, struct client *client)
{
    if (LIKELY(client->beyond < BEYOND_MAX)) {
        return false;
    }
    core_protocol_error(c, client,
                        "it has %llu MiB of tasks and values outstanding, its credit is %llu MiB, "
                        "and it submitted or put %u more; libdrt waits there",
                        (unsigned long long)(client->outstanding_bytes >> 20),
                        (unsigned long long)(c->credit_each >> 20), client->beyond);
    return true;
}

void core_protocol_error(struct raylet_core *c, struct client *client, const char *format, ...)
{
    va_list args;
    struct failure *f = arena_alloc(&c->arena, sizeof *f);

    c->protocol_errors++;
    memset(f, 0, sizeof *f);
    f->code = CODE_REFUSED;
    va_start(args, format);
    text_vformat(f->message, sizeof f->message, format, args);
    va_end(args);
    struct raylet_effect *e = core_effect(c, EFFECT_CLOSE);
    e->client = client->number;
    e->failure = f;
    client->state = CLIENT_REFUSED;
}

struct object_id core_object_id(const struct raylet_core *c, const struct object *o)
{
    uint32_t node = o->owner->node;

    return (struct object_id){node == 0 ? c->node : node, o->owner->number, o->number};
}

struct object_error *error_new(const struct failure *f)
{
    struct object_error *e = xmalloc(sizeof *e);

    e->refs = 1;
    e->deeper = NULL;
    e->stopped = (struct object_id){0};
    e->failure = *f;
    return e;
}

struct object_error *error_make(const struct raylet_core *c, int code, const char *task,
                                const char *format, ...)
{
    struct object_error *e = xcalloc(1, sizeof *e);
    va_list args;

    e->refs = 1;
    e->failure.code = code;
    e->failure.attempts = 1;
    text_shorten(e->failure.task, sizeof e->failure.task, task);
    text_shorten(e->failure.node, sizeof e->failure.node, c->node_name);
    va_start(args, format);
    text_vformat(e->failure.message, sizeof e->failure.message, format, args);
    va_end(args);
    return e;
}

struct object_error *error_ref(struct object_error *e)
{
    e->refs++;
    return e;
}

struct object_error *error_deeper(struct object_error *e)
{
    if (e->deeper == NULL) {
        e->deeper = error_new(&e->failure);
        e->deeper->failure.depth++;
    }
    return error_ref(e->deeper);
}

void error_unref(struct object_error *e)
{
    while (e != NULL && --e->refs == 0) { /* a loop: a chain of tasks may be long */
        struct object_error *deeper = e->deeper;
        free(e);
        e = deeper;
    }
}

void core_timer_init(struct core_timer *t, enum core_timer_kind kind)
{
    timer_init(&t->timer);
    t->kind = kind;
}

void core_timer_arm(struct raylet_core *c, struct core_timer *t, uint64_t at_ns)
{
    timer_arm(&c->timers, &t->timer, at_ns);
}

void core_timer_disarm(struct raylet_core *c, struct core_timer *t)
{
    timer_disarm(&c->timers, &t->timer);
}

/* ---- what waits for what ---- */

#define NOTED_LATELY 16u

const struct object *core_followed(const struct object *o)
{
    for (uint32_t i = 0; o->following && i < WORK_STEP; i++) {
        o = o->alias;
    }
    return o;
}

void core_note_lift(struct lifts *to, const struct lift *lift)
{
    if (to->count == to->room) {
        to->room = MAX_OF(2 * to->room, (size_t)64);
        to->items = xrealloc(to->items, to->room * sizeof *to->items);
    }
    to->items[to->count++] = *lift;
}

void core_note_wait(struct raylet_core *c, const struct object *o, int32_t priority)
{
    o = core_followed(o);
    if (o->state != OBJECT_PENDING || o->following) {
        return;
    }
    /* Of what is made elsewhere the priority is not known; most tasks have 0. */
    if (o->owner->node != 0 ? priority > 0 : o->task != NULL && task_priority(o->task) < priority) {
        core_note_lift(&c->lifts, &(struct lift){core_object_id(c, o), priority, false});
    }
}

/* Whether it stands among the last ones: of many tasks that end at once because nobody wants them
 * any more, most needed the same few things. */
static bool is_noted(const struct lifts *l, struct object_id id)
{
    for (size_t i = l->count; i > 0 && i + NOTED_LATELY > l->count; i--) {
        if (l->items[i - 1].again && object_id_equal(l->items[i - 1].id, id)) {
            return true;
        }
    }
    return false;
}

void core_note_wait_over(struct raylet_core *c, const struct object *o)
{
    o = core_followed(o);
    if (o->state == OBJECT_PENDING && !o->following && o->owner->node == 0 && o->task != NULL &&
        o->task->class_->priority != o->task->class_->own &&
        !is_noted(&c->lifts, core_object_id(c, o))) {
        core_note_lift(&c->lifts, &(struct lift){core_object_id(c, o), 0, true});
    }
}
