/* attend/walk_open.c: the working memory of a walk. */
#include "attend/policy.h"
#include "attend/walk.h"

#include "base/memory.h"

/* Lays the arrays out in one mapping, or just adds up their sizes while base is NULL. */
static size_t lay_out(terse_walk *w, char *base)
{
    const terse_kv *kv = w->kv;
    const terse_attend *a = w->attend;
    const size_t rows = (size_t)w->max_row, row = (size_t)w->n_row, cap = (size_t)w->cap, one = sizeof(float);
    const size_t dim_k = (size_t)kv->opts.dim_k, dim_v = (size_t)kv->opts.dim_v;
    const bool rank = terse_order_weighs(a->order) || terse_order_weighs(a->select),
               apart = a->value.stop != NULL;
    const size_t parts = w->split.most > 1 ? 1 + (size_t)w->split.most : 1;
    const size_t state = a->page.stop->state_size ? a->page.stop->state_size(w->n_row, kv->opts.dim_v) : 0;
    size_t at = 0;
    w->part = terse_place(base, &at, parts * sizeof *w->part);
    for (size_t i = 0; i < parts; i++) {
        const terse_part p = { .m = terse_place(base, &at, rows * one),
                               .l = terse_place(base, &at, rows * one),
                               .o = terse_place(base, &at, rows * dim_v * one),
                               .rel = terse_place(base, &at, row * one),
                               .rest = terse_place(base, &at, 2 * row * sizeof(double)),
                               .all = terse_place(base, &at, row * sizeof(double)),
                               .alone = terse_place(base, &at, row * sizeof(int32_t)),
                               .left = terse_place(base, &at, row * one) };
        if (base)
            w->part[i] = p;
    }
    w->query = terse_place(base, &at, rows * terse_query_size(kv->type_k, kv->opts.dim_k));
    const bool turns = terse_attend_turns(a);
    w->turned = terse_place(base, &at, turns ? rows * terse_query_size(kv->type_k, kv->opts.dim_k) : 0);
    w->turned = turns ? w->turned : NULL;
    w->turning = terse_place(base, &at, turns ? row * dim_k * one : 0);
    w->s = terse_place(base, &at, rows * TERSE_PAGE * one);
    w->keep = terse_place(base, &at, rows * one);
    w->z = terse_place(base, &at, rows * one);
    w->n = terse_place(base, &at, rows * sizeof *w->n);
    w->list = terse_place(base, &at, cap * sizeof *w->list);
    w->other = terse_place(base, &at, rank ? cap * sizeof *w->other : 0);
    w->gather = terse_place(base, &at, rank ? cap * one : 0);
    w->full = terse_place(base, &at, row * dim_v * one);
    w->state = terse_place(base, &at, state);
    for (int i = 0; i < 3; i++)
        w->score[i] =
            terse_place(base, &at, terse_attend_marks(a) ? (i < 2 ? (size_t)kv->opts.ctx : rows) * one : 0);
    w->done = terse_place(base, &at, row * sizeof *w->done);
    w->stride = terse_align_up(cap, TERSE_TILE);
    w->moments_query = terse_place(base, &at, rank ? row * terse_moments_query_size(kv->opts.dim_k) : 0);
    w->x = terse_place(base, &at, rank ? row * dim_k * one : 0);
    w->mean = terse_place(base, &at, rank ? row * w->stride * one : 0);
    w->variance = terse_place(base, &at, rank ? row * w->stride * one : 0);
    w->fair = terse_place(base, &at, rank ? row * w->stride * one : 0);
    w->high = terse_place(base, &at, rank ? row * w->stride * one : 0);
    w->prior = terse_place(base, &at, rank ? w->stride * one : 0);
    w->behind = terse_place(base, &at, rank ? (cap + 1) * row * one : 0);
    w->unread = terse_place(base, &at, 2 * row * one);
    w->sum = terse_place(base, &at, row * one);
    w->weights = terse_place(base, &at, apart ? (cap + TERSE_WAITING) * row * TERSE_PAGE * one : 0);
    w->top = terse_place(base, &at, apart ? cap * row * one : 0);
    w->tokens = terse_place(base, &at, apart ? cap * sizeof *w->tokens : 0);
    w->fresh = terse_place(base, &at, apart ? cap * sizeof *w->fresh : 0);
    w->some = terse_place(base, &at, apart ? cap * sizeof *w->some : 0);
    w->left = terse_place(base, &at, apart ? row * one : 0);
    w->sift.keep = terse_place(base, &at, apart ? row * one : 0);
    w->lane = terse_place(base, &at, apart ? row * 16 * one : 0);
    const size_t graded = a->key.stop ? 1 : 0,
                 pieces = graded * dim_k / (size_t)terse_page_channels(kv->type_k);
    terse_grade *g = &w->grade;
    g->at = terse_place(base, &at, TERSE_LEVELS * pieces * sizeof *g->at + 64 * graded);
    g->rest = terse_place(base, &at, graded * TERSE_LEVELS * row * one);
    g->share = terse_place(base, &at, row * pieces * one);
    g->query =
        terse_place(base, &at, graded * TERSE_LEVELS * row * terse_query_size(kv->type_k, kv->opts.dim_k));
    g->of = terse_place(base, &at, graded * w->stride * sizeof *g->of);
    w->was = terse_place(base, &at, graded * 4 * row * one);
    w->radius = terse_place(base, &at, rank ? (cap + 1) * one : 0);
    const size_t sorted = cap > pieces ? cap : pieces;
    w->sort_key = terse_place(base, &at, rank ? sorted * sizeof *w->sort_key : 0);
    return at;
}

