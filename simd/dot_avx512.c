/* simd/dot_avx512.c: dot products with VNNI.
 *
 * A step is 256 values (8 blocks) of two rows. The codes of one row become four registers of unsigned bytes,
 * its 128-bit lane L holding 16 values of one block: c[0] and c[1] the first and last half of the even block
 * 2L, c[2] and c[3] those of the odd block 2L+1. Activations are brought into the same order. So vpdpbusd
 * leaves four partial sums per block, and 4-lane shuffles alone reduce two rows to one register of 16 block
 * sums in pair order: lane L = [row0 block 2L, row0 block 2L+1, row1 block 2L, row1 block 2L+1]. Scales are
 * fetched in that order too, and the accumulators stay in it until the row ends: nothing is done per block. */
#include "simd/dot_avx512.h"

#include <math.h>

enum {
    STEP_BLOCKS = 8,
    ROWS = 8,   /* rows that share a step's activations */
    TOKENS = 4, /* tokens that share a step's unpacked weights */
};

/* ---- activations ---- */

/* One step of one token. */
typedef struct {
    __m512i q[4];    /* codes, laid out as the weights' c[] */
    __m512i init[4]; /* -(offset of the weight codes) * sum of q: where the sums of products start */
    __m512 d, s;     /* scale and scaled sum per block, in pair order */
} step_acts;

INLINE __m512 pair_order(const float *v)
{
    const __m512i idx = _mm512_set_epi64(3, 3, 2, 2, 1, 1, 0, 0);
    return _mm512_castpd_ps(
        _mm512_permutexvar_pd(idx, _mm512_castps_pd(_mm512_castps256_ps512(_mm256_load_ps(v)))));
}

INLINE void load_acts(terse_dot_type type, step_acts *a, const terse_acts *x, int32_t t, int32_t step)
{
    const int8_t *q = x->q + (size_t)t * (size_t)x->n_pad + (size_t)step * 256;
    const size_t b = (size_t)t * (size_t)(x->n_pad / TERSE_ACT_BLOCK) + (size_t)step * STEP_BLOCKS;
    transpose_lanes(a->q, _mm512_load_si512(q), _mm512_load_si512(q + 64), _mm512_load_si512(q + 128),
                    _mm512_load_si512(q + 192));
    a->d = pair_order(x->d + b);
    const __m512i zero = _mm512_setzero_si512();
    if (type == TERSE_DOT_Q6_K) {
        for (int i = 0; i < 4; i++)
            a->init[i] = _mm512_sub_epi32(zero, _mm512_dpbusd_epi32(zero, _mm512_set1_epi8(32), a->q[i]));
    } else if (type == TERSE_DOT_Q8_0 || type == TERSE_DOT_Q4_0) {
        const __m512i offset = _mm512_set1_epi8(type == TERSE_DOT_Q8_0 ? (char)128 : 8);
        for (int i = 0; i < 4; i += 2)
            a->init[i] = _mm512_sub_epi32(
                zero, _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(zero, offset, a->q[i]), offset, a->q[i + 1]));
    } else {
        a->init[0] = a->init[2] = zero;
        a->s = pair_order(x->s + b);
    }
}

/* ---- weights: scales of two rows, in pair order ---- */

typedef struct {
    __m512 d, min;
} scales;

INLINE __m512 halves_to_ps(__m512i h)
{
    return _mm512_cvtph_ps(_mm512_castsi512_si256(h));
}

