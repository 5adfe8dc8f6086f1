#include "cli/rows_json.h"

#include "common/resources.h"
#include "common/text.h"

/* Sets a key and consumes the value; jansson fails only without memory. */
static void set(json_t *object, const char *key, json_t *value)
{
    int r = json_object_set_new(object, key, value);
    ASSERT(r == 0);
}

static void set_u64(json_t *object, const char *key, uint64_t value)
{
    set(object, key, json_integer((json_int_t)MIN_OF(value, (uint64_t)INT64_MAX)));
}

json_t *json_of_text(const char *text)
{
    if (text == NULL) {
        return json_null();
    }
    json_t *plain = json_string(text);
    if (plain != NULL) {
        return plain;
    }
    CLEANUP_FREE char *copy = xstrdup(text);
    text_clean(copy);
    return json_string(copy);
}

json_t *json_of_time(uint64_t unix_ms)
{
    char text[40];
    return unix_ms == 0 ? json_null() : json_string(text_format_rfc3339(unix_ms, text));
}

json_t *json_of_span(uint64_t from_unix_ms, uint64_t to_unix_ms)
{
    if (from_unix_ms == 0 || to_unix_ms < from_unix_ms) {
        return json_null();
    }
    return json_real((double)(to_unix_ms - from_unix_ms) / 1000);
}

static json_t *json_of_number(double value)
{
    bool whole = value > -9e15 && value < 9e15 && value == (double)(int64_t)value;
    return whole ? json_integer((json_int_t)value) : json_real(value);
}

static void set_pair(json_t *object, const struct state_amount *amount, const char *total_key,
                     const char *available_key)
{
    double total = resource_amount_of(amount->total_units);
    double available = resource_amount_of(amount->available_units);
    if (strstr(total_key, "_bytes") != NULL) {
        total = (double)(int64_t)(total + 0.5);
        available = (double)(int64_t)(available + 0.5);
    }
    set(object, total_key, json_of_number(total));
    set(object, available_key, json_of_number(available));
}

static void set_amounts(json_t *object, const struct state_node *n)
{
    static const struct {
        const char *name, *total, *available;
    } known[] = {
        {"CPU", "cpus_total", "cpus_available"},
        {"memory", "memory_total_bytes", "memory_available_bytes"},
        {"GPU", "gpus_total", "gpus_available"},
        {"gpu_memory", "gpu_memory_total_bytes", "gpu_memory_available_bytes"},
        {"object_store", "object_store_total_bytes", "object_store_available_bytes"},
    };
    json_t *custom = json_object();
    for (size_t i = 0; i < n->amount_count; i++) {
        size_t k = 0;
        while (k < ARRAY_SIZE(known) && strcmp(n->amounts[i].name, known[k].name) != 0) {
            k++;
        }
        if (k < ARRAY_SIZE(known)) {
            set_pair(object, &n->amounts[i], known[k].total, known[k].available);
            continue;
        }
        json_t *one = json_object();
        set_pair(one, &n->amounts[i], "total", "available");
        if (json_object_set(custom, n->amounts[i].name, one) != 0) {
            /* A name that is no UTF-8 has no place in JSON. */
        }
        json_decref(one);
    }
    set(object, "resources", custom);
}

json_t *json_of_node(const struct state_node *n, uint64_t now_unix_ms)
{
    json_t *o = json_object();
    set_u64(o, "number", n->number);
    set(o, "name", json_of_text(n->name));
    set(o, "host", json_of_text(n->host));
    set(o, "address", json_of_text(n->address));
    set(o, "state", json_of_text(n->state));
    set(o, "since", json_of_time(n->since_unix_ms));
    set(o, "for_s", json_of_span(n->since_unix_ms, now_unix_ms));
    set(o, "note", json_of_text(n->note));
    set(o, "labels", json_of_text(n->labels));
    set_u64(o, "pid", n->pid);
    set_amounts(o, n);
    set_u64(o, "tasks_waiting", n->waiting);
    set_u64(o, "tasks_running", n->running);
    set_u64(o, "tasks_done", n->done);
    set_u64(o, "tasks_failed", n->failed);
    set_u64(o, "tasks_cancelled", n->cancelled);
    set_u64(o, "workers", n->workers);
    set_u64(o, "workers_idle", n->idle_workers);
    set(o, "memory_used_bytes",
        n->memory_used_bytes != 0 ? json_integer((json_int_t)n->memory_used_bytes) : json_null());
    set(o, "heard", json_of_time(n->heard_unix_ms != 0 ? n->heard_unix_ms : now_unix_ms));
    set(o, "is_old", json_boolean(n->heard_unix_ms != 0));
    return o;
}

