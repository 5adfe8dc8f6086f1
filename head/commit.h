/*
 * Group commit: takes the core's records on the loop's thread, writes them on the offload thread,
 * all batches that wait in one transaction. Any error of the disk ends the process at once with a
 * line in the log (it starts again and replays): nothing that depends on such a record may leave.
 */
#ifndef HEAD_COMMIT_H
#define HEAD_COMMIT_H

#include "common/loop.h"
#include "head/journal.h"

struct committer;

/* `journal` is used by the committer alone from now on, and closed by committer_free. on_durable:
 * all records up to this number are on disk. -errno */
int committer_new(struct loop *loop, struct journal *journal,
                  void (*on_durable)(void *arg, uint64_t record), void *arg,
                  struct committer **ret) MUST_CHECK;
void committer_free(struct committer *c); /* finishes what was asked; NULL is fine */

void committer_add(struct committer *c, const struct head_record *record); /* copied */
void committer_commit(struct committer *c,
                      uint64_t record); /* what was added is up to this number */

#endif
