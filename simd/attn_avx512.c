/* simd/attn_avx512.c: page attention with 16 lanes: tokens while scoring, channels while mixing. A block of
 * rows keeps its accumulators in registers and reads the page once. */
#if !defined(__AVX512F__) || !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VNNI__)
#error "compile this file with the avx512 tier's flags"
#endif

#include "simd/attn.h"
#include "simd/expf_avx512.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

enum { P = TERSE_PAGE, B = TERSE_KV_BLOCK, ROWS = 8, TILE_ROWS = 4, TILE = 4 };

INLINE __m512 load(terse_page_type type, const void *p, size_t i)
{
    if (type == TERSE_PAGE_F32)
        return _mm512_loadu_ps((const float *)p + i);
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)((const uint16_t *)p + i)));
}

/* What is needed next goes to the second-level cache while this page is worked on: line by line, beside the
 * loads of the same lines of this page. Without a next block a kernel touches its own once more. */
INLINE void fetch(const char *p)
{
    _mm_prefetch(p, _MM_HINT_T1);
}

INLINE const char *next_of(const void *ahead, const void *block)
{
    return ahead ? ahead : block;
}

/* ---- score ---- */

INLINE void score_rows(terse_page_type type, float *s, const float *q, const void *k, size_t q_stride,
                       int32_t dim, const char *next, const int n_row)
{
    const size_t width = type == TERSE_PAGE_F32 ? 4 : 2;
    __m512 a[ROWS][2];
    for (int r = 0; r < n_row; r++)
        a[r][0] = a[r][1] = _mm512_setzero_ps();
    for (int32_t d = 0; d < dim; d++) {
        const __m512 k0 = load(type, k, (size_t)d * P), k1 = load(type, k, (size_t)d * P + 16);
        fetch(next + (size_t)d * P * width);
        if (type == TERSE_PAGE_F32)
            fetch(next + (size_t)d * P * width + 64);
        for (int r = 0; r < n_row; r++) {
            const __m512 x = _mm512_set1_ps(q[(size_t)r * q_stride + (size_t)d]);
            a[r][0] = _mm512_fmadd_ps(x, k0, a[r][0]);
            a[r][1] = _mm512_fmadd_ps(x, k1, a[r][1]);
        }
    }
    for (int r = 0; r < n_row; r++) {
        _mm512_storeu_ps(s + r * P, a[r][0]);
        _mm512_storeu_ps(s + r * P + 16, a[r][1]);
    }
}

INLINE void score_float(terse_page_type type, float *s, const void *q, const void *k, int32_t n_row,
                        int32_t dim, const void *ahead)
{
    const size_t stride = terse_query_size(type, dim) / sizeof(float);
    const char *next = next_of(ahead, k);
    const float *x = q;
    for (; n_row >= ROWS; n_row -= ROWS, s += ROWS * P, x += ROWS * stride, next = k)
        score_rows(type, s, x, k, stride, dim, next, ROWS);
    for (; n_row >= 4; n_row -= 4, s += 4 * P, x += 4 * stride, next = k)
        score_rows(type, s, x, k, stride, dim, next, 4);
    if (n_row == 3)
        score_rows(type, s, x, k, stride, dim, next, 3);
    else if (n_row == 2)
        score_rows(type, s, x, k, stride, dim, next, 2);
    else if (n_row == 1)
        score_rows(type, s, x, k, stride, dim, next, 1);
}

static void score_f32(float *s, const void *q, const void *k, int32_t n_row, int32_t dim, const void *ahead)
{
    score_float(TERSE_PAGE_F32, s, q, k, n_row, dim, ahead);
}

static void score_f16(float *s, const void *q, const void *k, int32_t n_row, int32_t dim, const void *ahead)
{
    score_float(TERSE_PAGE_F16, s, q, k, n_row, dim, ahead);
}

