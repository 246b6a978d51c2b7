/* simd/attn_avx2.c: page attention with 8 lanes: tokens while scoring, channels while mixing. Tiles of 4 rows
 * by 16 lanes keep the accumulators in the 16 registers. */
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "compile this file with the avx2 tier's flags"
#endif

#include "simd/attn.h"
#include "simd/expf_avx2.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

enum { P = TERSE_PAGE, B = TERSE_KV_BLOCK, TILE_ROWS = 4 };

INLINE __m256 load(terse_page_type type, const void *p, size_t i)
{
    if (type == TERSE_PAGE_F32)
        return _mm256_loadu_ps((const float *)p + i);
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)((const uint16_t *)p + i)));
}

/* Sends the next block on its way to the second-level cache. */
INLINE void fetch(const char *p, terse_page_type type, int32_t dim)
{
    for (size_t i = 0; p && i < terse_page_block_size(type, dim); i += 64)
        _mm_prefetch(p + i, _MM_HINT_T1);
}

/* ---- score ---- */

/* n_row rows by 16 tokens, t0 the first. */
INLINE void score_tile(terse_page_type type, float *s, const float *q, const void *k, size_t q_stride,
                       int32_t dim, int32_t t0, const int n_row)
{
    __m256 a[TILE_ROWS][2];
    for (int r = 0; r < n_row; r++)
        a[r][0] = a[r][1] = _mm256_setzero_ps();
    for (int32_t d = 0; d < dim; d++) {
        const size_t i = (size_t)d * P + (size_t)t0;
        const __m256 k0 = load(type, k, i), k1 = load(type, k, i + 8);
        for (int r = 0; r < n_row; r++) {
            const __m256 x = _mm256_set1_ps(q[(size_t)r * q_stride + (size_t)d]);
            a[r][0] = _mm256_fmadd_ps(x, k0, a[r][0]);
            a[r][1] = _mm256_fmadd_ps(x, k1, a[r][1]);
        }
    }
    for (int r = 0; r < n_row; r++) {
        _mm256_storeu_ps(s + r * P + t0, a[r][0]);
        _mm256_storeu_ps(s + r * P + t0 + 8, a[r][1]);
    }
}

INLINE void score_rows(terse_page_type type, float *s, const float *q, const void *k, size_t stride,
                       int32_t dim, const int n_row)
{
    for (int32_t t = 0; t < P; t += 16)
        score_tile(type, s, q, k, stride, dim, t, n_row);
}

INLINE void score_float(terse_page_type type, float *s, const void *q, const void *k, int32_t n_row,
                        int32_t dim)
{
    const size_t stride = terse_query_size(type, dim) / sizeof(float);
    const float *x = q;
    for (; n_row >= 4; n_row -= 4, s += 4 * P, x += 4 * stride)
        score_rows(type, s, x, k, stride, dim, 4);
    for (; n_row > 0; n_row--, s += P, x += stride)
        score_rows(type, s, x, k, stride, dim, 1);
}

static void score_f32(float *s, const void *q, const void *k, int32_t n_row, int32_t dim, const void *ahead)
{
    fetch(ahead, TERSE_PAGE_F32, dim);
    score_float(TERSE_PAGE_F32, s, q, k, n_row, dim);
}

static void score_f16(float *s, const void *q, const void *k, int32_t n_row, int32_t dim, const void *ahead)
{
    fetch(ahead, TERSE_PAGE_F16, dim);
    score_float(TERSE_PAGE_F16, s, q, k, n_row, dim);
}

/* 8 tokens of one row: codes are -127..127, so |k| * (q with k's sign) stays in int16 pairs. */
INLINE __m256 score_q8_tile(const char *q, const int8_t *code, const uint16_t *dk, int32_t dim)
{
    __m256 sum = _mm256_setzero_ps();
    for (int32_t b = 0; b < dim / B; b++, dk += P) {
        __m256i i = _mm256_setzero_si256();
        for (int32_t d = b * B; d < (b + 1) * B; d += 4) {
            const __m256i k = _mm256_loadu_si256((const __m256i *)(code + (size_t)d * P));
            const __m256i x = _mm256_set1_epi32(*(const int32_t *)(q + d));
            const __m256i xy = _mm256_maddubs_epi16(_mm256_abs_epi8(k), _mm256_sign_epi8(x, k));
            i = _mm256_add_epi32(i, _mm256_madd_epi16(xy, _mm256_set1_epi16(1)));
        }
        const __m256 dq = _mm256_set1_ps(((const float *)(q + dim))[b]);
        sum = _mm256_fmadd_ps(_mm256_mul_ps(dq, load(TERSE_PAGE_F16, dk, 0)), _mm256_cvtepi32_ps(i), sum);
    }
    return sum;
}

