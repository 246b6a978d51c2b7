/* lab/pareto.c: the grid, cut into parts, and how a part is computed. All rules of a part share one dense
 * prefill. What every storage type is held against, dense attention over an f16 cache, is computed once for a
 * window and serves the parts that follow it. */
#include "base/path.h"
#include "lab/compare.h"
#include "lab/pareto_parts.h"
#include "lab/tasks.h"
#include "terse/profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SCORED = 64, WINDOWS = 10, MOST_PARTS = 1 << 20 };

static terse_status no_memory(terse_error *err)
{
    return terse_fail(err, TERSE_NOMEM, "no memory for the grid");
}

static bool is_f16(const terse_pareto_type *t)
{
    return t->type_k == TERSE_KV_F16 && t->type_v == TERSE_KV_F16;
}

/* ---- opening ---- */

/* The name of the model's profile has its hash. */
static terse_status find_hash(terse_pareto *p, terse_error *err)
{
    enum { DIGITS = 32 };
    terse_text path = { 0 };
    const size_t ending = strlen(".json");
    const terse_status st = terse_profile_path(p->model, &path, err);
    if (st == TERSE_OK && path.n >= DIGITS + ending)
        memcpy(p->hash, path.p + path.n - ending - DIGITS, DIGITS);
    terse_text_free(&path);
    return st;
}

static terse_status check_rules(terse_pareto *p, terse_error *err)
{
    p->stop = calloc((size_t)p->opts.n_rule, sizeof *p->stop);
    p->bounded = calloc((size_t)p->opts.n_rule, sizeof *p->bounded);
    if (!p->stop || !p->bounded)
        return no_memory(err);
    for (int32_t r = 0; r < p->opts.n_rule; r++) {
        terse_attend *a = NULL;
        const terse_eval_rule *rule = &p->opts.rules[r];
        const terse_status st = terse_attend_open(&a, rule->policy, rule->stop, 0, err);
        if (st != TERSE_OK)
            return st;
        p->stop[r] = strdup(terse_attend_stop_text(a));
        p->bounded[r] = terse_attend_bounded(a);
        terse_attend_close(&a);
        if (!p->stop[r])
            return no_memory(err);
    }
    return TERSE_OK;
}

/* How many windows each context has. */
static terse_status plan_windows(terse_pareto *p, terse_error *err)
{
    const terse_pareto_opts *o = &p->opts;
    const bool bos = terse_vocab_adds_bos(terse_model_vocab(p->model));
    const int32_t own = terse_model_about(p->model)->ctx_train;
    p->windows = calloc((size_t)o->n_ctx, sizeof *p->windows);
    if (!p->windows)
        return no_memory(err);
    for (int32_t c = 0; c < o->n_ctx; c++) {
        if (o->ctx[c] < 2 || o->ctx[c] > own)
            return terse_fail(err, TERSE_BAD_INPUT, "contexts of %d tokens: 2 to %d are possible", o->ctx[c],
                              own);
        if (o->scored < 0 || o->scored >= o->ctx[c])
            return terse_fail(err, TERSE_BAD_INPUT, "the last %d tokens of %d: 1 to %d are possible", o->scored,
                              o->ctx[c], o->ctx[c] - 1);
        const size_t need = (size_t)o->ctx[c] + !bos, fit = o->n_token / need;
        if (fit == 0)
            return terse_fail(err, TERSE_BAD_INPUT, "the text has %zu tokens, a window of %d needs %zu",
                              o->n_token, o->ctx[c], need);
        if (o->windows < 0 || (size_t)o->windows > fit)
            return terse_fail(err, TERSE_BAD_INPUT, "%d windows of %d tokens: the text has room for %zu",
                              o->windows, o->ctx[c], fit);
        p->windows[c] = o->windows ? o->windows : fit < WINDOWS ? (int32_t)fit : WINDOWS;
    }
    return TERSE_OK;
}

