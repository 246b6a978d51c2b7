/* model/layer.c: one layer. Attention: norm, q k v, rope, pages, walk, output. Feed-forward: norm, gate and up,
 * activation, down. The names of the phases are the names of the functions; what an architecture leaves out or
 * adds is in its row (arch.c) and in the tensors of the layer. */
#include "model/forward.h"

#include "attend/policy.h"
#include "attend/walk.h"
#include "simd/page.h"

#include <string.h>

static int32_t smaller(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static float *piece_results(const terse_worker *w)
{
    return w->f->piece + (size_t)w->thread * (size_t)w->f->chunk * TERSE_PIECE_ROWS;
}

void terse_project(terse_worker *w, const terse_linear *const *m, float *const *out, int32_t n_mat,
                   const float *src, const terse_norm *norm)
{
    terse_forward *f = w->f;
    const int32_t n_in = m[0]->n_in;
    int32_t pieces = 0;
    for (int32_t k = 0; k < n_mat; k++)
        pieces += terse_pieces(m[k]);
    terse_inputs in = terse_inputs_begin(w, src, (size_t)n_in, f->n, n_in, norm);
    terse_phase *p = terse_next_phase(w);
    for (int32_t i; (i = terse_take_rows(w, p, pieces)) < pieces; terse_phase_finish(p, pieces)) {
        int32_t k = 0;
        for (; i >= terse_pieces(m[k]); k++)
            i -= terse_pieces(m[k]);
        const int32_t rows = terse_piece_rows(m[k]), r = i * rows;
        terse_linear_rows(f, m[k], r, smaller(rows, m[k]->n_out - r), terse_inputs_get(w, &in), out[k] + r,
                          (size_t)m[k]->n_out);
    }
    terse_end_phase(w, p, pieces, TERSE_SPENT_QKV);
}

/* Norms of q and k that see all heads of a token: not a head's own affair. */
static void norm_projections(terse_worker *w, const terse_layer *y)
{
    terse_forward *f = w->f;
    terse_phase *p = terse_next_phase(w);
    for (int32_t t; (t = terse_phase_take(p)) < f->n; terse_phase_finish(p, f->n)) {
        float *q = f->q + (size_t)t * (size_t)y->q.n_out, *k = f->k + (size_t)t * (size_t)y->k.n_out;
        terse_norm_row(f, q, q, &y->q_norm, 0, y->q.n_out);
        terse_norm_row(f, k, k, &y->k_norm, 0, y->k.n_out);
    }
    terse_end_phase(w, p, f->n, TERSE_SPENT_QKV);
}

/* q, k and v of all tokens, and where there is a gate, what their utilities come from. */
static void project(terse_worker *w, int32_t l)
{
    terse_forward *f = w->f;
    const terse_layer *y = &f->model->layer[l];
    const terse_linear *const m[] = { &y->q, &y->k, &y->v, f->utility ? &f->utility->layer[l].in : NULL };
    float *const out[] = { f->q, f->k, f->v, f->utility_in };
    if (f->model->arch->latent) {
        terse_mla_project(w, y);
        return;
    }
    terse_project(w, m, out, f->utility ? 4 : 3, f->x, &y->attn_norm);
    if (f->model->arch->qk_norm == TERSE_QK_ALL)
        norm_projections(w, y);
}

/* One head of q or k as the pages take it: normed, turned. */
static void finish_head(const terse_forward *f, const terse_layer *y, const terse_norm *norm, int32_t head,
                        int32_t t, float *x)
{
    if (norm->weight && f->model->arch->qk_norm != TERSE_QK_ALL)
        terse_norm_row(f, x, x, norm, head, f->model->info.dim_k);
    terse_turn(f, y->rope, t, x);
}

static void put(terse_forward *f, int32_t l, int32_t head, int32_t t, const float *k, const float *v)
{
    const terse_gate *g = f->utility;
    const float *hidden = g ? f->utility_in + (size_t)t * (size_t)g->layer[l].in.n_out : NULL;
    const terse_row *row = &f->rows[t];
    terse_policy_put(row->seq->attend, row->seq->kv, l, head, row->pos, k, v,
                     g ? terse_gate_utility(g, l, head, hidden) : 0.0f);
}

/* Puts a token whose heads have fewer channels than the pages: the others are 0. */
static void put_padded(terse_forward *f, int32_t l, int32_t head, int32_t t, const float *k, const float *v)
{
    float wide_k[TERSE_KV_DIM] = { 0.0f }, wide_v[TERSE_KV_DIM] = { 0.0f };
    memcpy(wide_k, k, (size_t)f->model->info.dim_k * sizeof *k);
    memcpy(wide_v, v, (size_t)f->model->info.dim_v * sizeof *v);
    put(f, l, head, t, wide_k, wide_v);
}

void terse_put(terse_forward *f, int32_t l, int32_t head, int32_t t, const float *k, const float *v)
{
    const terse_model_info *i = &f->model->info;
    if (i->dim_k == f->dim_k && i->dim_v == f->dim_v)
        put(f, l, head, t, k, v);
    else
        put_padded(f, l, head, t, k, v);
}

float *terse_query(const terse_forward *f, int32_t t, int32_t head)
{
    return f->query + ((size_t)t * (size_t)f->model->info.n_head + (size_t)head) * (size_t)f->dim_k;
}

/* Where the walk of query head `head` leaves its result. */
static float *result(const terse_forward *f, int32_t t, int32_t head)
{
    return f->mixed + ((size_t)t * (size_t)f->model->info.n_head + (size_t)head) * (size_t)f->dim_v;
}

/* Finishes the key and the queries of one KV head's group for token t of the batch, and stores key and value in
 * the pages. */
static void rotate_and_put(terse_forward *f, int32_t l, int32_t head, int32_t t)
{
    const terse_model *m = f->model;
    const terse_model_info *i = &m->info;
    const terse_layer *y = &m->layer[l];
    const int32_t group = i->n_head / i->n_head_kv;
    if (m->arch->latent) {
        terse_mla_put(f, l, head, t);
        return;
    }
    float *k = f->k + ((size_t)t * (size_t)i->n_head_kv + (size_t)head) * (size_t)i->dim_k;
    const float *v = f->v + ((size_t)t * (size_t)i->n_head_kv + (size_t)head) * (size_t)i->dim_v;
    finish_head(f, y, &y->k_norm, head, t, k);
    for (int32_t h = head * group; h < (head + 1) * group; h++) {
        float *q = f->q + ((size_t)t * (size_t)i->n_head + (size_t)h) * (size_t)i->dim_k;
        finish_head(f, y, &y->q_norm, h, t, q);
        if (f->query != f->q)
            memcpy(terse_query(f, t, h), q, (size_t)i->dim_k * sizeof *q);
    }
    terse_put(f, l, head, t, k, v);
}

/* Takes the results of a group from the pages' width to the heads'. Latents go through terse_mla_values. */
static void collect(terse_forward *f, int32_t head, int32_t t)
{
    const terse_model *m = f->model;
    const int32_t group = m->info.n_head / m->info.n_head_kv;
    if (f->mixed == f->att || m->latent.latent)
        return;
    for (int32_t h = head * group; h < (head + 1) * group; h++)
        memcpy(f->att + ((size_t)t * (size_t)m->info.n_head + (size_t)h) * (size_t)m->dim_o, result(f, t, h),
               (size_t)m->dim_o * sizeof *f->att);
}

/* ---- attention: pieces of work are (segment, KV head); those of one head are taken one after the other, so
 * that pages which several sequences share may still be in a cache ---- */

/* Do the tokens of a segment all read everything, and share the reading? */
static bool shares(const terse_segment *g, int32_t l)
{
    return !g->decode ||
           (g->n > 1 && !g->seq->tap.attended && terse_walk_is_dense(g->seq->walk[0], l, g->pos + g->n));
}

/* Puts the tokens of a segment that share their reading. */
static void put_all(terse_forward *f, const terse_segment *g, int32_t l, int32_t head)
{
    terse_attend_stats *stats = &g->seq->stats[l * f->model->info.n_head_kv + head];
    for (int32_t t = 0; t < g->n; t++) {
        const int32_t pos = g->pos + t, rest = TERSE_PAGE - pos % TERSE_PAGE;
        rotate_and_put(f, l, head, g->row + t);
        if (g->decode && (t == 0 || rest == TERSE_PAGE))
            terse_walk_count_dense(g->seq->kv, l, pos, smaller(rest, g->n - t), 0, stats);
    }
}

/* What the walk of row t has found. */
static void finish_walk(terse_forward *f, const terse_segment *g, int32_t l, int32_t head, int32_t t)
{
    const int32_t first = head * (f->model->info.n_head / f->model->info.n_head_kv);
    const terse_tap *tap = &g->seq->tap;
    if (tap->attended)
        tap->attended(tap->ctx, l, head, f->rows[t].pos, terse_query(f, t, first), result(f, t, first));
    collect(f, head, t);
}

/* Each token is put and walked before the next one is put, so that the walk finds pages, radii and summaries as
 * decoding one by one would leave them, whatever the rule. */
static void walk_each(terse_worker *w, const terse_segment *g, int32_t l, int32_t head)
{
    terse_forward *f = w->f;
    const int32_t heads = f->model->info.n_head_kv, first = head * (f->model->info.n_head / heads);
    for (int32_t t = g->row; t < g->row + g->n; t++) {
        rotate_and_put(f, l, head, t);
        terse_walk_decode(g->seq->walk[w->thread], l, head, f->rows[t].pos + 1, f->model->scale,
                          terse_query(f, t, first), result(f, t, first), &g->seq->stats[l * heads + head]);
        finish_walk(f, g, l, head, t);
    }
}

/* The token of the leader of a group, and those of the others, which read its first pages with it. */
static void walk_group(terse_worker *w, int32_t leader, int32_t l, int32_t head)
{
    terse_forward *f = w->f;
    const int32_t heads = f->model->info.n_head_kv, first = head * (f->model->info.n_head / heads);
    terse_walker s[TERSE_PAGE];
    int32_t n = 0;
    for (int32_t i = leader; i < f->n_segment; i++) {
        const terse_segment *g = &f->segment[i];
        if (f->group[i].leader != leader)
            continue;
        rotate_and_put(f, l, head, g->row);
        s[n++] = (terse_walker){ g->seq->kv, g->pos + 1, terse_query(f, g->row, first),
                                 result(f, g->row, first), &g->seq->stats[l * heads + head] };
    }
    terse_walk_shared(f->segment[leader].seq->walk[w->thread], s, n, f->group[leader].n_shared, l, head,
                      f->model->scale);
    for (int32_t i = leader; i < f->n_segment; i++)
        if (f->group[i].leader == leader)
            collect(f, head, f->segment[i].row);
}

static int32_t first_page(const terse_segment *g)
{
    return g->pos / TERSE_PAGE;
}

static int32_t last_page(const terse_segment *g)
{
    return (g->pos + g->n - 1) / TERSE_PAGE;
}

/* The tokens of a segment that lie in one page: the k-th from behind, for the long ones go first. */
static void walk_page(terse_worker *w, const terse_segment *g, int32_t l, int32_t head, int32_t k)
{
    terse_forward *f = w->f;
    const terse_model_info *i = &f->model->info;
    const int32_t group = i->n_head / i->n_head_kv, page = last_page(g) - k;
    const int32_t from = page == first_page(g) ? g->pos : page * TERSE_PAGE;
    const int32_t to = smaller((page + 1) * TERSE_PAGE, g->pos + g->n), row = g->row + from - g->pos;
    terse_walk_prefill(g->seq->walk[w->thread], l, head, from, to - from, f->model->scale,
                       terse_query(f, row, head * group), (size_t)i->n_head * (size_t)f->dim_k,
                       result(f, row, head * group), (size_t)i->n_head * (size_t)f->dim_v);
    for (int32_t t = row; t < row + to - from; t++)
        collect(f, head, t);
}

/* Tokens that read everything are put at first, and walked by pages when all of them are there. */
static void attend_whole(terse_worker *w, int32_t l)
{
    terse_forward *f = w->f;
    const int32_t heads = f->model->info.n_head_kv, n = f->n_segment, whole = heads * n;
    int32_t pieces = 0;
    for (int32_t i = 0; i < n; i++)
        if (shares(&f->segment[i], l))
            pieces += heads * (last_page(&f->segment[i]) - first_page(&f->segment[i]) + 1);
    terse_phase *p = terse_next_phase(w);
    for (int32_t k; (k = terse_phase_take(p)) < whole; terse_phase_finish(p, whole)) {
        const terse_segment *g = &f->segment[k % n];
        if (shares(g, l))
            put_all(f, g, l, k / n);
        else if (f->group[k % n].n > 1)
            walk_group(w, k % n, l, k / n);
        else if (f->group[k % n].leader == k % n)
            walk_each(w, g, l, k / n);
    }
    terse_end_phase(w, p, whole, TERSE_SPENT_ATTEND);
    if (!pieces)
        return;
    p = terse_next_phase(w);
    for (int32_t k; (k = terse_phase_take(p)) < pieces; terse_phase_finish(p, pieces)) {
        const terse_segment *g = f->segment;
        for (int32_t m;; g++) {
            m = shares(g, l) ? heads * (last_page(g) - first_page(g) + 1) : 0;
            if (k < m)
                break;
            k -= m;
        }
        walk_page(w, g, l, k % heads, k / heads);
    }
    terse_end_phase(w, p, pieces, TERSE_SPENT_ATTEND);
}

/* ---- attention of segments of one token, the pages of a KV head split among the threads ---- */

static terse_walk *lead_of(const terse_forward *f, int32_t k)
{
    const int32_t heads = f->model->info.n_head_kv;
    return f->segment[k / heads].seq->walk[f->n_thread + k % heads];
}

/* Whoever is done last puts the strands together. That ends split head k, one of n_split of phase p. */
static void end_head(terse_forward *f, int32_t l, int32_t k, terse_phase *p, int32_t n_split)
{
    const int32_t heads = f->model->info.n_head_kv, group = f->model->info.n_head / heads, h = k % heads;
    const terse_segment *g = &f->segment[k / heads];
    terse_walk_end(lead_of(f, k), result(f, g->row, h * group), &g->seq->stats[l * heads + h]);
    finish_walk(f, g, l, h, g->row);
    terse_phase_finish(p, n_split);
}

static void walk_strand(terse_worker *w, int32_t l, int32_t k, int32_t s, terse_phase *p, int32_t n_split)
{
    terse_forward *f = w->f;
    const terse_segment *g = &f->segment[k / f->model->info.n_head_kv];
    terse_walk_strand(lead_of(f, k), g->seq->walk[w->thread], s);
    if (atomic_fetch_sub(&f->split_head[k].left, 1) == 1)
        end_head(f, l, k, p, n_split);
}

/* Puts the token and walks what comes before the strands, and the first of these. */
static void begin_head(terse_worker *w, int32_t l, int32_t k, terse_phase *p, int32_t n_split)
{
    terse_forward *f = w->f;
    const int32_t heads = f->model->info.n_head_kv, group = f->model->info.n_head / heads, h = k % heads;
    const terse_segment *g = &f->segment[k / heads];
    terse_split_head *x = &f->split_head[k];
    rotate_and_put(f, l, h, g->row);
    const int32_t n =
        terse_walk_begin(lead_of(f, k), l, h, g->pos + 1, f->model->scale, terse_query(f, g->row, h * group));
    x->n_strand = n;
    atomic_store(&x->left, n);
    terse_phase_finish(&x->begun, w->split);
    if (n > 0)
        walk_strand(w, l, k, 0, p, n_split);
    else
        end_head(f, l, k, p, n_split);
}

/* As walk_each. A split head is a KV head of a segment; its other strands are for threads that have none to
 * begin. */
static void attend_split(terse_worker *w, int32_t l)
{
    terse_forward *f = w->f;
    const int32_t n_split = f->model->info.n_head_kv * f->n_segment, more = n_split * (f->split.most - 1);
    terse_phase *p = terse_next_phase(w), *rest = terse_next_phase(w);
    w->split++;
    for (int32_t k; (k = terse_phase_take_near(p, w->thread, f->n_thread, n_split)) < n_split;)
        begin_head(w, l, k, p, n_split);
    for (int32_t i; (i = terse_phase_take_near(rest, w->thread, f->n_thread, more)) < more;
         terse_phase_finish(rest, more)) {
        const int32_t k = n_split - 1 - i % n_split; /* rather one that another thread has begun */
        terse_spend(w, TERSE_SPENT_ATTEND);
        terse_phase_wait(&f->split_head[k].begun, w->split);
        terse_spend(w, TERSE_SPENT_WAIT);
        if (1 + i / n_split < f->split_head[k].n_strand)
            walk_strand(w, l, k, 1 + i / n_split, p, n_split);
    }
    terse_end_phase(w, rest, more, TERSE_SPENT_ATTEND);
    terse_phase_wait(p, n_split);
}

/* x += norm(branch) for all tokens. */
static void add_normed(terse_worker *w, const terse_norm *norm, int32_t n_embd, terse_spent what)
{
    terse_forward *f = w->f;
    terse_phase *p = terse_next_phase(w);
    for (int32_t t; (t = terse_phase_take(p)) < f->n; terse_phase_finish(p, f->n)) {
        float *branch = f->branch + (size_t)t * (size_t)n_embd;
        terse_norm_row(f, branch, branch, norm, 0, n_embd);
        terse_add_branch(f, f->x + (size_t)t * (size_t)n_embd, branch, n_embd);
    }
    terse_end_phase(w, p, f->n, what);
}

/* x += post(m . src) for all tokens; post without weights is none. */
static void multiply_add(terse_worker *w, const terse_linear *m, const float *src, const terse_norm *post,
                         terse_spent what)
{
    terse_forward *f = w->f;
    const size_t n_embd = (size_t)m->n_out;
    const int32_t rows = terse_piece_rows(m), pieces = terse_pieces(m);
    float *y = piece_results(w);
    terse_inputs in = terse_inputs_begin(w, src, (size_t)m->n_in, f->n, m->n_in, NULL);
    terse_phase *p = terse_next_phase(w);
    for (int32_t i; (i = terse_take_rows(w, p, pieces)) < pieces; terse_phase_finish(p, pieces)) {
        const int32_t r = i * rows, n = smaller(rows, m->n_out - r);
        const terse_acts *a = terse_inputs_get(w, &in);
        if (post->weight) {
            terse_linear_rows(f, m, r, n, a, f->branch + r, n_embd);
            continue;
        }
        terse_linear_rows(f, m, r, n, a, y, (size_t)rows);
        for (size_t t = 0; t < (size_t)f->n; t++)
            terse_add_branch(f, f->x + t * n_embd + r, y + t * (size_t)rows, n);
    }
    terse_end_phase(w, p, pieces, what);
    if (post->weight)
        add_normed(w, post, m->n_out, what);
}

/* gate = act(gate . x) * (up . x) */
static void gate_and_up(terse_worker *w, const terse_layer *y)
{
    terse_forward *f = w->f;
    const size_t n_ff = (size_t)y->gate.n_out;
    const int32_t rows = terse_piece_rows(&y->gate), pieces = terse_pieces(&y->gate);
    float *up = piece_results(w);
    terse_inputs in = terse_inputs_begin(w, f->x, (size_t)y->gate.n_in, f->n, y->gate.n_in, &y->ffn_norm);
    terse_phase *p = terse_next_phase(w);
    for (int32_t i; (i = terse_take_rows(w, p, pieces)) < pieces; terse_phase_finish(p, pieces)) {
        const int32_t r = i * rows, n = smaller(rows, y->gate.n_out - r);
        const terse_acts *a = terse_inputs_get(w, &in);
        terse_linear_rows(f, &y->gate, r, n, a, f->gate + r, n_ff);
        terse_linear_rows(f, &y->up, r, n, a, up, (size_t)rows);
        for (size_t t = 0; t < (size_t)f->n; t++)
            terse_activate(f, f->gate + t * n_ff + r, up + t * (size_t)rows, n);
    }
    terse_end_phase(w, p, pieces, TERSE_SPENT_GATE_UP);
}

/* Splitting pays where there are fewer walks than threads. The bits are the same. */
static bool splits(const terse_forward *f)
{
    for (int32_t i = 0; i < f->n_segment; i++)
        if (!f->segment[i].decode || f->segment[i].n > 1)
            return false;
    return f->split.most > 1 && (f->n_segment == 1 || f->n_segment * f->model->info.n_head_kv < f->n_thread);
}

static void attend(terse_worker *w, int32_t l)
{
    if (splits(w->f))
        attend_split(w, l);
    else
        attend_whole(w, l);
    terse_judge(w, l);
    if (w->f->model->latent.latent)
        terse_mla_values(w, &w->f->model->layer[l]);
}

/* A parallel layer's feed-forward sees what attention sees; shared experts see what the others see: gate and up
 * come before x changes. */
void terse_layer_run(terse_worker *w, int32_t l)
{
    terse_forward *f = w->f;
    const terse_layer *y = &f->model->layer[l];
    project(w, l);
    attend(w, l);
    if (!y->parallel)
        multiply_add(w, &y->o, f->att, &y->attn_post, TERSE_SPENT_O);
    if (y->gate.data)
        gate_and_up(w, y);
    if (y->parallel)
        multiply_add(w, &y->o, f->att, &y->attn_post, TERSE_SPENT_O);
    if (y->router.data) {
        terse_moe_run(w, y);
        terse_spend(w, TERSE_SPENT_GATE_UP);
    }
    if (y->gate.data)
        multiply_add(w, &y->down, f->gate, &y->ffn_post, TERSE_SPENT_DOWN);
}
