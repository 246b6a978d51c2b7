/* simd/dot_unpack_neon.h: what the files of the tiers neon and dotprod share of
 * the dot products: the codes of a block of 32 values and the scales of 8 such
 * blocks as registers. Static helpers only.
 *
 * Codes are bytes 0..127 that offset_of(path) is too much for, or values where
 * it is 0: the sums of activations (terse_acts.sum) take it out of whole blocks
 * again. */
#ifndef TERSE_SIMD_DOT_UNPACK_NEON_H
#define TERSE_SIMD_DOT_UNPACK_NEON_H

#include "simd/lanes_neon.h"

#define TERSE_DOT_HALF
INLINE float half(uint16_t h)
{
    return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(h))), 0);
}

#include "simd/dot_unpack.h"

/* A kernel is compiled for a path: a type that has instructions of its own, or
 * one of two for all the others, whose codes and scales come from dot_unpack.h
 * through memory. */
enum { UNPACKED = TERSE_DOT_N, UNPACKED_SUB };

/* X(name, path) for every path. */
#define DOT_PATHS(X)                                                                                           \
    X(q8_0, TERSE_DOT_Q8_0)                                                                                    \
    X(q4_0, TERSE_DOT_Q4_0)                                                                                    \
    X(q4_k, TERSE_DOT_Q4_K)                                                                                    \
    X(q5_k, TERSE_DOT_Q5_K)                                                                                    \
    X(q6_k, TERSE_DOT_Q6_K)                                                                                    \
    X(q4_1, TERSE_DOT_Q4_1)                                                                                    \
    X(q5_0, TERSE_DOT_Q5_0)                                                                                    \
    X(q5_1, TERSE_DOT_Q5_1)                                                                                    \
    X(q2_k, TERSE_DOT_Q2_K)                                                                                    \
    X(q3_k, TERSE_DOT_Q3_K)                                                                                    \
    X(iq4_nl, TERSE_DOT_IQ4_NL)                                                                                \
    X(iq4_xs, TERSE_DOT_IQ4_XS)                                                                                \
    X(mxfp4, TERSE_DOT_MXFP4)                                                                                  \
    X(tq2_0, TERSE_DOT_TQ2_0)                                                                                  \
    X(unpacked, UNPACKED)                                                                                      \
    X(unpacked_sub, UNPACKED_SUB)

INLINE int path_of(terse_dot_type type)
{
    if (type < TERSE_DOT_TQ1_0 || type == TERSE_DOT_TQ2_0)
        return (int)type;
    return has(type, HAS_SUB) ? UNPACKED_SUB : UNPACKED;
}

INLINE bool path_has(int path, int trait)
{
    return path == UNPACKED_SUB ? trait == HAS_SUB : path != UNPACKED && has((terse_dot_type)path, trait);
}

INLINE int offset_of(int path)
{
    return path >= UNPACKED || path == TERSE_DOT_Q8_0 ? 0 : dot_formats[path].offset;
}

/* Float weights: any number of tokens. */
void terse_dot_floats_neon(terse_dot_type type, float *y, size_t y_stride, const uint8_t *w, size_t row_size,
                           int32_t n_row, const terse_acts *x);
void terse_quantize_neon(const terse_acts *a, int32_t t);
/* All of the tier dotprod, for the few tokens of the tier above it. */
terse_dot_rows terse_dot_rows_dotprod;

/* ---- steps of 256 values ---- */

enum { STEP_SIZE_MAX = 8 * sizeof(block_q8_0) };

/* One step of one token. */
typedef struct {
    const int8_t *q;
    const float *d, *s;
    const int32_t *sum;
} step_acts;

INLINE step_acts acts_at(const terse_acts *x, int32_t t, int32_t step)
{
    const size_t at = (size_t)t * (size_t)x->n_pad + (size_t)step * QK;
    return (step_acts){ x->q + at, x->d + at / 32, x->s + at / 32, x->sum + at / 16 };
}

