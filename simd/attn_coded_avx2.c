/* simd/attn_coded_avx2.c: page attention over q8 and q4. Integer sums are exact, so they may be formed as suits
 * the instructions: products of bytes where no pair can overflow 16 bits, of 16-bit integers elsewhere. */
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "compile this file with the avx2 tier's flags"
#endif

#include "simd/attn_avx2.h"

#include <math.h>
#include <string.h>

enum { P = TERSE_PAGE, B = TERSE_KV_BLOCK, Q8 = TERSE_PAGE_Q8, Q4 = TERSE_PAGE_Q4 };

/* Bytes of a block's codes of n channels. */
INLINE size_t code_size(int type, int32_t n)
{
    return (size_t)n * P / (type == Q8 ? 1 : 2);
}

INLINE __m256i low_nibbles(__m256i x)
{
    return _mm256_and_si256(x, _mm256_set1_epi8(15));
}

INLINE __m256i high_nibbles(__m256i x)
{
    return low_nibbles(_mm256_srli_epi16(x, 4));
}

/* ---- score ---- */

enum { SCORE_ROWS = 4 };

/* The pieces of a block, from ... to - 1 in at; where that is NULL the numbers are their own. */
typedef struct {
    const uint16_t *at;
    int32_t from, to;
} span;

INLINE size_t piece_of(span x, int32_t p)
{
    return x.at ? x.at[p] : (size_t)p;
}

/* 8 tokens of the pieces. Codes are -127..127, so |k| * (q with k's sign) stays in pairs of 16 bits. */
INLINE void score_block_q8(__m256i *i, const char *q, size_t q_size, const uint8_t *code, span some,
                           const int n_row)
{
    for (int r = 0; r < n_row; r++)
        i[r] = _mm256_setzero_si256();
    for (int32_t p = some.from; p < some.to; p++) {
        const size_t d = piece_of(some, p) * 4;
        const __m256i u = _mm256_loadu_si256((const __m256i *)(code + d * P));
        const __m256i k = _mm256_xor_si256(u, _mm256_set1_epi8((char)-128)), size = _mm256_abs_epi8(k);
        for (int r = 0; r < n_row; r++) {
            const __m256i x = _mm256_set1_epi32(*(const int32_t *)(q + (size_t)r * q_size + d));
            const __m256i xy = _mm256_maddubs_epi16(size, _mm256_sign_epi8(x, k));
            i[r] = _mm256_add_epi32(i[r], _mm256_madd_epi16(xy, _mm256_set1_epi16(1)));
        }
    }
}

/* Pairs are at most 2 * 15 * 127 here: eight of them fit into 16 bits. */
INLINE void score_block_q4(__m256i *i, const char *q, size_t q_size, const uint8_t *code, const int32_t *offset,
                           span some, const int n_row)
{
    for (int r = 0; r < n_row; r++)
        i[r] = _mm256_setzero_si256();
    for (int32_t p = some.from; p < some.to; p++) {
        const size_t d = piece_of(some, p) * 8;
        const __m256i k = _mm256_loadu_si256((const __m256i *)(code + d / 2 * P));
        const __m256i k0 = low_nibbles(k), k1 = high_nibbles(k);
        for (int r = 0; r < n_row; r++) {
            const int32_t *x = (const int32_t *)(q + (size_t)r * q_size + d);
            const __m256i xy = _mm256_add_epi16(_mm256_maddubs_epi16(k0, _mm256_set1_epi32(x[0])),
                                                _mm256_maddubs_epi16(k1, _mm256_set1_epi32(x[1])));
            i[r] = _mm256_add_epi16(i[r], xy);
        }
    }
    for (int r = 0; r < n_row; r++)
        i[r] = _mm256_add_epi32(_mm256_madd_epi16(i[r], _mm256_set1_epi16(1)),
                                _mm256_set1_epi32(offset[(size_t)r * q_size / sizeof *offset]));
}

