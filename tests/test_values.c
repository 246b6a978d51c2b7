/* Value rules: which tokens' values are read, what that costs, and what is proved. */
#include "attend_fixture.h"

static void value_skip_reads_the_page_that_matters(void **state)
{
    (void)state;
    fixture *f = make(1024, TERSE_KV_F32, "value-skip:eps=0.01", 1, needle_token);
    for (int32_t i = 0; i < ROWS * DIM; i++)
        f->q[i] = 1.0f;
    decode(f);
    assert_int_equal(f->stats.pages_scored, 32);
    assert_int_equal(f->stats.pages_read, 1);
    assert_int_equal(f->stats.bytes_v, 32 * DIM * 4);
    assert_true(f->stats.bound_max <= 0.01f);
    assert_true(error_of(f) < 1e-5);
    drop(f);
}

/* The bound holds for every eps, type, center and query, and the error is measured to be under it. */
static void value_skip_keeps_its_bound(void **state)
{
    (void)state;
    static const char *const rules[] = { "value-skip:eps=0.01", "value-skip:eps=0.1", "value-skip:eps=1" };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        for (int type = TERSE_KV_F32; type <= TERSE_KV_Q4; type++) {
            fixture *f = make(900, (terse_kv_type)type, rules[i], 1, random_token);
            for (int n = 0; n < 40; n++) {
                if (n == 20)
                    terse_kv_center(f->kv);
                for (int32_t d = 0; d < ROWS * DIM; d++)
                    f->q[d] = 20.0f * uniform() * uniform();
                decode(f);
            }
            assert_int_equal(f->stats.audits, 40);
            assert_int_equal(f->stats.audit_violations, 0);
            assert_true(f->stats.audit_error_max > 0.0f || i == 0);
            assert_true(i == 0 || f->stats.pages_read < f->stats.pages_listed);
            drop(f);
        }
}

/* Values whose squares overflow, or that are no numbers, in a page of little weight. */
static float odd_value;
static void odd_token(int32_t pos, float *k, float *v)
{
    needle_token(pos, k, v);
    for (int32_t d = 0; d < DIM && (isinf(odd_value) || isnan(odd_value) ? pos == 700 : true); d++)
        v[d] *= odd_value;
}

/* No walk may end with a bound that was not proved. */
static void value_skip_proves_nothing_from_nan(void **state)
{
    (void)state;
    static const float odd[] = { NAN, INFINITY, 1e25f, 1e-25f };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        odd_value = odd[i];
        fixture *f = make(1024, TERSE_KV_F32, "value-skip:eps=0.01", 1, odd_token);
        for (int n = 0; n < 2; n++) {
            for (int32_t d = 0; d < ROWS * DIM; d++)
                f->q[d] = 1.0f;
            memset(&f->stats, 0, sizeof f->stats);
            decode(f);
            if (i < 2) {
                assert_int_equal(f->stats.stops, 0);
                assert_int_equal(f->stats.pages_read, 32);
                assert_false(isfinite(f->out[0]));
                assert_int_equal(f->stats.audit_violations, 1); /* NaN is no answer */
                assert_true(isinf(f->stats.audit_error_max));
            } else {
                assert_true(f->stats.bound_max <= 0.01f && error_of(f) <= 0.0101);
                assert_int_equal(f->stats.stops, f->stats.bound_max > 0.0f);
                assert_int_equal(f->stats.audit_violations, 0);
            }
            terse_kv_center(f->kv);
        }
        drop(f);
    }
}

/* One token holds the weight. */
static void needle_alone(int32_t pos, float *k, float *v)
{
    random_token(pos, k, v);
    for (int32_t d = 0; d < DIM; d++)
        k[d] = pos == 10 * 32 + 5 ? 2.0f : -2.0f;
}

