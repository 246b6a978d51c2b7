/* Sampling: the golden chains of stages, then the public sampler: draws, windows, edges of the input. */
#include "terse/sample.h"

#include "engine/stage.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

/* Counts what the library takes from the heap, and fails on demand, where no sanitizer owns malloc. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OWN_MALLOC 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define OWN_MALLOC 0
#endif
#endif
#ifndef OWN_MALLOC
#define OWN_MALLOC 1
#endif
static volatile long n_alloc, fail_at; /* fail_at: the value of n_alloc that gets no memory; 0: none */
#if OWN_MALLOC
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *malloc(size_t size)
{
    return ++n_alloc == fail_at ? NULL : __libc_malloc(size);
}
void *calloc(size_t n, size_t size)
{
    return ++n_alloc == fail_at ? NULL : __libc_calloc(n, size);
}
void *realloc(void *p, size_t size)
{
    return ++n_alloc == fail_at ? NULL : __libc_realloc(p, size);
}
#endif

/* ---- golden chains ---- */

enum { MAX_VOCAB = 4096, MAX_ARGS = 8 };

/* Runs one stage given as "name:a,b,c"; returns the chosen id of greedy, else -1. */
static int32_t run_stage(terse_cands *l, const char *stage, const json_t *previous)
{
    char name[32] = { 0 };
    double a[MAX_ARGS] = { 0 };
    const size_t n_name = strcspn(stage, ":");
    assert_true(n_name < sizeof name);
    memcpy(name, stage, n_name);
    int n = 0;
    for (const char *p = stage + n_name; *p && n < MAX_ARGS; n++) {
        char *end;
        a[n] = strtod(p + 1, &end);
        p = end;
    }
    const int32_t keep = n > 1 ? (int32_t)a[1] : 1;
    if (strcmp(name, "greedy") == 0)
        return terse_stage_greedy(l);
    if (strcmp(name, "top_k") == 0) {
        terse_stage_top_k(l, (int32_t)a[0]);
    } else if (strcmp(name, "top_p") == 0) {
        terse_stage_top_p(l, (float)a[0], keep);
    } else if (strcmp(name, "min_p") == 0) {
        terse_stage_min_p(l, (float)a[0], keep);
    } else if (strcmp(name, "typical") == 0) {
        terse_stage_typical(l, (float)a[0], keep);
    } else if (strcmp(name, "temp") == 0) {
        terse_stage_temp(l, (float)a[0]);
    } else if (strcmp(name, "temp_ext") == 0) {
        terse_stage_temp_ext(l, (float)a[0], (float)a[1], (float)a[2]);
    } else if (strcmp(name, "top_n_sigma") == 0) {
        terse_stage_top_n_sigma(l, (float)a[0], 1);
    } else if (strcmp(name, "penalties") == 0) {
        int32_t count[MAX_VOCAB] = { 0 };
        const size_t n_previous = json_array_size(previous), last = (size_t)a[0];
        for (size_t i = n_previous > last ? n_previous - last : 0; i < n_previous; i++)
            count[json_integer_value(json_array_get(previous, i))]++;
        terse_stage_penalties(l, count, (float)a[1], (float)a[2], (float)a[3]);
    } else if (strcmp(name, "logit_bias") == 0) {
        for (int i = 0; i + 1 < n; i += 2)
            terse_stage_logit_bias(l, (const int32_t[]){ (int32_t)a[i] }, (const float[]){ (float)a[i + 1] },
                                   1);
    } else {
        fail_msg("stage %s", stage);
    }
    return -1;
}

