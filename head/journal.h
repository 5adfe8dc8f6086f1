/*
 * The head's memory on disk: SQLite (WAL, synchronous=FULL) with one table of nodes, one of jobs,
 * and one row that says how far it reaches; beside it head.mark (head/mark.h), which says how far
 * it must. Blocking: opened and loaded before the loop begins, then used by the offload thread
 * alone. An error of the disk is never tried again: the head ends and replays.
 */
#ifndef HEAD_JOURNAL_H
#define HEAD_JOURNAL_H

#include "common/codes.h"
#include "head/mark.h"
#include "head/record.h"

#define JOURNAL_VERSION 2

struct journal;

enum journal_open_flags {
    JOURNAL_ACCEPT_LOSS = 1, /* goes on where something that was acknowledged is missing */
    JOURNAL_ALONE = 2,       /* a new file without a mark beside it: of a repair */
};

/* Opens or makes the file (0600). 0; CODE_REFUSED: written by a newer drt; CODE_OBJECT_LOST: it
 * holds less than was acknowledged, or that cannot be known, and nothing was changed; CODE_FAILED:
 * damaged, or the disk's error. The sentence names the file and says what to do. */
int journal_open(const char *path, unsigned flags, struct journal **ret,
                 struct failure *f) MUST_CHECK;
void journal_close(struct journal *j); /* NULL is fine */

/* What was accepted as lost, as a sentence; "" if nothing is missing. */
const char *journal_loss(const struct journal *j);
struct mark journal_reach(const struct journal *j);
/* A repair goes on from here. Before the first journal_begin. */
void journal_set_reach(struct journal *j, const struct mark *reach);

struct journal_reader {
    /* A row, or all that follows it, makes no sense and is left out. May be NULL. */
    void (*on_bad)(void *arg, const char *sentence);
    void *arg;
    bool salvage; /* go round places that SQLite cannot read, too */
};

/* All rows, nodes before jobs, each by ascending number, then HEAD_RECORD_NUMBERS; texts live in
 * `arena`. 0; CODE_FAILED */
int journal_load(struct journal *j, const struct journal_reader *reader, struct arena *arena,
                 struct head_record **ret, size_t *ret_count, struct failure *f) MUST_CHECK;

/* One transaction: journal_begin, any number of journal_put, journal_commit (on disk, and marked,
 * when it returns 0). After an error nothing but journal_close may follow. CODE_FAILED with the
 * disk's reason. */
int journal_begin(struct journal *j, struct failure *f) MUST_CHECK;
int journal_put(struct journal *j, const struct head_record *record, struct failure *f) MUST_CHECK;
int journal_commit(struct journal *j, struct failure *f) MUST_CHECK;

/* Opens a file for reading alone, damaged or not, for journal_load with `salvage`. */
int journal_open_damaged(const char *path, struct journal **ret, struct failure *f) MUST_CHECK;

#endif
