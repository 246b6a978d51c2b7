/* tests/check_summary.c: what is known of pages without reading them. Besides the comparison of the tiers: what
 * the tiles hold, against the numbers that were put in; estimates against float64; and that no key of a page
 * scores above its box. */
#include "checkkernel.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "simd/dot.h"

enum { P = TERSE_PAGE, T = TERSE_TILE, B = TERSE_KV_BLOCK, MAX_ROW = 9, MAX_DIM = TERSE_PAGE_DIM };

static const char *const type_names[TERSE_PAGE_TYPES] = { "f32", "f16", "q8", "bf16", "q4" };
static const int32_t dims[] = { 16, 32, 48, 64, 80, 96, 128, 256, 576 };
enum { N_DIM = sizeof dims / sizeof *dims };

typedef enum {
    PLAIN,
    EXTREME, /* one magnitude: all codes at their limits */
    HUGE_X,
    TINY,
    WILD, /* not finite here and there */
    N_KIND
} kind;

/* size: what the kinds of large and small numbers are multiples of. */
static float number(checkkernel *c, kind k, float size)
{
    const float sign = check_below(c, 2) ? 1.0f : -1.0f;
    if (k == EXTREME)
        return 3.0f * sign;
    if (k == WILD && check_below(c, 100) == 0)
        return check_wild(c);
    if (check_below(c, 8) == 0)
        return 0.0f * sign;
    return check_float(c) * (k == HUGE_X ? size : k == TINY ? 1.0f / size : 2.0f);
}

/* A tile of both sorts, rows, and what the tile was made of; everything that kernels touch ends at a guard
 * page. */
typedef struct {
    int32_t dim, n_row;
    size_t stride, moments_size, box_size, query_size, x_size, out_size;
    char *moments, *box, *query;
    float *x, *scores_mean, *scores_variance, *fair, *high, *fair_weight, *high_weight, *upper;
    float m[MAX_ROW];
    float mean[T][MAX_DIM], variance[T][MAX_DIM], top[T][MAX_DIM]; /* box: mean to top */
} shape;

static void alloc(shape *s, int32_t dim, int32_t n_row, size_t stride)
{
    s->dim = dim;
    s->n_row = n_row;
    s->stride = stride;
    s->moments = check_alloc(s->moments_size = terse_moments_size(dim));
    s->box = check_alloc(s->box_size = terse_box_size(dim));
    s->query = check_alloc(s->query_size = terse_moments_query_size(dim) * (size_t)n_row);
    s->x = check_alloc(s->x_size = (size_t)(n_row * dim) * sizeof(float));
    s->out_size = ((size_t)(n_row - 1) * stride + T) * sizeof(float);
    s->scores_mean = check_alloc(s->out_size);
    s->scores_variance = check_alloc(s->out_size);
    s->fair = check_alloc(s->out_size);
    s->high = check_alloc(s->out_size);
    s->fair_weight = check_alloc(s->out_size);
    s->high_weight = check_alloc(s->out_size);
    s->upper = check_alloc(s->out_size);
}

static void drop(shape *s)
{
    check_free(s->moments, s->moments_size);
    check_free(s->box, s->box_size);
    check_free(s->query, s->query_size);
    check_free(s->x, s->x_size);
    check_free(s->scores_mean, s->out_size);
    check_free(s->scores_variance, s->out_size);
    check_free(s->fair, s->out_size);
    check_free(s->high, s->out_size);
    check_free(s->fair_weight, s->out_size);
    check_free(s->high_weight, s->out_size);
    check_free(s->upper, s->out_size);
}

static void put(shape *s, int32_t p)
{
    terse_moments_put(s->moments, p, s->mean[p], s->variance[p], s->dim);
    terse_box_put(s->box, p, s->mean[p], s->top[p], s->dim);
}

static void make(checkkernel *c, shape *s, int32_t dim, int32_t n_row, size_t stride, kind k)
{
    alloc(s, dim, n_row, stride);
    for (int32_t p = 0; p < T; p++) {
        const bool same = check_below(c, 4) == 0; /* all keys of the page alike */
        for (int32_t d = 0; d < dim; d++) {
            s->mean[p][d] = number(c, k, 0x1p21f);
            s->variance[p][d] = same ? 0.0f : fabsf(number(c, k, 0x1p21f));
            s->top[p][d] = s->mean[p][d] + s->variance[p][d];
        }
        put(s, p);
    }
    for (int32_t i = 0; i < n_row * dim; i++)
        s->x[i] = number(c, k, 1e18f);
    for (int32_t r = 0; r < n_row; r++)
        s->m[r] = number(c, k, 1e18f);
    terse_moments_query(s->query, s->x, n_row, dim);
}

