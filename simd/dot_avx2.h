/* simd/dot_avx2.h: what the files of the avx2 dot products share: the codes and scales of 256 values as
 * registers.
 *
 * Registers hold 16 values of block i in the low 128-bit lane and of block i + 4 in the high one: q[2i] the
 * first half of the blocks, q[2i+1] the last. */
#ifndef TERSE_SIMD_DOT_AVX2_H
#define TERSE_SIMD_DOT_AVX2_H

#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "this file needs -mavx2 -mfma -mf16c"
#endif

#include <immintrin.h>

#include "simd/dot_paths_avx2.h"

/* Float weights: any number of tokens. */
void terse_dot_floats_avx2(terse_dot_type type, float *y, size_t y_stride, const uint8_t *w, size_t row_size,
                           int32_t n_row, const terse_acts *x);
void terse_quantize_avx2(const terse_acts *a, int32_t t);

/* From MANY_TOKENS on: dot_many_avx2.c. */
enum { MANY_TOKENS = 3 };
void terse_dot_many_avx2(const product *j);

/* One path more than avx512 has, for unpacked types whose codes are no larger than 15. */
enum { UNPACKED_FEW = UNPACKED_SUB + 1 };
#define AVX2_PATHS(X) DOT_PATHS(X) X(unpacked_few, UNPACKED_FEW)

INLINE int avx2_path_of(terse_dot_type type)
{
    const bool few = type == TERSE_DOT_TQ1_0 || type == TERSE_DOT_IQ1_S || type == TERSE_DOT_IQ3_S;
    return few ? (int)UNPACKED_FEW : path_of(type);
}

/* Whether codes stay signed, because a sum of 8 products may not fit int16. */
INLINE bool is_signed(int path)
{
    return path == TERSE_DOT_Q8_0 || path == TERSE_DOT_IQ4_NL || path == TERSE_DOT_IQ4_XS || path == UNPACKED;
}

/* What is added to the others so that they are unsigned. */
INLINE int offset_of(int path)
{
    switch (path) {
    case TERSE_DOT_MXFP4:
        return 12;
    case UNPACKED_SUB:
        return 64;
    case UNPACKED_FEW:
        return 15;
    default:
        return is_signed(path) ? 0 : dot_formats[path].offset;
    }
}

INLINE float fold8(__m256 v)
{
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

INLINE __m256i two_lanes(const void *low, const void *high)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(low)), _mm_loadu_si128(high), 1);
}

INLINE __m256i two_lanes_of(__m128i low, __m128i high)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

/* ---- weights: codes ---- */

/* Signed where is_signed(path), else offset_of(path) is added and they are unsigned. */
typedef struct {
    __m256i q[8];
    __m256i sub; /* HAS_SUB: sub-scales as int16, those of blocks 0..3 in the low lane */
} codes;

INLINE __m256i low_nibbles(__m256i v)
{
    return _mm256_and_si256(v, _mm256_set1_epi8(15));
}
INLINE __m256i high_nibbles(__m256i v)
{
    return low_nibbles(_mm256_srli_epi16(v, 4));
}

INLINE codes codes_of_q8_0(const block_q8_0 *w)
{
    codes c;
    for (int i = 0; i < 4; i++) {
        c.q[2 * i] = two_lanes(w[i].q, w[i + 4].q);
        c.q[2 * i + 1] = two_lanes(w[i].q + 16, w[i + 4].q + 16);
    }
    return c;
}

/* Blocks of size bytes whose 16 bytes of nibbles begin at byte at. */
INLINE codes codes_of_nibbles(const uint8_t *w, size_t size, size_t at)
{
    codes c;
    w += at;
    for (size_t i = 0; i < 4; i++) {
        const __m256i v = two_lanes(w + i * size, w + (i + 4) * size);
        c.q[2 * i] = low_nibbles(v);
        c.q[2 * i + 1] = high_nibbles(v);
    }
    return c;
}

