/*
 * The table of the tasks of this program. Constructors fill it before main(), and later when dlopen
 * loads a library. Each submit searches it by function, and the first run of a class in a worker
 * searches it by name. Readers take no lock: each change publishes a new table and keeps the old
 * one, because changes are few and small.
 */
#ifndef SDK_REGISTRY_H
#define SDK_REGISTRY_H

#include "common/base.h"
#include "drt/drt.h"

#define REGISTRY_NAME_MAX    255u /* as proto/local.h's limit of names */
#define REGISTRY_KINDS_MAX   64u
#define REGISTRY_NAME_BUFFER (REGISTRY_NAME_MAX + 65) /* "argument 12345 of <name>" */

/* Checks the table: 0; DRT_E_EXISTS when two tasks have one name, -EINVAL for a name or a list of
 * kinds that is too long; the sentence says which, and in what files. */
int registry_check(void) MUST_CHECK;
/* By function, else (where a library's function has a second address) by name; NULL if it is none.
 */
const struct drt_entry_ *registry_find(drt_task_fn *fn, const char *name);
const struct drt_entry_ *registry_find_name(const char *name);

#endif
