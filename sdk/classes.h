/*
 * Checks the options that users give, and turns them into classes. A class is what tasks of one
 * function request from a node. The raylet is told of each class once; later messages contain only
 * the number of the class.
 */
#ifndef SDK_CLASSES_H
#define SDK_CLASSES_H

#include "sdk/registry.h"
#include "sdk/runtime.h"

#define CLASS_AMOUNTS_MAX 32u
#define LABELS_MAX        1024u /* as drt-node join takes them */
#define ATTEMPTS_DEFAULT  4u
#define BACKOFF_DEFAULT   LOCAL_BACKOFF_NS

/* Copies a struct of options that may be shorter or longer than ours (another version's). 0; -E2BIG
 * when it sets something that this library does not know. NULL: all zero. */
int options_copy(void *dst, size_t dst_size, const void *src, size_t src_size,
                 const char *what) MUST_CHECK;

/* The class of a task with these options: its number in *ret, told to the raylet if it is new. 0;
 * -EINVAL with a sentence; as link_write. With the lock held. In SYNC only the checks are made. */
int class_find(const struct drt_entry_ *entry, const struct drt_options *options,
               uint32_t *ret) MUST_CHECK;
void classes_forget(void); /* the raylet that knew them is gone */

#endif
