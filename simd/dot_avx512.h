/* simd/dot_avx512.h: what the files of the avx512 dot products share: the codes of 256 values as registers.
 * dot_avx512.c multiplies few tokens, dot_many_avx512.c many, dot_floats_avx512.c float weights. */
#ifndef TERSE_SIMD_DOT_AVX512_H
#define TERSE_SIMD_DOT_AVX512_H

#if !defined(__AVX512F__) || !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__) ||     \
    !defined(__AVX512VNNI__) || !defined(__F16C__)
#error "this file needs -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mf16c"
#endif

#include <immintrin.h>

#include "simd/dot_paths_avx2.h"

/* Float weights: any number of tokens. */
void terse_dot_floats_avx512(terse_dot_type type, float *y, size_t y_stride, const uint8_t *w, size_t row_size,
                             int32_t n_row, const terse_acts *x);
void terse_quantize_avx512(const terse_acts *a, int32_t t);

/* Where other kernels are faster: from FEW_TOKENS + 1 on those of dot_some_avx512.c, which return false for
 * types and numbers of tokens that they do not take; there from MANY_TOKENS on those of dot_many_avx512.c. */
enum { FEW_TOKENS = 2, SOME_TOKENS = 16, MANY_TOKENS = 7 };
bool terse_dot_some_avx512(const product *j);
void terse_dot_many_avx512(terse_dot_type type, float *y, size_t y_stride, const uint8_t *w, size_t row_size,
                           int32_t n_row, const terse_acts *x);

/* What is added to a path's codes so that they are unsigned. */
INLINE int offset_of(int path)
{
    switch (path) {
    case TERSE_DOT_IQ4_NL:
    case TERSE_DOT_IQ4_XS:
        return 128;
    case TERSE_DOT_MXFP4:
        return 12;
    case UNPACKED:
    case UNPACKED_SUB:
        return 64; /* codes of the unpacked types are -62..62 */
    default:
        return dot_formats[path].offset;
    }
}

/* Whether a sum of 8 products may not fit int16. */
INLINE bool is_wide(int path)
{
    return offset_of(path) == 128 || path == UNPACKED;
}

/* A 4 x 4 matrix of 128-bit lanes: lane L of out[i] is lane i of z[L]. */
INLINE void transpose_lanes(__m512i out[4], __m512i z0, __m512i z1, __m512i z2, __m512i z3)
{
    const __m512i even01 = _mm512_shuffle_i64x2(z0, z1, 0x88), odd01 = _mm512_shuffle_i64x2(z0, z1, 0xdd);
    const __m512i even23 = _mm512_shuffle_i64x2(z2, z3, 0x88), odd23 = _mm512_shuffle_i64x2(z2, z3, 0xdd);
    out[0] = _mm512_shuffle_i64x2(even01, even23, 0x88);
    out[1] = _mm512_shuffle_i64x2(odd01, odd23, 0x88);
    out[2] = _mm512_shuffle_i64x2(even01, even23, 0xdd);
    out[3] = _mm512_shuffle_i64x2(odd01, odd23, 0xdd);
}

/* 8 lanes by halving. */
INLINE float fold8(__m256 v)
{
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/* ---- one step of a row: 256 codes ---- */

/* c[0] and c[1]: first and last 16 values of the even blocks, block 2L in 128-bit lane L; c[2], c[3]: the odd
 * ones. Unsigned: offset_of(path) is added. */
typedef struct {
    __m512i c[4];
    __m512i sc[2]; /* sub-scales as int16, beside the packed sums of c[0] c[1] and of c[2] c[3] */
} codes;

INLINE __m512i low_nibbles(__m512i v)
{
    return _mm512_and_si512(v, _mm512_set1_epi8(15));
}
INLINE __m512i high_nibbles(__m512i v)
{
    return low_nibbles(_mm512_srli_epi16(v, 4));
}

/* v | (bits & mask) */
INLINE __m512i or_bits(__m512i v, __m512i bits, char mask)
{
    return _mm512_ternarylogic_epi32(v, bits, _mm512_set1_epi8(mask), 0xf8);
}

INLINE __m512i two_blocks_q8_0(const block_q8_0 *w)
{
    const __m256i a = _mm256_loadu_si256((const void *)w[0].q), b = _mm256_loadu_si256((const void *)w[2].q);
    return _mm512_xor_si512(_mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1), _mm512_set1_epi8((char)128));
}

INLINE codes codes_of_q8_0(const block_q8_0 *w)
{
    const __m512i b02 = two_blocks_q8_0(w), b46 = two_blocks_q8_0(w + 4);
    const __m512i b13 = two_blocks_q8_0(w + 1), b57 = two_blocks_q8_0(w + 5);
    return (codes){ .c = { _mm512_shuffle_i64x2(b02, b46, 0x88), _mm512_shuffle_i64x2(b02, b46, 0xdd),
                           _mm512_shuffle_i64x2(b13, b57, 0x88), _mm512_shuffle_i64x2(b13, b57, 0xdd) } };
}

