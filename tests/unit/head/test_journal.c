#include "head/journal.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/resources.h"
#include "tests/unit/unit.h"

static const struct cluster_amount AMOUNTS[] = {{"CPU", 80000, 10000}, {"disk:fast", 5, 5}};

static const struct head_record NODE = {
    .kind = HEAD_RECORD_NODE,
    .node = {.number = 1,
             .pid = 42,
             .state = HEAD_NODE_ALIVE,
             .since_unix_ms = 1700000000123,
             .name = "box-1",
             .host = "box",
             .address = "10.0.0.5:7421",
             .version = "0.1.0",
             .public_key = "key",
             .labels = "a=b,c='d\"",
             .note = "",
             .amounts = AMOUNTS,
             .amount_count = ARRAY_SIZE(AMOUNTS)},
};

static const struct head_record JOB = {
    .kind = HEAD_RECORD_JOB,
    .job = {.number = 9,
            .node = 1,
            .pid = 43,
            .key = UINT64_MAX,
            .state = HEAD_JOB_RUNNING,
            .started_unix_ms = 5,
            .cancelled = 12,
            .name = "pi; DROP TABLE jobs",
            .program = "./pi",
            .user = "ada"},
};

static struct journal *open_at(const char *dir, char path[512])
{
    struct journal *j = NULL;
    struct failure f;
    snprintf(path, 512, "%s/head.db", dir);
    if (journal_open(path, &j, &f) != 0) {
        fail_msg("%s", f.message);
    }
    return j;
}

static void put(struct journal *j, const struct head_record *records, size_t count)
{
    struct failure f;
    assert_int_equal(journal_begin(j, &f), 0);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(journal_put(j, &records[i], &f), 0);
    }
    assert_int_equal(journal_commit(j, &f), 0);
}

static size_t load(struct journal *j, struct arena *arena, struct head_record **ret)
{
    struct failure f;
    size_t count = 0;
    if (journal_load(j, arena, ret, &count, &f) != 0) {
        fail_msg("%s", f.message);
    }
    return count;
}

static void test_rows_come_back(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    char path[512];
    struct arena arena = {0};
    struct head_record *rows = NULL;
    struct journal *j = open_at(dir, path);
    put(j, (struct head_record[]){JOB, NODE}, 2);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    journal_close(j);

    j = open_at(dir, path);
    assert_int_equal(load(j, &arena, &rows), 2);
    assert_int_equal(rows[0].kind, HEAD_RECORD_NODE);
    assert_int_equal(rows[0].node.number, 1);
    assert_int_equal(rows[0].node.state, HEAD_NODE_ALIVE);
    assert_int_equal(rows[0].node.since_unix_ms, NODE.node.since_unix_ms);
    assert_string_equal(rows[0].node.labels, NODE.node.labels);
    assert_int_equal(rows[0].node.amount_count, 2);
    assert_string_equal(rows[0].node.amounts[1].name, "disk:fast");
    assert_int_equal(rows[0].node.amounts[0].total_units, 80000);
    assert_int_equal(rows[1].job.key, UINT64_MAX);
    assert_int_equal(rows[1].job.cancelled, 12);
    assert_string_equal(rows[1].job.name, JOB.job.name);
    assert_int_equal(rows[1].job.state, HEAD_JOB_RUNNING);
    journal_close(j);
    free(rows);
    arena_fini(&arena);
}

/* A file of the first version has no column for what was cancelled. */
static void test_a_file_of_the_first_version_is_brought_up(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    char path[512];
    struct arena arena = {0};
    struct head_record *rows = NULL;
    sqlite3 *db = NULL;
    journal_close(open_at(dir, path));
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "ALTER TABLE jobs DROP COLUMN cancelled;"
                                  "INSERT INTO jobs VALUES (9,1,3,2,43,5,6,7,8,'pi','./pi','ada');"
                                  "PRAGMA user_version = 1",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);

    struct journal *j = open_at(dir, path);
    assert_int_equal(load(j, &arena, &rows), 1);
    assert_int_equal(rows[0].job.failed, 8);
    assert_string_equal(rows[0].job.user, "ada");
    assert_int_equal(rows[0].job.cancelled, 0);
    journal_close(j);
    free(rows);
    arena_fini(&arena);
}