static void compute(const terse_summary_kernels *k, shape *s)
{
    k->moments(s->scores_mean, s->scores_variance, s->stride, s->query, s->moments, s->n_row, s->dim);
    k->estimates(s->fair, s->high, s->scores_mean, s->scores_variance, s->stride, s->n_row, NULL);
    k->estimates(s->fair_weight, s->high_weight, s->scores_mean, s->scores_variance, s->stride, s->n_row, s->m);
    k->box(s->upper, s->stride, s->x, s->box, s->n_row, s->dim);
}

/* ---- the tiers ---- */

static bool check_tiers(checkkernel *c, int32_t dim, int32_t n_row, size_t stride, kind k)
{
    static shape s;
    make(c, &s, dim, n_row, stride, k);
    const size_t n = s.out_size / sizeof(float); /* with the gaps between rows */
    enum { OUTS = 7 };
    float *const want[OUTS] = { s.fair,        s.high,       s.upper, s.scores_mean, s.scores_variance,
                                s.fair_weight, s.high_weight };
    compute(&c->want.summary, &s);
    float **got[OUTS] = { &s.fair,        &s.high,       &s.upper, &s.scores_mean, &s.scores_variance,
                          &s.fair_weight, &s.high_weight };
    for (int i = 0; i < OUTS; i++)
        *got[i] = check_alloc(s.out_size);
    compute(&c->got.summary, &s);
    static const char *const names[OUTS] = { "estimates fair", "estimates high",   "box",
                                             "moments mean",   "moments variance", "fair weights",
                                             "high weights" };
    bool same = true;
    for (int i = 0; i < OUTS; i++) {
        same &= check_floats(c, want[i], *got[i], n, "%s dim %d rows %d kind %d", names[i], dim, n_row, (int)k);
        check_free(want[i], s.out_size);
    }
    drop(&s);
    return same;
}

static bool check_exps(checkkernel *c, int32_t n, bool wild)
{
    const size_t size = (size_t)n * sizeof(float);
    float *x[2] = { check_alloc(size), check_alloc(size) };
    float start[160];
    const float m = wild ? check_wild(c) : 10.0f * check_float(c);
    for (int32_t i = 0; i < n; i++)
        start[i] = wild ? check_wild(c) : 100.0f * check_float(c);
    memcpy(x[0], start, size);
    memcpy(x[1], start, size);
    c->want.summary.exps(x[0], n, m);
    c->got.summary.exps(x[1], n, m);
    bool good = check_floats(c, x[0], x[1], (size_t)n, "exps n %d%s", n, wild ? " wild" : "");
    for (int32_t i = 0; i < n && !wild; i++) {
        const double d = (double)(start[i] - m), want = exp(d < 80.0 ? d : 80.0);
        if (fabs((double)x[1][i] - want) > 2e-7 * want + (d < -86.0 ? 1e-37 : 0.0)) {
            printf("exps: exp(%g) is %g\n", d, (double)x[1][i]);
            good = false;
        }
    }
    check_free(x[0], size);
    check_free(x[1], size);
    return good;
}

/* ---- what a tile holds ---- */

static int32_t blocks(int32_t dim)
{
    return terse_summary_blocks(dim);
}

/* Scales: of a tile's f16 behind `codes` bytes, block b of array i. */
static double scale_of(const char *tile, int32_t dim, int32_t i, int32_t d, int32_t p)
{
    uint16_t h;
    memcpy(&h, tile + (size_t)(2 * dim * T) + (size_t)((i * blocks(dim) + d / B) * T + p) * sizeof h, sizeof h);
    return (double)terse_f16_to_f32(h);
}

static double mean_of(const shape *s, int32_t p, int32_t d)
{
    return scale_of(s->moments, s->dim, 0, d, p) *
           (((const uint8_t *)s->moments)[(d / 4 * T + p) * 4 + d % 4] - 128);
}

static double variance_of(const shape *s, int32_t p, int32_t d)
{
    return scale_of(s->moments, s->dim, 1, d, p) *
           ((const uint8_t *)s->moments)[s->dim * T + (d / 4 * T + p) * 4 + d % 4];
}

/* The end of a box: 0 low, 1 high. */
static double end_of(const shape *s, int32_t end, int32_t p, int32_t d)
{
    return scale_of(s->box, s->dim, 0, d, p) * ((const int8_t *)s->box)[(end * s->dim + d) * T + p];
}

