/* simd/attn_neon.c: page attention with 4 lanes: tokens while scoring, channels while mixing. Tiles of 4 rows
 * by 16 lanes keep 16 accumulators in the 32 registers. */
#include "simd/attn_neon.h"
#include "simd/expf_neon.h"

enum { P = TERSE_PAGE, TILE_ROWS = 4, WIDE = 4 }; /* WIDE registers, 16 lanes */

/* ---- score ---- */

/* n_row rows by 16 tokens, t0 the first. some.at NULL: all pieces, as many as some.n says. */
INLINE void score_tile(terse_page_type type, float *s, const float *q, const void *k, size_t q_stride,
                       terse_channels some, int32_t t0, const int n_row)
{
    const int32_t channels = terse_page_channels(type);
    float32x4_t a[TILE_ROWS][WIDE];
    for (int r = 0; r < n_row; r++)
        for (int j = 0; j < WIDE; j++)
            a[r][j] = vdupq_n_f32(0.0f);
#pragma GCC unroll 4
    for (int32_t p = 0; p < some.n * channels; p++) {
        const size_t d = terse_channel_at(some.at, p, channels);
        float32x4_t x[WIDE];
        for (int j = 0; j < WIDE; j++)
            x[j] = load(type, k, d * P + (size_t)(t0 + 4 * j));
        for (int r = 0; r < n_row; r++)
            for (int j = 0; j < WIDE; j++)
                a[r][j] = vfmaq_n_f32(a[r][j], x[j], q[(size_t)r * q_stride + d]);
    }
    for (int r = 0; r < n_row; r++)
        for (int j = 0; j < WIDE; j++)
            vst1q_f32(s + r * P + t0 + 4 * j, a[r][j]);
}

INLINE void score_pieces(terse_page_type type, float *s, const float *q, const void *k, int32_t n_row,
                         int32_t dim, terse_channels some)
{
    const size_t stride = terse_query_size(type, dim) / sizeof(float);
    for (; n_row >= 4; n_row -= 4, s += 4 * P, q += 4 * stride)
        for (int32_t t = 0; t < P; t += 16)
            score_tile(type, s, q, k, stride, some, t, 4);
    for (; n_row > 0; n_row--, s += P, q += stride)
        for (int32_t t = 0; t < P; t += 16)
            score_tile(type, s, q, k, stride, some, t, 1);
}

INLINE void score(terse_page_type type, float *s, const float *q, const void *k, int32_t n_row, int32_t dim,
                  const void *ahead)
{
    fetch(ahead, type, dim);
    score_pieces(type, s, q, k, n_row, dim,
                 (terse_channels){ .at = NULL, .n = dim / terse_page_channels(type) });
}

INLINE void score_some(terse_page_type type, float *s, const float *q, const void *k, terse_channels some,
                       const float *mean, int32_t n_row, int32_t dim, const void *ahead, terse_channels soon)
{
    if (ahead)
        terse_channels_fetch(type, ahead, dim, soon);
    score_pieces(type, s, q, k, n_row, dim, some);
    shift(s, mean, n_row);
}

static void score_f32(float *s, const void *q, const void *k, int32_t n_row, int32_t dim, const void *ahead)
{
    score(TERSE_PAGE_F32, s, q, k, n_row, dim, ahead);
}

static void score_f16(float *s, const void *q, const void *k, int32_t n_row, int32_t dim, const void *ahead)
{
    score(TERSE_PAGE_F16, s, q, k, n_row, dim, ahead);
}

static void score_bf16(float *s, const void *q, const void *k, int32_t n_row, int32_t dim, const void *ahead)
{
    score(TERSE_PAGE_BF16, s, q, k, n_row, dim, ahead);
}

static void some_f32(float *s, const void *q, const void *k, terse_channels some, const float *mean,
                     int32_t n_row, int32_t dim, const void *ahead, terse_channels soon)
{
    score_some(TERSE_PAGE_F32, s, q, k, some, mean, n_row, dim, ahead, soon);
}

static void some_f16(float *s, const void *q, const void *k, terse_channels some, const float *mean,
                     int32_t n_row, int32_t dim, const void *ahead, terse_channels soon)
{
    score_some(TERSE_PAGE_F16, s, q, k, some, mean, n_row, dim, ahead, soon);
}

