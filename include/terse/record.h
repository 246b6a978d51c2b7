/* terse/record.h: what attention works on, taken from a model once and kept in a file: the keys and values of a
 * text and the queries of some of its last tokens. Policies, stop rules and storage types can then be tried
 * without the model (terse replay, bench_attend --recording). */
#ifndef TERSE_RECORD_H
#define TERSE_RECORD_H

#include "terse/eval.h"

/* Zero means default. */
typedef struct {
    int32_t n_prefill;            /* tokens before the first step, computed together; to be given */
    int32_t n_step;               /* steps whose queries are kept; 0: 16 */
    int32_t every;                /* tokens decoded for each of them, the last one of which is kept; 0: 1 */
    const char *policy, *stop;    /* of the decoded tokens, as in terse_session_opts */
    int32_t threads, chunk;       /* as in terse_session_opts */
    int32_t strands;              /* the same; 0: 1 */
    terse_kv_type type_k, type_v; /* of the session; 0: f16 */
    uint32_t cpu;
    const atomic_bool *abort;
    /* Told how many of all tokens are done; may be NULL. */
    void (*progress)(void *ctx, int32_t done, int32_t total);
    void *ctx;
} terse_record_opts;

/* Runs tokens[n_prefill + n_step * every] through the model, the first n_prefill under exact attention, and
 * writes the recording to path, which keeps what it held until all of it is there. */
TERSE_API terse_status terse_record_make(const char *path, const terse_model *m, const int32_t *tokens,
                                         const terse_record_opts *opts, terse_error *err);

typedef struct {
    int32_t n_layer, n_head; /* n_head: KV heads per layer */
    int32_t n_row;           /* query heads per KV head */
    int32_t dim_k, dim_v;
    int32_t n_token;              /* keys and values of the whole text */
    int32_t n_step, every;        /* queries of n_step of them, every so many tokens, to the last one */
    terse_kv_type type_k, type_v; /* in the file: f16 if the session stored f16, else f32 of what it stored */
    float scale;                  /* of q . k */
    char model[64];               /* general.name, printable ASCII */
    char stop[128];               /* rule under which the steps were decoded: "none" is exact attention */
} terse_record_info;

/* An open recording: a mapped file, immutable, may be used from several threads. */
typedef struct terse_record terse_record;
/* The numbers of the header are checked against their ranges and the size of the file. */
TERSE_API terse_status terse_record_open(terse_record **out, const char *path, terse_error *err);
TERSE_API void terse_record_close(terse_record **r);
/* Borrowed until close. */
TERSE_API const terse_record_info *terse_record_about(const terse_record *r);
/* Tokens that step's queries attend to: those before it and its own. */
TERSE_API int32_t terse_record_depth(const terse_record *r, int32_t step);
/* The group's rotated queries, not scaled: [n_row][dim_k] @64, borrowed until close. */
TERSE_API const float *terse_record_query(const terse_record *r, int32_t step, int32_t layer, int32_t head);
/* Copies k[dim_k] and v[dim_v] of the token at position pos. */
TERSE_API void terse_record_kv(const terse_record *r, int32_t layer, int32_t head, int32_t pos, float *k,
                               float *v);
/* True once a part of the file could not be read (it was truncated after it was opened): zeros were read. */
TERSE_API bool terse_record_broken(const terse_record *r);

/* ---- replay ---- */

/* Zero means default. */
typedef struct {
    terse_kv_type type_k, type_v; /* of the store; 0: as recorded */
    int32_t threads;              /* 0: terse_cpu_threads() */
    int32_t strands;              /* as in terse_session_opts; 0: 1 */
    int32_t audit;                /* every n-th walk is repeated in full; 0: none */
    size_t kv_limit;              /* bytes; 0: none */
    uint32_t cpu;
    const atomic_bool *abort;
    /* Told how many of all steps are done; may be NULL. */
    void (*progress)(void *ctx, int32_t done, int32_t total);
    void *ctx;
} terse_replay_opts;
enum { TERSE_REPLAY_THREADS = 1024, TERSE_REPLAY_STRANDS = 64 };

/* Rules that have walked every step of a recording: immutable. */
typedef struct terse_replay terse_replay;
/* Walks every step under every rule and under dense attention, as a session with that rule would that has just
 * computed the text before. What a rule reads and gives in one step has no influence on the next one; so it is
 * what the session did that was recorded, if that followed the same rule. n_rule >= 1; nothing is borrowed. */
TERSE_API terse_status terse_replay_open(terse_replay **out, const terse_record *r,
                                         const terse_replay_opts *opts, const terse_eval_rule *rules,
                                         int32_t n_rule, terse_error *err);
TERSE_API void terse_replay_close(terse_replay **p);

typedef struct {
    const char *policy, *stop; /* with all parameters; borrowed until close */
    bool bounded;              /* read.bound_max is proved */
    terse_attend_stats read;
    double error_mean, error_max; /* |o - o_dense| / |o_dense| of query heads, dense over the same store */
} terse_replay_result;
/* Of one (layer, KV head); layer -1: of all. */
TERSE_API terse_replay_result terse_replay_result_of(const terse_replay *p, int32_t rule, int32_t layer,
                                                     int32_t head);
TERSE_API int32_t terse_replay_rules(const terse_replay *p);
/* What the types of the store cost: the same error of dense attention over it against a store of f32. */
TERSE_API void terse_replay_type_error(const terse_replay *p, double *mean, double *max);

#endif