/* Candidates and probabilities as sets: every expected id is there, and no other. */
static void compare(const char *name, const terse_cands *l, const json_t *want)
{
    const json_t *ids = json_object_get(want, "ids"), *p = json_object_get(want, "p"),
                 *logits = json_object_get(want, "logits");
    if ((size_t)l->n != json_array_size(ids))
        fail_msg("%s: %d candidates, not %zu", name, (int)l->n, json_array_size(ids));
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const int32_t id = (int32_t)json_integer_value(json_array_get(ids, i));
        int32_t at = 0;
        while (at < l->n && l->c[at].id != id)
            at++;
        if (at == l->n)
            fail_msg("%s: id %d is missing", name, (int)id);
        const terse_cand *c = &l->c[at];
        const json_t *logit = json_array_get(logits, i);
        if (fabs(c->p - json_number_value(json_array_get(p, i))) > 1e-5)
            fail_msg("%s: id %d has p %g", name, (int)id, (double)c->p);
        if (json_is_null(logit) ? c->logit != -INFINITY
                                : fabs(c->logit - json_number_value(logit)) > 1e-5 * (1 + fabs(c->logit)))
            fail_msg("%s: id %d has logit %g", name, (int)id, (double)c->logit);
    }
}

static void golden_chains(void **state)
{
    (void)state;
    json_error_t error;
    json_t *root = json_load_file(TERSE_TEST_DIR "/golden/sampling.json", 0, &error);
    if (!root)
        fail_msg("%s:%d: %s", error.source, error.line, error.text);
    const json_t *logits = json_object_get(root, "logits"), *cases = json_object_get(root, "cases");
    assert_int_equal(json_array_size(cases), 43);
    static terse_cand c[MAX_VOCAB];
    assert_true(json_array_size(logits) <= MAX_VOCAB);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *t = json_array_get(cases, i), *chain = json_object_get(t, "chain");
        const char *name = json_string_value(json_object_get(t, "name"));
        terse_cands l = { c, (int32_t)json_array_size(logits) };
        for (int32_t id = 0; id < l.n; id++)
            c[id] = (terse_cand){ id, (float)json_number_value(json_array_get(logits, (size_t)id)), 0.0f };
        int32_t chosen = -1;
        for (size_t k = 0; k < json_array_size(chain); k++)
            chosen = run_stage(&l, json_string_value(json_array_get(chain, k)), json_object_get(t, "previous"));
        const json_t *selected = json_object_get(t, "selected");
        if (!json_is_null(selected))
            assert_int_equal(chosen, json_integer_value(selected));
        terse_stage_softmax(&l);
        compare(name, &l, t);
    }
    json_decref(root);
}

/* Two of four candidates are possible and equal: half of the largest entropy, so with exponent 2 a quarter of
 * the way from 0.5 to 1.5. */
static void dynamic_temperature_uses_its_exponent(void **state)
{
    (void)state;
    terse_cand c[4] = { { 0, 3.0f, 0 }, { 1, -INFINITY, 0 }, { 2, 3.0f, 0 }, { 3, -INFINITY, 0 } };
    terse_cands l = { c, 4 };
    terse_stage_temp_ext(&l, 1.0f, 0.5f, 2.0f);
    assert_int_equal(l.n, 4);
    for (int i = 0; i < 4; i++)
        assert_true(i % 2 ? c[i].logit == -INFINITY : fabsf(c[i].logit - 4.0f) < 1e-5f);
}

/* ---- helpers for the public sampler ---- */

static terse_sampler *opened(terse_sample_opts o, int32_t n_vocab)
{
    terse_sampler *s;
    terse_error err;
    if (terse_sampler_open(&s, &o, n_vocab, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    return s;
}

/* Draws from the plain softmax. */
static terse_sample_opts plain(uint64_t seed)
{
    return (terse_sample_opts){ .temp = 1.0f, .top_p = 1.0f, .typical_p = 1.0f, .seed = seed };
}

static uint64_t random_state = 1;
static uint32_t random_u32(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 32);
}

static float random_normal(void) /* sum of 12 uniforms, less their mean */
{
    double sum = -6.0;
    for (int i = 0; i < 12; i++)
        sum += random_u32() * 0x1p-32;
    return (float)sum;
}

/* ---- draws ---- */

/* With 1000 equal logits a draw is floor(1000 u): the expected ids are those of xoshiro256** and splitmix64
 * computed apart from this code. */
static void seed_fixes_the_draws(void **state)
{
    (void)state;
    static const struct {
        uint64_t seed;
        int32_t ids[8];
    } expected[] = {
        { 0, { 601, 747, 103, 416, 732, 999, 422, 535 } },
        { 1, { 702, 520, 574, 391, 697, 143, 71, 381 } },
        { 42, { 83, 378, 680, 924, 991, 769, 719, 850 } },
        { UINT64_MAX, { 559, 767, 507, 747, 567, 731, 370, 767 } },
    };
    static float logits[1000];
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        terse_sampler *s = opened(plain(expected[i].seed), 1000);
        for (int round = 0; round < 2; round++) { /* the second one after a reset */
            for (int k = 0; k < 8; k++)
                assert_int_equal(terse_sampler_next(s, logits), expected[i].ids[k]);
            terse_sampler_reset(s);
        }
        terse_sampler_close(&s);
        assert_null(s);
    }
}

