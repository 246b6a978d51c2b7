/* simd/dot_panel_avx512.c: rows of every type as codes and scales whose lanes are rows: the common types
 * by columns (dot_columns_avx512.h), the others row by row. */
#include "simd/dot_columns_avx512.h"

/* Codes 4i..4i+3 of block b. */
INLINE void put_code(step_rows p, int b, int i, __m512i v)
{
    p.block[(size_t)b * p.next + (size_t)(i * PANELS)] = v;
}
/* at: CODES for d, MIN_AT, sub_at(), low_at(). */
INLINE void put_scale(step_rows p, int b, int at, __m512 v)
{
    p.block[(size_t)b * p.next + (size_t)at] = _mm512_castps_si512(v);
}

/* ---- types that are taken apart as columns ---- */

INLINE void put_block(int kind, step_rows p, int b, const row_block *v)
{
    for (int i = 0; i < 8; i++)
        put_code(p, b, i, v->code[i]);
    put_scale(p, b, CODES, v->d);
    if (kind & HAS_MIN)
        put_scale(p, b, MIN_AT, v->min);
    for (int i = 0; kind & HAS_SUB && i < 2; i++)
        put_scale(p, b, sub_at(kind) + i * PANELS, v->sub[i]);
}

INLINE void columns_of_step(int kind, terse_dot_type type, step_rows p, const uint8_t *const row[LANES])
{
    __m512i col[COLUMNS_MAX];
    const size_t size = step_size(type);
    for (int c = 0; c < n_chunk(size); c++)
        read_chunk(col, row, size, c);
    for (int b = 0; b < 8; b += 2)
        for (int odd = 0; odd < 2; odd++) {
            const row_block v = block_of_columns(type, col, b / 2, odd);
            put_block(kind, p, b + odd, &v);
        }
}

#define COLUMNS_OF_STEP(name, kind, type)                                                                      \
    static void step_##name(step_rows p, const uint8_t *const row[LANES])                                      \
    {                                                                                                          \
        columns_of_step(kind, type, p, row);                                                                   \
    }
COLUMN_TYPES(COLUMNS_OF_STEP)

typedef void step_fn(step_rows p, const uint8_t *const row[LANES]);
#define STEP_ENTRY(name, kind, type) [type] = step_##name,
static step_fn *const by_columns[TERSE_DOT_N] = { COLUMN_TYPES(STEP_ENTRY) };

/* ---- others ---- */

/* Blocks begin with a byte, so that no dword of a row is a dword of codes. */
INLINE void mxfp4_of_rows(step_rows p, const uint8_t *const row[LANES])
{
    const __m512i map = _mm512_broadcast_i32x4(_mm_add_epi8(_mm_loadu_si128((const void *)fp4_values),
                                                            _mm_set1_epi8((char)offset_of(TERSE_DOT_MXFP4))));
    for (int b = 0; b < 8; b++) {
        __m512i w[4];
        dwords_of_rows(w, row, (size_t)b * sizeof(block_mxfp4) + offsetof(block_mxfp4, q));
        for (int i = 0; i < 4; i++) {
            put_code(p, b, i, _mm512_shuffle_epi8(map, low_nibbles(w[i])));
            put_code(p, b, 4 + i, _mm512_shuffle_epi8(map, high_nibbles(w[i])));
        }
    }
}

/* 16 rows of 16 dwords: out[m][L] gets dword 4L + m of all rows. */
INLINE void transpose_rows(__m512i out[4][4], const __m512i *row, size_t stride)
{
    __m512i u[4][4]; /* [dword of lane][four rows] */
    for (int g = 0; g < 4; g++) {
        const __m512i *r = row + (size_t)(4 * g) * stride;
        const __m512i lo01 = _mm512_unpacklo_epi32(r[0], r[stride]),
                      hi01 = _mm512_unpackhi_epi32(r[0], r[stride]);
        const __m512i lo23 = _mm512_unpacklo_epi32(r[2 * stride], r[3 * stride]);
        const __m512i hi23 = _mm512_unpackhi_epi32(r[2 * stride], r[3 * stride]);
        u[0][g] = _mm512_unpacklo_epi64(lo01, lo23);
        u[1][g] = _mm512_unpackhi_epi64(lo01, lo23);
        u[2][g] = _mm512_unpacklo_epi64(hi01, hi23);
        u[3][g] = _mm512_unpackhi_epi64(hi01, hi23);
    }
    for (int m = 0; m < 4; m++)
        transpose_lanes(out[m], u[m][0], u[m][1], u[m][2], u[m][3]);
}

