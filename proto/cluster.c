#include "proto/cluster.h"

#include "proto/decode.h"
#include "proto/tables.h"

#define KEY_MAX     40u
#define JOBS_MAX    65536u
#define NODES_MAX   4096u
#define WARNING_MAX 511u

static const struct codec_field amount_fields[] = {
    CODEC_BOUND(CODEC_TEXT, struct cluster_amount, name, TEXT_NAME_MAX),
    CODEC_FIELD(CODEC_S64, struct cluster_amount, total_units),
    CODEC_FIELD(CODEC_S64, struct cluster_amount, available_units),
};
static const struct codec amount_codec = CODEC_OF("Amount", amount_fields, struct cluster_amount);

#define AMOUNTS(type)                                                                              \
    CODEC_ARRAY(CODEC_SUBS, type, amounts, amount_count, 0, AMOUNTS_MAX, &amount_codec)

static const struct codec_field join_fields[] = {
    CODEC_FIELD(CODEC_U32, struct cluster_join, protocol),
    CODEC_FIELD(CODEC_U32, struct cluster_join, number),
    CODEC_FIELD(CODEC_U32, struct cluster_join, supersedes),
    CODEC_BOUND(CODEC_TEXT, struct cluster_join, name, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct cluster_join, host, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct cluster_join, address, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct cluster_join, version, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct cluster_join, public_key, KEY_MAX),
    CODEC_FIELD(CODEC_U32, struct cluster_join, pid),
    AMOUNTS(struct cluster_join),
    CODEC_BOUND(CODEC_TEXT, struct cluster_join, labels, TEXT_LABELS_MAX),
    CODEC_ARRAY(CODEC_WORDS, struct cluster_join, jobs, job_count, sizeof(uint64_t), JOBS_MAX,
                NULL),
    CODEC_FIELD(CODEC_BOOL, struct cluster_join, closed),
    CODEC_FIELD(CODEC_BOOL, struct cluster_join, leaving),
    CODEC_BOUND(CODEC_TEXT, struct cluster_join, secret, KEY_MAX),
    CODEC_FIELD(CODEC_BOOL, struct cluster_join, advertised),
};
static const struct codec join_codec = CODEC_OF("Join", join_fields, struct cluster_join);

static const struct codec_field joined_fields[] = {
    CODEC_FIELD(CODEC_U32, struct cluster_joined, number),
    CODEC_FIELD(CODEC_U64, struct cluster_joined, lease_ns),
    CODEC_BOUND(CODEC_TEXT, struct cluster_joined, cluster, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct cluster_joined, address, TEXT_NAME_MAX),
};
static const struct codec joined_codec = CODEC_OF("Joined", joined_fields, struct cluster_joined);

static const struct codec_field reach_fields[] = {
    CODEC_BOUND(CODEC_TEXT, struct cluster_reach, address, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct cluster_reach, warning, WARNING_MAX),
};
static const struct codec reach_codec = CODEC_OF("Reach", reach_fields, struct cluster_reach);

static const struct codec_field refused_fields[] = {
    CODEC_INSIDE(struct cluster_refused, failure, &failure_codec),
};
static const struct codec refused_codec =
    CODEC_OF("JoinRefused", refused_fields, struct cluster_refused);

static const struct codec_field renew_fields[] = {
    CODEC_FIELD(CODEC_U64, struct cluster_renew, sent_ns),
    CODEC_FIELD(CODEC_U64, struct cluster_renew, answered_ns),
    AMOUNTS(struct cluster_renew),
    CODEC_FIELD(CODEC_U64, struct cluster_renew, waiting),
    CODEC_FIELD(CODEC_U64, struct cluster_renew, running),
    CODEC_FIELD(CODEC_U64, struct cluster_renew, done),
    CODEC_FIELD(CODEC_U64, struct cluster_renew, failed),
    CODEC_FIELD(CODEC_U32, struct cluster_renew, workers),
    CODEC_FIELD(CODEC_U32, struct cluster_renew, idle_workers),
    CODEC_FIELD(CODEC_U64, struct cluster_renew, cancelled),
    CODEC_FIELD(CODEC_U64, struct cluster_renew, memory_used_bytes),
};
static const struct codec renew_codec = CODEC_OF("Renew", renew_fields, struct cluster_renew);

static const struct codec_field renewed_fields[] = {
    CODEC_FIELD(CODEC_U64, struct cluster_renewed, sent_ns),
};
static const struct codec renewed_codec =
    CODEC_OF("Renewed", renewed_fields, struct cluster_renewed);

