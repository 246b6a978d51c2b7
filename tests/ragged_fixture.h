/* tests/ragged_fixture.h: one store under a policy, its tokens in plain arrays beside it, and softmax attention
 * in float64 over those that a rule of the test's own lets through. Under a policy that moves tokens keys and
 * queries count as turned by their positions, and are turned by their places among those for the reference. */
#ifndef TERSE_TESTS_RAGGED_FIXTURE_H
#define TERSE_TESTS_RAGGED_FIXTURE_H

#include "attend/policy.h"
#include "attend/walk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    RAGGED_LAYERS = 2,
    RAGGED_HEADS = 2,
    RAGGED_DIM = 32,
    RAGGED_ROWS = 4,
    RAGGED_MOST = 900,
    RAGGED_STEP = 96
};

typedef struct {
    terse_kv *kv;
    terse_attend *attend;
    terse_walk *walk;
    terse_attend_stats stats;
    _Alignas(64) float q[RAGGED_MOST][RAGGED_ROWS * RAGGED_DIM];
    float k[RAGGED_MOST][RAGGED_DIM], v[RAGGED_MOST][RAGGED_DIM]; /* the same in every head */
    _Alignas(64) float out[RAGGED_MOST][RAGGED_ROWS * RAGGED_DIM];
    double freq[RAGGED_LAYERS][RAGGED_DIM / 2]; /* the second layer turns half of its channels, by halves */
    terse_attend_layer layer[RAGGED_LAYERS];
} ragged;

static uint64_t ragged_rng = 1;

static float ragged_uniform(void)
{
    ragged_rng = ragged_rng * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(ragged_rng >> 32) * 0x1p-31f;
}

/* Another utility for every token and head, in [0, 1). */
static float ragged_utility(int32_t layer, int32_t head, int32_t pos)
{
    uint32_t x = (uint32_t)(pos * 4 + layer * 2 + head + 1) * 2654435761u;
    x = (x ^ x >> 15) * 2246822519u;
    return (float)(x >> 8) * 0x1p-24f;
}

/* What policies ask of layers and heads: how they turn; and which heads need the most, (0, 1) and (1, 0). */
static terse_status ragged_tell(ragged *f, terse_attend *a, terse_error *err)
{
    static const float change[RAGGED_LAYERS * RAGGED_HEADS] = { 0.1f, 0.9f, NAN, 0.5f };
    for (int32_t l = 0; l < RAGGED_LAYERS; l++) {
        f->layer[l] = (terse_attend_layer){ .freq = f->freq[l], .n_turn = RAGGED_DIM / (l + 1), .halves = l };
        for (int32_t i = 0; i < RAGGED_DIM / 2; i++)
            f->freq[l][i] = pow(1000.0, -(double)i / RAGGED_DIM * 2.0);
    }
    const terse_status st =
        terse_attend_turns(a) ? terse_attend_layers(a, f->layer, RAGGED_LAYERS, err) : TERSE_OK;
    return st == TERSE_OK && terse_attend_heads_file(a)
               ? terse_attend_heads(a, change, RAGGED_LAYERS, RAGGED_HEADS, err)
               : st;
}

/* NULL if there was no memory (err says so); anything else that goes wrong ends the program. */
static ragged *ragged_open(const char *policy, const char *stop, terse_kv_type type, int32_t n_strand,
                           terse_error *err)
{
    ragged *f = aligned_alloc(64, (sizeof *f + 63) / 64 * 64);
    if (!f)
        abort();
    memset(f, 0, sizeof *f);
    const terse_kv_opts o = { .n_layer = RAGGED_LAYERS,
                              .n_head = RAGGED_HEADS,
                              .dim_k = RAGGED_DIM,
                              .dim_v = RAGGED_DIM,
                              .type_k = type,
                              .type_v = type,
                              .ctx = RAGGED_MOST };
    ragged_rng = 1;
    for (int32_t t = 0; t < RAGGED_MOST; t++) {
        for (int32_t d = 0; d < RAGGED_DIM; d++) {
            f->k[t][d] = 2.0f * ragged_uniform();
            f->v[t][d] = ragged_uniform();
        }
        for (int32_t i = 0; i < RAGGED_ROWS * RAGGED_DIM; i++)
            f->q[t][i] = 3.0f * ragged_uniform();
    }
    terse_status st = terse_kv_open(&f->kv, &o, err);
    if (st == TERSE_OK)
        st = terse_attend_open(&f->attend, policy, stop, 0, err);
    if (st == TERSE_OK) {
        f->kv->step = RAGGED_STEP;
        terse_attend_gate(f->attend, 0.5, 40, 2);
        st = terse_kv_marks_open(f->kv, err);
    }
    if (st == TERSE_OK)
        st = ragged_tell(f, f->attend, err);
    if (st == TERSE_OK)
        st = terse_policy_open(f->attend, f->kv, err);
    if (st == TERSE_OK)
        st = terse_kv_summarize(f->kv, terse_attend_needs(f->attend) & ~(uint32_t)TERSE_KV_CENTER, err);
    if (st == TERSE_OK)
        st = terse_walk_open_split(&f->walk, f->kv, f->attend, RAGGED_ROWS, n_strand, 0, err);
    if (st == TERSE_OK)
        return f;
    terse_kv_close(&f->kv);
    terse_attend_close(&f->attend);
    free(f);
    return NULL;
}

