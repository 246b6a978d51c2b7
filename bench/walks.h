/* bench/walks.h: a KV store, the threads that walk it, and several rules that take turns. */
#ifndef TERSE_BENCH_WALKS_H
#define TERSE_BENCH_WALKS_H

#include "kvdata.h"

#include "base/team.h"
#include "terse/attend.h"
#include "terse/probe.h"

enum { WALKS_MAX_THREADS = 256 };

/* Where a thread's results go. */
typedef struct {
    terse_attend_stats stats;
    float *out; /* [n_row][dim_v] */
} walks_part;

/* A policy with a stop rule. */
typedef struct {
    const char *policy;   /* borrowed */
    terse_attend *attend; /* borrowed */
    terse_walk *walk[WALKS_MAX_THREADS];
    /* walks_compare: of one walk of all heads in every step; |o - o_dense| / |o_dense| over query heads. */
    terse_attend_stats stats;
    double error_mean, error_max;
    terse_sample *samples; /* [n_sample] of one step */
} walks_rule;

typedef struct {
    const kvdata *data; /* borrowed */
    terse_kv *kv;       /* borrowed */
    int32_t n_row, n_thread;
    uint32_t cpu;
    walks_rule *rule; /* borrowed: policy and attend are set */
    int32_t n_rule, n_sample;
    double *room; /* [n_sample] for report_times_of */

    walks_part part[WALKS_MAX_THREADS];
    terse_team *team;
    terse_phase *phase; /* [n_layer] */
    terse_probe *probe;
    const walks_rule *at; /* the rule that the team works for */
    int32_t step;
} walks;

/* Fills *kv with generated data, by as many threads as the machine has. */
terse_status walks_fill(terse_kv *kv, const kvdata *data, terse_error *err);
/* Fills stats and errors of the rules: every step once, beside dense attention over the same store. Stores what
 * is recorded on the way. *type_mean, *type_max: what the store's types cost, |o - o_f32| / |o_f32| of dense
 * attention against a store of f32; NAN for generated data, whose values mean nothing. */
terse_status walks_compare(const kvdata *d, terse_kv *kv, int32_t n_row, uint32_t cpu, walks_rule *rule,
                           int32_t n_rule, double *type_mean, double *type_max, terse_error *err);
/* data, kv, n_row, n_thread, cpu, rule, n_rule, n_sample are set. On failure w is to be closed too. */
terse_status walks_open(walks *w, terse_error *err);
void walks_close(walks *w);
/* Fills the samples of all rules: rule by rule within a sample, each after rounds of the probe, so that all of
 * them meet the same machine and cold caches. */
void walks_time(walks *w);

#endif
