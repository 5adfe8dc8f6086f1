/* Both ends of a program's way from node to node: raylet/fetch.c and raylet/giver.c. */
#include "raylet/fetch.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/files.h"
#include "tests/unit/unit.h"

#define LIMIT_NS   (10 * NS_PER_S)
#define SENT_MAX   300
#define BIG        (5u * GIVER_PART_BYTES + 777) /* six parts */
#define ANSWER_MAX 8

struct sent { /* a message under way; texts of it are copies */
    uint32_t peer;
    struct peer_msg m;
    uint8_t hash[PROGRAMS_HASH_SIZE];
    uint8_t *payload;
};

struct answer {
    uint64_t job;
    uint32_t program;
    struct failure failure;
};

struct rig {
    char *dir, here[512], there[512];
    struct loop *loop;
    struct offload *offload;
    struct programs *programs, *theirs;
    struct fetch *fetch;
    struct giver *giver;
    struct sent asked[SENT_MAX], parts[SENT_MAX];
    size_t asked_count, part_count;
    struct answer answers[ANSWER_MAX];
    size_t answer_count;
    uint32_t loaded; /* the handle that `theirs` has */
    uint8_t hash[PROGRAMS_HASH_SIZE];
    uint8_t *program; /* BIG bytes */
};

static bool on_loaded(void *arg, uint32_t client, uint32_t program, const struct failure *f)
{
    struct rig *r = arg;
    assert_null(f);
    r->loaded = program;
    return true;
}

static void keep(struct sent *to, uint32_t peer, const struct peer_msg *m)
{
    *to = (struct sent){.peer = peer, .m = *m, .payload = xmalloc(m->payload.size + 1)};
    const struct bytes *hash =
        m->type == PEER_PROGRAM_GET ? &m->program_get.hash : &m->program_part.hash;
    assert_int_equal(hash->size, PROGRAMS_HASH_SIZE);
    memcpy(to->hash, hash->data, sizeof to->hash);
    if (m->payload.size != 0) {
        memcpy(to->payload, m->payload.data, m->payload.size);
    }
}

static void send_get(void *arg, uint32_t peer, const struct peer_msg *m)
{
    struct rig *r = arg;
    assert_int_equal(m->type, PEER_PROGRAM_GET);
    assert_true(r->asked_count < SENT_MAX);
    keep(&r->asked[r->asked_count++], peer, m);
}

static void send_part(void *arg, uint32_t peer, const struct peer_msg *m)
{
    struct rig *r = arg;
    assert_int_equal(m->type, PEER_PROGRAM_PART);
    assert_true(r->part_count < SENT_MAX);
    keep(&r->parts[r->part_count++], peer, m);
}

static void on_fetched(void *arg, uint64_t job, uint32_t program, const struct failure *f)
{
    struct rig *r = arg;
    struct answer *a = &r->answers[r->answer_count++];
    assert_true(r->answer_count <= ANSWER_MAX);
    assert_true((program != 0) == (f == NULL));
    *a = (struct answer){.job = job, .program = program};
    if (f != NULL) {
        a->failure = *f;
    }
}

static void turn(struct rig *r)
{
    assert_true(loop_turn(r->loop, NS_PER_MS) >= 0);
}

static void load_theirs(struct rig *r)
{
    char path[600];
    uint64_t deadline_ns = clock_now_ns() + LIMIT_NS;
    r->program = xmalloc(BIG);
    for (size_t i = 0; i < BIG; i++) {
        r->program[i] = (uint8_t)(i * 31 + (i >> 9));
    }
    memcpy(r->program, "#!/bin/sh\nexit 42\n", 18); /* it can be run */
    snprintf(path, sizeof path, "%s/original", r->dir);
    assert_int_equal(files_write_atomic(path, r->program, BIG, 0700), 0);
    programs_load(r->theirs, 1, open(path, O_RDONLY | O_CLOEXEC));
    while (r->loaded == 0) {
        assert_true(clock_now_ns() < deadline_ns);
        turn(r);
    }
    uint64_t size = 0;
    assert_true(programs_identity(r->theirs, r->loaded, r->hash, &size));
    assert_int_equal(size, BIG);
}

