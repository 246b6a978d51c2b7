/* lab/heads.c: which heads look things up. Prompts whose answers lie far back are run densely; a tap on every
 * decoded token's attention walks once more over the first and the last tokens alone. */
#include "attend/walk.h"
#include "base/memory.h"
#include "engine/session_parts.h"
#include "engine/tap.h"
#include "lab/compare.h"
#include "lab/statistics.h"
#include "terse/calibrate.h"

#include <math.h>
#include <stdlib.h>

typedef struct {
    const terse_model_info *about;
    const terse_kv *kv;
    terse_attend *attend;
    int32_t sinks, window;
    float scale;
    terse_walk **walk; /* [n_head_kv] one for each head: the heads of a layer may come at the same time */
    float **out;       /* [n_head_kv] its group's results */
    double *sum;       /* [n_layer][n_head_kv] */
    int64_t *n;        /* [n_layer][n_head_kv] query heads of tokens */
    int64_t tokens;
} measuring;

static void attended(void *ctx, int32_t layer, int32_t head, int32_t pos, const float *q, const float *out)
{
    measuring *x = ctx;
    const int32_t rows = x->about->n_head / x->about->n_head_kv, dim = x->kv->opts.dim_v;
    const int32_t u = layer * x->about->n_head_kv + head;
    x->tokens += u == 0; /* one thread has this head */
    if (terse_kv_span(x->kv, terse_kv_unit(x->kv, layer, head)))
        return;
    terse_walk_streaming(x->walk[head], layer, head, pos + 1, x->sinks, x->window, x->scale, q, x->out[head]);
    for (int32_t r = 0; r < rows; r++) {
        x->sum[u] += terse_relative_distance(x->out[head] + r * dim, out + r * dim, dim);
        x->n[u]++;
    }
}

static void close_measuring(measuring *x)
{
    for (int32_t h = 0; h < x->about->n_head_kv; h++) {
        if (x->walk)
            terse_walk_close(&x->walk[h]);
        if (x->out)
            free(x->out[h]);
    }
    free(x->walk);
    free(x->out);
    free(x->sum);
    free(x->n);
    terse_attend_close(&x->attend);
}

/* On failure x is to be closed too. */
static terse_status open_measuring(measuring *x, const terse_model *m, const terse_eval *e,
                                   const terse_heads_opts *o, terse_error *err)
{
    const terse_session *s = terse_eval_session(e);
    const terse_model_info *i = terse_model_about(m);
    const int32_t heads = i->n_head_kv, rows = i->n_head / heads;
    const size_t n_unit = (size_t)i->n_layer * (size_t)heads;
    *x = (measuring){ .about = i,
                      .kv = terse_session_kv(s),
                      .sinks = o->sinks ? o->sinks : TERSE_DUO_SINKS,
                      .window = o->window ? o->window : TERSE_DUO_WINDOW,
                      .scale = m->scale };
    x->walk = calloc((size_t)heads, sizeof *x->walk);
    x->out = calloc((size_t)heads, sizeof *x->out);
    x->sum = calloc(n_unit, sizeof *x->sum);
    x->n = calloc(n_unit, sizeof *x->n);
    if (!x->walk || !x->out || !x->sum || !x->n)
        return terse_fail(err, TERSE_NOMEM, "no memory to measure heads");
    terse_status st = terse_attend_open(&x->attend, NULL, NULL, 0, err);
    if (st == TERSE_OK)
        st = terse_attend_shape(x->attend, m, terse_session_ctx(s), err);
    for (int32_t h = 0; h < heads && st == TERSE_OK; h++) {
        x->out[h] = terse_calloc64((size_t)rows * (size_t)x->kv->opts.dim_v, sizeof *x->out[h]);
        if (!x->out[h])
            return terse_fail(err, TERSE_NOMEM, "no memory to measure heads");
        st = terse_walk_open(&x->walk[h], x->kv, x->attend, rows, o->session.cpu, err);
    }
    return st;
}

terse_status terse_heads_measure(float *change, terse_heads_result *result, const terse_model *m,
                                 const terse_tasks *t, const terse_heads_opts *o, terse_error *err)
{
    const terse_model_info *i = terse_model_about(m);
    const int32_t n_unit = i->n_layer * i->n_head_kv;
    terse_eval_opts opts = { .session = o->session, .progress = o->progress, .progress_ctx = o->progress_ctx };
    measuring x = { .about = i };
    terse_eval *e = NULL;
    if (o->sinks < 0 || o->window < 0)
        return terse_fail(err, TERSE_BAD_INPUT, "%d first and %d last tokens", o->sinks, o->window);
    opts.session.ctx = opts.session.ctx ? opts.session.ctx : terse_tasks_ctx(t);
    terse_status st = terse_eval_open(&e, m, &opts, NULL, 0, err);
    if (st == TERSE_OK)
        st = open_measuring(&x, m, e, o, err);
    if (st == TERSE_OK) {
        terse_session_tap(e->session, (terse_tap){ .attended = attended, .ctx = &x });
        st = terse_eval_tasks(e, t, err);
    }
    if (st == TERSE_OK) {
        for (int32_t u = 0; u < n_unit; u++)
            change[u] = x.n[u] ? (float)(x.sum[u] / (double)x.n[u]) : NAN;
        *result = (terse_heads_result){ .score = terse_eval_score_of(e, -1, -1), .tokens = x.tokens };
    }
    close_measuring(&x);
    terse_eval_close(&e);
    return st;
}
