/* model/mla.c: multi-head latent attention (DeepSeek-V2, arXiv 2405.04434). A token is compressed to a latent c
 * and a key part that turns, shared by all heads. The keys of head h are (K_h c, turning part), its values V_h
 * c.
 *
 * Files with k_b and v_b keep latents in the cache: q . K_h c = (K_h^T q) . c, so that a head's query is taken
 * to the space of the latents once (k_b holds K_h^T), the walk mixes latents, and v_b makes values of the
 * result. All query heads share one cache row. Files with one matrix kv_b keep keys and values of every head.
 */
#include "model/forward.h"

#include "kv/store.h"

#include <string.h>

/* Rows of all tokens of the batch for one head, of n values at src + t * stride, quantised: an input of its
 * own. The heads' places lie one behind the other in the team's activations. */
static terse_acts head_inputs(terse_forward *f, int32_t head, int32_t n, const float *src, size_t stride)
{
    terse_acts a = terse_acts_of(&f->acts, n, f->n, src, stride);
    const size_t skip = (size_t)head * (size_t)f->n * (size_t)a.n_pad;
    a.q += skip;
    a.d += skip / TERSE_ACT_BLOCK;
    a.s += skip / TERSE_ACT_BLOCK;
    a.sum += skip / 16;
    for (int32_t t = 0; t < f->n; t++)
        f->kernels.dot.quantize(&a, t);
    return a;
}

/* Queries to the space of latents, and their other part turned. */
static void absorb(terse_worker *w, const terse_layer *y)
{
    terse_forward *f = w->f;
    const terse_latent *m = &f->model->latent;
    const int32_t heads = f->model->info.n_head, dim = f->model->dim_q;
    const size_t stride = (size_t)heads * (size_t)dim;
    terse_phase *p = terse_next_phase(w);
    for (int32_t h; (h = terse_phase_take(p)) < heads; terse_phase_finish(p, heads)) {
        float *q = f->q + (size_t)h * (size_t)dim;
        const terse_acts a = head_inputs(f, h, m->still, q, stride);
        const terse_linear k_b = terse_stack_at(&y->k_b, h);
        terse_linear_rows(f, &k_b, 0, k_b.n_out, &a, terse_query(f, 0, h), (size_t)heads * (size_t)f->dim_k);
        for (int32_t t = 0; t < f->n; t++) {
            float *turning = q + (size_t)t * stride + m->still;
            terse_turn(f, y->rope, t, turning);
            memcpy(terse_query(f, t, h) + m->kv_rank, turning, (size_t)m->turn * sizeof *turning);
        }
    }
    terse_end_phase(w, p, heads, TERSE_SPENT_QKV);
}

/* The latents' norm and the shared key part; with kv_b every head's keys and values. */
static void expand(terse_worker *w, const terse_layer *y)
{
    terse_forward *f = w->f;
    const terse_latent *m = &f->model->latent;
    const size_t stride = (size_t)y->kv_low.n_out;
    terse_phase *p = terse_next_phase(w);
    for (int32_t t; (t = terse_phase_take(p)) < f->n; terse_phase_finish(p, f->n)) {
        float *c = f->kv_low + (size_t)t * stride;
        terse_norm_row(f, c, c, &y->kv_low_norm, 0, m->kv_rank);
        terse_turn(f, y->rope, t, c + m->kv_rank);
    }
    terse_end_phase(w, p, f->n, TERSE_SPENT_QKV);
    if (!y->kv_b.data)
        return;
    const terse_linear *b = &y->kv_b;
    const int32_t rows = terse_piece_rows(b), pieces = terse_pieces(b);
    terse_inputs in = terse_inputs_begin(w, f->kv_low, stride, f->n, b->n_in, NULL);
    p = terse_next_phase(w);
    for (int32_t i; (i = terse_phase_take(p)) < pieces; terse_phase_finish(p, pieces)) {
        const int32_t r = i * rows, n = b->n_out - r < rows ? b->n_out - r : rows;
        terse_linear_rows(f, b, r, n, terse_inputs_get(w, &in), f->kv_all + r, (size_t)b->n_out);
    }
    terse_end_phase(w, p, pieces, TERSE_SPENT_QKV);
}

void terse_mla_project(terse_worker *w, const terse_layer *y)
{
    terse_forward *f = w->f;
    const bool low = y->q_low.data != NULL;
    const terse_linear *const first[] = { low ? &y->q_low : &y->q, &y->kv_low }, *const second[] = { &y->q };
    float *const out[] = { low ? f->low : f->q, f->kv_low }, *const q[] = { f->q };
    terse_project(w, first, out, 2, f->x, &y->attn_norm);
    if (low)
        terse_project(w, second, q, 1, f->low, &y->q_low_norm);
    expand(w, y);
    if (f->model->latent.latent)
        absorb(w, y);
}

void terse_mla_put(terse_forward *f, int32_t l, int32_t head, int32_t t)
{
    const terse_model *m = f->model;
    const terse_layer *y = &m->layer[l];
    const terse_latent *a = &m->latent;
    const float *c = f->kv_low + (size_t)t * (size_t)y->kv_low.n_out;
    if (a->latent) {
        terse_put(f, l, head, t, c, c);
        return;
    }
    const float *own =
        f->kv_all + ((size_t)t * (size_t)m->info.n_head + (size_t)head) * (size_t)(a->still + a->dim_v);
    float k[TERSE_KV_DIM], *q = f->q + ((size_t)t * (size_t)m->info.n_head + (size_t)head) * (size_t)m->dim_q;
    memcpy(k, own, (size_t)a->still * sizeof *k);
    memcpy(k + a->still, c + a->kv_rank, (size_t)a->turn * sizeof *k);
    terse_turn(f, y->rope, t, q + a->still);
    if (f->query != f->q)
        memcpy(terse_query(f, t, head), q, (size_t)m->dim_q * sizeof *q);
    terse_put(f, l, head, t, k, own + a->still);
}

void terse_mla_values(terse_worker *w, const terse_layer *y)
{
    terse_forward *f = w->f;
    const int32_t heads = f->model->info.n_head;
    const size_t dim = (size_t)f->dim_v, dim_o = (size_t)f->model->dim_o;
    terse_phase *p = terse_next_phase(w);
    for (int32_t h; (h = terse_phase_take(p)) < heads; terse_phase_finish(p, heads)) {
        const terse_acts a =
            head_inputs(f, h, f->model->latent.kv_rank, f->mixed + (size_t)h * dim, (size_t)heads * dim);
        const terse_linear v_b = terse_stack_at(&y->v_b, h);
        terse_linear_rows(f, &v_b, 0, v_b.n_out, &a, f->att + (size_t)h * dim_o, (size_t)heads * dim_o);
    }
    terse_end_phase(w, p, heads, TERSE_SPENT_O);
}
