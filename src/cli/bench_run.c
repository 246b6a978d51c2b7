/* cli/bench_run.c: the runs that are timed. Around each one it is measured what the machine gives. */
#include "bench.h"

#include "cpu_option.h"
#include "fit.h"
#include "progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 512, COPIED = 512 /* tokens that --fill copy computes */ };

typedef struct {
    const terse_bench_plan *plan;
    terse_session *sessions[TERSE_BENCH_LIST][TERSE_BENCH_BATCH]; /* a sequence each, beside the first */
    int32_t n_sequence;                                           /* the largest batch */
    float *logits;                         /* [n_sequence][n_vocab], of batches; NULL if there are none */
    terse_draft *drafts[TERSE_BENCH_LIST]; /* NULL: no guesses */
    const terse_bench_setting *settings;
    int32_t n;
    terse_probe *probe;
    terse_bench_out *out;
} bench;

/* Brings sequence q of setting i to the depth. */
static terse_status deepen_one(bench *b, int32_t i, int32_t q, int32_t depth, terse_progress *progress,
                               terse_error *err)
{
    terse_session *s = b->sessions[i][q];
    const int32_t compute = b->plan->copies && depth > COPIED ? COPIED : depth;
    const int64_t before = (int64_t)(i * b->n_sequence + q) * compute;
    terse_status st = TERSE_OK;
    for (int32_t at; st == TERSE_OK && (at = terse_session_count(s)) < compute;) {
        const int32_t n = compute - at < CHUNK ? compute - at : CHUNK;
        st = terse_session_prefill(s, b->plan->tokens + at, n, NULL, NULL, err);
        if (b->drafts[i])
            terse_draft_tell(b->drafts[i], b->plan->tokens + at, n);
        terse_progress_update(progress, before + at + n, (int64_t)b->n * b->n_sequence * compute);
    }
    return st == TERSE_OK && terse_session_count(s) < depth ? terse_session_repeat(s, depth, err) : st;
}

/* Brings every session to the depth. */
static terse_status deepen(bench *b, int32_t depth, terse_error *err)
{
    terse_status st = TERSE_OK;
    terse_progress progress;
    char label[32];
    snprintf(label, sizeof label, "depth %d", depth);
    terse_progress_begin(&progress, label, "tokens", true);
    for (int32_t i = 0; i < b->n; i++)
        for (int32_t q = 0; q < b->n_sequence && st == TERSE_OK; q++)
            st = q && b->plan->shared ? terse_session_copy(b->sessions[i][q], b->sessions[i][0], err)
                                      : deepen_one(b, i, q, depth, &progress, err);
    terse_progress_end(&progress);
    return st;
}

/* The next token of n sequences of setting i. */
static terse_status decode_batch(const bench *b, int32_t i, int32_t n, const int32_t *token, terse_error *err)
{
    terse_batch_part part[TERSE_BENCH_BATCH];
    for (int32_t q = 0; q < n; q++)
        part[q] = (terse_batch_part){ b->sessions[i][q], token, 1, 1, false };
    return terse_session_batch(part, n, b->logits, err);
}

/* The work of one sample under setting i, n_gen tokens at most. Guesses are held against the plan's tokens. */
static terse_status work(const bench *b, int32_t i, const terse_bench_record *r, int32_t n_gen,
                         terse_error *err)
{
    const int32_t *tokens = b->plan->tokens + r->n_depth;
    const float *logits;
    terse_status st = TERSE_OK;
    if (r->n_prompt > 0)
        st = terse_session_prefill(b->sessions[i][0], tokens, r->n_prompt, &logits, NULL, err);
    for (int32_t t = 0; t < n_gen && st == TERSE_OK; t++)
        st = r->n_batch > 1 ? decode_batch(b, i, r->n_batch, tokens + t, err)
             : b->drafts[i] ? terse_draft_decode(b->drafts[i], tokens[t], &logits, err)
                            : terse_session_decode(b->sessions[i][0], tokens[t], &logits, err);
    return st;
}

