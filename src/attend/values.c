/* attend/values.c: the second half of a walk under a value rule. All weights of the walked pages are known. The
 * rule says how much of them may be left out; the lightest tokens are, for each head as many as it allows, and
 * the values of those that some head needs are read, in the order of the list. */
#include "attend/walk.h"

#include "simd/expf.h"

#include <math.h>
#include <string.h>

enum { P = TERSE_PAGE, LANES = 16 };
enum { AHEAD = 4 }; /* blocks from the one that is read to the one that is fetched */

/* Brings the weights of all pages to the last maximum. */
static void rescale(terse_walk *w, int32_t n)
{
    const int32_t rows = w->n_row;
    for (int32_t i = 0; i < n; i++)
        for (int32_t r = 0; r < rows; r++) {
            const float top = w->top[i * rows + r];
            float *s = w->weights + ((size_t)i * (size_t)rows + (size_t)r) * P;
            if (top == w->part[0].m[r])
                continue;
            const float f = terse_expf(top - w->part[0].m[r]);
            for (int32_t t = 0; t < P; t++)
                s[t] *= f;
        }
}

/* 2^(-k/4) */
static float quarter_octaves(int32_t k)
{
    static const float part[4] = { 1.0f, 0x1.ae89fap-1f, 0x1.6a09e6p-1f, 0x1.306fe0p-1f };
    return ldexpf(part[k % 4], -(k / 4));
}

/* Lowers tau[n_row] to the largest most * 2^(-k/4) at which the tokens that weigh at most that stay within
 * most, by bisection: n tokens of most / n each are never too many. */
static void choose(terse_walk *w, int32_t n, const float *most, float *tau)
{
    const int32_t rows = w->n_row, octaves = ilogb((double)n * P) + 1;
    int32_t low[TERSE_MAX_GROUP], high[TERSE_MAX_GROUP];
    float try[TERSE_MAX_GROUP];
    for (int32_t r = 0; r < rows; r++) {
        low[r] = 0;
        high[r] = 4 * octaves;
    }
    for (bool all = false; !all;) {
        for (int32_t r = 0; r < rows; r++)
            try[r] = most[r] * quarter_octaves((low[r] + high[r]) / 2);
        w->kernels.below(w->weights, n, rows, try, w->lane);
        all = true;
        for (int32_t r = 0; r < rows; r++) {
            const float sum = terse_fold16(w->lane + r * LANES);
            const int32_t middle = (low[r] + high[r]) / 2;
            if (low[r] < high[r] && sum <= most[r])
                high[r] = middle;
            else if (low[r] < high[r])
                low[r] = middle + 1;
            all &= low[r] == high[r];
        }
    }
    for (int32_t r = 0; r < rows; r++) {
        const float x = most[r] * quarter_octaves(high[r]);
        tau[r] = !(most[r] >= 0.0f) || !(most[r] <= INFINITY) ? -1.0f : x < tau[r] ? x : tau[r];
    }
}

/* Tokens that are read or left out together. The weights of q4 values are rounded by the largest of their page,
 * so that only whole pages can be left out without touching the others: proofs rest on that. */
static int32_t grain_of(const terse_walk *w)
{
    const terse_kv *kv = w->kv;
    return w->value->stop->bounded && kv->type_v == TERSE_PAGE_Q4
               ? P
               : terse_page_grain(kv->type_v, kv->opts.dim_v);
}

/* Reads the values of tokens that weigh more than tau and have not been read: w->left is the weight of those
 * that still have not. Returns the largest radius of their pages (0 for a rule that proves nothing), -1 if
 * there are none. */
static float read_over(terse_walk *w, int32_t n, const float *tau)
{
    const terse_kv *kv = w->kv;
    const int32_t rows = w->n_row, dim = kv->opts.dim_v, grain = grain_of(w);
    const size_t unit = w->course.view.unit * (size_t)kv->cap;
    const bool proof = w->value->stop->bounded;
    float radius = -1.0f;
    int32_t n_some = 0;
    memset(w->lane, 0, (size_t)rows * LANES * sizeof *w->lane);
    for (int32_t i = 0; i < n; i++) {
        int32_t first;
        const int32_t fill = terse_kv_fill(kv, &w->course.view, w->list[i], &first);
        const uint32_t live = terse_tokens_first(fill) & ~terse_tokens_first(first);
        const float *s = w->weights + (size_t)i * (size_t)rows * P;
        const uint32_t tokens = w->kernels.pick(s, rows, tau, grain, w->lane) & live;
        if (tokens != live) {
            const float r = proof ? kv->radius[unit + (size_t)w->list[i]] : 0.0f;
            radius = r > radius ? r : radius;
        }
        w->fresh[n_some] = tokens & ~w->tokens[i];
        w->tokens[i] = tokens;
        w->some[n_some] = i;
        n_some += w->fresh[n_some] != 0;
    }
    for (int32_t j = 0; j < n_some; j++) {
        const int32_t i = w->some[j], a = j + AHEAD < n_some ? j + AHEAD : -1;
        w->kernels.mix[kv->type_v](w->part[0].o, w->keep, w->weights + (size_t)i * (size_t)rows * P,
                                   terse_walk_block(w, i) + kv->block_k, w->fresh[j], rows, dim,
                                   a < 0 ? NULL : terse_walk_block(w, w->some[a]) + kv->block_k,
                                   a < 0 ? 0 : w->fresh[a]);
    }
    for (int32_t r = 0; r < rows; r++)
        w->left[r] = terse_fold16(w->lane + r * LANES);
    return radius;
}

static void count(terse_walk *w, int32_t n, terse_attend_stats *stats)
{
    const terse_kv *kv = w->kv;
    const int32_t dim = kv->opts.dim_v, grain = terse_page_grain(kv->type_v, dim);
    for (int32_t i = 0; i < n; i++)
        if (w->tokens[i]) {
            const int32_t lines = __builtin_popcount(terse_tokens_widen(w->tokens[i], grain));
            stats->bytes_v += (int64_t)terse_page_tokens_size(kv->type_v, dim, lines);
            stats->tokens_read += __builtin_popcount(w->tokens[i]);
            stats->pages_read++;
        }
    stats->bytes_summary += (int64_t)sizeof(float) * ((w->value->stop->bounded ? n : 0) + dim);
}

void terse_walk_values(terse_walk *w, int32_t n, terse_attend_stats *stats, float *bound)
{
    const size_t unit = w->course.view.unit;
    const terse_kv *kv = w->kv;
    const terse_rule *rule = w->value;
    const int32_t rows = w->n_row;
    terse_acc acc = { .n_row = rows,
                      .dim = kv->opts.dim_v,
                      .n_read = n,
                      .n_page = n,
                      .l = w->part[0].l,
                      .o = w->part[0].o,
                      .unread = w->unread,
                      .left = w->left,
                      .radius = INFINITY,
                      .center = kv->center + unit * (size_t)kv->opts.dim_v,
                      .kernels = &w->kernels };
    float most[TERSE_MAX_GROUP], tau[TERSE_MAX_GROUP];
    rescale(w, n);
    memset(w->tokens, 0, (size_t)n * sizeof *w->tokens);
    for (int32_t r = 0; r < rows; r++) {
        w->left[r] = w->part[0].l[r];
        w->keep[r] = 1.0f;
        tau[r] = INFINITY;
    }
    while (!rule->stop->allow(rule->param, &acc, most, bound)) {
        choose(w, n, most, tau);
        acc.radius = read_over(w, n, tau);
        acc.asked++;
        if (acc.radius < 0.0f) {
            *bound = 0.0f;
            break;
        }
    }
    count(w, n, stats);
}
