/* model/bind.c: tensors by name into the layers, with the shapes that the hyper-parameters promise. A tensor
 * that no row asked for is refused: to leave a part of a model out would be to compute something else. */
#include "model/gate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEM = 80, NAME = 96 };

typedef struct {
    terse_model *m;
    bool *bound;     /* [n_tensor] somebody asked for it */
    terse_status st; /* sticky */
    terse_error *err;
} binder;

static const terse_tensor *find(binder *b, const char *name, bool required)
{
    const terse_tensor *t = b->st == TERSE_OK ? terse_gguf_find_tensor(b->m->gguf, name) : NULL;
    if (t)
        b->bound[t - terse_gguf_tensor(b->m->gguf, 0)] = true;
    else if (required && b->st == TERSE_OK)
        b->st = terse_fail(b->err, TERSE_BAD_INPUT, "%s: tensor '%s' is missing", terse_gguf_path(b->m->gguf),
                           name);
    return t;
}

/* Checks [n0, n1, n2] (1 where there are fewer). */
static bool shaped(binder *b, const terse_tensor *t, const char *name, int64_t n0, int64_t n1, int64_t n2)
{
    if (t->ne[0] == n0 && t->ne[1] == n1 && t->ne[2] == n2 && t->ne[3] == 1)
        return true;
    b->st = terse_fail(b->err, TERSE_BAD_INPUT,
                       "%s: tensor '%s' is %lld x %lld x %lld, the metadata says %lld x %lld x %lld",
                       terse_gguf_path(b->m->gguf), name, (long long)t->ne[0], (long long)t->ne[1],
                       (long long)t->ne[2], (long long)n0, (long long)n1, (long long)n2);
    return false;
}

/* n_row rows of n f32 values, read in place. */
static const float *values(binder *b, const char *name, int32_t n, int32_t n_row, bool required)
{
    const terse_tensor *t = find(b, name, required);
    if (!t || !shaped(b, t, name, n, n_row, 1))
        return NULL;
    if (t->type == TERSE_TYPE_F32)
        return t->data;
    b->st = terse_fail(b->err, TERSE_UNSUPPORTED, "%s: tensor '%s' is %s; norms and biases must be F32",
                       terse_gguf_path(b->m->gguf), name, terse_type_of(t->type)->name);
    return NULL;
}

/* The matrices of stem.weight, n_mat of them, with stem.bias if the file has one. */
static terse_linear matrices(binder *b, const char *stem, int32_t n_in, int32_t n_out, int32_t n_mat,
                             bool required)
{
    char name[NAME];
    terse_linear w = { 0 };
    snprintf(name, sizeof name, "%s.weight", stem);
    const terse_tensor *t = find(b, name, required);
    if (!t || !shaped(b, t, name, n_in, n_out, n_mat))
        return w;
    const int type = terse_dot_type_of(t->type);
    if (type < 0) {
        b->st = terse_fail(
            b->err, TERSE_UNSUPPORTED,
            "%s: tensor '%s' is %s, which this build does not multiply; requantize it to Q8_0 or Q4_K",
            terse_gguf_path(b->m->gguf), name, terse_type_of(t->type)->name);
        return w;
    }
    w = (terse_linear){ t->data, NULL, (terse_dot_type)type, n_in, n_out, terse_type_row_size(t->type, n_in) };
    snprintf(name, sizeof name, "%s.bias", stem);
    w.bias = values(b, name, n_out, n_mat, false);
    return w;
}

static const char *stem_of(char stem[STEM], int32_t layer, const char *part)
{
    snprintf(stem, STEM, "blk.%d.%s", layer, part);
    return stem;
}

static terse_linear linear(binder *b, int32_t layer, const char *part, int32_t n_in, int32_t n_out)
{
    char stem[STEM];
    return matrices(b, stem_of(stem, layer, part), n_in, n_out, 1, true);
}

static terse_stack stack(binder *b, int32_t layer, const char *part, int32_t n_in, int32_t n_out, int32_t n_mat)
{
    char stem[STEM];
    const terse_linear w = matrices(b, stem_of(stem, layer, part), n_in, n_out, n_mat, true);
    return (terse_stack){ w, w.row_size * (size_t)n_out };
}

