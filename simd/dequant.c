/* simd/dequant.c: blocks to f32 values, and single values between f32, f16 and bf16. Portable; used where speed
 * does not matter (embedding rows, tools, tests). */
#include "simd/dot.h"

#include "simd/dot_blocks.h"

static float from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint32_t to_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

float terse_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = h >> 10 & 31, man = h & 1023;
    if (exp == 31)
        return from_bits(sign | 0x7f800000 | man << 13);
    if (exp == 0) { /* zero or subnormal: man * 2^-24, exact in f32 */
        const float f = (float)man * 0x1p-24f;
        return sign ? -f : f;
    }
    return from_bits(sign | (exp + 112) << 23 | man << 13);
}

uint16_t terse_f32_to_f16(float f)
{
    const uint32_t u = to_bits(f), sign = u >> 16 & 0x8000, mag = u & 0x7fffffff;
    if (mag > 0x7f800000) /* NaN: quiet, top of the payload kept */
        return (uint16_t)(sign | 0x7e00 | (mag >> 13 & 1023));
    if (mag >= 0x477ff000) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00);
    if (mag < 0x38800000) {
        /* Below 2^-14: adding 0.5 leaves the result, rounded to nearest even, in units of 2^-24 at the bottom.
         */
        return (uint16_t)(sign | (to_bits(from_bits(mag) + 0.5f) - 0x3f000000));
    }
    const uint32_t even = mag >> 13 & 1;
    return (uint16_t)(sign | (((mag + 0xfff + even) >> 13) - (112 << 10)));
}

float terse_bf16_to_f32(uint16_t h)
{
    return from_bits((uint32_t)h << 16);
}

uint16_t terse_f32_to_bf16(float f)
{
    const uint32_t u = to_bits(f);
    if ((u & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

int terse_dot_type_of(uint32_t ggml_type)
{
    switch (ggml_type) { /* the numbers are the file format's */
    case 0:
        return TERSE_DOT_F32;
    case 1:
        return TERSE_DOT_F16;
    case 2:
        return TERSE_DOT_Q4_0;
    case 8:
        return TERSE_DOT_Q8_0;
    case 12:
        return TERSE_DOT_Q4_K;
    case 13:
        return TERSE_DOT_Q5_K;
    case 14:
        return TERSE_DOT_Q6_K;
    case 30:
        return TERSE_DOT_BF16;
    default:
        return -1;
    }
}

/* y[i] = d * c[i] - m, each product rounded */
static void affine(float *y, const int8_t *c, float d, float m)
{
    for (int i = 0; i < 32; i++)
        y[i] = d * (float)c[i] - m;
}

static void dequant_k(terse_dot_type type, float *y, const uint8_t *row, int64_t n)
{
    const size_t size = type == TERSE_DOT_Q4_K ? sizeof(block_q4_k) : sizeof(block_q5_k);
    for (int64_t k = 0; k < n / QK; k++, row += size) {
        const block_q4_k *w4 = (const void *)row; /* d, dmin and scales lie alike in both types */
        const float d = terse_f16_to_f32(w4->d), dmin = terse_f16_to_f32(w4->dmin);
        uint8_t sc[QK_BLOCKS], mn[QK_BLOCKS];
        int8_t c[32];
        sub_scales(w4->scales, sc, mn);
        for (int b = 0; b < QK_BLOCKS; b++, y += 32) {
            if (type == TERSE_DOT_Q4_K)
                codes_q4_k(w4, b, c);
            else
                codes_q5_k((const void *)row, b, c);
            affine(y, c, d * (float)sc[b], dmin * (float)mn[b]);
        }
    }
}

static void dequant_q6_k(float *y, const block_q6_k *w, int64_t n)
{
    for (int64_t k = 0; k < n / QK; k++, w++) {
        const float d = terse_f16_to_f32(w->d);
        int8_t c[32];
        for (int b = 0; b < QK_BLOCKS; b++, y += 32) {
            codes_q6_k(w, b, c);
            for (int i = 0; i < 32; i++)
                y[i] = d * (float)w->sc[2 * b + i / 16] * (float)c[i];
        }
    }
}

static void dequant_q4_0(float *y, const block_q4_0 *w, int64_t n)
{
    int8_t c[32];
    for (int64_t b = 0; b < n / 32; b++, w++, y += 32) {
        codes_q4_0(w, c);
        affine(y, c, terse_f16_to_f32(w->d), 0.0f);
    }
}

void terse_dequant_row(terse_dot_type type, float *y, const void *row, int64_t n)
{
    const block_q8_0 *q8 = row;
    const uint16_t *h = row;
    switch (type) {
    case TERSE_DOT_F32:
        memcpy(y, row, (size_t)n * sizeof *y);
        break;
    case TERSE_DOT_F16:
        for (int64_t i = 0; i < n; i++)
            y[i] = terse_f16_to_f32(h[i]);
        break;
    case TERSE_DOT_BF16:
        for (int64_t i = 0; i < n; i++)
            y[i] = terse_bf16_to_f32(h[i]);
        break;
    case TERSE_DOT_Q8_0:
        for (int64_t b = 0; b < n / 32; b++)
            affine(y + b * 32, q8[b].q, terse_f16_to_f32(q8[b].d), 0.0f);
        break;
    case TERSE_DOT_Q4_0:
        dequant_q4_0(y, row, n);
        break;
    case TERSE_DOT_Q4_K:
    case TERSE_DOT_Q5_K:
        dequant_k(type, y, row, n);
        break;
    case TERSE_DOT_Q6_K:
        dequant_q6_k(y, row, n);
        break;
    case TERSE_DOT_N:
        break;
    }
}
