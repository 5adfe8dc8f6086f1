/*
 * Which files below a directory contain a text, and in how many lines?
 *
 *     search [--spread] TEXT [DIRECTORY]
 *
 * This program walks the tree; the files are read by tasks, a batch of files each: on this node
 * while it has room, or, with --spread, evenly on all nodes, which must then see the same files. A
 * file that cannot be read is no reason to stop: it is told at the end.
 */
#include <drt/drt.h>

#include <errno.h>
#include <fts.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 64, TOP = 10 };

struct found { /* what a task says of one file */
    int64_t lines;
    int64_t error; /* errno; 0: it was read */
};

struct file {
    char *path;
    struct found found;
};

struct tree {
    struct file *files;
    size_t count;
};

static struct found search_file(const char *text, const char *path)
{
    struct found found = {0, 0};
    char *line = NULL;
    size_t room = 0, wanted = strlen(text);
    ssize_t length;

    FILE *file = fopen(path, "r");
    if (file == NULL) {
        found.error = errno;
        return found;
    }
    while ((length = getline(&line, &room, file)) >= 0) {
        found.lines += memmem(line, (size_t)length, text, wanted) != NULL;
    }
    if (ferror(file)) {
        found.error = errno;
    }
    free(line);
    fclose(file);
    return found;
}

/* Takes the text and any number of paths; gives a struct found for each path. */
DRT_TASK(search_files, call, DRT_STR, DRT_REST(DRT_STR))
{
    size_t count = drt_arg_count(call) - 1;
    struct found *found = DRT_RETURN_ARRAY(call, 0, struct found, count);

    for (size_t i = 0; found != NULL && i < count; i++) {
        found[i] = search_file(drt_arg_str(call, 0), drt_arg_str(call, 1 + i));
    }
    return 0;
}

static void add(struct tree *tree, const char *path, int error)
{
    if ((tree->count & (tree->count - 1)) == 0) { /* room doubles */
        size_t room = tree->count == 0 ? 1 : 2 * tree->count;
        tree->files = realloc(tree->files, room * sizeof *tree->files);
    }
    char *copy = strdup(path);
    if (tree->files == NULL || copy == NULL) {
        fprintf(stderr, "search: out of memory\n");
        exit(1);
    }
    tree->files[tree->count++] = (struct file){copy, {0, error}};
}

static struct tree walk(char *directory)
{
    struct tree tree = {NULL, 0};
    FTS *fts = fts_open((char *[]){directory, NULL}, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    FTSENT *entry;

    while (fts != NULL && (entry = fts_read(fts)) != NULL) {
        if (entry->fts_info == FTS_F) {
            add(&tree, entry->fts_path, 0);
        } else if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_NS) {
            add(&tree, entry->fts_path, entry->fts_errno);
        }
    }
    if (fts != NULL) {
        fts_close(fts);
    }
    return tree;
}

static struct drt_ref submit_batch(const char *text, const struct file *files, size_t count,
                                   const struct drt_options *where)
{
    struct drt_value values[1 + BATCH + 1] = {drt_str(text)};

    for (size_t i = 0; i < count; i++) {
        values[1 + i] = drt_str(files[i].path);
    }
    values[1 + count] = drt_with(where); /* options come last */
    return drt_submit_array(search_files, values, 1 + count + 1);
}

static size_t batch_size(const struct tree *tree, size_t first)
{
    return tree->count - first < BATCH ? tree->count - first : BATCH;
}

static void search_all(struct tree *tree, const char *text, const struct drt_options *where)
{
    size_t batches = (tree->count + BATCH - 1) / BATCH;
    struct drt_ref *refs = calloc(batches + 1, sizeof *refs);

    for (size_t i = 0; refs != NULL && i < batches; i++) {
        refs[i] = submit_batch(text, tree->files + i * BATCH, batch_size(tree, i * BATCH), where);
    }
    for (size_t i = 0; refs != NULL && i < batches; i++) {
        const struct found *found;
        size_t count;
        int rc = DRT_GET_ARRAY(refs[i], struct found, &found, &count);
        if (rc != 0) { /* not the files' fault: the worker died, say */
            fprintf(stderr, "search: %s\n", drt_last_error());
        }
        for (size_t k = 0; k < batch_size(tree, i * BATCH); k++) {
            struct file *file = &tree->files[i * BATCH + k];
            if (rc != 0) {
                file->found.error = EIO;
            } else if (file->found.error == 0) {
                file->found = found[k];
            }
        }
        drt_release(&refs[i]);
    }
    free(refs);
}

/* Most lines first, then by name. */
static int by_lines(const void *a, const void *b)
{
    const struct file *x = a, *y = b;

    if (x->found.lines != y->found.lines) {
        return x->found.lines < y->found.lines ? 1 : -1;
    }
    return strcmp(x->path, y->path);
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
    if (argc < 2 || argc > 3 || argv[1][0] == '\0') {
        fprintf(stderr, "usage: search [--spread] TEXT [DIRECTORY]\n");
        return 2;
    }
    struct tree tree = walk(argc > 2 ? argv[2] : ".");
    int64_t lines = 0, matching = 0, unreadable = 0;

    search_all(&tree, argv[1], &where);
    qsort(tree.files, tree.count, sizeof *tree.files, by_lines);
    for (size_t i = 0; i < tree.count; i++) {
        struct found found = tree.files[i].found;
        lines += found.lines;
        matching += found.lines > 0;
        if (found.lines > 0 && i < TOP) {
            printf("%8" PRId64 "  %s\n", found.lines, tree.files[i].path);
        }
        if (found.error != 0) {
            unreadable++;
            fprintf(stderr, "search: cannot read %s: %s\n", tree.files[i].path,
                    strerror((int)found.error));
        }
        free(tree.files[i].path);
    }
    printf("%" PRId64 " lines in %" PRId64 " of %zu files, %" PRId64 " unreadable\n", lines,
           matching, tree.count, unreadable);
    free(tree.files);
    drt_shutdown();
    return unreadable > 0;
}
