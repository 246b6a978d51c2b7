/* model/layer.c: one layer. Attention: norm, q k v, rope, pages, walk, output. Feed-forward: norm, gate and up,
 * silu, down. The names of the phases are the names of the functions. */
#include "model/forward.h"

#include "attend/walk.h"
#include "simd/page.h"

static int32_t smaller(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static float *piece_results(const terse_worker *w)
{
    return w->f->piece + (size_t)w->thread * (size_t)w->f->chunk * TERSE_PIECE_ROWS;
}

/* q, k and v of all tokens: the pieces of three matrices, one behind the other. */
static void project(terse_worker *w, const terse_layer *y)
{
    terse_forward *f = w->f;
    const terse_linear *const m[] = { &y->q, &y->k, &y->v };
    float *const out[] = { f->q, f->k, f->v };
    const int32_t n_embd = y->q.n_in, pieces = terse_pieces(m[0]) + terse_pieces(m[1]) + terse_pieces(m[2]);
    terse_inputs in = terse_inputs_begin(w, f->x, (size_t)n_embd, f->n, n_embd, y->attn_norm);
    terse_phase *p = terse_next_phase(w);
    for (int32_t i; (i = terse_phase_take(p)) < pieces; terse_phase_finish(p, pieces)) {
        int32_t k = 0;
        for (; i >= terse_pieces(m[k]); k++)
            i -= terse_pieces(m[k]);
        const int32_t rows = terse_piece_rows(m[k]), r = i * rows;
        terse_linear_rows(f, m[k], r, smaller(rows, m[k]->n_out - r), terse_inputs_get(w, &in), out[k] + r,
                          (size_t)m[k]->n_out);
    }
    terse_end_phase(w, p, pieces, TERSE_SPENT_QKV);
}

/* Turns the key and the queries of one KV head's group for token t of the batch, and stores key and value in
 * the pages. */
static void rotate_and_put(terse_forward *f, int32_t l, int32_t head, int32_t t)
{
    const terse_model_info *i = &f->model->info;
    const terse_rope *rope = &f->model->rope;
    const int32_t group = i->n_head / i->n_head_kv;
    const float *cs = f->cs + (size_t)t * (size_t)rope->n;
    float *k = f->k + ((size_t)t * (size_t)i->n_head_kv + (size_t)head) * (size_t)i->dim_k;
    const float *v = f->v + ((size_t)t * (size_t)i->n_head_kv + (size_t)head) * (size_t)i->dim_v;
    float *q = f->q + ((size_t)t * (size_t)i->n_head + (size_t)(head * group)) * (size_t)i->dim_k;
    f->kernels.vec.rope_pairs(k, cs, rope->n);
    for (int32_t g = 0; g < group; g++)
        f->kernels.vec.rope_pairs(q + (size_t)g * (size_t)i->dim_k, cs, rope->n);
    terse_kv_put(f->kv, l, head, f->pos + t, k, v);
}

/* Each token of the batch is put and walked before the next one is put, so that the walk finds pages, radii and
 * summaries as decoding one by one would leave them, whatever the rule. */
static void attend_decode(terse_worker *w, int32_t l)
{
    terse_forward *f = w->f;
    const terse_model_info *i = &f->model->info;
    const int32_t heads = i->n_head_kv, group = i->n_head / heads;
    terse_phase *p = terse_next_phase(w);
    for (int32_t h; (h = terse_phase_take(p)) < heads; terse_phase_finish(p, heads))
        for (int32_t t = 0; t < f->n; t++) {
            const size_t first = (size_t)t * (size_t)i->n_head + (size_t)(h * group);
            const float *q = f->q + first * (size_t)i->dim_k;
            float *out = f->att + first * (size_t)i->dim_v;
            rotate_and_put(f, l, h, t);
            terse_walk_decode(f->walk[w->thread], l, h, f->pos + t + 1, f->model->scale, q, out,
                              &f->stats[l * heads + h]);
            if (f->tap.attended)
                f->tap.attended(f->tap.ctx, l, h, f->pos + t, q, out);
        }
    terse_end_phase(w, p, heads, TERSE_SPENT_ATTEND);
}

/* As above for one token, the pages of every KV head split among the threads. */
static void attend_split(terse_worker *w, int32_t l)
{
    terse_forward *f = w->f;
    const terse_model_info *i = &f->model->info;
    const int32_t heads = i->n_head_kv, group = i->n_head / heads, strands = heads * f->n_strand;
    terse_walk **lead = f->walk + f->n_thread;
    terse_phase *p = terse_next_phase(w);
    for (int32_t h; (h = terse_phase_take(p)) < heads; terse_phase_finish(p, heads)) {
        rotate_and_put(f, l, h, 0);
        f->split[h] =
            terse_walk_begin(lead[h], l, h, f->pos + 1, f->model->scale, f->q + (size_t)(h * group * i->dim_k));
    }
    terse_end_phase(w, p, heads, TERSE_SPENT_ATTEND);
    p = terse_next_phase(w);
    for (int32_t k; (k = terse_phase_take(p)) < strands; terse_phase_finish(p, strands))
        if (k / heads < f->split[k % heads])
            terse_walk_strand(lead[k % heads], f->walk[w->thread], k / heads);
    terse_end_phase(w, p, strands, TERSE_SPENT_ATTEND);
    p = terse_next_phase(w);
    for (int32_t h; (h = terse_phase_take(p)) < heads; terse_phase_finish(p, heads)) {
        float *out = f->att + (size_t)(h * group * i->dim_v);
        terse_walk_end(lead[h], out, &f->stats[l * heads + h]);
        if (f->tap.attended)
            f->tap.attended(f->tap.ctx, l, h, f->pos, f->q + (size_t)(h * group * i->dim_k), out);
    }
    terse_end_phase(w, p, heads, TERSE_SPENT_ATTEND);
}

/* Tokens of a batch that read everything share the reading. A piece is one KV head and the tokens of the batch
 * that lie in one page; the long ones go first. */
static void attend_prefill(terse_worker *w, int32_t l)
{
    terse_forward *f = w->f;
    const terse_model_info *i = &f->model->info;
    const int32_t heads = i->n_head_kv, group = i->n_head / heads;
    const size_t q_stride = (size_t)i->n_head * (size_t)i->dim_k,
                 o_stride = (size_t)i->n_head * (size_t)i->dim_v;
    terse_phase *p = terse_next_phase(w);
    for (int32_t h; (h = terse_phase_take(p)) < heads; terse_phase_finish(p, heads))
        for (int32_t t = 0; t < f->n; t++) {
            const int32_t pos = f->pos + t, rest = TERSE_PAGE - pos % TERSE_PAGE;
            rotate_and_put(f, l, h, t);
            if (f->decode && (t == 0 || rest == TERSE_PAGE))
                terse_walk_count_dense(f->kv, pos, smaller(rest, f->n - t), &f->stats[l * heads + h]);
        }
    terse_end_phase(w, p, heads, TERSE_SPENT_ATTEND);

    const int32_t first = f->pos / TERSE_PAGE, last = (f->pos + f->n - 1) / TERSE_PAGE;
    const int32_t pieces = heads * (last - first + 1);
    p = terse_next_phase(w);
    for (int32_t k; (k = terse_phase_take(p)) < pieces; terse_phase_finish(p, pieces)) {
        const int32_t h = k % heads, page = last - k / heads;
        const int32_t from = page == first ? f->pos : page * TERSE_PAGE;
        const int32_t to = smaller((page + 1) * TERSE_PAGE, f->pos + f->n);
        const size_t t = (size_t)(from - f->pos);
        terse_walk_prefill(f->walk[w->thread], l, h, from, to - from, f->model->scale,
                           f->q + t * q_stride + (size_t)(h * group * i->dim_k), q_stride,
                           f->att + t * o_stride + (size_t)(h * group * i->dim_v), o_stride);
    }
    terse_end_phase(w, p, pieces, TERSE_SPENT_ATTEND);
}

/* x += m . src for all tokens. */
static void multiply_add(terse_worker *w, const terse_linear *m, const float *src, terse_spent what)
{
    terse_forward *f = w->f;
    const size_t n_embd = (size_t)m->n_out;
    const int32_t rows = terse_piece_rows(m), pieces = terse_pieces(m);
    float *y = piece_results(w);
    terse_inputs in = terse_inputs_begin(w, src, (size_t)m->n_in, f->n, m->n_in, NULL);
    terse_phase *p = terse_next_phase(w);
    for (int32_t i; (i = terse_phase_take(p)) < pieces; terse_phase_finish(p, pieces)) {
        const int32_t r = i * rows, n = smaller(rows, m->n_out - r);
        terse_linear_rows(f, m, r, n, terse_inputs_get(w, &in), y, (size_t)rows);
        for (size_t t = 0; t < (size_t)f->n; t++)
            f->kernels.vec.add(f->x + t * n_embd + r, y + t * (size_t)rows, n);
    }
    terse_end_phase(w, p, pieces, what);
}

/* gate = silu(gate . x) * (up . x) */
static void gate_and_up(terse_worker *w, const terse_layer *y)
{
    terse_forward *f = w->f;
    const size_t n_ff = (size_t)y->gate.n_out;
    const int32_t rows = terse_piece_rows(&y->gate), pieces = terse_pieces(&y->gate);
    float *up = piece_results(w);
    terse_inputs in = terse_inputs_begin(w, f->x, (size_t)y->gate.n_in, f->n, y->gate.n_in, y->ffn_norm);
    terse_phase *p = terse_next_phase(w);
    for (int32_t i; (i = terse_phase_take(p)) < pieces; terse_phase_finish(p, pieces)) {
        const int32_t r = i * rows, n = smaller(rows, y->gate.n_out - r);
        const terse_acts *a = terse_inputs_get(w, &in);
        terse_linear_rows(f, &y->gate, r, n, a, f->gate + r, n_ff);
        terse_linear_rows(f, &y->up, r, n, a, up, (size_t)rows);
        for (size_t t = 0; t < (size_t)f->n; t++) {
            float *g = f->gate + t * n_ff + r;
            f->kernels.vec.silu_mul(g, g, up + t * (size_t)rows, n);
        }
    }
    terse_end_phase(w, p, pieces, TERSE_SPENT_GATE_UP);
}

void terse_layer_run(terse_worker *w, int32_t l)
{
    terse_forward *f = w->f;
    const terse_layer *y = &f->model->layer[l];
    project(w, y);
    const bool shared = f->n > 1 && !f->tap.attended && terse_walk_is_dense(f->walk[0], f->pos + f->n);
    if (f->decode && f->n == 1 && f->n_strand > 1)
        attend_split(w, l);
    else if (f->decode && !shared)
        attend_decode(w, l);
    else
        attend_prefill(w, l);
    multiply_add(w, &y->o, f->att, TERSE_SPENT_O);
    if (y->router.data) {
        terse_moe_run(w, y);
        terse_spend(w, TERSE_SPENT_GATE_UP);
    } else {
        gate_and_up(w, y);
        multiply_add(w, &y->down, f->gate, TERSE_SPENT_DOWN);
    }
}
