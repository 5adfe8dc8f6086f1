#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "common/files.h"
#include "common/rng.h"
#include "common/text.h"

/*
 * Without libFuzzer: every file of the corpus, every seed, then N seeded mutations of them. A crash
 * leaves its input behind: copied into the corpus it is a test from then on. --write writes the
 * seeds into a folder, for libFuzzer to begin with.
 *
 *     fuzz_<target> [--runs N] [--seed S] [--crash FILE] [--write FOLDER] [folders and files ...]
 */

#define INPUT_MAX 65536u

struct options {
    uint64_t runs, seed;
    const char *crash, *write;
};

struct corpus {
    struct buffer *inputs;
    size_t count;
};

static struct buffer current;
static const char *crash_path;

/* Only what a signal handler may call. */
static void on_crash(int number)
{
    int fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ssize_t n = write(fd, current.data, current.size);
    static const char text[] = "the input that broke it is left in the file of --crash\n";
    n = write(STDERR_FILENO, text, sizeof text - 1);
    (void)n;
    signal(number, SIG_DFL);
    raise(number);
}

static void run_one(void)
{
    /* Exactly as large as it is, so that a sanitizer sees a read beyond it. */
    uint8_t *exact = xmalloc(current.size + (current.size == 0));
    if (current.size != 0) {
        memcpy(exact, current.data, current.size);
    }
    LLVMFuzzerTestOneInput(exact, current.size);
    free(exact);
}

static struct buffer *corpus_add(struct corpus *c)
{
    c->inputs = xrealloc(c->inputs, (c->count + 1) * sizeof *c->inputs);
    c->inputs[c->count] = (struct buffer){0};
    return &c->inputs[c->count++];
}

static int corpus_read_file(struct corpus *c, const char *path)
{
    struct buffer *b = corpus_add(c);
    int err = files_read(path, INPUT_MAX, b);
    if (err != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(-err));
    }
    return err;
}

static int corpus_read(struct corpus *c, const char *path)
{
    DIR *folder = opendir(path);
    if (folder == NULL) {
        return corpus_read_file(c, path);
    }
    int err = 0;
    for (struct dirent *entry; err == 0 && (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] != '.') {
            struct buffer name = {0};
            buffer_printf(&name, "%s/%s", path, entry->d_name);
            err = corpus_read_file(c, buffer_text(&name));
            buffer_fini(&name);
        }
    }
    closedir(folder);
    return err;
}

static int corpus_write(const struct corpus *c, const char *folder)
{
    for (size_t i = 0; i < c->count; i++) {
        struct buffer name = {0};
        buffer_printf(&name, "%s/seed-%02zu", folder, i);
        int err =
            files_write_atomic(buffer_text(&name), c->inputs[i].data, c->inputs[i].size, 0644);
        buffer_fini(&name);
        if (err != 0) {
            return err;
        }
    }
    return 0;
}

/* ---- mutations ---- */

static void bytes_insert(struct buffer *b, size_t at, const void *data, size_t size)
{
    if (size == 0 || b->size + size > INPUT_MAX) {
        return;
    }
    struct buffer out = {0};
    buffer_append(&out, b->data, at);
    buffer_append(&out, data, size);
    buffer_append(&out, b->data + at, b->size - at);
    buffer_fini(b);
    *b = out;
}

static void bytes_erase(struct buffer *b, size_t at, size_t size)
{
    memmove(b->data + at, b->data + at + size, b->size - at - size);
    b->size -= size;
}

static void number_put(struct buffer *b, struct rng *rng, size_t at)
{
    static const uint64_t interesting[] = {
        0,        1,          7,          8,           63,         64,         127,       128,
        255,      256,        1023,       1024,        4095,       4096,       65535,     65536,
        1u << 20, 0x7fffffff, 0x80000000, 0xffffffffu, UINT64_MAX, 1ull << 63, INT64_MAX, 16384,
    };
    uint64_t n = interesting[rng_below(rng, ARRAY_SIZE(interesting))] + rng_below(rng, 3) - 1;
    size_t size = (size_t)1 << rng_below(rng, 4);
    memcpy(b->data + at, &n, MIN_OF(b->size - at, size));
}

