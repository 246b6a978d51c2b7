/* Block layouts are those of the GGUF format (terse/gguf.h, simd/dot.h). */
#include "quantize.h"

#include "simd/dot.h"

#include <math.h>
#include <string.h>

enum { SMALL = 32, SUPER = 256 }; /* values per block: Q8_0 and Q4_0; the K types */

bool quantize_can(terse_type type)
{
    return type == TERSE_TYPE_F32 || type == TERSE_TYPE_F16 || type == TERSE_TYPE_BF16 ||
           type == TERSE_TYPE_Q8_0 || type == TERSE_TYPE_Q4_0 || type == TERSE_TYPE_Q4_K ||
           type == TERSE_TYPE_Q5_K || type == TERSE_TYPE_Q6_K;
}

/* Stores a scale as f16 and returns it as a decoder will see it. */
static float store_f16(uint8_t *p, float x)
{
    const uint16_t h = terse_f32_to_f16(x);
    memcpy(p, &h, sizeof h);
    return terse_f16_to_f32(h);
}

static float inverse(float x)
{
    return x != 0.0f ? 1.0f / x : 0.0f;
}

static int32_t code(float x, int32_t least, int32_t most)
{
    const int32_t q = (int32_t)lrintf(x);
    return q < least ? least : q > most ? most : q;
}

/* The value of the largest size, with its sign. */
static float extreme(const float *x, int32_t n)
{
    float e = 0.0f;
    for (int32_t i = 0; i < n; i++)
        e = fabsf(x[i]) > fabsf(e) ? x[i] : e;
    return e;
}

/* f16 d, int8 q[32] */
static void block_q8_0(uint8_t *b, const float *x)
{
    const float inv = inverse(store_f16(b, fabsf(extreme(x, SMALL)) / 127.0f));
    for (int32_t i = 0; i < SMALL; i++)
        b[2 + i] = (uint8_t)(int8_t)code(x[i] * inv, -127, 127);
}

/* f16 d, 16 bytes: value i in the low half of byte i, value 16 + i in the high half, each plus 8. The extreme
 * value gets code -8. */
static void block_q4_0(uint8_t *b, const float *x)
{
    const float inv = inverse(store_f16(b, extreme(x, SMALL) / -8.0f));
    for (int32_t i = 0; i < SMALL / 2; i++) {
        const int32_t low = code(x[i] * inv, -8, 7) + 8, high = code(x[i + SMALL / 2] * inv, -8, 7) + 8;
        b[2 + i] = (uint8_t)(low | high << 4);
    }
}

/* Eight pairs of 6-bit numbers in 12 bytes: the first four scales and minima in the low bits of bytes 0..3 and
 * 4..7, the others split over bytes 8..11 and the upper two bits of the first eight. */
static void pack_scales(uint8_t b[12], const int32_t scale[8], const int32_t min[8])
{
    for (int32_t j = 0; j < 4; j++) {
        b[j] = (uint8_t)(scale[j] | scale[j + 4] >> 4 << 6);
        b[j + 4] = (uint8_t)(min[j] | min[j + 4] >> 4 << 6);
        b[j + 8] = (uint8_t)((scale[j + 4] & 15) | (min[j + 4] & 15) << 4);
    }
}

/* Q4_K and Q5_K: f16 d, f16 dmin, 12 bytes of scales, for Q5_K the fifth bits (32 bytes, bit j for part j),
 * then 128 bytes of low halves. Eight parts of 32; value = d * scale * q - dmin * min. */
