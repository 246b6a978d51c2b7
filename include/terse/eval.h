/* terse/eval.h: quality beside bytes. A context is computed densely once; from there the same tokens are
 * decoded densely and under each rule, and the distributions of the next token are compared. Only decode steps
 * differ, as they do in use.
 *
 * Intervals are for 95 %. What lies in one window or prompt hangs together, so means are taken over those. */
#ifndef TERSE_EVAL_H
#define TERSE_EVAL_H

#include "terse/session.h"

typedef struct {
    const char *policy, *stop; /* as in terse_session_opts */
    const terse_profile *profile;
} terse_eval_rule;

/* Told how many of all tokens have been computed. */
typedef void terse_eval_progress(void *ctx, int64_t done, int64_t total);

typedef struct {
    /* policy, stop and profile are not used; audit counts for the rules; strands 0 is 1 here, whatever the
     * machine has, so that results do not depend on it */
    terse_session_opts session;
    terse_eval_progress *progress; /* may be NULL */
    void *progress_ctx;
} terse_eval_opts;

/* Rules beside dense attention, and what has been gathered about them. One caller at a time. */
typedef struct terse_eval terse_eval;
/* m, the strings and the profiles are borrowed until close; n_rule 0: dense alone. All rules are checked here.
 */
TERSE_API terse_status terse_eval_open(terse_eval **out, const terse_model *m, const terse_eval_opts *o,
                                       const terse_eval_rule *rules, int32_t n_rule, terse_error *err);
TERSE_API void terse_eval_close(terse_eval **e);

/* ---- text ---- */

typedef struct {
    int32_t ctx;     /* tokens of a window */
    int32_t scored;  /* the last ones, decoded; 0: 64, or ctx - 1 if that is less */
    int32_t windows; /* 0: as many as fit, at most 16 unless there is a stride */
    int32_t stride;  /* between the beginnings of windows, from that of the text on; 0: spread evenly over it */
    int32_t free;    /* tokens to generate greedily from the first scored one on, beside dense; 0: none */
    bool ppl_only;   /* without KL, which keeps the logits of all scored tokens of a window */
} terse_eval_windows;

/* Cuts the text (tokens[n], without bos) into windows that each begin with the model's bos, and adds them to
 * the results. Needs one token behind a window, which its last step predicts. On failure, TERSE_INTERRUPTED
 * too, the results hold the windows that were complete. */
TERSE_API terse_status terse_eval_text(terse_eval *e, const int32_t *tokens, size_t n,
                                       const terse_eval_windows *w, terse_error *err);

/* ---- tasks ---- */

/* Prompts with known answers: immutable. */
typedef struct terse_tasks terse_tasks;

typedef struct {
    const char *task;      /* only this one; NULL: all */
    int32_t limit, offset; /* of each task: at most so many (0: all), after leaving out the first ones */
    bool second;           /* ask the second questions too */
} terse_tasks_opts;

/* Lines of JSON, one object each; other members are left alone:
 *   {"task":, "length":, "prompt":, "answer":}
 *       right if greedy decoding gives the answer first; all but the last 32 tokens of the prompt are context
 *   {"task":, "length":, "context":, "question":, "answers":[]}
 *       RULER: the share of the answers that occur in the output, of tasks called qa... whether any of them
 * does. "answer_prefix" goes behind the question; "max_new_tokens" replaces the length that RULER gives the
 * task. A second question about the same context, "question2", "answers2" and "answer_prefix2", is asked behind
 * the right answer of the first (a blank, the answers with ", " between, of qa... only one, a full stop) and
 * counts as a task of its own, "NAME 2nd". TERSE_BAD_INPUT names the line (name is what the text is called in
 * errors). */
TERSE_API terse_status terse_tasks_open(terse_tasks **out, const terse_vocab *v, const char *name,
                                        const char *text, size_t n, const terse_tasks_opts *o,
                                        terse_error *err);
TERSE_API void terse_tasks_close(terse_tasks **t);
TERSE_API int32_t terse_tasks_count(const terse_tasks *t); /* prompts */
TERSE_API int32_t terse_tasks_ctx(const terse_tasks *t);   /* tokens that the longest and its answer need */
/* i-th task's name, in the order of the file; NULL past the last. Borrowed until close. */
TERSE_API const char *terse_tasks_name_at(const terse_tasks *t, int32_t i);

enum { TERSE_RULER_PROMPTS = 10 };
typedef struct {
    const char *task; /* only this one; NULL: all */
    int32_t ctx;      /* tokens of a prompt and its answer */
    int32_t limit;    /* prompts of each task; 0: TERSE_RULER_PROMPTS */
    int32_t offset;   /* after leaving out the first ones */
    uint64_t seed;
    bool second;     /* a second question where there is something else to ask: about half a context away */
    bool no_example; /* vt and cwe without the solved example that RULER puts in front */
} terse_ruler_opts;

