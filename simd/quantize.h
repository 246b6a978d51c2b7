/* simd/quantize.h: rows of floats to the blocks of a GGUF file, the inverse of terse_dequant_row. Portable, the
 * same bits on every machine. */
#ifndef TERSE_SIMD_QUANTIZE_H
#define TERSE_SIMD_QUANTIZE_H

#include "simd/dot.h"

#include <stdbool.h>

/* Whether there is an encoder: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K. */
bool terse_quantize_can(terse_dot_type type);
/* row = x[n]: finite values, a whole number of blocks. Codes are the nearest ones under the block's scales.
 * Those span the range of the values, or, with search, are looked for where the sum of squared errors is least
 * (all but Q8_0: some thirty times the work). */
void terse_quantize_row(terse_dot_type type, void *row, const float *x, int64_t n, bool search);

#endif
