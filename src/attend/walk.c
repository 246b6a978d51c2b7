/* attend/walk.c: the loop. Pages in order; score, weigh, mix; ask the stop rule. Prefill goes the same way with
 * the rows of up to a page of tokens, so that it gives the same bits. */
#include "attend/walk.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

/* Stop rules are asked once the sinks and at least this many recent tokens have been read. */
enum { WINDOW = 128, ARMED = 1 + WINDOW / TERSE_PAGE + 1 };

int32_t terse_walk_plan(int32_t *list, int32_t n_token)
{
    const int32_t n = terse_kv_pages_of(n_token);
    list[0] = 0;
    for (int32_t i = 1; i < n; i++)
        list[i] = n - i;
    return n;
}

/* Lays the arrays out in one mapping, or just adds up their sizes while base is NULL. */
static size_t lay_out(terse_walk *w, char *base)
{
    const terse_kv *kv = w->kv;
    const size_t rows = (size_t)w->max_row, row = (size_t)w->n_row, cap = (size_t)kv->cap;
    const size_t dim_v = (size_t)kv->opts.dim_v;
    const bool two = w->attend->stop->two_pass;
    size_t at = 0;
    w->query = terse_place(base, &at, rows * terse_query_size(kv->type_k, kv->opts.dim_k));
    w->s = terse_place(base, &at, rows * TERSE_PAGE * sizeof(float));
    w->o = terse_place(base, &at, rows * dim_v * sizeof(float));
    w->m = terse_place(base, &at, rows * sizeof(float));
    w->l = terse_place(base, &at, rows * sizeof(float));
    w->keep = terse_place(base, &at, rows * sizeof(float));
    w->z = terse_place(base, &at, rows * sizeof(float));
    w->n = terse_place(base, &at, rows * sizeof(int32_t));
    w->list = terse_place(base, &at, cap * sizeof(int32_t));
    w->full = terse_place(base, &at, row * dim_v * sizeof(float));
    w->state = terse_place(
        base, &at, w->attend->stop->state_size ? w->attend->stop->state_size(w->n_row, kv->opts.dim_v) : 0);
    w->weights = terse_place(base, &at, two ? cap * row * TERSE_PAGE * sizeof(float) : 0);
    w->mass = terse_place(base, &at, two ? cap * row * sizeof(float) : 0);
    w->order = terse_place(base, &at, two ? cap * sizeof(int32_t) : 0);
    w->left = terse_place(base, &at, two ? (cap + 1) * row * sizeof(float) : 0);
    w->radius = terse_place(base, &at, two ? (cap + 1) * sizeof(float) : 0);
    w->share = terse_place(base, &at, two ? cap * sizeof(uint16_t) : 0);
    return at;
}

terse_status terse_walk_open(terse_walk **out, const terse_kv *kv, const terse_attend *a, int32_t n_row,
                             uint32_t cpu, terse_error *err)
{
    *out = NULL;
    if (n_row < 1 || n_row > 256)
        return terse_fail(err, TERSE_UNSUPPORTED, "%d query heads per KV head: 1 to 256 are supported", n_row);
    terse_walk *w = terse_calloc64(1, sizeof *w);
    if (!w)
        return terse_fail(err, TERSE_NOMEM, "no memory for attention");
    terse_kernels kernels;
    terse_kernels_for(&kernels, cpu ? cpu : terse_cpu_tiers());
    w->kv = kv;
    w->attend = a;
    w->kernels = kernels.attn;
    w->n_row = n_row;
    w->max_row = n_row * TERSE_PAGE;
    w->map_size = terse_align_up(lay_out(w, NULL), (size_t)2 << 20);
    w->map = terse_pages_map(w->map_size);
    if (!w->map) {
        terse_walk_close(&w);
        return terse_fail(err, TERSE_NOMEM, "no memory for attention over %d tokens", kv->opts.ctx);
    }
    lay_out(w, w->map);
    *out = w;
    return TERSE_OK;
}

