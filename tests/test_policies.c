/* Sessions under policies that drop tokens, on small random models: what they see, what they hold at all times,
 * whatever the way of the tokens into the session. */
#include "engine/session_parts.h"
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

enum { N_VOCAB = 96, N = 400, LAYERS = 3, HEADS = 2, UNITS = LAYERS * HEADS };

static char path[64], flat_path[64];
static terse_model *model, *flat; /* flat: one layer, whose keys do not depend on what tokens have seen */
static int32_t tokens[N];

static int open_model(terse_model **m, char *name, size_t size, const char *what, const make_model_opts *o)
{
    terse_error err;
    snprintf(name, size, "/tmp/terse-%s-%d.gguf", what, (int)getpid());
    if (make_model(name, o, &err) == TERSE_OK && terse_model_open(m, name, &err) == TERSE_OK)
        return 0;
    print_error("%s\n", err.text);
    return -1;
}

static int setup(void **state)
{
    (void)state;
    make_model_opts o = { .n_layer = LAYERS,
                          .n_embd = 128,
                          .n_head = 8,
                          .n_head_kv = HEADS,
                          .head_dim = 32,
                          .n_ff = 256,
                          .n_vocab = N_VOCAB,
                          .n_ctx = 1024,
                          .q_gain = 4.0f,
                          .seed = 3 };
    for (int32_t t = 0; t < N; t++)
        tokens[t] = (t * t + 37 * t) % N_VOCAB;
    if (open_model(&model, path, sizeof path, "policies", &o))
        return -1;
    o.n_layer = 1;
    return open_model(&flat, flat_path, sizeof flat_path, "flat", &o);
}

static int teardown(void **state)
{
    (void)state;
    terse_model_close(&model);
    terse_model_close(&flat);
    unlink(path);
    unlink(flat_path);
    return 0;
}

static terse_session *open_on(const terse_model *m, terse_session_opts o)
{
    terse_session *s;
    terse_error err;
    o.ctx = o.ctx ? o.ctx : N + 40;
    o.threads = 2;
    if (terse_session_open(&s, m, &o, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    return s;
}

static void prefill(terse_session *s, const int32_t *ids, int32_t n, const float **logits)
{
    terse_error err;
    if (terse_session_prefill(s, ids, n, logits, NULL, &err) != TERSE_OK)
        fail_msg("%s", err.text);
}

static void decode(terse_session *s, int32_t id, const float **logits)
{
    terse_error err;
    if (terse_session_decode(s, id, logits, &err) != TERSE_OK)
        fail_msg("%s", err.text);
}

/* ---- window:rotate=1 ---- */

/* StreamingLLM by its definition: the sinks and the last tokens are a text of their own. */
static void compact(const int32_t *ids, int32_t n, int32_t sinks, int32_t budget, float *logits)
{
    int32_t left[N], n_left = 0;
    const float *last;
    for (int32_t t = 0; t < n; t++)
        if (t < sinks || t >= n - (budget - sinks))
            left[n_left++] = ids[t];
    terse_session *s = open_on(flat, (terse_session_opts){ .type_k = TERSE_KV_F32, .type_v = TERSE_KV_F32 });
    prefill(s, left, n_left, &last);
    memcpy(logits, last, N_VOCAB * sizeof *last);
    terse_session_close(&s);
}

static float furthest(const float *a, const float *b)
{
    float most = 0.0f;
    for (int32_t i = 0; i < N_VOCAB; i++)
        most = fmaxf(most, fabsf(a[i] - b[i]));
    return most;
}

static void rotated_windows_are_short_texts(void **state)
{
    (void)state;
    static const struct {
        const char *policy;
        int32_t sinks, budget;
    } all[] = { { "window:budget=80,rotate=1", 4, 80 }, { "window:budget=150,sinks=32,rotate=1", 32, 150 } };
    for (int i = 0; i < 2; i++) {
        const terse_session_opts o = {
            .policy = all[i].policy, .type_k = TERSE_KV_F32, .type_v = TERSE_KV_F32, .chunk = 48
        };
        terse_session *s = open_on(flat, o);
        const float *last;
        float want[N_VOCAB], rows[20 * N_VOCAB];
        terse_error err;
        prefill(s, tokens, 60, NULL); /* nothing is gone yet; then something is */
        prefill(s, tokens + 60, 240, &last);
        compact(tokens, 300, all[i].sinks, all[i].budget, want);
        assert_float_equal(furthest(last, want), 0.0f, 2e-3f);
        for (int32_t t = 300; t < 320; t++)
            decode(s, tokens[t], &last);
        compact(tokens, 320, all[i].sinks, all[i].budget, want);
        assert_float_equal(furthest(last, want), 0.0f, 2e-3f);
        assert_int_equal(terse_session_decode_many(s, tokens + 320, 20, rows, &err), TERSE_OK);
        compact(tokens, 340, all[i].sinks, all[i].budget, want);
        assert_float_equal(furthest(rows + 19 * N_VOCAB, want), 0.0f, 2e-3f);
        assert_int_equal(terse_session_held(s), 2 * all[i].budget);
        terse_session_close(&s);
        /* And it is not what the window alone does: the sinks are further away there. */
        terse_session_opts plain = o;
        char name[64];
        snprintf(name, sizeof name, "window:budget=%d,sinks=%d", (int)all[i].budget, (int)all[i].sinks);
        plain.policy = name;
        s = open_on(flat, plain);
        prefill(s, tokens, 340, &last);
        assert_true(furthest(last, want) > 0.05f);
        terse_session_close(&s);
    }
}

static void what_cannot_rotate_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = { "window:rotate=1,sinks=33", "window:rotate=2", "window:rotate=yes" };
    for (int i = 0; i < 3; i++) {
        terse_session *s = NULL;
        terse_error err = { 0 };
        const terse_session_opts o = { .policy = bad[i], .ctx = 100 };
        assert_int_equal(terse_session_open(&s, flat, &o, &err), TERSE_BAD_INPUT);
        assert_null(s);
        assert_non_null(strstr(err.text, "rotate"));
    }
}

/* Keys of latent attention are made of the latents when they are read. */
static void latents_do_not_rotate(void **state)
{
    (void)state;
    terse_model *m;
    terse_session *s = NULL;
    terse_error err = { 0 };
    const terse_session_opts o = { .policy = "window:rotate=1", .ctx = 100 };
    if (access(TERSE_SHARED_DIR "/golden/models/deepseek2-mla.gguf", R_OK) != 0) {
        print_message("SKIPPED: no " TERSE_SHARED_DIR "/golden/models/deepseek2-mla.gguf\n");
        skip();
    }
    if (terse_model_open(&m, TERSE_SHARED_DIR "/golden/models/deepseek2-mla.gguf", &err) != TERSE_OK)
        fail_msg("%s", err.text);
    assert_int_equal(terse_session_open(&s, m, &o, &err), TERSE_UNSUPPORTED);
    assert_non_null(strstr(err.text, "rotate"));
    terse_model_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rotated_windows_are_short_texts),
        cmocka_unit_test(what_cannot_rotate_is_refused),
        cmocka_unit_test(latents_do_not_rotate),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
