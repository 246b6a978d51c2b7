/* simd/attn_neon.h: what the files of the tiers neon and dotprod share of page attention. */
#ifndef TERSE_SIMD_ATTN_NEON_H
#define TERSE_SIMD_ATTN_NEON_H

#include "simd/attn.h"
#include "simd/lanes_neon.h"

/* Elements i to i + 3 of floats. */
INLINE float32x4_t load(terse_page_type type, const void *p, size_t i)
{
    if (type == TERSE_PAGE_F32)
        return vld1q_f32((const float *)p + i);
    const uint16x4_t h = vld1_u16((const uint16_t *)p + i);
    if (type == TERSE_PAGE_BF16)
        return vreinterpretq_f32_u32(vshll_n_u16(h, 16));
    return vcvt_f32_f16(vreinterpret_f16_u16(h));
}

/* Sends the next block on its way to the second-level cache. */
INLINE void fetch(const void *ahead, terse_page_type type, int32_t dim)
{
    fetch_bytes(ahead, terse_page_block_size(type, dim));
}

/* Sends tokens of the next block of values there. */
INLINE void fetch_tokens(const void *ahead, terse_page_type type, int32_t dim, uint32_t tokens)
{
    if (ahead)
        terse_tokens_fetch(type, ahead, dim, tokens);
}

/* All ones in the lanes of tokens t to t + 3 that are in the set. */
INLINE uint32x4_t within(uint32_t tokens, int32_t t)
{
    static const uint32_t bit[4] = { 1, 2, 4, 8 };
    return vtstq_u32(vdupq_n_u32(tokens >> t), vld1q_u32(bit));
}

/* All ones in the lanes of tokens t to t + 3 that are below n. */
INLINE uint32x4_t live(int32_t n, int32_t t)
{
    static const int32_t lane[4] = { 0, 1, 2, 3 };
    return vcltq_s32(vld1q_s32(lane), vdupq_n_s32(n - t));
}

/* a > b ? a : b: NaN in a is passed over. */
INLINE float32x4_t larger(float32x4_t a, float32x4_t b)
{
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}

/* s[row] += mean[row] - their mean */
INLINE void shift(float *s, const float *mean, int32_t n_row)
{
    for (int32_t r = 0; mean && r < n_row; r++, s += TERSE_PAGE) {
        float32x4_t half[4];
        for (int j = 0; j < 4; j++)
            half[j] = vaddq_f32(vld1q_f32(s + 4 * j), vld1q_f32(s + 16 + 4 * j));
        const float32x4_t by = vdupq_n_f32(mean[r] - fold16(half) * (1.0f / TERSE_PAGE));
        for (int j = 0; j < TERSE_PAGE / 4; j++)
            vst1q_f32(s + 4 * j, vaddq_f32(vld1q_f32(s + 4 * j), by));
    }
}

/* Fills in the coded types. */
void terse_attn_coded_neon(terse_attn_kernels *k);
void terse_attn_coded_dotprod(terse_attn_kernels *k);

#endif
