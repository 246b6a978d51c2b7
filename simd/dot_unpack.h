/* simd/dot_unpack.h: what the quantised types mean: for each a row of a table and two functions, one that takes
 * the codes of a block of 32 values out of the file's bytes and one that takes the scales of up to 8 such
 * blocks. The scalar tier and the dequantisation are made of these; the vector tiers use them for the types
 * that they have no instructions of their own for. Static helpers only. */
#ifndef TERSE_SIMD_DOT_UNPACK_H
#define TERSE_SIMD_DOT_UNPACK_H

#include <stdbool.h>

#include "simd/dot_blocks.h"
#include "simd/dot_grids.h"

/* Codes of 8 blocks as they are stored: value = map[raw], or raw - offset; negative where its sign bit is set.
 */
typedef struct {
    uint8_t raw[QK];
    uint8_t sign[QK / 8]; /* types with signs: bit i of byte k belongs to value 8k + i; HAS_EVEN_SIGNS: bit 7 is
                             such that an even number is set */
} step_codes;

/* value = (d * sub) * code - min, for Q2_K - min * low. d * sub is exact in all types. */
typedef struct {
    float d[QK_BLOCKS], min[QK_BLOCKS]; /* per 32 values; min only with HAS_MIN or HAS_LOW */
    int8_t sub[16], low[16];            /* per 16 values; only with HAS_SUB, HAS_LOW */
} step_scales;

enum {
    HAS_MIN = 1,   /* a minimum per 32 values */
    HAS_SUB = 2,   /* an integer scale per 16 values */
    HAS_LOW = 4,   /* an integer minimum per 16 values, to be multiplied by min */
    HAS_SIGNS = 8, /* signs apart from the codes */
    HAS_EVEN_SIGNS = 16,
};

/* Block b of the 8 that begin at w. */
typedef void unpack_codes_fn(step_codes *s, const uint8_t *w, int b);
/* The first n of these blocks, n = 8 for superblocks. */
typedef void unpack_scales_fn(step_scales *s, const uint8_t *w, int n);

typedef struct {
    size_t size; /* bytes per block */
    int len;     /* values per block, 32 or 256; 0: not a quantised type */
    int traits;  /* HAS_... */
    int offset;
    const int8_t *map; /* [16]; NULL: offset counts */
    unpack_codes_fn *codes;
    unpack_scales_fn *scales;
} dot_format;

/* ---- pieces ---- */

/* What a tier has made of instructions of its own (dot_paths_avx2.h, dot_unpack_neon.h) is not made again. */
#ifndef TERSE_DOT_HALF
static inline float half(uint16_t h)
{
    return terse_f16_to_f32(h);
}
#endif

static inline uint32_t four_codes_of(uint16_t word)
{
    return (word & 7u) | (word & 7u << 3) << 5 | (word & 7u << 6) << 10 | (word & 7u << 9) << 15;
}
static inline uint32_t four_sevens(uint32_t word)
{
    return (word & 127u) | (word & 127u << 7) << 1 | (word & 127u << 14) << 2 | (word & 127u << 21) << 3;
}

static inline uint32_t word32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void put8(step_codes *s, int at, uint64_t codes)
{
    memcpy(s->raw + at, &codes, sizeof codes);
}

static inline void put4(step_codes *s, int at, uint32_t codes)
{
    memcpy(s->raw + at, &codes, sizeof codes);
}

/* Four times seven signs. */
static inline void put_signs(step_codes *s, int b, uint32_t signs)
{
    const uint32_t bytes = four_sevens(signs);
    memcpy(s->sign + 4 * b, &bytes, sizeof bytes);
}

static inline void nibbles(uint8_t raw[32], const uint8_t q[16])
{
    for (int i = 0; i < 16; i++) {
        raw[i] = q[i] & 15;
        raw[i + 16] = q[i] >> 4;
    }
}

static inline void add_fifth_bits(uint8_t raw[32], const uint8_t qh[4])
{
    const uint32_t bits = word32(qh);
    for (int i = 0; i < 32; i++)
        raw[i] |= (uint8_t)((bits >> i & 1) << 4);
}

static inline void two_bits(uint8_t raw[32], const uint8_t q[64], int b)
{
    for (int i = 0; i < 32; i++)
        raw[i] = q[b / 4 * 32 + i] >> (b % 4 * 2) & 3;
}

