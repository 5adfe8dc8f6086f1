#include "proto/decode.h"
#include "proto/layout.h"
#include "proto/local.h"
#include "proto/tables.h"

/* What the tables cannot say: ranges, and that the payload is made of exactly the sizes that stand
 * in the message. */

static bool slot_good(uint32_t slot)
{
    return (slot & 0xff) < LOCAL_CLAIMS;
}

static int check_open(struct local_open *m, struct bytes payload, const char **ret_why)
{
    if (m->role < ROLE_DRIVER || m->role > ROLE_TOOL) {
        return refuse(ret_why, "OPEN without a role");
    }
    return split_payload(payload, m->env_size, m->given_size, &m->env, &m->given)
               ? 0
               : refuse(ret_why, "OPEN's environment is not terminated, or of another size");
}

static int check_class(const struct local_class *m, const char **ret_why)
{
    if (!amounts_are_good(m->amounts, m->amount_count)) {
        return refuse(ret_why, "CLASS asks for an amount below zero or without a name");
    }
    return m->number != 0 && m->function[0] != '\0'
               ? 0
               : refuse(ret_why, "CLASS without number or function");
}

static int check_submit(const struct local_submit *m, const char **ret_why)
{
    if (m->number == 0 || m->number > UINT64_MAX - LOCAL_RETURNS_MAX || m->class_number == 0) {
        return refuse(ret_why, "SUBMIT without number or class");
    }
    if (m->returns == 0 || m->returns > LOCAL_RETURNS_MAX || m->max_attempts == 0) {
        return refuse(ret_why, "SUBMIT's returns or attempts are out of range");
    }
    if (m->parent_slot > LOCAL_CLAIMS || m->flags > (SUBMIT_RETRY_ON_ERROR | SUBMIT_AT_MOST_ONCE)) {
        return refuse(ret_why, "SUBMIT's slot or flags are out of range");
    }
    if (!ids_are_good(m->needs, m->need_count) || !ids_are_good(m->refs, m->ref_count)) {
        return refuse(ret_why, "SUBMIT names an invalid object");
    }
    return 0;
}

static int check_values(const struct local_msg *m, const char **ret_why)
{
    size_t end = 0;
    for (size_t i = 0; i < m->values.value_count; i++) {
        const struct local_value *v = &m->values.values[i];
        if (v->state > VALUE_ERROR || v->id.number == 0) {
            return refuse(ret_why, "VALUES with an unknown state or without an id");
        }
        if (value_has_bytes(v)) {
            (void)layout_place_entry(&end, v->size);
        }
    }
    return end == m->payload.size ? 0 : refuse(ret_why, "VALUES' sizes and payload differ");
}

static int check_run(struct local_msg *m, const char **ret_why)
{
    struct local_run *run = &m->run;
    if (!slot_good(run->slot) || run->class_number == 0 || run->returns == 0 ||
        run->returns > LOCAL_RETURNS_MAX || run->task.number == 0) {
        return refuse(ret_why, "RUN's numbers are out of range");
    }
    return check_parts(&run->args_size, run->need_sizes, run->need_count, m->payload.size, ret_why);
}

static int check_result(const struct local_msg *m, const char **ret_why)
{
    const struct local_result *result = &m->result;
    if (!slot_good(result->slot)) {
        return refuse(ret_why, "RESULT's slot is out of range");
    }
    return check_returns(result->returns, result->return_count, result->code == 0, result->refs,
                         result->ref_count, m->payload.size, ret_why);
}

