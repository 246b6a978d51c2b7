/* simd/dot_grids_avx2.h: what dot_grids_avx2.c and dot_grids_avx512.c share: words one by one, signs and scales
 * of the types whose codes are words of a grid, and the list of these types. Static helpers only. */
#ifndef TERSE_SIMD_DOT_GRIDS_AVX2_H
#define TERSE_SIMD_DOT_GRIDS_AVX2_H

#include "simd/dot_paths_avx2.h"

/* ---- words ---- */

INLINE __m128i eight_words(const uint16_t *grid, const uint16_t at[8])
{
    __m128i x = _mm_cvtsi32_si128(grid[at[0]]);
    x = _mm_insert_epi16(x, grid[at[1]], 1);
    x = _mm_insert_epi16(x, grid[at[2]], 2);
    x = _mm_insert_epi16(x, grid[at[3]], 3);
    x = _mm_insert_epi16(x, grid[at[4]], 4);
    x = _mm_insert_epi16(x, grid[at[5]], 5);
    x = _mm_insert_epi16(x, grid[at[6]], 6);
    return _mm_insert_epi16(x, grid[at[7]], 7);
}

INLINE __m256i sixteen_words(const uint16_t *grid, const uint16_t low[8], const uint16_t high[8])
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(eight_words(grid, low)), eight_words(grid, high), 1);
}

/* Two words of 8 codes, as bytes, in each lane. */
INLINE __m256i four_eights(const uint64_t *grid, const uint16_t low[2], const uint16_t high[2])
{
    const __m128i a = _mm_set_epi64x((long long)grid[low[1]], (long long)grid[low[0]]);
    const __m128i b = _mm_set_epi64x((long long)grid[high[1]], (long long)grid[high[0]]);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1);
}

/* ---- signs: a bit per value, as in step_codes ---- */

/* Bit 7 of the bytes is set so that their number of bits is even. */
INLINE __m256i completed_signs(__m256i v)
{
    const __m256i odd = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, -128, -128, 0, -128, 0, 0, -128, -128, 0, 0, -128, 0, -128, -128, 0));
    const __m256i low = _mm256_set1_epi8(15);
    const __m256i a = _mm256_shuffle_epi8(odd, _mm256_and_si256(v, low));
    const __m256i b = _mm256_shuffle_epi8(odd, _mm256_and_si256(_mm256_srli_epi16(v, 4), low));
    return _mm256_xor_si256(v, _mm256_xor_si256(a, b));
}

/* Four times seven bits of each dword; the eighth makes the number of bits even. */
INLINE __m256i even_signs(__m256i v)
{
    __m256i s = _mm256_and_si256(v, _mm256_set1_epi32(0x7f));
    s = _mm256_or_si256(s, _mm256_and_si256(_mm256_slli_epi32(v, 1), _mm256_set1_epi32(0x7f00)));
    s = _mm256_or_si256(s, _mm256_and_si256(_mm256_slli_epi32(v, 2), _mm256_set1_epi32(0x7f0000)));
    s = _mm256_or_si256(s, _mm256_and_si256(_mm256_slli_epi32(v, 3), _mm256_set1_epi32(0x7f000000)));
    return completed_signs(s);
}

/* ---- scales ---- */

/* d (2 n + 1) for the low four bits n of each dword. */
INLINE void odd_scales(step_scales *s, float d, __m256i v)
{
    const __m256i n = _mm256_and_si256(v, _mm256_set1_epi32(15));
    const __m256i sub = _mm256_add_epi32(_mm256_add_epi32(n, n), _mm256_set1_epi32(1));
    _mm256_storeu_ps(s->d, _mm256_mul_ps(_mm256_set1_ps(d), _mm256_cvtepi32_ps(sub)));
}

/* One d, and 2 n + 1 for the 16 nibbles n. */
INLINE void odd_sub_scales(step_scales *s, float d, const uint8_t nibble[8])
{
    const __m128i v = _mm_loadl_epi64((const void *)nibble);
    const __m128i n = _mm_and_si128(_mm_unpacklo_epi8(v, _mm_srli_epi16(v, 4)), _mm_set1_epi8(15));
    _mm256_storeu_ps(s->d, _mm256_set1_ps(d));
    _mm_storeu_si128((void *)s->sub, _mm_add_epi8(_mm_add_epi8(n, n), _mm_set1_epi8(1)));
}

/* As scales_iq1_m: 2 n + 1 for the 3 bits n of 16 values, four in a word, and d from the tops of the words. */
INLINE void iq1_m_scales(step_scales *s, const block_iq1_m *w)
{
    uint64_t v;
    memcpy(&v, w->scales, sizeof v);
    const uint64_t d = (v >> 12 & 0xf) | (v >> 24 & 0xf0) | (v >> 36 & 0xf00) | (v >> 48 & 0xf000);
    const __m256i pick = _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0908090809080908, 0x0100010001000100));
    const __m256i four = _mm256_shuffle_epi8(_mm256_cvtepu16_epi64(_mm_cvtsi64_si128((long long)v)), pick);
    const __m256i bits = _mm256_mullo_epi16(four, _mm256_set1_epi64x(0x0001000800400200)); /* n to bit 9 */
    const __m256i twice = _mm256_and_si256(_mm256_srli_epi16(bits, 8), _mm256_set1_epi16(14));
    const __m256i sub = _mm256_add_epi16(twice, _mm256_set1_epi16(1));
    _mm256_storeu_ps(s->d, _mm256_set1_ps(half((uint16_t)d) * 0.125f));
    _mm_storeu_si128((void *)s->sub,
                     _mm_packs_epi16(_mm256_castsi256_si128(sub), _mm256_extracti128_si256(sub, 1)));
}

/* ---- the types ---- */

/* X(name, type) */
#define GRID_TYPES(X)                                                                                          \
    X(iq2_xxs, TERSE_DOT_IQ2_XXS)                                                                              \
    X(iq2_xs, TERSE_DOT_IQ2_XS)                                                                                \
    X(iq2_s, TERSE_DOT_IQ2_S)                                                                                  \
    X(iq3_xxs, TERSE_DOT_IQ3_XXS)                                                                              \
    X(iq3_s, TERSE_DOT_IQ3_S)                                                                                  \
    X(iq1_s, TERSE_DOT_IQ1_S)                                                                                  \
    X(iq1_m, TERSE_DOT_IQ1_M)                                                                                  \
    X(tq1_0, TERSE_DOT_TQ1_0)

/* What a tier's file has under these names becomes its table of unpack_rows_fn. */
#define UNPACK_ROWS(name, type)                                                                                \
    static void rows_##name(codes *c, step_scales *s, const uint8_t *const *row, size_t at, int n)             \
    {                                                                                                          \
        for (int r = 0; r < n; r++)                                                                            \
            name(&c[r], &s[r], row[r] + at);                                                                   \
    }
#define UNPACK_ENTRY(name, type) [type] = rows_##name,

#endif
