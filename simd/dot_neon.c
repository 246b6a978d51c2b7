/* simd/dot_neon.c: dot products with products of 8 bytes. */
#include "simd/dot_neon.h"

void terse_dot_init_neon(terse_dot_kernels *k)
{
    *k = (terse_dot_kernels){ .tier = "neon", .quantize = terse_quantize_neon, .rows = rows };
}
