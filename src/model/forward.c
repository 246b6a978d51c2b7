/* model/forward.c: working memory, the inputs of matrices, and the pass: embedding, layers, logits. */
#include "model/forward.h"

#include "base/memory.h"

#include <string.h>

enum { PHASES = 8 /* per layer, at most */, PIECE_BYTES = 48 << 10 };

/* ---- activations ---- */

static size_t pad(size_t n)
{
    return terse_align_up(n, 256);
}

terse_status terse_acts_alloc(terse_acts *a, size_t n_token, size_t width, terse_error *err)
{
    const size_t n = n_token * pad(width);
    a->q = terse_calloc64(n, 1);
    a->d = terse_calloc64(n / TERSE_ACT_BLOCK, sizeof *a->d);
    a->s = terse_calloc64(n / TERSE_ACT_BLOCK, sizeof *a->s);
    a->sum4 = terse_calloc64(n / 4, sizeof *a->sum4);
    if (!a->q || !a->d || !a->s || !a->sum4)
        return terse_fail(err, TERSE_NOMEM, "no memory for the activations of %zu tokens", n_token);
    return TERSE_OK;
}

void terse_acts_free(terse_acts *a)
{
    free(a->q);
    free(a->d);
    free(a->s);
    free(a->sum4);
    *a = (terse_acts){ 0 };
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
    view.sum4 += skip / 4;
    return view;
}

terse_acts terse_shared_inputs(terse_worker *w, const float *src, size_t stride, int32_t n_token, int32_t n,
                               const float *norm)
{
    terse_forward *f = w->f;
    const size_t width = f->width;
    const terse_acts a = norm ? terse_acts_of(&f->acts, n, n_token, f->h, width)
                              : terse_acts_of(&f->acts, n, n_token, src, stride);
    for (int32_t t = w->thread; t < n_token; t += w->n_thread) {
        if (norm)
            f->kernels.vec.rms_norm(f->h + (size_t)t * width, src + (size_t)t * stride, norm, n,
                                    f->model->norm_eps);
        f->kernels.dot.quantize(&a, t);
    }
    terse_team_barrier();
    return a;
}

terse_acts terse_inputs(terse_worker *w, const float *src, size_t stride, int32_t n_token, int32_t n,
                        const float *norm)
{
    terse_forward *f = w->f;
    if (n_token > 1)
        return terse_shared_inputs(w, src, stride, n_token, n, norm);
    float *x = f->own_x + (size_t)w->thread * f->width;
    const terse_acts a = terse_acts_of(&f->own[w->thread], n, 1, norm ? x : src, 0);
    if (norm)
        f->kernels.vec.rms_norm(x, src, norm, n, f->model->norm_eps);
    f->kernels.dot.quantize(&a, 0);
    return a;
}

/* ---- matrices ---- */

int32_t terse_piece_rows(const terse_linear *m)
{
    const size_t rows = PIECE_BYTES / m->row_size / 16 * 16;
    return rows < 16 ? 16 : rows > 512 ? 512 : (int32_t)rows;
}

void terse_linear_rows(const terse_forward *f, const terse_linear *m, int32_t r0, int32_t n,
                       const terse_acts *a, float *y, size_t stride)
{
    f->kernels.dot.rows[m->type](y + r0, stride, m->data + (size_t)r0 * m->row_size, m->row_size, n, a);
    for (int32_t t = 0; m->bias && t < a->n_token; t++)
        f->kernels.vec.add(y + (size_t)t * stride + r0, m->bias + r0, n);
}

/* ---- the pass ---- */

static void embed(terse_worker *w)
{
    terse_forward *f = w->f;
    const terse_linear *e = &f->model->embed;
    for (int32_t t = w->thread; t < f->n; t += w->n_thread) {
        terse_dequant_row(e->type, f->x + (size_t)t * (size_t)e->n_in,
                          e->data + (size_t)f->tokens[t] * e->row_size, e->n_in);
        terse_rope_at(&f->model->rope, f->pos + t, f->cs + (size_t)t * (size_t)f->model->rope.n);
    }
    terse_team_barrier();
}

