#include "proto/session.h"

#include "common/clock.h"
#include "common/list.h"
#include "common/rng.h"
#include "proto/session.pb-c.h"

#define PREFIX_SIZE     4u   /* u32 size of the header */
#define HEADER_MAX      128u /* packed; the fields of today need at most 100 */
#define HEADROOM        192u /* in front of a kept message: more than both */
#define KEPT_OVERHEAD   256u /* what a kept message costs beside its bytes */
#define ACK_DELAY_NS    (20 * NS_PER_MS)
#define ACK_EVERY_COUNT 64u
#define ACK_EVERY_BYTES (256u << 10)
#define GAP_PAUSE_NS    (5 * NS_PER_MS)  /* between two calls of a receiver for what it misses */
#define RETRY_NS        (10 * NS_PER_MS) /* after the transport had no room */
#define RESEND_MAX_NS   (2 * NS_PER_S)
#define HELLO_MAX_NS    (1 * NS_PER_S)
#define STEADY_NS       (5 * NS_PER_S)    /* a session that lasted so long was a good one */
#define UNHEARD_NS      (100 * NS_PER_MS) /* as packets count it */
#define ANSWERER_NS     (SESSION_KEEPALIVE_NS / 4) /* waits longer for the word that it answers */
#define INCOMING_KEPT                                                                              \
    (256u << 10) /* room for a message that is not given back: sessions are many */
#define FLIGHT_AFTER_LOSS                                                                          \
    (32u << 10) /* bytes under way after a loss; doubles with each acknowledgement */

enum session_state { STATE_LISTENING, STATE_HELLO, STATE_UP, STATE_ENDED };

/* One end of a session: which of the sessions of which life. */
struct end {
    uint64_t life;
    uint32_t count;
};

struct kept { /* a message until it is acknowledged */
    struct list link;
    uint64_t sequence;
    size_t size;
    uint8_t data[]; /* HEADROOM, then the message */
};

struct session {
    struct session_owner owner;
    struct rng rng;
    uint32_t self;
    bool initiator;
    enum session_state state;
    bool dispatching;
    uint64_t now_ns;

    struct end mine, theirs; /* of the session that is up; mine also of the Hello under way */
    uint32_t peer;           /* their number */
    uint32_t last_count;
    bool confirmed;     /* initiator: they are up, too */
    bool has_candidate; /* responder: answered with HelloAck, not yet confirmed */
    struct end candidate_mine, candidate_theirs;
    uint32_t candidate_peer;
    uint64_t hello_at_ns, hello_pause_ns, up_since_ns;

    struct list kept; /* from the oldest unacknowledged */
    size_t kept_bytes;
    uint64_t next_sequence; /* of the next message that is queued */
    uint64_t send_sequence; /* next to be given to the transport */
    struct list *send_at;   /* its struct kept, or &kept when all were sent */
    uint64_t highest_sent;
    size_t flight_bytes, flight_max; /* sent and not acknowledged */
    uint64_t resend_at_ns, resend_pause_ns, retry_at_ns;
    uint64_t gap_answered; /* 1 + the acknowledgement that last made us send again */
    bool wants_room;

    uint64_t received; /* the last one in order */
    uint32_t ack_count;
    size_t ack_bytes; /* received since our last packet */
    uint64_t ack_at_ns;
    bool gap;
    uint64_t gap_said_ns, said_ns;
    uint64_t heard_ns; /* something valid came */
    uint64_t alive_ns; /* they heard us, as far as we know */

    struct buffer scratch;  /* outgoing datagrams */
    struct buffer incoming; /* a message, aligned */
    struct session_counts counts;
};

static bool end_equal(struct end a, struct end b)
{
    return a.life == b.life && a.count == b.count;
}

/* ---- making ---- */

static uint64_t jitter(struct session *s, uint64_t pause_ns)
{
    return pause_ns - pause_ns / 4 + rng_below(&s->rng, pause_ns / 2 + 1);
}

