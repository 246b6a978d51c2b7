/* Dense architectures against their definitions in float64 (arch_reference.c), and against themselves: the same
 * bits in pieces, token by token, on every tier, with any KV type. Needs no files. */
#include "arch_reference.h"
#include "terse/terse.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { N = 75 }; /* tokens */

static char path[64];
static int32_t tokens[N];

static int setup(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/terse-arch-%d.gguf", (int)getpid());
    for (int32_t t = 0; t < N; t++)
        tokens[t] = (t * t * 7 + t * 3 + 5) % REF_VOCAB;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

static const ref_spec specs[] = {
    { .arch = "llama", .n_layer = 2, .dim = 16 },
    { .arch = "llama", .n_layer = 1, .dim = 20, .turn = 12, .bias = true },
    { .arch = "internlm2", .n_layer = 2, .dim = 16 },
    { .arch = "orion", .n_layer = 2, .dim = 16, .halves = true, .layer_norm = true, .norm_bias = true },
    { .arch = "stablelm",
      .n_layer = 2,
      .dim = 16,
      .halves = true,
      .turn = 4,
      .layer_norm = true,
      .norm_bias = true,
      .qk = REF_QK_EACH,
      .bias = true },
    { .arch = "stablelm",
      .n_layer = 2,
      .dim = 16,
      .halves = true,
      .norms = REF_ONE,
      .layer_norm = true,
      .norm_bias = true,
      .parallel = true },
    { .arch = "qwen2", .n_layer = 2, .dim = 12, .halves = true, .bias = true },
    { .arch = "qwen3", .n_layer = 2, .dim = 24, .halves = true, .qk = REF_QK_HEAD },
    { .arch = "gemma", .n_layer = 2, .dim = 16, .halves = true, .gelu = true, .embed_scale = 6.92820323027551 },
    { .arch = "gemma2",
      .n_layer = 3,
      .dim = 16,
      .halves = true,
      .gelu = true,
      .embed_scale = 6.92820323027551,
      .norms = REF_SANDWICH,
      .attn_cap = 4.0,
      .logits_cap = 3.0,
      .window = 33,
      .period = 2,
      .keys = "attn_logit_softcapping=4 final_logit_softcapping=3" },
    { .arch = "gemma3",
      .n_layer = 7,
      .dim = 16,
      .halves = true,
      .gelu = true,
      .embed_scale = 6.92820323027551,
      .norms = REF_SANDWICH,
      .qk = REF_QK_HEAD,
      .window = 20,
      .period = 6,
      .window_base = 500.0,
      .keys = "rope.freq_base_swa=500" },
    { .arch = "phi3", .n_layer = 2, .dim = 24, .halves = true, .fused_qkv = true, .fused_ff = true },
    { .arch = "granite",
      .n_layer = 2,
      .dim = 16,
      .embed_scale = 6.0,
      .branch_scale = 0.5,
      .attn_scale = 0.125,
      .logits_scale = 0.25,
      .keys = "embedding_scale=6 residual_scale=0.5 attention.scale=0.125 logit_scale=4" },
    { .arch = "smollm3", .n_layer = 4, .dim = 16, .skip = 4 },
    { .arch = "glm4",
      .n_layer = 2,
      .dim = 16,
      .turn = 8,
      .norms = REF_SANDWICH,
      .fused_ff = true,
      .bias = true },
    { .arch = "command-r",
      .n_layer = 2,
      .dim = 16,
      .norms = REF_ONE,
      .layer_norm = true,
      .parallel = true,
      .qk = REF_QK_EACH,
      .logits_scale = 0.5,
      .keys = "logit_scale=0.5" },
    { .arch = "cohere2",
      .n_layer = 4,
      .dim = 16,
      .norms = REF_ONE,
      .layer_norm = true,
      .parallel = true,
      .window = 16,
      .period = 4,
      .skip = 4 },
    { .arch = "olmo2",
      .n_layer = 4,
      .dim = 16,
      .norms = REF_POST,
      .halves = true,
      .qk = REF_QK_ALL,
      .window = 31,
      .period = 4 },
};

/* Logits [N][REF_VOCAB]; tokens from decode_from on one by one. */
static void run(const terse_model *m, const terse_session_opts *o, int32_t decode_from, float *out)
{
    terse_error err = { 0 };
    terse_session *s;
    const float *row;
    if (terse_session_open(&s, m, o, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    if (decode_from > 0)
        assert_int_equal(terse_session_prefill(s, tokens, decode_from, NULL, out, &err), TERSE_OK);
    for (int32_t t = decode_from; t < N; t++) {
        assert_int_equal(terse_session_decode(s, tokens[t], &row, &err), TERSE_OK);
        memcpy(out + t * REF_VOCAB, row, REF_VOCAB * sizeof *row);
    }
    terse_session_close(&s);
}

static void same_bits(const terse_model *m, const char *arch, terse_kv_type type)
{
    static float want[N * REF_VOCAB], got[N * REF_VOCAB];
    static const struct {
        int32_t chunk, threads, strands, decode_from;
        uint32_t cpu;
    } ways[] = { { 7, 2, 1, N, 0 },
                 { 0, 2, 1, 20, 0 },
                 { 0, 1, 1, 0, 0 },
                 { 16, 2, 1, 41, TERSE_CPU_SCALAR },
                 { 0, 1, 1, 30, TERSE_CPU_SCALAR | TERSE_CPU_AVX2 } };
    terse_session_opts o = { .type_k = type, .type_v = type, .threads = 1, .strands = 1 };
    run(m, &o, N, want);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        o.chunk = ways[i].chunk;
        o.threads = ways[i].threads;
        o.strands = ways[i].strands;
        o.cpu = ways[i].cpu & terse_cpu_tiers();
        run(m, &o, ways[i].decode_from, got);
        if (memcmp(want, got, sizeof want))
            fail_msg("%s, %s: other bits in way %d", arch, terse_kv_type_name(type), (int)i);
    }
}

static void architectures_are_their_definitions(void **state)
{
    (void)state;
    static double want[N * REF_VOCAB];
    static float got[N * REF_VOCAB];
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        terse_error err = { 0 };
        terse_model *m = NULL;
        if (ref_write(&specs[i], path, &err) != TERSE_OK || terse_model_open(&m, path, &err) != TERSE_OK)
            fail_msg("%s: %s", specs[i].arch, err.text);
        ref_logits(&specs[i], tokens, N, want);
        run(m, &(terse_session_opts){ .type_k = TERSE_KV_F32, .type_v = TERSE_KV_F32 }, N, got);
        double square = 0.0, most = 0.0;
        for (int32_t k = 0; k < N * REF_VOCAB; k++) {
            square += want[k] * want[k] / (N * REF_VOCAB);
            most = fmax(most, isnan(got[k]) ? INFINITY : fabs((double)got[k] - want[k]));
        }
        if (!(most <= 1e-4 * sqrt(square)))
            fail_msg("%s: off by %.2e, the logits are about %.2g", specs[i].arch, most, sqrt(square));
        for (int type = TERSE_KV_F32; type <= TERSE_KV_Q4; type++)
            same_bits(m, specs[i].arch, (terse_kv_type)type);
        terse_model_close(&m);
    }
}

static terse_model *open_spec(const char *arch)
{
    terse_error err = { 0 };
    terse_model *m = NULL;
    size_t i = 0;
    while (strcmp(specs[i].arch, arch))
        i++;
    if (ref_write(&specs[i], path, &err) != TERSE_OK || terse_model_open(&m, path, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    return m;
}

static terse_session *open_session(const terse_model *m, const terse_session_opts *o)
{
    terse_error err = { 0 };
    terse_session *s;
    if (terse_session_open(&s, m, o, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    return s;
}

/* Layers with windows give up what they do not see any more: going back is limited, starting again is not. */
static void windowed_sessions_go_back_so_far(void **state)
{
    (void)state;
    static float first[N * REF_VOCAB], again[N * REF_VOCAB];
    terse_error err = { 0 };
    terse_model *m = open_spec("olmo2");
    const terse_model_info *about = terse_model_about(m);
    assert_int_equal(about->window, 31);
    assert_int_equal(about->n_windowed, 3);
    terse_session *s = open_session(m, &(terse_session_opts){ .back = 8 });
    assert_int_equal(terse_session_prefill(s, tokens, N, NULL, first, &err), TERSE_OK);
    assert_true(terse_session_truncate(s, N - 5));
    assert_false(terse_session_truncate(s, 20));
    assert_int_equal(terse_session_count(s), N - 5);
    assert_int_equal(terse_session_prefill(s, tokens + N - 5, 5, NULL, again, &err), TERSE_OK);
    assert_memory_equal(again, first + (N - 5) * REF_VOCAB, 5 * REF_VOCAB * sizeof *first);
    assert_true(terse_session_truncate(s, 0));
    assert_int_equal(terse_session_prefill(s, tokens, N, NULL, again, &err), TERSE_OK);
    assert_memory_equal(again, first, sizeof first);
    /* What does not fit leaves all as it was. */
    assert_int_equal(terse_session_prefill(s, tokens, N, NULL, NULL, &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_session_count(s), N);
    terse_session_close(&s);
    terse_model_close(&m);
}

/* Rules work on the layers that see everything, in batches as in single steps; windows are read whole. */
static void rules_on_windowed_models(void **state)
{
    (void)state;
    static const char *const archs[] = { "gemma2", "gemma3", "cohere2", "olmo2" };
    static const char *const rules[] = { "budget:share=0.3",
                                         "mass:delta=0.1,floor=0,from=0+value-share:left=0.1",
                                         "certified:eps=0.9" };
    static float one[N * REF_VOCAB], many[N * REF_VOCAB];
    enum { FROM = 30 };
    for (size_t a = 0; a < sizeof archs / sizeof *archs; a++)
        for (size_t r = 0; r < sizeof rules / sizeof *rules; r++) {
            terse_error err = { 0 };
            terse_model *m = open_spec(archs[a]);
            const terse_model_info *about = terse_model_about(m);
            const terse_session_opts o = { .stop = rules[r], .strands = 2, .audit = (int32_t)r };
            run(m, &o, FROM, one);
            terse_session *s = open_session(m, &o);
            assert_int_equal(terse_session_prefill(s, tokens, FROM, NULL, many, &err), TERSE_OK);
            assert_int_equal(
                terse_session_decode_many(s, tokens + FROM, N - FROM, many + FROM * REF_VOCAB, &err), TERSE_OK);
            assert_memory_equal(one, many, sizeof one);
            int32_t n_windowed = 0;
            for (int32_t l = 0; l < about->n_layer; l++) {
                const terse_attend_stats *x = terse_session_stats_of(s, l, 0);
                const bool windowed = x->tokens_dense <= (int64_t)about->window * (N - FROM);
                assert_int_equal(x->walks, N - FROM);
                assert_int_equal(x->audit_violations, 0);
                if (windowed)
                    assert_int_equal(x->stops, 0);
                n_windowed += windowed;
            }
            assert_int_equal(n_windowed, about->n_windowed);
            terse_session_close(&s);
            terse_model_close(&m);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(architectures_are_their_definitions),
                                        cmocka_unit_test(windowed_sessions_go_back_so_far),
                                        cmocka_unit_test(rules_on_windowed_models) };
    return cmocka_run_group_tests(tests, setup, teardown);
}
