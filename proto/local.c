#include "proto/local.h"

#include "proto/encode.h"
#include "proto/tables.h"

_Static_assert(sizeof(struct object_id) == 16, "two words");
_Static_assert(sizeof(struct local_value) == 24, "three words");
_Static_assert(sizeof(struct local_return) == 32, "four words");

#define IDS(type, member, count, bound)                                                            \
    CODEC_ARRAY(CODEC_WORDS, type, member, count, sizeof(struct object_id), bound, NULL)

static const struct codec_field open_fields[] = {
    CODEC_FIELD(CODEC_U32, struct local_open, protocol),
    CODEC_FIELD(CODEC_U32, struct local_open, role),
    CODEC_FIELD(CODEC_U64, struct local_open, worker),
    CODEC_BOUND(CODEC_TEXT, struct local_open, job_name, LOCAL_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct local_open, program_name, TEXT_PATH_MAX),
    CODEC_BOUND(CODEC_PATH, struct local_open, cwd, TEXT_PATH_MAX),
    CODEC_FIELD(CODEC_U32, struct local_open, env_size),
    CODEC_FIELD(CODEC_U32, struct local_open, umask),
    CODEC_FIELD(CODEC_BOOL, struct local_open, wants_logs),
    CODEC_FIELD(CODEC_U32, struct local_open, given_size),
};
static const struct codec open_codec = CODEC_OF("Open", open_fields, struct local_open);

static const struct codec_field welcome_fields[] = {
    CODEC_FIELD(CODEC_U32, struct local_welcome, node),
    CODEC_FIELD(CODEC_U32, struct local_welcome, client),
    CODEC_FIELD(CODEC_U64, struct local_welcome, job),
    CODEC_BOUND(CODEC_TEXT, struct local_welcome, node_name, LOCAL_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct local_welcome, cluster, LOCAL_NAME_MAX),
    CODEC_FIELD(CODEC_U64, struct local_welcome, credit_bytes),
    CODEC_FIELD(CODEC_U32, struct local_welcome, given_size),
};
static const struct codec welcome_codec = CODEC_OF("Welcome", welcome_fields, struct local_welcome);

static const struct codec_field refused_fields[] = {
    CODEC_INSIDE(struct local_refused, failure, &failure_codec),
};
static const struct codec refused_codec = CODEC_OF("Refused", refused_fields, struct local_refused);

static const struct codec_field amount_fields[] = {
    CODEC_BOUND(CODEC_TEXT, struct local_amount, name, LOCAL_NAME_MAX),
    CODEC_FIELD(CODEC_S64, struct local_amount, units),
};
const struct codec asked_amount_codec = CODEC_OF("AskedAmount", amount_fields, struct local_amount);

static const struct codec_field class_fields[] = {
    CODEC_FIELD(CODEC_U32, struct local_class, number),
    CODEC_BOUND(CODEC_TEXT, struct local_class, function, LOCAL_NAME_MAX),
    CODEC_BOUND(CODEC_BYTES, struct local_class, kinds, KINDS_MAX),
    CODEC_ARRAY(CODEC_SUBS, struct local_class, amounts, amount_count, 0, AMOUNTS_MAX,
                &asked_amount_codec),
    CODEC_FIELD(CODEC_U32, struct local_class, strategy),
    CODEC_FIELD(CODEC_BOOL, struct local_class, soft),
    CODEC_BOUND(CODEC_TEXT, struct local_class, node, LOCAL_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct local_class, labels, TEXT_LABELS_MAX),
    CODEC_FIELD(CODEC_S32, struct local_class, priority),
};
static const struct codec class_codec = CODEC_OF("Class", class_fields, struct local_class);

static const struct codec_field submit_fields[] = {
    CODEC_FIELD(CODEC_U64, struct local_submit, number),
    CODEC_FIELD(CODEC_U32, struct local_submit, class_number),
    CODEC_FIELD(CODEC_U32, struct local_submit, returns),
    CODEC_FIELD(CODEC_U32, struct local_submit, parent_slot),
    CODEC_FIELD(CODEC_U32, struct local_submit, max_attempts),
    CODEC_FIELD(CODEC_U32, struct local_submit, flags),
    CODEC_FIELD(CODEC_U64, struct local_submit, timeout_ns),
    CODEC_FIELD(CODEC_U64, struct local_submit, backoff_ns),
    CODEC_BOUND(CODEC_TEXT, struct local_submit, name, LOCAL_NAME_MAX),
    IDS(struct local_submit, needs, need_count, LOCAL_ARGS_MAX),
    IDS(struct local_submit, refs, ref_count, LOCAL_ARGS_MAX),
};
static const struct codec submit_codec = CODEC_OF("Submit", submit_fields, struct local_submit);

