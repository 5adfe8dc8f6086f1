#include "head/rows.h"

#include <inttypes.h>
#include <limits.h>
#include <sodium.h>

#include "common/resources.h"
#include "common/text.h"

enum column_kind { COLUMN_U32 = 1, COLUMN_U64, COLUMN_STATE, COLUMN_TEXT, COLUMN_AMOUNTS };

struct column {
    const char *name;
    enum column_kind kind;
    size_t offset; /* in struct head_record */
    int since;     /* the version of the journal that brought it */
};

#define DIGEST_SINCE 2

#define OF_NODE(field) offsetof(struct head_record, node.field)
#define OF_JOB(field)  offsetof(struct head_record, job.field)

/* The order stands in head.db: new columns come last, with a new version of the journal. */
static const struct column NODE_COLUMNS[] = {
    {"number", COLUMN_U32, OF_NODE(number), 1},
    {"state", COLUMN_STATE, OF_NODE(state), 1},
    {"since_unix_ms", COLUMN_U64, OF_NODE(since_unix_ms), 1},
    {"pid", COLUMN_U32, OF_NODE(pid), 1},
    {"name", COLUMN_TEXT, OF_NODE(name), 1},
    {"host", COLUMN_TEXT, OF_NODE(host), 1},
    {"address", COLUMN_TEXT, OF_NODE(address), 1},
    {"version", COLUMN_TEXT, OF_NODE(version), 1},
    {"public_key", COLUMN_TEXT, OF_NODE(public_key), 1},
    {"labels", COLUMN_TEXT, OF_NODE(labels), 1},
    {"note", COLUMN_TEXT, OF_NODE(note), 1},
    {"amounts", COLUMN_AMOUNTS, OF_NODE(amounts), 1},
    {"secret_digest", COLUMN_TEXT, OF_NODE(secret_digest), 2},
};

static const struct column JOB_COLUMNS[] = {
    {"number", COLUMN_U64, OF_JOB(number), 1},
    {"node", COLUMN_U32, OF_JOB(node), 1},
    {"key", COLUMN_U64, OF_JOB(key), 1},
    {"state", COLUMN_STATE, OF_JOB(state), 1},
    {"pid", COLUMN_U32, OF_JOB(pid), 1},
    {"started_unix_ms", COLUMN_U64, OF_JOB(started_unix_ms), 1},
    {"ended_unix_ms", COLUMN_U64, OF_JOB(ended_unix_ms), 1},
    {"done", COLUMN_U64, OF_JOB(done), 1},
    {"failed", COLUMN_U64, OF_JOB(failed), 1},
    {"name", COLUMN_TEXT, OF_JOB(name), 1},
    {"program", COLUMN_TEXT, OF_JOB(program), 1},
    {"user", COLUMN_TEXT, OF_JOB(user), 1},
    {"cancelled", COLUMN_U64, OF_JOB(cancelled), 2},
};

struct table {
    const char *name;
    const struct column *columns;
    size_t count;
};

static struct table table_of(enum head_record_kind kind)
{
    return kind == HEAD_RECORD_NODE
               ? (struct table){"nodes", NODE_COLUMNS, ARRAY_SIZE(NODE_COLUMNS)}
               : (struct table){"jobs", JOB_COLUMNS, ARRAY_SIZE(JOB_COLUMNS)};
}

/* ---- statements ---- */

/* What the table has not yet stands there as 0 or '', so that columns keep their places. */
static void append_names(const struct table *t, int version, struct buffer *ret)
{
    for (size_t i = 0; i < t->count; i++) {
        buffer_printf(ret, "%s%s", i == 0 ? "" : ", ",
                      t->columns[i].since <= version      ? t->columns[i].name
                      : t->columns[i].kind == COLUMN_TEXT ? "''"
                                                          : "0");
    }
    buffer_printf(ret, "%s", version >= DIGEST_SINCE ? ", digest" : "");
}

