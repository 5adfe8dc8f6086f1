#include "raylet/offer.h"

#include <jansson.h>
#include <stdio.h>
#include <strings.h>

#include "common/resources.h"
#include "common/text.h"
#include "raylet/machine.h"

#define LABELS_MAX 1024u
#define JSON_MAX   4096u

static void add(struct offer *o, const char *name, int64_t units)
{
    o->amounts = xrealloc(o->amounts, (o->count + 1) * sizeof *o->amounts);
    o->amounts[o->count++] = (struct cluster_amount){xstrdup(name), units, units};
}

static bool is_fixed(const char *name)
{
    static const char *const fixed[] = {"CPU", "memory", "GPU", "gpu_memory", "object_store"};
    for (size_t i = 0; i < ARRAY_SIZE(fixed); i++) {
        if (strcasecmp(name, fixed[i]) == 0) {
            return true;
        }
    }
    return false;
}

static int add_resource(struct offer *o, struct resource_names *names, const char *name,
                        const json_t *value, struct failure *f)
{
    uint32_t kind;
    int64_t units;
    if (is_fixed(name)) {
        bool managed = strcasecmp(name, "CPU") == 0 || strcasecmp(name, "memory") == 0;
        return failure_set(f, CODE_SIGNATURE,
                           managed
                               ? "--resources cannot set \"%.80s\". CPUs and memory are set with "
                                 "--num-cpus and --memory."
                               : "--resources cannot set \"%.80s\", which this version of drt does "
                                 "not manage. To have it counted, use a name of your own, as in "
                                 "--resources '{\"my_gpu\": 2}'.",
                           name);
    }
    if (resource_names_intern(names, name, &kind) != 0) {
        return failure_set(f, CODE_SIGNATURE,
                           "--resources: \"%.80s\" is not a valid resource name. Use letters, "
                           "digits and _ . : / -, beginning with a letter, at most %d.",
                           name, RESOURCE_NAME_MAX);
    }
    if (json_is_number(value) && json_number_value(value) > RESOURCE_MOST) {
        return failure_set(f, CODE_SIGNATURE,
                           "--resources: the amount of \"%.80s\" is too large: at most %.0f.", name,
                           RESOURCE_MOST);
    }
    if (!json_is_number(value) || resource_units(json_number_value(value), &units) != 0 ||
        units == 0) {
        return failure_set(
            f, CODE_SIGNATURE,
            "--resources: the amount of \"%.80s\" must be a number, at least 0.0001.", name);
    }
    if (o->count >= RESOURCES_MAX) {
        return failure_set(f, CODE_SIGNATURE, "--resources: at most %d kinds.", RESOURCES_MAX - 2);
    }
    add(o, name, units);
    return 0;
}

static int add_resources(struct offer *o, const char *text, struct failure *f)
{
    json_error_t error;
    if (strlen(text) > JSON_MAX) {
        return failure_set(f, CODE_SIGNATURE,
                           "--resources: at most %u characters, and this has %zu.", JSON_MAX,
                           strlen(text));
    }
    json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    int r = 0;
    if (!json_is_object(object)) {
        r = failure_set(f, CODE_SIGNATURE,
                        "--resources takes names and amounts as JSON, as in --resources "
                        "'{\"disk\": 2}'. Invalid value: %.80s",
                        text);
    } else {
        const char *name;
        json_t *value;
        struct resource_names names;
        resource_names_init(&names);
        json_object_foreach(object, name, value)
        {
            r = r != 0 ? r : add_resource(o, &names, name, value, f);
        }
        resource_names_fini(&names);
    }
    json_decref(object);
    return r;
}

static bool label_ok(const char *pair)
{
    const char *equals = strchr(pair, '=');
    if (equals == NULL || equals == pair) {
        return false;
    }
    for (const char *at = pair; *at != '\0'; at++) {
        bool ok = at == equals || (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                  (*at >= '0' && *at <= '9') || strchr("_.:/-", *at) != NULL;
        if (!ok) {
            return false;
        }
    }
    return true;
}

static int check_labels(const char *labels, struct failure *f)
{
    if (strlen(labels) > LABELS_MAX) {
        return failure_set(f, CODE_SIGNATURE, "--labels: at most %u characters.", LABELS_MAX);
    }
    CLEANUP_FREE char *copy = xstrdup(labels);
    char *rest = copy[0] != '\0' ? copy : NULL;
    for (char *pair = strsep(&rest, ","); pair != NULL; pair = strsep(&rest, ",")) {
        if (!label_ok(pair)) {
            return failure_set(f, CODE_SIGNATURE,
                               "--labels takes name=value, several separated by commas, as in "
                               "--labels disk=ssd,zone=b. Invalid value: %.80s",
                               pair);
        }
    }
    return 0;
}

static int find_machine(const struct offer_wish *wish, struct machine *m, struct failure *f)
{
    struct machine found = {0};
    if (!wish->has_cpus || !wish->has_memory) {
        int r = machine_find(&found);
        if (r != 0) {
            return failure_set(
                f, CODE_FAILED,
                "This machine's CPUs and memory cannot be found (%s). Give --num-cpus "
                "and --memory.",
                strerror(-r));
        }
    }
    if (wish->has_cpus && wish->cpus > RESOURCE_MOST) {
        return failure_set(f, CODE_SIGNATURE, "--num-cpus: too large, at most %.0f.",
                           RESOURCE_MOST);
    }
    if (wish->has_cpus && resource_units(wish->cpus, &found.cpu_units) != 0) {
        return failure_set(f, CODE_SIGNATURE,
                           "--num-cpus takes 0, or a number of at least 0.0001.");
    }
    if (wish->has_memory) {
        found.memory_bytes = wish->memory_bytes;
    }
    if (found.memory_bytes > (uint64_t)(INT64_MAX / RESOURCE_UNIT)) {
        return failure_set(f, CODE_SIGNATURE, "--memory: too large, at most 800 TiB.");
    }
    *m = found;
    return 0;
}

int offer_make(const struct offer_wish *wish, struct offer *ret, struct failure *f)
{
    struct offer o = {0};
    struct machine machine = {0};
    int r = find_machine(wish, &machine, f);
    if (r != 0) {
        return r;
    }
    add(&o, "CPU", machine.cpu_units);
    add(&o, "memory", (int64_t)machine.memory_bytes * RESOURCE_UNIT);
    o.memory_bytes = machine.memory_bytes;
    if (wish->resources != NULL) {
        r = add_resources(&o, wish->resources, f);
    }
    const char *labels = wish->labels != NULL ? wish->labels : "";
    if (r == 0) {
        r = check_labels(labels, f);
    }
    if (r != 0) {
        offer_fini(&o);
        return r;
    }
    o.labels = xstrdup(labels);
    *ret = o;
    return 0;
}

void offer_fini(struct offer *o)
{
    for (size_t i = 0; i < o->count; i++) {
        free((char *)o->amounts[i].name);
    }
    free(o->amounts);
    free(o->labels);
    *o = (struct offer){0};
}

void offer_describe(const struct offer *o, char ret[128])
{
    char memory[32];
    double cpus = resource_amount_of(o->amounts[0].total_units);
    snprintf(ret, 128, "%g CPU%s, %s memory", cpus, cpus == 1 ? "" : "s",
             text_format_size(o->memory_bytes, memory));
}
