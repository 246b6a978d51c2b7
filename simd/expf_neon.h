/* simd/expf_neon.h: terse_expf on 4 lanes. */
#ifndef TERSE_SIMD_EXPF_NEON_H
#define TERSE_SIMD_EXPF_NEON_H

#include "simd/expf.h"
#include "simd/lanes_neon.h"

INLINE float32x4_t exp_neon(float32x4_t x)
{
    const float32x4_t c = vminq_f32(x, vdupq_n_f32(TERSE_EXP_HIGH)); /* NaN passes */
    const float32x4_t t = vfmaq_f32(vdupq_n_f32(TERSE_EXP_MAGIC), c, vdupq_n_f32(TERSE_EXP_LOG2E));
    const float32x4_t n = vsubq_f32(t, vdupq_n_f32(TERSE_EXP_MAGIC));
    float32x4_t r = vfmaq_f32(c, n, vdupq_n_f32(-TERSE_EXP_LN2_HI));
    r = vfmaq_f32(r, n, vdupq_n_f32(-TERSE_EXP_LN2_LO));
    float32x4_t p = vfmaq_f32(vdupq_n_f32(TERSE_EXP_C1), vdupq_n_f32(TERSE_EXP_C0), r);
    p = vfmaq_f32(vdupq_n_f32(TERSE_EXP_C2), p, r);
    p = vfmaq_f32(vdupq_n_f32(TERSE_EXP_C3), p, r);
    p = vfmaq_f32(vdupq_n_f32(TERSE_EXP_C4), p, r);
    p = vfmaq_f32(vdupq_n_f32(TERSE_EXP_C5), p, r);
    const float32x4_t y = vaddq_f32(vfmaq_f32(r, p, vmulq_f32(r, r)), vdupq_n_f32(1.0f));
    const uint32x4_t e = vaddq_u32(vreinterpretq_u32_f32(y), vshlq_n_u32(vreinterpretq_u32_f32(t), 23));
    return vreinterpretq_f32_u32(vbicq_u32(e, vcltq_f32(x, vdupq_n_f32(TERSE_EXP_LOW))));
}

#endif
