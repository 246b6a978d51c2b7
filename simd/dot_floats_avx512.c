/* simd/dot_floats_avx512.c: float weights times activations, 16 values of a row at a time, and the quantisation
 * of activations. */
#include "simd/dot_avx512.h"

#include <math.h>

enum { FLOAT_ROWS = 4, TOKENS = 4 };

/* Values i..i+15 of a row, as far as the mask goes. */
INLINE __m512 load_floats(terse_dot_type type, const uint8_t *row, int32_t i, __mmask16 m)
{
    const uint8_t *p = row + (size_t)i * (type == TERSE_DOT_F32 ? 4 : 2);
    if (type == TERSE_DOT_F32)
        return _mm512_maskz_loadu_ps(m, p);
    const __m256i h = _mm256_maskz_loadu_epi16(m, p);
    if (type == TERSE_DOT_F16)
        return _mm512_cvtph_ps(h);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

INLINE float fold16(__m512 v)
{
    return fold8(_mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1)));
}

/* As tile(), for float weights. Masked fmadd keeps the lanes past n as they are. */
INLINE void float_tile(terse_dot_type type, int T, float *y, size_t y_stride, const uint8_t *w, size_t row_size,
                       int32_t n_row, const terse_acts *x, int32_t t)
{
    const uint8_t *row[FLOAT_ROWS];
    const float *v[TOKENS];
    __m512 acc[FLOAT_ROWS][TOKENS];
    for (int r = 0; r < FLOAT_ROWS; r++)
        row[r] = w + (size_t)(r < n_row ? r : n_row - 1) * row_size;
    for (int j = 0; j < T; j++)
        v[j] = x->x + (size_t)(t + j) * x->x_stride;
    for (int r = 0; r < FLOAT_ROWS; r++)
        for (int j = 0; j < T; j++)
            acc[r][j] = _mm512_setzero_ps();
    const size_t ahead = ahead_of(row_size, FLOAT_ROWS);
    int32_t i = 0;
    for (; i + 16 <= x->n; i += 16)
        for (int r = 0; r < FLOAT_ROWS; r++) {
            if (T == 1)
                prefetch_line(row[r] + ahead + (size_t)i * (type == TERSE_DOT_F32 ? 4 : 2));
            const __m512 f = load_floats(type, row[r], i, 0xffff);
            for (int j = 0; j < T; j++)
                acc[r][j] = _mm512_fmadd_ps(f, _mm512_loadu_ps(v[j] + i), acc[r][j]);
        }
    const __mmask16 m = (__mmask16)((1u << (x->n - i)) - 1);
    for (int r = 0; r < FLOAT_ROWS; r++) {
        const __m512 f = load_floats(type, row[r], i, m);
        for (int j = 0; j < T; j++)
            acc[r][j] = _mm512_mask3_fmadd_ps(f, _mm512_maskz_loadu_ps(m, v[j] + i), acc[r][j], m);
    }
    for (int r = 0; r < FLOAT_ROWS && r < n_row; r++)
        for (int j = 0; j < T; j++)
            y[(size_t)(t + j) * y_stride + (size_t)r] = fold16(acc[r][j]);
}

INLINE void float_rows(terse_dot_type type, float *y, size_t y_stride, const uint8_t *w, size_t row_size,
                       int32_t n_row, const terse_acts *x)
{
    for (int32_t r = 0; r < n_row; r += FLOAT_ROWS) {
        const uint8_t *p = w + (size_t)r * row_size;
        int32_t t = 0;
        for (; t + TOKENS <= x->n_token; t += TOKENS)
            float_tile(type, TOKENS, y + r, y_stride, p, row_size, n_row - r, x, t);
        for (; t < x->n_token; t++)
            float_tile(type, 1, y + r, y_stride, p, row_size, n_row - r, x, t);
    }
}

void terse_dot_floats_avx512(terse_dot_type type, float *y, size_t y_stride, const uint8_t *w, size_t row_size,
                             int32_t n_row, const terse_acts *x)
{
    if (type == TERSE_DOT_F32)
        float_rows(TERSE_DOT_F32, y, y_stride, w, row_size, n_row, x);
    else if (type == TERSE_DOT_F16)
        float_rows(TERSE_DOT_F16, y, y_stride, w, row_size, n_row, x);
    else
        float_rows(TERSE_DOT_BF16, y, y_stride, w, row_size, n_row, x);
}

/* ---- activations: quantise ---- */

/* Bit i is set if a block that begins at value b has value i < n. */
INLINE uint32_t block_mask(int32_t b, int32_t n)
{
    return n - b >= 32 ? 0xffffffff : n > b ? (1u << (n - b)) - 1 : 0;
}

void terse_quantize_avx512(const terse_acts *a, int32_t t)
{
    const float *x = a->x + (size_t)t * a->x_stride;
    const int32_t n_block = a->n_pad / TERSE_ACT_BLOCK;
    int8_t *q = a->q + (size_t)t * (size_t)a->n_pad;
    int32_t *sum = a->sum + (size_t)t * (size_t)(a->n_pad / 16);
    float *d = a->d + (size_t)t * (size_t)n_block, *s = a->s + (size_t)t * (size_t)n_block;
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    for (int32_t b = 0; b < n_block; b++, q += 32, sum += 2) {
        const uint32_t m = block_mask(b * 32, a->n);
        const __m512 x0 = _mm512_maskz_loadu_ps((__mmask16)m, x + b * 32);
        const __m512 x1 = _mm512_maskz_loadu_ps((__mmask16)(m >> 16), x + b * 32 + 16);
        const __m512i m0 = _mm512_and_si512(_mm512_castps_si512(x0), magnitude);
        const __m512i m1 = _mm512_and_si512(_mm512_castps_si512(x1), magnitude);
        const int32_t top = _mm512_reduce_max_epi32(_mm512_max_epi32(m0, m1));
        const float amax = _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(top)));
        const float inv = 127.0f / amax;
        const int finite = top < 0x7f800000;
        const __mmask16 keep = finite && isfinite(inv) ? 0xffff : 0;
        const __m512 scale = _mm512_set1_ps(inv);
        const __m512i q0 = _mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(x0, scale));
        const __m512i q1 = _mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(x1, scale));
        const __m256i code = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm512_cvtepi32_epi8(q0)),
                                                     _mm512_cvtepi32_epi8(q1), 1);
        _mm256_store_si256((void *)q, code);
        sum[0] = _mm512_reduce_add_epi32(q0);
        sum[1] = _mm512_reduce_add_epi32(q1);
        d[b] = finite ? amax / 127.0f : NAN;
        s[b] = d[b] * (float)(sum[0] + sum[1]);
    }
}