INLINE scales scales_of_q8_0(const uint8_t *w0, const uint8_t *w1)
{
    /* Scales are 17 words apart; the loads begin at those of blocks 0, 2, 4, 6 and see two each. */
    const __m512i idx =
        _mm512_castsi256_si512(_mm256_set_epi16(49, 32, 49, 32, 17, 0, 17, 0, 49, 32, 49, 32, 17, 0, 17, 0));
    const __m512i a =
        _mm512_maskz_permutex2var_epi16(0x0033, _mm512_loadu_si512(w0), idx, _mm512_loadu_si512(w0 + 68));
    const __m512i b =
        _mm512_maskz_permutex2var_epi16(0x00cc, _mm512_loadu_si512(w1), idx, _mm512_loadu_si512(w1 + 68));
    const __m512i c = _mm512_maskz_permutex2var_epi16(0x3300, _mm512_loadu_si512(w0 + 136), idx,
                                                      _mm512_loadu_si512(w0 + 204));
    const __m512i d = _mm512_maskz_permutex2var_epi16(0xcc00, _mm512_loadu_si512(w1 + 136), idx,
                                                      _mm512_loadu_si512(w1 + 204));
    return (scales){ .d = halves_to_ps(_mm512_or_si512(_mm512_ternarylogic_epi32(a, b, c, 0xfe), d)) };
}

INLINE scales scales_of_q4_0(const uint8_t *w0, const uint8_t *w1)
{
    const __m512i idx =
        _mm512_castsi256_si512(_mm256_set_epi16(63, 54, 63, 54, 45, 36, 45, 36, 27, 18, 27, 18, 9, 0, 9, 0));
    const __m512i a =
        _mm512_maskz_permutex2var_epi16(0x3333, _mm512_loadu_si512(w0), idx, _mm512_loadu_si512(w0 + 64));
    const __m512i b =
        _mm512_maskz_permutex2var_epi16(0xcccc, _mm512_loadu_si512(w1), idx, _mm512_loadu_si512(w1 + 64));
    return (scales){ .d = halves_to_ps(_mm512_or_si512(a, b)) };
}

/* Q4_K and Q5_K: both begin with d, dmin and the 12 bytes that sub_scales() takes apart. */
INLINE scales scales_of_k(const uint8_t *w0, const uint8_t *w1)
{
    const __m128i h0 = _mm_loadu_si128((const void *)w0), h1 = _mm_loadu_si128((const void *)w1);
    const __m256i h = _mm256_inserti128_si256(_mm256_castsi128_si256(h0), h1, 1);
    /* Per row: scales 0-3, mins 0-3, scales 4-7, mins 4-7. */
    const __m256i shift = _mm256_set_epi32(4, 0, 0, 0, 4, 0, 0, 0);
    const __m256i keep = _mm256_set_epi32(0x0f0f0f0f, 0x0f0f0f0f, 0x3f3f3f3f, 0x3f3f3f3f, 0x0f0f0f0f,
                                          0x0f0f0f0f, 0x3f3f3f3f, 0x3f3f3f3f);
    const __m256i top = _mm256_set_epi32(0x30303030, 0x30303030, 0, 0, 0x30303030, 0x30303030, 0, 0);
    const __m256i low = _mm256_and_si256(_mm256_srlv_epi32(_mm256_shuffle_epi32(h, 0xf9), shift), keep);
    const __m256i high = _mm256_srli_epi32(_mm256_shuffle_epi32(h, 0x90), 2);
    const __m256i six = _mm256_ternarylogic_epi32(low, high, top, 0xf8);
    /* Words are two neighbouring blocks: 16 bytes of scales in pair order, then 16 of mins. */
    const __m256i idx = _mm256_set_epi16(15, 7, 14, 6, 11, 3, 10, 2, 13, 5, 12, 4, 9, 1, 8, 0);
    const __m256i all = _mm256_permutexvar_epi16(idx, six);
    const __m512 sc = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm256_castsi256_si128(all)));
    const __m512 mn = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm256_extracti128_si256(all, 1)));
    const __m512 d = _mm512_broadcast_f32x4(_mm_cvtph_ps(_mm_unpacklo_epi32(h0, h1))); /* d dmin d dmin */
    return (scales){ .d = _mm512_mul_ps(_mm512_permute_ps(d, 0xa0), sc),
                     .min = _mm512_mul_ps(_mm512_permute_ps(d, 0xf5), mn) };
}

INLINE scales scales_of_k6(const block_q6_k *w0, const block_q6_k *w1)
{
    const __m128i d = _mm_cvtsi32_si128((int)((uint32_t)w1->d << 16 | w0->d));
    return (scales){ .d = _mm512_permute_ps(_mm512_broadcast_f32x4(_mm_cvtph_ps(d)), 0x50) };
}

