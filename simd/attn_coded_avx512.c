/* simd/attn_coded_avx512.c: page attention over q8 and q4. One instruction multiplies 64 pairs of bytes and
 * adds four neighbours: channels of a key while scoring, tokens of a channel while mixing. Its first operand is
 * unsigned, its second signed: keys and weights' bytes of q8 go first, q4 codes (plus 8) always do. */
#if !defined(__AVX512F__) || !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VNNI__)
#error "compile this file with the avx512 tier's flags"
#endif

#include "simd/attn_avx512.h"

#include <math.h>

enum {
    P = TERSE_PAGE,
    B = TERSE_KV_BLOCK,
    ROWS = 4,
    MAX_BLOCKS = TERSE_PAGE_DIM / B,
    Q8 = TERSE_PAGE_Q8,
    Q4 = TERSE_PAGE_Q4
};

/* Bytes of a block's codes of n channels. */
INLINE size_t code_size(int type, int32_t n)
{
    return (size_t)n * P / (type == Q8 ? 1 : 2);
}

INLINE __m512i low_nibbles(__m512i x)
{
    return _mm512_and_si512(x, _mm512_set1_epi8(15));
}

INLINE __m512i high_nibbles(__m512i x)
{
    return low_nibbles(_mm512_srli_epi16(x, 4));
}

/* ---- score ---- */

/* Integer sums of pieces from to to - 1: i[row][16 tokens each] += codes . query codes. The numbers of the
 * pieces are in at; where it is NULL they are from ... to - 1 themselves. */
INLINE void score_block(int type, __m512i i[][2], const char *q, size_t q_size, const uint8_t *codes,
                        const uint16_t *at, int32_t from, int32_t to, const char *next, terse_channels soon,
                        const int n_row)
{
    const int32_t step = type == Q8 ? 4 : 8; /* channels in 4 bytes of each token */
    for (int32_t p = from; p < to; p++) {
        const int32_t piece = at ? at[p] : p, then = !at ? p : soon.at[p < soon.n ? p : soon.n - 1];
        const uint8_t *code = codes + piece * 4 * P;
        const __m512i k0 = _mm512_loadu_si512(code), k1 = _mm512_loadu_si512(code + 64);
        fetch(next + then * 4 * P);
        fetch(next + then * 4 * P + 64);
        for (int r = 0; r < n_row; r++) {
            const char *x = q + (size_t)r * q_size + piece * step;
            const __m512i x0 = _mm512_set1_epi32(*(const int32_t *)x);
            i[r][0] = _mm512_dpbusd_epi32(i[r][0], type == Q8 ? k0 : low_nibbles(k0), x0);
            i[r][1] = _mm512_dpbusd_epi32(i[r][1], type == Q8 ? k1 : low_nibbles(k1), x0);
            if (type == Q4) {
                const __m512i x1 = _mm512_set1_epi32(*(const int32_t *)(x + 4));
                i[r][0] = _mm512_dpbusd_epi32(i[r][0], high_nibbles(k0), x1);
                i[r][1] = _mm512_dpbusd_epi32(i[r][1], high_nibbles(k1), x1);
            }
        }
    }
}