/* n_row rows by 8 tokens. code and scale: those of the first token. some.at NULL: all channels. */
INLINE void score_tile(int type, float *s, const char *q, const uint8_t *code, const uint16_t *scale,
                       int32_t dim, terse_channels some, const int n_row)
{
    const size_t q_size = terse_query_size(TERSE_PAGE_Q8, dim);
    const int32_t per_block = type == Q8 ? 8 : 4;
    span now = { .at = some.at };
    __m256 sum[SCORE_ROWS];
    for (int r = 0; r < n_row; r++)
        sum[r] = _mm256_setzero_ps();
    for (int32_t b = 0; b < dim / B; b++, scale += P) {
        const char *x = q + dim + (size_t)b * 4; /* scales, offsets */
        __m256i i[SCORE_ROWS];
        now.from = now.to;
        if (!some.at)
            now.to = (b + 1) * per_block;
        while (some.at && now.to < some.n && some.at[now.to] < (b + 1) * per_block)
            now.to++;
        if (type == Q8)
            score_block_q8(i, q, q_size, code, now, n_row);
        else
            score_block_q4(i, q, q_size, code, (const int32_t *)(x + dim / B * 4), now, n_row);
        const __m256 dk = load(TERSE_PAGE_F16, scale, 0);
        for (int r = 0; r < n_row; r++) {
            const __m256 dq = _mm256_set1_ps(*(const float *)(x + (size_t)r * q_size));
            sum[r] = _mm256_fmadd_ps(_mm256_mul_ps(dq, dk), _mm256_cvtepi32_ps(i[r]), sum[r]);
        }
    }
    for (int r = 0; r < n_row; r++)
        _mm256_storeu_ps(s + r * P, sum[r]);
}

INLINE void score(int type, float *s, const char *q, const uint8_t *code, int32_t n_row, int32_t dim,
                  terse_channels some)
{
    const size_t size = terse_query_size(TERSE_PAGE_Q8, dim);
    const uint16_t *scale = (const uint16_t *)(code + code_size(type, dim));
    for (; n_row >= 4; n_row -= 4, s += 4 * P, q += 4 * size)
        for (int32_t t = 0; t < P; t += 8)
            score_tile(type, s + t, q, code + (size_t)t * 4, scale + t, dim, some, 4);
    for (; n_row > 0; n_row--, s += P, q += size)
        for (int32_t t = 0; t < P; t += 8)
            score_tile(type, s + t, q, code + (size_t)t * 4, scale + t, dim, some, 1);
}

static const terse_channels all = { .at = NULL, .n = 0 };

static void score_q8(float *s, const void *q, const void *k, int32_t n_row, int32_t dim, const void *ahead)
{
    fetch(ahead, TERSE_PAGE_Q8, dim);
    score(Q8, s, q, k, n_row, dim, all);
}

static void score_q4(float *s, const void *q, const void *k, int32_t n_row, int32_t dim, const void *ahead)
{
    fetch(ahead, TERSE_PAGE_Q4, dim);
    score(Q4, s, q, k, n_row, dim, all);
}

INLINE void score_some(int type, float *s, const void *q, const void *k, terse_channels some, const float *mean,
                       int32_t n_row, int32_t dim, const void *ahead, terse_channels soon)
{
    if (ahead)
        terse_channels_fetch((terse_page_type)type, ahead, dim, soon);
    score(type, s, q, k, n_row, dim, some);
    shift(s, mean, n_row);
}

static void some_q8(float *s, const void *q, const void *k, terse_channels some, const float *mean,
                    int32_t n_row, int32_t dim, const void *ahead, terse_channels soon)
{
    score_some(Q8, s, q, k, some, mean, n_row, dim, ahead, soon);
}

static void some_q4(float *s, const void *q, const void *k, terse_channels some, const float *mean,
                    int32_t n_row, int32_t dim, const void *ahead, terse_channels soon)
{
    score_some(Q4, s, q, k, some, mean, n_row, dim, ahead, soon);
}

/* ---- mix ---- */

/* Rows that are mixed together, 32 (q4) or 16 (q8) channels at a time: 8 accumulators. */
enum { MIX_ROWS = 2 };

/* Weights times value scales of one row as integers; returns what one unit is worth.
 *   q8: words; q4: bytes, and in *less 8 * their sum, what the 8 in each value's code adds */
