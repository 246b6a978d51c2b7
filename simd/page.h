/* simd/page.h: how the K block and the V block of a page lie in memory. One layout for all tiers, so that pages
 * can be saved, mapped and sent between machines.
 *
 * A page holds TERSE_PAGE tokens of one KV head. Blocks are 64-byte aligned.
 *
 *   K f32, f16, bf16   [dim][P]          dimension-major: the lanes of a register are tokens
 *   K q8               [dim/4][P][4]     4 neighbouring channels of a token: one lane of an integer dot. Bytes
 *                                        of code + 128, code -127..127
 *   K q4               [dim/8][P][4]     8 neighbouring channels: byte i has channel i in its low nibble and
 *                                        i + 4 in its high nibble, both as code + 8, code -8..7
 *   V f32, f16, bf16   [P][dim]          token-major: the lanes are channels
 *   V q8   [dim/32][P/4][32][4] int8     4 neighbouring tokens of a channel; channels that share scales lie
 *                                        together and are read from end to end
 *   V q4   [dim/32][P/8][32][4]          8 neighbouring tokens: byte i has token i in its low nibble and i + 4
 *                                        in its high nibble, both as code + 8
 *
 * Behind the codes of q8 and q4 come the scales, [dim/32][P] f16, one per token and 32 channels: x ~ scale *
 * code. Those of q8 are not negative; those of q4 make the channel of largest magnitude, of either sign, -8.
 *
 * dim is a multiple of 16, of 32 for q8 and q4. */
#ifndef TERSE_SIMD_PAGE_H
#define TERSE_SIMD_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TERSE_PAGE = 32,      /* tokens per page */
    TERSE_KV_BLOCK = 32,  /* channels per scale of q8 and q4 */
    TERSE_PAGE_DIM = 576, /* most channels of a key or a value */
};

/* Storage types of keys and values, chosen independently. */
typedef enum {
    TERSE_PAGE_F32,
    TERSE_PAGE_F16,
    TERSE_PAGE_Q8,
    TERSE_PAGE_BF16,
    TERSE_PAGE_Q4,
    TERSE_PAGE_TYPES
} terse_page_type;

/* Whether the type holds integer codes with a scale per block. */
static inline bool terse_page_coded(terse_page_type type)
{
    return type == TERSE_PAGE_Q8 || type == TERSE_PAGE_Q4;
}

/* Bytes of the K or V block of a page (the same for both); a multiple of 64. */
static inline size_t terse_page_block_size(terse_page_type type, int32_t dim)
{
    const size_t n = (size_t)dim * TERSE_PAGE, scales = n / TERSE_KV_BLOCK * 2;
    return type == TERSE_PAGE_F32  ? n * 4
           : type == TERSE_PAGE_Q8 ? n + scales
           : type == TERSE_PAGE_Q4 ? n / 2 + scales
                                   : n * 2;
}

/* Tokens of a V block that share cache lines: the least that can be read by themselves, 1, 2, 4 or 8. */
static inline int32_t terse_page_grain(terse_page_type type, int32_t dim)
{
    const size_t token = terse_page_block_size(type, dim) / TERSE_PAGE;
    return type == TERSE_PAGE_Q8 ? 4 : type == TERSE_PAGE_Q4 ? 8 : token % 64 ? 2 : 1;
}

/* Bytes that reading n tokens of a V block in whole pieces reads, n > 0: their codes and all scales. */
static inline size_t terse_page_tokens_size(terse_page_type type, int32_t dim, int32_t n)
{
    const size_t scales = terse_page_coded(type) ? (size_t)dim / TERSE_KV_BLOCK * TERSE_PAGE * 2 : 0;
    return scales + (terse_page_block_size(type, dim) - scales) / TERSE_PAGE * (size_t)n;
}

/* Channels of a piece of a K block: the least that is read by itself. Two cache lines: one alone takes as long
 * (docs/decisions.md). */
enum { TERSE_PIECE = 4 * TERSE_PAGE };
static inline int32_t terse_page_channels(terse_page_type type)
{
    return type == TERSE_PAGE_F32 ? 1 : type == TERSE_PAGE_Q8 ? 4 : type == TERSE_PAGE_Q4 ? 8 : 2;
}

/* Bytes that reading n of these pieces reads: their codes and all scales. */
static inline size_t terse_page_pieces_size(terse_page_type type, int32_t dim, int32_t n)
{
    const int32_t all = dim / terse_page_channels(type);
    return terse_page_block_size(type, dim) - (size_t)(all - n) * TERSE_PIECE;
}

static inline bool terse_page_dim_ok(terse_page_type type, int32_t dim)
{
    return dim > 0 && dim <= TERSE_PAGE_DIM && dim % (terse_page_coded(type) ? 32 : 16) == 0;
}

/* Store k[dim] or v[dim] as token t of a block. */
void terse_page_put_k(terse_page_type type, void *block, int32_t t, const float *k, int32_t dim);
void terse_page_put_v(terse_page_type type, void *block, int32_t t, const float *v, int32_t dim);
/* Copies token t of block `from` as token `to_t` of block `to`, bit for bit. */
void terse_page_move_k(terse_page_type type, void *to, int32_t to_t, const void *from, int32_t t, int32_t dim);
void terse_page_move_v(terse_page_type type, void *to, int32_t to_t, const void *from, int32_t t, int32_t dim);
/* Read token t back as f32: what the kernels compute with. */
void terse_page_get_k(terse_page_type type, const void *block, int32_t t, float *k, int32_t dim);
void terse_page_get_v(terse_page_type type, const void *block, int32_t t, float *v, int32_t dim);

#endif
