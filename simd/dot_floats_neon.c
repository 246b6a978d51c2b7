/* simd/dot_floats_neon.c: float weights times activations, the 16 lanes as four registers, and the quantization
 * of activations. */
#include "simd/dot.h"
#include "simd/dot_blocks.h"
#include "simd/lanes_neon.h"

#include <math.h>
#include <stdbool.h>

void terse_dot_floats_neon(terse_dot_type type, float *y, size_t y_stride, const uint8_t *w, size_t row_size,
                           int32_t n_row, const terse_acts *x);
void terse_quantize_neon(const terse_acts *a, int32_t t);

enum { FLOAT_ROWS = 4, LANES = 16, WIDE = LANES / 4 };

/* Values i..i+3 of a row, which a file may place at any even address. */
INLINE float32x4_t load_floats(terse_dot_type type, const uint8_t *row, int32_t i)
{
    if (type == TERSE_DOT_F32)
        return vreinterpretq_f32_u8(vld1q_u8(row + (size_t)i * 4));
    const uint16x4_t h = vreinterpret_u16_u8(vld1_u8(row + (size_t)i * 2));
    if (type == TERSE_DOT_F16)
        return vcvt_f32_f16(vreinterpret_f16_u16(h));
    return vreinterpretq_f32_u32(vshll_n_u16(h, 16));
}

/* Adds the values i..n-1 (fewer than 16) to their lanes, then all lanes up. */
INLINE float finish_floats(terse_dot_type type, float32x4_t acc[WIDE], const uint8_t *row, const float *v,
                           int32_t i, int32_t n)
{
    float lane[LANES], f;
    uint16_t h;
    for (int j = 0; j < WIDE; j++)
        vst1q_f32(lane + 4 * j, acc[j]);
    for (int l = 0; i < n; i++, l++) {
        if (type == TERSE_DOT_F32) {
            memcpy(&f, row + (size_t)i * 4, sizeof f);
        } else {
            memcpy(&h, row + (size_t)i * 2, sizeof h);
            f = type == TERSE_DOT_F16 ? terse_f16_to_f32(h) : terse_bf16_to_f32(h);
        }
        lane[l] = fmaf(f, v[i], lane[l]);
    }
    for (int j = 0; j < WIDE; j++)
        acc[j] = vld1q_f32(lane + 4 * j);
    return fold16(acc);
}

INLINE void float_tile(terse_dot_type type, float *y, const uint8_t *w, size_t row_size, int32_t n_row,
                       int32_t n, const float *v)
{
    const uint8_t *row[FLOAT_ROWS];
    float32x4_t acc[FLOAT_ROWS][WIDE];
    for (int r = 0; r < FLOAT_ROWS; r++) {
        row[r] = w + (size_t)(r < n_row ? r : n_row - 1) * row_size;
        for (int j = 0; j < WIDE; j++)
            acc[r][j] = vdupq_n_f32(0.0f);
    }
    const size_t ahead = ahead_of(row_size, FLOAT_ROWS);
    int32_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        float32x4_t x[WIDE];
        for (int j = 0; j < WIDE; j++)
            x[j] = vld1q_f32(v + i + 4 * j);
        for (int r = 0; r < FLOAT_ROWS; r++) {
            prefetch_line(row[r] + ahead + (size_t)i * (type == TERSE_DOT_F32 ? 4 : 2));
            for (int j = 0; j < WIDE; j++)
                acc[r][j] = vfmaq_f32(acc[r][j], load_floats(type, row[r], i + 4 * j), x[j]);
        }
    }
    for (int r = 0; r < FLOAT_ROWS && r < n_row; r++)
        y[r] = finish_floats(type, acc[r], row[r], v, i, n);
}

INLINE void float_rows(terse_dot_type type, float *y, size_t y_stride, const uint8_t *w, size_t row_size,
                       int32_t n_row, const terse_acts *x)
{
    for (int32_t r = 0; r < n_row; r += FLOAT_ROWS)
        for (int32_t t = 0; t < x->n_token; t++)
            float_tile(type, y + (size_t)t * y_stride + (size_t)r, w + (size_t)r * row_size, row_size,
                       n_row - r, x->n, x->x + (size_t)t * x->x_stride);
}

void terse_dot_floats_neon(terse_dot_type type, float *y, size_t y_stride, const uint8_t *w, size_t row_size,
                           int32_t n_row, const terse_acts *x)
{
    if (type == TERSE_DOT_F32)
        float_rows(TERSE_DOT_F32, y, y_stride, w, row_size, n_row, x);
    else if (type == TERSE_DOT_F16)
        float_rows(TERSE_DOT_F16, y, y_stride, w, row_size, n_row, x);
    else
        float_rows(TERSE_DOT_BF16, y, y_stride, w, row_size, n_row, x);
}

/* ---- activations: quantize ---- */

/* One block of 32 values: its codes, the sums of its halves, its scale and scaled sum. */
INLINE void quantize_block(const float *x, int8_t *q, int32_t *sum, float *d, float *s)
{
    uint32x4_t top = vdupq_n_u32(0);
    for (int i = 0; i < 8; i++)
        top = vmaxq_u32(top, vreinterpretq_u32_f32(vabsq_f32(vld1q_f32(x + 4 * i))));
    const uint32_t most = vmaxvq_u32(top);
    float amax;
    memcpy(&amax, &most, sizeof amax);
    const float inv = 127.0f / amax;
    const bool finite = isfinite(amax);
    const int32x4_t keep = vdupq_n_s32(finite && isfinite(inv) ? -1 : 0);
    for (int i = 0; i < 2; i++) {
        int16x4_t c[4];
        for (int j = 0; j < 4; j++) {
            const float32x4_t v = vmulq_n_f32(vld1q_f32(x + 16 * i + 4 * j), inv);
            c[j] = vmovn_s32(vandq_s32(keep, vcvtnq_s32_f32(v)));
        }
        const int8x8_t low = vmovn_s16(vcombine_s16(c[0], c[1])), high = vmovn_s16(vcombine_s16(c[2], c[3]));
        const int8x16_t code = vcombine_s8(low, high);
        vst1q_s8(q + 16 * i, code);
        sum[i] = vaddlvq_s8(code);
    }
    *d = finite ? amax / 127.0f : NAN;
    *s = *d * (float)(sum[0] + sum[1]);
}

void terse_quantize_neon(const terse_acts *a, int32_t t)
{
    const float *x = a->x + (size_t)t * a->x_stride;
    const size_t n_block = (size_t)a->n_pad / TERSE_ACT_BLOCK, n = (size_t)a->n;
    int8_t *q = a->q + (size_t)t * (size_t)a->n_pad;
    int32_t *sum = a->sum + (size_t)t * (size_t)a->n_pad / 16;
    float *d = a->d + (size_t)t * n_block, *s = a->s + (size_t)t * n_block;
    for (size_t b = 0; b < (n + QK - 1) / QK * QK_BLOCKS; b++) {
        float rest[32] = { 0 };
        if (b * 32 + 32 > n && b * 32 < n)
            memcpy(rest, x + b * 32, (n - b * 32) * sizeof *rest);
        quantize_block(b * 32 + 32 <= n ? x + b * 32 : rest, q + b * 32, sum + b * 2, d + b, s + b);
    }
}
