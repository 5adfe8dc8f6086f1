#include "raylet/programs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/files.h"
#include "tests/unit/unit.h"

#define LIMIT_NS (10 * NS_PER_S)

struct rig {
    char *dir, store[512];
    struct loop *loop;
    struct offload *offload;
    struct programs *programs;
    bool wanted;
    uint32_t client, program;
    struct failure failure;
    unsigned answers, asked;
};

static bool on_loaded(void *arg, uint32_t client, uint32_t program, const struct failure *f)
{
    struct rig *r = arg;
    r->client = client;
    r->program = program;
    r->failure = f != NULL ? *f : (struct failure){0};
    r->answers++;
    return r->wanted;
}

static void rig_init(struct rig *r)
{
    *r = (struct rig){.wanted = true};
    r->dir = unit_make_dir();
    snprintf(r->store, sizeof r->store, "%s/store", r->dir);
    assert_int_equal(files_make_dirs(r->store, 0700), 0);
    assert_int_equal(loop_new(&r->loop), 0);
    assert_int_equal(offload_new(&r->offload, r->loop, "test"), 0);
    r->programs = programs_new(r->offload, r->store,
                               &(struct programs_owner){.on_loaded = on_loaded, .arg = r});
}

static void rig_fini(struct rig *r)
{
    offload_free(r->offload);
    programs_free(r->programs);
    loop_free(r->loop);
    unit_remove_dir(&r->dir);
}

static void make_file(struct rig *r, const char *name, const char *text, char path[1024])
{
    snprintf(path, 1024, "%s/%s", r->dir, name);
    assert_int_equal(files_write_atomic(path, text, strlen(text), 0700), 0);
}

static uint32_t load(struct rig *r, uint32_t client, const char *path)
{
    uint64_t deadline_ns = clock_now_ns() + LIMIT_NS;
    unsigned before = r->answers;
    programs_load(r->programs, client, open(path, O_RDONLY | O_CLOEXEC));
    while (r->answers == before) {
        assert_true(clock_now_ns() < deadline_ns);
        assert_true(loop_turn(r->loop, 10 * NS_PER_MS) >= 0);
    }
    assert_int_equal(r->client, client);
    return r->program;
}

static void test_equal_bytes_equal_handle(void **state)
{
    struct rig r;
    char a[1024], b[1024], c[1024];
    uint8_t hash[PROGRAMS_HASH_SIZE];
    uint64_t size = 0;
    struct failure f;
    rig_init(&r);
    make_file(&r, "a", "abc", a);
    make_file(&r, "b", "abc", b);
    make_file(&r, "c", "abcd", c);
    uint32_t first = load(&r, 1, a);
    assert_int_not_equal(first, 0);
    assert_int_equal(load(&r, 2, b), first);
    assert_int_not_equal(load(&r, 3, c), first);
    static const uint8_t abc[PROGRAMS_HASH_SIZE] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea,
                                                    0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
                                                    0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c,
                                                    0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    assert_true(programs_identity(r.programs, first, hash, &size));
    assert_memory_equal(hash, abc, sizeof abc);
    assert_int_equal(size, 3);
    assert_true(programs_open(r.programs, first, &f) >= 0);

    /* What is known is answered at once. */
    unsigned before = r.answers;
    programs_load(r.programs, 9, open(a, O_RDONLY | O_CLOEXEC));
    assert_int_equal(r.answers, before + 1);
    assert_int_equal(r.program, first);

    /* Three answers named it: the third drop closes it. */
    programs_drop(r.programs, first);
    programs_drop(r.programs, first);
    assert_true(programs_open(r.programs, first, &f) >= 0);
    programs_drop(r.programs, first);
    assert_int_equal(programs_open(r.programs, first, &f), -1);
    assert_int_equal(f.code, CODE_PROGRAM);
    uint32_t again = load(&r, 4, a);
    assert_int_not_equal(again, 0);
    assert_true(programs_open(r.programs, again, &f) >= 0);
    rig_fini(&r);
}