/* Chi-square over 16 tokens, 15 degrees of freedom: beyond 37.7 with probability 0.001 for a right sampler. */
static void draws_follow_the_softmax(void **state)
{
    (void)state;
    enum { N = 16, DRAWS = 200000 };
    float logits[N];
    double p[N], sum = 0.0, chi = 0.0;
    int hits[N] = { 0 };
    for (int i = 0; i < N; i++) {
        logits[i] = 0.2f * (float)((i * 7) % N);
        sum += p[i] = exp(logits[i] / 0.7);
    }
    terse_sample_opts o = plain(12345);
    o.temp = 0.7f;
    terse_sampler *s = opened(o, N);
    for (int k = 0; k < DRAWS; k++)
        hits[terse_sampler_next(s, logits)]++;
    for (int i = 0; i < N; i++)
        chi += pow(hits[i] - DRAWS * p[i] / sum, 2) / (DRAWS * p[i] / sum);
    terse_sampler_close(&s);
    if (!(chi < 37.7))
        fail_msg("chi-square %g", chi);
}

/* The default options on a vocabulary of real size: what is drawn is always among the 40 best. */
static void defaults_draw_from_the_top(void **state)
{
    (void)state;
    enum { N = 32000 };
    float *logits = malloc(N * sizeof *logits);
    assert_non_null(logits);
    for (int i = 0; i < N; i++)
        logits[i] = 2.0f * random_normal();
    terse_sampler *s;
    assert_int_equal(terse_sampler_open(&s, NULL, N, NULL), TERSE_OK);
    int distinct = 0;
    bool seen[N] = { false };
    for (int k = 0; k < 300; k++) {
        const int32_t id = terse_sampler_next(s, logits);
        int above = 0;
        for (int i = 0; i < N; i++)
            above += logits[i] > logits[id];
        assert_in_range(above, 0, 39);
        distinct += !seen[id];
        seen[id] = true;
    }
    assert_in_range(distinct, 10, 40);
    terse_sampler_close(&s);
    free(logits);
}

/* ---- cuts ---- */

static float value_of_kind(int kind, int i, int n)
{
    switch (kind) {
    case 0:
        return random_normal();
    case 1:
        return (float)i;
    case 2:
        return (float)(n - i);
    case 3:
        return 0.0f;
    case 4:
        return (float)(random_u32() % 5) - 2.0f;
    case 5:
        return random_u32() % 2 ? -0.0f : 0.0f;
    default:
        return i % 3 ? -INFINITY : -1e30f * (float)(i % 100);
    }
}

