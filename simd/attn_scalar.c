/* simd/attn_scalar.c: page attention as the formulas of attn.h say it. The specification of the other tiers. */
#include "simd/attn.h"
#include "simd/dot.h"
#include "simd/expf.h"

#include <math.h>
#include <string.h>

enum { P = TERSE_PAGE, B = TERSE_KV_BLOCK, LANES = 16 };

static float key_f32(const void *k, int32_t i)
{
    return ((const float *)k)[i];
}
static float key_f16(const void *k, int32_t i)
{
    return terse_f16_to_f32(((const uint16_t *)k)[i]);
}

static float key_bf16(const void *k, int32_t i)
{
    return terse_bf16_to_f32(((const uint16_t *)k)[i]);
}

static void score_float(float *s, const void *q, const void *k, int32_t n_row, int32_t dim,
                        float (*key)(const void *, int32_t))
{
    const size_t size = terse_query_size(TERSE_PAGE_F32, dim) / sizeof(float);
    memset(s, 0, (size_t)n_row * P * sizeof *s);
    for (int32_t r = 0; r < n_row; r++)
        for (int32_t d = 0; d < dim; d++)
            for (int32_t t = 0; t < P; t++)
                s[r * P + t] =
                    fmaf(((const float *)q)[(size_t)r * size + (size_t)d], key(k, d * P + t), s[r * P + t]);
}

static void score_f32(float *s, const void *q, const void *k, int32_t n_row, int32_t dim, const void *ahead)
{
    (void)ahead;
    score_float(s, q, k, n_row, dim, key_f32);
}

static void score_f16(float *s, const void *q, const void *k, int32_t n_row, int32_t dim, const void *ahead)
{
    (void)ahead;
    score_float(s, q, k, n_row, dim, key_f16);
}

static void score_bf16(float *s, const void *q, const void *k, int32_t n_row, int32_t dim, const void *ahead)
{
    (void)ahead;
    score_float(s, q, k, n_row, dim, key_bf16);
}

/* Codes of channel d of token t of a K block, of token t and channel d of a V block: see page.h. */
static int32_t key_q8(const uint8_t *k, int32_t t, int32_t d)
{
    return k[d / 4 * 4 * P + t * 4 + d % 4] - 128;
}
static int32_t key_q4(const uint8_t *k, int32_t t, int32_t d)
{
    return (k[d / 8 * 4 * P + t * 4 + d % 4] >> d % 8 / 4 * 4 & 15) - 8;
}
static int32_t value_q8(const uint8_t *v, int32_t t, int32_t d)
{
    return (int8_t)v[d / B * B * P + (t / 4 * B + d % B) * 4 + t % 4];
}
static int32_t value_q4(const uint8_t *v, int32_t t, int32_t d)
{
    return (v[d / B * B * P / 2 + (t / 8 * B + d % B) * 4 + t % 4] >> t % 8 / 4 * 4 & 15) - 8;
}

static void score_coded(float *s, const void *q, const uint8_t *k, const uint16_t *dk, int32_t n_row,
                        int32_t dim, int32_t (*key)(const uint8_t *, int32_t, int32_t))
{
    for (int32_t r = 0; r < n_row; r++) {
        const int8_t *qc = (const int8_t *)q + (size_t)r * terse_query_size(TERSE_PAGE_Q8, dim);
        const float *dq = (const float *)(qc + dim);
        for (int32_t t = 0; t < P; t++) {
            float sum = 0.0f;
            for (int32_t b = 0; b < dim / B; b++) {
                int32_t isum = 0;
                for (int32_t d = b * B; d < (b + 1) * B; d++)
                    isum += key(k, t, d) * qc[d];
                sum = fmaf(dq[b] * terse_f16_to_f32(dk[b * P + t]), (float)isum, sum);
            }
            s[r * P + t] = sum;
        }
    }
}

static const uint16_t *scales_q8(const void *block, int32_t dim)
{
    return (const uint16_t *)((const char *)block + (size_t)dim * P);
}
static const uint16_t *scales_q4(const void *block, int32_t dim)
{
    return (const uint16_t *)((const char *)block + (size_t)dim * P / 2);
}

static void score_q8(float *s, const void *q, const void *k, int32_t n_row, int32_t dim, const void *ahead)
{
    (void)ahead;
    score_coded(s, q, k, scales_q8(k, dim), n_row, dim, key_q8);
}

static void score_q4(float *s, const void *q, const void *k, int32_t n_row, int32_t dim, const void *ahead)
{
    (void)ahead;
    score_coded(s, q, k, scales_q4(k, dim), n_row, dim, key_q4);
}

