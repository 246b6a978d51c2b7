/* engine/session.c: a timeline of tokens. Prompts go through in chunks under exact attention; decode steps go
 * under the stop rule, one by one or in batches that give the same bits. */
#include "attend/policy.h"
#include "attend/walk.h"
#include "base/memory.h"
#include "base/topology.h"
#include "engine/session_parts.h"
#include "engine/tap.h"
#include "kv/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 512, MAX_THREADS = 1024, MAX_STRANDS = 64, STRANDS = 16 };

static terse_status check(const terse_session_opts *o, terse_error *err)
{
    if (o->ctx < 0 || o->ctx > 1 << 24)
        return terse_fail(err, TERSE_BAD_INPUT, "context of %d tokens: 1 to %d are possible", o->ctx, 1 << 24);
    if (o->threads < 0 || o->threads > MAX_THREADS)
        return terse_fail(err, TERSE_BAD_INPUT, "%d threads: 1 to %d are possible", o->threads, MAX_THREADS);
    if (o->strands < 0 || o->strands > MAX_STRANDS)
        return terse_fail(err, TERSE_BAD_INPUT, "%d strands: 1 to %d are possible", o->strands, MAX_STRANDS);
    if (o->chunk < 0 || o->chunk > 1 << 16)
        return terse_fail(err, TERSE_BAD_INPUT, "chunks of %d tokens: 1 to %d are possible", o->chunk, 1 << 16);
    return TERSE_OK;
}

/* What the policy needs beside the pages: marks of tokens, queries. */
static terse_status open_marks(terse_session *s, const terse_attend *a, bool observe, terse_error *err)
{
    const size_t heads = (size_t)s->model->info.n_layer * (size_t)s->model->info.n_head;
    terse_sequence *q = &s->seq;
    if (terse_attend_marks(a) || s->engine->forward.utility) {
        const terse_status st = terse_kv_marks_open(q->kv, err);
        if (st != TERSE_OK)
            return st;
    }
    if ((terse_attend_marks(a) || observe) && !q->seen) {
        q->seen = terse_calloc64(heads * TERSE_SEEN * (size_t)q->kv->opts.dim_k, sizeof *q->seen);
        q->n_seen = 0;
        if (!q->seen)
            return terse_fail(err, TERSE_NOMEM, "no memory for the last queries");
    }
    return TERSE_OK;
}

static terse_status open_store(terse_session *s, const terse_session_opts *o, terse_error *err)
{
    const terse_model_info *i = &s->model->info;
    int32_t *span = terse_calloc64((size_t)i->n_layer, sizeof *span);
    if (!span)
        return terse_fail(err, TERSE_NOMEM, "no memory for a session");
    for (int32_t l = 0; l < i->n_layer; l++)
        span[l] = s->model->layer[l].window;
    const terse_forward *f = &s->engine->forward;
    const terse_kv_opts kv = { .n_layer = i->n_layer,
                               .n_head = i->n_head_kv,
                               .dim_k = f->dim_k,
                               .dim_v = f->dim_v,
                               .type_k = s->engine->type_k,
                               .type_v = s->engine->type_v,
                               .ctx = f->ctx,
                               .limit = s->engine->limit,
                               .beside = o->beside ? o->beside->seq.kv : NULL,
                               .span = span,
                               .back = o->beside ? o->beside->seq.kv->opts.back : o->back };
    const terse_status st = terse_kv_open(&s->seq.kv, &kv, err);
    free(span);
    if (st == TERSE_OK)
        s->seq.kv->step = f->chunk;
    return st;
}

/* A list is closed whether it is complete or not. */
static void close_walks(terse_walk **walk, int32_t n)
{
    for (int32_t t = 0; walk && t < n; t++)
        terse_walk_close(&walk[t]);
    free(walk);
}

static int32_t n_walks(const terse_session *s)
{
    return s->engine->forward.n_thread + (s->engine->forward.split.most > 1 ? s->model->info.n_head_kv : 0);
}

/* One for each thread of the team, and for each KV head if several threads share it. NULL on failure. */
static terse_status open_walks(terse_walk ***out, const terse_session *s, const terse_attend *a, int32_t cap,
                               terse_error *err)
{
    const int32_t n = n_walks(s), n_row = s->model->info.n_head / s->model->info.n_head_kv;
    terse_status st = TERSE_OK;
    *out = NULL;
    terse_walk **walk = terse_calloc64((size_t)n, sizeof *walk);
    if (!walk)
        return terse_fail(err, TERSE_NOMEM, "no memory for attention");
    for (int32_t t = 0; t < n && st == TERSE_OK; t++)
        st = terse_walk_open_for(&walk[t], s->seq.kv, a, n_row, s->engine->forward.split, cap, s->engine->cpu,
                                 err);
    if (st == TERSE_OK)
        *out = walk;
    else
        close_walks(walk, n);
    return st;
}