static double largest(const float *x, int32_t d, int32_t dim)
{
    double top = 0.0;
    for (int32_t j = d / B * B; j < d / B * B + B && j < dim; j++)
        top = fmax(top, fabs((double)x[j]));
    return top;
}

/* Means and variances are half a code step off at most, a box's ends lie outside by less than one; a step is no
 * larger than rounding it to f16 makes it. */
static bool check_holds(checkkernel *c, int32_t dim, kind k)
{
    static shape s;
    make(c, &s, dim, 1, T, k);
    bool good = true;
    for (int32_t p = 0; p < T && good; p++)
        for (int32_t d = 0; d < dim && good; d++) {
            const double m = (double)s.mean[p][d], v = (double)s.variance[p][d], t = (double)s.top[p][d];
            const double sm = scale_of(s.moments, dim, 0, d, p), sv = scale_of(s.moments, dim, 1, d, p);
            const double sb = scale_of(s.box, dim, 0, d, p), grow = 1.0 + 0x1p-10, least = 0x1p-23;
            const double box_top = fmax(largest(s.mean[p], d, dim), largest(s.top[p], d, dim));
            good &= fabs(mean_of(&s, p, d) - m) <= 0.50001 * sm;
            good &= fabs(variance_of(&s, p, d) - v) <= 0.50001 * sv;
            good &= end_of(&s, 0, p, d) <= m && end_of(&s, 0, p, d) > m - 1.00001 * sb - least * least;
            good &= end_of(&s, 1, p, d) >= t && end_of(&s, 1, p, d) < t + 1.00001 * sb + least * least;
            good &= sm <= largest(s.mean[p], d, dim) / 127.0 * grow + least;
            good &= sv <= largest(s.variance[p], d, dim) / 255.0 * grow + least;
            good &= sb <= box_top / 127.0 * grow + least;
            if (!good)
                printf(
                    "summary dim %d kind %d: page %d channel %d: mean %a is %a, variance %a is %a, box %a to "
                    "%a is %a to %a\n",
                    dim, (int)k, p, d, m, mean_of(&s, p, d), v, variance_of(&s, p, d), m, t,
                    end_of(&s, 0, p, d), end_of(&s, 1, p, d));
        }
    drop(&s);
    return good;
}

/* Ends one float beyond a multiple of the scale: they take the code beyond. */
static bool check_edges(checkkernel *c)
{
    static shape s;
    bool good = true;
    alloc(&s, B, 1, T);
    for (int32_t p = 0; p < T; p++) {
        memset(s.mean[p], 0, sizeof s.mean[p]);
        memset(s.top[p], 0, sizeof s.top[p]);
        s.top[p][0] = 2.0f + check_float(c); /* decides the scale */
        terse_box_put(s.box, p, s.mean[p], s.top[p], B);
        const float scale = (float)scale_of(s.box, B, 0, 0, p);
        for (int32_t d = 1; d < B; d++) {
            const float at = scale * (float)(check_below(c, 253) - 126);
            s.mean[p][d] = nextafterf(at, -INFINITY);
            s.top[p][d] = nextafterf(at, INFINITY);
        }
        terse_box_put(s.box, p, s.mean[p], s.top[p], B);
        for (int32_t d = 0; d < B; d++)
            good &= end_of(&s, 0, p, d) <= (double)s.mean[p][d] && end_of(&s, 1, p, d) >= (double)s.top[p][d];
    }
    if (!good)
        printf("summary: a box's end lies inside\n");
    drop(&s);
    return good;
}

/* ---- what the kernels make of it ---- */

/* Estimates and bounds against float64 on what the tile holds; codes of x and x^2 are half a step off. */
static bool check_accuracy(checkkernel *c, int32_t dim)
{
    static shape s;
    make(c, &s, dim, 1, T, PLAIN);
    compute(&c->got.summary, &s);
    const double log_page = log(P);
    bool good = true;
    for (int32_t p = 0; p < T; p++) {
        double a = 0.0, v = 0.0, off = 0.0, upper = 0.0, slack = 0.0;
        for (int32_t d = 0; d < dim; d++) {
            const double x = (double)s.x[d], step = largest(s.x, d, dim) / 127.0;
            a += x * mean_of(&s, p, d);
            v += x * x * variance_of(&s, p, d);
            off += 0.51 * step * (fabs(mean_of(&s, p, d)) + 127.0 * step * variance_of(&s, p, d));
            upper += x * end_of(&s, x > 0.0, p, d);
            slack += fabs(x) * 127.0 * scale_of(s.box, dim, 0, d, p) * 0x1p-22 * dim;
        }
        const double fair = a + (v <= 2.0 * log_page ? v / 2.0 : sqrt(2.0 * log_page * v) - log_page);
        off += 1e-6 * (fabs(a) + v + slack + 1.0);
        if (fabs((double)s.high[p] - a - v / 2.0) > off || fabs((double)s.fair[p] - fair) > off ||
            (double)s.upper[p] < upper || (double)s.upper[p] > upper + 2.0 * slack) {
            printf("summary dim %d: page %d is %g (high) %g (fair) %g (box), float64 says %g %g %g\n", dim, p,
                   (double)s.high[p], (double)s.fair[p], (double)s.upper[p], a + v / 2.0, fair, upper);
            good = false;
        }
    }
    drop(&s);
    return good;
}

