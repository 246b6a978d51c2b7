/* simd/dot_floats_avx2.c: float weights times activations, the 16 lanes as two registers, and the quantisation
 * of activations. */
#include "simd/dot_avx2.h"

#include <math.h>

enum { FLOAT_ROWS = 4 };

/* Values i..i+7 of a row. */
INLINE __m256 load_floats(terse_dot_type type, const uint8_t *row, int32_t i)
{
    if (type == TERSE_DOT_F32)
        return _mm256_loadu_ps((const void *)(row + (size_t)i * 4));
    const __m128i h = _mm_loadu_si128((const void *)(row + (size_t)i * 2));
    if (type == TERSE_DOT_F16)
        return _mm256_cvtph_ps(h);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

/* Adds the values i..n-1 (fewer than 16) to their lanes, then all lanes up. */
INLINE float finish_floats(terse_dot_type type, const __m256 acc[2], const uint8_t *row, const float *v,
                           int32_t i, int32_t n)
{
    float lane[16], f;
    uint16_t h;
    _mm256_storeu_ps(lane, acc[0]);
    _mm256_storeu_ps(lane + 8, acc[1]);
    for (int l = 0; i < n; i++, l++) {
        if (type == TERSE_DOT_F32) {
            memcpy(&f, row + (size_t)i * 4, sizeof f);
        } else {
            memcpy(&h, row + (size_t)i * 2, sizeof h);
            f = type == TERSE_DOT_F16 ? terse_f16_to_f32(h) : terse_bf16_to_f32(h);
        }
        lane[l] = fmaf(f, v[i], lane[l]);
    }
    return fold8(_mm256_add_ps(_mm256_loadu_ps(lane), _mm256_loadu_ps(lane + 8)));
}

INLINE void float_tile(terse_dot_type type, float *y, const uint8_t *w, size_t row_size, int32_t n_row,
                       int32_t n, const float *v)
{
    const uint8_t *row[FLOAT_ROWS];
    __m256 acc[FLOAT_ROWS][2];
    for (int r = 0; r < FLOAT_ROWS; r++) {
        row[r] = w + (size_t)(r < n_row ? r : n_row - 1) * row_size;
        acc[r][0] = acc[r][1] = _mm256_setzero_ps();
    }
    const size_t ahead = ahead_of(row_size, FLOAT_ROWS);
    int32_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int r = 0; r < FLOAT_ROWS; r++) {
            prefetch_line(row[r] + ahead + (size_t)i * (type == TERSE_DOT_F32 ? 4 : 2));
            acc[r][0] = _mm256_fmadd_ps(load_floats(type, row[r], i), _mm256_loadu_ps(v + i), acc[r][0]);
            acc[r][1] =
                _mm256_fmadd_ps(load_floats(type, row[r], i + 8), _mm256_loadu_ps(v + i + 8), acc[r][1]);
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

void terse_dot_floats_avx2(terse_dot_type type, float *y, size_t y_stride, const uint8_t *w, size_t row_size,
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

INLINE __m256i magnitude(__m256 x)
{
    return _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff));
}

INLINE float largest(__m256i v)
{
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
    return _mm_cvtss_f32(_mm_castsi128_ps(m));
}

/* One block of 32 values: its codes, the sums of its halves, its scale and scaled sum. */
INLINE void quantize_block(const float *x, int8_t *q, int32_t *sum, float *d, float *s)
{
    __m256 v[4];
    __m256i top = _mm256_setzero_si256(), c[4];
    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_loadu_ps(x + 8 * i);
        top = _mm256_max_epi32(top, magnitude(v[i]));
    }
    const float amax = largest(top), inv = 127.0f / amax;
    const int finite = isfinite(amax);
    const __m256i keep = _mm256_set1_epi32(finite && isfinite(inv) ? -1 : 0);
    for (int i = 0; i < 4; i++)
        c[i] = _mm256_and_si256(keep, _mm256_cvtps_epi32(_mm256_mul_ps(v[i], _mm256_set1_ps(inv))));
    /* Packing works within lanes: groups of four come out as 0 2 4 6 1 3 5 7. */
    const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(c[0], c[1]), _mm256_packs_epi32(c[2], c[3]));
    const __m256i code = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    const __m256i four =
        _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), code), _mm256_set1_epi16(1));
    _mm256_store_si256((void *)q, code);
    const __m256i two = _mm256_add_epi32(four, _mm256_shuffle_epi32(four, 0x4e));
    const __m256i one = _mm256_add_epi32(two, _mm256_shuffle_epi32(two, 0xb1));
    sum[0] = _mm_cvtsi128_si32(_mm256_castsi256_si128(one));
    sum[1] = _mm_cvtsi128_si32(_mm256_extracti128_si256(one, 1));
    *d = finite ? amax / 127.0f : NAN;
    *s = *d * (float)(sum[0] + sum[1]);
}

void terse_quantize_avx2(const terse_acts *a, int32_t t)
{
    const float *x = a->x + (size_t)t * a->x_stride;
    const size_t n_block = (size_t)a->n_pad / TERSE_ACT_BLOCK, n = (size_t)a->n;
    int8_t *q = a->q + (size_t)t * (size_t)a->n_pad;
    int32_t *sum = a->sum + (size_t)t * (size_t)a->n_pad / 16;
    float *d = a->d + (size_t)t * n_block, *s = a->s + (size_t)t * n_block;
    for (size_t b = 0; b < (n + QK - 1) / QK * QK_BLOCKS; b++) {
        if (b * 32 + 32 <= n) {
            quantize_block(x + b * 32, q + b * 32, sum + b * 2, d + b, s + b);
        } else {
            float rest[32] = { 0 };
            if (b * 32 < n)
                memcpy(rest, x + b * 32, (n - b * 32) * sizeof *rest);
            quantize_block(rest, q + b * 32, sum + b * 2, d + b, s + b);
        }
    }
}
