/* tests/check_attn.c: attention over one page: scores, online softmax, weighted values. */
#include "checkkernel.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { P = TERSE_PAGE, MAX_ROW = 19 };

static const char *const type_names[TERSE_PAGE_TYPES] = { "f32", "f16", "q8", "bf16", "q4" };
static const int32_t dims[] = { 16, 32, 48, 64, 80, 96, 128, 256, 576 };

/* A page, queries, weights and outputs; everything ends at a guard page. */
typedef struct {
    terse_page_type type;
    int32_t dim, n_row;
    char *block, *query;
    float *s, *o, *keep;
    size_t block_size, query_size, s_size, o_size;
} shape;

static float number(checkkernel *c, bool wild)
{
    return wild ? check_wild(c) : 2.0f * check_float(c);
}

static shape make(checkkernel *c, terse_page_type type, int32_t dim, int32_t n_row, bool wild, bool values)
{
    shape x = { .type = type, .dim = dim, .n_row = n_row };
    float row[TERSE_PAGE_DIM];
    x.block_size = terse_page_block_size(type, dim);
    x.query_size = terse_query_size(type, dim) * (size_t)n_row;
    x.s_size = (size_t)n_row * P * sizeof(float);
    x.o_size = (size_t)n_row * (size_t)dim * sizeof(float);
    x.block = check_alloc(x.block_size);
    x.query = check_alloc(x.query_size);
    x.s = check_alloc(x.s_size);
    x.o = check_alloc(x.o_size);
    x.keep = check_alloc((size_t)n_row * sizeof(float));
    for (int32_t t = 0; t < P; t++) {
        for (int32_t d = 0; d < dim; d++)
            row[d] = number(c, wild);
        if (values)
            terse_page_put_v(type, x.block, t, row, dim);
        else
            terse_page_put_k(type, x.block, t, row, dim);
    }
    for (int32_t r = 0; r < n_row; r++) {
        for (int32_t d = 0; d < dim; d++)
            row[d] = number(c, wild);
        terse_query_prepare(type, x.query + (size_t)r * terse_query_size(type, dim), row, 1, dim, 0.125f);
        x.keep[r] = fabsf(check_float(c));
        for (int32_t t = 0; t < P; t++) /* weights: softmax is never negative */
            x.s[r * P + t] = check_below(c, 5) ? fabsf(check_float(c)) : check_below(c, 2) ? 0.0f : 1e-40f;
        for (int32_t d = 0; d < dim; d++)
            x.o[r * dim + d] = number(c, false);
    }
    return x;
}

static void drop(shape *x)
{
    check_free(x->block, x->block_size);
    check_free(x->query, x->query_size);
    check_free(x->s, x->s_size);
    check_free(x->o, x->o_size);
    check_free(x->keep, (size_t)x->n_row * sizeof(float));
}

static bool check_score(checkkernel *c, terse_page_type type, int32_t dim, int32_t n_row, bool wild)
{
    shape x = make(c, type, dim, n_row, wild, false);
    float *want = check_alloc(x.s_size);
    c->want.attn.score[type](want, x.query, x.block, n_row, dim, NULL);
    c->got.attn.score[type](x.s, x.query, x.block, n_row, dim, x.block);
    const bool same = check_floats(c, want, x.s, (size_t)(n_row * P), "score_%s dim %d rows %d%s",
                                   type_names[type], dim, n_row, wild ? " wild" : "");
    check_free(want, x.s_size);
    drop(&x);
    return same;
}

/* Some pieces of a block: all, the first, the last, every so many. */
static terse_channels some_pieces(checkkernel *c, uint16_t *at, int32_t all)
{
    const int32_t one_in = 1 + check_below(c, 5), least = check_below(c, all);
    terse_channels some = { .at = at, .n = 0 };
    for (int32_t p = 0; p < all; p++)
        if (check_below(c, one_in) == 0 || p == least)
            at[some.n++] = (uint16_t)p;
    return some;
}

/* A part of the channels, as the scalar tier has it; and as all channels are with a query that is 0 in the
 * others. */
