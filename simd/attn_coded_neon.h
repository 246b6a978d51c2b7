/* simd/attn_coded_neon.h: page attention over q8 and q4, for the tiers neon and
 * dotprod: a file of each includes it. A dot4 of codes gives 4 tokens of
 * scores, or 4 channels of an output; its integer sums are exact. */
#ifndef TERSE_SIMD_ATTN_CODED_NEON_H
#define TERSE_SIMD_ATTN_CODED_NEON_H

#include "simd/attn_neon.h"

#include <math.h>

enum { P = TERSE_PAGE, B = TERSE_KV_BLOCK, Q8 = TERSE_PAGE_Q8, Q4 = TERSE_PAGE_Q4 };

/* Bytes of a block's codes of n channels. */
INLINE size_t code_size(int type, int32_t n)
{
    return (size_t)n * P / (type == Q8 ? 1 : 2);
}

INLINE int8x16_t low_nibbles(uint8x16_t x)
{
    return vreinterpretq_s8_u8(vandq_u8(x, vdupq_n_u8(15)));
}

INLINE int8x16_t high_nibbles(uint8x16_t x)
{
    return vreinterpretq_s8_u8(vshrq_n_u8(x, 4));
}

/* ---- score ---- */

enum { SCORE_ROWS = 4, SCORE_WIDE = 2 }; /* rows by registers of 4 tokens */

/* isum[row] of no channel. offset: -8 * the sum of the codes of the first row. */
INLINE void start_block(int type, int32x4_t isum[][SCORE_WIDE], const char *offset, size_t q_size,
                        const int n_row)
{
    for (int r = 0; r < n_row; r++) {
        int32_t start = 0;
        if (type == Q4)
            memcpy(&start, offset + (size_t)r * q_size, sizeof start);
        for (int j = 0; j < SCORE_WIDE; j++)
            isum[r][j] = vdupq_n_s32(start);
    }
}

/* isum[row] of 32 channels of 8 tokens. q: codes of the first row. */
INLINE void score_block(int type, int32x4_t isum[][SCORE_WIDE], const char *q, size_t q_size,
                        const char *offset, const uint8_t *code, const int n_row)
{
    start_block(type, isum, offset, q_size, n_row);
    for (int32_t d = 0; d < B; d += 16) { /* 16 channels of a query are a register */
        int8x16_t x[SCORE_ROWS];
        for (int r = 0; r < n_row; r++)
            x[r] = vld1q_s8((const int8_t *)q + (size_t)r * q_size + d);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i += type == Q8 ? 1 : 2, code += 4 * P)
            for (int j = 0; j < SCORE_WIDE; j++) {
                const uint8x16_t u = vld1q_u8(code + 16 * j);
                const int8x16_t k = vreinterpretq_s8_u8(veorq_u8(u, vdupq_n_u8(128)));
                for (int r = 0; r < n_row; r++) {
                    isum[r][j] = dot4_lane(isum[r][j], type == Q8 ? k : low_nibbles(u), x[r], i);
                    if (type == Q4)
                        isum[r][j] = dot4_lane(isum[r][j], high_nibbles(u), x[r], i + 1);
                }
            }
    }
}

/* The same sums of one piece more, in which the codes of a query lie at x. */
INLINE void add_piece(int type, int32x4_t isum[][SCORE_WIDE], const char *x, size_t q_size, const uint8_t *code,
                      const int n_row)
{
    for (int j = 0; j < SCORE_WIDE; j++) {
        const uint8x16_t u = vld1q_u8(code + 16 * j);
        const int8x16_t k = vreinterpretq_s8_u8(veorq_u8(u, vdupq_n_u8(128)));
        for (int r = 0; r < n_row; r++) {
            const char *row = x + (size_t)r * q_size;
            isum[r][j] = dot4(isum[r][j], type == Q8 ? k : low_nibbles(u), four_bytes(row));
            if (type == Q4)
                isum[r][j] = dot4(isum[r][j], high_nibbles(u), four_bytes(row + 4));
        }
    }
}