static void rig_init_bounded(struct rig *r, uint64_t store_bytes_max, uint64_t spare_bytes)
{
    const struct programs_owner owner = {.on_loaded = on_loaded, .arg = r};
    *r = (struct rig){.dir = unit_make_dir()};
    snprintf(r->here, sizeof r->here, "%s/here", r->dir);
    snprintf(r->there, sizeof r->there, "%s/there", r->dir);
    assert_int_equal(files_make_dirs(r->here, 0700), 0);
    assert_int_equal(files_make_dirs(r->there, 0700), 0);
    assert_int_equal(loop_new(&r->loop), 0);
    assert_int_equal(offload_new(&r->offload, r->loop, "test"), 0);
    r->programs = programs_new(r->offload, r->here, &owner);
    r->theirs = programs_new(r->offload, r->there, &owner);
    r->fetch = fetch_new(&(struct fetch_config){.offload = r->offload,
                                                .programs = r->programs,
                                                .node_name = "here",
                                                .store_bytes_max = store_bytes_max,
                                                .spare_bytes = spare_bytes,
                                                .send = send_get,
                                                .on_fetched = on_fetched,
                                                .arg = r});
    r->giver = giver_new(&(struct giver_config){.offload = r->offload,
                                                .programs = r->theirs,
                                                .node_name = "there",
                                                .send = send_part,
                                                .arg = r});
    load_theirs(r);
}

static void rig_init(struct rig *r)
{
    rig_init_bounded(r, 0, 0);
}

static void forget(struct sent *list, size_t *count)
{
    for (size_t i = 0; i < *count; i++) {
        free(list[i].payload);
    }
    *count = 0;
}

/* What is half written in the store here. */
static unsigned count_halves(const struct rig *r)
{
    unsigned count = 0;
    DIR *dir = opendir(r->here);
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        count += strncmp(e->d_name, ".get", 4) == 0;
    }
    closedir(dir);
    return count;
}

static void rig_fini(struct rig *r)
{
    giver_close(r->giver);
    offload_free(r->offload);
    fetch_free(r->fetch);
    giver_free(r->giver);
    programs_free(r->programs);
    programs_free(r->theirs);
    assert_int_equal(count_halves(r), 0);
    forget(r->asked, &r->asked_count);
    forget(r->parts, &r->part_count);
    loop_free(r->loop);
    free(r->program);
    unit_remove_dir(&r->dir);
}

static void order(struct rig *r, uint32_t peer, uint64_t job)
{
    fetch_order(r->fetch, clock_now_ns(), peer, job, r->hash, BIG);
}

/* Carries all questions to the other side. */
static void carry_questions(struct rig *r)
{
    for (size_t i = 0; i < r->asked_count; i++) {
        struct sent *s = &r->asked[i];
        s->m.program_get.hash = bytes_of(s->hash, sizeof s->hash);
        giver_get(r->giver, s->peer, &s->m.program_get);
    }
    forget(r->asked, &r->asked_count);
}

static void deliver(struct rig *r, struct sent *s)
{
    s->m.program_part.hash = bytes_of(s->hash, sizeof s->hash);
    s->m.payload.data = s->payload;
    fetch_part(r->fetch, clock_now_ns(), s->peer, &s->m);
}

static void carry_parts(struct rig *r)
{
    for (size_t i = 0; i < r->part_count; i++) {
        deliver(r, &r->parts[i]);
    }
    forget(r->parts, &r->part_count);
}

/* Until that many answers are there. */
static void until_answers(struct rig *r, size_t count)
{
    uint64_t deadline_ns = clock_now_ns() + LIMIT_NS;
    while (r->answer_count < count) {
        assert_true(clock_now_ns() < deadline_ns);
        carry_questions(r);
        carry_parts(r);
        turn(r);
    }
    assert_int_equal(r->answer_count, count);
}

static void until_asked(struct rig *r, size_t count)
{
    uint64_t deadline_ns = clock_now_ns() + LIMIT_NS;
    while (r->asked_count < count) {
        assert_true(clock_now_ns() < deadline_ns);
        turn(r);
    }
}

