/* simd/dot_paths_avx2.h: what the x86 tiers of the dot products share: which kernel multiplies a type, and the
 * steps of 8 blocks (256 values) that they take. Static helpers only. */
#ifndef TERSE_SIMD_DOT_PATHS_AVX2_H
#define TERSE_SIMD_DOT_PATHS_AVX2_H

#if !defined(__AVX2__) || !defined(__BMI2__) || !defined(__F16C__)
#error "this file needs -mavx2 -mbmi2 -mf16c"
#endif

#include <immintrin.h>
#include <stdint.h>

/* The pieces of dot_unpack.h that have an instruction. */
#define TERSE_DOT_HALF
#define TERSE_DOT_BITS
static inline float half(uint16_t h)
{
    return _cvtsh_ss(h);
}
static inline uint64_t eight_codes(uint16_t word)
{
    return _pdep_u64(word, UINT64_C(0x0303030303030303));
}
static inline uint32_t four_codes_of(uint16_t word)
{
    return _pdep_u32(word, 0x07070707);
}
static inline uint32_t four_sevens(uint32_t word)
{
    return _pdep_u32(word, 0x7f7f7f7f);
}

#include "simd/dot_unpack.h"

/* A kernel is one function with constants for its path. */
#define INLINE static inline __attribute__((always_inline))

/* A kernel is compiled for a path: a type that has instructions of its own, or one of two for all the others,
 * whose codes and scales come from dot_unpack.h through memory. */
enum { UNPACKED = TERSE_DOT_N, UNPACKED_SUB };

/* X(name, path) for every type that has instructions of its own. */
#define DOT_OWN_PATHS(X)                                                                                       \
    X(q8_0, TERSE_DOT_Q8_0)                                                                                    \
    X(q4_0, TERSE_DOT_Q4_0)                                                                                    \
    X(q4_k, TERSE_DOT_Q4_K)                                                                                    \
    X(q5_k, TERSE_DOT_Q5_K)                                                                                    \
    X(q6_k, TERSE_DOT_Q6_K)                                                                                    \
    X(q4_1, TERSE_DOT_Q4_1)                                                                                    \
    X(q5_0, TERSE_DOT_Q5_0)                                                                                    \
    X(q5_1, TERSE_DOT_Q5_1)                                                                                    \
    X(q2_k, TERSE_DOT_Q2_K)                                                                                    \
    X(q3_k, TERSE_DOT_Q3_K)                                                                                    \
    X(iq4_nl, TERSE_DOT_IQ4_NL)                                                                                \
    X(iq4_xs, TERSE_DOT_IQ4_XS)                                                                                \
    X(mxfp4, TERSE_DOT_MXFP4)                                                                                  \
    X(tq2_0, TERSE_DOT_TQ2_0)
/* The same for every path. */
#define DOT_PATHS(X) DOT_OWN_PATHS(X) X(unpacked, UNPACKED) X(unpacked_sub, UNPACKED_SUB)

INLINE int path_of(terse_dot_type type)
{
    return type < TERSE_DOT_TQ1_0 || type == TERSE_DOT_TQ2_0 ? (int)type
           : has(type, HAS_SUB)                              ? (int)UNPACKED_SUB
                                                             : (int)UNPACKED;
}

INLINE bool path_has(int path, int trait)
{
    return path == UNPACKED_SUB ? trait == HAS_SUB : path != UNPACKED && has((terse_dot_type)path, trait);
}

/* A product as terse_dot_rows has it. */
typedef struct {
    terse_dot_type type;
    float *y;
    size_t y_stride;
    const uint8_t *w;
    size_t row_size;
    int32_t n_row;
    const terse_acts *x;
} product;

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

/* Codes of 256 values for codes_of_step, best called some rows ahead: what is stored byte by byte cannot be
 * loaded as a register at once. The switch makes the types constants, so that their functions are inlined. */
INLINE void unpack_blocks(terse_dot_type type, step_codes *s, const uint8_t *w)
{
    for (int b = 0; b < QK_BLOCKS; b++)
        dot_formats[type].codes(s, w, b);
}

__attribute__((unused)) static void unpack_codes(terse_dot_type type, step_codes *s, const uint8_t *w)
{
    switch (type) {
    case TERSE_DOT_IQ2_XXS:
        unpack_blocks(TERSE_DOT_IQ2_XXS, s, w);
        break;
    case TERSE_DOT_IQ2_XS:
        unpack_blocks(TERSE_DOT_IQ2_XS, s, w);
        break;
    case TERSE_DOT_IQ2_S:
        unpack_blocks(TERSE_DOT_IQ2_S, s, w);
        break;
    case TERSE_DOT_IQ3_XXS:
        unpack_blocks(TERSE_DOT_IQ3_XXS, s, w);
        break;
    case TERSE_DOT_IQ3_S:
        unpack_blocks(TERSE_DOT_IQ3_S, s, w);
        break;
    case TERSE_DOT_IQ1_S:
        unpack_blocks(TERSE_DOT_IQ1_S, s, w);
        break;
    case TERSE_DOT_IQ1_M:
        unpack_blocks(TERSE_DOT_IQ1_M, s, w);
        break;
    default:
        unpack_blocks(type, s, w);
    }
    if (has(type, HAS_EVEN_SIGNS))
        _mm256_storeu_si256((void *)s->sign, completed_signs(_mm256_loadu_si256((const void *)s->sign)));
}

INLINE void prefetch_bytes(const uint8_t *w, size_t size)
{
#pragma GCC unroll 5
    for (size_t i = 0; i < size; i += 64)
        prefetch_line(w + i);
}

enum { STEP_SIZE_MAX = 8 * sizeof(block_q8_0) };

/* The last n_block < 8 blocks of a row of blocks of 32 as a whole step, what is missing as zeros: they meet
 * activations that are zero, with scales that are finite. */
static inline void copy_tail(terse_dot_type type, uint8_t out[STEP_SIZE_MAX], const uint8_t *w, int32_t n_block)
{
    const size_t used = (size_t)n_block * dot_formats[type].size;
    memcpy(out, w, used);
    memset(out + used, 0, STEP_SIZE_MAX - used);
}

#endif
