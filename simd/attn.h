/* simd/attn.h: attention of some query rows over one page.
 *
 * A row is one (query token, query head). Decode has the G heads of a group as rows, prefill the heads of many
 * tokens; a page's K and V are read once for all rows of a call. Rows never meet: a row's bits do not depend on
 * its company, on the tier, or on (finite) values that lie in the page past its n tokens. */
#ifndef TERSE_SIMD_ATTN_H
#define TERSE_SIMD_ATTN_H

#include "simd/page.h"

/* q8 and q4 values whose largest weight x scale is at or below this weigh nothing. */
#define TERSE_MIX_TINY 1e-30f

/* Bytes of one prepared query row; a multiple of 64.
 *   f32, f16, bf16 keys: q * scale as f32 [dim]
 *   q8, q4 keys:         int8 codes [dim], then per 32 channels f32 scale [dim/32] and int32 -8 * sum of codes
 *                        [dim/32]: what the 8 in each code of q4 keys has added, and 1/16 of it for q8's 128 */
static inline size_t terse_query_size(terse_page_type type, int32_t dim)
{
    const size_t n = (size_t)dim;
    return ((terse_page_coded(type) ? n + n / TERSE_KV_BLOCK * 8 : n * 4) + 63) / 64 * 64;
}

/* (t with its 5 bits in reverse + 1/2) / 32 - 1/2: spread evenly over -1/2..1/2, for neighbours as well. */
#define TERSE_DITHER(t)                                                                                        \
    (((float)(((t)&1) << 4 | ((t)&2) << 2 | ((t)&4) | ((t)&8) >> 2 | ((t)&16) >> 4) + 0.5f) / TERSE_PAGE - 0.5f)

static inline void terse_prefetch(const char *p)
{
    __builtin_prefetch(p, 0, 2);
    __asm__ volatile(""); /* gcc 12 may drop a loop that does nothing but prefetch */
}

/* The first n tokens of a page. */
static inline uint32_t terse_tokens_first(int32_t n)
{
    return n >= TERSE_PAGE ? 0xffffffffu : (1u << n) - 1;
}

/* The tokens that share a piece of grain tokens (a power of two) with one of them. */
static inline uint32_t terse_tokens_widen(uint32_t tokens, int32_t grain)
{
    const uint32_t piece = terse_tokens_first(grain);
    for (int32_t step = grain / 2; step > 0; step /= 2)
        tokens |= tokens >> step;
    return (tokens & 0xffffffffu / piece) * piece;
}

/* Sends the memory of some tokens of a V block on its way to the second-level cache. */
static inline void terse_tokens_fetch(terse_page_type type, const char *v, int32_t dim, uint32_t tokens)
{
    const bool coded = terse_page_coded(type);
    const size_t all = terse_page_block_size(type, dim),
                 scales = (size_t)(coded ? dim / TERSE_KV_BLOCK * 64 : 0);
    const size_t n_block = (size_t)(coded ? dim / TERSE_KV_BLOCK : 1), block = (all - scales) / n_block;
    const int32_t grain = terse_page_grain(type, dim);
    const size_t piece = block / TERSE_PAGE * (size_t)grain;
    for (size_t i = all - scales; tokens && i < all; i += 64)
        terse_prefetch(v + i);
    while (tokens) {
        const int32_t t = __builtin_ctz(tokens) / grain;
        tokens &= ~(((1u << grain) - 1) << t * grain);
        for (size_t b = 0; b < n_block; b++)
            for (size_t i = 0; i < piece; i += 64)
                terse_prefetch(v + b * block + (size_t)t * piece + i);
    }
}

/* Pieces of terse_page_channels channels of a K block: their numbers, rising; n >= 1. */
typedef struct {
    const uint16_t *at;
    int32_t n;
} terse_channels;

/* The i-th of their channels, `channels` of them each; at NULL: of all pieces. */
static inline size_t terse_channel_at(const uint16_t *at, int32_t i, const int32_t channels)
{
    return at ? (size_t)(at[i / channels] * channels + i % channels) : (size_t)i;
}

/* Sends them and the scales on their way to the second-level cache. */
static inline void terse_channels_fetch(terse_page_type type, const char *k, int32_t dim, terse_channels some)
{
    const size_t all = terse_page_block_size(type, dim);
    for (size_t i = (size_t)(dim / terse_page_channels(type)) * TERSE_PIECE; i < all; i += 64)
        terse_prefetch(k + i);
    for (int32_t p = 0; p < some.n; p++)
        for (size_t i = 0; i < TERSE_PIECE; i += 64)
            terse_prefetch(k + (size_t)some.at[p] * TERSE_PIECE + i);
}

