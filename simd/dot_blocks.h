/* simd/dot_blocks.h: the quantised blocks as GGUF files store them (little endian, packed, 2-byte aligned),
 * shared by the dot product tiers and the dequantisation. Static helpers only. */
#ifndef TERSE_SIMD_DOT_BLOCKS_H
#define TERSE_SIMD_DOT_BLOCKS_H

#include <stdint.h>
#include <string.h>

#include "simd/dot.h"

enum { QK = 256, QK_BLOCKS = 8 }; /* values and 32-blocks of a K-quant superblock */

typedef struct {
    uint16_t d; /* f16, as all scales here */
    int8_t q[32];
} block_q8_0;

/* Q4_0, and IQ4_NL, where a nibble is an index of iq4_values. */
typedef struct {
    uint16_t d;
    uint8_t q[16]; /* low nibbles: values 0..15, high nibbles: 16..31; code - 8 */
} block_q4_0;

typedef struct {
    uint16_t d, m; /* value = d * code + m */
    uint8_t q[16];
} block_q4_1;

typedef struct {
    uint16_t d;
    uint8_t qh[4]; /* bit i: fifth bit of value i; code - 16 */
    uint8_t q[16];
} block_q5_0;

typedef struct {
    uint16_t d, m;
    uint8_t qh[4];
    uint8_t q[16];
} block_q5_1;

typedef struct {
    uint8_t e;     /* scale 2^(e-128): the values are twice those of the format's definition */
    uint8_t q[16]; /* indices of fp4_values */
} block_mxfp4;

/* Two halves of four blocks: block b of a half has its codes at bits 2b of the half's 32 bytes of q. Also the
 * layout of q in Q3_K and TQ2_0, and that of Q6_K's high bits. */
typedef struct {
    uint8_t sub[16]; /* per 16 values: scale in the low nibble, min in the high one */
    uint8_t q[64];
    uint16_t d, dmin;
} block_q2_k;

typedef struct {
    uint8_t qh[32]; /* bit b of qh[i]: third bit of value i of block b; code - 4 */
    uint8_t q[64];
    uint8_t scales[12]; /* 16 of 6 bits, less 32: q3_sub() */
    uint16_t d;
} block_q3_k;

typedef struct {
    uint16_t d, dmin;
    uint8_t scales[12]; /* 8 scales and 8 mins of 6 bits: sub_scales() */
    uint8_t q[128];     /* 32 bytes for two blocks: low nibbles the even one, high nibbles the odd one */
} block_q4_k;

typedef struct {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qh[32]; /* bit b of qh[i]: fifth bit of value i of block b */
    uint8_t q[128]; /* as Q4_K */
} block_q5_k;

/* Two halves of four blocks. In a half, value i of block b has its low bits in ql[(b % 2) * 32 + i], high
 * nibble if b >= 2, and its two high bits in qh[i] >> (2 * b). Code - 32. */
typedef struct {
    uint8_t ql[128];
    uint8_t qh[64];
    int8_t sc[16]; /* one per 16 values */
    uint16_t d;
} block_q6_k;

typedef struct {
    uint16_t d;
    uint8_t scales_h[2], scales_l[4]; /* 2 and 4 bits per block, less 32 */
    uint8_t q[128];                   /* 16 bytes per block, as IQ4_NL */
} block_iq4_xs;

/* The IQ types store an index of a code word per 8 or 4 values, and signs of 8 values in 7 bits (the eighth
 * makes their number even) or in 8. */
typedef struct {
    uint16_t d;
    uint8_t q[64]; /* per block: 4 indices; 32 bits of four times 7 signs and a 4-bit scale */
} block_iq2_xxs;

typedef struct {
    uint16_t d;
    uint16_t q[32]; /* per 8 values: index, 7 signs above it */
    uint8_t scales[8];
} block_iq2_xs;

typedef struct {
    uint16_t d;
    uint8_t q[32], sign[32]; /* per 8 values */
    uint8_t qh[8];           /* two more bits of the four indices of a block */
    uint8_t scales[8];
} block_iq2_s;

