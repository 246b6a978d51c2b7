/* simd/peak_neon.c: the loops of peak.h with 4 floats and 16 bytes at a time. */
#include "simd/peak_neon.h"

/* The instruction adds to its own operand, so the chains are sums: they end at twice the seed, where those of
 * the other tiers do. Without different beginnings all of them would be one. */
static float fma_chains(int64_t rounds, float seed)
{
    const float32x4_t s = vdupq_n_f32(seed), part = vdupq_n_f32(rounds > 0 ? 2.0f / (float)rounds : 0.0f);
    float32x4_t a[CHAINS];
    for (int i = 0; i < CHAINS; i++)
        a[i] = vdupq_n_f32(1e-6f * (float)i);
    for (int64_t r = 0; r < rounds; r++)
        for (int i = 0; i < CHAINS; i++)
            a[i] = vfmaq_f32(a[i], s, part);
    for (int i = 1; i < CHAINS; i++)
        a[0] = vaddq_f32(a[0], a[i]);
    return vgetq_lane_f32(a[0], 0);
}

void terse_peak_init_neon(terse_peak_kernels *k)
{
    *k = (terse_peak_kernels){ .tier = "neon", .fma = fma_chains, .fma_ops = CHAINS * 4 * 2 };
    fill_dot8(k);
}
