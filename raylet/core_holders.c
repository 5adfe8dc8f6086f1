#include "raylet/core_holders.h"

#include "common/text.h"
#include "raylet/core_contents.h"
#include "raylet/core_foreign_state.h"
#include "raylet/core_objects.h"
#include "raylet/core_peers.h"

#define TELLINGS_MAX     4194304u   /* values that wait to be sent to one node */
#define VALUE_BYTES_STEP (4u << 20) /* to one node in one step */

/* ---- sets ---- */

static struct holder *find_holder(struct foreign_peer *fp, const struct job *job)
{
    LIST_FOREACH(at, &fp->holders)
    {
        struct holder *h = list_entry(at, struct holder, link);
        if (h->job == job) {
            return h;
        }
    }
    return NULL;
}

static void take(struct foreign_peer *fp, struct object *o)
{
    struct holder *h = find_holder(fp, o->owner->job);
    struct holding *it = NULL;

    if (h == NULL) {
        h = xcalloc(1, sizeof *h);
        h->job = o->owner->job;
        list_append(&fp->holders, &h->link);
    }
    HASH_FIND_PTR(h->holdings, &o, it);
    if (it == NULL) {
        it = xcalloc(1, sizeof *it);
        it->object = o;
        object_hold(o);
    } else {
        HASH_DEL(h->holdings, it); /* to the end of those that were named */
    }
    it->list = fp->list;
    HASH_ADD_PTR(h->holdings, object, it);
}

static void let_go(struct raylet_core *c, struct holder *h, struct holding *it)
{
    struct object *o = it->object;

    HASH_DEL(h->holdings, it);
    free(it);
    if (h->holdings == NULL) {
        list_unlink(&h->link);
        free(h);
    }
    object_unhold(c, o);
}

bool holders_release(struct raylet_core *c, struct foreign_peer *fp, const struct job *job,
                     uint32_t most)
{
    LIST_FOREACH_SAFE(at, &fp->holders)
    {
        struct holder *h = list_entry(at, struct holder, link);
        if (job != NULL && h->job != job) {
            continue;
        }
        for (bool last = false; !last; most--) {
            if (most == 0) {
                return true;
            }
            last = h->holdings->hh.next == NULL;
            let_go(c, h, h->holdings);
        }
    }
    return false;
}

/* Of what the last list did not name. True: there is more. */
static bool sweep(struct raylet_core *c, struct foreign_peer *fp)
{
    uint32_t most = WORK_STEP;

    LIST_FOREACH_SAFE(at, &fp->holders)
    {
        struct holder *h = list_entry(at, struct holder, link);
        for (bool last = false; !last && h->holdings->list != fp->list; most--) {
            if (most == 0) {
                return true;
            }
            last = h->holdings->hh.next == NULL;
            let_go(c, h, h->holdings);
        }
    }
    fp->sweeping = false;
    return false;
}

void holders_add(struct raylet_core *c, struct foreign_peer *fp, const struct peer_add *m)
{
    struct object_id *ids = arena_alloc(&c->arena, (m->id_count + 1) * sizeof *ids);
    struct object_id *gone = arena_alloc(&c->arena, (m->id_count + 1) * sizeof *gone);
    size_t added = 0, missing = 0;

    if (m->first) {
        fp->list++;
        fp->sweeping = false;
    }
    for (size_t i = 0; i < m->id_count; i++) {
        struct object *o = m->ids[i].node == c->node ? object_find(c, m->ids[i]) : NULL;
        if (o == NULL || o->owner->job == NULL || o->owner->job->number != m->job) {
            gone[missing++] = m->ids[i];
        } else {
            take(fp, o);
            ids[added++] = m->ids[i];
        }
    }
    if (m->last) {
        fp->sweeping = true;
        foreign_busy(c, fp);
    }
    if (m->id_count > 0) { /* exactly one answer to each */
        struct peer_msg *answer = core_send_peer(c, fp->peer, SIDE_IN, PEER_ADDED);
        answer->added = (struct peer_added){ids, added, gone, missing};
    }
}

void holders_drop(struct raylet_core *c, struct foreign_peer *fp, const struct peer_ids *m)
{
    for (size_t i = 0; i < m->id_count; i++) {
        struct object *o = m->ids[i].node == c->node ? object_find(c, m->ids[i]) : NULL;
        struct holder *h = o == NULL ? NULL : find_holder(fp, o->owner->job);
        struct holding *it = NULL;
        if (h != NULL) {
            HASH_FIND_PTR(h->holdings, &o, it);
        }
        if (it != NULL) {
            let_go(c, h, it);
        }
    }
}

/* ---- values ---- */

static struct telling *new_telling(struct raylet_core *c, struct foreign_peer *fp,
                                   struct object_id id)
{
    if (fp->telling_first + fp->telling_count == fp->telling_room) {
        if (fp->telling_first > fp->telling_room / 2) {
            memmove(fp->tellings, fp->tellings + fp->telling_first,
                    fp->telling_count * sizeof *fp->tellings);
            fp->telling_first = 0;
        } else {
            fp->telling_room = fp->telling_room == 0 ? 16 : 2 * fp->telling_room;
            fp->tellings = xrealloc(fp->tellings, fp->telling_room * sizeof *fp->tellings);
        }
    }
    struct telling *t = &fp->tellings[fp->telling_first + fp->telling_count++];
    *t = (struct telling){.id = id};
    foreign_busy(c, fp);
    return t;
}

