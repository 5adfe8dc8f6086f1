#include "proto/keys.h"
#include "tests/fuzz/fuzz.h"

/* Any bytes as a key or join file, and as an address. What is taken, is written and taken again the
 * same. */

static void try_member(struct bytes text, unsigned *line, const char **why)
{
    static struct keys_member first, second;
    static struct buffer b, again;
    if (keys_parse(text, NULL, &first, line, why) != 0) {
        return;
    }
    buffer_clear(&b);
    keys_format_member(&first, &b);
    ASSERT(keys_parse(bytes_of(b.data, b.size), NULL, &second, line, why) == 0);
    buffer_clear(&again);
    keys_format_member(&second, &again);
    ASSERT(b.size == again.size && memcmp(b.data, again.data, b.size) == 0);
}

static void try_head(struct bytes text, unsigned *line, const char **why)
{
    static struct keys_head first, second;
    static struct buffer b, again;
    if (keys_parse(text, &first, NULL, line, why) != 0) {
        return;
    }
    buffer_clear(&b);
    keys_format_head(&first, &b);
    ASSERT(keys_parse(bytes_of(b.data, b.size), &second, NULL, line, why) == 0);
    buffer_clear(&again);
    keys_format_head(&second, &again);
    ASSERT(b.size == again.size && memcmp(b.data, again.data, b.size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned line;
    const char *why;
    try_member(bytes_of(data, size), &line, &why);
    try_head(bytes_of(data, size), &line, &why);
    struct buffer text = {0};
    buffer_append(&text, data, MIN_OF(size, 1000u));
    char host[256];
    uint16_t port;
    if (hostport_parse(buffer_text(&text), 7420, host, &port) == 0) {
        ASSERT(memchr(host, '\0', sizeof host) != NULL && port != 0);
    }
    buffer_fini(&text);
    return 0;
}

/* Keys of a cluster that never was. */
static const struct keys_member member = {
    .role = PEER_NODE,
    .cluster = "default",
    .id = "0123456789abcdef0123456789abcdef",
    .addresses = {"10.0.0.5:7420", "[::1]:7420"},
    .address_count = 2,
    .server_public = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7",
    .own = {"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID", "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"},
};

bool fuzz_seed(size_t i, struct buffer *ret)
{
    static struct keys_head head;
    switch (i) {
    case 0:
        keys_format_member(&member, ret);
        return true;
    case 1:
        memcpy(head.cluster, member.cluster, sizeof member.cluster);
        memcpy(head.id, member.id, sizeof member.id);
        head.server = member.own;
        memcpy(head.access.node_public, member.server_public, sizeof member.server_public);
        memcpy(head.access.client_public, member.server_public, sizeof member.server_public);
        memcpy(head.access.reader_public, member.server_public, sizeof member.server_public);
        keys_format_head(&head, ret);
        return true;
    case 2:
        buffer_append_text(ret, "[::1]:7420");
        return true;
    default:
        return false;
    }
}
