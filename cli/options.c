#include "cli/options.h"

#define PLACE_OPTIONS                                                                              \
    {"cluster", 'C', ARGS_TEXT, "NAME", "the cluster under ~/.drt (default: DRT_CLUSTER)", 0},     \
    {                                                                                              \
        "dir", 'd', ARGS_TEXT, "DIR", "the cluster's directory (default: DRT_DIR)", 0              \
    }
#define ASK_OPTIONS                                                                                \
    {"cluster",                                                                                    \
     'C',                                                                                          \
     ARGS_TEXT,                                                                                    \
     "NAME|HOST:PORT",                                                                             \
     "the cluster under ~/.drt, or its head's address (default: DRT_CLUSTER)",                     \
     0},                                                                                           \
        {"dir", 'd', ARGS_TEXT, "DIR", "the cluster's directory (default: DRT_DIR)", 0},           \
    {                                                                                              \
        "key-file", 'k', ARGS_TEXT, "FILE",                                                        \
            "the key for a head on another machine (default: DRT_KEY_FILE)", 0                     \
    }
#define SHOW_OPTIONS                                                                               \
    {"json", 0, ARGS_FLAG, NULL, "print JSON", 0},                                                 \
    {                                                                                              \
        "watch", 'w', ARGS_DURATION, "[SECONDS]", "refresh every N seconds (default: 2)", 0        \
    }
#define LIMIT_OPTION                                                                               \
    {                                                                                              \
        "limit", 'n', ARGS_U64, "N", "show at most N rows (default: 100)", 10000                   \
    }
#define NODE_OPTION                                                                                \
    {                                                                                              \
        "node", 0, ARGS_TEXT, "NODE", "show only this node", 0                                     \
    }
#define JOB_OPTION                                                                                 \
    {                                                                                              \
        "job", 'j', ARGS_TEXT, "JOB", "show only this job; \"last\" is the newest", 0              \
    }
#define NAME_OPTION                                                                                \
    {                                                                                              \
        "name", 0, ARGS_TEXT, "NAME", "show only this name", 0                                     \
    }
#define OPTIONS_END                                                                                \
    {                                                                                              \
        NULL, 0, ARGS_FLAG, NULL, NULL, 0                                                          \
    }

static const struct args_option status_options[] = {SHOW_OPTIONS, ASK_OPTIONS, OPTIONS_END};

static const struct args_option nodes_options[] = {
    SHOW_OPTIONS,
    {"state", 's', ARGS_TEXT, "STATE",
     "show only this state: alive, suspect, leaving, private, lost, left", 0},
    NAME_OPTION,
    LIMIT_OPTION,
    ASK_OPTIONS,
    OPTIONS_END,
};

static const struct args_option tasks_options[] = {
    SHOW_OPTIONS,
    {"state", 's', ARGS_TEXT, "STATE",
     "show only this state: waiting, running, done, failed, cancelled", 0},
    NODE_OPTION,
    JOB_OPTION,
    NAME_OPTION,
    LIMIT_OPTION,
    ASK_OPTIONS,
    OPTIONS_END,
};

static const struct args_option jobs_options[] = {
    SHOW_OPTIONS,
    {"state", 's', ARGS_TEXT, "STATE",
     "show only this state: running, done, failed, lost, cancelled", 0},
    NODE_OPTION,
    NAME_OPTION,
    LIMIT_OPTION,
    ASK_OPTIONS,
    OPTIONS_END,
};

static const struct args_option workers_options[] = {
    SHOW_OPTIONS,
    {"state", 's', ARGS_TEXT, "STATE",
     "show only this state: starting, idle, running, blocked, leaving", 0},
    NODE_OPTION,
    JOB_OPTION,
    LIMIT_OPTION,
    ASK_OPTIONS,
    OPTIONS_END,
};

static const struct args_option summary_options[] = {
    SHOW_OPTIONS, NODE_OPTION, LIMIT_OPTION, ASK_OPTIONS, OPTIONS_END,
};

static const struct args_option cancel_options[] = {
    {"force", 'f', ARGS_FLAG, NULL, "kill functions that run, instead of asking them to stop", 0},
    ASK_OPTIONS,
    OPTIONS_END,
};

static const struct args_option logs_options[] = {
    {"task", 't', ARGS_TEXT, "TASK",
     "show what this task printed, in each attempt; \"last\" is the newest task", 0},
    {"job", 'j', ARGS_TEXT, "JOB", "show all workers of this job; \"last\" is the newest job", 0},
    {"worker", 0, ARGS_U64, "N", "show this worker", 0},
    {"node", 0, ARGS_TEXT, "NODE", "show only workers on this node", 0},
    {"stream", 0, ARGS_TEXT, "out|err", "show only standard output, or only standard error", 0},
    {"follow", 'f', ARGS_FLAG, NULL, "keep printing new lines until the job, task or worker ends",
     0},
    {"json", 0, ARGS_FLAG, NULL, "print JSON", 0},
    ASK_OPTIONS,
    OPTIONS_END,
};

