/*
 * The most frequent words of many files: a task for each file, then a tree of merges.
 *
 *     wordcount [--spread] FILE...
 *
 * The merges take references: no list of words passes through this program but the last one. A
 * value is at most 1 MiB, so a list keeps the KEPT most frequent words. With --spread the files are
 * counted evenly on all nodes, which must then see the same files.
 */
#include <drt/drt.h>

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_SIZE = 24, KEPT = 20000, ROOM = 2 * KEPT, TOP = 10 };

struct word {
    char text[WORD_SIZE];
    uint64_t count;
};

static int by_text(const void *a, const void *b)
{
    return strcmp(((const struct word *)a)->text, ((const struct word *)b)->text);
}

static int by_count(const void *a, const void *b)
{
    const struct word *x = a, *y = b;

    if (x->count != y->count) {
        return x->count < y->count ? 1 : -1;
    }
    return by_text(a, b);
}

/* Adds up equal words and keeps the most frequent ones; how many there are then. */
static size_t squeeze(struct word *words, size_t n)
{
    size_t kept = 0;

    qsort(words, n, sizeof *words, by_text);
    for (size_t i = 0; i < n; i++) {
        if (kept > 0 && by_text(&words[kept - 1], &words[i]) == 0) {
            words[kept - 1].count += words[i].count;
        } else {
            words[kept++] = words[i];
        }
    }
    if (kept > KEPT) {
        qsort(words, kept, sizeof *words, by_count);
        kept = KEPT;
    }
    return kept;
}

/* The next word in lower case, at most WORD_SIZE - 1 letters of it; false at the end of the file.
 */
static bool read_word(FILE *file, struct word *word)
{
    size_t length = 0;
    int c;

    while ((c = getc(file)) != EOF && (isalpha(c) || length == 0)) {
        if (isalpha(c) && length < WORD_SIZE - 1) {
            word->text[length++] = (char)tolower(c);
        }
    }
    memset(word->text + length, 0, WORD_SIZE - length);
    word->count = 1;
    return length > 0;
}

DRT_TASK(count_file, call, DRT_STR)
{
    static struct word words[ROOM];
    size_t n = 0;

    FILE *file = fopen(drt_arg_str(call, 0), "r");
    if (file == NULL) {
        return drt_fail(call, errno, "cannot read %s: %s", drt_arg_str(call, 0), strerror(errno));
    }
    while (read_word(file, &words[n])) {
        n++;
        if (n == ROOM) {
            n = squeeze(words, n);
        }
    }
    fclose(file);
    return drt_return(call, DRT_ARRAY(struct word, words, squeeze(words, n)));
}

DRT_TASK(merge, call, DRT_RECORDS, DRT_RECORDS)
{
    static struct word words[ROOM];
    size_t left_count, right_count;
    const struct word *left = DRT_ARG_ARRAY(call, 0, struct word, &left_count);
    const struct word *right = DRT_ARG_ARRAY(call, 1, struct word, &right_count);

    memcpy(words, left, left_count * sizeof *words);
    memcpy(words + left_count, right, right_count * sizeof *words);
    return drt_return(call,
                      DRT_ARRAY(struct word, words, squeeze(words, left_count + right_count)));
}

/* Merges neighbours, level by level, until one is left: n - 1 tasks, none of which waits here. */
static struct drt_ref merge_all(struct drt_ref *lists, size_t n)
{
    while (n > 1) {
        size_t pairs = n / 2;
        for (size_t i = 0; i < pairs; i++) {
            lists[i] = drt_submit(merge, drt_give(&lists[2 * i]), drt_give(&lists[2 * i + 1]));
        }
        if (n % 2 == 1) {
            lists[pairs++] = lists[n - 1];
        }
        n = pairs;
    }
    return lists[0];
}

int main(int argc, char **argv)
{
    struct drt_options where = {.strategy = DRT_DEFAULT};

    drt_init_or_exit();
    if (argc > 1 && strcmp(argv[1], "--spread") == 0) {
        where.strategy = DRT_SPREAD;
        argc--;
        argv++;
    }
    if (argc < 2) {
        fprintf(stderr, "usage: wordcount [--spread] FILE...\n");
        return 2;
    }
    size_t files = (size_t)argc - 1, count;
    struct drt_ref *lists = calloc(files, sizeof *lists);
    if (lists == NULL) {
        return 1;
    }
    for (size_t i = 0; i < files; i++) {
        lists[i] = drt_submit(count_file, drt_str(argv[1 + i]), drt_with(&where));
    }

    const struct word *view;
    struct drt_ref all = merge_all(lists, files);
    if (DRT_GET_ARRAY(all, struct word, &view, &count) != 0) {
        fprintf(stderr, "wordcount: %s\n",
                drt_last_error()); /* the error of the first that failed */
        return 1;
    }
    struct word *words = malloc((count + 1) * sizeof *words); /* what a get shows is read-only */
    if (words == NULL) {
        return 1;
    }
    memcpy(words, view, count * sizeof *words);
    qsort(words, count, sizeof *words, by_count);
    for (size_t i = 0; i < count && i < TOP; i++) {
        printf("%8" PRIu64 "  %s\n", words[i].count, words[i].text);
    }
    printf("%zu different words in %zu files\n", count, files);
    free(words);
    free(lists);
    drt_shutdown();
    return 0;
}
