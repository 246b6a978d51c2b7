/* attend/keys.c: keys that are read in part. K lies channel by channel, so that a page can be scored from some
 * of its channels. The mean of a page's scores is known from its moments; what the channels that were read say
 * of a token's distance from it is kept, and of the others only the variance is known:
 *
 *   s_t ~ mean + (p_t - mean of p) + f v / 2,   p_t = sum over the channels read of q_d k_td
 *
 * v: variance of the page's scores, from its moments; f: the part of it that the other channels have, in a
 * sample of the pages. The last term makes exp(s_t) right in the mean, as that of a lognormal. The channels of
 * a walk have one order, by falling share of the variance, and a few levels say how many of them a page is read
 * with. Which one depends on its share of the softmax: with x = share sqrt(f v), what its scores are off by
 * moves the output by some x |v_t - o|. A page that turns out to weigh more than was estimated is scored again
 * with more channels.
 *
 * SparQ (arXiv 2312.04985) chooses channels by |q| alone, as many for every page, to find the tokens whose keys
 * it then reads in full. */
#include "attend/walk.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Sixteenths of the channels that a level reads; the last one reads all. */
static const int32_t sixteenths[TERSE_LEVELS] = { 2, 5, 9, 16 };
enum { LAST = TERSE_LEVELS - 1, SAMPLE = 16, P = TERSE_PAGE };

/* What scores are off by may not have a larger variance than this, a deviation of 1.5: beyond it they are no
 * longer an estimate. */
#define MOST_VARIANCE 2.25f

/* Mean variances of the channels within some of the pages that are to be chosen from. */
static void sample(const terse_walk *w, float *spread)
{
    const terse_kv *kv = w->kv;
    const terse_course *c = &w->course;
    const int32_t dim = kv->opts.dim_k, n = c->n_page - c->known, step = n > SAMPLE ? n / SAMPLE : 1;
    const size_t size = terse_moments_size(dim);
    const char *tiles = kv->moments + c->view.unit * (size_t)kv->n_tile * size;
    memset(spread, 0, (size_t)dim * sizeof *spread);
    for (int32_t i = 0; i < n; i += step) {
        const int32_t p = w->other[i];
        terse_moments_add_variance(spread, tiles + (size_t)(p / TERSE_TILE) * size, p % TERSE_TILE, dim);
    }
}

/* share[row][piece] = the part of the variance of a row's scores that the channels of a piece have;
 * whole[piece]: the sum of the rows. */
static void share_out(terse_walk *w, const float *spread, int32_t n_piece, float *whole)
{
    const int32_t rows = w->n_row, dim = w->kv->opts.dim_k, n = dim / n_piece;
    float part[TERSE_PAGE_DIM];
    memset(whole, 0, (size_t)n_piece * sizeof *whole);
    for (int32_t r = 0; r < rows; r++) {
        const float *x = w->x + r * dim;
        float *share = w->grade.share + r * n_piece, sum = 0.0f;
        for (int32_t d = 0; d < dim; d++)
            part[d] = x[d] * x[d] * spread[d];
        for (int32_t p = 0; p < n_piece; p++) {
            share[p] = 0.0f;
            for (int32_t i = 0; i < n; i++)
                share[p] += part[p * n + i];
            sum += share[p];
        }
        const float inv = sum > 0.0f && sum <= FLT_MAX ? 1.0f / sum : 0.0f;
        for (int32_t p = 0; p < n_piece; p++) {
            share[p] *= inv;
            whole[p] += share[p];
        }
    }
}

/* The pieces of every level, in the order of memory, and what of the variance the others have. */
static void make_levels(terse_walk *w, int32_t n_piece, const float *whole)
{
    terse_grade *g = &w->grade;
    const int32_t rows = w->n_row;
    int32_t order[TERSE_PAGE_DIM], rank[TERSE_PAGE_DIM];
    terse_walk_sort(w, order, whole, n_piece);
    for (int32_t i = 0; i < n_piece; i++)
        rank[order[i]] = i;
    for (int32_t k = 0; k < TERSE_LEVELS; k++) {
        uint16_t *at = g->at + k * n_piece;
        const int32_t n = (n_piece * sixteenths[k] + 15) / 16;
        g->level[k] = (terse_channels){ .at = at, .n = n };
        for (int32_t p = 0; p < n_piece; p++) {
            *at = (uint16_t)p;
            at += rank[p] < n;
        }
    }
    for (int32_t r = 0; r < rows; r++) {
        float read = 0.0f;
        for (int32_t k = 0, i = 0; k < TERSE_LEVELS; k++) {
            for (; i < g->level[k].n; i++)
                read += g->share[r * n_piece + order[i]];
            const float others = k < LAST ? 1.0f - read : 0.0f;
            g->rest[k * rows + r] = others < 0.0f ? 0.0f : others;
        }
    }
}