static int by_logit(const void *a, const void *b)
{
    const terse_cand *x = a, *y = b;
    if (x->logit != y->logit)
        return x->logit < y->logit ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

/* The selection against a full sort: random, ordered, tied, signed zeros and mostly -inf. */
static void top_k_is_the_front_of_a_sort(void **state)
{
    (void)state;
    enum { N = 5000 };
    static const int32_t ks[] = { 1, 2, 40, 500, 3000, N - 1 };
    terse_cand *c = malloc(N * sizeof *c), *sorted = malloc(N * sizeof *sorted);
    assert_true(c && sorted);
    for (int kind = 0; kind < 7; kind++)
        for (size_t j = 0; j < sizeof ks / sizeof *ks; j++) {
            for (int i = 0; i < N; i++) /* 7 and N have no common factor: every id once, not in order */
                sorted[i] = c[i] = (terse_cand){ i * 7 % N, value_of_kind(kind, i, N), 0.0f };
            qsort(sorted, N, sizeof *sorted, by_logit);
            terse_cands l = { c, N };
            terse_stage_top_k(&l, ks[j]);
            assert_int_equal(l.n, ks[j]);
            for (int i = 0; i < l.n; i++)
                assert_int_equal(c[i].id, sorted[i].id);
        }
    free(c);
    free(sorted);
}

/* top-p over a flat vocabulary needs more than the first sorted front. */
static void top_p_grows_its_front(void **state)
{
    (void)state;
    enum { N = 4000 };
    static terse_cand c[N];
    for (int i = 0; i < N; i++)
        c[i] = (terse_cand){ i, 0.0f, 0.0f };
    terse_cands l = { c, N };
    terse_stage_top_p(&l, 0.75f, 1);
    assert_int_equal(l.n, 3000);
    for (int i = 0; i < l.n; i++)
        assert_int_equal(c[i].id, i);
}

static int32_t kept(terse_sample_opts o, const float *logits, int32_t n)
{
    bool seen[64] = { false };
    int32_t distinct = 0;
    terse_sampler *s = opened(o, n);
    for (int k = 0; k < 2000; k++) {
        const int32_t id = terse_sampler_next(s, logits);
        assert_in_range(id, 0, n - 1);
        distinct += !seen[id];
        seen[id] = true;
    }
    terse_sampler_close(&s);
    return distinct;
}

/* Every cut reaches the draw, and min_keep bounds each. temp 50 makes all survivors about equally likely. */
static void cuts_reach_the_draw(void **state)
{
    (void)state;
    const float logits[8] = { 5, 4, 3, 2, 1, 0, -1, -2 };
    terse_sample_opts none = plain(3);
    none.temp = 50.0f;
    assert_int_equal(kept(none, logits, 8), 8);
    for (int32_t keep = 0; keep <= 4; keep += 4) {
        none.min_keep = keep;
        terse_sample_opts o[5] = { none, none, none, none, none };
        o[0].top_k = 3;
        o[1].top_p = 0.1f;
        o[2].min_p = 0.9f;
        o[3].typical_p = 0.01f;
        o[4].top_n_sigma = 0.1f;
        for (int i = 0; i < 5; i++)
            assert_int_equal(kept(o[i], logits, 8), keep ? 4 : i == 0 ? 3 : 1);
    }
}

/* ---- greedy, ties, windows ---- */

static void ties_go_to_the_lowest_id(void **state)
{
    (void)state;
    const float logits[6] = { 1, 3, -2, 3, 3, 0 };
    terse_sampler *s = opened((terse_sample_opts){ 0 }, 6);
    assert_int_equal(terse_sampler_next(s, logits), 1);
    terse_sampler_close(&s);
    terse_sample_opts o = plain(9);
    o.top_k = 1;
    s = opened(o, 6);
    for (int k = 0; k < 20; k++)
        assert_int_equal(terse_sampler_next(s, logits), 1);
    terse_sampler_close(&s);
}

/* Greedy with a presence penalty that outweighs every difference: only what the window holds is avoided. */
static void window_forgets_the_oldest(void **state)
{
    (void)state;
    const float logits[5] = { 5, 4, 3, 2, 1 };
    terse_sample_opts o = { .penalty_last_n = 2, .penalty_presence = 50.0f, .typical_p = 1.0f };
    terse_sampler *s = opened(o, 5);
    static const int32_t expected[] = { 0, 1, 2, 0, 1, 2, 0 };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const int32_t id = terse_sampler_next(s, logits);
        assert_int_equal(id, expected[i]);
        assert_int_equal(terse_sampler_next(s, logits), id); /* choosing does not accept */
        terse_sampler_accept(s, id);
    }
    terse_sampler_accept(s, -1);
    terse_sampler_accept(s, 5);
    assert_int_equal(terse_sampler_next(s, logits), 1);
    terse_sampler_reset(s);
    assert_int_equal(terse_sampler_next(s, logits), 0);
    terse_sampler_close(&s);

    o.penalty_last_n = 0;
    s = opened(o, 5);
    terse_sampler_accept(s, 0);
    assert_int_equal(terse_sampler_next(s, logits), 0);
    terse_sampler_close(&s);

    o.penalty_last_n = -1; /* the last 4096 */
    s = opened(o, 5);
    terse_sampler_accept(s, 0);
    for (int i = 0; i < 4095; i++)
        terse_sampler_accept(s, 1);
    assert_int_equal(terse_sampler_next(s, logits), 2);
    terse_sampler_accept(s, 1);
    assert_int_equal(terse_sampler_next(s, logits), 0);
    terse_sampler_close(&s);
}

