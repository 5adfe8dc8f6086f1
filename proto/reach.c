#include "proto/reach.h"

#include "common/clock.h"
#include "common/list.h"
#include "common/text.h"

#define KEY_SIZE 41

struct question {
    struct list link;
    struct reach *owner;
    struct resolver_question names;
    struct resolver_answer *targets; /* NULL: not yet known */
    size_t current;
    struct probe probe;
    uint64_t token, limit_ns, deadline_ns;
    char key[KEY_SIZE];              /* "": anybody */
    enum reach_answer worst, answer; /* so far; `answer` 0: not yet */
};

struct reach {
    struct reach_config config;
    struct list questions;
    size_t count;
};

static void question_free(struct question *q)
{
    resolver_drop(&q->names);
    probe_stop(&q->probe);
    list_unlink(&q->link);
    q->owner->count--;
    free(q->targets);
    free(q);
}

static void ask_next(struct question *q);

/* The best of all that the addresses gave: one that refuses says more than one that is silent. */
static void take(struct question *q, enum probe_answer answer)
{
    static const enum reach_answer answers[] = {[PROBE_LISTENS] = REACH_FOUND,
                                                [PROBE_REFUSED] = REACH_REFUSED,
                                                [PROBE_SILENT] = REACH_SILENT,
                                                [PROBE_OTHER] = REACH_OTHER};
    static const unsigned weight[] = {
        [REACH_SILENT] = 1, [REACH_REFUSED] = 2, [REACH_OTHER] = 3, [REACH_NO_NAME] = 0};
    enum reach_answer found = answers[answer];
    if (found == REACH_FOUND) {
        q->answer = found;
        return;
    }
    if (weight[found] > weight[q->worst]) {
        q->worst = found;
    }
    ask_next(q);
}

static void on_probe(struct probe *probe, enum probe_answer answer)
{
    take(container_of(probe, struct question, probe), answer);
}

/* The time that is left is shared by the addresses that are left. */
static void ask_next(struct question *q)
{
    uint64_t now_ns = clock_now_ns();
    if (q->current == q->targets->count) {
        q->answer = q->worst;
        return;
    }
    uint64_t left_ns = q->deadline_ns > now_ns ? q->deadline_ns - now_ns : 0;
    uint64_t share_ns = left_ns / (q->targets->count - q->current);
    int r = probe_start(&q->probe, q->owner->config.loop, &q->targets->addresses[q->current++],
                        q->key[0] != '\0' ? q->key : NULL, now_ns + share_ns, on_probe);
    if (r != 0) {
        take(q, r > 0 ? (enum probe_answer)r : PROBE_SILENT);
    }
}

static void begin(struct question *q, const struct resolver_answer *found)
{
    if (found->count == 0) {
        q->answer = REACH_NO_NAME;
        return;
    }
    q->targets = xmalloc(sizeof *q->targets);
    *q->targets = *found;
    ask_next(q);
}

static void on_names(struct resolver_question *names, const struct resolver_answer *found)
{
    begin(container_of(names, struct question, names), found);
}

struct reach *reach_new(const struct reach_config *config)
{
    struct reach *r = xcalloc(1, sizeof *r);
    r->config = *config;
    list_init(&r->questions);
    return r;
}

void reach_free(struct reach *r)
{
    if (r == NULL) {
        return;
    }
    LIST_FOREACH_SAFE(at, &r->questions)
    {
        question_free(list_entry(at, struct question, link));
    }
    free(r);
}

int reach_ask(struct reach *r, const char *address, const char *key, uint64_t limit_ns,
              uint64_t token)
{
    char host[HOSTPORT_HOST_SIZE];
    uint16_t port;
    const struct resolver_wish wish = {.texts = &address, .count = 1};
    if (hostport_parse(address, 0, host, &port) != 0 ||
        (key != NULL && strlen(key) != KEY_SIZE - 1)) {
        return -EINVAL;
    }
    if (r->count == REACH_MAX) {
        return -EBUSY;
    }
    struct question *q = xcalloc(1, sizeof *q);
    q->owner = r;
    q->token = token;
    q->deadline_ns = clock_now_ns() + limit_ns;
    q->names.fn = on_names;
    q->worst = REACH_NO_NAME;
    probe_init(&q->probe);
    (void)text_copy(q->key, sizeof q->key, key != NULL ? key : "");
    list_init(&q->link);
    list_append(&r->questions, &q->link);
    r->count++;
    if (resolver_is_plain(&wish)) {
        struct resolver_answer found = {0};
        resolver_ask_now(&wish, &found);
        begin(q, &found);
        return 0;
    }
    int e = resolver_ask(r->config.resolver, &q->names, &wish);
    if (e != 0) {
        question_free(q);
    }
    return e;
}

static uint64_t due_ns(const struct question *q)
{
    return q->answer != 0 ? 0 : q->targets != NULL ? q->probe.deadline_ns : q->deadline_ns;
}

uint64_t reach_next_ns(const struct reach *r)
{
    uint64_t next_ns = NS_FOREVER;
    LIST_FOREACH(at, &r->questions)
    {
        next_ns = MIN_OF(next_ns, due_ns(list_entry(at, struct question, link)));
    }
    return next_ns;
}

/* One at a time: the callback may ask again. */
static bool give_one(struct reach *r, uint64_t now_ns)
{
    LIST_FOREACH(at, &r->questions)
    {
        struct question *q = list_entry(at, struct question, link);
        if (due_ns(q) > now_ns) {
            continue;
        }
        if (q->answer == 0 && q->targets != NULL) {
            probe_tick(&q->probe, now_ns);
        } else if (q->answer == 0) {
            q->answer = REACH_NO_NAME; /* nobody told in time */
        }
        if (q->answer == 0) {
            return true;
        }
        enum reach_answer answer = q->answer;
        uint64_t token = q->token;
        bool keyed = q->key[0] != '\0';
        question_free(q);
        r->config.on_answer(r->config.arg, token, keyed, answer);
        return true;
    }
    return false;
}

void reach_tick(struct reach *r, uint64_t now_ns)
{
    while (give_one(r, now_ns)) {
        /* those that are ready */
    }
}
