/* simd/dot_i8mm.c: quantised rows times many tokens with products of 2 x 8 by 8 x 2 bytes. Fewer tokens go to
 * the tier dotprod.
 *
 * smmla adds the products of 8 codes of two rows and two tokens to the four sums of a register: rows r and r +
 * 1 as {r t, r t+1, r+1 t, r+1 t+1}. Nothing is ever added across lanes. A panel is 16 rows of some steps (256
 * values), unpacked once for all tokens, its blocks sorted by the accumulator of dot.h that they add to, which
 * then stays in a register on the way through the panel. Only the unpacking depends on the type; the products
 * are compiled for the four kinds of types. */
#ifndef __ARM_FEATURE_MATMUL_INT8
#error "compile this file with the i8mm tier's flags"
#endif

#include "simd/dot_unpack_neon.h"

enum {
    ROWS = 16,
    PAIRS = ROWS / 2,
    STEPS = 4,   /* in a panel: 20 to 36 KiB, of which what a type has stays in the first-level cache */
    GROUP = 256, /* tokens whose accumulators wait for the next panel, where rows are longer than one */
    MANY = 6,    /* from so many tokens on a panel is less work */
};

/* A block of ROWS rows. Codes: 8 of a row, 8 of the next, four times a pair. Numbers of rows r and r + 1 as
 * {r, r, r + 1, r + 1}. */
typedef struct {
    int8x16_t code[PAIRS][4];
    float32x4_t d[PAIRS];
} panel_block;

typedef struct {
    panel_block block[8][STEPS];       /* [lane of dot.h] */
    float32x4_t min[8][STEPS][PAIRS];  /* HAS_MIN, HAS_LOW */
    int32x4_t sub[8][STEPS][PAIRS][2]; /* HAS_SUB: first and last half of a block */
    int32x4_t low[8][STEPS][PAIRS][2]; /* HAS_LOW */
    const uint8_t *row[ROWS];          /* past n_row copies of the last */
    int32_t n_row, n_block, step;
    int n_step;
} panel;

/* ---- unpacking ---- */

/* {a0 a0 b0 b0} and so on. */
INLINE void spread(float32x4_t out[4], float32x4_t a, float32x4_t b)
{
    const float32x4_t first = vzip1q_f32(a, b), last = vzip2q_f32(a, b);
    out[0] = vzip1q_f32(first, first);
    out[1] = vzip2q_f32(first, first);
    out[2] = vzip1q_f32(last, last);
    out[3] = vzip2q_f32(last, last);
}

/* Floats of 8 blocks of two rows. */
INLINE void spread8(float32x4_t out[8], const float32x4_t a[2], const float32x4_t b[2])
{
    spread(out, a[0], b[0]);
    spread(out + 4, a[1], b[1]);
}

/* Integers of 16 half blocks of two rows. */
INLINE void put_halves(int32x4_t to[8][STEPS][PAIRS][2], int k, int pair, const int32x4_t a[4],
                       const int32x4_t b[4])
{
    for (int i = 0; i < 4; i++) {
        float32x4_t v[4];
        spread(v, vreinterpretq_f32_s32(a[i]), vreinterpretq_f32_s32(b[i]));
        for (int j = 0; j < 4; j++)
            to[2 * i + j / 2][k][pair][j % 2] = vreinterpretq_s32_f32(v[j]);
    }
}

INLINE codes values_of(int path, const dot_format *f, step_codes *raw, const uint8_t *w, int b)
{
    codes c = path >= UNPACKED ? codes_of_step(f, raw, w, b) : codes_of(path, w, b);
    const int8x16_t offset = vdupq_n_s8((int8_t)offset_of(path));
    c.v[0] = vsubq_s8(c.v[0], offset);
    c.v[1] = vsubq_s8(c.v[1], offset);
    return c;
}

