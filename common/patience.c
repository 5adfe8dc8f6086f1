#include "common/patience.h"

#include <sched.h>

#include "common/clock.h"

#define POLLS        100
#define LONG_YIELD   (200 * NS_PER_US)
#define NO_POLL_TIME (1 * NS_PER_MS)

bool patience_poll(struct patience *p, bool (*ready)(void *), void *arg)
{
    if (ready(arg)) {
        return true;
    }
    uint64_t before = clock_now_ns();
    if (before < p->sleep_until_ns) {
        return false;
    }
    for (int i = 0; i < POLLS; i++) {
        sched_yield();
        uint64_t after = clock_now_ns();
        bool is_ready = ready(arg);
        if (after - before > LONG_YIELD) {
            p->sleep_until_ns = after + NO_POLL_TIME;
            return is_ready;
        }
        if (is_ready) {
            return true;
        }
        before = after;
    }
    return false;
}