INLINE scales scales_of(terse_dot_type type, const uint8_t *w0, const uint8_t *w1)
{
    switch (type) {
    case TERSE_DOT_Q8_0:
        return scales_of_q8_0(w0, w1);
    case TERSE_DOT_Q4_0:
        return scales_of_q4_0(w0, w1);
    case TERSE_DOT_Q4_K:
    case TERSE_DOT_Q5_K:
        return scales_of_k(w0, w1);
    default:
        return scales_of_k6((const void *)w0, (const void *)w1);
    }
}

/* ---- one step ---- */

/* One row: the sums of lane L as two of the even block and two of the odd one. Which of the four 32-bit places
 * hold which depends on the type; pair_sums knows. */
INLINE __m512i row_sums(terse_dot_type type, const codes *w, const step_acts *a)
{
    if (type == TERSE_DOT_Q6_K) { /* 16 values share a sub-scale. |sum of 4| <= 4*32*127 fits int16. */
        __m512i z[4];
        for (int i = 0; i < 4; i++)
            z[i] = _mm512_dpbusd_epi32(a->init[i], w->c[i], a->q[i]);
        const __m512i even = _mm512_madd_epi16(_mm512_packs_epi32(z[0], z[1]), w->sc[0]);
        const __m512i odd = _mm512_madd_epi16(_mm512_packs_epi32(z[2], z[3]), w->sc[1]);
        return _mm512_add_epi32(_mm512_unpacklo_epi32(even, odd), _mm512_unpackhi_epi32(even, odd));
    }
    const __m512i even =
        _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(a->init[0], w->c[0], a->q[0]), w->c[1], a->q[1]);
    const __m512i odd =
        _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(a->init[2], w->c[2], a->q[2]), w->c[3], a->q[3]);
    if (type == TERSE_DOT_Q8_0)
        return _mm512_add_epi32(_mm512_unpacklo_epi32(even, odd), _mm512_unpackhi_epi32(even, odd));
    /* |sum of 8| <= 8*31*127 fits int16 */
    return _mm512_madd_epi16(_mm512_packs_epi32(even, odd), _mm512_set1_epi16(1));
}

/* Two rows: 16 block sums in pair order. */
INLINE __m512i pair_sums(terse_dot_type type, __m512i r0, __m512i r1)
{
    if (type == TERSE_DOT_Q8_0 || type == TERSE_DOT_Q6_K) /* even odd even odd */
        return _mm512_add_epi32(_mm512_unpacklo_epi64(r0, r1), _mm512_unpackhi_epi64(r0, r1));
    const __m512 a = _mm512_castsi512_ps(r0), b = _mm512_castsi512_ps(r1); /* even even odd odd */
    return _mm512_add_epi32(_mm512_castps_si512(_mm512_shuffle_ps(a, b, 0x88)),
                            _mm512_castps_si512(_mm512_shuffle_ps(a, b, 0xdd)));
}

/* Accumulators of two rows times one token, in pair order. */
typedef struct {
    __m512 acc, low;
} sums;

INLINE void add_step(terse_dot_type type, sums *s, const codes *w0, const codes *w1, const scales *sc,
                     const step_acts *a)
{
    const __m512i isum = pair_sums(type, row_sums(type, w0, a), row_sums(type, w1, a));
    s->acc = _mm512_fmadd_ps(_mm512_mul_ps(sc->d, a->d), _mm512_cvtepi32_ps(isum), s->acc);
    if (has_min(type))
        s->low = _mm512_fmadd_ps(sc->min, a->s, s->low);
}

INLINE float fold8(__m256 v)
{
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/* The results of both rows. */
INLINE void finish(terse_dot_type type, const sums *s, float y[2])
{
    const __m512i idx = _mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0);
    const __m512 acc = _mm512_castpd_ps(_mm512_permutexvar_pd(idx, _mm512_castps_pd(s->acc)));
    y[0] = fold8(_mm512_castps512_ps256(acc));
    y[1] = fold8(_mm512_extractf32x8_ps(acc, 1));
    if (has_min(type)) {
        const __m512 low = _mm512_castpd_ps(_mm512_permutexvar_pd(idx, _mm512_castps_pd(s->low)));
        y[0] -= fold8(_mm512_castps512_ps256(low));
        y[1] -= fold8(_mm512_extractf32x8_ps(low, 1));
    }
}