/* n_row rows by 8 tokens. code and scale: those of the first token. some.at NULL: all channels. */
INLINE void score_tile(int type, float *s, const char *q, const uint8_t *code, const uint16_t *scale,
                       int32_t dim, terse_channels some, const int n_row)
{
    const size_t q_size = terse_query_size(TERSE_PAGE_Q8, dim);
    const int32_t step = type == Q8 ? 4 : 8; /* channels of a piece */
    int32_t p = 0;
    float32x4_t sum[SCORE_ROWS][SCORE_WIDE];
    for (int r = 0; r < n_row; r++)
        for (int j = 0; j < SCORE_WIDE; j++)
            sum[r][j] = vdupq_n_f32(0.0f);
    for (int32_t b = 0; b < dim / B; b++, scale += P) {
        const char *dq = q + dim + (size_t)b * 4, *offset = dq + dim / B * 4;
        int32x4_t isum[SCORE_ROWS][SCORE_WIDE];
        if (!some.at)
            score_block(type, isum, q + b * B, q_size, offset, code + code_size(type, b * B), n_row);
        else
            start_block(type, isum, offset, q_size, n_row);
        for (; some.at && p < some.n && some.at[p] * step < (b + 1) * B; p++)
            add_piece(type, isum, q + some.at[p] * step, q_size, code + (size_t)some.at[p] * 4 * P, n_row);
        for (int j = 0; j < SCORE_WIDE; j++) {
            const float32x4_t dk = load(TERSE_PAGE_F16, scale, 4 * (size_t)j);
            for (int r = 0; r < n_row; r++) {
                float d;
                memcpy(&d, dq + (size_t)r * q_size, sizeof d);
                sum[r][j] = vfmaq_f32(sum[r][j], vmulq_n_f32(dk, d), vcvtq_f32_s32(isum[r][j]));
            }
        }
    }
    for (int r = 0; r < n_row; r++)
        for (int j = 0; j < SCORE_WIDE; j++)
            vst1q_f32(s + r * P + 4 * j, sum[r][j]);
}

INLINE void score(int type, float *s, const char *q, const uint8_t *code, int32_t n_row, int32_t dim,
                  terse_channels some)
{
    const size_t size = terse_query_size(TERSE_PAGE_Q8, dim);
    const uint16_t *scale = (const uint16_t *)(const void *)(code + code_size(type, dim));
    for (; n_row >= 4; n_row -= 4, s += 4 * P, q += 4 * size)
        for (int32_t t = 0; t < P; t += 4 * SCORE_WIDE)
            score_tile(type, s + t, q, code + (size_t)t * 4, scale + t, dim, some, 4);
    for (; n_row > 0; n_row--, s += P, q += size)
        for (int32_t t = 0; t < P; t += 4 * SCORE_WIDE)
            score_tile(type, s + t, q, code + (size_t)t * 4, scale + t, dim, some, 1);
}

static const terse_channels all_pieces = { .at = NULL, .n = 0 };

static void score_q8(float *s, const void *q, const void *k, int32_t n_row, int32_t dim, const void *ahead)
{
    fetch(ahead, TERSE_PAGE_Q8, dim);
    score(Q8, s, q, k, n_row, dim, all_pieces);
}

static void score_q4(float *s, const void *q, const void *k, int32_t n_row, int32_t dim, const void *ahead)
{
    fetch(ahead, TERSE_PAGE_Q4, dim);
    score(Q4, s, q, k, n_row, dim, all_pieces);
}

INLINE void score_some(int type, float *s, const void *q, const void *k, terse_channels some, const float *mean,
                       int32_t n_row, int32_t dim, const void *ahead, terse_channels soon)
{
    if (ahead)
        terse_channels_fetch((terse_page_type)type, ahead, dim, soon);
    score(type, s, q, k, n_row, dim, some);
    shift(s, mean, n_row);
}

static void some_q8(float *s, const void *q, const void *k, terse_channels some, const float *mean,
                    int32_t n_row, int32_t dim, const void *ahead, terse_channels soon)
{
    score_some(Q8, s, q, k, some, mean, n_row, dim, ahead, soon);
}

