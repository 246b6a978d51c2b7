/* simd/dot_avx2.c: dot products with byte and word multiply-adds.
 *
 * A step is 256 values (8 blocks). Registers hold 16 values of block i in the low 128-bit lane and of block i +
 * 4 in the high one: q[2i] the first half of the blocks, q[2i+1] the last. Weights and activations are brought
 * into this order as they are loaded; horizontal adds within lanes then give the 8 block sums in their natural
 * order. No sum saturates: the bounds are told where they are used. */
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "this file needs -mavx2 -mfma -mf16c"
#endif

#include "simd/dot.h"

#include <immintrin.h>
#include <math.h>

#include "simd/dot_blocks.h"

#define INLINE static inline __attribute__((always_inline))

enum {
    ROWS = 4,   /* rows that share a step's activations */
    TOKENS = 4, /* tokens that share a step's unpacked weights */
};

INLINE __m256i two_lanes(const void *low, const void *high)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(low)), _mm_loadu_si128(high), 1);
}

/* ---- weights: codes ---- */

typedef struct {
    __m256i q[8];
    __m256i sub; /* Q6_K: sub-scales as int16, those of blocks 0..3 in the low lane */
} codes;

INLINE __m256i low_nibbles(__m256i v)
{
    return _mm256_and_si256(v, _mm256_set1_epi8(15));
}
INLINE __m256i high_nibbles(__m256i v)
{
    return low_nibbles(_mm256_srli_epi16(v, 4));
}

INLINE codes codes_of_q8_0(const block_q8_0 *w)
{
    codes c;
    for (int i = 0; i < 4; i++) {
        c.q[2 * i] = two_lanes(w[i].q, w[i + 4].q);
        c.q[2 * i + 1] = two_lanes(w[i].q + 16, w[i + 4].q + 16);
    }
    return c;
}

INLINE codes codes_of_q4_0(const block_q4_0 *w)
{
    codes c;
    for (int i = 0; i < 4; i++) {
        const __m256i v = two_lanes(w[i].q, w[i + 4].q);
        c.q[2 * i] = low_nibbles(v);
        c.q[2 * i + 1] = high_nibbles(v);
    }
    return c;
}

INLINE codes codes_of_k4(const uint8_t *q)
{
    codes c;
    for (int i = 0; i < 4; i += 2, q += 32) { /* nibbles of blocks i, i+1 and of i+4, i+5 */
        const __m256i first = two_lanes(q, q + 64), last = two_lanes(q + 16, q + 80);
        c.q[2 * i] = low_nibbles(first);
        c.q[2 * i + 1] = low_nibbles(last);
        c.q[2 * i + 2] = high_nibbles(first);
        c.q[2 * i + 3] = high_nibbles(last);
    }
    return c;
}

/* c | (bits & mask) */
INLINE __m256i or_bits(__m256i c, __m256i bits, char mask)
{
    return _mm256_or_si256(c, _mm256_and_si256(bits, _mm256_set1_epi8(mask)));
}

INLINE codes codes_of_k5(const block_q5_k *w)
{
    /* Block i's fifth bit, at bit i of qh, and block i+4's come to bit 4 + i of their lanes. */
    const __m256i shift = _mm256_set_epi64x(0, 0, 4, 4);
    const __m256i first = _mm256_sllv_epi64(two_lanes(w->qh, w->qh), shift);
    const __m256i last = _mm256_sllv_epi64(two_lanes(w->qh + 16, w->qh + 16), shift);
    codes c = codes_of_k4(w->q);
    for (int i = 0; i < 4; i++) {
        c.q[2 * i] = or_bits(c.q[2 * i], _mm256_srli_epi16(first, i), 16);
        c.q[2 * i + 1] = or_bits(c.q[2 * i + 1], _mm256_srli_epi16(last, i), 16);
    }
    return c;
}

INLINE codes codes_of_k6(const block_q6_k *w)
{
    const __m256i h[2] = { two_lanes(w->qh, w->qh + 32), two_lanes(w->qh + 16, w->qh + 48) };
    codes c = { .sub = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)w->sc)) };
    for (int i = 0; i < 4; i++) {
        const __m256i v = two_lanes(w->ql + 16 * i, w->ql + 64 + 16 * i);
        c.q[i] = or_bits(low_nibbles(v), _mm256_slli_epi16(h[i % 2], i < 2 ? 4 : 2), 48);
        c.q[i + 4] = or_bits(high_nibbles(v), _mm256_srli_epi16(h[i % 2], i < 2 ? 0 : 2), 48);
    }
    return c;
}

