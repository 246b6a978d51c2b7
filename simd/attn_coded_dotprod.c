/* simd/attn_coded_dotprod.c: page attention over q8 and q4 with dot products of 4 bytes. */
#ifndef __ARM_FEATURE_DOTPROD
#error "compile this file with the dotprod tier's flags"
#endif

#include "simd/attn_coded_neon.h"

void terse_attn_coded_dotprod(terse_attn_kernels *k)
{
    fill_coded(k);
}
