#include "proto/ring.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/*
 * A record is a header of 8 bytes and its bytes, 8-aligned, never across the end of the ring: where
 * it would be, a SKIP record fills the rest, published together with the record behind it.
 * Positions count bytes from the beginning of time.
 */

#define RING_MASK   (RING_BYTES - 1)
#define RECORD_HEAD 8u
#define GIVE_BACK   (RING_BYTES / 2)
#define KEEP_MAX    (1u << 20) /* larger buffers are given back once they are empty */
#define LINE        128        /* two cache lines: they are fetched in pairs */

enum record_kind {
    RECORD_WHOLE = 1,
    RECORD_FIRST = 2, /* of a message of several records; `total` is its size */
    RECORD_NEXT = 3,
    RECORD_SKIP = 4,
};

struct record {
    uint32_t size;       /* of the bytes that follow */
    uint32_t kind_total; /* kind in the upper 4 bits, total below */
};

#define KIND_SHIFT 28
#define TOTAL_MASK ((1u << KIND_SHIFT) - 1)
_Static_assert(MESSAGE_MAX <= TOTAL_MASK, "a message's size fits into a record's head");
_Static_assert(sizeof(struct record) == RECORD_HEAD, "a record's head");

struct ring_lane {
    _Alignas(LINE) _Atomic uint64_t tail; /* the producer's */
    _Alignas(LINE) _Atomic uint64_t head; /* the consumer's */
    _Alignas(LINE) _Atomic uint32_t consumer_sleeps;
    _Atomic uint32_t producer_waits;
};

struct ring_segment {
    struct ring_lane lanes[2]; /* 0: to the server, 1: to the client */
    _Alignas(LINE) _Atomic uint64_t credit;
    _Atomic uint32_t credit_watched;
    _Alignas(LINE) _Atomic uint32_t words[RING_WORDS];
    _Alignas(LINE) struct ring_meter meters[RING_METERS];
    _Alignas(4096) uint8_t data[2][RING_BYTES];
};

static inline struct ring_lane *lane_out(const struct ring_channel *c)
{
    return &c->segment->lanes[c->server];
}

static inline struct ring_lane *lane_in(const struct ring_channel *c)
{
    return &c->segment->lanes[!c->server];
}

/* ---- making and ending ---- */

static int segment_map(struct ring_channel *c)
{
    void *at = mmap(NULL, sizeof *c->segment, PROT_READ | PROT_WRITE, MAP_SHARED, c->memfd, 0);
    if (at == MAP_FAILED) {
        return -errno;
    }
    c->segment = at;
    return 0;
}

