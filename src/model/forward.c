/* model/forward.c: working memory, the inputs of matrices, and the pass: embedding, layers, logits. */
#include "model/forward.h"

#include "base/memory.h"
#include "kv/store.h"

#include <string.h>

enum { PHASES = 32 /* per layer, at most */, PIECE_BYTES = 128 << 10 };

/* ---- activations ---- */

/* An odd number of steps of 256: tokens that lie a power of two apart would share a few sets of the first-level
 * cache.
 */
static size_t pad(size_t n)
{
    const size_t steps = terse_align_up(n, 256) / 256;
    return (steps | 1) * 256;
}

void terse_acts_place(terse_acts *a, char *base, size_t *at, size_t n_token, size_t width)
{
    const size_t n = n_token * pad(width);
    a->q = terse_place(base, at, n);
    a->d = terse_place(base, at, n / TERSE_ACT_BLOCK * sizeof *a->d);
    a->s = terse_place(base, at, n / TERSE_ACT_BLOCK * sizeof *a->s);
    a->sum = terse_place(base, at, n / 16 * sizeof *a->sum);
}

terse_acts terse_acts_of(const terse_acts *a, int32_t n, int32_t n_token, const float *x, size_t x_stride)
{
    terse_acts view = *a;
    view.n = n;
    view.n_token = n_token;
    view.n_pad = (int32_t)pad((size_t)n);
    view.x = x;
    view.x_stride = x_stride;
    return view;
}

terse_acts terse_acts_slice(const terse_acts *a, int32_t first, int32_t n)
{
    const size_t skip = (size_t)first * (size_t)a->n_pad;
    terse_acts view = *a;
    view.n_token = n;
    view.x += (size_t)first * a->x_stride;
    view.q += skip;
    view.d += skip / TERSE_ACT_BLOCK;
    view.s += skip / TERSE_ACT_BLOCK;
    view.sum += skip / 16;
    return view;
}

void terse_norm_row(const terse_forward *f, float *y, const float *x, const terse_norm *norm, int32_t row,
                    int32_t n)
{
    const size_t skip = (size_t)row * (size_t)norm->stride;
    if (f->model->arch->layer_norm)
        f->kernels.vec.layer_norm(y, x, norm->weight + skip, norm->bias ? norm->bias + skip : NULL, n,
                                  f->model->norm_eps);
    else
        f->kernels.vec.rms_norm(y, x, norm->weight + skip, n, f->model->norm_eps);
}

/* norm NULL: none */
static void prepare(const terse_forward *f, const terse_acts *a, int32_t t, float *x, const float *src,
                    const terse_norm *norm)
{
    if (norm)
        terse_norm_row(f, x, src, norm, 0, a->n);
    f->kernels.dot.quantize(a, t);
}

terse_acts terse_shared_inputs(terse_worker *w, const float *src, size_t stride, int32_t n_token, int32_t n,
                               const terse_norm *norm)
{
    terse_forward *f = w->f;
    norm = norm && norm->weight ? norm : NULL;
    const size_t width = (size_t)n; /* of h: only norms write there */
    const terse_acts a = norm ? terse_acts_of(&f->acts, n, n_token, f->h, width)
                              : terse_acts_of(&f->acts, n, n_token, src, stride);
    terse_phase *p = terse_next_phase(w);
    for (int32_t t; (t = terse_phase_take(p)) < n_token; terse_phase_finish(p, n_token))
        prepare(f, &a, t, f->h + (size_t)t * width, src + (size_t)t * stride, norm);
    terse_end_phase(w, p, n_token, TERSE_SPENT_PREPARE);
    return a;
}

terse_inputs terse_inputs_begin(terse_worker *w, const float *src, size_t stride, int32_t n_token, int32_t n,
                                const terse_norm *norm)
{
    const terse_forward *f = w->f;
    norm = norm && norm->weight ? norm : NULL;
    if (n_token > 1)
        return (terse_inputs){ .acts = terse_shared_inputs(w, src, stride, n_token, n, norm), .ready = true };
    const float *x = norm ? f->own_x + (size_t)w->thread * f->width : src;
    return (terse_inputs){ src, norm, terse_acts_of(&f->own[w->thread], n, 1, x, 0), false };
}

