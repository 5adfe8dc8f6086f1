#include "tests/unit/sdk/fake_raylet.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/files.h"
#include "common/text.h"
#include "sdk/values.h"

#define NODE   3u
#define CLIENT 7u

struct object {
    uint64_t charge;
    uint8_t *value; /* NULL: unfinished, or in error */
    uint32_t size;
    bool settled, released, asked, whole;
    struct failure failure;
    uint64_t waits_for; /* a number: the argument of an add_one that is not there yet; 0 */
};

struct fake_raylet {
    struct fake_options options;
    char dir[200];
    pthread_t thread;
    pthread_mutex_t lock;
    struct raylet_counts counts;
    bool settle, stop, wants_logs;
    int wake, listener, socket, locks[2];
    struct ring_channel ring;
    bool up;
    char functions[64][64]; /* of classes */
    uint32_t class_count;
    struct object *objects; /* by number - 1 */
    uint64_t object_count, object_room;
    uint64_t pending[4096]; /* asked and unfinished, or answered next */
    size_t pending_count;
};

static void send(struct fake_raylet *r, const struct local_msg *m)
{
    struct buffer b = {0};
    size_t size = local_size(m);
    local_encode(m, buffer_extend(&b, size));
    ASSERT(ring_send(&r->ring, bytes_of(b.data, b.size)) == 0);
    buffer_fini(&b);
}

/* ---- objects ---- */

static struct object *object(struct fake_raylet *r, uint64_t number)
{
    ASSERT(number >= 1 && number <= r->object_count);
    return &r->objects[number - 1];
}

static struct object *object_make(struct fake_raylet *r, uint64_t number, uint64_t charge)
{
    ASSERT(number == r->object_count + 1); /* consecutive */
    if (r->object_count == r->object_room) {
        r->object_room = r->object_room == 0 ? 1024 : r->object_room * 2;
        r->objects = xrealloc(r->objects, r->object_room * sizeof *r->objects);
    }
    r->objects[r->object_count++] = (struct object){.charge = charge};
    return object(r, number);
}

static void settle(struct fake_raylet *r, struct object *o, const struct drt_value *v)
{
    o->size = (uint32_t)value_size(v);
    o->value = xmalloc(o->size);
    value_encode(v, o->value);
    o->settled = true;
    if (!r->options.keep_credit) {
        ring_credit_add(&r->ring, o->charge);
        o->charge = 0;
    }
}

static void settle_number(struct fake_raylet *r, struct object *o, int64_t x)
{
    struct drt_value v = drt_i64(x);
    settle(r, o, &v);
}

static bool argument(struct fake_raylet *r, const struct local_msg *m, int64_t *ret)
{
    struct args_view args;
    struct arg arg;
    struct value_view view;
    if (args_decode(m->payload, &args) != 0 || args_get(&args, 0, &arg) != 0) {
        return false;
    }
    if (arg.kind == DRT_I64) {
        *ret = arg.value.i;
        return true;
    }
    ASSERT(arg.kind == DRT_OF && m->submit.need_count > 0);
    struct object *need = object(r, m->submit.needs[0].number);
    if (need->value == NULL || value_decode(bytes_of(need->value, need->size), &view) != 0) {
        return false;
    }
    *ret = view.i;
    return true;
}

static void echo(struct fake_raylet *r, struct object *o, const struct local_msg *m)
{
    struct args_view args;
    struct arg arg;
    ASSERT(args_decode(m->payload, &args) == 0 && args_get(&args, 0, &arg) == 0);
    struct drt_value v = drt_bytes(arg.value.data.data, arg.value.data.size);
    settle(r, o, &v);
}

static void send_log(struct fake_raylet *r)
{
    static const char wanted[] = "one\ntwo\n", not_wanted[] = "nobody asked\n";
    struct local_msg m = {
        .type = LOCAL_LOG,
        .log = {.node = "box-2", .function = "re\033size", .worker = 3, .stream = 1},
        .payload = r->wants_logs ? bytes_of(wanted, sizeof wanted - 1)
                                 : bytes_of(not_wanted, sizeof not_wanted - 1)};
    send(r, &m);
}

