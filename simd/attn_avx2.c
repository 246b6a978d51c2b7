/* simd/attn_avx2.c: page attention with 8 lanes: tokens while scoring, channels while mixing. Tiles of 4 rows
 * by 16 lanes keep the accumulators in the 16 registers. */
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "compile this file with the avx2 tier's flags"
#endif

#include "simd/attn_avx2.h"

enum { P = TERSE_PAGE, TILE_ROWS = 4 };

/* ---- score ---- */

/* n_row rows by 16 tokens, t0 the first. some.at NULL: all pieces, as many as some.n says. */
INLINE void score_tile(terse_page_type type, float *s, const float *q, const void *k, size_t q_stride,
                       terse_channels some, int32_t t0, const int n_row)
{
    __m256 a[TILE_ROWS][2];
    for (int r = 0; r < n_row; r++)
        a[r][0] = a[r][1] = _mm256_setzero_ps();
    const int32_t channels = terse_page_channels(type);
    for (int32_t p = 0; p < some.n * channels; p++) {
        const size_t d = terse_channel_at(some.at, p, channels), i = d * P + (size_t)t0;
        const __m256 k0 = load(type, k, i), k1 = load(type, k, i + 8);
        for (int r = 0; r < n_row; r++) {
            const __m256 x = _mm256_set1_ps(q[(size_t)r * q_stride + d]);
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
                       terse_channels some, const int n_row)
{
    for (int32_t t = 0; t < P; t += 16)
        score_tile(type, s, q, k, stride, some, t, n_row);
}

INLINE void score_pieces(terse_page_type type, float *s, const float *x, const void *k, int32_t n_row,
                         int32_t dim, terse_channels some)
{
    const size_t stride = terse_query_size(type, dim) / sizeof(float);
    for (; n_row >= 4; n_row -= 4, s += 4 * P, x += 4 * stride)
        score_rows(type, s, x, k, stride, some, 4);
    for (; n_row > 0; n_row--, s += P, x += stride)
        score_rows(type, s, x, k, stride, some, 1);
}

INLINE void score_float(terse_page_type type, float *s, const void *q, const void *k, int32_t n_row,
                        int32_t dim)
{
    score_pieces(type, s, q, k, n_row, dim,
                 (terse_channels){ .at = NULL, .n = dim / terse_page_channels(type) });
}

INLINE void some_float(terse_page_type type, float *s, const void *q, const void *k, terse_channels some,
                       const float *mean, int32_t n_row, int32_t dim, const void *ahead, terse_channels soon)
{
    if (ahead)
        terse_channels_fetch(type, ahead, dim, soon);
    score_pieces(type, s, q, k, n_row, dim, some);
    shift(s, mean, n_row);
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

static void score_bf16(float *s, const void *q, const void *k, int32_t n_row, int32_t dim, const void *ahead)
{
    fetch(ahead, TERSE_PAGE_BF16, dim);
    score_float(TERSE_PAGE_BF16, s, q, k, n_row, dim);
}

static void some_f32(float *s, const void *q, const void *k, terse_channels some, const float *mean,
                     int32_t n_row, int32_t dim, const void *ahead, terse_channels soon)
{
    some_float(TERSE_PAGE_F32, s, q, k, some, mean, n_row, dim, ahead, soon);
}

static void some_f16(float *s, const void *q, const void *k, terse_channels some, const float *mean,
                     int32_t n_row, int32_t dim, const void *ahead, terse_channels soon)
{
    some_float(TERSE_PAGE_F16, s, q, k, some, mean, n_row, dim, ahead, soon);
}

static void some_bf16(float *s, const void *q, const void *k, terse_channels some, const float *mean,
                      int32_t n_row, int32_t dim, const void *ahead, terse_channels soon)
{
    some_float(TERSE_PAGE_BF16, s, q, k, some, mean, n_row, dim, ahead, soon);
}

/* ---- softmax ---- */

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

/* ---- settle ---- */

static void settle(float *last, const float *o, const float *inv, int32_t n_row, int32_t dim, float *inner,
                   float *square)
{
    for (int32_t r = 0; r < n_row; r++, last += dim, o += dim) {
        const __m256 scale = _mm256_set1_ps(inv[r]);
        __m256 product[2] = { _mm256_setzero_ps(), _mm256_setzero_ps() };
        __m256 size[2] = { _mm256_setzero_ps(), _mm256_setzero_ps() };
        for (int32_t d = 0; d < dim; d += 16)
            for (int j = 0; j < 2; j++) {
                const __m256 x = _mm256_mul_ps(_mm256_loadu_ps(o + d + 8 * j), scale);
                product[j] = _mm256_fmadd_ps(x, _mm256_loadu_ps(last + d + 8 * j), product[j]);
                size[j] = _mm256_fmadd_ps(x, x, size[j]);
                _mm256_storeu_ps(last + d + 8 * j, x);
            }
        inner[r] = fold16_avx2(product[0], product[1]);
        square[r] = fold16_avx2(size[0], size[1]);
    }
}

/* ---- choice of tokens ---- */

INLINE __m256 small(__m256 x, float tau)
{
    return _mm256_cmp_ps(x, _mm256_set1_ps(tau), _CMP_LE_OQ);
}

INLINE __m256 add_below(__m256 sum, const float *w, float tau)
{
    const __m256 all = _mm256_loadu_ps(w), x = _mm256_and_ps(all, small(all, tau));
    return _mm256_add_ps(sum, x);
}

static void below(const float *w, int32_t n_page, int32_t n_row, const float *tau, float *lane)
{
    for (int32_t r = 0; r < n_row; r++, w += P) {
        __m256 sum[2] = { _mm256_setzero_ps(), _mm256_setzero_ps() };
        for (int32_t p = 0; p < n_page; p++)
            for (int j = 0; j < 4; j++)
                sum[j % 2] = add_below(sum[j % 2], w + p * n_row * P + 8 * j, tau[r]);
        _mm256_storeu_ps(lane + r * 16, sum[0]);
        _mm256_storeu_ps(lane + r * 16 + 8, sum[1]);
    }
}

static uint32_t pick(const float *w, int32_t n_row, const float *tau, int32_t grain, float *lane)
{
    uint32_t spared = 0xffffffffu;
    for (int32_t r = 0; r < n_row; r++) {
        uint32_t row = 0;
        for (int32_t t = 0; t < P; t += 8)
            row |= (uint32_t)_mm256_movemask_ps(small(_mm256_loadu_ps(w + r * P + t), tau[r])) << t;
        spared &= row;
    }
    const uint32_t tokens = terse_tokens_widen(~spared, grain);
    for (int32_t r = 0; r < n_row; r++)
        for (int32_t t = 0; t < P; t += 8) {
            float *sum = lane + r * 16 + t % 16;
            const __m256 x = _mm256_and_ps(_mm256_loadu_ps(w + r * P + t), within(~tokens, t));
            _mm256_storeu_ps(sum, _mm256_add_ps(_mm256_loadu_ps(sum), x));
        }
    return tokens;
}

/* ---- mix ---- */

/* n_row rows by 16 channels. */
INLINE void mix_tile(terse_page_type type, float *o, const float *keep, const float *w, const void *v,
                     uint32_t tokens, int32_t dim, const int n_row)
{
    __m256 a[TILE_ROWS][2];
    for (int r = 0; r < n_row; r++)
        for (int j = 0; j < 2; j++)
            a[r][j] = _mm256_mul_ps(_mm256_loadu_ps(o + r * dim + 8 * j), _mm256_set1_ps(keep[r]));
    for (; tokens; tokens &= tokens - 1) {
        const int32_t t = __builtin_ctz(tokens);
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
                      uint32_t tokens, int32_t n_row, int32_t dim, const void *ahead, uint32_t soon)
{
    const size_t width = type == TERSE_PAGE_F32 ? 4 : 2;
    fetch_tokens(ahead, type, dim, soon);
    for (; n_row >= 4; n_row -= 4, o += 4 * dim, keep += 4, w += 4 * P)
        for (int32_t d = 0; d < dim; d += 16)
            mix_tile(type, o + d, keep, w, (const char *)v + (size_t)d * width, tokens, dim, 4);
    for (; n_row > 0; n_row--, o += dim, keep++, w += P)
        for (int32_t d = 0; d < dim; d += 16)
            mix_tile(type, o + d, keep, w, (const char *)v + (size_t)d * width, tokens, dim, 1);
}

static void mix_f32(float *o, const float *keep, const float *w, const void *v, uint32_t tokens, int32_t n_row,
                    int32_t dim, const void *ahead, uint32_t soon)
{
    mix_float(TERSE_PAGE_F32, o, keep, w, v, tokens, n_row, dim, ahead, soon);
}

static void mix_f16(float *o, const float *keep, const float *w, const void *v, uint32_t tokens, int32_t n_row,
                    int32_t dim, const void *ahead, uint32_t soon)
{
    mix_float(TERSE_PAGE_F16, o, keep, w, v, tokens, n_row, dim, ahead, soon);
}

static void mix_bf16(float *o, const float *keep, const float *w, const void *v, uint32_t tokens, int32_t n_row,
                     int32_t dim, const void *ahead, uint32_t soon)
{
    mix_float(TERSE_PAGE_BF16, o, keep, w, v, tokens, n_row, dim, ahead, soon);
}

void terse_attn_init_avx2(terse_attn_kernels *k)
{
    *k = (terse_attn_kernels){
        .tier = "avx2",
        .score = { [TERSE_PAGE_F32] = score_f32, [TERSE_PAGE_F16] = score_f16, [TERSE_PAGE_BF16] = score_bf16 },
        .score_some = { [TERSE_PAGE_F32] = some_f32,
                        [TERSE_PAGE_F16] = some_f16,
                        [TERSE_PAGE_BF16] = some_bf16 },
        .peak = peak,
        .weigh = weigh,
        .settle = settle,
        .below = below,
        .pick = pick,
        .mix = { [TERSE_PAGE_F32] = mix_f32, [TERSE_PAGE_F16] = mix_f16, [TERSE_PAGE_BF16] = mix_bf16 },
    };
    terse_attn_coded_avx2(k);
}
