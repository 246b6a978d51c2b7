/* model/gate.c: see the header. */
#include "model/gate.h"

#include "simd/dot.h"
#include "simd/expf.h"

#include <math.h>
#include <sleef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_HIDDEN = 8192, MAX_TOKENS = 1 << 24 };

/* How a file names things. */
typedef struct {
    const char *key;     /* metadata: key.window, ... */
    const char *part[2]; /* blk.N.part.weight and .bias, or .w and .b: */
    const char *weight, *bias;
} convention;

static const convention spkv = { "terse.spkv", { "attn_kv_util.0", "attn_kv_util.1" }, ".weight", ".bias" };
static const convention sidecar = { "terse.kvgate", { "kvgate.w1", "kvgate.w2" }, "", "" };

typedef struct {
    const terse_gguf *gguf;
    const convention *names;
    terse_gate *gate;
    const terse_model *model;
    terse_status st; /* sticky */
    terse_error *err;
} binder;

bool terse_gate_owns(terse_str name)
{
    static const char part[] = ".attn_kv_util.";
    for (size_t i = 0; i + sizeof part - 1 <= name.n; i++)
        if (!memcmp(name.p + i, part, sizeof part - 1))
            return true;
    return false;
}

/* blk.N.kvgate.w1 has its bias in blk.N.kvgate.b1, blk.N.attn_kv_util.0.weight in .bias. */
static void tensor_name(const binder *b, int32_t l, int k, bool bias, char name[80])
{
    snprintf(name, 80, "blk.%d.%s%s", l, b->names->part[k], bias ? b->names->bias : b->names->weight);
    if (bias && !*b->names->bias)
        name[strlen(name) - 2] = 'b';
}

static void bad_shape(binder *b, const terse_tensor *t, const char *name, int32_t n_in, int32_t n_out)
{
    b->st = terse_fail(b->err, TERSE_BAD_INPUT,
                       "%s: tensor '%s' is %lld x %lld x %lld, a gate of this model needs %d x %s%d",
                       terse_gguf_path(b->gguf), name, (long long)t->ne[0], (long long)t->ne[1],
                       (long long)t->ne[2], n_in, n_out ? "" : "at most ", n_out ? n_out : MAX_HIDDEN);
}

/* Matrix k of layer l with its bias; n_out 0: as many rows as it has. data NULL if it is not there. */
static terse_linear linear(binder *b, int32_t l, int k, int32_t n_in, int32_t n_out, bool required)
{
    char name[80];
    tensor_name(b, l, k, false, name);
    const terse_tensor *t = b->st == TERSE_OK ? terse_gguf_find_tensor(b->gguf, name) : NULL;
    if (!t) {
        if (required && b->st == TERSE_OK)
            b->st = terse_fail(b->err, TERSE_BAD_INPUT, "%s: tensor '%s' is missing", terse_gguf_path(b->gguf),
                               name);
        return (terse_linear){ 0 };
    }
    const int type = terse_dot_type_of(t->type);
    const bool rows = n_out ? t->ne[1] == n_out : t->ne[1] >= 1 && t->ne[1] <= MAX_HIDDEN;
    if (t->ne[0] != n_in || !rows || t->ne[2] != 1 || t->ne[3] != 1) {
        bad_shape(b, t, name, n_in, n_out);
        return (terse_linear){ 0 };
    }
    if (type < 0) {
        b->st =
            terse_fail(b->err, TERSE_UNSUPPORTED, "%s: tensor '%s' is %s, which this build does not multiply",
                       terse_gguf_path(b->gguf), name, terse_type_of(t->type)->name);
        return (terse_linear){ 0 };
    }
    terse_linear w = {
        t->data, NULL, (terse_dot_type)type, n_in, (int32_t)t->ne[1], terse_type_row_size(t->type, n_in)
    };
    tensor_name(b, l, k, true, name);
    const terse_tensor *bias = terse_gguf_find_tensor(b->gguf, name);
    if (bias && (bias->type != TERSE_TYPE_F32 || bias->ne[0] != t->ne[1] || bias->ne[1] != 1))
        b->st = terse_fail(b->err, TERSE_BAD_INPUT, "%s: tensor '%s' is not F32 of %lld values",
                           terse_gguf_path(b->gguf), name, (long long)t->ne[1]);
    w.bias = bias && b->st == TERSE_OK ? bias->data : NULL;
    b->gate->info.token_bytes += w.row_size * (size_t)w.n_out;
    return w;
}

static void bind_layers(binder *b)
{
    const terse_model_info *i = &b->model->info;
    for (int32_t l = 0; l < i->n_layer && b->st == TERSE_OK; l++) {
        terse_gate_layer *y = &b->gate->layer[l];
        y->in = linear(b, l, 0, i->n_embd, b->gate->info.linear ? i->n_head_kv : 0, true);
        if (!b->gate->info.linear)
            y->out = linear(b, l, 1, y->in.n_out, i->n_head_kv, true);
        b->gate->most = y->in.n_out > b->gate->most ? y->in.n_out : b->gate->most;
    }
}

/* key.name as an integer from low on. */
static void integer(binder *b, const char *name, int32_t low, int32_t *value)
{
    char key[64];
    snprintf(key, sizeof key, "%s.%s", b->names->key, name);
    if (b->st == TERSE_OK)
        b->st = terse_gguf_get_i32(b->gguf, key, false, value, b->err);
    if (b->st == TERSE_OK && (*value < low || *value > MAX_TOKENS))
        b->st = terse_fail(b->err, TERSE_BAD_INPUT, "%s: key '%s' is %d, expected %d to %d",
                           terse_gguf_path(b->gguf), key, *value, low, MAX_TOKENS);
}

