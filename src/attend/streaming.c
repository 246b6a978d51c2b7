/* attend/streaming.c: what a head makes of the first and the last tokens alone, beside a walk over all. */
#include "attend/walk.h"

#include <math.h>

/* Hides the tokens of page p between the two groups; some are in one of them. */
static void hide(terse_walk *w, int32_t p, int32_t sinks, int32_t from)
{
    for (int32_t t = 0; t < TERSE_PAGE; t++) {
        const int32_t pos = p * TERSE_PAGE + t;
        for (int32_t r = 0; pos >= sinks && pos < from && r < w->n_row; r++)
            w->s[r * TERSE_PAGE + t] = -INFINITY;
    }
}

void terse_walk_streaming(terse_walk *w, int32_t layer, int32_t head, int32_t n_token, int32_t sinks,
                          int32_t window, float scale, const float *q, float *out)
{
    const terse_kv *kv = w->kv;
    const int32_t *table = terse_kv_table(kv, layer, head), dim = kv->opts.dim_v, from = n_token - window;
    terse_part *a = &w->part[0];
    terse_walk_shape(w, layer, head);
    terse_query_prepare(kv->type_k, w->query, q, w->n_row, kv->opts.dim_k, scale);
    terse_walk_start(w, w->n_row);
    for (int32_t p = 0; p < terse_kv_pages_of(n_token); p++) {
        const int32_t start = p * TERSE_PAGE, left = n_token - start, n = left < TERSE_PAGE ? left : TERSE_PAGE;
        const char *page = terse_kv_block(kv, table[p]);
        if (start >= sinks && start + TERSE_PAGE <= from)
            continue;
        w->kernels.score[kv->type_k](w->s, w->query, page, w->n_row, kv->opts.dim_k, NULL);
        terse_walk_cap(w, &w->course, w->s, w->n_row);
        hide(w, p, sinks, from);
        for (int32_t r = 0; r < w->n_row; r++)
            w->n[r] = n;
        w->kernels.weigh(w->s, w->n_row, w->n, a->m, a->l, w->keep, w->z);
        w->kernels.mix[kv->type_v](a->o, w->keep, w->s, page + kv->block_k, terse_tokens_first(n), w->n_row,
                                   dim, NULL, 0);
    }
    for (int32_t r = 0; r < w->n_row; r++)
        terse_walk_divide(out + r * dim, a->o + r * dim, a->l[r], dim);
}
