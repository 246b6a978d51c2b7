/* simd/dot_columns_avx512.h: 16 rows of a step (256 values) taken apart together. First they become columns:
 * register j is dword j of every row. Then one instruction serves 16 rows, for scales as for codes. */
#ifndef TERSE_SIMD_DOT_COLUMNS_AVX512_H
#define TERSE_SIMD_DOT_COLUMNS_AVX512_H

#include "simd/dot_panel_avx512.h"

enum { COLUMNS_MAX = 68 }; /* of Q8_0: 8 blocks of 34 bytes */

/* X(name, kind, type) for every type that has a function here. */
#define COLUMN_TYPES(X)                                                                                        \
    X(q8_0, 0, TERSE_DOT_Q8_0)                                                                                 \
    X(q4_0, 0, TERSE_DOT_Q4_0)                                                                                 \
    X(q4_1, HAS_MIN, TERSE_DOT_Q4_1)                                                                           \
    X(iq4_nl, 0, TERSE_DOT_IQ4_NL)                                                                             \
    X(iq4_xs, 0, TERSE_DOT_IQ4_XS)                                                                             \
    X(q4_k, HAS_MIN, TERSE_DOT_Q4_K)                                                                           \
    X(q5_k, HAS_MIN, TERSE_DOT_Q5_K)                                                                           \
    X(q6_k, HAS_SUB, TERSE_DOT_Q6_K)

/* A block of 32 values of 16 rows: lanes are rows. Set member by member: an initializer would fill all of it.
 */
typedef struct {
    __m512i code[8];       /* values 4i..4i+3, unsigned: offset_of(type) is added */
    __m512 d, min, sub[2]; /* min with HAS_MIN, sub with HAS_SUB */
} row_block;

INLINE __m256i two_rows(const uint8_t *a, const uint8_t *b)
{
    const __m256i low = _mm256_castsi128_si256(_mm_loadu_si128((const void *)a));
    return _mm256_inserti128_si256(low, _mm_loadu_si128((const void *)b), 1);
}

/* Dword m of the 16 bytes at byte at of every row. */
INLINE void dwords_of_rows(__m512i out[4], const uint8_t *const row[LANES], size_t at)
{
    __m512i z[4]; /* rows i, i + 4, i + 8, i + 12 */
    for (int i = 0; i < 4; i++) {
        const __m256i first = two_rows(row[i] + at, row[i + 4] + at);
        z[i] =
            _mm512_inserti64x4(_mm512_castsi256_si512(first), two_rows(row[i + 8] + at, row[i + 12] + at), 1);
    }
    const __m512i lo01 = _mm512_unpacklo_epi32(z[0], z[1]), hi01 = _mm512_unpackhi_epi32(z[0], z[1]);
    const __m512i lo23 = _mm512_unpacklo_epi32(z[2], z[3]), hi23 = _mm512_unpackhi_epi32(z[2], z[3]);
    out[0] = _mm512_unpacklo_epi64(lo01, lo23);
    out[1] = _mm512_unpackhi_epi64(lo01, lo23);
    out[2] = _mm512_unpacklo_epi64(hi01, hi23);
    out[3] = _mm512_unpackhi_epi64(hi01, hi23);
}

/* Columns are read by chunks of 16 bytes. The last one ends where the step ends: if the size is not a multiple
 * of four, its columns stand behind the others and begin at byte size - 16. */
INLINE int n_chunk(size_t size)
{
    return (int)((size + 15) / 16);
}
INLINE void read_chunk(__m512i *col, const uint8_t *const row[LANES], size_t size, int c)
{
    const size_t at = (size_t)c * 16 + 16 <= size ? (size_t)c * 16 : size - 16;
    dwords_of_rows(col + (size % 4 ? (size_t)c * 4 : at / 4), row, at);
}

/* ---- pieces ---- */

INLINE __m512i shifted(__m512i v, int right)
{
    return _mm512_srl_epi32(v, _mm_cvtsi32_si128(right));
}

/* The low words as halves. */
INLINE __m512 low_half(__m512i v)
{
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v));
}
INLINE __m512 high_half(__m512i v)
{
    return low_half(_mm512_srli_epi32(v, 16));
}

/* Bytes n of the dwords. */
INLINE __m512 unsigned_byte(__m512i v, int n)
{
    return _mm512_cvtepi32_ps(_mm512_and_si512(shifted(v, 8 * n), _mm512_set1_epi32(255)));
}
INLINE __m512 signed_byte(__m512i v, int n)
{
    return _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_sll_epi32(v, _mm_cvtsi32_si128(24 - 8 * n)), 24));
}

INLINE __m512i bits(__m512i v, int right, char mask)
{
    return _mm512_and_si512(_mm512_srli_epi32(v, (unsigned)right), _mm512_set1_epi8(mask));
}

/* Two blocks of an odd number of words, col the first column: an odd block begins in the middle of a column, so
 * that its codes are columns; those of an even one are halves of neighbours. */
INLINE void words_of_pair(__m512i *w, __m512 *d, const __m512i *col, int n, bool odd)
{
    *d = odd ? high_half(col[n]) : low_half(col[0]);
    for (int i = 0; i < n; i++) { /* shifts, since on Zen 4 a rotation takes the units of the products */
        const __m512i last = _mm512_srli_epi32(col[i], 16), first = _mm512_slli_epi32(col[i + 1], 16);
        w[i] = odd ? col[n + 1 + i] : _mm512_or_si512(last, first);
    }
}

INLINE void nibble_codes(row_block *b, const __m512i w[4])
{
    for (int i = 0; i < 4; i++) {
        b->code[i] = low_nibbles(w[i]);
        b->code[4 + i] = high_nibbles(w[i]);
    }
}