static void mutate(struct buffer *b, struct rng *rng, const struct corpus *c)
{
    size_t at = b->size != 0 ? rng_below(rng, b->size) : 0;
    size_t size = b->size != 0 ? rng_below(rng, MIN_OF(b->size - at, 32u) + 1) : 0;
    const struct buffer *other = &c->inputs[rng_below(rng, c->count)];
    uint64_t word = rng_next(rng);
    switch (b->size == 0 ? 4 : rng_below(rng, 8)) {
    case 0:
        b->data[at] ^= (uint8_t)(1u << (word & 7));
        return;
    case 1:
        b->data[at] = (uint8_t)word;
        return;
    case 2:
        number_put(b, rng, at);
        return;
    case 3:
        bytes_erase(b, at, size);
        return;
    case 4:
        bytes_insert(b, at, &word, rng_below(rng, sizeof word + 1));
        return;
    case 5:
        b->size = at;
        return;
    case 6:
        if (other->size != 0) {
            size_t from = rng_below(rng, other->size);
            bytes_insert(b, at, other->data + from, rng_below(rng, other->size - from + 1));
        }
        return;
    default:
        b->data[at] = (uint8_t)(b->data[at] + rng_between(rng, 1, 4) - 2);
    }
}

static void run_mutations(const struct options *o, const struct corpus *c)
{
    struct rng rng;
    rng_seed(&rng, o->seed);
    for (uint64_t runs = 0; runs < o->runs; runs++) {
        const struct buffer *from = &c->inputs[rng_below(&rng, c->count)];
        buffer_clear(&current);
        buffer_append(&current, from->data, from->size);
        for (uint64_t n = rng_between(&rng, 1, 6); n > 0; n--) {
            mutate(&current, &rng, c);
        }
        run_one();
    }
}

static int options_read(int argc, char **argv, struct options *o, struct corpus *c)
{
    for (int i = 1; i < argc; i++) {
        uint64_t *number = strcmp(argv[i], "--runs") == 0   ? &o->runs
                           : strcmp(argv[i], "--seed") == 0 ? &o->seed
                                                            : NULL;
        if (number != NULL &&
            (i + 1 == argc || text_parse_u64(argv[++i], UINT64_MAX, number) != 0)) {
            fprintf(stderr, "a number belongs behind %s\n", argv[i - 1]);
            return -1;
        }
        if (number != NULL) {
            continue;
        }
        if (strcmp(argv[i], "--crash") == 0 && i + 1 < argc) {
            o->crash = argv[++i];
        } else if (strcmp(argv[i], "--write") == 0 && i + 1 < argc) {
            o->write = argv[++i];
        } else if (corpus_read(c, argv[i]) != 0) {
            return -1;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct options options = {.runs = 100000, .seed = 1, .crash = "fuzz-crash"};
    struct corpus corpus = {0};
    if (options_read(argc, argv, &options, &corpus) != 0) {
        return 2;
    }
    struct buffer seed = {0};
    for (size_t i = 0; fuzz_seed(i, &seed); i++) {
        *corpus_add(&corpus) = seed;
        seed = (struct buffer){0};
    }
    if (options.write != NULL) {
        return corpus_write(&corpus, options.write) != 0;
    }
    crash_path = options.crash;
    const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE};
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
        signal(signals[i], on_crash);
    }
    for (size_t i = 0; i < corpus.count; i++) {
        buffer_clear(&current);
        buffer_append(&current, corpus.inputs[i].data, corpus.inputs[i].size);
        run_one();
    }
    run_mutations(&options, &corpus);
    printf("%zu inputs, %llu mutations, seed %llu: nothing found\n", corpus.count,
           (unsigned long long)options.runs, (unsigned long long)options.seed);
    for (size_t i = 0; i < corpus.count; i++) {
        buffer_fini(&corpus.inputs[i]);
    }
    free(corpus.inputs);
    buffer_fini(&current);
    return 0;
}
