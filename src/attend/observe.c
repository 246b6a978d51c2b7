/* attend/observe.c: what tokens received of the softmax of some queries, and which of them leave when there are
 * more than a policy may hold. Costs two passes over the keys for the queries of up to a page of tokens; stop
 * rules have no part in it. */
#include "attend/policy.h"
#include "attend/walk.h"

#include "simd/expf.h"

#include <math.h>
#include <string.h>

/* Position of token t of a page. */
static int32_t position(const terse_kv *kv, const terse_kv_view *v, int32_t place, int32_t t)
{
    if (place < kv->n_ring)
        return terse_kv_block_in(kv, v, place) * TERSE_PAGE + t;
    return terse_kv_positions(kv, v->unit)[(place - kv->n_ring) * TERSE_PAGE + t];
}

/* Hides the tokens of a page that query i does not see: those behind it, and those that are in a recent page as
 * well. False if it sees none. */
static bool hide(terse_walk *w, const terse_kv_view *v, int32_t place, int32_t first, int32_t fill, int32_t at,
                 int32_t i)
{
    const terse_kv *kv = w->kv;
    const int32_t rows = w->n_row;
    int32_t seen = 0;
    for (int32_t t = 0; t < fill; t++) {
        const int32_t pos = position(kv, v, place, t);
        const bool hidden = t < first || pos > at || (place >= kv->n_ring && pos >= v->from);
        seen += !hidden;
        for (int32_t r = i * rows; hidden && r < (i + 1) * rows; r++)
            w->s[r * TERSE_PAGE + t] = -INFINITY;
    }
    return seen > 0;
}

/* Weights of a page for the queries of n tokens at positions at[], relative to m, into w->s; adds to m and l.
 * Pages that are older than all of the queries need no hiding. */
static void weigh_page(terse_walk *w, const terse_kv_view *v, int32_t place, const int32_t *at, int32_t n,
                       float *m, float *l)
{
    const terse_kv *kv = w->kv;
    const int32_t rows = w->n_row;
    int32_t first;
    const int32_t fill = terse_kv_fill(kv, v, place, &first);
    const char *page = terse_kv_block(kv, kv->table[v->unit * (size_t)kv->cap + (size_t)place]);
    bool all = first == 0;
    for (int32_t t = 0; t < fill; t++) {
        const int32_t pos = position(kv, v, place, t);
        all &= pos <= at[0] && (place < kv->n_ring || pos < v->from);
    }
    w->kernels.score[kv->type_k](w->s, w->query, page, n * rows, kv->opts.dim_k, NULL);
    terse_walk_cap(w, &w->course, w->s, n * rows);
    for (int32_t i = 0; i < n; i++) {
        const int32_t seen = all || hide(w, v, place, first, fill, at[i], i) ? fill : 0;
        for (int32_t r = i * rows; r < (i + 1) * rows; r++)
            w->n[r] = seen;
    }
    w->kernels.weigh(w->s, n * rows, w->n, m, l, w->keep, w->z);
}

/* Adds the weights of a page, relative to the last maximum, to its tokens' marks. */
static void add_marks(terse_walk *w, const terse_kv_view *v, int32_t place, int32_t n_row, const float *inv)
{
    const terse_kv *kv = w->kv;
    float sum[TERSE_PAGE] = { 0.0f };
    int32_t first;
    const int32_t fill = terse_kv_fill(kv, v, place, &first);
    for (int32_t r = 0; r < n_row; r++)
        for (int32_t t = 0; t < TERSE_PAGE; t++)
            sum[t] += w->s[r * TERSE_PAGE + t] * inv[r];
    for (int32_t t = first; t < fill; t++)
        *terse_kv_mark(kv, v->unit, position(kv, v, place, t)) += sum[t];
}

