#include "cli/answer.h"

#include "common/resources.h"

void answer_init(struct answer *a)
{
    *a = (struct answer){.cluster = "", .head_address = ""};
}

void answer_fini(struct answer *a)
{
    arena_fini(&a->arena);
    free(a->nodes);
    free(a->jobs);
    free(a->tasks);
    free(a->classes);
    free(a->workers);
    free(a->functions);
    free((void *)a->lines);
    free(a->outputs);
    buffer_fini(&a->log);
    answer_init(a);
}

/* Appends `count` things of `size` bytes to an array that holds *n of them. */
static void *append(void *array, size_t *n, const void *more, size_t count, size_t size)
{
    if (count == 0) {
        return array;
    }
    char *grown = xrealloc(array, (*n + count) * size);
    memcpy(grown + *n * size, more, count * size);
    *n += count;
    return grown;
}

#define APPEND(a, rows, count, reply)                                                              \
    ((a)->rows =                                                                                   \
         append((void *)(a)->rows, &(a)->count, (reply)->rows, (reply)->count, sizeof *(a)->rows))

static size_t row_count(const struct answer *a)
{
    return a->node_count + a->job_count + a->task_count + a->class_count + a->worker_count +
           a->function_count + a->line_count + a->output_count;
}

int answer_add(struct answer *a, const struct state_reply *reply)
{
    if (a->whole) {
        return -EPROTO;
    }
    size_t more = reply->node_count + reply->job_count + reply->task_count + reply->class_count +
                  reply->worker_count + reply->function_count + reply->line_count +
                  reply->output_count;
    if (more > STATE_ROWS_MAX || row_count(a) + more > STATE_ROWS_MAX) {
        return -EOVERFLOW;
    }
    APPEND(a, nodes, node_count, reply);
    APPEND(a, jobs, job_count, reply);
    APPEND(a, tasks, task_count, reply);
    APPEND(a, classes, class_count, reply);
    APPEND(a, workers, worker_count, reply);
    APPEND(a, functions, function_count, reply);
    APPEND(a, lines, line_count, reply);
    APPEND(a, outputs, output_count, reply);
    a->outputs_lost = a->outputs_lost || reply->outputs_lost;
    if (reply->log.size != 0) {
        if (a->log.size == 0) {
            a->log_offset = reply->log_offset;
        }
        buffer_append(&a->log, reply->log.data, reply->log.size);
    } else if (a->log.size == 0) {
        a->log_offset = reply->log_offset;
    }
    a->log_end = MAX_OF(a->log_end, reply->log_end);
    a->log_closed = a->log_closed || reply->log_closed;
    if (reply->failure.code != 0 && a->failure.code == 0) {
        a->failure = reply->failure;
    }
    a->cluster = text_or(reply->cluster, a->cluster);
    a->head_address = text_or(reply->head_address, a->head_address);
    a->head_pid = reply->head_pid != 0 ? reply->head_pid : a->head_pid;
    a->head_started_unix_ms =
        reply->head_started_unix_ms != 0 ? reply->head_started_unix_ms : a->head_started_unix_ms;
    a->whole = reply->last;
    return 0;
}

static void refresh(struct state_node *row, const struct state_node *now)
{
    row->amounts = now->amounts;
    row->amount_count = now->amount_count;
    row->waiting = now->waiting;
    row->running = now->running;
    row->done = now->done;
    row->failed = now->failed;
    row->cancelled = now->cancelled;
    row->workers = now->workers;
    row->idle_workers = now->idle_workers;
    row->memory_used_bytes = now->memory_used_bytes;
    row->heard_unix_ms = 0;
}

void answer_refresh(struct answer *nodes, const struct answer *now)
{
    for (size_t i = 0; i < now->node_count; i++) {
        for (size_t k = 0; k < nodes->node_count; k++) {
            if (nodes->nodes[k].number == now->nodes[i].number) {
                refresh(&nodes->nodes[k], &now->nodes[i]);
                break;
            }
        }
    }
}

void answer_amount(const struct state_node *n, const char *name, double *ret_total,
                   double *ret_available)
{
    *ret_total = *ret_available = 0;
    for (size_t i = 0; i < n->amount_count; i++) {
        if (strcmp(n->amounts[i].name, name) == 0) {
            *ret_total = resource_amount_of(n->amounts[i].total_units);
            *ret_available = resource_amount_of(n->amounts[i].available_units);
            return;
        }
    }
}