static void score_q8(float *s, const void *q, const void *k, int32_t n_row, int32_t dim, const void *ahead)
{
    fetch(ahead, TERSE_PAGE_Q8, dim);
    const int8_t *code = k;
    const uint16_t *dk = (const uint16_t *)(code + (size_t)dim * P);
    for (int32_t t = 0; t < P; t += 8)
        for (int32_t r = 0; r < n_row; r++) {
            const char *x = (const char *)q + (size_t)r * terse_query_size(TERSE_PAGE_Q8, dim);
            _mm256_storeu_ps(s + r * P + t, score_q8_tile(x, code + (size_t)t * 4, dk + t, dim));
        }
}

/* ---- softmax ---- */

INLINE __m256 live(int32_t n, int32_t t)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(n - t), lane));
}

INLINE float max8(__m256 x)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

INLINE float top_of(const float *s, int32_t n, float m)
{
    __m256 x = _mm256_set1_ps(-INFINITY);
    for (int32_t t = 0; t < P; t += 8)
        x = _mm256_max_ps(_mm256_blendv_ps(_mm256_set1_ps(-INFINITY), _mm256_loadu_ps(s + t), live(n, t)), x);
    const float top = max8(x);
    return top > m ? top : m;
}

static void peak(const float *s, int32_t n_row, const int32_t *n, float *m)
{
    for (int32_t r = 0; r < n_row; r++)
        m[r] = top_of(s + r * P, n[r], m[r]);
}

static void weigh(float *s, int32_t n_row, const int32_t *n, float *m, float *l, float *keep, float *z)
{
    for (int32_t r = 0; r < n_row; r++, s += P) {
        const float top = top_of(s, n[r], m[r]);
        __m256 e[4];
        for (int j = 0; j < 4; j++) {
            const __m256 x = exp_avx2(_mm256_sub_ps(_mm256_loadu_ps(s + 8 * j), _mm256_set1_ps(top)));
            e[j] = _mm256_and_ps(x, live(n[r], 8 * j));
            _mm256_storeu_ps(s + 8 * j, e[j]);
        }
        keep[r] = n[r] > 0 ? terse_expf(m[r] - top) : 1.0f;
        z[r] = fold16_avx2(_mm256_add_ps(e[0], e[2]), _mm256_add_ps(e[1], e[3]));
        l[r] = fmaf(l[r], keep[r], z[r]);
        m[r] = top;
    }
}

/* ---- mix ---- */

/* n_row rows by 16 channels. */
INLINE void mix_tile(terse_page_type type, float *o, const float *keep, const float *w, const void *v,
                     int32_t n, int32_t dim, const int n_row)
{
    __m256 a[TILE_ROWS][2];
    for (int r = 0; r < n_row; r++)
        for (int j = 0; j < 2; j++)
            a[r][j] = _mm256_mul_ps(_mm256_loadu_ps(o + r * dim + 8 * j), _mm256_set1_ps(keep[r]));
    for (int32_t t = 0; t < n; t++) {
        const __m256 x0 = load(type, v, (size_t)t * (size_t)dim),
                     x1 = load(type, v, (size_t)t * (size_t)dim + 8);
        for (int r = 0; r < n_row; r++) {
            const __m256 wt = _mm256_set1_ps(w[r * P + t]);
            a[r][0] = _mm256_fmadd_ps(wt, x0, a[r][0]);
            a[r][1] = _mm256_fmadd_ps(wt, x1, a[r][1]);
        }
    }
    for (int r = 0; r < n_row; r++)
        for (int j = 0; j < 2; j++)
            _mm256_storeu_ps(o + r * dim + 8 * j, a[r][j]);
}

INLINE void mix_float(terse_page_type type, float *o, const float *keep, const float *w, const void *v,
                      int32_t n, int32_t n_row, int32_t dim)
{
    const size_t width = type == TERSE_PAGE_F32 ? 4 : 2;
    for (; n_row >= 4; n_row -= 4, o += 4 * dim, keep += 4, w += 4 * P)
        for (int32_t d = 0; d < dim; d += 16)
            mix_tile(type, o + d, keep, w, (const char *)v + (size_t)d * width, n, dim, 4);
    for (; n_row > 0; n_row--, o += dim, keep++, w += P)
        for (int32_t d = 0; d < dim; d += 16)
            mix_tile(type, o + d, keep, w, (const char *)v + (size_t)d * width, n, dim, 1);
}

