/* Weights come from make_model_row, by the name of their tensor: the file and the reference need not meet. */
#include "arch_reference.h"
#include "make_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEED = 11, MOST = 128 /* tokens */ };

static void *need(void *p)
{
    if (!p)
        abort();
    return p;
}

/* ---- weights ---- */

/* Rows of a tensor: vectors are around 1 if they are weights of norms. */
static float *tensor(const char *name, int32_t n, int32_t n_row)
{
    float *x = need(malloc((size_t)n * (size_t)n_row * sizeof *x));
    const bool norm = strstr(name, "norm.weight") != NULL, matrix = n_row > 1 && !norm;
    const float gain = strstr(name, "attn_q.") || strstr(name, "attn_qkv") ? 2.0f : 1.0f;
    const float std = strstr(name, "token_embd") ? 1.0f : matrix ? gain / sqrtf((float)n) : 0.3f;
    for (int32_t r = 0; r < n_row; r++) {
        make_model_row(x + (size_t)r * (size_t)n, n, SEED, name, r, std);
        for (int32_t i = 0; i < n && norm; i++)
            x[r * n + i] += 1.0f;
    }
    return x;
}

static const char *part(char name[96], int32_t l, const char *what)
{
    if (l < 0)
        snprintf(name, 96, "%s", what);
    else
        snprintf(name, 96, "blk.%d.%s", l, what);
    return name;
}

/* ---- the file ---- */

typedef struct {
    terse_gguf_writer *w;
    float *data[512];
    int32_t n;
} file;

static void add(file *f, int32_t l, const char *what, int32_t n, int32_t n_row)
{
    char name[96];
    const int64_t ne[2] = { n, n_row };
    if (f->n == (int32_t)(sizeof f->data / sizeof *f->data))
        abort();
    float *x = f->data[f->n++] = tensor(part(name, l, what), n, n_row);
    terse_gguf_writer_tensor(f->w, name, TERSE_TYPE_F32, n_row > 1 ? 2 : 1, ne, x);
}

static void add_norm(file *f, const ref_spec *s, int32_t l, const char *what)
{
    char name[80];
    snprintf(name, sizeof name, "%s.weight", what);
    add(f, l, name, REF_EMBD, 1);
    snprintf(name, sizeof name, "%s.bias", what);
    if (s->norm_bias)
        add(f, l, name, REF_EMBD, 1);
}

static bool pre(const ref_spec *s)
{
    return s->norms != REF_POST;
}
static bool pre_ffn(const ref_spec *s)
{
    return s->norms == REF_PRE || s->norms == REF_SANDWICH;
}
static bool post(const ref_spec *s)
{
    return s->norms == REF_SANDWICH || s->norms == REF_POST;
}

static void add_attention(file *f, const ref_spec *s, int32_t l)
{
    const int32_t q = REF_HEAD * s->dim, kv = REF_KV * s->dim;
    if (s->fused_qkv) {
        add(f, l, "attn_qkv.weight", REF_EMBD, q + 2 * kv);
    } else {
        add(f, l, "attn_q.weight", REF_EMBD, q);
        add(f, l, "attn_k.weight", REF_EMBD, kv);
        add(f, l, "attn_v.weight", REF_EMBD, kv);
    }
    if (s->bias && s->fused_qkv) {
        add(f, l, "attn_qkv.bias", q + 2 * kv, 1);
    } else if (s->bias) {
        add(f, l, "attn_q.bias", q, 1);
        add(f, l, "attn_k.bias", kv, 1);
        add(f, l, "attn_v.bias", kv, 1);
    }
    add(f, l, "attn_output.weight", q, REF_EMBD);
    if (s->qk != REF_QK_NONE) {
        add(f, l, "attn_q_norm.weight", s->qk == REF_QK_ALL ? q : s->dim, s->qk == REF_QK_EACH ? REF_HEAD : 1);
        add(f, l, "attn_k_norm.weight", s->qk == REF_QK_ALL ? kv : s->dim, s->qk == REF_QK_EACH ? REF_KV : 1);
    }
    if (s->sinks)
        add(f, l, "attn_sinks.weight", REF_HEAD, 1);
}

static void add_layer(file *f, const ref_spec *s, int32_t l)
{
    if (pre(s))
        add_norm(f, s, l, "attn_norm");
    add_attention(f, s, l);
    if (post(s))
        add_norm(f, s, l, "post_attention_norm");
    if (pre_ffn(s))
        add_norm(f, s, l, "ffn_norm");
    if (!s->fused_ff)
        add(f, l, "ffn_gate.weight", REF_EMBD, REF_FF);
    add(f, l, "ffn_up.weight", REF_EMBD, s->fused_ff ? 2 * REF_FF : REF_FF);
    add(f, l, "ffn_down.weight", REF_FF, REF_EMBD);
    if (post(s))
        add_norm(f, s, l, "post_ffw_norm");
}

