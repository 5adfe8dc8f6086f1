/*
 * What 'drt distribute test' found out, and how it is shown: which node ran how many of its tasks.
 * Pure, as the views are.
 */
#ifndef CLI_DISTRIBUTION_H
#define CLI_DISTRIBUTION_H

#include <jansson.h>

#include "cli/screen.h"

struct distribution_node {
    char id[40], name[64];
    bool alive;
    uint64_t tasks;
};

struct distribution {
    const char *strategy;
    const char *from;       /* the node that they were submitted on */
    uint64_t tasks, failed; /* in all; of them */
    uint64_t task_ns;       /* what each takes by itself */
    uint64_t elapsed_ns;    /* of all, from the first submit to the last result */
    const char *failure;    /* of the first that failed; "" if none */
    struct distribution_node *nodes;
    size_t node_count;
};

void distribution_text(const struct distribution *d, const struct screen *s, struct buffer *out);
json_t *distribution_json(const struct distribution *d);

#endif
