#include "cli/options.h"

#define PLACE_OPTIONS                                                                              \
    {"cluster", 'C', ARGS_TEXT, "NAME", "the cluster under ~/.drt; else DRT_CLUSTER", 0},          \
    {                                                                                              \
        "dir", 'd', ARGS_TEXT, "DIR", "the cluster's directory; else DRT_DIR", 0                   \
    }
#define ASK_OPTIONS                                                                                \
    {"cluster",                                                                                    \
     'C',                                                                                          \
     ARGS_TEXT,                                                                                    \
     "NAME|HOST:PORT",                                                                             \
     "the cluster under ~/.drt, or its head's address; else DRT_CLUSTER",                          \
     0},                                                                                           \
        {"dir", 'd', ARGS_TEXT, "DIR", "the cluster's directory; else DRT_DIR", 0},                \
    {                                                                                              \
        "key-file", 'k', ARGS_TEXT, "FILE",                                                        \
            "ask a head elsewhere with this key; else DRT_KEY_FILE", 0                             \
    }
#define SHOW_OPTIONS                                                                               \
    {"json", 0, ARGS_FLAG, NULL, "as JSON, for other programs", 0},                                \
    {                                                                                              \
        "watch", 'w', ARGS_DURATION, "[SECONDS]", "again and again, every 2 s unless told", 0      \
    }
#define LIMIT_OPTION                                                                               \
    {                                                                                              \
        "limit", 'n', ARGS_U64, "N", "at most so many rows (100 unless told)", 10000               \
    }
#define NODE_OPTION                                                                                \
    {                                                                                              \
        "node", 0, ARGS_TEXT, "NODE", "only what is on this node", 0                               \
    }
#define JOB_OPTION                                                                                 \
    {                                                                                              \
        "job", 'j', ARGS_TEXT, "JOB", "only what is of this job; \"last\": the newest", 0          \
    }
#define NAME_OPTION                                                                                \
    {                                                                                              \
        "name", 0, ARGS_TEXT, "NAME", "only what is called so", 0                                  \
    }
#define OPTIONS_END                                                                                \
    {                                                                                              \
        NULL, 0, ARGS_FLAG, NULL, NULL, 0                                                          \
    }

static const struct args_option status_options[] = {SHOW_OPTIONS, ASK_OPTIONS, OPTIONS_END};

static const struct args_option nodes_options[] = {
    SHOW_OPTIONS,
    {"state", 's', ARGS_TEXT, "STATE", "only these: alive, suspect, leaving, private, lost, left",
     0},
    NAME_OPTION,
    LIMIT_OPTION,
    ASK_OPTIONS,
    OPTIONS_END,
};

static const struct args_option tasks_options[] = {
    SHOW_OPTIONS,
    {"state", 's', ARGS_TEXT, "STATE", "only these: waiting, running, done, failed, cancelled", 0},
    NODE_OPTION,
    JOB_OPTION,
    NAME_OPTION,
    LIMIT_OPTION,
    ASK_OPTIONS,
    OPTIONS_END,
};

static const struct args_option jobs_options[] = {
    SHOW_OPTIONS,
    {"state", 's', ARGS_TEXT, "STATE", "only these: running, done, failed, lost, cancelled", 0},
    NODE_OPTION,
    NAME_OPTION,
    LIMIT_OPTION,
    ASK_OPTIONS,
    OPTIONS_END,
};

static const struct args_option logs_options[] = {
    {"task", 't', ARGS_TEXT, "TASK",
     "what this task printed, in each attempt; \"last\": the newest", 0},
    {"job", 'j', ARGS_TEXT, "JOB", "of all workers of this job; \"last\": the newest", 0},
    {"worker", 0, ARGS_U64, "N", "of this worker", 0},
    {"node", 0, ARGS_TEXT, "NODE", "of workers on this node", 0},
    {"stream", 0, ARGS_TEXT, "out|err", "only standard output, or only standard error", 0},
    {"follow", 'f', ARGS_FLAG, NULL, "go on as more is written, until the job, task or worker ends",
     0},
    {"json", 0, ARGS_FLAG, NULL, "as JSON, for other programs", 0},
    ASK_OPTIONS,
    OPTIONS_END,
};

