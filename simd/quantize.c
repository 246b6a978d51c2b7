/* simd/quantize.c: encoders. A block is fitted in three steps: its parts by real numbers, these by what the
 * format can store, and the codes by that. */
#include "simd/quantize.h"

#include "simd/code.h"
#include "simd/dot_blocks.h"

#include <math.h>

enum { LANES = 8, PART = 32 /* most values under one scale */ };

/* ---- codes and sums ---- */

static float store_f16(uint16_t *to, float x)
{
    *to = terse_f32_to_f16(x);
    return terse_f16_to_f32(*to);
}

static float inverse(float x)
{
    return x != 0.0f ? 1.0f / x : 0.0f;
}

/* The value of the largest size, with its sign. */
static float extreme(const float *x, int32_t n)
{
    float e = 0.0f;
    for (int32_t i = 0; i < n; i++)
        e = fabsf(x[i]) > fabsf(e) ? x[i] : e;
    return e;
}

/* The codes that a format has. */
typedef struct {
    float low, high;
} range;

/* What least squares needs of x[n] and its codes under (x + offset) * inv; n is a multiple of LANES. */
typedef struct {
    float x, q, xq, qq; /* sums of x, q, x q, q q */
} sums;

static sums sum_up(const float *x, int32_t n, float offset, float inv, range r)
{
    float s[4][LANES] = { { 0.0f } };
    for (int32_t i = 0; i < n; i += LANES)
        for (int32_t l = 0; l < LANES; l++) {
            const float v = x[i + l], q = (float)terse_code((v + offset) * inv, r.low, r.high);
            s[0][l] += v;
            s[1][l] += q;
            s[2][l] += v * q;
            s[3][l] += q * q;
        }
    for (int32_t half = LANES / 2; half > 0; half /= 2)
        for (int32_t k = 0; k < 4; k++)
            for (int32_t l = 0; l < half; l++)
                s[k][l] += s[k][l + half];
    return (sums){ s[0][0], s[1][0], s[2][0], s[3][0] };
}

/* Sum of (scale * q - offset - x)^2 for the nearest codes q. */
static float error_of(const float *x, int32_t n, float scale, float offset, range r)
{
    const float inv = inverse(scale);
    float s[LANES] = { 0.0f };
    for (int32_t i = 0; i < n; i += LANES)
        for (int32_t l = 0; l < LANES; l++) {
            const float v = x[i + l];
            const float e = (float)terse_code((v + offset) * inv, r.low, r.high) * scale - offset - v;
            s[l] += e * e;
        }
    for (int32_t half = LANES / 2; half > 0; half /= 2)
        for (int32_t l = 0; l < half; l++)
            s[l] += s[l + half];
    return s[0];
}

/* ---- one part: x ~ scale * q - offset ---- */

/* Scales are tried that make the range up to TRIES steps of a quarter of a code longer or shorter; the best one
 * goes through rounds of least squares. */
enum { TRIES = 4, ROUNDS = 4 };
static const float TRY = 0.25f, TINY = 1e-30f /* no f16 is near */;

typedef struct {
    float scale, offset;
    float gain; /* sum of x^2 less that of the errors; 0: as bad as zeros */
} fit;

/* The best scale for the codes that x has under inv, if it is better than what there was. */
static bool better_scale(const float *x, int32_t n, float inv, range r, fit *f)
{
    const sums s = sum_up(x, n, 0.0f, inv, r);
    if (!(s.qq > 0.0f && s.xq * s.xq > f->gain * s.qq))
        return false;
    *f = (fit){ s.xq / s.qq, 0.0f, s.xq * s.xq / s.qq };
    return true;
}

/* Without offset. The extreme value may come to lie at either end of the codes. */
static float fit_scale(const float *x, int32_t n, range r, bool search)
{
    const float e = extreme(x, n);
    fit f = { .scale = e / r.low };
    if (!search || fabsf(e) < TINY)
        return f.scale;
    for (int32_t k = -TRIES; k <= TRIES; k++) {
        better_scale(x, n, (r.low + TRY * (float)k) / e, r, &f);
        better_scale(x, n, (r.high + TRY * (float)k) / e, r, &f);
    }
    for (int32_t i = 0; i < ROUNDS && better_scale(x, n, inverse(f.scale), r, &f); i++)
        ;
    return f.scale;
}

