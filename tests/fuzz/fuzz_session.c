#include "common/clock.h"
#include "proto/session.h"
#include "tests/fuzz/fuzz.h"

/*
 * Two sessions that speak with each other while packets are kept back, doubled, changed and
 * invented: the input is a list of commands. Nothing that comes may break a session's own rules;
 * what must hold for honest packets is tested elsewhere.
 */

#define FLYING_MAX   16
#define COMMANDS_MAX 200

enum command {
    DELIVER = 0,
    DELIVER_TWICE,
    LOSE,
    CHANGE,
    CUT,
    INVENT,
    SEND,
    DATAGRAM,
    TICK,
    END,
    COMMANDS
};

struct flying {
    struct buffer packets[FLYING_MAX]; /* to one side, in order */
    size_t count;
};

struct side {
    struct session *session;
    struct flying *out; /* to the other */
    bool up;
};

static void flying_add(struct flying *f, struct bytes packet)
{
    if (f->count < FLYING_MAX) {
        buffer_clear(&f->packets[f->count]);
        buffer_append(&f->packets[f->count++], packet.data, packet.size);
    }
}

static void flying_drop(struct flying *f)
{
    struct buffer first = f->packets[0];
    memmove(f->packets, f->packets + 1, (FLYING_MAX - 1) * sizeof first);
    f->packets[FLYING_MAX - 1] = first;
    f->count--;
}

static void on_event(void *arg, const struct session_event *event)
{
    struct side *side = arg;
    switch (event->kind) {
    case SESSION_UP:
        ASSERT(!side->up);
        side->up = true;
        return;
    case SESSION_DOWN:
        ASSERT(side->up);
        side->up = false;
        return;
    case SESSION_MESSAGE:
    case SESSION_DATAGRAM:
        ASSERT(side->up && event->data.size <= SESSION_MESSAGE_MAX);
        return;
    case SESSION_ROOM:
        return;
    }
    ASSERT(false);
}

static int on_send(void *arg, struct bytes packet)
{
    flying_add(((struct side *)arg)->out, packet);
    return 0;
}

static void give(struct side *to, uint64_t now_ns, struct bytes packet)
{
    int err = session_receive(to->session, now_ns, packet);
    ASSERT(err == 0 || err == -EPROTO);
}

static void command_run(enum command command, struct side *side, struct flying *to_it,
                        uint64_t *now_ns, struct fuzz_input *in)
{
    struct buffer *first = &to_it->packets[0];
    bool some = to_it->count != 0;
    int err = 0;
    switch (command) {
    case DELIVER:
    case DELIVER_TWICE:
    case CHANGE:
    case CUT:
        if (!some) {
            return;
        }
        if (command == CHANGE && first->size != 0) {
            first->data[fuzz_take(in, 1) % first->size] = (uint8_t)fuzz_take(in, 1);
        }
        if (command == CUT && first->size != 0) {
            first->size = fuzz_take(in, 1) % first->size;
        }
        struct buffer packet = {0};
        buffer_append(&packet, first->data, first->size);
        flying_drop(to_it);
        give(side, *now_ns, bytes_of(packet.data, packet.size));
        if (command == DELIVER_TWICE) {
            give(side, *now_ns, bytes_of(packet.data, packet.size));
        }
        buffer_fini(&packet);
        return;
    case LOSE:
        if (some) {
            flying_drop(to_it);
        }
        return;
    case INVENT:
        give(side, *now_ns, fuzz_bytes(in, fuzz_take(in, 1)));
        return;
    case SEND:
        err = session_send(side->session, *now_ns, fuzz_bytes(in, fuzz_take(in, 1) % 16));
        break;
    case DATAGRAM:
        err = session_datagram(side->session, *now_ns, fuzz_bytes(in, fuzz_take(in, 1) % 16));
        break;
    case TICK:
        *now_ns += fuzz_take(in, 1) * 10 * NS_PER_MS;
        session_tick(side->session, *now_ns);
        return;
    default:
        session_end(side->session, *now_ns);
        side->up = false; /* of one's own end nothing is told */
        return;
    }
    ASSERT(err == 0 || err == -ENOTCONN || err == -EAGAIN || err == -EMSGSIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct flying to[2];
    struct side sides[2] = {{.out = &to[1]}, {.out = &to[0]}};
    struct fuzz_input in = {data, data + size};
    uint64_t now_ns = NS_PER_S;
    to[0].count = to[1].count = 0;
    for (unsigned i = 0; i < 2; i++) {
        struct session_config config = {
            .self = i == 0 ? 0 : SESSION_NUMBER_HEAD,
            .self_life = 100 + i,
            .initiator = i == 0,
            .seed = i,
            .now_ns = now_ns,
        };
        struct session_owner owner = {on_event, on_send, &sides[i]};
        sides[i].session = session_new(&config, &owner);
    }
    for (unsigned n = 0; n < COMMANDS_MAX && fuzz_more(&in); n++) {
        uint64_t byte = fuzz_take(&in, 1);
        unsigned who = byte >> 7;
        command_run((enum command)((byte & 0x7f) % COMMANDS), &sides[who], &to[who], &now_ns, &in);
        ASSERT(session_is_up(sides[who].session) == sides[who].up);
    }
    session_free(sides[0].session);
    session_free(sides[1].session);
    return 0;
}

#define B 0x80 /* the other side */

bool fuzz_seed(size_t i, struct buffer *ret)
{
    /* Both become up: Hello, its answer, a first packet; then messages both ways, and what may go
     * wrong. */
#define BEGIN TICK, 1, DELIVER | B, DELIVER, DELIVER | B
    static const uint8_t seeds[][48] = {
        {BEGIN, SEND, 3, 1, 2, 3, DELIVER | B, SEND | B, 2, 9, 9, DELIVER, TICK, 50, DELIVER | B,
         TICK | B, 50, DELIVER},
        {BEGIN, SEND, 1, 7, LOSE | B, SEND, 1, 8, DELIVER | B, TICK, 100, DELIVER | B,
         DELIVER_TWICE, DELIVER | B},
        {BEGIN, DATAGRAM, 2, 1, 1, DELIVER_TWICE | B, END | B, DELIVER, TICK, 200, DELIVER | B,
         DELIVER},
        {BEGIN, SEND, 1, 7, CHANGE | B, 5,      1, SEND, 1, 7, CUT | B, 9, INVENT | B,
         4,     0,    0, 0, 0,          INVENT, 8, 2,    0, 0, 0,       8, 1},
    };
    if (i >= ARRAY_SIZE(seeds)) {
        return false;
    }
    buffer_append(ret, seeds[i], sizeof seeds[i]);
    return true;
}