void terse_walk_close(terse_walk **w)
{
    if (!w || !*w)
        return;
    if ((*w)->map)
        terse_pages_unmap((*w)->map, (*w)->map_size);
    free(*w);
    *w = NULL;
}

static void start_rows(terse_walk *w, int32_t n_row)
{
    memset(w->o, 0, (size_t)n_row * (size_t)w->kv->opts.dim_v * sizeof *w->o);
    for (int32_t r = 0; r < n_row; r++) {
        w->m[r] = -INFINITY;
        w->l[r] = 0.0f;
    }
}

static void finish_row(float *out, const float *o, float l, int32_t dim)
{
    const float inv = 1.0f / l;
    for (int32_t d = 0; d < dim; d++)
        out[d] = o[d] * inv;
}

static bool armed_stop(const terse_walk *w, const terse_stop *stop, int32_t i, float *bound)
{
    const int32_t dim = w->kv->opts.dim_v;
    const terse_acc acc = { .n_row = w->n_row, .dim = dim, .o = w->o, .l = w->l, .z = w->z };
    return stop->enough && i >= ARMED && stop->enough(w->state, w->attend->param, &acc, bound);
}

/* Keys and values together, in the policy's order, under a one-pass rule. */
static void one_pass(terse_walk *w, const terse_stop *stop, int32_t layer, int32_t head, int32_t n_token,
                     float *out, terse_attend_stats *stats, float *bound)
{
    const terse_kv *kv = w->kv;
    const int32_t *table = terse_kv_table(kv, layer, head), dim_v = kv->opts.dim_v;
    const int32_t n = terse_walk_plan(w->list, n_token);
    int32_t i = 0, tokens = 0;
    start_rows(w, w->n_row);
    while (i < n) {
        const char *page = terse_kv_block(kv, table[w->list[i]]);
        const int32_t fill = terse_walk_fill(w->list[i], n_token);
        for (int32_t r = 0; r < w->n_row; r++)
            w->n[r] = fill;
        const char *ahead = i + 1 < n ? terse_kv_block(kv, table[w->list[i + 1]]) : NULL;
        w->kernels.score[kv->type_k](w->s, w->query, page, w->n_row, kv->opts.dim_k, ahead);
        w->kernels.weigh(w->s, w->n_row, w->n, w->m, w->l, w->keep, w->z);
        w->kernels.mix[kv->type_v](w->o, w->keep, w->s, page + kv->block_k, fill, w->n_row, dim_v,
                                   ahead ? ahead + kv->block_k : NULL);
        tokens += fill;
        if (armed_stop(w, stop, ++i, bound))
            break;
    }
    for (int32_t r = 0; r < w->n_row; r++)
        finish_row(out + r * dim_v, w->o + r * dim_v, w->l[r], dim_v);
    stats->pages_scored += i;
    stats->pages_read += i;
    stats->bytes_k += (int64_t)kv->block_k * i;
    stats->bytes_v += (int64_t)(kv->block_v / TERSE_PAGE) * tokens;
    stats->stops += i < n;
}

/* |x - y|, or |x| if y is NULL. */
static double distance(const float *x, const float *y, int32_t n)
{
    double sum = 0.0;
    for (int32_t d = 0; d < n; d++) {
        const double diff = (double)x[d] - (y ? (double)y[d] : 0.0);
        sum += diff * diff;
    }
    return sqrt(sum);
}

