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

/* Sums of 4 rows of 16 lanes at once: the same halving as fold16_avx512, the rows side by side. */
INLINE __m128 fold16_4(__m512 v0, __m512 v1, __m512 v2, __m512 v3)
{
    const __m512 a = _mm512_add_ps(_mm512_shuffle_f32x4(v0, v1, 0x44), _mm512_shuffle_f32x4(v0, v1, 0xee));
    const __m512 b = _mm512_add_ps(_mm512_shuffle_f32x4(v2, v3, 0x44), _mm512_shuffle_f32x4(v2, v3, 0xee));
    const __m512 c = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
    const __m512 d = _mm512_add_ps(c, _mm512_permute_ps(c, 0x4e));
    return first_of_quarters(_mm512_add_ps(d, _mm512_permute_ps(d, 0xb1)));
}

/* s[row] += mean[row] - their mean; four rows together have one chain of latencies. */
INLINE void shift(float *s, const float *mean, int32_t n_row)
{
    while (mean && n_row > 0) {
        const int32_t n = n_row >= 4 ? 4 : 1;
        float by[4];
        __m512 sum[4];
        for (int32_t r = 0; r < 4; r++) {
            const float *x = s + (r < n ? r : 0) * TERSE_PAGE;
            sum[r] = _mm512_add_ps(_mm512_loadu_ps(x), _mm512_loadu_ps(x + 16));
        }
        const __m128 all = fold16_4(sum[0], sum[1], sum[2], sum[3]);
        const __m128 middle = _mm_mul_ps(all, _mm_set1_ps(1.0f / TERSE_PAGE));
        _mm_storeu_ps(by, _mm_sub_ps(n == 4 ? _mm_loadu_ps(mean) : _mm_load_ss(mean), middle));
        for (int32_t r = 0; r < n; r++, s += TERSE_PAGE)
            for (int32_t t = 0; t < TERSE_PAGE; t += 16)
                _mm512_storeu_ps(s + t, _mm512_add_ps(_mm512_loadu_ps(s + t), _mm512_set1_ps(by[r])));
        mean += n;
        n_row -= n;
    }
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