static bool check_some(checkkernel *c, terse_page_type type, int32_t dim, int32_t n_row, bool wild)
{
    shape x = make(c, type, dim, n_row, wild, false);
    const int32_t channels = terse_page_channels(type), all = dim / channels;
    const size_t row = terse_query_size(type, dim);
    uint16_t at[2][TERSE_PAGE_DIM];
    const terse_channels some = some_pieces(c, at[0], all), soon = some_pieces(c, at[1], all);
    const float *mean = check_below(c, 3) ? x.keep : NULL;
    float *want = check_alloc(x.s_size);
    char *masked = check_alloc(x.query_size);
    memset(masked, 0, x.query_size);
    if (terse_page_coded(type)) {
        terse_query_some(masked, type, x.query, n_row, dim, some);
        memcpy(x.query, masked, x.query_size);
    }
    for (int32_t r = 0; r < n_row && !terse_page_coded(type); r++)
        for (int32_t i = 0; i < some.n * channels; i++) {
            const size_t from = (size_t)r * row + terse_channel_at(some.at, i, channels) * sizeof(float);
            memcpy(masked + from, x.query + from, sizeof(float));
        }
    c->want.attn.score_some[type](want, x.query, x.block, some, mean, n_row, dim, NULL, some);
    c->got.attn.score_some[type](x.s, x.query, x.block, some, mean, n_row, dim, x.block, soon);
    bool same = check_floats(c, want, x.s, (size_t)(n_row * P), "score_some_%s dim %d rows %d pieces %d%s",
                             type_names[type], dim, n_row, some.n, wild ? " wild" : "");
    if (!mean && !wild) {
        c->want.attn.score[type](want, masked, x.block, n_row, dim, NULL);
        for (int32_t i = 0; i < n_row * P; i++)
            want[i] += 0.0f, x.s[i] += 0.0f; /* -0 is 0 */
        same &= check_floats(c, want, x.s, (size_t)(n_row * P), "score_some_%s dim %d against zeros",
                             type_names[type], dim);
    }
    check_free(masked, x.query_size);
    check_free(want, x.s_size);
    drop(&x);
    return same;
}

/* Some of the tokens: those of a whole page, its first, single ones, pieces of a few, none. */
static uint32_t some_tokens(checkkernel *c, int32_t i)
{
    if (i < 6)
        return terse_tokens_first(i == 0 ? P : 1 + check_below(c, P));
    uint32_t tokens = 0;
    for (int32_t t = 0; t < P; t++)
        tokens |= (uint32_t)(check_below(c, i) == 0) << t;
    return terse_tokens_widen(i == 9 ? 0 : tokens, 1 << check_below(c, 4));
}

/* Are values that compare equal, of a mix of some tokens and of one of all with weights of 0? */
static bool check_zeros(checkkernel *c, const shape *x, uint32_t tokens, const float *some, const float *before)
{
    float *all = check_alloc(x->o_size);
    memcpy(all, before, x->o_size);
    for (int32_t r = 0; r < x->n_row; r++)
        for (int32_t t = 0; t < P; t++)
            x->s[r * P + t] = tokens >> t & 1 ? x->s[r * P + t] : 0.0f;
    c->want.attn.mix[x->type](all, x->keep, x->s, x->block, terse_tokens_first(P), x->n_row, x->dim, NULL, 0);
    bool same = true;
    for (int32_t i = 0; i < x->n_row * x->dim && same; i++)
        same = all[i] == some[i] || (isnan(all[i]) && isnan(some[i]));
    if (!same)
        printf("mix_%s dim %d: tokens that are left out are not those of weight 0\n", type_names[x->type],
               x->dim);
    check_free(all, x->o_size);
    return same;
}

