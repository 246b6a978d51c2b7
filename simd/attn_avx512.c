/* simd/attn_avx512.c: page attention with 16 lanes: tokens while scoring, channels while mixing. A block of
 * rows keeps its accumulators in registers and reads the page once. */
#if !defined(__AVX512F__) || !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VNNI__)
#error "compile this file with the avx512 tier's flags"
#endif

#include "simd/attn_avx512.h"
#include "simd/expf_avx512.h"

enum { P = TERSE_PAGE, ROWS = 8, TILE_ROWS = 4, TILE = 4 };

/* ---- score ---- */

INLINE void fetch_channel(terse_page_type type, const char *next, size_t d)
{
    const size_t width = type == TERSE_PAGE_F32 ? 4 : 2;
    fetch(next + d * P * width);
    if (type == TERSE_PAGE_F32)
        fetch(next + d * P * width + 64);
}

/* some.at NULL: all pieces, as many as some.n says. */
INLINE void score_rows(terse_page_type type, float *s, const float *q, const void *k, size_t q_stride,
                       terse_channels some, const char *next, terse_channels soon, const int n_row)
{
    const int32_t channels = terse_page_channels(type);
    __m512 a[ROWS][2];
    for (int r = 0; r < n_row; r++)
        a[r][0] = a[r][1] = _mm512_setzero_ps();
    for (int32_t i = 0; i < some.n * channels; i++) {
        const size_t d = terse_channel_at(some.at, i, channels);
        const __m512 k0 = load(type, k, d * P), k1 = load(type, k, d * P + 16);
        const int32_t then = some.at && i >= soon.n * channels ? soon.n * channels - 1 : i;
        fetch_channel(type, next, terse_channel_at(soon.at, then, channels));
        for (int r = 0; r < n_row; r++) {
            const __m512 x = _mm512_set1_ps(q[(size_t)r * q_stride + d]);
            a[r][0] = _mm512_fmadd_ps(x, k0, a[r][0]);
            a[r][1] = _mm512_fmadd_ps(x, k1, a[r][1]);
        }
    }
    for (int32_t i = some.n * channels; some.at && i < soon.n * channels; i++)
        fetch_channel(type, next, terse_channel_at(soon.at, i, channels));
    for (int r = 0; r < n_row; r++) {
        _mm512_storeu_ps(s + r * P, a[r][0]);
        _mm512_storeu_ps(s + r * P + 16, a[r][1]);
    }
}

INLINE void score_pieces(terse_page_type type, float *s, const float *x, const void *k, int32_t n_row,
                         int32_t dim, terse_channels some, const void *ahead, terse_channels soon)
{
    const size_t stride = terse_query_size(type, dim) / sizeof(float);
    const char *next = next_of(ahead, k);
    soon = ahead ? soon : some;
    for (; n_row >= ROWS; n_row -= ROWS, s += ROWS * P, x += ROWS * stride, next = k, soon = some)
        score_rows(type, s, x, k, stride, some, next, soon, ROWS);
    for (; n_row >= 4; n_row -= 4, s += 4 * P, x += 4 * stride, next = k, soon = some)
        score_rows(type, s, x, k, stride, some, next, soon, 4);
    if (n_row == 3)
        score_rows(type, s, x, k, stride, some, next, soon, 3);
    else if (n_row == 2)
        score_rows(type, s, x, k, stride, some, next, soon, 2);
    else if (n_row == 1)
        score_rows(type, s, x, k, stride, some, next, soon, 1);
}

INLINE void score_float(terse_page_type type, float *s, const void *q, const void *k, int32_t n_row,
                        int32_t dim, const void *ahead)
{
    const terse_channels all = { .at = NULL, .n = dim / terse_page_channels(type) };
    score_pieces(type, s, q, k, n_row, dim, all, ahead, all);
}

INLINE void some_float(terse_page_type type, float *s, const void *q, const void *k, terse_channels some,
                       const float *mean, int32_t n_row, int32_t dim, const void *ahead, terse_channels soon)
{
    score_pieces(type, s, q, k, n_row, dim, some, ahead, soon);
    shift(s, mean, n_row);
}

static void score_f32(float *s, const void *q, const void *k, int32_t n_row, int32_t dim, const void *ahead)
{
    score_float(TERSE_PAGE_F32, s, q, k, n_row, dim, ahead);
}

