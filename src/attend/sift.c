/* attend/sift.c: values that are chosen page by page, under a value rule that knows from a token's share alone
 * that it may be left out. Shares are of the whole: what has been scored and what is estimated of the rest.
 * Scoring runs some pages ahead of mixing, so that the values that are wanted, which lie scattered, are on
 * their way before they are needed. */
#include "attend/walk.h"

#include "simd/expf.h"

#include <float.h>
#include <string.h>

enum { P = TERSE_PAGE, LANES = 16 };

void terse_sift_start(terse_walk *w, const terse_part *a)
{
    terse_sift *f = &w->sift;
    f->n_waiting = f->n_mixed = 0;
    memset(w->lane, 0, (size_t)w->n_row * LANES * sizeof *w->lane);
    for (int32_t r = 0; r < w->n_row; r++)
        f->keep[r] = 1.0f;
    memset(a->left, 0, (size_t)w->n_row * sizeof *a->left);
}

float *terse_sift_weights(terse_walk *w, const terse_walk *lead, int32_t i)
{
    const int32_t slot = i < lead->course.n_held ? i : w->cap + w->sift.n_waiting % TERSE_WAITING;
    return w->weights + (size_t)slot * (size_t)w->n_row * P;
}

/* Brings x to a maximum that has risen: by keep[row] each row of n. */
static void scale(float *x, const float *keep, int32_t n_row, int32_t n)
{
    for (int32_t r = 0; r < n_row; r++, x += n)
        for (int32_t i = 0; i < n && keep[r] != 1.0f; i++)
            x[i] *= keep[r];
}

void terse_sift_rise(terse_walk *w)
{
    terse_sift *f = &w->sift;
    const int32_t rows = w->n_row;
    bool risen = false;
    for (int32_t r = 0; r < rows; r++) {
        f->keep[r] *= w->keep[r];
        risen |= w->keep[r] != 1.0f;
    }
    if (!risen)
        return;
    scale(w->lane, w->keep, rows, LANES);
    for (int32_t k = f->n_mixed; k < f->n_waiting; k++)
        scale(f->waiting[k % TERSE_WAITING].weights, w->keep, rows, P);
}

/* Mixes the page that has waited longest; the values of `ahead`, if it is not NULL, will be wanted next. */
static void mix(terse_walk *w, terse_part *a, const terse_sifted *ahead)
{
    terse_sift *f = &w->sift;
    const terse_kv *kv = w->kv;
    const terse_sifted *x = &f->waiting[f->n_mixed++ % TERSE_WAITING];
    w->kernels.mix[kv->type_v](a->o, f->keep, x->weights, x->values, x->tokens, w->n_row, kv->opts.dim_v,
                               ahead ? ahead->values : NULL, ahead ? ahead->tokens : 0);
    for (int32_t r = 0; r < w->n_row; r++)
        f->keep[r] = 1.0f;
}

void terse_sift_page(terse_walk *w, const terse_walk *lead, terse_part *a, int32_t i, uint32_t live)
{
    terse_sift *f = &w->sift;
    const terse_kv *kv = w->kv;
    const int32_t rows = w->n_row, dim = kv->opts.dim_v, grain = terse_page_grain(kv->type_v, dim);
    float *s = terse_sift_weights(w, lead, i), tau[TERSE_MAX_GROUP];
    terse_walk_whole(lead, a, tau);
    for (int32_t r = 0; r < rows; r++)
        tau[r] = tau[r] <= FLT_MAX ? tau[r] * lead->course.light : -1.0f;
    const uint32_t tokens = w->kernels.pick(s, rows, tau, grain, w->lane) & live;
    if (!tokens)
        return;
    const int32_t lines = __builtin_popcount(terse_tokens_widen(tokens, grain));
    a->bytes_v += terse_page_tokens_size(kv->type_v, dim, lines);
    a->n_mixed += __builtin_popcount(tokens);
    a->n_some++;
    const terse_sifted x = { s, terse_walk_block(lead, i) + kv->block_k, tokens };
    if (f->n_waiting - f->n_mixed == TERSE_WAITING - 1)
        mix(w, a, &x);
    f->waiting[f->n_waiting++ % TERSE_WAITING] = x;
}

void terse_sift_held(terse_walk *w, terse_part *a)
{
    const terse_course *c = &w->course;
    const int32_t rows = w->n_row;
    float keep[TERSE_MAX_GROUP];
    for (int32_t i = 0; i < a->n_read; i++) {
        int32_t first;
        const int32_t fill = terse_kv_fill(w->kv, &c->view, w->list[i], &first);
        for (int32_t r = 0; r < rows; r++) {
            const float top = w->top[i * rows + r];
            keep[r] = top == a->m[r] ? 1.0f : terse_expf(top - a->m[r]);
        }
        scale(terse_sift_weights(w, w, i), keep, rows, P);
        terse_sift_page(w, w, a, i, terse_tokens_first(fill) & ~terse_tokens_first(first));
    }
}

void terse_sift_end(terse_walk *w, terse_part *a)
{
    terse_sift *f = &w->sift;
    const int32_t rows = w->n_row;
    while (f->n_mixed < f->n_waiting)
        mix(w, a, f->n_mixed + 1 < f->n_waiting ? &f->waiting[(f->n_mixed + 1) % TERSE_WAITING] : NULL);
    scale(a->o, f->keep, rows, w->kv->opts.dim_v);
    for (int32_t r = 0; r < rows; r++)
        a->left[r] = terse_fold16(w->lane + r * LANES);
}