/* The same with four bytes of fifth bits at byte bits_at, before the nibbles. */
INLINE codes codes_of_5(const uint8_t *w, size_t size, int bits_at)
{
    const __m256i first = _mm256_set_epi64x(0x0101010101010101, 0, 0x0101010101010101, 0);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
    codes c = codes_of_nibbles(w, size, (size_t)bits_at + 4);
    for (int i = 0; i < 8; i++) {
        const uint8_t *p = w + (size_t)(i / 2) * size;
        const __m256i pick = _mm256_add_epi8(first, _mm256_set1_epi8((char)(bits_at + i % 2 * 2)));
        const __m256i bytes = _mm256_shuffle_epi8(two_lanes(p, p + 4 * size), pick);
        const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit);
        c.q[i] = _mm256_or_si256(c.q[i], _mm256_and_si256(set, _mm256_set1_epi8(16)));
    }
    return c;
}

/* Nibbles to values. */
INLINE codes mapped(codes c, const int8_t map[16], int offset)
{
    const __m128i t = _mm_add_epi8(_mm_loadu_si128((const void *)map), _mm_set1_epi8((char)offset));
    for (int i = 0; i < 8; i++)
        c.q[i] = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(t), c.q[i]);
    return c;
}

INLINE codes codes_of_k4(const uint8_t *q)
{
    codes c;
    for (int i = 0; i < 4; i += 2, q += 32) { /* nibbles of blocks i, i+1 and of i+4, i+5 */
        const __m256i first = two_lanes(q, q + 64), last = two_lanes(q + 16, q + 80);
        c.q[2 * i] = low_nibbles(first);
        c.q[2 * i + 1] = low_nibbles(last);
        c.q[2 * i + 2] = high_nibbles(first);
        c.q[2 * i + 3] = high_nibbles(last);
    }
    return c;
}

/* c | (bits & mask) */
INLINE __m256i or_bits(__m256i c, __m256i bits, char mask)
{
    return _mm256_or_si256(c, _mm256_and_si256(bits, _mm256_set1_epi8(mask)));
}

INLINE codes codes_of_k5(const block_q5_k *w)
{
    /* Block i's fifth bit, at bit i of qh, and block i+4's come to bit 4 + i of their lanes. */
    const __m256i shift = _mm256_set_epi64x(0, 0, 4, 4);
    const __m256i first = _mm256_sllv_epi64(two_lanes(w->qh, w->qh), shift);
    const __m256i last = _mm256_sllv_epi64(two_lanes(w->qh + 16, w->qh + 16), shift);
    codes c = codes_of_k4(w->q);
    for (int i = 0; i < 4; i++) {
        c.q[2 * i] = or_bits(c.q[2 * i], _mm256_srli_epi16(first, i), 16);
        c.q[2 * i + 1] = or_bits(c.q[2 * i + 1], _mm256_srli_epi16(last, i), 16);
    }
    return c;
}

INLINE codes codes_of_k6(const block_q6_k *w)
{
    const __m256i h[2] = { two_lanes(w->qh, w->qh + 32), two_lanes(w->qh + 16, w->qh + 48) };
    codes c = { .sub = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)w->sc)) };
    for (int i = 0; i < 4; i++) {
        const __m256i v = two_lanes(w->ql + 16 * i, w->ql + 64 + 16 * i);
        c.q[i] = or_bits(low_nibbles(v), _mm256_slli_epi16(h[i % 2], i < 2 ? 4 : 2), 48);
        c.q[i + 4] = or_bits(high_nibbles(v), _mm256_srli_epi16(h[i % 2], i < 2 ? 0 : 2), 48);
    }
    return c;
}

/* The two bits of Q2_K, Q3_K and TQ2_0. */
INLINE codes codes_of_k2(const uint8_t *q)
{
    const __m256i first = two_lanes(q, q + 32), last = two_lanes(q + 16, q + 48), three = _mm256_set1_epi8(3);
    codes c;
    for (int i = 0; i < 4; i++) {
        c.q[2 * i] = _mm256_and_si256(_mm256_srli_epi16(first, 2 * i), three);
        c.q[2 * i + 1] = _mm256_and_si256(_mm256_srli_epi16(last, 2 * i), three);
    }
    return c;
}

INLINE codes codes_of_q2_k(const block_q2_k *w)
{
    const __m128i sub = _mm_and_si128(_mm_loadu_si128((const void *)w->sub), _mm_set1_epi8(15));
    codes c = codes_of_k2(w->q);
    c.sub = _mm256_cvtepi8_epi16(sub);
    return c;
}

