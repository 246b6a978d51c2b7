/* simd/page.c: one token into and out of a page. Portable: the layout is in page.h. */
#include "simd/page.h"
#include "simd/attn.h"
#include "simd/code.h"
#include "simd/dot.h"

#include <math.h>
#include <string.h>

enum { B = TERSE_KV_BLOCK, P = TERSE_PAGE };

/* Codes of x[32] and their scale: the largest |x| is 127. A block with a non-finite value has a NaN scale. */
static float quantize_block(int8_t *q, const float *x)
{
    const float amax = terse_largest(x, B), inv = amax > 0.0f && amax <= FLT_MAX ? 127.0f / amax : 0.0f;
    const bool some = inv > 0.0f && inv <= FLT_MAX;
    for (int32_t i = 0; i < B; i++)
        q[i] = some ? (int8_t)terse_code(x[i] * inv, -127.0f, 127.0f) : 0;
    return amax <= FLT_MAX ? amax / 127.0f : NAN;
}

/* q8 codes for the page: the scale is rounded to f16 first, so that the codes fit the scale that is stored. */
static uint16_t quantize_q8(int8_t *q, const float *x)
{
    const float amax = terse_largest(x, B);
    const uint16_t h = terse_f32_to_f16(amax <= FLT_MAX ? amax / 127.0f : NAN);
    const float d = terse_f16_to_f32(h), inv = d > 0.0f && d <= FLT_MAX ? 1.0f / d : 0.0f;
    for (int32_t i = 0; i < B; i++)
        q[i] = inv > 0.0f ? (int8_t)terse_code(x[i] * inv, -127.0f, 127.0f) : 0;
    return h;
}

/* The same for q4. The value of largest magnitude becomes -8: 7 steps on its side would be coarser. */
static uint16_t quantize_q4(int8_t *q, const float *x)
{
    float most = 0.0f;
    bool finite = true;
    for (int32_t i = 0; i < B; i++) {
        finite &= isfinite(x[i]) != 0;
        most = fabsf(x[i]) > fabsf(most) ? x[i] : most;
    }
    const uint16_t h = terse_f32_to_f16(finite ? most / -8.0f : NAN);
    const float d = terse_f16_to_f32(h), inv = finite && d != 0.0f && isfinite(d) ? 1.0f / d : 0.0f;
    for (int32_t i = 0; i < B; i++)
        q[i] = inv != 0.0f ? (int8_t)terse_code(x[i] * inv, -8.0f, 7.0f) : 0;
    return h;
}

/* ---- where the code of one element lies ---- */

typedef struct {
    size_t at;    /* byte */
    int32_t high; /* q4: in its high nibble */
} place;

static place place_k(terse_page_type type, int32_t t, int32_t d)
{
    if (type == TERSE_PAGE_Q8)
        return (place){ .at = (size_t)(d / 4 * 4 * P + t * 4 + d % 4) };
    return (place){ .at = (size_t)(d / 8 * 4 * P + t * 4 + d % 4), .high = d % 8 / 4 };
}

static place place_v(terse_page_type type, int32_t t, int32_t d)
{
    if (type == TERSE_PAGE_Q8)
        return (place){ .at = (size_t)(d / B * B * P + (t / 4 * B + d % B) * 4 + t % 4) };
    return (place){ .at = (size_t)(d / B * B * P / 2 + (t / 8 * B + d % B) * 4 + t % 4), .high = t % 8 / 4 };
}

/* bias: what is added to the code as it is stored. */
static void put_code(terse_page_type type, uint8_t *block, place p, int32_t code, int32_t bias)
{
    const uint32_t u = (uint32_t)(code + bias);
    if (type == TERSE_PAGE_Q8)
        block[p.at] = (uint8_t)u;
    else
        block[p.at] = (uint8_t)(p.high ? (block[p.at] & 0x0f) | u << 4 : (block[p.at] & 0xf0) | u);
}