/* frequency counts, repeat scales by sign */
static void penalties_do_what_they_say(void **state)
{
    (void)state;
    terse_sample_opts o = { .penalty_last_n = 64, .penalty_frequency = 1.0f };
    terse_sampler *s = opened(o, 3);
    const float logits[3] = { 2.5f, 0.4f, -3.0f };
    for (int i = 0; i < 2; i++)
        terse_sampler_accept(s, 0);
    assert_int_equal(terse_sampler_next(s, logits), 0); /* 0.5 */
    terse_sampler_accept(s, 0);
    assert_int_equal(terse_sampler_next(s, logits), 1); /* -0.5 */
    terse_sampler_close(&s);

    o = (terse_sample_opts){ .penalty_last_n = 64, .penalty_repeat = 2.0f };
    s = opened(o, 3);
    terse_sampler_accept(s, 0);
    assert_int_equal(terse_sampler_next(s, (const float[]){ 2.0f, 1.1f, 0.9f }), 1);
    assert_int_equal(terse_sampler_next(s, (const float[]){ -2.0f, -3.9f, -4.1f }), 1);
    terse_sampler_close(&s);
}

/* The sampler looks only at logits that can matter; the naive choice looks at all. Penalties raise and lower.
 */
static void window_meets_a_large_vocabulary(void **state)
{
    (void)state;
    enum { N = 3000 };
    static float logits[N];
    static int32_t count[N];
    for (int round = 0; round < 200; round++) {
        const bool raise = round % 2;
        terse_sample_opts o = { .penalty_last_n = 1 + round % 20, .penalty_frequency = raise ? -1.5f : 50.0f };
        terse_sampler *s = opened(o, N);
        for (int i = 0; i < N; i++)
            logits[i] = value_of_kind(round % 7 == 6 ? 4 : round % 7, i, N);
        memset(count, 0, sizeof count);
        for (int k = 0; k < o.penalty_last_n; k++) {
            int32_t id = (int32_t)(random_u32() % (round % 3 ? N : 8));
            if (round % 3 == 1) /* all that would otherwise be chosen is in the window */
                logits[id = k * 67] = 10.0f;
            count[id]++;
            terse_sampler_accept(s, id);
        }
        int32_t best = 0;
        for (int i = 0; i < N; i++)
            if (logits[i] - (float)count[i] * o.penalty_frequency >
                logits[best] - (float)count[best] * o.penalty_frequency)
                best = i;
        assert_int_equal(terse_sampler_next(s, logits), best);
        terse_sampler_close(&s);
    }
}

/* ---- edges of the input ---- */

static void broken_logits_choose_nothing(void **state)
{
    (void)state;
    const float inf = INFINITY;
    terse_sample_opts all[3] = { { 0 }, plain(1), terse_sample_defaults() };
    for (int i = 0; i < 3; i++) {
        terse_sampler *s = opened(all[i], 4);
        assert_int_equal(terse_sampler_next(s, (const float[]){ 1, 2, NAN, 3 }), -1);
        assert_int_equal(terse_sampler_next(s, (const float[]){ -inf, -inf, -inf, -inf }), -1);
        assert_int_equal(terse_sampler_next(s, (const float[]){ inf, -inf, inf, inf }), -1);
        assert_int_equal(terse_sampler_next(s, (const float[]){ -inf, -inf, 1, -inf }), 2);
        assert_int_equal(terse_sampler_next(s, (const float[]){ 0, 1, 2, inf }), 3);
        assert_int_equal(terse_sampler_next(s, (const float[]){ -3e38f, 3e38f, 0, -inf }), 1);
        terse_sampler_close(&s);
    }
}