/* The last n_block < 8 blocks of a row of blocks of 32 as a whole step, what is
 * missing as zeros: they meet activations that are zero, with scales that are
 * finite. Apart, so that it is not in the middle of the loop. */
__attribute__((noinline, cold)) static void copy_tail(size_t size, uint8_t out[STEP_SIZE_MAX], const uint8_t *w,
                                                      int32_t n_block)
{
    const size_t used = (size_t)n_block * size;
    memcpy(out, w, used);
    memset(out + used, 0, STEP_SIZE_MAX - used);
}

/* ---- codes ---- */

/* Of one block: values 0..15 and 16..31. */
typedef struct {
    int8x16_t v[2];
} codes;

INLINE codes codes_of_bytes(const int8_t *q)
{
    return (codes){ { vld1q_s8(q), vld1q_s8(q + 16) } };
}

/* 16 bytes: low nibbles, then high nibbles. */
INLINE codes codes_of_nibbles(const uint8_t *q)
{
    const uint8x16_t b = vld1q_u8(q);
    return (
        codes){ { vreinterpretq_s8_u8(vandq_u8(b, vdupq_n_u8(15))), vreinterpretq_s8_u8(vshrq_n_u8(b, 4)) } };
}

/* x moved down by shift bits, cut to those of mask. */
INLINE uint8x16_t field(uint8x16_t x, int shift, uint8_t mask)
{
    const uint8x16_t down = vshlq_u8(x, vdupq_n_s8((int8_t)-shift));
    return 255 >> shift == mask ? down : vandq_u8(down, vdupq_n_u8(mask));
}

/* 32 bytes: bits from shift on. */
INLINE codes codes_of_fields(const uint8_t *q, int shift, uint8_t mask)
{
    return (codes){ { vreinterpretq_s8_u8(field(vld1q_u8(q), shift, mask)),
                      vreinterpretq_s8_u8(field(vld1q_u8(q + 16), shift, mask)) } };
}

/* sum + (x >> n), which is one instruction. */
INLINE uint8x16_t add_down(uint8x16_t sum, uint8x16_t x, const int n)
{
    switch (n) {
    case 0:
        return vorrq_u8(sum, x);
    case 1:
        return vsraq_n_u8(sum, x, 1);
    case 2:
        return vsraq_n_u8(sum, x, 2);
    case 3:
        return vsraq_n_u8(sum, x, 3);
    case 4:
        return vsraq_n_u8(sum, x, 4);
    default:
        return vsraq_n_u8(sum, x, 5);
    }
}

/* c | (bits from shift on of 32 bytes) << up, where c has no bits. What has to go up goes up with its
 * neighbours by as much as these, to be moved down like those that lie above. shift < 4 or >= up; shift + up +
 * bits <= 8. */
INLINE codes or_fields(codes c, const uint8_t *q, int shift, uint8_t mask, int up)
{
    const int from = shift < up ? shift + up : shift;
    for (int i = 0; i < 2; i++) {
        uint8x16_t x = vld1q_u8(q + 16 * i);
        if (shift < up)
            x = vshlq_u8(x, vdupq_n_s8((int8_t)up));
        x = vandq_u8(x, vdupq_n_u8((uint8_t)(mask << from)));
        c.v[i] = vreinterpretq_s8_u8(add_down(vreinterpretq_u8_s8(c.v[i]), x, from - up));
    }
    return c;
}

/* All ones in the bytes whose bit is set: 16 bits at p. */
INLINE uint8x16_t bits_at(const uint8_t *p)
{
    static const uint8_t one[16] = { 1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128 };
    return vtstq_u8(vcombine_u8(vdup_n_u8(p[0]), vdup_n_u8(p[1])), vld1q_u8(one));
}

/* The same with a fifth bit of each value in the four bytes at qh. */
INLINE codes codes_of_5(const uint8_t *q, const uint8_t *qh)
{
    codes c = codes_of_nibbles(q);
    for (int i = 0; i < 2; i++) {
        const uint8x16_t fifth = vandq_u8(bits_at(qh + 2 * i), vdupq_n_u8(16));
        c.v[i] = vorrq_s8(c.v[i], vreinterpretq_s8_u8(fifth));
    }
    return c;
}

