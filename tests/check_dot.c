/* tests/check_dot.c: dot products and the quantisation of activations. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkkernel.h"
#include "simd/dot_unpack.h"

static const struct {
    const char *name;
    size_t d_at; /* first of n_half scales */
    int n_half;
} types[TERSE_DOT_N] = {
    [TERSE_DOT_F32] = { "f32", 0, 0 },
    [TERSE_DOT_F16] = { "f16", 0, 1 },
    [TERSE_DOT_BF16] = { "bf16", 0, 0 },
    [TERSE_DOT_Q8_0] = { "q8_0", 0, 1 },
    [TERSE_DOT_Q4_0] = { "q4_0", 0, 1 },
    [TERSE_DOT_Q4_K] = { "q4_k", 0, 2 },
    [TERSE_DOT_Q5_K] = { "q5_k", 0, 2 },
    [TERSE_DOT_Q6_K] = { "q6_k", offsetof(block_q6_k, d), 1 },
    [TERSE_DOT_Q4_1] = { "q4_1", 0, 2 },
    [TERSE_DOT_Q5_0] = { "q5_0", 0, 1 },
    [TERSE_DOT_Q5_1] = { "q5_1", 0, 2 },
    [TERSE_DOT_Q2_K] = { "q2_k", offsetof(block_q2_k, d), 2 },
    [TERSE_DOT_Q3_K] = { "q3_k", offsetof(block_q3_k, d), 1 },
    [TERSE_DOT_IQ4_NL] = { "iq4_nl", 0, 1 },
    [TERSE_DOT_IQ4_XS] = { "iq4_xs", 0, 1 },
    [TERSE_DOT_MXFP4] = { "mxfp4", 0, 0 },
    [TERSE_DOT_TQ1_0] = { "tq1_0", offsetof(block_tq1_0, d), 1 },
    [TERSE_DOT_TQ2_0] = { "tq2_0", offsetof(block_tq2_0, d), 1 },
    [TERSE_DOT_IQ2_XXS] = { "iq2_xxs", 0, 1 },
    [TERSE_DOT_IQ2_XS] = { "iq2_xs", 0, 1 },
    [TERSE_DOT_IQ2_S] = { "iq2_s", 0, 1 },
    [TERSE_DOT_IQ3_XXS] = { "iq3_xxs", 0, 1 },
    [TERSE_DOT_IQ3_S] = { "iq3_s", 0, 1 },
    [TERSE_DOT_IQ1_S] = { "iq1_s", 0, 1 },
    [TERSE_DOT_IQ1_M] = { "iq1_m", 0, 0 },
};

/* Float types have blocks of one value. */
static int32_t block_len(terse_dot_type type)
{
    return dot_formats[type].len ? dot_formats[type].len : 1;
}

static size_t row_bytes(terse_dot_type type, int32_t n)
{
    const size_t size = dot_formats[type].len ? dot_formats[type].size : type == TERSE_DOT_F32 ? 4 : 2;
    return (size_t)(n / block_len(type)) * size;
}

/* What the numbers are like. */
enum {
    PLAIN,   /* all finite and of modest size */
    WILD,    /* zeros, denormals, huge values, infinities, NaN among them */
    EXTREME, /* every code at an end of its range, and every activation at +-amax */
    FAINT,   /* every product of floats rounds to -0, which adding a +0 from past the end would lose */
    N_MOOD
};

static uint16_t random_f16(checkkernel *c, int mood)
{
    static const uint16_t special[] = { 0, 0x8000, 1, 0x03ff, 0x0400, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e00 };
    if (mood == FAINT)
        return 0x2000; /* 2^-7 */
    if (mood == WILD && check_below(c, 16) == 0)
        return special[check_below(c, sizeof special / sizeof *special)];
    return (uint16_t)((check_bits(c) & 0x83ff) | (uint64_t)(8 + check_below(c, 8)) << 10); /* 2^-7 .. 2^1 */
}

