#include "head/journal.h"

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/resources.h"
#include "common/text.h"
#include "head/repair.h"
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

static char bad_rows[1024];        /* what the journal left out, a line each */
static struct head_record numbers; /* the last of what was loaded */

static void on_bad(void *arg, const char *sentence)
{
    size_t used = strlen(bad_rows);
    snprintf(bad_rows + used, sizeof bad_rows - used, "%s\n", sentence);
}

static const struct journal_reader READER = {.on_bad = on_bad};

static struct journal *open_at(const char *dir, char path[512])
{
    struct journal *j = NULL;
    struct failure f;
    snprintf(path, 512, "%s/head.db", dir);
    if (journal_open(path, 0, &j, &f) != 0) {
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
    if (journal_load(j, &READER, arena, ret, &count, &f) != 0) {
        fail_msg("%s", f.message);
    }
    numbers = (*ret)[count - 1];
    assert_int_equal(numbers.kind, HEAD_RECORD_NUMBERS);
    return count - 1;
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
    assert_int_equal(journal_open(path, 0, &j, &f), CODE_REFUSED);
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
    assert_int_equal(journal_open(path, 0, &j, &f), CODE_FAILED);
    assert_non_null(strstr(f.message, "damaged"));

    assert_int_equal(pwrite(fd, junk, sizeof junk, 0), sizeof junk); /* no database at all */
    close(fd);
    assert_int_equal(journal_open(path, 0, &j, &f), CODE_FAILED);
    assert_non_null(strstr(f.message, "damaged"));

    snprintf(path, sizeof path, "%s/none/head.db", dir);
    assert_int_equal(journal_open(path, 0, &j, &f), CODE_FAILED);
    assert_non_null(strstr(f.message, path));
}

static void run_sql(const char *path, const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void test_a_row_without_sense_costs_that_row(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    char path[512];
    struct arena arena = {0};
    struct head_record *rows;
    struct head_record second = NODE;
    second.node.number = 2;
    second.node.name = "box-2";
    struct journal *j = open_at(dir, path);
    put(j, (struct head_record[]){NODE, second, JOB}, 3);
    journal_close(j);
    static const char *const damage[] = {
        "UPDATE nodes SET amounts = 'CPU' WHERE number = 1",
        "UPDATE nodes SET amounts = 'CPU=99999999999999999999' WHERE number = 1",
        "UPDATE nodes SET pid = 1 << 40 WHERE number = 1",
        "UPDATE nodes SET name = 'box-9' WHERE number = 1",
        "UPDATE nodes SET digest = digest + 1 WHERE number = 1",
    };
    for (size_t i = 0; i < ARRAY_SIZE(damage); i++) {
        run_sql(path, damage[i]);
        bad_rows[0] = '\0';
        j = open_at(dir, path);
        assert_int_equal(load(j, &arena, &rows), 2);
        assert_int_equal(rows[0].node.number, 2);
        assert_int_equal(rows[1].kind, HEAD_RECORD_JOB);
        assert_non_null(strstr(bad_rows, "node 1 is skipped: "));
        assert_null(strstr(bad_rows, "node 2"));
        put(j, &NODE, 1); /* whole again */
        journal_close(j);
        free(rows);
    }
    arena_fini(&arena);
}

static void test_a_repair_keeps_the_jobs_of_a_node_that_is_lost_to_it(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    char path[512];
    struct arena arena = {0};
    struct head_record *rows;
    struct place place = {.cluster = "test"};
    struct failure f;
    (void)text_copy(place.dir, sizeof place.dir, dir);
    struct journal *j = open_at(dir, path);
    put(j, (struct head_record[]){NODE, JOB}, 2);
    journal_close(j);
    run_sql(path, "UPDATE nodes SET digest = digest + 1 WHERE number = 1");
    FILE *out = tmpfile();
    assert_int_equal(repair_run(&place, out, &f), 0);
    fclose(out);
    j = open_at(dir, path);
    assert_int_equal(load(j, &arena, &rows), 1);
    assert_int_equal(rows[0].job.number, JOB.job.number);
    assert_int_equal(rows[0].job.state, HEAD_JOB_LOST);
    assert_int_not_equal(rows[0].job.ended_unix_ms, 0);
    journal_close(j);
    free(rows);
    arena_fini(&arena);
}

static int refused(const char *path, const char *words)
{
    struct journal *j = NULL;
    struct failure f;
    int r = journal_open(path, 0, &j, &f);
    if (r == 0) {
        journal_close(j);
        fail_msg("%s was opened", path);
    }
    if (strstr(f.message, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", f.message, words);
    }
    return r;
}

static void beside(const char *path, const char *name, char ret[512])
{
    snprintf(ret, 512, "%.*s%s", (int)(strrchr(path, '/') - path + 1), path, name);
}

/* Three jobs in three groups, left as a killed head leaves them: all of it in the -wal file. */
static void leave_killed(const char *dir, char path[512])
{
    pid_t child = fork();
    if (child == 0) {
        struct journal *j = open_at(dir, path);
        for (uint64_t i = 1; i <= 3; i++) {
            struct head_record job = JOB;
            job.job.number = job.job.key = i;
            put(j, &job, 1);
        }
        kill(getpid(), SIGKILL);
    }
    int status;
    snprintf(path, 512, "%s/head.db", dir);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void flip_bit(const char *path, off_t from_end)
{
    uint8_t byte;
    struct stat st;
    CLEANUP_FD int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(pread(fd, &byte, 1, st.st_size - from_end), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, st.st_size - from_end), 1);
}

/* Each loses the end of the log; SQLite itself finds nothing wrong. */
static void lose_flip(const char *path)
{
    char wal[512];
    beside(path, "head.db-wal", wal);
    flip_bit(wal, 100);
}

static void lose_cut(const char *path)
{
    char wal[512];
    struct stat st;
    beside(path, "head.db-wal", wal);
    assert_int_equal(stat(wal, &st), 0);
    assert_int_equal(truncate(wal, st.st_size - 4096), 0);
}

static void lose_wal(const char *path)
{
    char wal[512];
    beside(path, "head.db-wal", wal);
    assert_int_equal(unlink(wal), 0);
}

static void lose_all(const char *path)
{
    lose_wal(path);
    assert_int_equal(truncate(path, 0), 0);
}

static void lose_file(const char *path)
{
    lose_wal(path);
    assert_int_equal(unlink(path), 0);
}

static void test_a_journal_that_ends_too_early_is_refused(void **state)
{
    static const struct {
        void (*lose)(const char *path);
        const char *words;
        size_t left;
    } cases[] = {
        {lose_flip, "ends too early: the last 1 of 4 groups", 2},
        {lose_cut, "ends too early: the last 1 of 4 groups", 2},
        {lose_wal, "missing", 0},
        {lose_all, "missing or empty", 0},
        {lose_file, "missing or empty", 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP_DIR char *dir = unit_make_dir();
        char path[512];
        struct arena arena = {0};
        struct head_record *rows;
        struct journal *j;
        struct failure f;
        leave_killed(dir, path);
        cases[i].lose(path);
        assert_int_equal(refused(path, cases[i].words), CODE_OBJECT_LOST);
        assert_int_equal(refused(path, "--accept-loss"), CODE_OBJECT_LOST); /* nothing changed */
        assert_int_equal(journal_open(path, JOURNAL_ACCEPT_LOSS, &j, &f), 0);
        assert_string_not_equal(journal_loss(j), "");
        assert_int_equal(load(j, &arena, &rows), cases[i].left);
        assert_int_equal(numbers.job_last, 3); /* never given again */
        journal_close(j);
        free(rows);
        arena_fini(&arena);
        j = open_at(dir, path);
        assert_string_equal(journal_loss(j), "");
        journal_close(j);
    }
}

static void test_without_a_mark_nothing_is_sure(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    char path[512], mark[512], junk[4096];
    struct journal *j = open_at(dir, path);
    struct failure f;
    put(j, &NODE, 1);
    journal_close(j);
    beside(path, "head.mark", mark);
    assert_int_equal(unlink(mark), 0);
    assert_int_equal(refused(path, "head.mark is missing"), CODE_OBJECT_LOST);
    assert_int_equal(journal_open(path, JOURNAL_ACCEPT_LOSS, &j, &f), 0);
    journal_close(j);
    memset(junk, 0x5a, sizeof junk);
    CLEANUP_FD int fd = open(mark, O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, junk, sizeof junk, 0), sizeof junk);
    assert_int_equal(refused(path, "head.mark is damaged"), CODE_OBJECT_LOST);
}

/* The disk was full, or the head was killed, when the database was there and its mark was not. */
static void test_a_first_start_that_was_cut_off_is_tried_again(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    char path[512], mark[512];
    for (int torn = 0; torn < 2; torn++) {
        journal_close(open_at(dir, path));
        beside(path, "head.mark", mark);
        assert_int_equal(torn ? truncate(mark, 0) : unlink(mark), 0);
        struct journal *j = open_at(dir, path);
        assert_string_equal(journal_loss(j), "");
        put(j, &NODE, 1);
        journal_close(j);
        assert_int_equal(unlink(mark), 0);
        assert_int_equal(refused(path, "head.mark is missing"), CODE_OBJECT_LOST);
        assert_int_equal(unlink(path), 0);
    }
}

/* The power goes while the mark is written: the group was not acknowledged. */
static void test_a_torn_mark_leaves_the_one_before(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    char path[512], name[512];
    struct mark mark;
    struct journal *j = open_at(dir, path);
    put(j, &NODE, 1);
    uint64_t sequence = journal_reach(j).sequence;
    journal_close(j);
    beside(path, "head.mark", name);
    CLEANUP_FD int fd = open(name, O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "torn", 4, (off_t)(sequence % 2 * 512) + 10), 4);
    assert_int_equal(mark_read(name, &mark), 0);
    assert_int_equal(mark.sequence, sequence - 1);
    j = open_at(dir, path);
    assert_int_equal(journal_reach(j).sequence, sequence + 1);
    journal_close(j);
}

static void test_highest_numbers_outlive_their_rows(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    char path[512];
    struct arena arena = {0};
    struct head_record *rows;
    struct journal *j = open_at(dir, path);
    struct head_record forget[] = {{.kind = HEAD_RECORD_FORGET_NODE, .number = 1},
                                   {.kind = HEAD_RECORD_FORGET_JOB, .number = 9}};
    put(j, (struct head_record[]){NODE, JOB}, 2);
    put(j, forget, 2);
    journal_close(j);
    j = open_at(dir, path);
    assert_int_equal(load(j, &arena, &rows), 0);
    assert_int_equal(numbers.node_last, 1);
    assert_int_equal(numbers.job_last, 9);
    journal_close(j);
    free(rows);
    arena_fini(&arena);
}

/* As the first release made it. */
static void test_a_journal_of_version_1_is_taken_over(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    char path[512];
    struct arena arena = {0};
    struct head_record *rows;
    snprintf(path, sizeof path, "%s/head.db", dir);
    run_sql(path,
            "PRAGMA journal_mode = WAL;"
            "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
            "CREATE TABLE nodes (number INTEGER PRIMARY KEY, state INTEGER NOT NULL, since_unix_ms "
            "INTEGER NOT NULL, pid INTEGER NOT NULL, name TEXT NOT NULL, host TEXT NOT NULL, "
            "address TEXT NOT NULL, version TEXT NOT NULL, public_key TEXT NOT NULL, labels TEXT "
            "NOT NULL, note TEXT NOT NULL, amounts TEXT NOT NULL);"
            "CREATE TABLE jobs (number INTEGER PRIMARY KEY, node INTEGER NOT NULL, key INTEGER NOT "
            "NULL, state INTEGER NOT NULL, pid INTEGER NOT NULL, started_unix_ms INTEGER NOT NULL, "
            "ended_unix_ms INTEGER NOT NULL, done INTEGER NOT NULL, failed INTEGER NOT NULL, name "
            "TEXT NOT NULL, program TEXT NOT NULL, user TEXT NOT NULL);"
            "INSERT INTO nodes VALUES (4,1,7,8,'box-4','box','10.0.0.4:7421','0.1.0','key','a=b',"
            "'','CPU=20000');"
            "INSERT INTO jobs VALUES (6,4,11,2,9,5,6,3,1,'pi','./pi','ada');"
            "PRAGMA user_version = 1;");
    for (int i = 0; i < 2; i++) {
        struct journal *j = open_at(dir, path);
        bad_rows[0] = '\0';
        assert_int_equal(load(j, &arena, &rows), 2);
        assert_string_equal(bad_rows, "");
        assert_string_equal(rows[0].node.name, "box-4");
        assert_int_equal(rows[0].node.amounts[0].total_units, 20000);
        assert_int_equal(rows[1].job.done, 3);
        assert_int_equal(rows[1].job.cancelled, 0);
        assert_int_equal(numbers.node_last, 4);
        assert_int_equal(numbers.job_last, 6);
        journal_close(j);
        free(rows);
    }
    arena_fini(&arena);
}

/* Whatever passes the check that a JOIN passes can be read again. */
static void test_what_may_be_written_can_be_read(void **state)
{
    static const char *const names[] = {"a=b", "", "a b", "ok", "with/slash", "9", "a\nb", "\xff"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        CLEANUP_DIR char *dir = unit_make_dir();
        char path[512];
        const char *why;
        struct arena arena = {0};
        struct head_record *rows;
        const struct cluster_amount amounts[] = {{"CPU", 10000, 0}, {names[i], 5, 0}};
        struct head_record node = NODE;
        node.node.amounts = amounts;
        bool may = head_record_check(&node, &why) == 0;
        assert_int_equal(may, i == 3 || i == 4);
        struct journal *j = open_at(dir, path);
        if (may) {
            put(j, &node, 1);
            assert_int_equal(load(j, &arena, &rows), 1);
            assert_string_equal(rows[0].node.amounts[1].name, names[i]);
            free(rows);
        }
        journal_close(j);
        arena_fini(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_come_back),
        cmocka_unit_test(test_later_rows_replace_and_forgotten_ones_go),
        cmocka_unit_test(test_what_was_not_committed_is_not_there),
        cmocka_unit_test(test_file_is_a_write_ahead_log),
        cmocka_unit_test(test_newer_file_is_refused),
        cmocka_unit_test(test_damaged_files_are_named),
        cmocka_unit_test(test_a_row_without_sense_costs_that_row),
        cmocka_unit_test(test_a_repair_keeps_the_jobs_of_a_node_that_is_lost_to_it),
        cmocka_unit_test(test_a_journal_that_ends_too_early_is_refused),
        cmocka_unit_test(test_without_a_mark_nothing_is_sure),
        cmocka_unit_test(test_a_first_start_that_was_cut_off_is_tried_again),
        cmocka_unit_test(test_a_torn_mark_leaves_the_one_before),
        cmocka_unit_test(test_highest_numbers_outlive_their_rows),
        cmocka_unit_test(test_a_journal_of_version_1_is_taken_over),
        cmocka_unit_test(test_what_may_be_written_can_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