static int channel_open(struct ring_channel *c)
{
    c->memfd = memfd_create("drt-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (c->memfd < 0 || ftruncate(c->memfd, sizeof *c->segment) != 0 ||
        fcntl(c->memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        return -errno;
    }
    c->doorbell_mine = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    int ends[2];
    if (c->doorbell_mine < 0 || pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) {
        return -errno;
    }
    c->doorbell_client = ends[0];
    c->doorbell_theirs = ends[1];
    /* A page is plenty, and a user's pages for pipes are counted. It may stay larger. */
    (void)fcntl(ends[1], F_SETPIPE_SZ, 4096);
    return segment_map(c);
}

static void descriptors_close(struct ring_channel *c)
{
    close_fd(&c->memfd);
    close_fd(&c->doorbell_mine);
    close_fd(&c->doorbell_theirs);
    close_fd(&c->doorbell_client);
}

int ring_create(struct ring_channel *server)
{
    struct ring_channel c = {.server = true,
                             .memfd = -1,
                             .doorbell_mine = -1,
                             .doorbell_theirs = -1,
                             .doorbell_client = -1};
    int err = channel_open(&c);
    if (err != 0) {
        descriptors_close(&c);
        return err;
    }
    *server = c;
    return 0;
}

/* Only a segment of the right size that can never shrink is touched: else an access could fault. */
static int segment_check(int memfd)
{
    const int needed = F_SEAL_SHRINK | F_SEAL_GROW;
    int seals = fcntl(memfd, F_GET_SEALS);
    off_t size = lseek(memfd, 0, SEEK_END);
    return seals < 0 || (seals & needed) != needed || size != (off_t)sizeof(struct ring_segment)
               ? -EPROTO
               : 0;
}

int ring_attach(struct ring_channel *client, int memfd, int doorbell_server, int doorbell_client)
{
    struct ring_channel c = {
        .memfd = memfd,
        .doorbell_mine = doorbell_client,
        .doorbell_theirs = doorbell_server,
        .doorbell_client = -1,
    };
    int err = segment_check(memfd);
    err = err != 0 ? err : segment_map(&c);
    if (err != 0) {
        descriptors_close(&c);
        return err;
    }
    *client = c;
    return 0;
}

void ring_passed(struct ring_channel *server)
{
    close_fd(&server->doorbell_client);
}

void ring_hide_from_children(struct ring_channel *c)
{
    /* It can fail only where the kernel has no such advice: then the callers' checks must do. */
    (void)madvise(c->segment, sizeof *c->segment, MADV_DONTFORK);
}

void ring_forget(struct ring_channel *c)
{
    if (c->segment != NULL) {
        descriptors_close(c);
        c->segment = NULL;
    }
}

void ring_fini(struct ring_channel *c)
{
    if (c->segment == NULL) {
        return;
    }
    munmap(c->segment, sizeof *c->segment);
    descriptors_close(c);
    buffer_fini(&c->queue);
    buffer_fini(&c->assembly);
    *c = (struct ring_channel){0};
}

/* ---- ringing ---- */

static NOINLINE void doorbell_ring(const struct ring_channel *c)
{
    const uint64_t one = 1;
    /* Where it fails, so much lies there unread that the other side wakes anyway, or it is gone. A
     * bare system call, for write is a cancellation point, and our callers hold locks. */
    (void)syscall(SYS_write, c->doorbell_theirs, &one, c->server ? 1 : sizeof one);
}

/* Takes what was rung. Never blocks, whatever the other side did to the descriptor's flags. */
static void doorbell_drain(const struct ring_channel *c)
{
    uint64_t count;
    char rings[64];
    struct iovec at = {&count, sizeof count};
    struct pollfd look = {.fd = c->doorbell_mine, .events = POLLIN};
    if (!c->server) {
        while (syscall(SYS_read, c->doorbell_mine, rings, sizeof rings) == sizeof rings) {
        }
        return;
    }
    if (preadv2(c->doorbell_mine, &at, 1, -1, RWF_NOWAIT) < 0 && errno == EOPNOTSUPP &&
        poll(&look, 1, 0) == 1) { /* before Linux 5.8 an eventfd has no such read */
        (void)!read(c->doorbell_mine, &count, sizeof count);
    }
}

/* True if the flag was set; it is clear now. Costs a load where it was not. */
static inline bool flag_take(_Atomic uint32_t *flag)
{
    return UNLIKELY(atomic_load_explicit(flag, memory_order_relaxed) != 0) &&
           atomic_exchange_explicit(flag, 0, memory_order_relaxed) != 0;
}

static NOINLINE int broken(struct ring_channel *c)
{
    c->failed = true;
    return -EPROTO;
}

/* ---- producing ---- */

/* Looks again how far the other side has read. */
static inline int head_refresh(struct ring_channel *c)
{
    uint64_t head = atomic_load_explicit(&lane_out(c)->head, memory_order_acquire);
    if (UNLIKELY(head - c->head_seen > c->tail_published - c->head_seen ||
                 head % RECORD_HEAD != 0)) {
        return broken(c);
    }
    c->head_seen = head;
    return 0;
}

/* Room for a record of `size` bytes at *ret_at, with a SKIP before it where needed; NULL if there
 * is none. */
static inline struct record *record_reserve(struct ring_channel *c, size_t size)
{
    size_t needed = RECORD_HEAD + align_up(size, RECORD_HEAD), at = c->tail & RING_MASK;
    size_t skip = needed > RING_BYTES - at ? RING_BYTES - at : 0;
    if (UNLIKELY(c->tail + skip + needed - c->head_seen > RING_BYTES)) {
        if (head_refresh(c) != 0 || c->tail + skip + needed - c->head_seen > RING_BYTES) {
            return NULL;
        }
    }
    uint8_t *data = c->segment->data[c->server];
    if (UNLIKELY(skip != 0)) {
        struct record filler = {(uint32_t)(skip - RECORD_HEAD),
                                (uint32_t)RECORD_SKIP << KIND_SHIFT};
        memcpy(data + at, &filler, sizeof filler);
        at = 0;
    }
    c->reserved = skip + needed;
    return (struct record *)(void *)(data + at);
}

void *ring_reserve(struct ring_channel *c, size_t size)
{
    if (UNLIKELY(c->queue.size != 0 || size > RING_RECORD_MAX || c->failed)) {
        return NULL;
    }
    struct record *record = record_reserve(c, size);
    if (UNLIKELY(record == NULL)) {
        return NULL;
    }
    *record = (struct record){(uint32_t)size, (uint32_t)RECORD_WHOLE << KIND_SHIFT};
    return record + 1;
}

void ring_commit(struct ring_channel *c)
{
    ASSERT(c->reserved != 0);
    c->tail += c->reserved;
    c->reserved = 0;
}

/* In the queue each message stands behind its size, 8-aligned. */
static void queue_append(struct ring_channel *c, struct bytes message)
{
    uint64_t size = message.size;
    buffer_append(&c->queue, &size, sizeof size);
    uint8_t *at = buffer_extend(&c->queue, align_up(size, 8));
    if (size != 0) {
        memcpy(at, message.data, size);
    }
}

/* What was sent is removed once it is half of it, so that each byte is moved once at most. */
static void queue_tidy(struct ring_channel *c)
{
    struct buffer *q = &c->queue;
    if (c->queue_sent == q->size) {
        buffer_clear(q);
        c->queue_sent = 0;
        if (q->room > KEEP_MAX) {
            buffer_fini(q);
        }
    } else if (c->queue_sent > q->size / 2) {
        memmove(q->data, q->data + c->queue_sent, q->size - c->queue_sent);
        q->size -= c->queue_sent;
        c->queue_sent = 0;
    }
}

/* One record of the queue's first message into the ring; false if there is no room. */
static bool queue_move_one(struct ring_channel *c)
{
    uint64_t total;
    memcpy(&total, c->queue.data + c->queue_sent, sizeof total);
    const uint8_t *message = c->queue.data + c->queue_sent + sizeof total;
    size_t size = MIN_OF(total - c->piece_sent, (size_t)RING_RECORD_MAX);
    struct record *record = record_reserve(c, size);
    if (record == NULL) {
        return false;
    }
    enum record_kind kind = size == total        ? RECORD_WHOLE
                            : c->piece_sent == 0 ? RECORD_FIRST
                                                 : RECORD_NEXT;
    *record = (struct record){
        .size = (uint32_t)size,
        .kind_total = (uint32_t)kind << KIND_SHIFT | (kind == RECORD_FIRST ? (uint32_t)total : 0),
    };
    memcpy(record + 1, message + c->piece_sent, size);
    ring_commit(c);
    c->piece_sent += size;
    if (c->piece_sent == total) {
        c->queue_sent += sizeof total + align_up(total, 8);
        c->piece_sent = 0;
    }
    return true;
}

static void queue_move(struct ring_channel *c)
{
    while (c->queue_sent != c->queue.size && queue_move_one(c)) {
    }
    queue_tidy(c);
}

int ring_send(struct ring_channel *c, struct bytes message)
{
    if (UNLIKELY(c->failed)) {
        return -EPROTO;
    }
    if (message.size > MESSAGE_MAX) {
        return -EMSGSIZE;
    }
    void *at = ring_reserve(c, message.size);
    if (at != NULL) {
        if (message.size != 0) {
            memcpy(at, message.data, message.size);
        }
        ring_commit(c);
        return 0;
    }
    if (c->queue.size - c->queue_sent + message.size > RING_QUEUE_MAX) {
        return -ENOBUFS;
    }
    queue_append(c, message);
    return 0;
}

/* Publishes both positions, then rings if the other side sleeps for either: the fence orders our
 * stores before the look at its flags, as its own fence orders its flags before its last look at
 * our positions. */
static inline void publish(struct ring_channel *c)
{
    bool sent = c->tail != c->tail_published, taken = c->head != c->head_published;
    if (!sent && !taken) {
        return;
    }
    struct ring_lane *out = lane_out(c), *in = lane_in(c);
    if (sent) {
        c->tail_published = c->tail;
        atomic_store_explicit(&out->tail, c->tail, memory_order_release);
    }
    if (taken) {
        c->head_published = c->head;
        atomic_store_explicit(&in->head, c->head, memory_order_release);
    }
    atomic_thread_fence(memory_order_seq_cst);
    bool sleeps = sent && flag_take(&out->consumer_sleeps);
    bool waits = taken && flag_take(&in->producer_waits);
    if (UNLIKELY(sleeps || waits)) {
        doorbell_ring(c);
    }
}

static NOINLINE int flush_queue(struct ring_channel *c)
{
    for (;;) {
        queue_move(c);
        publish(c);
        if (c->failed) {
            return -EPROTO;
        }
        if (c->queue.size == 0) {
            return 0;
        }
        /* Asked to be rung, then looked once more: room that came in between is not missed. */
        uint64_t before = c->head_seen;
        atomic_store_explicit(&lane_out(c)->producer_waits, 1, memory_order_relaxed);
        atomic_thread_fence(memory_order_seq_cst);
        if (head_refresh(c) != 0) {
            return -EPROTO;
        }
        if (c->head_seen == before) {
            return 1;
        }
    }
}

int ring_flush(struct ring_channel *c)
{
    if (UNLIKELY(c->failed)) {
        return -EPROTO;
    }
    if (UNLIKELY(c->queue.size != 0)) {
        return flush_queue(c);
    }
    publish(c);
    return 0;
}

/* ---- consuming ---- */

/* Looks again how far the other side has written; 1 if there is something. */
static inline int tail_refresh(struct ring_channel *c)
{
    uint64_t tail = atomic_load_explicit(&lane_in(c)->tail, memory_order_acquire);
    if (UNLIKELY(tail - c->head > RING_BYTES || tail % RECORD_HEAD != 0)) {
        return broken(c);
    }
    c->tail_seen = tail;
    return tail != c->head;
}

/* The head of the record at c->head, read once and checked: its bytes lie within what was
 * published. */
static inline int record_peek(const struct ring_channel *c, struct record *ret)
{
    size_t at = c->head & RING_MASK, there = c->tail_seen - c->head;
    const uint8_t *data = c->segment->data[!c->server];
    struct record record;
    uint64_t word = *(const volatile uint64_t *)(const volatile void *)(data + at);
    memcpy(&record, &word, sizeof record);
    size_t whole = RECORD_HEAD + align_up(record.size, RECORD_HEAD);
    if (UNLIKELY(record.size > RING_BYTES || whole > there || whole > RING_BYTES - at)) {
        return -EPROTO;
    }
    *ret = record;
    return 0;
}

static void *arena_take(struct arena *arena, size_t size)
{
    uintptr_t at = (uintptr_t)arena_alloc(arena, size + 48);
    return (void *)align_up(at, 64);
}

/* A piece of a message of several records: 1 when it is whole, 0 if more must come. */
static int piece_take(struct ring_channel *c, struct record record, const uint8_t *bytes)
{
    unsigned kind = record.kind_total >> KIND_SHIFT;
    size_t total = record.kind_total & TOTAL_MASK;
    if (kind == RECORD_FIRST) {
        if (c->assembly_size != 0 || total <= record.size || total > MESSAGE_MAX) {
            return -EPROTO;
        }
        c->assembly_size = total;
        buffer_reserve(&c->assembly, total);
    } else if (c->assembly_size == 0 || total != 0 ||
               record.size > c->assembly_size - c->assembly.size) {
        return -EPROTO;
    }
    if (record.size == 0) { /* else an endless message */
        return -EPROTO;
    }
    buffer_append(&c->assembly, bytes, record.size);
    return c->assembly.size == c->assembly_size;
}

static void assembly_give(struct ring_channel *c, struct arena *arena, struct bytes *ret)
{
    void *copy = arena_take(arena, c->assembly.size);
    memcpy(copy, c->assembly.data, c->assembly.size);
    *ret = bytes_of(copy, c->assembly.size);
    c->assembly_size = 0;
    buffer_clear(&c->assembly);
    if (c->assembly.room > KEEP_MAX) {
        buffer_fini(&c->assembly);
    }
}

static inline void head_move(struct ring_channel *c, size_t size)
{
    c->head += RECORD_HEAD + align_up(size, RECORD_HEAD);
    if (UNLIKELY(c->head - c->head_published >= GIVE_BACK)) {
        publish(c);
    }
}

/* A SKIP reaches to the end of the ring, and a record stands behind it: where none was published,
 * it is longer than what is there. */
static int skip_take(struct ring_channel *c, struct record *record)
{
    size_t whole = RECORD_HEAD + (size_t)record->size;
    if (whole != RING_BYTES - (c->head & RING_MASK)) {
        return -EPROTO;
    }
    c->head += whole;
    int err = record_peek(c, record);
    return err == 0 && record->kind_total >> KIND_SHIFT == RECORD_SKIP ? -EPROTO : err;
}

/* One record: 1 with a whole message; 0 if it was a piece; -EPROTO */
static inline int record_take(struct ring_channel *c, struct arena *arena, struct bytes *ret)
{
    struct record record;
    int err = record_peek(c, &record);
    if (UNLIKELY(err == 0 && record.kind_total >> KIND_SHIFT == RECORD_SKIP)) {
        err = skip_take(c, &record);
    }
    if (UNLIKELY(err != 0 || record.size > RING_RECORD_MAX)) {
        return -EPROTO;
    }
    const uint8_t *bytes = c->segment->data[!c->server] + (c->head & RING_MASK) + RECORD_HEAD;
    unsigned kind = record.kind_total >> KIND_SHIFT;
    if (LIKELY(kind == RECORD_WHOLE)) {
        if (UNLIKELY(c->assembly_size != 0 || (record.kind_total & TOTAL_MASK) != 0)) {
            return -EPROTO;
        }
        void *copy = arena_take(arena, record.size);
        memcpy(copy, bytes, record.size);
        head_move(c, record.size);
        *ret = bytes_of(copy, record.size);
        return 1;
    }
    if (kind != RECORD_FIRST && kind != RECORD_NEXT) {
        return -EPROTO;
    }
    int whole = piece_take(c, record, bytes);
    if (whole >= 0) {
        head_move(c, record.size);
    }
    if (whole == 1) {
        assembly_give(c, arena, ret);
    }
    return whole;
}

int ring_receive(struct ring_channel *c, struct arena *arena, struct bytes *ret)
{
    if (UNLIKELY(c->failed)) {
        return -EPROTO;
    }
    for (;;) {
        if (c->head == c->tail_seen) {
            int some = tail_refresh(c);
            if (some <= 0) {
                return some;
            }
        }
        int got = record_take(c, arena, ret);
        if (LIKELY(got == 1)) {
            return 1;
        }
        if (UNLIKELY(got < 0)) {
            return broken(c);
        }
    }
}

bool ring_has_input(const struct ring_channel *c)
{
    return c->failed || c->head != c->tail_seen ||
           atomic_load_explicit(&lane_in(c)->tail, memory_order_relaxed) != c->head;
}

/* ---- sleeping ---- */

bool ring_arm(struct ring_channel *c)
{
    /* What waits for room stays asleep only if the other side knows that we wait: flush says so. */
    bool queued = ring_has_queue(c);
    if (ring_flush(c) < 0) {
        return false;
    }
    if (queued && !ring_has_queue(c)) {
        return false; /* nobody will ring for the room that we took ourselves */
    }
    _Atomic uint32_t *flag = &lane_in(c)->consumer_sleeps;
    atomic_store_explicit(flag, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    if (ring_has_input(c)) {
        atomic_store_explicit(flag, 0, memory_order_relaxed);
        return false;
    }
    return true;
}

void ring_disarm(struct ring_channel *c)
{
    atomic_store_explicit(&lane_in(c)->consumer_sleeps, 0, memory_order_relaxed);
    doorbell_drain(c);
}

/* ---- shared words and credit ---- */

_Atomic uint32_t *ring_word(struct ring_channel *c, uint32_t index)
{
    ASSERT(index < RING_WORDS);
    return &c->segment->words[index];
}

struct ring_meter *ring_meter(const struct ring_channel *c, uint32_t index)
{
    ASSERT(index < RING_METERS);
    return &c->segment->meters[index];
}

/* The kernel's lock on the pipe orders what stands here: who sees a pipe from which the server has
 * taken something also sees the odd turn. */
void ring_meter_begin(struct ring_meter *m)
{
    atomic_fetch_add(&m->turn, 1);
}

void ring_meter_end(struct ring_meter *m, uint64_t bytes)
{
    atomic_store_explicit(&m->bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&m->turn, 1, memory_order_release);
}

int ring_meter_look(const struct ring_meter *m, int pipe, uint64_t *ret_total)
{
    uint32_t turn = atomic_load_explicit(&m->turn, memory_order_acquire);
    int waiting = 0;
    if ((turn & 1) != 0) {
        return -EAGAIN;
    }
    if (ioctl(pipe, FIONREAD, &waiting) != 0) {
        return -errno;
    }
    uint64_t bytes = atomic_load_explicit(&m->bytes, memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load_explicit(&m->turn, memory_order_relaxed) != turn) {
        return -EAGAIN;
    }
    *ret_total = bytes + (uint64_t)waiting;
    return 0;
}

void ring_credit_add(struct ring_channel *server, uint64_t bytes)
{
    struct ring_segment *segment = server->segment;
    server->credit += bytes;
    atomic_store_explicit(&segment->credit, server->credit, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst);
    if (flag_take(&segment->credit_watched)) {
        doorbell_ring(server);
    }
}

uint64_t ring_credit_read(const struct ring_channel *c)
{
    return atomic_load_explicit(&c->segment->credit, memory_order_acquire);
}

void ring_credit_watch(struct ring_channel *client)
{
    atomic_store_explicit(&client->segment->credit_watched, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
}
