#include "raylet/dump_file.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/files.h"
#include "common/text.h"

static void read_line(const char *path, char *ret, size_t size)
{
    struct buffer text = {0};
    ret[0] = '\0';
    if (files_read(path, 4096, &text) == 0) {
        text_shorten(ret, size, buffer_text(&text));
        ret[strcspn(ret, "\n")] = '\0';
    }
    buffer_fini(&text);
}

/* What is known here of a process that is gone: others stay as they are. */
static bool expand(char letter, pid_t pid, int signal, struct buffer *out)
{
    switch (letter) {
    case 'p':
    case 'P':
    case 'i':
    case 'I':
        buffer_printf(out, "%d", (int)pid);
        return true;
    case 'u':
        buffer_printf(out, "%u", (unsigned)getuid());
        return true;
    case 's':
        buffer_printf(out, "%d", signal);
        return true;
    case '%':
        buffer_append_text(out, "%");
        return true;
    default:
        return false;
    }
}

void dump_file_name(const char *pattern, bool uses_pid, pid_t pid, int signal, const char *cwd,
                    char ret[DUMP_FILE_TEXT])
{
    struct buffer out = {0};
    if (pattern[0] != '/' && cwd[0] != '\0') {
        buffer_printf(&out, "%s/", cwd);
    }
    bool has_pid = strstr(pattern, "%p") != NULL;
    for (const char *at = pattern; *at != '\0'; at++) {
        if (*at == '%' && expand(at[1], pid, signal, &out)) {
            at++;
        } else {
            buffer_append(&out, at, 1);
        }
    }
    if (uses_pid && !has_pid) {
        buffer_printf(&out, ".%d", (int)pid);
    }
    text_shorten(ret, DUMP_FILE_TEXT, buffer_text(&out));
    buffer_fini(&out);
}

void dump_file_describe(pid_t pid, int wait_status, const char *cwd, char ret[DUMP_FILE_TEXT])
{
    char pattern[160], uses_pid[8], name[DUMP_FILE_TEXT];
    ret[0] = '\0';
    if (!WIFSIGNALED(wait_status) || !WCOREDUMP(wait_status)) {
        return;
    }
    read_line("/proc/sys/kernel/core_pattern", pattern, sizeof pattern);
    read_line("/proc/sys/kernel/core_uses_pid", uses_pid, sizeof uses_pid);
    if (strstr(pattern, "systemd-coredump") != NULL) {
        snprintf(ret, DUMP_FILE_TEXT, "coredumpctl debug %d", (int)pid);
        return;
    }
    if (pattern[0] == '|') {
        pattern[strcspn(pattern, " ")] = '\0';
        snprintf(ret, DUMP_FILE_TEXT, "given to %s", pattern + 1);
        return;
    }
    dump_file_name(pattern, uses_pid[0] == '1', pid, WTERMSIG(wait_status), cwd, name);
    if (access(name, F_OK) == 0) {
        text_shorten(ret, DUMP_FILE_TEXT, name);
    } else { /* the body went elsewhere, or the name has what only the kernel knows */
        snprintf(ret, DUMP_FILE_TEXT, "%s, from where it ran (kernel.core_pattern)", pattern);
    }
    text_clean(ret);
}