/* ---- rows and tokens ---- */

/* n_row <= R rows from w times T tokens from t. Rows past n_row are computed as copies of the last and dropped.
 */
INLINE void tile(terse_dot_type type, int R, int T, float *y, size_t y_stride, const uint8_t *w,
                 size_t row_size, int32_t n_row, const terse_acts *x, int32_t t)
{
    const uint8_t *row[ROWS];
    uint8_t tail[ROWS][STEP_SIZE_MAX];
    sums s[ROWS / 2][TOKENS];
    const size_t size = step_size(type), ahead = ahead_of(row_size, R);
    const int32_t n_block = x->n / TERSE_ACT_BLOCK, n_step = (n_block + STEP_BLOCKS - 1) / STEP_BLOCKS;
    for (int r = 0; r < R; r++)
        row[r] = w + (size_t)(r < n_row ? r : n_row - 1) * row_size;
    for (int p = 0; p < R / 2; p++)
        for (int i = 0; i < T; i++)
            s[p][i] = (sums){ _mm512_setzero_ps(), _mm512_setzero_ps() };
    for (int32_t k = 0; k < n_step; k++) {
        step_acts a[TOKENS];
        for (int i = 0; i < T; i++)
            load_acts(type, &a[i], x, t + i, k);
        if ((k + 1) * STEP_BLOCKS > n_block)
            for (int r = 0; r < R; r++) {
                copy_tail(type, tail[r], row[r], n_block - k * STEP_BLOCKS);
                row[r] = tail[r];
            }
        for (int p = 0; p < R / 2; p++) {
            const uint8_t *w0 = row[2 * p], *w1 = row[2 * p + 1];
            if (T == 1) {
                prefetch_step(type, w0 + ahead);
                prefetch_step(type, w1 + ahead);
            }
            const codes c0 = codes_of(type, w0), c1 = codes_of(type, w1);
            const scales sc = scales_of(type, w0, w1);
            for (int i = 0; i < T; i++)
                add_step(type, &s[p][i], &c0, &c1, &sc, &a[i]);
            row[2 * p] += size;
            row[2 * p + 1] += size;
        }
    }
    for (int p = 0; p < R / 2; p++)
        for (int i = 0; i < T; i++) {
            float pair[2];
            finish(type, &s[p][i], pair);
            for (int r = 0; r < 2 && 2 * p + r < n_row; r++)
                y[(size_t)(t + i) * y_stride + (size_t)(2 * p + r)] = pair[r];
        }
}

INLINE void rows_of(terse_dot_type type, float *y, size_t y_stride, const uint8_t *w, size_t row_size,
                    int32_t n_row, const terse_acts *x)
{
    if (x->n_token >= MANY_TOKENS) {
        terse_dot_many_avx512(type, y, y_stride, w, row_size, n_row, x);
        return;
    }
    for (int32_t r = 0; r < n_row; r += ROWS) {
        int32_t t = 0;
        for (; t + TOKENS <= x->n_token; t += TOKENS)
            tile(type, ROWS, TOKENS, y + r, y_stride, w + (size_t)r * row_size, row_size, n_row - r, x, t);
        for (; t < x->n_token; t++)
            tile(type, ROWS, 1, y + r, y_stride, w + (size_t)r * row_size, row_size, n_row - r, x, t);
    }
}

static void rows_q8_0(float *y, size_t y_stride, const void *w, size_t row_size, int32_t n_row,
                      const terse_acts *x)
{
    rows_of(TERSE_DOT_Q8_0, y, y_stride, w, row_size, n_row, x);
}

static void rows_q4_0(float *y, size_t y_stride, const void *w, size_t row_size, int32_t n_row,
                      const terse_acts *x)
{
    rows_of(TERSE_DOT_Q4_0, y, y_stride, w, row_size, n_row, x);
}