static void score_f16(float *s, const void *q, const void *k, int32_t n_row, int32_t dim, const void *ahead)
{
    score_float(TERSE_PAGE_F16, s, q, k, n_row, dim, ahead);
}

static void score_bf16(float *s, const void *q, const void *k, int32_t n_row, int32_t dim, const void *ahead)
{
    score_float(TERSE_PAGE_BF16, s, q, k, n_row, dim, ahead);
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
        m[r] = top_of(s + r * P, terse_tokens_first(n[r]), m[r]);
}

/* Four rows together: one chain of latencies instead of four. */
INLINE void weigh_4(float *s, const int32_t *n, float *m, float *l, float *keep, float *z)
{
    const __m512 low = _mm512_set1_ps(-INFINITY);
    __m512 x[4][2], e[4];
    uint32_t live[4];
    for (int r = 0; r < 4; r++) {
        live[r] = terse_tokens_first(n[r]);
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
    const uint32_t live = terse_tokens_first(n);
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

/* ---- settle ---- */

INLINE void settle_row(float *last, const float *o, float inv, int32_t dim, __m512 *product, __m512 *size)
{
    *product = *size = _mm512_setzero_ps();
    for (int32_t d = 0; d < dim; d += 16) {
        const __m512 x = _mm512_mul_ps(_mm512_loadu_ps(o + d), _mm512_set1_ps(inv));
        *product = _mm512_fmadd_ps(x, _mm512_loadu_ps(last + d), *product);
        *size = _mm512_fmadd_ps(x, x, *size);
        _mm512_storeu_ps(last + d, x);
    }
}

static void settle(float *last, const float *o, const float *inv, int32_t n_row, int32_t dim, float *inner,
                   float *square)
{
    int32_t r = 0;
    for (; r + 4 <= n_row; r += 4) {
        __m512 product[4], size[4];
        for (int i = 0; i < 4; i++)
            settle_row(last + (r + i) * dim, o + (r + i) * dim, inv[r + i], dim, &product[i], &size[i]);
        _mm_storeu_ps(inner + r, fold16_4(product[0], product[1], product[2], product[3]));
        _mm_storeu_ps(square + r, fold16_4(size[0], size[1], size[2], size[3]));
    }
    for (; r < n_row; r++) {
        __m512 product, size;
        settle_row(last + r * dim, o + r * dim, inv[r], dim, &product, &size);
        inner[r] = fold16_avx512(product);
        square[r] = fold16_avx512(size);
    }
}

/* ---- choice of tokens ---- */

INLINE __mmask16 small(__m512 x, float tau)
{
    return _mm512_cmp_ps_mask(x, _mm512_set1_ps(tau), _CMP_LE_OQ);
}

INLINE __m512 add_below(__m512 sum, const float *w, float tau)
{
    const __m512 x = _mm512_loadu_ps(w);
    return _mm512_mask_add_ps(sum, small(x, tau), sum, x);
}

INLINE void below_row(const float *w, int32_t n_page, int32_t n_row, float tau, float *lane)
{
    __m512 sum = _mm512_setzero_ps();
    for (int32_t p = 0; p < n_page; p++, w += n_row * P)
        sum = add_below(add_below(sum, w, tau), w + 16, tau);
    _mm512_storeu_ps(lane, sum);
}

/* Four rows: four chains of sums. */
INLINE void below_4(const float *w, int32_t n_page, int32_t n_row, const float *tau, float *lane)
{
    __m512 sum[4];
    for (int r = 0; r < 4; r++)
        sum[r] = _mm512_setzero_ps();
    for (int32_t p = 0; p < n_page; p++, w += n_row * P)
        for (int r = 0; r < 4; r++)
            sum[r] = add_below(add_below(sum[r], w + r * P, tau[r]), w + r * P + 16, tau[r]);
    for (int r = 0; r < 4; r++)
        _mm512_storeu_ps(lane + 16 * r, sum[r]);
}

static void below(const float *w, int32_t n_page, int32_t n_row, const float *tau, float *lane)
{
    int32_t r = 0;
    for (; r + 4 <= n_row; r += 4)
        below_4(w + r * P, n_page, n_row, tau + r, lane + r * 16);
    for (; r < n_row; r++)
        below_row(w + r * P, n_page, n_row, tau[r], lane + r * 16);
}

static uint32_t pick(const float *w, int32_t n_row, const float *tau, int32_t grain, float *lane)
{
    uint32_t spared = 0xffffffffu;
    for (int32_t r = 0; r < n_row; r++) {
        const __mmask16 low = small(_mm512_loadu_ps(w + r * P), tau[r]),
                        high = small(_mm512_loadu_ps(w + r * P + 16), tau[r]);
        spared &= (uint32_t)low | (uint32_t)high << 16;
    }
    const uint32_t tokens = terse_tokens_widen(~spared, grain);
    for (int32_t r = 0; r < n_row; r++) {
        __m512 sum = _mm512_loadu_ps(lane + r * 16);
        sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps((__mmask16)~tokens, w + r * P));
        sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps((__mmask16)(~tokens >> 16), w + r * P + 16));
        _mm512_storeu_ps(lane + r * 16, sum);
    }
    return tokens;
}

