#include "sdk/ask.h"

#include "common/clock.h"
#include "proto/layout.h"
#include "sdk/requests.h"

static int send_get(const struct object_id *ids, size_t count, uint32_t flags)
{
    struct local_msg m = {.type = LOCAL_GET, .get = {flags, ids, count}};
    if (count == 0) {
        return 0;
    }
    link_send_releases(&runtime.link); /* the question rings; whether it then waits is chance */
    return link_send(&runtime.link, &m);
}

/* Collects from `number` on, until one was asked for already; at most LOCAL_IDS_MAX. */
static size_t collect(struct object_id first, struct object_id *ids)
{
    struct object_id id = first;
    size_t n = 0, gaps = 0;
    while (n < LOCAL_IDS_MAX && gaps < LOCAL_IDS_MAX && id.number <= runtime.last_number) {
        uint32_t at;
        struct slot *s = objects_find_id(&runtime.objects, id, &at);
        if (s == NULL) {
            gaps++;
        } else if (s->state == OBJECT_UNASKED) {
            s->state = OBJECT_ASKED;
            ids[n++] = id;
        } else if (!object_is_settled(s)) {
            break;
        }
        id.number++;
    }
    return n;
}

static bool is_own(struct object_id id)
{
    return id.client == runtime.link.client && id.node == runtime.link.node;
}

int ask_following(struct slot *s, uint32_t number)
{
    struct object_id ids[LOCAL_IDS_MAX];
    (void)number;
    if (!is_own(s->id)) {
        s->state = OBJECT_ASKED;
        return send_get(&s->id, 1, 0);
    }
    return send_get(ids, collect(s->id, ids), 0);
}

int ask_all(const struct drt_ref *refs, size_t count)
{
    struct object_id ids[LOCAL_IDS_MAX];
    size_t n = 0;
    int r = 0;
    for (size_t i = 0; i < count && r == 0; i++) {
        uint32_t number;
        struct slot *s = objects_find(&runtime.objects, refs[i], &number);
        if (s == NULL) {
            continue;
        }
        s = objects_of(&runtime.objects, s, &number);
        if (s->state == OBJECT_UNASKED) {
            s->state = OBJECT_ASKED;
            ids[n++] = s->id;
        }
        if (n == LOCAL_IDS_MAX) {
            r = send_get(ids, n, 0);
            n = 0;
        }
    }
    return r == 0 ? send_get(ids, n, 0) : r;
}

int ask_whole(struct slot *s)
{
    s->state = OBJECT_FETCH;
    return send_get(&s->id, 1, GET_WHOLE);
}

int ask_nothing(uint64_t deadline_ns)
{
    struct request *ping = xcalloc(1, sizeof *ping);
    struct local_msg m = {
        .type = LOCAL_CANCEL,
        .cancel = {.id = {runtime.link.node, runtime.link.client, UINT64_MAX >> 1}}};
    int r = request_ask(ping, &m, deadline_ns);
    free(ping);
    return r;
}

bool ask_some_left(void *unused)
{
    (void)unused;
    if (runtime.objects.unsettled != 0) {
        struct object_id ids[LOCAL_IDS_MAX];
        struct object_id from = {runtime.link.node, runtime.link.client, runtime.asked_number + 1};
        size_t n = collect(from, ids);
        if (n > 0) {
            runtime.asked_number = ids[n - 1].number;
        }
        return send_get(ids, n, 0) == 0;
    }
    uint64_t before = ring_credit_read(&runtime.link.ring);
    return ask_nothing(NS_FOREVER) == 0 && ring_credit_read(&runtime.link.ring) != before;
}

static void take_value(const struct local_value *v, struct bytes bytes)
{
    uint32_t number;
    struct slot *s = objects_find_id(&runtime.objects, v->id, &number);
    if (s == NULL || s->state == OBJECT_VALUE || s->state == OBJECT_ERROR) {
        return; /* released meanwhile */
    }
    struct value_view view;
    struct failure f;
    switch (v->state) {
    case VALUE_HERE:
        if (value_decode(bytes, &view) == 0) {
            object_set_value(&runtime.objects, s, bytes);
            return;
        }
        failure_set(&f, CODE_OBJECT_LOST, "its value arrived broken");
        break;
    case VALUE_READY:
        if (s->state == OBJECT_UNASKED || s->state == OBJECT_ASKED) {
            object_set_ready(&runtime.objects, s, v->size);
        }
        return;
    default:
        if (failure_decode(bytes, &f) != 0 || f.code == 0) {
            failure_set(&f, CODE_OBJECT_LOST, "its error arrived broken");
        }
    }
    object_set_error(&runtime.objects, s, &f);
}

void ask_take(const struct local_msg *m)
{
    size_t end = 0;
    for (size_t i = 0; i < m->values.value_count; i++) {
        const struct local_value *v = &m->values.values[i];
        take_value(v, value_has_bytes(v) ? layout_entry(m->payload, &end, v->size)
                                         : bytes_of(NULL, 0));
    }
}