/* A page of keys, each channel about its own middle; their smallest and largest values as stored. */
static void fill_page(checkkernel *c, terse_page_type type, void *block, float *low, float *high, int32_t dim)
{
    float middle[MAX_DIM], k[MAX_DIM];
    for (int32_t d = 0; d < dim; d++) {
        middle[d] = 4.0f * check_float(c) * check_float(c) * check_float(c);
        low[d] = INFINITY;
        high[d] = -INFINITY;
    }
    const float spread = fabsf(check_float(c));
    for (int32_t t = 0; t < P; t++) {
        for (int32_t d = 0; d < dim; d++)
            k[d] = middle[d] + spread * check_float(c);
        terse_page_put_k(type, block, t, k, dim);
        terse_page_get_k(type, block, t, k, dim);
        for (int32_t d = 0; d < dim; d++) {
            low[d] = fminf(low[d], k[d]);
            high[d] = fmaxf(high[d], k[d]);
        }
    }
}

/* No score of the score kernel is above the box. All keys of one page in four are the same key: there the bound
 * is sharpest. */
static bool check_bound(checkkernel *c, terse_page_type type, int32_t dim)
{
    static shape s;
    const size_t block_size = terse_page_block_size(type, dim),
                 query_size = terse_query_size(type, dim) * MAX_ROW;
    void *block = check_alloc(block_size), *query = check_alloc(query_size);
    float q[MAX_ROW * MAX_DIM], score[T][MAX_ROW * P];
    bool good = true;
    alloc(&s, dim, MAX_ROW, T);
    for (int32_t i = 0; i < MAX_ROW * dim; i++)
        q[i] = check_below(c, 2) ? 3.0f * check_float(c) : 1.0f;
    terse_query_prepare(type, query, q, MAX_ROW, dim, 0.3f);
    terse_query_restore(type, s.x, query, MAX_ROW, dim);
    for (int32_t p = 0; p < T; p++) {
        fill_page(c, type, block, s.mean[p], s.top[p], dim);
        if (p % 4 == 0) {
            for (int32_t t = 0; t < P; t++)
                terse_page_put_k(type, block, t, s.top[p], dim);
            terse_page_get_k(type, block, 0, s.top[p], dim);
            memcpy(s.mean[p], s.top[p], sizeof s.mean[p]);
        }
        terse_box_put(s.box, p, s.mean[p], s.top[p], dim);
        c->got.attn.score[type](score[p], query, block, MAX_ROW, dim, NULL);
    }
    c->got.summary.box(s.upper, T, s.x, s.box, MAX_ROW, dim);
    for (int32_t i = 0; i < T * MAX_ROW * P; i++) {
        const int32_t p = i / (MAX_ROW * P), r = i / P % MAX_ROW;
        if (!(score[p][i % (MAX_ROW * P)] <= s.upper[r * T + p])) {
            printf("box dim %d %s keys: row %d page %d token %d scores %a, bound %a\n", dim, type_names[type],
                   r, p, i % P, (double)score[p][i % (MAX_ROW * P)], (double)s.upper[r * T + p]);
            good = false;
        }
    }
    check_free(block, block_size);
    check_free(query, query_size);
    drop(&s);
    return good;
}

/* Whether everything about page p is +infinity, or finite. */
static bool page_is(const shape *s, int32_t p, bool finite)
{
    const float *all[] = { s->fair, s->high, s->upper };
    for (int i = 0; i < 3; i++)
        for (int32_t r = 0; r < s->n_row; r++) {
            const float x = all[i][(size_t)r * s->stride + (size_t)p];
            if (finite ? !isfinite(x) : !(x > 0.0f && isinf(x)))
                return false;
        }
    return true;
}

/* A value that is not finite makes its own page infinite and no other; a query, and an overflow towards either
 * side, all pages. */
