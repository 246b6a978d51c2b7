/* text/prefixes.c: see prefixes.h. */
#include "text/prefixes.h"
#include "text/vocab.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    terse_str text;
    int32_t id;
} entry;

static int by_text(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    const size_t n = x->text.n < y->text.n ? x->text.n : y->text.n;
    const int c = memcmp(x->text.p, y->text.p, n);
    if (c != 0)
        return c;
    return x->text.n < y->text.n ? -1 : x->text.n > y->text.n;
}

terse_status terse_prefixes_open(terse_prefixes *p, const terse_vocab *v, terse_prefix_fn *take,
                                 terse_error *err)
{
    int32_t n = 0;
    for (int32_t id = 0; id < v->n; id++)
        n += v->tokens[id].n > 0 && take(v, id);
    entry *list = malloc(((size_t)n + 1) * sizeof *list);
    p->ids = malloc(((size_t)n + 1) * sizeof *p->ids);
    if (!list || !p->ids) {
        free(list);
        return terse_fail(err, TERSE_NOMEM, "vocabulary: no memory for %d tokens in order", n);
    }
    for (int32_t id = 0; id < v->n; id++)
        if (v->tokens[id].n > 0 && take(v, id))
            list[p->n++] = (entry){ { v->tokens[id].p, v->tokens[id].n }, id };
    qsort(list, (size_t)n, sizeof *list, by_text);
    for (int32_t i = 0; i < n; i++)
        p->ids[i] = list[i].id;
    free(list);
    return TERSE_OK;
}

void terse_prefixes_close(terse_prefixes *p)
{
    free(p->ids);
    *p = (terse_prefixes){ 0 };
}

/* Byte d of the i-th token; -1 if it ends before, which sorts before all bytes. */
static int32_t byte_of(const terse_vocab *v, const terse_prefixes *p, int32_t i, uint32_t d)
{
    const terse_token *t = &v->tokens[p->ids[i]];
    return t->n > d ? (uint8_t)t->p[d] : -1;
}

/* First in [lo, hi) whose byte d is at least byte, hi if none. */
static int32_t lower_bound(const terse_vocab *v, const terse_prefixes *p, terse_prefix_range r, uint32_t d,
                           int32_t byte)
{
    while (r.lo < r.hi) {
        const int32_t mid = r.lo + (r.hi - r.lo) / 2;
        if (byte_of(v, p, mid, d) < byte)
            r.lo = mid + 1;
        else
            r.hi = mid;
    }
    return r.lo;
}

int32_t terse_prefixes_narrow(const terse_vocab *v, const terse_prefixes *p, terse_prefix_range *r, uint32_t d,
                              uint8_t byte)
{
    if (r->lo >= r->hi)
        return -1;
    if (byte_of(v, p, r->lo, d) != byte)
        r->lo = lower_bound(v, p, *r, d, byte);
    if (r->lo < r->hi && byte_of(v, p, r->hi - 1, d) != byte)
        r->hi = lower_bound(v, p, *r, d, byte + 1);
    const terse_token *t = r->lo < r->hi ? &v->tokens[p->ids[r->lo]] : NULL;
    return t && t->n == d + 1 ? p->ids[r->lo] : -1;
}
