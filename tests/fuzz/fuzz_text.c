#include "common/args.h"
#include "common/ids.h"
#include "common/text.h"
#include "tests/fuzz/fuzz.h"

/* What people write: numbers, sizes, durations, ids, command lines. What is taken, is written and
 * taken again the same. */

enum { ARGUMENTS_MAX = 40 };

static void try_values(const char *text)
{
    uint64_t number, again;
    double real;
    char out[40];
    if (text_parse_size(text, &number) == 0) {
        text_format_size(number, out);
        ASSERT(strlen(out) < 32);
    }
    if (text_parse_duration(text, &number) == 0) {
        text_format_duration(number, out);
        ASSERT(strlen(out) < 32);
    }
    if (text_parse_u64(text, UINT64_MAX, &number) == 0) {
        ASSERT(text_parse_u64(text, number, &again) == 0 && again == number);
        text_format_count(number, out);
        ASSERT(strlen(out) < 32);
    }
    if (text_parse_double(text, &real) == 0) {
        ASSERT(real == real);
    }
    struct object_id id, id_again;
    char id_text[ID_TEXT_SIZE];
    if (object_id_parse(text, &id) == 0) {
        ASSERT(object_id_parse(object_id_format(id, id_text), &id_again) == 0);
        ASSERT(object_id_equal(id, id_again) && strcmp(id_text, text) == 0);
    }
}

static const struct args_option options[] = {
    {"num-cpus", 'n', ARGS_DOUBLE, "N", "CPUs", 0},
    {"memory", 'm', ARGS_SIZE, "SIZE", "memory", 0},
    {"watch", 'w', ARGS_DURATION, "[SECONDS]", "again and again", 0},
    {"limit", 0, ARGS_U64, "N", "rows", 1000},
    {"json", 0, ARGS_FLAG, NULL, "for programs", 0},
    {"name", 0, ARGS_TEXT, "NAME", "a name", 0},
    {0},
};
static const struct args_verb verbs[] = {
    {.name = "status", .things = "[JOB]", .help = "what is", .options = options, .max_things = 1},
    {.name = "join",
     .things = "<host:port>",
     .help = "joins",
     .options = options,
     .min_things = 1,
     .max_things = 2},
    {0},
};
static const struct args_program program = {.name = "drt", .help = "a program", .verbs = verbs};

/* One argument to a line. */
static void try_command_line(char *text)
{
    char name[] = "drt";
    char *argv[ARGUMENTS_MAX + 2] = {name};
    int argc = 1;
    for (char *at = text; at != NULL && argc <= ARGUMENTS_MAX;) {
        char *end = strchr(at, '\n');
        argv[argc++] = at;
        if (end != NULL) {
            *end++ = '\0';
        }
        at = end;
    }
    struct args args;
    struct buffer out = {0};
    int outcome = args_parse(&program, argc, argv, &args, &out);
    ASSERT(outcome == ARGS_RUN || outcome == ARGS_SHOW || outcome == ARGS_USAGE);
    ASSERT((outcome == ARGS_RUN) || out.size != 0);
    if (outcome == ARGS_RUN) {
        ASSERT(args.verb != NULL && args.thing_count <= args.verb->max_things);
    }
    buffer_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = xmalloc(size + 1);
    if (size != 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    try_values(text);
    try_command_line(text);
    text_clean(text);
    for (const char *at = text; *at != '\0'; at++) {
        ASSERT((uint8_t)*at >= 0x20 && *at != 0x7f);
    }
    free(text);
    return 0;
}

bool fuzz_seed(size_t i, struct buffer *ret)
{
    static const char *const seeds[] = {
        "512M",
        "4GiB",
        "1.5 TiB",
        "250ms",
        "30s",
        "1d",
        "18446744073709551615",
        "-1e308",
        "3-7.2231",
        "4294967295-4294967295.18446744073709551615",
        "status\n--json\n--limit=10",
        "join\nhost:7420\n-n\n2.5\n--memory\n4G\n--watch",
        "--help",
        "stauts",
        "join\n--\n--name",
        "gr\xc3\xbc\xc3\x9f \xff\xfe \x1b[31m",
    };
    if (i >= ARRAY_SIZE(seeds)) {
        return false;
    }
    buffer_append_text(ret, seeds[i]);
    return true;
}