INLINE void put_codes(int8x16_t to[4], const codes *a, const codes *b)
{
    for (int h = 0; h < 2; h++) {
        const int64x2_t x = vreinterpretq_s64_s8(a->v[h]), y = vreinterpretq_s64_s8(b->v[h]);
        to[2 * h] = vreinterpretq_s8_s64(vzip1q_s64(x, y));
        to[2 * h + 1] = vreinterpretq_s8_s64(vzip2q_s64(x, y));
    }
}

/* Step k of two rows. */
INLINE void unpack_pair(int path, const dot_format *f, panel *p, int k, int pair, const uint8_t *const w[2])
{
    scales s[2];
    step_codes raw[2];
    float32x4_t v[8];
    for (int i = 0; i < 2; i++)
        s[i] = path >= UNPACKED ? scales_of_step(f, w[i]) : scales_of(path, w[i]);
    spread8(v, s[0].d, s[1].d);
    for (int b = 0; b < 8; b++)
        p->block[b][k].d[pair] = v[b];
    spread8(v, s[0].min, s[1].min);
    for (int b = 0; b < 8 && (path_has(path, HAS_MIN) || path_has(path, HAS_LOW)); b++)
        p->min[b][k][pair] = v[b];
    if (path_has(path, HAS_SUB))
        put_halves(p->sub, k, pair, s[0].sub, s[1].sub);
    if (path_has(path, HAS_LOW)) {
        for (int i = 0; i < 2; i++)
            subs_of(&s[i], vreinterpretq_s8_u8(
                               vshrq_n_u8(vld1q_u8(((const block_q2_k *)(const void *)w[i])->sub), 4)));
        put_halves(p->low, k, pair, s[0].sub, s[1].sub);
    }
#pragma GCC unroll 8
    for (int b = 0; b < 8; b++) {
        const codes c[2] = { values_of(path, f, &raw[0], w[0], b), values_of(path, f, &raw[1], w[1], b) };
        put_codes(p->block[b][k].code[pair], &c[0], &c[1]);
    }
}

INLINE void unpack_panel(int path, terse_dot_type type, panel *p)
{
    const dot_format *f = &dot_formats[type];
    const size_t size = f->size * (size_t)(QK / f->len);
    _Alignas(16) uint8_t tail[2][STEP_SIZE_MAX];
    for (int pair = 0; pair < PAIRS; pair++)
        for (int k = 0; k < p->n_step; k++) {
            const uint8_t *w[2];
            for (int i = 0; i < 2; i++) {
                const int32_t left = p->n_block - (p->step + k) * 8;
                w[i] = p->row[2 * pair + i] + (size_t)(p->step + k) * size;
                if (left < 8) {
                    copy_tail(f->size, tail[i], w[i], left);
                    w[i] = tail[i];
                }
            }
            unpack_pair(path, f, p, k, pair, w);
        }
}

#define UNPACK(name, path)                                                                                     \
    static void unpack_##name(terse_dot_type type, panel *p)                                                   \
    {                                                                                                          \
        unpack_panel(path, type, p);                                                                           \
    }
DOT_PATHS(UNPACK)

#define UNPACK_ENTRY(name, path) [path] = unpack_##name,
static void (*const unpack[])(terse_dot_type type, panel *p) = { DOT_PATHS(UNPACK_ENTRY) };

/* ---- products ---- */

/* Two tokens: the same one twice where there is no second. */
typedef struct {
    const int8_t *q[2];
    const float *d[2], *s[2];
    const int32_t *sum[2];
} two_acts;

/* {a, b, a, b} */
INLINE float32x4_t two_floats(const float *a, const float *b)
{
    const float32x2_t two = vld1_lane_f32(b, vld1_dup_f32(a), 1);
    return vcombine_f32(two, two);
}

INLINE int32x4_t two_sums(const two_acts *a, size_t at)
{
    return vreinterpretq_s32_f32(two_floats((const float *)(const void *)(a->sum[0] + at),
                                            (const float *)(const void *)(a->sum[1] + at)));
}

