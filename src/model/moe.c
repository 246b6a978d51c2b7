/* model/moe.c: a feed-forward of experts: a router's scores, the best k, their weights (terse_routing). Tokens
 * are sorted by expert, so that an expert's weights are read once per batch; a token's results are added best
 * expert first, whatever the batch. */
#include "model/forward.h"

#include "base/memory.h"
#include "simd/expf.h"

#include <string.h>

/* Weights of all experts from their scores, in place: exponentials relative to the largest, whose sum is
 * returned; the scores themselves and 1 where the softmax comes after the choice. */
static float weigh(terse_router kind, float *score, int32_t n)
{
    float top = score[0], sum = 0.0f;
    if (kind == TERSE_ROUTER_CHOSEN)
        return 1.0f;
    if (kind == TERSE_ROUTER_SIGMOID) {
        for (int32_t e = 0; e < n; e++)
            score[e] = 1.0f / (1.0f + terse_expf(-score[e]));
        return 1.0f;
    }
    for (int32_t e = 1; e < n; e++)
        top = score[e] > top ? score[e] : top;
    for (int32_t e = 0; e < n; e++)
        sum += score[e] = terse_expf(score[e] - top);
    return sum;
}

/* The best of rank[n] (lowest index on ties), or -1 if all are -infinity or NaN. */
static int32_t best_of(const float *rank, int32_t n)
{
    int32_t best = -1;
    for (int32_t e = 0; e < n; e++)
        if (rank[e] > (best < 0 ? -INFINITY : rank[best]))
            best = e;
    return best;
}

/* Leaves out all but the best groups of experts (DeepSeek-V3): a group is as good as its two best experts
 * together; under softmax (DeepSeek-V2) as its best. */
static void limit_groups(const terse_routing *r, float *rank, int32_t n)
{
    const int32_t size = n / r->n_group;
    float good[1024];
    if (r->n_group_used >= r->n_group)
        return;
    for (int32_t g = 0; g < r->n_group; g++) {
        float first = -INFINITY, second = -INFINITY;
        for (int32_t e = g * size; e < (g + 1) * size; e++) {
            second = rank[e] > first ? first : rank[e] > second ? rank[e] : second;
            first = rank[e] > first ? rank[e] : first;
        }
        good[g] = r->kind == TERSE_ROUTER_SIGMOID && size > 1 ? first + second : first;
    }
    bool used[1024] = { false };
    for (int32_t k = 0; k < r->n_group_used; k++) {
        const int32_t g = best_of(good, r->n_group);
        if (g < 0)
            return; /* NaN: any experts do */
        used[g] = true;
        good[g] = -INFINITY;
    }
    for (int32_t e = 0; e < n; e++)
        rank[e] = used[e / size] ? rank[e] : -INFINITY;
}

/* The k best experts of score[n], best first, and their weights. rank: [n] scratch; bias (or NULL) is added for
 * choosing only. */
static void choose(const terse_routing *r, float *score, float *rank, const float *bias, int32_t n, int32_t k,
                   int32_t *pick, float *share)
{
    const float sum = weigh(r->kind, score, n);
    float chosen = 0.0f;
    for (int32_t e = 0; e < n; e++)
        rank[e] = bias ? score[e] + bias[e] : score[e];
    limit_groups(r, rank, n);
    for (int32_t j = 0; j < k; j++) {
        const int32_t best = best_of(rank, n);
        pick[j] = best < 0 ? j : best; /* NaN scores: any expert, the result is NaN all the same */
        share[j] = score[pick[j]];
        if (r->kind == TERSE_ROUTER_CHOSEN)
            share[j] = terse_expf(share[j] - score[pick[0]]);
        if (r->kind == TERSE_ROUTER_SOFTMAX)
            share[j] = share[j] / sum;
        chosen += share[j];
        rank[pick[j]] = -INFINITY;
    }
    const bool norm = r->norm || r->kind == TERSE_ROUTER_CHOSEN;
    for (int32_t j = 0; j < k; j++)
        share[j] = (norm ? share[j] / chosen : share[j]) * r->scale;
}

static void route(terse_worker *w, const terse_layer *y, const terse_acts *a)
{
    terse_forward *f = w->f;
    const int32_t n_used = f->model->info.n_expert_used;
    terse_phase *p = terse_next_phase(w);
    for (int32_t t; (t = terse_phase_take(p)) < f->n; terse_phase_finish(p, f->n)) {
        const terse_acts one = terse_acts_slice(a, t, 1);
        const int32_t n = y->router.n_out;
        float *score = f->moe.score + 2 * (size_t)t * (size_t)n;
        terse_linear_rows(f, &y->router, 0, n, &one, score, 0);
        choose(&f->model->routing, score, score + n, y->router_bias, n, n_used, f->moe.pick + t * n_used,
               f->moe.share + t * n_used);
    }
    terse_phase_wait(p, f->n);
}