static bool check_infinite(checkkernel *c, int32_t dim)
{
    static shape s;
    static const float bad[] = { INFINITY, -INFINITY, NAN };
    bool good = true;
    for (int i = 0; i < 3; i++) {
        make(c, &s, dim, 3, T, PLAIN);
        const int32_t p = check_below(c, T), d = check_below(c, dim);
        s.mean[p][d] = bad[i];
        s.top[p][d] = bad[i];
        put(&s, p);
        s.mean[(p + 1) % T][d] = 0.0f;
        s.variance[(p + 1) % T][d] = s.top[(p + 1) % T][d] = fabsf(bad[i]);
        put(&s, (p + 1) % T);
        compute(&c->got.summary, &s);
        for (int32_t j = 0; j < T; j++)
            good &= page_is(&s, j, j != p && j != (p + 1) % T);
        drop(&s);
    }
    for (int i = 0; i < 5; i++) {
        make(c, &s, dim, 1, T, PLAIN);
        s.x[check_below(c, dim)] = i < 3 ? bad[i] : i == 3 ? 3e38f : -3e38f;
        for (int32_t p = 0; p < T; p++)
            for (int32_t d = 0; d < dim; d++) {
                s.mean[p][d] = -0.001f; /* small: the rounding of the chain does not overflow with it */
                s.top[p][d] = -0.00099f;
            }
        for (int32_t p = 0; p < T; p++)
            put(&s, p);
        terse_moments_query(s.query, s.x, 1, dim);
        compute(&c->got.summary, &s);
        for (int32_t p = 0; p < T; p++)
            good &= page_is(&s, p, false);
        drop(&s);
    }
    if (!good)
        printf("summary dim %d: a number that is not finite does not show\n", dim);
    return good;
}

bool check_summary(checkkernel *c)
{
    bool same = true;
    if (check_wanted(c, "moments") || check_wanted(c, "box"))
        for (int i = 0; i < N_DIM; i++) {
            same &= check_edges(c);
            for (int32_t n_row = 1; n_row <= MAX_ROW; n_row++)
                for (int k = 0; k < N_KIND; k++)
                    same &= check_tiers(c, dims[i], n_row, T + (size_t)check_below(c, 5) * 7, (kind)k);
            for (int k = 0; k < WILD; k++)
                same &= check_holds(c, dims[i], (kind)k);
            same &= check_accuracy(c, dims[i]);
            same &= check_infinite(c, dims[i]);
            for (int type = 0; type < TERSE_PAGE_TYPES; type++)
                if (terse_page_dim_ok((terse_page_type)type, dims[i]))
                    same &= check_bound(c, (terse_page_type)type, dims[i]);
        }
    for (int32_t n = 16; n <= 160 && check_wanted(c, "exps"); n += 16)
        for (int wild = 0; wild < 10; wild++)
            same &= check_exps(c, n, wild % 2);
    return same;
}

/* ---- timing ---- */

typedef struct {
    const terse_summary_kernels *k;
    shape s;
    float e[1024];
} timed;

static void run_moments(void *ctx)
{
    timed *t = ctx;
    t->k->moments(t->s.scores_mean, t->s.scores_variance, T, t->s.query, t->s.moments, t->s.n_row, t->s.dim);
}

static void run_box(void *ctx)
{
    timed *t = ctx;
    t->k->box(t->s.upper, T, t->s.x, t->s.box, t->s.n_row, t->s.dim);
}

static void run_exps(void *ctx)
{
    timed *t = ctx;
    t->k->exps(t->e, 1024, 0.5f); /* of its own results: 0.6 to 1.6 */
}

void bench_summary(checkkernel *c)
{
    static const int32_t rows[] = { 1, 2, 4, 8 };
    static timed t;
    char name[48];
    t.k = &c->got.summary;
    for (int32_t dim = 64; dim <= 128; dim += 64)
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
            make(c, &t.s, dim, rows[r], T, PLAIN);
            snprintf(name, sizeof name, "moments dim %d rows %d", dim, rows[r]);
            if (check_wanted(c, name))
                check_time(c, name, (double)t.s.moments_size, 4.0 * rows[r] * dim * T, run_moments, &t);
            snprintf(name, sizeof name, "box dim %d rows %d", dim, rows[r]);
            if (check_wanted(c, name))
                check_time(c, name, (double)t.s.box_size, 2.0 * rows[r] * dim * T, run_box, &t);
            drop(&t.s);
        }
    memset(t.e, 0, sizeof t.e);
    if (check_wanted(c, "exps"))
        check_time(c, "exps n 1024", sizeof t.e, 0.0, run_exps, &t);
}
