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
    return terse_session_rule(e->session, r->policy, r->stop, r->profile, audit, err);
}

/* Every rule is set once: a wrong one is found here, and its name with all parameters remembered. */
static terse_status check_rules(terse_eval *e, terse_error *err)
{
    for (int32_t r = 0; r < e->n_rule; r++) {
        const terse_status st = set_rule(e, &e->rules[r], e->audit, err);
        if (st != TERSE_OK)
            return st;
        snprintf(e->tally[r].stop, sizeof e->tally[r].stop, "%s", terse_session_stop(e->session));
        e->tally[r].bounded = terse_session_bounded(e->session);
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
    *out = NULL;
    opts.policy = opts.stop = NULL;
    opts.profile = NULL;
    opts.audit = 0;
    terse_eval *e = calloc(1, sizeof *e);
    terse_tally *tally = calloc((size_t)n_rule, sizeof *tally);
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
    terse_status st = terse_session_open(&e->session, m, &opts, err);
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
    for (int32_t r = 0; r < e->n_rule; r++) {
        free(e->tally[r].head);
        free(e->tally[r].kl);
        free(e->tally[r].end);
    }
    free(e->tally);
    free(e->row);
    free(e->log_sum);
    free(e->best);
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

terse_status terse_compare_begin(terse_eval *e, const int32_t *tokens, int32_t n, terse_error *err)
{
    terse_status st = TERSE_OK;
    e->n_row = 0;
    for (int32_t r = 0; r < e->n_rule; r++)
        e->tally[r].pending = (terse_sums){ 0 };
    terse_session_truncate(e->session, 0);
    for (int32_t t = 0; t < n && st == TERSE_OK; t += PIECE) {
        const int32_t m = n - t < PIECE ? n - t : PIECE;
        st = terse_session_prefill(e->session, tokens + t, m, NULL, NULL, err);
        terse_compare_tick(e, m);
    }
    return st;
}

terse_status terse_compare_rule(terse_eval *e, int32_t r, int32_t n, terse_error *err)
{
    static const terse_eval_rule dense;
    terse_session_truncate(e->session, n);
    return r < 0 ? set_rule(e, &dense, 0, err) : set_rule(e, &e->rules[r], e->audit, err);
}

terse_status terse_compare_decode(terse_eval *e, int32_t token, const float **logits, terse_error *err)
{
    const terse_status st = terse_session_decode(e->session, token, logits, err);
    terse_compare_tick(e, 1);
    return st;
}

/* Room for cap rows. */
static bool grow_rows(terse_eval *e, int32_t cap)
{
    const size_t n = (size_t)cap, n_vocab = (size_t)e->n_vocab;
    float *row = n > SIZE_MAX / sizeof *row / n_vocab ? NULL : realloc(e->row, n * n_vocab * sizeof *row);
    e->row = row ? row : e->row;
    double *log_sum = realloc(e->log_sum, n * sizeof *log_sum);
    e->log_sum = log_sum ? log_sum : e->log_sum;
    int32_t *best = realloc(e->best, n * sizeof *best);
    e->best = best ? best : e->best;
    if (!row || !log_sum || !best)
        return false;
    e->cap_row = cap;
    return true;
}

static terse_status no_numbers(const terse_eval *e, terse_error *err)
{
    return terse_fail(err, TERSE_INTERNAL, "after %d tokens the model gives no number for some token",
                      terse_session_count(e->session));
}

terse_status terse_compare_keep(terse_eval *e, const float *logits, terse_error *err)
{
    const size_t size = (size_t)e->n_vocab * sizeof *e->row;
    const int32_t best = terse_logits_best(logits, e->n_vocab);
    if (best < 0)
        return no_numbers(e, err);
    if (e->n_row == e->cap_row) {
        const int32_t cap = e->cap_row ? e->cap_row + e->cap_row / 2 : 64;
        if (!grow_rows(e, cap))
            return terse_fail(err, TERSE_NOMEM, "no memory for %d rows of logits", cap);
    }
    memcpy(e->row + (size_t)e->n_row * (size_t)e->n_vocab, logits, size);
    e->log_sum[e->n_row] = terse_logits_log_sum(logits, e->n_vocab);
    e->best[e->n_row++] = best;
    return TERSE_OK;
}

terse_status terse_compare_row(terse_eval *e, int32_t r, int32_t i, const float *logits, int32_t target,
                               int32_t *best, terse_error *err)
{
    terse_tally *t = &e->tally[r];
    const float *dense = e->row + (size_t)i * (size_t)e->n_vocab;
    const size_t at = (size_t)(t->done.n + t->pending.n);
    *best = terse_logits_best(logits, e->n_vocab);
    if (*best < 0)
        return no_numbers(e, err);
    if (at == t->cap) {
        const size_t cap = at ? 2 * at : 1024;
        double *kl = realloc(t->kl, cap * sizeof *kl);
        if (!kl)
            return terse_fail(err, TERSE_NOMEM, "no memory for the results of %zu tokens", cap);
        t->kl = kl;
        t->cap = cap;
    }
    const double z = terse_logits_log_sum(logits, e->n_vocab);
    t->kl[at] = terse_logits_kl(dense, e->log_sum[i], logits, z, e->n_vocab);
    t->pending.n++;
    t->pending.agree += *best == e->best[i];
    if (target >= 0) {
        t->pending.n_target++;
        t->pending.nll += z - (double)logits[target];
        t->pending.nll_dense += e->log_sum[i] - (double)dense[target];
    }
    return TERSE_OK;
}

void terse_compare_read(terse_eval *e, int32_t r)
{
    terse_tally *t = &e->tally[r];
    const int32_t n_head = terse_model_about(e->model)->n_head_kv;
    t->pending.read = terse_session_stats(e->session);
    for (int32_t u = 0; u < e->n_unit; u++)
        t->head[e->n_unit + u] = *terse_session_stats_of(e->session, u / n_head, u % n_head);
}

static void add(terse_sums *a, const terse_sums *b)
{
    a->n += b->n;
    a->agree += b->agree;
    a->n_target += b->n_target;
    a->nll += b->nll;
    a->nll_dense += b->nll_dense;
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
        if (!end)
            return terse_fail(err, TERSE_NOMEM, "no memory for %d samples", cap);
        t->end = end;
        t->cap_sample = cap;
    }
    for (int32_t r = 0; r < e->n_rule; r++) {
        terse_tally *t = &e->tally[r];
        add(&t->done, &t->pending);
        for (int32_t u = 0; u < e->n_unit; u++)
            terse_attend_stats_add(&t->head[u], &t->head[e->n_unit + u]);
        t->end[t->n_sample++] = (size_t)t->done.n;
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

terse_status terse_eval_result_of(const terse_eval *e, int32_t rule, terse_eval_result *out, terse_error *err)
{
    const terse_tally *t = &e->tally[rule];
    const terse_sums *d = &t->done;
    const size_t n = (size_t)d->n;
    *out = (terse_eval_result){ .policy = e->rules[rule].policy ? e->rules[rule].policy : "dense",
                                .stop = t->stop,
                                .bounded = t->bounded,
                                .n_token = d->n,
                                .n_sample = t->n_sample,
                                .mean = NAN,
                                .low = NAN,
                                .high = NAN,
                                .p50 = NAN,
                                .p90 = NAN,
                                .p99 = NAN,
                                .p999 = NAN,
                                .max = NAN,
                                .top1 = NAN,
                                .ppl = NAN,
                                .ppl_dense = NAN,
                                .read = d->read };
    if (n == 0)
        return TERSE_OK;
    double *x = malloc(n * sizeof *x), sum = 0.0;
    if (!x)
        return terse_fail(err, TERSE_NOMEM, "no memory for the results of %zu tokens", n);
    const terse_interval mean = terse_mean_interval(t->kl, t->end, t->n_sample);
    for (size_t i = 0; i < n; i++)
        sum += x[i] = t->kl[i];
    terse_sort(x, n);
    out->mean = sum / (double)n;
    out->low = mean.low;
    out->high = mean.high;
    out->p50 = terse_quantile(x, n, 0.5);
    out->p90 = terse_quantile(x, n, 0.9);
    out->p99 = terse_quantile(x, n, 0.99);
    out->p999 = terse_quantile(x, n, 0.999);
    out->max = x[n - 1];
    out->top1 = (double)d->agree / (double)n;
    if (d->n_target > 0) {
        out->ppl = exp(d->nll / (double)d->n_target);
        out->ppl_dense = exp(d->nll_dense / (double)d->n_target);
    }
    free(x);
    return TERSE_OK;
}