static void until_parts(struct rig *r, size_t count)
{
    uint64_t deadline_ns = clock_now_ns() + LIMIT_NS;
    while (r->part_count < count) {
        assert_true(clock_now_ns() < deadline_ns);
        carry_questions(r);
        turn(r);
    }
}

/* The giver has nothing left to give. */
static void until_idle(struct rig *r)
{
    uint64_t deadline_ns = clock_now_ns() + LIMIT_NS;
    struct giver_counts counts;
    do {
        assert_true(clock_now_ns() < deadline_ns);
        turn(r);
        giver_count(r->giver, &counts);
    } while (counts.reads + counts.waiting != 0);
}

static void until_over(struct rig *r)
{
    uint64_t deadline_ns = clock_now_ns() + LIMIT_NS;
    struct fetch_counts counts;
    do {
        assert_true(clock_now_ns() < deadline_ns);
        turn(r);
        fetch_count(r->fetch, &counts);
    } while (counts.fetches != 0 || count_halves(r) != 0);
}

static void assert_stored(struct rig *r)
{
    char path[1024], name[PROGRAMS_HEX_SIZE];
    struct buffer bytes = {0};
    struct stat st;
    program_hash_text(r->hash, name);
    snprintf(path, sizeof path, "%s/%s", r->here, name);
    assert_int_equal(files_read(path, BIG + 1, &bytes), 0);
    assert_int_equal(bytes.size, BIG);
    assert_memory_equal(bytes.data, r->program, BIG);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0500);
    buffer_fini(&bytes);
}

