/*
 * A page that the bench and its driver processes share: who is ready, when to begin, and when each
 * phase began and ended. Every word is written by one side and read by the others. Waiting is by
 * short naps, so that nobody who waits disturbs what is measured.
 */
#ifndef BENCH_BOARD_H
#define BENCH_BOARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define BOARD_BYTES 4096u

struct board {
    _Atomic uint32_t ready; /* how many drivers wait for `go` */
    _Atomic uint32_t go;
    _Atomic uint32_t phase;   /* what one driver tells the others: enum board_phase */
    _Atomic uint32_t proceed; /* the bench lets a driver that waits in a phase go on */
};

enum board_phase {
    BOARD_BEFORE = 0,
    BOARD_QUEUED = 1, /* all tasks are submitted */
    BOARD_DONE = 2,   /* all tasks are done, references still held */
    BOARD_FREE = 3,   /* all references are released */
    BOARD_STOP = 4,   /* the bench: end now */
};

static inline void board_nap(void)
{
    nanosleep(&(struct timespec){0, 200000}, NULL);
}

/* Waits until the word is at least `value`; false after limit_s seconds. */
static inline bool board_await(_Atomic uint32_t *word, uint32_t value, double limit_s)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double end = (double)now.tv_sec + limit_s;

    while (atomic_load(word) < value) {
        board_nap();
        clock_gettime(CLOCK_MONOTONIC, &now);
        if ((double)now.tv_sec > end) {
            return false;
        }
    }
    return true;
}

#endif
