/* simd/dot_many_avx512.c: quantised rows times many tokens.
 *
 * The lanes are 16 rows. One step (256 values) of 16 rows is unpacked into a panel, four neighbouring codes of
 * each row per register; vpdpbusd with four codes of a token, broadcast, then adds 64 products, and nothing is
 * ever added across lanes: a block sum is a register, its scales are a register, and so are the 8 accumulators
 * of dot.h, which fold into the results of 16 rows. A panel serves GROUP tokens. */
#include "simd/dot_avx512.h"

enum {
    LANES = 16,
    PANELS = 2, /* a broadcast serves so many registers of 16 rows */
    ROWS = PANELS * LANES,
    GROUP = 64, /* tokens whose accumulators are kept while a panel passes */
    TOKENS = 4, /* tokens that a register of the panel meets at once */
};

typedef struct {
    __m512i code[8][8]; /* [block][values 4i..4i+3] */
    __m512 d[8];        /* scale per block; Q6_K: of the row */
    __m512 min[8];
    __m512 sub[16]; /* Q6_K: sub-scale per 16 values */
} panel;

/* Accumulators of one token: [PANELS][8] acc, then, for types with a minimum, as many low. */
enum { ACCS = PANELS * 8 };
INLINE size_t accs_of(terse_dot_type type)
{
    return has_min(type) ? 2 * ACCS : ACCS;
}

/* ---- panel ---- */

/* 16 rows of 16 dwords: out[m][L] gets dword 4L + m of all rows. */
INLINE void transpose_rows(__m512i out[4][4], const __m512i *row, size_t stride)
{
    __m512i u[4][4]; /* [dword of lane][four rows] */
    for (int g = 0; g < 4; g++) {
        const __m512i *r = row + (size_t)(4 * g) * stride;
        const __m512i lo01 = _mm512_unpacklo_epi32(r[0], r[stride]),
                      hi01 = _mm512_unpackhi_epi32(r[0], r[stride]);
        const __m512i lo23 = _mm512_unpacklo_epi32(r[2 * stride], r[3 * stride]);
        const __m512i hi23 = _mm512_unpackhi_epi32(r[2 * stride], r[3 * stride]);
        u[0][g] = _mm512_unpacklo_epi64(lo01, lo23);
        u[1][g] = _mm512_unpackhi_epi64(lo01, lo23);
        u[2][g] = _mm512_unpacklo_epi64(hi01, hi23);
        u[3][g] = _mm512_unpackhi_epi64(hi01, hi23);
    }
    for (int m = 0; m < 4; m++)
        transpose_lanes(out[m], u[m][0], u[m][1], u[m][2], u[m][3]);
}

INLINE void unpack_codes(terse_dot_type type, panel *p, const uint8_t *const row[LANES])
{
    codes c[LANES];
    for (int r = 0; r < LANES; r++)
        c[r] = codes_of(type, row[r]);
    for (int i = 0; i < 4; i++) { /* even blocks' first and last halves, odd blocks' first and last */
        __m512i out[4][4];
        transpose_rows(out, &c[0].c[i], sizeof *c / sizeof(__m512i));
        for (int m = 0; m < 4; m++)
            for (int l = 0; l < 4; l++)
                p->code[2 * l + i / 2][i % 2 * 4 + m] = out[m][l];
    }
}

INLINE __m512 halves(const uint16_t h[LANES])
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)h));
}

INLINE __m512 unsigned_bytes(const uint8_t v[LANES])
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)v)));
}

INLINE __m512 signed_bytes(const int8_t v[LANES])
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)v)));
}

/* Q8_0, Q4_0: a block begins with its scale. */
INLINE void unpack_block_scales(panel *p, const uint8_t *const row[LANES], size_t block_size)
{
    for (size_t b = 0; b < 8; b++) {
        uint16_t h[LANES];
        for (int r = 0; r < LANES; r++)
            memcpy(&h[r], row[r] + b * block_size, sizeof *h);
        p->d[b] = halves(h);
    }
}

