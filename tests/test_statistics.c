/* Statistics with answers known by hand. */
#include "lab/statistics.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void near(double got, double want, double eps)
{
    if (!(fabs(got - want) <= eps))
        fail_msg("%.9g is not %.9g", got, want);
}

static void divergence_is_what_the_formula_says(void **state)
{
    (void)state;
    const float even[] = { 3.0f, 3.0f }, odd[] = { logf(1.0f), logf(3.0f) }, none[] = { 0.0f, -INFINITY };
    const double ze = terse_logits_log_sum(even, 2), zo = terse_logits_log_sum(odd, 2);
    const double zn = terse_logits_log_sum(none, 2);
    near(ze, 3.0 + log(2.0), 1e-12);
    near(zo, log(4.0), 1e-7);
    near(terse_logits_kl(even, ze, odd, zo, 2), 0.5 * log(2.0) + 0.5 * log(2.0 / 3.0), 1e-7);
    near(terse_logits_kl(odd, zo, even, ze, 2), 0.25 * log(0.5) + 0.75 * log(1.5), 1e-7);
    assert_true(terse_logits_kl(odd, zo, odd, zo, 2) == 0.0);
    near(terse_logits_kl(none, zn, even, ze, 2), log(2.0), 1e-12);
    assert_true(terse_logits_kl(even, ze, none, zn, 2) == INFINITY);
}

static void best_refuses_what_is_no_number(void **state)
{
    (void)state;
    assert_int_equal(terse_logits_best((const float[]){ -1.0f, 2.0f, 2.0f, 0.0f }, 4), 1);
    assert_int_equal(terse_logits_best((const float[]){ -INFINITY, -9e30f }, 2), 1);
    assert_int_equal(terse_logits_best((const float[]){ 1.0f, NAN }, 2), -1);
    assert_int_equal(terse_logits_best((const float[]){ 1.0f, INFINITY }, 2), -1);
    assert_int_equal(terse_logits_best((const float[]){ -INFINITY, -INFINITY }, 2), -1);
}

static void quantiles_lie_between_neighbours(void **state)
{
    (void)state;
    double x[] = { 4.0, 1.0, 3.0, 2.0, 5.0 };
    terse_sort(x, 5);
    near(terse_quantile(x, 5, 0.0), 1.0, 0.0);
    near(terse_quantile(x, 5, 0.5), 3.0, 0.0);
    near(terse_quantile(x, 5, 0.9), 4.6, 1e-12);
    near(terse_quantile(x, 5, 1.0), 5.0, 0.0);
    near(terse_quantile(x, 1, 0.99), 1.0, 0.0);
}

/* Samples of one value each: the textbook's t interval. Values that lie in one sample do not count as several.
 */
static void intervals_are_the_textbooks(void **state)
{
    (void)state;
    static const struct {
        int32_t n;
        double t;
    } known[] = { { 2, 12.7062 }, { 4, 3.1824 }, { 6, 2.5706 }, { 11, 2.2281 }, { 31, 2.0423 } };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        double x[31], mean = 0.0, squares = 0.0;
        size_t end[31];
        const int32_t n = known[i].n;
        for (int32_t j = 0; j < n; j++) {
            x[j] = 1000.0 + j % 5;
            end[j] = (size_t)j + 1;
            mean += x[j] / n;
        }
        for (int32_t j = 0; j < n; j++)
            squares += (x[j] - mean) * (x[j] - mean);
        const double half = known[i].t * sqrt(squares / (n - 1) / n);
        const terse_interval got = terse_mean_interval(x, end, n);
        near(got.low, mean - half, half * 2e-3);
        near(got.high, mean + half, half * 2e-3);
    }
    const double x[] = { 1.0, 3.0, 5.0, 7.0 };
    const terse_interval two = terse_mean_interval(x, (const size_t[]){ 2, 4 }, 2);
    near(two.high, 4.0 + 12.7062 * 2.0, 1e-3); /* samples of mean 2 and 6 */
    near(two.low, 0.0, 0.0);
    assert_true(isnan(terse_mean_interval(x, (const size_t[]){ 4 }, 1).low));
    const terse_interval share = terse_share_interval(8.0, 10);
    near(share.low, 0.4902, 1e-4);
    near(share.high, 0.9433, 1e-4);
    near(terse_share_interval(0.0, 5).low, 0.0, 0.0);
    near(terse_share_interval(5.0, 5).high, 1.0, 0.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(divergence_is_what_the_formula_says),
        cmocka_unit_test(best_refuses_what_is_no_number),
        cmocka_unit_test(quantiles_lie_between_neighbours),
        cmocka_unit_test(intervals_are_the_textbooks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