/* The scales of one block. */
static void random_scales(checkkernel *c, terse_dot_type type, int mood, uint8_t *p)
{
    const float f = mood == WILD ? check_wild(c) : mood == FAINT ? 1e-30f : check_float(c);
    uint16_t h[2] = { random_f16(c, mood), random_f16(c, mood) };
    switch (type) {
    case TERSE_DOT_F32:
        memcpy(p, &f, sizeof f);
        break;
    case TERSE_DOT_BF16:
        h[0] = terse_f32_to_bf16(f);
        memcpy(p, h, sizeof *h);
        break;
    case TERSE_DOT_MXFP4:
        if (mood != WILD)
            *p = (uint8_t)(mood == FAINT ? 0 : 120 + check_below(c, 16));
        break;
    case TERSE_DOT_IQ1_M: /* four bits in the top of each of four words */
        for (int i = 0; i < 4; i++) {
            uint8_t *top = p + offsetof(block_iq1_m, scales) + 2 * i + 1;
            *top = (uint8_t)((*top & 15) | (h[0] >> (4 * i) & 15) << 4);
        }
        break;
    default:
        memcpy(p + types[type].d_at, h, (size_t)types[type].n_half * sizeof *h);
    }
}

/* Fills one row of n values. */
static void random_row(checkkernel *c, terse_dot_type type, int mood, void *row, int32_t n)
{
    static const uint8_t ends[] = { 0x00, 0xff, 0x80, 0x7f, 0x0f, 0xf0 };
    uint8_t *p = row;
    const int same = check_below(c, 12); /* half of the rows of ends have one everywhere: the largest sums */
    for (size_t i = 0; i < row_bytes(type, n); i++)
        p[i] = mood == EXTREME ? ends[same < 6 ? same : check_below(c, 6)] : (uint8_t)(check_bits(c) >> 40);
    for (int32_t b = 0; b < n / block_len(type); b++)
        random_scales(c, type, mood, p + (size_t)b * row_bytes(type, block_len(type)));
}

/* ---- activations ---- */

static size_t acts_x_size(const terse_acts *a)
{
    return (size_t)a->n_token * a->x_stride * sizeof *a->x;
}
static size_t acts_q_size(const terse_acts *a)
{
    return (size_t)a->n_token * (size_t)a->n_pad;
}

static terse_acts acts_alloc(int32_t n, int32_t n_token)
{
    const int32_t more = n_token % 2 * 256; /* of a stride, for no use */
    terse_acts a = { .n = n, .n_token = n_token, .n_pad = (n + 255) / 256 * 256 + more, .x_stride = (size_t)n };
    a.x = check_alloc(acts_x_size(&a));
    a.q = check_alloc(acts_q_size(&a));
    a.d = check_alloc(acts_q_size(&a) / 8); /* a float per 32 values */
    a.s = check_alloc(acts_q_size(&a) / 8);
    a.sum = check_alloc(acts_q_size(&a) / 4);
    return a;
}

static void acts_free(terse_acts *a)
{
    check_free((void *)(uintptr_t)a->x, acts_x_size(a));
    check_free(a->q, acts_q_size(a));
    check_free(a->d, acts_q_size(a) / 8);
    check_free(a->s, acts_q_size(a) / 8);
    check_free(a->sum, acts_q_size(a) / 4);
}

static void random_x(checkkernel *c, const terse_acts *a, int mood)
{
    float *x = (float *)(uintptr_t)a->x;
    const float tiny = check_below(c, 4) ? 1.0f : 1e-40f; /* 127 / amax of such a block is infinite */
    const bool wild = mood == WILD && check_below(c, 2);  /* else wild weights would always meet NaN */
    const int sign = check_below(c, 4);                   /* of EXTREME: all alike, or random */
    for (int32_t i = 0; i < a->n_token * a->n; i++) {
        if (mood == EXTREME)
            x[i] = (sign < 2 ? sign : check_below(c, 2)) ? 3.0f : -3.0f;
        else if (mood == FAINT)
            x[i] = -0x1p-149f;
        else if (wild && i / 32 % 8 == 3)
            x[i] = check_wild(c);
        else if (wild && i / 32 % 8 == 5)
            x[i] = check_float(c) * tiny;
        else if (i / 32 % 8 == 6)
            x[i] = 0.0f;
        else
            x[i] = check_float(c) * 4.0f;
    }
}