INLINE void unpack_k_scales(panel *p, const uint8_t *const row[LANES])
{
    uint16_t d[LANES], dmin[LANES];
    uint8_t sc[8][LANES], mn[8][LANES];
    for (int r = 0; r < LANES; r++) {
        const block_q4_k *w = (const void *)row[r]; /* Q5_K begins alike */
        uint8_t s[8], m[8];
        d[r] = w->d;
        dmin[r] = w->dmin;
        sub_scales(w->scales, s, m);
        for (int b = 0; b < 8; b++) {
            sc[b][r] = s[b];
            mn[b][r] = m[b];
        }
    }
    for (int b = 0; b < 8; b++) {
        p->d[b] = _mm512_mul_ps(halves(d), unsigned_bytes(sc[b]));
        p->min[b] = _mm512_mul_ps(halves(dmin), unsigned_bytes(mn[b]));
    }
}

INLINE void unpack_k6_scales(panel *p, const uint8_t *const row[LANES])
{
    uint16_t d[LANES];
    int8_t sc[16][LANES];
    for (int r = 0; r < LANES; r++) {
        const block_q6_k *w = (const void *)row[r];
        d[r] = w->d;
        for (int i = 0; i < 16; i++)
            sc[i][r] = w->sc[i];
    }
    for (int i = 0; i < 16; i++)
        p->sub[i] = signed_bytes(sc[i]);
    for (int b = 0; b < 8; b++)
        p->d[b] = halves(d);
}

INLINE void unpack(terse_dot_type type, panel *p, const uint8_t *const row[LANES])
{
    unpack_codes(type, p, row);
    if (type == TERSE_DOT_Q6_K)
        unpack_k6_scales(p, row);
    else if (has_min(type))
        unpack_k_scales(p, row);
    else
        unpack_block_scales(p, row, step_size(type) / 8);
}

/* ---- panel times tokens ---- */

/* One step of TOKENS tokens or one. */
typedef struct {
    const int8_t *q;
    const float *d, *s;
    int32_t start[16]; /* -(offset of the codes) * sum of q: for start_of() */
} step_token;

/* Per block for Q8_0 and Q4_0, per half block for Q6_K; four of the even blocks, then four of the odd, each
 * once for the first and once for the last half. */
INLINE int32_t start_of(const step_token *a, int b, int half)
{
    return a->start[b % 2 * 8 + half * 4 + b / 2];
}

INLINE void load_token(terse_dot_type type, step_token *a, const terse_acts *x, int32_t t, int32_t step)
{
    const size_t at = (size_t)t * (size_t)x->n_pad + (size_t)step * 256;
    a->q = x->q + at;
    a->d = x->d + at / 32;
    a->s = x->s + at / 32;
    if (has_min(type))
        return; /* these codes have no offset */
    const int32_t *sum4 = x->sum4 + at / 4;
    const __m512i z0 = _mm512_load_si512(sum4), z1 = _mm512_load_si512(sum4 + 16);
    const __m512i z2 = _mm512_load_si512(sum4 + 32), z3 = _mm512_load_si512(sum4 + 48);
    const __m512i u = _mm512_add_epi32(_mm512_unpacklo_epi32(z0, z1), _mm512_unpackhi_epi32(z0, z1));
    const __m512i v = _mm512_add_epi32(_mm512_unpacklo_epi32(z2, z3), _mm512_unpackhi_epi32(z2, z3));
    __m512i sum = _mm512_add_epi32(_mm512_unpacklo_epi64(u, v), _mm512_unpackhi_epi64(u, v));
    if (type != TERSE_DOT_Q6_K)
        sum = _mm512_add_epi32(sum, _mm512_shuffle_i64x2(sum, sum, 0xb1));
    const int shift = type == TERSE_DOT_Q8_0 ? 7 : type == TERSE_DOT_Q4_0 ? 3 : 5;
    _mm512_storeu_si512(a->start,
                        _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(sum, (unsigned)shift)));
}