terse_status terse_walk_open(terse_walk **out, const terse_kv *kv, const terse_attend *a, int32_t n_row,
                             uint32_t cpu, terse_error *err)
{
    return terse_walk_open_split(out, kv, a, n_row, 1, cpu, err);
}

terse_status terse_walk_open_split(terse_walk **out, const terse_kv *kv, const terse_attend *a, int32_t n_row,
                                   int32_t n_strand, uint32_t cpu, terse_error *err)
{
    return terse_walk_open_for(out, kv, a, n_row, (terse_split){ .most = n_strand }, 0, cpu, err);
}

terse_status terse_walk_open_for(terse_walk **out, const terse_kv *kv, const terse_attend *a, int32_t n_row,
                                 terse_split split, int32_t cap, uint32_t cpu, terse_error *err)
{
    *out = NULL;
    if (n_row < 1 || n_row > TERSE_MAX_GROUP)
        return terse_fail(err, TERSE_UNSUPPORTED, "%d query heads per KV head: 1 to %d are supported", n_row,
                          TERSE_MAX_GROUP);
    if (split.most < 1 || split.most > TERSE_MAX_STRANDS)
        return terse_fail(err, TERSE_UNSUPPORTED, "%d strands per KV head: 1 to %d are supported", split.most,
                          TERSE_MAX_STRANDS);
    if (a->scale && (a->n_layer != kv->opts.n_layer || a->n_head != kv->opts.n_head))
        return terse_fail(err, TERSE_BAD_INPUT,
                          "the profile is of %d layers with %d KV heads, the model has %d with %d", a->n_layer,
                          a->n_head, kv->opts.n_layer, kv->opts.n_head);
    if (a->layer && a->n_shaped != kv->opts.n_layer)
        return terse_fail(err, TERSE_BAD_INPUT, "caps and sinks of %d layers, the store has %d", a->n_shaped,
                          kv->opts.n_layer);
    if (terse_attend_turns(a) && !a->layer)
        return terse_fail(err, TERSE_BAD_INPUT, "KV policy %s must know how keys turn (terse_attend_layers)",
                          a->policy_text);
    terse_walk *w = terse_calloc64(1, sizeof *w);
    if (!w)
        return terse_fail(err, TERSE_NOMEM, "no memory for attention");
    terse_kernels kernels;
    terse_kernels_for(&kernels, cpu ? cpu : terse_cpu_tiers());
    w->kv = kv;
    w->attend = a;
    w->kernels = kernels.attn;
    w->softcap = kernels.vec.softcap;
    w->axpy = kernels.vec.axpy;
    w->rope[0] = kernels.vec.rope_pairs;
    w->rope[1] = kernels.vec.rope_halves;
    w->summary = kernels.summary;
    w->n_row = n_row;
    w->split = split;
    w->cap = terse_policy_cap(a, kv);
    w->cap = w->cap > cap ? w->cap : cap;
    w->max_row = n_row * TERSE_PAGE;
    w->map_size = terse_align_up(lay_out(w, NULL), (size_t)2 << 20);
    w->map = terse_pages_map(w->map_size);
    if (!w->map) {
        terse_walk_close(&w);
        return terse_fail(err, TERSE_NOMEM, "no memory for attention over %d tokens: use a smaller context",
                          kv->opts.ctx);
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