INLINE codes mapped(codes c, const int8_t map[16])
{
    const int8x16_t t = vld1q_s8(map);
    return (
        codes){ { vqtbl1q_s8(t, vreinterpretq_u8_s8(c.v[0])), vqtbl1q_s8(t, vreinterpretq_u8_s8(c.v[1])) } };
}

INLINE codes codes_of_q6_k(const block_q6_k *k, int b)
{
    const codes low = codes_of_fields(k->ql + b / 4 * 64 + b % 2 * 32, b % 4 / 2 * 4, 15);
    return or_fields(low, k->qh + b / 4 * 32, b % 4 * 2, 3, 4);
}

/* The two bits of Q2_K, Q3_K and TQ2_0. */
INLINE codes codes_of_k2(const uint8_t *q, int b)
{
    return codes_of_fields(q + b / 4 * 32, b % 4 * 2, 3);
}

/* Any type of the unpacked paths: as code_values(). */
INLINE codes codes_of_step(const dot_format *f, step_codes *s, const uint8_t *w, int b)
{
    f->codes(s, w, b);
    codes c = codes_of_bytes((const int8_t *)s->raw + b * 32);
    if (f->map)
        c = mapped(c, f->map);
    for (int i = 0; i < 2; i++) {
        c.v[i] = vsubq_s8(c.v[i], vdupq_n_s8((int8_t)f->offset));
        if (!(f->traits & HAS_SIGNS))
            continue;
        uint8_t sign[2];
        memcpy(sign, s->sign + b * 4 + 2 * i, sizeof sign);
        for (int k = 0; k < 2 && f->traits & HAS_EVEN_SIGNS; k++)
            sign[k] = (uint8_t)(sign[k] | __builtin_parity(sign[k]) << 7);
        const int8x16_t minus = vreinterpretq_s8_u8(bits_at(sign));
        c.v[i] = vsubq_s8(veorq_s8(c.v[i], minus), minus);
    }
    return c;
}

/* Block b of the 8 that begin at w, of a type with instructions of its own. */
INLINE codes codes_of(int path, const uint8_t *w, int b)
{
    const size_t size = dot_formats[path].size;
    const block_q4_k *k4 = (const void *)w;
    const block_q5_k *k5 = (const void *)w;
    const block_q3_k *k3 = (const void *)w;
    if (dot_formats[path].len == 32)
        w += (size_t)b * size;
    switch (path) {
    case TERSE_DOT_Q8_0:
        return codes_of_bytes(((const block_q8_0 *)(const void *)w)->q);
    case TERSE_DOT_Q4_0:
        return codes_of_nibbles(w + offsetof(block_q4_0, q));
    case TERSE_DOT_Q4_1:
        return codes_of_nibbles(w + offsetof(block_q4_1, q));
    case TERSE_DOT_Q5_0:
        return codes_of_5(w + offsetof(block_q5_0, q), w + offsetof(block_q5_0, qh));
    case TERSE_DOT_Q5_1:
        return codes_of_5(w + offsetof(block_q5_1, q), w + offsetof(block_q5_1, qh));
    case TERSE_DOT_IQ4_NL:
        return mapped(codes_of_nibbles(w + offsetof(block_q4_0, q)), iq4_values);
    case TERSE_DOT_IQ4_XS:
        return mapped(codes_of_nibbles(w + offsetof(block_iq4_xs, q) + 16 * b), iq4_values);
    case TERSE_DOT_MXFP4:
        return mapped(codes_of_nibbles(w + offsetof(block_mxfp4, q)), fp4_values);
    case TERSE_DOT_Q4_K:
        return codes_of_fields(k4->q + b / 2 * 32, b % 2 * 4, 15);
    case TERSE_DOT_Q5_K:
        return or_fields(codes_of_fields(k5->q + b / 2 * 32, b % 2 * 4, 15), k5->qh, b, 1, 4);
    case TERSE_DOT_Q6_K:
        return codes_of_q6_k((const void *)w, b);
    case TERSE_DOT_Q3_K:
        return or_fields(codes_of_k2(k3->q, b), k3->qh, b, 1, 2);
    case TERSE_DOT_Q2_K:
        return codes_of_k2(w + offsetof(block_q2_k, q), b);
    default:
        return codes_of_k2(w + offsetof(block_tq2_0, q), b);
    }
}