static inline void same_scale(step_scales *s, float d)
{
    for (int b = 0; b < QK_BLOCKS; b++)
        s->d[b] = d;
}

/* ---- blocks of 32 ---- */

/* Blocks that begin with d and, if they have one, the minimum's negative. */
static inline void block_scales(step_scales *s, const uint8_t *w, int n, size_t size, bool min)
{
    for (int b = 0; b < n; b++, w += size) {
        uint16_t h[2];
        memcpy(h, w, sizeof h);
        s->d[b] = half(h[0]);
        if (min)
            s->min[b] = -half(h[1]);
    }
}

static inline void codes_q8_0(step_codes *s, const uint8_t *w, int b)
{
    const block_q8_0 *k = (const void *)w;
    for (int i = 0; i < 32; i++)
        s->raw[b * 32 + i] = (uint8_t)(k[b].q[i] + 128);
}

static inline void scales_q8_0(step_scales *s, const uint8_t *w, int n)
{
    block_scales(s, w, n, sizeof(block_q8_0), false);
}

static inline void codes_q4_0(step_codes *s, const uint8_t *w, int b)
{
    nibbles(s->raw + b * 32, ((const block_q4_0 *)(const void *)w)[b].q);
}

static inline void scales_q4_0(step_scales *s, const uint8_t *w, int n)
{
    block_scales(s, w, n, sizeof(block_q4_0), false);
}

static inline void codes_q4_1(step_codes *s, const uint8_t *w, int b)
{
    nibbles(s->raw + b * 32, ((const block_q4_1 *)(const void *)w)[b].q);
}

static inline void scales_q4_1(step_scales *s, const uint8_t *w, int n)
{
    block_scales(s, w, n, sizeof(block_q4_1), true);
}

static inline void codes_q5_0(step_codes *s, const uint8_t *w, int b)
{
    const block_q5_0 *k = (const void *)w;
    nibbles(s->raw + b * 32, k[b].q);
    add_fifth_bits(s->raw + b * 32, k[b].qh);
}

static inline void scales_q5_0(step_scales *s, const uint8_t *w, int n)
{
    block_scales(s, w, n, sizeof(block_q5_0), false);
}

static inline void codes_q5_1(step_codes *s, const uint8_t *w, int b)
{
    const block_q5_1 *k = (const void *)w;
    nibbles(s->raw + b * 32, k[b].q);
    add_fifth_bits(s->raw + b * 32, k[b].qh);
}

static inline void scales_q5_1(step_scales *s, const uint8_t *w, int n)
{
    block_scales(s, w, n, sizeof(block_q5_1), true);
}

static const int8_t iq4_values[16] = {
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113
};
static const int8_t fp4_values[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };

static inline void codes_mxfp4(step_codes *s, const uint8_t *w, int b)
{
    nibbles(s->raw + b * 32, ((const block_mxfp4 *)(const void *)w)[b].q);
}

static inline void scales_mxfp4(step_scales *s, const uint8_t *w, int n)
{
    const block_mxfp4 *k = (const void *)w;
    for (int b = 0; b < n; b++) {
        const uint32_t e = k[b].e, bits = e < 2 ? 0x00200000u << e : (e - 1) << 23; /* denormal, normal */
        memcpy(&s->d[b], &bits, sizeof bits);
    }
}

/* ---- superblocks of 256 with codes of their own ---- */

static inline void codes_q2_k(step_codes *s, const uint8_t *w, int b)
{
    two_bits(s->raw + b * 32, ((const block_q2_k *)(const void *)w)->q, b);
}

static inline void scales_q2_k(step_scales *s, const uint8_t *w, int n)
{
    const block_q2_k *k = (const void *)w;
    const float dmin = half(k->dmin);
    same_scale(s, half(k->d));
    for (int b = 0; b < n; b++)
        s->min[b] = dmin;
    for (int i = 0; i < 16; i++) {
        s->sub[i] = k->sub[i] & 15;
        s->low[i] = (int8_t)(k->sub[i] >> 4);
    }
}