static void clear_traffic(struct session *s)
{
    for (struct list *node = list_pop(&s->kept); node != NULL; node = list_pop(&s->kept)) {
        free(list_entry(node, struct kept, link));
    }
    s->kept_bytes = s->flight_bytes = 0;
    s->flight_max = SESSION_UNACKED_MAX;
    s->next_sequence = s->send_sequence = 1;
    s->send_at = &s->kept;
    s->highest_sent = s->received = 0;
    s->resend_at_ns = s->retry_at_ns = s->ack_at_ns = NS_FOREVER;
    s->resend_pause_ns = SESSION_RESEND_MIN_NS;
    s->gap_answered = s->gap_said_ns = 0;
    s->wants_room = s->gap = s->confirmed = false;
    s->ack_count = 0;
    s->ack_bytes = 0;
}

struct session *session_new(const struct session_config *config, const struct session_owner *owner)
{
    struct session *s = xcalloc(1, sizeof *s);
    s->owner = *owner;
    rng_seed(&s->rng, config->seed);
    s->self = config->self;
    s->initiator = config->initiator;
    s->now_ns = config->now_ns;
    s->mine = (struct end){config->self_life, 0};
    s->hello_at_ns = NS_FOREVER;
    s->hello_pause_ns = SESSION_RESEND_MIN_NS;
    list_init(&s->kept);
    clear_traffic(s);
    if (s->initiator) {
        s->state = STATE_HELLO;
        s->mine.count = s->last_count = 1;
        s->hello_at_ns = s->now_ns;
    }
    return s;
}

void session_free(struct session *s)
{
    if (s == NULL) {
        return;
    }
    ASSERT(!s->dispatching);
    clear_traffic(s);
    buffer_fini(&s->scratch);
    buffer_fini(&s->incoming);
    free(s);
}

void session_set_number(struct session *s, uint32_t self)
{
    s->self = self;
}

/* Time never goes back for a session, whatever its owner says. */
static void set_now(struct session *s, uint64_t now_ns)
{
    s->now_ns = MAX_OF(s->now_ns, now_ns);
}

static void tell(struct session *s, const struct session_event *event)
{
    bool before = s->dispatching;
    s->dispatching = true;
    s->owner.on_event(s->owner.arg, event);
    s->dispatching = before;
}

/* ---- packets out ---- */

static Drt__Session__Header make_header(const struct session *s, Drt__Session__Kind kind)
{
    Drt__Session__Header h = DRT__SESSION__HEADER__INIT;
    h.kind = kind;
    h.from = s->self;
    h.to = s->peer;
    h.from_life = s->mine.life;
    h.from_count = s->mine.count;
    h.to_life = s->theirs.life;
    h.to_count = s->theirs.count;
    h.acknowledged = s->received;
    h.gap = s->gap;
    if (s->state == STATE_UP) {
        h.unheard = (uint32_t)MIN_OF((s->now_ns - s->heard_ns) / UNHEARD_NS, UINT32_MAX);
    }
    return h;
}

/* Writes prefix and header so that they end at `end`; returns where they begin. */
static uint8_t *put_header(const Drt__Session__Header *h, uint8_t *end)
{
    size_t size = drt__session__header__get_packed_size(h);
    ASSERT(size <= HEADER_MAX);
    uint8_t *at = end - size;
    drt__session__header__pack(h, at);
    uint32_t prefix = (uint32_t)size;
    memcpy(at - PREFIX_SIZE, &prefix, PREFIX_SIZE);
    return at - PREFIX_SIZE;
}

static int give(struct session *s, const uint8_t *data, size_t size)
{
    int r = s->owner.send(s->owner.arg, bytes_of(data, size));
    if (r == 0) {
        s->counts.sent++;
    }
    return r;
}

static int give_header(struct session *s, const Drt__Session__Header *h)
{
    uint8_t room[PREFIX_SIZE + HEADER_MAX];
    uint8_t *end = room + sizeof room;
    uint8_t *at = put_header(h, end);
    return give(s, at, (size_t)(end - at));
}

