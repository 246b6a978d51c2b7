/* simd/summary_scalar.c: the formulas of summary.h. The specification of the other tiers. */
#include "simd/dot.h"
#include "simd/expf.h"
#include "simd/summary.h"

#include <math.h>

enum { B = TERSE_KV_BLOCK, T = TERSE_TILE };

static int32_t block_end(int32_t b, int32_t dim)
{
    return (b + 1) * B < dim ? (b + 1) * B : dim;
}

static void moments(float *mean_of, float *variance_of, size_t stride, const void *query, const void *tile,
                    int32_t n_row, int32_t dim)
{
    const int32_t n_block = terse_summary_blocks(dim);
    const uint8_t *mean = tile, *var = mean + dim * T;
    const uint16_t *dm = (const uint16_t *)(var + dim * T), *dv = dm + n_block * T;
    for (int32_t r = 0; r < n_row; r++, mean_of += stride, variance_of += stride) {
        const int8_t *x = (const int8_t *)query + (size_t)r * terse_moments_query_size(dim), *x2 = x + dim;
        const float *dx = (const float *)(x2 + dim), *dx2 = dx + n_block;
        for (int32_t p = 0; p < T; p++) {
            float a = 0.0f, v = 0.0f;
            for (int32_t b = 0; b < n_block; b++) {
                int32_t xm = 0, xv = 0;
                for (int32_t j = b * B; j < block_end(b, dim); j++) {
                    xm += x[j] * (mean[(j / 4 * T + p) * 4 + j % 4] - 128);
                    xv += x2[j] * var[(j / 4 * T + p) * 4 + j % 4];
                }
                a = fmaf(dx[b] * terse_f16_to_f32(dm[b * T + p]), (float)xm, a);
                v = fmaf(dx2[b] * terse_f16_to_f32(dv[b * T + p]), (float)xv, v);
            }
            mean_of[p] = a;
            variance_of[p] = v;
        }
    }
}

static void exps(float *x, int32_t n, float m)
{
    for (int32_t i = 0; i < n; i++) {
        const float d = x[i] - m;
        x[i] = terse_expf(d < 80.0f ? d : 80.0f);
    }
}

static void estimates(float *fair, float *high, const float *mean, const float *variance, size_t stride,
                      int32_t n_row, const float *m)
{
    for (int32_t r = 0; r < n_row; r++, fair += stride, high += stride, mean += stride, variance += stride) {
        for (int32_t i = 0; i < T; i++) {
            const float a = mean[i], v = variance[i], most = a + 0.5f * v;
            const float held =
                v <= 2.0f * TERSE_LOG_PAGE ? most : a + (sqrtf(2.0f * TERSE_LOG_PAGE * v) - TERSE_LOG_PAGE);
            high[i] = isfinite(most) ? most : INFINITY;
            fair[i] = isfinite(held) ? held : INFINITY;
        }
        if (m) {
            exps(high, T, m[r]);
            exps(fair, T, m[r]);
        }
    }
}

/* sum |x[n]|, n = 16 or 32. */
static float size_of(const float *x, int32_t n)
{
    float lane[T] = { 0.0f };
    for (int32_t j = 0; j < n; j++)
        lane[j % T] += fabsf(x[j]);
    for (int32_t half = T / 2; half > 0; half /= 2)
        for (int32_t i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

static void box(float *upper, size_t stride, const float *x, const void *tile, int32_t n_row, int32_t dim)
{
    const int8_t *low = tile, *high = low + dim * T;
    const uint16_t *scale = (const uint16_t *)(high + dim * T);
    for (int32_t r = 0; r < n_row; r++, upper += stride, x += dim)
        for (int32_t p = 0; p < T; p++) {
            float sum = 0.0f, slack = 0.0f;
            for (int32_t b = 0; b < terse_summary_blocks(dim); b++) {
                const float d = terse_f16_to_f32(scale[b * T + p]);
                float part = 0.0f;
                for (int32_t j = b * B; j < block_end(b, dim); j++)
                    part = fmaf(x[j], (float)(x[j] > 0.0f ? high : low)[j * T + p], part);
                sum = fmaf(part, d, sum);
                slack = fmaf(size_of(x + b * B, block_end(b, dim) - b * B), d, slack);
            }
            sum = fmaf(slack, 127.0f * 0x1p-22f * (float)dim, sum);
            upper[p] = isfinite(sum) ? sum : INFINITY;
        }
}

void terse_summary_init_scalar(terse_summary_kernels *k)
{
    *k = (terse_summary_kernels){ .moments = moments, .estimates = estimates, .box = box, .exps = exps };
}
