/* terse/attend.h: attention over the pages of a KV store that stops reading when it may.
 *
 * A policy says which pages in what order, a stop rule says when that is enough. "dense" and "none" together
 * are exact attention. Every byte is counted; every early stop leaves a bound, or says that it has none. */
#ifndef TERSE_ATTEND_H
#define TERSE_ATTEND_H

#include "terse/kv.h"

/* Bins of audit histograms: bin i counts from terse_audit_bin_low(i) on, half a decade each. */
enum { TERSE_AUDIT_BINS = 20 };
/* 0, 1e-8, 3.2e-8, 1e-7, ... 10. */
TERSE_API double terse_audit_bin_low(int32_t bin);

/* Tokens that streaming heads of policy duo keep unless told otherwise. */
enum { TERSE_DUO_SINKS = 64, TERSE_DUO_WINDOW = 256 };

/* What was read. Sums over (token, layer, KV head) walks. */
typedef struct {
    int64_t walks;
    int64_t pages_listed; /* what dense attention reads */
    int64_t pages_scored; /* K block read */
    int64_t pages_read;   /* V block read, all of it or values of some tokens */
    int64_t tokens_read;  /* values read */
    /* Pages that the heads of a group would have walked alone, averaged over the group. pages_scored /
     * pages_alone is what it costs that a page is skipped only if every head agrees. */
    double pages_alone;
    int64_t bytes_k, bytes_v, bytes_summary;
    int64_t bytes_dense; /* K and V bytes that attention over all tokens of the sequence reads */
    int64_t bytes_kept;  /* of these, bytes of what the policy keeps: what it reads without a stop rule */
    int64_t tokens_dense, tokens_kept;
    int64_t stops; /* walks that left something out */
    /* Largest error bound |o_full - o| / |o| that a walk ended with; 0 while nothing was skipped. Meaningful
     * if the rule gives bounds (terse_attend_bounded). */
    float bound_max;
    /* Share of the softmax whose values were not read, as the rule knows it at the end of a walk (exact where
     * the keys were read, estimated where they were not; rules that estimate nothing leave 0): of the group's
     * worst head. Largest, and sum over walks. */
    float left_max;
    double left_sum;
    /* Audits: walks that were repeated in full, the largest true |o_full - o| / |o_full| found, its mean, and
     * how many were above their bound (rules that give one); the true share of what was left out. */
    int64_t audits, audit_violations;
    float audit_error_max;
    double audit_error_sum;
    double audit_left_sum;
    /* True errors, and the bounds (bounded rules) or estimated shares beside them. */
    int64_t audit_error[TERSE_AUDIT_BINS], audit_bound[TERSE_AUDIT_BINS];
} terse_attend_stats;

/* Adds b to a. */
TERSE_API void terse_attend_stats_add(terse_attend_stats *a, const terse_attend_stats *b);

/* A parsed pair of policy and stop rule: immutable. */
typedef struct terse_attend terse_attend;

