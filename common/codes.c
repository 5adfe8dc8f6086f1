#include "common/codes.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/text.h"

int failure_set(struct failure *f, int code, const char *format, ...)
{
    va_list args;
    char message[sizeof f->message];
    /* Written aside first: an argument may be a piece of *f. */
    va_start(args, format);
    text_vformat(message, sizeof message, format, args);
    va_end(args);
    memset(f, 0, sizeof *f);
    f->code = code;
    memcpy(f->message, message, sizeof message);
    return code;
}

static const struct {
    int code;
    const char *name;
} NAMES[] = {
    {CODE_OK, "DRT_OK"},
    {CODE_TIMEOUT, "DRT_E_TIMEOUT"},
    {CODE_DONE, "DRT_E_DONE"},
    {CODE_FAILED, "DRT_E_FAILED"},
    {CODE_CRASHED, "DRT_E_CRASHED"},
    {CODE_EXITED, "DRT_E_EXITED"},
    {CODE_MEMORY, "DRT_E_MEMORY"},
    {CODE_GPU_MEMORY, "DRT_E_GPU_MEMORY"},
    {CODE_DEADLINE, "DRT_E_DEADLINE"},
    {CODE_CANCELLED, "DRT_E_CANCELLED"},
    {CODE_NODE_LOST, "DRT_E_NODE_LOST"},
    {CODE_OBJECT_LOST, "DRT_E_OBJECT_LOST"},
    {CODE_ACTOR_DEAD, "DRT_E_ACTOR_DEAD"},
    {CODE_PROGRAM, "DRT_E_PROGRAM"},
    {CODE_UNKNOWN, "DRT_E_UNKNOWN"},
    {CODE_UNREACHABLE, "DRT_E_UNREACHABLE"},
    {CODE_CYCLE, "DRT_E_CYCLE"},
    {CODE_OWNER_LOST, "DRT_E_OWNER_LOST"},
    {CODE_SIGNATURE, "DRT_E_SIGNATURE"},
    {CODE_IMPOSSIBLE, "DRT_E_IMPOSSIBLE"},
    {CODE_FULL, "DRT_E_FULL"},
    {CODE_EXISTS, "DRT_E_EXISTS"},
    {CODE_NOT_FOUND, "DRT_E_NOT_FOUND"},
    {CODE_TOO_LARGE, "DRT_E_TOO_LARGE"},
    {CODE_TOO_DEEP, "DRT_E_TOO_DEEP"},
    {CODE_DISCONNECTED, "DRT_E_DISCONNECTED"},
    {CODE_REFUSED, "DRT_E_REFUSED"},
};

const char *code_name(int code)
{
    if (code < 0) {
        const char *name = strerrorname_np(-code);
        return name != NULL ? name : "unknown error";
    }
    for (size_t i = 0; i < ARRAY_SIZE(NAMES); i++) {
        if (NAMES[i].code == code) {
            return NAMES[i].name;
        }
    }
    return "unknown code";
}
