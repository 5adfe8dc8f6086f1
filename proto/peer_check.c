#include "proto/decode.h"
#include "proto/peer.h"
#include "proto/tables.h"

/* What the tables cannot say: ranges, and that the payload is made of exactly the sizes that stand
 * in the message. */

static int check_job(struct peer_job *m, struct bytes payload, const char **ret_why)
{
    if (m->job == 0 || m->home == 0 || m->program_size == 0 || m->hash.size != PEER_HASH_SIZE) {
        return refuse(ret_why, "JOB without number, home or program");
    }
    return split_payload(payload, m->env_size, m->given_size, &m->env, &m->given)
               ? 0
               : refuse(ret_why, "JOB's environment is not terminated, or of another size");
}

static int check_class(const struct peer_class *m, const char **ret_why)
{
    if (!amounts_are_good(m->amounts, m->amount_count)) {
        return refuse(ret_why, "CLASS asks for an amount below zero or without a name");
    }
    return m->number != 0 && m->job != 0 && m->function[0] != '\0'
               ? 0
               : refuse(ret_why, "CLASS without number, job or function");
}

static int check_run(struct peer_msg *m, const char **ret_why)
{
    struct peer_run *run = &m->run;
    if (run->run == 0 || run->number == 0 || run->returns == 0 ||
        run->returns > LOCAL_RETURNS_MAX || run->task.number == 0) {
        return refuse(ret_why, "RUN's numbers are out of range");
    }
    if (!ids_are_good(run->refs, run->ref_count)) {
        return refuse(ret_why, "RUN names an invalid object");
    }
    return check_parts(&run->args_size, run->need_sizes, run->need_count, m->payload.size, ret_why);
}

static int check_runs(const struct peer_runs *m, const char **ret_why)
{
    bool good = m->run_count != 0;
    for (size_t i = 0; i < m->run_count; i++) {
        good &= m->runs[i] != 0;
    }
    return good ? 0 : refuse(ret_why, "no runs, or an invalid one");
}

/* Its values and the references inside them, which stand in the message one after another. */
static int check_result(const struct peer_msg *m, const char **ret_why)
{
    const struct peer_result *result = &m->result;
    bool values = result->kind == PEER_RESULT_VALUES;
    if (result->run == 0 || result->kind > PEER_RESULT_DIED ||
        values != (result->failure.code == 0)) {
        return refuse(ret_why, "RESULT's kind and failure do not fit");
    }
    return check_returns(result->returns, result->return_count, values, result->refs,
                         result->ref_count, m->payload.size, ret_why);
}

static int check_log(const struct peer_msg *m, const char **ret_why)
{
    return m->log.job != 0 && m->log.stream >= 1 && m->log.stream <= 2 && m->payload.size != 0 &&
                   m->payload.size <= PEER_LOG_BYTES_MAX
               ? 0
               : refuse(ret_why, "LOG without job, stream or lines, or with too many");
}

static int check_program_part(const struct peer_msg *m, const char **ret_why)
{
    const struct peer_program_part *part = &m->program_part;
    bool failed = part->failure.code != 0;
    if (part->hash.size != PEER_HASH_SIZE || failed != (m->payload.size == 0)) {
        return refuse(ret_why, "PROGRAM_PART without a hash, or bytes and failure do not fit");
    }
    return m->payload.size <= PEER_PART_MAX &&
                   (failed ||
                    (part->offset <= part->total && m->payload.size <= part->total - part->offset))
               ? 0
               : refuse(ret_why, "PROGRAM_PART is longer than allowed");
}

static int check_value(const struct peer_msg *msg, const char **ret_why)
{
    const struct peer_value *m = &msg->value;
    if (msg->payload.size > VALUE_MAX + VALUE_HEADER_ROOM) {
        return refuse(ret_why, "VALUE is longer than a value may be");
    }
    if (m->id.number == 0 || (m->state != VALUE_HERE && m->state != VALUE_ERROR)) {
        return refuse(ret_why, "VALUE without id or state");
    }
    return (m->state == VALUE_HERE || m->ref_count == 0) && ids_are_good(m->refs, m->ref_count)
               ? 0
               : refuse(ret_why, "VALUE has invalid references");
}

static bool step_good(uint32_t kind, uint32_t node, struct object_id id)
{
    return kind >= LOOK_OBJECT && kind <= LOOK_ROOM && node != 0 &&
           (kind == LOOK_ROOM || id.number != 0);
}

static int check_look(const struct peer_look *m, const char **ret_why)
{
    return step_good(m->kind, m->node, m->id) && amounts_are_good(m->amounts, m->amount_count)
               ? 0
               : refuse(ret_why, "LOOK at nothing, or with invalid amounts");
}

