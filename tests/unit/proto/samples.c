#include "tests/unit/proto/samples.h"

#define FAILURE                                                                                    \
    {                                                                                              \
        .code = CODE_CRASHED, .app_code = -7, .signal = 11, .exit_code = INT32_MIN,                \
        .attempts = UINT32_MAX, .depth = 2, .task = "3-7.2231", .node = "pi",                      \
        .message = "square(7) crashed: SIGSEGV; look at the log"                                   \
    }
#define QUERY                                                                                      \
    {                                                                                              \
        .kind = STATE_TASKS, .limit = 100, .id = "last", .node = "pi", .state = "running",         \
        .name = "square", .job = 9, .worker = UINT64_MAX, .stream = 2, .offset = UINT64_MAX,       \
        .max_bytes = 4096, .within_ns = UINT64_MAX, .force = true                                  \
    }
#define EMPTY_QUERY                                                                                \
    {                                                                                              \
        .id = "", .node = "", .state = "", .name = ""                                              \
    }

static const struct object_id ids[] = {
    {1, 1, 1}, {UINT32_MAX, UINT32_MAX, UINT64_MAX}, {3, 7, 2231}};
static const struct local_amount asked[] = {{"CPU", 10000}, {"x", 0}, {"memory", INT64_MAX}};
static const uint8_t kinds[] = {1, 0, 255};
static const uint64_t payload_words[32] = {1, 2, 3, UINT64_MAX};
static const struct local_value values[] = {
    {{1, 1, 1}, VALUE_HERE, 13},
    {{1, 1, 2}, VALUE_READY, UINT32_MAX},
    {{1, 1, 3}, VALUE_ERROR, 8},
    {{1, 1, 4}, VALUE_HERE, 0},
};
static const struct local_return returns[] = {
    {RETURN_VALUE, 9, {0}, 0, 0},
    {RETURN_ALIAS, 0, {1, 2, 3}, 0, 0},
    {RETURN_UNSET, 0, {0}, 0, 0},
    {RETURN_VALUE, 80, {0}, 0, 0},
    {RETURN_TOO_LARGE, UINT32_MAX, {0}, 0, 0},
};
static const struct local_return holding[] = {
    {RETURN_VALUE, 9, {0}, 2, 0},
    {RETURN_ALIAS, 0, {1, 2, 3}, 0, 0},
    {RETURN_VALUE, 0, {0}, 1, 0},
};
static const uint32_t need_sizes[] = {64, 0, 3};

static const struct state_amount amounts[] = {
    {"CPU", 80000, -10000}, {"", 0, 0}, {"x", INT64_MAX, INT64_MIN}};
static const struct state_node nodes[] = {
    {.number = 1,
     .name = "a",
     .host = "h",
     .address = "10.0.0.5:7421",
     .state = "alive",
     .note = "n",
     .labels = "d=ssd",
     .since_unix_ms = 1,
     .pid = 2,
     .amounts = amounts,
     .amount_count = 3,
     .waiting = 3,
     .running = 4,
     .done = UINT64_MAX,
     .failed = 6,
     .workers = 7,
     .idle_workers = 8,
     .cancelled = 9,
     .heard_unix_ms = 10,
     .memory_used_bytes = UINT64_MAX},
    {.name = "", .host = "", .address = "", .state = "", .note = "", .labels = ""},
};
static const struct state_job jobs[] = {
    {.number = 1,
     .name = "j",
     .state = "done",
     .node = "a",
     .program = "/bin/x",
     .user = "u",
     .pid = 2,
     .started_unix_ms = 3,
     .ended_unix_ms = 4,
     .waiting = 5,
     .running = 6,
     .done = 7,
     .failed = 8,
     .cancelled = 9},
};
static const struct state_task tasks[] = {
    {.id = {1, 2, 3},
     .function = "f",
     .name = "n",
     .node = "a",
     .state = "waiting",
     .reason = "CPU",
     .job = 1,
     .worker = 2,
     .attempt = 3,
     .max_attempts = 4,
     .depth = 5,
     .priority = INT32_MIN,
     .submitted_unix_ms = 6,
     .started_unix_ms = 7,
     .ended_unix_ms = 8,
     .code = 9,
     .ran_ns = 10,
     .root = "g"},
    {.function = "", .name = "", .node = "", .state = "", .reason = "", .root = ""},
};
static const struct state_class classes[] = {
    {.function = "f", .state = "s", .reason = "r", .node = "n", .count = 1, .job = 2},
};
static const struct state_worker workers[] = {
    {.number = 1,
     .job = 2,
     .node = "n",
     .program = "p",
     .state = "idle",
     .pid = 3,
     .out_path = "/a\xff",
     .err_path = "/b",
     .started_unix_ms = 4,
     .tasks_done = 5,
     .task = {1, 2, 3},
     .function = "f"},
};
static const struct state_bucket buckets[] = {{0, 1}, {161, UINT64_MAX}};
static const struct state_function functions[] = {
    {.function = "f",
     .node = "a",
     .done = 1,
     .failed = 2,
     .cancelled = 3,
     .runs = 4,
     .ran_ns = UINT64_MAX,
     .buckets = buckets,
     .bucket_count = 2},
    {.function = "", .node = ""},
};
static const struct state_output outputs[] = {
    {.node = "n", .worker = 1, .attempt = 2, .stream = 1, .begin = 3, .end = UINT64_MAX},
    {.node = "", .running = true},
};
static const char *const lines[] = {"waits for CPU", "", "gr\xc3\xbc\xc3\x9f"};