static inline void codes_q3_k(step_codes *s, const uint8_t *w, int b)
{
    const block_q3_k *k = (const void *)w;
    uint8_t *raw = s->raw + b * 32;
    two_bits(raw, k->q, b);
    for (int i = 0; i < 32; i++)
        raw[i] |= (uint8_t)((k->qh[i] >> b & 1) << 2);
}

/* Low nibbles, then high nibbles, of 8 bytes; two bits each from the last 4 bytes. */
static inline void scales_q3_k(step_scales *s, const uint8_t *w, int n)
{
    const block_q3_k *k = (const void *)w;
    (void)n;
    same_scale(s, half(k->d));
    for (int i = 0; i < 16; i++)
        s->sub[i] =
            (int8_t)(((k->scales[i % 8] >> (i / 8 * 4) & 15) | (k->scales[8 + i % 4] >> (i / 4 * 2) & 3) << 4) -
                     32);
}

static inline void codes_q4_k(step_codes *s, const uint8_t *w, int b)
{
    const block_q4_k *k = (const void *)w;
    for (int i = 0; i < 32; i++)
        s->raw[b * 32 + i] = k->q[b / 2 * 32 + i] >> (b % 2 * 4) & 15;
}

/* Of Q5_K too, which begins alike. */
static inline void scales_q4_k(step_scales *s, const uint8_t *w, int n)
{
    const block_q4_k *k = (const void *)w;
    const float d = half(k->d), dmin = half(k->dmin);
    uint8_t sc[QK_BLOCKS], mn[QK_BLOCKS];
    sub_scales(k->scales, sc, mn);
    for (int b = 0; b < n; b++) {
        s->d[b] = d * (float)sc[b];
        s->min[b] = dmin * (float)mn[b];
    }
}

static inline void codes_q5_k(step_codes *s, const uint8_t *w, int b)
{
    const block_q5_k *k = (const void *)w;
    for (int i = 0; i < 32; i++)
        s->raw[b * 32 + i] = (uint8_t)((k->q[b / 2 * 32 + i] >> (b % 2 * 4) & 15) | (k->qh[i] >> b & 1) << 4);
}

static inline void codes_q6_k(step_codes *s, const uint8_t *w, int b)
{
    const block_q6_k *k = (const void *)w;
    const uint8_t *ql = k->ql + b / 4 * 64 + b % 2 * 32, *qh = k->qh + b / 4 * 32;
    for (int i = 0; i < 32; i++)
        s->raw[b * 32 + i] = (uint8_t)((ql[i] >> (b % 4 / 2 * 4) & 15) | (qh[i] >> (b % 4 * 2) & 3) << 4);
}

static inline void scales_q6_k(step_scales *s, const uint8_t *w, int n)
{
    const block_q6_k *k = (const void *)w;
    (void)n;
    same_scale(s, half(k->d));
    memcpy(s->sub, k->sc, sizeof s->sub);
}

static inline void codes_iq4_xs(step_codes *s, const uint8_t *w, int b)
{
    nibbles(s->raw + b * 32, ((const block_iq4_xs *)(const void *)w)->q + b * 16);
}

static inline void scales_iq4_xs(step_scales *s, const uint8_t *w, int n)
{
    const block_iq4_xs *k = (const void *)w;
    const float d = half(k->d);
    for (int b = 0; b < n; b++) {
        const int low = k->scales_l[b / 2] >> (b % 2 * 4) & 15, high = k->scales_h[b / 4] >> (b % 4 * 2) & 3;
        s->d[b] = d * (float)((low | high << 4) - 32);
    }
}

static inline void codes_tq2_0(step_codes *s, const uint8_t *w, int b)
{
    two_bits(s->raw + b * 32, ((const block_tq2_0 *)(const void *)w)->q, b);
}

static inline void scales_tq2_0(step_scales *s, const uint8_t *w, int n)
{
    (void)n;
    same_scale(s, half(((const block_tq2_0 *)(const void *)w)->d));
}

/* A byte is a fraction of 256 whose ternary digits are the codes: the digit that k moves to the front, k = 3 to
 * the power of how many go before it, is what a multiplication by 3 carries out. */
static inline void tq1_digits(uint8_t *raw, const uint8_t *q, int n, int k)
{
    for (int i = 0; i < n; i++)
        raw[i] = (uint8_t)((uint8_t)(q[i] * k) * 3 >> 8);
}