static int check_seen(const struct peer_seen *m, const char **ret_why)
{
    bool good = amounts_are_good(m->amounts, m->amount_count);
    for (size_t i = 0; i < m->step_count; i++) {
        good &= step_good(m->steps[i].kind, m->steps[i].node, m->steps[i].id);
    }
    return good && (m->stuck || m->step_count == 0)
               ? 0
               : refuse(ret_why, "SEEN with invalid steps or amounts");
}

static int numbered(bool good, const char **ret_why)
{
    return good ? 0 : refuse(ret_why, "a number that must not be zero, or an invalid choice");
}

static int check_small(const struct peer_msg *m, const char **ret_why)
{
    switch (m->type) {
    case PEER_JOB_END:
        return numbered(m->job_end.job != 0, ret_why);
    case PEER_CLASS_END:
        return numbered(m->class_end.number != 0, ret_why);
    case PEER_ASK:
        return numbered(m->ask.number != 0, ret_why);
    case PEER_RETURN:
    case PEER_GRANT:
        return numbered(m->slots.number != 0 && m->slots.count != 0, ret_why);
    case PEER_STOP:
        return numbered(m->stop.run != 0 && m->stop.how <= PEER_STOP_KILL, ret_why);
    case PEER_BACK:
        return numbered(m->back.run != 0 && m->back.reason <= PEER_BACK_BROKEN, ret_why);
    case PEER_CANCEL:
        return numbered(m->cancel.id.number != 0 &&
                            m->cancel.flags <= (CANCEL_FORCE | CANCEL_RECURSIVE),
                        ret_why);
    case PEER_LIFT:
        return numbered((m->lift.id.number != 0) != (m->lift.run != 0), ret_why);
    case PEER_JOB_ASK:
        return numbered(m->job_ask.job != 0, ret_why);
    case PEER_LOGS:
        return numbered(m->logs.job != 0, ret_why);
    case PEER_JOB_BROKEN:
        return numbered(m->job_broken.job != 0 && m->job_broken.failure.code != 0, ret_why);
    default:
        return numbered(m->type == PEER_PROGRAM_GET && m->program_get.hash.size == PEER_HASH_SIZE,
                        ret_why);
    }
}

static int check_bare(const struct peer_msg *m, const char **ret_why)
{
    switch (m->type) {
    case PEER_CLASS:
        return check_class(&m->class_, ret_why);
    case PEER_RECORDED:
    case PEER_STARTED:
    case PEER_ARGS_FREE:
        return check_runs(&m->runs, ret_why);
    case PEER_ADD:
        return (m->add.first || m->add.last) && m->add.id_count == 0
                   ? 0
                   : check_ids(m->add.ids, m->add.id_count, ret_why);
    case PEER_DROP:
    case PEER_WANT:
        return check_ids(m->ids.ids, m->ids.id_count, ret_why);
    case PEER_LOOK:
        return check_look(&m->look, ret_why);
    case PEER_SEEN:
        return check_seen(&m->seen, ret_why);
    case PEER_ADDED:
        return m->added.id_count + m->added.gone_count != 0 &&
                       ids_are_good(m->added.ids, m->added.id_count) &&
                       ids_are_good(m->added.gone, m->added.gone_count)
                   ? 0
                   : refuse(ret_why, "ADDED without ids, or with an invalid one");
    default:
        return check_small(m, ret_why);
    }
}

static int check(struct peer_msg *m, const char **ret_why)
{
    switch (m->type) {
    case PEER_JOB:
        return check_job(&m->job, m->payload, ret_why);
    case PEER_RUN:
        return check_run(m, ret_why);
    case PEER_RESULT:
        return check_result(m, ret_why);
    case PEER_LOG:
        return check_log(m, ret_why);
    case PEER_PROGRAM_PART:
        return check_program_part(m, ret_why);
    case PEER_VALUE:
        return check_value(m, ret_why);
    default:
        return m->payload.size != 0 ? refuse(ret_why, "an unexpected payload")
                                    : check_bare(m, ret_why);
    }
}

int peer_decode(struct bytes data, struct arena *arena, struct peer_msg *ret, const char **ret_why)
{
    struct message_view view;
    int err = decode_body(data, peer_codec, arena, &view, &ret->job, ret_why);
    if (err != 0) {
        return err;
    }
    ret->type = view.type;
    ret->payload = view.payload;
    ret->more = NULL;
    ret->more_count = 0;
    return check(ret, ret_why);
}