/* Starts it from the descriptor, as the launcher does. */
static int run_program(struct rig *r, uint32_t program)
{
    struct failure f;
    int status = 0;
    int fd = programs_open(r->programs, program, &f);
    assert_true(fd >= 0);
    pid_t child = fork();
    if (child == 0) {
        char *argv[] = {"program", NULL}, *envp[] = {NULL};
        (void)fcntl(fd, F_SETFD, 0); /* a script is read through it */
        fexecve(fd, argv, envp);
        _exit(99);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WEXITSTATUS(status);
}

static void test_a_program_comes_and_runs(void **state)
{
    struct rig r;
    rig_init(&r);
    order(&r, 7, 1);
    until_asked(&r, FETCH_AHEAD);
    assert_int_equal(r.asked_count, FETCH_AHEAD); /* no more at once */
    assert_int_equal(r.asked[0].peer, 7);
    assert_int_equal(r.asked[2].m.program_get.offset, 2 * GIVER_PART_BYTES);
    until_answers(&r, 1);
    assert_int_equal(r.answers[0].job, 1);
    assert_int_equal(r.answers[0].failure.code, 0);
    assert_stored(&r);
    assert_int_equal(run_program(&r, r.answers[0].program), 42);
    assert_int_equal(fetch_next_ns(r.fetch), NS_FOREVER);

    /* What is open is given at once, and has the same handle. */
    order(&r, 9, 2);
    assert_int_equal(r.answer_count, 2);
    assert_int_equal(r.answers[1].program, r.answers[0].program);

    /* What is only stored is verified and used: nobody is asked. */
    programs_drop(r.programs, r.answers[0].program);
    programs_drop(r.programs, r.answers[0].program);
    order(&r, 9, 3);
    assert_int_equal(r.answer_count, 2);
    until_answers(&r, 3);
    assert_int_not_equal(r.answers[2].program, 0);
    assert_int_equal(run_program(&r, r.answers[2].program), 42);
    rig_fini(&r);
}

static void test_a_damaged_copy_is_fetched_again(void **state)
{
    struct rig r;
    char path[1024], name[PROGRAMS_HEX_SIZE];
    rig_init(&r);
    program_hash_text(r.hash, name);
    snprintf(path, sizeof path, "%s/%s", r.here, name);
    r.program[BIG / 2] ^= 1;
    assert_int_equal(files_write_atomic(path, r.program, BIG, 0500), 0);
    r.program[BIG / 2] ^= 1;
    order(&r, 7, 1);
    until_asked(&r, 1);
    until_answers(&r, 1);
    assert_int_not_equal(r.answers[0].program, 0);
    assert_stored(&r);
    rig_fini(&r);
}

/* A raylet that starts again finds what the one before had. */
static void test_a_copy_of_before(void **state)
{
    struct rig r;
    char path[1024], name[PROGRAMS_HEX_SIZE];
    rig_init(&r);
    program_hash_text(r.hash, name);
    snprintf(path, sizeof path, "%s/%s", r.here, name);
    assert_int_equal(files_write_atomic(path, r.program, BIG, 0500), 0);
    order(&r, 7, 1);
    while (r.answer_count == 0) {
        turn(&r);
        assert_int_equal(r.asked_count, 0);
    }
    assert_int_not_equal(r.answers[0].program, 0);
    assert_int_equal(run_program(&r, r.answers[0].program), 42);
    rig_fini(&r);
}

static void test_two_jobs_one_fetch(void **state)
{
    struct rig r;
    struct fetch_counts counts;
    rig_init(&r);
    order(&r, 7, 1);
    order(&r, 8, 2);
    fetch_count(r.fetch, &counts);
    assert_int_equal(counts.fetches, 1);
    assert_int_equal(counts.waiting, 2);
    until_asked(&r, FETCH_AHEAD);
    for (size_t i = 0; i < r.asked_count; i++) {
        assert_int_equal(r.asked[i].peer, 7);
    }
    until_answers(&r, 2);
    assert_int_equal(r.answers[0].program, r.answers[1].program);
    /* Each has a use of its own. */
    struct failure f;
    programs_drop(r.programs, r.answers[0].program);
    assert_true(programs_open(r.programs, r.answers[0].program, &f) >= 0);
    programs_drop(r.programs, r.answers[0].program);
    assert_int_equal(programs_open(r.programs, r.answers[0].program, &f), -1);
    rig_fini(&r);
}

static void test_the_session_ends_half_way(void **state)
{
    struct rig r;
    rig_init(&r);
    order(&r, 7, 1);
    until_parts(&r, 2);
    carry_parts(&r); /* two or three are here */
    until_asked(&r, 1);
    forget(r.asked, &r.asked_count);
    fetch_down(r.fetch, clock_now_ns(), 7);
    for (int i = 0; i < 20; i++) {
        turn(&r);
    }
    assert_int_equal(r.answer_count, 0);
    assert_int_equal(r.asked_count, 0); /* it rests */
    assert_int_equal(fetch_next_ns(r.fetch), NS_FOREVER);
    /* Another job of the same program, from another node: the rest comes from there. */
    order(&r, 8, 2);
    assert_int_equal(r.asked[0].peer, 8);
    assert_true(r.asked[0].m.program_get.offset >= 2 * GIVER_PART_BYTES);
    until_answers(&r, 2);
    assert_int_not_equal(r.answers[0].program, 0);
    assert_int_not_equal(r.answers[1].program, 0);
    assert_stored(&r);
    rig_fini(&r);
}

static void test_a_second_source_takes_over(void **state)
{
    struct rig r;
    rig_init(&r);
    order(&r, 7, 1);
    order(&r, 8, 2);
    until_asked(&r, FETCH_AHEAD);
    forget(r.asked, &r.asked_count);
    fetch_down(r.fetch, clock_now_ns(), 7);
    assert_int_equal(r.asked_count, FETCH_AHEAD);
    assert_int_equal(r.asked[0].peer, 8);
    /* One that says no fails its own job only. */
    order(&r, 9, 3);
    struct peer_msg no = {.type = PEER_PROGRAM_PART};
    no.program_part.hash = bytes_of(r.hash, sizeof r.hash);
    failure_set(&no.program_part.failure, CODE_FAILED, "there is none");
    fetch_part(r.fetch, clock_now_ns(), 8, &no);
    assert_int_equal(r.answer_count, 1);
    assert_int_equal(r.answers[0].job, 2);
    assert_int_equal(r.answers[0].failure.code, CODE_PROGRAM);
    assert_string_equal(r.answers[0].failure.message, "there is none");
    forget(r.asked, &r.asked_count);
    fetch_down(r.fetch, clock_now_ns(), 9);
    order(&r, 7, 1); /* its session is up again */
    until_answers(&r, 3);
    assert_int_not_equal(r.answers[1].program, 0);
    assert_int_not_equal(r.answers[2].program, 0);
    rig_fini(&r);
}

static void test_a_corrupt_part(void **state)
{
    struct rig r;
    rig_init(&r);
    order(&r, 7, 1);
    until_parts(&r, 1);
    r.parts[0].payload[100] ^= 1;
    until_answers(&r, 1);
    assert_int_equal(r.answers[0].program, 0);
    assert_int_equal(r.answers[0].failure.code, CODE_PROGRAM);
    char name[PROGRAMS_HEX_SIZE];
    program_hash_text(r.hash, name);
    name[12] = '\0';
    assert_non_null(strstr(r.answers[0].failure.message, name));
    assert_non_null(strstr(r.answers[0].failure.message, "node number 7"));
    assert_non_null(strstr(r.answers[0].failure.message, "\"here\""));
    until_over(&r);
    program_hash_text(r.hash, name);
    assert_int_equal(program_store_open(r.here, name), -ENOENT);
    rig_fini(&r);
}

/* A second announcer has a good copy: its job does not suffer. */
static void test_a_corrupt_part_and_a_good_node(void **state)
{
    struct rig r;
    rig_init(&r);
    order(&r, 7, 1);
    order(&r, 8, 2);
    until_parts(&r, 1);
    r.parts[0].payload[100] ^= 1;
    until_answers(&r, 2);
    assert_int_equal(r.answers[0].job, 1);
    assert_int_equal(r.answers[0].failure.code, CODE_PROGRAM);
    assert_int_equal(r.answers[1].job, 2);
    assert_int_not_equal(r.answers[1].program, 0);
    assert_stored(&r);
    rig_fini(&r);
}

static void test_parts_that_nobody_asked_for(void **state)
{
    struct rig r;
    struct fetch_counts counts;
    rig_init(&r);
    order(&r, 7, 1);
    until_parts(&r, 3);
    uint64_t offset = r.parts[0].m.program_part.offset;
    r.parts[0].m.program_part.offset = 12345;
    deliver(&r, &r.parts[0]);
    r.parts[0].m.program_part.offset = UINT64_MAX;
    deliver(&r, &r.parts[0]);
    r.parts[0].m.program_part.offset = offset;
    r.parts[0].peer = 8; /* somebody else's */
    deliver(&r, &r.parts[0]);
    r.parts[0].peer = 7;
    r.parts[0].hash[0] ^= 1;
    deliver(&r, &r.parts[0]);
    r.parts[0].hash[0] ^= 1;
    deliver(&r, &r.parts[0]);
    deliver(&r, &r.parts[0]); /* twice: of a former order, say */
    fetch_count(r.fetch, &counts);
    assert_int_equal(counts.waiting, 1);
    until_answers(&r, 1);
    assert_int_not_equal(r.answers[0].program, 0);
    assert_stored(&r);
    rig_fini(&r);
}

static void test_sizes_that_lie(void **state)
{
    struct rig r;
    rig_init(&r);
    fetch_order(r.fetch, clock_now_ns(), 7, 1, r.hash, 0);
    fetch_order(r.fetch, clock_now_ns(), 7, 2, r.hash, PROGRAMS_SIZE_MAX + 1);
    assert_int_equal(r.answer_count, 2);
    assert_int_equal(r.answers[0].failure.code, CODE_PROGRAM);
    assert_int_equal(r.answers[1].failure.code, CODE_PROGRAM);
    /* More than announced, later on. */
    order(&r, 7, 3);
    until_parts(&r, 1);
    r.parts[0].m.program_part.total = UINT64_MAX;
    until_answers(&r, 3);
    assert_int_equal(r.answers[2].failure.code, CODE_PROGRAM);
    until_over(&r);
    /* Another size than the one that is under way. */
    order(&r, 7, 4);
    fetch_order(r.fetch, clock_now_ns(), 8, 5, r.hash, BIG - 1);
    assert_int_equal(r.answer_count, 4);
    assert_int_equal(r.answers[3].job, 5);
    /* A part that is too short. */
    until_idle(&r); /* what the former fetch asked for is given */
    forget(r.asked, &r.asked_count);
    forget(r.parts, &r.part_count);
    until_parts(&r, 1);
    r.parts[0].m.payload.size--;
    until_answers(&r, 5);
    assert_int_equal(r.answers[4].job, 4);
    assert_non_null(strstr(r.answers[4].failure.message, "does not fit"));
    until_over(&r);
    rig_fini(&r);
}

static void test_stopped(void **state)
{
    struct rig r;
    struct fetch_counts counts;
    rig_init(&r);
    order(&r, 7, 1);
    fetch_stop(r.fetch, 1); /* while it looks */
    fetch_stop(r.fetch, 1);
    order(&r, 7, 2);
    order(&r, 7, 3);
    until_parts(&r, 3);
    carry_parts(&r);
    fetch_stop(r.fetch, 2);
    fetch_count(r.fetch, &counts);
    assert_int_equal(counts.waiting, 1);
    fetch_stop(r.fetch, 3); /* while parts are written */
    fetch_count(r.fetch, &counts);
    assert_int_equal(counts.fetches, 0);
    /* Anew, while the parts of before are still on their way. */
    order(&r, 7, 4);
    until_answers(&r, 1);
    assert_int_equal(r.answers[0].job, 4);
    assert_int_not_equal(r.answers[0].program, 0);
    assert_stored(&r);
    until_over(&r);
    rig_fini(&r);
}

static void test_a_silent_giver(void **state)
{
    struct rig r;
    rig_init(&r);
    order(&r, 7, 1);
    until_asked(&r, 1);
    uint64_t at_ns = fetch_next_ns(r.fetch);
    assert_true(at_ns <= clock_now_ns() + FETCH_SILENCE_NS);
    fetch_tick(r.fetch, at_ns - 1);
    assert_int_equal(r.answer_count, 0);
    fetch_tick(r.fetch, at_ns);
    assert_int_equal(r.answer_count, 1);
    assert_int_equal(r.answers[0].failure.code, CODE_PROGRAM);
    assert_non_null(strstr(r.answers[0].failure.message, "node number 7"));
    until_over(&r);
    rig_fini(&r);
}

/* The store's bound is for copies that nobody uses: only the disk bounds what is needed. */
static void test_larger_than_the_store(void **state)
{
    struct rig r;
    char old[1024];
    rig_init_bounded(&r, BIG - 1, 0);
    snprintf(old, sizeof old, "%s/%064d", r.here, 5);
    assert_int_equal(files_write_atomic(old, r.program, 4096, 0500), 0);
    order(&r, 7, 1);
    until_answers(&r, 1);
    assert_int_not_equal(r.answers[0].program, 0);
    assert_int_equal(access(old, F_OK), -1); /* it has given way */
    assert_stored(&r);
    assert_int_equal(run_program(&r, r.answers[0].program), 42);
    rig_fini(&r);
}

static void test_no_room(void **state)
{
    struct rig r;
    char old[1024];
    rig_init_bounded(&r, 0, UINT64_MAX / 2); /* so much must be left on the disk */
    snprintf(old, sizeof old, "%s/%064d", r.here, 5);
    assert_int_equal(files_write_atomic(old, r.program, 4096, 0500), 0);
    fetch_order(r.fetch, clock_now_ns(), 7, 1, r.hash, PROGRAMS_SIZE_MAX);
    until_answers(&r, 1);
    assert_int_equal(r.answers[0].failure.code, CODE_PROGRAM);
    assert_non_null(strstr(r.answers[0].failure.message, "\"here\" has no room"));
    assert_non_null(strstr(r.answers[0].failure.message, "it takes 65537 MiB"));
    assert_int_equal(access(old, F_OK), -1); /* nothing was left undone */
    until_over(&r);
    rig_fini(&r);
}

/* What is open stays; what is not goes, the oldest first. */
static void test_pinned_copies_stay(void **state)
{
    struct rig r;
    char old[1024], pinned[PROGRAMS_HEX_SIZE];
    struct program_pins pins;
    rig_init_bounded(&r, BIG + 100, 0);
    snprintf(old, sizeof old, "%s/%064d", r.here, 5);
    assert_int_equal(files_write_atomic(old, r.program, 4096, 0500), 0);
    order(&r, 7, 1);
    until_answers(&r, 1);
    assert_int_not_equal(r.answers[0].program, 0);
    assert_int_equal(access(old, F_OK), -1);
    programs_pins(r.programs, &pins);
    assert_int_equal(pins.count, 1);
    program_hash_text(r.hash, pinned);
    assert_string_equal(pins.names[0], pinned);
    assert_int_equal(program_store_make_room(r.here, BIG, BIG + 100, &pins), -ENOBUFS);
    assert_stored(&r);
    program_pins_fini(&pins);
    assert_int_equal(program_store_make_room(r.here, BIG, BIG + 100, &pins), 0);
    rig_fini(&r);
}

/* The disk takes no more in the middle of it. */
static void test_a_full_disk(void **state)
{
    struct rig r;
    struct rlimit former, small = {.rlim_cur = 2 * GIVER_PART_BYTES};
    rig_init(&r);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &former), 0);
    small.rlim_max = former.rlim_max;
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    order(&r, 7, 1);
    until_answers(&r, 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &former), 0);
    assert_int_equal(r.answers[0].failure.code, CODE_PROGRAM);
    assert_non_null(strstr(r.answers[0].failure.message, "\"here\" cannot store"));
    until_over(&r);
    rig_fini(&r);
}

