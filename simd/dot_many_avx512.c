/* simd/dot_many_avx512.c: quantised rows times many tokens.
 *
 * vpdpbusd with four codes of 16 rows and four codes of a token, broadcast, adds 64 products, and nothing is
 * ever added across lanes: a block sum is a register, its scales are a register, and so are the 8 accumulators
 * of dot.h, which fold into the results of 16 rows. A panel (dot_panel_avx512.h) lies as the accumulators want
 * it: one stays in a register for TOKENS tokens of 32 rows on its way through the panel. Only the unpacking
 * depends on the type; the products are compiled for the four kinds of types. */
#include "simd/dot_panel_avx512.h"

enum {
    TOKENS = 4,
    STEPS = 8,   /* in a panel: 72 to 112 KiB, which stay in the second-level cache while tokens pass */
    GROUP = 256, /* tokens whose accumulators wait for the next panel, where rows are longer than one */
};

/* Of the half blocks of a token, or of blocks, each twice, where there are no sub-scales: where the integer
 * sums of products start, -(offset of the codes) times the sum of the token's codes; and these sums themselves.
 */
typedef struct {
    int32_t start[STEPS * 16];
    float sum[STEPS * 16]; /* HAS_LOW */
} token_sums;

INLINE void sum_token(int kind, int offset, token_sums *a, const terse_acts *x, int32_t t, int32_t step, int n)
{
    const int32_t *half = x->sum + ((size_t)t * (size_t)x->n_pad + (size_t)step * 256) / 16;
    for (int k = 0; k < n; k++) {
        __m512i sum = _mm512_load_si512(half + k * 16);
        if (!(kind & HAS_SUB))
            sum = _mm512_add_epi32(sum, _mm512_shuffle_epi32(sum, 0xb1));
        if (kind & HAS_LOW)
            _mm512_storeu_ps(a->sum + k * 16, _mm512_cvtepi32_ps(sum));
        _mm512_storeu_si512(a->start + k * 16, _mm512_mullo_epi32(sum, _mm512_set1_epi32(-offset)));
    }
}

/* The blocks of one accumulator. */
typedef struct {
    const __m512i *block; /* of the panel */
    const int8_t *q;      /* of the first token; q_stride to the next */
    const float *d, *s;   /* likewise; stride q_stride / 32 */
    const token_sums *sums;
    size_t q_stride;
    int lane;
} chain;

INLINE __m512i four_codes(const int8_t *q)
{
    int32_t v;
    memcpy(&v, q, sizeof v);
    return _mm512_set1_epi32(v);
}

/* sum[t][h] = start + products of values 4 * from .. 4 * to - 1 of step k's block. */
INLINE void products(int kind, int T, __m512i sum[][PANELS], const chain *c, const __m512i *block, int k,
                     int from, int to)
{
    const int at = k * 16 + 2 * c->lane + (from == 4);
    for (int t = 0; t < T; t++)
        for (int h = 0; h < PANELS; h++)
            sum[t][h] = kind == HAS_MIN ? _mm512_setzero_si512() : _mm512_set1_epi32(c->sums[t].start[at]);
    for (int i = from; i < to; i++)
        for (int t = 0; t < T; t++) {
            const int8_t *at_q = c->q + (size_t)t * c->q_stride + k * 256 + i * 4;
            const __m512i q = four_codes(at_q);
            if (i == 4)
                _mm_prefetch((const char *)at_q + (size_t)T * c->q_stride, _MM_HINT_T0);
            for (int h = 0; h < PANELS; h++)
                sum[t][h] = _mm512_dpbusd_epi32(sum[t][h], block[i * PANELS + h], q);
        }
}

INLINE __m512 scale_at(const __m512i *block, int at)
{
    return _mm512_castsi512_ps(block[at]);
}

