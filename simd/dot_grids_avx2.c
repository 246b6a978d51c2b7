/* simd/dot_grids_avx2.c: steps of the types whose codes are words of a grid (IQ1, IQ2, IQ3) or ternary digits
 * (TQ1_0). As dot_unpack.h has them, 256 values at once, in the order of `codes` (dot_avx2.h): the indices of
 * all words first, then the words, one by one, then their codes. */
#include "simd/dot_grids_avx2.h"
#include "simd/dot_avx2.h"

/* ---- codes of words ---- */

/* 32 words of 8 codes, indices in the order of the values: map[code] + offset. */
INLINE void eights(codes *c, const int8_t map[16], int offset, const uint64_t *grid, __m256i first,
                   __m256i last)
{
    const __m128i low = _mm_add_epi8(_mm_loadu_si128((const void *)map), _mm_set1_epi8((char)offset));
    const __m256i table = _mm256_broadcastsi128_si256(low);
    _Alignas(32) uint16_t at[32];
    _mm256_store_si256((void *)at, first);
    _mm256_store_si256((void *)(at + 16), last);
    for (int j = 0; j < 8; j++)
        c->q[j] = _mm256_shuffle_epi8(table, four_eights(grid, at + 2 * j, at + 16 + 2 * j));
}

/* Two codes of 3 bits at the bottom of words, as bytes. */
INLINE __m256i two_codes(__m256i words)
{
    return _mm256_or_si256(_mm256_and_si256(words, _mm256_set1_epi16(0x0007)),
                           _mm256_and_si256(_mm256_slli_epi16(words, 5), _mm256_set1_epi16(0x0700)));
}

/* 64 words of 4 codes: map[code]. idx[i]: of blocks 2i and 2i + 1. */
INLINE void fours(codes *c, const int8_t map[16], const uint16_t *grid, const __m256i idx[4])
{
    const __m256i table = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)map));
    _Alignas(32) uint16_t at[64];
    for (int i = 0; i < 4; i++)
        _mm256_store_si256((void *)(at + 16 * i), idx[i]);
    for (int b = 0; b < 4; b++) {
        const __m256i words = sixteen_words(grid, at + 8 * b, at + 32 + 8 * b);
        const __m256i low = two_codes(words), high = two_codes(_mm256_srli_epi16(words, 6));
        c->q[2 * b] = _mm256_shuffle_epi8(table, _mm256_unpacklo_epi16(low, high));
        c->q[2 * b + 1] = _mm256_shuffle_epi8(table, _mm256_unpackhi_epi16(low, high));
    }
}

/* ---- signs and shifts: a byte for each 8 values ---- */

/* The bytes of the values of q[j], each 8 times. */
INLINE __m256i eight_each(__m256i bytes, int j)
{
    const long long one = 0x0101010101010101;
    const __m128i pick = _mm_set_epi64x(one * (2 * j + 1), one * (2 * j));
    return _mm256_shuffle_epi8(bytes, _mm256_broadcastsi128_si256(pick));
}

/* Values change their signs where bits are set; then offset is added. */
INLINE void negate(codes *c, __m256i signs, int offset)
{
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201), one = _mm256_set1_epi8(1);
    for (int j = 0; j < 8; j++) {
        const __m256i minus = _mm256_cmpeq_epi8(_mm256_and_si256(eight_each(signs, j), bit), bit);
        const __m256i v = _mm256_sign_epi8(c->q[j], _mm256_or_si256(minus, one));
        c->q[j] = offset ? _mm256_add_epi8(v, _mm256_set1_epi8((char)offset)) : v;
    }
}

/* IQ1: values are two eighths lower where a byte of down is 2 and not 0. */
INLINE void lower(codes *c, __m256i down)
{
    for (int j = 0; j < 8; j++)
        c->q[j] = _mm256_sub_epi8(c->q[j], eight_each(down, j));
}

/* ---- pieces ---- */

/* 16 bytes as words. */
INLINE __m256i widened(const uint8_t *p)
{
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)p));
}

/* Low bytes of words, in order. */
INLINE __m256i low_bytes(__m256i first, __m256i last)
{
    return _mm256_permute4x64_epi64(_mm256_packus_epi16(first, last), 0xd8);
}

/* ---- types ---- */

INLINE void iq2_xxs(codes *c, step_scales *s, const uint8_t *w)
{
    const block_iq2_xxs *k = (const void *)w;
    const __m256 a = _mm256_loadu_ps((const void *)k->q), b = _mm256_loadu_ps((const void *)(k->q + 32));
    const __m256i even = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88)),
                  odd = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xdd));
    const __m256i idx = _mm256_permute4x64_epi64(even, 0xd8), top = _mm256_permute4x64_epi64(odd, 0xd8);
    eights(c, iq2_values, 0, terse_codes_iq2_xxs, _mm256_cvtepu8_epi16(_mm256_castsi256_si128(idx)),
           _mm256_cvtepu8_epi16(_mm256_extracti128_si256(idx, 1)));
    negate(c, even_signs(top), 0);
    odd_scales(s, half(k->d) * 0.125f, _mm256_srli_epi32(top, 28));
}