static void some_bf16(float *s, const void *q, const void *k, terse_channels some, const float *mean,
                      int32_t n_row, int32_t dim, const void *ahead, terse_channels soon)
{
    score_some(TERSE_PAGE_BF16, s, q, k, some, mean, n_row, dim, ahead, soon);
}

/* ---- softmax ---- */

INLINE float top_of(const float *s, int32_t n, float m)
{
    const float32x4_t low = vdupq_n_f32(-INFINITY);
    float32x4_t x = low;
    for (int32_t t = 0; t < P; t += 4)
        x = larger(vbslq_f32(live(n, t), vld1q_f32(s + t), low), x);
    const float top = vmaxvq_f32(x);
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
        float32x4_t e[P / 4];
        for (int j = 0; j < P / 4; j++) {
            const float32x4_t x = exp_neon(vsubq_f32(vld1q_f32(s + 4 * j), vdupq_n_f32(top)));
            e[j] = vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x), live(n[r], 4 * j)));
            vst1q_f32(s + 4 * j, e[j]);
        }
        for (int j = 0; j < 4; j++)
            e[j] = vaddq_f32(e[j], e[j + 4]);
        keep[r] = n[r] > 0 ? terse_expf(m[r] - top) : 1.0f;
        z[r] = fold16(e);
        l[r] = fmaf(l[r], keep[r], z[r]);
        m[r] = top;
    }
}

/* ---- settle ---- */

static void settle(float *last, const float *o, const float *inv, int32_t n_row, int32_t dim, float *inner,
                   float *square)
{
    for (int32_t r = 0; r < n_row; r++, last += dim, o += dim) {
        float32x4_t product[4], size[4];
        for (int j = 0; j < 4; j++)
            product[j] = size[j] = vdupq_n_f32(0.0f);
        for (int32_t d = 0; d < dim; d += 16)
            for (int j = 0; j < 4; j++) {
                const float32x4_t x = vmulq_n_f32(vld1q_f32(o + d + 4 * j), inv[r]);
                product[j] = vfmaq_f32(product[j], x, vld1q_f32(last + d + 4 * j));
                size[j] = vfmaq_f32(size[j], x, x);
                vst1q_f32(last + d + 4 * j, x);
            }
        inner[r] = fold16(product);
        square[r] = fold16(size);
    }
}

/* ---- choice of tokens ---- */

INLINE float32x4_t keep_lanes(float32x4_t x, uint32x4_t lanes)
{
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x), lanes));
}

static void below(const float *w, int32_t n_page, int32_t n_row, const float *tau, float *lane)
{
    for (int32_t r = 0; r < n_row; r++, w += P) {
        float32x4_t sum[4];
        for (int j = 0; j < 4; j++)
            sum[j] = vdupq_n_f32(0.0f);
        for (int32_t p = 0; p < n_page; p++)
            for (int j = 0; j < P / 4; j++) {
                const float32x4_t all = vld1q_f32(w + p * n_row * P + 4 * j);
                const float32x4_t x = keep_lanes(all, vcleq_f32(all, vdupq_n_f32(tau[r])));
                sum[j % 4] = vaddq_f32(sum[j % 4], x);
            }
        for (int j = 0; j < 4; j++)
            vst1q_f32(lane + r * 16 + 4 * j, sum[j]);
    }
}

static uint32_t pick(const float *w, int32_t n_row, const float *tau, int32_t grain, float *lane)
{
    static const uint32_t bit[4] = { 1, 2, 4, 8 };
    uint32_t spared = 0xffffffffu;
    for (int32_t r = 0; r < n_row; r++) {
        uint32_t row = 0;
        for (int32_t t = 0; t < P; t += 4) {
            const uint32x4_t small = vcleq_f32(vld1q_f32(w + r * P + t), vdupq_n_f32(tau[r]));
            row |= vaddvq_u32(vandq_u32(small, vld1q_u32(bit))) << t;
        }
        spared &= row;
    }
    const uint32_t tokens = terse_tokens_widen(~spared, grain);
    for (int32_t r = 0; r < n_row; r++)
        for (int32_t t = 0; t < P; t += 4) {
            float *sum = lane + r * 16 + t % 16;
            const float32x4_t x = keep_lanes(vld1q_f32(w + r * P + t), within(~tokens, t));
            vst1q_f32(sum, vaddq_f32(vld1q_f32(sum), x));
        }
    return tokens;
}

