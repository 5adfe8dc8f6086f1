/*
 * The outcomes that users see, by number, and the story of a failure. The same numbers stand in
 * drt.h as DRT_E_* (checked there at compile time).
 */
#ifndef COMMON_CODES_H
#define COMMON_CODES_H

#include "common/base.h"

enum code {
    CODE_OK = 0,
    CODE_TIMEOUT = 1,
    CODE_DONE = 2,
    CODE_FAILED = 10,
    CODE_CRASHED = 11,
    CODE_EXITED = 12,
    CODE_MEMORY = 13,
    CODE_GPU_MEMORY = 14,
    CODE_DEADLINE = 15,
    CODE_CANCELLED = 16,
    CODE_NODE_LOST = 17,
    CODE_OBJECT_LOST = 18,
    CODE_ACTOR_DEAD = 19,
    CODE_PROGRAM = 20,
    CODE_UNKNOWN = 21,     /* at_most_once: whether it ran cannot be known */
    CODE_UNREACHABLE = 22, /* the owner does not answer */
    CODE_CYCLE = 23,       /* tasks wait for each other */
    CODE_OWNER_LOST = 24,
    CODE_SIGNATURE = 30,
    CODE_IMPOSSIBLE = 31,
    CODE_FULL = 32,
    CODE_EXISTS = 33,
    CODE_NOT_FOUND = 34,
    CODE_TOO_LARGE = 35,
    CODE_TOO_DEEP = 36, /* tasks that submit tasks that submit tasks ... */
    CODE_DISCONNECTED = 40,
    CODE_REFUSED = 41, /* the cluster refused: key, version, permission */
};

/* One failure as it travels: who failed first, where, and a sentence that says what to do. */
struct failure {
    int32_t code; /* enum code; 0: none */
    int32_t app_code;
    int32_t signal;
    int32_t exit_code;
    uint32_t attempts;
    uint32_t depth;
    char task[64];
    char node[64];
    char message[512];
};

/* Sets code and message, clears the rest. Returns `code`. */
int failure_set(struct failure *f, int code, const char *format, ...) PRINTF(3, 4);
const char *
code_name(int code); /* "CODE" part as users know it: "DRT_E_TIMEOUT"; errno names for negatives */

#endif