static void some_q4(float *s, const void *q, const void *k, terse_channels some, const float *mean,
                    int32_t n_row, int32_t dim, const void *ahead, terse_channels soon)
{
    score_some(Q4, s, q, k, some, mean, n_row, dim, ahead, soon);
}

/* ---- mix ---- */

enum { MIX_ROWS = 4 };

/* Weights times value scales of one row as integers.
 *   q8: a weight is 256 * high + low + 128; q4: it is low */
typedef struct {
    int8_t high[P], low[P];
    int32_t less; /* q4: 8 * their sum, what the 8 in each value's code adds */
    float unit;   /* what 1 is worth */
} weights;

static const float dither[P] = { TERSE_DITHER(0),  TERSE_DITHER(1),  TERSE_DITHER(2),  TERSE_DITHER(3),
                                 TERSE_DITHER(4),  TERSE_DITHER(5),  TERSE_DITHER(6),  TERSE_DITHER(7),
                                 TERSE_DITHER(8),  TERSE_DITHER(9),  TERSE_DITHER(10), TERSE_DITHER(11),
                                 TERSE_DITHER(12), TERSE_DITHER(13), TERSE_DITHER(14), TERSE_DITHER(15),
                                 TERSE_DITHER(16), TERSE_DITHER(17), TERSE_DITHER(18), TERSE_DITHER(19),
                                 TERSE_DITHER(20), TERSE_DITHER(21), TERSE_DITHER(22), TERSE_DITHER(23),
                                 TERSE_DITHER(24), TERSE_DITHER(25), TERSE_DITHER(26), TERSE_DITHER(27),
                                 TERSE_DITHER(28), TERSE_DITHER(29), TERSE_DITHER(30), TERSE_DITHER(31) };

INLINE void quantize(int type, weights *out, const float *w, const uint16_t *dv, uint32_t tokens)
{
    const float most = type == Q8 ? 32767.0f : 127.0f;
    float32x4_t x[P / 4], top4 = vdupq_n_f32(0.0f);
    uint32x4_t number = vdupq_n_u32(~0u);
    for (int j = 0; j < P / 4; j++) {
        const float32x4_t p = vmulq_f32(vld1q_f32(w + 4 * j), load(TERSE_PAGE_F16, dv, 4 * (size_t)j));
        x[j] = vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(p), within(tokens, 4 * j)));
        number = vandq_u32(number, vceqq_f32(x[j], x[j]));
        top4 = larger(vabsq_f32(x[j]), top4);
    }
    const bool bad = vminvq_u32(number) == 0;
    const float top = bad ? 0.0f : vmaxvq_f32(top4);
    const float inv = top > TERSE_MIX_TINY ? most / top : 0.0f;
    const int32x4_t heavy = vdupq_n_s32(inv > 0.0f ? -1 : 0);
    int16x4_t c[P / 4];
    for (int j = 0; j < P / 4; j++) {
        float32x4_t y = vmulq_n_f32(x[j], inv);
        if (type == Q4)
            y = vaddq_f32(y, vld1q_f32(dither + 4 * j));
        c[j] = vmovn_s32(vminq_s32(vandq_s32(vcvtnq_s32_f32(y), heavy), vdupq_n_s32((int32_t)most)));
    }
    int32_t sum = 0;
    for (int j = 0; j < P / 4; j += 2) {
        const int16x8_t eight = vcombine_s16(c[j], c[j + 1]);
        const int8x8_t low = vmovn_s16(eight);
        sum += vaddvq_s16(eight);
        vst1_s8(out->high + 4 * j, vshrn_n_s16(eight, 8));
        vst1_s8(out->low + 4 * j, type == Q8 ? veor_s8(low, vdup_n_s8(-128)) : low);
    }
    out->less = 8 * sum;
    out->unit = bad ? NAN : top / most;
}

