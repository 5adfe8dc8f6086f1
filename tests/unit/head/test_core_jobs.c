#include "tests/unit/head/rig.h"

static void end_job(struct rig *r, uint64_t link, uint64_t job, enum job_end state)
{
    struct cluster_msg msg = {.type = CLUSTER_JOB_END,
                              .job_end = {.job = job, .state = state, .done = 10, .failed = 2}};
    rig_cluster(r, link, &msg);
}

static void test_job_is_on_disk_before_it_is_answered(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_node(&r, 1, "box-1");
    r.commits = false;
    rig_job_new(&r, 1, 7);
    assert_false(rig_has(&r, 1, CLUSTER_JOB_ADDED));

    /* Killed before the commit: the job was never accepted. */
    rig_restart(&r, NS_PER_S);
    assert_null(head_core_job(r.core, 1));
    rig_link_up(&r, 2);
    rig_join(&r, 2, "box-1", 1, 0);
    rig_job_new(&r, 2, 7);
    rig_commit(&r);
    assert_int_equal(rig_take(&r, 2, CLUSTER_JOB_ADDED)->job_added.job, 1);

    /* Killed after it: it is there. */
    rig_restart(&r, NS_PER_S);
    assert_int_equal(head_core_job(r.core, 1)->state, HEAD_JOB_RUNNING);
    assert_string_equal(head_core_job(r.core, 1)->user, "ada");
    rig_fini(&r);
}

static void test_job_new_is_idempotent(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_node(&r, 1, "box-1");
    rig_node(&r, 2, "box-2");
    uint64_t job = rig_job(&r, 1, 7);
    assert_int_equal(rig_job(&r, 1, 7), job);
    assert_int_not_equal(rig_job(&r, 2, 7), job); /* another node's key */
    assert_int_not_equal(rig_job(&r, 1, 8), job);

    /* Asked a second time before the first is on disk: one job, and both answers wait. */
    r.commits = false;
    rig_job_new(&r, 1, 9);
    rig_job_new(&r, 1, 9);
    assert_false(rig_has(&r, 1, CLUSTER_JOB_ADDED));
    rig_commit(&r);
    uint64_t first = rig_take(&r, 1, CLUSTER_JOB_ADDED)->job_added.job;
    assert_int_equal(rig_take(&r, 1, CLUSTER_JOB_ADDED)->job_added.job, first);

    r.commits = true;
    rig_restart(&r, NS_PER_S);
    rig_link_up(&r, 3);
    rig_join(&r, 3, "box-1", 1, 0);
    assert_int_equal(rig_job(&r, 3, 7), job);
    rig_fini(&r);
}

static void test_end_of_a_job(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_node(&r, 1, "box-1");
    rig_node(&r, 2, "box-2");
    uint64_t job = rig_job(&r, 1, 7);
    end_job(&r, 2, job, JOB_FAILED); /* not its own */
    assert_false(rig_has(&r, 2, CLUSTER_JOB_ENDED));
    assert_int_equal(head_core_job(r.core, job)->state, HEAD_JOB_RUNNING);

    r.commits = false;
    end_job(&r, 1, job, JOB_DONE);
    assert_false(rig_has(&r, 1, CLUSTER_JOB_ENDED));
    rig_commit(&r);
    assert_int_equal(rig_take(&r, 1, CLUSTER_JOB_ENDED)->job_ended.job, job);
    end_job(&r, 1, job, JOB_FAILED); /* said again: answered, not changed */
    rig_commit(&r);
    assert_int_equal(rig_take(&r, 1, CLUSTER_JOB_ENDED)->job_ended.job, job);
    assert_int_equal(head_core_job(r.core, job)->state, HEAD_JOB_DONE);
    assert_int_equal(head_core_job(r.core, job)->done, 10);
    rig_fini(&r);
}

static void part_of(struct rig *r, uint64_t link, uint64_t job, uint64_t done, uint64_t failed)
{
    struct cluster_msg msg = {
        .type = CLUSTER_JOB_END,
        .job_end = {.job = job, .state = JOB_PART, .done = done, .failed = failed}};
    rig_cluster(r, link, &msg);
}

static void assert_counts(struct rig *r, uint64_t job, uint64_t done, uint64_t failed)
{
    assert_int_equal(head_core_job(r->core, job)->done, done);
    assert_int_equal(head_core_job(r->core, job)->failed, failed);
}