/* Values are in the order of digits: first digit of 32 bytes, second digit ...; then so of 16 bytes and of 4.
 */
static inline void codes_tq1_0(step_codes *s, const uint8_t *w, int b)
{
    static const int power[5] = { 1, 3, 9, 27, 81 };
    const block_tq1_0 *k = (const void *)w;
    uint8_t *raw = s->raw + b * 32;
    if (b < 5) {
        tq1_digits(raw, k->q, 32, power[b]);
        return;
    }
    tq1_digits(raw, k->q + 32, 16, power[2 * (b - 5)]);
    if (b < 7)
        tq1_digits(raw + 16, k->q + 32, 16, power[2 * (b - 5) + 1]);
    else
        for (int i = 0; i < 4; i++)
            tq1_digits(raw + 16 + 4 * i, k->qh, 4, power[i]);
}

static inline void scales_tq1_0(step_scales *s, const uint8_t *w, int n)
{
    (void)n;
    same_scale(s, half(((const block_tq1_0 *)(const void *)w)->d));
}

/* ---- superblocks of 256 whose codes are words of a grid ---- */

static const int8_t iq2_values[16] = { 8, 25, 43 };
static const int8_t iq3_xxs_values[16] = { 4, 12, 20, 28, 36, 44, 52, 62 };
static const int8_t iq3_s_values[16] = { 1, 3, 5, 7, 9, 11, 13, 15 };
/* Eight times -1, 0, 1, shifted by 1/8 up; from 4 on, down. */
static const int8_t iq1_values[16] = { -7, 1, 9, 0, -9, -1, 7 };
static const uint64_t IQ1_DOWN = UINT64_C(0x0404040404040404);

static inline void codes_iq2_xxs(step_codes *s, const uint8_t *w, int b)
{
    const uint8_t *q = ((const block_iq2_xxs *)(const void *)w)->q + 8 * b;
    for (int k = 0; k < 4; k++)
        put8(s, b * 32 + k * 8, terse_codes_iq2_xxs[q[k]]);
    put_signs(s, b, word32(q + 4));
}

static inline void scales_iq2_xxs(step_scales *s, const uint8_t *w, int n)
{
    const block_iq2_xxs *k = (const void *)w;
    const float d = half(k->d) * 0.125f;
    for (int b = 0; b < n; b++)
        s->d[b] = d * (float)(2 * (k->q[8 * b + 7] >> 4) + 1);
}

static inline void codes_iq2_xs(step_codes *s, const uint8_t *w, int b)
{
    const block_iq2_xs *x = (const void *)w;
    for (int k = 0; k < 4; k++) {
        const uint16_t q = x->q[4 * b + k];
        put8(s, b * 32 + k * 8, terse_codes_iq2_xs[q & 511]);
        s->sign[b * 4 + k] = (uint8_t)(q >> 9);
    }
}

/* Scales of 4 bits per 16 values, s for 2s + 1 eighths. */
static inline void iq2_scales(step_scales *s, float d, const uint8_t scales[8])
{
    same_scale(s, d * 0.125f);
    for (int i = 0; i < 16; i++)
        s->sub[i] = (int8_t)(2 * (scales[i / 2] >> (i % 2 * 4) & 15) + 1);
}

static inline void scales_iq2_xs(step_scales *s, const uint8_t *w, int n)
{
    const block_iq2_xs *k = (const void *)w;
    (void)n;
    iq2_scales(s, half(k->d), k->scales);
}

static inline void codes_iq2_s(step_codes *s, const uint8_t *w, int b)
{
    const block_iq2_s *x = (const void *)w;
    for (int k = 0; k < 4; k++)
        put8(s, b * 32 + k * 8, terse_codes_iq2_s[x->q[4 * b + k] | (x->qh[b] >> (2 * k) & 3) << 8]);
    memcpy(s->sign + b * 4, x->sign + b * 4, 4);
}

static inline void scales_iq2_s(step_scales *s, const uint8_t *w, int n)
{
    const block_iq2_s *k = (const void *)w;
    (void)n;
    iq2_scales(s, half(k->d), k->scales);
}

