#include "head/journal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <unistd.h>

#include "common/resources.h"
#include "common/text.h"

enum statement {
    PUT_NODE,
    PUT_JOB,
    FORGET_NODE,
    FORGET_JOB,
    BEGIN,
    COMMIT,
    STATEMENTS,
};

struct journal {
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENTS];
    char *path;
};

static const char *const SQL[STATEMENTS] = {
    [PUT_NODE] = "INSERT OR REPLACE INTO nodes VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)",
    [PUT_JOB] = "INSERT OR REPLACE INTO jobs VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)",
    [FORGET_NODE] = "DELETE FROM nodes WHERE number = ?1",
    [FORGET_JOB] = "DELETE FROM jobs WHERE number = ?1",
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
};

static const char SCHEMA[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE nodes (number INTEGER PRIMARY KEY, state INTEGER NOT NULL, since_unix_ms INTEGER "
    "NOT NULL, pid INTEGER NOT NULL, name TEXT NOT NULL, host TEXT NOT NULL, address TEXT NOT "
    "NULL, version TEXT NOT NULL, public_key TEXT NOT NULL, labels TEXT NOT NULL, note TEXT NOT "
    "NULL, amounts TEXT NOT NULL);"
    "CREATE TABLE jobs (number INTEGER PRIMARY KEY, node INTEGER NOT NULL, key INTEGER NOT NULL, "
    "state INTEGER NOT NULL, pid INTEGER NOT NULL, started_unix_ms INTEGER NOT NULL, ended_unix_ms "
    "INTEGER NOT NULL, done INTEGER NOT NULL, failed INTEGER NOT NULL, name TEXT NOT NULL, program "
    "TEXT NOT NULL, user TEXT NOT NULL);"
    "INSERT INTO meta VALUES ('written-by', 'drt " DRT_VERSION "');"
    "PRAGMA user_version = 1;"
    "COMMIT;";

/* From version 1, also for a file that was just made. */
static const char TO_2[] = "BEGIN IMMEDIATE;"
                           "ALTER TABLE jobs ADD COLUMN cancelled INTEGER NOT NULL DEFAULT 0;"
                           "PRAGMA user_version = 2;"
                           "COMMIT;";

static int fail(const struct journal *j, struct failure *f, const char *what)
{
    int code = sqlite3_extended_errcode(j->db);
    if ((code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB) {
        return failure_set(
            f, CODE_FAILED,
            "%s is damaged (%s). Move it away with its -wal file and start again: the "
            "head then begins with no nodes and no jobs",
            j->path, sqlite3_errmsg(j->db));
    }
    int error = sqlite3_system_errno(j->db);
    return failure_set(f, CODE_FAILED, "cannot %s %s: %s%s%s", what, j->path, sqlite3_errmsg(j->db),
                       error != 0 ? ": " : "", error != 0 ? strerror(error) : "");
}

static int run(struct journal *j, const char *sql, struct failure *f)
{
    return sqlite3_exec(j->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(j, f, "use");
}

void journal_close(struct journal *j)
{
    if (j == NULL) {
        return;
    }
    for (int i = 0; i < STATEMENTS; i++) {
        sqlite3_finalize(j->statements[i]);
    }
    sqlite3_close(j->db);
    free(j->path);
    free(j);
}

/* The one number that a statement answers. */
static int ask_number(struct journal *j, const char *sql, int64_t *ret, struct failure *f)
{
    sqlite3_stmt *statement = NULL;
    int64_t value = 0;
    bool ok = sqlite3_prepare_v2(j->db, sql, -1, &statement, NULL) == SQLITE_OK &&
              sqlite3_step(statement) == SQLITE_ROW;
    if (ok) {
        value = sqlite3_column_int64(statement, 0);
    }
    int r = ok ? 0 : fail(j, f, "read");
    sqlite3_finalize(statement);
    if (r == 0) {
        *ret = value;
    }
    return r;
}

static int check_whole(struct journal *j, struct failure *f)
{
    sqlite3_stmt *statement = NULL;
    bool ok =
        sqlite3_prepare_v2(j->db, "PRAGMA quick_check(1)", -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW;
    int r = 0;
    if (!ok) {
        r = fail(j, f, "read");
    } else if (strcmp((const char *)sqlite3_column_text(statement, 0), "ok") != 0) {
        r = failure_set(f, CODE_FAILED,
                        "%s is damaged (%.200s). Move it away with its -wal file and start again: "
                        "the head then begins with no nodes and no jobs",
                        j->path, (const char *)sqlite3_column_text(statement, 0));
    }
    sqlite3_finalize(statement);
    return r;
}

static int prepare(struct journal *j, struct failure *f)
{
    int64_t version;
    int r = run(j,
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -256;"
                "PRAGMA wal_autocheckpoint = 256; PRAGMA journal_size_limit = 4194304;"
                "PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY",
                f);
    r = r != 0 ? r : ask_number(j, "PRAGMA user_version", &version, f);
    if (r != 0) {
        return r;
    }
    if (version > JOURNAL_VERSION || version < 0) {
        return failure_set(f, CODE_REFUSED,
                           "%s was written by a newer drt (its version is %" PRId64
                           ", this one knows %d): install that drt, or start in another directory",
                           j->path, version, JOURNAL_VERSION);
    }
    r = version == 0 ? run(j, SCHEMA, f) : check_whole(j, f);
    r = r == 0 && version < 2 ? run(j, TO_2, f) : r;
    for (int i = 0; i < STATEMENTS && r == 0; i++) {
        if (sqlite3_prepare_v3(j->db, SQL[i], -1, SQLITE_PREPARE_PERSISTENT, &j->statements[i],
                               NULL) != SQLITE_OK) {
            r = fail(j, f, "use");
        }
    }
    return r;
}

int journal_open(const char *path, struct journal **ret, struct failure *f)
{
    /* SQLite would make it as the umask says; nobody else may read it. */
    CLEANUP_FD int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return failure_set(f, CODE_FAILED, "cannot open %s: %s", path, strerror(errno));
    }
    struct journal *j = xcalloc(1, sizeof *j);
    j->path = xstrdup(path);
    int r = 0;
    if (sqlite3_open_v2(path, &j->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK) {
        r = fail(j, f, "open");
    }
    r = r != 0 ? r : prepare(j, f);
    if (r != 0) {
        journal_close(j);
        return r;
    }
    *ret = j;
    return 0;
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

/* ---- reading ---- */

static const char *column_text(sqlite3_stmt *s, int column, struct arena *arena)
{
    const char *text = (const char *)sqlite3_column_text(s, column);
    return text != NULL ? arena_text(arena, text, strlen(text)) : "";
}

static bool read_node(sqlite3_stmt *s, struct arena *arena, struct head_record *ret)
{
    struct head_node_row row = {
        .number = (uint32_t)sqlite3_column_int64(s, 0),
        .state = (enum head_node_state)sqlite3_column_int(s, 1),
        .since_unix_ms = (uint64_t)sqlite3_column_int64(s, 2),
        .pid = (uint32_t)sqlite3_column_int64(s, 3),
        .name = column_text(s, 4, arena),
        .host = column_text(s, 5, arena),
        .address = column_text(s, 6, arena),
        .version = column_text(s, 7, arena),
        .public_key = column_text(s, 8, arena),
        .labels = column_text(s, 9, arena),
        .note = column_text(s, 10, arena),
    };
    bool ok = parse_amounts(column_text(s, 11, arena), arena, &row);
    *ret = (struct head_record){.kind = HEAD_RECORD_NODE, .node = row};
    return ok;
}

static bool read_job(sqlite3_stmt *s, struct arena *arena, struct head_record *ret)
{
    *ret = (struct head_record){
        .kind = HEAD_RECORD_JOB,
        .job = {.number = (uint64_t)sqlite3_column_int64(s, 0),
                .node = (uint32_t)sqlite3_column_int64(s, 1),
                .key = (uint64_t)sqlite3_column_int64(s, 2),
                .state = (enum head_job_state)sqlite3_column_int(s, 3),
                .pid = (uint32_t)sqlite3_column_int64(s, 4),
                .started_unix_ms = (uint64_t)sqlite3_column_int64(s, 5),
                .ended_unix_ms = (uint64_t)sqlite3_column_int64(s, 6),
                .done = (uint64_t)sqlite3_column_int64(s, 7),
                .failed = (uint64_t)sqlite3_column_int64(s, 8),
                .name = column_text(s, 9, arena),
                .program = column_text(s, 10, arena),
                .user = column_text(s, 11, arena),
                .cancelled = (uint64_t)sqlite3_column_int64(s, 12)},
    };
    return true;
}

struct loading {
    struct arena *arena;
    struct head_record *records;
    size_t count, room;
};

static int load_table(struct journal *j, const char *sql, struct loading *l,
                      bool (*read)(sqlite3_stmt *, struct arena *, struct head_record *),
                      struct failure *f)
{
    sqlite3_stmt *statement = NULL;
    int r = sqlite3_prepare_v2(j->db, sql, -1, &statement, NULL);
    bool ok = r == SQLITE_OK;
    while (ok && (r = sqlite3_step(statement)) == SQLITE_ROW) {
        if (l->count == l->room) {
            l->room = MAX_OF(l->room * 2, (size_t)64);
            l->records = xrealloc(l->records, l->room * sizeof *l->records);
        }
        ok = read(statement, l->arena, &l->records[l->count]);
        l->count += ok;
    }
    int outcome = 0;
    if (!ok && r == SQLITE_ROW) {
        outcome = failure_set(f, CODE_FAILED, "%s is damaged: a row of it makes no sense", j->path);
    } else if (r != SQLITE_DONE) {
        outcome = fail(j, f, "read");
    }
    sqlite3_finalize(statement);
    return outcome;
}

int journal_load(struct journal *j, struct arena *arena, struct head_record **ret,
                 size_t *ret_count, struct failure *f)
{
    struct loading l = {.arena = arena};
    int r = load_table(j, "SELECT * FROM nodes ORDER BY number", &l, read_node, f);
    r = r != 0 ? r : load_table(j, "SELECT * FROM jobs ORDER BY number", &l, read_job, f);
    if (r != 0) {
        free(l.records);
        return r;
    }
    *ret = l.records;
    *ret_count = l.count;
    return 0;
}

/* ---- writing ---- */

static int step(struct journal *j, enum statement which, struct failure *f)
{
    int r = sqlite3_step(j->statements[which]) == SQLITE_DONE ? 0 : fail(j, f, "write");
    sqlite3_reset(j->statements[which]);
    return r;
}

int journal_begin(struct journal *j, struct failure *f)
{
    return step(j, BEGIN, f);
}

int journal_commit(struct journal *j, struct failure *f)
{
    return step(j, COMMIT, f);
}

static bool bind_number(sqlite3_stmt *s, int at, uint64_t number)
{
    return sqlite3_bind_int64(s, at, (int64_t)number) == SQLITE_OK;
}

static bool bind_text(sqlite3_stmt *s, int at, const char *text)
{
    return sqlite3_bind_text(s, at, text != NULL ? text : "", -1, SQLITE_STATIC) == SQLITE_OK;
}

static int put_node(struct journal *j, const struct head_node_row *row, struct failure *f)
{
    sqlite3_stmt *s = j->statements[PUT_NODE];
    CLEANUP(buffer_fini) struct buffer amounts = {0};
    format_amounts(row, &amounts);
    bool ok = bind_number(s, 1, row->number) && bind_number(s, 2, row->state) &&
              bind_number(s, 3, row->since_unix_ms) && bind_number(s, 4, row->pid) &&
              bind_text(s, 5, row->name) && bind_text(s, 6, row->host) &&
              bind_text(s, 7, row->address) && bind_text(s, 8, row->version) &&
              bind_text(s, 9, row->public_key) && bind_text(s, 10, row->labels) &&
              bind_text(s, 11, row->note) && bind_text(s, 12, buffer_text(&amounts));
    return ok ? step(j, PUT_NODE, f) : fail(j, f, "write");
}

static int put_job(struct journal *j, const struct head_job_row *row, struct failure *f)
{
    sqlite3_stmt *s = j->statements[PUT_JOB];
    bool ok = bind_number(s, 1, row->number) && bind_number(s, 2, row->node) &&
              bind_number(s, 3, row->key) && bind_number(s, 4, row->state) &&
              bind_number(s, 5, row->pid) && bind_number(s, 6, row->started_unix_ms) &&
              bind_number(s, 7, row->ended_unix_ms) && bind_number(s, 8, row->done) &&
              bind_number(s, 9, row->failed) && bind_text(s, 10, row->name) &&
              bind_text(s, 11, row->program) && bind_text(s, 12, row->user) &&
              bind_number(s, 13, row->cancelled);
    return ok ? step(j, PUT_JOB, f) : fail(j, f, "write");
}

int journal_put(struct journal *j, const struct head_record *record, struct failure *f)
{
    switch (record->kind) {
    case HEAD_RECORD_NODE:
        return put_node(j, &record->node, f);
    case HEAD_RECORD_JOB:
        return put_job(j, &record->job, f);
    case HEAD_RECORD_FORGET_NODE:
    case HEAD_RECORD_FORGET_JOB:
        break;
    }
    enum statement which = record->kind == HEAD_RECORD_FORGET_NODE ? FORGET_NODE : FORGET_JOB;
    return bind_number(j->statements[which], 1, record->number) ? step(j, which, f)
                                                                : fail(j, f, "write");
}
