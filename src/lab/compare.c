/* lab/compare.c: see the header. The rows of a dense run are kept as they are, so that each rule is compared as
 * it decodes and a further rule costs only its own steps. */
#include "lab/compare.h"

#include "lab/statistics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 512 }; /* prompt tokens between two signs of progress */

static terse_status set_rule(terse_eval *e, const terse_eval_rule *r, int32_t audit, terse_error *err)
{
    return terse_session_rule(e->now, r->policy, r->stop, r->profile, audit, err);
}

/* Whether a rule drops tokens; and whether it does so one by one, by what the model predicts or by heads: then
 * contexts are computed under it too, as they would be in use. */
static terse_status look_at(terse_eval *e, const terse_session_opts *o, int32_t r, terse_error *err)
{
    const bool gate = o->gate || terse_model_gate(e->model);
    const char *policy = e->rules[r].policy ? e->rules[r].policy : gate ? "spkv" : "dense";
    terse_attend *a;
    const terse_status st = terse_attend_open(&a, policy, e->rules[r].stop, 0, err);
    if (st != TERSE_OK)
        return st;
    e->tally[r].drops = terse_attend_drops(a);
    e->tally[r].own = terse_attend_gated(a) || terse_attend_heads_file(a);
    terse_attend_close(&a);
    return TERSE_OK;
}

/* Every rule is set once: a wrong one is found here, and its name with all parameters remembered. */
static terse_status check_rules(terse_eval *e, terse_error *err)
{
    for (int32_t r = 0; r < e->n_rule; r++) {
        e->now = e->tally[r].drops ? e->other : e->session;
        const terse_status st = set_rule(e, &e->rules[r], e->audit, err);
        if (st != TERSE_OK)
            return st;
        snprintf(e->tally[r].policy, sizeof e->tally[r].policy, "%s", terse_session_policy(e->now));
        snprintf(e->tally[r].stop, sizeof e->tally[r].stop, "%s", terse_session_stop(e->now));
        e->tally[r].bounded = terse_session_bounded(e->now);
        e->tally[r].head = calloc(2 * (size_t)e->n_unit, sizeof *e->tally[r].head);
        if (!e->tally[r].head)
            return terse_fail(err, TERSE_NOMEM, "no memory for an evaluation");
    }
    return TERSE_OK;
}

terse_status terse_eval_open(terse_eval **out, const terse_model *m, const terse_eval_opts *o,
                             const terse_eval_rule *rules, int32_t n_rule, terse_error *err)
{
    terse_session_opts opts = o->session;
    opts.strands = opts.strands ? opts.strands : 1; /* the same figures on any number of cores */
    opts.back = INT32_MAX;                          /* every setting starts from the same context */
    *out = NULL;
    opts.policy = "dense"; /* also of a model with a gate */
    opts.stop = NULL;
    opts.profile = NULL;
    opts.audit = 0;
    terse_eval *e = calloc(1, sizeof *e);
    terse_tally *tally = calloc((size_t)n_rule + 1, sizeof *tally);
    if (!e || !tally) {
        free(e);
        free(tally);
        return terse_fail(err, TERSE_NOMEM, "no memory for an evaluation");
    }
    const terse_model_info *about = terse_model_about(m);
    *e = (terse_eval){ .model = m,
                       .rules = rules,
                       .tally = tally,
                       .n_rule = n_rule,
                       .n_vocab = about->n_vocab,
                       .n_unit = about->n_layer * about->n_head_kv,
                       .audit = o->session.audit,
                       .progress = o->progress,
                       .progress_ctx = o->progress_ctx };
    bool drops = false;
    terse_status st = TERSE_OK;
    for (int32_t r = 0; r < n_rule && st == TERSE_OK; r++) {
        st = look_at(e, &opts, r, err);
        drops |= e->tally[r].drops;
    }
    opts.observe = drops;
    if (st == TERSE_OK)
        st = terse_session_open(&e->session, m, &opts, err);
    if (st == TERSE_OK && drops)
        st = terse_session_open(&e->other, m, &opts, err);
    if (st == TERSE_OK)
        st = check_rules(e, err);
    if (st == TERSE_OK)
        *out = e;
    else
        terse_eval_close(&e);
    return st;
}