INLINE codes codes_of(terse_dot_type type, const uint8_t *w)
{
    switch (type) {
    case TERSE_DOT_Q8_0:
        return codes_of_q8_0((const void *)w);
    case TERSE_DOT_Q4_0:
        return codes_of_q4_0((const void *)w);
    case TERSE_DOT_Q4_K:
        return codes_of_k4(((const block_q4_k *)(const void *)w)->q);
    case TERSE_DOT_Q5_K:
        return codes_of_k5((const void *)w);
    default:
        return codes_of_k6((const void *)w);
    }
}

/* ---- weights: scales ---- */

typedef struct {
    __m256 d, min;
} scales;

INLINE __m256 eight_halves(const uint8_t *p, size_t stride)
{
    uint16_t h[8];
    for (size_t i = 0; i < 8; i++)
        memcpy(&h[i], p + i * stride, sizeof *h);
    return _mm256_cvtph_ps(_mm_setr_epi16((short)h[0], (short)h[1], (short)h[2], (short)h[3], (short)h[4],
                                          (short)h[5], (short)h[6], (short)h[7]));
}

INLINE __m256 bytes_to_ps(__m128i v)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(v));
}

/* Q4_K and Q5_K: both begin with d, dmin and the 12 bytes that sub_scales() takes apart. */
INLINE scales scales_of_k(const uint8_t *w)
{
    const __m128i h = _mm_loadu_si128((const void *)w);
    const __m128i keep = _mm_set_epi32(0x0f0f0f0f, 0x3f3f3f3f, 0x0f0f0f0f, 0x3f3f3f3f);
    const __m128i top = _mm_set_epi32(0x30303030, 0, 0x30303030, 0);
    /* scales 0-3, scales 4-7, mins 0-3, mins 4-7 */
    const __m128i low =
        _mm_and_si128(_mm_srlv_epi32(_mm_shuffle_epi32(h, 0xed), _mm_set_epi32(4, 0, 0, 0)), keep);
    const __m128i high = _mm_and_si128(_mm_srli_epi32(_mm_shuffle_epi32(h, 0x84), 2), top);
    const __m128i six = _mm_or_si128(low, high);
    const __m128 d = _mm_cvtph_ps(h);
    return (scales){ .d = _mm256_mul_ps(_mm256_broadcastss_ps(d), bytes_to_ps(six)),
                     .min = _mm256_mul_ps(_mm256_broadcastss_ps(_mm_movehdup_ps(d)),
                                          bytes_to_ps(_mm_unpackhi_epi64(six, six))) };
}

INLINE scales scales_of(terse_dot_type type, const uint8_t *w)
{
    switch (type) {
    case TERSE_DOT_Q8_0:
        return (scales){ .d = eight_halves(w, sizeof(block_q8_0)) };
    case TERSE_DOT_Q4_0:
        return (scales){ .d = eight_halves(w, sizeof(block_q4_0)) };
    case TERSE_DOT_Q4_K:
    case TERSE_DOT_Q5_K:
        return scales_of_k(w);
    default:
        return (scales){ .d = _mm256_set1_ps(_cvtsh_ss(((const block_q6_k *)(const void *)w)->d)) };
    }
}

/* ---- one step ---- */

/* One step of one token. */
typedef struct {
    __m256i q[8];
    __m256i offset[8]; /* Q6_K: 32 * sums of two neighbouring q, int16 */
    __m256i sum8;      /* Q4_0: 8 * sum of q per block */
    __m256 d, s;
} step_acts;

/* Blocks i and i+4 of Q4 and Q5 as 8 int16 each: |sum of 4| <= 4*31*127 fits. */
INLINE __m256i words_of_pair(__m256i c0, __m256i c1, __m256i q0, __m256i q1)
{
    return _mm256_add_epi16(_mm256_maddubs_epi16(c0, q0), _mm256_maddubs_epi16(c1, q1));
}