static void rows_q4_k(float *y, size_t y_stride, const void *w, size_t row_size, int32_t n_row,
                      const terse_acts *x)
{
    rows_of(TERSE_DOT_Q4_K, y, y_stride, w, row_size, n_row, x);
}

static void rows_q5_k(float *y, size_t y_stride, const void *w, size_t row_size, int32_t n_row,
                      const terse_acts *x)
{
    rows_of(TERSE_DOT_Q5_K, y, y_stride, w, row_size, n_row, x);
}

static void rows_q6_k(float *y, size_t y_stride, const void *w, size_t row_size, int32_t n_row,
                      const terse_acts *x)
{
    rows_of(TERSE_DOT_Q6_K, y, y_stride, w, row_size, n_row, x);
}

/* ---- float weights: 16 values of a row at a time ---- */

enum { FLOAT_ROWS = 4 };

/* Values i..i+15 of a row, as far as the mask goes. */
INLINE __m512 load_floats(terse_dot_type type, const uint8_t *row, int32_t i, __mmask16 m)
{
    const uint8_t *p = row + (size_t)i * (type == TERSE_DOT_F32 ? 4 : 2);
    if (type == TERSE_DOT_F32)
        return _mm512_maskz_loadu_ps(m, p);
    const __m256i h = _mm256_maskz_loadu_epi16(m, p);
    if (type == TERSE_DOT_F16)
        return _mm512_cvtph_ps(h);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

INLINE float fold16(__m512 v)
{
    return fold8(_mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1)));
}

/* As tile(), for float weights. Masked fmadd keeps the lanes past n as they are. */
INLINE void float_tile(terse_dot_type type, int T, float *y, size_t y_stride, const uint8_t *w, size_t row_size,
                       int32_t n_row, const terse_acts *x, int32_t t)
{
    const uint8_t *row[FLOAT_ROWS];
    const float *v[TOKENS];
    __m512 acc[FLOAT_ROWS][TOKENS];
    for (int r = 0; r < FLOAT_ROWS; r++)
        row[r] = w + (size_t)(r < n_row ? r : n_row - 1) * row_size;
    for (int j = 0; j < T; j++)
        v[j] = x->x + (size_t)(t + j) * x->x_stride;
    for (int r = 0; r < FLOAT_ROWS; r++)
        for (int j = 0; j < T; j++)
            acc[r][j] = _mm512_setzero_ps();
    const size_t ahead = ahead_of(row_size, FLOAT_ROWS);
    int32_t i = 0;
    for (; i + 16 <= x->n; i += 16)
        for (int r = 0; r < FLOAT_ROWS; r++) {
            if (T == 1)
                prefetch_line(row[r] + ahead + (size_t)i * (type == TERSE_DOT_F32 ? 4 : 2));
            const __m512 f = load_floats(type, row[r], i, 0xffff);
            for (int j = 0; j < T; j++)
                acc[r][j] = _mm512_fmadd_ps(f, _mm512_loadu_ps(v[j] + i), acc[r][j]);
        }
    const __mmask16 m = (__mmask16)((1u << (x->n - i)) - 1);
    for (int r = 0; r < FLOAT_ROWS; r++) {
        const __m512 f = load_floats(type, row[r], i, m);
        for (int j = 0; j < T; j++)
            acc[r][j] = _mm512_mask3_fmadd_ps(f, _mm512_maskz_loadu_ps(m, v[j] + i), acc[r][j], m);
    }
    for (int r = 0; r < FLOAT_ROWS && r < n_row; r++)
        for (int j = 0; j < T; j++)
            y[(size_t)(t + j) * y_stride + (size_t)r] = fold16(acc[r][j]);
}

INLINE void float_rows(terse_dot_type type, float *y, size_t y_stride, const uint8_t *w, size_t row_size,
                       int32_t n_row, const terse_acts *x)
{
    for (int32_t r = 0; r < n_row; r += FLOAT_ROWS) {
        const uint8_t *p = w + (size_t)r * row_size;
        int32_t t = 0;
        for (; t + TOKENS <= x->n_token; t += TOKENS)
            float_tile(type, TOKENS, y + r, y_stride, p, row_size, n_row - r, x, t);
        for (; t < x->n_token; t++)
            float_tile(type, 1, y + r, y_stride, p, row_size, n_row - r, x, t);
    }
}

