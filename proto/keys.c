#include "proto/keys.h"

#include <sodium.h>
#include <stdio.h>
#include <zmq.h>

#include "common/files.h"
#include "common/text.h"

#define KEY_FILE_VERSION "drt-key 1"
#define LINE_MAX_SIZE    512u
#define HEAD_FILE        "head.key"

/* All that a file may say; what of it must be there depends on the kind. */
struct fields {
    char kind[16];
    char cluster[64];
    char id[KEYS_ID_SIZE];
    char server_public[KEYS_TEXT_SIZE], server_secret[KEYS_TEXT_SIZE];
    char node_public[KEYS_TEXT_SIZE], client_public[KEYS_TEXT_SIZE], reader_public[KEYS_TEXT_SIZE];
    char public_key[KEYS_TEXT_SIZE], secret_key[KEYS_TEXT_SIZE];
};

enum field_form { FORM_WORD, FORM_NAME, FORM_ID, FORM_KEY };

#define IN_HEAD   1u
#define IN_MEMBER 2u

static const struct field {
    const char *name;
    size_t offset, size;
    enum field_form form;
    unsigned where;
} field_table[] = {
#define FIELD(text, member, form, where)                                                           \
    {                                                                                              \
        text, offsetof(struct fields, member), sizeof(((struct fields *)0)->member), form, where   \
    }
    FIELD("kind", kind, FORM_WORD, IN_HEAD | IN_MEMBER),
    FIELD("cluster", cluster, FORM_NAME, IN_HEAD | IN_MEMBER),
    FIELD("id", id, FORM_ID, IN_HEAD | IN_MEMBER),
    FIELD("server-public", server_public, FORM_KEY, IN_HEAD | IN_MEMBER),
    FIELD("server-secret", server_secret, FORM_KEY, IN_HEAD),
    FIELD("node-public", node_public, FORM_KEY, IN_HEAD),
    FIELD("client-public", client_public, FORM_KEY, IN_HEAD),
    FIELD("reader-public", reader_public, FORM_KEY, IN_HEAD),
    FIELD("public", public_key, FORM_KEY, IN_MEMBER),
    FIELD("secret", secret_key, FORM_KEY, IN_MEMBER),
#undef FIELD
};

static const struct role_file {
    enum peer_role role;
    const char *kind, *file;
} role_files[] = {
    {PEER_NODE, "node", "join.key"},
    {PEER_CLIENT, "client", "client.key"},
    {PEER_READER, "reader", "reader.key"},
};

static const struct role_file *find_role(enum peer_role role)
{
    for (size_t i = 0; i < ARRAY_SIZE(role_files); i++) {
        if (role_files[i].role == role) {
            return &role_files[i];
        }
    }
    return NULL;
}

int keys_pair_new(struct keys_pair *ret)
{
    struct keys_pair pair;
    if (zmq_curve_keypair(pair.public_key, pair.secret_key) != 0) {
        return -errno;
    }
    *ret = pair;
    sodium_memzero(&pair, sizeof pair);
    return 0;
}

/* ---- reading ---- */

struct parser {
    struct fields fields;
    bool seen[ARRAY_SIZE(field_table)];
    char addresses[KEYS_ADDRESSES_MAX][HOSTPORT_SIZE];
    size_t address_count;
};

static const char *check_value(enum field_form form, const char *value)
{
    uint8_t raw[32];
    switch (form) {
    case FORM_WORD:
        return NULL;
    case FORM_NAME:
        return place_name_ok(value) ? NULL : "this is not a valid cluster name";
    case FORM_ID:
        return strlen(value) == KEYS_ID_SIZE - 1 &&
                       strspn(value, "0123456789abcdef") == KEYS_ID_SIZE - 1
                   ? NULL
                   : "an id has 32 hexadecimal digits";
    case FORM_KEY:
        return strlen(value) == KEYS_TEXT_SIZE - 1 && zmq_z85_decode(raw, value) != NULL
                   ? NULL
                   : "a key has 40 characters of Z85";
    }
    return "unknown form";
}

