#include "common/base.h"

#include <stdio.h>
#include <unistd.h>

void assert_failed(const char *file, int line, const char *expr)
{
    fprintf(stderr, "%s:%d: this must hold and does not: %s\n", file, line, expr);
    abort();
}

void out_of_memory(size_t size)
{
    fprintf(stderr, "out of memory: the system has no %zu bytes for this process\n", size);
    abort();
}

void *xmalloc(size_t size)
{
    void *ptr = malloc(size != 0 ? size : 1);
    if (ptr == NULL) {
        out_of_memory(size);
    }
    return ptr;
}

void *xcalloc(size_t count, size_t size)
{
    void *ptr = calloc(count != 0 ? count : 1, size != 0 ? size : 1);
    if (ptr == NULL) {
        out_of_memory(count * size);
    }
    return ptr;
}

void *xrealloc(void *ptr, size_t size)
{
    void *moved = realloc(ptr, size != 0 ? size : 1);
    if (moved == NULL) {
        out_of_memory(size);
    }
    return moved;
}

char *xstrdup(const char *s)
{
    size_t size = strlen(s) + 1;
    return memcpy(xmalloc(size), s, size);
}

void close_fd(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        close(*fd);
        *fd = -1;
        errno = saved;
    }
}