/* some.at NULL: all. */
INLINE void score_rows(int type, float *s, const char *q, const uint8_t *code, int32_t dim, terse_channels some,
                       const char *next, terse_channels soon, const int n_row)
{
    const int32_t per_block = type == Q8 ? 8 : 4;
    int32_t from = 0, to = 0;
    const size_t q_size = terse_query_size(TERSE_PAGE_Q8, dim), scales = code_size(type, dim);
    __m512 a[ROWS][2];
    for (int r = 0; r < n_row; r++)
        a[r][0] = a[r][1] = _mm512_setzero_ps();
    for (int32_t b = 0; b < dim / B; b++) {
        __m512i i[ROWS][2];
        const char *x = q + dim + (size_t)b * 4; /* scales, offsets */
        const size_t dk = scales + (size_t)b * P * sizeof(uint16_t);
        for (int r = 0; r < n_row; r++) {
            const __m512i offset = _mm512_set1_epi32(*(const int32_t *)(x + (size_t)r * q_size + dim / B * 4));
            i[r][0] = i[r][1] = type == Q8 ? _mm512_slli_epi32(offset, 4) : offset;
        }
        if (some.at)
            while (to < some.n && some.at[to] < (b + 1) * per_block)
                to++;
        else
            to = (b + 1) * per_block;
        score_block(type, i, q, q_size, code, some.at, from, to, next, soon, n_row);
        from = to;
        const __m512 d0 = load(TERSE_PAGE_F16, code + dk, 0), d1 = load(TERSE_PAGE_F16, code + dk, 16);
        fetch(next + dk);
        for (int r = 0; r < n_row; r++) {
            const __m512 dq = _mm512_set1_ps(*(const float *)(x + (size_t)r * q_size));
            a[r][0] = _mm512_fmadd_ps(_mm512_mul_ps(dq, d0), _mm512_cvtepi32_ps(i[r][0]), a[r][0]);
            a[r][1] = _mm512_fmadd_ps(_mm512_mul_ps(dq, d1), _mm512_cvtepi32_ps(i[r][1]), a[r][1]);
        }
    }
    for (int32_t p = some.n; some.at && p < soon.n; p++) {
        fetch(next + soon.at[p] * 4 * P);
        fetch(next + soon.at[p] * 4 * P + 64);
    }
    for (int r = 0; r < n_row; r++) {
        _mm512_storeu_ps(s + r * P, a[r][0]);
        _mm512_storeu_ps(s + r * P + 16, a[r][1]);
    }
}

INLINE void score(int type, float *s, const char *q, const void *k, int32_t n_row, int32_t dim,
                  terse_channels some, const void *ahead, terse_channels soon)
{
    const size_t size = terse_query_size(TERSE_PAGE_Q8, dim);
    const char *next = next_of(ahead, k);
    soon = ahead ? soon : some;
    for (; n_row >= 4; n_row -= 4, s += 4 * P, q += 4 * size, next = k, soon = some)
        score_rows(type, s, q, k, dim, some, next, soon, 4);
    if (n_row == 3)
        score_rows(type, s, q, k, dim, some, next, soon, 3);
    else if (n_row == 2)
        score_rows(type, s, q, k, dim, some, next, soon, 2);
    else if (n_row == 1)
        score_rows(type, s, q, k, dim, some, next, soon, 1);
}

static const terse_channels all = { .at = NULL, .n = 0 };

static void score_q8(float *s, const void *q, const void *k, int32_t n_row, int32_t dim, const void *ahead)
{
    score(Q8, s, q, k, n_row, dim, all, ahead, all);
}

static void score_q4(float *s, const void *q, const void *k, int32_t n_row, int32_t dim, const void *ahead)
{
    score(Q4, s, q, k, n_row, dim, all, ahead, all);
}

static void some_q8(float *s, const void *q, const void *k, terse_channels some, const float *mean,
                    int32_t n_row, int32_t dim, const void *ahead, terse_channels soon)
{
    score(Q8, s, q, k, n_row, dim, some, ahead, soon);
    shift(s, mean, n_row);
}

static void some_q4(float *s, const void *q, const void *k, terse_channels some, const float *mean,
                    int32_t n_row, int32_t dim, const void *ahead, terse_channels soon)
{
    score(Q4, s, q, k, n_row, dim, some, ahead, soon);
    shift(s, mean, n_row);
}

/* ---- mix ---- */

/* Weights times value scales of some rows and one block as the bytes that the products take.
 *   q8: code[2i], code[2i + 1]: low and high bytes of tokens 4i to 4i + 3
 *   q4: code[i]: tokens 4i to 4i + 3; less[row]: 8 * their sum, what the 8 in each value's code adds
 * unit: what a code is worth; inv: the reverse; most: the largest code. inv and most are 0 where nothing weighs
 * anything or a product is not finite. */
