/*
 * The names of things. Each kind is a struct of its own, so that swapped arguments do not compile.
 *
 * An object's id says where its owner is: the number of its home node, the number that this node
 * gave to the process that made it, and that process's own consecutive count. A task with r returns
 * takes r consecutive object numbers; its id is that of its first return. A put takes one. Numbers
 * begin at 1; zero is none. No number is ever used again.
 */
#ifndef COMMON_IDS_H
#define COMMON_IDS_H

#include <stdbool.h>
#include <stdint.h>

struct object_id {
    uint32_t node;   /* number of the home raylet's incarnation, given by the head */
    uint32_t client; /* number of the process that made it, given by its home raylet */
    uint64_t number; /* consecutive for each client, from 1 */
};

struct task_id {
    struct object_id first; /* its first return */
};

struct job_id {
    uint64_t number; /* given by the head, journalled; 0: none */
};

#define ID_TEXT_SIZE 48

static inline bool object_id_equal(struct object_id a, struct object_id b)
{
    return a.number == b.number && a.client == b.client && a.node == b.node;
}

static inline bool object_id_is_none(struct object_id id)
{
    return id.number == 0;
}

/* "3-7.2231": node, client, number. Returns `text`. */
const char *object_id_format(struct object_id id, char text[ID_TEXT_SIZE]);

/* 0, or -EINVAL if `text` is not exactly one id as object_id_format writes it (no sign, space or
 * leading zero). */
int object_id_parse(const char *text, struct object_id *ret)
    __attribute__((__warn_unused_result__));

#endif
