/* A library of its own for needs_gone.c. */
__attribute__((visibility("default"))) int gone_answer(void);

int gone_answer(void)
{
    return 42;
}
