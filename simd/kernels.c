/* simd/kernels.c: fill the kernel tables, lowest tier first. */
#include "simd/kernels.h"

void terse_kernels_for(terse_kernels *k, uint32_t cpu)
{
    terse_dot_init_scalar(&k->dot);
    terse_vec_init_scalar(&k->vec);
    terse_attn_init_scalar(&k->attn);
    terse_summary_init_scalar(&k->summary);
    terse_peak_init_scalar(&k->peak);
#ifdef TERSE_HAVE_AVX2
    if (cpu & TERSE_TIER_AVX2) {
        terse_dot_init_avx2(&k->dot);
        terse_vec_init_avx2(&k->vec);
        terse_attn_init_avx2(&k->attn);
        terse_summary_init_avx2(&k->summary);
        terse_peak_init_avx2(&k->peak);
    }
#endif
#ifdef TERSE_HAVE_AVX512
    if (cpu & TERSE_TIER_AVX512) {
        terse_dot_init_avx512(&k->dot);
        terse_vec_init_avx512(&k->vec);
        terse_attn_init_avx512(&k->attn);
        terse_summary_init_avx512(&k->summary);
        terse_peak_init_avx512(&k->peak);
    }
#endif
#ifdef TERSE_HAVE_NEON
    if (cpu & TERSE_TIER_NEON) {
        terse_dot_init_neon(&k->dot);
        terse_vec_init_neon(&k->vec);
        terse_attn_init_neon(&k->attn);
        terse_summary_init_neon(&k->summary);
        terse_peak_init_neon(&k->peak);
    }
#endif
#ifdef TERSE_HAVE_DOTPROD
    if (cpu & TERSE_TIER_DOTPROD) {
        terse_dot_init_dotprod(&k->dot);
        terse_attn_init_dotprod(&k->attn);
        terse_summary_init_dotprod(&k->summary);
        terse_peak_init_dotprod(&k->peak);
    }
#endif
#ifdef TERSE_HAVE_I8MM
    if (cpu & TERSE_TIER_I8MM)
        terse_dot_init_i8mm(&k->dot);
#endif
    (void)cpu;
}
