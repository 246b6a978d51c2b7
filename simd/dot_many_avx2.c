/* simd/dot_many_avx2.c: quantised rows times three and more tokens.
 *
 * The lanes of a register are 8 rows: four neighbouring codes of each meet four codes of a token, broadcast, so
 * that nothing is ever added across lanes. 16 rows of some steps (256 values) are unpacked once for all tokens,
 * by the functions that dot_avx2.c uses, into a panel. Sums stay words as long as they fit: the two words of a
 * lane hold 32 products of codes of 4 bits, 16 of those of up to 6. Codes of 8 bits are two planes of nibbles.
 */
#include "simd/dot_avx2.h"

enum {
    LANES = 8,
    GROUPS = 2, /* a broadcast serves so many registers of 8 rows */
    ROWS = GROUPS * LANES,
    TOKENS = 4,
    STEPS = 8,   /* in a panel; half as many of two planes: some 36 KiB, for the second-level cache */
    GROUP = 128, /* tokens whose accumulators wait for the next panel, a multiple of TOKENS */
};

/* ---- kinds: HAS_MIN, HAS_SUB and HAS_LOW of a type, and of how many bits the codes are ---- */

enum {
    SPLIT = 32, /* 5 bits: words hold the sums of half a block, as with HAS_SUB */
    WIDE = 64,  /* 7 and 8 bits: two planes */
};

INLINE int kind_of(int path)
{
    switch (path) {
    case TERSE_DOT_Q5_0:
    case TERSE_DOT_MXFP4:
    case UNPACKED_FEW:
        return SPLIT;
    case TERSE_DOT_Q5_1:
    case TERSE_DOT_Q5_K:
        return SPLIT | HAS_MIN;
    case UNPACKED_SUB:
        return WIDE | HAS_SUB;
    default:
        return is_signed(path) ? WIDE : dot_formats[path].traits & (HAS_MIN | HAS_SUB | HAS_LOW);
    }
}

/* What is added to values so that a panel's codes are unsigned; with sub-scales and two planes, to the upper.
 */
INLINE int panel_offset(int path)
{
    return is_signed(path) ? 128 : path == UNPACKED_SUB ? offset_of(path) / 16 : offset_of(path);
}

/* A block of ROWS rows in a panel is so many registers: codes[8][GROUPS] for each plane, low nibbles first,
 * d[GROUPS], and as the type has them min[GROUPS], low[GROUPS] with that of the first half in the low word, and
 * for each plane sub[2][GROUPS] with a sub-scale in both words. */
enum { PLANE = 8 * GROUPS, BLOCK_MAX = 2 * PLANE + GROUPS + 4 * GROUPS };
INLINE int planes_of(int kind)
{
    return kind & WIDE ? 2 : 1;
}
INLINE int d_at(int kind)
{
    return planes_of(kind) * PLANE;
}
INLINE int min_at(int kind)
{
    return d_at(kind) + GROUPS;
}
INLINE int low_at(int kind)
{
    return min_at(kind) + (kind & (HAS_MIN | HAS_LOW) ? GROUPS : 0);
}
INLINE int sub_at(int kind)
{
    return low_at(kind) + (kind & HAS_LOW ? GROUPS : 0);
}
INLINE int block_of(int kind)
{
    return sub_at(kind) + (kind & HAS_SUB ? planes_of(kind) * 2 * GROUPS : 0);
}
INLINE int steps_of(int kind)
{
    return STEPS / planes_of(kind);
}

/* n_step steps from step on, of the first n_row of ROWS rows (the others are copies of the last). */
typedef struct {
    __m256i block[STEPS * 8 * BLOCK_MAX];
    const uint8_t *row[ROWS];
    size_t row_size;
    int32_t n_row, n_block, step;
    int n_step;
} panel;

/* ---- unpacking ---- */

