/* simd/code.h: rounding to integer codes without library calls, so that the loops around it can be vectorized
 * on the baseline of the architecture. */
#ifndef TERSE_SIMD_CODE_H
#define TERSE_SIMD_CODE_H

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/* x held between two integers of magnitude below 2^22, to the nearest integer, half to even. NaN gives low. */
static inline int32_t terse_code(float x, float low, float high)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it leaves no bits behind the point */
    x = x > low ? x : low;
    x = x < high ? x : high;
    return (int32_t)((x + magic) - magic);
}

/* The largest magnitude of x[n]; infinite if anything in it is not finite. */
static inline float terse_largest(const float *x, int32_t n)
{
    float top = 0.0f;
    bool odd = false;
    for (int32_t i = 0; i < n; i++) {
        const float a = fabsf(x[i]);
        top = a > top ? a : top;
        odd |= !(a <= FLT_MAX);
    }
    return odd ? INFINITY : top;
}

#endif
