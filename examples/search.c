/*
 * Which files below a directory contain a text, and in how many lines?
 *
 *     search [--spread] TEXT [DIRECTORY]
 *
 * This program walks the tree; tasks read the files, a batch of them each: on this node while it
 * has room, or, with --spread, evenly on all nodes, which must then see the same files. A file that
 * cannot be read is no reason to stop: it is told at the end.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem */
#endif
#include <drt/drt.h>

#include <errno.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 64, TOP = 10 };

struct file {
    char *path;
    int64_t lines; /* that contain the text; -errno: it cannot be read */
};

static int64_t count_lines(const char *text, const char *path)
{
    char *line = NULL;
    size_t room = 0, wanted = strlen(text);
    int64_t lines = 0;
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return -errno;
    }
    for (ssize_t size; (size = getline(&line, &room, file)) >= 0;) {
        lines += memmem(line, (size_t)size, text, wanted) != NULL;
    }
    lines = ferror(file) ? -errno : lines;
    free(line);
    fclose(file);
    return lines;
}

/* Takes the text and any number of paths; gives the lines of each. */
DRT_TASK(search_files, call, DRT_STR, DRT_REST(DRT_STR))
{
    size_t count = drt_arg_count(call) - 1;
    int64_t *lines = DRT_RETURN_ARRAY(call, 0, int64_t, count);
    for (size_t i = 0; lines != NULL && i < count; i++) {
        lines[i] = count_lines(drt_arg_str(call, 0), drt_arg_str(call, 1 + i));
    }
    return 0;
}

static size_t walk(char *directory, struct file **ret)
{
    FTS *fts = fts_open((char *[]){directory, NULL}, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    size_t count = 0;
    for (FTSENT *entry; fts != NULL && (entry = fts_read(fts)) != NULL;) {
        int kind = entry->fts_info; /* what cannot be looked at is found out by the task, too */
        if (kind == FTS_F || kind == FTS_DNR || kind == FTS_NS) {
            *ret = realloc(*ret, (count + 1) * sizeof **ret);
            (*ret)[count++] = (struct file){strdup(entry->fts_path), 0};
        }
    }
    return count;
}

/* Most lines first, then by name. */
static int by_lines(const void *a, const void *b)
{
    const struct file *x = a, *y = b;
    return x->lines != y->lines ? (x->lines < y->lines ? 1 : -1) : strcmp(x->path, y->path);
}

int main(int argc, char **argv)
{
    drt_init_or_exit();
    int spread = argc > 1 && strcmp(argv[1], "--spread") == 0, first = 1 + spread;
    if (argc <= first || argc > first + 2 || *argv[first] == '\0') {
        fprintf(stderr, "usage: search [--spread] TEXT [DIRECTORY]\n");
        return 2;
    }
    struct file *files = NULL;
    size_t count = walk(argc > first + 1 ? argv[first + 1] : ".", &files);
    struct drt_ref *refs = calloc(count / BATCH + 1, sizeof *refs);
    struct drt_value values[1 + BATCH + 1] = {drt_str(argv[first])};
    for (size_t i = 0, n = 0; i < count; i++) {
        values[++n] = drt_str(files[i].path);
        if (n == BATCH || i + 1 == count) { /* options come last */
            values[n + 1] = DRT_WITH(.strategy = spread ? DRT_SPREAD : DRT_DEFAULT);
            refs[i / BATCH] = drt_submit_array(search_files, values, n + 2);
            n = 0;
        }
    }
    const int64_t *found = NULL;
    int rc = 0;
    for (size_t i = 0; i < count; i++) {
        if (i % BATCH == 0 && (rc = DRT_GET_ARRAY(refs[i / BATCH], int64_t, &found, NULL)) != 0) {
            fprintf(stderr, "search: %s\n", drt_last_error()); /* its worker died, say */
        }
        files[i].lines = rc == 0 ? found[i % BATCH] : -EIO;
    }
    qsort(files, count, sizeof *files, by_lines);
    long long all = 0, matching = 0, failed = 0;
    for (size_t i = 0; i < count; i++) {
        long long lines = files[i].lines;
        if (lines < 0) {
            fprintf(stderr, "search: cannot read %s: %s\n", files[i].path, strerror((int)-lines));
        } else if (lines > 0 && i < TOP) {
            printf("%8lld  %s\n", lines, files[i].path);
        }
        all += lines > 0 ? lines : 0;
        matching += lines > 0;
        failed += lines < 0;
    }
    printf("%lld lines in %lld of %zu files, %lld unreadable\n", all, matching, count, failed);
    drt_shutdown();
    return failed > 0;
}