/* out[i] = dword i of all rows. */
INLINE void transpose(__m256i out[8], const __m256i row[8])
{
    __m256i four[2][4]; /* of rows 0..3 and 4..7; dwords i and i + 4 */
    for (int k = 0; k < 2; k++) {
        const __m256i *r = row + 4 * k;
        const __m256i lo01 = _mm256_unpacklo_epi32(r[0], r[1]), hi01 = _mm256_unpackhi_epi32(r[0], r[1]);
        const __m256i lo23 = _mm256_unpacklo_epi32(r[2], r[3]), hi23 = _mm256_unpackhi_epi32(r[2], r[3]);
        four[k][0] = _mm256_unpacklo_epi64(lo01, lo23);
        four[k][1] = _mm256_unpackhi_epi64(lo01, lo23);
        four[k][2] = _mm256_unpacklo_epi64(hi01, hi23);
        four[k][3] = _mm256_unpackhi_epi64(hi01, hi23);
    }
    for (int i = 0; i < 4; i++) {
        out[i] = _mm256_permute2x128_si256(four[0][i], four[1][i], 0x20);
        out[i + 4] = _mm256_permute2x128_si256(four[0][i], four[1][i], 0x31);
    }
}

/* Numbers of 8 blocks of 8 rows, to register at of these blocks. */
INLINE void put_numbers(__m256i *block, int kind, int at, const __m256i row[8])
{
    __m256i out[8];
    transpose(out, row);
    for (int b = 0; b < 8; b++)
        block[b * block_of(kind) + at] = out[b];
}

/* Codes of 8 rows; in the order of dot_avx2.h. */
INLINE void put_codes(__m256i *block, int kind, const codes c[LANES])
{
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) { /* blocks j / 2 and j / 2 + 4, first or last half */
        __m256i row[LANES], out[8];
        for (int r = 0; r < LANES; r++)
            row[r] = c[r].q[j];
        transpose(out, row);
        for (int m = 0; m < 8; m++) {
            __m256i *to = block + (j / 2 + m / 4 * 4) * block_of(kind) + (j % 2 * 4 + m % 4) * GROUPS;
            *to = kind & WIDE ? low_nibbles(out[m]) : out[m];
            if (kind & WIDE)
                to[PLANE] = high_nibbles(out[m]);
        }
    }
}

/* Dwords are the sub-scales of a block. */
INLINE void put_subs(__m256i *block, int kind, const __m256i row[LANES])
{
    const __m256i low_word = _mm256_set1_epi32(0x01000100), two = _mm256_set1_epi32(0x02020202);
    const __m256i bytes = _mm256_broadcastsi128_si256(_mm_set_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0));
    const __m256i first = _mm256_add_epi8(bytes, low_word);
    __m256i out[8];
    transpose(out, row);
    for (int b = 0; b < 8; b++)
        for (int half = 0; half < 2; half++) {
            __m256i *to = block + b * block_of(kind) + sub_at(kind) + half * GROUPS;
            *to = _mm256_shuffle_epi8(out[b], half ? _mm256_add_epi8(first, two) : first);
            if (kind & WIDE)
                to[2 * GROUPS] = _mm256_slli_epi16(*to, 4);
        }
}

INLINE __m256i lows_of(const block_q2_k *w)
{
    const __m128i sub = _mm_srli_epi16(_mm_loadu_si128((const void *)w->sub), 4);
    return _mm256_cvtepu8_epi16(_mm_and_si128(sub, _mm_set1_epi8(15)));
}

/* A step of 8 rows. */
INLINE void unpack_rows(int path, terse_dot_type type, __m256i *block, const uint8_t *const w[LANES])
{
    const int kind = kind_of(path);
    codes c[LANES];
    step_scales raw[LANES]; /* of the unpacked paths */
    __m256i d[LANES], min[LANES], sub[LANES], low[LANES];
    if (path >= UNPACKED)
        terse_unpack_avx2[type](c, raw, w, 0, LANES);
    for (int r = 0; r < LANES; r++) {
        scales s;
        if (path < UNPACKED) {
            c[r] = codes_of(path, w[r]);
            s = scales_of(path, w[r]);
        } else {
            s = scales_of_step(path, &c[r], &raw[r]);
        }
        for (int i = 0; is_signed(path) && i < 8; i++)
            c[r].q[i] = _mm256_xor_si256(c[r].q[i], _mm256_set1_epi8((char)128));
        d[r] = _mm256_castps_si256(s.d);
        if (kind & (HAS_MIN | HAS_LOW))
            min[r] = _mm256_castps_si256(s.min);
        if (kind & HAS_SUB)
            sub[r] = c[r].sub;
        if (kind & HAS_LOW)
            low[r] = lows_of((const void *)w[r]);
    }
    put_codes(block, kind, c);
    put_numbers(block, kind, d_at(kind), d);
    if (kind & (HAS_MIN | HAS_LOW))
        put_numbers(block, kind, min_at(kind), min);
    if (kind & HAS_SUB)
        put_subs(block, kind, sub);
    if (kind & HAS_LOW)
        put_numbers(block, kind, low_at(kind), low);
}

