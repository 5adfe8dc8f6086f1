/*
 * What every file needs: asserts that stay on, attributes, small arithmetic. No state.
 */
#ifndef COMMON_BASE_H
#define COMMON_BASE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MUST_CHECK    __attribute__((__warn_unused_result__))
#define PRINTF(f, a)  __attribute__((__format__(__printf__, f, a)))
#define CLEANUP(fn)   __attribute__((__cleanup__(fn)))
#define NORETURN      __attribute__((__noreturn__))
#define NOINLINE      __attribute__((__noinline__))
#define LIKELY(x)     __builtin_expect(!!(x), 1)
#define UNLIKELY(x)   __builtin_expect(!!(x), 0)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN_OF(a, b)  ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b)  ((a) > (b) ? (a) : (b))

/* The struct that holds `member` at `ptr`. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

NORETURN void assert_failed(const char *file, int line, const char *expr);

/* For what only a bug of ours can break; never for bytes that came from outside. Stays on in
 * release. */
#define ASSERT(expr) (LIKELY(expr) ? (void)0 : assert_failed(__FILE__, __LINE__, #expr))

/* `align` is a power of two. */
static inline size_t align_up(size_t n, size_t align)
{
    return (n + align - 1) & ~(align - 1);
}

/* Says so on standard error, and ends the process. */
NORETURN void out_of_memory(size_t size);

/*
 * Memory for our own records, which a daemon cannot go on without: never NULL (ends the process
 * with a message when the system has none). Sizes that come from outside are bounded before they
 * reach these, or use malloc and answer.
 */
void *xmalloc(size_t size) __attribute__((__malloc__, __returns_nonnull__));
void *xcalloc(size_t count, size_t size) __attribute__((__malloc__, __returns_nonnull__));
void *xrealloc(void *ptr, size_t size) __attribute__((__returns_nonnull__));
char *xstrdup(const char *s) __attribute__((__malloc__, __returns_nonnull__));

static inline void free_ptr(void *ptr_to_ptr)
{
    void *ptr;
    memcpy(&ptr, ptr_to_ptr, sizeof ptr);
    free(ptr);
}
/* CLEANUP_FREE char *text = ...; */
#define CLEANUP_FREE CLEANUP(free_ptr)

void close_fd(int *fd); /* for CLEANUP: closes if >= 0 */
#define CLEANUP_FD CLEANUP(close_fd)

#endif
