/* simd/dot_some_avx512.c: quantised rows times some tokens: batches of sequences, guesses to be checked.
 *
 * As in dot_many_avx512.c the lanes are rows, and nothing is added across them. But for a few tokens a panel is
 * not worth its memory: the codes of a block of 32 rows are 16 registers, where all tokens meet them, while
 * their accumulators wait in the first-level cache. The columns of the next step (dot_columns_avx512.h) are
 * read between the products of this one, which leave the units for that idle. */
#include "simd/dot_columns_avx512.h"

typedef struct {
    __m512 acc[8][SOME_TOKENS][PANELS], low[8][SOME_TOKENS][PANELS];
} accumulators;

/* The columns of a step of ROWS rows, and where the rows of the next one begin. Blocks of 32 are read over
 * those that are done with; superblocks have a head that serves all of their blocks: two of them, in turn. */
typedef struct {
    __m512i col[2][PANELS][COLUMNS_MAX];
    const uint8_t *row[ROWS];
    uint8_t tail[ROWS][STEP_SIZE_MAX];
} reader;

/* Where the integer sums of a token's products start: see dot_many_avx512.c. */
typedef struct {
    int32_t at[16];
} starts;

INLINE void start_token(int kind, int offset, starts *to, const terse_acts *x, int32_t t, int32_t step)
{
    __m512i sum = _mm512_load_si512(x->sum + ((size_t)t * (size_t)x->n_pad + (size_t)step * 256) / 16);
    if (!(kind & HAS_SUB))
        sum = _mm512_add_epi32(sum, _mm512_shuffle_epi32(sum, 0xb1));
    _mm512_storeu_si512(to->at, _mm512_mullo_epi32(sum, _mm512_set1_epi32(-offset)));
}

/* n_row <= ROWS rows, from step k on; the others are copies of the last. */
INLINE void point(terse_dot_type type, reader *in, const product *j, int32_t r, int32_t k)
{
    const int32_t n_row = j->n_row - r, left = j->x->n / TERSE_ACT_BLOCK - k * 8;
    const uint8_t *w = j->w + (size_t)r * j->row_size + (size_t)k * step_size(type);
    for (int32_t i = 0; i < ROWS; i++) {
        in->row[i] = w + (size_t)(i < n_row ? i : n_row - 1) * j->row_size;
        if (left < 8) {
            copy_tail(type, in->tail[i], in->row[i], left);
            in->row[i] = in->tail[i];
        }
    }
}

/* Part b of 8 of the columns of the step that was pointed at. */
INLINE void read_part(terse_dot_type type, reader *in, int at, int b)
{
    const int n = n_chunk(step_size(type));
    for (int c = b * n / 8; c < (b + 1) * n / 8; c++)
        for (int h = 0; h < PANELS; h++)
            read_chunk(in->col[at][h], in->row + h * LANES, step_size(type), c);
}

/* Products of values 16 half .. of a block, or of all of it: sum[h] = start + ... */
INLINE void products(__m512i sum[PANELS], int32_t start, const row_block w[PANELS], const int8_t *q, int from,
                     int to)
{
    for (int h = 0; h < PANELS; h++)
        sum[h] = _mm512_set1_epi32(start);
    for (int i = from; i < to; i++) {
        int32_t v;
        memcpy(&v, q + 4 * i, sizeof v);
        for (int h = 0; h < PANELS; h++)
            sum[h] = _mm512_dpbusd_epi32(sum[h], w[h].code[i], _mm512_set1_epi32(v));
    }
}

/* Block b of step k times all tokens; the first step writes over what the accumulators had. */
INLINE void add_block(int kind, bool first, accumulators *s, const row_block w[PANELS], const starts *start,
                      const terse_acts *x, int32_t k, int b)
{
    const int8_t *q = x->q + (size_t)k * 256 + (size_t)b * 32;
    const float *d = x->d + (size_t)k * 8 + (size_t)b, *ds = x->s + (size_t)k * 8 + (size_t)b;
    const size_t stride = (size_t)x->n_pad;
    for (int32_t t = 0; t < x->n_token; t++) {
        const int32_t *own = start[t].at + 2 * b;
        __m512i sum[PANELS];
        __m512 isum[PANELS];
        products(sum, kind & HAS_MIN ? 0 : own[0], w, q, 0, kind & HAS_SUB ? 4 : 8);
        for (int h = 0; h < PANELS; h++)
            isum[h] = _mm512_cvtepi32_ps(sum[h]);
        if (kind & HAS_SUB) { /* exact, as in dot_many_avx512.c */
            products(sum, own[1], w, q, 4, 8);
            for (int h = 0; h < PANELS; h++)
                isum[h] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[h]), w[h].sub[1],
                                          _mm512_mul_ps(isum[h], w[h].sub[0]));
        }
        const __m512 dq = _mm512_set1_ps(*d), min = _mm512_set1_ps(*ds);
        for (int h = 0; h < PANELS; h++) {
            const __m512 scale = _mm512_mul_ps(w[h].d, dq);
            s->acc[b][t][h] =
                first ? _mm512_mul_ps(scale, isum[h]) : _mm512_fmadd_ps(scale, isum[h], s->acc[b][t][h]);
            if (kind & HAS_MIN)
                s->low[b][t][h] =
                    first ? _mm512_mul_ps(w[h].min, min) : _mm512_fmadd_ps(w[h].min, min, s->low[b][t][h]);
        }
        q += stride;
        d += stride / 32;
        ds += stride / 32;
    }
}

