/* Logits of tiny models of every architecture against reference values: within the tolerance of each, by
 * prefill in one piece, in chunks, and token by token, on every tier with the same bits. The models of
 * ../shared/golden are skipped, and said so, where ../shared is not there. */
#include "terse/terse.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static float *read_f32(const char *path, size_t n)
{
    FILE *f = fopen(path, "rb");
    float *x = malloc(n * sizeof *x);
    assert_non_null(f);
    assert_non_null(x);
    assert_int_equal(fread(x, sizeof *x, n, f), n);
    fclose(f);
    return x;
}

typedef struct {
    int32_t ctx, chunk, threads;
    int32_t decode_from; /* position from which it goes token by token */
    uint32_t cpu;
} way;

/* Logits [n][n_vocab] of the model's own tokens. */
static float *logits_of(const char *path, const json_t *tokens, way w, int32_t *n_vocab)
{
    terse_error err = { 0 };
    terse_model *m;
    terse_session *s;
    const terse_session_opts opts = { .ctx = w.ctx,
                                      .type_k = TERSE_KV_F32,
                                      .type_v = TERSE_KV_F32,
                                      .chunk = w.chunk,
                                      .threads = w.threads,
                                      .strands = 1,
                                      .cpu = w.cpu };
    if (terse_model_open(&m, path, &err) != TERSE_OK || terse_session_open(&s, m, &opts, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    const int32_t n = (int32_t)json_array_size(tokens);
    *n_vocab = terse_model_about(m)->n_vocab;
    float *out = malloc((size_t)n * (size_t)*n_vocab * sizeof *out);
    int32_t ids[1024];
    assert_non_null(out);
    assert_true(n <= 1024);
    for (int32_t t = 0; t < n; t++)
        ids[t] = (int32_t)json_integer_value(json_array_get(tokens, (size_t)t));
    if (w.decode_from > 0)
        assert_int_equal(terse_session_prefill(s, ids, w.decode_from, NULL, out, &err), TERSE_OK);
    for (int32_t t = w.decode_from; t < n; t++) {
        const float *row;
        assert_int_equal(terse_session_decode(s, ids[t], &row, &err), TERSE_OK);
        memcpy(out + (size_t)t * (size_t)*n_vocab, row, (size_t)*n_vocab * sizeof *row);
    }
    terse_session_close(&s);
    terse_model_close(&m);
    return out;
}

typedef struct {
    double max_abs;
    int wrong; /* rows with another argmax though the margin is clear */
} difference;

static difference compare(const float *got, const float *want, const json_t *entry, const char *argmax_key,
                          const char *margin_key, int32_t n, int32_t n_vocab)
{
    difference d = { 0.0, 0 };
    const json_t *argmax = json_object_get(entry, argmax_key), *margin = json_object_get(entry, margin_key);
    const double clear = json_number_value(json_object_get(entry, "tol_argmax_margin"));
    for (int32_t t = 0; t < n; t++) {
        int32_t best = 0;
        for (int32_t v = 0; v < n_vocab; v++) {
            const size_t i = (size_t)t * (size_t)n_vocab + (size_t)v;
            const double diff = fabs((double)got[i] - (double)want[i]);
            d.max_abs = diff > d.max_abs || isnan(diff) ? diff : d.max_abs;
            if (got[i] > got[(size_t)t * (size_t)n_vocab + (size_t)best])
                best = v;
        }
        if (json_number_value(json_array_get(margin, (size_t)t)) > clear)
            d.wrong += best != json_integer_value(json_array_get(argmax, (size_t)t));
    }
    return d;
}

/* The index of a folder of reference data; NULL, and said so, where it is not there. */
static json_t *load_index(const char *folder)
{
    char path[512];
    snprintf(path, sizeof path, "%s/index.json", folder);
    json_error_t e;
    json_t *index = json_load_file(path, 0, &e);
    if (!index)
        printf("SKIPPED: %s is not there; the reference logits of that folder were not checked\n", path);
    return index;
}

/* What an entry's logits are compared with: the peer's own, or better ones where the peer is coarse: it rounds
 * activations of f16 and bf16 models, and takes GELU from a table. (That of quantized weights stays: this
 * engine rounds activations of these too.) */
static const char *reference(const json_t *e, double *tol)
{
    static const char *const better[][2] = { { "logits_float64_gelu", "tol_float64_max_abs" },
                                             { "logits_exact", "tol_exact_max_abs" } };
    const bool rounds = strstr(json_string_value(json_object_get(e, "name")), "mxfp4") != NULL;
    for (int i = 0; i < 2 && !rounds; i++)
        if (json_object_get(e, better[i][0])) {
            *tol = json_number_value(json_object_get(e, better[i][1]));
            return json_string_value(json_object_get(e, better[i][0]));
        }
    *tol = json_number_value(json_object_get(e, "tol_max_abs"));
    return json_string_value(json_object_get(e, "logits"));
}

/* One entry: within its tolerance, and the same bits in pieces, token by token, on one thread and on all tiers.
 */
static void check_entry(const char *folder, const json_t *e)
{
    static const struct {
        const char *name;
        int32_t chunk, threads,
            decode; /* decode: the share of the tokens, 1/n, that comes before it; 0: none */
        uint32_t cpu;
    } ways[] = { { "in pieces of 7", 7, 2, 0, 0 },
                 { "token by token", 0, 2, 3, 0 },
                 { "all by decoding", 0, 1, 1000, 0 },
                 { "scalar", 0, 1, 0, TERSE_CPU_SCALAR },
                 { "scalar, decode", 0, 2, 3, TERSE_CPU_SCALAR },
                 { "avx2 or neon", 33, 2, 2, TERSE_CPU_SCALAR | TERSE_CPU_AVX2 | TERSE_CPU_NEON } };
    const char *name = json_string_value(json_object_get(e, "name"));
    const json_t *tokens = json_object_get(e, "tokens");
    const int32_t n = (int32_t)json_array_size(tokens),
                  ctx = (int32_t)json_integer_value(json_object_get(e, "n_ctx"));
    double tol;
    char path[512], want_path[512];
    snprintf(want_path, sizeof want_path, "%s/%s", folder, reference(e, &tol));
    snprintf(path, sizeof path, "%s/%s", folder, json_string_value(json_object_get(e, "gguf")));
    int32_t n_vocab;
    float *got = logits_of(path, tokens, (way){ ctx, 0, 2, n, 0 }, &n_vocab);
    float *want = read_f32(want_path, (size_t)n * (size_t)n_vocab);
    const difference d = compare(got, want, e, "argmax", "margin", n, n_vocab);
    printf("%-20s max |diff| %.2e, tolerance %.2e, wrong argmax %d\n", name, d.max_abs, tol, d.wrong);
    if (!(d.max_abs <= tol) || d.wrong)
        fail_msg("%s: max |diff| %.2e, tolerance %.2e, wrong argmax %d", name, d.max_abs, tol, d.wrong);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        const uint32_t cpu = ways[i].cpu & terse_cpu_tiers();
        const way w = { ctx, ways[i].chunk, ways[i].threads, ways[i].decode ? n / ways[i].decode : n, cpu };
        float *other = logits_of(path, tokens, w, &n_vocab);
        if (memcmp(got, other, (size_t)n * (size_t)n_vocab * sizeof *got))
            fail_msg("%s: other bits %s", name, ways[i].name);
        free(other);
    }
    free(got);
    free(want);
}

static void check_models(const char *folder, int least)
{
    json_t *index = load_index(folder), *e;
    size_t i;
    int done = 0;
    if (!index)
        skip();
    json_array_foreach(json_object_get(index, "models"), i, e)
    {
        check_entry(folder, e);
        done++;
    }
    json_decref(index);
    assert_true(done >= least);
}

/* Experts, sinks, windows; latents: what test_architectures has no reference for. */
static void models_of_this_folder(void **state)
{
    (void)state;
    check_models(TERSE_TEST_DIR "/golden/models", 2);
}

static void shared_models(void **state)
{
    (void)state;
    check_models(TERSE_SHARED_DIR "/golden/models", 32);
}

static void quantised_models(void **state)
{
    (void)state;
    static const char *const types[] = { "Q4_0",   "Q4_1",   "Q5_0", "Q8_0",   "Q2_K",  "Q3_K_M",
                                         "Q4_K_M", "Q5_K_M", "Q6_K", "IQ4_NL", "IQ4_XS" };
    json_t *index = load_index(TERSE_SHARED_DIR "/golden/quant_models"), *e;
    size_t i;
    int done = 0;
    if (!index)
        skip();
    json_array_foreach(json_object_get(index, "models"), i, e)
    {
        const char *type = json_string_value(json_object_get(e, "type"));
        const char *gguf = json_string_value(json_object_get(e, "gguf"));
        bool ours = false;
        for (size_t k = 0; k < sizeof types / sizeof *types; k++)
            ours |= !strcmp(type, types[k]);
        if (!ours)
            continue;
        const json_t *tokens = json_object_get(index, "tokens");
        const int32_t n = (int32_t)json_array_size(tokens);
        const double tol = json_number_value(json_object_get(e, "tol_peer_max_abs"));
        char path[512];
        snprintf(path, sizeof path, "%s/golden/quant_models/%s", TERSE_SHARED_DIR, gguf);
        int32_t n_vocab;
        float *got = logits_of(path, tokens, (way){ 64, 0, 2, n, 0 }, &n_vocab);
        snprintf(path, sizeof path, "%s/golden/quant_models/%s", TERSE_SHARED_DIR,
                 json_string_value(json_object_get(e, "logits_exact")));
        float *want = read_f32(path, (size_t)n * (size_t)n_vocab);
        const difference d = compare(got, want, e, "argmax_exact", "margin_exact", n, n_vocab);
        printf("%-20s max |diff| %.2e, tolerance %.2e\n", type, d.max_abs, tol);
        assert_true(tol > 0.0 && d.max_abs <= tol);
        free(got);
        free(want);
        done++;
    }
    json_decref(index);
    assert_int_equal(done, sizeof types / sizeof *types);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_of_this_folder),
        cmocka_unit_test(shared_models),
        cmocka_unit_test(quantised_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