static void submit(struct fake_raylet *r, const struct local_msg *m)
{
    const struct local_submit *s = &m->submit;
    ASSERT(s->class_number >= 1 && s->class_number <= r->class_count);
    const char *function = r->functions[s->class_number - 1];
    struct object *first = NULL;
    int64_t x = 0;
    for (uint32_t i = 0; i < s->returns; i++) {
        first = object_make(r, s->number + i, i == 0 ? m->payload.size + 256 : 0);
    }
    first = object(r, s->number);
    if (strcmp(function, "never") == 0) {
        return;
    }
    if (strcmp(function, "prints") == 0) {
        settle_number(r, first, 0);
        send_log(r);
    } else if (strcmp(function, "boxed") == 0) {
        struct drt_value v = drt_str("box");
        struct object_id inner = FAKE_INNER;
        settle(r, first, &v);
        free(first->value);
        first->size = (uint32_t)value_holding_size(&v, 1);
        first->value = xmalloc(first->size);
        value_holding_encode(&v, &inner, 1, first->value);
    } else if (strcmp(function, "echo") == 0) {
        echo(r, first, m);
    } else if (strcmp(function, "failing") == 0 || (s->need_count > 0 && !argument(r, m, &x))) {
        failure_set(&first->failure, CODE_FAILED, "it failed as it should");
        first->failure.app_code = 7;
        first->settled = true;
    } else if (strcmp(function, "large") == 0) {
        ASSERT(argument(r, m, &x));
        void *zero = xcalloc(1, (size_t)x + 1);
        struct drt_value v = drt_bytes(zero, (size_t)x);
        settle(r, first, &v);
        free(zero);
    } else if (strcmp(function, "twice") == 0) {
        ASSERT(argument(r, m, &x));
        settle_number(r, first, x);
        settle_number(r, object(r, s->number + 1), 2 * x);
    } else {
        ASSERT(argument(r, m, &x));
        settle_number(r, first, x + 1);
    }
}

/* ---- answers ---- */

static void answer(struct fake_raylet *r, uint64_t number)
{
    struct object *o = object(r, number);
    struct local_value v = {.id = {NODE, CLIENT, number}, .state = VALUE_HERE, .size = o->size};
    struct local_msg m = {.type = LOCAL_VALUES, .values = {&v, 1}};
    struct buffer failure = {0};
    if (o->failure.code != 0) {
        failure_encode(&o->failure, &failure);
        v.state = VALUE_ERROR;
        v.size = (uint32_t)failure.size;
        m.payload = bytes_of(failure.data, failure.size);
    } else if (o->size > VALUES_INLINE_MAX && !o->whole) {
        v.state = VALUE_READY;
    } else {
        m.payload = bytes_of(o->value, o->size);
    }
    send(r, &m);
    buffer_fini(&failure);
}

static void answer_inner(struct fake_raylet *r)
{
    _Alignas(8) uint8_t value[16];
    struct drt_value number = drt_i64(77);
    struct local_value v = {.id = FAKE_INNER, .state = VALUE_HERE, .size = sizeof value};
    struct local_msg m = {
        .type = LOCAL_VALUES, .values = {&v, 1}, .payload = bytes_of(value, sizeof value)};
    value_encode(&number, value);
    send(r, &m);
}

static void answer_all(struct fake_raylet *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->pending_count; i++) {
        if (object(r, r->pending[i])->settled) {
            answer(r, r->pending[i]);
        } else {
            r->pending[kept++] = r->pending[i];
        }
    }
    r->pending_count = kept;
}

static void get(struct fake_raylet *r, const struct local_get *g)
{
    for (size_t i = 0; i < g->id_count; i++) {
        if (object_id_equal(g->ids[i], FAKE_INNER)) {
            answer_inner(r);
            continue;
        }
        struct object *o = object(r, g->ids[i].number);
        ASSERT(g->ids[i].client == CLIENT && g->ids[i].node == NODE);
        o->whole = o->whole || (g->flags & GET_WHOLE) != 0;
        ASSERT(!o->asked || (g->flags & GET_WHOLE) != 0); /* each once */
        o->asked = true;
        ASSERT(r->pending_count < ARRAY_SIZE(r->pending));
        r->pending[r->pending_count++] = g->ids[i].number;
        if (r->pending_count == ARRAY_SIZE(r->pending)) {
            answer_all(r);
        }
    }
}

static void cancel(struct fake_raylet *r, const struct local_cancel *c)
{
    struct local_msg m = {.type = LOCAL_CANCELLED, .cancelled = {c->request, CODE_NOT_FOUND}};
    if (c->id.number <= r->object_count) {
        struct object *o = object(r, c->id.number);
        m.cancelled.code = o->settled ? CODE_DONE : 0;
        if (!o->settled) {
            failure_set(&o->failure, CODE_CANCELLED, "it was cancelled");
            o->settled = true;
        }
    }
    send(r, &m);
}

