/* kv/store.c: page tables, and tokens in their pages. */
#include "kv/store.h"

#include "base/memory.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)TERSE_KV_PAGE == (int)TERSE_PAGE, "the public page size is the kernels' page size");
_Static_assert((int)TERSE_KV_DIM == (int)TERSE_PAGE_DIM, "and so is the most of channels");

static const char *const type_names[] = { "f16", "f32", "f16", "q8", "bf16", "q4" };

terse_status terse_kv_type_parse(const char *name, terse_kv_type *type, terse_error *err)
{
    for (int i = TERSE_KV_F32; i <= TERSE_KV_Q4; i++)
        if (!strcmp(name, type_names[i])) {
            *type = (terse_kv_type)i;
            return TERSE_OK;
        }
    if (!strcmp(name, "q8_0") || !strcmp(name, "q4_0")) {
        *type = name[1] == '8' ? TERSE_KV_Q8 : TERSE_KV_Q4;
        return TERSE_OK;
    }
    return terse_fail(err, TERSE_BAD_INPUT, "KV type '%s' is unknown: use f32, f16, bf16, q8 or q4", name);
}

const char *terse_kv_type_name(terse_kv_type type)
{
    return type_names[type];
}

int32_t terse_kv_dim(terse_kv_type type, int32_t n)
{
    const int32_t unit = terse_page_coded(terse_kv_page_type(type)) ? TERSE_KV_BLOCK : TERSE_KV_BLOCK / 2;
    return (n + unit - 1) / unit * unit;
}

/* Most layers, heads and tokens: no product below can overflow. */
enum { MAX_UNITS = 1 << 16, MAX_CTX = 1 << 30 };
enum { BACK = 256 }; /* tokens that can be taken back, by default */

static terse_status check(const terse_kv_opts *o, terse_error *err)
{
    for (int32_t l = 0; o->span && l < o->n_layer; l++)
        if (o->span[l] < 0)
            return terse_fail(err, TERSE_BAD_INPUT, "layer %d sees %d tokens: 0 (all) or more are possible", l,
                              o->span[l]);
    if (o->n_layer < 1 || o->n_layer > MAX_UNITS || o->n_head < 1 || o->n_head > MAX_UNITS || o->ctx < 1 ||
        o->ctx > MAX_CTX)
        return terse_fail(err, TERSE_BAD_INPUT,
                          "KV store of %d layers, %d heads and %d tokens: 1 to %d, %d and %d are possible",
                          o->n_layer, o->n_head, o->ctx, MAX_UNITS, MAX_UNITS, MAX_CTX);
    const terse_kv_opts *b = o->beside ? &o->beside->opts : o;
    if (o->dim_k != b->dim_k || o->dim_v != b->dim_v || o->type_k != b->type_k || o->type_v != b->type_v)
        return terse_fail(err, TERSE_BAD_INPUT,
                          "KV stores of other channels or types cannot share their memory");
    if (!terse_page_dim_ok(terse_kv_page_type(o->type_k), o->dim_k))
        return terse_fail(err, TERSE_UNSUPPORTED, "keys of %d channels cannot be stored as %s", o->dim_k,
                          terse_kv_type_name(o->type_k));
    if (!terse_page_dim_ok(terse_kv_page_type(o->type_v), o->dim_v))
        return terse_fail(err, TERSE_UNSUPPORTED, "values of %d channels cannot be stored as %s", o->dim_v,
                          terse_kv_type_name(o->type_v));
    return TERSE_OK;
}

/* Nothing to copy where no layer has a span. */
static bool copy_spans(terse_kv *kv, const terse_kv_opts *opts)
{
    bool any = false;
    for (int32_t l = 0; opts->span && l < opts->n_layer; l++)
        any |= opts->span[l] > 0;
    if (!any)
        return true;
    int32_t *span = calloc((size_t)opts->n_layer, sizeof *span);
    kv->opts.span = span;
    kv->n_gone = calloc((size_t)opts->n_layer, sizeof *kv->n_gone);
    if (!span || !kv->n_gone)
        return false;
    memcpy(span, opts->span, (size_t)opts->n_layer * sizeof *span);
    return true;
}