static float fold16(float *lane)
{
    for (int32_t half = LANES / 2; half > 0; half /= 2)
        for (int32_t i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

static void shift(float *s, const float *mean, int32_t n_row)
{
    for (int32_t r = 0; mean && r < n_row; r++, s += P) {
        float lane[LANES];
        for (int32_t t = 0; t < LANES; t++)
            lane[t] = s[t] + s[t + LANES];
        const float by = mean[r] - fold16(lane) * (1.0f / P);
        for (int32_t t = 0; t < P; t++)
            s[t] += by;
    }
}

static void some_float(float *s, const void *q, const void *k, terse_channels some, const float *mean,
                       int32_t n_row, int32_t dim, terse_page_type type, float (*key)(const void *, int32_t))
{
    const size_t size = terse_query_size(type, dim) / sizeof(float);
    const int32_t n = terse_page_channels(type);
    memset(s, 0, (size_t)n_row * P * sizeof *s);
    for (int32_t r = 0; r < n_row; r++)
        for (int32_t i = 0; i < some.n * n; i++) {
            const size_t d = terse_channel_at(some.at, i, n);
            for (int32_t t = 0; t < P; t++)
                s[r * P + t] =
                    fmaf(((const float *)q)[(size_t)r * size + d], key(k, (int32_t)d * P + t), s[r * P + t]);
        }
    shift(s, mean, n_row);
}

static void some_f32(float *s, const void *q, const void *k, terse_channels some, const float *mean,
                     int32_t n_row, int32_t dim, const void *ahead, terse_channels soon)
{
    (void)ahead, (void)soon;
    some_float(s, q, k, some, mean, n_row, dim, TERSE_PAGE_F32, key_f32);
}

static void some_f16(float *s, const void *q, const void *k, terse_channels some, const float *mean,
                     int32_t n_row, int32_t dim, const void *ahead, terse_channels soon)
{
    (void)ahead, (void)soon;
    some_float(s, q, k, some, mean, n_row, dim, TERSE_PAGE_F16, key_f16);
}

static void some_bf16(float *s, const void *q, const void *k, terse_channels some, const float *mean,
                      int32_t n_row, int32_t dim, const void *ahead, terse_channels soon)
{
    (void)ahead, (void)soon;
    some_float(s, q, k, some, mean, n_row, dim, TERSE_PAGE_BF16, key_bf16);
}

/* The codes of the other channels are 0 in q, and meet nothing. */
static void some_q8(float *s, const void *q, const void *k, terse_channels some, const float *mean,
                    int32_t n_row, int32_t dim, const void *ahead, terse_channels soon)
{
    (void)some, (void)soon;
    score_q8(s, q, k, n_row, dim, ahead);
    shift(s, mean, n_row);
}

static void some_q4(float *s, const void *q, const void *k, terse_channels some, const float *mean,
                    int32_t n_row, int32_t dim, const void *ahead, terse_channels soon)
{
    (void)some, (void)soon;
    score_q4(s, q, k, n_row, dim, ahead);
    shift(s, mean, n_row);
}

static float larger(float a, float b)
{
    return a > b ? a : b;
}

static void peak(const float *s, int32_t n_row, const int32_t *n, float *m)
{
    for (int32_t r = 0; r < n_row; r++)
        for (int32_t t = 0; t < n[r]; t++)
            m[r] = larger(s[r * P + t], m[r]);
}

static void weigh(float *s, int32_t n_row, const int32_t *n, float *m, float *l, float *keep, float *z)
{
    for (int32_t r = 0; r < n_row; r++, s += P) {
        float top = m[r], lane[LANES] = { 0.0f };
        for (int32_t t = 0; t < n[r]; t++)
            top = larger(s[t], top);
        for (int32_t t = 0; t < P; t++)
            s[t] = t < n[r] ? terse_expf(s[t] - top) : 0.0f;
        for (int32_t t = 0; t < P; t++)
            lane[t % LANES] += s[t];
        keep[r] = n[r] > 0 ? terse_expf(m[r] - top) : 1.0f;
        z[r] = fold16(lane);
        l[r] = fmaf(l[r], keep[r], z[r]);
        m[r] = top;
    }
}

static void settle(float *last, const float *o, const float *inv, int32_t n_row, int32_t dim, float *inner,
                   float *square)
{
    for (int32_t r = 0; r < n_row; r++, last += dim, o += dim) {
        float product[LANES] = { 0.0f }, size[LANES] = { 0.0f };
        for (int32_t d = 0; d < dim; d++) {
            const float x = o[d] * inv[r];
            product[d % LANES] = fmaf(x, last[d], product[d % LANES]);
            size[d % LANES] = fmaf(x, x, size[d % LANES]);
            last[d] = x;
        }
        inner[r] = fold16(product);
        square[r] = fold16(size);
    }
}

static void below(const float *w, int32_t n_page, int32_t n_row, const float *tau, float *lane)
{
    for (int32_t i = 0; i < n_row * LANES; i++)
        lane[i] = 0.0f;
    for (int32_t p = 0; p < n_page; p++)
        for (int32_t r = 0; r < n_row; r++, w += P)
            for (int32_t t = 0; t < P; t++)
                if (w[t] <= tau[r])
                    lane[r * LANES + t % LANES] += w[t];
}

static uint32_t pick(const float *w, int32_t n_row, const float *tau, int32_t grain, float *lane)
{
    uint32_t tokens = 0;
    for (int32_t r = 0; r < n_row; r++)
        for (int32_t t = 0; t < P; t++)
            tokens |= (uint32_t) !(w[r * P + t] <= tau[r]) << t;
    tokens = terse_tokens_widen(tokens, grain);
    for (int32_t r = 0; r < n_row; r++)
        for (int32_t t = 0; t < P; t++)
            lane[r * LANES + t % LANES] += tokens >> t & 1 ? 0.0f : w[r * P + t];
    return tokens;
}

static void mix_float(float *o, const float *keep, const float *w, const void *v, uint32_t tokens,
                      int32_t n_row, int32_t dim, float (*value)(const void *, int32_t))
{
    for (int32_t r = 0; r < n_row; r++)
        for (int32_t d = 0; d < dim; d++) {
            float a = o[r * dim + d] * keep[r];
            for (int32_t t = 0; t < P; t++)
                if (tokens >> t & 1)
                    a = fmaf(w[r * P + t], value(v, t * dim + d), a);
            o[r * dim + d] = a;
        }
}

static void mix_f32(float *o, const float *keep, const float *w, const void *v, uint32_t tokens, int32_t n_row,
                    int32_t dim, const void *ahead, uint32_t soon)
{
    (void)ahead, (void)soon;
    mix_float(o, keep, w, v, tokens, n_row, dim, key_f32);
}

static void mix_f16(float *o, const float *keep, const float *w, const void *v, uint32_t tokens, int32_t n_row,
                    int32_t dim, const void *ahead, uint32_t soon)
{
    (void)ahead, (void)soon;
    mix_float(o, keep, w, v, tokens, n_row, dim, key_f16);
}

static void mix_bf16(float *o, const float *keep, const float *w, const void *v, uint32_t tokens, int32_t n_row,
                     int32_t dim, const void *ahead, uint32_t soon)
{
    (void)ahead, (void)soon;
    mix_float(o, keep, w, v, tokens, n_row, dim, key_bf16);
}

/* Weights times value scales as integers of up to `most`; returns what one unit is worth: NaN if any product
 * is. */
static float quantize_weights(int32_t *c, const float *w, const uint16_t *dv, uint32_t tokens, float most,
                              bool dither)
{
    float scaled[P], top = 0.0f;
    bool nan = false;
    for (int32_t t = 0; t < P; t++) {
        scaled[t] = tokens >> t & 1 ? w[t] * terse_f16_to_f32(dv[t]) : 0.0f;
        nan |= scaled[t] != scaled[t];
        top = larger(fabsf(scaled[t]), top);
    }
    const float inv = !nan && top > TERSE_MIX_TINY ? most / top : 0.0f;
    for (int32_t t = 0; t < P; t++) {
        const float x = inv > 0.0f ? scaled[t] * inv : 0.0f;
        const float whole = nearbyintf(dither ? x + TERSE_DITHER(t) : x);
        c[t] = (int32_t)(whole < most ? whole : most);
    }
    return nan ? NAN : top / most;
}

static void mix_coded(float *o, const float *keep, const float *w, const uint8_t *v, const uint16_t *dv,
                      uint32_t tokens, int32_t n_row, int32_t dim, bool q4)
{
    for (int32_t r = 0; r < n_row; r++)
        for (int32_t b = 0; b < dim / B; b++) {
            int32_t c[P];
            const float unit = quantize_weights(c, w + r * P, dv + b * P, tokens, q4 ? 127.0f : 32767.0f, q4);
            for (int32_t d = b * B; d < (b + 1) * B; d++) {
                int32_t isum = 0;
                for (int32_t t = 0; t < P; t++)
                    isum += c[t] * (q4 ? value_q4(v, t, d) : value_q8(v, t, d));
                o[r * dim + d] = fmaf(unit, (float)isum, o[r * dim + d] * keep[r]);
            }
        }
}

static void mix_q8(float *o, const float *keep, const float *w, const void *v, uint32_t tokens, int32_t n_row,
                   int32_t dim, const void *ahead, uint32_t soon)
{
    (void)ahead, (void)soon;
    mix_coded(o, keep, w, v, scales_q8(v, dim), tokens, n_row, dim, false);
}

static void mix_q4(float *o, const float *keep, const float *w, const void *v, uint32_t tokens, int32_t n_row,
                   int32_t dim, const void *ahead, uint32_t soon)
{
    (void)ahead, (void)soon;
    mix_coded(o, keep, w, v, scales_q4(v, dim), tokens, n_row, dim, true);
}

void terse_attn_init_scalar(terse_attn_kernels *k)
{
    *k = (terse_attn_kernels){
        .tier = "scalar",
        .score = { score_f32, score_f16, score_q8, score_bf16, score_q4 },
        .score_some = { some_f32, some_f16, some_q8, some_bf16, some_q4 },
        .peak = peak,
        .weigh = weigh,
        .settle = settle,
        .below = below,
        .pick = pick,
        .mix = { mix_f32, mix_f16, mix_q8, mix_bf16, mix_q4 },
    };
}
