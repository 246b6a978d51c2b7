/* simd/dot_avx512.c: dot products with VNNI.
 *
 * A step is 256 values (8 blocks) of two rows. The codes of one row become four registers of unsigned bytes,
 * its 128-bit lane L holding 16 values of one block: c[0] and c[1] the first and last half of the even block
 * 2L, c[2] and c[3] those of the odd block 2L+1. Activations are brought into the same order. So vpdpbusd
 * leaves four partial sums per block, and 4-lane shuffles alone reduce two rows to one register of 16 block
 * sums in pair order: lane L = [row0 block 2L, row0 block 2L+1, row1 block 2L, row1 block 2L+1]. Scales are
 * fetched in that order too, and the accumulators stay in it until the row ends: nothing is done per block. */
#include "simd/dot_avx512.h"

enum {
    STEP_BLOCKS = 8,
    ROWS = 8,   /* rows that share a step's activations */
    TOKENS = 4, /* that share its codes, at most */
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

INLINE void load_acts(int path, step_acts *a, const terse_acts *x, int32_t t, int32_t step)
{
    const int8_t *q = x->q + (size_t)t * (size_t)x->n_pad + (size_t)step * 256;
    const size_t b = (size_t)t * (size_t)(x->n_pad / TERSE_ACT_BLOCK) + (size_t)step * STEP_BLOCKS;
    transpose_lanes(a->q, _mm512_load_si512(q), _mm512_load_si512(q + 64), _mm512_load_si512(q + 128),
                    _mm512_load_si512(q + 192));
    a->d = pair_order(x->d + b);
    if (path_has(path, HAS_MIN))
        a->s = pair_order(x->s + b);
    const __m512i zero = _mm512_setzero_si512(), offset = _mm512_set1_epi8((char)offset_of(path));
    for (int i = 0; i < 4; i++)
        a->init[i] = zero;
    if (path_has(path, HAS_SUB) && offset_of(path)) {
        for (int i = 0; i < 4; i++)
            a->init[i] = _mm512_sub_epi32(zero, _mm512_dpbusd_epi32(zero, offset, a->q[i]));
    } else if (offset_of(path)) {
        for (int i = 0; i < 4; i += 2)
            a->init[i] = _mm512_sub_epi32(
                zero, _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(zero, offset, a->q[i]), offset, a->q[i + 1]));
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

/* 16 halves: word k of each of the 8 blocks of n <= 10 words of two rows. Two loads per row see four blocks
 * each; for n = 9 they are those that the codes are in. */
INLINE __m512i near_halves(const uint8_t *w0, const uint8_t *w1, int n, int k)
{
    const int second = 7 * n + k < 64 ? 32 : 4 * n, last = 32 - second + 4 * n + k;
    const __m512i idx = _mm512_castsi256_si512(
        _mm256_set_epi16(last + 3 * n, last + 2 * n, last + 3 * n, last + 2 * n, last + n, last, last + n, last,
                         3 * n + k, 2 * n + k, 3 * n + k, 2 * n + k, n + k, k, n + k, k));
    const __m512i a = _mm512_maskz_permutex2var_epi16(0x3333, _mm512_loadu_si512(w0), idx,
                                                      _mm512_loadu_si512(w0 + 2 * second));
    const __m512i b = _mm512_maskz_permutex2var_epi16(0xcccc, _mm512_loadu_si512(w1), idx,
                                                      _mm512_loadu_si512(w1 + 2 * second));
    return _mm512_or_si512(a, b);
}

/* The same for blocks of 11 to 17 words: four loads per row, from blocks 0, 2, 4 and 6, see two each. The last
 * is moved back so that it does not reach past the step. */
INLINE __m512i far_halves(const uint8_t *w0, const uint8_t *w1, int n, int k)
{
    const size_t two = 4 * (size_t)n, last = 3 * two + 64 <= 4 * two ? 3 * two : 4 * two - 64;
    const int back = (int)(3 * two - last) / 2;
    const __m256i idx = _mm256_set_epi16(32 + n + k, 32 + k, 32 + n + k, 32 + k, n + k, k, n + k, k, 32 + n + k,
                                         32 + k, 32 + n + k, 32 + k, n + k, k, n + k, k);
    const __m512i front = _mm512_castsi256_si512(idx);
    const __m512i rear = _mm512_castsi256_si512(
        _mm256_add_epi16(idx, _mm256_setr_epi16(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, (short)back, (short)back,
                                                (short)back, (short)back)));
    const __m512i a =
        _mm512_maskz_permutex2var_epi16(0x0033, _mm512_loadu_si512(w0), front, _mm512_loadu_si512(w0 + two));
    const __m512i b =
        _mm512_maskz_permutex2var_epi16(0x00cc, _mm512_loadu_si512(w1), front, _mm512_loadu_si512(w1 + two));
    const __m512i c = _mm512_maskz_permutex2var_epi16(0x3300, _mm512_loadu_si512(w0 + 2 * two), rear,
                                                      _mm512_loadu_si512(w0 + last));
    const __m512i d = _mm512_maskz_permutex2var_epi16(0xcc00, _mm512_loadu_si512(w1 + 2 * two), rear,
                                                      _mm512_loadu_si512(w1 + last));
    return _mm512_or_si512(_mm512_ternarylogic_epi32(a, b, c, 0xfe), d);
}

/* Word 0 is d; with a minimum, word 1 is it, with the other sign. */
INLINE scales scales_of_blocks(int path, const uint8_t *w0, const uint8_t *w1)
{
    const int n = (int)dot_formats[path].size / 2;
    scales s = { .d = halves_to_ps(n <= 10 ? near_halves(w0, w1, n, 0) : far_halves(w0, w1, n, 0)) };
    if (path_has(path, HAS_MIN)) {
        const __m512i m = n <= 10 ? near_halves(w0, w1, n, 1) : far_halves(w0, w1, n, 1);
        s.min = _mm512_xor_ps(halves_to_ps(m), _mm512_set1_ps(-0.0f));
    }
    return s;
}

/* Bytes 17 b: in 16-bit words, the low or the high half of word 17 b / 2. */
INLINE scales scales_of_mxfp4(const uint8_t *w0, const uint8_t *w1)
{
    const __m512i idx =
        _mm512_castsi256_si512(_mm256_set_epi16(59, 51, 59, 51, 42, 34, 42, 34, 25, 17, 25, 17, 8, 0, 8, 0));
    const __m512i a =
        _mm512_maskz_permutex2var_epi16(0x3333, _mm512_loadu_si512(w0), idx, _mm512_loadu_si512(w0 + 64));
    const __m512i b =
        _mm512_maskz_permutex2var_epi16(0xcccc, _mm512_loadu_si512(w1), idx, _mm512_loadu_si512(w1 + 64));
    const __m256i word = _mm512_castsi512_si256(_mm512_or_si512(a, b));
    const __m256i byte =
        _mm256_and_si256(_mm256_srlv_epi16(word, _mm256_set1_epi32(0x00080000)), _mm256_set1_epi16(255));
    const __m512i e = _mm512_cvtepu16_epi32(byte), one = _mm512_set1_epi32(1);
    const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, one), 23);
    return (scales){ .d = _mm512_castsi512_ps(_mm512_mask_sllv_epi32(normal, _mm512_cmple_epi32_mask(e, one),
                                                                     _mm512_set1_epi32(0x00200000), e)) };
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

/* Two halves for each of two rows: first is d, last, if there is one, dmin. */
INLINE __m512 halves_of_rows(uint16_t h0, uint16_t h1)
{
    const __m128i h = _mm_cvtsi32_si128((int)((uint32_t)h1 << 16 | h0));
    return _mm512_permute_ps(_mm512_broadcast_f32x4(_mm_cvtph_ps(h)), 0x50);
}

/* As scales_iq4_xs, in pair order: 4 and 2 bits of each block, less 32. */
INLINE scales scales_of_iq4_xs(const block_iq4_xs *w0, const block_iq4_xs *w1)
{
    const __m512i block = _mm512_set_epi32(7, 6, 7, 6, 5, 4, 5, 4, 3, 2, 3, 2, 1, 0, 1, 0);
    const __m512i two = _mm512_slli_epi32(block, 1), four = _mm512_slli_epi32(block, 2);
    const uint32_t h0 = w0->scales_h[0] | (uint32_t)w0->scales_h[1] << 8,
                   h1 = w1->scales_h[0] | (uint32_t)w1->scales_h[1] << 8;
    const __m512i low =
        _mm512_mask_set1_epi32(_mm512_set1_epi32((int)word32(w0->scales_l)), 0xcccc, (int)word32(w1->scales_l));
    const __m512i high = _mm512_mask_set1_epi32(_mm512_set1_epi32((int)h0), 0xcccc, (int)h1);
    const __m512i l = _mm512_and_si512(_mm512_srlv_epi32(low, four), _mm512_set1_epi32(15));
    const __m512i h = _mm512_and_si512(_mm512_srlv_epi32(high, two), _mm512_set1_epi32(3));
    const __m512i sc = _mm512_sub_epi32(_mm512_or_si512(l, _mm512_slli_epi32(h, 4)), _mm512_set1_epi32(32));
    return (scales){ .d = _mm512_mul_ps(halves_of_rows(w0->d, w1->d), _mm512_cvtepi32_ps(sc)) };
}

/* Any type of the unpacked paths; its sub-scales go to where those of the others are. */
INLINE scales scales_of_step(int path, codes *c0, codes *c1, const step_scales *s0, const step_scales *s1)
{
    if (path_has(path, HAS_SUB)) {
        spread_sub(c0, _mm_loadu_si128((const void *)s0->sub));
        spread_sub(c1, _mm_loadu_si128((const void *)s1->sub));
    }
    const __m512i idx = _mm512_set_epi64(11, 3, 10, 2, 9, 1, 8, 0);
    const __m512d d0 = _mm512_castps_pd(_mm512_castps256_ps512(_mm256_loadu_ps(s0->d)));
    const __m512d d1 = _mm512_castps_pd(_mm512_castps256_ps512(_mm256_loadu_ps(s1->d)));
    return (scales){ .d = _mm512_castpd_ps(_mm512_permutex2var_pd(d0, idx, d1)) };
}

INLINE scales scales_of(int path, const uint8_t *w0, const uint8_t *w1)
{
    const block_q2_k *a2 = (const void *)w0, *b2 = (const void *)w1;
    switch (path) {
    case TERSE_DOT_Q4_K:
    case TERSE_DOT_Q5_K:
        return scales_of_k(w0, w1);
    case TERSE_DOT_Q6_K:
        return (scales){ .d = halves_of_rows(((const block_q6_k *)(const void *)w0)->d,
                                             ((const block_q6_k *)(const void *)w1)->d) };
    case TERSE_DOT_Q3_K:
        return (scales){ .d = halves_of_rows(((const block_q3_k *)(const void *)w0)->d,
                                             ((const block_q3_k *)(const void *)w1)->d) };
    case TERSE_DOT_TQ2_0:
        return (scales){ .d = halves_of_rows(((const block_tq2_0 *)(const void *)w0)->d,
                                             ((const block_tq2_0 *)(const void *)w1)->d) };
    case TERSE_DOT_Q2_K:
        return (scales){ .d = halves_of_rows(a2->d, b2->d), .min = halves_of_rows(a2->dmin, b2->dmin) };
    case TERSE_DOT_IQ4_XS:
        return scales_of_iq4_xs((const void *)w0, (const void *)w1);
    case TERSE_DOT_MXFP4:
        return scales_of_mxfp4(w0, w1);
    default:
        return scales_of_blocks(path, w0, w1);
    }
}

/* ---- one step ---- */

/* One row: the sums of lane L as two of the even block and two of the odd one; pair_sums adds them.
 * From sums of 8 that fit int16, as 8*31*127 does: even even odd odd. */
INLINE __m512i small_sums(__m512i even, __m512i odd)
{
    return _mm512_madd_epi16(_mm512_packs_epi32(even, odd), _mm512_set1_epi16(1));
}

INLINE __m512i products(__m512i init, const __m512i c[2], const __m512i q[2])
{
    return _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(init, c[0], q[0]), c[1], q[1]);
}