static void go_back(const bench *b, int32_t i, int32_t depth)
{
    if (b->drafts[i])
        terse_draft_settle(b->drafts[i]);
    for (int32_t q = 0; q < b->n_sequence; q++)
        terse_session_truncate(b->sessions[i][q], depth);
}

static terse_status sample(bench *b, int32_t i, terse_bench_record *r, terse_error *err)
{
    for (int32_t q = 0; q < r->n_batch; q++)
        terse_session_stats_reset(b->sessions[i][q]);
    terse_probe_begin(b->probe, &r->samples[r->n]);
    const terse_status st = work(b, i, r, r->n_gen, err);
    terse_probe_end(b->probe, &r->samples[r->n]);
    go_back(b, i, r->n_depth);
    if (st != TERSE_OK)
        return st;
    if (b->drafts[i])
        r->guesses = terse_draft_stats_of(b->drafts[i]);
    for (int32_t q = 0; q < r->n_batch; q++) {
        const terse_attend_stats stats = terse_session_stats(b->sessions[i][q]);
        terse_attend_stats_add(&r->stats, &stats);
    }
    const terse_spending spent = terse_session_spent(b->sessions[i][0]);
    for (int32_t k = 0; k < TERSE_SPENT_N; k++)
        r->spent[r->samples[r->n].own].ns[k] += spent.ns[k];
    r->n++;
    return TERSE_OK;
}

/* What must not be part of the first sample: pages and code touched for the first time; and the first step
 * after a prompt, which measures the stored values for the stop rule and belongs to the prompt. */
static terse_status warm_up(bench *b, const terse_bench_record *r, int32_t n, terse_error *err)
{
    terse_status st = TERSE_OK;
    for (int32_t i = 0; i < n && st == TERSE_OK; i++) {
        if (r->n_gen > 0 || b->plan->warm_up)
            st = work(b, i, r, r->n_gen > 0, err);
        go_back(b, i, r->n_depth);
        if (b->drafts[i])
            terse_draft_stats_reset(b->drafts[i]);
    }
    return st;
}

static terse_status sample_all(bench *b, terse_bench_record *r, int32_t n, terse_error *err)
{
    terse_status st = warm_up(b, r, n, err);
    terse_progress progress;
    char label[64];
    snprintf(label, sizeof label, "%s%d @ d%d", r->n_prompt ? "pp" : "tg", r->n_prompt + r->n_gen, r->n_depth);
    terse_progress_begin(&progress, label, "runs", true);
    for (int32_t rep = 0; rep < b->plan->reps; rep++)
        for (int32_t i = 0; i < n && st == TERSE_OK; i++) {
            st = sample(b, i, &r[i], err);
            terse_progress_update(&progress, rep * n + i + 1, (int64_t)b->plan->reps * n);
        }
    terse_progress_end(&progress);
    return st;
}

/* Do all sessions treat a prompt alike? Stop rules do not touch it, policies may. */
static bool same_prompts(const bench *b)
{
    bool same = true;
    for (int32_t i = 1; i < b->n; i++)
        same &= strcmp(terse_session_policy(b->sessions[0][0]), terse_session_policy(b->sessions[i][0])) == 0;
    return same;
}

/* One test under all sessions; under the first only if it is a prompt that they treat alike. */
static terse_status run_test(bench *b, int32_t n_prompt, int32_t n_gen, int32_t depth, int32_t n_batch,
                             terse_error *err)
{
    const int32_t n = n_prompt > 0 && same_prompts(b) ? 1 : b->n;
    const size_t reps = (size_t)b->plan->reps;
    terse_bench_record r[TERSE_BENCH_LIST] = { 0 };
    terse_sample *samples = calloc((size_t)n * reps, sizeof *samples);
    terse_error second;
    terse_status st = TERSE_OK, printed = TERSE_OK;
    if (!samples)
        st = terse_fail(err, TERSE_NOMEM, "no memory for %zu samples", (size_t)n * reps);
    for (int32_t i = 0; i < n && st == TERSE_OK; i++)
        r[i] = (terse_bench_record){ .n_prompt = n_prompt,
                                     .n_gen = n_gen,
                                     .n_depth = depth,
                                     .n_batch = n_batch,
                                     .session = b->sessions[i][0],
                                     .opts = &b->settings[i].opts,
                                     .draft = b->drafts[i] && n_gen > 0,
                                     .when = time(NULL),
                                     .samples = samples + (size_t)i * reps };
    if (st == TERSE_OK) {
        st = sample_all(b, r, n, err);
        for (int32_t i = 0; i < n && printed == TERSE_OK; i++)
            if (r[i].n > 0)
                printed = terse_bench_print(b->out, &r[i], st == TERSE_OK ? err : &second);
    }
    free(samples);
    return st == TERSE_OK ? printed : st;
}