/* A packet of the session left: it carried our acknowledgement. */
static void note_said(struct session *s)
{
    s->said_ns = s->now_ns;
    s->ack_at_ns = NS_FOREVER;
    s->ack_count = 0;
    s->ack_bytes = 0;
    s->gap = false;
}

static void say(struct session *s, Drt__Session__Kind kind)
{
    Drt__Session__Header h = make_header(s, kind);
    (void)give_header(s, &h); /* lost or not: it is said again when that matters */
    note_said(s);
}

/* The other side answers it at once. */
static void say_alive(struct session *s)
{
    Drt__Session__Header h = make_header(s, DRT__SESSION__KIND__ACK);
    h.asks = true;
    (void)give_header(s, &h);
    note_said(s);
}

static void say_bye(struct session *s, bool silent)
{
    Drt__Session__Header h = make_header(s, DRT__SESSION__KIND__BYE);
    h.silent = silent;
    (void)give_header(s, &h);
}

static void say_hello(struct session *s)
{
    Drt__Session__Header h = make_header(s, DRT__SESSION__KIND__HELLO);
    h.to = 0;
    h.to_life = 0;
    h.to_count = 0;
    h.acknowledged = 0;
    (void)give_header(s, &h);
    s->hello_at_ns = s->now_ns + jitter(s, s->hello_pause_ns);
    s->hello_pause_ns = MIN_OF(s->hello_pause_ns * 2, HELLO_MAX_NS);
}

static void say_hello_ack(struct session *s)
{
    Drt__Session__Header h = DRT__SESSION__HEADER__INIT;
    h.kind = DRT__SESSION__KIND__HELLO_ACK;
    h.from = s->self;
    h.to = s->candidate_peer;
    h.from_life = s->candidate_mine.life;
    h.from_count = s->candidate_mine.count;
    h.to_life = s->candidate_theirs.life;
    h.to_count = s->candidate_theirs.count;
    (void)give_header(s, &h);
}

/* To one who takes us, or itself, for somebody else. Never an answer to a RESET: no storms. */
static void say_reset(struct session *s, const Drt__Session__Header *to)
{
    Drt__Session__Header h = DRT__SESSION__HEADER__INIT;
    h.kind = DRT__SESSION__KIND__RESET;
    h.from = s->self;
    h.to = to->from;
    h.from_life = s->mine.life;
    h.to_life = to->from_life;
    h.to_count = to->from_count;
    h.about_life = to->to_life;
    h.about_count = to->to_count;
    (void)give_header(s, &h);
}

/* Gives the transport what the window allows. */
static void pump(struct session *s)
{
    s->retry_at_ns = NS_FOREVER;
    while (s->send_at != &s->kept) {
        struct kept *k = list_entry(s->send_at, struct kept, link);
        size_t cost = k->size + KEPT_OVERHEAD;
        if (s->flight_bytes != 0 && s->flight_bytes + cost > s->flight_max) {
            return; /* goes on with the next acknowledgement */
        }
        Drt__Session__Header h = make_header(s, DRT__SESSION__KIND__DATA);
        h.sequence = k->sequence;
        uint8_t *at = put_header(&h, k->data + HEADROOM);
        if (give(s, at, (size_t)(k->data + HEADROOM - at) + k->size) != 0) {
            s->retry_at_ns = s->now_ns + RETRY_NS;
            return;
        }
        note_said(s);
        if (k->sequence <= s->highest_sent) {
            s->counts.resent++;
        }
        s->highest_sent = MAX_OF(s->highest_sent, k->sequence);
        s->flight_bytes += cost;
        if (s->resend_at_ns == NS_FOREVER) {
            s->resend_at_ns = s->now_ns + jitter(s, s->resend_pause_ns);
        }
        s->send_at = s->send_at->next;
        s->send_sequence = k->sequence + 1;
    }
}

