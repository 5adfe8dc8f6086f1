#include "raylet/machine.h"

#include <hwloc.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/files.h"
#include "common/resources.h"
#include "common/text.h"

#define PATH_ROOM 4096
#define FILE_MAX  (64u << 10)
#define CPUS_MAX  8192

/* One file of a group, its first line; false if it is not there. */
static bool read_line(const char *dir, const char *name, char ret[128])
{
    char path[PATH_ROOM];
    struct buffer text = {0};
    int n = snprintf(path, sizeof path, "%s/%s", dir, name);
    bool ok = n > 0 && n < PATH_ROOM && files_read(path, FILE_MAX, &text) == 0;
    if (ok) {
        (void)text_copy(ret, 128, buffer_text(&text));
        ret[strcspn(ret, "\n")] = '\0';
    }
    buffer_fini(&text);
    return ok;
}

static void lower_cpu(struct machine_limits *l, int64_t quota_us, int64_t period_us)
{
    if (quota_us > 0 && period_us > 0 && quota_us < INT64_MAX / RESOURCE_UNIT) {
        l->cpu_units = MIN_OF(l->cpu_units, quota_us * RESOURCE_UNIT / period_us);
    }
}

static void lower_memory(struct machine_limits *l, const char *text)
{
    uint64_t bytes;
    if (text_parse_u64(text, UINT64_MAX, &bytes) == 0) {
        l->memory_bytes = MIN_OF(l->memory_bytes, bytes);
    }
}

static void read_v2(const char *dir, struct machine_limits *l)
{
    char line[128];
    long long quota = 0, period = 0;
    if (read_line(dir, "cpu.max", line) && sscanf(line, "%lld %lld", &quota, &period) == 2) {
        lower_cpu(l, quota, period);
    }
    if (read_line(dir, "memory.max", line)) {
        lower_memory(l, line);
    }
}

static void read_v1_cpu(const char *dir, struct machine_limits *l)
{
    char quota_line[128], period_line[128];
    long long quota = 0, period = 0;
    if (read_line(dir, "cpu.cfs_quota_us", quota_line) &&
        read_line(dir, "cpu.cfs_period_us", period_line) &&
        sscanf(quota_line, "%lld", &quota) == 1 && sscanf(period_line, "%lld", &period) == 1) {
        lower_cpu(l, quota, period);
    }
}

static void read_v1_memory(const char *dir, struct machine_limits *l)
{
    char line[128];
    if (read_line(dir, "memory.limit_in_bytes", line)) {
        lower_memory(l, line);
    }
}

/* Reads the group and all above it up to the root of its tree. In a container the path may name a
 * group outside of what is mounted; then what can be read of it is the root. */
static void read_upwards(const char *root, const char *tree, const char *group,
                         void (*read)(const char *, struct machine_limits *),
                         struct machine_limits *l)
{
    char path[PATH_ROOM];
    int base = snprintf(path, sizeof path, "%s%s%s", root, *tree != '\0' ? "/" : "", tree);
    if (base <= 0 || base >= PATH_ROOM || strstr(group, "..") != NULL) {
        return;
    }
    if (!text_copy(path + base, sizeof path - (size_t)base, strcmp(group, "/") == 0 ? "" : group)) {
        path[base] = '\0';
    }
    for (;;) {
        read(path, l);
        char *slash = strrchr(path, '/');
        if (slash == NULL || slash < path + base) {
            return;
        }
        *slash = '\0';
    }
}

static bool has_controller(char *list, const char *wanted)
{
    for (char *word = strsep(&list, ","); word != NULL; word = strsep(&list, ",")) {
        if (strcmp(word, wanted) == 0) {
            return true;
        }
    }
    return false;
}

void machine_cgroup_limits(const char *root, const char *membership, struct machine_limits *ret)
{
    struct machine_limits l = {INT64_MAX, UINT64_MAX};
    CLEANUP_FREE char *text = xstrdup(membership);
    char *rest = text;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        /* "0::/path" of version 2, "4:memory:/path" of version 1 */
        char *group = line;
        (void)strsep(&group, ":");
        char *controllers = strsep(&group, ":");
        if (group == NULL || group[0] != '/') {
            continue;
        }
        if (controllers[0] == '\0') {
            read_upwards(root, "", group, read_v2, &l);
            read_upwards(root, "unified", group, read_v2, &l);
            continue;
        }
        CLEANUP_FREE char *copy = xstrdup(controllers);
        if (has_controller(copy, "memory")) {
            read_upwards(root, "memory", group, read_v1_memory, &l);
        } else if (has_controller(controllers, "cpu")) {
            read_upwards(root, "cpu", group, read_v1_cpu, &l);
        }
    }
    *ret = l;
}

/* The CPUs that this process may run on; 0 when that cannot be known. */
static unsigned count_affinity(void)
{
    cpu_set_t *set = CPU_ALLOC(CPUS_MAX);
    size_t size = CPU_ALLOC_SIZE(CPUS_MAX);
    unsigned count = 0;
    if (set != NULL && sched_getaffinity(0, size, set) == 0) {
        count = (unsigned)CPU_COUNT_S(size, set);
    }
    CPU_FREE(set);
    return count;
}

