#include "tests/unit/sched/nodes.h"

#include "tests/unit/unit.h"

static void expect_impossible(struct nodes *n, const char *sentence)
{
    struct failure f = {0};
    assert_int_equal(sched_impossible(n->rows, n->count, &n->request, &n->kinds, &f),
                     CODE_IMPOSSIBLE);
    assert_int_equal(f.code, CODE_IMPOSSIBLE);
    assert_string_equal(f.message, sentence);
}

static void test_one_that_can_is_enough(void **state)
{
    struct nodes *n = *state;
    struct failure f = {.code = 99};
    nodes_add(n, 1, 1);
    nodes_add(n, 4, 0); /* full, for now */
    n->asked = nodes_set(RESOURCE_CPU, 4);
    assert_int_equal(sched_impossible(n->rows, n->count, &n->request, &n->kinds, &f), 0);
    assert_int_equal(f.code, 99);
}

static void test_one_resource_is_missing(void **state)
{
    struct nodes *n = *state;
    nodes_add(n, 4, 4);
    nodes_add(n, 4, 4);
    nodes_put(&n->asked, RESOURCE_GPU, 1);
    expect_impossible(n, "No node satisfies GPU 1 (box-1 has none, box-2 has none). Ask for less, "
                         "or add such a node.");
    nodes_put(&n->total[1], RESOURCE_GPU, 0.5);
    expect_impossible(n, "No node satisfies GPU 1 (box-1 has none, box-2 has 0.5). Ask for less, "
                         "or add such a node.");
}

static void test_memory_is_a_size(void **state)
{
    struct nodes *n = *state;
    nodes_add(n, 4, 4);
    nodes_put(&n->total[0], RESOURCE_MEMORY, 2147483648.0);
    n->asked = nodes_set(RESOURCE_MEMORY, 4294967296.0);
    expect_impossible(
        n,
        "No node satisfies memory 4.0 GiB (box-1 has 2.0 GiB). Ask for less, or add such a node.");
}

static void test_each_lacks_another(void **state)
{
    struct nodes *n = *state;
    nodes_add(n, 8, 8);
    nodes_add(n, 4, 4);
    nodes_put(&n->total[1], RESOURCE_GPU, 1);
    nodes_add(n, 8, 8)->closed = true;
    nodes_put(&n->total[2], RESOURCE_GPU, 1);
    n->asked = nodes_set(RESOURCE_CPU, 8);
    nodes_put(&n->asked, RESOURCE_GPU, 1);
    expect_impossible(n, "No node satisfies CPU 8, GPU 1 (box-1 has no GPU, box-2 has CPU 4, box-3 "
                         "accepts no tasks from other nodes). Ask for less, or add such a node.");
    n->asked = nodes_set(RESOURCE_CPU, 9);
    nodes_put(&n->asked, RESOURCE_GPU, 1);
    n->rows[2].closed = false;
    expect_impossible(n, "No node satisfies CPU 9, GPU 1 (box-1 has CPU 8 and no GPU, box-2 has "
                         "CPU 4, box-3 has CPU 8). Ask for less, or add such a node.");
}

static void test_the_wished_node(void **state)
{
    struct nodes *n = *state;
    nodes_add(n, 2, 2);
    nodes_add(n, 4, 4);
    n->request.strategy = SCHED_NODE_SPECIFIC;
    n->request.node = "box-9";
    expect_impossible(n, "No node satisfies node box-9 (the nodes are box-1, box-2). Use another "
                         "node, or set .soft = true.");
    n->request.node = "box-1";
    n->asked = nodes_set(RESOURCE_CPU, 4);
    expect_impossible(
        n, "No node satisfies CPU 4, node box-1 (box-1 has 2). Ask for less, or for another node.");
    n->asked = nodes_set(RESOURCE_CPU, 1);
    n->rows[0].closed = true;
    expect_impossible(n,
                      "No node satisfies node box-1 (box-1 accepts no tasks from other nodes). Use "
                      "another node, or set .soft = true.");
    n->request.soft = true;
    struct failure f;
    assert_int_equal(sched_impossible(n->rows, n->count, &n->request, &n->kinds, &f), 0);
}

static void test_the_wished_labels(void **state)
{
    struct nodes *n = *state;
    nodes_add(n, 2, 2);
    nodes_add(n, 2, 2)->labels = "disk=hdd";
    n->request.labels = "disk=ssd";
    expect_impossible(n, "No node satisfies labels disk=ssd (box-1 has no such label, box-2 has "
                         "disk=hdd). Use another node, or set .soft = true.");
}