INLINE void iq2_xs(codes *c, step_scales *s, const uint8_t *w)
{
    const block_iq2_xs *k = (const void *)w;
    const __m256i a = _mm256_loadu_si256((const void *)k->q), b = _mm256_loadu_si256((const void *)(k->q + 16));
    const __m256i idx = _mm256_set1_epi16(511);
    eights(c, iq2_values, 0, terse_codes_iq2_xs, _mm256_and_si256(a, idx), _mm256_and_si256(b, idx));
    negate(c, completed_signs(low_bytes(_mm256_srli_epi16(a, 9), _mm256_srli_epi16(b, 9))),
           offset_of(UNPACKED_SUB));
    odd_sub_scales(s, half(k->d) * 0.125f, k->scales);
}

INLINE void iq2_s(codes *c, step_scales *s, const uint8_t *w)
{
    const block_iq2_s *k = (const void *)w;
    const __m256i qh = _mm256_broadcastsi128_si256(_mm_loadl_epi64((const void *)k->qh));
    const __m256i left = _mm256_set1_epi64x(0x0004001000400100); /* two bits each to bit 8 */
    const __m256i pick = _mm256_set_epi64x((long long)0x8003800380038003, (long long)0x8002800280028002,
                                           (long long)0x8001800180018001, (long long)0x8000800080008000);
    __m256i idx[2];
    for (short i = 0; i < 2; i++) {
        const __m256i of_block = _mm256_shuffle_epi8(qh, _mm256_add_epi16(pick, _mm256_set1_epi16(4 * i)));
        const __m256i high = _mm256_and_si256(_mm256_mullo_epi16(of_block, left), _mm256_set1_epi16(0x0300));
        idx[i] = _mm256_or_si256(widened(k->q + 16 * i), high);
    }
    eights(c, iq2_values, 0, terse_codes_iq2_s, idx[0], idx[1]);
    negate(c, _mm256_loadu_si256((const void *)k->sign), offset_of(UNPACKED_SUB));
    odd_sub_scales(s, half(k->d) * 0.125f, k->scales);
}

INLINE void iq3_xxs(codes *c, step_scales *s, const uint8_t *w)
{
    const block_iq3_xxs *k = (const void *)w;
    const __m256i top = _mm256_loadu_si256((const void *)k->sign);
    __m256i idx[4];
    for (int i = 0; i < 4; i++)
        idx[i] = widened(k->q + 16 * i);
    fours(c, iq3_xxs_values, terse_grid_iq3_xxs, idx);
    negate(c, even_signs(top), 0);
    odd_scales(s, half(k->d) * 0.25f, _mm256_srli_epi32(top, 28));
}

INLINE void iq3_s(codes *c, step_scales *s, const uint8_t *w)
{
    const block_iq3_s *k = (const void *)w;
    const __m256i left = _mm256_broadcastsi128_si256(_mm_set_epi16(2, 4, 8, 16, 32, 64, 128, 256));
    const __m256i nibble = _mm256_set_epi32(28, 24, 20, 16, 12, 8, 4, 0);
    __m256i idx[4];
    for (int i = 0; i < 4; i++) {
        const __m256i of_block = two_lanes_of(_mm_set1_epi16(k->qh[2 * i]), _mm_set1_epi16(k->qh[2 * i + 1]));
        const __m256i ninth = _mm256_and_si256(_mm256_mullo_epi16(of_block, left), _mm256_set1_epi16(0x0100));
        idx[i] = _mm256_or_si256(widened(k->q + 16 * i), ninth);
    }
    fours(c, iq3_s_values, terse_grid_iq3_s, idx);
    negate(c, _mm256_loadu_si256((const void *)k->sign), offset_of(UNPACKED_FEW));
    odd_scales(s, half(k->d), _mm256_srlv_epi32(_mm256_set1_epi32((int)word32(k->scales)), nibble));
}

