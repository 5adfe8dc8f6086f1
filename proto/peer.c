#include "proto/peer.h"

#include "proto/encode.h"
#include "proto/tables.h"

_Static_assert(sizeof(struct peer_step) == 32, "four words");

#define IDS(type, member, count, bound)                                                            \
    CODEC_ARRAY(CODEC_WORDS, type, member, count, sizeof(struct object_id), bound, NULL)

static const struct codec_field job_fields[] = {
    CODEC_FIELD(CODEC_U64, struct peer_job, job),
    CODEC_BOUND(CODEC_TEXT, struct peer_job, name, LOCAL_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct peer_job, program_name, TEXT_PATH_MAX),
    CODEC_BOUND(CODEC_TEXT, struct peer_job, user, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_PATH, struct peer_job, cwd, TEXT_PATH_MAX),
    CODEC_FIELD(CODEC_U32, struct peer_job, env_size),
    CODEC_FIELD(CODEC_U32, struct peer_job, umask),
    CODEC_BOUND(CODEC_BYTES, struct peer_job, hash, PEER_HASH_SIZE),
    CODEC_FIELD(CODEC_U64, struct peer_job, program_size),
    CODEC_FIELD(CODEC_U64, struct peer_job, started_unix_ms),
    CODEC_FIELD(CODEC_BOOL, struct peer_job, wants_logs),
    CODEC_FIELD(CODEC_U32, struct peer_job, home),
    CODEC_FIELD(CODEC_U32, struct peer_job, given_size),
};
static const struct codec job_codec = CODEC_OF("PeerJob", job_fields, struct peer_job);

static const struct codec_field job_end_fields[] = {
    CODEC_FIELD(CODEC_U64, struct peer_job_end, job),
    CODEC_FIELD(CODEC_BOOL, struct peer_job_end, over),
};
static const struct codec job_end_codec =
    CODEC_OF("PeerJobEnd", job_end_fields, struct peer_job_end);

static const struct codec_field class_fields[] = {
    CODEC_FIELD(CODEC_U32, struct peer_class, number),
    CODEC_FIELD(CODEC_U64, struct peer_class, job),
    CODEC_BOUND(CODEC_TEXT, struct peer_class, function, LOCAL_NAME_MAX),
    CODEC_BOUND(CODEC_BYTES, struct peer_class, kinds, KINDS_MAX),
    CODEC_ARRAY(CODEC_SUBS, struct peer_class, amounts, amount_count, 0, AMOUNTS_MAX,
                &asked_amount_codec),
    CODEC_FIELD(CODEC_S32, struct peer_class, priority),
    CODEC_FIELD(CODEC_U32, struct peer_class, depth),
};
static const struct codec class_codec = CODEC_OF("PeerClass", class_fields, struct peer_class);

static const struct codec_field class_end_fields[] = {
    CODEC_FIELD(CODEC_U32, struct peer_class_end, number),
};
static const struct codec class_end_codec =
    CODEC_OF("PeerClassEnd", class_end_fields, struct peer_class_end);

static const struct codec_field ask_fields[] = {
    CODEC_FIELD(CODEC_U32, struct peer_ask, number),
    CODEC_FIELD(CODEC_U64, struct peer_ask, limit),
};
static const struct codec ask_codec = CODEC_OF("PeerAsk", ask_fields, struct peer_ask);

static const struct codec_field slots_fields[] = {
    CODEC_FIELD(CODEC_U32, struct peer_slots, number),
    CODEC_FIELD(CODEC_U32, struct peer_slots, count),
};
static const struct codec slots_codec = CODEC_OF("PeerSlots", slots_fields, struct peer_slots);

