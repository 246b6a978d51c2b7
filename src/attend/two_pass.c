/* attend/two_pass.c: score every page, so that all weights are known; then read values by falling share of the
 * softmax until the stop rule has enough. What is left out is replaced by the center: o = (acc + W c) / l. */
#include "attend/walk.h"

#include <math.h>
#include <string.h>

/* Pass 1: the weights of all pages in w->weights, their sums in w->mass, the totals in w->l. */
static void score_all(terse_walk *w, const int32_t *table, int32_t n, int32_t n_token)
{
    const terse_kv *kv = w->kv;
    const int32_t rows = w->n_row;
    for (int32_t r = 0; r < rows; r++) {
        w->m[r] = -INFINITY;
        w->l[r] = 0.0f;
    }
    for (int32_t i = 0; i < n; i++) {
        float *s = w->weights + (size_t)i * (size_t)rows * TERSE_PAGE;
        for (int32_t r = 0; r < rows; r++)
            w->n[r] = terse_walk_fill(w->list[i], n_token);
        const char *ahead = i + 1 < n ? terse_kv_block(kv, table[w->list[i + 1]]) : NULL;
        w->kernels.score[kv->type_k](s, w->query, terse_kv_block(kv, table[w->list[i]]), rows, kv->opts.dim_k,
                                     ahead);
        w->kernels.peak(s, rows, w->n, w->m);
    }
    for (int32_t i = 0; i < n; i++) {
        for (int32_t r = 0; r < rows; r++)
            w->n[r] = terse_walk_fill(w->list[i], n_token);
        w->kernels.weigh(w->weights + (size_t)i * (size_t)rows * TERSE_PAGE, rows, w->n, w->m, w->l, w->keep,
                         w->mass + (size_t)i * (size_t)rows);
    }
}

/* w->order by falling share (of the head that gives a page the most), by a counting sort on the exponent and
 * two bits of the mantissa: pages of about equal share stay in list order. */
static void sort_by_share(terse_walk *w, int32_t n)
{
    int32_t count[512] = { 0 };
    for (int32_t i = 0; i < n; i++) {
        float share = 0.0f;
        uint32_t bits;
        for (int32_t r = 0; r < w->n_row; r++)
            share = fmaxf(share, w->mass[i * w->n_row + r] / w->l[r]);
        memcpy(&bits, &share, sizeof bits);
        w->share[i] = (uint16_t)(511 - (bits >> 21 & 511));
        count[w->share[i]]++;
    }
    for (int32_t k = 0, at = 0; k < 512; k++) {
        const int32_t here = count[k];
        count[k] = at;
        at += here;
    }
    for (int32_t i = 0; i < n; i++)
        w->order[count[w->share[i]]++] = i;
}

/* What is unread from each place in order on: summed from the small end, so that the sums keep their bits. */
static void sum_left(terse_walk *w, const float *radius, int32_t n)
{
    const int32_t rows = w->n_row;
    memset(w->left + n * rows, 0, (size_t)rows * sizeof *w->left);
    w->radius[n] = 0.0f;
    for (int32_t j = n - 1; j >= 0; j--) {
        const int32_t i = w->order[j];
        for (int32_t r = 0; r < rows; r++)
            w->left[j * rows + r] = w->left[(j + 1) * rows + r] + w->mass[i * rows + r];
        w->radius[j] = fmaxf(w->radius[j + 1], radius[w->list[i]]);
    }
}

void terse_walk_two_pass(terse_walk *w, int32_t layer, int32_t head, int32_t n_token, float *out,
                         terse_attend_stats *stats, float *bound)
{
    const terse_kv *kv = w->kv;
    const size_t unit = terse_kv_unit(kv, layer, head);
    const int32_t *table = terse_kv_table(kv, layer, head), dim = kv->opts.dim_v, rows = w->n_row;
    const float *center = kv->center + unit * (size_t)dim;
    const int32_t n = terse_walk_plan(w->list, n_token);
    score_all(w, table, n, n_token);
    sort_by_share(w, n);
    sum_left(w, kv->radius + unit * (size_t)kv->cap, n);
    memset(w->o, 0, (size_t)rows * (size_t)dim * sizeof *w->o);
    for (int32_t r = 0; r < rows; r++)
        w->keep[r] = 1.0f;

    int32_t j = 0, tokens = 0;
    while (j < n) {
        const int32_t i = w->order[j], fill = terse_walk_fill(w->list[i], n_token);
        const char *ahead =
            j + 1 < n ? terse_kv_block(kv, table[w->list[w->order[j + 1]]]) + kv->block_k : NULL;
        w->kernels.mix[kv->type_v](w->o, w->keep, w->weights + (size_t)i * (size_t)rows * TERSE_PAGE,
                                   terse_kv_block(kv, table[w->list[i]]) + kv->block_k, fill, rows, dim, ahead);
        tokens += fill;
        j++;
        const terse_acc acc = { .n_row = rows,
                                .dim = dim,
                                .o = w->o,
                                .l = w->l,
                                .left = w->left + j * rows,
                                .radius = w->radius[j],
                                .center = center };
        if (w->attend->stop->enough(w->state, w->attend->param, &acc, bound))
            break;
    }
    for (int32_t r = 0; r < rows; r++)
        for (int32_t d = 0; d < dim; d++)
            out[r * dim + d] = (w->o[r * dim + d] + w->left[j * rows + r] * center[d]) / w->l[r];
    stats->pages_scored += n;
    stats->pages_read += j;
    stats->bytes_k += (int64_t)kv->block_k * n;
    stats->bytes_v += (int64_t)(kv->block_v / TERSE_PAGE) * tokens;
    stats->bytes_summary += (int64_t)sizeof(float) * (n + dim);
    stats->stops += j < n;
}
