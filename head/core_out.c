#include "head/core_private.h"

#include "common/text.h"

#include <stdarg.h>
#include <stdio.h>

static struct head_effect *effect_add(struct head_core *core, enum head_effect_kind kind)
{
    if (core->effect_count == core->effect_room) {
        core->effect_room = MAX_OF(core->effect_room * 2, (size_t)64);
        core->effects = xrealloc(core->effects, core->effect_room * sizeof *core->effects);
    }
    struct head_effect *effect = &core->effects[core->effect_count++];
    *effect = (struct head_effect){.kind = kind, .after = core->record_last};
    return effect;
}

/* ---- records ---- */

static void record_add(struct head_core *core, const struct head_record *record)
{
    struct head_record *copy = arena_alloc(&core->turn, sizeof *copy);
    *copy = head_record_copy(&core->turn, record);
    core->record_last++;
    struct head_effect *effect = effect_add(core, HEAD_EFFECT_RECORD);
    effect->record = copy;
    effect->record_number = core->record_last;
}

void head_record_node(struct head_core *core, const struct head_node *node)
{
    record_add(core, &(struct head_record){.kind = HEAD_RECORD_NODE, .node = node->row});
}

void head_record_job(struct head_core *core, const struct head_job *job)
{
    record_add(core, &(struct head_record){.kind = HEAD_RECORD_JOB, .job = job->row});
}

void head_record_forget(struct head_core *core, enum head_record_kind kind, uint64_t number)
{
    record_add(core, &(struct head_record){.kind = kind, .number = number});
}

/* ---- what leaves, in order, after its records ---- */

static struct head_out *hold(struct head_core *core, enum head_effect_kind kind, size_t size)
{
    struct head_out *out = aligned_alloc(64, align_up(sizeof *out + size, 64));
    ASSERT(out != NULL);
    *out = (struct head_out){.kind = kind, .after = core->record_last, .size = size};
    list_append(&core->held, &out->listed);
    core->held_count++;
    core->held_bytes += sizeof *out + size;
    return out;
}

static bool is_room(const struct head_core *core, size_t size)
{
    return core->held_bytes + size <= HEAD_HELD_MAX;
}

/* A place for `size` bytes to this link; NULL: it gets no more. */
static struct head_out *hold_send(struct head_core *core, struct head_link *link, size_t size)
{
    if (link == NULL || link->closing) {
        return NULL;
    }
    if (!is_room(core, size)) {
        head_log(core, "a connection was closed: too many changes wait for the journal");
        head_drop(core, link);
        return NULL;
    }
    struct head_out *out = hold(core, HEAD_EFFECT_SEND, size);
    out->link = link->link;
    return out;
}

void head_send(struct head_core *core, struct head_link *link, const struct cluster_msg *msg)
{
    struct head_out *out = hold_send(core, link, cluster_size(msg));
    if (out != NULL) {
        cluster_encode(msg, out->message);
    }
}

struct bytes head_encode(struct head_core *core, const struct cluster_msg *msg)
{
    size_t size = cluster_size(msg);
    uint8_t *bytes = arena_alloc(&core->turn, size);
    cluster_encode(msg, bytes);
    return bytes_of(bytes, size);
}

void head_send_encoded(struct head_core *core, struct head_link *link, struct bytes message)
{
    struct head_out *out = hold_send(core, link, message.size);
    if (out != NULL) {
        memcpy(out->message, message.data, message.size);
    }
}

void head_datagram(struct head_core *core, struct head_link *link, const struct cluster_msg *msg)
{
    struct bytes message = head_encode(core, msg);
    struct head_effect *effect = effect_add(core, HEAD_EFFECT_DATAGRAM);
    effect->link = link->link;
    effect->message = message;
}

void head_drop(struct head_core *core, struct head_link *link)
{
    if (link->closing) {
        return;
    }
    link->closing = true;
    if (link->node != NULL) {
        link->node->link = NULL;
        link->node = NULL;
    }
    hold(core, HEAD_EFFECT_DROP, 0)->link = link->link;
}

void head_refuse(struct head_core *core, struct head_link *link, const struct failure *f)
{
    struct cluster_msg msg = {.type = CLUSTER_REFUSED, .refused.failure = *f};
    head_send(core, link, &msg);
    head_drop(core, link);
}

