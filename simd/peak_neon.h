/* simd/peak_neon.h: the loop of byte products for the tiers neon and dotprod: a file of each includes it. */
#ifndef TERSE_SIMD_PEAK_NEON_H
#define TERSE_SIMD_PEAK_NEON_H

#include "simd/lanes_neon.h"
#include "simd/peak.h"

enum { CHAINS = 16 }; /* two a cycle, some four cycles each, and to spare */

/* Each sum is a factor of the next product: what does not change in the loop would be multiplied once. */
static int32_t dot8_chains(int64_t rounds, int32_t seed)
{
    const int8x16_t s = vdupq_n_s8((int8_t)(seed & 0x7f));
    int32x4_t a[CHAINS];
    for (int i = 0; i < CHAINS; i++)
        a[i] = vdupq_n_s32((seed & 0xffff) + i);
    for (int64_t r = 0; r < rounds; r++)
        for (int i = 0; i < CHAINS; i++)
            a[i] = dot4(a[i], vreinterpretq_s8_s32(a[i]), s);
    for (int i = 1; i < CHAINS; i++)
        a[0] = vaddq_s32(a[0], a[i]);
    return vgetq_lane_s32(a[0], 0);
}

INLINE void fill_dot8(terse_peak_kernels *k)
{
    k->dot8 = dot8_chains;
    k->dot8_ops = CHAINS * 16 * 2;
}

#endif
