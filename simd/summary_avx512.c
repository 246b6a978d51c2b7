/* simd/summary_avx512.c: page summaries with 16 lanes, one per page of a tile. A block of rows keeps its sums
 * in registers and reads the tile once. */
#if !defined(__AVX512F__) || !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VNNI__)
#error "compile this file with the avx512 tier's flags"
#endif

#include "simd/expf_avx512.h"
#include "simd/summary.h"

#define INLINE static inline __attribute__((always_inline))

enum { B = TERSE_KV_BLOCK, T = TERSE_TILE, ROWS = 4 };

INLINE int32_t block_size(int32_t b, int32_t dim)
{
    return dim - b * B < B ? dim - b * B : B;
}

INLINE __m512 scales(const char *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

INLINE __m512 infinite_unless_finite(__m512 x)
{
    const __m512 most = _mm512_set1_ps(INFINITY);
    return _mm512_mask_mov_ps(most, _mm512_cmp_ps_mask(_mm512_abs_ps(x), most, _CMP_LT_OQ), x);
}

/* Tiles are walked in order: sends the third one from here on its way to the second-level cache. Behind the
 * last one that is in vain, and harmless: a prefetch of any address is. */
INLINE void fetch_next(const char *tile, size_t size)
{
    for (size_t i = 0; i < size; i += 64)
        _mm_prefetch(tile + 3 * size + i, _MM_HINT_T1);
}

/* ---- moments ---- */

/* sum[row] += the unsigned codes of n channels of the tile x the row's signed ones. */
INLINE void products(__m512i *sum, const char *x, size_t x_size, const char *code, int32_t n, const int n_row)
{
    for (int32_t j = 0; j < n; j += 4, code += 4 * T) {
        const __m512i c = _mm512_loadu_si512(code);
        for (int r = 0; r < n_row; r++) {
            const __m512i xr = _mm512_set1_epi32(*(const int32_t *)(x + (size_t)r * x_size + j));
            sum[r] = _mm512_dpbusd_epi32(sum[r], c, xr);
        }
    }
}

INLINE void moments_rows(float *to_mean, float *to_variance, size_t stride, const char *query, const char *tile,
                         int32_t dim, const int n_row)
{
    const int32_t n_block = terse_summary_blocks(dim);
    const size_t size = terse_moments_query_size(dim);
    const char *mean = tile, *var = mean + dim * T, *dm = var + dim * T, *dv = dm + n_block * T * 2;
    const char *x = query, *x2 = x + dim, *dx = x2 + dim, *dx2 = dx + n_block * 4, *sum = dx2 + n_block * 4;
    __m512 a[ROWS], v[ROWS];
    for (int r = 0; r < n_row; r++)
        a[r] = v[r] = _mm512_setzero_ps();
    for (int32_t b = 0; b < n_block; b++) {
        const int32_t n = block_size(b, dim);
        __m512i xm[ROWS], xv[ROWS];
        for (int r = 0; r < n_row; r++) { /* less what the 128 in the code of each mean adds */
            xm[r] = _mm512_set1_epi32(-128 * *(const int32_t *)(sum + (size_t)r * size + b * 4));
            xv[r] = _mm512_setzero_si512();
        }
        products(xm, x + b * B, size, mean + b * B * T, n, n_row);
        products(xv, x2 + b * B, size, var + b * B * T, n, n_row);
        const __m512 sm = scales(dm + b * T * 2), sv = scales(dv + b * T * 2);
        for (int r = 0; r < n_row; r++) {
            const __m512 sx = _mm512_set1_ps(*(const float *)(dx + (size_t)r * size + b * 4));
            const __m512 sx2 = _mm512_set1_ps(*(const float *)(dx2 + (size_t)r * size + b * 4));
            a[r] = _mm512_fmadd_ps(_mm512_mul_ps(sx, sm), _mm512_cvtepi32_ps(xm[r]), a[r]);
            v[r] = _mm512_fmadd_ps(_mm512_mul_ps(sx2, sv), _mm512_cvtepi32_ps(xv[r]), v[r]);
        }
    }
    for (int r = 0; r < n_row; r++) {
        _mm512_storeu_ps(to_mean + (size_t)r * stride, a[r]);
        _mm512_storeu_ps(to_variance + (size_t)r * stride, v[r]);
    }
}

static void moments(float *mean, float *variance, size_t stride, const void *query, const void *tile,
                    int32_t n_row, int32_t dim)
{
    const size_t step = ROWS * stride, size = ROWS * terse_moments_query_size(dim);
    const char *x = query;
    fetch_next(tile, terse_moments_size(dim));
    for (; n_row >= 4; n_row -= 4, mean += step, variance += step, x += size)
        moments_rows(mean, variance, stride, x, tile, dim, 4);
    if (n_row == 3)
        moments_rows(mean, variance, stride, x, tile, dim, 3);
    else if (n_row == 2)
        moments_rows(mean, variance, stride, x, tile, dim, 2);
    else if (n_row == 1)
        moments_rows(mean, variance, stride, x, tile, dim, 1);
}

/* exp(min(x - m, 80)); 80 where the difference is not a number */
INLINE __m512 exp_from(__m512 x, float m)
{
    return exp_avx512(_mm512_min_ps(_mm512_sub_ps(x, _mm512_set1_ps(m)), _mm512_set1_ps(80.0f)));
}

static void exps(float *x, int32_t n, float m)
{
    for (int32_t i = 0; i < n; i += 16)
        _mm512_storeu_ps(x + i, exp_from(_mm512_loadu_ps(x + i), m));
}

static void estimates(float *fair, float *high, const float *mean, const float *variance, size_t stride,
                      int32_t n_row, const float *m)
{
    const __m512 log_page = _mm512_set1_ps(TERSE_LOG_PAGE), twice = _mm512_set1_ps(2.0f * TERSE_LOG_PAGE);
    for (int32_t r = 0; r < n_row; r++) {
        const size_t at = (size_t)r * stride;
        const __m512 a = _mm512_loadu_ps(mean + at), v = _mm512_loadu_ps(variance + at);
        const __m512 most = _mm512_add_ps(a, _mm512_mul_ps(_mm512_set1_ps(0.5f), v));
        const __m512 held = _mm512_add_ps(a, _mm512_sub_ps(_mm512_sqrt_ps(_mm512_mul_ps(twice, v)), log_page));
        const __mmask16 small = _mm512_cmp_ps_mask(v, twice, _CMP_LE_OQ);
        const __m512 h = infinite_unless_finite(most),
                     f = infinite_unless_finite(_mm512_mask_mov_ps(held, small, most));
        _mm512_storeu_ps(high + at, m ? exp_from(h, m[r]) : h);
        _mm512_storeu_ps(fair + at, m ? exp_from(f, m[r]) : f);
    }
}

/* ---- box ---- */

INLINE __m512 codes(const char *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
}

/* up[j] = all ones where x[j] > 0; returns sum |x[n]|. */
INLINE float signs(int32_t *up, const float *x, int32_t n)
{
    __m512 size = _mm512_setzero_ps();
    for (int32_t j = 0; j < n; j += 16) {
        const __m512 v = _mm512_loadu_ps(x + j);
        size = _mm512_add_ps(size, _mm512_abs_ps(v));
        _mm512_storeu_si512(up + j, _mm512_movm_epi32(_mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_GT_OQ)));
    }
    return fold16_avx512(size);
}