static void create_table(enum head_record_kind kind, struct buffer *ret)
{
    struct table t = table_of(kind);
    buffer_printf(ret, "CREATE TABLE %s (", t.name);
    for (size_t i = 0; i < t.count; i++) {
        bool is_text = t.columns[i].kind == COLUMN_TEXT || t.columns[i].kind == COLUMN_AMOUNTS;
        buffer_printf(ret, "%s %s, ", t.columns[i].name,
                      i == 0    ? "INTEGER PRIMARY KEY"
                      : is_text ? "TEXT NOT NULL"
                                : "INTEGER NOT NULL");
    }
    buffer_printf(ret, "digest INTEGER NOT NULL);");
}

void rows_schema(struct buffer *ret)
{
    create_table(HEAD_RECORD_NODE, ret);
    create_table(HEAD_RECORD_JOB, ret);
}

void rows_insert(enum head_record_kind kind, struct buffer *ret)
{
    struct table t = table_of(kind);
    buffer_printf(ret, "INSERT OR REPLACE INTO %s (", t.name);
    append_names(&t, INT_MAX, ret);
    buffer_printf(ret, ") VALUES (?1");
    for (size_t i = 1; i <= t.count; i++) {
        buffer_printf(ret, ",?%zu", i + 1);
    }
    buffer_printf(ret, ")");
}

void rows_select(enum head_record_kind kind, int version, bool newest_first, struct buffer *ret)
{
    struct table t = table_of(kind);
    buffer_printf(ret, "SELECT ");
    append_names(&t, version, ret);
    buffer_printf(ret, " FROM %s ORDER BY number%s", t.name, newest_first ? " DESC" : "");
}

/* ---- amounts as text: "CPU=80000 x=5000" (names have no space and no '=') ---- */

static void format_amounts(const struct head_node_row *row, struct buffer *out)
{
    for (size_t i = 0; i < row->amount_count; i++) {
        buffer_printf(out, "%s%s=%" PRId64, i == 0 ? "" : " ", row->amounts[i].name,
                      row->amounts[i].total_units);
    }
}

static bool parse_amounts(const char *text, struct arena *arena, struct head_node_row *row)
{
    struct cluster_amount *amounts = arena_alloc(arena, RESOURCES_MAX * sizeof *amounts);
    size_t count = 0;
    while (*text != '\0') {
        size_t name_size = strcspn(text, "=");
        const char *number = text + name_size + 1;
        size_t number_size = text[name_size] == '=' ? strcspn(number, " ") : 0;
        char digits[24];
        uint64_t units;
        if (name_size == 0 || number_size == 0 || number_size >= sizeof digits ||
            count == RESOURCES_MAX) {
            return false;
        }
        memcpy(digits, number, number_size);
        digits[number_size] = '\0';
        if (text_parse_u64(digits, INT64_MAX, &units) != 0) {
            return false;
        }
        amounts[count++] = (struct cluster_amount){
            .name = arena_text(arena, text, name_size),
            .total_units = (int64_t)units,
            .available_units = (int64_t)units,
        };
        text = number + number_size + (number[number_size] == ' ');
    }
    row->amounts = amounts;
    row->amount_count = count;
    return true;
}

/* ---- one column ---- */

static uint64_t get_number(const struct head_record *record, const struct column *c)
{
    const void *at = (const uint8_t *)record + c->offset;
    switch (c->kind) {
    case COLUMN_U32:
        return *(const uint32_t *)at;
    case COLUMN_STATE:
        return (uint64_t) * (const int *)at;
    default:
        return *(const uint64_t *)at;
    }
}

/* False: it does not fit. */
static bool set_number(struct head_record *record, const struct column *c, uint64_t number)
{
    void *at = (uint8_t *)record + c->offset;
    switch (c->kind) {
    case COLUMN_U32:
        *(uint32_t *)at = (uint32_t)number;
        return number <= UINT32_MAX;
    case COLUMN_STATE:
        *(int *)at = (int)number;
        return number <= INT32_MAX;
    default:
        *(uint64_t *)at = number;
        return true;
    }
}