static bool same_acts(checkkernel *c, const terse_acts *a)
{
    const size_t n = acts_q_size(a), x_size = acts_x_size(a);
    terse_acts got = acts_alloc(a->n, a->n_token);
    memcpy((void *)(uintptr_t)got.x, a->x, x_size);
    for (int32_t t = 0; t < a->n_token; t++)
        c->got.dot.quantize(&got, t);
    const bool ok = check_bytes(c, a->q, got.q, n, "quantize n=%d tokens=%d: q", a->n, a->n_token) &&
                    check_floats(c, a->d, got.d, n / 32, "quantize n=%d tokens=%d: d", a->n, a->n_token) &&
                    check_floats(c, a->s, got.s, n / 32, "quantize n=%d tokens=%d: s", a->n, a->n_token) &&
                    check_bytes(c, a->sum, got.sum, n / 4, "quantize n=%d tokens=%d: sum", a->n, a->n_token);
    acts_free(&got);
    return ok;
}

/* ---- one product, both tiers ---- */

typedef struct {
    terse_dot_type type;
    int mood;
    int32_t n, n_row, n_token;
    size_t gap; /* bytes between rows that belong to neither */
} shape;

/* How far y may be from the sum of products: activations are off by at most half a step of their block, sums
 * and scales by f32 rounding. */
static double allowed_error(const shape *s, const terse_acts *a, int32_t t, const float *value)
{
    const float *x = a->x + (size_t)t * a->x_stride, *d = a->d + (size_t)t * (size_t)(a->n_pad / 32);
    double allowed = 0.0;
    for (int32_t i = 0; i < s->n; i++) {
        const double half_step = s->type <= TERSE_DOT_BF16 ? 0.0 : 0.5001 * (double)d[i / 32];
        allowed += fabs((double)value[i]) * (half_step + 1e-5 * fabs((double)x[i]));
    }
    return allowed;
}

static bool accurate(checkkernel *c, const shape *s, const uint8_t *w, size_t row_size, const terse_acts *a,
                     const float *y, size_t y_stride)
{
    float *value = malloc((size_t)s->n * sizeof *value);
    bool ok = value != NULL;
    for (int32_t r = 0; ok && r < s->n_row; r++) {
        for (int32_t i = 0; s->type == TERSE_DOT_F32 && i < s->n; i++)
            memcpy(&value[i], w + (size_t)r * row_size + (size_t)i * 4, 4);
        if (s->type != TERSE_DOT_F32)
            terse_dequant_row(s->type, value, w + (size_t)r * row_size, s->n);
        for (int32_t t = 0; ok && t < s->n_token; t++) {
            const float *x = a->x + (size_t)t * a->x_stride, got = y[(size_t)t * y_stride + (size_t)r];
            const double allowed = allowed_error(s, a, t, value);
            double ref = 0.0;
            for (int32_t i = 0; i < s->n; i++)
                ref += (double)value[i] * (double)x[i];
            ok = fabs((double)got - ref) <= allowed;
            if (!ok)
                printf("INACCURATE  %s: %s n=%d: %g, not %g +- %g\n", c->tier, types[s->type].name, s->n,
                       (double)got, ref, allowed);
        }
    }
    free(value);
    return ok;
}

static bool check_shape(checkkernel *c, const shape *s)
{
    const size_t row_used = row_bytes(s->type, s->n);
    const size_t row_size = row_used + s->gap, y_stride = (size_t)s->n_row + 3;
    const size_t w_size = s->n_row ? (size_t)(s->n_row - 1) * row_size + row_used : 0;
    const size_t y_size = (size_t)s->n_token * y_stride * sizeof(float);
    uint8_t *w = check_alloc(w_size);
    float *want = check_alloc(y_size), *got = check_alloc(y_size);
    terse_acts a = acts_alloc(s->n, s->n_token);
    for (int32_t r = 0; r < s->n_row; r++)
        random_row(c, s->type, s->mood, w + (size_t)r * row_size, s->n);
    random_x(c, &a, s->mood);
    for (int32_t t = 0; t < s->n_token; t++)
        c->want.dot.quantize(&a, t);
    c->want.dot.rows(s->type, want, y_stride, w, row_size, s->n_row, &a);
    c->got.dot.rows(s->type, got, y_stride, w, row_size, s->n_row, &a);
    bool ok = check_floats(c, want, got, (size_t)s->n_token * y_stride,
                           "dot/%s n=%d rows=%d tokens=%d gap=%zu mood=%d", types[s->type].name, s->n, s->n_row,
                           s->n_token, s->gap, s->mood) &&
              same_acts(c, &a);
    if (ok && s->mood == PLAIN)
        ok = accurate(c, s, w, row_size, &a, got, y_stride);
    acts_free(&a);
    check_free(w, w_size);
    check_free(want, y_size);
    check_free(got, y_size);
    return ok;
}

