#include "sdk/errors.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/text.h"

#define SAME(name) _Static_assert((int)DRT_E_##name == (int)CODE_##name, "a code's number")
SAME(TIMEOUT);
SAME(DONE);
SAME(FAILED);
SAME(CRASHED);
SAME(EXITED);
SAME(MEMORY);
SAME(DEADLINE);
SAME(CANCELLED);
SAME(NODE_LOST);
SAME(OBJECT_LOST);
SAME(PROGRAM);
SAME(UNKNOWN);
SAME(UNREACHABLE);
SAME(CYCLE);
SAME(OWNER_LOST);
SAME(SIGNATURE);
SAME(IMPOSSIBLE);
SAME(FULL);
SAME(EXISTS);
SAME(NOT_FOUND);
SAME(TOO_LARGE);
SAME(TOO_DEEP);
SAME(DISCONNECTED);
SAME(REFUSED);

static _Thread_local char sentence[1024];

int error_set(int code, const char *format, ...)
{
    char text[sizeof sentence];
    va_list args;
    /* Written aside first: an argument may be the present sentence. */
    va_start(args, format);
    text_vformat(text, sizeof text, format, args);
    va_end(args);
    memcpy(sentence, text, strlen(text) + 1);
    return code;
}

int error_set_failure(const struct failure *f)
{
    char where[200] = "";
    if (f->task[0] != '\0') {
        snprintf(where, sizeof where, "%s%s%s: ", f->task, f->node[0] != '\0' ? " on " : "",
                 f->node);
    }
    if (f->code == CODE_FAILED && f->app_code != 0) {
        error_set(f->code, "%s%s (code %d)", where, f->message, (int)f->app_code);
    } else {
        error_set(f->code, "%s%s", where, f->message);
    }
    return f->code;
}

void error_to_failure(int code, struct failure *ret)
{
    failure_set(ret, code, "%s", sentence);
}

void error_from_failure(const struct failure *f, struct drt_error *ret)
{
    *ret = (struct drt_error){
        .code = f->code,
        .app_code = f->app_code,
        .signal = f->signal,
        .exit_code = f->exit_code,
        .attempts = f->attempts,
        .depth = f->depth,
    };
    text_shorten(ret->task, sizeof ret->task, f->task);
    text_shorten(ret->node, sizeof ret->node, f->node);
    text_copy(ret->message, sizeof ret->message, f->message);
}

const char *drt_last_error(void)
{
    return sentence;
}

const char *drt_code_name(int code)
{
    return code_name(code);
}

void drt_die_(const char *file, int line, const char *expr, int rc)
{
    fflush(stdout);
    fprintf(stderr, "%s:%d: %s: %s: %s\n", file, line, expr, code_name(rc), sentence);
    exit(1);
}
