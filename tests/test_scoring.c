/* Policies that go by attention weights, against their formulas in float64: which tokens are left. */
#include "ragged_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { MOST = RAGGED_MOST, ROWS = RAGGED_ROWS, DIM = RAGGED_DIM, HEADS = RAGGED_HEADS };

/* The query of a head: heads see the same keys with other queries. */
static const float *query(const ragged *f, int32_t head, int32_t pos)
{
    return f->q[(pos + 7 * head) % MOST];
}

static ragged *open_or_fail(const char *policy)
{
    terse_error err = { 0 };
    ragged *f = ragged_open(policy, "none", TERSE_KV_F32, 1, &err);
    if (!f)
        fail_msg("%s", err.text);
    return f;
}

/* What the query of (head, i) gives to the tokens that are held: mean over its rows. */
static void weights(const ragged *f, int32_t head, int32_t i, const bool *held, double *w)
{
    memset(w, 0, MOST * sizeof *w);
    for (int32_t r = 0; r < ROWS; r++) {
        double s[MOST], top = -INFINITY, sum = 0.0;
        for (int32_t j = 0; j <= i; j++) {
            s[j] = 0.0;
            for (int32_t d = 0; d < DIM; d++)
                s[j] += 0.25 * (double)query(f, head, i)[r * DIM + d] * (double)f->k[j][d];
            s[j] = held[j] ? s[j] : -INFINITY;
            top = fmax(top, s[j]);
        }
        for (int32_t j = 0; j <= i; j++)
            sum += exp(s[j] - top);
        for (int32_t j = 0; j <= i; j++)
            w[j] += exp(s[j] - top) / sum / ROWS;
    }
}

/* Leaves the k best of the tokens below end that are held. */
static void leave_best(bool *held, const double *score, int32_t end, int32_t k)
{
    int32_t n = 0;
    for (int32_t j = 0; j < end; j++)
        n += held[j];
    for (; n > k; n--) {
        int32_t worst = -1;
        for (int32_t j = 0; j < end; j++)
            if (held[j] && (worst < 0 || score[j] < score[worst]))
                worst = j;
        held[worst] = false;
    }
}

static void check_held(const ragged *f, int32_t layer, int32_t head, const bool *held, int32_t n_token)
{
    const size_t u = terse_kv_unit(f->kv, layer, head);
    const terse_kv_view v = terse_kv_view_at(f->kv, u, n_token - 1);
    bool got[MOST] = { false };
    for (int32_t s = 0; s < v.n_long; s++)
        got[terse_kv_positions(f->kv, u)[s]] = true;
    for (int32_t j = v.from; j < v.to; j++)
        got[j] = true;
    for (int32_t j = 0; j < n_token; j++)
        if (got[j] != held[j])
            fail_msg("head %d, %d tokens: token %d is %s", (int)head, (int)n_token, (int)j,
                     got[j] ? "held" : "gone");
}

static void put(ragged *f, int32_t n)
{
    terse_error err;
    for (int32_t from = terse_kv_count(f->kv), m; n > 0; n -= m, from += m) {
        m = n < RAGGED_STEP ? n : RAGGED_STEP;
        assert_int_equal(terse_kv_reserve(f->kv, m, &err), TERSE_OK);
        for (int32_t u = 0; u < RAGGED_LAYERS * HEADS; u++)
            for (int32_t t = from; t < from + m; t++)
                ragged_put(f, u / HEADS, u % HEADS, t);
        terse_kv_commit(f->kv, m);
    }
}

/* Marks in all heads of a layer by the queries from `from` on. */
static void observe(ragged *f, int32_t layer, int32_t from, int32_t n)
{
    for (int32_t h = 0; h < HEADS; h++)
        for (int32_t t = from; t < from + n; t++) {
            const float *q[1] = { query(f, h, t) };
            terse_observe(f->walk, layer, h, q, &t, 1, 0.25f);
        }
}

static void settle(ragged *f)
{
    terse_error err;
    assert_int_equal(terse_policy_settle(f->attend, f->kv, &err), TERSE_OK);
}

