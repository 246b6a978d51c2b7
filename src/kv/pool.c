/* kv/pool.c: see pool.h. A page is zeroed when it is handed out, so that the lanes past its last token are
 * finite.
 */
#include "kv/pool.h"

#include "base/memory.h"
#include "kv/store.h"

#include <stdlib.h>
#include <string.h>

enum { SPARE = 2 * TERSE_SLAB_PAGES };

terse_status terse_pool_open(terse_pool **out, size_t page_size, size_t limit, terse_error *err)
{
    terse_pool *p = terse_calloc64(1, sizeof *p);
    *out = p;
    if (!p)
        return terse_fail(err, TERSE_NOMEM, "no memory for a KV store");
    p->page_size = page_size;
    p->slab_size = terse_align_up(page_size * TERSE_SLAB_PAGES, (size_t)2 << 20);
    p->limit = limit;
    pthread_mutex_init(&p->lock, NULL);
    return TERSE_OK;
}

void terse_pool_join(terse_pool *p, terse_kv *kv)
{
    kv->pool = p;
    kv->next = p->store;
    p->store = kv;
}

static void pool_close(terse_pool *p)
{
    for (int32_t i = 0; i < p->n_slab; i++)
        terse_pages_unmap(p->slab[i], p->slab_size);
    pthread_mutex_destroy(&p->lock);
    free(p->slab);
    free(p->free);
    free((void *)p->ref);
    free(p);
}

void terse_pool_leave(terse_kv *kv)
{
    terse_pool *p = kv->pool;
    if (!p)
        return;
    terse_kv **at = &p->store;
    while (*at != kv)
        at = &(*at)->next;
    *at = kv->next;
    kv->pool = NULL;
    p->n_place -= kv->n_place;
    if (!p->store)
        pool_close(p);
}

terse_status terse_pool_room(terse_pool *p, int64_t more, terse_error *err)
{
    const int64_t slabs = (p->n_place + more) / TERSE_SLAB_PAGES + 1;
    const size_t n = (size_t)slabs * TERSE_SLAB_PAGES;
    if (slabs > INT32_MAX / TERSE_SLAB_PAGES)
        return terse_fail(err, TERSE_NOMEM, "more KV pages than can be numbered: use a smaller context");
    if (slabs > p->n_slab_max) {
        char **slab = realloc(p->slab, (size_t)slabs * sizeof *slab);
        p->slab = slab ? slab : p->slab;
        int32_t *list = realloc(p->free, n * sizeof *list);
        p->free = list ? list : p->free;
        _Atomic int32_t *ref = realloc((void *)p->ref, n * sizeof *ref);
        p->ref = ref ? ref : p->ref;
        if (!slab || !list || !ref)
            return terse_fail(err, TERSE_NOMEM, "no memory for page tables: use a smaller context");
        p->n_slab_max = (int32_t)slabs;
    }
    p->n_place += more;
    return TERSE_OK;
}

/* ---- pages ---- */

/* One more slab on the free list, lowest page on top. */
static terse_status add_slab(terse_kv *kv, terse_error *err)
{
    terse_pool *p = kv->pool;
    const size_t bytes = (size_t)p->n_slab * p->slab_size;
    if (p->limit && bytes + p->slab_size > p->limit)
        return terse_fail(
            err, TERSE_NOMEM,
            "the KV cache of %d tokens has reached its limit of %zu KiB: it grows by %zu KiB at a time",
            kv->n_token, p->limit >> 10, p->slab_size >> 10);
    char *slab = p->n_slab < p->n_slab_max ? terse_pages_map(p->slab_size) : NULL;
    if (!slab)
        return terse_fail(err, TERSE_NOMEM, "no memory for more KV pages after %d tokens (%zu MiB in use)",
                          kv->n_token, bytes >> 20);
    for (int32_t i = TERSE_SLAB_PAGES - 1; i >= 0; i--)
        p->free[p->n_free++] = p->n_slab * TERSE_SLAB_PAGES + i;
    p->slab[p->n_slab++] = slab;
    return TERSE_OK;
}

terse_status terse_kv_grow(terse_kv *kv, int64_t need, terse_error *err)
{
    terse_pool *p = kv->pool;
    while (p->n_free - p->promised < need) {
        const terse_status st = add_slab(kv, err);
        if (st != TERSE_OK)
            return st;
    }
    return TERSE_OK;
}

void terse_kv_release(terse_kv *kv)
{
    kv->pool->promised -= kv->promised;
    kv->promised = 0;
}

terse_status terse_kv_promise(terse_kv *kv, int64_t need, int64_t n, terse_error *err)
{
    terse_kv_release(kv);
    const terse_status st = terse_kv_grow(kv, need + n, err);
    if (st != TERSE_OK)
        return st;
    kv->promised = n;
    kv->pool->promised += n;
    return TERSE_OK;
}