static const struct codec_field job_new_fields[] = {
    CODEC_FIELD(CODEC_U64, struct cluster_job_new, key),
    CODEC_BOUND(CODEC_TEXT, struct cluster_job_new, name, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct cluster_job_new, program, TEXT_PATH_MAX),
    CODEC_BOUND(CODEC_TEXT, struct cluster_job_new, user, TEXT_NAME_MAX),
    CODEC_FIELD(CODEC_U32, struct cluster_job_new, pid),
    CODEC_FIELD(CODEC_U64, struct cluster_job_new, started_unix_ms),
};
static const struct codec job_new_codec =
    CODEC_OF("JobNew", job_new_fields, struct cluster_job_new);

static const struct codec_field job_added_fields[] = {
    CODEC_FIELD(CODEC_U64, struct cluster_job_added, key),
    CODEC_FIELD(CODEC_U64, struct cluster_job_added, job),
    CODEC_INSIDE(struct cluster_job_added, failure, &failure_codec),
};
static const struct codec job_added_codec =
    CODEC_OF("JobAdded", job_added_fields, struct cluster_job_added);

static const struct codec_field job_end_fields[] = {
    CODEC_FIELD(CODEC_U64, struct cluster_job_end, job),
    CODEC_FIELD(CODEC_U32, struct cluster_job_end, state),
    CODEC_FIELD(CODEC_U64, struct cluster_job_end, ended_unix_ms),
    CODEC_FIELD(CODEC_U64, struct cluster_job_end, done),
    CODEC_FIELD(CODEC_U64, struct cluster_job_end, failed),
    CODEC_FIELD(CODEC_U64, struct cluster_job_end, cancelled),
};
static const struct codec job_end_codec =
    CODEC_OF("JobEnd", job_end_fields, struct cluster_job_end);

static const struct codec_field job_ended_fields[] = {
    CODEC_FIELD(CODEC_U64, struct cluster_job_ended, job),
};
static const struct codec job_ended_codec =
    CODEC_OF("JobEnded", job_ended_fields, struct cluster_job_ended);

static const struct codec_field feasible_fields[] = {
    CODEC_FIELD(CODEC_U64, struct cluster_feasible, request),
    AMOUNTS(struct cluster_feasible),
    CODEC_FIELD(CODEC_U32, struct cluster_feasible, strategy),
    CODEC_FIELD(CODEC_BOOL, struct cluster_feasible, soft),
    CODEC_BOUND(CODEC_TEXT, struct cluster_feasible, node, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct cluster_feasible, labels, TEXT_LABELS_MAX),
};
static const struct codec feasible_codec =
    CODEC_OF("Feasible", feasible_fields, struct cluster_feasible);

static const struct codec_field feasible_answer_fields[] = {
    CODEC_FIELD(CODEC_U64, struct cluster_feasible_answer, request),
    CODEC_INSIDE(struct cluster_feasible_answer, failure, &failure_codec),
};
static const struct codec feasible_answer_codec =
    CODEC_OF("FeasibleAnswer", feasible_answer_fields, struct cluster_feasible_answer);

static const struct codec_field view_node_fields[] = {
    CODEC_FIELD(CODEC_U32, struct cluster_view_node, number),
    CODEC_BOUND(CODEC_TEXT, struct cluster_view_node, name, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct cluster_view_node, address, TEXT_NAME_MAX),
    CODEC_BOUND(CODEC_TEXT, struct cluster_view_node, public_key, KEY_MAX),
    CODEC_BOUND(CODEC_TEXT, struct cluster_view_node, labels, TEXT_LABELS_MAX),
    CODEC_FIELD(CODEC_U32, struct cluster_view_node, state),
    AMOUNTS(struct cluster_view_node),
    CODEC_FIELD(CODEC_U64, struct cluster_view_node, waiting),
    CODEC_FIELD(CODEC_U64, struct cluster_view_node, running),
    CODEC_FIELD(CODEC_BOOL, struct cluster_view_node, closed),
    CODEC_BOUND(CODEC_TEXT, struct cluster_view_node, warning, WARNING_MAX),
};
static const struct codec view_node_codec =
    CODEC_OF("ViewNode", view_node_fields, struct cluster_view_node);

static const struct codec_field view_fields[] = {
    CODEC_FIELD(CODEC_BOOL, struct cluster_view, whole),
    CODEC_FIELD(CODEC_BOOL, struct cluster_view, more),
    CODEC_ARRAY(CODEC_SUBS, struct cluster_view, nodes, node_count, 0, NODES_MAX, &view_node_codec),
};
static const struct codec view_codec = CODEC_OF("View", view_fields, struct cluster_view);

static const struct codec_field query_fields[] = {
    CODEC_FIELD(CODEC_U64, struct cluster_query, request),
    CODEC_INSIDE(struct cluster_query, query, &state_query_codec),
};
static const struct codec query_codec = CODEC_OF("Query", query_fields, struct cluster_query);