/* part[row] = the chain of one block of n channels. */
INLINE void corners(__m512 *part, const float *x, int32_t x_size, int32_t up[][B], const char *low,
                    const char *high, int32_t n, const int n_row)
{
    for (int r = 0; r < n_row; r++)
        part[r] = _mm512_setzero_ps();
    for (int32_t j = 0; j < n; j++) {
        const __m512i l = _mm512_castps_si512(codes(low + j * T)), h = _mm512_castps_si512(codes(high + j * T));
        for (int r = 0; r < n_row; r++) {
            const __m512i k =
                _mm512_ternarylogic_epi32(_mm512_set1_epi32(up[r][j]), h, l, 0xca); /* up ? h : l */
            part[r] = _mm512_fmadd_ps(_mm512_set1_ps(x[r * x_size + j]), _mm512_castsi512_ps(k), part[r]);
        }
    }
}

INLINE void box_rows(float *upper, size_t stride, const float *x, const char *tile, int32_t dim,
                     const int n_row)
{
    const char *low = tile, *high = low + dim * T, *scale = high + dim * T;
    __m512 sum[ROWS], slack[ROWS];
    for (int r = 0; r < n_row; r++)
        sum[r] = slack[r] = _mm512_setzero_ps();
    for (int32_t b = 0; b < terse_summary_blocks(dim); b++) {
        const int32_t n = block_size(b, dim);
        _Alignas(64) int32_t up[ROWS][B];
        float size[ROWS];
        __m512 part[ROWS];
        for (int r = 0; r < n_row; r++)
            size[r] = signs(up[r], x + r * dim + b * B, n);
        corners(part, x + b * B, dim, up, low + b * B * T, high + b * B * T, n, n_row);
        const __m512 d = scales(scale + b * T * 2);
        for (int r = 0; r < n_row; r++) {
            sum[r] = _mm512_fmadd_ps(part[r], d, sum[r]);
            slack[r] = _mm512_fmadd_ps(_mm512_set1_ps(size[r]), d, slack[r]);
        }
    }
    const __m512 rounding = _mm512_set1_ps(127.0f * 0x1p-22f * (float)dim);
    for (int r = 0; r < n_row; r++)
        _mm512_storeu_ps(upper + (size_t)r * stride,
                         infinite_unless_finite(_mm512_fmadd_ps(slack[r], rounding, sum[r])));
}

static void box(float *upper, size_t stride, const float *x, const void *tile, int32_t n_row, int32_t dim)
{
    fetch_next(tile, terse_box_size(dim));
    for (; n_row >= 4; n_row -= 4, upper += 4 * stride, x += 4 * dim)
        box_rows(upper, stride, x, tile, dim, 4);
    if (n_row == 3)
        box_rows(upper, stride, x, tile, dim, 3);
    else if (n_row == 2)
        box_rows(upper, stride, x, tile, dim, 2);
    else if (n_row == 1)
        box_rows(upper, stride, x, tile, dim, 1);
}

void terse_summary_init_avx512(terse_summary_kernels *k)
{
    *k = (terse_summary_kernels){ .moments = moments, .estimates = estimates, .box = box, .exps = exps };
}
