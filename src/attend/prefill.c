/* attend/prefill.c: exact attention of up to a page of tokens at once. It goes the ways of a walk under the
 * rule none with the rows of all tokens side by side, so that it gives the same bits: a page that a token does
 * not see adds nothing to its rows. */
#include "attend/turn.h"
#include "attend/walk.h"

static const terse_rule none = { .stop = &terse_stop_none };

/* What the token at position pos sees, where the tokens of a batch behind it have been put as well. */
static terse_kv_view view_at(const terse_kv *kv, size_t u, int32_t pos)
{
    terse_kv_view v = terse_kv_view_at(kv, u, pos);
    if (!kv->n_ring)
        return v;
    const int32_t *at = terse_kv_positions(kv, u);
    int32_t n = v.n_long;
    while (n > 0 && at[n - 1] >= v.from)
        n--;
    return terse_kv_view_of(u, n, v.from, v.to);
}

void terse_walk_rows(terse_walk *w, const terse_part *a, const char *query, const char *page, int32_t t,
                     int32_t n, const int32_t *first, int32_t most, const char *ahead)
{
    const terse_kv *kv = w->kv;
    const int32_t rows = w->n_row, row = t * rows, n_row = n * rows, dim_k = kv->opts.dim_k,
                  dim_v = kv->opts.dim_v;
    query += (size_t)row * terse_query_size(kv->type_k, dim_k);
    w->kernels.score[kv->type_k](w->s, query, page, n_row, dim_k, ahead);
    terse_walk_cap(w, &w->course, w->s, n_row);
    for (int32_t i = 0; first && i < n; i++)
        terse_walk_mask(w->s + i * rows * TERSE_PAGE, rows, first[i]);
    w->kernels.weigh(w->s, n_row, w->n + row, a->m + row, a->l + row, w->keep, w->z);
    w->kernels.mix[kv->type_v](a->o + (size_t)row * (size_t)dim_v, w->keep, w->s, page + kv->block_k,
                               terse_tokens_first(most), n_row, dim_v, ahead ? ahead + kv->block_k : NULL,
                               ahead ? terse_tokens_first(TERSE_PAGE) : 0);
}

/* One page for tokens t ... t + n - 1. */
static void prefill_page(terse_walk *w, const terse_part *a, const terse_kv_view *token, int32_t t, int32_t n,
                         int32_t i, const char *ahead)
{
    const int32_t rows = w->n_row, place = w->list[i];
    int32_t first[TERSE_PAGE], most = 0;
    for (int32_t k = 0; k < n; k++) {
        int32_t fill = terse_kv_fill(w->kv, &token[t + k], place, &first[k]);
        if (fill <= first[k])
            fill = first[k] = 0; /* not seen */
        most = fill > most ? fill : most;
        for (int32_t r = 0; r < rows; r++)
            w->n[(t + k) * rows + r] = fill;
    }
    terse_walk_rows(w, a, terse_walk_query(w, place), terse_walk_block(w, i), t, n, first, most, ahead);
}

/* Positions from, from + step, ... below end of the list, for n tokens. A few pages stay in the second-level
 * cache while some rows after the other, whose outputs and scores stay in the first, meet them. */
static void prefill_part(terse_walk *w, const terse_part *a, const terse_kv_view *token, int32_t n,
                         int32_t from, int32_t step, int32_t end)
{
    enum { PAGES = 8, ROWS = 32 };
    const int32_t few = w->n_row < ROWS ? ROWS / w->n_row : 1;
    for (int32_t begin = from; begin < end; begin += PAGES * step)
        for (int32_t t = 0; t < n; t += few)
            for (int32_t i = begin; i < end && i < begin + PAGES * step; i += step) {
                const char *ahead = t == 0 && i + step < end ? terse_walk_block(w, i + step) : NULL;
                prefill_page(w, a, token, t, n - t < few ? n - t : few, i, ahead);
            }
}

/* One list for n tokens: in its order each finds the pages that it would walk alone. */
static void prefill_run(terse_walk *w, const terse_kv_view *token, int32_t n)
{
    const terse_kv *kv = w->kv;
    const terse_kv_view *last = &token[n - 1];
    const terse_kv_view view =
        terse_kv_view_from(terse_kv_view_of(last->unit, last->n_long, token[0].from, last->to), token[0].first);
    const int32_t known = terse_walk_plan(w, TERSE_ORDER_NEWEST, &view), n_row = n * w->n_row;
    const int32_t n_strand = terse_walk_strands(w, &none, known, view.n_page), dim = kv->opts.dim_v;
    terse_part *part = w->part;
    w->course.view = view;
    terse_walk_start(w, n_row);
    prefill_part(w, &part[0], token, n, 0, 1, n_strand > 1 ? known : view.n_page);
    for (int32_t s = 0; n_strand > 1 && s < n_strand; s++) {
        terse_part_strand(&part[1 + s], &part[0], n_row, dim);
        prefill_part(w, &part[1 + s], token, n, known + s, n_strand, view.n_page);
    }
    if (n_strand > 1)
        terse_part_merge(part, n_strand, n_row, dim);
}

/* May two tokens of a batch share a list? Its first page must be the same, and where strands share the pages
 * out, so must their number. */
static bool alike(const terse_walk *w, const terse_kv_view *a, const terse_kv_view *b)
{
    const bool strands =
        w->split.most == 1 || w->split.even || (a->n_page == b->n_page && a->n_long_page == b->n_long_page);
    return strands && terse_kv_place(w->kv, a, 0) == terse_kv_place(w->kv, b, 0);
}

void terse_walk_prefill(terse_walk *w, int32_t layer, int32_t head, int32_t pos, int32_t n, float scale,
                        const float *q, size_t q_stride, float *out, size_t out_stride)
{
    const terse_kv *kv = w->kv;
    const int32_t rows = w->n_row, dim_k = kv->opts.dim_k, dim_v = kv->opts.dim_v;
    const size_t query_size = (size_t)rows * terse_query_size(kv->type_k, dim_k);
    terse_kv_view token[TERSE_PAGE];
    terse_walk_shape(w, layer, head);
    for (int32_t t = 0; t < n; t++)
        token[t] = view_at(kv, terse_kv_unit(kv, layer, head), pos + t);
    for (int32_t t = 0, m; t < n; t += m) {
        for (m = 1; t + m < n && alike(w, &token[t], &token[t + m]);)
            m++;
        w->course.turned = false;
        for (int32_t i = 0; i < m; i++) {
            const float *x = q + (size_t)(t + i) * q_stride;
            terse_query_prepare(kv->type_k, w->query + (size_t)i * query_size, x, rows, dim_k, scale);
            w->course.turned |= terse_walk_turn(w, layer, &token[t + i], pos + t + i + 1, scale, x, i);
        }
        prefill_run(w, token + t, m);
        for (int32_t r = 0; r < m * rows; r++)
            terse_walk_divide(out + (size_t)(t + r / rows) * out_stride + (size_t)(r % rows) * (size_t)dim_v,
                              w->part[0].o + (size_t)r * (size_t)dim_v, w->part[0].l[r], dim_v);
    }
}
