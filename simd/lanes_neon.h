/* simd/lanes_neon.h: what the files of the tiers neon and dotprod share, and
 * the one thing in which these two differ: a file of the tier dotprod has the
 * same kernels, compiled with the instruction for dot4. Static helpers only. */
#ifndef TERSE_SIMD_LANES_NEON_H
#define TERSE_SIMD_LANES_NEON_H

#if !defined(__aarch64__) || !defined(__ARM_NEON)
#error "compile this file for 64-bit ARM"
#endif

#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* sum[i] + a[4i..4i+3] . b[4i..4i+3]. One of the two must have no -128, for two
 * products to fit 16 bits. */
INLINE int32x4_t dot4(int32x4_t sum, int8x16_t a, int8x16_t b)
{
#ifdef __ARM_FEATURE_DOTPROD
    return vdotq_s32(sum, a, b);
#else
    const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b)), high = vmull_high_s8(a, b);
    return vpadalq_s16(sum, vpaddq_s16(low, high));
#endif
}

/* The same with the four bytes b[4 lane..4 lane+3] for each lane of a. */
INLINE int32x4_t dot4_lane(int32x4_t sum, int8x16_t a, int8x16_t b, const int lane)
{
#ifdef __ARM_FEATURE_DOTPROD
    switch (lane) {
    case 0:
        return vdotq_laneq_s32(sum, a, b, 0);
    case 1:
        return vdotq_laneq_s32(sum, a, b, 1);
    case 2:
        return vdotq_laneq_s32(sum, a, b, 2);
    default:
        return vdotq_laneq_s32(sum, a, b, 3);
    }
#else
    const int32x4_t w = vreinterpretq_s32_s8(b);
    switch (lane) {
    case 0:
        return dot4(sum, a, vreinterpretq_s8_s32(vdupq_laneq_s32(w, 0)));
    case 1:
        return dot4(sum, a, vreinterpretq_s8_s32(vdupq_laneq_s32(w, 1)));
    case 2:
        return dot4(sum, a, vreinterpretq_s8_s32(vdupq_laneq_s32(w, 2)));
    default:
        return dot4(sum, a, vreinterpretq_s8_s32(vdupq_laneq_s32(w, 3)));
    }
#endif
}

/* The four bytes at p, four times. */
INLINE int8x16_t four_bytes(const void *p)
{
    int32_t word;
    memcpy(&word, p, sizeof word);
    return vreinterpretq_s8_s32(vdupq_n_s32(word));
}

/* Sums of the four lanes of each of a, b, c, d. */
INLINE int32x4_t sums_of(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d)
{
    return vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d));
}

INLINE float32x4_t four_halves(const void *p)
{
    uint16_t h[4];
    memcpy(h, p, sizeof h);
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(h)));
}

/* Sum of four lanes, folded by halving. */
INLINE float fold4(float32x4_t v)
{
    const float32x2_t two = vadd_f32(vget_low_f32(v), vget_high_f32(v));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

/* Sum of 16 virtual lanes, v[0] the first four, folded by halving. */
INLINE float fold16(const float32x4_t v[4])
{
    return fold4(vaddq_f32(vaddq_f32(v[0], v[2]), vaddq_f32(v[1], v[3])));
}

/* Sends size bytes at p on their way to the second-level cache. */
INLINE void fetch_bytes(const char *p, size_t size)
{
    for (size_t i = 0; p && i < size; i += 64) {
        __builtin_prefetch(p + i, 0, 2);
        __asm__ volatile(""); /* gcc 12 may drop a loop that does nothing but prefetch */
    }
}

#endif
