/* attend/walk.c: the loop. Pages in order; score, weigh, mix; ask the stop rule. Prefill goes the same way with
 * the rows of up to a page of tokens, so that it gives the same bits. */
#include "attend/walk.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

/* Lays the arrays out in one mapping, or just adds up their sizes while base is NULL. */
static size_t lay_out(terse_walk *w, char *base)
{
    const terse_kv *kv = w->kv;
    const terse_attend *a = w->attend;
    const size_t rows = (size_t)w->max_row, row = (size_t)w->n_row, cap = (size_t)kv->cap, one = sizeof(float);
    const size_t dim_k = (size_t)kv->opts.dim_k, dim_v = (size_t)kv->opts.dim_v;
    const bool rank = terse_order_weighs(a->order), apart = a->value.stop != NULL;
    size_t at = 0, state = 0;
    for (int i = 0; i < 2; i++) {
        const terse_stop *stop = i ? a->value.stop : a->page.stop;
        const size_t size = stop && stop->state_size ? stop->state_size(w->n_row, kv->opts.dim_v) : 0;
        state = size > state ? size : state;
    }
    w->query = terse_place(base, &at, rows * terse_query_size(kv->type_k, kv->opts.dim_k));
    w->s = terse_place(base, &at, rows * TERSE_PAGE * one);
    w->o = terse_place(base, &at, rows * dim_v * one);
    w->m = terse_place(base, &at, rows * one);
    w->l = terse_place(base, &at, rows * one);
    w->keep = terse_place(base, &at, rows * one);
    w->z = terse_place(base, &at, rows * one);
    w->n = terse_place(base, &at, rows * sizeof *w->n);
    w->list = terse_place(base, &at, cap * sizeof *w->list);
    w->full = terse_place(base, &at, row * dim_v * one);
    w->state = terse_place(base, &at, state);
    w->done = terse_place(base, &at, row * sizeof *w->done);
    w->alone = terse_place(base, &at, row * sizeof *w->alone);
    w->stride = terse_align_up(cap, TERSE_TILE);
    w->moments_query = terse_place(base, &at, rank ? row * terse_moments_query_size(kv->opts.dim_k) : 0);
    w->x = terse_place(base, &at, rank ? row * dim_k * one : 0);
    w->fair = terse_place(base, &at, rank ? row * w->stride * one : 0);
    w->high = terse_place(base, &at, rank ? row * w->stride * one : 0);
    w->prior = terse_place(base, &at, rank || apart ? cap * one : 0);
    w->behind = terse_place(base, &at, rank ? (cap + 1) * row * one : 0);
    w->rest = terse_place(base, &at, 2 * row * sizeof *w->rest);
    w->rel = terse_place(base, &at, row * one);
    w->unread = terse_place(base, &at, 2 * row * one);
    w->weights = terse_place(base, &at, apart ? cap * row * TERSE_PAGE * one : 0);
    w->mass = terse_place(base, &at, apart ? cap * row * one : 0);
    w->top = terse_place(base, &at, apart ? cap * row * one : 0);
    w->order = terse_place(base, &at, apart ? cap * sizeof *w->order : 0);
    w->left = terse_place(base, &at, apart ? (cap + 1) * 2 * row * one : 0);
    w->radius = terse_place(base, &at, rank || apart ? (cap + 1) * one : 0);
    w->key = terse_place(base, &at, rank || apart ? cap * sizeof *w->key : 0);
    return at;
}

