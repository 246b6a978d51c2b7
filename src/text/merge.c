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

static void push(terse_merge *m, uint64_t key)
{
    size_t i = m->n_heap++;
    while (i > 0) {
        const size_t up = (i - 1) / ARITY;
        if (m->heap[up] <= key)
            break;
        m->heap[i] = m->heap[up];
        i = up;
    }
    m->heap[i] = key;
}

static uint64_t pop(terse_merge *m)
{
    const uint64_t key = m->heap[0];
    m->heap[0] = m->heap[--m->n_heap];
    if (m->n_heap > 1)
        sift_down(m->heap, m->n_heap, 0);
    return key;
}

/* Looks up the pair that starts at symbol i. True if it merges. */
static bool look(terse_merge *m, int32_t i, uint32_t end, terse_pair_fn *pair, const void *ctx)
{
    terse_symbol *s = &m->symbols[i];
    s->merged = -1;
    if (s->next < 0)
        return false;
    const terse_symbol *r = &m->symbols[s->next];
    return pair(ctx, s, r, terse_symbol_end(m, r, end), &s->merged, &s->prio);
}

static uint64_t key_of(const terse_merge *m, int32_t i)
{
    return (uint64_t)m->symbols[i].prio << 32 | (uint32_t)i;
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
    terse_status st;
    void *p = m->heap;
    /* A merge takes one key out and puts at most two in, and there are fewer than n merges. */
    st = grow(&p, &m->cap_heap, 2 * n, sizeof *m->heap, err);
    m->heap = p;
    if (st != TERSE_OK)
        return st;
    for (size_t i = 0; i < n; i++) {
        m->symbols[i].prev = (int32_t)i - 1;
        m->symbols[i].next = i + 1 < n ? (int32_t)(i + 1) : -1;
    }
    m->n_heap = 0;
    for (size_t i = 0; i + 1 < n; i++)
        if (look(m, (int32_t)i, end, pair, ctx))
            m->heap[m->n_heap++] = key_of(m, (int32_t)i);
    for (size_t i = m->n_heap / ARITY + 1; i-- > 0;)
        if (i < m->n_heap)
            sift_down(m->heap, m->n_heap, i);
    while (m->n_heap > 0) {
        const uint64_t key = pop(m);
        const int32_t i = (int32_t)(uint32_t)key;
        if (m->symbols[i].merged < 0 || m->symbols[i].prio != key >> 32)
            continue;
        join(m, i);
        if (look(m, i, end, pair, ctx))
            push(m, key_of(m, i));
        const int32_t prev = m->symbols[i].prev;
        if (prev >= 0 && look(m, prev, end, pair, ctx))
            push(m, key_of(m, prev));
    }
    return TERSE_OK;
}
