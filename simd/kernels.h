/* simd/kernels.h: which kernels a mask of tiers selects. A pure function of the mask, so that two tiers can
 * live in one process (that is how checkkernel compares them). */
#ifndef TERSE_SIMD_KERNELS_H
#define TERSE_SIMD_KERNELS_H

#include "simd/attn.h"
#include "simd/cpu.h"
#include "simd/dot.h"
#include "simd/peak.h"
#include "simd/summary.h"
#include "simd/vec.h"

/* All kernel families of one selection. */
typedef struct {
    terse_dot_kernels dot;
    terse_vec_kernels vec;
    terse_attn_kernels attn;
    terse_summary_kernels summary;
    terse_peak_kernels peak;
} terse_kernels;

/* cpu: a mask of TERSE_TIER_*; the scalar tier fills every entry first, higher tiers replace what they have. */
void terse_kernels_for(terse_kernels *k, uint32_t cpu);

#endif
