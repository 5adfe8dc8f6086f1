#include "cli/exit.h"

int exit_of_failure(const struct failure *f)
{
    switch (f->code) {
    case CODE_OK:
        return EXIT_DONE;
    case CODE_REFUSED:
        return EXIT_REFUSED;
    case CODE_DISCONNECTED:
    case CODE_UNREACHABLE:
        return EXIT_NO_CLUSTER;
    default:
        return EXIT_FAILED;
    }
}