const terse_acts *terse_inputs_get(terse_worker *w, terse_inputs *in)
{
    if (!in->ready) {
        prepare(w->f, &in->acts, 0, w->f->own_x + (size_t)w->thread * w->f->width, in->src, in->norm);
        terse_spend(w, TERSE_SPENT_PREPARE);
    }
    in->ready = true;
    return &in->acts;
}

/* ---- matrices ---- */

int32_t terse_piece_rows(const terse_linear *m)
{
    const size_t rows = PIECE_BYTES / m->row_size / 32 * 32; /* kernels take 32 rows at a time */
    return rows < 32 ? 32 : rows > TERSE_PIECE_ROWS ? TERSE_PIECE_ROWS : (int32_t)rows;
}

int32_t terse_pieces(const terse_linear *m)
{
    const int32_t rows = terse_piece_rows(m);
    return (m->n_out - 1) / rows + 1;
}

void terse_linear_rows(const terse_forward *f, const terse_linear *m, int32_t r0, int32_t n,
                       const terse_acts *a, float *y, size_t stride)
{
    f->kernels.dot.rows(m->type, y, stride, m->data + (size_t)r0 * m->row_size, m->row_size, n, a);
    for (int32_t t = 0; m->bias && t < a->n_token; t++)
        f->kernels.vec.add(y + (size_t)t * stride, m->bias + r0, n);
}

terse_linear terse_stack_at(const terse_stack *s, int32_t i)
{
    terse_linear m = s->first;
    m.data += (size_t)i * s->size;
    if (m.bias)
        m.bias += (size_t)i * (size_t)m.n_out;
    return m;
}

void terse_turn(const terse_forward *f, int32_t rope, int32_t t, float *x)
{
    if (rope == TERSE_ROPE_NONE)
        return;
    const terse_rope *r = f->rope[rope];
    const float *cs = f->cs[rope] + (size_t)t * (size_t)r->n;
    if (r->halves)
        f->kernels.vec.rope_halves(x, cs, r->n);
    else
        f->kernels.vec.rope_pairs(x, cs, r->n);
}

void terse_activate(const terse_forward *f, float *gate, const float *up, int32_t n)
{
    switch (f->model->arch->act) {
    case TERSE_ACT_GELU:
        f->kernels.vec.gelu_mul(gate, gate, up, n);
        break;
    case TERSE_ACT_SWIGLU_CLAMPED:
        f->kernels.vec.swiglu_clamped(gate, gate, up, n);
        break;
    default:
        f->kernels.vec.silu_mul(gate, gate, up, n);
    }
}

/* ---- the pass ---- */

static void scale(float *x, int32_t n, float by)
{
    for (int32_t i = 0; i < n && by != 1.0f; i++)
        x[i] *= by;
}

static void embed(terse_worker *w)
{
    terse_forward *f = w->f;
    const terse_linear *e = &f->model->embed;
    terse_phase *p = terse_next_phase(w);
    for (int32_t t; (t = terse_phase_take(p)) < f->n; terse_phase_finish(p, f->n)) {
        float *x = f->x + (size_t)t * (size_t)e->n_in;
        terse_dequant_row(e->type, x, e->data + (size_t)f->tokens[t] * e->row_size, e->n_in);
        scale(x, e->n_in, f->model->embed_scale);
        for (int32_t r = 0; r < 2; r++)
            if (f->rope[r]->freq)
                terse_rope_at(f->rope[r], f->rows[t].pos, f->cs[r] + (size_t)t * (size_t)f->rope[r]->n);
    }
    terse_end_phase(w, p, f->n, TERSE_SPENT_EMBED);
}

/* The rows that are wanted, one behind the other. */
static const float *gather(terse_worker *w, size_t n_embd)
{
    terse_forward *f = w->f;
    const int32_t first = f->wanted[0], n = f->n_wanted;
    if (f->wanted[n - 1] - first == n - 1)
        return f->x + (size_t)first * n_embd;
    terse_phase *p = terse_next_phase(w);
    for (int32_t i; (i = terse_phase_take(p)) < 1; terse_phase_finish(p, 1))
        for (int32_t k = 0; k < n; k++)
            memmove(f->x + (size_t)k * n_embd, f->x + (size_t)f->wanted[k] * n_embd, n_embd * sizeof *f->x);
    terse_end_phase(w, p, 1, TERSE_SPENT_LOGITS);
    return f->x;
}