/* acc[t][h] and, for types with a minimum, low[t][h] over n steps. */
INLINE void add_chain(int kind, int T, __m512 acc[][PANELS], __m512 low[][PANELS], const chain *c, int n)
{
    const __m512i *block = c->block;
    for (int k = 0; k < n; k++, block += block_of(kind)) {
        __m512i sum[TOKENS][PANELS];
        __m512 isum[TOKENS][PANELS];
        products(kind, T, sum, c, block, k, 0, kind & HAS_SUB ? 4 : 8);
        for (int t = 0; t < T; t++)
            for (int h = 0; h < PANELS; h++)
                isum[t][h] = _mm512_cvtepi32_ps(sum[t][h]);
        if (kind & HAS_SUB) {
            /* Sub-scales as floats are exact: all is below 2^24. The sign of a zero does not matter. */
            products(kind, T, sum, c, block, k, 4, 8);
            for (int t = 0; t < T; t++)
                for (int h = 0; h < PANELS; h++)
                    isum[t][h] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[t][h]),
                                                 scale_at(block, sub_at(kind) + PANELS + h),
                                                 _mm512_mul_ps(isum[t][h], scale_at(block, sub_at(kind) + h)));
        }
        for (int t = 0; t < T; t++) {
            const size_t at = (size_t)t * (c->q_stride / 32) + (size_t)k * 8;
            const __m512 d = _mm512_set1_ps(c->d[at]);
            for (int h = 0; h < PANELS; h++)
                acc[t][h] =
                    _mm512_fmadd_ps(_mm512_mul_ps(scale_at(block, CODES + h), d), isum[t][h], acc[t][h]);
            for (int h = 0; kind & HAS_MIN && h < PANELS; h++)
                low[t][h] = _mm512_fmadd_ps(scale_at(block, MIN_AT + h), _mm512_set1_ps(c->s[at]), low[t][h]);
            for (int h = 0; kind & HAS_LOW && h < PANELS; h++) {
                const float *half = c->sums[t].sum + k * 16 + 2 * c->lane;
                const __m512 first = _mm512_set1_ps(half[0]), last = _mm512_set1_ps(half[1]);
                const __m512 imin = _mm512_fmadd_ps(scale_at(block, low_at(kind) + PANELS + h), last,
                                                    _mm512_mul_ps(scale_at(block, low_at(kind) + h), first));
                low[t][h] = _mm512_fmadd_ps(_mm512_mul_ps(scale_at(block, MIN_AT + h), d), imin, low[t][h]);
            }
        }
    }
}

INLINE __m512 fold(__m512 v[8][TOKENS][PANELS], int t, int h)
{
    const __m512 a = _mm512_add_ps(v[0][t][h], v[4][t][h]), b = _mm512_add_ps(v[1][t][h], v[5][t][h]);
    const __m512 c = _mm512_add_ps(v[2][t][h], v[6][t][h]), d = _mm512_add_ps(v[3][t][h], v[7][t][h]);
    return _mm512_add_ps(_mm512_add_ps(a, c), _mm512_add_ps(b, d));
}

/* ---- rows and tokens ---- */

/* The accumulators of TOKENS tokens. */
typedef struct {
    __m512 acc[8][TOKENS][PANELS], low[8][TOKENS][PANELS];
} chains;

/* n_step steps from step on, of the first n_row of ROWS rows (the others are copies of the last). */
typedef struct {
    __m512i block[STEPS * 8 * BLOCK_MAX];
    const uint8_t *row[ROWS];
    size_t row_size;
    int32_t n_row, n_block, step;
    int n_step;
} panel;

INLINE void unpack_panel(int kind, terse_dot_type type, panel *p)
{
    const size_t size = step_size(type), ahead = ROWS * p->row_size; /* past the end on purpose: ahead_of() */
    uint8_t tail[LANES][STEP_SIZE_MAX];
    for (int k = 0; k < p->n_step; k++)
        for (int h = 0; h < PANELS; h++) {
            const step_rows to = { p->block + k * block_of(kind) + h, (size_t)(p->n_step * block_of(kind)) };
            const int32_t left = p->n_block - (p->step + k) * 8;
            const uint8_t *row[LANES];
            for (int r = 0; r < LANES; r++) {
                row[r] = p->row[h * LANES + r] + (size_t)(p->step + k) * size;
                prefetch_bytes(row[r] + ahead, size);
                if (left < 8) {
                    copy_tail(type, tail[r], row[r], left);
                    row[r] = tail[r];
                }
            }
            terse_panel_unpack_avx512(type, to, row);
        }
}

/* A panel times T tokens from t on; s starts from zero or from the panel before. */
INLINE void add_panel(int kind, int offset, int T, chains *s, const panel *p, const terse_acts *x, int32_t t)
{
    const size_t at = (size_t)t * (size_t)x->n_pad + (size_t)p->step * 256;
    token_sums sums[TOKENS];
    for (int i = 0; kind != HAS_MIN && i < T; i++) /* the others' codes have no offset */
        sum_token(kind, offset, &sums[i], x, t + i, p->step, p->n_step);
    for (int l = 0; l < 8; l++) {
        __m512 acc[TOKENS][PANELS], low[TOKENS][PANELS];
        const chain c = { p->block + l * p->n_step * block_of(kind),
                          x->q + at + l * 32,
                          x->d + at / 32 + l,
                          x->s + at / 32 + l,
                          sums,
                          (size_t)x->n_pad,
                          l };
        for (int i = 0; i < T; i++)
            for (int h = 0; h < PANELS; h++) {
                acc[i][h] = p->step ? s->acc[l][i][h] : _mm512_setzero_ps();
                low[i][h] = p->step ? s->low[l][i][h] : _mm512_setzero_ps();
            }
        add_chain(kind, T, acc, low, &c, p->n_step);
        for (int i = 0; i < T; i++)
            for (int h = 0; h < PANELS; h++) {
                s->acc[l][i][h] = acc[i][h];
                if (kind & (HAS_MIN | HAS_LOW))
                    s->low[l][i][h] = low[i][h];
            }
    }
}

