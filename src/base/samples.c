/* base/samples.c: where samples lie, and which of them count. */
#include "base/samples.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void terse_sort(double *x, size_t n)
{
    qsort(x, n, sizeof *x, by_value);
}

double terse_quantile(const double *x, size_t n, double q)
{
    const double at = q * (double)(n - 1);
    const size_t i = (size_t)at;
    return i + 1 < n ? x[i] + (at - (double)i) * (x[i + 1] - x[i]) : x[i];
}

terse_spread terse_spread_of(double *x, size_t n)
{
    terse_spread s = { .n = n };
    double squares = 0.0;
    terse_sort(x, n);
    for (size_t i = 0; i < n; i++)
        s.mean += x[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (x[i] - s.mean) * (x[i] - s.mean);
    s.stddev = n > 1 ? sqrt(squares / (double)(n - 1)) : 0.0;
    s.q1 = terse_quantile(x, n, 0.25);
    s.median = terse_quantile(x, n, 0.5);
    s.q3 = terse_quantile(x, n, 0.75);
    return s;
}

/* Of a field of type double that lies at an offset in a sample. */
static double median_of(const terse_sample *s, size_t n, bool all, size_t offset, double *room)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (all || s[i].own)
            room[k++] = *(const double *)((const char *)&s[i] + offset);
    return terse_spread_of(room, k).median;
}

terse_timing terse_timing_of(const terse_sample *s, size_t n, double units, double *room)
{
    terse_timing sum = { .n = n };
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        sum.n_own += s[i].own;
    const bool all = sum.n_own == 0;
    for (size_t i = 0; i < n; i++)
        if (all || s[i].own)
            room[k++] = (double)s[i].ns;
    sum.ns = terse_spread_of(room, k);
    for (size_t i = 0; i < k; i++)
        room[i] = units * 1e9 / room[i];
    sum.rate = terse_spread_of(room, k);
    sum.cpu_share = median_of(s, n, all, offsetof(terse_sample, cpu_share), room);
    sum.core_share = median_of(s, n, all, offsetof(terse_sample, core_share), room);
    sum.read = median_of(s, n, all, offsetof(terse_sample, read), room);
    sum.fma = median_of(s, n, all, offsetof(terse_sample, fma), room);
    sum.fma_ratio = median_of(s, n, all, offsetof(terse_sample, fma_ratio), room);
    sum.int8 = median_of(s, n, all, offsetof(terse_sample, int8), room);
    return sum;
}
