/* simd/summary_neon.c: page summaries of the tier neon, and what dotprod takes over from it. */
#include "simd/summary_neon.h"

/* sum |x[n]|, n = 16 or 32. */
INLINE float size_of(const float *x, int32_t n)
{
    float32x4_t s[4];
    for (int j = 0; j < 4; j++) {
        s[j] = vabsq_f32(vld1q_f32(x + 4 * j));
        if (n == B)
            s[j] = vaddq_f32(s[j], vabsq_f32(vld1q_f32(x + 16 + 4 * j)));
    }
    return fold16(s);
}

/* part = the chain of one block of n channels. */
INLINE void corners(float32x4_t part[WIDE], const float *x, const int8_t *low, const int8_t *high, int32_t n)
{
    for (int i = 0; i < WIDE; i++)
        part[i] = vdupq_n_f32(0.0f);
    for (int32_t j = 0; j < n; j++) {
        const int8x16_t c = vld1q_s8((x[j] > 0.0f ? high : low) + j * T);
        const int16x8_t h[2] = { vmovl_s8(vget_low_s8(c)), vmovl_high_s8(c) };
        for (int i = 0; i < WIDE; i++) {
            const int32x4_t w = i % 2 ? vmovl_high_s16(h[i / 2]) : vmovl_s16(vget_low_s16(h[i / 2]));
            part[i] = vfmaq_n_f32(part[i], vcvtq_f32_s32(w), x[j]);
        }
    }
}

static void box(float *upper, size_t stride, const float *x, const void *tile, int32_t n_row, int32_t dim)
{
    const int8_t *low = tile, *high = low + dim * T, *scale = high + dim * T;
    fetch_bytes((const char *)tile + terse_box_size(dim), terse_box_size(dim));
    for (int32_t r = 0; r < n_row; r++, upper += stride, x += dim) {
        float32x4_t sum[WIDE], slack[WIDE], part[WIDE];
        for (int i = 0; i < WIDE; i++)
            sum[i] = slack[i] = vdupq_n_f32(0.0f);
        for (int32_t b = 0; b < terse_summary_blocks(dim); b++) {
            const int32_t n = block_size(b, dim);
            const float size = size_of(x + b * B, n);
            corners(part, x + b * B, low + b * B * T, high + b * B * T, n);
            for (int i = 0; i < WIDE; i++) {
                const float32x4_t d = four_halves(scale + b * T * 2 + 8 * i);
                sum[i] = vfmaq_f32(sum[i], part[i], d);
                slack[i] = vfmaq_n_f32(slack[i], d, size);
            }
        }
        for (int i = 0; i < WIDE; i++) {
            const float32x4_t bound = vfmaq_n_f32(sum[i], slack[i], 127.0f * 0x1p-22f * (float)dim);
            vst1q_f32(upper + 4 * i, infinite_unless_finite(bound));
        }
    }
}

/* exp(min(x - m, 80)); 80 where the difference is not a number */
INLINE float32x4_t exp_from(float32x4_t x, float m)
{
    const float32x4_t most = vdupq_n_f32(80.0f), d = vsubq_f32(x, vdupq_n_f32(m));
    return exp_neon(vbslq_f32(vcltq_f32(d, most), d, most));
}

static void exps(float *x, int32_t n, float m)
{
    for (int32_t i = 0; i < n; i += 4)
        vst1q_f32(x + i, exp_from(vld1q_f32(x + i), m));
}

static void estimates(float *fair, float *high, const float *mean, const float *variance, size_t stride,
                      int32_t n_row, const float *m)
{
    const float32x4_t log_page = vdupq_n_f32(TERSE_LOG_PAGE), twice = vdupq_n_f32(2.0f * TERSE_LOG_PAGE);
    for (int32_t i = 0; i < WIDE * n_row; i++) {
        const size_t at = (size_t)(i / WIDE) * stride + (size_t)(i % WIDE) * 4;
        const float32x4_t a = vld1q_f32(mean + at), v = vld1q_f32(variance + at);
        const float32x4_t most = vaddq_f32(a, vmulq_n_f32(v, 0.5f));
        const float32x4_t held = vaddq_f32(a, vsubq_f32(vsqrtq_f32(vmulq_f32(twice, v)), log_page));
        const float32x4_t h = infinite_unless_finite(most),
                          f = infinite_unless_finite(vbslq_f32(vcleq_f32(v, twice), most, held));
        vst1q_f32(high + at, m ? exp_from(h, m[i / WIDE]) : h);
        vst1q_f32(fair + at, m ? exp_from(f, m[i / WIDE]) : f);
    }
}

void terse_summary_init_neon(terse_summary_kernels *k)
{
    *k = (terse_summary_kernels){ .estimates = estimates, .box = box, .exps = exps };
    fill_summary(k);
}
