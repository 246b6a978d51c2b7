/* base/samples.h: order statistics. */
#ifndef TERSE_BASE_SAMPLES_H
#define TERSE_BASE_SAMPLES_H

#include "terse/probe.h"

/* Sorts x[n]. */
void terse_sort(double *x, size_t n);
/* Of sorted x[n], n >= 1, between the neighbours in proportion. */
double terse_quantile(const double *x, size_t n, double q);

#endif
