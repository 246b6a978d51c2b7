/* simd/summary.h: what is known of a page of keys without reading it, in tiles of TERSE_TILE pages with the
 * page as the lane, so that one pass over a tile tells something about 16 pages with no horizontal sums.
 *
 * A block is 32 channels (the last one may be 16); n_block = ceil(dim / 32). Scales are per page and block.
 *
 *   moments   mean     [dim/4][16][4] u8     code + 128, code -127..127
 *             variance [dim/4][16][4] u8     0..255
 *             scales   [2][n_block][16] f16  of means, of variances
 *   box       low      [dim][16] s8          rounded down, so that low <= k <= high for every key of the page
 *             high     [dim][16] s8          rounded up
 *             scales   [n_block][16] f16
 *
 * They are made from the keys as stored: what the score kernels see. */
#ifndef TERSE_SIMD_SUMMARY_H
#define TERSE_SIMD_SUMMARY_H

#include "simd/page.h"

enum { TERSE_TILE = 16 };

#define TERSE_LOG_PAGE 3.46573590f /* log 32 */
_Static_assert(TERSE_PAGE == 32, "TERSE_LOG_PAGE is the logarithm of the page size");

static inline int32_t terse_summary_blocks(int32_t dim)
{
    return (dim + TERSE_KV_BLOCK - 1) / TERSE_KV_BLOCK;
}

/* Bytes of a tile; multiples of 64. */
static inline size_t terse_moments_size(int32_t dim)
{
    return ((size_t)dim * 2 + (size_t)terse_summary_blocks(dim) * 4) * TERSE_TILE;
}
static inline size_t terse_box_size(int32_t dim)
{
    return (((size_t)dim * 2 + (size_t)terse_summary_blocks(dim) * 2) * TERSE_TILE + 63) / 64 * 64;
}

/* Stores the mean [dim] and the variance [dim] of a page's keys, or their smallest and largest values, as lane
 * `lane` of a tile. Anything that is not finite makes every estimate and bound of the page infinite. */
void terse_moments_put(void *tile, int32_t lane, const float *mean, const float *variance, int32_t dim);
void terse_box_put(void *tile, int32_t lane, const float *low, const float *high, int32_t dim);

/* sum[dim] += the variance of the page in that lane of a tile, channel by channel. */
void terse_moments_add_variance(float *sum, const void *tile, int32_t lane, int32_t dim);

/* A prepared row, for moments: codes of x = q * scale and of x^2 [dim] int8 each, then per block the f32 scale
 * of x, the f32 scale of x^2 and the int32 sum of the codes of x. A multiple of 64 bytes. */
static inline size_t terse_moments_query_size(int32_t dim)
{
    return ((size_t)dim * 2 + (size_t)terse_summary_blocks(dim) * 12 + 63) / 64 * 64;
}
/* dst = the n_row prepared rows of x[n_row][dim], with x the query as the score kernel uses it. */
void terse_moments_query(void *dst, const float *x, int32_t n_row, int32_t dim);
/* x[n_row][dim] of rows that terse_query_prepare made for keys of this type. */
void terse_query_restore(terse_page_type type, float *x, const void *query, int32_t n_row, int32_t dim);

/* Tiles should be walked in the order they lie in: a call fetches the tile behind its own. */
typedef struct {
    /* Mean and variance of the scores x . k of a page's tokens, all 16 lanes of each row:
     *   mean     = sum_b dx[b]  * dm[b] * sum_j x_j     mean_j
     *   variance = sum_b dx2[b] * dv[b] * sum_j (x^2)_j variance_j
     * Sums over j are exact integers, those over b fmaf chains. mean, variance: [n_row][stride], 16 of each row
     * are written. */
    void (*moments)(float *mean, float *variance, size_t stride, const void *query, const void *tile,
                    int32_t n_row, int32_t dim);
    /* Estimates of log(sum over a page's tokens of exp(score) / TERSE_PAGE) of the 16 pages of a tile, with a
     * and v the mean and the variance of its scores:
     *   high = a + v / 2                                           Gaussian keys without end
     *   fair = a + (v <= 2 L ? v / 2 : sqrt(2 L v) - L)            TERSE_PAGE of them, L = log TERSE_PAGE
     * The second is the free energy of that many random levels (Derrida 1981): the largest of 32 draws bounds
     * what a large variance can do. Infinite where either is not finite. With m[n_row] not NULL: their
     * exponentials relative to m, as exps makes them. All arrays are [n_row][stride], as above. */
    void (*estimates)(float *fair, float *high, const float *mean, const float *variance, size_t stride,
                      int32_t n_row, const float *m);
    /* upper = a bound of the largest x . k of the page: per block an fmaf chain of x_j * (x_j > 0 ? high_j :
     * low_j) over j, times the scale, plus the rounding of such chains: dim 2^-22 of sum_b |x_b|_1 127 scale_b,
     * |x_b|_1 over 16 lanes (j mod 16) folded by halving. Infinite where not finite: an overflow may end as
     * -infinity, which bounds nothing. x: [n_row][dim] f32. */
    void (*box)(float *upper, size_t stride, const float *x, const void *tile, int32_t n_row, int32_t dim);
    /* x[i] = exp(min(x[i] - m, 80)); n a multiple of 16. */
    void (*exps)(float *x, int32_t n, float m);
} terse_summary_kernels;

void terse_summary_init_scalar(terse_summary_kernels *k);
void terse_summary_init_avx2(terse_summary_kernels *k);
void terse_summary_init_avx512(terse_summary_kernels *k);
void terse_summary_init_neon(terse_summary_kernels *k);
void terse_summary_init_dotprod(terse_summary_kernels *k);

#endif
