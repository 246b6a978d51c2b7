/* The public sampler: draws, cuts, windows, edges of the input, memory. */
#include "terse/sample.h"

#include "sample_logits.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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

/* ---- helpers ---- */

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
        cmocka_unit_test(seed_fixes_the_draws),          cmocka_unit_test(draws_follow_the_softmax),
        cmocka_unit_test(defaults_draw_from_the_top),    cmocka_unit_test(cuts_reach_the_draw),
        cmocka_unit_test(ties_go_to_the_lowest_id),      cmocka_unit_test(window_forgets_the_oldest),
        cmocka_unit_test(penalties_do_what_they_say),    cmocka_unit_test(window_meets_a_large_vocabulary),
        cmocka_unit_test(broken_logits_choose_nothing),  cmocka_unit_test(extremes_still_choose),
        cmocka_unit_test(minus_infinity_is_never_drawn), cmocka_unit_test(out_of_range_names_the_option),
        cmocka_unit_test(next_allocates_nothing),        cmocka_unit_test(open_without_memory_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