static const struct args_option explain_options[] = {SHOW_OPTIONS, ASK_OPTIONS, OPTIONS_END};
static const struct args_option distribute_options[] = {
    {"strategy", 's', ARGS_TEXT, "NAME", "test: default, spread, load_balanced or node_specific",
     0},
    {"node", 0, ARGS_TEXT, "NODE",
     "test: the one for node_specific; status: only what is on this node", 0},
    {"labels", 'l', ARGS_TEXT, "K=V,...", "test: those of a node for node_specific", 0},
    {"soft", 0, ARGS_FLAG, NULL, "test: node_specific, elsewhere if no such node is there", 0},
    {"tasks", 'n', ARGS_U64, "K", "test: so many (100 unless told)", 1000000},
    {"duration", 't', ARGS_DURATION, "DURATION", "test: what each takes (10 ms unless told)", 0},
    JOB_OPTION,
    SHOW_OPTIONS,
    ASK_OPTIONS,
    OPTIONS_END,
};
static const struct args_option stop_options[] = {
    PLACE_OPTIONS,
    {"key-file", 'k', ARGS_TEXT, "FILE", NULL, 0}, /* to say why not */
    OPTIONS_END,
};
static const struct args_option completion_options[] = {OPTIONS_END};

static const struct args_verb verbs[] = {
    {"status",
     "",
     "the cluster on one screen: nodes, tasks, what waits and why",
     {"drt status", "drt status --watch 5"},
     status_options,
     0,
     0,
     VERB_STATUS},
    {"nodes",
     "[NODE]",
     "the machines: what each has and does",
     {"drt nodes", "drt nodes --state lost"},
     nodes_options,
     0,
     1,
     VERB_NODES},
    {"tasks",
     "[TASK|last]",
     "tasks, the newest first",
     {"drt tasks --state running", "drt tasks --job last --name resize --json"},
     tasks_options,
     0,
     1,
     VERB_TASKS},
    {"jobs",
     "[JOB|last]",
     "jobs: each run of a program, the newest first",
     {"drt jobs", "drt jobs --state running --json"},
     jobs_options,
     0,
     1,
     VERB_JOBS},
    {"logs",
     "[last]",
     "what workers wrote; without a choice, those of the newest job",
     {"drt logs --job last --follow", "drt logs --task 1-2.2231"},
     logs_options,
     0,
     1,
     VERB_LOGS},
    {"explain",
     "<TASK|last>",
     "why a task waits, or what became of it",
     {"drt explain 1-2.2240", "drt explain last --watch"},
     explain_options,
     1,
     1,
     VERB_EXPLAIN},
    {"distribute",
     "<test|status>",
     "test: run tasks and show which nodes ran them; status: where the tasks of all jobs are now",
     {"drt distribute test --strategy spread --tasks 1000 --duration 10ms",
      "drt distribute status --watch"},
     distribute_options,
     1,
     1,
     VERB_DISTRIBUTE},
    {"stop",
     "",
     "stop the cluster's head and nodes on this machine",
     {"drt stop", "drt stop --cluster test"},
     stop_options,
     0,
     0,
     VERB_STOP},
    {"completion",
     "<bash|zsh>",
     "print what makes a shell complete drt's verbs and options",
     {"source <(drt completion bash)", "drt completion zsh > ~/.zfunc/_drt"},
     completion_options,
     1,
     1,
     VERB_COMPLETION},
    {NULL, NULL, NULL, {NULL, NULL}, NULL, 0, 0, 0},
};

const struct args_program cli_program = {
    "drt",
    "Look at a drt cluster, try it, and stop it. Clusters are made by drt-head, nodes by drt-node.",
    verbs,
};
