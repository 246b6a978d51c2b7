/* simd/dot_neon.h: dot products of quantized weights for the tiers neon and
 * dotprod: a file of each includes it.
 *
 * A step is 256 values, 8 blocks. A dot4 of 16 codes gives four sums of 4;
 * adding neighbours of four registers gives the sums of four blocks in a
 * register, which are four of the eight lanes of dot.h. */
#ifndef TERSE_SIMD_DOT_NEON_H
#define TERSE_SIMD_DOT_NEON_H

#include "simd/dot_unpack_neon.h"

/* Rows of one token, or tokens of one row: what is computed together. */
enum { TOGETHER = 4 };

/* A product as terse_dot_rows has it. */
typedef struct {
    terse_dot_type type;
    float *y;
    size_t y_stride;
    const uint8_t *w;
    size_t row_size;
    int32_t n_row;
    const terse_acts *x;
} product;

/* Accumulators of one row times one token. */
typedef struct {
    float32x4_t acc[2], low[2];
} sums;

/* Sums of blocks 4h to 4h + 3 from those of 16 values, less what the offset of
 * codes has added. */
INLINE int32x4_t block_sums(int path, const int32x4_t v[8], const scales *sc, const step_acts *a, int h)
{
    const int32_t offset = offset_of(path);
    if (path_has(path, HAS_SUB)) {
        int32x4_t part[2];
        for (int i = 0; i < 2; i++) {
            part[i] = sums_of(v[4 * i], v[4 * i + 1], v[4 * i + 2], v[4 * i + 3]);
            if (offset)
                part[i] = vmlsq_n_s32(part[i], vld1q_s32(a->sum + 8 * h + 4 * i), offset);
            part[i] = vmulq_s32(part[i], sc->sub[2 * h + i]);
        }
        return vpaddq_s32(part[0], part[1]);
    }
    const int32x4_t isum = sums_of(v[0], v[2], v[4], v[6]);
    if (!offset)
        return isum;
    return vmlsq_n_s32(isum, vpaddq_s32(vld1q_s32(a->sum + 8 * h), vld1q_s32(a->sum + 8 * h + 4)), offset);
}

/* Q2_K: minima of 16 values times the sums of their activations. */
INLINE int32x4_t low_sums(const block_q2_k *w, const step_acts *a, int h)
{
    const int16x8_t low = vreinterpretq_s16_u16(vmovl_u8(vshr_n_u8(vld1_u8(w->sub + 8 * h), 4)));
    return vpaddq_s32(vmulq_s32(vmovl_s16(vget_low_s16(low)), vld1q_s32(a->sum + 8 * h)),
                      vmulq_s32(vmovl_high_s16(low), vld1q_s32(a->sum + 8 * h + 4)));
}

/* Adds one half of a step to its four lanes. */
INLINE void add_half(int path, sums *s, const int32x4_t v[8], const uint8_t *w, const scales *sc,
                     const step_acts *a, int h)
{
    const float32x4_t d = vld1q_f32(a->d + 4 * h);
    const float32x4_t isum = vcvtq_f32_s32(block_sums(path, v, sc, a, h));
    s->acc[h] = vfmaq_f32(s->acc[h], vmulq_f32(sc->d[h], d), isum);
    if (path_has(path, HAS_MIN))
        s->low[h] = vfmaq_f32(s->low[h], sc->min[h], vld1q_f32(a->s + 4 * h));
    if (path_has(path, HAS_LOW)) {
        const float32x4_t imin = vcvtq_f32_s32(low_sums((const void *)w, a, h));
        s->low[h] = vfmaq_f32(s->low[h], vmulq_f32(sc->min[h], d), imin);
    }
}

/* One block times one token: its halves apart only where they have scales of
 * their own. */
INLINE void block_products(int path, int32x4_t v[2], const codes *c, const int8_t *q)
{
    const int32x4_t zero = vdupq_n_s32(0);
    v[0] = dot4(zero, c->v[0], vld1q_s8(q));
    if (path_has(path, HAS_SUB))
        v[1] = dot4(zero, c->v[1], vld1q_s8(q + 16));
    else
        v[0] = dot4(v[0], c->v[1], vld1q_s8(q + 16));
}

/* One step of one row, w its bytes, times T tokens. Accumulators of a row at a
 * time fit the registers. */