/* Words to block sums. |sum of 8| <= 8*31*127 still fits int16, so that two blocks are packed into one. */
INLINE __m256i sums_of_words(const __m256i v[4])
{
    const __m256i one = _mm256_set1_epi16(1);
    const __m256i a = _mm256_packs_epi32(_mm256_madd_epi16(v[0], one), _mm256_madd_epi16(v[1], one));
    const __m256i b = _mm256_packs_epi32(_mm256_madd_epi16(v[2], one), _mm256_madd_epi16(v[3], one));
    return _mm256_hadd_epi32(_mm256_madd_epi16(a, one), _mm256_madd_epi16(b, one));
}

INLINE __m256i sums_of_ints(const __m256i v[4])
{
    return _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
}

/* w . q with the sign of w moved to q: |w| <= 128 is unsigned, and 2*128*127 fits int16. */
INLINE __m256i signed_products(__m256i w, __m256i q)
{
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(q, w));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

/* Codes less 32 times sub-scale k of each lane. |sum of 2| <= 2*63*127 fits int16. */
INLINE __m256i scaled_products(const codes *w, const step_acts *a, int k)
{
    const __m256i pick = _mm256_set1_epi16((short)((2 * k + 1) << 8 | 2 * k));
    const __m256i pairs = _mm256_sub_epi16(_mm256_maddubs_epi16(w->q[k], a->q[k]), a->offset[k]);
    return _mm256_madd_epi16(pairs, _mm256_shuffle_epi8(w->sub, pick));
}

INLINE __m256i block_sums(terse_dot_type type, const codes *w, const step_acts *a)
{
    __m256i v[4];
    for (int i = 0; i < 4; i++) {
        const int j = 2 * i;
        if (type == TERSE_DOT_Q8_0)
            v[i] =
                _mm256_add_epi32(signed_products(w->q[j], a->q[j]), signed_products(w->q[j + 1], a->q[j + 1]));
        else if (type == TERSE_DOT_Q6_K)
            v[i] = _mm256_add_epi32(scaled_products(w, a, j), scaled_products(w, a, j + 1));
        else
            v[i] = words_of_pair(w->q[j], w->q[j + 1], a->q[j], a->q[j + 1]);
    }
    if (type == TERSE_DOT_Q8_0 || type == TERSE_DOT_Q6_K)
        return sums_of_ints(v);
    return type == TERSE_DOT_Q4_0 ? _mm256_sub_epi32(sums_of_words(v), a->sum8) : sums_of_words(v);
}

INLINE int has_min(terse_dot_type type)
{
    return type == TERSE_DOT_Q4_K || type == TERSE_DOT_Q5_K;
}

INLINE void load_acts(terse_dot_type type, step_acts *a, const terse_acts *x, int32_t t, int32_t step)
{
    const int8_t *q = x->q + (size_t)t * (size_t)x->n_pad + (size_t)step * 256;
    const size_t b = (size_t)t * (size_t)(x->n_pad / TERSE_ACT_BLOCK) + (size_t)step * 8;
    a->d = _mm256_load_ps(x->d + b);
    a->s = _mm256_load_ps(x->s + b);
    for (int i = 0; i < 8; i++) {
        a->q[i] = two_lanes(q + 16 * i, q + 128 + 16 * i);
        if (type == TERSE_DOT_Q6_K)
            a->offset[i] = _mm256_maddubs_epi16(_mm256_set1_epi8(32), a->q[i]);
    }
    if (type == TERSE_DOT_Q4_0) {
        const __m256i eight = _mm256_set1_epi8(8);
        __m256i v[4];
        for (int i = 0; i < 4; i++)
            v[i] = words_of_pair(eight, eight, a->q[2 * i], a->q[2 * i + 1]);
        a->sum8 = sums_of_words(v);
    }
}

/* Accumulators of one row times one token. */
typedef struct {
    __m256 acc, low;
} sums;

INLINE void add_step(terse_dot_type type, sums *s, const codes *w, const scales *sc, const step_acts *a)
{
    const __m256 isum = _mm256_cvtepi32_ps(block_sums(type, w, a));
    s->acc = _mm256_fmadd_ps(_mm256_mul_ps(sc->d, a->d), isum, s->acc);
    if (has_min(type))
        s->low = _mm256_fmadd_ps(sc->min, a->s, s->low);
}