/* Key codes become unsigned by adding 128; the accumulator starts at -128 * (sum of query codes) to undo it. */
INLINE void score_q8_rows(float *s, const char *q, const void *k, size_t q_size, int32_t dim, const char *next,
                          const int n_row)
{
    const int8_t *code = k;
    const uint16_t *dk = (const uint16_t *)(code + (size_t)dim * P);
    __m512 a[ROWS][2];
    for (int r = 0; r < n_row; r++)
        a[r][0] = a[r][1] = _mm512_setzero_ps();
    for (int32_t b = 0; b < dim / B; b++, dk += P) {
        __m512i i[ROWS][2];
        for (int r = 0; r < n_row; r++) {
            const int32_t *sum = (const int32_t *)(q + (size_t)r * q_size + dim) + dim / B;
            i[r][0] = i[r][1] = _mm512_set1_epi32(-128 * sum[b]);
        }
        for (int32_t d = b * B; d < (b + 1) * B; d += 4) {
            const __m512i flip = _mm512_set1_epi8((char)-128);
            const __m512i k0 = _mm512_xor_si512(_mm512_loadu_si512(code + (size_t)d * P), flip);
            const __m512i k1 = _mm512_xor_si512(_mm512_loadu_si512(code + (size_t)d * P + 64), flip);
            fetch(next + (size_t)d * P);
            fetch(next + (size_t)d * P + 64);
            for (int r = 0; r < n_row; r++) {
                const __m512i x = _mm512_set1_epi32(*(const int32_t *)(q + (size_t)r * q_size + d));
                i[r][0] = _mm512_dpbusd_epi32(i[r][0], k0, x);
                i[r][1] = _mm512_dpbusd_epi32(i[r][1], k1, x);
            }
        }
        const __m512 d0 = load(TERSE_PAGE_F16, dk, 0), d1 = load(TERSE_PAGE_F16, dk, 16);
        fetch(next + ((const char *)dk - (const char *)k));
        for (int r = 0; r < n_row; r++) {
            const __m512 dq = _mm512_set1_ps(((const float *)(q + (size_t)r * q_size + dim))[b]);
            a[r][0] = _mm512_fmadd_ps(_mm512_mul_ps(dq, d0), _mm512_cvtepi32_ps(i[r][0]), a[r][0]);
            a[r][1] = _mm512_fmadd_ps(_mm512_mul_ps(dq, d1), _mm512_cvtepi32_ps(i[r][1]), a[r][1]);
        }
    }
    for (int r = 0; r < n_row; r++) {
        _mm512_storeu_ps(s + r * P, a[r][0]);
        _mm512_storeu_ps(s + r * P + 16, a[r][1]);
    }
}

static void score_q8(float *s, const void *q, const void *k, int32_t n_row, int32_t dim, const void *ahead)
{
    const size_t size = terse_query_size(TERSE_PAGE_Q8, dim);
    const char *x = q, *next = next_of(ahead, k);
    for (; n_row >= 4; n_row -= 4, s += 4 * P, x += 4 * size, next = k)
        score_q8_rows(s, x, k, size, dim, next, 4);
    if (n_row == 3)
        score_q8_rows(s, x, k, size, dim, next, 3);
    else if (n_row == 2)
        score_q8_rows(s, x, k, size, dim, next, 2);
    else if (n_row == 1)
        score_q8_rows(s, x, k, size, dim, next, 1);
}

/* ---- softmax ---- */

INLINE uint32_t first(int32_t n)
{
    return n >= 32 ? 0xffffffffu : (1u << n) - 1;
}

INLINE float top_of(const float *s, uint32_t live, float m)
{
    const __m512 low = _mm512_set1_ps(-INFINITY);
    const __m512 x = _mm512_max_ps(_mm512_mask_loadu_ps(low, (__mmask16)live, s),
                                   _mm512_mask_loadu_ps(low, (__mmask16)(live >> 16), s + 16));
    const float top = _mm512_reduce_max_ps(x);
    return top > m ? top : m;
}

static void peak(const float *s, int32_t n_row, const int32_t *n, float *m)
{
    for (int32_t r = 0; r < n_row; r++)
        m[r] = top_of(s + r * P, first(n[r]), m[r]);
}

/* Lane 0 of every 128 bits: the results of the 4-row folds below. */
INLINE __m128 first_of_quarters(__m512 x)
{
    const __m512i at = _mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12);
    return _mm512_castps512_ps128(_mm512_permutexvar_ps(at, x));
}

/* Sums of 4 rows of 16 lanes at once: the same halving as fold16_avx512, the rows side by side. */
INLINE __m128 fold16_4(__m512 v0, __m512 v1, __m512 v2, __m512 v3)
{
    const __m512 a = _mm512_add_ps(_mm512_shuffle_f32x4(v0, v1, 0x44), _mm512_shuffle_f32x4(v0, v1, 0xee));
    const __m512 b = _mm512_add_ps(_mm512_shuffle_f32x4(v2, v3, 0x44), _mm512_shuffle_f32x4(v2, v3, 0xee));
    const __m512 c = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
    const __m512 d = _mm512_add_ps(c, _mm512_permute_ps(c, 0x4e));
    return first_of_quarters(_mm512_add_ps(d, _mm512_permute_ps(d, 0xb1)));
}