static const struct codec_field run_fields[] = {
    CODEC_FIELD(CODEC_U64, struct peer_run, run),
    CODEC_FIELD(CODEC_U32, struct peer_run, number),
    CODEC_FIELD(CODEC_U32, struct peer_run, attempt),
    CODEC_FIELD(CODEC_U32, struct peer_run, returns),
    CODEC_FIELD(CODEC_ID, struct peer_run, task),
    CODEC_FIELD(CODEC_U64, struct peer_run, time_left_ns),
    CODEC_BOUND(CODEC_TEXT, struct peer_run, name, LOCAL_NAME_MAX),
    CODEC_FIELD(CODEC_U32, struct peer_run, args_size),
    CODEC_ARRAY(CODEC_HALVES, struct peer_run, need_sizes, need_count, sizeof(uint32_t),
                LOCAL_ARGS_MAX, NULL),
    IDS(struct peer_run, refs, ref_count, PEER_REFS_MAX),
};
static const struct codec run_codec = CODEC_OF("PeerRun", run_fields, struct peer_run);

static const struct codec_field stop_fields[] = {
    CODEC_FIELD(CODEC_U64, struct peer_stop_run, run),
    CODEC_FIELD(CODEC_U32, struct peer_stop_run, how),
    CODEC_FIELD(CODEC_BOOL, struct peer_stop_run, recursive),
};
static const struct codec stop_codec = CODEC_OF("PeerStop", stop_fields, struct peer_stop_run);

static const struct codec_field runs_fields[] = {
    CODEC_ARRAY(CODEC_WORDS, struct peer_runs, runs, run_count, sizeof(uint64_t), PEER_LIST_MAX,
                NULL),
};
static const struct codec runs_codec = CODEC_OF("PeerRuns", runs_fields, struct peer_runs);

static const struct codec_field back_fields[] = {
    CODEC_FIELD(CODEC_U64, struct peer_back_run, run),
    CODEC_FIELD(CODEC_U32, struct peer_back_run, reason),
};
static const struct codec back_codec = CODEC_OF("PeerBack", back_fields, struct peer_back_run);

static const struct codec_field result_fields[] = {
    CODEC_FIELD(CODEC_U64, struct peer_result, run),
    CODEC_FIELD(CODEC_U32, struct peer_result, kind),
    CODEC_FIELD(CODEC_U64, struct peer_result, worker),
    CODEC_INSIDE(struct peer_result, failure, &failure_codec),
    CODEC_ARRAY(CODEC_WORDS, struct peer_result, returns, return_count, sizeof(struct local_return),
                LOCAL_RETURNS_MAX, NULL),
    IDS(struct peer_result, refs, ref_count, PEER_REFS_MAX),
    CODEC_FIELD(CODEC_BOOL, struct peer_result, args_free),
    CODEC_FIELD(CODEC_BOOL, struct peer_result, wants_recorded),
    CODEC_FIELD(CODEC_U64, struct peer_result, ran_ns),
};
static const struct codec result_codec = CODEC_OF("PeerResult", result_fields, struct peer_result);

static const struct codec_field job_broken_fields[] = {
    CODEC_FIELD(CODEC_U64, struct peer_job_broken, job),
    CODEC_INSIDE(struct peer_job_broken, failure, &failure_codec),
};
static const struct codec job_broken_codec =
    CODEC_OF("PeerJobBroken", job_broken_fields, struct peer_job_broken);

static const struct codec_field log_fields[] = {
    CODEC_FIELD(CODEC_U64, struct peer_log, job),
    CODEC_FIELD(CODEC_U64, struct peer_log, worker),
    CODEC_FIELD(CODEC_U32, struct peer_log, stream),
    CODEC_BOUND(CODEC_TEXT, struct peer_log, function, LOCAL_NAME_MAX),
};
static const struct codec log_codec = CODEC_OF("PeerLog", log_fields, struct peer_log);

static const struct codec_field logs_fields[] = {
    CODEC_FIELD(CODEC_U64, struct peer_logs, job),
    CODEC_FIELD(CODEC_BOOL, struct peer_logs, elsewhere),
};
static const struct codec logs_codec = CODEC_OF("PeerLogs", logs_fields, struct peer_logs);

static const struct codec_field program_get_fields[] = {
    CODEC_BOUND(CODEC_BYTES, struct peer_program_get, hash, PEER_HASH_SIZE),
    CODEC_FIELD(CODEC_U64, struct peer_program_get, offset),
};
static const struct codec program_get_codec =
    CODEC_OF("PeerProgramGet", program_get_fields, struct peer_program_get);