void head_tell(struct head_core *core, struct head_tool *tool, const struct local_msg *msg)
{
    if (tool == NULL || tool->closing) {
        return;
    }
    size_t size = local_size(msg);
    if (!is_room(core, size)) {
        head_tool_close(core, tool);
        return;
    }
    struct head_out *out = hold(core, HEAD_EFFECT_TOOL, size);
    out->tool = tool->tool;
    local_encode(msg, out->message);
}

void head_tool_close(struct head_core *core, struct head_tool *tool)
{
    if (!tool->closing) {
        tool->closing = true;
        hold(core, HEAD_EFFECT_TOOL_CLOSE, 0)->tool = tool->tool;
    }
}

void head_quit(struct head_core *core)
{
    hold(core, HEAD_EFFECT_QUIT, 0);
}

void head_probe(struct head_core *core, const struct head_node *node)
{
    struct head_effect *effect = effect_add(core, HEAD_EFFECT_PROBE);
    effect->node = node->row.number;
    effect->address = arena_text(&core->turn, node->row.address, strlen(node->row.address));
}

void head_reach(struct head_core *core, const struct head_node *node)
{
    struct head_effect *effect = effect_add(core, HEAD_EFFECT_REACH);
    effect->node = node->row.number;
    effect->address = arena_text(&core->turn, node->address, strlen(node->address));
    effect->key = arena_text(&core->turn, node->row.public_key, strlen(node->row.public_key));
}

void head_log(struct head_core *core, const char *format, ...)
{
    char text[600];
    va_list args;
    va_start(args, format);
    text_vformat(text, sizeof text, format, args);
    va_end(args);
    effect_add(core, HEAD_EFFECT_LOG)->text = arena_text(&core->turn, text, strlen(text));
}

/* ---- a turn ---- */

void head_out_begin(struct head_core *core)
{
    for (struct list *at = list_pop(&core->sent); at != NULL; at = list_pop(&core->sent)) {
        free(list_entry(at, struct head_out, listed));
    }
    arena_reset(&core->turn);
    core->effect_count = 0;
}

/* Whether the receiver is still there; a DROP or TOOL_CLOSE ends our side of it. */
static bool is_wanted(struct head_core *core, const struct head_out *out)
{
    struct head_link *link = NULL;
    struct head_tool *tool = NULL;
    switch (out->kind) {
    case HEAD_EFFECT_SEND:
    case HEAD_EFFECT_DROP:
        HASH_FIND(hh, core->links, &out->link, sizeof out->link, link);
        if (link != NULL && out->kind == HEAD_EFFECT_DROP) {
            HASH_DEL(core->links, link);
            free(link);
        }
        return link != NULL;
    case HEAD_EFFECT_TOOL:
    case HEAD_EFFECT_TOOL_CLOSE:
        HASH_FIND(hh, core->tools, &out->tool, sizeof out->tool, tool);
        if (tool != NULL && out->kind == HEAD_EFFECT_TOOL_CLOSE) {
            HASH_DEL(core->tools, tool);
            free(tool);
            return true;
        }
        return tool != NULL;
    default:
        return true;
    }
}

static void release(struct head_core *core, struct head_out *out)
{
    list_unlink(&out->listed);
    list_append(&core->sent, &out->listed);
    core->held_count--;
    core->held_bytes -= sizeof *out + out->size;
    if (!is_wanted(core, out)) {
        return;
    }
    struct head_effect *effect = effect_add(core, out->kind);
    effect->link = out->link;
    effect->tool = out->tool;
    effect->after = out->after;
    effect->message = bytes_of(out->message, out->size);
}

void head_out_finish(struct head_core *core)
{
    if (core->record_last > core->record_asked) {
        core->record_asked = core->record_last;
        effect_add(core, HEAD_EFFECT_COMMIT)->record_number = core->record_last;
    }
    LIST_FOREACH_SAFE(at, &core->held)
    {
        struct head_out *out = list_entry(at, struct head_out, listed);
        if (out->after > core->record_committed) {
            break;
        }
        release(core, out);
    }
}

void head_out_fini(struct head_core *core)
{
    head_out_begin(core);
    for (struct list *at = list_pop(&core->held); at != NULL; at = list_pop(&core->held)) {
        free(list_entry(at, struct head_out, listed));
    }
    arena_fini(&core->turn);
    free(core->effects);
}