INLINE __m128 max16_4(__m512 v0, __m512 v1, __m512 v2, __m512 v3)
{
    const __m512 a = _mm512_max_ps(_mm512_shuffle_f32x4(v0, v1, 0x44), _mm512_shuffle_f32x4(v0, v1, 0xee));
    const __m512 b = _mm512_max_ps(_mm512_shuffle_f32x4(v2, v3, 0x44), _mm512_shuffle_f32x4(v2, v3, 0xee));
    const __m512 c = _mm512_max_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
    const __m512 d = _mm512_max_ps(c, _mm512_permute_ps(c, 0x4e));
    return first_of_quarters(_mm512_max_ps(d, _mm512_permute_ps(d, 0xb1)));
}

/* Four rows together: one chain of latencies instead of four. */
INLINE void weigh_4(float *s, const int32_t *n, float *m, float *l, float *keep, float *z)
{
    const __m512 low = _mm512_set1_ps(-INFINITY);
    __m512 x[4][2], e[4];
    uint32_t live[4];
    for (int r = 0; r < 4; r++) {
        live[r] = first(n[r]);
        x[r][0] = _mm512_mask_loadu_ps(low, (__mmask16)live[r], s + r * P);
        x[r][1] = _mm512_mask_loadu_ps(low, (__mmask16)(live[r] >> 16), s + r * P + 16);
        e[r] = _mm512_max_ps(x[r][0], x[r][1]);
    }
    const __m128 before = _mm_loadu_ps(m), top = _mm_max_ps(max16_4(e[0], e[1], e[2], e[3]), before);
    const __m128 kept = _mm512_castps512_ps128(exp_avx512(_mm512_castps128_ps512(_mm_sub_ps(before, top))));
    const __mmask8 none = _mm_cmpeq_epi32_mask(_mm_loadu_si128((const __m128i *)n), _mm_setzero_si128());
    const __m128 k = _mm_mask_mov_ps(kept, none, _mm_set1_ps(1.0f));
    _mm_storeu_ps(m, top);
    for (int r = 0; r < 4; r++) {
        const __m512 t = _mm512_set1_ps(m[r]);
        const __m512 e0 = exp_below_0_avx512(_mm512_sub_ps(x[r][0], t), (__mmask16)live[r]);
        const __m512 e1 = exp_below_0_avx512(_mm512_sub_ps(x[r][1], t), (__mmask16)(live[r] >> 16));
        _mm512_storeu_ps(s + r * P, e0);
        _mm512_storeu_ps(s + r * P + 16, e1);
        e[r] = _mm512_add_ps(e0, e1);
    }
    const __m128 sum = fold16_4(e[0], e[1], e[2], e[3]);
    _mm_storeu_ps(keep, k);
    _mm_storeu_ps(z, sum);
    _mm_storeu_ps(l, _mm_fmadd_ps(_mm_loadu_ps(l), k, sum));
}

INLINE void weigh_1(float *s, int32_t n, float *m, float *l, float *keep, float *z)
{
    const uint32_t live = first(n);
    const float top = top_of(s, live, *m);
    const __m512 t = _mm512_set1_ps(top);
    const __m512 e0 = exp_below_0_avx512(_mm512_sub_ps(_mm512_loadu_ps(s), t), (__mmask16)live);
    const __m512 e1 = exp_below_0_avx512(_mm512_sub_ps(_mm512_loadu_ps(s + 16), t), (__mmask16)(live >> 16));
    _mm512_storeu_ps(s, e0);
    _mm512_storeu_ps(s + 16, e1);
    *keep = live ? terse_expf(*m - top) : 1.0f;
    *z = fold16_avx512(_mm512_add_ps(e0, e1));
    *l = fmaf(*l, *keep, *z);
    *m = top;
}

static void weigh(float *s, int32_t n_row, const int32_t *n, float *m, float *l, float *keep, float *z)
{
    int32_t r = 0;
    for (; r + 4 <= n_row; r += 4)
        weigh_4(s + r * P, n + r, m + r, l + r, keep + r, z + r);
    for (; r < n_row; r++)
        weigh_1(s + r * P, n[r], m + r, l + r, keep + r, z + r);
}

