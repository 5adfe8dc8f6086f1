#include "raylet/descent.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/files.h"
#include "common/text.h"

#define ENVIRON_MAX  (8u << 20) /* Linux allows 6 MiB */
#define CHILDREN_MAX (1u << 20) /* bytes of a list */

struct found {
    pid_t *items;
    size_t count, max;
    pid_t parent;
};

static void add(struct found *found, pid_t pid)
{
    if (found->count < found->max) {
        found->items[found->count++] = pid;
    }
}

static pid_t pid_of(const char *text)
{
    uint64_t pid;
    return text_parse_u64(text, INT32_MAX, &pid) == 0 ? (pid_t)pid : 0;
}

void descent_each(void (*fn)(pid_t pid, void *arg), void *arg)
{
    DIR *dir = opendir("/proc");
    if (dir == NULL) {
        return;
    }
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        pid_t pid = pid_of(entry->d_name);
        if (pid != 0) {
            fn(pid, arg);
        }
    }
    closedir(dir);
}

/* The fourth field of stat; the second, the name, may hold anything but ends at the last
 * parenthesis. */
static void add_if_child(pid_t pid, void *arg)
{
    struct found *found = arg;
    char path[64];
    struct buffer text = {0};
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (files_read(path, 4096, &text) == 0) {
        const char *at = strrchr(buffer_text(&text), ')');
        char state;
        int parent;
        if (at != NULL && sscanf(at, ") %c %d", &state, &parent) == 2 && parent == found->parent) {
            add(found, pid);
        }
    }
    buffer_fini(&text);
}

/* The list that the kernel keeps for each thread, where it is built with it. */
static bool read_lists(struct found *found)
{
    DIR *dir = opendir("/proc/self/task");
    bool complete = dir != NULL;
    struct buffer text = {0};
    while (complete) {
        struct dirent *entry = readdir(dir);
        char path[64];
        if (entry == NULL) {
            break;
        }
        if (entry->d_name[0] == '.') {
            continue;
        }
        pid_t thread = pid_of(entry->d_name);
        snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)thread);
        buffer_clear(&text);
        complete = files_read(path, CHILDREN_MAX, &text) == 0;
        char *rest = complete ? (char *)buffer_text(&text) : NULL;
        for (char *word = strsep(&rest, " "); word != NULL; word = strsep(&rest, " ")) {
            pid_t pid = pid_of(word);
            if (pid != 0) {
                add(found, pid);
            }
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    buffer_fini(&text);
    return complete;
}

size_t descent_children(pid_t *ret, size_t max)
{
    struct found found = {.items = ret, .max = max, .parent = getpid()};
    if (!read_lists(&found)) {
        found.count = 0;
        descent_each(add_if_child, &found);
    }
    return found.count;
}

/* The value within `text`, or NULL. */
static const char *read_variable(pid_t pid, const char *name, struct buffer *text)
{
    char path[64];
    size_t length = strlen(name);
    snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    if (files_read(path, ENVIRON_MAX, text) != 0) {
        return NULL;
    }
    const char *at = buffer_text(text), *end = at + text->size;
    for (; at < end; at += strlen(at) + 1) {
        if (strncmp(at, name, length) == 0 && at[length] == '=') {
            return at + length + 1;
        }
    }
    return NULL;
}

bool descent_has_variable(pid_t pid, const char *name, const char *value)
{
    struct buffer text = {0};
    const char *found = read_variable(pid, name, &text);
    bool same = found != NULL && strcmp(found, value) == 0;
    buffer_fini(&text);
    return same;
}

uint64_t descent_variable_u64(pid_t pid, const char *name)
{
    struct buffer text = {0};
    uint64_t number = 0;
    const char *found = read_variable(pid, name, &text);
    if (found == NULL || text_parse_u64(found, UINT64_MAX, &number) != 0) {
        number = 0;
    }
    buffer_fini(&text);
    return number;
}