terse_status terse_walk_open(terse_walk **out, const terse_kv *kv, const terse_attend *a, int32_t n_row,
                             uint32_t cpu, terse_error *err)
{
    *out = NULL;
    if (n_row < 1 || n_row > 256)
        return terse_fail(err, TERSE_UNSUPPORTED, "%d query heads per KV head: 1 to 256 are supported", n_row);
    if (a->scale && (a->n_layer != kv->opts.n_layer || a->n_head != kv->opts.n_head))
        return terse_fail(err, TERSE_BAD_INPUT,
                          "the profile is of %d layers with %d KV heads, the model has %d with %d", a->n_layer,
                          a->n_head, kv->opts.n_layer, kv->opts.n_head);
    terse_walk *w = terse_calloc64(1, sizeof *w);
    if (!w)
        return terse_fail(err, TERSE_NOMEM, "no memory for attention");
    terse_kernels kernels;
    terse_kernels_for(&kernels, cpu ? cpu : terse_cpu_tiers());
    w->kv = kv;
    w->attend = a;
    w->kernels = kernels.attn;
    w->summary = kernels.summary;
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

/* What a walk goes by. */
typedef struct {
    const terse_rule *rule;
    terse_order order;
    bool apart; /* keys first, values later */
} course;

/* Asks the page rule after i pages. Notes which heads would have stopped here alone. */
static bool settled(terse_walk *w, const course *c, size_t unit, int32_t i, int32_t n, bool ranked,
                    float *bound)
{
    const terse_kv *kv = w->kv;
    const int32_t dim = kv->opts.dim_v, rows = w->n_row;
    if (ranked)
        terse_walk_unread(w, i);
    const terse_acc acc = { .n_row = rows,
                            .dim = dim,
                            .n_read = i,
                            .n_page = n,
                            .l = w->l,
                            .z = c->apart ? w->mass + (i - 1) * rows : w->z,
                            .o = c->apart ? NULL : w->o,
                            .keep = w->keep,
                            .unread = w->unread,
                            .unread_squares = w->unread + rows,
                            .radius = ranked && c->order == TERSE_ORDER_BOX ? w->radius[i] : INFINITY,
                            .center = kv->center + unit * (size_t)dim,
                            .kernels = &w->kernels };
    const bool all = terse_walk_enough(w, c->rule, w->state, &acc, bound);
    for (int32_t r = 0; r < rows; r++)
        if (w->done[r] && !w->alone[r])
            w->alone[r] = i;
    return all;
}

/* Walks pages until the rule has enough; returns how many. Bytes of keys, of values that were read with them
 * and of summaries go to stats. */
static int32_t walk_pages(terse_walk *w, const course *c, size_t unit, int32_t n_token,
                          terse_attend_stats *stats, float *bound)
{
    const terse_kv *kv = w->kv;
    const int32_t *table = kv->table + unit * (size_t)kv->cap, rows = w->n_row, dim_v = kv->opts.dim_v;
    const int32_t n = terse_kv_pages_of(n_token), known = terse_walk_plan(w, c->order, unit, n);
    const bool rank = known < n && terse_order_weighs(c->order);
    int32_t i = 0, tokens = 0;
    start_rows(w, rows);
    for (int32_t p = 0; rank && p < n; p += 16) /* ranked pages come from anywhere in the table */
        __builtin_prefetch(&table[p]);
    while (i < n) {
        if (rank && i == known)
            stats->bytes_summary += (int64_t)terse_walk_rank(w, unit, known, n);
        const char *page = terse_kv_block(kv, table[w->list[i]]);
        /* Keys alone are soon done with: fetch two pages ahead, as far as the list is known. */
        const int32_t next = i + (c->apart ? 2 : 1);
        const char *ahead =
            next < (rank && i < known ? known : n) ? terse_kv_block(kv, table[w->list[next]]) : NULL;
        const int32_t fill = terse_walk_fill(w->list[i], n_token);
        float *s = c->apart ? w->weights + (size_t)i * (size_t)rows * TERSE_PAGE : w->s;
        for (int32_t r = 0; r < rows; r++)
            w->n[r] = fill;
        w->kernels.score[kv->type_k](s, w->query, page, rows, kv->opts.dim_k, ahead);
        w->kernels.weigh(s, rows, w->n, w->m, w->l, w->keep, c->apart ? w->mass + i * rows : w->z);
        if (c->apart)
            memcpy(w->top + i * rows, w->m, (size_t)rows * sizeof *w->top);
        else
            w->kernels.mix[kv->type_v](w->o, w->keep, s, page + kv->block_k, fill, rows, dim_v,
                                       ahead ? ahead + kv->block_k : NULL);
        for (int32_t r = 0; rank && r < rows; r++)
            w->rel[r] *= w->keep[r];
        tokens += fill;
        if (++i >= known + rank && c->rule->stop->enough && settled(w, c, unit, i, n, rank, bound))
            break;
    }
    if (i == n) /* not even a rounding error is unread */
        memset(w->unread, 0, 2 * (size_t)rows * sizeof *w->unread);
    stats->bytes_k += (int64_t)kv->block_k * i;
    stats->bytes_v += c->apart ? 0 : (int64_t)(kv->block_v / TERSE_PAGE) * tokens;
    return i;
}

/* out = (o + fill c) / (l + unread): what was left out weighs as much as is known of it, and is worth c. */
static float finish(terse_walk *w, size_t unit, const float *left, float *out)
{
    const int32_t dim = w->kv->opts.dim_v;
    const float *c = w->kv->center + unit * (size_t)dim;
    float worst = 0.0f;
    for (int32_t r = 0; r < w->n_row; r++) {
        const float fill = w->unread[r] + (left ? left[r] : 0.0f), inv = 1.0f / (w->l[r] + w->unread[r]);
        const float *o = w->o + r * dim;
        for (int32_t d = 0; d < dim && fill != 0.0f; d++)
            out[r * dim + d] = fmaf(fill, c[d], o[d]) * inv;
        if (fill == 0.0f)
            finish_row(out + r * dim, o, w->l[r] + w->unread[r], dim);
        worst = fmaxf(worst, fill * inv);
    }
    return worst;
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

static int32_t bin_of(double x)
{
    int32_t bin = 0;
    while (bin + 1 < TERSE_AUDIT_BINS && x >= terse_audit_bin_low(bin + 1))
        bin++;
    return bin;
}

/* The exact answer beside the one given, and whether the bound held. Not counted as bytes of the walk. weight:
 * [n_row][2], the maximum that the walk ended with and, relative to it, the weight whose values it had read. */
static void audit(terse_walk *w, size_t unit, int32_t n_token, const float *out, float bound, float estimate,
                  const float *weight, terse_attend_stats *stats)
{
    static const terse_rule none = { .stop = &terse_stop_none };
    const course dense = { &none, TERSE_ORDER_NEWEST, false };
    const int32_t dim = w->kv->opts.dim_v;
    const bool bounded = terse_attend_bounded(w->attend);
    terse_attend_stats ignored = { 0 };
    float no_bound = 0.0f, worst = 0.0f;
    double left = 0.0;
    bool broken = false;
    walk_pages(w, &dense, unit, n_token, &ignored, &no_bound);
    for (int32_t r = 0; r < w->n_row; r++) {
        float *full = w->full + r * dim;
        const float *got = out + r * dim;
        finish_row(full, w->o + r * dim, w->l[r], dim);
        const double size = distance(full, NULL, dim), error = distance(full, got, dim);
        if (error != 0.0) /* fmaxf drops NaN */
            worst = fmaxf(worst, isnan(error) ? INFINITY : (float)(error / size));
        /* The bound is on exact arithmetic: leave room for the rounding of two f32 sums. NaN is a violation. */
        broken |= !(error <= (double)bound * distance(got, NULL, dim) * 1.0001 + 1e-4 * size);
        left = fmax(left, 1.0 - exp((double)weight[2 * r] - (double)w->m[r]) * (double)weight[2 * r + 1] /
                                    (double)w->l[r]);
    }
    stats->audits++;
    stats->audit_violations += bounded && broken;
    stats->audit_error_max = fmaxf(stats->audit_error_max, worst);
    stats->audit_error_sum += (double)worst;
    stats->audit_left_sum += left;
    stats->audit_error[bin_of((double)worst)]++;
    stats->audit_bound[bin_of((double)(bounded ? bound : estimate))]++;
}

/* The rules of this (layer, head): sets w->value, returns the page rule. */
static const terse_rule *choose_rules(terse_walk *w, int32_t layer, int32_t head)
{
    const terse_attend *a = w->attend;
    w->value = &a->value;
    if (!a->scale)
        return &a->page;
    w->scaled[0] = terse_attend_scaled(a, &a->page, layer, head);
    w->scaled[1] = terse_attend_scaled(a, &a->value, layer, head);
    w->value = &w->scaled[1];
    return &w->scaled[0];
}

void terse_walk_decode(terse_walk *w, int32_t layer, int32_t head, int32_t n_token, float scale, const float *q,
                       float *out, terse_attend_stats *stats)
{
    static const terse_rule none = { .stop = &terse_stop_none };
    const terse_kv *kv = w->kv;
    const terse_attend *a = w->attend;
    const size_t unit = terse_kv_unit(kv, layer, head);
    const terse_rule *page = choose_rules(w, layer, head);
    const bool all = n_token < a->from;
    const course c =
        all ? (course){ &none, TERSE_ORDER_NEWEST, false } : (course){ page, a->order, a->value.stop != NULL };
    const int32_t n = terse_kv_pages_of(n_token);
    float bound = 0.0f, weight[512];
    terse_query_prepare(kv->type_k, w->query, q, w->n_row, kv->opts.dim_k, scale);
    memset(w->unread, 0, 2 * (size_t)w->n_row * sizeof *w->unread);
    memset(w->alone, 0, (size_t)w->n_row * sizeof *w->alone);
    if (c.rule->stop->begin)
        c.rule->stop->begin(w->state, c.rule->param, w->n_row, kv->opts.dim_v);
    const int32_t scored = walk_pages(w, &c, unit, n_token, stats, &bound);
    for (int32_t r = 0; r < w->n_row; r++)
        stats->pages_alone += (double)(w->alone[r] ? w->alone[r] : scored) / w->n_row;
    if (c.order == TERSE_ORDER_BOX) /* a bound of the weight, not an estimate of it */
        memset(w->unread, 0, 2 * (size_t)w->n_row * sizeof *w->unread);
    const int32_t read = c.apart ? terse_walk_values(w, unit, scored, n_token, stats, &bound) : scored;
    const float *left = c.apart ? w->left + read * 2 * w->n_row : NULL;
    const float estimate = finish(w, unit, left, out);
    if (estimate > 0.0f && !c.apart) /* terse_walk_values counts its own */
        stats->bytes_summary += (int64_t)sizeof(float) * kv->opts.dim_v;
    stats->left_max = fmaxf(stats->left_max, estimate);
    stats->left_sum += (double)estimate;
    if (a->audit && stats->walks % a->audit == 0) {
        for (int32_t r = 0; r < w->n_row; r++) {
            weight[2 * r] = w->m[r];
            weight[2 * r + 1] = w->l[r] - (left ? left[r] : 0.0f);
        }
        audit(w, unit, n_token, out, bound, estimate, weight, stats);
    }
    stats->walks++;
    stats->pages_listed += n;
    stats->pages_scored += scored;
    stats->pages_read += read;
    stats->stops += scored < n || read < scored;
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
    const int32_t n_page = terse_kv_pages_of(pos + n);
    terse_walk_plan(w, TERSE_ORDER_NEWEST, 0, n_page);
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
