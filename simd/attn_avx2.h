/* simd/attn_avx2.h: what the files of the avx2 tier's page attention share. */
#ifndef TERSE_SIMD_ATTN_AVX2_H
#define TERSE_SIMD_ATTN_AVX2_H

#include "simd/attn.h"
#include "simd/expf_avx2.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

/* Elements i to i + 7 of floats. */
INLINE __m256 load(terse_page_type type, const void *p, size_t i)
{
    if (type == TERSE_PAGE_F32)
        return _mm256_loadu_ps((const float *)p + i);
    const __m128i h = _mm_loadu_si128((const __m128i *)((const uint16_t *)p + i));
    if (type == TERSE_PAGE_BF16)
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
    return _mm256_cvtph_ps(h);
}

/* Sends the next block on its way to the second-level cache. */
INLINE void fetch(const char *p, terse_page_type type, int32_t dim)
{
    for (size_t i = 0; p && i < terse_page_block_size(type, dim); i += 64)
        _mm_prefetch(p + i, _MM_HINT_T1);
}

/* All ones in the lanes of tokens t to t + 7 that are below n. */
INLINE __m256 live(int32_t n, int32_t t)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(n - t), lane));
}

/* Sends tokens of the next block of values there. */
INLINE void fetch_tokens(const char *p, terse_page_type type, int32_t dim, uint32_t tokens)
{
    if (p)
        terse_tokens_fetch(type, p, dim, tokens);
}

/* All ones in the lanes of tokens t to t + 7 that are in the set. */
INLINE __m256 within(uint32_t tokens, int32_t t)
{
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i some = _mm256_and_si256(_mm256_set1_epi32((int32_t)(tokens >> t)), bit);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(some, bit));
}

/* s[row] += mean[row] - their mean */
INLINE void shift(float *s, const float *mean, int32_t n_row)
{
    for (int32_t r = 0; mean && r < n_row; r++, s += TERSE_PAGE) {
        __m256 x[4];
        for (int j = 0; j < 4; j++)
            x[j] = _mm256_loadu_ps(s + 8 * j);
        const float sum = fold16_avx2(_mm256_add_ps(x[0], x[2]), _mm256_add_ps(x[1], x[3]));
        const __m256 by = _mm256_set1_ps(mean[r] - sum * (1.0f / TERSE_PAGE));
        for (int j = 0; j < 4; j++)
            _mm256_storeu_ps(s + 8 * j, _mm256_add_ps(x[j], by));
    }
}

INLINE float max8(__m256 x)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

#endif
