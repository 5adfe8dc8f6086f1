#include "head/record.h"

static const char *copy_text(struct arena *arena, const char *text)
{
    return text == NULL || *text == '\0' ? "" : arena_text(arena, text, strlen(text));
}

static void copy_node(struct arena *arena, struct head_node_row *row)
{
    struct cluster_amount *amounts = arena_alloc(arena, row->amount_count * sizeof *amounts);
    for (size_t i = 0; i < row->amount_count; i++) {
        amounts[i] = row->amounts[i];
        amounts[i].name = copy_text(arena, amounts[i].name);
    }
    row->amounts = amounts;
    row->name = copy_text(arena, row->name);
    row->host = copy_text(arena, row->host);
    row->address = copy_text(arena, row->address);
    row->version = copy_text(arena, row->version);
    row->public_key = copy_text(arena, row->public_key);
    row->labels = copy_text(arena, row->labels);
    row->note = copy_text(arena, row->note);
}

struct head_record head_record_copy(struct arena *arena, const struct head_record *record)
{
    struct head_record copy = *record;
    if (copy.kind == HEAD_RECORD_NODE) {
        copy_node(arena, &copy.node);
    } else if (copy.kind == HEAD_RECORD_JOB) {
        copy.job.name = copy_text(arena, copy.job.name);
        copy.job.program = copy_text(arena, copy.job.program);
        copy.job.user = copy_text(arena, copy.job.user);
    }
    return copy;
}