/* Rows [first, first + n) of w. */
static terse_linear rows_of(const terse_linear *w, int32_t first, int32_t n)
{
    terse_linear part = *w;
    part.n_out = n;
    if (w->data)
        part.data += (size_t)first * w->row_size;
    if (w->bias)
        part.bias += first;
    return part;
}

/* n values, n_row times if heads have weights of their own. part NULL: no such norm. */
static terse_norm norm(binder *b, int32_t layer, const char *part, int32_t n, int32_t n_row, bool required)
{
    char stem[STEM], name[NAME];
    terse_norm x = { 0 };
    if (!part)
        return x;
    if (layer < 0)
        snprintf(stem, sizeof stem, "%s", part);
    else
        stem_of(stem, layer, part);
    snprintf(name, sizeof name, "%s.weight", stem);
    x.weight = values(b, name, n, n_row, required);
    snprintf(name, sizeof name, "%s.bias", stem);
    if (x.weight && b->m->arch->norm_bias && n_row == 1) /* norms of heads have none */
        x.bias = values(b, name, n, n_row, true);
    x.stride = n_row > 1 ? n : 0;
    return x;
}

static bool present(const binder *b, int32_t layer, const char *name)
{
    char full[STEM];
    return terse_gguf_find_tensor(b->m->gguf, stem_of(full, layer, name)) != NULL;
}

/* Projections of one matrix each, or of one for all three. */
static void bind_qkv(binder *b, int32_t l)
{
    const terse_model_info *i = &b->m->info;
    terse_layer *y = &b->m->layer[l];
    const int32_t q = i->n_head * i->dim_k, k = i->n_head_kv * i->dim_k, v = i->n_head_kv * i->dim_v;
    if (present(b, l, "attn_qkv.weight")) {
        const terse_linear all = linear(b, l, "attn_qkv", i->n_embd, q + k + v);
        y->q = rows_of(&all, 0, q);
        y->k = rows_of(&all, q, k);
        y->v = rows_of(&all, q + k, v);
        return;
    }
    y->q = linear(b, l, "attn_q", i->n_embd, q);
    y->k = linear(b, l, "attn_k", i->n_embd, k);
    y->v = linear(b, l, "attn_v", i->n_embd, v);
}

static void bind_latent(binder *b, int32_t l)
{
    const terse_model_info *i = &b->m->info;
    const terse_latent *a = &b->m->latent;
    terse_layer *y = &b->m->layer[l];
    if (a->q_rank) {
        y->q_low = linear(b, l, "attn_q_a", i->n_embd, a->q_rank);
        y->q_low_norm = norm(b, l, "attn_q_a_norm", a->q_rank, 1, true);
    }
    y->q = linear(b, l, a->q_rank ? "attn_q_b" : "attn_q", a->q_rank ? a->q_rank : i->n_embd,
                  i->n_head * b->m->dim_q);
    y->kv_low = linear(b, l, "attn_kv_a_mqa", i->n_embd, a->kv_rank + a->turn);
    y->kv_low_norm = norm(b, l, "attn_kv_a_norm", a->kv_rank, 1, true);
    if (a->latent) {
        y->k_b = stack(b, l, "attn_k_b", a->still, a->kv_rank, i->n_head);
        y->v_b = stack(b, l, "attn_v_b", a->kv_rank, a->dim_v, i->n_head);
    } else {
        y->kv_b = linear(b, l, "attn_kv_b", a->kv_rank, i->n_head * (a->still + a->dim_v));
    }
}