/* ---- mix ---- */

/* n_row rows by 16 * n_tile channels. */
INLINE void mix_tile(terse_page_type type, float *o, const float *keep, const float *w, const void *v,
                     uint32_t tokens, int32_t dim, const char *next, uint32_t soon, const int n_row,
                     const int n_tile)
{
    const size_t width = type == TERSE_PAGE_F32 ? 4 : 2;
    __m512 a[TILE_ROWS][TILE];
    for (int r = 0; r < n_row; r++)
        for (int j = 0; j < n_tile; j++)
            a[r][j] = _mm512_mul_ps(_mm512_loadu_ps(o + r * dim + 16 * j), _mm512_set1_ps(keep[r]));
    const size_t size = 16 * (size_t)n_tile * width, stride = (size_t)dim * width;
    for (; tokens; tokens &= tokens - 1) {
        const int32_t t = lowest(tokens);
        __m512 x[TILE];
        for (int j = 0; j < n_tile; j++)
            x[j] = load(type, v, (size_t)t * (size_t)dim + 16 * (size_t)j);
        for (size_t i = 0; i < size; i += 64)
            fetch(next + (size_t)lowest(soon) * stride + i);
        soon = without(soon, soon & -soon);
        for (int r = 0; r < n_row; r++) {
            const __m512 wt = _mm512_set1_ps(w[r * P + t]);
            for (int j = 0; j < n_tile; j++)
                a[r][j] = _mm512_fmadd_ps(wt, x[j], a[r][j]);
        }
    }
    for (; soon; soon &= soon - 1) /* of a block with more tokens */
        for (size_t i = 0; i < size; i += 64)
            fetch(next + (size_t)lowest(soon) * stride + i);
    for (int r = 0; r < n_row; r++)
        for (int j = 0; j < n_tile; j++)
            _mm512_storeu_ps(o + r * dim + 16 * j, a[r][j]);
}

INLINE void mix_rows(terse_page_type type, float *o, const float *keep, const float *w, const char *v,
                     uint32_t tokens, int32_t dim, const char *next, uint32_t soon, const int n_row)
{
    const size_t width = type == TERSE_PAGE_F32 ? 4 : 2;
    int32_t d = 0;
    for (; d + 64 <= dim; d += 64)
        mix_tile(type, o + d, keep, w, v + (size_t)d * width, tokens, dim, next + (size_t)d * width, soon,
                 n_row, 4);
    for (; d < dim; d += 16)
        mix_tile(type, o + d, keep, w, v + (size_t)d * width, tokens, dim, next + (size_t)d * width, soon,
                 n_row, 1);
}

INLINE void mix_float(terse_page_type type, float *o, const float *keep, const float *w, const void *v,
                      uint32_t tokens, int32_t n_row, int32_t dim, const void *ahead, uint32_t soon)
{
    const char *next = next_of(ahead, v);
    soon = ahead && soon ? soon : tokens;
    for (; n_row >= 4; n_row -= 4, o += 4 * dim, keep += 4, w += 4 * P, next = v, soon = tokens)
        mix_rows(type, o, keep, w, v, tokens, dim, next, soon, 4);
    if (n_row == 3)
        mix_rows(type, o, keep, w, v, tokens, dim, next, soon, 3);
    else if (n_row == 2)
        mix_rows(type, o, keep, w, v, tokens, dim, next, soon, 2);
    else if (n_row == 1)
        mix_rows(type, o, keep, w, v, tokens, dim, next, soon, 1);
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

void terse_attn_init_avx512(terse_attn_kernels *k)
{
    *k = (terse_attn_kernels){
        .tier = "avx512",
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
    terse_attn_coded_avx512(k);
}