INLINE __m512i four_codes(const int8_t *q)
{
    int32_t v;
    memcpy(&v, q, sizeof v);
    return _mm512_set1_epi32(v);
}

/* sum[t][h] += values 4*from .. 4*to-1 of block b */
INLINE void add_products(int T, __m512i sum[][PANELS], const panel *p, const step_token *a, int b, int from,
                         int to)
{
    for (int i = from; i < to; i++)
        for (int t = 0; t < T; t++) {
            const __m512i q = four_codes(a[t].q + b * 32 + i * 4);
            for (int h = 0; h < PANELS; h++)
                sum[t][h] = _mm512_dpbusd_epi32(sum[t][h], p[h].code[b][i], q);
        }
}

INLINE void add_block(terse_dot_type type, int T, __m512 *s, const panel *p, const step_token *a, int b)
{
    __m512i sum[TOKENS][PANELS];
    __m512 isum[TOKENS][PANELS];
    for (int t = 0; t < T; t++)
        for (int h = 0; h < PANELS; h++)
            sum[t][h] = has_min(type) ? _mm512_setzero_si512() : _mm512_set1_epi32(start_of(&a[t], b, 0));
    add_products(T, sum, p, a, b, 0, type == TERSE_DOT_Q6_K ? 4 : 8);
    for (int t = 0; t < T; t++)
        for (int h = 0; h < PANELS; h++)
            isum[t][h] = _mm512_cvtepi32_ps(sum[t][h]);
    if (type == TERSE_DOT_Q6_K) {
        /* Sub-scales as floats are exact: all is below 2^24. Adding 0 makes a -0 the 0 that an integer is. */
        for (int t = 0; t < T; t++)
            for (int h = 0; h < PANELS; h++) {
                isum[t][h] = _mm512_mul_ps(isum[t][h], p[h].sub[2 * b]);
                sum[t][h] = _mm512_set1_epi32(start_of(&a[t], b, 1));
            }
        add_products(T, sum, p, a, b, 4, 8);
        for (int t = 0; t < T; t++)
            for (int h = 0; h < PANELS; h++)
                isum[t][h] = _mm512_add_ps(
                    _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[t][h]), p[h].sub[2 * b + 1], isum[t][h]),
                    _mm512_setzero_ps());
    }
    for (int t = 0; t < T; t++)
        for (int h = 0; h < PANELS; h++) {
            __m512 *acc = s + (size_t)t * accs_of(type) + h * 8 + b;
            *acc = _mm512_fmadd_ps(_mm512_mul_ps(p[h].d[b], _mm512_set1_ps(a[t].d[b])), isum[t][h], *acc);
            if (has_min(type))
                acc[ACCS] = _mm512_fmadd_ps(p[h].min[b], _mm512_set1_ps(a[t].s[b]), acc[ACCS]);
        }
}

INLINE void add_step(terse_dot_type type, int T, __m512 *s, const panel *p, const terse_acts *x, int32_t t,
                     int32_t step)
{
    step_token a[TOKENS];
    for (int i = 0; i < T; i++)
        load_token(type, &a[i], x, t + i, step);
    for (int b = 0; b < 8; b++)
        add_block(type, T, s, p, a, b);
}

INLINE __m512 fold(const __m512 *v)
{
    const __m512 a = _mm512_add_ps(v[0], v[4]), b = _mm512_add_ps(v[1], v[5]);
    const __m512 c = _mm512_add_ps(v[2], v[6]), d = _mm512_add_ps(v[3], v[7]);
    return _mm512_add_ps(_mm512_add_ps(a, c), _mm512_add_ps(b, d));
}

/* ---- rows and tokens ---- */

