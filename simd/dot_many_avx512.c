/* simd/dot_many_avx512.c: quantised rows times many tokens.
 *
 * The lanes are 16 rows. One step (256 values) of 16 rows is unpacked into a panel, four neighbouring codes of
 * each row per register; vpdpbusd with four codes of a token, broadcast, then adds 64 products, and nothing is
 * ever added across lanes: a block sum is a register, its scales are a register, and so are the 8 accumulators
 * of dot.h, which fold into the results of 16 rows. A panel serves GROUP tokens. Only its unpacking depends on
 * the type; the products are compiled for the four kinds of types. */
#include "simd/dot_avx512.h"

enum {
    LANES = 16,
    PANELS = 2, /* a broadcast serves so many registers of 16 rows */
    ROWS = PANELS * LANES,
    GROUP = 64, /* tokens whose accumulators are kept while a panel passes */
};

typedef struct {
    __m512i code[8][8]; /* [block][values 4i..4i+3] */
    __m512 d[8];        /* per block */
    __m512 min[8];
    __m512 sub[16], low[16]; /* per 16 values */
} panel;

/* Accumulators of one token: [PANELS][8] acc, then, for types with a minimum, as many low. kind: the traits
 * HAS_MIN, HAS_SUB and HAS_LOW of a type. */
