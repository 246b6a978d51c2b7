/* simd/summary_avx2.c: page summaries with 8 lanes, half of the pages of a tile. A block of rows keeps its sums
 * in registers and reads the tile once. */
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "compile this file with the avx2 tier's flags"
#endif

#include "simd/expf_avx2.h"
#include "simd/summary.h"

#define INLINE static inline __attribute__((always_inline))

enum { B = TERSE_KV_BLOCK, T = TERSE_TILE, ROWS = 4 };

INLINE int32_t block_size(int32_t b, int32_t dim)
{
    return dim - b * B < B ? dim - b * B : B;
}

INLINE __m256 scales(const char *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

INLINE __m256 magnitude(__m256 x)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}

INLINE __m256 infinite_unless_finite(__m256 x)
{
    const __m256 most = _mm256_set1_ps(INFINITY);
    return _mm256_blendv_ps(most, x, _mm256_cmp_ps(magnitude(x), most, _CMP_LT_OQ));
}

/* Tiles are walked in order: sends the one behind on its way to the second-level cache. Behind the last one
 * that is in vain, and harmless: a prefetch of any address is. */
INLINE void fetch_next(const char *tile, size_t size)
{
    for (size_t i = 0; i < size; i += 64)
        _mm_prefetch(tile + size + i, _MM_HINT_T1);
}

/* ---- moments: pairs of products must fit 16 bits, so no unsigned operand is above 128 ---- */

/* sum + u . s of 4 neighbours, u unsigned, s signed. */
INLINE __m256i add_dots(__m256i sum, __m256i u, __m256i s)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(u, s), _mm256_set1_epi16(1)));
}

/* sum[row][half] += means of n channels x codes of x: |mean| with the sign given to x. */
INLINE void mean_dots(__m256i sum[][2], const char *x, size_t x_size, const char *code, int32_t n,
                      const int n_row)
{
    for (int32_t j = 0; j < n; j += 4, code += 4 * T)
        for (int i = 0; i < 2; i++) {
            const __m256i c = _mm256_loadu_si256((const __m256i *)(code + 32 * i));
            const __m256i m = _mm256_xor_si256(c, _mm256_set1_epi8(-128)), u = _mm256_abs_epi8(m);
            for (int r = 0; r < n_row; r++) {
                const __m256i xr = _mm256_set1_epi32(*(const int32_t *)(x + (size_t)r * x_size + j));
                sum[r][i] = add_dots(sum[r][i], u, _mm256_sign_epi8(xr, m));
            }
        }
}

/* sum[row][half] += (variances - 128) of n channels x codes of x^2, which are not negative. */
INLINE void variance_dots(__m256i sum[][2], const char *x2, size_t x_size, const char *code, int32_t n,
                          const int n_row)
{
    for (int32_t j = 0; j < n; j += 4, code += 4 * T)
        for (int i = 0; i < 2; i++) {
            const __m256i c = _mm256_loadu_si256((const __m256i *)(code + 32 * i));
            const __m256i v = _mm256_xor_si256(c, _mm256_set1_epi8(-128));
            for (int r = 0; r < n_row; r++) {
                const __m256i xr = _mm256_set1_epi32(*(const int32_t *)(x2 + (size_t)r * x_size + j));
                sum[r][i] = add_dots(sum[r][i], xr, v);
            }
        }
}

/* Sum of n unsigned bytes, n = 16 or 32. */
INLINE int32_t sum_bytes(const char *x, int32_t n)
{
    __m128i s = _mm_sad_epu8(_mm_loadu_si128((const __m128i *)x), _mm_setzero_si128());
    if (n == B)
        s = _mm_add_epi32(s, _mm_sad_epu8(_mm_loadu_si128((const __m128i *)x + 1), _mm_setzero_si128()));
    return _mm_cvtsi128_si32(s) + _mm_extract_epi32(s, 2);
}

/* sum[row][half] = fmaf(dx[row] * scale, isum, sum) */
INLINE void add_block(__m256 sum[][2], __m256i isum[][2], const char *dx, size_t x_size, const char *scale,
                      const int n_row)
{
    for (int i = 0; i < 2; i++) {
        const __m256 d = scales(scale + 16 * i);
        for (int r = 0; r < n_row; r++) {
            const __m256 dxr = _mm256_set1_ps(*(const float *)(dx + (size_t)r * x_size));
            sum[r][i] = _mm256_fmadd_ps(_mm256_mul_ps(dxr, d), _mm256_cvtepi32_ps(isum[r][i]), sum[r][i]);
        }
    }
}