static bool check_mix(checkkernel *c, terse_page_type type, int32_t dim, int32_t n_row, bool wild)
{
    bool same = true;
    for (int32_t i = 0; i < 10; i++) {
        shape x = make(c, type, dim, n_row, wild, true);
        const uint32_t tokens = some_tokens(c, i);
        float *want = check_alloc(x.o_size), *before = check_alloc(x.o_size);
        memcpy(want, x.o, x.o_size);
        memcpy(before, x.o, x.o_size);
        c->want.attn.mix[type](want, x.keep, x.s, x.block, tokens, n_row, dim, NULL, 0);
        c->got.attn.mix[type](x.o, x.keep, x.s, x.block, tokens, n_row, dim, x.block, some_tokens(c, 9 - i));
        same &= check_floats(c, want, x.o, (size_t)(n_row * dim), "mix_%s dim %d rows %d tokens %x%s",
                             type_names[type], dim, n_row, tokens, wild ? " wild" : "");
        same &= wild || check_zeros(c, &x, tokens, want, before);
        check_free(want, x.o_size);
        check_free(before, x.o_size);
        drop(&x);
    }
    return same;
}

/* What is at most tau, and the tokens that are not: with weights that are equal to tau, and with NaN. */
static bool check_choice(checkkernel *c, int32_t n_page, int32_t n_row, int32_t grain)
{
    const size_t n = (size_t)n_page * (size_t)n_row * P, bytes = n * sizeof(float);
    const size_t lanes = (size_t)n_row * 16, room = lanes * sizeof(float);
    float tau[MAX_ROW], *w = check_alloc(bytes), *want = check_alloc(room), *got = check_alloc(room);
    bool same = true;
    for (int32_t r = 0; r < n_row; r++)
        tau[r] = check_below(c, 9) ? fabsf(check_float(c)) : -1.0f;
    for (size_t i = 0; i < n; i++)
        w[i] = check_below(c, 50)  ? fabsf(check_float(c))
               : check_below(c, 2) ? tau[i / P % (size_t)n_row]
                                   : NAN;
    c->want.attn.below(w, n_page, n_row, tau, want);
    c->got.attn.below(w, n_page, n_row, tau, got);
    same &= check_floats(c, want, got, lanes, "below pages %d rows %d", n_page, n_row);
    for (int32_t p = 0; p < n_page; p++) {
        const float *page = w + (size_t)p * (size_t)n_row * P;
        const uint32_t a = c->want.attn.pick(page, n_row, tau, grain, want),
                       b = c->got.attn.pick(page, n_row, tau, grain, got);
        if (a != b) {
            printf("pick rows %d grain %d: %x in place of %x\n", n_row, grain, b, a);
            same = false;
        }
    }
    same &= check_floats(c, want, got, lanes, "pick rows %d grain %d", n_row, grain);
    check_free(w, bytes);
    check_free(want, room);
    check_free(got, room);
    return same;
}

/* m, l, keep, z of both sides, one array behind the other. */
static bool check_weigh(checkkernel *c, int32_t n_row, float size)
{
    float m[2][MAX_ROW], l[2][MAX_ROW], keep[2][MAX_ROW], z[2][MAX_ROW], peak[2][MAX_ROW];
    int32_t n[MAX_ROW];
    const size_t bytes = (size_t)n_row * P * sizeof(float), rows = (size_t)n_row;
    float *s[2] = { check_alloc(bytes), check_alloc(bytes) };
    for (int32_t i = 0; i < n_row * P; i++)
        s[0][i] = size * check_float(c);
    memcpy(s[1], s[0], bytes);
    for (int32_t r = 0; r < n_row; r++) {
        n[r] = check_below(c, P + 1);
        m[0][r] = m[1][r] = check_below(c, 2) && n[r] ? -INFINITY : size * check_float(c);
        l[0][r] = l[1][r] = 3.0f + check_float(c);
        peak[0][r] = peak[1][r] = m[0][r];
    }
    c->want.attn.peak(s[0], n_row, n, peak[0]);
    c->got.attn.peak(s[1], n_row, n, peak[1]);
    c->want.attn.weigh(s[0], n_row, n, m[0], l[0], keep[0], z[0]);
    c->got.attn.weigh(s[1], n_row, n, m[1], l[1], keep[1], z[1]);
    bool same = check_floats(c, s[0], s[1], rows * P, "weigh s rows %d", n_row);
    same &= check_floats(c, m[0], m[1], rows, "weigh m rows %d", n_row);
    same &= check_floats(c, l[0], l[1], rows, "weigh l rows %d", n_row);
    same &= check_floats(c, keep[0], keep[1], rows, "weigh keep rows %d", n_row);
    same &= check_floats(c, z[0], z[1], rows, "weigh z rows %d", n_row);
    same &= check_floats(c, peak[0], peak[1], rows, "peak rows %d", n_row);
    same &= check_floats(c, peak[0], m[0], rows, "peak against weigh, rows %d", n_row);
    check_free(s[0], bytes);
    check_free(s[1], bytes);
    return same;
}