/* It is read with those that share its cache lines: by type, so many tokens and bytes. */
static void values_are_read_token_by_token(void **state)
{
    (void)state;
    static const char *const rules[] = { "value-share:left=0.01", "value-share:left=0.01,norm=sum",
                                         "value-skip:eps=0.01" };
    static const int32_t tokens[] = {
        [TERSE_KV_F32] = 1, [TERSE_KV_F16] = 1, [TERSE_KV_Q8] = 4, [TERSE_KV_BF16] = 1, [TERSE_KV_Q4] = 8
    };
    static const int32_t bytes[] = { [TERSE_KV_F32] = DIM * 4,
                                     [TERSE_KV_F16] = DIM * 2,
                                     [TERSE_KV_Q8] = 4 * DIM + 64,
                                     [TERSE_KV_BF16] = DIM * 2,
                                     [TERSE_KV_Q4] = 4 * DIM + 64 };
    for (size_t i = 0; i < 3; i++)
        for (int type = TERSE_KV_F32; type <= TERSE_KV_Q4; type++) {
            const bool page = i == 2 && type == TERSE_KV_Q4; /* no proof of less */
            fixture *f = make(1024, (terse_kv_type)type, rules[i], 1, needle_alone);
            for (int32_t d = 0; d < ROWS * DIM; d++)
                f->q[d] = 1.0f;
            decode(f);
            assert_int_equal(f->stats.pages_scored, 32);
            assert_int_equal(f->stats.pages_read, 1);
            assert_int_equal(f->stats.tokens_read, page ? 32 : tokens[type]);
            assert_int_equal(f->stats.bytes_v, page ? 16 * DIM + 64 : bytes[type]);
            assert_int_equal(f->stats.stops, 1);
            assert_true(f->stats.audit_error_max < 1e-3f);
            drop(f);
        }
}