/* policy: "NAME" or "NAME:key=value,..." (NULL: "dense"). Those that keep every token:
 *
 *   dense:order=O            in which order pages are walked: newest, oldest (first to last), mass (by
 *                            estimated share of the softmax), box (by the largest possible score), random,
 *                            oracle (by the true share: a ceiling, not a saving), auto (what suits the rule).
 *                            Sinks and the last 128 tokens come first, but in oldest
 *   quest:keep=0.2,budget=0  read the pages that could score highest: a share, or so many tokens
 *   oracle:keep=0.2,budget=0 the pages with the largest true share: a ceiling, not a saving
 *
 * Those that drop tokens for good, in prompts as while decoding. keep is a share of the tokens that there are
 * when a prompt ends, budget a number of tokens, which wins if it is not 0:
 *
 *   spkv:threshold=0.5,window=128,sinks=4
 *                            the last window tokens, the first sinks, and those whose utility, as the model or
 *                            its gate predicts it, is at least threshold; what is not given is the model's own
 *   window:keep=0.2,budget=0,sinks=4,rotate=0
 *                            the first and the last tokens (StreamingLLM); rotate=1: at the positions that
 *                            they have among each other, as the paper has it, and not in the text
 *   h2o:keep=0.2,budget=0,recent=0.5
 *                            the last tokens (that part of the budget) and those that were attended to most
 *   tova:keep=0.2,budget=0,window=32
 *                            those to which the last query gives the most weight, alike in a layer's heads
 *   snapkv:keep=0.2,budget=0,window=64,kernel=5
 *                            those that the last window queries of the prompt look at; decoded tokens come on
 *                            top until there are 64 more than the budget, then the last queries decide again
 *   pyramidkv:...,beta=20    the same with more tokens in lower layers
 *   duo:profile=FILE,share=0.5,window=256,sinks=64
 *                            the share of (layer, KV head)s that need the most keep everything, the others the
 *                            first and the last tokens (DuoAttention); terse_attend_heads says what they need,
 *                            or, in a session, the profile
 *   random:keep=0.2,window=128,sinks=4,seed=0
 *                            a floor for comparisons
 *
 * stop: "RULE", "RULE:key=value,..." or up to three of them joined by "+", one that ends the walk, one that
 * leaves out channels of keys and one that leaves out values of what it walked (NULL: "none"):
 *
 *   none                     read everything
 *   mass:delta=0.004,floor=0.1,from=2048,norm=rms
 *                            stop when the estimated shares of the unread pages, as the root of the sum of
 *                            squares (norm=sum: their sum), are at most delta; read the floor's share of all
 *                            pages in any case, and everything below `from` tokens
 *   budget:share=0.2         stop after a share of all pages (Quest with order=box)
 *   weight:tau=1e-4,patience=4
 *                            stop when pages weigh next to nothing
 *   stability:tau=1e-7,phi=1e-3,patience=5,reading=mean,block=1,pretest=0
 *                            stop when norm and direction of the output have settled (ART)
 *   certified:eps=0.1        stop when the error is proved to be at most eps |o|
 *   key-share:left=0.0005    behind mass: score pages from as many channels of their keys as keep (share of the
 *                            page) * (standard deviation of what its scores are off by) <= left;
 *                            not with the order oracle, nor with window:rotate=1
 *   value-skip:eps=0.1       leave out values while the error is proved to be at most eps |o|
 *   value-share:left=0.008,norm=rms
 *                            leave out values of tokens with shares of at most left / sqrt(n) of n tokens
 *                            (norm=sum: left / n), so that, added up as above, they stay within left
 *
 * audit: repeat every audit-th walk of a (layer, head) in full and record the true error; 0: never.
 * TERSE_BAD_INPUT names the word that is wrong and what is known. */
TERSE_API terse_status terse_attend_open(terse_attend **out, const char *policy, const char *stop,
                                         int32_t audit, terse_error *err);
TERSE_API void terse_attend_close(terse_attend **a);
/* A profile: scale[n_layer][n_head] (copied; finite, not negative) multiplies mass's delta and the left of
 * key-share and value-share for that (layer, KV head). Before the first walk is opened. TERSE_BAD_INPUT if no
 * rule is one of these. */
TERSE_API terse_status terse_attend_profile(terse_attend *a, const float *scale, int32_t n_layer,
                                            int32_t n_head, terse_error *err);
/* What a layer does to scores, beside their scale; and how its keys and queries have been turned by their
 * positions, which only policies that move tokens (window:rotate=1) need to know. Pointers are borrowed until
 * close. */
typedef struct {
    float softcap;      /* a score becomes softcap * tanh(score / softcap); 0: it stays */
    const float *sinks; /* [n_head * n_row] logits that take part in the softmax and are worth nothing; NULL:
                         * none */
    const double *freq; /* [n_turn / 2] angle per position; NULL: they have not been turned */
    int32_t n_turn;     /* channels that are, the first of a head: even, at most dim_k */
    bool halves;        /* pairs (i, n_turn/2 + i), not (2i, 2i + 1) */
} terse_attend_layer;
/* layer[n_layer] (copied), before the first walk is opened. Rules know of caps and sinks: estimates and bounds
 * are capped, the sinks' weight counts as read. */
TERSE_API terse_status terse_attend_layers(terse_attend *a, const terse_attend_layer *layer, int32_t n_layer,
                                           terse_error *err);
/* "value-skip:eps=0.1": the rule with all its parameters. Borrowed until close. */
TERSE_API const char *terse_attend_stop_text(const terse_attend *a);
/* "spkv:threshold=0.7": the policy with the parameters that are not its own defaults. */
TERSE_API const char *terse_attend_policy_text(const terse_attend *a);
/* Whether the policy drops tokens, and whether it needs a model or a gate that predicts their utility. */
TERSE_API bool terse_attend_drops(const terse_attend *a);
TERSE_API bool terse_attend_gated(const terse_attend *a);
/* Whether it goes by attention weights: then tokens are decoded one by one. */
TERSE_API bool terse_attend_marks(const terse_attend *a);
/* What the heads of policy duo need: change[n_layer][n_head], of which the largest keep everything; NAN (not
 * known) is larger than any number. Before the first walk is opened. TERSE_BAD_INPUT if the policy treats all
 * heads alike. */
