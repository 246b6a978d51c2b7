/* model/judge.c: what a scoring policy does behind the attention of a layer: it sees the queries of the batch,
 * gives marks to the tokens by them, and drops those that are too many. */
#include "model/forward.h"

#include "attend/policy.h"
#include "attend/walk.h"

#include <string.h>

static const float *query_of(const terse_forward *f, int32_t l, int32_t head, int32_t pos)
{
    const size_t dim = (size_t)f->kv->opts.dim_k, n_head = (size_t)f->model->info.n_head;
    const size_t at = (size_t)l * TERSE_SEEN + (size_t)(pos % TERSE_SEEN);
    return f->seen + (at * n_head + (size_t)(head * f->model->info.n_head / f->model->info.n_head_kv)) * dim;
}

/* Remembers the queries of the last tokens of the batch. */
static void remember(const terse_forward *f, int32_t l, int32_t head)
{
    const size_t size = (size_t)(f->model->info.n_head / f->model->info.n_head_kv) * (size_t)f->kv->opts.dim_k;
    for (int32_t t = f->n > TERSE_SEEN ? f->n - TERSE_SEEN : 0; t < f->n; t++)
        memcpy((float *)query_of(f, l, head, f->pos + t),
               terse_query(f, t, head * f->model->info.n_head / f->model->info.n_head_kv),
               size * sizeof(float));
}

/* Marks from the queries of tokens pos ... pos + n - 1, a page of them at a time; batch: those at hand, else
 * those that are remembered. */
static void observe(const terse_forward *f, terse_walk *walk, int32_t l, int32_t head, int32_t pos, int32_t n,
                    bool batch)
{
    const int32_t group = f->model->info.n_head / f->model->info.n_head_kv;
    const float *q[TERSE_PAGE];
    int32_t at[TERSE_PAGE];
    for (int32_t t = 0, m; t < n; t += m) {
        m = n - t < TERSE_PAGE ? n - t : TERSE_PAGE;
        for (int32_t i = 0; i < m; i++) {
            at[i] = pos + t + i;
            q[i] = batch ? terse_query(f, at[i] - f->pos, head * group) : query_of(f, l, head, at[i]);
        }
        terse_observe(walk, l, head, q, at, m, f->model->scale);
    }
}

static void clear_marks(const terse_kv *kv, int32_t l, int32_t head, int32_t n_token)
{
    memset(terse_kv_mark(kv, terse_kv_unit(kv, l, head), 0), 0, (size_t)n_token * sizeof(float));
}

static int32_t smaller(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* Last queries that the policy goes by. */
static int32_t wanted(const terse_forward *f)
{
    const terse_policy *p = f->attend->policy.policy;
    return p->marks == TERSE_MARK_LAST     ? 1
           : p->marks == TERSE_MARK_WINDOW ? p->window(f->attend->policy.param, 0)
                                           : TERSE_SEEN;
}

void terse_judge_survey(terse_forward *f, terse_walk *walk, int32_t l, int32_t head)
{
    const int32_t n_token = terse_kv_count(f->kv), n = smaller(wanted(f), f->n_seen);
    const terse_marking how = f->attend->policy.policy->marks;
    if (how == TERSE_MARK_NONE || n == 0 || (how == TERSE_MARK_SUM && f->judged))
        return;
    clear_marks(f->kv, l, head, n_token);
    observe(f, walk, l, head, n_token - n, n, false);
}

/* Are there so many more than the policy holds that it is worth while to look again? */
static bool due(const terse_forward *f, int32_t l, int32_t head, int32_t n_token)
{
    const terse_policy_case c = { f->attend->policy.param, l,       head,
                                  f->model->info.n_layer,  n_token, f->kv->window };
    return f->kv->n_long[terse_kv_unit(f->kv, l, head)] > f->attend->policy.policy->older(&c) + TERSE_SEEN;
}

static void mark(terse_forward *f, terse_walk *walk, int32_t l, int32_t head)
{
    const terse_marking how = f->attend->policy.policy->marks;
    const int32_t n_token = f->pos + f->n;
    if (f->seen)
        remember(f, l, head);
    if (how == TERSE_MARK_SUM)
        observe(f, walk, l, head, f->pos, f->n, true);
    if (how == TERSE_MARK_LAST) {
        clear_marks(f->kv, l, head, n_token);
        observe(f, walk, l, head, n_token - 1, 1, true);
    }
    if (how == TERSE_MARK_WINDOW && f->decode && n_token >= TERSE_SEEN && due(f, l, head, n_token)) {
        clear_marks(f->kv, l, head, n_token);
        observe(f, walk, l, head, n_token - wanted(f), wanted(f), false);
    }
}

/* Shares of a prompt are known at its end: tokens leave during it only for the sake of a budget in tokens. */
static void trim(terse_forward *f, terse_walk *walk, int32_t l, int32_t head)
{
    const terse_policy_rule *p = &f->attend->policy;
    const int32_t n_token = f->pos + f->n;
    const bool window = p->policy->marks == TERSE_MARK_WINDOW;
    if (window ? f->decode && due(f, l, head, n_token) : f->decode || p->param[1] > 0.0)
        terse_policy_trim(walk, f->kv, l, head, n_token);
}

void terse_judge(terse_worker *w, int32_t l)
{
    terse_forward *f = w->f;
    const int32_t heads = f->model->info.n_head_kv;
    const bool marks = f->attend->policy.policy->marks != TERSE_MARK_NONE;
    if (!marks && !f->seen)
        return;
    terse_phase *p = terse_next_phase(w);
    for (int32_t h; (h = terse_phase_take(p)) < heads; terse_phase_finish(p, heads))
        mark(f, f->walk[w->thread], l, h);
    terse_end_phase(w, p, heads, TERSE_SPENT_ATTEND);
    if (!marks)
        return;
    p = terse_next_phase(w);
    for (int32_t h; (h = terse_phase_take(p)) < heads; terse_phase_finish(p, heads))
        trim(f, f->walk[w->thread], l, h);
    terse_end_phase(w, p, heads, TERSE_SPENT_ATTEND);
}
