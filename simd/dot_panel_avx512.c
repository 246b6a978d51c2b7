/* simd/dot_panel_avx512.c: rows of every type as codes and scales whose lanes are rows. Dwords of 16 rows are
 * brought together before nibbles are taken apart where a type allows it, which halves the work. */
#include "simd/dot_panel_avx512.h"

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

/* Dword m of the 16 bytes at byte at of every row. */
INLINE void dwords_of_rows(__m512i out[4], const uint8_t *const row[LANES], size_t at)
{
    __m512i z[4]; /* rows i, i + 4, i + 8, i + 12 */
    for (int i = 0; i < 4; i++) {
        z[i] = _mm512_castsi128_si512(_mm_loadu_si128((const void *)(row[i] + at)));
        z[i] = _mm512_mask_broadcast_i32x4(z[i], 0x00f0, _mm_loadu_si128((const void *)(row[i + 4] + at)));
        z[i] = _mm512_mask_broadcast_i32x4(z[i], 0x0f00, _mm_loadu_si128((const void *)(row[i + 8] + at)));
        z[i] = _mm512_mask_broadcast_i32x4(z[i], 0xf000, _mm_loadu_si128((const void *)(row[i + 12] + at)));
    }
    const __m512i lo01 = _mm512_unpacklo_epi32(z[0], z[1]), hi01 = _mm512_unpackhi_epi32(z[0], z[1]);
    const __m512i lo23 = _mm512_unpacklo_epi32(z[2], z[3]), hi23 = _mm512_unpackhi_epi32(z[2], z[3]);
    out[0] = _mm512_unpacklo_epi64(lo01, lo23);
    out[1] = _mm512_unpackhi_epi64(lo01, lo23);
    out[2] = _mm512_unpacklo_epi64(hi01, hi23);
    out[3] = _mm512_unpackhi_epi64(hi01, hi23);
}

INLINE void bytes_of_rows(step_rows p, const uint8_t *const row[LANES])
{
    for (int b = 0; b < 8; b++)
        for (int half = 0; half < 2; half++) {
            __m512i w[4];
            dwords_of_rows(w, row,
                           (size_t)b * sizeof(block_q8_0) + offsetof(block_q8_0, q) + (size_t)half * 16);
            for (int i = 0; i < 4; i++)
                put_code(p, b, half * 4 + i, _mm512_xor_si512(w[i], _mm512_set1_epi8((char)128)));
        }
}

/* Blocks of 16 bytes of nibbles, which are codes, or indices of the 16 values in map: Q4_0, Q4_1, IQ4_NL,
 * IQ4_XS, MXFP4. */
INLINE void nibbles_of_rows(step_rows p, const uint8_t *const row[LANES], size_t size, size_t at,
                            const __m512i *map)
{
    for (int b = 0; b < 8; b++) {
        __m512i w[4];
        dwords_of_rows(w, row, (size_t)b * size + at);
        for (int i = 0; i < 4; i++) {
            const __m512i low = low_nibbles(w[i]), high = high_nibbles(w[i]);
            put_code(p, b, i, map ? _mm512_shuffle_epi8(*map, low) : low);
            put_code(p, b, 4 + i, map ? _mm512_shuffle_epi8(*map, high) : high);
        }
    }
}

/* Bit of every byte of bits, as 16. */
INLINE __m512i sixteens(__m512i bits, int bit)
{
    const __m512i at4 =
        bit < 4 ? _mm512_slli_epi16(bits, (unsigned)(4 - bit)) : _mm512_srli_epi16(bits, (unsigned)(bit - 4));
    return _mm512_and_si512(at4, _mm512_set1_epi8(16));
}

/* Q4_K, Q5_K: low nibbles of the 32 bytes at byte at are a block, the high ones the next; bit b of the 32 bytes
 * at byte fifth, if there are any, is block b's fifth bits. */
INLINE void nibble_pairs_of_rows(step_rows p, const uint8_t *const row[LANES], size_t at, size_t fifth)
{
    for (int half = 0; half < 2; half++) {
        __m512i w[4], bits[4];
        if (fifth)
            dwords_of_rows(bits, row, fifth + (size_t)half * 16);
        for (int b = 0; b < 8; b += 2) {
            dwords_of_rows(w, row, at + (size_t)(b * 16 + half * 16));
            for (int i = 0; i < 4; i++) {
                const __m512i low = low_nibbles(w[i]), high = high_nibbles(w[i]);
                put_code(p, b, half * 4 + i, fifth ? _mm512_or_si512(low, sixteens(bits[i], b)) : low);
                put_code(p, b + 1, half * 4 + i,
                         fifth ? _mm512_or_si512(high, sixteens(bits[i], b + 1)) : high);
            }
        }
    }
}