static void logits(terse_worker *w)
{
    terse_forward *f = w->f;
    const terse_linear *o = &f->model->output;
    const size_t n_embd = (size_t)o->n_in;
    const int32_t n = f->all_logits ? f->n : 1, rows = terse_piece_rows(o);
    const float *x = f->x + (size_t)(f->n - n) * n_embd;
    const terse_acts a = terse_inputs(w, x, n_embd, n, o->n_in, f->model->output_norm);
    terse_ticket *ticket = terse_next_ticket(w);
    for (int32_t r; (r = terse_ticket_take(ticket) * rows) < o->n_out;)
        terse_linear_rows(f, o, r, o->n_out - r < rows ? o->n_out - r : rows, &a, f->logits, (size_t)o->n_out);
}

static void work(void *ctx, int32_t thread, int32_t n_thread)
{
    terse_forward *f = ctx;
    terse_worker w = { f, thread, n_thread, 0, false };
    embed(&w);
    for (int32_t l = 0; l < f->model->info.n_layer; l++) {
        if (thread == 0 && f->abort && atomic_load_explicit(f->abort, memory_order_relaxed))
            f->aborted = true;
        terse_layer_run(&w, l);
        if (w.aborted)
            return;
    }
    if (f->logits)
        logits(&w);
}

bool terse_forward_run(terse_forward *f)
{
    f->aborted = false;
    for (int32_t i = 0; i < f->n_ticket; i++)
        terse_ticket_reset(&f->ticket[i]);
    terse_team_run(f->n_thread, work, f);
    return !f->aborted;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

terse_status terse_forward_open(terse_forward *f, terse_error *err)
{
    const terse_model_info *i = &f->model->info;
    const size_t n = (size_t)f->chunk, head = (size_t)i->n_head, head_kv = (size_t)i->n_head_kv,
                 one = sizeof(float);
    const size_t n_ff = i->n_expert ? 0 : (size_t)i->n_ff, threads = (size_t)f->n_thread;
    f->width = pad(larger((size_t)i->n_embd, larger(head * (size_t)i->dim_v, (size_t)i->n_ff)));
    f->n_ticket = i->n_layer * PHASES + 1;
    f->x = terse_calloc64(n * (size_t)i->n_embd, one);
    f->y = terse_calloc64(n * (size_t)i->n_embd, one);
    f->h = terse_calloc64(n * f->width, one);
    f->q = terse_calloc64(n * head * (size_t)i->dim_k, one);
    f->k = terse_calloc64(n * head_kv * (size_t)i->dim_k, one);
    f->v = terse_calloc64(n * head_kv * (size_t)i->dim_v, one);
    f->att = terse_calloc64(n * head * (size_t)i->dim_v, one);
    f->gate = terse_calloc64(n * n_ff + 1, one);
    f->up = terse_calloc64(n * n_ff + 1, one);
    f->cs = terse_calloc64(n * (size_t)f->model->rope.n, one);
    f->own_x = terse_calloc64(threads * f->width, one);
    f->own = terse_calloc64(threads, sizeof *f->own);
    f->ticket = terse_calloc64((size_t)f->n_ticket, sizeof *f->ticket);
    if (!f->x || !f->y || !f->h || !f->q || !f->k || !f->v || !f->att || !f->gate || !f->up || !f->cs ||
        !f->own_x || !f->own || !f->ticket)
        return terse_fail(err, TERSE_NOMEM, "no memory to compute %d tokens at a time: use a smaller chunk",
                          f->chunk);
    terse_status st = terse_acts_alloc(&f->acts, n, f->width, err);
    for (size_t t = 0; t < threads && st == TERSE_OK; t++)
        st = terse_acts_alloc(&f->own[t], 1, f->width, err);
    return st == TERSE_OK && i->n_expert ? terse_moe_open(f, err) : st;
}

void terse_forward_close(terse_forward *f)
{
    float *const all[] = { f->x, f->y, f->h, f->q, f->k, f->v, f->att, f->gate, f->up, f->cs, f->own_x };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    terse_acts_free(&f->acts);
    for (int32_t t = 0; f->own && t < f->n_thread; t++)
        terse_acts_free(&f->own[t]);
    free(f->own);
    free(f->ticket);
    terse_moe_close(f);
}