void terse_eval_close(terse_eval **p)
{
    terse_eval *e = p ? *p : NULL;
    if (!e)
        return;
    terse_session_close(&e->session);
    terse_session_close(&e->other);
    for (int32_t r = 0; r < e->n_rule; r++) {
        free(e->tally[r].head);
        free(e->tally[r].token);
        free(e->tally[r].end);
        free(e->tally[r].differs);
    }
    free(e->tally);
    free(e->row);
    free(e->log_sum);
    free(e->nll);
    free(e->best);
    free(e->written);
    free(e->score);
    free(e);
    *p = NULL;
}

void terse_compare_tick(terse_eval *e, int64_t n)
{
    e->n_done += n;
    if (e->progress)
        e->progress(e->progress_ctx, e->n_done, e->n_total);
}

void terse_compare_again(terse_eval *e, int32_t n)
{
    e->again = true;
    e->n_row = e->n_written = 0;
    for (int32_t r = 0; r < e->n_rule; r++) {
        e->tally[r].pending = (terse_sums){ 0 };
        e->tally[r].differs_next = 0;
    }
    terse_session_truncate(e->session, n);
}

terse_status terse_compare_begin(terse_eval *e, const int32_t *tokens, int32_t n, terse_error *err)
{
    terse_status st = TERSE_OK;
    terse_compare_again(e, 0);
    e->again = false;
    e->context = tokens;
    for (int32_t t = 0; t < n && st == TERSE_OK; t += PIECE) {
        const int32_t m = n - t < PIECE ? n - t : PIECE;
        st = terse_session_prefill(e->session, tokens + t, m, NULL, NULL, err);
        terse_compare_tick(e, m);
    }
    return st;
}

terse_status terse_compare_rule(terse_eval *e, int32_t r, int32_t n, terse_error *err)
{
    static const terse_eval_rule dense = { .policy = "dense" };
    terse_session_truncate(e->session, n);
    e->now = r >= 0 && e->tally[r].drops ? e->other : e->session;
    if (e->now == e->session)
        return r < 0 ? set_rule(e, &dense, 0, err) : set_rule(e, &e->rules[r], e->audit, err);
    terse_session_truncate(e->other, 0);
    terse_status st = set_rule(e, &dense, 0, err); /* a copy comes under the policy that is there */
    if (st == TERSE_OK && !e->tally[r].own)
        st = terse_session_copy(e->other, e->session, err);
    if (st == TERSE_OK)
        st = set_rule(e, &e->rules[r], e->audit, err);
    return st == TERSE_OK && e->tally[r].own && n > 0
               ? terse_session_prefill(e->other, e->context, n, NULL, NULL, err)
               : st;
}

terse_status terse_compare_decode(terse_eval *e, int32_t token, const float **logits, terse_error *err)
{
    const terse_status st = terse_session_decode(e->now, token, logits, err);
    terse_compare_tick(e, 1);
    return st;
}

/* Room for cap rows. */
static bool grow_rows(terse_eval *e, int32_t cap)
{
    const size_t n = (size_t)cap, size = (size_t)e->n_vocab * sizeof *e->row;
    float *row = e->no_rows || n > SIZE_MAX / size ? NULL : realloc(e->row, n * size);
    e->row = row ? row : e->row;
    double *log_sum = realloc(e->log_sum, n * sizeof *log_sum);
    e->log_sum = log_sum ? log_sum : e->log_sum;
    double *nll = realloc(e->nll, n * sizeof *nll);
    e->nll = nll ? nll : e->nll;
    int32_t *best = realloc(e->best, n * sizeof *best);
    e->best = best ? best : e->best;
    if ((!row && !e->no_rows) || !log_sum || !nll || !best)
        return false;
    e->cap_row = cap;
    return true;
}

terse_status terse_compare_broken(const terse_eval *e, terse_error *err)
{
    return terse_fail(err, TERSE_INTERNAL, "after %d tokens the model gives no number for some token",
                      terse_session_count(e->now));
}

terse_status terse_compare_keep(terse_eval *e, const float *logits, terse_error *err)
{
    return terse_compare_keep_before(e, logits, -1, err);
}

terse_status terse_compare_keep_before(terse_eval *e, const float *logits, int32_t target, terse_error *err)
{
    const size_t size = (size_t)e->n_vocab * sizeof *e->row;
    const int32_t best = terse_logits_best(logits, e->n_vocab);
    if (best < 0)
        return terse_compare_broken(e, err);
    if (e->n_row == e->cap_row) {
        const int32_t cap = e->cap_row ? e->cap_row + e->cap_row / 2 : 64;
        if (!grow_rows(e, cap))
            return terse_fail(err, TERSE_NOMEM, "no memory for %d rows of logits", cap);
    }
    if (!e->no_rows)
        memcpy(e->row + (size_t)e->n_row * (size_t)e->n_vocab, logits, size);
    const double z = terse_logits_log_sum(logits, e->n_vocab);
    e->log_sum[e->n_row] = z;
    e->nll[e->n_row] = target < 0 ? NAN : z - (double)logits[target];
    e->best[e->n_row++] = best;
    return TERSE_OK;
}