/* Contexts take turns, so that a grid which was interrupted knows something of each, and the time that is left
 * can be told from the time that has passed. */
static terse_status plan_parts(terse_pareto *p, terse_error *err)
{
    const terse_pareto_opts *o = &p->opts;
    const int32_t n_task = o->tasks ? terse_tasks_count(o->tasks) : 0;
    int64_t n = n_task;
    int32_t most = 0, at = 0;
    for (int32_t c = 0; c < o->n_ctx; c++) {
        n += p->windows[c];
        most = p->windows[c] > most ? p->windows[c] : most;
    }
    if (n * o->n_type > MOST_PARTS)
        return terse_fail(err, TERSE_BAD_INPUT, "a grid of %lld parts; %d are possible",
                          (long long)(n * o->n_type), MOST_PARTS);
    p->n_part = (int32_t)n * o->n_type;
    p->part = calloc((size_t)p->n_part, sizeof *p->part);
    if (!p->part)
        return no_memory(err);
    for (int32_t w = 0; w < most; w++)
        for (int32_t c = 0; c < o->n_ctx; c++)
            for (int32_t t = 0; t < o->n_type && w < p->windows[c]; t++)
                p->part[at++] = (terse_pareto_part){ .ctx = c, .index = w, .type = t };
    for (int32_t i = 0; i < n_task; i++)
        for (int32_t t = 0; t < o->n_type; t++)
            p->part[at++] = (terse_pareto_part){ .ctx = -1, .index = i, .type = t };
    return TERSE_OK;
}

static terse_status check_types(const terse_pareto *p, terse_error *err)
{
    const terse_pareto_type *t = p->opts.type;
    for (int32_t i = 0; i < p->opts.n_type; i++)
        for (int32_t j = 0; j < i; j++)
            if (t[i].type_k == t[j].type_k && t[i].type_v == t[j].type_v)
                return terse_fail(err, TERSE_BAD_INPUT, "the storage type %s is in the grid twice",
                                  terse_kv_type_name(t[i].type_k));
    return TERSE_OK;
}

static terse_status check_tokens(const terse_pareto *p, terse_error *err)
{
    const int32_t n_vocab = terse_model_about(p->model)->n_vocab;
    for (size_t i = 0; i < p->opts.n_token; i++)
        if (p->opts.token[i] < 0 || p->opts.token[i] >= n_vocab)
            return terse_fail(err, TERSE_BAD_INPUT, "token id %d is not in the vocabulary of %d",
                              p->opts.token[i], n_vocab);
    return TERSE_OK;
}

terse_status terse_pareto_open(terse_pareto **out, const terse_model *m, const terse_pareto_opts *o,
                               terse_error *err)
{
    terse_status st;
    *out = NULL;
    terse_pareto *p = calloc(1, sizeof *p);
    if (!p)
        return no_memory(err);
    *p = (terse_pareto){ .model = m, .opts = *o, .fd = -1 };
    const terse_model_info *about = terse_model_about(m);
    p->n_unit = about->n_layer * about->n_head_kv;
    p->opts.scored = o->scored ? o->scored : SCORED;
    if ((st = find_hash(p, err)) == TERSE_OK && (st = check_rules(p, err)) == TERSE_OK &&
        (st = plan_windows(p, err)) == TERSE_OK && (st = check_tokens(p, err)) == TERSE_OK &&
        (st = check_types(p, err)) == TERSE_OK && (st = plan_parts(p, err)) == TERSE_OK &&
        (st = terse_pareto_journal_open(p, err)) == TERSE_OK)
        *out = p;
    else
        terse_pareto_close(&p);
    return st;
}

void terse_pareto_part_clear(terse_pareto_part *part, int32_t n_rule)
{
    for (int32_t r = 0; part->cell && r < n_rule; r++) {
        free(part->cell[r].kl);
        free(part->cell[r].head);
    }
    free(part->cell);
    part->cell = NULL;
    part->done = false;
}