/* Slots by expert, then by token. */
static void sort_slots(terse_forward *f)
{
    terse_moe *moe = &f->moe;
    const int32_t n_expert = f->model->info.n_expert, n = f->n * f->model->info.n_expert_used;
    memset(moe->first, 0, (size_t)(n_expert + 1) * sizeof *moe->first);
    for (int32_t i = 0; i < n; i++)
        moe->first[moe->pick[i] + 1]++;
    for (int32_t e = 0; e < n_expert; e++)
        moe->first[e + 1] += moe->first[e];
    for (int32_t i = 0; i < n; i++) { /* first[e] moves to first[e + 1] and is put back below */
        moe->slot[i] = moe->first[moe->pick[i]]++;
        moe->token[moe->slot[i]] = i / f->model->info.n_expert_used;
    }
    memmove(moe->first + 1, moe->first, (size_t)n_expert * sizeof *moe->first);
    moe->first[0] = 0;
}

/* Copies the quantised input of every slot's token to the slot. */
static void gather(terse_worker *w, const terse_acts *a, const terse_acts *in, int32_t n_slot)
{
    terse_forward *f = w->f;
    terse_phase *p = terse_next_phase(w);
    for (int32_t i; (i = terse_phase_take(p)) < n_slot; terse_phase_finish(p, n_slot)) {
        const terse_acts from = terse_acts_slice(a, f->moe.token[i], 1), to = terse_acts_slice(in, i, 1);
        const size_t n = (size_t)a->n_pad;
        memcpy(to.q, from.q, n);
        memcpy(to.d, from.d, n / TERSE_ACT_BLOCK * sizeof *to.d);
        memcpy(to.s, from.s, n / TERSE_ACT_BLOCK * sizeof *to.s);
        memcpy(to.sum, from.sum, n / 16 * sizeof *to.sum);
        memcpy(f->moe.x + (size_t)i * in->x_stride, from.x, (size_t)a->n * sizeof(float));
    }
    terse_phase_wait(p, n_slot);
}

/* Pieces are cut for every expert, chosen or not: their number must not depend on the routing, which a late
 * thread may not read any more. Those without tokens are over at once. */
static void experts_gate(terse_worker *w, const terse_layer *y, const terse_acts *in)
{
    terse_forward *f = w->f;
    terse_moe *moe = &f->moe;
    const int32_t n_ff = y->gates.first.n_out, rows = terse_piece_rows(&y->gates.first);
    const int32_t per_expert = terse_pieces(&y->gates.first), pieces = f->model->info.n_expert * per_expert;
    terse_phase *p = terse_next_phase(w);
    for (int32_t i; (i = terse_phase_take(p)) < pieces; terse_phase_finish(p, pieces)) {
        const int32_t e = i / per_expert, r = i % per_expert * rows, n = n_ff - r < rows ? n_ff - r : rows;
        const int32_t slot = moe->first[e], n_slot = moe->first[e + 1] - slot;
        if (n_slot == 0)
            continue;
        const terse_linear gate = terse_stack_at(&y->gates, e), up = terse_stack_at(&y->ups, e);
        const terse_acts a = terse_acts_slice(in, slot, n_slot);
        float *g = moe->gate + (size_t)slot * (size_t)n_ff, *u = moe->up + (size_t)slot * (size_t)n_ff;
        terse_linear_rows(f, &gate, r, n, &a, g + r, (size_t)n_ff);
        terse_linear_rows(f, &up, r, n, &a, u + r, (size_t)n_ff);
        for (size_t t = 0; t < (size_t)n_slot; t++)
            terse_activate(f, g + t * (size_t)n_ff + r, u + t * (size_t)n_ff + r, n);
    }
    terse_phase_wait(p, pieces);
}

