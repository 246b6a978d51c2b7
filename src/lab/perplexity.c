/* lab/perplexity.c: windows of a text, the end of each decoded densely and under every rule. */
#include "lab/compare.h"

#include <stdlib.h>
#include <string.h>

enum { SCORED = 64, WINDOWS = 16 };

/* A window: ids[ctx + 1], the last one only predicted. */
static terse_status run_window(terse_eval *e, const int32_t *ids, int32_t ctx, int32_t scored, terse_error *err)
{
    const int32_t base = ctx - scored;
    const float *logits;
    int32_t best;
    terse_status st = terse_compare_begin(e, ids, base, err);
    if (st == TERSE_OK)
        st = terse_compare_rule(e, -1, base, err);
    for (int32_t t = base; t < ctx && st == TERSE_OK; t++)
        if ((st = terse_compare_decode(e, ids[t], &logits, err)) == TERSE_OK)
            st = terse_compare_keep(e, logits, err);
    for (int32_t r = 0; r < e->n_rule && st == TERSE_OK; r++) {
        st = terse_compare_rule(e, r, base, err);
        for (int32_t t = base; t < ctx && st == TERSE_OK; t++)
            if ((st = terse_compare_decode(e, ids[t], &logits, err)) == TERSE_OK)
                st = terse_compare_row(e, r, t - base, logits, ids[t + 1], &best, err);
        terse_compare_read(e, r);
    }
    return st == TERSE_OK ? terse_compare_commit(e, err) : st;
}

/* Fills in what was left open. */
static terse_status plan(terse_eval_windows *w, const terse_eval *e, size_t n, bool bos, terse_error *err)
{
    const int32_t ctx = terse_session_ctx(e->session);
    w->ctx = w->ctx ? w->ctx : ctx;
    if (w->ctx < 2 || w->ctx > ctx)
        return terse_fail(err, TERSE_BAD_INPUT, "windows of %d tokens: 2 to %d are possible", w->ctx, ctx);
    w->scored = w->scored ? w->scored : SCORED < w->ctx ? SCORED : w->ctx - 1;
    if (w->scored < 1 || w->scored >= w->ctx)
        return terse_fail(err, TERSE_BAD_INPUT, "the last %d tokens of %d: 1 to %d are possible", w->scored,
                          w->ctx, w->ctx - 1);
    const size_t need = (size_t)w->ctx + !bos, fit = n / need;
    if (fit == 0)
        return terse_fail(err, TERSE_BAD_INPUT, "the text has %zu tokens, a window of %d needs %zu", n, w->ctx,
                          need);
    if (w->windows < 0 || (size_t)w->windows > fit)
        return terse_fail(err, TERSE_BAD_INPUT, "%d windows of %d tokens: the text has room for %zu",
                          w->windows, w->ctx, fit);
    w->windows = w->windows ? w->windows : fit < WINDOWS ? (int32_t)fit : WINDOWS;
    return TERSE_OK;
}

terse_status terse_eval_text(terse_eval *e, const int32_t *tokens, size_t n, const terse_eval_windows *windows,
                             terse_error *err)
{
    const terse_vocab *v = terse_model_vocab(e->model);
    const bool bos = terse_vocab_adds_bos(v);
    terse_eval_windows w = *windows;
    terse_status st = plan(&w, e, n, bos, err);
    for (size_t i = 0; i < n && st == TERSE_OK; i++) /* what is only predicted no session looks at */
        if (tokens[i] < 0 || tokens[i] >= e->n_vocab)
            st = terse_fail(err, TERSE_BAD_INPUT, "token id %d is not in the vocabulary of %d", tokens[i],
                            e->n_vocab);
    if (st != TERSE_OK)
        return st;
    int32_t *ids = malloc(((size_t)w.ctx + 1) * sizeof *ids);
    if (!ids)
        return terse_fail(err, TERSE_NOMEM, "no memory for a window of %d tokens", w.ctx);
    e->n_done = 0;
    e->n_total = (int64_t)w.windows * (w.ctx + (int64_t)w.scored * e->n_rule);
    for (int32_t i = 0; i < w.windows && st == TERSE_OK; i++) {
        const size_t from = n / (size_t)w.windows * (size_t)i;
        ids[0] = terse_vocab_bos(v);
        memcpy(ids + bos, tokens + from, ((size_t)w.ctx + !bos) * sizeof *ids);
        st = run_window(e, ids, w.ctx, w.scored, err);
    }
    free(ids);
    return st;
}