terse_status terse_compare_row(terse_eval *e, int32_t r, int32_t i, const float *logits, int32_t target,
                               int32_t *best, terse_error *err)
{
    terse_tally *t = &e->tally[r];
    const size_t at = (size_t)(t->done.n + t->pending.n);
    *best = terse_logits_best(logits, e->n_vocab);
    if (*best < 0)
        return terse_compare_broken(e, err);
    if (at == t->cap) {
        const size_t cap = at ? 2 * at : 1024;
        terse_scored *token = realloc(t->token, cap * sizeof *token);
        if (!token)
            return terse_fail(err, TERSE_NOMEM, "no memory for the results of %zu tokens", cap);
        t->token = token;
        t->cap = cap;
    }
    const double z = terse_logits_log_sum(logits, e->n_vocab);
    t->token[at] = (terse_scored){ .kl = NAN, .nll = NAN, .nll_dense = e->nll[i] };
    if (!e->no_rows)
        t->token[at].kl =
            terse_logits_kl(e->row + (size_t)i * (size_t)e->n_vocab, e->log_sum[i], logits, z, e->n_vocab);
    if (target >= 0)
        t->token[at].nll = z - (double)logits[target];
    t->pending.n++;
    t->pending.agree += *best == e->best[i];
    return TERSE_OK;
}

void terse_compare_read(terse_eval *e, int32_t r)
{
    terse_tally *t = &e->tally[r];
    const int32_t n_head = terse_model_about(e->model)->n_head_kv;
    t->pending.read = terse_session_stats(e->now);
    for (int32_t u = 0; u < e->n_unit; u++)
        t->head[e->n_unit + u] = *terse_session_stats_of(e->now, u / n_head, u % n_head);
}

static void add(terse_sums *a, const terse_sums *b)
{
    a->n += b->n;
    a->agree += b->agree;
    terse_attend_stats_add(&a->read, &b->read);
}

terse_status terse_compare_commit(terse_eval *e, terse_error *err)
{
    for (int32_t r = 0; r < e->n_rule; r++) {
        terse_tally *t = &e->tally[r];
        if (t->n_sample < t->cap_sample)
            continue;
        const int32_t cap = t->cap_sample ? 2 * t->cap_sample : 16;
        size_t *end = realloc(t->end, (size_t)cap * sizeof *end);
        t->end = end ? end : t->end;
        int32_t *differs = realloc(t->differs, (size_t)cap * sizeof *differs);
        t->differs = differs ? differs : t->differs;
        if (!end || !differs)
            return terse_fail(err, TERSE_NOMEM, "no memory for %d samples", cap);
        t->cap_sample = cap;
    }
    for (int32_t r = 0; r < e->n_rule; r++) {
        terse_tally *t = &e->tally[r];
        add(&t->done, &t->pending);
        for (int32_t u = 0; u < e->n_unit; u++)
            terse_attend_stats_add(&t->head[u], &t->head[e->n_unit + u]);
        t->differs[t->n_sample] = t->differs_next;
        t->n_sample += !e->again;
        t->end[t->n_sample - 1] = (size_t)t->done.n;
    }
    return TERSE_OK;
}

int32_t terse_eval_rules(const terse_eval *e)
{
    return e->n_rule;
}

const terse_attend_stats *terse_eval_stats_of(const terse_eval *e, int32_t rule, int32_t layer, int32_t head)
{
    const terse_model_info *about = terse_model_about(e->model);
    if (layer < 0 || layer >= about->n_layer || head < 0 || head >= about->n_head_kv)
        return NULL;
    return &e->tally[rule].head[layer * about->n_head_kv + head];
}

const terse_session *terse_eval_session(const terse_eval *e)
{
    return e->session;
}

int32_t terse_eval_differs_at(const terse_eval *e, int32_t rule, int32_t sample)
{
    const terse_tally *t = &e->tally[rule];
    return e->n_free > 0 && sample >= 0 && sample < t->n_sample ? t->differs[sample] : 0;
}