static const char *get_text(const struct head_record *record, const struct column *c)
{
    const char *text = *(const char *const *)((const uint8_t *)record + c->offset);
    return text != NULL ? text : "";
}

/* ---- the digest ---- */

static void digest_text(struct buffer *out, const char *text)
{
    uint32_t size = (uint32_t)strlen(text);
    buffer_append(out, &size, sizeof size);
    buffer_append(out, text, size);
}

/* SipHash of all columns; the key is no secret: it guards against bad luck, not against malice. */
static int64_t digest_of(const struct head_record *record)
{
    static const unsigned char key[crypto_shorthash_KEYBYTES] = "drt head.db row";
    struct table t = table_of(record->kind);
    CLEANUP(buffer_fini) struct buffer all = {0}, amounts = {0};
    for (size_t i = 0; i < t.count; i++) {
        const struct column *c = &t.columns[i];
        if (c->kind == COLUMN_AMOUNTS) {
            format_amounts(&record->node, &amounts);
            digest_text(&all, buffer_text(&amounts));
        } else if (c->kind == COLUMN_TEXT) {
            digest_text(&all, get_text(record, c));
        } else {
            uint64_t number = get_number(record, c);
            buffer_append(&all, &number, sizeof number);
        }
    }
    int64_t digest;
    _Static_assert(crypto_shorthash_BYTES == sizeof digest, "one column");
    crypto_shorthash((unsigned char *)&digest, all.data, all.size, key);
    return digest;
}

/* ---- rows ---- */

int rows_bind(sqlite3_stmt *s, const struct head_record *record, struct buffer *text)
{
    struct table t = table_of(record->kind);
    int r = SQLITE_OK;
    for (size_t i = 0; i < t.count && r == SQLITE_OK; i++) {
        const struct column *c = &t.columns[i];
        int at = (int)i + 1;
        if (c->kind == COLUMN_AMOUNTS) {
            format_amounts(&record->node, text);
            r = sqlite3_bind_text(s, at, buffer_text(text), -1, SQLITE_STATIC);
        } else if (c->kind == COLUMN_TEXT) {
            r = sqlite3_bind_text(s, at, get_text(record, c), -1, SQLITE_STATIC);
        } else {
            r = sqlite3_bind_int64(s, at, (int64_t)get_number(record, c));
        }
    }
    return r != SQLITE_OK ? r : sqlite3_bind_int64(s, (int)t.count + 1, digest_of(record));
}

static const char *column_text(sqlite3_stmt *s, int at, struct arena *arena)
{
    const char *text = (const char *)sqlite3_column_text(s, at);
    return text != NULL ? arena_text(arena, text, strlen(text)) : "";
}

int rows_read(sqlite3_stmt *s, enum head_record_kind kind, int version, struct arena *arena,
              struct head_record *ret, const char **ret_why)
{
    struct table t = table_of(kind);
    bool ok = true;
    *ret = (struct head_record){.kind = kind};
    for (size_t i = 0; i < t.count; i++) {
        const struct column *c = &t.columns[i];
        int at = (int)i;
        if (c->kind == COLUMN_AMOUNTS) {
            ok = parse_amounts(column_text(s, at, arena), arena, &ret->node) && ok;
        } else if (c->kind == COLUMN_TEXT) {
            *(const char **)((uint8_t *)ret + c->offset) = column_text(s, at, arena);
        } else {
            ok = set_number(ret, c, (uint64_t)sqlite3_column_int64(s, at)) && ok;
        }
    }
    if (!ok) {
        *ret_why = "a number or a resource of it cannot be read";
        return -EPROTO;
    }
    if (version >= DIGEST_SINCE && sqlite3_column_int64(s, (int)t.count) != digest_of(ret)) {
        *ret_why = "its bytes have changed since it was written";
        return -EPROTO;
    }
    return head_record_check(ret, ret_why);
}
