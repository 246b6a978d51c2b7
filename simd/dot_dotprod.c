/* simd/dot_dotprod.c: dot products with dot products of 4 bytes. */
#ifndef __ARM_FEATURE_DOTPROD
#error "compile this file with the dotprod tier's flags"
#endif

#include "simd/dot_neon.h"

void terse_dot_rows_dotprod(terse_dot_type type, float *y, size_t y_stride, const void *w, size_t row_size,
                            int32_t n_row, const terse_acts *x)
{
    rows(type, y, y_stride, w, row_size, n_row, x);
}

void terse_dot_init_dotprod(terse_dot_kernels *k)
{
    *k = (terse_dot_kernels){ .tier = "dotprod",
                              .quantize = terse_quantize_neon,
                              .rows = terse_dot_rows_dotprod };
}