static void key_u32(file *f, const ref_spec *s, const char *what, int32_t value)
{
    char key[128];
    snprintf(key, sizeof key, "%s.%s", s->arch, what);
    terse_gguf_writer_u32(f->w, key, (uint32_t)value);
}

static void add_keys(file *f, const ref_spec *s)
{
    char key[192], text[256];
    terse_gguf_writer_str(f->w, "general.architecture", (terse_str){ s->arch, strlen(s->arch) });
    terse_gguf_writer_str(f->w, "tokenizer.ggml.model", (terse_str){ "none", 4 });
    key_u32(f, s, "block_count", s->n_layer);
    key_u32(f, s, "context_length", MOST);
    key_u32(f, s, "embedding_length", REF_EMBD);
    key_u32(f, s, "feed_forward_length", REF_FF);
    key_u32(f, s, "attention.head_count", REF_HEAD);
    key_u32(f, s, "attention.head_count_kv", REF_KV);
    key_u32(f, s, "attention.key_length", s->dim);
    key_u32(f, s, "attention.value_length", s->dim);
    key_u32(f, s, "rope.dimension_count", s->turn ? s->turn : s->dim);
    key_u32(f, s, "vocab_size", REF_VOCAB);
    if (s->window)
        key_u32(f, s, "attention.sliding_window", s->window);
    snprintf(key, sizeof key, "%s.attention.layer_norm%s_epsilon", s->arch, s->layer_norm ? "" : "_rms");
    terse_gguf_writer_f32(f->w, key, 1e-5f);
    snprintf(text, sizeof text, "%s", s->keys ? s->keys : "");
    char *rest = text;
    for (char *word; (word = strtok_r(rest, " ", &rest));) {
        char *value = strchr(word, '=');
        *value++ = '\0';
        snprintf(key, sizeof key, "%s.%s", s->arch, word);
        terse_gguf_writer_f32(f->w, key, strtof(value, NULL));
    }
}

terse_status ref_write(const ref_spec *s, const char *path, terse_error *err)
{
    file f = { 0 };
    terse_status st = terse_gguf_writer_open(&f.w, err);
    if (st != TERSE_OK)
        return st;
    add_keys(&f, s);
    add(&f, -1, "token_embd.weight", REF_EMBD, REF_VOCAB);
    add_norm(&f, s, -1, "output_norm");
    add(&f, -1, "output.weight", REF_EMBD, REF_VOCAB);
    for (int32_t l = 0; l < s->n_layer; l++)
        add_layer(&f, s, l);
    st = terse_gguf_writer_save(f.w, path, err);
    terse_gguf_writer_close(&f.w);
    for (int32_t i = 0; i < f.n; i++)
        free(f.data[i]);
    return st;
}

/* ---- the reference ---- */

/* y[n_out] += rows [first, first + n_out) of the matrix, times x[n_in], with its bias if it has one. n_all:
 * rows of the whole tensor. */
static void multiply(double *y, int32_t l, const char *what, bool bias, int32_t first, int32_t n_out,
                     int32_t n_all, const double *x, int32_t n_in)
{
    char name[96], full[80];
    snprintf(full, sizeof full, "%s.weight", what);
    float *w = tensor(part(name, l, full), n_in, n_all), *b = NULL;
    snprintf(full, sizeof full, "%s.bias", what);
    if (bias)
        b = tensor(part(name, l, full), n_all, 1);
    for (int32_t r = 0; r < n_out; r++) {
        y[r] = b ? (double)b[first + r] : 0.0;
        for (int32_t i = 0; i < n_in; i++)
            y[r] += (double)w[(size_t)(first + r) * (size_t)n_in + (size_t)i] * x[i];
    }
    free(w);
    free(b);
}