static const char *take_address(struct parser *p, const char *value)
{
    char host[256];
    uint16_t port;
    if (p->address_count == KEYS_ADDRESSES_MAX) {
        return "too many addresses";
    }
    if (strlen(value) >= HOSTPORT_SIZE || hostport_parse(value, 0, host, &port) != 0) {
        return "an address has the form host:port";
    }
    text_copy(p->addresses[p->address_count++], HOSTPORT_SIZE, value);
    return NULL;
}

/* Returns what is wrong, or NULL. `line` is changed. */
static const char *take_line(struct parser *p, char *line)
{
    char *value = strchr(line, ' ');
    if (value == NULL) {
        return "a line must have the form: name value";
    }
    *value++ = '\0';
    if (strcmp(line, "address") == 0) {
        return take_address(p, value);
    }
    for (size_t i = 0; i < ARRAY_SIZE(field_table); i++) {
        const struct field *field = &field_table[i];
        if (strcmp(line, field->name) != 0) {
            continue;
        }
        if (p->seen[i]) {
            return "this name appears twice";
        }
        if (strlen(value) >= field->size) {
            return "the value is too long";
        }
        const char *why = check_value(field->form, value);
        if (why == NULL) {
            p->seen[i] = true;
            text_copy((char *)&p->fields + field->offset, field->size, value);
        }
        return why;
    }
    return "unknown name";
}

static const char *take_text(struct parser *p, struct bytes text, unsigned *ret_line)
{
    const char *at = text.data, *end = at + text.size;
    for (*ret_line = 1; at < end; (*ret_line)++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t size = (size_t)((stop != NULL ? stop : end) - at);
        char line[LINE_MAX_SIZE];
        if (size >= sizeof line) {
            return "the line is too long";
        }
        memcpy(line, at, size);
        line[size] = '\0';
        for (size_t i = 0; i < size; i++) {
            if (line[i] < ' ' || line[i] > '~') {
                return "it contains a character that is not printable ASCII";
            }
        }
        if (*ret_line == 1) {
            if (strcmp(line, KEY_FILE_VERSION) != 0) {
                return "this is not a key file of this version of drt (its first line is not "
                       "'" KEY_FILE_VERSION "')";
            }
        } else if (size != 0 && line[0] != '#') {
            const char *why = take_line(p, line);
            if (why != NULL) {
                return why;
            }
        }
        at = stop != NULL ? stop + 1 : end;
    }
    *ret_line = 0;
    return NULL;
}

/* Everything that belongs to the kind is there, and nothing else. */
static const char *check_complete(const struct parser *p, unsigned where)
{
    for (size_t i = 0; i < ARRAY_SIZE(field_table); i++) {
        bool belongs = (field_table[i].where & where) != 0;
        if (belongs != p->seen[i]) {
            return belongs ? "it is not complete"
                           : "it contains a name that does not belong in this file";
        }
    }
    return where == IN_HEAD && p->address_count != 0
               ? "it contains a name that does not belong in this file"
               : NULL;
}

static void fill_head(const struct parser *p, struct keys_head *ret)
{
    *ret = (struct keys_head){0};
    text_copy(ret->cluster, sizeof ret->cluster, p->fields.cluster);
    text_copy(ret->id, sizeof ret->id, p->fields.id);
    text_copy(ret->server.public_key, KEYS_TEXT_SIZE, p->fields.server_public);
    text_copy(ret->server.secret_key, KEYS_TEXT_SIZE, p->fields.server_secret);
    text_copy(ret->access.node_public, KEYS_TEXT_SIZE, p->fields.node_public);
    text_copy(ret->access.client_public, KEYS_TEXT_SIZE, p->fields.client_public);
    text_copy(ret->access.reader_public, KEYS_TEXT_SIZE, p->fields.reader_public);
}

static void fill_member(const struct parser *p, enum peer_role role, struct keys_member *ret)
{
    *ret = (struct keys_member){.role = role, .address_count = p->address_count};
    text_copy(ret->cluster, sizeof ret->cluster, p->fields.cluster);
    text_copy(ret->id, sizeof ret->id, p->fields.id);
    text_copy(ret->server_public, KEYS_TEXT_SIZE, p->fields.server_public);
    text_copy(ret->own.public_key, KEYS_TEXT_SIZE, p->fields.public_key);
    text_copy(ret->own.secret_key, KEYS_TEXT_SIZE, p->fields.secret_key);
    memcpy(ret->addresses, p->addresses, sizeof ret->addresses);
}