static void query(struct fake_raylet *r, const struct local_query *q)
{
    struct state_amount amounts[] = {
        {"CPU", 40000, 30000}, {"memory", 1024 * 10000, 512 * 10000}, {"disk", 20000, 20000}};
    struct state_node nodes[] = {
        {.number = NODE,
         .name = "one",
         .host = "h",
         .address = "127.0.0.1:1",
         .state = "alive",
         .note = "",
         .labels = "",
         .amounts = amounts,
         .amount_count = 3},
        {.number = 4,
         .name = "two",
         .host = "h",
         .address = "127.0.0.1:2",
         .state = "lost",
         .note = "",
         .labels = "",
         .amounts = amounts,
         .amount_count = 2},
    };
    struct local_msg m = {
        .type = LOCAL_REPLY,
        .reply = {q->request, {.nodes = nodes, .node_count = 2, .cluster = "", .head_address = ""}},
    };
    for (size_t i = 0; i < 2; i++) { /* in two pieces */
        m.reply.reply.nodes = &nodes[i];
        m.reply.reply.node_count = 1;
        m.reply.reply.last = i == 1;
        send(r, &m);
    }
}

/* ---- what it is told ---- */

static void welcome(struct fake_raylet *r)
{
    struct local_msg m = {
        .type = LOCAL_WELCOME,
        .welcome = {.node = NODE,
                    .client = CLIENT,
                    .job = 1,
                    .node_name = "one",
                    .cluster = "fake",
                    .credit_bytes =
                        r->options.credit_bytes == 0 ? 1u << 30 : r->options.credit_bytes},
    };
    if (r->options.refuse) {
        m = (struct local_msg){.type = LOCAL_REFUSED};
        failure_set(&m.refused.failure, CODE_REFUSED, "not today");
    }
    send(r, &m);
}

static void release(struct fake_raylet *r, const struct local_ids *ids)
{
    for (size_t i = 0; i < ids->id_count; i++) {
        if (object_id_equal(ids->ids[i], FAKE_INNER)) {
            r->counts.inner_released++;
            continue;
        }
        struct object *o = object(r, ids->ids[i].number);
        ASSERT(!o->released);
        o->released = true;
        ring_credit_add(&r->ring, o->charge);
        o->charge = 0;
    }
    r->counts.releases++;
    r->counts.released += ids->id_count;
}

static void take(struct fake_raylet *r, const struct local_msg *m)
{
    struct raylet_counts *c = &r->counts;
    switch (m->type) {
    case LOCAL_OPEN:
        c->opens++;
        r->wants_logs = m->open.wants_logs;
        ASSERT(m->open.protocol == LOCAL_PROTOCOL_VERSION && m->open.role == ROLE_DRIVER);
        welcome(r);
        return;
    case LOCAL_CLASS:
        ASSERT(m->class_.number == ++r->class_count && r->class_count <= 64);
        snprintf(r->functions[r->class_count - 1], 64, "%.63s", m->class_.function);
        c->classes++;
        c->strategy = m->class_.strategy;
        c->soft = m->class_.soft;
        text_copy(c->node, sizeof c->node, m->class_.node);
        text_copy(c->labels, sizeof c->labels, m->class_.labels);
        return;
    case LOCAL_SUBMIT:
        c->submits++;
        submit(r, m);
        return;
    case LOCAL_PUT: {
        struct object *o = object_make(r, m->put.number, m->payload.size + 256);
        o->size = (uint32_t)m->payload.size;
        o->value = xmalloc(o->size);
        memcpy(o->value, m->payload.data, o->size);
        o->settled = true;
        c->puts++;
        c->put_refs = (uint32_t)m->put.ref_count;
        c->put_ref = m->put.ref_count != 0 ? m->put.refs[0] : (struct object_id){0};
        return;
    }
    case LOCAL_GET:
        c->gets++;
        c->wholes += (m->get.flags & GET_WHOLE) != 0;
        c->asked += m->get.id_count;
        c->last_get_ids = (uint32_t)m->get.id_count;
        get(r, &m->get);
        return;
    case LOCAL_HOLD:
        ASSERT(m->ids.id_count == 1 && c->holds == c->inner_released); /* one, and not twice */
        c->holds++;
        c->held = m->ids.ids[0];
        c->through = m->ids.through;
        return;
    case LOCAL_RELEASE:
        release(r, &m->ids);
        return;
    case LOCAL_CANCEL:
        c->cancels++;
        cancel(r, &m->cancel);
        return;
    case LOCAL_QUERY:
        query(r, &m->query);
        return;
    case LOCAL_LOGS: {
        struct local_msg taken = {.type = LOCAL_LOGS};
        send(r, &taken);
        return;
    }
    case LOCAL_GOODBYE:
        c->goodbyes++;
        return;
    default:
        ASSERT(false);
    }
}

static void receive(struct fake_raylet *r)
{
    struct arena arena = {0};
    struct bytes data;
    struct local_msg m;
    const char *why;
    while (ring_receive(&r->ring, &arena, &data) == 1) {
        ASSERT(local_decode(data, &arena, &m, &why) == 0);
        if (!r->options.deaf) {
            take(r, &m);
        }
        arena_reset(&arena);
    }
    arena_fini(&arena);
    answer_all(r);
    (void)!ring_flush(&r->ring);
}

/* ---- the thread ---- */