/* ---- scales ---- */

/* Of 8 blocks, those of four in a register. */
typedef struct {
    float32x4_t d[2], min[2];
    int32x4_t sub[4]; /* HAS_SUB: of 16 values each */
} scales;

INLINE void two_of(float32x4_t out[2], uint8x8_t bytes, float times)
{
    const uint16x8_t v = vmovl_u8(bytes);
    out[0] = vmulq_n_f32(vcvtq_f32_u32(vmovl_u16(vget_low_u16(v))), times);
    out[1] = vmulq_n_f32(vcvtq_f32_u32(vmovl_high_u16(v)), times);
}

INLINE void same(scales *s, uint16_t d)
{
    s->d[0] = s->d[1] = vdupq_n_f32(half(d));
}

INLINE void subs_of(scales *s, int8x16_t v)
{
    const int16x8_t low = vmovl_s8(vget_low_s8(v)), high = vmovl_high_s8(v);
    s->sub[0] = vmovl_s16(vget_low_s16(low));
    s->sub[1] = vmovl_high_s16(low);
    s->sub[2] = vmovl_s16(vget_low_s16(high));
    s->sub[3] = vmovl_high_s16(high);
}

INLINE void eight_halves(float32x4_t out[2], const uint8_t *p, size_t stride)
{
    uint16x4_t h[2];
    for (size_t i = 0; i < 2; i++, p += 4 * stride) {
        h[i] = vld1_dup_u16((const void *)p);
        h[i] = vld1_lane_u16((const void *)(p + stride), h[i], 1);
        h[i] = vld1_lane_u16((const void *)(p + 2 * stride), h[i], 2);
        h[i] = vld1_lane_u16((const void *)(p + 3 * stride), h[i], 3);
        out[i] = vcvt_f32_f16(vreinterpret_f16_u16(h[i]));
    }
}

/* Q4_K and Q5_K, which begin alike: the fields that sub_scales() takes apart,
 * four at a time. */
INLINE void scales_of_k(scales *s, const block_q4_k *k)
{
    const uint32_t a = word32(k->scales), b = word32(k->scales + 4), c = word32(k->scales + 8);
    const uint64_t sc = (c & 0x0f0f0f0f) | (a >> 2 & 0x30303030),
                   mn = (c >> 4 & 0x0f0f0f0f) | (b >> 2 & 0x30303030);
    two_of(s->d, vcreate_u8((a & 0x3f3f3f3f) | sc << 32), half(k->d));
    two_of(s->min, vcreate_u8((b & 0x3f3f3f3f) | mn << 32), half(k->dmin));
}

INLINE void scales_of_mxfp4(scales *s, const block_mxfp4 *k)
{
    for (int i = 0; i < 2; i++, k += 4) {
        const uint32_t e[4] = { k[0].e, k[1].e, k[2].e, k[3].e };
        const uint32x4_t v = vld1q_u32(e), one = vdupq_n_u32(1);
        const uint32x4_t normal = vshlq_n_u32(vsubq_u32(v, one), 23);
        const uint32x4_t denormal = vshlq_u32(vdupq_n_u32(0x00200000), vreinterpretq_s32_u32(v));
        s->d[i] = vreinterpretq_f32_u32(vbslq_u32(vcgtq_u32(v, one), normal, denormal));
    }
}

