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

typedef struct {
    uint16_t d;
    uint8_t q[16]; /* low nibbles: values 0..15, high nibbles: 16..31; code - 8 */
} block_q4_0;

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

_Static_assert(sizeof(block_q8_0) == 34 && sizeof(block_q4_0) == 18, "packed");
_Static_assert(sizeof(block_q4_k) == 144 && sizeof(block_q5_k) == 176 && sizeof(block_q6_k) == 210, "packed");

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

/* Codes of 32-block b of a superblock, as the file means them (Q6_K: less 32). */
static inline void codes_q4_k(const block_q4_k *w, int b, int8_t c[32])
{
    for (int i = 0; i < 32; i++)
        c[i] = (int8_t)(w->q[b / 2 * 32 + i] >> (b % 2 * 4) & 15);
}

static inline void codes_q5_k(const block_q5_k *w, int b, int8_t c[32])
{
    for (int i = 0; i < 32; i++)
        c[i] = (int8_t)((w->q[b / 2 * 32 + i] >> (b % 2 * 4) & 15) | (w->qh[i] >> b & 1) << 4);
}

static inline void codes_q6_k(const block_q6_k *w, int b, int8_t c[32])
{
    const uint8_t *ql = w->ql + b / 4 * 64 + b % 2 * 32, *qh = w->qh + b / 4 * 32;
    for (int i = 0; i < 32; i++)
        c[i] = (int8_t)(((ql[i] >> (b % 4 / 2 * 4) & 15) | (qh[i] >> (b % 4 * 2) & 3) << 4) - 32);
}

static inline void codes_q4_0(const block_q4_0 *w, int8_t c[32])
{
    for (int i = 0; i < 16; i++) {
        c[i] = (int8_t)((w->q[i] & 15) - 8);
        c[i + 16] = (int8_t)((w->q[i] >> 4) - 8);
    }
}

/* The vector tiers take 8 blocks (256 values) of a row at a time. */
enum { STEP_SIZE_MAX = 8 * sizeof(block_q8_0) };

static inline size_t step_size(terse_dot_type type)
{
    switch (type) {
    case TERSE_DOT_Q8_0:
        return 8 * sizeof(block_q8_0);
    case TERSE_DOT_Q4_0:
        return 8 * sizeof(block_q4_0);
    case TERSE_DOT_Q4_K:
        return sizeof(block_q4_k);
    case TERSE_DOT_Q5_K:
        return sizeof(block_q5_k);
    default:
        return sizeof(block_q6_k);
    }
}

/* Brings the line at p into the second-level cache, if there is such an address. The decode step runs at the
 * speed of memory: the first level has too few misses in flight for that, and the hardware's own prefetch does
 * not follow many short streams. So each group of rows fetches the next group while it computes. */
static inline void prefetch_line(const uint8_t *p)
{
    __builtin_prefetch(p, 0, 2);
}

static inline void prefetch_step(terse_dot_type type, const uint8_t *w)
{
    for (size_t i = 0; i < step_size(type); i += 64)
        prefetch_line(w + i);
}

/* The last n_block < 8 blocks of a Q8_0 or Q4_0 row as a whole step. What is missing becomes zero codes with
 * scale -0 (which comes first in both): times a zero activation that is -0, and adding -0 leaves any
 * accumulator alone. */
static inline void copy_tail(terse_dot_type type, uint8_t out[STEP_SIZE_MAX], const uint8_t *w, int32_t n_block)
{
    const size_t size = step_size(type) / 8, used = (size_t)n_block * size;
    memcpy(out, w, used);
    memset(out + used, 0, STEP_SIZE_MAX - used);
    for (int32_t b = n_block; b < 8; b++)
        out[(size_t)b * size + 1] = 0x80;
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