/* As better_scale, with an offset, which may be negative if free. */
static bool better_line(const float *x, int32_t n, float offset, float inv, range r, bool free, fit *f)
{
    const sums s = sum_up(x, n, offset, inv, r);
    const float m = (float)n, det = m * s.qq - s.q * s.q;
    if (!(det > 0.0f))
        return false;
    fit g = { .scale = (m * s.xq - s.x * s.q) / det };
    g.offset = (g.scale * s.q - s.x) / m;
    if (g.offset < 0.0f && !free)
        g = (fit){ .scale = s.xq / s.qq };
    g.gain = 2.0f * (g.scale * s.xq - g.offset * s.x + g.scale * g.offset * s.q) - g.scale * g.scale * s.qq -
             m * g.offset * g.offset;
    if (!(g.gain > f->gain))
        return false;
    *f = g;
    return true;
}

/* Codes 0 .. r.high; unless the offset is free, they reach down to 0. */
static fit fit_line(const float *x, int32_t n, range r, bool free, bool search)
{
    float least = free ? x[0] : 0.0f, largest = least;
    for (int32_t i = 0; i < n; i++) {
        least = x[i] < least ? x[i] : least;
        largest = x[i] > largest ? x[i] : largest;
    }
    fit f = { .scale = (largest - least) / r.high, .offset = -least };
    if (!search || largest - least < TINY)
        return f;
    for (int32_t k = -TRIES; k <= TRIES; k++)
        better_line(x, n, -least, (r.high + TRY * (float)k) / (largest - least), r, free, &f);
    for (int32_t i = 0; i < ROUNDS && better_line(x, n, f.offset, inverse(f.scale), r, free, &f); i++)
        ;
    return f;
}

/* ---- blocks of 32 ---- */

static void encode_q8_0(block_q8_0 *b, const float *x)
{
    const float inv = inverse(store_f16(&b->d, fabsf(extreme(x, 32)) / 127.0f));
    for (int32_t i = 0; i < 32; i++)
        b->q[i] = (int8_t)terse_code(x[i] * inv, -127.0f, 127.0f);
}

/* 32 codes of 4 bits, or, with high, of 5. */
static void pack(uint8_t q[16], uint8_t high[4], const int32_t c[32])
{
    for (int32_t i = 0; i < 16; i++)
        q[i] = (uint8_t)((c[i] & 15) | (c[i + 16] & 15) << 4);
    for (int32_t i = 0; high && i < 4; i++) {
        high[i] = 0;
        for (int32_t k = 0; k < 8; k++)
            high[i] |= (uint8_t)(c[8 * i + k] >> 4 << k);
    }
}

/* Q4_0 and Q5_0: one scale, codes from -half to half - 1. */
static void encode_scaled(uint16_t *d, uint8_t q[16], uint8_t high[4], const float *x, int32_t half,
                          bool search)
{
    const range r = { -(float)half, (float)(half - 1) };
    const float inv = inverse(store_f16(d, fit_scale(x, 32, r, search)));
    int32_t c[32];
    for (int32_t i = 0; i < 32; i++)
        c[i] = terse_code(x[i] * inv, r.low, r.high) + half;
    pack(q, high, c);
}

/* Q4_1 and Q5_1: a scale and the least value, codes from 0 to most. */
static void encode_line(uint16_t *d, uint16_t *m, uint8_t q[16], uint8_t high[4], const float *x, float most,
                        bool search)
{
    const range r = { 0.0f, most };
    const fit f = fit_line(x, 32, r, true, search);
    const float inv = inverse(store_f16(d, f.scale)), least = store_f16(m, -f.offset);
    int32_t c[32];
    for (int32_t i = 0; i < 32; i++)
        c[i] = terse_code((x[i] - least) * inv, r.low, r.high);
    pack(q, high, c);
}

static void encode_32(terse_dot_type type, void *row, const float *x, int64_t n, bool search)
{
    block_q4_0 *q40 = row;
    block_q4_1 *q41 = row;
    block_q5_0 *q50 = row;
    block_q5_1 *q51 = row;
    for (int64_t b = 0; b < n / 32; b++, x += 32)
        switch (type) {
        case TERSE_DOT_Q4_0:
            encode_scaled(&q40[b].d, q40[b].q, NULL, x, 8, search);
            break;
        case TERSE_DOT_Q4_1:
            encode_line(&q41[b].d, &q41[b].m, q41[b].q, NULL, x, 15.0f, search);
            break;
        case TERSE_DOT_Q5_0:
            encode_scaled(&q50[b].d, q50[b].q, q50[b].qh, x, 16, search);
            break;
        default:
            encode_line(&q51[b].d, &q51[b].m, q51[b].q, q51[b].qh, x, 31.0f, search);
            break;
        }
}

/* ---- superblocks of 256: parts under whole multiples of one scale, and of one offset ---- */

enum { MAX_PARTS = 16, PASSES = 2 /* of refine */ };

typedef struct {
    range codes;
    int32_t n_part, n;   /* parts, values in each */
    int32_t least, most; /* multiples of the scale; those of the offset are 0 .. most, if there is one */
    bool offset;
} grid;