/* Eight 16-bit words from word n of an index vector on. */
#define WORDS8(n) (n) + 7, (n) + 6, (n) + 5, (n) + 4, (n) + 3, (n) + 2, (n) + 1, (n)

INLINE codes codes_of_q4_0(const uint8_t *w)
{
    /* In 16-bit words, block b has its scale at 9b and its codes at 9b+1..9b+8. Two loads reach all but the
     * last block, whose lane is put in by itself. */
    const __m512i even = _mm512_set_epi16(WORDS8(55), WORDS8(37), WORDS8(19), WORDS8(1));
    const __m512i odd = _mm512_set_epi16(WORDS8(0), WORDS8(46), WORDS8(28), WORDS8(10));
    const __m512i z0 = _mm512_loadu_si512(w), z1 = _mm512_loadu_si512(w + 64);
    const __m128i last = _mm_loadu_si128((const void *)(w + 128));
    const __m512i e = _mm512_permutex2var_epi16(z0, even, z1);
    const __m512i o = _mm512_mask_broadcast_i32x4(_mm512_permutex2var_epi16(z0, odd, z1), 0xf000, last);
    return (codes){ .c = { low_nibbles(e), high_nibbles(e), low_nibbles(o), high_nibbles(o) } };
}

/* Lane L: the 16 bytes at p + L * stride. */
INLINE __m512i four_lanes(const uint8_t *p, size_t stride)
{
    __m512i z = _mm512_castsi128_si512(_mm_loadu_si128((const void *)p));
    z = _mm512_mask_broadcast_i32x4(z, 0x00f0, _mm_loadu_si128((const void *)(p + stride)));
    z = _mm512_mask_broadcast_i32x4(z, 0x0f00, _mm_loadu_si128((const void *)(p + 2 * stride)));
    return _mm512_mask_broadcast_i32x4(z, 0xf000, _mm_loadu_si128((const void *)(p + 3 * stride)));
}

/* Blocks of size bytes whose 16 bytes of nibbles begin at byte at. */
INLINE codes codes_of_nibbles(const uint8_t *w, size_t size, size_t at)
{
    const __m512i e = four_lanes(w + at, 2 * size), o = four_lanes(w + size + at, 2 * size);
    return (codes){ .c = { low_nibbles(e), high_nibbles(e), low_nibbles(o), high_nibbles(o) } };
}

/* Fifth bits: four bytes at byte at of a block. head: the first 16 bytes of the blocks of c[0] and c[1]. */
INLINE void fifth_bits(__m512i c[2], __m512i head, int at)
{
    const __m128i one = _mm_set_epi64x(0x0101010101010101, 0);
    const __m128i pick = _mm_add_epi8(one, _mm_set1_epi8((char)at));
    const __m512i first = _mm512_broadcast_i32x4(pick), two = _mm512_set1_epi8(2);
    const __m512i bit = _mm512_set1_epi64((long long)0x8040201008040201);
    for (int i = 0; i < 2; i++) {
        const __m512i bytes = _mm512_shuffle_epi8(head, i ? _mm512_add_epi8(first, two) : first);
        c[i] = _mm512_mask_add_epi8(c[i], _mm512_test_epi8_mask(bytes, bit), c[i], _mm512_set1_epi8(16));
    }
}

INLINE codes codes_of_5(const uint8_t *w, size_t size, int bits_at)
{
    codes r = codes_of_nibbles(w, size, (size_t)bits_at + 4);
    fifth_bits(r.c, four_lanes(w, 2 * size), bits_at);
    fifth_bits(r.c + 2, four_lanes(w + size, 2 * size), bits_at);
    return r;
}

/* Nibbles to values, with the offset that makes them unsigned. */
INLINE codes mapped(codes r, const int8_t map[16], int offset)
{
    const __m128i t = _mm_add_epi8(_mm_loadu_si128((const void *)map), _mm_set1_epi8((char)offset));
    for (int i = 0; i < 4; i++)
        r.c[i] = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(t), r.c[i]);
    return r;
}

INLINE codes codes_of_iq4_xs(const uint8_t *q)
{
    const __m512i z0 = _mm512_loadu_si512(q), z1 = _mm512_loadu_si512(q + 64);
    const __m512i e = _mm512_shuffle_i64x2(z0, z1, 0x88), o = _mm512_shuffle_i64x2(z0, z1, 0xdd);
    return (codes){ .c = { low_nibbles(e), high_nibbles(e), low_nibbles(o), high_nibbles(o) } };
}