static bool check_settle(checkkernel *c, int32_t dim, int32_t n_row, bool wild)
{
    const size_t n = (size_t)n_row * (size_t)dim, bytes = n * sizeof(float), rows = (size_t)n_row;
    float inv[MAX_ROW], inner[2][MAX_ROW], square[2][MAX_ROW];
    float *o = check_alloc(bytes), *last[2] = { check_alloc(bytes), check_alloc(bytes) };
    for (size_t i = 0; i < n; i++) {
        o[i] = number(c, wild);
        last[0][i] = number(c, wild);
    }
    memcpy(last[1], last[0], bytes);
    for (int32_t r = 0; r < n_row; r++)
        inv[r] = fabsf(check_float(c));
    c->want.attn.settle(last[0], o, inv, n_row, dim, inner[0], square[0]);
    c->got.attn.settle(last[1], o, inv, n_row, dim, inner[1], square[1]);
    bool same = check_floats(c, last[0], last[1], n, "settle last rows %d dim %d", n_row, dim);
    same &= check_floats(c, inner[0], inner[1], rows, "settle inner rows %d dim %d", n_row, dim);
    same &= check_floats(c, square[0], square[1], rows, "settle square rows %d dim %d", n_row, dim);
    check_free(o, bytes);
    check_free(last[0], bytes);
    check_free(last[1], bytes);
    return same;
}

/* What the kernels compute against float64 on the values that the page holds. */
static bool check_accuracy(checkkernel *c, terse_page_type type, int32_t dim)
{
    shape x = make(c, type, dim, 1, false, false);
    float q[TERSE_PAGE_DIM], k[TERSE_PAGE_DIM];
    bool good = true;
    for (int32_t d = 0; d < dim; d++)
        q[d] = 2.0f * check_float(c);
    terse_query_prepare(type, x.query, q, 1, dim, 0.125f);
    c->got.attn.score[type](x.s, x.query, x.block, 1, dim, NULL);
    for (int32_t t = 0; t < P; t++) {
        double want = 0.0, size = 0.0;
        terse_page_get_k(type, x.block, t, k, dim);
        for (int32_t d = 0; d < dim; d++) {
            want += 0.125 * (double)q[d] * (double)k[d];
            size += fabs(0.125 * (double)q[d] * (double)k[d]);
        }
        const double tolerance = terse_page_coded(type) ? 5e-3 : 1e-6; /* int8 queries */
        if (fabs((double)x.s[t] - want) > tolerance * size) {
            printf("score_%s dim %d: token %d is %g, float64 says %g\n", type_names[type], dim, t,
                   (double)x.s[t], want);
            good = false;
        }
    }
    drop(&x);
    return good;
}

