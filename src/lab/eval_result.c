/* lab/eval_result.c: what was gathered about a rule, as figures. */
#include "lab/compare.h"
#include "lab/statistics.h"

#include <math.h>
#include <stdlib.h>

/* x[n] is room. */
static void divergence(terse_eval_result *out, const terse_tally *t, double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = t->token[i].kl;
    if (isnan(x[0]))
        return;
    const terse_interval mean = terse_mean_interval(x, t->end, t->n_sample);
    out->mean = terse_mean(x, n);
    out->low = mean.low;
    out->high = mean.high;
    terse_sort(x, n);
    out->p50 = terse_quantile(x, n, 0.5);
    out->p90 = terse_quantile(x, n, 0.9);
    out->p99 = terse_quantile(x, n, 0.99);
    out->p999 = terse_quantile(x, n, 0.999);
    out->max = x[n - 1];
}

/* exp of the mean of x, with its interval. */
static void exp_mean(const terse_tally *t, const double *x, size_t n, double *mean, double *low, double *high)
{
    const double m = terse_mean(x, n), error = terse_mean_error(x, t->end, t->n_sample);
    *mean = exp(m);
    *low = exp(m - error);
    *high = exp(m + error);
}

static void perplexity(terse_eval_result *out, const terse_tally *t, double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = t->token[i].nll;
    exp_mean(t, x, n, &out->ppl, &out->ppl_low, &out->ppl_high);
    for (size_t i = 0; i < n; i++)
        x[i] = t->token[i].nll_dense;
    exp_mean(t, x, n, &out->ppl_dense, &out->ppl_dense_low, &out->ppl_dense_high);
    for (size_t i = 0; i < n; i++)
        x[i] = t->token[i].nll - t->token[i].nll_dense;
    exp_mean(t, x, n, &out->ratio, &out->ratio_low, &out->ratio_high);
}

static void change(terse_eval_change *out, const terse_tally *t, double *x, size_t n)
{
    double squares = 0.0;
    for (size_t i = 0; i < n; i++) {
        x[i] = exp(-t->token[i].nll) - exp(-t->token[i].nll_dense);
        squares += x[i] * x[i];
    }
    const double error = terse_mean_error(x, t->end, t->n_sample);
    out->mean = terse_mean(x, n);
    out->low = out->mean - error;
    out->high = out->mean + error;
    out->rms = sqrt(squares / (double)n);
    terse_sort(x, n);
    out->min = x[0];
    out->p001 = terse_quantile(x, n, 0.001);
    out->p01 = terse_quantile(x, n, 0.01);
    out->p10 = terse_quantile(x, n, 0.1);
    out->p50 = terse_quantile(x, n, 0.5);
    out->p90 = terse_quantile(x, n, 0.9);
    out->p99 = terse_quantile(x, n, 0.99);
    out->p999 = terse_quantile(x, n, 0.999);
    out->max = x[n - 1];
}

/* There are at least as many tokens as samples. */
static void free_running(terse_eval_free *out, const terse_tally *t, double *x, int32_t steps)
{
    const int32_t n = t->n_sample;
    if (steps == 0)
        return;
    *out = (terse_eval_free){ .steps = steps, .n = n };
    for (int32_t i = 0; i < n; i++) {
        out->same += t->differs[i] == 0;
        x[i] = t->differs[i] == 0 ? INFINITY : (double)t->differs[i];
    }
    terse_sort(x, (size_t)n);
    out->median = (x[(n - 1) / 2] + x[n / 2]) / 2;
}

terse_status terse_eval_result_of(const terse_eval *e, int32_t rule, terse_eval_result *out, terse_error *err)
{
    static const terse_eval_change no_change = {
        NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN
    };
    const terse_tally *t = &e->tally[rule];
    const size_t n = (size_t)t->done.n;
    *out = (terse_eval_result){ .policy = t->policy,
                                .stop = t->stop,
                                .bounded = t->bounded,
                                .n_token = t->done.n,
                                .n_sample = t->n_sample,
                                .top1 = NAN,
                                .change = no_change,
                                .free.median = NAN,
                                .read = t->done.read };
    out->mean = out->low = out->high = NAN;
    out->p50 = out->p90 = out->p99 = out->p999 = out->max = NAN;
    out->ppl = out->ppl_low = out->ppl_high = NAN;
    out->ppl_dense = out->ppl_dense_low = out->ppl_dense_high = NAN;
    out->ratio = out->ratio_low = out->ratio_high = NAN;
    if (n == 0)
        return TERSE_OK;
    double *x = malloc(n * sizeof *x);
    if (!x)
        return terse_fail(err, TERSE_NOMEM, "no memory for the results of %zu tokens", n);
    out->top1 = (double)t->done.agree / (double)n;
    divergence(out, t, x, n);
    if (!isnan(t->token[0].nll)) {
        perplexity(out, t, x, n);
        change(&out->change, t, x, n);
    }
    free_running(&out->free, t, x, e->n_free);
    free(x);
    return TERSE_OK;
}