static void trim(ragged *f, int32_t layer)
{
    for (int32_t h = 0; h < HEADS; h++)
        terse_policy_trim(f->walk, f->kv, layer, h, terse_kv_count(f->kv));
    terse_kv_settle(f->kv);
}

static void all_held(bool *held, int32_t n)
{
    for (int32_t j = 0; j < MOST; j++)
        held[j] = j < n;
}

/* Queries of a page at once give the marks that they give one by one. */
static void queries_may_come_together(void **state)
{
    (void)state;
    ragged *a = open_or_fail("h2o:budget=700,recent=0.2"), *b = open_or_fail("h2o:budget=700,recent=0.2");
    const float *q[TERSE_PAGE];
    int32_t at[TERSE_PAGE];
    bool held[MOST];
    double sum[MOST] = { 0.0 }, w[MOST];
    put(a, 400);
    put(b, 400);
    observe(a, 1, 350, 30);
    for (int32_t i = 0; i < 30; i++) {
        at[i] = 350 + i;
        q[i] = query(b, 1, at[i]);
    }
    terse_observe(b->walk, 1, 1, q, at, 30, 0.25f);
    all_held(held, 400);
    for (int32_t i = 350; i < 380; i++) {
        weights(a, 1, i, held, w);
        for (int32_t j = 0; j < MOST; j++)
            sum[j] += w[j];
    }
    for (int32_t j = 0; j < 400; j++) {
        assert_true(fabs((double)*terse_kv_mark(a->kv, 3, j) - sum[j]) < 1e-4);
        assert_true(fabs((double)*terse_kv_mark(b->kv, 3, j) - sum[j]) < 1e-4);
    }
    ragged_close(a);
    ragged_close(b);
}

/* Budget 60, half of it recent: every step, the older token that received least since it came leaves. */
static void h2o_keeps_heavy_hitters(void **state)
{
    (void)state;
    ragged *f = open_or_fail("h2o:budget=60");
    bool held[HEADS][MOST];
    double sum[HEADS][MOST] = { { 0.0 } }, w[MOST];
    put(f, 90);
    observe(f, 0, 0, 90);
    for (int32_t n = 90; n < 160; n++) {
        if (n > 90) {
            put(f, 1);
            observe(f, 0, n - 1, 1);
        }
        trim(f, 0);
        for (int32_t h = 0; h < HEADS; h++) {
            if (n == 90)
                all_held(held[h], 90);
            held[h][n - 1] = true;
            for (int32_t i = n == 90 ? 0 : n - 1; i < n; i++) {
                weights(f, h, i, held[h], w);
                for (int32_t j = 0; j < MOST; j++)
                    sum[h][j] += w[j];
            }
            leave_best(held[h], sum[h], n - 30, 30);
            check_held(f, 0, h, held[h], n);
        }
    }
    ragged_close(f);
}

/* Budget 70: the last 32 stay, of the others those that the last query looks at, mean over both heads. */
static void tova_goes_by_the_last_query(void **state)
{
    (void)state;
    ragged *f = open_or_fail("tova:budget=70");
    bool held[MOST];
    all_held(held, 100);
    put(f, 100);
    for (int32_t n = 100; n < 170; n++) {
        double sum[MOST] = { 0.0 }, w[MOST];
        if (n > 100)
            put(f, 1);
        held[n - 1] = true;
        terse_kv_marks_clear(f->kv);
        observe(f, 1, n - 1, 1);
        trim(f, 1);
        for (int32_t h = 0; h < HEADS; h++) {
            weights(f, h, n - 1, held, w);
            for (int32_t j = 0; j < MOST; j++)
                sum[j] += w[j];
        }
        leave_best(held, sum, n - 32, 38);
        for (int32_t h = 0; h < HEADS; h++)
            check_held(f, 1, h, held, n);
    }
    ragged_close(f);
}

/* Mean weights of the last 16 queries, mean over 5 neighbours (0 beyond the ends), best of what is before them.
 */