static void resend_from_start(struct session *s)
{
    s->send_at = s->kept.next;
    s->send_sequence = list_is_empty(&s->kept)
                           ? s->next_sequence
                           : list_entry(s->kept.next, struct kept, link)->sequence;
    s->flight_bytes = 0;
    s->flight_max = FLIGHT_AFTER_LOSS;
    s->resend_at_ns = NS_FOREVER;
    pump(s);
    if (s->resend_at_ns == NS_FOREVER && s->send_at != &s->kept) {
        s->resend_at_ns = s->now_ns + jitter(s, s->resend_pause_ns);
    }
}

/* ---- up and down ---- */

static void go_up(struct session *s)
{
    clear_traffic(s);
    s->state = STATE_UP;
    s->up_since_ns = s->heard_ns = s->alive_ns = s->now_ns;
    s->said_ns = s->now_ns;
    s->hello_at_ns = NS_FOREVER;
    tell(s,
         &(struct session_event){.kind = SESSION_UP, .peer = s->peer, .peer_life = s->theirs.life});
}

static void go_down(struct session *s, bool silent)
{
    struct session_event event = {
        .kind = SESSION_DOWN, .peer = s->peer, .peer_life = s->theirs.life, .silent = silent};
    bool steady = s->now_ns - s->up_since_ns >= STEADY_NS;
    clear_traffic(s);
    s->state = STATE_LISTENING;
    s->theirs = (struct end){0};
    s->peer = 0;
    if (s->initiator) {
        /* Two sides that always end what they began must not do so in a tight loop. */
        s->state = STATE_HELLO;
        s->mine.count = ++s->last_count;
        s->hello_pause_ns = steady ? SESSION_RESEND_MIN_NS : s->hello_pause_ns;
        s->hello_at_ns = s->now_ns + jitter(s, steady ? 10 * NS_PER_MS : s->hello_pause_ns);
        s->hello_pause_ns = MIN_OF(s->hello_pause_ns * 2, HELLO_MAX_NS);
    }
    tell(s, &event);
}

void session_end(struct session *s, uint64_t now_ns)
{
    set_now(s, now_ns);
    if (s->state == STATE_UP) {
        say_bye(s, false);
    }
    clear_traffic(s);
    s->state = STATE_ENDED;
    s->has_candidate = false;
    s->hello_at_ns = NS_FOREVER;
    s->theirs = (struct end){0};
}

bool session_is_up(const struct session *s)
{
    return s->state == STATE_UP;
}

/* ---- messages out ---- */

int session_send(struct session *s, uint64_t now_ns, struct bytes message)
{
    set_now(s, now_ns);
    if (s->state != STATE_UP) {
        return -ENOTCONN;
    }
    if (message.size > SESSION_MESSAGE_MAX) {
        return -EMSGSIZE;
    }
    if (s->kept_bytes + message.size + KEPT_OVERHEAD > SESSION_UNACKED_MAX) {
        s->wants_room = true;
        return -EAGAIN;
    }
    struct kept *k = xmalloc(sizeof *k + HEADROOM + message.size);
    k->sequence = s->next_sequence++;
    k->size = message.size;
    if (message.size != 0) {
        memcpy(k->data + HEADROOM, message.data, message.size);
    }
    list_init(&k->link);
    list_append(&s->kept, &k->link);
    s->kept_bytes += message.size + KEPT_OVERHEAD;
    if (s->send_at == &s->kept) {
        s->send_at = &k->link;
    }
    pump(s);
    return 0;
}

int session_datagram(struct session *s, uint64_t now_ns, struct bytes message)
{
    set_now(s, now_ns);
    if (s->state != STATE_UP) {
        return -ENOTCONN;
    }
    if (message.size > SESSION_MESSAGE_MAX) {
        return -EMSGSIZE;
    }
    buffer_clear(&s->scratch);
    buffer_extend(&s->scratch, HEADROOM);
    buffer_append(&s->scratch, message.data, message.size);
    Drt__Session__Header h = make_header(s, DRT__SESSION__KIND__DATAGRAM);
    uint8_t *at = put_header(&h, s->scratch.data + HEADROOM);
    int r = give(s, at, (size_t)(s->scratch.data + s->scratch.size - at));
    if (r == 0) {
        note_said(s);
    }
    return r;
}

