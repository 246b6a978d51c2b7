/* simd/dot_grids_avx512.c: steps of the types whose codes are words of a grid (IQ1, IQ2, IQ3) or ternary digits
 * (TQ1_0). As dot_unpack.h has them, 256 values at once: the indices of all words first, then the words, from a
 * table in registers where it is small, then their codes, all in the order of `codes` (dot_avx512.h): a word of
 * lane L stays in lane L. */
#include "simd/dot_avx512.h"
#include "simd/dot_grids_avx2.h"

/* ---- words ---- */

/* grid[idx] of 256 words; the index may have more bits. */
INLINE __m512i lookup_256(const uint16_t *grid, __m512i idx)
{
    __m512i r[4];
    for (int i = 0; i < 4; i++)
        r[i] = _mm512_permutex2var_epi16(_mm512_loadu_si512(grid + 64 * i), idx,
                                         _mm512_loadu_si512(grid + 64 * i + 32));
    const __mmask32 bit6 = _mm512_test_epi16_mask(idx, _mm512_set1_epi16(64));
    const __mmask32 bit7 = _mm512_test_epi16_mask(idx, _mm512_set1_epi16(128));
    return _mm512_mask_blend_epi16(bit7, _mm512_mask_blend_epi16(bit6, r[0], r[1]),
                                   _mm512_mask_blend_epi16(bit6, r[2], r[3]));
}

INLINE __m512i lookup_512(const uint16_t *grid, __m512i idx)
{
    const __mmask32 bit8 = _mm512_test_epi16_mask(idx, _mm512_set1_epi16(256));
    return _mm512_mask_blend_epi16(bit8, lookup_256(grid, idx), lookup_256(grid + 256, idx));
}

INLINE __m512i lookup_1024(const uint16_t *grid, __m512i idx)
{
    const __mmask32 bit9 = _mm512_test_epi16_mask(idx, _mm512_set1_epi16(512));
    return _mm512_mask_blend_epi16(bit9, lookup_512(grid, idx), lookup_512(grid + 512, idx));
}

/* Bytes as words. */
INLINE __m512i widened(const void *p)
{
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256(p));
}

/* ---- codes of words ---- */

/* 16 bytes of a lane: 8 times byte n, 8 times byte n + step. */
INLINE __m512i eight_each(int n, int step)
{
    const long long one = 0x0101010101010101;
    return _mm512_broadcast_i32x4(_mm_set_epi64x(one * (n + step), one * n));
}

/* The low bytes of a and the high bytes of b. */
INLINE __m512i low_high(__m512i a, __m512i b)
{
    return _mm512_ternarylogic_epi32(_mm512_set1_epi16(0x00ff), a, b, 0xca);
}

/* Words 2i and 2i + 1 of each lane as 16 values: map[code] of codes of 2 bits, plus 64. A byte with one code
 * left in it, at bit 0 or at bit 2, is an index. */
INLINE __m512i values_of_eights(const int8_t map[16], __m512i words, int i)
{
    const __m512i turn = _mm512_set1_epi32(0x00040000), one = _mm512_set1_epi16(0x0c03);
    const long long pick = 0x0101010100000000;
    const __m512i at = _mm512_broadcast_i32x4(
        _mm_set_epi64x(pick + 0x0202020202020202 * (2 * i + 1), pick + 0x0202020202020202 * (2 * i)));
    const __m128i low = _mm_add_epi8(_mm_loadu_si128((const void *)map), _mm_set1_epi8(64));
    const __m128i table = _mm_shuffle_epi8(low, _mm_setr_epi8(0, 1, 2, 3, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0));
    const __m512i pair = _mm512_srlv_epi16(_mm512_shuffle_epi8(words, at), turn); /* of codes, in both bytes */
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), _mm512_and_si512(pair, one));
}

/* Words 4i to 4i + 3 of each lane as 16 codes of 3 bits. */
INLINE __m512i codes_of_fours(__m512i words, int i)
{
    const __m512i turn = _mm512_set1_epi32(0x00060000), low = _mm512_set1_epi16(0x0707);
    const __m128i at = _mm_set_epi8(7, 6, 7, 6, 5, 4, 5, 4, 3, 2, 3, 2, 1, 0, 1, 0);
    const __m512i pick = _mm512_broadcast_i32x4(_mm_add_epi8(at, _mm_set1_epi8((char)(8 * i))));
    const __m512i pair = _mm512_srlv_epi16(_mm512_shuffle_epi8(words, pick), turn);
    return _mm512_and_si512(low_high(pair, _mm512_slli_epi16(pair, 5)), low);
}