static void snap_reference(const ragged *f, int32_t head, int32_t n, int32_t k, bool *held)
{
    double sum[MOST] = { 0.0 }, pooled[MOST] = { 0.0 }, w[MOST];
    all_held(held, n);
    for (int32_t i = n - 16; i < n; i++) {
        weights(f, head, i, held, w);
        for (int32_t j = 0; j < n - 16; j++)
            sum[j] += w[j];
    }
    for (int32_t j = 0; j < n - 16; j++)
        for (int32_t d = -2; d <= 2; d++)
            pooled[j] += j + d >= 0 && j + d < n - 16 ? sum[j + d] / 5 : 0.0;
    leave_best(held, pooled, n - 16, k);
}

static void snapkv_keeps_what_the_last_queries_see(void **state)
{
    (void)state;
    static const char *const policies[] = { "snapkv:keep=0.25,window=16", "snapkv:budget=100,window=16" };
    for (int i = 0; i < 2; i++) {
        ragged *f = open_or_fail(policies[i]);
        bool held[MOST];
        put(f, 400);
        settle(f);
        observe(f, 0, 384, 16);
        trim(f, 0);
        for (int32_t h = 0; h < HEADS; h++) {
            snap_reference(f, h, 400, 84, held);
            check_held(f, 0, h, held, 400);
        }
        ragged_close(f);
    }
}

/* 100 tokens a head in the mean; beta = 4: the upper layer holds a quarter of 84, the lower one the rest. */
static void pyramidkv_gives_lower_layers_more(void **state)
{
    (void)state;
    ragged *f = open_or_fail("pyramidkv:budget=100,window=16,beta=4");
    put(f, 400);
    settle(f);
    for (int32_t l = 0; l < RAGGED_LAYERS; l++) {
        bool held[MOST];
        observe(f, l, 384, 16);
        trim(f, l);
        snap_reference(f, 1, 400, l ? 21 : 147, held);
        check_held(f, l, 1, held, 400);
    }
    assert_int_equal(terse_kv_held(f->kv), 4 * 100);
    ragged_close(f);
    f = open_or_fail("pyramidkv:budget=100,window=16,beta=4"); /* no more than there are: the sum stays */
    put(f, 130);
    settle(f);
    for (int32_t l = 0; l < RAGGED_LAYERS; l++) {
        observe(f, l, 114, 16);
        trim(f, l);
    }
    assert_int_equal(f->kv->n_long[0], 114);
    assert_int_equal(f->kv->n_long[2], 54);
    ragged_close(f);
}

/* A walk over what is left is attention over it, whatever has moved where. */
static void walks_see_what_is_left(void **state)
{
    (void)state;
    ragged *f = open_or_fail("h2o:budget=100");
    put(f, 300);
    observe(f, 0, 250, 50);
    trim(f, 0);
    for (int32_t n = 300; n < 400; n++) {
        put(f, 1);
        observe(f, 0, n, 1);
        trim(f, 0);
        assert_int_equal(f->kv->n_long[0], 50);
    }
    const int32_t *at = terse_kv_positions(f->kv, 0);
    bool held[MOST];
    double w[MOST];
    for (int32_t j = 0; j < MOST; j++)
        held[j] = j >= 350 && j < 400;
    for (int32_t s = 0; s < 50; s++)
        held[at[s]] = true;
    _Alignas(64) float out[ROWS * DIM];
    _Alignas(64) float q[ROWS * DIM];
    memcpy(q, query(f, 0, 399), sizeof q);
    terse_walk_decode(f->walk, 0, 0, 400, 0.25f, q, out, &f->stats);
    weights(f, 0, 399, held, w);
    for (int32_t d = 0; d < DIM; d++) { /* weights are means over the rows: so are these */
        double want = 0.0, got = 0.0;
        for (int32_t j = 0; j < 400; j++)
            want += w[j] * (double)f->v[j][d];
        for (int32_t r = 0; r < ROWS; r++)
            got += (double)out[r * DIM + d] / ROWS;
        assert_true(fabs(got - want) < 1e-5);
    }
    ragged_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queries_may_come_together),
        cmocka_unit_test(h2o_keeps_heavy_hitters),
        cmocka_unit_test(tova_goes_by_the_last_query),
        cmocka_unit_test(snapkv_keeps_what_the_last_queries_see),
        cmocka_unit_test(pyramidkv_gives_lower_layers_more),
        cmocka_unit_test(walks_see_what_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