void terse_pareto_close(terse_pareto **out)
{
    terse_pareto *p = out ? *out : NULL;
    if (!p)
        return;
    for (int32_t i = 0; p->part && i < p->n_part; i++)
        terse_pareto_part_clear(&p->part[i], p->opts.n_rule);
    for (int32_t r = 0; p->stop && r < p->opts.n_rule; r++)
        free(p->stop[r]);
    free(p->part);
    free(p->stop);
    free(p->bounded);
    free(p->windows);
    if (p->fd >= 0)
        close(p->fd);
    free(p);
    *out = NULL;
}

int32_t terse_pareto_parts(const terse_pareto *p)
{
    return p->n_part;
}

int32_t terse_pareto_done(const terse_pareto *p)
{
    return p->n_done;
}

int32_t terse_pareto_windows(const terse_pareto *p, int32_t ctx)
{
    return p->windows[ctx];
}

int32_t terse_pareto_scored(const terse_pareto *p)
{
    return p->opts.scored;
}

const char *terse_pareto_stop(const terse_pareto *p, int32_t rule)
{
    return p->stop[rule];
}

bool terse_pareto_bounded(const terse_pareto *p, int32_t rule)
{
    return p->bounded[rule];
}

const char *terse_pareto_model_hash(const terse_pareto *p)
{
    return p->hash;
}

/* ---- computing ---- */

/* The window at hand. */
typedef struct {
    terse_pareto *p;
    terse_eval *dense; /* over f16: its rows are what all types are compared with; NULL: not computed */
    int32_t ctx, index;
    int32_t *ids;    /* [ctx + 1], the last one only predicted */
    int64_t before;  /* tokens of this part that another evaluation has computed */
    terse_tasks one; /* a view of the tasks, with one prompt */
} runner;

/* Tokens that a part takes. What is not known (the length of answers, whether the dense rows are still there)
 * is guessed: for progress only. */
static int64_t cost(const terse_pareto *p, const terse_pareto_part *part)
{
    const int32_t n_rule = p->opts.n_rule;
    if (part->ctx >= 0)
        return p->opts.ctx[part->ctx] + (int64_t)p->opts.scored * n_rule;
    const terse_task *k = &p->opts.tasks->item[part->index];
    return k->n_dense + (int64_t)(k->n - k->n_dense + k->n_max / 2) * (1 + n_rule);
}

static void tick(void *ctx, int64_t done, int64_t total)
{
    const runner *r = ctx;
    const terse_pareto *p = r->p;
    (void)total;
    const int64_t here = r->before + done;
    if (p->opts.progress)
        p->opts.progress(p->opts.progress_ctx, p->tokens_done + (here < p->tokens_part ? here : p->tokens_part),
                         p->tokens);
}

static terse_status open_eval(terse_eval **e, runner *r, int32_t ctx, const terse_pareto_type *type,
                              terse_error *err)
{
    const terse_pareto_opts *o = &r->p->opts;
    terse_eval_opts opts = { .session = o->session, .progress = tick, .progress_ctx = r };
    opts.session.ctx = ctx;
    opts.session.type_k = type->type_k;
    opts.session.type_v = type->type_v;
    opts.session.audit = 0;
    return terse_eval_open(e, r->p->model, &opts, o->rules, o->n_rule, err);
}

