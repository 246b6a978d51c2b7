/* simd/expf_avx512.h: terse_expf on 16 lanes. */
#ifndef TERSE_SIMD_EXPF_AVX512_H
#define TERSE_SIMD_EXPF_AVX512_H

#include "simd/expf.h"
#include <immintrin.h>

static inline __m512 exp_bits_avx512(__m512 c, __mmask16 keep)
{
    const __m512 t = _mm512_fmadd_ps(c, _mm512_set1_ps(TERSE_EXP_LOG2E), _mm512_set1_ps(TERSE_EXP_MAGIC));
    const __m512 n = _mm512_sub_ps(t, _mm512_set1_ps(TERSE_EXP_MAGIC));
    __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-TERSE_EXP_LN2_HI), c);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(-TERSE_EXP_LN2_LO), r);
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(TERSE_EXP_C0), r, _mm512_set1_ps(TERSE_EXP_C1));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(TERSE_EXP_C2));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(TERSE_EXP_C3));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(TERSE_EXP_C4));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(TERSE_EXP_C5));
    const __m512 y = _mm512_add_ps(_mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r), _mm512_set1_ps(1.0f));
    const __m512i n23 = _mm512_slli_epi32(_mm512_castps_si512(t), 23);
    return _mm512_castsi512_ps(_mm512_maskz_add_epi32(keep, _mm512_castps_si512(y), n23));
}

/* exp of the lanes of live that are at most 0 or NaN; 0 in the other lanes. */
static inline __m512 exp_below_0_avx512(__m512 x, __mmask16 live)
{
    return exp_bits_avx512(x, _mm512_mask_cmp_ps_mask(live, x, _mm512_set1_ps(TERSE_EXP_LOW), _CMP_NLT_UQ));
}

static inline __m512 exp_avx512(__m512 x)
{
    const __m512 c = _mm512_min_ps(_mm512_set1_ps(TERSE_EXP_HIGH), x); /* NaN in x passes */
    return exp_bits_avx512(c, _mm512_cmp_ps_mask(x, _mm512_set1_ps(TERSE_EXP_LOW), _CMP_NLT_UQ));
}

/* Sum of the 16 lanes, folded by halving. */
static inline float fold16_avx512(__m512 a)
{
    const __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

#endif
