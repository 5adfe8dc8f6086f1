#include "head/core_private.h"

#include <stdio.h>

#include "common/text.h"

/*
 * A node knows how it sees itself, and that may be of use to nobody else: 127.0.0.1, or an address
 * inside a container. What others are told is from where the head sees it. A node of the head's own
 * machine comes over the loopback interface; others reach it where they reach the head. What the
 * node's user chose overrules both.
 */
static void choose(const struct head_core *core, const struct head_node *node, const char *seen,
                   char ret[HOSTPORT_SIZE])
{
    char host[HOSTPORT_HOST_SIZE], own[HOSTPORT_HOST_SIZE];
    uint16_t port, own_port;
    (void)text_copy(ret, HOSTPORT_SIZE, node->said);
    if (node->advertised || *seen == '\0' || hostport_parse(node->said, 0, host, &port) != 0) {
        return;
    }
    if (hostport_is_loopback(seen)) {
        if (hostport_parse(core->address, 1, own, &own_port) == 0) {
            hostport_format(own, port, ret);
        }
    } else if (!hostport_is_link_local(seen)) {
        hostport_format(seen, port, ret);
    }
}

static bool is_loopback(const char *address)
{
    char host[HOSTPORT_HOST_SIZE];
    uint16_t port;
    return hostport_parse(address, 1, host, &port) == 0 && hostport_is_loopback(host);
}

static void tell(struct head_core *core, struct head_node *node)
{
    struct cluster_msg msg = {.type = CLUSTER_REACH,
                              .reach = {.address = node->address, .warning = node->warning}};
    if (node->link != NULL) {
        node->reach_told = true;
        head_send(core, node->link, &msg);
    }
}

/* All that look at the cluster are told, and the node itself. */
static void set_warning(struct head_core *core, struct head_node *node, const char *warning)
{
    bool is_news = strcmp(node->warning, warning) != 0;
    if (is_news) {
        (void)text_copy(node->warning, sizeof node->warning, warning);
        head_log(core, "node %u \"%s\" %s", node->row.number, node->row.name,
                 *warning != '\0' ? warning : "can be reached now");
        node->told = false;
        head_view_touch(core, node, HASTE_NOW);
    }
    if (is_news || !node->reach_told) {
        tell(core, node);
    }
}

static void ask(struct head_core *core, struct head_node *node)
{
    node->reach_at_ns = NS_FOREVER;
    if (node->reach_asked) {
        node->reach_stale = true; /* asked again when that answer is there */
        return;
    }
    node->reach_asked = true;
    node->reach_stale = false;
    head_reach(core, node);
}

void head_reach_init(struct head_node *node, const char *address)
{
    (void)text_copy(node->address, sizeof node->address, address);
    text_clean(node->address);
    node->row.address = node->address;
    node->reach_at_ns = NS_FOREVER;
    node->reach_pause_ns = HEAD_REACH_PAUSE_NS;
}

bool head_reach_join(struct head_core *core, struct head_node *node, const char *seen,
                     const struct cluster_join *join)
{
    char chosen[HOSTPORT_SIZE];
    (void)text_copy(node->said, sizeof node->said, head_text(join->address));
    node->advertised = join->advertised;
    choose(core, node, seen, chosen);
    text_clean(chosen);
    if (strcmp(chosen, node->address) == 0) {
        return false;
    }
    (void)text_copy(node->address, sizeof node->address, chosen);
    node->told = false;
    return true;
}

void head_reach_begin(struct head_core *core, struct head_node *node)
{
    node->reach_told = false;
    node->reach_pause_ns = HEAD_REACH_PAUSE_NS;
    if (is_loopback(node->address) && !is_loopback(core->address)) {
        node->reach_stale = node->reach_asked;
        node->reach_at_ns = NS_FOREVER;
        char text[sizeof node->warning];
        snprintf(text, sizeof text,
                 "cannot be reached from other machines: its address is %s, which always means the "
                 "local machine",
                 node->address);
        set_warning(core, node, text);
        return;
    }
    ask(core, node);
}

void head_reach_seen(struct head_core *core, struct head_node *node, const char *seen)
{
    char chosen[HOSTPORT_SIZE];
    choose(core, node, seen, chosen);
    if (*seen == '\0' || *node->said == '\0' || strcmp(chosen, node->address) == 0) {
        return;
    }
    head_log(core, "node %u \"%s\" has moved from %s to %s", node->row.number, node->row.name,
             node->address, chosen);
    (void)text_copy(node->address, sizeof node->address, chosen);
    node->told = false;
    head_record_node(core, node);
    head_view_touch(core, node, HASTE_NOW);
    head_reach_begin(core, node);
}

static const char *words_of(enum head_reach reach)
{
    switch (reach) {
    case HEAD_REACH_REFUSED:
        return "nothing listens there";
    case HEAD_REACH_OTHER:
        return "another program answers there";
    case HEAD_REACH_NO_NAME:
        return "the head cannot resolve this name";
    default:
        return "nothing answers there";
    }
}

void head_reached(struct head_core *core, uint32_t number, enum head_reach reach)
{
    struct head_node *node = numbers_get(&core->nodes, number);
    char text[sizeof node->warning];
    if (node == NULL || node->row.state != HEAD_NODE_ALIVE || !node->reach_asked) {
        return;
    }
    node->reach_asked = false;
    if (node->reach_stale) {
        head_reach_begin(core, node);
        return;
    }
    if (reach == HEAD_REACH_NODE) {
        node->reach_at_ns = NS_FOREVER;
        node->reach_pause_ns = HEAD_REACH_PAUSE_NS;
        set_warning(core, node, "");
        return;
    }
    node->reach_at_ns = core->time.now_ns + node->reach_pause_ns;
    if (reach == HEAD_REACH_UNASKED) {
        return;
    }
    node->reach_pause_ns = MIN_OF(node->reach_pause_ns * 2, HEAD_REACH_MAX_NS);
    snprintf(text, sizeof text, "cannot be reached at %s: %s", node->address, words_of(reach));
    set_warning(core, node, text);
}

void head_reach_tick(struct head_core *core, struct head_node *node)
{
    if (core->time.now_ns >= node->reach_at_ns && node->link != NULL) {
        ask(core, node);
    }
}
