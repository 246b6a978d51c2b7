/* attend/policy.h: what a KV policy is. One file each (policy_*.c), one line in the registry (policy.c).
 *
 * A policy may choose pages for every query (select), or drop tokens for good. What it drops is decided when a
 * token leaves the window of the newest ones: `admit` is asked, with the token's mark, a number that is kept
 * for every token of every (layer, head). The marks of a gated policy are utilities that the model gives; those
 * of a scoring policy come from attention weights (attend/observe.c), every token is admitted, and what is then
 * above the budget leaves by the lowest mark. */
#ifndef TERSE_ATTEND_POLICY_H
#define TERSE_ATTEND_POLICY_H

#include "attend/stop.h"
#include "kv/store.h"

/* Stands for what the model says. */
#define TERSE_OF_MODEL (-1e9)

/* How marks come from attention weights. */
typedef enum {
    TERSE_MARK_NONE,
    TERSE_MARK_SUM,   /* all that a token received since it came (H2O) */
    TERSE_MARK_LAST,  /* of the last query, mean over the layer's heads (TOVA) */
    TERSE_MARK_WINDOW /* of the last queries, averaged over neighbours, again when there is too much (SnapKV) */
} terse_marking;

/* Of what a policy is asked about. */
typedef struct {
    const double *param;
    int32_t layer, head, n_layer;
    int32_t n_token; /* in the sequence */
    int32_t window;  /* newest tokens that stay */
    bool whole;      /* a policy of heads: this one keeps everything */
} terse_policy_case;

struct terse_policy {
    const char *name, *help;
    terse_stop_param param[TERSE_STOP_PARAMS]; /* ended by a NULL name */
    terse_order select;                        /* pages, as many as its first two parameters (share,
                                                * tokens) say; AUTO: all */
    bool drops;
    bool gated;          /* marks are the model's utilities */
    terse_marking marks; /* of a scoring policy */
    bool heads; /* its first parameter is the share of heads that keep everything (terse_attend_heads) */
    /* Newest tokens that stay, when the sequence has n_token; INT32_MAX: not known before there are some. */
    int32_t (*window)(const double *param, int32_t n_token);
    /* Does the token at pos stay when it leaves the window? NULL: yes. */
    bool (*admit)(const terse_policy_case *c, int32_t pos, float mark);
    /* Scoring policies: older tokens that may be held; neighbours on each side that marks are averaged over. */
    int32_t (*older)(const terse_policy_case *c);
    int32_t (*half)(const double *param);
    /* Are older tokens seen as if all that are held lay side by side? NULL: no. Such a policy holds at most a
     * page of older tokens, the first ones. */
    bool (*turns)(const double *param);
    /* What is wrong with parameters that are each in their range; NULL: nothing. */
    const char *(*wrong)(const double *param);
};

extern const terse_policy terse_policy_dense, terse_policy_spkv, terse_policy_window, terse_policy_random,
    terse_policy_quest, terse_policy_oracle, terse_policy_h2o, terse_policy_tova, terse_policy_snapkv,
    terse_policy_pyramidkv, terse_policy_duo;
extern const char *const terse_orders[];

/* attend/policy.c */
terse_status terse_policy_parse(terse_policy_rule *r, const char *text, terse_error *err);
/* The order that the policy wants pages walked in; AUTO: it has none. */
terse_order terse_policy_order(const terse_policy_rule *r);
/* The tokens that stay, by a budget in tokens or, where that is 0, a share of the sequence: at least 1. */
int32_t terse_policy_budget(double tokens, double share, int32_t n_token);

/* What a policy is asked about (layer, head) of a store whose sequence has n_token tokens. */
terse_policy_case terse_policy_case_of(const terse_attend *a, const terse_kv *kv, int32_t layer, int32_t head,
                                       int32_t n_token);
/* Stores the token at position pos with its utility, and decides about the one that leaves the window. */
void terse_policy_put(const terse_attend *a, terse_kv *kv, int32_t layer, int32_t head, int32_t pos,
                      const float *k, const float *v, float utility);
/* Makes the store one that drops what the policy drops. On failure it is as it was. */
terse_status terse_policy_open(const terse_attend *a, terse_kv *kv, terse_error *err);
/* The places that it then has per (layer, head). */
int32_t terse_policy_cap(const terse_attend *a, const terse_kv *kv);
/* Brings the window to what the policy wants now that there are tokens. By one thread, before
 * terse_policy_revise of every (layer, head), which decides again about every older token there is. */
terse_status terse_policy_settle(const terse_attend *a, terse_kv *kv, terse_error *err);
void terse_policy_revise(const terse_attend *a, terse_kv *kv, int32_t layer, int32_t head);

/* attend/observe.c: adds what the queries q[n] (each [n_row][dim_k]) of tokens at the rising positions at[n],
 * of up to a page of them, give to every token that is held to its marks: weights, mean over the group. The
 * marks of one (layer, head) belong to one thread at a time. */
typedef struct terse_walk terse_walk;
void terse_observe(terse_walk *w, int32_t layer, int32_t head, const float *const *q, const int32_t *at,
                   int32_t n, float scale);
/* Drops the older tokens that are above the budget of w's policy. It reads the marks of all heads of the layer.
 */
void terse_policy_trim(terse_walk *w, terse_kv *kv, int32_t layer, int32_t head, int32_t n_token);

#endif
