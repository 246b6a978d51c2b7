/* simd/dequant.c: blocks to f32 values, and single values between f32, f16 and bf16. Portable; used where speed
 * does not matter (embedding rows, tools, tests). */
#include "simd/dot.h"

#include "simd/dot_unpack.h"

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

/* The numbers are the file format's. */
static const struct {
    uint8_t ggml, dot;
} numbers[TERSE_DOT_N] = {
    { 0, TERSE_DOT_F32 },      { 1, TERSE_DOT_F16 },     { 2, TERSE_DOT_Q4_0 },     { 3, TERSE_DOT_Q4_1 },
    { 6, TERSE_DOT_Q5_0 },     { 7, TERSE_DOT_Q5_1 },    { 8, TERSE_DOT_Q8_0 },     { 10, TERSE_DOT_Q2_K },
    { 11, TERSE_DOT_Q3_K },    { 12, TERSE_DOT_Q4_K },   { 13, TERSE_DOT_Q5_K },    { 14, TERSE_DOT_Q6_K },
    { 16, TERSE_DOT_IQ2_XXS }, { 17, TERSE_DOT_IQ2_XS }, { 18, TERSE_DOT_IQ3_XXS }, { 19, TERSE_DOT_IQ1_S },
    { 20, TERSE_DOT_IQ4_NL },  { 21, TERSE_DOT_IQ3_S },  { 22, TERSE_DOT_IQ2_S },   { 23, TERSE_DOT_IQ4_XS },
    { 29, TERSE_DOT_IQ1_M },   { 30, TERSE_DOT_BF16 },   { 34, TERSE_DOT_TQ1_0 },   { 35, TERSE_DOT_TQ2_0 },
    { 39, TERSE_DOT_MXFP4 },
};

int terse_dot_type_of(uint32_t ggml_type)
{
    for (size_t i = 0; i < TERSE_DOT_N; i++)
        if (numbers[i].ggml == ggml_type)
            return numbers[i].dot;
    return -1;
}

/* Up to 8 blocks of 32 values. */
static void dequant_step(const dot_format *f, float *y, const uint8_t *w, int n)
{
    step_codes codes;
    step_scales s;
    f->scales(&s, w, n);
    for (int b = 0; b < n; b++) {
        int8_t c[32];
        f->codes(&codes, w, b);
        code_values(f, &codes, b, c);
        for (int i = 0; i < 32; i++) {
            const int k = 2 * b + i / 16;
            const float d = f->traits & HAS_SUB ? s.d[b] * (float)s.sub[k] : s.d[b];
            const float low = f->traits & HAS_LOW   ? s.min[b] * (float)s.low[k]
                              : f->traits & HAS_MIN ? s.min[b]
                                                    : 0.0f;
            y[b * 32 + i] = d * (float)c[i] - low;
        }
    }
}

void terse_dequant_row(terse_dot_type type, float *y, const void *row, int64_t n)
{
    const dot_format *f = &dot_formats[type];
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
    default:
        for (int64_t i = 0; i < n; i += QK)
            dequant_step(f, y + i, (const uint8_t *)row + (size_t)i / (size_t)f->len * f->size,
                         n - i < QK ? (int)(n - i) / 32 : QK_BLOCKS);
    }
}