/* Weighted values against float64. A weight of q8 may be off by half a unit, one of q4 by one unit. */
static bool check_mix_accuracy(checkkernel *c, terse_page_type type, int32_t dim)
{
    shape x = make(c, type, dim, 1, false, true);
    const double unit = type == TERSE_PAGE_Q8 ? 0.51 / 32767 : type == TERSE_PAGE_Q4 ? 1.01 / 127 : 0.0;
    static float v[P][TERSE_PAGE_DIM];
    bool good = true;
    for (int32_t t = 0; t < P; t++)
        terse_page_get_v(type, x.block, t, v[t], dim);
    memset(x.o, 0, x.o_size);
    c->got.attn.mix[type](x.o, x.keep, x.s, x.block, terse_tokens_first(P), 1, dim, NULL, 0);
    for (int32_t d = 0; d < dim; d++) {
        double want = 0.0, size = 0.0, most = 0.0, slack = 0.0;
        for (int32_t t = 0; t < P; t++) {
            float step = 0.0f; /* at least the scale of the token's block: codes reach 127, or -8 or 7 */
            for (int32_t i = d / 32 * 32; i < d / 32 * 32 + 32 && i < dim; i++)
                step = fmaxf(step, fabsf(v[t][i]) / (type == TERSE_PAGE_Q8 ? 126.0f : 7.0f));
            want += (double)x.s[t] * (double)v[t][d];
            size += (double)x.s[t] * fabs((double)v[t][d]);
            most = fmax(most, (double)x.s[t] * (double)step);
            slack += step > 0.0f ? fabs((double)(v[t][d] / step)) * 8.0 / 7.0 : 0.0;
        }
        if (fabs((double)x.o[d] - want) > 1e-6 * size + unit * most * slack) {
            printf("mix_%s dim %d: channel %d is %g, float64 says %g\n", type_names[type], dim, d,
                   (double)x.o[d], want);
            good = false;
        }
    }
    drop(&x);
    return good;
}

/* One token weighs 1, the others 1/300 each: less than half a unit of q4, and yet their sum is not lost. */
static bool check_mass(checkkernel *c, terse_page_type type)
{
    shape x = make(c, type, 64, 1, false, true);
    float ones[64];
    for (int32_t d = 0; d < 64; d++)
        ones[d] = 1.0f;
    for (int32_t t = 0; t < P; t++) {
        terse_page_put_v(type, x.block, t, ones, 64);
        x.s[t] = t == 5 ? 1.0f : 1.0f / 300;
    }
    memset(x.o, 0, x.o_size);
    c->got.attn.mix[type](x.o, x.keep, x.s, x.block, terse_tokens_first(P), 1, 64, NULL, 0);
    const bool good = fabsf(x.o[63] - (1.0f + 31.0f / 300)) < 0.01f;
    if (!good)
        printf("mix_%s: weights of 1 and 31 times 1/300 give %g\n", type_names[type], (double)x.o[63]);
    drop(&x);
    return good;
}

bool check_attn(checkkernel *c)
{
    bool same = true;
    char name[32];
    for (int type = 0; type < TERSE_PAGE_TYPES; type++)
        for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
            if (!terse_page_dim_ok((terse_page_type)type, dims[d]))
                continue;
            for (int32_t n_row = 1; n_row <= MAX_ROW; n_row += n_row < 9 ? 1 : 5)
                for (int wild = 0; wild < 2; wild++) {
                    snprintf(name, sizeof name, "score_%s", type_names[type]);
                    if (check_wanted(c, name))
                        same &= check_score(c, (terse_page_type)type, dims[d], n_row, wild);
                    snprintf(name, sizeof name, "score_some_%s", type_names[type]);
                    for (int i = 0; i < 4 && check_wanted(c, name); i++)
                        same &= check_some(c, (terse_page_type)type, dims[d], n_row, wild);
                    snprintf(name, sizeof name, "mix_%s", type_names[type]);
                    if (check_wanted(c, name))
                        same &= check_mix(c, (terse_page_type)type, dims[d], n_row, wild);
                }
            same &= check_accuracy(c, (terse_page_type)type, dims[d]);
            same &= check_mix_accuracy(c, (terse_page_type)type, dims[d]);
        }
    for (int type = 0; type < TERSE_PAGE_TYPES; type++)
        same &= check_mass(c, (terse_page_type)type);
    for (int32_t n_row = 1; n_row <= MAX_ROW && check_wanted(c, "settle"); n_row++)
        for (size_t d = 0; d < sizeof dims / sizeof *dims; d++)
            same &= check_settle(c, dims[d], n_row, n_row % 2);
    for (int32_t n_row = 1; n_row <= MAX_ROW && check_wanted(c, "pick"); n_row++)
        for (int32_t grain = 1; grain <= P; grain *= 2)
            same &= check_choice(c, 1 + check_below(c, 5), n_row, grain);
    for (int32_t n_row = 1; n_row <= MAX_ROW && check_wanted(c, "weigh"); n_row++)
        for (int i = 0; i < 20; i++)
            same &= check_weigh(c, n_row, i < 15 ? 30.0f : 300.0f);
    return same;
}

