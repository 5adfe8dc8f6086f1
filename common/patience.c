#include "common/patience.h"

#include <sched.h>

#include "common/clock.h"

#define POLLS        100
#define LONG_YIELD   (200 * NS_PER_US)
#define PAUSE_FIRST  (1 * NS_PER_MS)
#define PAUSE_MOST   (16 * NS_PER_MS)
#define PAUSE_RECENT (20 * NS_PER_MS) /* a long yield sooner after a pause doubles it */

/* A yield that gave the CPU to somebody busy is a slice lost, and the next one will be; beside two
 * busy loops growing pauses made sync tasks 1.7 and bursts 2.2 times as fast as pauses of 1 ms. */
static void pause_polling(struct patience *p, uint64_t now_ns)
{
    bool again = p->pause_ns != 0 && now_ns - p->sleep_until_ns < PAUSE_RECENT;
    p->pause_ns = again ? MIN_OF(p->pause_ns * 2, PAUSE_MOST) : PAUSE_FIRST;
    p->sleep_until_ns = now_ns + p->pause_ns;
}

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
            pause_polling(p, after);
            return is_ready;
        }
        if (is_ready) {
            return true;
        }
        before = after;
    }
    return false;
}