/* ---- packets in ---- */

/* The header has numbers only: one allocation of its own struct. What asks for more has unknown
 * fields. */
struct one_struct {
    _Alignas(16) uint8_t room[sizeof(Drt__Session__Header)];
    bool taken;
};

static void *take_room(void *arg, size_t size)
{
    struct one_struct *one = arg;
    if (one->taken || size > sizeof one->room) {
        return NULL;
    }
    one->taken = true;
    return one->room;
}

static void leave_room(void *arg, void *ptr)
{
}

static int parse_packet(struct bytes packet, Drt__Session__Header *ret, struct bytes *ret_message)
{
    uint32_t size;
    if (packet.size < PREFIX_SIZE) {
        return -EPROTO;
    }
    memcpy(&size, packet.data, PREFIX_SIZE);
    if (size > HEADER_MAX || size > packet.size - PREFIX_SIZE) {
        return -EPROTO;
    }
    struct one_struct one = {.taken = false};
    ProtobufCAllocator allocator = {take_room, leave_room, &one};
    const uint8_t *data = packet.data;
    Drt__Session__Header *h = drt__session__header__unpack(&allocator, size, data + PREFIX_SIZE);
    if (h == NULL) {
        return -EPROTO;
    }
    struct bytes message = {data + PREFIX_SIZE + size, packet.size - PREFIX_SIZE - size};
    bool carries = h->kind == DRT__SESSION__KIND__DATA || h->kind == DRT__SESSION__KIND__DATAGRAM;
    if (h->kind < DRT__SESSION__KIND__HELLO || h->kind > DRT__SESSION__KIND__RESET ||
        (!carries && message.size != 0) || message.size > SESSION_MESSAGE_MAX ||
        (h->kind == DRT__SESSION__KIND__DATA && h->sequence == 0)) {
        return -EPROTO;
    }
    *ret = *h;
    *ret_message = message;
    return 0;
}

static void receive_hello(struct session *s, const Drt__Session__Header *h)
{
    struct end theirs = {h->from_life, h->from_count};
    if (s->initiator || s->state == STATE_ENDED) {
        return;
    }
    /* A late copy of a Hello that this life has followed up. */
    if ((s->state == STATE_UP && theirs.life == s->theirs.life &&
         theirs.count <= s->theirs.count) ||
        (s->has_candidate && theirs.life == s->candidate_theirs.life &&
         theirs.count < s->candidate_theirs.count)) {
        return;
    }
    if (s->state == STATE_UP && theirs.life == s->theirs.life) {
        go_down(s, false); /* this life counts on only when its former session is over */
        if (s->state == STATE_ENDED) {
            return;
        }
    }
    /* A late Hello of a former life can only become a candidate: nobody confirms it, and the
     * session that is up stays. */
    if (!s->has_candidate || !end_equal(theirs, s->candidate_theirs)) {
        s->has_candidate = true;
        s->candidate_theirs = theirs;
        s->candidate_mine = (struct end){s->mine.life, ++s->last_count};
    }
    s->candidate_peer = h->from;
    say_hello_ack(s);
}

static void receive_hello_ack(struct session *s, const Drt__Session__Header *h)
{
    struct end to = {h->to_life, h->to_count}, theirs = {h->from_life, h->from_count};
    if (!s->initiator || !end_equal(to, s->mine)) {
        return;
    }
    if (s->state == STATE_HELLO) {
        s->theirs = theirs;
        s->peer = h->from;
        go_up(s);
        if (s->state != STATE_UP) {
            return;
        }
        s->hello_pause_ns = SESSION_RESEND_MIN_NS;
        s->hello_at_ns = s->now_ns + s->hello_pause_ns;
    }
    if (s->state == STATE_UP && end_equal(theirs, s->theirs)) {
        say(s, DRT__SESSION__KIND__ACK);
    }
}