bool check_dot(checkkernel *c)
{
    static const int32_t rows[] = { 0, 1, 2, 3, 4, 5, 7, 8, 9, 17, 33, 65 };
    static const int32_t tokens[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 17, 70 };
    bool ok = true;
    for (int type = 0; type < TERSE_DOT_N; type++) {
        char name[32];
        snprintf(name, sizeof name, "dot/%s", types[type].name);
        if (!check_wanted(c, name))
            continue;
        for (int i = 0; i < 160 && ok; i++) {
            shape s = { .type = type, .mood = i % N_MOOD };
            s.n_row = rows[check_below(c, sizeof rows / sizeof *rows)];
            s.n_token = tokens[check_below(c, sizeof tokens / sizeof *tokens)];
            s.gap = (size_t)check_below(c, 3) * 2;
            const int32_t len = block_len(s.type);
            s.n = len * (1 + check_below(c, len == QK ? 4 : len == 1 ? 300 : 33));
            ok = check_shape(c, &s);
        }
        /* What kernels for many tokens cut into pieces: rows of more than 2048 values, more than 256 tokens. */
        ok = ok &&
             check_shape(c, &(shape){ .type = type, .mood = EXTREME, .n = 2560, .n_row = 7, .n_token = 259 });
    }
    return ok;
}

/* ---- bench ---- */

typedef struct {
    terse_dot_rows *rows;
    terse_dot_type type;
    void (*quantize)(const terse_acts *a, int32_t t);
    float *y;
    const void *w;
    size_t row_size;
    int32_t n_row;
    terse_acts a;
} product;

static void run_product(void *ctx)
{
    const product *p = ctx;
    p->rows(p->type, p->y, (size_t)p->n_row, p->w, p->row_size, p->n_row, &p->a);
}

static void run_quantize(void *ctx)
{
    const product *p = ctx;
    for (int32_t t = 0; t < p->a.n_token; t++)
        p->quantize(&p->a, t);
}

/* 64 rows of 4096 values: weights from the second-level cache, as a decode step, a batch of 8 and a prefill of
 * 64 tokens.
 */
void bench_dot(checkkernel *c)
{
    enum { N = 4096, ROWS = 64, TOKENS = 64 };
    float *y = check_alloc(ROWS * TOKENS * sizeof *y);
    product p = { .y = y, .n_row = ROWS, .a = acts_alloc(N, TOKENS), .quantize = c->got.dot.quantize };
    p.rows = c->got.dot.rows;
    terse_acts all = p.a;
    random_x(c, &p.a, PLAIN);
    run_quantize(&p);
    if (check_wanted(c, "dot/quantize"))
        check_time(c, "dot/quantize", (double)acts_x_size(&p.a), 0.0, run_quantize, &p);
    for (int type = 0; type < TERSE_DOT_N; type++) {
        char name[32];
        p.type = (terse_dot_type)type;
        p.row_size = row_bytes(p.type, N);
        uint8_t *w = check_alloc(ROWS * p.row_size);
        for (int32_t r = 0; r < ROWS; r++)
            random_row(c, type, PLAIN, w + (size_t)r * p.row_size, N);
        p.w = w;
        for (int32_t n_token = 1; n_token <= TOKENS; n_token *= 8) {
            p.a.n_token = n_token;
            snprintf(name, sizeof name, "dot/%s x%d", types[type].name, n_token);
            if (check_wanted(c, name))
                check_time(c, name, n_token == 1 ? (double)(ROWS * p.row_size) : 0.0, 2.0 * N * ROWS * n_token,
                           run_product, &p);
        }
        check_free(w, ROWS * p.row_size);
    }
    acts_free(&all);
    check_free(y, ROWS * TOKENS * sizeof *y);
}
