/* tests/attend_fixture.h: a store of one head with its walk, what tokens may look like, and what attention over
 * them is in float64. */
#ifndef ATTEND_FIXTURE_H
#define ATTEND_FIXTURE_H

#include "attend/walk.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { DIM = 32, ROWS = 4, MOST = 2000 };

typedef struct {
    terse_kv *kv;
    terse_attend *attend;
    terse_walk *walk;
    terse_attend_stats stats;
    int32_t n;
    _Alignas(64) float q[ROWS * DIM];
    _Alignas(64) float out[ROWS * DIM];
} fixture;

static uint64_t rng = 1;

static inline float uniform(void)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(rng >> 32) * 0x1p-31f;
}

/* n tokens; key_of and value_of fill k[DIM], v[DIM] of a position. */
static inline fixture *make(int32_t n, terse_kv_type type, const char *stop, int32_t audit,
                            void (*fill)(int32_t pos, float *k, float *v))
{
    terse_error err = { 0 };
    fixture *f = aligned_alloc(64, (sizeof *f + 63) / 64 * 64);
    assert_non_null(f);
    memset(f, 0, sizeof *f);
    f->n = n;
    const terse_kv_opts o = {
        .n_layer = 1, .n_head = 1, .dim_k = DIM, .dim_v = DIM, .type_k = type, .type_v = type, .ctx = MOST
    };
    if (terse_kv_open(&f->kv, &o, &err) != TERSE_OK ||
        terse_attend_open(&f->attend, NULL, stop, audit, &err) != TERSE_OK ||
        terse_walk_open(&f->walk, f->kv, f->attend, ROWS, 0, &err) != TERSE_OK ||
        terse_kv_reserve(f->kv, n, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    for (int32_t pos = 0; pos < n; pos++) {
        float k[DIM], v[DIM];
        fill(pos, k, v);
        terse_kv_put(f->kv, 0, 0, pos, k, v);
    }
    terse_kv_commit(f->kv, n);
    if (terse_kv_summarize(f->kv, terse_attend_needs(f->attend) & ~(uint32_t)TERSE_KV_CENTER, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    for (int32_t i = 0; i < ROWS * DIM; i++)
        f->q[i] = 3.0f * uniform();
    return f;
}

static inline void decode(fixture *f)
{
    terse_walk_decode(f->walk, 0, 0, f->n, 0.25f, f->q, f->out, &f->stats);
}

static inline void drop(fixture *f)
{
    terse_walk_close(&f->walk);
    terse_attend_close(&f->attend);
    terse_kv_close(&f->kv);
    free(f);
}

static inline void random_token(int32_t pos, float *k, float *v)
{
    (void)pos;
    for (int32_t d = 0; d < DIM; d++) {
        k[d] = 2.0f * uniform();
        v[d] = uniform();
    }
}

/* Softmax attention in float64 over what the store holds. */
static inline void reference(const fixture *f, double *out)
{
    const int32_t *table = terse_kv_table(f->kv, 0, 0);
    for (int32_t r = 0; r < ROWS; r++) {
        double s[MOST], top = -INFINITY, sum = 0.0;
        float x[DIM];
        for (int32_t t = 0; t < f->n; t++) {
            terse_page_get_k(f->kv->type_k, terse_kv_block(f->kv, table[t / TERSE_PAGE]), t % TERSE_PAGE, x,
                             DIM);
            s[t] = 0.0;
            for (int32_t d = 0; d < DIM; d++)
                s[t] += 0.25 * (double)f->q[r * DIM + d] * (double)x[d];
            top = fmax(top, s[t]);
        }
        for (int32_t d = 0; d < DIM; d++)
            out[r * DIM + d] = 0.0;
        for (int32_t t = 0; t < f->n; t++) {
            const double w = exp(s[t] - top);
            terse_page_get_v(f->kv->type_v, terse_kv_block(f->kv, table[t / TERSE_PAGE]) + f->kv->block_k,
                             t % TERSE_PAGE, x, DIM);
            sum += w;
            for (int32_t d = 0; d < DIM; d++)
                out[r * DIM + d] += w * (double)x[d];
        }
        for (int32_t d = 0; d < DIM; d++)
            out[r * DIM + d] /= sum;
    }
}

static inline double error_of(const fixture *f)
{
    double want[ROWS * DIM], worst = 0.0;
    reference(f, want);
    for (int32_t r = 0; r < ROWS; r++) {
        double diff = 0.0, size = 0.0;
        for (int32_t i = r * DIM; i < (r + 1) * DIM; i++) {
            diff += ((double)f->out[i] - want[i]) * ((double)f->out[i] - want[i]);
            size += want[i] * want[i];
        }
        worst = fmax(worst, sqrt(diff / size));
    }
    return worst;
}

/* One page holds the weight, and it is neither the first nor recent. */
static inline void needle_token(int32_t pos, float *k, float *v)
{
    random_token(pos, k, v);
    for (int32_t d = 0; d < DIM; d++)
        k[d] = pos / 32 == 10 ? 2.0f : -2.0f;
}

static inline void counting_token(int32_t pos, float *k, float *v)
{
    for (int32_t d = 0; d < DIM; d++) {
        k[d] = 1.0f;
        v[d] = (float)pos;
    }
}

#endif