static int read_topology(unsigned *ret_cpus, uint64_t *ret_memory, bool *ret_here)
{
    hwloc_topology_t topology;
    if (hwloc_topology_init(&topology) < 0) {
        return -ENOMEM;
    }
    /* Only processing units and memory matter; the rest of the discovery is time. */
    hwloc_topology_set_all_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_NONE);
    if (hwloc_topology_load(topology) < 0) {
        int r = errno != 0 ? -errno : -EIO;
        hwloc_topology_destroy(topology);
        return r;
    }
    int cpus = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_PU);
    *ret_cpus = cpus > 0 ? (unsigned)cpus : 0;
    *ret_memory = hwloc_get_root_obj(topology)->total_memory;
    *ret_here = hwloc_topology_is_thissystem(topology) != 0;
    hwloc_topology_destroy(topology);
    return 0;
}

static uint64_t kernel_memory(void)
{
    return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static struct machine_limits own_limits(void)
{
    struct machine_limits limits = {INT64_MAX, UINT64_MAX};
    struct buffer text = {0};
    if (files_read("/proc/self/cgroup", FILE_MAX, &text) == 0) {
        machine_cgroup_limits("/sys/fs/cgroup", buffer_text(&text), &limits);
    }
    buffer_fini(&text);
    return limits;
}

uint64_t machine_memory(void)
{
    return MIN_OF(kernel_memory(), own_limits().memory_bytes);
}

int64_t machine_cpu_units(unsigned cpus, int64_t limit_units)
{
    int64_t units = MIN_OF((int64_t)cpus * RESOURCE_UNIT, limit_units);
    /* A plain task asks for one CPU. A group that may use half of one runs it as well, slower. */
    return MAX_OF(units, (int64_t)RESOURCE_UNIT);
}

/* The number behind a key at the beginning of a line ("MemTotal:", "inactive_file"); 0: none. */
static uint64_t number_after(const char *text, const char *key)
{
    size_t size = strlen(key);
    for (const char *at = text; at != NULL; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (strncmp(at, key, size) == 0) {
            return strtoull(at + size, NULL, 10);
        }
    }
    return 0;
}

/* Of this process's own group, in the tree of version 2; 0: there is none. */
static uint64_t group_memory_used(void)
{
    struct buffer membership = {0}, current = {0}, stat = {0};
    char path[PATH_ROOM] = "", file[PATH_ROOM + 32];
    uint64_t used = 0, cached = 0;
    if (files_read("/proc/self/cgroup", FILE_MAX, &membership) == 0) {
        const char *line = strstr(buffer_text(&membership), "0::");
        snprintf(path, sizeof path, "%.*s", line == NULL ? 0 : (int)strcspn(line + 3, "\n"),
                 line == NULL ? "" : line + 3);
    }
    snprintf(file, sizeof file, "/sys/fs/cgroup%s/memory.current", path);
    if (files_read(file, FILE_MAX, &current) == 0) {
        used = strtoull(buffer_text(&current), NULL, 10);
    }
    snprintf(file, sizeof file, "/sys/fs/cgroup%s/memory.stat", path);
    if (used != 0 && files_read(file, FILE_MAX, &stat) == 0) {
        cached = number_after(buffer_text(&stat), "inactive_file ");
    }
    buffer_fini(&membership);
    buffer_fini(&current);
    buffer_fini(&stat);
    return used - MIN_OF(used, cached);
}

uint64_t machine_memory_used(void)
{
    static bool is_limited, is_known; /* by a group: what others use is not ours to see then */
    struct buffer text = {0};
    uint64_t total = 0, available = 0;
    if (!is_known) {
        is_limited = own_limits().memory_bytes < kernel_memory();
        is_known = true;
    }
    if (is_limited) {
        return group_memory_used();
    }
    if (files_read("/proc/meminfo", FILE_MAX, &text) == 0) {
        total = number_after(buffer_text(&text), "MemTotal:") * 1024;
        available = number_after(buffer_text(&text), "MemAvailable:") * 1024;
    }
    buffer_fini(&text);
    return total - MIN_OF(total, available);
}

int machine_find(struct machine *ret)
{
    unsigned cpus = 0;
    uint64_t memory = 0;
    bool here = true;
    int r = read_topology(&cpus, &memory, &here);
    if (r != 0) {
        return r;
    }
    struct machine_limits limits = {INT64_MAX, UINT64_MAX};
    if (here) {
        unsigned usable = count_affinity();
        cpus = usable != 0 ? MIN_OF(cpus, usable) : cpus;
        limits = own_limits();
    }
    /* The kernel's total, not the sum of the NUMA nodes: those miss memory that was added while the
     * machine ran. A described machine need not say. */
    if (here || memory == 0) {
        memory = kernel_memory();
    }
    ret->cpu_units = machine_cpu_units(cpus, limits.cpu_units);
    ret->memory_bytes = MIN_OF(memory, limits.memory_bytes);
    return 0;
}