static const struct codec_field program_part_fields[] = {
    CODEC_BOUND(CODEC_BYTES, struct peer_program_part, hash, PEER_HASH_SIZE),
    CODEC_FIELD(CODEC_U64, struct peer_program_part, offset),
    CODEC_FIELD(CODEC_U64, struct peer_program_part, total),
    CODEC_INSIDE(struct peer_program_part, failure, &failure_codec),
};
static const struct codec program_part_codec =
    CODEC_OF("PeerProgramPart", program_part_fields, struct peer_program_part);

static const struct codec_field add_fields[] = {
    CODEC_FIELD(CODEC_BOOL, struct peer_add, first),
    CODEC_FIELD(CODEC_BOOL, struct peer_add, last),
    CODEC_FIELD(CODEC_U64, struct peer_add, job),
    IDS(struct peer_add, ids, id_count, PEER_LIST_MAX),
};
static const struct codec add_codec = CODEC_OF("PeerAdd", add_fields, struct peer_add);

static const struct codec_field ids_fields[] = {
    IDS(struct peer_ids, ids, id_count, PEER_LIST_MAX),
};
static const struct codec ids_codec = CODEC_OF("PeerIds", ids_fields, struct peer_ids);

static const struct codec_field added_fields[] = {
    IDS(struct peer_added, ids, id_count, PEER_LIST_MAX),
    IDS(struct peer_added, gone, gone_count, PEER_LIST_MAX),
};
static const struct codec added_codec = CODEC_OF("PeerAdded", added_fields, struct peer_added);

static const struct codec_field value_fields[] = {
    CODEC_FIELD(CODEC_ID, struct peer_value, id),
    CODEC_FIELD(CODEC_U32, struct peer_value, state),
    IDS(struct peer_value, refs, ref_count, PEER_REFS_MAX),
};
static const struct codec value_codec = CODEC_OF("PeerValue", value_fields, struct peer_value);

static const struct codec_field cancel_fields[] = {
    CODEC_FIELD(CODEC_ID, struct peer_cancel, id),
    CODEC_FIELD(CODEC_U32, struct peer_cancel, flags),
};
static const struct codec cancel_codec = CODEC_OF("PeerCancel", cancel_fields, struct peer_cancel);

static const struct codec_field job_ask_fields[] = {
    CODEC_FIELD(CODEC_U64, struct peer_job_ask, job),
};
static const struct codec job_ask_codec =
    CODEC_OF("PeerJobAsk", job_ask_fields, struct peer_job_ask);

static const struct codec_field lift_fields[] = {
    CODEC_FIELD(CODEC_ID, struct peer_lift, id),
    CODEC_FIELD(CODEC_U64, struct peer_lift, run),
    CODEC_FIELD(CODEC_S32, struct peer_lift, priority),
};
static const struct codec lift_codec = CODEC_OF("PeerLift", lift_fields, struct peer_lift);

static const struct codec_field look_fields[] = {
    CODEC_FIELD(CODEC_U64, struct peer_look, look),
    CODEC_FIELD(CODEC_U32, struct peer_look, item),
    CODEC_FIELD(CODEC_U32, struct peer_look, kind),
    CODEC_FIELD(CODEC_U32, struct peer_look, node),
    CODEC_FIELD(CODEC_ID, struct peer_look, id),
    CODEC_FIELD(CODEC_U64, struct peer_look, run),
    CODEC_ARRAY(CODEC_SUBS, struct peer_look, amounts, amount_count, 0, AMOUNTS_MAX,
                &asked_amount_codec),
    CODEC_FIELD(CODEC_U32, struct peer_look, depth),
    CODEC_FIELD(CODEC_U64, struct peer_look, job),
};
static const struct codec look_codec = CODEC_OF("PeerLook", look_fields, struct peer_look);

