/* simd/dot_paths_avx2.h: what the x86 tiers of the dot products share: which kernel multiplies a type, and the
 * steps of 8 blocks (256 values) that they take. Static helpers only. */
#ifndef TERSE_SIMD_DOT_PATHS_AVX2_H
#define TERSE_SIMD_DOT_PATHS_AVX2_H

#if !defined(__AVX2__) || !defined(__F16C__)
#error "this file needs -mavx2 -mf16c"
#endif

#include <immintrin.h>
#include <stdint.h>

/* The pieces of dot_unpack.h that have an instruction. */
#define TERSE_DOT_HALF
static inline float half(uint16_t h)
{
    return _cvtsh_ss(h);
}

#include "simd/dot_unpack.h"

/* A kernel is one function with constants for its path. */
#define INLINE static inline __attribute__((always_inline))

/* A kernel is compiled for a path: a type that has instructions of its own, or one of two for all the others,
 * whose codes and scales come through memory (dot_grids_avx2.c, dot_grids_avx512.c). */
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
    return path < UNPACKED ? has((terse_dot_type)path, trait) : path == UNPACKED_SUB && trait == HAS_SUB;
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
