/*
 * What every cmocka test includes, in the order that cmocka wants, with a private directory for
 * tests that write. Used by tests only.
 */
#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "common/base.h"
#include "common/files.h"

/* A new directory under TMPDIR or /tmp, for CLEANUP_DIR. */
static inline char *unit_make_dir(void)
{
    const char *base = getenv("TMPDIR");
    char path[256];
    snprintf(path, sizeof path, "%s/drt-unit-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(path));
    return xstrdup(path);
}

static inline void unit_remove_dir(char **dir)
{
    assert_int_equal(files_remove_tree(*dir), 0);
    free(*dir);
}
#define CLEANUP_DIR CLEANUP(unit_remove_dir)

#endif
