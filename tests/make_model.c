/* Every row of every tensor has a random stream of its own, seeded from the model's seed, the tensor's name and
 * the row's number: rows can be made by any thread, and one more tensor changes no other. */
#include "make_model.h"

#include "base/team.h"
#include "simd/quantize.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_PER_TICKET = 16 };

make_model_types make_model_uniform(terse_type type)
{
    return (make_model_types){ type, type, type, type, type, type, type, type, type };
}

/* ---- random numbers ---- */

static uint64_t mix(uint64_t z) /* the output function of splitmix64 */
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* The sum of the four 16-bit lanes of z. */
static int32_t lanes(uint64_t z)
{
    z = (z & UINT64_C(0x0000ffff0000ffff)) + (z >> 16 & UINT64_C(0x0000ffff0000ffff));
    return (int32_t)((z & 0xffffffff) + (z >> 32));
}

/* A normal number is the difference of two sums of four uniform ones: no libm, and near enough to a Gauss curve
 * (kurtosis 2.85, never beyond 4.9 deviations). */
void make_model_row(float *x, int64_t n, uint64_t seed, const char *name, int64_t row, float std)
{
    static const float unit = 1.0f / 53510.0f;    /* sqrt(8 / 12) * 65536 */
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (const char *c = name; *c; c++)
        hash = (hash ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
    uint64_t state = mix(mix(seed + hash) + (uint64_t)row);
    for (int64_t i = 0; i < n; i++) {
        const uint64_t a = mix(state += UINT64_C(0x9e3779b97f4a7c15));
        const uint64_t b = mix(state += UINT64_C(0x9e3779b97f4a7c15));
        x[i] = std * ((float)(lanes(a) - lanes(b)) * unit);
    }
}

/* ---- one tensor ---- */

/* Where all tensors' bytes live until the file is saved. */
typedef struct {
    terse_gguf_writer *w;
    const make_model_opts *o; /* complete */
    terse_team *team;
    void **data; /* [n_data], owned */
    size_t n_data, cap_data;
    terse_status status; /* of this program's own work; the writer keeps its own */
    terse_error *err;
} maker;

/* One tensor being filled by a team. */
typedef struct {
    const char *name;
    terse_type type;
    terse_dot_type dot;
    int64_t n, n_row; /* row length; rows, over all experts */
    float mean, std;
    uint64_t seed;
    uint8_t *data;
    float *scratch; /* [n_thread][n] */
    terse_ticket ticket;
} tensor;

static void fill(void *ctx, int32_t thread, int32_t n_thread)
{
    (void)n_thread;
    tensor *t = ctx;
    float *x = t->scratch + (size_t)thread * (size_t)t->n;
    const size_t row_size = terse_type_row_size(t->type, t->n);
    int64_t start;
    while ((start = (int64_t)terse_ticket_take(&t->ticket) * ROWS_PER_TICKET) < t->n_row)
        for (int64_t r = start; r < t->n_row && r < start + ROWS_PER_TICKET; r++) {
            make_model_row(x, t->n, t->seed, t->name, r, t->std);
            for (int64_t i = 0; t->mean != 0.0f && i < t->n; i++)
                x[i] += t->mean;
            terse_quantize_row(t->dot, t->data + (size_t)r * row_size, x, t->n, false);
        }
}

static terse_status fail(maker *m, terse_status status, const char *what)
{
    if (m->status == TERSE_OK)
        m->status = terse_fail(m->err, status, "make_model: %s", what);
    return m->status;
}

/* Memory that lives until the save; NULL after an error. */
static void *hold(maker *m, size_t size)
{
    if (m->status != TERSE_OK)
        return NULL;
    if (m->n_data == m->cap_data) {
        const size_t cap = m->cap_data ? 2 * m->cap_data : 64;
        void **data = realloc(m->data, cap * sizeof *data);
        if (!data) {
            fail(m, TERSE_NOMEM, "no memory for the list of tensors");
            return NULL;
        }
        m->data = data;
        m->cap_data = cap;
    }
    void *p = malloc(size);
    if (p)
        m->data[m->n_data++] = p;
    else
        fail(m, TERSE_NOMEM, "no memory for a tensor");
    return p;
}

/* Adds a tensor of n_dim dimensions (ne past those is 1), normal with this mean and deviation. */
static void add(maker *m, const char *name, terse_type type, const int64_t ne[3], int32_t n_dim, float mean,
                float std)
{
    const size_t row_size = terse_type_row_size(type, ne[0]);
    const int dot = terse_dot_type_of(type);
    if (dot < 0 || !terse_quantize_can((terse_dot_type)dot) || !row_size) {
        fail(m, TERSE_BAD_INPUT,
             "a matrix's type is not one of those that can be made, or its rows are not whole "
             "blocks of it");
        return;
    }
    tensor t = { .name = name,
                 .type = type,
                 .dot = (terse_dot_type)dot,
                 .n = ne[0],
                 .n_row = ne[1] * ne[2],
                 .seed = m->o->seed };
    t.mean = mean;
    t.std = std;
    t.data = hold(m, row_size * (size_t)t.n_row);
    if (!t.data)
        return;
    t.scratch = malloc((size_t)m->o->threads * (size_t)t.n * sizeof *t.scratch);
    if (t.scratch)
        terse_team_run(m->team, fill, &t);
    else
        fail(m, TERSE_NOMEM, "no memory for a row");
    free(t.scratch);
    terse_gguf_writer_tensor(m->w, name, type, n_dim, ne, t.data);
}

static void matrix(maker *m, const char *name, terse_type type, int64_t n, int64_t n_row, float gain)
{
    const float std = m->o->std > 0.0f ? m->o->std : 1.0f / sqrtf((float)n);
    add(m, name, type, (const int64_t[]){ n, n_row, 1 }, 2, 0.0f, std * gain);
}

/* One matrix per expert, or a single one without experts. */
static void expert_matrix(maker *m, const char *name, terse_type type, int64_t n, int64_t n_row)
{
    const float std = m->o->std > 0.0f ? m->o->std : 1.0f / sqrtf((float)n);
    const int64_t n_expert = m->o->n_expert;
    add(m, name, type, (const int64_t[]){ n, n_row, n_expert ? n_expert : 1 }, n_expert ? 3 : 2, 0.0f, std);
}

static void vector(maker *m, const char *name, int64_t n, float mean, float std)
{
    add(m, name, TERSE_TYPE_F32, (const int64_t[]){ n, 1, 1 }, 1, mean, std);
}

/* ---- the model ---- */

static const char *in_layer(char buffer[64], int32_t l, const char *part)
{
    snprintf(buffer, 64, "blk.%d.%s", (int)l, part);
    return buffer;
}

static void add_attention(maker *m, int32_t l)
{
    const make_model_opts *o = m->o;
    const int64_t n_q = (int64_t)o->n_head * o->head_dim, n_kv = (int64_t)o->n_head_kv * o->head_dim;
    const float bias_std = 0.1f;
    char b[64];
    vector(m, in_layer(b, l, "attn_norm.weight"), o->n_embd, 1.0f, o->norm_std);
    matrix(m, in_layer(b, l, "attn_q.weight"), o->types.q, o->n_embd, n_q, o->q_gain);
    matrix(m, in_layer(b, l, "attn_k.weight"), o->types.k, o->n_embd, n_kv, 1.0f);
    matrix(m, in_layer(b, l, "attn_v.weight"), o->types.v, o->n_embd, n_kv, 1.0f);
    matrix(m, in_layer(b, l, "attn_output.weight"), o->types.o, n_q, o->n_embd, 1.0f);
    if (o->utility) { /* about half of the tokens are worth keeping */
        matrix(m, in_layer(b, l, "attn_kv_util.0.weight"), TERSE_TYPE_F16, o->n_embd, o->utility, 2.0f);
        vector(m, in_layer(b, l, "attn_kv_util.0.bias"), o->utility, 0.0f, bias_std);
        matrix(m, in_layer(b, l, "attn_kv_util.1.weight"), TERSE_TYPE_F16, o->utility, o->n_head_kv, 4.0f);
        vector(m, in_layer(b, l, "attn_kv_util.1.bias"), o->n_head_kv, 0.0f, bias_std);
    }
    if (o->bias) {
        vector(m, in_layer(b, l, "attn_q.bias"), n_q, 0.0f, bias_std);
        vector(m, in_layer(b, l, "attn_k.bias"), n_kv, 0.0f, bias_std);
        vector(m, in_layer(b, l, "attn_v.bias"), n_kv, 0.0f, bias_std);
        vector(m, in_layer(b, l, "attn_output.bias"), o->n_embd, 0.0f, bias_std);
    }
}

static void add_feed_forward(maker *m, int32_t l)
{
    const make_model_opts *o = m->o;
    const bool experts = o->n_expert > 0;
    char b[64];
    vector(m, in_layer(b, l, "ffn_norm.weight"), o->n_embd, 1.0f, o->norm_std);
    if (experts)
        matrix(m, in_layer(b, l, "ffn_gate_inp.weight"), TERSE_TYPE_F32, o->n_embd, o->n_expert, 1.0f);
    const char *gate = experts ? "ffn_gate_exps.weight" : "ffn_gate.weight";
    const char *up = experts ? "ffn_up_exps.weight" : "ffn_up.weight";
    const char *down = experts ? "ffn_down_exps.weight" : "ffn_down.weight";
    expert_matrix(m, in_layer(b, l, gate), o->types.gate, o->n_embd, o->n_ff);
    expert_matrix(m, in_layer(b, l, up), o->types.up, o->n_embd, o->n_ff);
    expert_matrix(m, in_layer(b, l, down), o->types.down, o->n_ff, o->n_embd);
}

/* The factors divide the frequencies: 1 for the fast half, 8 for the slow one. */
static void add_rope_freqs(maker *m)
{
    const int64_t n = m->o->head_dim / 2;
    float *f = hold(m, (size_t)n * sizeof *f);
    for (int64_t i = 0; f && i < n; i++)
        f[i] = i < n / 2 ? 1.0f : 8.0f;
    if (f)
        terse_gguf_writer_tensor(m->w, "rope_freqs.weight", TERSE_TYPE_F32, 1, &n, f);
}

static void add_tensors(maker *m)
{
    const make_model_opts *o = m->o;
    if (o->rope_freqs)
        add_rope_freqs(m);
    add(m, "token_embd.weight", o->types.embd, (const int64_t[]){ o->n_embd, o->n_vocab, 1 }, 2, 0.0f,
        o->std > 0.0f ? o->std : 1.0f);
    vector(m, "output_norm.weight", o->n_embd, 1.0f, o->norm_std);
    if (o->output)
        matrix(m, "output.weight", o->types.output, o->n_embd, o->n_vocab, 1.0f);
    for (int32_t l = 0; l < o->n_layer && m->status == TERSE_OK; l++) {
        add_attention(m, l);
        add_feed_forward(m, l);
    }
}

static void add_meta(terse_gguf_writer *w, const make_model_opts *o)
{
    terse_gguf_writer_str(w, "general.architecture", (terse_str){ "llama", 5 });
    terse_gguf_writer_str(w, "general.name", (terse_str){ o->name, strlen(o->name) });
    terse_gguf_writer_u32(w, "general.quantization_version", 2);
    terse_gguf_writer_u32(w, "llama.block_count", (uint32_t)o->n_layer);
    terse_gguf_writer_u32(w, "llama.context_length", (uint32_t)o->n_ctx);
    terse_gguf_writer_u32(w, "llama.embedding_length", (uint32_t)o->n_embd);
    terse_gguf_writer_u32(w, "llama.feed_forward_length", (uint32_t)o->n_ff);
    terse_gguf_writer_u32(w, "llama.attention.head_count", (uint32_t)o->n_head);
    terse_gguf_writer_u32(w, "llama.attention.head_count_kv", (uint32_t)o->n_head_kv);
    terse_gguf_writer_u32(w, "llama.attention.key_length", (uint32_t)o->head_dim);
    terse_gguf_writer_u32(w, "llama.attention.value_length", (uint32_t)o->head_dim);
    terse_gguf_writer_f32(w, "llama.attention.layer_norm_rms_epsilon", o->eps);
    terse_gguf_writer_u32(w, "llama.rope.dimension_count", (uint32_t)o->head_dim);
    terse_gguf_writer_f32(w, "llama.rope.freq_base", o->rope_base);
    terse_gguf_writer_u32(w, "llama.vocab_size", (uint32_t)o->n_vocab);
    if (o->utility > 0) {
        terse_gguf_writer_u32(w, "terse.spkv.window", 40);
        terse_gguf_writer_u32(w, "terse.spkv.sinks", 2);
        terse_gguf_writer_f32(w, "terse.spkv.threshold", 0.5f);
    }
    if (o->n_expert > 0) {
        terse_gguf_writer_u32(w, "llama.expert_count", (uint32_t)o->n_expert);
        terse_gguf_writer_u32(w, "llama.expert_used_count", (uint32_t)o->n_expert_used);
    }
}

/* Copies the tokenizer into w and its size into o->n_vocab, or says that there is none. */
static terse_status add_tokenizer(terse_gguf_writer *w, make_model_opts *o, terse_error *err)
{
    static const char prefix[] = "tokenizer.";
    if (!o->tokenizer) {
        terse_gguf_writer_str(w, "tokenizer.ggml.model", (terse_str){ "none", 4 });
        return TERSE_OK;
    }
    terse_gguf *g;
    terse_meta_array tokens;
    terse_status st = terse_gguf_open(&g, o->tokenizer, err);
    if (st != TERSE_OK)
        return st;
    st = terse_gguf_get_array(g, "tokenizer.ggml.tokens", true, TERSE_META_STR, &tokens, err);
    if (st == TERSE_OK && o->n_vocab == 0 && tokens.n <= INT32_MAX)
        o->n_vocab = (int32_t)tokens.n;
    if (st == TERSE_OK && tokens.n != (uint64_t)o->n_vocab)
        st = terse_fail(err, TERSE_BAD_INPUT, "%s has %llu tokens; the model's vocabulary has %d", o->tokenizer,
                        (unsigned long long)tokens.n, (int)o->n_vocab);
    for (int32_t i = 0; i < terse_gguf_n_meta(g) && st == TERSE_OK; i++) {
        const terse_meta *meta = terse_gguf_meta(g, i);
        if (meta->key.n > sizeof prefix - 1 && memcmp(meta->key.p, prefix, sizeof prefix - 1) == 0)
            terse_gguf_writer_copy(w, meta);
    }
    terse_gguf_close(&g);
    return st;
}

/* Replaces zeros by defaults; n_vocab stays 0 until the tokenizer is known. */
static terse_status complete(make_model_opts *o, terse_error *err)
{
    o->name = o->name ? o->name : "random";
    o->n_head_kv = o->n_head_kv ? o->n_head_kv : o->n_head;
    o->n_ctx = o->n_ctx ? o->n_ctx : 512;
    o->n_expert_used = o->n_expert_used ? o->n_expert_used : 2;
    o->rope_base = o->rope_base > 0.0f ? o->rope_base : 10000.0f;
    o->eps = o->eps > 0.0f ? o->eps : 1e-5f;
    o->q_gain = o->q_gain > 0.0f ? o->q_gain : 1.0f;
    o->threads = o->threads > 0 ? o->threads : terse_cpu_threads();
    if (o->n_layer < 1 || o->n_embd < 1 || o->n_head < 1 || o->n_ff < 1 || o->n_ctx < 1 || o->n_vocab < 0 ||
        o->n_expert < 0 || (o->n_vocab == 0 && !o->tokenizer))
        return terse_fail(err, TERSE_BAD_INPUT, "make_model: a size is missing or negative");
    o->head_dim = o->head_dim ? o->head_dim : o->n_embd / o->n_head;
    if (o->head_dim < 2 || o->head_dim % 2 || o->n_head_kv < 1 || o->n_head % o->n_head_kv)
        return terse_fail(err, TERSE_BAD_INPUT,
                          "make_model: head_dim must be even, n_head a multiple of n_head_kv");
    if (o->n_expert > 0 && (o->n_expert_used < 1 || o->n_expert_used > o->n_expert))
        return terse_fail(err, TERSE_BAD_INPUT, "make_model: n_expert_used must be 1 to n_expert");
    return TERSE_OK;
}

terse_status make_model(const char *path, const make_model_opts *opts, terse_error *err)
{
    make_model_opts o = *opts;
    maker m = { .o = &o, .err = err };
    terse_status st;
    if ((st = complete(&o, err)) == TERSE_OK && (st = terse_gguf_writer_open(&m.w, err)) == TERSE_OK &&
        (st = terse_team_open(&m.team, o.threads, err)) == TERSE_OK &&
        (st = add_tokenizer(m.w, &o, err)) == TERSE_OK) {
        add_meta(m.w, &o);
        add_tensors(&m);
        st = m.status != TERSE_OK ? m.status : terse_gguf_writer_save(m.w, path, err);
    }
    terse_gguf_writer_close(&m.w);
    terse_team_close(&m.team);
    for (size_t i = 0; i < m.n_data; i++)
        free(m.data[i]);
    free(m.data);
    return st;
}
