/* engine/session.c: a timeline of tokens. Prompts go through in chunks under exact attention; decode steps go
 * under the stop rule, one by one or in batches that give the same bits. */
#include "attend/policy.h"
#include "attend/walk.h"
#include "base/memory.h"
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
    if (terse_attend_marks(a) || s->forward.utility) {
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
    const terse_kv_opts kv = { .n_layer = i->n_layer,
                               .n_head = i->n_head_kv,
                               .dim_k = terse_kv_dim(o->type_k, i->dim_k),
                               .dim_v = terse_kv_dim(o->type_v, i->dim_v),
                               .type_k = o->type_k,
                               .type_v = o->type_v,
                               .ctx = s->ctx,
                               .limit = o->kv_limit,
                               .span = span,
                               .back = o->back };
    terse_status st = terse_kv_open(&s->seq.kv, &kv, err);
    free(span);
    if (st != TERSE_OK)
        return st;
    s->seq.kv->step = s->forward.chunk;
    st = open_marks(s, s->attend, o->observe, err);
    return st == TERSE_OK ? terse_policy_open(s->attend, s->seq.kv, err) : st;
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
    return s->forward.n_thread + (s->forward.n_strand > 1 ? s->model->info.n_head_kv : 0);
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
        st = terse_walk_open_for(&walk[t], s->seq.kv, a, n_row, s->forward.n_strand, cap, s->cpu, err);
    if (st == TERSE_OK)
        *out = walk;
    else
        close_walks(walk, n);
    return st;
}

/* So many that every core has something to do: more threads than cores do not change results. */
static int32_t strands_for(int32_t n_thread, int32_t n_head_kv)
{
    const int32_t cores = terse_cpu_logical(), n = n_thread < cores ? n_thread : cores;
    const int32_t strands = (n + n_head_kv - 1) / n_head_kv;
    return strands < STRANDS ? strands : STRANDS;
}

static terse_status open_forward(terse_session *s, const terse_session_opts *o, terse_error *err)
{
    const terse_model_info *i = &s->model->info;
    terse_forward *f = &s->forward;
    f->model = s->model;
    f->ctx = s->ctx;
    f->dim_k = s->seq.kv->opts.dim_k;
    f->dim_v = s->seq.kv->opts.dim_v;
    f->n_thread = o->threads ? o->threads : terse_cpu_threads();
    f->n_strand = o->strands ? o->strands : strands_for(f->n_thread, i->n_head_kv);
    s->seq.attend = s->attend;
    f->abort = o->abort;
    f->watch = o->watch;
    terse_kernels_for(&f->kernels, s->cpu);
    s->seq.stats = terse_calloc64((size_t)i->n_layer * (size_t)i->n_head_kv, sizeof *s->seq.stats);
    s->logits = terse_calloc64((size_t)i->n_vocab, sizeof *s->logits);
    if (!s->seq.stats || !s->logits)
        return terse_fail(err, TERSE_NOMEM, "no memory for a session");
    const terse_status st = open_walks(&s->seq.walk, s, s->attend, 0, err);
    return st == TERSE_OK ? terse_forward_open(f, err) : st;
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
    s->ctx = o->ctx ? o->ctx : m->info.ctx_train;
    s->cpu = o->cpu ? o->cpu : terse_cpu_tiers();
    if (o->gate && (st = terse_gate_open(&s->gate, o->gate, m, err)) != TERSE_OK)
        goto fail;
    if (o->budget && strlen(o->budget) >= sizeof s->budget) {
        st =
            terse_fail(err, TERSE_BAD_INPUT, "KV budget '%.40s': tokens, a share as 20%%, or bytes", o->budget);
        goto fail;
    }
    snprintf(s->budget, sizeof s->budget, "%s", o->budget ? o->budget : "");
    s->limit = o->kv_limit;
    s->type_k = o->type_k;
    s->type_v = o->type_v;
    s->forward.utility = s->gate ? s->gate : terse_model_gate(m);
    s->forward.chunk = o->chunk ? o->chunk : CHUNK;
    s->forward.chunk = s->forward.chunk < s->ctx ? s->forward.chunk : s->ctx;
    if ((st = terse_session_attend(&s->attend, s, o->policy, o->stop, o->profile, o->audit, err)) != TERSE_OK)
        goto fail;
    if ((st = open_store(s, o, err)) != TERSE_OK)
        goto fail;
    if ((st = terse_kv_summary_open(s->seq.kv, s->attend->needs, err)) != TERSE_OK)
        goto fail;
    if ((st = open_forward(s, o, err)) != TERSE_OK)
        goto fail;
    *out = s;
    return TERSE_OK;
fail:
    terse_session_close(&s);
    return st;
}

void terse_session_close(terse_session **p)
{
    terse_session *s = p ? *p : NULL;
    if (!s)
        return;
    terse_forward_close(&s->forward);
    close_walks(s->seq.walk, n_walks(s));
    free(s->seq.stats);
    free(s->seq.seen);
    free(s->logits);
    terse_kv_close(&s->seq.kv);
    terse_attend_close(&s->attend);
    terse_gate_close(&s->gate);
    free(s);
    *p = NULL;
}

