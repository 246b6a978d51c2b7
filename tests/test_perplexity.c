/* Perplexity by the decode path, changes of probability and free running: against sessions that the test drives
 * itself, and against figures that are known. */
#include "lab/statistics.h"
#include "terse/terse.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MODEL   TERSE_MODEL_DIR "/terse-28m-16k-q8_0.gguf"
#define DEMO    TERSE_MODEL_DIR "/demo.txt"
#define HELDOUT TERSE_SHARED_DIR "/models/eval/heldout.txt"
#define HARSH   "stability:tau=1,phi=1,patience=1"

enum { CTX = 300, SCORED = 8, FREE = 12, STRIDE = 100, N_WINDOW = 3, N_RULE = 3 };

static const terse_eval_rule rules[N_RULE] = { { .stop = HARSH },
                                               { .stop = "none" },
                                               { .stop = "value-skip:eps=0.5" } };
static terse_model *model;
static terse_tokens tokens; /* of the demo, without bos */

static terse_status read_tokens(const char *path, terse_tokens *t)
{
    terse_error err = { 0 };
    terse_text text = { 0 };
    char piece[4096];
    FILE *f = fopen(path, "rb");
    terse_status st = f ? TERSE_OK : TERSE_IO;
    for (size_t n; f && (n = fread(piece, 1, sizeof piece, f)) > 0 && st == TERSE_OK;)
        st = terse_text_append(&text, piece, n, &err);
    if (f)
        fclose(f);
    if (st == TERSE_OK)
        st = terse_vocab_tokenize(terse_model_vocab(model), text.p, text.n, false, true, t, &err);
    terse_text_free(&text);
    return st;
}

static int set_up(void **state)
{
    (void)state;
    return terse_model_open(&model, MODEL, NULL) == TERSE_OK && read_tokens(DEMO, &tokens) == TERSE_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    terse_tokens_free(&tokens);
    terse_model_close(&model);
    return 0;
}

static void near(double got, double want, double eps)
{
    if (!(fabs(got - want) <= eps))
        fail_msg("%.9g is not %.9g", got, want);
}

/* ---- what one window gives, by a session of its own ---- */

typedef struct {
    double p[SCORED]; /* of the text's own tokens */
    int32_t written[FREE];
} window;

static void window_of(const int32_t *text, const char *stop, window *w)
{
    const terse_session_opts o = { .ctx = CTX + FREE, .threads = 1, .stop = stop };
    const int32_t n = terse_model_about(model)->n_vocab, base = CTX - SCORED;
    int32_t ids[CTX + 1] = { terse_vocab_bos(terse_model_vocab(model)) };
    terse_session *s;
    const float *logits;
    memcpy(ids + 1, text, CTX * sizeof *ids);
    assert_int_equal(terse_session_open(&s, model, &o, NULL), TERSE_OK);
    assert_int_equal(terse_session_prefill(s, ids, base, NULL, NULL, NULL), TERSE_OK);
    for (int32_t t = 0; t < SCORED; t++) {
        double sum = 0.0;
        assert_int_equal(terse_session_decode(s, ids[base + t], &logits, NULL), TERSE_OK);
        for (int32_t i = 0; i < n; i++)
            sum += exp((double)logits[i]);
        w->p[t] = exp((double)logits[ids[base + t + 1]]) / sum;
    }
    terse_session_truncate(s, base);
    for (int32_t t = 0; t < FREE; t++) {
        assert_int_equal(terse_session_decode(s, t ? w->written[t - 1] : ids[base], &logits, NULL), TERSE_OK);
        w->written[t] = 0;
        for (int32_t i = 1; i < n; i++)
            w->written[t] = logits[i] > logits[w->written[t]] ? i : w->written[t];
    }
    terse_session_close(&s);
}

