/* model/judge.c: what a scoring policy does behind the attention of a layer: it sees the queries of the batch,
 * gives marks to the tokens by them, and drops those that are too many. */
#include "model/forward.h"

#include "attend/policy.h"
#include "attend/walk.h"

#include <string.h>

static int32_t smaller(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static int32_t group_of(const terse_forward *f)
{
    return f->model->info.n_head / f->model->info.n_head_kv;
}

/* Where the queries of a KV head's group at position pos are remembered. */
static float *query_of(const terse_forward *f, const terse_sequence *s, int32_t l, int32_t head, int32_t pos)
{
    const size_t at = (size_t)l * TERSE_SEEN + (size_t)(pos % TERSE_SEEN);
    return s->seen + (at * (size_t)f->model->info.n_head + (size_t)(head * group_of(f))) * (size_t)f->dim_k;
}

/* Remembers the queries of the last tokens of the segment. */
static void remember(const terse_forward *f, const terse_segment *g, int32_t l, int32_t head)
{
    const size_t size = (size_t)group_of(f) * (size_t)f->dim_k;
    for (int32_t t = g->n > TERSE_SEEN ? g->n - TERSE_SEEN : 0; t < g->n; t++)
        memcpy(query_of(f, g->seq, l, head, g->pos + t), terse_query(f, g->row + t, head * group_of(f)),
               size * sizeof(float));
}

/* Marks from the queries of tokens pos ... pos + n - 1, a page of them at a time: those of the segment, or
 * without one those that are remembered. */
static void observe(const terse_forward *f, const terse_sequence *s, const terse_segment *g, terse_walk *walk,
                    int32_t l, int32_t head, int32_t pos, int32_t n)
{
    const float *q[TERSE_PAGE];
    int32_t at[TERSE_PAGE];
    for (int32_t t = 0, m; t < n; t += m) {
        m = smaller(n - t, TERSE_PAGE);
        for (int32_t i = 0; i < m; i++) {
            at[i] = pos + t + i;
            q[i] = g ? terse_query(f, g->row + at[i] - g->pos, head * group_of(f))
                     : query_of(f, s, l, head, at[i]);
        }
        terse_observe(walk, l, head, q, at, m, f->model->scale);
    }
}

static void clear_marks(const terse_kv *kv, int32_t l, int32_t head, int32_t n_token)
{
    memset(terse_kv_mark(kv, terse_kv_unit(kv, l, head), 0), 0, (size_t)n_token * sizeof(float));
}

/* Last queries that the policy goes by. */
static int32_t wanted(const terse_sequence *s)
{
    const terse_policy *p = s->attend->policy.policy;
    return p->marks == TERSE_MARK_LAST     ? 1
           : p->marks == TERSE_MARK_WINDOW ? p->window(s->attend->policy.param, 0)
                                           : TERSE_SEEN;
}

void terse_judge_survey(const terse_forward *f, const terse_sequence *s, terse_walk *walk, int32_t l,
                        int32_t head)
{
    const int32_t n_token = terse_kv_count(s->kv), n = smaller(wanted(s), s->n_seen);
    const terse_marking how = s->attend->policy.policy->marks;
    if (how == TERSE_MARK_NONE || n == 0 || (how == TERSE_MARK_SUM && s->judged))
        return;
    clear_marks(s->kv, l, head, n_token);
    observe(f, s, NULL, walk, l, head, n_token - n, n);
}

/* Are there so many more than the policy holds that it is worth while to look again? */
static bool due(const terse_sequence *s, int32_t l, int32_t head, int32_t n_token)
{
    const terse_policy_case c = terse_policy_case_of(s->attend, s->kv, l, head, n_token);
    return s->kv->n_long[terse_kv_unit(s->kv, l, head)] > s->attend->policy.policy->older(&c) + TERSE_SEEN;
}

static void mark(const terse_forward *f, const terse_segment *g, terse_walk *walk, int32_t l, int32_t head)
{
    const terse_sequence *s = g->seq;
    const terse_marking how = s->attend->policy.policy->marks;
    const int32_t n_token = g->pos + g->n;
    if (s->seen)
        remember(f, g, l, head);
    if (how == TERSE_MARK_SUM)
        observe(f, s, g, walk, l, head, g->pos, g->n);
    if (how == TERSE_MARK_LAST) {
        clear_marks(s->kv, l, head, n_token);
        observe(f, s, g, walk, l, head, n_token - 1, 1);
    }
    if (how == TERSE_MARK_WINDOW && g->decode && n_token >= TERSE_SEEN && due(s, l, head, n_token)) {
        clear_marks(s->kv, l, head, n_token);
        observe(f, s, NULL, walk, l, head, n_token - wanted(s), wanted(s));
    }
}

/* Shares of a prompt are known at its end: tokens leave during it only for the sake of a budget in tokens. */
static void trim(const terse_segment *g, terse_walk *walk, int32_t l, int32_t head)
{
    const terse_sequence *s = g->seq;
    const terse_policy_rule *p = &s->attend->policy;
    const int32_t n_token = g->pos + g->n;
    if (p->policy->marks == TERSE_MARK_NONE)
        return;
    const bool window = p->policy->marks == TERSE_MARK_WINDOW;
    if (window ? g->decode && due(s, l, head, n_token) : g->decode || p->param[1] > 0.0)
        terse_policy_trim(walk, s->kv, l, head, n_token);
}

void terse_judge(terse_worker *w, int32_t l)
{
    terse_forward *f = w->f;
    const int32_t heads = f->model->info.n_head_kv, n = f->n_segment, pieces = heads * n;
    bool marks = false, looks = false;
    for (int32_t i = 0; i < n; i++) {
        const terse_sequence *s = f->segment[i].seq;
        marks |= s->attend->policy.policy->marks != TERSE_MARK_NONE;
        looks |= s->seen != NULL;
    }
    if (!marks && !looks)
        return;
    terse_phase *p = terse_next_phase(w);
    for (int32_t k; (k = terse_phase_take(p)) < pieces; terse_phase_finish(p, pieces))
        mark(f, &f->segment[k % n], f->segment[k % n].seq->walk[w->thread], l, k / n);
    terse_end_phase(w, p, pieces, TERSE_SPENT_ATTEND);
    if (!marks)
        return;
    p = terse_next_phase(w);
    for (int32_t k; (k = terse_phase_take(p)) < pieces; terse_phase_finish(p, pieces))
        trim(&f->segment[k % n], f->segment[k % n].seq->walk[w->thread], l, k / n);
    terse_end_phase(w, p, pieces, TERSE_SPENT_ATTEND);
}
