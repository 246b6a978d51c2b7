/* model/moe.c: a feed-forward of experts (Mixtral's rule): softmax over all router scores, the best k, their
 * weights renormalised. Tokens are sorted by expert, so that an expert's weights are read once per batch; a
 * token's results are added best expert first, whatever the batch. */
#include "model/forward.h"

#include "base/memory.h"
#include "simd/expf.h"

#include <string.h>

/* softmax(score) in place, then the k best (lowest index on ties), renormalised. */
static void choose(float *score, int32_t n, int32_t k, int32_t *pick, float *share)
{
    float top = score[0], sum = 0.0f, chosen = 0.0f;
    for (int32_t e = 1; e < n; e++)
        top = score[e] > top ? score[e] : top;
    for (int32_t e = 0; e < n; e++)
        sum += score[e] = terse_expf(score[e] - top);
    for (int32_t j = 0; j < k; j++) {
        int32_t best = -1;
        for (int32_t e = 0; e < n; e++)
            if (score[e] >= 0.0f && (best < 0 || score[e] > score[best]))
                best = e;
        pick[j] = best < 0 ? j : best; /* NaN scores: any expert, the result is NaN all the same */
        share[j] = best < 0 ? score[j] : score[best] / sum;
        chosen += share[j];
        if (best >= 0)
            score[best] = -1.0f;
    }
    for (int32_t j = 0; j < k; j++)
        share[j] /= chosen;
}

static void route(terse_worker *w, const terse_layer *y, const terse_acts *a)
{
    terse_forward *f = w->f;
    const int32_t n_used = f->model->info.n_expert_used;
    terse_phase *p = terse_next_phase(w);
    for (int32_t t; (t = terse_phase_take(p)) < f->n; terse_phase_finish(p, f->n)) {
        const terse_acts one = terse_acts_slice(a, t, 1);
        float *score = f->moe.score + (size_t)t * (size_t)y->router.n_out;
        terse_linear_rows(f, &y->router, 0, y->router.n_out, &one, score, 0);
        choose(score, y->router.n_out, n_used, f->moe.pick + t * n_used, f->moe.share + t * n_used);
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
        memcpy(to.sum4, from.sum4, n / 4 * sizeof *to.sum4);
        memcpy(f->moe.x + (size_t)i * in->x_stride, from.x, (size_t)a->n * sizeof(float));
    }
    terse_phase_wait(p, n_slot);
}

static terse_linear expert_of(const terse_experts *x, int32_t e)
{
    terse_linear m = x->first;
    m.data += (size_t)e * x->size;
    return m;
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
        const terse_linear gate = expert_of(&y->gates, e), up = expert_of(&y->ups, e);
        const terse_acts a = terse_acts_slice(in, slot, n_slot);
        float *g = moe->gate + (size_t)slot * (size_t)n_ff, *u = moe->up + (size_t)slot * (size_t)n_ff;
        terse_linear_rows(f, &gate, r, n, &a, g + r, (size_t)n_ff);
        terse_linear_rows(f, &up, r, n, &a, u + r, (size_t)n_ff);
        for (size_t t = 0; t < (size_t)n_slot; t++)
            f->kernels.vec.silu_mul(g + t * (size_t)n_ff + r, g + t * (size_t)n_ff + r,
                                    u + t * (size_t)n_ff + r, n);
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
        const terse_linear down = expert_of(&y->downs, e);
        const terse_acts a = terse_acts_slice(&mid, slot, moe->first[e + 1] - slot);
        terse_linear_rows(f, &down, r, n_embd - r < rows ? n_embd - r : rows, &a,
                          moe->out + (size_t)slot * (size_t)n_embd + r, (size_t)n_embd);
    }
    terse_phase_wait(p, pieces);
}

/* Adds each token's results, best expert first. */
static void combine(terse_worker *w, int32_t n_embd)
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
        f->kernels.vec.add(f->x + (size_t)t * (size_t)n_embd, sum, n_embd);
    }
    terse_phase_wait(p, f->n);
}

void terse_moe_run(terse_worker *w, const terse_layer *y)
{
    terse_forward *f = w->f;
    const int32_t n_embd = f->model->info.n_embd, n_slot = f->n * f->model->info.n_expert_used;
    const terse_acts a = terse_shared_inputs(w, f->x, (size_t)n_embd, f->n, n_embd, y->ffn_norm);
    route(w, y, &a);
    terse_phase *p = terse_next_phase(w);
    for (; terse_phase_take(p) < 1; terse_phase_finish(p, 1))
        sort_slots(f);
    terse_phase_wait(p, 1);
    const terse_acts in = terse_acts_of(&f->moe.in, n_embd, n_slot, f->moe.x, (size_t)n_embd);
    gather(w, &a, &in, n_slot);
    experts_gate(w, y, &in);
    experts_down(w, y, n_slot);
    combine(w, n_embd);
}

void terse_moe_place(terse_forward *f, char *base, size_t *at)
{
    const terse_model_info *i = &f->model->info;
    terse_moe *moe = &f->moe;
    const size_t n = (size_t)f->chunk * (size_t)i->n_expert_used, n_embd = (size_t)i->n_embd,
                 n_ff = (size_t)i->n_ff;
    moe->pick = terse_place(base, at, n * sizeof *moe->pick);
    moe->share = terse_place(base, at, n * sizeof *moe->share);
    moe->slot = terse_place(base, at, n * sizeof *moe->slot);
    moe->token = terse_place(base, at, n * sizeof *moe->token);
    moe->first = terse_place(base, at, ((size_t)i->n_expert + 1) * sizeof *moe->first);
    moe->score = terse_place(base, at, (size_t)f->chunk * (size_t)i->n_expert * sizeof(float));
    moe->x = terse_place(base, at, n * n_embd * sizeof(float));
    moe->gate = terse_place(base, at, n * n_ff * sizeof(float));
    moe->up = terse_place(base, at, n * n_ff * sizeof(float));
    moe->out = terse_place(base, at, n * n_embd * sizeof(float));
    terse_acts_place(&moe->in, base, at, n, n_embd);
    terse_acts_place(&moe->mid, base, at, n, n_ff);
}
