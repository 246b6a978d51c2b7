/* simd/peak_scalar.c: the two loops of peak.h in C, as the scalar kernels are: one value at a time. */
#include "simd/peak.h"

#include <math.h>

enum { LANES = 16 };

static float fma_chains(int64_t rounds, float seed)
{
    float a[LANES], sum = 0.0f;
    for (int i = 0; i < LANES; i++)
        a[i] = seed + (float)i;
    for (int64_t r = 0; r < rounds; r++)
        for (int i = 0; i < LANES; i++)
            a[i] = fmaf(a[i], 0.5f, seed);
    for (int i = 0; i < LANES; i++)
        sum += a[i];
    return sum;
}

/* The bytes are those of the sums themselves: constant ones would be multiplied once. */
static int32_t dot8_chains(int64_t rounds, int32_t seed)
{
    uint32_t a[LANES], sum = 0; /* unsigned: the sums may wrap */
    for (uint32_t i = 0; i < LANES; i++)
        a[i] = (uint32_t)seed + i;
    for (int64_t r = 0; r < rounds; r++)
        for (int i = 0; i < LANES; i++)
            a[i] += (uint32_t)((int8_t)(a[i] & 0x7f) * (int8_t)(seed & 0x7f));
    for (int i = 0; i < LANES; i++)
        sum += a[i];
    return (int32_t)(sum & INT32_MAX);
}

void terse_peak_init_scalar(terse_peak_kernels *k)
{
    *k = (terse_peak_kernels){ "scalar", fma_chains, dot8_chains, 2 * LANES, 2 * LANES };
}
