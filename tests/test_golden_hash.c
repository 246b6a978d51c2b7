/* The logits of small random models have known bits: the same on every machine, tier and number of threads. A
 * change of any of them is a change of what terse computes, to be made on purpose. */
#include "make_model.h"
#include "terse/terse.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include <cmocka.h>

enum { N_PROMPT = 40, N_DECODE = 8, N_VOCAB = 64 };

typedef struct {
    const char *name;
    make_model_opts model;
    terse_session_opts session;
    uint64_t hash; /* XXH3-64 of the logits [N_PROMPT + N_DECODE][N_VOCAB], little endian f32 */
} golden;

/* Rows of Q8_0 that are no whole step of 256, tied output; every K-quant; experts of three types; keys and
 * values of every type. */
static const golden goldens[] = {
    { .name = "q8_0",
      .model = { .n_layer = 2,
                 .n_embd = 96,
                 .n_head = 6,
                 .n_head_kv = 3,
                 .n_ff = 160,
                 .rope_freqs = true,
                 .types = { TERSE_TYPE_Q8_0, TERSE_TYPE_Q8_0, TERSE_TYPE_Q8_0, TERSE_TYPE_Q8_0, TERSE_TYPE_Q8_0,
                            TERSE_TYPE_Q8_0, TERSE_TYPE_Q8_0, TERSE_TYPE_Q8_0, TERSE_TYPE_Q8_0 } },
      .hash = UINT64_C(0x5c97f237e2c94dbc) },
    { .name = "k-quants",
      .model = { .n_layer = 2,
                 .n_embd = 256,
                 .n_head = 4,
                 .n_head_kv = 2,
                 .n_ff = 512,
                 .output = true,
                 .types = { TERSE_TYPE_Q4_K, TERSE_TYPE_Q6_K, TERSE_TYPE_Q4_K, TERSE_TYPE_Q5_K, TERSE_TYPE_Q6_K,
                            TERSE_TYPE_Q4_K, TERSE_TYPE_Q4_K, TERSE_TYPE_Q5_K, TERSE_TYPE_Q6_K } },
      .session = { .type_k = TERSE_KV_Q8, .type_v = TERSE_KV_Q8, .stop = "value-skip:eps=0.5" },
      .hash = UINT64_C(0xf680ee86eb926121) },
    { .name = "experts",
      .model = { .n_layer = 2,
                 .n_embd = 64,
                 .n_head = 4,
                 .n_ff = 96,
                 .n_expert = 4,
                 .bias = true,
                 .output = true,
                 .types = { TERSE_TYPE_F16, TERSE_TYPE_F32, TERSE_TYPE_BF16, TERSE_TYPE_F16, TERSE_TYPE_F32,
                            TERSE_TYPE_Q8_0, TERSE_TYPE_Q4_0, TERSE_TYPE_F16, TERSE_TYPE_Q8_0 } },
      .session = { .type_k = TERSE_KV_F32, .type_v = TERSE_KV_F32 },
      .hash = UINT64_C(0x7983d73b09a99bdb) },
    { .name = "q4 cache",
      .model = { .n_layer = 2,
                 .n_embd = 128,
                 .n_head = 4,
                 .n_head_kv = 1,
                 .n_ff = 160,
                 .types = { TERSE_TYPE_F32, TERSE_TYPE_F32, TERSE_TYPE_F32, TERSE_TYPE_F32, TERSE_TYPE_F32,
                            TERSE_TYPE_F32, TERSE_TYPE_F32, TERSE_TYPE_F32, TERSE_TYPE_F32 } },
      .session = { .type_k = TERSE_KV_Q4, .type_v = TERSE_KV_Q4 },
      .hash = UINT64_C(0xf3025d1b833d2add) },
    { .name = "bf16 and q8 cache",
      .model = { .n_layer = 2,
                 .n_embd = 128,
                 .n_head = 4,
                 .n_head_kv = 1,
                 .n_ff = 160,
                 .types = { TERSE_TYPE_F32, TERSE_TYPE_F32, TERSE_TYPE_F32, TERSE_TYPE_F32, TERSE_TYPE_F32,
                            TERSE_TYPE_F32, TERSE_TYPE_F32, TERSE_TYPE_F32, TERSE_TYPE_F32 } },
      .session = { .type_k = TERSE_KV_BF16, .type_v = TERSE_KV_Q8 },
      .hash = UINT64_C(0x4f636dc055e9c13a) },
};

static uint64_t hash_of(const terse_model *m, const terse_session_opts *o)
{
    static float logits[N_PROMPT + N_DECODE][N_VOCAB];
    int32_t tokens[N_PROMPT + N_DECODE];
    terse_error err;
    terse_session *s;
    const float *row;
    for (int32_t t = 0; t < N_PROMPT + N_DECODE; t++)
        tokens[t] = t * 29 % N_VOCAB;
    if (terse_session_open(&s, m, o, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    assert_int_equal(terse_session_prefill(s, tokens, N_PROMPT, NULL, logits[0], &err), TERSE_OK);
    for (int32_t t = N_PROMPT; t < N_PROMPT + N_DECODE; t++) {
        assert_int_equal(terse_session_decode(s, tokens[t], &row, &err), TERSE_OK);
        memcpy(logits[t], row, sizeof logits[t]);
    }
    terse_session_close(&s);
    for (int32_t v = 0; v < N_VOCAB; v++)
        assert_true(isfinite(logits[N_PROMPT + N_DECODE - 1][v]));
    return XXH3_64bits(logits, sizeof logits);
}

static void logits_have_known_bits(void **state)
{
    (void)state;
    char path[64];
    int wrong = 0;
    snprintf(path, sizeof path, "/tmp/terse-golden-%d.gguf", (int)getpid());
    for (size_t i = 0; i < sizeof goldens / sizeof *goldens; i++) {
        const golden *g = &goldens[i];
        make_model_opts mo = g->model;
        terse_error err;
        terse_model *m = NULL;
        mo.n_vocab = N_VOCAB;
        mo.seed = 20 + i;
        if (make_model(path, &mo, &err) != TERSE_OK || terse_model_open(&m, path, &err) != TERSE_OK)
            fail_msg("%s", err.text);
        for (uint32_t tier = TERSE_CPU_SCALAR; tier <= TERSE_CPU_LAST; tier *= 2) {
            terse_session_opts so = g->session;
            so.threads = tier & (TERSE_CPU_AVX2 | TERSE_CPU_NEON) ? 3 : 2;
            so.chunk = tier & (TERSE_CPU_AVX2 | TERSE_CPU_NEON) ? 7 : 0;
            so.cpu = 2 * tier - 1;
            if (!(terse_cpu_tiers() & tier)) {
                print_message("%s: this machine lacks %s\n", g->name, terse_cpu_tier_name(tier));
                continue;
            }
            const uint64_t got = hash_of(m, &so);
            wrong += got != g->hash;
            if (got != g->hash)
                print_error("%s on %s: 0x%016llx\n", g->name, terse_cpu_tier_name(so.cpu),
                            (unsigned long long)got);
        }
        terse_model_close(&m);
        unlink(path);
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(logits_have_known_bits) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