/* ---- types: block 2 * pair + odd. odd is a constant where these are inlined ---- */

INLINE row_block columns_q8_0(const __m512i *col, int pair, bool odd)
{
    row_block b;
    words_of_pair(b.code, &b.d, col + pair * 17, 8, odd);
    for (int i = 0; i < 8; i++)
        b.code[i] = _mm512_xor_si512(b.code[i], _mm512_set1_epi8((char)128));
    return b;
}

INLINE row_block columns_q4_0(const __m512i *col, int pair, bool odd)
{
    row_block b;
    __m512i w[4];
    words_of_pair(w, &b.d, col + pair * 9, 4, odd);
    nibble_codes(&b, w);
    return b;
}

INLINE row_block columns_q4_1(const __m512i *col, int pair, bool odd)
{
    const __m512i *c = col + pair * 10 + (odd ? 5 : 0);
    row_block b;
    b.d = low_half(*c);
    b.min = _mm512_xor_ps(high_half(*c), _mm512_set1_ps(-0.0f));
    nibble_codes(&b, c + 1);
    return b;
}

INLINE void map_iq4(row_block *b)
{
    const __m128i map = _mm_add_epi8(_mm_loadu_si128((const void *)iq4_values),
                                     _mm_set1_epi8((char)offset_of(TERSE_DOT_IQ4_NL)));
    for (int i = 0; i < 8; i++)
        b->code[i] = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(map), b->code[i]);
}

INLINE row_block columns_iq4_xs(const __m512i *col, int pair, bool odd)
{
    const int n = 2 * pair + odd;
    const __m512i four = _mm512_and_si512(shifted(col[1], 4 * n), _mm512_set1_epi32(15));
    const __m512i two = _mm512_and_si512(shifted(col[0], 16 + 2 * n), _mm512_set1_epi32(3));
    const __m512i sc = _mm512_or_si512(four, _mm512_slli_epi32(two, 4));
    const __m512 sub = _mm512_cvtepi32_ps(_mm512_sub_epi32(sc, _mm512_set1_epi32(32)));
    row_block b;
    b.d = _mm512_mul_ps(low_half(col[0]), sub);
    nibble_codes(&b, col + 2 + 4 * n);
    map_iq4(&b);
    return b;
}

/* Q4_K; Q5_K if fifth. As sub_scales(), four bytes at a time. */
INLINE row_block columns_k4(const __m512i *col, int pair, bool odd, bool fifth)
{
    const int n = 2 * pair + odd;
    const bool first = pair < 2;
    const __m512i s = first ? bits(col[1], 0, 63) : _mm512_or_si512(bits(col[3], 0, 15), bits(col[1], 2, 48));
    const __m512i m = first ? bits(col[2], 0, 63) : _mm512_or_si512(bits(col[3], 4, 15), bits(col[2], 2, 48));
    const __m512i *w = col + (fifth ? 12 : 4) + 8 * pair;
    row_block b;
    b.d = _mm512_mul_ps(low_half(col[0]), unsigned_byte(s, n % 4));
    b.min = _mm512_mul_ps(high_half(col[0]), unsigned_byte(m, n % 4));
    const __m512i to4 = _mm512_set1_epi32(n - 4); /* a turn to the right; the bit stays in its byte */
    for (int i = 0; i < 8; i++) {
        b.code[i] = odd ? high_nibbles(w[i]) : low_nibbles(w[i]);
        if (fifth)
            b.code[i] = or_bits(b.code[i], _mm512_rorv_epi32(col[4 + i], to4), 16);
    }
    return b;
}

INLINE row_block columns_q6_k(const __m512i *col, int pair, bool odd)
{
    const int n = 2 * pair + odd, of_half = n % 4;
    const __m512i *low = col + n / 4 * 16 + (odd ? 8 : 0), *high = col + 32 + n / 4 * 8;
    const __m512i *sc = col + 48 + pair, *end = col + n_chunk(sizeof(block_q6_k)) * 4 - 1;
    row_block b;
    b.d = high_half(*end);
    b.sub[0] = signed_byte(*sc, odd ? 2 : 0);
    b.sub[1] = signed_byte(*sc, odd ? 3 : 1);
    const __m512i to4 = _mm512_set1_epi32(2 * of_half - 4);
    const __m128i nibble = _mm_cvtsi32_si128(of_half / 2 * 4);
    for (int i = 0; i < 8; i++)
        b.code[i] = or_bits(low_nibbles(_mm512_srl_epi32(low[i], nibble)), _mm512_rorv_epi32(high[i], to4), 48);
    return b;
}

INLINE row_block block_of_columns(terse_dot_type type, const __m512i *col, int pair, bool odd)
{
    row_block b;
    switch (type) {
    case TERSE_DOT_Q8_0:
        return columns_q8_0(col, pair, odd);
    case TERSE_DOT_Q4_1:
        return columns_q4_1(col, pair, odd);
    case TERSE_DOT_IQ4_NL:
        b = columns_q4_0(col, pair, odd);
        map_iq4(&b);
        return b;
    case TERSE_DOT_IQ4_XS:
        return columns_iq4_xs(col, pair, odd);
    case TERSE_DOT_Q4_K:
        return columns_k4(col, pair, odd, false);
    case TERSE_DOT_Q5_K:
        return columns_k4(col, pair, odd, true);
    case TERSE_DOT_Q6_K:
        return columns_q6_k(col, pair, odd);
    default: /* Q4_0 */
        return columns_q4_0(col, pair, odd);
    }
}

#endif
