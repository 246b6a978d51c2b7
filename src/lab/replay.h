/* lab/replay.h: rules walked over keys, values and queries that are there already, beside dense attention. What
 * a session does before and between its steps is done here too, so that the bits and bytes are the same. */
#ifndef TERSE_LAB_REPLAY_H
#define TERSE_LAB_REPLAY_H

#include "terse/record.h"

#include <stdatomic.h>

/* What is walked over. */
typedef struct {
    int32_t n_layer, n_head, n_row, dim_k, dim_v;
    int32_t n_prompt;     /* tokens before the first step */
    int32_t n_step, grow; /* grow: tokens that come with each step, the last one's queries being the step's */
    float scale;
    const void *data;
    /* k[dim_k] and v[dim_v] of a token that the store does not hold yet. */
    void (*token)(const void *data, int32_t layer, int32_t head, int32_t pos, float *k, float *v);
    /* [n_row][dim_k] @64 */
    const float *(*query)(const void *data, int32_t step, int32_t layer, int32_t head);
} terse_replay_source;

/* Errors of query heads: |o - o_ref| / |o_ref|. */
typedef struct {
    double sum, max;
    int64_t n;
} terse_replay_errors;

/* One (layer, head) under one rule. */
typedef struct {
    terse_attend_stats read;
    terse_replay_errors error; /* against dense attention over the same store */
} terse_replay_sums;

typedef struct {
    const terse_replay_source *source;
    terse_kv *kv;               /* filled as far as it is not; steps leave their tokens in it */
    int32_t n_thread, n_strand; /* n_strand: terse_walk_open_split */
    uint32_t cpu;
    const atomic_bool *abort;                                 /* looked at between steps; may be NULL */
    void (*progress)(void *ctx, int32_t done, int32_t total); /* steps; may be NULL */
    void *progress_ctx;
    /* Sees every result; calls for different (layer, head) may come at the same time. May be NULL. */
    void (*attended)(void *ctx, int32_t rule, int32_t step, int32_t layer, int32_t head, const float *out);
    void *attended_ctx;
} terse_replay_job;

/* Every step under every rule: adds to sums[n_rule][n_layer * n_head]. */
terse_status terse_replay_walk(const terse_replay_job *j, terse_attend *const *rule, int32_t n_rule,
                               terse_replay_sums *sums, terse_error *err);
/* What the types of the store, which holds all tokens, cost: dense attention against that over f32. */
terse_status terse_replay_types(const terse_replay_job *j, terse_replay_errors *sum, terse_error *err);

/* A recording as a source: borrows it. */
terse_replay_source terse_replay_recorded(const terse_record *r);

void terse_replay_errors_add(terse_replay_errors *a, const terse_replay_errors *b);
void terse_replay_sums_add(terse_replay_sums *a, const terse_replay_sums *b);

#endif