static void accept_client(struct fake_raylet *r)
{
    struct ring_peer peer;
    int socket = ring_accept(r->listener, &peer), rc;
    struct ring_gifts gifts = {-1, -1};
    if (socket < 0) {
        return;
    }
    do {
        rc = ring_greet(socket, &r->ring, &gifts);
        sched_yield();
    } while (rc == -EAGAIN);
    ASSERT(rc == 0 && gifts.program >= 0 && gifts.directory >= 0);
    close(gifts.program);
    close(gifts.directory);
    r->socket = socket;
    r->up = true;
}

static void settle_rest(struct fake_raylet *r)
{
    r->settle = false;
    for (uint64_t i = 1; i <= r->object_count; i++) {
        if (!object(r, i)->settled) {
            settle_number(r, object(r, i), 0);
        }
    }
}

static void *run(void *arg)
{
    struct fake_raylet *r = arg;
    pthread_mutex_lock(&r->lock);
    while (!r->stop) {
        if (r->up) {
            receive(r); /* what was written before the settling is asked for is settled, too */
        }
        if (r->settle) {
            settle_rest(r);
            continue;
        }
        if (!r->up || ring_arm(&r->ring)) {
            struct pollfd fds[3] = {{r->wake, POLLIN, 0},
                                    {r->up ? r->ring.doorbell_mine : r->listener, POLLIN, 0}};
            pthread_mutex_unlock(&r->lock);
            poll(fds, 2, 1000);
            pthread_mutex_lock(&r->lock);
            uint64_t count;
            (void)!read(r->wake, &count, sizeof count);
            if (r->up) {
                ring_disarm(&r->ring);
            } else if (!r->stop) {
                accept_client(r);
            }
        }
    }
    if (r->up) {
        ring_fini(&r->ring);
        close(r->socket);
    }
    close(r->listener);
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

static void wake(struct fake_raylet *r)
{
    uint64_t one = 1;
    (void)!write(r->wake, &one, sizeof one);
}

struct fake_raylet *fake_raylet_start(const struct fake_options *options)
{
    struct fake_raylet *r = xcalloc(1, sizeof *r);
    const char *tmp = getenv("TMPDIR");
    char path[300];
    if (options != NULL) {
        r->options = *options;
    }
    pthread_mutex_init(&r->lock, NULL);
    snprintf(r->dir, sizeof r->dir, "%s/drt-fake-XXXXXX", tmp != NULL ? tmp : "/tmp");
    ASSERT(mkdtemp(r->dir) != NULL);
    snprintf(path, sizeof path, "%s/nodes/one", r->dir);
    ASSERT(files_make_dirs(path, 0700) == 0);
    snprintf(path, sizeof path, "%s/head.lock", r->dir);
    r->locks[0] = files_lock(path);
    snprintf(path, sizeof path, "%s/nodes/one/lock", r->dir);
    r->locks[1] = files_lock(path);
    snprintf(path, sizeof path, "%s/nodes/one/sock", r->dir);
    r->listener = ring_listen(path);
    r->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ASSERT(r->listener >= 0 && r->wake >= 0 && r->locks[0] >= 0 && r->locks[1] >= 0);
    setenv("DRT_DIR", r->dir, 1);
    setenv("DRT_MODE", "cluster", 1);
    ASSERT(pthread_create(&r->thread, NULL, run, r) == 0);
    return r;
}

void fake_raylet_die(struct fake_raylet *r)
{
    pthread_mutex_lock(&r->lock);
    bool before = r->stop;
    r->stop = true;
    pthread_mutex_unlock(&r->lock);
    wake(r);
    if (!before) {
        pthread_join(r->thread, NULL);
    }
}

void fake_raylet_stop(struct fake_raylet *r)
{
    fake_raylet_die(r);
    for (uint64_t i = 0; i < r->object_count; i++) {
        free(r->objects[i].value);
    }
    free(r->objects);
    close(r->wake);
    close(r->locks[0]);
    close(r->locks[1]);
    (void)files_remove_tree(r->dir);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

void fake_raylet_settle(struct fake_raylet *r)
{
    pthread_mutex_lock(&r->lock);
    r->settle = true;
    pthread_mutex_unlock(&r->lock);
    wake(r);
}

struct raylet_counts fake_raylet_count(struct fake_raylet *r)
{
    pthread_mutex_lock(&r->lock);
    struct raylet_counts counts = r->counts;
    pthread_mutex_unlock(&r->lock);
    return counts;
}

bool fake_raylet_await_released(struct fake_raylet *r, uint64_t released)
{
    uint64_t deadline_ns = clock_now_ns() + 5 * NS_PER_S;
    while (fake_raylet_count(r).released < released) {
        if (clock_now_ns() > deadline_ns) {
            return false;
        }
        sched_yield();
    }
    return true;
}