static const char *take_kind(const struct parser *p, struct keys_head *ret_head,
                             struct keys_member *ret_member)
{
    if (strcmp(p->fields.kind, "head") == 0) {
        if (ret_head == NULL) {
            return "this is the head's own key, which only the head may use";
        }
        const char *why = check_complete(p, IN_HEAD);
        if (why == NULL) {
            fill_head(p, ret_head);
        }
        return why;
    }
    for (size_t i = 0; i < ARRAY_SIZE(role_files); i++) {
        if (strcmp(p->fields.kind, role_files[i].kind) == 0) {
            const char *why =
                ret_member == NULL ? "this is not the key of a head" : check_complete(p, IN_MEMBER);
            if (why == NULL) {
                fill_member(p, role_files[i].role, ret_member);
            }
            return why;
        }
    }
    return "its kind is not head, node, client or reader";
}

int keys_parse(struct bytes text, struct keys_head *ret_head, struct keys_member *ret_member,
               unsigned *ret_line, const char **ret_why)
{
    ASSERT((ret_head == NULL) != (ret_member == NULL));
    struct parser p = {0};
    unsigned line = 0;
    const char *why = text.size > KEYS_FILE_MAX ? "it is too large"
                      : text.size == 0          ? "it is empty"
                                                : take_text(&p, text, &line);
    if (why == NULL) {
        why = take_kind(&p, ret_head, ret_member);
    }
    sodium_memzero(&p, sizeof p);
    if (why != NULL) {
        *ret_line = line;
        *ret_why = why;
        return -EPROTO;
    }
    return 0;
}

/* ---- writing ---- */

static void format_start(struct buffer *b, const char *kind, const char *cluster, const char *id)
{
    buffer_append_text(
        b, KEY_FILE_VERSION
        "\n# Secret: whoever has this file can use the cluster with the rights of this key.\n");
    buffer_printf(b, "kind %s\ncluster %s\nid %s\n", kind, cluster, id);
}

void keys_format_head(const struct keys_head *keys, struct buffer *ret)
{
    format_start(ret, "head", keys->cluster, keys->id);
    buffer_printf(ret, "server-public %s\nserver-secret %s\n", keys->server.public_key,
                  keys->server.secret_key);
    buffer_printf(ret, "node-public %s\nclient-public %s\nreader-public %s\n",
                  keys->access.node_public, keys->access.client_public, keys->access.reader_public);
}

void keys_format_member(const struct keys_member *keys, struct buffer *ret)
{
    const struct role_file *role = find_role(keys->role);
    ASSERT(role != NULL);
    format_start(ret, role->kind, keys->cluster, keys->id);
    for (size_t i = 0; i < keys->address_count; i++) {
        buffer_printf(ret, "address %s\n", keys->addresses[i]);
    }
    buffer_printf(ret, "server-public %s\npublic %s\nsecret %s\n", keys->server_public,
                  keys->own.public_key, keys->own.secret_key);
}

static int write_file(const char *path, struct buffer *text, struct failure *f)
{
    int r = files_write_atomic(path, text->data, text->size, 0600);
    sodium_memzero(text->data, text->size);
    buffer_fini(text);
    return r == 0 ? 0
                  : failure_set(f, CODE_FAILED, "%s cannot be written: %s.", path, strerror(-r));
}

static int inside(const struct place *place, const char *file, char ret[PLACE_PATH_MAX],
                  struct failure *f)
{
    return place_path(place, file, ret) == 0
               ? 0
               : failure_set(f, CODE_FAILED, "The path %s is too long. Choose another directory.",
                             place->dir);
}

static int write_member(const struct place *place, const struct keys_member *keys,
                        struct failure *f)
{
    char path[PLACE_PATH_MAX];
    int code = inside(place, find_role(keys->role)->file, path, f);
    if (code != 0) {
        return code;
    }
    struct buffer text = {0};
    keys_format_member(keys, &text);
    return write_file(path, &text, f);
}