INLINE __m512i row_sums(int path, const codes *w, const step_acts *a)
{
    __m512i even, odd;
    if (path_has(path, HAS_SUB)) { /* 16 values share a sub-scale. |sum of 4| <= 4*62*127 fits int16. */
        __m512i z[4];
        for (int i = 0; i < 4; i++)
            z[i] = _mm512_dpbusd_epi32(a->init[i], w->c[i], a->q[i]);
        even = _mm512_madd_epi16(_mm512_packs_epi32(z[0], z[1]), w->sc[0]);
        odd = _mm512_madd_epi16(_mm512_packs_epi32(z[2], z[3]), w->sc[1]);
    } else {
        even = products(a->init[0], w->c, a->q);
        odd = products(a->init[2], w->c + 2, a->q + 2);
        if (!is_wide(path))
            return small_sums(even, odd);
    }
    return _mm512_add_epi32(_mm512_unpacklo_epi32(even, odd), _mm512_unpackhi_epi32(even, odd));
}

/* Two rows, each even even odd odd: 16 block sums in pair order. */
INLINE __m512i small_pair_sums(__m512i r0, __m512i r1)
{
    const __m512 a = _mm512_castsi512_ps(r0), b = _mm512_castsi512_ps(r1);
    return _mm512_add_epi32(_mm512_castps_si512(_mm512_shuffle_ps(a, b, 0x88)),
                            _mm512_castps_si512(_mm512_shuffle_ps(a, b, 0xdd)));
}

