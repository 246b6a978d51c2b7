/* simd/dot_avx512.h: what the two files of the avx512 dot products share. dot_avx512.c multiplies few tokens,
 * dot_many_avx512.c many. */
#ifndef TERSE_SIMD_DOT_AVX512_H
#define TERSE_SIMD_DOT_AVX512_H

#if !defined(__AVX512F__) || !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__) ||     \
    !defined(__AVX512VNNI__) || !defined(__F16C__)
#error "this file needs -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mf16c"
#endif

#include <immintrin.h>

#include "simd/dot_blocks.h"

#define INLINE static inline __attribute__((always_inline))

/* Fewest tokens that dot_many_avx512.c is the faster for. Quantised types only. */
enum { MANY_TOKENS = 8 };
void terse_dot_many_avx512(terse_dot_type type, float *y, size_t y_stride, const uint8_t *w, size_t row_size,
                           int32_t n_row, const terse_acts *x);

INLINE int has_min(terse_dot_type type)
{
    return type == TERSE_DOT_Q4_K || type == TERSE_DOT_Q5_K;
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

/* ---- one step of a row: 256 codes ---- */

/* c[0] and c[1]: first and last 16 values of the even blocks, block 2L in 128-bit lane L; c[2], c[3]: the odd
 * ones. Unsigned: Q8_0 plus 128, Q4_0 plus 8, Q6_K plus 32. */
typedef struct {
    __m512i c[4];
    __m512i sc[2]; /* Q6_K: sub-scales as int16, beside the packed sums of c[0] c[1] and of c[2] c[3] */
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
    /* Sub-scale 4L+i belongs to lane L of c[i]; packed sums have four words of each. */
    const __m512i idx = _mm512_set_epi16(13, 13, 13, 13, 12, 12, 12, 12, 9, 9, 9, 9, 8, 8, 8, 8, 5, 5, 5, 5, 4,
                                         4, 4, 4, 1, 1, 1, 1, 0, 0, 0, 0);
    const __m512i sc = _mm512_castsi256_si512(_mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)w->sc)));
    return (codes){ .c = { or_bits(q0, first, 48), or_bits(q1, last, 48),
                           or_bits(q2, _mm512_srli_epi64(first, 2), 48),
                           or_bits(q3, _mm512_srli_epi64(last, 2), 48) },
                    .sc = { _mm512_permutexvar_epi16(idx, sc),
                            _mm512_permutexvar_epi16(_mm512_add_epi16(idx, _mm512_set1_epi16(2)), sc) } };
}

INLINE codes codes_of(terse_dot_type type, const uint8_t *w)
{
    switch (type) {
    case TERSE_DOT_Q8_0:
        return codes_of_q8_0((const void *)w);
    case TERSE_DOT_Q4_0:
        return codes_of_q4_0(w);
    case TERSE_DOT_Q4_K:
        return codes_of_k4(((const block_q4_k *)(const void *)w)->q);
    case TERSE_DOT_Q5_K:
        return codes_of_k5((const void *)w);
    default:
        return codes_of_k6((const void *)w);
    }
}

#endif
