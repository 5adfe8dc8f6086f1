/*
 * A record as a row of SQLite's: one table of columns for nodes and one for jobs says how a row is
 * made, written, read and checked. Each row carries a digest of its own: a flipped bit costs that
 * row and is noticed. On whichever thread uses the database.
 */
#ifndef HEAD_ROWS_H
#define HEAD_ROWS_H

#include <sqlite3.h>

#include "head/record.h"

/* "CREATE TABLE nodes (...);CREATE TABLE jobs (...);" */
void rows_schema(struct buffer *ret);
/* "INSERT OR REPLACE INTO nodes VALUES (?1,...)" of a kind: HEAD_RECORD_NODE or _JOB. */
void rows_insert(enum head_record_kind kind, struct buffer *ret);
/* "SELECT ... FROM nodes ORDER BY number" (`newest_first`: descending), of a
 * table as this version of the journal had it. */
void rows_select(enum head_record_kind kind, int version, bool newest_first, struct buffer *ret);

/* Binds all of a row. SQLITE_OK, or SQLite's code. `text` must live as long as the binding. */
int rows_bind(sqlite3_stmt *s, const struct head_record *record, struct buffer *text) MUST_CHECK;

/* Reads the row that the statement stands at. 0; -EPROTO: it makes no sense (*ret_why, static
 * text); ret->node.number or ret->job.number is what stands there all the same. */
int rows_read(sqlite3_stmt *s, enum head_record_kind kind, int version, struct arena *arena,
              struct head_record *ret, const char **ret_why) MUST_CHECK;

#endif