INLINE void add_step(int path, const dot_format *f, sums *s, const uint8_t *w, const step_acts a[TOGETHER],
                     const int T)
{
    const scales sc = path >= UNPACKED ? scales_of_step(f, w) : scales_of(path, w);
    step_codes raw;
#pragma GCC unroll 2
    for (int h = 0; h < 2; h++) {
        int32x4_t v[TOGETHER][8];
#pragma GCC unroll 4
        for (int b = 0; b < 4; b++) {
            const int at = 4 * h + b;
            const codes c = path >= UNPACKED ? codes_of_step(f, &raw, w, at) : codes_of(path, w, at);
            for (int t = 0; t < T; t++)
                block_products(path, &v[t][2 * b], &c, a[t].q + at * 32);
        }
        for (int t = 0; t < T; t++)
            add_half(path, &s[t], v[t], w, &sc, &a[t], h);
    }
}

/* Rows from w (R of them; past n_row copies of the last, which are dropped)
 * times tokens from t (T of them). */
INLINE void tile(int path, const product *j, float *y, const uint8_t *w, int32_t n_row, int32_t t, const int R,
                 const int T)
{
    const dot_format *f = &dot_formats[path < UNPACKED ? (terse_dot_type)path : j->type];
    const size_t size = f->size * (size_t)(QK / f->len), ahead = ahead_of(j->row_size, (size_t)R);
    const int32_t n_block = j->x->n / TERSE_ACT_BLOCK, n_step = (n_block + 7) / 8;
    const uint8_t *row[TOGETHER];
    _Alignas(16) uint8_t tail[TOGETHER][STEP_SIZE_MAX];
    sums s[TOGETHER];
    for (int r = 0; r < R; r++)
        row[r] = w + (size_t)(r < n_row ? r : n_row - 1) * j->row_size;
    for (int i = 0; i < TOGETHER; i++)
        s[i].acc[0] = s[i].acc[1] = s[i].low[0] = s[i].low[1] = vdupq_n_f32(0.0f);
    for (int32_t k = 0; k < n_step; k++) {
        step_acts a[TOGETHER];
        for (int i = 0; i < T; i++)
            a[i] = acts_at(j->x, t + i, k);
        for (int r = 0; r < R; r++) {
            for (size_t i = 0; i < size; i += 64)
                prefetch_line(row[r] + ahead + i);
            if (f->len == 32 && 8 * k + 8 > n_block) {
                copy_tail(f->size, tail[r], row[r], n_block - 8 * k);
                row[r] = tail[r];
            }
            add_step(path, f, &s[r], row[r], a, T);
            row[r] += size;
        }
    }
    for (int i = 0; i < R * T; i++) {
        const float acc = fold4(vaddq_f32(s[i].acc[0], s[i].acc[1])),
                    low = fold4(vaddq_f32(s[i].low[0], s[i].low[1]));
        if (i % R < n_row)
            y[(size_t)(t + i / R) * j->y_stride + (size_t)(i % R)] = acc - low + 0.0f; /* no -0 */
    }
}

INLINE void rows_of(int path, const product *j)
{
    const int32_t n_token = j->x->n_token;
    int32_t t = 0;
    for (; t + TOGETHER <= n_token; t += TOGETHER)
        for (int32_t r = 0; r < j->n_row; r++)
            tile(path, j, j->y + r, j->w + (size_t)r * j->row_size, 1, t, 1, TOGETHER);
    for (; t < n_token; t++)
        for (int32_t r = 0; r < j->n_row; r += TOGETHER)
            tile(path, j, j->y + r, j->w + (size_t)r * j->row_size, j->n_row - r, t, TOGETHER, 1);
}

/* One function for each path: all in one would take a compiler several times as
 * long. */
typedef void path_rows(const product *j);

#define PATH_ROWS(name, path)                                                                                  \
    static void rows_##name(const product *j)                                                                  \
    {                                                                                                          \
        rows_of(path, j);                                                                                      \
    }
DOT_PATHS(PATH_ROWS)

#define PATH_ENTRY(name, path) [path] = rows_##name,
static path_rows *const paths[] = { DOT_PATHS(PATH_ENTRY) };

static void rows(terse_dot_type type, float *y, size_t y_stride, const void *w, size_t row_size, int32_t n_row,
                 const terse_acts *x)
{
    if (dot_formats[type].len)
        paths[path_of(type)](&(product){ type, y, y_stride, w, row_size, n_row, x });
    else
        terse_dot_floats_neon(type, y, y_stride, w, row_size, n_row, x);
}

#endif