enum { ACCS = PANELS * 8 };
INLINE size_t accs_of(int kind)
{
    return kind & (HAS_MIN | HAS_LOW) ? 2 * ACCS : ACCS;
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

INLINE void transpose_codes(panel *p, const codes c[LANES])
{
    for (int i = 0; i < 4; i++) { /* even blocks' first and last halves, odd blocks' first and last */
        __m512i out[4][4];
        transpose_rows(out, &c[0].c[i], sizeof *c / sizeof(__m512i));
        for (int m = 0; m < 4; m++)
            for (int l = 0; l < 4; l++)
                p->code[2 * l + i / 2][i % 2 * 4 + m] = out[m][l];
    }
}

INLINE void codes_of_rows(int path, panel *p, const uint8_t *const row[LANES])
{
    codes c[LANES];
    for (int r = 0; r < LANES; r++)
        c[r] = codes_of(path, row[r]);
    transpose_codes(p, c);
}

static void unpacked_codes(terse_dot_type type, panel *p, const uint8_t *const row[LANES])
{
    step_codes raw[LANES];
    codes c[LANES];
    for (int r = 0; r < LANES; r++)
        unpack_codes(type, &raw[r], row[r]);
    for (int r = 0; r < LANES; r++)
        c[r] = codes_of_step(&dot_formats[type], &raw[r]);
    transpose_codes(p, c);
}

static void codes_of_panel(terse_dot_type type, panel *p, const uint8_t *const row[LANES])
{
#define PATH_CODES(name, path)                                                                                 \
    case path:                                                                                                 \
        codes_of_rows(path, p, row);                                                                           \
        break;
    switch (path_of(type)) {
        DOT_OWN_PATHS(PATH_CODES)
    default:
        unpacked_codes(type, p, row);
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

/* Q8_0, Q4_0, IQ4_NL, Q5_0: a block begins with its scale and has no other. */
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

/* Any type, by dot_unpack.h. */
static void unpack_step_scales(terse_dot_type type, panel *p, const uint8_t *const row[LANES])
{
    float d[8][LANES], min[8][LANES];
    int8_t sub[16][LANES], low[16][LANES];
    for (int r = 0; r < LANES; r++) {
        step_scales s = { 0 };
        dot_formats[type].scales(&s, row[r], QK_BLOCKS);
        for (int b = 0; b < 8; b++) {
            d[b][r] = s.d[b];
            min[b][r] = s.min[b];
        }
        for (int i = 0; i < 16; i++) {
            sub[i][r] = s.sub[i];
            low[i][r] = s.low[i];
        }
    }
    for (int b = 0; b < 8; b++) {
        p->d[b] = _mm512_loadu_ps(d[b]);
        p->min[b] = _mm512_loadu_ps(min[b]);
    }
    for (int i = 0; i < 16; i++) {
        p->sub[i] = signed_bytes(sub[i]);
        p->low[i] = signed_bytes(low[i]);
    }
}

static void unpack(terse_dot_type type, panel *p, const uint8_t *const row[LANES])
{
    codes_of_panel(type, p, row);
    switch (type) {
    case TERSE_DOT_Q6_K:
        unpack_k6_scales(p, row);
        break;
    case TERSE_DOT_Q4_K:
    case TERSE_DOT_Q5_K:
        unpack_k_scales(p, row);
        break;
    case TERSE_DOT_Q8_0:
    case TERSE_DOT_Q4_0:
    case TERSE_DOT_IQ4_NL:
    case TERSE_DOT_Q5_0:
        unpack_block_scales(p, row, dot_formats[type].size);
        break;
    default:
        unpack_step_scales(type, p, row);
    }
}

/* ---- panel times tokens ---- */

/* One step of TOKENS tokens or one. */
typedef struct {
    const int8_t *q;
    const float *d, *s;
    /* Sums of q, of half blocks or (where there are no sub-scales) of blocks; and -(offset of the codes) times
     * them, where sums of products start. Four of the even blocks, then four of the odd, each once for the
     * first and once for the last half: at place(). */
    int32_t sum[16], start[16];
} step_token;

INLINE int place(int b, int half)
{
    return b % 2 * 8 + half * 4 + b / 2;
}

INLINE void load_token(int kind, int offset, step_token *a, const terse_acts *x, int32_t t, int32_t step)
{
    const size_t at = (size_t)t * (size_t)x->n_pad + (size_t)step * 256;
    a->q = x->q + at;
    a->d = x->d + at / 32;
    a->s = x->s + at / 32;
    if (kind == HAS_MIN)
        return; /* these codes have no offset */
    const int32_t *sum4 = x->sum4 + at / 4;
    const __m512i z0 = _mm512_load_si512(sum4), z1 = _mm512_load_si512(sum4 + 16);
    const __m512i z2 = _mm512_load_si512(sum4 + 32), z3 = _mm512_load_si512(sum4 + 48);
    const __m512i u = _mm512_add_epi32(_mm512_unpacklo_epi32(z0, z1), _mm512_unpackhi_epi32(z0, z1));
    const __m512i v = _mm512_add_epi32(_mm512_unpacklo_epi32(z2, z3), _mm512_unpackhi_epi32(z2, z3));
    __m512i sum = _mm512_add_epi32(_mm512_unpacklo_epi64(u, v), _mm512_unpackhi_epi64(u, v));
    if (!(kind & HAS_SUB))
        sum = _mm512_add_epi32(sum, _mm512_shuffle_i64x2(sum, sum, 0xb1));
    if (kind & HAS_LOW)
        _mm512_storeu_si512(a->sum, sum);
    _mm512_storeu_si512(a->start, _mm512_mullo_epi32(sum, _mm512_set1_epi32(-offset)));
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

/* Where the sums of the products of a block, or of a half, start. */
INLINE __m512i start_of(int kind, const step_token *a, int b, int half)
{
    return kind == HAS_MIN ? _mm512_setzero_si512() : _mm512_set1_epi32(a->start[place(b, half)]);
}

INLINE __m512 low_sum(const panel *p, const step_token *a, int b)
{
    const __m512 first = _mm512_set1_ps((float)a->sum[place(b, 0)]),
                 last = _mm512_set1_ps((float)a->sum[place(b, 1)]);
    return _mm512_fmadd_ps(p->low[2 * b + 1], last, _mm512_mul_ps(p->low[2 * b], first));
}

INLINE void add_block(int kind, int T, __m512 *s, const panel *p, const step_token *a, int b)
{
    __m512i sum[TOKENS][PANELS];
    __m512 isum[TOKENS][PANELS];
    for (int t = 0; t < T; t++)
        for (int h = 0; h < PANELS; h++)
            sum[t][h] = start_of(kind, &a[t], b, 0);
    add_products(T, sum, p, a, b, 0, kind & HAS_SUB ? 4 : 8);
    for (int t = 0; t < T; t++)
        for (int h = 0; h < PANELS; h++)
            isum[t][h] = _mm512_cvtepi32_ps(sum[t][h]);
    if (kind & HAS_SUB) {
        /* Sub-scales as floats are exact: all is below 2^24. The sign of a zero does not matter. */
        for (int t = 0; t < T; t++)
            for (int h = 0; h < PANELS; h++) {
                isum[t][h] = _mm512_mul_ps(isum[t][h], p[h].sub[2 * b]);
                sum[t][h] = start_of(kind, &a[t], b, 1);
            }
        add_products(T, sum, p, a, b, 4, 8);
        for (int t = 0; t < T; t++)
            for (int h = 0; h < PANELS; h++)
                isum[t][h] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[t][h]), p[h].sub[2 * b + 1], isum[t][h]);
    }
    for (int t = 0; t < T; t++)
        for (int h = 0; h < PANELS; h++) {
            const __m512 d = _mm512_set1_ps(a[t].d[b]);
            __m512 *acc = s + (size_t)t * accs_of(kind) + h * 8 + b;
            *acc = _mm512_fmadd_ps(_mm512_mul_ps(p[h].d[b], d), isum[t][h], *acc);
            if (kind & HAS_MIN)
                acc[ACCS] = _mm512_fmadd_ps(p[h].min[b], _mm512_set1_ps(a[t].s[b]), acc[ACCS]);
            if (kind & HAS_LOW)
                acc[ACCS] = _mm512_fmadd_ps(_mm512_mul_ps(p[h].min[b], d), low_sum(&p[h], &a[t], b), acc[ACCS]);
        }
}

INLINE void add_step(int kind, int offset, int T, __m512 *s, const panel *p, const terse_acts *x, int32_t t,
                     int32_t step)
{
    step_token a[TOKENS];
    for (int i = 0; i < T; i++)
        load_token(kind, offset, &a[i], x, t + i, step);
    for (int b = 0; b < 8; b++)
        add_block(kind, T, s, p, a, b);
}

INLINE __m512 fold(const __m512 *v)
{
    const __m512 a = _mm512_add_ps(v[0], v[4]), b = _mm512_add_ps(v[1], v[5]);
    const __m512 c = _mm512_add_ps(v[2], v[6]), d = _mm512_add_ps(v[3], v[7]);
    return _mm512_add_ps(_mm512_add_ps(a, c), _mm512_add_ps(b, d));
}

/* ---- rows and tokens ---- */

/* The first min(n_row, ROWS) rows from w times n <= GROUP tokens from t. */
INLINE void group(int kind, terse_dot_type type, float *y, size_t y_stride, const uint8_t *w, size_t row_size,
                  int32_t n_row, const terse_acts *x, int32_t t, int32_t n)
{
    const uint8_t *row[ROWS];
    uint8_t tail[ROWS][STEP_SIZE_MAX];
    __m512 s[GROUP * 2 * ACCS];
    panel p[PANELS];
    const size_t accs = accs_of(kind), size = step_size(type), ahead = n_row > ROWS ? ROWS * row_size : 0;
    const int offset = offset_of(path_of(type));
    const int32_t n_block = x->n / TERSE_ACT_BLOCK, n_step = (n_block + 7) / 8;
    for (int r = 0; r < ROWS; r++) /* rows past n_row are copies of the last */
        row[r] = w + (size_t)(r < n_row ? r : n_row - 1) * row_size;
    memset(s, 0, (size_t)n * accs * sizeof *s);
    for (int32_t k = 0; k < n_step; k++) {
        for (int r = 0; r < ROWS; r++) {
            if (t == 0)
                prefetch_bytes(row[r] + ahead, size);
            if ((k + 1) * 8 > n_block) {
                copy_tail(type, tail[r], row[r], n_block - k * 8);
                row[r] = tail[r];
            }
        }
        for (int h = 0; h < PANELS; h++)
            unpack(type, &p[h], row + h * LANES);
        int32_t i = 0;
        for (; i + TOKENS <= n; i += TOKENS)
            add_step(kind, offset, TOKENS, s + (size_t)i * accs, p, x, t + i, k);
        for (; i < n; i++)
            add_step(kind, offset, 1, s + (size_t)i * accs, p, x, t + i, k);
        for (int r = 0; r < ROWS; r++)
            row[r] += size;
    }
    for (int32_t i = 0; i < n; i++)
        for (int h = 0; h < PANELS && h * LANES < n_row; h++) {
            const int32_t left = n_row - h * LANES;
            const __mmask16 used = left < LANES ? (__mmask16)((1u << left) - 1) : 0xffff;
            const __m512 *acc = s + (size_t)i * accs + h * 8;
            __m512 sum = fold(acc);
            if (kind & (HAS_MIN | HAS_LOW))
                sum = _mm512_sub_ps(sum, fold(acc + ACCS));
            _mm512_mask_storeu_ps(y + (size_t)(t + i) * y_stride + h * LANES, used,
                                  _mm512_add_ps(sum, _mm512_setzero_ps())); /* no -0 */
        }
}

INLINE void many(int kind, terse_dot_type type, float *y, size_t y_stride, const uint8_t *w, size_t row_size,
                 int32_t n_row, const terse_acts *x)
{
    for (int32_t r = 0; r < n_row; r += ROWS)
        for (int32_t t = 0; t < x->n_token; t += GROUP)
            group(kind, type, y + r, y_stride, w + (size_t)r * row_size, row_size, n_row - r, x, t,
                  x->n_token - t < GROUP ? x->n_token - t : GROUP);
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