/* y of T tokens */
INLINE void store_results(int kind, int T, float *y, size_t y_stride, chains *s, int32_t n_row)
{
    for (int i = 0; i < T; i++)
        for (int h = 0; h < PANELS && h * LANES < n_row; h++) {
            const int32_t left = n_row - h * LANES;
            const __mmask16 used = left < LANES ? (__mmask16)((1u << left) - 1) : 0xffff;
            __m512 sum = fold(s->acc, i, h);
            if (kind & (HAS_MIN | HAS_LOW))
                sum = _mm512_sub_ps(sum, fold(s->low, i, h));
            _mm512_mask_storeu_ps(y + (size_t)i * y_stride + h * LANES, used,
                                  _mm512_add_ps(sum, _mm512_setzero_ps())); /* no -0 */
        }
}

/* The panel's rows times n <= GROUP tokens from t on, where n may be larger if the panel has whole rows: then
 * nothing has to wait in s. */
INLINE void add_tokens(int kind, int offset, float *y, size_t y_stride, chains *s, const panel *p,
                       const terse_acts *x, int32_t t, int32_t n)
{
    const bool whole = p->step == 0 && p->n_step * 8 >= p->n_block;
    const bool last = (p->step + p->n_step) * 8 >= p->n_block;
    for (int32_t i = 0; i < n;) {
        const int32_t T = n - i < 2 ? 1 : n - i < TOKENS ? 2 : TOKENS;
        chains *own = &s[whole ? 0 : i / TOKENS + i % TOKENS];
        if (T == TOKENS)
            add_panel(kind, offset, TOKENS, own, p, x, t + i);
        else if (T == 2)
            add_panel(kind, offset, 2, own, p, x, t + i);
        else
            add_panel(kind, offset, 1, own, p, x, t + i);
        if (last)
            store_results(kind, T, y + (size_t)(t + i) * y_stride, y_stride, own, p->n_row);
        i += T;
    }
}

INLINE void many(int kind, terse_dot_type type, float *y, size_t y_stride, const uint8_t *w, size_t row_size,
                 int32_t n_row, const terse_acts *x)
{
    chains s[GROUP / TOKENS + TOKENS];
    panel p;
    p.row_size = row_size;
    p.n_block = x->n / TERSE_ACT_BLOCK;
    const int offset = offset_of(path_of(type));
    const int32_t n_step = (p.n_block + 7) / 8, n_group = n_step > STEPS ? GROUP : x->n_token;
    for (int32_t r = 0; r < n_row; r += ROWS) {
        p.n_row = n_row - r;
        for (int i = 0; i < ROWS; i++)
            p.row[i] = w + (size_t)(r + (i < p.n_row ? i : p.n_row - 1)) * row_size;
        for (int32_t t = 0; t < x->n_token; t += n_group)
            for (p.step = 0; p.step < n_step; p.step += STEPS) {
                p.n_step = n_step - p.step < STEPS ? n_step - p.step : STEPS;
                unpack_panel(kind, type, &p);
                add_tokens(kind, offset, y + r, y_stride, s, &p, x, t,
                           x->n_token - t < n_group ? x->n_token - t : n_group);
            }
    }
}

void terse_dot_many_avx512(terse_dot_type type, float *y, size_t y_stride, const uint8_t *w, size_t row_size,
                           int32_t n_row, const terse_acts *x)
{
    switch (dot_formats[type].traits & (HAS_MIN | HAS_SUB | HAS_LOW)) {
    case 0:
        many(0, type, y, y_stride, w, row_size, n_row, x);
        break;
    case HAS_MIN:
        many(HAS_MIN, type, y, y_stride, w, row_size, n_row, x);
        break;
    case HAS_SUB:
        many(HAS_SUB, type, y, y_stride, w, row_size, n_row, x);
        break;
    default:
        many(HAS_SUB | HAS_LOW, type, y, y_stride, w, row_size, n_row, x);
    }
}