/* The pool that pages come from, with room for n of them. */
static terse_status join_pool(terse_kv *kv, const terse_kv *beside, int64_t n)
{
    terse_pool *p = beside ? beside->pool : NULL;
    terse_status st = TERSE_OK;
    if (!p && (st = terse_pool_open(&p, kv->block_k + kv->block_v, kv->opts.limit, NULL)) != TERSE_OK)
        return st;
    terse_pool_join(p, kv);
    if ((st = terse_pool_room(p, n, NULL)) == TERSE_OK)
        kv->n_place = n;
    return st;
}

terse_status terse_kv_open(terse_kv **out, const terse_kv_opts *opts, terse_error *err)
{
    *out = NULL;
    const terse_status st = check(opts, err);
    if (st != TERSE_OK)
        return st;
    terse_kv *kv = terse_calloc64(1, sizeof *kv);
    if (!kv)
        return terse_fail(err, TERSE_NOMEM, "no memory for a KV store");
    kv->opts = *opts;
    kv->opts.span = NULL;
    kv->opts.beside = NULL;
    kv->opts.back = opts->back > 0 ? opts->back : BACK;
    kv->type_k = terse_kv_page_type(opts->type_k);
    kv->type_v = terse_kv_page_type(opts->type_v);
    kv->block_k = terse_page_block_size(kv->type_k, opts->dim_k);
    kv->block_v = terse_page_block_size(kv->type_v, opts->dim_v);
    kv->cap = terse_kv_pages_of(opts->ctx);
    kv->step = opts->ctx;

    const size_t unit = (size_t)opts->n_layer * (size_t)opts->n_head, all = unit * (size_t)kv->cap;
    if (all > INT32_MAX / 2 || join_pool(kv, opts->beside, (int64_t)all) != TERSE_OK)
        goto fail;
    /* Plain calloc: the pages of a large context's tables are committed as they are used. */
    kv->table = calloc(all, sizeof *kv->table);
    kv->radius = calloc(all, sizeof *kv->radius);
    kv->center = terse_calloc64(unit * (size_t)opts->dim_v, sizeof *kv->center);
    if (!kv->table || !kv->radius || !kv->center || !copy_spans(kv, opts))
        goto fail;
    *out = kv;
    return TERSE_OK;
fail:
    terse_kv_close(&kv);
    return terse_fail(err, TERSE_NOMEM, "no memory for the page tables of %d tokens: use a smaller context",
                      opts->ctx);
}

void terse_kv_close(terse_kv **p)
{
    terse_kv *kv = p ? *p : NULL;
    if (!kv)
        return;
    if (kv->pool && (kv->pool->store != kv || kv->next))
        terse_kv_truncate(kv, 0);
    terse_pool_leave(kv);
    free(kv->table);
    free(kv->radius);
    free(kv->center);
    free((void *)kv->opts.span);
    free(kv->n_gone);
    terse_kv_summary_close(kv);
    terse_kv_ragged_close(kv);
    free(kv);
    *p = NULL;
}

int32_t terse_kv_count(const terse_kv *kv)
{
    return kv->n_token;
}

size_t terse_kv_bytes(const terse_kv *kv)
{
    return (size_t)kv->pool->n_slab * kv->pool->slab_size;
}

size_t terse_kv_token_bytes(const terse_kv *kv)
{
    return kv->pool->page_size / TERSE_PAGE * (size_t)kv->opts.n_layer * (size_t)kv->opts.n_head;
}

terse_status terse_kv_reserve(terse_kv *kv, int32_t n, terse_error *err)
{
    if (n < 0 || n > kv->opts.ctx - kv->n_token)
        return terse_fail(err, TERSE_BAD_INPUT, "%d tokens do not fit behind %d in a context of %d", n,
                          kv->n_token, kv->opts.ctx);
    if (kv->n_ring)
        return terse_kv_ragged_reserve(kv, n, err);
    const int32_t unit = kv->opts.n_layer * kv->opts.n_head;
    const int32_t n_page = terse_kv_pages_of(kv->n_token + n);
    const bool partial = kv->n_token % TERSE_PAGE && kv->pool->n_extra > 0;
    const terse_status st =
        terse_kv_promise(kv, (int64_t)(n_page - kv->n_page) * unit, partial ? unit : 0, err);
    if (st != TERSE_OK)
        return st;
    for (; kv->n_page < n_page; kv->n_page++)
        for (int32_t u = 0; u < unit; u++) {
            const size_t i = (size_t)u * (size_t)kv->cap + (size_t)kv->n_page;
            kv->table[i] = terse_kv_take(kv);
            kv->radius[i] = 0.0f;
        }
    return TERSE_OK;
}