/* Codes to values, plus 64. */
INLINE __m512i values(const int8_t map[16], __m512i c)
{
    const __m128i m = _mm_add_epi8(_mm_loadu_si128((const void *)map), _mm_set1_epi8(64));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(m), c);
}

/* ---- signs ---- */

/* Changes the signs of the values of c, which have 64 added. */
INLINE void negate(codes *c, __m256i signs)
{
    const __m512i bit = _mm512_set1_epi64((long long)0x8040201008040201), twice = _mm512_set1_epi8((char)128);
    const __m512i of_lane =
        _mm512_permutexvar_epi64(_mm512_set_epi64(3, 3, 2, 2, 1, 1, 0, 0), _mm512_castsi256_si512(signs));
    for (int i = 0; i < 4; i++) {
        const __mmask64 minus = _mm512_test_epi8_mask(_mm512_shuffle_epi8(of_lane, eight_each(2 * i, 1)), bit);
        c->c[i] = _mm512_mask_sub_epi8(c->c[i], minus, twice, c->c[i]);
    }
}

INLINE void eights(codes *c, const int8_t map[16], __m512i words)
{
    for (int i = 0; i < 4; i++)
        c->c[i] = values_of_eights(map, words, i);
}

/* Of more words than registers hold: one by one. */
INLINE void eights_of_many(codes *c, const int8_t map[16], const uint64_t *grid, __m512i idx)
{
    _Alignas(64) uint16_t at[32];
    _mm512_store_si512(at, idx);
    for (int i = 0; i < 4; i++) {
        const uint16_t *k = at + 2 * i;
        const __m256i low = four_eights(grid, k, k + 8), high = four_eights(grid, k + 16, k + 24);
        c->c[i] = values(map, _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1));
    }
}

/* IQ1: the values that go with a word are two eighths lower where the low byte of down is 2 and not 0. */
INLINE void lower(codes *c, __m512i down)
{
    for (int i = 0; i < 4; i++)
        c->c[i] = _mm512_sub_epi8(c->c[i], _mm512_shuffle_epi8(down, eight_each(4 * i, 2)));
}

/* Words of the even blocks and of the odd ones. */
INLINE void fours(codes *c, const int8_t map[16], __m512i even, __m512i odd)
{
    for (int i = 0; i < 2; i++) {
        c->c[i] = values(map, codes_of_fours(even, i));
        c->c[2 + i] = values(map, codes_of_fours(odd, i));
    }
}

/* ---- types ---- */

INLINE void iq2_xxs(codes *c, step_scales *s, const uint8_t *w)
{
    const block_iq2_xxs *k = (const void *)w;
    const __m512i z = _mm512_loadu_si512(k->q);
    const __m256i idx = _mm512_cvtepi64_epi32(z), top = _mm512_cvtepi64_epi32(_mm512_srli_epi64(z, 32));
    eights(c, iq2_values, lookup_256(terse_grid_iq2_xxs, _mm512_cvtepu8_epi16(idx)));
    negate(c, even_signs(top));
    odd_scales(s, half(k->d) * 0.125f, _mm256_srli_epi32(top, 28));
}

INLINE void iq2_xs(codes *c, step_scales *s, const uint8_t *w)
{
    const block_iq2_xs *k = (const void *)w;
    const __m512i z = _mm512_loadu_si512(k->q);
    eights(c, iq2_values, lookup_512(terse_grid_iq2_xs, z));
    negate(c, completed_signs(_mm512_cvtepi16_epi8(_mm512_srli_epi16(z, 9))));
    odd_sub_scales(s, half(k->d) * 0.125f, k->scales);
}

INLINE void iq2_s(codes *c, step_scales *s, const uint8_t *w)
{
    const block_iq2_s *k = (const void *)w;
    const __m512i of_block = _mm512_cvtepu8_epi64(_mm_loadl_epi64((const void *)k->qh));
    const __m512i pick =
        _mm512_broadcast_i32x4(_mm_set_epi64x((long long)0x8008800880088008, (long long)0x8000800080008000));
    const __m512i left = _mm512_set1_epi64(0x0002000400060008);
    const __m512i high = _mm512_and_si512(_mm512_sllv_epi16(_mm512_shuffle_epi8(of_block, pick), left),
                                          _mm512_set1_epi16(0x0300));
    eights(c, iq2_values, lookup_1024(terse_grid_iq2_s, _mm512_or_si512(widened(k->q), high)));
    negate(c, _mm256_loadu_si256((const void *)k->sign));
    odd_sub_scales(s, half(k->d) * 0.125f, k->scales);
}

