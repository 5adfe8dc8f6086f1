#include "sdk/classes.h"

#include <strings.h>

#include "common/resources.h"

struct class_key {
    const struct drt_entry_ *entry;
    int32_t priority;
    uint32_t amount_count;
    int64_t cpu_units, memory_units;
    uint32_t strategy;
    bool soft;
    const char *node, *labels; /* "" where not given; owned by the class */
};

struct task_class {
    struct task_class *next; /* of one bucket */
    struct class_key key;
    uint32_t number;
    struct local_amount amounts[]; /* sorted by name; names owned */
};

#define BUCKETS 64u

static struct task_class *buckets[BUCKETS];

int options_copy(void *dst, size_t dst_size, const void *src, size_t src_size, const char *what)
{
    memset(dst, 0, dst_size);
    if (src == NULL) {
        return 0;
    }
    const uint8_t *bytes = src;
    for (size_t i = dst_size; i < src_size; i++) {
        if (bytes[i] != 0) {
            return error_set(-E2BIG,
                             "%s sets an option that this libdrt does not know: it was compiled "
                             "with a newer drt.h; install the newer library",
                             what);
        }
    }
    memcpy(dst, src, MIN_OF(dst_size, src_size));
    return 0;
}

static int check_amount(const char *task, const char *name, double amount, int64_t *ret_units)
{
    int r = resource_units(amount, ret_units);
    if (r == -ERANGE) {
        return error_set(-EINVAL, "%s asks for %g of %s, which is too large: at most %.0f", task,
                         amount, name, RESOURCE_MOST);
    }
    if (r == -EDOM) {
        return error_set(-EINVAL, "%s asks for %g of %s, which is too small: at least 0.0001", task,
                         amount, name);
    }
    if (r != 0) {
        return error_set(-EINVAL,
                         "%s asks for %g of %s. An amount is a number that is not negative.", task,
                         amount, name);
    }
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const struct local_amount *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* Names that a node cannot give to a resource of its own, in whichever case. */
static int check_reserved(const char *task, const char *name)
{
    static const struct {
        const char *name, *option;
    } own[] = {{"CPU", "num_cpus"},
               {"memory", "memory_bytes"},
               {"GPU", NULL},
               {"gpu_memory", NULL},
               {"object_store", NULL}};
    for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
        if (strcasecmp(name, own[i].name) != 0) {
            continue;
        }
        if (own[i].option != NULL) {
            return error_set(-EINVAL, "%s names %s among its resources. Use the option %s.", task,
                             name, own[i].option);
        }
        return error_set(-EINVAL,
                         "%s asks for %s, which this version of drt does not manage. To have it "
                         "counted, use a name of your own: DRT_RESOURCES({\"my_gpu\", 1}), and "
                         "drt-node join --resources '{\"my_gpu\": 2}'.",
                         task, name);
    }
    return 0;
}

static int check_custom(const char *task, const struct drt_resource *r)
{
    int rc = check_reserved(task, r->name);
    if (rc != 0) {
        return rc;
    }
    size_t n = strlen(r->name);
    if (n == 0 || n > RESOURCE_NAME_MAX ||
        strspn(r->name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:/-") !=
            n ||
        strchr("0123456789.:/-", r->name[0]) != NULL) {
        return error_set(-EINVAL,
                         "%s asks for a resource \"%.80s\": a name has at most %d letters, digits "
                         "and _.:/-, and begins with a letter",
                         task, r->name, RESOURCE_NAME_MAX);
    }
    return 0;
}

/* The custom resources, checked and sorted; what is zero is left out. */
static int read_custom(const char *task, const struct drt_resource *resources,
                       struct local_amount *amounts, uint32_t *ret_count)
{
    uint32_t n = 0;
    for (const struct drt_resource *r = resources; r != NULL && r->name != NULL; r++) {
        int64_t units;
        int rc = check_custom(task, r);
        if (rc == 0) {
            rc = check_amount(task, r->name, r->amount, &units);
        }
        if (rc != 0) {
            return rc;
        }
        if (n == CLASS_AMOUNTS_MAX - 2) {
            return error_set(-EINVAL, "%s asks for more than %u custom resources", task,
                             CLASS_AMOUNTS_MAX - 2);
        }
        if (units != 0) {
            amounts[n++] = (struct local_amount){r->name, units};
        }
    }
    qsort(amounts, n, sizeof *amounts, by_name);
    for (uint32_t i = 1; i < n; i++) {
        if (strcmp(amounts[i - 1].name, amounts[i].name) == 0) {
            return error_set(-EINVAL, "%s asks for the resource %s twice. Ask once, for the sum.",
                             task, amounts[i].name);
        }
    }
    *ret_count = n;
    return 0;
}

/* ---- placement ---- */

/* One "name=value" of labels, as drt-node join takes them. */
static bool label_ok(const char *label, size_t size)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:/-";
    size_t name = strspn(label, letters);
    if (name == 0 || name >= size || label[name] != '=') {
        return false;
    }
    return name + 1 + strspn(label + name + 1, letters) >= size;
}

