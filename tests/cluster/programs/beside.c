/* The library of lacks.c. */
#include <stdint.h>

__attribute__((visibility("default"))) int64_t beside_answer(void);

int64_t beside_answer(void)
{
    return 42;
}