INLINE void transpose_codes(step_rows p, const codes c[LANES])
{
    for (int i = 0; i < 4; i++) { /* even blocks' first and last halves, odd blocks' first and last */
        __m512i out[4][4];
        transpose_rows(out, &c[0].c[i], sizeof *c / sizeof(__m512i));
        for (int m = 0; m < 4; m++)
            for (int l = 0; l < 4; l++)
                put_code(p, 2 * l + i / 2, i % 2 * 4 + m, out[m][l]);
    }
}

INLINE void codes_of_rows(int path, step_rows p, const uint8_t *const row[LANES])
{
    codes c[LANES];
    for (int r = 0; r < LANES; r++)
        c[r] = codes_of(path, row[r]);
    transpose_codes(p, c);
}

static void unpacked_codes(terse_dot_type type, step_rows p, const uint8_t *const row[LANES])
{
    step_scales scales[LANES]; /* unpack_step_scales brings them in order */
    codes c[LANES];
    terse_unpack_avx512[type](c, scales, row, 0, LANES);
    transpose_codes(p, c);
}

static void codes_of_panel(terse_dot_type type, step_rows p, const uint8_t *const row[LANES])
{
    switch (path_of(type)) {
    case TERSE_DOT_MXFP4:
        mxfp4_of_rows(p, row);
        break;
    case TERSE_DOT_Q5_0:
        codes_of_rows(TERSE_DOT_Q5_0, p, row);
        break;
    case TERSE_DOT_Q5_1:
        codes_of_rows(TERSE_DOT_Q5_1, p, row);
        break;
    case TERSE_DOT_Q2_K:
        codes_of_rows(TERSE_DOT_Q2_K, p, row);
        break;
    case TERSE_DOT_Q3_K:
        codes_of_rows(TERSE_DOT_Q3_K, p, row);
        break;
    case TERSE_DOT_TQ2_0:
        codes_of_rows(TERSE_DOT_TQ2_0, p, row);
        break;
    default:
        unpacked_codes(type, p, row);
    }
}

INLINE __m512 signed_bytes(const int8_t v[LANES])
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)v)));
}

/* Any type, by dot_unpack.h. */
static void unpack_step_scales(terse_dot_type type, step_rows p, const uint8_t *const row[LANES])
{
    const int kind = dot_formats[type].traits & (HAS_MIN | HAS_SUB | HAS_LOW);
    float d[8][LANES], min[8][LANES];
    int8_t sub[16][LANES], low[16][LANES];
    for (int r = 0; r < LANES; r++) {
        step_scales s = { 0 };
        dot_formats[type].scales(&s, row[r], QK_BLOCKS);
        for (int b = 0; b < 8; b++) {
            d[b][r] = s.d[b];
            min[b][r] = s.min[b];
        }
        for (int i = 0; i < 16; i++) {
            sub[i][r] = s.sub[i];
            low[i][r] = s.low[i];
        }
    }
    for (int b = 0; b < 8; b++) {
        put_scale(p, b, CODES, _mm512_loadu_ps(d[b]));
        if (kind & (HAS_MIN | HAS_LOW))
            put_scale(p, b, MIN_AT, _mm512_loadu_ps(min[b]));
    }
    for (int i = 0; i < 16; i++) {
        if (kind & HAS_SUB)
            put_scale(p, i / 2, sub_at(kind) + i % 2 * PANELS, signed_bytes(sub[i]));
        if (kind & HAS_LOW)
            put_scale(p, i / 2, low_at(kind) + i % 2 * PANELS, signed_bytes(low[i]));
    }
}

void terse_panel_unpack_avx512(terse_dot_type type, step_rows p, const uint8_t *const row[LANES])
{
    if (by_columns[type]) {
        by_columns[type](p, row);
        return;
    }
    codes_of_panel(type, p, row);
    unpack_step_scales(type, p, row);
}
