/*
 * A seeded generator (xoshiro256** by Blackman and Vigna, seeded through splitmix64). The only
 * randomness of a core.
 */
#ifndef COMMON_RNG_H
#define COMMON_RNG_H

#include <stdint.h>

struct rng {
    uint64_t s[4];
};

void rng_seed(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n);                    /* 0 <= x < n, unbiased; n > 0 */
uint64_t rng_between(struct rng *r, uint64_t low, uint64_t high); /* both included */
double rng_unit(struct rng *r);                                   /* [0, 1) */
static inline int rng_chance(struct rng *r, double p)
{
    return rng_unit(r) < p;
}

#endif
