/* A program that does not start where libgone is not beside it. */
int gone_answer(void);

int main(void)
{
    return gone_answer();
}