static void test_later_rows_replace_and_forgotten_ones_go(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    char path[512];
    struct arena arena = {0};
    struct head_record *rows = NULL;
    struct journal *j = open_at(dir, path);
    struct head_record done = JOB, forget = {.kind = HEAD_RECORD_FORGET_NODE, .number = 1};
    done.job.state = HEAD_JOB_DONE;
    done.job.ended_unix_ms = 77;
    put(j, (struct head_record[]){NODE, JOB}, 2);
    put(j, (struct head_record[]){done, forget}, 2);
    assert_int_equal(load(j, &arena, &rows), 1);
    assert_int_equal(rows[0].job.state, HEAD_JOB_DONE);
    assert_int_equal(rows[0].job.ended_unix_ms, 77);
    journal_close(j);
    free(rows);
    arena_fini(&arena);
}

static void test_what_was_not_committed_is_not_there(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    char path[512];
    struct arena arena = {0};
    struct head_record *rows = NULL;
    struct failure f;
    struct journal *j = open_at(dir, path);
    put(j, &NODE, 1);
    assert_int_equal(journal_begin(j, &f), 0);
    assert_int_equal(journal_put(j, &JOB, &f), 0);
    journal_close(j);
    j = open_at(dir, path);
    assert_int_equal(load(j, &arena, &rows), 1);
    journal_close(j);
    free(rows);
    arena_fini(&arena);
}

static void test_file_is_a_write_ahead_log(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    char path[512];
    sqlite3 *db;
    sqlite3_stmt *s;
    struct journal *j = open_at(dir, path);
    put(j, &NODE, 1);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA journal_mode", -1, &s, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(s, 0), "wal");
    sqlite3_finalize(s);
    sqlite3_close(db);
    journal_close(j);
}

static void test_newer_file_is_refused(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    char path[512];
    struct failure f;
    sqlite3 *db;
    struct journal *j = open_at(dir, path);
    journal_close(j);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(journal_open(path, &j, &f), CODE_REFUSED);
    assert_non_null(strstr(f.message, "newer"));
    assert_non_null(strstr(f.message, path));
}

static void test_damaged_files_are_named(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    char path[512], junk[4096];
    struct failure f;
    struct journal *j = open_at(dir, path);
    for (uint64_t i = 1; i < 200; i++) {
        struct head_record job = JOB;
        job.job.number = i;
        put(j, &job, 1);
    }
    journal_close(j);
    memset(junk, 0x5a, sizeof junk);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    for (off_t at = sizeof junk; at < st.st_size; at += (off_t)sizeof junk) {
        assert_int_equal(pwrite(fd, junk, sizeof junk, at), sizeof junk);
    }
    assert_int_equal(journal_open(path, &j, &f), CODE_FAILED);
    assert_non_null(strstr(f.message, "damaged"));

    assert_int_equal(pwrite(fd, junk, sizeof junk, 0), sizeof junk); /* no database at all */
    close(fd);
    assert_int_equal(journal_open(path, &j, &f), CODE_FAILED);
    assert_non_null(strstr(f.message, "damaged"));

    snprintf(path, sizeof path, "%s/none/head.db", dir);
    assert_int_equal(journal_open(path, &j, &f), CODE_FAILED);
    assert_non_null(strstr(f.message, path));
}

static void test_a_row_without_sense(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    char path[512];
    struct failure f;
    sqlite3 *db;
    struct arena arena = {0};
    struct head_record *rows;
    size_t count;
    struct journal *j = open_at(dir, path);
    put(j, &NODE, 1);
    journal_close(j);
    static const char *const amounts[] = {
        "CPU", "=4", "CPU=", "CPU=x", "CPU=99999999999999999999", "CPU=-1"};
    for (size_t i = 0; i < ARRAY_SIZE(amounts); i++) {
        char sql[128];
        snprintf(sql, sizeof sql, "UPDATE nodes SET amounts = '%s'", amounts[i]);
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
        sqlite3_close(db);
        j = open_at(dir, path);
        assert_int_equal(journal_load(j, &arena, &rows, &count, &f), CODE_FAILED);
        journal_close(j);
    }
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_come_back),
        cmocka_unit_test(test_a_file_of_the_first_version_is_brought_up),
        cmocka_unit_test(test_later_rows_replace_and_forgotten_ones_go),
        cmocka_unit_test(test_what_was_not_committed_is_not_there),
        cmocka_unit_test(test_file_is_a_write_ahead_log),
        cmocka_unit_test(test_newer_file_is_refused),
        cmocka_unit_test(test_damaged_files_are_named),
        cmocka_unit_test(test_a_row_without_sense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
