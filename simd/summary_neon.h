/* simd/summary_neon.h: page summaries with 4 lanes, a quarter of the pages of a tile, for the tiers neon and
 * dotprod: a file of each includes it. A block of rows reads the tile once. */
#ifndef TERSE_SIMD_SUMMARY_NEON_H
#define TERSE_SIMD_SUMMARY_NEON_H

#include "simd/expf_neon.h"
#include "simd/summary.h"

enum { B = TERSE_KV_BLOCK, T = TERSE_TILE, ROWS = 4, WIDE = T / 4 };

INLINE int32_t block_size(int32_t b, int32_t dim)
{
    return dim - b * B < B ? dim - b * B : B;
}

INLINE float32x4_t infinite_unless_finite(float32x4_t x)
{
    const float32x4_t most = vdupq_n_f32(INFINITY);
    return vbslq_f32(vcaltq_f32(x, most), x, most);
}

/* ---- moments ---- */

/* sum[row] += codes of n channels, less 128, x codes of x. */
INLINE void add_dots(int32x4_t sum[][WIDE], const char *x, size_t x_size, const uint8_t *code, int32_t n,
                     const int n_row)
{
    for (int32_t j = 0; j < n; j += 4, code += 4 * T)
        for (int i = 0; i < WIDE; i++) {
            const int8x16_t c = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(code + 16 * i), vdupq_n_u8(128)));
            for (int r = 0; r < n_row; r++)
                sum[r][i] = dot4(sum[r][i], c, four_bytes(x + (size_t)r * x_size + j));
        }
}

/* Sum of n unsigned bytes, n = 16 or 32. */
INLINE int32_t sum_bytes(const char *x, int32_t n)
{
    int32_t sum = 0;
    for (int32_t i = 0; i < n; i += 16)
        sum += vaddlvq_u8(vld1q_u8((const uint8_t *)x + i));
    return sum;
}

INLINE void start(int32x4_t sum[WIDE], int32_t value)
{
    for (int i = 0; i < WIDE; i++)
        sum[i] = vdupq_n_s32(value);
}

/* sum[row] = fmaf(dx[row] * scale, isum, sum) */
INLINE void add_block(float32x4_t sum[][WIDE], int32x4_t isum[][WIDE], const char *dx, size_t x_size,
                      const uint8_t *scale, const int n_row)
{
    for (int i = 0; i < WIDE; i++) {
        const float32x4_t d = four_halves(scale + 8 * i);
        for (int r = 0; r < n_row; r++) {
            float dxr;
            memcpy(&dxr, dx + (size_t)r * x_size, sizeof dxr);
            sum[r][i] = vfmaq_f32(sum[r][i], vmulq_n_f32(d, dxr), vcvtq_f32_s32(isum[r][i]));
        }
    }
}

INLINE void moments_rows(float *to_mean, float *to_variance, size_t stride, const char *query,
                         const uint8_t *tile, int32_t dim, const int n_row)
{
    const int32_t n_block = terse_summary_blocks(dim);
    const size_t size = terse_moments_query_size(dim);
    const uint8_t *mean = tile, *var = mean + dim * T, *dm = var + dim * T, *dv = dm + n_block * T * 2;
    const char *x = query, *x2 = x + dim, *dx = x2 + dim, *dx2 = dx + n_block * 4;
    float32x4_t a[ROWS][WIDE], v[ROWS][WIDE];
    for (int r = 0; r < n_row; r++)
        for (int i = 0; i < WIDE; i++)
            a[r][i] = v[r][i] = vdupq_n_f32(0.0f);
    for (int32_t b = 0; b < n_block; b++) {
        const int32_t n = block_size(b, dim);
        int32x4_t sum[ROWS][WIDE];
        for (int r = 0; r < n_row; r++)
            start(sum[r], 0);
        add_dots(sum, x + b * B, size, mean + b * B * T, n, n_row);
        add_block(a, sum, dx + b * 4, size, dm + b * T * 2, n_row);
        for (int r = 0; r < n_row; r++) /* variances are unsigned: the 128 comes back */
            start(sum[r], 128 * sum_bytes(x2 + (size_t)r * size + b * B, n));
        add_dots(sum, x2 + b * B, size, var + b * B * T, n, n_row);
        add_block(v, sum, dx2 + b * 4, size, dv + b * T * 2, n_row);
    }
    for (int r = 0; r < n_row; r++)
        for (int i = 0; i < WIDE; i++) {
            vst1q_f32(to_mean + (size_t)r * stride + 4 * i, a[r][i]);
            vst1q_f32(to_variance + (size_t)r * stride + 4 * i, v[r][i]);
        }
}

static void moments(float *mean, float *variance, size_t stride, const void *query, const void *tile,
                    int32_t n_row, int32_t dim)
{
    const size_t size = terse_moments_query_size(dim), tile_size = terse_moments_size(dim);
    const char *x = query;
    fetch_bytes((const char *)tile + tile_size, tile_size);
    for (; n_row >= 4; n_row -= 4, mean += 4 * stride, variance += 4 * stride, x += 4 * size)
        moments_rows(mean, variance, stride, x, tile, dim, 4);
    for (; n_row > 0; n_row--, mean += stride, variance += stride, x += size)
        moments_rows(mean, variance, stride, x, tile, dim, 1);
}

INLINE void fill_summary(terse_summary_kernels *k)
{
    k->moments = moments;
}

#endif
