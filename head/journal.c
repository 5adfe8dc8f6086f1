#include "head/journal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/place.h"
#include "common/text.h"
#include "head/rows.h"

enum statement {
    PUT_NODE,
    PUT_JOB,
    FORGET_NODE,
    FORGET_JOB,
    REACH,
    BEGIN,
    COMMIT,
    STATEMENTS,
};

struct journal {
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENTS];
    char *path;
    int mark_fd; /* -1: none */
    struct mark reach;
    int version; /* of the rows that are read */
    char loss[256];
};

#define CREATE_REACH                                                                               \
    "CREATE TABLE reach (one INTEGER PRIMARY KEY CHECK (one = 1), sequence INTEGER NOT NULL, "     \
    "node_last INTEGER NOT NULL, job_last INTEGER NOT NULL);"                                      \
    "INSERT INTO reach VALUES (1, 0, 0, 0);"

static int fail(const struct journal *j, struct failure *f, const char *what)
{
    int code = sqlite3_extended_errcode(j->db);
    if ((code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB) {
        return failure_set(f, CODE_FAILED,
                           "%s is damaged (%s). 'drt-head repair' recovers what can be read",
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
    close_fd(&j->mark_fd);
    free(j->path);
    free(j);
}

const char *journal_loss(const struct journal *j)
{
    return j->loss;
}

struct mark journal_reach(const struct journal *j)
{
    return j->reach;
}

void journal_set_reach(struct journal *j, const struct mark *reach)
{
    j->reach = *reach;
}

/* ---- opening ---- */

/* The numbers of the one row that a statement answers. */
static int ask_numbers(struct journal *j, const char *sql, int64_t *ret, int count,
                       struct failure *f)
{
    sqlite3_stmt *statement = NULL;
    bool ok = sqlite3_prepare_v2(j->db, sql, -1, &statement, NULL) == SQLITE_OK &&
              sqlite3_step(statement) == SQLITE_ROW;
    for (int i = 0; ok && i < count; i++) {
        ret[i] = sqlite3_column_int64(statement, i);
    }
    int r = ok ? 0 : fail(j, f, "read");
    sqlite3_finalize(statement);
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
                        "%s is damaged (%.200s). 'drt-head repair' recovers what can be read",
                        j->path, (const char *)sqlite3_column_text(statement, 0));
    }
    sqlite3_finalize(statement);
    return r;
}

static int make_tables(struct journal *j, struct failure *f)
{
    CLEANUP(buffer_fini) struct buffer sql = {0};
    buffer_printf(&sql,
                  "BEGIN IMMEDIATE;"
                  "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT "
                  "ROWID;"
                  "INSERT INTO meta VALUES ('written-by', 'drt " DRT_VERSION "');" CREATE_REACH);
    rows_schema(&sql);
    buffer_printf(&sql, "PRAGMA user_version = %d;COMMIT;", JOURNAL_VERSION);
    return run(j, buffer_text(&sql), f);
}

static int prepare_statements(struct journal *j, struct failure *f)
{
    CLEANUP(buffer_fini) struct buffer node = {0}, job = {0};
    rows_insert(HEAD_RECORD_NODE, &node);
    rows_insert(HEAD_RECORD_JOB, &job);
    const char *const sql[STATEMENTS] = {
        [PUT_NODE] = buffer_text(&node),
        [PUT_JOB] = buffer_text(&job),
        [FORGET_NODE] = "DELETE FROM nodes WHERE number = ?1",
        [FORGET_JOB] = "DELETE FROM jobs WHERE number = ?1",
        [REACH] = "UPDATE reach SET sequence = ?1, node_last = ?2, job_last = ?3",
        [BEGIN] = "BEGIN IMMEDIATE",
        [COMMIT] = "COMMIT",
    };
    for (int i = 0; i < STATEMENTS; i++) {
        if (sqlite3_prepare_v3(j->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &j->statements[i],
                               NULL) != SQLITE_OK) {
            return fail(j, f, "use");
        }
    }
    return 0;
}

/* Version 1 had neither digests nor a reach, and counted on the rows for the highest numbers. */
static int migrate(struct journal *j, struct failure *f)
{
    struct arena arena = {0};
    struct head_record *rows = NULL;
    size_t count = 0;
    const struct journal_reader reader = {0};
    int r = journal_load(j, &reader, &arena, &rows, &count, f);
    r = r != 0 ? r
               : run(j,
                     "BEGIN IMMEDIATE;"
                     "ALTER TABLE jobs ADD COLUMN cancelled INTEGER NOT NULL DEFAULT 0;"
                     "ALTER TABLE nodes ADD COLUMN secret_digest TEXT NOT NULL DEFAULT '';"
                     "ALTER TABLE nodes ADD COLUMN digest INTEGER NOT NULL DEFAULT 0;"
                     "ALTER TABLE jobs ADD COLUMN digest INTEGER NOT NULL DEFAULT 0;" CREATE_REACH
                     "PRAGMA user_version = 2;",
                     f);
    r = r != 0 ? r : prepare_statements(j, f);
    for (size_t i = 0; i < count && r == 0; i++) {
        r = rows[i].kind == HEAD_RECORD_NUMBERS ? 0 : journal_put(j, &rows[i], f);
    }
    r = r != 0 ? r : journal_commit(j, f);
    free(rows);
    arena_fini(&arena);
    return r;
}

static int settle_version(struct journal *j, int64_t version, struct failure *f)
{
    j->version = version == 1 ? 1 : JOURNAL_VERSION;
    if (version > JOURNAL_VERSION || version < 0) {
        return failure_set(
            f, CODE_REFUSED,
            "%s was written by a newer drt (its version is %" PRId64
            ", and this drt supports %d): install that version, or use another directory",
            j->path, version, JOURNAL_VERSION);
    }
    int r = version == 0 ? make_tables(j, f) : check_whole(j, f);
    if (r == 0 && version == 1) {
        r = migrate(j, f);
        j->version = JOURNAL_VERSION;
        return r;
    }
    int64_t reach[3] = {0};
    r = r != 0 ? r : prepare_statements(j, f);
    r = r != 0 ? r : ask_numbers(j, "SELECT sequence, node_last, job_last FROM reach", reach, 3, f);
    j->reach = (struct mark){.sequence = (uint64_t)reach[0],
                             .node_last = (uint32_t)reach[1],
                             .job_last = (uint64_t)reach[2]};
    return r;
}

/* ---- the mark ---- */

static int mark_path(const struct journal *j, char ret[PLACE_PATH_MAX])
{
    const char *slash = strrchr(j->path, '/');
    int dir = slash != NULL ? (int)(slash - j->path + 1) : 0;
    int n = snprintf(ret, PLACE_PATH_MAX, "%.*shead.mark", dir, j->path);
    return n > 0 && n < PLACE_PATH_MAX ? 0 : -ENAMETOOLONG;
}

#define GROUPS "changes (nodes that joined or ended, jobs that began or ended)"

/* What is missing, as a sentence; "" if nothing. `was_new`: the database was made just now. */
static void find_loss(struct journal *j, int mark_state, const struct mark *mark, bool was_new,
                      bool must_have_mark, const char *path)
{
    if (mark_state == 0 && mark->sequence > j->reach.sequence) {
        if (was_new) {
            snprintf(j->loss, sizeof j->loss,
                     "%.80s is missing or empty, and %" PRIu64 " groups of " GROUPS
                     " had been acknowledged",
                     j->path, mark->sequence);
        } else {
            snprintf(j->loss, sizeof j->loss,
                     "%.80s ends too early: the last %" PRIu64 " of %" PRIu64 " groups of " GROUPS
                     " are missing",
                     j->path, mark->sequence - j->reach.sequence, mark->sequence);
        }
    } else if (mark_state != 0 && must_have_mark) {
        snprintf(j->loss, sizeof j->loss,
                 "%.100s is %s, so it is unknown whether head.db is complete", path,
                 mark_state == CODE_NOT_FOUND ? "missing" : "damaged");
    }
}

/* Compares with the mark, and goes on from the higher one of both. */
static int take_mark(struct journal *j, unsigned flags, bool was_new, bool must_have_mark,
                     struct failure *f)
{
    char path[PLACE_PATH_MAX];
    struct mark mark = {0};
    if (mark_path(j, path) != 0) {
        return failure_set(f, CODE_FAILED, "the path of the directory is too long");
    }
    int r = mark_read(path, &mark);
    if (r < 0 && r != -EPROTO) {
        return failure_set(f, CODE_FAILED, "cannot read %s: %s", path, strerror(-r));
    }
    find_loss(j, r, &mark, was_new, must_have_mark, path);
    if (j->loss[0] != '\0' && (flags & JOURNAL_ACCEPT_LOSS) == 0) {
        return failure_set(
            f, CODE_OBJECT_LOST,
            "%s. Restore the complete head.db with its -wal file and head.mark if you have a copy, "
            "or start without what is missing: 'drt-head start --accept-loss'",
            j->loss);
    }
    j->reach.sequence = MAX_OF(j->reach.sequence, mark.sequence);
    j->reach.node_last = MAX_OF(j->reach.node_last, mark.node_last);
    j->reach.job_last = MAX_OF(j->reach.job_last, mark.job_last);
    r = mark_open(path, &j->mark_fd);
    if (r != 0) {
        return failure_set(f, CODE_FAILED, "cannot write %s: %s", path, strerror(-r));
    }
    r = journal_begin(j, f);
    return r != 0 ? r : journal_commit(j, f);
}

static int set_up(struct journal *j, unsigned flags, struct failure *f)
{
    int64_t version = 0;
    /* Until it is known to reach far enough the -wal file stays as it is, for who can read more. */
    sqlite3_db_config(j->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    int r = run(j,
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -256;"
                "PRAGMA wal_autocheckpoint = 256; PRAGMA journal_size_limit = 4194304;"
                "PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY",
                f);
    r = r != 0 ? r : ask_numbers(j, "PRAGMA user_version", &version, 1, f);
    r = r != 0 ? r : settle_version(j, version, f);
    if (r == 0 && (flags & JOURNAL_ALONE) == 0) {
        /* The first group is that of the opening itself: a start that was cut off before its mark
         * was written, or found no room for it, has acknowledged nothing. */
        bool must_have_mark = version == JOURNAL_VERSION && j->reach.sequence > 1;
        r = take_mark(j, flags, version == 0, must_have_mark, f);
    }
    if (r == 0) {
        sqlite3_db_config(j->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    }
    return r;
}

static int open_with(const char *path, int sqlite_flags, struct journal **ret, struct failure *f)
{
    struct journal *j = xcalloc(1, sizeof *j);
    j->path = xstrdup(path);
    j->mark_fd = -1;
    j->version = JOURNAL_VERSION;
    if (sqlite3_open_v2(path, &j->db, sqlite_flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        int r = fail(j, f, "open");
        journal_close(j);
        return r;
    }
    *ret = j;
    return 0;
}

int journal_open(const char *path, unsigned flags, struct journal **ret, struct failure *f)
{
    struct journal *j = NULL;
    /* SQLite would make it as the umask says; nobody else may read it. */
    CLEANUP_FD int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return failure_set(f, CODE_FAILED, "cannot open %s: %s", path, strerror(errno));
    }
    int r = open_with(path, SQLITE_OPEN_READWRITE, &j, f);
    r = r != 0 ? r : set_up(j, flags, f);
    if (r != 0) {
        journal_close(j);
        return r;
    }
    *ret = j;
    return 0;
}

int journal_open_damaged(const char *path, struct journal **ret, struct failure *f)
{
    struct journal *j = NULL;
    int64_t version = 0;
    if (access(path, R_OK) < 0) {
        return failure_set(f, CODE_NOT_FOUND, "cannot read %s: %s", path, strerror(errno));
    }
    int r = open_with(path, SQLITE_OPEN_READWRITE, &j, f);
    if (r != 0) {
        return r;
    }
    sqlite3_db_config(j->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    struct failure ignored;
    int64_t reach[3] = {0};
    if (ask_numbers(j, "PRAGMA user_version", &version, 1, &ignored) == 0 && version == 1) {
        j->version = 1;
    }
    if (ask_numbers(j, "SELECT sequence, node_last, job_last FROM reach", reach, 3, &ignored) ==
        0) {
        j->reach = (struct mark){.sequence = (uint64_t)reach[0],
                                 .node_last = (uint32_t)reach[1],
                                 .job_last = (uint64_t)reach[2]};
    }
    *ret = j;
    return 0;
}

/* ---- reading ---- */

struct loading {
    const struct journal_reader *reader;
    struct arena *arena;
    struct head_record *records;
    size_t count, room;
};

static void say_bad(const struct journal_reader *reader, const char *format, ...) PRINTF(2, 3);

static void say_bad(const struct journal_reader *reader, const char *format, ...)
{
    char sentence[256];
    va_list args;
    va_start(args, format);
    text_vformat(sentence, sizeof sentence, format, args);
    va_end(args);
    if (reader->on_bad != NULL) {
        reader->on_bad(reader->arg, sentence);
    }
}

static uint64_t number_of(const struct head_record *record)
{
    return record->kind == HEAD_RECORD_NODE ? record->node.number : record->job.number;
}

static struct head_record *new_record(struct loading *l)
{
    if (l->count == l->room) {
        l->room = MAX_OF(l->room * 2, (size_t)64);
        l->records = xrealloc(l->records, l->room * sizeof *l->records);
    }
    return &l->records[l->count];
}

/* Reads until the end, a row that SQLite cannot read, or (`newest_first`) the number `stop`. */
static int load_pass(struct journal *j, struct loading *l, enum head_record_kind kind,
                     bool newest_first, uint64_t stop)
{
    CLEANUP(buffer_fini) struct buffer sql = {0};
    sqlite3_stmt *statement = NULL;
    rows_select(kind, j->version, newest_first, &sql);
    int r = sqlite3_prepare_v2(j->db, buffer_text(&sql), -1, &statement, NULL);
    r = r == SQLITE_OK ? sqlite3_step(statement) : r;
    while (r == SQLITE_ROW) {
        const char *why = "";
        struct head_record *record = new_record(l);
        int bad = rows_read(statement, kind, j->version, l->arena, record, &why);
        if (newest_first && number_of(record) <= stop) {
            break;
        }
        if (bad == 0) {
            l->count++;
        } else {
            say_bad(l->reader, "%s %" PRIu64 " is skipped: %s",
                    kind == HEAD_RECORD_NODE ? "node" : "job", number_of(record), why);
        }
        r = sqlite3_step(statement);
    }
    sqlite3_finalize(statement);
    return r == SQLITE_ROW ? SQLITE_DONE : r;
}

static void turn_round(struct head_record *records, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        struct head_record other = records[i];
        records[i] = records[count - 1 - i];
        records[count - 1 - i] = other;
    }
}

static int load_table(struct journal *j, struct loading *l, enum head_record_kind kind,
                      struct failure *f)
{
    size_t first = l->count;
    if (load_pass(j, l, kind, false, 0) == SQLITE_DONE) {
        return 0;
    }
    if (!l->reader->salvage) {
        return fail(j, f, "read");
    }
    say_bad(l->reader, "some %s cannot be read and are skipped: %s",
            kind == HEAD_RECORD_NODE ? "nodes" : "jobs", sqlite3_errmsg(j->db));
    /* From the other end, up to what is there already. */
    size_t before = l->count;
    uint64_t stop = before > first ? number_of(&l->records[before - 1]) : 0;
    (void)load_pass(j, l, kind, true, stop);
    turn_round(l->records + before, l->count - before);
    return 0;
}

int journal_load(struct journal *j, const struct journal_reader *reader, struct arena *arena,
                 struct head_record **ret, size_t *ret_count, struct failure *f)
{
    struct loading l = {.reader = reader, .arena = arena};
    int r = load_table(j, &l, HEAD_RECORD_NODE, f);
    r = r != 0 ? r : load_table(j, &l, HEAD_RECORD_JOB, f);
    if (r != 0) {
        free(l.records);
        return r;
    }
    *new_record(&l) = (struct head_record){.kind = HEAD_RECORD_NUMBERS,
                                           .node_last = j->reach.node_last,
                                           .job_last = j->reach.job_last};
    *ret = l.records;
    *ret_count = l.count + 1;
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
    sqlite3_stmt *s = j->statements[REACH];
    j->reach.sequence++;
    if (sqlite3_bind_int64(s, 1, (int64_t)j->reach.sequence) != SQLITE_OK ||
        sqlite3_bind_int64(s, 2, j->reach.node_last) != SQLITE_OK ||
        sqlite3_bind_int64(s, 3, (int64_t)j->reach.job_last) != SQLITE_OK) {
        return fail(j, f, "write");
    }
    int r = step(j, REACH, f);
    r = r != 0 ? r : step(j, COMMIT, f);
    if (r == 0 && j->mark_fd >= 0) {
        int error = mark_write(j->mark_fd, &j->reach);
        r = error == 0 ? 0
                       : failure_set(f, CODE_FAILED, "cannot write head.mark beside %s: %s",
                                     j->path, strerror(-error));
    }
    return r;
}

static int put_row(struct journal *j, const struct head_record *record, struct failure *f)
{
    bool is_node = record->kind == HEAD_RECORD_NODE;
    enum statement which = is_node ? PUT_NODE : PUT_JOB;
    CLEANUP(buffer_fini) struct buffer text = {0};
    if (is_node) {
        j->reach.node_last = MAX_OF(j->reach.node_last, record->node.number);
    } else {
        j->reach.job_last = MAX_OF(j->reach.job_last, record->job.number);
    }
    return rows_bind(j->statements[which], record, &text) == SQLITE_OK ? step(j, which, f)
                                                                       : fail(j, f, "write");
}

int journal_put(struct journal *j, const struct head_record *record, struct failure *f)
{
    if (record->kind == HEAD_RECORD_NODE || record->kind == HEAD_RECORD_JOB) {
        return put_row(j, record, f);
    }
    enum statement which = record->kind == HEAD_RECORD_FORGET_NODE ? FORGET_NODE : FORGET_JOB;
    return sqlite3_bind_int64(j->statements[which], 1, (int64_t)record->number) == SQLITE_OK
               ? step(j, which, f)
               : fail(j, f, "write");
}