/* Makes fresh keys and writes all files, head.key last: where it is, the others are. `addresses`
 * may have none. */
static int write_fresh(const struct place *place, struct keys_head *keys,
                       const struct keys_member *addresses, struct failure *f)
{
    char *publics[] = {keys->access.node_public, keys->access.client_public,
                       keys->access.reader_public};
    int r = keys_pair_new(&keys->server);
    for (size_t i = 0; i < ARRAY_SIZE(role_files) && r == 0; i++) {
        struct keys_member member = *addresses;
        member.role = role_files[i].role;
        text_copy(member.cluster, sizeof member.cluster, keys->cluster);
        text_copy(member.id, sizeof member.id, keys->id);
        text_copy(member.server_public, KEYS_TEXT_SIZE, keys->server.public_key);
        r = keys_pair_new(&member.own);
        if (r == 0) {
            text_copy(publics[i], KEYS_TEXT_SIZE, member.own.public_key);
            int code = write_member(place, &member, f);
            if (code != 0) {
                return code;
            }
        }
        sodium_memzero(&member, sizeof member);
    }
    if (r != 0) {
        return failure_set(f, CODE_FAILED, "No keys could be made: %s.", strerror(-r));
    }
    char path[PLACE_PATH_MAX];
    int code = inside(place, HEAD_FILE, path, f);
    if (code != 0) {
        return code;
    }
    struct buffer text = {0};
    keys_format_head(keys, &text);
    return write_file(path, &text, f);
}

int keys_create(const struct place *place, const char *cluster, struct keys_head *ret,
                struct failure *f)
{
    struct keys_head keys = {0};
    struct keys_member none = {0};
    uint8_t id[(KEYS_ID_SIZE - 1) / 2];
    char path[PLACE_PATH_MAX];
    unsigned mode;
    int code = inside(place, HEAD_FILE, path, f);
    if (code != 0) {
        return code;
    }
    if (files_check_private(path, &mode) != -ENOENT) {
        return failure_set(f, CODE_EXISTS, "%s already exists.", path);
    }
    if (!place_name_ok(cluster) || sodium_init() < 0) {
        return failure_set(f, CODE_FAILED, "\"%s\" is not a valid cluster name.", cluster);
    }
    text_copy(keys.cluster, sizeof keys.cluster, cluster);
    randombytes_buf(id, sizeof id);
    sodium_bin2hex(keys.id, sizeof keys.id, id, sizeof id);
    code = write_fresh(place, &keys, &none, f);
    if (code == 0) {
        *ret = keys;
    }
    sodium_memzero(&keys, sizeof keys);
    return code;
}

int keys_rekey(const struct place *place, struct keys_head *ret, struct failure *f)
{
    struct keys_head keys;
    struct keys_member old = {0};
    struct failure ignored;
    char path[PLACE_PATH_MAX];
    int code = inside(place, HEAD_FILE, path, f);
    if (code != 0) {
        return code;
    }
    /* Others may have read the old ones: that is a reason to be here, not to stop. */
    CLEANUP(buffer_fini) struct buffer text = {0};
    unsigned line;
    const char *why;
    int r = files_read(path, KEYS_FILE_MAX, &text);
    if (r != 0) {
        return failure_set(f, r == -ENOENT ? CODE_NOT_FOUND : CODE_FAILED, "%s cannot be read: %s.",
                           path, strerror(-r));
    }
    if (keys_parse(bytes_of(text.data, text.size), &keys, NULL, &line, &why) != 0) {
        return failure_set(f, CODE_REFUSED, "%s, line %u: %s.", path, line, why);
    }
    if (keys_load_role(place, PEER_NODE, &old, &ignored) != 0) {
        old = (struct keys_member){0}; /* then the addresses come with the next start */
    }
    code = write_fresh(place, &keys, &old, f);
    if (code == 0) {
        *ret = keys;
    }
    sodium_memzero(&keys, sizeof keys);
    return code;
}

/* ---- loading ---- */

