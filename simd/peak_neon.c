/* simd/peak_neon.c: the loops of peak.h with 4 floats and 16 bytes at a time. */
#include "simd/peak_neon.h"

static float fma_chains(int64_t rounds, float seed)
{
    const float32x4_t s = vdupq_n_f32(seed), half = vdupq_n_f32(0.5f);
    float32x4_t a[CHAINS];
    for (int i = 0; i < CHAINS; i++)
        a[i] = vdupq_n_f32(seed + (float)i);
    for (int64_t r = 0; r < rounds; r++)
        for (int i = 0; i < CHAINS; i++)
            a[i] = vfmaq_f32(a[i], s, half);
    for (int i = 1; i < CHAINS; i++)
        a[0] = vaddq_f32(a[0], a[i]);
    return vgetq_lane_f32(a[0], 0);
}

void terse_peak_init_neon(terse_peak_kernels *k)
{
    *k = (terse_peak_kernels){ .tier = "neon", .fma = fma_chains, .fma_ops = CHAINS * 4 * 2 };
    fill_dot8(k);
}
