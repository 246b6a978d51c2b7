/* bench/samples.h: what the benchmarks share: quartiles of samples, lists on the command line. */
#ifndef TERSE_BENCH_SAMPLES_H
#define TERSE_BENCH_SAMPLES_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct {
    double q1, median, q3;
} quartiles;

static inline int samples_order(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of sorted x[n], between the neighbours in proportion. */
static inline double samples_quantile(const double *x, size_t n, double q)
{
    const double at = q * (double)(n - 1);
    const size_t i = (size_t)at;
    return i + 1 < n ? x[i] + (at - (double)i) * (x[i + 1] - x[i]) : x[i];
}

/* Sorts x[n]. */
static inline quartiles samples_quartiles(double *x, size_t n)
{
    qsort(x, n, sizeof *x, samples_order);
    return (quartiles){ samples_quantile(x, n, 0.25), samples_quantile(x, n, 0.5),
                        samples_quantile(x, n, 0.75) };
}

enum { SAMPLES_LIST = 16 };
typedef struct {
    int32_t v[SAMPLES_LIST], n;
} int_list;

/* "1,2,4", each from min to max; false if it is anything else. */
static inline bool samples_list(int_list *l, const char *text, long min, long max)
{
    l->n = 0;
    for (char *end;; text = end + 1) {
        errno = 0;
        const long x = strtol(text, &end, 10);
        if (end == text || errno || x < min || x > max || l->n == SAMPLES_LIST || (*end && *end != ','))
            return false;
        l->v[l->n++] = (int32_t)x;
        if (!*end)
            return true;
    }
}

#endif
