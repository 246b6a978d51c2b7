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

/* Maxima of the lanes of 8 registers. */
INLINE __m256i largest(const __m512i v[8])
{
    __m512i two[4], four[2]; /* registers in one: 2 lanes of 128 bits each, one lane each */
    for (int i = 0; i < 4; i++)
        two[i] = _mm512_max_epi32(_mm512_shuffle_i64x2(v[2 * i], v[2 * i + 1], 0x44),
                                  _mm512_shuffle_i64x2(v[2 * i], v[2 * i + 1], 0xee));
    for (int i = 0; i < 2; i++)
        four[i] = _mm512_max_epi32(_mm512_shuffle_i64x2(two[2 * i], two[2 * i + 1], 0x88),
                                   _mm512_shuffle_i64x2(two[2 * i], two[2 * i + 1], 0xdd));
    const __m512i half =
        _mm512_max_epi32(_mm512_unpacklo_epi32(four[0], four[1]), _mm512_unpackhi_epi32(four[0], four[1]));
    const __m512i all = _mm512_max_epi32(half, _mm512_shuffle_epi32(half, 0x4e)); /* lane i: of i, of i + 4 */
    return _mm512_castsi512_si256(
        _mm512_permutexvar_epi32(_mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 13, 9, 5, 1, 12, 8, 4, 0), all));
}

/* Sums of the lanes of 128 bits of 4 registers, as a register. */
INLINE __m512i sums_of_lanes(const __m512i v[4])
{
    __m512i two[2];
    for (int i = 0; i < 2; i++)
        two[i] = _mm512_add_epi32(_mm512_shuffle_i64x2(v[2 * i], v[2 * i + 1], 0x44),
                                  _mm512_shuffle_i64x2(v[2 * i], v[2 * i + 1], 0xee));
    return _mm512_add_epi32(_mm512_shuffle_i64x2(two[0], two[1], 0x88),
                            _mm512_shuffle_i64x2(two[0], two[1], 0xdd));
}

/* 8 blocks from x on, of which n values are there. */
INLINE void quantize_step(int8_t *q, float *d, float *s, int32_t *sum, const float *x, int32_t n)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff), ones = _mm512_set1_epi8(1);
    const __m512i order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    const __m256 most = _mm256_set1_ps(127.0f), infinity = _mm256_set1_ps(INFINITY);
    __m512 v[8][2];
    __m512i top[8], part[4];
    float by[8];
    for (int b = 0; b < 8; b++) {
        const uint32_t m = block_mask(b * 32, n);
        v[b][0] = _mm512_maskz_loadu_ps((__mmask16)m, x + b * 32);
        v[b][1] = _mm512_maskz_loadu_ps((__mmask16)(m >> 16), x + b * 32 + 16);
        top[b] = _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(v[b][0]), magnitude),
                                  _mm512_and_si512(_mm512_castps_si512(v[b][1]), magnitude));
    }
    const __m256i bits = largest(top);
    const __m256 amax = _mm256_castsi256_ps(bits), inv = _mm256_div_ps(most, amax);
    const __mmask8 finite = _mm256_cmplt_epi32_mask(bits, _mm256_set1_epi32(0x7f800000));
    const __mmask8 keep = _mm256_mask_cmp_ps_mask(finite, inv, infinity, _CMP_LT_OQ);
    const __m256 scale = _mm256_mask_div_ps(_mm256_set1_ps(NAN), finite, amax, most);
    _mm256_storeu_ps(by, inv);
    for (int i = 0; i < 4; i++) {
        __m512i words[2]; /* lane i: values 4i .. of the first and of the last half */
        for (int k = 0; k < 2; k++) {
            const int b = 2 * i + k;
            const __mmask16 m = keep >> b & 1 ? 0xffff : 0;
            const __m512 r = _mm512_set1_ps(by[b]);
            words[k] = _mm512_packs_epi32(_mm512_maskz_cvtps_epi32(m, _mm512_mul_ps(v[b][0], r)),
                                          _mm512_maskz_cvtps_epi32(m, _mm512_mul_ps(v[b][1], r)));
        }
        const __m512i bytes = _mm512_packs_epi16(words[0], words[1]);
        _mm512_store_si512(q + 64 * i, _mm512_permutexvar_epi32(order, bytes));
        part[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones, bytes);
    }
    const __m512i half = sums_of_lanes(part);
    const __m512i whole = _mm512_add_epi32(half, _mm512_shuffle_epi32(half, 0xb1));
    _mm512_store_si512(sum, half);
    _mm256_store_ps(d, scale);
    _mm256_store_ps(s, _mm256_mul_ps(scale, _mm256_cvtepi32_ps(_mm512_cvtepi64_epi32(whole))));
}

void terse_quantize_avx512(const terse_acts *a, int32_t t)
{
    const size_t at = (size_t)t * (size_t)a->n_pad;
    for (int32_t i = 0; i < a->n; i += 256) {
        const size_t k = at + (size_t)i;
        quantize_step(a->q + k, a->d + k / 32, a->s + k / 32, a->sum + k / 16,
                      a->x + (size_t)t * a->x_stride + i, a->n - i);
    }
}
