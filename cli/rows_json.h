/*
 * Rows as JSON for other programs: stable keys, units in the names, times as RFC 3339 in UTC, null
 * for what is not known. Each returns a new reference. No I/O.
 */
#ifndef CLI_ROWS_JSON_H
#define CLI_ROWS_JSON_H

#include <jansson.h>

#include "cli/answer.h"

json_t *json_of_node(const struct state_node *n, uint64_t now_unix_ms);
json_t *json_of_job(const struct state_job *j, uint64_t now_unix_ms);
json_t *json_of_task(const struct state_task *t, uint64_t now_unix_ms);
json_t *json_of_worker(const struct state_worker *k);
json_t *json_of_class(const struct state_class *c);

/* Arrays of all rows of one kind. */
json_t *json_of_nodes(const struct answer *a, uint64_t now_unix_ms);
json_t *json_of_tasks(const struct answer *a, uint64_t now_unix_ms);

/* The time as a string, null for 0; the seconds between, null if one is not known. */
json_t *json_of_time(uint64_t unix_ms);
json_t *json_of_span(uint64_t from_unix_ms, uint64_t to_unix_ms);
/* A text that came from outside: what is no UTF-8 becomes '?'. Null for NULL. */
json_t *json_of_text(const char *text);

/* Indented, ended with a newline. Consumes the value. */
void json_put(json_t *value, struct buffer *out);

#endif