INLINE void scales_of_iq4_xs(scales *s, const block_iq4_xs *k)
{
    static const int32_t down[8] = { 0, -1, -2, -3, -4, -5, -6, -7 };
    const uint32x4_t low = vdupq_n_u32(word32(k->scales_l));
    const uint32x4_t high = vdupq_n_u32((uint32_t)(k->scales_h[0] | k->scales_h[1] << 8));
    const float d = half(k->d);
    for (int i = 0; i < 2; i++) {
        const int32x4_t by = vld1q_s32(down + 4 * i);
        const uint32x4_t four = vandq_u32(vshlq_u32(low, vshlq_n_s32(by, 2)), vdupq_n_u32(15));
        const uint32x4_t two = vandq_u32(vshlq_u32(high, vshlq_n_s32(by, 1)), vdupq_n_u32(3));
        const int32x4_t six = vreinterpretq_s32_u32(vorrq_u32(four, vshlq_n_u32(two, 4)));
        s->d[i] = vmulq_n_f32(vcvtq_f32_s32(vsubq_s32(six, vdupq_n_s32(32))), d);
    }
}

/* Low nibbles, then high nibbles, of 8 bytes, and two bits each from the last
 * 4: as scales_q3_k(). */
INLINE void scales_of_q3_k(scales *s, const block_q3_k *k)
{
    static const int8_t down[16] = { 0, 0, 0, 0, -2, -2, -2, -2, -4, -4, -4, -4, -6, -6, -6, -6 };
    const uint8x8_t low = vld1_u8(k->scales);
    const uint8x16_t four = vcombine_u8(vand_u8(low, vdup_n_u8(15)), vshr_n_u8(low, 4));
    const uint8x16_t top = vreinterpretq_u8_u32(vdupq_n_u32(word32(k->scales + 8)));
    const uint8x16_t two = vandq_u8(vshlq_u8(top, vld1q_s8(down)), vdupq_n_u8(3));
    const int8x16_t six = vreinterpretq_s8_u8(vorrq_u8(four, vshlq_n_u8(two, 4)));
    same(s, k->d);
    subs_of(s, vsubq_s8(six, vdupq_n_s8(32)));
}

INLINE void scales_of_q2_k(scales *s, const block_q2_k *k)
{
    same(s, k->d);
    s->min[0] = s->min[1] = vdupq_n_f32(half(k->dmin));
    subs_of(s, vreinterpretq_s8_u8(vandq_u8(vld1q_u8(k->sub), vdupq_n_u8(15))));
}

/* Any type of the unpacked paths. */
INLINE scales scales_of_step(const dot_format *f, const uint8_t *w)
{
    step_scales raw;
    scales s;
    f->scales(&raw, w, QK_BLOCKS);
    s.d[0] = vld1q_f32(raw.d);
    s.d[1] = vld1q_f32(raw.d + 4);
    if (f->traits & HAS_SUB)
        subs_of(&s, vld1q_s8(raw.sub));
    return s;
}

/* A type with instructions of its own. */
INLINE scales scales_of(int path, const uint8_t *w)
{
    const size_t size = dot_formats[path].size;
    const block_q6_k *q6 = (const void *)w;
    scales s;
    switch (path) {
    case TERSE_DOT_Q4_K:
    case TERSE_DOT_Q5_K:
        scales_of_k(&s, (const void *)w);
        break;
    case TERSE_DOT_Q6_K:
        same(&s, q6->d);
        subs_of(&s, vld1q_s8(q6->sc));
        break;
    case TERSE_DOT_Q3_K:
        scales_of_q3_k(&s, (const void *)w);
        break;
    case TERSE_DOT_Q2_K:
        scales_of_q2_k(&s, (const void *)w);
        break;
    case TERSE_DOT_TQ2_0:
        same(&s, ((const block_tq2_0 *)(const void *)w)->d);
        break;
    case TERSE_DOT_IQ4_XS:
        scales_of_iq4_xs(&s, (const void *)w);
        break;
    case TERSE_DOT_MXFP4:
        scales_of_mxfp4(&s, (const void *)w);
        break;
    default:
        eight_halves(s.d, w, size);
        if (path_has(path, HAS_MIN)) { /* it is stored with the other sign */
            eight_halves(s.min, w + 2, size);
            s.min[0] = vnegq_f32(s.min[0]);
            s.min[1] = vnegq_f32(s.min[1]);
        }
    }
    return s;
}

#endif