/* So many strands that every core has something to do (more threads than cores do not change results), and two
 * where each has a KV head or nearly so: under a stop rule they would wait for the longest walk. */
static terse_split split_for(int32_t n_thread, int32_t n_head_kv)
{
    const int32_t cores = terse_cpu_logical(), n = n_thread < cores ? n_thread : cores;
    const int32_t strands = (n + n_head_kv - 1) / n_head_kv;
    if (strands > 1 || n < 2 || 2 * n <= n_head_kv)
        return (terse_split){ .most = strands < STRANDS ? strands : STRANDS };
    return (terse_split){ .most = 2, .even = true };
}

/* ---- threads and working memory ---- */

static void engine_leave(terse_engine **p)
{
    terse_engine *e = *p;
    *p = NULL;
    if (!e || --e->n_session > 0)
        return;
    terse_forward_close(&e->forward);
    terse_gate_close(&e->gate);
    free(e->tokens);
    free(e->segment);
    free(e);
}

void terse_engine_shape(terse_engine *e, const terse_model *m, const terse_session_opts *o)
{
    const terse_model_info *i = &m->info;
    terse_forward *f = &e->forward;
    e->cpu = o->cpu ? o->cpu : terse_cpu_tiers();
    e->limit = o->kv_limit;
    e->type_k = o->type_k;
    e->type_v = o->type_v;
    f->model = m;
    f->utility = e->gate ? e->gate : terse_model_gate(m);
    f->ctx = o->ctx ? o->ctx : i->ctx_train;
    f->dim_k = terse_kv_dim(o->type_k, i->dim_k);
    f->dim_v = terse_kv_dim(o->type_v, i->dim_v);
    f->chunk = o->chunk ? o->chunk : CHUNK;
    f->chunk = f->chunk < f->ctx ? f->chunk : f->ctx;
    f->n_thread = o->threads ? o->threads : terse_cpu_threads();
    f->split = o->strands ? (terse_split){ .most = o->strands } : split_for(f->n_thread, i->n_head_kv);
    f->abort = o->abort;
    f->watch = o->watch;
}

/* The threads go where o->pin wants them, if there is room. */
static terse_status open_forward(terse_engine *e, const terse_session_opts *o, terse_error *err)
{
    terse_forward *f = &e->forward;
    cpu_set_t *place = calloc((size_t)f->n_thread, sizeof *place);
    if (!place)
        return terse_fail(err, TERSE_NOMEM, "no memory for a session");
    e->pinned = o->pin != TERSE_PIN_NONE && terse_cpu_places(o->pin == TERSE_PIN_EACH, place, f->n_thread);
    f->place = e->pinned ? place : NULL;
    const terse_status st = terse_forward_open(f, err);
    f->place = NULL;
    free(place);
    return st;
}

static terse_status engine_open(terse_engine **out, const terse_model *m, const terse_session_opts *o,
                                terse_error *err)
{
    terse_engine *e = terse_calloc64(1, sizeof *e);
    *out = e;
    if (!e)
        return terse_fail(err, TERSE_NOMEM, "no memory for a session");
    e->n_session = 1;
    terse_status st = o->gate ? terse_gate_open(&e->gate, o->gate, m, err) : TERSE_OK;
    if (st != TERSE_OK)
        return st;
    terse_engine_shape(e, m, o);
    terse_forward *f = &e->forward;
    terse_kernels_for(&f->kernels, e->cpu);
    e->tokens = calloc((size_t)f->chunk, sizeof *e->tokens);
    e->segment = calloc((size_t)f->chunk, sizeof *e->segment);
    if (!e->tokens || !e->segment)
        return terse_fail(err, TERSE_NOMEM, "no memory for batches of %d tokens: use a smaller chunk",
                          f->chunk);
    return open_forward(e, o, err);
}

static terse_status engine_join(terse_engine **out, const terse_model *m, const terse_session_opts *o,
                                terse_error *err)
{
    if (!o->beside)
        return engine_open(out, m, o, err);
    if (o->beside->model != m)
        return terse_fail(err, TERSE_BAD_INPUT, "sessions of different models cannot stand beside each other");
    *out = o->beside->engine;
    (*out)->n_session++;
    return TERSE_OK;
}

/* ---- opening ---- */