static int check_small(const struct local_msg *m, const char **ret_why)
{
    switch (m->type) {
    case LOCAL_CLASS:
        return check_class(&m->class_, ret_why);
    case LOCAL_GET:
        return m->get.flags > GET_WHOLE ? refuse(ret_why, "GET's flags are out of range")
                                        : check_ids(m->get.ids, m->get.id_count, ret_why);
    case LOCAL_RELEASE:
        return !object_id_is_none(m->ids.through) ? refuse(ret_why, "RELEASE goes through nothing")
                                                  : check_ids(m->ids.ids, m->ids.id_count, ret_why);
    case LOCAL_BLOCKED:
        return m->ids.id_count > LOCAL_WAITS_MAX || !object_id_is_none(m->ids.through)
                   ? refuse(ret_why, "BLOCKED by too many")
               : m->ids.id_count == 0 ? 0
                                      : check_ids(m->ids.ids, m->ids.id_count, ret_why);
    case LOCAL_HOLD:
        return check_ids(m->ids.ids, m->ids.id_count, ret_why);
    case LOCAL_CANCEL:
        return m->cancel.flags > (CANCEL_FORCE | CANCEL_RECURSIVE)
                   ? refuse(ret_why, "CANCEL's flags are out of range")
                   : check_ids(&m->cancel.id, 1, ret_why);
    case LOCAL_RUN_CLASS:
        return m->run_class.number != 0 ? 0 : refuse(ret_why, "RUN_CLASS without a number");
    default:
        return 0;
    }
}

static int check(struct local_msg *m, const char **ret_why)
{
    switch (m->type) {
    case LOCAL_OPEN:
        return check_open(&m->open, m->payload, ret_why);
    case LOCAL_WELCOME:
        return m->payload.size == m->welcome.given_size
                   ? 0
                   : refuse(ret_why, "WELCOME gives something of another size");
    case LOCAL_SUBMIT:
        return check_submit(&m->submit, ret_why);
    case LOCAL_RUN:
        return check_run(m, ret_why);
    case LOCAL_RESULT:
        return check_result(m, ret_why);
    case LOCAL_VALUES:
        return check_values(m, ret_why);
    case LOCAL_LOG:
        return m->payload.size != 0 && m->log.stream >= 1 && m->log.stream <= 2
                   ? 0
                   : refuse(ret_why, "LOG without lines or stream");
    case LOCAL_PUT:
        return m->put.number != 0 && ids_are_good(m->put.refs, m->put.ref_count)
                   ? 0
                   : refuse(ret_why, "PUT without number, or it names an invalid object");
    default:
        return m->payload.size != 0 ? refuse(ret_why, "an unexpected payload")
                                    : check_small(m, ret_why);
    }
}

int local_decode(struct bytes data, struct arena *arena, struct local_msg *ret,
                 const char **ret_why)
{
    struct message_view view;
    int err = decode_body(data, local_codec, arena, &view, &ret->open, ret_why);
    if (err != 0) {
        return err;
    }
    ret->type = view.type;
    ret->payload = view.payload;
    ret->more = NULL;
    ret->more_count = 0;
    return check(ret, ret_why);
}

struct bytes local_run_args(const struct local_msg *m)
{
    ASSERT(m->type == LOCAL_RUN);
    return bytes_of(m->payload.data, m->run.args_size);
}

void local_run_values(const struct local_msg *m, struct bytes *ret_values)
{
    ASSERT(m->type == LOCAL_RUN);
    size_t end = m->run.args_size;
    for (size_t i = 0; i < m->run.need_count; i++) {
        ret_values[i] = layout_need(m->payload, &end, m->run.need_sizes[i]);
    }
}

size_t failure_size(const struct failure *f)
{
    return codec_size(&failure_codec, f);
}

void failure_write(const struct failure *f, void *dst)
{
    codec_write(&failure_codec, f, dst);
}

void failure_encode(const struct failure *f, struct buffer *ret)
{
    failure_write(f, buffer_extend(ret, failure_size(f)));
}

int failure_decode(struct bytes data, struct failure *ret)
{
    const char *why;
    struct failure failure;
    /* Its texts lie in the struct itself: nothing is taken from an arena. */
    int err = codec_read(&failure_codec, data, NULL, &failure, &why);
    if (err == 0) {
        *ret = failure;
    }
    return err;
}