/* Dense rows of the part's window, unless they are there. */
static terse_status find_dense(runner *r, const terse_pareto_part *part, terse_error *err)
{
    static const terse_pareto_type f16 = { TERSE_KV_F16, TERSE_KV_F16 };
    const terse_pareto *p = r->p;
    const terse_vocab *v = terse_model_vocab(p->model);
    const bool bos = terse_vocab_adds_bos(v);
    const int32_t ctx = p->opts.ctx[part->ctx], base = ctx - p->opts.scored;
    if (r->dense && r->ctx == part->ctx && r->index == part->index)
        return TERSE_OK;
    terse_eval_close(&r->dense);
    int32_t *ids = realloc(r->ids, ((size_t)ctx + 1) * sizeof *ids);
    if (!ids)
        return no_memory(err);
    r->ids = ids;
    r->ctx = part->ctx;
    r->index = part->index;
    ids[0] = terse_vocab_bos(v);
    memcpy(ids + bos, p->opts.token + p->opts.n_token / (size_t)p->windows[part->ctx] * (size_t)part->index,
           ((size_t)ctx + !bos) * sizeof *ids);
    terse_status st = open_eval(&r->dense, r, ctx, &f16, err);
    if (st == TERSE_OK)
        st = terse_compare_begin(r->dense, ids, base, err);
    if (st == TERSE_OK)
        st = terse_compare_rule(r->dense, -1, base, err);
    for (int32_t t = base; t < ctx && st == TERSE_OK; t++) {
        const float *logits;
        if ((st = terse_compare_decode(r->dense, ids[t], &logits, err)) == TERSE_OK)
            st = terse_compare_keep_before(r->dense, logits, ids[t + 1], err);
    }
    if (st != TERSE_OK)
        terse_eval_close(&r->dense);
    return st;
}

/* Every rule from the same prefill; e has the dense rows. */
static terse_status run_rules(terse_eval *e, const int32_t *ids, int32_t base, int32_t ctx, terse_error *err)
{
    terse_status st = TERSE_OK;
    for (int32_t rule = 0; rule < e->n_rule && st == TERSE_OK; rule++) {
        const float *logits;
        int32_t best;
        st = terse_compare_rule(e, rule, base, err);
        for (int32_t t = base; t < ctx && st == TERSE_OK; t++)
            if ((st = terse_compare_decode(e, ids[t], &logits, err)) == TERSE_OK)
                st = terse_compare_row(e, rule, t - base, logits, ids[t + 1], &best, err);
        terse_compare_read(e, rule);
    }
    return st == TERSE_OK ? terse_compare_commit(e, err) : st;
}

/* *e is the caller's to close unless it is r->dense. */
static terse_status run_text(terse_eval **e, runner *r, const terse_pareto_part *part, terse_error *err)
{
    const terse_pareto_opts *o = &r->p->opts;
    const int32_t ctx = o->ctx[part->ctx], base = ctx - o->scored;
    terse_status st = find_dense(r, part, err);
    if (st == TERSE_OK && is_f16(&o->type[part->type])) {
        *e = r->dense;
        return run_rules(*e, r->ids, base, ctx, err);
    }
    r->before = r->dense ? r->dense->n_done : 0;
    if (st == TERSE_OK)
        st = open_eval(e, r, ctx, &o->type[part->type], err);
    if (st == TERSE_OK)
        st = terse_compare_begin(*e, r->ids, base, err);
    for (int32_t i = 0; i < r->p->opts.scored && st == TERSE_OK; i++)
        st = terse_compare_keep_before(*e, r->dense->row + (size_t)i * (size_t)r->dense->n_vocab,
                                       r->ids[base + i + 1], err);
    return st == TERSE_OK ? run_rules(*e, r->ids, base, ctx, err) : st;
}

/* One prompt of the tasks. */
static terse_status run_prompt(terse_eval **e, runner *r, const terse_pareto_part *part, terse_error *err)
{
    const terse_pareto_opts *o = &r->p->opts;
    r->one = *o->tasks;
    r->one.item += part->index;
    r->one.n = 1;
    terse_eval_close(&r->dense);
    const terse_status st = open_eval(e, r, terse_tasks_ctx(&r->one), &o->type[part->type], err);
    return st == TERSE_OK ? terse_eval_tasks(*e, &r->one, err) : st;
}

/* ---- a part as a line ---- */

