/* kv/pool.h: the memory of pages. Stores that stand beside each other share it, and so may their tables share
 * pages: a page has as many references as tables it stands in, and who writes to a page that others have too
 * takes a copy first. */
#ifndef TERSE_KV_POOL_H
#define TERSE_KV_POOL_H

#include "terse/kv.h"

#include <pthread.h>
#include <stdatomic.h>

/* Pages come from slabs of this many, mapped one slab at a time when the free list runs dry. A page is a K
 * block and a V block behind it. */
enum { TERSE_SLAB_PAGES = 512 };

typedef struct {
    size_t page_size, slab_size, limit; /* bytes; limit 0: none */
    char **slab;                        /* [n_slab_max] */
    int32_t n_slab, n_slab_max;
    int32_t *free; /* stack of page ids; room for every page */
    int32_t n_free;
    _Atomic int32_t *ref; /* [n_slab_max * TERSE_SLAB_PAGES] tables that a page stands in */
    int64_t n_place;      /* of all tables: as many pages are needed at most */
    int64_t n_extra;      /* references beyond each page's first */
    int64_t promised;     /* free pages that stores may have to take in this step (terse_kv_own) */
    terse_kv *store;      /* the first of those that share it */
    pthread_mutex_t lock; /* of terse_kv_own */
} terse_pool;

terse_status terse_pool_open(terse_pool **out, size_t page_size, size_t limit, terse_error *err);
/* A store comes and goes; with the last one goes the pool. Before it leaves others behind, it has given its
 * pages back. */
void terse_pool_join(terse_pool *p, terse_kv *kv);
void terse_pool_leave(terse_kv *kv);
/* Room for `more` places of tables. TERSE_NOMEM leaves it as it was. */
terse_status terse_pool_room(terse_pool *p, int64_t more, terse_error *err);

/* Maps slabs until so many pages are free beside those that are promised. */
terse_status terse_kv_grow(terse_kv *kv, int64_t need, terse_error *err);
/* The same, and promises n of them to the store instead of what it was promised before. */
terse_status terse_kv_promise(terse_kv *kv, int64_t need, int64_t n, terse_error *err);
/* The step is over: nothing is promised any more. */
void terse_kv_release(terse_kv *kv);
/* A free page, zeroed; one more reference; one less, and the page is free without any. By one thread. */
int32_t terse_kv_take(terse_kv *kv);
void terse_kv_share(terse_kv *kv, int32_t id);
void terse_kv_give(terse_kv *kv, int32_t id);
/* Unmaps slabs of which enough are free, after moving their pages. By one thread. */
void terse_kv_shrink(terse_kv *kv);
/* Calls fn for every page that the store has, with its place in table and radius: of every (layer, head) the
 * recent pages, then the others in slot order. */
typedef void terse_page_fn(void *ctx, size_t at);
void terse_kv_each_page(const terse_kv *kv, terse_page_fn *fn, void *ctx);
int64_t terse_kv_pages_held(const terse_kv *kv);
/* Pages of the store that stand in other tables too. */
int64_t terse_kv_shared(const terse_kv *kv);
/* *id, a place of a table, is a page that is in no other table from now on: a copy of what it was, if it has to
 * be. Threads that write to different places may call it at the same time; pages for it were promised. */
void terse_kv_own(terse_kv *kv, int32_t *id);

#endif
