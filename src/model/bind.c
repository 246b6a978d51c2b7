/* model/bind.c: tensors by name into the layers, with the shapes that the hyper-parameters promise. A tensor
 * that no row asked for is refused: to leave a part of a model out would be to compute something else. */
#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* A vector of f32, read in place. */
static const float *vector(binder *b, const char *name, int32_t n, bool required)
{
    const terse_tensor *t = find(b, name, required);
    if (!t || !shaped(b, t, name, n, 1, 1))
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
    char name[96];
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
    if (n_mat == 1)
        w.bias = vector(b, name, n_out, false);
    return w;
}

static terse_linear linear(binder *b, int32_t layer, const char *part, int32_t n_in, int32_t n_out,
                           bool required)
{
    char stem[80];
    snprintf(stem, sizeof stem, "blk.%d.%s", layer, part);
    return matrices(b, stem, n_in, n_out, 1, required);
}

static terse_experts experts(binder *b, int32_t layer, const char *part, int32_t n_in, int32_t n_out)
{
    char stem[80];
    snprintf(stem, sizeof stem, "blk.%d.%s", layer, part);
    const terse_linear w = matrices(b, stem, n_in, n_out, b->m->info.n_expert, true);
    return (terse_experts){ w, w.row_size * (size_t)n_out };
}

static const float *norm(binder *b, int32_t layer, const char *part)
{
    char name[96];
    snprintf(name, sizeof name, "blk.%d.%s.weight", layer, part);
    return vector(b, name, b->m->info.n_embd, true);
}

static void bind_layer(binder *b, int32_t l)
{
    const terse_model_info *i = &b->m->info;
    terse_layer *y = &b->m->layer[l];
    y->attn_norm = norm(b, l, "attn_norm");
    y->q = linear(b, l, "attn_q", i->n_embd, i->n_head * i->dim_k, true);
    y->k = linear(b, l, "attn_k", i->n_embd, i->n_head_kv * i->dim_k, true);
    y->v = linear(b, l, "attn_v", i->n_embd, i->n_head_kv * i->dim_v, true);
    y->o = linear(b, l, "attn_output", i->n_head * i->dim_v, i->n_embd, true);
    y->ffn_norm = norm(b, l, "ffn_norm");
    if (i->n_expert) {
        y->router = linear(b, l, "ffn_gate_inp", i->n_embd, i->n_expert, true);
        y->gates = experts(b, l, "ffn_gate_exps", i->n_embd, i->n_ff);
        y->ups = experts(b, l, "ffn_up_exps", i->n_embd, i->n_ff);
        y->downs = experts(b, l, "ffn_down_exps", i->n_ff, i->n_embd);
    } else {
        y->gate = linear(b, l, "ffn_gate", i->n_embd, i->n_ff, true);
        y->up = linear(b, l, "ffn_up", i->n_embd, i->n_ff, true);
        y->down = linear(b, l, "ffn_down", i->n_ff, i->n_embd, true);
    }
}

/* Names the first tensor that nobody asked for. */
static terse_status all_bound(binder *b)
{
    const terse_gguf *g = b->m->gguf;
    find(b, "rope_freqs.weight", false); /* read by rope.c */
    for (int32_t i = 0; i < terse_gguf_n_tensor(g); i++) {
        const terse_str name = terse_gguf_tensor(g, i)->name;
        if (!b->bound[i])
            return terse_fail(b->err, TERSE_UNSUPPORTED,
                              "%s: tensor '%.*s' is not part of architecture %s as this build knows it",
                              terse_gguf_path(g), (int)name.n, name.p, b->m->arch->name);
    }
    return TERSE_OK;
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
        const terse_linear *all[] = { &y->q, &y->k, &y->v, &y->o, &y->gate, &y->up, &y->down, &y->router };
        for (size_t k = 0; k < sizeof all / sizeof *all; k++)
            i->token_bytes += bytes_of(all[k]);
        i->token_bytes += (size_t)i->n_expert_used * (y->gates.size + y->ups.size + y->downs.size);
        i->token_bytes += (size_t)i->n_embd * 8;
    }
}

static terse_status bind_all(binder *b)
{
    terse_model *m = b->m;
    const terse_model_info *i = &m->info;
    m->embed = matrices(b, "token_embd", i->n_embd, i->n_vocab, 1, true);
    m->output_norm = vector(b, "output_norm.weight", i->n_embd, true);
    m->output = matrices(b, "output", i->n_embd, i->n_vocab, 1, false);
    if (!m->output.data)
        m->output = m->embed;
    for (int32_t l = 0; l < i->n_layer && b->st == TERSE_OK; l++)
        bind_layer(b, l);
    return b->st == TERSE_OK ? all_bound(b) : b->st;
}

terse_status terse_model_bind(terse_model *m, terse_error *err)
{
    const int32_t n_tensor = terse_gguf_n_tensor(m->gguf);
    binder b = { .m = m, .err = err };
    m->info.n_vocab = terse_vocab_size(m->vocab);
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