/* Everything but the engine and the store. */
static terse_status open_attention(terse_session *s, const terse_session_opts *o, terse_error *err)
{
    const terse_model_info *i = &s->model->info;
    s->seq.attend = s->attend;
    s->seq.stats = terse_calloc64((size_t)i->n_layer * (size_t)i->n_head_kv, sizeof *s->seq.stats);
    s->logits = terse_calloc64((size_t)i->n_vocab, sizeof *s->logits);
    if (!s->seq.stats || !s->logits)
        return terse_fail(err, TERSE_NOMEM, "no memory for a session");
    terse_status st = terse_kv_summary_open(s->seq.kv, s->attend->needs, err);
    if (st == TERSE_OK)
        st = open_marks(s, s->attend, o->observe, err);
    if (st == TERSE_OK)
        st = terse_policy_open(s->attend, s->seq.kv, err);
    return st == TERSE_OK ? open_walks(&s->seq.walk, s, s->attend, 0, err) : st;
}

static terse_status set_budget(terse_session *s, const char *budget, terse_error *err)
{
    if (budget && strlen(budget) >= sizeof s->budget)
        return terse_fail(err, TERSE_BAD_INPUT, "KV budget '%.40s': tokens, a share as 20%%, or bytes", budget);
    snprintf(s->budget, sizeof s->budget, "%s", budget ? budget : "");
    return TERSE_OK;
}

terse_status terse_session_open(terse_session **out, const terse_model *m, const terse_session_opts *opts,
                                terse_error *err)
{
    static const terse_session_opts defaults;
    const terse_session_opts *o = opts ? opts : &defaults;
    *out = NULL;
    terse_status st = check(o, err);
    if (st != TERSE_OK)
        return st;
    terse_session *s = terse_calloc64(1, sizeof *s);
    if (!s)
        return terse_fail(err, TERSE_NOMEM, "no memory for a session");
    s->model = m;
    s->n_centered = -1;
    if ((st = engine_join(&s->engine, m, o, err)) == TERSE_OK &&
        (st = set_budget(s, o->budget, err)) == TERSE_OK)
        st = terse_session_attend(&s->attend, s, o->policy, o->stop, o->profile, o->audit, err);
    if (st == TERSE_OK && (st = open_store(s, o, err)) == TERSE_OK)
        st = open_attention(s, o, err);
    if (st != TERSE_OK) {
        terse_session_close(&s);
        return st;
    }
    *out = s;
    return TERSE_OK;
}

void terse_session_close(terse_session **p)
{
    terse_session *s = p ? *p : NULL;
    if (!s)
        return;
    if (s->engine)
        close_walks(s->seq.walk, n_walks(s));
    free(s->seq.stats);
    free(s->seq.seen);
    free(s->logits);
    terse_kv_close(&s->seq.kv);
    terse_attend_close(&s->attend);
    engine_leave(&s->engine);
    free(s);
    *p = NULL;
}

terse_status terse_session_rule(terse_session *s, const char *policy, const char *stop,
                                const terse_profile *profile, int32_t audit, terse_error *err)
{
    terse_attend *attend = NULL;
    terse_walk **walk = NULL;
    terse_status st = terse_session_attend(&attend, s, policy, stop, profile, audit, err);
    if (st == TERSE_OK)
        st = terse_kv_summary_open(s->seq.kv, attend->needs, err);
    s->prepared = false;
    if (st == TERSE_OK)
        st = open_marks(s, attend, false, err);
    if (st == TERSE_OK)
        st = open_walks(&walk, s, attend, 0, err);
    if (st == TERSE_OK)
        st = terse_policy_open(attend, s->seq.kv, err); /* walks know how large it will be */
    if (st != TERSE_OK) {
        close_walks(walk, n_walks(s));
        terse_attend_close(&attend);
        return st;
    }
    close_walks(s->seq.walk, n_walks(s));
    terse_attend_close(&s->attend);
    s->seq.walk = walk;
    s->seq.attend = s->attend = attend;
    s->seq.judged = false;
    terse_session_stats_reset(s);
    return TERSE_OK;
}

terse_status terse_session_rewalk(terse_session *s, int32_t cap, terse_error *err)
{
    terse_walk **walk = NULL;
    const terse_status st = open_walks(&walk, s, s->attend, cap, err);
    if (st != TERSE_OK)
        return st;
    close_walks(s->seq.walk, n_walks(s));
    s->seq.walk = walk;
    s->seq.n_seen = 0;
    s->seq.judged = false;
    s->n_centered = -1;
    s->prepared = false;
    return TERSE_OK;
}