static void receive_reset(struct session *s, const Drt__Session__Header *h)
{
    struct end to = {h->to_life, h->to_count}, about = {h->about_life, h->about_count};
    if (s->state == STATE_UP && end_equal(to, s->mine) && end_equal(about, s->theirs)) {
        go_down(s, false);
    }
}

static void free_acknowledged(struct session *s, uint64_t acknowledged)
{
    for (struct list *node = list_first(&s->kept); node != NULL; node = list_first(&s->kept)) {
        struct kept *k = list_entry(node, struct kept, link);
        if (k->sequence > acknowledged) {
            return;
        }
        size_t cost = k->size + KEPT_OVERHEAD;
        if (k->sequence < s->send_sequence) {
            s->flight_bytes -= cost;
        }
        if (s->send_at == node) {
            s->send_at = node->next;
            s->send_sequence = k->sequence + 1;
        }
        s->kept_bytes -= cost;
        list_unlink(node);
        free(k);
    }
}

static void receive_acknowledged(struct session *s, uint64_t acknowledged, bool gap)
{
    struct list *first = list_first(&s->kept);
    uint64_t oldest =
        first == NULL ? s->next_sequence : list_entry(first, struct kept, link)->sequence;
    if (acknowledged >= oldest) {
        free_acknowledged(s, acknowledged);
        s->resend_pause_ns = SESSION_RESEND_MIN_NS;
        s->flight_max = MIN_OF(s->flight_max * 2, SESSION_UNACKED_MAX);
        s->resend_at_ns =
            list_is_empty(&s->kept) ? NS_FOREVER : s->now_ns + jitter(s, s->resend_pause_ns);
        pump(s);
    }
    if (gap && !list_is_empty(&s->kept) && s->highest_sent > acknowledged &&
        list_entry(s->kept.next, struct kept, link)->sequence == acknowledged + 1 &&
        s->gap_answered != acknowledged + 1) {
        /* Once for each place: further calls for the same one are of packets that flew already. */
        s->gap_answered = acknowledged + 1;
        resend_from_start(s);
    }
    if (s->wants_room && s->kept_bytes <= SESSION_UNACKED_MAX / 2) {
        s->wants_room = false;
        tell(s, &(struct session_event){
                    .kind = SESSION_ROOM, .peer = s->peer, .peer_life = s->theirs.life});
    }
}

static void deliver(struct session *s, enum session_event_kind kind, struct bytes message)
{
    if (((uintptr_t)message.data & 63) != 0 && message.size != 0) {
        buffer_clear(&s->incoming);
        buffer_append(&s->incoming, message.data, message.size);
        message.data = s->incoming.data;
    }
    s->counts.received++;
    tell(s, &(struct session_event){
                .kind = kind, .peer = s->peer, .peer_life = s->theirs.life, .data = message});
    if (s->incoming.room > INCOMING_KEPT) {
        buffer_fini(&s->incoming);
    }
}

static void receive_data(struct session *s, uint64_t sequence, struct bytes message)
{
    if (sequence == s->received + 1) {
        s->received = sequence;
        s->ack_count++;
        s->ack_bytes += message.size;
        bool now = s->ack_count >= ACK_EVERY_COUNT || s->ack_bytes >= ACK_EVERY_BYTES;
        s->ack_at_ns = MIN_OF(s->ack_at_ns, now ? s->now_ns : s->now_ns + ACK_DELAY_NS);
        s->gap = false;
        deliver(s, SESSION_MESSAGE, message);
        return;
    }
    if (sequence <= s->received) {
        s->counts.duplicates++;
    } else {
        s->counts.out_of_order++;
        s->gap = true;
    }
    /* The other side lacks our acknowledgement, or we lack its message: it should know soon. */
    uint64_t at_ns = MAX_OF(s->now_ns, ns_add(s->gap_said_ns, GAP_PAUSE_NS));
    s->ack_at_ns = MIN_OF(s->ack_at_ns, at_ns);
}

