/* terse/pareto.h: a grid of settings x storage types x contexts: quality beside bytes, every finished part kept
 * in a journal, so that a grid that was interrupted goes on where it stopped.
 *
 * All is held against dense attention over an f16 cache: bytes are a share of what that reads, and KL is from
 * what that predicts, so that what a storage type costs is in both. */
#ifndef TERSE_PARETO_H
#define TERSE_PARETO_H

#include "terse/eval.h"

typedef struct {
    terse_kv_type type_k, type_v; /* none of them TERSE_KV_DEFAULT */
} terse_pareto_type;

/* The grid. Everything is borrowed until close. */
typedef struct {
    terse_session_opts session;    /* threads, chunk, kv_limit, cpu and abort count */
    const terse_eval_rule *rules;  /* [n_rule] n_rule >= 1; profiles are not used */
    const int32_t *ctx;            /* [n_ctx] tokens of a window; n_ctx >= 1 */
    const terse_pareto_type *type; /* [n_type] n_type >= 1 */
    int32_t n_rule, n_ctx, n_type;
    int32_t scored;       /* last tokens of a window, decoded and compared; 0: 64 */
    int32_t windows;      /* of each context; 0: as many as fit, at most 10 */
    const int32_t *token; /* [n_token] the text, without bos */
    size_t n_token;
    const terse_tasks *tasks;      /* prompts with known answers beside the text; NULL: none */
    const char *journal;           /* a file; if it is there, what it holds is not computed again */
    terse_eval_progress *progress; /* may be NULL; tokens of this run */
    void *progress_ctx;
} terse_pareto_opts;

/* One caller at a time. */
typedef struct terse_pareto terse_pareto;

/* Checks the grid, then reads the journal or begins it; no other process can use it until close.
 * TERSE_BAD_INPUT if it is of another model, text or grid: the error names what differs. A last line that was
 * cut is forgotten. */
TERSE_API terse_status terse_pareto_open(terse_pareto **out, const terse_model *m, const terse_pareto_opts *o,
                                         terse_error *err);
TERSE_API void terse_pareto_close(terse_pareto **p);
/* Computes what is missing, part by part: a window or a prompt under one storage type. */
TERSE_API terse_status terse_pareto_run(terse_pareto *p, terse_error *err);
/* Parts of the grid, and those that are done. */
TERSE_API int32_t terse_pareto_parts(const terse_pareto *p);
TERSE_API int32_t terse_pareto_done(const terse_pareto *p);
/* Windows of the i-th context. */
TERSE_API int32_t terse_pareto_windows(const terse_pareto *p, int32_t ctx);
TERSE_API int32_t terse_pareto_scored(const terse_pareto *p);
/* The rule with all its parameters, and whether its bound is proved. Borrowed until close. */
TERSE_API const char *terse_pareto_stop(const terse_pareto *p, int32_t rule);
TERSE_API bool terse_pareto_bounded(const terse_pareto *p, int32_t rule);
/* 32 hex digits, as in the name of the model's profile. Borrowed until close. */
TERSE_API const char *terse_pareto_model_hash(const terse_pareto *p);

/* What is looked at: the windows of a context, or the prompts of a task. */
typedef struct {
    int32_t ctx;  /* index; -1: prompts */
    int32_t task; /* if ctx is -1: its index in tasks, -1: all */
    int32_t type, rule;
} terse_pareto_at;

/* NAN where nothing was measured. */
typedef struct {
    int32_t n_sample;                /* windows or prompts */
    int64_t n_token;                 /* decoded and compared */
    double ratio;                    /* bytes read of dense f16's, summaries included */
    double k, v, summary, dense_f16; /* bytes per token */
    double kl, low, high;            /* mean and its interval; text only, as what follows */
    double p50, p90, p99, p999, max;
    double top1; /* share of tokens with the likeliest next token of dense f16 */
    double ppl, ppl_dense;
    int32_t n;                    /* prompts: questions */
    double correct;               /* sum of their scores */
    double share_low, share_high; /* interval of correct / n (Wilson 1927) */
    int32_t lost, gained;         /* questions with a lower, a higher score than dense of the same type has */
} terse_pareto_result;
/* TERSE_NOMEM is the only failure. */
TERSE_API terse_status terse_pareto_result_of(const terse_pareto *p, terse_pareto_at at,
                                              terse_pareto_result *out, terse_error *err);
/* Bytes that a (layer, KV head) read of what dense f16 reads there; NAN if nothing was measured. */
TERSE_API double terse_pareto_head(const terse_pareto *p, terse_pareto_at at, int32_t layer, int32_t head);

#endif