INLINE float quantize(int type, void *code, int32_t *less, const float *w, const uint16_t *dv, uint32_t tokens)
{
    const float most = type == Q8 ? 32767.0f : 127.0f;
    __m256 x[4], top8 = _mm256_setzero_ps(), nan = _mm256_setzero_ps();
    for (int j = 0; j < 4; j++) {
        const __m256 p = _mm256_mul_ps(_mm256_loadu_ps(w + 8 * j), load(TERSE_PAGE_F16, dv, 8 * (size_t)j));
        x[j] = _mm256_and_ps(p, within(tokens, 8 * j));
        nan = _mm256_or_ps(nan, _mm256_cmp_ps(x[j], x[j], _CMP_UNORD_Q));
        top8 = _mm256_max_ps(_mm256_andnot_ps(_mm256_set1_ps(-0.0f), x[j]), top8);
    }
    const bool bad = _mm256_movemask_ps(nan) != 0;
    const float top = bad ? 0.0f : max8(top8);
    const float inv = top > TERSE_MIX_TINY ? most / top : 0.0f;
    const __m256i heavy = _mm256_set1_epi32(inv > 0.0f ? -1 : 0);
    __m256i c[4];
    for (int j = 0; j < 4; j++) {
        float threshold[8];
        for (int i = 0; i < 8; i++)
            threshold[i] = TERSE_DITHER(8 * j + i);
        __m256 y = _mm256_mul_ps(x[j], _mm256_set1_ps(inv));
        if (type == Q4)
            y = _mm256_add_ps(y, _mm256_loadu_ps(threshold));
        c[j] = _mm256_and_si256(_mm256_cvtps_epi32(y), heavy);
        c[j] = _mm256_min_epi32(c[j], _mm256_set1_epi32((int)most));
    }
    const __m256i c0 = _mm256_packs_epi32(c[0], c[1]), c1 = _mm256_packs_epi32(c[2], c[3]);
    if (type == Q8) {
        _mm256_storeu_si256((__m256i *)code, _mm256_permute4x64_epi64(c0, 0xd8));
        _mm256_storeu_si256((__m256i *)code + 1, _mm256_permute4x64_epi64(c1, 0xd8));
    } else {
        const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        _mm256_storeu_si256((__m256i *)code, _mm256_permutevar8x32_epi32(_mm256_packs_epi16(c0, c1), order));
        const __m256i s = _mm256_add_epi32(_mm256_add_epi32(c[0], c[1]), _mm256_add_epi32(c[2], c[3]));
        __m128i h = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
        h = _mm_add_epi32(h, _mm_shuffle_epi32(h, 0x4e));
        *less = 8 * _mm_cvtsi128_si32(_mm_add_epi32(h, _mm_shuffle_epi32(h, 0xb1)));
    }
    return bad ? NAN : top / most;
}

/* o = o * keep + unit * isum for 8 channels of one row. */
INLINE void update(float *o, float keep, float unit, __m256i isum)
{
    const __m256 old = _mm256_mul_ps(_mm256_loadu_ps(o), _mm256_set1_ps(keep));
    _mm256_storeu_ps(o, _mm256_fmadd_ps(_mm256_set1_ps(unit), _mm256_cvtepi32_ps(isum), old));
}

/* 16 channels: a register holds 4 channels x 4 tokens as words. */
INLINE void mix_tile_q8(float *o, const float *keep, const float *unit, const int16_t code[][P],
                        const char *block, uint32_t tokens, int32_t dim, const int n_row)
{
    __m256i a[MIX_ROWS][4];
    for (int r = 0; r < n_row; r++)
        for (int j = 0; j < 4; j++)
            a[r][j] = _mm256_setzero_si256();
    while (tokens) {
        const int32_t t = __builtin_ctz(tokens) & ~3;
        const char *v = block + t * B;
        tokens &= ~(15u << t);
        __m256i c[MIX_ROWS];
        for (int r = 0; r < n_row; r++) {
            int64_t four;
            memcpy(&four, code[r] + t, sizeof four);
            c[r] = _mm256_set1_epi64x(four);
        }
        for (int j = 0; j < 4; j++) {
            const __m256i x = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)v + j));
            for (int r = 0; r < n_row; r++)
                a[r][j] = _mm256_add_epi32(a[r][j], _mm256_madd_epi16(c[r], x));
        }
    }
    for (int r = 0; r < n_row; r++)
        for (int j = 0; j < 4; j += 2) {
            const __m256i isum = _mm256_permute4x64_epi64(_mm256_hadd_epi32(a[r][j], a[r][j + 1]), 0xd8);
            update(o + r * dim + 4 * j, keep[r], unit[r], isum);
        }
}