#define REPLY                                                                                      \
    {                                                                                              \
        .last = true, .failure = FAILURE, .cluster = "default", .head_address = "h:7420",          \
        .head_pid = 1, .head_started_unix_ms = 2, .nodes = nodes, .node_count = 2, .jobs = jobs,   \
        .job_count = 1, .tasks = tasks, .task_count = 2, .classes = classes, .class_count = 1,     \
        .workers = workers, .worker_count = 1, .lines = lines, .line_count = 3, .log = {kinds, 3}, \
        .log_offset = 3, .log_end = 4, .log_closed = true, .functions = functions,                 \
        .function_count = 2, .outputs = outputs, .output_count = 2, .outputs_lost = true           \
    }
#define EMPTY_REPLY                                                                                \
    {                                                                                              \
        .cluster = "", .head_address = ""                                                          \
    }

static const struct local_msg local_samples[] = {
    {.type = LOCAL_OPEN,
     .open = {.protocol = 1,
              .role = ROLE_WORKER,
              .worker = 5,
              .job_name = "j",
              .program_name = "./a",
              .cwd = "/tmp/\xff",
              .env_size = 8,
              .umask = 022,
              .wants_logs = true,
              .given_size = 17},
     .payload = {"A=b\0C=d\0and what is given", 25}},
    {.type = LOCAL_OPEN,
     .open = {.role = ROLE_DRIVER, .job_name = "", .program_name = "", .cwd = ""}},
    {.type = LOCAL_WELCOME,
     .welcome = {.node = 1,
                 .client = 2,
                 .job = 3,
                 .node_name = "pi",
                 .cluster = "c",
                 .credit_bytes = UINT64_MAX}},
    {.type = LOCAL_WELCOME,
     .welcome = {.node_name = "", .cluster = "", .given_size = 5},
     .payload = {"given", 5}},
    {.type = LOCAL_REFUSED, .refused = {FAILURE}},
    {.type = LOCAL_GOODBYE},
    {.type = LOCAL_CLASS,
     .class_ = {.number = 1,
                .function = "square",
                .kinds = {kinds, 3},
                .amounts = asked,
                .amount_count = 3,
                .strategy = 4,
                .soft = true,
                .node = "a",
                .labels = "x=y",
                .priority = INT32_MIN}},
    {.type = LOCAL_CLASS,
     .class_ = {.number = UINT32_MAX,
                .function = "f",
                .kinds = {"", 0},
                .node = "",
                .labels = "",
                .priority = INT32_MAX}},
    {.type = LOCAL_SUBMIT,
     .submit = {.number = 2231, .class_number = 1, .returns = 1, .max_attempts = 4, .name = ""},
     .payload = {payload_words, 24}},
    {.type = LOCAL_SUBMIT,
     .submit = {.number = UINT64_MAX - LOCAL_RETURNS_MAX,
                .class_number = UINT32_MAX,
                .returns = LOCAL_RETURNS_MAX,
                .parent_slot = LOCAL_CLAIMS,
                .max_attempts = UINT32_MAX,
                .flags = 3,
                .timeout_ns = UINT64_MAX,
                .backoff_ns = 1,
                .name = "named",
                .needs = ids,
                .need_count = 3,
                .refs = ids,
                .ref_count = 2},
     .payload = {payload_words, 65}},
    {.type = LOCAL_PUT,
     .put = {.number = 1, .refs = ids, .ref_count = 3},
     .payload = {payload_words, 64}},
    {.type = LOCAL_PUT, .put = {.number = UINT64_MAX}},
    {.type = LOCAL_GET, .get = {.flags = GET_WHOLE, .ids = ids, .id_count = 3}},
    {.type = LOCAL_VALUES, .values = {values, 4}, .payload = {payload_words, 24}},
    {.type = LOCAL_VALUES},
    {.type = LOCAL_RELEASE, .ids = {ids, 1, {0}}},
    {.type = LOCAL_HOLD, .ids = {ids, 3, {0}}},
    {.type = LOCAL_HOLD, .ids = {ids, 2, {3, 7, 2231}}},
    {.type = LOCAL_CANCEL, .cancel = {.request = 1, .id = {1, 2, 3}, .flags = 3}},
    {.type = LOCAL_RUN_CLASS,
     .run_class = {.number = 1, .function = "square", .kinds = {kinds, 3}}},
    {.type = LOCAL_RUN,
     .run = {.slot = 0,
             .class_number = 1,
             .attempt = 1,
             .returns = 1,
             .task = {3, 7, 2231},
             .args_size = 24},
     .payload = {payload_words, 24}},
    {.type = LOCAL_RUN,
     .run = {.slot = LOCAL_CLAIMS - 1,
             .class_number = UINT32_MAX,
             .attempt = UINT32_MAX,
             .returns = LOCAL_RETURNS_MAX,
             .task = {1, 1, UINT64_MAX},
             .time_left_ns = UINT64_MAX,
             .args_size = 7,
             .need_sizes = need_sizes,
             .need_count = 3},
     .payload = {payload_words, 131}},
    {.type = LOCAL_RESULT,
     .result = {.slot = 5, .message = "", .returns = returns, .return_count = 1, .ran_ns = 7},
     .payload = {payload_words, 9}},
    {.type = LOCAL_RESULT,
     .result = {.slot = LOCAL_CLAIMS - 1, .message = "", .returns = returns, .return_count = 5},
     .payload = {payload_words, 96}},
    {.type = LOCAL_RESULT,
     .result = {.slot = 7,
                .message = "",
                .returns = holding,
                .return_count = 3,
                .refs = ids,
                .ref_count = 3},
     .payload = {payload_words, 16}},
    {.type = LOCAL_RESULT,
     .result = {.slot = 0, .code = CODE_FAILED, .app_code = -1, .message = "no such file"}},
    {.type = LOCAL_RESULT,
     .result = {.slot = 1,
                .message = "",
                .returns = returns,
                .return_count = 1,
                .out_end = UINT64_MAX,
                .err_end = 1},
     .payload = {payload_words, 9}},
    {.type = LOCAL_BLOCKED},
    {.type = LOCAL_BLOCKED, .ids = {ids, 3, {0}}},
    {.type = LOCAL_UNBLOCKED},
    {.type = LOCAL_LEAVE},
    {.type = LOCAL_QUERY, .query = {.request = 1, .query = QUERY}},
    {.type = LOCAL_QUERY, .query = {.query = EMPTY_QUERY}},
    {.type = LOCAL_REPLY, .reply = {.request = UINT64_MAX, .reply = REPLY}},
    {.type = LOCAL_REPLY, .reply = {.reply = EMPTY_REPLY}},
    {.type = LOCAL_CANCELLED, .cancelled = {.request = 1, .code = CODE_DONE}},
    {.type = LOCAL_LOGS},
    {.type = LOCAL_LOGS, .logs = {.elsewhere = true}},
    {.type = LOCAL_LOG,
     .log = {.node = "pi", .function = "square", .worker = UINT64_MAX, .stream = 2},
     .payload = {"warm\n", 5}},
};