typedef struct {
    uint16_t d;
    uint8_t q[64];    /* an index per 4 values */
    uint8_t sign[32]; /* per block, as in IQ2_XXS */
} block_iq3_xxs;

typedef struct {
    uint16_t d;
    uint8_t q[64], qh[8]; /* low 8 bits and ninth bit of an index per 4 values */
    uint8_t sign[32], scales[4];
} block_iq3_s;

typedef struct {
    uint16_t d;
    uint8_t q[32];  /* an index per 8 values */
    uint16_t qh[8]; /* per block: 3 more bits of its four indices, 3 bits of scale, the sign of the shift */
} block_iq1_s;

typedef struct {
    uint8_t q[32], qh[16]; /* per 8 values: 8 bits, then 3 bits and the sign of the shift */
    uint16_t scales[4];    /* four of 3 bits each, and above them a quarter of d */
} block_iq1_m;

typedef struct {
    uint8_t q[48], qh[4]; /* 5 ternary digits a byte, in qh 4: tq1_digits() */
    uint16_t d;
} block_tq1_0;

typedef struct {
    uint8_t q[64]; /* code - 1 */
    uint16_t d;
} block_tq2_0;

_Static_assert(sizeof(block_q8_0) == 34 && sizeof(block_q4_0) == 18 && sizeof(block_q4_1) == 20, "packed");
_Static_assert(sizeof(block_q5_0) == 22 && sizeof(block_q5_1) == 24 && sizeof(block_mxfp4) == 17, "packed");
_Static_assert(sizeof(block_q2_k) == 84 && sizeof(block_q3_k) == 110 && sizeof(block_q4_k) == 144, "packed");
_Static_assert(sizeof(block_q5_k) == 176 && sizeof(block_q6_k) == 210 && sizeof(block_iq4_xs) == 136, "packed");
_Static_assert(sizeof(block_iq2_xxs) == 66 && sizeof(block_iq2_xs) == 74 && sizeof(block_iq2_s) == 82,
               "packed");
_Static_assert(sizeof(block_iq3_xxs) == 98 && sizeof(block_iq3_s) == 110 && sizeof(block_iq1_s) == 50,
               "packed");
_Static_assert(sizeof(block_iq1_m) == 56 && sizeof(block_tq1_0) == 54 && sizeof(block_tq2_0) == 66, "packed");

/* The 6-bit scales and mins of a Q4_K or Q5_K superblock. The first four have bytes of their own; the last four
 * are made of nibbles of bytes 8..11 and the top two bits of the others. */
static inline void sub_scales(const uint8_t p[12], uint8_t sc[QK_BLOCKS], uint8_t mn[QK_BLOCKS])
{
    for (int i = 0; i < 4; i++) {
        sc[i] = p[i] & 63;
        mn[i] = p[i + 4] & 63;
        sc[i + 4] = (uint8_t)((p[i + 8] & 15) | (p[i] >> 6) << 4);
        mn[i + 4] = (uint8_t)((p[i + 8] >> 4) | (p[i + 4] >> 6) << 4);
    }
}

/* Brings the line at p into the second-level cache, if there is such an address. The decode step runs at the
 * speed of memory: the first level has too few misses in flight for that, and the hardware's own prefetch does
 * not follow many short streams. So each group of rows fetches the next group while it computes. */
static inline void prefetch_line(const uint8_t *p)
{
    __builtin_prefetch(p, 0, 2);
    __asm__ volatile(""); /* gcc 12 may drop calls of a function that does nothing but prefetch */
}

/* How far behind a row decode prefetches: whole rows, at least n_row of them and some 8 KiB. It runs past the
 * last row of a call on purpose: what lies there is mostly the next call's work, and a prefetch cannot fault.
 */
enum { AHEAD_BYTES = 8 << 10 };
static inline size_t ahead_of(size_t row_size, size_t n_row)
{
    const size_t n = row_size ? AHEAD_BYTES / row_size : 0;
    return (n > n_row ? n : n_row) * row_size;
}

#endif