static void bind_attention(binder *b, int32_t l)
{
    static const terse_norm_names pre = { "attn_norm", NULL, "ffn_norm", NULL };
    const terse_model *m = b->m;
    const terse_model_info *i = &m->info;
    const terse_arch *a = m->arch;
    const terse_norm_names *names = a->norms ? a->norms : &pre;
    terse_layer *y = &b->m->layer[l];
    char name[STEM];
    y->attn_norm = norm(b, l, names->attn, i->n_embd, 1, true);
    y->attn_post = norm(b, l, names->attn_post, i->n_embd, 1, true);
    if (a->parallel != TERSE_PARALLEL)
        y->ffn_norm = norm(b, l, names->ffn, i->n_embd, 1, a->parallel == TERSE_SERIAL);
    y->parallel = a->parallel && !y->ffn_norm.weight;
    if (y->parallel)
        y->ffn_norm = y->attn_norm;
    y->ffn_post = norm(b, l, names->ffn_post, i->n_embd, 1, true);
    if (a->latent)
        bind_latent(b, l);
    else
        bind_qkv(b, l);
    y->o = linear(b, l, "attn_output", i->n_head * m->dim_o, i->n_embd);
    if (a->qk_norm != TERSE_QK_NONE) {
        const bool all = a->qk_norm == TERSE_QK_ALL, each = a->qk_norm == TERSE_QK_EACH;
        y->q_norm = norm(b, l, "attn_q_norm", all ? y->q.n_out : i->dim_k, each ? i->n_head : 1, !each);
        y->k_norm = norm(b, l, "attn_k_norm", all ? y->k.n_out : i->dim_k, each ? i->n_head_kv : 1, !each);
    }
    if (a->sinks)
        y->sinks = values(b, stem_of(name, l, "attn_sinks.weight"), i->n_head, 1, true);
    y->window = m->info.window && (l + 1) % m->window_period ? m->info.window : 0;
    if (a->rope_skip && (l + 1) % a->rope_skip == 0)
        y->rope = TERSE_ROPE_NONE;
    else
        y->rope = y->window && a->window_plain_rope ? TERSE_ROPE_WINDOWED : TERSE_ROPE_FULL;
}

/* A dense feed-forward, or the experts that every token takes. */
static void bind_dense(binder *b, int32_t l, const char *gate, const char *up, const char *down, int32_t n_ff)
{
    const int32_t n_embd = b->m->info.n_embd;
    terse_layer *y = &b->m->layer[l];
    if (b->m->arch->fused_ff) {
        const terse_linear both = linear(b, l, up, n_embd, 2 * n_ff);
        y->gate = rows_of(&both, 0, n_ff);
        y->up = rows_of(&both, n_ff, n_ff);
    } else {
        y->gate = linear(b, l, gate, n_embd, n_ff);
        y->up = linear(b, l, up, n_embd, n_ff);
    }
    y->down = linear(b, l, down, n_ff, n_embd);
    b->m->n_ff = n_ff > b->m->n_ff ? n_ff : b->m->n_ff;
}

static void bind_feed_forward(binder *b, int32_t l)
{
    const terse_model_info *i = &b->m->info;
    const terse_routing *r = &b->m->routing;
    terse_layer *y = &b->m->layer[l];
    char name[STEM];
    if (!i->n_expert || l < r->n_dense) {
        bind_dense(b, l, "ffn_gate", "ffn_up", "ffn_down", i->n_ff);
        return;
    }
    y->router = linear(b, l, "ffn_gate_inp", i->n_embd, i->n_expert);
    y->gates = stack(b, l, "ffn_gate_exps", i->n_embd, r->n_ff, i->n_expert);
    y->ups = stack(b, l, "ffn_up_exps", i->n_embd, r->n_ff, i->n_expert);
    y->downs = stack(b, l, "ffn_down_exps", r->n_ff, i->n_embd, i->n_expert);
    if (b->m->arch->router_keys)
        y->router_bias = values(b, stem_of(name, l, "exp_probs_b.bias"), i->n_expert, 1, false);
    if (r->n_shared)
        bind_dense(b, l, "ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp", r->n_shared);
}