static const struct codec_field reply_fields[] = {
    CODEC_FIELD(CODEC_U64, struct cluster_reply, request),
    CODEC_INSIDE(struct cluster_reply, reply, &state_reply_codec),
};
static const struct codec reply_codec = CODEC_OF("Reply", reply_fields, struct cluster_reply);

static const struct codec_field history_fields[] = {
    CODEC_INSIDE(struct cluster_history, rows, &state_reply_codec),
};
static const struct codec history_codec =
    CODEC_OF("History", history_fields, struct cluster_history);

static const struct codec nothing_codec = {.name = "ClusterNothing"};

static const struct codec *const codecs[] = {
    [CLUSTER_JOIN] = &join_codec,
    [CLUSTER_JOINED] = &joined_codec,
    [CLUSTER_REFUSED] = &refused_codec,
    [CLUSTER_RENEW] = &renew_codec,
    [CLUSTER_RENEWED] = &renewed_codec,
    [CLUSTER_JOB_NEW] = &job_new_codec,
    [CLUSTER_JOB_ADDED] = &job_added_codec,
    [CLUSTER_JOB_END] = &job_end_codec,
    [CLUSTER_JOB_ENDED] = &job_ended_codec,
    [CLUSTER_FEASIBLE] = &feasible_codec,
    [CLUSTER_FEASIBLE_ANSWER] = &feasible_answer_codec,
    [CLUSTER_VIEW] = &view_codec,
    [CLUSTER_LEAVE] = &nothing_codec,
    [CLUSTER_LEFT] = &nothing_codec,
    [CLUSTER_QUERY] = &query_codec,
    [CLUSTER_REPLY] = &reply_codec,
    [CLUSTER_DRAIN] = &nothing_codec,
    [CLUSTER_HISTORY] = &history_codec,
    [CLUSTER_REACH] = &reach_codec,
};

const struct codec *cluster_codec(unsigned type)
{
    return type < ARRAY_SIZE(codecs) ? codecs[type] : NULL;
}

size_t cluster_size(const struct cluster_msg *m)
{
    const struct codec *codec = cluster_codec(m->type);
    ASSERT(codec != NULL);
    return MESSAGE_PREFIX_SIZE + codec_size(codec, &m->join);
}

void cluster_encode(const struct cluster_msg *m, void *dst)
{
    const struct codec *codec = cluster_codec(m->type);
    ASSERT(codec != NULL);
    uint8_t *meta = (uint8_t *)dst + MESSAGE_PREFIX_SIZE;
    message_seal(dst, (uint8_t)m->type, (size_t)(codec_write(codec, &m->join, meta) - meta), 0);
}

static int amounts_check(const struct cluster_amount *amounts, size_t count, const char **ret_why)
{
    for (size_t i = 0; i < count; i++) {
        if (amounts[i].total_units < 0 || amounts[i].name[0] == '\0') {
            return refuse(ret_why, "an amount below zero or without a name");
        }
    }
    return 0;
}

static int view_check(const struct cluster_view *view, const char **ret_why)
{
    for (size_t i = 0; i < view->node_count; i++) {
        const struct cluster_view_node *node = &view->nodes[i];
        if (node->number == 0 || node->state < NODE_ALIVE || node->state > NODE_LEFT) {
            return refuse(ret_why, "VIEW has a node without number or state");
        }
        int err = amounts_check(node->amounts, node->amount_count, ret_why);
        if (err != 0) {
            return err;
        }
    }
    return 0;
}

static int check(const struct cluster_msg *m, const char **ret_why)
{
    switch (m->type) {
    case CLUSTER_JOIN:
        return amounts_check(m->join.amounts, m->join.amount_count, ret_why);
    case CLUSTER_JOINED:
        return m->joined.number != 0 ? 0 : refuse(ret_why, "JOINED without a number");
    case CLUSTER_RENEW:
        return amounts_check(m->renew.amounts, m->renew.amount_count, ret_why);
    case CLUSTER_JOB_END:
        return m->job_end.state >= JOB_DONE && m->job_end.state <= JOB_CANCELLED
                   ? 0
                   : refuse(ret_why, "JOB_END without a state");
    case CLUSTER_FEASIBLE:
        return amounts_check(m->feasible.amounts, m->feasible.amount_count, ret_why);
    case CLUSTER_VIEW:
        return view_check(&m->view, ret_why);
    default:
        return 0;
    }
}

int cluster_decode(struct bytes data, struct arena *arena, struct cluster_msg *ret,
                   const char **ret_why)
{
    struct message_view view;
    int err = decode_body(data, cluster_codec, arena, &view, &ret->join, ret_why);
    if (err != 0) {
        return err;
    }
    if (view.payload.size != 0) {
        return refuse(ret_why, "an unexpected payload");
    }
    ret->type = view.type;
    return check(ret, ret_why);
}
