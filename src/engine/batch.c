/* engine/batch.c: the next tokens of sessions. Prompts go through under exact attention, decoded tokens under
 * the stop rule, one by one or together with the same bits; a batch may have some of each. */
#include "attend/walk.h"
#include "engine/session_parts.h"

#include <string.h>

/* ---- before the first step behind a prompt ---- */

/* What the rule must know of the pages: every thread takes some (layer, head). */
static void prepare(void *ctx, int32_t thread, int32_t n_thread)
{
    terse_session *s = ctx;
    terse_kv *kv = s->seq.kv;
    const int32_t heads = s->model->info.n_head_kv, n = s->model->info.n_layer * heads;
    (void)n_thread;
    for (int32_t u; (u = terse_phase_take(&s->preparing)) < n; terse_phase_finish(&s->preparing, n)) {
        if (terse_attend_marks(s->attend))
            terse_policy_trim(s->seq.walk[thread], kv, u / heads, u % heads, terse_kv_count(kv));
        else if (terse_attend_drops(s->attend))
            terse_policy_revise(s->attend, kv, u / heads, u % heads);
        if (s->n_centered < 0 && s->attend->needs & TERSE_KV_CENTER)
            terse_kv_center_unit(kv, (size_t)u);
        if (kv->n_summary)
            terse_kv_summary_all(kv, (size_t)u);
    }
    terse_phase_wait(&s->preparing, n);
}

static void survey(void *ctx, int32_t thread, int32_t n_thread)
{
    terse_session *s = ctx;
    const int32_t heads = s->model->info.n_head_kv, n = s->model->info.n_layer * heads;
    (void)n_thread;
    for (int32_t u; (u = terse_phase_take(&s->preparing)) < n; terse_phase_finish(&s->preparing, n))
        terse_judge_survey(&s->engine->forward, &s->seq, s->seq.walk[thread], u / heads, u % heads);
    terse_phase_wait(&s->preparing, n);
}

/* The policy looks at what there is, and the rule is told of it. */
static terse_status prepare_all(terse_session *s, terse_error *err)
{
    const bool drops = terse_attend_drops(s->attend);
    terse_team *team = s->engine->forward.team;
    if (s->prepared)
        return TERSE_OK;
    const terse_status st = terse_policy_settle(s->attend, s->seq.kv, err);
    if (st != TERSE_OK)
        return st;
    if (terse_attend_marks(s->attend)) {
        terse_phase_reset(&s->preparing);
        terse_team_run(team, survey, s);
    }
    if (s->attend->needs || drops) {
        terse_phase_reset(&s->preparing);
        terse_team_run(team, prepare, s);
    }
    if (drops)
        terse_kv_settle(s->seq.kv);
    if (s->n_centered < 0 && s->attend->needs & TERSE_KV_CENTER)
        s->n_centered = terse_kv_count(s->seq.kv);
    s->prepared = true;
    return TERSE_OK;
}

/* ---- a batch ---- */

/* Ids in range and room for them, before anything is computed. */
static terse_status admit(terse_session *s, const int32_t *tokens, int32_t n, terse_error *err)
{
    const int32_t n_vocab = s->model->info.n_vocab, ctx = s->engine->forward.ctx;
    terse_kv *kv = s->seq.kv;
    if (n < 1)
        return terse_fail(err, TERSE_BAD_INPUT, "no tokens to evaluate");
    for (int32_t t = 0; t < n; t++)
        if (tokens[t] < 0 || tokens[t] >= n_vocab)
            return terse_fail(err, TERSE_BAD_INPUT, "token id %d is not in the vocabulary of %d", tokens[t],
                              n_vocab);
    if (kv->cap > s->seq.walk[0]->cap) { /* a snapshot that failed has left larger tables */
        const terse_status st = terse_session_rewalk(s, kv->cap, err);
        if (st != TERSE_OK)
            return st;
    }
    if ((kv->n_ring || s->model->info.n_windowed) && n <= ctx - terse_kv_count(kv))
        return TERSE_OK; /* no room for all of a prompt is needed: step by step, as pages come back */
    if (!kv->n_ring)
        return terse_kv_reserve(kv, n, err);
    return terse_fail(err, TERSE_BAD_INPUT, "%d tokens do not fit behind %d in a context of %d", n,
                      terse_kv_count(kv), ctx);
}