static const struct cluster_amount shares[] = {{"CPU", 80000, -10000}, {"memory", INT64_MAX, 0}};
static const uint64_t numbers[] = {1, UINT64_MAX, 0};
static const struct cluster_view_node view[] = {
    {.number = 1,
     .name = "a",
     .address = "10.0.0.5:7421",
     .public_key = "0123456789012345678901234567890123456789",
     .labels = "a=b",
     .state = NODE_ALIVE,
     .amounts = shares,
     .amount_count = 2,
     .waiting = 1,
     .running = UINT64_MAX,
     .closed = true,
     .warning = "silent"},
    {.number = UINT32_MAX,
     .name = "",
     .address = "",
     .public_key = "",
     .labels = "",
     .state = NODE_LEFT,
     .warning = ""},
};

static const struct cluster_msg cluster_samples[] = {
    {.type = CLUSTER_JOIN,
     .join = {.protocol = 1,
              .number = 2,
              .supersedes = 3,
              .secret = "0f1e2d3c",
              .name = "a",
              .host = "h",
              .address = "10.0.0.5:7421",
              .version = "0.1.0",
              .public_key = "0123456789012345678901234567890123456789",
              .pid = 4,
              .amounts = shares,
              .amount_count = 2,
              .labels = "disk=ssd",
              .jobs = numbers,
              .job_count = 3,
              .closed = true,
              .leaving = true,
              .advertised = true}},
    {.type = CLUSTER_JOIN,
     .join =
         {.name = "", .host = "", .address = "", .version = "", .public_key = "", .labels = ""}},
    {.type = CLUSTER_JOINED,
     .joined = {.number = UINT32_MAX,
                .lease_ns = UINT64_MAX,
                .cluster = "default",
                .address = "[2001:db8::5]:7421"}},
    {.type = CLUSTER_REACH, .reach = {.address = "10.0.0.5:7421", .warning = "nobody is there"}},
    {.type = CLUSTER_REACH, .reach = {.address = "", .warning = ""}},
    {.type = CLUSTER_REFUSED, .refused = {FAILURE}},
    {.type = CLUSTER_RENEW,
     .renew = {.sent_ns = 1,
               .answered_ns = 2,
               .amounts = shares,
               .amount_count = 2,
               .waiting = 3,
               .running = 4,
               .done = 5,
               .failed = 6,
               .workers = 7,
               .idle_workers = 8,
               .cancelled = 9,
               .memory_used_bytes = 10}},
    {.type = CLUSTER_RENEWED, .renewed = {UINT64_MAX}},
    {.type = CLUSTER_JOB_NEW,
     .job_new =
         {.key = 1, .name = "j", .program = "/bin/x", .user = "u", .pid = 2, .started_unix_ms = 3}},
    {.type = CLUSTER_JOB_ADDED, .job_added = {.key = 1, .job = 2, .failure = FAILURE}},
    {.type = CLUSTER_JOB_ADDED, .job_added = {.key = 1, .job = 2}},
    {.type = CLUSTER_JOB_END,
     .job_end = {.job = 1,
                 .state = JOB_LOST,
                 .ended_unix_ms = 2,
                 .done = 3,
                 .failed = UINT64_MAX,
                 .cancelled = 4}},
    {.type = CLUSTER_JOB_ENDED, .job_ended = {7}},
    {.type = CLUSTER_FEASIBLE,
     .feasible = {.request = 1,
                  .amounts = shares,
                  .amount_count = 1,
                  .strategy = 2,
                  .soft = true,
                  .node = "a",
                  .labels = "x=y"}},
    {.type = CLUSTER_FEASIBLE_ANSWER, .feasible_answer = {.request = 1, .failure = FAILURE}},
    {.type = CLUSTER_VIEW, .view = {.whole = true, .nodes = view, .node_count = 2}},
    {.type = CLUSTER_LEAVE},
    {.type = CLUSTER_LEFT},
    {.type = CLUSTER_DRAIN},
    {.type = CLUSTER_HISTORY, .history = {REPLY}},
    {.type = CLUSTER_HISTORY, .history = {EMPTY_REPLY}},
    {.type = CLUSTER_QUERY, .query = {.request = 1, .query = QUERY}},
    {.type = CLUSTER_REPLY, .reply = {.request = UINT64_MAX, .reply = REPLY}},
};