static void tell_later(struct raylet_core *c, struct foreign_peer *fp, struct object *o)
{
    new_telling(c, fp, core_object_id(c, o))->object = o;
    object_hold(o);
}

void holders_want(struct raylet_core *c, struct foreign_peer *fp, const struct peer_ids *m)
{
    if (fp->telling_count > TELLINGS_MAX) {
        peer_protocol_error(c, fp->peer, SIDE_IN,
                            "it asks for values without end and does not take those that it gets");
        return;
    }
    for (size_t i = 0; i < m->id_count; i++) {
        struct object *o = m->ids[i].node == c->node ? object_find(c, m->ids[i]) : NULL;
        if (o == NULL) {
            (void)new_telling(c, fp, m->ids[i]);
        } else if (object_is_settled(o)) {
            tell_later(c, fp, o);
        } else {
            object_watch_for(c, o, fp->peer->number, fp->in_session);
        }
    }
}

/* NULL: its session has ended meanwhile. */
static struct foreign_peer *waiter(struct raylet_core *c, const struct watcher *w)
{
    struct peer *p = peer_find(c, w->client);
    struct foreign_peer *fp = p == NULL ? NULL : p->foreign;

    return fp != NULL && fp->in_session == w->flags && peer_is_up(p, SIDE_IN) ? fp : NULL;
}

void holders_tell(struct raylet_core *c, const struct watcher *w, struct object *o)
{
    struct foreign_peer *fp = waiter(c, w);

    if (fp != NULL) {
        tell_later(c, fp, o);
    }
}

void holders_end_wait(struct raylet_core *c, const struct watcher *w, struct object *o,
                      struct object_error *error)
{
    struct foreign_peer *fp = waiter(c, w);

    if (fp != NULL) {
        new_telling(c, fp, core_object_id(c, o))->error = error_ref(error);
    }
}

void holders_session_ends(struct raylet_core *c, struct foreign_peer *fp)
{
    fp->in_session++;
    while (fp->telling_count > 0) {
        struct telling t = fp->tellings[fp->telling_first++];
        fp->telling_count--;
        error_unref(t.error);
        if (t.object != NULL) {
            object_unhold(c, t.object);
        }
    }
    fp->telling_first = 0;
}

static void say_error(struct raylet_core *c, struct peer_msg *m, const struct failure *f)
{
    struct buffer b = {0};

    failure_encode(f, &b);
    m->value.state = VALUE_ERROR;
    m->payload = bytes_of(arena_copy(&c->arena, b.data, b.size), b.size);
    buffer_fini(&b);
}

static void say_gone(struct raylet_core *c, struct peer_msg *m)
{
    struct failure f;

    failure_set(&f, CODE_NOT_FOUND, "this object was released where it was made");
    f.attempts = 1;
    text_shorten(f.node, sizeof f.node, c->node_name);
    say_error(c, m, &f);
}

static void say_value(struct raylet_core *c, struct peer_msg *m, struct object *o)
{
    struct foreign *f = c->foreign;
    const struct object *root = object_root(o);
    struct object_id *ids;
    size_t n;

    if (f->sent_count == f->sent_room) {
        f->sent_room = f->sent_room == 0 ? 16 : 2 * f->sent_room;
        f->sent = xrealloc(f->sent, f->sent_room * sizeof *f->sent);
    }
    f->sent[f->sent_count++] = o; /* its hold, until the next step */
    if (root->state == OBJECT_ERROR) {
        say_error(c, m, &root->error->failure);
        return;
    }
    struct object *const *inner = object_inner(c, root, &n);
    ids = arena_alloc(&c->arena, (n + 1) * sizeof *ids);
    for (size_t i = 0; i < n; i++) {
        ids[i] = core_object_id(c, inner[i]);
    }
    m->value.state = VALUE_HERE;
    m->value.refs = ids;
    m->value.ref_count = n;
    m->payload = object_bytes(root);
}

bool holders_flush(struct raylet_core *c, struct foreign_peer *fp)
{
    size_t bytes = 0;

    while (fp->telling_count > 0 && bytes < VALUE_BYTES_STEP && !fp->peer->slow[SIDE_IN]) {
        struct telling t = fp->tellings[fp->telling_first++];
        struct peer_msg *m = core_send_peer(c, fp->peer, SIDE_IN, PEER_VALUE);
        fp->telling_count--;
        m->value.id = t.id;
        if (t.error != NULL) {
            say_error(c, m, &t.error->failure);
            error_unref(t.error);
        } else if (t.object == NULL) {
            say_gone(c, m);
        } else {
            say_value(c, m, t.object);
        }
        bytes += m->payload.size + sizeof *m;
    }
    bool more = fp->telling_count > 0 && !fp->peer->slow[SIDE_IN];
    return (fp->sweeping && sweep(c, fp)) || more;
}

void holders_check(const struct foreign_peer *fp)
{
    LIST_FOREACH(at, &fp->holders)
    {
        const struct holder *h = list_entry(at, struct holder, link);
        ASSERT(h->holdings != NULL);
        for (const struct holding *it = h->holdings; it != NULL; it = it->hh.next) {
            ASSERT(it->object->holds > 0 && it->object->owner->job == h->job);
        }
    }
}