static void norm(const ref_spec *s, int32_t l, const char *what, bool bias, int32_t row, int32_t n_row,
                 double *y, const double *x, int32_t n)
{
    char name[96], full[80];
    double mean = 0.0, square = 0.0;
    snprintf(full, sizeof full, "%s.weight", what);
    float *w = tensor(part(name, l, full), n, n_row), *b = NULL;
    snprintf(full, sizeof full, "%s.bias", what);
    if (bias)
        b = tensor(part(name, l, full), n, n_row);
    for (int32_t i = 0; i < n && s->layer_norm; i++)
        mean += x[i] / n;
    for (int32_t i = 0; i < n; i++)
        square += (x[i] - mean) * (x[i] - mean) / n;
    for (int32_t i = 0; i < n; i++) {
        y[i] = (x[i] - mean) / sqrt(square + 1e-5) * (double)w[row * n + i];
        y[i] += b ? (double)b[row * n + i] : 0.0;
    }
    free(w);
    free(b);
}

static bool windowed(const ref_spec *s, int32_t l)
{
    return s->window && (l + 1) % s->period != 0;
}

static void rotate(const ref_spec *s, int32_t l, int32_t pos, double *x)
{
    const int32_t n = s->turn ? s->turn : s->dim;
    const double base = windowed(s, l) && s->window_base > 0.0 ? s->window_base : 10000.0;
    for (int32_t i = 0; i < n / 2 && !(s->skip && (l + 1) % s->skip == 0); i++) {
        const int32_t a = s->halves ? i : 2 * i, b = s->halves ? i + n / 2 : 2 * i + 1;
        const double angle = pos * pow(base, -2.0 * i / n), x0 = x[a], x1 = x[b];
        x[a] = x0 * cos(angle) - x1 * sin(angle);
        x[b] = x0 * sin(angle) + x1 * cos(angle);
    }
}

enum { WIDE = 128 };
typedef struct {
    double q[WIDE], k[WIDE], v[WIDE], h[REF_EMBD]; /* h: what attention and a parallel feed-forward see */
} token;

static void project(const ref_spec *s, int32_t l, int32_t pos, const double *x, token *t)
{
    const int32_t q = REF_HEAD * s->dim, kv = REF_KV * s->dim, all = q + 2 * kv;
    memcpy(t->h, x, sizeof t->h);
    if (pre(s))
        norm(s, l, "attn_norm", s->norm_bias, 0, 1, t->h, x, REF_EMBD);
    if (s->fused_qkv) {
        multiply(t->q, l, "attn_qkv", s->bias, 0, q, all, t->h, REF_EMBD);
        multiply(t->k, l, "attn_qkv", s->bias, q, kv, all, t->h, REF_EMBD);
        multiply(t->v, l, "attn_qkv", s->bias, q + kv, kv, all, t->h, REF_EMBD);
    } else {
        multiply(t->q, l, "attn_q", s->bias, 0, q, q, t->h, REF_EMBD);
        multiply(t->k, l, "attn_k", s->bias, 0, kv, kv, t->h, REF_EMBD);
        multiply(t->v, l, "attn_v", s->bias, 0, kv, kv, t->h, REF_EMBD);
    }
    if (s->qk == REF_QK_ALL) {
        norm(s, l, "attn_q_norm", false, 0, 1, t->q, t->q, q);
        norm(s, l, "attn_k_norm", false, 0, 1, t->k, t->k, kv);
    }
    const bool each = s->qk == REF_QK_EACH, heads = each || s->qk == REF_QK_HEAD;
    for (int32_t h = 0; h < REF_HEAD; h++) {
        double *x0 = t->q + h * s->dim;
        if (heads)
            norm(s, l, "attn_q_norm", false, each ? h : 0, each ? REF_HEAD : 1, x0, x0, s->dim);
        rotate(s, l, pos, x0);
    }
    for (int32_t h = 0; h < REF_KV; h++) {
        double *x0 = t->k + h * s->dim;
        if (heads)
            norm(s, l, "attn_k_norm", false, each ? h : 0, each ? REF_KV : 1, x0, x0, s->dim);
        rotate(s, l, pos, x0);
    }
}

static void attend(const ref_spec *s, int32_t l, int32_t pos, const token *t, double *out)
{
    char name[96];
    const double scale = s->attn_scale > 0.0 ? s->attn_scale : 1.0 / sqrt((double)s->dim);
    const int32_t from = windowed(s, l) && s->window <= pos ? pos + 1 - s->window : 0;
    float *sink = s->sinks ? tensor(part(name, l, "attn_sinks.weight"), REF_HEAD, 1) : NULL;
    for (int32_t h = 0; h < REF_HEAD; h++) {
        const int32_t kv = h / (REF_HEAD / REF_KV) * s->dim;
        double sum = sink ? exp((double)sink[h]) : 0.0, *o = out + h * s->dim;
        memset(o, 0, (size_t)s->dim * sizeof *o);
        for (int32_t j = from; j <= pos; j++) {
            double x = 0.0;
            for (int32_t d = 0; d < s->dim; d++)
                x += t[pos].q[h * s->dim + d] * t[j].k[kv + d];
            x *= scale;
            x = exp(s->attn_cap > 0.0 ? s->attn_cap * tanh(x / s->attn_cap) : x);
            sum += x;
            for (int32_t d = 0; d < s->dim; d++)
                o[d] += x * t[j].v[kv + d];
        }
        for (int32_t d = 0; d < s->dim; d++)
            o[d] /= sum;
    }
    free(sink);
}

