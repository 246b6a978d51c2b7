/* lab/compare.h: dense decoding kept row by row, and rules held against it from the same prefill. */
#ifndef TERSE_LAB_COMPARE_H
#define TERSE_LAB_COMPARE_H

#include "terse/eval.h"

/* A token that was decoded under a rule. NAN: not known. */
typedef struct {
    double kl;
    double nll, nll_dense; /* of the token that follows: - log p */
} terse_scored;

typedef struct {
    int64_t n, agree;
    terse_attend_stats read;
} terse_sums;

/* What is known of one rule. A sample (window, prompt) counts when it is complete for all rules. */
typedef struct {
    terse_sums done, pending;
    terse_attend_stats *head; /* [2][n_unit] done.read and pending.read of each (layer, KV head) */
    terse_scored *token;      /* [done.n + pending.n] */
    size_t cap;
    size_t *end;          /* [n_sample] where a sample's tokens end in token */
    int32_t *differs;     /* [n_sample] terse_eval_differs_at */
    int32_t differs_next; /* of the sample at hand */
    int32_t n_sample, cap_sample;
    char stop[160]; /* the rule with its parameters */
    char policy[448];
    bool bounded;
    bool drops, own; /* tokens; and the context is computed under the policy too */
} terse_tally;

struct terse_eval {
    const terse_model *model;
    terse_session *session; /* computes contexts, decodes densely and under rules that keep every token */
    terse_session *other; /* decodes under rules that drop tokens: a copy, or by itself; NULL: there are none */
    terse_session *now;   /* the one of them that decodes */
    const terse_eval_rule *rules;
    terse_tally *tally; /* [n_rule] */
    int32_t n_rule, n_vocab, n_unit, audit;
    terse_eval_progress *progress;
    void *progress_ctx;
    int64_t n_done, n_total; /* tokens, for progress */

    /* The dense run of this sample. */
    bool no_rows; /* rows are not kept: there will be no KL */
    float *row;   /* [n_row][n_vocab] */
    double *log_sum, *nll;
    int32_t *best; /* likeliest token of a row */
    int32_t n_row, cap_row;
    const int32_t *context;                 /* tokens of the sample, borrowed */
    bool again;                             /* it goes on with the last one */
    int32_t *written;                       /* [n_written] what dense attention generates on its own */
    int32_t n_written, cap_written, n_free; /* n_free: how much is asked for */

    const terse_tasks *tasks;
    double *score; /* [prompts of tasks][1 + n_rule], dense first */
    int32_t n_score;
};

/* Forgets the last sample and computes tokens[n] densely; n may be 0. */
terse_status terse_compare_begin(terse_eval *e, const int32_t *tokens, int32_t n, terse_error *err);
/* Begins with the first n tokens of the last sample, which are still there; what follows belongs to it. */
void terse_compare_again(terse_eval *e, int32_t n);
/* From position n on under rule r; -1: densely. A rule that drops tokens does so now, or while it computes the
 * context itself. */
terse_status terse_compare_rule(terse_eval *e, int32_t r, int32_t n, terse_error *err);
/* Decodes one token. */
terse_status terse_compare_decode(terse_eval *e, int32_t token, const float **logits, terse_error *err);
/* Dense logits become the next row. */
terse_status terse_compare_keep(terse_eval *e, const float *logits, terse_error *err);
/* The same, where it is known which token follows. */
terse_status terse_compare_keep_before(terse_eval *e, const float *logits, int32_t target, terse_error *err);
/* Rule r's logits beside row i; target is the token that follows, -1: not known. *best: the likeliest. */
terse_status terse_compare_row(terse_eval *e, int32_t r, int32_t i, const float *logits, int32_t target,
                               int32_t *best, terse_error *err);
/* The model gave no numbers. */
terse_status terse_compare_broken(const terse_eval *e, terse_error *err);
/* Takes what was read since terse_compare_rule. */
void terse_compare_read(terse_eval *e, int32_t r);
/* The sample is complete, or what came after terse_compare_again. */
terse_status terse_compare_commit(terse_eval *e, terse_error *err);

/* n more tokens are done. */
void terse_compare_tick(terse_eval *e, int64_t n);

#endif