static terse_eval *evaluate(const terse_tokens *t, const terse_eval_rule *r, int32_t n_rule,
                            const terse_eval_windows *w)
{
    const terse_eval_opts o = { .session = { .ctx = w->ctx + w->free } };
    terse_error err = { 0 };
    terse_eval *e;
    if (terse_eval_open(&e, model, &o, r, n_rule, &err) != TERSE_OK ||
        terse_eval_text(e, t->ids, t->n, w, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    return e;
}

static terse_eval_result result_of(const terse_eval *e, int32_t rule)
{
    terse_eval_result k;
    assert_int_equal(terse_eval_result_of(e, rule, &k, NULL), TERSE_OK);
    return k;
}

static const terse_eval_windows few = {
    .ctx = CTX, .scored = SCORED, .windows = N_WINDOW, .stride = STRIDE, .free = FREE
};

static void probabilities_are_those_of_separate_sessions(void **state)
{
    (void)state;
    terse_eval *e = evaluate(&tokens, rules, N_RULE, &few);
    for (int32_t r = 0; r < N_RULE; r++) {
        const terse_eval_result k = result_of(e, r);
        const double n = N_WINDOW * SCORED;
        double nll = 0.0, nll_dense = 0.0, sum = 0.0, squares = 0.0, low = 1.0, high = -1.0;
        for (int32_t i = 0; i < N_WINDOW; i++) {
            window dense, w;
            window_of(tokens.ids + i * STRIDE, NULL, &dense);
            window_of(tokens.ids + i * STRIDE, rules[r].stop, &w);
            for (int32_t t = 0; t < SCORED; t++) {
                const double d = w.p[t] - dense.p[t];
                nll -= log(w.p[t]);
                nll_dense -= log(dense.p[t]);
                sum += d;
                squares += d * d;
                low = fmin(low, d);
                high = fmax(high, d);
            }
        }
        near(k.ppl, exp(nll / n), 1e-6 * k.ppl);
        near(k.ppl_dense, exp(nll_dense / n), 1e-6 * k.ppl);
        near(k.ratio, exp((nll - nll_dense) / n), 1e-6);
        near(k.change.mean, sum / n, 1e-6);
        near(k.change.rms, sqrt(squares / n), 1e-6);
        near(k.change.min, low, 1e-6);
        near(k.change.max, high, 1e-6);
        assert_true(k.ppl_low < k.ppl && k.ppl < k.ppl_high);
        assert_true(k.ratio_low <= k.ratio && k.ratio <= k.ratio_high);
        assert_true(k.change.low <= k.change.mean && k.change.mean <= k.change.high);
        assert_true((k.change.rms > 0.0) == (r != 1));
    }
    terse_eval_close(&e);
}

static void free_runs_differ_where_separate_sessions_do(void **state)
{
    (void)state;
    terse_eval *e = evaluate(&tokens, rules, N_RULE, &few);
    for (int32_t r = 0; r < N_RULE; r++) {
        const terse_eval_free f = result_of(e, r).free;
        double at[N_WINDOW];
        int32_t same = 0;
        for (int32_t i = 0; i < N_WINDOW; i++) {
            window dense, w;
            int32_t t = 0;
            window_of(tokens.ids + i * STRIDE, NULL, &dense);
            window_of(tokens.ids + i * STRIDE, rules[r].stop, &w);
            while (t < FREE && dense.written[t] == w.written[t])
                t++;
            same += t == FREE;
            at[i] = t == FREE ? INFINITY : t + 1;
            assert_int_equal(terse_eval_differs_at(e, r, i), t == FREE ? 0 : t + 1);
        }
        terse_sort(at, N_WINDOW);
        assert_int_equal(f.steps, FREE);
        assert_int_equal(f.n, N_WINDOW);
        assert_int_equal(f.same, same);
        assert_true(f.median == at[N_WINDOW / 2]);
        assert_true(r == 0 ? f.same < N_WINDOW : r == 2 || f.same == N_WINDOW);
    }
    assert_int_equal(terse_eval_differs_at(e, 0, N_WINDOW), 0);
    terse_eval_close(&e);
}

/* ---- perplexity alone ---- */

static void rows_need_not_be_kept(void **state)
{
    (void)state;
    terse_eval_windows w = few;
    terse_error err;
    w.free = 0;
    terse_eval *with = evaluate(&tokens, rules, N_RULE, &w);
    w.ppl_only = true;
    terse_eval *without = evaluate(&tokens, rules, N_RULE, &w);
    for (int32_t r = 0; r < N_RULE; r++) {
        const terse_eval_result a = result_of(with, r), b = result_of(without, r);
        assert_true(a.ppl == b.ppl && a.ppl_dense == b.ppl_dense && a.top1 == b.top1);
        assert_true(!isnan(a.mean) && isnan(b.mean) && isnan(b.max));
        assert_int_equal(a.read.bytes_v, b.read.bytes_v);
        assert_int_equal(a.free.steps, 0);
    }
    w.ppl_only = false; /* what was gathered has no KL */
    assert_int_equal(terse_eval_text(without, tokens.ids, tokens.n, &w, &err), TERSE_BAD_INPUT);
    terse_eval_close(&with);
    terse_eval_close(&without);
}

static void strides_must_fit(void **state)
{
    (void)state;
    static const terse_eval_windows bad[] = { { .ctx = 10, .stride = -1 },
                                              { .ctx = 10, .free = -1 },
                                              { .ctx = 10, .scored = 3, .free = 10 },
                                              { .ctx = 10, .stride = 5, .windows = 6 } };
    static const terse_eval_windows good = { .ctx = 10, .scored = 3, .stride = 5, .free = 9 };
    const terse_eval_opts o = { .session = { .ctx = 16 } };
    terse_error err;
    terse_eval *e;
    assert_int_equal(terse_eval_open(&e, model, &o, rules, 1, &err), TERSE_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(terse_eval_text(e, tokens.ids, 34, &bad[i], &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_eval_text(e, tokens.ids, 34, &good, &err), TERSE_OK);
    assert_int_equal(result_of(e, 0).n_sample, 5); /* the last one would begin at 25 */
    terse_eval_close(&e);
}

/* What the first windows of n tokens have, their second half scored, as llama-perplexity does it. */
static double perplexity(const terse_tokens *t, int32_t n, int32_t windows)
{
    const terse_eval_rule dense = { 0 };
    const terse_eval_windows w = {
        .ctx = n - 1, .scored = n / 2 - 1, .windows = windows, .stride = n, .ppl_only = true
    };
    terse_eval *e = evaluate(t, &dense, 1, &w);
    const terse_eval_result k = result_of(e, 0);
    assert_true(k.ppl == k.ppl_dense && k.ratio == 1.0 && k.top1 == 1.0);
    terse_eval_close(&e);
    return k.ppl;
}

/* The bits of the logits are the same on every machine. */
static void the_demo_is_as_likely_as_ever(void **state)
{
    (void)state;
    near(perplexity(&tokens, 256, 3), 36.6756518, 1e-6);
}

/* The model card: 26.04 in PyTorch and in llama.cpp. The rounding of activations to int8 moves it by some
 * hundredths (docs/decisions.md). */
static void the_perplexity_of_the_model_card(void **state)
{
    (void)state;
    terse_tokens text = { 0 };
#ifdef __SANITIZE_ADDRESS__
    print_message("4092 decode steps are too slow under a sanitizer: not checked\n");
    skip();
#endif
    if (read_tokens(HELDOUT, &text) != TERSE_OK) {
        print_message("no %s: the perplexity of the model card is not checked\n", HELDOUT);
        skip();
    }
    near(perplexity(&text, 2048, 2), 26.04, 0.06);
    terse_tokens_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(probabilities_are_those_of_separate_sessions),
        cmocka_unit_test(free_runs_differ_where_separate_sessions_do),
        cmocka_unit_test(rows_need_not_be_kept),
        cmocka_unit_test(strides_must_fit),
        cmocka_unit_test(the_demo_is_as_likely_as_ever),
        cmocka_unit_test(the_perplexity_of_the_model_card),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
