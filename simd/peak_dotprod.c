/* simd/peak_dotprod.c: the loop of byte products with dot products of 4 bytes. */
#ifndef __ARM_FEATURE_DOTPROD
#error "compile this file with the dotprod tier's flags"
#endif

#include "simd/peak_neon.h"

void terse_peak_init_dotprod(terse_peak_kernels *k)
{
    k->tier = "dotprod";
    fill_dot8(k);
}