/* The integer sum of a block of one pair of rows; x: codes of the tokens, as put_codes() has them. */
INLINE int32x4_t block_sum(int kind, const int8x16_t code[4], const int8x16_t x[4], const int32x4_t sub[2])
{
    int32x4_t first = vdupq_n_s32(0), last = first;
    first = vmmlaq_s32(vmmlaq_s32(first, code[0], x[0]), code[1], x[1]);
    if (!(kind & HAS_SUB))
        return vmmlaq_s32(vmmlaq_s32(first, code[2], x[2]), code[3], x[3]);
    last = vmmlaq_s32(vmmlaq_s32(last, code[2], x[2]), code[3], x[3]);
    return vmlaq_s32(vmulq_s32(first, sub[0]), last, sub[1]);
}

/* Accumulators of two tokens: [lane][pair of rows]. */
typedef struct {
    float32x4_t acc[8][PAIRS], low[8][PAIRS];
} pair_sums;

/* The blocks of accumulator l. */
INLINE void add_lane(int kind, pair_sums *s, const panel *p, const two_acts *a, int l)
{
    float32x4_t acc[PAIRS], low[PAIRS];
    for (int i = 0; i < PAIRS; i++) { /* memcpy would leave them in memory */
        acc[i] = s->acc[l][i];
        low[i] = s->low[l][i];
    }
    for (int k = 0; k < p->n_step; k++) {
        const panel_block *w = &p->block[l][k];
        const size_t b = (size_t)(k * 8 + l);
        const codes q[2] = { codes_of_bytes(a->q[0] + b * 32), codes_of_bytes(a->q[1] + b * 32) };
        const float32x4_t d = two_floats(a->d[0] + b, a->d[1] + b), s4 = two_floats(a->s[0] + b, a->s[1] + b);
        const int32x4_t half[2] = { two_sums(a, 2 * b), two_sums(a, 2 * b + 1) };
        int8x16_t x[4];
        put_codes(x, &q[0], &q[1]);
#pragma GCC unroll 8
        for (int i = 0; i < PAIRS; i++) {
            const float32x4_t isum = vcvtq_f32_s32(block_sum(kind, w->code[i], x, p->sub[l][k][i]));
            acc[i] = vfmaq_f32(acc[i], vmulq_f32(w->d[i], d), isum);
            if (kind & HAS_MIN)
                low[i] = vfmaq_f32(low[i], p->min[l][k][i], s4);
            if (kind & HAS_LOW) {
                const int32x4_t first = vmulq_s32(p->low[l][k][i][0], half[0]);
                const float32x4_t imin = vcvtq_f32_s32(vmlaq_s32(first, p->low[l][k][i][1], half[1]));
                low[i] = vfmaq_f32(low[i], vmulq_f32(p->min[l][k][i], d), imin);
            }
        }
    }
    for (int i = 0; i < PAIRS; i++) {
        s->acc[l][i] = acc[i];
        s->low[l][i] = low[i];
    }
}

INLINE float32x4_t fold(float32x4_t v[8][PAIRS], int i)
{
    const float32x4_t a = vaddq_f32(v[0][i], v[4][i]), b = vaddq_f32(v[1][i], v[5][i]);
    const float32x4_t c = vaddq_f32(v[2][i], v[6][i]), d = vaddq_f32(v[3][i], v[7][i]);
    return vaddq_f32(vaddq_f32(a, c), vaddq_f32(b, d));
}

/* y of n_token (1 or 2) tokens. */
static void store_results(float *y, size_t y_stride, pair_sums *s, int32_t n_row, int32_t n_token)
{
    for (int i = 0; i < PAIRS && 2 * i < n_row; i++) {
        float v[4];
        vst1q_f32(v, vaddq_f32(vsubq_f32(fold(s->acc, i), fold(s->low, i)), vdupq_n_f32(0.0f))); /* no -0 */
        for (int32_t k = 0; k < 4; k++)
            if (k % 2 < n_token && 2 * i + k / 2 < n_row)
                y[(size_t)(k % 2) * y_stride + (size_t)(2 * i + k / 2)] = v[k];
    }
}

