#include "tests/sim/sim_rules.h"

#include "tests/sim/sim_faults.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

struct rule {
    const char *name, *what;
    uint32_t core, sim;
};

static const struct rule rules[] = {
    {"current-result", "home: only the current attempt's result is taken", RULE_CURRENT_RESULT, 0},
    {"cover-args", "home: holds a task's references until ARGS_FREE", RULE_COVER_ARGS, 0},
    {"add-first", "ARGS_FREE and RECORDED only after ADDED", RULE_ADD_FIRST, 0},
    {"keep-result", "executor: holds what is inside a result until RECORDED", RULE_KEEP_RESULT, 0},
    {"silence-holds", "owner: silence takes nobody out of a set", RULE_SILENCE_HOLDS, 0},
    {"list-again", "borrower: a session begins with all that it holds", RULE_LIST_AGAIN, 0},
    {"end-guests", "executor: a home's session ends, its attempts end", RULE_END_GUESTS, 0},
    {"lose-attempts", "home: the session ends, its attempts there are lost", RULE_LOSE_ATTEMPTS, 0},
    {"charge-started", "home: known as started is charged", RULE_CHARGE_STARTED, 0},
    {"at-most-once", "home: without BACK it is not run again", RULE_AT_MOST_ONCE, 0},
    {"grants", "executor: a promise takes resources", RULE_GRANTS, 0},
    {"owner-lost", "borrower: the head's word on an owner ends waits for it", RULE_OWNER_LOST, 0},
    {"children", "children of a dead attempt that nobody holds go with it", RULE_CHILDREN, 0},
    {"unreachable", "borrower: waits end after 15 s of silence", RULE_UNREACHABLE, 0},
    {"once-in-order", "a message between nodes arrives once and in order", 0,
     SIM_RULE_ONCE_IN_ORDER},
    {"numbers", "who is not the node that was meant is not spoken to", 0, SIM_RULE_NUMBERS},
    {"ends", "the end of a session is told on both sides", 0, SIM_RULE_ENDS},
    {"journal-first", "what the head says is on disk before", 0, SIM_RULE_JOURNAL_FIRST},
    {"silent-is-alive", "a silent node is dead when its lease ends, not before", 0,
     SIM_RULE_SILENT_IS_ALIVE},
};

void sim_rules_list(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
        printf("%-16s %s\n", rules[i].name, rules[i].what);
    }
}

static bool fails(const struct rule *r, uint64_t seed)
{
    struct sim_options o = {
        .seed = seed, .drivers = SIM_DRIVERS, .core_off = r->core, .rules_off = r->sim};
    int status = 0;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        struct sim_summary sum;
        sim_run(&o, &sum);
        _exit(0);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status != 0;
}

int sim_rule_without(const char *name, uint64_t seed, uint64_t seeds)
{
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
        if (strcmp(rules[i].name, name) != 0) {
            continue;
        }
        for (uint64_t k = 0; k < seeds; k++) {
            if (fails(&rules[i], seed + k)) {
                printf("without %s seed %llu fails, as it should\n", name,
                       (unsigned long long)(seed + k));
                return 0;
            }
        }
        printf("without %s no seed of %llu to %llu fails\n", name, (unsigned long long)seed,
               (unsigned long long)(seed + seeds - 1));
        return 1;
    }
    fprintf(stderr, "there is no rule '%s'; sim --rules lists them\n", name);
    return 2;
}