static void feed_forward(const ref_spec *s, int32_t l, const double *h, double *out)
{
    double gate[REF_FF], up[REF_FF];
    if (s->fused_ff) {
        multiply(gate, l, "ffn_up", false, 0, REF_FF, 2 * REF_FF, h, REF_EMBD);
        multiply(up, l, "ffn_up", false, REF_FF, REF_FF, 2 * REF_FF, h, REF_EMBD);
    } else {
        multiply(gate, l, "ffn_gate", false, 0, REF_FF, REF_FF, h, REF_EMBD);
        multiply(up, l, "ffn_up", false, 0, REF_FF, REF_FF, h, REF_EMBD);
    }
    for (int32_t i = 0; i < REF_FF; i++) {
        const double g = gate[i];
        gate[i] = s->gelu
                      ? 0.5 * g * (1.0 + tanh(sqrt(2.0 / 3.14159265358979323846) * (g + 0.044715 * g * g * g)))
                      : g / (1.0 + exp(-g));
        gate[i] *= up[i];
    }
    multiply(out, l, "ffn_down", false, 0, REF_EMBD, REF_EMBD, gate, REF_FF);
}

/* x += branch, normed if the layer norms its branches */
static void add_branch(const ref_spec *s, int32_t l, const char *what, double *branch, double *x)
{
    if (post(s))
        norm(s, l, what, s->norm_bias, 0, 1, branch, branch, REF_EMBD);
    for (int32_t i = 0; i < REF_EMBD; i++)
        x[i] += branch[i] * (s->branch_scale > 0.0 ? s->branch_scale : 1.0);
}

static void layer(const ref_spec *s, int32_t l, int32_t n, double (*x)[REF_EMBD])
{
    token *t = need(calloc((size_t)n, sizeof *t));
    for (int32_t p = 0; p < n; p++)
        project(s, l, p, x[p], &t[p]);
    for (int32_t p = 0; p < n; p++) {
        double att[WIDE], branch[REF_EMBD], ff[REF_EMBD], h[REF_EMBD];
        attend(s, l, p, t, att);
        multiply(branch, l, "attn_output", false, 0, REF_EMBD, REF_EMBD, att, REF_HEAD * s->dim);
        add_branch(s, l, "post_attention_norm", branch, x[p]);
        memcpy(h, s->parallel ? t[p].h : x[p], sizeof h);
        if (pre_ffn(s))
            norm(s, l, "ffn_norm", s->norm_bias, 0, 1, h, h, REF_EMBD);
        feed_forward(s, l, h, ff);
        add_branch(s, l, "post_ffw_norm", ff, x[p]);
    }
    free(t);
}

void ref_logits(const ref_spec *s, const int32_t *tokens, int32_t n, double *logits)
{
    double(*x)[REF_EMBD] = need(calloc((size_t)n, sizeof *x)), h[REF_EMBD];
    float *embed = tensor("token_embd.weight", REF_EMBD, REF_VOCAB);
    for (int32_t p = 0; p < n; p++)
        for (int32_t i = 0; i < REF_EMBD; i++)
            x[p][i] = (double)embed[tokens[p] * REF_EMBD + i] * (s->embed_scale > 0.0 ? s->embed_scale : 1.0);
    for (int32_t l = 0; l < s->n_layer; l++)
        layer(s, l, n, x);
    for (int32_t p = 0; p < n; p++) {
        double *y = logits + (size_t)p * REF_VOCAB;
        norm(s, -1, "output_norm", s->norm_bias, 0, 1, h, x[p], REF_EMBD);
        multiply(y, -1, "output", false, 0, REF_VOCAB, REF_VOCAB, h, REF_EMBD);
        for (int32_t i = 0; i < REF_VOCAB; i++) {
            y[i] *= s->logits_scale > 0.0 ? s->logits_scale : 1.0;
            y[i] = s->logits_cap > 0.0 ? s->logits_cap * tanh(y[i] / s->logits_cap) : y[i];
        }
    }
    free(embed);
    free(x);
}