/* 32 channels: a register holds 8 channels x 4 tokens as bytes. A pair is at most 2 * 15 * 127: the eight pairs
 * of a page fit into 16 bits. */
INLINE void mix_tile_q4(float *o, const float *keep, const float *unit, const int8_t code[][P],
                        const int32_t *less, const char *block, uint32_t tokens, int32_t dim, const int n_row)
{
    __m256i a[MIX_ROWS][4];
    for (int r = 0; r < n_row; r++)
        for (int j = 0; j < 4; j++)
            a[r][j] = _mm256_setzero_si256();
    while (tokens) {
        const int32_t t = __builtin_ctz(tokens) & ~7;
        const char *v = block + t / 2 * B;
        tokens &= ~(255u << t);
        for (int j = 0; j < 4; j++) {
            const __m256i x = _mm256_loadu_si256((const __m256i *)v + j);
            const __m256i v0 = low_nibbles(x), v1 = high_nibbles(x);
            for (int r = 0; r < n_row; r++) {
                int32_t c[2];
                memcpy(c, code[r] + t, sizeof c);
                a[r][j] = _mm256_add_epi16(a[r][j], _mm256_maddubs_epi16(v0, _mm256_set1_epi32(c[0])));
                a[r][j] = _mm256_add_epi16(a[r][j], _mm256_maddubs_epi16(v1, _mm256_set1_epi32(c[1])));
            }
        }
    }
    for (int r = 0; r < n_row; r++)
        for (int j = 0; j < 4; j++) {
            const __m256i sum = _mm256_madd_epi16(a[r][j], _mm256_set1_epi16(1));
            update(o + r * dim + 8 * j, keep[r], unit[r], _mm256_sub_epi32(sum, _mm256_set1_epi32(less[r])));
        }
}

INLINE void mix_rows(int type, float *o, const float *keep, const float *w, const char *v, uint32_t tokens,
                     int32_t dim, const int n_row)
{
    const uint16_t *dv = (const uint16_t *)(v + code_size(type, dim));
    for (int32_t b = 0; b < dim / B; b++, dv += P, o += B, v += code_size(type, B)) {
        int16_t words[MIX_ROWS][P];
        int8_t bytes[MIX_ROWS][P];
        float unit[MIX_ROWS];
        int32_t less[MIX_ROWS] = { 0 };
        for (int r = 0; r < n_row; r++)
            unit[r] = quantize(type, type == Q8 ? (void *)words[r] : bytes[r], &less[r], w + r * P, dv, tokens);
        if (type == Q4) {
            mix_tile_q4(o, keep, unit, (const int8_t(*)[P])bytes, less, v, tokens, dim, n_row);
            continue;
        }
        mix_tile_q8(o, keep, unit, (const int16_t(*)[P])words, v, tokens, dim, n_row);
        mix_tile_q8(o + 16, keep, unit, (const int16_t(*)[P])words, v + 64, tokens, dim, n_row);
    }
}

INLINE void mix(int type, float *o, const float *keep, const float *w, const char *v, uint32_t tokens,
                int32_t n_row, int32_t dim, const void *ahead, uint32_t soon)
{
    fetch_tokens(ahead, (terse_page_type)type, dim, soon);
    for (; n_row >= 2; n_row -= 2, o += 2 * dim, keep += 2, w += 2 * P)
        mix_rows(type, o, keep, w, v, tokens, dim, 2);
    if (n_row)
        mix_rows(type, o, keep, w, v, tokens, dim, 1);
}

static void mix_q8(float *o, const float *keep, const float *w, const void *v, uint32_t tokens, int32_t n_row,
                   int32_t dim, const void *ahead, uint32_t soon)
{
    mix(Q8, o, keep, w, v, tokens, n_row, dim, ahead, soon);
}

static void mix_q4(float *o, const float *keep, const float *w, const void *v, uint32_t tokens, int32_t n_row,
                   int32_t dim, const void *ahead, uint32_t soon)
{
    mix(Q4, o, keep, w, v, tokens, n_row, dim, ahead, soon);
}

void terse_attn_coded_avx2(terse_attn_kernels *k)
{
    k->score[Q8] = score_q8;
    k->score[Q4] = score_q4;
    k->score_some[Q8] = some_q8;
    k->score_some[Q4] = some_q4;
    k->mix[Q8] = mix_q8;
    k->mix[Q4] = mix_q4;
}
