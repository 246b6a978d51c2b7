/* terse/attend.h: attention over the pages of a KV store that stops reading when it may.
 *
 * A policy says which pages in what order, a stop rule says when that is enough. "dense" and "none" together
 * are exact attention. Every byte is counted; every early stop leaves a bound, or says that it has none. */
#ifndef TERSE_ATTEND_H
#define TERSE_ATTEND_H

#include "terse/kv.h"

/* What was read. Sums over (token, layer, KV head) walks. */
typedef struct {
    int64_t walks;
    int64_t pages_listed; /* what dense attention reads */
    int64_t pages_scored; /* K block read */
    int64_t pages_read;   /* V block read */
    int64_t bytes_k, bytes_v, bytes_summary;
    int64_t bytes_dense; /* K and V bytes that dense attention reads */
    int64_t stops;       /* walks that the stop rule ended */
    /* Largest error bound |o_full - o| / |o| that a walk ended with; 0 while nothing was skipped. Meaningful
     * if the rule gives bounds (terse_attend_bounded). */
    float bound_max;
    /* Audits: walks that were repeated in full, the largest true |o_full - o| / |o_full| found, its mean, and
     * how many were above their bound (rules that give one). */
    int64_t audits, audit_violations;
    float audit_error_max;
    double audit_error_sum;
} terse_attend_stats;

/* Adds b to a. */
TERSE_API void terse_attend_stats_add(terse_attend_stats *a, const terse_attend_stats *b);

/* A parsed pair of policy and stop rule: immutable. */
typedef struct terse_attend terse_attend;

/* policy: "dense" (NULL: that). stop: "RULE" or "RULE:key=value,..." (NULL: "none"):
 *   none                                      read everything
 *   stability:tau=1e-7,phi=1e-3,patience=5    stop when norm and direction of the output have settled (ART)
 *   value-skip:eps=0.1                        read all keys, leave out values while the error is proved <= eps
 * |o| audit: repeat every audit-th walk of a (layer, head) in full and record the true error; 0: never.
 * TERSE_BAD_INPUT names the word that is wrong and what is known. */
TERSE_API terse_status terse_attend_open(terse_attend **out, const char *policy, const char *stop,
                                         int32_t audit, terse_error *err);
TERSE_API void terse_attend_close(terse_attend **a);
/* "value-skip:eps=0.1": the rule with all its parameters. Borrowed until close. */
TERSE_API const char *terse_attend_stop_text(const terse_attend *a);
/* Whether the rule proves a bound on its error ("none" does: zero). */
TERSE_API bool terse_attend_bounded(const terse_attend *a);
/* i-th stop rule's name and one-line help; false past the last. */
TERSE_API bool terse_attend_stop_at(int32_t i, const char **name, const char **help);

/* Working memory of one thread: any number of walks, one at a time. */
typedef struct terse_walk terse_walk;
/* kv and a are borrowed until close. n_row: query heads per KV head, 1 to 256. cpu: kernel tiers (0: all of the
 * machine). */
TERSE_API terse_status terse_walk_open(terse_walk **out, const terse_kv *kv, const terse_attend *a,
                                       int32_t n_row, uint32_t cpu, terse_error *err);
TERSE_API void terse_walk_close(terse_walk **w);

/* Decode: one token's group of query heads over the first n_token tokens of (layer, head).
 * q: [n_row][dim_k] f32, rotated, not scaled; out: [n_row][dim_v] f32; both @64. n_token >= 1, at most what has
 * been put. Adds to *stats. The result does not depend on threads or tier. */
TERSE_API void terse_walk_decode(terse_walk *w, int32_t layer, int32_t head, int32_t n_token, float scale,
                                 const float *q, float *out, terse_attend_stats *stats);
/* Prefill: exact attention of n consecutive tokens, the first at position pos, each over itself and what is
 * before it. All positions lie in one page (pos / 32 is the same). Token t's query rows are at q + t *
 * q_stride, its results at out + t * out_stride. Same bits as terse_walk_decode with policy dense and stop
 * none. */
TERSE_API void terse_walk_prefill(terse_walk *w, int32_t layer, int32_t head, int32_t pos, int32_t n,
                                  float scale, const float *q, size_t q_stride, float *out, size_t out_stride);

#endif