INLINE codes codes_of_k4(const uint8_t *q)
{
    const __m512i z0 = _mm512_loadu_si512(q), z1 = _mm512_loadu_si512(q + 64);
    const __m512i first = _mm512_shuffle_i64x2(z0, z1, 0x88), last = _mm512_shuffle_i64x2(z0, z1, 0xdd);
    return (codes){ .c = { low_nibbles(first), low_nibbles(last), high_nibbles(first), high_nibbles(last) } };
}

INLINE codes codes_of_k5(const block_q5_k *w)
{
    /* Block 2L has its fifth bit at bit 2L of qh: rotated, lane by lane, to bit 4; that of 2L+1 is then at
     * bit 5. */
    const __m512i turn = _mm512_set_epi64(62, 62, 0, 0, 2, 2, 4, 4);
    const __m512i first = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)w->qh));
    const __m512i last = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)(w->qh + 16)));
    const __m512i f = _mm512_rolv_epi64(first, turn), l = _mm512_rolv_epi64(last, turn);
    codes r = codes_of_k4(w->q);
    r.c[0] = or_bits(r.c[0], f, 16);
    r.c[1] = or_bits(r.c[1], l, 16);
    r.c[2] = or_bits(r.c[2], _mm512_srli_epi64(f, 1), 16);
    r.c[3] = or_bits(r.c[3], _mm512_srli_epi64(l, 1), 16);
    return r;
}

/* The two bits of Q2_K, Q3_K and TQ2_0: lanes are blocks 0 2 4 6 (then 1 3 5 7), two of each half. */
INLINE codes codes_of_k2(const uint8_t *q)
{
    const __m512i shift = _mm512_set_epi64(4, 4, 0, 0, 4, 4, 0, 0), three = _mm512_set1_epi8(3);
    const __m512i z = _mm512_loadu_si512(q);
    const __m512i first = _mm512_srlv_epi64(_mm512_shuffle_i64x2(z, z, 0xa0), shift);
    const __m512i last = _mm512_srlv_epi64(_mm512_shuffle_i64x2(z, z, 0xf5), shift);
    return (codes){ .c = { _mm512_and_si512(first, three), _mm512_and_si512(last, three),
                           _mm512_and_si512(_mm512_srli_epi64(first, 2), three),
                           _mm512_and_si512(_mm512_srli_epi64(last, 2), three) } };
}

/* Sub-scale 4L+i belongs to lane L of c[i]; packed sums have four words of each. */
INLINE void spread_sub(codes *r, __m128i sub)
{
    const __m512i idx = _mm512_set_epi16(13, 13, 13, 13, 12, 12, 12, 12, 9, 9, 9, 9, 8, 8, 8, 8, 5, 5, 5, 5, 4,
                                         4, 4, 4, 1, 1, 1, 1, 0, 0, 0, 0);
    const __m512i sc = _mm512_castsi256_si512(_mm256_cvtepi8_epi16(sub));
    r->sc[0] = _mm512_permutexvar_epi16(idx, sc);
    r->sc[1] = _mm512_permutexvar_epi16(_mm512_add_epi16(idx, _mm512_set1_epi16(2)), sc);
}

/* Bytes 4L+i in all of lane L of m[i]. */
INLINE void spread_low(__m512i m[4], __m128i low)
{
    const __m512i z = _mm512_broadcast_i32x4(low);
    const __m512i lane = _mm512_set_epi64(0x0c0c0c0c0c0c0c0c, 0x0c0c0c0c0c0c0c0c, 0x0808080808080808,
                                          0x0808080808080808, 0x0404040404040404, 0x0404040404040404, 0, 0);
    for (int i = 0; i < 4; i++)
        m[i] = _mm512_shuffle_epi8(z, _mm512_add_epi8(lane, _mm512_set1_epi8((char)i)));
}

INLINE codes codes_of_q2_k(const block_q2_k *w)
{
    codes r = codes_of_k2(w->q);
    spread_sub(&r, _mm_and_si128(_mm_loadu_si128((const void *)w->sub), _mm_set1_epi8(15)));
    return r;
}

/* As scales_q3_k: 16 scales of 6 bits, less 32. */
INLINE __m128i sub_of_q3_k(const uint8_t p[12])
{
    const __m128i nib = _mm_loadl_epi64((const void *)p);
    const __m128i low = _mm_and_si128(_mm_unpacklo_epi64(nib, _mm_srli_epi16(nib, 4)), _mm_set1_epi8(15));
    const __m128i top = _mm_srlv_epi32(_mm_set1_epi32((int)word32(p + 8)), _mm_set_epi32(6, 4, 2, 0));
    const __m128i high = _mm_slli_epi16(_mm_and_si128(top, _mm_set1_epi8(3)), 4);
    return _mm_sub_epi8(_mm_or_si128(low, high), _mm_set1_epi8(32));
}