static void test_parts_of_other_nodes_are_added(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_node(&r, 1, "box-1");
    rig_node(&r, 2, "box-2");
    rig_node(&r, 3, "box-3");
    uint64_t job = rig_job(&r, 1, 7);
    part_of(&r, 1, job, 5, 5); /* it tells of its own when the job ends */
    assert_counts(&r, job, 0, 0);
    part_of(&r, 2, job, 3, 1);
    part_of(&r, 2, job, 5, 1); /* in the place of the former one */
    assert_counts(&r, job, 5, 1);
    assert_false(rig_has(&r, 2, CLUSTER_JOB_ENDED));

    /* While the job runs they are not on disk: the nodes say them again. */
    rig_restart(&r, NS_PER_S);
    assert_counts(&r, job, 0, 0);
    rig_link_up(&r, 4);
    rig_join(&r, 4, "box-1", 1, 0);
    rig_link_up(&r, 5);
    rig_join(&r, 5, "box-2", 2, 0);
    rig_link_up(&r, 6);
    rig_join(&r, 6, "box-3", 3, 0);
    part_of(&r, 5, job, 5, 1);
    end_job(&r, 4, job, JOB_DONE);
    assert_int_equal(rig_take(&r, 5, CLUSTER_JOB_ENDED)->job_ended.job, job);
    assert_counts(&r, job, 15, 3);

    /* One that comes later is answered when it is on disk. */
    r.commits = false;
    part_of(&r, 6, job, 100, 0);
    assert_false(rig_has(&r, 6, CLUSTER_JOB_ENDED));
    rig_commit(&r);
    assert_int_equal(rig_take(&r, 6, CLUSTER_JOB_ENDED)->job_ended.job, job);
    assert_counts(&r, job, 115, 3);

    /* After a restart nobody knows whether it was counted: better too few than twice. */
    r.commits = true;
    rig_restart(&r, NS_PER_S);
    rig_link_up(&r, 7);
    rig_join(&r, 7, "box-3", 3, 0);
    part_of(&r, 7, job, 100, 0);
    assert_int_equal(rig_take(&r, 7, CLUSTER_JOB_ENDED)->job_ended.job, job);
    assert_counts(&r, job, 115, 3);
    rig_fini(&r);
}

static void test_jobs_of_a_dead_node_end_in_bounded_steps(void **state)
{
    struct rig r;
    struct head_counts counts;
    rig_init(&r);
    rig_node(&r, 1, "box-1");
    for (uint64_t key = 1; key <= 600; key++) {
        rig_job(&r, 1, key);
        rig_forget(&r);
    }
    rig_event(&r, &(struct head_event){.kind = HEAD_EVENT_LINK_CUT, .link = 1});
    rig_probed(&r, 1, HEAD_PROBE_REFUSED);
    rig_pass(&r, NS_PER_S, 0, 0);
    r.commits = false;
    struct head_effects effects;
    struct head_event gone = {.kind = HEAD_EVENT_PROBED, .node = 1, .probe = HEAD_PROBE_REFUSED};
    head_core_step(r.core, &r.time, &gone, 1, &effects);
    head_core_count(r.core, &counts);
    assert_int_equal(counts.jobs_ended, HEAD_WORK_STEP);
    assert_true(head_core_has_work(r.core));

    /* Killed in the middle: the rest follows after the restart. */
    r.commits = true;
    for (size_t i = 0; i < effects.count; i++) {
        if (effects.items[i].kind == HEAD_EFFECT_RECORD) {
            r.records = xrealloc(r.records, (r.record_count + 1) * sizeof *r.records);
            r.record_room = r.record_count + 1;
            r.records[r.record_count++] = head_record_copy(&r.arena, effects.items[i].record);
        }
    }
    r.disk_count = r.record_count;
    rig_restart(&r, NS_PER_S);
    rig_event(&r, NULL);
    head_core_count(r.core, &counts);
    assert_int_equal(counts.jobs_ended, 600);
    assert_int_equal(counts.jobs_live, 0);
    rig_fini(&r);
}

static void test_job_that_its_node_no_longer_lists(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_node(&r, 1, "box-1");
    uint64_t kept = rig_job(&r, 1, 1), late = rig_job(&r, 1, 2), gone = rig_job(&r, 1, 3);
    rig_restart(&r, NS_PER_S);
    rig_link_up(&r, 2);
    struct cluster_msg msg = {.type = CLUSTER_JOIN,
                              .join = {.protocol = CLUSTER_PROTOCOL_VERSION,
                                       .number = 1,
                                       .name = "box-1",
                                       .secret = "box-1",
                                       .jobs = &kept,
                                       .job_count = 1}};
    rig_cluster(&r, 2, &msg);
    rig_pass(&r, NS_PER_S, 2, 2);
    end_job(&r, 2, late, JOB_DONE); /* it was on its way */
    rig_pass(&r, HEAD_RECONCILE_NS, 2, 2);
    assert_int_equal(head_core_job(r.core, kept)->state, HEAD_JOB_RUNNING);
    assert_int_equal(head_core_job(r.core, late)->state, HEAD_JOB_DONE);
    assert_int_equal(head_core_job(r.core, gone)->state, HEAD_JOB_LOST);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_job_is_on_disk_before_it_is_answered),
        cmocka_unit_test(test_job_new_is_idempotent),
        cmocka_unit_test(test_parts_of_other_nodes_are_added),
        cmocka_unit_test(test_end_of_a_job),
        cmocka_unit_test(test_jobs_of_a_dead_node_end_in_bounded_steps),
        cmocka_unit_test(test_job_that_its_node_no_longer_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
