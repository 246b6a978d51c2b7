/* Logits of tiny models against the reference values of ../shared/golden: every llama entry within its
 * tolerance, by prefill in one piece, in chunks, and token by token. Skipped, and said so, where ../shared is
 * not there. */
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

/* Logits [n][n_vocab] of the model's own tokens; decode_from: position from which it goes token by token. */
static float *logits_of(const char *path, const json_t *tokens, int32_t n_ctx, terse_kv_type type,
                        int32_t chunk, int32_t decode_from, int32_t *n_vocab)
{
    terse_error err = { 0 };
    terse_model *m;
    terse_session *s;
    const terse_session_opts opts = {
        .ctx = n_ctx, .type_k = type, .type_v = type, .chunk = chunk, .threads = 2
    };
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
    if (decode_from > 0)
        assert_int_equal(terse_session_prefill(s, ids, decode_from, NULL, out, &err), TERSE_OK);
    for (int32_t t = decode_from; t < n; t++) {
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

static json_t *load_index(const char *folder)
{
    char path[512];
    snprintf(path, sizeof path, "%s/golden/%s/index.json", TERSE_SHARED_DIR, folder);
    json_error_t e;
    json_t *index = json_load_file(path, 0, &e);
    if (!index)
        printf("SKIPPED: %s is not there; the reference logits of golden/%s were not checked\n", path, folder);
    return index;
}

static void llama_models(void **state)
{
    (void)state;
    json_t *index = load_index("models"), *e;
    size_t i;
    int done = 0;
    if (!index)
        skip();
    json_array_foreach(json_object_get(index, "models"), i, e)
    {
        if (strcmp(json_string_value(json_object_get(e, "arch")), "llama"))
            continue;
        const char *name = json_string_value(json_object_get(e, "name"));
        const bool exact = json_object_get(e, "logits_exact") != NULL; /* the peer rounds activations here */
        const json_t *tokens = json_object_get(e, "tokens");
        const int32_t n = (int32_t)json_array_size(tokens),
                      n_ctx = (int32_t)json_integer_value(json_object_get(e, "n_ctx"));
        const double tol = json_number_value(json_object_get(e, exact ? "tol_exact_max_abs" : "tol_max_abs"));
        char path[512], want_path[512];
        snprintf(path, sizeof path, "%s/golden/models/%s", TERSE_SHARED_DIR,
                 json_string_value(json_object_get(e, "gguf")));
        snprintf(want_path, sizeof want_path, "%s/golden/models/%s", TERSE_SHARED_DIR,
                 json_string_value(json_object_get(e, exact ? "logits_exact" : "logits")));
        int32_t n_vocab;
        float *got = logits_of(path, tokens, n_ctx, TERSE_KV_F32, 0, n, &n_vocab);
        float *want = read_f32(want_path, (size_t)n * (size_t)n_vocab);
        const difference d = compare(got, want, e, "argmax", "margin", n, n_vocab);
        printf("%-20s max |diff| %.2e, tolerance %.2e, wrong argmax %d\n", name, d.max_abs, tol, d.wrong);
        assert_true(d.max_abs <= tol);
        assert_int_equal(d.wrong, 0);
        float *chunked = logits_of(path, tokens, n_ctx, TERSE_KV_F32, 7, n, &n_vocab);
        float *decoded = logits_of(path, tokens, n_ctx, TERSE_KV_F32, 0, n / 3, &n_vocab);
        assert_memory_equal(got, chunked, (size_t)n * (size_t)n_vocab * sizeof *got);
        assert_memory_equal(got, decoded, (size_t)n * (size_t)n_vocab * sizeof *got);
        free(got);
        free(chunked);
        free(decoded);
        free(want);
        done++;
    }
    json_decref(index);
    assert_true(done >= 11);
}

static void quantised_models(void **state)
{
    (void)state;
    static const char *const types[] = { "Q4_0",   "Q4_1",   "Q5_0", "Q8_0",   "Q2_K",  "Q3_K_M",
                                         "Q4_K_M", "Q5_K_M", "Q6_K", "IQ4_NL", "IQ4_XS" };
    json_t *index = load_index("quant_models"), *e;
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
        float *got = logits_of(path, tokens, 64, TERSE_KV_F32, 0, n, &n_vocab);
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
        cmocka_unit_test(llama_models),
        cmocka_unit_test(quantised_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
