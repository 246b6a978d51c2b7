/* Made models: the reader takes them, the blocks hold the weights, the same options give the same bytes. */
#include "make_model.h"
#include "simd/dot.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/terse-test-XXXXXX";

static int make_path(void **state)
{
    (void)state;
    const int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(path);
}

/* The smallest shape whose rows are whole blocks of every type. */
static make_model_opts small(void)
{
    return (make_model_opts){ .n_layer = 2,
                              .n_embd = 256,
                              .n_head = 4,
                              .n_head_kv = 2,
                              .n_ff = 512,
                              .n_vocab = 300,
                              .seed = 7,
                              .threads = 2 };
}

static terse_gguf *made(const make_model_opts *o)
{
    terse_error err;
    terse_gguf *g = NULL;
    if (make_model(path, o, &err) != TERSE_OK || terse_gguf_open(&g, path, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    return g;
}

static const terse_tensor *tensor(const terse_gguf *g, const char *name, uint32_t type, int64_t n0, int64_t n1,
                                  int64_t n2)
{
    const terse_tensor *t = terse_gguf_find_tensor(g, name);
    if (!t)
        fail_msg("no %s", name);
    assert_int_equal(t->type, type);
    assert_int_equal(t->ne[0], n0);
    assert_int_equal(t->ne[1], n1);
    assert_int_equal(t->ne[2], n2);
    return t;
}

/* sqrt(mean squared error / mean square) of a stored tensor against the weights that it was made from. */
static double stored_error(const terse_tensor *t, const char *name, uint64_t seed, float std)
{
    float x[512], y[512];
    double error = 0.0, size = 0.0;
    assert_true(t->ne[0] <= 512);
    const size_t row_size = terse_type_row_size(t->type, t->ne[0]);
    for (int64_t r = 0; r < t->ne[1] * t->ne[2]; r++) {
        make_model_row(x, t->ne[0], seed, name, r, std);
        terse_dequant_row(terse_dot_type_of(t->type), y, (const uint8_t *)t->data + (size_t)r * row_size,
                          t->ne[0]);
        for (int64_t i = 0; i < t->ne[0]; i++) {
            error += (y[i] - x[i]) * (y[i] - x[i]);
            size += x[i] * x[i];
        }
    }
    return sqrt(error / size);
}

/* Every type: tensors are where and what a loader expects, and come back with the error of their bits. */
static void every_type_holds_the_weights(void **state)
{
    (void)state;
    static const struct {
        terse_type type;
        double most;
    } cases[] = {
        { TERSE_TYPE_F32, 0.0 },    { TERSE_TYPE_F16, 3e-4 },  { TERSE_TYPE_BF16, 2e-3 },
        { TERSE_TYPE_Q8_0, 0.006 }, { TERSE_TYPE_Q6_K, 0.02 }, { TERSE_TYPE_Q5_K, 0.045 },
        { TERSE_TYPE_Q4_K, 0.09 },  { TERSE_TYPE_Q4_0, 0.10 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const terse_type type = cases[i].type;
        make_model_opts o = small();
        o.types = make_model_uniform(type);
        terse_gguf *g = made(&o);
        assert_int_equal(terse_gguf_n_tensor(g), 2 + 9 * 2);
        const terse_tensor *q = tensor(g, "blk.1.attn_q.weight", type, 256, 256, 1);
        const terse_tensor *down = tensor(g, "blk.0.ffn_down.weight", type, 512, 256, 1);
        const terse_tensor *embd = tensor(g, "token_embd.weight", type, 256, 300, 1);
        const double e[3] = { stored_error(q, "blk.1.attn_q.weight", 7, 1.0f / 16.0f),
                              stored_error(down, "blk.0.ffn_down.weight", 7, 1.0f / sqrtf(512.0f)),
                              stored_error(embd, "token_embd.weight", 7, 1.0f) };
        for (int k = 0; k < 3; k++)
            if (!(e[k] <= cases[i].most) || (cases[i].most > 0.0 && e[k] < cases[i].most / 4.0))
                fail_msg("%s: relative error %g", terse_type_of(type)->name, e[k]);
        tensor(g, "blk.0.attn_k.weight", type, 256, 128, 1);
        const terse_tensor *norm = tensor(g, "blk.1.ffn_norm.weight", TERSE_TYPE_F32, 256, 1, 1);
        for (int d = 0; d < 256; d++)
            assert_float_equal(((const float *)norm->data)[d], 1.0f, 0.0f);
        terse_gguf_close(&g);
    }
}

static void options_become_keys_and_tensors(void **state)
{
    (void)state;
    make_model_opts o = small();
    o.name = "made";
    o.head_dim = 32; /* not n_embd / n_head */
    o.rope_base = 5e5f;
    o.n_expert = 4;
    o.bias = o.output = o.rope_freqs = true;
    o.types.down = TERSE_TYPE_Q4_0;
    terse_gguf *g = made(&o);
    tensor(g, "output.weight", TERSE_TYPE_F32, 256, 300, 1);
    tensor(g, "rope_freqs.weight", TERSE_TYPE_F32, 16, 1, 1);
    tensor(g, "blk.0.attn_q.weight", TERSE_TYPE_F32, 256, 128, 1);
    tensor(g, "blk.0.attn_output.weight", TERSE_TYPE_F32, 128, 256, 1);
    tensor(g, "blk.1.attn_v.bias", TERSE_TYPE_F32, 64, 1, 1);
    tensor(g, "blk.1.attn_output.bias", TERSE_TYPE_F32, 256, 1, 1);
    tensor(g, "blk.1.ffn_gate_inp.weight", TERSE_TYPE_F32, 256, 4, 1);
    tensor(g, "blk.1.ffn_gate_exps.weight", TERSE_TYPE_F32, 256, 512, 4);
    const terse_tensor *down = tensor(g, "blk.1.ffn_down_exps.weight", TERSE_TYPE_Q4_0, 512, 256, 4);
    assert_true(stored_error(down, "blk.1.ffn_down_exps.weight", 7, 1.0f / sqrtf(512.0f)) < 0.1);
    assert_null(terse_gguf_find_tensor(g, "blk.1.ffn_down.weight"));

    static const struct {
        const char *key;
        int32_t value;
    } keys[] = {
        { "llama.block_count", 2 },           { "llama.context_length", 512 },
        { "llama.embedding_length", 256 },    { "llama.feed_forward_length", 512 },
        { "llama.attention.head_count", 4 },  { "llama.attention.head_count_kv", 2 },
        { "llama.attention.key_length", 32 }, { "llama.attention.value_length", 32 },
        { "llama.rope.dimension_count", 32 }, { "llama.vocab_size", 300 },
        { "llama.expert_count", 4 },          { "llama.expert_used_count", 2 },
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        int32_t value = -1;
        assert_int_equal(terse_gguf_get_i32(g, keys[i].key, true, &value, NULL), TERSE_OK);
        assert_int_equal(value, keys[i].value);
    }
    float base = 0.0f;
    terse_str text;
    assert_int_equal(terse_gguf_get_f32(g, "llama.rope.freq_base", true, &base, NULL), TERSE_OK);
    assert_float_equal(base, 5e5f, 0.0f);
    assert_int_equal(terse_gguf_get_str(g, "general.architecture", true, &text, NULL), TERSE_OK);
    assert_true(text.n == 5 && memcmp(text.p, "llama", 5) == 0);
    assert_int_equal(terse_gguf_get_str(g, "tokenizer.ggml.model", true, &text, NULL), TERSE_OK);
    assert_true(text.n == 4 && memcmp(text.p, "none", 4) == 0);
    terse_gguf_close(&g);
}

static char *contents(size_t *size)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *size = (size_t)ftell(f);
    rewind(f);
    char *p = malloc(*size);
    assert_non_null(p);
    assert_int_equal(fread(p, 1, *size, f), *size);
    fclose(f);
    return p;
}

static void same_options_same_bytes(void **state)
{
    (void)state;
    make_model_opts o = small();
    o.types = make_model_uniform(TERSE_TYPE_Q5_K);
    char *bytes[3];
    size_t size[3];
    for (int i = 0; i < 3; i++) {
        o.threads = i == 0 ? 1 : 2;
        o.seed = i == 2 ? 8 : 7;
        terse_gguf *g = made(&o);
        terse_gguf_close(&g);
        bytes[i] = contents(&size[i]);
    }
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(bytes[0], bytes[1], size[0]);
    assert_int_equal(size[0], size[2]);
    assert_true(memcmp(bytes[0], bytes[2], size[0]) != 0);
    for (int i = 0; i < 3; i++)
        free(bytes[i]);
}

static void weights_are_normal(void **state)
{
    (void)state;
    enum { N = 200000 };
    float *x = malloc(N * sizeof *x);
    assert_non_null(x);
    make_model_row(x, N, 1, "some.weight", 3, 0.02f);
    double sum = 0.0, square = 0.0, beyond = 0.0;
    for (int i = 0; i < N; i++) {
        sum += x[i];
        square += (double)x[i] * x[i];
        beyond += fabsf(x[i]) > 0.04f;
    }
    assert_true(fabs(sum / N) < 2e-4);
    assert_true(fabs(sqrt(square / N) - 0.02) < 1e-4);
    assert_true(fabs(beyond / N - 0.0455) < 0.003); /* past two deviations */
    free(x);
}

/* The keys arrive as they were, and the vocabulary sets the size. */
static void tokenizer_is_copied(void **state)
{
    (void)state;
    make_model_opts o = small();
    o.n_vocab = 0;
    o.tokenizer = TERSE_MODEL_DIR "/terse-28m-16k-q8_0.gguf";
    terse_gguf *g = made(&o), *from = NULL;
    assert_int_equal(terse_gguf_open(&from, o.tokenizer, NULL), TERSE_OK);
    terse_meta_array a, b;
    assert_int_equal(terse_gguf_get_array(g, "tokenizer.ggml.tokens", true, TERSE_META_STR, &a, NULL),
                     TERSE_OK);
    assert_int_equal(terse_gguf_get_array(from, "tokenizer.ggml.tokens", true, TERSE_META_STR, &b, NULL),
                     TERSE_OK);
    assert_int_equal(a.n, b.n);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    tensor(g, "token_embd.weight", TERSE_TYPE_F32, 256, (int64_t)a.n, 1);
    int copied = 0, wanted = 0;
    for (int32_t i = 0; i < terse_gguf_n_meta(from); i++)
        wanted += strncmp(terse_gguf_meta(from, i)->key.p, "tokenizer.", 10) == 0;
    for (int32_t i = 0; i < terse_gguf_n_meta(g); i++)
        copied += strncmp(terse_gguf_meta(g, i)->key.p, "tokenizer.", 10) == 0;
    assert_int_equal(copied, wanted);
    terse_gguf_close(&g);
    terse_gguf_close(&from);

    o.n_vocab = 100; /* not the size of that vocabulary */
    assert_int_equal(make_model(path, &o, NULL), TERSE_BAD_INPUT);
}

static void bad_options_are_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 9; i++) {
        make_model_opts o = small();
        switch (i) {
        case 0:
            o.n_layer = 0;
            break;
        case 1:
            o.n_vocab = 0;
            break;
        case 2:
            o.n_head_kv = 3;
            break;
        case 3:
            o.head_dim = 33;
            break;
        case 4:
            o.types.k = TERSE_TYPE_IQ1_S;
            break;
        case 5:
            o.n_ff = 500; /* no whole blocks */
            o.types.down = TERSE_TYPE_Q8_0;
            break;
        case 6:
            o.n_expert = 2;
            o.n_expert_used = 3;
            break;
        case 7:
            o.tokenizer = "/nonexistent";
            break;
        default:
            o.n_embd = -256;
            break;
        }
        terse_error err = { 0 };
        const terse_status st = make_model(path, &o, &err);
        assert_true(st == TERSE_BAD_INPUT || (i == 7 && st == TERSE_IO));
        assert_true(err.status == st && err.text[0]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_holds_the_weights), cmocka_unit_test(options_become_keys_and_tensors),
        cmocka_unit_test(same_options_same_bytes),      cmocka_unit_test(weights_are_normal),
        cmocka_unit_test(tokenizer_is_copied),          cmocka_unit_test(bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