TERSE_API terse_status terse_attend_heads(terse_attend *a, const float *change, int32_t n_layer, int32_t n_head,
                                          terse_error *err);
/* The profile that such a policy names: "" for none; NULL if the policy treats all heads alike. Borrowed until
 * close. */
TERSE_API const char *terse_attend_heads_file(const terse_attend *a);
/* Whether it moves tokens to other positions: then layers must say how they turn. */
TERSE_API bool terse_attend_turns(const terse_attend *a);
/* What a gated policy takes where it was not told. Before the first walk is opened. */
TERSE_API void terse_attend_gate(terse_attend *a, double threshold, int32_t window, int32_t sinks);
/* Sets the budget of a policy that has one: tokens > 0, or a share of them. TERSE_BAD_INPUT if it has none. */
TERSE_API terse_status terse_attend_budget(terse_attend *a, int32_t tokens, double share, terse_error *err);
/* Whether the rule proves a bound on its error ("none" does: zero). */
TERSE_API bool terse_attend_bounded(const terse_attend *a);
/* TERSE_KV_*: what the store must keep for this rule; call terse_kv_summarize with it after a prompt. Pages
 * without a summary are always read. */
TERSE_API uint32_t terse_attend_needs(const terse_attend *a);
/* i-th policy's name and one-line help; false past the last. */
TERSE_API bool terse_attend_policy_at(int32_t i, const char **name, const char **help);
/* i-th stop rule's name and one-line help; false past the last. */
TERSE_API bool terse_attend_stop_at(int32_t i, const char **name, const char **help);

/* Working memory of one thread: any number of walks, one at a time. */
typedef struct terse_walk terse_walk;
/* kv and a are borrowed until close. n_row: query heads per KV head, 1 to 256. cpu: kernel tiers (0: all of the
 * machine). */
TERSE_API terse_status terse_walk_open(terse_walk **out, const terse_kv *kv, const terse_attend *a,
                                       int32_t n_row, uint32_t cpu, terse_error *err);
TERSE_API void terse_walk_close(terse_walk **w);

/* Decode: one token's group of query heads over the first n_token tokens of (layer, head), or those of them
 * that the layer's span leaves (terse_kv_opts): these are read whole, whatever the rule, and are what dense
 * attention reads in the stats. q: [n_row][dim_k] f32, rotated, not scaled; out: [n_row][dim_v] f32; both @64.
 * n_token >= 1, at most what has been put. Adds to *stats. The result does not depend on threads or tier. */
TERSE_API void terse_walk_decode(terse_walk *w, int32_t layer, int32_t head, int32_t n_token, float scale,
                                 const float *q, float *out, terse_attend_stats *stats);
/* Prefill: exact attention of n consecutive tokens, the first at position pos, each over itself and what is
 * before it. All positions lie in one page (pos / 32 is the same). Token t's query rows are at q + t *
 * q_stride, its results at out + t * out_stride. Same bits as terse_walk_decode with policy dense and stop
 * none. */
TERSE_API void terse_walk_prefill(terse_walk *w, int32_t layer, int32_t head, int32_t pos, int32_t n,
                                  float scale, const float *q, size_t q_stride, float *out, size_t out_stride);

/* One walk on several threads, for stores with fewer KV heads than there are threads. Behind the sinks and the
 * recent window every strand takes each n-th page of the list, in the order of the list, and stops when the
 * rule has enough of what it sees. The result depends on n_strand (1 to 64; 1 is terse_walk_open), not on the
 * threads.
 *
 *   n = terse_walk_begin(lead, layer, head, n_token, scale, q);
 *   terse_walk_strand(lead, own, s)        for s in [0, n), on any threads, own being the thread's own walk
 *   terse_walk_end(lead, out, stats);      when all have come back
 *
 * Rules that look at the output (stability, certified) are not split: n is 0 then. terse_walk_decode does the
 * three steps on one thread, terse_walk_prefill has the same bits. All walks of a call are opened alike. */
TERSE_API terse_status terse_walk_open_split(terse_walk **out, const terse_kv *kv, const terse_attend *a,
                                             int32_t n_row, int32_t n_strand, uint32_t cpu, terse_error *err);
TERSE_API int32_t terse_walk_begin(terse_walk *lead, int32_t layer, int32_t head, int32_t n_token, float scale,
                                   const float *q);
TERSE_API void terse_walk_strand(terse_walk *lead, terse_walk *own, int32_t s);
TERSE_API void terse_walk_end(terse_walk *lead, float *out, terse_attend_stats *stats);

#endif