INLINE float fold8(__m256 v)
{
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/* ---- rows and tokens ---- */

/* The first min(n_row, ROWS) rows from w times T tokens from t. Rows past n_row are computed as copies of the
 * last and dropped. */
INLINE void tile(terse_dot_type type, int T, float *y, size_t y_stride, const uint8_t *w, size_t row_size,
                 int32_t n_row, const terse_acts *x, int32_t t)
{
    const uint8_t *row[ROWS];
    uint8_t tail[ROWS][STEP_SIZE_MAX];
    sums s[ROWS][TOKENS];
    /* What to prefetch: the rows of the next tile, or nothing new. */
    const size_t ahead = ahead_of(row_size, ROWS);
    const int32_t n_block = x->n / TERSE_ACT_BLOCK, n_step = (n_block + 7) / 8;
    for (int r = 0; r < ROWS; r++) {
        row[r] = w + (size_t)(r < n_row ? r : n_row - 1) * row_size;
        for (int i = 0; i < T; i++)
            s[r][i] = (sums){ _mm256_setzero_ps(), _mm256_setzero_ps() };
    }
    for (int32_t k = 0; k < n_step; k++) {
        step_acts a[TOKENS];
        for (int i = 0; i < T; i++)
            load_acts(type, &a[i], x, t + i, k);
        for (int r = 0; r < ROWS; r++) {
            if (T == 1)
                prefetch_step(type, row[r] + ahead);
            if ((k + 1) * 8 > n_block) {
                copy_tail(type, tail[r], row[r], n_block - k * 8);
                row[r] = tail[r];
            }
            const codes c = codes_of(type, row[r]);
            const scales sc = scales_of(type, row[r]);
            for (int i = 0; i < T; i++)
                add_step(type, &s[r][i], &c, &sc, &a[i]);
            row[r] += step_size(type);
        }
    }
    for (int r = 0; r < ROWS && r < n_row; r++)
        for (int i = 0; i < T; i++) {
            const float acc = fold8(s[r][i].acc);
            y[(size_t)(t + i) * y_stride + (size_t)r] = has_min(type) ? acc - fold8(s[r][i].low) : acc;
        }
}

INLINE void rows_of(terse_dot_type type, float *y, size_t y_stride, const uint8_t *w, size_t row_size,
                    int32_t n_row, const terse_acts *x)
{
    for (int32_t r = 0; r < n_row; r += ROWS) {
        const uint8_t *p = w + (size_t)r * row_size;
        int32_t t = 0;
        for (; t + TOKENS <= x->n_token; t += TOKENS)
            tile(type, TOKENS, y + r, y_stride, p, row_size, n_row - r, x, t);
        for (; t < x->n_token; t++)
            tile(type, 1, y + r, y_stride, p, row_size, n_row - r, x, t);
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

/* ---- float weights: 16 lanes are two registers ---- */

enum { FLOAT_ROWS = 4 };

/* Values i..i+7 of a row. */
INLINE __m256 load_floats(terse_dot_type type, const uint8_t *row, int32_t i)
{
    if (type == TERSE_DOT_F32)
        return _mm256_loadu_ps((const void *)(row + (size_t)i * 4));
    const __m128i h = _mm_loadu_si128((const void *)(row + (size_t)i * 2));
    if (type == TERSE_DOT_F16)
        return _mm256_cvtph_ps(h);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

/* Adds the values i..n-1 (fewer than 16) to their lanes, then all lanes up. */
INLINE float finish_floats(terse_dot_type type, const __m256 acc[2], const uint8_t *row, const float *v,
                           int32_t i, int32_t n)
{
    float lane[16], f;
    uint16_t h;
    _mm256_storeu_ps(lane, acc[0]);
    _mm256_storeu_ps(lane + 8, acc[1]);
    for (int l = 0; i < n; i++, l++) {
        if (type == TERSE_DOT_F32) {
            memcpy(&f, row + (size_t)i * 4, sizeof f);
        } else {
            memcpy(&h, row + (size_t)i * 2, sizeof h);
            f = type == TERSE_DOT_F16 ? terse_f16_to_f32(h) : terse_bf16_to_f32(h);
        }
        lane[l] = fmaf(f, v[i], lane[l]);
    }
    return fold8(_mm256_add_ps(_mm256_loadu_ps(lane), _mm256_loadu_ps(lane + 8)));
}

INLINE void float_tile(terse_dot_type type, float *y, const uint8_t *w, size_t row_size, int32_t n_row,
                       int32_t n, const float *v)
{
    const uint8_t *row[FLOAT_ROWS];
    __m256 acc[FLOAT_ROWS][2];
    for (int r = 0; r < FLOAT_ROWS; r++) {
        row[r] = w + (size_t)(r < n_row ? r : n_row - 1) * row_size;
        acc[r][0] = acc[r][1] = _mm256_setzero_ps();
    }
    const size_t ahead = ahead_of(row_size, FLOAT_ROWS);
    int32_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int r = 0; r < FLOAT_ROWS; r++) {
            prefetch_line(row[r] + ahead + (size_t)i * (type == TERSE_DOT_F32 ? 4 : 2));
            acc[r][0] = _mm256_fmadd_ps(load_floats(type, row[r], i), _mm256_loadu_ps(v + i), acc[r][0]);
            acc[r][1] =
                _mm256_fmadd_ps(load_floats(type, row[r], i + 8), _mm256_loadu_ps(v + i + 8), acc[r][1]);
        }
    for (int r = 0; r < FLOAT_ROWS && r < n_row; r++)
        y[r] = finish_floats(type, acc[r], row[r], v, i, n);
}

INLINE void float_rows(terse_dot_type type, float *y, size_t y_stride, const uint8_t *w, size_t row_size,
                       int32_t n_row, const terse_acts *x)
{
    for (int32_t r = 0; r < n_row; r += FLOAT_ROWS)
        for (int32_t t = 0; t < x->n_token; t++)
            float_tile(type, y + (size_t)t * y_stride + (size_t)r, w + (size_t)r * row_size, row_size,
                       n_row - r, x->n, x->x + (size_t)t * x->x_stride);
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

INLINE __m256i magnitude(__m256 x)
{
    return _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff));
}

INLINE float largest(__m256i v)
{
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
    return _mm_cvtss_f32(_mm_castsi128_ps(m));
}

/* One block of 32 values: its codes, the sums of four of them, its scale and scaled sum. */
INLINE void quantize_block(const float *x, int8_t *q, int32_t *sum4, float *d, float *s)
{
    __m256 v[4];
    __m256i top = _mm256_setzero_si256(), c[4];
    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_loadu_ps(x + 8 * i);
        top = _mm256_max_epi32(top, magnitude(v[i]));
    }
    const float amax = largest(top), inv = 127.0f / amax;
    const int finite = isfinite(amax);
    const __m256i keep = _mm256_set1_epi32(finite && isfinite(inv) ? -1 : 0);
    for (int i = 0; i < 4; i++)
        c[i] = _mm256_and_si256(keep, _mm256_cvtps_epi32(_mm256_mul_ps(v[i], _mm256_set1_ps(inv))));
    /* Packing works within lanes: groups of four come out as 0 2 4 6 1 3 5 7. */
    const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(c[0], c[1]), _mm256_packs_epi32(c[2], c[3]));
    const __m256i code = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    const __m256i four =
        _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), code), _mm256_set1_epi16(1));
    _mm256_store_si256((void *)q, code);
    _mm256_store_si256((void *)sum4, four);
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
    *d = finite ? amax / 127.0f : NAN;
    *s = *d * (float)_mm_cvtsi128_si32(sum);
}

static void quantize(const terse_acts *a, int32_t t)
{
    const float *x = a->x + (size_t)t * a->x_stride;
    const size_t n_block = (size_t)a->n_pad / TERSE_ACT_BLOCK, n = (size_t)a->n;
    int8_t *q = a->q + (size_t)t * (size_t)a->n_pad;
    int32_t *sum4 = a->sum4 + (size_t)t * (size_t)a->n_pad / 4;
    float *d = a->d + (size_t)t * n_block, *s = a->s + (size_t)t * n_block;
    for (size_t b = 0; b < n_block; b++) {
        if (b * 32 + 32 <= n) {
            quantize_block(x + b * 32, q + b * 32, sum4 + b * 8, d + b, s + b);
        } else {
            float rest[32] = { 0 };
            if (b * 32 < n)
                memcpy(rest, x + b * 32, (n - b * 32) * sizeof *rest);
            quantize_block(rest, q + b * 32, sum4 + b * 8, d + b, s + b);
        }
    }
}

void terse_dot_init_avx2(terse_dot_kernels *k)
{
    *k = (terse_dot_kernels){ .tier = "avx2",
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