INLINE void unpack_panel(int path, terse_dot_type type, panel *p)
{
    const size_t size = step_size(type), ahead = ROWS * p->row_size; /* past the end on purpose: ahead_of() */
    uint8_t tail[LANES][STEP_SIZE_MAX];
    for (int k = 0; k < p->n_step; k++)
        for (int g = 0; g < GROUPS; g++) {
            const int32_t left = p->n_block - (p->step + k) * 8;
            const uint8_t *w[LANES];
            for (int r = 0; r < LANES; r++) {
                w[r] = p->row[g * LANES + r] + (size_t)(p->step + k) * size;
                prefetch_bytes(w[r] + ahead, size);
                if (left < 8) {
                    copy_tail(type, tail[r], w[r], left);
                    w[r] = tail[r];
                }
            }
            unpack_rows(path, type, p->block + k * 8 * block_of(kind_of(path)) + g, w);
        }
}

/* ---- products ---- */

/* The tokens that meet a panel together; those past the last are copies of it. */
typedef struct {
    const int8_t *q[TOKENS]; /* of the panel's first step */
    const float *d[TOKENS], *s[TOKENS];
    /* Where sums start, -(offset of the codes) times the sum of the token's codes: per block, or with HAS_SUB
     * per half of a block, where words are those of the first two and of the last two of every four codes. */
    int32_t start[TOKENS][STEPS * 16];
    int32_t sums[TOKENS][STEPS * 8]; /* HAS_LOW: sums of codes of both halves, as words */
} tile;

/* Sums of the even and of the odd pairs of q of the halves of four blocks, times offset: in the low lane those
 * of the first halves. Words wrap as the sums do that they go into. */
INLINE __m256i pair_sums(const int8_t *q, int offset)
{
    __m256i v[4];
    for (int b = 0; b < 4; b++)
        v[b] = _mm256_maddubs_epi16(_mm256_set1_epi8((char)offset),
                                    _mm256_loadu_si256((const void *)(q + 32 * b)));
    const __m256i a = _mm256_add_epi16(_mm256_unpacklo_epi32(v[0], v[1]), _mm256_unpackhi_epi32(v[0], v[1]));
    const __m256i b = _mm256_add_epi16(_mm256_unpacklo_epi32(v[2], v[3]), _mm256_unpackhi_epi32(v[2], v[3]));
    return _mm256_add_epi16(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
}

/* Of 8 blocks. sum: those of the halves. */
INLINE void start_step(int kind, int offset, int32_t start[16], int32_t sums[8], const int8_t *q,
                       const int32_t *sum)
{
    const __m256i zero = _mm256_setzero_si256();
    if (kind & HAS_LOW) { /* no offset */
        const __m256i a = _mm256_loadu_si256((const void *)sum),
                      b = _mm256_loadu_si256((const void *)(sum + 8));
        _mm256_storeu_si256((void *)sums, _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8));
    } else if (kind & HAS_SUB) {
        for (int i = 0; i < 2; i++) {
            const __m256i v = _mm256_sub_epi16(zero, pair_sums(q + 128 * i, offset));
            const __m256i first = _mm256_permute4x64_epi64(v, 0xd8); /* halves side by side */
            _mm256_storeu_si256((void *)(start + 8 * i), _mm256_shuffle_epi32(first, 0xd8));
        }
    } else if (!(kind & HAS_MIN)) {
        const __m256i a = _mm256_loadu_si256((const void *)sum),
                      b = _mm256_loadu_si256((const void *)(sum + 8));
        const __m256i v = _mm256_permute4x64_epi64(_mm256_hadd_epi32(a, b), 0xd8);
        _mm256_storeu_si256((void *)start, _mm256_mullo_epi32(v, _mm256_set1_epi32(-offset)));
    }
}

INLINE __m256i four_codes(const int8_t *q)
{
    int32_t v;
    memcpy(&v, q, sizeof v);
    return _mm256_set1_epi32(v);
}

/* sum[t][g] = products of values 4 * from .. 4 * to - 1 of the block that begins at code q of the tokens, as
 * words; plus tile.start[t][start], if that is not negative. */
