/* kv/ragged.c: stores that drop tokens, every (layer, head) others.
 *
 * The newest tokens are in recent pages, in position order. A token that leaves the window may be admitted:
 * copied behind the last slot of the long-term pages; else it is gone when its recent page is given back.
 * Recent pages stay a little longer than the window needs, so that a few tokens can be taken back exactly. */
#include "kv/store.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BACK = TERSE_KV_BACK };

static size_t units(const terse_kv *kv)
{
    return (size_t)kv->opts.n_layer * (size_t)kv->opts.n_head;
}

static int32_t *place_of(terse_kv *kv, size_t u, int32_t place)
{
    return &kv->table[u * (size_t)kv->cap + (size_t)place];
}

static char *page_in(const terse_kv *kv, size_t u, int32_t place)
{
    return terse_kv_block(kv, kv->table[u * (size_t)kv->cap + (size_t)place]);
}

static int32_t larger(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

/* First block that recent pages hold; the last is n_block - 1. */
static int32_t first_block(const terse_kv *kv)
{
    return kv->recent / TERSE_PAGE;
}

/* ---- tables ---- */

typedef struct {
    int32_t n_ring, cap;
    int32_t *table, *n_long, *n_long_page, *pos, *ring_summary;
    float *radius;
} places;

static void free_places(places *p)
{
    free(p->table);
    free(p->radius);
    free(p->n_long);
    free(p->n_long_page);
    free(p->pos);
    free(p->ring_summary);
}

/* Tables with n_ring recent places, and room for as many pages. n_ring 0: those of a store that drops nothing.
 */
static terse_status open_places(places *p, terse_kv *kv, int32_t n_ring, terse_error *err)
{
    const size_t unit = units(kv), n_long = (size_t)terse_kv_pages_of(kv->opts.ctx);
    const size_t cap = n_long + (size_t)n_ring, all = unit * cap;
    *p = (places){ .n_ring = n_ring, .cap = (int32_t)cap };
    if (all > INT32_MAX / 2)
        return terse_fail(err, TERSE_NOMEM, "page tables of %d tokens are too large: use a smaller context",
                          kv->opts.ctx);
    if ((int64_t)all > kv->n_place) {
        const terse_status st = terse_pool_room(kv->pool, (int64_t)all - kv->n_place, err);
        if (st != TERSE_OK)
            return st;
        kv->n_place = (int64_t)all;
    }
    p->table = calloc(all, sizeof *p->table);
    p->radius = calloc(all, sizeof *p->radius);
    p->n_long = calloc(unit, sizeof *p->n_long);
    p->n_long_page = calloc(unit, sizeof *p->n_long_page);
    p->ring_summary = calloc(unit, sizeof *p->ring_summary);
    p->pos = n_ring ? calloc(unit * n_long * TERSE_PAGE, sizeof *p->pos) : NULL;
    if (p->table && p->radius && p->n_long && p->n_long_page && p->ring_summary && (p->pos || !n_ring))
        return TERSE_OK;
    free_places(p);
    return terse_fail(err, TERSE_NOMEM, "no memory for page tables: use a smaller context");
}

static void install(terse_kv *kv, const places *p)
{
    places old = { .table = kv->table,
                   .radius = kv->radius,
                   .n_long = kv->n_long,
                   .n_long_page = kv->n_long_page,
                   .pos = kv->pos,
                   .ring_summary = kv->ring_summary };
    free_places(&old);
    kv->table = p->table;
    kv->radius = p->radius;
    kv->n_long = p->n_long;
    kv->n_long_page = p->n_long_page;
    kv->pos = p->pos;
    kv->ring_summary = p->ring_summary;
    kv->n_ring = p->n_ring;
    kv->cap = p->cap;
}

/* Moves a page with its radius to the new tables. */
static void carry(places *to, int32_t to_place, const terse_kv *kv, size_t u, int32_t place)
{
    const size_t i = u * (size_t)to->cap + (size_t)to_place, k = u * (size_t)kv->cap + (size_t)place;
    to->table[i] = kv->table[k];
    to->radius[i] = kv->radius[k];
}

/* ---- one token ---- */

static void move_token(terse_kv *kv, char *to, int32_t to_t, const char *from, int32_t t)
{
    terse_page_move_k(kv->type_k, to, to_t, from, t, kv->opts.dim_k);
    terse_page_move_v(kv->type_v, to + kv->block_k, to_t, from + kv->block_k, t, kv->opts.dim_v);
}

/* The token is now in a slot: its page's radius covers it. */
static void take_in(terse_kv *kv, size_t u, int32_t slot, int32_t pos, const char *from, int32_t t)
{
    const int32_t place = kv->n_ring + slot / TERSE_PAGE;
    terse_kv_own(kv, place_of(kv, u, place));
    char *page = page_in(kv, u, place);
    float *radius = &kv->radius[u * (size_t)kv->cap + (size_t)place];
    move_token(kv, page, slot % TERSE_PAGE, from, t);
    *radius = fmaxf(*radius, terse_kv_radius(kv, u, page, slot % TERSE_PAGE));
    kv->pos[u * (size_t)(kv->cap - kv->n_ring) * TERSE_PAGE + (size_t)slot] = pos;
}

void terse_kv_admit(terse_kv *kv, size_t u, int32_t j)
{
    const int32_t slot = kv->n_long[u]++;
    if (slot % TERSE_PAGE == 0)
        kv->radius[u * (size_t)kv->cap + (size_t)(kv->n_ring + slot / TERSE_PAGE)] = 0.0f;
    take_in(kv, u, slot, j, page_in(kv, u, j / TERSE_PAGE % kv->n_ring), j % TERSE_PAGE);
    if (kv->n_summary && slot % TERSE_PAGE == TERSE_PAGE - 1)
        terse_kv_summary_update(kv, u, slot + 1);
}

void terse_kv_drop(terse_kv *kv, size_t u, int32_t slot)
{
    const int32_t last = --kv->n_long[u], full = last / TERSE_PAGE;
    if (slot != last)
        take_in(kv, u, slot, terse_kv_positions(kv, u)[last], page_in(kv, u, kv->n_ring + last / TERSE_PAGE),
                last % TERSE_PAGE);
    if (!kv->n_summary)
        return;
    kv->n_summary[u] = kv->n_summary[u] < full ? kv->n_summary[u] : full;
    if (slot / TERSE_PAGE < kv->n_summary[u])
        terse_kv_summary_again(kv, u, kv->n_ring + slot / TERSE_PAGE);
}

void terse_kv_filter(terse_kv *kv, size_t u, bool (*keeps)(void *ctx, int32_t slot, int32_t pos), void *ctx)
{
    const int32_t *pos = terse_kv_positions(kv, u), before = kv->n_long[u];
    int32_t n = 0, same = before;
    for (int32_t s = 0; s < before; s++) {
        if (!keeps(ctx, s, pos[s])) {
            same = n < same ? n : same;
            continue;
        }
        if (n != s)
            take_in(kv, u, n, pos[s], page_in(kv, u, kv->n_ring + s / TERSE_PAGE), s % TERSE_PAGE);
        n++;
    }
    kv->n_long[u] = n;
    for (int32_t p = same / TERSE_PAGE; p < terse_kv_pages_of(n); p++) {
        const int32_t left = n - p * TERSE_PAGE;
        terse_kv_measure(kv, u, kv->n_ring + p, left < TERSE_PAGE ? left : TERSE_PAGE);
    }
    if (kv->n_summary && kv->n_summary[u] > same / TERSE_PAGE)
        kv->n_summary[u] = same / TERSE_PAGE;
}

terse_status terse_kv_marks_open(terse_kv *kv, terse_error *err)
{
    /* Plain calloc: committed as it is used. */
    kv->mark = kv->mark ? kv->mark : calloc(units(kv) * (size_t)kv->opts.ctx, sizeof *kv->mark);
    return kv->mark ? TERSE_OK
                    : terse_fail(err, TERSE_NOMEM, "no memory for what a KV policy knows of %d tokens",
                                 kv->opts.ctx);
}

void terse_kv_marks_clear(terse_kv *kv)
{
    for (size_t u = 0; kv->mark && u < units(kv); u++)
        memset(terse_kv_mark(kv, u, 0), 0, (size_t)kv->n_token * sizeof *kv->mark);
}

void terse_kv_ragged_put(terse_kv *kv, size_t u, int32_t pos, const float *k, const float *v)
{
    const int32_t block = pos / TERSE_PAGE, place = block % kv->n_ring, t = pos % TERSE_PAGE;
    terse_kv_own(kv, place_of(kv, u, place));
    char *page = page_in(kv, u, place);
    float *radius = &kv->radius[u * (size_t)kv->cap + (size_t)place];
    terse_page_put_k(kv->type_k, page, t, k, kv->opts.dim_k);
    terse_page_put_v(kv->type_v, page + kv->block_k, t, v, kv->opts.dim_v);
    *radius = fmaxf(*radius, terse_kv_radius(kv, u, page, t));
    if (kv->n_summary && t == TERSE_PAGE - 1)
        terse_kv_summary_ring(kv, u, block + 1);
}

/* ---- pages ---- */

/* Pages for the blocks below n_block, and for n_more[u] (all alike) slots behind those in use. */
static terse_status make_room(terse_kv *kv, int32_t n_block, int32_t n_more, terse_error *err)
{
    const size_t unit = units(kv);
    int64_t need = (int64_t)(n_block - kv->n_block) * (int64_t)unit;
    for (size_t u = 0; u < unit; u++) {
        const int32_t more = terse_kv_pages_of(kv->n_long[u] + n_more) - kv->n_long_page[u];
        need += larger(more, 0);
    }
    const terse_status st = terse_kv_promise(kv, need, terse_kv_shared(kv), err);
    if (st != TERSE_OK)
        return st;
    for (size_t u = 0; u < unit; u++) {
        for (int32_t b = kv->n_block; b < n_block; b++) {
            *place_of(kv, u, b % kv->n_ring) = terse_kv_take(kv);
            kv->radius[u * (size_t)kv->cap + (size_t)(b % kv->n_ring)] = 0.0f;
        }
        for (int32_t *p = &kv->n_long_page[u]; *p < terse_kv_pages_of(kv->n_long[u] + n_more); ++*p)
            *place_of(kv, u, kv->n_ring + *p) = terse_kv_take(kv);
    }
    kv->n_block = larger(kv->n_block, n_block);
    return TERSE_OK;
}

terse_status terse_kv_ragged_reserve(terse_kv *kv, int32_t n, terse_error *err)
{
    if (n > kv->step)
        return terse_fail(err, TERSE_BAD_INPUT, "%d tokens at a time: the KV store was opened for %d", n,
                          kv->step);
    const int32_t end = kv->n_token + n, left = larger(kv->n_token - kv->window, kv->recent);
    return make_room(kv, larger(kv->n_block, terse_kv_pages_of(end)), larger(end - kv->window - left, 0), err);
}

static void free_block(terse_kv *kv, int32_t b)
{
    for (size_t u = 0; u < units(kv); u++)
        terse_kv_give(kv, *place_of(kv, u, b % kv->n_ring));
}

void terse_kv_settle(terse_kv *kv)
{
    const int32_t needed = larger(kv->n_token - kv->window - BACK, 0) / TERSE_PAGE;
    for (int32_t b = first_block(kv); b < needed && b < kv->n_block; b++)
        free_block(kv, b);
    kv->recent = larger(kv->recent, needed * TERSE_PAGE);
    for (size_t u = 0; u < units(kv); u++)
        while (kv->n_long_page[u] > terse_kv_pages_of(kv->n_long[u]))
            terse_kv_give(kv, *place_of(kv, u, kv->n_ring + --kv->n_long_page[u]));
    terse_kv_shrink(kv);
}

/* Slots whose token is in the window of the next one again, or is not in the sequence any more. */
static void take_back(terse_kv *kv)
{
    for (size_t u = 0; u < units(kv); u++)
        for (int32_t s = kv->n_long[u] - 1; s >= 0; s--) {
            const int32_t pos = terse_kv_positions(kv, u)[s];
            if (pos >= kv->n_token || (pos >= kv->recent && pos >= kv->n_token - kv->window))
                terse_kv_drop(kv, u, s);
        }
}

bool terse_kv_ragged_truncate(terse_kv *kv, int32_t n)
{
    const int32_t first = first_block(kv);
    if (n && terse_kv_promise(kv, 0, terse_kv_shared(kv), NULL) != TERSE_OK)
        return false; /* tokens that change places may need a page of their own */
    kv->n_token = n < kv->n_token ? n : kv->n_token;
    kv->recent = kv->recent < kv->n_token ? kv->recent : kv->n_token;
    const int32_t end = kv->recent < kv->n_token ? terse_kv_pages_of(kv->n_token) : first_block(kv);
    for (int32_t b = larger(first, end); b < kv->n_block; b++)
        free_block(kv, b);
    kv->n_block = kv->n_block < end ? kv->n_block : end;
    take_back(kv);
    const int32_t rest = kv->n_token % TERSE_PAGE, last = kv->n_token / TERSE_PAGE;
    for (size_t u = 0; u < units(kv); u++) {
        if (rest && last < kv->n_block)
            terse_kv_measure(kv, u, last % kv->n_ring, rest);
        kv->ring_summary[u] = kv->ring_summary[u] < last ? kv->ring_summary[u] : last;
    }
    terse_kv_release(kv);
    terse_kv_settle(kv);
    return true;
}

int64_t terse_kv_held(const terse_kv *kv)
{
    int64_t n = 0;
    for (size_t u = 0; u < units(kv); u++) {
        const terse_kv_view v = terse_kv_view_at(kv, u, kv->n_token - 1);
        n += v.n_long + v.to - v.from;
    }
    return n;
}

/* ---- from one kind of store to another ---- */

/* Tables of a store that has dropped nothing: the blocks of the window become recent pages as they are; of the
 * block that it begins in, the older tokens go to a page of their own. */
static terse_status split_dense(places *to, terse_kv *kv, int32_t window, terse_error *err)
{
    const int32_t first = larger(kv->n_token - window, 0), b0 = first / TERSE_PAGE, rest = first % TERSE_PAGE;
    const size_t n_pos = (size_t)(to->cap - to->n_ring) * TERSE_PAGE;
    const terse_status st = terse_kv_grow(kv, rest ? (int64_t)units(kv) : 0, err);
    if (st != TERSE_OK)
        return st;
    for (size_t u = 0; u < units(kv); u++) {
        for (int32_t p = 0; p < kv->n_page; p++)
            carry(to, p < b0 ? to->n_ring + p : p % to->n_ring, kv, u, p);
        if (rest) {
            const size_t i = u * (size_t)to->cap + (size_t)(to->n_ring + b0);
            to->table[i] = terse_kv_take(kv);
            to->radius[i] = to->radius[u * (size_t)to->cap + (size_t)(b0 % to->n_ring)];
            memcpy(terse_kv_block(kv, to->table[i]), page_in(kv, u, b0), kv->pool->page_size);
        }
        to->n_long[u] = first;
        to->n_long_page[u] = terse_kv_pages_of(first);
        for (int32_t s = 0; s < first; s++)
            to->pos[u * n_pos + (size_t)s] = s;
    }
    kv->recent = b0 * TERSE_PAGE;
    kv->n_block = kv->n_page;
    kv->n_page = 0;
    return TERSE_OK;
}

static void carry_ragged(places *to, const terse_kv *kv)
{
    const size_t n_pos = (size_t)(to->cap - to->n_ring) * TERSE_PAGE;
    for (size_t u = 0; u < units(kv); u++) {
        for (int32_t b = first_block(kv); b < kv->n_block; b++)
            carry(to, b % to->n_ring, kv, u, b % kv->n_ring);
        for (int32_t p = 0; p < kv->n_long_page[u]; p++)
            carry(to, to->n_ring + p, kv, u, kv->n_ring + p);
        to->n_long[u] = kv->n_long[u];
        to->n_long_page[u] = kv->n_long_page[u];
        memcpy(to->pos + u * n_pos, terse_kv_positions(kv, u), (size_t)kv->n_long[u] * sizeof *to->pos);
    }
}

/* The window of a store that drops tokens becomes larger or smaller. */
static terse_status move_window(terse_kv *kv, int32_t window, terse_error *err)
{
    const int32_t from = larger(kv->n_token - kv->window, kv->recent), to = kv->n_token - window;
    const terse_status st = make_room(kv, kv->n_block, larger(to - from, 0), err);
    if (st != TERSE_OK)
        return st;
    for (size_t u = 0; u < units(kv); u++)
        for (int32_t j = from; j < to; j++)
            terse_kv_admit(kv, u, j);
    kv->window = window;
    take_back(kv);
    return TERSE_OK;
}

int32_t terse_kv_ring_for(const terse_kv *kv, int32_t window)
{
    const int32_t held = kv->n_ring ? kv->n_block - first_block(kv) : 0, ctx = kv->opts.ctx;
    const int32_t need = ((window < ctx ? window : ctx) + BACK + kv->step) / TERSE_PAGE + 3;
    return larger(kv->n_ring, larger(need, held + kv->step / TERSE_PAGE + 2));
}

terse_status terse_kv_ragged(terse_kv *kv, int32_t window, terse_error *err)
{
    if (kv->opts.span)
        return terse_fail(err, TERSE_UNSUPPORTED,
                          "a policy that drops tokens, with a model of sliding windows: use a dense one");
    const int32_t ctx = kv->opts.ctx, most = window < ctx ? window : ctx;
    const int32_t n_ring = terse_kv_ring_for(kv, most);
    const bool dense = !kv->n_ring;
    terse_status st = TERSE_OK;
    if (kv->n_ring < n_ring) {
        places p;
        if ((st = open_places(&p, kv, n_ring, err)) != TERSE_OK)
            return st;
        st = terse_kv_summary_resize(kv, p.cap, err);
        if (st == TERSE_OK && dense)
            st = split_dense(&p, kv, most, err);
        if (st != TERSE_OK) {
            free_places(&p);
            return st;
        }
        if (!dense)
            carry_ragged(&p, kv);
        install(kv, &p);
        kv->window = dense ? most : kv->window;
    }
    return move_window(kv, most, err);
}

void terse_kv_ragged_close(terse_kv *kv)
{
    free(kv->n_long);
    free(kv->n_long_page);
    free(kv->pos);
    free(kv->ring_summary);
    free(kv->mark);
}

/* The same page, or another one in another pool. */
static void copy_page(terse_kv *to, int32_t *place, const terse_kv *from, int32_t id)
{
    if (to->pool == from->pool) {
        *place = id;
        terse_kv_share(to, id);
        return;
    }
    *place = terse_kv_take(to);
    memcpy(terse_kv_block(to, *place), terse_kv_block(from, id), to->pool->page_size);
}

/* Copies of the pages in use, into tables that are empty. */
static void copy_pages(terse_kv *to, const terse_kv *from)
{
    const int32_t first = from->n_ring ? first_block(from) : 0;
    for (size_t u = 0; u < units(to); u++) {
        const int32_t n_long = from->n_ring ? from->n_long_page[u] : from->n_page;
        for (int32_t i = first; i < from->n_block + n_long; i++) {
            const int32_t place = i < from->n_block ? i % from->n_ring : from->n_ring + i - from->n_block;
            const size_t at = u * (size_t)to->cap + (size_t)place;
            if (from->n_gone && i < from->n_gone[u / (size_t)from->opts.n_head])
                continue;
            copy_page(to, &to->table[at], from, from->table[at]);
            to->radius[at] = from->radius[at];
        }
        if (!from->n_ring)
            continue;
        to->n_long[u] = from->n_long[u];
        to->n_long_page[u] = n_long;
        memcpy(to->pos + u * (size_t)(to->cap - to->n_ring) * TERSE_PAGE, terse_kv_positions(from, u),
               (size_t)from->n_long[u] * sizeof *to->pos);
    }
}

terse_status terse_kv_shape(terse_kv *kv, int32_t n_ring, terse_error *err)
{
    places p;
    terse_status st = open_places(&p, kv, n_ring, err);
    if (st == TERSE_OK && (st = terse_kv_summary_resize(kv, p.cap, err)) != TERSE_OK)
        free_places(&p);
    if (st != TERSE_OK)
        return st;
    install(kv, &p);
    kv->recent = kv->n_block = 0;
    return TERSE_OK;
}

terse_status terse_kv_copy(terse_kv *to, const terse_kv *from, terse_error *err)
{
    terse_kv_truncate(to, 0);
    terse_status st = terse_kv_shape(to, from->n_ring, err);
    if (st != TERSE_OK)
        return st;
    to->window = from->window;
    to->step = from->step;
    if (to->pool != from->pool && (st = terse_kv_grow(to, terse_kv_pages_held(from), err)) != TERSE_OK)
        return st;
    copy_pages(to, from);
    terse_kv_summary_copy(to, from);
    for (size_t u = 0; to->mark && from->mark && u < units(to); u++)
        memcpy(terse_kv_mark(to, u, 0), terse_kv_mark(from, u, 0), (size_t)from->n_token * sizeof *to->mark);
    memcpy(to->center, from->center, units(to) * (size_t)to->opts.dim_v * sizeof *to->center);
    to->n_token = from->n_token;
    to->n_page = from->n_page;
    to->recent = from->recent;
    to->n_block = from->n_block;
    for (int32_t l = 0; from->n_gone && l < from->opts.n_layer; l++)
        to->n_gone[l] = from->n_gone[l];
    return TERSE_OK;
}
