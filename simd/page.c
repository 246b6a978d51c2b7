/* simd/page.c: one token into and out of a page. Portable: the layout is in page.h. */
#include "simd/page.h"
#include "simd/attn.h"
#include "simd/dot.h"

#include <math.h>
#include <string.h>

enum { B = TERSE_KV_BLOCK, P = TERSE_PAGE };

/* Codes of x[32] and their scale: the largest |x| is 127. A block with a non-finite value has a NaN scale. */
static float quantize_block(int8_t *q, const float *x)
{
    float amax = 0.0f;
    bool finite = true;
    for (int32_t i = 0; i < B; i++) {
        finite &= isfinite(x[i]) != 0;
        amax = fmaxf(amax, fabsf(x[i]));
    }
    const float inv = finite && amax > 0.0f ? 127.0f / amax : 0.0f;
    for (int32_t i = 0; i < B; i++)
        q[i] = isfinite(inv) && finite ? (int8_t)fminf(127.0f, fmaxf(-127.0f, nearbyintf(x[i] * inv))) : 0;
    return finite ? amax / 127.0f : NAN;
}

/* Codes for the page: the scale is rounded to f16 first, so that the codes fit the scale that is stored. */
static uint16_t quantize_stored(int8_t *q, const float *x)
{
    const uint16_t h = terse_f32_to_f16(quantize_block(q, x));
    const float d = terse_f16_to_f32(h);
    const float inv = d > 0.0f && isfinite(d) ? 1.0f / d : 0.0f;
    for (int32_t i = 0; i < B; i++)
        q[i] = inv > 0.0f ? (int8_t)fminf(127.0f, fmaxf(-127.0f, nearbyintf(x[i] * inv))) : 0;
    return h;
}

static uint16_t *scales(void *block, int32_t dim)
{
    return (uint16_t *)((char *)block + (size_t)dim * P);
}

static const uint16_t *scales_const(const void *block, int32_t dim)
{
    return (const uint16_t *)((const char *)block + (size_t)dim * P);
}

void terse_page_put_k(terse_page_type type, void *block, int32_t t, const float *k, int32_t dim)
{
    if (type == TERSE_PAGE_F32) {
        for (int32_t d = 0; d < dim; d++)
            ((float *)block)[d * P + t] = k[d];
    } else if (type == TERSE_PAGE_F16) {
        for (int32_t d = 0; d < dim; d++)
            ((uint16_t *)block)[d * P + t] = terse_f32_to_f16(k[d]);
    } else {
        int8_t q[B];
        for (int32_t b = 0; b < dim / B; b++) {
            scales(block, dim)[b * P + t] = quantize_stored(q, k + b * B);
            for (int32_t i = 0; i < B; i += 4)
                memcpy((int8_t *)block + ((size_t)(b * B + i) * P + (size_t)t * 4), q + i, 4);
        }
    }
}

void terse_page_get_k(terse_page_type type, const void *block, int32_t t, float *k, int32_t dim)
{
    for (int32_t d = 0; d < dim; d++) {
        if (type == TERSE_PAGE_F32)
            k[d] = ((const float *)block)[d * P + t];
        else if (type == TERSE_PAGE_F16)
            k[d] = terse_f16_to_f32(((const uint16_t *)block)[d * P + t]);
        else
            k[d] = terse_f16_to_f32(scales_const(block, dim)[d / B * P + t]) *
                   (float)((const int8_t *)block)[d / 4 * 4 * P + t * 4 + d % 4];
    }
}

void terse_page_put_v(terse_page_type type, void *block, int32_t t, const float *v, int32_t dim)
{
    if (type == TERSE_PAGE_F32) {
        memcpy((float *)block + (size_t)t * (size_t)dim, v, (size_t)dim * sizeof *v);
    } else if (type == TERSE_PAGE_F16) {
        for (int32_t d = 0; d < dim; d++)
            ((uint16_t *)block)[t * dim + d] = terse_f32_to_f16(v[d]);
    } else {
        int8_t q[B];
        for (int32_t b = 0; b < dim / B; b++) {
            scales(block, dim)[b * P + t] = quantize_stored(q, v + b * B);
            for (int32_t i = 0; i < B; i++)
                ((int8_t *)block)[(t / 2 * dim + b * B + i) * 2 + t % 2] = q[i];
        }
    }
}

void terse_page_get_v(terse_page_type type, const void *block, int32_t t, float *v, int32_t dim)
{
    for (int32_t d = 0; d < dim; d++) {
        if (type == TERSE_PAGE_F32)
            v[d] = ((const float *)block)[t * dim + d];
        else if (type == TERSE_PAGE_F16)
            v[d] = terse_f16_to_f32(((const uint16_t *)block)[t * dim + d]);
        else
            v[d] = terse_f16_to_f32(scales_const(block, dim)[d / B * P + t]) *
                   (float)((const int8_t *)block)[(t / 2 * dim + d) * 2 + t % 2];
    }
}

void terse_query_prepare(terse_page_type type, void *dst, const float *q, int32_t n_row, int32_t dim,
                         float scale)
{
    const size_t size = terse_query_size(type, dim);
    for (int32_t r = 0; r < n_row; r++) {
        char *row = (char *)dst + (size_t)r * size;
        const float *x = q + (size_t)r * (size_t)dim;
        if (type != TERSE_PAGE_Q8) {
            for (int32_t d = 0; d < dim; d++)
                ((float *)row)[d] = x[d] * scale;
            continue;
        }
        int8_t *code = (int8_t *)row;
        float *dq = (float *)(row + dim);
        int32_t *sum = (int32_t *)(row + dim) + dim / B;
        for (int32_t b = 0; b < dim / B; b++) {
            float scaled[B];
            for (int32_t i = 0; i < B; i++)
                scaled[i] = x[b * B + i] * scale;
            dq[b] = quantize_block(code + b * B, scaled);
            sum[b] = 0;
            for (int32_t i = 0; i < B; i++)
                sum[b] += code[b * B + i];
        }
    }
}