/* The panel times tokens t and t + 1, or t alone. */
INLINE void add_pair(int kind, pair_sums *s, const panel *p, const terse_acts *x, int32_t t, int32_t n_token)
{
    two_acts a;
    for (int i = 0; i < 2; i++) {
        const step_acts one = acts_at(x, t + (i < n_token ? i : 0), p->step);
        a.q[i] = one.q;
        a.d[i] = one.d;
        a.s[i] = one.s;
        a.sum[i] = one.sum;
    }
    for (int l = 0; l < 8; l++)
        add_lane(kind, s, p, &a, l);
}

typedef void pair_fn(pair_sums *s, const panel *p, const terse_acts *x, int32_t t, int32_t n_token);

#define KIND(name, kind)                                                                                       \
    static void pair_##name(pair_sums *s, const panel *p, const terse_acts *x, int32_t t, int32_t n_token)     \
    {                                                                                                          \
        add_pair(kind, s, p, x, t, n_token);                                                                   \
    }
KIND(plain, 0)
KIND(min, HAS_MIN)
KIND(sub, HAS_SUB)
KIND(sub_low, HAS_SUB | HAS_LOW)

static pair_fn *pair_of(terse_dot_type type)
{
    switch (dot_formats[type].traits & (HAS_MIN | HAS_SUB | HAS_LOW)) {
    case 0:
        return pair_plain;
    case HAS_MIN:
        return pair_min;
    case HAS_SUB:
        return pair_sub;
    default:
        return pair_sub_low;
    }
}

/* ---- rows and tokens ---- */

static void many(terse_dot_type type, float *y, size_t y_stride, const uint8_t *w, size_t row_size,
                 int32_t n_row, const terse_acts *x)
{
    pair_sums sums[GROUP / 2];
    panel p; /* not cleared: it is large */
    pair_fn *const add = pair_of(type);
    p.n_block = x->n / TERSE_ACT_BLOCK;
    const int32_t n_step = (p.n_block + 7) / 8;
    for (int32_t r = 0; r < n_row; r += ROWS) {
        p.n_row = n_row - r;
        for (int32_t i = 0; i < ROWS; i++)
            p.row[i] = w + (size_t)(r + (i < p.n_row ? i : p.n_row - 1)) * row_size;
        for (int32_t t0 = 0; t0 < x->n_token; t0 += GROUP) {
            const int32_t n = x->n_token - t0 < GROUP ? x->n_token - t0 : GROUP;
            memset(sums, 0, (size_t)(n + 1) / 2 * sizeof *sums);
            for (p.step = 0; p.step < n_step; p.step += STEPS) {
                p.n_step = n_step - p.step < STEPS ? n_step - p.step : STEPS;
                unpack[path_of(type)](type, &p);
                for (int32_t t = 0; t < n; t += 2)
                    add(&sums[t / 2], &p, x, t0 + t, n - t < 2 ? 1 : 2);
            }
            for (int32_t t = 0; t < n; t += 2)
                store_results(y + (size_t)(t0 + t) * y_stride + r, y_stride, &sums[t / 2], p.n_row,
                              n - t < 2 ? 1 : 2);
        }
    }
}

static void rows(terse_dot_type type, float *y, size_t y_stride, const void *w, size_t row_size, int32_t n_row,
                 const terse_acts *x)
{
    int32_t n = 0;
    if (dot_formats[type].len && x->n_token >= MANY)
        n = n_row % ROWS < MANY ? n_row - n_row % ROWS : n_row; /* a panel for a few rows is not worth it */
    many(type, y, y_stride, w, row_size, n, x);
    terse_dot_rows_dotprod(type, y + n, y_stride, (const uint8_t *)w + (size_t)n * row_size, row_size,
                           n_row - n, x);
}

void terse_dot_init_i8mm(terse_dot_kernels *k)
{
    *k = (terse_dot_kernels){ .tier = "i8mm", .quantize = terse_quantize_neon, .rows = rows };
}