static inline void codes_iq3_xxs(step_codes *s, const uint8_t *w, int b)
{
    const block_iq3_xxs *x = (const void *)w;
    for (int k = 0; k < 8; k++)
        put4(s, b * 32 + k * 4, four_codes_of(terse_grid_iq3_xxs[x->q[8 * b + k]]));
    put_signs(s, b, word32(x->sign + 4 * b));
}

static inline void scales_iq3_xxs(step_scales *s, const uint8_t *w, int n)
{
    const block_iq3_xxs *k = (const void *)w;
    const float d = half(k->d) * 0.25f;
    for (int b = 0; b < n; b++)
        s->d[b] = d * (float)(2 * (k->sign[4 * b + 3] >> 4) + 1);
}

static inline void codes_iq3_s(step_codes *s, const uint8_t *w, int b)
{
    const block_iq3_s *x = (const void *)w;
    for (int k = 0; k < 8; k++)
        put4(s, b * 32 + k * 4, four_codes_of(terse_grid_iq3_s[x->q[8 * b + k] | (x->qh[b] >> k & 1) << 8]));
    memcpy(s->sign + b * 4, x->sign + b * 4, 4);
}

static inline void scales_iq3_s(step_scales *s, const uint8_t *w, int n)
{
    const block_iq3_s *k = (const void *)w;
    const float d = half(k->d);
    for (int b = 0; b < n; b++)
        s->d[b] = d * (float)(2 * (k->scales[b / 2] >> (b % 2 * 4) & 15) + 1);
}

static inline void codes_iq1_s(step_codes *s, const uint8_t *w, int b)
{
    const block_iq1_s *x = (const void *)w;
    for (int k = 0; k < 4; k++)
        put8(s, b * 32 + k * 8,
             terse_codes_iq1[x->q[4 * b + k] | (x->qh[b] >> (3 * k) & 7) << 8] | (x->qh[b] >> 15) * IQ1_DOWN);
}

static inline void scales_iq1_s(step_scales *s, const uint8_t *w, int n)
{
    const block_iq1_s *k = (const void *)w;
    const float d = half(k->d) * 0.125f;
    for (int b = 0; b < n; b++)
        s->d[b] = d * (float)(2 * (k->qh[b] >> 12 & 7) + 1);
}

static inline void codes_iq1_m(step_codes *s, const uint8_t *w, int b)
{
    const block_iq1_m *x = (const void *)w;
    for (int k = 0; k < 4; k++) {
        const int high = x->qh[2 * b + k / 2] >> (k % 2 * 4);
        put8(s, b * 32 + k * 8,
             terse_codes_iq1[x->q[4 * b + k] | (high & 7) << 8] | (high >> 3 & 1) * IQ1_DOWN);
    }
}

static inline void scales_iq1_m(step_scales *s, const uint8_t *w, int n)
{
    const block_iq1_m *k = (const void *)w;
    uint16_t d = 0;
    (void)n;
    for (int i = 0; i < 4; i++)
        d |= (uint16_t)(k->scales[i] >> 12 << (4 * i));
    same_scale(s, half(d) * 0.125f);
    for (int i = 0; i < 16; i++)
        s->sub[i] = (int8_t)(2 * (k->scales[i / 4] >> (i % 4 * 3) & 7) + 1);
}

/* ---- the table ---- */