static const uint8_t hash[PEER_HASH_SIZE] = {1, 2, 0, 255};
static const uint64_t runs[] = {1, UINT64_MAX};
static const struct local_return peer_returns[] = {
    {RETURN_VALUE, 9, {0}, 2, 0},  {RETURN_ALIAS, 0, {1, 2, 3}, 0, 0},
    {RETURN_UNSET, 0, {0}, 0, 0},  {RETURN_TOO_LARGE, UINT32_MAX, {0}, 0, 0},
    {RETURN_VALUE, 80, {0}, 1, 0},
};

static const struct peer_step steps[] = {{LOOK_OBJECT, 3, {3, 7, 2231}, 0},
                                         {LOOK_ROOM, UINT32_MAX, {0}, 0}};

static const struct peer_msg peer_samples[] = {
    {.type = PEER_JOB,
     .job = {.job = UINT64_MAX,
             .name = "j",
             .program_name = "./a",
             .user = "u",
             .cwd = "/tmp/\xff",
             .env_size = 8,
             .umask = 022,
             .hash = {hash, sizeof hash},
             .program_size = UINT64_MAX,
             .started_unix_ms = 1,
             .wants_logs = true,
             .home = UINT32_MAX,
             .given_size = 3},
     .payload = {"A=b\0C=d\0...", 11}},
    {.type = PEER_JOB,
     .job = {.job = 1,
             .name = "",
             .program_name = "",
             .user = "",
             .cwd = "",
             .hash = {hash, sizeof hash},
             .program_size = 1,
             .home = 1}},
    {.type = PEER_JOB_END, .job_end = {UINT64_MAX, true}},
    {.type = PEER_JOB_END, .job_end = {1, false}},
    {.type = PEER_CLASS,
     .class_ = {.number = UINT32_MAX,
                .job = 1,
                .function = "square",
                .kinds = {kinds, 3},
                .amounts = asked,
                .amount_count = 3,
                .priority = INT32_MIN,
                .depth = UINT32_MAX}},
    {.type = PEER_CLASS, .class_ = {.number = 1, .job = 1, .function = "f", .kinds = {"", 0}}},
    {.type = PEER_CLASS_END, .class_end = {1}},
    {.type = PEER_ASK, .ask = {.number = 1, .limit = UINT64_MAX}},
    {.type = PEER_ASK, .ask = {.number = UINT32_MAX}},
    {.type = PEER_RETURN, .slots = {.number = 1, .count = UINT32_MAX}},
    {.type = PEER_RUN,
     .run = {.run = 1,
             .number = 1,
             .attempt = 1,
             .returns = 1,
             .task = {3, 7, 2231},
             .name = "",
             .args_size = 24},
     .payload = {payload_words, 24}},
    {.type = PEER_RUN,
     .run = {.run = UINT64_MAX,
             .number = UINT32_MAX,
             .attempt = UINT32_MAX,
             .returns = LOCAL_RETURNS_MAX,
             .task = {1, 1, UINT64_MAX},
             .time_left_ns = UINT64_MAX,
             .name = "named",
             .args_size = 7,
             .need_sizes = need_sizes,
             .need_count = 3,
             .refs = ids,
             .ref_count = 3},
     .payload = {payload_words, 131}},
    {.type = PEER_STOP, .stop = {.run = 1, .how = PEER_STOP_KILL, .recursive = true}},
    {.type = PEER_STOP, .stop = {.run = UINT64_MAX, .how = PEER_STOP_ASK}},
    {.type = PEER_RECORDED, .runs = {runs, 2}},
    {.type = PEER_GRANT, .slots = {.number = UINT32_MAX, .count = 1}},
    {.type = PEER_STARTED, .runs = {runs, 1}},
    {.type = PEER_BACK, .back = {.run = 1, .reason = PEER_BACK_BROKEN}},
    {.type = PEER_RESULT,
     .result = {.run = 1,
                .worker = UINT64_MAX,
                .returns = peer_returns,
                .return_count = 5,
                .refs = ids,
                .ref_count = 3,
                .args_free = true,
                .wants_recorded = true,
                .ran_ns = UINT64_MAX},
     .payload = {payload_words, 96}},
    {.type = PEER_RESULT, .result = {.run = 2, .kind = PEER_RESULT_DIED, .failure = FAILURE}},
    {.type = PEER_RESULT, .result = {.run = UINT64_MAX}},
    {.type = PEER_ARGS_FREE, .runs = {runs, 2}},
    {.type = PEER_JOB_BROKEN, .job_broken = {.job = 1, .failure = FAILURE}},
    {.type = PEER_LOG,
     .log = {.job = 1, .worker = UINT64_MAX, .stream = 2, .function = "square"},
     .payload = {"warm\n", 5}},
    {.type = PEER_PROGRAM_GET, .program_get = {.hash = {hash, sizeof hash}, .offset = UINT64_MAX}},
    {.type = PEER_PROGRAM_PART,
     .program_part = {.hash = {hash, sizeof hash}, .offset = 100, .total = 165},
     .payload = {payload_words, 65}},
    {.type = PEER_PROGRAM_PART, .program_part = {.hash = {hash, sizeof hash}, .failure = FAILURE}},
    {.type = PEER_ADD,
     .add = {.first = true, .last = true, .job = UINT64_MAX, .ids = ids, .id_count = 3}},
    {.type = PEER_ADD, .add = {.last = true}},
    {.type = PEER_DROP, .ids = {ids, 1}},
    {.type = PEER_WANT, .ids = {ids, 3}},
    {.type = PEER_ADDED, .added = {.ids = ids, .id_count = 1, .gone = ids, .gone_count = 2}},
    {.type = PEER_VALUE,
     .value = {.id = {3, 7, 2231}, .state = VALUE_HERE, .refs = ids, .ref_count = 3},
     .payload = {payload_words, 100}},
    {.type = PEER_VALUE,
     .value = {.id = {3, 7, 2231}, .state = VALUE_ERROR},
     .payload = {payload_words, 8}},
    {.type = PEER_CANCEL, .cancel = {.id = {3, 7, 2231}, .flags = CANCEL_RECURSIVE}},
    {.type = PEER_JOB_ASK, .job_ask = {.job = UINT64_MAX}},
    {.type = PEER_LIFT, .lift = {.id = {3, 7, 2231}, .priority = INT32_MIN}},
    {.type = PEER_LIFT, .lift = {.run = UINT64_MAX, .priority = 10}},
    {.type = PEER_LOOK,
     .look = {.look = UINT64_MAX,
              .item = 7,
              .kind = LOOK_RUN,
              .node = 4,
              .id = {3, 7, 2231},
              .run = 9,
              .amounts = asked,
              .amount_count = ARRAY_SIZE(asked),
              .depth = 2,
              .job = UINT64_MAX}},
    {.type = PEER_LOOK, .look = {.kind = LOOK_ROOM, .node = 1}},
    {.type = PEER_LOGS, .logs = {.job = UINT64_MAX, .elsewhere = true}},
    {.type = PEER_LOGS, .logs = {.job = 1}},
    {.type = PEER_SEEN, .seen = {.look = 1, .name = ""}},
    {.type = PEER_SEEN,
     .seen = {.look = 1,
              .item = UINT32_MAX,
              .stuck = true,
              .since = UINT64_MAX,
              .steps = steps,
              .step_count = ARRAY_SIZE(steps),
              .amounts = asked,
              .amount_count = ARRAY_SIZE(asked),
              .waits_for_room = true,
              .depth = 1,
              .newest_node = 9,
              .name = "hog"}},
};

size_t sample_peer_count(void)
{
    return ARRAY_SIZE(peer_samples);
}

const struct peer_msg *sample_peer(size_t i)
{
    return &peer_samples[i];
}

size_t sample_local_count(void)
{
    return ARRAY_SIZE(local_samples);
}

const struct local_msg *sample_local(size_t i)
{
    return &local_samples[i];
}

size_t sample_cluster_count(void)
{
    return ARRAY_SIZE(cluster_samples);
}

const struct cluster_msg *sample_cluster(size_t i)
{
    return &cluster_samples[i];
}
