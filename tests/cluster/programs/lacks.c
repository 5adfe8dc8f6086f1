/*
 * lacks NODE [COUNT]: COUNT tasks on this node only ("": spread over all) that need a library
 * beside the program. Prints how each ended. The library is not beside a copy of the program.
 */
#include <drt/drt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

int64_t beside_answer(void);

DRT_TASK(ask_beside, call)
{
    return drt_return(call, drt_i64(beside_answer()));
}

int main(int argc, char **argv)
{
    drt_init_or_exit();
    if (argc < 2) {
        return 2;
    }
    struct drt_options options = {.strategy = DRT_SPREAD};
    if (argv[1][0] != '\0') {
        options = (struct drt_options){.strategy = DRT_NODE_SPECIFIC, .node = argv[1]};
    }
    int64_t count = argc > 2 ? strtoll(argv[2], NULL, 10) : 1;
    for (int64_t i = 0; i < count; i++) {
        struct drt_ref ref = drt_submit(ask_beside, drt_with(&options));
        struct drt_error e;
        int64_t answer = 0;
        int rc = drt_error_of(ref, &e);
        if (rc == 0 && drt_get_i64(ref, &answer) == 0) {
            printf("%" PRId64 "\n", answer);
        } else {
            printf("%s node %s: %s\n", drt_code_name(rc), e.node, e.message);
        }
        drt_release(&ref);
    }
    drt_shutdown();
    return 0;
}