/* The exact answer beside the one given, and whether the bound held. Not counted as bytes of the walk. */
static void audit(terse_walk *w, int32_t layer, int32_t head, int32_t n_token, const float *out, float bound,
                  terse_attend_stats *stats)
{
    const int32_t dim = w->kv->opts.dim_v;
    terse_attend_stats ignored = { 0 };
    float no_bound = 0.0f, worst = 0.0f;
    one_pass(w, &terse_stop_none, layer, head, n_token, w->full, &ignored, &no_bound);
    bool broken = false;
    for (int32_t r = 0; r < w->n_row; r++) {
        const float *full = w->full + r * dim, *got = out + r * dim;
        const double size = distance(full, NULL, dim), error = distance(full, got, dim);
        if (error != 0.0) /* fmaxf drops NaN */
            worst = fmaxf(worst, isnan(error) ? INFINITY : (float)(error / size));
        /* The bound is on exact arithmetic: leave room for the rounding of two f32 sums. NaN is a violation. */
        broken |= !(error <= (double)bound * distance(got, NULL, dim) * 1.0001 + 1e-4 * size);
    }
    stats->audits++;
    stats->audit_violations += w->attend->stop->bounded && broken;
    stats->audit_error_max = fmaxf(stats->audit_error_max, worst);
    stats->audit_error_sum += (double)worst;
}

void terse_walk_decode(terse_walk *w, int32_t layer, int32_t head, int32_t n_token, float scale, const float *q,
                       float *out, terse_attend_stats *stats)
{
    const terse_kv *kv = w->kv;
    const terse_stop *stop = w->attend->stop;
    const int32_t n = terse_kv_pages_of(n_token), every = w->attend->audit;
    float bound = 0.0f;
    terse_query_prepare(kv->type_k, w->query, q, w->n_row, kv->opts.dim_k, scale);
    if (stop->begin)
        stop->begin(w->state, w->attend->param, w->n_row, kv->opts.dim_v);
    if (stop->two_pass)
        terse_walk_two_pass(w, layer, head, n_token, out, stats, &bound);
    else
        one_pass(w, stop, layer, head, n_token, out, stats, &bound);
    if (every && stats->walks % every == 0)
        audit(w, layer, head, n_token, out, bound, stats);
    stats->walks++;
    stats->pages_listed += n;
    stats->bytes_dense += (int64_t)kv->block_k * n + (int64_t)(kv->block_v / TERSE_PAGE) * n_token;
    stats->bound_max = fmaxf(stats->bound_max, bound);
}

void terse_walk_prefill(terse_walk *w, int32_t layer, int32_t head, int32_t pos, int32_t n, float scale,
                        const float *q, size_t q_stride, float *out, size_t out_stride)
{
    const terse_kv *kv = w->kv;
    const int32_t *table = terse_kv_table(kv, layer, head), dim_k = kv->opts.dim_k, dim_v = kv->opts.dim_v;
    const int32_t n_row = n * w->n_row, last = pos / TERSE_PAGE;
    const size_t query_size = (size_t)w->n_row * terse_query_size(kv->type_k, dim_k);
    for (int32_t t = 0; t < n; t++)
        terse_query_prepare(kv->type_k, w->query + (size_t)t * query_size, q + (size_t)t * q_stride, w->n_row,
                            dim_k, scale);
    const int32_t n_page = terse_walk_plan(w->list, pos + n);
    start_rows(w, n_row);
    for (int32_t i = 0; i < n_page; i++) {
        const int32_t p = w->list[i];
        const char *page = terse_kv_block(kv, table[p]);
        for (int32_t r = 0; r < n_row; r++)
            w->n[r] = p < last ? TERSE_PAGE : pos % TERSE_PAGE + r / w->n_row + 1;
        w->kernels.score[kv->type_k](w->s, w->query, page, n_row, dim_k, NULL);
        w->kernels.weigh(w->s, n_row, w->n, w->m, w->l, w->keep, w->z);
        w->kernels.mix[kv->type_v](w->o, w->keep, w->s, page + kv->block_k, w->n[n_row - 1], n_row, dim_v,
                                   NULL);
    }
    for (int32_t r = 0; r < n_row; r++)
        finish_row(out + (size_t)(r / w->n_row) * out_stride + (size_t)(r % w->n_row) * (size_t)dim_v,
                   w->o + (size_t)r * (size_t)dim_v, w->l[r], dim_v);
}
