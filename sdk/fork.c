#include "sdk/fork.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define MARK_BYTES 4096u /* MADV_WIPEONFORK works on whole pages */

static _Atomic uint32_t plain_mark; /* until there is a page, or where none can be had */
_Atomic uint32_t *fork_mark = &plain_mark;
static pid_t owner;

void fork_prepare(void)
{
    owner = getpid();
    if (fork_mark != &plain_mark) {
        return;
    }
    void *page = mmap(NULL, MARK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return;
    }
    if (madvise(page, MARK_BYTES, MADV_WIPEONFORK) != 0) {
        munmap(page, MARK_BYTES);
        return;
    }
    fork_mark = page;
}

void fork_mark_set(void)
{
    atomic_store_explicit(fork_mark, 1, memory_order_release);
}

void fork_mark_clear(void)
{
    atomic_store_explicit(fork_mark, 0, memory_order_release);
}

bool fork_is_other_process(void)
{
    return owner != getpid();
}

void fork_end_child(const char *task)
{
    char text[512];
    int n = snprintf(text, sizeof text,
                     "drt: process %d, a child of the process that runs the task %.255s, returned "
                     "from the task's body. It cannot answer for its parent and is ended with exit "
                     "status %d: a child ends with _exit, or becomes another program with exec.\n",
                     (int)getpid(), task, FORK_EXIT_STATUS);
    (void)!write(STDERR_FILENO, text, MIN_OF((size_t)MAX_OF(n, 0), sizeof text - 1));
    _exit(FORK_EXIT_STATUS);
}