/* Appends prompts in the shapes of RULER's 13 tasks to *out, one line each, as terse_tasks_open reads them.
 * They are as long as v lets them be: one more sentence, needle, word or document would not leave room for the
 * answer. text[n] is what they are made from, in the format of models/ruler.txt. The same arguments give the
 * same bytes everywhere. TERSE_BAD_INPUT if the text or ctx is too short. */
TERSE_API terse_status terse_ruler_make(terse_text *out, const terse_vocab *v, const char *text, size_t n,
                                        const terse_ruler_opts *o, terse_error *err);
/* i-th of the 13 names; NULL past the last. */
TERSE_API const char *terse_ruler_task_at(int32_t i);

/* Runs every prompt: the context densely, question and answer under dense attention and under each rule. The
 * distributions are compared on dense's own output. Once per terse_eval; on failure as terse_eval_text. t is
 * borrowed until close. */
TERSE_API terse_status terse_eval_tasks(terse_eval *e, const terse_tasks *t, terse_error *err);

typedef struct {
    int32_t n;            /* prompts that were run */
    double correct;       /* sum of their scores, 0 to 1 each */
    double low, high;     /* of correct / n (Wilson 1927) */
    int32_t lost, gained; /* prompts with a lower, a higher score than dense has */
} terse_eval_score;
/* rule: -1 is dense; task: -1 is all. */
TERSE_API terse_eval_score terse_eval_score_of(const terse_eval *e, int32_t rule, int32_t task);

/* ---- results ---- */

/* Change of the probability of the token that follows: under the rule, less that under dense attention. */
typedef struct {
    double mean, low, high, rms;
    double min, p001, p01, p10, p50, p90, p99, p999, max; /* p001: quantile of 0.1 % */
} terse_eval_change;

/* Greedy generation on its own tokens: how long the rule writes what dense attention writes. */
typedef struct {
    int32_t steps; /* tokens generated, or fewer where dense ended the text */
    int32_t n;     /* samples */
    int32_t same;  /* samples in which no token differs */
    double median; /* place of the first token that differs, counted from 1; INFINITY: none in half of them */
} terse_eval_free;

typedef struct {
    const char *policy, *stop; /* with all parameters; borrowed until close */
    bool bounded;              /* read.bound_max is proved */
    int64_t n_token;           /* decoded and compared */
    int32_t n_sample;          /* windows or prompts */
    double mean, low, high;    /* KL(dense || rule) in nats; low and high are NAN for a single sample */
    double p50, p90, p99, p999, max;
    double top1; /* share of tokens with the same likeliest next token */
    /* NAN for tasks: perplexity, and its ratio to that under dense attention on the same tokens. */
    double ppl, ppl_low, ppl_high;
    double ppl_dense, ppl_dense_low, ppl_dense_high;
    double ratio, ratio_low, ratio_high;
    terse_eval_change change; /* NAN for tasks */
    terse_eval_free free;
    terse_attend_stats read; /* under the rule, in the compared tokens */
} terse_eval_result;
/* NAN everywhere before the first sample. TERSE_NOMEM is the only failure. */
TERSE_API terse_status terse_eval_result_of(const terse_eval *e, int32_t rule, terse_eval_result *out,
                                            terse_error *err);
/* result.read of one (layer, KV head): borrowed until close, NULL if there is none such. */
TERSE_API const terse_attend_stats *terse_eval_stats_of(const terse_eval *e, int32_t rule, int32_t layer,
                                                        int32_t head);
/* Where the i-th sample's free run first differs from dense's, counted from 1; 0: nowhere, or there is none. */
TERSE_API int32_t terse_eval_differs_at(const terse_eval *e, int32_t rule, int32_t sample);
TERSE_API int32_t terse_eval_rules(const terse_eval *e);
TERSE_API const terse_session *terse_eval_session(const terse_eval *e); /* borrowed until close */

/* ---- density ---- */

/* What a policy that drops tokens leaves: means over windows of a text. */
typedef struct {
    int32_t n_layer, n_head, ctx, windows;
    double *share;    /* [n_layer][n_head] of the tokens that have left the window; owned: terse_density_free */
    double held;      /* share of all tokens, in all heads */
    double bytes;     /* of pages */
    char policy[160]; /* with its parameters */
} terse_density;
/* windows of o->session.ctx tokens (0: as many as fit, at most 4), spread evenly over tokens[n], each behind
 * the model's bos, computed under o->session's policy. On failure *d holds nothing. */
TERSE_API terse_status terse_eval_density(terse_density *d, const terse_model *m, const terse_eval_opts *o,
                                          const int32_t *tokens, size_t n, int32_t windows, terse_error *err);
TERSE_API void terse_density_free(terse_density *d);

#endif
