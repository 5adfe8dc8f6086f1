/*
 * What a program may ask about the cluster: drt_nodes, drt_total, drt_available.
 */
#include <stdio.h>
#include <sys/sysinfo.h>

#include "common/clock.h"
#include "common/resources.h"
#include "common/text.h"
#include "sdk/requests.h"

#define ANSWER_LIMIT (5 * NS_PER_S)

struct question {
    struct request request; /* first */
    struct drt_node *nodes;
    size_t capacity, count;
    char *resource; /* NULL: the nodes are wanted */
    double total, available;
    struct failure failure;
};

static void read_node(struct drt_node *ret, const struct state_node *row)
{
    *ret = (struct drt_node){.alive = strcmp(row->state, "alive") == 0};
    snprintf(ret->id, sizeof ret->id, "%u", row->number);
    text_copy(ret->name, sizeof ret->name, row->name);
    text_copy(ret->address, sizeof ret->address, row->address);
    for (size_t i = 0; i < row->amount_count; i++) {
        const struct state_amount *a = &row->amounts[i];
        if (strcmp(a->name, "CPU") == 0) {
            ret->cpus_total = resource_amount_of(a->total_units);
            ret->cpus_available = resource_amount_of(MAX_OF(a->available_units, 0));
        } else if (strcmp(a->name, "memory") == 0) {
            ret->memory_total_bytes = (uint64_t)(a->total_units / RESOURCE_UNIT);
            ret->memory_available_bytes = (uint64_t)(MAX_OF(a->available_units, 0) / RESOURCE_UNIT);
        }
    }
}

static struct question *question_new(size_t capacity, const char *resource)
{
    struct question *q = xcalloc(1, sizeof *q);
    q->capacity = capacity;
    q->nodes = xcalloc(capacity + 1, sizeof *q->nodes);
    q->resource = resource != NULL ? xstrdup(resource) : NULL;
    return q;
}

static void question_free(struct question *q)
{
    free(q->nodes);
    free(q->resource);
    free(q);
}

static void take_reply(struct request *r, const struct local_reply *reply)
{
    struct question *q = (struct question *)(void *)r;
    if (reply->reply.failure.code != 0) {
        q->failure = reply->reply.failure;
    }
    for (size_t i = 0; i < reply->reply.node_count; i++) {
        const struct state_node *row = &reply->reply.nodes[i];
        if (q->resource == NULL) {
            if (q->count < q->capacity) {
                read_node(&q->nodes[q->count], row);
            }
            q->count++;
            continue;
        }
        for (size_t k = 0; k < row->amount_count && strcmp(row->state, "alive") == 0; k++) {
            if (strcmp(row->amounts[k].name, q->resource) == 0) {
                q->total += resource_amount_of(row->amounts[k].total_units);
                q->available += resource_amount_of(MAX_OF(row->amounts[k].available_units, 0));
            }
        }
    }
}

static int ask(struct question *q)
{
    struct local_msg m = {
        .type = LOCAL_QUERY,
        .query = {.query = {.kind = STATE_NODES,
                            .limit = STATE_ROWS_MAX,
                            .id = "",
                            .node = "",
                            .state = "",
                            .name = ""}},
    };
    q->request.reply = take_reply;
    runtime_lock();
    int r = request_ask(&q->request, &m, ns_add(clock_now_ns(), ANSWER_LIMIT));
    runtime_unlock();
    if (r == 0 && q->failure.code != 0) {
        r = error_set_failure(&q->failure);
    }
    return r;
}

/* Sync mode: this process is the cluster. */
static void this_process(struct drt_node *ret)
{
    struct sysinfo info = {0};
    (void)sysinfo(&info);
    *ret = (struct drt_node){.alive = true, .cpus_total = runtime.num_cpus};
    ret->cpus_available = ret->cpus_total;
    ret->memory_total_bytes = (uint64_t)info.totalram * info.mem_unit;
    ret->memory_available_bytes = (uint64_t)info.freeram * info.mem_unit;
    text_copy(ret->id, sizeof ret->id, "0");
    text_copy(ret->name, sizeof ret->name, runtime.node_name);
    text_copy(ret->address, sizeof ret->address, "this process");
}

int drt_nodes_(struct drt_node *ret, size_t capacity, size_t node_size, size_t *ret_count)
{
    int r = runtime_enter();
    if (r != 0) {
        return r;
    }
    if (capacity > SIZE_MAX / sizeof(struct drt_node) || (ret == NULL && capacity != 0)) {
        return error_set(-EINVAL, "drt_nodes was given no room for %zu nodes", capacity);
    }
    struct question *q = question_new(MIN_OF(capacity, STATE_ROWS_MAX), NULL);
    if (runtime_is_linked()) {
        r = ask(q);
    } else {
        this_process(&q->nodes[0]);
        q->count = 1;
    }
    for (size_t i = 0; i < MIN_OF(q->count, q->capacity) && r == 0; i++) {
        memset((char *)ret + i * node_size, 0, node_size);
        memcpy((char *)ret + i * node_size, &q->nodes[i], MIN_OF(node_size, sizeof *q->nodes));
    }
    if (r == 0 && ret_count != NULL) {
        *ret_count = q->count;
    }
    question_free(q);
    return r;
}

static void amounts(const char *resource, double *ret_total, double *ret_available)
{
    struct drt_node here;
    *ret_total = *ret_available = 0;
    if (resource == NULL || runtime_enter() != 0) {
        return;
    }
    if (runtime_is_linked()) {
        struct question *q = question_new(0, resource);
        if (ask(q) == 0) {
            *ret_total = q->total;
            *ret_available = q->available;
        }
        question_free(q);
        return;
    }
    this_process(&here);
    if (strcmp(resource, "CPU") == 0) {
        *ret_total = here.cpus_total;
        *ret_available = here.cpus_available;
    } else if (strcmp(resource, "memory") == 0) {
        *ret_total = (double)here.memory_total_bytes;
        *ret_available = (double)here.memory_available_bytes;
    }
}

const char *drt_node_name(void)
{
    return runtime_enter() == 0 ? runtime.node_name : "";
}

double drt_total(const char *resource)
{
    double total, available;
    amounts(resource, &total, &available);
    return total;
}

double drt_available(const char *resource)
{
    double total, available;
    amounts(resource, &total, &available);
    return available;
}
