/*
 * The head's memory on disk: SQLite (WAL, synchronous=FULL) with one table of nodes, one of jobs,
 * and one row of meta. Blocking: opened and loaded before the loop begins, then used by the offload
 * thread alone. An error of the disk is never tried again: the head ends and replays.
 */
#ifndef HEAD_JOURNAL_H
#define HEAD_JOURNAL_H

#include "common/codes.h"
#include "head/record.h"

#define JOURNAL_VERSION 2

struct journal;

/* Opens or makes the file (0600). 0; CODE_REFUSED: written by a newer drt; CODE_FAILED: damaged, or
 * the disk's error; the sentence names the file. */
int journal_open(const char *path, struct journal **ret, struct failure *f) MUST_CHECK;
void journal_close(struct journal *j); /* NULL is fine */

/* All rows, nodes before jobs, each by ascending number; texts live in `arena`. 0; CODE_FAILED */
int journal_load(struct journal *j, struct arena *arena, struct head_record **ret,
                 size_t *ret_count, struct failure *f) MUST_CHECK;

/* One transaction: journal_begin, any number of journal_put, journal_commit (on disk when it
 * returns 0). After an error nothing but journal_close may follow. CODE_FAILED with the disk's
 * reason. */
int journal_begin(struct journal *j, struct failure *f) MUST_CHECK;
int journal_put(struct journal *j, const struct head_record *record, struct failure *f) MUST_CHECK;
int journal_commit(struct journal *j, struct failure *f) MUST_CHECK;

#endif