typedef struct {
    union {
        _Alignas(64) int32_t code[ROWS][P / 2];
        _Alignas(64) int32_t few[ROWS][P / 2]; /* below */
    };
    _Alignas(16) float unit[ROWS], inv[ROWS], most[ROWS];
    _Alignas(16) int32_t less[ROWS];
} weights;

/* The scales of a block's tokens, 0 for those that are left out. */
INLINE void load_scales(__m512 d[2], const uint16_t *dv, uint32_t tokens)
{
    d[0] = _mm512_maskz_mov_ps((__mmask16)tokens, load(TERSE_PAGE_F16, dv, 0));
    d[1] = _mm512_maskz_mov_ps((__mmask16)(tokens >> 16), load(TERSE_PAGE_F16, dv, 16));
}

/* From the largest |x| of every row. As integers, NaN is the largest of all and stays. */
INLINE void find_units(int type, weights *q, const float *w, const __m512 d[2], const int n_row)
{
    __m512i top[ROWS];
    for (int r = 0; r < ROWS; r++)
        top[r] = _mm512_setzero_si512();
    for (int r = 0; r < n_row; r++) {
        __m512 x0 = _mm512_mul_ps(_mm512_loadu_ps(w + r * P), d[0]);
        __m512 x1 = _mm512_mul_ps(_mm512_loadu_ps(w + r * P + 16), d[1]);
        if (type == Q4) {
            x0 = _mm512_abs_ps(x0);
            x1 = _mm512_abs_ps(x1);
        }
        top[r] = _mm512_max_epu32(_mm512_castps_si512(x0), _mm512_castps_si512(x1));
    }
    const __m128 most = _mm_set1_ps(type == Q8 ? 32767.0f : 127.0f);
    const __m128 m = _mm_castsi128_ps(umax16_4(top[0], top[1], top[2], top[3]));
    const __m128 inv = _mm_and_ps(_mm_cmpgt_ps(m, _mm_set1_ps(TERSE_MIX_TINY)), _mm_div_ps(most, m));
    _mm_store_ps(q->unit, _mm_div_ps(m, most));
    _mm_store_ps(q->inv, inv);
    _mm_store_ps(q->most, _mm_and_ps(_mm_cmpgt_ps(inv, _mm_setzero_ps()), most));
}

/* The words of two registers of dwords, and of 4 tokens each the low bytes, then the high bytes. */
INLINE __m512i split_bytes(__m512i c0, __m512i c1)
{
    const __m512i evens = _mm512_set_epi16(62, 60, 58, 56, 54, 52, 50, 48, 46, 44, 42, 40, 38, 36, 34, 32, 30,
                                           28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i split =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15));
    return _mm512_shuffle_epi8(_mm512_permutex2var_epi16(c0, evens, c1), split);
}

INLINE __m512 dither(int32_t t)
{
    float x[16];
    for (int32_t i = 0; i < 16; i++)
        x[i] = TERSE_DITHER(t + i);
    return _mm512_loadu_ps(x);
}

INLINE void quantize(int type, weights *q, const float *w, const __m512 d[2], const int n_row)
{
    __m512i sum[ROWS];
    for (int r = 0; r < ROWS; r++)
        sum[r] = _mm512_setzero_si512();
    for (int r = 0; r < n_row; r++) {
        const __m512 inv = _mm512_set1_ps(q->inv[r]), most = _mm512_set1_ps(q->most[r]);
        __m512 x0 = _mm512_mul_ps(_mm512_mul_ps(_mm512_loadu_ps(w + r * P), d[0]), inv);
        __m512 x1 = _mm512_mul_ps(_mm512_mul_ps(_mm512_loadu_ps(w + r * P + 16), d[1]), inv);
        x0 = _mm512_min_ps(x0, most); /* 0 if it is NaN */
        x1 = _mm512_min_ps(x1, most);
        if (type == Q8) {
            _mm512_store_si512(q->code[r], split_bytes(_mm512_cvtps_epi32(x0), _mm512_cvtps_epi32(x1)));
            continue;
        }
        const __m512i c0 = _mm512_cvtps_epi32(_mm512_add_ps(x0, dither(0)));
        const __m512i c1 = _mm512_cvtps_epi32(_mm512_add_ps(x1, dither(16)));
        _mm_store_si128((__m128i *)q->code[r], _mm512_cvtepi32_epi8(c0));
        _mm_store_si128((__m128i *)q->code[r] + 1, _mm512_cvtepi32_epi8(c1));
        sum[r] = _mm512_add_epi32(c0, c1);
    }
    if (type == Q4)
        _mm_store_si128((__m128i *)q->less, _mm_slli_epi32(sum16_4(sum[0], sum[1], sum[2], sum[3]), 3));
}