/* ---- timing ---- */

typedef struct {
    const terse_attn_kernels *k;
    shape x;
    float m[8], l[8], keep[8], z[8];
    int32_t n[8];
    uint32_t tokens;
} timed;

static void run_score(void *ctx)
{
    timed *t = ctx;
    t->k->score[t->x.type](t->x.s, t->x.query, t->x.block, t->x.n_row, t->x.dim, NULL);
}

/* Every third piece. */
static void run_some(void *ctx)
{
    timed *t = ctx;
    uint16_t at[TERSE_PAGE_DIM];
    terse_channels some = { .at = at, .n = 0 };
    for (int32_t p = 0; p < t->x.dim / terse_page_channels(t->x.type); p += 3)
        at[some.n++] = (uint16_t)p;
    t->k->score_some[t->x.type](t->x.s, t->x.query, t->x.block, some, t->keep, t->x.n_row, t->x.dim, NULL,
                                some);
}

static void run_weigh(void *ctx)
{
    timed *t = ctx;
    for (int32_t r = 0; r < t->x.n_row; r++)
        t->m[r] = 100.0f;
    t->k->weigh(t->x.s, t->x.n_row, t->n, t->m, t->l, t->keep, t->z);
}

static void run_settle(void *ctx)
{
    timed *t = ctx;
    t->k->settle(t->x.s, t->x.o, t->x.keep, t->x.n_row, t->x.dim < P ? t->x.dim : P, t->z, t->l);
}

static void run_mix(void *ctx)
{
    timed *t = ctx;
    t->k->mix[t->x.type](t->x.o, t->x.keep, t->x.s, t->x.block, t->tokens, t->x.n_row, t->x.dim, NULL, 0);
}

void bench_attn(checkkernel *c)
{
    static const int32_t rows[] = { 1, 4, 8 };
    char name[48];
    for (int type = 0; type < TERSE_PAGE_TYPES; type++)
        for (int32_t dim = 64; dim <= 128; dim += 64)
            for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
                timed t = { .k = &c->got.attn,
                            .x = make(c, (terse_page_type)type, dim, rows[r], false, true),
                            .tokens = terse_tokens_first(P) };
                const double bytes = (double)t.x.block_size, ops = 2.0 * rows[r] * dim * P;
                for (int32_t i = 0; i < rows[r]; i++)
                    t.n[i] = P;
                snprintf(name, sizeof name, "score_%s dim %d rows %d", type_names[type], dim, rows[r]);
                if (check_wanted(c, name))
                    check_time(c, name, bytes, ops, run_score, &t);
                snprintf(name, sizeof name, "score_some_%s dim %d rows %d", type_names[type], dim, rows[r]);
                if (check_wanted(c, name))
                    check_time(c, name, bytes / 3.0, ops / 3.0, run_some, &t);
                snprintf(name, sizeof name, "mix_%s dim %d rows %d", type_names[type], dim, rows[r]);
                if (check_wanted(c, name))
                    check_time(c, name, bytes, ops, run_mix, &t);
                snprintf(name, sizeof name, "weigh rows %d", rows[r]);
                if (type == 0 && dim == 64 && check_wanted(c, name))
                    check_time(c, name, 4.0 * rows[r] * P, 0.0, run_weigh, &t);
                snprintf(name, sizeof name, "settle dim %d rows %d", P, rows[r]);
                if (type == 0 && dim == 64 && check_wanted(c, name))
                    check_time(c, name, 8.0 * rows[r] * P, 0.0, run_settle, &t);
                drop(&t.x);
            }
}
