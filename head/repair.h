/*
 * drt-head check and drt-head repair: looks at the journal of a head that is stopped (the caller
 * holds its lock), and makes a sound one of what can be read. Blocking; prints what it finds.
 */
#ifndef HEAD_REPAIR_H
#define HEAD_REPAIR_H

#include <stdio.h>

#include "common/codes.h"
#include "common/place.h"

/* Says what is wrong, a line each, and changes nothing. 0: sound; CODE_NOT_FOUND: no journal there;
 * CODE_FAILED: something is wrong, and `f` says what to do. */
int repair_check(const struct place *place, FILE *out, struct failure *f) MUST_CHECK;
/* Writes a new head.db of all rows that make sense; the old one stays as head.db.damaged (with its
 * -wal). Numbers that were given stay given. 0; CODE_NOT_FOUND; CODE_FAILED: nothing was changed.
 */
int repair_run(const struct place *place, FILE *out, struct failure *f) MUST_CHECK;

#endif
