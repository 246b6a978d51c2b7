/* simd/attn_avx512.h: what the files of the avx512 tier's page attention share. */
#ifndef TERSE_SIMD_ATTN_AVX512_H
#define TERSE_SIMD_ATTN_AVX512_H

#include "simd/attn.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

/* Elements i to i + 15 of floats. */
INLINE __m512 load(terse_page_type type, const void *p, size_t i)
{
    if (type == TERSE_PAGE_F32)
        return _mm512_loadu_ps((const float *)p + i);
    const __m256i h = _mm256_loadu_si256((const __m256i *)((const uint16_t *)p + i));
    if (type == TERSE_PAGE_BF16)
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
    return _mm512_cvtph_ps(h);
}

/* What is needed next goes to the second-level cache while this page is worked on: line by line, beside the
 * loads of the same lines of this page. Without a next block a kernel touches its own once more. */
INLINE void fetch(const char *p)
{
    _mm_prefetch(p, _MM_HINT_T1);
}

INLINE const char *next_of(const void *ahead, const void *block)
{
    return ahead ? ahead : block;
}

/* Of a set of tokens that is not empty: the lowest one, and the set without it, but never empty. */
INLINE int32_t lowest(uint32_t tokens)
{
    return __builtin_ctz(tokens);
}

INLINE uint32_t without(uint32_t tokens, uint32_t some)
{
    return tokens & ~some ? tokens & ~some : tokens;
}

/* Lane 0 of every 128 bits: the results of folds of 4 rows. */
INLINE __m128 first_of_quarters(__m512 x)
{
    const __m512i at = _mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12);
    return _mm512_castps512_ps128(_mm512_permutexvar_ps(at, x));
}

/* Maxima of 4 rows of 16 lanes at once. */
INLINE __m128 max16_4(__m512 v0, __m512 v1, __m512 v2, __m512 v3)
{
    const __m512 a = _mm512_max_ps(_mm512_shuffle_f32x4(v0, v1, 0x44), _mm512_shuffle_f32x4(v0, v1, 0xee));
    const __m512 b = _mm512_max_ps(_mm512_shuffle_f32x4(v2, v3, 0x44), _mm512_shuffle_f32x4(v2, v3, 0xee));
    const __m512 c = _mm512_max_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
    const __m512 d = _mm512_max_ps(c, _mm512_permute_ps(c, 0x4e));
    return first_of_quarters(_mm512_max_ps(d, _mm512_permute_ps(d, 0xb1)));
}

/* The same of unsigned integers. */
INLINE __m128i umax16_4(__m512i v0, __m512i v1, __m512i v2, __m512i v3)
{
    const __m512i a = _mm512_max_epu32(_mm512_shuffle_i32x4(v0, v1, 0x44), _mm512_shuffle_i32x4(v0, v1, 0xee));
    const __m512i b = _mm512_max_epu32(_mm512_shuffle_i32x4(v2, v3, 0x44), _mm512_shuffle_i32x4(v2, v3, 0xee));
    const __m512i c = _mm512_max_epu32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
    const __m512i d = _mm512_max_epu32(c, _mm512_shuffle_epi32(c, 0x4e));
    const __m512i e = _mm512_max_epu32(d, _mm512_shuffle_epi32(d, 0xb1));
    return _mm_castps_si128(first_of_quarters(_mm512_castsi512_ps(e)));
}

/* Sums of integers. */
INLINE __m128i sum16_4(__m512i v0, __m512i v1, __m512i v2, __m512i v3)
{
    const __m512i a = _mm512_add_epi32(_mm512_shuffle_i32x4(v0, v1, 0x44), _mm512_shuffle_i32x4(v0, v1, 0xee));
    const __m512i b = _mm512_add_epi32(_mm512_shuffle_i32x4(v2, v3, 0x44), _mm512_shuffle_i32x4(v2, v3, 0xee));
    const __m512i c = _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
    const __m512i d = _mm512_add_epi32(c, _mm512_shuffle_epi32(c, 0x4e));
    const __m512i e = _mm512_add_epi32(d, _mm512_shuffle_epi32(d, 0xb1));
    return _mm_castps_si128(first_of_quarters(_mm512_castsi512_ps(e)));
}

#endif