static void mix_f32(float *o, const float *keep, const float *w, const void *v, int32_t n, int32_t n_row,
                    int32_t dim, const void *ahead)
{
    fetch(ahead, TERSE_PAGE_F32, dim);
    mix_float(TERSE_PAGE_F32, o, keep, w, v, n, n_row, dim);
}

static void mix_f16(float *o, const float *keep, const float *w, const void *v, int32_t n, int32_t n_row,
                    int32_t dim, const void *ahead)
{
    fetch(ahead, TERSE_PAGE_F16, dim);
    mix_float(TERSE_PAGE_F16, o, keep, w, v, n, n_row, dim);
}

/* Weights times value scales as 16 pairs of int16 (tokens 2i, 2i+1); returns what one unit is worth. */
INLINE float quantize_weights(int32_t *pairs, const float *w, const uint16_t *dv, int32_t n)
{
    __m256 x[4], top8 = _mm256_setzero_ps(), nan = _mm256_setzero_ps();
    for (int j = 0; j < 4; j++) {
        const __m256 p = _mm256_mul_ps(_mm256_loadu_ps(w + 8 * j), load(TERSE_PAGE_F16, dv, 8 * (size_t)j));
        x[j] = _mm256_and_ps(p, live(n, 8 * j));
        nan = _mm256_or_ps(nan, _mm256_cmp_ps(x[j], x[j], _CMP_UNORD_Q));
        top8 = _mm256_max_ps(x[j], top8);
    }
    const bool bad = _mm256_movemask_ps(nan) != 0;
    const float top = bad ? 0.0f : max8(top8);
    const float inv = top > TERSE_MIX_TINY ? 32767.0f / top : 0.0f;
    const __m256i most = _mm256_set1_epi32(inv > 0.0f ? 32767 : 0);
    __m256i c[4];
    for (int j = 0; j < 4; j++)
        c[j] = _mm256_min_epu32(_mm256_cvtps_epi32(_mm256_mul_ps(x[j], _mm256_set1_ps(inv))), most);
    for (int j = 0; j < 2; j++) {
        const __m256i lanes = _mm256_packus_epi32(c[2 * j], c[2 * j + 1]);
        _mm256_storeu_si256((__m256i *)pairs + j, _mm256_permute4x64_epi64(lanes, 0xd8));
    }
    return bad ? NAN : top / 32767.0f;
}

/* 16 channels of one scale block for one row: two registers of 8 channels x 2 tokens. */
INLINE void mix_q8_tile(float *o, float keep, const int32_t *pairs, float unit, const int8_t *code, int32_t n,
                        int32_t dim)
{
    __m256i a[2] = { _mm256_setzero_si256(), _mm256_setzero_si256() };
    for (int32_t t = 0; t < (n + 1) / 2; t++) {
        const __m128i *x = (const __m128i *)(code + (size_t)t * (size_t)dim * 2);
        const __m256i c = _mm256_set1_epi32(pairs[t]);
        for (int j = 0; j < 2; j++)
            a[j] = _mm256_add_epi32(a[j], _mm256_madd_epi16(c, _mm256_cvtepi8_epi16(_mm_loadu_si128(x + j))));
    }
    for (int j = 0; j < 2; j++) {
        const __m256 old = _mm256_mul_ps(_mm256_loadu_ps(o + 8 * j), _mm256_set1_ps(keep));
        _mm256_storeu_ps(o + 8 * j, _mm256_fmadd_ps(_mm256_set1_ps(unit), _mm256_cvtepi32_ps(a[j]), old));
    }
}

static void mix_q8(float *o, const float *keep, const float *w, const void *v, int32_t n, int32_t n_row,
                   int32_t dim, const void *ahead)
{
    fetch(ahead, TERSE_PAGE_Q8, dim);
    const int8_t *code = v;
    const uint16_t *dv = (const uint16_t *)(code + (size_t)dim * P);
    for (int32_t b = 0; b < dim / B; b++)
        for (int32_t r = 0; r < n_row; r++) {
            int32_t pairs[P / 2];
            const float unit = quantize_weights(pairs, w + r * P, dv + b * P, n);
            for (int32_t d = b * B; d < (b + 1) * B; d += 16)
                mix_q8_tile(o + r * dim + d, keep[r], pairs, unit, code + (size_t)d * 2, n, dim);
        }
}

void terse_attn_init_avx2(terse_attn_kernels *k)
{
    *k = (terse_attn_kernels){
        .tier = "avx2",
        .score = { score_f32, score_f16, score_q8 },
        .peak = peak,
        .weigh = weigh,
        .mix = { mix_f32, mix_f16, mix_q8 },
    };
}