INLINE void iq3_xxs(codes *c, step_scales *s, const uint8_t *w)
{
    const block_iq3_xxs *k = (const void *)w;
    const __m512i z =
        _mm512_permutexvar_epi64(_mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0), _mm512_loadu_si512(k->q));
    const __m256i top = _mm256_loadu_si256((const void *)k->sign);
    fours(c, iq3_xxs_values, lookup_256(terse_grid_iq3_xxs, _mm512_cvtepu8_epi16(_mm512_castsi512_si256(z))),
          lookup_256(terse_grid_iq3_xxs, _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(z, 1))));
    negate(c, even_signs(top));
    odd_scales(s, half(k->d) * 0.25f, _mm256_srli_epi32(top, 28));
}

/* Bit n of byte first + 2 L, as 256, in word n of lane L. */
INLINE __m512i ninth_bits(const uint8_t qh[8], int first)
{
    const __m512i byte = _mm512_set_epi64(6, 6, 4, 4, 2, 2, 0, 0);
    const __m512i at = _mm512_or_si512(
        _mm512_shuffle_epi8(byte, _mm512_broadcast_i32x4(_mm_set_epi64x(0x0808080808080808, 0))),
        _mm512_set1_epi16((short)0x8000));
    const __m512i v = _mm512_broadcast_i32x4(_mm_loadl_epi64((const void *)qh));
    const __m512i left = _mm512_broadcast_i32x4(_mm_set_epi16(1, 2, 3, 4, 5, 6, 7, 8));
    const __m512i of_lane = _mm512_shuffle_epi8(v, _mm512_add_epi8(at, _mm512_set1_epi16((short)first)));
    return _mm512_and_si512(_mm512_sllv_epi16(of_lane, left), _mm512_set1_epi16(0x0100));
}

INLINE void iq3_s(codes *c, step_scales *s, const uint8_t *w)
{
    const block_iq3_s *k = (const void *)w;
    const __m512i z =
        _mm512_permutexvar_epi64(_mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0), _mm512_loadu_si512(k->q));
    const __m512i even = _mm512_or_si512(_mm512_cvtepu8_epi16(_mm512_castsi512_si256(z)), ninth_bits(k->qh, 0));
    const __m512i odd =
        _mm512_or_si512(_mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(z, 1)), ninth_bits(k->qh, 1));
    fours(c, iq3_s_values, lookup_512(terse_grid_iq3_s, even), lookup_512(terse_grid_iq3_s, odd));
    negate(c, _mm256_loadu_si256((const void *)k->sign));
    const __m256i nibble = _mm256_set_epi32(28, 24, 20, 16, 12, 8, 4, 0);
    odd_scales(s, half(k->d), _mm256_srlv_epi32(_mm256_set1_epi32((int)word32(k->scales)), nibble));
}

INLINE void iq1_s(codes *c, step_scales *s, const uint8_t *w)
{
    const block_iq1_s *k = (const void *)w;
    const __m128i qh = _mm_loadu_si128((const void *)k->qh);
    const __m512i pick = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0908090809080908, 0x0100010001000100));
    const __m512i four = _mm512_shuffle_epi8(_mm512_cvtepu16_epi64(qh), pick); /* a block's word four times */
    const __m512i high =
        _mm512_and_si512(_mm512_srlv_epi16(four, _mm512_set1_epi64(0x0009000600030000)), _mm512_set1_epi16(7));
    const __m512i idx = _mm512_or_si512(widened(k->q), _mm512_slli_epi16(high, 8));
    eights_of_many(c, iq1_values, terse_codes_iq1, idx);
    lower(c, _mm512_and_si512(_mm512_srai_epi16(four, 15), _mm512_set1_epi16(2)));
    const __m256i n = _mm256_and_si256(_mm256_cvtepu16_epi32(_mm_srli_epi16(qh, 12)), _mm256_set1_epi32(7));
    odd_scales(s, half(k->d) * 0.125f, n);
}