static bool is_wanted(void *arg, uint32_t client)
{
    struct rig *r = arg;
    r->asked++;
    return r->asked < 3;
}

/* Hours of a thread that others need as well, for a driver that is gone. */
static void test_what_nobody_waits_for_is_not_hashed(void **state)
{
    struct rig r;
    char path[1024];
    rig_init(&r);
    programs_free(r.programs);
    r.programs = programs_new(
        r.offload, r.store,
        &(struct programs_owner){.on_loaded = on_loaded, .is_wanted = is_wanted, .arg = &r});
    make_file(&r, "sparse", "", path);
    assert_int_equal(truncate(path, (off_t)PROGRAMS_SIZE_MAX), 0);
    programs_load(r.programs, 1, open(path, O_RDONLY | O_CLOEXEC));
    uint64_t deadline_ns = clock_now_ns() + LIMIT_NS;
    while (r.asked < 3) {
        assert_true(clock_now_ns() < deadline_ns);
        assert_true(loop_turn(r.loop, 10 * NS_PER_MS) >= 0);
    }
    make_file(&r, "small", "abc", path);
    assert_int_not_equal(load(&r, 2, path), 0);
    assert_int_equal(r.answers, 1);
    rig_fini(&r);
}

static void test_what_nobody_wants_is_closed(void **state)
{
    struct rig r;
    char a[1024];
    struct failure f;
    rig_init(&r);
    make_file(&r, "a", "abc", a);
    r.wanted = false;
    uint32_t program = load(&r, 1, a);
    assert_int_equal(programs_open(r.programs, program, &f), -1);
    rig_fini(&r);
}

static void test_what_cannot_be_used(void **state)
{
    struct rig r;
    rig_init(&r);
    programs_load(r.programs, 1, -1);
    assert_int_equal(r.answers, 1);
    assert_int_equal(r.program, 0);
    assert_int_equal(r.failure.code, CODE_PROGRAM);
    assert_int_equal(load(&r, 2, r.dir), 0); /* a directory */
    assert_int_equal(r.failure.code, CODE_PROGRAM);
    rig_fini(&r);
}

static void test_a_file_that_was_written_to(void **state)
{
    struct rig r;
    char a[1024];
    struct failure f;
    rig_init(&r);
    make_file(&r, "a", "abc", a);
    uint32_t program = load(&r, 1, a);
    /* Replaced, as a linker does: the old file is what it was. */
    make_file(&r, "a", "new", a);
    assert_true(programs_open(r.programs, program, &f) >= 0);
    uint32_t other = load(&r, 2, a);
    assert_int_not_equal(other, program);
    /* Written in place: not the one that was hashed any more. */
    CLEANUP_FD int fd = open(a, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, "!", 1), 1);
    assert_int_equal(programs_open(r.programs, other, &f), -1);
    assert_non_null(strstr(f.message, "Start the driver again"));
    assert_int_not_equal(load(&r, 3, a), other);
    rig_fini(&r);
}

static void test_the_store(void **state)
{
    struct rig r;
    char a[1024], hash[65], path[1024];
    struct stat st;
    struct program_pins none = {0};
    rig_init(&r);
    for (int i = 0; i < 4; i++) {
        struct timespec times[2] = {{.tv_sec = 1000 + i}, {.tv_sec = 1000 + i}};
        make_file(&r, "a", "0123456789", a);
        CLEANUP_FD int fd = open(a, O_RDONLY | O_CLOEXEC);
        snprintf(hash, sizeof hash, "%064d", i);
        assert_int_equal(program_store_add(r.store, fd, hash, 30, &none), 0);
        snprintf(path, sizeof path, "%s/%s", r.store, hash);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0500);
        assert_int_equal(st.st_size, 10);
        assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    }
    /* 30 bytes hold three: the oldest went. */
    snprintf(path, sizeof path, "%s/%064d", r.store, 0);
    assert_int_equal(access(path, F_OK), -1);
    snprintf(path, sizeof path, "%s/%064d", r.store, 1);
    assert_int_equal(access(path, F_OK), 0);
    CLEANUP_FD int fd = open(a, O_RDONLY | O_CLOEXEC);
    assert_int_equal(program_store_add(r.store, fd, "00", 5, &none), -EFBIG);
    rig_fini(&r);
}