static int check_labels(const char *task, const char *labels)
{
    if (strnlen(labels, LABELS_MAX + 1) > LABELS_MAX) {
        return error_set(-EINVAL, "%s asks for labels of more than %u characters", task,
                         LABELS_MAX);
    }
    for (const char *at = labels;; at++) {
        size_t n = strcspn(at, ",");
        if (!label_ok(at, n)) {
            return error_set(-EINVAL,
                             "%s asks for the label \"%.*s\": labels are name=value, several "
                             "separated by commas, as in \"disk=ssd,zone=b\"",
                             task, (int)MIN_OF(n, 80), at);
        }
        at += n;
        if (*at == '\0') {
            return 0;
        }
    }
}

static int check_node(const char *task, const char *node)
{
    if (strnlen(node, LOCAL_NAME_MAX + 1) > LOCAL_NAME_MAX) {
        return error_set(-EINVAL, "%s names a node with more than %u characters", task,
                         LOCAL_NAME_MAX);
    }
    return 0;
}

/* Options that go together, and make sense. NOINLINE: most tasks leave them alone. */
static NOINLINE int read_placement(const char *task, const struct drt_options *o,
                                   struct class_key *ret)
{
    const char *node = o->node != NULL ? o->node : "";
    const char *labels = o->labels != NULL ? o->labels : "";
    bool named = node[0] != '\0' || labels[0] != '\0';
    int rc = 0;
    if (o->strategy < DRT_DEFAULT || o->strategy > DRT_NODE_SPECIFIC) {
        return error_set(-EINVAL, "The strategy of %s is %d. Use one of enum drt_strategy.", task,
                         (int)o->strategy);
    }
    if (o->strategy != DRT_NODE_SPECIFIC && (named || o->soft)) {
        return error_set(-EINVAL,
                         "%s sets the option %s, which works with one strategy only. Add .strategy "
                         "= DRT_NODE_SPECIFIC.",
                         task,
                         node[0] != '\0' ? "node"
                         : named         ? "labels"
                                         : "soft");
    }
    if (o->strategy == DRT_NODE_SPECIFIC && !named) {
        return error_set(-EINVAL,
                         "%s has the strategy DRT_NODE_SPECIFIC but names no node. Set the option "
                         "node (an id, a name or an address) or labels.",
                         task);
    }
    rc = check_node(task, node);
    if (rc == 0 && labels[0] != '\0') {
        rc = check_labels(task, labels);
    }
    ret->strategy = (uint32_t)o->strategy;
    ret->soft = o->soft;
    ret->node = node;
    ret->labels = labels;
    return rc;
}

static int read_key(const struct drt_entry_ *entry, const struct drt_options *o,
                    struct class_key *ret, struct local_amount *amounts)
{
    const char *task = entry->name;
    *ret = (struct class_key){.entry = entry,
                              .priority = o->priority,
                              .cpu_units = RESOURCE_UNIT,
                              .node = "",
                              .labels = ""};
    int rc = 0;
    if (UNLIKELY(o->num_cpus != 0)) {
        rc = check_amount(task, "CPUs", o->num_cpus == DRT_NO_CPU ? 0 : o->num_cpus,
                          &ret->cpu_units);
    }
    if (rc == 0 && UNLIKELY(o->memory_bytes != 0)) {
        rc = check_amount(task, "bytes of memory", (double)o->memory_bytes, &ret->memory_units);
    }
    if (rc == 0 && UNLIKELY(o->resources != NULL)) {
        rc = read_custom(task, o->resources, amounts, &ret->amount_count);
    }
    if (rc == 0 &&
        UNLIKELY(o->strategy != DRT_DEFAULT || o->soft || o->node != NULL || o->labels != NULL)) {
        rc = read_placement(task, o, ret);
    }
    return rc;
}