terse_status terse_session_copy(terse_session *to, const terse_session *from, terse_error *err)
{
    const terse_kv_opts *a = &to->seq.kv->opts, *b = &from->seq.kv->opts;
    terse_session_truncate(to, 0);
    if (to->model != from->model || a->ctx != b->ctx || a->type_k != b->type_k || a->type_v != b->type_v)
        return terse_fail(err, TERSE_BAD_INPUT, "sessions of other models, contexts or types cannot be copied");
    terse_status st = terse_session_rewalk(to, from->seq.kv->cap, err);
    if (st == TERSE_OK && (st = terse_kv_copy(to->seq.kv, from->seq.kv, err)) == TERSE_OK)
        st = terse_policy_open(to->attend, to->seq.kv, err);
    if (st != TERSE_OK) {
        terse_session_truncate(to, 0);
        return st;
    }
    const size_t heads = (size_t)to->model->info.n_layer * (size_t)to->model->info.n_head;
    if (to->seq.seen && from->seq.seen) {
        memcpy(to->seq.seen, from->seq.seen, heads * TERSE_SEEN * (size_t)a->dim_k * sizeof(float));
        to->seq.n_seen = from->seq.n_seen;
    }
    memcpy(to->logits, from->logits, (size_t)to->model->info.n_vocab * sizeof *to->logits);
    return TERSE_OK;
}

terse_status terse_session_repeat(terse_session *s, int32_t n, terse_error *err)
{
    const terse_status st = terse_kv_repeat(s->seq.kv, n, err);
    s->seq.n_seen = 0;
    s->seq.judged = false;
    s->n_centered = -1;
    s->prepared = false;
    return st;
}

bool terse_session_truncate(terse_session *s, int32_t n)
{
    const int32_t before = terse_kv_count(s->seq.kv);
    if (!terse_kv_truncate(s->seq.kv, n < 0 ? 0 : n))
        return false;
    const int32_t gone = before - terse_kv_count(s->seq.kv);
    s->seq.n_seen = s->seq.n_seen > gone ? s->seq.n_seen - gone : 0;
    if (terse_kv_count(s->seq.kv) < s->n_centered) {
        s->n_centered = -1;
        s->prepared = false;
    }
    return true;
}
const terse_model *terse_session_model(const terse_session *s)
{
    return s->model;
}
int32_t terse_session_count(const terse_session *s)
{
    return terse_kv_count(s->seq.kv);
}
int32_t terse_session_ctx(const terse_session *s)
{
    return s->engine->forward.ctx;
}
int32_t terse_session_threads(const terse_session *s)
{
    return terse_team_size(s->engine->forward.team);
}
bool terse_session_pinned(const terse_session *s)
{
    return s->engine->pinned;
}
const char *terse_session_tier(const terse_session *s)
{
    return terse_cpu_tier_name(s->engine->cpu);
}
const char *terse_session_policy(const terse_session *s)
{
    return terse_attend_policy_text(s->attend);
}
const char *terse_session_policy_why(const terse_session *s)
{
    return s->attend->why;
}
const char *terse_session_stop(const terse_session *s)
{
    return terse_attend_stop_text(s->attend);
}
bool terse_session_bounded(const terse_session *s)
{
    return terse_attend_bounded(s->attend);
}
int64_t terse_session_held(const terse_session *s)
{
    return terse_kv_held(s->seq.kv);
}
terse_kv_held_info terse_session_held_of(const terse_session *s, int32_t layer, int32_t head)
{
    const terse_kv_view v =
        terse_kv_view_at(s->seq.kv, terse_kv_unit(s->seq.kv, layer, head), terse_kv_count(s->seq.kv) - 1);
    return (terse_kv_held_info){ v.to - v.from, v.n_long };
}
size_t terse_session_kv_bytes(const terse_session *s)
{
    return terse_kv_bytes(s->seq.kv);
}

terse_attend_stats terse_session_stats(const terse_session *s)
{
    terse_attend_stats sum = { 0 };
    for (int32_t u = 0; u < s->model->info.n_layer * s->model->info.n_head_kv; u++)
        terse_attend_stats_add(&sum, &s->seq.stats[u]);
    return sum;
}

const terse_attend_stats *terse_session_stats_of(const terse_session *s, int32_t layer, int32_t head)
{
    const terse_model_info *i = &s->model->info;
    if (layer < 0 || layer >= i->n_layer || head < 0 || head >= i->n_head_kv)
        return NULL;
    return &s->seq.stats[layer * i->n_head_kv + head];
}

terse_spending terse_session_spent(const terse_session *s)
{
    return s->engine->forward.spent;
}

void terse_session_stats_reset(terse_session *s)
{
    s->engine->forward.spent = (terse_spending){ 0 };
    const terse_model_info *i = &s->model->info;
    memset(s->seq.stats, 0, (size_t)i->n_layer * (size_t)i->n_head_kv * sizeof *s->seq.stats);
}

void terse_session_tap(terse_session *s, terse_tap tap)
{
    s->seq.tap = tap;
}
const terse_kv *terse_session_kv(const terse_session *s)
{
    return s->seq.kv;
}