/* At least |v - c| of token t of a V block as the kernels will see it: a bound is built on it. The sum of up to
 * 576 squares is short by at most 579 roundings, its root by half of that and one: 1.8e-5; squares that
 * underflow hide less than 1e-21. Infinite if v is not finite or the sum overflows. */
static float radius_of(const terse_kv *kv, const void *block, int32_t t, const float *c)
{
    float v[TERSE_PAGE_DIM], sum = 0.0f;
    terse_page_get_v(kv->type_v, block, t, v, kv->opts.dim_v);
    for (int32_t d = 0; d < kv->opts.dim_v; d++)
        sum += (v[d] - c[d]) * (v[d] - c[d]);
    const float r = sqrtf(sum) * 1.00002f + 1e-21f;
    return r <= FLT_MAX ? r : INFINITY; /* NaN would lose every comparison */
}

float terse_kv_radius(const terse_kv *kv, size_t u, const char *page, int32_t t)
{
    return radius_of(kv, page + kv->block_k, t, kv->center + u * (size_t)kv->opts.dim_v);
}

void terse_kv_put(terse_kv *kv, int32_t layer, int32_t head, int32_t pos, const float *k, const float *v)
{
    const size_t u = terse_kv_unit(kv, layer, head), i = u * (size_t)kv->cap + (size_t)(pos / TERSE_PAGE);
    if (kv->n_ring) {
        terse_kv_ragged_put(kv, u, pos, k, v);
        return;
    }
    terse_kv_own(kv, &kv->table[i]);
    char *page = terse_kv_block(kv, kv->table[i]);
    const int32_t t = pos % TERSE_PAGE;
    terse_page_put_k(kv->type_k, page, t, k, kv->opts.dim_k);
    terse_page_put_v(kv->type_v, page + kv->block_k, t, v, kv->opts.dim_v);
    kv->radius[i] = fmaxf(kv->radius[i], terse_kv_radius(kv, u, page, t));
    if (kv->n_summary && t == TERSE_PAGE - 1)
        terse_kv_summary_update(kv, u, pos + 1);
}

/* First token of layer l that the one at position pos sees. */
static int32_t first_seen(const terse_kv *kv, int32_t l, int32_t pos)
{
    const int32_t span = kv->opts.span[l];
    return span && span <= pos ? pos + 1 - span : 0;
}

/* Gives the pages behind all spans back. */
static void leave_behind(terse_kv *kv)
{
    const int32_t heads = kv->opts.n_head, back = kv->opts.back;
    for (int32_t l = 0; kv->n_gone && l < kv->opts.n_layer; l++) {
        const int32_t held = kv->n_token > back ? first_seen(kv, l, kv->n_token - back) : 0;
        for (int32_t *p = &kv->n_gone[l]; *p < held / TERSE_PAGE; ++*p)
            for (int32_t h = 0; h < heads; h++)
                terse_kv_give(kv, terse_kv_table(kv, l, h)[*p]);
    }
}

void terse_kv_commit(terse_kv *kv, int32_t n)
{
    kv->n_token += n;
    terse_kv_release(kv);
    leave_behind(kv);
    if (kv->n_ring)
        terse_kv_settle(kv);
}

void terse_kv_measure(terse_kv *kv, size_t u, int32_t place, int32_t fill)
{
    const size_t i = u * (size_t)kv->cap + (size_t)place;
    const char *page = terse_kv_block(kv, kv->table[i]);
    kv->radius[i] = 0.0f;
    for (int32_t t = 0; t < fill; t++)
        kv->radius[i] = fmaxf(kv->radius[i], terse_kv_radius(kv, u, page, t));
}

/* Does every layer hold what the token at position n would see? */
static bool can_go_back(const terse_kv *kv, int32_t n)
{
    for (int32_t l = 0; kv->n_gone && l < kv->opts.n_layer; l++)
        if (n && first_seen(kv, l, n) < kv->n_gone[l] * TERSE_PAGE)
            return false;
    return true;
}

