/* simd/peak.h: arithmetic and nothing else: what the cores can do, so that a benchmark can say what share of it
 * it reached, and whether the cores were there at all. */
#ifndef TERSE_SIMD_PEAK_H
#define TERSE_SIMD_PEAK_H

#include <stdint.h>

/* Both loops are chains enough to hide the latency of their instruction and stay in registers. What they return
 * depends on all of them. seed: any finite values; a compiler must not know them. */
typedef struct {
    const char *tier; /* the last one that filled an entry */
    /* Fused multiply-adds of f32. */
    float (*fma)(int64_t rounds, float seed);
    /* Products of bytes, added to their neighbours' as far as the tier's instruction does it: to 32 bits with
     * vpdpbusd, to 16 with vpmaddubsw. */
    int32_t (*dot8)(int64_t rounds, int32_t seed);
    int32_t fma_ops, dot8_ops; /* of a round; a multiplication and its addition are two */
} terse_peak_kernels;

void terse_peak_init_scalar(terse_peak_kernels *k);
void terse_peak_init_avx2(terse_peak_kernels *k);
void terse_peak_init_avx512(terse_peak_kernels *k);
void terse_peak_init_neon(terse_peak_kernels *k);
void terse_peak_init_dotprod(terse_peak_kernels *k);

#endif
