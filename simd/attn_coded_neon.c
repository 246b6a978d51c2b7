/* simd/attn_coded_neon.c: page attention over q8 and q4 with products of 8 bytes. */
#include "simd/attn_coded_neon.h"

void terse_attn_coded_neon(terse_attn_kernels *k)
{
    fill_coded(k);
}
