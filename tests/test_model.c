/* Model files that are wrong in one place: every hyper-parameter and tensor that the engine relies on is
 * checked at open, and the error names the key or the tensor. And files that are unusual but right: they load,
 * and compute the same bits on every tier, by prefill and by decode. */
#include "make_model.h"
#include "terse/terse.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { N_EMBD = 32, N_VOCAB = 48 };

static char good_path[64], path[64];

static int setup(void **state)
{
    (void)state;
    snprintf(good_path, sizeof good_path, "/tmp/terse-model-%d.gguf", (int)getpid());
    snprintf(path, sizeof path, "/tmp/terse-model-%d-bad.gguf", (int)getpid());
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(good_path);
    unlink(path);
    return 0;
}

/* A tiny model: two heads of 16, two layers; some rows need its experts or rope factors. */
static terse_gguf *make_good(bool experts)
{
    const make_model_opts o = { .n_layer = 2,
                                .n_embd = N_EMBD,
                                .n_head = 2,
                                .n_ff = 64,
                                .n_vocab = N_VOCAB,
                                .n_expert = experts ? 4 : 0,
                                .bias = true,
                                .output = true,
                                .rope_freqs = true,
                                .seed = 3 };
    terse_error err;
    terse_gguf *g = NULL;
    if (make_model(good_path, &o, &err) != TERSE_OK || terse_gguf_open(&g, good_path, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    return g;
}

static bool is(terse_str a, const char *b)
{
    return b && a.n == strlen(b) && !memcmp(a.p, b, a.n);
}

/* Opens path, expects status and that the text names what is wrong. */
static void expect(const char *what, terse_status status, const char *named)
{
    terse_error err = { 0 };
    terse_model *m = (terse_model *)&err;
    const terse_status st = terse_model_open(&m, path, &err);
    if (st != status || m)
        fail_msg("%s: status %d, expected %d: %s", what, st, status, err.text);
    if (!strstr(err.text, named) || !strstr(err.text, path))
        fail_msg("%s: the text does not name %s: %s", what, named, err.text);
}

/* ---- metadata ---- */

typedef struct {
    const char *what, *key; /* the value of key is replaced, or left out */
    enum { GONE, U32, I32, F32, STR } kind;
    double number;
    const char *text;
    terse_status status;
    const char *named; /* NULL: the key */
} meta_row;

#define A "llama."
static const meta_row meta_rows[] = {
    /* architecture */
    { "no architecture", "general.architecture", GONE, 0, NULL, TERSE_BAD_INPUT, NULL },
    { "architecture 7", "general.architecture", U32, 7, NULL, TERSE_BAD_INPUT, NULL },
    { "unknown architecture", "general.architecture", STR, 0, "martian", TERSE_UNSUPPORTED, "martian" },
    { "empty architecture", "general.architecture", STR, 0, "", TERSE_UNSUPPORTED, NULL },
    /* layers */
    { "no layers", A "block_count", U32, 0, NULL, TERSE_BAD_INPUT, NULL },
    { "513 layers", A "block_count", U32, 513, NULL, TERSE_BAD_INPUT, NULL },
    { "2^32-1 layers", A "block_count", U32, 4294967295.0, NULL, TERSE_BAD_INPUT, NULL },
    { "-1 layers", A "block_count", I32, -1, NULL, TERSE_BAD_INPUT, NULL },
    { "half a layer", A "block_count", F32, 0.5, NULL, TERSE_BAD_INPUT, NULL },
    { "layers missing", A "block_count", GONE, 0, NULL, TERSE_BAD_INPUT, NULL },
    { "a third layer", A "block_count", U32, 3, NULL, TERSE_BAD_INPUT, "blk.2.attn_norm.weight" },
    { "a layer too few", A "block_count", U32, 1, NULL, TERSE_UNSUPPORTED, "blk.1." },
    /* heads and widths */
    { "no heads", A "attention.head_count", U32, 0, NULL, TERSE_BAD_INPUT, NULL },
    { "heads missing", A "attention.head_count", GONE, 0, NULL, TERSE_BAD_INPUT, NULL },
    { "2^31 heads", A "attention.head_count", U32, 2147483648.0, NULL, TERSE_BAD_INPUT, NULL },
    { "another width", A "embedding_length", U32, 31, NULL, TERSE_BAD_INPUT, "token_embd.weight" },
    { "no width", A "embedding_length", U32, 0, NULL, TERSE_BAD_INPUT, NULL },
    { "huge width", A "embedding_length", U32, 1048577, NULL, TERSE_BAD_INPUT, NULL },
    { "no feed-forward", A "feed_forward_length", U32, 0, NULL, TERSE_BAD_INPUT, NULL },
    { "keys of 0", A "attention.key_length", U32, 0, NULL, TERSE_BAD_INPUT, NULL },
    { "keys of 513", A "attention.key_length", U32, 513, NULL, TERSE_BAD_INPUT, NULL },
    { "keys of 24", A "attention.key_length", U32, 24, NULL, TERSE_BAD_INPUT, "attn_q.weight" },
    { "values of 48", A "attention.value_length", U32, 48, NULL, TERSE_BAD_INPUT, "attn_v.weight" },
    /* KV heads */
    { "no KV heads", A "attention.head_count_kv", U32, 0, NULL, TERSE_BAD_INPUT, NULL },
    { "3 KV heads of 2", A "attention.head_count_kv", U32, 3, NULL, TERSE_BAD_INPUT, NULL },
    { "1 KV head", A "attention.head_count_kv", U32, 1, NULL, TERSE_BAD_INPUT, "attn_k.weight" },
    /* rope */
    { "rope 17", A "rope.dimension_count", U32, 17, NULL, TERSE_BAD_INPUT, NULL },
    { "rope 18", A "rope.dimension_count", U32, 18, NULL, TERSE_BAD_INPUT, NULL },
    { "rope 0", A "rope.dimension_count", U32, 0, NULL, TERSE_BAD_INPUT, NULL },
    { "rope 15", A "rope.dimension_count", U32, 15, NULL, TERSE_BAD_INPUT, NULL },
    { "rope 8", A "rope.dimension_count", U32, 8, NULL, TERSE_BAD_INPUT, "rope_freqs.weight" },
    /* context */
    { "no context", A "context_length", U32, 0, NULL, TERSE_BAD_INPUT, NULL },
    { "2^32-1 context", A "context_length", U32, 4294967295.0, NULL, TERSE_BAD_INPUT, NULL },
    { "2^24+1 context", A "context_length", U32, 16777217, NULL, TERSE_BAD_INPUT, NULL },
    /* numbers */
    { "eps 0", A "attention.layer_norm_rms_epsilon", F32, 0, NULL, TERSE_BAD_INPUT, NULL },
    { "eps -1", A "attention.layer_norm_rms_epsilon", F32, -1, NULL, TERSE_BAD_INPUT, NULL },
    { "eps NaN", A "attention.layer_norm_rms_epsilon", F32, NAN, NULL, TERSE_BAD_INPUT, NULL },
    { "eps Inf", A "attention.layer_norm_rms_epsilon", F32, INFINITY, NULL, TERSE_BAD_INPUT, NULL },
    { "eps missing", A "attention.layer_norm_rms_epsilon", GONE, 0, NULL, TERSE_BAD_INPUT, NULL },
    { "base NaN", A "rope.freq_base", F32, NAN, NULL, TERSE_BAD_INPUT, NULL },
    { "base 0", A "rope.freq_base", F32, 0, NULL, TERSE_BAD_INPUT, NULL },
    { "base Inf", A "rope.freq_base", F32, INFINITY, NULL, TERSE_BAD_INPUT, NULL },
    /* keys that the good file does not have */
    { "unknown scaling", A "rope.scaling.type", STR, 0, "longrope", TERSE_UNSUPPORTED, "longrope" },
    { "scaling NaN", A "rope.scaling.factor", F32, NAN, NULL, TERSE_BAD_INPUT, NULL },
    { "scaling 0", A "rope.scaling.factor", F32, 0, NULL, TERSE_BAD_INPUT, NULL },
    { "linear 0", A "rope.scale_linear", F32, 0, NULL, TERSE_BAD_INPUT, NULL },
    { "2^31 experts", A "expert_count", U32, 2147483648.0, NULL, TERSE_BAD_INPUT, NULL },
    { "1025 experts", A "expert_count", U32, 1025, NULL, TERSE_BAD_INPUT, NULL },
    { "experts without use", A "expert_count", U32, 4, NULL, TERSE_BAD_INPUT, A "expert_used_count" },
    { "another vocabulary", A "vocab_size", U32, N_VOCAB + 1, NULL, TERSE_BAD_INPUT, "token_embd.weight" },
};

static const meta_row expert_rows[] = {
    { "none used", A "expert_used_count", U32, 0, NULL, TERSE_BAD_INPUT, NULL },
    { "5 of 4 used", A "expert_used_count", U32, 5, NULL, TERSE_BAD_INPUT, NULL },
    { "3 experts", A "expert_count", U32, 3, NULL, TERSE_BAD_INPUT, "ffn_gate_inp.weight" },
    { "no experts", A "expert_count", U32, 0, NULL, TERSE_BAD_INPUT, "ffn_gate.weight" },
};
#undef A

/* Of golden models. */
#define D "deepseek2."
static const meta_row latent_rows[] = {
    { "no rank", D "attention.kv_lora_rank", GONE, 0, NULL, TERSE_BAD_INPUT, NULL },
    { "rank 0", D "attention.kv_lora_rank", U32, 0, NULL, TERSE_BAD_INPUT, NULL },
    { "rank 4096", D "attention.kv_lora_rank", U32, 4096, NULL, TERSE_BAD_INPUT, NULL },
    { "another rank", D "attention.kv_lora_rank", U32, 31, NULL, TERSE_BAD_INPUT, "latents" },
    { "queries of another rank", D "attention.q_lora_rank", U32, 25, NULL, TERSE_BAD_INPUT, "attn_q_a.weight" },
    { "2 KV heads", D "attention.head_count_kv", U32, 2, NULL, TERSE_BAD_INPUT, "latents" },
    { "cache of 577", D "attention.key_length", U32, 577, NULL, TERSE_BAD_INPUT, NULL },
    { "another cache", D "attention.key_length", U32, 48, NULL, TERSE_BAD_INPUT, "latents" },
    { "heads of 8", D "attention.key_length_mla", U32, 8, NULL, TERSE_BAD_INPUT, D "rope.dimension_count" },
    { "heads of 28", D "attention.key_length_mla", U32, 28, NULL, TERSE_BAD_INPUT, "attn_q_b.weight" },
    { "values of 0", D "attention.value_length_mla", U32, 0, NULL, TERSE_BAD_INPUT, NULL },
    { "no values", D "attention.value_length_mla", GONE, 0, NULL, TERSE_BAD_INPUT, NULL },
    { "all turn", D "rope.dimension_count", U32, 24, NULL, TERSE_BAD_INPUT, NULL },
    { "a fifth gate", D "expert_gating_func", U32, 4, NULL, TERSE_BAD_INPUT, NULL },
    { "scale NaN", D "expert_weights_scale", F32, NAN, NULL, TERSE_BAD_INPUT, NULL },
    { "3 groups", D "expert_group_count", U32, 3, NULL, TERSE_BAD_INPUT, "groups" },
    { "groups too small", D "expert_group_count", U32, 8, NULL, TERSE_BAD_INPUT, "groups" },
    { "5 dense layers", D "leading_dense_block_count", U32, 5, NULL, TERSE_BAD_INPUT, NULL },
    { "2 dense layers", D "leading_dense_block_count", U32, 2, NULL, TERSE_BAD_INPUT, "blk.1.ffn_gate.weight" },
    { "1 shared", D "expert_shared_count", U32, 1, NULL, TERSE_BAD_INPUT, "ffn_gate_shexp.weight" },
    { "2^20 shared", D "expert_shared_count", U32, 1 << 20, NULL, TERSE_BAD_INPUT, NULL },
    { "experts of another width", D "expert_feed_forward_length", U32, 33, NULL, TERSE_BAD_INPUT,
      "ffn_gate_exps.weight" },
    { "multiplier Inf", D "rope.scaling.yarn_log_multiplier", F32, INFINITY, NULL, TERSE_BAD_INPUT, NULL },
};
#undef D
static const meta_row window_rows[] = {
    { "window -1", "gpt-oss.attention.sliding_window", I32, -1, NULL, TERSE_BAD_INPUT, NULL },
    { "window 2^31", "gpt-oss.attention.sliding_window", U32, 2147483648.0, NULL, TERSE_BAD_INPUT, NULL },
    { "experts of none", "gpt-oss.expert_feed_forward_length", U32, 0, NULL, TERSE_BAD_INPUT, NULL },
};

static void write_with_meta(const terse_gguf *g, const meta_row *r)
{
    terse_error err;
    terse_gguf_writer *w;
    assert_int_equal(terse_gguf_writer_open(&w, &err), TERSE_OK);
    for (int32_t i = 0; i < terse_gguf_n_meta(g); i++)
        if (!is(terse_gguf_meta(g, i)->key, r->key))
            terse_gguf_writer_copy(w, terse_gguf_meta(g, i));
    if (r->kind == U32)
        terse_gguf_writer_u32(w, r->key, (uint32_t)r->number);
    else if (r->kind == I32)
        terse_gguf_writer_i32(w, r->key, (int32_t)r->number);
    else if (r->kind == F32)
        terse_gguf_writer_f32(w, r->key, (float)r->number);
    else if (r->kind == STR)
        terse_gguf_writer_str(w, r->key, (terse_str){ r->text, strlen(r->text) });
    for (int32_t i = 0; i < terse_gguf_n_tensor(g); i++) {
        const terse_tensor *t = terse_gguf_tensor(g, i);
        char name[80];
        snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.p);
        terse_gguf_writer_tensor(w, name, t->type, t->n_dim, t->ne, t->data);
    }
    if (terse_gguf_writer_save(w, path, &err) != TERSE_OK)
        fail_msg("%s: %s", r->what, err.text);
    terse_gguf_writer_close(&w);
}

static void wrong_metadata_is_named(void **state)
{
    (void)state;
    terse_gguf *g = make_good(false);
    for (size_t i = 0; i < sizeof meta_rows / sizeof *meta_rows; i++) {
        const meta_row *r = &meta_rows[i];
        write_with_meta(g, r);
        expect(r->what, r->status, r->named ? r->named : r->key);
    }
    static char huge[(1 << 20) + 1];
    memset(huge, 'x', sizeof huge - 1);
    write_with_meta(g, &(meta_row){ "huge", "general.architecture", STR, 0, huge, TERSE_OK, NULL });
    expect("architecture of 1 MiB", TERSE_UNSUPPORTED, "general.architecture");
    terse_gguf_close(&g);
    g = make_good(true);
    for (size_t i = 0; i < sizeof expert_rows / sizeof *expert_rows; i++) {
        const meta_row *r = &expert_rows[i];
        write_with_meta(g, r);
        expect(r->what, r->status, r->named ? r->named : r->key);
    }
    terse_gguf_close(&g);
}

static void wrong_golden(const char *file, const meta_row *rows, size_t n)
{
    char name[512];
    terse_error err;
    terse_gguf *g;
    snprintf(name, sizeof name, "%s/golden/models/%s", TERSE_TEST_DIR, file);
    if (terse_gguf_open(&g, name, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < n; i++) {
        write_with_meta(g, &rows[i]);
        expect(rows[i].what, rows[i].status, rows[i].named ? rows[i].named : rows[i].key);
    }
    terse_gguf_close(&g);
}

static void wrong_metadata_of_architectures_is_named(void **state)
{
    (void)state;
    wrong_golden("deepseek2-mla-f16.gguf", latent_rows, sizeof latent_rows / sizeof *latent_rows);
    wrong_golden("gpt-oss-mxfp4.gguf", window_rows, sizeof window_rows / sizeof *window_rows);
}

/* Without a head size in the file it is the width shared out: 32 by 3 is none. */
static void a_width_that_heads_do_not_divide(void **state)
{
    (void)state;
    terse_error err;
    terse_gguf_writer *w;
    assert_int_equal(terse_gguf_writer_open(&w, &err), TERSE_OK);
    terse_gguf_writer_str(w, "general.architecture", (terse_str){ "llama", 5 });
    terse_gguf_writer_u32(w, "llama.block_count", 1);
    terse_gguf_writer_u32(w, "llama.context_length", 8);
    terse_gguf_writer_u32(w, "llama.embedding_length", 32);
    terse_gguf_writer_u32(w, "llama.feed_forward_length", 8);
    terse_gguf_writer_u32(w, "llama.attention.head_count", 3);
    assert_int_equal(terse_gguf_writer_save(w, path, &err), TERSE_OK);
    terse_gguf_writer_close(&w);
    expect("3 heads of 32 channels", TERSE_BAD_INPUT, "llama.attention.key_length");
}

/* ---- tensors ---- */

typedef struct {
    const char *what, *name; /* the tensor is replaced; n_dim 0: left out */
    int32_t n_dim;
    int64_t ne[4];
    terse_type type;
    float fill;
    terse_status status;
} tensor_row;

static const tensor_row tensor_rows[] = {
    { "missing", "blk.1.attn_q.weight", 0, { 0 }, TERSE_TYPE_F32, 0, TERSE_BAD_INPUT },
    { "missing", "token_embd.weight", 0, { 0 }, TERSE_TYPE_F32, 0, TERSE_BAD_INPUT },
    { "missing", "output_norm.weight", 0, { 0 }, TERSE_TYPE_F32, 0, TERSE_BAD_INPUT },
    { "missing", "blk.0.ffn_norm.weight", 0, { 0 }, TERSE_TYPE_F32, 0, TERSE_BAD_INPUT },
    { "missing", "blk.0.ffn_down.weight", 0, { 0 }, TERSE_TYPE_F32, 0, TERSE_BAD_INPUT },
    { "a row too many", "token_embd.weight", 2, { N_EMBD, N_VOCAB + 1 }, TERSE_TYPE_F32, 0, TERSE_BAD_INPUT },
    { "a row too few", "output.weight", 2, { N_EMBD, N_VOCAB - 1 }, TERSE_TYPE_F32, 0, TERSE_BAD_INPUT },
    { "transposed", "blk.0.ffn_gate.weight", 2, { 64, N_EMBD }, TERSE_TYPE_F32, 0, TERSE_BAD_INPUT },
    { "3 dimensions", "blk.0.attn_q.weight", 3, { 32, 32, 2 }, TERSE_TYPE_F32, 0, TERSE_BAD_INPUT },
    { "4 dimensions", "blk.0.attn_q.weight", 4, { 32, 32, 1, 2 }, TERSE_TYPE_F32, 0, TERSE_BAD_INPUT },
    { "short norm", "blk.1.attn_norm.weight", 1, { 16 }, TERSE_TYPE_F32, 0, TERSE_BAD_INPUT },
    { "long bias", "blk.1.attn_q.bias", 1, { 33 }, TERSE_TYPE_F32, 0, TERSE_BAD_INPUT },
    { "norm in f16", "output_norm.weight", 1, { N_EMBD }, TERSE_TYPE_F16, 0, TERSE_UNSUPPORTED },
    { "integers", "blk.0.attn_k.weight", 2, { 32, 32 }, TERSE_TYPE_I32, 0, TERSE_UNSUPPORTED },
    { "nobody's", "blk.0.attn_sinks.weight", 1, { 2 }, TERSE_TYPE_F32, 0, TERSE_UNSUPPORTED },
    { "nobody's layer", "blk.2.attn_q.weight", 2, { 32, 32 }, TERSE_TYPE_F32, 0, TERSE_UNSUPPORTED },
    { "nobody's bias", "blk.0.attn_norm.bias", 1, { 32 }, TERSE_TYPE_F32, 0, TERSE_UNSUPPORTED },
    { "factors of 0", "rope_freqs.weight", 1, { 8 }, TERSE_TYPE_F32, 0.0f, TERSE_BAD_INPUT },
    { "factors of NaN", "rope_freqs.weight", 1, { 8 }, TERSE_TYPE_F32, NAN, TERSE_BAD_INPUT },
    { "negative factors", "rope_freqs.weight", 1, { 8 }, TERSE_TYPE_F32, -1.0f, TERSE_BAD_INPUT },
    { "infinite factors", "rope_freqs.weight", 1, { 8 }, TERSE_TYPE_F32, INFINITY, TERSE_BAD_INPUT },
    { "too many factors", "rope_freqs.weight", 1, { 16 }, TERSE_TYPE_F32, 1.0f, TERSE_BAD_INPUT },
    { "factors of heads", "rope_freqs.weight", 3, { 8, 1, 2 }, TERSE_TYPE_F32, 1.0f, TERSE_BAD_INPUT },
    { "factors in f16", "rope_freqs.weight", 1, { 8 }, TERSE_TYPE_F16, 0, TERSE_BAD_INPUT },
};

static void write_with_tensor(const terse_gguf *g, const tensor_row *r)
{
    static float data[4096];
    terse_error err;
    terse_gguf_writer *w;
    assert_int_equal(terse_gguf_writer_open(&w, &err), TERSE_OK);
    for (int32_t i = 0; i < terse_gguf_n_meta(g); i++)
        terse_gguf_writer_copy(w, terse_gguf_meta(g, i));
    for (int32_t i = 0; i < terse_gguf_n_tensor(g); i++) {
        const terse_tensor *t = terse_gguf_tensor(g, i);
        char name[80];
        snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.p);
        if (!is(t->name, r->name))
            terse_gguf_writer_tensor(w, name, t->type, t->n_dim, t->ne, t->data);
    }
    for (size_t i = 0; i < sizeof data / sizeof *data; i++)
        data[i] = r->fill;
    if (r->n_dim)
        terse_gguf_writer_tensor(w, r->name, r->type, r->n_dim, r->ne, data);
    if (terse_gguf_writer_save(w, path, &err) != TERSE_OK)
        fail_msg("%s: %s", r->what, err.text);
    terse_gguf_writer_close(&w);
}

static void wrong_tensors_are_named(void **state)
{
    (void)state;
    terse_gguf *g = make_good(false);
    for (size_t i = 0; i < sizeof tensor_rows / sizeof *tensor_rows; i++) {
        write_with_tensor(g, &tensor_rows[i]);
        expect(tensor_rows[i].what, tensor_rows[i].status, tensor_rows[i].name);
    }
    terse_gguf_close(&g);
}

/* ---- unusual but right ---- */

enum { N_TOKEN = 35 }; /* more than a page */

static void logits_of(const terse_model *m, const terse_session_opts *o, bool decode, float *out)
{
    terse_error err;
    terse_session *s;
    int32_t tokens[N_TOKEN];
    for (int32_t t = 0; t < N_TOKEN; t++)
        tokens[t] = t * 11 % N_VOCAB;
    if (terse_session_open(&s, m, o, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    if (!decode)
        assert_int_equal(terse_session_prefill(s, tokens, N_TOKEN, NULL, out, &err), TERSE_OK);
    for (int32_t t = 0; decode && t < N_TOKEN; t++) {
        const float *row;
        assert_int_equal(terse_session_decode(s, tokens[t], &row, &err), TERSE_OK);
        memcpy(out + t * N_VOCAB, row, N_VOCAB * sizeof *row);
    }
    terse_session_close(&s);
}

static void check_model(const char *what, const make_model_opts *opts)
{
    static float want[N_TOKEN * N_VOCAB], got[N_TOKEN * N_VOCAB];
    terse_error err;
    terse_model *m = NULL;
    make_model_opts mo = *opts;
    mo.n_vocab = N_VOCAB;
    mo.n_ff = mo.n_ff ? mo.n_ff : 64;
    if (make_model(path, &mo, &err) != TERSE_OK || terse_model_open(&m, path, &err) != TERSE_OK)
        fail_msg("%s: %s", what, err.text);
    logits_of(m, &(terse_session_opts){ .cpu = TERSE_CPU_SCALAR, .threads = 1 }, false, want);
    for (int32_t i = 0; i < N_TOKEN * N_VOCAB; i++)
        if (!isfinite(want[i]))
            fail_msg("%s: logit %d is %g", what, i, (double)want[i]);
    for (uint32_t tier = TERSE_CPU_SCALAR; tier <= TERSE_CPU_LAST; tier *= 2)
        for (int decode = 0; decode < 2 && terse_cpu_tiers() & tier; decode++) {
            logits_of(m, &(terse_session_opts){ .cpu = 2 * tier - 1, .threads = 2 }, decode, got);
            if (memcmp(want, got, sizeof want))
                fail_msg("%s: %s gives other bits by %s", what, terse_cpu_tier_name(tier),
                         decode ? "decode" : "prefill");
        }
    terse_model_close(&m);
}

static void unusual_shapes_compute(void **state)
{
    (void)state;
    static const int32_t dims[] = { 16, 48, 80, 112, 256, 512 };
    for (size_t i = 0; i < sizeof dims / sizeof *dims;
         i++) { /* heads wider than the model, one head, no group */
        char what[32];
        snprintf(what, sizeof what, "heads of %d", (int)dims[i]);
        check_model(what, &(make_model_opts){ .n_layer = 1, .n_embd = 64, .n_head = 3, .head_dim = dims[i] });
    }
    check_model("one head", &(make_model_opts){ .n_layer = 1, .n_embd = 16, .n_head = 1 });
    check_model("odd group", &(make_model_opts){ .n_layer = 2, .n_embd = 112, .n_head = 7, .n_head_kv = 1 });
    check_model("odd width", &(make_model_opts){ .n_layer = 1, .n_embd = 50, .n_head = 2, .head_dim = 16 });
    for (int32_t n = 32; n <= 288; n += 64) { /* rows of Q8_0 and Q4_0 that are no whole step of 256 */
        make_model_opts o = { .n_layer = 1, .n_embd = n, .n_head = 2, .head_dim = 16, .n_ff = n + 32 };
        o.types = make_model_uniform(TERSE_TYPE_Q8_0);
        o.types.gate = o.types.k = TERSE_TYPE_Q4_0;
        check_model("part of a step", &o);
    }
}

static void experts_of_different_types_compute(void **state)
{
    (void)state;
    make_model_opts o = { .n_layer = 2, .n_embd = 256, .n_head = 4, .n_ff = 512, .n_expert = 5 };
    o.types = make_model_uniform(TERSE_TYPE_F16);
    o.types.gate = TERSE_TYPE_Q4_K;
    o.types.up = TERSE_TYPE_Q8_0;
    o.types.down = TERSE_TYPE_Q6_K;
    check_model("three types", &o);
    o.n_expert_used = 5;
    check_model("all experts", &o);
    o.n_expert = o.n_expert_used = 1;
    check_model("one expert", &o);
}

/* ---- groups of experts ---- */

/* The latent golden model with other biases of the router, in `groups` groups of which one is used; 0: none. */
static void write_groups(const float bias[8], uint32_t groups)
{
    static const int64_t ne[1] = { 8 };
    char name[512];
    terse_error err;
    terse_gguf *g;
    terse_gguf_writer *w;
    snprintf(name, sizeof name, "%s/golden/models/deepseek2-mla-f16.gguf", TERSE_TEST_DIR);
    assert_int_equal(terse_gguf_open(&g, name, &err), TERSE_OK);
    assert_int_equal(terse_gguf_writer_open(&w, &err), TERSE_OK);
    for (int32_t i = 0; i < terse_gguf_n_meta(g); i++)
        terse_gguf_writer_copy(w, terse_gguf_meta(g, i));
    if (groups) {
        terse_gguf_writer_u32(w, "deepseek2.expert_group_count", groups);
        terse_gguf_writer_u32(w, "deepseek2.expert_group_used_count", 1);
    }
    for (int32_t i = 0; i < terse_gguf_n_tensor(g); i++) {
        const terse_tensor *t = terse_gguf_tensor(g, i);
        const bool router = t->name.n > 16 && !memcmp(t->name.p + t->name.n - 16, "exp_probs_b.bias", 16);
        snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.p);
        terse_gguf_writer_tensor(w, name, t->type, router ? 1 : t->n_dim, router ? ne : t->ne,
                                 router ? bias : t->data);
    }
    if (terse_gguf_writer_save(w, path, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    terse_gguf_writer_close(&w);
    terse_gguf_close(&g);
}

/* A group is as good as its two best experts together: the first group has the best one, the second the best
 * two. Leaving the first out by its biases is then the same as having groups; having none is not. */
static void groups_of_experts(void **state)
{
    (void)state;
    static const float biases[] = { 5, -5, -5, -5, 3, 3, 3, -5 },
                       second[] = { -50, -50, -50, -50, 3, 3, 3, -5 };
    float *logits[3];
    terse_error err;
    for (int i = 0; i < 3; i++) {
        terse_model *m;
        write_groups(i == 1 ? second : biases, i == 0 ? 2 : 0);
        if (terse_model_open(&m, path, &err) != TERSE_OK)
            fail_msg("%s", err.text);
        logits[i] = calloc(N_TOKEN * (size_t)terse_model_about(m)->n_vocab, sizeof(float));
        assert_non_null(logits[i]);
        logits_of(m, &(terse_session_opts){ .threads = 1 }, false, logits[i]);
        terse_model_close(&m);
    }
    assert_memory_equal(logits[0], logits[1], N_TOKEN * 256 * sizeof(float));
    assert_memory_not_equal(logits[0], logits[2], N_TOKEN * 256 * sizeof(float));
    for (int i = 0; i < 3; i++)
        free(logits[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_metadata_is_named),
        cmocka_unit_test(wrong_metadata_of_architectures_is_named),
        cmocka_unit_test(a_width_that_heads_do_not_divide),
        cmocka_unit_test(wrong_tensors_are_named),
        cmocka_unit_test(unusual_shapes_compute),
        cmocka_unit_test(experts_of_different_types_compute),
        cmocka_unit_test(groups_of_experts),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