static int32_t get_code(terse_page_type type, const uint8_t *block, place p, int32_t bias)
{
    if (type == TERSE_PAGE_Q8)
        return (int8_t)(uint8_t)(block[p.at] - bias);
    return (block[p.at] >> (4 * p.high) & 15) - bias;
}

typedef place (*place_fn)(terse_page_type type, int32_t t, int32_t d);

static int32_t bias_k(terse_page_type type)
{
    return type == TERSE_PAGE_Q8 ? 128 : 8;
}

static int32_t bias_v(terse_page_type type)
{
    return type == TERSE_PAGE_Q8 ? 0 : 8;
}

static size_t scale_at(terse_page_type type, int32_t t, int32_t b, int32_t dim)
{
    const size_t n = (size_t)dim * P;
    return (type == TERSE_PAGE_Q8 ? n : n / 2) + (size_t)(b * P + t) * sizeof(uint16_t);
}

static void put_coded(terse_page_type type, uint8_t *block, int32_t t, const float *x, int32_t dim, place_fn at,
                      int32_t bias)
{
    int8_t q[B];
    for (int32_t b = 0; b < dim / B; b++) {
        const uint16_t h = type == TERSE_PAGE_Q8 ? quantize_q8(q, x + b * B) : quantize_q4(q, x + b * B);
        memcpy(block + scale_at(type, t, b, dim), &h, sizeof h);
        for (int32_t i = 0; i < B; i++)
            put_code(type, block, at(type, t, b * B + i), q[i], bias);
    }
}

static void get_coded(terse_page_type type, const uint8_t *block, int32_t t, float *x, int32_t dim, place_fn at,
                      int32_t bias)
{
    for (int32_t d = 0; d < dim; d++) {
        uint16_t h;
        memcpy(&h, block + scale_at(type, t, d / B, dim), sizeof h);
        x[d] = terse_f16_to_f32(h) * (float)get_code(type, block, at(type, t, d), bias);
    }
}

/* ---- floats ---- */

static void put_float(terse_page_type type, void *block, size_t i, float x)
{
    if (type == TERSE_PAGE_F32)
        ((float *)block)[i] = x;
    else
        ((uint16_t *)block)[i] = type == TERSE_PAGE_F16 ? terse_f32_to_f16(x) : terse_f32_to_bf16(x);
}

static float get_float(terse_page_type type, const void *block, size_t i)
{
    if (type == TERSE_PAGE_F32)
        return ((const float *)block)[i];
    const uint16_t h = ((const uint16_t *)block)[i];
    return type == TERSE_PAGE_F16 ? terse_f16_to_f32(h) : terse_bf16_to_f32(h);
}

/* ---- tokens ---- */

void terse_page_put_k(terse_page_type type, void *block, int32_t t, const float *k, int32_t dim)
{
    if (terse_page_coded(type)) {
        put_coded(type, block, t, k, dim, place_k, bias_k(type));
        return;
    }
    for (int32_t d = 0; d < dim; d++)
        put_float(type, block, (size_t)(d * P + t), k[d]);
}

void terse_page_get_k(terse_page_type type, const void *block, int32_t t, float *k, int32_t dim)
{
    if (terse_page_coded(type)) {
        get_coded(type, block, t, k, dim, place_k, bias_k(type));
        return;
    }
    for (int32_t d = 0; d < dim; d++)
        k[d] = get_float(type, block, (size_t)(d * P + t));
}

void terse_page_put_v(terse_page_type type, void *block, int32_t t, const float *v, int32_t dim)
{
    if (terse_page_coded(type)) {
        put_coded(type, block, t, v, dim, place_v, bias_v(type));
        return;
    }
    for (int32_t d = 0; d < dim; d++)
        put_float(type, block, (size_t)(t * dim + d), v[d]);
}

