/* simd/dot_scalar.c: the dot products written as the formulas of dot.h. The oracle of the other tiers. */
#include "simd/dot.h"

#include <math.h>

#include "simd/dot_unpack.h"

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

static inline int32_t sum_products(const int8_t *c, const int8_t *q, int n)
{
    int32_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += c[i] * q[i];
    return sum;
}

#define INLINE static inline __attribute__((always_inline))

/* One block of 32 values, number l of its step, added to its lanes. d and q: its scale and codes of
 * activations, s: their scaled sum. */
INLINE void add_block(const dot_format *f, const step_scales *w, const int8_t c[32], int l, float d, float s,
                      const int8_t *q, float *acc, float *low)
{
    static const int8_t ones[16] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };
    const int8_t *sub = &w->sub[2 * l], *mn = &w->low[2 * l];
    const int32_t isum = f->traits & HAS_SUB
                             ? sub[0] * sum_products(c, q, 16) + sub[1] * sum_products(c + 16, q + 16, 16)
                             : sum_products(c, q, 32);
    *acc = fmaf(w->d[l] * d, (float)isum, *acc);
    if (f->traits & HAS_MIN)
        *low = fmaf(w->min[l], s, *low);
    if (f->traits & HAS_LOW) {
        const int32_t imin = mn[0] * sum_products(ones, q, 16) + mn[1] * sum_products(ones, q + 16, 16);
        *low = fmaf(w->min[l] * d, (float)imin, *low);
    }
}

/* One row times one token. */
INLINE float dot_blocks(terse_dot_type type, const uint8_t *w, const token *a)
{
    const dot_format *f = &dot_formats[type];
    const int32_t n_block = a->n / 32;
    float acc[TERSE_DOT_LANES] = { 0 }, low[TERSE_DOT_LANES] = { 0 };
    for (int32_t b = 0; b < n_block; b += TERSE_DOT_LANES, w += step_size(type)) {
        const int n = n_block - b < TERSE_DOT_LANES ? n_block - b : TERSE_DOT_LANES;
        step_codes codes;
        step_scales s;
        f->scales(&s, w, n);
        for (int l = 0; l < n; l++) {
            int8_t c[32];
            f->codes(&codes, w, l);
            code_values(f, &codes, l, c);
            add_block(f, &s, c, l, a->d[b + l], a->s[b + l], a->q + (b + l) * 32, &acc[l], &low[l]);
        }
    }
    return fold(acc, TERSE_DOT_LANES) - fold(low, TERSE_DOT_LANES) + 0.0f;
}

enum { FLOAT_LANES = 16 };

/* Value i of a row of floats, which a file may place at any even address. */
INLINE float float_at(terse_dot_type type, const uint8_t *w, int32_t i)
{
    float f;
    uint16_t h;
    if (type == TERSE_DOT_F32) {
        memcpy(&f, w + (size_t)i * sizeof f, sizeof f);
        return f;
    }
    memcpy(&h, w + (size_t)i * sizeof h, sizeof h);
    return type == TERSE_DOT_F16 ? terse_f16_to_f32(h) : terse_bf16_to_f32(h);
}

INLINE float dot_floats(terse_dot_type type, const uint8_t *w, const token *a)
{
    float acc[FLOAT_LANES] = { 0 };
    for (int32_t i = 0; i < a->n; i++)
        acc[i % FLOAT_LANES] = fmaf(float_at(type, w, i), a->x[i], acc[i % FLOAT_LANES]);
    return fold(acc, FLOAT_LANES);
}

INLINE void each_row(terse_dot_type type, float *y, size_t y_stride, const uint8_t *w, size_t row_size,
                     int32_t n_row, const terse_acts *x)
{
    for (int32_t t = 0; t < x->n_token; t++) {
        const token a = token_of(x, t);
        for (int32_t r = 0; r < n_row; r++) {
            const uint8_t *row = w + (size_t)r * row_size;
            y[(size_t)t * y_stride + (size_t)r] =
                dot_formats[type].len ? dot_blocks(type, row, &a) : dot_floats(type, row, &a);
        }
    }
}

/* The types that are met most are compiled apart from the others, for the sake of machines without vectors. */
static void rows(terse_dot_type type, float *y, size_t y_stride, const void *w, size_t row_size, int32_t n_row,
                 const terse_acts *x)
{
    switch (type) {
    case TERSE_DOT_F32:
        each_row(TERSE_DOT_F32, y, y_stride, w, row_size, n_row, x);
        break;
    case TERSE_DOT_F16:
        each_row(TERSE_DOT_F16, y, y_stride, w, row_size, n_row, x);
        break;
    case TERSE_DOT_BF16:
        each_row(TERSE_DOT_BF16, y, y_stride, w, row_size, n_row, x);
        break;
    case TERSE_DOT_Q8_0:
        each_row(TERSE_DOT_Q8_0, y, y_stride, w, row_size, n_row, x);
        break;
    case TERSE_DOT_Q4_0:
        each_row(TERSE_DOT_Q4_0, y, y_stride, w, row_size, n_row, x);
        break;
    case TERSE_DOT_Q4_K:
        each_row(TERSE_DOT_Q4_K, y, y_stride, w, row_size, n_row, x);
        break;
    case TERSE_DOT_Q5_K:
        each_row(TERSE_DOT_Q5_K, y, y_stride, w, row_size, n_row, x);
        break;
    case TERSE_DOT_Q6_K:
        each_row(TERSE_DOT_Q6_K, y, y_stride, w, row_size, n_row, x);
        break;
    case TERSE_DOT_IQ4_NL:
        each_row(TERSE_DOT_IQ4_NL, y, y_stride, w, row_size, n_row, x);
        break;
    case TERSE_DOT_IQ4_XS:
        each_row(TERSE_DOT_IQ4_XS, y, y_stride, w, row_size, n_row, x);
        break;
    default:
        each_row(type, y, y_stride, w, row_size, n_row, x);
    }
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
    int32_t *sum = a->sum + (size_t)t * (size_t)(a->n_pad / 16);
    float *d = a->d + (size_t)t * (size_t)n_block, *s = a->s + (size_t)t * (size_t)n_block;
    for (int32_t b = 0; b < (a->n + QK - 1) / QK * QK_BLOCKS; b++, q += 32, sum += 2) {
        const int32_t left = a->n - b * 32, n = left < 0 ? 0 : left < 32 ? left : 32;
        d[b] = quantize_block(q, n > 0 ? x + b * 32 : x, n);
        sum[0] = sum[1] = 0;
        for (int i = 0; i < 32; i++)
            sum[i / 16] += q[i];
        s[b] = d[b] * (float)(sum[0] + sum[1]);
    }
}

void terse_dot_init_scalar(terse_dot_kernels *k)
{
    *k = (terse_dot_kernels){ .tier = "scalar", .quantize = quantize, .rows = rows };
}