/* What the rule must know of the pages, before the first step that needs it: every thread takes some (layer,
 * head). */
static void prepare(void *ctx, int32_t thread, int32_t n_thread)
{
    terse_session *s = ctx;
    const int32_t n = s->model->info.n_layer * s->model->info.n_head_kv;
    (void)n_thread;
    for (int32_t u; (u = terse_phase_take(&s->preparing)) < n; terse_phase_finish(&s->preparing, n)) {
        const int32_t heads = s->model->info.n_head_kv;
        if (terse_attend_marks(s->attend))
            terse_policy_trim(s->seq.walk[thread], s->seq.kv, u / heads, u % heads, terse_kv_count(s->seq.kv));
        else if (terse_attend_drops(s->attend))
            terse_policy_revise(s->attend, s->seq.kv, u / heads, u % heads);
        if (s->n_centered < 0 && s->attend->needs & TERSE_KV_CENTER)
            terse_kv_center_unit(s->seq.kv, (size_t)u);
        if (s->seq.kv->n_summary)
            terse_kv_summary_all(s->seq.kv, (size_t)u);
    }
    terse_phase_wait(&s->preparing, n);
}

/* Ids in range and room for them, before anything is computed. */
static terse_status admit(terse_session *s, const int32_t *tokens, int32_t n, terse_error *err)
{
    const int32_t n_vocab = s->model->info.n_vocab;
    if (n < 1)
        return terse_fail(err, TERSE_BAD_INPUT, "no tokens to evaluate");
    for (int32_t t = 0; t < n; t++)
        if (tokens[t] < 0 || tokens[t] >= n_vocab)
            return terse_fail(err, TERSE_BAD_INPUT, "token id %d is not in the vocabulary of %d", tokens[t],
                              n_vocab);
    if ((s->seq.kv->n_ring || s->model->info.n_windowed) && n <= s->ctx - terse_kv_count(s->seq.kv))
        return TERSE_OK; /* no room for all of a prompt is needed: step by step, as pages come back */
    if (!s->seq.kv->n_ring)
        return terse_kv_reserve(s->seq.kv, n, err);
    return terse_fail(err, TERSE_BAD_INPUT, "%d tokens do not fit behind %d in a context of %d", n,
                      terse_kv_count(s->seq.kv), s->ctx);
}

/* One batch; commits what it put. logits: [n][n_vocab] if all are wanted, else [n_vocab]; NULL: none. */
static terse_status step(terse_session *s, const int32_t *tokens, int32_t n, bool decode, float *logits,
                         bool all, terse_error *err)
{
    terse_forward *f = &s->forward;
    terse_sequence *q = &s->seq;
    const terse_segment segment = { q, 0, n, terse_kv_count(q->kv), decode };
    f->tokens = tokens;
    f->n = n;
    f->segment = &segment;
    f->n_segment = 1;
    f->n_wanted = 0;
    for (int32_t t = all ? 0 : n - 1; logits && t < n; t++)
        f->wanted[f->n_wanted++] = t;
    f->logits = logits;
    const terse_status st = terse_kv_reserve(q->kv, n, err);
    if (st != TERSE_OK)
        return st;
    if (segment.pos == 0) {
        q->n_seen = 0;
        q->judged = terse_attend_marks(s->attend);
    }
    if (!terse_forward_run(f))
        return terse_fail(err, TERSE_INTERRUPTED, "interrupted");
    if (terse_gguf_broken(s->model->gguf))
        return terse_fail(err, TERSE_IO, "%s: the file was cut short while it was in use",
                          terse_gguf_path(s->model->gguf));
    terse_kv_commit(q->kv, n);
    q->n_seen = q->n_seen + n < TERSE_SEEN ? q->n_seen + n : TERSE_SEEN;
    return TERSE_OK;
}

/* After a failure. Layers with windows may not be able to: then nothing is left. */
static void take_back(terse_session *s, int32_t n)
{
    if (!terse_session_truncate(s, n))
        terse_session_truncate(s, 0);
}

terse_status terse_session_prefill(terse_session *s, const int32_t *tokens, int32_t n, const float **logits,
                                   float *all, terse_error *err)
{
    const int32_t before = terse_kv_count(s->seq.kv);
    terse_status st = admit(s, tokens, n, err);
    for (int32_t t = 0; t < n && st == TERSE_OK;) {
        const int32_t m = n - t < s->forward.chunk ? n - t : s->forward.chunk;
        float *row = all                    ? all + (size_t)t * (size_t)s->model->info.n_vocab
                     : t + m == n && logits ? s->logits
                                            : NULL;
        st = step(s, tokens + t, m, false, row, all != NULL, err);
        t += m;
    }
    s->n_centered = -1;
    s->prepared = false;
    if (st != TERSE_OK) {
        take_back(s, before);
        return st;
    }
    if (all)
        memcpy(s->logits, all + (size_t)(n - 1) * (size_t)s->model->info.n_vocab,
               (size_t)s->model->info.n_vocab * sizeof *s->logits);
    if (logits)
        *logits = s->logits;
    return TERSE_OK;
}