void terse_page_get_v(terse_page_type type, const void *block, int32_t t, float *v, int32_t dim)
{
    if (terse_page_coded(type)) {
        get_coded(type, block, t, v, dim, place_v, bias_v(type));
        return;
    }
    for (int32_t d = 0; d < dim; d++)
        v[d] = get_float(type, block, (size_t)(t * dim + d));
}

static void move_coded(terse_page_type type, uint8_t *to, int32_t to_t, const uint8_t *from, int32_t t,
                       int32_t dim, place_fn at, int32_t bias)
{
    for (int32_t b = 0; b < dim / B; b++)
        memcpy(to + scale_at(type, to_t, b, dim), from + scale_at(type, t, b, dim), sizeof(uint16_t));
    for (int32_t d = 0; d < dim; d++)
        put_code(type, to, at(type, to_t, d), get_code(type, from, at(type, t, d), bias), bias);
}

void terse_page_move_k(terse_page_type type, void *to, int32_t to_t, const void *from, int32_t t, int32_t dim)
{
    if (terse_page_coded(type)) {
        move_coded(type, to, to_t, from, t, dim, place_k, bias_k(type));
        return;
    }
    const size_t size = terse_page_block_size(type, 1) / P;
    for (int32_t d = 0; d < dim; d++)
        memcpy((char *)to + (size_t)(d * P + to_t) * size, (const char *)from + (size_t)(d * P + t) * size,
               size);
}

void terse_page_move_v(terse_page_type type, void *to, int32_t to_t, const void *from, int32_t t, int32_t dim)
{
    if (terse_page_coded(type)) {
        move_coded(type, to, to_t, from, t, dim, place_v, bias_v(type));
        return;
    }
    const size_t size = terse_page_block_size(type, 1) / P * (size_t)dim;
    memmove((char *)to + (size_t)to_t * size, (const char *)from + (size_t)t * size, size);
}

void terse_query_prepare(terse_page_type type, void *dst, const float *q, int32_t n_row, int32_t dim,
                         float scale)
{
    const size_t size = terse_query_size(type, dim);
    for (int32_t r = 0; r < n_row; r++) {
        char *row = (char *)dst + (size_t)r * size;
        const float *x = q + (size_t)r * (size_t)dim;
        if (!terse_page_coded(type)) {
            for (int32_t d = 0; d < dim; d++)
                ((float *)row)[d] = x[d] * scale;
            continue;
        }
        int8_t *code = (int8_t *)row;
        float *dq = (float *)(row + dim);
        int32_t *offset = (int32_t *)(row + dim) + dim / B;
        for (int32_t b = 0; b < dim / B; b++) {
            float scaled[B];
            for (int32_t i = 0; i < B; i++)
                scaled[i] = x[b * B + i] * scale;
            dq[b] = quantize_block(code + b * B, scaled);
            offset[b] = 0;
            for (int32_t i = 0; i < B; i++)
                offset[b] -= 8 * code[b * B + i];
        }
    }
}

void terse_query_some(void *dst, terse_page_type type, const void *q, int32_t n_row, int32_t dim,
                      terse_channels some)
{
    const size_t size = terse_query_size(type, dim), n = (size_t)terse_page_channels(type);
    for (int32_t r = 0; r < n_row; r++) {
        const char *from = (const char *)q + (size_t)r * size;
        char *row = (char *)dst + (size_t)r * size;
        const int8_t *code = (const int8_t *)row;
        int32_t *offset = (int32_t *)(row + dim) + dim / B;
        memset(row, 0, (size_t)dim);
        for (int32_t p = 0; p < some.n; p++)
            memcpy(row + some.at[p] * n, from + some.at[p] * n, n);
        memcpy(row + dim, from + dim, (size_t)(dim / B) * sizeof(float));
        for (int32_t b = 0; b < dim / B; b++) {
            offset[b] = 0;
            for (int32_t i = 0; i < B; i++)
                offset[b] -= 8 * code[b * B + i];
        }
    }
}