/* No option within its range turns finite logits into nothing. */
static void extremes_still_choose(void **state)
{
    (void)state;
    const float logits[4] = { 3e38f, -3e38f, 1e30f, 3e38f };
    terse_sample_opts o = terse_sample_defaults();
    o.top_k = 0;
    o.top_n_sigma = 0.01f;
    o.typical_p = 0.5f;
    o.penalty_repeat = 1e-30f;
    o.penalty_frequency = o.penalty_presence = 100.0f;
    static const float temps[] = { -1.0f, 1e-45f, 1e-30f, 1.0f, 3e38f };
    for (size_t i = 0; i < sizeof temps / sizeof *temps; i++) {
        o.temp = temps[i];
        terse_sampler *s = opened(o, 4);
        for (int k = 0; k < 50; k++) {
            const int32_t id = terse_sampler_next(s, logits);
            assert_true(id >= 0 && id < 4);
            terse_sampler_accept(s, id);
        }
        terse_sampler_close(&s);
    }
    /* Quotients beyond the range of a float keep their order. */
    terse_sample_opts cold = plain(1);
    cold.temp = 0.01f;
    terse_sampler *s = opened(cold, 3);
    for (int k = 0; k < 20; k++)
        assert_int_equal(terse_sampler_next(s, (const float[]){ 2e38f, 3e38f, 0.0f }), 1);
    terse_sampler_close(&s);
    cold.typical_p = 0.5f;
    s = opened(cold, 3);
    for (int k = 0; k < 20; k++)
        assert_int_equal(terse_sampler_next(s, (const float[]){ 0.0f, 3e38f, INFINITY }), 2);
    terse_sampler_close(&s);
    s = opened(plain(1), 1);
    assert_int_equal(terse_sampler_next(s, (const float[]){ -7.0f }), 0);
    terse_sampler_close(&s);
}

static void minus_infinity_is_never_drawn(void **state)
{
    (void)state;
    const float logits[5] = { -INFINITY, 1, -INFINITY, 1, -INFINITY };
    terse_sample_opts o = plain(77);
    o.min_keep = 5;
    o.top_k = 4;
    terse_sampler *s = opened(o, 5);
    for (int k = 0; k < 200; k++)
        assert_true(terse_sampler_next(s, logits) % 2 == 1);
    terse_sampler_close(&s);
}

static void out_of_range_names_the_option(void **state)
{
    (void)state;
    const terse_sample_opts good = terse_sample_defaults();
    assert_int_equal(terse_sample_check(&good, NULL), TERSE_OK);
    assert_int_equal(terse_sample_check(&(terse_sample_opts){ 0 }, NULL), TERSE_OK);
    struct {
        const char *name;
        terse_sample_opts o;
    } bad[] = {
        { "temp", good },
        { "temp", good },
        { "top_p", good },
        { "top_p", good },
        { "min_p", good },
        { "typical_p", good },
        { "top_n_sigma", good },
        { "penalty_last_n", good },
        { "penalty_last_n", good },
        { "penalty_repeat", good },
        { "penalty_repeat", good },
        { "penalty_frequency", good },
        { "penalty_presence", good },
        { "min_keep", good },
    };
    bad[0].o.temp = NAN;
    bad[1].o.temp = INFINITY;
    bad[2].o.top_p = -0.1f;
    bad[3].o.top_p = NAN;
    bad[4].o.min_p = 1.5f;
    bad[5].o.typical_p = -1.0f;
    bad[6].o.top_n_sigma = NAN;
    bad[7].o.penalty_last_n = -2;
    bad[8].o.penalty_last_n = 4097;
    bad[9].o.penalty_repeat = -1.0f;
    bad[10].o.penalty_repeat = NAN;
    bad[11].o.penalty_frequency = 101.0f;
    bad[12].o.penalty_presence = -INFINITY;
    bad[13].o.min_keep = -1;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        terse_error err = { 0 };
        assert_int_equal(terse_sample_check(&bad[i].o, &err), TERSE_BAD_INPUT);
        assert_non_null(strstr(err.text, bad[i].name));
        terse_sampler *s = (void *)&err;
        assert_int_equal(terse_sampler_open(&s, &bad[i].o, 10, NULL), TERSE_BAD_INPUT);
        assert_null(s);
    }
    terse_sampler *s;
    assert_int_equal(terse_sampler_open(&s, &good, 0, NULL), TERSE_BAD_INPUT);
    assert_null(s);
    terse_sampler_close(&s);
    terse_sampler_close(NULL);
}