INLINE codes codes_of_q3_k(const block_q3_k *w)
{
    /* As in Q5_K, with the bit of block 2L rotated to bit 2. */
    const __m512i turn = _mm512_set_epi64(60, 60, 62, 62, 0, 0, 2, 2);
    const __m512i first = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)w->qh));
    const __m512i last = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)(w->qh + 16)));
    const __m512i f = _mm512_rolv_epi64(first, turn), l = _mm512_rolv_epi64(last, turn);
    codes r = codes_of_k2(w->q);
    r.c[0] = or_bits(r.c[0], f, 4);
    r.c[1] = or_bits(r.c[1], l, 4);
    r.c[2] = or_bits(r.c[2], _mm512_srli_epi64(f, 1), 4);
    r.c[3] = or_bits(r.c[3], _mm512_srli_epi64(l, 1), 4);
    spread_sub(&r, sub_of_q3_k(w->scales));
    return r;
}

INLINE codes codes_of_k6(const block_q6_k *w)
{
    /* Lanes are blocks 0 2 4 6 (then 1 3 5 7): of each half, low nibbles, high nibbles. */
    const __m512i nibble = _mm512_set_epi64(4, 4, 0, 0, 4, 4, 0, 0),
                  turn = _mm512_set_epi64(0, 0, 4, 4, 0, 0, 4, 4);
    const __m512i z0 = _mm512_loadu_si512(w->ql), z1 = _mm512_loadu_si512(w->ql + 64);
    const __m512i qh = _mm512_loadu_si512(w->qh);
    const __m512i first = _mm512_rolv_epi64(_mm512_shuffle_i64x2(qh, qh, 0xa0), turn);
    const __m512i last = _mm512_rolv_epi64(_mm512_shuffle_i64x2(qh, qh, 0xf5), turn);
    const __m512i q0 = low_nibbles(_mm512_srlv_epi64(_mm512_shuffle_i64x2(z0, z1, 0x00), nibble));
    const __m512i q1 = low_nibbles(_mm512_srlv_epi64(_mm512_shuffle_i64x2(z0, z1, 0x55), nibble));
    const __m512i q2 = low_nibbles(_mm512_srlv_epi64(_mm512_shuffle_i64x2(z0, z1, 0xaa), nibble));
    const __m512i q3 = low_nibbles(_mm512_srlv_epi64(_mm512_shuffle_i64x2(z0, z1, 0xff), nibble));
    codes r = { .c = { or_bits(q0, first, 48), or_bits(q1, last, 48),
                       or_bits(q2, _mm512_srli_epi64(first, 2), 48),
                       or_bits(q3, _mm512_srli_epi64(last, 2), 48) } };
    spread_sub(&r, _mm_loadu_si128((const void *)w->sc));
    return r;
}

/* The types of the unpacked paths: of n rows the codes of 256 values at byte at, but not sc, and what
 * dot_formats has as their scales. */
typedef void unpack_rows_fn(codes *c, step_scales *s, const uint8_t *const *row, size_t at, int n);
extern unpack_rows_fn *const terse_unpack_avx512[TERSE_DOT_N];

/* A type with instructions of its own. */
INLINE codes codes_of(int path, const uint8_t *w)
{
    switch (path) {
    case TERSE_DOT_Q8_0:
        return codes_of_q8_0((const void *)w);
    case TERSE_DOT_Q4_0:
        return codes_of_q4_0(w);
    case TERSE_DOT_Q4_1:
        return codes_of_nibbles(w, sizeof(block_q4_1), offsetof(block_q4_1, q));
    case TERSE_DOT_Q5_0:
        return codes_of_5(w, sizeof(block_q5_0), offsetof(block_q5_0, qh));
    case TERSE_DOT_Q5_1:
        return codes_of_5(w, sizeof(block_q5_1), offsetof(block_q5_1, qh));
    case TERSE_DOT_IQ4_NL:
        return mapped(codes_of_q4_0(w), iq4_values, 128);
    case TERSE_DOT_MXFP4:
        return mapped(codes_of_nibbles(w, sizeof(block_mxfp4), offsetof(block_mxfp4, q)), fp4_values, 12);
    case TERSE_DOT_IQ4_XS:
        return mapped(codes_of_iq4_xs(((const block_iq4_xs *)(const void *)w)->q), iq4_values, 128);
    case TERSE_DOT_Q4_K:
        return codes_of_k4(((const block_q4_k *)(const void *)w)->q);
    case TERSE_DOT_Q5_K:
        return codes_of_k5((const void *)w);
    case TERSE_DOT_Q6_K:
        return codes_of_k6((const void *)w);
    case TERSE_DOT_Q2_K:
        return codes_of_q2_k((const void *)w);
    case TERSE_DOT_Q3_K:
        return codes_of_q3_k((const void *)w);
    default: /* TQ2_0 */
        return codes_of_k2(w);
    }
}

#endif
