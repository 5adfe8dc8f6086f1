#include "tests/unit/unit.h"

#include "common/rng.h"
#include "proto/local.h"
#include "proto/message.h"
#include "proto/tables.h"

/* What is written can be read: no message is larger than a reader takes, whatever is in it. */

static size_t most_of(const struct codec *c);

static size_t most_of_field(const struct codec_field *f)
{
    enum { SIZE = 5 }; /* of a size, at most */
    size_t max = f->max, unit = f->unit;
    switch (f->kind) {
    case CODEC_BOOL:
        return 1;
    case CODEC_U32:
    case CODEC_S32:
        return 5;
    case CODEC_U64:
    case CODEC_S64:
        return 10;
    case CODEC_ID:
        return 1 + 16;
    case CODEC_WORDS:
    case CODEC_HALVES:
        return SIZE + max * unit;
    case CODEC_SUB:
        return SIZE + most_of(f->sub);
    case CODEC_SUBS:
        return max * (2 + SIZE + most_of(f->sub));
    case CODEC_TEXTS:
        return max * (2 + SIZE + unit);
    default:
        return SIZE + max;
    }
}

static size_t most_of(const struct codec *c)
{
    size_t sum = 0;
    for (size_t i = 0; i < c->field_count; i++) {
        sum += (i < 15 ? 1 : 2) + most_of_field(&c->fields[i]);
    }
    return sum;
}

static const struct codec *codec_of(unsigned type)
{
    return type < 64 ? local_codec(type) : type < 96 ? cluster_codec(type) : peer_codec(type);
}

/* Replies, history (rows of a reply) and views go in parts, for which their senders care; all
 * others fit by their bounds. */
static void test_every_message_fits(void **state)
{
    unsigned found = 0, in_parts = 0;
    for (unsigned type = 0; type < 128; type++) {
        const struct codec *c = codec_of(type);
        if (c == NULL) {
            continue;
        }
        found++;
        bool is_reply = strcmp(c->name, "Reply") == 0 || strcmp(c->name, "History") == 0;
        if (is_reply || strcmp(c->name, "View") == 0) {
            in_parts++;
        } else if (most_of(c) > MESSAGE_META_MAX) {
            fail_msg("%s may have %zu bytes", c->name, most_of(c));
        }
    }
    assert_true(found > 60);
    assert_int_equal(in_parts, 4); /* local and cluster Reply, History, View */
}

/* One part: rows, one row more than fits, and all that is no row. */
static void test_a_part_of_a_reply_fits(void **state)
{
    size_t rest = 0, largest = 0;
    for (size_t i = 0; i < state_reply_codec.field_count; i++) {
        const struct codec_field *f = &state_reply_codec.fields[i];
        if (f->kind == CODEC_SUBS) {
            largest = MAX_OF(largest, 8 + most_of(f->sub));
        } else if (f->kind != CODEC_TEXTS) {
            rest += 2 + most_of_field(f);
        }
    }
    assert_true(largest < STATE_PART_BYTES); /* else a part might have none */
    assert_true(STATE_PART_BYTES + rest + 64 <= MESSAGE_META_MAX);
}

/* ---- replies in parts ---- */

struct reply { /* a large one, and what has come of it */
    struct state_reply all;
    size_t parts, nodes, tasks, lines, logs;
};

static char texts[5000];

static const char *text_of(struct rng *rng, size_t max)
{
    return texts + sizeof texts - 1 - (rng_below(rng, 20) == 0 ? max : rng_below(rng, 30));
}