INLINE codes codes_of_q3_k(const block_q3_k *w)
{
    /* Block i's third bit, at bit i of qh, and block i+4's come to bit 4 + i of their lanes. */
    const __m256i shift = _mm256_set_epi64x(0, 0, 4, 4);
    const __m256i first = _mm256_sllv_epi64(two_lanes(w->qh, w->qh), shift);
    const __m256i last = _mm256_sllv_epi64(two_lanes(w->qh + 16, w->qh + 16), shift);
    /* As scales_q3_k: 16 scales of 6 bits, less 32. */
    const __m128i nib = _mm_loadl_epi64((const void *)w->scales);
    const __m128i low = _mm_and_si128(_mm_unpacklo_epi64(nib, _mm_srli_epi16(nib, 4)), _mm_set1_epi8(15));
    const __m128i top = _mm_srlv_epi32(_mm_set1_epi32((int)word32(w->scales + 8)), _mm_set_epi32(6, 4, 2, 0));
    const __m128i high = _mm_slli_epi16(_mm_and_si128(top, _mm_set1_epi8(3)), 4);
    codes c = codes_of_k2(w->q);
    c.sub = _mm256_cvtepi8_epi16(_mm_sub_epi8(_mm_or_si128(low, high), _mm_set1_epi8(32)));
    for (int i = 0; i < 4; i++) {
        c.q[2 * i] = or_bits(c.q[2 * i], _mm256_srli_epi16(first, i + 2), 4);
        c.q[2 * i + 1] = or_bits(c.q[2 * i + 1], _mm256_srli_epi16(last, i + 2), 4);
    }
    return c;
}

/* The types of the unpacked paths: of n rows the codes of 256 values at byte at, but not sub, and what
 * dot_formats has as their scales. */
typedef void unpack_rows_fn(codes *c, step_scales *s, const uint8_t *const *row, size_t at, int n);
extern unpack_rows_fn *const terse_unpack_avx2[TERSE_DOT_N];

/* A type with instructions of its own. */
INLINE codes codes_of(int path, const uint8_t *w)
{
    switch (path) {
    case TERSE_DOT_Q8_0:
        return codes_of_q8_0((const void *)w);
    case TERSE_DOT_Q4_0:
        return codes_of_nibbles(w, sizeof(block_q4_0), offsetof(block_q4_0, q));
    case TERSE_DOT_Q4_1:
        return codes_of_nibbles(w, sizeof(block_q4_1), offsetof(block_q4_1, q));
    case TERSE_DOT_Q5_0:
        return codes_of_5(w, sizeof(block_q5_0), offsetof(block_q5_0, qh));
    case TERSE_DOT_Q5_1:
        return codes_of_5(w, sizeof(block_q5_1), offsetof(block_q5_1, qh));
    case TERSE_DOT_IQ4_NL:
        return mapped(codes_of_nibbles(w, sizeof(block_q4_0), offsetof(block_q4_0, q)), iq4_values, 0);
    case TERSE_DOT_IQ4_XS:
        return mapped(codes_of_nibbles(w, 16, offsetof(block_iq4_xs, q)), iq4_values, 0);
    case TERSE_DOT_MXFP4:
        return mapped(codes_of_nibbles(w, sizeof(block_mxfp4), offsetof(block_mxfp4, q)), fp4_values, 12);
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

/* ---- weights: scales ---- */

typedef struct {
    __m256 d, min;
} scales;

INLINE __m256 eight_halves(const uint8_t *p, size_t stride)
{
    uint16_t h[8];
    for (size_t i = 0; i < 8; i++)
        memcpy(&h[i], p + i * stride, sizeof *h);
    return _mm256_cvtph_ps(_mm_setr_epi16((short)h[0], (short)h[1], (short)h[2], (short)h[3], (short)h[4],
                                          (short)h[5], (short)h[6], (short)h[7]));
}

INLINE __m256 bytes_to_ps(__m128i v)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(v));
}

