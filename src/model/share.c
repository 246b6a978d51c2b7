/* model/share.c: which sequences of a batch read pages together. Copies of a sequence share the pages that
 * neither has written to since; where both read everything, one reading serves them all. */
#include "model/forward.h"

#include "attend/walk.h"

enum { LEAST = 4 /* shared pages that are worth it */ };

static int32_t smaller(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static bool eligible(const terse_segment *g)
{
    return g->decode && g->n == 1 && !g->seq->tap.attended && !g->seq->kv->opts.span &&
           terse_walk_is_dense(g->seq->walk[0], 0, g->pos + 1);
}

/* Full pages that both tables begin with. All layers and heads of a sequence were copied together, so one
 * stands for all; where the others differ nevertheless, terse_walk_shared reads page by page. */
static int32_t common(const terse_segment *a, const terse_segment *b)
{
    const int32_t n = smaller(a->pos, b->pos) / TERSE_PAGE;
    int32_t p = 0;
    while (p < n && a->seq->kv->table[p] == b->seq->kv->table[p])
        p++;
    return p;
}

/* The group that a segment joins; itself if there is none. */
static int32_t leader_for(const terse_forward *f, int32_t i, int32_t most, int32_t *n_shared)
{
    for (int32_t k = 0; k < i; k++) {
        const terse_group *g = &f->group[k];
        if (g->leader != k || g->n >= most || !eligible(&f->segment[k]))
            continue;
        const int32_t n = common(&f->segment[k], &f->segment[i]);
        *n_shared = g->n > 1 ? smaller(n, g->n_shared) : n;
        if (*n_shared >= LEAST)
            return k;
    }
    return i;
}

/* Groups are small enough for every thread to have some. */
void terse_share_pages(terse_forward *f)
{
    const int32_t n = f->n_segment, even = (n * f->model->info.n_head_kv + f->n_thread - 1) / f->n_thread;
    const int32_t most = even < 2 ? 2 : smaller(even, TERSE_PAGE);
    const bool any = n > 1 && f->segment[0].seq->kv->pool->n_extra > 0;
    for (int32_t i = 0; i < n; i++) {
        int32_t n_shared = 0;
        const int32_t k = any && eligible(&f->segment[i]) ? leader_for(f, i, most, &n_shared) : i;
        f->group[i] = (terse_group){ .leader = k, .n = k == i };
        if (k == i)
            continue;
        f->group[k].n++;
        f->group[k].n_shared = n_shared;
    }
}