/* Four rows of q8 of which few pieces of 4 tokens count: a register holds a piece of all rows, each in a
 * quarter. few[i]: of the i-th piece in each quarter the low bytes, then the high bytes. */
enum { FEW = 4 };

INLINE bool few_pieces(uint32_t tokens)
{
    return __builtin_popcount(terse_tokens_widen(tokens, 4)) <= 4 * FEW;
}

INLINE __m512 piece_of_rows(const float *w, int32_t t)
{
    __m512 x = _mm512_zextps128_ps512(_mm_loadu_ps(w + t));
    x = _mm512_insertf32x4(x, _mm_loadu_ps(w + P + t), 1);
    x = _mm512_insertf32x4(x, _mm_loadu_ps(w + 2 * P + t), 2);
    return _mm512_insertf32x4(x, _mm_loadu_ps(w + 3 * P + t), 3);
}

/* w[n]: the weights of the pieces, at[n]: their first tokens. */
INLINE void quantize_few(weights *q, const __m512 *w, const int32_t *at, int32_t n, const uint16_t *dv,
                         uint32_t tokens)
{
    const __m512i split =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, -1, -1, -1, -1, -1, -1, -1, -1));
    __m512 x[FEW];
    __m512i top = _mm512_setzero_si512();
    for (int32_t i = 0; i < n; i++) {
        const __m128 d = _mm_maskz_mov_ps((__mmask8)(tokens >> at[i] & 15),
                                          _mm_cvtph_ps(_mm_loadl_epi64((const __m128i *)(dv + at[i]))));
        x[i] = _mm512_mul_ps(w[i], _mm512_broadcast_f32x4(d));
        top = _mm512_max_epu32(top, _mm512_castps_si512(x[i]));
    }
    top = _mm512_max_epu32(top, _mm512_shuffle_epi32(top, 0x4e));
    top = _mm512_max_epu32(top, _mm512_shuffle_epi32(top, 0xb1));
    const __m512 m = _mm512_castsi512_ps(top), full = _mm512_set1_ps(32767.0f);
    const __m512 inv =
        _mm512_maskz_div_ps(_mm512_cmp_ps_mask(m, _mm512_set1_ps(TERSE_MIX_TINY), _CMP_GT_OQ), full, m);
    const __m512 most = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(inv, _mm512_setzero_ps(), _CMP_GT_OQ), full);
    _mm_store_ps(q->unit, first_of_quarters(_mm512_div_ps(m, full)));
    for (int32_t i = 0; i < n; i++) {
        const __m512i c = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_mul_ps(x[i], inv), most));
        _mm512_store_si512(q->few[i], _mm512_shuffle_epi8(c, split));
    }
}

/* o = o + unit * isum for 32 channels of one row. */
INLINE void update(float *o, float unit, __m512i i0, __m512i i1)
{
    const __m512 u = _mm512_set1_ps(unit);
    _mm512_storeu_ps(o, _mm512_fmadd_ps(u, _mm512_cvtepi32_ps(i0), _mm512_loadu_ps(o)));
    _mm512_storeu_ps(o + 16, _mm512_fmadd_ps(u, _mm512_cvtepi32_ps(i1), _mm512_loadu_ps(o + 16)));
}