static void logits(terse_worker *w)
{
    terse_forward *f = w->f;
    const terse_linear *o = &f->model->output;
    const size_t n_embd = (size_t)o->n_in;
    const int32_t n = f->n_wanted, rows = terse_piece_rows(o), pieces = terse_pieces(o);
    const float *x = gather(w, n_embd);
    const float cap = f->model->logits_cap;
    terse_inputs in = terse_inputs_begin(w, x, n_embd, n, o->n_in, &f->model->output_norm);
    terse_phase *p = terse_next_phase(w);
    for (int32_t i; (i = terse_take_rows(w, p, pieces)) < pieces; terse_phase_finish(p, pieces)) {
        const int32_t r = i * rows, some = o->n_out - r < rows ? o->n_out - r : rows;
        terse_linear_rows(f, o, r, some, terse_inputs_get(w, &in), f->logits + r, (size_t)o->n_out);
        for (int32_t t = 0; t < n; t++) {
            float *row = f->logits + (size_t)t * (size_t)o->n_out + r;
            scale(row, some, f->model->logits_scale);
            if (cap > 0.0f)
                f->kernels.vec.softcap(row, some, cap);
        }
    }
    terse_end_phase(w, p, pieces, TERSE_SPENT_LOGITS);
}

static void work(void *ctx, int32_t thread, int32_t n_thread)
{
    (void)n_thread;
    terse_forward *f = ctx;
    terse_worker w = { .f = f, .thread = thread, .at = f->watch && f->decode ? terse_now_ns() : 0 };
    embed(&w);
    for (int32_t l = 0; l < f->model->info.n_layer; l++) {
        if (f->abort && atomic_load_explicit(f->abort, memory_order_relaxed)) {
            atomic_store(&f->aborted, true);
            return; /* others may go on: no phase needs this thread */
        }
        terse_layer_run(&w, l);
    }
    if (f->n_wanted)
        logits(&w);
}

/* Adds up a step. What is left of the time of all threads went by in waiting. */
static void add_spent(terse_forward *f)
{
    int64_t left = (terse_now_ns() - f->began) * f->n_thread;
    for (int32_t t = 0; t < f->n_thread; t++)
        for (int32_t k = 0; k < TERSE_SPENT_WAIT; k++) {
            f->spent.ns[k] += f->own_spent[t].ns[k];
            left -= f->own_spent[t].ns[k];
        }
    f->spent.ns[TERSE_SPENT_WAIT] += left;
}

/* What a row is told by its segment. */
static void number_rows(terse_forward *f)
{
    f->decode = true;
    for (int32_t i = 0; i < f->n_segment; i++) {
        const terse_segment *g = &f->segment[i];
        f->decode &= g->decode;
        for (int32_t t = 0; t < g->n; t++)
            f->rows[g->row + t] = (terse_row){ g->seq, g->pos + t };
    }
}

