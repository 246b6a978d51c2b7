/* tests/quantize.h: rows of floats to GGUF blocks by rounding to nearest, for made models. No search for better
 * scales: the blocks are valid, the error is what the format allows. The same bits on every machine. */
#ifndef TERSE_TESTS_QUANTIZE_H
#define TERSE_TESTS_QUANTIZE_H

#include "terse/gguf.h"

/* F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q5_K, Q6_K. */
bool quantize_can(terse_type type);
/* row = x[n] as terse_type_row_size(type, n) bytes; n is a whole number of blocks, the values are finite. */
void quantize_row(terse_type type, void *row, const float *x, int64_t n);

#endif