void terse_observe(terse_walk *w, int32_t layer, int32_t head, const float *const *q, const int32_t *at,
                   int32_t n, float scale)
{
    const terse_kv *kv = w->kv;
    const size_t query_size = (size_t)w->n_row * terse_query_size(kv->type_k, kv->opts.dim_k);
    const terse_kv_view v = terse_kv_view_at(kv, terse_kv_unit(kv, layer, head), at[n - 1]);
    const int32_t n_row = n * w->n_row;
    float *m = w->part[0].m, *l = w->part[0].l, *inv = w->score[2];
    terse_walk_shape(w, layer, head);
    for (int32_t i = 0; i < n; i++)
        terse_query_prepare(kv->type_k, w->query + (size_t)i * query_size, q[i], w->n_row, kv->opts.dim_k,
                            scale);
    terse_walk_start(w, n_row);
    for (int32_t p = 0; p < v.n_page; p++)
        weigh_page(w, &v, terse_kv_place(kv, &v, p), at, n, m, l);
    for (int32_t r = 0; r < n_row; r++)
        inv[r] = 1.0f / (l[r] * (float)w->n_row);
    for (int32_t p = 0; p < v.n_page; p++) {
        const int32_t place = terse_kv_place(kv, &v, p);
        weigh_page(w, &v, place, at, n, m, l);
        add_marks(w, &v, place, n_row, inv);
    }
}

/* ---- who leaves ---- */

/* The mark that a token competes with. */
static float rank_of(const terse_walk *w, const terse_policy_case *c, int32_t slot, int32_t n)
{
    const terse_kv *kv = w->kv;
    const terse_policy *p = w->attend->policy.policy;
    const size_t u = terse_kv_unit(kv, c->layer, c->head);
    const int32_t *at = terse_kv_positions(kv, u);
    float sum = 0.0f;
    if (p->marks == TERSE_MARK_LAST) {
        for (int32_t h = 0; h < kv->opts.n_head; h++)
            sum += *terse_kv_mark(kv, terse_kv_unit(kv, c->layer, h), at[slot]);
        return sum;
    }
    const int32_t half = p->marks == TERSE_MARK_WINDOW ? p->half(c->param) : 0;
    for (int32_t s = slot - half; s <= slot + half; s++)
        sum += s >= 0 && s < n ? *terse_kv_mark(kv, u, at[s]) : 0.0f;
    return sum;
}

/* Moves the k largest of x[n] to its front: selection by Hoare's partition. */
static void select_largest(float *x, int32_t n, int32_t k)
{
    for (int32_t low = 0, high = n - 1; low < high;) {
        const float pivot = x[low + (high - low) / 2];
        int32_t i = low, j = high;
        while (i <= j) {
            while (x[i] > pivot)
                i++;
            while (x[j] < pivot)
                j--;
            if (i <= j) {
                const float y = x[i];
                x[i++] = x[j];
                x[j--] = y;
            }
        }
        if (k - 1 <= j)
            high = j;
        else if (k - 1 >= i)
            low = i;
        else
            return;
    }
}

typedef struct {
    const float *rank; /* by slot */
    float least;       /* larger ranks stay, */
    int32_t ties;      /* and so many of this one, the first */
} cut;

static bool stays(void *ctx, int32_t slot, int32_t pos)
{
    cut *c = ctx;
    (void)pos;
    return c->rank[slot] > c->least || (c->rank[slot] == c->least && c->ties-- > 0);
}

void terse_policy_trim(terse_walk *w, terse_kv *kv, int32_t layer, int32_t head, int32_t n_token)
{
    const terse_attend *a = w->attend;
    const size_t u = terse_kv_unit(kv, layer, head);
    const terse_policy_case c = terse_policy_case_of(a, kv, layer, head, n_token);
    const int32_t n = kv->n_long[u], older = a->policy.policy->older(&c), k = older < 0 ? 0 : older;
    if (n <= k)
        return;
    for (int32_t s = 0; s < n; s++)
        w->score[0][s] = w->score[1][s] = rank_of(w, &c, s, n);
    if (n == k + 1 && a->policy.policy->marks != TERSE_MARK_WINDOW) { /* a decode step: the last slot moves */
        int32_t worst = 0;
        for (int32_t s = 1; s < n; s++)
            worst = w->score[0][s] < w->score[0][worst] ? s : worst;
        terse_kv_drop(kv, u, worst);
        return;
    }
    cut least = { .rank = w->score[0], .least = INFINITY };
    select_largest(w->score[1], n, k);
    for (int32_t i = 0; i < k; i++)
        least.least = fminf(w->score[1][i], least.least);
    for (int32_t i = 0; i < k; i++)
        least.ties += w->score[1][i] == least.least;
    terse_kv_filter(kv, u, stays, &least);
}