/* ---- mix ---- */

/* n_row rows by 16 * n_tile channels. */
INLINE void mix_tile(terse_page_type type, float *o, const float *keep, const float *w, const void *v,
                     int32_t n, int32_t dim, const char *next, const int n_row, const int n_tile)
{
    const size_t width = type == TERSE_PAGE_F32 ? 4 : 2;
    __m512 a[TILE_ROWS][TILE];
    for (int r = 0; r < n_row; r++)
        for (int j = 0; j < n_tile; j++)
            a[r][j] = _mm512_mul_ps(_mm512_loadu_ps(o + r * dim + 16 * j), _mm512_set1_ps(keep[r]));
    for (int32_t t = 0; t < n; t++) {
        __m512 x[TILE];
        for (int j = 0; j < n_tile; j++)
            x[j] = load(type, v, (size_t)t * (size_t)dim + 16 * (size_t)j);
        for (size_t i = 0; i < 16 * (size_t)n_tile * width; i += 64)
            fetch(next + (size_t)t * (size_t)dim * width + i);
        for (int r = 0; r < n_row; r++) {
            const __m512 wt = _mm512_set1_ps(w[r * P + t]);
            for (int j = 0; j < n_tile; j++)
                a[r][j] = _mm512_fmadd_ps(wt, x[j], a[r][j]);
        }
    }
    for (int r = 0; r < n_row; r++)
        for (int j = 0; j < n_tile; j++)
            _mm512_storeu_ps(o + r * dim + 16 * j, a[r][j]);
}

INLINE void mix_rows(terse_page_type type, float *o, const float *keep, const float *w, const char *v,
                     int32_t n, int32_t dim, const char *next, const int n_row)
{
    const size_t width = type == TERSE_PAGE_F32 ? 4 : 2;
    int32_t d = 0;
    for (; d + 64 <= dim; d += 64)
        mix_tile(type, o + d, keep, w, v + (size_t)d * width, n, dim, next + (size_t)d * width, n_row, 4);
    for (; d < dim; d += 16)
        mix_tile(type, o + d, keep, w, v + (size_t)d * width, n, dim, next + (size_t)d * width, n_row, 1);
}

INLINE void mix_float(terse_page_type type, float *o, const float *keep, const float *w, const void *v,
                      int32_t n, int32_t n_row, int32_t dim, const void *ahead)
{
    const char *next = next_of(ahead, v);
    for (; n_row >= 4; n_row -= 4, o += 4 * dim, keep += 4, w += 4 * P, next = v)
        mix_rows(type, o, keep, w, v, n, dim, next, 4);
    if (n_row == 3)
        mix_rows(type, o, keep, w, v, n, dim, next, 3);
    else if (n_row == 2)
        mix_rows(type, o, keep, w, v, n, dim, next, 2);
    else if (n_row == 1)
        mix_rows(type, o, keep, w, v, n, dim, next, 1);
}

static void mix_f32(float *o, const float *keep, const float *w, const void *v, int32_t n, int32_t n_row,
                    int32_t dim, const void *ahead)
{
    mix_float(TERSE_PAGE_F32, o, keep, w, v, n, n_row, dim, ahead);
}

static void mix_f16(float *o, const float *keep, const float *w, const void *v, int32_t n, int32_t n_row,
                    int32_t dim, const void *ahead)
{
    mix_float(TERSE_PAGE_F16, o, keep, w, v, n, n_row, dim, ahead);
}