/* They are heard, and say when we were. */
static void receive_life(struct session *s, const Drt__Session__Header *h)
{
    uint64_t unheard_ns = h->unheard * UNHEARD_NS;
    s->heard_ns = s->now_ns;
    s->alive_ns = MAX_OF(s->alive_ns, s->now_ns - MIN_OF(unheard_ns, s->now_ns));
    if (h->asks) {
        s->ack_at_ns = s->now_ns;
    }
}

/* Of the session that is up: the numbers fit, too. */
static int receive_in_session(struct session *s, const Drt__Session__Header *h,
                              struct bytes message)
{
    if (h->acknowledged > s->highest_sent) {
        return -EPROTO;
    }
    if (h->from != 0) {
        s->peer = h->from;
    }
    receive_life(s, h);
    if (s->initiator && !s->confirmed) {
        s->confirmed = true;
        s->hello_at_ns = NS_FOREVER;
    }
    if (h->kind == DRT__SESSION__KIND__BYE) {
        go_down(s, h->silent);
        return 0;
    }
    struct end mine = s->mine, theirs = s->theirs;
    receive_acknowledged(s, h->acknowledged, h->gap);
    /* The owner may have ended the session when it heard of room. */
    if (s->state != STATE_UP || !end_equal(mine, s->mine) || !end_equal(theirs, s->theirs)) {
        return 0;
    }
    if (h->kind == DRT__SESSION__KIND__DATA) {
        receive_data(s, h->sequence, message);
    } else if (h->kind == DRT__SESSION__KIND__DATAGRAM) {
        deliver(s, SESSION_DATAGRAM, message);
    }
    if (s->state == STATE_UP && s->ack_at_ns <= s->now_ns) {
        s->gap_said_ns = s->now_ns;
        say(s, DRT__SESSION__KIND__ACK);
    }
    return 0;
}

static void promote_candidate(struct session *s)
{
    struct end mine = s->candidate_mine, theirs = s->candidate_theirs;
    uint32_t peer = s->candidate_peer;
    s->has_candidate = false;
    if (s->state == STATE_UP) {
        go_down(s, false);
        if (s->state == STATE_ENDED) {
            return;
        }
    }
    s->mine = mine;
    s->theirs = theirs;
    s->peer = peer;
    go_up(s);
    if (s->state == STATE_UP) {
        say(s, DRT__SESSION__KIND__ACK); /* so that the initiator stops confirming */
    }
}

static int receive_other(struct session *s, const Drt__Session__Header *h, struct bytes message)
{
    struct end to = {h->to_life, h->to_count}, from = {h->from_life, h->from_count};
    bool bye = h->kind == DRT__SESSION__KIND__BYE;
    if (s->has_candidate && end_equal(to, s->candidate_mine) &&
        end_equal(from, s->candidate_theirs)) {
        if (bye) {
            s->has_candidate = false;
            return 0;
        }
        promote_candidate(s);
    }
    if (s->state != STATE_UP || !end_equal(to, s->mine) || !end_equal(from, s->theirs)) {
        s->counts.stale++;
        if (!bye) {
            say_reset(s, h);
        }
        return 0;
    }
    if ((h->to != 0 && h->to != s->self) || (h->from != 0 && s->peer != 0 && h->from != s->peer)) {
        s->counts.stale++;
        say_reset(s, h);
        return 0;
    }
    return receive_in_session(s, h, message);
}

int session_receive(struct session *s, uint64_t now_ns, struct bytes packet)
{
    ASSERT(!s->dispatching);
    set_now(s, now_ns);
    Drt__Session__Header h;
    struct bytes message;
    int r = parse_packet(packet, &h, &message);
    if (r == 0) {
        switch (h.kind) {
        case DRT__SESSION__KIND__HELLO:
            receive_hello(s, &h);
            break;
        case DRT__SESSION__KIND__HELLO_ACK:
            receive_hello_ack(s, &h);
            break;
        case DRT__SESSION__KIND__RESET:
            receive_reset(s, &h);
            break;
        default:
            r = receive_other(s, &h, message);
            break;
        }
    }
    if (r != 0) {
        s->counts.broken++;
    }
    return r;
}

