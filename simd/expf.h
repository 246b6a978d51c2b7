/* simd/expf.h: one exp for all tiers. x = n ln2 + r, a polynomial of degree 6 in r (Cephes expf), 2^n added to
 * the exponent bits. Below -86.5 it gives 0, above 88.3 it gives exp(88.3); NaN stays NaN. Largest error 1.1
 * ulp. The vector forms do the same operations in the same order, so all tiers give the same bits. */
#ifndef TERSE_SIMD_EXPF_H
#define TERSE_SIMD_EXPF_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define TERSE_EXP_LOW    -86.5f
#define TERSE_EXP_HIGH   88.3f
#define TERSE_EXP_LOG2E  1.44269504088896341f
#define TERSE_EXP_MAGIC  12582912.0f /* 1.5 * 2^23: adding it leaves the nearest integer in the low bits */
#define TERSE_EXP_LN2_HI 0.693359375f
#define TERSE_EXP_LN2_LO -2.12194440e-4f
#define TERSE_EXP_C0     1.9875691500e-4f
#define TERSE_EXP_C1     1.3981999507e-3f
#define TERSE_EXP_C2     8.3334519073e-3f
#define TERSE_EXP_C3     4.1665795894e-2f
#define TERSE_EXP_C4     1.6666665459e-1f
#define TERSE_EXP_C5     5.0000001201e-1f

static inline float terse_expf(float x)
{
    const float c = TERSE_EXP_HIGH < x ? TERSE_EXP_HIGH : x;
    const float t = fmaf(c, TERSE_EXP_LOG2E, TERSE_EXP_MAGIC);
    const float n = t - TERSE_EXP_MAGIC;
    const float r = fmaf(n, -TERSE_EXP_LN2_LO, fmaf(n, -TERSE_EXP_LN2_HI, c));
    float p = fmaf(TERSE_EXP_C0, r, TERSE_EXP_C1);
    p = fmaf(p, r, TERSE_EXP_C2);
    p = fmaf(p, r, TERSE_EXP_C3);
    p = fmaf(p, r, TERSE_EXP_C4);
    p = fmaf(p, r, TERSE_EXP_C5);
    const float y = fmaf(p, r * r, r) + 1.0f;
    uint32_t ty, yy;
    memcpy(&ty, &t, 4);
    memcpy(&yy, &y, 4);
    yy += ty << 23; /* the low bits of t are n */
    float e;
    memcpy(&e, &yy, 4);
    return x < TERSE_EXP_LOW ? 0.0f : e;
}

#endif