INLINE __m512 fold(__m512 v[8][SOME_TOKENS][PANELS], int t, int h)
{
    const __m512 a = _mm512_add_ps(v[0][t][h], v[4][t][h]), b = _mm512_add_ps(v[1][t][h], v[5][t][h]);
    const __m512 c = _mm512_add_ps(v[2][t][h], v[6][t][h]), d = _mm512_add_ps(v[3][t][h], v[7][t][h]);
    return _mm512_add_ps(_mm512_add_ps(a, c), _mm512_add_ps(b, d));
}

INLINE void finish(int kind, const product *j, int32_t r, accumulators *s)
{
    for (int t = 0; t < j->x->n_token; t++)
        for (int h = 0; h < PANELS && r + h * LANES < j->n_row; h++) {
            const int32_t left = j->n_row - r - h * LANES;
            const __mmask16 used = left < LANES ? (__mmask16)((1u << left) - 1) : 0xffff;
            __m512 sum = fold(s->acc, t, h);
            if (kind & HAS_MIN)
                sum = _mm512_sub_ps(sum, fold(s->low, t, h));
            _mm512_mask_storeu_ps(j->y + (size_t)t * j->y_stride + r + h * LANES, used,
                                  _mm512_add_ps(sum, _mm512_setzero_ps())); /* no -0 */
        }
}

INLINE void some(int kind, terse_dot_type type, const product *j)
{
    accumulators s;
    reader in;
    starts start[SOME_TOKENS] = { { { 0 } } }; /* codes with a minimum have no offset */
    const terse_acts *x = j->x;
    const size_t size = step_size(type), ahead = 2 * ahead_of(j->row_size, ROWS);
    const int32_t n_step = (x->n + 255) / 256, in_turn = dot_formats[type].len == QK;
    if (j->n_row < 1)
        return;
    point(type, &in, j, 0, 0);
    for (int b = 0; b < 8; b++)
        read_part(type, &in, 0, b);
    for (int32_t r = 0, i = 0; r < j->n_row; r += ROWS) {
        const uint8_t *next = j->w + (size_t)r * j->row_size + ahead; /* past the end on purpose: ahead_of() */
        for (int32_t k = 0; k < n_step; k++, i++) {
            const bool turn = k + 1 == n_step, more = !turn || r + ROWS < j->n_row;
            if (more)
                point(type, &in, j, turn ? r + ROWS : r, turn ? 0 : k + 1);
            for (int t = 0; !(kind & HAS_MIN) && t < x->n_token; t++)
                start_token(kind, offset_of(type), &start[t], x, t, k);
            for (int b = 0; b < 8; b += 2)
                for (int odd = 0; odd < 2; odd++, next += 4 * size) {
                    row_block w[PANELS];
                    prefetch_bytes(next, 4 * size); /* ROWS / 8 */
                    for (int h = 0; h < PANELS; h++)
                        w[h] = block_of_columns(type, in.col[in_turn * (i % 2)][h], b / 2, odd);
                    if (more)
                        read_part(type, &in, in_turn * ((i + 1) % 2), b + odd);
                    if (k == 0)
                        add_block(kind, true, &s, w, start, x, k, b + odd);
                    else
                        add_block(kind, false, &s, w, start, x, k, b + odd);
                }
        }
        finish(kind, j, r, &s);
    }
}

/* One function for each type, as in dot_avx512.c. */
#define SOME_ROWS(name, kind, type)                                                                            \
    static void some_##name(const product *j)                                                                  \
    {                                                                                                          \
        some(kind, type, j);                                                                                   \
    }
COLUMN_TYPES(SOME_ROWS)

typedef void some_rows(const product *j);
#define SOME_ENTRY(name, kind, type) [type] = some_##name,
static some_rows *const entries[TERSE_DOT_N] = { COLUMN_TYPES(SOME_ENTRY) };

bool terse_dot_some_avx512(const product *j)
{
    if (j->x->n_token > SOME_TOKENS || !entries[j->type])
        return false;
    entries[j->type](j);
    return true;
}