static const dot_format dot_formats[TERSE_DOT_N] = {
    [TERSE_DOT_Q8_0] = { sizeof(block_q8_0), 32, 0, 128, NULL, codes_q8_0, scales_q8_0 },
    [TERSE_DOT_Q4_0] = { sizeof(block_q4_0), 32, 0, 8, NULL, codes_q4_0, scales_q4_0 },
    [TERSE_DOT_Q4_K] = { sizeof(block_q4_k), QK, HAS_MIN, 0, NULL, codes_q4_k, scales_q4_k },
    [TERSE_DOT_Q5_K] = { sizeof(block_q5_k), QK, HAS_MIN, 0, NULL, codes_q5_k, scales_q4_k },
    [TERSE_DOT_Q6_K] = { sizeof(block_q6_k), QK, HAS_SUB, 32, NULL, codes_q6_k, scales_q6_k },
    [TERSE_DOT_Q4_1] = { sizeof(block_q4_1), 32, HAS_MIN, 0, NULL, codes_q4_1, scales_q4_1 },
    [TERSE_DOT_Q5_0] = { sizeof(block_q5_0), 32, 0, 16, NULL, codes_q5_0, scales_q5_0 },
    [TERSE_DOT_Q5_1] = { sizeof(block_q5_1), 32, HAS_MIN, 0, NULL, codes_q5_1, scales_q5_1 },
    [TERSE_DOT_Q2_K] = { sizeof(block_q2_k), QK, HAS_SUB | HAS_LOW, 0, NULL, codes_q2_k, scales_q2_k },
    [TERSE_DOT_Q3_K] = { sizeof(block_q3_k), QK, HAS_SUB, 4, NULL, codes_q3_k, scales_q3_k },
    [TERSE_DOT_IQ4_NL] = { sizeof(block_q4_0), 32, 0, 0, iq4_values, codes_q4_0, scales_q4_0 },
    [TERSE_DOT_IQ4_XS] = { sizeof(block_iq4_xs), QK, 0, 0, iq4_values, codes_iq4_xs, scales_iq4_xs },
    [TERSE_DOT_MXFP4] = { sizeof(block_mxfp4), 32, 0, 0, fp4_values, codes_mxfp4, scales_mxfp4 },
    [TERSE_DOT_TQ1_0] = { sizeof(block_tq1_0), QK, 0, 1, NULL, codes_tq1_0, scales_tq1_0 },
    [TERSE_DOT_TQ2_0] = { sizeof(block_tq2_0), QK, 0, 1, NULL, codes_tq2_0, scales_tq2_0 },
    [TERSE_DOT_IQ2_XXS] = { sizeof(block_iq2_xxs), QK, HAS_SIGNS | HAS_EVEN_SIGNS, 0, iq2_values, codes_iq2_xxs,
                            scales_iq2_xxs },
    [TERSE_DOT_IQ2_XS] = { sizeof(block_iq2_xs), QK, HAS_SIGNS | HAS_EVEN_SIGNS | HAS_SUB, 0, iq2_values,
                           codes_iq2_xs, scales_iq2_xs },
    [TERSE_DOT_IQ2_S] = { sizeof(block_iq2_s), QK, HAS_SIGNS | HAS_SUB, 0, iq2_values, codes_iq2_s,
                          scales_iq2_s },
    [TERSE_DOT_IQ3_XXS] = { sizeof(block_iq3_xxs), QK, HAS_SIGNS | HAS_EVEN_SIGNS, 0, iq3_xxs_values,
                            codes_iq3_xxs, scales_iq3_xxs },
    [TERSE_DOT_IQ3_S] = { sizeof(block_iq3_s), QK, HAS_SIGNS, 0, iq3_s_values, codes_iq3_s, scales_iq3_s },
    [TERSE_DOT_IQ1_S] = { sizeof(block_iq1_s), QK, 0, 0, iq1_values, codes_iq1_s, scales_iq1_s },
    [TERSE_DOT_IQ1_M] = { sizeof(block_iq1_m), QK, HAS_SUB, 0, iq1_values, codes_iq1_m, scales_iq1_m },
};

static inline bool has(terse_dot_type type, int trait)
{
    return (dot_formats[type].traits & trait) != 0;
}

/* Bytes of 256 values. */
static inline size_t step_size(terse_dot_type type)
{
    return dot_formats[type].size * (size_t)(QK / dot_formats[type].len);
}

/* Codes of block b as the numbers they stand for. */
static inline void code_values(const dot_format *f, const step_codes *s, int b, int8_t c[32])
{
    const uint8_t *raw = s->raw + b * 32;
    if (f->map)
        for (int i = 0; i < 32; i++)
            c[i] = f->map[raw[i]];
    else
        for (int i = 0; i < 32; i++)
            c[i] = (int8_t)(raw[i] - f->offset);
    for (int k = 0; f->traits & HAS_SIGNS && k < 4; k++) {
        const uint8_t sign = s->sign[b * 4 + k];
        const int odd = f->traits & HAS_EVEN_SIGNS && __builtin_parity(sign), bits = sign | odd << 7;
        for (int i = 0; i < 8; i++)
            c[8 * k + i] = bits >> i & 1 ? (int8_t)-c[8 * k + i] : c[8 * k + i];
    }
}

#endif
