/* simd/dot_avx2.c: dot products with byte and word multiply-adds.
 *
 * A step is 256 values (8 blocks) in the order of dot_avx2.h. Weights and activations are brought into it as
 * they are loaded; horizontal adds within lanes then give the 8 block sums in their natural order. No sum
 * saturates: the bounds are told where they are used. */
#include "simd/dot_avx2.h"

enum { ROWS = 4 }; /* rows that share a step's activations */

/* One step of one token. */
typedef struct {
    __m256i q[8];
    __m256i offset[8]; /* HAS_SUB: offset * sums of two neighbouring q, int16 */
    __m256i sum;       /* the others: offset * sum of q per block */
    __m256 d, s;
} step_acts;

/* Blocks i and i+4 of unsigned codes as 8 int16 each: |sum of 4| <= 4*31*127 fits. */
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

/* Codes less their offset times sub-scale k of each lane. |sum of 2| <= 2*126*127 fits int16. */
INLINE __m256i scaled_products(const codes *w, const step_acts *a, int k)
{
    const __m256i pick = _mm256_set1_epi16((short)((2 * k + 1) << 8 | 2 * k));
    const __m256i pairs = _mm256_sub_epi16(_mm256_maddubs_epi16(w->q[k], a->q[k]), a->offset[k]);
    return _mm256_madd_epi16(pairs, _mm256_shuffle_epi8(w->sub, pick));
}

INLINE __m256i block_sums(int path, const codes *w, const step_acts *a)
{
    __m256i v[4];
    for (int i = 0; i < 4; i++) {
        const int j = 2 * i;
        if (is_signed(path))
            v[i] =
                _mm256_add_epi32(signed_products(w->q[j], a->q[j]), signed_products(w->q[j + 1], a->q[j + 1]));
        else if (path_has(path, HAS_SUB))
            v[i] = _mm256_add_epi32(scaled_products(w, a, j), scaled_products(w, a, j + 1));
        else
            v[i] = words_of_pair(w->q[j], w->q[j + 1], a->q[j], a->q[j + 1]);
    }
    if (is_signed(path) || path_has(path, HAS_SUB))
        return sums_of_ints(v);
    return offset_of(path) ? _mm256_sub_epi32(sums_of_words(v), a->sum) : sums_of_words(v);
}

/* Q2_K: the minimum of each value times its activation. */
INLINE __m256i low_sums(const block_q2_k *w, const step_acts *a)
{
    const __m128i low =
        _mm_and_si128(_mm_srli_epi16(_mm_loadu_si128((const void *)w->sub), 4), _mm_set1_epi8(15));
    const __m256i both = two_lanes_of(low, _mm_unpackhi_epi64(low, low));
    __m256i v[4];
    for (int i = 0; i < 4; i++)
        v[i] = words_of_pair(_mm256_shuffle_epi8(both, _mm256_set1_epi8((char)(2 * i))),
                             _mm256_shuffle_epi8(both, _mm256_set1_epi8((char)(2 * i + 1))), a->q[2 * i],
                             a->q[2 * i + 1]);
    return sums_of_words(v);
}

INLINE void load_acts(int path, step_acts *a, const terse_acts *x, int32_t t, int32_t step)
{
    const int8_t *q = x->q + (size_t)t * (size_t)x->n_pad + (size_t)step * 256;
    const size_t b = (size_t)t * (size_t)(x->n_pad / TERSE_ACT_BLOCK) + (size_t)step * 8;
    const __m256i offset = _mm256_set1_epi8((char)offset_of(path));
    a->d = _mm256_load_ps(x->d + b);
    a->s = _mm256_load_ps(x->s + b);
    for (int i = 0; i < 8; i++) {
        a->q[i] = two_lanes(q + 16 * i, q + 128 + 16 * i);
        if (path_has(path, HAS_SUB))
            a->offset[i] = _mm256_maddubs_epi16(offset, a->q[i]);
    }
    if (offset_of(path) && !path_has(path, HAS_SUB)) {
        __m256i v[4];
        for (int i = 0; i < 4; i++)
            v[i] = words_of_pair(offset, offset, a->q[2 * i], a->q[2 * i + 1]);
        a->sum = sums_of_words(v);
    }
}

/* Accumulators of one row times one token. */
typedef struct {
    __m256 acc, low;
} sums;

INLINE void add_step(int path, sums *s, const codes *w, const scales *sc, const step_acts *a)
{
    const __m256 isum = _mm256_cvtepi32_ps(block_sums(path, w, a));
    s->acc = _mm256_fmadd_ps(_mm256_mul_ps(sc->d, a->d), isum, s->acc);
    if (path_has(path, HAS_MIN))
        s->low = _mm256_fmadd_ps(sc->min, a->s, s->low);
}

