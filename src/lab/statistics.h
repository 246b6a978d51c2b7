/* lab/statistics.h: distributions of the next token, and what a sample says of the whole. All in float64. */
#ifndef TERSE_LAB_STATISTICS_H
#define TERSE_LAB_STATISTICS_H

#include "base/samples.h"

/* |x - of| / |of|; 0 if they are equal. */
double terse_relative_distance(const float *x, const float *of, int32_t n);
/* Index of the largest, the lowest of equals; -1 if one is NaN or +inf, or all are -inf. */
int32_t terse_logits_best(const float *logits, int32_t n);
/* log sum exp */
double terse_logits_log_sum(const float *logits, int32_t n);
/* KL(a || b) in nats; za, zb: their log_sum. */
double terse_logits_kl(const float *a, double za, const float *b, double zb, int32_t n);

typedef struct {
    double low, high; /* NAN: not known */
} terse_interval;
double terse_mean(const double *x, size_t n);
/* Half the width of the interval of the mean of x, of which the i-th sample is [end[i-1], end[i]): ratio
 * estimate with a t interval over the n samples (Cochran 1977, 2.11). NAN: not known. */
double terse_mean_error(const double *x, const size_t *end, int32_t n);
/* Mean of x with that interval, for values that cannot be negative. */
terse_interval terse_mean_interval(const double *x, const size_t *end, int32_t n);
/* Of correct / n (Wilson 1927). */
terse_interval terse_share_interval(double correct, int32_t n);

#endif
