/* text/merge.c: see merge.h. The heap has four children per node: half the cache misses of a binary one. */
#include "text/merge.h"
#include <stdlib.h>

enum { ARITY = 4 };

static terse_status grow(void **p, size_t *cap, size_t n, size_t size, terse_error *err)
{
    if (n <= *cap)
        return TERSE_OK;
    size_t want = *cap > n / 2 ? *cap * 2 : n;
    void *q = want > SIZE_MAX / size ? NULL : realloc(*p, want * size);
    if (!q)
        return terse_fail(err, TERSE_NOMEM, "tokenizer: no memory for %zu entries of %zu bytes", want, size);
    *p = q;
    *cap = want;
    return TERSE_OK;
}

terse_status terse_merge_reserve(terse_merge *m, size_t n, terse_error *err)
{
    void *p = m->symbols;
    const terse_status st = grow(&p, &m->cap_symbols, n, sizeof *m->symbols, err);
    m->symbols = p;
    return st;
}

terse_status terse_merge_reserve_text(terse_merge *m, size_t n, terse_error *err)
{
    void *p = m->text;
    const terse_status st = grow(&p, &m->cap_text, n, 1, err);
    m->text = p;
    return st;
}

void terse_merge_free(terse_merge *m)
{
    free(m->symbols);
    for (int32_t k = 0; k < TERSE_MERGE_LANES; k++)
        free(m->lanes[k].keys);
    free(m->heap);
    free(m->text);
    *m = (terse_merge){ 0 };
}

static void sift_down(uint64_t *heap, size_t n, size_t i)
{
    const uint64_t key = heap[i];
    for (;;) {
        const size_t first = i * ARITY + 1;
        if (first >= n)
            break;
        const size_t last = n - first < ARITY ? n : first + ARITY;
        size_t best = first;
        for (size_t c = first + 1; c < last; c++)
            if (heap[c] < heap[best])
                best = c;
        if (heap[best] >= key)
            break;
        heap[i] = heap[best];
        i = best;
    }
    heap[i] = key;
}

static terse_status push_heap(terse_merge *m, uint64_t key, terse_error *err)
{
    void *p = m->heap;
    const terse_status st = grow(&p, &m->cap_heap, m->n_heap + 1, sizeof *m->heap, err);
    m->heap = p;
    if (st != TERSE_OK)
        return st;
    size_t i = m->n_heap++;
    while (i > 0) {
        const size_t up = (i - 1) / ARITY;
        if (m->heap[up] <= key)
            break;
        m->heap[i] = m->heap[up];
        i = up;
    }
    m->heap[i] = key;
    return TERSE_OK;
}

static uint64_t pop_heap(terse_merge *m)
{
    const uint64_t key = m->heap[0];
    m->heap[0] = m->heap[--m->n_heap];
    if (m->n_heap > 1)
        sift_down(m->heap, m->n_heap, 0);
    return key;
}

/* The lane whose last key is the closest below key, else an empty one; NULL if the key fits none. */
static terse_merge_lane *lane_for(terse_merge *m, uint64_t key)
{
    terse_merge_lane *best = NULL;
    for (int32_t k = 0; k < m->n_lane; k++) {
        terse_merge_lane *l = &m->lanes[k];
        const bool better =
            l->head < l->n ? l->keys[l->n - 1] <= key &&
                                 (!best || best->head == best->n || best->keys[best->n - 1] < l->keys[l->n - 1])
                           : !best;
        best = better ? l : best;
    }
    if (!best && m->n_lane < TERSE_MERGE_LANES) {
        best = &m->lanes[m->n_lane++];
        best->head = best->n = 0;
    }
    return best;
}

static terse_status push(terse_merge *m, uint64_t key, terse_error *err)
{
    terse_merge_lane *l = lane_for(m, key);
    if (!l)
        return push_heap(m, key, err);
    if (l->head == l->n)
        l->head = l->n = 0;
    void *p = l->keys;
    const terse_status st = grow(&p, &l->cap, l->n + 1, sizeof *l->keys, err);
    l->keys = p;
    if (st == TERSE_OK)
        l->keys[l->n++] = key;
    return st;
}

/* Takes the smallest key; false if there is none. */
static bool pop(terse_merge *m, uint64_t *key)
{
    terse_merge_lane *from = NULL;
    uint64_t least = UINT64_MAX;
    for (int32_t k = 0; k < m->n_lane; k++) {
        terse_merge_lane *l = &m->lanes[k];
        if (l->head < l->n && (!from || l->keys[l->head] < least)) {
            from = l;
            least = l->keys[l->head];
        }
    }
    if (m->n_heap > 0 && (!from || m->heap[0] < least)) {
        *key = pop_heap(m);
        return true;
    }
    if (!from)
        return false;
    from->head++;
    *key = least;
    return true;
}

/* Looks up the pair that starts at symbol i and puts it in the queue if it merges. */
static terse_status offer(terse_merge *m, int32_t i, uint32_t end, terse_pair_fn *pair, const void *ctx,
                          terse_error *err)
{
    terse_symbol *s = &m->symbols[i];
    s->merged = -1;
    if (s->next < 0)
        return TERSE_OK;
    const terse_symbol *r = &m->symbols[s->next];
    if (!pair(ctx, s, r, terse_symbol_end(m, r, end), &s->merged, &s->prio))
        return TERSE_OK;
    return push(m, (uint64_t)s->prio << 32 | (uint32_t)i, err);
}

/* Merges symbol i with the next one. */
static void join(terse_merge *m, int32_t i)
{
    terse_symbol *s = &m->symbols[i];
    terse_symbol *r = &m->symbols[s->next];
    s->id = s->merged;
    s->next = r->next;
    if (r->next >= 0)
        m->symbols[r->next].prev = i;
    r->merged = -1; /* its keys in the heap are stale */
}

terse_status terse_merge_run(terse_merge *m, size_t n, uint32_t end, terse_pair_fn *pair, const void *ctx,
                             terse_error *err)
{
    terse_status st = TERSE_OK;
    uint64_t key;
    m->n_heap = 0;
    m->n_lane = 0;
    for (size_t i = 0; i < n; i++) {
        m->symbols[i].prev = (int32_t)i - 1;
        m->symbols[i].next = i + 1 < n ? (int32_t)(i + 1) : -1;
    }
    for (size_t i = 0; i < n && st == TERSE_OK; i++)
        st = offer(m, (int32_t)i, end, pair, ctx, err);
    while (st == TERSE_OK && pop(m, &key)) {
        const int32_t i = (int32_t)(uint32_t)key;
        if (m->symbols[i].merged < 0 || m->symbols[i].prio != key >> 32)
            continue;
        join(m, i);
        const int32_t prev = m->symbols[i].prev;
        if ((st = offer(m, i, end, pair, ctx, err)) == TERSE_OK && prev >= 0)
            st = offer(m, prev, end, pair, ctx, err);
    }
    return st;
}