/* o = o * keep; rarely other than 1. */
INLINE void rescale(float *o, const float *keep, int32_t dim, const int n_row)
{
    for (int r = 0; r < n_row; r++, o += dim)
        for (int32_t d = 0; d < dim && keep[r] != 1.0f; d += 16)
            _mm512_storeu_ps(o + d, _mm512_mul_ps(_mm512_loadu_ps(o + d), _mm512_set1_ps(keep[r])));
}

/* The pieces of `grain` tokens, of `size` bytes each token, that a block has more than the one before it. */
INLINE void fetch_rest(const char *next, uint32_t soon, int32_t grain, int32_t size)
{
    while (soon) {
        const int32_t u = lowest(soon) & -grain;
        fetch(next + u * size);
        fetch(next + u * size + 64);
        soon &= ~(((1u << grain) - 1) << u);
    }
}

/* 32 channels for n_row rows: a register holds 16 channels x 4 tokens. */
INLINE void mix_block_q8(float *o, const weights *q, const char *block, uint32_t tokens, int32_t dim,
                         const char *next, uint32_t soon, const int n_row, const bool few)
{
    const int32_t *piece = q->few[0];
    __m512i low[ROWS][2], high[ROWS][2];
    for (int r = 0; r < n_row; r++)
        low[r][0] = low[r][1] = high[r][0] = high[r][1] = _mm512_setzero_si512();
    while (tokens) {
        const int32_t t = lowest(tokens) & ~3, u = lowest(soon) & ~3;
        const char *v = block + t * B;
        tokens &= ~(15u << t);
        soon = without(soon, 15u << u);
        const __m512i v0 = _mm512_loadu_si512(v), v1 = _mm512_loadu_si512(v + 64);
        fetch(next + u * B);
        fetch(next + u * B + 64);
        for (int r = 0; r < n_row; r++) {
            const int32_t *code = few ? piece + 4 * r : &q->code[r][t / 2];
            const __m512i l = _mm512_set1_epi32(code[0]), h = _mm512_set1_epi32(code[1]);
            low[r][0] = _mm512_dpbusd_epi32(low[r][0], l, v0);
            low[r][1] = _mm512_dpbusd_epi32(low[r][1], l, v1);
            high[r][0] = _mm512_dpbusd_epi32(high[r][0], h, v0);
            high[r][1] = _mm512_dpbusd_epi32(high[r][1], h, v1);
        }
        piece += P / 2;
    }
    fetch_rest(next, soon, 4, B);
    for (int r = 0; r < n_row; r++)
        update(o + r * dim, q->unit[r], _mm512_add_epi32(low[r][0], _mm512_slli_epi32(high[r][0], 8)),
               _mm512_add_epi32(low[r][1], _mm512_slli_epi32(high[r][1], 8)));
}

INLINE void mix_block_q4(float *o, const weights *q, const char *block, uint32_t tokens, int32_t dim,
                         const char *next, uint32_t soon, const int n_row)
{
    __m512i a[ROWS][2];
    for (int r = 0; r < n_row; r++)
        a[r][0] = a[r][1] = _mm512_set1_epi32(-q->less[r]);
    while (tokens) {
        const int32_t t = lowest(tokens) & ~7, u = lowest(soon) & ~7;
        const char *code = block + t / 2 * B;
        tokens &= ~(255u << t);
        soon = without(soon, 255u << u);
        const __m512i v0 = _mm512_loadu_si512(code), v1 = _mm512_loadu_si512(code + 64);
        fetch(next + u / 2 * B);
        fetch(next + u / 2 * B + 64);
        for (int r = 0; r < n_row; r++) {
            const __m512i c0 = _mm512_set1_epi32(q->code[r][t / 4]),
                          c1 = _mm512_set1_epi32(q->code[r][t / 4 + 1]);
            a[r][0] = _mm512_dpbusd_epi32(a[r][0], low_nibbles(v0), c0);
            a[r][1] = _mm512_dpbusd_epi32(a[r][1], low_nibbles(v1), c0);
            a[r][0] = _mm512_dpbusd_epi32(a[r][0], high_nibbles(v0), c1);
            a[r][1] = _mm512_dpbusd_epi32(a[r][1], high_nibbles(v1), c1);
        }
    }
    fetch_rest(next, soon, 8, B / 2);
    for (int r = 0; r < n_row; r++)
        update(o + r * dim, q->unit[r], a[r][0], a[r][1]);
}

