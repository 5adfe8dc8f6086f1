#include "raylet/carry_out.h"

#include "common/clock.h"
#include "common/log.h"
#include "raylet/exchange.h"

static void spawn(struct parts *p, const struct raylet_effect *e)
{
    static const struct local_open nothing = {.umask = 077};
    const struct local_open *open = e->open != NULL ? e->open : &nothing;
    struct failure f = {0};
    int fd = programs_open(p->programs, e->program, &f);
    if (fd < 0) {
        struct raylet_event *event = events_add(&p->events, EVENT_WORKER_REFUSED);
        event->worker = e->worker;
        event->failure = events_failure(&p->events, &f);
        return;
    }
    const char *name = open->program_name;
    workers_spawn(
        p->workers,
        &(struct workers_start){
            .worker = e->worker,
            .program_fd = fd,
            .name = name != NULL && name[0] != '\0' ? name : "program",
            .cwd = open->cwd != NULL ? open->cwd : "",
            .directory_fd = e->client != 0 ? clients_directory(p->clients, e->client) : -1,
            .env = open->env,
            .umask = open->umask,
        });
}

static void answer_log_query(struct parts *p, const struct raylet_effect *e)
{
    const struct state_query *query =
        e->client != 0 ? &e->local->query.query : &e->head->query.query;
    struct state_reply reply;
    struct log_body body = {0};
    if (e->body != NULL) {
        uint64_t claimed[2];
        body.task = e->body->task;
        body.worker = e->body->worker;
        body.attempt = e->body->attempt;
        logs_take(p->logs, body.worker);
        clients_claimed(p->clients, e->body->client, claimed); /* after that: see log_query.h */
        body.may_have_ended =
            ((claimed[0] & e->body->others[0]) | (claimed[1] & e->body->others[1])) != 0;
    }
    logs_take(p->logs, (uint32_t)query->worker);
    buffer_clear(&p->scratch);
    log_query_answer(p->logs, p->node_name, query, e->body != NULL ? &body : NULL, &p->scratch,
                     &reply);
    if (e->client != 0) {
        struct local_msg m = {.type = LOCAL_REPLY};
        m.reply.request = e->local->query.request;
        m.reply.reply = reply;
        clients_send(p->clients, e->client, &m);
    } else {
        struct cluster_msg m = {.type = CLUSTER_REPLY};
        m.reply.request = e->head_request;
        m.reply.reply = reply;
        head_link_send(p->head, &m);
    }
}

static void take_back(struct parts *p, const struct raylet_effect *e)
{
    bool ok = clients_take_back(p->clients, e->client, e->slot);
    struct raylet_event *event = events_add(&p->events, EVENT_TAKEN_BACK);
    event->worker = e->worker;
    event->client = e->client;
    event->slot = e->slot;
    event->ok = ok;
}

static void log_taken(struct parts *p, const struct raylet_effect *e)
{
    struct raylet_event *event = events_add(&p->events, EVENT_LOG_TAKEN);
    event->client = e->client;
    event->peer = e->peer;
    event->job = e->job;
}

static NOINLINE void carry_out_rare(struct parts *p, const struct raylet_effect *e)
{
    switch (e->kind) {
    case EFFECT_CLOSE:
        clients_close(p->clients, e->client);
        break;
    case EFFECT_CANCEL_FLAG:
        clients_flag_cancel(p->clients, e->client, e->slot);
        break;
    case EFFECT_LOAD_PROGRAM:
        programs_load(p->programs, e->client, clients_take_program(p->clients, e->client));
        break;
    case EFFECT_PROGRAM_DROP:
        programs_drop(p->programs, e->program);
        break;
    case EFFECT_SPAWN:
        spawn(p, e);
        break;
    case EFFECT_KILL:
        workers_kill(p->workers, e->worker, e->signal);
        break;
    case EFFECT_HEAD:
        head_link_send(p->head, e->head);
        break;
    case EFFECT_HEAD_DATAGRAM:
        head_link_datagram(p->head, e->head);
        break;
    case EFFECT_PEER_OPEN:
        peer_link_open(p->peers, e->peer, e->address, e->key);
        break;
    case EFFECT_PEER_CLOSE:
        peer_link_close(p->peers, e->peer, e->side, e->failure);
        exchange_on_session_end(p, e->peer, e->side);
        break;
    case EFFECT_FETCH_PROGRAM:
        fetch_order(p->fetch, clock_now_ns(), e->peer, e->job, e->hash, e->bytes);
        break;
    case EFFECT_FETCH_STOP:
        fetch_stop(p->fetch, e->job);
        break;
    case EFFECT_LOG_LINES:
        logs_follow(p->logs, e->worker);
        break;
    case EFFECT_READ_LOG:
        answer_log_query(p, e);
        break;
    case EFFECT_LOG_TAKE:
        logs_flush(p->logs, e->worker);
        break;
    case EFFECT_LOG_TAKEN:
        log_taken(p, e);
        break;
    case EFFECT_WROTE:
        logs_wrote(p->logs, e->worker, e->wrote->task, e->wrote->attempt, e->wrote->out_end,
                   e->wrote->err_end);
        break;
    case EFFECT_FENCE:
        log_warn("the lease expired: the head considers this node lost");
        break;
    case EFFECT_QUIT:
        parts_end_with(p, e->failure);
        break;
    default:
        ASSERT(!"an effect that the shell does not know");
    }
}

void carry_out(struct parts *p, const struct raylet_effects *effects)
{
    for (size_t i = 0; i < effects->count; i++) {
        const struct raylet_effect *e = &effects->items[i];
        switch (e->kind) {
        case EFFECT_SEND:
            clients_send(p->clients, e->client, e->local);
            break;
        case EFFECT_PEER_SEND:
            peer_link_send(p->peers, e->peer, e->side, e->peer_msg);
            break;
        case EFFECT_CREDIT:
            clients_credit(p->clients, e->client, e->bytes);
            break;
        case EFFECT_TAKE_BACK:
            take_back(p, e);
            break;
        default:
            carry_out_rare(p, e);
            break;
        }
    }
}