/* o = o * keep + unit * isum for 4 channels of one row. */
INLINE void update(float *o, float keep, float unit, int32x4_t isum)
{
    vst1q_f32(o, vfmaq_f32(vmulq_n_f32(vld1q_f32(o), keep), vdupq_n_f32(unit), vcvtq_f32_s32(isum)));
}

enum { MIX_WIDE_Q8 = 2, MIX_WIDE_Q4 = 4 }; /* registers of 4 channels */

/* Sums of 8 channels of q8: of both bytes of the weights, and of the values. */
typedef struct {
    int32x4_t high[MIX_ROWS][MIX_WIDE_Q8], low[MIX_ROWS][MIX_WIDE_Q8], ones[MIX_WIDE_Q8];
} sums_q8;

/* Four tokens, whose weights are in one lane; a register of values holds 4 channels x 4 tokens. */
INLINE void mix_four_q8(sums_q8 *s, const int8_t *v, const int8x16_t *high, const int8x16_t *low,
                        const int lane, const int n_row)
{
    for (int j = 0; j < MIX_WIDE_Q8; j++) {
        const int8x16_t x = vld1q_s8(v + 16 * j);
        s->ones[j] = dot4(s->ones[j], x, vdupq_n_s8(1));
        for (int r = 0; r < n_row; r++) {
            s->high[r][j] = dot4_lane(s->high[r][j], x, high[r], lane);
            s->low[r][j] = dot4_lane(s->low[r][j], x, low[r], lane);
        }
    }
}

/* 8 channels. A whole page 16 tokens at a time, otherwise the fours in which there is one of tokens. */
INLINE void mix_tile_q8(float *o, const float *keep, const weights *w, const int8_t *block, uint32_t tokens,
                        int32_t dim, const int n_row)
{
    const bool all = tokens == terse_tokens_first(P);
    int8x16_t high[MIX_ROWS], low[MIX_ROWS];
    sums_q8 s;
    for (int j = 0; j < MIX_WIDE_Q8; j++) {
        s.ones[j] = vdupq_n_s32(0);
        for (int r = 0; r < n_row; r++)
            s.high[r][j] = s.low[r][j] = vdupq_n_s32(0);
    }
    for (int32_t t = 0; all && t < P; t += 16) {
        for (int r = 0; r < n_row; r++) {
            high[r] = vld1q_s8(w[r].high + t);
            low[r] = vld1q_s8(w[r].low + t);
        }
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            mix_four_q8(&s, block + (t + 4 * i) * B, high, low, i, n_row);
    }
    for (uint32_t left = all ? 0 : tokens; left;) {
        const int32_t t = __builtin_ctz(left) & ~3;
        left &= ~(15u << t);
        for (int r = 0; r < n_row; r++) {
            high[r] = four_bytes(w[r].high + t);
            low[r] = four_bytes(w[r].low + t);
        }
        mix_four_q8(&s, block + t * B, high, low, 0, n_row);
    }
    for (int r = 0; r < n_row; r++)
        for (int j = 0; j < MIX_WIDE_Q8; j++) {
            const int32x4_t rest = vaddq_s32(s.low[r][j], vshlq_n_s32(s.ones[j], 7));
            update(o + r * dim + 4 * j, keep[r], w[r].unit, vaddq_s32(rest, vshlq_n_s32(s.high[r][j], 8)));
        }
}

/* Eight tokens of q4: a register holds 4 channels x 4 tokens, and the 4 tokens behind these. */
INLINE void mix_eight_q4(int32x4_t a[][MIX_WIDE_Q4], const uint8_t *v, const int8x16_t *first,
                         const int8x16_t *last, const int lane, const int next, const int n_row)
{
    for (int j = 0; j < MIX_WIDE_Q4; j++) {
        const uint8x16_t x = vld1q_u8(v + 16 * j);
        for (int r = 0; r < n_row; r++) {
            a[r][j] = dot4_lane(a[r][j], low_nibbles(x), first[r], lane);
            a[r][j] = dot4_lane(a[r][j], high_nibbles(x), last[r], next);
        }
    }
}

