/* simd/attn.h: attention of some query rows over one page.
 *
 * A row is one (query token, query head). Decode has the G heads of a group as rows, prefill the heads of many
 * tokens; a page's K and V are read once for all rows of a call. Rows never meet: a row's bits do not depend on
 * its company, on the tier, or on (finite) values that lie in the page past its n tokens. */
#ifndef TERSE_SIMD_ATTN_H
#define TERSE_SIMD_ATTN_H

#include "simd/page.h"

/* q8 values whose largest weight x scale is at or below this weigh nothing. */
#define TERSE_MIX_TINY 1e-30f

/* Bytes of one prepared query row; a multiple of 64.
 *   f32, f16 keys: q * scale as f32 [dim]
 *   q8 keys:       int8 codes [dim], f32 scale per 32 channels [dim/32], int32 sum of codes [dim/32] */
static inline size_t terse_query_size(terse_page_type type, int32_t dim)
{
    const size_t n = (size_t)dim;
    return ((type == TERSE_PAGE_Q8 ? n + n / TERSE_KV_BLOCK * 8 : n * 4) + 63) / 64 * 64;
}

typedef struct {
    const char *tier; /* the last one that filled an entry */

    /* s[row][t] = (q[row] * scale) . k[t] for all TERSE_PAGE tokens (those past the page's end give anything).
     * q: rows of terse_query_size bytes. @64 all.
     * ahead: a block of the same kind that is needed next, fetched meanwhile line by line; or NULL.
     *   f32, f16: fmaf chain over d.
     *   q8:       per 32 channels an exact integer sum; s = fmaf(dq[b] * dk[b][t], (float)isum, s) over b. */
    void (*score[TERSE_PAGE_TYPES])(float *s, const void *q, const void *k, int32_t n_row, int32_t dim,
                                    const void *ahead);

    /* m[row] = max(m[row], s[row][0..n[row])) */
    void (*peak)(const float *s, int32_t n_row, const int32_t *n, float *m);

    /* One step of the online softmax (Milakov & Gimelshein 2018): with m' = max(m, s),
     *   keep = exp(m - m'), s[t] = exp(s[t] - m') (0 for t >= n[row]), z = sum s, l = fmaf(l, keep, z), m = m'.
     * z over 16 lanes (t mod 16), folded by halving. n[row] = 0 leaves m and l, with keep 1 and z 0. */
    void (*weigh)(float *s, int32_t n_row, const int32_t *n, float *m, float *l, float *keep, float *z);

    /* o[row][d] = o[row][d] * keep[row] + sum over t < n of w[row][t] * v[t][d]; o rows are dim floats, @64.
     *   f32, f16: fmaf chain over t.
     *   q8:       per 32 channels, w'[t] = w[t] * dv[b][t] is rounded to 15 bits of its largest, c[t] = w'[t] *
     *             (32767 / max w'); exact integer sums; o = fmaf(max w' / 32767, (float)isum, o * keep).
     * w[row][t] is 0 where a row sees fewer than n tokens, and not negative. */
    void (*mix[TERSE_PAGE_TYPES])(float *o, const float *keep, const float *w, const void *v, int32_t n,
                                  int32_t n_row, int32_t dim, const void *ahead);
} terse_attn_kernels;

/* dst = the n_row prepared rows of q[n_row][dim] for keys of this type. Portable. */
void terse_query_prepare(terse_page_type type, void *dst, const float *q, int32_t n_row, int32_t dim,
                         float scale);

void terse_attn_init_scalar(terse_attn_kernels *k);
void terse_attn_init_avx2(terse_attn_kernels *k);
void terse_attn_init_avx512(terse_attn_kernels *k);

#endif