static void experts_down(terse_worker *w, const terse_layer *y, int32_t n_slot)
{
    terse_forward *f = w->f;
    terse_moe *moe = &f->moe;
    const int32_t n_embd = y->downs.first.n_out, n_ff = y->downs.first.n_in,
                  rows = terse_piece_rows(&y->downs.first);
    const int32_t per_expert = terse_pieces(&y->downs.first), pieces = f->model->info.n_expert * per_expert;
    const terse_acts mid = terse_acts_of(&moe->mid, n_ff, n_slot, moe->gate, (size_t)n_ff);
    terse_phase *p = terse_next_phase(w);
    for (int32_t i; (i = terse_phase_take(p)) < n_slot; terse_phase_finish(p, n_slot))
        f->kernels.dot.quantize(&mid, i);
    terse_phase_wait(p, n_slot);
    p = terse_next_phase(w);
    for (int32_t i; (i = terse_phase_take(p)) < pieces; terse_phase_finish(p, pieces)) {
        const int32_t e = i / per_expert, r = i % per_expert * rows, slot = moe->first[e];
        if (slot == moe->first[e + 1])
            continue;
        const terse_linear down = terse_stack_at(&y->downs, e);
        const terse_acts a = terse_acts_slice(&mid, slot, moe->first[e + 1] - slot);
        terse_linear_rows(f, &down, r, n_embd - r < rows ? n_embd - r : rows, &a,
                          moe->out + (size_t)slot * (size_t)n_embd + r, (size_t)n_embd);
    }
    terse_phase_wait(p, pieces);
}

/* Adds each token's results, best expert first. */
static void combine(terse_worker *w, const terse_layer *y, int32_t n_embd)
{
    terse_forward *f = w->f;
    terse_moe *moe = &f->moe;
    const int32_t n_used = f->model->info.n_expert_used;
    terse_phase *p = terse_next_phase(w);
    for (int32_t t; (t = terse_phase_take(p)) < f->n; terse_phase_finish(p, f->n)) {
        float *sum = f->h + (size_t)t * (size_t)n_embd; /* free: the norm's output has been gathered */
        memset(sum, 0, (size_t)n_embd * sizeof *sum);
        for (int32_t j = t * n_used; j < (t + 1) * n_used; j++)
            f->kernels.vec.axpy(sum, moe->share[j], moe->out + (size_t)moe->slot[j] * (size_t)n_embd, n_embd);
        if (y->ffn_post.weight)
            terse_norm_row(f, sum, sum, &y->ffn_post, 0, n_embd);
        terse_add_branch(f, f->x + (size_t)t * (size_t)n_embd, sum, n_embd);
    }
    terse_phase_wait(p, f->n);
}

void terse_moe_run(terse_worker *w, const terse_layer *y)
{
    terse_forward *f = w->f;
    const int32_t n_embd = f->model->info.n_embd, n_slot = f->n * f->model->info.n_expert_used;
    const terse_acts a = terse_shared_inputs(w, f->x, (size_t)n_embd, f->n, n_embd, &y->ffn_norm);
    route(w, y, &a);
    terse_phase *p = terse_next_phase(w);
    for (; terse_phase_take(p) < 1; terse_phase_finish(p, 1))
        sort_slots(f);
    terse_phase_wait(p, 1);
    const terse_acts in = terse_acts_of(&f->moe.in, n_embd, n_slot, f->moe.x, (size_t)n_embd);
    gather(w, &a, &in, n_slot);
    experts_gate(w, y, &in);
    experts_down(w, y, n_slot);
    combine(w, y, n_embd);
}

void terse_moe_place(terse_forward *f, char *base, size_t *at)
{
    const terse_model_info *i = &f->model->info;
    terse_moe *moe = &f->moe;
    const size_t n = (size_t)f->chunk * (size_t)i->n_expert_used, n_embd = (size_t)i->n_embd,
                 n_ff = (size_t)f->model->routing.n_ff;
    moe->pick = terse_place(base, at, n * sizeof *moe->pick);
    moe->share = terse_place(base, at, n * sizeof *moe->share);
    moe->slot = terse_place(base, at, n * sizeof *moe->slot);
    moe->token = terse_place(base, at, n * sizeof *moe->token);
    moe->first = terse_place(base, at, ((size_t)i->n_expert + 1) * sizeof *moe->first);
    moe->score = terse_place(base, at, 2 * (size_t)f->chunk * (size_t)i->n_expert * sizeof(float));
    moe->x = terse_place(base, at, n * n_embd * sizeof(float));
    moe->gate = terse_place(base, at, n * n_ff * sizeof(float));
    moe->up = terse_place(base, at, n * n_ff * sizeof(float));
    moe->out = terse_place(base, at, n * n_embd * sizeof(float));
    terse_acts_place(&moe->in, base, at, n, n_embd);
    terse_acts_place(&moe->mid, base, at, n, n_ff);
}