INLINE void moments_rows(float *to_mean, float *to_variance, size_t stride, const char *query, const char *tile,
                         int32_t dim, const int n_row)
{
    const int32_t n_block = terse_summary_blocks(dim);
    const size_t size = terse_moments_query_size(dim);
    const char *mean = tile, *var = mean + dim * T, *dm = var + dim * T, *dv = dm + n_block * T * 2;
    const char *x = query, *x2 = x + dim, *dx = x2 + dim, *dx2 = dx + n_block * 4;
    __m256 a[ROWS][2], v[ROWS][2];
    for (int r = 0; r < n_row; r++)
        a[r][0] = a[r][1] = v[r][0] = v[r][1] = _mm256_setzero_ps();
    for (int32_t b = 0; b < n_block; b++) {
        const int32_t n = block_size(b, dim);
        __m256i sum[ROWS][2];
        for (int r = 0; r < n_row; r++)
            sum[r][0] = sum[r][1] = _mm256_setzero_si256();
        mean_dots(sum, x + b * B, size, mean + b * B * T, n, n_row);
        add_block(a, sum, dx + b * 4, size, dm + b * T * 2, n_row);
        for (int r = 0; r < n_row; r++)
            sum[r][0] = sum[r][1] = _mm256_set1_epi32(128 * sum_bytes(x2 + (size_t)r * size + b * B, n));
        variance_dots(sum, x2 + b * B, size, var + b * B * T, n, n_row);
        add_block(v, sum, dx2 + b * 4, size, dv + b * T * 2, n_row);
    }
    for (int r = 0; r < n_row; r++)
        for (int i = 0; i < 2; i++) {
            _mm256_storeu_ps(to_mean + (size_t)r * stride + 8 * i, a[r][i]);
            _mm256_storeu_ps(to_variance + (size_t)r * stride + 8 * i, v[r][i]);
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
INLINE __m256 exp_from(__m256 x, float m)
{
    return exp_avx2(_mm256_min_ps(_mm256_sub_ps(x, _mm256_set1_ps(m)), _mm256_set1_ps(80.0f)));
}

static void exps(float *x, int32_t n, float m)
{
    for (int32_t i = 0; i < n; i += 8)
        _mm256_storeu_ps(x + i, exp_from(_mm256_loadu_ps(x + i), m));
}

static void estimates(float *fair, float *high, const float *mean, const float *variance, size_t stride,
                      int32_t n_row, const float *m)
{
    const __m256 log_page = _mm256_set1_ps(TERSE_LOG_PAGE), twice = _mm256_set1_ps(2.0f * TERSE_LOG_PAGE);
    for (int32_t i = 0; i < 2 * n_row; i++) {
        const size_t at = (size_t)(i / 2) * stride + (size_t)(i % 2) * 8;
        const __m256 a = _mm256_loadu_ps(mean + at), v = _mm256_loadu_ps(variance + at);
        const __m256 most = _mm256_add_ps(a, _mm256_mul_ps(_mm256_set1_ps(0.5f), v));
        const __m256 held = _mm256_add_ps(a, _mm256_sub_ps(_mm256_sqrt_ps(_mm256_mul_ps(twice, v)), log_page));
        const __m256 small = _mm256_cmp_ps(v, twice, _CMP_LE_OQ);
        const __m256 h = infinite_unless_finite(most),
                     f = infinite_unless_finite(_mm256_blendv_ps(held, most, small));
        _mm256_storeu_ps(high + at, m ? exp_from(h, m[i / 2]) : h);
        _mm256_storeu_ps(fair + at, m ? exp_from(f, m[i / 2]) : f);
    }
}

/* ---- box ---- */

INLINE __m256 codes(const char *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}

/* sum |x[n]|, n = 16 or 32. */
INLINE float size_of(const float *x, int32_t n)
{
    __m256 s0 = magnitude(_mm256_loadu_ps(x)), s1 = magnitude(_mm256_loadu_ps(x + 8));
    if (n == B) {
        s0 = _mm256_add_ps(s0, magnitude(_mm256_loadu_ps(x + 16)));
        s1 = _mm256_add_ps(s1, magnitude(_mm256_loadu_ps(x + 24)));
    }
    return fold16_avx2(s0, s1);
}

/* part[row][half] = the chain of one block of n channels. x's sign chooses; for 0 it does not matter which. */
INLINE void corners(__m256 part[][2], const float *x, int32_t x_size, const char *low, const char *high,
                    int32_t n, const int n_row)
{
    for (int r = 0; r < n_row; r++)
        part[r][0] = part[r][1] = _mm256_setzero_ps();
    for (int32_t j = 0; j < n; j++, low += T, high += T) {
        const __m256 l0 = codes(low), l1 = codes(low + 8), h0 = codes(high), h1 = codes(high + 8);
        for (int r = 0; r < n_row; r++) {
            const __m256 xr = _mm256_set1_ps(x[r * x_size + j]);
            part[r][0] = _mm256_fmadd_ps(xr, _mm256_blendv_ps(h0, l0, xr), part[r][0]);
            part[r][1] = _mm256_fmadd_ps(xr, _mm256_blendv_ps(h1, l1, xr), part[r][1]);
        }
    }
}

INLINE void box_rows(float *upper, size_t stride, const float *x, const char *tile, int32_t dim,
                     const int n_row)
{
    const char *low = tile, *high = low + dim * T, *scale = high + dim * T;
    __m256 sum[ROWS][2], slack[ROWS][2];
    for (int r = 0; r < n_row; r++)
        sum[r][0] = sum[r][1] = slack[r][0] = slack[r][1] = _mm256_setzero_ps();
    for (int32_t b = 0; b < terse_summary_blocks(dim); b++) {
        const int32_t n = block_size(b, dim);
        const __m256 d[2] = { scales(scale + b * T * 2), scales(scale + b * T * 2 + 16) };
        __m256 part[ROWS][2];
        corners(part, x + b * B, dim, low + b * B * T, high + b * B * T, n, n_row);
        for (int r = 0; r < n_row; r++) {
            const __m256 size = _mm256_set1_ps(size_of(x + r * dim + b * B, n));
            for (int i = 0; i < 2; i++) {
                sum[r][i] = _mm256_fmadd_ps(part[r][i], d[i], sum[r][i]);
                slack[r][i] = _mm256_fmadd_ps(size, d[i], slack[r][i]);
            }
        }
    }
    const __m256 rounding = _mm256_set1_ps(127.0f * 0x1p-22f * (float)dim);
    for (int r = 0; r < n_row; r++)
        for (int i = 0; i < 2; i++)
            _mm256_storeu_ps(upper + (size_t)r * stride + 8 * i,
                             infinite_unless_finite(_mm256_fmadd_ps(slack[r][i], rounding, sum[r][i])));
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

void terse_summary_init_avx2(terse_summary_kernels *k)
{
    *k = (terse_summary_kernels){ .moments = moments, .estimates = estimates, .box = box, .exps = exps };
}