INLINE void add_low(sums *s, const uint8_t *w, const scales *sc, const step_acts *a)
{
    const __m256 imin = _mm256_cvtepi32_ps(low_sums((const void *)w, a));
    s->low = _mm256_fmadd_ps(_mm256_mul_ps(sc->min, a->d), imin, s->low);
}

/* ---- rows and tokens ---- */

enum { TOKENS = MANY_TOKENS - 1 }; /* that share a step's unpacked weights */

/* The first min(n_row, ROWS) rows from w times T tokens from t. Rows past n_row are computed as copies of the
 * last and dropped. */
INLINE void tile(int path, terse_dot_type type, int T, float *y, size_t y_stride, const uint8_t *w,
                 size_t row_size, int32_t n_row, const terse_acts *x, int32_t t)
{
    const uint8_t *row[ROWS];
    uint8_t tail[ROWS][STEP_SIZE_MAX];
    codes raw[ROWS]; /* of the unpacked paths */
    step_scales raw_scales[ROWS];
    sums s[ROWS][TOKENS];
    /* What to prefetch: the rows of the next tile, or nothing new. */
    const size_t size = step_size(type), ahead = ahead_of(row_size, ROWS);
    const int32_t n_block = x->n / TERSE_ACT_BLOCK, n_step = (n_block + 7) / 8;
    for (int r = 0; r < ROWS; r++) {
        row[r] = w + (size_t)(r < n_row ? r : n_row - 1) * row_size;
        for (int i = 0; i < T; i++)
            s[r][i] = (sums){ _mm256_setzero_ps(), _mm256_setzero_ps() };
    }
    for (int32_t k = 0; k < n_step; k++) {
        step_acts a[TOKENS];
        for (int i = 0; i < T; i++)
            load_acts(path, &a[i], x, t + i, k);
        if (path >= UNPACKED)
            terse_unpack_avx2[type](raw, raw_scales, row, 0, ROWS);
        for (int r = 0; r < ROWS; r++) {
            if (t == 0)
                prefetch_bytes(row[r] + ahead, size);
            if ((k + 1) * 8 > n_block) {
                copy_tail(type, tail[r], row[r], n_block - k * 8);
                row[r] = tail[r];
            }
            codes c = path < UNPACKED ? codes_of(path, row[r]) : raw[r];
            const scales sc =
                path < UNPACKED ? scales_of(path, row[r]) : scales_of_step(path, &c, &raw_scales[r]);
            for (int i = 0; i < T; i++) {
                add_step(path, &s[r][i], &c, &sc, &a[i]);
                if (path_has(path, HAS_LOW))
                    add_low(&s[r][i], row[r], &sc, &a[i]);
            }
            row[r] += size;
        }
    }
    for (int r = 0; r < ROWS && r < n_row; r++)
        for (int i = 0; i < T; i++) {
            const float acc = fold8(s[r][i].acc),
                        low = path_has(path, HAS_MIN | HAS_LOW) ? fold8(s[r][i].low) : 0.0f;
            y[(size_t)(t + i) * y_stride + (size_t)r] = acc - low + 0.0f; /* no -0 */
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
        for (; t + TOKENS <= n_token; t += TOKENS)
            tile(path, type, TOKENS, j->y + r, j->y_stride, p, j->row_size, j->n_row - r, j->x, t);
        for (; t < n_token; t++)
            tile(path, type, 1, j->y + r, j->y_stride, p, j->row_size, j->n_row - r, j->x, t);
    }
}

/* One function for each path: all in one would take a compiler several times as long. */
typedef void path_rows(const product *j);

#define PATH_ROWS(name, path)                                                                                  \
    static void rows_##name(const product *j)                                                                  \
    {                                                                                                          \
        rows_of(path, j);                                                                                      \
    }
AVX2_PATHS(PATH_ROWS)

#define PATH_ENTRY(name, path) [path] = rows_##name,
static path_rows *const few[] = { AVX2_PATHS(PATH_ENTRY) };

static void rows(terse_dot_type type, float *y, size_t y_stride, const void *w, size_t row_size, int32_t n_row,
                 const terse_acts *x)
{
    const product j = { type, y, y_stride, w, row_size, n_row, x };
    if (!dot_formats[type].len)
        terse_dot_floats_avx2(type, y, y_stride, w, row_size, n_row, x);
    else if (x->n_token >= MANY_TOKENS)
        terse_dot_many_avx2(&j);
    else
        few[avx2_path_of(type)](&j);
}

void terse_dot_init_avx2(terse_dot_kernels *k)
{
    *k = (terse_dot_kernels){ .tier = "avx2", .quantize = terse_quantize_avx2, .rows = rows };
}
