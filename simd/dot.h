/* simd/dot.h: rows of weights, as a GGUF file stores them, times activations.
 *
 * Activations are quantised once per token: blocks of 32 int8 with one f32 scale. A dot product is then exact
 * integer sums per block, and one f32 chain per virtual lane, so that every tier gives the same bits:
 *
 *   isum(b)  = sum over the 32 values of block b of (weight code x activation code), an exact integer
 *              (sub-scales of 16 values, Q6_K Q3_K Q2_K IQ2_XS IQ2_S IQ1_M, are integers inside it)
 *   acc[l]   = fmaf(scale(b), (float)isum(b), acc[l])   for b = l, l+8, l+16, ...     8 lanes, l = b mod 8
 *   low[l]   = fmaf(min(b), act.s[b], low[l])           types with a minimum: Q4_K Q5_K Q4_1 Q5_1
 *   low[l]   = fmaf(dmin * da[b], (float)imin(b), low[l])    Q2_K: imin(b) = sum of (4-bit minimum x act. code)
 *   y        = fold(acc) - fold(low)                    by halving: lanes 0..3 += 4..7, 0..1 += 2..3, 0 += 1
 *              (a zero is +0)
 *
 *   scale(b) = dw * da[b]            blocks of 32 with a scale of their own (Q8_0, Q4_0 ...)
 *            = (d * sc[b]) * da[b]   superblocks with a sub-scale per block: Q4_K Q5_K IQ4_XS IQ2_XXS IQ3_XXS
 *                                    IQ3_S IQ1_S; d times the format's constant power of two, exact
 *            = d * da[b]             the others: one scale, or sc is inside isum
 *   min(b)   = dmin * m[b]; Q4_1, Q5_1: -m
 *
 * What codes and scales a file's bytes stand for: dot_unpack.h, a row of a table per type.
 *
 * Float weights (F32, F16, BF16) meet the activations as f32, 16 lanes, l = i mod 16:
 *   acc[l]   = fmaf(w[i], x[i], acc[l]);  y = fold(acc), 16 lanes by halving
 *
 * Every product above that is not inside an fmaf is rounded to f32. Source of the block formats: the GGUF files
 * themselves (ggml's block_q8_0 and its siblings). */
#ifndef TERSE_SIMD_DOT_H
#define TERSE_SIMD_DOT_H

#include <stddef.h>
#include <stdint.h>

enum {
    TERSE_ACT_BLOCK = 32, /* values per activation block */
    TERSE_DOT_LANES = 8,
};

/* The activations of n_token tokens, n values each (any n >= 1). Arrays are token-major with the strides given,
 * 64-byte aligned, and padded with zeros to a multiple of 8 blocks (256 values); what is behind is not used.
 * Filled by terse_dot_kernels.quantize; x is the caller's and is what float weights read. */
typedef struct {
    int32_t n;       /* values per token */
    int32_t n_token; /* how many tokens are in use */
    int32_t n_pad;   /* the stride of q: n rounded up to a multiple of 256, or a larger one */
    const float *x;  /* [n_token][x_stride] f32 */
    size_t x_stride;
    int8_t *q;    /* [n_token][n_pad] codes -127..127 */
    float *d;     /* [n_token][n_pad/32] scale: x ~ d * q. NaN and q 0 where the block is not all finite */
    float *s;     /* [n_token][n_pad/32] d * (sum of the block's q) */
    int32_t *sum; /* [n_token][n_pad/16] sums of 16 neighbouring q: corrects unsigned weight codes */
} terse_acts;

typedef enum {
    TERSE_DOT_F32,
    TERSE_DOT_F16,
    TERSE_DOT_BF16,
    TERSE_DOT_Q8_0,
    TERSE_DOT_Q4_0,
    TERSE_DOT_Q4_K,
    TERSE_DOT_Q5_K,
    TERSE_DOT_Q6_K,
    TERSE_DOT_Q4_1,
    TERSE_DOT_Q5_0,
    TERSE_DOT_Q5_1,
    TERSE_DOT_Q2_K,
    TERSE_DOT_Q3_K,
    TERSE_DOT_IQ4_NL,
    TERSE_DOT_IQ4_XS,
    TERSE_DOT_MXFP4,
    TERSE_DOT_TQ1_0,
    TERSE_DOT_TQ2_0,
    TERSE_DOT_IQ2_XXS,
    TERSE_DOT_IQ2_XS,
    TERSE_DOT_IQ2_S,
    TERSE_DOT_IQ3_XXS,
    TERSE_DOT_IQ3_S,
    TERSE_DOT_IQ1_S,
    TERSE_DOT_IQ1_M,
    TERSE_DOT_N
} terse_dot_type;

/* y[t * y_stride + r] = row r . activations of token t, for r in [0, n_row) and t in [0, x->n_token).
 * w: n_row rows of x->n values, each row_size bytes after the one before, no alignment assumed beyond the
 * type's own 2 bytes (MXFP4: 1). Reads nothing outside the rows. */
typedef void terse_dot_rows(terse_dot_type type, float *y, size_t y_stride, const void *w, size_t row_size,
                            int32_t n_row, const terse_acts *x);

typedef struct {
    const char *tier; /* the last one that filled an entry */
    /* Fills q, d, s, sum of token t of *a from a->x. amax = largest |x| of the block (compared as integers, so
     * that NaN and infinity are seen); d = amax / 127; q = nearest even of x * (127 / amax), and 0 where
     * 127 / amax is infinite (amax below 2^-121 or 0). */
    void (*quantize)(const terse_acts *a, int32_t t);
    terse_dot_rows *rows;
} terse_dot_kernels;

/* The scalar tier fills every entry and is the specification. */
void terse_dot_init_scalar(terse_dot_kernels *k);
void terse_dot_init_avx2(terse_dot_kernels *k);
void terse_dot_init_avx512(terse_dot_kernels *k);
void terse_dot_init_neon(terse_dot_kernels *k);
void terse_dot_init_dotprod(terse_dot_kernels *k);
void terse_dot_init_i8mm(terse_dot_kernels *k);

/* The terse_dot_type that multiplies tensors of GGUF type ggml_type, or -1. All types that GGUF files store
 * weights in; Q8_1 and Q8_K are intermediate results and in no file. */
int terse_dot_type_of(uint32_t ggml_type);

/* y[n] = the f32 values of one row of GGUF type terse_dot_type; n a whole number of its blocks. Portable code,
 * bit-equal to the reference dequantisation (order of operations: ggml's dequantize_row_*). */
void terse_dequant_row(terse_dot_type type, float *y, const void *row, int64_t n);

/* Conversions of a single value; f32 to f16 and bf16 round to nearest even, NaN stays NaN. */
float terse_f16_to_f32(uint16_t h);
uint16_t terse_f32_to_f16(float f);
float terse_bf16_to_f32(uint16_t h);
uint16_t terse_f32_to_bf16(float f);

#endif