INLINE void iq1_m(codes *c, step_scales *s, const uint8_t *w)
{
    const block_iq1_m *k = (const void *)w;
    const __m512i byte = _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)k->qh));
    const __m512i nibble =
        _mm512_and_si512(_mm512_or_si512(byte, _mm512_slli_epi32(byte, 12)), _mm512_set1_epi32(0x000f000f));
    const __m512i high = _mm512_slli_epi16(_mm512_and_si512(nibble, _mm512_set1_epi16(7)), 8);
    eights_of_many(c, iq1_values, terse_codes_iq1, _mm512_or_si512(widened(k->q), high));
    lower(c, _mm512_and_si512(_mm512_srli_epi16(nibble, 2), _mm512_set1_epi16(2)));
    iq1_m_scales(s, k);
}

/* Bytes times odd numbers, modulo 256. */
INLINE __m512i times(__m512i v, __m512i words)
{
    const __m512i high = _mm512_mullo_epi16(_mm512_and_si512(v, _mm512_set1_epi16((short)0xff00)), words);
    return _mm512_ternarylogic_epi32(high, _mm512_mullo_epi16(v, words), _mm512_set1_epi16(0x00ff), 0xf8);
}

/* Four lanes times k each. */
INLINE __m512i times_lanes(__m512i v, short k0, short k1, short k2, short k3)
{
    const __m256i a = _mm256_set_m128i(_mm_set1_epi16(k1), _mm_set1_epi16(k0));
    const __m256i b = _mm256_set_m128i(_mm_set1_epi16(k3), _mm_set1_epi16(k2));
    return times(v, _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1));
}

/* The first digit of bytes, plus 63: what a multiplication by 3 carries out. */
INLINE __m512i first_digit(__m512i v)
{
    const __m512i one = _mm512_set1_epi8(1);
    __m512i r = _mm512_set1_epi8(63);
    r = _mm512_mask_add_epi8(r, _mm512_cmpge_epu8_mask(v, _mm512_set1_epi8(86)), r, one);
    return _mm512_mask_add_epi8(r, _mm512_cmpge_epu8_mask(v, _mm512_set1_epi8((char)171)), r, one);
}

/* Lanes as codes has them: blocks 0 to 4 are digits of q[0..31], then come those of q[32..47] and of qh. */
INLINE void tq1_0(codes *c, step_scales *s, const uint8_t *w)
{
    const block_tq1_0 *k = (const void *)w;
    const __m128i first = _mm_loadu_si128((const void *)k->q),
                  last = _mm_loadu_si128((const void *)(k->q + 16));
    const __m128i b = _mm_loadu_si128((const void *)(k->q + 32)), h = _mm_set1_epi32((int)word32(k->qh));
    const __m512i a0 = _mm512_broadcast_i32x4(first), a1 = _mm512_broadcast_i32x4(last),
                  b4 = _mm512_broadcast_i32x4(b);
    const __m512i z0 = _mm512_mask_blend_epi64(0xc0, a0, b4), z1 = _mm512_mask_blend_epi64(0xc0, a1, b4);
    const __m512i z2 = _mm512_mask_blend_epi64(0xf0, a0, b4);
    const __m512i z3 = _mm512_mask_broadcast_i32x4(_mm512_mask_blend_epi64(0xf0, a1, b4), 0xf000, h);
    const __m128i kh = _mm_set_epi16(27, 27, 9, 9, 3, 3, 1, 1);
    const __m256i k01 = _mm256_set_m128i(_mm_set1_epi16(27), _mm_set1_epi16(3)),
                  k23 = _mm256_set_m128i(kh, _mm_set1_epi16(3));
    c->c[0] = first_digit(times_lanes(z0, 1, 9, 81, 9));
    c->c[1] = first_digit(times_lanes(z1, 1, 9, 81, 27));
    c->c[2] = first_digit(times_lanes(z2, 3, 27, 1, 81));
    c->c[3] = first_digit(times(z3, _mm512_inserti64x4(_mm512_castsi256_si512(k01), k23, 1)));
    _mm256_storeu_ps(s->d, _mm256_set1_ps(half(k->d)));
}

GRID_TYPES(UNPACK_ROWS)
unpack_rows_fn *const terse_unpack_avx512[TERSE_DOT_N] = { GRID_TYPES(UNPACK_ENTRY) };