static terse_status run_tests(bench *b, terse_error *err)
{
    const terse_bench_plan *p = b->plan;
    terse_status st = TERSE_OK;
    for (int32_t d = 0; d < p->n_depth && st == TERSE_OK; d++) {
        const int32_t depth = p->depths[d];
        st = deepen(b, depth, err);
        for (int32_t i = 0; i < p->n_prompt && st == TERSE_OK; i++)
            if (p->prompts[i] > 0)
                st = run_test(b, p->prompts[i], 0, depth, 1, err);
        for (int32_t i = 0; i < p->n_gen; i++)
            for (int32_t k = 0; k < p->n_batch && p->gens[i] > 0 && st == TERSE_OK; k++)
                st = run_test(b, 0, p->gens[i], depth, p->batches[k], err);
    }
    return st;
}

/* The sequences of setting i. */
static terse_status open_sessions(bench *b, int32_t i, terse_error *err)
{
    terse_session_opts own = b->settings[i].opts;
    terse_status st = TERSE_OK;
    own.back = INT32_MAX; /* every sample goes back to the depth */
    if (i == 0)
        st = terse_fit_here(b->plan->model, &own, b->n, b->plan->shared ? 1 : b->n_sequence, err);
    for (int32_t q = 0; q < b->n_sequence && st == TERSE_OK; q++) {
        own.beside = b->sessions[i][0];
        st = terse_session_open(&b->sessions[i][q], b->plan->model, &own, err);
    }
    if (st == TERSE_OK && i == 0)
        terse_cpu_note(b->sessions[0][0], &own);
    if (st == TERSE_OK && b->settings[i].draft)
        st = terse_draft_open(&b->drafts[i], b->sessions[i][0], NULL, err);
    return st;
}

static terse_status open_logits(bench *b, terse_error *err)
{
    for (int32_t k = 0; k < b->plan->n_batch; k++)
        if (b->plan->batches[k] > b->n_sequence)
            b->n_sequence = b->plan->batches[k];
    if (b->n_sequence == 1)
        return TERSE_OK;
    const size_t n = (size_t)b->n_sequence * (size_t)terse_model_about(b->plan->model)->n_vocab;
    b->logits = malloc(n * sizeof *b->logits);
    return b->logits ? TERSE_OK : terse_fail(err, TERSE_NOMEM, "no memory for the logits of a batch");
}

terse_status terse_bench_run(const terse_bench_plan *plan, const terse_bench_setting *settings, int32_t n,
                             terse_bench_out *out, terse_error *err)
{
    const terse_session_opts *opts = &settings[0].opts;
    bench *b = calloc(1, sizeof *b);
    if (!b)
        return terse_fail(err, TERSE_NOMEM, "no memory for a benchmark");
    *b = (bench){ .plan = plan, .settings = settings, .n_sequence = 1, .n = n, .out = out };
    terse_status st = terse_probe_open(&b->probe, opts->threads, plan->probe_size, opts->cpu, err);
    if (st == TERSE_OK)
        st = open_logits(b, err);
    for (int32_t i = 0; i < n && st == TERSE_OK; i++)
        st = open_sessions(b, i, err);
    if (st == TERSE_OK)
        st = run_tests(b, err);
    for (int32_t i = 0; i < n; i++) {
        terse_draft_close(&b->drafts[i]);
        for (int32_t q = 0; q < b->n_sequence; q++)
            terse_session_close(&b->sessions[i][q]);
    }
    free(b->logits);
    terse_probe_close(&b->probe);
    free(b);
    return st;
}
