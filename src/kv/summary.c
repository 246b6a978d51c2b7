/* kv/summary.c: mean, variance and box of the keys of full pages, so that rules can tell which pages to read.
 * Made from the keys as stored, once a page is full: younger pages are in the recent window, which is always
 * read. */
#include "kv/store.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static size_t units(const terse_kv *kv)
{
    return (size_t)kv->opts.n_layer * (size_t)kv->opts.n_head;
}

static size_t map_size(const terse_kv *kv, int32_t n_tile, size_t tile)
{
    return terse_align_up(units(kv) * (size_t)n_tile * tile, (size_t)2 << 20);
}

static void unmap(const terse_kv *kv, char *tiles, int32_t n_tile, size_t tile)
{
    if (tiles)
        terse_pages_unmap(tiles, map_size(kv, n_tile, tile));
}

/* Memory for what is asked for, of n_tile tiles; what there was goes. */
static terse_status renew(terse_kv *kv, bool moments, bool box, int32_t n_tile, terse_error *err)
{
    const size_t m_size = terse_moments_size(kv->opts.dim_k), b_size = terse_box_size(kv->opts.dim_k);
    int32_t *n = kv->n_summary ? kv->n_summary : calloc(units(kv), sizeof *n);
    char *m = moments ? terse_pages_map(map_size(kv, n_tile, m_size)) : NULL;
    char *b = box ? terse_pages_map(map_size(kv, n_tile, b_size)) : NULL;
    if (!n || (moments && !m) || (box && !b)) {
        if (n != kv->n_summary)
            free(n);
        unmap(kv, m, n_tile, m_size);
        unmap(kv, b, n_tile, b_size);
        return terse_fail(err, TERSE_NOMEM, "no memory for page summaries of %d tokens: use a smaller context",
                          kv->opts.ctx);
    }
    unmap(kv, kv->moments, kv->n_tile, m_size);
    unmap(kv, kv->box, kv->n_tile, b_size);
    kv->n_tile = n_tile;
    kv->n_summary = n;
    kv->moments = m;
    kv->box = b;
    terse_kv_summary_forget(kv, 0); /* what is there may lack the new kind */
    return TERSE_OK;
}

terse_status terse_kv_summary_open(terse_kv *kv, uint32_t what, terse_error *err)
{
    const bool moments = what & TERSE_KV_MOMENTS || kv->moments, box = what & TERSE_KV_BOX || kv->box;
    const int32_t n_tile = (kv->cap + TERSE_TILE - 1) / TERSE_TILE;
    if (moments == (kv->moments != NULL) && box == (kv->box != NULL))
        return TERSE_OK;
    return renew(kv, moments, box, n_tile > kv->n_tile ? n_tile : kv->n_tile, err);
}

terse_status terse_kv_summary_resize(terse_kv *kv, int32_t cap, terse_error *err)
{
    const int32_t n_tile = (cap + TERSE_TILE - 1) / TERSE_TILE;
    if (!kv->n_summary)
        return TERSE_OK;
    terse_kv_summary_forget(kv, 0);
    return n_tile > kv->n_tile ? renew(kv, kv->moments, kv->box, n_tile, err) : TERSE_OK;
}

void terse_kv_summary_close(terse_kv *kv)
{
    unmap(kv, kv->moments, kv->n_tile, terse_moments_size(kv->opts.dim_k));
    unmap(kv, kv->box, kv->n_tile, terse_box_size(kv->opts.dim_k));
    free(kv->n_summary);
}

void terse_kv_summary_forget(terse_kv *kv, int32_t n)
{
    for (size_t u = 0; kv->n_summary && u < units(kv); u++)
        kv->n_summary[u] = kv->n_summary[u] < n ? kv->n_summary[u] : n;
    for (size_t u = 0; kv->n_ring && n == 0 && u < units(kv); u++)
        kv->ring_summary[u] = 0;
}

static void copy_tiles(const terse_kv *to, char *tiles, const terse_kv *from, const char *source, size_t u,
                       int32_t n, size_t tile)
{
    if (tiles)
        memcpy(tiles + u * (size_t)to->n_tile * tile, source + u * (size_t)from->n_tile * tile,
               (size_t)n * tile);
}

