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

enum { WORD_SIZE = 24, KEPT = 20000, TOP = 10 };

struct word {
    char text[WORD_SIZE];
    uint64_t count;
};
static struct word words[2 * KEPT]; /* what a task works on */

static int by_text(const void *a, const void *b)
{
    return strcmp(((const struct word *)a)->text, ((const struct word *)b)->text);
}

static int by_count(const void *a, const void *b)
{
    const struct word *x = a, *y = b;
    return x->count != y->count ? (x->count < y->count ? 1 : -1) : by_text(a, b);
}

/* Adds up equal words and keeps the most frequent ones, which come first; how many there are. */
static size_t squeeze(size_t n)
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
    qsort(words, kept, sizeof *words, by_count);
    return kept < KEPT ? kept : KEPT;
}

/* The next word in lower case, at most WORD_SIZE - 1 letters of it. */
static bool read_word(FILE *file, struct word *word)
{
    size_t length = 0;
    *word = (struct word){.count = 1};
    for (int c; (c = getc(file)) != EOF && (isalpha(c) || length == 0);) {
        if (isalpha(c) && length < WORD_SIZE - 1) {
            word->text[length++] = (char)tolower(c);
        }
    }
    return length > 0;
}

DRT_TASK(count_file, call, DRT_STR)
{
    size_t n = 0;
    FILE *file = fopen(drt_arg_str(call, 0), "r");
    if (file == NULL) {
        return drt_fail(call, errno, "cannot read %s: %s", drt_arg_str(call, 0), strerror(errno));
    }
    while (read_word(file, &words[n])) {
        n = n + 1 < 2 * KEPT ? n + 1 : squeeze(n + 1);
    }
    fclose(file);
    return drt_return(call, DRT_ARRAY(struct word, words, squeeze(n)));
}

DRT_TASK(merge, call, DRT_RECORDS, DRT_RECORDS)
{
    size_t n[2];
    for (uint32_t i = 0; i < 2; i++) {
        const struct word *list = DRT_ARG_ARRAY(call, i, struct word, &n[i]);
        memcpy(words + (i == 0 ? 0 : n[0]), list, n[i] * sizeof *words);
    }
    return drt_return(call, DRT_ARRAY(struct word, words, squeeze(n[0] + n[1])));
}

int main(int argc, char **argv)
{
    drt_init_or_exit();
    int spread = argc > 1 && strcmp(argv[1], "--spread") == 0;
    size_t files = (size_t)(argc - 1 - spread), count;
    if (argc < 2 + spread) {
        fprintf(stderr, "usage: wordcount [--spread] FILE...\n");
        return 2;
    }
    struct drt_ref *lists = calloc(files, sizeof *lists);
    for (size_t i = 0; i < files; i++) {
        lists[i] = drt_submit(count_file, drt_str(argv[1 + spread + i]),
                              DRT_WITH(.strategy = spread ? DRT_SPREAD : DRT_DEFAULT));
    }
    /* Neighbours, level by level, until one list is left: n - 1 tasks, none of which waits here. */
    for (size_t n = files; n > 1; n = (n + 1) / 2) {
        for (size_t i = 0; i < n / 2; i++) {
            lists[i] = drt_submit(merge, drt_give(&lists[2 * i]), drt_give(&lists[2 * i + 1]));
        }
        lists[n / 2] = n % 2 == 1 ? lists[n - 1] : lists[n / 2];
    }
    const struct word *found;
    if (DRT_GET_ARRAY(lists[0], struct word, &found, &count) != 0) {
        fprintf(stderr, "wordcount: %s\n", drt_last_error()); /* of the first that failed */
        return 1;
    }
    for (size_t i = 0; i < count && i < TOP; i++) {
        printf("%8" PRIu64 "  %s\n", found[i].count, found[i].text);
    }
    printf("%zu different words in %zu files\n", count, files);
    drt_shutdown();
    return 0;
}