static const struct args_option explain_options[] = {SHOW_OPTIONS, ASK_OPTIONS, OPTIONS_END};
static const struct args_option distribute_options[] = {
    {"strategy", 's', ARGS_TEXT, "NAME", "test: default, spread, load_balanced or node_specific",
     0},
    {"node", 0, ARGS_TEXT, "NODE", "test: the node for node_specific; status: show only this node",
     0},
    {"labels", 'l', ARGS_TEXT, "K=V,...", "test: the labels of a node for node_specific", 0},
    {"soft", 0, ARGS_FLAG, NULL,
     "test: with node_specific, use another node if there is no such node", 0},
    {"tasks", 'n', ARGS_U64, "K", "test: the number of tasks (default: 100)", 1000000},
    {"duration", 't', ARGS_DURATION, "DURATION", "test: the run time of each task (default: 10ms)",
     0},
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
     "show the cluster: nodes, tasks, what waits and why, what failed",
     {"drt status", "drt status --watch 5"},
     status_options,
     0,
     0,
     VERB_STATUS},
    {"nodes",
     "[NODE]",
     "list nodes: what each has and what it does",
     {"drt nodes", "drt nodes --state lost"},
     nodes_options,
     0,
     1,
     VERB_NODES},
    {"tasks",
     "[TASK|last]",
     "list tasks, the newest first",
     {"drt tasks --state running", "drt tasks --job last --name resize --json"},
     tasks_options,
     0,
     1,
     VERB_TASKS},
    {"jobs",
     "[JOB|NAME|last]",
     "list jobs, the newest first; each run of a program is a job",
     {"drt jobs train", "drt jobs --state running --json"},
     jobs_options,
     0,
     1,
     VERB_JOBS},
    {"workers",
     "",
     "list worker processes with their pids and what each runs",
     {"drt workers", "drt workers --job last --state running"},
     workers_options,
     0,
     0,
     VERB_WORKERS},
    {"summary",
     "[FUNCTION]",
     "show finished tasks by function: counts and run times",
     {"drt summary", "drt summary resize --json"},
     summary_options,
     0,
     1,
     VERB_SUMMARY},
    {"logs",
     "[last]",
     "show what tasks wrote (default: the newest job)",
     {"drt logs --job last --follow", "drt logs --task 1-2.2231"},
     logs_options,
     0,
     1,
     VERB_LOGS},
    {"explain",
     "<TASK|last>",
     "explain why a task waits, or how it ended",
     {"drt explain 1-2.2240", "drt explain last --watch"},
     explain_options,
     1,
     1,
     VERB_EXPLAIN},
    {"cancel",
     "<TASK|JOB|last>",
     "cancel a task, or all tasks of a job; \"last\" is the newest job",
     {"drt cancel 1-2.2240", "drt cancel 7 --force"},
     cancel_options,
     1,
     1,
     VERB_CANCEL},
    {"distribute",
     "<test|status>",
     "test: run tasks and show which nodes ran them; status: show where tasks are now",
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
     "print the completion script of a shell",
     {"source <(drt completion bash)", "drt completion zsh > ~/.zfunc/_drt"},
     completion_options,
     1,
     1,
     VERB_COMPLETION},
    {NULL, NULL, NULL, {NULL, NULL}, NULL, 0, 0, 0},
};

/* What people try first who know other tools. */
static const struct args_hint hints[] = {
    {"top", "drt status --watch"},
    {"watch", "drt status --watch"},
    {"start", "drt-head start' on the first machine, and on each one 'drt-node join HOST:PORT"},
    {"up", "drt-head start"},
    {"init", "drt-head start"},
    {"head", "drt-head start"},
    {"join", "drt-node join HOST:PORT"},
    {"node", "drt-node join HOST:PORT' to add this machine, or, to list the nodes, 'drt nodes"},
    {"leave", "drt-node leave"},
    {"down", "drt stop"},
    {"kill", "drt cancel"},
    {"list", "drt tasks"},
    {"ls", "drt tasks"},
    {"ps", "drt tasks"},
    {"task", "drt tasks"},
    {"job", "drt jobs"},
    {"worker", "drt workers"},
    {"log", "drt logs"},
    {"why", "drt explain"},
    {"timeline", "drt tasks --json"},
    {NULL, NULL},
};

const struct args_program cli_program = {
    "drt",
    "Look at a drt cluster, try it, and stop it. drt-head starts a cluster, drt-node adds a node.",
    verbs,
    hints,
};