INLINE __m512i pair_sums(int path, __m512i r0, __m512i r1)
{
    if (path_has(path, HAS_SUB) || is_wide(path)) /* even odd even odd */
        return _mm512_add_epi32(_mm512_unpacklo_epi64(r0, r1), _mm512_unpackhi_epi64(r0, r1));
    return small_pair_sums(r0, r1);
}

/* Q2_K: the minimum of each value times its activation. */
INLINE __m512i low_sums(const uint8_t *w, const step_acts *a)
{
    const __m128i sub = _mm_loadu_si128((const void *)((const block_q2_k *)(const void *)w)->sub);
    const __m512i zero = _mm512_setzero_si512();
    __m512i m[4];
    spread_low(m, _mm_and_si128(_mm_srli_epi16(sub, 4), _mm_set1_epi8(15)));
    return small_sums(products(zero, m, a->q), products(zero, m + 2, a->q + 2));
}

/* Accumulators of two rows times one token, in pair order. */
typedef struct {
    __m512 acc, low;
} sums;

INLINE void add_step(int path, sums *s, const codes *w0, const codes *w1, const scales *sc, const step_acts *a)
{
    const __m512i isum = pair_sums(path, row_sums(path, w0, a), row_sums(path, w1, a));
    s->acc = _mm512_fmadd_ps(_mm512_mul_ps(sc->d, a->d), _mm512_cvtepi32_ps(isum), s->acc);
    if (path_has(path, HAS_MIN))
        s->low = _mm512_fmadd_ps(sc->min, a->s, s->low);
}