/* key.name, one of two words; is it the second? */
static bool second(binder *b, const char *name, const char *const word[2])
{
    char key[64];
    terse_str s = { word[0], strlen(word[0]) };
    snprintf(key, sizeof key, "%s.%s", b->names->key, name);
    if (b->st == TERSE_OK)
        b->st = terse_gguf_get_str(b->gguf, key, false, &s, b->err);
    for (int i = 0; i < 2 && b->st == TERSE_OK; i++)
        if (strlen(word[i]) == s.n && !memcmp(word[i], s.p, s.n))
            return i == 1;
    if (b->st == TERSE_OK)
        b->st = terse_fail(b->err, TERSE_UNSUPPORTED, "%s: key '%s' is '%.*s'; known are %s and %s",
                           terse_gguf_path(b->gguf), key, (int)(s.n < 64 ? s.n : 64), s.p, word[0], word[1]);
    return false;
}

static void bind_numbers(binder *b)
{
    terse_gate *g = b->gate;
    char key[64];
    integer(b, "window", 1, &g->info.window);
    integer(b, "sinks", 0, &g->info.sinks);
    snprintf(key, sizeof key, "%s.threshold", b->names->key);
    if (b->st == TERSE_OK)
        b->st = terse_gguf_get_f32(b->gguf, key, b->names == &sidecar, &g->info.threshold, b->err);
    if (b->st == TERSE_OK && !isfinite(g->info.threshold))
        b->st =
            terse_fail(b->err, TERSE_BAD_INPUT, "%s: key '%s' is not a number", terse_gguf_path(b->gguf), key);
    if (b->names != &sidecar)
        return;
    g->info.linear = second(b, "type", (const char *const[]){ "mlp", "linear" });
    g->gelu = second(b, "activation", (const char *const[]){ "silu", "gelu" });
    g->sigmoid = second(b, "output", (const char *const[]){ "raw", "sigmoid" });
}

static terse_status open_gate(terse_gate **out, const terse_model *m, const terse_gguf *gguf,
                              const convention *names, terse_error *err)
{
    if (m->arch->latent)
        return terse_fail(err, TERSE_UNSUPPORTED, "%s: gates of architecture %s are not supported",
                          terse_gguf_path(gguf), m->arch->name);
    terse_gate *g = calloc(1, sizeof *g);
    terse_gate_layer *layer = calloc((size_t)m->info.n_layer, sizeof *layer);
    if (!g || !layer) {
        free(g);
        free(layer);
        return terse_fail(err, TERSE_NOMEM, "%s: no memory for a gate", terse_gguf_path(gguf));
    }
    *g = (terse_gate){ .info = { .threshold = 0.5f, .window = 128, .sinks = 4 },
                       .sigmoid = true,
                       .layer = layer };
    binder b = { gguf, names, g, m, TERSE_OK, err };
    bind_numbers(&b);
    bind_layers(&b);
    if (b.st == TERSE_OK)
        *out = g;
    else
        terse_gate_close(&g);
    return b.st;
}

terse_status terse_gate_bind(terse_gate **out, const terse_model *m, terse_error *err)
{
    *out = NULL;
    for (int32_t i = 0; i < terse_gguf_n_tensor(m->gguf); i++)
        if (terse_gate_owns(terse_gguf_tensor(m->gguf, i)->name))
            return open_gate(out, m, m->gguf, &spkv, err);
    return TERSE_OK;
}

terse_status terse_gate_open(terse_gate **out, const char *path, const terse_model *m, terse_error *err)
{
    terse_gguf *gguf;
    *out = NULL;
    terse_status st = terse_gguf_open(&gguf, path, err);
    if (st == TERSE_OK && (st = open_gate(out, m, gguf, &sidecar, err)) != TERSE_OK)
        terse_gguf_close(&gguf);
    if (st == TERSE_OK)
        (*out)->gguf = gguf;
    return st;
}

void terse_gate_close(terse_gate **g)
{
    if (!g || !*g)
        return;
    terse_gguf_close(&(*g)->gguf);
    free((*g)->layer);
    free(*g);
    *g = NULL;
}

const terse_gate_info *terse_gate_about(const terse_gate *g)
{
    return &g->info;
}

const terse_gate *terse_model_gate(const terse_model *m)
{
    return m->utility;
}

static float activate(const terse_gate *g, float x)
{
    if (g->gelu)
        return 0.5f * x * (1.0f + Sleef_cinz_erff1_u10purec(x * 0.70710678f));
    return x / (1.0f + terse_expf(-x));
}

float terse_gate_utility(const terse_gate *g, int32_t layer, int32_t head, const float *hidden)
{
    const terse_linear *out = &g->layer[layer].out;
    float row[MAX_HIDDEN], x = hidden[head];
    if (out->data) {
        double sum = out->bias ? (double)out->bias[head] : 0.0;
        terse_dequant_row(out->type, row, out->data + (size_t)head * out->row_size, out->n_in);
        for (int32_t i = 0; i < out->n_in; i++)
            sum += (double)row[i] * (double)activate(g, hidden[i]);
        x = (float)sum;
    }
    return g->sigmoid ? 1.0f / (1.0f + terse_expf(-x)) : x;
}