static int32_t take(terse_pool *p)
{
    const int32_t id = p->free[--p->n_free];
    atomic_store_explicit(&p->ref[id], 1, memory_order_relaxed);
    return id;
}

int32_t terse_kv_take(terse_kv *kv)
{
    const int32_t id = take(kv->pool);
    memset(terse_kv_block(kv, id), 0, kv->pool->page_size);
    return id;
}

void terse_kv_share(terse_kv *kv, int32_t id)
{
    atomic_fetch_add(&kv->pool->ref[id], 1);
    kv->pool->n_extra++;
}

void terse_kv_give(terse_kv *kv, int32_t id)
{
    terse_pool *p = kv->pool;
    if (atomic_fetch_sub(&p->ref[id], 1) == 1)
        p->free[p->n_free++] = id;
    else
        p->n_extra--;
}

void terse_kv_own(terse_kv *kv, int32_t *id)
{
    terse_pool *p = kv->pool;
    if (atomic_load_explicit(&p->ref[*id], memory_order_acquire) == 1)
        return;
    pthread_mutex_lock(&p->lock);
    if (atomic_load(&p->ref[*id]) > 1) { /* the others may have left it meanwhile */
        const int32_t to = take(p);
        memcpy(terse_kv_block(kv, to), terse_kv_block(kv, *id), p->page_size);
        terse_kv_give(kv, *id);
        *id = to;
        p->promised -= kv->promised > 0;
        kv->promised -= kv->promised > 0;
    }
    pthread_mutex_unlock(&p->lock);
}

/* ---- all pages of a store ---- */

void terse_kv_each_page(const terse_kv *kv, terse_page_fn *fn, void *ctx)
{
    const size_t unit = (size_t)kv->opts.n_layer * (size_t)kv->opts.n_head;
    for (size_t u = 0; u < unit; u++) {
        const size_t row = u * (size_t)kv->cap;
        for (int32_t b = kv->n_ring ? kv->recent / TERSE_PAGE : 0; b < kv->n_block; b++)
            fn(ctx, row + (size_t)(b % kv->n_ring));
        const int32_t n = kv->n_ring ? kv->n_long_page[u] : kv->n_page;
        for (int32_t i = kv->n_gone ? kv->n_gone[u / (size_t)kv->opts.n_head] : 0; i < n; i++)
            fn(ctx, row + (size_t)(kv->n_ring + i));
    }
}

static void count_page(void *ctx, size_t at)
{
    (void)at;
    ++*(int64_t *)ctx;
}

int64_t terse_kv_pages_held(const terse_kv *kv)
{
    int64_t n = 0;
    terse_kv_each_page(kv, count_page, &n);
    return n;
}

typedef struct {
    const terse_kv *kv;
    int64_t n;
} counting;

static void count_shared(void *ctx, size_t at)
{
    counting *c = ctx;
    c->n += atomic_load_explicit(&c->kv->pool->ref[c->kv->table[at]], memory_order_relaxed) > 1;
}

int64_t terse_kv_shared(const terse_kv *kv)
{
    counting c = { kv, 0 };
    if (kv->pool->n_extra > 0)
        terse_kv_each_page(kv, count_shared, &c);
    return c.n;
}

typedef struct {
    const terse_kv *kv;
    int32_t end; /* pages from here on have to move */
} moving;

/* The first table that a page is found in moves it; where to is left in the first bytes of where it was. */
static void move_page(void *ctx, size_t at)
{
    const moving *m = ctx;
    terse_pool *p = m->kv->pool;
    int32_t *id = &m->kv->table[at];
    if (*id < m->end)
        return;
    const int32_t old = *id, n = atomic_load(&p->ref[old]);
    if (n > 0) {
        *id = take(p);
        memcpy(terse_kv_block(m->kv, *id), terse_kv_block(m->kv, old), p->page_size);
        memcpy(terse_kv_block(m->kv, old), id, sizeof *id);
        atomic_store(&p->ref[*id], n);
        atomic_store(&p->ref[old], 0);
    } else {
        memcpy(id, terse_kv_block(m->kv, old), sizeof *id);
    }
}

void terse_kv_shrink(terse_kv *kv)
{
    terse_pool *p = kv->pool;
    if (p->n_free < SPARE)
        return;
    const int32_t used = p->n_slab * TERSE_SLAB_PAGES - p->n_free;
    const int32_t n_slab = used / TERSE_SLAB_PAGES + 2, end = n_slab * TERSE_SLAB_PAGES;
    if (n_slab >= p->n_slab)
        return;
    int32_t n_free = 0;
    for (int32_t i = 0; i < p->n_free; i++)
        if (p->free[i] < end)
            p->free[n_free++] = p->free[i];
    p->n_free = n_free;
    for (const terse_kv *s = p->store; s; s = s->next) {
        moving m = { s, end };
        terse_kv_each_page(s, move_page, &m);
    }
    while (p->n_slab > n_slab)
        terse_pages_unmap(p->slab[--p->n_slab], p->slab_size);
}