INLINE void words(__m256i sum[TOKENS][GROUPS], const __m256i *code, const tile *a, int q, int from, int to,
                  int start)
{
#pragma GCC unroll 8
    for (int i = from; i < to; i++)
        for (int t = 0; t < TOKENS; t++) {
            const __m256i v = four_codes(a->q[t] + q + 4 * i);
            for (int g = 0; g < GROUPS; g++) {
                const __m256i pairs = _mm256_maddubs_epi16(code[i * GROUPS + g], v);
                if (i > from)
                    sum[t][g] = _mm256_add_epi16(sum[t][g], pairs);
                else if (start < 0)
                    sum[t][g] = pairs;
                else
                    sum[t][g] = _mm256_add_epi16(pairs, _mm256_set1_epi32(a->start[t][start]));
                __asm__("" : "+x"(sum[t][g])); /* else gcc makes all products first, and spills them */
            }
        }
}

/* The integer sums of block b of all tokens and rows. */
INLINE void block_sums(int kind, __m256i sum[TOKENS][GROUPS], const __m256i *block, const tile *a, int b)
{
    const int n_half = kind & (HAS_SUB | SPLIT) ? 2 : 1, n = planes_of(kind) * n_half;
    __m256i word[TOKENS][GROUPS];
#pragma GCC unroll 4
    for (int k = 0; k < n; k++) {
        const int plane = k / n_half, from = k % n_half * 4, to = from + 8 / n_half;
        const bool by_word = kind & HAS_SUB && !(kind & HAS_LOW) && plane == planes_of(kind) - 1;
        words(word, block + plane * PLANE, a, 32 * b, from, to, by_word ? 2 * b + k % n_half : -1);
        for (int t = 0; t < TOKENS; t++)
            for (int g = 0; g < GROUPS; g++) {
                const __m256i by =
                    kind & HAS_SUB ? block[sub_at(kind) + k * GROUPS + g] : _mm256_set1_epi16(plane ? 16 : 1);
                const __m256i v = _mm256_madd_epi16(word[t][g], by);
                sum[t][g] = k ? _mm256_add_epi32(sum[t][g], v) : v;
                if (k + 1 < n)
                    __asm__("" : "+m"(sum[t][g])); /* the registers are the words' */
                else if (!(kind & (HAS_SUB | HAS_MIN)))
                    sum[t][g] = _mm256_add_epi32(sum[t][g], _mm256_set1_epi32(a->start[t][b]));
            }
    }
}

/* The accumulators of TOKENS tokens. */
typedef struct {
    __m256 acc[8][TOKENS][GROUPS], low[8][TOKENS][GROUPS];
} chains;

INLINE __m256 number_at(const __m256i *block, int at)
{
    return _mm256_castsi256_ps(block[at]);
}

/* Block b of the panel; lane b mod 8. */
INLINE void add_block(int kind, chains *s, const __m256i *block, const tile *a, int b)
{
    __m256i sum[TOKENS][GROUPS];
    __m256(*acc)[GROUPS] = s->acc[b % 8], (*low)[GROUPS] = s->low[b % 8];
    block_sums(kind, sum, block, a, b);
    for (int t = 0; t < TOKENS; t++) {
        const __m256 d = _mm256_set1_ps(a->d[t][b]);
        for (int g = 0; g < GROUPS; g++) {
            const __m256 scale = _mm256_mul_ps(number_at(block, d_at(kind) + g), d);
            acc[t][g] = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(sum[t][g]), acc[t][g]);
        }
        for (int g = 0; kind & HAS_MIN && g < GROUPS; g++)
            low[t][g] =
                _mm256_fmadd_ps(number_at(block, min_at(kind) + g), _mm256_set1_ps(a->s[t][b]), low[t][g]);
        for (int g = 0; kind & HAS_LOW && g < GROUPS; g++) {
            const __m256i imin = _mm256_madd_epi16(block[low_at(kind) + g], _mm256_set1_epi32(a->sums[t][b]));
            const __m256 scale = _mm256_mul_ps(number_at(block, min_at(kind) + g), d);
            low[t][g] = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(imin), low[t][g]);
        }
    }
}