/* What is not finite becomes null: JSON has no such number. */
static json_t *json_of_number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *json_of_cell(const terse_eval *e, int32_t rule)
{
    const terse_tally *t = &e->tally[rule];
    const terse_attend_stats *s = &t->done.read;
    json_t *kl = json_array(), *heads = json_array();
    int failed = !kl || !heads;
    double nll = 0.0;
    for (int64_t i = 0; i < t->done.n; i++)
        nll += t->token[i].nll;
    for (int64_t i = 0; i < t->done.n && !failed; i++)
        failed = json_array_append_new(kl, json_of_number(t->token[i].kl));
    for (int32_t u = 0; u < e->n_unit && !failed; u++) {
        const terse_attend_stats *h = &t->head[u];
        failed = json_array_append_new(heads, json_integer(h->bytes_k + h->bytes_v + h->bytes_summary)) ||
                 json_array_append_new(heads, json_integer(h->bytes_dense));
    }
    if (failed) {
        json_decref(kl);
        json_decref(heads);
        return NULL;
    }
    return json_pack("{s:o, s:I, s:o, s:[I, I, I, I], s:o}", "kl", kl, "agree", (json_int_t)t->done.agree,
                     "nll", json_of_number(nll), "bytes", (json_int_t)s->bytes_k, (json_int_t)s->bytes_v,
                     (json_int_t)s->bytes_summary, (json_int_t)s->bytes_dense, "heads", heads);
}

static json_t *json_of_part(const terse_pareto *p, const terse_pareto_part *part, const terse_eval *e)
{
    json_t *cells = json_array();
    for (int32_t r = 0; r < e->n_rule; r++) {
        json_t *cell = json_of_cell(e, r);
        if (cell && part->ctx < 0) {
            const terse_eval_score s = terse_eval_score_of(e, r, -1);
            json_t *score = json_pack("[i, f, i, i]", s.n, s.correct, s.lost, s.gained);
            if (json_object_set_new(cell, "score", score) != 0) {
                json_decref(cell);
                cell = NULL;
            }
        }
        if (json_array_append_new(cells, cell) != 0) {
            json_decref(cells);
            return NULL;
        }
    }
    const terse_tally *first = &e->tally[0];
    double nll_dense = 0.0;
    for (int64_t i = 0; i < first->done.n; i++)
        nll_dense += first->token[i].nll_dense;
    return json_pack("{s:i, s:i, s:i, s:I, s:o, s:o}", "ctx", part->ctx < 0 ? 0 : p->opts.ctx[part->ctx],
                     "index", part->index, "type", part->type, "tokens", (json_int_t)first->done.n, "nll_dense",
                     json_of_number(nll_dense), "cells", cells);
}

static terse_status run_part(runner *r, int32_t i, terse_error *err)
{
    terse_pareto *p = r->p;
    const terse_pareto_part *part = &p->part[i];
    terse_eval *e = NULL;
    r->before = 0;
    p->tokens_part = cost(p, part);
    terse_status st = part->ctx >= 0 ? run_text(&e, r, part, err) : run_prompt(&e, r, part, err);
    if (st == TERSE_OK) {
        json_t *line = json_of_part(p, part, e);
        st = line ? terse_pareto_journal_add(p, i, line, err) : no_memory(err);
        json_decref(line);
    }
    if (e != r->dense)
        terse_eval_close(&e);
    p->tokens_done += p->tokens_part;
    return st;
}

terse_status terse_pareto_run(terse_pareto *p, terse_error *err)
{
    runner r = { .p = p };
    terse_status st = TERSE_OK;
    p->tokens = p->tokens_done = 0;
    for (int32_t i = 0; i < p->n_part; i++)
        p->tokens += p->part[i].done ? 0 : cost(p, &p->part[i]);
    for (int32_t i = 0; i < p->n_part && st == TERSE_OK; i++)
        if (!p->part[i].done)
            st = run_part(&r, i, err);
    terse_eval_close(&r.dense);
    free(r.ids);
    return st;
}
