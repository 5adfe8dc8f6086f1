#include "tests/sim/sim_rules.h"

#include "tests/sim/sim_faults.h"
#include "tests/sim/sim_story.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

struct rule {
    const char *name, *what;
    uint32_t core, sim;
};

static const struct rule rules[] = {
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
    {"only-holders", "a process names only what it holds", RULE_ONLY_HOLDERS, 0},
    {"cycles", "who finds no place for long looks for a circle", RULE_CYCLES, 0},
    {"once-in-order", "a message between nodes arrives once and in order", 0,
     SIM_RULE_ONCE_IN_ORDER},
    {"numbers", "who is not the node that was meant is not spoken to", 0, SIM_RULE_NUMBERS},
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

static bool fails(void (*run)(const struct rule *r, const uint64_t *which), const struct rule *r,
                  const uint64_t *which)
{
    int status = 0;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        run(r, which);
        _exit(0);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status != 0;
}

static void run_seed(const struct rule *r, const uint64_t *which)
{
    struct sim_options o = {.seed = which[0],
                            .drivers = SIM_DRIVERS,
                            .cycles = r->core == RULE_CYCLES,
                            .core_off = r->core,
                            .rules_off = r->sim};
    struct sim_summary sum;

    sim_run(&o, &sum);
}

static void run_story(const struct rule *r, const uint64_t *which)
{
    sim_story_run((enum story_fault)which[0], which[1], r->core, r->sim);
}

/* Stories first: there are many, and they are short. */
static bool some_story_fails(const struct rule *r, uint64_t stride)
{
    for (uint64_t f = STORY_CALM; f < STORY_FAULTS; f++) {
        uint64_t count = sim_story_count((enum story_fault)f, 0, 0);
        for (uint64_t at = f % stride; at < count; at += stride) {
            if (fails(run_story, r, (const uint64_t[]){f, at})) {
                printf("without %s the story \"%s\" fails at step %llu, as it should\n", r->name,
                       sim_story_name((enum story_fault)f), (unsigned long long)at);
                return true;
            }
        }
    }
    return false;
}

static bool some_seed_fails(const struct rule *r, uint64_t seed, uint64_t seeds)
{
    for (uint64_t k = 0; k < seeds; k++) {
        if (fails(run_seed, r, (const uint64_t[]){seed + k})) {
            printf("without %s seed %llu fails, as it should\n", r->name,
                   (unsigned long long)(seed + k));
            return true;
        }
    }
    return false;
}

int sim_rule_without(const char *name, uint64_t seed, uint64_t seeds, uint64_t stride)
{
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
        if (strcmp(rules[i].name, name) != 0) {
            continue;
        }
        if ((stride > 0 && some_story_fails(&rules[i], stride)) ||
            some_seed_fails(&rules[i], seed, seeds)) {
            return 0;
        }
        printf("without %s nothing fails\n", name);
        return 1;
    }
    fprintf(stderr, "there is no rule '%s'; sim --rules lists them\n", name);
    return 2;
}