typedef struct {
    uint16_t d16, dmin16;
    float d, dmin; /* the same */
    int32_t scale[MAX_PARTS], min[MAX_PARTS];
} scales;

static float part_error(const grid *g, const scales *s, int32_t j, const float *x)
{
    return error_of(x + j * g->n, g->n, s->d * (float)s->scale[j], s->dmin * (float)s->min[j], g->codes);
}

static float block_error(const grid *g, const scales *s, const float *x)
{
    float sum = 0.0f;
    for (int32_t j = 0; j < g->n_part; j++)
        sum += part_error(g, s, j, x);
    return sum;
}

/* Neighbours of the multiples of part j, where they are better. */
static void adjust(const grid *g, scales *s, int32_t j, const float *x)
{
    const int32_t scale = s->scale[j], min = s->min[j], reach = g->offset;
    float least = part_error(g, s, j, x);
    scales best = *s;
    for (int32_t a = scale - 1; a <= scale + 1; a++)
        for (int32_t b = min - reach; b <= min + reach; b++) {
            if (a < g->least || a > g->most || b < 0 || b > g->most || (a == scale && b == min))
                continue;
            s->scale[j] = a;
            s->min[j] = b;
            const float e = part_error(g, s, j, x);
            if (e < least) {
                least = e;
                best = *s;
            }
        }
    *s = best;
}

/* d and dmin by least squares over the block, for the codes under the old ones. */
static void solve(const grid *g, scales *s, const float *x)
{
    double aa = 0.0, bb = 0.0, ab = 0.0, xa = 0.0, xb = 0.0;
    for (int32_t j = 0; j < g->n_part; j++) {
        const float offset = s->dmin * (float)s->min[j], inv = inverse(s->d * (float)s->scale[j]);
        const sums m = sum_up(x + j * g->n, g->n, offset, inv, g->codes);
        const double a = s->scale[j], b = s->min[j];
        aa += a * a * (double)m.qq;
        bb += b * b * g->n;
        ab += a * b * (double)m.q;
        xa += a * (double)m.xq;
        xb += b * (double)m.x;
    }
    const double det = aa * bb - ab * ab;
    double d = aa > 0.0 ? xa / aa : 0.0, dmin = 0.0;
    if (det > 1e-9 * aa * bb && xa * ab > xb * aa) {
        d = (xa * bb - xb * ab) / det;
        dmin = (xa * ab - xb * aa) / det;
    }
    s->d = store_f16(&s->d16, (float)d);
    s->dmin = store_f16(&s->dmin16, (float)dmin);
}

static scales fit_block(const grid *g, const float *x, bool search)
{
    fit f[MAX_PARTS] = { { .scale = 0.0f } };
    float top = 0.0f, top_offset = 0.0f;
    scales s = { 0 };
    for (int32_t j = 0; j < g->n_part; j++) {
        if (g->offset)
            f[j] = fit_line(x + j * g->n, g->n, g->codes, false, search);
        else
            f[j].scale = fit_scale(x + j * g->n, g->n, g->codes, search);
        top = fmaxf(top, fabsf(f[j].scale));
        top_offset = fmaxf(top_offset, f[j].offset);
    }
    s.d = store_f16(&s.d16, top / (float)g->most);
    s.dmin = store_f16(&s.dmin16, top_offset / (float)g->most);
    for (int32_t j = 0; j < g->n_part; j++) {
        s.scale[j] = terse_code(f[j].scale * inverse(s.d), (float)g->least, (float)g->most);
        s.min[j] = terse_code(f[j].offset * inverse(s.dmin), 0.0f, (float)g->most);
    }
    for (int32_t i = 0; i < PASSES && search; i++) {
        for (int32_t j = 0; j < g->n_part; j++)
            adjust(g, &s, j, x);
        scales solved = s;
        solve(g, &solved, x);
        if (block_error(g, &solved, x) < block_error(g, &s, x))
            s = solved;
    }
    return s;
}

/* The codes of part j. */
static void codes_of(const grid *g, const scales *s, int32_t j, const float *x, int32_t *q)
{
    const float offset = s->dmin * (float)s->min[j], inv = inverse(s->d * (float)s->scale[j]);
    for (int32_t i = 0; i < g->n; i++)
        q[i] = terse_code((x[j * g->n + i] + offset) * inv, g->codes.low, g->codes.high);
}

/* The inverse of sub_scales. */
static void pack_scales(uint8_t b[12], const scales *s)
{
    const int32_t *scale = s->scale, *min = s->min;
    for (int32_t j = 0; j < 4; j++) {
        b[j] = (uint8_t)(scale[j] | scale[j + 4] >> 4 << 6);
        b[j + 4] = (uint8_t)(min[j] | min[j + 4] >> 4 << 6);
        b[j + 8] = (uint8_t)((scale[j + 4] & 15) | (min[j + 4] & 15) << 4);
    }
}