static void begin_segment(terse_forward *f, terse_segment *g, const terse_batch_part *p, int32_t row)
{
    terse_sequence *q = &p->session->seq;
    *g = (terse_segment){ q, row, p->n, terse_kv_count(q->kv), !p->prefill };
    for (int32_t t = p->n - p->n_logits; t < p->n; t++)
        f->wanted[f->n_wanted++] = row + t;
    if (g->pos == 0) {
        q->n_seen = 0;
        q->judged = terse_attend_marks(q->attend);
    }
}

static void forget_preparations(terse_session *s)
{
    s->n_centered = -1;
    s->prepared = false;
}

static void end_segment(const terse_batch_part *p)
{
    terse_sequence *q = &p->session->seq;
    terse_kv_commit(q->kv, p->n);
    q->n_seen = q->n_seen + p->n < TERSE_SEEN ? q->n_seen + p->n : TERSE_SEEN;
    if (p->prefill)
        forget_preparations(p->session);
}

/* One pass of at most a chunk of tokens, which have been admitted, for sessions that are prepared; commits what
 * it put. *failed: the part that there was no room for. */
static terse_status step(terse_engine *e, const terse_batch_part *part, int32_t n_part, float *logits,
                         int32_t *failed, terse_error *err)
{
    terse_forward *f = &e->forward;
    f->n = f->n_wanted = 0;
    f->tokens = n_part == 1 ? part->tokens : e->tokens;
    f->segment = e->segment;
    f->n_segment = n_part;
    f->logits = logits;
    for (int32_t i = 0; i < n_part; i++) {
        const terse_status st = terse_kv_reserve(part[i].session->seq.kv, part[i].n, err);
        *failed = i;
        if (st != TERSE_OK)
            return st;
    }
    for (int32_t i = 0; i < n_part; f->n += part[i++].n) {
        begin_segment(f, &e->segment[i], &part[i], f->n);
        if (n_part > 1)
            memcpy(e->tokens + f->n, part[i].tokens, (size_t)part[i].n * sizeof *e->tokens);
    }
    *failed = -1;
    if (!terse_forward_run(f))
        return terse_fail(err, TERSE_INTERRUPTED, "interrupted");
    if (terse_gguf_broken(f->model->gguf))
        return terse_fail(err, TERSE_IO, "%s: the file was cut short while it was in use",
                          terse_gguf_path(f->model->gguf));
    for (int32_t i = 0; i < n_part; i++)
        end_segment(&part[i]);
    return TERSE_OK;
}

/* After a failure. Layers with windows may not be able to: then nothing is left. */
static void take_back(terse_session *s, int32_t n, bool prefill)
{
    if (!terse_session_truncate(s, n))
        terse_session_truncate(s, 0);
    if (prefill)
        forget_preparations(s);
}

/* ---- one session ---- */

/* tokens[n], a chunk at a time. rows: [n][n_vocab], or [n_vocab] for the last token alone, or NULL. */
static terse_status run(terse_session *s, const int32_t *tokens, int32_t n, bool prefill, float *rows, bool all,
                        terse_error *err)
{
    const int32_t before = terse_kv_count(s->seq.kv), chunk = s->engine->forward.chunk;
    const int32_t most = !prefill && terse_attend_marks(s->attend) ? 1 : chunk;
    terse_status st = admit(s, tokens, n, err);
    if (st == TERSE_OK && !prefill)
        st = prepare_all(s, err);
    for (int32_t t = 0, failed; t < n && st == TERSE_OK;) {
        const int32_t m = n - t < most ? n - t : most;
        float *at = all && rows ? rows + (size_t)t * (size_t)s->model->info.n_vocab : rows;
        const int32_t n_logits = !rows ? 0 : all ? m : t + m == n;
        const terse_batch_part part = { s, tokens + t, m, n_logits, prefill };
        st = step(s->engine, &part, 1, at, &failed, err);
        t += m;
    }
    if (st != TERSE_OK)
        take_back(s, before, prefill);
    return st;
}

