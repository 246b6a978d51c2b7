/* attend/shared.c: exact attention of one token each of several sequences whose first pages are the same. These
 * are read once, with the rows of all sequences side by side; every sequence has its own pages for itself. Each
 * goes the way of a walk under the rule none, so that it gets the bits that it would have alone. */
#include "attend/walk.h"

static const terse_rule none = { .stop = &terse_stop_none };

typedef struct {
    terse_walk *w;
    const terse_walker *s;
    int32_t n, n_shared;
    size_t unit;
    int32_t n_page[TERSE_PAGE], known[TERSE_PAGE], n_strand[TERSE_PAGE];
} shared_walk;

/* The part that page p of sequence t belongs to: 0, or 1 and the strand. */
static int32_t part_of(const shared_walk *g, int32_t t, int32_t p)
{
    const int32_t i = p ? g->n_page[t] - p : 0; /* position in its list */
    return i < g->known[t] || g->n_strand[t] == 1 ? 0 : 1 + (i - g->known[t]) % g->n_strand[t];
}

static int32_t page_id(const shared_walk *g, int32_t t, int32_t p)
{
    const terse_kv *kv = g->s[t].kv;
    return kv->table[g->unit * (size_t)kv->cap + (size_t)p];
}

/* Page p for sequences t ... t + n - 1, into part k. */
static void read_page(const shared_walk *g, int32_t k, int32_t t, int32_t n, int32_t p)
{
    terse_walk *w = g->w;
    const int32_t left = g->s[t].n_token - p * TERSE_PAGE, fill = left < TERSE_PAGE ? left : TERSE_PAGE;
    const int32_t next = p > 1 ? p - 1 : 0; /* lists go from the newest page to the oldest */
    for (int32_t r = 0; r < n * w->n_row; r++)
        w->n[t * w->n_row + r] = fill;
    terse_walk_rows(w, &w->part[k], w->query, terse_kv_block(w->kv, page_id(g, t, p)), t, n, NULL, fill,
                    terse_kv_block(w->kv, page_id(g, t, next)));
}

/* A page of the first n_shared: once, if it is one page and belongs to that part for all. */
static void read_shared(const shared_walk *g, int32_t k, int32_t p)
{
    bool all = true;
    for (int32_t t = 0; t < g->n; t++)
        all &= part_of(g, t, p) == k && page_id(g, t, p) == page_id(g, 0, p);
    if (all)
        read_page(g, k, 0, g->n, p);
    for (int32_t t = 0; t < g->n && !all; t++)
        if (part_of(g, t, p) == k)
            read_page(g, k, t, 1, p);
}

static void walk_part(const shared_walk *g, int32_t k)
{
    if (k == 0)
        read_shared(g, 0, 0);
    for (int32_t t = 0; t < g->n; t++)
        for (int32_t p = g->n_page[t] - 1; p >= g->n_shared; p--)
            if (part_of(g, t, p) == k)
                read_page(g, k, t, 1, p);
    for (int32_t p = g->n_shared - 1; p > 0; p--)
        read_shared(g, k, p);
}

static void finish(const shared_walk *g, int32_t t)
{
    terse_walk *w = g->w;
    const int32_t rows = w->n_row, dim = w->kv->opts.dim_v, row = t * rows;
    terse_part part[1 + TERSE_MAX_STRANDS];
    for (int32_t k = 0; k <= (g->n_strand[t] > 1 ? g->n_strand[t] : 0); k++) {
        part[k] = w->part[k];
        part[k].m += row;
        part[k].l += row;
        part[k].o += (size_t)row * (size_t)dim;
    }
    if (g->n_strand[t] > 1)
        terse_part_merge(part, g->n_strand[t], rows, dim);
    for (int32_t r = 0; r < rows; r++)
        terse_walk_divide(g->s[t].out + (size_t)r * (size_t)dim, part[0].o + (size_t)r * (size_t)dim,
                          part[0].l[r], dim);
}

void terse_walk_shared(terse_walk *w, const terse_walker *s, int32_t n, int32_t n_shared, int32_t layer,
                       int32_t head, float scale)
{
    const terse_kv *kv = w->kv;
    const int32_t rows = w->n_row, dim_k = kv->opts.dim_k;
    shared_walk g = { .w = w, .s = s, .n = n, .n_shared = n_shared, .unit = terse_kv_unit(kv, layer, head) };
    int32_t strands = 0;
    for (int32_t t = 0; t < n; t++) {
        g.n_page[t] = terse_kv_pages_of(s[t].n_token);
        g.known[t] = g.n_page[t] < TERSE_ARMED ? g.n_page[t] : TERSE_ARMED;
        g.n_strand[t] = terse_walk_strands(w, &none, g.known[t], g.n_page[t]);
        strands = g.n_strand[t] > 1 && g.n_strand[t] > strands ? g.n_strand[t] : strands;
        terse_query_prepare(kv->type_k, w->query + (size_t)(t * rows) * terse_query_size(kv->type_k, dim_k),
                            s[t].q, rows, dim_k, scale);
        terse_walk_count_dense(s[t].kv, layer, s[t].n_token - 1, 1, t ? n_shared : 0, s[t].stats);
    }
    terse_walk_shape(w, layer, head);
    terse_walk_start(w, n * rows);
    walk_part(&g, 0);
    for (int32_t k = 1; k <= strands; k++) {
        terse_part_strand(&w->part[k], &w->part[0], n * rows, kv->opts.dim_v);
        walk_part(&g, k);
    }
    for (int32_t t = 0; t < n; t++)
        finish(&g, t);
}