static void block_q45_k(uint8_t *b, const float *x, int32_t most)
{
    float step[8], low[8], max_step = 0.0f, max_low = 0.0f;
    int32_t scale[8], min[8];
    for (int32_t j = 0; j < 8; j++) {
        float least = 0.0f, largest = 0.0f;
        for (int32_t i = 0; i < 32; i++) {
            least = fminf(least, x[32 * j + i]);
            largest = fmaxf(largest, x[32 * j + i]);
        }
        step[j] = (largest - least) / (float)most;
        low[j] = -least;
        max_step = fmaxf(max_step, step[j]);
        max_low = fmaxf(max_low, low[j]);
    }
    const float d = store_f16(b, max_step / 63.0f), dmin = store_f16(b + 2, max_low / 63.0f);
    for (int32_t j = 0; j < 8; j++) {
        scale[j] = code(step[j] * inverse(d), 0, 63);
        min[j] = code(low[j] * inverse(dmin), 0, 63);
    }
    pack_scales(b + 4, scale, min);
    uint8_t *high = b + 16, *codes = b + (most > 15 ? 48 : 16);
    memset(high, 0, most > 15 ? 160 : 128);
    for (int32_t j = 0; j < 8; j++) {
        const float inv = inverse(d * (float)scale[j]), offset = dmin * (float)min[j];
        for (int32_t i = 0; i < 32; i++) {
            const int32_t q = code((x[32 * j + i] + offset) * inv, 0, most);
            codes[j / 2 * 32 + i] |= (uint8_t)((q & 15) << (j % 2 * 4));
            if (q > 15)
                high[i] |= (uint8_t)(1u << j);
        }
    }
}

/* 128 bytes of low halves, 64 bytes of upper two bits, 16 int8 scales, f16 d. Sixteen parts of 16; value =
 * d * scale * (q - 32). Within each half of 128 values, value 32 k + i has its low bits in half k / 2 of byte
 * 32 (k % 2) + i and its upper bits at bit 2 k of byte i. */
static void block_q6_k(uint8_t *b, const float *x)
{
    float step[16], max_step = 0.0f;
    for (int32_t j = 0; j < 16; j++) {
        step[j] = extreme(x + 16 * j, 16) / -32.0f;
        max_step = fmaxf(max_step, fabsf(step[j]));
    }
    memset(b, 0, 192);
    const float d = store_f16(b + 208, max_step / 127.0f);
    for (int32_t j = 0; j < 16; j++) {
        const int32_t scale = code(step[j] * inverse(d), -127, 127);
        const float inv = inverse(d * (float)scale);
        b[192 + j] = (uint8_t)(int8_t)scale;
        for (int32_t i = 16 * j; i < 16 * j + 16; i++) {
            const int32_t q = code(x[i] * inv, -32, 31) + 32, k = i % 128 / 32;
            b[i / 128 * 64 + k % 2 * 32 + i % 32] |= (uint8_t)((q & 15) << (k / 2 * 4));
            b[128 + i / 128 * 32 + i % 32] |= (uint8_t)(q >> 4 << (2 * k));
        }
    }
}

static void block(terse_type type, uint8_t *b, const float *x)
{
    uint16_t h;
    switch (type) {
    case TERSE_TYPE_F16:
    case TERSE_TYPE_BF16:
        h = type == TERSE_TYPE_F16 ? terse_f32_to_f16(*x) : terse_f32_to_bf16(*x);
        memcpy(b, &h, sizeof h);
        break;
    case TERSE_TYPE_Q8_0:
        block_q8_0(b, x);
        break;
    case TERSE_TYPE_Q4_0:
        block_q4_0(b, x);
        break;
    case TERSE_TYPE_Q4_K:
        block_q45_k(b, x, 15);
        break;
    case TERSE_TYPE_Q5_K:
        block_q45_k(b, x, 31);
        break;
    case TERSE_TYPE_Q6_K:
        block_q6_k(b, x);
        break;
    default:
        memcpy(b, x, sizeof *x);
        break;
    }
}

void quantize_row(terse_type type, void *row, const float *x, int64_t n)
{
    const terse_type_info *t = terse_type_of(type);
    uint8_t *b = row;
    for (int64_t i = 0; i < n; i += t->block_len, b += t->block_size)
        block(type, b, x + i);
}