/* of[place] = the level that the estimates ask for: the first at which every head's part of the variance is
 * within what the page may be off by. Where nothing can be said it is the last. */
static void choose_levels(terse_walk *w, float left)
{
    terse_grade *g = &w->grade;
    const terse_part *a = &w->part[0];
    const int32_t rows = w->n_row, n = w->n_estimate;
    memset(g->of, 0, (size_t)n * sizeof *g->of);
    for (int32_t r = 0; r < rows; r++) {
        const float *fair = w->fair + (size_t)r * w->stride, *v = w->variance + (size_t)r * w->stride;
        const float unit = (float)P / (left * (a->l[r] + (float)a->rest[r]));
        for (int32_t p = 0; p < n; p++) {
            const float times = unit * fair[p], often = times * times * v[p],
                        rare = v[p] * (1.0f / MOST_VARIANCE);
            int32_t level = 0;
            for (int32_t k = 0; k < LAST; k++)
                level += !((often > rare ? often : rare) * g->rest[k * rows + r] <= 1.0f); /* nor a number */
            g->of[p] = level > g->of[p] ? level : g->of[p];
        }
    }
}

void terse_walk_grade(terse_walk *w, float left)
{
    const terse_kv *kv = w->kv;
    const int32_t dim = kv->opts.dim_k, n_piece = dim / terse_page_channels(kv->type_k);
    const size_t rows = (size_t)w->n_row * terse_query_size(kv->type_k, dim);
    float spread[TERSE_PAGE_DIM], whole[TERSE_PAGE_DIM];
    w->grade.left = left;
    sample(w, spread);
    share_out(w, spread, n_piece, whole);
    make_levels(w, n_piece, whole);
    choose_levels(w, left);
    for (int32_t k = 0; terse_page_coded(kv->type_k) && k < TERSE_LEVELS; k++)
        terse_query_some(w->grade.query + (size_t)k * rows, kv->type_k, w->query, w->n_row, dim,
                         w->grade.level[k]);
}

/* The least level above k that the weights z of its page allow, whose variance with all channels left out would
 * be v; those are relative to the accumulator of a. k itself if it is enough. */
static int32_t deeper(const terse_walk *w, const terse_walk *lead, const float *whole, int32_t place, int32_t k)
{
    const terse_grade *g = &lead->grade;
    for (; k < LAST; k++) {
        bool good = true;
        for (int32_t r = 0; r < w->n_row; r++) {
            const float v =
                lead->variance[(size_t)r * lead->stride + (size_t)place] * g->rest[k * w->n_row + r];
            const float most = g->left * whole[r] * w->keep[r];
            good &= w->z[r] * w->z[r] * v <= most * most;
        }
        if (good)
            break;
    }
    return k;
}

void terse_walk_keys(terse_walk *w, const terse_walk *lead, terse_part *a, int32_t i, int32_t ahead, float *s)
{
    const terse_kv *kv = w->kv;
    const terse_grade *g = &lead->grade;
    const int32_t rows = w->n_row, dim = kv->opts.dim_k, place = lead->list[i];
    const bool coded = terse_page_coded(kv->type_k);
    const size_t level = coded ? (size_t)rows * terse_query_size(kv->type_k, dim) : 0;
    const char *page = terse_walk_block(lead, i), *next = ahead < 0 ? NULL : terse_walk_block(lead, ahead);
    const terse_channels soon = g->level[ahead < 0 ? LAST : g->of[lead->list[ahead]]];
    float *m = w->was, *l = m + rows, *whole = l + rows, *mean = whole + rows;
    int32_t k = g->of[place];
    if (k < LAST) {
        memcpy(m, a->m, (size_t)rows * sizeof *m);
        memcpy(l, a->l, (size_t)rows * sizeof *l);
        terse_walk_whole(lead, a, whole);
    }
    for (int32_t then = -1; then != k;) {
        if (then >= 0) { /* once more, with more channels */
            memcpy(a->m, m, (size_t)rows * sizeof *m);
            memcpy(a->l, l, (size_t)rows * sizeof *l);
            k = then;
        }
        for (int32_t r = 0; k < LAST && r < rows; r++) {
            const size_t at = (size_t)r * lead->stride + (size_t)place;
            mean[r] = lead->mean[at] + 0.5f * lead->variance[at] * g->rest[k * rows + r];
        }
        w->kernels.score_some[kv->type_k](s, (coded ? g->query : lead->query) + (size_t)k * level, page,
                                          g->level[k], k < LAST ? mean : NULL, rows, dim, next, soon);
        terse_walk_cap(w, &lead->course, s, rows);
        w->kernels.weigh(s, rows, w->n, a->m, a->l, w->keep, w->z);
        then = deeper(w, lead, whole, place, k);
    }
    a->spared += kv->block_k - terse_page_pieces_size(kv->type_k, dim, g->level[k].n);
}