static void test_the_giver_says_no(void **state)
{
    struct rig r;
    struct peer_program_get get = {.offset = BIG};
    uint8_t none[PROGRAMS_HASH_SIZE] = {1};
    uint64_t deadline_ns = clock_now_ns() + LIMIT_NS;
    rig_init(&r);
    get.hash = bytes_of(r.hash, sizeof r.hash);
    giver_get(r.giver, 5, &get); /* behind its end */
    get.offset = UINT64_MAX;
    giver_get(r.giver, 5, &get);
    get.offset = 0;
    get.hash = bytes_of(none, sizeof none);
    giver_get(r.giver, 5, &get); /* unknown */
    while (r.part_count < 3) {
        assert_true(clock_now_ns() < deadline_ns);
        turn(&r);
    }
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(r.parts[i].peer, 5);
        assert_int_equal(r.parts[i].m.program_part.failure.code, CODE_PROGRAM);
        assert_int_equal(r.parts[i].m.payload.size, 0);
        assert_non_null(strstr(r.parts[i].m.program_part.failure.message, "\"there\""));
    }
    forget(r.parts, &r.part_count);
    rig_fini(&r);
}

/* The driver's file is written to after it began: the copy in the store is given. */
static void test_the_giver_has_a_copy(void **state)
{
    struct rig r;
    char path[600], copy[1024], name[PROGRAMS_HEX_SIZE];
    uint64_t deadline_ns = clock_now_ns() + LIMIT_NS;
    rig_init(&r);
    program_hash_text(r.hash, name);
    snprintf(copy, sizeof copy, "%s/%s", r.there, name);
    while (access(copy, F_OK) != 0) {
        assert_true(clock_now_ns() < deadline_ns);
        turn(&r);
    }
    snprintf(path, sizeof path, "%s/original", r.dir);
    CLEANUP_FD int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, "!", 1), 1);
    order(&r, 7, 1);
    until_answers(&r, 1);
    assert_int_not_equal(r.answers[0].program, 0);
    assert_stored(&r);
    rig_fini(&r);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_program_comes_and_runs),
        cmocka_unit_test(test_a_damaged_copy_is_fetched_again),
        cmocka_unit_test(test_a_copy_of_before),
        cmocka_unit_test(test_two_jobs_one_fetch),
        cmocka_unit_test(test_the_session_ends_half_way),
        cmocka_unit_test(test_a_second_source_takes_over),
        cmocka_unit_test(test_a_corrupt_part),
        cmocka_unit_test(test_a_corrupt_part_and_a_good_node),
        cmocka_unit_test(test_parts_that_nobody_asked_for),
        cmocka_unit_test(test_sizes_that_lie),
        cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_a_silent_giver),
        cmocka_unit_test(test_larger_than_the_store),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_pinned_copies_stay),
        cmocka_unit_test(test_a_full_disk),
        cmocka_unit_test(test_the_giver_says_no),
        cmocka_unit_test(test_the_giver_has_a_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