/* The first min(n_row, ROWS) rows from w times n <= GROUP tokens from t. */
INLINE void group(terse_dot_type type, float *y, size_t y_stride, const uint8_t *w, size_t row_size,
                  int32_t n_row, const terse_acts *x, int32_t t, int32_t n)
{
    const uint8_t *row[ROWS];
    uint8_t tail[ROWS][STEP_SIZE_MAX];
    __m512 s[GROUP * 2 * ACCS];
    panel p[PANELS];
    const size_t accs = accs_of(type), ahead = n_row > ROWS ? ROWS * row_size : 0;
    const int32_t n_block = x->n / TERSE_ACT_BLOCK, n_step = (n_block + 7) / 8;
    for (int r = 0; r < ROWS; r++) /* rows past n_row are copies of the last */
        row[r] = w + (size_t)(r < n_row ? r : n_row - 1) * row_size;
    memset(s, 0, (size_t)n * accs * sizeof *s);
    for (int32_t k = 0; k < n_step; k++) {
        for (int r = 0; r < ROWS; r++) {
            if (t == 0)
                prefetch_step(type, row[r] + ahead);
            if ((k + 1) * 8 > n_block) {
                copy_tail(type, tail[r], row[r], n_block - k * 8);
                row[r] = tail[r];
            }
        }
        for (int h = 0; h < PANELS; h++)
            unpack(type, &p[h], row + h * LANES);
        int32_t i = 0;
        for (; i + TOKENS <= n; i += TOKENS)
            add_step(type, TOKENS, s + (size_t)i * accs, p, x, t + i, k);
        for (; i < n; i++)
            add_step(type, 1, s + (size_t)i * accs, p, x, t + i, k);
        for (int r = 0; r < ROWS; r++)
            row[r] += step_size(type);
    }
    for (int32_t i = 0; i < n; i++)
        for (int h = 0; h < PANELS && h * LANES < n_row; h++) {
            const int32_t left = n_row - h * LANES;
            const __mmask16 used = left < LANES ? (__mmask16)((1u << left) - 1) : 0xffff;
            const __m512 *acc = s + (size_t)i * accs + h * 8, sum = fold(acc);
            _mm512_mask_storeu_ps(y + (size_t)(t + i) * y_stride + h * LANES, used,
                                  has_min(type) ? _mm512_sub_ps(sum, fold(acc + ACCS)) : sum);
        }
}

INLINE void many(terse_dot_type type, float *y, size_t y_stride, const uint8_t *w, size_t row_size,
                 int32_t n_row, const terse_acts *x)
{
    for (int32_t r = 0; r < n_row; r += ROWS)
        for (int32_t t = 0; t < x->n_token; t += GROUP)
            group(type, y + r, y_stride, w + (size_t)r * row_size, row_size, n_row - r, x, t,
                  x->n_token - t < GROUP ? x->n_token - t : GROUP);
}

void terse_dot_many_avx512(terse_dot_type type, float *y, size_t y_stride, const uint8_t *w, size_t row_size,
                           int32_t n_row, const terse_acts *x)
{
    switch (type) {
    case TERSE_DOT_Q8_0:
        many(TERSE_DOT_Q8_0, y, y_stride, w, row_size, n_row, x);
        break;
    case TERSE_DOT_Q4_0:
        many(TERSE_DOT_Q4_0, y, y_stride, w, row_size, n_row, x);
        break;
    case TERSE_DOT_Q4_K:
        many(TERSE_DOT_Q4_K, y, y_stride, w, row_size, n_row, x);
        break;
    case TERSE_DOT_Q5_K:
        many(TERSE_DOT_Q5_K, y, y_stride, w, row_size, n_row, x);
        break;
    case TERSE_DOT_Q6_K:
        many(TERSE_DOT_Q6_K, y, y_stride, w, row_size, n_row, x);
        break;
    default:
        break; /* float weights: dot_avx512.c */
    }
}