/* The panel times the tokens from t on. */
INLINE void add_tile(int kind, int offset, chains *s, const panel *p, const terse_acts *x, int32_t t)
{
    tile a;
    for (int i = 0; i < TOKENS; i++) {
        const int32_t token = t + i < x->n_token ? t + i : x->n_token - 1;
        const size_t at = (size_t)token * (size_t)x->n_pad + (size_t)p->step * 256;
        a.q[i] = x->q + at;
        a.d[i] = x->d + at / 32;
        a.s[i] = x->s + at / 32;
        for (int k = 0; k < p->n_step; k++)
            start_step(kind, offset, a.start[i] + (kind & HAS_SUB ? 16 : 8) * k, a.sums[i] + 8 * k,
                       a.q[i] + 256 * k, x->sum + at / 16 + 16 * k);
    }
    if (p->step == 0) {
        memset(s->acc, 0, sizeof s->acc);
        if (kind & (HAS_MIN | HAS_LOW))
            memset(s->low, 0, sizeof s->low);
    }
    for (int b = 0; b < p->n_step * 8; b++)
        add_block(kind, s, p->block + b * block_of(kind), &a, b);
}

INLINE __m256 fold(__m256 v[8][TOKENS][GROUPS], int t, int g)
{
    const __m256 a = _mm256_add_ps(v[0][t][g], v[4][t][g]), b = _mm256_add_ps(v[1][t][g], v[5][t][g]);
    const __m256 c = _mm256_add_ps(v[2][t][g], v[6][t][g]), d = _mm256_add_ps(v[3][t][g], v[7][t][g]);
    return _mm256_add_ps(_mm256_add_ps(a, c), _mm256_add_ps(b, d));
}

/* y of n_token <= TOKENS tokens. */
INLINE void store_results(int kind, float *y, size_t y_stride, chains *s, int32_t n_row, int32_t n_token)
{
    for (int32_t t = 0; t < n_token && t < TOKENS; t++)
        for (int g = 0; g < GROUPS && g * LANES < n_row; g++) {
            const int32_t left = n_row - g * LANES;
            float v[LANES];
            __m256 sum = fold(s->acc, t, g);
            if (kind & (HAS_MIN | HAS_LOW))
                sum = _mm256_sub_ps(sum, fold(s->low, t, g));
            _mm256_storeu_ps(v, _mm256_add_ps(sum, _mm256_setzero_ps())); /* no -0 */
            memcpy(y + (size_t)t * y_stride + g * LANES, v, (size_t)(left < LANES ? left : LANES) * sizeof *v);
        }
}

/* ---- rows and tokens ---- */

INLINE void many(int path, const product *j)
{
    const terse_dot_type type = path < UNPACKED ? (terse_dot_type)path : j->type;
    const int kind = kind_of(path), offset = panel_offset(path);
    const terse_acts *x = j->x;
    chains s[GROUP / TOKENS];
    panel p; /* not cleared: it is large */
    p.row_size = j->row_size;
    p.n_block = x->n / TERSE_ACT_BLOCK;
    const int32_t n_step = (p.n_block + 7) / 8;
    for (int32_t r = 0; r < j->n_row; r += ROWS) {
        p.n_row = j->n_row - r;
        for (int32_t i = 0; i < ROWS; i++)
            p.row[i] = j->w + (size_t)(r + (i < p.n_row ? i : p.n_row - 1)) * j->row_size;
        for (int32_t first = 0; first < x->n_token; first += GROUP) {
            const int32_t n = x->n_token - first < GROUP ? x->n_token - first : GROUP;
            for (p.step = 0; p.step < n_step; p.step += p.n_step) {
                p.n_step = n_step - p.step < steps_of(kind) ? n_step - p.step : steps_of(kind);
                unpack_panel(path, type, &p);
                for (int32_t t = 0; t < n; t += TOKENS)
                    add_tile(kind, offset, &s[t / TOKENS], &p, x, first + t);
            }
            for (int32_t t = 0; t < n; t += TOKENS)
                store_results(kind, j->y + (size_t)(first + t) * j->y_stride + r, j->y_stride, &s[t / TOKENS],
                              p.n_row, n - t);
        }
    }
}

/* One function for each path, as in dot_avx2.c. */
#define MANY_ROWS(name, path)                                                                                  \
    static void many_##name(const product *j)                                                                  \
    {                                                                                                          \
        many(path, j);                                                                                         \
    }
AVX2_PATHS(MANY_ROWS)

typedef void many_rows(const product *j);
#define MANY_ENTRY(name, path) [path] = many_##name,
static many_rows *const entries[] = { AVX2_PATHS(MANY_ENTRY) };

void terse_dot_many_avx2(const product *j)
{
    entries[avx2_path_of(j->type)](j);
}