static void test_nobody_takes_tasks(void **state)
{
    struct nodes *n = *state;
    expect_impossible(n, "No node accepts tasks (the cluster has no node). Add a node.");
    nodes_add(n, 2, 2)->closed = true;
    expect_impossible(
        n, "No node accepts tasks (box-1 accepts no tasks from other nodes). Add a node.");
}

static void test_many_nodes_are_not_listed(void **state)
{
    struct nodes *n = *state;
    for (int i = 0; i < NODES_MAX; i++) {
        nodes_add(n, 4, 4);
    }
    n->asked = nodes_set(RESOURCE_GPU, 1);
    expect_impossible(n, "No node satisfies GPU 1 (box-1 has none, box-2 has none, box-3 has none, "
                         "box-4 has none, and 60 more). Ask for less, or add such a node.");
}

/* However long the texts are, what to do is said. */
static void test_long_texts_are_cut(void **state)
{
    struct nodes *n = *state;
    char name[RESOURCE_NAME_MAX + 1], wish[2000];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    memset(wish, 'y', sizeof wish - 1);
    wish[sizeof wish - 1] = '\0';
    for (int i = 0; i < 4; i++) {
        nodes_add(n, 4, 4)->name = name;
    }
    for (int i = 0; i < 9; i++) {
        uint32_t kind;
        name[0] = (char)('a' + i);
        assert_int_equal(resource_names_intern(&n->kinds, name, &kind), 0);
        nodes_put(&n->asked, kind, 1);
    }
    n->request.labels = wish;
    struct failure f;
    assert_int_equal(sched_impossible(n->rows, n->count, &n->request, &n->kinds, &f),
                     CODE_IMPOSSIBLE);
    n->request.labels = "";
    assert_int_equal(sched_impossible(n->rows, n->count, &n->request, &n->kinds, &f),
                     CODE_IMPOSSIBLE);
    assert_non_null(strstr(f.message, "). Ask for less, or add such a node."));
    char line[40];
    sched_explain(&n->rows[0], &n->request, &n->kinds, line, sizeof line);
    assert_int_equal(strlen(line), sizeof line - 1);
}

static void expect_line(struct nodes *n, const char *line)
{
    char text[256];
    sched_explain(&n->rows[0], &n->request, &n->kinds, text, sizeof text);
    assert_string_equal(text, line);
}

static void test_lines(void **state)
{
    struct nodes *n = *state;
    struct sched_node *box = nodes_add(n, 4, 0.5);
    expect_line(n, "box-1   CPU 1 requested, 0.5 free of 4");
    box->waiting = 12;
    box->sent = 2;
    expect_line(n, "box-1   CPU 1 requested, 0.5 free of 4; 2 sent there; 12 tasks wait there");
    box->sent = 0;
    box->waiting = 1;
    n->available[0] = nodes_set(RESOURCE_CPU, 3);
    expect_line(n, "box-1   has room: CPU 1 requested, 3 free of 4; 1 task waits there");
    box->waiting = 0;
    box->closed = true;
    expect_line(n, "box-1   accepts no tasks from other nodes now");
    nodes_put(&n->asked, RESOURCE_GPU, 1);
    expect_line(n, "box-1   GPU 1 requested, it has none");
    n->asked = nodes_set(RESOURCE_CPU, 8);
    expect_line(n, "box-1   CPU 8 requested, it has 4 in total");
    n->request.labels = "disk=ssd";
    expect_line(n, "box-1   labels disk=ssd requested, it has none");
    n->request.node = "box-2";
    expect_line(n, "box-1   not the requested node (box-2)");
    n->request = (struct sched_request){.asked = &n->asked, .node = "", .labels = ""};
    n->asked.count = 0;
    box->closed = false;
    expect_line(n, "box-1   has room");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NODES_TEST(test_one_that_can_is_enough), NODES_TEST(test_one_resource_is_missing),
        NODES_TEST(test_memory_is_a_size),       NODES_TEST(test_each_lacks_another),
        NODES_TEST(test_the_wished_node),        NODES_TEST(test_the_wished_labels),
        NODES_TEST(test_nobody_takes_tasks),     NODES_TEST(test_many_nodes_are_not_listed),
        NODES_TEST(test_long_texts_are_cut),     NODES_TEST(test_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