json_t *json_of_job(const struct state_job *j, uint64_t now_unix_ms)
{
    json_t *o = json_object();
    uint64_t until = j->ended_unix_ms != 0 ? j->ended_unix_ms : now_unix_ms;
    set_u64(o, "job", j->number);
    set(o, "name", json_of_text(j->name));
    set(o, "state", json_of_text(j->state));
    set(o, "node", json_of_text(j->node));
    set(o, "program", json_of_text(j->program));
    set(o, "user", json_of_text(j->user));
    set_u64(o, "pid", j->pid);
    set(o, "started", json_of_time(j->started_unix_ms));
    set(o, "ended", json_of_time(j->ended_unix_ms));
    set(o, "took_s", json_of_span(j->started_unix_ms, until));
    set_u64(o, "tasks_waiting", j->waiting);
    set_u64(o, "tasks_running", j->running);
    set_u64(o, "tasks_done", j->done);
    set_u64(o, "tasks_failed", j->failed);
    set_u64(o, "tasks_cancelled", j->cancelled);
    return o;
}

json_t *json_of_task(const struct state_task *t, uint64_t now_unix_ms)
{
    json_t *o = json_object();
    char id[ID_TEXT_SIZE];
    uint64_t started = t->started_unix_ms, ended = t->ended_unix_ms;
    uint64_t waited_until = started != 0 ? started : ended != 0 ? ended : now_unix_ms;

    set(o, "task", json_string(object_id_format(t->id, id)));
    set(o, "function", json_of_text(t->function));
    set(o, "name", json_of_text(text_or(t->name, t->function)));
    set(o, "state", json_of_text(t->state));
    set(o, "reason", json_of_text(t->reason));
    set(o, "node", json_of_text(t->node));
    set_u64(o, "job", t->job);
    set(o, "worker", t->worker != 0 ? json_integer((json_int_t)t->worker) : json_null());
    set_u64(o, "attempt", t->attempt);
    set_u64(o, "max_attempts", t->max_attempts);
    set_u64(o, "depth", t->depth);
    set(o, "priority", json_integer(t->priority));
    set(o, "submitted", json_of_time(t->submitted_unix_ms));
    set(o, "started", json_of_time(started));
    set(o, "ended", json_of_time(ended));
    set(o, "waited_s", json_of_span(t->submitted_unix_ms, waited_until));
    set(o, "ran_s", t->ran_ns != 0 ? json_real((double)t->ran_ns / 1e9) : json_null());
    set(o, "failed_in", *text_or(t->root, "") != '\0' ? json_of_text(t->root) : json_null());
    set(o, "error", t->code != 0 ? json_string(code_name((int)t->code)) : json_null());
    return o;
}

json_t *json_of_worker(const struct state_worker *k)
{
    json_t *o = json_object();
    char id[ID_TEXT_SIZE];
    set_u64(o, "worker", k->number);
    set(o, "node", json_of_text(k->node));
    set(o, "pid", k->pid != 0 ? json_integer((json_int_t)k->pid) : json_null());
    set(o, "state", json_of_text(k->state));
    set_u64(o, "job", k->job);
    set(o, "task", k->task.number != 0 ? json_string(object_id_format(k->task, id)) : json_null());
    set(o, "function", *text_or(k->function, "") != '\0' ? json_of_text(k->function) : json_null());
    set(o, "program", json_of_text(k->program));
    set(o, "started", json_of_time(k->started_unix_ms));
    set_u64(o, "tasks_done", k->tasks_done);
    return o;
}

json_t *json_of_class(const struct state_class *c)
{
    json_t *o = json_object();
    set(o, "function", json_of_text(c->function));
    set(o, "state", json_of_text(c->state));
    set(o, "reason", json_of_text(c->reason));
    set(o, "node", json_of_text(c->node));
    set_u64(o, "job", c->job);
    set_u64(o, "count", c->count);
    return o;
}

static void append(json_t *array, json_t *value)
{
    int r = json_array_append_new(array, value);
    ASSERT(r == 0);
}

json_t *json_of_nodes(const struct answer *a, uint64_t now_unix_ms)
{
    json_t *array = json_array();
    for (size_t i = 0; i < a->node_count; i++) {
        append(array, json_of_node(&a->nodes[i], now_unix_ms));
    }
    return array;
}

json_t *json_of_tasks(const struct answer *a, uint64_t now_unix_ms)
{
    json_t *array = json_array();
    for (size_t i = 0; i < a->task_count; i++) {
        append(array, json_of_task(&a->tasks[i], now_unix_ms));
    }
    return array;
}

static int put_bytes(const char *bytes, size_t size, void *arg)
{
    buffer_append(arg, bytes, size);
    return 0;
}

void json_put(json_t *value, struct buffer *out)
{
    int r = json_dump_callback(value, put_bytes, out, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    ASSERT(r == 0);
    buffer_append_text(out, "\n");
    json_decref(value);
}