bool terse_forward_run(terse_forward *f)
{
    number_rows(f);
    terse_share_pages(f);
    const bool watch = f->watch && f->decode;
    if (watch) {
        memset(f->own_spent, 0, (size_t)f->n_thread * sizeof *f->own_spent);
        f->began = terse_now_ns();
    }
    atomic_store(&f->aborted, false);
    for (int32_t i = 0; i < f->n_phase; i++)
        terse_phase_reset(&f->phase[i]);
    for (int32_t i = 0; i < terse_split_heads(f); i++)
        terse_phase_reset(&f->split_head[i].begun);
    terse_team_run(f->team, work, f);
    if (watch)
        add_spent(f);
    return !atomic_load(&f->aborted);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Widest vector that is normed before a matrix. */
static size_t width_of_norms(const terse_model *m)
{
    return larger((size_t)m->info.n_embd, larger((size_t)m->latent.q_rank, (size_t)m->latent.kv_rank));
}

/* Walks' queries and results, apart from q and att only where pages have other channels. */
static void lay_out_heads(terse_forward *f, char *base, size_t *at)
{
    const terse_model *m = f->model;
    const terse_model_info *i = &m->info;
    const size_t n = (size_t)f->chunk, one = sizeof(float), heads = n * (size_t)i->n_head;
    const bool same_k = m->dim_q == f->dim_k, same_v = m->dim_o == f->dim_v;
    f->q = terse_place(base, at, heads * (size_t)m->dim_q * one);
    f->att = terse_place(base, at, heads * (size_t)m->dim_o * one);
    f->query = same_k ? f->q : terse_place(base, at, heads * (size_t)f->dim_k * one);
    f->mixed = same_v ? f->att : terse_place(base, at, heads * (size_t)f->dim_v * one);
    f->k = terse_place(base, at, n * (size_t)(i->n_head_kv * i->dim_k) * one);
    f->v = terse_place(base, at, n * (size_t)(i->n_head_kv * i->dim_v) * one);
    f->low = terse_place(base, at, n * (size_t)m->latent.q_rank * one);
    f->kv_low = terse_place(base, at, n * (size_t)m->layer[0].kv_low.n_out * one);
    f->kv_all = terse_place(base, at, n * (size_t)m->layer[0].kv_b.n_out * one);
    for (int32_t r = 0; r < 2; r++)
        f->cs[r] = terse_place(base, at, f->rope[r]->freq ? n * (size_t)f->rope[r]->n * one : 0);
}

/* Places everything in the mapping at base, or measures it while base is NULL. */
static size_t lay_out(terse_forward *f, char *base)
{
    const terse_model *m = f->model;
    const terse_model_info *i = &m->info;
    const size_t n = (size_t)f->chunk, threads = (size_t)f->n_thread, one = sizeof(float);
    size_t at = 0;
    f->x = terse_place(base, &at, n * (size_t)i->n_embd * one);
    f->h = terse_place(base, &at, n * width_of_norms(m) * one);
    f->branch = terse_place(base, &at, m->layer[0].attn_post.weight ? n * (size_t)i->n_embd * one : 0);
    lay_out_heads(f, base, &at);
    f->gate = terse_place(base, &at, n * (size_t)m->n_ff * one);
    f->utility_in = terse_place(base, &at, f->utility ? n * (size_t)f->utility->most * one : 0);
    f->rows = terse_place(base, &at, n * sizeof *f->rows);
    f->group = terse_place(base, &at, n * sizeof *f->group);
    f->wanted = terse_place(base, &at, n * sizeof *f->wanted);
    f->split_head = terse_place(base, &at, (size_t)terse_split_heads(f) * sizeof *f->split_head);
    f->piece = terse_place(base, &at, threads * n * TERSE_PIECE_ROWS * one);
    f->own_x = terse_place(base, &at, threads * f->width * one);
    f->own = terse_place(base, &at, threads * sizeof *f->own);
    f->own_spent = terse_place(base, &at, threads * sizeof *f->own_spent);
    f->phase = terse_place(base, &at, (size_t)f->n_phase * sizeof *f->phase);
    terse_acts_place(&f->acts, base, &at, n, f->width);
    for (size_t t = 0; t < threads; t++) {
        terse_acts own = { 0 };
        terse_acts_place(&own, base, &at, 1, f->width);
        if (base)
            f->own[t] = own;
    }
    if (i->n_expert)
        terse_moe_place(f, base, &at);
    return at;
}

size_t terse_forward_measure(terse_forward *f)
{
    const terse_model *m = f->model;
    const terse_model_info *i = &m->info;
    f->rope[0] = terse_rope_of(m, TERSE_ROPE_FULL, f->ctx);
    f->rope[1] = terse_rope_of(m, TERSE_ROPE_WINDOWED, f->ctx);
    f->width = pad(larger(width_of_norms(m), larger((size_t)(i->n_head * m->dim_o), (size_t)m->n_ff)));
    if (m->latent.latent) /* every head's part of a token is an input of its own */
        f->width = larger(f->width, (size_t)i->n_head * pad(larger((size_t)m->latent.still, (size_t)i->dim_v)));
    f->n_phase = i->n_layer * PHASES + 4;
    return terse_align_up(lay_out(f, NULL), (size_t)2 << 20);
}

terse_status terse_forward_open(terse_forward *f, terse_error *err)
{
    f->map_size = terse_forward_measure(f);
    f->map = terse_pages_map(f->map_size);
    if (!f->map)
        return terse_fail(err, TERSE_NOMEM, "no memory to compute %d tokens at a time: use a smaller chunk",
                          f->chunk);
    lay_out(f, f->map);
    return terse_team_open_at(&f->team, f->n_thread, f->place, err);
}

void terse_forward_close(terse_forward *f)
{
    terse_team_close(&f->team);
    terse_pages_unmap(f->map, f->map_size);
    f->map = NULL;
}