/* Weights times value scales as 16 pairs of int16 (tokens 2i, 2i+1); returns what one unit is worth. */
INLINE float quantize_weights(int32_t *pairs, const float *w, const uint16_t *dv, int32_t n)
{
    const uint32_t live = first(n);
    const __m512 x0 = _mm512_maskz_mul_ps((__mmask16)live, _mm512_loadu_ps(w), load(TERSE_PAGE_F16, dv, 0));
    const __m512 x1 =
        _mm512_maskz_mul_ps((__mmask16)(live >> 16), _mm512_loadu_ps(w + 16), load(TERSE_PAGE_F16, dv, 16));
    const __mmask16 nan = _mm512_cmp_ps_mask(x0, x1, _CMP_UNORD_Q);
    const float top = nan ? 0.0f : _mm512_reduce_max_ps(_mm512_max_ps(x0, x1));
    const float inv = top > TERSE_MIX_TINY ? 32767.0f / top : 0.0f;
    const __m512i most = _mm512_set1_epi32(inv > 0.0f ? 32767 : 0);
    const __m512 vi = _mm512_set1_ps(inv);
    const __m512i c0 = _mm512_min_epu32(_mm512_cvtps_epi32(_mm512_mul_ps(x0, vi)), most);
    const __m512i c1 = _mm512_min_epu32(_mm512_cvtps_epi32(_mm512_mul_ps(x1, vi)), most);
    _mm256_storeu_si256((__m256i *)pairs, _mm512_cvtepi32_epi16(c0));
    _mm256_storeu_si256((__m256i *)pairs + 1, _mm512_cvtepi32_epi16(c1));
    return nan ? NAN : top / 32767.0f;
}

/* 32 channels of one scale block for n_row rows: a register holds 16 channels x 2 tokens. */
INLINE void mix_q8_block(float *o, const float *keep, const float *w, const int8_t *code, const uint16_t *dv,
                         int32_t n, int32_t dim, const char *next, const int n_row)
{
    int32_t pairs[TILE_ROWS][P / 2];
    float unit[TILE_ROWS];
    __m512i a[TILE_ROWS][2];
    for (int r = 0; r < n_row; r++) {
        unit[r] = quantize_weights(pairs[r], w + r * P, dv, n);
        a[r][0] = a[r][1] = _mm512_setzero_si512();
    }
    for (int32_t t = 0; t < (n + 1) / 2; t++) {
        const __m256i *x = (const __m256i *)(code + (size_t)t * (size_t)dim * 2);
        const __m512i v0 = _mm512_cvtepi8_epi16(_mm256_loadu_si256(x));
        const __m512i v1 = _mm512_cvtepi8_epi16(_mm256_loadu_si256(x + 1));
        fetch(next + (size_t)t * (size_t)dim * 2);
        for (int r = 0; r < n_row; r++) {
            const __m512i c = _mm512_set1_epi32(pairs[r][t]);
            a[r][0] = _mm512_dpwssd_epi32(a[r][0], c, v0);
            a[r][1] = _mm512_dpwssd_epi32(a[r][1], c, v1);
        }
    }
    for (int r = 0; r < n_row; r++)
        for (int j = 0; j < 2; j++) {
            float *y = o + r * dim + 16 * j;
            const __m512 old = _mm512_mul_ps(_mm512_loadu_ps(y), _mm512_set1_ps(keep[r]));
            _mm512_storeu_ps(y, _mm512_fmadd_ps(_mm512_set1_ps(unit[r]), _mm512_cvtepi32_ps(a[r][j]), old));
        }
}

INLINE void mix_q8_rows(float *o, const float *keep, const float *w, const int8_t *code, int32_t n, int32_t dim,
                        const char *next, const int n_row)
{
    const uint16_t *dv = (const uint16_t *)(code + (size_t)dim * P);
    for (int32_t b = 0; b < dim / B; b++) {
        fetch(next + ((const char *)(dv + b * P) - (const char *)code));
        mix_q8_block(o + b * B, keep, w, code + (size_t)b * B * 2, dv + b * P, n, dim, next + (size_t)b * B * 2,
                     n_row);
    }
}

static void mix_q8(float *o, const float *keep, const float *w, const void *v, int32_t n, int32_t n_row,
                   int32_t dim, const void *ahead)
{
    const char *next = next_of(ahead, v);
    for (; n_row >= 4; n_row -= 4, o += 4 * dim, keep += 4, w += 4 * P, next = v)
        mix_q8_rows(o, keep, w, v, n, dim, next, 4);
    if (n_row == 3)
        mix_q8_rows(o, keep, w, v, n, dim, next, 3);
    else if (n_row == 2)
        mix_q8_rows(o, keep, w, v, n, dim, next, 2);
    else if (n_row == 1)
        mix_q8_rows(o, keep, w, v, n, dim, next, 1);
}

void terse_attn_init_avx512(terse_attn_kernels *k)
{
    *k = (terse_attn_kernels){
        .tier = "avx512",
        .score = { score_f32, score_f16, score_q8 },
        .peak = peak,
        .weigh = weigh,
        .mix = { mix_f32, mix_f16, mix_q8 },
    };
}
