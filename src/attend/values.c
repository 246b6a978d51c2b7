/* attend/values.c: the second half of a walk under a value rule. All weights of the walked pages are known;
 * values are read by falling share of the softmax until the rule has enough. */
#include "attend/walk.h"

#include "simd/expf.h"

#include <math.h>
#include <string.h>

/* Brings the masses of all pages to the last maximum and finds the largest share of each page. */
static void share_out(terse_walk *w, int32_t n)
{
    const int32_t rows = w->n_row;
    for (int32_t i = 0; i < n; i++) {
        float *mass = w->mass + i * rows, share = 0.0f;
        const float *top = w->top + i * rows;
        for (int32_t r = 0; r < rows; r++) {
            if (top[r] != w->part[0].m[r])
                mass[r] *= terse_expf(top[r] - w->part[0].m[r]);
            const float x = mass[r] / w->part[0].l[r];
            share = x > share ? x : share;
        }
        w->prior[i] = share;
    }
}

/* What is unread from each place in order on: summed from the small end, so that the sums keep their bits. */
static void sum_left(terse_walk *w, const float *radius, int32_t n)
{
    const int32_t rows = w->n_row;
    memset(w->left + n * 2 * rows, 0, 2 * (size_t)rows * sizeof *w->left);
    w->radius[n] = 0.0f;
    for (int32_t j = n - 1; j >= 0; j--) {
        const int32_t i = w->order[j];
        float *left = w->left + j * 2 * rows;
        for (int32_t r = 0; r < rows; r++) {
            const float x = w->mass[i * rows + r];
            left[r] = left[r + 2 * rows] + x;
            left[r + rows] = fmaf(x, x, left[r + 3 * rows]);
        }
        w->radius[j] = fmaxf(w->radius[j + 1], radius[w->list[i]]);
    }
}

/* The weights of position i on the scale of l. */
static float *weights_of(terse_walk *w, int32_t i)
{
    const int32_t rows = w->n_row;
    float *s = w->weights + (size_t)i * (size_t)rows * TERSE_PAGE;
    for (int32_t r = 0; r < rows; r++)
        if (w->top[i * rows + r] != w->part[0].m[r]) {
            const float f = terse_expf(w->top[i * rows + r] - w->part[0].m[r]);
            for (int32_t t = 0; t < TERSE_PAGE; t++)
                s[r * TERSE_PAGE + t] *= f;
        }
    return s;
}

int32_t terse_walk_values(terse_walk *w, int32_t n, terse_attend_stats *stats, float *bound)
{
    const size_t unit = w->course.view.unit;
    const terse_part *a = &w->part[0];
    const terse_kv *kv = w->kv;
    const terse_rule *rule = w->value;
    const int32_t *table = kv->table + unit * (size_t)kv->cap, dim = kv->opts.dim_v, rows = w->n_row;
    void *state = w->state;
    share_out(w, n);
    terse_walk_sort(w, w->order, w->prior, n);
    sum_left(w, kv->radius + unit * (size_t)kv->cap, n);
    for (int32_t r = 0; r < rows; r++)
        w->keep[r] = 1.0f;
    if (rule->stop->begin)
        rule->stop->begin(state, rule->param, rows, dim);

    int32_t j = 0, tokens = 0;
    while (j < n) {
        int32_t first;
        const int32_t i = w->order[j++], fill = terse_kv_fill(kv, &w->course.view, w->list[i], &first);
        const char *page = terse_kv_block(kv, table[w->list[i]]);
        const char *ahead =
            j + 1 < n ? terse_kv_block(kv, table[w->list[w->order[j + 1]]]) + kv->block_k : NULL;
        w->kernels.mix[kv->type_v](a->o, w->keep, weights_of(w, i), page + kv->block_k, terse_tokens_first(fill),
                                   rows, dim, ahead, terse_tokens_first(TERSE_PAGE));
        tokens += fill - first;
        const terse_acc acc = { .n_row = rows,
                                .dim = dim,
                                .n_read = j,
                                .n_page = n,
                                .l = a->l,
                                .o = a->o,
                                .unread = w->unread,
                                .left = w->left + j * 2 * rows,
                                .left_squares = w->left + (j * 2 + 1) * rows,
                                .radius = w->radius[j],
                                .center = kv->center + unit * (size_t)dim,
                                .kernels = &w->kernels };
        if (terse_walk_enough(w, rule, state, &acc, bound))
            break;
    }
    stats->bytes_v += (int64_t)(kv->block_v / TERSE_PAGE) * tokens;
    stats->bytes_summary += (int64_t)sizeof(float) * (n + dim);
    return j;
}