static const struct codec_field put_fields[] = {
    CODEC_FIELD(CODEC_U64, struct local_put, number),
    IDS(struct local_put, refs, ref_count, LOCAL_ARGS_MAX),
};
static const struct codec put_codec = CODEC_OF("Put", put_fields, struct local_put);

static const struct codec_field get_fields[] = {
    CODEC_FIELD(CODEC_U32, struct local_get, flags),
    IDS(struct local_get, ids, id_count, LOCAL_IDS_MAX),
};
static const struct codec get_codec = CODEC_OF("Get", get_fields, struct local_get);

static const struct codec_field values_fields[] = {
    CODEC_ARRAY(CODEC_WORDS, struct local_values, values, value_count, sizeof(struct local_value),
                LOCAL_IDS_MAX, NULL),
};
static const struct codec values_codec = CODEC_OF("Values", values_fields, struct local_values);

static const struct codec_field ids_fields[] = {
    IDS(struct local_ids, ids, id_count, LOCAL_IDS_MAX),
    CODEC_FIELD(CODEC_ID, struct local_ids, through),
};
static const struct codec ids_codec = CODEC_OF("Ids", ids_fields, struct local_ids);

static const struct codec_field cancel_fields[] = {
    CODEC_FIELD(CODEC_U64, struct local_cancel, request),
    CODEC_FIELD(CODEC_ID, struct local_cancel, id),
    CODEC_FIELD(CODEC_U32, struct local_cancel, flags),
};
static const struct codec cancel_codec = CODEC_OF("Cancel", cancel_fields, struct local_cancel);

static const struct codec_field cancelled_fields[] = {
    CODEC_FIELD(CODEC_U64, struct local_cancelled, request),
    CODEC_FIELD(CODEC_U32, struct local_cancelled, code),
};
static const struct codec cancelled_codec =
    CODEC_OF("Cancelled", cancelled_fields, struct local_cancelled);

static const struct codec_field run_class_fields[] = {
    CODEC_FIELD(CODEC_U32, struct local_run_class, number),
    CODEC_BOUND(CODEC_TEXT, struct local_run_class, function, LOCAL_NAME_MAX),
    CODEC_BOUND(CODEC_BYTES, struct local_run_class, kinds, KINDS_MAX),
};
static const struct codec run_class_codec =
    CODEC_OF("RunClass", run_class_fields, struct local_run_class);

static const struct codec_field run_fields[] = {
    CODEC_FIELD(CODEC_U32, struct local_run, slot),
    CODEC_FIELD(CODEC_U32, struct local_run, class_number),
    CODEC_FIELD(CODEC_U32, struct local_run, attempt),
    CODEC_FIELD(CODEC_U32, struct local_run, returns),
    CODEC_FIELD(CODEC_ID, struct local_run, task),
    CODEC_FIELD(CODEC_U64, struct local_run, time_left_ns),
    CODEC_FIELD(CODEC_U32, struct local_run, args_size),
    CODEC_ARRAY(CODEC_HALVES, struct local_run, need_sizes, need_count, sizeof(uint32_t),
                LOCAL_ARGS_MAX, NULL),
};
static const struct codec run_codec = CODEC_OF("Run", run_fields, struct local_run);

static const struct codec_field result_fields[] = {
    CODEC_FIELD(CODEC_U32, struct local_result, slot),
    CODEC_FIELD(CODEC_S32, struct local_result, code),
    CODEC_FIELD(CODEC_S32, struct local_result, app_code),
    CODEC_BOUND(CODEC_TEXT, struct local_result, message, TEXT_MESSAGE_MAX),
    CODEC_ARRAY(CODEC_WORDS, struct local_result, returns, return_count,
                sizeof(struct local_return), LOCAL_RETURNS_MAX, NULL),
    IDS(struct local_result, refs, ref_count, LOCAL_ARGS_MAX),
    CODEC_FIELD(CODEC_U64, struct local_result, ran_ns),
    CODEC_FIELD(CODEC_U64, struct local_result, out_end),
    CODEC_FIELD(CODEC_U64, struct local_result, err_end),
};
static const struct codec result_codec = CODEC_OF("Result", result_fields, struct local_result);

