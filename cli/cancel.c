#include "cli/cancel.h"

#include "common/text.h"

static int ask_cancel(struct ask *ask, const char *thing, bool force, struct buffer *out,
                      struct failure *f)
{
    struct state_query query = {
        .kind = STATE_CANCEL, .id = "", .node = "", .state = "", .name = "", .force = force};
    struct object_id id;
    struct answer answer;
    int r = EXIT_DONE;
    if (object_id_parse(thing, &id) == 0) {
        query.id = thing;
    } else if (strcmp(thing, "last") == 0) {
        r = find_last_job(ask, &query.job, f);
    } else if (text_parse_u64(thing, UINT64_MAX, &query.job) != 0 || query.job == 0) {
        failure_set(f, CODE_SIGNATURE,
                    "\"%.60s\" is not a task or job. Give a task like 1-2.2240, a job's number, or "
                    "\"last\" for the newest job; 'drt tasks' and 'drt jobs' list them.",
                    thing);
        r = EXIT_USAGE;
    }
    if (r != EXIT_DONE) {
        return r;
    }
    answer_init(&answer);
    r = ask_rows(ask, &query, 1, &answer, f);
    if (r == EXIT_DONE && answer.failure.code != 0) {
        *f = answer.failure;
        r = exit_of_failure(f);
    }
    for (size_t i = 0; i < answer.line_count; i++) {
        buffer_printf(out, "%s\n", answer.lines[i]);
    }
    answer_fini(&answer);
    return r;
}

int cancel_thing(const struct where *where, const char *thing, bool force)
{
    struct ask ask = {.socket = -1};
    struct failure f = {0};
    struct buffer out = {0};
    int r = ask_begin(where, &ask, &f);
    if (r == EXIT_DONE) {
        r = ask_cancel(&ask, thing, force, &out, &f);
    }
    ask_close(&ask);
    int written = put_out(&out);
    buffer_fini(&out);
    return r != EXIT_DONE ? complain(r, &f) : written;
}
