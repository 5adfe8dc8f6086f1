#include "raylet/machine.h"

#include <sys/stat.h>

#include "common/files.h"
#include "common/resources.h"
#include "tests/unit/unit.h"

static void put(const char *dir, const char *group, const char *file, const char *text)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", dir, group);
    assert_int_equal(files_make_dirs(path, 0700), 0);
    snprintf(path, sizeof path, "%s/%s/%s", dir, group, file);
    assert_int_equal(files_write_atomic(path, text, strlen(text), 0600), 0);
}

static struct machine_limits limits(const char *root, const char *membership)
{
    struct machine_limits l;
    machine_cgroup_limits(root, membership, &l);
    return l;
}

static void test_v2(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    put(dir, "a/b", "cpu.max", "150000 100000\n");
    put(dir, "a/b", "memory.max", "max\n");
    struct machine_limits l = limits(dir, "0::/a/b\n");
    assert_int_equal(l.cpu_units, 15000);
    assert_int_equal(l.memory_bytes, UINT64_MAX);

    /* What stands above counts as well, the smallest wins. */
    put(dir, "a", "cpu.max", "100000 100000\n");
    put(dir, "a", "memory.max", "1073741824\n");
    l = limits(dir, "0::/a/b\n");
    assert_int_equal(l.cpu_units, 10000);
    assert_int_equal(l.memory_bytes, 1u << 30);

    put(dir, "a/b", "cpu.max", "max 100000\n");
    assert_int_equal(limits(dir, "0::/a/b\n").cpu_units, 10000);
    assert_int_equal(limits(dir, "0::/elsewhere\n").cpu_units, INT64_MAX);
}

static void test_a_container_sees_its_root(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    put(dir, ".", "cpu.max", "200000 100000\n");
    assert_int_equal(limits(dir, "0::/\n").cpu_units, 20000);
    assert_int_equal(limits(dir, "0::/host/path/of/the/container\n").cpu_units, 20000);
    assert_int_equal(limits(dir, "0::/../..\n").cpu_units, INT64_MAX);
}

static void test_v1(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    put(dir, "cpu/job", "cpu.cfs_quota_us", "50000\n");
    put(dir, "cpu/job", "cpu.cfs_period_us", "100000\n");
    put(dir, "cpu", "cpu.cfs_quota_us", "-1\n");
    put(dir, "cpu", "cpu.cfs_period_us", "100000\n");
    put(dir, "memory/job", "memory.limit_in_bytes", "9223372036854771712\n");
    put(dir, "memory", "memory.limit_in_bytes", "4096000\n");
    struct machine_limits l =
        limits(dir, "12:memory:/job\n5:cpu,cpuacct:/job\n3:cpuset:/job\n0::/\n");
    assert_int_equal(l.cpu_units, 5000);
    assert_int_equal(l.memory_bytes, 4096000);
}

static void test_half_a_cpu_has_room_for_a_plain_task(void **state)
{
    assert_int_equal(machine_cpu_units(4, 5000), RESOURCE_UNIT);
    assert_int_equal(machine_cpu_units(4, 1), RESOURCE_UNIT);
    assert_int_equal(machine_cpu_units(0, INT64_MAX), RESOURCE_UNIT);
    assert_int_equal(machine_cpu_units(4, 15000), 15000);
    assert_int_equal(machine_cpu_units(4, INT64_MAX), 4 * RESOURCE_UNIT);
}

static void test_garbage_limits_nothing(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    put(dir, ".", "cpu.max", "nonsense\n");
    put(dir, ".", "memory.max", "-5\n");
    static const char *const texts[] = {
        "", "\n\n", "0", "0::", "::", "0::relative", "x:y:z:/w", ":::"};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct machine_limits l = limits(dir, texts[i]);
        assert_int_equal(l.cpu_units, INT64_MAX);
        assert_int_equal(l.memory_bytes, UINT64_MAX);
    }
    assert_int_equal(limits(dir, "0::/").memory_bytes, UINT64_MAX);
}

static void test_a_described_machine(void **state)
{
    struct machine m;
    assert_int_equal(setenv("HWLOC_SYNTHETIC", "numa:2(memory=8589934592) core:6 pu:2", 1), 0);
    assert_int_equal(machine_find(&m), 0);
    assert_int_equal(m.cpu_units, 24 * RESOURCE_UNIT);
    assert_int_equal(m.memory_bytes, UINT64_C(16) << 30);
    assert_int_equal(unsetenv("HWLOC_SYNTHETIC"), 0);
}

static void test_a_machine_from_a_file(void **state)
{
    static const char xml[] =
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<!DOCTYPE topology SYSTEM \"hwloc2.dtd\">\n<topology version=\"2.0\">\n"
        "<object type=\"Machine\" os_index=\"0\" cpuset=\"0x7\" complete_cpuset=\"0x7\" "
        "allowed_cpuset=\"0x7\" nodeset=\"0x1\" complete_nodeset=\"0x1\" allowed_nodeset=\"0x1\" "
        "gp_index=\"1\">\n"
        "<object type=\"NUMANode\" os_index=\"0\" cpuset=\"0x7\" complete_cpuset=\"0x7\" "
        "nodeset=\"0x1\" complete_nodeset=\"0x1\" gp_index=\"2\" local_memory=\"3221225472\"/>\n"
        "<object type=\"PU\" os_index=\"0\" cpuset=\"0x1\" complete_cpuset=\"0x1\" nodeset=\"0x1\" "
        "complete_nodeset=\"0x1\" gp_index=\"3\"/>\n"
        "<object type=\"PU\" os_index=\"1\" cpuset=\"0x2\" complete_cpuset=\"0x2\" nodeset=\"0x1\" "
        "complete_nodeset=\"0x1\" gp_index=\"4\"/>\n"
        "<object type=\"PU\" os_index=\"2\" cpuset=\"0x4\" complete_cpuset=\"0x4\" nodeset=\"0x1\" "
        "complete_nodeset=\"0x1\" gp_index=\"5\"/>\n</object>\n</topology>\n";
    CLEANUP_DIR char *dir = unit_make_dir();
    char path[1024];
    struct machine m;
    put(dir, ".", "machine.xml", xml);
    snprintf(path, sizeof path, "%s/machine.xml", dir);
    assert_int_equal(setenv("HWLOC_XMLFILE", path, 1), 0);
    assert_int_equal(machine_find(&m), 0);
    assert_int_equal(m.cpu_units, 3 * RESOURCE_UNIT);
    assert_int_equal(m.memory_bytes, UINT64_C(3) << 30);
    assert_int_equal(unsetenv("HWLOC_XMLFILE"), 0);
}

static void test_this_machine(void **state)
{
    struct machine m;
    assert_int_equal(machine_find(&m), 0);
    assert_true(m.cpu_units > 0);
    assert_true(m.memory_bytes > 1u << 20);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_v2),
        cmocka_unit_test(test_a_container_sees_its_root),
        cmocka_unit_test(test_v1),
        cmocka_unit_test(test_half_a_cpu_has_room_for_a_plain_task),
        cmocka_unit_test(test_garbage_limits_nothing),
        cmocka_unit_test(test_a_described_machine),
        cmocka_unit_test(test_a_machine_from_a_file),
        cmocka_unit_test(test_this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
