/* kv/store.h: what attention sees of the page store. */
#ifndef TERSE_KV_STORE_H
#define TERSE_KV_STORE_H

#include "kv/pool.h"
#include "simd/summary.h"

struct terse_kv {
    terse_kv_opts opts;
    terse_page_type type_k, type_v;
    size_t block_k, block_v; /* bytes */
    terse_pool *pool;
    terse_kv *next;   /* another store of the pool */
    int64_t n_place;  /* of its table, all (layer, head) */
    int64_t promised; /* free pages of the pool */
    int32_t cap;      /* places per (layer, head): n_ring and what ctx needs */
    int32_t n_token;  /* committed */
    int32_t n_page;   /* pages per (layer, head) in use while none is dropped */

    int32_t *table; /* [n_layer][n_head][cap] page ids: recent pages, then the long-term ones in slot order */
    float *radius;  /* [n_layer][n_head][cap] max |v - c| over the page's tokens, rounded up */
    float *center;  /* [n_layer][n_head][dim_v] */

    /* opts.span is owned; NULL: no layer has one. */
    int32_t *n_gone; /* [n_layer] pages behind the span that were given back, from the first on */

    /* A store that drops tokens (kv/ragged.c); all zero in one that does not. The newest tokens are in recent
     * pages, block b (positions 32 b ...) in place b % n_ring; older ones that were kept follow one another in
     * long-term pages, another number of them in every (layer, head). */
    int32_t n_ring;  /* places of recent pages */
    int32_t window;  /* newest tokens that nobody may drop */
    int32_t step;    /* tokens that may be reserved at a time, while there are recent pages; ctx at first */
    int32_t recent;  /* first position that recent pages hold */
    int32_t n_block; /* blocks below this have been given pages */
    int32_t *n_long; /* [n_layer][n_head] slots of long-term pages in use */
    int32_t *n_long_page;  /* [n_layer][n_head] long-term pages held */
    int32_t *pos;          /* [n_layer][n_head][(cap - n_ring) * P] position of a slot */
    float *mark;           /* [n_layer][n_head][ctx] of a position; NULL until asked for */
    int32_t *ring_summary; /* [n_layer][n_head] recent blocks below this are summarized, if full */

    /* Summaries of full pages (kv/summary.c), in tiles of TERSE_TILE pages; NULL until asked for. */
    char *moments, *box; /* [n_layer][n_head][n_tile] tiles */
    int32_t n_tile;      /* per (layer, head) */
    int32_t *n_summary;  /* [n_layer][n_head] long-term pages that are summarized, from the first on */
};

/* What the token at one position sees of a (layer, head). Its pages in order of age are the long-term ones,
 * then the recent ones; where a page is in the table is its place. */
typedef struct {
    size_t unit;
    int32_t first;       /* slots before this are not seen; their pages are not in the view */
    int32_t n_long;      /* slots of long-term pages */
    int32_t from, to;    /* positions in recent pages; from == to: none */
    int32_t n_long_page; /* pages that these are in */
    int32_t n_page;      /* all of them */
} terse_kv_view;

/* Memory for summaries, without making any. */
terse_status terse_kv_summary_open(terse_kv *kv, uint32_t what, terse_error *err);
void terse_kv_summary_close(terse_kv *kv);
/* Room for tables of cap places; what there is has to be made again. TERSE_NOMEM leaves the room as it was. */
terse_status terse_kv_summary_resize(terse_kv *kv, int32_t cap, terse_error *err);
/* Summaries of the pages of unit u that its first n_slot long-term slots fill and that have none yet. Different
 * units may run at the same time. */
void terse_kv_summary_update(terse_kv *kv, size_t u, int32_t n_slot);
/* The same for recent blocks below end, and again for the one in a place of the table. */
void terse_kv_summary_ring(terse_kv *kv, size_t u, int32_t end);
void terse_kv_summary_again(terse_kv *kv, size_t u, int32_t place);
/* All that are missing in unit u. */
void terse_kv_summary_all(terse_kv *kv, size_t u);
/* Those of a store that `to` is a copy of, where it has all kinds that `to` keeps. */
void terse_kv_summary_copy(terse_kv *to, const terse_kv *from);
/* Long-term pages from n on have changed; 0: so have the recent ones. */
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
    const terse_pool *p = kv->pool;
    return p->slab[id / TERSE_SLAB_PAGES] + (size_t)(id % TERSE_SLAB_PAGES) * p->page_size;
}

/* Slots of long-term pages. */
static inline int32_t terse_kv_slots(const terse_kv *kv, size_t u)
{
    return kv->n_ring ? kv->n_long[u] : kv->n_token;
}

static inline const int32_t *terse_kv_positions(const terse_kv *kv, size_t u)
{
    return kv->pos + u * (size_t)(kv->cap - kv->n_ring) * TERSE_PAGE;
}

/* A view from its slots and positions. */
static inline terse_kv_view terse_kv_view_of(size_t u, int32_t n_long, int32_t from, int32_t to)
{
    const int32_t pages = terse_kv_pages_of(n_long),
                  blocks = to > from ? (to - 1) / TERSE_PAGE - from / TERSE_PAGE + 1 : 0;
    return (terse_kv_view){ u, 0, n_long, from, to, pages, pages + blocks };
}

/* Tokens that one of unit u's layer sees; 0: all before it. */
static inline int32_t terse_kv_span(const terse_kv *kv, size_t u)
{
    return kv->opts.span ? kv->opts.span[u / (size_t)kv->opts.n_head] : 0;
}

/* The view without the slots before first. */
static inline terse_kv_view terse_kv_view_from(terse_kv_view v, int32_t first)
{
    v.first = first;
    v.n_long_page -= first / TERSE_PAGE;
    v.n_page -= first / TERSE_PAGE;
    return v;
}