INLINE void add_low(sums *s, const uint8_t *w0, const uint8_t *w1, const scales *sc, const step_acts *a)
{
    const __m512i imin = small_pair_sums(low_sums(w0, a), low_sums(w1, a));
    s->low = _mm512_fmadd_ps(_mm512_mul_ps(sc->min, a->d), _mm512_cvtepi32_ps(imin), s->low);
}

/* The results of both rows. */
INLINE void finish(int path, const sums *s, float y[2])
{
    const __m512i idx = _mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0);
    const __m512 acc = _mm512_castpd_ps(_mm512_permutexvar_pd(idx, _mm512_castps_pd(s->acc)));
    y[0] = fold8(_mm512_castps512_ps256(acc));
    y[1] = fold8(_mm512_extractf32x8_ps(acc, 1));
    if (path_has(path, HAS_MIN | HAS_LOW)) {
        const __m512 low = _mm512_castpd_ps(_mm512_permutexvar_pd(idx, _mm512_castps_pd(s->low)));
        y[0] -= fold8(_mm512_castps512_ps256(low));
        y[1] -= fold8(_mm512_extractf32x8_ps(low, 1));
    }
    y[0] += 0.0f; /* no -0 */
    y[1] += 0.0f;
}

/* ---- rows and tokens ---- */

/* n_row <= R rows from w times T tokens from t. Rows past n_row are computed as copies of the last and dropped.
 */