bool terse_kv_truncate(terse_kv *kv, int32_t n)
{
    n = n < kv->n_token ? n : kv->n_token;
    if (!can_go_back(kv, n))
        return false;
    if (kv->n_ring)
        return terse_kv_ragged_truncate(kv, n);
    const int32_t unit = kv->opts.n_layer * kv->opts.n_head, heads = kv->opts.n_head;
    terse_kv_release(kv);
    kv->n_token = n;
    terse_kv_summary_forget(kv, n / TERSE_PAGE);
    while (kv->n_page > terse_kv_pages_of(n)) {
        kv->n_page--;
        for (int32_t u = 0; u < unit; u++)
            if (!kv->n_gone || kv->n_page >= kv->n_gone[u / heads])
                terse_kv_give(kv, kv->table[(size_t)u * (size_t)kv->cap + (size_t)kv->n_page]);
    }
    for (int32_t l = 0; kv->n_gone && n == 0 && l < kv->opts.n_layer; l++)
        kv->n_gone[l] = 0;
    const int32_t rest = n % TERSE_PAGE;
    for (int32_t u = 0; u < unit && rest; u++)
        terse_kv_measure(kv, (size_t)u, kv->n_page - 1, rest);
    return true;
}

terse_status terse_kv_repeat(terse_kv *kv, int32_t n, terse_error *err)
{
    const int32_t full = kv->n_token / TERSE_PAGE, unit = kv->opts.n_layer * kv->opts.n_head;
    if (kv->n_ring || kv->n_gone)
        return terse_fail(err, TERSE_BAD_INPUT, "pages of a store that drops tokens cannot be repeated");
    if (full == 0 || n < kv->n_token)
        return terse_fail(err, TERSE_BAD_INPUT, "%d tokens cannot be repeated to make %d: pages have %d",
                          kv->n_token, n, TERSE_PAGE);
    terse_kv_truncate(kv, full * TERSE_PAGE);
    const terse_status st = terse_kv_reserve(kv, n - kv->n_token, err);
    if (st != TERSE_OK)
        return st;
    for (int32_t u = 0; u < unit; u++) {
        const size_t row = (size_t)u * (size_t)kv->cap;
        for (int32_t p = full; p < kv->n_page; p++) {
            const size_t to = row + (size_t)p, from = row + (size_t)(p % full);
            memcpy(terse_kv_block(kv, kv->table[to]), terse_kv_block(kv, kv->table[from]), kv->pool->page_size);
            kv->radius[to] = kv->radius[from];
        }
    }
    terse_kv_commit(kv, n - kv->n_token);
    return TERSE_OK;
}

void terse_kv_center_unit(terse_kv *kv, size_t u)
{
    const int32_t dim = kv->opts.dim_v, *table = kv->table + u * (size_t)kv->cap;
    const terse_kv_view view = terse_kv_view_at(kv, u, kv->n_token - 1);
    float *c = kv->center + u * (size_t)dim, v[TERSE_PAGE_DIM];
    double sum[TERSE_PAGE_DIM] = { 0.0 };
    int32_t first, fill, n = 0;
    for (int32_t a = 0; a < view.n_page; a++) {
        const int32_t place = terse_kv_place(kv, &view, a);
        const char *page = terse_kv_block(kv, table[place]);
        fill = terse_kv_fill(kv, &view, place, &first);
        for (int32_t t = first; t < fill; t++, n++) {
            terse_page_get_v(kv->type_v, page + kv->block_k, t, v, dim);
            for (int32_t d = 0; d < dim; d++)
                sum[d] += (double)v[d];
        }
    }
    for (int32_t d = 0; d < dim; d++) {
        const float mean = (float)(sum[d] / n);
        c[d] = isfinite(mean) ? mean : 0.0f; /* any c will do, if it is finite */
    }
    for (int32_t a = 0; a < view.n_page; a++) {
        const int32_t place = terse_kv_place(kv, &view, a);
        terse_kv_measure(kv, u, place, terse_kv_fill(kv, &view, place, &first));
    }
}

void terse_kv_center(terse_kv *kv)
{
    const size_t unit = (size_t)kv->opts.n_layer * (size_t)kv->opts.n_head;
    for (size_t u = 0; u < unit; u++)
        terse_kv_center_unit(kv, u);
}