static void make(struct rng *rng, struct reply *r, size_t nodes, size_t tasks, size_t lines)
{
    struct state_node *n = xcalloc(nodes + 1, sizeof *n);
    struct state_task *t = xcalloc(tasks + 1, sizeof *t);
    const char **l = xcalloc(lines + 1, sizeof *l);
    struct state_amount *amounts = xcalloc(256, sizeof *amounts);
    for (size_t i = 0; i < 256; i++) {
        amounts[i] = (struct state_amount){text_of(rng, 255), INT64_MAX, INT64_MIN};
    }
    n[0].amounts = amounts; /* also where it is no row, so that it is found again */
    for (size_t i = 0; i < nodes; i++) {
        n[i] = (struct state_node){.number = (uint32_t)i + 1,
                                   .name = text_of(rng, 255),
                                   .labels = text_of(rng, 4096),
                                   .note = text_of(rng, 1023),
                                   .amounts = amounts,
                                   .amount_count = rng_below(rng, 257)};
    }
    for (size_t i = 0; i < tasks; i++) {
        t[i] = (struct state_task){.id = {1, 2, i + 1},
                                   .function = text_of(rng, 255),
                                   .name = text_of(rng, 255),
                                   .reason = text_of(rng, 1023)};
    }
    for (size_t i = 0; i < lines; i++) {
        l[i] = text_of(rng, 1023);
    }
    *r = (struct reply){.all = {.last = true,
                                .cluster = "c",
                                .head_address = "a",
                                .nodes = n,
                                .node_count = nodes,
                                .tasks = t,
                                .task_count = tasks,
                                .lines = l,
                                .line_count = lines,
                                .log = bytes_of(texts, sizeof texts),
                                .log_end = 7}};
    failure_set(&r->all.failure, CODE_FAILED, "at last");
}

static void unmake(const struct reply *r)
{
    free((void *)r->all.nodes[0].amounts);
    free((void *)r->all.nodes);
    free((void *)r->all.tasks);
    free((void *)r->all.lines);
}

/* Through the bytes of a message, and compared with what comes next. */
static void take(struct arena *arena, struct reply *r, const struct state_reply *part, bool more)
{
    struct local_msg m = {.type = LOCAL_REPLY, .reply = {.request = 3, .reply = *part}}, got;
    const char *why = "";
    size_t size = local_size(&m);
    uint8_t *bytes = arena_alloc(arena, size);
    local_encode(&m, bytes);
    if (local_decode(bytes_of(bytes, size), arena, &got, &why) != 0) {
        fail_msg("a part of %zu bytes: %s", size, why);
    }
    const struct state_reply *p = &got.reply.reply;
    assert_int_equal(p->last, !more);
    assert_int_equal(p->failure.code, more ? 0 : CODE_FAILED);
    assert_int_equal(p->log_end, 7);
    r->parts++;
    r->logs += p->log.size == sizeof texts;
    for (size_t i = 0; i < p->node_count; i++) {
        const struct state_node *n = &r->all.nodes[r->nodes++];
        assert_int_equal(p->nodes[i].number, n->number);
        assert_int_equal(p->nodes[i].amount_count, n->amount_count);
        assert_string_equal(p->nodes[i].labels, n->labels);
    }
    for (size_t i = 0; i < p->task_count; i++) {
        const struct state_task *t = &r->all.tasks[r->tasks++];
        assert_true(object_id_equal(p->tasks[i].id, t->id));
        assert_string_equal(p->tasks[i].reason, t->reason);
    }
    for (size_t i = 0; i < p->line_count; i++) {
        assert_string_equal(p->lines[i], r->all.lines[r->lines++]);
    }
    arena_reset(arena);
}

static void in_parts(size_t nodes, size_t tasks, size_t lines, uint64_t seed)
{
    struct rng rng;
    struct arena arena = {0};
    struct reply *r = xcalloc(1, sizeof *r);
    bool more;
    rng_seed(&rng, seed);
    make(&rng, r, nodes, tasks, lines);
    struct state_reply left = r->all, part;
    do {
        more = state_reply_part(&left, &part);
        take(&arena, r, &part, more);
        assert_true(r->parts < 1000);
    } while (more);
    assert_int_equal(r->nodes, nodes);
    assert_int_equal(r->tasks, tasks);
    assert_int_equal(r->lines, lines);
    assert_int_equal(r->logs, 1);
    assert_true(nodes + tasks + lines < 9000 || r->parts > 1);
    assert_true(nodes + tasks + lines > 0 || r->parts == 1);
    unmake(r);
    free(r);
    arena_fini(&arena);
}

static void test_replies_in_parts(void **state)
{
    memset(texts, 'x', sizeof texts - 1);
    in_parts(0, 0, 0, 1);
    in_parts(1, 1, 1, 2);
    in_parts(0, 25000, 0, 3);
    in_parts(500, 0, 9000, 4);
    in_parts(300, 12000, 5000, 5);
    for (uint64_t seed = 10; seed < 30; seed++) {
        in_parts(seed % 7 * 20, seed % 5 * 1000, seed % 3 * 2000, seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_message_fits),
        cmocka_unit_test(test_a_part_of_a_reply_fits),
        cmocka_unit_test(test_replies_in_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
