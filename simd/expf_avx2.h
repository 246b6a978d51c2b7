/* simd/expf_avx2.h: terse_expf on 8 lanes. */
#ifndef TERSE_SIMD_EXPF_AVX2_H
#define TERSE_SIMD_EXPF_AVX2_H

#include "simd/expf.h"
#include <immintrin.h>

static inline __m256 exp_avx2(__m256 x)
{
    const __m256 c = _mm256_min_ps(_mm256_set1_ps(TERSE_EXP_HIGH), x); /* NaN in x passes */
    const __m256 t = _mm256_fmadd_ps(c, _mm256_set1_ps(TERSE_EXP_LOG2E), _mm256_set1_ps(TERSE_EXP_MAGIC));
    const __m256 n = _mm256_sub_ps(t, _mm256_set1_ps(TERSE_EXP_MAGIC));
    __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-TERSE_EXP_LN2_HI), c);
    r = _mm256_fmadd_ps(n, _mm256_set1_ps(-TERSE_EXP_LN2_LO), r);
    __m256 p = _mm256_fmadd_ps(_mm256_set1_ps(TERSE_EXP_C0), r, _mm256_set1_ps(TERSE_EXP_C1));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(TERSE_EXP_C2));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(TERSE_EXP_C3));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(TERSE_EXP_C4));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(TERSE_EXP_C5));
    const __m256 y = _mm256_add_ps(_mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r), _mm256_set1_ps(1.0f));
    const __m256i e = _mm256_add_epi32(_mm256_castps_si256(y), _mm256_slli_epi32(_mm256_castps_si256(t), 23));
    const __m256 low = _mm256_cmp_ps(x, _mm256_set1_ps(TERSE_EXP_LOW), _CMP_LT_OQ);
    return _mm256_andnot_ps(low, _mm256_castsi256_ps(e));
}

/* Sum of the 16 virtual lanes a (0..7) and b (8..15), folded by halving. */
static inline float fold16_avx2(__m256 a, __m256 b)
{
    const __m256 s8 = _mm256_add_ps(a, b);
    const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

#endif