/* ---- time ---- */

/* When something is said that the other side answers. */
static uint64_t ask_at_ns(const struct session *s)
{
    uint64_t pause_ns = s->initiator ? SESSION_KEEPALIVE_NS : SESSION_KEEPALIVE_NS + ANSWERER_NS;
    uint64_t doubt_ns = MAX_OF(s->alive_ns + SESSION_DOUBT_NS, s->said_ns + SESSION_ASK_NS);
    return MIN_OF(s->said_ns + pause_ns, doubt_ns);
}

static void tick_up(struct session *s)
{
    if (s->now_ns - s->alive_ns >= SESSION_SILENCE_NS) {
        say_bye(s, true); /* it may hear us */
        go_down(s, true);
        return;
    }
    if (s->retry_at_ns <= s->now_ns) {
        pump(s);
    }
    if (s->resend_at_ns <= s->now_ns) {
        s->resend_pause_ns = MIN_OF(s->resend_pause_ns * 2, RESEND_MAX_NS);
        resend_from_start(s);
    }
    if (s->hello_at_ns <= s->now_ns) { /* not yet confirmed */
        s->hello_pause_ns = MIN_OF(s->hello_pause_ns * 2, HELLO_MAX_NS);
        s->hello_at_ns = s->now_ns + jitter(s, s->hello_pause_ns);
        say(s, DRT__SESSION__KIND__ACK);
    }
    if (s->ack_at_ns <= s->now_ns) {
        s->gap_said_ns = s->now_ns;
        say(s, DRT__SESSION__KIND__ACK);
    }
    if (ask_at_ns(s) <= s->now_ns) {
        say_alive(s);
    }
}

void session_tick(struct session *s, uint64_t now_ns)
{
    ASSERT(!s->dispatching);
    set_now(s, now_ns);
    if (s->state == STATE_UP) {
        tick_up(s);
    } else if (s->state == STATE_HELLO && s->hello_at_ns <= s->now_ns) {
        say_hello(s);
    }
}

uint64_t session_alive_ns(const struct session *s)
{
    return s->alive_ns;
}

void session_hurry(struct session *s, uint64_t now_ns)
{
    ASSERT(!s->dispatching);
    set_now(s, now_ns);
    if (s->state == STATE_HELLO) {
        s->hello_pause_ns = SESSION_RESEND_MIN_NS;
        say_hello(s);
    } else if (s->state == STATE_UP) {
        s->resend_pause_ns = SESSION_RESEND_MIN_NS;
        resend_from_start(s);
        s->flight_max = SESSION_UNACKED_MAX; /* a new connection is no sign of a narrow one */
        pump(s);
        say_alive(s); /* so that the other side sees the way, too */
    }
}

void session_lost(struct session *s, uint64_t now_ns)
{
    ASSERT(!s->dispatching);
    set_now(s, now_ns);
    if (s->state == STATE_UP) {
        go_down(s, false);
    }
}

uint64_t session_next_ns(const struct session *s)
{
    if (s->state == STATE_HELLO) {
        return s->hello_at_ns;
    }
    if (s->state != STATE_UP) {
        return NS_FOREVER;
    }
    uint64_t next = MIN_OF(s->alive_ns + SESSION_SILENCE_NS, ask_at_ns(s));
    next = MIN_OF(next, s->hello_at_ns);
    next = MIN_OF(next, s->ack_at_ns);
    next = MIN_OF(next, s->retry_at_ns);
    return MIN_OF(next, s->resend_at_ns);
}

void session_count(const struct session *s, struct session_counts *ret)
{
    *ret = s->counts;
}
