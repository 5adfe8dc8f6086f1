/*
 * drt-bench: measures this build on this machine, in a cluster of its own, beside the bare channels
 * that bound it. docs/benchmarks.md says what the rows mean.
 */
#include <fnmatch.h>
#include <getopt.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench/rows.h"
#include "common/text.h"

#define RESULTS_MAX 64

struct result {
    const struct row *row;
    struct figures figures;
    int rc;
    char why[512];
};

struct options {
    const char *pattern;
    unsigned repeat;
    bool json, list, tiny, slow;
    double seconds;
};

static struct bench bench;
static struct result results[RESULTS_MAX];
static size_t result_count;

int bench_up(struct bench *b)
{
    int rc = 0;

    if (b->is_up && b->has_far == b->wants_far) {
        return 0;
    }
    if (b->is_up) {
        rc = bench_down(b);
    }
    if (rc == 0 && b->cluster.dir[0] == '\0') {
        rc = private_cluster_make(&b->cluster);
    }
    if (rc == 0) {
        rc = private_cluster_start_head(&b->cluster);
    }
    if (rc == 0) {
        rc = private_cluster_join(&b->cluster, "bench", b->cpus);
    }
    if (rc == 0 && b->wants_far) {
        rc = private_cluster_join(&b->cluster, "far", b->cpus);
    }
    if (b->wants_far) {
        setenv("DRT_NODE", "bench", 1);
        b->cluster.word = "node=far";
    }
    b->has_far = b->wants_far;
    b->is_up = rc == 0;
    return rc;
}

int bench_down(struct bench *b)
{
    b->is_up = false;
    b->cluster.word = NULL;
    unsetenv("DRT_NODE");
    return private_cluster_stop_all(&b->cluster);
}

static void clean_up(void)
{
    processes_end_all();
    private_cluster_fini(&bench.cluster);
}

static void on_signal(int signal_number)
{
    (void)signal_number;
    exit(1); /* a bench that is interrupted has nothing to lose but its daemons */
}

/* ---- the machine ---- */

static void cpu_model(char ret[128])
{
    FILE *file = fopen("/proc/cpuinfo", "re");
    char line[256];

    text_copy(ret, 128, "unknown");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && value != NULL) {
            value[strcspn(value, "\n")] = '\0';
            text_copy(ret, 128, value + 2);
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
}

static json_t *machine_json(void)
{
    struct utsname names;
    char model[128];

    uname(&names);
    cpu_model(model);
    return json_pack("{s:s, s:i, s:I, s:s, s:s}", "cpu", model, "cpus",
                     (int)sysconf(_SC_NPROCESSORS_ONLN), "memory_bytes",
                     (json_int_t)(sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE)), "kernel",
                     names.release, "drt", DRT_VERSION);
}

/* ---- results ---- */

static const struct result *result_of(const char *name)
{
    for (size_t i = 0; i < result_count; i++) {
        if (results[i].rc == 0 && strcmp(results[i].row->name, name) == 0) {
            return &results[i];
        }
    }
    return NULL;
}

/* What the row is judged by. */
static double judged(const struct result *r)
{
    switch (r->row->by) {
    case ROW_P50_US:
        return r->figures.p50_us;
    case ROW_EXTRA:
        return figures_get(&r->figures, r->row->extra);
    default:
        return r->figures.per_second;
    }
}

/* How many times its floor a row costs; some measure that right beside. */
static double floor_ratio(const struct result *r)
{
    double beside = figures_get(&r->figures, FIGURE_TIMES_ZMQ);
    if (!isnan(beside)) {
        return beside;
    }
    const struct result *floor = r->row->floor == NULL ? NULL : result_of(r->row->floor);

    if (floor == NULL || r->rc != 0) {
        return NAN;
    }
    return r->row->by == ROW_P50_US ? r->figures.p50_us / floor->figures.p50_us
                                    : floor->figures.per_second / r->figures.per_second;
}

static const char *verdict(const struct result *r, char ret[64])
{
    double line = r->row->line, value = judged(r);
    char number[32];

    if (line == 0 || isnan(value) || bench.tiny) {
        return "";
    }
    bool met = r->row->by == ROW_PER_SECOND ? value >= line : value <= line;
    if (r->row->by == ROW_PER_SECOND) {
        text_format_count((uint64_t)line, number);
        snprintf(ret, 64, "%s: at least %s/s", met ? "met" : "MISSED", number);
    } else {
        snprintf(ret, 64, "%s: at most %g %s", met ? "met" : "MISSED", line,
                 r->row->by == ROW_P50_US ? "us" : r->row->extra);
    }
    return ret;
}

