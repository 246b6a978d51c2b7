/* simd/dot_panel_avx512.h: a panel, 32 rows of some steps (256 values) as dot_many_avx512.c multiplies them and
 * dot_panel_avx512.c unpacks them.
 *
 * The lanes of a register are 16 rows; four neighbouring codes of each row are a register, a scale of each row
 * is another. Blocks are sorted by accumulator (dot.h): all with the same b mod 8 follow each other. */
#ifndef TERSE_SIMD_DOT_PANEL_AVX512_H
#define TERSE_SIMD_DOT_PANEL_AVX512_H

#include "simd/dot_avx512.h"

enum {
    LANES = 16,
    PANELS = 2, /* a broadcast serves so many registers of 16 rows */
    ROWS = PANELS * LANES,
};

/* A block of ROWS rows in a panel is so many registers: codes[8][PANELS], d[PANELS], and as the type has them
 * min[PANELS], sub[2][PANELS], low[2][PANELS]. kind: the traits HAS_MIN, HAS_SUB and HAS_LOW of a type. */
enum { CODES = 8 * PANELS, MIN_AT = CODES + PANELS, BLOCK_MAX = MIN_AT + 5 * PANELS };
INLINE int sub_at(int kind)
{
    return MIN_AT + (kind & (HAS_MIN | HAS_LOW) ? PANELS : 0);
}
INLINE int low_at(int kind)
{
    return sub_at(kind) + (kind & HAS_SUB ? 2 * PANELS : 0);
}
INLINE int block_of(int kind)
{
    return low_at(kind) + (kind & HAS_LOW ? 2 * PANELS : 0);
}

/* Where a step of 16 rows goes: the first register of its first block, and how far it is to the next. */
typedef struct {
    __m512i *block;
    size_t next;
} step_rows;

/* Unpacks a step of 16 rows, of which all 8 blocks can be read. */
void terse_panel_unpack_avx512(terse_dot_type type, step_rows to, const uint8_t *const row[LANES]);

#endif