static bool is_same(const struct task_class *c, const struct class_key *key,
                    const struct local_amount *amounts)
{
    if (c->key.entry != key->entry || c->key.priority != key->priority ||
        c->key.cpu_units != key->cpu_units || c->key.memory_units != key->memory_units ||
        c->key.amount_count != key->amount_count || c->key.strategy != key->strategy) {
        return false;
    }
    if (key->strategy == DRT_NODE_SPECIFIC &&
        (c->key.soft != key->soft || strcmp(c->key.node, key->node) != 0 ||
         strcmp(c->key.labels, key->labels) != 0)) {
        return false;
    }
    for (uint32_t i = 0; i < key->amount_count; i++) {
        if (c->amounts[i].units != amounts[i].units ||
            strcmp(c->amounts[i].name, amounts[i].name) != 0) {
            return false;
        }
    }
    return true;
}

static uint32_t bucket_of(const struct class_key *key)
{
    uint64_t h = (uint64_t)(uintptr_t)key->entry >> 4;
    h = h * 31 + (uint64_t)key->cpu_units;
    h = h * 31 + (uint64_t)key->memory_units;
    h = h * 31 + (uint32_t)key->priority;
    h = h * 31 + key->strategy;
    for (const char *at = key->node; *at != '\0'; at++) {
        h = h * 31 + (unsigned char)*at;
    }
    return (uint32_t)(h * UINT64_C(0x9E3779B97F4A7C15) >> 58);
}

static int tell(const struct task_class *c)
{
    struct local_amount amounts[CLASS_AMOUNTS_MAX];
    uint32_t n = 0;
    if (c->key.cpu_units != 0) {
        amounts[n++] = (struct local_amount){"CPU", c->key.cpu_units};
    }
    if (c->key.memory_units != 0) {
        amounts[n++] = (struct local_amount){"memory", c->key.memory_units};
    }
    for (uint32_t i = 0; i < c->key.amount_count; i++) {
        amounts[n++] = c->amounts[i];
    }
    const struct drt_entry_ *e = c->key.entry;
    struct local_msg m = {
        .type = LOCAL_CLASS,
        .class_ = {.number = c->number,
                   .function = e->name,
                   .kinds = bytes_of(e->kinds, strlen((const char *)e->kinds)),
                   .amounts = amounts,
                   .amount_count = n,
                   .strategy = c->key.strategy,
                   .soft = c->key.soft,
                   .node = c->key.node,
                   .labels = c->key.labels,
                   .priority = c->key.priority},
    };
    return link_write(&runtime.link, &m);
}

static NOINLINE int make(const struct class_key *key, const struct local_amount *amounts,
                         uint32_t bucket, uint32_t *ret)
{
    struct task_class *c = xcalloc(1, sizeof *c + key->amount_count * sizeof c->amounts[0]);
    c->key = *key;
    c->key.node = xstrdup(key->node);
    c->key.labels = xstrdup(key->labels);
    c->number = ++runtime.last_class;
    for (uint32_t i = 0; i < key->amount_count; i++) {
        c->amounts[i] = (struct local_amount){xstrdup(amounts[i].name), amounts[i].units};
    }
    c->next = buckets[bucket];
    buckets[bucket] = c;
    *ret = c->number;
    return tell(c);
}

int class_find(const struct drt_entry_ *entry, const struct drt_options *options, uint32_t *ret)
{
    struct class_key key;
    struct local_amount amounts[CLASS_AMOUNTS_MAX];
    int rc = read_key(entry, options, &key, amounts);
    if (rc != 0 || !runtime_is_linked()) {
        return rc;
    }
    uint32_t bucket = bucket_of(&key);
    for (const struct task_class *c = buckets[bucket]; c != NULL; c = c->next) {
        if (is_same(c, &key, amounts)) {
            *ret = c->number;
            return 0;
        }
    }
    return make(&key, amounts, bucket, ret);
}

void classes_forget(void)
{
    for (uint32_t i = 0; i < BUCKETS; i++) {
        while (buckets[i] != NULL) {
            struct task_class *c = buckets[i];
            buckets[i] = c->next;
            for (uint32_t k = 0; k < c->key.amount_count; k++) {
                free((char *)(uintptr_t)c->amounts[k].name);
            }
            free((char *)(uintptr_t)c->key.node);
            free((char *)(uintptr_t)c->key.labels);
            free(c);
        }
    }
    runtime.last_class = 0;
}
