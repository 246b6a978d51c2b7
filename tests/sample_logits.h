/* tests/sample_logits.h: logits that are hard to choose from. */
#ifndef TERSE_TESTS_SAMPLE_LOGITS_H
#define TERSE_TESTS_SAMPLE_LOGITS_H

#include <math.h>
#include <stdint.h>

static uint64_t random_state = 1;
static inline uint32_t random_u32(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 32);
}

static inline float random_normal(void) /* sum of 12 uniforms, less their mean */
{
    double sum = -6.0;
    for (int i = 0; i < 12; i++)
        sum += random_u32() * 0x1p-32;
    return (float)sum;
}

/* Value i of n: random, ordered, tied, signed zeros, mostly -inf. */
enum { N_KIND = 7 };
static inline float value_of_kind(int kind, int i, int n)
{
    switch (kind) {
    case 0:
        return random_normal();
    case 1:
        return (float)i;
    case 2:
        return (float)(n - i);
    case 3:
        return 0.0f;
    case 4:
        return (float)(random_u32() % 5) - 2.0f;
    case 5:
        return random_u32() % 2 ? -0.0f : 0.0f;
    default:
        return i % 3 ? -INFINITY : -1e30f * (float)(i % 100);
    }
}

#endif