INLINE void mix_rows(int type, float *o, const float *keep, const float *w, const char *v, uint32_t tokens,
                     int32_t dim, const char *next, uint32_t soon, const int n_row)
{
    const size_t scales = code_size(type, dim), step = P * sizeof(uint16_t);
    weights q[MAX_BLOCKS];
    __m512 d[2];
    rescale(o, keep, dim, n_row);
    for (int32_t b = 0; b < dim / B; b++) {
        fetch(next + scales + (size_t)b * step);
        load_scales(d, (const uint16_t *)(v + scales + (size_t)b * step), tokens);
        find_units(type, &q[b], w, d, n_row);
    }
    for (int32_t b = 0; b < dim / B; b++) { /* apart from the above: short chains of latencies */
        load_scales(d, (const uint16_t *)(v + scales + (size_t)b * step), tokens);
        quantize(type, &q[b], w, d, n_row);
    }
    for (int32_t b = 0; b < dim / B; b++, o += B, v += code_size(type, B), next += code_size(type, B)) {
        if (type == Q8)
            mix_block_q8(o, &q[b], v, tokens, dim, next, soon, n_row, false);
        else
            mix_block_q4(o, &q[b], v, tokens, dim, next, soon, n_row);
    }
}

/* mix_rows for such rows. */
INLINE void mix_few(float *o, const float *keep, const float *w, const char *v, uint32_t tokens, int32_t dim,
                    const char *next, uint32_t soon)
{
    const size_t scales = code_size(Q8, dim), step = P * sizeof(uint16_t);
    weights q[MAX_BLOCKS];
    __m512 x[FEW];
    int32_t at[FEW], n = 0;
    rescale(o, keep, dim, 4);
    for (uint32_t left = tokens; left; n++) {
        at[n] = lowest(left) & ~3;
        x[n] = piece_of_rows(w, at[n]);
        left &= ~(15u << at[n]);
    }
    for (int32_t b = 0; b < dim / B; b++) {
        fetch(next + scales + (size_t)b * step);
        quantize_few(&q[b], x, at, n, (const uint16_t *)(v + scales + (size_t)b * step), tokens);
    }
    for (int32_t b = 0; b < dim / B; b++, o += B, v += code_size(Q8, B), next += code_size(Q8, B))
        mix_block_q8(o, &q[b], v, tokens, dim, next, soon, 4, true);
}

INLINE void mix(int type, float *o, const float *keep, const float *w, const void *v, uint32_t tokens,
                int32_t n_row, int32_t dim, const void *ahead, uint32_t soon)
{
    const char *next = next_of(ahead, v);
    soon = ahead && soon ? soon : tokens;
    if (type == Q8 && n_row == 4 && few_pieces(tokens)) {
        mix_few(o, keep, w, v, tokens, dim, next, soon);
        return;
    }
    for (; n_row >= 4; n_row -= 4, o += 4 * dim, keep += 4, w += 4 * P, next = v, soon = tokens)
        mix_rows(type, o, keep, w, v, tokens, dim, next, soon, 4);
    if (n_row == 3)
        mix_rows(type, o, keep, w, v, tokens, dim, next, soon, 3);
    else if (n_row == 2)
        mix_rows(type, o, keep, w, v, tokens, dim, next, soon, 2);
    else if (n_row == 1)
        mix_rows(type, o, keep, w, v, tokens, dim, next, soon, 1);
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

void terse_attn_coded_avx512(terse_attn_kernels *k)
{
    k->score[Q8] = score_q8;
    k->score[Q4] = score_q4;
    k->score_some[Q8] = some_q8;
    k->score_some[Q4] = some_q4;
    k->mix[Q8] = mix_q8;
    k->mix[Q4] = mix_q4;
}
