/* attend/plan.c: which page next. Sinks and the recent window, then the rest: newest first, or by what page
 * summaries tell about their weight.
 *
 * A page's weight is estimated twice. `high` takes the keys of a page for Gaussian without end: it overrates
 * pages with a large variance, among them those with one spiky key, and so ranks them first. `fair` knows that
 * a page has 32 keys (simd/summary.h); its sum over what is unread is what rules may believe. */
#include "attend/walk.h"

#include <math.h>
#include <string.h>

int32_t terse_walk_plan(terse_walk *w, terse_order order, size_t unit, int32_t n_page)
{
    int32_t known = n_page;
    if (order == TERSE_ORDER_OLDEST) {
        for (int32_t i = 0; i < n_page; i++)
            w->list[i] = i;
        return n_page < TERSE_ARMED ? n_page : TERSE_ARMED;
    }
    if (order != TERSE_ORDER_NEWEST) {
        const int32_t summed = w->kv->n_summary[unit], window = n_page - (TERSE_ARMED - 1);
        const int32_t end = summed < window ? summed : window; /* pages 1 to end can be ranked */
        known = end > 1 ? 1 + n_page - end : n_page;
    }
    w->list[0] = 0;
    for (int32_t i = 1; i < known; i++)
        w->list[i] = n_page - i;
    return order == TERSE_ORDER_NEWEST && n_page > TERSE_ARMED ? TERSE_ARMED : known;
}

enum { BUCKETS = 1024 }; /* exponent and two bits of the mantissa of a float that is not negative */

void terse_walk_sort(terse_walk *w, int32_t *out, const float *x, int32_t n)
{
    int32_t count[BUCKETS] = { 0 };
    for (int32_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        w->key[i] = (uint16_t)(BUCKETS - 1 - (bits >> 21 & (BUCKETS - 1)));
        count[w->key[i]]++;
    }
    for (int32_t k = 0, at = 0; k < BUCKETS; k++) {
        const int32_t here = count[k];
        count[k] = at;
        at += here;
    }
    for (int32_t i = 0; i < n; i++)
        out[count[w->key[i]]++] = i;
}

/* Estimates of pages 0 ... 16 n_tile - 1, as weights relative to w->m; returns the bytes read. */
static size_t estimate(terse_walk *w, size_t unit, int32_t n_tile)
{
    const terse_kv *kv = w->kv;
    const bool box = w->attend->order == TERSE_ORDER_BOX;
    const int32_t rows = w->n_row, dim = kv->opts.dim_k;
    const size_t size = box ? terse_box_size(dim) : terse_moments_size(dim);
    const char *tile = (box ? kv->box : kv->moments) + unit * (size_t)kv->n_tile * size;
    terse_query_restore(kv->type_k, w->x, w->query, rows, dim);
    if (!box)
        terse_moments_query(w->moments_query, w->x, rows, dim);
    for (int32_t t = 0; t < n_tile; t++, tile += size) {
        float *high = w->high + t * TERSE_TILE;
        if (box)
            w->summary.box(high, w->stride, w->x, tile, rows, dim);
        else
            w->summary.moments(w->fair + t * TERSE_TILE, high, w->stride, w->moments_query, tile, rows, dim);
    }
    for (int32_t r = 0; r < rows; r++) {
        w->summary.exps(w->high + (size_t)r * w->stride, n_tile * TERSE_TILE, w->m[r]);
        if (!box)
            w->summary.exps(w->fair + (size_t)r * w->stride, n_tile * TERSE_TILE, w->m[r]);
    }
    return size * (size_t)n_tile;
}

size_t terse_walk_rank(terse_walk *w, size_t unit, int32_t n_known, int32_t n_page)
{
    const int32_t rows = w->n_row, n = n_page - n_known; /* pages 1 ... n */
    const bool box = w->attend->order == TERSE_ORDER_BOX;
    const float *weight = box ? w->high : w->fair, *radius = w->kv->radius + unit * (size_t)w->kv->cap;
    const size_t bytes = estimate(w, unit, n / TERSE_TILE + 1);
    memset(w->prior, 0, (size_t)n * sizeof *w->prior);
    for (int32_t r = 0; r < rows; r++) {
        const float *high = w->high + (size_t)r * w->stride + 1, inv = 1.0f / w->l[r];
        for (int32_t i = 0; i < n; i++) {
            const float share = high[i] * inv;
            w->prior[i] = share > w->prior[i] ? share : w->prior[i];
        }
        w->rel[r] = 1.0f;
    }
    terse_walk_sort(w, w->list + n_known, w->prior, n);
    float *behind = w->behind + (size_t)n_page * 2 * (size_t)rows;
    memset(behind, 0, 2 * (size_t)rows * sizeof *behind);
    for (int32_t i = n_page - 1; i >= n_known; i--, behind -= 2 * rows) {
        const int32_t p = ++w->list[i];
        for (int32_t r = 0; r < rows; r++) {
            const float x = TERSE_PAGE * weight[(size_t)r * w->stride + (size_t)p];
            behind[r - 2 * rows] = behind[r] + x;
            behind[r - rows] = fmaf(x, x, behind[r + rows]);
        }
        if (box)
            w->radius[i] = fmaxf(i + 1 < n_page ? w->radius[i + 1] : 0.0f, radius[p]);
    }
    w->radius[n_page] = 0.0f;
    return bytes + (box ? (size_t)n * sizeof *radius : 0);
}
