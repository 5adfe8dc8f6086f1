/*
 * The whole cluster in one process: a head, three raylets, drivers and workers, a hostile network,
 * a slow disk, and everything that may die dying. The same seed gives the same run.
 *
 *   sim [--seed N] [--seeds COUNT] [--jobs N] [--quiet]
 *   sim --cycles ...                       bodies that keep what others need, in circles
 *   sim --seed N --about ID --messages     what happens to an object, what nodes say
 *   sim --stories STRIDE [--jobs N]        one death or cut at each STRIDE-th step of a fixed story
 *   sim --without RULE [--stories STRIDE] [--seed N] [--seeds COUNT]
 *                                          a rule left out: says what shows it
 *   sim --rules                            lists them
 */
#include "tests/sim/sim_faults.h"
#include "tests/sim/sim_rules.h"
#include "tests/sim/sim_story.h"

#include "common/text.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define JOBS_MAX 64

struct arguments {
    uint64_t seed, seeds, jobs, stories;
    bool quiet, tells, cycles;
    struct object_id about;
    const char *without;
};

static int usage(void)
{
    fprintf(stderr, "usage: sim [--seed N] [--seeds COUNT] [--jobs N] [--quiet] [--cycles] "
                    "[--about ID] [--messages] [--without RULE | --rules | --stories STRIDE]\n");
    return 2;
}

static bool parse(int argc, char **argv, struct arguments *a)
{
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--quiet") == 0) {
            a->quiet = true;
        } else if (strcmp(argv[i], "--cycles") == 0) {
            a->cycles = true;
        } else if (strcmp(argv[i], "--messages") == 0) {
            a->tells = true;
        } else if (strcmp(argv[i], "--about") == 0 && more &&
                   object_id_parse(argv[i + 1], &a->about) == 0) {
            i++;
        } else if (strcmp(argv[i], "--without") == 0 && more) {
            a->without = argv[++i];
        } else if (!((strcmp(argv[i], "--seed") == 0 && more &&
                      text_parse_u64(argv[++i], UINT64_MAX, &a->seed) == 0) ||
                     (strcmp(argv[i], "--seeds") == 0 && more &&
                      text_parse_u64(argv[++i], UINT64_MAX, &a->seeds) == 0) ||
                     (strcmp(argv[i], "--stories") == 0 && more &&
                      text_parse_u64(argv[++i], UINT64_MAX, &a->stories) == 0) ||
                     (strcmp(argv[i], "--jobs") == 0 && more &&
                      text_parse_u64(argv[++i], JOBS_MAX, &a->jobs) == 0 && a->jobs > 0))) {
            return false;
        }
    }
    return true;
}

/* What the processes that run the seeds tell the first one. */
struct shared {
    struct sim_summary sums[JOBS_MAX];
};

static void run_one(const struct sim_options *o, bool quiet, struct sim_summary *sum)
{
    struct sim_summary one;

    sim_run(o, &one);
    sim_summary_add(sum, &one);
    if (!quiet) {
        printf("seed %llu trace %016llx\n", (unsigned long long)o->seed,
               (unsigned long long)one.trace);
        sim_summary_print(&one);
        fflush(stdout);
    }
}

/* Each seed in a process of its own: one that fails ends no other. */
static bool run_apart(const struct sim_options *o, bool quiet, struct sim_summary *sum)
{
    int status;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        run_one(o, quiet, sum);
        fflush(stdout);
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        return false;
    }
    return status == 0;
}

static uint64_t run_share(const struct arguments *a, uint64_t job, struct sim_summary *sum)
{
    uint64_t failed = 0;

    for (uint64_t i = job; i < a->seeds; i += a->jobs) {
        struct sim_options o = {.seed = a->seed + i,

                                .about = a->about,
                                .tells = a->tells,
                                .cycles = a->cycles,
                                .drivers = SIM_DRIVERS};
        if (!run_apart(&o, a->quiet, sum)) {
            printf("seed %llu failed\n", (unsigned long long)o.seed);
            failed++;
        }
    }
    return failed;
}

static int run_seeds(const struct arguments *a)
{
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct sim_summary all = {0};
    pid_t pids[JOBS_MAX];
    int status;

    if (shared == MAP_FAILED) {
        return 1;
    }
    fflush(stdout);
    for (uint64_t i = 0; i < a->jobs; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            uint64_t failed = run_share(a, i, &shared->sums[i]);
            fflush(stdout);
            _exit(failed > 0);
        }
    }
    for (uint64_t i = 0; i < a->jobs; i++) {
        if (pids[i] > 0) {
            waitpid(pids[i], &status, 0);
        }
        sim_summary_add(&all, &shared->sums[i]);
    }
    printf("%llu seeds, %llu failed; all together:\n", (unsigned long long)a->seeds,
           (unsigned long long)(a->seeds - all.runs));
    sim_summary_print(&all);
    return all.runs != a->seeds;
}

/* The same seed, the same run. */
static int run_twice(const struct arguments *a)
{
    struct sim_options o = {.seed = a->seed,

                            .about = a->about,
                            .tells = a->tells,
                            .cycles = a->cycles,
                            .drivers = SIM_DRIVERS};
    struct sim_summary first = {0}, again = {0};

    run_one(&o, a->quiet, &first);
    run_one(&o, true, &again);
    if (memcmp(&first, &again, sizeof first) != 0) {
        printf("two runs of seed %llu differ\n", (unsigned long long)a->seed);
        return 1;
    }
    return 0;
}

static int run_stories(const struct arguments *a)
{
    uint64_t runs = 0, failed = sim_stories(a->stories, a->jobs, &runs);

    printf("%llu stories, %llu failed\n", (unsigned long long)runs, (unsigned long long)failed);
    return failed != 0;
}

int main(int argc, char **argv)
{
    struct arguments a = {.seed = 1, .seeds = 1, .jobs = 1};

    if (argc == 2 && strcmp(argv[1], "--rules") == 0) {
        sim_rules_list();
        return 0;
    }
    if (!parse(argc, argv, &a)) {
        return usage();
    }
    if (a.without != NULL) {
        return sim_rule_without(a.without, a.seed, a.seeds, a.stories);
    }
    if (a.stories > 0) {
        return run_stories(&a);
    }
    return a.seeds == 1 ? run_twice(&a) : run_seeds(&a);
}
