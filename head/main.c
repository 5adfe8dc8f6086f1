#include <malloc.h>
#include <stdio.h>

#include "common/args.h"
#include "common/daemon.h"
#include "common/inherited.h"
#include "head/start.h"

enum verb { VERB_START = 1, VERB_STOP, VERB_REKEY, VERB_CHECK, VERB_REPAIR };

static const struct args_option START_OPTIONS[] = {
    {"port", 'p', ARGS_U64, "N", "listen on this port (default: 7420, or the next free one)",
     65535},
    {"bind", 'b', ARGS_TEXT, "ADDRESS", "listen on this address only (default: all addresses)", 0},
    {"advertise", 'a', ARGS_TEXT, "ADDRESS[:PORT]",
     "address or name at which nodes reach the head (default: this machine's address)", 0},
    {"cluster", 'C', ARGS_TEXT, "NAME", "the cluster's name (default: default)", 0},
    {"dir", 'd', ARGS_TEXT, "DIR", "its directory (default: ~/.drt/NAME)", 0},
    {"foreground", 0, ARGS_FLAG, NULL, "run in the foreground, for systemd and containers", 0},
    {"accept-loss", 0, ARGS_FLAG, NULL,
     "start even if acknowledged changes are missing from the journal", 0},
    {"parent-pipe", 0, ARGS_U64, "FD", NULL, 1 << 20},
    {0},
};

static const struct args_option PLACE_OPTIONS[] = {
    {"cluster", 'C', ARGS_TEXT, "NAME", "the cluster's name", 0},
    {"dir", 'd', ARGS_TEXT, "DIR", "its directory", 0},
    {0},
};

static const struct args_verb VERBS[] = {
    {.name = "start",
     .things = "",
     .help = "start the head of a cluster on this machine; returns when the head is ready",
     .example = {"drt-head start", "drt-head start --cluster test --port 7500 --foreground"},
     .options = START_OPTIONS,
     .tag = VERB_START},
    {.name = "stop",
     .things = "",
     .help = "stop the head; nodes keep their work running and wait for it",
     .example = {"drt-head stop", "drt-head stop --cluster test"},
     .options = PLACE_OPTIONS,
     .tag = VERB_STOP},
    {.name = "rekey",
     .things = "",
     .help = "replace all keys of a stopped head; the old keys become invalid",
     .example = {"drt-head rekey", "drt-head rekey --dir /srv/drt"},
     .options = PLACE_OPTIONS,
     .tag = VERB_REKEY},
    {.name = "check",
     .things = "",
     .help = "check the journal of a stopped head for damage; changes nothing",
     .example = {"drt-head check", "drt-head check --dir /srv/drt"},
     .options = PLACE_OPTIONS,
     .tag = VERB_CHECK},
    {.name = "repair",
     .things = "",
     .help = "write a new journal from all that can be read; the old file is kept",
     .example = {"drt-head repair", "drt-head repair --dir /srv/drt"},
     .options = PLACE_OPTIONS,
     .tag = VERB_REPAIR},
    {0},
};

static const struct args_hint HINTS[] = {
    {"up", "drt-head start"},
    {"join", "drt-node join HOST:PORT"},
    {"leave", "drt-node leave' for a node, or 'drt-head stop"},
    {"down", "drt-head stop"},
    {"status", "drt status"},
    {"nodes", "drt nodes"},
    {NULL, NULL},
};

static const struct args_program PROGRAM = {
    .name = "drt-head",
    .help = "the head of a drt cluster: keeps the list of its nodes and jobs",
    .verbs = VERBS,
    .hints = HINTS,
};

static int start(const struct args *a)
{
    const struct args_value *port = args_get(a, "port");
    const struct args_value *pipe = args_get(a, "parent-pipe");
    struct start_options options = {
        .dir = args_get(a, "dir")->text,
        .cluster = args_get(a, "cluster")->text,
        .bind = args_get(a, "bind")->text,
        .advertise = args_get(a, "advertise")->text,
        .port_given = port->given,
        .foreground = args_get(a, "foreground")->given,
        .accept_loss = args_get(a, "accept-loss")->given,
        .port = (uint16_t)port->number,
        .parent_pipe = pipe->given ? (int)pipe->number : -1,
    };
    inherited_close_others(options.parent_pipe);
    if (options.parent_pipe >= 0) {
        daemon_detach(options.parent_pipe);
    }
    int status = start_head(&options);
    daemon_say_end(options.parent_pipe, status);
    return status;
}

int main(int argc, char **argv)
{
    struct args a;
    struct buffer out = {0};
    inherited_for_daemon();
    /* Few threads, little memory: one arena for all is enough, and small. */
    (void)mallopt(M_ARENA_MAX, 1);
    int outcome = args_parse(&PROGRAM, argc, argv, &a, &out);
    if (outcome != ARGS_RUN) {
        fputs(buffer_text(&out), outcome == ARGS_SHOW ? stdout : stderr);
        buffer_fini(&out);
        return outcome == ARGS_SHOW ? 0 : 2;
    }
    buffer_fini(&out);
    switch ((enum verb)a.verb->tag) {
    case VERB_START:
        return start(&a);
    case VERB_STOP:
        return stop_head(args_get(&a, "dir")->text, args_get(&a, "cluster")->text);
    case VERB_REKEY:
        return rekey_head(args_get(&a, "dir")->text, args_get(&a, "cluster")->text);
    case VERB_CHECK:
        return check_head(args_get(&a, "dir")->text, args_get(&a, "cluster")->text);
    case VERB_REPAIR:
        return repair_head(args_get(&a, "dir")->text, args_get(&a, "cluster")->text);
    }
    return 2;
}