static void print_number(double value, const char *format, int width)
{
    char text[32] = "-";

    if (!isnan(value) && value >= 10000) {
        text_format_count((uint64_t)value, text);
    } else if (!isnan(value)) {
        snprintf(text, sizeof text, format, value);
    }
    printf("%*s", width, text);
}

/* What only programs want to know. */
static bool is_detail(const char *name)
{
    static const char *const details[] = {"begin",   "end",   "init_ms", "seconds",
                                          "samples", "tasks", "max_us"};

    for (size_t i = 0; i < ARRAY_SIZE(details); i++) {
        if (strcmp(details[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static void print_result(const struct result *r)
{
    char text[64];

    if (r->rc != 0) {
        printf("%-50s failed: %s\n", r->row->name, r->why);
        return;
    }
    printf("%-50s", r->row->name);
    print_number(r->figures.per_second, "%.1f", 16);
    print_number(r->figures.p50_us, "%.2f", 10);
    print_number(r->figures.p99_us, "%.2f", 10);
    print_number(floor_ratio(r), "%.1f", 8);
    printf("  %s\n", verdict(r, text));
    for (size_t i = 0; i < r->figures.extra_count; i++) {
        const struct figure *f = &r->figures.extra[i];
        if (!is_detail(f->name) ||
            strcmp(f->name, r->row->by == ROW_EXTRA ? r->row->extra : "") == 0) {
            printf("    %-30s %.6g\n", f->name, f->value);
        }
    }
}

static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *result_json(const struct result *r)
{
    json_t *row = json_object();

    json_object_set_new(row, "name", json_string(r->row->name));
    json_object_set_new(row, "per_second", number_or_null(r->figures.per_second));
    json_object_set_new(row, "p50_us", number_or_null(r->figures.p50_us));
    json_object_set_new(row, "p99_us", number_or_null(r->figures.p99_us));
    json_object_set_new(row, "floor_ratio", number_or_null(floor_ratio(r)));
    for (size_t i = 0; i < r->figures.extra_count; i++) {
        json_object_set_new(row, r->figures.extra[i].name,
                            number_or_null(r->figures.extra[i].value));
    }
    if (r->row->line != 0) {
        json_object_set_new(row, "line", json_real(r->row->line));
        json_object_set_new(row, "judged", number_or_null(judged(r)));
    }
    if (r->rc != 0) {
        json_object_set_new(row, "error", json_string(r->why));
    }
    return row;
}

static void print_json(void)
{
    json_t *rows = json_array(), *all = json_object();

    for (size_t i = 0; i < result_count; i++) {
        json_array_append_new(rows, result_json(&results[i]));
    }
    json_object_set_new(all, "machine", machine_json());
    json_object_set_new(all, "rows", rows);
    json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    printf("\n");
    json_decref(all);
}

/* ---- running ---- */

static const struct row *const tables[] = {rows_floors, rows_tasks, rows_far, rows_system};

static bool fits(const struct options *o, const struct row *row)
{
    if (row->slow && !o->slow) {
        return false;
    }
    return o->pattern == NULL || strstr(row->name, o->pattern) != NULL ||
           fnmatch(o->pattern, row->name, 0) == 0;
}

/* Also the floors of rows that are wanted: the ratio is taken in the same run. */
static bool wanted(const struct options *o, const struct row *row)
{
    if (fits(o, row)) {
        return true;
    }
    for (size_t t = 0; row->is_bare && t < ARRAY_SIZE(tables); t++) {
        for (const struct row *other = tables[t]; other->name != NULL; other++) {
            if (other->floor != NULL && strcmp(other->floor, row->name) == 0 && fits(o, other)) {
                return true;
            }
        }
    }
    return false;
}

static void run_row(const struct options *o, const struct row *row)
{
    struct figures *all = xcalloc(o->repeat, sizeof *all);
    struct result *r = &results[result_count];
    unsigned done = 0;

    ASSERT(result_count < RESULTS_MAX);
    *r = (struct result){.row = row};
    figures_init(&r->figures);
    bench.wants_far = row->far;
    while (r->rc == 0 && done < o->repeat) {
        figures_init(&all[done]);
        bench.cluster.why[0] = '\0';
        r->rc = row->run(&bench, &all[done]);
        done++;
    }
    if (r->rc == 0) {
        figures_median(all, o->repeat, &r->figures);
    } else {
        text_copy(r->why, sizeof r->why,
                  bench.cluster.why[0] != '\0' ? bench.cluster.why : strerror(abs(r->rc)));
        clean_up(); /* the next row starts with a cluster that is whole */
        bench.is_up = false;
        bench.cluster.word = NULL;
    }
    result_count++;
    if (!o->json) {
        print_result(r);
        fflush(stdout);
    }
    free(all);
}

static void usage(FILE *out)
{
    fprintf(out, "usage: drt-bench [--rows PATTERN] [--repeat N] [--seconds S] [--json] [--slow]\n"
                 "                 [--tiny] [--list] [--help]\n"
                 "\n"
                 "  --rows PATTERN  only rows whose name contains it, or fits it as a glob\n"
                 "  --repeat N      measure each row N times, show medians (default 3)\n"
                 "  --seconds S     length of one measurement (default 1)\n"
                 "  --json          one object: machine and rows\n"
                 "  --slow          also the row that takes a minute\n"
                 "  --tiny          only try whether each row works; the figures mean nothing\n"
                 "  --list          name the rows\n"
                 "\n"
                 "examples: drt-bench --rows 'single client*' --repeat 5\n"
                 "          drt-bench --json > figures.json\n");
}

static void parse(int argc, char **argv, struct options *o)
{
    static const struct option known[] = {
        {"rows", required_argument, NULL, 'r'},
        {"repeat", required_argument, NULL, 'n'},
        {"seconds", required_argument, NULL, 's'},
        {"json", no_argument, NULL, 'j'},
        {"slow", no_argument, NULL, 'S'},
        {"tiny", no_argument, NULL, 't'},
        {"list", no_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    uint64_t number = 3;
    int letter;

    *o = (struct options){.repeat = 3, .seconds = 1};
    while ((letter = getopt_long(argc, argv, "h", known, NULL)) != -1) {
        bool ok = letter != '?';
        o->pattern = letter == 'r' ? optarg : o->pattern;
        o->json |= letter == 'j';
        o->slow |= letter == 'S';
        o->tiny |= letter == 't';
        o->list |= letter == 'l';
        if (letter == 'n') {
            ok = text_parse_u64(optarg, 1000, &number) == 0 && number > 0;
        }
        if (letter == 's') {
            ok = text_parse_double(optarg, &o->seconds) == 0 && o->seconds > 0;
        }
        if (letter == 'h' || !ok) {
            usage(ok ? stdout : stderr);
            exit(ok ? 0 : 2);
        }
    }
    if (optind < argc) {
        usage(stderr);
        exit(2);
    }
    o->repeat = (unsigned)number;
    if (o->tiny) {
        o->repeat = 1;
        o->seconds = 0.02;
    }
}

static void list(const struct options *o)
{
    for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
        for (const struct row *row = tables[t]; row->name != NULL; row++) {
            if (fits(o, row)) {
                printf("%s\n", row->name);
            }
        }
    }
}

/* False if a row is wanted that needs programs which are not there. */
static bool can_run(const struct options *o)
{
    int found = private_cluster_find(&bench.cluster);

    for (size_t t = 0; found < 0 && t < ARRAY_SIZE(tables); t++) {
        for (const struct row *row = tables[t]; row->name != NULL; row++) {
            if (fits(o, row) && !row->is_bare) {
                fprintf(stderr, "drt-bench: %s\n", bench.cluster.why);
                return false;
            }
        }
    }
    return true;
}

static bool run_all(const struct options *o)
{
    bool ok = true;

    if (!o->json) {
        printf("%-50s%16s%10s%10s%8s\n", "ROW", "PER SECOND", "P50 us", "P99 us", "FLOORS");
    }
    for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
        for (const struct row *row = tables[t]; row->name != NULL; row++) {
            if (wanted(o, row)) {
                run_row(o, row);
                ok &= results[result_count - 1].rc == 0;
            }
        }
    }
    if (o->json) {
        print_json();
    }
    return ok;
}

int main(int argc, char **argv)
{
    struct options options;

    parse(argc, argv, &options);
    if (options.list) {
        list(&options);
        return 0;
    }
    bench.tiny = options.tiny;
    bench.seconds = options.seconds;
    bench.cpus = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    atexit(clean_up);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    return !can_run(&options) || !run_all(&options);
}
