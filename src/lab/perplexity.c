/* lab/perplexity.c: windows of a text, the end of each decoded densely and under every rule; then greedy
 * generation from the same place, which shows when a rule goes its own way. */
#include "lab/compare.h"
#include "lab/statistics.h"

#include <stdlib.h>
#include <string.h>

enum { SCORED = 64, WINDOWS = 16 };

/* A window: ids[ctx + 1], the last one only predicted; base are computed densely. */
typedef struct {
    int32_t *ids;
    int32_t ctx, base;
} window;

/* ---- the text's own tokens ---- */

static terse_status run_dense(terse_eval *e, const window *w, terse_error *err)
{
    const float *logits;
    terse_status st = terse_compare_rule(e, -1, w->base, err);
    for (int32_t t = w->base; t < w->ctx && st == TERSE_OK; t++)
        if ((st = terse_compare_decode(e, w->ids[t], &logits, err)) == TERSE_OK)
            st = terse_compare_keep_before(e, logits, w->ids[t + 1], err);
    return st;
}

static terse_status run_rule(terse_eval *e, int32_t r, const window *w, terse_error *err)
{
    const float *logits;
    int32_t best;
    terse_status st = terse_compare_rule(e, r, w->base, err);
    for (int32_t t = w->base; t < w->ctx && st == TERSE_OK; t++)
        if ((st = terse_compare_decode(e, w->ids[t], &logits, err)) == TERSE_OK)
            st = terse_compare_row(e, r, t - w->base, logits, w->ids[t + 1], &best, err);
    terse_compare_read(e, r);
    return st;
}

/* ---- what the model writes itself, under the rule that is set ---- */

/* Decodes token id; *next is the likeliest one behind it. */
static terse_status advance(terse_eval *e, int32_t id, int32_t *next, terse_error *err)
{
    const float *logits;
    const terse_status st = terse_compare_decode(e, id, &logits, err);
    *next = st == TERSE_OK ? terse_logits_best(logits, e->n_vocab) : 0;
    return *next < 0 ? terse_compare_broken(e, err) : st;
}

static terse_status write_dense(terse_eval *e, const window *w, terse_error *err)
{
    const terse_vocab *v = terse_model_vocab(e->model);
    terse_status st = TERSE_OK;
    terse_session_truncate(e->session, w->base);
    for (int32_t i = 0, id = w->ids[w->base]; i < e->n_free && st == TERSE_OK; i++) {
        if ((st = advance(e, id, &id, err)) != TERSE_OK)
            return st;
        e->written[e->n_written++] = id;
        if (terse_vocab_is_end(v, id))
            break;
    }
    terse_compare_tick(e, e->n_free - e->n_written);
    return st;
}

/* As far as the rule agrees. */
static terse_status write_rule(terse_eval *e, int32_t r, const window *w, terse_error *err)
{
    int32_t *differs = &e->tally[r].differs_next;
    int32_t n = 0, id = w->ids[w->base];
    if (e->n_written > 0) {
        const terse_status st = terse_compare_rule(e, r, w->base, err);
        if (st != TERSE_OK)
            return st;
    }
    while (n < e->n_written && !*differs) {
        const terse_status st = advance(e, id, &id, err);
        if (st != TERSE_OK)
            return st;
        *differs = id == e->written[n++] ? 0 : n;
    }
    terse_compare_tick(e, e->n_free - n);
    return TERSE_OK;
}

/* ---- windows ---- */

static terse_status run_window(terse_eval *e, const window *w, terse_error *err)
{
    terse_status st = terse_compare_begin(e, w->ids, w->base, err);
    if (st == TERSE_OK)
        st = run_dense(e, w, err);
    if (st == TERSE_OK)
        st = write_dense(e, w, err);
    for (int32_t r = 0; r < e->n_rule && st == TERSE_OK; r++) {
        st = run_rule(e, r, w, err);
        if (st == TERSE_OK)
            st = write_rule(e, r, w, err);
    }
    return st == TERSE_OK ? terse_compare_commit(e, err) : st;
}

