/* simd/vec.h: the elementwise and row operations of a layer: norms, rope, gates, residual, caps.
 *
 * Every tier gives the same bits: elementwise operations are written with fmaf where the scalar code says so;
 * sums run over 16 virtual lanes (lane = i mod 16) folded by halving. exp is one polynomial (simd/expf.h). */
#ifndef TERSE_SIMD_VEC_H
#define TERSE_SIMD_VEC_H

#include <stddef.h>
#include <stdint.h>

#define TERSE_GELU_TURN   -1.59576912f /* -2 sqrt(2 / pi) */
#define TERSE_GELU_CUBE   0.044715f
#define TERSE_SWIGLU_CAP  7.0f
#define TERSE_SWIGLU_TURN -1.702f

typedef struct {
    const char *tier; /* the last one that filled an entry */
    /* y = x / sqrt(mean(x^2) + eps) * w.  y may be x. */
    void (*rms_norm)(float *y, const float *x, const float *w, int32_t n, float eps);
    /* With m = mean(x): y = (x - m) / sqrt(mean((x - m)^2) + eps) * w, + b if b is not NULL.  y may be x. */
    void (*layer_norm)(float *y, const float *x, const float *w, const float *b, int32_t n, float eps);
    /* Rotates the pairs (x[2i], x[2i+1]) by the angles whose cosine and sine are cs[2i], cs[2i+1]; n = 2 *
     * pairs. */
    void (*rope_pairs)(float *x, const float *cs, int32_t n);
    /* Rotates the pairs (x[i], x[n/2+i]) by the angles whose cosine and sine are cs[i], cs[n/2+i]. */
    void (*rope_halves)(float *x, const float *cs, int32_t n);
    /* y = silu(gate) * up;  silu(g) = g / (1 + exp(-g)).  y may be gate or up. */
    void (*silu_mul)(float *y, const float *gate, const float *up, int32_t n);
    /* y = gelu(gate) * up with the tanh form of GELU, g (1 + tanh u) / 2 = g / (1 + exp(-2u)),
     * u = sqrt(2 / pi) g (1 + 0.044715 g^2) (Hendrycks and Gimpel 2016).  y may be gate or up. */
    void (*gelu_mul)(float *y, const float *gate, const float *up, int32_t n);
    /* gpt-oss: g = min(gate, 7), u = up within -7..7;  y = g / (1 + exp(-1.702 g)) * (u + 1).  y may be gate or
     * up. */
    void (*swiglu_clamped)(float *y, const float *gate, const float *up, int32_t n);
    /* x = cap * tanh(x / cap), as cap - 2 cap / (1 + exp(2 x / cap)): right to a rounding of cap. */
    void (*softcap)(float *x, int32_t n, float cap);
    /* y += x */
    void (*add)(float *y, const float *x, int32_t n);
    /* y = fmaf(a, x, y) */
    void (*axpy)(float *y, float a, const float *x, int32_t n);
    /* Sum modulo 2^64 of the 64-bit words of size bytes, a multiple of 64; p @64. Written to be limited by
     * memory alone: what it reaches is the roofline of everything else. */
    uint64_t (*read)(const void *p, size_t size);
} terse_vec_kernels;

void terse_vec_init_scalar(terse_vec_kernels *k);
void terse_vec_init_avx2(terse_vec_kernels *k);
void terse_vec_init_avx512(terse_vec_kernels *k);
void terse_vec_init_neon(terse_vec_kernels *k);

#endif
