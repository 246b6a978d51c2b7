/* lab/density.c: how much of a text every head still holds at its end. */
#include "terse/eval.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void terse_density_free(terse_density *d)
{
    free(d->share);
    *d = (terse_density){ 0 };
}

/* Adds one window: ids[ctx]. The last token is decoded: policies that look at a prompt's end have done so then.
 */
static terse_status add_window(terse_density *d, terse_session *s, const int32_t *ids, terse_error *err)
{
    terse_session_truncate(s, 0);
    terse_status st = terse_session_prefill(s, ids, d->ctx - 1, NULL, NULL, err);
    if (st == TERSE_OK)
        st = terse_session_decode(s, ids[d->ctx - 1], NULL, err);
    for (int32_t u = 0; u < d->n_layer * d->n_head && st == TERSE_OK; u++) {
        const terse_kv_held_info h = terse_session_held_of(s, u / d->n_head, u % d->n_head);
        const int32_t left = d->ctx - h.recent;
        d->share[u] += left > 0 ? (double)h.older / left / d->windows : 0.0;
        d->held += (double)(h.older + h.recent) / d->ctx / d->windows / (d->n_layer * d->n_head);
    }
    d->bytes += (double)terse_session_kv_bytes(s) / d->windows;
    return st;
}

terse_status terse_eval_density(terse_density *d, const terse_model *m, const terse_eval_opts *o,
                                const int32_t *tokens, size_t n, int32_t windows, terse_error *err)
{
    const terse_model_info *about = terse_model_about(m);
    const terse_vocab *v = terse_model_vocab(m);
    const bool bos = terse_vocab_adds_bos(v);
    const int32_t ctx = o->session.ctx ? o->session.ctx : about->ctx_train;
    *d = (terse_density){ .n_layer = about->n_layer, .n_head = about->n_head_kv, .ctx = ctx };
    if (ctx < 2)
        return terse_fail(err, TERSE_BAD_INPUT, "windows of %d tokens: 2 are the least", ctx);
    const size_t own = (size_t)(ctx - bos), fit = n / own;
    if (fit < 1 || windows < 0 || (size_t)windows > fit)
        return terse_fail(err, TERSE_BAD_INPUT, "%d windows of %d tokens: the text has room for %zu", windows,
                          ctx, fit);
    d->windows = windows ? windows : fit < 4 ? (int32_t)fit : 4;
    d->share = calloc((size_t)d->n_layer * (size_t)d->n_head, sizeof *d->share);
    int32_t *ids = malloc((size_t)ctx * sizeof *ids);
    terse_session *s = NULL;
    terse_status st = d->share && ids ? terse_session_open(&s, m, &o->session, err)
                                      : terse_fail(err, TERSE_NOMEM, "no memory for windows of %d tokens", ctx);
    if (st == TERSE_OK)
        snprintf(d->policy, sizeof d->policy, "%s", terse_session_policy(s));
    for (int32_t w = 0; w < d->windows && st == TERSE_OK; w++) {
        ids[0] = terse_vocab_bos(v);
        memcpy(ids + bos, tokens + n / (size_t)d->windows * (size_t)w, own * sizeof *ids);
        st = add_window(d, s, ids, err);
        if (o->progress)
            o->progress(o->progress_ctx, (int64_t)(w + 1) * ctx, (int64_t)d->windows * ctx);
    }
    terse_session_close(&s);
    free(ids);
    if (st != TERSE_OK)
        terse_density_free(d);
    return st;
}
