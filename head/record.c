#include "head/record.h"

#include <sodium.h>

#include "common/place.h"
#include "common/resources.h"

static int bad(const char **ret_why, const char *why)
{
    *ret_why = why;
    return -EPROTO;
}

static bool fits(const char *text, size_t most)
{
    return text == NULL || strnlen(text, most + 1) <= most;
}

static int check_amounts(const struct head_node_row *row, const char **ret_why)
{
    if (row->amount_count > RESOURCES_MAX) {
        return bad(ret_why, "it has too many resources");
    }
    for (size_t i = 0; i < row->amount_count; i++) {
        const struct cluster_amount *a = &row->amounts[i];
        if (a->name == NULL || !resource_name_ok(a->name)) {
            return bad(ret_why, "the name of one of its resources is not valid");
        }
        if (a->total_units < 0) {
            return bad(ret_why, "it has a negative amount of a resource");
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(a->name, row->amounts[k].name) == 0) {
                return bad(ret_why, "it names a resource twice");
            }
        }
    }
    return 0;
}

static int check_node(const struct head_node_row *row, const char **ret_why)
{
    if (row->number == 0) {
        return bad(ret_why, "it has no number");
    }
    if (row->state < HEAD_NODE_ALIVE || row->state > HEAD_NODE_LEFT) {
        return bad(ret_why, "its state is not known");
    }
    if (row->name == NULL || !place_name_ok(row->name)) {
        return bad(ret_why, "its name is not a valid node name");
    }
    if (!fits(row->host, HEAD_TEXT_MAX) || !fits(row->address, HEAD_TEXT_MAX) ||
        !fits(row->version, HEAD_TEXT_MAX) || !fits(row->public_key, HEAD_TEXT_MAX) ||
        !fits(row->note, HEAD_TEXT_MAX) || !fits(row->secret_digest, HEAD_DIGEST_SIZE - 1)) {
        return bad(ret_why, "its host name, address, version or key is too long");
    }
    if (!fits(row->labels, HEAD_LABELS_MAX)) {
        return bad(ret_why, "its labels have more than 1,024 bytes");
    }
    return check_amounts(row, ret_why);
}

static int check_job(const struct head_job_row *row, const char **ret_why)
{
    if (row->number == 0) {
        return bad(ret_why, "it has no number");
    }
    if (row->node == 0) {
        return bad(ret_why, "it has no node");
    }
    if (row->state < HEAD_JOB_RUNNING || row->state > HEAD_JOB_CANCELLED) {
        return bad(ret_why, "its state is not known");
    }
    if (!fits(row->name, HEAD_TEXT_MAX) || !fits(row->program, HEAD_TEXT_MAX) ||
        !fits(row->user, HEAD_TEXT_MAX)) {
        return bad(ret_why, "its name, program or user is too long");
    }
    return 0;
}

int head_record_check(const struct head_record *record, const char **ret_why)
{
    switch (record->kind) {
    case HEAD_RECORD_NODE:
        return check_node(&record->node, ret_why);
    case HEAD_RECORD_JOB:
        return check_job(&record->job, ret_why);
    case HEAD_RECORD_FORGET_NODE:
    case HEAD_RECORD_FORGET_JOB:
    case HEAD_RECORD_NUMBERS:
        return 0;
    }
    return bad(ret_why, "its kind is not known");
}

void head_secret_digest(const char *secret, char ret[HEAD_DIGEST_SIZE])
{
    unsigned char digest[(HEAD_DIGEST_SIZE - 1) / 2];
    ret[0] = '\0';
    if (secret != NULL && secret[0] != '\0') {
        int r = crypto_generichash(digest, sizeof digest, (const unsigned char *)secret,
                                   strlen(secret), NULL, 0);
        ASSERT(r == 0);
        (void)sodium_bin2hex(ret, HEAD_DIGEST_SIZE, digest, sizeof digest);
    }
}

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
    row->secret_digest = copy_text(arena, row->secret_digest);
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
