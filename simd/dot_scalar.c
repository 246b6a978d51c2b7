/* simd/dot_scalar.c: the dot products written as the formulas of dot.h. The oracle of the other tiers. */
#include "simd/dot.h"

#include <math.h>

#include "simd/dot_blocks.h"

/* One token's activations. */
typedef struct {
    const int8_t *q;
    const float *d, *s, *x;
    int32_t n;
} token;

static token token_of(const terse_acts *x, int32_t t)
{
    const size_t n_block = (size_t)x->n_pad / TERSE_ACT_BLOCK;
    return (token){ .q = x->q + (size_t)t * (size_t)x->n_pad,
                    .d = x->d + (size_t)t * n_block,
                    .s = x->s + (size_t)t * n_block,
                    .x = x->x + (size_t)t * x->x_stride,
                    .n = x->n };
}

/* Sum of n lanes, n a power of two: the upper half is added to the lower until one is left. */
static float fold(float *lane, int n)
{
    for (int half = n / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            lane[l] += lane[l + half];
    return lane[0];
}

static int32_t sum_products(const int8_t *c, const int8_t *q, int n)
{
    int32_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += c[i] * q[i];
    return sum;
}

/* Every function below is one row times one token. */
typedef float dot_row(const void *row, const token *a);

static float dot_q8_0(const void *row, const token *a)
{
    const block_q8_0 *w = row;
    float acc[TERSE_DOT_LANES] = { 0 };
    for (int32_t b = 0; b < a->n / 32; b++) {
        float *lane = &acc[b % TERSE_DOT_LANES];
        const int32_t isum = sum_products(w[b].q, a->q + b * 32, 32);
        *lane = fmaf(terse_f16_to_f32(w[b].d) * a->d[b], (float)isum, *lane);
    }
    return fold(acc, TERSE_DOT_LANES);
}

static float dot_q4_0(const void *row, const token *a)
{
    const block_q4_0 *w = row;
    float acc[TERSE_DOT_LANES] = { 0 };
    for (int32_t b = 0; b < a->n / 32; b++) {
        float *lane = &acc[b % TERSE_DOT_LANES];
        int8_t c[32];
        codes_q4_0(&w[b], c);
        *lane = fmaf(terse_f16_to_f32(w[b].d) * a->d[b], (float)sum_products(c, a->q + b * 32, 32), *lane);
    }
    return fold(acc, TERSE_DOT_LANES);
}

/* One block of Q4_K or Q5_K, given its codes. */
static void add_k(float *acc, float *low, float d, float min, const int8_t *c, const token *a, int32_t b)
{
    *acc = fmaf(d * a->d[b], (float)sum_products(c, a->q + b * 32, 32), *acc);
    *low = fmaf(min, a->s[b], *low);
}

static float dot_q4_k(const void *row, const token *a)
{
    const block_q4_k *w = row;
    float acc[QK_BLOCKS] = { 0 }, low[QK_BLOCKS] = { 0 };
    for (int32_t k = 0; k < a->n / QK; k++) {
        const float d = terse_f16_to_f32(w[k].d), dmin = terse_f16_to_f32(w[k].dmin);
        uint8_t sc[QK_BLOCKS], mn[QK_BLOCKS];
        int8_t c[32];
        sub_scales(w[k].scales, sc, mn);
        for (int l = 0; l < QK_BLOCKS; l++) {
            codes_q4_k(&w[k], l, c);
            add_k(&acc[l], &low[l], d * (float)sc[l], dmin * (float)mn[l], c, a, k * QK_BLOCKS + l);
        }
    }
    return fold(acc, QK_BLOCKS) - fold(low, QK_BLOCKS);
}

static float dot_q5_k(const void *row, const token *a)
{
    const block_q5_k *w = row;
    float acc[QK_BLOCKS] = { 0 }, low[QK_BLOCKS] = { 0 };
    for (int32_t k = 0; k < a->n / QK; k++) {
        const float d = terse_f16_to_f32(w[k].d), dmin = terse_f16_to_f32(w[k].dmin);
        uint8_t sc[QK_BLOCKS], mn[QK_BLOCKS];
        int8_t c[32];
        sub_scales(w[k].scales, sc, mn);
        for (int l = 0; l < QK_BLOCKS; l++) {
            codes_q5_k(&w[k], l, c);
            add_k(&acc[l], &low[l], d * (float)sc[l], dmin * (float)mn[l], c, a, k * QK_BLOCKS + l);
        }
    }
    return fold(acc, QK_BLOCKS) - fold(low, QK_BLOCKS);
}

static float dot_q6_k(const void *row, const token *a)
{
    const block_q6_k *w = row;
    float acc[QK_BLOCKS] = { 0 };
    for (int32_t k = 0; k < a->n / QK; k++) {
        const float d = terse_f16_to_f32(w[k].d);
        int8_t c[32];
        for (int l = 0; l < QK_BLOCKS; l++) {
            const int32_t b = k * QK_BLOCKS + l;
            const int8_t *q = a->q + b * 32;
            codes_q6_k(&w[k], l, c);
            const int32_t isum =
                w[k].sc[2 * l] * sum_products(c, q, 16) + w[k].sc[2 * l + 1] * sum_products(c + 16, q + 16, 16);
            acc[l] = fmaf(d * a->d[b], (float)isum, acc[l]);
        }
    }
    return fold(acc, QK_BLOCKS);
}

enum { FLOAT_LANES = 16 };

static float dot_f32(const void *row, const token *a)
{
    const uint8_t *w = row; /* a file may place it at any even address */
    float acc[FLOAT_LANES] = { 0 };
    for (int32_t i = 0; i < a->n; i++) {
        float wi;
        memcpy(&wi, w + (size_t)i * sizeof wi, sizeof wi);
        acc[i % FLOAT_LANES] = fmaf(wi, a->x[i], acc[i % FLOAT_LANES]);
    }
    return fold(acc, FLOAT_LANES);
}

static float dot_f16(const void *row, const token *a)
{
    const uint16_t *w = row;
    float acc[FLOAT_LANES] = { 0 };
    for (int32_t i = 0; i < a->n; i++)
        acc[i % FLOAT_LANES] = fmaf(terse_f16_to_f32(w[i]), a->x[i], acc[i % FLOAT_LANES]);
    return fold(acc, FLOAT_LANES);
}

static float dot_bf16(const void *row, const token *a)
{
    const uint16_t *w = row;
    float acc[FLOAT_LANES] = { 0 };
    for (int32_t i = 0; i < a->n; i++)
        acc[i % FLOAT_LANES] = fmaf(terse_bf16_to_f32(w[i]), a->x[i], acc[i % FLOAT_LANES]);
    return fold(acc, FLOAT_LANES);
}

static void each_row(float *y, size_t y_stride, const void *w, size_t row_size, int32_t n_row,
                     const terse_acts *x, dot_row *dot)
{
    for (int32_t t = 0; t < x->n_token; t++) {
        const token a = token_of(x, t);
        for (int32_t r = 0; r < n_row; r++)
            y[(size_t)t * y_stride + (size_t)r] = dot((const uint8_t *)w + (size_t)r * row_size, &a);
    }
}

static void rows_f32(float *y, size_t y_stride, const void *w, size_t row_size, int32_t n_row,
                     const terse_acts *x)
{
    each_row(y, y_stride, w, row_size, n_row, x, dot_f32);
}

static void rows_f16(float *y, size_t y_stride, const void *w, size_t row_size, int32_t n_row,
                     const terse_acts *x)
{
    each_row(y, y_stride, w, row_size, n_row, x, dot_f16);
}

static void rows_bf16(float *y, size_t y_stride, const void *w, size_t row_size, int32_t n_row,
                      const terse_acts *x)
{
    each_row(y, y_stride, w, row_size, n_row, x, dot_bf16);
}

static void rows_q8_0(float *y, size_t y_stride, const void *w, size_t row_size, int32_t n_row,
                      const terse_acts *x)
{
    each_row(y, y_stride, w, row_size, n_row, x, dot_q8_0);
}

static void rows_q4_0(float *y, size_t y_stride, const void *w, size_t row_size, int32_t n_row,
                      const terse_acts *x)
{
    each_row(y, y_stride, w, row_size, n_row, x, dot_q4_0);
}

static void rows_q4_k(float *y, size_t y_stride, const void *w, size_t row_size, int32_t n_row,
                      const terse_acts *x)
{
    each_row(y, y_stride, w, row_size, n_row, x, dot_q4_k);
}

static void rows_q5_k(float *y, size_t y_stride, const void *w, size_t row_size, int32_t n_row,
                      const terse_acts *x)
{
    each_row(y, y_stride, w, row_size, n_row, x, dot_q5_k);
}

static void rows_q6_k(float *y, size_t y_stride, const void *w, size_t row_size, int32_t n_row,
                      const terse_acts *x)
{
    each_row(y, y_stride, w, row_size, n_row, x, dot_q6_k);
}

/* |x| as an integer: orders finite values as numbers, with infinity and then NaN above them. */
static uint32_t magnitude(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u & 0x7fffffff;
}

/* n <= 32 values (the rest count as zero) to one block; returns its scale. */
static float quantize_block(int8_t q[32], const float *x, int32_t n)
{
    uint32_t top = 0;
    for (int32_t i = 0; i < n; i++)
        top = magnitude(x[i]) > top ? magnitude(x[i]) : top;
    float amax;
    memcpy(&amax, &top, sizeof amax);
    const float inv = 127.0f / amax;
    memset(q, 0, 32);
    if (top >= 0x7f800000)
        return NAN;
    if (isfinite(inv)) /* not for amax = 0, nor where amax is so small that the block might as well be zero */
        for (int32_t i = 0; i < n; i++)
            q[i] = (int8_t)rintf(x[i] * inv);
    return amax / 127.0f;
}

static void quantize(const terse_acts *a, int32_t t)
{
    const float *x = a->x + (size_t)t * a->x_stride;
    const int32_t n_block = a->n_pad / TERSE_ACT_BLOCK;
    int8_t *q = a->q + (size_t)t * (size_t)a->n_pad;
    int32_t *sum4 = a->sum4 + (size_t)t * (size_t)(a->n_pad / 4);
    float *d = a->d + (size_t)t * (size_t)n_block, *s = a->s + (size_t)t * (size_t)n_block;
    for (int32_t b = 0; b < n_block; b++, q += 32, sum4 += 8) {
        const int32_t left = a->n - b * 32, n = left < 0 ? 0 : left < 32 ? left : 32;
        int32_t sum = 0;
        d[b] = quantize_block(q, n > 0 ? x + b * 32 : x, n);
        for (int i = 0; i < 8; i++) {
            sum4[i] = q[4 * i] + q[4 * i + 1] + q[4 * i + 2] + q[4 * i + 3];
            sum += sum4[i];
        }
        s[b] = d[b] * (float)sum;
    }
}

void terse_dot_init_scalar(terse_dot_kernels *k)
{
    *k = (terse_dot_kernels){ .tier = "scalar",
                              .quantize = quantize,
                              .rows = { [TERSE_DOT_F32] = rows_f32,
                                        [TERSE_DOT_F16] = rows_f16,
                                        [TERSE_DOT_BF16] = rows_bf16,
                                        [TERSE_DOT_Q8_0] = rows_q8_0,
                                        [TERSE_DOT_Q4_0] = rows_q4_0,
                                        [TERSE_DOT_Q4_K] = rows_q4_k,
                                        [TERSE_DOT_Q5_K] = rows_q5_k,
                                        [TERSE_DOT_Q6_K] = rows_q6_k } };
}