/* Names the first tensor that nobody asked for, and says how many more there are. */
static terse_status all_bound(binder *b)
{
    const terse_gguf *g = b->m->gguf;
    find(b, "rope_freqs.weight", false); /* these are read by rope.c */
    if (b->m->arch->rope_factors) {
        find(b, "rope_factors_long.weight", false);
        find(b, "rope_factors_short.weight", false);
    }
    int32_t first = -1, n = 0;
    for (int32_t i = 0; i < terse_gguf_n_tensor(g); i++)
        if (!b->bound[i] && !terse_gate_owns(terse_gguf_tensor(g, i)->name) && n++ == 0)
            first = i;
    if (n == 0)
        return TERSE_OK;
    const terse_str name = terse_gguf_tensor(g, first)->name;
    char more[32] = "";
    if (n > 1)
        snprintf(more, sizeof more, " (nor are %d more)", n - 1);
    return terse_fail(b->err, TERSE_UNSUPPORTED,
                      "%s: tensor '%.*s' is not part of architecture %s as this build knows it%s",
                      terse_gguf_path(g), (int)name.n, name.p, b->m->arch->name, more);
}

/* Bytes that one token reads of a matrix, and of n_used experts. */
static size_t bytes_of(const terse_linear *w)
{
    return w->data ? w->row_size * (size_t)w->n_out : 0;
}

static void add_up(terse_model *m)
{
    terse_model_info *i = &m->info;
    size_t by_type[TERSE_TYPE_COUNT] = { 0 }, most = 0;
    for (int32_t k = 0; k < terse_gguf_n_tensor(m->gguf); k++) {
        const terse_tensor *t = terse_gguf_tensor(m->gguf, k);
        i->weight_bytes += t->size;
        i->n_param += t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
        by_type[t->type] += t->size;
        if (by_type[t->type] > most) {
            most = by_type[t->type];
            i->type = terse_type_of(t->type)->name;
        }
    }
    i->token_bytes = m->embed.row_size + bytes_of(&m->output) + (size_t)i->n_embd * 4;
    for (int32_t l = 0; l < i->n_layer; l++) {
        const terse_layer *y = &m->layer[l];
        const terse_linear *all[] = { &y->q,    &y->k,      &y->v,     &y->o,      &y->gate, &y->up,
                                      &y->down, &y->router, &y->q_low, &y->kv_low, &y->kv_b };
        for (size_t k = 0; k < sizeof all / sizeof *all; k++)
            i->token_bytes += bytes_of(all[k]);
        i->token_bytes += (size_t)i->n_expert_used * (y->gates.size + y->ups.size + y->downs.size);
        i->token_bytes += (size_t)i->n_head * (y->k_b.size + y->v_b.size);
        i->token_bytes += (size_t)i->n_embd * 8;
    }
}

static terse_status bind_all(binder *b)
{
    terse_model *m = b->m;
    const terse_model_info *i = &m->info;
    m->embed = matrices(b, "token_embd", i->n_embd, i->n_vocab, 1, true);
    m->output_norm = norm(b, -1, "output_norm", i->n_embd, 1, true);
    m->output = matrices(b, "output", i->n_embd, i->n_vocab, 1, false);
    if (!m->output.data)
        m->output = m->embed;
    for (int32_t l = 0; l < i->n_layer && b->st == TERSE_OK; l++) {
        bind_attention(b, l);
        m->info.n_windowed += m->layer[l].window > 0;
        bind_feed_forward(b, l);
    }
    return b->st == TERSE_OK ? all_bound(b) : b->st;
}

terse_status terse_model_bind(terse_model *m, terse_error *err)
{
    const int32_t n_tensor = terse_gguf_n_tensor(m->gguf);
    binder b = { .m = m, .err = err };
    m->layer = calloc((size_t)m->info.n_layer, sizeof *m->layer);
    b.bound = calloc((size_t)n_tensor + 1, sizeof *b.bound); /* never empty */
    terse_status st;
    if (m->layer && b.bound)
        st = bind_all(&b);
    else
        st = terse_fail(err, TERSE_NOMEM, "%s: no memory for %d layers and %d tensors",
                        terse_gguf_path(m->gguf), m->info.n_layer, n_tensor);
    free(b.bound);
    if (st == TERSE_OK)
        add_up(m);
    return st;
}
