#include "raylet/options.h"

static const struct args_option join_options[] = {
    {"name", 'n', ARGS_TEXT, "NAME", "the node's name (default: the host's)", 0},
    {"num-cpus", 'c', ARGS_DOUBLE, "N", "CPUs to offer (default: all that are found)", 0},
    {"memory", 'm', ARGS_SIZE, "SIZE", "memory to offer, as in 16GiB (default: what is found)", 0},
    {"resources", 'r', ARGS_TEXT, "JSON", "further resources, as in '{\"disk\": 2}'", 0},
    {"labels", 'l', ARGS_TEXT, "K=V,...", "labels, as in disk=ssd,zone=b", 0},
    {"max-job-workers", 0, ARGS_U64, "N",
     "most processes of one job on this node, waiting ones included (default: 512, or 16 per CPU "
     "if "
     "that is more)",
     1000000},
    {"max-depth", 0, ARGS_U64, "N", "how deep tasks that submit tasks may be nested (default: 256)",
     1000000},
    {"join-file", 'j', ARGS_TEXT, "FILE", "the cluster's join.key, when its head is elsewhere", 0},
    {"bind", 'b', ARGS_TEXT, "ADDRESS", "listen on this address only (default: all)", 0},
    {"advertise", 'a', ARGS_TEXT, "ADDRESS[:PORT]",
     "address or name at which other nodes reach this one (default: as the head sees it)", 0},
    {"port", 'p', ARGS_U64, "PORT",
     "port to listen on (default: 7421, or the next free one); 0: any free one", 65535},
    {"dir", 'd', ARGS_TEXT, "DIR", "the cluster's directory (default: ~/.drt/NAME)", 0},
    {"cluster", 'C', ARGS_TEXT, "NAME", "the cluster's name", 0},
    {"foreground", 'f', ARGS_FLAG, NULL, "run in the foreground, for systemd and containers", 0},
    {"private", 0, ARGS_FLAG, NULL,
     "serve one program of this machine: offer no CPUs, stay in the foreground; needs --dir", 0},
    {0},
};

static const struct args_option leave_options[] = {
    {"within", 'w', ARGS_DURATION, "TIME",
     "time for running tasks to end (default: 30s); a second call can only shorten it", 0},
    {"name", 'n', ARGS_TEXT, "NAME", "the node's name (default: the only one here)", 0},
    {"dir", 'd', ARGS_TEXT, "DIR", "the cluster's directory (default: ~/.drt/NAME)", 0},
    {"cluster", 'C', ARGS_TEXT, "NAME", "the cluster's name", 0},
    {0},
};

static const struct args_verb verbs[] = {
    {"join",
     "[<host:port>]",
     "join this machine to the cluster whose head is at host:port; returns when the head has "
     "accepted it",
     {"drt-node join 10.0.0.5:7420",
      "drt-node join 10.0.0.5:7420 --join-file join.key --name box-2 --num-cpus 4"},
     join_options,
     0,
     1,
     VERB_JOIN},
    {"leave",
     "",
     "leave the cluster: accept no new tasks, let the running ones end, then exit",
     {"drt-node leave", "drt-node leave --name box-2 --within 10m"},
     leave_options,
     0,
     0,
     VERB_LEAVE},
    {0},
};

static const struct args_hint hints[] = {
    {"start", "drt-node join HOST:PORT"},
    {"up", "drt-node join HOST:PORT"},
    {"stop", "drt-node leave' to let its work end first, or, to end all here at once, 'drt stop"},
    {"down", "drt-node leave"},
    {"drain", "drt-node leave"},
    {"exit", "drt-node leave"},
    {"status", "drt status"},
    {"list", "drt nodes"},
    {NULL, NULL},
};

const struct args_program node_program = {
    "drt-node", "a node of a drt cluster: runs tasks on this machine", verbs, hints};