INLINE void iq1_s(codes *c, step_scales *s, const uint8_t *w)
{
    const block_iq1_s *k = (const void *)w;
    const __m128i qh = _mm_loadu_si128((const void *)k->qh);
    const __m256i pick = _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0908090809080908, 0x0100010001000100));
    const __m256i left = _mm256_set1_epi64x(0x0000000400200100), mask = _mm256_set1_epi16(0x0700);
    const __m256i last = _mm256_set1_epi64x(0x0700000000000000); /* its bits go to the right */
    __m256i idx[2];
    for (int i = 0; i < 2; i++) {
        const __m128i blocks = i ? _mm_unpackhi_epi64(qh, qh) : qh;
        const __m256i four = _mm256_shuffle_epi8(_mm256_cvtepu16_epi64(blocks), pick);
        const __m256i high = _mm256_or_si256(_mm256_and_si256(_mm256_mullo_epi16(four, left), mask),
                                             _mm256_and_si256(_mm256_srli_epi16(four, 1), last));
        idx[i] = _mm256_or_si256(widened(k->q + 16 * i), high);
    }
    eights(c, iq1_values, offset_of(UNPACKED_FEW), terse_codes_iq1, idx[0], idx[1]);
    const __m256i sign = _mm256_srai_epi32(_mm256_cvtepi16_epi32(qh), 31);
    lower(c, _mm256_and_si256(sign, _mm256_set1_epi8(2)));
    const __m256i n = _mm256_and_si256(_mm256_cvtepu16_epi32(_mm_srli_epi16(qh, 12)), _mm256_set1_epi32(7));
    odd_scales(s, half(k->d) * 0.125f, n);
}

INLINE void iq1_m(codes *c, step_scales *s, const uint8_t *w)
{
    const block_iq1_m *k = (const void *)w;
    __m256i nibble[2], idx[2];
    for (int i = 0; i < 2; i++) {
        const __m256i byte = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)(k->qh + 8 * i)));
        nibble[i] =
            _mm256_and_si256(_mm256_or_si256(byte, _mm256_slli_epi32(byte, 12)), _mm256_set1_epi32(0x000f000f));
        const __m256i high = _mm256_slli_epi16(_mm256_and_si256(nibble[i], _mm256_set1_epi16(7)), 8);
        idx[i] = _mm256_or_si256(widened(k->q + 16 * i), high);
    }
    eights(c, iq1_values, offset_of(UNPACKED_SUB), terse_codes_iq1, idx[0], idx[1]);
    const __m256i top = _mm256_and_si256(low_bytes(nibble[0], nibble[1]), _mm256_set1_epi8(8));
    lower(c, _mm256_srli_epi16(top, 2));
    iq1_m_scales(s, k);
}

INLINE __m256i thrice(__m256i v)
{
    return _mm256_add_epi8(v, _mm256_add_epi8(v, v));
}

/* The first digit of bytes, less 1: what a multiplication by 3 carries out; with the offset of its path. */
INLINE __m256i first_digit(__m256i v)
{
    const __m256i one = _mm256_cmpeq_epi8(_mm256_max_epu8(v, _mm256_set1_epi8(86)), v);
    const __m256i two = _mm256_cmpeq_epi8(_mm256_max_epu8(v, _mm256_set1_epi8((char)171)), v);
    return _mm256_sub_epi8(_mm256_set1_epi8((char)(offset_of(UNPACKED_FEW) - 1)), _mm256_add_epi8(one, two));
}

/* Of a block, both halves in a register: blocks 0 to 4 are digits of q[0..31], then come those of q[32..47] and
 * of qh. */
INLINE void tq1_0(codes *c, step_scales *s, const uint8_t *w)
{
    const block_tq1_0 *k = (const void *)w;
    const __m128i q = _mm_loadu_si128((const void *)(k->q + 32)), h = _mm_set1_epi32((int)word32(k->qh));
    const __m128i power = _mm_setr_epi16(1, 1, 3, 3, 9, 9, 27, 27);
    const __m128i odd = _mm_mullo_epi16(_mm_andnot_si128(_mm_set1_epi16(0xff), h), power);
    const __m128i last = _mm_blendv_epi8(odd, _mm_mullo_epi16(h, power), _mm_set1_epi16(0xff));
    __m256i v[8];
    v[0] = _mm256_loadu_si256((const void *)k->q);
    for (int b = 1; b < 5; b++)
        v[b] = thrice(v[b - 1]);
    const __m256i both = two_lanes_of(q, q);
    v[5] = _mm256_blend_epi32(both, thrice(both), 0xf0);
    v[6] = thrice(thrice(v[5]));
    v[7] = two_lanes_of(_mm256_castsi256_si128(thrice(thrice(v[6]))), last);
    for (int b = 0; b < 4; b++) {
        c->q[2 * b] = first_digit(_mm256_permute2x128_si256(v[b], v[b + 4], 0x20));
        c->q[2 * b + 1] = first_digit(_mm256_permute2x128_si256(v[b], v[b + 4], 0x31));
    }
    _mm256_storeu_ps(s->d, _mm256_set1_ps(half(k->d)));
}

GRID_TYPES(UNPACK_ROWS)
unpack_rows_fn *const terse_unpack_avx2[TERSE_DOT_N] = { GRID_TYPES(UNPACK_ENTRY) };