static void survey(void *ctx, int32_t thread, int32_t n_thread)
{
    terse_session *s = ctx;
    const int32_t heads = s->model->info.n_head_kv, n = s->model->info.n_layer * heads;
    (void)n_thread;
    for (int32_t u; (u = terse_phase_take(&s->preparing)) < n; terse_phase_finish(&s->preparing, n))
        terse_judge_survey(&s->forward, &s->seq, s->seq.walk[thread], u / heads, u % heads);
    terse_phase_wait(&s->preparing, n);
}

/* Before the first step behind a prompt: the policy looks at what there is, and the rule is told of it. */
static terse_status prepare_all(terse_session *s, terse_error *err)
{
    const bool drops = terse_attend_drops(s->attend);
    const terse_status st = terse_policy_settle(s->attend, s->seq.kv, err);
    if (st != TERSE_OK)
        return st;
    if (terse_attend_marks(s->attend)) {
        terse_phase_reset(&s->preparing);
        terse_team_run(s->forward.team, survey, s);
    }
    if (s->attend->needs || drops) {
        terse_phase_reset(&s->preparing);
        terse_team_run(s->forward.team, prepare, s);
    }
    if (drops)
        terse_kv_settle(s->seq.kv);
    if (s->n_centered < 0 && s->attend->needs & TERSE_KV_CENTER)
        s->n_centered = terse_kv_count(s->seq.kv);
    s->prepared = true;
    return TERSE_OK;
}

/* Decodes tokens[n] in batches, the first row of logits at rows. On failure the session is as it was. */
static terse_status decode(terse_session *s, const int32_t *tokens, int32_t n, float *rows, terse_error *err)
{
    const int32_t before = terse_kv_count(s->seq.kv);
    terse_status st = admit(s, tokens, n, err);
    if (st != TERSE_OK)
        return st;
    if (!s->prepared && (st = prepare_all(s, err)) != TERSE_OK)
        return st;
    const int32_t most = terse_attend_marks(s->attend) ? 1 : s->forward.chunk;
    for (int32_t t = 0; t < n && st == TERSE_OK;) {
        const int32_t m = n - t < most ? n - t : most;
        st = step(s, tokens + t, m, true, rows + (size_t)t * (size_t)s->model->info.n_vocab, true, err);
        t += m;
    }
    if (st != TERSE_OK)
        take_back(s, before);
    return st;
}

terse_status terse_session_decode(terse_session *s, int32_t token, const float **logits, terse_error *err)
{
    const terse_status st = decode(s, &token, 1, s->logits, err);
    if (st == TERSE_OK && logits)
        *logits = s->logits;
    return st;
}

terse_status terse_session_decode_many(terse_session *s, const int32_t *tokens, int32_t n, float *all,
                                       terse_error *err)
{
    return decode(s, tokens, n, all, err);
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

terse_status terse_session_copy(terse_session *to, const terse_session *from, terse_error *err)
{
    const terse_kv_opts *a = &to->seq.kv->opts, *b = &from->seq.kv->opts;
    terse_walk **walk = NULL;
    terse_session_truncate(to, 0);
    if (to->model != from->model || a->ctx != b->ctx || a->type_k != b->type_k || a->type_v != b->type_v)
        return terse_fail(err, TERSE_BAD_INPUT, "sessions of other models, contexts or types cannot be copied");
    terse_status st = open_walks(&walk, to, to->attend, from->seq.kv->cap, err);
    if (st != TERSE_OK)
        return st;
    close_walks(to->seq.walk, n_walks(to));
    to->seq.walk = walk;
    if ((st = terse_kv_copy(to->seq.kv, from->seq.kv, err)) == TERSE_OK)
        st = terse_policy_open(to->attend, to->seq.kv, err);
    if (st != TERSE_OK) {
        terse_session_truncate(to, 0);
        return st;
    }
    const size_t heads = (size_t)to->model->info.n_layer * (size_t)to->model->info.n_head;
    const bool seen = to->seq.seen && from->seq.seen;
    if (seen)
        memcpy(to->seq.seen, from->seq.seen, heads * TERSE_SEEN * (size_t)a->dim_k * sizeof(float));
    to->seq.n_seen = seen ? from->seq.n_seen : 0;
    to->seq.judged = false;
    to->n_centered = -1;
    to->prepared = false;
    memcpy(to->logits, from->logits, (size_t)to->model->info.n_vocab * sizeof *to->logits);
    return TERSE_OK;
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
    return s->ctx;
}
int32_t terse_session_threads(const terse_session *s)
{
    return terse_team_size(s->forward.team);
}
const char *terse_session_tier(const terse_session *s)
{
    return terse_cpu_tier_name(s->cpu);
}
const char *terse_session_policy(const terse_session *s)
{
    return terse_attend_policy_text(s->attend);
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
    return s->forward.spent;
}

void terse_session_stats_reset(terse_session *s)
{
    s->forward.spent = (terse_spending){ 0 };
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