static const struct codec_field query_fields[] = {
    CODEC_FIELD(CODEC_U64, struct local_query, request),
    CODEC_INSIDE(struct local_query, query, &state_query_codec),
};
static const struct codec query_codec = CODEC_OF("Query", query_fields, struct local_query);

static const struct codec_field reply_fields[] = {
    CODEC_FIELD(CODEC_U64, struct local_reply, request),
    CODEC_INSIDE(struct local_reply, reply, &state_reply_codec),
};
static const struct codec reply_codec = CODEC_OF("Reply", reply_fields, struct local_reply);

static const struct codec_field log_fields[] = {
    CODEC_BOUND(CODEC_TEXT, struct local_log, node, LOCAL_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct local_log, function, LOCAL_NAME_MAX),
    CODEC_FIELD(CODEC_U64, struct local_log, worker),
    CODEC_FIELD(CODEC_U32, struct local_log, stream),
};
static const struct codec log_codec = CODEC_OF("Log", log_fields, struct local_log);

static const struct codec_field logs_fields[] = {
    CODEC_FIELD(CODEC_BOOL, struct local_logs, elsewhere),
};
static const struct codec logs_codec = CODEC_OF("Logs", logs_fields, struct local_logs);

static const struct codec nothing_codec = {.name = "Nothing"};

static const struct codec *const codecs[] = {
    [LOCAL_OPEN] = &open_codec,
    [LOCAL_WELCOME] = &welcome_codec,
    [LOCAL_REFUSED] = &refused_codec,
    [LOCAL_GOODBYE] = &nothing_codec,
    [LOCAL_CLASS] = &class_codec,
    [LOCAL_SUBMIT] = &submit_codec,
    [LOCAL_PUT] = &put_codec,
    [LOCAL_GET] = &get_codec,
    [LOCAL_VALUES] = &values_codec,
    [LOCAL_RELEASE] = &ids_codec,
    [LOCAL_HOLD] = &ids_codec,
    [LOCAL_CANCEL] = &cancel_codec,
    [LOCAL_RUN_CLASS] = &run_class_codec,
    [LOCAL_RUN] = &run_codec,
    [LOCAL_RESULT] = &result_codec,
    [LOCAL_BLOCKED] = &ids_codec,
    [LOCAL_UNBLOCKED] = &nothing_codec,
    [LOCAL_LEAVE] = &nothing_codec,
    [LOCAL_QUERY] = &query_codec,
    [LOCAL_REPLY] = &reply_codec,
    [LOCAL_CANCELLED] = &cancelled_codec,
    [LOCAL_LOG] = &log_codec,
    [LOCAL_LOGS] = &logs_codec,
};

const struct codec *local_codec(unsigned type)
{
    return type < ARRAY_SIZE(codecs) ? codecs[type] : NULL;
}

/* ---- encoding ---- */

/* The struct to encode: a RUN with parts says itself where its arguments end. */
static const void *body_of(const struct local_msg *m, struct local_run *ret_run)
{
    if (m->type != LOCAL_RUN || m->more_count == 0) {
        return &m->open;
    }
    *ret_run = m->run;
    ret_run->args_size = (uint32_t)m->payload.size;
    return ret_run;
}

size_t local_size(const struct local_msg *m)
{
    struct local_run run;
    const struct codec *codec = local_codec(m->type);
    struct encode_parts parts = {m->payload, m->more, m->more_count};

    ASSERT(codec != NULL);
    return encode_size(codec, body_of(m, &run), &parts);
}

void local_encode(const struct local_msg *m, void *dst)
{
    struct local_run run;
    const struct codec *codec = local_codec(m->type);
    struct encode_parts parts = {m->payload, m->more, m->more_count};

    ASSERT(codec != NULL);
    encode_write(codec, (uint8_t)m->type, body_of(m, &run), &parts, dst);
}
