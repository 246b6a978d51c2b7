/* kv/store.h: what attention sees of the page store. */
#ifndef TERSE_KV_STORE_H
#define TERSE_KV_STORE_H

#include "simd/summary.h"
#include "terse/kv.h"

/* Pages come from slabs of this many, mapped one slab at a time. A page is a K block and a V block behind it.
 */
enum { TERSE_SLAB_PAGES = 512 };

struct terse_kv {
    terse_kv_opts opts;
    terse_page_type type_k, type_v;
    size_t block_k, block_v, page_size, slab_size; /* bytes */
    int32_t cap;                                   /* pages per (layer, head) that ctx needs */
    int32_t n_token;                               /* committed */
    int32_t n_page;                                /* pages per (layer, head) in use: the same for all */

    char **slab; /* [n_slab_max] */
    int32_t n_slab, n_slab_max;
    int32_t *free; /* stack of page ids; room for every page */
    int32_t n_free;

    int32_t *table; /* [n_layer][n_head][cap] page ids in token order */
    float *radius;  /* [n_layer][n_head][cap] max |v - c| over the page's tokens, rounded up */
    float *center;  /* [n_layer][n_head][dim_v] */

    /* Summaries of full pages (kv/summary.c), in tiles of TERSE_TILE pages; NULL until asked for. */
    char *moments, *box; /* [n_layer][n_head][n_tile] tiles */
    int32_t n_tile;      /* per (layer, head) */
    int32_t *n_summary;  /* [n_layer][n_head] pages that are summarized, from the first on */
};

/* Memory for summaries, without making any. */
terse_status terse_kv_summary_open(terse_kv *kv, uint32_t what, terse_error *err);
void terse_kv_summary_close(terse_kv *kv);
/* Summaries of the pages of unit u that the first n_token tokens fill and that have none yet. Different units
 * may run at the same time. */
void terse_kv_summary_update(terse_kv *kv, size_t u, int32_t n_token);
/* Pages from n on have changed. */
void terse_kv_summary_forget(terse_kv *kv, int32_t n);

/* terse_kv_center for one (layer, head), u = layer * n_head + head: different ones may run at the same time. */
void terse_kv_center_unit(terse_kv *kv, size_t u);

/* Pages that hold n tokens. */
static inline int32_t terse_kv_pages_of(int32_t n)
{
    return (n + TERSE_PAGE - 1) / TERSE_PAGE;
}

static inline size_t terse_kv_unit(const terse_kv *kv, int32_t layer, int32_t head)
{
    return (size_t)layer * (size_t)kv->opts.n_head + (size_t)head;
}

static inline const int32_t *terse_kv_table(const terse_kv *kv, int32_t layer, int32_t head)
{
    return kv->table + terse_kv_unit(kv, layer, head) * (size_t)kv->cap;
}

/* The K block of page id; the V block is block_k bytes behind. */
static inline char *terse_kv_block(const terse_kv *kv, int32_t id)
{
    return kv->slab[id / TERSE_SLAB_PAGES] + (size_t)(id % TERSE_SLAB_PAGES) * kv->page_size;
}

/* The internal storage type of a public one. */
static inline terse_page_type terse_kv_page_type(terse_kv_type t)
{
    switch (t) {
    case TERSE_KV_F32:
        return TERSE_PAGE_F32;
    case TERSE_KV_Q8:
        return TERSE_PAGE_Q8;
    case TERSE_KV_BF16:
        return TERSE_PAGE_BF16;
    case TERSE_KV_Q4:
        return TERSE_PAGE_Q4;
    default:
        return TERSE_PAGE_F16;
    }
}

#endif