/* ---- mix ---- */

/* n_row rows by 16 channels, d0 the first. */
INLINE void mix_tile(terse_page_type type, float *o, const float *keep, const float *w, const void *v,
                     uint32_t tokens, int32_t dim, int32_t d0, const int n_row)
{
    float32x4_t a[TILE_ROWS][WIDE];
    for (int r = 0; r < n_row; r++)
        for (int j = 0; j < WIDE; j++)
            a[r][j] = vmulq_n_f32(vld1q_f32(o + r * dim + d0 + 4 * j), keep[r]);
    const bool all = tokens == terse_tokens_first(P);
    float32x4_t x[WIDE], weight[TILE_ROWS];
    for (int32_t t = 0; all && t < P; t += 4) { /* a weight for each lane */
        for (int r = 0; r < n_row; r++)
            weight[r] = vld1q_f32(w + r * P + t);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            for (int j = 0; j < WIDE; j++)
                x[j] = load(type, v, (size_t)((t + i) * dim + d0 + 4 * j));
            for (int r = 0; r < n_row; r++)
                for (int j = 0; j < WIDE; j++)
                    a[r][j] = vfmaq_n_f32(a[r][j], x[j], weight[r][i]);
        }
    }
    for (uint32_t left = all ? 0 : tokens; left; left &= left - 1) {
        const int32_t t = __builtin_ctz(left);
        for (int j = 0; j < WIDE; j++)
            x[j] = load(type, v, (size_t)(t * dim + d0 + 4 * j));
        for (int r = 0; r < n_row; r++)
            for (int j = 0; j < WIDE; j++)
                a[r][j] = vfmaq_n_f32(a[r][j], x[j], w[r * P + t]);
    }
    for (int r = 0; r < n_row; r++)
        for (int j = 0; j < WIDE; j++)
            vst1q_f32(o + r * dim + d0 + 4 * j, a[r][j]);
}

INLINE void mix(terse_page_type type, float *o, const float *keep, const float *w, const void *v,
                uint32_t tokens, int32_t n_row, int32_t dim, const void *ahead, uint32_t soon)
{
    fetch_tokens(ahead, type, dim, soon);
    for (; n_row >= 4; n_row -= 4, o += 4 * dim, keep += 4, w += 4 * P)
        for (int32_t d = 0; d < dim; d += 16)
            mix_tile(type, o, keep, w, v, tokens, dim, d, 4);
    for (; n_row > 0; n_row--, o += dim, keep++, w += P)
        for (int32_t d = 0; d < dim; d += 16)
            mix_tile(type, o, keep, w, v, tokens, dim, d, 1);
}

static void mix_f32(float *o, const float *keep, const float *w, const void *v, uint32_t tokens, int32_t n_row,
                    int32_t dim, const void *ahead, uint32_t soon)
{
    mix(TERSE_PAGE_F32, o, keep, w, v, tokens, n_row, dim, ahead, soon);
}

static void mix_f16(float *o, const float *keep, const float *w, const void *v, uint32_t tokens, int32_t n_row,
                    int32_t dim, const void *ahead, uint32_t soon)
{
    mix(TERSE_PAGE_F16, o, keep, w, v, tokens, n_row, dim, ahead, soon);
}

static void mix_bf16(float *o, const float *keep, const float *w, const void *v, uint32_t tokens, int32_t n_row,
                     int32_t dim, const void *ahead, uint32_t soon)
{
    mix(TERSE_PAGE_BF16, o, keep, w, v, tokens, n_row, dim, ahead, soon);
}

void terse_attn_init_neon(terse_attn_kernels *k)
{
    *k = (terse_attn_kernels){
        .tier = "neon",
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
    terse_attn_coded_neon(k);
}

void terse_attn_init_dotprod(terse_attn_kernels *k)
{
    k->tier = "dotprod";
    terse_attn_coded_dotprod(k);
}