/* ---- memory ---- */

static void next_allocates_nothing(void **state)
{
    (void)state;
    if (!OWN_MALLOC)
        skip();
    enum { N = 20000 };
    float *logits = malloc(N * sizeof *logits);
    assert_non_null(logits);
    for (int i = 0; i < N; i++)
        logits[i] = random_normal();
    terse_sample_opts full = terse_sample_defaults();
    full.top_k = 0;
    full.top_n_sigma = 3.0f;
    full.typical_p = 0.99f;
    full.penalty_repeat = 1.1f;
    const terse_sample_opts all[] = { { 0 }, plain(5), terse_sample_defaults(), full };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const long before = n_alloc;
        terse_sampler *s = opened(all[i], N);
        const long at_open = n_alloc;
        assert_true(at_open > before); /* the counter counts */
        int32_t id = 0;
        for (int k = 0; k < 5 && id >= 0; k++) {
            id = terse_sampler_next(s, logits);
            terse_sampler_accept(s, id);
        }
        terse_sampler_reset(s);
        assert_int_equal(n_alloc, at_open);
        assert_true(id >= 0);
        terse_sampler_close(&s);
    }
    free(logits);
}

/* The n-th allocation of an open fails, for every n. */
static void open_without_memory_leaves_nothing(void **state)
{
    (void)state;
    if (!OWN_MALLOC)
        skip();
    terse_sample_opts o = terse_sample_defaults();
    o.penalty_presence = 1.0f;
    terse_status st = TERSE_NOMEM;
    int n = 0;
    while (st == TERSE_NOMEM && n < 100) {
        terse_sampler *s = (void *)&o;
        terse_error err = { 0 };
        fail_at = n_alloc + ++n;
        st = terse_sampler_open(&s, &o, 50, &err);
        fail_at = 0;
        assert_int_equal(err.status, st);
        assert_true((s == NULL) == (st != TERSE_OK));
        terse_sampler_close(&s);
    }
    assert_int_equal(st, TERSE_OK);
    assert_int_equal(n, 5); /* the sampler, its list, its window and its counts; the fifth is not reached */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_chains),
        cmocka_unit_test(dynamic_temperature_uses_its_exponent),
        cmocka_unit_test(seed_fixes_the_draws),
        cmocka_unit_test(draws_follow_the_softmax),
        cmocka_unit_test(defaults_draw_from_the_top),
        cmocka_unit_test(top_k_is_the_front_of_a_sort),
        cmocka_unit_test(top_p_grows_its_front),
        cmocka_unit_test(cuts_reach_the_draw),
        cmocka_unit_test(ties_go_to_the_lowest_id),
        cmocka_unit_test(window_forgets_the_oldest),
        cmocka_unit_test(penalties_do_what_they_say),
        cmocka_unit_test(window_meets_a_large_vocabulary),
        cmocka_unit_test(broken_logits_choose_nothing),
        cmocka_unit_test(extremes_still_choose),
        cmocka_unit_test(minus_infinity_is_never_drawn),
        cmocka_unit_test(out_of_range_names_the_option),
        cmocka_unit_test(next_allocates_nothing),
        cmocka_unit_test(open_without_memory_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
