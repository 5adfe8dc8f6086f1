/*
 * What each reading verb shows: which questions it asks, and its answers as a screen and as JSON.
 * Pure: no daemon, no clock, no terminal is touched, so the screens are tested as texts.
 */
#ifndef CLI_VIEWS_H
#define CLI_VIEWS_H

#include <jansson.h>

#include "cli/answer.h"
#include "cli/screen.h"

#define VIEW_QUERIES_MAX 4

/* What the user asked for beside the verb; "" and 0 where not given. */
struct wish {
    const char *thing; /* a task, job or node; "last" */
    const char *state, *node, *name;
    uint64_t job;
    uint32_t limit;
};

struct view {
    /* Fills `ret` (zeroed) with at most VIEW_QUERIES_MAX questions and returns how many. */
    size_t (*ask)(const struct wish *w, struct state_query *ret);
    /* The answers come in the order of the questions; the first one's failure ends the verb. */
    void (*text)(const struct wish *w, const struct answer *answers, const struct screen *s,
                 struct buffer *out);
    json_t *(*json)(const struct wish *w, const struct answer *answers, uint64_t now_unix_ms);
    /* What the wish names and no answer has; NULL: nothing. NULL itself: the thing, unless the
     * first answer has rows. */
    const char *(*lacks)(const struct wish *w, const struct answer *answers, uint64_t now_unix_ms);
};

extern const struct view status_view, nodes_view, tasks_view, jobs_view, workers_view, summary_view,
    explain_view, distribute_view;

/* A query of one kind with the wish's filters, empty texts where nothing was said. */
struct state_query query_of(const struct wish *w, enum state_kind kind);

/* Newest first. */
void sort_tasks(struct answer *a);
void sort_jobs(struct answer *a);

/* Two cells, how much of a resource is in use as a number and as a bar (empty but on a terminal);
 * "-" if the node has none. */
void put_amount(struct table *t, const struct screen *s, const struct state_node *n,
                const char *name);
/* Three cells: the machine's memory in use by all its processes as a number and as a bar, and what
 * running tasks have reserved of it. */
void put_memory(struct table *t, const struct screen *s, const struct state_node *n);
/* Whether what a row says was so some time ago, and nobody could be asked. */
bool node_is_old(const struct state_node *n);
/* Its state as it is shown: "unknown" where what is known is old. */
const char *node_state(const struct state_node *n);
/* "(as of 2 min ago: alive, 3 tasks running)", to the end of the line. */
void put_old(struct table *t, const struct screen *s, const struct state_node *n);
#define TASK_STORY_SIZE 1024
/* Why a task waits, or how it ended: its raylet's words where it has some, else what its code means
 * and how often it was tried. "" if there is nothing to say. */
const char *task_story(const struct state_task *t, char out[TASK_STORY_SIZE]);
/* Whether a node serves no more. */
bool node_is_gone(const struct state_node *n);
/* A line for each node of the answer that lives and has a warning, after an empty one. */
void put_warnings(const struct answer *a, const struct screen *s, struct buffer *out);
/* Whether the summary has a line for it: not for those that left, for programs' own ones, and for
 * lost ones that came back by the same name or were lost a day ago. */
bool node_is_worth_a_line(const struct answer *a, const struct state_node *n, uint64_t now_unix_ms);

#endif