static void encode_q4_k(block_q4_k *b, const float *x, bool search)
{
    static const grid g = { { 0.0f, 15.0f }, 8, 32, 0, 63, true };
    const scales s = fit_block(&g, x, search);
    int32_t q[PART];
    *b = (block_q4_k){ .d = s.d16, .dmin = s.dmin16 };
    pack_scales(b->scales, &s);
    for (int32_t j = 0; j < 8; j++) {
        codes_of(&g, &s, j, x, q);
        for (int32_t i = 0; i < 32; i++)
            b->q[j / 2 * 32 + i] |= (uint8_t)(q[i] << (j % 2 * 4));
    }
}

static void encode_q5_k(block_q5_k *b, const float *x, bool search)
{
    static const grid g = { { 0.0f, 31.0f }, 8, 32, 0, 63, true };
    const scales s = fit_block(&g, x, search);
    int32_t q[PART];
    *b = (block_q5_k){ .d = s.d16, .dmin = s.dmin16 };
    pack_scales(b->scales, &s);
    for (int32_t j = 0; j < 8; j++) {
        codes_of(&g, &s, j, x, q);
        for (int32_t i = 0; i < 32; i++) {
            b->q[j / 2 * 32 + i] |= (uint8_t)((q[i] & 15) << (j % 2 * 4));
            b->qh[i] |= (uint8_t)(q[i] >> 4 << j);
        }
    }
}

static void encode_q6_k(block_q6_k *b, const float *x, bool search)
{
    static const grid g = { { -32.0f, 31.0f }, 16, 16, -127, 127, false };
    const scales s = fit_block(&g, x, search);
    int32_t q[PART];
    *b = (block_q6_k){ .d = s.d16 };
    for (int32_t j = 0; j < 16; j++) {
        b->sc[j] = (int8_t)s.scale[j];
        codes_of(&g, &s, j, x, q);
        for (int32_t i = 16 * j; i < 16 * j + 16; i++) {
            const int32_t c = q[i % 16] + 32, k = i % 128 / 32;
            b->ql[i / 128 * 64 + k % 2 * 32 + i % 32] |= (uint8_t)((c & 15) << (k / 2 * 4));
            b->qh[i / 128 * 32 + i % 32] |= (uint8_t)(c >> 4 << (2 * k));
        }
    }
}

/* ---- rows ---- */

bool terse_quantize_can(terse_dot_type type)
{
    return type == TERSE_DOT_F32 || type == TERSE_DOT_F16 || type == TERSE_DOT_BF16 || type == TERSE_DOT_Q8_0 ||
           type == TERSE_DOT_Q4_0 || type == TERSE_DOT_Q4_1 || type == TERSE_DOT_Q5_0 ||
           type == TERSE_DOT_Q5_1 || type == TERSE_DOT_Q4_K || type == TERSE_DOT_Q5_K || type == TERSE_DOT_Q6_K;
}

void terse_quantize_row(terse_dot_type type, void *row, const float *x, int64_t n, bool search)
{
    uint16_t *h = row;
    switch (type) {
    case TERSE_DOT_F16:
        for (int64_t i = 0; i < n; i++)
            h[i] = terse_f32_to_f16(x[i]);
        break;
    case TERSE_DOT_BF16:
        for (int64_t i = 0; i < n; i++)
            h[i] = terse_f32_to_bf16(x[i]);
        break;
    case TERSE_DOT_Q8_0:
        for (int64_t b = 0; b < n / 32; b++)
            encode_q8_0((block_q8_0 *)row + b, x + 32 * b);
        break;
    case TERSE_DOT_Q4_0:
    case TERSE_DOT_Q4_1:
    case TERSE_DOT_Q5_0:
    case TERSE_DOT_Q5_1:
        encode_32(type, row, x, n, search);
        break;
    case TERSE_DOT_Q4_K:
        for (int64_t b = 0; b < n / QK; b++)
            encode_q4_k((block_q4_k *)row + b, x + QK * b, search);
        break;
    case TERSE_DOT_Q5_K:
        for (int64_t b = 0; b < n / QK; b++)
            encode_q5_k((block_q5_k *)row + b, x + QK * b, search);
        break;
    case TERSE_DOT_Q6_K:
        for (int64_t b = 0; b < n / QK; b++)
            encode_q6_k((block_q6_k *)row + b, x + QK * b, search);
        break;
    default:
        memcpy(row, x, (size_t)n * sizeof *x);
        break;
    }
}
