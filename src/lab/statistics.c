/* lab/statistics.c: see the header. */
#include "lab/statistics.h"

#include <math.h>
#include <stdlib.h>

static const double z95 = 1.959963984540054; /* 97.5 % quantile of the normal distribution */

int32_t terse_logits_best(const float *logits, int32_t n)
{
    int32_t best = -1;
    for (int32_t i = 0; i < n; i++) {
        if (isnan(logits[i]) || logits[i] == INFINITY)
            return -1;
        if (logits[i] > (best < 0 ? -INFINITY : logits[best]))
            best = i;
    }
    return best;
}

double terse_logits_log_sum(const float *logits, int32_t n)
{
    double max = -INFINITY, sum = 0.0;
    for (int32_t i = 0; i < n; i++)
        max = (double)logits[i] > max ? (double)logits[i] : max;
    for (int32_t i = 0; i < n; i++)
        sum += exp((double)logits[i] - max);
    return max + log(sum);
}

double terse_logits_kl(const float *a, double za, const float *b, double zb, int32_t n)
{
    double kl = 0.0;
    for (int32_t i = 0; i < n; i++) {
        const double la = (double)a[i] - za;
        if (la > -INFINITY)
            kl += exp(la) * (la - ((double)b[i] - zb));
    }
    return kl > 0.0 ? kl : 0.0; /* rounding */
}

/* 97.5 % quantile of Student's t: a table where the expansion (Abramowitz and Stegun 26.7.5) is off by more
 * than 0.2 %. */
static double student(int32_t df)
{
    static const double table[] = { 12.7062, 4.3027, 3.1824, 2.7764 };
    if (df <= 4)
        return table[df - 1];
    const double z = z95, z2 = z * z, n = df;
    const double g1 = z * (z2 + 1) / 4, g2 = z * (z2 * (5 * z2 + 16) + 3) / 96;
    const double g3 = z * (z2 * (z2 * (3 * z2 + 19) + 17) - 15) / 384;
    return z + (g1 + (g2 + g3 / n) / n) / n;
}

double terse_mean(const double *x, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return sum / (double)n;
}

double terse_mean_error(const double *x, const size_t *end, int32_t n)
{
    if (n < 2 || end[n - 1] == 0)
        return NAN;
    const double total = (double)end[n - 1], mean = terse_mean(x, end[n - 1]);
    double squares = 0.0;
    for (int32_t s = 0; s < n; s++) {
        const size_t from = s > 0 ? end[s - 1] : 0;
        double off = 0.0;
        for (size_t i = from; i < end[s]; i++)
            off += x[i] - mean;
        squares += off * off;
    }
    return student(n - 1) * sqrt(squares * n / (n - 1)) / total;
}

terse_interval terse_mean_interval(const double *x, const size_t *end, int32_t n)
{
    const double half = terse_mean_error(x, end, n);
    if (isnan(half))
        return (terse_interval){ NAN, NAN };
    const double mean = terse_mean(x, end[n - 1]);
    return (terse_interval){ mean > half ? mean - half : 0.0, mean + half };
}

terse_interval terse_share_interval(double correct, int32_t n)
{
    if (n < 1)
        return (terse_interval){ NAN, NAN };
    const double p = correct / n, zz = z95 * z95 / n;
    const double middle = (p + zz / 2) / (1 + zz);
    const double half = z95 / (1 + zz) * sqrt(p * (1 - p) / n + zz / (4 * n));
    return (terse_interval){ middle > half ? middle - half : 0.0, middle + half < 1 ? middle + half : 1.0 };
}

double terse_relative_distance(const float *x, const float *of, int32_t n)
{
    double off = 0.0, all = 0.0;
    for (int32_t d = 0; d < n; d++) {
        off += ((double)x[d] - (double)of[d]) * ((double)x[d] - (double)of[d]);
        all += (double)of[d] * (double)of[d];
    }
    return off > 0.0 ? sqrt(off / all) : 0.0;
}
