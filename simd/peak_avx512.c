/* simd/peak_avx512.c: the loops of peak.h with 16 floats and 64 bytes at a time. */
#if !defined(__AVX512F__) || !defined(__AVX512VNNI__)
#error "compile this file with the avx512 tier's flags"
#endif

#include "simd/peak.h"

#include <immintrin.h>

enum { CHAINS = 12 }; /* two a cycle, some five cycles each */

static float fma_chains(int64_t rounds, float seed)
{
    const __m512 half = _mm512_set1_ps(0.5f), s = _mm512_set1_ps(seed);
    __m512 a[CHAINS];
    for (int i = 0; i < CHAINS; i++)
        a[i] = _mm512_set1_ps(seed + (float)i);
    for (int64_t r = 0; r < rounds; r++)
        for (int i = 0; i < CHAINS; i++)
            a[i] = _mm512_fmadd_ps(a[i], half, s);
    for (int i = 1; i < CHAINS; i++)
        a[0] = _mm512_add_ps(a[0], a[i]);
    return _mm512_cvtss_f32(a[0]);
}

static int32_t dot8_chains(int64_t rounds, int32_t seed)
{
    const __m512i s = _mm512_set1_epi32(seed);
    __m512i a[CHAINS];
    for (int i = 0; i < CHAINS; i++)
        a[i] = _mm512_set1_epi32(i);
    for (int64_t r = 0; r < rounds; r++)
        for (int i = 0; i < CHAINS; i++)
            a[i] = _mm512_dpbusd_epi32(a[i], s, s);
    for (int i = 1; i < CHAINS; i++)
        a[0] = _mm512_add_epi32(a[0], a[i]);
    return _mm_cvtsi128_si32(_mm512_castsi512_si128(a[0]));
}

void terse_peak_init_avx512(terse_peak_kernels *k)
{
    *k = (terse_peak_kernels){ "avx512", fma_chains, dot8_chains, CHAINS * 16 * 2, CHAINS * 64 * 2 };
}
