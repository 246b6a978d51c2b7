/* simd/peak_avx2.c: the loops of peak.h with 8 floats and 32 bytes at a time. */
#if !defined(__AVX2__) || !defined(__FMA__)
#error "compile this file with the avx2 tier's flags"
#endif

#include "simd/peak.h"

#include <immintrin.h>

enum {
    CHAINS = 12,     /* two a cycle, some five cycles each */
    DOT8_CHAINS = 8, /* three cycles each; of 12 gcc keeps some in memory */
};

static float fma_chains(int64_t rounds, float seed)
{
    const __m256 half = _mm256_set1_ps(0.5f), s = _mm256_set1_ps(seed);
    __m256 a[CHAINS];
    float out[8];
    for (int i = 0; i < CHAINS; i++)
        a[i] = _mm256_set1_ps(seed + (float)i);
    for (int64_t r = 0; r < rounds; r++)
        for (int i = 0; i < CHAINS; i++)
            a[i] = _mm256_fmadd_ps(a[i], half, s);
    for (int i = 1; i < CHAINS; i++)
        a[0] = _mm256_add_ps(a[0], a[i]);
    _mm256_storeu_ps(out, a[0]);
    return out[0];
}

/* Each product is a factor of the next: what does not change in the loop would be multiplied once. */
static int32_t dot8_chains(int64_t rounds, int32_t seed)
{
    const __m256i s = _mm256_set1_epi8((char)(seed & 0x7f));
    __m256i a[DOT8_CHAINS];
    for (int i = 0; i < DOT8_CHAINS; i++)
        a[i] = _mm256_set1_epi32(seed + i);
    for (int64_t r = 0; r < rounds; r++)
        for (int i = 0; i < DOT8_CHAINS; i++)
            a[i] = _mm256_maddubs_epi16(a[i], s);
    for (int i = 1; i < DOT8_CHAINS; i++)
        a[0] = _mm256_add_epi32(a[0], a[i]);
    return _mm256_extract_epi32(a[0], 0);
}

void terse_peak_init_avx2(terse_peak_kernels *k)
{
    *k = (terse_peak_kernels){ "avx2", fma_chains, dot8_chains, CHAINS * 8 * 2, DOT8_CHAINS * 32 * 2 };
}