/* 16 channels, tokens likewise. */
INLINE void mix_tile_q4(float *o, const float *keep, const weights *w, const uint8_t *block, uint32_t tokens,
                        int32_t dim, const int n_row)
{
    const bool all = tokens == terse_tokens_first(P);
    int32x4_t a[MIX_ROWS][MIX_WIDE_Q4];
    int8x16_t first[MIX_ROWS], last[MIX_ROWS];
    for (int r = 0; r < n_row; r++)
        for (int j = 0; j < MIX_WIDE_Q4; j++)
            a[r][j] = vdupq_n_s32(-w[r].less);
    for (int32_t t = 0; all && t < P; t += 16) {
        for (int r = 0; r < n_row; r++)
            first[r] = vld1q_s8(w[r].low + t);
        mix_eight_q4(a, block + t / 2 * B, first, first, 0, 1, n_row);
        mix_eight_q4(a, block + (t + 8) / 2 * B, first, first, 2, 3, n_row);
    }
    for (uint32_t left = all ? 0 : tokens; left;) {
        const int32_t t = __builtin_ctz(left) & ~7;
        left &= ~(255u << t);
        for (int r = 0; r < n_row; r++) {
            first[r] = four_bytes(w[r].low + t);
            last[r] = four_bytes(w[r].low + t + 4);
        }
        mix_eight_q4(a, block + t / 2 * B, first, last, 0, 0, n_row);
    }
    for (int r = 0; r < n_row; r++)
        for (int j = 0; j < MIX_WIDE_Q4; j++)
            update(o + r * dim + 4 * j, keep[r], w[r].unit, a[r][j]);
}

INLINE void mix_rows(int type, float *o, const float *keep, const float *w, const char *v, uint32_t tokens,
                     int32_t dim, const int n_row)
{
    const uint16_t *dv = (const uint16_t *)(const void *)(v + code_size(type, dim));
    for (int32_t b = 0; b < dim / B; b++, dv += P, o += B, v += code_size(type, B)) {
        weights c[MIX_ROWS];
        for (int r = 0; r < n_row; r++)
            quantize(type, &c[r], w + r * P, dv, tokens);
        for (int32_t d = 0; type == Q8 && d < B; d += 4 * MIX_WIDE_Q8)
            mix_tile_q8(o + d, keep, c, (const int8_t *)v + 4 * d, tokens, dim, n_row);
        for (int32_t d = 0; type == Q4 && d < B; d += 4 * MIX_WIDE_Q4)
            mix_tile_q4(o + d, keep, c, (const uint8_t *)v + 4 * d, tokens, dim, n_row);
    }
}

INLINE void mix(int type, float *o, const float *keep, const float *w, const char *v, uint32_t tokens,
                int32_t n_row, int32_t dim, const void *ahead, uint32_t soon)
{
    fetch_tokens(ahead, (terse_page_type)type, dim, soon);
    for (; n_row >= 4; n_row -= 4, o += 4 * dim, keep += 4, w += 4 * P)
        mix_rows(type, o, keep, w, v, tokens, dim, 4);
    for (; n_row > 0; n_row--, o += dim, keep++, w += P)
        mix_rows(type, o, keep, w, v, tokens, dim, 1);
}

static void mix_q8(float *o, const float *keep, const float *w, const void *v, uint32_t tokens, int32_t n_row,
                   int32_t dim, const void *ahead, uint32_t soon)
{
    mix(Q8, o, keep, w, v, tokens, n_row, dim, ahead, soon);
}

static void mix_q4(float *o, const float *keep, const float *w, const void *v, uint32_t tokens, int32_t n_row,
                   int32_t dim, const void *ahead, uint32_t soon)
{
    mix(Q4, o, keep, w, v, tokens, n_row, dim, ahead, soon);
}

INLINE void fill_coded(terse_attn_kernels *k)
{
    k->score[Q8] = score_q8;
    k->score[Q4] = score_q4;
    k->score_some[Q8] = some_q8;
    k->score_some[Q4] = some_q4;
    k->mix[Q8] = mix_q8;
    k->mix[Q4] = mix_q4;
}

#endif
