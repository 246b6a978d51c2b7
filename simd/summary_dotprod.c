/* simd/summary_dotprod.c: page summaries with dot products of 4 bytes. */
#ifndef __ARM_FEATURE_DOTPROD
#error "compile this file with the dotprod tier's flags"
#endif

#include "simd/summary_neon.h"

void terse_summary_init_dotprod(terse_summary_kernels *k)
{
    fill_summary(k);
}