INLINE void tile(int path, terse_dot_type type, int R, int T, float *y, size_t y_stride, const uint8_t *w,
                 size_t row_size, int32_t n_row, const terse_acts *x, int32_t t)
{
    const uint8_t *row[ROWS];
    uint8_t tail[ROWS][STEP_SIZE_MAX];
    codes raw[ROWS]; /* of the unpacked paths */
    step_scales raw_scales[ROWS];
    sums s[ROWS / 2][TOKENS];
    const size_t size = step_size(type), ahead = ahead_of(row_size, R);
    const int32_t n_block = x->n / TERSE_ACT_BLOCK, n_step = (n_block + STEP_BLOCKS - 1) / STEP_BLOCKS;
    for (int r = 0; r < R; r++)
        row[r] = w + (size_t)(r < n_row ? r : n_row - 1) * row_size;
    for (int p = 0; p < R / 2; p++)
        for (int i = 0; i < T; i++)
            s[p][i] = (sums){ _mm512_setzero_ps(), _mm512_setzero_ps() };
    size_t at = 0; /* of the step in a row: pointers that advance are kept in memory by some compilers */
    for (int32_t k = 0; k < n_step; k++, at += size) {
        step_acts a[TOKENS];
        for (int i = 0; i < T; i++)
            load_acts(path, &a[i], x, t + i, k);
        if ((k + 1) * STEP_BLOCKS > n_block) {
            for (int r = 0; r < R; r++) {
                copy_tail(type, tail[r], row[r] + at, n_block - k * STEP_BLOCKS);
                row[r] = tail[r];
            }
            at = 0;
        }
        if (path >= UNPACKED)
            terse_unpack_avx512[type](raw, raw_scales, row, at, R);
#pragma GCC unroll 4
        for (int p = 0; p < R / 2; p++) {
            const uint8_t *w0 = row[2 * p] + at, *w1 = row[2 * p + 1] + at;
            if (t == 0) {
                prefetch_bytes(w0 + ahead, size);
                prefetch_bytes(w1 + ahead, size);
            }
            codes c0 = path < UNPACKED ? codes_of(path, w0) : raw[2 * p];
            codes c1 = path < UNPACKED ? codes_of(path, w1) : raw[2 * p + 1];
            const scales sc = path < UNPACKED
                                  ? scales_of(path, w0, w1)
                                  : scales_of_step(path, &c0, &c1, &raw_scales[2 * p], &raw_scales[2 * p + 1]);
            for (int i = 0; i < T; i++) {
                add_step(path, &s[p][i], &c0, &c1, &sc, &a[i]);
                if (path_has(path, HAS_LOW))
                    add_low(&s[p][i], w0, w1, &sc, &a[i]);
            }
        }
    }
    for (int p = 0; p < R / 2; p++)
        for (int i = 0; i < T; i++) {
            float pair[2];
            finish(path, &s[p][i], pair);
            for (int r = 0; r < 2 && 2 * p + r < n_row; r++)
                y[(size_t)(t + i) * y_stride + (size_t)(2 * p + r)] = pair[r];
        }
}

/* Every number of tokens is a kernel to compile: the rare types have two. */
INLINE bool is_common(int path)
{
    switch (path) {
    case TERSE_DOT_Q8_0:
    case TERSE_DOT_Q4_0:
    case TERSE_DOT_Q4_K:
    case TERSE_DOT_Q5_K:
    case TERSE_DOT_Q6_K:
    case TERSE_DOT_IQ4_NL:
    case TERSE_DOT_IQ4_XS:
    case TERSE_DOT_MXFP4:
        return true;
    default:
        return false;
    }
}

INLINE void rows_of(int path, const product *j)
{
    const terse_dot_type type =
        path < UNPACKED ? (terse_dot_type)path : j->type; /* a constant where it can be */
    const int32_t n_token = j->x->n_token;
    for (int32_t r = 0; r < j->n_row; r += ROWS) {
        const uint8_t *p = j->w + (size_t)r * j->row_size;
        int32_t t = 0;
        for (; is_common(path) && t + 4 <= n_token; t += 4)
            tile(path, type, ROWS, 4, j->y + r, j->y_stride, p, j->row_size, j->n_row - r, j->x, t);
        for (; t + 2 <= n_token; t += 2)
            tile(path, type, ROWS, 2, j->y + r, j->y_stride, p, j->row_size, j->n_row - r, j->x, t);
        for (; t < n_token; t++)
            tile(path, type, ROWS, 1, j->y + r, j->y_stride, p, j->row_size, j->n_row - r, j->x, t);
    }
}

/* One function for each path: all in one would take a compiler several times as long. */
typedef void path_rows(const product *j);

#define PATH_ROWS(name, path)                                                                                  \
    static void rows_##name(const product *j)                                                                  \
    {                                                                                                          \
        rows_of(path, j);                                                                                      \
    }
DOT_PATHS(PATH_ROWS)

#define PATH_ENTRY(name, path) [path] = rows_##name,
static path_rows *const few[] = { DOT_PATHS(PATH_ENTRY) };

static void rows(terse_dot_type type, float *y, size_t y_stride, const void *w, size_t row_size, int32_t n_row,
                 const terse_acts *x)
{
    const product j = { type, y, y_stride, w, row_size, n_row, x };
    if (!dot_formats[type].len)
        terse_dot_floats_avx512(type, y, y_stride, w, row_size, n_row, x);
    else if (x->n_token > FEW_TOKENS && terse_dot_some_avx512(&j))
        return;
    else if (x->n_token >= MANY_TOKENS)
        terse_dot_many_avx512(type, y, y_stride, w, row_size, n_row, x);
    else
        few[path_of(type)](&j);
}

void terse_dot_init_avx512(terse_dot_kernels *k)
{
    *k = (terse_dot_kernels){ .tier = "avx512", .quantize = terse_quantize_avx512, .rows = rows };
}