static const struct codec_field seen_fields[] = {
    CODEC_FIELD(CODEC_U64, struct peer_seen, look),
    CODEC_FIELD(CODEC_U32, struct peer_seen, item),
    CODEC_FIELD(CODEC_BOOL, struct peer_seen, stuck),
    CODEC_FIELD(CODEC_U64, struct peer_seen, since),
    CODEC_ARRAY(CODEC_WORDS, struct peer_seen, steps, step_count, sizeof(struct peer_step),
                PEER_STEPS_MAX, NULL),
    CODEC_ARRAY(CODEC_SUBS, struct peer_seen, amounts, amount_count, 0, AMOUNTS_MAX,
                &asked_amount_codec),
    CODEC_FIELD(CODEC_BOOL, struct peer_seen, waits_for_room),
    CODEC_FIELD(CODEC_U32, struct peer_seen, depth),
    CODEC_BOUND(CODEC_TEXT, struct peer_seen, name, LOCAL_NAME_MAX),
    CODEC_FIELD(CODEC_U32, struct peer_seen, newest_node),
};
static const struct codec seen_codec = CODEC_OF("PeerSeen", seen_fields, struct peer_seen);

static const struct codec *const codecs[] = {
    [PEER_JOB - PEER_JOB] = &job_codec,
    [PEER_JOB_END - PEER_JOB] = &job_end_codec,
    [PEER_CLASS - PEER_JOB] = &class_codec,
    [PEER_CLASS_END - PEER_JOB] = &class_end_codec,
    [PEER_ASK - PEER_JOB] = &ask_codec,
    [PEER_RETURN - PEER_JOB] = &slots_codec,
    [PEER_RUN - PEER_JOB] = &run_codec,
    [PEER_STOP - PEER_JOB] = &stop_codec,
    [PEER_RECORDED - PEER_JOB] = &runs_codec,
    [PEER_GRANT - PEER_JOB] = &slots_codec,
    [PEER_STARTED - PEER_JOB] = &runs_codec,
    [PEER_BACK - PEER_JOB] = &back_codec,
    [PEER_RESULT - PEER_JOB] = &result_codec,
    [PEER_ARGS_FREE - PEER_JOB] = &runs_codec,
    [PEER_JOB_BROKEN - PEER_JOB] = &job_broken_codec,
    [PEER_LOG - PEER_JOB] = &log_codec,
    [PEER_PROGRAM_GET - PEER_JOB] = &program_get_codec,
    [PEER_PROGRAM_PART - PEER_JOB] = &program_part_codec,
    [PEER_ADD - PEER_JOB] = &add_codec,
    [PEER_DROP - PEER_JOB] = &ids_codec,
    [PEER_WANT - PEER_JOB] = &ids_codec,
    [PEER_ADDED - PEER_JOB] = &added_codec,
    [PEER_VALUE - PEER_JOB] = &value_codec,
    [PEER_CANCEL - PEER_JOB] = &cancel_codec,
    [PEER_JOB_ASK - PEER_JOB] = &job_ask_codec,
    [PEER_LOOK - PEER_JOB] = &look_codec,
    [PEER_SEEN - PEER_JOB] = &seen_codec,
    [PEER_LIFT - PEER_JOB] = &lift_codec,
    [PEER_LOGS - PEER_JOB] = &logs_codec,
};

const struct codec *peer_codec(unsigned type)
{
    return type >= PEER_JOB && type - PEER_JOB < ARRAY_SIZE(codecs) ? codecs[type - PEER_JOB]
                                                                    : NULL;
}

/* ---- encoding ---- */

/* The struct to encode: a RUN with parts says itself where its arguments end. */
static const void *body_of(const struct peer_msg *m, struct peer_run *ret_run)
{
    if (m->type != PEER_RUN || m->more_count == 0) {
        return &m->job;
    }
    *ret_run = m->run;
    ret_run->args_size = (uint32_t)m->payload.size;
    return ret_run;
}

size_t peer_size(const struct peer_msg *m)
{
    struct peer_run run;
    const struct codec *codec = peer_codec(m->type);
    struct encode_parts parts = {m->payload, m->more, m->more_count};

    ASSERT(codec != NULL);
    return encode_size(codec, body_of(m, &run), &parts);
}

void peer_encode(const struct peer_msg *m, void *dst)
{
    struct peer_run run;
    const struct codec *codec = peer_codec(m->type);
    struct encode_parts parts = {m->payload, m->more, m->more_count};

    ASSERT(codec != NULL);
    encode_write(codec, (uint8_t)m->type, body_of(m, &run), &parts, dst);
}