typedef struct {
    const char *tier; /* the last one that filled an entry */

    /* s[row][t] = (q[row] * scale) . k[t] for all TERSE_PAGE tokens (those past the page's end give anything).
     * q: rows of terse_query_size bytes. @64 all.
     * ahead: a block of the same kind that is needed next, fetched meanwhile line by line; or NULL.
     *   f32, f16, bf16: fmaf chain over d.
     *   q8, q4: per 32 channels an exact integer sum; s = fmaf(dq[b] * dk[b][t], (float)isum, s) over b. */
    void (*score[TERSE_PAGE_TYPES])(float *s, const void *q, const void *k, int32_t n_row, int32_t dim,
                                    const void *ahead);

    /* s[row][t] from some channels, those of the pieces: what score gives where q is 0 in the others, whose
     * memory is not touched. q: for q8 and q4 rows of terse_query_some. mean: NULL, or [n_row] what the mean of
     * the page's scores is to be,
     *   s[t] = s[t] + (mean[row] - sum s / TERSE_PAGE), the sum over 16 lanes (t mod 16), folded by halving.
     * soon: pieces of the block ahead, where there is one. */
    void (*score_some[TERSE_PAGE_TYPES])(float *s, const void *q, const void *k, terse_channels some,
                                         const float *mean, int32_t n_row, int32_t dim, const void *ahead,
                                         terse_channels soon);

    /* m[row] = max(m[row], s[row][0..n[row])) */
    void (*peak)(const float *s, int32_t n_row, const int32_t *n, float *m);

    /* One step of the online softmax (Milakov & Gimelshein 2018): with m' = max(m, s),
     *   keep = exp(m - m'), s[t] = exp(s[t] - m') (0 for t >= n[row]), z = sum s, l = fmaf(l, keep, z), m = m'.
     * z over 16 lanes (t mod 16), folded by halving. n[row] = 0 leaves m and l, with keep 1 and z 0. */
    void (*weigh)(float *s, int32_t n_row, const int32_t *n, float *m, float *l, float *keep, float *z);

    /* o[row][d] = o[row][d] * keep[row] + sum over t in tokens of w[row][t] * v[t][d]; o rows are dim floats,
     * @64. tokens: bit t for token t; values of the others and, where a whole piece of terse_page_grain
     * is left out, their memory are not touched. `soon`: tokens of the block ahead, where there is one.
     *   f32, f16, bf16: fmaf chain over t.
     *   q8, q4: per 32 channels the products w'[t] = w[t] * dv[b][t] become integers c[t] of up to `top`; exact
     *     integer sums isum = sum c[t] * code; o = fmaf(max |w'| / top, (float)isum, o * keep).
     *     q8: top = 32767, c = round(w' * (top / max w')): two bytes. What one byte loses of the weights would
     *         show beside what q8 loses of the values.
     *     q4: top = 127, c = round(w' * (top / max |w'|) + TERSE_DITHER(t)): one byte. Rounded at different
     *         thresholds, many small weights keep their sum; at one threshold all of them would be 0.
     * w[row][t] is 0 where a row does not see one of the tokens, and not negative. */
    void (*mix[TERSE_PAGE_TYPES])(float *o, const float *keep, const float *w, const void *v, uint32_t tokens,
                                  int32_t n_row, int32_t dim, const void *ahead, uint32_t soon);

    /* lane[row][t % 16] = sum of the weights w[page][row][t] <= tau[row] of n_page pages, added one behind the
     * other. */
    void (*below)(const float *w, int32_t n_page, int32_t n_row, const float *tau, float *lane);

    /* The tokens of a page with !(w[row][t] <= tau[row]) for some row, in whole pieces of `grain` tokens (a
     * power of two); to lane[row][t % 16] the weights of the others are added. */
    uint32_t (*pick)(const float *w, int32_t n_row, const float *tau, int32_t grain, float *lane);

    /* How the output has moved, for x = o[row] * inv[row]: inner[row] = x . last[row], square[row] = x . x,
     * then last[row] = x. fmaf chains on 16 lanes (d mod 16), folded by halving. dim a multiple of 16. */
    void (*settle)(float *last, const float *o, const float *inv, int32_t n_row, int32_t dim, float *inner,
                   float *square);
} terse_attn_kernels;

/* dst = the n_row prepared rows of q[n_row][dim] for keys of this type. Portable. */
void terse_query_prepare(terse_page_type type, void *dst, const float *q, int32_t n_row, int32_t dim,
                         float scale);

/* dst = the prepared rows q with the channels of other pieces left out: codes of 0. q8 and q4 keys. */
void terse_query_some(void *dst, terse_page_type type, const void *q, int32_t n_row, int32_t dim,
                      terse_channels some);

/* Each fills in what its tier has; the coded types have their own files. */
void terse_attn_init_scalar(terse_attn_kernels *k);
void terse_attn_init_avx2(terse_attn_kernels *k);
void terse_attn_init_avx512(terse_attn_kernels *k);
void terse_attn_init_neon(terse_attn_kernels *k);
void terse_attn_init_dotprod(terse_attn_kernels *k);
void terse_attn_coded_avx2(terse_attn_kernels *k);
void terse_attn_coded_avx512(terse_attn_kernels *k);

#endif