/* n tokens of equal weight: together 1, as a root of squares 1 / sqrt(n). */
static void equal_tokens_are_left_out_together(void **state)
{
    (void)state;
    static const struct {
        const char *rule;
        int32_t read;
    } cases[] = { { "value-share:left=0.035", 0 },
                  { "value-share:left=0.028", 1000 },
                  { "value-share:left=1,norm=sum", 0 },
                  { "value-share:left=0.9,norm=sum", 1000 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture *f = make(1000, TERSE_KV_F32, cases[i].rule, 0, counting_token);
        memset(f->q, 0, sizeof f->q);
        terse_kv_center(f->kv);
        decode(f);
        assert_int_equal(f->stats.tokens_read, cases[i].read);
        assert_float_equal(f->stats.left_max, cases[i].read ? 0.0f : 1.0f, 1e-6f);
        for (int32_t d = 0; d < ROWS * DIM; d++) /* the center stands in */
            assert_float_equal(f->out[d], 499.5f, 1e-2f);
        drop(f);
    }
}

/* What value-share leaves, token by token in float64: out has the center in place of what is left out, left is
 * the largest share of a head that is. Returns the tokens that some head needs, -1 if one is too close to call.
 */
static int32_t sifted(const fixture *f, double limit, double *out, double *left)
{
    static double s[ROWS][MOST];
    bool needed[MOST] = { false };
    const float *center = f->kv->center;
    int32_t n_needed = 0;
    *left = 0.0;
    for (int32_t r = 0; r < ROWS; r++) {
        double sum = 0.0;
        for (int32_t t = 0; t < f->n; t++) {
            float k[DIM];
            terse_page_get_k(f->kv->type_k, terse_kv_block(f->kv, terse_kv_table(f->kv, 0, 0)[t / TERSE_PAGE]),
                             t % TERSE_PAGE, k, DIM);
            s[r][t] = 0.0;
            for (int32_t d = 0; d < DIM; d++)
                s[r][t] += 0.25 * (double)f->q[r * DIM + d] * (double)k[d];
            sum += s[r][t] = exp(s[r][t]);
        }
        for (int32_t t = 0; t < f->n; t++) {
            s[r][t] /= sum;
            needed[t] |= s[r][t] > limit;
            if (fabs(s[r][t] / limit - 1.0) < 1e-4)
                return -1;
        }
    }
    for (int32_t t = 0; t < f->n; t++)
        n_needed += needed[t];
    for (int32_t r = 0; r < ROWS; r++) {
        double rest = 0.0, *o = out + r * DIM;
        memset(o, 0, DIM * sizeof *o);
        for (int32_t t = 0; t < f->n; t++) {
            float v[DIM];
            terse_page_get_v(f->kv->type_v,
                             terse_kv_block(f->kv, terse_kv_table(f->kv, 0, 0)[t / TERSE_PAGE]) +
                                 f->kv->block_k,
                             t % TERSE_PAGE, v, DIM);
            rest += needed[t] ? 0.0 : s[r][t];
            for (int32_t d = 0; d < DIM; d++)
                o[d] += s[r][t] * (double)(needed[t] ? v[d] : center[d]);
        }
        *left = fmax(*left, rest);
    }
    return n_needed;
}

static void shares_decide_token_by_token(void **state)
{
    (void)state;
    enum { N = 1000 };
    int32_t checked = 0;
    fixture *f = make(N, TERSE_KV_F32, "value-share:left=0.05", 0, random_token);
    terse_kv_center(f->kv);
    for (int n = 0; n < 40; n++) {
        double want[ROWS * DIM], left;
        for (int32_t d = 0; d < ROWS * DIM; d++)
            f->q[d] = 8.0f * uniform();
        const int32_t tokens = sifted(f, 0.05 / sqrt((double)N), want, &left);
        memset(&f->stats, 0, sizeof f->stats);
        decode(f);
        if (tokens < 0)
            continue;
        checked++;
        assert_in_range(tokens, 1, N - 1);
        assert_int_equal(f->stats.tokens_read, tokens);
        assert_int_equal(f->stats.bytes_v, tokens * DIM * 4);
        assert_float_equal(f->stats.left_max, left, 1e-5f);
        for (int32_t d = 0; d < ROWS * DIM; d++)
            assert_float_equal(f->out[d], want[d], 1e-4f);
    }
    assert_true(checked > 5);
    drop(f);
}

/* Strands know less of the whole, and leave out less for it, but not nothing. */
static void strands_sift_too(void **state)
{
    (void)state;
    static const char *const rules[] = { "value-share:left=0.1",
                                         "mass:delta=0.001,floor=0,from=0+value-share:left=0.1" };
    enum { N = 1500 };
    for (size_t i = 0; i < 2; i++)
        for (int type = TERSE_KV_F32; type <= TERSE_KV_Q4; type++) {
            fixture *f = make(N, (terse_kv_type)type, rules[i], 0, random_token);
            terse_walk *walk;
            terse_error err;
            terse_kv_center(f->kv);
            assert_int_equal(terse_walk_open_split(&walk, f->kv, f->attend, ROWS, 3, 0, &err), TERSE_OK);
            for (int n = 0; n < 10; n++) {
                for (int32_t d = 0; d < ROWS * DIM; d++)
                    f->q[d] = 6.0f * uniform();
                memset(&f->stats, 0, sizeof f->stats);
                terse_walk_decode(walk, 0, 0, N, 0.25f, f->q, f->out, &f->stats);
                assert_in_range(f->stats.tokens_read, 1, N - 1);
                assert_true(f->stats.left_max > 0.0f && f->stats.left_max <= 0.1f * sqrtf((float)N));
                assert_true(error_of(f) < 0.2);
            }
            terse_walk_close(&walk);
            drop(f);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(value_skip_reads_the_page_that_matters),
        cmocka_unit_test(value_skip_keeps_its_bound),
        cmocka_unit_test(value_skip_proves_nothing_from_nan),
        cmocka_unit_test(values_are_read_token_by_token),
        cmocka_unit_test(equal_tokens_are_left_out_together),
        cmocka_unit_test(shares_decide_token_by_token),
        cmocka_unit_test(strands_sift_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