/* Q6_K: four blocks have their low bits in 64 bytes of nibbles and their two high bits in 32 bytes. */
INLINE void six_bits_of_rows(step_rows p, const uint8_t *const row[LANES])
{
    const __m512i top = _mm512_set1_epi8(48);
    for (int part = 0; part < 4; part++) { /* of 128 values, then the first or last half of their blocks */
        const size_t ql = offsetof(block_q6_k, ql) + (size_t)(part / 2 * 64 + part % 2 * 16);
        __m512i even[4], odd[4], bits[4];
        dwords_of_rows(even, row, ql);
        dwords_of_rows(odd, row, ql + 32);
        dwords_of_rows(bits, row, offsetof(block_q6_k, qh) + (size_t)(part * 16));
        for (int i = 0; i < 4; i++) {
            const int b = part / 2 * 4, to = part % 2 * 4 + i;
            put_code(p, b, to, or_bits(low_nibbles(even[i]), _mm512_slli_epi16(bits[i], 4), 48));
            put_code(p, b + 1, to, or_bits(low_nibbles(odd[i]), _mm512_slli_epi16(bits[i], 2), 48));
            put_code(p, b + 2, to, _mm512_or_si512(high_nibbles(even[i]), _mm512_and_si512(bits[i], top)));
            put_code(p, b + 3, to, or_bits(high_nibbles(odd[i]), _mm512_srli_epi16(bits[i], 2), 48));
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
    step_codes raw[LANES];
    codes c[LANES];
    for (int r = 0; r < LANES; r++)
        unpack_codes(type, &raw[r], row[r]);
    for (int r = 0; r < LANES; r++)
        c[r] = codes_of_step(&dot_formats[type], &raw[r]);
    transpose_codes(p, c);
}

static void codes_of_panel(terse_dot_type type, step_rows p, const uint8_t *const row[LANES])
{
#define MAP(values, offset)                                                                                    \
    _mm512_broadcast_i32x4(_mm_add_epi8(_mm_loadu_si128((const void *)(values)), _mm_set1_epi8((char)(offset))))
    const __m512i iq4 = MAP(iq4_values, offset_of(TERSE_DOT_IQ4_NL));
    const __m512i fp4 = MAP(fp4_values, offset_of(TERSE_DOT_MXFP4));
    switch (path_of(type)) {
    case TERSE_DOT_Q8_0:
        bytes_of_rows(p, row);
        break;
    case TERSE_DOT_Q4_0:
        nibbles_of_rows(p, row, sizeof(block_q4_0), offsetof(block_q4_0, q), NULL);
        break;
    case TERSE_DOT_Q4_1:
        nibbles_of_rows(p, row, sizeof(block_q4_1), offsetof(block_q4_1, q), NULL);
        break;
    case TERSE_DOT_IQ4_NL:
        nibbles_of_rows(p, row, sizeof(block_q4_0), offsetof(block_q4_0, q), &iq4);
        break;
    case TERSE_DOT_IQ4_XS:
        nibbles_of_rows(p, row, 16, offsetof(block_iq4_xs, q), &iq4);
        break;
    case TERSE_DOT_MXFP4:
        nibbles_of_rows(p, row, sizeof(block_mxfp4), offsetof(block_mxfp4, q), &fp4);
        break;
    case TERSE_DOT_Q4_K:
        nibble_pairs_of_rows(p, row, offsetof(block_q4_k, q), 0);
        break;
    case TERSE_DOT_Q5_K:
        nibble_pairs_of_rows(p, row, offsetof(block_q5_k, q), offsetof(block_q5_k, qh));
        break;
    case TERSE_DOT_Q6_K:
        six_bits_of_rows(p, row);
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

INLINE __m512 halves(const uint16_t h[LANES])
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)h));
}

INLINE __m512 unsigned_bytes(const uint8_t v[LANES])
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)v)));
}

INLINE __m512 signed_bytes(const int8_t v[LANES])
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)v)));
}

/* Q8_0, Q4_0, IQ4_NL, Q5_0: a block begins with its scale and has no other. */
INLINE void unpack_block_scales(step_rows p, const uint8_t *const row[LANES], size_t block_size)
{
    for (size_t b = 0; b < 8; b++) {
        uint16_t h[LANES];
        for (int r = 0; r < LANES; r++)
            memcpy(&h[r], row[r] + b * block_size, sizeof *h);
        put_scale(p, (int)b, CODES, halves(h));
    }
}

INLINE void unpack_k_scales(step_rows p, const uint8_t *const row[LANES])
{
    uint16_t d[LANES], dmin[LANES];
    uint8_t sc[8][LANES], mn[8][LANES];
    for (int r = 0; r < LANES; r++) {
        const block_q4_k *w = (const void *)row[r]; /* Q5_K begins alike */
        uint8_t s[8], m[8];
        d[r] = w->d;
        dmin[r] = w->dmin;
        sub_scales(w->scales, s, m);
        for (int b = 0; b < 8; b++) {
            sc[b][r] = s[b];
            mn[b][r] = m[b];
        }
    }
    for (int b = 0; b < 8; b++) {
        put_scale(p, b, CODES, _mm512_mul_ps(halves(d), unsigned_bytes(sc[b])));
        put_scale(p, b, MIN_AT, _mm512_mul_ps(halves(dmin), unsigned_bytes(mn[b])));
    }
}

INLINE void unpack_k6_scales(step_rows p, const uint8_t *const row[LANES])
{
    uint16_t d[LANES];
    int8_t sc[16][LANES];
    for (int r = 0; r < LANES; r++) {
        const block_q6_k *w = (const void *)row[r];
        d[r] = w->d;
        for (int i = 0; i < 16; i++)
            sc[i][r] = w->sc[i];
    }
    for (int i = 0; i < 16; i++)
        put_scale(p, i / 2, sub_at(HAS_SUB) + i % 2 * PANELS, signed_bytes(sc[i]));
    for (int b = 0; b < 8; b++)
        put_scale(p, b, CODES, halves(d));
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
    codes_of_panel(type, p, row);
    switch (type) {
    case TERSE_DOT_Q6_K:
        unpack_k6_scales(p, row);
        break;
    case TERSE_DOT_Q4_K:
    case TERSE_DOT_Q5_K:
        unpack_k_scales(p, row);
        break;
    case TERSE_DOT_Q8_0:
    case TERSE_DOT_Q4_0:
    case TERSE_DOT_IQ4_NL:
    case TERSE_DOT_Q5_0:
        unpack_block_scales(p, row, dot_formats[type].size);
        break;
    default:
        unpack_step_scales(type, p, row);
    }
}