/* How many windows of `need` tokens the text of n has; n >= need. */
static size_t fitting(const terse_eval_windows *w, size_t n, size_t need)
{
    return w->stride ? (n - need) / (size_t)w->stride + 1 : n / need;
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
    if (w->free < 0 || w->free > ctx - (w->ctx - w->scored))
        return terse_fail(err, TERSE_BAD_INPUT, "free runs of %d tokens: 0 to %d are possible", w->free,
                          ctx - (w->ctx - w->scored));
    if (w->stride < 0)
        return terse_fail(err, TERSE_BAD_INPUT, "windows cannot begin %d tokens apart", w->stride);
    const size_t need = (size_t)w->ctx + !bos;
    if (n < need)
        return terse_fail(err, TERSE_BAD_INPUT, "the text has %zu tokens, a window of %d needs %zu", n, w->ctx,
                          need);
    const size_t fit = fitting(w, n, need), some = w->stride || fit < WINDOWS ? fit : WINDOWS;
    if (w->windows < 0 || (size_t)w->windows > fit || fit > INT32_MAX)
        return terse_fail(err, TERSE_BAD_INPUT, "%d windows of %d tokens: the text has room for %zu",
                          w->windows, w->ctx, fit);
    w->windows = w->windows ? w->windows : (int32_t)some;
    return TERSE_OK;
}

static terse_status check_ids(const terse_eval *e, const int32_t *tokens, size_t n, terse_error *err)
{
    for (size_t i = 0; i < n; i++) /* what is only predicted no session looks at */
        if (tokens[i] < 0 || tokens[i] >= e->n_vocab)
            return terse_fail(err, TERSE_BAD_INPUT, "token id %d is not in the vocabulary of %d", tokens[i],
                              e->n_vocab);
    return TERSE_OK;
}

/* What the windows need beyond what e has. */
static terse_status prepare(terse_eval *e, const terse_eval_windows *w, terse_error *err)
{
    if (e->tally[0].n_sample > 0 && (e->no_rows != w->ppl_only || e->n_free != w->free))
        return terse_fail(err, TERSE_BAD_INPUT, "the windows before were compared in another way");
    e->cap_row = e->no_rows == w->ppl_only ? e->cap_row : 0;
    if (w->free > e->cap_written) {
        int32_t *written = realloc(e->written, (size_t)w->free * sizeof *written);
        if (!written)
            return terse_fail(err, TERSE_NOMEM, "no memory for free runs of %d tokens", w->free);
        e->written = written;
        e->cap_written = w->free;
    }
    e->no_rows = w->ppl_only;
    e->n_free = w->free;
    e->n_done = 0;
    e->n_total =
        (int64_t)w->windows * (w->ctx + (int64_t)w->scored * e->n_rule + (int64_t)w->free * (1 + e->n_rule));
    return TERSE_OK;
}

terse_status terse_eval_text(terse_eval *e, const int32_t *tokens, size_t n, const terse_eval_windows *windows,
                             terse_error *err)
{
    const terse_vocab *v = terse_model_vocab(e->model);
    const bool bos = terse_vocab_adds_bos(v);
    terse_eval_windows w = *windows;
    terse_status st = plan(&w, e, n, bos, err);
    if (st == TERSE_OK)
        st = check_ids(e, tokens, n, err);
    if (st == TERSE_OK)
        st = prepare(e, &w, err);
    if (st != TERSE_OK)
        return st;
    window one = { .ctx = w.ctx, .base = w.ctx - w.scored };
    one.ids = malloc(((size_t)w.ctx + 1) * sizeof *one.ids);
    if (!one.ids)
        return terse_fail(err, TERSE_NOMEM, "no memory for a window of %d tokens", w.ctx);
    const size_t step = w.stride ? (size_t)w.stride : n / (size_t)w.windows;
    for (int32_t i = 0; i < w.windows && st == TERSE_OK; i++) {
        one.ids[0] = terse_vocab_bos(v);
        memcpy(one.ids + bos, tokens + step * (size_t)i, ((size_t)w.ctx + !bos) * sizeof *one.ids);
        st = run_window(e, &one, err);
    }
    free(one.ids);
    return st;
}
