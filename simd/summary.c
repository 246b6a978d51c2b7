/* simd/summary.c: summaries into tiles, and query rows to match. Portable: the layout is in summary.h. */
#include "simd/summary.h"
#include "simd/attn.h"
#include "simd/code.h"
#include "simd/dot.h"

#include <math.h>
#include <string.h>

enum { B = TERSE_KV_BLOCK };

static int32_t block_end(int32_t b, int32_t dim)
{
    return (b + 1) * B < dim ? (b + 1) * B : dim;
}

/* The largest magnitude of block b; infinite if anything in it is not finite. */
static float largest(const float *x, int32_t b, int32_t dim)
{
    return terse_largest(x + b * B, block_end(b, dim) - b * B);
}

/* The smallest f16 that is at least x: scales must not be short. */
static uint16_t f16_above(float x)
{
    const uint16_t h = terse_f32_to_f16(x);
    return terse_f16_to_f32(h) < x ? (uint16_t)(h + 1) : h;
}

static float code_of(float x, float scale)
{
    return scale > 0.0f && isfinite(scale) ? x / scale : 0.0f;
}

void terse_moments_put(void *tile, int32_t lane, const float *mean, const float *variance, int32_t dim)
{
    const int32_t n_block = terse_summary_blocks(dim);
    uint8_t *m = tile, *v = m + dim * TERSE_TILE;
    uint16_t *dm = (uint16_t *)(v + dim * TERSE_TILE), *dv = dm + n_block * TERSE_TILE;
    for (int32_t b = 0; b < n_block; b++) {
        const uint16_t hm = f16_above(largest(mean, b, dim) / 127.0f);
        const uint16_t hv = f16_above(largest(variance, b, dim) / 255.0f);
        dm[b * TERSE_TILE + lane] = hm;
        dv[b * TERSE_TILE + lane] = hv;
        for (int32_t j = b * B; j < block_end(b, dim); j++) {
            const int32_t at = (j / 4 * TERSE_TILE + lane) * 4 + j % 4;
            m[at] = (uint8_t)(128 + terse_code(code_of(mean[j], terse_f16_to_f32(hm)), -127.0f, 127.0f));
            v[at] = (uint8_t)terse_code(code_of(variance[j], terse_f16_to_f32(hv)), 0.0f, 255.0f);
        }
    }
}

void terse_moments_add_variance(float *sum, const void *tile, int32_t lane, int32_t dim)
{
    const uint8_t *v = (const uint8_t *)tile + dim * TERSE_TILE + lane * 4;
    const uint16_t *scale = (const uint16_t *)(const void *)((const uint8_t *)tile + 2 * dim * TERSE_TILE) +
                            terse_summary_blocks(dim) * TERSE_TILE + lane;
    for (int32_t j = 0; j < dim; j += 4) {
        const float d = terse_f16_to_f32(scale[j / B * TERSE_TILE]);
        for (int32_t i = 0; i < 4; i++)
            sum[j + i] += d * (float)v[j * TERSE_TILE + i];
    }
}

void terse_box_put(void *tile, int32_t lane, const float *low, const float *high, int32_t dim)
{
    int8_t *lo = tile, *hi = lo + dim * TERSE_TILE;
    uint16_t *scale = (uint16_t *)(hi + dim * TERSE_TILE);
    for (int32_t b = 0; b < terse_summary_blocks(dim); b++) {
        /* A little above the largest / 127, so that no quotient below exceeds 127 by its rounding. */
        const float top = fmaxf(largest(low, b, dim), largest(high, b, dim)) * 1.000001f;
        const uint16_t h = f16_above(top / 127.0f);
        scale[b * TERSE_TILE + lane] = h;
        /* code * scale is exact, and no float beyond it has a quotient that rounds to the code. */
        for (int32_t j = b * B; j < block_end(b, dim); j++) {
            lo[j * TERSE_TILE + lane] = (int8_t)floorf(code_of(low[j], terse_f16_to_f32(h)));
            hi[j * TERSE_TILE + lane] = (int8_t)ceilf(code_of(high[j], terse_f16_to_f32(h)));
        }
    }
}

/* Codes -127..127 of block b of x; returns their scale. */
static float quantize(int8_t *code, const float *x, int32_t b, int32_t dim)
{
    const float top = largest(x, b, dim), scale = top / 127.0f, inv = top > 0.0f ? 127.0f / top : 0.0f;
    const bool some = inv > 0.0f && inv <= FLT_MAX && top <= FLT_MAX;
    for (int32_t j = b * B; j < block_end(b, dim); j++)
        code[j] = some ? (int8_t)terse_code(x[j] * inv, -127.0f, 127.0f) : 0;
    return scale;
}

void terse_moments_query(void *dst, const float *x, int32_t n_row, int32_t dim)
{
    const int32_t n_block = terse_summary_blocks(dim);
    for (int32_t r = 0; r < n_row; r++, x += dim) {
        int8_t *code = (int8_t *)dst + (size_t)r * terse_moments_query_size(dim), *square = code + dim;
        float *scale = (float *)(square + dim);
        int32_t *sum = (int32_t *)(scale + 2 * n_block);
        float x2[TERSE_PAGE_DIM];
        for (int32_t j = 0; j < dim; j++)
            x2[j] = x[j] * x[j];
        for (int32_t b = 0; b < n_block; b++) {
            scale[b] = quantize(code, x, b, dim);
            scale[n_block + b] = quantize(square, x2, b, dim);
            sum[b] = 0;
            for (int32_t j = b * B; j < block_end(b, dim); j++)
                sum[b] += code[j];
        }
    }
}

void terse_query_restore(terse_page_type type, float *x, const void *query, int32_t n_row, int32_t dim)
{
    const size_t size = terse_query_size(type, dim);
    for (int32_t r = 0; r < n_row; r++, x += dim) {
        const char *row = (const char *)query + (size_t)r * size;
        if (!terse_page_coded(type)) {
            memcpy(x, row, (size_t)dim * sizeof *x);
            continue;
        }
        for (int32_t j = 0; j < dim; j++)
            x[j] = (float)((const int8_t *)row)[j] * ((const float *)(row + dim))[j / B];
    }
}