/* Q4_K and Q5_K: both begin with d, dmin and the 12 bytes that sub_scales() takes apart. */
INLINE scales scales_of_k(const uint8_t *w)
{
    const __m128i h = _mm_loadu_si128((const void *)w);
    const __m128i keep = _mm_set_epi32(0x0f0f0f0f, 0x3f3f3f3f, 0x0f0f0f0f, 0x3f3f3f3f);
    const __m128i top = _mm_set_epi32(0x30303030, 0, 0x30303030, 0);
    /* scales 0-3, scales 4-7, mins 0-3, mins 4-7 */
    const __m128i low =
        _mm_and_si128(_mm_srlv_epi32(_mm_shuffle_epi32(h, 0xed), _mm_set_epi32(4, 0, 0, 0)), keep);
    const __m128i high = _mm_and_si128(_mm_srli_epi32(_mm_shuffle_epi32(h, 0x84), 2), top);
    const __m128i six = _mm_or_si128(low, high);
    const __m128 d = _mm_cvtph_ps(h);
    return (scales){ .d = _mm256_mul_ps(_mm256_broadcastss_ps(d), bytes_to_ps(six)),
                     .min = _mm256_mul_ps(_mm256_broadcastss_ps(_mm_movehdup_ps(d)),
                                          bytes_to_ps(_mm_unpackhi_epi64(six, six))) };
}

/* Blocks of 32: the first half is d; with a minimum, the second is it, with the other sign. */
INLINE scales scales_of_blocks(int path, const uint8_t *w)
{
    const size_t size = dot_formats[path].size;
    scales s = { .d = eight_halves(w, size) };
    if (path_has(path, HAS_MIN))
        s.min = _mm256_xor_ps(eight_halves(w + 2, size), _mm256_set1_ps(-0.0f));
    return s;
}

INLINE scales scales_of_mxfp4(const block_mxfp4 *w)
{
    const __m256i e = _mm256_setr_epi32(w[0].e, w[1].e, w[2].e, w[3].e, w[4].e, w[5].e, w[6].e, w[7].e);
    const __m256i one = _mm256_set1_epi32(1), normal = _mm256_slli_epi32(_mm256_sub_epi32(e, one), 23);
    const __m256i denormal = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    return (
        scales){ .d = _mm256_castsi256_ps(_mm256_blendv_epi8(denormal, normal, _mm256_cmpgt_epi32(e, one))) };
}

/* As scales_iq4_xs: 4 and 2 bits of each block, less 32. */
INLINE scales scales_of_iq4_xs(const block_iq4_xs *w)
{
    const __m256i block = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i low =
        _mm256_srlv_epi32(_mm256_set1_epi32((int)word32(w->scales_l)), _mm256_slli_epi32(block, 2));
    const __m256i high =
        _mm256_srlv_epi32(_mm256_set1_epi32(w->scales_h[0] | w->scales_h[1] << 8), _mm256_slli_epi32(block, 1));
    const __m256i sc = _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi32(15)),
                                       _mm256_slli_epi32(_mm256_and_si256(high, _mm256_set1_epi32(3)), 4));
    return (scales){ .d = _mm256_mul_ps(_mm256_set1_ps(_cvtsh_ss(w->d)),
                                        _mm256_cvtepi32_ps(_mm256_sub_epi32(sc, _mm256_set1_epi32(32)))) };
}

INLINE __m256 one_half(uint16_t h)
{
    return _mm256_set1_ps(_cvtsh_ss(h));
}

/* Any type of the unpacked paths; its sub-scales go to where those of the others are. */
INLINE scales scales_of_step(int path, codes *c, const step_scales *s)
{
    if (path_has(path, HAS_SUB))
        c->sub = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)s->sub));
    return (scales){ .d = _mm256_loadu_ps(s->d) };
}

INLINE scales scales_of(int path, const uint8_t *w)
{
    const block_q2_k *q2 = (const void *)w;
    switch (path) {
    case TERSE_DOT_Q4_K:
    case TERSE_DOT_Q5_K:
        return scales_of_k(w);
    case TERSE_DOT_Q6_K:
        return (scales){ .d = one_half(((const block_q6_k *)(const void *)w)->d) };
    case TERSE_DOT_Q3_K:
        return (scales){ .d = one_half(((const block_q3_k *)(const void *)w)->d) };
    case TERSE_DOT_TQ2_0:
        return (scales){ .d = one_half(((const block_tq2_0 *)(const void *)w)->d) };
    case TERSE_DOT_Q2_K:
        return (scales){ .d = one_half(q2->d), .min = one_half(q2->dmin) };
    case TERSE_DOT_IQ4_XS:
        return scales_of_iq4_xs((const void *)w);
    case TERSE_DOT_MXFP4:
        return scales_of_mxfp4((const void *)w);
    default:
        return scales_of_blocks(path, w);
    }
}

#endif