static void ragged_close(ragged *f)
{
    terse_walk_close(&f->walk);
    terse_attend_close(&f->attend);
    terse_kv_close(&f->kv);
    free(f);
}

static void ragged_put(ragged *f, int32_t layer, int32_t head, int32_t pos)
{
    terse_policy_put(f->attend, f->kv, layer, head, pos, f->k[pos], f->v[pos],
                     ragged_utility(layer, head, pos));
}

/* n tokens, at most a step at a time, in all heads; the results of (layer, head) go to out. decode: one by one.
 */
static inline terse_status ragged_run(ragged *f, int32_t n, bool decode, int32_t layer, int32_t head,
                                      terse_error *err)
{
    const int32_t step = decode ? 1 : RAGGED_STEP, from = terse_kv_count(f->kv);
    for (int32_t pos = from, m; pos < from + n; pos += m) {
        m = from + n - pos < step ? from + n - pos : step;
        const terse_status st = terse_kv_reserve(f->kv, m, err);
        if (st != TERSE_OK)
            return st;
        for (int32_t u = 0; u < RAGGED_LAYERS * RAGGED_HEADS; u++)
            for (int32_t t = pos; t < pos + m; t++)
                ragged_put(f, u / RAGGED_HEADS, u % RAGGED_HEADS, t);
        for (int32_t t = pos, k; t < pos + m; t += k) {
            k = TERSE_PAGE - t % TERSE_PAGE < pos + m - t ? TERSE_PAGE - t % TERSE_PAGE : pos + m - t;
            if (decode)
                terse_walk_decode(f->walk, layer, head, t + 1, 0.25f, f->q[t], f->out[t], &f->stats);
            else
                terse_walk_prefill(f->walk, layer, head, t, k, 0.25f, f->q[t], RAGGED_ROWS * RAGGED_DIM,
                                   f->out[t], RAGGED_ROWS * RAGGED_DIM);
        }
        terse_kv_commit(f->kv, m);
    }
    return TERSE_OK;
}

/* q . k with the key turned by `turns` positions more than the query. */
static inline double ragged_dot(const ragged *f, int32_t layer, const float *q, const float *k, int32_t turns)
{
    const terse_attend_layer *y = &f->layer[layer];
    const int32_t half = y->n_turn / 2;
    double sum = 0.0;
    for (int32_t i = 0; i < half; i++) {
        const int32_t a = y->halves ? i : 2 * i, b = y->halves ? half + i : 2 * i + 1;
        const double c = cos(turns * f->freq[layer][i]), s = sin(turns * f->freq[layer][i]);
        sum += (double)q[a] * ((double)k[a] * c - (double)k[b] * s);
        sum += (double)q[b] * ((double)k[a] * s + (double)k[b] * c);
    }
    for (int32_t d = y->n_turn; d < RAGGED_DIM; d++)
        sum += (double)q[d] * (double)k[d];
    return sum;
}

/* |out - reference| / |reference| of the token at pos, the largest of its rows. */
static inline double ragged_error(const ragged *f, int32_t pos,
                                  bool (*sees)(int32_t layer, int32_t head, int32_t i, int32_t j),
                                  int32_t layer, int32_t head)
{
    double worst = 0.0;
    for (int32_t r = 0; r < RAGGED_ROWS; r++) {
        double s[RAGGED_MOST], o[RAGGED_DIM] = { 0.0 }, top = -INFINITY, sum = 0.0, diff = 0.0, size = 0.0;
        const bool turns = terse_attend_turns(f->attend);
        int32_t n = 0;
        for (int32_t j = 0; j <= pos; j++)
            n += sees(layer, head, pos, j);
        for (int32_t j = 0, place = 0; j <= pos; j++) {
            const bool seen = sees(layer, head, pos, j);
            const int32_t by = turns ? place - j - (n - 1 - pos) : 0;
            s[j] = seen ? 0.25 * ragged_dot(f, layer, f->q[pos] + r * RAGGED_DIM, f->k[j], by) : -INFINITY;
            top = fmax(top, s[j]);
            place += seen;
        }
        for (int32_t j = 0; j <= pos; j++) {
            sum += exp(s[j] - top);
            for (int32_t d = 0; d < RAGGED_DIM; d++)
                o[d] += exp(s[j] - top) * (double)f->v[j][d];
        }
        for (int32_t d = 0; d < RAGGED_DIM; d++) {
            const double got = (double)f->out[pos][r * RAGGED_DIM + d], want = o[d] / sum;
            diff += (got - want) * (got - want);
            size += want * want;
        }
        worst = fmax(worst, sqrt(diff / size));
    }
    return worst;
}

#endif
