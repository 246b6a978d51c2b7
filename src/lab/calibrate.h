/* lab/calibrate.h: the choice of one head's scale. */
#ifndef TERSE_LAB_CALIBRATE_H
#define TERSE_LAB_CALIBRATE_H

#include "terse/calibrate.h"

/* The largest scale at which error <= target, on straight lines between the points (logarithms on both axes),
 * whose ends are prolonged; within 1/8 .. 8. scale[n] rises; n >= 2, target > 0. */
double terse_calibrate_scale(const double *scale, const double *error, int32_t n, double target);

#endif