static void rows_f32(float *y, size_t y_stride, const void *w, size_t row_size, int32_t n_row,
                     const terse_acts *x)
{
    float_rows(TERSE_DOT_F32, y, y_stride, w, row_size, n_row, x);
}

static void rows_f16(float *y, size_t y_stride, const void *w, size_t row_size, int32_t n_row,
                     const terse_acts *x)
{
    float_rows(TERSE_DOT_F16, y, y_stride, w, row_size, n_row, x);
}

static void rows_bf16(float *y, size_t y_stride, const void *w, size_t row_size, int32_t n_row,
                      const terse_acts *x)
{
    float_rows(TERSE_DOT_BF16, y, y_stride, w, row_size, n_row, x);
}

/* ---- activations: quantise ---- */

/* Bit i is set if a block that begins at value b has value i < n. */
INLINE uint32_t block_mask(int32_t b, int32_t n)
{
    return n - b >= 32 ? 0xffffffff : n > b ? (1u << (n - b)) - 1 : 0;
}

static void quantize(const terse_acts *a, int32_t t)
{
    const float *x = a->x + (size_t)t * a->x_stride;
    const int32_t n_block = a->n_pad / TERSE_ACT_BLOCK;
    int8_t *q = a->q + (size_t)t * (size_t)a->n_pad;
    int32_t *sum4 = a->sum4 + (size_t)t * (size_t)(a->n_pad / 4);
    float *d = a->d + (size_t)t * (size_t)n_block, *s = a->s + (size_t)t * (size_t)n_block;
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    for (int32_t b = 0; b < n_block; b++, q += 32, sum4 += 8) {
        const uint32_t m = block_mask(b * 32, a->n);
        const __m512 x0 = _mm512_maskz_loadu_ps((__mmask16)m, x + b * 32);
        const __m512 x1 = _mm512_maskz_loadu_ps((__mmask16)(m >> 16), x + b * 32 + 16);
        const __m512i m0 = _mm512_and_si512(_mm512_castps_si512(x0), magnitude);
        const __m512i m1 = _mm512_and_si512(_mm512_castps_si512(x1), magnitude);
        const int32_t top = _mm512_reduce_max_epi32(_mm512_max_epi32(m0, m1));
        const float amax = _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(top)));
        const float inv = 127.0f / amax;
        const int finite = top < 0x7f800000;
        const __mmask16 keep = finite && isfinite(inv) ? 0xffff : 0;
        const __m512 scale = _mm512_set1_ps(inv);
        const __m512i q0 = _mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(x0, scale));
        const __m512i q1 = _mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(x1, scale));
        const __m256i code = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm512_cvtepi32_epi8(q0)),
                                                     _mm512_cvtepi32_epi8(q1), 1);
        _mm256_store_si256((void *)q, code);
        _mm256_store_si256((void *)sum4,
                           _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), code));
        d[b] = finite ? amax / 127.0f : NAN;
        s[b] = d[b] * (float)_mm512_reduce_add_epi32(_mm512_add_epi32(q0, q1));
    }
}

void terse_dot_init_avx512(terse_dot_kernels *k)
{
    *k = (terse_dot_kernels){ .tier = "avx512",
                              .quantize = quantize,
                              .rows = { [TERSE_DOT_F32] = rows_f32,
                                        [TERSE_DOT_F16] = rows_f16,
                                        [TERSE_DOT_BF16] = rows_bf16,
                                        [TERSE_DOT_Q8_0] = rows_q8_0,
                                        [TERSE_DOT_Q4_0] = rows_q4_0,
                                        [TERSE_DOT_Q4_K] = rows_q4_k,
                                        [TERSE_DOT_Q5_K] = rows_q5_k,
                                        [TERSE_DOT_Q6_K] = rows_q6_k } };
}
