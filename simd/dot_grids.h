/* simd/dot_grids.h: the code words of the IQ1, IQ2 and IQ3 types: 8 codes of 2 bits, or 4 codes of 3 bits, the
 * first value in the lowest bits. Words are for tables in registers; for one look-up after the other there are
 * the 8 codes as bytes, the first value in the lowest. */
#ifndef TERSE_SIMD_DOT_GRIDS_H
#define TERSE_SIMD_DOT_GRIDS_H

#include <stdint.h>

extern const uint16_t terse_grid_iq2_xxs[256];
extern const uint16_t terse_grid_iq2_xs[512];
extern const uint16_t terse_grid_iq2_s[1024];
extern const uint64_t terse_codes_iq1[2048]; /* IQ1_S and IQ1_M */
extern const uint64_t terse_codes_iq2_xxs[256];
extern const uint64_t terse_codes_iq2_xs[512];
extern const uint64_t terse_codes_iq2_s[1024];
extern const uint16_t terse_grid_iq3_xxs[256]; /* 4 values */
extern const uint16_t terse_grid_iq3_s[512];

#endif