terse_status terse_session_prefill(terse_session *s, const int32_t *tokens, int32_t n, const float **logits,
                                   float *all, terse_error *err)
{
    float *rows = all ? all : logits ? s->logits : NULL;
    const size_t n_vocab = (size_t)s->model->info.n_vocab;
    const terse_status st = run(s, tokens, n, true, rows, all != NULL, err);
    if (st == TERSE_OK && all)
        memcpy(s->logits, all + (size_t)(n - 1) * n_vocab, n_vocab * sizeof *s->logits);
    if (st == TERSE_OK && logits)
        *logits = s->logits;
    return st;
}

terse_status terse_session_decode(terse_session *s, int32_t token, const float **logits, terse_error *err)
{
    const terse_status st = run(s, &token, 1, false, s->logits, false, err);
    if (st == TERSE_OK && logits)
        *logits = s->logits;
    return st;
}

terse_status terse_session_decode_many(terse_session *s, const int32_t *tokens, int32_t n, float *all,
                                       terse_error *err)
{
    return run(s, tokens, n, false, all, true, err);
}

/* ---- several sessions ---- */

static terse_status check_part(const terse_batch_part *part, int32_t i, terse_error *err)
{
    const terse_batch_part *p = &part[i];
    if (p->session->engine != part[0].session->engine)
        return terse_fail(err, TERSE_BAD_INPUT, "the session does not stand beside that of part 0");
    for (int32_t k = 0; k < i; k++)
        if (part[k].session == p->session)
            return terse_fail(err, TERSE_BAD_INPUT, "the session is that of part %d", k);
    if (p->n_logits < 0 || p->n_logits > p->n)
        return terse_fail(err, TERSE_BAD_INPUT, "logits of the last %d tokens of %d", p->n_logits, p->n);
    if (!p->prefill && p->n > 1 && terse_attend_marks(p->session->attend))
        return terse_fail(err, TERSE_BAD_INPUT, "policy %s decodes one token at a time",
                          terse_attend_policy_text(p->session->attend));
    return TERSE_OK;
}

/* Says which part it was. */
static terse_status blame(int32_t i, terse_status st, terse_error *err)
{
    const terse_error why = err ? *err : (terse_error){ 0 };
    return i < 0 ? st : terse_fail(err, st, "part %d of the batch: %.200s", i, why.text);
}

static terse_status admit_all(const terse_batch_part *part, int32_t n_part, terse_error *err)
{
    const int32_t chunk = part[0].session->engine->forward.chunk;
    terse_status st = TERSE_OK;
    int64_t n = 0;
    for (int32_t i = 0; i < n_part; i++) {
        if ((st = check_part(part, i, err)) != TERSE_OK)
            return blame(i, st, err);
        n += part[i].n > 0 ? part[i].n : 0;
    }
    if (n > chunk)
        return terse_fail(err, TERSE_BAD_INPUT, "%lld tokens in a batch: at most %d are possible", (long long)n,
                          chunk);
    for (int32_t i = 0; i < n_part; i++) {
        st = admit(part[i].session, part[i].tokens, part[i].n, err);
        if (st == TERSE_OK && !part[i].prefill)
            st = prepare_all(part[i].session, err);
        if (st != TERSE_OK)
            return blame(i, st, err);
    }
    return TERSE_OK;
}

terse_status terse_session_batch(const terse_batch_part *part, int32_t n_part, float *logits, terse_error *err)
{
    if (n_part < 1)
        return terse_fail(err, TERSE_BAD_INPUT, "a batch of no parts");
    int32_t failed = -1;
    terse_status st = admit_all(part, n_part, err);
    if (st == TERSE_OK && (st = step(part[0].session->engine, part, n_part, logits, &failed, err)) != TERSE_OK)
        st = blame(failed, st, err);
    for (int32_t i = 0; i < n_part && st != TERSE_OK; i++)
        take_back(part[i].session, terse_kv_count(part[i].session->seq.kv), part[i].prefill);
    return st;
}

int32_t terse_session_chunk(const terse_session *s)
{
    return s->engine->forward.chunk;
}