/* More than one slice of zeros: other work of the thread comes between, and it can be given up. */
static void test_hashing_goes_in_slices(void **state)
{
    struct rig r;
    char large[1024], small[1024];
    struct failure f;
    rig_init(&r);
    make_file(&r, "large", "", large);
    make_file(&r, "small", "0123456789", small);
    assert_int_equal(truncate(large, (off_t)(2 * PROGRAMS_SLICE_BYTES + 1)), 0);
    programs_load(r.programs, 1, open(large, O_RDONLY | O_CLOEXEC));
    assert_int_not_equal(load(&r, 2, small), 0); /* the first answer is not for the large one */
    uint64_t deadline_ns = clock_now_ns() + 6 * LIMIT_NS;
    while (r.answers < 2) {
        assert_true(clock_now_ns() < deadline_ns);
        assert_true(loop_turn(r.loop, 10 * NS_PER_MS) >= 0);
    }
    assert_int_equal(r.client, 1);
    uint8_t hash[PROGRAMS_HASH_SIZE];
    char text[PROGRAMS_HEX_SIZE];
    uint64_t size = 0;
    assert_true(programs_identity(r.programs, r.program, hash, &size));
    assert_int_equal(size, 2 * PROGRAMS_SLICE_BYTES + 1);
    program_hash_text(hash, text);
    assert_string_equal(text, "bdf7fbb54387c24608fd757a1b31c32cabcd7b6bee8ff3345c897139fffc072a");
    assert_true(programs_open(r.programs, r.program, &f) >= 0);

    programs_drop(r.programs, r.program);
    assert_int_equal(truncate(large, (off_t)PROGRAMS_SIZE_MAX), 0);
    programs_load(r.programs, 3, open(large, O_RDONLY | O_CLOEXEC));
    programs_close(r.programs);
    rig_fini(&r); /* does not wait for minutes */
    assert_int_equal(r.answers, 2);
}

/* Copies that are larger than all may be together go first. */
static void test_large_copies_go_first(void **state)
{
    char path[3][1024];
    struct program_pins none = {0};
    char *store = unit_make_dir();
    for (int i = 0; i < 3; i++) {
        struct timespec times[2] = {{.tv_sec = 1000 + i}, {.tv_sec = 1000 + i}};
        snprintf(path[i], sizeof path[i], "%s/%064d", store, i);
        assert_int_equal(files_write_atomic(path[i], "0123456789", i == 1 ? 10 : 3, 0500), 0);
        assert_int_equal(utimensat(AT_FDCWD, path[i], times, 0), 0);
    }
    assert_int_equal(program_store_make_room(store, 0, 8, &none), 0);
    assert_int_equal(access(path[0], F_OK), 0);
    assert_int_equal(access(path[1], F_OK), -1);
    assert_int_equal(program_store_make_room(store, 3, 8, &none), 0);
    assert_int_equal(access(path[0], F_OK), -1);
    assert_int_equal(access(path[2], F_OK), 0);
    unit_remove_dir(&store);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_bytes_equal_handle),
        cmocka_unit_test(test_what_nobody_waits_for_is_not_hashed),
        cmocka_unit_test(test_what_nobody_wants_is_closed),
        cmocka_unit_test(test_what_cannot_be_used),
        cmocka_unit_test(test_a_file_that_was_written_to),
        cmocka_unit_test(test_the_store),
        cmocka_unit_test(test_hashing_goes_in_slices),
        cmocka_unit_test(test_large_copies_go_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