void terse_kv_summary_copy(terse_kv *to, const terse_kv *from)
{
    const bool lacks = (to->moments && !from->moments) || (to->box && !from->box);
    if (!to->n_summary || !from->n_summary || lacks)
        return;
    for (size_t u = 0; u < units(to); u++) {
        const int32_t n = (from->n_ring + from->n_summary[u] + TERSE_TILE - 1) / TERSE_TILE;
        copy_tiles(to, to->moments, from, from->moments, u, n, terse_moments_size(to->opts.dim_k));
        copy_tiles(to, to->box, from, from->box, u, n, terse_box_size(to->opts.dim_k));
        to->n_summary[u] = from->n_summary[u];
        if (to->n_ring)
            to->ring_summary[u] = from->ring_summary[u];
    }
}

/* Of the TERSE_PAGE keys of a full page. */
static void measure(const terse_kv *kv, const char *block, float *mean, float *variance, float *low,
                    float *high)
{
    const int32_t dim = kv->opts.dim_k;
    double sum[TERSE_PAGE_DIM] = { 0.0 }, squares[TERSE_PAGE_DIM] = { 0.0 };
    float k[TERSE_PAGE_DIM];
    for (int32_t d = 0; d < dim; d++) {
        low[d] = INFINITY;
        high[d] = -INFINITY;
    }
    for (int32_t t = 0; t < TERSE_PAGE; t++) {
        terse_page_get_k(kv->type_k, block, t, k, dim);
        for (int32_t d = 0; d < dim; d++) {
            sum[d] += (double)k[d];
            squares[d] += (double)k[d] * (double)k[d];
            low[d] = fminf(low[d], k[d]);
            high[d] = fmaxf(high[d], k[d]);
        }
    }
    for (int32_t d = 0; d < dim; d++) {
        const double m = sum[d] / TERSE_PAGE, v = squares[d] / TERSE_PAGE - m * m;
        mean[d] = (float)m;
        variance[d] = v < 0.0 ? 0.0f : (float)v;
        if (!isfinite(m)) /* fminf and fmaxf drop NaN */
            low[d] = high[d] = INFINITY;
    }
}

void terse_kv_summary_again(terse_kv *kv, size_t u, int32_t place)
{
    const int32_t dim = kv->opts.dim_k;
    const size_t tile = u * (size_t)kv->n_tile + (size_t)(place / TERSE_TILE);
    float mean[TERSE_PAGE_DIM], variance[TERSE_PAGE_DIM], low[TERSE_PAGE_DIM], high[TERSE_PAGE_DIM];
    measure(kv, terse_kv_block(kv, kv->table[u * (size_t)kv->cap + (size_t)place]), mean, variance, low, high);
    if (kv->moments)
        terse_moments_put(kv->moments + tile * terse_moments_size(dim), place % TERSE_TILE, mean, variance,
                          dim);
    if (kv->box)
        terse_box_put(kv->box + tile * terse_box_size(dim), place % TERSE_TILE, low, high, dim);
}

void terse_kv_summary_update(terse_kv *kv, size_t u, int32_t n_slot)
{
    if (terse_kv_span(kv, u))
        return; /* read whole by every rule */
    for (int32_t *p = &kv->n_summary[u]; *p < n_slot / TERSE_PAGE; ++*p)
        terse_kv_summary_again(kv, u, kv->n_ring + *p);
}

void terse_kv_summary_ring(terse_kv *kv, size_t u, int32_t end)
{
    int32_t *b = &kv->ring_summary[u];
    const int32_t first = kv->recent / TERSE_PAGE;
    for (*b = *b > first ? *b : first; *b < end; ++*b)
        terse_kv_summary_again(kv, u, *b % kv->n_ring);
}

void terse_kv_summary_all(terse_kv *kv, size_t u)
{
    terse_kv_summary_update(kv, u, terse_kv_slots(kv, u));
    if (kv->n_ring)
        terse_kv_summary_ring(kv, u, kv->n_token / TERSE_PAGE);
}

terse_status terse_kv_summarize(terse_kv *kv, uint32_t what, terse_error *err)
{
    const terse_status st = terse_kv_summary_open(kv, what, err);
    if (st != TERSE_OK)
        return st;
    for (size_t u = 0; kv->n_summary && u < units(kv); u++)
        terse_kv_summary_all(kv, u);
    if (what & TERSE_KV_CENTER)
        terse_kv_center(kv);
    return TERSE_OK;
}