static int load(const char *path, struct keys_head *ret_head, struct keys_member *ret_member,
                struct failure *f)
{
    unsigned mode = 0, line;
    const char *why;
    int r = files_check_private(path, &mode);
    if (r == -EPERM && (mode & 077) != 0) {
        return failure_set(f, CODE_REFUSED,
                           "%s can be read by others (mode %04o). Run 'chmod 600 %s' if nobody "
                           "has copied it, else 'drt-head rekey'.",
                           path, mode & 07777, path);
    }
    if (r == -EPERM) {
        return failure_set(f, CODE_REFUSED, "%s belongs to another user. Make a copy of your own.",
                           path);
    }
    CLEANUP(buffer_fini) struct buffer text = {0};
    r = r == 0 ? files_read(path, KEYS_FILE_MAX, &text) : r;
    if (r == -ENOENT) {
        return failure_set(f, CODE_NOT_FOUND, "%s does not exist.", path);
    }
    if (r != 0) {
        return failure_set(f, CODE_REFUSED, "%s cannot be read: %s.", path, strerror(-r));
    }
    r = keys_parse(bytes_of(text.data, text.size), ret_head, ret_member, &line, &why);
    if (text.data != NULL) {
        sodium_memzero(text.data, text.size);
    }
    if (r != 0 && line != 0) {
        return failure_set(f, CODE_REFUSED, "%s, line %u: %s.", path, line, why);
    }
    if (r != 0) {
        return failure_set(f, CODE_REFUSED, "%s cannot be used: %s.", path, why);
    }
    return 0;
}

int keys_load_head(const struct place *place, struct keys_head *ret, struct failure *f)
{
    char path[PLACE_PATH_MAX];
    int code = inside(place, HEAD_FILE, path, f);
    return code != 0 ? code : load(path, ret, NULL, f);
}

int keys_load_member(const char *path, enum peer_role role, struct keys_member *ret,
                     struct failure *f)
{
    struct keys_member keys;
    int code = load(path, NULL, &keys, f);
    if (code != 0) {
        return code;
    }
    const struct role_file *wanted = find_role(role);
    if (wanted != NULL && keys.role != role) {
        return failure_set(f, CODE_REFUSED,
                           "%s is a key for a %s, and a key for a %s is needed: %s of the head's "
                           "directory.",
                           path, find_role(keys.role)->kind, wanted->kind, wanted->file);
    }
    *ret = keys;
    sodium_memzero(&keys, sizeof keys);
    return 0;
}

int keys_load_role(const struct place *place, enum peer_role role, struct keys_member *ret,
                   struct failure *f)
{
    const struct role_file *file = find_role(role);
    ASSERT(file != NULL);
    char path[PLACE_PATH_MAX];
    int code = inside(place, file->file, path, f);
    return code != 0 ? code : keys_load_member(path, role, ret, f);
}

static bool same_addresses(const struct keys_member *keys, const char *const *addresses,
                           size_t count)
{
    bool same = keys->address_count == count;
    for (size_t i = 0; i < count && same; i++) {
        same = strcmp(keys->addresses[i], addresses[i]) == 0;
    }
    return same;
}

int keys_set_addresses(const struct place *place, const char *const *addresses, size_t count,
                       struct failure *f)
{
    char host[256];
    uint16_t port;
    ASSERT(count <= KEYS_ADDRESSES_MAX);
    for (size_t i = 0; i < count; i++) {
        if (hostport_parse(addresses[i], 0, host, &port) != 0) {
            return failure_set(f, CODE_FAILED, "\"%s\" is not an address.", addresses[i]);
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(role_files); i++) {
        struct keys_member keys;
        int code = keys_load_role(place, role_files[i].role, &keys, f);
        if (code == 0 && !same_addresses(&keys, addresses, count)) {
            keys.address_count = count;
            for (size_t k = 0; k < count; k++) {
                text_copy(keys.addresses[k], HOSTPORT_SIZE, addresses[k]);
            }
            code = write_member(place, &keys, f);
        }
        sodium_memzero(&keys, sizeof keys);
        if (code != 0) {
            return code;
        }
    }
    return 0;
}