/* What the newest token sees, the one at position pos, which has been put. */
static inline terse_kv_view terse_kv_view_at(const terse_kv *kv, size_t u, int32_t pos)
{
    if (!kv->n_ring) {
        const int32_t span = terse_kv_span(kv, u), first = span && span <= pos ? pos + 1 - span : 0;
        return terse_kv_view_from(terse_kv_view_of(u, pos + 1, 0, 0), first);
    }
    const int32_t from = pos + 1 - kv->window;
    return terse_kv_view_of(u, kv->n_long[u], from > kv->recent ? from : kv->recent, pos + 1);
}

static inline int32_t terse_kv_view_tokens(const terse_kv_view *v)
{
    return v->n_long - v->first + v->to - v->from;
}

/* Place of the page of age a, from 0, the oldest, on. */
static inline int32_t terse_kv_place(const terse_kv *kv, const terse_kv_view *v, int32_t a)
{
    return a < v->n_long_page ? kv->n_ring + v->first / TERSE_PAGE + a
                              : (v->from / TERSE_PAGE + a - v->n_long_page) % kv->n_ring;
}

/* Block of the recent page in a place. */
static inline int32_t terse_kv_block_in(const terse_kv *kv, const terse_kv_view *v, int32_t place)
{
    const int32_t last = (v->to - 1) / TERSE_PAGE, d = (last - place) % kv->n_ring;
    return last - (d < 0 ? d + kv->n_ring : d);
}

/* Tokens of the page in a place that are there, of which those below *first are not seen. */
static inline int32_t terse_kv_fill(const terse_kv *kv, const terse_kv_view *v, int32_t place, int32_t *first)
{
    int32_t n;
    *first = 0;
    if (place >= kv->n_ring) {
        const int32_t at = (place - kv->n_ring) * TERSE_PAGE;
        n = v->n_long - at;
        *first = v->first > at ? v->first - at : 0;
    } else {
        const int32_t at = terse_kv_block_in(kv, v, place) * TERSE_PAGE;
        n = v->to - at;
        *first = v->from > at ? v->from - at : 0;
    }
    return n < TERSE_PAGE ? n : TERSE_PAGE;
}

/* ---- kv/ragged.c: stores that drop tokens ---- */

/* From now on the newest `window` tokens stay, at most kv->step are reserved at a time, and older ones may be
 * dropped: at first every token that leaves the window is admitted. May be called again with another window.
 * Where this makes places more than walks of the store have room for, they must be opened again. TERSE_NOMEM
 * leaves it as it was. */
terse_status terse_kv_ragged(terse_kv *kv, int32_t window, terse_error *err);
/* Recent places that it then has. */
int32_t terse_kv_ring_for(const terse_kv *kv, int32_t window);
/* Their parts in store.c's functions of the same names. */
terse_status terse_kv_ragged_reserve(terse_kv *kv, int32_t n, terse_error *err);
void terse_kv_ragged_put(terse_kv *kv, size_t u, int32_t pos, const float *k, const float *v);
bool terse_kv_ragged_truncate(terse_kv *kv, int32_t n);
void terse_kv_ragged_close(terse_kv *kv);
/* Position of the token that leaves the window when the one at pos is put; -1: none does. */
static inline int32_t terse_kv_leaver(const terse_kv *kv, int32_t pos)
{
    const int32_t j = pos - kv->window;
    return kv->n_ring && j >= kv->recent ? j : -1;
}
/* Copies the token at position j from its recent page into the next slot. Different units may run at the same
 * time, here and below. */
void terse_kv_admit(terse_kv *kv, size_t u, int32_t j);
/* Drops the token in a slot; the last slot's token takes its place. */
void terse_kv_drop(terse_kv *kv, size_t u, int32_t slot);
/* Drops the slots that keeps(ctx, slot, position) says no to; the others move together in their order. */
void terse_kv_filter(terse_kv *kv, size_t u, bool (*keeps)(void *ctx, int32_t slot, int32_t pos), void *ctx);
/* A number for every token of every (layer, head), 0 at first; it stays when the token is dropped. */
terse_status terse_kv_marks_open(terse_kv *kv, terse_error *err);
void terse_kv_marks_clear(terse_kv *kv);
static inline float *terse_kv_mark(const terse_kv *kv, size_t u, int32_t pos)
{
    return kv->mark + u * (size_t)kv->opts.ctx + (size_t)pos;
}
/* Gives pages that hold nothing any more back, and slabs of which enough are free to the system. By one thread.
 */
void terse_kv_settle(terse_kv *kv);
/* Tokens that are held, of all (layer, head). */
int64_t terse_kv_held(const terse_kv *kv);
/* n >= its tokens: the pages that are full follow one another, again and again, until there are n tokens; what
 * was in a page that is not full is gone. TERSE_BAD_INPUT without a full page, and for stores that drop tokens.
 */
terse_status terse_kv_repeat(terse_kv *kv, int32_t n, terse_error *err);
/* Tables with n_ring recent places (0: those of a store that drops nothing) for a store that holds no tokens.
 */
terse_status terse_kv_shape(terse_kv *kv, int32_t n_ring, terse_error *err);
/* `to` becomes a copy of `from`, which has the same shape, types and ctx. Walks of `to` must be opened again.
 * Stores of one pool share the pages until one of them changes one. On failure `to` is empty. */
terse_status terse_kv_copy(terse_kv *to, const terse_kv *from, terse_error *err);

/* kv/store.c, for ragged.c: radius of the page in a place. */
void terse_kv_measure(terse_kv *kv, size_t u, int32_t place, int32_t fill);
float terse_kv_radius(const terse_kv *kv, size_t u, const char *page, int32_t t);

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
